//! Two groups, crashed between any two calls to the disk, in every way that a file system may leave behind.
//!
//! `IRONWAL_STATES` says how many states each program may have; `scripts/raft-crash-states` runs more of them
//! than `cargo test`.

use std::collections::VecDeque;
use std::time::Duration;

use futures::executor::block_on;
use ironwal::{Environment, Journal, Maintenance, SyncMode, Wal, WalOptions};
use ironwal_crash::{CrashTest, Failure, Model, Outcome, Run, Summary};
use ironwal_openraft::{GroupOptions, Groups};
use openraft::Vote;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::log::{Seen, Store, entries, log_id, see, text};

const GROUPS: [&str; 2] = ["left", "right"];

/// What a group is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Vote {
        term: u64,
    },
    /// So many entries, behind the last one.
    Append {
        term: u64,
        count: u64,
    },
    /// Up to the last entry.
    Commit,
    /// The last so many entries.
    Cut {
        count: u64,
    },
    /// All but the last so many entries.
    Purge {
        but: u64,
    },
}

/// What the program says of itself: which group begins what, and that it has returned.
#[derive(Debug, Clone, Copy, Hash)]
enum Mark {
    Begin(usize, Op),
    Done,
}

/// What a group is to show after some operations.
impl Seen {
    fn apply(&mut self, op: Op) {
        let next = self.last.map_or(0, |last| last.index + 1);
        match op {
            Op::Vote { term } => self.vote = Some(Vote::new(term, 1)),
            Op::Append { term, count } => {
                self.entries.extend(entries(term, next..next + count).iter().map(text));
            }
            Op::Commit => self.committed = self.last,
            Op::Cut { count } => {
                let kept = self.entries.len() - usize::try_from(count).unwrap();
                self.entries.truncate(kept);
            }
            Op::Purge { but } => {
                let gone = self.entries.len() - usize::try_from(but).unwrap();
                self.purged = self.entries.drain(..gone).next_back().map(|it| it.0).or(self.purged);
            }
        }
        self.last = self.entries.last().map(|it| it.0).or(self.purged);
    }
}

/// The states that a group may be found in after a crash.
#[derive(Debug)]
struct Expected {
    /// What has returned.
    seen: Seen,
    /// The committed log ids that may be found: what was saved since one was certainly written.
    committed: VecDeque<Option<openraft::LogId<u64>>>,
}

impl Expected {
    fn new() -> Self {
        Self { seen: Seen::default(), committed: VecDeque::from([None]) }
    }

    /// `op` has returned.
    fn done(&mut self, op: Op) {
        self.seen.apply(op);
        match op {
            Op::Commit => self.committed.push_back(self.seen.committed),
            // Written down with this one, and durable.
            _ => drop(self.committed.drain(..self.committed.len() - 1)),
        }
    }

    fn matches(&self, found: &Seen, in_flight: Option<Op>) -> bool {
        let same =
            |expected: &Seen| *found == Seen { committed: found.committed, ..expected.clone() };
        let mut is_one = same(&self.seen);
        if let Some(op) = in_flight {
            let mut after = self.seen.clone();
            after.apply(op);
            is_one |= same(&after);
            if let Op::Append { .. } = op {
                // Any first part of what is in flight.
                is_one |= (self.seen.entries.len()..after.entries.len()).any(|kept| {
                    let mut part = after.clone();
                    part.entries.truncate(kept);
                    part.last = part.entries.last().map(|it| it.0).or(part.purged);
                    same(&part)
                });
            }
        }
        is_one && self.committed.contains(&found.committed) && found.committed <= found.last
    }
}

/// How the program and the log are set up.
#[derive(Debug, Clone, Copy)]
struct Setup {
    mode: SyncMode,
    journal: Journal,
    free_len_min: u64,
}

fn open(run: &Run<Mark>, setup: Setup) -> Result<(Groups, [Store; 2]), Box<dyn std::error::Error>> {
    let environment = Environment::default()
        .with_storage(run.storage())
        .with_entropy(|| 0x5A17)
        .with_clock(|| Duration::ZERO)
        .with_maintenance(Maintenance::Inline)
        .with_journal(setup.journal)
        .with_journal_size(64 * 1024);
    let options = WalOptions { sync_mode: setup.mode, ..WalOptions::new("/log") };
    let group =
        GroupOptions { free_len_min: setup.free_len_min, recent_len: 0, ..GroupOptions::default() };
    let groups = Groups::new(Wal::open_with(options, environment)?).with_options(group);
    let stores = GROUPS.map(|name| block_on(groups.log_store(name)));
    let [left, right] = stores;
    Ok((groups, [left?, right?]))
}

fn act(store: &mut Store, seen: &mut Seen, op: Op) -> Outcome {
    let next = seen.last.map_or(0, |last| last.index + 1);
    match op {
        Op::Vote { term } => block_on(store.save_vote(&Vote::new(term, 1)))?,
        Op::Append { term, count } => {
            block_on(store.blocking_append(entries(term, next..next + count)))?;
        }
        Op::Commit => block_on(store.save_committed(seen.last))?,
        Op::Cut { count } => block_on(store.truncate(log_id(0, next - count)))?,
        Op::Purge { but } => {
            let upto = seen.entries[seen.entries.len() - usize::try_from(but).unwrap() - 1].0;
            block_on(store.purge(upto))?;
        }
    }
    seen.apply(op);
    Ok(())
}

fn workload(run: &Run<Mark>, setup: Setup, ops: &[(usize, Op)]) -> Outcome {
    let (groups, mut stores) = open(run, setup)?;
    let mut seen = [Seen::default(), Seen::default()];
    for (group, op) in ops {
        run.mark(Mark::Begin(*group, *op));
        act(&mut stores[*group], &mut seen[*group], *op)?;
        run.mark(Mark::Done);
    }
    drop(stores);
    Ok(groups.wal().close()?)
}

/// Each group is as it was when its last operation returned, or as the one in flight leaves it. It goes on
/// from there, and a second opening finds the same.
fn check(run: &Run<Mark>, setup: Setup) -> Outcome {
    let mut expected = [Expected::new(), Expected::new()];
    let mut in_flight = None;
    for mark in run.marks() {
        match mark {
            Mark::Begin(group, op) => in_flight = Some((group, op)),
            Mark::Done => {
                let (group, op) = in_flight.take().ok_or("nothing had begun")?;
                expected[group].done(op);
            }
        }
    }
    let (groups, mut stores) = open(run, setup)?;
    let mut found = Vec::new();
    for (group, store) in stores.iter_mut().enumerate() {
        let seen = block_on(see(store))?;
        let op = in_flight.filter(|it| it.0 == group).map(|it| it.1);
        if !expected[group].matches(&seen, op) {
            let (name, expected) = (GROUPS[group], &expected[group]);
            return Err(
                format!("{name} is {seen:?}; expected {expected:?}, in flight {op:?}").into()
            );
        }
        found.push(seen);
    }
    drop(stores);
    groups.wal().close()?;
    let (_groups, mut stores) = open(run, setup)?;
    for (store, found) in stores.iter_mut().zip(found) {
        let again = block_on(see(store))?;
        if again != found {
            return Err(format!("opened again it is {again:?}, and was {found:?}").into());
        }
    }
    Ok(())
}

/// Elections, appends, cuts and purges, the groups in turn.
fn life() -> Vec<(usize, Op)> {
    let (left, right) = (0, 1);
    vec![
        (left, Op::Vote { term: 1 }),
        (left, Op::Append { term: 1, count: 2 }),
        (right, Op::Append { term: 1, count: 3 }),
        (left, Op::Commit),
        (right, Op::Vote { term: 2 }),
        (left, Op::Append { term: 1, count: 2 }),
        (right, Op::Cut { count: 2 }),
        (left, Op::Purge { but: 1 }),
        (right, Op::Append { term: 2, count: 2 }),
        (right, Op::Commit),
        (right, Op::Purge { but: 0 }),
        (left, Op::Commit),
        (left, Op::Purge { but: 0 }),
        (left, Op::Append { term: 3, count: 1 }),
        (right, Op::Append { term: 3, count: 2 }),
        (right, Op::Vote { term: 4 }),
    ]
}

/// Operations that a seed chooses. What is committed is never cut off.
fn random_life(seed: u64) -> Vec<(usize, Op)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut terms, mut counts, mut uncommitted) = ([1; 2], [0_u64; 2], [0_u64; 2]);
    let mut op = |group: usize| match random.u8(0..9) {
        0 | 1 => {
            terms[group] += 1;
            Op::Vote { term: terms[group] }
        }
        2 => {
            uncommitted[group] = 0;
            Op::Commit
        }
        3 if uncommitted[group] > 0 => {
            let count = random.u64(1..=uncommitted[group]);
            uncommitted[group] -= count;
            counts[group] -= count;
            Op::Cut { count }
        }
        4 | 5 if counts[group] > 0 => {
            counts[group] = random.u64(0..counts[group]);
            uncommitted[group] = uncommitted[group].min(counts[group]);
            Op::Purge { but: counts[group] }
        }
        _ => {
            let count = random.u64(1..4);
            counts[group] += count;
            uncommitted[group] += count;
            Op::Append { term: terms[group], count }
        }
    };
    (0..14).map(|at| (at % 2, op(at % 2))).collect()
}

fn states() -> usize {
    std::env::var("IRONWAL_STATES").map_or(400, |states| states.parse().expect("a number"))
}

fn test(name: &str, setup: Setup, ops: &[(usize, Op)]) -> Result<Summary, Failure> {
    let test = CrashTest::new(name).models(&Model::ALL).states(states());
    test.run(|run| workload(run, setup, ops), |run| check(run, setup))
}

#[test]
fn nothing_is_lost_and_nothing_contradicts() {
    let mut sum = Summary::default();
    // The more states, the more programs too, for one of these sizes has only so many.
    let seeds = 2 + states() as u64 / 1_000;
    let lives = std::iter::once(life()).chain((1..=seeds).map(random_life));
    for (number, ops) in lives.enumerate() {
        let ops = &ops;
        for journal in [Journal::Auto, Journal::On, Journal::Off] {
            for free_len_min in [0, 1 << 20] {
                let setup = Setup { mode: SyncMode::Strict, journal, free_len_min };
                let name = format!("life {number}, journal {journal:?}, frees {free_len_min}");
                match test(&name, setup, ops) {
                    Ok(summary) => sum.add(&summary),
                    Err(failure) => panic!("{name}: {failure}"),
                }
            }
        }
    }
    // For whoever runs it with `--nocapture`.
    println!("{sum}");
    assert!(sum.states > 2_000, "{sum}");
}
