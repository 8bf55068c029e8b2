//! Damaged entries are named and skipped.

use std::fs;
use std::path::Path;

use crate::logs::{flip, orders, segment};
use crate::program::{append, cat, run};

/// Flips a bit of the first place where `payload` is found in the stream's files.
pub(crate) fn damage(dir: &Path, payload: &[u8]) {
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(payload.len()).position(|window| window == payload);
        if let Some(position) = found {
            bytes[position] ^= 1;
            fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("the payload is in no file of {}", dir.display());
}

#[test]
fn a_damaged_entry_is_named_and_the_others_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"entry zero\nentry one\nentry two\nentry three\n");
    damage(&dir.path().join("s"), b"entry one");

    let ran = cat(dir.path(), "s", &["--ids"]);
    ran.fails(1, &["ironwal: Damaged entries 1..2 of stream \"s\"", ".wal at offset"]);
    assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
    assert_eq!(ran.text(), "0\tentry zero\n2\tentry two\n3\tentry three\n");

    // Damage outside the range is not looked at.
    assert_eq!(cat(dir.path(), "s", &["--from", "2"]).quiet(), b"entry two\nentry three\n");
    assert_eq!(cat(dir.path(), "s", &["--to", "1"]).quiet(), b"entry zero\n");
    cat(dir.path(), "s", &["--from", "1", "--to", "2"]).fails(1, &["entries 1..2"]);
}

#[test]
fn a_damaged_batch_is_named_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &["--batch", "3"], b"a0\na1\na2\nb3\nbatch b4\nb5\nc6\nc7\nc8\n");
    damage(&dir.path().join("s"), b"batch b4");
    let ran = cat(dir.path(), "s", &["--ids"]);
    ran.fails(1, &["Damaged entries 3..6"]);
    assert_eq!(ran.text(), "0\ta0\n1\ta1\n2\ta2\n6\tc6\n7\tc7\n8\tc8\n");
    // A range that begins inside.
    let ran = cat(dir.path(), "s", &["--from", "4", "--to", "7"]);
    ran.fails(1, &["Damaged entries 3..6"]);
    assert_eq!(ran.text(), "c6\n");
    // And one that ends inside.
    assert_eq!(cat(dir.path(), "s", &["--to", "3"]).quiet(), b"a0\na1\na2\n");
    cat(dir.path(), "s", &["--to", "4"]).fails(1, &["Damaged entries 3..6"]);
}

/// Nobody knows where a stream ends whose newest segment has lost its header: it is not an empty one.
#[test]
fn a_stream_without_an_end_does_not_pass_for_empty() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    flip(&segment(dir.path(), "orders", 0), 30);
    flip(&segment(dir.path(), "orders", 0), 4096 + 30);
    let path = dir.path().to_str().unwrap();
    let damage = "Damaged entries from 0 on";
    run(&["cat", path, "orders"]).fails(1, &[damage]);
    run(&["tail", path, "orders"]).fails(1, &[damage]);
    run(&["stat", path]).fails(1, &[damage]);
    run(&["truncate", path, "orders", "--after", "0", "--yes"]).fails(1, &[damage]);
    run(&["prune", path, "orders", "--before", "1"]).fails(1, &[damage]);
    let ran = run(&["delete", path, "orders", "--yes"]);
    assert_eq!(
        ran.err,
        "deleted stream \"orders\": 0 entries in 1 segment, and what cannot be read\n"
    );
}
