//! Waking tasks that wait for a stream.
//!
//! Whoever commits wakes those of its own process. What another process commits nobody tells: a thread
//! looks, for as long as a task waits.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use super::inner::Inner;
use crate::commit::{self, Stream};
use crate::sync::{Arc, Condvar, JoinHandle, Mutex, PoisonError, lock, sleep, spawn};

/// How often a stream is looked at that another process writes to.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A task that waits for changes of a stream, until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    here: commit::Watch,
    elsewhere: Option<(Arc<Shared>, u64)>,
}

impl Watch {
    /// Has the task woken when there may be news of `stream`, which is always the same one. It must look
    /// once more after this.
    pub(super) fn register(&mut self, inner: &Inner, stream: &Arc<Stream>, waker: &Waker) {
        if inner.watermark.is_none() {
            return self.here.register(stream, waker);
        }
        let (shared, key) = self
            .elsewhere
            .get_or_insert_with(|| (Arc::clone(&inner.lookout.shared), inner.lookout.new_key()));
        lock(&shared.waiting).tasks.insert(*key, (Arc::clone(stream), waker.clone()));
        if !inner.lookout.look_out() {
            // Nobody else does.
            waker.wake_by_ref();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((shared, key)) = &self.elsewhere {
            lock(&shared.waiting).tasks.remove(key);
        }
    }
}

/// Looks at streams that another process writes to, while tasks wait for them.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: BTreeMap<u64, (Arc<Stream>, Waker)>,
    next_key: u64,
    stopping: bool,
}

impl Lookout {
    fn new_key(&self) -> u64 {
        let mut waiting = lock(&self.shared.waiting);
        waiting.next_key += 1;
        waiting.next_key
    }

    /// Sees to it that somebody looks; `false`: the system gives no thread, or the log is closed.
    fn look_out(&self) -> bool {
        let mut thread = lock(&self.thread);
        if thread.is_none() && !lock(&self.shared.waiting).stopping {
            let shared = Arc::clone(&self.shared);
            *thread = spawn("ironwal-lookout", move || shared.run());
        }
        self.shared.more.notify_one();
        thread.is_some()
    }

    /// Ends the thread, and wakes every task.
    pub(super) fn stop(&self) {
        lock(&self.shared.waiting).stopping = true;
        self.shared.more.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        let tasks = std::mem::take(&mut lock(&self.shared.waiting).tasks);
        tasks.into_values().for_each(|(_, waker)| waker.wake());
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut waiting = lock(&self.waiting);
            while waiting.tasks.is_empty() && !waiting.stopping {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.stopping {
                return;
            }
            let has_news =
                |(_, (stream, _)): &(&u64, &(Arc<Stream>, Waker))| stream.log().may_have_changed();
            let news: Vec<u64> =
                waiting.tasks.iter().filter(has_news).map(|(key, _)| *key).collect();
            let woken: Vec<_> = news.iter().filter_map(|key| waiting.tasks.remove(key)).collect();
            drop(waiting);
            woken.into_iter().for_each(|(_, waker)| waker.wake());
            sleep(LOOK_EVERY);
        }
    }
}
