//! The journal, on files that a program builds and damages as it does with segments.
//!
//! - a scan comes to an end, asks for no more than there is and its answers do not depend on how many
//!   bytes the source hands out at a time;
//! - every frame it finds was built at that offset, its directories are the ones that were built, and
//!   if it is whole, so is its payload;
//! - of any files, the frames that count have rising sequences, and shares lie inside their frames;
//! - no frame before the last that was found is passed over in silence: it counts, or its records are
//!   lost or void, or an unknown loss is told.
//!
//! Some programs forge headers under checksums that match; then only what holds for any bytes is checked.

use std::collections::BTreeMap;

use super::input::{Input, Sparing};
use crate::format::checksum::{self, JournalSeed};
use crate::format::fields::{put, u32_at};
use crate::format::journal::frame::{self, JournalPlace};
use crate::format::journal::header::JournalHeader;
use crate::format::journal::resolve::{JournalFile, Resolved, resolve};
use crate::format::journal::scan::{Found, FoundFrame, scan};
use crate::format::journal::{JOURNAL_HEADER_LEN, Record};
use crate::format::scan::{SliceSource, Source};

const BLOCK: usize = 4096;

/// A frame as it was built.
struct BuiltFrame {
    sequence: u64,
    records: Vec<Record>,
    previous: Vec<Record>,
    bytes: Vec<u8>,
}

/// A file in memory.
struct Built {
    header: JournalHeader,
    bytes: Vec<u8>,
    frames: BTreeMap<u64, BuiltFrame>,
}

impl Built {
    fn build(
        input: &mut Input<'_>,
        header: JournalHeader,
        (first, previous): (u64, &[Record]),
    ) -> Self {
        let mut bytes = vec![0; JOURNAL_HEADER_LEN as usize];
        let mut frames = BTreeMap::new();
        let mut previous = previous.to_vec();
        for sequence in first..first + u64::from(input.u8() % 5) {
            let records: Vec<Record> = (0..=input.u8() % 3).map(|_| record(input)).collect();
            let len = records.iter().map(|record| record.len as usize).sum();
            let payload = vec![input.u8(); len];
            let (JournalHeader { salt, generation, .. }, offset) = (header, bytes.len() as u64);
            let place = JournalPlace { salt, generation, offset, sequence, first };
            let start = bytes.len();
            frame::encode(&mut bytes, place, &records, &previous, [&payload[..]]).unwrap();
            let built = BuiltFrame {
                sequence,
                records: records.clone(),
                previous,
                bytes: bytes[start..].to_vec(),
            };
            frames.insert(offset, built);
            previous = records;
        }
        Self { header, bytes, frames }
    }

    fn last(&self) -> Option<&BuiltFrame> {
        self.frames.values().next_back()
    }

    /// Damages it once behind the header; whether nobody forged anything.
    fn damage(&mut self, input: &mut Input<'_>) -> bool {
        let header = JOURNAL_HEADER_LEN as usize;
        let Some(frames_len) = self.bytes.len().checked_sub(header).filter(|len| *len > BLOCK)
        else {
            return true;
        };
        // Mostly where the directories are.
        let block = usize::from(input.u8()) % (frames_len / BLOCK) * BLOCK + header;
        let at = block + usize::from(input.u16() % 4096) % [BLOCK, 64, 200][block / BLOCK % 3];
        let len = usize::from(input.u8()).min(self.bytes.len() - at);
        match input.u8() % 7 {
            0 | 1 => self.bytes[at] ^= 1 << (len % 8),
            2 => self.bytes[at..at + len].fill(0),
            3 => {
                let new = input.bytes(len);
                self.bytes[at..at + new.len()].copy_from_slice(new);
            }
            4 => {
                let from = len % (frames_len / BLOCK) * BLOCK + header;
                self.bytes.copy_within(from..from + BLOCK, block);
            }
            5 => self.bytes.truncate(at),
            _ => {
                self.forge(input, block);
                return false;
            }
        }
        true
    }

    /// Makes a header of the bytes at a block, and of its first field a directory.
    fn forge(&mut self, input: &mut Input<'_>, block: usize) {
        let seed = JournalSeed::new(self.header.salt, self.header.generation);
        let bytes = &mut self.bytes[block..];
        put(bytes, 24, self.header.generation.to_le_bytes());
        bytes[48..60].fill(0);
        let at = 8 + usize::from(input.u8()) % 36;
        put(bytes, at, input.u32().to_le_bytes());
        let check = checksum::append(seed.at(block as u64), &bytes[8..60]);
        put(bytes, 60, check.to_le_bytes());
        let records = u64::from(u32_at(bytes, 8)) + u64::from(u32_at(bytes, 12));
        let end = usize::try_from(64 + 32 * records).unwrap_or(usize::MAX).min(bytes.len());
        let head = checksum::append(check, &bytes[64..end]);
        put(bytes, 4, head.to_le_bytes());
    }

    fn scan(&self, input: &mut Input<'_>) -> Vec<FoundFrame> {
        let limit = self.bytes.len() as u64 + u64::from(input.u8() % 2);
        let Ok(frames) = scan(&mut SliceSource(&self.bytes), self.header, limit);
        let mut source = Counting(Sparing(&self.bytes), 0);
        let Ok(again) = scan(&mut source, self.header, limit);
        assert_eq!(frames, again, "the answers depend on the windows");
        // A directory that the file does not hold is asked for once.
        assert!(source.1 <= 2 * self.bytes.len() as u64 + (64 << 20) + 64);
        let mut offset = JOURNAL_HEADER_LEN;
        for frame in &frames {
            assert!(frame.offset >= offset && frame.offset.is_multiple_of(BLOCK as u64));
            offset = frame.offset + frame.len;
        }
        frames
    }

    fn check(&self, found: &[FoundFrame]) {
        for frame in found {
            let built = &self.frames[&frame.offset];
            assert_eq!((frame.sequence, frame.len), (built.sequence, built.bytes.len() as u64));
            if frame.found != Found::Header {
                assert_eq!((&frame.directory, &frame.previous), (&built.records, &built.previous));
            }
            if frame.found == Found::Whole {
                let len: u64 = built.records.iter().map(|record| record.len).sum();
                let (start, offset) = (frame.payload as usize, frame.offset as usize);
                let end = start + len as usize;
                assert_eq!(self.bytes[start..end], built.bytes[start - offset..end - offset]);
            }
        }
    }
}

fn record(input: &mut Input<'_>) -> Record {
    let stream_number = u64::from(input.u8() % 4);
    if input.u8() % 8 == 7 {
        return Record::void(stream_number);
    }
    let (index, len) = (u32::from(input.u8()), 24 + 8 * u64::from(input.u16() % 2000));
    Record { stream_number, segment: 0, index, count: 1, offset: 8192, len }
}

/// Counts what it is asked for.
struct Counting<'a>(Sparing<'a>, u64);

impl Source for Counting<'_> {
    type Error = std::convert::Infallible;

    fn window(&mut self, offset: u64, want: usize) -> Result<&[u8], Self::Error> {
        self.1 += want as u64;
        self.0.window(offset, want)
    }
}

pub(super) fn run(input: &[u8]) {
    // Another input, another log: otherwise the fuzzer learns to forge checksums of this one.
    scan_what_it_builds(&mut Input(input), u64::from(checksum::of(input)));
}

fn scan_what_it_builds(input: &mut Input<'_>, salt: u64) {
    let header = |generation| JournalHeader { salt, generation, is_closed: false };
    let goes_on = !input.u8().is_multiple_of(4);
    let older = Built::build(input, header(5), (1, &[]));
    let (first, previous) = match older.last().filter(|_| goes_on) {
        Some(last) => (last.sequence + 1, &last.records[..]),
        None => (1, &[][..]),
    };
    let newer = Built::build(input, header(6), (first, previous));
    let mut files = [older, newer];
    let mut honest = true;
    while !input.is_empty() {
        honest &= files[usize::from(input.u8() % 2)].damage(input);
    }

    let found = files
        .each_ref()
        .map(|file| JournalFile { generation: file.header.generation, frames: file.scan(input) });
    let resolved = resolve(&found);
    check_any(&resolved, &found);
    if honest {
        for (file, found) in files.iter().zip(&found) {
            file.check(&found.frames);
        }
        // Of two processes only the newer one that is seen counts.
        let run = match (first, found[1].frames.is_empty()) {
            (1, true) => 0..1,
            (1, false) => 1..2,
            _ => 0..2,
        };
        check_nothing_missed(&files[run.clone()], &found[run], &resolved);
    }
}

fn check_any(resolved: &Resolved, found: &[JournalFile]) {
    assert!(resolved.frames.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    for share in &resolved.shares {
        let frames = &found[share.file].frames;
        let frame = frames.iter().find(|frame| frame.sequence == share.sequence).unwrap();
        assert!(share.offset >= frame.payload);
        assert!(share.offset + share.record.len <= frame.offset + frame.len);
        assert!(!share.record.is_void());
    }
}

fn check_nothing_missed(files: &[Built], found: &[JournalFile], resolved: &Resolved) {
    let sequences = found.iter().flat_map(|file| &file.frames).map(|frame| frame.sequence);
    let last = sequences.max().unwrap_or(0);
    let built = files.iter().flat_map(|file| file.frames.values());
    for frame in built.filter(|frame| frame.sequence < last) {
        let counts = resolved.frames.iter().any(|counted| counted.sequence == frame.sequence);
        let told = frame.records.iter().all(|record| {
            resolved.voided.contains(&record.stream_number)
                || resolved
                    .lost
                    .iter()
                    .any(|lost| (lost.sequence, lost.record) == (frame.sequence, *record))
        });
        assert!(counts || told || resolved.unknown > 0, "frame {} in silence", frame.sequence);
    }
}
