//! A handle on one stream.

use std::fmt;
use std::ops::{Range, RangeBounds};

use bytes::Bytes;

use super::follow::Follower;
use super::reshape::Prune;
use super::stats::StreamStats;
use super::submit::Pending;
use super::{Wal, range};
use crate::commit;
use crate::error::Result;
use crate::log::Log;
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

    /// Appends one entry that the next append makes durable with itself.
    #[cfg(feature = "sharded")]
    pub(crate) fn append_unsynced(&self, entry: &[u8]) -> Result<u64> {
        self.wal.inner.append_entry(&self.core, entry, None, false)
    }

    /// The log, as it is now if another process writes to it.
    pub(super) fn log(&self) -> &Log {
        let log = self.core.log();
        // A method that can fail says so itself; what was known stays true.
        let _ = log.refresh();
        log
    }

    /// The name of the stream.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// assert_eq!(wal.stream("orders/2026")?.name(), "orders/2026");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn name(&self) -> &str {
        self.core.log().name()
    }

    /// Appends one entry and returns its id. Blocks on the disk; see [`Wal::append`].
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// assert_eq!(orders.append(b"tea")?, 0);
    /// assert_eq!(wal.append("orders", b"coffee")?, 1); // the same stream
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append(&self, entry: &[u8]) -> Result<u64> {
        self.wal.inner.append_one(&self.core, entry, None)
    }

    /// Appends one entry if it gets the id `expected_id`, and returns that. This is how an event store
    /// refuses to decide on what is out of date.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let account = wal.stream("account")?;
    /// let seen = account.next_id();
    /// account.append(b"somebody else was faster")?;
    /// let refused = account.append_at(seen, b"withdraw 100");
    /// assert!(matches!(refused, Err(Error::Conflict { next_id: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`](crate::Error::Conflict): it would have got another id, and nothing was
    /// appended. Those of [`Wal::append`].
    pub fn append_at(&self, expected_id: u64, entry: &[u8]) -> Result<u64> {
        self.wal.check_open()?;
        self.wal.inner.append_one(&self.core, entry, Some(expected_id))
    }

    /// Appends a batch if its first entry gets the id `expected_id`; see [`Stream::append_at`]. An
    /// empty batch does nothing, whatever is expected.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let account = wal.stream("account")?;
    /// assert_eq!(account.append_batch_at(0, &[b"+100", b"-30"])?, 0..2);
    /// let refused = account.append_batch_at(0, &[b"-70"]);
    /// assert!(matches!(refused, Err(Error::Conflict { next_id: 2, .. })));
    /// assert_eq!(account.next_id(), 2); // nothing was appended
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Stream::append_at`].
    pub fn append_batch_at(&self, expected_id: u64, entries: &[&[u8]]) -> Result<Range<u64>> {
        self.wal.check_open()?;
        self.wal.inner.append_batch(&self.core, entries, Some(expected_id))
    }

    /// Appends one entry without waiting for it: [`Pending::wait`](crate::Pending::wait) does. So one
    /// thread can have thousands of appends in flight, which share syncs. They are committed in the
    /// order in which one thread submitted them, and its other appends to this stream come behind.
    ///
    /// Blocks only while [`WalOptions::write_buffer_size`](crate::WalOptions::write_buffer_size) bytes
    /// are staged or, where they have to wait for room in a segment, a mebibyte is. The first call
    /// starts a thread, which commits what nobody waits for; with
    /// [`Maintenance::Inline`](crate::Maintenance::Inline) the next append or closing does.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let ticks = wal.stream("ticks")?;
    /// let mut in_flight = Vec::new();
    /// for tick in 0..1000_u32 {
    ///     in_flight.push(ticks.submit(&tick.to_le_bytes())?);
    /// }
    /// for (id, pending) in (0..).zip(in_flight) {
    ///     assert_eq!(pending.wait()?, id); // durable now
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Closed`](crate::Error::Closed), and other errors of [`Wal::append`] that are known at
    /// once. Nothing was submitted.
    pub fn submit(&self, entry: &[u8]) -> Result<Pending> {
        self.wal.submit(&self.core, entry)
    }

    /// Appends a batch, all or nothing, and returns its ids. Blocks on the disk; see
    /// [`Wal::append_batch`].
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// assert_eq!(orders.append_batch(&[b"tea", b"coffee"])?, 0..2);
    /// assert_eq!(orders.append_batch(&[])?, 2..2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append_batch(&self, entries: &[&[u8]]) -> Result<Range<u64>> {
        self.wal.check_open()?;
        self.wal.inner.append_batch(&self.core, entries, None)
    }

    /// The entry `id`; `None` if it is not committed (yet) or was pruned. May read from the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// orders.truncate_before(1)?;
    /// assert_eq!(orders.get(0)?, None); // pruned
    /// assert_eq!(orders.get(1)?.as_deref(), Some(&b"coffee"[..]));
    /// assert_eq!(orders.get(2)?, None); // not there yet
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged): the entry had been durable and is damaged.
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed).
    pub fn get(&self, id: u64) -> Result<Option<Bytes>> {
        self.wal.check_open()?;
        self.log().get(id)
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

    /// The entries from `from` on as they are committed, for ever: waits for those that are not there
    /// yet. See [`Follower`](crate::Follower) for what ends it.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// let mut follower = orders.follow(0);
    /// let reader = std::thread::spawn(move || follower.next());
    /// orders.append(b"one coffee")?;
    /// let (id, entry) = reader.join().unwrap().unwrap()?;
    /// assert_eq!((id, &entry[..]), (0, &b"one coffee"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self, from: u64) -> Follower {
        Follower::new(self.wal.clone(), &self.core, from)
    }

    /// The id of the first entry that is kept; equal to [`Stream::next_id`] if there is none.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// assert_eq!((orders.first_id(), orders.next_id()), (0, 0));
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// orders.truncate_before(2)?;
    /// assert_eq!((orders.first_id(), orders.next_id()), (2, 2)); // ids are not given out again
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_id(&self) -> u64 {
        self.log().first_id()
    }

    /// The id behind the last committed entry: what the next one gets if nothing is being appended.
    ///
    /// See [`Stream::first_id`] for an example.
    pub fn next_id(&self) -> u64 {
        self.log().next_id()
    }

    /// The id behind the last entry that survives power loss.
    ///
    /// See [`Stream::sync`] for an example.
    pub fn durable_end(&self) -> u64 {
        self.log().durable_end()
    }

    /// Makes every entry durable that was appended or submitted before the call; if the append of one that
    /// was submitted fails, [`Pending::wait`](crate::Pending::wait) says so. Blocks on the disk.
    ///
    /// ```
    /// use ironwal::{SyncMode, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// let wal = Wal::new(WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(path) })?;
    /// let orders = wal.stream("orders")?;
    /// orders.append(b"tea")?; // survives the process being killed
    /// orders.sync()?; // and now power loss
    /// assert_eq!(orders.durable_end(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io): the sync failed, and the stream is poisoned.
    /// [`Error::Poisoned`](crate::Error::Poisoned), [`Error::Closed`](crate::Error::Closed).
    pub fn sync(&self) -> Result<()> {
        self.wal.check_open()?;
        self.wal.inner.check_writable()?;
        self.core.stage_queued();
        self.core.sync()
    }

    /// Makes the present segment the last one before it is full; does nothing if it is empty. The
    /// next append begins another. Blocks on the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append(b"tea")?;
    /// orders.rotate()?;
    /// orders.rotate()?; // does nothing: the present segment is empty
    /// orders.append(b"coffee")?;
    /// assert_eq!(orders.stats().segments, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`](crate::Error::StorageFull): the segment goes on.
    /// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn rotate(&self) -> Result<()> {
        self.wal.check_open()?;
        self.wal.inner.check_writable()?;
        self.wal.inner.rotate(&self.core)
    }

    /// Prunes every entry below `id`, or all entries if `id` is behind the end: [`Stream::first_id`]
    /// is `id` afterwards, and [`Stream::next_id`] stays. Segments that hold nothing else are freed
    /// (or archived) as [`Wal::truncate`] does; returns how many. Blocks on the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// assert_eq!(orders.truncate_before(1)?, 0); // pruned, though its segment is kept
    /// assert_eq!(orders.first_id(), 1);
    /// assert_eq!(orders.get(0)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::truncate`].
    pub fn truncate_before(&self, id: u64) -> Result<usize> {
        self.wal.check_open()?;
        self.wal.inner.check_writable()?;
        self.wal.inner.prune(&self.core, Prune::Before(id))
    }

    /// Cuts off every entry behind `last_kept`, durably; with `None`, every entry. The next append
    /// gets the id behind it, which may have been another entry's. This is how a replicated log drops
    /// what its leader does not have. Blocks on the disk, while what is kept of one segment is
    /// copied.
    ///
    /// After a crash before it returned, the stream ends where it did, or at `last_kept`.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let log = wal.stream("raft")?;
    /// log.append_batch(&[b"a", b"b", b"not the leader's"])?;
    /// log.truncate_after(Some(1))?;
    /// assert_eq!(log.append(b"c")?, 2); // the id is given out again
    /// log.truncate_after(None)?;
    /// assert_eq!(log.next_id(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Config`](crate::Error::Config): `last_kept` was pruned.
    /// - [`Error::Damaged`](crate::Error::Damaged): the cut would go through damaged entries; cut
    ///   before them.
    /// - [`Error::StorageFull`](crate::Error::StorageFull): nothing was cut.
    /// - [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned),
    ///   [`Error::Closed`](crate::Error::Closed).
    pub fn truncate_after(&self, last_kept: Option<u64>) -> Result<()> {
        self.wal.check_open()?;
        self.wal.inner.check_writable()?;
        self.wal.inner.cut(&self.core, last_kept)
    }

    /// How much there is of the stream.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// let stats = orders.stats();
    /// assert_eq!((stats.first_id, stats.next_id, stats.durable_end), (0, 2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> StreamStats {
        StreamStats::of(self.log())
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
