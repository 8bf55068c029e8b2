//! A handle on one stream.

use std::fmt;
use std::ops::{Range, RangeBounds};

use bytes::Bytes;

use super::{Wal, range};
use crate::commit;
use crate::error::Result;
use crate::sync::Arc;

/// One stream of a [`Wal`]: the same as going through it by name, without looking the name up.
/// Clones share the stream.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let ledger = wal.stream("ledger")?;
/// ledger.append(b"+100")?;
/// let ids = ledger.append_batch(&[b"-30", b"-20"])?;
/// assert_eq!(ids, 1..3);
/// assert_eq!(ledger.get(2)?.as_deref(), Some(&b"-20"[..]));
/// assert_eq!(ledger.durable_end(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Stream {
    wal: Wal,
    core: Arc<commit::Stream>,
}

impl Stream {
    pub(crate) fn new(wal: Wal, core: Arc<commit::Stream>) -> Self {
        Self { wal, core }
    }

    /// The name of the stream.
    pub fn name(&self) -> &str {
        self.core.log().name()
    }

    /// Appends one entry and returns its id. Blocks on the disk; see [`Wal::append`].
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append(&self, entry: &[u8]) -> Result<u64> {
        self.wal.inner.append_one(&self.core, entry)
    }

    /// Appends a batch, all or nothing, and returns its ids. Blocks on the disk; see
    /// [`Wal::append_batch`].
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append_batch(&self, entries: &[&[u8]]) -> Result<Range<u64>> {
        self.wal.check_open()?;
        self.wal.inner.append_batch(&self.core, entries)
    }

    /// The entry `id`; `None` if it is not committed (yet) or was pruned. May read from the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged): the entry had been durable and is damaged.
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, id: u64) -> Result<Option<Bytes>> {
        self.wal.check_open()?;
        self.core.log().get(id)
    }

    /// The entries whose ids are in `ids`, from either end, as far as they are committed now: later
    /// appends are not in it. Ids that were pruned are passed over.
    ///
    /// See [`Range`](crate::Range) for damage, and for what happens while it is read.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let ledger = wal.stream("ledger")?;
    /// ledger.append_batch(&[b"+100", b"-30", b"-20"])?;
    /// let (last, entry) = ledger.range(..).next_back().unwrap()?;
    /// assert_eq!((last, &entry[..]), (2, &b"-20"[..]));
    /// let ids: Result<Vec<u64>, _> =
    ///     ledger.range(1..).map(|entry| entry.map(|(id, _)| id)).collect();
    /// assert_eq!(ids?, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range(&self, ids: impl RangeBounds<u64>) -> range::Range {
        range::Range::new(self.wal.clone(), &self.core, &ids)
    }

    /// The id of the first entry that is kept; equal to [`Stream::next_id`] if there is none.
    pub fn first_id(&self) -> u64 {
        self.core.log().first_id()
    }

    /// The id behind the last committed entry: what the next one gets if nothing is being appended.
    pub fn next_id(&self) -> u64 {
        self.core.log().next_id()
    }

    /// The id behind the last entry that survives power loss.
    pub fn durable_end(&self) -> u64 {
        self.core.log().durable_end()
    }

    /// Makes every entry durable that was committed before the call. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io): the sync failed, and the stream is poisoned.
    /// [`Error::Poisoned`](crate::Error::Poisoned), [`Error::Closed`](crate::Error::Closed).
    pub fn sync(&self) -> Result<()> {
        self.wal.check_open()?;
        self.core.sync()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stream")
            .field("name", &self.name())
            .field("first_id", &self.first_id())
            .field("next_id", &self.next_id())
            .field("durable_end", &self.durable_end())
            .finish_non_exhaustive()
    }
}
