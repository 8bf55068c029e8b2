//! What the simulation cannot be sure to meet, or cannot judge that exactly.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, SyncMode, WalOptions};

use super::model::see;
use super::{MODES, open, options};

#[test]
fn a_stream_may_be_named_twice_in_a_cut() {
    let disk = SimDisk::new(1);
    let sharded = open(&disk, options(SyncMode::Async), 2).unwrap();
    let wal = sharded.inner();
    wal.append("b", b"entry").unwrap();
    wal.append("a", b"entry").unwrap();
    wal.append("a", b"entry").unwrap();
    assert_eq!(wal.cut(&["a", "b", "missing", "a", "b", "a"]).unwrap(), [2, 1, 0, 2, 1, 2]);
    assert_eq!(wal.cut::<&str>(&[]).unwrap(), [0; 0]);
}

#[test]
fn pruning_tries_every_shard_and_returns_the_first_error() {
    let disk = SimDisk::new(1);
    let small = WalOptions { max_segment_size: 200, ..options(SyncMode::Strict) };
    let wal = open(&disk, small, 3).unwrap();
    for shard in ["shard_00", "shard_01", "shard_02"] {
        for _ in 0..20 {
            wal.inner().append(shard, b"an entry of some length").unwrap();
        }
    }
    wal.create_checkpoint(b"c").unwrap();
    disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    wal.inner().append("shard_00", b"fails").unwrap_err();
    let error = wal.prune_before_checkpoint(b"c").unwrap_err();
    assert!(matches!(error, Error::Poisoned { stream, .. } if stream == "shard_00"));
    let first = |shard| wal.shard(shard).unwrap().first_id();
    assert_eq!(first(0), 0);
    assert!(first(1) > 10 && first(1) == first(2), "{} {}", first(1), first(2));
    // The checkpoint is there as before, and so is what comes after it.
    assert_eq!(wal.load_checkpoint(b"c").unwrap().offsets, [20, 20, 20]);
}

/// The power goes at every call of it in turn: each shard has been pruned or not, keeps all that comes after
/// the checkpoint, and pruning once more does the rest.
#[test]
fn pruning_that_is_interrupted_is_done_or_not_done_in_each_shard() {
    const SHARDS: [&str; 3] = ["shard_00", "shard_01", "shard_02"];
    let firsts = |wal: &ShardedWal| SHARDS.map(|it| wal.inner().stream(it).unwrap().first_id());
    for (seed, mode) in (0..).zip(MODES.into_iter().cycle()).take(12) {
        let small = || WalOptions { max_entries_per_segment: 5, ..options(mode) };
        let (mut some, mut all) = (0, None);
        for nth in 1.. {
            let disk = SimDisk::new(seed);
            let wal = open(&disk, small(), 3).unwrap();
            let append = |count: u8| {
                for (shard, id) in SHARDS.iter().flat_map(|it| (0..count).map(move |id| (it, id))) {
                    wal.inner().append(shard, &[id; 20]).unwrap();
                }
            };
            append(12);
            wal.create_checkpoint(b"c").unwrap();
            append(4);
            wal.inner().sync_all().unwrap();
            disk.cut_power_at(nth);
            let pruned = wal.prune_before_checkpoint(b"c");
            drop(wal);
            disk.crash();
            let wal = open(&disk, small(), 3).unwrap();
            let found = firsts(&wal);
            assert!(found.iter().all(|first| [0, 10].contains(first)), "seed {seed}: {found:?}");
            some += u32::from(found.contains(&0) && found.contains(&10));
            assert_eq!(wal.load_checkpoint(b"c").unwrap().offsets, [12, 12, 12]);
            for shard in SHARDS {
                let kept = wal.inner().iter_with_ids(shard, 10).unwrap();
                assert!(kept.map(|it| it.unwrap().0).eq(10..16), "seed {seed}, call {nth}");
            }
            if pruned.is_ok() {
                assert_eq!(found, [10; 3], "seed {seed}, call {nth}");
                all = Some(nth);
                break;
            }
            wal.prune_before_checkpoint(b"c").unwrap();
            assert_eq!(firsts(&wal), [10; 3], "seed {seed}, call {nth}");
        }
        assert!(all.is_some() && some > 0, "seed {seed}: {some}");
    }
}

/// The sync of the root directory failed, and the number of shards was in the cache only. The next process
/// found it there and went on; then the power went, and a log with another number could be opened.
#[test]
fn the_number_of_shards_that_was_found_is_durable() {
    let mut failed = 0;
    for (seed, nth) in (0..60).flat_map(|seed| (1..4).map(move |nth| (seed, nth))) {
        let disk = SimDisk::new(seed);
        disk.fail_nth(CallKind::SyncDir, nth, ErrorKind::Other);
        failed += u32::from(open(&disk, options(SyncMode::Strict), 4).is_err());
        disk.clear_faults();
        disk.kill();
        let found = open(&disk, options(SyncMode::Strict), 4).unwrap();
        disk.crash();
        drop(found);
        let error = open(&disk, options(SyncMode::Strict), 8).unwrap_err();
        assert!(
            matches!(error, Error::ShardCountMismatch { expected: 8, found: 4 }),
            "seed {seed}, {nth}: {error}"
        );
    }
    assert!(failed > 100, "{failed}");
}

/// The power goes at every call of a compaction in turn: the checkpoints are the former or those that
/// are kept, and if they are, the next opening frees the space of the others.
#[test]
fn opening_finishes_a_compaction_that_was_interrupted() {
    let (mut done, mut not_done) = (0, 0);
    for seed in 0..4 {
        for nth in 1.. {
            let disk = SimDisk::new(seed);
            let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
            for id in ["a", "b", "c", "d", "b", "e"] {
                wal.append(b"key", b"entry").unwrap();
                wal.create_checkpoint(id.as_bytes()).unwrap();
            }
            let before = see(&wal);
            disk.cut_power_at(nth);
            let result = wal.compact_checkpoints(2);
            if !disk.power_is_off() {
                assert!(nth > 5, "{result:?}");
                break;
            }
            disk.crash();
            let wal = open(&disk, options(SyncMode::Async), 3).unwrap();
            let after = see(&wal);
            if after == before {
                assert!(result.is_err());
                not_done += 1;
                continue;
            }
            done += 1;
            assert_eq!(after, before[before.len() - 2..]);
            let files = disk.files();
            let segments = files.iter().filter(|path| path.starts_with("/log/.checkpoints"));
            assert_eq!(segments.count(), 1, "seed {seed}, call {nth}: the space is not freed");
        }
    }
    assert!(done > 4 && not_done > 4, "{done} were done, {not_done} not");
}

/// Threads append batches of one entry for each of three shards while another creates checkpoints: each
/// of those holds as many entries of one shard as of another.
#[test]
fn no_checkpoint_splits_an_atomic_batch() {
    const BATCHES: u8 = 60;
    for (seed, mode) in (0..).zip(MODES) {
        let disk = SimDisk::new(seed);
        let wal = open(&disk, options(mode), 3).unwrap();
        let keys: Vec<Vec<u8>> = (0..3)
            .map(|shard| {
                (0..=u8::MAX).map(|key| vec![key]).find(|it| wal.route(it) == shard).unwrap()
            })
            .collect();
        let appending = AtomicU32::new(3);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (wal, keys, appending) = (&wal, &keys, &appending);
                scope.spawn(move || {
                    for batch in 0..BATCHES {
                        let entry = |key: &Vec<u8>| (key.clone(), vec![thread, batch]);
                        let entries: Vec<_> = keys.iter().map(entry).collect();
                        wal.append_batch_atomic(&entries).unwrap();
                    }
                    appending.fetch_sub(1, Ordering::SeqCst);
                });
            }
            scope.spawn(|| {
                for nth in 0_u32.. {
                    let is_last = appending.load(Ordering::SeqCst) == 0;
                    wal.create_checkpoint(&nth.to_le_bytes()).unwrap();
                    if is_last {
                        break;
                    }
                }
            });
        });
        disk.crash();
        let wal = open(&disk, options(mode), 3).unwrap();
        let checkpoints = see(&wal);
        for checkpoint in &checkpoints {
            let offsets = &checkpoint.data.offsets;
            assert!(offsets.iter().all(|offset| *offset == offsets[0]), "{mode:?}: {offsets:?}");
        }
        let last = checkpoints.last().unwrap();
        assert_eq!(last.data.offsets, [3 * u64::from(BATCHES); 3], "{mode:?}");
    }
}

/// The sync that makes a cut durable fails: there is no checkpoint, now or later.
#[test]
fn a_cut_that_is_not_durable_is_not_recorded() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let wal = open(&disk, options(SyncMode::Async), 1).unwrap();
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(b"first").unwrap();
        wal.append(b"key", b"entry").unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        assert!(matches!(wal.create_checkpoint(b"second"), Err(Error::Io(_))));
        assert!(matches!(wal.create_checkpoint(b"third"), Err(Error::Poisoned { .. })));
        let before = see(&wal);
        assert_eq!(before.len(), 1);
        disk.crash();
        assert_eq!(see(&open(&disk, options(SyncMode::Async), 1).unwrap()), before);
    }
}

/// There is no room for all the copies. Those that were made are forgotten, and the next compaction,
/// whose copies get the same ids, keeps what it should.
#[test]
fn copies_that_found_no_room_are_forgotten() {
    let disk = SimDisk::new(1);
    let shards = 5000;
    let wal = open(&disk, options(SyncMode::Async), shards).unwrap();
    // The room that is reserved ahead is not enough for copies of all but one.
    for id in b'a'..=b'o' {
        wal.create_checkpoint(&[id]).unwrap();
    }
    let before = see(&wal);
    for room in [20_000, 60_000, 100_000, 140_000] {
        let capacity = disk.used_bytes() + room;
        disk.configure(|config| config.capacity = Some(capacity));
        let error = wal.compact_checkpoints(14).unwrap_err();
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        assert_eq!(see(&wal), before);
    }
    disk.configure(|config| config.capacity = None);
    wal.create_checkpoint(b"p").unwrap();
    wal.compact_checkpoints(1).unwrap();
    let after = see(&wal);
    let ids: Vec<_> = after.iter().map(|checkpoint| &checkpoint.id[..]).collect();
    assert_eq!(ids, [b"p"]);
    for gone in before {
        let found = wal.load_checkpoint(&gone.id);
        assert!(matches!(found, Err(Error::CheckpointNotFound(_))), "{found:?}");
    }
    disk.crash();
    assert_eq!(see(&open(&disk, options(SyncMode::Async), shards).unwrap()), after);
}
