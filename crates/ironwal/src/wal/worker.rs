//! Threads that do one thing with streams, so that no append waits for it.

use std::time::Duration;

use crate::commit::Stream;
use crate::environment::Maintenance;
use crate::sync::{Arc, Condvar, JoinHandle, Mutex, PoisonError, lock, spawn};

/// How long shares of a stream gather in memory before they are written to its segment, in one piece.
const WRITER_PAUSE: Duration = Duration::from_millis(50);

/// What is done with a stream.
type Work = fn(&Arc<Stream>);

/// A thread that is started when there is something to do for the first time. Where there can be none,
/// whoever has something to do does it.
#[derive(Debug)]
pub(super) struct Worker {
    name: &'static str,
    work: Work,
    /// How long more is gathered before it is done.
    pause: Option<Duration>,
    how: Maintenance,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    agenda: Mutex<Agenda>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Agenda {
    streams: Vec<Arc<Stream>>,
    stopping: bool,
}

impl Worker {
    /// Commits what was submitted, whether anybody waits for it or not.
    pub(super) fn committer(how: Maintenance) -> Self {
        let work: Work = Stream::commit_submitted;
        Self { name: "ironwal-committer", work, how, ..Self::idle() }
    }

    /// Writes to the segments what is in the journal.
    pub(super) fn writer(how: Maintenance) -> Self {
        let work: Work = Stream::write_out;
        Self { name: "ironwal-writer", work, pause: Some(WRITER_PAUSE), how, ..Self::idle() }
    }

    fn idle() -> Self {
        let (shared, thread) = (Arc::default(), Mutex::default());
        Self { name: "", work: |_| (), pause: None, how: Maintenance::Inline, shared, thread }
    }

    /// Has it done before long.
    pub(super) fn hand_over(&self, streams: Vec<Arc<Stream>>) {
        if self.how == Maintenance::Thread && self.is_running() {
            let mut agenda = lock(&self.shared.agenda);
            if !agenda.stopping {
                let was_idle = agenda.streams.is_empty();
                agenda.streams.extend(streams);
                drop(agenda);
                if was_idle {
                    self.shared.more.notify_one();
                }
                return;
            }
        }
        streams.iter().for_each(self.work);
    }

    /// Whether the thread runs; it is started if need be.
    fn is_running(&self) -> bool {
        let mut thread = lock(&self.thread);
        if thread.is_none() && !lock(&self.shared.agenda).stopping {
            let (shared, work, pause) = (Arc::clone(&self.shared), self.work, self.pause);
            *thread = spawn(self.name, move || shared.run(work, pause));
        }
        thread.is_some()
    }

    /// Ends the thread when it has done what it knows of.
    pub(super) fn stop(&self) {
        lock(&self.shared.agenda).stopping = true;
        self.shared.more.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            // If it panicked, closing does what it left undone.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, work: Work, pause: Option<Duration>) {
        loop {
            let streams = {
                let mut agenda = lock(&self.agenda);
                while agenda.streams.is_empty() && !agenda.stopping {
                    agenda = self.more.wait(agenda).unwrap_or_else(PoisonError::into_inner);
                }
                if agenda.streams.is_empty() {
                    return;
                }
                if let Some(pause) = pause {
                    let waited =
                        self.more.wait_timeout_while(agenda, pause, |agenda| !agenda.stopping);
                    agenda = waited
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(agenda, _)| agenda);
                }
                std::mem::take(&mut agenda.streams)
            };
            streams.iter().for_each(work);
        }
    }
}
