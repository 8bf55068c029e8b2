//! Collecting a batch.

use std::ops::Range;

use super::Wal;
use crate::error::Result;

/// Collects entries and appends them as one batch. Dropped without [`TxnWriter::commit`] it appends
/// nothing.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let mut transfer = wal.writer("ledger");
/// transfer.add("alice -100");
/// transfer.add("bob +100");
/// assert_eq!(transfer.commit()?, 0..2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TxnWriter {
    wal: Wal,
    stream: String,
    entries: Vec<Vec<u8>>,
}

impl TxnWriter {
    pub(crate) fn new(wal: Wal, stream: &str) -> Self {
        Self { wal, stream: stream.to_string(), entries: Vec::new() }
    }

    /// Adds an entry, in memory.
    ///
    /// See [`TxnWriter`] for an example.
    pub fn add(&mut self, data: impl Into<Vec<u8>>) {
        self.entries.push(data.into());
    }

    /// Appends what was added as one batch and returns its ids; `0..0` if nothing was added.
    /// Blocks on the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let mut transfer = wal.writer("ledger");
    /// transfer.add("alice -100");
    /// drop(transfer); // appends nothing
    /// assert_eq!(wal.writer("ledger").commit()?, 0..0);
    /// assert!(wal.streams().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`]. What was added is lost with the writer.
    pub fn commit(self) -> Result<Range<u64>> {
        if self.entries.is_empty() {
            return Ok(0..0);
        }
        let entries: Vec<&[u8]> = self.entries.iter().map(Vec::as_slice).collect();
        self.wal.append_batch(&self.stream, &entries)
    }
}
