//! Pruning: forgetting a stream's oldest entries, and taking archived ones back.
//!
//! What is pruned is recorded in a slot of the newest segment, durably, before the first file goes.
//! The files are deleted later, by whoever is handed them; if that never happens, the next recovery
//! does it.

use std::io;

use super::Log;
use super::recover::found::read_header;
use super::write::{Active, IdleSegment, Lead};
use crate::error::Result;
use crate::format::header::{FirstKept, Slot};
use crate::segment::{Segment, SegmentWriter, path_of};
use crate::sync::{Arc, Ordering, lock};

impl Log {
    /// The full segments that hold nothing from `id` on, oldest first.
    pub(crate) fn full_segments_before(&self, id: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments();
        let full = segments.len().saturating_sub(1);
        segments[..full].iter().take_while(|segment| segment.next_id() <= id).cloned().collect()
    }

    /// The first id of the segment that holds `id`, or the first one that is kept behind it.
    pub(crate) fn border_at(&self, id: u64) -> u64 {
        let segments = self.segments();
        let kept = segments.iter().find(|segment| segment.next_id() > id).or(segments.last());
        let border = kept.map_or(id, |segment| segment.first_id());
        // What is missing between two segments stays missing.
        border.min(id).max(self.first_id())
    }

    /// The first id of the oldest segment from which on all take no more than `max_bytes`, or of the newest.
    pub(crate) fn oldest_within(&self, max_bytes: u64) -> u64 {
        let segments = self.segments();
        let mut bytes = 0_u64;
        let fitting = segments.iter().rev().take_while(|segment| {
            bytes = bytes.saturating_add(segment.end());
            bytes <= max_bytes
        });
        let oldest = segments.len() - fitting.count().max(1).min(segments.len());
        segments.get(oldest).map_or(0, |segment| segment.first_id()).max(self.first_id())
    }

    pub(super) fn set_first_kept(&self, first_kept: FirstKept) {
        *lock(&self.kept) = first_kept;
        self.first_kept.store(first_kept.id, Ordering::Release);
    }
}

impl Lead<'_> {
    /// Prunes the entries below `id`, at most all there are, and returns the segments that hold
    /// nothing else, `segments_max` at most: nobody reads them any more, and their files are to be
    /// deleted.
    ///
    /// Makes everything durable first: what is pruned, and what takes its place as the oldest.
    pub(crate) fn prune(&mut self, id: u64, segments_max: usize) -> Result<Vec<Arc<Segment>>> {
        let log = self.log;
        self.sync()?;
        let id = id.min(log.next_id());
        let mut freed = log.full_segments_before(id);
        freed.truncate(segments_max);
        if id <= log.first_id() && freed.is_empty() {
            return Ok(freed);
        }
        let first_kept = log.first_kept();
        let first_kept = FirstKept { id: id.max(first_kept.id), ..first_kept };
        self.list_for_others();
        self.record(first_kept)?;
        let change = log.change();
        log.set_first_kept(first_kept);
        if let Some(mark) = log.mark() {
            mark.pruned(first_kept.id);
        }
        log.set_segments(log.segments()[freed.len()..].to_vec());
        drop(change);
        for segment in &freed {
            // Whoever is in the middle of one goes on to its end.
            segment.retire(segment.next_id());
        }
        Ok(freed)
    }

    /// Puts segments before the first one, and lowers the first kept id to theirs.
    pub(crate) fn adopt(&mut self, oldest: Vec<Segment>) -> Result<()> {
        let log = self.log;
        let Some(first) = oldest.first() else { return Ok(()) };
        let FirstKept { lowered, .. } = log.first_kept();
        let first_kept = FirstKept { lowered: lowered.saturating_add(1), id: first.first_id() };
        self.sync()?;
        self.begin_change();
        // In both slots: with only one, its rot would make leftovers of what was restored.
        let recorded = self.record(first_kept).and_then(|()| self.record(first_kept));
        if recorded.is_err() {
            self.end_change();
            return recorded;
        }
        let mut segments: Vec<_> = oldest.into_iter().map(Arc::new).collect();
        segments.extend(log.segments().iter().cloned());
        let _change = log.change();
        log.set_segments(segments);
        log.set_first_kept(first_kept);
        self.end_change();
        Ok(())
    }

    /// Something is going to change that readers in other processes cannot follow step by step.
    pub(super) fn begin_change(&self) {
        self.list_for_others();
        if let Some(mark) = self.log.mark() {
            mark.begin_change();
        }
    }

    /// It has changed, or has not.
    pub(super) fn end_change(&self) {
        if let Some(mark) = self.log.mark() {
            // Whoever appends in place tells them under the same lock.
            let _tail = self.log.tail();
            mark.end_change(self.log.first_id(), self.log.next_id());
        }
    }

    /// Makes `first_kept` durable in the newest segment.
    fn record(&mut self, first_kept: FirstKept) -> Result<()> {
        let log = self.log;
        if let Some(Active { writer, .. }) = &mut self.writer.active {
            return put_first_kept(writer, first_kept).map_err(|error| log.fail(error));
        }
        let idle = self.writer.idle;
        let writer = match idle {
            Some(idle) => Some(self.open_idle(idle)?),
            None => self.open_full()?,
        };
        let Some(mut writer) = writer else { return Ok(()) };
        put_first_kept(&mut writer, first_kept).map_err(|error| log.fail(error))?;
        if let Some(idle) = idle {
            let (slot, newest) = (*writer.slot(), writer.newest_slot());
            self.writer.idle = Some(IdleSegment { slot, newest, ours: true, ..idle });
        }
        Ok(())
    }

    /// Opens the newest segment, which is full or damaged, for a change of its slots.
    fn open_full(&self) -> Result<Option<SegmentWriter>> {
        let log = self.log;
        let Some(first_id) = log.newest_segment() else { return Ok(None) };
        let storage = &*log.storage;
        let path = path_of(&log.identity.dir, first_id);
        let found = read_header(storage, path.clone(), first_id, log.identity.salt)?;
        let Some((slot, place)) = found.slot else {
            return Ok(None);
        };
        let writer = SegmentWriter::open(storage, path, slot, place, found.file_len);
        writer.map(Some).map_err(|error| log.fail(error))
    }
}

fn put_first_kept(writer: &mut SegmentWriter, first_kept: FirstKept) -> io::Result<()> {
    writer.write_slot(Slot { first_kept, ..*writer.slot() })?;
    writer.sync()
}
