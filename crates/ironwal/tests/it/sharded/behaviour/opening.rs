//! What can be opened, and what is refused.

use super::*;

fn open_plain(disk: &SimDisk) -> Wal {
    Wal::open_with(options(SyncMode::Strict), environment(disk)).unwrap()
}

/// What `work` says, which must be an error of configuration; and it must change nothing.
fn refused(disk: &SimDisk, work: impl FnOnce() -> Result<ShardedWal>) -> String {
    let before = contents(disk);
    match work() {
        Err(Error::Config(text)) => {
            assert!(contents(disk) == before, "something was changed");
            text
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_must_be_a_shard() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    let error = ShardedWal::new(WalOptions::new(&root), 0).unwrap_err();
    assert_eq!(error.to_string(), "Configuration Error: shard_count must be greater than zero");
    assert!(matches!(error, Error::Config(_)));
    assert!(!root.exists());
    let wal = Wal::new(WalOptions::new(&root)).unwrap();
    let error = ShardedWal::over(wal.clone(), 0).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert_eq!(wal.shard_count(), None);
}

#[test]
fn as_many_shards_as_there_can_be_are_no_files_until_they_are_written() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), u16::MAX).unwrap();
    assert_eq!(wal.shard_count(), u16::MAX);
    assert!(disk.calls_total() < 100, "{} calls", disk.calls_total());
    assert!(files_in(&disk, "/log").iter().all(|name| name.starts_with(".ironwal")));
    let (shard, id) = wal.append(b"key", b"entry").unwrap();
    assert_eq!(id, 0);
    wal.flush_all().unwrap();
    wal.create_checkpoint(b"one").unwrap();
    let checkpoint = wal.load_checkpoint(b"one").unwrap();
    assert_eq!((checkpoint.offsets.len(), checkpoint.shard_count), (65_535, 65_535));
    assert_eq!(checkpoint.offsets.iter().sum::<u64>(), 1);
    assert_eq!(checkpoint.offsets[usize::from(shard)], 1);
    assert_eq!(wal.replay(&checkpoint).unwrap().count(), 0);
    assert_eq!(wal.prune_before_checkpoint(b"one").unwrap().shards_pruned, 0);
    let dirs = disk.calls(CallKind::CreateDir);
    assert_eq!(dirs, 3, "the root, the shard, and the log of checkpoints");
    wal.close().unwrap();
    let before = disk.calls_total();
    let wal = open(&disk, options(SyncMode::Strict), u16::MAX).unwrap();
    assert!(disk.calls_total() - before < 200, "{} calls", disk.calls_total() - before);
    assert_eq!(wal.load_latest_checkpoint().unwrap().1, checkpoint);
    assert_eq!(wal.inner().streams(), [format!("shard_{shard:02}")]);
}

/// 0.6 opens it, and finds keys in other shards than those where they are.
#[test]
fn another_number_of_shards_is_refused() {
    for is_written in [false, true] {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        if is_written {
            wal.append(b"key", b"entry").unwrap();
            wal.create_checkpoint(b"one").unwrap();
        }
        wal.close().unwrap();
        let before = contents(&disk);
        for other in [1, 3, 5, u16::MAX] {
            let error = open(&disk, options(SyncMode::Strict), other).unwrap_err();
            assert!(
                matches!(error, Error::ShardCountMismatch { expected, found: 4 } if expected == other),
                "{error}"
            );
            assert!(contents(&disk) == before, "something was changed");
        }
        let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        assert_eq!(wal.checkpoint_count(), usize::from(is_written));
    }
}

#[test]
fn the_number_of_shards_survives_power_loss_before_anything_is_written() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        open(&disk, options(SyncMode::Async), 4).unwrap();
        disk.crash();
        let error = open(&disk, options(SyncMode::Async), 5).unwrap_err();
        assert!(matches!(error, Error::ShardCountMismatch { expected: 5, found: 4 }), "{error}");
    }
}

#[test]
fn a_plain_log_opens_it_and_sees_its_streams() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 3).unwrap();
    fill(&wal, 0, 3);
    fill(&wal, 2, 1);
    wal.inner().append("other", b"entry").unwrap();
    wal.create_checkpoint(b"one").unwrap();
    wal.close().unwrap();
    let environment = environment(&disk);
    let reader = Wal::open_read_only_with(options(SyncMode::Strict), environment).unwrap();
    assert_eq!(reader.shard_count(), Some(3));
    assert_eq!(reader.streams(), ["other", "shard_00", "shard_02"]);
    assert_eq!((reader.stats().streams, reader.stats().entries), (3, 5));
    assert_eq!(reader.get("shard_02", 0).unwrap().unwrap(), b"2/0");
    let wal = open_plain(&disk);
    assert_eq!(wal.shard_count(), Some(3));
    assert_eq!(wal.streams(), ["other", "shard_00", "shard_02"]);
    assert_eq!((wal.stats().streams, wal.stats().entries), (3, 5));
    assert_eq!(wal.get("shard_00", 2).unwrap().unwrap(), b"0/2");
    assert_eq!(wal.append("shard_00", b"0/3").unwrap(), 3);
    // A stream of that name is another one.
    assert_eq!(wal.get(".checkpoints", 0).unwrap(), None);
    assert_eq!(wal.append(".checkpoints", b"mine").unwrap(), 0);
    wal.delete_stream(".checkpoints").unwrap();
    wal.close().unwrap();
    let wal = open(&disk, options(SyncMode::Strict), 3).unwrap();
    assert_eq!(ids(&wal, 0, 0), [0, 1, 2, 3]);
    assert_eq!(wal.load_checkpoint(b"one").unwrap().offsets, [3, 0, 1]);
}

#[test]
fn a_log_with_streams_does_not_become_sharded() {
    let disk = SimDisk::new(1);
    let wal = open_plain(&disk);
    assert_eq!(wal.shard_count(), None);
    wal.append("orders", b"entry").unwrap();
    wal.append("payments", b"entry").unwrap();
    wal.close().unwrap();
    let text = refused(&disk, || open(&disk, options(SyncMode::Strict), 4));
    assert!(text.contains("not sharded") && text.contains("\"orders\""), "{text}");
    assert!(text.contains("/log") && text.contains("new directory"), "{text}");

    let wal = open_plain(&disk);
    assert_eq!(wal.shard_count(), None);
    let error = ShardedWal::over(wal.clone(), 4).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert_eq!((wal.shard_count(), wal.streams().len()), (None, 2));
    wal.append("orders", b"it goes on").unwrap();
}

#[test]
fn shards_without_a_recorded_number_are_refused() {
    let disk = SimDisk::new(1);
    let wal = open_plain(&disk);
    wal.append("a", b"entry").unwrap();
    wal.append("shard_00", b"entry").unwrap();
    wal.close().unwrap();
    let text = refused(&disk, || open(&disk, options(SyncMode::Strict), 4));
    assert!(text.contains("no number of shards is recorded"), "{text}");
    assert!(text.contains("\"shard_00\""), "{text}");
}

#[test]
fn a_log_without_streams_becomes_sharded() {
    let disk = SimDisk::new(1);
    let wal = open_plain(&disk);
    wal.append("deleted", b"entry").unwrap();
    wal.delete_stream("deleted").unwrap();
    wal.stream("begun").unwrap();
    let sharded = ShardedWal::over(wal.clone(), 4).unwrap();
    assert_eq!(wal.shard_count(), Some(4));
    sharded.append(b"key", b"entry").unwrap();
    drop((wal, sharded));
    assert_eq!(open(&disk, options(SyncMode::Strict), 4).unwrap().inner().streams().len(), 1);
}

#[test]
fn streams_beside_the_shards_do_not_hinder_reopening() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    for name in ["other", "shard_", "shard_99", "shard_0", "a/b"] {
        wal.inner().append(name, name.as_bytes()).unwrap();
    }
    wal.create_checkpoint(b"one").unwrap();
    wal.close().unwrap();
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    assert_eq!(wal.load_checkpoint(b"one").unwrap().offsets, [0; 4]);
    assert_eq!(wal.inner().get("shard_99", 0).unwrap().unwrap(), b"shard_99");
    assert_eq!(wal.inner().streams().len(), 5);
}

#[test]
fn a_directory_of_version_0_6_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    std::fs::create_dir_all(root.join("shard_00")).unwrap();
    std::fs::write(root.join("shard_00/segments.idx"), "").unwrap();
    let error = ShardedWal::new(WalOptions::new(&root), 4).unwrap_err();
    assert!(matches!(error, Error::LegacyDirectory(_)), "{error}");
    let names = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["shard_00"]);
    assert_eq!(std::fs::read_dir(root.join("shard_00")).unwrap().count(), 1);
}

#[test]
fn an_algorithm_that_is_not_known_is_refused() {
    for routing in [0, 2, u16::MAX] {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        wal.append(b"key", b"entry").unwrap();
        wal.close().unwrap();
        // As format/root.rs says it: the number, and the checksum of each copy.
        let path = Path::new("/log/.ironwal");
        let mut root = disk.contents(path).unwrap();
        for copy in root.chunks_mut(4096) {
            assert_eq!(copy[12..16], [4, 0, 1, 0]);
            copy[14..16].copy_from_slice(&u16::to_le_bytes(routing));
            let checksum = crc32c::crc32c(&copy[..60]);
            copy[60..64].copy_from_slice(&checksum.to_le_bytes());
        }
        disk.replace(path, &root).unwrap();
        let text = refused(&disk, || open(&disk, options(SyncMode::Strict), 4));
        assert!(text.contains(&format!("algorithm {routing},")), "{text}");
        assert!(text.contains("newer") && text.contains("/log"), "{text}");
        let text = refused(&disk, || {
            let environment = environment(&disk);
            let wal = Wal::open_read_only_with(options(SyncMode::Strict), environment)?;
            ShardedWal::over(wal, 4)
        });
        assert!(text.contains(&format!("algorithm {routing},")), "{text}");
        // Whoever does not look for keys can read it.
        assert_eq!(open_plain(&disk).streams().len(), 1);
    }
}

#[test]
fn a_second_writer_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let wal = ShardedWal::new(WalOptions::new(dir.path()), 4).unwrap();
    let clone = wal.clone();
    drop(wal);
    let second = ShardedWal::new(WalOptions::new(dir.path()), 4);
    assert!(matches!(second, Err(Error::Locked(_))), "a clone is a handle");
    drop(clone);
    ShardedWal::new(WalOptions::new(dir.path()), 4).unwrap();
}

/// Two handles that were made from one log kept two accounts of its checkpoints: neither knew
/// those of the other, and compacting through one dropped them.
#[test]
fn handles_over_the_same_log_know_the_same_checkpoints() {
    let disk = SimDisk::new(1);
    let one = open(&disk, options(SyncMode::Strict), 4).unwrap();
    let other = ShardedWal::over(one.inner().clone(), 4).unwrap();
    one.create_checkpoint(b"by one").unwrap();
    other.create_checkpoint(b"by the other").unwrap();
    other.compact_checkpoints(5).unwrap();
    assert_eq!(names(&one), ["by one", "by the other"]);
    assert_eq!(names(&other), ["by one", "by the other"]);
    let wrong = ShardedWal::over(one.inner().clone(), 5).unwrap_err();
    assert!(matches!(wrong, Error::ShardCountMismatch { expected: 5, found: 4 }), "{wrong}");
    // And once the first are gone, but not their log.
    let wal = one.inner().clone();
    drop((one, other));
    let again = ShardedWal::over(wal, 4).unwrap();
    assert_eq!(names(&again), ["by one", "by the other"]);
    again.close().unwrap();
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    assert_eq!(names(&wal), ["by one", "by the other"]);
}
