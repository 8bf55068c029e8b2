//! Committing rounds: write, sync, publish; proving what is durable; closing.
//!
//! Whoever holds the [`Lead`] is the stream's only segment writer.

use std::collections::VecDeque;
use std::io;

use super::files::Permit;
use super::tail::{Mapped, Pending, State, Tail, Taken};
use super::{Log, shared_error};
use crate::error::{Error, Result};
use crate::format::header::{FirstKept, Proof, Slot, SlotPlace};
use crate::segment::{Segment, SegmentWriter};
use crate::sync::{Arc, MutexGuard, Ordering, Weak, lock};

/// When so much has been synced since a slot was written, or an eighth of a segment, it is written again:
/// an opening after a crash reads what no slot speaks of, and another block under one sync in so many
/// bytes is cheap.
const UNPROVEN_LEN_MAX: u64 = 1024 * 1024;

/// What only the leader touches.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The active segment, opened by the first change.
    pub(super) active: Option<Active>,
    /// The active segment as recovery left it, until it is opened.
    pub(super) idle: Option<IdleSegment>,
    /// What a new segment says of the one before it: where it ends, and whether it was synced.
    pub(super) predecessor: (u64, bool),
    pub(super) cut_number: u64,
    /// Segments that were cut off or replaced by a cut, while somebody reads them.
    pub(super) cut_off: Vec<Weak<Segment>>,
    /// Whether the directory of a stream without segments has been made durable.
    pub(super) dir_confirmed: bool,
    /// Whether frames have been written since the last sync.
    pub(super) frames_unsynced: bool,
    /// Whether something of the active segment that a share in the journal rests on is not durable:
    /// frames that are not in the journal, or room.
    pub(super) gap: bool,
    /// The end of the active segment as it was committed last, if that was by this process.
    pub(super) committed_proof: Option<Proof>,
    /// A permit for the file that is about to be opened.
    pub(super) permit: Option<Permit>,
    /// Whether nothing is committed in place until the lead is given up.
    pub(super) placing_is_stopped: bool,
    /// The buffers of the round before.
    pub(super) spare: Pending,
}

/// The segment that frames are written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) writer: SegmentWriter,
    pub(super) reader: Arc<Segment>,
    /// `None`: it is open for a moment only, and closed by whoever opened it.
    pub(super) permit: Option<Permit>,
    /// What was synced last since it was opened.
    synced: Option<Proof>,
}

/// An active segment whose file is not open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleSegment {
    pub(crate) slot: Slot,
    pub(crate) newest: SlotPlace,
    /// Where its frames in the file end.
    pub(crate) end: u64,
    /// Whether this process made it durable, name included.
    pub(crate) ours: bool,
    /// Whether a slot says where it ends, and so does its length.
    pub(crate) settled: bool,
}

/// Full segments that are not known to be durable, oldest first.
pub(crate) type Unproven = VecDeque<FullSegment>;

/// A full segment on its way to being durable.
#[derive(Debug)]
pub(crate) struct FullSegment {
    pub(super) writer: SegmentWriter,
    pub(super) reader: Arc<Segment>,
    pub(super) proof: Proof,
    pub(super) _permit: Option<Permit>,
    /// Unmapped off the append path, and before the sync: otherwise that has to tell every core about
    /// every page that it writes.
    pub(super) mapped: Option<Mapped>,
    /// Why a sync failed. The next one would say OK, and somebody may be waiting to try it.
    pub(super) failed: Option<Arc<io::Error>>,
}

impl Active {
    pub(super) fn new(writer: SegmentWriter, reader: Arc<Segment>, permit: Option<Permit>) -> Self {
        Self { writer, reader, permit, synced: None }
    }

    /// Syncs what was written. From time to time, a slot that says what was durable before goes with it,
    /// so that an opening after a crash has little to read.
    fn sync(&mut self, log: &Log) -> io::Result<()> {
        let Self { writer, synced, .. } = self;
        let unproven_len = (log.limits.segment_len_max / 8).min(UNPROVEN_LEN_MAX);
        let due = writer.slot().proof.synced_to + unproven_len;
        if let Some(proof) = synced.filter(|proof| proof.synced_to > due)
            && writer.may_write_slot()
        {
            let first_kept = log.first_kept();
            writer.write_slot(Slot { proof, first_kept, ..*writer.slot() })?;
        }
        writer.sync()?;
        log.activity().synced(1);
        // After the sync, so that this holds of what it saved.
        if log.limits.maps { writer.check_len() } else { Ok(()) }
    }
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            active: None,
            idle: None,
            predecessor: (0, false),
            cut_number: 0,
            cut_off: Vec::new(),
            dir_confirmed: false,
            frames_unsynced: false,
            gap: false,
            committed_proof: None,
            permit: None,
            placing_is_stopped: false,
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
    pub(super) log: &'a Log,
    pub(super) writer: MutexGuard<'a, Writer>,
    pub(super) committed: Option<Committed>,
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
            if let Err(error) = full.prove(self) {
                return Err(self.fail(error));
            }
            self.durable.fetch_max(full.proof.next_id, Ordering::AcqRel);
            unproven.pop_front();
        }
        Ok(())
    }

    /// Poisons the stream with an error and returns it.
    pub(super) fn fail(&self, error: io::Error) -> Error {
        let error = Arc::new(error);
        self.poison(&error);
        Error::Io(shared_error(&error))
    }
}

impl FullSegment {
    /// Makes the segment durable, and then the proof that it is.
    fn prove(&mut self, log: &Log) -> io::Result<()> {
        if let Some(cause) = &self.failed {
            return Err(shared_error(cause));
        }
        if let Err(error) = self.try_prove(log.first_kept()) {
            return Err(shared_error(self.failed.insert(Arc::new(error))));
        }
        log.activity().synced(2);
        self.reader.set_proven();
        Ok(())
    }

    fn try_prove(&mut self, first_kept: FirstKept) -> io::Result<()> {
        self.mapped = None;
        self.writer.sync()?;
        let slot = Slot { proof: self.proof, first_kept, ..*self.writer.slot() };
        self.writer.write_slot(slot)?;
        self.writer.sync()
    }
}

impl Lead<'_> {
    /// Hands in a permit to open a file, or takes it back.
    pub(crate) fn give(&mut self, permit: Option<Permit>) {
        self.writer.permit = permit;
    }

    /// The last round that was committed under this lead, also if a later step failed.
    pub(crate) fn committed(&self) -> Option<Committed> {
        self.committed
    }

    /// Writes what is staged, syncs it if any of it must be or `sync` says so, and publishes it.
    /// What was committed by the journal and not written yet is written first.
    ///
    /// # Errors
    ///
    /// After an error the stream is poisoned, and nothing of the round was published.
    pub(crate) fn commit(&mut self, sync: bool) -> Result<()> {
        let (taken, end) = {
            let mut tail = self.log.tail();
            if let State::Poisoned(_) | State::Deleted = tail.state() {
                return self.log.check(tail.state());
            }
            self.learn_placed(&mut tail);
            let taken = tail.take(&mut self.writer.spare);
            self.log.staged.store(0, Ordering::Relaxed);
            (taken, tail.proof())
        };
        self.commit_taken(taken, end, sync)
    }

    /// Takes note of what was appended in place.
    pub(super) fn learn_placed(&mut self, tail: &mut Tail) {
        if let Some(proof) = tail.take_placed() {
            let (entries, bytes) = tail.count_placed();
            self.log.activity().appended(entries, bytes);
            self.writer.frames_unsynced = true;
            self.writer.gap = true;
            self.writer.committed_proof = Some(proof);
        }
    }

    /// The same with what was taken, and with what held of the segment then.
    pub(super) fn commit_taken(
        &mut self,
        taken: Option<Taken>,
        end: Option<Proof>,
        sync: bool,
    ) -> Result<()> {
        let for_now = taken.is_some() || self.has_unwritten();
        let opened = for_now && self.open_for_now()?;
        // A file that is closed again is synced before.
        let sync = sync || opened || taken.as_ref().is_some_and(|taken| taken.pending.sync);
        let written = self.write_out().and_then(|()| self.write_back(taken.as_ref(), sync));
        written.map_err(|error| self.log.fail(error))?;
        if let Some(taken) = taken {
            self.publish(taken);
        }
        if sync {
            self.note_synced(end);
        }
        if opened {
            self.close_for_now();
        }
        Ok(())
    }

    fn write_back(&mut self, taken: Option<&Taken>, sync: bool) -> io::Result<()> {
        if let (Some(taken), Some(active)) = (taken, &mut self.writer.active) {
            active.writer.write(&taken.pending.frames, taken.offset, sync)?;
            self.writer.frames_unsynced = true;
            self.writer.gap = true;
        }
        if sync { self.sync_written() } else { Ok(()) }
    }

    /// Makes everything durable that has been written, in id order.
    pub(super) fn sync_written(&mut self) -> io::Result<()> {
        let mut unproven = lock(&self.log.unproven);
        while let Some(full) = unproven.front_mut() {
            full.prove(self.log)?;
            unproven.pop_front();
        }
        drop(unproven);
        if (self.writer.frames_unsynced || self.writer.gap)
            && let Some(active) = &mut self.writer.active
        {
            active.sync(self.log)?;
            self.writer.frames_unsynced = false;
            self.writer.gap = false;
        }
        Ok(())
    }

    /// Shows readers what was written.
    fn publish(&mut self, taken: Taken) {
        let Taken { round, mut pending, first_id, proof, .. } = taken;
        self.log.activity().appended(proof.next_id - first_id, pending.frames.len() as u64);
        if let Some(active) = &self.writer.active {
            active.reader.publish(proof.synced_to, proof.next_id, &pending.points);
        }
        if let Some(mark) = self.log.mark() {
            mark.committed(proof.next_id);
        }
        // The last step: from now on others may append in place.
        self.log.committed.store(proof.next_id, Ordering::Release);
        self.writer.committed_proof = Some(proof);
        self.committed = Some(Committed { round, appends: pending.appends });
        pending.reset();
        self.writer.spare = pending;
    }

    /// Everything up to `end` has been synced by an operation that waited for it. Frames that are staged
    /// from now on say so.
    fn note_synced(&mut self, end: Option<Proof>) {
        let next_id = end.map_or_else(|| self.log.next_id(), |end| end.next_id);
        self.log.durable.store(next_id, Ordering::Release);
        if let (Some(end), Some(active), Some(open)) =
            (end, &mut self.writer.active, self.log.tail().segment())
        {
            open.synced_to = end.synced_to;
            active.synced = Some(end);
        }
    }

    /// Keeps appends from being staged; returns where the active segment's frames end.
    pub(super) fn stop_staging(&mut self) -> Option<u64> {
        let mut tail = self.log.tail();
        let open = tail.segment()?;
        open.room_to = 0;
        Some(open.end)
    }

    /// What holds of the active segment once everything staged is durable.
    pub(super) fn staged_proof(&self) -> Option<Proof> {
        self.log.tail().proof()
    }

    /// Commits what is staged and makes everything durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.commit(true)
    }

    /// Makes everything durable and records that in a slot of the active segment, so that damage to
    /// its last entries can be told from a torn tail. Does nothing if something is staged: the
    /// stream is not idle then.
    pub(crate) fn prove_idle(&mut self) -> Result<()> {
        if self.log.tail().staged() > 0 {
            return Ok(());
        }
        self.sync()?;
        let opened = match self.writer.idle {
            Some(idle) if !idle.settled && self.staged_proof() != Some(idle.slot.proof) => {
                self.open_for_now()?
            }
            _ => false,
        };
        let proven = self.prove_end();
        proven.map_err(|error| self.log.fail(error))?;
        if opened {
            self.close_for_now();
        }
        Ok(())
    }

    /// Records in a slot where the active segment ends, if its file is open and that is news.
    fn prove_end(&mut self) -> io::Result<()> {
        let (proof, is_idle) = {
            let tail = self.log.tail();
            (tail.proof(), !tail.has_placed())
        };
        let first_kept = self.log.first_kept();
        let (Some(Active { writer, reader, .. }), Some(proof)) = (&mut self.writer.active, proof)
        else {
            return Ok(());
        };
        if !is_idle || proof.synced_to != reader.end() || proof == writer.slot().proof {
            return Ok(());
        }
        writer.write_slot(Slot { proof, first_kept, ..*writer.slot() })?;
        writer.sync()
    }

    /// Commits what is staged, makes everything durable and records that in the active segment,
    /// the same way however it came to be. Takes no appends afterwards.
    pub(crate) fn close(&mut self) -> Result<()> {
        let released = self.let_go(true);
        self.log.tail().close();
        released
    }

    /// Commits what is staged, makes everything durable, records that in the active segment, and
    /// closes its file. The next append opens it again.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.let_go(false)
    }

    /// `for_good`: both slots are to say the same, and the file ends where its frames do. Otherwise the
    /// stream keeps the room that it has, and needs no file for what goes to the journal.
    fn let_go(&mut self, for_good: bool) -> Result<()> {
        let log = self.log;
        let keeps_room = !for_good;
        if !keeps_room || self.writer.active.is_some() {
            self.stop_staging();
        }
        if for_good {
            log.end_next();
        }
        let result = self.settle_to_close(for_good, keeps_room);
        // What could not be synced by now never will be through these handles, and its error has
        // been reported. The files go with the log, not with the last handle on it.
        lock(&log.unproven).clear();
        let room_to = self.writer.active.as_ref().map(|active| active.writer.reserved_to());
        self.close_active(!keeps_room);
        if result.is_ok()
            && keeps_room
            && let (Some(open), Some(room_to)) = (log.tail().segment(), room_to)
        {
            open.room_to = room_to;
        }
        result
    }

    fn settle_to_close(&mut self, for_good: bool, keeps_room: bool) -> Result<()> {
        self.sync()?;
        if keeps_room {
            return Ok(());
        }
        if self.writer.idle.is_some_and(|idle| !idle.settled) {
            self.open_for_now()?;
        }
        self.prove_active(for_good).map_err(|error| self.log.fail(error))
    }

    /// Closes the file of the active segment, of which everything is synced.
    pub(super) fn close_active(&mut self, settled: bool) {
        drop(self.unmap());
        if let Some(Active { reader, writer, .. }) = self.writer.active.take() {
            let end = reader.end();
            let (slot, newest) = (*writer.slot(), writer.newest_slot());
            self.writer.idle = Some(IdleSegment { slot, newest, end, ours: true, settled });
            reader.let_go();
        }
        self.set_has_file(false);
    }

    fn prove_active(&mut self, for_good: bool) -> io::Result<()> {
        let proof = self.staged_proof();
        let (Some(Active { writer, .. }), Some(proof)) = (&mut self.writer.active, proof) else {
            return Ok(());
        };
        let slot = Slot { proof, first_kept: self.log.first_kept(), ..*writer.slot() };
        writer.cut(proof.synced_to)?;
        writer.write_slot(slot)?;
        if for_good {
            // This syncs the first one before.
            writer.write_slot(slot)?;
        }
        writer.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::tests::{append, unsynced_stream};
    use crate::storage::SimDisk;
    use crate::storage::sim::CallKind;

    /// The maintenance thread's sync of a full segment fails while a batch waits to sync the same
    /// segment. Trying again would return OK, and the batch would be acknowledged over a gap.
    #[test]
    fn a_failed_sync_of_a_full_segment_is_never_tried_again() {
        let disk = SimDisk::new(5);
        let stream = unsynced_stream(&disk, 1);
        append(&stream, b"one");
        append(&stream, b"two");
        disk.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
        let cause = stream.log().prove_full_segments().unwrap_err().to_string();
        // Whoever asks again is told what it was, and in which file.
        let again = stream.log().prove_full_segments().unwrap_err().to_string();
        assert_eq!(again, cause);
        assert_eq!(stream.log().durable_end(), 0);
    }
}
