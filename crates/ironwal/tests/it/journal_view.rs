//! The journal as somebody sees it who looks at its files: which frames are there, and what was done
//! with them. `docs/format.md` says what they are.

use std::collections::{BTreeMap, BTreeSet};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;

use crate::simulation::ROOT;

/// The files.
pub(crate) const NAMES: [&str; 2] = [".journal.0", ".journal.1"];

const BLOCK_LEN: usize = 4096;

/// One of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JournalFile {
    pub(crate) generation: u64,
    pub(crate) frames: Vec<Frame>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it begins in the file, and its bytes.
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) sequence: u64,
    pub(crate) records: Vec<Record>,
}

/// What a frame holds of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) stream: u64,
    pub(crate) segment: u64,
    pub(crate) index: u32,
    pub(crate) count: u32,
    /// Where it stands in its segment, and its bytes.
    pub(crate) at: u64,
    pub(crate) len: u64,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The frames in the bytes of a file, by what their headers say; nothing is checked.
pub(crate) fn view(bytes: &[u8]) -> JournalFile {
    if bytes.len() < 2 * BLOCK_LEN {
        return JournalFile::default();
    }
    let generation = u64_at(bytes, 24).max(u64_at(bytes, BLOCK_LEN + 24));
    let (mut frames, mut at) = (Vec::new(), 2 * BLOCK_LEN);
    while at + 64 <= bytes.len() {
        let header = &bytes[at..at + 64];
        if generation == 0 || u64_at(header, 24) != generation {
            break;
        }
        let (records, previous) = (u32_at(header, 8) as usize, u32_at(header, 12) as usize);
        let payload = u64_at(header, 32) as usize;
        let len = (64 + 32 * (records + previous) + payload).next_multiple_of(BLOCK_LEN);
        if at + 64 + 32 * records > bytes.len() {
            break;
        }
        let directory = bytes[at + 64..].chunks(32).take(records);
        let records = directory.map(|record| Record {
            stream: u64_at(record, 0),
            segment: u64_at(record, 8),
            index: u32_at(record, 16),
            count: u32_at(record, 20),
            at: 8 * u64::from(u32_at(record, 24)),
            len: 8 * u64::from(u32_at(record, 28)),
        });
        let (sequence, records) = (u64_at(header, 16), records.collect());
        frames.push(Frame { offset: at, len, sequence, records });
        at += len;
    }
    JournalFile { generation, frames }
}

/// The journal of the log in `root`.
pub(crate) fn view_on(disk: &SimDisk, root: &str) -> [JournalFile; 2] {
    NAMES.map(|name| {
        let path = std::path::Path::new(root).join(name);
        disk.contents(&path).map(|bytes| view(&bytes)).unwrap_or_default()
    })
}

/// What the journal was used for, and how often.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ways {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    seen: [JournalFile; 2],
    /// How many openings in a row died with this journal to replay.
    died: u64,
    /// How many calls that write there were when that began.
    writes: u64,
}

/// The ways that there are.
pub(crate) const WAYS: [&str; 13] = [
    "frame",
    "frame of several streams",
    "frame of several single appends",
    "batch above unsynced entries",
    "longer than a file",
    "batch with a large part",
    "switch",
    "drain",
    "copied forward",
    "void",
    "replay",
    "replay interrupted",
    "replay interrupted twice",
];

impl Ways {
    pub(crate) fn count(&mut self, way: &'static str) {
        assert!(WAYS.contains(&way), "{way}");
        *self.counts.entry(way).or_default() += 1;
    }

    fn newest(files: &[JournalFile; 2]) -> Option<(usize, u64)> {
        let last = |nth: usize| Some((nth, files[nth].frames.last()?.sequence));
        (0..2).filter_map(last).max_by_key(|(_, sequence)| *sequence)
    }

    /// An operation of a process that lives is over.
    pub(crate) fn after_operation(&mut self, disk: &SimDisk) {
        let now = view_on(disk, ROOT);
        let before = std::mem::replace(&mut self.seen, now.clone());
        let (was, is) = (Self::newest(&before), Self::newest(&now));
        if let (Some(was), Some(is)) = (was, is)
            && was.0 != is.0
            && was.1 < is.1
        {
            self.count("switch");
        }
        let mut drained = false;
        for (before, now) in before.iter().zip(&now) {
            drained |= before.generation > 0 && before.generation < now.generation;
        }
        if drained {
            self.count("drain");
        }
        let old: BTreeSet<Record> =
            before.iter().flat_map(|file| &file.frames).flat_map(|it| it.records.clone()).collect();
        let last = was.map_or(0, |(_, sequence)| sequence);
        let new = now.iter().flat_map(|file| &file.frames).filter(|frame| frame.sequence > last);
        for frame in new {
            self.count("frame");
            let shares = || frame.records.iter().filter(|record| record.count > 0);
            if frame.len > 64 * 1024 {
                self.count("longer than a file");
            }
            if shares().count() > 1 {
                self.count("frame of several streams");
            }
            if frame.records.iter().any(|record| record.count == 0) {
                self.count("void");
            }
            if shares().any(|record| old.contains(record)) {
                self.count("copied forward");
            }
        }
    }

    /// How many streams the newest frame holds something of.
    pub(crate) fn newest_frame(&self) -> (u64, usize) {
        let frames = self.seen.iter().flat_map(|file| &file.frames);
        let newest = frames.max_by_key(|frame| frame.sequence);
        newest.map_or((0, 0), |frame| (frame.sequence, frame.records.len()))
    }

    /// A process is about to open the log.
    pub(crate) fn before_opening(&mut self, disk: &SimDisk) {
        let now = view_on(disk, ROOT);
        // Its slots are written again, and its frames.
        self.died = if now == self.seen { self.died } else { 0 };
        self.seen = now;
        self.writes = disk.calls(CallKind::Write);
    }

    /// It did, or failed or died.
    pub(crate) fn after_opening(&mut self, disk: &SimDisk) {
        let now = view_on(disk, ROOT);
        if Self::newest(&self.seen).is_none() {
            self.seen = now;
        } else if now == self.seen {
            if disk.calls(CallKind::Write) == self.writes {
                return;
            }
            self.died += 1;
            self.count("replay interrupted");
            if self.died == 2 {
                self.count("replay interrupted twice");
            }
        } else {
            self.died = 0;
            self.count("replay");
            self.seen = now;
        }
    }
}
