//! Making room: directories, reserved space, and the next segment.

use std::io;
use std::path::Path;

use super::files::Permit;
use super::tail::{Append, Lack, OpenSegment};
use super::write::{Active, FullSegment, IdleSegment, Lead};
use super::{Log, Shared};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, HEADER_LEN, Proof, Slot};
use crate::format::seal::Point;
use crate::options::SyncMode;
use crate::segment::writer::{EmptyFile, Unfinished, no_space, remove_unfinished};
use crate::segment::{Segment, SegmentWriter, first_id_of, path_of};
use crate::storage::Storage;
use crate::sync::{Arc, Ordering, lock};

impl<'a> Lead<'a> {
    /// Makes room for `append`, which did not fit: opens the active segment, reserves space, or goes
    /// on to a new segment. Commits what is staged if it has to. Without a permit for another open
    /// file it may leave the append without room.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing was staged, and the stream is as it was. After an error of a
    /// write or sync the stream is poisoned.
    pub(crate) fn make_room(&mut self, root: &Path, append: &Append<'_>) -> Result<()> {
        self.log.check(self.log.tail().state())?;
        self.list_for_others();
        self.confirm_dir(root)?;
        if !self.open_active()? {
            return Ok(());
        }
        let lack = self.log.tail().lacks(append, &self.log.limits);
        match lack {
            Lack::Nothing => Ok(()),
            Lack::Room(end) => self.reserve(end),
            Lack::Segment => {
                self.finish_segment()?;
                self.begin_segment(append.frame_len())
            }
        }
    }

    /// Makes the directory of a stream without segments, durably, once.
    ///
    /// A segment is created only after its directory's name is durable, and a frame is written only
    /// after its segment's name is: where there are segments, only that of an empty one is in doubt.
    /// A directory without segments may be there because an earlier process saw a sync fail, after
    /// which the next sync proves nothing of what it was not this process that did: it is made again.
    fn confirm_dir(&mut self, root: &Path) -> Result<()> {
        let log = self.log;
        if self.writer.dir_confirmed || !log.segments().is_empty() {
            return Ok(());
        }
        let (storage, dir) = (&*log.storage, &log.identity.dir);
        let Some(Shared { root_syncs, .. }) = &log.shared else { return Ok(()) };
        let before = root_syncs.before_change();
        make_dir_again(storage, dir).map_err(|error| no_space(error, dir))?;
        root_syncs.sync(storage, root, before).map_err(|error| log.fail(error))?;
        self.writer.dir_confirmed = true;
        Ok(())
    }

    /// Lists the stream for readers in other processes, before anything of it changes.
    pub(crate) fn list_for_others(&self) {
        let log = self.log;
        let (Some(shared), Some(number)) = (&log.shared, log.number()) else { return };
        log.mark.get_or_init(|| shared.marks.list(number, log.first_id(), log.next_id()));
    }

    /// A permit to open one more file.
    fn take_permit(&mut self) -> Option<Permit> {
        let files = &self.log.shared.as_ref()?.files;
        self.writer.permit.take().or_else(|| files.try_permit())
    }

    /// Opens the file of the active segment, if it is not open; `false`: there is no permit for it.
    pub(super) fn open_active(&mut self) -> Result<bool> {
        let (Some(idle), Some(reader)) = (self.writer.idle, self.log.segments().last().cloned())
        else {
            return Ok(true);
        };
        let Some(permit) = self.take_permit() else { return Ok(false) };
        let writer = self.open_idle(idle)?;
        reader.keep_open(Arc::clone(writer.file()));
        self.set_active(Active::new(writer, reader, Some(permit)));
        self.writer.idle = None;
        self.map_active();
        self.resume_staging();
        Ok(true)
    }

    /// Opens the file of an active segment for writing. One without frames that an earlier process
    /// left is made again, for its name may not be durable.
    pub(super) fn open_idle(&self, idle: IdleSegment) -> Result<SegmentWriter> {
        let IdleSegment { slot, newest, end, ours, .. } = idle;
        if end == HEADER_LEN && !ours {
            return self.create(slot, 0);
        }
        let path = path_of(&self.log.identity.dir, slot.constants.first_id);
        SegmentWriter::open(&*self.log.storage, path, slot, newest, end)
            .map_err(|error| self.log.fail(error))
    }

    fn set_active(&mut self, active: Active) {
        self.writer.active = Some(active);
        self.set_has_file(true);
    }

    /// Whether the file of the active segment is open from now on, for whatever is appended.
    pub(super) fn set_has_file(&self, has_file: bool) {
        self.log.has_file.store(has_file, Ordering::Relaxed);
        if let Some(open) = self.log.tail().segment() {
            open.has_file = has_file;
        }
    }

    fn reserve(&mut self, end: u64) -> Result<()> {
        let Some(active) = &mut self.writer.active else {
            // Rather an error than an append that tries for ever.
            return Err(self
                .log
                .fail(io::Error::other("there is no active segment to make room in")));
        };
        if end > active.writer.reserved_to() {
            let segment_len_max = self.log.limits.segment_len_max;
            let reserved =
                or_without_next(self.log, || active.writer.reserve(end, segment_len_max));
            match reserved {
                Err(Error::Io(error)) => return Err(self.log.fail(error)),
                other => other?,
            }
            self.log.note_reserved(active.writer.reserved_to() - HEADER_LEN);
            // What is in the journal is written here by the next recovery if need be, also on a disk
            // that is full by then: so the room must be durable before.
            self.writer.gap = true;
        }
        self.allow_staging(end);
        Ok(())
    }

    /// Lets frames be staged up to `end` and as far as is convenient.
    fn allow_staging(&mut self, end: u64) {
        if let Some(room_to) = self.prepare_room(end)
            && let Some(open) = self.log.tail().segment()
        {
            open.room_to = room_to;
        }
    }

    /// Commits what is staged, seals the active segment and, in `Strict`, makes it durable. Does
    /// nothing if there is none. Afterwards there is none.
    pub(super) fn finish_segment(&mut self) -> Result<()> {
        let Some(end) = self.stop_staging() else {
            return Ok(());
        };
        let finished = self.try_finish_segment(end);
        // Without space for a seal the segment stays the active one.
        self.resume_staging();
        finished
    }

    /// Lets appends in again, as far as there is room in a file that is open.
    pub(super) fn resume_staging(&mut self) {
        let end = self.log.tail().proof().map_or(0, |proof| proof.synced_to);
        self.allow_staging(end);
    }

    /// Seals the active segment, unless it holds nothing; the next append begins another. `false`:
    /// there is no permit to open its file.
    pub(crate) fn rotate(&mut self) -> Result<bool> {
        // It may have been closed while the lead was waited for.
        self.log.check_open()?;
        if !self.open_active()? {
            return Ok(false);
        }
        if self.staged_proof().is_some_and(|proof| proof.synced_to > HEADER_LEN) {
            self.finish_segment()?;
        }
        Ok(true)
    }

    /// Begins a segment if there is none, so that the one before it can go.
    pub(crate) fn begin_empty_segment(&mut self) -> Result<()> {
        self.log.check_open()?;
        let none = self.log.tail().segment().is_none();
        if none { self.begin_segment(0) } else { Ok(()) }
    }

    fn try_finish_segment(&mut self, end: u64) -> Result<()> {
        let log = self.log;
        let in_strict = log.limits.sync_mode == SyncMode::Strict;
        let Some(active) = &mut self.writer.active else {
            return Ok(());
        };
        // May read the file; later, the points are at hand.
        let known = all_points(log, &active.reader)?.len() + log.tail().staged_points();
        match or_without_next(log, || active.writer.reserve_seal(end, known as u64)) {
            Err(Error::Io(error)) => return Err(log.fail(error)),
            other => other?,
        }
        self.commit(in_strict)?;

        let Some(proof) = self.staged_proof() else {
            return Ok(());
        };
        tracing::debug!(stream = %log.name(), next_id = proof.next_id, "the segment is full");
        let mapped = self.unmap();
        let Some(Active { mut writer, reader, permit, .. }) = self.writer.active.take() else {
            return Ok(());
        };
        self.set_has_file(false);
        let points = all_points(log, &reader)?;
        let sealed = writer.seal(proof, &points).and_then(|()| {
            if in_strict {
                // The frames have been synced, so one sync serves the seal and what proves it.
                let slot = Slot { proof, first_kept: log.first_kept(), ..*writer.slot() };
                writer.write_slot(slot)?;
                writer.sync()?;
                log.activity().synced(1);
            }
            Ok(())
        });
        sealed.map_err(|error| log.fail(error))?;
        reader.let_go();
        self.writer.predecessor = (proof.synced_to, in_strict);
        self.writer.frames_unsynced = false;
        self.writer.gap = false;
        self.writer.committed_proof = None;
        if in_strict {
            reader.set_proven();
        } else {
            let full = FullSegment { writer, reader, proof, _permit: permit, mapped, failed: None };
            lock(&log.unproven).push_back(full);
            log.new_full_segment.store(true, Ordering::Relaxed);
        }
        log.tail().set_segment(None);
        Ok(())
    }

    /// Creates a segment file, of the one that was made ahead if there is one; without space, nothing has
    /// changed.
    fn create(&self, slot: Slot, room: u64) -> Result<SegmentWriter> {
        let log = self.log;
        let (storage, dir) = (&*log.storage, &log.identity.dir);
        let file = match log.take_next() {
            Some(made) => made,
            None => EmptyFile::create(storage, dir)?,
        };
        let unfinished = Unfinished::new(storage, dir, file, slot, room);
        let writer = unfinished.and_then(Unfinished::finish);
        let writer = writer.map_err(|error| log.fail_unless_full(error))?;
        log.next_is_named();
        Ok(writer)
    }

    /// Begins a segment with room for a frame of `frame_len` bytes, if there is a permit for its
    /// file.
    pub(super) fn begin_segment(&mut self, frame_len: u64) -> Result<()> {
        let log = self.log;
        let Some(permit) = self.take_permit() else { return Ok(()) };
        let first_id = log.tail().next_id();
        let identity = &log.identity;
        let Some(&stream_number) = identity.number.get() else {
            return Err(Error::Config("a stream is appended to before it has a number".into()));
        };
        let (predecessor_end, predecessor_synced) = self.writer.predecessor;
        let slot = Slot {
            constants: Constants {
                salt: identity.salt,
                stream_number,
                first_id,
                cut_number: self.writer.cut_number,
                predecessor_end,
                predecessor_synced,
            },
            proof: Proof::of_nothing(first_id),
            first_kept: log.first_kept(),
        };
        let writer = self.create(slot, frame_len)?;
        let seed = SegmentSeed::new(identity.salt, stream_number, first_id);
        let mut open = OpenSegment::new(seed, first_id, slot.proof);
        open.has_file = true;

        let reader = Arc::new(Segment::fresh(
            Arc::clone(&log.context),
            writer.path().to_path_buf(),
            first_id,
            seed,
            Arc::clone(writer.file()),
        ));
        let mut segments = log.segments().to_vec();
        segments.push(Arc::clone(&reader));
        log.set_segments(segments);
        self.set_active(Active::new(writer, reader, Some(permit)));
        self.map_active();
        log.tail().set_segment(Some(open));
        self.allow_staging(HEADER_LEN + frame_len);
        Ok(())
    }
}

/// Gets space for the active segment, in place of that for the next one if need be.
fn or_without_next(log: &Log, mut reserve: impl FnMut() -> Result<()>) -> Result<()> {
    match reserve() {
        Err(Error::StorageFull { .. }) if log.drop_next() => reserve(),
        done => done,
    }
}

/// The points of the active segment, which is never retired while somebody leads.
fn all_points(log: &Log, reader: &Segment) -> Result<Vec<Point>> {
    reader.all_points().map_err(|error| log.read_error(error))
}

/// Creates a directory, or creates it again if it is there and empty.
fn make_dir_again(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    match storage.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    remove_unfinished(storage, dir)?;
    match storage.remove_dir(dir) {
        // Somebody else's files are in it, and so it is not ours to make.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            refuse_foreign_segments(storage, dir)
        }
        Err(error) => Err(error),
        Ok(()) => storage.create_dir(dir),
    }
}

/// A directory with segments is a stream's, though not of one that was found when the log was
/// opened: as on a file system that takes names for equal which differ in case.
fn refuse_foreign_segments(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    if storage.list(dir)?.iter().any(|entry| first_id_of(&entry.name).is_some()) {
        let what = "belongs to a stream with another name; the file system may not tell apart \
                    names that differ in case";
        let what = format!("{} {what}", dir.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    Ok(())
}
