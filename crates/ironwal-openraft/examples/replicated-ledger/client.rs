//! Clients, which move money and do not give up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Failure;
use super::ledger::{ACCOUNTS, Outcome, Transfer};
use super::rpc::{Answer, NodeClient, connect, within};
use super::story::{DEADLINE, NODES};

/// How long a client waits for an answer before it asks somebody else.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes so many transfers one after another, and more until it `is_over`; returns those that were done.
pub(crate) async fn run(
    dir: PathBuf,
    client: u64,
    transfers: u64,
    acknowledged: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> Result<Vec<Transfer>, Failure> {
    let mut random = fastrand::Rng::with_seed(client);
    let mut done = Vec::new();
    let mut asked = Asked { dir, node: NODES[0], connection: None };
    for number in 1.. {
        if number > transfers && is_over.load(Ordering::Relaxed) {
            break;
        }
        let from = random.u64(0..ACCOUNTS);
        let to = (from + random.u64(1..ACCOUNTS)) % ACCOUNTS;
        let transfer = Transfer { client, number, from, to, amount: random.u64(1..400) };
        match asked.until_answered(&transfer).await? {
            Outcome::Done => done.push(transfer),
            Outcome::Refused => {}
            Outcome::Nothing => return Err("a transfer was answered as an older one".into()),
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(done)
}

/// The node that a client takes for the leader.
struct Asked {
    dir: PathBuf,
    node: u64,
    connection: Option<NodeClient>,
}

impl Asked {
    async fn until_answered(&mut self, transfer: &Transfer) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(outcome) = self.ask(transfer).await {
                return Ok(outcome);
            }
            if begun.elapsed() > DEADLINE {
                return Err("a transfer was not answered".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The answer, or `None`: another node is asked the next time.
    async fn ask(&mut self, transfer: &Transfer) -> Option<Outcome> {
        match self.answer(transfer).await {
            Some(Answer::Done(outcome)) => return Some(outcome),
            Some(Answer::NotLeader(Some(leader))) => self.turn_to(leader),
            _ => self.turn_to(self.node % NODES.len() as u64 + 1),
        }
        None
    }

    async fn answer(&mut self, transfer: &Transfer) -> Option<Answer> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(Path::new(&self.dir), self.node).await.ok()?,
        };
        let answer = connection.transfer(within(PATIENCE), transfer.clone()).await.ok()?;
        self.connection = Some(connection);
        Some(answer)
    }

    fn turn_to(&mut self, node: u64) {
        if node != self.node {
            self.connection = None;
        }
        self.node = node;
    }
}
