//! Shards that threads append to by key, while another creates checkpoints, prunes and compacts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ironwal::Error;
use ironwal::sharded::ShardedWal;

use super::{Workload, entry, noise, options, report, who};

const SHARDS: u16 = 5;
const THREADS: u64 = 3;

/// What a report is about.
const APPENDED: u64 = 0;
const FOUND_CHECKPOINTS: u64 = 1;
const CHECKPOINT_BEGINS: u64 = 2;
const CHECKPOINT_DONE: u64 = 3;
const PRUNING_BEGINS: u64 = 4;
const COMPACTION_BEGINS: u64 = 5;
const COMPACTION_DONE: u64 = 6;

/// One operation of one thread of one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Operation {
    run: u64,
    thread: u64,
    number: u64,
}

impl Operation {
    fn noise(self) -> u64 {
        noise(self.run, self.thread, self.number)
    }

    /// How many entries it appends, all or nothing.
    fn count(self) -> u64 {
        match self.noise() >> 8 & 7 {
            0..4 => 1,
            _ => 2 + (self.noise() >> 16) % 15,
        }
    }

    /// Whether all entries have one key.
    fn one_key(self) -> bool {
        self.noise() >> 12 & 1 == 0
    }

    fn key(self, nth: u64) -> Vec<u8> {
        let nth = if self.one_key() { 0 } else { nth };
        (self.noise().wrapping_add(nth) % 1000).to_le_bytes().to_vec()
    }

    fn entry(self, nth: u64) -> Vec<u8> {
        entry([self.run, self.thread, self.number, nth])
    }

    /// Returns the shard and the id of each entry.
    fn append(self, wal: &ShardedWal) -> Vec<(u16, u64)> {
        let entries: Vec<_> = (0..self.count()).map(|nth| self.entry(nth)).collect();
        if entries.len() == 1 {
            vec![wal.append(&self.key(0), &entries[0]).unwrap()]
        } else if self.one_key() {
            let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            wal.append_batch_for_key(&self.key(0), &entries).unwrap()
        } else {
            let pairs: Vec<_> = (0..).map(|nth| self.key(nth)).zip(entries).collect();
            wal.append_batch_atomic(&pairs).unwrap()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Checkpoint {
    id: u64,
    /// Of each shard, the id behind its last entry; `None` if creating it was not acknowledged.
    offsets: Option<Vec<u64>>,
    /// What had been acknowledged when it was begun.
    at_least: Vec<u64>,
}

#[derive(Default)]
struct Checkpoints {
    there: Vec<Checkpoint>,
    /// One that was begun.
    created: Option<Checkpoint>,
    /// How many a compaction keeps that was begun.
    kept: Option<usize>,
}

impl Checkpoints {
    /// These are there now: those that had been, perhaps without those that a compaction drops and with
    /// the one that was being created.
    fn settle(&mut self, ids: &[u64]) {
        let mut may_be = vec![self.there.clone()];
        if let Some(kept) = self.kept.take() {
            may_be.push(self.there[self.there.len().saturating_sub(kept)..].to_vec());
        }
        if let Some(created) = self.created.take() {
            may_be.push([self.there.clone(), vec![created]].concat());
        }
        let ids_of = |checkpoints: &Vec<Checkpoint>| -> Vec<u64> {
            checkpoints.iter().map(|checkpoint| checkpoint.id).collect()
        };
        let fits = may_be.iter().find(|checkpoints| ids_of(checkpoints) == ids);
        let expected: Vec<_> = may_be.iter().map(ids_of).collect();
        self.there = fits
            .unwrap_or_else(|| panic!("checkpoints {ids:?}, expected one of {expected:?}"))
            .clone();
    }

    fn check(&mut self, wal: &ShardedWal) {
        self.settle(&ids(wal));
        for checkpoint in &mut self.there {
            let offsets = wal.load_checkpoint(&checkpoint.id.to_le_bytes()).unwrap().offsets;
            assert_eq!(*checkpoint.offsets.get_or_insert_with(|| offsets.clone()), offsets);
            let covers = offsets.iter().zip(&checkpoint.at_least).all(|(end, due)| end >= due);
            assert!(covers, "{checkpoint:?} misses what had been appended before");
        }
        match self.there.last() {
            Some(last) => {
                assert_eq!(wal.load_latest_checkpoint().unwrap().0, last.id.to_le_bytes());
            }
            None => {
                let none = wal.load_latest_checkpoint().unwrap_err();
                assert!(matches!(none, Error::NoCheckpoints), "{none}");
            }
        }
    }
}

/// The ids of the checkpoints of a log.
fn ids(wal: &ShardedWal) -> Vec<u64> {
    let listed = wal.list_checkpoints();
    listed.iter().map(|(id, _)| u64::from_le_bytes(id[..].try_into().unwrap())).collect()
}

pub(super) struct Shards {
    mode: String,
    /// Where each entry of every acknowledged operation is.
    acknowledged: BTreeMap<Operation, Vec<(u16, u64)>>,
    /// Those that were not, and were pruned in part before anybody looked.
    in_part: BTreeSet<Operation>,
    /// Behind the last acknowledged entry of each shard.
    ends: Vec<u64>,
    checkpoints: Checkpoints,
    /// Up to where each shard may have been pruned, and the first ids when it was last looked at.
    prunable: Vec<u64>,
    firsts: Vec<u64>,
}

impl Workload for Shards {
    const NAME: &str = "sharded";

    fn work(dir: &Path, mode: &str, run: u64) {
        let wal = ShardedWal::new(options(dir, mode), SHARDS).unwrap();
        report([FOUND_CHECKPOINTS].into_iter().chain(ids(&wal)));
        std::thread::scope(|scope| {
            let wal = &wal;
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in 0.. {
                        let places = Operation { run, thread, number }.append(wal);
                        let places = places.iter().flat_map(|(shard, id)| [u64::from(*shard), *id]);
                        report([APPENDED, thread, number].into_iter().chain(places));
                    }
                });
            }
            scope.spawn(move || keep_checkpoints(wal, run));
        });
    }

    fn new(mode: &str) -> Self {
        let none = vec![0; usize::from(SHARDS)];
        Self {
            mode: mode.to_string(),
            acknowledged: BTreeMap::new(),
            in_part: BTreeSet::new(),
            ends: none.clone(),
            checkpoints: Checkpoints::default(),
            prunable: none.clone(),
            firsts: none,
        }
    }

    fn hear(&mut self, run: u64, report: &[u64]) {
        let checkpoints = &mut self.checkpoints;
        match *report {
            [APPENDED, thread, number, ref places @ ..] => {
                let places = places.chunks_exact(2).map(|place| (place[0] as u16, place[1]));
                self.acknowledge(Operation { run, thread, number }, places.collect());
            }
            [FOUND_CHECKPOINTS, ref ids @ ..] => checkpoints.settle(ids),
            [CHECKPOINT_BEGINS, id] => {
                let at_least = self.ends.clone();
                checkpoints.created = Some(Checkpoint { id, offsets: None, at_least });
            }
            [CHECKPOINT_DONE, id, ref offsets @ ..] => {
                let mut created = checkpoints.created.take().unwrap();
                assert_eq!(created.id, id);
                created.offsets = Some(offsets.to_vec());
                checkpoints.there.push(created);
            }
            [PRUNING_BEGINS, id] => {
                let found = checkpoints.there.iter().find(|checkpoint| checkpoint.id == id);
                self.prunable = found.unwrap().offsets.clone().unwrap();
            }
            [COMPACTION_BEGINS, kept] => checkpoints.kept = Some(kept as usize),
            [COMPACTION_DONE] => {
                let kept = checkpoints.kept.take().unwrap();
                let dropped = checkpoints.there.len().saturating_sub(kept);
                checkpoints.there.drain(..dropped);
            }
            _ => panic!("report {report:?}"),
        }
    }

    fn check(&mut self, dir: &Path, run: u64) {
        let wal = ShardedWal::new(options(dir, &self.mode), SHARDS).unwrap();
        self.checkpoints.check(&wal);
        let firsts: Vec<u64> =
            (0..SHARDS).map(|shard| wal.shard(shard).unwrap().first_id()).collect();
        for (first, prunable) in firsts.iter().zip(&self.prunable) {
            assert!(first <= prunable, "{}: pruned to {firsts:?}", self.mode);
        }
        let seen = self.look(&wal, &firsts);
        self.check_acknowledged(&seen, &firsts);
        self.check_nothing_invented(&seen, firsts == self.firsts);
        self.expect_again(&seen);
        self.firsts = firsts;

        // And it goes on.
        let operation = Operation { run, thread: THREADS, number: 0 };
        let places = operation.append(&wal);
        self.acknowledge(operation, places);
        wal.close().unwrap();
    }
}

impl Shards {
    fn acknowledge(&mut self, operation: Operation, places: Vec<(u16, u64)>) {
        for (shard, id) in &places {
            let end = &mut self.ends[usize::from(*shard)];
            *end = (*end).max(id + 1);
        }
        self.acknowledged.insert(operation, places);
    }

    /// Where each entry is that the shards hold.
    fn look(&self, wal: &ShardedWal, firsts: &[u64]) -> BTreeMap<(Operation, u64), (u16, u64)> {
        let mode = &self.mode;
        let mut seen = BTreeMap::new();
        for (shard, first) in (0..).zip(firsts) {
            for (due, found) in (*first..).zip(wal.iter_shard_with_ids(shard, 0).unwrap()) {
                let (id, found) = found.unwrap();
                assert_eq!(id, due, "{mode}: a gap in shard {shard}");
                let [run, thread, number, nth] = who(&found);
                let operation = Operation { run, thread, number };
                assert!(nth < operation.count(), "{mode}: {operation:?}: {nth}");
                assert_eq!(found, operation.entry(nth), "{mode}: {operation:?} at {id}");
                assert_eq!(wal.route(&operation.key(nth)), shard, "{mode}: {operation:?}");
                let before = seen.insert((operation, nth), (shard, id));
                assert_eq!(before, None, "{mode}: {operation:?} is there twice");
            }
        }
        seen
    }

    /// Every acknowledged entry that is not pruned is in its place.
    fn check_acknowledged(&self, seen: &BTreeMap<(Operation, u64), (u16, u64)>, firsts: &[u64]) {
        for (operation, places) in &self.acknowledged {
            for (nth, place) in (0..).zip(places) {
                let is_pruned = place.1 < firsts[usize::from(place.0)];
                let due = (!is_pruned).then_some(place);
                let there = seen.get(&(*operation, nth));
                assert_eq!(there, due, "{}: acknowledged {operation:?}", self.mode);
            }
        }
    }

    /// Operations of which something is there that were never acknowledged.
    fn unknown(&self, seen: &BTreeMap<(Operation, u64), (u16, u64)>) -> BTreeSet<Operation> {
        let operations = seen.keys().map(|(operation, _)| *operation);
        operations
            .filter(|operation| !self.acknowledged.contains_key(operation))
            .filter(|operation| !self.in_part.contains(operation))
            .collect()
    }

    /// What was read once stays.
    fn expect_again(&mut self, seen: &BTreeMap<(Operation, u64), (u16, u64)>) {
        for operation in self.unknown(seen) {
            let places = (0..operation.count()).map(|nth| seen.get(&(operation, nth)).copied());
            match places.collect() {
                Some(places) => self.acknowledge(operation, places),
                None => _ = self.in_part.insert(operation),
            }
        }
    }

    /// What was not acknowledged was under way, and is there whole (if nothing of it can be pruned).
    fn check_nothing_invented(
        &self,
        seen: &BTreeMap<(Operation, u64), (u16, u64)>,
        nothing_was_pruned: bool,
    ) {
        let mode = &self.mode;
        for operation in self.unknown(seen) {
            // A thread begins an operation only after it has reported the one before.
            let begun = operation.number.checked_sub(1).is_none_or(|number| {
                self.acknowledged.contains_key(&Operation { number, ..operation })
            });
            assert!(begun, "{mode}: {operation:?} was never begun");
            let is_whole = (0..operation.count()).all(|nth| seen.contains_key(&(operation, nth)));
            assert!(is_whole || !nothing_was_pruned, "{mode}: only a part of {operation:?}");
        }
    }
}

/// Creates checkpoints, prunes before some, and drops old ones.
fn keep_checkpoints(wal: &ShardedWal, run: u64) {
    for number in 0.. {
        let id = run << 32 | number;
        report([CHECKPOINT_BEGINS, id]);
        wal.create_checkpoint(&id.to_le_bytes()).unwrap();
        let offsets = wal.load_checkpoint(&id.to_le_bytes()).unwrap().offsets;
        report([CHECKPOINT_DONE, id].into_iter().chain(offsets));
        if noise(run, number, 1).is_multiple_of(5) {
            report([PRUNING_BEGINS, id]);
            wal.prune_before_checkpoint(&id.to_le_bytes()).unwrap();
        }
        if noise(run, number, 2).is_multiple_of(4) {
            let kept = noise(run, number, 3) % 4;
            report([COMPACTION_BEGINS, kept]);
            wal.compact_checkpoints(kept as usize).unwrap();
            report([COMPACTION_DONE]);
        }
    }
}
