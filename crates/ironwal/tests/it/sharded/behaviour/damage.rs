//! Checkpoints that are damaged on the disk.

use super::*;

/// Flips a bit of the id of a checkpoint, which must be in one file.
fn damage(disk: &SimDisk, id: &str) {
    let files = disk.files().into_iter().filter(|path| path.starts_with("/log/.checkpoints"));
    let found: Vec<_> = files
        .filter_map(|path| {
            let content = disk.contents(&path).unwrap();
            let at = content.windows(id.len()).position(|bytes| bytes == id.as_bytes())?;
            Some((path, at, content[at]))
        })
        .collect();
    let [(path, at, byte)] = &found[..] else { panic!("{id} is in {} files", found.len()) };
    disk.overwrite(path, *at as u64, &[byte ^ 4]).unwrap();
}

fn is_corrupted<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::CheckpointCorrupted { offset: 8192.., reason }) if !reason.is_empty())
}

fn with_checkpoints(disk: &SimDisk, count: u32) {
    let wal = open(disk, options(SyncMode::Strict), 4).unwrap();
    for nth in 0..count {
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(format!("checkpoint {nth}").as_bytes()).unwrap();
    }
    wal.close().unwrap();
}

/// In 0.6 reading stops at the damage.
#[test]
fn later_ones_survive() {
    let disk = SimDisk::new(1);
    with_checkpoints(&disk, 6);
    damage(&disk, "checkpoint 2");
    let left = ["checkpoint 0", "checkpoint 1", "checkpoint 3", "checkpoint 4", "checkpoint 5"];
    for _ in 0..2 {
        let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        assert_eq!(names(&wal), left);
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"checkpoint 5");
        for id in left {
            wal.load_checkpoint(id.as_bytes()).unwrap();
        }
        assert!(is_corrupted(wal.load_checkpoint(b"checkpoint 2")));
        assert!(is_corrupted(wal.prune_before_checkpoint(b"checkpoint 2")));
        wal.close().unwrap();
    }
    let refusing =
        WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Strict) };
    let error = open(&disk, refusing.clone(), 4).unwrap_err();
    assert!(matches!(error, Error::Corruption(_)), "{error}");
    // Compacting puts an end to it.
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    let stats = wal.compact_checkpoints(5).unwrap();
    assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (5, 5));
    assert_eq!(names(&wal), left);
    assert!(is_not_found(&wal, "checkpoint 2"));
    wal.close().unwrap();
    assert_eq!(names(&open(&disk, refusing, 4).unwrap()), left);
}

/// In 0.6 the latest is then not found; and what is created behind the damage is lost.
#[test]
fn a_damaged_latest_falls_back_and_new_ones_are_kept() {
    let disk = SimDisk::new(1);
    with_checkpoints(&disk, 4);
    damage(&disk, "checkpoint 3");
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"checkpoint 2");
    assert!(is_corrupted(wal.load_checkpoint(b"checkpoint 3")));
    wal.create_checkpoint(b"behind the damage").unwrap();
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"behind the damage");
    for _ in 0..2 {
        disk.crash();
        let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
        let left = ["checkpoint 0", "checkpoint 1", "checkpoint 2", "behind the damage"];
        assert_eq!(names(&wal), left);
        assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"behind the damage");
        assert_eq!(wal.load_latest_checkpoint().unwrap().1.offsets.iter().sum::<u64>(), 4);
    }
    // The id of the damaged one can be given again.
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    wal.create_checkpoint(b"checkpoint 3").unwrap();
    assert_eq!(wal.load_checkpoint(b"checkpoint 3").unwrap().offsets.iter().sum::<u64>(), 4);
}

#[test]
fn if_all_are_damaged_nobody_says_that_there_are_none() {
    let disk = SimDisk::new(1);
    with_checkpoints(&disk, 2);
    damage(&disk, "checkpoint 0");
    damage(&disk, "checkpoint 1");
    let wal = open(&disk, options(SyncMode::Strict), 4).unwrap();
    assert!(is_corrupted(wal.load_latest_checkpoint()));
    assert_eq!(names(&wal), [""; 0]);
    let stats = wal.compact_checkpoints(0).unwrap();
    assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (0, 0));
    assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
}
