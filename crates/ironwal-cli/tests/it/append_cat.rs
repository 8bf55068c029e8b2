//! What goes in through `append` comes out of `cat`.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::program::{append, cat, program, run};

#[test]
fn lines_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let input = b"first\n\nwith \r\n\xff\x00\xfe binary\n\n";
    let said = append(dir.path(), "orders", &[], input);
    assert_eq!(said, "appended 5 entries to \"orders\" (ids 0..5)\n");
    assert_eq!(cat(dir.path(), "orders", &[]).quiet(), input);
}

#[test]
fn the_last_line_needs_no_newline() {
    let dir = tempfile::tempdir().unwrap();
    let said = append(dir.path(), "s", &[], b"one\ntwo");
    assert_eq!(said, "appended 2 entries to \"s\" (ids 0..2)\n");
    assert_eq!(append(dir.path(), "s", &[], b"three"), "appended 1 entry to \"s\" (ids 2..3)\n");
    assert_eq!(cat(dir.path(), "s", &[]).quiet(), b"one\ntwo\nthree\n");
}

#[test]
fn no_input_appends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for options in [&[][..], &["--batch", "3"]] {
        assert_eq!(append(dir.path(), "s", options, b""), "appended 0 entries to \"s\"\n");
    }
    cat(dir.path(), "s", &[]).fails(1, &["no stream \"s\""]);
}

#[test]
fn every_mode_and_batch_size_gives_the_same_entries() {
    let input: Vec<u8> = (0..100).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    for mode in ["strict", "batch-only", "async"] {
        for batch in [&[][..], &["--batch", "1"], &["--batch", "7"], &["--batch", "1000"]] {
            let dir = tempfile::tempdir().unwrap();
            let mut options = vec!["--mode", mode];
            options.extend(batch);
            let said = append(dir.path(), "s", &options, &input);
            assert_eq!(said, "appended 100 entries to \"s\" (ids 0..100)\n", "{options:?}");
            assert_eq!(cat(dir.path(), "s", &[]).quiet(), input, "{options:?}");
        }
    }
}

#[test]
fn a_range_and_ids_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"a\nb\nc\nd\n");
    let printed =
        |options: &[&str]| String::from_utf8(cat(dir.path(), "s", options).quiet()).unwrap();
    assert_eq!(printed(&["--from", "2"]), "c\nd\n");
    assert_eq!(printed(&["--to", "2"]), "a\nb\n");
    assert_eq!(printed(&["--from", "1", "--to", "3"]), "b\nc\n");
    assert_eq!(printed(&["--from", "1", "--to", "3", "--ids"]), "1\tb\n2\tc\n");
    assert_eq!(printed(&["--from", "3", "--to", "99", "--ids"]), "3\td\n");
    assert_eq!(printed(&["--from", "2", "--to", "2"]), "");
    assert_eq!(printed(&["--from", "4"]), "");
    assert_eq!(printed(&["--from", &u64::MAX.to_string()]), "");
    cat(dir.path(), "s", &["--from", "3", "--to", "2"]).fails(2, &["--to 2", "--from 3"]);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    // Much more than fits into a pipe and the program's own buffer.
    let line = "x".repeat(999);
    let input = format!("{line}\n").repeat(20_000).into_bytes();
    append(dir.path(), "s", &["--mode", "async", "--batch", "1000"], &input);

    let mut child = program()
        .args(["cat", dir.path().to_str().unwrap(), "s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(first.trim_end(), line);
    assert_eq!(said, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // The log was closed properly.
    let range = ["--from", "19999"];
    assert_eq!(cat(dir.path(), "s", &range).quiet(), format!("{line}\n").into_bytes());
}

#[test]
fn unusual_names_work() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["with space/and slash", "..dots", "ünï", "-dash"] {
        let path = dir.path().to_str().unwrap();
        let ran = crate::program::run_with_input(&["append", path, "--", name], b"x\n");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(run(&["cat", path, "--", name]).quiet(), b"x\n");
    }
}
