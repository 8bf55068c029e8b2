//! Shards with checkpoints, crashed in every way: every checkpoint that was acknowledged is there and
//! is the one that was made, and what came after the oldest that is kept can be replayed.

use std::collections::BTreeMap;

use ironwal::sharded::ShardedWal;
use ironwal::{Journal, SyncMode};
use ironwal_crash::{Outcome, Run};

use crate::session::{Setup, crash_with};

const SHARDS: u16 = 2;

/// Keys, of which each shard gets some.
const KEYS: [&[u8]; 4] = [b"k0", b"k1", b"k2", b"k3"];

#[derive(Debug, Clone, Hash)]
enum Op {
    /// A batch over shards, whole or not at all: keys by number, and values.
    Append(Vec<(usize, Vec<u8>)>),
    Checkpoint(&'static str),
    /// Frees what is before a checkpoint.
    Prune(&'static str),
    /// Keeps the newest checkpoint only.
    Compact,
}

#[derive(Debug, Clone, Hash)]
enum Mark {
    Begin(Op),
    Done,
}

/// What the shards hold, and the checkpoints, oldest first, with their offsets.
#[derive(Debug, Clone, Default)]
struct Model {
    shards: BTreeMap<u16, Vec<Vec<u8>>>,
    checkpoints: Vec<(&'static str, Vec<u64>)>,
    /// Ids below these may be gone.
    pruned_to: Vec<u64>,
}

fn do_op(wal: &ShardedWal, op: &Op) -> ironwal::Result<()> {
    match op {
        Op::Append(entries) => {
            let entries = entries.iter().map(|(key, value)| (KEYS[*key].to_vec(), value.clone()));
            wal.append_batch(&entries.collect::<Vec<_>>()).map(drop)
        }
        Op::Checkpoint(name) => wal.create_checkpoint(name.as_bytes()),
        Op::Prune(name) => wal.prune_before_checkpoint(name.as_bytes()).map(drop),
        Op::Compact => wal.compact_checkpoints(1).map(drop),
    }
}

impl Model {
    fn apply(&mut self, wal: &ShardedWal, op: &Op) {
        match op {
            Op::Append(entries) => {
                for (key, value) in entries {
                    self.shards.entry(wal.route(KEYS[*key])).or_default().push(value.clone());
                }
            }
            Op::Checkpoint(name) => {
                let end = |shard| self.shards.get(&shard).map_or(0, |it| it.len() as u64);
                self.checkpoints.push((name, (0..SHARDS).map(end).collect()));
            }
            Op::Prune(name) => {
                let found = self.checkpoints.iter().find(|it| it.0 == *name);
                self.pruned_to = found.map_or(Vec::new(), |it| it.1.clone());
            }
            Op::Compact => {
                let newest = self.checkpoints.len().saturating_sub(1);
                self.checkpoints.drain(..newest);
            }
        }
    }

    /// Whether the log shows this; `may_be_pruned`: up to where first ids may be.
    fn matches(&self, wal: &ShardedWal, may_be_pruned: &[u64]) -> Result<(), String> {
        let said = |error: ironwal::Error| error.to_string();
        let names: Vec<_> = wal.list_checkpoints().into_iter().map(|it| it.0).collect();
        let expected: Vec<_> = self.checkpoints.iter().map(|it| it.0.as_bytes().to_vec()).collect();
        if names != expected {
            return Err(format!("the checkpoints are {names:?} and not {expected:?}"));
        }
        for (name, offsets) in &self.checkpoints {
            let found = wal.load_checkpoint(name.as_bytes()).map_err(said)?.offsets;
            if found != *offsets {
                return Err(format!("checkpoint {name} is {found:?} and not {offsets:?}"));
            }
        }
        for shard in 0..SHARDS {
            let all = self.shards.get(&shard).cloned().unwrap_or_default();
            let stream = wal.shard(shard).map_err(said)?;
            let first = stream.first_id() as usize;
            let first_max = may_be_pruned.get(usize::from(shard)).copied().unwrap_or(0);
            let entries = wal.iter_shard(shard, first as u64).map_err(said)?;
            let found = entries.collect::<Result<Vec<_>, _>>().map_err(said)?;
            if first as u64 > first_max || all.get(first..) != Some(&found[..]) {
                return Err(format!(
                    "shard {shard} has {} entries from id {first}, not {} from {first_max} or before",
                    found.len(),
                    all.len()
                ));
            }
        }
        Ok(())
    }
}

fn check(run: &Run<Mark>, setup: &Setup) -> Outcome {
    let wal = ShardedWal::over(setup.open(run)?, SHARDS)?;
    let (mut model, mut begun) = (Model::default(), None);
    for mark in run.marks() {
        match mark {
            Mark::Begin(op) => begun = Some(op),
            Mark::Done => {
                let op = begun.take().expect("it had begun");
                model.apply(&wal, &op);
            }
        }
    }
    let mut applied = model.clone();
    begun.iter().for_each(|op| applied.apply(&wal, op));
    let before = model.matches(&wal, &applied.pruned_to);
    before.or_else(|reason| {
        let after = applied.matches(&wal, &applied.pruned_to);
        after.map_err(|other| format!("{reason}; or {other}"))
    })?;
    wal.close()?;
    Ok(())
}

fn crash(name: &str, setup: &Setup, ops: &[Op]) {
    let workload = |run: &Run<Mark>| {
        let wal = ShardedWal::over(setup.open(run)?, SHARDS)?;
        for op in ops {
            run.mark(Mark::Begin(op.clone()));
            do_op(&wal, op)?;
            run.mark(Mark::Done);
        }
        Ok(())
    };
    crash_with(name, workload, |run: &Run<Mark>| check(run, setup));
}

fn append(numbers: std::ops::Range<usize>) -> Op {
    let entry = |number| (number % KEYS.len(), format!("value {number}").into_bytes());
    Op::Append(numbers.map(entry).collect())
}

#[test]
fn checkpoints_and_pruning() {
    let setup = Setup::new(SyncMode::Strict).with(|it| it.max_entries_per_segment = 2);
    let ops = [
        append(0..4),
        Op::Checkpoint("one"),
        append(4..6),
        append(6..8),
        Op::Checkpoint("two"),
        Op::Prune("two"),
        append(8..9),
        Op::Compact,
    ];
    crash("sharded: checkpoints and pruning", &setup, &ops);
}

#[test]
fn checkpoints_in_the_journal() {
    let setup = Setup::new(SyncMode::Strict).journal(Journal::On);
    let ops = [append(0..4), Op::Checkpoint("one"), append(4..5), Op::Checkpoint("two")];
    crash("sharded: checkpoints in the journal", &setup, &ops);
}
