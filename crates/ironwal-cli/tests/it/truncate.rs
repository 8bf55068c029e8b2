//! `truncate` cuts off the end of a stream.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::logs::{full_segments, orders};
use crate::program::{Ran, append, cat, run};

fn truncate(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["truncate", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn what_is_behind_the_entry_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 60);
    let ran = truncate(dir.path(), &["s", "--after", "20", "--yes"]);
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    assert_eq!(
        ran.err,
        "cut off 39 entries (ids 21..60) of stream \"s\": 3 segments deleted; the next id is 21\n"
    );
    assert_eq!(append(dir.path(), "s", &[], b"x\n"), "appended 1 entry to \"s\" (ids 21..22)\n");
    let ran = truncate(dir.path(), &["s", "--after", "21", "--yes"]);
    assert_eq!(ran.err, "nothing to cut off: the next id of stream \"s\" is 22\n");
    let ran = truncate(dir.path(), &["s", "--after", &u64::MAX.to_string(), "--yes"]);
    assert_eq!((ran.code, ran.err.contains("nothing to cut off")), (0, true));
}

#[test]
fn without_a_yes_nothing_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    truncate(dir.path(), &["orders", "--after", "0"]).fails(2, &["give --yes"]);
    assert_eq!(cat(dir.path(), "orders", &[]).quiet(), b"tea\ncoffee\ncake\n");
}

#[test]
fn what_cannot_be_cut_off_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    truncate(&missing, &["s", "--after", "0", "--yes"]).fails(1, &["there is no log in"]);
    assert!(!missing.exists());
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    wal.append_batch("s", &[b"a", b"b", b"c", b"d"]).unwrap();
    let locked = truncate(dir.path(), &["s", "--after", "0", "--yes"]);
    locked.fails(1, &["another process has the log", "wait until it closes it"]);
    wal.stream("s").unwrap().truncate_before(3).unwrap();
    wal.close().unwrap();
    drop(wal);
    truncate(dir.path(), &["unknown", "--after", "0", "--yes"]).fails(1, &["no stream"]);
    truncate(dir.path(), &["s", "--after", "1", "--yes"]).fails(2, &["cannot cut off"]);
    assert_eq!(truncate(dir.path(), &["s", "--yes"]).code, 2);
    assert_eq!(truncate(dir.path(), &["s", "--after", "x", "--yes"]).code, 2);
    assert_eq!(cat(dir.path(), "s", &["--ids"]).quiet(), b"3\td\n");
}
