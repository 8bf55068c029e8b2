//! What a user can choose.

use std::path::PathBuf;

/// When an append is made durable. `docs/durability.md` has the whole contract.
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
}

/// What opening does about damage to entries that had been durable.
///
/// Bytes that were never acknowledged (a torn tail) are cut off under either policy.
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
    /// How many bytes an iterator reads at a time, at least 4 KiB. Default: 128 KiB.
    pub read_buffer_size: usize,
    /// When appends are made durable. Default: [`SyncMode::Strict`].
    pub sync_mode: SyncMode,
    /// What opening does about damage. Default: [`CorruptionPolicy::Truncate`].
    pub on_corruption: CorruptionPolicy,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            root_path: PathBuf::from("./wal_data"),
            max_segment_size: 64 * 1024 * 1024,
            max_entries_per_segment: u64::MAX,
            read_buffer_size: 128 * 1024,
            sync_mode: SyncMode::Strict,
            on_corruption: CorruptionPolicy::Truncate,
        }
    }
}

impl WalOptions {
    /// The default options for a log in the directory `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { root_path: path.into(), ..Self::default() }
    }
}
