//! What a test puts into a log, and what it finds there.

use futures::FutureExt;
use ironwal_openraft::v0_9::LogStore;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId, RaftLogReader, StorageError, Vote};

use crate::machine::Types;

pub(crate) type Store = LogStore<Types>;
pub(crate) type Stored<T> = Result<T, StorageError<u64>>;

pub(crate) fn log_id(term: u64, index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

pub(crate) fn entry(term: u64, index: u64) -> Entry<Types> {
    entry_of(term, index, format!("entry {index} of term {term}"))
}

pub(crate) fn entry_of(term: u64, index: u64, text: String) -> Entry<Types> {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(text) }
}

pub(crate) fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry<Types>> {
    indexes.map(|index| entry(term, index)).collect()
}

/// All that a log store says, as text where its types cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub(crate) vote: Option<Vote<u64>>,
    pub(crate) committed: Option<LogId<u64>>,
    pub(crate) purged: Option<LogId<u64>>,
    pub(crate) last: Option<LogId<u64>>,
    pub(crate) entries: Vec<(LogId<u64>, String)>,
}

pub(crate) fn text(entry: &Entry<Types>) -> (LogId<u64>, String) {
    let EntryPayload::Normal(text) = &entry.payload else { panic!("not written here: {entry:?}") };
    (entry.log_id, text.clone())
}

pub(crate) async fn see(store: &mut Store) -> Stored<Seen> {
    let state = store.get_log_state().await?;
    let entries = store.try_get_log_entries(..).await?;
    Ok(Seen {
        vote: store.read_vote().await?,
        committed: store.read_committed().await?,
        purged: state.last_purged_log_id,
        last: state.last_log_id,
        entries: entries.iter().map(text).collect(),
    })
}

/// Begins an append, and returns what waits for its callback: entries that are in flight.
pub(crate) fn begin(
    store: &Store,
    entries: Vec<Entry<Types>>,
) -> impl Future<Output = Stored<()>> + use<> {
    let mut store = store.clone();
    let mut append = Box::pin(async move { store.blocking_append(entries).await });
    let done = append.as_mut().now_or_never();
    async move {
        match done {
            Some(done) => done,
            None => append.await,
        }
    }
}
