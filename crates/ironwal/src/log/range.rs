//! Reading a range of a stream from both ends.

use std::ops::Range;

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
    /// What ids that one had then.
    near_ids: Range<u64>,
    /// Why it could not be found out where the stream ends; whoever asks first is told.
    unknown_end: Option<Box<Error>>,
    over: bool,
}

impl Span {
    /// The entries from `start` to before `end`, of those that are committed now.
    pub(crate) fn new(log: Arc<Log>, start: u64, end: u64, read_len: usize) -> Self {
        let unknown_end = log.refresh().err().map(Box::new);
        // The committed end first: every segment that it reaches into is listed by then.
        let committed = log.committed_or_lost_end();
        let known = log.segments();
        let front = Entries::new(Arc::clone(&log), start, read_len);
        let back = end.min(committed);
        let (near, near_ids) = (0, 0..0);
        Self { front, log, back, tail: None, known, near, near_ids, unknown_end, over: false }
    }

    /// How many ids are left at most.
    pub(crate) fn ids_left(&self) -> u64 {
        if self.over { 0 } else { self.back.saturating_sub(self.front.next_id()) }
    }

    /// The next entry from the front, if it has been read by now and there is nothing else to be said.
    #[inline]
    pub(crate) fn at_hand(&mut self) -> Option<(u64, Bytes)> {
        if self.unknown_end.is_some() || self.is_over_at(self.front.next_id()) {
            return None;
        }
        self.front.at_hand(|bytes, range| bytes.slice(range))
    }

    /// The next entry from the front. Damage is returned once, by whichever end comes to it first;
    /// any other error ends the span.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Bytes)>> {
        self.check_end()?;
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
        self.check_end()?;
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

    fn check_end(&mut self) -> Result<()> {
        match self.unknown_end.take() {
            None => Ok(()),
            Some(error) => {
                self.over = true;
                Err(*error)
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
    #[inline]
    fn is_over_at(&mut self, id: u64) -> bool {
        self.over || self.front.next_id() >= self.back || self.was_cut_off(id)
    }

    /// Looks at the segment that had this id, if there was one.
    fn come_near(&mut self, id: u64) {
        let behind = self.known.partition_point(|segment| segment.first_id() <= id);
        self.near = behind.saturating_sub(1);
        let near = self.known.get(self.near);
        self.near_ids = near.map_or(0..0, |segment| segment.first_id()..segment.next_id());
    }

    /// Whether what had this id when the span was made was cut off since.
    #[inline]
    fn was_cut_off(&mut self, id: u64) -> bool {
        if !self.near_ids.contains(&id) {
            self.come_near(id);
        }
        self.near_ids.contains(&id)
            && self.known.get(self.near).is_some_and(|segment| segment.retired_from() <= id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit;
    use crate::commit::tests::{append, unsynced_stream};
    use crate::segment::index::Index;
    use crate::storage::SimDisk;
    use crate::sync::Ordering;

    /// A stream of 30 entries in segments of 10.
    fn stream() -> Arc<commit::Stream> {
        let stream = unsynced_stream(&SimDisk::new(5), 10);
        (0..30).for_each(|id| append(&stream, &[id]));
        stream
    }

    fn span(stream: &commit::Stream) -> Span {
        Span::new(Arc::clone(stream.log()), 0, u64::MAX, 4096)
    }

    fn forwards(span: &mut Span) -> Vec<u64> {
        std::iter::from_fn(|| span.next().unwrap()).map(|(id, _)| id).collect()
    }

    fn backwards(span: &mut Span) -> Vec<u64> {
        std::iter::from_fn(|| span.next_back().unwrap()).map(|(id, _)| id).collect()
    }

    /// Prunes the first `count` segments.
    fn prune(log: &Log, count: usize) {
        let segments = log.segments();
        log.first_kept.store(segments[count].first_id(), Ordering::Release);
        for segment in &segments[..count] {
            segment.retire(segment.next_id());
        }
        log.set_segments(segments[count..].to_vec());
    }

    /// Cuts the segment that holds `end` there; the entries before it stay in a copy of it.
    fn cut(log: &Log, end: u64) {
        log.committed.store(end, Ordering::Release);
        let mut kept = Vec::new();
        for segment in log.segments().iter() {
            if segment.next_id() <= end {
                kept.push(Arc::clone(segment));
                continue;
            }
            segment.retire(end);
            if segment.first_id() < end {
                let extent = (segment.end(), end);
                let path = log.identity.dir.join(format!("{:020}.wal", segment.first_id()));
                let seed = crate::format::checksum::SegmentSeed::new(1, 0, segment.first_id());
                let (context, index) = (Arc::clone(&log.context), Index::empty());
                let first_id = segment.first_id();
                let copy = Segment::new(context, path, first_id, Some(seed), extent, index);
                kept.push(Arc::new(copy));
            }
        }
        log.set_segments(kept);
    }

    #[test]
    fn pruned_entries_are_passed_over_at_the_front_and_end_the_back() {
        let stream = stream();
        let (mut before, mut inside, mut back) = (span(&stream), span(&stream), span(&stream));
        assert_eq!(inside.next().unwrap().unwrap().0, 0);
        let first: Vec<u64> =
            std::iter::from_fn(|| back.next_back().unwrap()).map(|(id, _)| id).take(15).collect();
        assert_eq!(first, (15..30).rev().collect::<Vec<u64>>());
        prune(stream.log(), 2);
        assert_eq!(forwards(&mut before), (20..30).collect::<Vec<u64>>());
        // The segment that it has open is read to its end.
        assert_eq!(forwards(&mut inside), (1..10).chain(20..30).collect::<Vec<u64>>());
        assert_eq!(backwards(&mut back), []);
        assert_eq!(back.next().unwrap(), None, "the other end is over too");
    }

    #[test]
    fn entries_that_were_cut_off_end_it_also_if_others_have_their_ids() {
        for again in [false, true] {
            let stream = stream();
            let mut spans = [span(&stream), span(&stream), span(&stream)];
            let [before, inside, back] = &mut spans;
            for _ in 0..13 {
                inside.next().unwrap();
            }
            assert_eq!(back.next_back().unwrap().unwrap().0, 29);
            cut(stream.log(), 15);
            if again {
                stream.log().committed.store(30, Ordering::Release);
            }
            assert_eq!(forwards(before), (0..15).collect::<Vec<u64>>());
            assert_eq!(forwards(inside), (13..15).collect::<Vec<u64>>());
            assert_eq!(backwards(back), [], "what it was going to return next is gone");
            if !again {
                let now = backwards(&mut span(&stream));
                assert_eq!(now, (0..15).rev().collect::<Vec<u64>>());
            }
        }
    }

    /// An iterator knows the end of before the cut. What takes the place of its segment grows ahead of
    /// the log.
    #[test]
    fn what_has_grown_behind_a_cut_is_not_read_before_it_is_committed() {
        let stream = stream();
        let log = stream.log();
        let ends = log.segments()[1].end();
        let mut entries = Entries::new(Arc::clone(log), 8, 4096);
        assert_eq!(entries.next().unwrap().unwrap().0, 8);
        cut(log, 15);
        log.segments()[1].publish(ends, 20, &[]);
        let read: Vec<u64> =
            std::iter::from_fn(|| entries.next().unwrap()).map(|(id, _)| id).collect();
        assert_eq!(read, (9..15).collect::<Vec<u64>>());
        log.committed.store(20, Ordering::Release);
        assert_eq!(entries.next().unwrap().unwrap().0, 15);
    }

    /// A segment was retired, and the thread that did it takes a while to list what takes its place.
    #[test]
    fn readers_wait_for_the_list_to_change() {
        let stream = stream();
        let log = stream.log();
        let segments = log.segments();
        segments[1].retire(20);
        std::thread::scope(|scope| {
            let readers = [
                scope.spawn(|| log.get(15).unwrap()),
                scope.spawn(|| log.get_batch(&[15]).unwrap().remove(0)),
                scope.spawn(|| {
                    Span::new(Arc::clone(log), 15, 16, 4096).next().unwrap().map(|it| it.1)
                }),
                scope.spawn(|| {
                    Span::new(Arc::clone(log), 15, 16, 4096).next_back().unwrap().map(|it| it.1)
                }),
            ];
            for _ in 0..100 {
                std::thread::yield_now();
            }
            let kept: Vec<_> = segments[2..].to_vec();
            log.first_kept.store(20, Ordering::Release);
            log.set_segments(kept);
            for reader in readers {
                assert_eq!(reader.join().unwrap(), None);
            }
        });
    }
}
