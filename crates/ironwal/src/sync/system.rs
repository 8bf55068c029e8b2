//! The tools of the system: what everybody uses who does not try orders of steps.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::thread::{JoinHandle, sleep, yield_now};
pub(crate) use std::time::Instant;

pub(crate) use atomic_wait::{wait, wake_all, wake_one};

/// Starts a thread; `None`: the system gives none.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work).ok()
}

/// Does something with each item, on up to `threads_max` threads, and returns the results in order.
/// Where the system gives no thread, this one does the work.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads_max: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    let share = items.len().div_ceil(threads_max.max(1)).max(1);
    let in_order = move |items: &[T]| items.iter().map(work).collect::<Vec<R>>();
    let mut shares = items.chunks(share);
    let Some(first) = shares.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let started: Vec<_> = shares
            .map(|items| {
                let thread = std::thread::Builder::new().name("ironwal-worker".into());
                (items, thread.spawn_scoped(scope, move || in_order(items)))
            })
            .collect();
        let mut results = in_order(first);
        for (items, thread) in started {
            results.extend(match thread {
                Ok(thread) => {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                }
                Err(_) => in_order(items),
            });
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_work_keeps_the_order() {
        for (count, threads) in [(0, 4), (1, 4), (3, 4), (100, 4), (100, 1), (7, 0)] {
            let items: Vec<u32> = (0..count).collect();
            let doubled: Vec<u32> = items.iter().map(|item| item * 2).collect();
            assert_eq!(in_parallel(&items, threads, |item| item * 2), doubled);
        }
    }
}
