//! Decoded frames, and runs of them: the frames from one point of the sparse index to the next.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::reader::{Damage, DamageKind, ReadError, Segment};
use super::source::FileSource;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_BYTES, Fault, Frame, Unpacked};
use crate::format::header::HEADER_LEN;
use crate::format::payload::Layout;
use crate::format::scan::{Extent, Gap, Scanner, Step};
use crate::format::seal::Point;
use crate::sync::Arc;

/// Longer runs are not cached, in bytes on the disk: most of one would be read in vain.
const CACHED_RUN_LEN_MAX: u64 = 1024 * 1024;

/// The most that is read at once of a run, in bytes.
const RUN_READ_LEN_MAX: u64 = 1024 * 1024;

/// How many bytes of a run are kept when it is read backwards. Only a forged index makes longer ones,
/// but for a single frame.
const KEPT_RUN_LEN_MAX: u64 = 4 * 1024 * 1024;

/// What a cached frame takes beside its payload, in bytes.
const FRAME_OVERHEAD: u64 = 64;

/// What a cached block takes beside its frames, in bytes.
const BLOCK_OVERHEAD: u64 = 128;

/// A valid frame, its payload uncompressed and its table whole.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) ids: Range<u64>,
    pub(super) layout: Layout,
    pub(super) payload: Bytes,
    /// Whether the payload is memory of its own, and no slice of what was read.
    pub(super) unpacked: bool,
}

impl Decoded {
    /// Decodes a frame that the scanner found. What the inner error says contradicts a checksum
    /// that matches.
    pub(crate) fn read(
        source: &mut FileSource,
        frame: &Frame,
        first_id: u64,
    ) -> io::Result<Result<Self, DamageKind>> {
        let Ok(len) = usize::try_from(frame.payload_len) else {
            return Ok(Err(DamageKind::Frame(Fault::Short)));
        };
        let Some(stored) = source.slice(frame.offset + FRAME_HEADER_BYTES, len)? else {
            return Ok(Err(DamageKind::Frame(Fault::Short)));
        };
        let (layout, payload) = if frame.compressed {
            match frame::unpack(frame, &stored) {
                Ok(raw) => (frame::raw_layout(frame, &raw), Bytes::from(raw)),
                Err(Unpacked::Contradiction) => return Ok(Err(DamageKind::Compression)),
                Err(Unpacked::Unsupported) => return Err(unsupported()),
            }
        } else {
            (frame.layout(), stored)
        };
        let Some(layout) = layout.filter(|layout| layout.is_whole(&payload)) else {
            return Ok(Err(DamageKind::Table));
        };
        let ids = frame.ids(first_id);
        Ok(Ok(Self { ids, layout, payload, unpacked: frame.compressed }))
    }

    /// The entry with this id, if it is one of the frame's.
    pub(crate) fn entry(&self, id: u64) -> Option<Bytes> {
        let nth = u32::try_from(id.checked_sub(self.ids.start)?).ok()?;
        self.layout.entry(&self.payload, nth).map(|range| self.payload.slice(range))
    }

    /// The bytes of the uncompressed payload.
    pub(super) fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

fn unsupported() -> io::Error {
    let what = "the entry is compressed, and this program was built without the feature \
                `compression` of ironwal";
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// The frames from one point of the sparse index to the next, or to the end of what is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Where the first frame begins.
    pub(super) offset: u64,
    /// The id of its first entry.
    pub(super) first_id: u64,
    /// Where the next run begins.
    pub(super) end: u64,
    /// The id of the first entry there.
    pub(super) end_id: u64,
    /// Whether nothing will ever be added.
    closed: bool,
}

impl Run {
    /// Where the frame of the entry `id` begins if all frames of the run have one entry and the same
    /// length, which is returned too; `None` if they cannot.
    pub(super) fn place_if_even(&self, id: u64) -> Option<(u64, u64)> {
        let (len, count) = (self.end - self.offset, self.end_id.checked_sub(self.first_id)?);
        if count < 2 || !len.is_multiple_of(count.checked_mul(8)?) {
            return None;
        }
        let frame_len = len / count;
        Some((self.offset + frame_len * id.checked_sub(self.first_id)?, frame_len))
    }
}

/// A piece of a run: whole, or not.
#[derive(Debug)]
pub(super) enum Part {
    Frame(Decoded),
    Damaged(Damage),
}

impl Part {
    /// The bytes that it takes in memory, or keeps there.
    fn weight(&self) -> u64 {
        let held = match self {
            Self::Frame(frame) => frame.payload_len(),
            Self::Damaged(damage) => damage.file.as_os_str().len(),
        };
        FRAME_OVERHEAD + size_of::<Self>() as u64 + held as u64
    }

    pub(super) fn ids(&self) -> &Range<u64> {
        match self {
            Self::Frame(frame) => &frame.ids,
            Self::Damaged(damage) => &damage.ids,
        }
    }
}

/// A run that is whole and will never change.
#[derive(Debug)]
pub(crate) struct Block {
    frames: Vec<Decoded>,
    weight: u64,
}

impl Block {
    /// The bytes that it takes in memory.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// The entry with this id, if it is one of the block's.
    pub(super) fn entry(&self, id: u64) -> Option<Bytes> {
        let behind = self.frames.partition_point(|frame| frame.ids.start <= id);
        self.frames.get(behind.checked_sub(1)?)?.entry(id)
    }
}

/// What was read last of a run, or of several that damage joins, to be taken from its end.
#[derive(Debug)]
pub(crate) struct Backwards {
    segment: Arc<Segment>,
    parts: Vec<Part>,
}

impl Backwards {
    /// What is there of entry `id`, if it is one of these and still part of the stream. Ids are
    /// asked for in falling order.
    pub(crate) fn take(&mut self, id: u64) -> Option<Result<Bytes, Damage>> {
        if self.segment.retired_from() <= id {
            return None;
        }
        while self.parts.last()?.ids().start > id {
            self.parts.pop();
        }
        match self.parts.last()? {
            Part::Frame(frame) => frame.entry(id).map(Ok),
            Part::Damaged(damage) if damage.ids.contains(&id) => Some(Err(damage.clone())),
            Part::Damaged(_) => None,
        }
    }
}

impl Segment {
    /// The run that holds `id`, which the segment holds.
    pub(super) fn run(&self, id: u64, seed: SegmentSeed) -> Result<Run, ReadError> {
        let (point, next) = self.points_around(id, seed)?;
        // The end is published before the id, so it is read after it.
        let next_id = self.next_id();
        let end = self.end();
        let id_of = |point: Point| self.first_id() + u64::from(point.index);
        let next = next.filter(|next| next.offset() < end);
        Ok(Run {
            offset: point.map_or(HEADER_LEN, Point::offset),
            first_id: point.map_or(self.first_id(), id_of),
            end: next.map_or(end, Point::offset),
            end_id: next.map_or(next_id, id_of),
            closed: next.is_some() || self.is_proven(),
        })
    }

    /// Reads a whole run, or what is kept of it of what ends with the part that holds `until`; the
    /// flag says if that is not its beginning.
    fn parts_until(
        &self,
        source: &mut FileSource,
        run: Run,
        seed: SegmentSeed,
        until: u64,
    ) -> Result<(Vec<Part>, bool), ReadError> {
        let (mut parts, mut weight, mut dropped) = (Vec::new(), 0, false);
        self.each_part(source, run, seed, |part| {
            let is_last = part.ids().contains(&until);
            weight += part.weight();
            parts.push(part);
            if weight > KEPT_RUN_LEN_MAX && parts.len() > 1 {
                parts.drain(..parts.len() - 1);
                weight = parts.iter().map(Part::weight).sum();
                dropped = true;
            }
            !is_last
        })?;
        Ok((parts, dropped))
    }

    /// Reads a whole run.
    fn parts(
        &self,
        source: &mut FileSource,
        run: Run,
        seed: SegmentSeed,
    ) -> Result<Vec<Part>, ReadError> {
        let mut parts = Vec::new();
        self.each_part(source, run, seed, |part| {
            parts.push(part);
            true
        })?;
        Ok(parts)
    }

    /// Reads a run as long as `go_on` says so of each part.
    fn each_part(
        &self,
        source: &mut FileSource,
        run: Run,
        seed: SegmentSeed,
        mut go_on: impl FnMut(Part) -> bool,
    ) -> Result<(), ReadError> {
        let mut scanner = Scanner::new(Extent {
            seed,
            first_id: self.first_id(),
            offset: run.offset,
            next_id: run.first_id,
            limit: run.end,
            proven_end: run.end,
            proven_id: run.end_id,
        });
        loop {
            let part = match scanner.step(source)? {
                Step::Frame(frame) => match Decoded::read(source, &frame, self.first_id())? {
                    Ok(decoded) => Part::Frame(decoded),
                    Err(kind) => Part::Damaged(self.frame_damage(&frame, kind)),
                },
                Step::Damaged(gap) => Part::Damaged(self.gap_damage(gap)),
                Step::Torn | Step::End => break,
            };
            if !go_on(part) {
                break;
            }
        }
        Ok(())
    }

    fn source_for(&self, run: Run) -> Result<FileSource, ReadError> {
        let len = run.end.saturating_sub(run.offset).min(RUN_READ_LEN_MAX);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(self.source(self.handle()?, len, run.end))
    }

    /// The run that holds `id`, decoded, to be read backwards.
    ///
    /// Damage that begins with the run may have begun before it: then the runs before it are read
    /// too, so that it is the same damage, with the same ids, as when it is met from the front. An
    /// iterator that stands at `floor` does not look below it.
    pub(crate) fn backwards(self: &Arc<Self>, id: u64, floor: u64) -> Result<Backwards, ReadError> {
        let seed = self.seed_or_damage()?;
        let mut run = self.run(id, seed)?;
        let mut source = self.source_for(run)?;
        let (mut parts, mut dropped) = self.parts_until(&mut source, run, seed, id)?;
        while let Some(Part::Damaged(damage)) = parts.first()
            && damage.is_gap()
            && !dropped
            && run.first_id > floor.max(self.first_id())
        {
            run = self.run(run.first_id - 1, seed)?;
            let mut lower;
            (lower, dropped) = self.parts_until(&mut source, run, seed, u64::MAX)?;
            if let (Some(Part::Damaged(before)), Some(Part::Damaged(behind))) =
                (lower.last_mut(), parts.first())
                && before.is_gap()
                && behind.is_gap()
            {
                before.ids.end = before.ids.end.max(behind.ids.end);
                parts.remove(0);
            }
            lower.append(&mut parts);
            parts = lower;
        }
        let is_there = parts.iter().any(|part| part.ids().contains(&id));
        if !is_there {
            let ids = id..id + 1;
            let gap = Gap { offset: run.offset, ids, fault: Fault::Short };
            return Err(ReadError::Damaged(self.gap_damage(gap)));
        }
        Ok(Backwards { segment: Arc::clone(self), parts })
    }

    /// The block that holds `id`, from the cache or for the cache; `None` if it is not one to be
    /// cached: it may still grow, is too long, or is damaged.
    pub(super) fn block(
        &self,
        id: u64,
        seed: SegmentSeed,
    ) -> Result<Option<Arc<Block>>, ReadError> {
        if !self.context().caches_blocks() {
            return Ok(None);
        }
        let run = self.run(id, seed)?;
        if !run.closed || run.end - run.offset > CACHED_RUN_LEN_MAX {
            return Ok(None);
        }
        if let Some(block) = self.context().block(self.number(), run.offset) {
            // Made from the right file, whatever has become of that since.
            return Ok(Some(block));
        }
        let mut source = self.source_for(run)?;
        // What is wrong with another entry of the run must not fail the read of this one.
        let Ok(parts) = self.parts(&mut source, run, seed) else { return Ok(None) };
        let mut frames = Vec::with_capacity(parts.len());
        let mut weight = BLOCK_OVERHEAD + run.end - run.offset;
        for part in parts {
            let Part::Frame(mut frame) = part else { return Ok(None) };
            if frame.unpacked {
                weight += frame.payload.len() as u64;
            } else if source.is_mapped() {
                // What is cached must not keep the file mapped.
                frame.payload = Bytes::copy_from_slice(&frame.payload);
            }
            weight += FRAME_OVERHEAD;
            frames.push(frame);
        }
        let block = Arc::new(Block { frames, weight });
        self.context().keep_block(self.number(), run.offset, Arc::clone(&block));
        if self.is_retired() {
            // Whoever retired it may have been through with the cache before this one was in it.
            self.context().forget_block(self.number(), run.offset);
        }
        Ok(Some(block))
    }
}
