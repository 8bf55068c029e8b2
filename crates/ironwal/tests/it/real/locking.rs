//! Processes that race for the lock: one wins each time, and what the winners wrote is whole.
//!
//! Real processes: the test starts its own binary again as *children* that open the log when they are
//! told to, and say how that went.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;

use ironwal::{Error, SyncMode, Wal};

use super::{entry, options};

const CHILD: &str = "real::locking::child";
const CHILD_DIR: &str = "IRONWAL_LOCKING_DIR";
const REPORT: &str = "report ";

const ROUNDS: u64 = 60;

/// How many entries a winner appends.
const APPENDS: u64 = 15;

/// The child's main function; for everybody else it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let say = |what: &str| {
        let line = format!("\n{REPORT}{what}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    };
    let mut log = None;
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "open" => match Wal::new(options(Path::new(&dir), SyncMode::Strict)) {
                Ok(wal) => {
                    let begin = wal.stream("s").unwrap().next_id();
                    for id in begin..begin + APPENDS {
                        assert_eq!(wal.append("s", &entry(id)).unwrap(), id);
                    }
                    say(&format!("won {begin}"));
                    log = Some(wal);
                }
                Err(Error::Locked(_)) => say("locked"),
                Err(other) => say(&format!("failed: {other}")),
            },
            "close" => {
                log.take().unwrap().close().unwrap();
                say("closed");
            }
            "drop" => {
                log = None;
                say("dropped");
            }
            other => panic!("what is {other}?"),
        }
    }
}

struct Racer {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Racer {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, reports) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, reports: BufReader::new(reports) }
    }

    fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).unwrap();
    }

    fn report(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.reports.read_line(&mut line).unwrap(), 0, "a child ended");
            if let Some(report) = line.strip_prefix(REPORT) {
                return report.trim_end().to_string();
            }
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_two_processes_one_gets_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let mut racers = [Racer::start(dir.path()), Racer::start(dir.path())];
    let mut wins = [0; 2];
    for round in 0..ROUNDS {
        // Each is told first in turn.
        for nth in [round % 2, 1 - round % 2] {
            racers[nth as usize].order("open");
        }
        let reports = racers.each_mut().map(Racer::report);
        // Who comes first keeps the log until it is told otherwise.
        let won = format!("won {}", round * APPENDS);
        let winner = reports.iter().position(|report| *report == won);
        let winner = winner.unwrap_or_else(|| panic!("round {round}: {reports:?}"));
        assert_eq!(reports[1 - winner], "locked", "round {round}: {reports:?}");
        wins[winner] += 1;
        let second = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap_err();
        assert!(matches!(second, Error::Locked(_)), "{second}");
        match round % 3 {
            0 => {
                racers[winner].order("close");
                assert_eq!(racers[winner].report(), "closed");
            }
            1 => {
                racers[winner].order("drop");
                assert_eq!(racers[winner].report(), "dropped");
            }
            // What it held is free, whoever gets its process id.
            _ => racers[winner] = Racer::start(dir.path()),
        }
    }
    drop(racers);
    let wal = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap();
    let entries: Vec<_> = wal.iter("s", 0).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(entries, (0..ROUNDS * APPENDS).map(entry).collect::<Vec<_>>(), "{wins:?}");
}

#[test]
fn of_many_threads_one_gets_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let barrier = Barrier::new(6);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                barrier.wait();
                Wal::new(options(dir.path(), SyncMode::Strict))
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert!(matches!(error, Error::Locked(_)), "{error}");
        }
        assert_eq!(won[0].as_ref().unwrap().append("s", &entry(round)).unwrap(), round);
    }
}

/// The lock is the operating system's, and not what is in the file, or that there is one.
#[test]
fn a_lock_file_that_is_lost_or_left_behind_locks_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join(".ironwal.lock");
    for id in 0..6 {
        let wal = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap();
        assert_eq!(wal.append("s", &entry(id)).unwrap(), id);
        wal.close().unwrap();
        match id % 2 {
            0 => std::fs::remove_file(&lock).unwrap(),
            _ => std::fs::write(&lock, std::process::id().to_string()).unwrap(),
        }
    }
    let wal = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap();
    let entries: Vec<_> = wal.iter("s", 0).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(entries, (0..6).map(entry).collect::<Vec<_>>());
}

/// A program that was started while the log was open, and still runs, has none of its files.
#[test]
#[cfg(unix)]
fn a_program_that_was_started_does_not_hold_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap();
    wal.append("s", &entry(0)).unwrap();
    // It ends when its input does.
    let program = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut program = program.unwrap();
    wal.close().unwrap();
    drop(wal);
    let wal = Wal::new(options(dir.path(), SyncMode::Strict)).unwrap();
    assert_eq!(wal.append("s", &entry(1)).unwrap(), 1);
    assert!(program.try_wait().unwrap().is_none());
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
}
