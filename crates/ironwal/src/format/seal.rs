//! The end of a full segment: the sparse index, and the seal behind it.
//!
//! ```text
//!            end of frames                                       end of file
//!  … | frame | point | point | … | seal (128 bytes) |
//!
//!  point   | index u32 | offset u32 |
//!
//!  seal
//!  0       8         12       16     24       32         40    48            56      60
//!  | magic | version | points | salt | stream | first id | cut | predecessor | flags | digest |
//!  64       72        80             84                 124
//!  | end    | next id | index check  | reserved (zeros) | checksum |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | point | | a frame: the index of its first entry, and its offset in units of 8 bytes |
//! | magic | 8 bytes | `IRONWEND` |
//! | points | u32 | how many points there are |
//! | salt … flags | | as in a [slot](super::header) |
//! | digest | u32 | CRC-32C over the checksums (u32 each) of all frames |
//! | end | u64 | where the frames end |
//! | next id | u64 | the id behind the last entry |
//! | index check | u32 | CRC-32C over the points |
//! | checksum | u32 | CRC-32C over the bytes before it |
//!
//! A seal is valid if and only if its magic, version and checksum (in this order) match, its salt is
//! the root's and its first id the one in the file's name, and `end + 8 × points + 128` is the
//! length of the file. Its points are valid if and only if their check matches and both their
//! fields rise. A seal says what the segment holds, not that it is durable: that takes a proof.

use super::fields::{put, u32_at, u64_at};
use super::header::{Constants, HEADER_LEN, check_structure, frame_structure};
use super::{ALIGN, Unreadable, checksum};

/// The bytes of the seal without its points.
pub(crate) const SEAL_LEN: usize = 128;

/// The same, where file offsets are counted.
pub(crate) const SEAL_BYTES: u64 = 128;

/// The bytes of a point.
pub(crate) const POINT_LEN: u64 = 8;

const MAGIC: [u8; 8] = *b"IRONWEND";

/// A place in the sparse index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// The id of the frame's first entry, less the first id of the segment.
    pub(crate) index: u32,
    /// Where the frame begins, in units of 8 bytes.
    pub(crate) offset_units: u32,
}

impl Point {
    /// The point of the frame at `offset` bytes.
    pub(crate) fn new(index: u32, offset: u64) -> Option<Self> {
        Some(Self { index, offset_units: u32::try_from(offset / ALIGN).ok()? })
    }

    /// Where the frame begins, in bytes.
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.offset_units) * ALIGN
    }
}

/// A seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    /// The same as in the header.
    pub(crate) constants: Constants,
    /// Where the frames end, in bytes.
    pub(crate) end: u64,
    /// The id behind the last entry.
    pub(crate) next_id: u64,
    /// CRC-32C over the checksums of all frames.
    pub(crate) digest: u32,
    /// How many points the sparse index has.
    pub(crate) points: u32,
    /// CRC-32C over the points.
    pub(crate) index_check: u32,
}

impl Seal {
    /// The bytes of points and seal, to stand at `end`; `None` if there are too many points.
    pub(crate) fn encode(
        constants: Constants,
        end: u64,
        next_id: u64,
        digest: u32,
        points: &[Point],
    ) -> Option<Vec<u8>> {
        let count = u32::try_from(points.len()).ok()?;
        let mut out = Vec::with_capacity(points.len() * 8 + SEAL_LEN);
        for point in points {
            out.extend_from_slice(&point.index.to_le_bytes());
            out.extend_from_slice(&point.offset_units.to_le_bytes());
        }
        let index_check = checksum::of(&out);
        let mut seal = [0; SEAL_LEN];
        constants.put(&mut seal);
        put(&mut seal, 12, count.to_le_bytes());
        put(&mut seal, 60, digest.to_le_bytes());
        put(&mut seal, 64, end.to_le_bytes());
        put(&mut seal, 72, next_id.to_le_bytes());
        put(&mut seal, 80, index_check.to_le_bytes());
        frame_structure(&mut seal, MAGIC);
        out.extend_from_slice(&seal);
        Some(out)
    }

    /// The bytes that points and seal take at most in a segment with `points` points.
    pub(crate) fn len_with(points: u64) -> u64 {
        points * POINT_LEN + SEAL_BYTES
    }

    /// The seal in the last bytes of a file of `file_len` bytes, if it is a valid one of the segment
    /// that begins with `first_id` in the log with this salt.
    pub(crate) fn decode(
        bytes: &[u8],
        file_len: u64,
        salt: u64,
        first_id: u64,
    ) -> Result<Self, Unreadable> {
        let Some(bytes) = bytes.get(..SEAL_LEN) else {
            return Err(Unreadable::NotThis);
        };
        let checked = check_structure(bytes, MAGIC);
        let constants = Constants::at(bytes);
        if constants.salt != salt || constants.first_id != first_id {
            return Err(Unreadable::NotThis);
        }
        if matches!(checked, Err(Unreadable::Newer(_))) && !is_whole(bytes) {
            return Err(Unreadable::Damaged);
        }
        checked?;
        let seal = Self {
            constants,
            end: u64_at(bytes, 64),
            next_id: u64_at(bytes, 72),
            digest: u32_at(bytes, 60),
            points: u32_at(bytes, 12),
            index_check: u32_at(bytes, 80),
        };
        let len = seal.end.checked_add(Self::len_with(u64::from(seal.points)));
        if len != Some(file_len) || seal.end < HEADER_LEN || seal.next_id < first_id {
            return Err(Unreadable::Damaged);
        }
        Ok(seal)
    }

    /// The points in these bytes, if they are this seal's.
    pub(crate) fn decode_points(&self, bytes: &[u8]) -> Result<Vec<Point>, Unreadable> {
        if bytes.len() as u64 != u64::from(self.points) * POINT_LEN
            || checksum::of(bytes) != self.index_check
        {
            return Err(Unreadable::Damaged);
        }
        let points: Vec<Point> = bytes
            .chunks_exact(8)
            .map(|point| Point { index: u32_at(point, 0), offset_units: u32_at(point, 4) })
            .collect();
        let rises = points.windows(2).all(|pair| {
            pair[0].index < pair[1].index && pair[0].offset_units < pair[1].offset_units
        });
        let inside = points.iter().all(|point| (HEADER_LEN..self.end).contains(&point.offset()));
        if rises && inside { Ok(points) } else { Err(Unreadable::Damaged) }
    }
}

/// Whether the checksum matches. It is in the same place in every version, because a seal that was not synced
/// can be torn and say anything, also of its version, and has no second copy.
fn is_whole(bytes: &[u8]) -> bool {
    let checksum_at = SEAL_LEN - 4;
    checksum::of(&bytes[..checksum_at]) == u32_at(bytes, checksum_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANTS: Constants = Constants {
        salt: 1,
        stream_number: 2,
        first_id: 3,
        cut_number: 4,
        predecessor_end: 8200,
        predecessor_synced: false,
    };

    fn encoded() -> Vec<u8> {
        let points = [Point::new(0, 8192).unwrap(), Point::new(9, 12_304).unwrap()];
        Seal::encode(CONSTANTS, 16_000, 30, 5, &points).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = encoded();
        let seal = Seal::decode(&bytes[16..], 16_000 + bytes.len() as u64, 1, 3).unwrap();
        assert_eq!(seal.constants, CONSTANTS);
        assert_eq!((seal.end, seal.next_id, seal.digest, seal.points), (16_000, 30, 5, 2));
        let points = seal.decode_points(&bytes[..16]).unwrap();
        assert_eq!((points[1].index, points[1].offset()), (9, 12_304));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let whole = encoded();
        let file_len = 16_000 + whole.len() as u64;
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = Seal::decode(&bytes[16..], file_len, 1, 3)
                .and_then(|seal| seal.decode_points(&bytes[..16]));
            assert!(read.is_err(), "bit {bit}");
        }
    }

    /// Under a checksum that matches.
    #[test]
    fn points_that_do_not_rise_or_lie_outside_are_damage() {
        let decoded = |points: &[(u32, u64)]| {
            let points: Vec<Point> =
                points.iter().map(|(index, at)| Point::new(*index, *at).unwrap()).collect();
            let bytes = Seal::encode(CONSTANTS, 16_000, 30, 5, &points).unwrap();
            let (points, seal) = bytes.split_at(points.len() * 8);
            let seal = Seal::decode(seal, 16_000 + bytes.len() as u64, 1, 3).unwrap();
            seal.decode_points(points).map(|points| points.len())
        };
        assert_eq!(decoded(&[(0, 8192), (9, 12_304), (12, 15_992)]), Ok(3));
        for points in [
            [(0, 8192), (0, 12_304)],
            [(9, 8192), (3, 12_304)],
            [(0, 8192), (9, 8192)],
            [(0, 12_304), (9, 8192)],
            [(0, 8184), (9, 12_304)],
            [(0, 8192), (9, 16_000)],
        ] {
            assert_eq!(decoded(&points), Err(Unreadable::Damaged), "{points:?}");
        }
    }

    #[test]
    fn a_seal_is_valid_in_its_place_only() {
        let bytes = encoded();
        let file_len = 16_000 + bytes.len() as u64;
        assert_eq!(Seal::decode(&bytes[16..], file_len + 8, 1, 3), Err(Unreadable::Damaged));
        assert_eq!(Seal::decode(&bytes[16..], file_len, 2, 3), Err(Unreadable::NotThis));
        assert_eq!(Seal::decode(&bytes[16..], file_len, 1, 4), Err(Unreadable::NotThis));
        assert_eq!(Seal::decode(&bytes[17..], file_len, 1, 3), Err(Unreadable::NotThis));
    }

    /// Under a checksum that matches.
    #[test]
    fn a_seal_that_contradicts_itself_is_damage() {
        let decoded = |end: u64, next_id| {
            let bytes = Seal::encode(CONSTANTS, end, next_id, 5, &[]).unwrap();
            Seal::decode(&bytes, end + bytes.len() as u64, 1, 3)
        };
        assert!(decoded(8192, 3).is_ok());
        assert_eq!(decoded(8184, 3), Err(Unreadable::Damaged), "it ends within the header");
        assert_eq!(decoded(8192, 2), Err(Unreadable::Damaged), "it ends before it begins");
    }

    #[test]
    fn so_many_points_as_the_seal_says_are_an_index() {
        let bytes = encoded();
        let seal = Seal::decode(&bytes[16..], 16_000 + bytes.len() as u64, 1, 3).unwrap();
        for points in [0, 1, 3] {
            let points = Seal { points, ..seal }.decode_points(&bytes[..16]);
            assert_eq!(points, Err(Unreadable::Damaged));
        }
    }

    #[test]
    fn a_newer_version_is_not_damage_and_a_damaged_version_is_not_newer() {
        let bytes = encoded();
        let file_len = 16_000 + bytes.len() as u64;
        let mut newer = bytes[16..].to_vec();
        put(&mut newer, 8, 7_u32.to_le_bytes());
        assert_eq!(Seal::decode(&newer, file_len, 1, 3), Err(Unreadable::Damaged));
        let checksum = checksum::of(&newer[..SEAL_LEN - 4]);
        put(&mut newer, SEAL_LEN - 4, checksum.to_le_bytes());
        assert_eq!(Seal::decode(&newer, file_len, 1, 3), Err(Unreadable::Newer(7)));
        assert_eq!(
            Seal::decode(&newer, file_len, 2, 3),
            Err(Unreadable::NotThis),
            "somebody's entry"
        );
    }
}
