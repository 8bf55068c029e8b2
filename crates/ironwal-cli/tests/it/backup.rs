//! `backup` copies a log as it is at one instant, whole or not at all.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::{Wal, WalOptions};

use crate::logs::{flip, full_segments, large, of, orders, segment};
use crate::program::{Ran, cat, content, run};
use crate::verify::verify;

fn backup(dir: &Path, options: &[&str]) -> Ran {
    let (log, to) = (dir.join("log"), dir.join("backup"));
    let mut args = vec!["backup", log.to_str().unwrap(), to.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn a_backup_is_the_log_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    let before = content(&log);
    let ran = backup(dir.path(), &[]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    assert_eq!(
        of(dir.path(), &ran),
        "backed up: DIR/backup is whole: 3 entries of 1 stream, in 1 segment of 8,288 bytes\n"
    );
    assert!(content(&log) == before);
    let copy = dir.path().join("backup");
    assert_eq!(verify(&copy, &[]).code, 0);
    assert_eq!(cat(&copy, "orders", &["--ids"]).quiet(), b"0\ttea\n1\tcoffee\n2\tcake\n");
    assert_eq!(
        crate::program::append(&copy, "orders", &[], b"pie\n"),
        "appended 1 entry to \"orders\" (ids 3..4)\n"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn json_is_the_result() {
    let dir = tempfile::tempdir().unwrap();
    orders(&dir.path().join("log"));
    std::fs::create_dir(dir.path().join("backup")).unwrap();
    let printed = backup(dir.path(), &["--json"]).quiet();
    assert_eq!(
        String::from_utf8(printed).unwrap(),
        "{\"type\":\"backup\",\"whole\":true,\"open\":false,\"streams\":1,\"segments\":1,\
         \"entries\":3,\"bytes\":8288,\"findings\":{}}\n"
    );
}

/// The test appends to two streams, one after the other, without a pause, while another process makes the
/// backup. What had been acknowledged when it began is there, and no stream is ahead of the other.
#[test]
fn beside_a_writer_it_is_one_instant() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        sync_mode: ironwal::SyncMode::Async,
        max_segment_size: 50_000,
        ..WalOptions::new(dir.path().join("log"))
    };
    let wal = Wal::new(options).unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    wal.append("b", b"0").unwrap();
    wal.append("a", b"0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..2_000_000_u64 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(wal.append("b", id.to_string().as_bytes()).unwrap(), id);
                assert_eq!(wal.append("a", id.to_string().as_bytes()).unwrap(), id);
                acknowledged.store(id, Ordering::Release);
            }
        });
        let at_least = acknowledged.load(Ordering::Acquire);
        let ran = backup(dir.path(), &[]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(ran.code, 0, "{ran:?}");
        let copy = Wal::new(WalOptions::new(dir.path().join("backup"))).unwrap();
        let ends = ["b", "a"].map(|name| copy.stream(name).unwrap().next_id());
        assert!(ends[0] == ends[1] || ends[0] == ends[1] + 1, "{ends:?}");
        assert!(ends[1] > at_least, "{ends:?}, {at_least}");
        for entry in copy.iter_with_ids("a", 0).unwrap() {
            let (id, entry) = entry.unwrap();
            assert_eq!(entry, id.to_string().as_bytes());
        }
    });
    wal.close().unwrap();
}

#[test]
fn what_cannot_be_backed_up_says_why() {
    let dir = tempfile::tempdir().unwrap();
    backup(dir.path(), &[]).fails(1, &["ironwal: there is no log in"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let log = dir.path().join("log");
    full_segments(&log, 40);
    let copy = dir.path().join("backup");
    std::fs::create_dir(&copy).unwrap();
    std::fs::write(copy.join("mine"), b"mine").unwrap();
    backup(dir.path(), &[]).fails(2, &["is not empty"]);
    assert_eq!(std::fs::read(copy.join("mine")).unwrap(), b"mine");
    std::fs::remove_dir_all(&copy).unwrap();
    let inside = log.join("inside");
    let args = ["backup", log.to_str().unwrap(), inside.to_str().unwrap()];
    run(&args).fails(2, &["are not beside each other"]);
    assert_eq!(run(&["backup", log.to_str().unwrap()]).code, 2);

    flip(&segment(&log, "s", 0), 8192 + 30);
    let ran = backup(dir.path(), &[]);
    ran.fails(1, &["ironwal: cannot back up the log", "log/s/00000000000000000000.wal at 8192"]);
    ran.fails(1, &["`ironwal repair` makes a repaired copy"]);
    // Nothing is left.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A limit on the size of files stands in for a full disk.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    large(&log);
    let copy = dir.path().join("backup");
    let args = ["backup", log.to_str().unwrap(), copy.to_str().unwrap()];
    let ran = crate::program::run_with_short_files(64, &args);
    ran.fails(1, &["ironwal: cannot back up the log in ", "no space left for "]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(backup(dir.path(), &[]).code, 0);
}

/// Ctrl-C comes when the program begins to watch for it. A copy can be faster; then it is tried again.
#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_leaves_nothing() {
    const ATTEMPTS_MAX: u32 = 20;

    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("backup"));
    full_segments(&log, 1500);
    for _ in 0..ATTEMPTS_MAX {
        let args = ["backup", log.to_str().unwrap(), copy.to_str().unwrap()];
        let (code, said) = crate::repair::interrupted(&args);
        if code == Some(0) {
            std::fs::remove_dir_all(&copy).unwrap();
            continue;
        }
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("ironwal: interrupted; there is no backup in "), "{said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        return;
    }
    panic!("{ATTEMPTS_MAX} copies were complete before Ctrl-C");
}
