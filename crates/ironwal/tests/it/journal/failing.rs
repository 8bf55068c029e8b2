//! A file of the journal cannot be synced: nothing can be trusted that was being written to it, so the
//! log takes no appends any more.

use std::io::ErrorKind;

use ironwal::storage::sim::CallKind;
use ironwal::{SyncMode, Wal};

use super::{append_together, disk, entries, open, options, turn_over};

/// Fails the first sync that `work` makes, then the second, and so on. When it is one of the journal's,
/// no stream takes appends after it, and what was acknowledged before is there after a crash. Returns
/// how many of those there were.
fn fail_each_sync(work: impl Fn(&Wal)) -> usize {
    let mut of_journal = 0;
    for nth in 1..500 {
        let disk = disk(nth);
        disk.configure(|config| config.trace = true);
        let wal = open(&disk, &options(SyncMode::Strict));
        // Both files are there, so no sync is one of a file that nobody uses yet.
        turn_over(&disk, &wal, 2);
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        append_together(&wal, &[("a", b"1"), ("b", b"1")]).unwrap();
        let before = disk.trace().len();
        disk.fail_nth(CallKind::Sync, nth, ErrorKind::Other);
        work(&wal);
        disk.clear_faults();
        let trace = disk.trace();
        let mut syncs = trace[before..].iter().filter(|call| call.contains("sync /"));
        let Some(failed) = syncs.nth(nth as usize - 1) else { return of_journal };
        if failed.contains(".journal") {
            of_journal += 1;
            for name in ["a", "b", "unrelated"] {
                let error = wal.append(name, b"more").unwrap_err().to_string();
                assert!(error.contains("fdatasync /log/.journal"), "sync {nth}: {name}: {error}");
            }
        }
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        assert_eq!(entries(&wal, "a")[0], b"0", "sync {nth}");
        assert_eq!(entries(&wal, "b")[..2], [b"0", b"1"], "sync {nth}");
    }
    panic!("it does not come to its end");
}

/// While a void is recorded.
#[test]
fn a_void_that_fails_fails_the_log() {
    let voids = fail_each_sync(|wal| {
        // Whether it succeeds is another test's business.
        let _ = wal.stream("a").unwrap().truncate_after(Some(0));
    });
    assert!(voids > 0);
}

/// While a full file is freed.
#[test]
fn a_file_that_cannot_be_freed_fails_the_log() {
    let freed = fail_each_sync(|wal| {
        let append = |_| wal.append("filler", &[7; 3000]).is_ok();
        (0..60).all(append);
    });
    assert!(freed > 3, "{freed}");
}
