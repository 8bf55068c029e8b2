//! Following a stream.

use std::fmt;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::Context;
#[cfg(any(feature = "async", feature = "sharded"))]
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Wal;
use super::watch::LOOK_EVERY;
use crate::commit;
use crate::error::{Error, Result};
use crate::log::follow::Following;
use crate::sync::{Arc, Ordering, sleep};

/// The entries of a stream as they are committed, one after another. From
/// [`Stream::follow`](super::Stream::follow).
///
/// As an iterator it blocks until the next entry is committed, and goes on for ever: it ends after an
/// error that ends it. It goes from segment to segment without looking anything up again, and is
/// woken by whoever commits. While nothing is committed it costs nothing.
///
/// With the feature `async`, `into_async` makes a future of each entry.
///
/// ```
/// # use ironwal::{Error, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let orders = wal.stream("orders")?;
/// orders.append_batch(&[b"tea", b"coffee"])?;
/// let mut follower = orders.follow(0);
/// orders.truncate_before(1)?;
/// assert!(matches!(follower.next(), Some(Err(Error::Pruned { .. })))); // said once
/// assert_eq!(follower.next().unwrap()?.0, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    #[cfg(any(feature = "async", feature = "sharded"))]
    watch: super::watch::Watch,
    is_over: bool,
}

impl Follower {
    pub(super) fn new(wal: Wal, stream: &Arc<commit::Stream>, from: u64) -> Self {
        let following = Following::new(stream.log(), from, wal.inner.read_len);
        Self {
            wal,
            stream: Arc::clone(stream),
            following,
            #[cfg(any(feature = "async", feature = "sharded"))]
            watch: super::watch::Watch::default(),
            is_over: false,
        }
    }

    /// The id that is due.
    ///
    /// See [`Follower::try_next`] for an example.
    pub fn position(&self) -> u64 {
        self.following.position()
    }

    /// The next entry; `None` if it is not committed yet. Does not wait, but may read from the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let orders = wal.stream("orders")?;
    /// let mut follower = orders.follow(0);
    /// assert_eq!(follower.try_next()?, None);
    /// orders.append(b"tea")?;
    /// assert_eq!(follower.try_next()?, Some((0, "tea".into())));
    /// assert_eq!(follower.position(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// use std::time::Duration;
    ///
    /// let orders = wal.stream("orders")?;
    /// let mut follower = orders.follow(0);
    /// assert_eq!(follower.next_timeout(Duration::from_millis(1))?, None);
    /// orders.append(b"tea")?;
    /// assert_eq!(follower.next_timeout(Duration::from_secs(60))?, Some((0, "tea".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Whether nothing comes any more.
    #[cfg(feature = "sharded")]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next entry, or the task is woken when it is worth another look.
    #[cfg(any(feature = "async", feature = "sharded"))]
    pub(crate) fn poll_next(&mut self, waker: &Waker) -> Poll<Option<Result<(u64, Bytes)>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(next) = self.try_next().transpose() {
                return Poll::Ready(Some(next));
            }
            self.watch.register(&self.wal.inner, &self.stream, waker);
            if !self.has_news() {
                return Poll::Pending;
            }
        }
    }

    /// Whether it is worth another look.
    fn has_news(&self) -> bool {
        let inner = &self.wal.inner;
        inner.closed.load(Ordering::Acquire)
            || if inner.watermark.is_none() {
                self.following.is_ready()
            } else {
                self.stream.log().may_have_changed()
            }
    }

    /// Waits until it is worth another look; `false`: the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.wal.inner.watermark.is_none() {
            return self.stream.wait_until(deadline, || self.has_news());
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

/// A [`Follower`] that is awaited: a `Stream` of `futures-core`, which needs no runtime of its own. From
/// [`Follower::into_async`].
///
/// A poll may read from the disk: what was appended a moment ago comes from the page cache, what lies far
/// back can keep the executor's thread for the time of a read. Dropping it, or a future of it, loses
/// nothing: [`position`](Follower::position) says what is due.
///
/// See [`Follower::into_async`] for an example.
#[cfg(feature = "async")]
#[derive(Debug)]
pub struct AsyncFollower {
    follower: Follower,
}

#[cfg(feature = "async")]
impl Follower {
    /// The same, to be awaited.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// use futures::StreamExt;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// # futures::executor::block_on(async {
    /// let orders = wal.stream("orders")?;
    /// let mut entries = orders.follow(0).into_async();
    /// orders.submit(b"one coffee")?.await?;
    /// let (id, entry) = entries.next().await.unwrap()?;
    /// assert_eq!((id, &entry[..]), (0, &b"one coffee"[..]));
    /// # Ok::<(), ironwal::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_async(self) -> AsyncFollower {
        AsyncFollower { follower: self }
    }
}

#[cfg(feature = "async")]
impl AsyncFollower {
    /// The id that is due.
    ///
    /// See [`AsyncFollower::into_inner`] for an example.
    pub fn position(&self) -> u64 {
        self.follower.position()
    }

    /// The same, to be waited for by a thread.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let entries = wal.stream("orders")?.follow(7).into_async();
    /// assert_eq!(entries.position(), 7);
    /// assert_eq!(entries.into_inner().position(), 7); // goes on where it was
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> Follower {
        self.follower
    }
}

#[cfg(feature = "async")]
impl futures_core::Stream for AsyncFollower {
    type Item = Result<(u64, Bytes)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().follower.poll_next(context.waker())
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
