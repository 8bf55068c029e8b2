//! A frame: one append or one batch; or a loss frame, in place of frames that are lost.
//!
//! ```text
//!  0         4         8         12        16         20     21      22      24
//!  | checksum | length  | index   | count   | synced   | kind | flags | check | payload | padding |
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | checksum | u32 | CRC-32C, seeded with the place, over every byte of the frame behind this field, but for the data of a payload in pieces and its padding |
//! | length | u32 | bytes of the payload |
//! | index | u32 | id of the first entry, less the first id of the segment |
//! | count | u32 | number of entries |
//! | synced | u32 | how far this segment was synced when the frame was staged, in units of 8 bytes |
//! | kind | u8 | 1: entries; 2: entries that were lost, with the journal or to a repair |
//! | flags | u8 | bit 0: the payload is compressed; bit 1: the data is checked in pieces; bit 2: the ends are short; the others are 0 |
//! | check | u16 | the upper half of the seeded CRC-32C over the bytes from `length` to `flags` |
//! | payload | | the ends of the entries, the sums of the pieces, the data: [`payload`](super::payload) |
//! | padding | | zeros, to a multiple of 8 bytes |
//!
//! ```text
//!  a compressed payload   | raw length u32 | LZ4 block: what the payload would be otherwise |
//! ```
//!
//! A loss frame stands where the frames of `count` entries stood, with the same bytes in all: its
//! payload is zeros, and the flags are 0. So the report of a loss outlives the journal.
//!
//! A frame of entries is valid if and only if its `check` and its `checksum` match, its flags are
//! 0, 1, 2 or 6, its count is at least 1, the table fits the (uncompressed) payload, the whole frame is at
//! most [`MAX_FRAME_LEN`](super::MAX_FRAME_LEN) bytes and ends inside the file, `synced` is not
//! beyond its own offset, and
//!
//! - if it is compressed, the raw length is at most [`MAX_FRAME_LEN`](super::MAX_FRAME_LEN) less a
//!   header and at most 255 times the length of the LZ4 block, which no block exceeds. So nothing is
//!   allocated that a forged length asks for;
//! - if it is in pieces, each piece matches its sum, the flags are those that a frame with so many
//!   entries and so much data gets, and it would be at most
//!   [`MAX_FRAME_LEN`](super::MAX_FRAME_LEN) bytes if it were not in pieces.
//!
//! A loss frame is valid if and only if the same holds of its checksums, count, length and `synced`, its
//! flags are 0 and its payload is zeros.
//!
//! The `check` lets a search for the next whole frame behind damage pass over most places without
//! reading a payload. All zeros is never a frame: the count is 0.

use std::ops::Range;

use super::checksum::{self, SegmentSeed};
use super::fields::{put, u16_at, u32_at, u64_at};
use super::payload::{BadPiece, Layout, Shape};
use super::{ALIGN, MAX_FRAME_LEN};

/// The bytes before the payload.
pub(crate) const FRAME_HEADER_LEN: usize = 24;

/// The same, where file offsets are counted.
pub(crate) const FRAME_HEADER_BYTES: u64 = 24;

const KIND_ENTRIES: u8 = 1;
const KIND_LOSS: u8 = 2;

/// The flag of a frame whose payload is compressed.
const FLAG_LZ4: u8 = 1;

/// The flag of a frame whose data is checked in pieces.
const FLAG_PIECES: u8 = 2;

/// The flag of one of these whose ends have two bytes each.
const FLAG_SHORT: u8 = 4;

/// The raw length before a compressed payload, in bytes.
const RAW_LEN_LEN: u32 = 4;

/// The longest uncompressed payload.
const RAW_LEN_MAX: u64 = MAX_FRAME_LEN - FRAME_HEADER_BYTES;

/// How many bytes one byte of an LZ4 block can stand for at most.
const LZ4_EXPANSION_MAX: u64 = 255;

/// What is decoded of a frame: everything but the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Where it begins in its segment, in bytes.
    pub(crate) offset: u64,
    /// The id of the first entry, less the first id of the segment.
    pub(crate) index: u32,
    /// How many entries it holds.
    pub(crate) count: u32,
    /// The bytes of its payload, as it is stored.
    pub(crate) payload_len: u32,
    /// Whether the payload is compressed.
    pub(crate) compressed: bool,
    /// Whether it is a loss frame: there are no entries in it.
    pub(crate) lost: bool,
    /// How the data is checked, if it is a frame of entries that is not compressed.
    pub(crate) shape: Shape,
    /// How far the segment was synced when it was staged, in bytes.
    pub(crate) synced_to: u64,
    /// Its checksum.
    pub(crate) checksum: u32,
}

impl Frame {
    /// The bytes of the whole frame, padding included.
    pub(crate) fn len(&self) -> u64 {
        padded_len(u64::from(self.payload_len))
    }

    /// Where the next frame begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len()
    }

    /// What stands where in the payload, if it is not compressed.
    #[inline]
    pub(crate) fn layout(&self) -> Option<Layout> {
        let is_there = !self.compressed && !self.lost;
        let layout =
            is_there.then(|| Layout::found(self.shape, self.count, self.payload_len.into()));
        layout.flatten()
    }

    /// How many bytes at its start the checksum covers; the pieces behind them have sums.
    pub(crate) fn head_len(&self) -> u64 {
        match self.shape {
            Shape::Whole => self.len(),
            _ => FRAME_HEADER_BYTES + self.layout().map_or(0, |layout| layout.table_len()),
        }
    }

    /// The ids of its entries in a segment that begins with `first_id`.
    pub(crate) fn ids(&self, first_id: u64) -> Range<u64> {
        let start = first_id.saturating_add(u64::from(self.index));
        start..start.saturating_add(u64::from(self.count))
    }
}

/// Why bytes are not a valid frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There are fewer bytes than the smallest frame, or than the frame says it has.
    Short,
    /// What should be a header is none.
    Header,
    /// A loss frame stands there.
    Lost,
    /// The raw length of a compressed payload is one that it cannot have.
    RawLength,
    /// The header is whole, the payload is not.
    Payload {
        /// The checksum that is stored.
        expected: u32,
        /// The checksum of the bytes that are there.
        found: u32,
    },
}

/// The bytes of a frame with a payload of `payload_len` bytes.
pub(crate) fn padded_len(payload_len: u64) -> u64 {
    (FRAME_HEADER_BYTES + payload_len).next_multiple_of(ALIGN)
}

/// The layout of the payload of these entries.
fn layout_of(entries: &[&[u8]]) -> Layout {
    let data_len = entries.iter().fold(0, |len: u64, entry| len.saturating_add(entry.len() as u64));
    Layout::of(entries.len(), data_len)
}

/// The bytes that the payload of these entries takes without compression.
pub(crate) fn payload_len(entries: &[&[u8]]) -> u64 {
    layout_of(entries).len()
}

/// The bytes that the payload of so many entries takes, which have so many bytes together.
pub(crate) fn payload_len_of(count: usize, data_len: u64) -> u64 {
    Layout::of(count, data_len).len()
}

/// What of the frame of these entries [`MAX_FRAME_LEN`] bounds.
pub(crate) fn longest_len(entries: &[&[u8]]) -> u64 {
    layout_of(entries).longest_len()
}

/// A payload that compression makes smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// The raw length and the LZ4 block.
    payload: Vec<u8>,
}

impl Packed {
    /// The bytes that it takes as the payload of a frame.
    pub(crate) fn payload_len(&self) -> u64 {
        self.payload.len() as u64
    }

    /// What nobody packed: this raw length and this block.
    #[cfg(test)]
    pub(crate) fn forged(raw_len: u32, block: &[u8]) -> Self {
        Self { payload: [&raw_len.to_le_bytes(), block].concat() }
    }
}

/// Compresses the payload of these entries; `None` if it has fewer than `min_len` bytes, if its
/// frame would not become smaller, or if the library was built without compression.
#[cfg(feature = "compression")]
pub(crate) fn pack(entries: &[&[u8]], min_len: u64) -> Option<Packed> {
    let layout = layout_of(entries);
    let raw_len = layout.whole().len();
    if entries.is_empty() || raw_len < min_len || raw_len > RAW_LEN_MAX {
        return None;
    }
    let field = u32::try_from(raw_len).ok()?.to_le_bytes();
    let mut joined = Vec::new();
    let raw = match entries {
        [entry] => *entry,
        entries => {
            joined.reserve_exact(usize::try_from(raw_len).ok()?);
            layout.whole().put(&mut joined, entries)?;
            &joined
        }
    };
    let room = lz4_flex::block::get_maximum_output_size(raw.len());
    let mut payload = vec![0; field.len() + room];
    payload[..field.len()].copy_from_slice(&field);
    let len = lz4_flex::block::compress_into(raw, &mut payload[field.len()..]).ok()?;
    payload.truncate(field.len() + len);
    let packed = Packed { payload };
    (padded_len(packed.payload_len()) < padded_len(layout.len())).then_some(packed)
}

/// The same without the feature `compression`: nothing is ever compressed.
#[cfg(not(feature = "compression"))]
pub(crate) fn pack(_entries: &[&[u8]], _min_len: u64) -> Option<Packed> {
    None
}

/// Why a compressed payload cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpacked {
    /// It is not what LZ4 made of anything of its raw length, although the checksum matches.
    #[cfg_attr(not(feature = "compression"), expect(dead_code))]
    Contradiction,
    /// The library was built without the feature `compression`.
    #[cfg_attr(feature = "compression", expect(dead_code))]
    Unsupported,
}

/// The uncompressed payload of a valid frame with the flag, of which `payload` is what is stored.
#[cfg(feature = "compression")]
pub(crate) fn unpack(frame: &Frame, payload: &[u8]) -> Result<Vec<u8>, Unpacked> {
    // Bounded again, for whoever passes something that was not verified.
    let raw_len = raw_len_of(frame, payload).ok_or(Unpacked::Contradiction)?;
    let raw_len = usize::try_from(raw_len).map_err(|_| Unpacked::Contradiction)?;
    let mut raw = vec![0; raw_len];
    match lz4_flex::block::decompress_into(&payload[4..], &mut raw) {
        Ok(len) if len == raw_len => Ok(raw),
        _ => Err(Unpacked::Contradiction),
    }
}

/// The same without the feature `compression`.
#[cfg(not(feature = "compression"))]
pub(crate) fn unpack(_frame: &Frame, _payload: &[u8]) -> Result<Vec<u8>, Unpacked> {
    Err(Unpacked::Unsupported)
}

/// The raw length that a compressed payload states, if it can be true.
fn raw_len_of(frame: &Frame, payload: &[u8]) -> Option<u32> {
    let block_len = frame.payload_len.checked_sub(RAW_LEN_LEN)?;
    let field = payload.first_chunk::<4>()?;
    let raw_len = u32::from_le_bytes(*field);
    let possible = u64::from(raw_len) <= RAW_LEN_MAX
        && u64::from(raw_len) <= u64::from(block_len) * LZ4_EXPANSION_MAX
        && Layout::found(Shape::Whole, frame.count, raw_len.into()).is_some();
    possible.then_some(raw_len)
}

/// The layout of the payload that was compressed, of which `raw` is what came out.
pub(crate) fn raw_layout(frame: &Frame, raw: &[u8]) -> Option<Layout> {
    Layout::found(Shape::Whole, frame.count, raw.len() as u64)
}

/// Where a frame is going to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// The seed of the segment.
    pub(crate) seed: SegmentSeed,
    /// Where the frame begins in the segment, in bytes.
    pub(crate) offset: u64,
    /// The id of its first entry, less the first id of the segment.
    pub(crate) index: u32,
    /// How far the segment is synced, in bytes.
    pub(crate) synced_to: u64,
}

/// Appends the frame of `entries` to `out` and returns its checksum; `None`, with `out` as it was,
/// if there are no entries or a field would overflow. If [`pack`] made something of the same
/// entries, that is what is stored.
///
/// [`MAX_FRAME_LEN`] bounds the frame as it would be without compression, in pieces and not, so that
/// what is written can be read.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    place: Place,
    entries: &[&[u8]],
    packed: Option<&Packed>,
) -> Option<u32> {
    let layout = layout_of(entries);
    if entries.is_empty() || layout.longest_len() > MAX_FRAME_LEN {
        return None;
    }
    let payload_len = packed.map_or(layout.len(), Packed::payload_len);
    let frame_len = padded_len(payload_len);
    let count = u32::try_from(entries.len()).ok()?;
    place.index.checked_add(count)?;
    let length = u32::try_from(payload_len).ok()?;
    let synced = u32::try_from(place.synced_to / ALIGN).ok()?;
    let flags = if packed.is_some() { FLAG_LZ4 } else { flags_of(layout.shape()) };

    let start = out.len();
    out.reserve(usize::try_from(frame_len).ok()?);
    let partial = put_header(out, place, (KIND_ENTRIES, flags), count, length, synced);
    match (packed, entries) {
        (Some(packed), _) => out.extend_from_slice(&packed.payload),
        (None, [entry]) => out.extend_from_slice(entry),
        (None, entries) => layout.put(out, entries)?,
    }
    let end = out.len();
    out.resize(start + usize::try_from(frame_len).ok()?, 0);
    if let (None, [entry]) = (packed, entries) {
        // Of the entry itself: what was stored a moment ago is slow to load.
        let partial = checksum::append_short(partial, &out[start + 22..start + FRAME_HEADER_LEN]);
        let checksum = checksum::append_short(checksum::append(partial, entry), &out[end..]);
        put(&mut out[start..], 0, checksum.to_le_bytes());
        return Some(checksum);
    }
    let frame = &mut out[start..];
    if flags & FLAG_PIECES == 0 {
        return Some(put_checksum(frame, partial));
    }
    layout.put_sums(&mut frame[FRAME_HEADER_LEN..]);
    let head_len = usize::try_from(FRAME_HEADER_BYTES + layout.table_len()).ok()?;
    Some(put_checksum(&mut frame[..head_len], partial))
}

/// The flags of a payload of this shape.
fn flags_of(shape: Shape) -> u8 {
    match shape {
        Shape::Whole => 0,
        Shape::Pieces => FLAG_PIECES,
        Shape::ShortPieces => FLAG_PIECES | FLAG_SHORT,
    }
}

/// The shape of a payload with these flags.
#[inline]
fn shape_of(flags: u8) -> Option<Shape> {
    match flags {
        0 | FLAG_LZ4 => Some(Shape::Whole),
        FLAG_PIECES => Some(Shape::Pieces),
        _ => (flags == FLAG_PIECES | FLAG_SHORT).then_some(Shape::ShortPieces),
    }
}

/// Appends a loss frame for `count` entries, the first of which is that of the place, in exactly
/// `len` bytes, and returns its checksum; `None`, with `out` as it was, if it would not be valid: no
/// entries, a length that no frame has, or a field that would overflow.
pub(crate) fn encode_loss(out: &mut Vec<u8>, place: Place, count: u32, len: u64) -> Option<u32> {
    if count == 0 || len > MAX_FRAME_LEN || !len.is_multiple_of(ALIGN) {
        return None;
    }
    place.index.checked_add(count)?;
    let length = u32::try_from(len.checked_sub(FRAME_HEADER_BYTES)?).ok()?;
    let synced = u32::try_from(place.synced_to / ALIGN).ok()?;
    let end = out.len().checked_add(usize::try_from(len).ok()?)?;

    let start = out.len();
    let partial = put_header(out, place, (KIND_LOSS, 0), count, length, synced);
    out.resize(end, 0);
    Some(put_checksum(&mut out[start..], partial))
}

/// Appends a header without its checksum, and returns the checksum so far.
fn put_header(
    out: &mut Vec<u8>,
    place: Place,
    (kind, flags): (u8, u8),
    count: u32,
    length: u32,
    synced: u32,
) -> u32 {
    let mut header = [0; FRAME_HEADER_LEN];
    let words = [word_of(length, place.index), word_of(count, synced)];
    let (check, partial) = check_with(place.seed.at(place.offset), words, [kind, flags]);
    put(&mut header, 4, words[0].to_le_bytes());
    put(&mut header, 12, words[1].to_le_bytes());
    put(&mut header, 20, [kind, flags]);
    put(&mut header, 22, check.to_le_bytes());
    out.extend_from_slice(&header);
    partial
}

/// Two fields that stand side by side.
fn word_of(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// Puts the checksum of a frame, or of what it covers of one in pieces; `partial` is the checksum so far.
fn put_checksum(frame: &mut [u8], partial: u32) -> u32 {
    let checksum = checksum::append(partial, &frame[22..]);
    put(frame, 0, checksum.to_le_bytes());
    checksum
}

/// What the header at the start of `window` says, if it is one; nothing behind it is read.
///
/// `window` holds the bytes from `offset` on; `limit` is where the readable part of the segment
/// ends.
pub(crate) fn peek(
    window: &[u8],
    offset: u64,
    limit: u64,
    seed: SegmentSeed,
) -> Result<Frame, Fault> {
    let Some(header) = window.get(..FRAME_HEADER_LEN) else { return Err(Fault::Short) };
    let frame = decode(header, offset).ok_or(Fault::Header)?;
    if check_of(header, seed.at(offset)).0 != u16_at(header, 22) {
        return Err(Fault::Header);
    }
    if frame.end() > limit {
        return Err(Fault::Short);
    }
    Ok(frame)
}

/// The frame at the start of `window`, if all of it is there and it is valid: the same as [`peek`] and
/// [`verify`], at once.
pub(crate) fn whole(window: &[u8], offset: u64, limit: u64, seed: SegmentSeed) -> Option<Frame> {
    let frame = decode(window.get(..FRAME_HEADER_LEN)?, offset)?;
    // The checksum covers the header's own check.
    let is_there = frame.end() <= limit && verify(window, &frame, seed).is_ok();
    is_there.then_some(frame)
}

/// What the fields of a header say, if it can be true.
fn decode(header: &[u8], offset: u64) -> Option<Frame> {
    let frame = Frame {
        offset,
        checksum: u32_at(header, 0),
        payload_len: u32_at(header, 4),
        compressed: header[21] == FLAG_LZ4,
        lost: header[20] == KIND_LOSS,
        shape: shape_of(header[21])?,
        index: u32_at(header, 8),
        count: u32_at(header, 12),
        synced_to: u64::from(u32_at(header, 16)) * ALIGN,
    };
    // The table of a compressed payload is compared with the raw length, behind the header; a loss
    // frame has none.
    let has_table = !frame.compressed && !frame.lost;
    let is_possible = frame.count > 0
        && matches!(header[20], KIND_ENTRIES | KIND_LOSS)
        && !(frame.lost && header[21] != 0)
        && frame.len() <= MAX_FRAME_LEN
        && frame.synced_to <= offset
        && (!has_table || frame.layout().is_some())
        && frame.index.checked_add(frame.count).is_some();
    is_possible.then_some(frame)
}

/// Whether `bytes` are the whole of `frame`, which [`peek`] returned for their beginning.
pub(crate) fn verify(bytes: &[u8], frame: &Frame, seed: SegmentSeed) -> Result<(), Fault> {
    let Some(bytes) = usize::try_from(frame.len()).ok().and_then(|len| bytes.get(..len)) else {
        return Err(Fault::Short);
    };
    verify_head(bytes, frame, seed)?;
    if frame.compressed && raw_len_of(frame, &bytes[FRAME_HEADER_LEN..]).is_none() {
        return Err(Fault::RawLength);
    }
    if frame.lost && bytes[FRAME_HEADER_LEN..].iter().any(|byte| *byte != 0) {
        return Err(Fault::Header);
    }
    if frame.shape == Shape::Whole { Ok(()) } else { verify_pieces(bytes, frame) }
}

/// Whether `bytes` begin with what the checksum of `frame` covers, which [`peek`] returned for their
/// beginning. That is all of it, if it is not in pieces.
pub(crate) fn verify_head(bytes: &[u8], frame: &Frame, seed: SegmentSeed) -> Result<(), Fault> {
    let head_len = usize::try_from(frame.head_len()).ok();
    let Some(head) = head_len.and_then(|len| bytes.get(4..len)) else { return Err(Fault::Short) };
    let found = checksum::append(seed.at(frame.offset), head);
    if found == frame.checksum {
        Ok(())
    } else {
        Err(Fault::Payload { expected: frame.checksum, found })
    }
}

/// Whether each piece of a frame, whose head is whole, is what its sum says.
fn verify_pieces(bytes: &[u8], frame: &Frame) -> Result<(), Fault> {
    let Some(layout) = frame.layout() else { return Err(Fault::Header) };
    let table_len = usize::try_from(layout.table_len()).unwrap_or(usize::MAX);
    let Some((table, data)) = bytes[FRAME_HEADER_LEN..].split_at_checked(table_len) else {
        return Err(Fault::Short);
    };
    let checked = layout.check_pieces(table, 0..layout.pieces(), data);
    checked.map_err(|BadPiece { expected, found }| Fault::Payload { expected, found })
}

/// The header's own check, and the checksum so far for the whole frame to go on from.
fn check_of(header: &[u8], seed: u32) -> (u16, u32) {
    check_with(seed, [u64_at(header, 4), u64_at(header, 12)], [header[20], header[21]])
}

/// The same of the fields.
fn check_with(seed: u32, words: [u64; 2], kind_and_flags: [u8; 2]) -> (u16, u32) {
    let of_words = words.into_iter().fold(seed, checksum::append_word);
    let partial = checksum::append_short(of_words, &kind_and_flags);
    let [_, _, low, high] = partial.to_le_bytes();
    (u16::from_le_bytes([low, high]), partial)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place { seed: SegmentSeed::new(7, 1, 100), offset: 8192, index: 5, synced_to: 8192 }
    }

    fn decode(bytes: &[u8]) -> Result<Frame, Fault> {
        let limit = 8192 + bytes.len() as u64;
        let frame = peek(bytes, 8192, limit, place().seed)?;
        verify(bytes, &frame, place().seed)?;
        Ok(frame)
    }

    #[test]
    fn a_single_entry_costs_at_most_32_bytes() {
        for len in 0..64 {
            let mut out = Vec::new();
            encode(&mut out, place(), &[&vec![1; len]], None).unwrap();
            assert!(out.len() - len <= 32);
            assert!(out.len().is_multiple_of(8));
        }
    }

    #[test]
    fn nothing_is_encoded_without_entries_or_with_too_many() {
        let mut out = Vec::new();
        assert_eq!(encode(&mut out, place(), &[], None), None);
        let full = Place { index: u32::MAX, ..place() };
        assert_eq!(encode(&mut out, full, &[b"x"], None), None);
        assert!(out.is_empty());
    }

    #[test]
    fn the_limit_is_the_same_for_writing_and_reading() {
        let entry = vec![0; (MAX_FRAME_LEN - FRAME_HEADER_BYTES) as usize];
        let mut out = Vec::new();
        assert!(encode(&mut out, place(), &[&entry], None).is_some());
        assert!(decode(&out).is_ok());
        drop(out);
        let entry = vec![0; (MAX_FRAME_LEN - FRAME_HEADER_BYTES) as usize + 1];
        assert_eq!(encode(&mut Vec::new(), place(), &[&entry], None), None);
        // Of two entries the sums count, too: 4 bytes for 2048.
        let fits = MAX_FRAME_LEN / 2052 * 2048 - 100;
        for (data_len, fits) in [(MAX_FRAME_LEN - 28, false), (fits, true)] {
            let (first, second) = entry[..data_len as usize].split_at(1);
            let mut out = Vec::new();
            assert_eq!(encode(&mut out, place(), &[first, second], None).is_some(), fits);
            assert_eq!(decode(&out).is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20)
        ) {
            let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            let mut out = Vec::new();
            let checksum = encode(&mut out, place(), &entries, None).unwrap();
            let frame = decode(&out).unwrap();
            prop_assert_eq!(frame.len(), out.len() as u64);
            prop_assert_eq!(frame.checksum, checksum);
            prop_assert_eq!(frame.ids(100), 105..105 + entries.len() as u64);
            prop_assert_eq!(frame.synced_to, 8192);
            let payload = &out[FRAME_HEADER_LEN..][..frame.payload_len as usize];
            let layout = frame.layout().unwrap();
            for (nth, entry_bytes) in entries.iter().enumerate() {
                let range = layout.entry(payload, nth as u32).unwrap();
                prop_assert_eq!(&payload[range], *entry_bytes);
            }
            prop_assert_eq!(layout.entry(payload, frame.count), None);
        }

        #[test]
        #[cfg(feature = "compression")]
        fn what_is_packed_is_unpacked(
            entries in prop::collection::vec(prop::collection::vec(0_u8..3, 0..400), 1..20)
        ) {
            let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            let packed = pack(&entries, 0);
            let mut out = Vec::new();
            encode(&mut out, place(), &entries, packed.as_ref()).unwrap();
            let frame = decode(&out).unwrap();
            prop_assert_eq!(frame.compressed, packed.is_some());
            let stored = &out[FRAME_HEADER_LEN..][..frame.payload_len as usize];
            let payload =
                if frame.compressed { unpack(&frame, stored).unwrap() } else { stored.to_vec() };
            let layout = if frame.compressed { raw_layout(&frame, &payload) } else { frame.layout() };
            let layout = layout.unwrap();
            prop_assert!(layout.is_whole(&payload));
            for (nth, entry_bytes) in entries.iter().enumerate() {
                let range = layout.entry(&payload, nth as u32).unwrap();
                prop_assert_eq!(&payload[range], *entry_bytes);
            }
        }

        #[test]
        fn any_block_is_survived(
            block in prop::collection::vec(any::<u8>(), 0..100), raw_len in 0_u32..30_000,
        ) {
            let packed = Packed::forged(raw_len, &block);
            let mut out = Vec::new();
            encode(&mut out, place(), &[b""], Some(&packed)).unwrap();
            if let Ok(frame) = decode(&out)
                && let Ok(raw) = unpack(&frame, &packed.payload)
            {
                prop_assert_eq!(raw.len(), raw_len as usize);
            }
        }

        #[test]
        fn every_flipped_bit_is_seen(
            data in prop::collection::vec(any::<u8>(), 0..40),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut out = Vec::new();
            encode(&mut out, place(), &[&data, b"second"], None).unwrap();
            let bit = bit.index(out.len() * 8);
            out[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&out).is_err());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    #[cfg(feature = "compression")]
    fn what_does_not_get_smaller_is_not_packed() {
        assert!(pack(&[&[7; 1000]], 1000).is_some());
        assert_eq!(pack(&[&[7; 1000]], 1001), None, "it is too short");
        assert_eq!(pack(&[], 0), None);
        for len in 0..40 {
            let entry = vec![7; len];
            if let Some(packed) = pack(&[&entry], 0) {
                assert!(padded_len(packed.payload_len()) < padded_len(len as u64), "{len}");
            }
        }
        let noise: Vec<u8> =
            (0..500_u32).flat_map(|n| checksum::of(&n.to_le_bytes()).to_le_bytes()).collect();
        assert_eq!(pack(&[&noise], 0), None);
    }

    /// The limit bounds the frame as it is without compression: what is written can be read.
    #[test]
    #[cfg(feature = "compression")]
    fn compression_does_not_move_the_limit() {
        let entry = vec![0; RAW_LEN_MAX as usize + 1];
        assert_eq!(pack(&[&entry], 0), None);
        let packed = pack(&[&entry[1..]], 0).unwrap();
        assert_eq!(encode(&mut Vec::new(), place(), &[&entry], Some(&packed)), None);
        let mut out = Vec::new();
        encode(&mut out, place(), &[&entry[1..]], Some(&packed)).unwrap();
        let frame = decode(&out).unwrap();
        let raw = unpack(&frame, &out[FRAME_HEADER_LEN..][..frame.payload_len as usize]).unwrap();
        assert!(raw == entry[1..]);
    }

    #[test]
    fn a_raw_length_that_cannot_be_true_is_no_frame() {
        let decode_forged = |raw_len: u32, block: &[u8], entries: &[&[u8]]| {
            let mut out = Vec::new();
            let packed = Packed::forged(raw_len, block);
            encode(&mut out, place(), entries, Some(&packed)).unwrap();
            decode(&out).map(|frame| frame.compressed)
        };
        let refused = Err(Fault::RawLength);
        assert_eq!(decode_forged(255 * 10, &[0; 10], &[b""]), Ok(true));
        assert_eq!(decode_forged(255 * 10 + 1, &[0; 10], &[b""]), refused);
        assert_eq!(decode_forged(0, &[], &[b""]), Ok(true));
        assert_eq!(decode_forged(1, &[], &[b""]), refused);
        // The table of five entries takes 16 bytes.
        assert_eq!(decode_forged(16, &[0; 10], &[&b""[..]; 5]), Ok(true));
        assert_eq!(decode_forged(15, &[0; 10], &[&b""[..]; 5]), refused);
        let long = vec![0; 5_000_000];
        let max = RAW_LEN_MAX as u32;
        assert_eq!(decode_forged(max, &long, &[b""]), Ok(true));
        assert_eq!(decode_forged(max + 1, &long, &[b""]), refused);
        assert_eq!(decode_forged(u32::MAX, &long, &[b""]), refused);

        let mut out = Vec::new();
        let short = Packed { payload: vec![0; 3] };
        encode(&mut out, place(), &[b""], Some(&short)).unwrap();
        assert_eq!(decode(&out), Err(Fault::RawLength));
    }

    /// Frames of each shape, at the limits: the lengths of their entries.
    fn shapes() -> Vec<(Shape, Vec<usize>)> {
        vec![
            (Shape::Whole, vec![5000]),
            (Shape::Whole, vec![4000, 96]),
            (Shape::ShortPieces, vec![4000, 0, 97]),
            (Shape::ShortPieces, vec![100; 41]),
            (Shape::ShortPieces, vec![0, 65_535, 0]),
            (Shape::Pieces, vec![65_535, 1]),
            (Shape::Pieces, vec![1, 2047, 2048, 2049, 60_000]),
        ]
    }

    fn frame_of(lens: &[usize]) -> Vec<u8> {
        let entries: Vec<Vec<u8>> = (1..).zip(lens).map(|(nth, len)| vec![nth; *len]).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        encode(&mut out, place(), &entries, None).unwrap();
        out
    }

    /// Checksums that match whatever the fields say, with which the first `head_len` bytes are covered.
    fn forge(out: &mut [u8], head_len: usize) {
        let (check, partial) = check_of(out, place().seed.at(8192));
        put(out, 22, check.to_le_bytes());
        put_checksum(&mut out[..head_len], partial);
    }

    #[test]
    fn each_shape_is_encoded_and_decoded() {
        for (shape, lens) in shapes() {
            let out = frame_of(&lens);
            let frame = decode(&out).unwrap();
            assert_eq!((frame.shape, out[21]), (shape, flags_of(shape)), "{lens:?}");
            assert_eq!(frame.len(), out.len() as u64);
            let layout = frame.layout().unwrap();
            for (nth, len) in (0..).zip(&lens) {
                let place = layout.entry(&out[FRAME_HEADER_LEN..], nth).unwrap();
                let entry = &out[FRAME_HEADER_LEN..][place];
                assert!(entry.len() == *len && entry.iter().all(|byte| *byte == nth as u8 + 1));
            }
        }
    }

    #[test]
    fn every_flipped_byte_of_each_shape_is_seen() {
        for (shape, lens) in shapes() {
            let mut out = frame_of(&lens);
            for at in 0..out.len() {
                out[at] ^= 1 << (at % 8);
                assert!(decode(&out).is_err(), "{shape:?}, byte {at}");
                out[at] ^= 1 << (at % 8);
            }
            assert!(decode(&out).is_ok());
        }
    }

    /// The checksum covers the sums, and each of them its piece: what does not match is named.
    #[test]
    fn a_bad_piece_is_named_by_its_sums() {
        let mut out = frame_of(&[100; 41]);
        let frame = decode(&out).unwrap();
        let sums = FRAME_HEADER_LEN + 40 * 2;
        assert_eq!(frame.head_len(), sums as u64 + 3 * 4);
        assert_eq!(u32_at(&out, 0), checksum::append(place().seed.at(8192), &out[4..sums + 12]));
        let data = sums + 12;
        out[data + 2048] ^= 1;
        let fault = decode(&out).unwrap_err();
        let (expected, found) =
            (u32_at(&out, sums + 4), checksum::of(&out[data + 2048..data + 4096]));
        assert_eq!(fault, Fault::Payload { expected, found });
        assert_eq!(verify_head(&out, &frame, place().seed), Ok(()));
        out[sums + 4] ^= 1;
        assert!(verify_head(&out, &frame, place().seed).is_err());
        assert_eq!(verify_head(&out[..data - 1], &frame, place().seed), Err(Fault::Short));
    }

    /// The padding is covered by the sum of the last piece.
    #[test]
    fn padding_of_a_frame_in_pieces_is_zeros() {
        let mut out = frame_of(&[4000, 97]);
        let end = FRAME_HEADER_LEN + decode(&out).unwrap().payload_len as usize;
        assert!(end < out.len());
        out[end] = 1;
        assert!(matches!(decode(&out), Err(Fault::Payload { .. })));
    }

    /// Each frame has one shape, and every other one is none, whatever the checksums say.
    #[test]
    fn flags_that_nobody_writes_are_no_frame() {
        for (shape, lens) in shapes() {
            let mut out = frame_of(&lens);
            let head_len = decode(&out).unwrap().head_len() as usize;
            for flags in 0..=u8::MAX {
                out[21] = flags;
                forge(&mut out, head_len);
                if flags == flags_of(shape) {
                    assert_eq!(decode(&out).map(|frame| frame.shape), Ok(shape));
                } else if shape_of(flags).is_none() || flags > FLAG_LZ4 {
                    assert_eq!(decode(&out), Err(Fault::Header), "{shape:?}, {flags}");
                }
            }
        }
    }

    /// Lengths and counts that do not fit each other: no place outside the frame is looked at, and
    /// nothing is allocated.
    #[test]
    fn any_forged_table_is_survived() {
        for (_, lens) in shapes() {
            let whole = frame_of(&lens);
            for (at, field) in (0..400_u32).flat_map(|nth| {
                let field = nth.wrapping_mul(0x9E37_79B1) >> (nth % 32);
                [(4, field), (12, field)]
            }) {
                let mut out = whole.clone();
                put(&mut out, at, field.to_le_bytes());
                let head_len = super::decode(&out, 8192).map(|frame| frame.head_len() as usize);
                let len = out.len();
                forge(&mut out, head_len.unwrap_or(len).min(len));
                if let Ok(frame) = decode(&out)
                    && let Some(layout) = frame.layout()
                {
                    let payload = &out[FRAME_HEADER_LEN..][..frame.payload_len as usize];
                    let all = (0..frame.count.min(1000)).all(|nth| {
                        let place = layout.entry(payload, nth);
                        place.is_some_and(|place| payload.get(place).is_some())
                    });
                    assert!(all || !layout.is_whole(payload), "{at}: {field}");
                }
            }
        }
    }

    #[test]
    fn only_known_flags_are() {
        let mut out = Vec::new();
        encode(&mut out, place(), &[b"x"], None).unwrap();
        for flags in 2..=u8::MAX {
            out[21] = flags;
            let len = out.len();
            forge(&mut out, len);
            assert_eq!(decode(&out), Err(Fault::Header), "{flags}");
        }
    }

    #[test]
    #[cfg(not(feature = "compression"))]
    fn without_the_feature_frames_are_found_and_not_decoded() {
        assert_eq!(pack(&[&[7; 1000]], 0), None);
        let mut out = Vec::new();
        encode(&mut out, place(), &[b"x"], Some(&Packed::forged(9, &[0; 9]))).unwrap();
        let frame = decode(&out).unwrap();
        assert_eq!(unpack(&frame, &out[FRAME_HEADER_LEN..]), Err(Unpacked::Unsupported));
    }

    #[test]
    fn a_loss_frame_has_the_given_length_and_count() {
        for (len, count) in [(24, 1), (24, u32::MAX - 5), (32, 7), (8192, 100)] {
            let mut out = Vec::new();
            let checksum = encode_loss(&mut out, place(), count, len).unwrap();
            assert_eq!(out.len() as u64, len);
            assert!(out[FRAME_HEADER_LEN..].iter().all(|byte| *byte == 0));
            let frame = decode(&out).unwrap();
            assert!(frame.lost && !frame.compressed);
            assert_eq!((frame.len(), frame.checksum), (len, checksum));
            assert_eq!(frame.ids(100), 105..105 + u64::from(count));
            assert_eq!(frame.synced_to, 8192);
        }
        for (len, count) in [(16, 1), (0, 1), (28, 1), (24, 0), (24, u32::MAX - 4)] {
            assert_eq!(encode_loss(&mut Vec::new(), place(), count, len), None, "{len}, {count}");
        }
        let mut out = Vec::new();
        assert_eq!(encode_loss(&mut out, place(), 1, MAX_FRAME_LEN + 8), None);
        assert!(out.is_empty());
        assert!(encode_loss(&mut out, place(), 1, MAX_FRAME_LEN).is_some());
        assert!(decode(&out).is_ok());
    }

    #[test]
    fn every_flipped_bit_of_a_loss_frame_is_seen() {
        let mut out = Vec::new();
        encode_loss(&mut out, place(), 7, 40).unwrap();
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&out).is_err(), "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// What nobody writes, under checksums that match.
    #[test]
    fn an_impossible_loss_frame_is_no_frame() {
        let forged = |at: usize, byte: u8| {
            let mut out = Vec::new();
            encode_loss(&mut out, place(), 7, 40).unwrap();
            out[at] = byte;
            let (check, partial) = check_of(&out, place().seed.at(8192));
            put(&mut out, 22, check.to_le_bytes());
            put_checksum(&mut out, partial);
            decode(&out).map(|frame| frame.lost)
        };
        assert_eq!(forged(20, KIND_LOSS), Ok(true));
        assert_eq!(forged(20, KIND_ENTRIES), Err(Fault::Header), "the table takes 24 bytes");
        for kind in (3..=u8::MAX).chain([0]) {
            assert_eq!(forged(20, kind), Err(Fault::Header), "kind {kind}");
        }
        for flags in 1..=u8::MAX {
            assert_eq!(forged(21, flags), Err(Fault::Header), "flags {flags}");
        }
        assert_eq!(forged(12, 0), Err(Fault::Header), "no entries");
        assert_eq!(forged(30, 1), Err(Fault::Header), "bytes in the payload");
    }

    #[test]
    fn a_frame_is_valid_in_its_place_only() {
        let mut out = Vec::new();
        encode(&mut out, place(), &[b"money"], None).unwrap();
        let limit = u64::MAX;
        assert!(peek(&out, 8192, limit, place().seed).is_ok());
        assert!(peek(&out, 8200, limit, place().seed).is_err());
        assert!(peek(&out, 8192, limit, SegmentSeed::new(7, 1, 101)).is_err());
        assert!(peek(&[0; 64], 8192, limit, place().seed).is_err());
    }
}
