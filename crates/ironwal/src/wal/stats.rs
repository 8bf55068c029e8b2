//! Counting what there is.

use super::inner::Inner;
use crate::log::Log;
use crate::sync::PoisonError;

/// How much there is of one stream. From [`Stream::stats`](crate::Stream::stats).
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
}

impl StreamStats {
    pub(super) fn of(log: &Log) -> Self {
        let (segments, bytes) = log.size();
        let (first_id, next_id) = (log.first_id(), log.next_id());
        Self { first_id, next_id, durable_end: log.durable_end(), segments, bytes }
    }

    /// How many entries are kept.
    pub fn entries(&self) -> u64 {
        self.next_id.saturating_sub(self.first_id)
    }
}

/// How much there is of all streams. From [`Wal::stats`](crate::Wal::stats).
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
}

impl WalStats {
    pub(super) fn of(inner: &Inner) -> Self {
        let open_segments = inner.files.budget().open();
        let mut all = Self { streams: 0, entries: 0, segments: 0, bytes: 0, open_segments };
        let streams = inner.streams.read().unwrap_or_else(PoisonError::into_inner);
        for stream in streams.values() {
            let of = StreamStats::of(stream.log());
            all.streams += usize::from(of.segments > 0);
            all.entries += of.entries();
            all.segments += of.segments;
            all.bytes += of.bytes;
        }
        all
    }
}
