//! `kill -9`: what a call had acknowledged survives the death of the process, in every mode.
//!
//! Real processes: the test starts its own binary again as a *child* that does nothing but a
//! [`Workload`], in several threads, and kills it at a number of reports. The child reports an operation
//! on its standard output after it returned and before it begins the next one. The workloads:
//!
//! - [`streams`]: appends, batches and submitted appends; with batches over several streams, through the
//!   journal;
//! - [`changes`]: also rotation, pruning, cuts, deletion;
//! - [`sharded`]: shards, with checkpoints, pruning and compaction.
//!
//! `IRONWAL_KILLS=100 cargo test kill` kills that often for each workload and mode; `scripts/kills` does
//! so on other file systems.

mod changes;
#[cfg(feature = "sharded")]
mod sharded;
pub(crate) mod streams;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ironwal::{CorruptionPolicy, SyncMode, WalOptions};
use tempfile::TempDir;

/// The name of the child's test, and how it learns its workload, mode, run and directory.
const CHILD: &str = "kill::child";
const CHILD_WORK: &str = "IRONWAL_KILL_CHILD";

/// Begins every report, wherever the test harness left the line.
const REPORT: &str = "acknowledged ";

/// So many kills of one log; the next one has another. Each check reads all of it.
const KILLS_PER_LOG: u64 = 50;

/// What a child does until it is killed, and what its parent makes of it.
pub(crate) trait Workload {
    const NAME: &str;

    /// The child's part. Does not return.
    fn work(dir: &Path, mode: &str, run: u64);

    /// Before any child.
    fn new(mode: &str) -> Self;

    /// A report of the child of this run: numbers, in the order of the calls.
    fn hear(&mut self, run: u64, report: &[u64]);

    /// Opens the log and holds it to its promises.
    fn check(&mut self, dir: &Path, run: u64);
}

macro_rules! kill {
    ($(fn $test:ident() $workload:ty, $mode:literal;)*) => { $(
        #[test]
        fn $test() {
            kill_again_and_again::<$workload>($mode);
        }
    )* };
}

kill! {
    fn streams_strict() streams::Plain, "strict";
    fn streams_batch_only() streams::Plain, "batch-only";
    fn streams_async() streams::Plain, "async";
    fn streams_interval() streams::Plain, "interval";
    fn together_strict() streams::Together, "strict";
    fn together_batch_only() streams::Together, "batch-only";
    fn together_async() streams::Together, "async";
    fn together_interval() streams::Together, "interval";
    fn changes_strict() changes::Changes, "strict";
    fn changes_batch_only() changes::Changes, "batch-only";
    fn changes_async() changes::Changes, "async";
    fn changes_interval() changes::Changes, "interval";
}

#[cfg(feature = "sharded")]
kill! {
    fn sharded_strict() sharded::Shards, "strict";
    fn sharded_batch_only() sharded::Shards, "batch-only";
    fn sharded_async() sharded::Shards, "async";
    fn sharded_interval() sharded::Shards, "interval";
}

/// The child's main function; for everybody else it does nothing.
#[test]
fn child() {
    let Ok(work) = std::env::var(CHILD_WORK) else { return };
    let fields: Vec<&str> = work.splitn(4, ' ').collect();
    let [workload, mode, run, dir] = fields[..] else { panic!("{CHILD_WORK}={work}") };
    let (dir, run) = (Path::new(dir), run.parse().unwrap());
    match workload {
        streams::Plain::NAME => streams::Plain::work(dir, mode, run),
        streams::Together::NAME => streams::Together::work(dir, mode, run),
        changes::Changes::NAME => changes::Changes::work(dir, mode, run),
        #[cfg(feature = "sharded")]
        sharded::Shards::NAME => sharded::Shards::work(dir, mode, run),
        other => panic!("unknown workload {other}"),
    }
}

/// Says what was acknowledged. Fails once the parent is gone, and with it the child.
fn report(numbers: impl IntoIterator<Item = u64>) {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    let line = format!("\n{REPORT}{}\n", numbers.join(" "));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// The mode that a test tells its child by name.
pub(crate) fn sync_mode(name: &str) -> SyncMode {
    match name {
        "strict" => SyncMode::Strict,
        "batch-only" => SyncMode::BatchOnly,
        "async" => SyncMode::Async,
        "interval" => SyncMode::Interval(Duration::from_millis(3)),
        other => panic!("unknown mode {other}"),
    }
}

pub(crate) fn options(dir: &Path, mode: &str) -> WalOptions {
    WalOptions {
        sync_mode: sync_mode(mode),
        // Small, so that many kills hit a rotation; several batches are larger than a segment.
        max_segment_size: 6000,
        // Fewer files than there are streams.
        max_open_segments: 3,
        on_corruption: CorruptionPolicy::Error,
        ..WalOptions::new(dir)
    }
}

/// Evenly spread bits.
fn noise(a: u64, b: u64, c: u64) -> u64 {
    let mixed = (a << 40) ^ (b << 32) ^ c;
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
}

/// An entry that says who it is, in front of a filler of any length.
fn entry(who: [u64; 4]) -> Vec<u8> {
    let mut entry: Vec<u8> = who.iter().flat_map(|number| number.to_le_bytes()).collect();
    let filler = noise(who[0], who[1], who[2]).wrapping_add(who[3]);
    entry.resize(32 + (filler % 300) as usize, (filler >> 20) as u8);
    entry
}

/// Who an entry says it is.
fn who(entry: &[u8]) -> [u64; 4] {
    assert!(entry.len() >= 32, "nobody appended {entry:?}");
    [0, 1, 2, 3].map(|nth| u64::from_le_bytes(entry[nth * 8..][..8].try_into().unwrap()))
}

/// A directory that is kept if the test fails.
struct Dir(Option<TempDir>);

impl Dir {
    fn new() -> Self {
        Self(Some(tempfile::tempdir().unwrap()))
    }

    /// Where the log is: the lock, too, is what a child leaves behind.
    fn log(&self) -> PathBuf {
        self.0.as_ref().unwrap().path().join("log")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Some(dir) = self.0.take()
            && std::thread::panicking()
        {
            eprintln!("the log is kept in {}", dir.keep().display());
        }
    }
}

fn kill_again_and_again<W: Workload>(mode: &str) {
    let kills = std::env::var("IRONWAL_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let mut run = 0;
    while run < kills {
        let (dir, mut workload) = (Dir::new(), W::new(mode));
        let end = kills.min(run + KILLS_PER_LOG);
        while run < end {
            let reports = 5 + noise(run, 77, 0) % 300;
            run_and_kill(&mut workload, &dir.log(), mode, run, reports);
            // Sometimes it is the next child that recovers.
            if run % 3 != 1 || run + 1 == end {
                workload.check(&dir.log(), run);
            }
            run += 1;
        }
    }
    eprintln!("{} {mode}: {kills} kills", W::NAME);
}

/// Starts a child and kills it after so many reports.
fn run_and_kill<W: Workload>(workload: &mut W, dir: &Path, mode: &str, run: u64, reports: u64) {
    let name = W::NAME;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_WORK, format!("{name} {mode} {run} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = 0;
    loop {
        let mut line = String::new();
        // To the end: what was in the pipe when the child died had been acknowledged as well.
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        let Some(report) = line.strip_prefix(REPORT).and_then(|line| line.strip_suffix('\n'))
        else {
            continue;
        };
        let numbers: Vec<u64> =
            report.split_whitespace().map(|number| number.parse().unwrap()).collect();
        workload.hear(run, &numbers);
        seen += 1;
        if seen == reports {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(seen >= reports, "{name} {mode}: the child of run {run} ended by itself: {status}");
    assert_eq!(status.code(), None, "{name} {mode}: run {run} was not killed: {status}");
}
