//! Reading a stream of the old log entry by entry, also past what 0.6.9 cannot read.
//!
//! An iterator of 0.6.9 ends at the first entry that it cannot read, passes over a missing segment without
//! a word, or ends early. Behind the damage another one can begin. So what it yields is held against the ids
//! that are due, and where one is missing, the next that can be read is looked for.

use std::ops::Range;

use ironwal_published::{Wal, WalIdIterator};

use crate::old::OldStream;

/// For so many ids it is tried to read them one by one; then the next segment is.
const TRIES_MAX: u64 = 1 << 16;

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

    /// The first id from `start` on that can be read, or the end.
    fn find(&mut self, start: u64) -> u64 {
        let mut at = start;
        let mut tries = 0;
        while at < self.stream.end {
            if let Ok(mut entries) = self.wal.iter_with_ids(&self.stream.dir, at)
                && let Some(Ok((id, entry))) = entries.next()
                && id == at
            {
                (self.entries, self.found) = (Some(entries), Some(entry));
                return at;
            }
            tries += 1;
            at += 1;
            if tries == TRIES_MAX {
                let next = self.stream.segments.range(at..).next();
                (at, tries) = (next.copied().unwrap_or(self.stream.end), 0);
            }
        }
        self.stream.end
    }
}
