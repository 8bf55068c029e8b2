//! Which checkpoints there are, in memory: their ids, and the offsets of the newest.

use std::collections::BTreeMap;
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
    by_id: BTreeMap<Arc<[u8]>, u64>,
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
            Record::Copy(checkpoint) if self.begins_with_copies => {
                self.live.insert(entry, checkpoint);
            }
            Record::Copy(checkpoint) => self.copies.insert(entry, checkpoint),
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
        let id: Arc<[u8]> = id.into();
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
