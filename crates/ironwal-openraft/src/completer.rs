//! The thread that tells what has become durable.
//!
//! The log wakes whoever waits for it from its own threads, in between two syncs. So a waker only notes which
//! group has news, and this thread calls back: one for all groups of a log, in the order of each group.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::group::Group;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends its thread when it is dropped.
#[derive(Default)]
pub(crate) struct Completer {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    agenda: Mutex<Agenda>,
    more: Condvar,
}

#[derive(Default)]
struct Agenda {
    woken: Vec<Arc<Group>>,
    has_thread: bool,
    stopping: bool,
}

impl Completer {
    /// There may be news of `group`.
    pub(crate) fn wake(&self, group: Arc<Group>) {
        let mut agenda = lock(&self.shared.agenda);
        if !agenda.has_thread {
            let shared = Arc::clone(&self.shared);
            let named = thread::Builder::new().name("ironwal-openraft".into());
            agenda.has_thread = named.spawn(move || shared.run()).is_ok();
        }
        if !agenda.has_thread {
            // The system gives no thread. A thread of the log does it, between two syncs.
            drop(agenda);
            return Group::news(group);
        }
        agenda.woken.push(group);
        if agenda.woken.len() == 1 {
            self.shared.more.notify_one();
        }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        // Not joined: the last group may be dropped by that very thread.
        lock(&self.shared.agenda).stopping = true;
        self.shared.more.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let woken = {
                let mut agenda = lock(&self.agenda);
                while agenda.woken.is_empty() && !agenda.stopping {
                    agenda = self.more.wait(agenda).unwrap_or_else(PoisonError::into_inner);
                }
                if agenda.woken.is_empty() {
                    return;
                }
                std::mem::take(&mut agenda.woken)
            };
            woken.into_iter().for_each(Group::news);
        }
    }
}

impl fmt::Debug for Completer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Completer").finish_non_exhaustive()
    }
}
