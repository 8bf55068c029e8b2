//! What happens, and what must be true in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Failure;
use super::client;
use super::ledger::{ACCOUNTS, Accounts, MONEY_IN_EACH, Transfer};
use super::rpc::{Status, address_file, connect, within};

pub(crate) const NODES: [u64; 3] = [1, 2, 3];

/// How long anything may take that must happen at last.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Plan {
    pub(crate) clients: u64,
    /// Of each client.
    pub(crate) transfers: u64,
    /// How often the leader is killed.
    pub(crate) kills: u64,
}

/// Looks again and again until something is so.
async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        if let Some(found) = look().await {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(format!("not within {} s: {what}", DEADLINE.as_secs()).into())
}

/// The processes. They are killed when this is dropped, and end by themselves when this process does.
struct Cluster<'a> {
    dir: &'a Path,
    processes: BTreeMap<u64, Child>,
}

impl Cluster<'_> {
    fn start(&mut self, node: u64) -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", &node.to_string()]).arg(self.dir);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        self.processes.insert(node, command.spawn()?);
        Ok(())
    }

    /// By SIGKILL.
    fn kill(&mut self, node: u64) -> Result<(), Failure> {
        std::fs::remove_file(address_file(self.dir, node))?;
        let mut process = self.processes.remove(&node).ok_or("it does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    async fn status(&self, node: u64) -> Option<Status> {
        let client = connect(self.dir, node).await.ok()?;
        client.status(within(Duration::from_secs(1))).await.ok()
    }

    /// The node that another one, which runs, takes for the leader as well.
    async fn leader(&self) -> Result<u64, Failure> {
        let look = async || {
            let mut leaders = Vec::new();
            for node in self.processes.keys() {
                leaders.extend(self.status(*node).await.and_then(|status| status.leader));
            }
            let agreed = |leader: &&u64| leaders.iter().filter(|it| it == leader).count() >= 2;
            let agreed = leaders.iter().find(agreed);
            agreed.copied().filter(|leader| self.processes.contains_key(leader))
        };
        soon("the nodes agree who leads", look).await
    }

    /// What all nodes have, once they have the same.
    async fn agreed(&self) -> Result<(Option<u64>, Accounts), Failure> {
        let look = async || {
            let mut all = Vec::new();
            for node in NODES {
                let client = connect(self.dir, node).await.ok()?;
                all.push(client.accounts(within(Duration::from_secs(1))).await.ok()?);
            }
            all.iter().all(|it| *it == all[0]).then(|| all.swap_remove(0))
        };
        soon("all nodes have applied the same", look).await
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(plan: &Plan) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster { dir: dir.path(), processes: BTreeMap::new() };
    for node in NODES {
        cluster.start(node)?;
    }
    soon("a node can be reached", async || cluster.status(NODES[0]).await).await?;
    let first = connect(dir.path(), NODES[0]).await?;
    first.begin(within(DEADLINE), NODES.to_vec()).await??;
    println!(
        "3 nodes, {ACCOUNTS} accounts with {MONEY_IN_EACH} each; node {} leads",
        cluster.leader().await?
    );

    let all = plan.clients * plan.transfers;
    println!("{} clients make {} transfers each, or more", plan.clients, plan.transfers);
    let acknowledged = Arc::new(AtomicU64::new(0));
    // However fast the machine is, they write while a leader is killed.
    let is_over = Arc::new(AtomicBool::new(false));
    let begin = |client| {
        let (acknowledged, is_over) = (Arc::clone(&acknowledged), Arc::clone(&is_over));
        tokio::spawn(client::run(
            dir.path().to_path_buf(),
            client,
            plan.transfers,
            acknowledged,
            is_over,
        ))
    };
    let clients: Vec<_> = (1..=plan.clients).map(begin).collect();
    for kill in 1..=plan.kills {
        // Each time a part of the transfers is through.
        let due = all * kill / (plan.kills + 1);
        wait_for(&acknowledged, due).await?;
        fail_over(&mut cluster, &acknowledged, all / (plan.kills + 1) / 3).await?;
    }

    is_over.store(true, Ordering::Relaxed);

    let mut done = Vec::new();
    for client in clients {
        done.extend(client.await??);
    }
    let all = acknowledged.load(Ordering::Relaxed);
    let (applied, accounts) = cluster.agreed().await?;
    judge(&accounts, &done)?;
    let status = cluster.status(NODES[0]).await.ok_or("node 1 is gone")?;
    println!(
        "all nodes agree at log index {}; node 1 has a snapshot up to {} and its log purged up to {}",
        text(applied),
        text(status.snapshot),
        text(status.purged),
    );
    println!(
        "{all} transfers acknowledged, {} done and {} refused: none lost, none done twice, {} in all",
        done.len(),
        all - done.len() as u64,
        ACCOUNTS * MONEY_IN_EACH,
    );
    Ok(())
}

fn text(index: Option<u64>) -> String {
    index.map_or("nothing".into(), |index| index.to_string())
}

async fn wait_for(acknowledged: &AtomicU64, count: u64) -> Result<(), Failure> {
    let look = async || (acknowledged.load(Ordering::Relaxed) >= count).then_some(());
    soon("clients are answered", look).await
}

/// Kills the leader while clients write, and starts it again when others have gone on for a while.
async fn fail_over(
    cluster: &mut Cluster<'_>,
    acknowledged: &AtomicU64,
    meanwhile: u64,
) -> Result<(), Failure> {
    let leader = cluster.leader().await?;
    cluster.kill(leader)?;
    let (killed, before) = (Instant::now(), acknowledged.load(Ordering::Relaxed));
    println!("node {leader} leads and is killed after {before} transfers");
    wait_for(acknowledged, before + 1).await?;
    let time = killed.elapsed();
    let next = cluster.leader().await?;
    println!("node {next} leads; the first transfer is acknowledged after {} ms", time.as_millis());
    wait_for(acknowledged, before + meanwhile).await?;
    cluster.start(leader)?;
    let caught_up = async || {
        let (there, here) =
            (cluster.status(next).await?.applied, cluster.status(leader).await?.applied);
        (here? + 20 >= there?).then_some(())
    };
    soon("the node that was killed catches up", caught_up).await?;
    let meanwhile = acknowledged.load(Ordering::Relaxed) - before;
    println!("node {leader} is back and has caught up; {meanwhile} transfers were made meanwhile");
    Ok(())
}

/// The balances are what they were and the transfers that clients were told of, each of them once.
fn judge(accounts: &Accounts, done: &[Transfer]) -> Result<(), Failure> {
    let sum: u64 = accounts.balances.values().sum();
    if sum != ACCOUNTS * MONEY_IN_EACH {
        return Err(format!("there is {sum} in all, and was {}", ACCOUNTS * MONEY_IN_EACH).into());
    }
    // In no order that is known, so an account may be overdrawn meanwhile.
    let mut expected: BTreeMap<u64, i128> =
        (0..ACCOUNTS).map(|account| (account, i128::from(MONEY_IN_EACH))).collect();
    for transfer in done {
        *expected.entry(transfer.from).or_default() -= i128::from(transfer.amount);
        *expected.entry(transfer.to).or_default() += i128::from(transfer.amount);
    }
    let found: BTreeMap<u64, i128> =
        accounts.balances.iter().map(|(account, it)| (*account, i128::from(*it))).collect();
    if found != expected {
        return Err(
            format!("lost or done twice: the balances are {found:?}, not {expected:?}").into()
        );
    }
    Ok(())
}
