//! Checkpoints from their creation to their end.

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::{Error, SyncMode};

use super::{open, options};

#[test]
fn checkpoints_are_found_again() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
    for nth in 0..30_u64 {
        wal.append(&nth.to_le_bytes(), b"entry").unwrap();
        wal.create_checkpoint(format!("c{}", nth % 20).as_bytes()).unwrap();
    }
    let latest = wal.load_latest_checkpoint().unwrap();
    assert_eq!(latest.0, b"c9");
    assert_eq!(latest.1.offsets.iter().sum::<u64>(), 30);
    assert_eq!(wal.checkpoint_count(), 20);
    let before = wal.list_checkpoints();
    disk.crash();
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    assert_eq!(wal.list_checkpoints(), before);
    assert_eq!(wal.load_latest_checkpoint().unwrap(), latest);
    let stats = wal.compact_checkpoints(5).unwrap();
    assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (20, 5));
    assert!(stats.bytes_reclaimed > 0);
    assert_eq!(wal.list_checkpoints(), before[15..]);
    assert!(
        matches!(wal.load_checkpoint(b"c10"), Err(Error::CheckpointNotFound(id)) if id == "c10")
    );
    disk.crash();
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    assert_eq!(wal.list_checkpoints(), before[15..]);
    assert_eq!(wal.load_latest_checkpoint().unwrap(), latest);
    let stats = wal.compact_checkpoints(0).unwrap();
    assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (5, 0));
    assert!(stats.bytes_reclaimed > 0);
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
    wal.close().unwrap();
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
}

/// Each of two would have had its own idea of which checkpoints there are, and a compaction by one
/// would have dropped what the other created meanwhile.
#[test]
fn one_sharded_log_over_one_log() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 3).unwrap();
    let again = ShardedWal::over(wal.inner().clone(), 3);
    assert!(matches!(again, Err(Error::Config(why)) if why.contains("clone")));
    let clone = wal.clone();
    clone.create_checkpoint(b"one").unwrap();
    assert_eq!(wal.checkpoint_count(), 1);
    let log = wal.inner().clone();
    drop((wal, clone));
    assert_eq!(ShardedWal::over(log, 3).unwrap().checkpoint_count(), 1);
}
