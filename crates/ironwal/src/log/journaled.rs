//! A stream's part in the journal: its share of a round, which is published before it is written to
//! the segment, and writing it there later.
//!
//! ```text
//!  segment     … | synced | written, in the journal | committed, in the journal only | staged
//!                                                     '--- unwritten, in memory ---'
//! ```
//!
//! A share is taken only if everything below it is durable, in the segment or in the journal. Whoever
//! leads the stream writes what is unwritten before anything else, so segments are written in order.

use std::io;

use bytes::Bytes;

use super::Log;
use super::tail::{State, Taken};
use super::write::{Active, Committed, Lead};
use crate::error::Result;
use crate::format::header::{Proof, Slot};
use crate::format::journal::Record;
use crate::segment::Segment;
use crate::sync::{Arc, Ordering, lock};

/// A share of this many bytes or more is written to its segment at once: to write it twice would cost
/// more than a sync of its own. `docs/benchmarks.md` has the measurement.
pub(crate) const LARGE_LEN: usize = 8 * 1024;

/// What a stream brings into a round of several.
#[derive(Debug)]
pub(crate) struct Share {
    taken: Taken,
    pub(crate) record: Record,
}

impl Share {
    /// The exact bytes of its frames.
    pub(crate) fn frames(&self) -> &[u8] {
        &self.taken.pending.frames
    }
}

impl Log {
    /// How many bytes are staged, as far as they may go to the journal.
    pub(crate) fn staged_len(&self) -> usize {
        self.tail().staged_len()
    }

    fn newest_reader(&self) -> Option<Arc<Segment>> {
        self.segments().last().cloned()
    }
}

impl Lead<'_> {
    /// Whether everything below what is staged is durable, in the segment or in the journal.
    fn is_journalable(&self) -> bool {
        !self.writer.gap && lock(&self.log.unproven).is_empty()
    }

    /// Makes everything below what is staged durable, and what is staged as well if it is too much
    /// for the journal.
    pub(crate) fn prepare_for_journal(&mut self) -> Result<()> {
        self.stop_placing();
        if !self.is_journalable() || self.log.staged_len() >= LARGE_LEN {
            self.commit(true)?;
        }
        Ok(())
    }

    /// Takes what is staged for the journal; `None` if there is nothing, or if it has to go another
    /// way: `is_batch` says that it must go this one.
    pub(crate) fn take_share(&mut self, is_batch: bool) -> Option<Share> {
        let number = self.log.number()?;
        let taken = {
            let mut tail = self.log.tail();
            self.learn_placed(&mut tail);
            if !self.is_journalable() {
                return None;
            }
            if let State::Poisoned(_) | State::Deleted = tail.state() {
                return None;
            }
            if !is_batch && tail.staged_len() >= LARGE_LEN {
                return None;
            }
            let taken = tail.take(&mut self.writer.spare)?;
            self.log.staged.store(0, Ordering::Relaxed);
            taken
        };
        let record = Record {
            stream_number: number,
            segment: taken.segment,
            index: u32::try_from(taken.first_id - taken.segment).ok()?,
            count: u32::try_from(taken.proof.next_id - taken.first_id).ok()?,
            offset: taken.offset,
            len: taken.pending.frames.len() as u64,
        };
        Some(Share { taken, record })
    }

    /// Writes a share to its segment after all, and syncs and publishes it.
    pub(crate) fn commit_share(&mut self, share: Share) -> Result<()> {
        let end = share.taken.proof;
        self.commit_taken(Some(share.taken), Some(end), true)
    }

    /// Lets readers see a share that is durable in the journal once its round is published. `frames` are
    /// its frames, as part of what the round wrote.
    pub(crate) fn publish_share(&mut self, share: Share, frames: Bytes, round: u64) {
        let Taken { round: of_stream, mut pending, first_id, offset, proof, .. } = share.taken;
        let log = self.log;
        log.activity().appended(proof.next_id - first_id, pending.frames.len() as u64);
        if let Some(reader) = log.newest_reader() {
            // Nobody writes it soon where no file is open: then it must not hold the others.
            let frames = if log.has_file() { frames } else { Bytes::copy_from_slice(&frames) };
            reader.unwritten().push(offset, frames);
            reader.publish(proof.synced_to, proof.next_id, &pending.points);
        }
        // In this order: see `Log::next_id`.
        log.before.store(log.committed.load(Ordering::Relaxed), Ordering::Release);
        log.round.store(round, Ordering::Release);
        log.committed.store(proof.next_id, Ordering::Release);
        log.durable.store(proof.next_id, Ordering::Release);
        self.writer.committed_proof = Some(proof);
        self.committed = Some(Committed { round: of_stream, appends: pending.appends });
        pending.reset();
        self.writer.spare = pending;
    }

    /// Tells other processes of the shares of a round, once that is published, as of one instant.
    pub(crate) fn tell_others(leads: &[&Self]) {
        let marks = || leads.iter().filter_map(|lead| lead.log.mark());
        let Some(first) = marks().next() else { return };
        first.begin_together();
        for lead in leads {
            if let Some(mark) = lead.log.mark() {
                mark.committed(lead.log.next_id());
            }
        }
        first.end_together();
    }

    /// Whether something is committed that is not in the segment's file.
    pub(super) fn has_unwritten(&self) -> bool {
        self.log.newest_reader().is_some_and(|reader| !reader.unwritten().is_empty())
    }

    /// Writes what is committed and not in the segment's file yet, if that is open. Nothing of it is
    /// synced, for all of it is in the journal.
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        let to = &mut *self.writer;
        let Some(Active { writer, reader, .. }) = &mut to.active else { return Ok(()) };
        if reader.unwritten().is_empty() {
            return Ok(());
        }
        let pieces = reader.unwritten().pieces();
        let (Some((start, first)), Some((last_at, last))) = (pieces.first(), pieces.last()) else {
            return Ok(());
        };
        let end = last_at + last.len() as u64;
        to.frames_unsynced = true;
        if pieces.len() == 1 {
            writer.write(first, *start, false)?;
        } else {
            let pieces: Vec<&[u8]> = pieces.iter().map(|(_, bytes)| &**bytes).collect();
            writer.write(&pieces.concat(), *start, false)?;
        }
        reader.unwritten().forget_below(end);
        Ok(())
    }

    /// Writes out what can be without opening a file.
    pub(crate) fn write_out_if_open(&mut self) -> Result<()> {
        let log = self.log;
        if let State::Poisoned(_) | State::Deleted = log.tail().state() {
            return Ok(());
        }
        self.write_out().map_err(|error| log.fail(error))
    }

    /// Opens the file of the active segment until [`Lead::close_for_now`], if it is not open; returns
    /// whether it did. Needs no permit, for it is not kept open.
    pub(super) fn open_for_now(&mut self) -> Result<bool> {
        let (Some(idle), Some(reader)) = (self.writer.idle, self.log.newest_reader()) else {
            return Ok(false);
        };
        if self.writer.active.is_some() {
            return Ok(false);
        }
        let writer = self.open_idle(idle)?;
        reader.keep_open(Arc::clone(writer.file()));
        self.writer.active = Some(Active::new(writer, reader, None));
        self.writer.idle = None;
        Ok(true)
    }

    /// Closes the file again, of which everything is synced.
    pub(super) fn close_for_now(&mut self) {
        self.close_active(false);
    }

    /// Makes everything that is committed durable in the segment itself, so that the journal does not
    /// have to hold it any more, and records that in a slot.
    ///
    /// # Errors
    ///
    /// The stream is poisoned, or was. The journal must go on to hold what it holds of it.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let log = self.log;
        match log.tail().state() {
            State::Deleted => return Ok(()),
            state @ State::Poisoned(_) => return log.check(state),
            State::Open | State::Closed => {}
        }
        self.learn_placed(&mut log.tail());
        if !self.has_unwritten() && !self.writer.frames_unsynced && self.is_journalable() {
            return Ok(());
        }
        let opened = self.open_for_now()?;
        let settled = self.write_out().and_then(|()| self.sync_with_slot());
        settled.map_err(|error| log.fail(error))?;
        if opened {
            self.close_for_now();
        }
        Ok(())
    }

    /// Syncs everything that was written, with a slot that says so under the same sync: if a crash
    /// keeps only the slot, the journal still holds what the slot speaks of. That is so only if there
    /// is nothing else to sync.
    fn sync_with_slot(&mut self) -> io::Result<()> {
        if !self.is_journalable() {
            self.sync_written()?;
        }
        let first_kept = self.log.first_kept();
        let proof = self.writer.committed_proof;
        let Some(Active { writer, reader, .. }) = &mut self.writer.active else { return Ok(()) };
        let end = reader.end();
        if let Some(proof) = proof.filter(|proof| is_news(*proof, end, writer.slot())) {
            let slot = Slot { proof, first_kept, ..*writer.slot() };
            writer.write_slot(slot)?;
        }
        writer.sync()?;
        self.log.activity().synced(1);
        self.writer.frames_unsynced = false;
        if let Some(open) = self.log.tail().segment() {
            open.synced_to = end;
        }
        Ok(())
    }
}

/// Whether a slot should say that the segment is synced up to here.
fn is_news(proof: Proof, end: u64, slot: &Slot) -> bool {
    proof.synced_to == end && slot.proof != proof
}
