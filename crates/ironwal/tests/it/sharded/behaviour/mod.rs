//! What programs written for `ironwal::sharded` of 0.6 rely on, point by point; and where 0.7 does
//! something else on purpose. `docs/compat.md` has the reasons.

mod checkpoints;
mod compacting;
mod damage;
mod opening;
mod pruning;
mod reading_only;
mod replaying;
mod shards;
mod states;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::sharded::{CheckpointData, CompactionStats, PruneStats, ShardedWal};
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Error, Result, SyncMode, Wal, WalOptions};

use super::{MODES, environment, open, options};

/// Opens a log with segments of four entries.
fn open_small(disk: &SimDisk, mode: SyncMode, shard_count: u16) -> ShardedWal {
    open(disk, small_segments(mode), shard_count).unwrap()
}

fn small_segments(mode: SyncMode) -> WalOptions {
    WalOptions { max_entries_per_segment: 4, ..options(mode) }
}

/// Appends `count` entries to a shard, whose text says which they are.
fn fill(wal: &ShardedWal, shard: u16, count: u64) {
    let stream = wal.shard(shard).unwrap();
    for _ in 0..count {
        let id = stream.next_id();
        assert_eq!(stream.append(format!("{shard}/{id}").as_bytes()).unwrap(), id);
    }
}

/// The ids in a shard from `start` on, whose entries must be those of [`fill`].
fn ids(wal: &ShardedWal, shard: u16, start: u64) -> Vec<u64> {
    let entries = wal.iter_shard_with_ids(shard, start).unwrap().map(Result::unwrap);
    let ids = entries.map(|(id, entry)| {
        assert_eq!(entry, format!("{shard}/{id}").into_bytes());
        id
    });
    let ids: Vec<u64> = ids.collect();
    assert_eq!(wal.iter_shard(shard, start).unwrap().count(), ids.len());
    ids
}

fn names(wal: &ShardedWal) -> Vec<String> {
    let ids = wal.list_checkpoints().into_iter().map(|(id, _)| String::from_utf8(id).unwrap());
    let ids: Vec<String> = ids.collect();
    assert_eq!(wal.checkpoint_count(), ids.len());
    ids
}

fn is_not_found(wal: &ShardedWal, id: &str) -> bool {
    matches!(wal.load_checkpoint(id.as_bytes()), Err(Error::CheckpointNotFound(name)) if name == id)
}

/// Everything on a disk but what is for the processes that are there.
fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let of_processes = |path: &PathBuf| {
        ["/log/.ironwal.lock", "/log/.ironwal.watermark"]
            .iter()
            .any(|other| path == Path::new(other))
    };
    let files = disk.files().into_iter().filter(|path| !of_processes(path));
    files.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

/// The names of files below a directory.
fn files_in(disk: &SimDisk, dir: &str) -> Vec<String> {
    let files = disk.files().into_iter();
    let inside = files.filter_map(|path| Some(path.strip_prefix(dir).ok()?.to_path_buf()));
    inside.map(|path| path.to_str().unwrap().to_string()).collect()
}

/// The first ids of the segment files of a shard.
fn starts(disk: &SimDisk, shard: u16) -> Vec<u64> {
    let names = files_in(disk, &format!("/log/shard_{shard:02}"));
    names.iter().map(|name| name.strip_suffix(".wal").unwrap().parse().unwrap()).collect()
}
