//! What cannot be done says why and what to do, with the right exit status.

use ironwal::{Wal, WalOptions};

use crate::program::{append, cat, run, run_with_input};

#[test]
fn a_missing_directory_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    cat(&missing, "s", &[]).fails(1, &["ironwal: there is no log in", "missing"]);
    run(&["ls".as_ref(), missing.as_os_str()]).fails(1, &["ironwal: there is no log in"]);
    assert!(!missing.exists());
}

#[test]
fn a_directory_that_is_no_log_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    cat(dir.path(), "s", &[]).fails(1, &["there is no log in"]);
    run(&["ls".as_ref(), dir.path().as_os_str()]).fails(1, &["there is no log in"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_unknown_stream_is_an_error_and_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "known", &[], b"x\n");
    let ran = cat(dir.path(), "unknown", &[]);
    ran.fails(1, &["no stream \"unknown\"", "ironwal ls"]);
    let listed = run(&["ls".as_ref(), dir.path().as_os_str()]).quiet();
    assert!(!String::from_utf8(listed).unwrap().contains("unknown"));
}

#[test]
fn a_name_that_cannot_be_a_streams_is_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"x\n");
    let path = dir.path().to_str().unwrap();
    for name in ["", " ", ".", "..", &"x".repeat(256)] {
        run_with_input(&["append", path, name], b"x\n").fails(2, &["ironwal: cannot append"]);
        cat(dir.path(), name, &[]).fails(2, &["ironwal: cannot read"]);
    }
}

#[test]
fn a_log_that_is_open_elsewhere_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    wal.append("s", b"x").unwrap();
    let path = dir.path().to_str().unwrap();
    let parts = ["ironwal: cannot open the log", "another process has the log"];
    run_with_input(&["append", path, "s"], b"y\n").fails(1, &parts);
    wal.close().unwrap();
    assert_eq!(append(dir.path(), "s", &[], b"y\n"), "appended 1 entry to \"s\" (ids 1..2)\n");
}

#[test]
fn bad_usage_has_a_status_of_its_own() {
    for args in [
        &["append"][..],
        &["append", "dir", "s", "--batch", "0"],
        &["append", "dir", "s", "--mode", "sometimes"],
        &["cat", "dir", "s", "--from", "-1"],
        &["cat", "dir", "s", "--from", "x"],
        &["demo", "--lines", "0"],
        &["demo", "--seconds", "0"],
        &["no-such-command"],
        &[],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn help_has_examples_and_the_exit_codes() {
    for command in [
        &["--help"][..],
        &["demo", "--help"],
        &["append", "--help"],
        &["cat", "--help"],
        &["checkpoint", "--help"],
        &["checkpoint", "prune", "--help"],
        &["checkpoint", "show", "--help"],
        &["ls", "--help"],
        &["tail", "--help"],
        &["stat", "--help"],
        &["verify", "--help"],
        &["dump", "--help"],
        &["repair", "--help"],
        &["truncate", "--help"],
        &["prune", "--help"],
        &["delete", "--help"],
        &["restore", "--help"],
    ] {
        let ran = run(command);
        assert_eq!(ran.code, 0);
        assert!(ran.text().contains("Examples:\n  ironwal "), "{ran:?}");
    }
    for command in ["ls", "create", "compact"] {
        let ran = run(&["checkpoint", command, "--help"]);
        let example = format!("Example:\n  ironwal checkpoint {command} ");
        assert!(ran.text().contains(&example), "{ran:?}");
    }
    let help = run(&["--help"]);
    assert!(help.text().contains("Exit status:\n  0  "));
    assert!(!help.text().contains("demo-child"));
}

/// What was appended before an error stays, and is reported.
#[test]
#[cfg(unix)]
fn an_error_in_the_middle_keeps_what_was_before() {
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    // A limit on file sizes stands in for a full disk; the shell sets it, in blocks of 512 or
    // 1024 bytes, and ignores the signal that would come with it.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" append \"$1\" s";
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_ironwal")])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        // More than the limit; the program stops reading before the end.
        (0..2000).all(|line| writeln!(input, "{line:0>999}").is_ok())
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let (count, error) = said.split_once('\n').unwrap();
    assert!(error.starts_with("ironwal: cannot append to \"s\""), "{said}");
    let count: usize = count.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(count < 2000, "{said}");

    let kept = cat(dir.path(), "s", &[]).quiet();
    let lines: Vec<_> = kept.split_inclusive(|&byte| byte == b'\n').collect();
    // An append that failed may be there after opening again.
    assert!(lines.len() == count || lines.len() == count + 1, "{count} {}", lines.len());
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("{number:0>999}\n").as_bytes());
    }
}
