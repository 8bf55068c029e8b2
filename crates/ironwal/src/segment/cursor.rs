//! Reading the entries of a segment in order.

use bytes::Bytes;

use super::block::Decoded;
use super::reader::{Damage, ReadError, Segment};
use super::source::FileSource;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::Fault;
use crate::format::scan::{Gap, Scanner, Step};
use crate::sync::Arc;

/// Reads the entries of a segment in order, also while it grows.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    seed: SegmentSeed,
    scanner: Scanner,
    source: FileSource,
    frame: Option<Decoded>,
    next: u64,
}

impl Segment {
    /// A cursor at the entry `id`, or at the end if there is none yet.
    pub(crate) fn cursor(self: &Arc<Self>, id: u64, read_len: usize) -> Result<Cursor, ReadError> {
        let seed = self.seed_or_damage()?;
        let run = self.run(id, seed)?;
        let extent = self.extent(seed, run.offset, run.first_id);
        let source = self.source(self.handle()?, read_len, extent.limit);
        let (segment, scanner) = (Arc::clone(self), Scanner::new(extent));
        Ok(Cursor { segment, seed, scanner, source, frame: None, next: id })
    }
}

impl Cursor {
    /// The id of the next entry.
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// The next entry that is committed, if its id is below `below`; `None`: there is none in this segment
    /// yet.
    ///
    /// Damage is returned once, and the cursor goes on behind it. It begins below `below`, and may end
    /// behind.
    pub(crate) fn next(&mut self, below: u64) -> Result<Option<(u64, Bytes)>, ReadError> {
        loop {
            if let Some(frame) = &self.frame
                && self.next < self.segment.retired_from()
                && let Some(entry) = frame.entry(self.next)
            {
                if self.next >= below {
                    // The frame stays: the scanner has passed it.
                    return Ok(None);
                }
                let id = self.next;
                self.next += 1;
                return Ok(Some((id, entry)));
            }
            // So that its buffer can be used again.
            self.frame = None;
            let due = self.scanner.next_id().max(self.next);
            let end = self.segment.next_id().min(self.segment.retired_from());
            if due >= end.min(below) {
                return Ok(None);
            }
            match self.scanner.step(&mut self.source)? {
                Step::Frame(frame) => {
                    let ids = frame.ids(self.segment.first_id());
                    if ids.end <= self.next {
                        continue;
                    }
                    match Decoded::read(&mut self.source, &frame, self.segment.first_id())? {
                        Ok(decoded) => self.frame = Some(decoded),
                        Err(kind) => {
                            self.next = ids.end;
                            let damage = self.segment.frame_damage(&frame, kind);
                            return Err(ReadError::Damaged(damage));
                        }
                    }
                }
                Step::Damaged(gap) if gap.ids.end > self.next => {
                    self.next = gap.ids.end;
                    return Err(ReadError::Damaged(self.segment.gap_damage(gap)));
                }
                Step::Damaged(_) => {}
                Step::Torn | Step::End => {
                    if !self.follow() {
                        return Err(ReadError::Damaged(self.missing_rest()));
                    }
                }
            }
        }
    }

    /// The ids that the segment should hold behind its last byte.
    fn missing_rest(&mut self) -> Damage {
        let ids = self.next..self.segment.next_id();
        self.scanner.extend(self.scanner.offset(), ids.end);
        self.next = ids.end;
        let gap = Gap { offset: self.scanner.offset(), ids, fault: Fault::Short };
        self.segment.gap_damage(gap)
    }

    /// Takes note of what has been committed since, and returns whether there is any.
    fn follow(&mut self) -> bool {
        let now = self.segment.extent(self.seed, self.scanner.offset(), self.scanner.next_id());
        self.scanner.extend(now.limit, now.proven_id);
        self.source.set_limit(now.limit);
        self.scanner.offset() < now.limit
    }
}
