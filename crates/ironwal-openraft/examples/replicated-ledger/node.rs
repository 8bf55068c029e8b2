//! One node: a process with a log, a state machine, and a port that the system chose.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use ironwal_openraft::Groups;
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use tarpc::context::Context;
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Json;

use super::Failure;
use super::ledger::{Accounts, Ledger, Transfer, Types};
use super::rpc::{Answer, Network, Node, Status, address_file};

/// Runs until its standard input closes, or it is killed.
#[tokio::main(worker_threads = 2)]
pub(crate) async fn run(id: &str, dir: &Path) -> Result<(), Failure> {
    let id: u64 = id.parse()?;
    let home = dir.join(format!("node-{id}"));
    std::fs::create_dir_all(&home)?;
    let groups = Groups::open(home.join("log"))?;
    let (log, ledger) = (groups.log_store("ledger").await?, Ledger::open(&home)?);
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: 800,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(200),
        max_in_snapshot_log_to_keep: 20,
        ..Config::default()
    };
    let network = Network { dir: dir.to_path_buf() };
    let raft = Raft::new(id, Arc::new(config.validate()?), network, log, ledger.clone()).await?;

    let mut listening = tcp::listen("127.0.0.1:0", Json::default).await?;
    let address = listening.local_addr().to_string();
    let unfinished = home.join("address.tmp");
    std::fs::write(&unfinished, address)?;
    std::fs::rename(unfinished, address_file(dir, id))?;

    let server = Server { raft, ledger };
    let serve = async {
        while let Some(connection) = listening.next().await {
            let Ok(connection) = connection else { continue };
            let requests = BaseChannel::with_defaults(connection).execute(server.clone().serve());
            tokio::spawn(requests.for_each(async |request| drop(tokio::spawn(request))));
        }
    };
    tokio::select! {
        () = serve => {}
        () = parent_is_gone() => {}
    }
    server.raft.shutdown().await?;
    Ok(groups.wal().close()?)
}

/// Whoever started this process holds the other end of its standard input, and is gone when that is.
async fn parent_is_gone() {
    let read = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(read).await;
}

#[derive(Clone)]
struct Server {
    raft: Raft<Types>,
    ledger: Ledger,
}

impl Node for Server {
    async fn append(
        self,
        _: Context,
        request: AppendEntriesRequest<Types>,
    ) -> Result<AppendEntriesResponse<u64>, RaftError<u64>> {
        self.raft.append_entries(request).await
    }

    async fn vote(
        self,
        _: Context,
        request: VoteRequest<u64>,
    ) -> Result<VoteResponse<u64>, RaftError<u64>> {
        self.raft.vote(request).await
    }

    async fn snapshot(
        self,
        _: Context,
        request: InstallSnapshotRequest<Types>,
    ) -> Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>> {
        self.raft.install_snapshot(request).await
    }

    async fn begin(self, _: Context, nodes: Vec<u64>) -> Result<(), String> {
        let members: BTreeMap<_, _> =
            nodes.into_iter().map(|node| (node, BasicNode::default())).collect();
        self.raft.initialize(members).await.map_err(|error| error.to_string())
    }

    async fn transfer(self, _: Context, transfer: Transfer) -> Answer {
        match self.raft.client_write(transfer).await {
            Ok(written) => Answer::Done(written.data),
            Err(error) => match error.forward_to_leader() {
                Some(forward) => Answer::NotLeader(forward.leader_id),
                None => Answer::Failed(error.to_string()),
            },
        }
    }

    async fn status(self, _: Context) -> Status {
        let metrics = self.raft.metrics().borrow().clone();
        Status {
            leader: metrics.current_leader,
            applied: metrics.last_applied.map(|it| it.index),
            snapshot: metrics.snapshot.map(|it| it.index),
            purged: metrics.purged.map(|it| it.index),
        }
    }

    async fn accounts(self, _: Context) -> (Option<u64>, Accounts) {
        self.ledger.accounts()
    }
}
