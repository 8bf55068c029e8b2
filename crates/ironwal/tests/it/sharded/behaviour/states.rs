//! Closed logs, and full disks.

use super::*;

#[test]
fn a_closed_log_refuses_everything() {
    for is_read_only in [false, true] {
        let disk = SimDisk::new(1);
        let mut wal = open_small(&disk, SyncMode::Async, 2);
        fill(&wal, 0, 9);
        wal.create_checkpoint(b"one").unwrap();
        let checkpoint = wal.load_checkpoint(b"one").unwrap();
        wal.append(b"key", b"entry").unwrap();
        if is_read_only {
            wal.close().unwrap();
            let inner = Wal::open_read_only_with(options(SyncMode::Async), environment(&disk));
            wal = ShardedWal::over(inner.unwrap(), 2).unwrap();
        }
        let mut replay = wal.replay(&checkpoint).unwrap();
        let clone = wal.clone();
        clone.close().unwrap();
        wal.close().unwrap();
        let refusals = [
            wal.append(b"key", b"entry").err(),
            wal.append(b"another", b"entry").err(),
            wal.append_batch(&[(vec![1], vec![2])]).err(),
            wal.append_batch(&[]).err(),
            wal.append_batch_for_key(b"key", &[b"entry"]).err(),
            wal.append_batch_for_key(b"key", &[]).err(),
            wal.append_batch_single_key(b"key", &[b"entry"]).err(),
            wal.create_checkpoint(b"two").err(),
            wal.load_checkpoint(b"one").err(),
            wal.load_checkpoint(b"none").err(),
            wal.load_latest_checkpoint().err(),
            wal.iter_shard(0, 0).err(),
            wal.iter_shard_with_ids(1, 0).err(),
            wal.prune_before_checkpoint(b"one").err(),
            wal.compact_checkpoints(0).err(),
            wal.compact_checkpoints(1).err(),
            wal.compact_checkpoints(2).err(),
            wal.flush_shard(0).err(),
            wal.flush_all().err(),
            wal.shard(0).err(),
            wal.replay(&checkpoint).err(),
            replay.next().and_then(Result::err),
            ShardedWal::over(wal.inner().clone(), 2).err(),
        ];
        for (nth, refusal) in refusals.into_iter().enumerate() {
            assert!(matches!(refusal, Some(Error::Closed)), "{nth}: {refusal:?}");
        }
        assert_eq!((wal.shard_count(), wal.route(b"key") < 2), (2, true));
        assert_eq!(wal.checkpoint_count(), wal.list_checkpoints().len());
    }
}

#[test]
fn a_full_disk_can_be_pruned_and_takes_checkpoints_again() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open_small(&disk, mode, 2);
        fill(&wal, 0, 200);
        wal.create_checkpoint(b"before").unwrap();
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used));
        // What is reserved can be used up.
        let long = |nth: u32| format!("{nth} {}", "x".repeat(60_000));
        let error = (0..100).find_map(|nth| {
            let error = wal.create_checkpoint(long(nth).as_bytes()).err()?;
            Some((nth, error))
        });
        let (refused, error) = error.expect("the disk is full");
        assert!(matches!(error, Error::StorageFull { .. }), "{mode:?}: {error}");
        assert!(is_not_found(&wal, &long(refused)));
        assert_eq!(wal.checkpoint_count() as u32, refused + 1);
        let error = (0..100).find_map(|_| wal.append_batch_for_key(b"key", &[&[7; 9_000]]).err());
        assert!(matches!(error, Some(Error::StorageFull { .. })), "{mode:?}: {error:?}");

        let stats = wal.prune_before_checkpoint(b"before").unwrap();
        assert_eq!(stats.shards_pruned, 1, "{mode:?}");
        assert!(stats.segments_deleted > 40, "{stats:?}");
        wal.create_checkpoint(long(refused).as_bytes()).unwrap();
        wal.append(b"key", b"there is room").unwrap();
        let latest = wal.load_latest_checkpoint().unwrap();
        assert!(latest.0 == long(refused).into_bytes());
        disk.crash();
        let wal = open_small(&disk, mode, 2);
        assert!(wal.load_latest_checkpoint().unwrap() == latest);
    }
}

/// Without room for a copy of what is kept, all of it stays; to drop all takes no room.
#[test]
fn a_compaction_on_a_full_disk_has_been_done_or_has_not() {
    let disk = SimDisk::new(1);
    let wal = open_small(&disk, SyncMode::Strict, 2);
    let id = |nth: u32| format!("{nth} {}", "x".repeat(60_000));
    (0..20).for_each(|nth| wal.create_checkpoint(id(nth).as_bytes()).unwrap());
    let all = wal.list_checkpoints();
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    for _ in 0..3 {
        let error = wal.compact_checkpoints(19).unwrap_err();
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        assert!(wal.list_checkpoints() == all);
        assert!(disk.used_bytes() <= used);
    }
    disk.configure(|config| config.capacity = None);
    wal.create_checkpoint(b"there is room").unwrap();
    let wal = {
        wal.close().unwrap();
        open_small(&disk, SyncMode::Strict, 2)
    };
    assert_eq!(wal.list_checkpoints()[..20], all);
    assert_eq!(wal.compact_checkpoints(19).unwrap().checkpoints_after, 19);
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"there is room");
}
