//! The records in the log of checkpoints: one entry each, everything little-endian.
//!
//! ```text
//!  checkpoint or copy
//!  0      1          2               4             6          8           16           16 + 8 n
//!  | kind | zero     | id length     | shard count | zeros    | timestamp | n offsets  | id |
//!
//!  closing
//!  0      1                                                   8            16
//!  | kind | zeros                                             | first copy |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | kind | u8 | 1: checkpoint, 2: copy of one, 3: closing |
//! | id length | u16 | bytes of the id; at least 1 |
//! | shard count | u16 | n, at least 1 |
//! | timestamp | u64 | nanoseconds since the Unix epoch |
//! | offsets | u64 each | of every shard, the id behind its last entry in the checkpoint |
//! | first copy | u64 | the entry id of the first copy |
//!
//! A record is valid if and only if its kind is one of these, its zeros are zeros, and its lengths add
//! up to the entry's.
//!
//! A copy counts if and only if a closing record behind it names it, or an entry before it, as the
//! first copy; or the log begins with it, or with copies of other ids before it, for nothing is freed
//! before its copies are closed off. Whatever stands before the first copy that the newest closing
//! record names has been dropped.

use super::CheckpointData;
use crate::sync::Arc;

/// The longest id, in bytes.
pub(super) const ID_LEN_MAX: usize = 65_535;

const HEADER_LEN: usize = 16;
const OFFSET_LEN: usize = 8;

const CHECKPOINT: u8 = 1;
const COPY: u8 = 2;
const CLOSING: u8 = 3;

/// What an entry of the log of checkpoints says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A checkpoint was created.
    Checkpoint(Checkpoint),
    /// A checkpoint that is kept by a compaction.
    Copy(Checkpoint),
    /// The compaction is complete whose first copy has this entry id.
    Closing { first: u64 },
}

/// A checkpoint and its id, as the record of one that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint(Arc<[u8]>);

/// Whether an entry of the log of checkpoints is valid.
pub(crate) fn is_record(entry: &[u8]) -> bool {
    Record::decode(entry).is_some()
}

/// The number of shards in an entry of the log of checkpoints, if it is a checkpoint.
pub(crate) fn shard_count_in(entry: &[u8]) -> Option<u16> {
    match Record::decode(entry)? {
        Record::Checkpoint(checkpoint) | Record::Copy(checkpoint) => Some(checkpoint.shard_count()),
        Record::Closing { .. } => None,
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.0.to_vec(),
            Self::Copy(checkpoint) => {
                let mut bytes = checkpoint.0.to_vec();
                bytes[0] = COPY;
                bytes
            }
            Self::Closing { first } => {
                let mut bytes = vec![CLOSING, 0, 0, 0, 0, 0, 0, 0];
                bytes.extend_from_slice(&first.to_le_bytes());
                bytes
            }
        }
    }

    /// The record in an entry; `None` if it is not valid.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let [kind, zero, a, b, c, d, e, f, last @ ..] = *header;
        match (kind, [zero, e, f]) {
            (CHECKPOINT | COPY, [0, 0, 0]) => {
                let (id_len, shard_count) =
                    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                let due = usize::from(shard_count) * OFFSET_LEN + usize::from(id_len);
                if id_len == 0 || shard_count == 0 || rest.len() != due {
                    return None;
                }
                let mut created: Arc<[u8]> = bytes.into();
                Arc::make_mut(&mut created)[0] = CHECKPOINT;
                let checkpoint = Checkpoint(created);
                Some(match kind {
                    CHECKPOINT => Self::Checkpoint(checkpoint),
                    _ => Self::Copy(checkpoint),
                })
            }
            (CLOSING, [0, 0, 0]) if [a, b, c, d] == [0; 4] && rest.is_empty() => {
                Some(Self::Closing { first: u64::from_le_bytes(last) })
            }
            _ => None,
        }
    }
}

impl Checkpoint {
    /// `None` if the id is empty or too long, or there are no offsets or too many.
    pub(super) fn new(id: &[u8], data: &CheckpointData) -> Option<Self> {
        let (id_len, shard_count) =
            (u16::try_from(id.len()).ok()?, u16::try_from(data.offsets.len()).ok()?);
        if id_len == 0 || shard_count == 0 {
            return None;
        }
        let offsets_len = data.offsets.len() * OFFSET_LEN;
        let mut bytes = Vec::with_capacity(HEADER_LEN + offsets_len + id.len());
        bytes.extend_from_slice(&[CHECKPOINT, 0]);
        bytes.extend_from_slice(&id_len.to_le_bytes());
        bytes.extend_from_slice(&shard_count.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&data.timestamp.to_le_bytes());
        for offset in &data.offsets {
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        bytes.extend_from_slice(id);
        Some(Self(bytes.into()))
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.0[HEADER_LEN + self.offsets_len()..]
    }

    pub(super) fn timestamp(&self) -> u64 {
        self.0[8..].first_chunk().map_or(0, |timestamp| u64::from_le_bytes(*timestamp))
    }

    pub(super) fn data(&self) -> CheckpointData {
        let (offsets, _) = self.0[HEADER_LEN..][..self.offsets_len()].as_chunks::<OFFSET_LEN>();
        CheckpointData {
            offsets: offsets.iter().map(|offset| u64::from_le_bytes(*offset)).collect(),
            timestamp: self.timestamp(),
            shard_count: self.shard_count(),
        }
    }

    /// The bytes of the record.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn shard_count(&self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    fn offsets_len(&self) -> usize {
        usize::from(self.shard_count()) * OFFSET_LEN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let data = (proptest::collection::vec(any::<u64>(), 1..20), any::<u64>());
        let checkpoint = (proptest::collection::vec(any::<u8>(), 1..40), data);
        let checkpoint = checkpoint.prop_map(|(id, (offsets, timestamp))| {
            let shard_count = offsets.len() as u16;
            let data = CheckpointData { offsets, timestamp, shard_count };
            Checkpoint::new(&id, &data).unwrap()
        });
        prop_oneof![
            checkpoint.clone().prop_map(Record::Checkpoint),
            checkpoint.prop_map(Record::Copy),
            any::<u64>().prop_map(|first| Record::Closing { first }),
        ]
    }

    #[test]
    fn a_checkpoint_has_an_id_and_shards() {
        let data = CheckpointData { offsets: vec![7], timestamp: 9, shard_count: 1 };
        let whole = Checkpoint::new(b"i", &data).unwrap().0.to_vec();
        assert!(Record::decode(&whole).is_some());
        let mut no_id = whole[..whole.len() - 1].to_vec();
        no_id[2] = 0;
        assert_eq!(Record::decode(&no_id), None);
        let mut no_shards = [&whole[..HEADER_LEN], b"i"].concat();
        no_shards[4] = 0;
        assert_eq!(Record::decode(&no_shards), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn nothing_else_is_a_record(record in records(), cut in 1_usize..400, more in any::<u8>()) {
            let bytes = record.encode();
            let cut_short = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert_eq!(Record::decode(cut_short), None);
            let mut longer = bytes.clone();
            longer.push(more);
            prop_assert_eq!(Record::decode(&longer), None);
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let data = CheckpointData { offsets: vec![7, 0x0102], timestamp: 9, shard_count: 2 };
        let checkpoint = Checkpoint::new(b"ab", &data).unwrap();
        assert_eq!((checkpoint.id(), checkpoint.data()), (&b"ab"[..], data));
        let mut expected = vec![1, 0, 2, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"ab");
        assert_eq!(Record::Checkpoint(checkpoint.clone()).encode(), expected);
        expected[0] = 2;
        assert_eq!(Record::Copy(checkpoint).encode(), expected);
        let closing = [3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Record::Closing { first: 5 }.encode(), closing);
        // Every bit of the kind and of the zeros counts.
        for at in [0, 1, 6, 7] {
            for bit in 0..8 {
                let mut forged = expected.clone();
                forged[at] ^= 1 << bit;
                let found = Record::decode(&forged);
                assert!(!matches!(found, Some(Record::Copy(_))), "byte {at}, bit {bit}");
            }
        }
    }
}
