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

use std::ops::Range;

use super::Log;
use super::tail::Mapped;
use super::write::{Active, Lead};
use crate::format::header::HEADER_LEN;
use crate::storage::Pages;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock};

/// How much memory is made ready at a time, in bytes.
const PREPARE_STEP: u64 = 256 * 1024;

/// How far ahead of that its pages are fetched by another thread, once a stream has filled a step.
const FETCH_AHEAD: u64 = 2 * PREPARE_STEP;

/// Pages that somebody should fetch ahead of the appends.
#[derive(Debug, Default)]
pub(super) struct WantedPages {
    /// Whether that is news.
    is_news: AtomicBool,
    wanted: Mutex<Option<Wanted>>,
}

/// Which pages of a map.
type Wanted = (Arc<dyn Pages>, Range<u64>);

impl Log {
    fn want_pages(&self, pages: Arc<dyn Pages>, range: Range<u64>) {
        *lock(&self.wanted_pages.wanted) = Some((pages, range));
        self.wanted_pages.is_news.store(true, Ordering::Relaxed);
    }

    /// Whether pages should be fetched; says so to one caller, who has [`Log::fetch_pages`] called
    /// before long by a thread that nobody waits for.
    pub(crate) fn has_wanted_pages(&self) -> bool {
        let is_news = &self.wanted_pages.is_news;
        is_news.load(Ordering::Relaxed) && is_news.swap(false, Ordering::Relaxed)
    }

    /// Fetches them. May block on the disk.
    pub(crate) fn fetch_pages(&self) {
        let wanted = lock(&self.wanted_pages.wanted).take();
        if let Some((pages, range)) = wanted {
            pages.fetch(range.start, range.end);
        }
    }
}

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
        let reader = Arc::clone(reader);
        let fetch_from = start + PREPARE_STEP;
        let mapped = Mapped { map, reader, prepared_to: start, fetch_from, fetched_to: 0 };
        self.log.tail().set_mapped(Some(mapped));
    }

    /// Makes memory ready for frames up to `end` and some more, within the room that there is; returns up
    /// to where frames may be staged.
    pub(super) fn prepare_room(&mut self, end: u64) -> Option<u64> {
        let room_to = self.writer.active.as_ref()?.writer.reserved_to();
        // Not under the lock of the tail, for it may read from the disk. Appends wait for room.
        let Some(mut mapped) = self.log.tail().set_mapped(None) else { return Some(room_to) };
        if end > mapped.prepared_to {
            let start = mapped.prepared_to;
            let to = end.max(start + PREPARE_STEP).min(room_to).max(end);
            if mapped.map.prepare(start, to).is_err() {
                // It cannot be stored to. A write will say what is wrong, if anything is.
                return Some(room_to);
            }
            mapped.prepared_to = to;
            let ahead = (to + FETCH_AHEAD).min(room_to);
            let from = mapped.fetched_to.max(to);
            if to >= mapped.fetch_from
                && from < ahead
                && let Some(pages) = mapped.map.pages()
            {
                self.log.want_pages(pages, from..ahead);
                mapped.fetched_to = ahead;
            }
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
