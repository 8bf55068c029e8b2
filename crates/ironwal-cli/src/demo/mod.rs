//! `ironwal demo`: kills a process that is appending, and checks that nothing acknowledged is lost.
//!
//! The parent starts this program again as a child, which appends lines to a sharded log from eight
//! threads, each append synced before it returns, takes checkpoints meanwhile, and reports all that
//! returned. In the middle the parent kills it, opens the log again, and holds it against the
//! reports. Then it appends the rest itself, closes, reopens, checks everything once more, and prunes
//! what lies before the newest checkpoint.

mod check;
mod child;
mod finish;
mod lines;
mod place;
mod progress;
mod report;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod turns;
mod workers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ironwal::WalOptions;
use ironwal::sharded::ShardedWal;

use crate::exit::{Done, Failure, opening, say};
use crate::interrupt;
use crate::text::{counted, grouped, printable};
use check::{Findings, Found, Newest};
use lines::Lines;
use place::Place;
use progress::Progress;
use summary::Summary;
use tally::Tally;
use workers::{checkpoint_id, checkpoint_number};

pub(crate) use child::{ChildArgs, run_child};

const SHARDS: u16 = 16;

/// Small, so that there is something to prune.
const SEGMENT_LEN_MAX: u64 = 128 * 1024;

/// A checkpoint is taken after every so many lines, or oft enough that there are hundreds.
const CHECKPOINT_EVERY_MAX: u64 = 500;
const CHECKPOINTS_MIN: u64 = 400;

/// Kill a process that is appending, and check that nothing it had acknowledged is lost
#[derive(clap::Args)]
#[command(after_help = "\
A child process appends every line of the files from eight threads to a log of 16 shards, each append
on stable storage before it returns, takes checkpoints all the while, and reports each line and each
checkpoint. Half-way it is killed (SIGKILL). Then the log is opened again and checked: every reported
line is there once, at its id, byte for byte; every reported checkpoint is there, and each is one
instant over all shards. The rest is appended, and everything is checked again. At the end, what lies
before the newest checkpoint is pruned, and what comes after it is replayed. The exit status is 0 only
if all of it held.

On a slow disk the time limit comes first: then fewer lines are appended, and that is said.

Examples:
  ironwal demo
  ironwal demo README.md --lines 50000
  ironwal demo --dir /mnt/disk-to-try")]
pub(crate) struct Args {
    /// Files whose lines are appended [default: the text files in and below this directory]
    files: Vec<PathBuf>,
    /// Put the log into a new directory in DIR and keep it [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Append at least this many lines, repeating the files if they have fewer
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    lines: u64,
    /// Stop appending after this many seconds
    #[arg(long, value_name = "S", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Done {
    // The child must be ended and the temporary directory removed.
    let interrupted = interrupt::watch()?;
    let lines = Lines::gather(&args.files)?;
    let mut place = Place::new(args.dir.as_deref())?;
    let target = args.lines.max(lines.count());
    let progress = Progress::new(target);
    introduce(&progress, &lines, &place, target);

    let run = Run {
        lines: &lines,
        log_dir: place.path(),
        target,
        phase_time_max: Duration::from_secs(args.seconds) / 2,
        interrupted: &interrupted,
        progress: &progress,
    };
    let done = run.all();
    progress.clear();
    let summary = done?;
    let printed = summary.print();
    if summary.holds() {
        return printed;
    }
    for problem in summary.problems() {
        say(problem);
    }
    Err(Failure::failed(format!(
        "the log did not keep what it promised; it is in {} for whoever looks into it",
        place.keep().display()
    )))
}

/// What all phases share.
struct Run<'a> {
    lines: &'a Lines,
    log_dir: &'a Path,
    /// How many lines there are to be in the end.
    target: u64,
    phase_time_max: Duration,
    interrupted: &'a AtomicBool,
    progress: &'a Progress,
}

/// A log that was checked.
struct Checked {
    findings: Findings,
    checkpoints: Found,
    newest: Option<Newest>,
}

impl Run<'_> {
    /// The whole demo. Damage and loss are findings in the summary, not errors.
    fn all(&self) -> Done<Summary> {
        let before = self.append_until_killed()?;
        let (wal, recovery) = self.reopen()?;
        let survived = self.check(&wal, &before)?;
        self.tell_survived(&survived, recovery);
        let mut summary = Summary::new(&before, recovery, &survived);
        if !summary.holds() {
            return Ok(summary);
        }

        let next_checkpoint = survived.newest.map_or(0, |newest| newest.number + 1);
        let mut expected = self.append_rest(&wal, &survived.findings, next_checkpoint)?;
        summary.add_rest(&expected);
        // What was there after the kill must stay, reported or not.
        expected.places.extend(&survived.findings.places);
        expected.checkpoints.extend(survived.checkpoints.offsets.keys().map(|number| (*number, 0)));
        expected.checkpoints.extend(before.checkpoints);
        close(&wal)?;
        drop(wal);
        let (wal, _) = self.reopen()?;
        let mut checked = self.check(&wal, &expected)?;
        checked.findings.require_complete();
        self.tell(format_args!("closed and opened again: everything checked once more"));

        let pruned = match checked.newest {
            Some(newest) if checked.findings.problem_count == 0 => {
                Some(self.prune(wal, newest, &mut checked.findings)?)
            }
            _ => {
                close(&wal)?;
                None
            }
        };
        summary.finish(&checked, pruned, self.target);
        Ok(summary)
    }

    fn reopen(&self) -> Done<(ShardedWal, Duration)> {
        let began = Instant::now();
        let wal = open_log(self.log_dir)?;
        Ok((wal, began.elapsed()))
    }

    /// Holds the log against what was acknowledged.
    fn check(&self, wal: &ShardedWal, acknowledged: &Tally) -> Done<Checked> {
        let failed = |error| Failure::of("read the log", &error);
        let shards: Result<Vec<_>, _> =
            (0..SHARDS).map(|shard| wal.iter_shard_with_ids(shard, 0)).collect();
        let in_words = |entry: ironwal::Result<_>| entry.map_err(|error| error.to_string());
        let shards = shards.map_err(failed)?.into_iter().map(|shard| shard.map(in_words));
        let mut findings = Findings::of(shards, &acknowledged.places, self.lines);
        let checkpoints = checkpoints_in(wal);
        let newest = findings.check_checkpoints(&checkpoints, &acknowledged.checkpoints);
        Ok(Checked { findings, checkpoints, newest })
    }

    fn tell_survived(&self, Checked { findings, checkpoints, newest }: &Checked, took: Duration) {
        self.tell(format_args!(
            "opened again in {:.1} ms: {} lines there, {} of them not reported yet",
            took.as_secs_f64() * 1e3,
            grouped(findings.places.len() as u64),
            grouped(findings.unreported),
        ));
        let count = counted(checkpoints.offsets.len() as u64, "checkpoint", "checkpoints");
        match newest {
            Some(Newest { number, holds }) if findings.wrong_checkpoints == 0 => {
                self.tell(format_args!(
                    "{count} there, each one instant over all shards; the newest, {}, holds {} lines",
                    checkpoint_id(*number),
                    grouped(*holds),
                ));
            }
            _ => self.tell(format_args!("{count} there")),
        }
    }

    /// A checkpoint is taken after every so many lines.
    fn checkpoint_every(&self) -> u64 {
        (self.target / CHECKPOINTS_MIN).clamp(1, CHECKPOINT_EVERY_MAX)
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn go_on_unless_interrupted(&self) -> Done {
        if self.interrupted() {
            return Err(Failure::failed("interrupted before anything was shown; run it again"));
        }
        Ok(())
    }

    fn tell(&self, line: std::fmt::Arguments<'_>) {
        self.progress.tell(line);
    }
}

/// Opens the demo's log, as the child and the parent do.
fn open_log(dir: &Path) -> Done<ShardedWal> {
    let options = WalOptions { max_segment_size: SEGMENT_LEN_MAX, ..WalOptions::new(dir) };
    ShardedWal::new(options, SHARDS).map_err(|error| Failure::of(&opening(dir), &error))
}

fn close(wal: &ShardedWal) -> Done {
    wal.close().map_err(|error| Failure::of("close the log", &error))
}

/// The checkpoints of the demo.
fn checkpoints_in(wal: &ShardedWal) -> Found {
    let mut found = Found::default();
    for (id, _) in wal.list_checkpoints() {
        if let Some(number) = checkpoint_number(&id) {
            let loaded = wal.load_checkpoint(&id).map(|checkpoint| checkpoint.offsets);
            found.offsets.insert(number, loaded.map_err(|error| error.to_string()));
        }
    }
    found.latest = wal.load_latest_checkpoint().ok().map(|(id, _)| printable(&id));
    found
}

fn introduce(progress: &Progress, lines: &Lines, place: &Place, target: u64) {
    progress.tell(format_args!("log in {} {}", place.path().display(), place.fate()));
    if place.is_in_memory() {
        progress.tell(format_args!(
            "note: that is in memory (tmpfs), where a sync costs nothing; --dir takes a disk"
        ));
    }
    progress.tell(format_args!(
        "{} lines of {}, repeated to {}; {} threads, {SHARDS} shards, each append synced before it \
         returns",
        grouped(lines.count()),
        lines.source(),
        grouped(target),
        turns::THREADS,
    ));
}

/// Writes little-endian integers one after another.
fn write_words(out: &mut impl Write, words: &[u64]) -> std::io::Result<()> {
    words.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}
