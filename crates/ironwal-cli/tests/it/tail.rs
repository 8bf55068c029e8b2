//! `tail` prints the last entries, and follows.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use ironwal::{SyncMode, Wal, WalOptions};

use crate::damage::damage;
use crate::program::{Ran, append, program, run};

/// Much longer than anything takes, so that a test that fails comes to an end.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn tail(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["tail", dir.to_str().unwrap(), "s"];
    args.extend(options);
    run(&args)
}

#[test]
fn the_last_entries_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..20).map(|line| format!("line {line}\n")).collect();
    append(dir.path(), "s", &[], lines.concat().as_bytes());
    let printed = |options: &[&str]| String::from_utf8(tail(dir.path(), options).quiet()).unwrap();
    assert_eq!(printed(&[]), lines[10..].concat());
    assert_eq!(printed(&["-n", "3"]), lines[17..].concat());
    assert_eq!(printed(&["-n", "99"]), lines.concat());
    assert_eq!(printed(&["-n", "0"]), "");
    assert_eq!(printed(&["-n", "1", "--ids"]), "19\tline 19\n");
    assert_eq!(printed(&["-n", "1", "--json"]), "{\"id\":19,\"entry\":\"line 19\"}\n");
}

#[test]
fn a_damaged_entry_is_named() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"entry zero\nentry one\nentry two\n");
    damage(&dir.path().join("s"), b"entry one");
    let ran = tail(dir.path(), &["-n", "2"]);
    ran.fails(1, &["ironwal: Damaged entries 1..2 of stream \"s\""]);
    assert_eq!(ran.text(), "entry two\n");
    assert_eq!(tail(dir.path(), &["-n", "1"]).quiet(), b"entry two\n");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for options in [&[][..], &["-f"]] {
        tail(&dir.path().join("missing"), options).fails(1, &["there is no log in"]);
    }
    append(dir.path(), "other", &[], b"x\n");
    for options in [&[][..], &["-f"]] {
        tail(dir.path(), options).fails(1, &["no stream \"s\""]);
    }
    assert_eq!(tail(dir.path(), &["-n", "x"]).code, 2);
    assert_eq!(run(&["tail", dir.path().to_str().unwrap()]).code, 2);
}

/// `tail -f`, and the lines that it prints and says.
struct Following {
    child: Child,
    printed: Receiver<String>,
    said: Receiver<String>,
}

impl Following {
    fn new(dir: &Path, options: &[&str]) -> Self {
        let mut child = program()
            .args(["tail", dir.to_str().unwrap(), "s", "-f"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = lines(child.stdout.take().unwrap());
        let said = lines(child.stderr.take().unwrap());
        Self { child, printed, said }
    }

    /// The next line that is printed.
    #[track_caller]
    fn line(&self) -> String {
        self.printed.recv_timeout(WAIT_MAX).unwrap()
    }

    /// The next line on standard error.
    #[track_caller]
    fn complaint(&self) -> String {
        self.said.recv_timeout(WAIT_MAX).unwrap()
    }

    /// The exit status after Ctrl-C, when nothing more is printed or said.
    #[cfg(unix)]
    #[track_caller]
    fn interrupt(mut self) -> Option<i32> {
        crate::terminal::interrupt(&self.child);
        assert_eq!(self.printed.recv_timeout(WAIT_MAX), Err(RecvTimeoutError::Disconnected));
        assert_eq!(self.said.recv_timeout(WAIT_MAX), Err(RecvTimeoutError::Disconnected));
        self.child.wait().unwrap().code()
    }
}

impl Drop for Following {
    /// It has no end of its own.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    let mut read = BufReader::new(pipe).lines().map(Result::unwrap);
    std::thread::spawn(move || read.all(|line| sender.send(line).is_ok()));
    lines
}

fn writer(dir: &Path) -> Wal {
    // A few entries in a segment, so that it goes from one to the next.
    Wal::new(WalOptions { max_segment_size: 200, ..WalOptions::new(dir) }).unwrap()
}

#[test]
#[cfg(unix)]
fn what_a_writer_commits_is_printed_until_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let wal = writer(dir.path());
    for id in 0..5 {
        wal.append("s", format!("entry {id}").as_bytes()).unwrap();
    }
    let following = Following::new(dir.path(), &["-n", "2", "--ids"]);
    assert_eq!(following.line(), "3\tentry 3");
    assert_eq!(following.line(), "4\tentry 4");
    for id in 5..100 {
        wal.append("s", format!("entry {id}").as_bytes()).unwrap();
        assert_eq!(following.line(), format!("{id}\tentry {id}"));
    }
    // It outlives its writer, and goes on with the next.
    wal.close().unwrap();
    drop(wal);
    let wal = writer(dir.path());
    wal.append_batch("s", &[b"a", b"b"]).unwrap();
    assert_eq!([following.line(), following.line()], ["100\ta", "101\tb"]);
    assert_eq!(following.interrupt(), Some(0));
}

#[test]
#[cfg(unix)]
fn what_was_cut_off_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let wal = writer(dir.path());
    wal.append_batch("s", &[b"a", b"b", b"c"]).unwrap();
    let following = Following::new(dir.path(), &["--json"]);
    for id in 0..3 {
        assert!(following.line().starts_with(&format!("{{\"id\":{id},")));
    }
    wal.stream("s").unwrap().truncate_after(Some(0)).unwrap();
    wal.append("s", b"B").unwrap();
    let said = following.complaint();
    assert!(said.contains("were cut off from id 0 on, and those up to 3 had been read"), "{said}");
    // From another process only the segment is known that was cut through: it begins with 0.
    assert_eq!(following.line(), "{\"id\":0,\"entry\":\"a\"}");
    assert_eq!(following.line(), "{\"id\":1,\"entry\":\"B\"}");
    assert_eq!(following.interrupt(), Some(1));
}

#[test]
#[cfg(unix)]
fn the_end_of_a_stream_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let wal = writer(dir.path());
    wal.append("s", b"a").unwrap();
    let mut following = Following::new(dir.path(), &[]);
    assert_eq!(following.line(), "a");
    wal.delete_stream("s").unwrap();
    let said = following.complaint();
    assert!(said.starts_with("ironwal: cannot follow \"s\": "), "{said}");
    assert_eq!(following.child.wait().unwrap().code(), Some(1));
}

/// It waits with what it has printed until somebody reads that, and so falls behind.
#[test]
#[cfg(unix)]
fn what_was_pruned_before_it_could_be_printed_is_said() {
    // Much more than fits into a pipe and into what is read ahead.
    const ENTRIES: u64 = 3000;
    const KEPT_FROM: u64 = 2900;

    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions { max_segment_size: 20_000, ..WalOptions::new(dir.path()) };
    let wal = Wal::new(WalOptions { sync_mode: SyncMode::Async, ..options }).unwrap();
    for id in 0..ENTRIES {
        wal.append("s", format!("{id:01000}").as_bytes()).unwrap();
    }
    let mut child = program()
        .args(["tail", dir.path().to_str().unwrap(), "s", "-f", "-n", "9999"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let number = |line: String| line.parse::<u64>().unwrap();
    // It has begun.
    assert_eq!(printed.next().map(number), Some(0));
    wal.stream("s").unwrap().truncate_before(KEPT_FROM).unwrap();
    let ids: Vec<u64> = printed.by_ref().map(number).take_while(|id| *id < ENTRIES - 1).collect();
    crate::terminal::interrupt(&child);
    let gap = ids.iter().zip(1..).position(|(id, due)| *id != due).unwrap();
    assert!(gap as u64 + 1 < KEPT_FROM);
    assert!(ids[gap..].iter().copied().eq(KEPT_FROM..ENTRIES - 1), "{:?}", &ids[gap..]);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let expected = format!(
        "ironwal: entry {} of stream \"s\" is pruned, the first one that is kept is {KEPT_FROM}",
        gap + 1
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
