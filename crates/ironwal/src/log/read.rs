//! Reading a stream: entries by id, or all of them in order.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::Log;
use crate::error::{Error, Result};
use crate::segment::reader::{DamageKind, ReadError};
use crate::segment::{Cursor, Damage, Finder, Segment, path_of};
use crate::sync::{Arc, Ordering};

/// How often a reader that met a retired segment yields before it pauses.
const YIELDS_MAX: u32 = 1000;

/// How long it pauses at a time, and how often at most.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSES_MAX: u32 = 60_000;

/// Waits for the list of segments to change: whoever retires a segment is about to list what takes
/// its place. Not for ever, for that can have failed.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waits: u32,
}

impl Patience {
    pub(super) fn wait(&mut self) -> Result<()> {
        self.waits += 1;
        if self.waits > YIELDS_MAX + PAUSES_MAX {
            let what = "a segment was taken out of the stream, and the change was not completed; \
                        close the log and open it again";
            return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, what)));
        }
        if self.waits <= YIELDS_MAX {
            std::thread::yield_now();
        } else {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

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
        self.find(id, &mut None)
    }

    /// The entries with these ids, in this order; an id may be there more than once. `None` for
    /// those that are not committed yet or were pruned.
    ///
    /// # Errors
    ///
    /// The first one, in the order of ids.
    pub(crate) fn get_batch(&self, ids: &[u64]) -> Result<Vec<Option<Bytes>>> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|position| ids[*position]);
        let mut entries = vec![None; ids.len()];
        let mut finder = None;
        let mut last: Option<usize> = None;
        for position in order {
            entries[position] = match last {
                Some(last) if ids[last] == ids[position] => entries[last].clone(),
                _ => self.find(ids[position], &mut finder)?,
            };
            last = Some(position);
        }
        Ok(entries)
    }

    /// The entry with this id, with the finder that read its neighbour, if that is of use.
    fn find(&self, id: u64, finder: &mut Option<Finder>) -> Result<Option<Bytes>> {
        let mut patience = Patience::default();
        self.refresh()?;
        loop {
            let segment = match self.place_of(id) {
                Place::Absent => return Ok(None),
                Place::Lost(damage) if self.is_changed(id, &damage)? => {
                    patience.wait()?;
                    continue;
                }
                Place::Lost(damage) => return Err(self.damaged(&damage)),
                Place::In(segment) => segment,
            };
            let kept = finder.take().filter(|finder| finder.reads(&segment));
            let found = match kept {
                Some(finder) => Ok(finder),
                None => Finder::new(segment),
            };
            let found = found.and_then(|found| finder.insert(found).get(id));
            match found {
                Ok(entry) => return Ok(Some(entry)),
                Err(ReadError::Retired) => patience.wait()?,
                Err(ReadError::Damaged(damage)) if self.is_changed(id, &damage)? => {
                    patience.wait()?;
                }
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// Whether what looked like damage is that another process has pruned or cut the stream: `id` is
    /// not any more where it was.
    pub(super) fn is_changed(&self, id: u64, damage: &Damage) -> Result<bool> {
        if self.remote.is_none() {
            return Ok(false);
        }
        self.refresh()?;
        Ok(match self.place_of(id) {
            Place::Absent => true,
            Place::In(segment) => segment.path() != damage.file,
            Place::Lost(lost) => lost != *damage,
        })
    }

    /// Whether there is an entry `id` by now, of a stream that another process writes to.
    fn has_grown_to(&self, id: u64) -> Result<bool> {
        self.refresh()?;
        Ok(self.remote.is_some() && id < self.next_id())
    }

    pub(super) fn place_of(&self, id: u64) -> Place {
        loop {
            let changes = self.changes.load(Ordering::Acquire);
            // The committed end first: every segment that it reaches into is listed by then.
            let end = self.next_id();
            if id >= end {
                return match self.end_lost.get() {
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
                before => {
                    // Only growth leaves ends and segments that fit each other, whenever they are
                    // looked at. The ends alone do not tell: what was cut off may have grown again.
                    let damage = self.missing(before, next);
                    let now = self.changes.load(Ordering::Acquire);
                    if changes == now && now.is_multiple_of(2) {
                        return Place::Lost(damage);
                    }
                    std::thread::yield_now();
                }
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

    /// The id of the next entry, if it is not pruned before it is read.
    pub(super) fn next_id(&self) -> u64 {
        self.next
    }

    /// The next entry that is committed; `None` if there is none yet.
    ///
    /// Damage is returned once, and the next call goes on behind it. After any other error the next
    /// call tries the same entry again.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Bytes)>> {
        let mut patience = Patience::default();
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
                if self.next >= self.log.next_id()
                    && !self.at_lost_end()
                    && !self.log.has_grown_to(self.next)?
                {
                    return Ok(None);
                }
                self.cursor = None;
            }
            match self.log.place_of(self.next) {
                Place::Absent => match self.log.first_id() {
                    first if self.next < first => self.next = first,
                    // It was pruned or not there yet when it was looked for, and is there now.
                    _ if self.next < self.log.next_id() => {}
                    _ if self.log.has_grown_to(self.next)? => {}
                    _ => return Ok(None),
                },
                Place::Lost(damage) if self.log.is_changed(self.next, &damage)? => {
                    patience.wait()?;
                }
                Place::Lost(damage) => {
                    self.next = damage.ids.end;
                    return Err(self.log.damaged(&damage));
                }
                Place::In(segment) => match segment.cursor(self.next, self.read_len) {
                    Ok(cursor) => self.cursor = Some(cursor),
                    Err(ReadError::Io(error)) => return Err(Error::Io(error)),
                    Err(ReadError::Retired) => patience.wait()?,
                    Err(ReadError::Damaged(damage))
                        if self.log.is_changed(self.next, &damage)? =>
                    {
                        patience.wait()?;
                    }
                    Err(ReadError::Damaged(damage)) => {
                        self.next = damage.ids.end;
                        return Err(self.log.damaged(&damage));
                    }
                },
            }
        }
    }

    fn at_lost_end(&self) -> bool {
        self.log.end_lost.get().is_some_and(|damage| damage.ids.contains(&self.next))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::Identity;
    use crate::options::WalOptions;
    use crate::segment::ReadContext;
    use crate::segment::index::Index;
    use crate::storage::SimDisk;
    use crate::sync::AtomicBool;

    /// A reader looks at the end, then at the segments. In between, the stream is cut off and grows
    /// again to the same end: the end that it looks at once more tells nothing, and what it did not
    /// find in the segments was taken for missing.
    #[test]
    fn what_was_cut_off_and_has_grown_again_is_not_missing() {
        let dir = Path::new("/s").to_path_buf();
        let identity = Identity { name: "s".into(), dir, number: 0.into(), salt: 1 };
        let context = ReadContext::new(Arc::new(SimDisk::new(1)), &WalOptions::default());
        let log = Log::without_writer(Arc::clone(&context), identity);
        let segment = |ids: std::ops::Range<u64>| {
            let path = path_of(&log.identity.dir, ids.start);
            let (context, end) = (Arc::clone(&context), (8192, ids.end));
            Arc::new(Segment::new(context, path, ids.start, None, end, Index::empty()))
        };
        let both = vec![segment(0..10), segment(10..20)];
        log.set_segments(both.clone());
        log.committed.store(20, Ordering::Release);
        let cutting = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..4_000_000 {
                    let change = log.change();
                    log.committed.store(10, Ordering::Release);
                    log.set_segments(both[..1].to_vec());
                    drop(change);
                    log.set_segments(both.clone());
                    log.committed.store(20, Ordering::Release);
                }
                cutting.store(false, Ordering::Relaxed);
            });
            while cutting.load(Ordering::Relaxed) {
                assert!(!matches!(log.place_of(15), Place::Lost(_)));
            }
        });
    }
}
