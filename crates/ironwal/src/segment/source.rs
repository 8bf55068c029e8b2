//! A segment file as a source of bytes for the scanner: a piece at a time, or mapped.

use std::io;

use bytes::{Bytes, BytesMut};

use super::unwritten::{Piece, Unwritten, end_of};
use crate::format::frame::{FRAME_HEADER_BYTES, Frame};
use crate::format::scan::Source;
use crate::storage::{self, File};
use crate::sync::Arc;

/// Buffers that are this much larger than what is read into them are not used again.
const SPARE_FACTOR_MAX: usize = 4;

/// An open segment file.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    /// Read by system calls.
    File(Arc<dyn File>),
    /// Mapped, all of it or from the beginning on: nobody will ever write to that or take it from the
    /// file. So nothing of it is unwritten either.
    Map(Bytes),
}

/// Reads ahead `read_len` bytes at a time and keeps what it read last. What it hands out are slices
/// of that, or of the mapped file. Pieces of the segment that are not in the file yet are laid over what
/// is read of it.
///
/// A read allocates at most `read_len` bytes or, for a frame that is longer, that frame's length,
/// which is bounded by the known end of the segment and by where the file and the pieces end.
#[derive(Debug)]
pub(crate) struct FileSource {
    handle: Handle,
    /// What is committed and not in the file yet.
    unwritten: Option<Arc<Unwritten>>,
    read_len: usize,
    /// Bytes from here on are not read: they may still change.
    limit: u64,
    start: u64,
    bytes: Bytes,
}

impl FileSource {
    /// A source that reads at least `read_len` bytes at a time, up to `limit`.
    pub(crate) fn new(handle: Handle, read_len: usize, limit: u64) -> Self {
        Self { handle, unwritten: None, read_len, limit, start: 0, bytes: Bytes::new() }
    }

    /// The same with what is committed and not in the file yet. The limit was taken before.
    pub(crate) fn with_unwritten(self, unwritten: Option<Arc<Unwritten>>) -> Self {
        Self { unwritten, ..self }
    }

    /// Moves the end, for a segment that has grown.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Reads at least this many bytes at a time from now on.
    pub(crate) fn set_read_len(&mut self, read_len: usize) {
        self.read_len = read_len;
    }

    /// Whether it has all of the segment up to `end`, which is committed.
    pub(crate) fn reaches(&self, end: u64) -> bool {
        match &self.handle {
            Handle::File(_) => true,
            Handle::Map(map) => end <= map.len() as u64,
        }
    }

    /// Whether slices point into a mapped file.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.handle, Handle::Map(_))
    }

    /// How many bytes a slice keeps in memory that was handed out last.
    pub(crate) fn held_len(&self) -> usize {
        self.bytes.len()
    }

    /// `len` bytes from `offset` on, without copying them; `None` if they are not all there.
    pub(crate) fn slice(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        let there = self.window(offset, len)?.len();
        if there < len {
            return Ok(None);
        }
        let (bytes, start) = match &self.handle {
            Handle::Map(map) => (map, 0),
            Handle::File(_) => (&self.bytes, self.start),
        };
        let skipped = usize::try_from(offset - start).unwrap_or(usize::MAX);
        Ok(Some(bytes.slice(skipped..skipped + len)))
    }

    /// What was read last, or all that is mapped.
    pub(super) fn bytes(&self) -> &Bytes {
        match &self.handle {
            Handle::Map(map) => map,
            Handle::File(_) => &self.bytes,
        }
    }

    /// What is at hand from `offset` on, of what may be read.
    #[inline]
    pub(super) fn rest(&self, offset: u64) -> &[u8] {
        let (bytes, start) = match &self.handle {
            Handle::Map(map) => (map, 0),
            Handle::File(_) => (&self.bytes, self.start),
        };
        let skipped = offset.checked_sub(start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| bytes.get(skipped..)).unwrap_or_default()
    }

    /// Where in these bytes the payload of a frame is, and its length, if it is all there.
    pub(super) fn payload_at_hand(&self, frame: &Frame) -> Option<(usize, usize)> {
        let start = match &self.handle {
            Handle::Map(_) => 0,
            Handle::File(_) => self.start,
        };
        let payload = (frame.offset + FRAME_HEADER_BYTES).checked_sub(start)?;
        let (payload, len) =
            (usize::try_from(payload).ok()?, usize::try_from(frame.payload_len).ok()?);
        (payload.checked_add(len)? <= self.bytes().len()).then_some((payload, len))
    }

    /// How many bytes from `offset` on are at hand.
    fn at_hand(&self, offset: u64) -> Option<usize> {
        let skipped = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.len().checked_sub(skipped)
    }

    fn fill(&mut self, file: &dyn File, offset: u64, want: usize) -> io::Result<()> {
        let mut len = want.max(self.read_len).min(self.left(offset));
        // Before the file is asked for anything: a piece that is gone by now is in it.
        let pieces = self.unwritten_over(offset, len);
        if len > self.read_len {
            // The end of the segment is what headers and seals say; the file may be shorter.
            let end = file.len()?.max(pieces.last().map_or(0, end_of));
            len = len.min(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
        }
        let spare = std::mem::take(&mut self.bytes).try_into_mut();
        let fits = |spare: &BytesMut| {
            (len..=len.saturating_mul(SPARE_FACTOR_MAX)).contains(&spare.capacity())
        };
        let mut buffer = match spare.ok().filter(fits) {
            Some(mut spare) => {
                spare.resize(len, 0);
                spare
            }
            None => BytesMut::zeroed(len),
        };
        let filled = storage::read_up_to(file, &mut buffer, offset)
            .map(|filled| lay_over(&mut buffer, filled, offset, &pieces));
        buffer.truncate(*filled.as_ref().unwrap_or(&0));
        self.start = offset;
        self.bytes = buffer.freeze();
        filled.map(drop)
    }

    /// The pieces that are not in the file yet of `len` bytes from `offset` on.
    fn unwritten_over(&self, offset: u64, len: usize) -> Vec<Piece> {
        let end = offset.saturating_add(len as u64);
        self.unwritten.as_ref().map_or_else(Vec::new, |unwritten| unwritten.over(offset, end))
    }

    /// How many bytes there are from `offset` to the limit.
    fn left(&self, offset: u64) -> usize {
        usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX)
    }
}

/// Lays pieces over what the file holds from `offset` on, which is the first `filled` bytes of
/// `buffer`; returns how many of them count then. What lies between the end of the file and a piece is
/// zeros.
fn lay_over(buffer: &mut [u8], filled: usize, offset: u64, pieces: &[Piece]) -> usize {
    let distance = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).ok();
    let mut filled = filled;
    for (start, bytes) in pieces {
        let behind = distance(offset, *start).and_then(|at| buffer.split_at_mut_checked(at));
        let bytes = distance(*start, offset).and_then(|skipped| bytes.get(skipped..));
        let (Some((before, place)), Some(bytes)) = (behind, bytes) else { continue };
        if let Some(between) = before.get_mut(filled..) {
            between.fill(0);
        }
        let len = bytes.len().min(place.len());
        place[..len].copy_from_slice(&bytes[..len]);
        filled = filled.max(before.len() + len);
    }
    filled
}

impl Source for FileSource {
    type Error = io::Error;

    fn window(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let left = self.left(offset);
        let want = want.min(left);
        if let Handle::File(file) = &self.handle
            && self.at_hand(offset).is_none_or(|at_hand| at_hand < want)
        {
            let file = Arc::clone(file);
            self.fill(&*file, offset, want)?;
        }
        let (bytes, start) = match &self.handle {
            Handle::Map(map) => (map, 0),
            Handle::File(_) => (&self.bytes, self.start),
        };
        let skipped = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
        let there = bytes.get(skipped..).unwrap_or_default();
        Ok(&there[..there.len().min(left)])
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::storage::{OpenMode, SimDisk, Storage};

    fn file(content: &[u8]) -> Handle {
        let disk = SimDisk::new(1);
        disk.replace(Path::new("/f"), content).unwrap();
        Handle::File(disk.open(Path::new("/f"), OpenMode::Read).unwrap())
    }

    /// What stands there may change until the limit moves.
    #[test]
    fn nothing_behind_the_limit_is_read_until_it_moves() {
        let disk = SimDisk::new(1);
        disk.replace(Path::new("/f"), b"0123456789").unwrap();
        let written = disk.open(Path::new("/f"), OpenMode::ReadWrite).unwrap();
        let mut source = FileSource::new(Handle::File(Arc::clone(&written)), 100, 6);
        assert_eq!(source.window(3, 5).unwrap(), b"345");
        assert_eq!(source.slice(3, 5).unwrap(), None);
        written.write_at(b"xy", 6).unwrap();
        source.set_limit(8);
        assert_eq!(source.slice(3, 5).unwrap().unwrap(), &b"345xy"[..]);
        assert_eq!(source.window(20, 5).unwrap(), b"");
    }

    #[test]
    fn a_length_that_the_file_does_not_hold_allocates_nothing() {
        let mut source = FileSource::new(file(b"0123456789"), 4, u64::MAX);
        assert_eq!(source.window(2, 1 << 40).unwrap(), b"23456789");
        assert!(source.bytes.try_into_mut().unwrap().capacity() < 100);
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_holds_a_slice_of_it() {
        let mut source = FileSource::new(file(&[7; 100]), 10, 100);
        let held = source.slice(0, 10).unwrap().unwrap();
        let first = held.as_ptr();
        assert_ne!(source.window(10, 10).unwrap().as_ptr(), first);
        let second = source.window(10, 10).unwrap().as_ptr();
        assert_eq!(source.window(20, 10).unwrap().as_ptr(), second);
        assert_eq!(held, [7; 10][..]);
    }

    fn unwritten(pieces: &[(u64, &'static [u8])]) -> Option<Arc<Unwritten>> {
        let unwritten = Unwritten::default();
        pieces
            .iter()
            .for_each(|(offset, bytes)| unwritten.push(*offset, Bytes::from_static(bytes)));
        Some(Arc::new(unwritten))
    }

    #[test]
    fn pieces_lie_over_the_file_wherever_they_begin_and_end() {
        let pieces = [(2, &b"cd"[..]), (4, b"e"), (8, b"ijkl")];
        for read_len in [1, 4, 100] {
            for (start, expected) in [
                (0, &b"01cde567ijkl"[..]),
                (1, b"1cde567ijkl"),
                (3, b"de567ijkl"),
                (4, b"e567ijkl"),
                (5, b"567ijkl"),
                (11, b"l"),
                (12, b""),
            ] {
                for want in 1..=expected.len().max(1) {
                    let source = FileSource::new(file(b"0123456789"), read_len, 20);
                    let mut source = source.with_unwritten(unwritten(&pieces));
                    let window = source.window(start, want).unwrap();
                    let what = format!("{want} from {start} on, {read_len} at a time");
                    assert!(window.len() >= want.min(expected.len()), "{what}");
                    assert!(expected.starts_with(window), "{what}");
                    assert!(read_len < 100 || window == expected, "{what}");
                }
            }
        }
    }

    #[test]
    fn nothing_of_a_piece_behind_the_limit_is_read() {
        let source = FileSource::new(file(b"0123"), 100, 6);
        let mut source = source.with_unwritten(unwritten(&[(3, b"def"), (6, b"gh")]));
        assert_eq!(source.window(0, 100).unwrap(), b"012def");
        source.set_limit(7);
        assert_eq!(source.window(0, 100).unwrap(), b"012defg");
    }

    /// The buffer holds what was read before.
    #[test]
    fn between_the_end_of_the_file_and_a_piece_are_zeros() {
        let source = FileSource::new(file(b"0123456789"), 10, 100);
        let mut source = source.with_unwritten(unwritten(&[(16, b"qr")]));
        assert_eq!(source.window(0, 10).unwrap(), b"0123456789");
        let first = source.bytes.as_ptr();
        let window = source.window(8, 10).unwrap();
        assert_eq!((window, window.as_ptr()), (&b"89\0\0\0\0\0\0qr"[..], first));
    }

    #[test]
    fn a_map_is_sliced_in_place() {
        let map = Bytes::from_static(b"0123456789");
        let mut source = FileSource::new(Handle::Map(map.clone()), 4, 8);
        assert_eq!(source.window(2, 100).unwrap(), b"234567");
        assert_eq!(source.slice(2, 3).unwrap().unwrap().as_ptr(), map[2..].as_ptr());
        assert_eq!(source.window(30, 1).unwrap(), b"");
    }
}
