//! The active segment as memory, to which appends go that are not synced before they return.
//!
//! ```text
//!  segment file   header | frames … | end        prepared to        reserved to
//!                                   | ← frames are stored here | pages not asked for yet |
//! ```
//!
//! Whoever leads makes the memory ready piece by piece, as part of making room, so that a store never
//! needs space, or a page that the disk would have to provide. Storing is a matter of the
//! [`tail`](super::tail).

use super::tail::Mapped;
use super::write::{Active, Lead};
use crate::format::header::HEADER_LEN;
use crate::options::SyncMode;
use crate::sync::Arc;

/// How much memory is made ready at a time, in bytes.
const PREPARE_STEP: u64 = 256 * 1024;

impl Lead<'_> {
    /// Maps the active segment, whose file was opened or made just now, if that is wanted and possible.
    pub(super) fn map_active(&mut self) {
        let limits = &self.log.limits;
        let Some(Active { writer, reader, .. }) = &self.writer.active else { return };
        if !limits.maps {
            return;
        }
        // Address space for all of the segment, so that it is mapped once.
        let len = HEADER_LEN.saturating_add(limits.segment_len_max).max(writer.reserved_to());
        // Without a map frames are written, as in the modes that sync.
        let Ok(Some(map)) = writer.file().map_writable(len) else { return };
        let start = reader.end();
        let mapped = Mapped { map, reader: Arc::clone(reader), prepared_to: start };
        self.log.tail().set_mapped(Some(mapped));
    }

    /// Makes memory ready for frames up to `end` and some more, within the room that there is; returns up
    /// to where frames may be staged.
    pub(super) fn prepare_room(&mut self, end: u64) -> Option<u64> {
        let Active { writer, .. } = self.writer.active.as_mut()?;
        let room_to = writer.reserved_to();
        // Not under the lock of the tail, for it may read from the disk. Appends wait for room.
        let Some(mut mapped) = self.log.tail().set_mapped(None) else { return Some(room_to) };
        if end > mapped.prepared_to {
            let start = mapped.prepared_to;
            let to = end.max(start + PREPARE_STEP).min(room_to).max(end);
            let zeroed = if zeroes(self.log.limits.sync_mode) {
                writer.zero_blocks(start, to)
            } else {
                Ok(())
            };
            if zeroed.and_then(|()| mapped.map.prepare(start, to)).is_err() {
                // It cannot be stored to. A write will say what is wrong, if anything is.
                return Some(room_to);
            }
            mapped.prepared_to = to;
        }
        let prepared_to = mapped.prepared_to;
        self.log.tail().set_mapped(Some(mapped));
        Some(prepared_to.min(room_to))
    }

    /// Nothing is appended in place any more, for the file is going to be closed; returns the map.
    pub(super) fn unmap(&mut self) -> Option<Mapped> {
        self.log.tail().set_mapped(None)
    }

    /// Lets nothing be committed until the lead is given up but by whoever has it.
    pub(super) fn stop_placing(&mut self) {
        let mut tail = self.log.tail();
        self.learn_placed(&mut tail);
        tail.stop_placing(true);
        drop(tail);
        self.writer.placing_is_stopped = true;
    }

    /// Lets appends be committed in place again.
    pub(crate) fn resume_placing(&mut self) {
        if std::mem::take(&mut self.writer.placing_is_stopped) {
            self.log.tail().stop_placing(false);
        }
    }
}

/// Whether memory is written with zeros before it is asked for: the page cache then holds it in large
/// pieces, which takes half the time. But after a sync a store makes all of its piece dirty, so that does
/// not pay where syncs come every few appends.
fn zeroes(mode: SyncMode) -> bool {
    match mode {
        SyncMode::Async | SyncMode::Interval(_) => true,
        SyncMode::Strict | SyncMode::BatchOnly => false,
    }
}
