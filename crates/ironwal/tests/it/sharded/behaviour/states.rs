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

/// Without room for copies of all that is kept, nothing is dropped; with it, all is as it should be.
#[test]
fn a_compaction_on_a_full_disk_has_been_done_or_has_not() {
    let (mut done, mut refused, mut taken_back) = (0, 0, 0);
    for room in 0..40 {
        let disk = SimDisk::new(1);
        let wal = open_small(&disk, SyncMode::Strict, 2);
        let id = |nth: u32| format!("{nth} {}", "x".repeat(60_000));
        (0..40).for_each(|nth| wal.create_checkpoint(id(nth).as_bytes()).unwrap());
        let all = wal.list_checkpoints();
        // A compaction begins by giving back what is reserved beyond the end.
        let used = disk.used_bytes();
        let capacity = used + room * 64 * 1024 - (1 << 20);
        disk.configure(|config| config.capacity = Some(capacity));
        let left = match wal.compact_checkpoints(39) {
            Ok(stats) => {
                done += 1;
                assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (40, 39));
                &all[1..]
            }
            Err(Error::StorageFull { .. }) => {
                refused += 1;
                // Or nobody else would have any space either. Not if there is none to cut them off.
                taken_back += usize::from(disk.used_bytes() < used - (1 << 19));
                &all[..]
            }
            Err(error) => panic!("{error}"),
        };
        assert!(wal.list_checkpoints() == left, "{room}");
        disk.configure(|config| config.capacity = None);
        // What is left of a compaction that was not completed counts for nothing.
        wal.create_checkpoint(b"there is room").unwrap();
        wal.close().unwrap();
        let wal = open_small(&disk, SyncMode::Strict, 2);
        assert!(wal.list_checkpoints()[..left.len()] == *left, "{room}");
        assert_eq!(wal.compact_checkpoints(3).unwrap().checkpoints_after, 3);
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"there is room");
        assert!(files_in(&disk, "/log/.checkpoints").len() == 1, "{room}");
    }
    assert!(done > 5 && refused > 10, "{done} {refused}");
    assert!(taken_back + 5 > refused, "{taken_back} of {refused}");
}

/// A shard that could not be made durable is in no checkpoint; and a checkpoint whose sync failed
/// cannot be loaded, whatever is on the disk.
#[test]
fn after_a_failed_sync_there_is_no_checkpoint() {
    for mode in MODES {
        // The syncs of two shards, unless they are durable, and that of the checkpoint.
        let syncs = if mode == SyncMode::Strict { 1 } else { 3 };
        for failing in 1..=syncs {
            let disk = SimDisk::new(1);
            let wal = open_small(&disk, mode, 2);
            fill(&wal, 0, 1);
            fill(&wal, 1, 1);
            wal.create_checkpoint(b"before").unwrap();
            fill(&wal, 0, 1);
            fill(&wal, 1, 1);
            disk.fail_nth(CallKind::Sync, failing, std::io::ErrorKind::Other);
            let error = wal.create_checkpoint(b"failed").unwrap_err();
            assert!(matches!(error, Error::Io(_)), "{error}");
            assert!(is_not_found(&wal, "failed"));
            let again = wal.create_checkpoint(b"again").unwrap_err();
            assert!(matches!(again, Error::Poisoned { .. }), "{again}");
            assert_eq!(names(&wal), ["before"]);
            assert_eq!(wal.load_latest_checkpoint().unwrap().1.offsets, [1, 1]);
            drop(wal);
            disk.crash();
            let wal = open_small(&disk, mode, 2);
            assert_eq!(wal.list_checkpoints()[0].0, b"before");
            assert!(is_not_found(&wal, "again"));
            wal.create_checkpoint(b"after").unwrap();
            let offsets = wal.load_checkpoint(b"after").unwrap().offsets;
            let ends = [0, 1].map(|shard| wal.shard(shard).unwrap().next_id());
            assert_eq!(offsets, ends, "{mode:?}, sync {failing}");
        }
    }
}

#[test]
fn a_batch_that_fails_at_a_shard_has_not_reached_the_next() {
    let disk = SimDisk::new(1);
    let environment = environment(&disk).with_journal(ironwal::Journal::Off);
    let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
    let wal = ShardedWal::over(wal, 5).unwrap();
    let batch: Vec<_> = (0..40_u8).map(|key| (vec![key], vec![key])).collect();
    wal.append_batch(&batch).unwrap();
    let ends = || [0, 1, 2, 3, 4].map(|shard| wal.shard(shard).unwrap().next_id());
    let before = ends();
    disk.fail_nth(CallKind::Sync, 3, std::io::ErrorKind::Other);
    let error = wal.append_batch(&batch).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    let [a, b, rest @ ..] = before;
    assert_eq!(ends()[..2], [2 * a, 2 * b]);
    assert_eq!(ends()[2..], rest);
    // The others go on.
    let error = wal.append_batch(&batch).unwrap_err();
    assert!(matches!(error, Error::Poisoned { stream, .. } if stream == "shard_02"));
    assert_eq!(ends()[..2], [3 * a, 3 * b]);
}

/// With the journal there is one sync for all shards, and so one outcome.
#[test]
fn a_batch_that_fails_in_the_journal_has_reached_no_shard() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 5).unwrap();
    let batch: Vec<_> = (0..40_u8).map(|key| (vec![key], vec![key])).collect();
    wal.append_batch(&batch).unwrap();
    let ends = || [0, 1, 2, 3, 4].map(|shard| wal.shard(shard).unwrap().next_id());
    let before = ends();
    disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
    let error = wal.append_batch(&batch).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    assert_eq!(ends(), before);
    // Nothing goes on: nobody knows what the journal holds.
    for key in 0..40 {
        let error = wal.append(&[key], b"more").unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    }
    assert_eq!(ends(), before);
}
