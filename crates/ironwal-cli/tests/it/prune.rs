//! `prune` drops the beginning of a stream, `restore` brings it back from an archive.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::logs::{full_segments, orders};
use crate::program::{Ran, append, cat, run};

fn prune(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["prune", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

fn restore(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["restore", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[track_caller]
fn said(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    &ran.err
}

#[test]
fn what_is_before_the_entry_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 60);
    let ran = prune(dir.path(), &["s", "--before", "40"]);
    assert_eq!(
        said(&ran),
        "pruned 40 entries (ids 0..40) of stream \"s\": 3 segments deleted; the first id is 40\n"
    );
    let ran = cat(dir.path(), "s", &["--ids", "--to", "41"]).quiet();
    assert_eq!(ran, format!("40\t{:050}\n", 40).into_bytes());
    let ran = prune(dir.path(), &["s", "--before", "40"]);
    assert_eq!(said(&ran), "nothing to prune: the first id of stream \"s\" is 40\n");
    let ran = prune(dir.path(), &["s", "--before", "1000"]);
    assert!(said(&ran).starts_with("pruned 20 entries (ids 40..60) of stream \"s\": "), "{ran:?}");
    assert_eq!(append(dir.path(), "s", &[], b"x\n"), "appended 1 entry to \"s\" (ids 60..61)\n");
}

#[test]
fn so_many_bytes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 60);
    let ran = prune(dir.path(), &["s", "--keep", "1000000"]);
    assert_eq!(said(&ran), "nothing to prune: the first id of stream \"s\" is 0\n");
    let ran = prune(dir.path(), &["s", "--keep", "0"]);
    assert!(said(&ran).contains("segments deleted; the first id is "), "{ran:?}");
    let left = cat(dir.path(), "s", &[]).text().lines().count();
    assert!((1..20).contains(&left), "{left}");
    assert_eq!(prune(dir.path(), &["s", "--keep", "0", "--before", "3"]).code, 2);
    assert_eq!(prune(dir.path(), &["s"]).code, 2);
}

#[test]
fn what_was_archived_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, archive) = (dir.path().join("log"), dir.path().join("archive"));
    full_segments(&log, 60);
    let all = cat(&log, "s", &["--ids"]).quiet();
    let to = ["--archive", archive.to_str().unwrap()];
    let ran = prune(&log, &["s", "--before", "12", to[0], to[1]]);
    assert_eq!(
        said(&ran),
        "pruned 12 entries (ids 0..12) of stream \"s\": 1 segment archived; the first id is 12\n"
    );
    let ran = restore(&log, &["s", to[0], to[1]]);
    assert_eq!(said(&ran), "restored 1 segment of stream \"s\": it has 60 entries (ids 0..60)\n");
    assert!(cat(&log, "s", &["--ids"]).quiet() == all);
    let ran = restore(&log, &["s", to[0], to[1]]);
    assert!(said(&ran).starts_with("nothing to restore: no segment in "), "{ran:?}");
}

#[test]
fn what_cannot_be_done_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (log, archive) = (dir.path().join("log"), dir.path().join("archive"));
    let to = ["--archive", archive.to_str().unwrap()];
    restore(&log, &["s", to[0], to[1]]).fails(1, &["there is no archive in"]);
    std::fs::create_dir(&archive).unwrap();
    restore(&log, &["s", to[0], to[1]]).fails(1, &["there is no log in"]);
    prune(&log, &["s", "--before", "1"]).fails(1, &["there is no log in"]);
    assert!(!log.exists());
    orders(&log);
    prune(&log, &["s", "--before", "1"]).fails(1, &["no stream \"s\""]);
    let inside = log.join("archive");
    prune(&log, &["orders", "--before", "1", "--archive", inside.to_str().unwrap()]).fails(2, &[]);
    assert_eq!(prune(&log, &["orders"]).code, 2);
    assert_eq!(restore(&log, &["orders"]).code, 2);
    let wal = Wal::new(WalOptions::new(&log)).unwrap();
    prune(&log, &["orders", "--before", "1"]).fails(1, &["another process has the log"]);
    restore(&log, &["orders", to[0], to[1]]).fails(1, &["another process has the log"]);
    wal.close().unwrap();
    assert_eq!(cat(&log, "orders", &[]).quiet(), b"tea\ncoffee\ncake\n");
}
