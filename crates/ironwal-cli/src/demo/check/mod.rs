//! Holds the log against what was acknowledged.

mod cuts;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

pub(super) use cuts::{Found, Newest};
pub(super) use problem::Problem;

use super::lines::Lines;
use super::report::Place;
use super::turns::{THREADS, Turn, key_of};

/// Only so many problems are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// What is in the log, and what of it is wrong.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Where each line is, by the line's number.
    pub(super) places: BTreeMap<u64, Place>,
    /// In the order of the shards.
    pub(super) shards: Vec<Shard>,
    /// Bytes of all entries.
    pub(super) len: u64,
    /// Lines that are there without having been reported.
    pub(super) unreported: u64,
    /// Acknowledged lines that are not there as they were acknowledged.
    pub(super) lost: u64,
    /// How many lines there are of each thread.
    pub(super) done: [u64; THREADS],
    /// How many problems are checkpoints that are wrong.
    pub(super) wrong_checkpoints: u64,
    pub(super) problem_count: u64,
    /// The first problems.
    pub(super) problems: Vec<Problem>,
}

/// What is in one shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The id behind its last entry.
    pub(super) end: u64,
    /// Ids and numbers of its lines, in the order of the ids.
    pub(super) lines: Vec<(u64, u64)>,
}

impl Findings {
    /// Reads the shards, in their order, and checks that they hold every acknowledged line where it
    /// was acknowledged, and no line that differs from what was appended, or twice, or with a gap
    /// before it.
    ///
    /// A line that was not acknowledged may be there or not. But each thread appends one line after
    /// the other: where there is a later one, the earlier one's append had returned.
    pub(super) fn of<E>(
        shards: impl Iterator<Item = E>,
        acknowledged: &BTreeMap<u64, Place>,
        lines: &Lines,
    ) -> Self
    where
        E: Iterator<Item = Result<(u64, Vec<u8>), String>>,
    {
        let mut findings = Self::default();
        for (shard, entries) in (0..).zip(shards) {
            findings.read(shard, entries, lines);
        }
        findings.compare(acknowledged);
        findings.check_holes(acknowledged);
        findings.check_order();
        findings
    }

    fn read(
        &mut self,
        shard: u16,
        entries: impl Iterator<Item = Result<(u64, Vec<u8>), String>>,
        lines: &Lines,
    ) {
        let mut found = Shard::default();
        for entry in entries {
            let expected = Place { shard, id: found.end };
            match entry {
                Err(error) => self.add(Problem::Unreadable { expected, error }),
                Ok((id, entry)) => {
                    if id != found.end {
                        self.add(Problem::IdGap { expected, found: id });
                    }
                    found.end = id + 1;
                    let number = self.take(Place { shard, id }, &entry, lines);
                    found.lines.extend(number.map(|number| (id, number)));
                }
            }
        }
        self.shards.push(found);
    }

    /// The number of the line, if it is one and was not there before.
    fn take(&mut self, place: Place, entry: &[u8], lines: &Lines) -> Option<u64> {
        self.len += entry.len() as u64;
        let problem = match lines.compare(entry) {
            None => Problem::NotOurs { place },
            Some((number, false)) => Problem::Changed { number, place },
            Some((number, true)) => match self.places.entry(number) {
                Entry::Occupied(first) => {
                    Problem::Twice { number, first: *first.get(), second: place }
                }
                Entry::Vacant(free) => {
                    free.insert(place);
                    return Some(number);
                }
            },
        };
        self.add(problem);
        None
    }

    /// The lines of a key are in one shard, and in every shard those of a thread are in order.
    fn check_order(&mut self) {
        let mut problems = Vec::new();
        let mut shard_of_key = BTreeMap::new();
        for (shard, found) in (0..).zip(&self.shards) {
            let mut due = [0; THREADS];
            for (id, number) in &found.lines {
                let (number, place) = (*number, Place { shard, id: *id });
                let Turn { thread, nth } = Turn::of(number);
                if nth < due[thread] {
                    problems.push(Problem::OutOfOrder { number, place });
                }
                due[thread] = nth + 1;
                let first_shard = *shard_of_key.entry(key_of(number)).or_insert(shard);
                if first_shard != shard {
                    problems.push(Problem::KeySplit { number, place, first_shard });
                }
            }
        }
        problems.into_iter().for_each(|problem| self.add(problem));
    }

    fn compare(&mut self, acknowledged: &BTreeMap<u64, Place>) {
        let mut reported_count = 0;
        for (&number, &reported) in acknowledged {
            let problem = match self.places.get(&number) {
                Some(&found) if found == reported => {
                    reported_count += 1;
                    continue;
                }
                Some(&found) => {
                    reported_count += 1;
                    Problem::Moved { number, reported, found }
                }
                None => Problem::Lost { number, place: reported },
            };
            self.lost += 1;
            self.add(problem);
        }
        self.unreported = self.places.len() as u64 - reported_count;
    }

    /// Those that were acknowledged are lost, and counted as that.
    fn check_holes(&mut self, acknowledged: &BTreeMap<u64, Place>) {
        let known: BTreeSet<u64> = self.places.keys().chain(acknowledged.keys()).copied().collect();
        for number in known {
            let Turn { thread, nth } = Turn::of(number);
            let due = self.done[thread];
            if due < nth {
                let first = Turn { thread, nth: due }.number();
                self.add(Problem::Hole { first, count: nth - due });
            }
            self.done[thread] = nth + 1;
        }
    }

    /// Every line must have been reported: nothing was under way.
    pub(super) fn require_complete(&mut self) {
        if self.unreported > 0 {
            self.add(Problem::Extra { count: self.unreported });
        }
    }

    /// Checks that a replay from `offsets` on yields what was found there.
    pub(super) fn check_replay<E: AsRef<[u8]>>(
        &mut self,
        offsets: &[u64],
        replayed: impl Iterator<Item = Result<(u16, u64, E), String>>,
        lines: &Lines,
    ) -> u64 {
        let mut expected = BTreeMap::new();
        for ((shard, found), offset) in (0_u16..).zip(&self.shards).zip(offsets) {
            let after = found.lines.iter().filter(|(id, _)| id >= offset);
            expected.extend(after.map(|(id, number)| ((shard, *id), *number)));
        }
        let mut count = 0;
        for entry in replayed {
            match entry {
                Ok((shard, id, entry)) => {
                    let due = expected.remove(&(shard, id)).map(|number| (number, true));
                    if due.is_none() || lines.compare(entry.as_ref()) != due {
                        self.add(Problem::NotReplayed { place: Place { shard, id } });
                    }
                    count += 1;
                }
                Err(error) => {
                    let ((shard, id), _) = expected.first_key_value().unwrap_or((&(0, 0), &0));
                    let expected = Place { shard: *shard, id: *id };
                    self.add(Problem::Unreadable { expected, error });
                }
            }
        }
        for (shard, id) in expected.into_keys() {
            self.add(Problem::NotReplayed { place: Place { shard, id } });
        }
        count
    }

    fn add(&mut self, problem: Problem) {
        self.problem_count += 1;
        self.wrong_checkpoints += u64::from(problem.is_of_checkpoint());
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(problem);
        }
    }
}
