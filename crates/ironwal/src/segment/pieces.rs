//! A frame whose data is checked in pieces, read entry by entry.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::source::FileSource;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, Frame};
use crate::format::payload::{Layout, PIECE_LEN, in_memory};
use crate::format::scan::{Extent, Source};

/// How many pieces are read at once where neighbours are asked for, one after the other.
const PIECES_AHEAD: u64 = 32;

/// The most that is read without asking first how long the file is, in bytes.
const READ_LEN_MAX: u64 = PIECES_AHEAD * PIECE_LEN;

/// Such a frame, of which the header and the table are whole. Of the data, only what is asked for is
/// read and checked.
///
/// While there is one, nobody else reads from its source.
#[derive(Debug)]
pub(super) struct Pieces {
    ids: Range<u64>,
    layout: Layout,
    table: Bytes,
    /// Where the data begins in the segment, in bytes.
    data_offset: u64,
    /// The pieces that the source has at hand.
    held: Range<u64>,
    /// Those of them that have been checked.
    checked: Range<u64>,
}

impl Pieces {
    /// The entry with this id out of a frame in this extent, and the frame for its neighbours. `None` if
    /// it is not one in pieces, or not whole what is read of it.
    pub(super) fn open_at(
        source: &mut FileSource,
        frame: &Frame,
        extent: &Extent,
        id: u64,
    ) -> io::Result<Option<(Self, Bytes)>> {
        let pieces = Self::open(source, frame, extent.seed, extent.first_id)?;
        let Some(mut pieces) = pieces else { return Ok(None) };
        let entry = pieces.entry(source, id)?;
        Ok(entry.map(|entry| (pieces, entry)))
    }

    /// Reads the table of a frame. `None` if it is not one in pieces, or its header or table is not
    /// whole.
    fn open(
        source: &mut FileSource,
        frame: &Frame,
        seed: SegmentSeed,
        first_id: u64,
    ) -> io::Result<Option<Self>> {
        let Some(layout) = frame.layout().filter(|layout| layout.pieces() > 0) else {
            return Ok(None);
        };
        let Ok(head_len) = usize::try_from(frame.head_len()) else { return Ok(None) };
        let head = source.window(frame.offset, head_len)?;
        if frame::verify_head(head, frame, seed).is_err()
            || !layout.is_whole(&head[FRAME_HEADER_LEN..])
        {
            return Ok(None);
        }
        let table_offset = frame.offset + FRAME_HEADER_BYTES;
        let table = source.slice(table_offset, head_len - FRAME_HEADER_LEN)?;
        let data_offset = table_offset + layout.table_len();
        let held = if source.is_mapped() { 0..layout.pieces() } else { 0..0 };
        let (ids, checked) = (frame.ids(first_id), 0..0);
        Ok(table.map(|table| Self { ids, layout, table, data_offset, held, checked }))
    }

    /// The entry with this id, if it is one of the frame's and the pieces are whole that it is in.
    pub(super) fn entry(&mut self, source: &mut FileSource, id: u64) -> io::Result<Option<Bytes>> {
        let nth = id.checked_sub(self.ids.start).and_then(|nth| u32::try_from(nth).ok());
        let place = nth.and_then(|nth| self.layout.place_of_entry(&self.table, nth));
        let Some(place) = place else { return Ok(None) };
        if place.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let wanted = Layout::pieces_with(&place);
        if !self.hold(source, &wanted)? || !self.check(source, &wanted)? {
            return Ok(None);
        }
        source.slice(self.data_offset + place.start, len_of(&place))
    }

    /// Gets these pieces at hand, and what follows if they follow what is; `false` if they are not all
    /// there.
    fn hold(&mut self, source: &mut FileSource, wanted: &Range<u64>) -> io::Result<bool> {
        if self.held.start <= wanted.start && wanted.end <= self.held.end {
            return Ok(true);
        }
        let follow = (self.held.start + 1..=self.held.end).contains(&wanted.start);
        let ahead = if follow { wanted.start + PIECES_AHEAD } else { 0 };
        let held = wanted.start..wanted.end.max(ahead.min(self.layout.pieces()));
        let place = self.layout.place_of(&held);
        let (offset, len) = (self.data_offset + place.start, len_of(&place));
        source.set_read_len(len.min(in_memory(READ_LEN_MAX)));
        (self.held, self.checked) = (0..0, 0..0);
        let is_there = source.window(offset, len)?.len() >= len;
        if is_there {
            self.held = held;
        }
        Ok(is_there)
    }

    /// Whether these pieces, which are at hand, are what the sums say. None is checked twice where
    /// neighbours are asked for, one after the other.
    fn check(&mut self, source: &mut FileSource, wanted: &Range<u64>) -> io::Result<bool> {
        if !(self.checked.start..=self.checked.end).contains(&wanted.start) {
            self.checked = wanted.start..wanted.start;
        }
        let due = self.checked.end..wanted.end;
        if due.is_empty() {
            return Ok(true);
        }
        let place = self.layout.place_of(&due);
        let bytes = source.window(self.data_offset + place.start, len_of(&place))?;
        let Some(bytes) = bytes.get(..len_of(&place)) else { return Ok(false) };
        let is_whole = self.layout.check_pieces(&self.table, due.clone(), bytes).is_ok();
        if is_whole {
            self.checked.end = due.end;
        }
        Ok(is_whole)
    }
}

fn len_of(place: &Range<u64>) -> usize {
    in_memory(place.end.saturating_sub(place.start))
}
