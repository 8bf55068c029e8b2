//! What the records of a group come to.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::index::Index;
use crate::record::{self, Facts, Point, Record};

/// A Raft log as far as it is kept in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) index: Index,
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Point>,
    pub(crate) purged: Option<Point>,
    /// Bytes of all records that are in the stream.
    pub(crate) len: u64,
}

impl Log {
    /// The index of the entry that is appended next; `None`: any, for there was none yet.
    pub(crate) fn next_index(&self) -> Option<u64> {
        let purged = self.purged.as_ref().map(|purged| purged.index + 1);
        self.index.end().or(purged)
    }

    /// Applies the facts of a record.
    pub(crate) fn apply(&mut self, facts: &Facts) {
        if let Some(index) = facts.cut_from {
            self.index.cut_from(index);
        }
        if let Some(purged) = &facts.purged {
            self.index.purge_before(purged.index.saturating_add(1));
            self.purged = Some(purged.clone());
        }
        if let Some(vote) = &facts.vote {
            self.vote = Some(vote.clone());
        }
        if let Some(committed) = &facts.committed {
            self.committed.clone_from(committed);
        }
    }
}

/// A group as its records tell it, one after another.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) log: Log,
    /// The sequence number that the next record has; `None`: none was read.
    pub(crate) next_sequence: Option<u32>,
    /// Records that do not count; see [`record`].
    pub(crate) leftovers: u64,
}

impl Replay {
    pub(crate) fn read(&mut self, id: u64, record: &Bytes) -> Result<()> {
        let len = record::len_in_stream(record);
        self.log.len += len;
        let Record { sequence, facts, entry } = record::decode(id, record)?;
        if self.next_sequence.is_some_and(|next| next != sequence) {
            self.leftovers += 1;
            return Ok(());
        }
        self.next_sequence = Some(sequence.wrapping_add(1));
        self.log.apply(&own(facts));
        if let Some(entry) = entry {
            let expected = self.log.next_index().unwrap_or(entry.index);
            if entry.index != expected {
                return Err(Error::Gap { id, expected, found: entry.index });
            }
            self.log.index.push(entry.index, id, len);
        }
        Ok(())
    }
}

/// Copies, which do not hold the memory that was read for their neighbours.
fn own(facts: Facts) -> Facts {
    let own = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
    let own_point = |point: Point| Point { log_id: own(point.log_id), ..point };
    Facts {
        vote: facts.vote.map(own),
        committed: facts.committed.map(|committed| committed.map(own_point)),
        purged: facts.purged.map(own_point),
        cut_from: facts.cut_from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Entry;

    fn replay(records: &[(u32, Facts, Option<u64>)]) -> Result<Replay> {
        let mut replay = Replay::default();
        for (id, (sequence, facts, index)) in records.iter().enumerate() {
            let entry = index.map(|index| Entry { index, bytes: Bytes::from_static(b"entry") });
            let bytes = Bytes::from(record::encode(*sequence, facts, entry.as_ref())?);
            replay.read(id as u64, &bytes)?;
        }
        Ok(replay)
    }

    fn entry(sequence: u32, index: u64) -> (u32, Facts, Option<u64>) {
        (sequence, Facts::default(), Some(index))
    }

    /// Entry 1 fails for want of space, what was in flight behind it does not, and the node starts again.
    #[test]
    fn what_is_behind_a_failed_record_does_not_count() -> Result<()> {
        let vote = Facts { vote: Some(Bytes::from_static(b"late")), ..Facts::default() };
        let begun = [entry(6, 0), entry(8, 2), (9, vote, None), entry(10, 3)];
        let found = replay(&begun)?;
        assert_eq!((found.log.index.end(), found.leftovers), (Some(1), 3));
        assert_eq!((found.log.vote, found.next_sequence), (None, Some(7)));
        // And goes on.
        let found = replay(&[&begun[..], &[entry(7, 1), entry(8, 2)]].concat())?;
        assert_eq!((found.log.index.end(), found.leftovers), (Some(3), 3));
        assert_eq!(found.log.index.ids(0..9), [0..1, 4..6]);
        Ok(())
    }

    #[test]
    fn the_sequence_goes_round() -> Result<()> {
        let found = replay(&[entry(u32::MAX, 4), entry(0, 5)])?;
        assert_eq!((found.log.index.end(), found.leftovers), (Some(6), 0));
        Ok(())
    }

    #[test]
    fn a_hole_is_an_error() {
        let found = replay(&[entry(0, 4), entry(1, 6)]);
        assert!(matches!(found, Err(Error::Gap { id: 1, expected: 5, found: 6 })), "{found:?}");
        let purged = Some(Point { index: 9, log_id: Bytes::from_static(b"9") });
        let purged = Facts { purged, ..Facts::default() };
        let found = replay(&[(0, purged, None), entry(1, 9)]);
        assert!(matches!(found, Err(Error::Gap { id: 1, expected: 10, found: 9 })), "{found:?}");
    }
}
