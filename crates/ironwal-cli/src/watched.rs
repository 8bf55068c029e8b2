//! The real disk, with an eye on how much is read and copied, and on Ctrl-C.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::storage::{DirEntry, File, Lock, OpenMode, RealDisk, SharedWords, Storage};

use crate::progress;

/// The disk of a repair or a backup. It has no memory maps: neither needs them. What other processes share is
/// read, and none is made: a copy is nobody else's before it is whole.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Arc<Watch>,
}

struct Watch {
    interrupted: Arc<AtomicBool>,
    read: AtomicU64,
    written: AtomicU64,
    total: u64,
    bar: progress::Bytes,
}

impl Watched {
    /// `total` is how many bytes the log has, about.
    pub(crate) fn new(interrupted: Arc<AtomicBool>, total: u64) -> Self {
        let (read, written) = (AtomicU64::new(0), AtomicU64::new(0));
        let bar = progress::Bytes::new();
        Self { watch: Arc::new(Watch { interrupted, read, written, total, bar }) }
    }
}

impl Watch {
    /// Fails after Ctrl-C, which ends the work as a disk that fails does.
    fn go_on(&self) -> io::Result<()> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(io::Error::other("interrupted")),
            false => Ok(()),
        }
    }

    /// All is read before the first byte is written.
    fn has_read(&self, len: usize) {
        let read = self.read.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
        if self.written.load(Ordering::Relaxed) == 0 {
            self.bar.set(read.min(self.total), self.total, "read");
        }
    }

    fn has_written(&self, len: usize) {
        let written = self.written.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
        self.bar.set(written.min(self.total), self.total, "copied");
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").field("written", &self.written).finish_non_exhaustive()
    }
}

impl Storage for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.watch.go_on()?;
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(WatchedFile { file, watch: Arc::clone(&self.watch) }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        RealDisk.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        RealDisk.is_locked(path)
    }

    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        RealDisk.shared(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    watch: Arc<Watch>,
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch.go_on()?;
        let len = self.file.read_at(buf, offset)?;
        self.watch.has_read(len);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.watch.go_on()?;
        let len = self.file.write_at(buf, offset)?;
        self.watch.has_written(len);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.reserve(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(interrupted: bool) -> Watched {
        Watched::new(Arc::new(AtomicBool::new(interrupted)), 0)
    }

    #[test]
    fn it_is_a_disk() {
        let dir = tempfile::tempdir().unwrap();
        ironwal::storage::conformance::check(Arc::new(watched(false)), dir.path());
    }

    #[test]
    fn after_an_interrupt_nothing_is_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = watched(false).open(&path, OpenMode::Create).unwrap();
        file.write_at(b"before", 0).unwrap();
        let disk = watched(true);
        assert!(disk.open(&path, OpenMode::ReadWrite).is_err());
        let file = WatchedFile { file, watch: Arc::clone(&disk.watch) };
        assert!(file.write_at(b"after!", 0).is_err());
        assert!(file.read_at(&mut [0], 0).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }
}
