//! Reading entries by id.

use bytes::Bytes;

use super::block::{Block, Decoded, Run};
use super::pieces::Pieces;
use super::reader::{ReadError, Segment};
use super::source::FileSource;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_LEN, Fault, Frame};
use crate::format::scan::{Extent, Gap, Scanner, Source, Step};
use crate::sync::Arc;

/// The most that a read by id asks for at once, unless one frame is longer, in bytes. Only the last
/// frame of a run of the index can make it longer.
const LOOKUP_LEN_MAX: u64 = 64 * 1024;

/// The most for the last entry of a run, so that one read does, if its frame is that long.
const LAST_LOOKUP_LEN_MAX: u64 = 1024 * 1024;

/// A run that is not longer is read at once, in bytes. Of a longer one, the headers are looked at first:
/// its last frame may be one in pieces.
const SHORT_RUN_LEN_MAX: usize = 8192;

/// How much is read of a longer one for its headers, in bytes. The header of its last frame is among it,
/// and mostly its table too, for points are 4096 bytes apart.
const HEADERS_READ_LEN: usize = 4096;

/// An entry that is smaller than this part of what was read for it is copied out, so that whoever
/// keeps it does not keep all of that.
const HELD_FACTOR_MAX: usize = 4;

/// Reads entries of one segment by id; neighbours share what was read.
#[derive(Debug)]
pub(crate) struct Finder {
    segment: Arc<Segment>,
    seed: SegmentSeed,
    source: Option<FileSource>,
    /// Behind the frame that was found last: its offset and the id there.
    behind: Option<(u64, u64)>,
    frame: Option<Decoded>,
    /// The frame that was found last, if it is one in pieces.
    pieces: Option<Pieces>,
    block: Option<Arc<Block>>,
}

impl Finder {
    /// Reads nothing yet.
    pub(crate) fn new(segment: Arc<Segment>) -> Result<Self, ReadError> {
        let seed = segment.seed_or_damage()?;
        let (source, behind, frame, pieces, block) = (None, None, None, None, None);
        Ok(Self { segment, seed, source, behind, frame, pieces, block })
    }

    /// Whether this is the segment that it reads.
    pub(crate) fn reads(&self, segment: &Arc<Segment>) -> bool {
        Arc::ptr_eq(&self.segment, segment)
    }

    /// The entry with this id, which the segment holds.
    pub(crate) fn get(&mut self, id: u64) -> Result<Bytes, ReadError> {
        if self.segment.is_retired() {
            return Err(ReadError::Retired);
        }
        if let Some(entry) = self.block.as_ref().and_then(|block| block.entry(id)) {
            return Ok(entry);
        }
        if let Some(entry) = self.in_frame(id) {
            return Ok(entry);
        }
        if let Some(entry) = self.in_pieces(id)? {
            return Ok(entry);
        }
        if let Some(block) = self.segment.block(id, self.seed)?
            && let Some(entry) = block.entry(id)
        {
            self.block = Some(block);
            return Ok(entry);
        }
        if let Some(entry) = self.find(id)? {
            return Ok(entry);
        }
        // The frame holds the id and its table is whole.
        self.in_frame(id).ok_or_else(|| self.nothing_at(id))
    }

    /// Reads the frame that holds this id, or, if that is one in pieces, the entry.
    fn find(&mut self, id: u64) -> Result<Option<Bytes>, ReadError> {
        let segment = Arc::clone(&self.segment);
        let run = segment.run(id, self.seed)?;
        let behind = self.behind.filter(|(offset, next)| *offset >= run.offset && *next <= id);
        (self.frame, self.pieces) = (None, None);
        if behind.is_none() && self.find_even(&segment, run, id)? {
            return Ok(None);
        }
        let (offset, next_id) = behind.unwrap_or((run.offset, run.first_id));
        let extent = segment.extent(self.seed, offset, next_id);
        let is_last = id.checked_add(1) == Some(run.end_id);
        let len_max = if is_last { LAST_LOOKUP_LEN_MAX } else { LOOKUP_LEN_MAX };
        let run_len = run.end.saturating_sub(offset).min(len_max);
        let read_len = usize::try_from(run_len).unwrap_or(0).max(FRAME_HEADER_LEN);
        let may_be_pieces = read_len > SHORT_RUN_LEN_MAX && run.end_id.saturating_sub(next_id) > 1;
        let first_len = if may_be_pieces { HEADERS_READ_LEN } else { read_len };
        let source = Self::source(&mut self.source, &segment, run, first_len, extent.limit)?;
        let mut scanner = Scanner::new(extent);
        let found = scanner.find(source, id)?;
        if let Some(frame) = &found
            && let Some(pieces) = Pieces::open_at(source, frame, &extent, id)?
        {
            return Ok(self.keep_pieces(frame, pieces));
        }
        source.set_read_len(read_len);
        let whole = found.map(|frame| scanner.take(source, frame.offset)).transpose()?.flatten();
        let frame = match whole {
            Some(frame) => frame,
            None => {
                // What may have to be looked for behind it is not in the map of a part.
                *source = segment.source(segment.handle()?, read_len, extent.limit);
                match Self::find_by_steps(&segment, &mut scanner, source, id)? {
                    Ok(frame) => frame,
                    Err(gap) => {
                        // The frame may begin there, and the pieces be whole that the entry is in.
                        let extent =
                            Extent { offset: gap.offset, next_id: gap.ids.start, ..extent };
                        if let Some(frame) = Scanner::new(extent).find(source, id)?
                            && let Some(pieces) = Pieces::open_at(source, &frame, &extent, id)?
                        {
                            return Ok(self.keep_pieces(&frame, pieces));
                        }
                        return Err(ReadError::Damaged(segment.gap_damage(gap)));
                    }
                }
            }
        };
        self.behind = Some((scanner.offset(), scanner.next_id()));
        let decoded = Decoded::read(source, &frame, segment.first_id())?;
        let decoded =
            decoded.map_err(|kind| ReadError::Damaged(segment.frame_damage(&frame, kind)))?;
        self.frame = Some(decoded);
        Ok(None)
    }

    /// Reads the frame that holds this id if it stands where it would if all frames of the run had the
    /// same length. Otherwise nothing is said of what stands there.
    fn find_even(&mut self, segment: &Segment, run: Run, id: u64) -> Result<bool, ReadError> {
        let Some((offset, len)) = run.place_if_even(id) else { return Ok(false) };
        // Frames of a run of several are short, but an index that is forged may say anything.
        let Some(read_len) = usize::try_from(len).ok().filter(|len| *len <= HEADERS_READ_LEN)
        else {
            return Ok(false);
        };
        let source = Self::source(&mut self.source, segment, run, read_len, run.end)?;
        let window = source.window(offset, read_len)?;
        let Some(frame) = frame::whole(window, offset, run.end, self.seed) else {
            return Ok(false);
        };
        let ids = frame.ids(segment.first_id());
        if frame.lost || !ids.contains(&id) {
            return Ok(false);
        }
        self.behind = Some((frame.end(), ids.end));
        // What contradicts a checksum that matches is reported by the other way.
        self.frame = Decoded::read(source, &frame, segment.first_id())?.ok();
        Ok(self.frame.is_some())
    }

    /// Keeps a frame in pieces for neighbours, and returns the entry.
    fn keep_pieces(&mut self, frame: &Frame, (pieces, entry): (Pieces, Bytes)) -> Option<Bytes> {
        self.behind = Some((frame.end(), frame.ids(self.segment.first_id()).end));
        self.pieces = Some(pieces);
        self.source.as_ref().map(|source| Self::handed_out(source, entry))
    }

    /// The bytes of a run.
    fn source<'a>(
        kept: &'a mut Option<FileSource>,
        segment: &Segment,
        run: Run,
        read_len: usize,
        limit: u64,
    ) -> Result<&'a mut FileSource, ReadError> {
        let reusable = kept.take().filter(|source| source.reaches(run.end));
        let source = kept.insert(match reusable {
            Some(source) => source,
            None => segment.source(segment.handle_below(run.end)?, read_len, limit),
        });
        source.set_read_len(read_len);
        source.set_limit(limit);
        Ok(source)
    }

    /// The same where something on the way to the frame, or the frame itself, is damaged: it, or what
    /// is wrong.
    fn find_by_steps(
        segment: &Segment,
        scanner: &mut Scanner,
        source: &mut FileSource,
        id: u64,
    ) -> Result<Result<Frame, Gap>, ReadError> {
        loop {
            match scanner.step(source)? {
                Step::Frame(frame) if frame.ids(segment.first_id()).contains(&id) => {
                    return Ok(Ok(frame));
                }
                Step::Frame(_) => {}
                Step::Damaged(gap) if gap.ids.contains(&id) => return Ok(Err(gap)),
                Step::Damaged(_) => {}
                Step::Torn | Step::End => {
                    let ids = scanner.next_id()..segment.next_id().max(id.saturating_add(1));
                    let gap = Gap { offset: scanner.offset(), ids, fault: Fault::Short };
                    return Ok(Err(gap));
                }
            }
        }
    }

    fn in_frame(&self, id: u64) -> Option<Bytes> {
        let frame = self.frame.as_ref()?;
        let entry = frame.entry(id)?;
        let source = self.source.as_ref()?;
        Some(match frame.unpacked {
            true => copied_if_small(entry, frame.payload_len()),
            false => Self::handed_out(source, entry),
        })
    }

    /// The entry, if it is in the frame that was found last and that is one in pieces.
    fn in_pieces(&mut self, id: u64) -> Result<Option<Bytes>, ReadError> {
        let (Some(pieces), Some(source)) = (&mut self.pieces, &mut self.source) else {
            return Ok(None);
        };
        let entry = pieces.entry(source, id)?;
        Ok(entry.map(|entry| Self::handed_out(source, entry)))
    }

    /// An entry in what the source has read.
    fn handed_out(source: &FileSource, entry: Bytes) -> Bytes {
        match source.is_mapped() {
            true => entry,
            false => copied_if_small(entry, source.held_len()),
        }
    }

    fn nothing_at(&self, id: u64) -> ReadError {
        let gap = Gap { offset: 0, ids: id..id.saturating_add(1), fault: Fault::Short };
        ReadError::Damaged(self.segment.gap_damage(gap))
    }
}

/// A copy of an entry that is small beside the `held` bytes that it keeps in memory.
fn copied_if_small(entry: Bytes, held: usize) -> Bytes {
    let small = entry.len().saturating_mul(HELD_FACTOR_MAX) < held;
    if small { Bytes::copy_from_slice(&entry) } else { entry }
}
