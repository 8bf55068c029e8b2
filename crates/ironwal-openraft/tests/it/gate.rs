//! A disk whose syncs wait, so that a test sees what is not durable yet.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ironwal::storage::{DirEntry, File, Lock, OpenMode, SimDisk, Storage};

/// Syncs of files wait while it is shut.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn shut(&self, is_shut: bool) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = is_shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let is_shut = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = self.0.1.wait_while(is_shut, |is_shut| *is_shut);
        drop(passed.unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Debug)]
pub(crate) struct GatedDisk(pub(crate) SimDisk, pub(crate) Gate);

#[derive(Debug)]
struct GatedFile(Arc<dyn File>, Gate);

impl Storage for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(GatedFile(self.0.open(path, mode)?, self.1.clone())))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.0.is_locked(path)
    }
}

impl File for GatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.reserve(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.pass();
        self.0.sync()
    }
}
