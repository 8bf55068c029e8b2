//! The root file `.ironwal`: what holds for the whole log.
//!
//! ```text
//!  0       4096    8192
//!  | copy  | copy  |
//!
//!  copy (64 bytes, the rest of its block is zeros)
//!  0       8         12       14        16     24               32                 60
//!  | magic | version | shards | routing | salt | numbers end    | reserved (zeros) | checksum |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | magic | 8 bytes | `IRONWAL` and a zero |
//! | version | u32 | 1 |
//! | shards | u16 | number of shards; 0: not sharded |
//! | routing | u16 | how keys find their shard; 0: not sharded |
//! | salt | u64 | drawn when the log was created; every checksum of a frame begins with it |
//! | numbers end | u64 | stream numbers below this one may have been given out |
//! | checksum | u32 | CRC-32C over the bytes before it |
//!
//! A copy is valid if and only if its magic, version and checksum (in this order) match. The file is
//! valid if and only if a copy is; the first valid one holds. It is replaced as a whole, by a rename.

use super::fields::{put, u16_at, u64_at};
use super::header::{check_structure, frame_structure};
use super::{BLOCK_LEN, Unreadable};

/// The bytes of the file.
pub(crate) const ROOT_LEN: usize = 8192;

/// The bytes of a copy that are not filled up with zeros.
pub(crate) const COPY_LEN: usize = 64;
const MAGIC: [u8; 8] = *b"IRONWAL\0";

/// What holds for the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    /// Drawn when the log was created.
    pub(crate) salt: u64,
    /// Stream numbers below this one may have been given out.
    pub(crate) numbers_end: u64,
    /// Number of shards; 0: not sharded.
    pub(crate) shard_count: u16,
    /// How keys find their shard; 0: not sharded.
    pub(crate) routing: u16,
}

impl Root {
    /// The bytes of the whole file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = [0; COPY_LEN];
        put(&mut copy, 12, self.shard_count.to_le_bytes());
        put(&mut copy, 14, self.routing.to_le_bytes());
        put(&mut copy, 16, self.salt.to_le_bytes());
        put(&mut copy, 24, self.numbers_end.to_le_bytes());
        frame_structure(&mut copy, MAGIC);
        let mut file = vec![0; ROOT_LEN];
        put(&mut file, 0, copy);
        put(&mut file, ROOT_LEN / 2, copy);
        file
    }

    /// The root in the bytes of the file, which may be cut short.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, Unreadable> {
        const _: () = assert!(ROOT_LEN as u64 == 2 * BLOCK_LEN);
        let first = Self::decode_copy(file);
        if first.is_ok() {
            return first;
        }
        let second = Self::decode_copy(file.get(ROOT_LEN / 2..).unwrap_or_default());
        match (first, second) {
            (_, Ok(root)) => Ok(root),
            (Err(Unreadable::Newer(version)), _) | (_, Err(Unreadable::Newer(version))) => {
                Err(Unreadable::Newer(version))
            }
            (_, unreadable) => unreadable,
        }
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, Unreadable> {
        let Some(copy) = bytes.get(..COPY_LEN) else {
            return Err(Unreadable::NotThis);
        };
        check_structure(copy, MAGIC)?;
        Ok(Self {
            shard_count: u16_at(copy, 12),
            routing: u16_at(copy, 14),
            salt: u64_at(copy, 16),
            numbers_end: u64_at(copy, 24),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Root = Root { salt: 11, numbers_end: 1024, shard_count: 16, routing: 1 };

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(Root::decode(&ROOT.encode()), Ok(ROOT));
    }

    #[test]
    fn one_lost_block_loses_nothing_and_two_are_seen() {
        let mut file = ROOT.encode();
        file[..4096].fill(0);
        assert_eq!(Root::decode(&file), Ok(ROOT));
        file[4100] ^= 1;
        assert_eq!(Root::decode(&file), Err(Unreadable::NotThis));
        assert_eq!(Root::decode(&ROOT.encode()[..70]), Ok(ROOT));
        assert_eq!(Root::decode(&ROOT.encode()[..63]), Err(Unreadable::NotThis));
        assert_eq!(Root::decode(&[]), Err(Unreadable::NotThis));
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let mut file = ROOT.encode();
        put(&mut file, 8, 2_u32.to_le_bytes());
        assert_eq!(Root::decode(&file), Ok(ROOT), "one copy is enough");
        put(&mut file, 4096 + 8, 2_u32.to_le_bytes());
        assert_eq!(Root::decode(&file), Err(Unreadable::Newer(2)));
    }

    #[test]
    fn every_flipped_bit_of_a_copy_is_seen() {
        for bit in 0..COPY_LEN * 8 {
            let mut file = ROOT.encode();
            file[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Root::decode(&file), Ok(ROOT), "the other copy holds");
            assert!(Root::decode(&file[..4096]).is_err(), "bit {bit}");
        }
    }
}
