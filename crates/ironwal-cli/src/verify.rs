//! `ironwal verify`: reads all of a log and says what is wrong with it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use ironwal::inspect::{Report, VerifyOptions, verify};
use serde::Serialize;

use crate::exit::{Done, Failure};
use crate::progress;
use crate::text::counted;
use crate::{colour, findings, json, open, table};

/// Read every byte of a log and say what is damaged
#[derive(clap::Args)]
#[command(after_help = "\
Names each finding with its file, its offset, the entries that are affected, and what to do. The exit
status is 1 if something that had been durable cannot be read. Torn tails, leftovers of a crash, and
entries that are marked as lost are told and are no reason for that.
Works beside a process that writes to the log, and changes nothing. It does not judge the journal then.

Examples:
  ironwal verify ./log
  ironwal verify ./log --json | jq -r 'select(.severity == \"damage\") | .file'")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// How many segments to read at the same time [default: one for each processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print one JSON object per line: the findings, and a summary
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let report = read(&args.dir, args.threads)?;
    let printed =
        table::print(|out| if args.json { write_json(out, &report) } else { write(out, &report) });
    match printed {
        // A reader that left hides no damage.
        Ok(()) | Err(Failure::ReaderLeft) if !report.is_whole() => Err(Failure::AlreadySaid),
        printed => printed,
    }
}

/// Verifies the log, and shows meanwhile how far it has come.
pub(crate) fn read(dir: &Path, threads: Option<NonZeroUsize>) -> Done<Report> {
    let threads = threads.or_else(|| std::thread::available_parallelism().ok());
    let options = VerifyOptions::default().with_threads(threads.map_or(1, NonZeroUsize::get));
    let bar = progress::Bytes::new();
    let report = verify(&open::disk(), dir, &options, &|progress| {
        bar.set(progress.bytes_done, progress.bytes_total, "verified");
    });
    report.map_err(|error| {
        open::failed_to_inspect(dir, &format!("verify the log in {}", dir.display()), &error)
    })
}

fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    findings::write(out, &report.findings)?;
    let counts = findings::counts(&report.findings);
    let counts: Vec<String> =
        counts.iter().map(|(severity, count)| format!("{severity}: {count}")).collect();
    match report.is_whole() {
        true => write!(out, "{}", colour::good("whole"))?,
        false => write!(out, "{}", colour::bad("not whole"))?,
    }
    if !counts.is_empty() {
        write!(out, " ({})", counts.join(", "))?;
    }
    writeln!(out, ": {}", extent(report))?;
    if report.is_open {
        writeln!(out, "a process has the log open for writing: its journal was not judged")?;
    }
    Ok(())
}

/// What can be read.
pub(crate) fn extent(report: &Report) -> String {
    format!(
        "{} of {}, in {} of {}",
        counted(report.entries, "entry", "entries"),
        counted(report.streams, "stream", "streams"),
        counted(report.segments, "segment", "segments"),
        counted(report.bytes, "byte", "bytes"),
    )
}

fn write_json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    findings::write_json(out, &report.findings)?;
    json::write(out, &Summary::of("summary", report))
}

/// A report as JSON, without its findings.
#[derive(Serialize)]
pub(crate) struct Summary {
    r#type: &'static str,
    whole: bool,
    /// A process has the log open for writing.
    open: bool,
    streams: u64,
    segments: u64,
    entries: u64,
    bytes: u64,
    findings: BTreeMap<String, u64>,
}

impl Summary {
    pub(crate) fn of(r#type: &'static str, report: &Report) -> Self {
        let counts = findings::counts(&report.findings);
        Self {
            r#type,
            whole: report.is_whole(),
            open: report.is_open,
            streams: report.streams,
            segments: report.segments,
            entries: report.entries,
            bytes: report.bytes,
            findings: counts.into_iter().map(|(it, count)| (json::name_of(it), count)).collect(),
        }
    }
}
