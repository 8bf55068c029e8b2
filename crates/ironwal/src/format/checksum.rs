//! CRC-32C (Castagnoli, as in RFC 3720 appendix B.4), and the seed that ties a frame to its place.

use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What each value of each byte of a word adds to its checksum: the first byte's are in the last table.
const TABLES: [[u32; 256]; 8] = tables();

/// A CRC-32C that can be continued: `append(append(0, a), b)` is the checksum of `a ‖ b`.
pub(crate) fn append(checksum: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!checksum));
    digest.update(bytes);
    let [a, b, c, d, ..] = digest.finalize().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The same for at most 8 bytes, which is all that many seeds and headers need.
#[inline]
pub(crate) fn append_short(checksum: u32, bytes: &[u8]) -> u32 {
    let (state, len) = (!checksum, bytes.len().min(8));
    let rest = if len < 4 { state >> (8 * len) } else { 0 };
    let state = u64::from(state).to_le_bytes();
    let terms = bytes.iter().zip(state).zip(TABLES[..len].iter().rev());
    !terms.fold(rest, |sum, ((byte, state), table)| sum ^ table[usize::from(byte ^ state)])
}

/// The same for one word, in little-endian order.
#[inline]
pub(crate) fn append_word(checksum: u32, word: u64) -> u32 {
    append_short(checksum, &word.to_le_bytes())
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let (mut value, mut first) = (0, 0);
    while value < 256 {
        let mut sum = first;
        let mut table = 0;
        while table < 8 {
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
                bit += 1;
            }
            tables[table][value] = sum;
            table += 1;
        }
        (value, first) = (value + 1, first + 1);
    }
    tables
}

/// The checksum of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    append(0, bytes)
}

/// What every frame checksum of one segment starts from, so that a frame from anywhere else (another
/// log, stream or segment, a payload, a misdirected block) does not validate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentSeed(u32);

impl SegmentSeed {
    /// The seed of the segment of stream `stream_number` that begins with `first_id`.
    pub(crate) fn new(salt: u64, stream_number: u64, first_id: u64) -> Self {
        let seed = append_word(append_word(0, salt), stream_number);
        Self(append_word(seed, first_id))
    }

    /// The seed of the frame that begins `offset` bytes into the segment.
    pub(crate) fn at(self, offset: u64) -> u32 {
        append_word(self.0, offset)
    }
}

/// The number in place of a stream's in the seed of a journal. No stream has it: numbers lie below
/// the root's `numbers end`, which is a `u64`.
const JOURNAL_NUMBER: u64 = u64::MAX;

/// What every checksum of the frames of one generation of a journal file starts from. No segment of
/// the log has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalSeed(SegmentSeed);

impl JournalSeed {
    /// The seed of this generation.
    pub(crate) fn new(salt: u64, generation: u64) -> Self {
        Self(SegmentSeed::new(salt, JOURNAL_NUMBER, generation))
    }

    /// The seed of the frame that begins `offset` bytes into the file.
    pub(crate) fn at(self, offset: u64) -> u32 {
        self.0.at(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_castagnoli_polynomial() {
        assert_eq!(of(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn can_be_continued_byte_by_byte_and_word_by_word() {
        let bytes: Vec<u8> = (0..200_u8).map(|nth| nth.wrapping_mul(37)).collect();
        for len in 0..bytes.len() {
            let (start, rest) = bytes.split_at(len);
            assert_eq!(append(of(start), rest), of(&bytes), "{len}");
            let by_byte = start.iter().fold(0, |sum, byte| append(sum, &[*byte]));
            assert_eq!(by_byte, of(start), "{len}");
            assert_eq!(of(start), crc32c::crc32c(start), "{len}");
        }
        for len in 1..=8 {
            let by_few = bytes.chunks(len).fold(0, append_short);
            assert_eq!(by_few, of(&bytes), "{len}");
        }
        assert_eq!(append_word(7, u64::from_le_bytes(*b"89abcdef")), append(7, b"89abcdef"));
        assert_eq!(append_short(7, b""), 7);
    }

    #[test]
    fn every_part_of_the_seed_counts() {
        let seed = SegmentSeed::new(1, 2, 3).at(8192);
        assert_ne!(seed, SegmentSeed::new(0, 2, 3).at(8192));
        assert_ne!(seed, SegmentSeed::new(1, 0, 3).at(8192));
        assert_ne!(seed, SegmentSeed::new(1, 2, 0).at(8192));
        assert_ne!(seed, SegmentSeed::new(1, 2, 3).at(8200));
    }

    #[test]
    fn a_journal_has_seeds_of_its_own() {
        let seed = JournalSeed::new(1, 3).at(8192);
        assert_ne!(seed, JournalSeed::new(0, 3).at(8192));
        assert_ne!(seed, JournalSeed::new(1, 4).at(8192));
        assert_ne!(seed, JournalSeed::new(1, 3).at(12_288));
        for stream in (0..1000).chain([u64::MAX - 1]) {
            assert_ne!(seed, SegmentSeed::new(1, stream, 3).at(8192));
        }
    }
}
