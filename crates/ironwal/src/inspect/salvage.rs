//! Entries of a damaged batch that can be read one by one, and the bytes that keep them in its place.
//!
//! The data of a large batch is checked in pieces, so an entry is whole if its own pieces are. What takes
//! the place of such a batch has the same length: frames of the entries that are whole, and marks between
//! them, the last of which takes up what is left. Where there is no room for that many frames, the last of
//! the entries are given up.

use std::ops::Range;

use bytes::Bytes;

use crate::error::Result;
use crate::format::MAX_FRAME_LEN;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_BYTES, FRAME_HEADER_LEN, Frame, Place};
use crate::format::header::Proof;
use crate::format::payload::Shape;
use crate::format::scan::Source;
use crate::log::recover::found::Found;
use crate::options::WalOptions;
use crate::segment::index::Index;
use crate::segment::reader::ReadError;
use crate::segment::source::FileSource;
use crate::segment::{Finder, ReadContext, Segment};
use crate::storage::Storage;
use crate::sync::Arc;

/// The entries with ids that are lost to those who read in order, and can be read by id.
pub(super) fn readable(
    storage: &Arc<dyn Storage>,
    segment: &Found,
    source: &mut FileSource,
    lost: (Range<u64>, Range<u64>),
    end: Proof,
) -> Result<Vec<(u64, Bytes)>> {
    let Some((slot, _)) = segment.slot else { return Ok(Vec::new()) };
    let seed =
        SegmentSeed::new(slot.constants.salt, slot.constants.stream_number, segment.first_id);
    let (bytes, ids) = lost;
    let in_pieces = frames_in_pieces(source, segment.first_id, seed, bytes, ids)?;
    if in_pieces.is_empty() {
        return Ok(Vec::new());
    }
    let context = ReadContext::without_maps(Arc::clone(storage), &WalOptions::default());
    let (path, extent) = (segment.path.clone(), (end.synced_to, end.next_id));
    let index = Index::unread(end.synced_to);
    let reader = Segment::new(context, path, segment.first_id, Some(seed), extent, index);
    let Ok(mut finder) = Finder::new(Arc::new(reader)) else { return Ok(Vec::new()) };
    let mut entries = Vec::new();
    for id in in_pieces.into_iter().flatten() {
        match finder.get(id) {
            Ok(entry) => entries.push((id, entry)),
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(ReadError::Damaged(_) | ReadError::Retired) => {}
        }
    }
    Ok(entries)
}

/// The ids of the frames in pieces in these bytes, as far as one header leads to the next.
fn frames_in_pieces(
    source: &mut FileSource,
    first_id: u64,
    seed: SegmentSeed,
    bytes: Range<u64>,
    ids: Range<u64>,
) -> Result<Vec<Range<u64>>> {
    let (mut offset, mut due, mut found) = (bytes.start, ids.start, Vec::new());
    while offset < bytes.end {
        let window = source.window(offset, FRAME_HEADER_LEN)?;
        // The file may end in the frame.
        let Ok(frame) = frame::peek(window, offset, u64::MAX, seed) else { break };
        let of_frame = frame.ids(first_id);
        if of_frame.start != due || of_frame.end > ids.end {
            break;
        }
        (offset, due) = (frame.end(), of_frame.end);
        if frame.shape != Shape::Whole {
            found.push(of_frame);
        }
    }
    Ok(found)
}

/// Bytes that take the place of others.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) bytes: Vec<u8>,
    /// The frames of entries among them.
    pub(super) frames: Vec<Frame>,
}

/// One after another of what is put there.
#[derive(Debug, PartialEq, Eq)]
enum Run {
    Kept(Range<usize>),
    Lost(Range<u64>),
}

/// Frames for these entries, and marks for the other ids, in exactly `len` bytes; `None` if there is no
/// room for any of the entries.
pub(super) fn fill(
    place: Place,
    first_id: u64,
    len: u64,
    ids: &Range<u64>,
    entries: &[(u64, Bytes)],
) -> Option<Filled> {
    let mut kept = entries;
    let runs = loop {
        let runs = runs(ids, kept);
        let is_marked = runs.iter().any(|run| matches!(run, Run::Lost(_)));
        let needed = runs.iter().map(|run| len_of(run, kept)).sum::<u64>();
        // What is left is for a mark.
        if needed == len || (needed < len && is_marked && len - needed <= MAX_FRAME_LEN / 2) {
            break runs;
        }
        // Of many, some at a time, or this would take quadratic time.
        kept = &kept[..kept.len().checked_sub(1 + kept.len() / 64)?];
    };
    if kept.is_empty() {
        return None;
    }
    let mut left = len - runs.iter().map(|run| len_of(run, kept)).sum::<u64>();
    let mut filled = Filled { bytes: Vec::new(), frames: Vec::new() };
    for run in runs {
        let offset = place.offset + filled.bytes.len() as u64;
        match &run {
            Run::Lost(lost) => {
                let index = u32::try_from(lost.start.checked_sub(first_id)?).ok()?;
                let count = u32::try_from(lost.end - lost.start).ok()?;
                let place = Place { offset, index, ..place };
                let len = FRAME_HEADER_BYTES + std::mem::take(&mut left);
                frame::encode_loss(&mut filled.bytes, place, count, len)?;
            }
            Run::Kept(range) => {
                let of_run = &kept[range.clone()];
                let index = u32::try_from(of_run.first()?.0.checked_sub(first_id)?).ok()?;
                let slices: Vec<&[u8]> = of_run.iter().map(|(_, entry)| &entry[..]).collect();
                let place = Place { offset, index, ..place };
                let start = filled.bytes.len();
                frame::encode(&mut filled.bytes, place, &slices, None)?;
                let end = place.offset + (filled.bytes.len() - start) as u64;
                filled
                    .frames
                    .push(frame::peek(&filled.bytes[start..], offset, end, place.seed).ok()?);
            }
        }
    }
    Some(filled)
}

/// The ids in order, as what is kept of them and what is not.
fn runs(ids: &Range<u64>, entries: &[(u64, Bytes)]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut due = ids.start;
    for (nth, (id, _)) in entries.iter().enumerate() {
        if due < *id {
            runs.push(Run::Lost(due..*id));
        }
        match runs.last_mut() {
            Some(Run::Kept(range)) => range.end = nth + 1,
            _ => runs.push(Run::Kept(nth..nth + 1)),
        }
        due = id + 1;
    }
    if due < ids.end {
        runs.push(Run::Lost(due..ids.end));
    }
    runs
}

/// The bytes that a run takes at least.
fn len_of(run: &Run, entries: &[(u64, Bytes)]) -> u64 {
    match run {
        Run::Lost(_) => FRAME_HEADER_BYTES,
        Run::Kept(range) => {
            let slices: Vec<&[u8]> =
                entries[range.clone()].iter().map(|(_, entry)| &entry[..]).collect();
            frame::padded_len(frame::payload_len(&slices))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(ids: &[u64], len: usize) -> Vec<(u64, Bytes)> {
        ids.iter().map(|id| (*id, Bytes::from(vec![*id as u8; len]))).collect()
    }

    fn place() -> Place {
        Place { seed: SegmentSeed::new(1, 2, 100), offset: 8192, index: 0, synced_to: 0 }
    }

    /// What is there, in order: ids, and whether they are kept.
    fn walk(filled: &Filled) -> Vec<(Range<u64>, bool)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < filled.bytes.len() {
            let offset = 8192 + at as u64;
            let rest = &filled.bytes[at..];
            let frame = frame::whole(rest, offset, u64::MAX, place().seed).unwrap();
            found.push((frame.ids(100), !frame.lost));
            at += usize::try_from(frame.len()).unwrap();
        }
        found
    }

    #[test]
    fn everything_fits_where_it_came_from() {
        let filled =
            fill(place(), 100, 5000, &(100..110), &entries(&[100, 101, 105], 300)).unwrap();
        assert_eq!(filled.bytes.len(), 5000);
        let expected = [(100..102, true), (102..105, false), (105..106, true), (106..110, false)];
        assert_eq!(walk(&filled), expected);
        assert_eq!(filled.frames.len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_given_up_from_the_end() {
        let all = entries(&[100, 102, 104, 106], 100);
        for len in (24..800).step_by(8) {
            let Some(filled) = fill(place(), 100, len, &(100..108), &all) else {
                assert!(len < 128 + 24, "{len}");
                continue;
            };
            assert_eq!(filled.bytes.len() as u64, len);
            let walked = walk(&filled);
            assert_eq!((walked[0].0.start, walked.last().unwrap().0.end), (100, 108), "{len}");
            assert!(walked.windows(2).all(|two| two[0].0.end == two[1].0.start), "{len}");
            let kept = walked.iter().filter(|(_, kept)| *kept).count();
            assert_eq!(kept, (usize::try_from(len).unwrap() / (128 + 24)).min(4), "{len}");
        }
    }

    #[test]
    fn without_an_entry_or_room_there_is_nothing() {
        assert!(fill(place(), 100, 800, &(100..108), &[]).is_none());
        assert!(fill(place(), 100, 40, &(100..108), &entries(&[101], 100)).is_none());
    }
}
