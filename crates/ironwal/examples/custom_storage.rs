//! A storage of one's own: the real disk, and a count of what the log asks of it.
//!
//! `ironwal::storage::conformance` says whether it is a storage that a log can rest on.
#![allow(clippy::print_stdout)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use ironwal::storage::{
    DirEntry, File, Lock, OpenMode, RealDisk, SharedWords, Storage, WritableMap, conformance,
};
use ironwal::{Environment, Wal, WalOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    conformance::check(Arc::new(Counting::default()), tempfile::tempdir()?.path());

    let dir = tempfile::tempdir()?;
    let disk = Counting::default();
    let environment = Environment::default().with_storage(Arc::new(disk.clone()));
    let wal = Wal::open_with(WalOptions::new(dir.path()), environment)?;
    let opened = disk.counts.syncs.calls();

    for number in 0..100_u32 {
        wal.append("one by one", &number.to_le_bytes())?;
    }
    let one_by_one = disk.counts.syncs.calls();
    wal.append_batch("at once", &[&b"same"[..]; 100])?;
    let at_once = disk.counts.syncs.calls();
    wal.close()?;

    println!("{:<18}{:>8}{:>10}", "", "calls", "bytes");
    for (name, count) in disk.counts.table() {
        println!("{name:<18}{:>8}{:>10}", count.calls(), count.bytes.load(Relaxed));
    }
    println!("\n100 appends: {} syncs", one_by_one - opened);
    println!("a batch of 100: {} syncs", at_once - one_by_one);
    // Each append is on stable storage when it returns; a batch is as a whole.
    assert!(one_by_one - opened >= 100);
    assert!(at_once - one_by_one < 10);
    Ok(())
}

/// How often something was done, and with how many bytes.
#[derive(Debug, Default)]
struct Count {
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: usize) {
        self.calls.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

#[derive(Debug, Default)]
struct Counts {
    opens: Count,
    reads: Count,
    writes: Count,
    reservations: Count,
    syncs: Count,
    directory_syncs: Count,
    maps: Count,
    others: Count,
}

impl Counts {
    fn table(&self) -> [(&'static str, &Count); 8] {
        [
            ("opens", &self.opens),
            ("reads", &self.reads),
            ("writes", &self.writes),
            ("reservations", &self.reservations),
            ("syncs", &self.syncs),
            ("directory syncs", &self.directory_syncs),
            ("maps", &self.maps),
            ("others", &self.others),
        ]
    }
}

/// The real disk, counted; clones count together.
#[derive(Debug, Default, Clone)]
struct Counting {
    counts: Arc<Counts>,
}

impl Storage for Counting {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.counts.opens.add(0);
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(CountingFile { file, counts: Arc::clone(&self.counts) }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.counts.directory_syncs.add(0);
        RealDisk.sync_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.counts.others.add(0);
        RealDisk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.counts.others.add(0);
        RealDisk.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.counts.others.add(0);
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.counts.others.add(0);
        RealDisk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.counts.others.add(0);
        RealDisk.remove_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.counts.others.add(0);
        RealDisk.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.counts.others.add(0);
        RealDisk.is_locked(path)
    }

    // These two, and `File::map`, have defaults, which say that there is no such thing.

    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        let words = RealDisk.share(path, count)?;
        self.counts.maps.add(words.count() * size_of::<u64>());
        Ok(words)
    }

    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        let words = RealDisk.shared(path)?;
        self.counts.maps.add(words.count() * size_of::<u64>());
        Ok(words)
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    counts: Arc<Counts>,
}

impl File for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.file.read_at(buf, offset)?;
        self.counts.reads.add(count);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let count = self.file.write_at(buf, offset)?;
        self.counts.writes.add(count);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        self.counts.others.add(0);
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.counts.others.add(0);
        self.file.set_len(len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.counts.reservations.add(usize::try_from(len).unwrap_or(usize::MAX));
        self.file.reserve(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.add(0);
        self.file.sync()
    }

    fn map(&self, len: u64) -> io::Result<Option<Bytes>> {
        let map = self.file.map(len)?;
        self.counts.maps.add(map.as_ref().map_or(0, Bytes::len));
        Ok(map)
    }

    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        self.file.map_writable(len)
    }
}
