//! Which blocks of a file have space on the disk.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of block numbers, as ranges that do not touch: reserving a megabyte is one entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks {
    /// From the first block of a range to the one after its last.
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl Blocks {
    /// How many blocks there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many of these are not in the set.
    pub(super) fn missing(&self, blocks: Range<u64>) -> u64 {
        let mut missing = blocks.end.saturating_sub(blocks.start);
        for (&start, &end) in self.ranges.range(..blocks.end).rev() {
            if end <= blocks.start {
                break;
            }
            missing -= end.min(blocks.end) - start.max(blocks.start);
        }
        missing
    }

    pub(super) fn insert(&mut self, blocks: Range<u64>) {
        let missing = self.missing(blocks.clone());
        if missing == 0 {
            return;
        }
        self.count += missing;
        let Range { mut start, mut end } = blocks;
        // Swallow every range that overlaps or touches, from the last backwards.
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    /// Takes out every block from `end` on.
    pub(super) fn truncate(&mut self, end: u64) {
        while let Some((&start, &range_end)) = self.ranges.iter().next_back() {
            if range_end <= end {
                break;
            }
            self.ranges.remove(&start);
            self.count -= range_end - start.max(end);
            if start < end {
                self.ranges.insert(start, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_set_of_numbers() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut blocks = Blocks::default();
            let mut model = BTreeSet::new();
            for _ in 0..30 {
                let start = rng.u64(..40);
                let range = start..start + rng.u64(..10);
                if rng.u8(..5) == 0 {
                    blocks.truncate(start);
                    model.split_off(&start);
                } else {
                    let missing = range.clone().filter(|block| !model.contains(block)).count();
                    assert_eq!(blocks.missing(range.clone()), missing as u64);
                    blocks.insert(range.clone());
                    model.extend(range);
                }
                assert_eq!(blocks.count(), model.len() as u64);
            }
        }
    }
}
