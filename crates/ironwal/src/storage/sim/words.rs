//! Memory that the processes of a simulated machine share.

use super::super::SharedWords;
use super::SimDisk;
use super::state::{OpenedWords, State};
use super::tree::InodeId;

/// The words of a file, as one process sees them. For the dead, and without power, there are none.
#[derive(Debug)]
pub(super) struct SimWords {
    disk: SimDisk,
    epoch: u64,
    inode: InodeId,
    count: usize,
    is_writable: bool,
}

impl SimWords {
    /// Makes a handle of what [`State::open_words`] opened.
    pub(super) fn new(disk: SimDisk, opened: OpenedWords, is_writable: bool) -> Self {
        let OpenedWords { epoch, inode, count } = opened;
        Self { disk, epoch, inode, count, is_writable }
    }

    /// Does something with a word if there is one and the process runs.
    fn reach<T>(&self, index: usize, body: impl FnOnce(&mut State) -> T) -> Option<T> {
        let state = &mut *self.disk.state();
        let runs = state.epoch == self.epoch && !state.schedule.power_is_off();
        (runs && index < self.count).then(|| body(state))
    }
}

impl SharedWords for SimWords {
    fn count(&self) -> usize {
        self.count
    }

    fn load(&self, index: usize) -> u64 {
        self.reach(index, |state| state.load(self.inode, index)).flatten().unwrap_or(0)
    }

    fn store(&self, index: usize, word: u64) {
        if self.is_writable {
            self.reach(index, |state| state.store(self.inode, index, word));
        }
    }
}

impl Drop for SimWords {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.tree.close(self.inode);
        }
    }
}
