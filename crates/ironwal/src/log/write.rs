//! Everything that changes a stream's files: committing rounds, making room, rotating, closing.
//!
//! Whoever holds the [`Lead`] is the stream's only segment writer.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::tail::{Append, Lack, OpenSegment, Pending, State, Taken};
use super::{Log, shared_error};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, HEADER_LEN, Proof, Slot, SlotPlace};
use crate::segment::writer::no_space;
use crate::segment::{Segment, SegmentWriter, first_id_of, path_of};
use crate::storage::Storage;
use crate::sync::{Arc, MutexGuard, Ordering, lock};

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The active segment, opened by the first change.
    active: Option<Active>,
    /// The active segment as recovery left it, until it is opened.
    pub(super) idle: Option<IdleSegment>,
    /// What a new segment says of the one before it: where it ends, and whether it was synced.
    pub(super) predecessor: (u64, bool),
    pub(super) cut_number: u64,
    /// Whether the directory of a stream without segments has been made durable.
    dir_confirmed: bool,
    /// Whether frames have been written since the last sync.
    frames_unsynced: bool,
    /// The buffers of the round before.
    spare: Pending,
}

/// The segment that frames are written to.
#[derive(Debug)]
struct Active {
    writer: SegmentWriter,
    reader: Arc<Segment>,
}

/// An active segment whose file is not open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleSegment {
    pub(crate) slot: Slot,
    pub(crate) newest: SlotPlace,
    pub(crate) end: u64,
}

/// Full segments that are not known to be durable, oldest first.
pub(crate) type Unproven = VecDeque<FullSegment>;

/// A full segment on its way to being durable.
#[derive(Debug)]
pub(crate) struct FullSegment {
    writer: SegmentWriter,
    proof: Proof,
    /// A sync failed. The next one would say OK, and somebody may be waiting to try it.
    failed: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            active: None,
            idle: None,
            predecessor: (0, false),
            cut_number: 0,
            dir_confirmed: false,
            frames_unsynced: false,
            spare: Pending::default(),
        }
    }
}

/// A round that was committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    /// Its number.
    pub(crate) round: u64,
    /// How many appends it held.
    pub(crate) appends: u32,
}

/// The right to change the stream's files.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    log: &'a Log,
    writer: MutexGuard<'a, Writer>,
    committed: Option<Committed>,
}

impl Log {
    /// Takes the lead; waits while somebody else has it.
    pub(crate) fn lead(&self) -> Lead<'_> {
        Lead { log: self, writer: lock(&self.writer), committed: None }
    }

    /// Syncs the full segments that are not yet known to be durable, oldest first, without keeping
    /// appends from their work. A failure poisons the stream.
    pub(crate) fn prove_full_segments(&self) -> Result<()> {
        let mut unproven = lock(&self.unproven);
        while let Some(full) = unproven.front_mut() {
            if let Err(error) = full.prove(self.first_id()) {
                return Err(self.fail(error));
            }
            self.durable.fetch_max(full.proof.next_id, Ordering::AcqRel);
            unproven.pop_front();
        }
        Ok(())
    }

    /// Poisons the stream with an error and returns it.
    fn fail(&self, error: io::Error) -> Error {
        let error = Arc::new(error);
        self.poison(&error);
        Error::Io(shared_error(&error))
    }
}

impl FullSegment {
    /// Makes the segment durable, and then the proof that it is.
    fn prove(&mut self, first_kept: u64) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier sync of this segment failed"));
        }
        let proven = self.try_prove(first_kept);
        self.failed = proven.is_err();
        proven
    }

    fn try_prove(&mut self, first_kept: u64) -> io::Result<()> {
        self.writer.sync()?;
        let slot = Slot { proof: self.proof, first_kept, ..*self.writer.slot() };
        self.writer.write_slot(slot)?;
        self.writer.sync()
    }
}

impl Lead<'_> {
    /// The last round that was committed under this lead, also if a later step failed.
    pub(crate) fn committed(&self) -> Option<Committed> {
        self.committed
    }

    /// Writes what is staged, syncs it if any of it must be or `sync` says so, and publishes it.
    ///
    /// # Errors
    ///
    /// After an error the stream is poisoned, and nothing of the round was published.
    pub(crate) fn commit(&mut self, sync: bool) -> Result<()> {
        let taken = {
            let mut tail = lock(&self.log.tail);
            if let State::Poisoned(_) = tail.state() {
                return self.log.check(tail.state());
            }
            let taken = tail.take(&mut self.writer.spare);
            self.log.staged.store(0, Ordering::Relaxed);
            taken
        };
        let sync = sync || taken.as_ref().is_some_and(|taken| taken.pending.sync);
        self.write_back(taken.as_ref(), sync).map_err(|error| self.log.fail(error))?;
        if let Some(taken) = taken {
            self.publish(taken, sync);
        }
        Ok(())
    }

    fn write_back(&mut self, taken: Option<&Taken>, sync: bool) -> io::Result<()> {
        if let (Some(taken), Some(active)) = (taken, &mut self.writer.active) {
            active.writer.write(&taken.pending.frames, taken.offset, sync)?;
            self.writer.frames_unsynced = true;
        }
        if sync { self.sync_written() } else { Ok(()) }
    }

    /// Makes everything durable that has been written, in id order.
    fn sync_written(&mut self) -> io::Result<()> {
        let mut unproven = lock(&self.log.unproven);
        while let Some(full) = unproven.front_mut() {
            full.prove(self.log.first_id())?;
            unproven.pop_front();
        }
        drop(unproven);
        if self.writer.frames_unsynced
            && let Some(active) = &mut self.writer.active
        {
            active.writer.sync()?;
            self.writer.frames_unsynced = false;
        }
        Ok(())
    }

    /// Shows readers what was written, and remembers what was synced.
    fn publish(&mut self, taken: Taken, synced: bool) {
        let Taken { round, mut pending, proof, .. } = taken;
        if let Some(active) = &self.writer.active {
            active.reader.publish(proof.synced_to, proof.next_id, &pending.points);
        }
        self.log.committed.store(proof.next_id, Ordering::Release);
        if synced {
            self.note_synced(proof.next_id);
        }
        self.committed = Some(Committed { round, appends: pending.appends });
        pending.reset();
        self.writer.spare = pending;
    }

    /// Everything that was written, up to `next_id`, has been synced by an operation that waited for
    /// it. Frames that are staged from now on say so.
    fn note_synced(&self, next_id: u64) {
        self.log.durable.store(next_id, Ordering::Release);
        if let (Some(active), Some(open)) = (&self.writer.active, lock(&self.log.tail).segment()) {
            open.synced_to = active.reader.end();
        }
    }

    /// Makes room for `append`, which did not fit: reserves space, or goes on to a new segment.
    /// Commits what is staged if it has to.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing was staged, and the stream is as it was. After an error of a
    /// write or sync the stream is poisoned.
    pub(crate) fn make_room(&mut self, root: &Path, append: &Append<'_>) -> Result<()> {
        self.log.check(lock(&self.log.tail).state())?;
        self.confirm_dir(root)?;
        self.open_active()?;
        let lack = lock(&self.log.tail).lacks(append, &self.log.limits);
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
        make_dir_again(storage, dir).map_err(|error| no_space(error, dir))?;
        storage.sync_dir(root).map_err(|error| log.fail(error))?;
        self.writer.dir_confirmed = true;
        Ok(())
    }

    /// Opens the file of the active segment, if it is not open.
    fn open_active(&mut self) -> Result<()> {
        let (Some(idle), Some(reader)) = (self.writer.idle, self.log.segments().last().cloned())
        else {
            return Ok(());
        };
        let IdleSegment { slot, newest, end } = idle;
        let (storage, dir) = (&*self.log.storage, &self.log.identity.dir);
        let writer = if end == HEADER_LEN {
            self.create(slot, 0)?
        } else {
            let path = path_of(dir, slot.constants.first_id);
            SegmentWriter::open(storage, path, slot, newest, end)
                .map_err(|error| self.log.fail(error))?
        };
        if let Some(open) = lock(&self.log.tail).segment() {
            open.room_to = writer.reserved_to();
        }
        reader.keep_open(Arc::clone(writer.file()));
        self.writer.active = Some(Active { writer, reader });
        self.writer.idle = None;
        Ok(())
    }

    fn reserve(&mut self, end: u64) -> Result<()> {
        let Some(active) = &mut self.writer.active else {
            // Rather an error than an append that tries for ever.
            return Err(self
                .log
                .fail(io::Error::other("there is no active segment to make room in")));
        };
        match active.writer.reserve(end, self.log.limits.segment_len_max) {
            Err(Error::Io(error)) => return Err(self.log.fail(error)),
            other => other?,
        }
        if let Some(open) = lock(&self.log.tail).segment() {
            open.room_to = active.writer.reserved_to();
        }
        Ok(())
    }

    /// Commits what is staged, seals the active segment and, in `Strict`, makes it durable. Does
    /// nothing if there is none. Afterwards there is none.
    fn finish_segment(&mut self) -> Result<()> {
        let Some(end) = self.stop_staging() else {
            return Ok(());
        };
        let finished = self.try_finish_segment(end);
        if finished.is_err()
            && let (Some(open), Some(active)) =
                (lock(&self.log.tail).segment(), &self.writer.active)
        {
            // Without space for a seal the segment stays the active one.
            open.room_to = active.writer.reserved_to();
        }
        finished
    }

    /// Keeps appends from being staged; returns where the active segment's frames end.
    fn stop_staging(&mut self) -> Option<u64> {
        let mut tail = lock(&self.log.tail);
        let open = tail.segment()?;
        open.room_to = 0;
        Some(open.end)
    }

    fn try_finish_segment(&mut self, end: u64) -> Result<()> {
        let log = self.log;
        let in_strict = log.limits.sync_on_rotation;
        let Some(active) = &mut self.writer.active else {
            return Ok(());
        };
        // May read the file; later, the points are at hand.
        let known = active.reader.all_points()?.len() + lock(&log.tail).staged_points();
        match active.writer.reserve_seal(end, known as u64) {
            Err(Error::Io(error)) => return Err(log.fail(error)),
            other => other?,
        }
        self.commit(in_strict)?;

        let Some(proof) = self.staged_proof() else {
            return Ok(());
        };
        let Some(Active { mut writer, reader }) = self.writer.active.take() else {
            return Ok(());
        };
        let points = reader.all_points()?;
        let sealed = writer.seal(proof, &points).and_then(|()| {
            if in_strict {
                // The frames have been synced, so one sync serves the seal and what proves it.
                writer.write_slot(Slot { proof, first_kept: log.first_id(), ..*writer.slot() })?;
                writer.sync()?;
            }
            Ok(())
        });
        sealed.map_err(|error| log.fail(error))?;
        reader.let_go();
        self.writer.predecessor = (proof.synced_to, in_strict);
        self.writer.frames_unsynced = false;
        if !in_strict {
            lock(&log.unproven).push_back(FullSegment { writer, proof, failed: false });
            log.new_full_segment.store(true, Ordering::Relaxed);
        }
        lock(&log.tail).set_segment(None);
        Ok(())
    }

    /// What holds of the active segment once everything staged is durable.
    fn staged_proof(&self) -> Option<Proof> {
        let mut tail = lock(&self.log.tail);
        let next_id = tail.next_id();
        tail.segment().map(|open| Proof { synced_to: open.end, next_id, digest: open.digest })
    }

    /// Creates a segment file; without space, nothing has changed.
    fn create(&self, slot: Slot, room: u64) -> Result<SegmentWriter> {
        let log = self.log;
        SegmentWriter::create(&*log.storage, &log.identity.dir, slot, room).map_err(|error| {
            match error {
                Error::Io(error) => log.fail(error),
                full => full,
            }
        })
    }

    /// Begins a segment with room for a frame of `frame_len` bytes.
    fn begin_segment(&mut self, frame_len: u64) -> Result<()> {
        let log = self.log;
        let first_id = lock(&log.tail).next_id();
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
            first_kept: log.first_id(),
        };
        let writer = self.create(slot, frame_len)?;
        let seed = SegmentSeed::new(identity.salt, stream_number, first_id);
        let mut open = OpenSegment::new(seed, first_id, slot.proof);
        open.room_to = writer.reserved_to();

        let reader = Arc::new(Segment::fresh(
            Arc::clone(&log.storage),
            writer.path().to_path_buf(),
            first_id,
            seed,
            Arc::clone(writer.file()),
        ));
        let mut segments = log.segments().to_vec();
        segments.push(Arc::clone(&reader));
        log.set_segments(segments);
        self.writer.active = Some(Active { writer, reader });
        lock(&log.tail).set_segment(Some(open));
        Ok(())
    }

    /// Commits what is staged and makes everything durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.commit(true)?;
        self.note_synced(self.log.next_id());
        Ok(())
    }

    /// Makes everything durable and records that in a slot of the active segment, so that damage to
    /// its last entries can be told from a torn tail. Does nothing if something is staged: the
    /// stream is not idle then.
    pub(crate) fn prove_idle(&mut self) -> Result<()> {
        if lock(&self.log.tail).staged() > 0 {
            return Ok(());
        }
        self.sync()?;
        let (proof, first_kept) = (self.staged_proof(), self.log.first_id());
        let (Some(Active { writer, reader }), Some(proof)) = (&mut self.writer.active, proof)
        else {
            return Ok(());
        };
        if proof.synced_to != reader.end() || proof == writer.slot().proof {
            return Ok(());
        }
        let slot = Slot { proof, first_kept, ..*writer.slot() };
        let proven = writer.write_slot(slot).and_then(|()| writer.sync());
        proven.map_err(|error| self.log.fail(error))
    }

    /// Commits what is staged, makes everything durable and records that in the active segment,
    /// the same way however it came to be. Takes no appends afterwards.
    pub(crate) fn close(&mut self) -> Result<()> {
        let log = self.log;
        self.stop_staging();
        let result =
            self.sync().and_then(|()| self.prove_active().map_err(|error| log.fail(error)));
        lock(&log.tail).close();
        // What could not be synced by now never will be through these handles, and its error has
        // been reported. The files go with the log, not with the last handle on it.
        lock(&log.unproven).clear();
        if let Some(Active { reader, .. }) = self.writer.active.take() {
            reader.let_go();
        }
        result
    }

    fn prove_active(&mut self) -> io::Result<()> {
        let proof = self.staged_proof();
        let (Some(Active { writer, .. }), Some(proof)) = (&mut self.writer.active, proof) else {
            return Ok(());
        };
        let slot = Slot { proof, first_kept: self.log.first_id(), ..*writer.slot() };
        writer.cut(proof.synced_to)?;
        writer.write_slot(slot)?;
        writer.sync()?;
        writer.write_slot(slot)?;
        writer.sync()
    }
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

/// Removes what an interrupted creation of a segment left behind.
pub(super) fn remove_unfinished(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    match storage.remove_file(&dir.join(crate::segment::UNFINISHED_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tail::Limits;
    use super::super::{Identity, Log};
    use super::*;
    use crate::commit::Stream;
    use crate::storage::SimDisk;
    use crate::storage::sim::CallKind;

    /// The maintenance thread's sync of a full segment fails while a batch waits to sync the same
    /// segment. Trying again would return OK, and the batch would be acknowledged over a gap.
    #[test]
    fn a_failed_sync_of_a_full_segment_is_never_tried_again() {
        let disk = SimDisk::new(5);
        let root = Path::new("/");
        let identity =
            Identity { name: "s".into(), dir: root.join("s"), number: 0.into(), salt: 1 };
        let limits = Limits { segment_len_max: 1000, entries_max: 1, sync_on_rotation: false };
        let stream = Stream::new(Log::new(Arc::new(disk.clone()), identity, limits));
        for entry in [&b"one"[..], b"two"] {
            stream.append(root, &Append { entries: &[entry], batch: false, sync: false }).unwrap();
        }
        disk.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
        stream.log().prove_full_segments().unwrap_err();
        stream.log().prove_full_segments().unwrap_err();
        assert_eq!(stream.log().durable_end(), 0);
    }
}
