//! The log store for openraft 0.9.
//!
//! Everything here is translation: types of openraft to bytes and back, and errors. What a group does is in
//! the rest of the crate, which knows no type of openraft.

use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{
    AnyError, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftLogId, RaftLogReader,
    RaftTypeConfig, StorageError, StorageIOError, Vote,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::asynchronous::blocking;
use crate::error::{Error, Result};
use crate::groups::{Groups, OpenGroup};
use crate::record::{Entry, Point};

/// The log of one Raft group, with its vote and committed log id, for [`openraft::Raft::new`]. From
/// [`Groups::log_store`]. It is its own log reader; clones are handles on the same group.
///
/// - When `append` returns, its entries can be read; the callback comes when they are durable, in the order
///   of the appends, of which any number may be in flight. Both are as
///   [`SyncMode`](ironwal::SyncMode) says for single appends; in [`SyncMode::Strict`](ironwal::SyncMode), the
///   default, durable means that they survive power loss.
/// - `save_vote`, `truncate` and `purge` are on stable storage when they return, in every mode, and with
///   them everything that was submitted before.
/// - `save_committed` writes with the next record of the group, or when the last handle is dropped. After a
///   crash an older one may be found, never one that the log does not reach.
/// - After an error the group takes no writes, and later callbacks get errors: only opening the log again
///   finds out what was kept. Openraft shuts the node down then.
///
/// Types are encoded by [`postcard`], which has no field names: a type of an application must not use
/// `#[serde(untagged)]`, `flatten` or `skip_serializing_if`, and what is in the log stays readable only as long
/// as fields and variants are added at the end of enums.
///
/// ```
/// # use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
/// # use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, Vote};
/// # use std::io::Cursor;
/// # use ironwal_openraft::Groups;
/// # use ironwal_openraft::v0_9::LogStore;
/// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let entry = |index| Entry::<TypeConfig> {
/// #     log_id: LogId::new(CommittedLeaderId::new(1, 0), index),
/// #     payload: EntryPayload::Normal("tea".to_string()),
/// # };
/// let groups = Groups::open(dir.path())?;
/// let mut orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
/// orders.save_vote(&Vote::new(1, 0)).await?;
/// orders.blocking_append([entry(0), entry(1)]).await?; // durable
/// drop(orders);
/// groups.wal().close()?;
///
/// let groups = Groups::open(dir.path())?;
/// let mut orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
/// assert_eq!(orders.read_vote().await?, Some(Vote::new(1, 0)));
/// assert_eq!(orders.get_log_state().await?.last_log_id, Some(entry(1).log_id));
/// assert_eq!(orders.try_get_log_entries(..).await?.len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct LogStore<C> {
    open: Arc<OpenGroup>,
    _config: PhantomData<fn() -> C>,
}

type Stored<C, T> = std::result::Result<T, StorageError<<C as RaftTypeConfig>::NodeId>>;

impl Groups {
    /// Opens a group, or begins it: the stream `group` of the log. It is read once, in full; a thread for
    /// blocking calls does that where there is a runtime of tokio.
    ///
    /// ```
    /// # use std::io::Cursor;
    /// # use ironwal_openraft::Groups;
    /// # use ironwal_openraft::v0_9::LogStore;
    /// # openraft::declare_raft_types!(pub TypeConfig: D = String, R = ());
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let groups = Groups::open(dir.path())?;
    /// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// let again = groups.log_store::<TypeConfig>("orders").await;
    /// assert!(again.is_err_and(|error| error.to_string().contains("is open already")));
    /// drop(orders); // the last handle
    /// let orders: LogStore<TypeConfig> = groups.log_store("orders").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The source says what went wrong: the group is open already, its records are damaged or of a newer
    /// version, or the disk failed.
    pub async fn log_store<C: RaftTypeConfig>(&self, group: &str) -> Stored<C, LogStore<C>> {
        let (groups, name) = (self.clone(), group.to_string());
        let opened = blocking(move || groups.open_group(&name)).await;
        let open = Arc::new(opened.map_err(because::<C>(ErrorSubject::Store, ErrorVerb::Read))?);
        Ok(LogStore { open, _config: PhantomData })
    }
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// Decodes the entries of these indexes, up to `len_max` bytes, without blocking the runtime.
    async fn read(&self, indexes: Range<u64>, len_max: usize) -> Result<Vec<C::Entry>> {
        let group = Arc::clone(self.open.group());
        if group.is_in_memory(&indexes) {
            return group.read(&indexes, len_max, decode);
        }
        blocking(move || group.read(&indexes, len_max, decode)).await
    }

    fn decoded<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Result<Option<T>> {
        bytes.map(decode).transpose()
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogStore<C> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Stored<C, Vec<C::Entry>> {
        let range = half_open(&range);
        let read = self.read(range, usize::MAX).await;
        read.map_err(because::<C>(ErrorSubject::Logs, ErrorVerb::Read))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Stored<C, Vec<C::Entry>> {
        let len_max = self.open.group().options().read_len_max;
        let read = self.read(start..end, len_max).await;
        read.map_err(because::<C>(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Stored<C, LogState<C>> {
        let purged = self.open.group().memory(|memory| memory.log.purged.clone());
        let purged = Self::decoded(purged.as_ref().map(|purged| &purged.log_id[..]));
        let last_purged_log_id: Option<LogId<C::NodeId>> =
            purged.map_err(because::<C>(ErrorSubject::Logs, ErrorVerb::Read))?;
        let last_log_id = match self.open.group().last_index() {
            Some(index) => self.try_get_log_entries(index..=index).await?.pop(),
            None => None,
        };
        let last_log_id = last_log_id.map(|entry| entry.get_log_id().clone());
        let last_log_id = last_log_id.or_else(|| last_purged_log_id.clone());
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Stored<C, ()> {
        let saved = match encode(vote) {
            Ok(vote) => self.open.group().save_vote(vote).await,
            Err(error) => Err(error),
        };
        saved.map_err(because::<C>(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Stored<C, Option<Vote<C::NodeId>>> {
        let vote = self.open.group().memory(|memory| memory.log.vote.clone());
        Self::decoded(vote.as_deref()).map_err(because::<C>(ErrorSubject::Vote, ErrorVerb::Read))
    }

    async fn save_committed(&mut self, committed: Option<LogId<C::NodeId>>) -> Stored<C, ()> {
        let committed = committed.as_ref().map(point::<C>).transpose();
        let committed = committed.map_err(because::<C>(ErrorSubject::Store, ErrorVerb::Write))?;
        self.open.group().note_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Stored<C, Option<LogId<C::NodeId>>> {
        let committed = self.open.group().memory(|memory| memory.log.committed.clone());
        Self::decoded(committed.as_ref().map(|committed| &committed.log_id[..]))
            .map_err(because::<C>(ErrorSubject::Store, ErrorVerb::Read))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Stored<C, ()>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encoded = |entry: C::Entry| {
            Ok(Entry { index: entry.get_log_id().index, bytes: encode(&entry)?.into() })
        };
        let entries: Result<Vec<Entry>> = entries.into_iter().map(encoded).collect();
        let appended = match entries {
            Ok(entries) => {
                let done = move |result: Result<()>| {
                    callback.log_io_completed(result.map_err(Into::into));
                };
                self.open.group().append_entries(entries, Box::new(done)).await
            }
            Err(error) => Err(error),
        };
        appended.map_err(because::<C>(ErrorSubject::Logs, ErrorVerb::Write))
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Stored<C, ()> {
        let cut = self.open.group().cut_from(log_id.index).await;
        cut.map_err(because::<C>(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Stored<C, ()> {
        let purged = match point::<C>(&log_id) {
            Ok(upto) => self.open.group().purge(upto).await,
            Err(error) => Err(error),
        };
        purged.map_err(because::<C>(ErrorSubject::Log(log_id), ErrorVerb::Delete))
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    Ok(postcard::to_stdvec(value)?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    Ok(postcard::from_bytes(bytes)?)
}

fn point<C: RaftTypeConfig>(log_id: &LogId<C::NodeId>) -> Result<Point> {
    Ok(Point { index: log_id.index, log_id: encode(log_id)?.into() })
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// The error of openraft that says what was being done, and has ours as its source.
fn because<C: RaftTypeConfig>(
    subject: ErrorSubject<C::NodeId>,
    verb: ErrorVerb,
) -> impl FnOnce(Error) -> StorageError<C::NodeId> {
    move |error| StorageIOError::new(subject, verb, AnyError::new(&error)).into()
}

impl<C> Clone for LogStore<C> {
    fn clone(&self) -> Self {
        Self { open: Arc::clone(&self.open), _config: PhantomData }
    }
}

impl<C> fmt::Debug for LogStore<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogStore").field("group", self.open.group()).finish()
    }
}
