//! What the journal holds is confirmed, and written to the segments: steps 2 and 3 of `journal.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::found::{self, mark_pruned, mark_stale, read_header};
use super::journal::{FoundJournal, Pieces, begin_generation, loss_of, read};
use super::repair::finish_renaming;
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{FirstKept, Proof};
use crate::format::journal::Record;
use crate::options::CorruptionPolicy;
use crate::segment::first_id_of;
use crate::segment::writer::no_space;
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::{Arc, in_parallel};

/// What the replay needs to know of the log.
pub(crate) struct Replay<'a> {
    pub(crate) storage: &'a Arc<dyn Storage>,
    pub(crate) root: &'a Path,
    pub(crate) salt: u64,
    /// The directories of streams, our own included.
    pub(crate) dirs: &'a [PathBuf],
    /// The numbers of streams whose deletion is durable.
    pub(crate) deleted: &'a [u64],
    pub(crate) policy: CorruptionPolicy,
    /// How many streams are written to at once.
    pub(crate) threads_max: usize,
}

impl Replay<'_> {
    /// Steps 2 and 3: everything that counts is durable in the segments afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Corruption`]: something that was durable is lost, and the policy refuses that.
    pub(crate) fn run(&self, found: &FoundJournal) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        self.confirm(found)?;
        let wanted = found.pieces();
        if found.resolved.unknown > 0 {
            self.damaged(&format!(
                "{} frames of the journal are lost, and nobody knows what was in them",
                found.resolved.unknown
            ))?;
        }
        let targets = self.targets(&wanted)?;
        for (number, segments) in &wanted {
            // One that was deleted and restored has the number of a directory that is about to go.
            let is_there = targets.iter().any(|target| target.number == *number);
            if !is_there && !self.deleted.contains(number) {
                let entries: u64 = segments
                    .values()
                    .flat_map(BTreeMap::values)
                    .map(|piece| u64::from(piece.record.count))
                    .sum();
                self.damaged(&format!(
                    "the journal holds {entries} entries of stream number {number}, of which no \
                     directory has a segment that can be read"
                ))?;
            }
        }
        let replayed =
            in_parallel(&targets, self.threads_max, |target| match wanted.get(&target.number) {
                Some(segments) => target.replay(self, found, segments),
                None => Ok(()),
            });
        replayed.into_iter().collect()
    }

    /// Writes the frames that count again, syncs them, and looks whether they still are what was read.
    fn confirm(&self, found: &FoundJournal) -> Result<()> {
        let mut files = Vec::new();
        for (nth, file) in found.files.iter().enumerate() {
            let handle = self.storage.open(&file.path, OpenMode::ReadWrite)?;
            begin_generation(&*handle, file.header)?;
            for frame in found.resolved.frames.iter().filter(|frame| frame.file == nth) {
                let end = (frame.offset + frame.len).min(file.len);
                storage::rewrite(&*handle, &file.path, frame.offset, end)?;
            }
            files.push(handle);
        }
        let again = read(&**self.storage, self.root, self.salt)?;
        if again.resolved != found.resolved {
            return Err(Error::Io(io::Error::other(format!(
                "the journal in {} changed while it was recovered; open the log again",
                self.root.display()
            ))));
        }
        // Through the descriptors that wrote.
        Ok(files.iter().try_for_each(|file| file.sync())?)
    }

    /// The streams that something is wanted of, with their segments.
    fn targets(&self, wanted: &BTreeMap<u64, BTreeMap<u64, Pieces>>) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for dir in self.dirs {
            if targets.len() == wanted.len() {
                break;
            }
            targets.extend(Target::read(self, dir, wanted)?);
        }
        Ok(targets)
    }

    /// Reports damage; an error if the policy refuses it.
    fn damaged(&self, what: &str) -> Result<()> {
        let what = format!("{}: {what}", self.root.display());
        tracing::error!("damage found while opening: {what}");
        match self.policy {
            CorruptionPolicy::Error => Err(Error::Corruption(what)),
            CorruptionPolicy::Truncate => Ok(()),
        }
    }
}

/// A stream that the journal holds something of.
struct Target {
    dir: PathBuf,
    number: u64,
    segments: Vec<found::Found>,
    first_kept: FirstKept,
}

impl Target {
    /// The stream in a directory, if something of it is wanted.
    fn read(
        replay: &Replay<'_>,
        dir: &Path,
        wanted: &BTreeMap<u64, BTreeMap<u64, Pieces>>,
    ) -> Result<Option<Self>> {
        let storage = &**replay.storage;
        let mut segments = Vec::new();
        let mut number = None;
        for entry in finish_renaming(storage, dir)? {
            let Some(first_id) = first_id_of(&entry.name) else { continue };
            let segment = read_header(storage, dir.join(&entry.name), first_id, replay.salt)?;
            if number.is_none()
                && let Some((slot, _)) = &segment.slot
            {
                number = Some(slot.constants.stream_number);
                if !wanted.contains_key(&slot.constants.stream_number) {
                    return Ok(None);
                }
            }
            segments.push(segment);
        }
        let Some(number) = number else { return Ok(None) };
        segments.sort_by_key(|segment| segment.first_id);
        mark_stale(&mut segments);
        let first_kept = mark_pruned(&mut segments);
        Ok(Some(Self { dir: dir.to_path_buf(), number, segments, first_kept }))
    }

    /// Writes what the journal holds of the stream to its segments, and syncs them.
    fn replay(
        &self,
        replay: &Replay<'_>,
        journal: &FoundJournal,
        wanted: &BTreeMap<u64, Pieces>,
    ) -> Result<()> {
        for (first_id, pieces) in wanted {
            let segment = self.segments.iter().find(|segment| segment.first_id == *first_id);
            let last = pieces.values().last();
            let ids_end = last.map_or(0, |piece| piece.record.ids().end);
            let has_header = segment.map(|segment| segment.slot.is_some());
            match (Fate::of(has_header, ids_end, self.first_kept), segment) {
                (Fate::Written, Some(segment)) => {
                    self.replay_into(replay, journal, segment, pieces)?;
                }
                (Fate::Pruned, _) => {}
                _ => replay.damaged(&format!(
                    "the journal holds entries up to {ids_end} of the segment {first_id} in {}, which \
                     cannot be read",
                    self.dir.display()
                ))?,
            }
        }
        Ok(())
    }

    fn replay_into(
        &self,
        replay: &Replay<'_>,
        journal: &FoundJournal,
        segment: &found::Found,
        pieces: &Pieces,
    ) -> Result<()> {
        let storage = &**replay.storage;
        let file = storage.open(&segment.path, OpenMode::ReadWrite)?;
        let seed = SegmentSeed::new(replay.salt, self.number, segment.first_id);
        let full = |error| no_space(error, &segment.path);
        let mut reached: Option<Proof> = None;
        for piece in pieces.values() {
            let record = piece.record;
            if journal.unknown() > 0 {
                self.fill_gap(replay, segment, &*file, reached, record)?;
            }
            match journal.share(storage, piece, seed, &*file)? {
                Some(bytes) => {
                    storage::write_all_at(&*file, &bytes, record.offset).map_err(full)?;
                }
                None => self.lose(replay, segment, &*file, record)?,
            }
            reached = Some(Proof::behind(record));
        }
        Ok(file.sync()?)
    }

    /// Writes a loss frame where the bytes of a record should be.
    fn lose(
        &self,
        replay: &Replay<'_>,
        segment: &found::Found,
        file: &dyn File,
        record: Record,
    ) -> Result<()> {
        let ids = record.ids();
        replay.damaged(&format!(
            "entries {}..{} in {} at offset {} were lost with the journal",
            ids.start,
            ids.end,
            segment.path.display(),
            record.offset
        ))?;
        let seed = SegmentSeed::new(replay.salt, self.number, segment.first_id);
        let offset = record.offset;
        let Some(bytes) = loss_of(record, seed) else {
            let root = replay.root.display();
            return Err(Error::Corruption(format!("the journal in {root} speaks of {record:?}")));
        };
        storage::write_all_at(file, &bytes, offset).map_err(|error| no_space(error, &segment.path))
    }

    /// Fills what is missing before a record with a loss frame, if frames were lost of which nobody
    /// knows what was in them.
    fn fill_gap(
        &self,
        replay: &Replay<'_>,
        segment: &found::Found,
        file: &dyn File,
        reached: Option<Proof>,
        record: Record,
    ) -> Result<()> {
        match missing_before(&**replay.storage, segment, reached, record)? {
            Some(lost) => self.lose(replay, segment, file, lost),
            None => Ok(()),
        }
    }
}

/// What is missing before a record, as a record. `reached` is where the one before it ends, if there is
/// one, which is in its place.
pub(super) fn missing_before(
    storage: &dyn Storage,
    segment: &found::Found,
    reached: Option<Proof>,
    record: Record,
) -> Result<Option<Record>> {
    let Some((slot, _)) = segment.slot else { return Ok(None) };
    // Damage to what is proven is not the journal's, and entries behind it may be there.
    let further = reached.filter(|reached| reached.synced_to > slot.proof.synced_to);
    let start = further.unwrap_or(slot.proof);
    if start.synced_to >= record.offset {
        return Ok(None);
    }
    let walk = segment.walk(storage, start, record.offset, start)?;
    let (from, ids_from) = (walk.end.synced_to, walk.end.next_id);
    let ids = record.ids();
    let (Ok(index), Ok(count)) = (
        u32::try_from(ids_from.saturating_sub(segment.first_id)),
        u32::try_from(ids.start.saturating_sub(ids_from)),
    ) else {
        return Ok(None);
    };
    let is_missing = from < record.offset && count > 0;
    let lost = Record { index, count, offset: from, len: record.offset - from, ..record };
    Ok(is_missing.then_some(lost))
}

/// What becomes of what the journal holds of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is written there.
    Written,
    /// Nothing: all of it was pruned.
    Pruned,
    /// It has no place: there is no such segment, or its header is lost.
    Homeless,
}

impl Fate {
    /// The fate of what ends with the id before `ids_end`. `has_header`: of the segment, if there is one.
    pub(crate) fn of(has_header: Option<bool>, ids_end: u64, first_kept: FirstKept) -> Self {
        match has_header {
            Some(true) => Self::Written,
            // Its file was pruned, and so is everything in it.
            None if ids_end <= first_kept.id => Self::Pruned,
            _ => Self::Homeless,
        }
    }
}

impl Proof {
    /// Where a record ends. What is below has no digest.
    pub(super) fn behind(record: Record) -> Self {
        let (synced_to, next_id) = (record.offset.saturating_add(record.len), record.ids().end);
        Self { synced_to, next_id, digest: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimDisk;
    use crate::storage::sim::SimConfig;
    use crate::{Environment, Journal, Maintenance, Wal, WalOptions};

    /// Whoever writes is the one that learns of a failed write, so the replay does not leave the sync to the
    /// recovery of the stream, which opens the file anew.
    #[test]
    fn what_was_replayed_is_durable_before_a_stream_is_recovered() {
        for seed in 0..20 {
            let config = SimConfig { seed, write_back: 0.0, ..SimConfig::default() };
            let disk = SimDisk::with_config(config);
            let environment = Environment::default()
                .with_storage(Arc::new(disk.process()))
                .with_entropy(|| 7)
                .with_maintenance(Maintenance::Inline)
                .with_journal(Journal::On);
            let wal = Wal::open_with(WalOptions::new("/log"), environment).unwrap();
            let mut batch = wal.batch();
            batch.append("a", b"in the journal");
            batch.append("b", b"in the journal");
            batch.commit().unwrap();
            disk.crash();
            drop(wal);
            let root = Path::new("/log");
            let dirs = ["a", "b"].map(|name| root.join(name));
            let segment = |dir: &PathBuf| dir.join("00000000000000000000.wal");
            for dir in &dirs {
                disk.overwrite(&segment(dir), 8192, &[0; 100]).unwrap();
            }
            let storage: Arc<dyn Storage> = Arc::new(disk.process());
            let found = read(&*storage, root, 7).unwrap();
            let replay = Replay {
                storage: &storage,
                root,
                salt: 7,
                dirs: &dirs,
                deleted: &[],
                policy: CorruptionPolicy::Error,
                threads_max: 1,
            };
            replay.run(&found).unwrap();
            disk.crash();
            for dir in &dirs {
                let bytes = disk.contents(&segment(dir)).unwrap();
                let is_there = bytes.windows(14).any(|window| window == b"in the journal");
                assert!(is_there, "seed {seed}: {}", dir.display());
            }
        }
    }
}
