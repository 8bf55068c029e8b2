//! Waiting until something happens to a stream.

use std::time::Instant;

use crate::sync::{AtomicU32, Condvar, Mutex, Ordering, PoisonError, fence, lock};

/// Who waits for the next change of a stream. Costs whoever makes one nothing but a look.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: AtomicU32,
    mutex: Mutex<()>,
    changed: Condvar,
}

impl Watchers {
    /// Waits until something holds that a change can bring about; `false`: it was not so by
    /// `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>, is_ready: impl Fn() -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Either this thread sees a change, or whoever makes it sees that somebody waits.
        fence(Ordering::SeqCst);
        let ready = self.wait_counted(deadline, is_ready);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        ready
    }

    fn wait_counted(&self, deadline: Option<Instant>, is_ready: impl Fn() -> bool) -> bool {
        let mut guard = lock(&self.mutex);
        loop {
            if is_ready() {
                return true;
            }
            guard = match deadline {
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let woken = self.changed.wait_timeout(guard, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Something has changed.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // Whoever found it as it was sleeps by the time this thread has the lock.
            drop(lock(&self.mutex));
            self.changed.notify_all();
        }
    }
}
