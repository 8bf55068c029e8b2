//! Frames into the journal's files: where the next one goes, the space that is reserved and zeroed ahead
//! of it, its write and its sync.
//!
//! ```text
//!   header | frame | frame |   zeros   |   reserved   |
//!                          ^           ^              ^
//!                         end     written_to     reserved_to
//! ```
//!
//! When one file takes over from the other, and when a full one is free again, is `journal.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use super::Stream;
use super::journal::Settings;
use crate::error::Result;
use crate::format::BLOCK_LEN;
use crate::format::journal::frame::{self, JournalPlace};
use crate::format::journal::{JOURNAL_HEADER_LEN, RECORD_LEN, Record};
use crate::log::{Whole, shared_error};
use crate::segment::writer::no_space;
use crate::storage::{self, File};
use crate::sync::{Arc, Weak};

/// The most that is reserved ahead at a time, in bytes.
const RESERVE_STEP_MAX: u64 = 8 * 1024 * 1024;

/// The step in which blocks are zeroed ahead the first time.
const ZERO_STEP: u64 = 256 * 1024;

/// The least that a file is.
pub(super) const LEN_MIN: u64 = 64 * 1024;

static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// Where frames are written. Locked while one is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) parts: [Option<Part>; 2],
    /// Which of them frames are written to.
    pub(super) active: usize,
    /// The highest that was given to a file.
    pub(super) generation: u64,
    /// Of the frame that was written last.
    sequence: u64,
    /// Its directory.
    pub(super) previous: Vec<Record>,
    /// The room that whoever leads has asked for and not written to yet: others leave as much.
    pub(super) promised: u64,
    /// The log is closed: the files may be somebody else's.
    pub(super) closed: bool,
    /// It knows of a write that failed before anybody else gets at the files.
    whole: Arc<Whole>,
}

/// One of the files.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) generation: u64,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// The sequence of its first frame, if it has one.
    pub(super) first: u64,
    pub(super) reserved_to: u64,
    /// Blocks are written, with frames or zeros, up to here.
    pub(super) written_to: u64,
    pub(super) is_full: bool,
    /// The streams that it holds something of.
    pub(super) streams: BTreeMap<u64, Weak<Stream>>,
    /// The streams that a void in it speaks of. Nothing is copied behind that from the other file.
    pub(super) voided: BTreeSet<u64>,
}

/// What a frame needs before it can be written.
pub(super) enum Need {
    Nothing,
    /// The other file, which is ready or not there yet.
    Switch,
    /// The other file, which is full.
    Drain,
}

impl State {
    /// No files.
    pub(super) fn new(whole: Arc<Whole>) -> Self {
        Self {
            parts: [None, None],
            active: 0,
            generation: 0,
            sequence: 0,
            previous: Vec::new(),
            promised: 0,
            closed: false,
            whole,
        }
    }

    pub(super) fn active(&mut self) -> Option<&mut Part> {
        self.parts[self.active].as_mut()
    }

    fn other(&self) -> Option<&Part> {
        self.parts[1 - self.active].as_ref()
    }

    pub(super) fn is_other_ready(&self) -> bool {
        self.other().is_some_and(|other| !other.is_full)
    }

    /// Whether the other file is ready and has room without growing.
    pub(super) fn is_other_longer(&self, len: u64) -> bool {
        self.other().is_some_and(|other| !other.is_full && other.end + len <= other.reserved_to)
    }

    pub(super) fn needs(&self, len: u64, len_max: u64) -> Need {
        let Some(active) = &self.parts[self.active] else { return Need::Switch };
        // One frame that is longer than a file should be gets a file for itself.
        if active.end + len <= len_max || active.end == JOURNAL_HEADER_LEN {
            return Need::Nothing;
        }
        match self.other() {
            Some(other) if other.is_full => Need::Drain,
            _ => Need::Switch,
        }
    }

    /// Reserves space for `len` bytes more in the file that is written to.
    pub(super) fn reserve(&mut self, len: u64, len_max: u64) -> Result<()> {
        let Some(part) = self.active() else { return Ok(()) };
        let end = (part.end + len).next_multiple_of(BLOCK_LEN);
        if end <= part.reserved_to {
            return Ok(());
        }
        let step = part.reserved_to.min(RESERVE_STEP_MAX);
        let generous = (part.reserved_to + step).min(len_max).max(end);
        let from = part.reserved_to;
        let reserved = part.file.reserve(from, generous - from).map(|()| generous);
        let reserved = match reserved {
            Err(_) if generous > end => part.file.reserve(from, end - from).map(|()| end),
            other => other,
        };
        part.reserved_to = reserved.map_err(|error| no_space(error, &part.path))?;
        Ok(())
    }

    /// Reserves room for a frame beside what is promised to whoever leads, whose frame is going to
    /// repeat its directory.
    pub(super) fn reserve_more(
        &mut self,
        records: u64,
        payload_len: u64,
        len_max: u64,
    ) -> Result<()> {
        let len = frame::frame_len(records, self.previous.len() as u64, payload_len);
        let promised = match self.promised {
            0 => 0,
            promised => (promised + records * RECORD_LEN).next_multiple_of(BLOCK_LEN),
        };
        self.reserve(len + promised, len_max)
    }

    /// Writes a frame that takes more room than a file should have, if need be.
    pub(super) fn write_more(
        &mut self,
        settings: &Settings,
        records: &[Record],
        payload: &[&[u8]],
    ) -> Result<()> {
        let payload_len = payload.iter().map(|share| share.len() as u64).sum();
        self.reserve_more(records.len() as u64, payload_len, settings.len_max)?;
        self.write(settings.salt, records, payload)?;
        Ok(())
    }

    /// Writes a frame and syncs it; returns its generation, and its payload. If that fails, nothing is
    /// written any more.
    pub(super) fn write(
        &mut self,
        salt: u64,
        records: &[Record],
        payload: &[&[u8]],
    ) -> io::Result<(u64, Bytes)> {
        if let Some(cause) = self.whole.failure() {
            return Err(shared_error(cause));
        }
        let (sequence, mut buffer) = (self.sequence + 1, Vec::new());
        let previous = std::mem::take(&mut self.previous);
        let Some(part) = self.parts[self.active].as_mut() else {
            return Err(io::Error::other("there is no journal to write to"));
        };
        if part.end == JOURNAL_HEADER_LEN {
            part.first = sequence;
        }
        let (generation, offset, first) = (part.generation, part.end, part.first);
        let place = JournalPlace { salt, generation, offset, sequence, first };
        let shares = payload.iter().copied();
        let Some(payload) = frame::encode(&mut buffer, place, records, &previous, shares) else {
            return Err(io::Error::other("a frame of the journal is too long"));
        };
        part.write(&buffer).map_err(|error| shared_error(&self.whole.fail(error)))?;
        self.whole.activity.journaled_to(part.end);
        self.sequence = sequence;
        self.previous = previous;
        self.previous.clear();
        self.previous.extend_from_slice(records);
        Ok((generation, Bytes::from(buffer).slice(payload)))
    }
}

impl Part {
    /// A file with a header and nothing else; no room behind it is known to be there.
    pub(super) fn empty(file: Arc<dyn File>, path: PathBuf, generation: u64) -> Self {
        Self {
            file,
            path,
            generation,
            end: JOURNAL_HEADER_LEN,
            first: 0,
            reserved_to: JOURNAL_HEADER_LEN,
            written_to: JOURNAL_HEADER_LEN,
            is_full: false,
            streams: BTreeMap::new(),
            voided: BTreeSet::new(),
        }
    }

    /// It holds something of a stream. One that was deleted and restored has the same number.
    pub(super) fn holds(&mut self, stream: &Arc<Stream>) {
        if let Some(number) = stream.log().number() {
            self.streams.insert(number, Arc::downgrade(stream));
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let end = self.end + frame.len() as u64;
        storage::write_all_at(&*self.file, frame, self.end)?;
        if end > self.written_to {
            // Under the sync that is due anyway, so that the next frames go to blocks that exist.
            let zero_to = (end + ZERO_STEP).min(self.reserved_to).max(end);
            let len = usize::try_from(zero_to - end).unwrap_or(0);
            storage::write_all_at(&*self.file, &ZEROS[..len], end)?;
            self.written_to = zero_to;
        }
        self.file.sync()?;
        self.end = end;
        Ok(())
    }

    /// It holds nothing of use any more, and has another generation.
    pub(super) fn restart(&mut self, generation: u64, len_max: u64) {
        self.generation = generation;
        self.end = JOURNAL_HEADER_LEN;
        self.is_full = false;
        self.streams.clear();
        self.voided.clear();
        if self.reserved_to > len_max.max(LEN_MIN) {
            let len = len_max.max(LEN_MIN);
            // It was longer for one frame. If it stays so, that is no harm.
            if self.file.set_len(len).is_ok() {
                self.reserved_to = len;
                self.written_to = self.written_to.min(len);
            }
        }
    }
}
