//! The journal: appends to many streams, made durable by one write and one sync.
//!
//! ```text
//! {root}/.journal.0, {root}/.journal.1       used in turn
//!
//!  0       4096    8192
//!  | slot  | slot  | frame | frame | …       every frame begins on a multiple of 4096
//! ```
//!
//! A file is written under a *generation*, which its slots name ([`header`]), and used again, from its
//! first frame on, under the next one. A frame ([`frame`]) holds shares of streams, each the very bytes
//! that belong into a segment, and before them a directory of what they are; the directory of the
//! frame before it is repeated behind that one.
//!
//! What the order of writing guarantees, and [`resolve`] rests on:
//!
//! - a generation is synced in both slots before the first frame is written under it;
//! - a frame is written only when the one before it has been synced: a frame proves all before it;
//! - sequences begin with 1 in every process, and what earlier processes left in the journal has been
//!   written to the segments, and synced there, before a process writes its first frame;
//! - generations are used in their order, and a process goes on in the other file before it uses one
//!   again.

pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod resolve;
pub(crate) mod scan;

use std::ops::Range;

use super::fields::{put, u32_at, u64_at};
use super::{ALIGN, BLOCK_LEN};

/// Where the frames begin, in bytes.
pub(crate) const JOURNAL_HEADER_LEN: u64 = 2 * BLOCK_LEN;

/// The longest frame of a journal in bytes, padding included, for writing and for reading.
pub(crate) const MAX_JOURNAL_FRAME_LEN: u64 = 1 << 32;

/// How many records a frame has at most, for writing and for reading: its directory takes 32 MiB.
pub(crate) const MAX_RECORDS: u32 = 1 << 20;

/// The bytes of a record.
pub(crate) const RECORD_LEN: u64 = 32;

/// The bytes of the smallest frame of a segment, and so of the smallest share.
const MIN_SHARE_LEN: u64 = super::frame::FRAME_HEADER_BYTES;

/// One entry of a directory: what a share is, or that a stream was cut.
///
/// ```text
///  0        8         16      20      24       28       32
///  | stream | segment | index | count | offset | length |
/// ```
///
/// | field | type | meaning |
/// |---|---|---|
/// | stream | u64 | the number of the stream |
/// | segment | u64 | first id of the segment that the share belongs into |
/// | index | u32 | first id of the share, less the first id of the segment |
/// | count | u32 | number of entries |
/// | offset | u32 | where the share stands in its segment, in units of 8 bytes |
/// | length | u32 | bytes of the share, in units of 8 bytes |
///
/// With all fields but the stream zero it is a *void*: the records of that stream before it, in the
/// journal's order, count no more.
///
/// A record is valid if and only if it is a void, or its count is at least 1, its length at least 24
/// bytes, `index + count` fits a u32 and `segment + index + count` a u64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// The number of the stream.
    pub(crate) stream_number: u64,
    /// The first id of the segment that the share belongs into.
    pub(crate) segment: u64,
    /// The id of the share's first entry, less the first id of the segment.
    pub(crate) index: u32,
    /// How many entries it holds.
    pub(crate) count: u32,
    /// Where it stands in its segment, in bytes.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) len: u64,
}

impl Record {
    /// The record that voids all earlier ones of this stream.
    pub(crate) fn void(stream_number: u64) -> Self {
        Self { stream_number, segment: 0, index: 0, count: 0, offset: 0, len: 0 }
    }

    /// Whether it voids all earlier ones of its stream.
    pub(crate) fn is_void(&self) -> bool {
        self.count == 0
    }

    /// The ids of the share's entries.
    pub(crate) fn ids(&self) -> Range<u64> {
        let start = self.segment.saturating_add(u64::from(self.index));
        start..start.saturating_add(u64::from(self.count))
    }

    fn is_valid(&self) -> bool {
        if self.is_void() {
            return *self == Self::void(self.stream_number);
        }
        let end_index = self.index.checked_add(self.count);
        self.len >= MIN_SHARE_LEN
            && end_index.is_some_and(|end| self.segment.checked_add(u64::from(end)).is_some())
    }

    /// The bytes of the record; `None` if it is not valid or a field would overflow.
    fn encode(&self) -> Option<[u8; 32]> {
        if !self.is_valid() || !self.offset.is_multiple_of(ALIGN) || !self.len.is_multiple_of(ALIGN)
        {
            return None;
        }
        let mut bytes = [0; 32];
        put(&mut bytes, 0, self.stream_number.to_le_bytes());
        put(&mut bytes, 8, self.segment.to_le_bytes());
        put(&mut bytes, 16, self.index.to_le_bytes());
        put(&mut bytes, 20, self.count.to_le_bytes());
        put(&mut bytes, 24, u32::try_from(self.offset / ALIGN).ok()?.to_le_bytes());
        put(&mut bytes, 28, u32::try_from(self.len / ALIGN).ok()?.to_le_bytes());
        Some(bytes)
    }

    /// The record in these 32 bytes, if it is valid.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let record = Self {
            stream_number: u64_at(bytes, 0),
            segment: u64_at(bytes, 8),
            index: u32_at(bytes, 16),
            count: u32_at(bytes, 20),
            offset: u64::from(u32_at(bytes, 24)) * ALIGN,
            len: u64::from(u32_at(bytes, 28)) * ALIGN,
        };
        record.is_valid().then_some(record)
    }
}

/// The bytes of the shares of these records together.
fn shares_len(records: &[Record]) -> u64 {
    records.iter().fold(0, |len: u64, record| len.saturating_add(record.len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Record =
        Record { stream_number: 7, segment: 40, index: 2, count: 3, offset: 8192, len: 64 };

    fn valid(change: impl Fn(&mut Record)) -> bool {
        let mut record = SHARE;
        change(&mut record);
        let encoded = record.encode();
        if let Some(bytes) = encoded {
            assert_eq!(Record::decode(&bytes), Some(record));
        }
        encoded.is_some()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert!(valid(|_| {}));
        assert_eq!(SHARE.ids(), 42..45);
        assert!(!SHARE.is_void());
        let void = Record::void(u64::MAX);
        assert_eq!(Record::decode(&void.encode().unwrap()), Some(void));
        assert!(void.is_void() && void.ids().is_empty());
    }

    #[test]
    fn the_bounds_of_a_record() {
        assert!(valid(|record| record.len = 24));
        assert!(!valid(|record| record.len = 16));
        assert!(!valid(|record| record.len = 0));
        assert!(!valid(|record| record.len = 65));
        assert!(!valid(|record| record.offset = 8193));
        assert!(valid(|record| record.len = u64::from(u32::MAX) * 8));
        assert!(!valid(|record| record.len = (u64::from(u32::MAX) + 1) * 8));
        assert!(valid(|record| record.index = u32::MAX - 3));
        assert!(!valid(|record| record.index = u32::MAX - 2));
        assert!(valid(|record| record.segment = u64::MAX - 5));
        assert!(!valid(|record| record.segment = u64::MAX - 4));
    }

    #[test]
    fn half_a_void_is_none() {
        assert!(!valid(|record| record.count = 0));
        let mut void = Record::void(7).encode().unwrap();
        for at in 8..32 {
            void[at] = 1;
            assert_eq!(Record::decode(&void), None, "byte {at}");
            void[at] = 0;
        }
    }
}
