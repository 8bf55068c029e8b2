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
