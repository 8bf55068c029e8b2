//! Opening a stream that exists: what is there, what is proven, what is done about the rest.
//!
//! First the facts are gathered and nothing is changed; then [`recovery::decide`] says what to do
//! with each segment; then it is done, oldest segment first, so that a crash in the middle leaves
//! facts from which the next recovery comes to the same end.

use std::io;
use std::path::{Path, PathBuf};

use super::tail::{Limits, OpenSegment, Tail};
use super::write::{IdleSegment, Writer, remove_unfinished};
use super::{Identity, Log};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{HEADER_LEN, Proof, SLOT_LEN, Slot, SlotPlace};
use crate::format::scan::{Extent, Scanner, Step};
use crate::format::seal::Seal;
use crate::format::{BLOCK_LEN, FORMAT_VERSION, Unreadable};
use crate::options::CorruptionPolicy;
use crate::segment::index::Index;
use crate::segment::reader::{DamageKind, Walk, read_seal};
use crate::segment::recovery::{self, Action, Cut, Facts, Header, Next, Tail as TailFact};
use crate::segment::source::FileSource;
use crate::segment::{Damage, Segment, SegmentWriter, first_id_of, path_of};
use crate::storage::{self, EntryKind, OpenMode, Storage};
use crate::sync::{Arc, AtomicU64, Mutex, OnceLock, RwLock};

/// How much recovery reads at a time, in bytes.
const RECOVERY_READ_LEN: usize = 256 * 1024;

/// One segment file, as it was found.
struct Found {
    first_id: u64,
    path: PathBuf,
    file_len: u64,
    header: Header,
    /// What the header says, or what the seal repeats of it.
    slot: Option<(Slot, SlotPlace)>,
    /// The version of a header that is newer than we are.
    newer: u32,
    seal: Option<Seal>,
    cut: Cut,
    /// What was found of its frames.
    frames: Frames,
}

/// The frames of a segment, read as far as they had to be.
#[derive(Clone)]
struct Frames {
    tail: TailFact,
    proof: recovery::Proof,
    /// Where they end; frames below are there or reported.
    end: Proof,
    /// Everything below this offset was durable before.
    proven_end: u64,
    /// The index, as far as frames were read.
    points: Vec<crate::format::seal::Point>,
    /// The first damage that was seen.
    damage: Option<Damage>,
    /// Whether nothing has to be done for them to be durable.
    durable: bool,
}

/// Opens the stream in `dir`, or returns `None` if there is no segment of ours in it.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    (name, dir): (String, PathBuf),
    salt: u64,
    limits: Limits,
    policy: CorruptionPolicy,
) -> Result<Option<Log>> {
    let mut found = list(&**storage, &dir, salt)?;
    if found.is_empty() {
        return Ok(None);
    }
    mark_stale(&mut found);
    read_frames(&**storage, &mut found, salt)?;
    let actions: Vec<Action> = (0..found.len()).map(|nth| action_for(&found, nth)).collect();

    for (segment, action) in found.iter().zip(&actions) {
        match action {
            Action::Refuse => {
                return Err(Error::UnsupportedVersion {
                    path: segment.path.clone(),
                    found: segment.newer,
                    supported: FORMAT_VERSION,
                });
            }
            Action::Damaged => {
                let what = describe(&name, segment);
                if policy == CorruptionPolicy::Error {
                    return Err(Error::Corruption(what));
                }
                tracing::error!(stream = %name, "damage found while opening: {what}");
            }
            _ => {}
        }
    }
    let number = found.iter().find_map(|segment| segment.slot);
    let number = number.map(|(slot, _)| OnceLock::from(slot.constants.stream_number));
    let number = number.unwrap_or_default();
    let identity = Identity { name, dir, number, salt };
    let kept = repair(storage, &identity, found, &actions)?;
    Ok(Some(build(storage, identity, limits, &kept)))
}

/// All segments in the directory, oldest first, with their headers and seals.
fn list(storage: &dyn Storage, dir: &Path, salt: u64) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut number = None;
    for entry in storage.list(dir)? {
        let Some(first_id) = first_id_of(&entry.name) else { continue };
        if entry.kind != EntryKind::File {
            continue;
        }
        let mut segment = read_header(storage, path_of(dir, first_id), first_id, salt)?;
        if let Some((slot, _)) = &segment.slot
            && *number.get_or_insert(slot.constants.stream_number) != slot.constants.stream_number
        {
            // A segment of another stream; no frame of it validates here.
            segment.slot = None;
            segment.header = Header::Lost;
        }
        found.push(segment);
    }
    Ok(found)
}

fn read_header(storage: &dyn Storage, path: PathBuf, first_id: u64, salt: u64) -> Result<Found> {
    let file = storage.open(&path, OpenMode::Read)?;
    let file_len = file.len()?;
    let slot_at = |offset: u64| -> io::Result<_> {
        let mut bytes = [0; SLOT_LEN];
        let filled = storage::read_up_to(&*file, &mut bytes, offset)?;
        Ok(Slot::decode(&bytes[..filled], salt, first_id))
    };
    let merged = Slot::merge(slot_at(0)?, slot_at(BLOCK_LEN)?);
    // Both blocks were durable before the file had its name.
    let merged = if file_len < HEADER_LEN { Err(Unreadable::Damaged) } else { merged };
    let seal = read_seal(&*file, file_len, Some(salt), first_id)?;
    let mut newer = 0;
    let (header, slot) = match (merged, &seal) {
        (Ok(slot), _) => (Header::Whole, Some(slot)),
        (Err(Unreadable::Newer(version)), _) => {
            newer = version;
            (Header::Newer, None)
        }
        (Err(_), Some(seal)) => {
            let proof = Proof::of_nothing(first_id);
            let slot = Slot { constants: seal.constants, proof, first_kept: 0 };
            (Header::Whole, Some((slot, SlotPlace::First)))
        }
        (Err(_), None) => (Header::Lost, None),
    };
    let frames = Frames::unread(first_id, slot.map(|(slot, _)| slot));
    let cut = Cut::Current;
    Ok(Found { first_id, path, file_len, header, slot, newer, seal, cut, frames })
}

impl Frames {
    fn unread(first_id: u64, slot: Option<Slot>) -> Self {
        let end = slot.map_or(Proof::of_nothing(first_id), |slot| slot.proof);
        Self {
            tail: TailFact::Open,
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
fn mark_stale(found: &mut [Found]) {
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

/// Reads the frames that are not proven, newest segment first: a segment of which anything was
/// synced proves that everything before it was, for segments are synced in order.
fn read_frames(storage: &dyn Storage, found: &mut [Found], salt: u64) -> Result<()> {
    let mut later: Option<(u64, u64)> = None;
    let mut later_proven = false;
    for segment in found.iter_mut().rev() {
        if segment.cut == Cut::Stale {
            continue;
        }
        let Some((slot, _)) = segment.slot else {
            // What its header said of the segment before it is lost, but not its first id.
            later = Some((0, segment.first_id));
            continue;
        };
        segment.frames = frames_of(storage, segment, slot, salt, later, later_proven)?;
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
    salt: u64,
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
            frames.tail = TailFact::Sealed;
            frames.end = Proof { synced_to: seal.end, next_id: seal.next_id, digest: seal.digest };
            frames.proven_end = seal.end;
            // The slot speaks for the frames. Only what was synced behind the segment speaks for the
            // seal, whose own sync can have failed or not have come yet.
            frames.durable = later_proven;
            return Ok(frames);
        }
        (None, None) if segment.file_len == slot.proof.synced_to => return Ok(frames),
        (None, Some((end, next_id))) if later_proven => {
            // Full segments are sealed before anything behind them is synced; this seal is lost.
            frames.proof = recovery::Proof::Short;
            frames.end.synced_to = end.max(slot.proof.synced_to);
            frames.end.next_id = next_id.max(slot.proof.next_id);
            frames.proven_end = frames.end.synced_to;
            return Ok(frames);
        }
        _ if too_short => return Ok(frames),
        _ => {}
    }
    scan(storage, segment, slot, salt, &mut frames)?;
    Ok(frames)
}

/// Reads the frames behind the proof of the slot.
fn scan(
    storage: &dyn Storage,
    segment: &Found,
    slot: Slot,
    salt: u64,
    frames: &mut Frames,
) -> Result<()> {
    let file = storage.open(&segment.path, OpenMode::Read)?;
    let mut source = FileSource::new(file, RECOVERY_READ_LEN);
    let first_id = segment.first_id;
    let mut scanner = Scanner::new(Extent {
        seed: SegmentSeed::new(salt, slot.constants.stream_number, first_id),
        first_id,
        offset: slot.proof.synced_to,
        next_id: slot.proof.next_id,
        limit: segment.seal.map_or(segment.file_len, |seal| seal.end),
        proven_end: slot.proof.synced_to,
        proven_id: slot.proof.next_id,
    });
    let mut walk = Walk::new(slot.proof);
    let torn = loop {
        match scanner.step(&mut source)? {
            Step::Frame(frame) => walk.frame(&frame, first_id),
            Step::Damaged(gap) => {
                frames.proof = recovery::Proof::Short;
                frames.damage.get_or_insert(Damage {
                    ids: gap.ids,
                    file: segment.path.clone(),
                    offset: gap.offset,
                    kind: DamageKind::Frame(gap.fault),
                });
            }
            Step::Torn => break true,
            Step::End => break false,
        }
    };
    frames.end = Proof {
        synced_to: scanner.offset(),
        next_id: scanner.next_id(),
        digest: walk.proof.digest,
    };
    frames.points = walk.points;
    frames.proven_end = scanner.proven_end();
    frames.durable = false;
    frames.tail = match &segment.seal {
        Some(seal) if seal.end == frames.end.synced_to && seal.next_id == frames.end.next_id => {
            TailFact::Sealed
        }
        Some(_) => TailFact::Torn,
        None if torn => TailFact::Torn,
        None => TailFact::Open,
    };
    Ok(())
}

/// The facts about segment number `nth`, and what they lead to.
fn action_for(found: &[Found], nth: usize) -> Action {
    let segment = &found[nth];
    let later = found[nth + 1..].iter().find(|later| later.cut == Cut::Current);
    let next_id = segment.frames.end.next_id;
    let next = match later {
        None => Next::None,
        Some(later) if later.first_id == next_id => Next::Joins,
        Some(later) if later.first_id > next_id => Next::Leaves,
        Some(_) => Next::Overlaps,
    };
    recovery::decide(&Facts {
        header: segment.header,
        cut: segment.cut,
        tail: segment.frames.tail,
        proof: segment.frames.proof,
        next,
    })
}

/// Damage in words, for the policy that refuses it and for the log.
fn describe(stream: &str, segment: &Found) -> String {
    let file = segment.path.display();
    if segment.header == Header::Lost {
        return format!("stream {stream:?}: the header of {file} cannot be read");
    }
    match &segment.frames.damage {
        Some(damage) => format!(
            "stream {stream:?}: entries {}..{} in {file} at offset {}: {}",
            damage.ids.start,
            damage.ids.end,
            damage.offset,
            damage.reason()
        ),
        None if segment.file_len < segment.frames.proven_end => format!(
            "stream {stream:?}: {file} has {} bytes, and {} of it had been durable",
            segment.file_len, segment.frames.proven_end
        ),
        None => format!(
            "stream {stream:?}: {file} does not fit the segments beside it (ids {}..{})",
            segment.first_id, segment.frames.end.next_id
        ),
    }
}

/// Does what was decided, and returns what is left, oldest first.
fn repair(
    storage: &Arc<dyn Storage>,
    identity: &Identity,
    found: Vec<Found>,
    actions: &[Action],
) -> Result<Vec<(Found, Action)>> {
    let cut_number = found
        .iter()
        .filter_map(|segment| segment.slot)
        .map(|(slot, _)| slot.constants.cut_number)
        .max()
        .unwrap_or(0);
    let mut kept: Vec<(Found, Action)> = Vec::new();
    let mut deleted = Vec::new();
    let mut over = false;
    let last = found.len() - 1;
    for (nth, (mut segment, action)) in found.into_iter().zip(actions).enumerate() {
        if over || *action == Action::Delete {
            deleted.push(segment.path);
            continue;
        }
        let newest = nth == last || *action == Action::CutStream;
        match action {
            Action::CutStream => {
                over = nth < last;
                make_durable(&**storage, &mut segment, newest, Some(cut_number + 1))?;
            }
            Action::Keep | Action::CutTail if !segment.frames.durable => {
                make_durable(&**storage, &mut segment, newest, None)?;
            }
            Action::Damaged if !segment.frames.durable => keep_evidence(&**storage, &segment)?,
            _ => {}
        }
        kept.push((segment, *action));
    }
    // Newest first, so that what a crash leaves behind still begins where a later cut says.
    for path in deleted.iter().rev() {
        storage.remove_file(path)?;
    }
    remove_unfinished(&**storage, &identity.dir)?;
    if !deleted.is_empty() {
        storage.sync_dir(&identity.dir)?;
    }
    Ok(kept)
}

/// Makes durable what is kept of a segment: cuts what stands behind its frames, writes its unproven
/// part again, and only then records that it is durable.
fn make_durable(
    storage: &dyn Storage,
    segment: &mut Found,
    newest: bool,
    cut_number: Option<u64>,
) -> Result<()> {
    let Some((mut slot, place)) = segment.slot else {
        return Ok(());
    };
    let Frames { tail, end, proven_end, .. } = segment.frames;
    let sealed = tail == TailFact::Sealed;
    let path = segment.path.clone();
    let mut writer = SegmentWriter::open(storage, path, slot, place, end.synced_to)?;
    if sealed {
        writer.rewrite(proven_end, segment.file_len)?;
        writer.cut(segment.file_len)?;
    } else {
        writer.rewrite(proven_end, end.synced_to)?;
        writer.cut(end.synced_to)?;
    }
    writer.sync()?;
    if !newest && !sealed {
        segment.frames.points = walk_all(storage, segment, slot, end)?;
        writer.seal(end, &segment.frames.points)?;
        writer.sync()?;
    }
    slot.proof = end;
    slot.constants.cut_number = cut_number.unwrap_or(slot.constants.cut_number);
    writer.write_slot(slot)?;
    writer.sync()?;
    segment.slot = Some((slot, place.other()));
    Ok(())
}

/// The whole index of a segment whose seal is lost.
fn walk_all(
    storage: &dyn Storage,
    segment: &Found,
    slot: Slot,
    end: Proof,
) -> Result<Vec<crate::format::seal::Point>> {
    let file = storage.open(&segment.path, OpenMode::Read)?;
    let mut source = FileSource::new(file, RECOVERY_READ_LEN);
    let constants = slot.constants;
    let mut scanner = Scanner::new(Extent {
        seed: SegmentSeed::new(constants.salt, constants.stream_number, segment.first_id),
        first_id: segment.first_id,
        offset: HEADER_LEN,
        next_id: segment.first_id,
        limit: end.synced_to,
        proven_end: end.synced_to,
        proven_id: end.next_id,
    });
    let mut walk = Walk::new(Proof::of_nothing(segment.first_id));
    loop {
        match scanner.step(&mut source)? {
            Step::Frame(frame) => walk.frame(&frame, segment.first_id),
            Step::Damaged(_) => {}
            Step::Torn | Step::End => return Ok(walk.points),
        }
    }
}

/// Makes durable what is whole of a damaged segment, and changes nothing that could be evidence.
fn keep_evidence(storage: &dyn Storage, segment: &Found) -> Result<()> {
    let file = storage.open(&segment.path, OpenMode::ReadWrite)?;
    let end = segment.frames.end.synced_to.min(segment.file_len);
    storage::rewrite(&*file, segment.frames.proven_end.min(end), end)?;
    if segment.frames.tail == TailFact::Torn && segment.seal.is_none() {
        file.set_len(end)?;
    }
    file.sync()?;
    Ok(())
}

/// The stream over what was kept.
fn build(
    storage: &Arc<dyn Storage>,
    identity: Identity,
    limits: Limits,
    kept: &[(Found, Action)],
) -> Log {
    let mut segments = Vec::with_capacity(kept.len());
    for (nth, (segment, _)) in kept.iter().enumerate() {
        let later_first_id = kept.get(nth + 1).map(|(later, _)| later.first_id);
        segments.push(Arc::new(reader_for(storage, segment, later_first_id)));
    }
    let mut writer = Writer::new();
    let mut next_id = 0;
    let mut open = None;
    let mut end_lost = None;
    if let Some((newest, action)) = kept.last() {
        let end = newest.frames.end;
        next_id = end.next_id;
        writer.predecessor = (end.synced_to, true);
        match newest.slot {
            None => {
                let ids = newest.first_id..u64::MAX;
                let (file, kind) = (newest.path.clone(), DamageKind::Header);
                end_lost = Some(Damage { ids, file, offset: 0, kind });
            }
            // A sealed segment is full; a damaged one is never written to again.
            Some(_) if newest.is_sealed() || *action == Action::Damaged => {}
            Some((slot, place)) => {
                let seed =
                    SegmentSeed::new(identity.salt, slot.constants.stream_number, newest.first_id);
                open = Some(OpenSegment::new(seed, newest.first_id, end));
                writer.idle = Some(IdleSegment { slot, newest: place, end: end.synced_to });
            }
        }
    }
    let slots = || kept.iter().filter_map(|(segment, _)| segment.slot).map(|(slot, _)| slot);
    writer.cut_number = slots().map(|slot| slot.constants.cut_number).max().unwrap_or(0);
    let first_kept = slots().map(|slot| slot.first_kept).max().unwrap_or(0);
    Log {
        storage: Arc::clone(storage),
        identity,
        limits,
        tail: Mutex::new(Tail::new(next_id, open)),
        writer: Mutex::new(writer),
        segments: RwLock::new(Arc::new(segments)),
        committed: AtomicU64::new(next_id),
        durable: AtomicU64::new(next_id),
        first_kept: AtomicU64::new(first_kept),
        end_lost,
        staged: Default::default(),
        unproven: Mutex::default(),
        new_full_segment: Default::default(),
        watched: Default::default(),
    }
}

impl Found {
    /// Whether the frames end with a whole seal.
    fn is_sealed(&self) -> bool {
        self.frames.tail == TailFact::Sealed
    }
}

fn reader_for(storage: &Arc<dyn Storage>, segment: &Found, later_first_id: Option<u64>) -> Segment {
    let seed = segment.slot.map(|(slot, _)| {
        SegmentSeed::new(slot.constants.salt, slot.constants.stream_number, segment.first_id)
    });
    let end = segment.frames.end;
    let next_id = match seed {
        Some(_) => later_first_id.map_or(end.next_id, |later| end.next_id.min(later)),
        None => later_first_id.unwrap_or(segment.first_id),
    };
    let read_from = segment.slot.map_or(HEADER_LEN, |(_, _)| segment.index_known_from());
    let mut index = if read_from == HEADER_LEN { Index::empty() } else { Index::unread(read_from) };
    index.extend(&segment.frames.points);
    let extent = (end.synced_to, next_id);
    Segment::new(Arc::clone(storage), segment.path.clone(), segment.first_id, seed, extent, index)
}

impl Found {
    /// From where on recovery has read the frames and made their index.
    fn index_known_from(&self) -> u64 {
        match self.frames.points.first() {
            Some(point) => point.offset(),
            None => self.frames.end.synced_to,
        }
    }
}
