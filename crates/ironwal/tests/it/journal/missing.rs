//! A file of the journal that somebody took away.

use ironwal::storage::Storage;
use ironwal::{CorruptionPolicy, Error, SyncMode, WalOptions};

use super::{append_together, disk, entries, frames_in, journal, options, try_open, turn_over};

const SMALL: u64 = 64 * 1024;

/// Moving one file away "to go on without it" took what it held, and what the other one held above
/// that was taken for a torn tail: nobody said a word.
#[test]
fn nobody_takes_a_file_away_unnoticed() {
    for seed in 0..3 {
        let disk = disk(seed);
        let strictly =
            WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Strict) };
        let wal = try_open(&disk, &strictly, SMALL).unwrap();
        append_together(&wal, &[("a", b"1"), ("b", b"1")]).unwrap();
        turn_over(&disk, &wal, 1);
        while frames_in(&disk, 1).is_empty() {
            append_together(&wal, &[("a", b"2"), ("b", b"2")]).unwrap();
        }
        let counts = ["a", "b"].map(|name| entries(&wal, name).len());
        disk.crash();
        drop(wal);
        disk.remove_file(&journal(0)).unwrap();
        let refused = try_open(&disk, &strictly, SMALL).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Corruption(_)), "{refused}");
        // Here everything in it was in the segments.
        let wal = try_open(&disk, &options(SyncMode::Strict), SMALL).unwrap();
        assert_eq!(["a", "b"].map(|name| entries(&wal, name).len()), counts);
    }
}
