//! Bad input, and places that cannot be used.

use std::fs::{self, File};

use crate::{Case, files};

#[track_caller]
fn refused(case: &Case, options: &[&str], code: i32, parts: &[&str]) {
    let before = files(&case.new_log());
    case.migrate(options).fails(code, parts);
    assert_eq!(files(&case.new_log()), before);
}

#[test]
fn there_is_no_old_log() {
    let case = Case::empty();
    refused(&case, &[], 1, &["cannot read", "old"]);
    fs::create_dir(case.old()).unwrap();
    fs::create_dir(case.old().join("lost+found")).unwrap();
    refused(&case, &[], 2, &["there is no log of ironwal 0.6 in"]);
    assert!(!case.work().exists());
}

#[test]
fn it_is_a_new_log_already() {
    let case = Case::new("plain");
    assert_eq!(case.migrate(&[]).code, 0);
    fs::remove_dir_all(case.old()).unwrap();
    fs::rename(case.new_log(), case.old()).unwrap();
    refused(&case, &[], 2, &["is a log of ironwal 0.7 already"]);
}

#[test]
fn the_new_directory_cannot_be_used() {
    let case = Case::new("plain");
    fs::create_dir(case.new_log()).unwrap();
    fs::write(case.new_log().join("mine"), b"precious").unwrap();
    refused(&case, &[], 2, &["is not empty"]);
    fs::remove_file(case.new_log().join("mine")).unwrap();
    assert_eq!(case.migrate(&[]).code, 0);
    let scratch = case.old().join("inside");
    refused(&Case { dir: case.dir }, &["--scratch", scratch.to_str().unwrap()], 2, &[]);
}

#[test]
fn directories_inside_of_each_other() {
    let case = Case::new("plain");
    let scratch = case.old().join("inside");
    refused(&case, &["--scratch", scratch.to_str().unwrap()], 2, &["not beside each other"]);
    let inside = std::process::Command::new(env!("CARGO_BIN_EXE_ironwal-migrate"))
        .args([case.old(), case.old().join("new")])
        .output()
        .unwrap();
    assert_eq!(inside.status.code(), Some(2));
    assert!(!case.old().join("new").exists() && !scratch.exists());
}

#[test]
fn the_copy_is_made_elsewhere() {
    let case = Case::new("plain");
    let scratch = case.dir.path().join("scratch");
    let ran = case.migrate(&["--scratch", scratch.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

#[test]
fn the_number_of_shards_is_not_known() {
    let case = Case::new("sharded");
    refused(&case, &["--shards", "16"], 2, &["is over 8 shards, and not over 16"]);
    refused(&case, &["--shards", "0"], 2, &["is over 8 shards"]);
    fs::remove_file(case.old().join("checkpoints.log")).unwrap();
    fs::remove_file(case.old().join("HEAD")).unwrap();
    refused(&case, &[], 2, &["shards up to number 7", "--shards"]);
    refused(&case, &["--shards", "7"], 2, &["7 shards are too few"]);
    assert_eq!(case.migrate(&["--shards", "9"]).code, 0);
}

#[test]
fn names_that_are_none() {
    let case = Case::new("plain");
    refused(&case, &["--name", "nonsense"], 2, &["DIR=STREAM"]);
    refused(&case, &["--name", "none=other"], 2, &["there is no stream \"none\""]);
    refused(&case, &["--name", "one=orders"], 2, &["two streams would be named \"orders\""]);
}

/// 0.6 has no lock. What the system tells of open files is asked.
#[test]
#[cfg(target_os = "linux")]
fn somebody_uses_the_old_log() {
    let case = Case::new("plain");
    let open = File::open(case.old().join("orders/segments.idx")).unwrap();
    let me = format!("process {} has", std::process::id());
    refused(&case, &[], 1, &["is in use", &me, "segments.idx"]);
    drop(open);
    assert_eq!(case.migrate(&[]).code, 0);
}

#[test]
fn somebody_else_makes_the_new_log() {
    let case = Case::new("plain");
    fs::create_dir(case.work()).unwrap();
    let lock = File::create(case.work().join("lock")).unwrap();
    lock.lock().unwrap();
    refused(&case, &[], 1, &["another process is making"]);
    drop(lock);
    assert_eq!(case.migrate(&[]).code, 0);
}
