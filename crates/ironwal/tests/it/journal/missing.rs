//! A file of the journal that somebody took away.

use ironwal::storage::Storage;
use ironwal::{CorruptionPolicy, Error, SyncMode, WalOptions};

use super::{
    append_together, disk, entries, frames_in, journal, open, options, try_open, turn_over,
};

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

/// Both slots of a file in use are gone, and with them what tells its frames from those of other lives.
#[test]
fn a_file_without_a_header_is_an_error_under_either_policy() {
    for on_corruption in [CorruptionPolicy::Truncate, CorruptionPolicy::Error] {
        let options = WalOptions { on_corruption, ..options(SyncMode::Strict) };
        let disk = disk(1);
        let wal = open(&disk, &options);
        wal.append("s", b"in the journal").unwrap();
        disk.kill();
        let header = disk.contents(&journal(0)).unwrap()[..8192].to_vec();
        for slot in [0, 4096] {
            disk.overwrite(&journal(0), slot, &[0xEE; 64]).unwrap();
        }
        let error = try_open(&disk, &options, SMALL).unwrap_err();
        assert!(matches!(error, Error::Corruption(_)), "{error}");
        assert!(error.to_string().contains("/log/.journal.0"), "{error}");
        disk.overwrite(&journal(0), 0, &header).unwrap();
        let wal = open(&disk, &options);
        assert_eq!(wal.get("s", 0).unwrap().as_deref(), Some(&b"in the journal"[..]));
    }
}
