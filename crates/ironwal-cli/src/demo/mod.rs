//! `ironwal demo`: kills a process that is appending, and checks that nothing acknowledged is lost.
//!
//! The parent starts this program again as a child, which appends lines from eight threads, each
//! append synced before it returns, and reports every append that returned. In the middle the
//! parent kills it, opens the log again, and holds it against the reports. Then it appends the rest
//! itself, closes, reopens, and checks everything once more.

mod check;
mod child;
mod finish;
mod lines;
mod place;
mod progress;
mod summary;
mod tally;
mod workers;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ironwal::{Wal, WalOptions};

use crate::exit::{Done, Failure, opening, say};
use check::{Findings, check};
use lines::Lines;
use place::Place;
use progress::{Progress, grouped};
use summary::Summary;

pub(crate) use child::{ChildArgs, run_child};

/// The one stream of the demo's log.
const STREAM: &str = "demo";

/// Kill a process that is appending, and check that nothing it had acknowledged is lost
#[derive(clap::Args)]
#[command(after_help = "\
A child process appends every line of the files from eight threads, each append on stable storage
before it returns, and reports each one. Half-way it is killed (SIGKILL). Then the log is opened
again and checked: every reported line is there once, at its id, byte for byte. The rest is appended,
and everything is checked again. The exit status is 0 only if all of it held.

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
    let interrupted = watch_for_interrupts()?;
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

impl Run<'_> {
    /// The whole demo. Damage and loss are findings in the summary, not errors.
    fn all(&self) -> Done<Summary> {
        let before = self.append_until_killed()?;
        let (wal, recovery) = self.reopen()?;
        let survived = self.check(&wal, &before.places)?;
        self.tell(format_args!(
            "opened again in {:.1} ms: {} lines there, {} of them not reported yet",
            recovery.as_secs_f64() * 1e3,
            grouped(survived.places.len() as u64),
            grouped(survived.unreported),
        ));
        let mut summary = Summary::new(before, recovery, &survived);
        if !summary.holds() {
            return Ok(summary);
        }

        let after = self.append_rest(&wal, &survived)?;
        wal.close().map_err(|error| Failure::of("close the log", &error))?;
        let (wal, _) = self.reopen()?;
        // What was there after the kill must stay, reported or not.
        let mut expected = survived.places;
        expected.extend(&after.places);
        let mut findings = self.check(&wal, &expected)?;
        findings.require_complete();
        self.tell(format_args!("closed and opened again: every line checked once more"));
        wal.close().map_err(|error| Failure::of("close the log", &error))?;
        summary.finish(&after, &findings, self.target);
        Ok(summary)
    }

    fn reopen(&self) -> Done<(Wal, Duration)> {
        let began = Instant::now();
        let wal = Wal::new(WalOptions::new(self.log_dir))
            .map_err(|error| Failure::of(&opening(self.log_dir), &error))?;
        Ok((wal, began.elapsed()))
    }

    fn check(&self, wal: &Wal, acknowledged: &BTreeMap<u64, u64>) -> Done<Findings> {
        let entries = wal
            .iter_with_ids(STREAM, 0)
            .map_err(|error| Failure::of("read the log", &error))?
            .map(|entry| entry.map_err(|error| error.to_string()));
        Ok(check(entries, acknowledged, self.lines))
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

fn introduce(progress: &Progress, lines: &Lines, place: &Place, target: u64) {
    progress.tell(format_args!("log in {} {}", place.path().display(), place.fate()));
    if place.is_in_memory() {
        progress.tell(format_args!(
            "note: that is in memory (tmpfs), where a sync costs nothing; --dir takes a disk"
        ));
    }
    progress.tell(format_args!(
        "{} lines of {}, repeated to {}; {} threads, each append synced before it returns",
        grouped(lines.count()),
        lines.source(),
        grouped(target),
        workers::THREADS,
    ));
}

/// With Ctrl-C the child must be ended and the temporary directory removed.
fn watch_for_interrupts() -> Done<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}; try again")))?;
    Ok(interrupted)
}

/// Writes little-endian integers one after another.
fn write_words(out: &mut impl Write, words: &[u64]) -> std::io::Result<()> {
    words.iter().try_for_each(|word| out.write_all(&word.to_le_bytes()))
}
