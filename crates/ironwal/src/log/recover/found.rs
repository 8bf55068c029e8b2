//! What is on the disk of a stream, read without changing anything.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::repair::renamed;
use super::view::View;
use crate::error::Result;
use crate::format::checksum::SegmentSeed;
use crate::format::fields::u64_at;
use crate::format::header::{FirstKept, HEADER_LEN, Proof, SLOT_LEN, Slot, SlotPlace};
use crate::format::scan::Extent;
use crate::format::seal::{Point, Seal};
use crate::format::{BLOCK_LEN, Unreadable};
use crate::segment::reader::{judge_seal, read_seal};
use crate::segment::recovery::{self, Cut, Header, Tail};
use crate::segment::source::{FileSource, Handle};
use crate::segment::walk::{WALK_READ_LEN, Walk};
use crate::segment::{
    DELETED_PREFIX, Damage, UNFINISHED_COPY, UNFINISHED_NAME, Unwritten, first_id_of,
};
use crate::storage::{self, DirEntry, EntryKind, File, OpenMode, Storage};
use crate::sync::Arc;

/// One segment file, as it was found.
pub(crate) struct Found {
    pub(crate) first_id: u64,
    pub(crate) path: PathBuf,
    pub(crate) file_len: u64,
    pub(crate) header: Header,
    /// What the header says, or what the seal repeats of it.
    pub(crate) slot: Option<(Slot, SlotPlace)>,
    /// The version of a header that is newer than we are.
    pub(crate) newer: u32,
    pub(crate) seal: Option<Seal>,
    pub(crate) cut: Cut,
    /// What was found of its frames.
    pub(crate) frames: Frames,
    /// Frames that are durable elsewhere and not in the file yet.
    pub(crate) unwritten: Option<Arc<Unwritten>>,
    /// Where loss frames are among these.
    pub(crate) lost: Vec<u64>,
    /// Which slots cannot be read.
    pub(crate) bad_slots: [bool; 2],
}

/// The frames of a segment, read as far as they had to be.
#[derive(Clone)]
pub(crate) struct Frames {
    pub(crate) tail: Tail,
    pub(crate) proof: recovery::Proof,
    /// Where they end; frames below are there or reported.
    pub(crate) end: Proof,
    /// Everything below this offset was durable before.
    pub(crate) proven_end: u64,
    /// The index, as far as frames were read.
    pub(crate) points: Vec<Point>,
    /// The first damage that was seen.
    pub(crate) damage: Option<Damage>,
    /// Whether nothing has to be done for them to be durable.
    pub(crate) durable: bool,
}

/// All segments in the directory, oldest first, with their headers and seals; and the files that
/// have no use any more: those that were cut off and not deleted yet, and unfinished ones.
pub(super) fn list(
    storage: &dyn Storage,
    dir: &Path,
    entries: Vec<DirEntry>,
    salt: u64,
) -> Result<(Vec<Found>, Vec<PathBuf>)> {
    let mut found = Vec::new();
    let mut doomed = Vec::new();
    let mut number = None;
    for entry in entries {
        let name = renamed(&entry.name).map_or(&*entry.name, OsStr::new);
        let Some(first_id) = first_id_of(name) else {
            if is_doomed(&entry) {
                doomed.push(dir.join(entry.name));
            }
            continue;
        };
        if entry.kind != EntryKind::File {
            continue;
        }
        let mut segment = read_header(storage, dir.join(&entry.name), first_id, salt)?;
        if let Some((slot, _)) = &segment.slot
            && *number.get_or_insert(slot.constants.stream_number) != slot.constants.stream_number
        {
            // A segment of another stream; no frame of it validates here.
            segment.slot = None;
            segment.header = Header::Lost;
        }
        found.push(segment);
    }
    found.sort_by_key(|segment| segment.first_id);
    Ok((found, doomed))
}

pub(super) fn is_doomed(entry: &DirEntry) -> bool {
    // By the list, for to unlink what is not there costs every stream two system calls.
    let is_ours = |name: &str| {
        name == UNFINISHED_NAME || name == UNFINISHED_COPY || name.starts_with(DELETED_PREFIX)
    };
    entry.kind == EntryKind::File && entry.name.to_str().is_some_and(is_ours)
}

/// The salt under which a segment was written, by what is whole of its header or its seal.
pub(crate) fn salt_in(storage: &dyn Storage, path: &Path, first_id: u64) -> Result<Option<u64>> {
    let file = storage.open(path, OpenMode::Read)?;
    if let Some(salt) = salt_of_header(&*file, first_id)? {
        return Ok(Some(salt));
    }
    let seal = read_seal(&file, file.len()?, None, first_id)?;
    Ok(seal.map(|seal| seal.constants.salt))
}

/// The salt in the header of a segment, whichever log's it is.
pub(crate) fn salt_of(storage: &dyn Storage, path: &Path, first_id: u64) -> Result<Option<u64>> {
    let file = storage.open(path, OpenMode::Read)?;
    Ok(salt_of_header(&*file, first_id)?)
}

fn salt_of_header(file: &dyn File, first_id: u64) -> io::Result<Option<u64>> {
    for offset in [0, BLOCK_LEN] {
        let mut bytes = [0; SLOT_LEN];
        let filled = storage::read_up_to(file, &mut bytes, offset)?;
        let salt = u64_at(&bytes, 16);
        if Slot::decode(&bytes[..filled], salt, first_id).is_ok() {
            return Ok(Some(salt));
        }
    }
    Ok(None)
}

/// One segment, with its header and its seal.
pub(crate) fn read_header(
    storage: &dyn Storage,
    path: PathBuf,
    first_id: u64,
    salt: u64,
) -> Result<Found> {
    let file = storage.open(&path, OpenMode::Read)?;
    let file_len = file.len()?;
    let slot_at = |offset: u64| -> io::Result<_> {
        let mut bytes = [0; SLOT_LEN];
        let filled = storage::read_up_to(&*file, &mut bytes, offset)?;
        Ok(Slot::decode(&bytes[..filled], salt, first_id))
    };
    let slots = [slot_at(0)?, slot_at(BLOCK_LEN)?];
    let bad_slots = slots.map(|slot| slot.is_err());
    let merged = Slot::merge(slots[0], slots[1]);
    // Both blocks were durable before the file had its name.
    let merged = if file_len < HEADER_LEN { Err(Unreadable::Damaged) } else { merged };
    let seal = judge_seal(&file, file_len, Some(salt), first_id)?;
    let mut newer = 0;
    let (header, slot) = match (merged, seal) {
        // A newer version can have filled a segment that this one began.
        (Err(Unreadable::Newer(version)), _) | (_, Err(Unreadable::Newer(version))) => {
            newer = version;
            (Header::Newer, None)
        }
        (Ok(slot), _) => (Header::Whole, Some(slot)),
        (Err(_), Ok(seal)) => {
            let proof = Proof::of_nothing(first_id);
            let slot = Slot { constants: seal.constants, proof, first_kept: FirstKept::default() };
            (Header::Whole, Some((slot, SlotPlace::First)))
        }
        (Err(_), Err(_)) => (Header::Lost, None),
    };
    let seal = seal.ok();
    let frames = Frames::unread(first_id, slot.map(|(slot, _)| slot));
    let cut = Cut::Current;
    let (unwritten, lost) = (None, Vec::new());
    let found = Found {
        first_id,
        path,
        file_len,
        header,
        slot,
        newer,
        seal,
        cut,
        frames,
        unwritten,
        lost,
        bad_slots,
    };
    Ok(found)
}

impl Frames {
    fn unread(first_id: u64, slot: Option<Slot>) -> Self {
        let end = slot.map_or(Proof::of_nothing(first_id), |slot| slot.proof);
        Self {
            tail: Tail::Open,
            proof: recovery::Proof::Met,
            end,
            proven_end: end.synced_to,
            points: Vec::new(),
            damage: None,
            durable: true,
        }
    }
}

/// Segments behind one that was cut later are leftovers of that cut.
pub(super) fn mark_stale(found: &mut [Found]) {
    let mut cut_number = 0;
    for segment in found {
        if let Some((slot, _)) = &segment.slot {
            if slot.constants.cut_number < cut_number {
                segment.cut = Cut::Stale;
            }
            cut_number = cut_number.max(slot.constants.cut_number);
        }
    }
}

/// The first id that has not been pruned, as far as any header knows. Segments behind which a
/// segment begins at or before that id are leftovers of that pruning.
pub(super) fn mark_pruned(found: &mut [Found]) -> FirstKept {
    let claims = found.iter().filter_map(|segment| segment.slot).map(|(slot, _)| slot.first_kept);
    let first_kept = claims.max().unwrap_or_default();
    let mut later_first_id = None;
    for segment in found.iter_mut().rev().filter(|segment| segment.cut == Cut::Current) {
        if later_first_id.is_some_and(|later| later <= first_kept.id) {
            segment.cut = Cut::Pruned;
        }
        later_first_id = Some(segment.first_id);
    }
    first_kept
}

/// Reads the frames that are not proven, newest segment first: a segment of which anything was
/// synced proves that everything before it was, for segments are synced in order.
pub(super) fn read_frames(storage: &dyn Storage, found: &mut [Found]) -> Result<()> {
    let mut later: Option<(u64, u64)> = None;
    let mut later_proven = false;
    for segment in found.iter_mut().rev() {
        if segment.cut != Cut::Current {
            continue;
        }
        let Some((slot, _)) = segment.slot else {
            // What its header said of the segment before it is lost, but not its first id.
            later = Some((0, segment.first_id));
            continue;
        };
        segment.frames = frames_of(storage, segment, slot, later, later_proven)?;
        later_proven |= slot.constants.predecessor_synced || segment.frames.proven_end > HEADER_LEN;
        later = Some((slot.constants.predecessor_end, segment.first_id));
    }
    Ok(())
}

/// Reads the frames of one segment, as far as they are not proven. `later` is what the next
/// segment says: where this one ended, and its own first id.
fn frames_of(
    storage: &dyn Storage,
    segment: &Found,
    slot: Slot,
    later: Option<(u64, u64)>,
    later_proven: bool,
) -> Result<Frames> {
    let mut frames = Frames::unread(segment.first_id, Some(slot));
    let too_short = segment.file_len < slot.proof.synced_to;
    if too_short {
        frames.proof = recovery::Proof::Short;
    }
    match (&segment.seal, later) {
        (Some(seal), _) if later_proven || slot.proof.synced_to == seal.end => {
            frames.tail = Tail::Sealed;
            frames.end = Proof { synced_to: seal.end, next_id: seal.next_id, digest: seal.digest };
            frames.proven_end = seal.end;
            // The slot speaks for the frames. Only what was synced behind the segment speaks for the
            // seal, whose own sync can have failed or not have come yet.
            frames.durable = later_proven;
            return Ok(frames);
        }
        (None, None) if segment.file_len == slot.proof.synced_to => return Ok(frames),
        // The seal could not be written again, or is lost; the slot says the same of the frames.
        (None, Some((_, next_id))) if next_id == slot.proof.next_id && !too_short => {
            return Ok(frames);
        }
        (None, Some((end, next_id))) if later_proven => {
            // Full segments are sealed before anything behind them is synced; this seal is lost. If the
            // header is, too, that says where the frames end, they do not go beyond the file.
            let end = if end > 0 { end } else { segment.file_len };
            frames.proof = recovery::Proof::Short;
            frames.end.synced_to = end.max(slot.proof.synced_to);
            frames.end.next_id = next_id.max(slot.proof.next_id);
            frames.proven_end = frames.end.synced_to;
            return Ok(frames);
        }
        _ if too_short => return Ok(frames),
        _ => {}
    }
    scan(storage, segment, slot, &mut frames)?;
    Ok(frames)
}

/// Reads the frames behind the proof of the slot.
fn scan(storage: &dyn Storage, segment: &Found, slot: Slot, frames: &mut Frames) -> Result<()> {
    let limit = segment.seal.map_or(segment.file_len, |seal| seal.end);
    let walk = segment.walk(storage, slot.proof, limit, slot.proof)?;
    if let Some(gap) = walk.gap {
        frames.proof = recovery::Proof::Short;
        frames.damage = Some(Damage::of_gap(gap, &segment.path));
    }
    frames.end = walk.end;
    frames.proven_end = walk.proven_end;
    frames.points = walk.points;
    frames.durable = false;
    frames.tail = match &segment.seal {
        Some(seal) if seal.end == walk.end.synced_to && seal.next_id == walk.end.next_id => {
            Tail::Sealed
        }
        Some(_) => Tail::Torn,
        None if walk.torn => Tail::Torn,
        None => Tail::Open,
    };
    Ok(())
}

impl Found {
    /// Takes what the journal holds of the segment as if its file did.
    pub(super) fn lay_over(&mut self, view: &View) -> Result<()> {
        let Some((slot, _)) = self.slot else { return Ok(()) };
        let shares = view.shares_of(self, slot.constants.stream_number)?;
        let Some(last) = shares.last() else { return Ok(()) };
        self.file_len = self.file_len.max(Proof::behind(last.record).synced_to);
        let unwritten = Arc::new(Unwritten::default());
        for share in shares {
            if share.lost {
                self.lost.push(share.record.offset);
            }
            unwritten.push(share.record.offset, share.bytes);
        }
        self.unwritten = Some(unwritten);
        Ok(())
    }

    /// Walks over the frames from `start` up to `limit`, of which those below `proven` had been
    /// durable. Finds nothing if the header is lost.
    pub(super) fn walk(
        &self,
        storage: &dyn Storage,
        start: Proof,
        limit: u64,
        proven: Proof,
    ) -> Result<Walk> {
        let (mut source, extent) = self.source(storage, start, limit, proven)?;
        Ok(Walk::over(&mut source, extent, start.digest)?)
    }

    /// The bytes of the same walk.
    pub(crate) fn source(
        &self,
        storage: &dyn Storage,
        start: Proof,
        limit: u64,
        proven: Proof,
    ) -> Result<(FileSource, Extent)> {
        let constants = self.slot.map(|(slot, _)| slot.constants);
        let (salt, number) = constants.map_or((0, 0), |it| (it.salt, it.stream_number));
        let extent = Extent {
            seed: SegmentSeed::new(salt, number, self.first_id),
            first_id: self.first_id,
            offset: start.synced_to,
            next_id: start.next_id,
            limit,
            proven_end: proven.synced_to,
            proven_id: proven.next_id,
        };
        let file = Handle::File(storage.open(&self.path, OpenMode::Read)?);
        let source = FileSource::new(file, WALK_READ_LEN, limit);
        Ok((source.with_unwritten(self.unwritten.clone()), extent))
    }

    /// Whether the frames, and the seal, still are what was found.
    pub(super) fn is_unchanged(&self, storage: &dyn Storage) -> Result<bool> {
        let Some((slot, _)) = self.slot else { return Ok(true) };
        if let Some(seal) = &self.seal
            && self.frames.tail == Tail::Sealed
        {
            let file = storage.open(&self.path, OpenMode::Read)?;
            let again = read_seal(&file, file.len()?, Some(slot.constants.salt), self.first_id)?;
            if again != Some(*seal) {
                return Ok(false);
            }
        }
        let limit = self.frames.end.synced_to;
        let again = self.walk(storage, slot.proof, limit, slot.proof)?;
        Ok(again.end == self.frames.end)
    }
}
