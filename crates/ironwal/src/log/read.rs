//! Reading a stream: one entry by id, or all of them in order.

use bytes::Bytes;

use super::Log;
use crate::error::{Error, Result};
use crate::segment::reader::{Cursor, DamageKind, ReadError};
use crate::segment::{Damage, Segment, path_of};
use crate::sync::Arc;

/// Where an id is to be found.
pub(super) enum Place {
    /// In this segment.
    In(Arc<Segment>),
    /// Nowhere: it was pruned, or not committed yet.
    Absent,
    /// It was durable once and is not there.
    Lost(Damage),
}

impl Log {
    /// The entry with this id; `None` if it is not committed yet or was pruned.
    pub(crate) fn get(&self, id: u64) -> Result<Option<Bytes>> {
        match self.place_of(id) {
            Place::Absent => Ok(None),
            Place::Lost(damage) => Err(self.damaged(&damage)),
            Place::In(segment) => match segment.get(id) {
                Ok(entry) => Ok(Some(entry)),
                Err(ReadError::Retired) => {
                    // Whoever retired it is about to list what takes its place.
                    std::thread::yield_now();
                    self.get(id)
                }
                Err(error) => Err(self.read_error(error)),
            },
        }
    }

    pub(super) fn place_of(&self, id: u64) -> Place {
        loop {
            // The committed end first: every segment that it reaches into is listed by then.
            let end = self.next_id();
            if id >= end {
                return match &self.end_lost {
                    Some(damage) if damage.ids.contains(&id) => Place::Lost(damage.clone()),
                    _ => Place::Absent,
                };
            }
            if id < self.first_id() {
                return Place::Absent;
            }
            let segments = self.segments();
            let behind = segments.partition_point(|segment| segment.first_id() <= id);
            let next = segments.get(behind);
            match behind.checked_sub(1).map(|position| &segments[position]) {
                Some(segment) if id < segment.next_id() => return Place::In(Arc::clone(segment)),
                // The segments were listed after the ends were looked at: if they know nothing of
                // the id because it was pruned or cut off meanwhile, the ends say so by now.
                _ if id < self.first_id() || self.next_id() < end => {}
                before => return Place::Lost(self.missing(before, next)),
            }
        }
    }

    /// The ids between two segments that do not join.
    fn missing(&self, before: Option<&Arc<Segment>>, next: Option<&Arc<Segment>>) -> Damage {
        let start = before.map_or(self.first_id(), |segment| segment.next_id());
        let end = next.map_or(self.next_id(), |segment| segment.first_id());
        let file = path_of(&self.identity.dir, start);
        Damage { ids: start..end, file, offset: 0, kind: DamageKind::Missing }
    }

    pub(super) fn read_error(&self, error: ReadError) -> Error {
        match error {
            ReadError::Io(error) => Error::Io(error),
            ReadError::Damaged(damage) => self.damaged(&damage),
            ReadError::Retired => Error::StreamNotFound(self.identity.name.clone()),
        }
    }
}

/// The entries of a stream in order, from one on.
#[derive(Debug)]
pub(crate) struct Entries {
    log: Arc<Log>,
    read_len: usize,
    cursor: Option<Cursor>,
    /// The next id.
    next: u64,
}

impl Entries {
    /// The entries from `start` on, or from the first one that is kept.
    pub(crate) fn new(log: Arc<Log>, start: u64, read_len: usize) -> Self {
        let next = start.max(log.first_id());
        Self { log, read_len, cursor: None, next }
    }

    /// The next entry that is committed; `None` if there is none yet.
    ///
    /// Damage is returned once, and the next call goes on behind it. After any other error the next
    /// call tries the same entry again.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        loop {
            if let Some(cursor) = &mut self.cursor {
                match cursor.next() {
                    Ok(Some((id, entry))) => {
                        self.next = id + 1;
                        return Ok(Some((id, entry)));
                    }
                    Ok(None) => self.next = cursor.next_id(),
                    Err(error) => {
                        self.next = cursor.next_id();
                        if let ReadError::Io(_) = error {
                            self.cursor = None;
                        }
                        return Err(self.log.read_error(error));
                    }
                }
                if self.next >= self.log.next_id() && !self.at_lost_end() {
                    return Ok(None);
                }
                self.cursor = None;
            }
            match self.log.place_of(self.next) {
                Place::Absent if self.next < self.log.first_id() => {
                    self.next = self.log.first_id();
                }
                Place::Absent => return Ok(None),
                Place::Lost(damage) => {
                    self.next = damage.ids.end;
                    return Err(self.log.damaged(&damage));
                }
                Place::In(segment) => match segment.cursor(self.next, self.read_len) {
                    Ok(cursor) => self.cursor = Some(cursor),
                    Err(ReadError::Io(error)) => return Err(Error::Io(error)),
                    Err(ReadError::Retired) => std::thread::yield_now(),
                    Err(ReadError::Damaged(damage)) => {
                        self.next = damage.ids.end;
                        return Err(self.log.damaged(&damage));
                    }
                },
            }
        }
    }

    fn at_lost_end(&self) -> bool {
        self.log.end_lost.as_ref().is_some_and(|damage| damage.ids.contains(&self.next))
    }
}
