//! What a user can choose.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};

/// The least that an iterator reads at a time, in bytes.
const READ_BUFFER_LEN_MIN: usize = 4096;

/// When an append is made durable. `docs/durability.md` has the whole contract.
///
/// ```
/// use ironwal::{SyncMode, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
///
/// let wal = Wal::new(WalOptions { sync_mode: SyncMode::BatchOnly, ..WalOptions::new(path) })?;
/// let ledger = wal.stream("ledger")?;
/// ledger.append(b"+100")?;
/// ledger.append_batch(&[b"-30", b"-20"])?; // takes the one before along
/// assert_eq!(ledger.durable_end(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncMode {
    /// Every append is on stable storage when it returns: it survives power loss. Appends from
    /// several threads share syncs.
    Strict,
    /// A batch is on stable storage when it returns, and with it every earlier entry of its
    /// stream. Single appends survive the process being killed, not power loss.
    BatchOnly,
    /// Appends survive the process being killed. No append waits for a sync, except the one that
    /// begins a segment. Entries are synced on request, when the log is closed, and in the
    /// background: full segments, and streams that have been idle for a second or two.
    Async,
    /// Like [`SyncMode::Async`], and a sync of what was appended starts at most this long after the
    /// append returned. Zero syncs as often as the disk can.
    Interval(Duration),
}

impl SyncMode {
    /// When a stream must be synced that was appended to, if the mode says so.
    pub(crate) fn interval(self) -> Option<Duration> {
        match self {
            Self::Interval(interval) => Some(interval),
            _ => None,
        }
    }
}

/// How segments are read.
///
/// ```
/// use ironwal::{ReadStrategy, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
///
/// let wal = Wal::new(WalOptions { read_strategy: ReadStrategy::Mmap, ..WalOptions::new(path) })?;
/// let orders = wal.stream("orders")?;
/// orders.append(b"tea")?;
/// orders.rotate()?; // its segment is full now, so all of it is mapped
/// let (one, again) = (orders.get(0)?.unwrap(), orders.get(0)?.unwrap());
/// assert_eq!(one.as_ptr(), again.as_ptr()); // neither is a copy
/// wal.close()?;
/// assert_eq!(one, "tea"); // what was handed out stays
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStrategy {
    /// By positioned reads.
    StandardIo,
    /// Through memory that is mapped to the file: faster for random reads, and entries are handed
    /// out as [`Bytes`](bytes::Bytes) without copying. Full segments that are durable are mapped
    /// whole, and the others as far as they are committed; where mapping is not possible, and for what
    /// was committed since, positioned reads are used.
    ///
    /// A disk that dies, or somebody else who shortens a segment file, shows up as an error with
    /// [`ReadStrategy::StandardIo`] and ends the process by a signal with this one.
    Mmap,
}

/// How entries are stored.
///
/// ```
/// use ironwal::{CompressionType, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
///
/// let packed = WalOptions { compression: CompressionType::Lz4, ..WalOptions::new(path) };
/// let wal = Wal::new(packed)?;
/// wal.append("pages", &[b' '; 100_000])?;
/// assert!(wal.stats().bytes < 10_000); // with the header of the segment, which takes 8192
/// wal.close()?;
/// let wal = Wal::new(WalOptions::new(path))?; // reads what is compressed, and goes on without
/// assert_eq!(wal.get("pages", 0)?, Some(vec![b' '; 100_000]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As they are.
    None,
    /// Each append or batch compressed with LZ4, where that saves space. Can be switched on and off
    /// at any opening.
    #[cfg(feature = "compression")]
    Lz4,
}

/// What opening does about damage to entries that had been durable.
///
/// Bytes that were never acknowledged (a torn tail) are cut off under either policy.
///
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use ironwal::storage::SimDisk;
/// # use ironwal::{CorruptionPolicy, Environment, Error, Maintenance, Wal, WalOptions};
/// # let disk = SimDisk::new(42);
/// # let open = |on_corruption| {
/// #     let environment = Environment::default()
/// #         .with_storage(Arc::new(disk.process()))
/// #         .with_maintenance(Maintenance::Inline);
/// #     Wal::open_with(WalOptions { on_corruption, ..WalOptions::new("/log") }, environment)
/// # };
/// let wal = open(CorruptionPolicy::Truncate)?;
/// wal.append("orders", b"tea")?;
/// wal.append("orders", b"coffee")?;
/// disk.kill();
/// # let segment = Path::new("/log/orders/00000000000000000000.wal");
/// # let place = disk.contents(segment)?.windows(3).position(|bytes| bytes == b"tea").unwrap();
/// disk.overwrite(segment, place as u64, b"?")?; // rot in the tea
///
/// assert!(matches!(open(CorruptionPolicy::Error), Err(Error::Corruption(_))));
/// let wal = open(CorruptionPolicy::Truncate)?;
/// assert!(wal.get("orders", 0).is_err()); // reported when it is read
/// assert_eq!(wal.get("orders", 1)?, Some(b"coffee".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorruptionPolicy {
    /// Opens. Reads of the damaged entries report them, everything else stays readable, and the
    /// damaged ids stay taken.
    Truncate,
    /// Refuses to open with [`Error::Corruption`](crate::Error::Corruption) if opening comes upon
    /// damage. Opening reads only what it must: entries of full segments are checked when they are
    /// read.
    Error,
}

/// How a [`Wal`](crate::Wal) is opened.
///
/// ```
/// use ironwal::{SyncMode, WalOptions};
///
/// let options = WalOptions {
///     max_segment_size: 16 * 1024 * 1024,
///     sync_mode: SyncMode::BatchOnly,
///     ..WalOptions::new("/var/lib/ledger")
/// };
/// # assert_eq!(options.max_entries_per_segment, u64::MAX);
/// ```
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// The directory of the log, created if it is missing. Default: `./wal_data`.
    pub root_path: PathBuf,
    /// A segment is full once its frames would exceed this many bytes. One append that is larger
    /// gets a segment of its own. Default: 64 MiB. Values above 16 GiB count as 16 GiB; 0 gives
    /// every append a segment of its own.
    pub max_segment_size: u64,
    /// A segment is full for single appends once it holds this many entries (at least 1). A batch
    /// still goes into it if it fits by size: batches are never split. Default: no limit.
    pub max_entries_per_segment: u64,
    /// How many files are kept open for writing: the active segments of the streams that were
    /// appended to last, and full segments on their way to being durable. A file is synced before it
    /// is closed. At least 1. Default: 128.
    pub max_open_segments: usize,
    /// How many full segments are kept open (or mapped) for reading between reads. An iterator holds
    /// the one that it reads besides. At least 1. Default: 128.
    pub max_open_read_segments: usize,
    /// How many bytes of appends a stream gathers in memory while a round before them is being
    /// made durable; further appenders wait. A single append may be larger. Default: 64 KiB.
    pub write_buffer_size: usize,
    /// How many bytes an iterator reads at a time, at least 4 KiB. Default: 128 KiB.
    pub read_buffer_size: usize,
    /// How many bytes of decoded (decompressed and checked) entries are cached for reads by id; at
    /// least 1. Default: none, the operating system's cache is all.
    pub block_cache_size: Option<u64>,
    /// When appends are made durable. Default: [`SyncMode::Strict`].
    pub sync_mode: SyncMode,
    /// How entries are stored. Default: [`CompressionType::None`].
    pub compression: CompressionType,
    /// How full segments are read. Default: [`ReadStrategy::StandardIo`].
    pub read_strategy: ReadStrategy,
    /// What opening does about damage. Default: [`CorruptionPolicy::Truncate`].
    pub on_corruption: CorruptionPolicy,
    /// Appends and batches smaller than this many bytes are not compressed. Default: 1024.
    pub min_compression_size: usize,
    /// Where [`Wal::truncate`](crate::Wal::truncate) keeps the segments that it frees: a directory
    /// outside `root_path`. Default: none, they are deleted.
    pub archive_path: Option<PathBuf>,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            root_path: PathBuf::from("./wal_data"),
            max_segment_size: 64 * 1024 * 1024,
            max_entries_per_segment: u64::MAX,
            max_open_segments: 128,
            max_open_read_segments: 128,
            write_buffer_size: 64 * 1024,
            read_buffer_size: 128 * 1024,
            block_cache_size: None,
            sync_mode: SyncMode::Strict,
            compression: CompressionType::None,
            read_strategy: ReadStrategy::StandardIo,
            on_corruption: CorruptionPolicy::Truncate,
            min_compression_size: 1024,
            archive_path: None,
        }
    }
}

impl WalOptions {
    /// The default options for a log in the directory `path`.
    ///
    /// ```
    /// use ironwal::{SyncMode, WalOptions};
    ///
    /// let options = WalOptions::new("/var/lib/ledger"); // touches no disk
    /// assert_eq!(options.sync_mode, SyncMode::Strict);
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { root_path: path.into(), ..Self::default() }
    }

    /// From how many bytes on appends are compressed; `None`: never.
    pub(crate) fn pack_min_len(&self) -> Option<u64> {
        match self.compression {
            CompressionType::None => None,
            #[cfg(feature = "compression")]
            CompressionType::Lz4 => Some(self.min_compression_size as u64),
        }
    }

    /// Refuses values that have no meaning.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::Config(what.to_string()));
        if self.max_open_segments == 0 {
            return refuse("max_open_segments must be at least 1");
        }
        if self.max_open_read_segments == 0 {
            return refuse("max_open_read_segments must be at least 1");
        }
        if self.block_cache_size == Some(0) {
            return refuse("block_cache_size must be at least 1; None is no cache");
        }
        Ok(())
    }

    /// How much an iterator reads at a time.
    pub(crate) fn read_len(&self) -> usize {
        self.read_buffer_size.max(READ_BUFFER_LEN_MIN)
    }
}
