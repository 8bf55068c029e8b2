//! Which streams have files open for writing, and whose turn it is to close them.
//!
//! A clock: streams stand in a queue; one that was used since it was looked at last goes to the back
//! once more. Nobody who waits here has the lead of a stream, so whoever has one goes on.

use std::collections::VecDeque;

use super::Stream;
use crate::log::files::{OpenFiles, Permit};
use crate::sync::{Arc, Mutex, Weak, lock};

/// The open files of all streams of a log.
#[derive(Debug)]
pub(crate) struct Files {
    budget: Arc<OpenFiles>,
    queue: Mutex<VecDeque<Weak<Stream>>>,
}

impl Files {
    /// At most `max` files.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { budget: OpenFiles::new(max), queue: Mutex::default() })
    }

    /// What the streams' logs draw on.
    pub(crate) fn budget(&self) -> &Arc<OpenFiles> {
        &self.budget
    }

    /// A permit to open one more file, after closing another stream's if need be. Blocks on the
    /// disk. `None`: the stream has its file open.
    pub(super) fn permit(&self, stream: &Stream) -> Option<Permit> {
        loop {
            if stream.log().has_file() {
                return None;
            }
            if let Some(permit) = self.budget.try_permit() {
                return Some(permit);
            }
            match self.least_used() {
                // An error is in the poisoned stream, whose next append returns it.
                Some(victim) => drop(victim.release()),
                None => self.budget.wait(),
            }
        }
    }

    /// Takes note that a stream may have opened a file.
    pub(super) fn opened(&self, stream: &Arc<Stream>) {
        if stream.is_queued(true) {
            return;
        }
        lock(&self.queue).push_back(Arc::downgrade(stream));
    }

    fn least_used(&self) -> Option<Arc<Stream>> {
        let mut queue = lock(&self.queue);
        let mut looks = 2 * queue.len();
        while let Some(stream) = queue.pop_front() {
            let Some(stream) = stream.upgrade() else { continue };
            looks = looks.saturating_sub(1);
            if stream.was_used() && looks > 0 {
                queue.push_back(Arc::downgrade(&stream));
                continue;
            }
            stream.is_queued(false);
            return Some(stream);
        }
        None
    }
}
