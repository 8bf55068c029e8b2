//! A segment file as a source of bytes for the scanner: a piece at a time, or mapped.

use std::io;

use bytes::{Bytes, BytesMut};

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
    /// Mapped: nobody will ever write to it or shorten it.
    Map(Bytes),
}

/// Reads ahead `read_len` bytes at a time and keeps what it read last. What it hands out are slices
/// of that, or of the mapped file.
///
/// A read allocates at most `read_len` bytes or, for a frame that is longer, that frame's length,
/// which is bounded by the known end of the segment and by the length of the file.
#[derive(Debug)]
pub(crate) struct FileSource {
    handle: Handle,
    read_len: usize,
    /// Bytes from here on are not read: they may still change.
    limit: u64,
    start: u64,
    bytes: Bytes,
}

impl FileSource {
    /// A source that reads at least `read_len` bytes at a time, up to `limit`.
    pub(crate) fn new(handle: Handle, read_len: usize, limit: u64) -> Self {
        Self { handle, read_len, limit, start: 0, bytes: Bytes::new() }
    }

    /// Moves the end, for a segment that has grown.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Reads at least this many bytes at a time from now on.
    pub(crate) fn set_read_len(&mut self, read_len: usize) {
        self.read_len = read_len;
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

    /// How many bytes from `offset` on are at hand.
    fn at_hand(&self, offset: u64) -> Option<usize> {
        let skipped = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.len().checked_sub(skipped)
    }

    fn fill(&mut self, file: &dyn File, offset: u64, want: usize) -> io::Result<()> {
        let mut len = want.max(self.read_len).min(self.left(offset));
        if len > self.read_len {
            // The end of the segment is what headers and seals say; the file may be shorter.
            let in_file = file.len()?.saturating_sub(offset);
            len = len.min(usize::try_from(in_file).unwrap_or(usize::MAX));
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
        let filled = storage::read_up_to(file, &mut buffer, offset);
        buffer.truncate(*filled.as_ref().unwrap_or(&0));
        self.start = offset;
        self.bytes = buffer.freeze();
        filled.map(drop)
    }

    /// How many bytes there are from `offset` to the limit.
    fn left(&self, offset: u64) -> usize {
        usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX)
    }
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

    #[test]
    fn a_map_is_sliced_in_place() {
        let map = Bytes::from_static(b"0123456789");
        let mut source = FileSource::new(Handle::Map(map.clone()), 4, 8);
        assert_eq!(source.window(2, 100).unwrap(), b"234567");
        assert_eq!(source.slice(2, 3).unwrap().unwrap().as_ptr(), map[2..].as_ptr());
        assert_eq!(source.window(30, 1).unwrap(), b"");
    }
}
