//! The header of a segment: two slots, each in a block of its own, each with everything.
//!
//! ```text
//!  0        4096      8192
//!  | slot 0 | slot 1  | frames …
//!
//!  slot (128 bytes, the rest of its block is zeros)
//!  0       8         12         16     24       32         40    48            56      60
//!  | magic | version | reserved | salt | stream | first id | cut | predecessor | flags | digest |
//!  64          72        80           88        92                 124
//!  | synced to | next id | first kept | lowered | reserved (zeros) | checksum |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | magic | 8 bytes | `IRONWSEG` |
//! | version | u32 | 1 |
//! | salt | u64 | the salt of the root |
//! | stream | u64 | the number of the stream |
//! | first id | u64 | the id of the segment's first entry |
//! | cut | u64 | how often the stream had been cut when this was written |
//! | predecessor | u64 | where the frames of the segment before this one end; 0: there is none |
//! | flags | u32 | bit 0: the predecessor had been synced up to that end |
//! | digest | u32 | CRC-32C over the checksums (u32 each) of all frames below `synced to` |
//! | synced to | u64 | the frames below this offset had been synced when the slot was written |
//! | next id | u64 | the id behind the last entry below `synced to` |
//! | first kept | u64 | ids below this one have been pruned from the stream |
//! | lowered | u32 | how often `first kept` had been lowered, by restoring archived segments |
//! | checksum | u32 | CRC-32C over the bytes before it |
//!
//! A slot is valid if and only if its magic, version and checksum (checked in this order) match,
//! its salt is the root's, its first id is the one in the file's name, `synced to` is a multiple of
//! 8 and at least 8192, and `next id` is not below `first id`.
//!
//! Both slots are written before the file gets its name; afterwards one is overwritten only when
//! the other is known to be durable, so a torn write loses nothing. Everything a slot claims stays
//! true once it is true, so the two need no order: what holds is the higher cut, then the higher
//! `synced to`; and of both, and of all segments of the stream, the `first kept` that was lowered
//! most often, then the highest.

use super::checksum;
use super::fields::{put, u32_at, u64_at};
use super::{ALIGN, BLOCK_LEN, FORMAT_VERSION, Unreadable};

/// Where the frames begin.
pub(crate) const HEADER_LEN: u64 = 2 * BLOCK_LEN;

/// The bytes of a slot.
pub(crate) const SLOT_LEN: usize = 128;

const MAGIC: [u8; 8] = *b"IRONWSEG";
const PREDECESSOR_SYNCED: u32 = 1;

/// What every copy of a segment's constants says: both slots and the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Constants {
    /// The salt of the root.
    pub(crate) salt: u64,
    /// The number of the stream.
    pub(crate) stream_number: u64,
    /// The id of the segment's first entry.
    pub(crate) first_id: u64,
    /// How often the stream had been cut.
    pub(crate) cut_number: u64,
    /// Where the frames of the predecessor end; 0: there is none.
    pub(crate) predecessor_end: u64,
    /// Whether the predecessor had been synced up to that end.
    pub(crate) predecessor_synced: bool,
}

/// How far a segment is known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proof {
    /// Frames below this offset have been synced.
    pub(crate) synced_to: u64,
    /// The id behind the last entry below `synced_to`.
    pub(crate) next_id: u64,
    /// CRC-32C over the checksums of all frames below `synced_to`.
    pub(crate) digest: u32,
}

impl Proof {
    /// The proof of a segment without frames.
    pub(crate) fn of_nothing(first_id: u64) -> Self {
        Self { synced_to: HEADER_LEN, next_id: first_id, digest: 0 }
    }
}

/// The first id that has not been pruned. Of two, the greater one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct FirstKept {
    /// How often it had been lowered.
    pub(crate) lowered: u32,
    /// The id.
    pub(crate) id: u64,
}

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// What is true of the segment for ever, and its cut.
    pub(crate) constants: Constants,
    /// How far it is durable.
    pub(crate) proof: Proof,
    /// Ids below this one have been pruned.
    pub(crate) first_kept: FirstKept,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotPlace {
    /// At the start of the file.
    First,
    /// In the second block.
    Second,
}

impl SlotPlace {
    /// Where the slot begins, in bytes.
    pub(crate) fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => BLOCK_LEN,
        }
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Constants {
    /// Puts the fields from byte 16 to 60, which slot and seal share.
    pub(crate) fn put(&self, bytes: &mut [u8]) {
        let flags = if self.predecessor_synced { PREDECESSOR_SYNCED } else { 0 };
        put(bytes, 16, self.salt.to_le_bytes());
        put(bytes, 24, self.stream_number.to_le_bytes());
        put(bytes, 32, self.first_id.to_le_bytes());
        put(bytes, 40, self.cut_number.to_le_bytes());
        put(bytes, 48, self.predecessor_end.to_le_bytes());
        put(bytes, 56, flags.to_le_bytes());
    }

    /// Reads the same fields.
    pub(crate) fn at(bytes: &[u8]) -> Self {
        Self {
            salt: u64_at(bytes, 16),
            stream_number: u64_at(bytes, 24),
            first_id: u64_at(bytes, 32),
            cut_number: u64_at(bytes, 40),
            predecessor_end: u64_at(bytes, 48),
            predecessor_synced: u32_at(bytes, 56) & PREDECESSOR_SYNCED != 0,
        }
    }
}

/// Puts magic, version and checksum around the other fields of a structure that ends with its
/// checksum.
pub(crate) fn frame_structure(bytes: &mut [u8], magic: [u8; 8]) {
    put(bytes, 0, magic);
    put(bytes, 8, FORMAT_VERSION.to_le_bytes());
    let checksum_at = bytes.len() - 4;
    let checksum = checksum::of(&bytes[..checksum_at]);
    put(bytes, checksum_at, checksum.to_le_bytes());
}

/// Checks magic, version and checksum, in this order.
pub(crate) fn check_structure(bytes: &[u8], magic: [u8; 8]) -> Result<(), Unreadable> {
    if bytes[..8] != magic {
        return Err(Unreadable::NotThis);
    }
    match u32_at(bytes, 8) {
        FORMAT_VERSION => {}
        newer if newer > FORMAT_VERSION => return Err(Unreadable::Newer(newer)),
        _ => return Err(Unreadable::Damaged),
    }
    let checksum_at = bytes.len() - 4;
    if checksum::of(&bytes[..checksum_at]) == u32_at(bytes, checksum_at) {
        Ok(())
    } else {
        Err(Unreadable::Damaged)
    }
}

impl Slot {
    /// The bytes of the slot.
    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        self.constants.put(&mut bytes);
        put(&mut bytes, 60, self.proof.digest.to_le_bytes());
        put(&mut bytes, 64, self.proof.synced_to.to_le_bytes());
        put(&mut bytes, 72, self.proof.next_id.to_le_bytes());
        put(&mut bytes, 80, self.first_kept.id.to_le_bytes());
        put(&mut bytes, 88, self.first_kept.lowered.to_le_bytes());
        frame_structure(&mut bytes, MAGIC);
        bytes
    }

    /// The slot in these bytes, if it is a valid one of the segment that begins with `first_id` in
    /// the log with this salt.
    pub(crate) fn decode(bytes: &[u8], salt: u64, first_id: u64) -> Result<Self, Unreadable> {
        let Some(bytes) = bytes.get(..SLOT_LEN) else {
            return Err(Unreadable::NotThis);
        };
        check_structure(bytes, MAGIC)?;
        let constants = Constants::at(bytes);
        if constants.salt != salt || constants.first_id != first_id {
            return Err(Unreadable::NotThis);
        }
        let proof = Proof {
            synced_to: u64_at(bytes, 64),
            next_id: u64_at(bytes, 72),
            digest: u32_at(bytes, 60),
        };
        if proof.synced_to < HEADER_LEN
            || !proof.synced_to.is_multiple_of(ALIGN)
            || proof.next_id < first_id
        {
            return Err(Unreadable::Damaged);
        }
        let first_kept = FirstKept { id: u64_at(bytes, 80), lowered: u32_at(bytes, 88) };
        Ok(Self { constants, proof, first_kept })
    }

    /// What two slots say together. Each alone may be unreadable.
    pub(crate) fn merge(
        first: Result<Self, Unreadable>,
        second: Result<Self, Unreadable>,
    ) -> Result<(Self, SlotPlace), Unreadable> {
        let rank = |slot: &Self| (slot.constants.cut_number, slot.proof, slot.first_kept);
        match (first, second) {
            (Ok(first), Ok(second)) => {
                let (mut slot, place) = if rank(&second) > rank(&first) {
                    (second, SlotPlace::Second)
                } else {
                    (first, SlotPlace::First)
                };
                slot.first_kept = first.first_kept.max(second.first_kept);
                Ok((slot, place))
            }
            (Ok(slot), Err(_)) => Ok((slot, SlotPlace::First)),
            (Err(_), Ok(slot)) => Ok((slot, SlotPlace::Second)),
            (Err(newer @ Unreadable::Newer(_)), Err(_)) => Err(newer),
            (Err(_), Err(unreadable)) => Err(unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(synced_to: u64) -> Slot {
        Slot {
            constants: Constants {
                salt: 0x5A17,
                stream_number: 3,
                first_id: 40,
                cut_number: 1,
                predecessor_end: 12_288,
                predecessor_synced: true,
            },
            proof: Proof { synced_to, next_id: 44, digest: 9 },
            first_kept: FirstKept { lowered: 0, id: 2 },
        }
    }

    fn decode(bytes: &[u8]) -> Result<Slot, Unreadable> {
        Slot::decode(bytes, 0x5A17, 40)
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(&slot(9000).encode()), Ok(slot(9000)));
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut bytes = slot(9000).encode();
        put(&mut bytes, 8, 2_u32.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Unreadable::Newer(2)));
        put(&mut bytes, 8, 0_u32.to_le_bytes());
        assert_eq!(decode(&bytes), Err(Unreadable::Damaged));
    }

    #[test]
    fn another_place_is_not_this_segment() {
        let bytes = slot(9000).encode();
        assert_eq!(Slot::decode(&bytes, 0x5A18, 40), Err(Unreadable::NotThis));
        assert_eq!(Slot::decode(&bytes, 0x5A17, 41), Err(Unreadable::NotThis));
        assert_eq!(decode(&[0; SLOT_LEN]), Err(Unreadable::NotThis));
        assert_eq!(decode(&bytes[..100]), Err(Unreadable::NotThis));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..SLOT_LEN * 8 {
            let mut bytes = slot(9000).encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_proof_out_of_range_is_damage() {
        assert_eq!(decode(&slot(HEADER_LEN - 8).encode()), Err(Unreadable::Damaged));
        assert_eq!(decode(&slot(9001).encode()), Err(Unreadable::Damaged));
        let mut early = slot(9000);
        early.proof.next_id = 39;
        assert_eq!(decode(&early.encode()), Err(Unreadable::Damaged));
    }

    #[test]
    fn the_higher_claim_holds_wherever_it_stands() {
        let (old, new) = (slot(9000), slot(9008));
        assert_eq!(Slot::merge(Ok(old), Ok(new)), Ok((new, SlotPlace::Second)));
        assert_eq!(Slot::merge(Ok(new), Ok(old)), Ok((new, SlotPlace::First)));
        let lost = Err(Unreadable::Damaged);
        assert_eq!(Slot::merge(lost, Ok(old)), Ok((old, SlotPlace::Second)));
        assert_eq!(Slot::merge(Ok(old), lost), Ok((old, SlotPlace::First)));
        assert_eq!(Slot::merge(lost, Err(Unreadable::NotThis)), Err(Unreadable::NotThis));
        assert_eq!(Slot::merge(Err(Unreadable::Newer(3)), lost), Err(Unreadable::Newer(3)));
        assert_eq!(Slot::merge(lost, Err(Unreadable::Newer(3))), Err(Unreadable::Newer(3)));

        let mut cut = slot(8192);
        cut.constants.cut_number = 2;
        let mut pruned = new;
        pruned.first_kept.id = 30;
        let (merged, place) = Slot::merge(Ok(cut), Ok(pruned)).unwrap();
        assert_eq!(
            (merged.proof.synced_to, merged.first_kept.id, place),
            (8192, 30, SlotPlace::First)
        );
        let mut restored = new;
        restored.first_kept = FirstKept { lowered: 1, id: 0 };
        let (merged, _) = Slot::merge(Ok(restored), Ok(pruned)).unwrap();
        assert_eq!(merged.first_kept, restored.first_kept);
    }
}
