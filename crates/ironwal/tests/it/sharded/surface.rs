//! Programs written for `ironwal::sharded` of 0.6 compile: every item, with its exact signature. Most
//! of this only has to compile.
#![allow(clippy::type_complexity)] // Spelt out is what they are here for.

use std::error::Error as StdError;
use std::fmt::Debug;

use bytes::Bytes;
use ironwal::sharded::{CheckpointData, CompactionStats, PruneStats, Replay, ShardedWal};
use ironwal::{Error, Result, Stream, Wal, WalIdIterator, WalIterator, WalOptions};

fn is_shared<T: Send + Sync + 'static>() {}
fn is_cloned<T: Clone>() {}
fn is_shown<T: Debug>() {}
fn is_compared<T: Debug + Clone + PartialEq + Eq + Send + Sync + 'static>() {}
fn is_copied<T: Debug + Clone + Copy + PartialEq + Eq + Send + Sync + 'static>() {}

#[test]
fn types_have_the_traits_that_programs_rely_on() {
    is_shared::<ShardedWal>();
    is_compared::<CheckpointData>();
    is_copied::<PruneStats>();
    is_copied::<CompactionStats>();
}

#[test]
fn methods_have_the_signatures_of_0_6() {
    let _: fn(WalOptions, u16) -> Result<ShardedWal> = ShardedWal::new;
    let _: fn(&ShardedWal, &[u8], &[u8]) -> Result<(u16, u64)> = ShardedWal::append;
    let _: fn(&ShardedWal, &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(u16, u64)>> =
        ShardedWal::append_batch;
    let _: fn(&ShardedWal, &[u8], &[&[u8]]) -> Result<Vec<(u16, u64)>> =
        ShardedWal::append_batch_single_key;
    let _: fn(&ShardedWal, &[u8], &[&[u8]]) -> Result<Vec<(u16, u64)>> =
        ShardedWal::append_batch_for_key;
    let _: fn(&ShardedWal, &[u8]) -> Result<()> = ShardedWal::create_checkpoint;
    let _: fn(&ShardedWal, &[u8]) -> Result<CheckpointData> = ShardedWal::load_checkpoint;
    let _: fn(&ShardedWal) -> Result<(Vec<u8>, CheckpointData)> =
        ShardedWal::load_latest_checkpoint;
    let _: fn(&ShardedWal, u16, u64) -> Result<WalIterator> = ShardedWal::iter_shard;
    let _: fn(&ShardedWal, &[u8]) -> Result<PruneStats> = ShardedWal::prune_before_checkpoint;
    let _: fn(&ShardedWal, usize) -> Result<CompactionStats> = ShardedWal::compact_checkpoints;
    let _: fn(&ShardedWal) -> u16 = ShardedWal::shard_count;
    let _: fn(&ShardedWal) -> usize = ShardedWal::checkpoint_count;
    let _: for<'a> fn(&'a ShardedWal) -> &'a Wal = ShardedWal::inner;
    let _: fn(&ShardedWal) -> Vec<(Vec<u8>, u64)> = ShardedWal::list_checkpoints;
    let _: fn(&ShardedWal, u16, u64) -> Result<WalIdIterator> = ShardedWal::iter_shard_with_ids;
    let _: fn(&ShardedWal, u16) -> Result<()> = ShardedWal::flush_shard;
    let _: fn(&ShardedWal) -> Result<()> = ShardedWal::flush_all;
}

#[test]
fn structs_have_the_fields_of_0_6_and_no_others() {
    let checkpoint = CheckpointData {
        offsets: Vec::<u64>::from([3, 0]),
        timestamp: 1_700_000_000_000_000_000_u64,
        shard_count: 2_u16,
    };
    let CheckpointData { offsets, timestamp, shard_count } = checkpoint.clone();
    assert_eq!(CheckpointData { offsets, timestamp, shard_count }, checkpoint);
    let pruned = PruneStats { shards_pruned: 2_u16, segments_deleted: 9_usize };
    let PruneStats { shards_pruned, segments_deleted } = pruned;
    assert_eq!(PruneStats { shards_pruned, segments_deleted }, pruned);
    let compacted = CompactionStats {
        checkpoints_before: 7_usize,
        checkpoints_after: 1_usize,
        bytes_reclaimed: 4096_u64,
    };
    let CompactionStats { checkpoints_before, checkpoints_after, bytes_reclaimed } = compacted;
    let again = CompactionStats { checkpoints_before, checkpoints_after, bytes_reclaimed };
    assert_eq!(again, compacted);
    assert_eq!(
        format!("{checkpoint:?} {pruned:?} {compacted:?}"),
        "CheckpointData { offsets: [3, 0], timestamp: 1700000000000000000, shard_count: 2 } \
         PruneStats { shards_pruned: 2, segments_deleted: 9 } \
         CompactionStats { checkpoints_before: 7, checkpoints_after: 1, bytes_reclaimed: 4096 }"
    );
}

#[test]
fn errors_have_the_texts_of_0_6() {
    let text = |text: &str| text.to_string();
    let errors: [(Error, &str); 5] = [
        (Error::CheckpointNotFound(text("nightly")), "Checkpoint not found: nightly"),
        (
            Error::CheckpointCorrupted { offset: 77_u64, reason: text("bits") },
            "Checkpoint corrupted at offset 77: bits",
        ),
        (
            Error::ShardCountMismatch { expected: 8_u16, found: 16_u16 },
            "Shard count mismatch: expected 8, found 16",
        ),
        (Error::InvalidCheckpointId(text("empty")), "Invalid checkpoint ID: empty"),
        (Error::NoCheckpoints, "No checkpoints available"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none(), "only Io has a source");
    }
}

/// Programs of 0.6 share it in an `Arc`.
#[test]
fn it_can_be_shared_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let wal = std::sync::Arc::new(ShardedWal::new(WalOptions::new(dir.path()), 4).unwrap());
    let threads = [0, 1, 2_u8].map(|thread| {
        let wal = std::sync::Arc::clone(&wal);
        std::thread::spawn(move || wal.append(&[thread], b"entry").unwrap())
    });
    let placed = threads.map(|thread| thread.join().unwrap());
    wal.create_checkpoint(b"all").unwrap();
    let offsets = wal.load_checkpoint(b"all").unwrap().offsets;
    assert_eq!(offsets.iter().sum::<u64>(), 3);
    assert!(placed.iter().all(|(shard, id)| *id < offsets[usize::from(*shard)]));
}

/// What 0.7 adds; a program that uses it compiles with later versions too.
#[test]
fn methods_that_0_6_did_not_have() {
    is_cloned::<ShardedWal>();
    is_shown::<ShardedWal>();
    is_shared::<Replay>();
    is_shown::<Replay>();
    fn iterates<T: Iterator<Item = Item>, Item>() {}
    iterates::<Replay, Result<(u16, u64, Bytes)>>();
    let _: fn(Wal, u16) -> Result<ShardedWal> = ShardedWal::over;
    let _: fn(&ShardedWal, &[u8]) -> u16 = ShardedWal::route;
    let _: fn(&ShardedWal, u16) -> Result<Stream> = ShardedWal::shard;
    let _: fn(&ShardedWal, &CheckpointData) -> Result<Replay> = ShardedWal::replay;
    let _: fn(&ShardedWal) -> Result<()> = ShardedWal::close;
    let _: fn(&Wal) -> Option<u16> = Wal::shard_count;
    let _: fn(&Wal, &[&'static str]) -> Result<Vec<u64>> = Wal::cut;
    let _: fn(&Wal, &[String]) -> Result<Vec<u64>> = Wal::cut;

    let dir = tempfile::tempdir().unwrap();
    let wal = ShardedWal::new(WalOptions::new(dir.path()), 4).unwrap();
    let shown = format!("{wal:?}");
    assert!(shown.starts_with("ShardedWal {") && shown.contains("shard_count: 4"), "{shown}");
}
