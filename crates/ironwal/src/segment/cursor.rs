//! Reading the entries of a segment in order.

use std::ops::Range;

use bytes::Bytes;

use super::block::Decoded;
use super::index::PointPicker;
use super::reader::{Damage, ReadError, Segment};
use super::source::FileSource;
use crate::format::checksum::SegmentSeed;
use crate::format::fields::u32_at;
use crate::format::frame::{Fault, Frame};
use crate::format::header::HEADER_LEN;
use crate::format::payload::{Layout, in_memory};
use crate::format::scan::{Gap, Scanner, Step};
use crate::format::seal::Point;
use crate::sync::Arc;

/// Reads the entries of a segment in order, also while it grows.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    seed: SegmentSeed,
    scanner: Scanner,
    source: FileSource,
    read_len: usize,
    singles: Singles,
    /// What comes behind them.
    held: Held,
    learner: Option<Learner>,
    next: u64,
}

/// How many frames with one entry are decoded at a time.
const SINGLES_MAX: usize = 32;

/// Entries of frames that hold one each: where they are in what the source has read. Decoded one right
/// after the other they take a third less time than each when it is asked for.
#[derive(Debug, Default)]
struct Singles {
    places: [(usize, usize); SINGLES_MAX],
    len: usize,
    taken: usize,
}

/// The points of a segment that are met on the way, for an index that has not been read.
#[derive(Debug)]
struct Learner {
    picker: PointPicker,
    points: Vec<Point>,
    /// Where the points end that are wanted.
    end: u64,
}

/// The rest of a frame: entries that are read and not handed out yet.
#[derive(Debug, Default)]
struct Held {
    /// The payload, if it is not a piece of what the source has read.
    own: Option<Bytes>,
    /// Where in those bytes the field of the next entry's end is, and where the data begins.
    field: usize,
    data: usize,
    /// The bytes of such a field, and which bits of four bytes from it on are of it: behind short ones
    /// stand the sums.
    field_len: usize,
    mask: u32,
    /// The next entry and the end of the last one, in the data.
    start: usize,
    end: usize,
    /// How many entries are left.
    left: u32,
}

impl Segment {
    /// A cursor at the entry `id`, or at the end if there is none yet.
    pub(crate) fn cursor(self: &Arc<Self>, id: u64, read_len: usize) -> Result<Cursor, ReadError> {
        let seed = self.seed_or_damage()?;
        let (offset, next_id) = if id == self.first_id() {
            (HEADER_LEN, id)
        } else {
            let run = self.run(id, seed)?;
            (run.offset, run.first_id)
        };
        let extent = self.extent(seed, offset, next_id);
        let source = self.source(self.handle_below(extent.limit)?, read_len, extent.limit);
        let (segment, scanner) = (Arc::clone(self), Scanner::new(extent));
        let (singles, held, learner) = (Singles::default(), Held::default(), None);
        Ok(Cursor { segment, seed, scanner, source, read_len, singles, held, learner, next: id })
    }
}

impl Singles {
    fn is_empty(&self) -> bool {
        self.taken == self.len
    }

    /// Adds the one at `start`, with so many bytes, to what has not been taken; `false`: no more of them.
    fn push(&mut self, (start, len): (usize, usize)) -> bool {
        if self.is_empty() {
            (self.len, self.taken) = (0, 0);
        }
        self.places[self.len] = (start, start + len);
        self.len += 1;
        self.len < SINGLES_MAX
    }

    #[inline]
    fn take(&mut self) -> Option<Range<usize>> {
        if self.is_empty() {
            return None;
        }
        let (start, end) = self.places[self.taken];
        self.taken += 1;
        Some(start..end)
    }
}

impl Held {
    /// The entries from `skipped` on of so many in a payload, whose ends are whole. It stands at
    /// `start` in its bytes.
    fn new(
        own: Option<Bytes>,
        bytes: &[u8],
        (start, len): (usize, usize),
        layout: &Layout,
        (count, skipped): (u32, u32),
    ) -> Self {
        let table = in_memory(layout.table_len());
        let field_len = layout.shape().end_len();
        let mask = if field_len == 2 { u16::MAX.into() } else { u32::MAX };
        let field = start + field_len * skipped as usize;
        let first = match skipped {
            0 => 0,
            _ => (u32_at(bytes, field - field_len) & mask) as usize,
        };
        Self {
            own,
            field,
            data: start + table,
            field_len,
            mask,
            start: first,
            end: len - table,
            left: count - skipped,
        }
    }

    /// Where the next entry is in these bytes, moving behind it.
    #[inline]
    fn take(&mut self, bytes: &[u8]) -> Range<usize> {
        self.left -= 1;
        let field = |at| (u32_at(bytes, at) & self.mask) as usize;
        let end = if self.left == 0 { self.end } else { field(self.field) };
        let range = self.data + self.start..self.data + end;
        (self.start, self.field) = (end, self.field + self.field_len);
        range
    }
}

impl Cursor {
    /// Takes note of where frames are, for reads by id, if that is not known yet and it begins with the
    /// first one.
    pub(crate) fn learn(&mut self) {
        if self.scanner.offset() == HEADER_LEN
            && let Some(end) = self.segment.unread_index()
        {
            self.learner = Some(Learner { picker: PointPicker::new(), points: Vec::new(), end });
        }
    }

    /// It has moved behind a frame.
    #[inline]
    fn met(&mut self, frame: &Frame) {
        if self.learner.is_some() {
            self.teach(frame);
        }
    }

    fn teach(&mut self, frame: &Frame) {
        let Some(learner) = &mut self.learner else { return };
        learner.points.extend(learner.picker.pick(frame.index, frame.offset));
        if frame.end() >= learner.end {
            self.segment.fill_index(std::mem::take(&mut learner.points));
            self.learner = None;
        }
    }

    /// The id of the next entry.
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// The next entry, if it is at hand and its id is below `below`; `make` makes it of the bytes that
    /// it is in, and where.
    #[inline]
    pub(crate) fn take<T>(
        &mut self,
        below: u64,
        make: impl FnOnce(&Bytes, Range<usize>) -> T,
    ) -> Option<(u64, T)> {
        let id = self.next;
        if id >= below || id >= self.segment.retired_from() {
            return None;
        }
        if !self.has_some() && !self.hold_at_hand() {
            return None;
        }
        self.next = id + 1;
        if let Some(range) = self.singles.take() {
            return Some((id, make(self.source.bytes(), range)));
        }
        match self.held.own.take() {
            None => {
                let bytes = self.source.bytes();
                let range = self.held.take(bytes);
                Some((id, make(bytes, range)))
            }
            Some(own) => {
                let range = self.held.take(&own);
                let entry = make(&own, range);
                self.held.own = Some(own);
                Some((id, entry))
            }
        }
    }

    /// The next entry, if its id is below `below` and it is committed; damage as [`Cursor::advance`]
    /// returns it.
    pub(crate) fn next(&mut self, below: u64) -> Result<Option<(u64, Bytes)>, ReadError> {
        loop {
            if let Some(entry) = self.take(below, |bytes, range| bytes.slice(range)) {
                return Ok(Some(entry));
            }
            if !self.advance(below)? {
                return Ok(None);
            }
        }
    }

    /// Gets the next entry at hand, if it is committed and its id is below `below`. `false`: there is
    /// none in this segment yet.
    ///
    /// Damage is returned once, and the cursor goes on behind it. It begins below `below`, and may end
    /// behind.
    pub(crate) fn advance(&mut self, below: u64) -> Result<bool, ReadError> {
        loop {
            if self.has_some() && self.next < self.segment.retired_from() {
                // What is not below stays: the scanner has passed it.
                return Ok(self.next < below);
            }
            // So that its buffer can be used again.
            (self.singles, self.held) = (Singles::default(), Held::default());
            let due = self.scanner.next_id().max(self.next);
            let end = self.segment.next_id().min(self.segment.retired_from());
            if due >= end.min(below) {
                return Ok(false);
            }
            match self.scanner.step(&mut self.source)? {
                Step::Frame(frame) => {
                    self.met(&frame);
                    let ids = frame.ids(self.segment.first_id());
                    if ids.end > self.next
                        && let Err(damage) = self.hold(&frame, ids.start)?
                    {
                        self.next = ids.end;
                        return Err(ReadError::Damaged(damage));
                    }
                }
                Step::Damaged(gap) if gap.ids.end > self.next => {
                    self.learner = None;
                    self.next = gap.ids.end;
                    return Err(ReadError::Damaged(self.segment.gap_damage(gap)));
                }
                Step::Damaged(_) => self.learner = None,
                Step::Torn | Step::End => {
                    if !self.follow()? {
                        return Err(ReadError::Damaged(self.missing_rest()));
                    }
                }
            }
        }
    }

    /// Whether there are entries that are decoded and not handed out.
    #[inline]
    fn has_some(&self) -> bool {
        !self.singles.is_empty() || self.held.left > 0
    }

    /// Holds the entries of the next frames, as far as they are at hand and there is nothing to be said of
    /// them: some with one entry each, and one with several. `false`: there are none.
    fn hold_at_hand(&mut self) -> bool {
        if self.scanner.next_id() != self.next {
            return false;
        }
        while let Some(frame) = self.scanner.at_hand(self.source.rest(self.scanner.offset()))
            && let Some(layout) = frame.layout()
            && let Some(place) = self.source.payload_at_hand(&frame)
        {
            let bytes = self.source.bytes();
            let is_last = if frame.count == 1 {
                !self.singles.push(place)
            } else if layout.is_whole(&bytes[place.0..place.0 + place.1]) {
                self.held = Held::new(None, bytes, place, &layout, (frame.count, 0));
                true
            } else {
                break;
            };
            self.scanner.pass(&frame);
            self.met(&frame);
            if is_last {
                break;
            }
        }
        self.has_some()
    }

    /// Holds the entries of a frame that the scanner has found, from the next one on.
    fn hold(&mut self, frame: &Frame, first: u64) -> Result<Result<(), Damage>, ReadError> {
        let skipped = u32::try_from(self.next.saturating_sub(first)).unwrap_or(u32::MAX);
        let counts = (frame.count, skipped);
        if let Some(layout) = frame.layout()
            && let Some(place) = self.source.payload_at_hand(frame)
        {
            let bytes = self.source.bytes();
            if layout.is_whole(&bytes[place.0..place.0 + place.1]) {
                self.held = Held::new(None, bytes, place, &layout, counts);
                return Ok(Ok(()));
            }
        }
        let decoded = match Decoded::read(&mut self.source, frame, self.segment.first_id())? {
            Ok(decoded) => decoded,
            Err(kind) => return Ok(Err(self.segment.frame_damage(frame, kind))),
        };
        let (payload, layout) = (decoded.payload, decoded.layout);
        let place = (0, payload.len());
        self.held = Held::new(Some(payload.clone()), &payload, place, &layout, counts);
        Ok(Ok(()))
    }

    /// The ids that the segment should hold behind its last byte.
    fn missing_rest(&mut self) -> Damage {
        let ids = self.next..self.segment.next_id();
        self.scanner.extend(self.scanner.offset(), ids.end);
        self.next = ids.end;
        let gap = Gap { offset: self.scanner.offset(), ids, fault: Fault::Short };
        self.segment.gap_damage(gap)
    }

    /// Takes note of what has been committed since, and returns whether there is any.
    fn follow(&mut self) -> Result<bool, ReadError> {
        let now = self.segment.extent(self.seed, self.scanner.offset(), self.scanner.next_id());
        self.scanner.extend(now.limit, now.proven_id);
        if self.source.reaches(now.limit) {
            self.source.set_limit(now.limit);
        } else {
            // It is behind the part that was mapped.
            let handle = self.segment.handle_below(now.limit)?;
            self.source = self.segment.source(handle, self.read_len, now.limit);
        }
        Ok(self.scanner.offset() < now.limit)
    }
}
