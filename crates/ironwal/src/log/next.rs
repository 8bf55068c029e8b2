//! The file of the next segment, made ahead: whoever leads then only writes its header and gives it its
//! name, and does not wait for space.

use crate::segment::writer::{EmptyFile, empty_file, remove_unfinished};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};

use super::Log;

/// How much of a segment has its space when the next one is made, in quarters.
const DUE_QUARTERS: u64 = 3;

/// What a stream knows of the file of its next segment.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Locked while the file is made.
    state: Mutex<State>,
    /// Whether it is to be made.
    is_asked_for: AtomicBool,
    /// Whether nobody has been told of that.
    is_due: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody uses the temporary name. A file that was left behind may have it.
    #[default]
    None,
    /// The file is there, durable, and has so many bytes, all of them zeros.
    Ready(u64),
    /// Whoever leads uses the name.
    Taken,
    /// The name is not ours any more.
    Over,
}

impl Log {
    /// The active segment has space up to `reserved`, in bytes of frames: is the next one due?
    pub(super) fn note_reserved(&self, reserved: u64) {
        if reserved >= self.limits.segment_len_max / 4 * DUE_QUARTERS
            && !self.next.is_asked_for.swap(true, Ordering::Relaxed)
        {
            self.next.is_due.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the next segment is to be made, and nobody has been told of that.
    pub(crate) fn has_due_next(&self) -> bool {
        self.next.is_due.load(Ordering::Relaxed) && self.next.is_due.swap(false, Ordering::Relaxed)
    }

    /// Makes the file of the next segment, without keeping appends from their work. If that fails,
    /// whoever needs it makes it, and reports what is wrong.
    pub(crate) fn prepare_next(&self) {
        let mut state = lock(&self.next.state);
        self.next.is_asked_for.store(false, Ordering::Relaxed);
        if *state != State::None || self.is_over() {
            return;
        }
        let (storage, dir) = (&*self.storage, &self.identity.dir);
        match empty_file(storage, dir, self.limits.segment_len_max) {
            Ok(len) => *state = State::Ready(len),
            Err(error) => {
                let stream = self.name();
                tracing::debug!(%stream, %error, "the next segment could not be made ahead");
                let _ = remove_unfinished(storage, dir);
            }
        }
    }

    /// The temporary name is used by whoever leads, until the file [got its own](Log::next_is_named).
    /// Returns the file that was made, if there is one.
    pub(super) fn take_next(&self) -> Option<EmptyFile> {
        let mut state = lock(&self.next.state);
        let found = match *state {
            State::Ready(len) => EmptyFile::open(&*self.storage, &self.identity.dir, len).ok(),
            State::None | State::Taken | State::Over => None,
        };
        if *state != State::Over {
            *state = State::Taken;
        }
        found
    }

    /// Nobody uses the temporary name any more.
    pub(super) fn next_is_named(&self) {
        let mut state = lock(&self.next.state);
        if *state == State::Taken {
            *state = State::None;
        }
    }

    /// Gives back the space of the file that was made; `false`: there was none.
    pub(super) fn drop_next(&self) -> bool {
        let mut state = lock(&self.next.state);
        let State::Ready(_) = *state else { return false };
        *state = State::None;
        remove_unfinished(&*self.storage, &self.identity.dir).is_ok()
    }

    /// Makes no more files: the directory is about to be somebody else's.
    pub(super) fn end_next(&self) {
        self.drop_next();
        *lock(&self.next.state) = State::Over;
    }
}
