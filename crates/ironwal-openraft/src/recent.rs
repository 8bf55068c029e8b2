//! The newest entries, in memory.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::record::Entry;

/// The newest entries of a log without a gap: those that are not committed to the stream yet, which can be
/// read nowhere else, and as many before them as there is room for.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    entries: VecDeque<(Entry, u64)>,
    len: usize,
}

impl Recent {
    /// Adds the entry whose record gets the id `id`.
    pub(crate) fn push(&mut self, entry: Entry, id: u64) {
        self.len += entry.bytes.len();
        self.entries.push_back((entry, id));
    }

    /// Lets go of the oldest entries, those before the id `committed`, until the rest has `len_max`
    /// bytes.
    pub(crate) fn shrink(&mut self, committed: u64, len_max: usize) {
        while self.len > len_max && self.entries.front().is_some_and(|(_, id)| *id < committed) {
            self.pop_front();
        }
    }

    pub(crate) fn cut_from(&mut self, index: u64) {
        while self.entries.back().is_some_and(|(entry, _)| entry.index >= index) {
            self.len -= self.entries.pop_back().map_or(0, |(entry, _)| entry.bytes.len());
        }
    }

    pub(crate) fn purge_before(&mut self, index: u64) {
        while self.entries.front().is_some_and(|(entry, _)| entry.index < index) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        self.len -= self.entries.pop_front().map_or(0, |(entry, _)| entry.bytes.len());
    }

    /// The index of the first one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.index)
    }

    /// The entries of these indexes.
    pub(crate) fn range(&self, indexes: Range<u64>) -> impl Iterator<Item = Bytes> {
        let inside = move |it: &&(Entry, u64)| indexes.contains(&it.0.index);
        self.entries.iter().filter(inside).map(|(entry, _)| entry.bytes.clone())
    }
}
