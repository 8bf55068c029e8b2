//! A simulated disk with something of the test's own in the way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use ironwal::storage::{
    DirEntry, File, Lock, OpenMode, SharedWords, SimDisk, Storage, WritableMap,
};

type Hook = Arc<dyn Fn() + Send + Sync>;
type PathHook = Arc<dyn Fn(&Path) + Send + Sync>;

/// Calls hooks around the calls of a simulated disk.
#[derive(Clone)]
pub(crate) struct Hooked {
    inner: SimDisk,
    path: fn(&Path) -> PathBuf,
    after_read: Hook,
    after_list: Hook,
    before_sync: Hook,
    after_sync: Hook,
    before_sync_dir: Hook,
    syncs_lie: bool,
    maps_fail: bool,
    /// How many files can still be mapped to be written to.
    maps_left: Arc<AtomicU32>,
    before_remove: PathHook,
    after_create_dir: Hook,
}

impl Hooked {
    /// A process on this disk, without any hooks.
    pub(crate) fn new(disk: &SimDisk) -> Self {
        let nothing: Hook = Arc::new(|| {});
        Self {
            inner: disk.process(),
            path: Path::to_path_buf,
            after_read: Arc::clone(&nothing),
            after_list: Arc::clone(&nothing),
            before_sync: Arc::clone(&nothing),
            after_sync: Arc::clone(&nothing),
            syncs_lie: false,
            maps_fail: false,
            maps_left: Arc::new(AtomicU32::new(u32::MAX)),
            before_sync_dir: Arc::clone(&nothing),
            after_create_dir: nothing,
            before_remove: Arc::new(|_| {}),
        }
    }

    /// Uses other paths.
    pub(crate) fn with_paths(self, path: fn(&Path) -> PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Calls this after each read; mapping a file reads it.
    pub(crate) fn after_read(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { after_read: Arc::new(hook), ..self }
    }

    /// Calls this after each look at what is in a directory.
    pub(crate) fn after_list(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { after_list: Arc::new(hook), ..self }
    }

    /// Calls this before each sync of a file.
    pub(crate) fn before_sync(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { before_sync: Arc::new(hook), ..self }
    }

    /// Calls this after each sync of a file.
    pub(crate) fn after_sync(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { after_sync: Arc::new(hook), ..self }
    }

    /// Syncs of files do nothing and say `Ok`.
    pub(crate) fn with_syncs_that_lie(self) -> Self {
        Self { syncs_lie: true, ..self }
    }

    /// Memory to write to cannot be made ready.
    pub(crate) fn with_maps_that_fail(self) -> Self {
        Self { maps_fail: true, ..self }
    }

    /// So many files can be mapped to be written to, and no more.
    pub(crate) fn with_maps(self, count: u32) -> Self {
        Self { maps_left: Arc::new(AtomicU32::new(count)), ..self }
    }

    /// Calls this before each sync of a directory.
    pub(crate) fn before_sync_dir(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { before_sync_dir: Arc::new(hook), ..self }
    }

    /// Calls this after each directory that was made.
    pub(crate) fn after_create_dir(self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self { after_create_dir: Arc::new(hook), ..self }
    }

    /// Calls this before each removal of a file.
    pub(crate) fn before_remove(self, hook: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        Self { before_remove: Arc::new(hook), ..self }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hooked").field(&self.inner).finish()
    }
}

impl Storage for Hooked {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.inner.open(&(self.path)(path), mode)?;
        Ok(Arc::new(HookedFile { file, disk: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.inner.list(&(self.path)(dir));
        (self.after_list)();
        entries
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(&(self.path)(dir))?;
        (self.after_create_dir)();
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(&(self.path)(from), &(self.path)(to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        (self.before_remove)(path);
        self.inner.remove_file(&(self.path)(path))
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir(&(self.path)(dir))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        (self.before_sync_dir)();
        self.inner.sync_dir(&(self.path)(dir))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(&(self.path)(path))
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(&(self.path)(path))
    }
    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        self.inner.share(&(self.path)(path), count)
    }
    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        self.inner.shared(&(self.path)(path))
    }
}

#[derive(Debug)]
struct HookedFile {
    file: Arc<dyn File>,
    disk: Hooked,
}

impl File for HookedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buf, offset);
        (self.disk.after_read)();
        read
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
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
        (self.disk.before_sync)();
        let synced = if self.disk.syncs_lie { Ok(()) } else { self.file.sync() };
        (self.disk.after_sync)();
        synced
    }
    fn map(&self, len: u64) -> io::Result<Option<Bytes>> {
        let map = self.file.map(len);
        (self.disk.after_read)();
        map
    }
    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        if self.disk.maps_fail {
            return Ok(Some(Box::new(NoMemory)));
        }
        match self
            .disk
            .maps_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        {
            Ok(_) => self.file.map_writable(len),
            Err(_) => Ok(None),
        }
    }
}

#[derive(Debug)]
struct NoMemory;

impl WritableMap for NoMemory {
    fn prepare(&mut self, _start: u64, _end: u64) -> io::Result<()> {
        Err(io::Error::other("no memory"))
    }
    fn store(&mut self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        panic!("a store into memory that was not made ready")
    }
}
