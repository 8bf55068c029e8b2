//! Following a stream.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Wal;
use crate::commit;
use crate::error::{Error, Result};
use crate::log::follow::Following;
use crate::sync::{Arc, Ordering, sleep};

/// How often a stream is looked at that another process writes to.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The entries of a stream as they are committed, one after another. From
/// [`Stream::follow`](super::Stream::follow).
///
/// As an iterator it blocks until the next entry is committed, and goes on for ever: it ends after an
/// error that ends it. It goes from segment to segment without looking anything up again, and is
/// woken by whoever commits.
///
/// # Errors
///
/// Each is said once.
///
/// - [`Error::Pruned`]: the entry that was due is gone; it goes on at the first that is kept.
/// - [`Error::CutOff`]: entries that it has yielded were cut off
///   ([`Stream::truncate_after`](super::Stream::truncate_after)); it goes on where the stream was cut.
/// - [`Error::Damaged`]: it goes on behind the damage.
/// - [`Error::StreamNotFound`] (deleted), [`Error::Closed`], [`Error::Io`]: the end. In a log that is
///   open for reading only [`Error::Locked`] too.
///
/// In a log that is open for reading only it looks every millisecond. Of a cut it knows no more there than
/// which segment it went through, so it goes on at the beginning of that one: entries from there that were
/// not cut off come again.
pub struct Follower {
    wal: Wal,
    stream: Arc<commit::Stream>,
    following: Following,
    is_over: bool,
}

impl Follower {
    pub(super) fn new(wal: Wal, stream: &Arc<commit::Stream>, from: u64) -> Self {
        let following = Following::new(stream.log(), from, wal.inner.read_len);
        Self { wal, stream: Arc::clone(stream), following, is_over: false }
    }

    /// The id that is due.
    pub fn position(&self) -> u64 {
        self.following.position()
    }

    /// The next entry; `None` if it is not committed yet. Does not wait, but may read from the disk.
    ///
    /// # Errors
    ///
    /// See [`Follower`]. [`Error::Closed`] after the end.
    pub fn try_next(&mut self) -> Result<Option<(u64, Bytes)>> {
        if self.is_over {
            return Err(Error::Closed);
        }
        let next = self.wal.check_open().and_then(|()| self.following.try_next());
        self.is_over = matches!(
            next,
            Err(Error::StreamNotFound(_) | Error::Closed | Error::Io(_) | Error::Locked(_))
        );
        next
    }

    /// The next entry; `None` if it is not committed before `timeout` has passed.
    ///
    /// # Errors
    ///
    /// See [`Follower`]. [`Error::Closed`] after the end.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<(u64, Bytes)>> {
        self.next_before(Instant::now().checked_add(timeout))
    }

    /// `None`: there is no deadline.
    fn next_before(&mut self, deadline: Option<Instant>) -> Result<Option<(u64, Bytes)>> {
        loop {
            if let Some(entry) = self.try_next()? {
                return Ok(Some(entry));
            }
            if !self.wait(deadline) {
                return Ok(None);
            }
        }
    }

    /// Waits until it is worth another look; `false`: the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let inner = &self.wal.inner;
        if inner.watermark.is_none() {
            let is_closed = || inner.closed.load(Ordering::Acquire);
            let is_ready = || self.following.is_ready() || is_closed();
            return self.stream.wait_until(deadline, is_ready);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
        sleep(pause);
        !pause.is_zero()
    }
}

impl Iterator for Follower {
    type Item = Result<(u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over { None } else { self.next_before(None).transpose() }
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Follower")
            .field("stream", &self.stream.log().name())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
