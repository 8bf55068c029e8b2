//! What stands in a segment before an id, for a copy that ends there.

use std::ops::Range;

use super::index::PointPicker;
use super::reader::{ReadError, Segment};
use super::walk::{WALK_READ_LEN, extend_digest};
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, Frame, Place};
use crate::format::header::{HEADER_LEN, Proof};
use crate::format::scan::{Scanner, Source, Step};
use crate::format::seal::Point;
use crate::sync::Arc;

/// The part of a segment that ends before an id.
#[derive(Debug)]
pub(crate) struct Before {
    /// Where it ends, and what a slot says of it once it is durable.
    pub(crate) proof: Proof,
    /// The points of its index.
    pub(crate) points: Vec<Point>,
    /// The frame at its end, if that is the beginning of a batch that goes on behind the id and had
    /// to be encoded anew; otherwise empty. What is before it is a copy of the segment.
    pub(crate) last_frame: Vec<u8>,
    /// The ids of the entries in it that are damaged, or marked as lost.
    pub(crate) damaged: Vec<Range<u64>>,
}

impl Segment {
    /// The entries before `id`, which the segment holds. Damage before it is part of them.
    pub(crate) fn before(
        self: &Arc<Self>,
        id: u64,
        seed: SegmentSeed,
    ) -> Result<Before, ReadError> {
        let extent = self.extent(seed, HEADER_LEN, self.first_id());
        let mut scanner = Scanner::new(extent);
        let mut source = self.source(self.handle()?, WALK_READ_LEN, extent.limit);
        let mut picker = PointPicker::new();
        let mut before = Before {
            proof: Proof::of_nothing(self.first_id()),
            points: Vec::new(),
            last_frame: Vec::new(),
            damaged: Vec::new(),
        };
        while before.proof.next_id < id {
            match scanner.step(&mut source)? {
                Step::Frame(frame) if frame.ids(self.first_id()).end <= id => {
                    before.proof.digest = extend_digest(before.proof.digest, frame.checksum);
                    before.points.extend(picker.pick(frame.index, frame.offset));
                }
                Step::Frame(frame) => {
                    self.begin_anew(&mut before, &frame, id, seed)?;
                    before.points.extend(picker.pick(frame.index, frame.offset));
                    return Ok(before);
                }
                Step::Damaged(gap) if gap.ids.end <= id => before.damaged.push(gap.ids),
                Step::Damaged(gap) => return Err(ReadError::Damaged(self.gap_damage(gap))),
                Step::Torn | Step::End => break,
            }
            before.proof.synced_to = scanner.offset();
            before.proof.next_id = scanner.next_id();
        }
        before.proof.next_id = id;
        Ok(before)
    }

    /// The bytes of the frames below `end`, piece by piece with their offsets, also those that are not in
    /// the file yet. What the file misses is missing.
    pub(crate) fn frames_below<E: From<ReadError>>(
        self: &Arc<Self>,
        end: u64,
        mut each: impl FnMut(&[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut source = self.source(self.handle()?, WALK_READ_LEN, end);
        let mut offset = HEADER_LEN;
        while offset < end {
            let bytes = source.window(offset, 1).map_err(ReadError::from)?;
            if bytes.is_empty() {
                break;
            }
            each(bytes, offset)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Encodes the entries of `frame` before `id` as a frame at the same place.
    fn begin_anew(
        self: &Arc<Self>,
        before: &mut Before,
        frame: &Frame,
        id: u64,
        seed: SegmentSeed,
    ) -> Result<(), ReadError> {
        let start = frame.ids(self.first_id()).start;
        let mut entries = Vec::new();
        let mut cursor = self.cursor(start, WALK_READ_LEN)?;
        while (start + entries.len() as u64) < id {
            match cursor.next(id)? {
                Some((_, entry)) => entries.push(entry),
                None => break,
            }
        }
        let entries: Vec<&[u8]> = entries.iter().map(AsRef::as_ref).collect();
        let Frame { offset, index, synced_to, .. } = *frame;
        let place = Place { seed, offset, index, synced_to };
        let checksum = frame::encode(&mut before.last_frame, place, &entries, None);
        let Some(checksum) = checksum else {
            return Err(std::io::Error::other("a part of a batch is larger than the batch").into());
        };
        before.proof = Proof {
            synced_to: offset + before.last_frame.len() as u64,
            next_id: id,
            digest: extend_digest(before.proof.digest, checksum),
        };
        Ok(())
    }
}
