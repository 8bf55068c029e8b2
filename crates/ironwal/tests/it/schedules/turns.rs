//! A simulated disk whose calls take turns: a seed says which of the threads that are at one goes on.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fastrand::Rng;
use ironwal::storage::{
    DirEntry, File, Lock, OpenMode, SharedWords, SimDisk, Storage, WritableMap,
};

/// How often those that wait yield at most before one of them is let go although others may be on
/// their way, who wait for a lock, or for an append of somebody who is at a call.
const YIELDS_MAX: u32 = 8;

thread_local! {
    /// The number of this thread, for choices not to depend on who arrives first.
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Gives this thread its number.
pub(super) fn set_number(number: usize) {
    NUMBER.set(number);
}

/// Lets one thread at a time make a call. Clones share it.
///
/// Only threads that are at a call are candidates. One that holds a lock while it waits for its turn
/// gets it in the end, for whoever waits for the lock is no candidate.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    inner: SimDisk,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug)]
struct Queue {
    rng: Rng,
    /// Who waits: the number of the thread, and of the call.
    waiting: Vec<(usize, u64)>,
    calls: u64,
    /// The call that is being made.
    turn: Option<u64>,
    /// How often somebody may still yield, unless somebody arrives.
    yields: u32,
    /// How many threads there are that may make calls, at least.
    threads: usize,
    /// Calls are made as they come.
    is_off: bool,
}

impl Turns {
    /// A process on this disk. `threads` threads will make calls.
    pub(super) fn new(disk: &SimDisk, seed: u64, threads: usize) -> Self {
        let queue = Queue {
            rng: Rng::with_seed(seed),
            waiting: Vec::new(),
            calls: 0,
            turn: None,
            yields: 0,
            threads,
            is_off: true,
        };
        Self { inner: disk.process(), queue: Arc::new(Mutex::new(queue)) }
    }

    /// From now on calls take turns, or not.
    pub(super) fn switch(&self, on: bool) {
        self.change(|queue| queue.is_off = !on);
    }

    /// One of the threads is done.
    pub(super) fn leave(&self) {
        self.change(|queue| queue.threads -= 1);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        let number = self.change(|queue| queue.arrive());
        while !self.change(|queue| queue.is_off || queue.is_turn_of(number)) {
            std::thread::yield_now();
        }
        let result = call();
        self.change(|queue| queue.depart(number));
        result
    }
}

impl Queue {
    fn arrive(&mut self) -> u64 {
        self.calls += 1;
        self.yields = self.rng.u32(..=YIELDS_MAX);
        self.waiting.push((NUMBER.get(), self.calls));
        self.calls
    }

    fn is_turn_of(&mut self, call: u64) -> bool {
        if self.turn.is_none() {
            if self.waiting.len() >= self.threads || self.yields == 0 {
                self.waiting.sort_unstable();
                self.turn = self.rng.choice(&self.waiting).map(|(_, call)| *call);
            } else {
                self.yields -= 1;
            }
        }
        self.turn == Some(call)
    }

    fn depart(&mut self, call: u64) {
        self.waiting.retain(|(_, waiting)| *waiting != call);
        self.yields = self.rng.u32(..=YIELDS_MAX);
        if self.turn == Some(call) {
            self.turn = None;
        }
    }
}

impl Storage for Turns {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.call(|| self.inner.open(path, mode))?;
        Ok(Arc::new(TurnsFile { file, disk: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(|| self.inner.list(dir))
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(|| self.inner.create_dir(dir))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| self.inner.rename(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|| self.inner.remove_file(path))
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(|| self.inner.remove_dir(dir))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(|| self.inner.sync_dir(dir))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.call(|| self.inner.lock(path))
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call(|| self.inner.is_locked(path))
    }
    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        self.call(|| self.inner.share(path, count))
    }
    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        self.call(|| self.inner.shared(path))
    }
}

#[derive(Debug)]
struct TurnsFile {
    file: Arc<dyn File>,
    disk: Turns,
}

impl File for TurnsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call(|| self.file.read_at(buf, offset))
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.call(|| self.file.write_at(buf, offset))
    }
    fn len(&self) -> io::Result<u64> {
        self.disk.call(|| self.file.len())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call(|| self.file.set_len(len))
    }
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.disk.call(|| self.file.reserve(offset, len))
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.call(|| self.file.sync())
    }
    fn map(&self, len: u64) -> io::Result<Option<Bytes>> {
        self.disk.call(|| self.file.map(len))
    }
    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        self.disk.call(|| self.file.map_writable(len))
    }
}
