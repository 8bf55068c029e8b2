//! CRC-32C (Castagnoli, as in RFC 3720 appendix B.4), and the seed that ties a frame to its place.

/// A CRC-32C that can be continued: `append(append(0, a), b)` is the checksum of `a ‖ b`.
pub(crate) fn append(checksum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(checksum, bytes)
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
        let seed = append(0, &salt.to_le_bytes());
        let seed = append(seed, &stream_number.to_le_bytes());
        Self(append(seed, &first_id.to_le_bytes()))
    }

    /// The seed of the frame that begins `offset` bytes into the segment.
    pub(crate) fn at(self, offset: u64) -> u32 {
        append(self.0, &offset.to_le_bytes())
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
