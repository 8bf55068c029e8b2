//! The real disk when it misbehaves, as far as a test can bring that about without a file system of its
//! own: permissions, directories that vanish, roots that are something else, processes that race for the
//! lock. What needs a file system is in `scripts/real-disks`, `scripts/full-disk` and `scripts/strace-eio`.
#![cfg(target_os = "linux")]

mod faults;
mod locking;
mod permissions;
mod roots;
mod vanishing;

use std::path::Path;
use std::time::Duration;

use ironwal::{Error, SyncMode, WalOptions};

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_millis(1)),
];

fn options(dir: &Path, sync_mode: SyncMode) -> WalOptions {
    // A few entries fill a segment.
    WalOptions { sync_mode, max_segment_size: 6000, ..WalOptions::new(dir) }
}

fn entry(id: u64) -> Vec<u8> {
    let mut entry = format!("entry {id} ").into_bytes();
    entry.resize(500, id as u8);
    entry
}

/// The error is typed, and says of which path it is.
fn assert_names(error: &Error, path: &Path) {
    let is_typed = matches!(
        error,
        Error::Io(_)
            | Error::Poisoned { .. }
            | Error::StorageFull { .. }
            | Error::Damaged { .. }
            | Error::Corruption(_)
    );
    assert!(is_typed, "{error:?}");
    let (text, path) = (error.to_string(), path.display().to_string());
    assert!(text.contains(&path), "{text} does not name {path}");
}
