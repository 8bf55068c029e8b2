//! `ls` lists the streams.

use crate::program::{append, run};

#[test]
fn streams_are_listed_with_their_ids() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "orders", &[], b"a\nb\nc\n");
    append(dir.path(), "a\nname", &[], b"x\n");
    let ran = run(&["ls".as_ref(), dir.path().as_os_str()]);
    let rows: Vec<Vec<&str>> =
        ran.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            vec!["stream", "first", "id", "next", "id", "entries"],
            vec!["a\\nname", "0", "1", "1"],
            vec!["orders", "0", "3", "3"],
        ]
    );
    ran.quiet();
}

#[test]
fn an_empty_log_has_a_head_and_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"");
    let listed = run(&["ls".as_ref(), dir.path().as_os_str()]).quiet();
    assert_eq!(String::from_utf8(listed).unwrap().lines().count(), 1);
}

/// Both copies of a header are overwritten: nobody knows how many entries there were.
#[test]
fn a_stream_whose_end_cannot_be_read_does_not_pass_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "lost", &[], b"a\nb\n");
    append(dir.path(), "whole", &[], b"c\n");
    let segment = dir.path().join("lost/00000000000000000000.wal");
    let mut content = std::fs::read(&segment).unwrap();
    content[..8192].fill(0xEE);
    std::fs::write(&segment, content).unwrap();
    let ran = run(&["ls".as_ref(), dir.path().as_os_str()]);
    assert!(ran.text().lines().any(|line| line.starts_with("whole")), "{ran:?}");
    ran.fails(1, &["Damaged entries from 0 on of stream \"lost\"", "restore them from a backup"]);
}
