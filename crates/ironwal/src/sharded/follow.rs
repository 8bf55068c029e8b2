//! Following all shards at once.

use std::collections::VecDeque;
use std::fmt;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::Context;
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ShardedWal;
use crate::error::{Error, Result};
use crate::sync::{Arc, Condvar, Mutex, PoisonError, lock};
use crate::wal::follow::Follower;

/// How many entries of one shard come before it is another one's turn.
const TURN_LEN: u32 = 64;

/// The entries of all shards as they are committed, one after another: `(shard, id, entry)`. From
/// [`ShardedWal::follow_all`].
///
/// Each shard's come in the order of their ids; shards take turns. As an iterator it blocks until the
/// next entry is committed in any shard, and is woken by whoever commits: a shard in which nothing
/// happens costs nothing. With the feature `async`, `into_async` makes a future of each entry.
///
/// ```
/// # use ironwal::sharded::{CheckpointData, ShardedWal};
/// # use ironwal::{Error, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
/// let shard = wal.shard(1)?;
/// shard.append_batch(&[b"+100", b"-30"])?;
/// let mut follower = wal.follow_all(&CheckpointData::beginning(2))?;
/// shard.truncate_before(1)?;
/// assert!(matches!(follower.next(), Some(Err(Error::Pruned { id: 0, .. })))); // said once
/// assert_eq!(follower.next().unwrap()?, (1, 1, "-30".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`Follower`], which name the stream of the shard. Where a shard's follower goes on, this does;
/// where it ends, this ends.
pub struct ShardFollower {
    /// Of each shard.
    followers: Vec<(Follower, Waker)>,
    /// The shards that may have something, the next one first.
    due: VecDeque<u16>,
    /// How many entries of the first of them have come in its turn.
    turn: u32,
    news: Arc<News>,
    is_over: bool,
}

/// What wakes whoever follows.
#[derive(Debug, Default)]
struct News {
    /// The shards in which something has happened.
    shards: Mutex<Vec<u16>>,
    more: Condvar,
    /// The task that waits, if it is no thread.
    task: Mutex<Option<Waker>>,
}

/// Told when something happens in a shard.
struct NewsOf {
    shard: u16,
    news: Arc<News>,
}

impl Wake for NewsOf {
    fn wake(self: Arc<Self>) {
        lock(&self.news.shards).push(self.shard);
        self.news.more.notify_one();
        let task = lock(&self.news.task).take();
        task.into_iter().for_each(Waker::wake);
    }
}

impl ShardFollower {
    pub(super) fn new(wal: &ShardedWal, offsets: &[u64]) -> Result<Self> {
        let news = Arc::new(News::default());
        let shards = 0..wal.shard_count();
        let followers: Result<Vec<_>> = shards
            .clone()
            .zip(offsets)
            .map(|(shard, offset)| {
                let waker = Waker::from(Arc::new(NewsOf { shard, news: Arc::clone(&news) }));
                Ok((wal.shard(shard)?.follow(*offset), waker))
            })
            .collect();
        Ok(Self { followers: followers?, due: shards.collect(), turn: 0, news, is_over: false })
    }

    /// The id that is due in each shard. With these as its offsets, a
    /// [`CheckpointData`](super::CheckpointData) is where [`ShardedWal::follow_all`] goes on.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// wal.shard(1)?.append_batch(&[b"+100", b"-30"])?;
    /// let mut follower = wal.follow_all(&CheckpointData::beginning(2))?;
    /// follower.next().unwrap()?;
    /// assert_eq!(follower.positions(), [0, 1]);
    /// let here = CheckpointData { offsets: follower.positions(), ..CheckpointData::beginning(2) };
    /// let mut another = wal.follow_all(&here)?; // after a restart, say
    /// assert_eq!(another.next().unwrap()?, (1, 1, "-30".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn positions(&self) -> Vec<u64> {
        self.followers.iter().map(|(follower, _)| follower.position()).collect()
    }

    /// The next entry; `None` if none is committed yet. Does not wait, but may read from the disk.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let mut follower = wal.follow_all(&CheckpointData::beginning(16))?;
    /// assert_eq!(follower.try_next()?, None);
    /// let (shard, id) = wal.append(b"account-7", b"+100")?;
    /// assert_eq!(follower.try_next()?, Some((shard, id, "+100".into())));
    /// assert_eq!(follower.try_next()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ShardFollower`]. [`Error::Closed`] after the end.
    pub fn try_next(&mut self) -> Result<Option<(u16, u64, Bytes)>> {
        if self.is_over {
            return Err(Error::Closed);
        }
        self.due.append(&mut VecDeque::from(std::mem::take(&mut *lock(&self.news.shards))));
        while let Some(&shard) = self.due.front() {
            let (follower, waker) = &mut self.followers[usize::from(shard)];
            match follower.poll_next(waker) {
                Poll::Pending => {
                    self.due.pop_front();
                    self.turn = 0;
                }
                Poll::Ready(next) => {
                    self.turn += 1;
                    if self.turn >= TURN_LEN {
                        self.due.rotate_left(1);
                        self.turn = 0;
                    }
                    self.is_over = follower.is_over();
                    let next = next.unwrap_or(Err(Error::Closed));
                    return next.map(|(id, entry)| Some((shard, id, entry)));
                }
            }
        }
        Ok(None)
    }

    /// The next entry; `None` if none is committed before `timeout` has passed.
    ///
    /// ```
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// use std::time::Duration;
    ///
    /// let mut follower = wal.follow_all(&CheckpointData::beginning(16))?;
    /// assert_eq!(follower.next_timeout(Duration::from_millis(1))?, None);
    /// wal.close()?; // is news too
    /// let ended = follower.next_timeout(Duration::from_secs(60));
    /// assert!(matches!(ended, Err(Error::Closed)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ShardFollower`]. [`Error::Closed`] after the end.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<(u16, u64, Bytes)>> {
        self.next_before(Instant::now().checked_add(timeout))
    }

    /// `None`: there is no deadline.
    fn next_before(&mut self, deadline: Option<Instant>) -> Result<Option<(u16, u64, Bytes)>> {
        loop {
            if let Some(entry) = self.try_next()? {
                return Ok(Some(entry));
            }
            if !self.news.wait(deadline) {
                return Ok(None);
            }
        }
    }
}

impl News {
    /// Waits until there is something; `false`: the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut shards = lock(&self.shards);
        while shards.is_empty() {
            shards = match deadline {
                None => self.more.wait(shards).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let woken = self.more.wait_timeout(shards, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

impl Iterator for ShardFollower {
    type Item = Result<(u16, u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over { None } else { self.next_before(None).transpose() }
    }
}

/// A [`ShardFollower`] that is awaited: a `Stream` of `futures-core`. From [`ShardFollower::into_async`]; see
/// [`AsyncFollower`](crate::AsyncFollower).
///
/// See [`ShardFollower::into_async`] for an example.
#[cfg(feature = "async")]
#[derive(Debug)]
pub struct AsyncShardFollower {
    follower: ShardFollower,
}

#[cfg(feature = "async")]
impl ShardFollower {
    /// The same, to be awaited.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// use futures::StreamExt;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// # futures::executor::block_on(async {
    /// let mut entries = wal.follow_all(&CheckpointData::beginning(16))?.into_async();
    /// wal.shard(3)?.submit(b"+100")?.await?;
    /// assert_eq!(entries.next().await.unwrap()?, (3, 0, "+100".into()));
    /// # Ok::<(), ironwal::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_async(self) -> AsyncShardFollower {
        AsyncShardFollower { follower: self }
    }
}

#[cfg(feature = "async")]
impl AsyncShardFollower {
    /// The id that is due in each shard; see [`ShardFollower::positions`].
    ///
    /// See [`AsyncShardFollower::into_inner`] for an example.
    pub fn positions(&self) -> Vec<u64> {
        self.follower.positions()
    }

    /// The same, to be waited for by a thread.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// wal.shard(1)?.append(b"+100")?;
    /// let behind = CheckpointData { offsets: vec![0, 1], ..CheckpointData::beginning(2) };
    /// let entries = wal.follow_all(&behind)?.into_async();
    /// assert_eq!(entries.positions(), [0, 1]);
    /// assert_eq!(entries.into_inner().positions(), [0, 1]); // goes on where it was
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> ShardFollower {
        self.follower
    }
}

#[cfg(feature = "async")]
impl futures_core::Stream for AsyncShardFollower {
    type Item = Result<(u16, u64, Bytes)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut self.get_mut().follower;
        if this.is_over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(next) = this.try_next().transpose() {
                return Poll::Ready(Some(next));
            }
            *lock(&this.news.task) = Some(context.waker().clone());
            if lock(&this.news.shards).is_empty() {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for ShardFollower {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShardFollower")
            .field("shards", &self.followers.len())
            .finish_non_exhaustive()
    }
}
