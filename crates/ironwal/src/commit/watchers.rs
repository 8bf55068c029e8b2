//! Waiting until something happens to a stream.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use super::Stream;
use crate::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering, PoisonError, fence, lock};

/// Who waits for the next change of a stream. Costs whoever makes one nothing but a look.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// How many threads and tasks.
    waiting: AtomicUsize,
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

/// Those that a waker is known of.
#[derive(Debug, Default)]
struct Tasks {
    wakers: BTreeMap<u64, Waker>,
    /// The next key.
    next: u64,
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
        let mut guard = lock(&self.tasks);
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

    /// Has a task woken at the next change; `key` is its own, which it gets here. It must look once
    /// more after this, for a change before it wakes nobody.
    fn register(&self, key: &mut Option<u64>, waker: &Waker) {
        let mut tasks = lock(&self.tasks);
        match key.and_then(|key| tasks.wakers.get_mut(&key)) {
            Some(known) => known.clone_from(waker),
            None => {
                let new = *key.insert(tasks.next);
                tasks.next += 1;
                tasks.wakers.insert(new, waker.clone());
                self.waiting.fetch_add(1, Ordering::SeqCst);
            }
        }
        drop(tasks);
        fence(Ordering::SeqCst);
    }

    fn forget(&self, key: u64) {
        if lock(&self.tasks).wakers.remove(&key).is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Something has changed.
    pub(super) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            // Whoever found it as it was sleeps by the time this thread has the lock.
            let wakers = std::mem::take(&mut lock(&self.tasks).wakers);
            self.waiting.fetch_sub(wakers.len(), Ordering::SeqCst);
            self.changed.notify_all();
            wakers.into_values().for_each(Waker::wake);
        }
    }
}

/// A task that waits for changes of a stream, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    registered: Option<(Arc<Stream>, Option<u64>)>,
}

impl Watch {
    /// Has the task woken at the next change of `stream`, which is always the same one. It must look
    /// once more after this.
    pub(crate) fn register(&mut self, stream: &Arc<Stream>, waker: &Waker) {
        let (stream, key) = self.registered.get_or_insert_with(|| (Arc::clone(stream), None));
        stream.watchers.register(key, waker);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((stream, Some(key))) = &self.registered {
            stream.watchers.forget(*key);
        }
    }
}
