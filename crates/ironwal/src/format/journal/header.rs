//! The header of a journal file: two equal slots, each in a block of its own.
//!
//! ```text
//!  slot (64 bytes, the rest of its block is zeros)
//!  0       8         12         16     24           32       33                 60         64
//!  | magic | version | reserved | salt | generation | closed | reserved (zeros) | checksum |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | magic | 8 bytes | `IRONWALJ` |
//! | version | u32 | 1 |
//! | salt | u64 | the salt of the root |
//! | generation | u64 | counts on with every use of a journal file, from 1 |
//! | closed | u8 | 1: the log was closed, and no frame was written under this generation; otherwise 0 |
//! | checksum | u32 | CRC-32C over the bytes before it |
//!
//! A slot is valid if and only if its magic, version and checksum (checked in this order) match, its
//! salt is the root's, its generation is at least 1, and `closed` is 0 or 1.
//!
//! The slots are written one after the other, with a sync between, so a torn write leaves one. Of two
//! valid ones that of the higher generation holds: nothing is written under a generation before both
//! slots say it, but the frames of the one before count no more once a slot does.

use crate::format::Unreadable;
use crate::format::fields::{put, u64_at};
use crate::format::header::{check_structure, frame_structure};

/// The bytes of a slot.
pub(crate) const JOURNAL_SLOT_LEN: usize = 64;

const MAGIC: [u8; 8] = *b"IRONWALJ";

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalHeader {
    /// The salt of the root.
    pub(crate) salt: u64,
    /// The generation under which the frames are written.
    pub(crate) generation: u64,
    /// Whether the log was closed with nothing in the file: no frame was written under this generation,
    /// and none will be.
    pub(crate) is_closed: bool,
}

impl JournalHeader {
    /// The bytes of a slot.
    pub(crate) fn encode(&self) -> [u8; JOURNAL_SLOT_LEN] {
        let mut bytes = [0; JOURNAL_SLOT_LEN];
        put(&mut bytes, 16, self.salt.to_le_bytes());
        put(&mut bytes, 24, self.generation.to_le_bytes());
        put(&mut bytes, 32, [u8::from(self.is_closed)]);
        frame_structure(&mut bytes, MAGIC);
        bytes
    }

    /// The slot in these bytes, if it is a valid one of the log with this salt.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Result<Self, Unreadable> {
        let Some(bytes) = bytes.get(..JOURNAL_SLOT_LEN) else {
            return Err(Unreadable::NotThis);
        };
        check_structure(bytes, MAGIC)?;
        let (salt_found, generation) = (u64_at(bytes, 16), u64_at(bytes, 24));
        let header = Self { salt: salt_found, generation, is_closed: bytes[32] == 1 };
        if header.salt != salt {
            return Err(Unreadable::NotThis);
        }
        if header.generation == 0 || bytes[32] > 1 {
            return Err(Unreadable::Damaged);
        }
        Ok(header)
    }

    /// What two slots say together. Each alone may be unreadable.
    pub(crate) fn merge(
        first: Result<Self, Unreadable>,
        second: Result<Self, Unreadable>,
    ) -> Result<Self, Unreadable> {
        match (first, second) {
            (Ok(first), Ok(second)) if second.generation > first.generation => Ok(second),
            (Ok(header), _) | (Err(_), Ok(header)) => Ok(header),
            (Err(newer @ Unreadable::Newer(_)), Err(_)) => Err(newer),
            (Err(_), Err(unreadable)) => Err(unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: JournalHeader = JournalHeader { salt: 0x5A17, generation: 3, is_closed: false };

    fn decode(bytes: &[u8]) -> Result<JournalHeader, Unreadable> {
        JournalHeader::decode(bytes, 0x5A17)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(&HEADER.encode()), Ok(HEADER));
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = HEADER.encode();
        put(&mut bytes, 8, 2_u32.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Unreadable::Newer(2)));
        put(&mut bytes, 8, 0_u32.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Unreadable::Damaged));
    }

    #[test]
    fn what_is_not_this_and_what_is_damaged() {
        let bytes = HEADER.encode();
        assert_eq!(JournalHeader::decode(&bytes, 0x5A18), Err(Unreadable::NotThis));
        assert_eq!(decode(&[0; JOURNAL_SLOT_LEN]), Err(Unreadable::NotThis));
        assert_eq!(decode(&bytes[..63]), Err(Unreadable::NotThis));
        let never = JournalHeader { generation: 0, ..HEADER };
        assert_eq!(decode(&never.encode()), Err(Unreadable::Damaged));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..JOURNAL_SLOT_LEN * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_higher_generation_holds_wherever_it_stands() {
        let next = JournalHeader { generation: 4, ..HEADER };
        let lost = Err(Unreadable::Damaged);
        let newer = Err(Unreadable::Newer(3));
        assert_eq!(JournalHeader::merge(Ok(HEADER), Ok(next)), Ok(next));
        assert_eq!(JournalHeader::merge(Ok(next), Ok(HEADER)), Ok(next));
        assert_eq!(JournalHeader::merge(lost, Ok(HEADER)), Ok(HEADER));
        assert_eq!(JournalHeader::merge(Ok(HEADER), lost), Ok(HEADER));
        assert_eq!(JournalHeader::merge(lost, Err(Unreadable::NotThis)), Err(Unreadable::NotThis));
        assert_eq!(JournalHeader::merge(newer, lost), newer);
        assert_eq!(JournalHeader::merge(lost, newer), newer);
    }
}
