//! Work that no append waits for: making the next segment, syncing full ones in the modes that do not sync
//! each append, syncing every stream before its interval is over, deleting files, and recording, once a stream has
//! gone idle, that all of it is durable.
//!
//! All of it stands on an [`Agenda`]. A [`step`](Maintainer::step) does what is due; a thread steps
//! for ever, or the caller does.

use std::collections::VecDeque;
use std::time::Duration;

use super::deletion::{Doomed, delete};
use crate::commit;
use crate::environment::{Environment, Maintenance};
use crate::sync::{Arc, Condvar, JoinHandle, Mutex, PoisonError, in_parallel, lock, spawn};

/// A stream that got nothing new for this long is idle.
const IDLE: Duration = Duration::from_secs(1);

/// How many idle streams are taken care of at a time, so that a burst of them does not keep the
/// disk from its work.
const IDLE_STREAMS_MAX: usize = 16;

/// How many streams are synced at once when many are to be.
pub(super) const SYNC_THREADS_MAX: usize = 4;

/// Does it, or has it done.
#[derive(Debug)]
pub(super) struct Maintainer {
    how: Maintenance,
    shared: Arc<Shared>,
    worker: Mutex<Worker>,
    /// Writes to the segments what is in the journal.
    writer: super::worker::Worker,
}

/// What the thread and everybody else share.
#[derive(Debug)]
struct Shared {
    environment: Environment,
    agenda: Mutex<Agenda>,
    /// Something was put on the agenda.
    more: Condvar,
    /// Held while files are deleted.
    deleting: Mutex<()>,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Agenda {
    /// The journal, if one of its files is full.
    journal: Option<Arc<commit::Group>>,
    /// Streams whose next segment is to be made.
    next: VecDeque<Arc<commit::Stream>>,
    /// Streams with full segments that are not durable yet.
    full: VecDeque<Arc<commit::Stream>>,
    /// Streams to sync, and when; earliest first.
    due: VecDeque<(Duration, Arc<commit::Stream>)>,
    /// Streams to prove once they are idle.
    watched: Vec<Watched>,
    /// When to look at them.
    next_look: Duration,
    doomed: VecDeque<Doomed>,
    stopping: bool,
}

/// A stream that is going to be proven when it is idle.
#[derive(Debug)]
struct Watched {
    stream: Arc<commit::Stream>,
    /// Its next id when it was looked at last.
    seen: Option<u64>,
}

#[derive(Debug)]
enum Worker {
    /// Nothing has been handed over yet.
    Idle,
    Running(JoinHandle<()>),
    /// The log is closed, and nothing is done any more.
    Stopped,
}

impl Maintainer {
    pub(super) fn new(environment: Environment) -> Self {
        let how = environment.maintenance;
        let shared = Shared {
            environment,
            agenda: Mutex::default(),
            more: Condvar::new(),
            deleting: Mutex::default(),
        };
        let (worker, writer) = (Mutex::new(Worker::Idle), super::worker::Worker::writer(how));
        Self { how, shared: Arc::new(shared), worker, writer }
    }

    /// Takes note that something was appended to a stream.
    pub(super) fn appended(&self, stream: &Arc<commit::Stream>) {
        let log = stream.log();
        let group = stream.group();
        let later = group.written_later();
        if !later.is_empty() {
            self.writer.hand_over(later);
        }
        if group.journal().has_new_full_file() {
            let work = |agenda: &mut Agenda| agenda.journal = Some(Arc::clone(group));
            if !self.hand_over(work, self.how == Maintenance::Thread) {
                // The next append returns the error.
                let _ = group.journal().drain();
            }
        }
        if log.has_new_full_segment() {
            let work = |agenda: &mut Agenda| agenda.full.push_back(Arc::clone(stream));
            if !self.hand_over(work, self.how == Maintenance::Thread) {
                // The error is in the poisoned stream, whose next append returns it.
                let _ = log.prove_full_segments();
            }
        }
        if log.has_due_next() {
            self.hand_over(|agenda| agenda.next.push_back(Arc::clone(stream)), true);
        }
        if let Some(interval) = log.sync_mode().interval()
            && log.begins_to_be_due()
        {
            // Half of it is left to whoever is busy with something else, or with other streams.
            let due = self.shared.now().saturating_add(interval / 2);
            let work = |agenda: &mut Agenda| agenda.due.push_back((due, Arc::clone(stream)));
            if !self.hand_over(work, true) {
                sync(stream);
            }
        }
        if log.begins_to_be_watched() {
            let watched = Watched { stream: Arc::clone(stream), seen: None };
            self.hand_over(|agenda| agenda.watched.push(watched), true);
        }
    }

    /// Deletes files before long, without keeping the caller.
    pub(super) fn delete(&self, doomed: impl IntoIterator<Item = Doomed>) {
        lock(&self.shared.agenda).doomed.extend(doomed);
        if self.how == Maintenance::Inline || !self.hand_over(|_| (), true) {
            self.drain_deletions();
        }
    }

    /// Deletes now what is about to be deleted; returns whether that was anything.
    pub(super) fn drain_deletions(&self) -> bool {
        self.shared.drain_deletions()
    }

    /// Does what is due, and returns when more will be, as the environment's clock tells it.
    pub(super) fn step(&self) -> Option<Duration> {
        self.shared.step()
    }

    /// Puts work on the agenda if somebody is going to do it; the thread is started if need be.
    fn hand_over(&self, work: impl FnOnce(&mut Agenda), by_anybody: bool) -> bool {
        if !by_anybody {
            return false;
        }
        if self.how == Maintenance::Thread {
            let mut worker = lock(&self.worker);
            if let Worker::Idle = *worker
                && let Some(thread) = start(&self.shared)
            {
                *worker = Worker::Running(thread);
            }
            if !matches!(*worker, Worker::Running(_)) {
                return false;
            }
        }
        work(&mut lock(&self.shared.agenda));
        self.shared.more.notify_one();
        true
    }

    /// Ends the thread for good. What is left on the agenda is done by closing the streams, except
    /// for deletions, which are done now.
    pub(super) fn stop(&self) {
        self.writer.stop();
        lock(&self.shared.agenda).stopping = true;
        self.shared.more.notify_one();
        let worker = std::mem::replace(&mut *lock(&self.worker), Worker::Stopped);
        if let Worker::Running(thread) = worker {
            // If it panicked, closing will find out what it left undone.
            let _ = thread.join();
        }
        self.drain_deletions();
        *lock(&self.shared.agenda) = Agenda { stopping: true, ..Agenda::default() };
    }
}

fn start(shared: &Arc<Shared>) -> Option<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    spawn("ironwal-maintenance", move || shared.run())
}

impl Shared {
    fn now(&self) -> Duration {
        (self.environment.clock)()
    }

    fn run(&self) {
        loop {
            let next = self.step();
            let agenda = lock(&self.agenda);
            if agenda.stopping {
                return;
            }
            if agenda.has_urgent_work() {
                continue;
            }
            // By the clock and not by the time-out: the agenda may have changed meanwhile.
            let now = self.now();
            let waited = match agenda.next_due().or(next) {
                Some(next) => {
                    let pause = next.saturating_sub(now);
                    self.more.wait_timeout(agenda, pause).map(|(agenda, _)| agenda)
                }
                None => self.more.wait(agenda).map_err(PoisonError::into_inner).or_else(Ok),
            };
            drop(waited);
        }
    }

    fn step(&self) -> Option<Duration> {
        loop {
            self.sync_due();
            let journal = lock(&self.agenda).journal.take();
            if let Some(group) = journal {
                // The next append returns the error.
                let _ = group.journal().drain();
            }
            let next = lock(&self.agenda).next.pop_front();
            let was_next = next.is_some();
            if let Some(stream) = next {
                stream.log().prepare_next();
            }
            let full = lock(&self.agenda).full.pop_front();
            let was_full = full.is_some();
            if let Some(stream) = full {
                // The error is in the poisoned stream, whose next append returns it.
                let _ = stream.log().prove_full_segments();
            }
            // One at a time, so that syncs that are due meanwhile are not late.
            if !self.delete_one() && !was_full && !was_next {
                break;
            }
        }
        self.look_for_idle();
        lock(&self.agenda).next_due()
    }

    /// Syncs the streams whose time has come.
    fn sync_due(&self) {
        let now = self.now();
        let mut ready = Vec::new();
        {
            let mut agenda = lock(&self.agenda);
            while agenda.due.front().is_some_and(|(due, _)| *due <= now) {
                ready.extend(agenda.due.pop_front().map(|(_, stream)| stream));
            }
        }
        in_parallel(&ready, self.environment.maintenance.threads_max(SYNC_THREADS_MAX), sync);
    }

    fn delete_one(&self) -> bool {
        let _deleting = lock(&self.deleting);
        let Some(doomed) = lock(&self.agenda).doomed.pop_front() else { return false };
        delete(&*self.environment.storage, &doomed);
        true
    }

    fn drain_deletions(&self) -> bool {
        let mut any = false;
        while self.delete_one() {
            any = true;
        }
        any
    }

    /// Proves those streams that got nothing new since they were looked at last, and lets them go.
    fn look_for_idle(&self) {
        let now = self.now();
        let mut watched = {
            let mut agenda = lock(&self.agenda);
            if agenda.watched.is_empty() || agenda.next_look > now {
                return;
            }
            agenda.next_look = now.saturating_add(IDLE);
            std::mem::take(&mut agenda.watched)
        };
        prove_idle(&mut watched);
        lock(&self.agenda).watched.extend(watched);
    }
}

impl Agenda {
    fn has_urgent_work(&self) -> bool {
        self.journal.is_some()
            || !self.next.is_empty()
            || !self.full.is_empty()
            || !self.doomed.is_empty()
    }

    /// When there is something to do by the clock.
    fn next_due(&self) -> Option<Duration> {
        let look = (!self.watched.is_empty()).then_some(self.next_look);
        let sync = self.due.front().map(|(due, _)| *due);
        look.into_iter().chain(sync).min()
    }
}

fn prove_idle(watched: &mut Vec<Watched>) {
    let mut left = IDLE_STREAMS_MAX;
    watched.retain_mut(|watched| {
        let next_id = watched.stream.log().next_id();
        let idle = watched.seen == Some(next_id);
        watched.seen = Some(next_id);
        if !idle || left == 0 {
            return true;
        }
        left -= 1;
        // Before, so that an append from now on has the stream watched again.
        watched.stream.log().stops_being_watched();
        // The error is in the poisoned stream, whose next append returns it.
        let _ = watched.stream.prove_idle();
        false
    });
}

fn sync(stream: &Arc<commit::Stream>) {
    // Before, so that what is appended from now on is synced again.
    stream.log().stops_being_due();
    // The error is in the poisoned stream, whose next append returns it.
    let _ = stream.sync();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::storage::SimDisk;
    use crate::storage::sim::SimConfig;
    use crate::{SyncMode, Wal, WalOptions};

    fn open(disk: &SimDisk, sync_mode: SyncMode) -> Wal {
        let environment = Environment::default()
            .with_storage(Arc::new(disk.process()))
            .with_maintenance(Maintenance::Inline);
        let options = WalOptions { sync_mode, ..WalOptions::new("/log") };
        Wal::open_with(options, environment).unwrap()
    }

    /// The last entry of a stream is proven by nothing until something is appended behind it: rot
    /// in it would be taken for a torn tail. Once the stream is idle, a slot proves it.
    #[test]
    fn rot_in_the_last_entry_of_an_idle_stream_is_damage() {
        let modes = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async];
        for (mode, looks, seed) in
            modes.into_iter().flat_map(|mode| (0..40).map(move |seed| (mode, 1 + seed % 2, seed)))
        {
            let disk =
                SimDisk::with_config(SimConfig { seed, write_back: 0.0, ..Default::default() });
            let wal = open(&disk, mode);
            wal.append("s", b"the last").unwrap();
            let stream = wal.inner.streams.read().unwrap()["s"].clone();
            let mut watched = vec![Watched { stream, seen: None }];
            for _ in 0..looks {
                prove_idle(&mut watched);
            }
            assert_eq!(watched.is_empty(), looks == 2, "it is idle at the second look");
            // The proof survives power loss.
            if looks == 2 {
                disk.crash()
            } else {
                disk.kill()
            }
            let path = std::path::Path::new("/log/s/00000000000000000000.wal");
            disk.overwrite(path, 8192 + 26, b"?").unwrap();
            let wal = open(&disk, mode);
            let found = wal.get("s", 0);
            if looks == 2 {
                assert!(found.is_err(), "{mode:?}, seed {seed}: {found:?}");
            } else {
                assert_eq!(found.unwrap(), None, "undetectable, and the test can fail");
            }
        }
    }

    #[test]
    fn an_idle_stream_is_durable_and_takes_appends_again() {
        for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
            for seed in 0..20 {
                let disk = SimDisk::with_config(SimConfig { seed, ..Default::default() });
                let wal = open(&disk, mode);
                let mut count = 0;
                for _ in 0..4 {
                    assert_eq!(wal.append("s", b"one more").unwrap(), count);
                    count += 1;
                    let stream = wal.inner.streams.read().unwrap()["s"].clone();
                    let mut watched = vec![Watched { stream, seen: Some(count) }];
                    prove_idle(&mut watched);
                    assert_eq!(wal.stream("s").unwrap().durable_end(), count);
                }
                disk.crash();
                let wal = open(&disk, mode);
                assert_eq!(wal.stream("s").unwrap().next_id(), count, "{mode:?}");
            }
        }
    }
}
