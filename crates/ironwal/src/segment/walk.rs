//! Reads frame after frame up to the end, and collects what there is to know.

use std::io;

use super::index::PointPicker;
use super::source::FileSource;
use crate::format::checksum;
use crate::format::frame::Fault;
use crate::format::header::Proof;
use crate::format::scan::{Extent, Gap, Scanner, Step};
use crate::format::seal::Point;

/// How much is read at a time, in bytes.
pub(crate) const WALK_READ_LEN: usize = 256 * 1024;

/// What a walk over frames found.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The end of the frames, and what a slot may say once they are durable.
    pub(crate) end: Proof,
    /// Everything below this offset has been durable before.
    pub(crate) proven_end: u64,
    /// The points of the sparse index.
    pub(crate) points: Vec<Point>,
    /// The first damage on the way. Not all of it: there can be as much as there are frames.
    pub(crate) gap: Option<Gap>,
    /// Whether a torn tail stands behind the frames.
    pub(crate) torn: bool,
}

impl Walk {
    /// Walks over `extent`, which begins where frames with `digest` end.
    pub(crate) fn over(source: &mut FileSource, extent: Extent, digest: u32) -> io::Result<Self> {
        let mut scanner = Scanner::new(extent);
        let mut picker = PointPicker::new();
        let (mut points, mut first_gap) = (Vec::new(), None);
        let mut digest = digest;
        let torn = loop {
            match scanner.step(source)? {
                Step::Frame(frame) => {
                    digest = extend_digest(digest, frame.checksum);
                    points.extend(picker.pick(frame.index, frame.offset));
                }
                // A loss that was recorded is no news, and the segment goes on behind it.
                Step::Damaged(gap) if gap.fault == Fault::Lost => {}
                Step::Damaged(gap) => _ = first_gap.get_or_insert(gap),
                Step::Torn => break true,
                Step::End => break false,
            }
        };
        let end = Proof { synced_to: scanner.offset(), next_id: scanner.next_id(), digest };
        Ok(Self { end, proven_end: scanner.proven_end(), points, gap: first_gap, torn })
    }
}

/// The digest of a segment with one frame more.
pub(crate) fn extend_digest(digest: u32, frame_checksum: u32) -> u32 {
    checksum::append(digest, &frame_checksum.to_le_bytes())
}
