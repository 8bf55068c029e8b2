//! A ledger on a log, and the machine that finds out what a crash does to it.
//!
//! The ledger saves its balances in a snapshot, and then drops the entries that the snapshot holds. One
//! version drops them as soon as the snapshot is written; the other waits until it is on stable
//! storage. They differ in one line, and no test without crashes tells them apart.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Arc;

use ironwal::storage::Storage;
use ironwal::{Environment, Maintenance, SyncMode, Wal, WalOptions};
use ironwal_crash::{CrashTest, Failure, Model, Outcome, Run};

type Balances = BTreeMap<String, i64>;

struct Ledger {
    wal: Wal,
    balances: Balances,
    syncs_snapshots: bool,
}

impl Ledger {
    /// Loads the last snapshot, and applies the entries that came after it.
    fn open(
        storage: Arc<dyn Storage>,
        syncs_snapshots: bool,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let options = WalOptions { sync_mode: SyncMode::BatchOnly, ..WalOptions::new("/ledger") };
        // Whatever the log does, it does the same each time: on this disk, on one thread.
        let environment = Environment::default()
            .with_storage(storage)
            .with_entropy(|| 7)
            .with_clock(|| std::time::Duration::ZERO)
            .with_maintenance(Maintenance::Inline);
        let wal = Wal::open_with(options, environment)?;
        let (mut balances, mut next) = (Balances::new(), 0);
        if let Some(snapshot) = wal.stream("snapshots")?.range(..).next_back() {
            let snapshot = String::from_utf8(snapshot?.1.to_vec())?;
            let mut lines = snapshot.lines();
            next = lines.next().ok_or("no id")?.parse()?;
            lines.try_for_each(|line| apply(&mut balances, line))?;
        }
        for entry in wal.stream("entries")?.range(next..) {
            apply(&mut balances, std::str::from_utf8(&entry?.1)?)?;
        }
        Ok(Self { wal, balances, syncs_snapshots })
    }

    /// Moves money, and returns when that is on stable storage.
    fn transfer(&mut self, from: &str, to: &str, amount: i64) -> Outcome {
        let (minus, plus) = (format!("{from} {}", -amount), format!("{to} {amount}"));
        self.wal.append_batch("entries", &[minus.as_bytes(), plus.as_bytes()])?;
        apply(&mut self.balances, &minus)?;
        apply(&mut self.balances, &plus)
    }

    fn save_snapshot(&mut self) -> Outcome {
        let next = self.wal.stream("entries")?.next_id();
        let lines = self.balances.iter().map(|(account, balance)| format!("{account} {balance}"));
        let snapshot: Vec<String> = std::iter::once(next.to_string()).chain(lines).collect();
        self.wal.append("snapshots", snapshot.join("\n").as_bytes())?;
        if self.syncs_snapshots {
            self.wal.stream("snapshots")?.sync()?;
        }
        self.wal.stream("entries")?.truncate_before(next)?;
        Ok(())
    }
}

fn apply(balances: &mut Balances, line: &str) -> Outcome {
    let (account, amount) = line.rsplit_once(' ').ok_or("no amount")?;
    *balances.entry(account.to_string()).or_default() += amount.parse::<i64>()?;
    Ok(())
}

/// What the ledger says of itself while it runs.
#[derive(Debug, Clone, Hash)]
enum Mark {
    /// A transfer begins that will lead to these balances.
    Begun(Balances),
    /// It has been acknowledged.
    Acknowledged,
}

fn transfer(run: &Run<Mark>, ledger: &mut Ledger, from: &str, to: &str, amount: i64) -> Outcome {
    let mut after = ledger.balances.clone();
    *after.entry(from.to_string()).or_default() -= amount;
    *after.entry(to.to_string()).or_default() += amount;
    run.mark(Mark::Begun(after));
    ledger.transfer(from, to, amount)?;
    run.mark(Mark::Acknowledged);
    Ok(())
}

fn workload(run: &Run<Mark>, syncs_snapshots: bool) -> Outcome {
    let mut ledger = Ledger::open(run.storage(), syncs_snapshots)?;
    transfer(run, &mut ledger, "alice", "bob", 10)?;
    transfer(run, &mut ledger, "bob", "carol", 3)?;
    ledger.save_snapshot()?;
    transfer(run, &mut ledger, "carol", "alice", 1)
}

/// After a crash the ledger opens, and holds every transfer that was acknowledged. The one that was not
/// is there whole or not at all.
fn check(run: &Run<Mark>, syncs_snapshots: bool) -> Outcome {
    let (mut acknowledged, mut begun) = (Balances::new(), None);
    for mark in run.marks() {
        match mark {
            Mark::Begun(balances) => begun = Some(balances),
            Mark::Acknowledged => acknowledged = begun.take().ok_or("nothing had begun")?,
        }
    }
    let found = Ledger::open(run.storage(), syncs_snapshots)?.balances;
    if found == acknowledged || Some(&found) == begun.as_ref() {
        return Ok(());
    }
    Err(format!("the balances are {found:?}, acknowledged were {acknowledged:?}").into())
}

fn main() -> Outcome {
    let test = CrashTest::new("ledger").states(3_000);

    let right = test.run(|run| workload(run, true), |run| check(run, true));
    println!("snapshots are synced:\n{}\n", right?);

    let wrong = test.run(|run| workload(run, false), |run| check(run, false));
    let Err(Failure::Violation(violation)) = wrong else {
        return Err("the bug was not found".into());
    };
    println!("snapshots are not synced:\n{violation}\n");

    // The same state again, for a debugger, or as a test of its own.
    let trail = violation.trail.to_string().parse()?;
    let again = test.replay(&trail, |run| workload(run, false), |run| check(run, false));
    assert_eq!(again, Err(Failure::Violation(violation)));

    // On ext4 it fails too: what is missing there is no order, but a sync.
    let ext4 = test.clone().models(&[Model::Ext4]);
    assert!(ext4.run(|run| workload(run, false), |run| check(run, false)).is_err());
    Ok(())
}
