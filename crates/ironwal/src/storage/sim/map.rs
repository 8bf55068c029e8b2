//! A file as memory that is written to.

use std::io;

use super::super::WritableMap;
use super::tree::InodeId;
use super::{SimDisk, power_is_off};

/// A writable map; dies with the process that made it.
#[derive(Debug)]
pub(super) struct SimMap {
    disk: SimDisk,
    epoch: u64,
    inode: InodeId,
    len: u64,
    /// What may be stored to.
    prepared: std::ops::Range<u64>,
}

impl SimMap {
    /// A map of a file that is kept open for it.
    pub(super) fn new(disk: SimDisk, epoch: u64, inode: InodeId, len: u64) -> Self {
        Self { disk, epoch, inode, len, prepared: 0..0 }
    }
}

impl WritableMap for SimMap {
    fn prepare(&mut self, start: u64, end: u64) -> io::Result<()> {
        if end > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let start = if start == self.prepared.end { self.prepared.start } else { start };
        self.prepared = start..end;
        Ok(())
    }

    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset < self.prepared.start || end > self.prepared.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let state = &mut *self.disk.state();
        if state.epoch != self.epoch {
            return Err(io::Error::other("the process is dead"));
        }
        if state.schedule.power_is_off() {
            return Err(power_is_off());
        }
        state.store_bytes(self.inode, bytes, offset)
    }
}

impl Drop for SimMap {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.tree.close(self.inode);
        }
    }
}
