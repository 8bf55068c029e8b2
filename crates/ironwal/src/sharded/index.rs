//! Which checkpoints there are, in memory: their ids, and the offsets of the newest.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::CheckpointData;
use super::record::{Checkpoint, Record};
use crate::sync::Arc;

/// The newest checkpoints are kept in memory as far as they take this many bytes together.
const NEWEST_LEN_MAX: usize = 16 * 1024 * 1024;

/// What a checkpoint in memory takes beside its offsets and its id, in bytes.
const OVERHEAD: usize = 128;

/// What is known of the log of checkpoints up to one of its entries.
#[derive(Debug, Default)]
pub(super) struct Index {
    live: Checkpoints,
    /// Copies that do not count yet.
    copies: Checkpoints,
    /// Entries that had been durable and cannot be read, or make no sense.
    damaged: Vec<Damaged>,
    /// The log began with copies, and nothing else has been added yet.
    begins_with_copies: bool,
    /// The entry that is to be read next.
    next: u64,
    /// The first entry that still counts, as closing records say it.
    first: u64,
    /// The newest closing record, if it still counts.
    closing: Option<u64>,
}

/// Checkpoints in the order of their creation.
#[derive(Debug, Default)]
struct Checkpoints {
    /// By the id of their entry.
    entries: BTreeMap<u64, Known>,
    /// The entry of each checkpoint.
    by_id: HashMap<Arc<[u8]>, u64>,
    /// Checkpoints from this entry on have their data in memory.
    newest_from: u64,
    newest_len: usize,
}

/// A checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: Arc<[u8]>,
    pub(super) timestamp: u64,
    /// If it is one of the newest.
    pub(super) data: Option<Arc<CheckpointData>>,
}

/// Entries of the log of checkpoints that cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Damaged {
    pub(super) entries: Range<u64>,
    pub(super) offset: u64,
    pub(super) reason: String,
}

impl Index {
    /// The log begins with the entry `first`.
    pub(super) fn begin_at(&mut self, first: u64) {
        // Nothing is freed before its copies are complete. So copies that the log begins with count,
        // though the record that closes them may be damaged.
        self.begins_with_copies |= first > self.first && first >= self.next;
        self.forget_before(first);
    }

    /// Takes note of the next entry.
    pub(super) fn add(&mut self, entry: u64, record: Record) {
        self.next = entry + 1;
        self.begins_with_copies &= matches!(record, Record::Copy(_));
        match record {
            Record::Checkpoint(checkpoint) => self.live.insert(entry, checkpoint),
            Record::Copy(checkpoint) => {
                // One that is there already is of a later compaction, which may not be complete.
                self.begins_with_copies &= !self.live.by_id.contains_key(&checkpoint.id[..]);
                let counts = self.begins_with_copies;
                let copies = if counts { &mut self.live } else { &mut self.copies };
                copies.insert(entry, checkpoint);
            }
            Record::Closing { first } => {
                self.closing = Some(entry);
                self.forget_before(first);
                // Empty, if the log began with them.
                let copies = std::mem::take(&mut self.copies);
                if copies.first().is_some() {
                    self.live = copies;
                }
            }
        }
    }

    /// Takes note of entries that cannot be read.
    pub(super) fn add_damaged(&mut self, damaged: Damaged) {
        self.next = self.next.max(damaged.entries.end);
        self.damaged.push(damaged);
    }

    /// Whatever stands before this entry has been dropped.
    pub(super) fn forget_before(&mut self, first: u64) {
        self.first = self.first.max(first);
        self.next = self.next.max(first);
        self.live.forget_before(first);
        self.copies.forget_before(first);
        self.damaged.retain(|damaged| damaged.entries.end > first);
        self.closing = self.closing.filter(|closing| *closing >= first);
    }

    /// Copies from the entry `end` on were cut off.
    pub(super) fn cut_to(&mut self, end: u64) {
        self.copies = Checkpoints::default();
        self.live.forget_from(end);
        self.next = self.next.min(end);
    }

    /// The entry that is to be read next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first entry that still counts.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many entries between `first` and `next` a compaction that drops no checkpoint would save.
    pub(super) fn useless(&self) -> u64 {
        let needed = self.live.entries.len() as u64 + u64::from(self.closing.is_some());
        (self.next - self.first).saturating_sub(needed)
    }

    /// How many checkpoints there are.
    pub(super) fn len(&self) -> usize {
        self.live.entries.len()
    }

    /// The entry of a checkpoint, and what is known of it.
    pub(super) fn find(&self, id: &[u8]) -> Option<(u64, &Known)> {
        let entry = *self.live.by_id.get(id)?;
        self.live.entries.get(&entry).map(|known| (entry, known))
    }

    /// The newest checkpoint before an entry.
    pub(super) fn newest_before(&self, entry: u64) -> Option<(u64, &Known)> {
        self.live.entries.range(..entry).next_back().map(|(entry, known)| (*entry, known))
    }

    /// The checkpoints in the order of their creation.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Known)> {
        self.live.entries.iter().map(|(entry, known)| (*entry, known))
    }

    /// The newest entry that cannot be read.
    pub(super) fn newest_damaged(&self) -> Option<&Damaged> {
        self.damaged.iter().max_by_key(|damaged| damaged.entries.end)
    }
}

impl Checkpoints {
    fn insert(&mut self, entry: u64, Checkpoint { id, data }: Checkpoint) {
        if let Some(replaced) = self.by_id.insert(Arc::clone(&id), entry) {
            self.remove(replaced);
        }
        let (timestamp, data) = (data.timestamp, Some(Arc::new(data)));
        let known = Known { id, timestamp, data };
        self.newest_len += known.len();
        self.entries.insert(entry, known);
        self.keep_newest();
    }

    /// Lets go of the data of the oldest.
    fn keep_newest(&mut self) {
        if self.newest_len <= NEWEST_LEN_MAX {
            return;
        }
        for (entry, known) in self.entries.range_mut(self.newest_from..) {
            self.newest_len -= known.len();
            known.data = None;
            self.newest_from = *entry + 1;
            if self.newest_len <= NEWEST_LEN_MAX {
                return;
            }
        }
    }

    fn forget_from(&mut self, end: u64) {
        for (_, known) in self.entries.split_off(&end) {
            self.by_id.remove(&known.id);
            self.newest_len -= known.len();
        }
    }

    fn first(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(entry, _)| *entry)
    }

    fn remove(&mut self, entry: u64) {
        if let Some(known) = self.entries.remove(&entry) {
            self.newest_len -= known.len();
        }
    }

    fn forget_before(&mut self, first: u64) {
        while let Some((&entry, known)) = self.entries.first_key_value() {
            if entry >= first {
                break;
            }
            self.by_id.remove(&known.id);
            self.remove(entry);
        }
    }
}

impl Known {
    /// The bytes that its data takes in memory.
    fn len(&self) -> usize {
        let offsets = self.data.as_ref().map(|data| size_of_val(data.offsets.as_slice()));
        offsets.map_or(0, |offsets| OVERHEAD + self.id.len() + offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(id: &str, shards: usize) -> Checkpoint {
        let data = CheckpointData { offsets: vec![1; shards], timestamp: 0, shard_count: 1 };
        Checkpoint { id: id.as_bytes().into(), data }
    }

    fn created(id: &str) -> Record {
        Record::Checkpoint(checkpoint(id, 1))
    }

    fn copied(id: &str) -> Record {
        Record::Copy(checkpoint(id, 1))
    }

    /// The index of a log that begins with `first`; `None` is an entry that cannot be read.
    fn index(first: u64, records: Vec<Option<Record>>) -> Index {
        let mut index = Index::default();
        index.begin_at(first);
        for (entry, record) in (first..).zip(records) {
            match record {
                Some(record) => index.add(entry, record),
                None => {
                    let entries = entry..entry + 1;
                    index.add_damaged(Damaged { entries, offset: 0, reason: "rot".into() });
                }
            }
        }
        index
    }

    fn ids(index: &Index) -> String {
        let ids = index.iter().map(|(_, known)| String::from_utf8_lossy(&known.id).into_owned());
        ids.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_same_id_again_is_the_newest() {
        let index = index(0, ["a", "b", "a", "c", "b"].map(|id| Some(created(id))).into());
        assert_eq!(ids(&index), "a c b");
        assert_eq!(index.find(b"b").unwrap().0, 4);
        assert_eq!((index.len(), index.next(), index.useless()), (3, 5, 2));
    }

    #[test]
    fn copies_count_once_they_are_closed_off() {
        let mut records: Vec<_> = ["a", "b", "c"].map(|id| Some(created(id))).into();
        records.extend([Some(copied("b")), Some(copied("c"))]);
        let unfinished = index(0, records.clone());
        assert_eq!(ids(&unfinished), "a b c");
        assert_eq!(unfinished.find(b"c").unwrap().0, 2);
        assert_eq!(unfinished.useless(), 2);
        records.push(Some(Record::Closing { first: 3 }));
        let done = index(0, records.clone());
        assert_eq!(ids(&done), "b c");
        assert_eq!(done.find(b"c").unwrap().0, 4);
        assert_eq!((done.first(), done.useless()), (3, 0));
        records.push(Some(created("d")));
        assert_eq!(ids(&index(0, records)), "b c d");
    }

    #[test]
    fn copies_of_a_compaction_that_was_interrupted_never_count() {
        let mut records = vec![Some(created("a")), Some(created("b")), Some(copied("a"))];
        records.push(Some(created("c")));
        assert_eq!(ids(&index(0, records.clone())), "a b c");
        records.extend([Some(copied("c")), Some(Record::Closing { first: 4 })]);
        assert_eq!(ids(&index(0, records)), "c");
    }

    /// What was copied from is freed by then, so there is nothing else.
    #[test]
    fn copies_count_if_the_record_that_closes_them_off_is_lost() {
        let mut records = vec![Some(copied("a")), None, Some(copied("c")), None];
        assert_eq!(ids(&index(9, records.clone())), "a c");
        records.extend([Some(created("d")), Some(copied("a"))]);
        assert_eq!(ids(&index(9, records.clone())), "a c d", "and unfinished ones do not");
        records.extend([Some(copied("d")), Some(Record::Closing { first: 14 })]);
        let index = index(9, records);
        assert_eq!(ids(&index), "a d");
        assert!(index.newest_damaged().is_none());
    }

    #[test]
    fn copies_of_a_later_compaction_do_not_count_with_them() {
        let mut records = ["a", "b", "c"].map(|id| Some(copied(id))).to_vec();
        records.extend([None, Some(copied("b"))]);
        assert_eq!(ids(&index(9, records.clone())), "a b c");
        records.extend([Some(copied("c")), Some(Record::Closing { first: 13 })]);
        assert_eq!(ids(&index(9, records)), "b c");
    }

    #[test]
    fn whatever_is_before_the_beginning_of_the_log_is_dropped() {
        let mut index = index(0, vec![Some(created("a")), None, Some(created("b"))]);
        assert_eq!(index.newest_damaged().unwrap().entries, 1..2);
        index.begin_at(3);
        assert_eq!((ids(&index).as_str(), index.next(), index.useless()), ("", 3, 0));
        assert!(index.newest_damaged().is_none());
        index.add(3, created("c"));
        assert_eq!(ids(&index), "c");
    }

    #[test]
    fn the_newest_have_their_offsets_in_memory() {
        let shards = 65_535;
        let fit = NEWEST_LEN_MAX / (shards * 8 + OVERHEAD + 10);
        let mut index = Index::default();
        for nth in 0..100 {
            // One of them comes again and again.
            let id = if nth % 4 == 0 { "again".into() } else { format!("{nth:010}") };
            index.add(nth, Record::Checkpoint(checkpoint(&id, shards)));
        }
        let held: Vec<bool> = index.iter().map(|(_, known)| known.data.is_some()).collect();
        let expected: Vec<bool> = (0..held.len()).map(|nth| nth + fit >= held.len()).collect();
        assert_eq!(held, expected);
        index.forget_before(90);
        assert!(index.iter().all(|(_, known)| known.data.is_some()));
        for nth in 100..200 {
            index.add(nth, Record::Checkpoint(checkpoint(&format!("{nth:010}"), shards)));
        }
        let held = index.iter().filter(|(_, known)| known.data.is_some()).count();
        assert_eq!(held, fit, "what was forgotten is not counted any more");
    }
}
