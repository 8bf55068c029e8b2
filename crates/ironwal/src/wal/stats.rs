//! Counting what there is, and what was done.

use std::time::Duration;

use super::inner::{Catalogue, Inner};
use crate::log::files::OpenFiles;
use crate::log::{Log, Whole};
use crate::segment::ReadContext;
use crate::sync::{Arc, PoisonError, RwLock};

/// How much there is of one stream. From [`Stream::stats`](crate::Stream::stats).
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// wal.append_batch("orders", &[&b"tea"[..], b"coffee", b"milk"])?;
/// let stats = wal.stream("orders")?.stats();
/// assert_eq!((stats.first_id, stats.next_id, stats.entries()), (0, 3, 3));
/// assert_eq!(stats.segments, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// The id of the first entry that is kept.
    pub first_id: u64,
    /// The id behind the last committed entry.
    pub next_id: u64,
    /// The id behind the last entry that survives power loss.
    pub durable_end: u64,
    /// Segment files.
    pub segments: usize,
    /// Bytes of their headers and committed frames. Files may be larger by what is reserved.
    pub bytes: u64,
    /// How many [follow](crate::Stream::follow) the stream in this process.
    pub followers: usize,
    /// How many entries behind the end the last of them is.
    pub follower_lag: u64,
    /// Whether a write or a sync failed, so that nothing can be appended until the log is opened again.
    pub is_poisoned: bool,
}

impl StreamStats {
    pub(super) fn of(log: &Log) -> Self {
        let (segments, bytes) = log.size();
        let (first_id, next_id) = (log.first_id(), log.next_id());
        let durable_end = log.durable_end();
        let (followers, follower_lag) = log.followers();
        let is_poisoned = log.is_poisoned();
        Self {
            first_id,
            next_id,
            durable_end,
            segments,
            bytes,
            followers,
            follower_lag,
            is_poisoned,
        }
    }

    /// How many entries are kept.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// orders.append_batch(&[b"tea", b"coffee", b"water"])?;
    /// orders.truncate_before(1)?;
    /// assert_eq!(orders.stats().entries(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(&self) -> u64 {
        self.next_id.saturating_sub(self.first_id)
    }
}

/// How much there is of all streams, and what was done since the log was opened. From
/// [`Wal::stats`](crate::Wal::stats).
///
/// The numbers are read one after another while others go on: each is right, and they may be a moment
/// apart.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// wal.append("orders", b"tea")?;
/// wal.append("bills", b"3.20")?;
/// let stats = wal.stats();
/// assert_eq!((stats.streams, stats.entries, stats.appended_entries), (2, 2, 2));
/// assert!(stats.syncs >= 2, "each of them waited for its sync");
/// assert_eq!((stats.poisoned_streams, stats.oldest_waiting), (0, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalStats {
    /// Streams that hold or held entries.
    pub streams: usize,
    /// Entries that are kept.
    pub entries: u64,
    /// Segment files.
    pub segments: usize,
    /// Bytes of their headers and committed frames.
    pub bytes: u64,
    /// Files that are open for writing.
    pub open_segments: usize,
    /// Entries that were committed by this process.
    pub appended_entries: u64,
    /// Bytes of their frames.
    pub appended_bytes: u64,
    /// Rounds in which appends were written together. Those that go to mapped memory one by one are in none.
    pub commits: u64,
    /// Syncs of segments and of the journal.
    pub syncs: u64,
    /// Bytes in the file of the [journal](crate::Journal) that is written to.
    pub journal_bytes: u64,
    /// Bytes that a file of the journal may have before the other one is begun.
    pub journal_bytes_max: u64,
    /// How often a block of entries was found in the [cache](crate::WalOptions::block_cache_size).
    pub cache_hits: u64,
    /// How often it was not, and had to be decoded.
    pub cache_misses: u64,
    /// How many follow a stream in this process.
    pub followers: usize,
    /// How many entries behind the end of its stream the last of them is.
    pub follower_lag: u64,
    /// Streams in which a write or a sync failed, so that nothing can be appended to them until the log is
    /// opened again.
    pub poisoned_streams: usize,
    /// How long the write or sync takes that has taken longest of those under way, and with it the appends
    /// that wait for it. A disk that stalls shows here. `None`: there is none.
    pub oldest_waiting: Option<Duration>,
}

/// What the numbers come from. It may outlive the handles of the log.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    streams: Arc<RwLock<Catalogue>>,
    files: Arc<OpenFiles>,
    context: Arc<ReadContext>,
    whole: Arc<Whole>,
    journal_len_max: u64,
}

impl Observed {
    pub(super) fn of(inner: &Inner) -> Self {
        Self {
            streams: Arc::clone(&inner.streams),
            files: Arc::clone(inner.files.budget()),
            context: Arc::clone(&inner.context),
            whole: Arc::clone(&inner.shared.whole),
            journal_len_max: inner.environment.journal_len_max,
        }
    }

    /// Blocks on nothing that waits for a disk.
    pub(super) fn stats(&self) -> WalStats {
        let activity = &self.whole.activity;
        let (appended_entries, appended_bytes) = activity.appends();
        let (cache_hits, cache_misses) = self.context.hits_and_misses();
        let mut all = WalStats {
            streams: 0,
            entries: 0,
            segments: 0,
            bytes: 0,
            open_segments: self.files.open(),
            appended_entries,
            appended_bytes,
            commits: activity.commits(),
            syncs: activity.syncs(),
            journal_bytes: activity.journal_end(),
            journal_bytes_max: self.journal_len_max,
            cache_hits,
            cache_misses,
            followers: 0,
            follower_lag: 0,
            poisoned_streams: 0,
            oldest_waiting: activity.longest_work(),
        };
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.values() {
            let log = stream.log();
            let of = StreamStats::of(log);
            all.streams += usize::from(of.segments > 0);
            all.entries += of.entries();
            all.segments += of.segments;
            all.bytes += of.bytes;
            let (entries, bytes) = log.placed_uncounted();
            all.appended_entries += entries;
            all.appended_bytes += bytes;
            all.followers += of.followers;
            all.follower_lag = all.follower_lag.max(of.follower_lag);
            all.poisoned_streams += usize::from(of.is_poisoned);
        }
        all
    }

    /// The age of the oldest work on the disk: see [`WalStats::oldest_waiting`].
    pub(super) fn oldest_waiting(&self) -> Option<Duration> {
        self.whole.activity.longest_work()
    }
}
