//! Which checkpoints there are, in memory: their ids, and the offsets of the newest.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;

use super::record::{Checkpoint, Record};
use crate::sync::Arc;

/// The newest checkpoints are kept in memory as far as they take this many bytes together.
const NEWEST_LEN_MAX: usize = 16 * 1024 * 1024;

/// What a checkpoint in memory takes beside its record, in bytes.
const OVERHEAD: usize = 128;

/// So many places of checkpoints that were replaced are always kept.
const FREE_MIN: usize = 64;

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
    /// By the id of their entry; `None` if a newer one has the same id.
    entries: VecDeque<(u64, Option<Known>)>,
    /// How many of these there are.
    count: usize,
    /// The hash of each id, and the entry.
    by_id: HashTable<(u64, u64)>,
    hasher: RandomState,
    /// Checkpoints from this entry on are held whole.
    newest_from: u64,
    newest_len: usize,
}

/// A checkpoint.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// One of the newest.
    Whole(Checkpoint),
    /// What is known of the others without a look at the disk.
    Named { id: Arc<[u8]>, timestamp: u64 },
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
                self.begins_with_copies &= self.live.find(checkpoint.id()).is_none();
                let counts = self.begins_with_copies;
                let copies = if counts { &mut self.live } else { &mut self.copies };
                copies.insert(entry, checkpoint);
            }
            Record::Closing { first } => {
                self.closing = Some(entry);
                self.forget_before(first);
                // Empty, if the log began with them.
                let copies = std::mem::take(&mut self.copies);
                if copies.count > 0 {
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
        let needed = self.live.count as u64 + u64::from(self.closing.is_some());
        (self.next - self.first).saturating_sub(needed)
    }

    /// How many checkpoints there are.
    pub(super) fn len(&self) -> usize {
        self.live.count
    }

    /// The entry of a checkpoint, and what is known of it.
    pub(super) fn find(&self, id: &[u8]) -> Option<(u64, &Known)> {
        let entry = self.live.find(id)?;
        self.live.get(entry).map(|known| (entry, known))
    }

    /// The newest checkpoint before an entry.
    pub(super) fn newest_before(&self, entry: u64) -> Option<(u64, &Known)> {
        let before = self.live.entries.range(..self.live.place_of(entry));
        before.rev().find_map(|(entry, known)| Some((*entry, known.as_ref()?)))
    }

    /// The checkpoints in the order of their creation.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Known)> {
        self.live.entries.iter().filter_map(|(entry, known)| Some((*entry, known.as_ref()?)))
    }

    /// The newest entry that cannot be read.
    pub(super) fn newest_damaged(&self) -> Option<&Damaged> {
        self.damaged.iter().max_by_key(|damaged| damaged.entries.end)
    }
}

impl Checkpoints {
    fn insert(&mut self, entry: u64, checkpoint: Checkpoint) {
        let hash = self.hasher.hash_one(checkpoint.id());
        if let Some(replaced) = self.find_hashed(hash, checkpoint.id()) {
            self.remove(replaced);
        }
        self.by_id.insert_unique(hash, (hash, entry), |(hash, _)| *hash);
        let known = Known::Whole(checkpoint);
        self.newest_len += known.len();
        self.entries.push_back((entry, Some(known)));
        self.count += 1;
        self.keep_newest();
    }

    /// Lets go of the data of the oldest.
    fn keep_newest(&mut self) {
        while self.newest_len > NEWEST_LEN_MAX {
            let place = self.place_of(self.newest_from);
            let Some((entry, known)) = self.entries.get_mut(place) else { return };
            self.newest_from = *entry + 1;
            if let Some(known) = known {
                self.newest_len -= known.len();
                *known = Known::Named { id: known.id().into(), timestamp: known.timestamp() };
            }
        }
    }

    /// The entry of the checkpoint with this id.
    fn find(&self, id: &[u8]) -> Option<u64> {
        self.find_hashed(self.hasher.hash_one(id), id)
    }

    fn find_hashed(&self, hash: u64, id: &[u8]) -> Option<u64> {
        let is_it = |(its_hash, entry): &(u64, u64)| {
            *its_hash == hash && self.get(*entry).is_some_and(|known| known.id() == id)
        };
        self.by_id.find(hash, is_it).map(|(_, entry)| *entry)
    }

    fn get(&self, entry: u64) -> Option<&Known> {
        let (found, known) = self.entries.get(self.place_of(entry))?;
        known.as_ref().filter(|_| *found == entry)
    }

    /// How many entries stand before this one.
    fn place_of(&self, entry: u64) -> usize {
        self.entries.partition_point(|(other, _)| *other < entry)
    }

    /// A newer one has the same id.
    fn remove(&mut self, entry: u64) {
        let place = self.place_of(entry);
        let removed = self.entries.get_mut(place).and_then(|(_, known)| known.take());
        self.forget(entry, removed);
        if self.entries.len() > 2 * self.count + FREE_MIN {
            self.entries.retain(|(_, known)| known.is_some());
        }
    }

    fn forget_before(&mut self, first: u64) {
        let kept = self.entries.split_off(self.place_of(first));
        for (entry, known) in std::mem::replace(&mut self.entries, kept) {
            self.forget(entry, known);
        }
    }

    fn forget_from(&mut self, end: u64) {
        for (entry, known) in self.entries.split_off(self.place_of(end)) {
            self.forget(entry, known);
        }
    }

    fn forget(&mut self, entry: u64, known: Option<Known>) {
        let Some(known) = known else { return };
        self.count -= 1;
        self.newest_len -= known.len();
        let hash = self.hasher.hash_one(known.id());
        if let Ok(found) = self.by_id.find_entry(hash, |(_, other)| *other == entry) {
            found.remove();
        }
    }
}

impl Known {
    pub(super) fn id(&self) -> &[u8] {
        match self {
            Self::Whole(checkpoint) => checkpoint.id(),
            Self::Named { id, .. } => id,
        }
    }

    pub(super) fn timestamp(&self) -> u64 {
        match self {
            Self::Whole(checkpoint) => checkpoint.timestamp(),
            Self::Named { timestamp, .. } => *timestamp,
        }
    }

    /// The bytes that it takes in memory because it is one of the newest.
    fn len(&self) -> usize {
        match self {
            Self::Whole(checkpoint) => OVERHEAD + checkpoint.len(),
            Self::Named { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sharded::CheckpointData;

    fn checkpoint(id: &str, shards: usize) -> Checkpoint {
        let data = CheckpointData { offsets: vec![1; shards], timestamp: 0, shard_count: 1 };
        Checkpoint::new(id.as_bytes(), &data).unwrap()
    }

    fn is_whole(known: &Known) -> bool {
        matches!(known, Known::Whole(_))
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
        let ids = index.iter().map(|(_, known)| String::from_utf8_lossy(known.id()).into_owned());
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
        let fit = NEWEST_LEN_MAX / (OVERHEAD + checkpoint("0123456789", shards).len());
        let mut index = Index::default();
        for nth in 0..100 {
            // One of them comes again and again.
            let id = if nth % 4 == 0 { "again".into() } else { format!("{nth:010}") };
            index.add(nth, Record::Checkpoint(checkpoint(&id, shards)));
        }
        let held: Vec<bool> = index.iter().map(|(_, known)| is_whole(known)).collect();
        let expected: Vec<bool> = (0..held.len()).map(|nth| nth + fit >= held.len()).collect();
        assert_eq!(held, expected);
        index.forget_before(90);
        assert!(index.iter().all(|(_, known)| is_whole(known)));
        for nth in 100..200 {
            index.add(nth, Record::Checkpoint(checkpoint(&format!("{nth:010}"), shards)));
        }
        let held = index.iter().filter(|(_, known)| is_whole(known)).count();
        assert_eq!(held, fit, "what was forgotten is not counted any more");
    }
}
