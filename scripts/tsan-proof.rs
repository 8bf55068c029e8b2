//! Shows that ThreadSanitizer, set up as `scripts/tsan` does it, finds races and is silent without.
//!
//! ```text
//! tsan-proof CASE
//! ```
//!
//! Every case adds to one number from several threads. `race-*` have one too few edges between them, all
//! others are correct.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::Duration;

struct Number(UnsafeCell<u64>);

// SAFETY: none. It is what the sanitizer is to find.
unsafe impl Sync for Number {}

static NUMBER: Number = Number(UnsafeCell::new(0));

fn add() {
    // SAFETY: see above.
    unsafe { *NUMBER.0.get() += 1 }
}

fn read() {
    // SAFETY: see above.
    black_box(unsafe { *NUMBER.0.get() });
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    match case.as_str() {
        "race-none" => beside(add),
        "race-relaxed" => flag(Ordering::Relaxed, Ordering::Relaxed),
        "race-two-locks" => {
            let locks = [Mutex::new(()), Mutex::new(())];
            let started = AtomicUsize::new(0);
            let started = &started;
            thread::scope(|scope| {
                for lock in &locks {
                    scope.spawn(move || {
                        wait_for_all(started, 2);
                        for _ in 0..1000 {
                            let _guard = lock.lock().unwrap();
                            add();
                        }
                    });
                }
            });
        }
        "race-read-lock" => rwlock(|_| false),
        "flag" => flag(Ordering::Release, Ordering::Acquire),
        "join" => {
            add();
            let thread = thread::spawn(add);
            thread.join().unwrap();
            add();
        }
        "mutex" => mutex(),
        "rwlock" => rwlock(|n| n % 4 == 0),
        "condvar" => condvar(|condvar, guard| condvar.wait(guard).unwrap()),
        "condvar-timeout" => condvar(|condvar, guard| {
            condvar.wait_timeout(guard, Duration::from_millis(1)).unwrap().0
        }),
        "scope" => {
            for _ in 0..300 {
                thread::scope(|scope| _ = scope.spawn(add));
                add();
            }
        }
        "once" => once(),
        "channel" => channel(),
        "arc" => arc(),
        other => panic!("no case {other:?}"),
    }
}

/// Until so many threads have come here. It orders nothing: a thread that begins when another has ended can
/// be taken for the same one.
fn wait_for_all(started: &AtomicUsize, count: usize) {
    started.fetch_add(1, Ordering::Relaxed);
    while started.load(Ordering::Relaxed) < count {
        thread::yield_now();
    }
}

fn beside(work: fn()) {
    let thread = thread::spawn(work);
    work();
    thread.join().unwrap();
}

fn flag(release: Ordering, acquire: Ordering) {
    let is_set = AtomicBool::new(false);
    thread::scope(|scope| {
        // Letting go of a thread that has ended would order it before.
        let thread = scope.spawn(|| {
            add();
            is_set.store(true, release);
        });
        while !is_set.load(acquire) {
            thread::yield_now();
        }
        add();
        thread.join().unwrap();
    });
}

fn mutex() {
    let lock = Mutex::new(());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let _guard = lock.lock().unwrap();
                    add();
                }
            });
        }
    });
}

fn rwlock(writes: fn(u32) -> bool) {
    let (lock, started) = (RwLock::new(()), AtomicUsize::new(0));
    let (lock, started) = (&lock, &started);
    thread::scope(|scope| {
        for nth in 0..8 {
            scope.spawn(move || {
                wait_for_all(started, 8);
                for n in 0..5000 {
                    if writes(n + nth) {
                        let _guard = lock.write().unwrap();
                        add();
                    } else {
                        let _guard = lock.read().unwrap();
                        // Under a lock for readers this is a race.
                        if writes(0) { read() } else { add() }
                    }
                }
            });
        }
    });
}

type Wait = for<'a> fn(&Condvar, std::sync::MutexGuard<'a, u64>) -> std::sync::MutexGuard<'a, u64>;

fn condvar(wait: Wait) {
    let (turn, next) = (Mutex::new(0), Condvar::new());
    let (turn, next) = (&turn, &next);
    thread::scope(|scope| {
        for me in 0..4 {
            scope.spawn(move || {
                for _ in 0..2000 {
                    let mut guard = turn.lock().unwrap();
                    while *guard % 4 != me {
                        guard = wait(next, guard);
                    }
                    *guard += 1;
                    add();
                    next.notify_all();
                }
            });
        }
    });
}

fn once() {
    for _ in 0..200 {
        let once = OnceLock::new();
        let once = &once;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let value: &Box<u64> = once.get_or_init(|| {
                        add();
                        Box::new(7)
                    });
                    black_box(**value);
                    read();
                });
            }
        });
    }
}

fn channel() {
    let (sender, receiver) = mpsc::channel::<Box<u64>>();
    let thread = thread::spawn(move || receiver.iter().map(|boxed| *boxed).sum::<u64>());
    for n in 0..20_000 {
        sender.send(Box::new(n)).unwrap();
    }
    drop(sender);
    thread.join().unwrap();
}

fn arc() {
    for _ in 0..2000 {
        let shared = Arc::new(vec![1; 8]);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || black_box(shared[0]))
            })
            .collect();
        drop(shared);
        threads.into_iter().for_each(|thread| _ = thread.join().unwrap());
    }
}
