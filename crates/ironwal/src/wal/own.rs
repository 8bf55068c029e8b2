//! What the library keeps in a log for itself, beside the streams of users: how it is sharded, and the
//! log of checkpoints.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Wal;
use super::inner::Inner;
use crate::error::Result;
use crate::log::tail::Limits;
use crate::options::SyncMode;
use crate::storage::{EntryKind, Storage};
use crate::sync::Arc;

/// The directory of the log of checkpoints. No user's stream has it: theirs do not begin with a dot.
pub(crate) const CHECKPOINTS: &str = ".checkpoints";

/// Of the log of checkpoints, whatever the options say: each is on stable storage when it is
/// acknowledged, and segments are of the default size, for they are not there to be pruned.
const CHECKPOINTS_LIMITS: Limits = Limits {
    segment_len_max: 64 * 1024 * 1024,
    entries_max: u64::MAX,
    sync_mode: SyncMode::Strict,
    staged_len_max: 64 * 1024,
    fileless: false,
    maps: false,
};

/// How a log is sharded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sharding {
    /// At least 1.
    pub(crate) shard_count: u16,
    /// The number of the algorithm by which keys find their shard.
    pub(crate) routing: u16,
}

impl Wal {
    /// How many shards the log has, if it is one of `ironwal::sharded::ShardedWal` (feature
    /// `sharded`); as of when it was opened or became one.
    ///
    /// ```
    /// use ironwal::sharded::ShardedWal;
    /// use ironwal::{Wal, WalOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// assert_eq!(wal.shard_count(), None);
    /// ShardedWal::over(wal.clone(), 16)?;
    /// assert_eq!(wal.shard_count(), Some(16));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shard_count(&self) -> Option<u16> {
        self.inner.sharding.get().map(|sharding| sharding.shard_count)
    }
}

impl Inner {
    /// The limits of the log of checkpoints.
    pub(super) fn checkpoints_limits(&self) -> Limits {
        Limits { fileless: self.limits.fileless, ..CHECKPOINTS_LIMITS }
    }

    /// Recovers the log of checkpoints, if there is one.
    pub(super) fn recover_checkpoints(&self, storage: &dyn Storage, root: &Path) -> Result<()> {
        if let Some(dir) = checkpoints_dir(storage, root)? {
            let of = (CHECKPOINTS.to_string(), dir);
            if let Some(stream) = self.recover_one(of, self.checkpoints_limits())? {
                let _ = self.checkpoints.set(Arc::new(stream));
            }
        }
        Ok(())
    }
}

/// The directory of the log of checkpoints, if there is one.
pub(crate) fn checkpoints_dir(storage: &dyn Storage, root: &Path) -> Result<Option<PathBuf>> {
    let is_it = |name: &OsStr, kind| kind == EntryKind::Dir && name == CHECKPOINTS;
    let is_there = storage.list(root)?.iter().any(|entry| is_it(&entry.name, entry.kind));
    Ok(is_there.then(|| root.join(CHECKPOINTS)))
}

/// Whether this is the directory of a stream that users do not see.
pub(super) fn is_own(stream_dir: &Path) -> bool {
    stream_dir.file_name().is_some_and(|name| name == CHECKPOINTS)
}
