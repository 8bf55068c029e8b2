//! Reading a stream of the old log entry by entry, also past what 0.6.9 cannot read.
//!
//! An iterator of 0.6.9 ends at the first entry that it cannot read, passes over a missing segment without
//! a word, or ends early. Behind the damage another one can begin. So what it yields is held against the ids
//! that are due, and where one is missing, the next that can be read is looked for.

use std::ops::Range;

use ironwal_published::{Wal, WalIdIterator};

use crate::old::OldStream;

/// So many ids are tried one by one; then some are passed over.
const TRIES_MAX: u32 = 4096;

/// What comes next in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An entry: of the id that is due.
    Entry(u64, Vec<u8>),
    /// These cannot be read; and why.
    Lost(Range<u64>, String),
    /// All has been read.
    End,
}

/// A reader of one stream.
pub(crate) struct Reader<'a> {
    wal: &'a Wal,
    stream: &'a OldStream,
    due: u64,
    entries: Option<WalIdIterator>,
    /// What was found behind the last damage.
    found: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// Begins at the id `due`.
    pub(crate) fn new(wal: &'a Wal, stream: &'a OldStream, due: u64) -> Self {
        Self { wal, stream, due, entries: None, found: None }
    }

    /// The next step.
    pub(crate) fn step(&mut self) -> Step {
        if self.due >= self.stream.end {
            return Step::End;
        }
        let reason = match self.read() {
            Ok(entry) => {
                self.due += 1;
                return Step::Entry(self.due - 1, entry);
            }
            Err(reason) => reason,
        };
        let start = self.due;
        self.due = self.find(start + 1);
        Step::Lost(start..self.due, reason)
    }

    /// The entry that is due, or why it cannot be read.
    fn read(&mut self) -> Result<Vec<u8>, String> {
        if let Some(entry) = self.found.take() {
            return Ok(entry);
        }
        let entries = match self.entries.take() {
            Some(entries) => Ok(entries),
            None => self.wal.iter_with_ids(&self.stream.dir, self.due),
        };
        let mut entries = entries.map_err(|error| error.to_string())?;
        match entries.next() {
            Some(Ok((id, entry))) if id == self.due => {
                self.entries = Some(entries);
                Ok(entry)
            }
            Some(Ok((id, _))) => Err(format!("0.6.9 goes on with entry {id}")),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("0.6.9 does not find it".into()),
        }
    }

    /// The first id from `start` on that can be read, or the end. Beyond so many that cannot, in wider and
    /// wider steps, and back from where one can.
    fn find(&mut self, start: u64) -> u64 {
        let (mut bad, mut at, mut step) = (start - 1, start, 1);
        for tries in 0.. {
            if at >= self.stream.end {
                return self.stream.end;
            }
            if self.can_read(at) {
                break;
            }
            if tries >= TRIES_MAX {
                step *= 2;
            }
            // The beginning of a segment is never passed over.
            let next = self.stream.segments.range(at + 1..).next().copied();
            bad = at;
            at = at.saturating_add(step).min(next.unwrap_or(u64::MAX));
        }
        while at - bad > 1 {
            let middle = bad + (at - bad) / 2;
            if self.can_read(middle) { at = middle } else { bad = middle }
        }
        at
    }

    /// Whether this id can be read; if so, it is what is read next.
    fn can_read(&mut self, id: u64) -> bool {
        let entries = self.wal.iter_with_ids(&self.stream.dir, id);
        let Ok(mut entries) = entries else { return false };
        match entries.next() {
            Some(Ok((found, entry))) if found == id => {
                (self.entries, self.found) = (Some(entries), Some(entry));
                true
            }
            _ => false,
        }
    }
}
