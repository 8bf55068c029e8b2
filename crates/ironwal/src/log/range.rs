//! Reading a range of a stream from both ends.

use bytes::Bytes;

use super::Log;
use super::read::{Entries, Patience, Place};
use crate::error::{Error, Result};
use crate::segment::reader::ReadError;
use crate::segment::{Backwards, Damage, Segment};
use crate::sync::Arc;

/// The entries between two ids. The front and the back never meet the same id.
///
/// What was cut off since it was made, and whatever has got those ids since, is not in it.
#[derive(Debug)]
pub(crate) struct Span {
    log: Arc<Log>,
    front: Entries,
    /// The id behind the last one that the back has not returned.
    back: u64,
    /// What was read last from the back.
    tail: Option<Backwards>,
    /// The segments when it was made: they know if they were cut.
    known: Arc<Vec<Arc<Segment>>>,
    /// The one of them that was looked at last.
    near: usize,
    over: bool,
}

impl Span {
    /// The entries from `start` to before `end`, of those that are committed now.
    pub(crate) fn new(log: Arc<Log>, start: u64, end: u64, read_len: usize) -> Self {
        // If it fails, reading says so.
        let _ = log.refresh();
        // The committed end first: every segment that it reaches into is listed by then.
        let committed = log.committed_or_lost_end();
        let known = log.segments();
        let front = Entries::new(Arc::clone(&log), start, read_len);
        Self { front, log, back: end.min(committed), tail: None, known, near: 0, over: false }
    }

    /// How many ids are left at most.
    pub(crate) fn ids_left(&self) -> u64 {
        if self.over { 0 } else { self.back.saturating_sub(self.front.next_id()) }
    }

    /// The next entry from the front. Damage is returned once, by whichever end comes to it first;
    /// any other error ends the span.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Bytes)>> {
        if self.is_over_at(self.front.next_id()) {
            return self.over();
        }
        match self.front.next() {
            Ok(Some((id, entry))) if id < self.back => Ok(Some((id, entry))),
            Ok(_) => self.over(),
            Err(Error::Damaged { ids, .. }) if ids.start >= self.back => self.over(),
            Err(damage @ Error::Damaged { .. }) => Err(damage),
            Err(error) => {
                self.over = true;
                Err(error)
            }
        }
    }

    /// The next entry from the back.
    pub(crate) fn next_back(&mut self) -> Result<Option<(u64, Bytes)>> {
        let mut patience = Patience::default();
        loop {
            let Some(id) = self.back.checked_sub(1) else { return self.over() };
            if self.is_over_at(id) || id < self.log.first_id() {
                return self.over();
            }
            match self.tail.as_mut().and_then(|tail| tail.take(id)) {
                Some(Ok(entry)) => {
                    self.back = id;
                    return Ok(Some((id, entry)));
                }
                Some(Err(damage)) => return self.damaged(&damage),
                None => self.tail = None,
            }
            let segment = match self.log.place_of(id) {
                Place::Absent => return self.over(),
                Place::Lost(damage) if self.log.is_changed(id, &damage)? => continue,
                Place::Lost(damage) => return self.damaged(&damage),
                Place::In(segment) => segment,
            };
            match segment.backwards(id, self.front.next_id()) {
                Ok(tail) => self.tail = Some(tail),
                Err(ReadError::Damaged(damage)) if self.log.is_changed(id, &damage)? => {}
                Err(ReadError::Damaged(damage)) => return self.damaged(&damage),
                Err(ReadError::Io(error)) => {
                    self.over = true;
                    return Err(Error::Io(error));
                }
                Err(ReadError::Retired) => patience.wait().inspect_err(|_| self.over = true)?,
            }
        }
    }

    /// Goes on before damage that the back came to.
    fn damaged(&mut self, damage: &Damage) -> Result<Option<(u64, Bytes)>> {
        self.back = damage.ids.start.min(self.back);
        Err(self.log.damaged(damage))
    }

    /// Ends both ends.
    pub(crate) fn end(&mut self) {
        self.over = true;
        self.tail = None;
    }

    fn over<T>(&mut self) -> Result<Option<T>> {
        self.end();
        Ok(None)
    }

    /// Whether the span ends at this id, where one of its ends stands.
    fn is_over_at(&mut self, id: u64) -> bool {
        self.over || self.front.next_id() >= self.back || self.was_cut_off(id)
    }

    /// Whether what had this id when the span was made was cut off since.
    fn was_cut_off(&mut self, id: u64) -> bool {
        let holds = |segment: &Arc<Segment>| (segment.first_id()..segment.next_id()).contains(&id);
        if !self.known.get(self.near).is_some_and(holds) {
            let behind = self.known.partition_point(|segment| segment.first_id() <= id);
            self.near = behind.saturating_sub(1);
        }
        let segment = self.known.get(self.near).filter(|segment| holds(segment));
        segment.is_some_and(|segment| segment.retired_from() <= id)
    }
}
