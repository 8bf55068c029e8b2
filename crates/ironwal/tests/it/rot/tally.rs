//! How often which fault had which outcome.

use std::time::Duration;

use super::faults::KINDS;
use super::judge::Outcome;

/// What came of the faults of each kind: tried, then identical, earlier, gap, refused.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    counts: [[u64; 4]; KINDS.len()],
}

impl Tally {
    pub(super) fn count(&mut self, kind: usize, outcome: Outcome) {
        self.counts[kind][outcome as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    pub(super) fn of_kind(&self, kind: usize, outcome: Outcome) -> u64 {
        self.counts[kind][outcome as usize]
    }

    /// How many faults had this outcome.
    pub(super) fn of(&self, outcome: Outcome) -> u64 {
        self.counts.iter().map(|counts| counts[outcome as usize]).sum()
    }

    /// A table.
    pub(super) fn print(&self, what: &str, took: Duration) {
        eprintln!("{what}: {} seconds", took.as_secs());
        eprintln!("| {what} | tried | identical | errors | gaps | earlier |");
        for (kind, counts) in KINDS.iter().zip(&self.counts) {
            let [identical, earlier, gaps, errors] = counts;
            let tried: u64 = counts.iter().sum();
            if tried > 0 {
                eprintln!("| {kind} | {tried} | {identical} | {errors} | {gaps} | {earlier} |");
            }
        }
    }
}
