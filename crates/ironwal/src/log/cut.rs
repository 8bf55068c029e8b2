//! Cutting off a stream's newest entries, and deleting a stream.
//!
//! The segment that the cut goes through is replaced by a copy of what is kept of it, with a higher
//! *cut number*. The rename is the moment of the cut: whatever stands behind that segment with a
//! lower number is a leftover from then on. No byte that somebody may be reading is overwritten.

use std::path::{Path, PathBuf};

use super::read::Place;
use super::recover::found::read_header;
use super::tail::{OpenSegment, State};
use super::write::{IdleSegment, Lead};
use super::{Log, Shared};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, HEADER_LEN, Slot, SlotPlace};
use crate::segment::index::Index;
use crate::segment::reader::DamageKind;
use crate::segment::writer::{EmptyFile, Unfinished};
use crate::segment::{DELETED_PREFIX, Segment};
use crate::storage::{self, OpenMode};
use crate::sync::{Arc, Ordering, lock};

impl Lead<'_> {
    /// Cuts off the entries from `id` on, durably, and returns the files that are to be deleted. `void`
    /// is called when nothing of the stream is in the journal alone.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`], [`Error::Damaged`] if `id` is in the middle of damage: nothing was
    /// cut. After an error of a write or sync the stream is poisoned, and it is open whether it was.
    pub(crate) fn cut_from(
        &mut self,
        id: u64,
        void: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<PathBuf>> {
        self.stop_staging();
        self.begin_change();
        let cut = self.try_cut_from(id, void);
        self.end_change();
        self.resume_staging();
        cut
    }

    fn try_cut_from(&mut self, id: u64, void: impl FnOnce() -> Result<()>) -> Result<Vec<PathBuf>> {
        let log = self.log;
        // What the journal holds must not come back behind the cut; so the segments must hold it.
        self.sync()?;
        void()?;
        let old = match log.place_of(id) {
            Place::Absent => return Ok(Vec::new()),
            Place::Lost(damage) => return Err(log.damaged(&damage)),
            Place::In(segment) => segment,
        };
        let storage = &*log.storage;
        let dir = &log.identity.dir;
        let found =
            read_header(storage, old.path().to_path_buf(), old.first_id(), log.identity.salt)?;
        let Some((slot, _)) = found.slot else {
            return Err(log.damaged(&old.all_damaged(DamageKind::Header)));
        };
        let seed =
            SegmentSeed::new(log.identity.salt, slot.constants.stream_number, old.first_id());
        let kept = old.before(id, seed).map_err(|error| log.read_error(error))?;
        let end = kept.proof.synced_to;

        let Some(cut_number) = self.writer.cut_number.checked_add(1) else {
            let name = &log.identity.name;
            return Err(Error::Config(format!("stream {name:?} cannot be cut any more")));
        };
        let constants = Constants { cut_number, ..slot.constants };
        let slot = Slot { constants, proof: kept.proof, first_kept: log.first_kept() };
        // Nobody else uses the temporary name meanwhile.
        drop(log.take_next());
        let file = EmptyFile::create(storage, dir)?;
        let source = storage.open(old.path(), OpenMode::Read)?;
        let mut copy = Unfinished::new(storage, dir, file, slot, end - HEADER_LEN)
            .map_err(|error| log.fail_unless_full(error))?;
        let copied_to = end - kept.last_frame.len() as u64;
        // What is missing there is missing here, and readers report it.
        storage::read_pieces(&*source, HEADER_LEN, copied_to, |bytes, offset| {
            copy.write(bytes, offset).map_err(|error| log.fail(error))
        })?;
        let written = copy.write(&kept.last_frame, copied_to).and_then(|()| copy.sync());
        written.map_err(|error| log.fail(error))?;

        let segments = log.segments();
        let behind = segments.partition_point(|segment| segment.first_id() < old.first_id());
        let gone = &segments[behind..];
        // Before the file is replaced: who opens it from now on must not take it for the old one.
        gone.iter().for_each(|segment| segment.retire(id));
        if let Err(error) = copy.rename() {
            gone.iter().for_each(|segment| segment.reinstate());
            return Err(log.fail(error));
        }
        log.next_is_named();
        let named = storage.sync_dir(dir);

        // Whoever reads what an earlier cut replaced sees the end of that, which is higher.
        let cut_off = &mut self.writer.cut_off;
        cut_off.retain(|segment| {
            segment.upgrade().is_some_and(|segment| {
                segment.retire(id);
                true
            })
        });
        cut_off.extend(gone.iter().map(Arc::downgrade));

        let change = log.change();
        log.committed.store(id, Ordering::Release);
        log.durable.store(id, Ordering::Release);
        let mut index = Index::empty();
        index.extend(&kept.points);
        let reader = Segment::new(
            Arc::clone(&log.context),
            old.path().to_path_buf(),
            old.first_id(),
            Some(seed),
            (end, id),
            index,
        );
        let mut left = segments[..behind].to_vec();
        left.push(Arc::new(reader));
        log.set_segments(left);
        drop(change);
        log.followers.tell(id);
        drop(self.unmap());
        self.writer.active = None;
        self.set_has_file(false);
        self.writer.committed_proof = None;
        let newest = SlotPlace::First;
        self.writer.idle = Some(IdleSegment { slot, newest, end, ours: true, settled: true });
        self.writer.cut_number = cut_number;
        let open = OpenSegment::new(seed, old.first_id(), kept.proof);
        log.tail().go_back(id, open);

        named.map_err(|error| log.fail(error))?;
        self.put_aside(&gone[1..], cut_number)
    }

    /// Takes the names from segments that were cut off, newest first, so that a new segment can have
    /// them; returns the files. Nothing of it has to be durable: their cut number tells what they are.
    fn put_aside(&self, gone: &[Arc<Segment>], cut_number: u64) -> Result<Vec<PathBuf>> {
        let log = self.log;
        let mut deleted = Vec::with_capacity(gone.len());
        for segment in gone.iter().rev() {
            let name = format!("{DELETED_PREFIX}{:020}.{cut_number}", segment.first_id());
            let aside = log.identity.dir.join(name);
            log.storage.rename(segment.path(), &aside).map_err(|error| log.fail(error))?;
            deleted.push(aside);
        }
        Ok(deleted)
    }

    /// Deletes the stream by giving its directory, which is in `root`, the name `aside`, durably. The
    /// files are to be deleted there. Appends that are staged fail. `void` is called when the name is
    /// durable.
    pub(crate) fn delete(
        &mut self,
        root: &Path,
        aside: &Path,
        void: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.begin_change();
        if let Some(mark) = self.log.mark() {
            mark.end_life();
        }
        let deleted = self.try_delete(root, aside, void);
        self.end_change();
        deleted
    }

    /// Takes no appends any more, as after deleting the stream, if it has no segments; returns whether
    /// that is so.
    pub(crate) fn give_way(&mut self) -> bool {
        let is_empty = self.log.segments().is_empty();
        if is_empty {
            self.log.tail().delete();
        }
        is_empty
    }

    fn try_delete(
        &mut self,
        root: &Path,
        aside: &Path,
        void: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let log = self.log;
        let Some(Shared { root_syncs, .. }) = &log.shared else { return Ok(()) };
        self.stop_staging();
        let segments = log.segments();
        // Before the names go: a file that is not found is missing, unless its segment is retired.
        // Whoever is in the middle of one goes on to its end.
        segments.iter().for_each(|segment| segment.retire(segment.next_id()));
        let reinstate = || segments.iter().for_each(|segment| segment.reinstate());
        log.end_next();
        let before = root_syncs.before_change();
        let moved = log.storage.rename(&log.identity.dir, aside);
        match moved {
            // Nothing was ever appended; or it was moved before, and it is open whether for good.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let state = log.tail().state().clone();
                if let State::Poisoned(_) = state {
                    return log.check(&state);
                }
            }
            Err(error) => {
                reinstate();
                self.resume_staging();
                return Err(error.into());
            }
            Ok(()) => {}
        }
        // If it fails, it is open whether the stream is deleted, and it stays where it is: if it were
        // found under its name again, nothing would say that this name may not be durable. Where it
        // is, the next opening moves it once more, and syncs that.
        let synced = root_syncs.sync(&*log.storage, root, before);
        let deleted = synced.map_err(|error| log.fail(error)).and_then(|()| void());
        match &deleted {
            Ok(()) => log.tail().delete(),
            // Whoever takes it for deleted waits for its name to be free.
            Err(error) => log.poison(&Arc::new(std::io::Error::other(error.to_string()))),
        }
        let change = log.change();
        log.first_kept.store(log.next_id(), Ordering::Release);
        log.set_segments(Vec::new());
        drop(change);
        drop(self.unmap());
        self.writer.active = None;
        self.set_has_file(false);
        lock(&log.unproven).clear();
        deleted
    }
}

impl Log {
    /// Poisons the stream, unless the error says that there was no space and nothing was changed.
    pub(super) fn fail_unless_full(&self, error: Error) -> Error {
        match error {
            Error::Io(error) => self.fail(error),
            other => other,
        }
    }
}
