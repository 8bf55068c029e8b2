//! Checkpoints from their creation to their end.

use ironwal::sharded::CheckpointData;
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

/// What was appended anew to a shard that had been deleted was passed over without a word.
#[test]
fn a_replay_without_gaps_or_an_error() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 2).unwrap();
    let all = |checkpoint| wal.replay(checkpoint).map(|all| all.map(Result::unwrap).count());
    let beginning = CheckpointData::beginning(2);
    assert_eq!(all(&beginning).unwrap(), 0);
    for nth in 0..100_u64 {
        wal.append(&nth.to_le_bytes(), b"entry").unwrap();
    }
    wal.create_checkpoint(b"one").unwrap();
    let one = wal.load_checkpoint(b"one").unwrap();
    wal.append(b"key", b"behind").unwrap();
    assert_eq!((all(&beginning).unwrap(), all(&one).unwrap()), (101, 1));

    let shard = wal.shard(0).unwrap();
    shard.truncate_before(one.offsets[0] + 1).unwrap();
    let pruned = all(&beginning);
    assert!(matches!(pruned, Err(Error::Pruned { stream, id: 0, .. }) if stream == "shard_00"));
    wal.inner().delete_stream("shard_01").unwrap();
    assert!(matches!(all(&one), Err(Error::Corruption(_)) | Err(Error::Pruned { .. })));
    wal.inner().delete_stream("shard_00").unwrap();
    let lost = all(&one);
    assert!(matches!(lost, Err(Error::Corruption(why)) if why.contains("shard 0 ends at id 0")));
    let other = CheckpointData::beginning(3);
    assert!(matches!(all(&other), Err(Error::ShardCountMismatch { expected: 2, found: 3 })));
}

#[test]
fn a_copied_checkpoint_is_what_it_was() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    wal.inner().begin_stream("shard_01", 40).unwrap();
    for nth in 0..30_u64 {
        wal.append(&nth.to_le_bytes(), b"entry").unwrap();
    }
    let copied = CheckpointData { offsets: vec![1, 39, 0], timestamp: 77, shard_count: 3 };
    wal.import_checkpoint(b"old", &copied).unwrap();
    let beyond = CheckpointData { offsets: vec![0, 0, 31], ..copied.clone() };
    assert!(matches!(wal.import_checkpoint(b"beyond", &beyond), Err(Error::Config(_))));
    for offsets in [vec![0; 2], vec![0; 4]] {
        let other = CheckpointData { offsets, ..copied.clone() };
        let refused = wal.import_checkpoint(b"other", &other);
        assert!(matches!(refused, Err(Error::ShardCountMismatch { .. })), "{refused:?}");
    }
    disk.crash();
    let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
    assert_eq!(wal.list_checkpoints(), [(b"old".to_vec(), 77)]);
    assert_eq!(wal.load_latest_checkpoint().unwrap(), (b"old".to_vec(), copied.clone()));
    assert_eq!(wal.inner().stream("shard_01").unwrap().first_id(), 40);
    assert!(matches!(wal.replay(&copied), Err(Error::Pruned { id: 39, first_id: 40, .. })));
}
