//! `cat` and `ls` beside a process that writes to the log: the test has it open, the program is
//! another process.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::program::{cat, content, run};

fn options(dir: &Path) -> WalOptions {
    // A few entries each.
    WalOptions { max_segment_size: 200, ..WalOptions::new(dir) }
}

#[test]
fn what_is_committed_is_printed_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(options(dir.path())).unwrap();
    let orders = wal.stream("orders").unwrap();
    let mut expected = String::new();
    for round in 0..5 {
        for line in 0..4 {
            let entry = format!("line {line} of round {round}");
            orders.append(entry.as_bytes()).unwrap();
            expected += &format!("{entry}\n");
        }
        let before = content(dir.path());
        assert_eq!(cat(dir.path(), "orders", &[]).quiet(), expected.as_bytes());
        let listed = run(&["ls".as_ref(), dir.path().as_os_str()]).quiet();
        let row = format!("orders 0 {n} {n}", n = 4 * (round + 1));
        let listed = String::from_utf8(listed).unwrap();
        let listed = listed.lines().last().unwrap();
        assert_eq!(listed.split_whitespace().collect::<Vec<_>>().join(" "), row);
        assert!(before == content(dir.path()), "round {round}: the program changed something");
    }
    orders.truncate_before(18).unwrap();
    let kept = "18\tline 2 of round 4\n19\tline 3 of round 4\n";
    assert_eq!(cat(dir.path(), "orders", &["--ids"]).quiet(), kept.as_bytes());
    cat(dir.path(), "unknown", &[]).fails(1, &["no stream \"unknown\""]);

    wal.delete_stream("orders").unwrap();
    cat(dir.path(), "orders", &[]).fails(1, &["no stream \"orders\""]);
    wal.append("orders", b"anew").unwrap();
    assert_eq!(cat(dir.path(), "orders", &["--ids"]).quiet(), b"0\tanew\n");
    wal.close().unwrap();
    assert_eq!(cat(dir.path(), "orders", &["--ids"]).quiet(), b"0\tanew\n");
}

/// While somebody appends without a pause, each run prints entries without a gap from the first one
/// on, at least those that were acknowledged before it began, and comes to an end.
#[test]
fn a_writer_that_never_stops_keeps_nobody_from_the_end() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        sync_mode: ironwal::SyncMode::Async,
        max_segment_size: 100_000,
        ..options(dir.path())
    };
    let wal = Wal::new(options).unwrap();
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    wal.append("s", b"0").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(wal.append("s", id.to_string().as_bytes()).unwrap(), id);
                acknowledged.store(id, Ordering::Release);
            }
        });
        let mut runs = Vec::new();
        for _ in 0..5 {
            let at_least = acknowledged.load(Ordering::Acquire);
            runs.push((at_least, cat(dir.path(), "s", &["--ids"])));
        }
        stop.store(true, Ordering::Relaxed);
        for (at_least, ran) in runs {
            let printed = String::from_utf8(ran.quiet()).unwrap();
            let mut due = 0;
            for line in printed.lines() {
                assert_eq!(line, format!("{due}\t{due}"));
                due += 1;
            }
            assert!(due > at_least, "{due} of {at_least}");
        }
    });
    wal.close().unwrap();
}
