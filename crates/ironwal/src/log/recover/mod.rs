//! Opening a stream that exists: what is there, what is proven, what is done about the rest.
//!
//! First the facts are gathered and nothing is changed ([`found`]); then [`recovery::decide`] says
//! what to do with each segment; then it is done ([`repair`]), oldest segment first, so that a crash
//! in the middle leaves facts from which the next recovery comes to the same end.

mod build;
pub(crate) mod found;
pub(crate) mod journal;
mod repair;
pub(crate) mod replay;
pub(crate) mod view;

use std::path::{Path, PathBuf};

use super::tail::Limits;
use super::{Identity, Log, Shared};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, FirstKept, Proof, Slot, SlotPlace};
use crate::format::seal::Seal;
use crate::options::CorruptionPolicy;
use crate::segment::index::Index;
use crate::segment::recovery::{self, Action, Cut, Facts, Header, Next};
use crate::segment::{Damage, ReadContext, Segment, first_id_of, path_of};
use crate::storage::{DirEntry, EntryKind, Storage};
use crate::sync::{Arc, OnceLock};
use build::build;
pub(crate) use found::salt_of;
use found::{Found, is_doomed, list, mark_pruned, mark_stale, read_frames};
pub(crate) use repair::Keep;
pub(crate) use repair::{as_renamed, renamed};
use repair::{finish_renaming, repair};
use view::View;

/// Opens the stream in `dir`, or returns `None` if there is no segment of ours in it.
pub(crate) fn recover(
    context: &Arc<ReadContext>,
    shared: &Shared,
    (name, dir): (String, PathBuf),
    salt: u64,
    limits: Limits,
    policy: CorruptionPolicy,
    archive: Option<Keep<'_>>,
) -> Result<Option<Log>> {
    let storage = context.storage();
    let entries = finish_renaming(&**storage, &dir)?;
    let plan = plan(&**storage, &dir, entries, salt, None)?;
    let Some(Plan { found, actions, first_kept, doomed }) = plan else {
        return Ok(None);
    };
    for (segment, action) in found.iter().zip(&actions) {
        if *action == Action::Damaged {
            let what = describe(&name, segment);
            if policy == CorruptionPolicy::Error {
                return Err(Error::Corruption(what));
            }
            tracing::error!(stream = %name, "damage found while opening: {what}");
        }
    }
    let number = found.iter().find_map(|segment| segment.slot);
    let number = number.map(|(slot, _)| OnceLock::from(slot.constants.stream_number));
    let number = number.unwrap_or_default();
    let identity = Identity { name, dir, number, salt };
    let kept = repair(storage, &identity, found, &actions, first_kept, archive)?;
    for path in &doomed {
        storage.remove_file(path)?;
    }
    Ok(Some(build(context, shared, identity, limits, &kept, first_kept)))
}

/// The facts, and what they lead to.
pub(crate) struct Plan {
    pub(crate) found: Vec<Found>,
    pub(crate) actions: Vec<Action>,
    pub(crate) first_kept: FirstKept,
    /// Files that have no use any more.
    pub(crate) doomed: Vec<PathBuf>,
}

/// Whether this is a file, in the directory of a stream, that an interrupted operation left behind.
pub(crate) fn is_temporary(entry: &DirEntry) -> bool {
    is_doomed(entry) || (entry.kind == EntryKind::File && renamed(&entry.name).is_some())
}

/// The plan of somebody who only looks.
pub(crate) fn plan_of(
    storage: &dyn Storage,
    dir: &Path,
    salt: u64,
    view: Option<&View>,
) -> Result<Option<Plan>> {
    plan(storage, dir, as_renamed(storage.list(dir)?), salt, view)
}

/// Gathers the facts about the stream in `dir` and decides; changes nothing. What is in the journal is
/// in the segments by then, or comes from the `view`.
fn plan(
    storage: &dyn Storage,
    dir: &Path,
    entries: Vec<DirEntry>,
    salt: u64,
    view: Option<&View>,
) -> Result<Option<Plan>> {
    let (mut found, doomed) = list(storage, dir, entries, salt)?;
    if found.is_empty() {
        return Ok(None);
    }
    if let Some(view) = view {
        for segment in &mut found {
            segment.lay_over(view)?;
        }
    }
    mark_stale(&mut found);
    let first_kept = mark_pruned(&mut found);
    read_frames(storage, &mut found)?;
    let actions: Vec<Action> = (0..found.len()).map(|nth| action_for(&found, nth)).collect();
    let refused = found.iter().zip(&actions).find(|(_, action)| **action == Action::Refuse);
    if let Some((segment, _)) = refused {
        return Err(Error::UnsupportedVersion {
            path: segment.path.clone(),
            found: segment.newer,
            supported: FORMAT_VERSION,
        });
    }
    Ok(Some(Plan { found, actions, first_kept, doomed }))
}

/// A stream as recovery would leave it.
pub(crate) struct Survey {
    pub(crate) number: Option<u64>,
    pub(crate) first_kept: FirstKept,
    pub(crate) next_id: u64,
    /// Entries below this id are proven to have been durable.
    pub(crate) durable: u64,
    pub(crate) segments: Vec<Surveyed>,
    pub(crate) end_lost: Option<Damage>,
}

/// A segment of it.
pub(crate) struct Surveyed {
    pub(crate) cut: u64,
    pub(crate) segment: Arc<Segment>,
}

/// Looks at the stream in `dir` without changing anything; `None` if there is no segment of ours.
pub(crate) fn survey(
    context: &Arc<ReadContext>,
    dir: &Path,
    salt: u64,
    view: &View,
) -> Result<Option<Survey>> {
    let storage = &**context.storage();
    view.refresh()?;
    let plan = plan_of(storage, dir, salt, Some(view))?;
    let Some(Plan { found, actions, first_kept, .. }) = plan else { return Ok(None) };
    let number = found.iter().find_map(|segment| segment.slot);
    let number = number.map(|(slot, _)| slot.constants.stream_number);
    let last = actions.iter().position(|action| *action == Action::CutStream);
    let kept: Vec<(Found, Action)> = found
        .into_iter()
        .zip(actions)
        .take(last.map_or(usize::MAX, |last| last + 1))
        .filter(|(_, action)| *action != Action::Delete)
        .collect();
    let durable = kept.iter().filter_map(|(segment, _)| segment.slot);
    let durable = durable.map(|(slot, _)| slot.proof.next_id).max().unwrap_or(0);
    let cut_of = |segment: &Found| segment.slot.map_or(0, |(slot, _)| slot.constants.cut_number);
    let cuts: Vec<u64> = kept.iter().map(|(segment, _)| cut_of(segment)).collect();
    let readers = build::readers(context, &kept);
    let segments = cuts.into_iter().zip(readers).map(|(cut, segment)| Surveyed { cut, segment });
    let (next_id, end_lost) = build::end_of(&kept);
    let segments = segments.collect();
    Ok(Some(Survey { number, first_kept, next_id, durable, segments, end_lost }))
}

/// The number of the stream in `dir`, by the first header in it that can be read.
pub(crate) fn number_in(storage: &dyn Storage, dir: &Path, salt: u64) -> Result<Option<u64>> {
    for entry in storage.list(dir)? {
        let Some(first_id) = first_id_of(&entry.name) else { continue };
        if entry.kind == EntryKind::File {
            let found = found::read_header(storage, dir.join(&entry.name), first_id, salt)?;
            if let Some((slot, _)) = found.slot {
                return Ok(Some(slot.constants.stream_number));
            }
        }
    }
    Ok(None)
}

/// What a segment file outside of its stream says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Examined {
    pub(crate) path: PathBuf,
    pub(crate) slot: Slot,
    pub(crate) place: SlotPlace,
    /// Where its frames end, and its ids: by its seal or, without one, at least.
    pub(crate) end: Proof,
    pub(crate) is_sealed: bool,
}

/// Reads the header and the seal of a full segment file; `None` if there is none of the log with
/// this salt.
pub(crate) fn examine(
    storage: &dyn Storage,
    path: PathBuf,
    first_id: u64,
    salt: u64,
) -> Result<Option<Examined>> {
    let found = found::read_header(storage, path.clone(), first_id, salt)?;
    let end = match found.seal {
        Some(Seal { end: synced_to, next_id, digest, .. }) => Proof { synced_to, next_id, digest },
        None => found.frames.end,
    };
    let is_sealed = found.seal.is_some();
    Ok(found.slot.map(|(slot, place)| Examined { path, slot, place, end, is_sealed }))
}

impl Examined {
    /// A reader of the segment under its name in `dir`, where it was copied to.
    pub(crate) fn reader(&self, context: &Arc<ReadContext>, dir: &Path) -> Segment {
        let Constants { salt, stream_number, first_id, .. } = self.slot.constants;
        let seed = SegmentSeed::new(salt, stream_number, first_id);
        let Proof { synced_to: end, next_id, .. } = self.end;
        let path = path_of(dir, first_id);
        let extent = (end, next_id);
        let index = Index::unread(end);
        let reader = Segment::new(Arc::clone(context), path, first_id, Some(seed), extent, index);
        reader.set_proven();
        reader
    }
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
    let action = recovery::decide(&Facts {
        header: segment.header,
        cut: segment.cut,
        tail: segment.frames.tail,
        proof: segment.frames.proof,
        next,
    });
    // A header that is lost may have proven what looks like a torn tail before it.
    let is_lost = |later: &Found| later.cut == Cut::Current && later.header == Header::Lost;
    if action == Action::CutStream && found[nth + 1..].iter().any(is_lost) {
        return Action::Damaged;
    }
    action
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
