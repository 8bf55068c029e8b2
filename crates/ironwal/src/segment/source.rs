//! A file as a source of bytes for the scanner, read a piece at a time.

use std::io;
use std::sync::Arc;

use crate::format::scan::Source;
use crate::storage::{self, File};

/// Reads ahead `read_len` bytes at a time and keeps what it read last.
#[derive(Debug)]
pub(crate) struct FileSource {
    file: Arc<dyn File>,
    read_len: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl FileSource {
    /// A source that reads at least `read_len` bytes at a time.
    pub(crate) fn new(file: Arc<dyn File>, read_len: usize) -> Self {
        Self { file, read_len, start: 0, bytes: Vec::new() }
    }

    /// The bytes that were read last, and where they begin in the file.
    pub(crate) fn into_bytes(self) -> (u64, Vec<u8>) {
        (self.start, self.bytes)
    }

    /// How many bytes from `offset` on are at hand.
    fn at_hand(&self, offset: u64) -> Option<usize> {
        let skipped = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.len().checked_sub(skipped)
    }

    /// Forgets what was read: the file has grown or changed behind it.
    pub(crate) fn forget(&mut self) {
        self.bytes.clear();
    }
}

impl Source for FileSource {
    type Error = io::Error;

    fn window(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        if self.at_hand(offset).is_none_or(|at_hand| at_hand < want) {
            // Nothing that a file says makes this allocate more than the file holds: a length is
            // bounded by the file's before it is wanted.
            let len = want.max(self.read_len);
            self.bytes.resize(len, 0);
            self.start = offset;
            let filled = storage::read_up_to(&*self.file, &mut self.bytes, offset);
            self.bytes.truncate(*filled.as_ref().unwrap_or(&0));
            filled?;
        }
        let skipped = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skipped..).unwrap_or_default())
    }
}
