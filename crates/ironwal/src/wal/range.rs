//! A range of a stream.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use super::Wal;
use crate::commit;
use crate::error::Result;
use crate::log::range::Span;
use crate::sync::Arc;

/// The entries of a range of a stream with their ids, from either end. From
/// [`Stream::range`](super::Stream::range).
///
/// - Its end is fixed when it is made; nothing that is appended later is in it. It is a handle on the
///   log, like the stream.
/// - An entry is a slice of the memory that was read for it and its neighbours (up to
///   `read_buffer_size` bytes) or of the mapped file: copy small ones that you keep for long.
/// - Damage is yielded once, as [`Error::Damaged`](crate::Error::Damaged) with the ids that cannot be read, by whichever end
///   comes to it first, and that end goes on behind it. The ids are those of the whole damage; they
///   can reach beyond the range.
/// - [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed), and for a log that was
///   opened for reading [`Error::Locked`](crate::Error::Locked), if whoever writes to it does not tell
///   where it ends, are yielded once, and both ends are over.
/// - Entries that are pruned meanwhile are passed over at the front, and end it at the back. Where
///   entries were cut off meanwhile, it ends.
///
/// Reading blocks on the disk.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let orders = wal.stream("orders")?;
/// orders.append_batch(&[b"tea", b"coffee"])?;
/// let mut range = orders.range(..);
/// orders.append(b"water")?; // not in it
/// assert_eq!(range.next_back().unwrap()?.0, 1);
/// assert_eq!(range.next().unwrap()?.0, 0);
/// assert!(range.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Range {
    wal: Wal,
    span: Span,
}

impl Range {
    pub(super) fn new(wal: Wal, stream: &commit::Stream, ids: &impl RangeBounds<u64>) -> Self {
        let start = match ids.start_bound() {
            Bound::Included(start) => *start,
            // Behind the last id there is nothing, and no entry has that id.
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match ids.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let span = Span::new(Arc::clone(stream.log()), start, end, wal.inner.read_len);
        Self { wal, span }
    }

    fn take(
        &mut self,
        next: impl FnOnce(&mut Span) -> Result<Option<(u64, Bytes)>>,
    ) -> Option<Result<(u64, Bytes)>> {
        if self.span.ids_left() == 0 {
            return None;
        }
        if let Err(error) = self.wal.check_open() {
            self.span.end();
            return Some(Err(error));
        }
        next(&mut self.span).transpose()
    }
}

impl Iterator for Range {
    type Item = Result<(u64, Bytes)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.wal.is_closed()
            && let Some(entry) = self.span.at_hand()
        {
            return Some(Ok(entry));
        }
        self.take(Span::next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.span.ids_left()).ok())
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.take(Span::next_back)
    }
}

impl FusedIterator for Range {}

impl fmt::Debug for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Range")
            .field("ids_left", &self.span.ids_left())
            .finish_non_exhaustive()
    }
}
