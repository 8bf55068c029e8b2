//! Dropping checkpoints.

use super::*;

fn create(wal: &ShardedWal, ids: std::ops::Range<u32>) {
    for nth in ids {
        wal.append(&nth.to_le_bytes(), b"entry").unwrap();
        wal.create_checkpoint(format!("c{nth}").as_bytes()).unwrap();
    }
}

#[test]
fn keeping_at_least_all_keeps_all() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    let nothing =
        CompactionStats { checkpoints_before: 0, checkpoints_after: 0, bytes_reclaimed: 0 };
    for n in [0, 1, usize::MAX] {
        assert_eq!(wal.compact_checkpoints(n).unwrap(), nothing);
    }
    create(&wal, 0..5);
    let before = contents(&disk);
    for n in [5, 6, usize::MAX] {
        let stats = wal.compact_checkpoints(n).unwrap();
        assert_eq!(stats, CompactionStats { checkpoints_before: 5, checkpoints_after: 5, ..stats });
        assert_eq!(stats.bytes_reclaimed, 0, "there is nothing to drop");
    }
    assert!(contents(&disk) == before);
    assert_eq!(names(&wal), ["c0", "c1", "c2", "c3", "c4"]);
}

#[test]
fn the_newest_are_kept() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let mut wal = open(&disk, options(mode), 4).unwrap();
        create(&wal, 0..10);
        let all: Vec<_> = wal.list_checkpoints();
        let loaded: Vec<CheckpointData> =
            all.iter().map(|(id, _)| wal.load_checkpoint(id).unwrap()).collect();
        for kept in [10, 9, 8, 5, 2, 1] {
            wal.compact_checkpoints(kept).unwrap();
            for _ in 0..2 {
                assert_eq!(wal.list_checkpoints(), all[10 - kept..], "{mode:?}");
                for (nth, (id, _)) in all.iter().enumerate() {
                    match nth < 10 - kept {
                        true => assert!(is_not_found(&wal, std::str::from_utf8(id).unwrap())),
                        false => assert_eq!(wal.load_checkpoint(id).unwrap(), loaded[nth]),
                    }
                }
                assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"c9");
                wal.close().unwrap();
                wal = open(&disk, options(mode), 4).unwrap();
            }
        }
    }
}

/// In 0.6 the latest is then an id that is not found.
#[test]
fn keeping_none_leaves_none() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    for round in 0..3 {
        create(&wal, 0..3);
        let stats = wal.compact_checkpoints(0).unwrap();
        assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (3, 0));
        assert!(stats.bytes_reclaimed > 0, "round {round}");
        for _ in 0..2 {
            assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
            assert!(is_not_found(&wal, "c2"));
            assert_eq!(names(&wal), [""; 0]);
            wal.close().unwrap();
            wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        }
    }
    create(&wal, 7..8);
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"c7");
    assert_eq!(ids_of_shards(&wal), 10);
}

/// Checkpoints come and go; the entries stay.
fn ids_of_shards(wal: &ShardedWal) -> usize {
    (0..wal.shard_count()).map(|shard| wal.iter_shard(shard, 0).unwrap().count()).sum()
}

#[test]
fn whatever_is_dropped_makes_the_log_shorter() {
    for shards in [1, 2, 16] {
        for id_len in [1, 2, 30, 1_000, 65_535] {
            for (count, keep) in [(1, 0), (2, 0), (2, 1), (3, 2), (20, 19), (20, 1), (20, 0)] {
                let what = format!("{keep} of {count}, {shards} shards, ids of {id_len}");
                let disk = SimDisk::new(1);
                let wal = open(&disk, options(SyncMode::Async), shards).unwrap();
                let id_of = |nth: u8| [&[nth][..], &vec![b'x'; id_len - 1]].concat();
                for nth in 0..count {
                    wal.create_checkpoint(&id_of(nth)).unwrap();
                }
                let used = disk.used_bytes();
                let stats = wal.compact_checkpoints(keep).unwrap();
                assert!(stats.bytes_reclaimed > 0, "{what}: {stats:?}");
                let added = disk.used_bytes().saturating_sub(used);
                assert!(added <= 8192, "{what}: {added} bytes more are used");
                // One more, and one less; then one less.
                wal.create_checkpoint(&id_of(count)).unwrap();
                let stats = wal.compact_checkpoints(keep.max(1)).unwrap();
                assert_eq!(stats.bytes_reclaimed > 0, keep > 0, "{what}: {stats:?}");
                let stats = wal.compact_checkpoints(keep.max(1) - 1).unwrap();
                assert!(stats.bytes_reclaimed > 0, "{what}: {stats:?}");
                assert_eq!(stats.checkpoints_before - stats.checkpoints_after, 1);
            }
        }
    }
}
