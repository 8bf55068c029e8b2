//! Work that no append waits for: syncing full segments in the modes that do not sync each append.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::commit;
use crate::environment::Maintenance;
use crate::sync::{Arc, Mutex, lock};

/// Does it, or has it done.
#[derive(Debug)]
pub(super) struct Maintainer {
    how: Maintenance,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug)]
struct Worker {
    work: Sender<Arc<commit::Stream>>,
    thread: JoinHandle<()>,
}

impl Maintainer {
    pub(super) fn new(how: Maintenance) -> Self {
        Self { how, worker: Mutex::new(None) }
    }

    /// Has the full segments of a stream synced. A failure poisons the stream.
    pub(super) fn prove_full_segments(&self, stream: &Arc<commit::Stream>) {
        if self.how == Maintenance::Thread && self.send(Arc::clone(stream)) {
            return;
        }
        prove(stream);
    }

    /// Hands work to the thread, which is started if need be; returns whether there is one.
    fn send(&self, stream: Arc<commit::Stream>) -> bool {
        let mut worker = lock(&self.worker);
        if worker.is_none() {
            *worker = Worker::start();
        }
        worker.as_ref().is_some_and(|worker| worker.work.send(stream).is_ok())
    }

    /// Finishes what was handed over, and ends the thread.
    pub(super) fn stop(&self) {
        let worker = lock(&self.worker).take();
        if let Some(Worker { work, thread }) = worker {
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

fn run(to_do: &Receiver<Arc<commit::Stream>>) {
    while let Ok(stream) = to_do.recv() {
        prove(&stream);
    }
}

/// The error is in the poisoned stream, whose next append returns it.
fn prove(stream: &commit::Stream) {
    let _ = stream.log().prove_full_segments();
}
