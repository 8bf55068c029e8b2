//! Making a stream whole again, in the copy that a repair works in: headers that are lost, marks in the
//! place of what is lost, segments that are missing, slots and seals.

use std::ops::Range;
use std::path::Path;

use super::repair::Work;
use super::root::Dir;
use super::salvage::{Filled, fill, readable};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, Fault, Place};
use crate::format::header::{Constants, FirstKept, HEADER_LEN, Proof, Slot, SlotPlace};
use crate::format::scan::{Scanner, Step};
use crate::format::seal::{Point, Seal};
use crate::format::{ALIGN, MAX_FRAME_LEN};
use crate::log::recover::found::Found;
use crate::log::recover::view::View;
use crate::log::recover::{Plan, journal, plan_of};
use crate::segment::index::PointPicker;
use crate::segment::recovery::{Action, Header};
use crate::segment::source::FileSource;
use crate::segment::walk::extend_digest;
use crate::segment::writer::no_space;
use crate::segment::{Decoded, path_of};
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::Arc;

/// How many segments are made at most for ids that are missing in one place; each holds 2^32 - 1.
const MADE_MAX: usize = 16;

/// How many numbers are tried at most for a stream of which no header says it.
const NUMBERS_TRIED_MAX: u64 = 1 << 24;

/// Makes segments that only the journal has, and lost headers again.
pub(super) fn headers(work: &mut Work<'_>, dir: &Dir) -> Result<()> {
    let Some(before) = plan_with_journal(work, dir)? else { return Ok(()) };
    let known = before.found.iter().find_map(|it| Some(it.slot?.0.constants.stream_number));
    let number = match known {
        Some(number) => number,
        None => find_number(work, &before.found)?,
    };
    make_journaled(work, dir, number, &before)?;
    let Some(Plan { mut found, actions, first_kept, .. }) = plan_with_journal(work, dir)? else {
        return Ok(());
    };
    let mut before: Option<(u64, u64)> = None;
    for nth in 0..found.len() {
        if actions[nth] == Action::Delete {
            continue;
        }
        let later = (nth + 1..found.len()).find(|nth| actions[*nth] != Action::Delete);
        let later = later.map(|nth| found[nth].first_id);
        if found[nth].header == Header::Lost {
            let constants = constants_behind(before, work.root.salt, number, found[nth].first_id);
            make_header(work, &mut found[nth], constants, first_kept, later)?;
        }
        before = place_of(&found[nth]).or(before);
    }
    Ok(storage_of(work).sync_dir(&dir.path)?)
}

fn plan_with_journal(work: &Work<'_>, dir: &Dir) -> Result<Option<Plan>> {
    let view = View::new(Arc::clone(work.storage), work.dir.clone(), work.root.salt).alone();
    view.refresh()?;
    plan_of(storage_of(work), &dir.path, work.root.salt, Some(&view))
}

/// Makes segments, without frames yet, that are not there, and of which the journal holds some.
fn make_journaled(work: &Work<'_>, dir: &Dir, number: u64, plan: &Plan) -> Result<()> {
    let journal = journal::read(storage_of(work), &work.dir, work.root.salt)?;
    for (first_id, pieces) in journal.pieces().remove(&number).unwrap_or_default() {
        let end = pieces.values().next_back().map_or(0, |piece| piece.record.ids().end);
        let is_there = plan.found.iter().any(|segment| segment.first_id == first_id);
        if is_there || end <= plan.first_kept.id {
            continue;
        }
        let before = plan.found.iter().rfind(|segment| segment.first_id < first_id);
        let before = before.map(|before| place_of(before).unwrap_or((HEADER_LEN, 0)));
        let constants = constants_behind(before, work.root.salt, number, first_id);
        let proof = Proof::of_nothing(first_id);
        let file = create(work, &dir.path, first_id)?;
        write_slots(&*file, Slot { constants, proof, first_kept: plan.first_kept })?;
        file.sync()?;
    }
    Ok(())
}

fn storage_of<'a>(work: &Work<'a>) -> &'a dyn Storage {
    &**work.storage
}

/// Where a segment ends, and its cut.
fn place_of(segment: &Found) -> Option<(u64, u64)> {
    let (slot, _) = segment.slot?;
    Some((segment.frames.end.synced_to, slot.constants.cut_number))
}

/// The constants of a segment that follows one which ends there, in this cut.
fn constants_behind(
    before: Option<(u64, u64)>,
    salt: u64,
    stream_number: u64,
    first_id: u64,
) -> Constants {
    let (predecessor_end, cut_number) = before.unwrap_or((0, 0));
    let predecessor_synced = before.is_some();
    Constants { salt, stream_number, first_id, cut_number, predecessor_end, predecessor_synced }
}

/// The number of a stream of which no header says it: the one under which a first frame is valid. If there
/// is none, one that no stream has.
fn find_number(work: &mut Work<'_>, found: &[Found]) -> Result<u64> {
    for segment in found {
        let file = work.storage.open(&segment.path, OpenMode::Read)?;
        let mut header = [0; FRAME_HEADER_LEN];
        if storage::read_up_to(&*file, &mut header, HEADER_LEN)? < FRAME_HEADER_LEN {
            continue;
        }
        for number in 0..work.root.numbers_end.min(NUMBERS_TRIED_MAX) {
            let seed = SegmentSeed::new(work.root.salt, number, segment.first_id);
            let Ok(frame) = frame::peek(&header, HEADER_LEN, segment.file_len, seed) else {
                continue;
            };
            let mut bytes = vec![0; usize::try_from(frame.len()).unwrap_or(0)];
            let filled = storage::read_up_to(&*file, &mut bytes, HEADER_LEN)?;
            if frame::verify(&bytes[..filled], &frame, seed).is_ok() {
                return Ok(number);
            }
        }
    }
    let number = work.root.numbers_end;
    work.root.numbers_end = number.saturating_add(1);
    work.write_root()?;
    Ok(number)
}

/// Makes both slots of a segment again. The frames behind them are taken as far as there are any; if a
/// segment follows, what is missing up to that is marked.
fn make_header(
    work: &Work<'_>,
    segment: &mut Found,
    constants: Constants,
    first_kept: FirstKept,
    later: Option<u64>,
) -> Result<()> {
    let nothing = Proof::of_nothing(segment.first_id);
    let slot = Slot { constants, proof: nothing, first_kept };
    (segment.slot, segment.header) = (Some((slot, SlotPlace::First)), Header::Whole);
    let len = segment.file_len.max(HEADER_LEN);
    let proven = Proof { synced_to: len, ..nothing };
    let (mut source, extent) = segment.source(&**work.storage, nothing, len, proven)?;
    let mut scanner = Scanner::new(extent);
    let mut end = nothing;
    loop {
        match scanner.step(&mut source)? {
            Step::Frame(frame) => end.digest = extend_digest(end.digest, frame.checksum),
            Step::Damaged(_) => {}
            Step::Torn | Step::End => break,
        }
        (end.synced_to, end.next_id) = (scanner.offset(), scanner.next_id());
    }
    let file = work.storage.open(&segment.path, OpenMode::ReadWrite)?;
    if let Some(later) = later {
        let seed = seed_of(constants);
        let missing = end.next_id..later;
        if missing.end < missing.start {
            return Err(impossible(&segment.path, "it reaches into the next one"));
        }
        if !missing.is_empty() {
            let lost =
                Lost { offset: end.synced_to, len: FRAME_HEADER_BYTES, ids: missing, filled: None };
            end.synced_to += lost.len;
            mark(&*file, seed, segment, &lost)?;
        }
        end.next_id = later;
    }
    write_slots(&*file, Slot { proof: end, ..slot })?;
    segment.frames.end = end;
    Ok(file.sync()?)
}

/// Makes a whole stream go on with `next_id`: a mark behind its last entry stands for those before.
pub(super) fn lose(work: &Work<'_>, dir: &Dir, next_id: u64) -> Result<()> {
    let plan = plan_of(storage_of(work), &dir.path, work.root.salt, None)?;
    let Some(Plan { mut found, actions, first_kept, .. }) = plan else {
        return Err(Error::StreamNotFound(dir.name.clone()));
    };
    let is_whole = |action: &Action| matches!(action, Action::Keep | Action::CutTail);
    let (Some(last), true) = (found.last_mut(), actions.iter().all(is_whole)) else {
        return Err(impossible(&dir.path, "entries of it are lost that nobody has marked"));
    };
    let Some((slot, _)) = last.slot else {
        return Err(impossible(&last.path, "its header is lost"));
    };
    if next_id <= last.frames.end.next_id {
        let (name, due) = (&dir.name, last.frames.end.next_id);
        return Err(Error::Config(format!("stream {name:?} goes on with id {due} already")));
    }
    last.frames.end.next_id = next_id;
    let (segment, constants) = (&*last, slot.constants);
    let is_from_before_cut = false;
    Mending { work, segment, constants, first_kept, later: None, is_from_before_cut }.mend(slot)?;
    Ok(storage_of(work).sync_dir(&dir.path)?)
}

/// Bytes in whose place a mark comes.
struct Lost {
    offset: u64,
    len: u64,
    ids: Range<u64>,
    /// What keeps those entries among them that can be read one by one.
    filled: Option<Filled>,
}

/// Marks what is lost in the segments, makes those that are missing, and what else is not whole.
pub(super) fn segments(work: &Work<'_>, dir: &Dir) -> Result<()> {
    let storage = &**work.storage;
    let Some(plan) = plan_of(storage, &dir.path, work.root.salt, None)? else { return Ok(()) };
    let number = plan.found.iter().find_map(|it| Some(it.slot?.0.constants.stream_number));
    let mut before: Option<(u64, u64)> = None;
    let mut due = plan.first_kept.id;
    for (nth, segment) in plan.found.iter().enumerate() {
        let (Some(number), Some((slot, _))) = (number, segment.slot) else {
            return Err(impossible(&segment.path, "its header could not be made again"));
        };
        if segment.first_id > due {
            let constants = constants_behind(before, work.root.salt, number, due);
            let missing = due..segment.first_id;
            before = Some(make_missing(work, &dir.path, constants, plan.first_kept, missing)?);
        }
        let later = plan.found.get(nth + 1);
        let mended = Mending {
            work,
            segment,
            constants: Constants {
                predecessor_end: before.map_or(slot.constants.predecessor_end, |(end, _)| end),
                ..slot.constants
            },
            first_kept: plan.first_kept,
            later: later.map(|later| later.first_id),
            is_from_before_cut: later
                .is_some_and(|later| segment.is_from_before_cut(plan.actions[nth], later)),
        };
        let end = mended.mend(slot)?;
        before = Some((end.synced_to, slot.constants.cut_number));
        due = end.next_id;
    }
    Ok(storage.sync_dir(&dir.path)?)
}

/// A segment that is made whole.
struct Mending<'a> {
    work: &'a Work<'a>,
    segment: &'a Found,
    constants: Constants,
    first_kept: FirstKept,
    later: Option<u64>,
    is_from_before_cut: bool,
}

/// What is in it.
struct Content {
    end: Proof,
    points: Vec<Point>,
    lost: Vec<Lost>,
}

impl Mending<'_> {
    fn mend(&self, slot: Slot) -> Result<Proof> {
        let segment = self.segment;
        let Content { mut end, points, mut lost } = self.read()?;
        if let Some(last) = lost.last_mut().filter(|last| last.offset + last.len >= end.synced_to) {
            // At the end there is room.
            last.len = last.len.max(FRAME_HEADER_BYTES).next_multiple_of(ALIGN);
            end.synced_to = last.offset + last.len;
        }
        let is_full = self.later.is_some() || segment.seal.is_some();
        let seal = Seal::encode(self.constants, end.synced_to, end.next_id, end.digest, &points);
        let Some(seal) = seal else { return Err(impossible(&segment.path, "it is too long")) };
        let slot = Slot { constants: self.constants, proof: end, first_kept: slot.first_kept };
        let file = self.work.storage.open(&segment.path, OpenMode::ReadWrite)?;
        if lost.is_empty() && !self.has_changed(&*file, &slot, is_full.then_some(&seal))? {
            return Ok(end);
        }
        let seed = seed_of(self.constants);
        let inside = segment.path.strip_prefix(&self.work.dir).unwrap_or(&segment.path);
        for lost in &lost {
            if lost.offset < segment.frames.end.synced_to {
                self.work.keep_bytes(&segment.path, inside, lost.offset, lost.len)?;
            }
            mark(&*file, seed, segment, lost)?;
        }
        let slot = Slot { first_kept: self.first_kept.max(slot.first_kept), ..slot };
        write_slots(&*file, slot)?;
        let full = |error| no_space(error, &segment.path);
        let mut len = end.synced_to;
        if is_full {
            storage::write_all_at(&*file, &seal, len).map_err(full)?;
            len += seal.len() as u64;
        }
        file.set_len(len).map_err(full)?;
        file.sync()?;
        Ok(end)
    }

    /// Whether the header or the end of the file is not as it should be.
    fn has_changed(&self, file: &dyn File, slot: &Slot, seal: Option<&Vec<u8>>) -> Result<bool> {
        let segment = self.segment;
        if segment.bad_slots != [false; 2] || self.has_other_slot(slot, seal.is_none()) {
            return Ok(true);
        }
        let Some(seal) = seal else { return Ok(false) };
        let mut there = vec![0; seal.len()];
        let filled = storage::read_up_to(file, &mut there, slot.proof.synced_to)?;
        let len = slot.proof.synced_to + seal.len() as u64;
        Ok(filled < there.len() || there != *seal || file.len()? != len)
    }

    /// Whether the newest slot is to be written again. That of a full segment may say less than its seal.
    fn has_other_slot(&self, slot: &Slot, is_newest: bool) -> bool {
        let was = self.segment.slot.map(|(was, _)| was);
        was.is_none_or(|was| {
            was.constants != slot.constants || (is_newest && was.proof != slot.proof)
        })
    }

    /// Reads all frames, as those do who read the stream.
    fn read(&self) -> Result<Content> {
        let segment = self.segment;
        let next_id = segment.frames.end.next_id;
        let next_id = self.later.map_or(next_id, |later| next_id.min(later));
        let end = Proof { next_id, ..segment.frames.end };
        let start = Proof::of_nothing(segment.first_id);
        if self.is_from_before_cut && next_id > segment.first_id {
            let (offset, ids) = (HEADER_LEN, segment.first_id..next_id);
            let len = end.synced_to.saturating_sub(offset);
            let lost = vec![Lost { offset, len, ids, filled: None }];
            return Ok(Content { end: Proof { digest: 0, ..end }, points: Vec::new(), lost });
        }
        let storage = &**self.work.storage;
        let (mut source, extent) = segment.source(storage, start, end.synced_to, end)?;
        let mut scanner = Scanner::new(extent);
        let mut picker = PointPicker::new();
        let (mut points, mut lost, mut digest) = (Vec::new(), Vec::new(), 0);
        loop {
            match scanner.step(&mut source)? {
                Step::Frame(frame) => {
                    let ids = frame.ids(segment.first_id);
                    // What cannot be unpacked here is whole by its checksum.
                    let decoded = Decoded::read(&mut source, &frame, segment.first_id);
                    if matches!(decoded, Ok(Err(_))) {
                        let (offset, len) = (frame.offset, frame.len());
                        lost.push(Lost { offset, len, ids, filled: None });
                        continue;
                    }
                    digest = extend_digest(digest, frame.checksum);
                    points.extend(picker.pick(frame.index, frame.offset));
                }
                Step::Damaged(gap) if gap.fault == Fault::Lost => {}
                Step::Damaged(gap) => {
                    let len = scanner.offset().saturating_sub(gap.offset);
                    let filled = self.salvage(&mut source, gap.offset, len, &gap.ids, end)?;
                    for frame in filled.iter().flat_map(|filled| &filled.frames) {
                        digest = extend_digest(digest, frame.checksum);
                        points.extend(picker.pick(frame.index, frame.offset));
                    }
                    lost.push(Lost { offset: gap.offset, len, ids: gap.ids, filled });
                }
                Step::Torn | Step::End => break,
            }
        }
        let mut end = Proof { synced_to: scanner.offset(), next_id: scanner.next_id(), digest };
        if end.next_id < next_id {
            // Where not even bytes are left of them, a segment that is made for them would have this name.
            let (offset, ids) = (end.synced_to, end.next_id..next_id);
            lost.push(Lost { offset, len: FRAME_HEADER_BYTES, ids, filled: None });
            end.next_id = next_id;
        }
        Ok(Content { end, points, lost })
    }

    /// What takes the place of a damaged batch of which some entries can be read.
    fn salvage(
        &self,
        source: &mut FileSource,
        offset: u64,
        len: u64,
        ids: &Range<u64>,
        end: Proof,
    ) -> Result<Option<Filled>> {
        let (storage, segment) = (self.work.storage, self.segment);
        let bytes = offset..offset.saturating_add(len);
        let entries = readable(storage, segment, source, (bytes, ids.clone()), end)?;
        let seed = seed_of(self.constants);
        let place = Place { seed, offset, index: 0, synced_to: 0 };
        Ok(fill(place, segment.first_id, len, ids, &entries))
    }
}

/// Makes segments with marks for ids of which there is none; returns what the next one is behind.
fn make_missing(
    work: &Work<'_>,
    dir: &Path,
    mut constants: Constants,
    first_kept: FirstKept,
    missing: Range<u64>,
) -> Result<(u64, u64)> {
    let mut start = missing.start;
    let mut end = constants.predecessor_end;
    for nth in 0.. {
        if start == missing.end {
            break;
        }
        if nth == MADE_MAX {
            let what = format!("{} entries are missing before it", missing.end - missing.start);
            return Err(impossible(&path_of(dir, missing.end), &what));
        }
        constants.first_id = start;
        let ids = start..missing.end.min(start + u64::from(u32::MAX));
        let seed = seed_of(constants);
        let lost =
            Lost { offset: HEADER_LEN, len: FRAME_HEADER_BYTES, ids: ids.clone(), filled: None };
        end = lost.offset + lost.len;
        let proof = Proof { synced_to: end, next_id: ids.end, digest: 0 };
        let file = create(work, dir, start)?;
        write_slots(&*file, Slot { constants, proof, first_kept })?;
        write_marks(&*file, seed, start, &lost)
            .ok_or_else(|| impossible(&path_of(dir, start), "it takes no mark"))??;
        if let Some(seal) = Seal::encode(constants, end, ids.end, 0, &[]) {
            storage::write_all_at(&*file, &seal, end)?;
        }
        file.sync()?;
        start = ids.end;
        (constants.predecessor_end, constants.predecessor_synced) = (end, true);
    }
    Ok((end, constants.cut_number))
}

fn create(work: &Work<'_>, dir: &Path, first_id: u64) -> Result<Arc<dyn File>> {
    let path = path_of(dir, first_id);
    work.storage.open(&path, OpenMode::Create).map_err(|error| no_space(error, &path))
}

pub(super) fn write_slots(file: &dyn File, slot: Slot) -> Result<()> {
    for place in [SlotPlace::First, SlotPlace::Second] {
        storage::write_all_at(file, &slot.encode(), place.offset())?;
    }
    // What else is in the blocks means nothing; but a file has both.
    let len = file.len()?.max(HEADER_LEN);
    Ok(file.set_len(len)?)
}

fn seed_of(constants: Constants) -> SegmentSeed {
    SegmentSeed::new(constants.salt, constants.stream_number, constants.first_id)
}

/// Puts marks in the place of what is lost of a segment.
fn mark(file: &dyn File, seed: SegmentSeed, segment: &Found, lost: &Lost) -> Result<()> {
    write_marks(file, seed, segment.first_id, lost)
        .ok_or_else(|| impossible(&segment.path, "there is no room for marks of what is lost"))?
}

/// Writes marks over all bytes of what is lost: one, or as many as frames of that length take. `None`: there
/// is less room than a mark takes, or fewer ids than marks.
fn write_marks(
    file: &dyn File,
    seed: SegmentSeed,
    first_id: u64,
    lost: &Lost,
) -> Option<Result<()>> {
    if let Some(filled) = &lost.filled {
        return Some(storage::write_all_at(file, &filled.bytes, lost.offset).map_err(Error::from));
    }
    let marks = lost.len.div_ceil(MAX_FRAME_LEN).max(1);
    let (mut offset, mut ids) = (lost.offset, lost.ids.clone());
    for left in (0..marks).rev() {
        let end = lost.offset + lost.len;
        // Each one leaves room for a header, and an id, for those behind it.
        let len = (end - offset - left * FRAME_HEADER_BYTES).min(MAX_FRAME_LEN);
        let count = if left == 0 { ids.end.checked_sub(ids.start)? } else { 1 };
        let count = u32::try_from(count).ok()?;
        let index = u32::try_from(ids.start.checked_sub(first_id)?).ok()?;
        let place = Place { seed, offset, index, synced_to: 0 };
        let mut bytes = Vec::new();
        frame::encode_loss(&mut bytes, place, count, len)?;
        if let Err(error) = storage::write_all_at(file, &bytes, offset) {
            return Some(Err(error.into()));
        }
        offset += len;
        ids.start += u64::from(count);
    }
    Some(Ok(()))
}

fn impossible(path: &Path, why: &str) -> Error {
    Error::Corruption(format!("{} cannot be repaired: {why}", path.display()))
}
