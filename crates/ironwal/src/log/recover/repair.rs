//! Doing what was decided. The only part of recovery that writes.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::found::{Found, Frames};
use crate::error::{Error, Result};
use crate::format::header::{FirstKept, Proof};
use crate::format::seal::Point;
use crate::log::Identity;
use crate::segment::recovery::{Action, Cut, Tail};
use crate::segment::{RENAMED_PREFIX, SegmentWriter, first_id_of};
use crate::storage::{self, DirEntry, OpenMode, Storage};
use crate::sync::Arc;

/// Copies a segment with this first id into the archive, durably.
pub(crate) type Keep<'a> = &'a dyn Fn(&Path, u64) -> Result<()>;

/// Does what was decided, and returns what is left, oldest first.
pub(super) fn repair(
    storage: &Arc<dyn Storage>,
    identity: &Identity,
    found: Vec<Found>,
    actions: &[Action],
    first_kept: FirstKept,
    archive: Option<Keep<'_>>,
) -> Result<Vec<(Found, Action)>> {
    let cut_number = found
        .iter()
        .filter_map(|segment| segment.slot)
        .map(|(slot, _)| slot.constants.cut_number)
        .max()
        .unwrap_or(0);
    let mut kept: Vec<(Found, Action)> = Vec::new();
    let mut deleted = Vec::new();
    let mut pruned = Vec::new();
    let mut over = false;
    // What is going to be deleted is behind nothing: a segment before it can be the newest.
    let last = actions.iter().rposition(|action| *action != Action::Delete).unwrap_or(0);
    confirm_cut(&**storage, &identity.dir, &found[..=last])?;
    for (nth, (mut segment, action)) in found.into_iter().zip(actions).enumerate() {
        if over || *action == Action::Delete {
            let cause = if segment.cut == Cut::Pruned { &mut pruned } else { &mut deleted };
            cause.push((segment.path, segment.first_id));
            continue;
        }
        let newest = nth == last || *action == Action::CutStream;
        match action {
            Action::CutStream => {
                over = nth < last;
                let raised = cut_number.checked_add(1).ok_or_else(|| cannot_be_cut(identity))?;
                make_durable(&**storage, &mut segment, newest, Some(raised))?;
            }
            Action::Keep | Action::CutTail if !segment.frames.durable => {
                make_durable(&**storage, &mut segment, newest, None)?;
            }
            Action::Damaged if !segment.frames.durable => keep_evidence(&**storage, &segment)?,
            _ => {}
        }
        kept.push((segment, *action));
    }
    if !pruned.is_empty() {
        confirm_pruning(&**storage, &mut kept, first_kept)?;
    }
    if let Some(archive) = archive {
        // A segment is pruned without being archived if it could not be sealed at that time.
        pruned.retain(|(path, first_id)| match archive(path, *first_id) {
            Ok(()) => true,
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "was pruned and cannot be archived; it is left there");
                false
            }
        });
    }
    // Newest first, so that what a crash leaves behind still begins where a later cut says.
    for (path, _) in pruned.iter().chain(&deleted).rev() {
        storage.remove_file(path)?;
    }
    if !deleted.is_empty() || !pruned.is_empty() {
        storage.sync_dir(&identity.dir)?;
    }
    Ok(kept)
}

fn cannot_be_cut(identity: &Identity) -> Error {
    Error::Corruption(format!("stream {:?} says it was cut more often than can be", identity.name))
}

/// Makes durable that the newest segment has its name, if it got that by a cut: the process that
/// renamed it may have seen the sync of that fail. Until then nothing may be appended to it, and
/// nothing be deleted that stood behind the segment whose name it took.
fn confirm_cut(storage: &dyn Storage, dir: &Path, found: &[Found]) -> Result<()> {
    let Some((newest, before)) = found.split_last() else { return Ok(()) };
    let cut_number = |segment: &Found| Some(segment.slot?.0.constants.cut_number);
    let before = before.iter().filter(|segment| segment.cut == Cut::Current);
    if cut_number(newest) <= before.filter_map(cut_number).max().or(Some(0)) {
        return Ok(());
    }
    // By two renames, for a copy would take space. The next opening finishes it.
    let name = newest.path.file_name().unwrap_or_default();
    let other = dir.join(format!("{RENAMED_PREFIX}{}", name.display()));
    storage.rename(&newest.path, &other)?;
    storage.rename(&other, &newest.path)?;
    Ok(storage.sync_dir(dir)?)
}

/// What is in the directory of a stream, once a segment that was being given its name again has it.
/// Another file that has it after a crash is the one from before the cut.
pub(super) fn finish_renaming(storage: &dyn Storage, dir: &Path) -> Result<Vec<DirEntry>> {
    let entries = storage.list(dir)?;
    let mut any = false;
    for entry in &entries {
        if let Some(name) = renamed(&entry.name) {
            storage.rename(&dir.join(&entry.name), &dir.join(name))?;
            any = true;
        }
    }
    if any { Ok(storage.list(dir)?) } else { Ok(entries) }
}

/// The same for somebody who only reads: without the file from before the cut.
pub(crate) fn as_renamed(mut entries: Vec<DirEntry>) -> Vec<DirEntry> {
    let renamed: Vec<_> =
        entries.iter().filter_map(|entry| renamed(&entry.name)).map(str::to_string).collect();
    entries.retain(|entry| renamed.iter().all(|name| entry.name != name.as_str()));
    entries
}

/// The name of a segment that is being given its name again.
pub(crate) fn renamed(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?.strip_prefix(RENAMED_PREFIX)?;
    first_id_of(name.as_ref()).map(|_| name)
}

/// Makes durable what says that the segments which are going to be deleted were pruned: the process
/// that wrote it may have seen its sync fail.
fn confirm_pruning(
    storage: &dyn Storage,
    kept: &mut [(Found, Action)],
    first_kept: FirstKept,
) -> Result<()> {
    let holder = kept.iter_mut().rev().find_map(|(segment, _)| {
        let (slot, place) = segment.slot?;
        Some((segment, slot, place))
    });
    let Some((segment, mut slot, mut place)) = holder else { return Ok(()) };
    let path = segment.path.clone();
    let mut writer = SegmentWriter::open(storage, path, slot, place, segment.frames.end.synced_to)?;
    if slot.first_kept != first_kept {
        slot.first_kept = first_kept;
        place = place.other();
        writer.write_slot(slot)?;
    }
    writer.sync()?;
    segment.slot = Some((slot, place));
    Ok(())
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
    check_again(storage, segment)?;
    if !newest && !sealed {
        let start = Proof::of_nothing(segment.first_id);
        segment.frames.points = segment.walk(storage, start, end.synced_to, end)?.points;
        seal_again(&mut writer, end, &segment.frames.points)?;
    }
    slot.proof = end;
    slot.constants.cut_number = cut_number.unwrap_or(slot.constants.cut_number);
    // Syncs first what was written so far, for the slot that was found is at risk until then.
    writer.write_slot(slot)?;
    writer.sync()?;
    segment.slot = Some((slot, place.other()));
    Ok(())
}

/// Writes the seal that a full segment lost. On a full disk it goes without: the slot says how far
/// its frames go, and their index can be made again.
fn seal_again(writer: &mut SegmentWriter, end: Proof, points: &[Point]) -> Result<()> {
    match writer.reserve_seal(end.synced_to, points.len() as u64) {
        Err(Error::StorageFull { .. }) => Ok(()),
        Ok(()) => Ok(writer.seal(end, points)?),
        Err(error) => Err(error),
    }
}

/// Reads the frames once more, now that they have been written again and not synced yet.
///
/// What was read first can have been a page that a failed sync left in the cache; had it been
/// evicted since, older bytes would have been written again. From here on the pages stay.
fn check_again(storage: &dyn Storage, segment: &Found) -> Result<()> {
    if !segment.is_unchanged(storage)? {
        return Err(Error::Io(io::Error::other(format!(
            "{} changed while it was recovered; open the log again",
            segment.path.display()
        ))));
    }
    Ok(())
}

/// Makes durable what is whole of a damaged segment, and cuts off a torn tail behind it. What is
/// damaged stays as it is: it is evidence.
fn keep_evidence(storage: &dyn Storage, segment: &Found) -> Result<()> {
    let file = storage.open(&segment.path, OpenMode::ReadWrite)?;
    let end = segment.frames.end.synced_to.min(segment.file_len);
    storage::rewrite(&*file, &segment.path, segment.frames.proven_end.min(end), end)?;
    check_again(storage, segment)?;
    if segment.frames.tail == Tail::Torn && segment.seal.is_none() {
        file.set_len(end)?;
    }
    file.sync()?;
    Ok(())
}
