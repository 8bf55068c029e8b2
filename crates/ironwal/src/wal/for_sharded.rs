//! What `ShardedWal` needs beside the public API.

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use super::inner::Inner;
use super::own::{CHECKPOINTS, Sharding};
use super::{Stream, Wal};
use crate::commit;
use crate::environment::Journal;
use crate::error::{Error, Result};
use crate::log::{Identity, Log};
use crate::options::{CorruptionPolicy, SyncMode};
use crate::sync::{Arc, OnceLock, Weak, lock};

impl Wal {
    pub(crate) fn sharding(&self) -> Option<Sharding> {
        self.inner.sharding.get().copied()
    }

    /// Records how the log is sharded, durably, unless it is recorded already; returns what is.
    pub(crate) fn record_sharding(&self, sharding: Sharding) -> Result<Sharding> {
        self.check_open()?;
        self.inner.check_writable()?;
        let mut root = lock(&self.inner.root);
        let root = root.as_mut().ok_or(Error::Closed)?;
        if let Some(recorded) = self.sharding() {
            return Ok(recorded);
        }
        root.record_sharding(&*self.inner.environment.storage, sharding)?;
        Ok(*self.inner.sharding.get_or_init(|| sharding))
    }

    /// What all handles share that are made over this log: as long as one of them lives it is what the
    /// first one made.
    pub(crate) fn shared_by_handles<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        self.check_open()?;
        let mut shared = lock(&self.inner.shared_by_handles);
        let found = shared.as_ref().and_then(Weak::upgrade).map(Arc::downcast);
        if let Some(Ok(found)) = found {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        let weak: Weak<T> = Arc::downgrade(&made);
        *shared = Some(weak);
        Ok(made)
    }

    /// Whether batches over several streams are durable when they return, and the journal is used for
    /// appends at all: then it is faster to make them atomic.
    pub(crate) fn batches_share_a_sync(&self) -> bool {
        let mode = self.inner.sync_mode;
        matches!(mode, SyncMode::Strict | SyncMode::BatchOnly)
            && self.inner.environment.journal != Journal::Off
    }

    /// Refuses to change a log that is closed, or open for reading only.
    pub(crate) fn check_changeable(&self) -> Result<()> {
        self.check_open()?;
        self.inner.check_writable()
    }

    /// The stream of this name as it is now, if it was ever appended to.
    pub(crate) fn existing(&self, name: &str) -> Result<Option<Stream>> {
        let found = self.find_checked(name)?;
        let existing = found.filter(|core| core.log().newest_segment().is_some());
        Ok(existing.map(|core| Stream::new(self.clone(), core)))
    }

    /// The log of checkpoints.
    pub(crate) fn checkpoints(&self) -> Stream {
        Stream::new(self.clone(), self.inner.checkpoints())
    }

    /// The time since the Unix epoch by the clock of the environment.
    pub(crate) fn now(&self) -> Duration {
        (self.inner.environment.clock)()
    }

    /// The directory of the log.
    pub(crate) fn root_path(&self) -> &Path {
        &self.inner.root_path
    }

    /// Whether it was opened for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.inner.watermark.is_some()
    }

    /// What opening does about damage.
    pub(crate) fn corruption_policy(&self) -> CorruptionPolicy {
        self.inner.on_corruption
    }
}

impl Inner {
    fn checkpoints(&self) -> Arc<commit::Stream> {
        let new = || {
            let dir = self.root_path.join(CHECKPOINTS);
            if let (Some(watermark), Some(view)) = (&self.watermark, &self.journal_view) {
                return Arc::new(self.remote_stream(CHECKPOINTS, dir, watermark, view));
            }
            let (name, number) = (CHECKPOINTS.to_string(), OnceLock::new());
            let identity = Identity { name, dir, number, salt: self.salt };
            let (context, limits) = (Arc::clone(&self.context), self.checkpoints_limits());
            let log = Log::new(context, self.shared.clone(), identity, limits);
            Arc::new(commit::Stream::new(log, Arc::clone(&self.files), Arc::clone(&self.group)))
        };
        Arc::clone(self.checkpoints.get_or_init(new))
    }
}
