//! Many streams in one root: opening, the catalogue, the handles that users hold.

mod archive;
mod batch;
mod cut;
pub(crate) mod deletion;
pub(crate) mod follow;
#[cfg(feature = "sharded")]
pub(crate) mod for_sharded;
mod inner;
pub(crate) mod instant;
mod iter;
mod maintenance;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod own;
pub(crate) mod range;
mod read_only;
pub(crate) mod reshape;
mod retention;
pub(crate) mod root;
mod stats;
mod strangers;
mod stream;
mod submit;
mod txn;
mod watch;
mod worker;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

pub use batch::WriteBatch;
pub use iter::{WalIdIterator, WalIterator};
pub use stats::{StreamStats, WalStats};
pub use stream::Stream;
pub use submit::Pending;
pub use txn::TxnWriter;

use crate::commit;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::options::WalOptions;
use crate::sync::{Arc, Ordering, PoisonError};
use inner::Inner;
use reshape::Prune;
use stats::Observed;

/// A write-ahead log: a directory of named streams.
///
/// A `Wal` is a handle: clones share everything, from any thread. The directory is locked; a second
/// `Wal` on it, in this or another process, gets [`Error::Locked`] while any handle lives.
///
/// Dropping the last handle (streams and iterators are handles too) closes the log as well as it
/// can. [`Wal::close`] does the same and says if something went wrong.
///
/// ```
/// use ironwal::{Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let wal = Wal::new(WalOptions::new(path))?;
/// let id = wal.append("orders", b"one coffee")?; // on stable storage when it returns
/// assert_eq!(wal.get("orders", id)?.as_deref(), Some(&b"one coffee"[..]));
/// wal.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Wal {
    inner: Arc<Inner>,
}

impl Wal {
    /// Opens the log in `options.root_path` for writing, creating it if it is missing, and recovers
    /// what a crash left behind. Blocks until that is done.
    ///
    /// ```
    /// use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// let wal = Wal::new(WalOptions::new(path))?;
    /// assert!(matches!(Wal::new(WalOptions::new(path)), Err(Error::Locked { .. })));
    /// drop(wal); // the last handle
    /// Wal::new(WalOptions::new(path))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: another writer has the directory open.
    /// - [`Error::Corruption`]: the root file is damaged or another log's, or opening came upon damage and
    ///   `options.on_corruption` is [`CorruptionPolicy::Error`](crate::CorruptionPolicy::Error).
    /// - [`Error::UnsupportedVersion`], [`Error::LegacyDirectory`]: the directory was written by a
    ///   newer version, or by version 0.6.
    /// - [`Error::Config`]: an option has no meaning, or the directory holds another program's log, or is that
    ///   of a stream.
    /// - [`Error::StorageFull`]: there is no space to create the log.
    /// - [`Error::Io`]: the operating system reported an error. Opening again is safe.
    pub fn new(options: WalOptions) -> Result<Self> {
        Self::open_with(options, Environment::default())
    }

    /// Opens the log like [`Wal::new`], with a disk, entropy and maintenance from outside.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ironwal::storage::SimDisk;
    /// use ironwal::{Environment, Wal, WalOptions};
    ///
    /// let environment = Environment::default().with_storage(Arc::new(SimDisk::new(42)));
    /// let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// assert_eq!(wal.append("orders", b"tea, in memory")?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::new`].
    pub fn open_with(options: WalOptions, environment: Environment) -> Result<Self> {
        Ok(Self { inner: Arc::new(Inner::open(options, environment)?) })
    }

    /// Appends one entry to a stream, creating the stream if it is new, and returns the entry's id.
    ///
    /// Ids count from 0 without gaps. What the entry survives when this returns is up to the
    /// [`SyncMode`](crate::SyncMode). Blocks on the disk; in
    /// [`SyncMode::Strict`](crate::SyncMode::Strict) concurrent appends share syncs.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// assert_eq!(wal.append("orders", b"tea")?, 0);
    /// assert_eq!(wal.append("orders", b"")?, 1); // an empty entry is one too
    /// assert_eq!(wal.append("payments", b"2.50")?, 0); // each stream counts for itself
    /// assert!(matches!(wal.append("..", b"tea"), Err(Error::Config(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// After any error the entry is not readable and no id was used.
    ///
    /// - [`Error::Config`]: the name is empty, blank, `.`, `..` or too long.
    /// - [`Error::TooLarge`]: the entry exceeds [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN).
    /// - [`Error::StorageFull`]: no space could be reserved; try again once there is some.
    /// - [`Error::Io`]: a write or sync failed, and the stream is poisoned; or a call before the
    ///   first write failed, such as making the stream's directory, and it is not.
    /// - [`Error::Poisoned`]: one failed before.
    /// - [`Error::Damaged`]: the end of the stream is lost, so no id can be given out.
    /// - [`Error::Closed`]: [`Wal::close`] was called.
    pub fn append(&self, stream: &str, entry: &[u8]) -> Result<u64> {
        self.in_stream(stream, |core| self.inner.append_one(core, entry, None))
    }

    /// Appends a batch to a stream and returns the ids of its entries: all of them are there after
    /// a crash, or none.
    ///
    /// An empty batch does nothing and returns an empty range at the next id.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// assert_eq!(wal.append_batch("orders", &[b"tea", b"coffee"])?, 0..2);
    /// assert_eq!(wal.append_batch("orders", &[])?, 2..2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append_batch(&self, stream: &str, entries: &[&[u8]]) -> Result<Range<u64>> {
        if entries.is_empty() {
            self.check_open()?;
            let next_id = self.inner.find(stream).map_or(0, |stream| stream.log().next_id());
            return Ok(next_id..next_id);
        }
        self.in_stream(stream, |core| self.inner.append_batch(core, entries, None))
    }

    /// A writer that collects entries for `stream` and appends them as one batch.
    ///
    /// See [`TxnWriter`] for an example.
    pub fn writer(&self, stream: &str) -> TxnWriter {
        TxnWriter::new(self.clone(), stream)
    }

    /// The entry `id` of a stream; `None` if it is not committed (yet), or the stream is unknown.
    /// May read from the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append("orders", b"tea")?;
    /// assert_eq!(wal.get("orders", 0)?, Some(b"tea".to_vec()));
    /// assert_eq!(wal.get("orders", 1)?, None);
    /// assert_eq!(wal.get("nobody's", 0)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::CrcMismatch`], or [`Error::Corruption`] where there is no checksum to name: the
    ///   entry had been durable and is damaged. [`Stream::get`] returns [`Error::Damaged`] instead,
    ///   which says more.
    /// - [`Error::Config`]: the name cannot be a stream's.
    /// - [`Error::Io`], [`Error::Closed`].
    pub fn get(&self, stream: &str, id: u64) -> Result<Option<Vec<u8>>> {
        let Some(stream) = self.find_checked(stream)? else { return Ok(None) };
        match stream.log().get(id) {
            Ok(entry) => Ok(entry.map(Vec::from)),
            Err(error) => Err(without_details(error)),
        }
    }

    /// The entries with these ids, in the order of `ids`, in which an id may come more than once;
    /// `None` for each that is not committed (yet) or was pruned, and for all if the stream is
    /// unknown. Ids that are near each other share reads. May read from the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append_batch("orders", &[b"tea", b"coffee"])?;
    /// let orders = wal.get_batch("orders", &[1, 7, 0])?;
    /// assert_eq!(orders, [Some(b"coffee".to_vec()), None, Some(b"tea".to_vec())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::get`]. One damaged entry fails the call. The name is not looked at if there
    /// are no ids.
    pub fn get_batch(&self, stream: &str, ids: &[u64]) -> Result<Vec<Option<Vec<u8>>>> {
        if ids.is_empty() {
            self.check_open()?;
            return Ok(Vec::new());
        }
        let Some(stream) = self.find_checked(stream)? else { return Ok(vec![None; ids.len()]) };
        match stream.log().get_batch(ids) {
            Ok(entries) => Ok(entries.into_iter().map(|entry| entry.map(Vec::from)).collect()),
            Err(error) => Err(without_details(error)),
        }
    }

    /// The entries of a stream from `start_id` on, in order, up to the end that is found when the
    /// iterator gets there. It sees appends that are made until then.
    ///
    /// An unknown stream, or a start behind the end, yields nothing. Damage is yielded once, as an
    /// error, and iteration goes on behind it.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append_batch("orders", &[b"tea", b"coffee", b"water"])?;
    /// let orders: Result<Vec<_>, _> = wal.iter("orders", 1)?.collect();
    /// assert_eq!(orders?, [b"coffee".to_vec(), b"water".to_vec()]);
    /// assert_eq!(wal.iter("orders", 7)?.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::Closed`].
    pub fn iter(&self, stream: &str, start_id: u64) -> Result<WalIterator> {
        self.iter_with_ids(stream, start_id).map(WalIterator::new)
    }

    /// The same as [`Wal::iter`], with the id of each entry.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append_batch("orders", &[b"tea", b"coffee"])?;
    /// let orders: Result<Vec<_>, _> = wal.iter_with_ids("orders", 1)?.collect();
    /// assert_eq!(orders?, [(1, b"coffee".to_vec())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::Closed`].
    pub fn iter_with_ids(&self, stream: &str, start_id: u64) -> Result<WalIdIterator> {
        let found = self.find_checked(stream)?;
        Ok(WalIdIterator::new(self.clone(), found.as_deref(), start_id, self.inner.read_len))
    }

    /// A handle on one stream, which is created by its first append.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// assert!(wal.streams().is_empty()); // there is none before its first append
    /// orders.append(b"tea")?;
    /// assert_eq!(wal.streams(), ["orders"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::Closed`].
    pub fn stream(&self, name: &str) -> Result<Stream> {
        let core = self.find_or_create(name)?;
        Ok(Stream::new(self.clone(), core))
    }

    /// The names of all streams that hold or held entries, sorted. In a log that is open for reading
    /// only, without those that cannot be read.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append("payments", b"2.50")?;
    /// wal.append("orders", b"tea")?;
    /// wal.stream("refunds")?;
    /// assert_eq!(wal.streams(), ["orders", "payments"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn streams(&self) -> Vec<String> {
        // What could be looked at is listed.
        let _ = self.inner.look_at_all();
        let streams = self.inner.streams.read().unwrap_or_else(PoisonError::into_inner);
        let exists = |stream: &commit::Stream| stream.log().newest_segment().is_some();
        streams.iter().filter(|(_, stream)| exists(stream)).map(|(name, _)| name.clone()).collect()
    }

    /// Makes every entry durable that was appended or submitted before the call, in every stream and
    /// mode, as [`Stream::sync`] does. Blocks on the disk.
    ///
    /// ```
    /// use ironwal::{SyncMode, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// let wal = Wal::new(WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(path) })?;
    /// wal.append("orders", b"tea")?;
    /// wal.append("payments", b"2.50")?;
    /// wal.sync_all()?;
    /// assert_eq!(wal.stream("payments")?.durable_end(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first error, after every stream has been tried; see [`Wal::append`].
    pub fn sync_all(&self) -> Result<()> {
        self.check_open()?;
        self.inner.check_writable()?;
        self.inner.sync_all()
    }

    /// Collects a batch over several streams, all or nothing; see [`WriteBatch`].
    ///
    /// See [`WriteBatch`] for an example.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new(self.clone())
    }

    /// Closes the log: commits what is staged, makes everything durable, records that, and releases
    /// the directory. Every handle is of no use afterwards: all calls return [`Error::Closed`].
    /// Closing again does nothing.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// wal.close()?;
    /// assert!(matches!(orders.append(b"tea"), Err(Error::Closed)));
    /// wal.close()?; // does nothing
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first error; the log is closed all the same, and the next opening recovers what was
    /// acknowledged.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }

    /// Frees the oldest segments of a stream: those all of whose ids are below `safe_id`, but never
    /// the newest one. Returns how many; 0 if there is no such stream. The next id stays.
    ///
    /// With [`WalOptions::archive_path`] they are copied there first, durably, which blocks.
    /// Otherwise blocks for a sync; files are deleted in the background, within a second as a rule.
    /// [`Stream::truncate_before`] is exact to the entry.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// assert_eq!(wal.truncate("orders", 2)?, 0); // the newest segment stays
    /// orders.rotate()?;
    /// orders.append(b"water")?;
    /// assert_eq!(wal.truncate("orders", 1)?, 0); // entry 1 is in the same segment
    /// assert_eq!(wal.truncate("orders", 2)?, 1);
    /// assert_eq!((orders.first_id(), orders.next_id()), (2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::StorageFull`] (of the archive: nothing was freed), [`Error::Io`],
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn truncate(&self, stream: &str, safe_id: u64) -> Result<usize> {
        self.inner.check_writable()?;
        match self.find_checked(stream)? {
            Some(core) => self.inner.prune(&core, Prune::SegmentsBefore(safe_id)),
            None => Ok(0),
        }
    }

    /// Moves the archived segments of a stream back that lead up to its oldest one, and returns how
    /// many; 0 if there is no archive. A stream that was deleted comes back as far as it was
    /// archived, unless there is a new one of that name; handles of one without entries get
    /// [`Error::StreamNotFound`] then. Blocks while files are copied.
    ///
    /// Can be interrupted and repeated: a segment leaves the archive only once it is durably back.
    ///
    /// ```
    /// use ironwal::{Wal, WalOptions};
    /// # let (dir, archive) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// # let (path, archive) = (dir.path(), archive.path());
    ///
    /// let wal = Wal::new(WalOptions { archive_path: Some(archive.into()), ..WalOptions::new(path) })?;
    /// let orders = wal.stream("orders")?;
    /// orders.append(b"tea")?;
    /// orders.rotate()?;
    /// orders.append(b"coffee")?;
    /// wal.truncate("orders", 1)?;
    /// assert_eq!(wal.get("orders", 0)?, None);
    /// assert_eq!(wal.restore_archived("orders")?, 1);
    /// assert_eq!(wal.get("orders", 0)?, Some(b"tea".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Corruption`]: an archived file cannot be read, and nothing was restored.
    /// [`Error::Config`], [`Error::StorageFull`], [`Error::Io`], [`Error::Closed`].
    pub fn restore_archived(&self, stream: &str) -> Result<usize> {
        self.check_open()?;
        self.inner.check_writable()?;
        self.inner.restore(stream)
    }

    /// Begins a stream that there is not at an id other than 0, as one is whose entries below that id have
    /// been pruned: the first append gets `first_id`. For copying a log, or going on where a snapshot of
    /// another one ends. Handles of a stream of this name without entries get [`Error::StreamNotFound`].
    ///
    /// Blocks on the disk. When it returns, the stream survives power loss; after a crash before that it is
    /// there or is not.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.begin_stream("orders", 1000)?;
    /// assert_eq!(wal.append("orders", b"tea")?, 1000);
    /// assert!(wal.begin_stream("orders", 2000).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`]: there is such a stream, and nothing was changed. [`Error::Config`],
    /// [`Error::StorageFull`], [`Error::Io`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn begin_stream(&self, stream: &str, first_id: u64) -> Result<()> {
        self.check_open()?;
        self.inner.check_writable()?;
        self.inner.begin_stream(stream, first_id)
    }

    /// Deletes a stream with everything in it, durably; does nothing if there is none. What was
    /// archived of it stays. Appending to the name begins a new stream at id 0; handles of the
    /// deleted one get [`Error::StreamNotFound`].
    ///
    /// What somebody else has put into its directory is not deleted: it stays, in the directory
    /// `.deleted.` and a number.
    ///
    /// Blocks for a sync of the root directory; files are deleted in the background.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// wal.delete_stream("orders")?;
    /// assert!(matches!(orders.append(b"water"), Err(Error::StreamNotFound(_))));
    /// assert_eq!(wal.append("orders", b"water")?, 0); // a new stream
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`], [`Error::Closed`]. [`Error::Io`], [`Error::Poisoned`]: it is open whether it
    /// was deleted, and until the log is opened again it may neither be read nor appended to.
    pub fn delete_stream(&self, stream: &str) -> Result<()> {
        self.check_open()?;
        self.inner.check_writable()?;
        self.inner.delete_stream(stream)
    }

    /// The first id of the segment that a stream is appended to, `None` if nothing was ever appended
    /// to it. What is below it can be freed by [`Wal::truncate`].
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// assert_eq!(wal.current_segment_start_id("orders"), None);
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee"])?;
    /// orders.rotate()?;
    /// orders.append(b"water")?;
    /// assert_eq!(wal.current_segment_start_id("orders"), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn current_segment_start_id(&self, stream: &str) -> Option<u64> {
        self.find_checked(stream).ok()??.log().newest_segment()
    }

    /// Does the background work that is due: see
    /// [`Maintenance::Inline`](crate::Maintenance::Inline). Returns when there will be more to do, by
    /// the clock of the environment. Blocks on the disk.
    ///
    /// ```
    /// # use std::{sync::{Arc, Mutex}, time::Duration};
    /// # use ironwal::{Environment, Maintenance, SyncMode, Wal, WalOptions, storage::SimDisk};
    /// let now = Arc::new(Mutex::new(Duration::ZERO));
    /// let clock = Arc::clone(&now);
    /// let environment = Environment::default()
    /// #   .with_storage(Arc::new(SimDisk::new(42)))
    ///     .with_clock(move || *clock.lock().unwrap())
    ///     .with_maintenance(Maintenance::Inline);
    /// let sync_mode = SyncMode::Interval(Duration::from_millis(100));
    /// let wal = Wal::open_with(WalOptions { sync_mode, ..WalOptions::new("/log") }, environment)?;
    /// let orders = wal.stream("orders")?;
    /// orders.append(b"tea")?;
    /// let due = wal.maintain().unwrap();
    /// assert_eq!(orders.durable_end(), 0); // there is time left
    /// *now.lock().unwrap() = due;
    /// wal.maintain();
    /// assert_eq!(orders.durable_end(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maintain(&self) -> Option<Duration> {
        if self.inner.closed.load(Ordering::Acquire) {
            return None;
        }
        self.inner.monitor.look();
        self.inner.maintainer.step()
    }

    /// How much there is of what, over all streams, and what was done since the log was opened. Takes time
    /// for each stream, and waits for no disk in the process that writes.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append_batch("orders", &[b"tea", b"coffee"])?;
    /// let stats = wal.stats();
    /// assert_eq!((stats.streams, stats.entries, stats.poisoned_streams), (1, 2, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stats(&self) -> WalStats {
        let _ = self.inner.look_at_all();
        Observed::of(&self.inner).stats()
    }

    /// Does something with a stream; again with a new one, if that was deleted meanwhile.
    fn in_stream<T>(
        &self,
        name: &str,
        work: impl Fn(&Arc<commit::Stream>) -> Result<T>,
    ) -> Result<T> {
        loop {
            match work(&self.find_or_create(name)?) {
                Err(Error::StreamNotFound(_)) => {}
                done => return done,
            }
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// The stream, if it exists and its name can be one.
    fn find_checked(&self, name: &str) -> Result<Option<Arc<commit::Stream>>> {
        self.check_open()?;
        if self.inner.watermark.is_some() {
            return self.inner.look_at(name);
        }
        let found = self.inner.find(name);
        if found.is_none() {
            names::encode(name)?;
        }
        Ok(found)
    }

    fn find_or_create(&self, name: &str) -> Result<Arc<commit::Stream>> {
        self.check_open()?;
        if let Some(found) = self.inner.look_at(name)? {
            return Ok(found);
        }
        match self.inner.find(name) {
            Some(found) => Ok(found),
            None => self.inner.create_stream(name),
        }
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Wal")
            .field("root_path", &self.inner.root_path)
            .field("sync_mode", &self.inner.sync_mode)
            .field("closed", &self.inner.closed.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Damage as the methods of 0.6 report it.
fn without_details(error: Error) -> Error {
    match error {
        Error::Damaged { expected: Some(expected), found: Some(actual), offset, .. } => {
            Error::CrcMismatch { expected, actual, offset }
        }
        damaged @ Error::Damaged { .. } => Error::Corruption(damaged.to_string()),
        other => other,
    }
}
