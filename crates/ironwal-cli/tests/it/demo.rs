//! The demo, small.

use std::path::Path;

use crate::program::{Ran, run};

fn demo(dir: &Path, options: &[&str]) -> Ran {
    let file = dir.join("lines.txt");
    std::fs::write(&file, "one line\nanother line\n\na third, after an empty one").unwrap();
    let mut args = vec!["demo", file.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

/// The value in the table's row that begins with `name`.
#[track_caller]
fn value(ran: &Ran, name: &str) -> u64 {
    let row = ran.text().lines().find(|line| line.contains(name));
    let row = row.unwrap_or_else(|| panic!("no row {name:?} in {ran:?}"));
    let number = row.trim_end_matches(['│', ' ']).rsplit(' ').next().unwrap();
    number.replace(',', "").parse().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let ran = demo(dir.path(), &["--lines", "4000"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(value(&ran, "│ entries  ") >= 4000);
    assert!(value(&ran, "acknowledged before the kill") >= 2000);
    let before_kill = value(&ran, "checkpoints before the kill");
    assert!(0 < before_kill && before_kill < value(&ran, "│ checkpoints  "), "{ran:?}");
    assert!(value(&ran, "entries after it, replayed") > 0);
    for problem in ["lines lost", "lines doubled", "checkpoints lost"] {
        assert_eq!(value(&ran, problem), 0);
    }
    assert!(ran.text().contains("power loss"));
    assert!(ran.err.contains("(removed at the end)"), "{ran:?}");
    assert!(!log_dir(&ran).exists());
}

/// The files are small enough that something is freed, and that is shown.
#[test]
fn what_is_before_the_newest_checkpoint_is_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("new");
    // However slow the disk is.
    let options = ["--lines", "60000", "--seconds", "600", "--dir", place.to_str().unwrap()];
    let ran = demo(dir.path(), &options);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(value(&ran, "segments pruned") > 0);
    let freed = ran.text().lines().find(|line| line.contains("bytes freed")).unwrap();
    assert!(!freed.contains(" 0 of "), "{freed}");
    let wal = ironwal::Wal::open_read_only(ironwal::WalOptions::new(log_dir(&ran))).unwrap();
    assert_eq!(wal.shard_count(), Some(16));
    assert!(wal.stats().entries < value(&ran, "│ entries  "));
}

#[test]
fn the_log_is_kept_where_the_user_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("new");
    let ran = demo(dir.path(), &["--lines", "100", "--dir", place.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = log_dir(&ran);
    assert_eq!(log.parent(), Some(place.as_path()));
    let wal = ironwal::Wal::new(ironwal::WalOptions::new(log)).unwrap();
    let streams = wal.streams().into_iter().map(|name| wal.stream(&name).unwrap().next_id());
    assert_eq!(streams.sum::<u64>(), value(&ran, "│ entries  "));
}

#[test]
fn it_stops_when_the_time_is_over_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let ran = demo(dir.path(), &["--lines", "1000000000", "--seconds", "1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(value(&ran, "│ entries  ") < 1_000_000_000);
    assert_eq!(value(&ran, "lines lost"), 0);
    assert!(ran.text().contains("before all 1,000,000,000 lines were appended"), "{ran:?}");
}

#[test]
fn a_missing_file_is_an_error() {
    let ran = run(&["demo", "no-such-file.txt"]);
    ran.fails(1, &["ironwal: cannot read no-such-file.txt"]);
    assert_eq!(ran.text(), "");
}

#[test]
fn without_lines_there_is_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.txt");
    std::fs::write(&empty, "").unwrap();
    run(&["demo".as_ref(), empty.as_os_str()]).fails(1, &["no lines to append"]);
}

/// The child must not go on without anybody who listens.
#[test]
fn the_child_ends_when_nobody_listens() {
    use std::io::{Read, Write};
    use std::process::Stdio;

    let dir = tempfile::tempdir().unwrap();
    let mut child = crate::program::program()
        .arg("demo-child")
        .arg(dir.path())
        .arg("100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = b"a line";
    let mut input = child.stdin.take().unwrap();
    input.write_all(&(line.len() as u64).to_le_bytes()).unwrap();
    input.write_all(line).unwrap();
    drop(input);
    let mut reports = child.stdout.take().unwrap();
    let mut report = [0; 40];
    reports.read_exact(&mut report).unwrap();
    drop(reports);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

fn log_dir(ran: &Ran) -> &Path {
    let line = ran.err.lines().find_map(|line| line.strip_prefix("log in ")).unwrap();
    Path::new(line.rsplit_once(" (").unwrap().0)
}

/// Neither the child nor the temporary directory outlives an interrupted demo.
#[test]
#[cfg(unix)]
fn an_interrupted_demo_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines.txt");
    std::fs::write(&file, "a line").unwrap();
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut child = crate::program::program()
        .args(["demo", file.to_str().unwrap(), "--lines", "1000000000"])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("log in "));
    // By now the signal is watched for. The log is there once the child is at work.
    let log = std::fs::read_dir(&temporary).unwrap().next().unwrap().unwrap().path();
    while !log.join("shard_00").exists() {
        std::thread::yield_now();
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.last().unwrap().starts_with("ironwal: interrupted"), "{rest:?}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}
