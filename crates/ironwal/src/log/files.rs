//! How many files are open for writing, over all streams.

use crate::sync::{Arc, Condvar, Mutex, PoisonError, lock};

/// The budget that all streams of a log share.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    open: Mutex<usize>,
    /// A permit was given back.
    returned: Condvar,
}

/// The right to have one file open for writing. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    files: Arc<OpenFiles>,
}

impl OpenFiles {
    /// A budget of `max` files.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::new(0), returned: Condvar::new() })
    }

    /// A permit, if one is left.
    pub(crate) fn try_permit(self: &Arc<Self>) -> Option<Permit> {
        let mut open = lock(&self.open);
        if *open >= self.max {
            return None;
        }
        *open += 1;
        Some(Permit { files: Arc::clone(self) })
    }

    /// Waits until somebody may have given a permit back. Whoever has one gives it back without
    /// waiting for another, unless it is about to show that it can be asked for it.
    pub(crate) fn wait(&self) {
        let open = lock(&self.open);
        if *open >= self.max {
            let pause = std::time::Duration::from_millis(1);
            let _ = self.returned.wait_timeout(open, pause).map_err(PoisonError::into_inner);
        }
    }

    /// How many files are open.
    pub(crate) fn open(&self) -> usize {
        *lock(&self.open)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.files.open) -= 1;
        self.files.returned.notify_one();
    }
}
