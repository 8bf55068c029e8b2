//! What came after a checkpoint.

use super::*;

type Entries = Vec<(u16, u64, Vec<u8>)>;

fn replayed(wal: &ShardedWal, id: &str) -> Entries {
    let checkpoint = wal.load_checkpoint(id.as_bytes()).unwrap();
    let entries = wal.replay(&checkpoint).unwrap().map(Result::unwrap);
    entries.map(|(shard, id, entry)| (shard, id, entry.to_vec())).collect()
}

#[test]
fn it_yields_exactly_what_came_after() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open_small(&disk, mode, 5);
        let mut after: Vec<(String, Entries)> = Vec::new();
        for nth in 0..12_u8 {
            let id = format!("{nth}");
            wal.create_checkpoint(id.as_bytes()).unwrap();
            after.push((id, Vec::new()));
            let mut placed = Vec::new();
            for key in 0..nth {
                let (shard, id) = wal.append(&[key], &[nth, key]).unwrap();
                placed.push((shard, id, vec![nth, key]));
            }
            let batch: Vec<_> = (0..nth).map(|key| (vec![key], vec![nth, key, 1])).collect();
            let ids = wal.append_batch(&batch).unwrap();
            placed.extend(
                ids.into_iter().zip(batch).map(|((shard, id), (_, value))| (shard, id, value)),
            );
            after.iter_mut().for_each(|(_, entries)| entries.extend(placed.clone()));
        }
        wal.create_checkpoint(b"end").unwrap();
        after.iter_mut().for_each(|(_, entries)| entries.sort());
        for round in 0..2 {
            let wal = match round {
                0 => wal.clone(),
                _ => {
                    wal.close().unwrap();
                    open_small(&disk, mode, 5)
                }
            };
            for (id, expected) in &after {
                assert_eq!(replayed(&wal, id), *expected, "{mode:?}, from {id}");
            }
            assert_eq!(replayed(&wal, "end"), []);
        }
        let wal = open_small(&disk, mode, 5);
        wal.prune_before_checkpoint(b"7").unwrap();
        for (id, expected) in &after[7..] {
            assert_eq!(replayed(&wal, id), *expected, "{mode:?}, from {id}, pruned");
        }
    }
}

#[test]
fn it_goes_as_far_as_the_end_is_when_it_gets_there() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Strict), 3).unwrap();
    wal.create_checkpoint(b"one").unwrap();
    let checkpoint = wal.load_checkpoint(b"one").unwrap();
    fill(&wal, 0, 1);
    let mut replay = wal.replay(&checkpoint).unwrap();
    assert_eq!(replay.next().unwrap().unwrap().1, 0);
    fill(&wal, 1, 2);
    assert_eq!(replay.by_ref().map(Result::unwrap).count(), 2);
    fill(&wal, 2, 1);
    assert!(replay.next().is_none(), "it has ended");
    let ahead = CheckpointData { offsets: vec![1, u64::MAX, 1], ..checkpoint };
    let error = wal.replay(&ahead).unwrap_err();
    assert!(matches!(&error, Error::Corruption(why) if why.contains("shard 1")), "{error}");
}

#[test]
fn a_checkpoint_of_another_log_is_refused() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Strict), 3).unwrap();
    for (shard_count, offsets) in
        [(2, vec![0; 2]), (4, vec![0; 4]), (3, vec![0; 2]), (2, vec![0; 3])]
    {
        let checkpoint = CheckpointData { offsets, timestamp: 0, shard_count };
        let error = wal.replay(&checkpoint).unwrap_err();
        assert!(matches!(error, Error::ShardCountMismatch { expected: 3, .. }), "{error}");
    }
}
