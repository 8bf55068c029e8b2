//! The state machine: accounts, and what each client has been answered. Its snapshots are on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend,
    RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(pub(crate) Types: D = Transfer, R = Outcome);

pub(crate) const ACCOUNTS: u64 = 8;
pub(crate) const MONEY_IN_EACH: u64 = 1_000;

/// A client moves money. It sends one transfer at a time, as often as it takes, under the same number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) client: u64,
    pub(crate) number: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) amount: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Done,
    /// There is not enough money in the account.
    Refused,
    /// Nothing was asked: an entry of Raft's own, or a transfer that its client has been answered.
    Nothing,
}

/// What all nodes agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accounts {
    pub(crate) balances: BTreeMap<u64, u64>,
    /// The last transfer of each client, and what was answered.
    answered: BTreeMap<u64, (u64, Outcome)>,
}

impl Accounts {
    pub(crate) fn new() -> Self {
        let balances = (0..ACCOUNTS).map(|account| (account, MONEY_IN_EACH)).collect();
        Self { balances, answered: BTreeMap::new() }
    }

    pub(crate) fn apply(&mut self, transfer: &Transfer) -> Outcome {
        if let Some((number, outcome)) = self.answered.get(&transfer.client)
            && *number >= transfer.number
        {
            return if *number == transfer.number { *outcome } else { Outcome::Nothing };
        }
        let outcome = self.do_transfer(transfer);
        self.answered.insert(transfer.client, (transfer.number, outcome));
        outcome
    }

    /// Moves the money, if it is there.
    pub(crate) fn do_transfer(&mut self, transfer: &Transfer) -> Outcome {
        let left = self.balances.get(&transfer.from).and_then(|it| it.checked_sub(transfer.amount));
        match left {
            Some(left) if self.balances.contains_key(&transfer.to) => {
                self.balances.insert(transfer.from, left);
                *self.balances.entry(transfer.to).or_default() += transfer.amount;
                Outcome::Done
            }
            _ => Outcome::Refused,
        }
    }
}

/// What a snapshot has, on disk and on its way to another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    last_applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    accounts: Accounts,
}

/// The state machine of one node.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    dir: PathBuf,
    state: Arc<Mutex<State>>,
}

type Stored<T> = Result<T, StorageError<u64>>;

fn because<E: std::error::Error + 'static>(verb: ErrorVerb) -> impl FnOnce(E) -> StorageError<u64> {
    move |error| {
        StorageIOError::new(ErrorSubject::Snapshot(None), verb, AnyError::new(&error)).into()
    }
}

impl Ledger {
    /// As the last snapshot has it; openraft applies what is committed since.
    pub(crate) fn open(dir: &Path) -> Stored<Self> {
        let state = match fs::read(dir.join("snapshot")) {
            Ok(bytes) => postcard::from_bytes(&bytes).map_err(because(ErrorVerb::Read))?,
            Err(error) if error.kind() == ErrorKind::NotFound => State {
                last_applied: None,
                membership: StoredMembership::default(),
                accounts: Accounts::new(),
            },
            Err(error) => return Err(because(ErrorVerb::Read)(error)),
        };
        Ok(Self { dir: dir.to_path_buf(), state: Arc::new(Mutex::new(state)) })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn accounts(&self) -> (Option<u64>, Accounts) {
        self.with(|state| (state.last_applied.map(|last| last.index), state.accounts.clone()))
    }

    /// Puts a snapshot in the place of the last one, durably: the log before it is going to be freed.
    fn save(&self, bytes: &[u8]) -> std::io::Result<()> {
        let unfinished = self.dir.join("snapshot.tmp");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.dir.join("snapshot"))?;
        fs::File::open(&self.dir)?.sync_all()
    }

    fn load(&self) -> Stored<Option<Snapshot<Types>>> {
        match fs::read(self.dir.join("snapshot")) {
            Ok(bytes) => snapshot(bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(because(ErrorVerb::Read)(error)),
        }
    }
}

fn snapshot(bytes: Vec<u8>) -> Stored<Snapshot<Types>> {
    let state: State = postcard::from_bytes(&bytes).map_err(because(ErrorVerb::Read))?;
    let (last_log_id, last_membership) = (state.last_applied, state.membership);
    let snapshot_id = last_log_id.map_or("empty".into(), |last| last.to_string());
    let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
    Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
}

impl RaftSnapshotBuilder<Types> for Ledger {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        let bytes = self.with(|state| postcard::to_stdvec(state));
        let bytes = bytes.map_err(because(ErrorVerb::Write))?;
        self.save(&bytes).map_err(because(ErrorVerb::Write))?;
        snapshot(bytes)
    }
}

impl RaftStateMachine<Types> for Ledger {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Stored<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>)> {
        Ok(self.with(|state| (state.last_applied, state.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<Outcome>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let apply = |state: &mut State, entry: Entry<Types>| {
            state.last_applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(transfer) => return state.accounts.apply(&transfer),
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                EntryPayload::Blank => {}
            }
            Outcome::Nothing
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
        _meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        let bytes = snapshot.into_inner();
        let received: State = postcard::from_bytes(&bytes).map_err(because(ErrorVerb::Read))?;
        self.save(&bytes).map_err(because(ErrorVerb::Write))?;
        self.with(|state| *state = received);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        self.load()
    }
}
