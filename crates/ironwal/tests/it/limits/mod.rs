//! Every limit of the API and of the format, at it and beyond it; and directories that are not what was
//! asked for. It works, or it is an error that says what to do, and nothing is lost either way.

mod directories;
mod ids;
mod options;
mod sizes;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::{Environment, Maintenance, SyncMode, Wal, WalOptions};

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_secs(1)),
];

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, ..WalOptions::new("/log") }
}

/// One process on the simulated disk, one thread, a clock that stands still.
fn environment(disk: &SimDisk) -> Environment {
    Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_entropy(|| 7)
        .with_clock(|| Duration::from_secs(1_000))
        .with_maintenance(Maintenance::Inline)
}

/// The entries of a stream, as every way to read them has them.
fn entries(wal: &Wal, stream: &str) -> Vec<(u64, Vec<u8>)> {
    let found: Vec<_> = wal.iter_with_ids(stream, 0).unwrap().map(Result::unwrap).collect();
    let range = wal.stream(stream).unwrap().range(..);
    let backwards = range.rev().map(|entry| entry.map(|(id, bytes)| (id, bytes.to_vec())).unwrap());
    let mut backwards: Vec<_> = backwards.collect();
    backwards.reverse();
    assert!(found == backwards, "{stream}: from either end");
    for (id, bytes) in &found {
        assert!(wal.get(stream, *id).unwrap().as_ref() == Some(bytes), "{stream}: {id}");
    }
    found
}

/// Every file below `dir`, by its path in there. Directories have no content.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    fn collect(base: &Path, dir: &Path, files: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().to_path_buf();
            if path.is_dir() {
                files.insert(name, None);
                collect(base, &path, files);
            } else {
                files.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(dir, dir, &mut files);
    files
}
