//! `ironwal migrate`: another program does it, which is found or is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::program::program;

/// A stand-in that says what it was told, and ends in a way of its own.
const STAND_IN: &str =
    "#!/bin/sh\nfor arg in \"$@\"; do echo \"<$arg>\"; done\necho to-stderr >&2\nexit 7\n";

fn run(path: &Path, args: &[&str]) -> Output {
    let path = format!("{}:/usr/bin:/bin", path.display());
    program().arg("migrate").args(args).env("PATH", path).output().unwrap()
}

#[test]
fn it_is_run_with_all_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let stand_in = dir.path().join("ironwal-migrate");
    fs::write(&stand_in, STAND_IN).unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = run(dir.path(), &["an old one", "new", "--shards", "4", "--json"]);
    assert_eq!(ran.status.code(), Some(7));
    assert_eq!(ran.stdout, b"<an old one>\n<new>\n<--shards>\n<4>\n<--json>\n");
    assert_eq!(ran.stderr, b"to-stderr\n");
}

#[test]
fn it_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["old", "new"]);
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), &ran.stdout[..]), (Some(1), &b""[..]));
    assert!(error.contains("ironwal-migrate is not installed"), "{error}");
    assert!(error.contains("cargo install --path migrate"), "{error}");
}

#[test]
fn nothing_is_to_be_migrated() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &[]).status.code(), Some(2));
}
