//! What nodes and clients ask of a node, over TCP on the loopback interface.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode};
use serde::{Deserialize, Serialize};
use tarpc::tokio_serde::formats::Json;
use tarpc::{client, context, serde_transport};

use super::ledger::{Accounts, Outcome, Transfer, Types};

/// What becomes of a request of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done(Outcome),
    /// Ask this one, if it is known who leads.
    NotLeader(Option<u64>),
    Failed(String),
}

/// How far a node is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) leader: Option<u64>,
    pub(crate) applied: Option<u64>,
    pub(crate) snapshot: Option<u64>,
    pub(crate) purged: Option<u64>,
}

#[tarpc::service]
pub(crate) trait Node {
    async fn append(
        request: AppendEntriesRequest<Types>,
    ) -> Result<AppendEntriesResponse<u64>, RaftError<u64>>;
    async fn vote(request: VoteRequest<u64>) -> Result<VoteResponse<u64>, RaftError<u64>>;
    async fn snapshot(
        request: InstallSnapshotRequest<Types>,
    ) -> Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>;
    async fn begin(nodes: Vec<u64>) -> Result<(), String>;
    async fn transfer(transfer: Transfer) -> Answer;
    async fn status() -> Status;
    async fn accounts() -> (Option<u64>, Accounts);
}

/// Where a node says which port it was given.
pub(crate) fn address_file(dir: &Path, node: u64) -> PathBuf {
    dir.join(format!("node-{node}.address"))
}

/// Until when an answer is waited for.
pub(crate) fn within(time: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + time;
    context
}

/// Connects to the node as it was started last.
pub(crate) async fn connect(dir: &Path, node: u64) -> io::Result<NodeClient> {
    let address = fs::read_to_string(address_file(dir, node))?;
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let transport = serde_transport::tcp::connect(address, Json::default).await?;
    Ok(NodeClient::new(client::Config::default(), transport).spawn())
}

/// The other nodes, for openraft.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) dir: PathBuf,
}

pub(crate) struct Peer {
    dir: PathBuf,
    node: u64,
    client: Option<NodeClient>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, node: u64, _: &BasicNode) -> Peer {
        Peer { dir: self.dir.clone(), node, client: None }
    }
}

type Said<T, E = openraft::error::Infallible> =
    Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

impl Peer {
    /// A connection that works, as far as is known.
    async fn client(&mut self) -> Result<NodeClient, Unreachable> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                connect(&self.dir, self.node).await.map_err(|error| Unreachable::new(&error))?
            }
        };
        Ok(client)
    }

    /// Keeps the connection if there was an answer, whatever it was.
    fn said<T, E: std::error::Error>(
        &mut self,
        client: NodeClient,
        answer: Result<Result<T, RaftError<u64, E>>, client::RpcError>,
    ) -> Said<T, E> {
        match answer {
            Ok(answer) => {
                self.client = Some(client);
                answer.map_err(|error| RemoteError::new(self.node, error).into())
            }
            Err(error) => Err(Unreachable::new(&AnyError::new(&error)).into()),
        }
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Said<AppendEntriesResponse<u64>> {
        let client = self.client().await?;
        let answer = client.append(within(option.hard_ttl()), request).await;
        self.said(client, answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Said<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        let client = self.client().await?;
        let answer = client.snapshot(within(option.hard_ttl()), request).await;
        self.said(client, answer)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Said<VoteResponse<u64>> {
        let client = self.client().await?;
        let answer = client.vote(within(option.hard_ttl()), request).await;
        self.said(client, answer)
    }
}
