//! Holds the log against what was acknowledged.

use std::collections::BTreeMap;
use std::fmt;

use super::lines::Lines;
use super::progress::grouped;
use super::workers::THREADS;

/// Only so many problems are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// Something that a log must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// An acknowledged line is nowhere.
    Lost { number: u64, id: u64 },
    /// An acknowledged line is there, but not at the id that was reported.
    Moved { number: u64, reported: u64, found: u64 },
    /// A line is there twice.
    Twice { number: u64, first: u64, second: u64 },
    /// The bytes of an entry are not those of its line.
    Changed { number: u64, id: u64 },
    /// An entry is too short to be one of ours.
    NotOurs { id: u64 },
    /// Ids do not follow one another.
    IdGap { expected: u64, found: u64 },
    /// An entry could not be read.
    Unreadable { expected: u64, error: String },
    /// More lines are missing than threads were in the middle of an append.
    Skipped { count: u64, limit: u64 },
}

/// What [`check`] found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The id of each line that is there, by the line's number.
    pub(super) places: BTreeMap<u64, u64>,
    /// Bytes of all entries.
    pub(super) len: u64,
    /// Lines that are there without having been reported.
    pub(super) unreported: u64,
    /// Acknowledged lines that are not there as they were acknowledged.
    pub(super) lost: u64,
    pub(super) problem_count: u64,
    /// The first problems.
    pub(super) problems: Vec<Problem>,
}

/// Checks that the log holds every acknowledged line at its id, and no line that differs from what
/// was appended, or twice, or with a gap before it.
///
/// `acknowledged` maps line numbers to ids. A line that was not acknowledged may be there or not:
/// each of the threads had at most one append under way, so at most that many are missing below
/// the last.
pub(super) fn check(
    entries: impl Iterator<Item = Result<(u64, Vec<u8>), String>>,
    acknowledged: &BTreeMap<u64, u64>,
    lines: &Lines,
) -> Findings {
    let mut findings = Findings::default();
    let mut expected = 0;
    for entry in entries {
        let (id, entry) = match entry {
            Ok(entry) => entry,
            Err(error) => {
                findings.add(Problem::Unreadable { expected, error });
                continue;
            }
        };
        if id != expected {
            findings.add(Problem::IdGap { expected, found: id });
        }
        expected = id + 1;
        findings.take(id, &entry, lines);
    }
    findings.compare(acknowledged);
    findings.check_skipped(THREADS as u64);
    findings
}

impl Findings {
    fn take(&mut self, id: u64, entry: &[u8], lines: &Lines) {
        self.len += entry.len() as u64;
        let number = match lines.compare(entry) {
            None => return self.add(Problem::NotOurs { id }),
            Some((number, false)) => return self.add(Problem::Changed { number, id }),
            Some((number, true)) => number,
        };
        match self.places.get(&number) {
            Some(&first) => self.add(Problem::Twice { number, first, second: id }),
            None => {
                self.places.insert(number, id);
            }
        }
    }

    fn compare(&mut self, acknowledged: &BTreeMap<u64, u64>) {
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
                None => Problem::Lost { number, id: reported },
            };
            self.lost += 1;
            self.add(problem);
        }
        self.unreported = self.places.len() as u64 - reported_count;
    }

    /// Every line up to the last must be there, and reported: nothing was under way.
    pub(super) fn require_complete(&mut self) {
        self.check_skipped(0);
        if self.unreported > 0 {
            self.add(Problem::Skipped { count: self.unreported, limit: 0 });
        }
    }

    fn check_skipped(&mut self, limit: u64) {
        let count = self.skipped_count();
        if count > limit {
            self.add(Problem::Skipped { count, limit });
        }
    }

    /// The number behind the highest that is there.
    pub(super) fn numbers_end(&self) -> u64 {
        self.places.last_key_value().map_or(0, |(&number, _)| number + 1)
    }

    /// How many numbers below the highest are not there.
    fn skipped_count(&self) -> u64 {
        self.numbers_end() - self.places.len() as u64
    }

    /// The numbers below the highest that are not there.
    pub(super) fn skipped(&self) -> Vec<u64> {
        let mut skipped = Vec::new();
        let mut expected = 0;
        for &number in self.places.keys() {
            skipped.extend(expected..number);
            expected = number + 1;
        }
        skipped
    }

    fn add(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(problem);
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { number, id } => {
                write!(out, "line {number} was acknowledged at id {id} and is not in the log")
            }
            Self::Moved { number, reported, found } => {
                write!(out, "line {number} was acknowledged at id {reported} and is at id {found}")
            }
            Self::Twice { number, first, second } => {
                write!(out, "line {number} is in the log twice, at ids {first} and {second}")
            }
            Self::Changed { number, id } => {
                write!(out, "entry {id} says that it is line {number} and has other bytes")
            }
            Self::NotOurs { id } => write!(out, "entry {id} is no line of the demo"),
            Self::IdGap { expected, found } => {
                write!(out, "id {found} comes where id {expected} was due")
            }
            Self::Unreadable { expected, error } => {
                write!(out, "entry {expected} cannot be read: {error}")
            }
            Self::Skipped { count, limit } => write!(
                out,
                "{} lines are missing or extra among those in the log, at most {limit} may be",
                grouped(*count)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: u64 = 30;

    fn lines() -> Lines {
        Lines::of("one\ntwo\n\nfour\n")
    }

    /// A log in which line `n` is entry `n`, as the iterator yields it.
    fn log() -> Vec<Result<(u64, Vec<u8>), String>> {
        let mut entry = Vec::new();
        (0..COUNT)
            .map(|number| {
                lines().make_entry(number, &mut entry);
                Ok((number, entry.clone()))
            })
            .collect()
    }

    fn acknowledged(numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, u64> {
        numbers.map(|number| (number, number)).collect()
    }

    fn problems(
        log: Vec<Result<(u64, Vec<u8>), String>>,
        acknowledged: &BTreeMap<u64, u64>,
    ) -> Vec<Problem> {
        let findings = check(log.into_iter(), acknowledged, &lines());
        assert_eq!(findings.problem_count, findings.problems.len() as u64);
        findings.problems
    }

    /// Takes an entry out and moves the others up, as a log would that never had it.
    fn remove(log: &mut Vec<Result<(u64, Vec<u8>), String>>, position: usize) {
        log.remove(position).unwrap();
        for (id, entry) in log.iter_mut().enumerate() {
            entry.as_mut().unwrap().0 = id as u64;
        }
    }

    #[test]
    fn a_sound_log_has_no_problems() {
        let findings = check(log().into_iter(), &acknowledged(0..20), &lines());
        assert_eq!(findings.problems, []);
        assert_eq!((findings.lost, findings.unreported), (0, 10));
        assert_eq!(findings.places.len() as u64, COUNT);
        assert_eq!(findings.skipped(), []);
        assert_eq!(findings.numbers_end(), COUNT);
        assert_eq!(findings.len, COUNT * 8 + 7 * 10 + 6);
    }

    #[test]
    fn a_lost_last_line_is_found() {
        let mut log = log();
        log.pop().unwrap().unwrap();
        assert_eq!(problems(log, &acknowledged(0..COUNT)), [Problem::Lost { number: 29, id: 29 }]);
    }

    #[test]
    fn a_lost_line_in_the_middle_is_found_and_so_is_every_moved_one() {
        let mut log = log();
        remove(&mut log, 27);
        let findings = check(log.into_iter(), &acknowledged(0..COUNT), &lines());
        assert_eq!(
            findings.problems,
            [
                Problem::Lost { number: 27, id: 27 },
                Problem::Moved { number: 28, reported: 28, found: 27 },
                Problem::Moved { number: 29, reported: 29, found: 28 },
            ]
        );
        assert_eq!(findings.lost, 3);
    }

    #[test]
    fn a_hole_in_the_ids_is_found() {
        let mut log = log();
        log.remove(3).unwrap();
        assert_eq!(
            problems(log, &acknowledged(10..COUNT)),
            [Problem::IdGap { expected: 3, found: 4 }]
        );
    }

    #[test]
    fn a_duplicated_line_is_found() {
        let mut log = log();
        let (_, entry) = log[5].clone().unwrap();
        log.push(Ok((COUNT, entry)));
        assert_eq!(
            problems(log, &acknowledged(0..COUNT)),
            [Problem::Twice { number: 5, first: 5, second: COUNT }]
        );
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let (_, sound) = log()[1].clone().unwrap();
        for position in 0..sound.len() {
            let mut log = log();
            log[1].as_mut().unwrap().1[position] ^= 0x40;
            let found = problems(log, &acknowledged(0..COUNT));
            assert!(found.contains(&Problem::Lost { number: 1, id: 1 }), "{position}: {found:?}");
        }
        let mut log = log();
        log[1].as_mut().unwrap().1[10] ^= 1;
        assert_eq!(
            problems(log, &acknowledged(5..COUNT))[0],
            Problem::Changed { number: 1, id: 1 }
        );
    }

    #[test]
    fn a_short_entry_is_found() {
        let mut log = log();
        log.push(Ok((COUNT, b"short".to_vec())));
        assert_eq!(problems(log, &acknowledged(0..COUNT)), [Problem::NotOurs { id: COUNT }]);
    }

    #[test]
    fn a_wrong_id_is_found() {
        let mut acknowledged = acknowledged(0..COUNT);
        acknowledged.insert(7, 8);
        assert_eq!(
            problems(log(), &acknowledged),
            [Problem::Moved { number: 7, reported: 8, found: 7 }]
        );
    }

    #[test]
    fn an_unreadable_entry_is_found() {
        let mut log = log();
        log[4] = Err("damaged".into());
        let found = problems(log, &acknowledged(0..COUNT));
        assert_eq!(found[0], Problem::Unreadable { expected: 4, error: "damaged".into() });
        assert!(found.contains(&Problem::Lost { number: 4, id: 4 }));
    }

    /// Each thread has at most one append under way, so more holes than threads mean that an
    /// append returned and left nothing, even if no report of it got through.
    #[test]
    fn more_holes_than_threads_are_found() {
        for holes in [THREADS, THREADS + 1] {
            let mut log = log();
            for position in 0..holes {
                remove(&mut log, position + 1);
            }
            let findings = check(log.into_iter(), &BTreeMap::new(), &lines());
            assert_eq!(findings.problem_count, u64::from(holes > THREADS));
            assert_eq!(findings.skipped().len(), holes);
        }
    }

    #[test]
    fn nothing_may_be_missing_in_the_end() {
        let mut log = log();
        remove(&mut log, 3);
        let mut acknowledged: BTreeMap<_, _> = acknowledged(0..3);
        acknowledged.extend((4..COUNT).map(|number| (number, number - 1)));
        let mut findings = check(log.into_iter(), &acknowledged, &lines());
        assert_eq!(findings.problems, []);
        findings.require_complete();
        assert_eq!(findings.problems, [Problem::Skipped { count: 1, limit: 0 }]);
    }
}
