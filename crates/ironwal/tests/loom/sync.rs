//! The library's `sync` as far as rounds use it, over what loom controls.
//!
//! Loom takes `SeqCst` for less than it is, and would report lost wake-ups that cannot be. A
//! read-modify-write, however, it always gives the newest value. So every `SeqCst` access is one: what
//! is explored is every order of accesses, which is what `SeqCst` means. Weaker ones are loom's own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

pub(crate) use loom::thread::yield_now;
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
        }
    };
}

atomic!(AtomicBool, bool, false);
atomic!(AtomicU32, u32, 0);
atomic!(AtomicU64, u64, 0);

impl AtomicBool {
    pub(crate) fn compare_exchange(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

impl AtomicU32 {
    pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_sub(value, order)
    }
}

impl Default for AtomicU32 {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Who sleeps on a word. Under the lock, looking at the word and going to sleep are one step, as in
/// the system.
#[derive(Default)]
struct Sleepers {
    lock: Mutex<()>,
    woken: Condvar,
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
