//! Where the entries of a Raft log are in its stream.

use std::collections::VecDeque;
use std::ops::Range;

/// Entries whose indexes and ids both follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first_index: u64,
    first_id: u64,
    count: u64,
    /// Of their records, in bytes.
    len: u64,
}

impl Run {
    fn end(&self) -> u64 {
        self.first_index + self.count
    }

    /// Keeps the first `count` entries, and takes the others to be as long as these on the average.
    fn shorten(&mut self, count: u64) {
        self.len = average(self.len, count, self.count);
        self.count = count;
    }

    /// Lets go of the first `count` entries.
    fn advance(&mut self, count: u64) {
        self.len -= average(self.len, count, self.count);
        self.first_index += count;
        self.first_id += count;
        self.count -= count;
    }
}

/// What `part` of `whole` entries have of `len` bytes.
fn average(len: u64, part: u64, whole: u64) -> u64 {
    let len = u128::from(len) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The entries of a Raft log, as runs: a few words for each vote or cut between entries, not for each
/// entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    runs: VecDeque<Run>,
}

impl Index {
    /// The index of the first entry, if there is one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.runs.front().map(|run| run.first_index)
    }

    /// The id of the first entry's record.
    pub(crate) fn first_id(&self) -> Option<u64> {
        self.runs.front().map(|run| run.first_id)
    }

    /// The index behind the last entry.
    pub(crate) fn end(&self) -> Option<u64> {
        self.runs.back().map(Run::end)
    }

    /// How many bytes the records of the entries have.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, index: u64, id: u64, len: u64) {
        match self.runs.back_mut() {
            Some(run) if run.end() == index && run.first_id + run.count == id => {
                run.count += 1;
                run.len += len;
            }
            _ => self.runs.push_back(Run { first_index: index, first_id: id, count: 1, len }),
        }
    }

    /// Takes off the entries from `index` on.
    pub(crate) fn cut_from(&mut self, index: u64) {
        while let Some(run) = self.runs.back_mut() {
            if run.end() <= index {
                return;
            }
            if run.first_index < index {
                return run.shorten(index - run.first_index);
            }
            self.runs.pop_back();
        }
    }

    /// Takes off the entries before `index`.
    pub(crate) fn purge_before(&mut self, index: u64) {
        while let Some(run) = self.runs.front_mut() {
            if run.first_index >= index {
                return;
            }
            if run.end() > index {
                return run.advance(index - run.first_index);
            }
            self.runs.pop_front();
        }
    }

    /// The ids of the entries of these indexes, as far as there are any, in order.
    pub(crate) fn ids(&self, indexes: Range<u64>) -> Vec<Range<u64>> {
        let from = self.runs.partition_point(|run| run.end() <= indexes.start);
        let overlapping = self.runs.range(from..).take_while(|run| run.first_index < indexes.end);
        let ids = |run: &Run| {
            let start = indexes.start.max(run.first_index);
            let end = indexes.end.min(run.end());
            run.first_id + (start - run.first_index)..run.first_id + (end - run.first_index)
        };
        overlapping.map(ids).collect()
    }

    #[cfg(test)]
    fn runs(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a list of pairs.
    #[test]
    fn it_is_a_list_of_ids() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..200 {
            let (mut index, mut list) = (Index::default(), Vec::<(u64, u64)>::new());
            let (mut next, mut id) = (random.u64(0..3), 0);
            for _ in 0..60 {
                match random.u8(0..8) {
                    0 => id += random.u64(1..3),
                    1 => {
                        next = random.u64(next.saturating_sub(5)..=next);
                        next = next.max(list.first().map_or(next, |it| it.0));
                        index.cut_from(next);
                        list.retain(|it| it.0 < next);
                    }
                    2 => {
                        let before = random.u64(0..=next);
                        index.purge_before(before);
                        list.retain(|it| it.0 >= before);
                    }
                    _ => {
                        index.push(next, id, 10);
                        list.push((next, id));
                        (next, id) = (next + 1, id + 1);
                    }
                }
                assert_eq!(index.first(), list.first().map(|it| it.0));
                assert_eq!(index.first_id(), list.first().map(|it| it.1));
                assert_eq!(index.end(), list.last().map(|it| it.0 + 1));
                assert_eq!(index.len_bytes(), 10 * list.len() as u64);
                let (start, end) = (random.u64(0..=next), random.u64(0..=next + 2));
                let found: Vec<u64> = index.ids(start..end).into_iter().flatten().collect();
                let expected = list.iter().filter(|it| (start..end).contains(&it.0));
                assert_eq!(found, expected.map(|it| it.1).collect::<Vec<_>>(), "{start}..{end}");
            }
        }
    }

    #[test]
    fn entries_in_a_row_take_no_memory() {
        let mut index = Index::default();
        (0..100_000).for_each(|at| index.push(at, at + 7, 100));
        assert_eq!(index.runs(), 1);
    }
}
