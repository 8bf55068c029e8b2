//! A frame of the journal: shares of streams that become durable together.
//!
//! ```text
//!  0          4      8         12         16         24           32        40      48       60
//!  | checksum | head | records | previous | sequence | generation | payload | first | zeros  | check |
//!  64            64 + 32 r                64 + 32 (r + p)
//!  | directory   | repeated directory     | payload | padding |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | checksum | u32 | the CRC up to the end of the payload |
//! | head | u32 | the CRC up to the end of the directories |
//! | records | u32 | r, the records of the directory |
//! | previous | u32 | p, the records of the frame before this one, which are repeated |
//! | sequence | u64 | 1 for the first frame that a process writes, then counting on |
//! | generation | u64 | that of the file |
//! | payload | u64 | bytes of the payload |
//! | first | u64 | the sequence of the first frame in this file |
//! | check | u32 | the CRC up to this field |
//! | directory | 32 each | what the shares are ([`Record`]) |
//! | repeated directory | 32 each | that of the frame with the sequence before |
//! | payload | | the bytes of the shares, one after another |
//! | padding | | zeros, to a multiple of 4096 |
//!
//! The three checksums are one CRC-32C, seeded with the place, over the bytes 8 to 59, then the
//! directories, then the payload, noted at three points on the way. So a payload is trusted only with
//! its directory, and that only with its header; but each stays readable when what is behind it is
//! damaged. With the `check`, the length of a frame is known although its directory is damaged, and a
//! search passes over a place without one after 64 bytes.
//!
//! A *header* is valid if and only if its `check` matches, its generation is the file's, it has
//! between 1 and [`MAX_RECORDS`] records, at most as many of the previous frame, and none of those if
//! and only if its sequence is 1; `first` is at least 1 and at most the sequence, and equal to it if and only
//! if the frame is the first of the file; the bytes 48 to 59 are zeros, and the whole frame is at
//! most [`MAX_JOURNAL_FRAME_LEN`] bytes.
//!
//! The *directories* of a valid header are valid if and only if they end inside the file, `head` matches,
//! every record is valid, and the lengths of the records add up to that of the payload.
//!
//! A frame is valid if and only if its header and its directories are, its payload ends inside the
//! file, and its `checksum` matches.

use std::ops::Range;

use super::{
    JOURNAL_HEADER_LEN, MAX_JOURNAL_FRAME_LEN, MAX_RECORDS, RECORD_LEN, Record, shares_len,
};
use crate::format::BLOCK_LEN;
use crate::format::checksum::{self, JournalSeed};
use crate::format::fields::{put, u32_at, u64_at};

/// The bytes before the directory.
pub(crate) const JOURNAL_FRAME_HEADER_LEN: usize = 64;

/// The same, where file offsets are counted.
const HEADER_BYTES: u64 = 64;

/// Where a frame is going to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalPlace {
    /// The salt of the root.
    pub(crate) salt: u64,
    /// The generation of the file.
    pub(crate) generation: u64,
    /// Where the frame begins in the file, in bytes.
    pub(crate) offset: u64,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// The sequence of the first frame in the file.
    pub(crate) first: u64,
}

/// The bytes of a frame, padding included.
pub(crate) fn frame_len(records: u64, previous: u64, payload_len: u64) -> u64 {
    let len = head_len(records, previous).saturating_add(payload_len);
    len.checked_next_multiple_of(BLOCK_LEN).unwrap_or(u64::MAX)
}

/// The bytes before the payload.
fn head_len(records: u64, previous: u64) -> u64 {
    records.saturating_add(previous).saturating_mul(RECORD_LEN).saturating_add(HEADER_BYTES)
}

/// Appends a frame to `out`, whole blocks with the padding, and returns where the payload is; `None`,
/// with `out` as it was, if the frame would not be valid: too long, too many records, a payload that is
/// not as long as the records say.
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    place: JournalPlace,
    records: &[Record],
    previous: &[Record],
    payload: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Range<usize>> {
    let start = out.len();
    let encoded = try_encode(out, place, records, previous, payload);
    if encoded.is_none() {
        out.truncate(start);
    }
    encoded
}

fn try_encode<'a>(
    out: &mut Vec<u8>,
    place: JournalPlace,
    records: &[Record],
    previous: &[Record],
    payload: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Range<usize>> {
    let header = JournalFrame {
        offset: place.offset,
        records: u32::try_from(records.len()).ok()?,
        previous: u32::try_from(previous.len()).ok()?,
        sequence: place.sequence,
        payload_len: shares_len(records),
        first: place.first,
        checksum: 0,
        head: 0,
        check: 0,
    };
    if !header.is_possible() || place.generation == 0 {
        return None;
    }
    let frame_len = usize::try_from(header.len()).ok()?;

    let start = out.len();
    out.reserve(frame_len);
    out.extend_from_slice(&[0; JOURNAL_FRAME_HEADER_LEN]);
    let fields = &mut out[start..];
    put(fields, 8, header.records.to_le_bytes());
    put(fields, 12, header.previous.to_le_bytes());
    put(fields, 16, header.sequence.to_le_bytes());
    put(fields, 24, place.generation.to_le_bytes());
    put(fields, 32, header.payload_len.to_le_bytes());
    put(fields, 40, header.first.to_le_bytes());
    let seed = JournalSeed::new(place.salt, place.generation);
    let check = checksum::append(seed.at(place.offset), &fields[8..60]);
    put(fields, 60, check.to_le_bytes());

    for record in records.iter().chain(previous) {
        out.extend_from_slice(&record.encode()?);
    }
    let head = checksum::append(check, &out[start + JOURNAL_FRAME_HEADER_LEN..]);
    put(&mut out[start..], 4, head.to_le_bytes());

    let payload_start = out.len();
    let mut left = usize::try_from(header.payload_len).ok()?;
    for part in payload {
        left = left.checked_sub(part.len())?;
        out.extend_from_slice(part);
    }
    if left > 0 {
        return None;
    }
    let payload = payload_start..out.len();
    let checksum = checksum::append(head, &out[payload_start..]);
    put(&mut out[start..], 0, checksum.to_le_bytes());
    out.resize(start + frame_len, 0);
    Some(payload)
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JournalFrame {
    pub(super) offset: u64,
    pub(super) records: u32,
    pub(super) previous: u32,
    pub(super) sequence: u64,
    pub(super) payload_len: u64,
    pub(super) first: u64,
    pub(super) checksum: u32,
    /// What the checksum is up to the end of the directories.
    pub(super) head: u32,
    /// What it is up to the end of the header.
    check: u32,
}

impl JournalFrame {
    /// The bytes of the whole frame, padding included.
    pub(super) fn len(&self) -> u64 {
        frame_len(self.records.into(), self.previous.into(), self.payload_len)
    }

    /// The bytes before the payload.
    pub(super) fn head_len(&self) -> u64 {
        head_len(self.records.into(), self.previous.into())
    }

    fn is_possible(&self) -> bool {
        let is_first = self.offset == JOURNAL_HEADER_LEN;
        self.offset >= JOURNAL_HEADER_LEN
            && self.offset.is_multiple_of(BLOCK_LEN)
            && (1..=MAX_RECORDS).contains(&self.records)
            && self.previous <= MAX_RECORDS
            && (self.previous == 0) == (self.sequence == 1)
            && (1..=self.sequence).contains(&self.first)
            && is_first == (self.sequence == self.first)
            && self.len() <= MAX_JOURNAL_FRAME_LEN
            && self.offset.checked_add(self.len()).is_some()
    }
}

/// The header at the start of `window`, which holds the bytes from `offset` on, if it is a valid one
/// of this generation.
pub(super) fn peek(
    window: &[u8],
    offset: u64,
    seed: JournalSeed,
    generation: u64,
) -> Option<JournalFrame> {
    let header = window.get(..JOURNAL_FRAME_HEADER_LEN)?;
    if u64_at(header, 24) != generation || header[48..60] != [0; 12] {
        return None;
    }
    let frame = JournalFrame {
        offset,
        checksum: u32_at(header, 0),
        head: u32_at(header, 4),
        records: u32_at(header, 8),
        previous: u32_at(header, 12),
        sequence: u64_at(header, 16),
        payload_len: u64_at(header, 32),
        first: u64_at(header, 40),
        check: u32_at(header, 60),
    };
    let is_valid =
        frame.is_possible() && checksum::append(seed.at(offset), &header[8..60]) == frame.check;
    is_valid.then_some(frame)
}

/// The directory and the repeated one, if they are valid; `head` are the bytes before the payload.
pub(super) fn directories(frame: &JournalFrame, head: &[u8]) -> Option<(Vec<Record>, Vec<Record>)> {
    let head = head.get(..usize::try_from(frame.head_len()).ok()?)?;
    let bytes = &head[JOURNAL_FRAME_HEADER_LEN..];
    if checksum::append(frame.check, bytes) != frame.head {
        return None;
    }
    let (records, _) = bytes.as_chunks::<32>();
    let (own, previous) = records.split_at_checked(usize::try_from(frame.records).ok()?)?;
    let decode = |records: &[[u8; 32]]| -> Option<Vec<Record>> {
        records.iter().map(|record| Record::decode(record)).collect()
    };
    let (own, previous) = (decode(own)?, decode(previous)?);
    (shares_len(&own) == frame.payload_len).then_some((own, previous))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GENERATION: u64 = 5;

    fn place(sequence: u64) -> JournalPlace {
        let offset = JOURNAL_HEADER_LEN + 4096 * (sequence - 1);
        JournalPlace { salt: 9, generation: GENERATION, offset, sequence, first: 1 }
    }

    fn share(stream_number: u64, len: u64) -> Record {
        Record { stream_number, segment: 0, index: 4, count: 2, offset: 8192, len }
    }

    fn decoded(
        bytes: &[u8],
        place: JournalPlace,
    ) -> Option<(JournalFrame, Vec<Record>, Vec<Record>)> {
        let seed = JournalSeed::new(place.salt, place.generation);
        let frame = peek(bytes, place.offset, seed, place.generation)?;
        let (own, previous) = directories(&frame, bytes)?;
        Some((frame, own, previous))
    }

    #[test]
    fn the_bytes_of_a_frame() {
        assert_eq!(frame_len(1, 0, 24), 4096);
        assert_eq!(frame_len(1, 1, 4096 - 128), 4096);
        assert_eq!(frame_len(1, 1, 4096 - 127), 8192);
        assert_eq!(frame_len(u64::MAX, 1, 1), u64::MAX);
    }

    #[test]
    fn what_is_not_valid_is_not_encoded() {
        let record = share(1, 24);
        let payload: [&[u8]; 1] = [&[1; 24]];
        let refused = |place, records: &[Record], previous: &[Record], payload: &[&[u8]]| {
            let mut out = vec![7];
            let encoded = encode(&mut out, place, records, previous, payload.iter().copied());
            assert_eq!(encoded.is_none(), out == [7]);
            encoded.is_none()
        };
        assert!(!refused(place(1), &[record], &[], &payload));
        assert!(!refused(place(2), &[record], &[record], &payload));
        assert!(refused(place(1), &[], &[], &[]), "no record");
        assert!(refused(place(1), &[record], &[record], &payload), "nothing was before it");
        assert!(refused(place(2), &[record], &[], &payload), "something was before it");
        assert!(refused(place(1), &[record], &[], &[&[1; 16]]), "too few bytes");
        assert!(refused(place(1), &[record], &[], &[&[1; 16], &[1; 16]]), "too many");
        assert!(refused(place(1), &[share(1, 16)], &[], &[&[1; 16]]), "not a share");
        let many = vec![Record::void(1); 1 + (1 << 20)];
        assert!(refused(place(1), &many, &[], &[]));
        assert!(refused(place(2), &[record], &many, &payload));
        assert!(!refused(place(1), &many[1..], &[], &[]));
        let long = [share(1, (1 << 32) - 8192), share(2, 8000)];
        assert!(frame_len(2, 0, shares_len(&long)) <= MAX_JOURNAL_FRAME_LEN);
        let long = [share(1, (1 << 32) - 8192), share(2, 8192)];
        assert!(refused(place(1), &long, &[], &[]));
        for (offset, sequence, first, generation) in [
            (4096, 1, 1, 1),
            (4096, 2, 1, 1),
            (8200, 2, 1, 1),
            (12_288, 1, 1, 1),
            (8192, 2, 1, 1),
            (8192, 1, 1, 0),
        ] {
            let place = JournalPlace { offset, sequence, first, generation, salt: 9 };
            let previous: &[Record] = if sequence == 1 { &[] } else { &[record] };
            assert!(refused(place, &[record], previous, &payload), "{place:?}");
        }
    }

    #[test]
    fn a_frame_is_valid_in_its_place_only() {
        let mut out = Vec::new();
        encode(&mut out, place(2), &[share(1, 24)], &[share(2, 32)], [&[1; 24][..]]).unwrap();
        assert!(decoded(&out, place(2)).is_some());
        assert!(decoded(&out, place(3)).is_none());
        assert!(decoded(&out, JournalPlace { salt: 8, ..place(2) }).is_none());
        // The generation is in the seed too: a frame that says another one is not enough.
        let seed = JournalSeed::new(9, GENERATION + 1);
        assert!(peek(&out, place(2).offset, seed, GENERATION).is_none());
        put(&mut out, 24, (GENERATION + 1).to_le_bytes());
        assert!(decoded(&out, JournalPlace { generation: GENERATION + 1, ..place(2) }).is_none());
    }

    /// Fields that nobody writes, under checksums that match.
    #[test]
    fn impossible_fields_make_no_header_or_no_directory() {
        let forged = |change: &dyn Fn(&mut [u8])| {
            let mut out = Vec::new();
            encode(&mut out, place(2), &[share(1, 24)], &[share(2, 32)], [&[1; 24][..]]).unwrap();
            change(&mut out);
            let seed = JournalSeed::new(9, GENERATION).at(place(2).offset);
            let check = checksum::append(seed, &out[8..60]);
            put(&mut out, 60, check.to_le_bytes());
            let head = checksum::append(check, &out[64..128]);
            put(&mut out, 4, head.to_le_bytes());
            let seed = JournalSeed::new(9, GENERATION);
            let header = peek(&out, place(2).offset, seed, GENERATION);
            header.map(|frame| directories(&frame, &out).is_some())
        };
        assert_eq!(forged(&|_| {}), Some(true));
        for (at, field) in [(8, 0), (8, MAX_RECORDS + 1), (12, 0), (12, MAX_RECORDS + 1), (16, 1)] {
            assert_eq!(forged(&|out| put(out, at, field.to_le_bytes())), None, "{field} at {at}");
        }
        for (at, field) in [(24, GENERATION + 1), (32, MAX_JOURNAL_FRAME_LEN), (40, 0), (40, 2)] {
            assert_eq!(forged(&|out| put(out, at, field.to_le_bytes())), None, "{field} at {at}");
        }
        for at in 48..60 {
            assert_eq!(forged(&|out| out[at] = 1), None, "reserved {at}");
        }
        assert_eq!(forged(&|out| out[32] = 32), Some(false), "the lengths add up to 24");
        assert_eq!(forged(&|out| out[64 + 28] = 2), Some(false), "no share is so short");
        assert_eq!(forged(&|out| out[96 + 20] = 0), Some(false), "half a void, repeated");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (records, previous) = ([share(1, 24), Record::void(3)], [share(2, 32)]);
        let mut out = Vec::new();
        encode(&mut out, place(2), &records, &previous, [&[1; 24][..]]).unwrap();
        let (whole, ..) = decoded(&out, place(2)).unwrap();
        let (head_end, end) = (64 + 3 * 32, 64 + 3 * 32 + 24);
        for bit in 0..end * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            let found = decoded(&out, place(2));
            let readable = found.is_some();
            let in_head = (4..head_end).contains(&(bit / 8));
            assert_eq!(readable, !in_head, "bit {bit}");
            if let Some((frame, own, repeated)) = found {
                assert_eq!((&own[..], &repeated[..]), (&records[..], &previous[..]));
                let checksum = checksum::append(frame.head, &out[head_end..end]);
                assert_ne!(checksum, frame.checksum, "bit {bit}");
            }
            out[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(checksum::append(whole.head, &out[head_end..end]), whole.checksum);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            lens in prop::collection::vec(prop::option::of(3_u64..600), 1..40),
            previous in prop::collection::vec(any::<u64>(), 1..40),
        ) {
            let record = |(nth, len): (u64, &Option<u64>)| match len {
                Some(len) => share(nth, len * 8),
                None => Record::void(nth),
            };
            let records: Vec<Record> = (0..).zip(&lens).map(record).collect();
            let previous: Vec<Record> = previous.into_iter().map(Record::void).collect();
            let parts: Vec<Vec<u8>> =
                lens.iter().flatten().map(|len| vec![*len as u8; 8 * *len as usize]).collect();
            let mut out = Vec::new();
            let payload = parts.iter().map(Vec::as_slice);
            encode(&mut out, place(2), &records, &previous, payload).unwrap();
            let (frame, own, repeated) = decoded(&out, place(2)).unwrap();
            prop_assert_eq!(frame.len(), out.len() as u64);
            prop_assert_eq!((own, repeated), (records, previous));
            let start = frame.head_len() as usize;
            let (payload, padding) = out[start..].split_at(frame.payload_len as usize);
            prop_assert_eq!(payload, &parts.concat()[..]);
            prop_assert!(padding.len() < 4096 && padding.iter().all(|byte| *byte == 0));
            prop_assert_eq!(checksum::append(frame.head, payload), frame.checksum);
        }
    }
}
