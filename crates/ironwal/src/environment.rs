//! What a log takes from outside: a disk, entropy, a clock, and how background work is driven.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::storage::{RealDisk, Storage};
use crate::sync::{Arc, OnceLock};

/// How the work is done that no append waits for: syncing full segments in the modes that do not
/// sync each append, syncing streams before their interval is over, deleting files, and recording
/// that a stream which has gone idle is durable.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::storage::SimDisk;
/// use ironwal::{Environment, Maintenance, Wal, WalOptions};
///
/// let disk = SimDisk::new(42);
/// let environment = Environment::default()
///     .with_storage(Arc::new(disk.clone()))
///     .with_maintenance(Maintenance::Inline);
/// let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// wal.append("orders", b"tea")?;
/// wal.stream("orders")?.rotate()?;
/// wal.append("orders", b"coffee")?;
/// let files = disk.files().len();
/// wal.truncate("orders", 1)?;
/// assert_eq!(disk.files().len(), files - 1); // a thread deletes it later
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maintenance {
    /// A thread of the log does it, started when there is some for the first time.
    Thread,
    /// Whoever causes it does it at once: the appender that fills a segment syncs it, and files are
    /// deleted by the call that frees them. What is due by the clock waits for
    /// [`Wal::maintain`](crate::Wal::maintain). So a simulation on one thread is deterministic.
    Inline,
}

impl Maintenance {
    /// How many threads may do something at once of which `wanted` are worth while: a simulation has
    /// one.
    pub(crate) fn threads_max(self, wanted: usize) -> usize {
        match self {
            Self::Inline => 1,
            Self::Thread => wanted,
        }
    }
}

/// Which appends go to the journal: one file for the whole log, so that one sync makes appends to
/// many streams durable. What is in it is written to the segments of its stream before long.
///
/// Batches over several streams always go to it, as nothing else can make them atomic.
///
/// ```
/// use ironwal::{Environment, Journal, Wal, WalOptions};
/// # use std::sync::Arc;
/// # use ironwal::storage::SimDisk;
/// # let memory = Environment::default().with_storage(Arc::new(SimDisk::new(42)));
///
/// let wal = Wal::open_with(WalOptions::new("/log"), memory.with_journal(Journal::Off))?;
/// wal.append("orders", b"tea")?;
/// assert_eq!(wal.stats().journal_bytes, 0);
/// let mut batch = wal.batch();
/// batch.append("orders", b"coffee");
/// batch.append("bills", b"3.20");
/// batch.commit()?;
/// assert!(wal.stats().journal_bytes > 0); // over two streams
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Journal {
    /// Those that are made durable together with appends to other streams. An append that has
    /// nothing to share a sync with, and one of 8 KiB or more, goes straight to its segment.
    Auto,
    /// Every append of less than 8 KiB that must be durable when it returns.
    On,
    /// None: every stream is synced on its own.
    Off,
}

/// How appends are written that are not synced before they return.
///
/// ```
/// use ironwal::storage::sim::CallKind;
/// use ironwal::{Environment, SyncMode, Wal, WalOptions, WriteStrategy};
/// # use std::sync::Arc;
/// # use ironwal::Maintenance;
/// # use ironwal::storage::SimDisk;
///
/// let writes = |strategy| {
///     let disk = SimDisk::new(42);
///     # let environment = Environment::default()
///     #     .with_storage(Arc::new(disk.clone()))
///     #     .with_maintenance(Maintenance::Inline);
///     let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new("/log") };
///     let wal = Wal::open_with(options, environment.with_write_strategy(strategy))?;
///     wal.append("ticks", b"1")?; // begins a segment
///     let before = disk.calls(CallKind::Write);
///     wal.append("ticks", b"2")?;
///     Ok::<_, ironwal::Error>(disk.calls(CallKind::Write) - before)
/// };
/// assert_eq!(writes(WriteStrategy::Auto)?, 0);
/// assert_eq!(writes(WriteStrategy::StandardIo)?, 1);
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteStrategy {
    /// Into mapped memory, where blocks can be reserved for good, so that no store can fail: on ext4, XFS
    /// and tmpfs on 64-bit Linux. Elsewhere as with [`WriteStrategy::StandardIo`].
    ///
    /// A process that is killed loses nothing either way. But if the disk fails under a page that was
    /// written to it and dropped from memory, if XFS shuts down after an error of the disk, or if somebody
    /// else shortens a segment that is being written to, a store into it ends the process with a signal,
    /// where a write would have returned an error.
    Auto,
    /// By a system call for each.
    StandardIo,
}

/// Tells the time since the Unix epoch, and never goes back.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a log takes from outside. The default is the real world.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::storage::SimDisk;
/// use ironwal::{Environment, Maintenance, Wal, WalOptions};
///
/// let disk = SimDisk::new(42);
/// let environment = Environment::default()
///     .with_storage(Arc::new(disk.clone()))
///     .with_entropy(|| 7)
///     .with_maintenance(Maintenance::Inline);
/// let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// wal.append("s", b"in memory, with crashes on demand")?;
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Clone)]
pub struct Environment {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) entropy: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) clock: Clock,
    pub(crate) maintenance: Maintenance,
    pub(crate) journal: Journal,
    pub(crate) journal_len_max: u64,
    pub(crate) write_strategy: WriteStrategy,
}

impl Environment {
    /// Keeps files on another disk.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal::{Environment, Wal, WalOptions};
    /// let disk = SimDisk::new(42);
    /// let open = || {
    ///     let environment = Environment::default().with_storage(Arc::new(disk.process()));
    ///     Wal::open_with(WalOptions::new("/log"), environment)
    /// };
    /// let wal = open()?;
    /// wal.append("orders", b"tea")?;
    /// disk.crash(); // the power goes, and `wal` with it
    /// assert_eq!(open()?.get("orders", 0)?, Some(b"tea".to_vec()));
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Draws the salt of a new log from `entropy`. Two logs with the same salt take each other's
    /// frames for their own, so give a constant only in tests.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// let bytes = |salt| {
    ///     let disk = SimDisk::new(42);
    ///     let environment = Environment::default()
    ///         .with_storage(Arc::new(disk.clone()))
    ///         .with_maintenance(Maintenance::Inline)
    ///         .with_entropy(move || salt);
    ///     Wal::open_with(WalOptions::new("/log"), environment)?.append("orders", b"tea")?;
    ///     disk.contents(Path::new("/log/orders/00000000000000000000.wal")).map_err(ironwal::Error::from)
    /// };
    /// assert!(bytes(7)? == bytes(7)?); // the same salt and the same calls: the same file
    /// assert!(bytes(7)? != bytes(8)?);
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    #[must_use]
    pub fn with_entropy(mut self, entropy: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Tells the time by `clock`: the time since the Unix epoch, which must never go back.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    /// # use std::sync::Arc;
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal::{Environment, Maintenance, SyncMode, Wal, WalOptions};
    /// # let sync_mode = SyncMode::Interval(Duration::from_secs(10));
    /// # let options = WalOptions { sync_mode, ..WalOptions::new("/log") };
    /// # let memory = Environment::default().with_storage(Arc::new(SimDisk::new(42)));
    /// # let environment = memory.with_maintenance(Maintenance::Inline);
    ///
    /// let seconds = Arc::new(AtomicU64::new(0));
    /// let hand = Arc::clone(&seconds);
    /// let clock = move || Duration::from_secs(hand.load(Ordering::Relaxed));
    /// let wal = Wal::open_with(options, environment.with_clock(clock))?; // syncs every ten seconds
    /// wal.append("ticks", b"1")?;
    /// seconds.store(10, Ordering::Relaxed);
    /// assert_eq!(wal.stream("ticks")?.durable_end(), 0); // due, and not done yet
    /// wal.maintain();
    /// assert_eq!(wal.stream("ticks")?.durable_end(), 1);
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Drives background work in another way.
    ///
    /// See [`Maintenance`] for an example.
    #[must_use]
    pub fn with_maintenance(mut self, maintenance: Maintenance) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Chooses which appends go to the journal. The default, [`Journal::Auto`], is right unless a
    /// measurement says otherwise.
    ///
    /// See [`Journal`] for an example.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// Bounds each of the two files of the journal, in bytes: at least 64 KiB; 64 MiB by default. They
    /// grow as they are used, and one batch may need more. A full one is freed in the background, at
    /// the price of a sync for each stream that is in it; an opening after a crash reads both.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal::{Environment, Wal, WalOptions};
    /// # let memory = Environment::default().with_storage(Arc::new(SimDisk::new(42)));
    /// let wal = Wal::open_with(WalOptions::new("/log"), memory.with_journal_size(1000))?;
    /// assert_eq!(wal.stats().journal_bytes_max, 64 * 1024); // the least
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    #[must_use]
    pub fn with_journal_size(mut self, len_max: u64) -> Self {
        self.journal_len_max = len_max.max(JOURNAL_LEN_MIN);
        self
    }

    /// Chooses how appends are written that are not synced before they return. The default,
    /// [`WriteStrategy::Auto`], is many times as fast as the other.
    ///
    /// See [`WriteStrategy`] for an example.
    #[must_use]
    pub fn with_write_strategy(mut self, write_strategy: WriteStrategy) -> Self {
        self.write_strategy = write_strategy;
        self
    }
}

/// How long each file of the journal becomes, in bytes, if nothing else is said, and at least.
const JOURNAL_LEN_MAX: u64 = 64 * 1024 * 1024;
const JOURNAL_LEN_MIN: u64 = 64 * 1024;

impl Default for Environment {
    fn default() -> Self {
        Self {
            storage: Arc::new(RealDisk),
            entropy: Arc::new(random),
            clock: Arc::new(since_the_epoch),
            maintenance: Maintenance::Thread,
            journal: Journal::Auto,
            journal_len_max: JOURNAL_LEN_MAX,
            write_strategy: WriteStrategy::Auto,
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Environment")
            .field("storage", &self.storage)
            .field("maintenance", &self.maintenance)
            .field("journal", &self.journal)
            .field("write_strategy", &self.write_strategy)
            .finish_non_exhaustive()
    }
}

/// The time since the Unix epoch as it was when this was called first, and gone on from there: it
/// does not follow when somebody sets the clock.
fn since_the_epoch() -> Duration {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (start, instant) = START.get_or_init(|| {
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        (start.unwrap_or_default(), Instant::now())
    });
    *start + instant.elapsed()
}

/// From the operating system; where it has none to give, from the keys of the standard library's
/// hash maps. A salt tells logs apart, it keeps no secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(std::process::id()))
}
