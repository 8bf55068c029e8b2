//! `delete` deletes a stream.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::logs::full_segments;
use crate::program::{Ran, append, cat, run};

fn delete(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["delete", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn a_stream_is_deleted_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 60);
    append(dir.path(), "other", &[], b"x\n");
    delete(dir.path(), &["s"]).fails(2, &["give --yes"]);
    assert_eq!(cat(dir.path(), "s", &[]).quiet().len(), 60 * 51);
    let ran = delete(dir.path(), &["s", "--yes"]);
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    assert_eq!(ran.err, "deleted stream \"s\": 60 entries (ids 0..60) in 5 segments\n");
    cat(dir.path(), "s", &[]).fails(1, &["no stream \"s\""]);
    assert_eq!(cat(dir.path(), "other", &[]).quiet(), b"x\n");
    assert_eq!(append(dir.path(), "s", &[], b"x\n"), "appended 1 entry to \"s\" (ids 0..1)\n");
}

#[test]
fn what_cannot_be_deleted_says_why() {
    let dir = tempfile::tempdir().unwrap();
    delete(dir.path(), &["s", "--yes"]).fails(1, &["there is no log in"]);
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    wal.append("s", b"x").unwrap();
    delete(dir.path(), &["s", "--yes"]).fails(1, &["another process has the log"]);
    wal.close().unwrap();
    drop(wal);
    delete(dir.path(), &["unknown", "--yes"]).fails(1, &["no stream \"unknown\""]);
    delete(dir.path(), &["", "--yes"]).fails(2, &["cannot read"]);
    assert_eq!(delete(dir.path(), &["--yes"]).code, 2);
    assert_eq!(cat(dir.path(), "s", &[]).quiet(), b"x\n");
}
