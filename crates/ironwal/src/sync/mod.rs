//! What threads share and wait on: the tools of the [`system`], or those of loom.
//!
//! With `--cfg loom` the whole library is built over [`loom`], which then tries the orders of its steps
//! (`scripts/loom`). So threads share, wait on and start nothing but what comes from here. What is
//! in `storage/` is not tried: there no thread waits for another.

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod system;

// It counts, and tells nobody anything else: for a static, which outlives what loom tries, and for what
// only people look at.
pub(crate) use std::sync::atomic::AtomicU64 as ProcessCounter;
// Those of loom cannot point to a `dyn Trait`, and it has no `OnceLock`.
pub(crate) use std::sync::{Arc, OnceLock, PoisonError, Weak};

#[cfg(loom)]
pub(crate) use self::loom::*;
#[cfg(not(loom))]
pub(crate) use self::system::*;

/// Locks a mutex, whatever happened to the thread that held it before: no state of ours is left
/// half changed by a panic, for nothing under these locks can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
