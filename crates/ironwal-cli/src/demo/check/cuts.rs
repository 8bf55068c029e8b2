//! Holds the checkpoints against what was acknowledged, and against the lines.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Problem};
use crate::demo::report::Place;
use crate::demo::turns::{THREADS, Turn};
use crate::demo::workers::checkpoint_id;

/// The checkpoints of the log.
#[derive(Debug, Clone, Default)]
pub(in crate::demo) struct Found {
    /// The offsets of each, or why it cannot be loaded, by its number.
    pub(in crate::demo) offsets: BTreeMap<u64, Result<Vec<u64>, String>>,
    /// The id of the one that is loaded as the latest.
    pub(in crate::demo) latest: Option<String>,
}

/// The newest checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo) struct Newest {
    pub(in crate::demo) number: u64,
    /// How many lines it holds.
    pub(in crate::demo) holds: u64,
}

impl Findings {
    /// Checks that every acknowledged checkpoint is there (`acknowledged` says how many appends had
    /// returned when each was begun), and that each one that is there is one instant: it holds what
    /// can be read, what had returned before, what older ones hold, and of each thread its lines up
    /// to one of them, without a hole.
    pub(in crate::demo) fn check_checkpoints(
        &mut self,
        found: &Found,
        acknowledged: &BTreeMap<u64, u64>,
    ) -> Option<Newest> {
        for number in acknowledged.keys().filter(|number| !found.offsets.contains_key(number)) {
            let error = "it is not in the log".to_string();
            self.add(Problem::CheckpointLost { number: *number, error });
        }
        let mut growing = Cut::new(self.shards.len());
        let mut newest = None;
        for (&number, offsets) in &found.offsets {
            match offsets {
                Ok(offsets) => {
                    let holds = offsets.iter().sum();
                    newest = Some(Newest { number, holds });
                    self.check_offsets(&mut growing, number, offsets);
                    match acknowledged.get(&number) {
                        Some(&returned_before) if holds < returned_before => {
                            self.add(Problem::CheckpointShort { number, holds, returned_before });
                        }
                        _ => {}
                    }
                }
                Err(error) => {
                    self.add(Problem::CheckpointLost { number, error: error.clone() });
                }
            }
        }
        if let Some(Newest { number: newest, .. }) = newest
            && found.latest != Some(checkpoint_id(newest))
        {
            let found = found.latest.clone().unwrap_or_else(|| "none".to_string());
            self.add(Problem::CheckpointNotLatest { newest, found });
        }
        newest
    }

    /// Checks one checkpoint; `growing` is the one before.
    fn check_offsets(&mut self, growing: &mut Cut, number: u64, offsets: &[u64]) {
        let mut problems = Vec::new();
        let mut backwards = None;
        for ((shard, found), offset) in (0_u16..).zip(&self.shards).zip(offsets) {
            let at = usize::from(shard);
            let (offset, before) = (Place { shard, id: *offset }, growing.offsets[at]);
            if offset.id > found.end {
                problems.push(Problem::CheckpointBeyond { number, offset, end: found.end });
            }
            if offset.id < before {
                // Once is enough, for it is all shards as a rule.
                backwards.get_or_insert(Problem::CheckpointBackwards { number, offset, before });
            }
            let from = growing.positions[at];
            let new = found.lines[from..].iter().take_while(|(id, _)| *id < offset.id);
            growing.positions[at] += new.map(|(_, line)| growing.holds.add(*line)).count();
            growing.offsets[at] = before.max(offset.id);
        }
        if let Some((holds, misses)) = growing.holds.hole() {
            problems.push(Problem::CheckpointTorn { number, holds, misses });
        }
        problems.into_iter().chain(backwards).for_each(|problem| self.add(problem));
    }
}

/// What one checkpoint after the other holds.
struct Cut {
    offsets: Vec<u64>,
    /// Up to where the lines of each shard have been looked at.
    positions: Vec<usize>,
    holds: Held,
}

impl Cut {
    fn new(shard_count: usize) -> Self {
        let (offsets, positions) = (vec![0; shard_count], vec![0; shard_count]);
        Self { offsets, positions, holds: Held::default() }
    }
}

/// How far each thread's lines are held.
#[derive(Default)]
struct Held {
    /// How many of each thread's first lines are held.
    first: [u64; THREADS],
    /// What is held of each thread behind a hole.
    behind: [BTreeSet<u64>; THREADS],
}

impl Held {
    fn add(&mut self, line: u64) {
        let Turn { thread, nth } = Turn::of(line);
        let (first, behind) = (&mut self.first[thread], &mut self.behind[thread]);
        behind.insert(nth);
        while behind.remove(first) {
            *first += 1;
        }
    }

    /// A line that is held, and one that is not and comes before it in the work of its thread.
    fn hole(&self) -> Option<(u64, u64)> {
        let mut threads = self.behind.iter().zip(&self.first).enumerate();
        threads.find_map(|(thread, (behind, first))| {
            let holds = Turn { thread, nth: *behind.first()? }.number();
            Some((holds, Turn { thread, nth: *first }.number()))
        })
    }
}
