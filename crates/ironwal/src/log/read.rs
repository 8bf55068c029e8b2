//! Reading a stream: entries by id, or all of them in order.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::Log;
use crate::error::{Error, Result};
use crate::segment::reader::{DamageKind, ReadError};
use crate::segment::{Cursor, Damage, Finder, Segment, path_of};
use crate::sync::{Arc, Ordering, sleep, yield_now};

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
            yield_now();
        } else {
            sleep(PAUSE);
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
                Some(segment) if id < segment.next_id() => {
                    // The end may have been that of before a cut, and the segment, which can be ahead of
                    // the log, from after it.
                    if changes == self.changes.load(Ordering::Acquire) {
                        return Place::In(Arc::clone(segment));
                    }
                }
                before => {
                    // Only growth leaves ends and segments that fit each other, whenever they are
                    // looked at. The ends alone do not tell: what was cut off may have grown again.
                    let damage = self.missing(before, next);
                    let now = self.changes.load(Ordering::Acquire);
                    if changes == now && now.is_multiple_of(2) {
                        return Place::Lost(damage);
                    }
                    yield_now();
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

    pub(crate) fn read_error(&self, error: ReadError) -> Error {
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
    /// Whether entries will be asked for by id later.
    learns: bool,
    cursor: Option<Cursor>,
    /// The next id.
    next: u64,
    /// Where the committed entries ended when it was looked last: when the cursor was made, or when this
    /// was reached. A segment can be ahead of the log, but where a cut takes the end back, the cursor
    /// ends too.
    end: u64,
}

impl Entries {
    /// The entries from `start` on, or from the first one that is kept.
    pub(crate) fn new(log: Arc<Log>, start: u64, read_len: usize) -> Self {
        let next = start.max(log.first_id());
        Self { log, read_len, learns: false, cursor: None, next, end: 0 }
    }

    /// The same, and takes note of where entries are, so that nothing is read for that again.
    pub(super) fn learning(self) -> Self {
        Self { learns: true, ..self }
    }

    /// The id of the next entry, if it is not pruned before it is read.
    pub(super) fn next_id(&self) -> u64 {
        self.next
    }

    /// The next entry that is committed; `None` if there is none yet.
    ///
    /// Damage is returned once, and the next call goes on behind it. After any other error the next
    /// call tries the same entry again.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Bytes)>> {
        self.next_as(|bytes, range| bytes.slice(range))
    }

    /// The same, made of the bytes that it is in, and where.
    #[inline]
    pub(crate) fn next_as<T>(
        &mut self,
        make: impl Fn(&Bytes, Range<usize>) -> T,
    ) -> Result<Option<(u64, T)>> {
        loop {
            if let Some(entry) = self.at_hand(&make) {
                return Ok(Some(entry));
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    /// The next entry, if it has been read by now and there is nothing else to be said.
    #[inline]
    pub(crate) fn at_hand<T>(
        &mut self,
        make: impl Fn(&Bytes, Range<usize>) -> T,
    ) -> Option<(u64, T)> {
        let (id, entry) = self.cursor.as_mut()?.take(self.end, make)?;
        self.next = id + 1;
        Some((id, entry))
    }

    /// Gets the next entry at hand; `false` if there is none yet.
    fn advance(&mut self) -> Result<bool> {
        let mut patience = Patience::default();
        loop {
            if let Some(cursor) = &mut self.cursor {
                if self.next >= self.end {
                    self.end = self.log.next_id();
                }
                match cursor.advance(self.end) {
                    Ok(true) => return Ok(true),
                    Ok(false) => self.next = cursor.next_id(),
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
                    return Ok(false);
                }
                self.cursor = None;
            }
            match self.log.place_of(self.next) {
                Place::Absent => match self.log.first_id() {
                    first if self.next < first => self.next = first,
                    // It was pruned or not there yet when it was looked for, and is there now.
                    _ if self.next < self.log.next_id() => {}
                    _ if self.log.has_grown_to(self.next)? => {}
                    _ => return Ok(false),
                },
                Place::Lost(damage) if self.log.is_changed(self.next, &damage)? => {
                    patience.wait()?;
                }
                Place::Lost(damage) => {
                    self.next = damage.ids.end;
                    return Err(self.log.damaged(&damage));
                }
                Place::In(segment) => match segment.cursor(self.next, self.read_len) {
                    Ok(mut cursor) => {
                        if self.learns {
                            cursor.learn();
                        }
                        self.cursor = Some(cursor);
                        // An earlier look may have been before a cut, and the segment from after it.
                        self.end = self.log.next_id();
                    }
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
    use crate::commit::tests::{append, unsynced_stream};
    use crate::log::Identity;
    use crate::log::range::Span;
    use crate::options::WalOptions;
    use crate::segment::ReadContext;
    use crate::segment::index::Index;
    use crate::storage::SimDisk;
    use crate::sync::AtomicBool;

    /// A log that nobody writes to, without segments.
    fn log() -> Log {
        let dir = Path::new("/s").to_path_buf();
        let identity = Identity { name: "s".into(), dir, number: 0.into(), salt: 1 };
        let context = ReadContext::new(Arc::new(SimDisk::new(1)), &WalOptions::default());
        Log::without_writer(context, identity)
    }

    /// A segment with these ids.
    fn segment(log: &Log, ids: Range<u64>) -> Arc<Segment> {
        let path = path_of(&log.identity.dir, ids.start);
        let (context, end) = (Arc::clone(&log.context), (8192, ids.end));
        Arc::new(Segment::new(context, path, ids.start, None, end, Index::empty()))
    }

    /// Several streams become readable at one instant, so their segments know of more before that.
    #[test]
    fn what_a_segment_holds_ahead_of_the_log_is_not_read() {
        let stream = unsynced_stream(&SimDisk::new(5), 100);
        (0..30).for_each(|id| append(&stream, &[id]));
        let log = stream.log();
        log.committed.store(25, Ordering::Release);
        let mut entries = Entries::new(Arc::clone(log), 0, 4096);
        let ids = |entries: &mut Entries| -> Vec<u64> {
            std::iter::from_fn(|| entries.next().unwrap()).map(|(id, _)| id).collect()
        };
        assert_eq!(ids(&mut entries), (0..25).collect::<Vec<u64>>());
        assert_eq!(ids(&mut entries), []);
        assert_eq!(log.get(25).unwrap(), None);
        let mut span = Span::new(Arc::clone(log), 0, u64::MAX, 4096);
        let mut other = Span::new(Arc::clone(log), 0, u64::MAX, 4096);
        log.committed.store(27, Ordering::Release);
        assert_eq!(ids(&mut entries), [25, 26]);
        log.committed.store(30, Ordering::Release);
        assert_eq!(ids(&mut entries), [27, 28, 29]);
        // A range ends where it ended when it was made.
        let backwards = std::iter::from_fn(|| span.next_back().unwrap()).map(|(id, _)| id);
        assert_eq!(backwards.collect::<Vec<u64>>(), (0..25).rev().collect::<Vec<u64>>());
        let forwards = std::iter::from_fn(|| other.next().unwrap()).map(|(id, _)| id);
        assert_eq!(forwards.collect::<Vec<u64>>(), (0..25).collect::<Vec<u64>>());
    }

    /// A reader looks at the end. Then the stream is cut off, and its newest segment grows ahead of the
    /// log: it is found by the end of before the cut, and shown too early.
    #[test]
    fn what_has_grown_behind_a_cut_is_not_found_before_it_is_committed() {
        let log = log();
        for _ in 0..100 {
            log.set_segments(vec![segment(&log, 0..20)]);
            log.committed.store(20, Ordering::Release);
            std::thread::scope(|scope| {
                // It gets no further than to the list.
                let mut list = log.segments.write().unwrap();
                let reader = scope.spawn(|| matches!(log.place_of(15), Place::Absent));
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                let change = log.change();
                log.committed.store(10, Ordering::Release);
                *list = Arc::new(vec![segment(&log, 0..20)]);
                drop(change);
                drop(list);
                assert!(reader.join().unwrap());
            });
        }
    }

    /// A reader looks at the end when a cut has begun, and at the segments when they are cut off: that is
    /// no time to call something missing.
    #[test]
    fn what_a_cut_is_taking_away_is_not_missing() {
        let log = log();
        for _ in 0..100 {
            log.set_segments(vec![segment(&log, 0..10), segment(&log, 10..20)]);
            log.committed.store(20, Ordering::Release);
            std::thread::scope(|scope| {
                let change = log.change();
                // It gets no further than to the list.
                let mut list = log.segments.write().unwrap();
                let reader = scope.spawn(|| matches!(log.place_of(15), Place::Absent));
                (0..100).for_each(|_| std::thread::yield_now());
                log.committed.store(10, Ordering::Release);
                *list = Arc::new(vec![segment(&log, 0..10)]);
                drop(list);
                assert!(reader.join().unwrap(), "it is called missing");
                drop(change);
            });
        }
    }

    /// A reader looks at the end, then at the segments. In between, the stream is cut off and grows
    /// again to the same end: the end that it looks at once more tells nothing, and what it did not
    /// find in the segments was taken for missing.
    #[test]
    fn what_was_cut_off_and_has_grown_again_is_not_missing() {
        let log = log();
        let both = vec![segment(&log, 0..10), segment(&log, 10..20)];
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
