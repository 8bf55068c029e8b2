//! Reading segments of which not everything is in the file yet.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::context::ReadContext;
use super::index::Index;
use super::reading_tests::{
    Built, FIRST_ID, Interfering, PATH, cached_options, cursor, entry, get, seed,
};
use super::unwritten::end_of;
use super::{Cursor, Segment, Unwritten};
use crate::format::header::HEADER_LEN;
use crate::format::seal::Point;
use crate::options::WalOptions;
use crate::storage::{self, OpenMode, SimDisk, Storage};
use crate::sync::{Arc, AtomicBool, Ordering, lock};

/// What a segment will be when all of it is in the file.
struct Whole {
    built: Built,
    entries: Vec<Vec<u8>>,
    frames: Vec<Framed>,
}

/// Where one frame ends, and what is published with it.
struct Framed {
    end: u64,
    next_id: u64,
    points: Vec<Point>,
}

impl Whole {
    /// Frames of these entries.
    fn of(frames: &[Vec<Vec<u8>>]) -> Self {
        let mut whole = Self { built: Built::new(), entries: Vec::new(), frames: Vec::new() };
        for frame in frames {
            let slices: Vec<&[u8]> = frame.iter().map(AsRef::as_ref).collect();
            let known = whole.built.points.len();
            whole.built = whole.built.frame(&slices, None);
            whole.entries.extend_from_slice(frame);
            whole.frames.push(Framed {
                end: whole.built.bytes.len() as u64,
                next_id: FIRST_ID + whole.entries.len() as u64,
                points: whole.built.points[known..].to_vec(),
            });
        }
        whole
    }

    /// Single entries, batches, and a frame that is longer than what is read at a time.
    fn mixed() -> Self {
        let frames: Vec<Vec<Vec<u8>>> = (0..24_u8)
            .map(|nth| match nth {
                17 => vec![vec![nth; 60_000], vec![nth; 40_000]],
                nth if nth % 5 == 0 => vec![vec![nth; 300], vec![nth, 1], vec![nth; 800]],
                nth => vec![vec![nth; 1000]],
            })
            .collect();
        Self::of(&frames)
    }

    fn end(&self) -> u64 {
        self.built.bytes.len() as u64
    }

    fn next_id(&self) -> u64 {
        FIRST_ID + self.entries.len() as u64
    }

    fn entry(&self, id: u64) -> &[u8] {
        &self.entries[(id - FIRST_ID) as usize]
    }

    /// Pushes everything from `start` on, in pieces of this length.
    fn push(&self, unwritten: &Unwritten, start: u64, piece_len: usize) {
        let mut offset = start;
        for piece in self.built.bytes[start as usize..].chunks(piece_len) {
            unwritten.push(offset, Bytes::copy_from_slice(piece));
            offset += piece.len() as u64;
        }
    }

    /// Every entry is read right, in every way there is.
    fn check(&self, segment: &Arc<Segment>) {
        let ids = FIRST_ID..self.next_id();
        for id in ids.clone() {
            assert_eq!(get(segment, id).unwrap(), self.entry(id), "{id}");
            let mut from_here = cursor(segment, id);
            assert_eq!(from_here.next(u64::MAX).unwrap().unwrap().1, self.entry(id), "{id}");
        }
        assert_eq!(read_on(&mut cursor(segment, FIRST_ID), u64::MAX), self.entries);
        let mut backwards = None;
        for id in ids.rev() {
            let taken = match backwards.as_mut() {
                Some(kept) => super::Backwards::take(kept, id),
                None => None,
            };
            let entry = taken.unwrap_or_else(|| {
                backwards.insert(segment.backwards(id, FIRST_ID).unwrap()).take(id).unwrap()
            });
            assert_eq!(entry.unwrap(), self.entry(id), "{id}");
        }
    }
}

/// All entries up to `below`.
fn read_on(cursor: &mut Cursor, below: u64) -> Vec<Bytes> {
    std::iter::from_fn(|| cursor.next(below).unwrap()).map(|(_, entry)| entry).collect()
}

/// A segment that holds what these ends say, and knows none of its points.
fn without_index(context: &Arc<ReadContext>, end: u64, next_id: u64) -> Arc<Segment> {
    let (path, index) = (PathBuf::from(PATH), Index::unread(end));
    let context = Arc::clone(context);
    Arc::new(Segment::new(context, path, FIRST_ID, Some(seed()), (end, next_id), index))
}

/// Writes all pieces to the file, and forgets them.
fn write_out(disk: &SimDisk, unwritten: &Unwritten) {
    let file = disk.open(Path::new(PATH), OpenMode::ReadWrite).unwrap();
    for piece in unwritten.pieces() {
        storage::write_all_at(&*file, &piece.1, piece.0).unwrap();
        unwritten.forget_below(end_of(&piece));
    }
}

/// What can stand in a file of which the bytes from `start` on were not written yet: space that was
/// reserved, a part of them, something else, or nothing.
fn files(whole: &Whole, start: u64) -> Vec<Vec<u8>> {
    let (bytes, start) = (&whole.built.bytes, start as usize);
    let followed_by = |written: usize, byte: u8, len: usize| {
        let mut file = bytes[..written].to_vec();
        file.resize(written + len, byte);
        file
    };
    let left = bytes.len() - start;
    vec![
        followed_by(start, 0, left + 5000),
        followed_by(start, 0x55, left + 5000),
        followed_by(start, 0x55, left / 2),
        followed_by(start, 0, 0),
        followed_by(start + left / 2, 0, 0),
        followed_by(start + left / 2, 0, left),
    ]
}

#[test]
fn what_is_not_written_yet_is_read_like_the_rest() {
    let whole = Whole::mixed();
    for nth in [0, 9, 16, 17, 22] {
        let start = whole.frames[nth].end;
        for file in files(&whole, start) {
            for piece_len in [whole.built.bytes.len(), 1500, 100] {
                let disk = Interfering::holding(&file);
                for options in [WalOptions::default(), cached_options(1 << 20)] {
                    let segment = whole.built.segment(&disk.context(&options));
                    whole.push(segment.unwritten(), start, piece_len);
                    whole.check(&segment);
                }
                let context = disk.context(&WalOptions::default());
                let segment = without_index(&context, whole.end(), whole.next_id());
                whole.push(segment.unwritten(), start, piece_len);
                assert_eq!(segment.all_points().unwrap(), whole.built.points);
                let kept = segment.before(whole.frames[22].next_id, seed()).unwrap();
                assert_eq!(kept.proof.synced_to, whole.frames[22].end);
                write_out(&disk.disk, segment.unwritten());
                assert!(segment.unwritten().is_empty());
                whole.check(&segment);
            }
        }
    }
}

/// A reader that looked for pieces after it had read the file would miss what was written in between.
#[test]
fn a_piece_that_is_written_and_forgotten_meanwhile_is_not_missed() {
    let whole = Whole::mixed();
    let start = whole.frames[12].end;
    type Read = fn(&Whole, &Arc<Segment>, u64);
    let by_id: Read = |whole, segment, id| {
        assert_eq!(get(segment, id).unwrap(), whole.entry(id));
    };
    let in_order: Read = |whole, segment, id| {
        let mut cursor = cursor(segment, id);
        assert_eq!(cursor.next(u64::MAX).unwrap().unwrap(), (id, whole.entry(id).to_vec().into()));
    };
    let backwards: Read = |whole, segment, id| {
        let mut backwards = segment.backwards(id, FIRST_ID).unwrap();
        assert_eq!(backwards.take(id).unwrap().unwrap(), whole.entry(id));
    };
    let long = whole.frames[16].next_id;
    for file in files(&whole, start) {
        for read in [by_id, in_order, backwards] {
            for id in [whole.frames[12].next_id, long, whole.next_id() - 1] {
                // Around which question to the file it happens; the first ones are for the index.
                for (before, skipped) in (0..10).flat_map(|nth| [(true, nth), (false, nth)]) {
                    let disk = Interfering::holding(&file);
                    let context = disk.context(&WalOptions::default());
                    let segment = without_index(&context, whole.end(), whole.next_id());
                    whole.push(segment.unwritten(), start, 3000);
                    let hook = if before { &disk.before_read } else { &disk.after_answer };
                    let (files, meant) = (disk.disk.clone(), Arc::clone(&segment));
                    let mut act: Box<dyn FnOnce() + Send> =
                        Box::new(move || write_out(&files, meant.unwritten()));
                    for _ in 0..skipped {
                        let (hook, then) = (Arc::clone(hook), act);
                        act = Box::new(move || *lock(&hook) = Some(then));
                    }
                    *lock(hook) = Some(act);
                    read(&whole, &segment, id);
                }
            }
        }
    }
}

/// One thread commits, another writes what was committed to the file, and two read all the while.
#[test]
fn readers_see_all_that_is_published_while_it_is_written() {
    let frames: Vec<Vec<Vec<u8>>> = (0..3000_u32)
        .map(|nth| match nth % 100 {
            50 => vec![vec![nth as u8; 20_000]],
            len => vec![vec![nth as u8; len as usize], nth.to_le_bytes().to_vec()],
        })
        .collect();
    let whole = Whole::of(&frames);
    for options in [WalOptions::default(), cached_options(1 << 16)] {
        let disk = Interfering::holding(&whole.built.bytes[..HEADER_LEN as usize]);
        let nothing = without_index(&disk.context(&options), HEADER_LEN, FIRST_ID);
        nothing.all_points().unwrap();
        let segment = &nothing;
        let published = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut offset = HEADER_LEN;
                for frame in &whole.frames {
                    while segment.unwritten().len() > 100_000 {
                        std::thread::yield_now();
                    }
                    let bytes = &whole.built.bytes[offset as usize..frame.end as usize];
                    segment.unwritten().push(offset, Bytes::copy_from_slice(bytes));
                    segment.publish(frame.end, frame.next_id, &frame.points);
                    offset = frame.end;
                }
                published.store(true, Ordering::Release);
            });
            scope.spawn(|| {
                let file = disk.disk.open(Path::new(PATH), OpenMode::ReadWrite).unwrap();
                loop {
                    let is_last = published.load(Ordering::Acquire);
                    let pieces = segment.unwritten().pieces();
                    // Some of them, in one piece or several.
                    for piece in pieces.chunks(3).take(10) {
                        for (offset, bytes) in piece {
                            storage::write_all_at(&*file, bytes, *offset).unwrap();
                        }
                        segment.unwritten().forget_below(piece.last().map_or(0, end_of));
                    }
                    if is_last && pieces.is_empty() {
                        return;
                    }
                    std::thread::yield_now();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut cursor = cursor(segment, FIRST_ID);
                    let mut next = FIRST_ID;
                    while next < whole.next_id() {
                        for (id, entry) in std::iter::from_fn(|| cursor.next(u64::MAX).unwrap()) {
                            assert_eq!((id, &entry[..]), (next, whole.entry(id)));
                            next += 1;
                        }
                        let Some(newest) = segment.next_id().checked_sub(1) else { continue };
                        if newest >= FIRST_ID {
                            assert_eq!(get(segment, newest).unwrap(), whole.entry(newest));
                            let mut backwards = segment.backwards(newest, FIRST_ID).unwrap();
                            let found = backwards.take(newest).unwrap().unwrap();
                            assert_eq!(found, whole.entry(newest));
                        }
                    }
                });
            }
        });
        whole.check(segment);
        assert_eq!(disk.disk.contents(Path::new(PATH)).unwrap(), whole.built.bytes);
    }
}

#[test]
fn a_cursor_stops_before_the_id_that_it_is_told() {
    let frame = [b"a", b"b", b"c", b"d"];
    let frame: Vec<&[u8]> = frame.iter().map(|entry| &entry[..]).collect();
    let built = Built::new().entries(3).frame(&frame, None).entries(3);
    let disk = Interfering::holding(&built.bytes);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    let mut cursor = segment.cursor(FIRST_ID, 100).unwrap();
    let before = disk.reads();
    assert_eq!(cursor.next(FIRST_ID).unwrap(), None);
    assert_eq!(disk.reads(), before, "nothing is read in vain");
    let mut ids = FIRST_ID..;
    // Also in the middle of a batch, which goes on where it stopped.
    for below in [101, 101, 100, 104, 105, 105, 107, 107, 108, u64::MAX] {
        while let Some((id, read)) = cursor.next(below).unwrap() {
            assert_eq!(Some(id), ids.next());
            assert!(id < below);
            match id {
                103..107 => assert_eq!(read, frame[(id - 103) as usize]),
                id => assert_eq!(read, entry(id)),
            }
        }
        assert_eq!(cursor.next_id(), ids.start);
        assert_eq!(cursor.next_id(), below.clamp(ids.start.min(110), 110));
    }
    assert_eq!(ids.start, 110);
}
