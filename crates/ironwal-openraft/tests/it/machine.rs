//! The types of the tests, and a state machine in memory.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(pub(crate) Types: D = String, R = ());

type Stored<T> = Result<T, StorageError<u64>>;

/// Counts what it applies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    last_applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    applied: u64,
    #[serde(skip)]
    snapshot: Option<(SnapshotMeta<u64, BasicNode>, Vec<u8>)>,
}

impl Machine {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        self.with(|state| {
            let bytes = postcard::to_stdvec(state);
            let bytes = bytes.map_err(|error| StorageIOError::read_state_machine(&error))?;
            let snapshot_id = format!("{:?}-{}", state.last_applied, state.applied);
            let (last_log_id, last_membership) = (state.last_applied, state.membership.clone());
            let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
            state.snapshot = Some((meta.clone(), bytes.clone()));
            Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
        })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Stored<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>)> {
        Ok(self.with(|state| (state.last_applied, state.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<()>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let apply = |state: &mut State, entry: Entry<Types>| {
            state.last_applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                state.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            state.applied += 1;
        };
        Ok(self.with(|state| entries.into_iter().map(|entry| apply(state, entry)).collect()))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        let bytes = snapshot.into_inner();
        let state: Result<State, _> = postcard::from_bytes(&bytes);
        let state =
            state.map_err(|error| StorageIOError::read_snapshot(Some(meta.signature()), &error))?;
        self.with(|old| *old = State { snapshot: Some((meta.clone(), bytes)), ..state });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        let snapshot = self.with(|state| state.snapshot.clone());
        Ok(snapshot.map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}
