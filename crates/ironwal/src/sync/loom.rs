//! The same tools over loom: what threads do with them is under its control.
//!
//! `tests/loom.rs` includes this file too, beside `commit/rounds.rs`.
//!
//! Loom takes `SeqCst` for less than it is, and would report lost wake-ups that cannot be. A
//! read-modify-write, however, it always gives the newest value. So every `SeqCst` access is one: what
//! is explored is every order of accesses, which is what `SeqCst` means. Weaker ones are loom's own.

// Not every atomic is used in every way, and the rounds alone use little of this.
#![allow(dead_code)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LockResult};
use std::time::Duration;

pub(crate) use loom::sync::atomic::fence;
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock};
pub(crate) use loom::thread::{JoinHandle, yield_now};
pub(crate) use std::sync::atomic::Ordering;

macro_rules! atomic {
    ($name:ident, $value:ty, $zero:expr) => {
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                match order {
                    Ordering::SeqCst => self.0.fetch_or($zero, order),
                    _ => self.0.load(order),
                }
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                match order {
                    Ordering::SeqCst => drop(self.0.swap(value, order)),
                    _ => self.0.store(value, order),
                }
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, success, failure)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new($zero)
            }
        }
    };
}

macro_rules! counter {
    ($name:ident, $value:ty) => {
        atomic!($name, $value, 0);

        impl $name {
            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_add(value, order)
            }

            pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_sub(value, order)
            }

            pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_max(value, order)
            }

            pub(crate) fn fetch_min(&self, value: $value, order: Ordering) -> $value {
                self.0.fetch_min(value, order)
            }
        }
    };
}

atomic!(AtomicBool, bool, false);
counter!(AtomicU32, u32);
counter!(AtomicU64, u64);
counter!(AtomicUsize, usize);

/// One whose waits never time out: whoever is forgotten sleeps for ever, and loom says so.
#[derive(Debug, Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _pause: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        Ok((self.0.wait(guard).unwrap(), ()))
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        _pause: Duration,
        condition: impl Fn(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        while condition(&mut guard) {
            guard = self.0.wait(guard).unwrap();
        }
        Ok((guard, ()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Who sleeps on a word. Under the lock, looking at the word and going to sleep are one step, as in
/// the system.
#[derive(Default)]
struct Sleepers {
    lock: Mutex<()>,
    woken: loom::sync::Condvar,
}

type Words = std::sync::Mutex<BTreeMap<usize, Arc<Sleepers>>>;

loom::lazy_static! {
    /// By the address of the word; anew for each order that is tried.
    static ref WORDS: Words = Words::default();
}

fn sleepers(word: *const AtomicU32) -> Arc<Sleepers> {
    Arc::clone(WORDS.lock().unwrap().entry(word.addr()).or_default())
}

pub(crate) fn wait(word: &AtomicU32, seen: u32) {
    let sleepers = sleepers(word);
    let guard = sleepers.lock.lock().unwrap();
    if word.load(Ordering::SeqCst) == seen {
        drop(sleepers.woken.wait(guard).unwrap());
    }
}

pub(crate) fn wake_one(word: *const AtomicU32) {
    let sleepers = sleepers(word);
    let _guard = sleepers.lock.lock().unwrap();
    sleepers.woken.notify_one();
}

pub(crate) fn wake_all(word: *const AtomicU32) {
    let sleepers = sleepers(word);
    let _guard = sleepers.lock.lock().unwrap();
    sleepers.woken.notify_all();
}

/// A clock on which each look is later than the one before, so that what waits for a time ends, and
/// the same order of steps takes the same time.
#[derive(Debug)]
pub(crate) struct Instant(Cell<u64>);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.set(self.0.get() + 200);
        Duration::from_micros(self.0.get())
    }
}

/// Loom knows no time: whoever sleeps lets the others go on.
pub(crate) fn sleep(_pause: Duration) {
    yield_now();
}

/// What loom gives a thread, 32 KiB, is too little to open a log.
const STACK_LEN: usize = 1 << 20;

/// Starts a thread.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    loom::thread::Builder::new().name(name.into()).stack_size(STACK_LEN).spawn(work).ok()
}

/// Does something with each item, one after the other: loom has no threads that borrow.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    _threads_max: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    items.iter().map(work).collect()
}
