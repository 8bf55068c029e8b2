//! Work that no append waits for: syncing full segments in the modes that do not sync each append,
//! and recording, once a stream has gone idle, that all of it is durable.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::commit;
use crate::environment::Maintenance;
use crate::sync::{Arc, Mutex, lock};

/// A stream that got nothing new for this long is idle.
const IDLE: Duration = Duration::from_secs(1);

/// How many idle streams are taken care of at a time, so that a burst of them does not keep the
/// disk from its work.
const IDLE_STREAMS_MAX: usize = 16;

/// Does it, or has it done.
#[derive(Debug)]
pub(super) struct Maintainer {
    how: Maintenance,
    worker: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been handed over yet.
    Idle,
    Running(Worker),
    /// The log is closed, and nothing is done any more.
    Stopped,
}

#[derive(Debug)]
struct Worker {
    work: Sender<Work>,
    thread: JoinHandle<()>,
}

enum Work {
    /// Sync the full segments of a stream.
    ProveFullSegments(Arc<commit::Stream>),
    /// Prove a stream once it is idle.
    Watch(Arc<commit::Stream>),
}

impl Maintainer {
    pub(super) fn new(how: Maintenance) -> Self {
        Self { how, worker: Mutex::new(State::Idle) }
    }

    /// Takes note that something was appended to a stream.
    pub(super) fn appended(&self, stream: &Arc<commit::Stream>) {
        if stream.log().has_new_full_segment() {
            match self.how {
                Maintenance::Inline => prove_full_segments(stream),
                Maintenance::Thread => self.send(Work::ProveFullSegments(Arc::clone(stream))),
            }
        }
        if self.how == Maintenance::Thread && stream.log().begins_to_be_watched() {
            self.send(Work::Watch(Arc::clone(stream)));
        }
    }

    /// Hands work to the thread, which is started if need be. Without a thread the work is left to
    /// the next sync or to the close.
    fn send(&self, work: Work) {
        let mut state = lock(&self.worker);
        if let State::Idle = *state
            && let Some(worker) = Worker::start()
        {
            *state = State::Running(worker);
        }
        if let State::Running(worker) = &*state {
            // The thread takes work for as long as we hold this end of the channel.
            let _ = worker.work.send(work);
        }
    }

    /// Finishes what was handed over, and ends the thread for good.
    pub(super) fn stop(&self) {
        let state = std::mem::replace(&mut *lock(&self.worker), State::Stopped);
        if let State::Running(Worker { work, thread }) = state {
            drop(work);
            // The thread ends when its channel does. If it panicked, closing will find out what it
            // left undone.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start() -> Option<Self> {
        let (work, to_do) = channel();
        let thread = std::thread::Builder::new()
            .name("ironwal-maintenance".into())
            .spawn(move || run(&to_do))
            .ok()?;
        Some(Self { work, thread })
    }
}

fn run(to_do: &Receiver<Work>) {
    let mut watched = Vec::new();
    let mut next_look = Instant::now();
    loop {
        let work = if watched.is_empty() {
            to_do.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            to_do.recv_timeout(next_look.saturating_duration_since(Instant::now()))
        };
        match work {
            Ok(Work::ProveFullSegments(stream)) => prove_full_segments(&stream),
            Ok(Work::Watch(stream)) => watched.push(Watched { stream, seen: None }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // By the clock and not by the time-out: a busy stream must not keep the others waiting.
        if next_look <= Instant::now() {
            prove_idle(&mut watched);
            next_look = Instant::now() + IDLE;
        }
    }
}

/// A stream that is going to be proven when it is idle.
struct Watched {
    stream: Arc<commit::Stream>,
    /// Its next id when it was looked at last.
    seen: Option<u64>,
}

/// Proves those streams that got nothing new since they were looked at last, and lets them go.
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

/// The error is in the poisoned stream, whose next append returns it.
fn prove_full_segments(stream: &commit::Stream) {
    let _ = stream.log().prove_full_segments();
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
