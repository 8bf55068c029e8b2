//! A segment that another process writes to: following it to its committed end.

use super::index::{Index, PointPicker};
use super::reader::{ReadError, Segment};
use super::source::Handle;
use crate::format::scan::{Extent, Scanner, Step};
use crate::sync::Arc;

/// How much is read at a time, in bytes.
const FOLLOW_READ_LEN: usize = 64 * 1024;

impl Segment {
    /// Makes frames readable up to the id `next_id`, which is committed, as far as they are in this
    /// segment; returns up to which id that is.
    pub(crate) fn follow(
        self: &Arc<Self>,
        next_id: u64,
        picker: &mut PointPicker,
    ) -> Result<u64, ReadError> {
        let seed = self.seed_or_damage()?;
        let handle = self.handle()?;
        // What another process has not written yet is not here either.
        let limit = match &handle {
            Handle::File(file) => file.len()?.max(self.unwritten().end()),
            Handle::Map(map) => map.len() as u64,
        };
        let (offset, known) = (self.end(), self.next_id());
        let first_id = self.first_id();
        // Nothing is known to be durable: what is not a frame is the end.
        let extent =
            Extent { seed, first_id, offset, next_id: known, limit, proven_end: 0, proven_id: 0 };
        let mut scanner = Scanner::new(extent);
        let mut source = self.source(handle, FOLLOW_READ_LEN, limit);
        let (mut end, mut reached, mut points) = (offset, known, Vec::new());
        while reached < next_id {
            match scanner.step(&mut source)? {
                Step::Frame(frame) if frame.ids(first_id).end <= next_id => {
                    points.extend(picker.pick(frame.index, frame.offset));
                }
                _ => break,
            }
            (end, reached) = (scanner.offset(), scanner.next_id());
        }
        self.publish(end, reached, &points);
        Ok(reached)
    }

    /// The same segment as it is up to `next_id`, where a frame ends.
    pub(crate) fn ending_at(self: &Arc<Self>, next_id: u64) -> Result<Self, ReadError> {
        let seed = self.seed_or_damage()?;
        let before = self.before(next_id, seed)?;
        if !before.last_frame.is_empty() {
            return Err(ReadError::Retired);
        }
        let mut index = Index::empty();
        index.extend(&before.points);
        let extent = (before.proof.synced_to, next_id);
        let (context, path) = (Arc::clone(self.context()), self.path().to_path_buf());
        let ending = Self::new(context, path, self.first_id(), Some(seed), extent, index);
        ending.take_unwritten_of(self.unwritten());
        Ok(ending)
    }
}
