//! A ledger over 16 shards that starts from its last snapshot, and not from the beginning of its log.
//! A test keeps the excerpt in the README equal.

use std::collections::BTreeMap;
use std::path::Path;

use ironwal::WalOptions;
use ironwal::sharded::{CheckpointData, ShardedWal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Ledger {
    wal: ShardedWal,
    balances: BTreeMap<String, i64>,
}

impl Ledger {
    /// Loads the last snapshot, and replays what it misses.
    fn open(path: &Path) -> Result<Self> {
        let wal = ShardedWal::new(WalOptions::new(path), 16)?; // 16 shards, for ever
        let mut balances = BTreeMap::new();
        // Without a snapshot everything is missing.
        let mut checkpoint = CheckpointData::beginning(16);
        if let Some(snapshot) = wal.inner().stream("snapshots")?.range(..).next_back() {
            let (_, snapshot) = snapshot?;
            let mut lines = std::str::from_utf8(&snapshot)?.lines();
            // Not the latest: the process may have died between that checkpoint and its snapshot.
            checkpoint = wal.load_checkpoint(lines.next().ok_or("no name")?.as_bytes())?;
            lines.try_for_each(|line| apply(&mut balances, line))?;
        }
        for entry in wal.replay(&checkpoint)? {
            let (_shard, _id, entry) = entry?;
            apply(&mut balances, std::str::from_utf8(&entry)?)?;
        }
        Ok(Self { wal, balances })
    }

    /// Entries of one account are in one shard, in order. The key is not stored, so the entry says
    /// whose it is.
    fn book(&mut self, account: &str, amount: i64) -> Result<()> {
        let entry = format!("{account} {amount}");
        self.wal.append(account.as_bytes(), entry.as_bytes())?;
        apply(&mut self.balances, &entry)
    }

    /// Saves the balances under a name that was not used before, and frees what they make useless.
    /// Nothing is booked between the checkpoint and the copy: `&mut self` sees to it.
    fn save_snapshot(&mut self, name: &str) -> Result<()> {
        self.wal.create_checkpoint(name.as_bytes())?;
        let lines = self.balances.iter().map(|(account, balance)| format!("{account} {balance}"));
        let snapshot: Vec<String> = std::iter::once(name.to_string()).chain(lines).collect();

        let snapshots = self.wal.inner().stream("snapshots")?; // a stream beside the shards
        let id = snapshots.append(snapshot.join("\n").as_bytes())?;
        snapshots.sync()?; // first, in every mode
        self.wal.prune_before_checkpoint(name.as_bytes())?;
        snapshots.truncate_before(id)?;
        self.wal.compact_checkpoints(1)?;
        Ok(())
    }
}

fn apply(balances: &mut BTreeMap<String, i64>, line: &str) -> Result<()> {
    let (account, amount) = line.rsplit_once(' ').ok_or("no amount")?;
    *balances.entry(account.to_string()).or_default() += amount.parse::<i64>()?;
    Ok(())
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open(dir.path())?;
    ledger.book("alice", 100)?;
    ledger.book("bob", 20)?;
    ledger.save_snapshot("monday")?;
    ledger.book("alice", -30)?;
    ledger.wal.create_checkpoint(b"tuesday")?;
    drop(ledger); // the process dies here, before it has saved a snapshot of tuesday

    let mut ledger = Ledger::open(dir.path())?;
    let expected = [("alice".to_string(), 70), ("bob".to_string(), 20)];
    assert_eq!(ledger.balances, BTreeMap::from(expected));
    ledger.save_snapshot("wednesday")?;
    assert_eq!(ledger.wal.load_latest_checkpoint()?.0, b"wednesday");
    ledger.wal.close()?; // says what went wrong
    Ok(())
}
