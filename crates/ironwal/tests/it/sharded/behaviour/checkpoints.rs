//! Creating, loading and listing checkpoints.

use super::*;

/// In 0.6 they miss what was not synced: single appends in two modes, and whatever was written
/// through the log below.
#[test]
fn they_hold_everything_that_was_appended() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 4).unwrap();
        let mut expected = [0; 4];
        let check = |expected: &[u64; 4], id: &str| {
            wal.create_checkpoint(id.as_bytes()).unwrap();
            let checkpoint = wal.load_checkpoint(id.as_bytes()).unwrap();
            assert_eq!(checkpoint.offsets, expected, "{mode:?} {id}");
            assert_eq!(checkpoint.shard_count, 4);
        };
        check(&expected, "nothing");
        for key in ["a", "b", "c", "d", "e"] {
            let (shard, id) = wal.append(key.as_bytes(), b"single").unwrap();
            expected[usize::from(shard)] = id + 1;
            check(&expected, key);
        }
        for (shard, id) in wal.append_batch_for_key(b"a", &[b"x", b"y"]).unwrap() {
            expected[usize::from(shard)] = id + 1;
        }
        check(&expected, "a batch");
        expected[1] = wal.inner().append("shard_01", b"from below").unwrap() + 1;
        check(&expected, "single from below");
        expected[2] = wal.inner().append_batch("shard_02", &[b"x", b"y"]).unwrap().end;
        check(&expected, "batch from below");
        // All of it survives, and counts the same.
        disk.crash();
        let wal = open(&disk, options(mode), 4).unwrap();
        for (shard, end) in (0..).zip(expected) {
            assert_eq!(wal.shard(shard).unwrap().next_id(), end, "{mode:?}");
        }
        assert_eq!(wal.load_latest_checkpoint().unwrap().1.offsets, expected);
    }
}

#[test]
fn an_id_has_1_to_65535_bytes_of_anything() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    let refuse = |wal: &ShardedWal| {
        for id in [vec![], vec![b'x'; 65_536], vec![0; 1 << 20]] {
            let before = (contents(&disk), wal.list_checkpoints());
            let error = wal.create_checkpoint(&id).unwrap_err();
            assert!(matches!(error, Error::InvalidCheckpointId(_)), "{error}");
            assert!(before == (contents(&disk), wal.list_checkpoints()));
        }
    };
    refuse(&wal);
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
    let mut good: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    good.extend([vec![b'x'; 65_535], vec![0; 65_535], vec![0xFF, 0xFE, 0], b"x\0".to_vec()]);
    for id in &good {
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(id).unwrap();
    }
    refuse(&wal);
    let check = |wal: &ShardedWal| {
        let listed: Vec<_> = wal.list_checkpoints().into_iter().map(|(id, _)| id).collect();
        assert!(listed == good);
        for (nth, id) in (1..).zip(&good) {
            assert_eq!(wal.load_checkpoint(id).unwrap().offsets.iter().sum::<u64>(), nth);
        }
        assert!(wal.load_latest_checkpoint().unwrap().0 == b"x\0");
    };
    check(&wal);
    wal.compact_checkpoints(1000).unwrap();
    wal.close().unwrap();
    check(&open(&disk, options(SyncMode::Strict), 4).unwrap());
}

#[test]
fn an_unknown_one_is_not_found() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Strict), 4).unwrap();
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
    for round in 0..2 {
        for id in ["none", "", "on", "onee", &"x".repeat(70_000)] {
            assert!(is_not_found(&wal, id), "{id:?} in round {round}");
            let pruned = wal.prune_before_checkpoint(id.as_bytes());
            assert!(matches!(pruned, Err(Error::CheckpointNotFound(_))), "{pruned:?}");
        }
        let lossy = wal.load_checkpoint(b"a\xFFb").unwrap_err();
        assert!(matches!(lossy, Error::CheckpointNotFound(id) if id == "a\u{FFFD}b"));
        wal.create_checkpoint(b"one").unwrap();
    }
}

#[test]
fn a_duplicate_replaces_and_is_the_latest() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    for id in ["a", "b", "c", "a", "c", "c"] {
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(id.as_bytes()).unwrap();
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, id.as_bytes());
    }
    let check = |wal: &ShardedWal| {
        assert_eq!(names(wal), ["b", "a", "c"]);
        let entries = |id: &[u8]| wal.load_checkpoint(id).unwrap().offsets.iter().sum::<u64>();
        assert_eq!((entries(b"a"), entries(b"b"), entries(b"c")), (4, 2, 6));
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"c");
    };
    check(&wal);
    disk.crash();
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    check(&wal);
    // Frees those that were replaced.
    let stats = wal.compact_checkpoints(3).unwrap();
    assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (3, 3));
    assert!(stats.bytes_reclaimed > 0);
    check(&wal);
    wal.close().unwrap();
    check(&open(&disk, options(SyncMode::Strict), 4).unwrap());
}

/// Clocks stand still, and go back; the order of creation counts.
#[test]
fn they_are_listed_in_the_order_of_their_creation() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(AtomicU64::new(0));
    let open = || {
        let clock = Arc::clone(&clock);
        let now = move || Duration::from_nanos(clock.load(Ordering::Relaxed));
        let environment = environment(&disk).with_clock(now);
        let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
        ShardedWal::over(wal, 2).unwrap()
    };
    let wal = open();
    let start = 1_700_000_000_123_456_789;
    let times = [start, start, start - 1, start + 5, start + 5, 7, 7, start];
    let mut expected = Vec::new();
    for (nth, time) in times.into_iter().enumerate() {
        clock.store(time, Ordering::Relaxed);
        let id = format!("{}", times.len() - nth).into_bytes();
        wal.create_checkpoint(&id).unwrap();
        assert_eq!(wal.load_checkpoint(&id).unwrap().timestamp, time);
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, id);
        expected.push((id, time));
    }
    assert_eq!(wal.list_checkpoints(), expected);
    clock.store(start / 2, Ordering::Relaxed);
    wal.close().unwrap();
    let wal = open();
    assert_eq!(wal.list_checkpoints(), expected);
    wal.compact_checkpoints(6).unwrap();
    assert_eq!(wal.list_checkpoints(), expected[2..]);
    wal.close().unwrap();
    assert_eq!(open().list_checkpoints(), expected[2..]);
}

#[test]
fn the_timestamp_is_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let wal = ShardedWal::new(WalOptions::new(dir.path()), 2).unwrap();
    wal.create_checkpoint(b"one").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let taken = Duration::from_nanos(wal.load_checkpoint(b"one").unwrap().timestamp);
    assert!(now.abs_diff(taken) < Duration::from_secs(3600), "{taken:?} is not {now:?}");
}

/// A log into which another one's entries were copied gets its checkpoints, as they were.
#[test]
fn they_can_be_imported() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 2).unwrap();
        wal.shard(0).unwrap().append_batch(&[b"a", b"b", b"c"]).unwrap();
        wal.shard(1).unwrap().append(b"d").unwrap();
        let data =
            |a, b, timestamp| CheckpointData { offsets: vec![a, b], timestamp, shard_count: 2 };
        wal.import_checkpoint(b"late", &data(2, 1, 90)).unwrap();
        wal.import_checkpoint(b"early", &data(0, 0, 40)).unwrap();
        let too_far = wal.import_checkpoint(b"far", &data(3, 2, 1)).unwrap_err();
        assert!(matches!(too_far, Error::Config(_)), "{too_far}");
        let three = CheckpointData { shard_count: 3, ..data(0, 0, 1) };
        let missing = CheckpointData { offsets: vec![0], ..data(0, 0, 1) };
        for other in [three, missing] {
            let error = wal.import_checkpoint(b"other", &other).unwrap_err();
            assert!(matches!(error, Error::ShardCountMismatch { .. }), "{error}");
        }
        let error = wal.import_checkpoint(b"", &data(0, 0, 1)).unwrap_err();
        assert!(matches!(error, Error::InvalidCheckpointId(_)), "{error}");
        // All of it survives, and with it the entries.
        disk.crash();
        let wal = open(&disk, options(mode), 2).unwrap();
        let expected = [(b"late".to_vec(), 90), (b"early".to_vec(), 40)];
        assert_eq!(wal.list_checkpoints(), expected, "{mode:?}");
        assert_eq!(wal.load_checkpoint(b"late").unwrap(), data(2, 1, 90));
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"early");
        let ends = [0, 1].map(|shard| wal.shard(shard).unwrap().next_id());
        assert_eq!(ends, [3, 1], "{mode:?}");
    }
}
