//! The payload of a frame of entries, as it is without compression: a table, then the data.
//!
//! ```text
//!  whole             | end u32 | … | data |
//!  in pieces         | end u32 | … | sum u32 | … | data |
//!  in pieces, short  | end u16 | … | sum u32 | … | data |
//! ```
//!
//! The ends say where entry 0, 1, … ends in the data; the last entry ends with it. Data of more than
//! [`WHOLE_DATA_LEN_MAX`] bytes, of two entries at least, is checked in pieces of [`PIECE_LEN`] bytes,
//! so that one entry is read without the rest: there is a sum for each, and the last piece may be
//! shorter. The ends take two bytes each if and only if, in addition, the data has fewer than
//! [`LONG_DATA_LEN`] bytes.
//!
//! A sum is the CRC-32C of its piece; that of the last piece covers the padding of the frame, too.
//! It needs no seed: the sums are under the checksum of the frame, which has one.
//!
//! The lengths follow from the count and from the length of the payload: each has one layout at most.

use std::ops::Range;

use super::frame::padded_len;
use super::{ALIGN, MAX_FRAME_LEN, checksum};

/// Up to so many bytes of data are checked at once.
const WHOLE_DATA_LEN_MAX: u64 = 4096;

/// The bytes of a piece of the data.
pub(crate) const PIECE_LEN: u64 = 2048;

/// From so many bytes of data on, an end may not fit two bytes.
const LONG_DATA_LEN: u64 = 1 << 16;

/// The bytes of a sum.
const SUM_LEN: u64 = 4;

/// How the data is checked, and how long an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All of the data at once; ends of four bytes.
    Whole,
    /// In pieces; ends of four bytes.
    Pieces,
    /// In pieces; ends of two bytes.
    ShortPieces,
}

/// What stands where in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    count: u64,
    shape: Shape,
    data_len: u64,
}

/// A piece is not what its sum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPiece {
    /// The sum that is stored.
    pub(crate) expected: u32,
    /// The sum of the bytes that are there.
    pub(crate) found: u32,
}

impl Shape {
    /// The one in which so many entries are written that have so many bytes together.
    fn of(count: u64, data_len: u64) -> Self {
        if count < 2 || data_len <= WHOLE_DATA_LEN_MAX {
            Self::Whole
        } else if data_len < LONG_DATA_LEN {
            Self::ShortPieces
        } else {
            Self::Pieces
        }
    }

    /// The bytes of an end.
    #[inline]
    pub(crate) fn end_len(self) -> usize {
        if self == Self::ShortPieces { 2 } else { 4 }
    }
}

impl Layout {
    /// The layout in which so many entries are written that have so many bytes together.
    pub(crate) fn of(count: usize, data_len: u64) -> Self {
        let count = count as u64;
        Self { count, shape: Shape::of(count, data_len), data_len }
    }

    /// The layout of what is compressed: the same entries, to be checked as a whole.
    pub(crate) fn whole(self) -> Self {
        Self { shape: Shape::Whole, ..self }
    }

    /// The layout that a payload of this shape and length has; `None` if there is none.
    #[inline]
    pub(crate) fn found(shape: Shape, count: u32, payload_len: u64) -> Option<Self> {
        let count = u64::from(count);
        let ends_len = shape.end_len() as u64 * count.checked_sub(1)?;
        let behind = payload_len.checked_sub(ends_len)?;
        if shape == Shape::Whole {
            return Some(Self { count, shape, data_len: behind });
        }
        let pieces = behind.div_ceil(PIECE_LEN + SUM_LEN);
        let layout = Self { count, shape, data_len: behind.checked_sub(SUM_LEN * pieces)? };
        let is_written = layout.pieces() == pieces
            && layout.shape == Shape::of(count, layout.data_len)
            && layout.longest_len() <= MAX_FRAME_LEN;
        is_written.then_some(layout)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The bytes of the payload.
    pub(crate) fn len(&self) -> u64 {
        self.data_len.saturating_add(self.table_len())
    }

    /// The bytes of the frame, checked in pieces or as a whole, whichever has more: what
    /// [`MAX_FRAME_LEN`] bounds, so that it holds for any part of a batch if it does for the batch.
    pub(crate) fn longest_len(&self) -> u64 {
        padded_len(self.len().max(self.whole().len()))
    }

    /// The bytes of the ends.
    #[inline]
    fn ends_len(&self) -> u64 {
        self.shape.end_len() as u64 * self.count.saturating_sub(1)
    }

    /// The bytes of the ends and sums, before the data.
    #[inline]
    pub(crate) fn table_len(&self) -> u64 {
        self.ends_len() + SUM_LEN * self.pieces()
    }

    /// How many pieces the data has that are checked one by one.
    #[inline]
    pub(crate) fn pieces(&self) -> u64 {
        if self.shape == Shape::Whole { 0 } else { self.data_len.div_ceil(PIECE_LEN) }
    }

    /// The pieces in which these bytes of the data are.
    pub(crate) fn pieces_with(data: &Range<u64>) -> Range<u64> {
        data.start / PIECE_LEN..data.end.div_ceil(PIECE_LEN)
    }

    /// Where these pieces are in the data; the last one has the padding, too.
    pub(crate) fn place_of(&self, pieces: &Range<u64>) -> Range<u64> {
        let end = match pieces.end == self.pieces() {
            true => self.data_len + (self.len().next_multiple_of(ALIGN) - self.len()),
            false => pieces.end * PIECE_LEN,
        };
        pieces.start * PIECE_LEN..end
    }

    /// Whether `bytes`, which are these pieces, are what the sums in the table say.
    pub(crate) fn check_pieces(
        &self,
        table: &[u8],
        pieces: Range<u64>,
        bytes: &[u8],
    ) -> Result<(), BadPiece> {
        let (_, sums) = table.split_at(in_memory(self.ends_len()));
        let sums = sums.as_chunks::<4>().0.iter().skip(in_memory(pieces.start));
        let mut rest = bytes;
        for (nth, sum) in pieces.zip(sums) {
            let (piece, behind) = rest.split_at(self.piece_len(nth, rest));
            let (expected, found) = (u32::from_le_bytes(*sum), checksum::of(piece));
            if expected != found {
                return Err(BadPiece { expected, found });
            }
            rest = behind;
        }
        Ok(())
    }

    /// The bytes of this piece, which `rest` begins with; the last one is all of it.
    fn piece_len(&self, nth: u64, rest: &[u8]) -> usize {
        let len = if nth + 1 == self.pieces() { u64::MAX } else { PIECE_LEN };
        in_memory(len).min(rest.len())
    }

    /// Appends the table and the data of these entries, whose layout it is. The sums are zeros.
    pub(crate) fn put(&self, out: &mut Vec<u8>, entries: &[&[u8]]) -> Option<()> {
        match self.shape {
            Shape::ShortPieces => put_ends::<2>(out, entries)?,
            Shape::Whole | Shape::Pieces => put_ends::<4>(out, entries)?,
        }
        out.resize(out.len() + in_memory(SUM_LEN * self.pieces()), 0);
        entries.iter().for_each(|entry| out.extend_from_slice(entry));
        Some(())
    }

    /// Puts the sums of the data, with which the padding stands, into the payload.
    pub(crate) fn put_sums(&self, payload: &mut [u8]) {
        let (table, data) = payload.split_at_mut(in_memory(self.table_len()));
        let (sums, _) = table[in_memory(self.ends_len())..].as_chunks_mut::<4>();
        let mut rest = &*data;
        for (nth, sum) in (0..self.pieces()).zip(sums) {
            let (piece, behind) = rest.split_at(self.piece_len(nth, rest));
            *sum = checksum::of(piece).to_le_bytes();
            rest = behind;
        }
    }

    /// Whether the ends, which `bytes` begin with, contradict nothing, so that each entry is there.
    pub(crate) fn is_whole(&self, bytes: &[u8]) -> bool {
        let Some(ends) = bytes.get(..in_memory(self.ends_len())) else { return false };
        let last = match self.shape {
            Shape::ShortPieces => last_if_rising(ends, u16::from_le_bytes),
            Shape::Whole | Shape::Pieces => last_if_rising(ends, u32::from_le_bytes),
        };
        last.is_some_and(|last| last <= self.data_len)
    }

    /// Where entry `nth` is in the data, of which `bytes` begin with the ends; `None` if there is no
    /// such entry or the ends contradict themselves.
    pub(crate) fn place_of_entry(&self, bytes: &[u8], nth: u32) -> Option<Range<u64>> {
        let nth = u64::from(nth);
        let end_of = |nth: u64| match self.shape {
            _ if nth + 1 == self.count => Some(self.data_len),
            Shape::ShortPieces => end_at(bytes, nth, u16::from_le_bytes),
            Shape::Whole | Shape::Pieces => end_at(bytes, nth, u32::from_le_bytes),
        };
        let start = if nth == 0 { 0 } else { end_of(nth - 1)? };
        let end = if nth < self.count { end_of(nth)? } else { return None };
        (start <= end && end <= self.data_len).then_some(start..end)
    }

    /// The same in the payload.
    pub(crate) fn entry(&self, payload: &[u8], nth: u32) -> Option<Range<usize>> {
        let data = self.place_of_entry(payload, nth)?;
        let (start, end) = (self.table_len() + data.start, self.table_len() + data.end);
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
}

/// A length or place in bytes that are in memory.
#[inline]
pub(crate) fn in_memory(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Appends the ends of these entries but the last, which fit `N` bytes.
fn put_ends<const N: usize>(out: &mut Vec<u8>, entries: &[&[u8]]) -> Option<()> {
    let mut end: u32 = 0;
    for entry in entries.split_last()?.1 {
        end += u32::try_from(entry.len()).ok()?;
        out.extend_from_slice(end.to_le_bytes().first_chunk::<N>()?);
    }
    Some(())
}

/// The last of these ends, 0 if there are none, and `None` if one is below the one before it. It looks
/// at all of them, which is faster than to stop.
fn last_if_rising<const N: usize, T: Copy + Ord + Into<u64>>(
    ends: &[u8],
    decode: impl Fn([u8; N]) -> T,
) -> Option<u64> {
    let (ends, _) = ends.as_chunks::<N>();
    let Some(last) = ends.last() else { return Some(0) };
    let neighbours = ends.iter().zip(&ends[1..]);
    let rise = neighbours.fold(true, |rise, (end, next)| rise & (decode(*end) <= decode(*next)));
    rise.then(|| decode(*last).into())
}

/// The end with this number.
fn end_at<const N: usize, T: Into<u64>>(
    ends: &[u8],
    nth: u64,
    decode: impl Fn([u8; N]) -> T,
) -> Option<u64> {
    let at = usize::try_from(nth).ok()?.checked_mul(N)?;
    ends.get(at..)?.first_chunk::<N>().map(|end| decode(*end).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The payload of these entries, its padding and its layout.
    fn written(entries: &[&[u8]]) -> (Vec<u8>, Layout) {
        let data_len = entries.iter().map(|entry| entry.len() as u64).sum();
        let layout = Layout::of(entries.len(), data_len);
        let mut payload = Vec::new();
        layout.put(&mut payload, entries).unwrap();
        assert_eq!(payload.len() as u64, layout.len());
        payload.resize(payload.len().next_multiple_of(8), 0);
        if layout.pieces() > 0 {
            layout.put_sums(&mut payload);
        }
        (payload, layout)
    }

    fn is_checked(payload: &[u8], layout: &Layout) -> bool {
        let (table, data) = payload.split_at(layout.table_len() as usize);
        layout.check_pieces(table, 0..layout.pieces(), data).is_ok()
    }

    /// What is written is read back, all at once and in any pieces.
    fn check(entries: &[&[u8]]) {
        let (payload, layout) = written(entries);
        let count = entries.len() as u32;
        assert_eq!(Layout::found(layout.shape(), count, layout.len()), Some(layout));
        assert!(layout.is_whole(&payload) && is_checked(&payload, &layout));
        let (table, data) = payload.split_at(layout.table_len() as usize);
        for (nth, entry) in (0..count).zip(entries) {
            assert_eq!(&payload[layout.entry(&payload, nth).unwrap()], *entry, "{nth}");
            let place = layout.place_of_entry(table, nth).unwrap();
            if layout.pieces() == 0 || place.is_empty() {
                continue;
            }
            let pieces = Layout::pieces_with(&place);
            let around = layout.place_of(&pieces);
            assert!(around.start <= place.start && place.end <= around.end, "{nth}");
            let bytes = &data[around.start as usize..around.end as usize];
            assert_eq!(layout.check_pieces(table, pieces, bytes), Ok(()), "{nth}");
        }
        assert_eq!(layout.entry(&payload, count), None);
    }

    /// `count` entries, of which the last one has what is left of so many bytes.
    fn check_lens(count: usize, each: usize, data_len: usize) -> Shape {
        let data: Vec<u8> = (0..data_len).map(|nth| (nth * 31 / 8) as u8).collect();
        let (most, last) = data.split_at(each * (count - 1));
        let mut entries: Vec<&[u8]> = match each {
            0 => vec![&[]; count - 1],
            each => most.chunks_exact(each).collect(),
        };
        entries.push(last);
        check(&entries);
        Layout::of(count, data_len as u64).shape()
    }

    #[test]
    fn the_shape_depends_on_count_and_length() {
        use Shape::{Pieces, ShortPieces, Whole};
        for (count, data_len, shape) in [
            (1, 4097, Whole),
            (1, 100_000, Whole),
            (2, 4096, Whole),
            (2, 4097, ShortPieces),
            (100, 4096, Whole),
            (100, 6 * 1024 + 1, ShortPieces),
            (100, 65_535, ShortPieces),
            (2, 65_535, ShortPieces),
            (2, 65_536, Pieces),
            (100, 65_536, Pieces),
            (100, 65_537, Pieces),
        ] {
            for each in [0, 1, 20, 40] {
                assert_eq!(check_lens(count, each, data_len), shape, "{count}, {data_len}, {each}");
            }
        }
    }

    #[test]
    fn entries_lie_in_one_piece_or_over_several_or_are_empty() {
        let piece = [7; PIECE_LEN as usize];
        check(&[&piece, &piece, &piece]);
        check(&[&piece, b"", b"", &piece, b"", &[8; 5000], b""]);
        check(&[&[1; 5000], &[2; 70_000], b"", b"3"]);
        check(&[b"", b"", &[1; 4097]]);
        check(&[&[1; 4097], b"", b""]);
        check(&[b"", b"", b""]);
        check(&[b""]);
        // The last piece has one byte, and padding of any length.
        for count in 2..10 {
            check_lens(count, 3, 3 * PIECE_LEN as usize + 1);
        }
    }

    /// Whoever wants one entry has not looked at all the ends.
    #[test]
    fn an_end_behind_the_data_is_that_of_no_entry() {
        let (mut payload, layout) = written(&[b"one", b"two"]);
        assert_eq!([0, 1].map(|nth| layout.entry(&payload, nth)), [Some(4..7), Some(7..10)]);
        for end in [7_u32, u32::MAX] {
            payload[..4].copy_from_slice(&end.to_le_bytes());
            assert_eq!([0, 1].map(|nth| layout.entry(&payload, nth)), [None, None], "{end}");
        }
    }

    /// A length has one layout at most: the one in which that was written.
    #[test]
    fn a_length_that_nobody_writes_has_no_layout() {
        let shapes = [Shape::Pieces, Shape::ShortPieces];
        for count in [2, 3, 100] {
            let written: std::collections::BTreeMap<u64, Layout> = (4097..70_000)
                .map(|data_len| Layout::of(count, data_len))
                .map(|layout| (layout.len(), layout))
                .collect();
            for len in 0..71_000 {
                let found = shapes.map(|shape| Layout::found(shape, count as u32, len));
                let of = |shape| written.get(&len).filter(|layout| layout.shape() == shape);
                let expected = shapes.map(|shape| of(shape).copied());
                let in_range = found.map(|layout| layout.filter(|found| found.data_len < 70_000));
                assert_eq!(in_range, expected, "{count} entries, {len} bytes");
            }
        }
        for shape in shapes {
            assert_eq!(Layout::found(shape, 0, 10_000), None);
            assert_eq!(Layout::found(shape, 1, 10_000), None);
            assert_eq!(Layout::found(shape, u32::MAX, 10_000), None);
        }
    }

    /// Every part of a batch that may be written may be written.
    #[test]
    fn what_is_bounded_is_the_longest_layout() {
        let count = MAX_FRAME_LEN as usize / 4;
        let short = Layout::of(count, 5000);
        assert!(padded_len(short.len()) < MAX_FRAME_LEN && short.longest_len() > MAX_FRAME_LEN);
        assert_eq!(Layout::found(Shape::ShortPieces, count as u32, short.len()), None);
        let fewer = Layout::of(count - 2000, 5000);
        assert!(fewer.longest_len() <= MAX_FRAME_LEN);
        let found = Layout::found(Shape::ShortPieces, count as u32 - 2000, fewer.len());
        assert_eq!(found, Some(fewer));
        let long = Layout::of(2, MAX_FRAME_LEN - 28);
        assert_eq!(padded_len(long.whole().len()), MAX_FRAME_LEN);
        assert_eq!(long.longest_len(), padded_len(long.len()));
        assert!(long.longest_len() > MAX_FRAME_LEN);
    }

    proptest! {
        #[test]
        fn any_entries_are_read_back(
            lens in prop::collection::vec(prop_oneof![0_usize..3, 0_usize..300, 2000_usize..2100], 1..60),
            more in prop_oneof![Just(0_usize), 0_usize..70_000],
        ) {
            let data: Vec<Vec<u8>> =
                lens.iter().chain([&more]).map(|len| vec![*len as u8; *len]).collect();
            check(&data.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn whole_ends_have_every_entry(
            payload in prop::collection::vec(0_u8..9, 0..60), count in 0_u32..8,
        ) {
            let layout = Layout::found(Shape::Whole, count, payload.len() as u64);
            let all = layout.is_some_and(|layout| {
                (0..count).all(|nth| layout.entry(&payload, nth).is_some())
            });
            prop_assert_eq!(layout.is_some_and(|layout| layout.is_whole(&payload)), all);
        }

        #[test]
        fn whole_short_ends_have_every_entry(
            ends in prop::collection::vec(prop_oneof![0_u16..9, 4000_u16..4200], 1..8),
        ) {
            let layout = Layout::of(ends.len() + 1, 4100);
            let mut payload: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
            payload.resize(layout.len() as usize, 9);
            let all = (0..=ends.len() as u32).all(|nth| layout.entry(&payload, nth).is_some());
            prop_assert_eq!(layout.is_whole(&payload), all);
        }

        #[test]
        fn any_bytes_are_survived(
            payload in prop::collection::vec(any::<u8>(), 0..6000),
            count in 0_u32..3000, nth in 0_u32..3000,
        ) {
            for shape in [Shape::Whole, Shape::Pieces, Shape::ShortPieces] {
                if let Some(layout) = Layout::found(shape, count, payload.len() as u64) {
                    let _ = (layout.is_whole(&payload), layout.entry(&payload, nth));
                    let _ = is_checked(&payload, &layout);
                }
            }
        }
    }
}
