//! Closing: nothing is left in the journal, unless a stream could not be brought to its end.

use std::io::ErrorKind;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Error, SyncMode, WalOptions};

use super::{append_together, disk, entries, journal, live_frames, open, options};

fn fill(disk: &SimDisk, options: &WalOptions) -> ironwal::Wal {
    let wal = open(disk, options);
    for nth in 0..7 {
        append_together(&wal, &[("a", &[nth; 500]), ("b", &[nth; 60])]).unwrap();
        wal.append("c", &[nth; 5]).unwrap();
    }
    assert!(live_frames(disk) > 0);
    wal
}

/// Behind a close the journal can be garbage.
#[test]
fn after_a_clean_close_nothing_is_replayed() {
    let modes = [SyncMode::Strict, SyncMode::Async];
    for (mode, drops) in modes.into_iter().flat_map(|mode| [false, true].map(|drops| (mode, drops)))
    {
        let options = WalOptions { on_corruption: CorruptionPolicy::Error, ..options(mode) };
        let disk = disk(1);
        let wal = fill(&disk, &options);
        if drops {
            drop(wal);
        } else {
            wal.close().unwrap();
        }
        disk.crash();
        assert_eq!(live_frames(&disk), 0, "{mode:?}");
        let writes = |disk: &SimDisk| {
            let before = disk.calls(CallKind::Write);
            let wal = open(disk, &options);
            assert_eq!(entries(&wal, "a").len(), 7);
            assert_eq!(entries(&wal, "c").len(), 7);
            let writes = disk.calls(CallKind::Write) - before;
            disk.kill();
            drop(wal);
            writes
        };
        let first = writes(&disk);
        let again = writes(&disk);
        assert_eq!(first, again, "{mode:?}: something was written to the segments");
        for nth in 0..2 {
            if let Ok(bytes) = disk.contents(&journal(nth)) {
                disk.overwrite(&journal(nth), 8192, &vec![0xEE; bytes.len() - 8192]).unwrap();
            }
        }
        assert_eq!(writes(&disk), again, "{mode:?}");
    }
}

/// A stream is poisoned, so its segment cannot be brought up to what the journal holds of it.
#[test]
fn what_a_poisoned_stream_could_not_write_is_in_the_journal_after_a_close() {
    for (seed, drops) in (0..20).flat_map(|seed| [false, true].map(|drops| (seed, drops))) {
        let disk = disk(seed);
        let wal = fill(&disk, &options(SyncMode::Strict));
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("a", &[9; 20_000]).unwrap_err();
        disk.clear_faults();
        if drops {
            drop(wal);
        } else {
            let error = wal.close().unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
            assert!(matches!(wal.append("a", b"1"), Err(Error::Closed)));
        }
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict));
        let found: Vec<u8> = entries(&wal, "a").iter().map(|entry| entry[0]).collect();
        assert!(found.starts_with(&[0, 1, 2, 3, 4, 5, 6]), "seed {seed}: {found:?}");
        assert_eq!((entries(&wal, "b").len(), entries(&wal, "c").len()), (7, 7), "seed {seed}");
        wal.close().unwrap();
        assert_eq!(live_frames(&disk), 0);
    }
}

/// The power goes while the log is closed, at any call.
#[test]
fn nothing_is_lost_when_the_power_goes_during_a_close() {
    super::at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = fill(&disk, &options(SyncMode::Strict));
            (disk, wal)
        },
        |wal| wal.close().is_ok(),
        |disk, closed, call| {
            assert!(!closed || live_frames(disk) == 0, "call {call}");
            let wal = open(disk, &options(SyncMode::Strict));
            for name in ["a", "b", "c"] {
                let found: Vec<u8> = entries(&wal, name).iter().map(|entry| entry[0]).collect();
                assert_eq!(found, [0, 1, 2, 3, 4, 5, 6], "call {call}: {name}");
            }
        },
    );
}
