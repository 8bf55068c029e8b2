//! A process whose system calls fail, and one after it that holds what is there to what was said.
//!
//! `scripts/strace-eio` runs both, with calls that fail, and `scripts/real-disks` with file systems that
//! do. What is checked:
//!
//! - the process ends in order: no panic, no signal, and the caller sees to it that it ends;
//! - every error is typed and names a path below the log's directory;
//! - an operation that failed uses no id, and nothing of it can be read;
//! - after a write or a sync of a segment or the journal failed, its streams take no more appends;
//! - on the next opening everything is there that was acknowledged, batches are whole, nothing else is.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::Path;

use ironwal::{Error, Wal};

use super::assert_names;
use crate::kill::streams::{Kind, Operation, STREAMS, Together, open};
use crate::kill::{Workload, options};

/// `MODE COUNT DIR`: so many operations, until 20 in a row have failed.
const WORK: &str = "IRONWAL_FAULTS_WORK";

/// `MODE REPORT DIR`: the file in which the report of [`work`] is.
const JUDGE: &str = "IRONWAL_FAULTS_JUDGE";

/// The same, of a log in a file system that is read-only.
const READ_ONLY: &str = "IRONWAL_FAULTS_READ_ONLY";

const REPORT: &str = "fault-report ";

/// After so many failures in a row nothing more is tried.
const FAILURES_MAX: u32 = 20;

/// The child's main function; for everybody else it does nothing.
#[test]
fn work() {
    let Ok(what) = std::env::var(WORK) else { return };
    let [mode, count, dir] = fields(&what);
    // Fails once the parent is gone.
    let say = |line: String| {
        std::io::stdout().write_all(format!("\n{REPORT}{line}\n").as_bytes()).unwrap();
    };
    Work::run(Path::new(dir), mode, count.parse().unwrap(), say);
}

/// The main function of the child after it.
#[test]
fn judge() {
    let Ok(what) = std::env::var(JUDGE) else { return };
    let [mode, report, dir] = fields(&what);
    let report = std::fs::read_to_string(report).unwrap();
    let lines: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix(REPORT)).collect();
    let acknowledged = hold_to(Path::new(dir), mode, &lines);
    println!("kept {acknowledged}");
}

/// The main function of a child that may only read.
#[test]
fn read_only() {
    let Ok(what) = std::env::var(READ_ONLY) else { return };
    let [mode, report, dir] = fields(&what);
    let dir = Path::new(dir);
    let error = open(dir, mode, true).unwrap_err();
    assert_names(&error, dir);
    assert!(
        matches!(&error, Error::Io(error) if error.kind() == ErrorKind::ReadOnlyFilesystem),
        "{error}"
    );
    let wal = Wal::open_read_only(options(dir, mode)).unwrap();
    let report = std::fs::read_to_string(report).unwrap();
    let mut count = 0;
    for line in report.lines().filter_map(|line| line.strip_prefix(REPORT)?.strip_prefix("done ")) {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let operation = Operation { run: 0, thread: 0, number: numbers[0] };
        for (piece, id) in operation.pieces(true).into_iter().zip(&numbers[1..]) {
            for (id, entry) in (*id..).zip(operation.entries(piece)) {
                assert_eq!(wal.get(STREAMS[piece.stream], id).unwrap(), Some(entry));
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn without_faults_nothing_fails() {
    for mode in ["strict", "batch-only", "async", "interval"] {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        Work::run(dir.path(), mode, 100, |line| lines.push(line));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(lines.iter().find(|line| line.starts_with("failed")), None, "{mode}");
        assert!(hold_to(dir.path(), mode, &lines) > 80, "{mode}");
    }
}

fn fields(what: &str) -> [&str; 3] {
    let fields: Vec<&str> = what.splitn(3, ' ').collect();
    fields.try_into().unwrap()
}

struct Work<S> {
    wal: Wal,
    say: S,
    /// The next id of each stream.
    ends: [u64; STREAMS.len()],
    /// Streams of which a write or a sync failed.
    poisoned: BTreeSet<usize>,
}

impl<S: FnMut(String)> Work<S> {
    fn run(dir: &Path, mode: &str, count: u64, mut say: S) {
        let wal = match open(dir, mode, true) {
            Ok(wal) => wal,
            Err(error) => {
                assert_names(&error, dir);
                return say(format!("failed to open: {error}"));
            }
        };
        let ends = STREAMS.map(|name| wal.stream(name).unwrap().next_id());
        let mut work = Work { wal, say, ends, poisoned: BTreeSet::new() };
        let mut failures = 0;
        for number in 0..count {
            let done = work.operate(dir, Operation { run: 0, thread: 0, number });
            failures = if done { 0 } else { failures + 1 };
            if failures == FAILURES_MAX {
                break;
            }
            if number % 16 == 9 {
                work.maintain(dir, number as usize / 16 % STREAMS.len());
            }
        }
        work.read(dir);
        let closed = work.wal.close();
        work.note(dir, "close", closed);
    }

    /// Returns whether it was done.
    fn operate(&mut self, dir: &Path, operation: Operation) -> bool {
        let number = operation.number;
        if operation.kind(true) == Kind::Submitted {
            (self.say)(format!("skipped {number}"));
            return true;
        }
        let pieces = operation.pieces(true);
        let done = operation.append(&self.wal, true);
        match &done {
            Ok(ids) => {
                for (piece, id) in pieces.iter().zip(ids) {
                    assert!(!self.poisoned.contains(&piece.stream), "{operation:?} was done");
                    assert_eq!(self.ends[piece.stream], *id, "{operation:?}");
                    self.ends[piece.stream] += piece.count;
                }
                let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
                (self.say)(format!("done {number} {}", ids.join(" ")));
            }
            Err(error) => {
                (self.say)(format!("failed {number} {error}"));
                assert_names(error, dir);
                self.poisoned
                    .extend((0..STREAMS.len()).filter(|nth| poisons(error, STREAMS[*nth])));
            }
        }
        for piece in pieces {
            let end = self.ends[piece.stream];
            assert_eq!(self.wal.stream(STREAMS[piece.stream]).unwrap().next_id(), end);
            assert_eq!(self.wal.get(STREAMS[piece.stream], end).unwrap(), None);
        }
        done.is_ok()
    }

    fn maintain(&mut self, dir: &Path, stream: usize) {
        let stream = self.wal.stream(STREAMS[stream]).unwrap();
        let rotated = stream.rotate();
        self.note(dir, "rotate", rotated);
        let synced = self.wal.sync_all();
        self.note(dir, "sync", synced);
        let cut = self.wal.cut(&STREAMS).map(drop);
        self.note(dir, "cut", cut);
    }

    fn note(&mut self, dir: &Path, what: &str, done: Result<(), Error>) {
        if let Err(error) = done {
            assert_names(&error, dir);
            (self.say)(format!("failed to {what}: {error}"));
        }
    }

    /// What was done can be read, whatever failed; unless it is reading that fails.
    fn read(&mut self, dir: &Path) {
        for (name, end) in STREAMS.iter().zip(self.ends) {
            let read: Result<Vec<_>, _> = self.wal.iter(name, 0).unwrap().collect();
            match read {
                Ok(entries) => assert_eq!(entries.len() as u64, end, "{name}"),
                Err(error) => {
                    assert_names(&error, dir);
                    (self.say)(format!("failed to read: {error}"));
                }
            }
        }
    }
}

/// Whether the error says that a write or a sync failed of a file that holds entries of the stream.
fn poisons(error: &Error, name: &str) -> bool {
    let text = error.to_string();
    let wrote = text.contains("write ") || text.contains("fdatasync ");
    // A file that is made ahead holds none, and errors go on to call it by its first name.
    let is_own = text.contains(".journal.") || text.contains(&format!("/{name}/"));
    let holds_entries = is_own && !text.contains(".tmp");
    match error {
        Error::Poisoned { stream, .. } => stream == name,
        Error::Io(_) => wrote && holds_entries,
        _ => false,
    }
}

/// Opens the log again; returns how many operations were acknowledged.
fn hold_to(dir: &Path, mode: &str, lines: &[&str]) -> usize {
    let mut model = Together::new(mode);
    let mut acknowledged = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let (what, number) = (words.next(), words.next().and_then(|word| word.parse().ok()));
        match (what, number) {
            (Some("done"), Some(number)) => {
                let ids = words.map(|word| word.parse().unwrap());
                model.hear(0, &[0, number].into_iter().chain(ids).collect::<Vec<u64>>());
                acknowledged += 1;
            }
            (Some("failed" | "skipped"), Some(number)) => {
                model.hear_failed(Operation { run: 0, thread: 0, number });
            }
            _ => {}
        }
    }
    model.check(dir, 0);
    acknowledged
}
