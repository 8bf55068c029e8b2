//! Doing what was decided. The only part of recovery that writes.

use super::found::{Found, Frames};
use crate::error::Result;
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, HEADER_LEN, Proof, Slot};
use crate::format::scan::Extent;
use crate::format::seal::Point;
use crate::log::Identity;
use crate::log::write::remove_unfinished;
use crate::segment::SegmentWriter;
use crate::segment::recovery::{Action, Tail};
use crate::segment::source::FileSource;
use crate::segment::walk::{WALK_READ_LEN, Walk};
use crate::storage::{self, OpenMode, Storage};
use crate::sync::Arc;

/// Does what was decided, and returns what is left, oldest first.
pub(super) fn repair(
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
    let sealed = tail == Tail::Sealed;
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
fn walk_all(storage: &dyn Storage, segment: &Found, slot: Slot, end: Proof) -> Result<Vec<Point>> {
    let file = storage.open(&segment.path, OpenMode::Read)?;
    let Constants { salt, stream_number, first_id, .. } = slot.constants;
    let extent = Extent {
        seed: SegmentSeed::new(salt, stream_number, first_id),
        first_id,
        offset: HEADER_LEN,
        next_id: first_id,
        limit: end.synced_to,
        proven_end: end.synced_to,
        proven_id: end.next_id,
    };
    let mut source = FileSource::new(file, WALK_READ_LEN);
    Ok(Walk::over(&mut source, extent, 0)?.points)
}

/// Makes durable what is whole of a damaged segment, and changes nothing that could be evidence.
fn keep_evidence(storage: &dyn Storage, segment: &Found) -> Result<()> {
    let file = storage.open(&segment.path, OpenMode::ReadWrite)?;
    let end = segment.frames.end.synced_to.min(segment.file_len);
    storage::rewrite(&*file, segment.frames.proven_end.min(end), end)?;
    if segment.frames.tail == Tail::Torn && segment.seal.is_none() {
        file.set_len(end)?;
    }
    file.sync()?;
    Ok(())
}
