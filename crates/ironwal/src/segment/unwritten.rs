//! Frames of a segment that are committed and not in its file yet.
//!
//! They are durable elsewhere, in the journal, and are written to the segment later. Until then readers
//! take them from here, laid over what they read of the file.
//!
//! No reader misses one, because
//!
//! - whoever commits a piece pushes it, and publishes the end of the segment then;
//! - whoever writes the pieces out forgets one only after it has been written to the file;
//! - a reader loads the end of the segment first, then takes note of the pieces, then asks the file for
//!   its length and its bytes, and lays the pieces over them. So a piece below the end that it took no
//!   note of was in the file before it looked there.
//!
//! What is in a piece and in the file is the same in both, so it does no harm if a piece is written,
//! or forgotten, between the reader's steps.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// An offset in the segment, and the bytes that belong there.
pub(crate) type Piece = (u64, Bytes);

/// Where a piece ends.
pub(crate) fn end_of((offset, bytes): &Piece) -> u64 {
    offset.saturating_add(bytes.len() as u64)
}

/// The pieces of a segment that are committed and not in its file yet, in the order of their offsets.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    /// How many bytes the pieces hold. Changed under the lock, read without it.
    len: AtomicU64,
    pieces: Mutex<VecDeque<Piece>>,
}

impl Unwritten {
    /// Adds a piece behind all others. The end of the segment is published after that.
    pub(crate) fn push(&self, offset: u64, bytes: Bytes) {
        let mut pieces = lock(&self.pieces);
        let len = self.len() + bytes.len() as u64;
        pieces.push_back((offset, bytes));
        self.len.store(len, Ordering::Release);
    }

    /// Whether everything that is committed is in the file.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the pieces hold.
    pub(crate) fn len(&self) -> u64 {
        // Whoever finds nothing here goes on to the file, and must find there what was written before
        // it was forgotten.
        self.len.load(Ordering::Acquire)
    }

    /// Where the last piece ends; 0 if there is none.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.pieces).back().map_or(0, end_of)
    }

    /// All pieces, for whoever writes them to the file.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        lock(&self.pieces).iter().cloned().collect()
    }

    /// Forgets the pieces that end at or below `end`, after they have been written to the file. One
    /// that goes on behind it stays whole.
    pub(crate) fn forget_below(&self, end: u64) {
        let mut pieces = lock(&self.pieces);
        let mut len = self.len();
        while let Some(piece) = pieces.front()
            && end_of(piece) <= end
        {
            len -= piece.1.len() as u64;
            pieces.pop_front();
        }
        self.len.store(len, Ordering::Release);
    }

    /// The pieces of which anything lies between `start` and `end`.
    pub(crate) fn over(&self, start: u64, end: u64) -> Vec<Piece> {
        if self.is_empty() {
            return Vec::new();
        }
        let pieces = lock(&self.pieces);
        let first = pieces.partition_point(|piece| end_of(piece) <= start);
        pieces.range(first..).take_while(|(offset, _)| *offset < end).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, len: usize) -> Piece {
        (offset, Bytes::from(vec![offset as u8; len]))
    }

    fn unwritten(pieces: &[Piece]) -> Unwritten {
        let unwritten = Unwritten::default();
        pieces.iter().for_each(|(offset, bytes)| unwritten.push(*offset, bytes.clone()));
        unwritten
    }

    #[test]
    fn pieces_are_kept_until_they_are_forgotten() {
        let all = [piece(100, 10), piece(110, 5), piece(115, 20)];
        let unwritten = unwritten(&all);
        assert_eq!((unwritten.len(), unwritten.is_empty()), (35, false));
        assert_eq!(unwritten.pieces(), all);
        unwritten.forget_below(109);
        assert_eq!((unwritten.len(), unwritten.pieces()), (35, all.to_vec()));
        unwritten.forget_below(110);
        assert_eq!((unwritten.len(), unwritten.pieces()), (25, all[1..].to_vec()));
        // The last one was written in part.
        unwritten.forget_below(134);
        assert_eq!((unwritten.len(), unwritten.pieces()), (20, all[2..].to_vec()));
        unwritten.forget_below(u64::MAX);
        assert_eq!((unwritten.len(), unwritten.is_empty()), (0, true));
        assert_eq!(unwritten.pieces(), []);
    }

    #[test]
    fn a_range_meets_the_pieces_that_lie_in_it_in_part() {
        // Between the second and the third, something was written that is no piece.
        let all = [piece(100, 10), piece(110, 5), piece(120, 20)];
        let unwritten = unwritten(&all);
        for (start, end, expected) in [
            (0, 100, 0..0),
            (0, 101, 0..1),
            (100, 110, 0..1),
            (109, 111, 0..2),
            (110, 111, 1..2),
            (115, 120, 2..2),
            (115, 121, 2..3),
            (114, u64::MAX, 1..3),
            (139, 140, 2..3),
            (140, u64::MAX, 3..3),
        ] {
            assert_eq!(unwritten.over(start, end), all[expected], "{start}..{end}");
        }
        unwritten.forget_below(u64::MAX);
        assert_eq!(unwritten.over(0, u64::MAX), []);
    }
}
