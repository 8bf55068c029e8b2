//! Interrupted at any time: there is no new log, or a whole one, and the next run makes it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Case, files, seen};

#[track_caller]
fn goes_on(case: &Case, expected: &seen::Seen) {
    let ran = case.migrate(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(seen::new(&case.new_log()), *expected);
}

/// How many files are below a directory that somebody else changes.
fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

/// Killed when so many files of it are there.
#[test]
fn killed_on_the_way() {
    let case = Case::new("sharded");
    let expected = seen::old(&case, true);
    let before = files(&case.old());
    let mut killed = 0;
    for files_min in [1, 10, 30, 40, 50, 60] {
        let mut child = case.command(&[]).stdout(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && count(&case.work()) < files_min {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let was_killed = child.wait().unwrap().code().is_none();
        assert!(files(&case.old()) == before);
        if case.new_log().exists() {
            assert_eq!(seen::new(&case.new_log()), expected);
            fs::remove_dir_all(case.new_log()).unwrap();
        } else {
            assert!(was_killed);
            killed += 1;
        }
    }
    assert!(killed > 0);
    goes_on(&case, &expected);
}

#[test]
fn what_an_earlier_run_left_is_no_harm() {
    let case = Case::new("plain");
    let expected = seen::old(&case, false);
    for dir in ["copy/orders", "copy/stale", "log/orders", "log/.checkpoints"] {
        fs::create_dir_all(case.work().join(dir)).unwrap();
        fs::write(case.work().join(dir).join("00000000000000000000.wal"), b"junk").unwrap();
    }
    fs::write(case.work().join("log/.ironwal"), b"junk").unwrap();
    goes_on(&case, &expected);
}

/// A limit on the length of files stands in for a full disk: the copy fails, or later the new log does.
#[test]
#[cfg(unix)]
fn the_disk_is_full() {
    let case = Case::new("plain");
    let expected = seen::old(&case, false);
    let before = files(&case.old());
    for blocks in [1, 40] {
        let output = Command::new("bash")
            .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_ironwal-migrate"))
            .args([case.old(), case.new_log()])
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{blocks}: {error}");
        assert!(error.starts_with("ironwal-migrate: cannot "), "{blocks}: {error}");
        assert!(!case.new_log().exists() && files(&case.old()) == before, "{blocks}");
    }
    goes_on(&case, &expected);
}
