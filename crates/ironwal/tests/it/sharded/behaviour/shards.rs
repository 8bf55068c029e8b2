//! Shards, and what is appended to them.

use super::*;

#[test]
fn streams_have_two_digits_at_least() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Async), 102).unwrap();
    for nth in 0..3_000_u32 {
        wal.append(&nth.to_le_bytes(), b"entry").unwrap();
    }
    let mut expected: Vec<String> = (0..102).map(|shard| format!("shard_{shard:02}")).collect();
    expected.sort();
    assert_eq!(wal.inner().streams(), expected);
    assert!(expected.contains(&"shard_07".into()) && expected.contains(&"shard_100".into()));
    for shard in [0, 9, 10, 99, 100, 101] {
        let name = format!("shard_{shard:02}");
        assert_eq!(wal.shard(shard).unwrap().name(), name);
        let entries = wal.inner().iter(&name, 0).unwrap().count();
        assert_eq!(wal.iter_shard(shard, 0).unwrap().count(), entries);
        assert_eq!(files_in(&disk, &format!("/log/{name}")).len(), 1);
    }
}

#[test]
fn there_are_no_others() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Strict), 4).unwrap();
    for shard in [4, 5, u16::MAX] {
        let refusals = [
            wal.iter_shard(shard, 0).err(),
            wal.iter_shard_with_ids(shard, 0).err(),
            wal.flush_shard(shard).err(),
            wal.shard(shard).err(),
        ];
        for refusal in refusals {
            assert!(matches!(refusal, Some(Error::Config(_))), "{refusal:?}");
        }
    }
    assert!(wal.inner().streams().is_empty());
}

#[test]
fn one_without_data_is_empty() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 4).unwrap();
        for start in [0, 7, u64::MAX] {
            assert_eq!(ids(&wal, 3, start), []);
        }
        wal.flush_shard(3).unwrap();
        wal.flush_all().unwrap();
        assert!(wal.inner().streams().is_empty());
        assert!(files_in(&disk, "/log").iter().all(|name| name.starts_with(".ironwal")));
    }
}

#[test]
fn ids_count_from_zero_in_each_and_go_on_after_reopening() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let mut next = [0; 5];
        for life in 0..3_u64 {
            let wal = open(&disk, options(mode), 5).unwrap();
            for nth in 0..50_u64 {
                let key = (life * 50 + nth).to_be_bytes();
                let (shard, id) = wal.append(&key, &key).unwrap();
                assert_eq!((shard, id), (wal.route(&key), next[usize::from(shard)]));
                next[usize::from(shard)] += 1;
            }
            wal.close().unwrap();
        }
        let wal = open(&disk, options(mode), 5).unwrap();
        for (shard, next) in (0..).zip(next) {
            let entries: Vec<_> = wal.iter_shard(shard, 0).unwrap().map(Result::unwrap).collect();
            assert_eq!(entries.len() as u64, next);
            assert!(entries.is_sorted() && entries.iter().all(|key| wal.route(key) == shard));
        }
    }
}

#[test]
fn batches_are_placed_in_the_order_of_their_entries() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 5).unwrap();
        assert_eq!(wal.append_batch(&[]).unwrap(), []);
        assert_eq!(wal.append_batch_for_key(b"key", &[]).unwrap(), []);
        assert_eq!(wal.append_batch_single_key(b"key", &[]).unwrap(), []);
        assert!(wal.inner().streams().is_empty());
        let mut next = [0; 5];
        for round in 0..4_u32 {
            let entries: Vec<(Vec<u8>, Vec<u8>)> = (0..60_u32)
                .map(|nth| (vec![(nth * 7 % 23) as u8], (round * 60 + nth).to_be_bytes().to_vec()))
                .collect();
            let placed = wal.append_batch(&entries).unwrap();
            assert_eq!(placed.len(), entries.len());
            for ((shard, id), (key, value)) in placed.into_iter().zip(&entries) {
                let next = &mut next[usize::from(shard)];
                assert_eq!((shard, id), (wal.route(key), *next));
                *next += 1;
                assert_eq!(wal.shard(shard).unwrap().get(id).unwrap().unwrap(), value);
            }
        }
        let shard = wal.route(b"key");
        let first = next[usize::from(shard)];
        let placed = wal.append_batch_for_key(b"key", &[b"a", b"", b"c"]).unwrap();
        assert_eq!(placed, [0, 1, 2].map(|nth| (shard, first + nth)));
        let placed = wal.append_batch_single_key(b"key", &[b"d", b"e"]).unwrap();
        assert_eq!(placed, [3, 4].map(|nth| (shard, first + nth)));
        let read: Vec<_> = wal.iter_shard(shard, first).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [&b"a"[..], b"", b"c", b"d", b"e"]);
    }
}

#[test]
fn keys_and_values_may_be_empty() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 5).unwrap();
        let shard = wal.route(b"");
        assert_eq!(wal.append(b"", b"").unwrap(), (shard, 0));
        assert_eq!(wal.append(b"", b"value").unwrap(), (shard, 1));
        assert_eq!(wal.append_batch(&[(vec![], vec![])]).unwrap(), [(shard, 2)]);
        assert_eq!(wal.append_batch_for_key(b"", &[b""]).unwrap(), [(shard, 3)]);
        wal.close().unwrap();
        let wal = open(&disk, options(mode), 5).unwrap();
        let read: Vec<_> = wal.iter_shard(shard, 0).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [&b""[..], b"value", b"", b""]);
    }
}

#[test]
fn flushing_makes_durable_what_is_there() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 3).unwrap();
        fill(&wal, 0, 5);
        fill(&wal, 1, 3);
        let durable = |shard| wal.shard(shard).unwrap().durable_end();
        let strict = mode == SyncMode::Strict;
        assert_eq!((durable(0), durable(1)), if strict { (5, 3) } else { (0, 0) });
        wal.flush_shard(0).unwrap();
        assert_eq!((durable(0), durable(1)), if strict { (5, 3) } else { (5, 0) });
        wal.flush_all().unwrap();
        assert_eq!((durable(0), durable(1)), (5, 3));
        disk.crash();
        let wal = open(&disk, options(mode), 3).unwrap();
        assert_eq!((ids(&wal, 0, 0).len(), ids(&wal, 1, 0).len()), (5, 3), "{mode:?}");
    }
}

#[test]
fn one_that_is_deleted_begins_anew() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let wal = open(&disk, options(mode), 1).unwrap();
        fill(&wal, 0, 3);
        wal.append(b"key", b"through the handle that is kept").unwrap();
        wal.create_checkpoint(b"before").unwrap();
        wal.inner().delete_stream("shard_00").unwrap();
        assert_eq!(ids(&wal, 0, 0), []);
        wal.flush_all().unwrap();
        wal.create_checkpoint(b"without").unwrap();
        assert_eq!(wal.append(b"key", b"0/0").unwrap(), (0, 0));
        assert_eq!(wal.append_batch_for_key(b"key", &[b"0/1"]).unwrap(), [(0, 1)]);
        wal.create_checkpoint(b"anew").unwrap();
        let offsets = |id: &[u8]| wal.load_checkpoint(id).unwrap().offsets[0];
        assert_eq!((offsets(b"before"), offsets(b"without"), offsets(b"anew")), (4, 0, 2));
        assert_eq!(ids(&wal, 0, 0), [0, 1]);
        wal.close().unwrap();
        assert_eq!(ids(&open(&disk, options(mode), 1).unwrap(), 0, 0), [0, 1]);
    }
}

#[test]
fn few_descriptors_serve_many() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        let options = WalOptions { max_open_segments: 3, ..small_segments(mode) };
        let wal = open(&disk, options.clone(), 40).unwrap();
        for round in 1..=9_u64 {
            for shard in 0..40 {
                fill(&wal, shard, 1);
            }
            wal.create_checkpoint(round.to_string().as_bytes()).unwrap();
            assert!(wal.inner().stats().open_segments <= 3, "{mode:?}");
            assert_eq!(wal.load_latest_checkpoint().unwrap().1.offsets, [round; 40]);
        }
        disk.crash();
        let wal = open(&disk, options, 40).unwrap();
        assert!((0..40).all(|shard| ids(&wal, shard, 0).len() == 9), "{mode:?}");
        assert_eq!(wal.prune_before_checkpoint(b"8").unwrap().segments_deleted, 80);
    }
}
