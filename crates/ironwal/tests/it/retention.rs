//! How far back a stream may be forgotten.

use ironwal::storage::SimDisk;
use ironwal::{SyncMode, Wal, WalOptions};

use crate::model::open;

/// A stream of 100 entries in segments of 10: the entry `id` says three times `id`.
fn filled(disk: &SimDisk) -> Wal {
    let options = WalOptions { max_entries_per_segment: 10, ..WalOptions::new("/log") };
    let wal = open(disk, &options).unwrap();
    for id in 0..100_u64 {
        wal.append("s", &(3 * id).to_le_bytes()).unwrap();
    }
    wal
}

fn value(entry: &[u8]) -> u64 {
    u64::from_le_bytes(entry.try_into().unwrap())
}

#[test]
fn what_fits_is_the_newest_whole_segments() {
    let wal = filled(&SimDisk::new(1));
    let stream = wal.stream("s").unwrap();
    let all = stream.stats();
    let each = all.bytes / all.segments as u64;
    for (max_bytes, oldest) in
        [(u64::MAX, 0), (all.bytes, 0), (all.bytes - 1, 10), (0, 90), (each, 90)]
    {
        assert_eq!(stream.oldest_within(max_bytes), oldest, "{max_bytes}");
    }
    for max_bytes in (0..all.bytes + each).step_by(500) {
        let wal = filled(&SimDisk::new(1));
        let oldest = wal.stream("s").unwrap().oldest_within(max_bytes);
        wal.truncate("s", oldest).unwrap();
        let left = wal.stream("s").unwrap().stats();
        assert!(left.bytes <= max_bytes || left.segments == 1, "{max_bytes}: {left:?}");
        assert_eq!(left.first_id, oldest);
        assert!(left.bytes + each + 200 > max_bytes.min(all.bytes), "{max_bytes}: {left:?}");
    }
    assert_eq!(wal.stream("empty").unwrap().oldest_within(0), 0);
    stream.truncate_before(95).unwrap();
    assert_eq!(stream.oldest_within(u64::MAX), 95);
}

#[test]
fn the_point_is_found_where_slices_have_it() {
    let wal = filled(&SimDisk::new(1));
    let stream = wal.stream("s").unwrap();
    for first in [0, 1, 37, 99, 100] {
        stream.truncate_before(first).unwrap();
        for cutoff in 0..305 {
            let found = stream.partition_point(|_, entry| value(entry) < cutoff).unwrap();
            let ids: Vec<u64> = (first..100).collect();
            assert_eq!(found, first + ids.partition_point(|id| 3 * id < cutoff) as u64, "{first}");
        }
    }
    assert_eq!(wal.stream("empty").unwrap().partition_point(|_, _| true).unwrap(), 0);
}

#[test]
fn few_entries_are_read_and_damage_is_said() {
    let disk = SimDisk::new(1);
    let wal = filled(&disk);
    let mut looked_at = Vec::new();
    let is_before = |id: u64, entry: &[u8]| {
        assert_eq!(value(entry), 3 * id);
        looked_at.push(id);
        id < 50
    };
    assert_eq!(wal.stream("s").unwrap().partition_point(is_before).unwrap(), 50);
    assert!(looked_at.len() <= 7, "{looked_at:?}");
    drop(wal);
    let options = WalOptions { sync_mode: SyncMode::Strict, ..WalOptions::new("/log") };
    let path = std::path::Path::new("/log/s/00000000000000000050.wal");
    disk.overwrite(path, 8192 + 24, &[0xEE; 300]).unwrap();
    let wal = open(&disk, &options).unwrap();
    let error = wal.stream("s").unwrap().partition_point(|id, _| id < 50).unwrap_err();
    assert!(matches!(error, ironwal::Error::Damaged { .. }), "{error}");
}

/// Somebody prunes and cuts while it is looked for.
#[test]
fn it_ends_while_the_stream_changes() {
    let wal = filled(&SimDisk::new(1));
    let stream = wal.stream("s").unwrap();
    let mut looks = 0;
    let found = stream
        .partition_point(|id, _| {
            looks += 1;
            match looks {
                1 => drop(stream.truncate_before(80).unwrap()),
                2 => stream.truncate_after(Some(84)).unwrap(),
                _ => {}
            }
            id < 90
        })
        .unwrap();
    assert!((80..=100).contains(&found), "{found}");
}
