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
        &["backup", "--help"],
        &["export", "--help"],
        &["import", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
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

/// A change for which there is no room says so, and leaves what there was.
#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, archive) = (dir.path().join("log"), dir.path().join("archive"));
    let wal = crate::logs::open(WalOptions { max_segment_size: 70_000, ..WalOptions::new(&log) });
    for entry in 0..200_u8 {
        wal.append("s", &[entry; 1000]).unwrap();
    }
    wal.close().unwrap();
    drop(wal);
    let all = cat(&log, "s", &["--ids"]).quiet();
    let (path, to) = (log.to_str().unwrap(), archive.to_str().unwrap());
    let short = |args: &[&str]| crate::program::run_with_short_files(40, args);
    let ran = short(&["truncate", path, "s", "--after", "190", "--yes"]);
    ran.fails(1, &["ironwal: cannot ", "no space left for "]);
    let ran = short(&["prune", path, "s", "--before", "150", "--archive", to]);
    ran.fails(1, &["ironwal: cannot ", "no space left for "]);
    assert!(cat(&log, "s", &["--ids"]).quiet() == all);

    let before = ["prune", path, "s", "--before", "150", "--archive", to];
    assert_eq!(run(&before).code, 0);
    let kept = cat(&log, "s", &["--ids"]).quiet();
    let restore = ["restore", path, "s", "--archive", to];
    short(&restore).fails(1, &["ironwal: cannot ", "no space left for "]);
    assert!(cat(&log, "s", &["--ids"]).quiet() == kept);
    assert_eq!(run(&restore).code, 0);
    assert!(cat(&log, "s", &["--ids"]).quiet() == all);
    // Reading needs no room.
    for command in ["verify", "stat", "dump", "ls"] {
        assert_eq!(short(&[command, path]).code, 0, "{command}");
    }
}

/// What was asked for and cannot be printed was not given.
#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    crate::logs::orders(dir.path());
    let path = dir.path().to_str().unwrap();
    for args in [
        &["ls", path][..],
        &["ls", path, "--json"],
        &["cat", path, "orders"],
        &["tail", path, "orders"],
        &["stat", path],
        &["verify", path],
        &["dump", path],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = crate::program::program().args(args).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said.starts_with("ironwal: cannot write to standard output: "), "{said}");
    }
}

/// A reader that leaves is no error, and hides none.
#[test]
fn a_reader_that_left_hides_no_damage() {
    use std::process::Stdio;

    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("repaired"));
    crate::logs::orders(&log);
    let code = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = crate::program::program();
        command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).stdout(writer);
        command.status().unwrap().code()
    };
    let (path, to) = (log.to_str().unwrap(), copy.to_str().unwrap());
    assert_eq!(code(&["verify", path]), Some(0));
    crate::logs::flip(&crate::logs::segment(&log, "orders", 0), 8192 + 24);
    assert_eq!(code(&["verify", path]), Some(1));
    assert_eq!(code(&["repair", path, "--to", to]), Some(1));
    assert!(!copy.exists());
    assert_eq!(code(&["repair", path, "--to", to, "--yes"]), Some(0));
    assert!(copy.exists());
}
