//! Reading the entries of a group, and freeing those that nobody reads any more.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::group::{Group, Memory};
use crate::record;

/// Where the entries of a range are.
struct Plan {
    /// The index of the first one.
    start: u64,
    /// Ids of those that are in the stream only.
    stored: Vec<Range<u64>>,
    /// Those behind them.
    recent: Vec<Bytes>,
}

impl Plan {
    fn new(memory: &Memory, indexes: &Range<u64>) -> Self {
        let index = &memory.log.index;
        let (first, end) = (index.first().unwrap_or(0), index.end().unwrap_or(0));
        let start = indexes.start.max(first);
        let end = indexes.end.min(end).max(start);
        let border = memory.recent.first().unwrap_or(end).clamp(start, end);
        let recent = memory.recent.range(border..end).collect();
        Self { start, stored: index.ids(start..border), recent }
    }
}

impl Group {
    /// Whether the entries of these indexes can be read without the disk.
    pub(crate) fn is_in_memory(&self, indexes: &Range<u64>) -> bool {
        self.memory(|memory| Plan::new(memory, indexes).stored.is_empty())
    }

    /// Decodes the entries of these indexes as far as there are any, from the first one on, up to
    /// `len_max` bytes of them but at least one. Blocks on the disk if they are not in memory.
    pub(crate) fn read<T>(
        &self,
        indexes: &Range<u64>,
        len_max: usize,
        decode: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        loop {
            let plan = self.memory(|memory| Plan::new(memory, indexes));
            let start = plan.start;
            if let Some(entries) = self.read_planned(plan, len_max, &decode)? {
                return Ok(entries);
            }
            // Purged and freed meanwhile; only that takes records away.
            if self.memory(|memory| memory.log.index.first()).is_some_and(|first| first <= start) {
                return Err(Error::Malformed { id: start, what: "it is missing" });
            }
        }
    }

    /// `None`: some of them are not there any more.
    fn read_planned<T>(
        &self,
        plan: Plan,
        len_max: usize,
        decode: &impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let (mut entries, mut len, mut index) = (Vec::new(), 0, plan.start);
        for ids in plan.stored {
            let mut expected = ids.clone();
            for record in self.stream().range(ids) {
                let (id, record) = record?;
                if expected.next() != Some(id) {
                    return Ok(None);
                }
                let Some(entry) = record::decode(id, &record)?.entry.filter(|it| it.index == index)
                else {
                    return Err(Error::Malformed {
                        id,
                        what: "it is not the entry that was there",
                    });
                };
                len += entry.bytes.len();
                if len > len_max && !entries.is_empty() {
                    return Ok(Some(entries));
                }
                entries.push(decode(&entry.bytes)?);
                index += 1;
            }
            if !expected.is_empty() {
                return Ok(None);
            }
        }
        for bytes in plan.recent {
            len += bytes.len();
            if len > len_max && !entries.is_empty() {
                break;
            }
            entries.push(decode(&bytes)?);
        }
        Ok(Some(entries))
    }

    /// The index of the last entry.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.memory(|memory| memory.log.index.end().map(|end| end - 1))
    }

    /// How many bytes of records nobody needs.
    pub(crate) fn len_unneeded(&self) -> u64 {
        self.memory(|memory| memory.log.len.saturating_sub(memory.log.index.len_bytes()))
    }

    /// Frees what is before the first entry and before the record `facts`, which says durably what else
    /// was there. Blocks on the disk.
    pub(crate) fn free(&self, facts: u64) -> Result<()> {
        // Files go as a whole. What shares one with what is needed goes the next time, as it is full now.
        match self.stream().rotate() {
            Err(ironwal::Error::StorageFull { .. }) => {}
            rotated => rotated?,
        }
        let first = self.memory(|memory| memory.log.index.first_id());
        self.stream().truncate_before(first.map_or(facts, |first| first.min(facts)))?;
        self.forget_unneeded();
        Ok(())
    }
}
