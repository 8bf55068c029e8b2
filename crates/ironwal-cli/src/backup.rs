//! `ironwal backup`: a copy of a log as it is at one instant.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ironwal::inspect::{Report, backup};
use ironwal::storage::Storage;

use crate::exit::{Done, Failure};
use crate::watched::Watched;
use crate::{colour, findings, interrupt, json, open, table, verify};

/// Copy a log as it is at one instant, also while it is written to
#[derive(clap::Args)]
#[command(after_help = "\
The copy is one instant over all streams: what was acknowledged before is in it, what comes later is not,
a batch is in it whole or not at all. So are checkpoints. It is verified, and DEST is there when it is
complete and on stable storage, and not before: Ctrl-C leaves nothing of that name. Needs as much space as
the log.

It is the same log: put it in the place of the original, and do not write to both. What was archived of the
original (`ironwal prune --archive`, `ironwal archive push`) is not copied; it can be restored into it. The log is
only read. One that is damaged is not backed up: `ironwal verify` says what is damaged, `ironwal repair` makes a
copy that is whole.

Examples:
  ironwal backup ./log ./backup-monday
  ironwal backup ./log /mnt/backups/log --json")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The directory of the copy, which must not exist, or be empty
    dest: PathBuf,
    /// Print one JSON object per line: what is marked as lost, and the result
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let wal = open::existing(&args.dir)?;
    let bytes = wal.stats().bytes;
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    let interrupted = interrupt::watch()?;
    let disk: Arc<dyn Storage> = Arc::new(Watched::new(Arc::clone(&interrupted), bytes));
    let made = backup(&disk, &args.dir, &args.dest);
    // With its bar, which would stand in what is printed.
    drop(disk);
    let report = made.map_err(|error| match interrupted.load(Ordering::Relaxed) {
        true => {
            Failure::failed(format!("interrupted; there is no backup in {}", args.dest.display()))
        }
        false => Failure::of(&format!("back up the log in {}", args.dir.display()), &error),
    })?;
    table::print(|out| write(out, args, &report))
}

fn write(out: &mut impl Write, args: &Args, report: &Report) -> io::Result<()> {
    if args.json {
        findings::write_json(out, &report.findings)?;
        return json::write(out, &verify::Summary::of("backup", report));
    }
    writeln!(
        out,
        "{}: {} is whole: {}",
        colour::good("backed up"),
        args.dest.display(),
        verify::extent(report)
    )?;
    findings::write(out, &report.findings)
}
