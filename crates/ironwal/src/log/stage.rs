//! Staging: an append gets its ids in the tail, alone or with appends to other streams, or none does.

use std::io;
use std::ops::Range;

use super::Log;
use super::tail::{Append, Lack, Limits, Round, Staged, Tail};
use crate::error::{Error, Result};
use crate::format::{MAX_FRAME_LEN, frame};
use crate::sync::Ordering;

/// The stream that has no room for its part of what is staged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LacksRoom {
    /// Which of them it is.
    pub(crate) nth: usize,
}

impl Log {
    /// Stages an append, if there is room for it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Conflict`], [`Error::Poisoned`], [`Error::Closed`],
    /// [`Error::StreamNotFound`], [`Error::Damaged`]. Nothing was staged.
    pub(crate) fn stage(
        &self,
        append: &Append<'_>,
        enter: Option<&dyn Fn() -> u64>,
    ) -> Result<Staged> {
        let mut tail = self.tail();
        self.check_append(&tail, append)?;
        let committed = self.committed.load(Ordering::Relaxed);
        let staged = tail.stage(append, &self.limits, committed, enter);
        if let Staged::InPlace { ids } = &staged {
            self.committed_in_place(ids.end);
        } else {
            self.staged.store(tail.staged(), Ordering::Relaxed);
        }
        Ok(staged)
    }

    /// Commits one entry in place and returns its id, if that needs no room, turn or sync. Otherwise
    /// nothing is done, and [`Log::stage`] says why.
    pub(crate) fn place(&self, entry: &[u8]) -> Option<u64> {
        let mut tail = self.tail();
        if self.end_lost.get().is_some() {
            return None;
        }
        let committed = self.committed.load(Ordering::Relaxed);
        let id = tail.place(entry, &self.limits, committed)?;
        self.committed_in_place(id + 1);
        Some(id)
    }

    /// Shows what was committed in place, under the lock of the tail.
    fn committed_in_place(&self, next_id: u64) {
        self.committed.store(next_id, Ordering::Release);
        if let Some(mark) = self.mark() {
            mark.committed(next_id);
        }
    }

    /// Whether an append is possible, but for the room that it takes.
    fn check_append(&self, tail: &Tail, append: &Append<'_>) -> Result<()> {
        let len = frame::longest_len(append.entries);
        if len > MAX_FRAME_LEN {
            return Err(Error::TooLarge { len, limit: MAX_FRAME_LEN });
        }
        self.check(tail.state())?;
        if let Some(expected) = append.expected
            && expected != tail.next_id()
        {
            let (stream, next_id) = (self.identity.name.clone(), tail.next_id());
            return Err(Error::Conflict { stream, expected, next_id });
        }
        if tail.next_id().checked_add(append.entries.len() as u64).is_none() {
            return Err(Error::Config(format!("stream {:?} has no ids left", self.identity.name)));
        }
        Ok(())
    }

    /// Stages appends to several streams at one instant, all or none. Room that is missing is the
    /// caller's business; how much is staged already is not asked.
    ///
    /// Whoever names the same streams names them in the same order, and none twice. The caller leads
    /// all of them.
    ///
    /// # Errors
    ///
    /// Those of [`Log::stage`], of the first stream that cannot take its append. Nothing was staged.
    pub(crate) fn stage_together(
        appends: &[(&Self, Append<'_>)],
    ) -> Result<std::result::Result<Vec<Range<u64>>, LacksRoom>> {
        let mut tails: Vec<_> = appends.iter().map(|(log, _)| log.tail()).collect();
        for (nth, (tail, (log, append))) in tails.iter().zip(appends).enumerate() {
            log.check_append(tail, append)?;
            if tail.lacks(append, &log.limits_together()) != Lack::Nothing {
                return Ok(Err(LacksRoom { nth }));
            }
        }
        let mut all_ids = Vec::with_capacity(appends.len());
        for (tail, (log, append)) in tails.iter_mut().zip(appends) {
            let committed = log.committed.load(Ordering::Relaxed);
            let staged = tail.stage(append, &log.limits_together(), committed, None);
            if let Staged::InRound { ids, .. } = staged {
                all_ids.push(ids);
            } else {
                // It was looked at under the same lock. Rather an error than half a batch.
                let what = "a stream took back room while a batch over several streams was staged";
                for (log, _) in appends {
                    log.whole.fail(io::Error::other(what));
                }
                return Err(Error::Io(io::Error::other(what)));
            }
            log.staged.store(tail.staged(), Ordering::Relaxed);
        }
        Ok(Ok(all_ids))
    }

    /// The limits for what is staged together with other streams: it is one append, and needs no
    /// file, for it goes to the journal.
    fn limits_together(&self) -> Limits {
        Limits { staged_len_max: usize::MAX, fileless: true, ..self.limits }
    }

    /// Whether there is room as it is now for an append that is going to be staged together with
    /// others.
    pub(crate) fn has_room_for(&self, append: &Append<'_>) -> Result<bool> {
        let tail = self.tail();
        self.check_append(&tail, append)?;
        Ok(tail.lacks(append, &self.limits_together()) == Lack::Nothing)
    }

    /// The ids behind the last entries that are staged in several streams, at one instant. Appends to
    /// them wait meanwhile.
    ///
    /// Whoever names the same streams names them in the same order, and none twice.
    pub(crate) fn staged_ends(logs: &[&Self]) -> Vec<u64> {
        let tails: Vec<_> = logs.iter().map(|log| log.tail()).collect();
        tails.iter().map(|tail| tail.next_id()).collect()
    }

    /// The open round and how many bytes are staged in it, if anything is.
    pub(crate) fn open_round(&self) -> Option<(Round, usize)> {
        self.tail().open_round()
    }

    /// How many appends are staged in the open round, as of a moment ago.
    pub(crate) fn staged(&self) -> u32 {
        self.staged.load(Ordering::Relaxed)
    }
}
