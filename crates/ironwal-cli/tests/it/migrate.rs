//! `ironwal migrate`: another program does it, which is found or is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A stand-in that says what it was told, and ends in a way of its own.
const STAND_IN: &str =
    "#!/bin/sh\nfor arg in \"$@\"; do echo \"<$arg>\"; done\necho to-stderr >&2\nexit 7\n";

fn put_stand_in(dir: &Path) {
    let stand_in = dir.join("ironwal-migrate");
    fs::write(&stand_in, STAND_IN).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a program in `dir`, for beside the one that was built there may be the other one.
fn run(dir: &Path, path: &Path, args: &[&str]) -> Output {
    let program = dir.join("ironwal");
    fs::copy(env!("CARGO_BIN_EXE_ironwal"), &program).unwrap();
    let path = format!("{}:/usr/bin:/bin", path.display());
    Command::new(program).arg("migrate").args(args).env("PATH", path).output().unwrap()
}

#[track_caller]
fn is_stand_in(ran: &Output) {
    assert_eq!(ran.status.code(), Some(7), "{ran:?}");
    assert_eq!(ran.stdout, b"<an old one>\n<new>\n<--shards>\n<4>\n<--json>\n");
    assert_eq!(ran.stderr, b"to-stderr\n");
}

const ARGS: [&str; 5] = ["an old one", "new", "--shards", "4", "--json"];

#[test]
fn it_is_on_the_path() {
    let (here, on_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put_stand_in(on_path.path());
    is_stand_in(&run(here.path(), on_path.path(), &ARGS));
}

#[test]
fn it_is_beside_the_program() {
    let (here, on_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put_stand_in(here.path());
    is_stand_in(&run(here.path(), on_path.path(), &ARGS));
}

#[test]
fn it_is_not_installed() {
    let (here, on_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ran = run(here.path(), on_path.path(), &["old", "new"]);
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), &ran.stdout[..]), (Some(1), &b""[..]));
    assert!(error.contains("ironwal-migrate is not installed"), "{error}");
    assert!(error.contains("cargo install --path migrate"), "{error}");
}

#[test]
fn nothing_is_to_be_migrated() {
    let here = tempfile::tempdir().unwrap();
    assert_eq!(run(here.path(), here.path(), &[]).status.code(), Some(2));
}
