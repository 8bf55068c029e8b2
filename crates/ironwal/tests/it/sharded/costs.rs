//! What checkpoints cost, counted in calls to the disk.

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, SyncMode};

use super::{MODES, open, options};

/// How many calls of a kind `work` makes.
fn counted<T>(disk: &SimDisk, kind: CallKind, work: impl FnOnce() -> T) -> (u64, T) {
    let before = disk.calls(kind);
    let done = work();
    (disk.calls(kind) - before, done)
}

/// How many calls of any kind `work` makes.
fn calls<T>(disk: &SimDisk, work: impl FnOnce() -> T) -> (u64, T) {
    let before = disk.calls_total();
    let done = work();
    (disk.calls_total() - before, done)
}

/// A key of each shard, in their order.
fn keys_of_all(wal: &ShardedWal) -> Vec<Vec<u8>> {
    let mut keys = vec![None; usize::from(wal.shard_count())];
    for nth in 0..10_000_u32 {
        let key = nth.to_le_bytes().to_vec();
        keys[usize::from(wal.route(&key))].get_or_insert(key);
    }
    keys.into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_checkpoint_costs_one_sync_beyond_those_of_the_shards() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 8).unwrap();
        let keys = keys_of_all(&wal);
        for key in &keys {
            wal.append(key, b"the first makes the stream").unwrap();
        }
        wal.create_checkpoint(b"the first makes the log").unwrap();
        for nth in 0..200_usize {
            let dirty = nth % 9;
            for key in &keys[..dirty] {
                wal.append(key, &vec![7; nth]).unwrap();
            }
            if nth % 3 == 0 {
                wal.append(&keys[0], b"one more in a shard is no sync more").unwrap();
            }
            // Another stream is none of its business.
            wal.inner().append("other", b"entry").unwrap();
            let not_durable = (0..8)
                .map(|shard| wal.shard(shard).unwrap())
                .filter(|shard| shard.durable_end() < shard.next_id());
            let not_durable = not_durable.count() as u64;
            match mode {
                SyncMode::Strict => assert_eq!(not_durable, 0),
                _ => assert_eq!(not_durable, dirty.max(usize::from(nth % 3 == 0)) as u64),
            }
            let id = format!("checkpoint {}", nth % 50);
            let dirs = disk.calls(CallKind::SyncDir);
            let (syncs, created) =
                counted(&disk, CallKind::Sync, || wal.create_checkpoint(id.as_bytes()));
            created.unwrap();
            assert_eq!(syncs, not_durable + 1, "{mode:?}, {nth}");
            assert_eq!(disk.calls(CallKind::SyncDir), dirs, "{mode:?}, {nth}");
        }
        // With nothing to make durable, it is that one alone.
        let (syncs, created) = counted(&disk, CallKind::Sync, || wal.create_checkpoint(b"again"));
        created.unwrap();
        assert_eq!(syncs, 1, "{mode:?}");
    }
}

#[test]
fn one_that_is_refused_costs_nothing() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Async), 2).unwrap();
    wal.append(b"key", b"entry").unwrap();
    for id in [vec![], vec![1; 65_536]] {
        let (calls, created) = calls(&disk, || wal.create_checkpoint(&id));
        assert!(matches!(created, Err(Error::InvalidCheckpointId(_))), "{created:?}");
        assert_eq!(calls, 0);
    }
}

#[test]
fn the_newest_cost_nothing_to_load() {
    let disk = SimDisk::new(1);
    let mut wal = open(&disk, options(SyncMode::Async), 8).unwrap();
    let keys = keys_of_all(&wal);
    for nth in 0..100_usize {
        wal.append(&keys[nth % 8], b"entry").unwrap();
        wal.create_checkpoint(format!("{nth}").as_bytes()).unwrap();
    }
    let load_all = |wal: &ShardedWal, from: usize| {
        let (calls, ()) = calls(&disk, || {
            for nth in from..100 {
                let offsets = wal.load_checkpoint(format!("{nth}").as_bytes()).unwrap().offsets;
                assert_eq!(offsets.iter().sum::<u64>() as usize, nth + 1);
            }
            assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"99");
            assert_eq!(wal.list_checkpoints().len(), 100 - from);
            assert_eq!(wal.checkpoint_count(), 100 - from);
            let unknown = wal.load_checkpoint(b"none");
            assert!(matches!(unknown, Err(Error::CheckpointNotFound(_))), "{unknown:?}");
        });
        assert_eq!(calls, 0, "from {from}");
    };
    load_all(&wal, 0);
    wal.close().unwrap();
    wal = open(&disk, options(SyncMode::Async), 8).unwrap();
    load_all(&wal, 0);
    wal.compact_checkpoints(60).unwrap();
    load_all(&wal, 40);
    wal.close().unwrap();
    wal = open(&disk, options(SyncMode::Async), 8).unwrap();
    load_all(&wal, 40);
}

/// What the newest may take in memory.
const NEWEST_LEN_MAX: usize = 16 * 1024 * 1024;

/// Checkpoints `0..count` over `shards` shards, the first of which has one entry more in each.
fn create_many(wal: &ShardedWal, count: usize) {
    for nth in 0..count {
        wal.inner().append("shard_00", b"entry").unwrap();
        wal.create_checkpoint(format!("{nth}").as_bytes()).unwrap();
    }
}

/// Loads each of them, and returns how many were not at hand.
fn load_many(disk: &SimDisk, wal: &ShardedWal, ids: std::ops::Range<usize>) -> usize {
    let mut read = 0;
    for nth in ids {
        let (all, writes) = (disk.calls_total(), disk.calls(CallKind::Write));
        let (reads, loaded) = counted(disk, CallKind::Read, || {
            wal.load_checkpoint(format!("{nth}").as_bytes()).unwrap()
        });
        assert_eq!(loaded.offsets[0] as usize, nth + 1);
        assert_eq!(loaded.offsets.len(), usize::from(wal.shard_count()));
        assert!(reads <= 1, "{nth}: {reads} reads");
        // The file may have to be opened.
        assert!(disk.calls_total() - all <= 2 * reads, "{nth}: {}", disk.calls_total() - all);
        assert_eq!(disk.calls(CallKind::Write), writes);
        read += reads as usize;
    }
    read
}

#[test]
fn an_older_one_costs_one_read() {
    // Many to a piece of copies, a few, one; and records that are longer than any buffer, in several
    // segments.
    for (shards, count) in [(150, 14_000), (1_000, 2_400), (4_096, 600), (65_535, 160)] {
        let disk = SimDisk::new(1);
        let mut wal = open(&disk, options(SyncMode::Async), shards).unwrap();
        create_many(&wal, count);
        let len = usize::from(shards) * 8;
        let check = |wal: &ShardedWal, ids: std::ops::Range<usize>, when: &str| {
            let count = ids.len();
            let read = load_many(&disk, wal, ids);
            // What is kept for each beside its offsets is little.
            let (most, least) = (NEWEST_LEN_MAX / len, NEWEST_LEN_MAX / (len + 200));
            let expected = count.saturating_sub(most)..=count - least;
            assert!(expected.contains(&read), "{shards} {when}: {read} of {count} were read");
            assert!(read > 0);
        };
        check(&wal, 0..count, "as created");
        wal.close().unwrap();
        wal = open(&disk, options(SyncMode::Async), shards).unwrap();
        check(&wal, 0..count, "after opening");
        let segments =
            disk.files().iter().filter(|path| path.starts_with("/log/.checkpoints")).count();
        assert_eq!(segments > 1, shards == u16::MAX, "{segments} segments");
        let dropped = count / 20;
        wal.compact_checkpoints(count - dropped).unwrap();
        check(&wal, dropped..count, "after compacting");
        wal.close().unwrap();
        wal = open(&disk, options(SyncMode::Async), shards).unwrap();
        check(&wal, dropped..count, "after compacting and opening");
    }
}
