//! Following a stream: its entries in order, and word if that cannot be.

use bytes::Bytes;

use super::Log;
use super::read::Entries;
use super::tail::State;
use crate::error::{Error, Result};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, ProcessCounter, Weak, lock};

/// Nothing has been cut off.
const NOTHING: u64 = u64::MAX;

/// Who follows a stream, to be told when its end is cut off.
#[derive(Debug, Default)]
pub(super) struct Followers {
    all: Mutex<Vec<Weak<Place>>>,
}

/// Where a follower is.
#[derive(Debug)]
struct Place {
    /// The lowest end of the stream since it looked.
    cut_to: AtomicU64,
    /// The id that is due: for whoever watches.
    next: ProcessCounter,
}

impl Followers {
    fn add(&self, next: u64) -> Arc<Place> {
        let (cut_to, next) = (AtomicU64::new(NOTHING), ProcessCounter::new(next));
        let place = Arc::new(Place { cut_to, next });
        let mut followers = lock(&self.all);
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(&place));
        place
    }

    /// How many there are, and how many entries they are behind this end at most.
    pub(super) fn behind(&self, end: u64) -> (usize, u64) {
        let followers = lock(&self.all);
        let behind = |place: Arc<Place>| end.saturating_sub(place.next.load(Ordering::Relaxed));
        followers
            .iter()
            .filter_map(Weak::upgrade)
            .map(behind)
            .fold((0, 0), |(count, most), behind| (count + 1, behind.max(most)))
    }

    /// The stream ends at `end` now, which is lower than before. To be told when nothing behind it is
    /// read any more, and before anything is committed there.
    pub(super) fn tell(&self, end: u64) {
        for follower in lock(&self.all).iter().filter_map(Weak::upgrade) {
            follower.cut_to.fetch_min(end, Ordering::AcqRel);
        }
    }
}

/// The entries of a stream from one on, for as long as they come one after another.
#[derive(Debug)]
pub(crate) struct Following {
    log: Arc<Log>,
    entries: Entries,
    read_len: usize,
    /// The first id that is wanted.
    from: u64,
    /// The id that is due.
    next: u64,
    /// The id behind the last entry that was read.
    read_to: u64,
    place: Arc<Place>,
}

impl Following {
    pub(crate) fn new(log: &Arc<Log>, from: u64, read_len: usize) -> Self {
        let place = log.followers.add(from);
        let entries = Entries::new(Arc::clone(log), from, read_len).learning();
        Self { log: Arc::clone(log), entries, read_len, from, next: from, read_to: 0, place }
    }

    /// The id that is due.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Whether [`Following::try_next`] has something to say.
    pub(crate) fn is_ready(&self) -> bool {
        let log = &self.log;
        self.next < log.committed_or_lost_end()
            || log.first_id() > self.next
            || self.place.cut_to.load(Ordering::Acquire) != NOTHING
            || matches!(log.tail().state(), State::Deleted)
    }

    /// The entry that is due; `None` if it is not committed yet.
    ///
    /// # Errors
    ///
    /// [`Error::Pruned`], [`Error::CutOff`]: said once, and it goes on where the error says.
    /// [`Error::Damaged`]: said once, and it goes on behind. [`Error::StreamNotFound`]: the stream
    /// was deleted. [`Error::Io`].
    pub(crate) fn try_next(&mut self) -> Result<Option<(u64, Bytes)>> {
        let mut has_looked_anew = false;
        loop {
            self.log.refresh()?;
            if matches!(self.log.tail().state(), State::Deleted) || self.log.is_gone() {
                return Err(Error::StreamNotFound(self.log.name().to_string()));
            }
            self.notice_cut()?;
            let first_id = self.log.first_id();
            if self.next < first_id {
                return Err(self.pruned(first_id));
            }
            let read = self.entries.next();
            if self.notice_cut()? {
                // It may have been cut off just when it was read.
                continue;
            }
            return match read {
                Ok(Some((id, entry))) if id == self.next => {
                    self.next += 1;
                    self.read_to = self.next;
                    self.place.next.store(self.next, Ordering::Relaxed);
                    Ok(Some((id, entry)))
                }
                Ok(Some(_)) if !has_looked_anew => {
                    // The entries before were pruned just now, or were and have been restored.
                    has_looked_anew = true;
                    self.go_to(self.next);
                    continue;
                }
                Ok(Some((id, _))) => Err(self.pruned(id)),
                Ok(None) if !has_looked_anew && self.next < self.log.committed_or_lost_end() => {
                    // What was known to be pruned has been restored.
                    has_looked_anew = true;
                    self.go_to(self.next);
                    continue;
                }
                Ok(None) => Ok(None),
                Err(error) => {
                    self.next = self.next.max(self.entries.next_id());
                    Err(error)
                }
            };
        }
    }

    /// Whether something was cut off since the last look; an error if it had been read.
    fn notice_cut(&mut self) -> Result<bool> {
        let end = self.place.cut_to.swap(NOTHING, Ordering::AcqRel);
        if end == NOTHING {
            return Ok(false);
        }
        // What is before `from` it was not to read.
        let next_id = end.max(self.from);
        if next_id >= self.read_to {
            self.go_to(self.next);
            return Ok(true);
        }
        let (stream, id) = (self.log.name().to_string(), self.next);
        self.go_to(next_id);
        Err(Error::CutOff { stream, id, next_id })
    }

    fn pruned(&mut self, first_id: u64) -> Error {
        let (stream, id) = (self.log.name().to_string(), self.next);
        self.go_to(first_id);
        Error::Pruned { stream, id, first_id }
    }

    fn go_to(&mut self, id: u64) {
        self.next = id;
        self.place.next.store(id, Ordering::Relaxed);
        self.read_to = self.read_to.min(id);
        self.entries = Entries::new(Arc::clone(&self.log), id, self.read_len).learning();
    }
}
