//! Freeing what lies before a checkpoint.

use super::*;

const NOTHING: PruneStats = PruneStats { shards_pruned: 0, segments_deleted: 0 };

#[test]
fn whole_segments_before_the_checkpoint_are_freed() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open_small(&disk, mode, 4);
        wal.create_checkpoint(b"empty").unwrap();
        fill(&wal, 0, 10);
        fill(&wal, 1, 1);
        fill(&wal, 3, 8);
        wal.create_checkpoint(b"one").unwrap();
        fill(&wal, 0, 10);
        fill(&wal, 2, 5);
        assert_eq!(wal.load_checkpoint(b"one").unwrap().offsets, [10, 1, 0, 8]);
        assert_eq!(wal.prune_before_checkpoint(b"empty").unwrap(), NOTHING);
        // Of shard 3 the newest segment is full and in the checkpoint; it stays.
        let stats = wal.prune_before_checkpoint(b"one").unwrap();
        assert_eq!(stats, PruneStats { shards_pruned: 2, segments_deleted: 3 }, "{mode:?}");
        let left = [vec![8, 12, 16], vec![0], vec![0, 4], vec![4]];
        for (shard, left) in (0..).zip(&left) {
            assert_eq!(starts(&disk, shard), *left, "{mode:?}, shard {shard}");
        }
        assert_eq!(wal.prune_before_checkpoint(b"one").unwrap(), NOTHING);
        assert_eq!(wal.prune_before_checkpoint(b"empty").unwrap(), NOTHING);
        for (shard, ids_left) in [(0, 8..20), (1, 0..1), (2, 0..5), (3, 4..8)] {
            assert_eq!(ids(&wal, shard, 0), ids_left.collect::<Vec<_>>());
        }
        // Nothing is forgotten, and ids go on.
        assert_eq!(names(&wal), ["empty", "one"]);
        assert_eq!(wal.load_checkpoint(b"one").unwrap().offsets, [10, 1, 0, 8]);
        fill(&wal, 0, 4);
        wal.create_checkpoint(b"end").unwrap();
        let stats = wal.prune_before_checkpoint(b"end").unwrap();
        assert_eq!(stats, PruneStats { shards_pruned: 2, segments_deleted: 4 });
        wal.close().unwrap();
        let wal = open_small(&disk, mode, 4);
        assert_eq!(wal.prune_before_checkpoint(b"end").unwrap(), NOTHING);
        assert_eq!(names(&wal), ["empty", "one", "end"]);
        assert_eq!(starts(&disk, 0), [20]);
        fill(&wal, 0, 1);
        assert_eq!(ids(&wal, 0, 0), [20, 21, 22, 23, 24]);
    }
}

#[test]
fn older_ones_can_be_loaded_and_not_be_replayed() {
    let disk = SimDisk::new(1);
    let wal = open_small(&disk, SyncMode::Strict, 2);
    wal.create_checkpoint(b"old").unwrap();
    fill(&wal, 1, 6);
    wal.create_checkpoint(b"new").unwrap();
    fill(&wal, 1, 6);
    wal.prune_before_checkpoint(b"new").unwrap();
    for wal in [wal.clone(), wal] {
        let old = wal.load_checkpoint(b"old").unwrap();
        assert_eq!(old.offsets, [0, 0]);
        let error = wal.replay(&old).unwrap_err();
        let Error::Pruned { stream, id: 0, first_id: 4 } = error else { panic!("{error}") };
        assert_eq!(stream, "shard_01");
        let new = wal.load_checkpoint(b"new").unwrap();
        assert_eq!(wal.replay(&new).unwrap().count(), 6);
    }
}

/// Archived segments come back through the log below. Checkpoints are not there to be kept.
#[test]
fn shards_are_archived_and_checkpoints_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("archive");
    let options = WalOptions {
        max_entries_per_segment: 4,
        archive_path: Some(archive.clone()),
        ..WalOptions::new(dir.path().join("log"))
    };
    let wal = ShardedWal::new(options.clone(), 2).unwrap();
    wal.create_checkpoint(b"begin").unwrap();
    for round in 0..5_u64 {
        fill(&wal, 1, 4);
        wal.create_checkpoint(format!("{round}").as_bytes()).unwrap();
        wal.compact_checkpoints(3).unwrap();
    }
    let stats = wal.prune_before_checkpoint(b"3").unwrap();
    assert_eq!(stats, PruneStats { shards_pruned: 1, segments_deleted: 4 });
    wal.compact_checkpoints(0).unwrap();
    wal.create_checkpoint(b"again").unwrap();
    wal.compact_checkpoints(0).unwrap();
    wal.close().unwrap();
    let wal = ShardedWal::new(options, 2).unwrap();
    let names = std::fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["shard_01"]);
    assert_eq!(ids(&wal, 1, 0), [16, 17, 18, 19]);
    assert_eq!(wal.inner().restore_archived("shard_01").unwrap(), 4);
    assert_eq!(ids(&wal, 1, 0), (0..20).collect::<Vec<_>>());
}
