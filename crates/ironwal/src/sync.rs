//! What threads share and wait on.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

pub(crate) use atomic_wait::{wait, wake_all, wake_one};

/// Locks a mutex, whatever happened to the thread that held it before: no state of ours is left
/// half changed by a panic, for nothing under these locks can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
