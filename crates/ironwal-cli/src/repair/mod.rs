//! `ironwal repair`: a repaired copy of a damaged log.

mod plan;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironwal::Error;
use ironwal::inspect::{Finding, Plan, Report, Severity, plan_repair, repair};
use ironwal::storage::Storage;

use crate::confirm::confirm;
use crate::exit::{Done, Failure, tell};
use crate::watched::Watched;
use crate::{colour, findings, interrupt, json, open, table, verify};

/// Copy a damaged log to a new directory, repaired
#[derive(clap::Args)]
#[command(after_help = "\
Says first what it would do, and does it after a question, or with --yes. The log itself is never changed,
only copied: every entry that is whole keeps its id, those that are lost are marked, so that reads go on to
name them, and the damaged bytes are kept in the directory .damaged of the copy. The copy is verified.
The log must be closed. Needs as much space as the log. Ctrl-C ends it at any time: NEWDIR is there once
all is done.

Examples:
  ironwal repair ./log --to ./repaired
  ironwal repair ./log --to ./repaired --yes --json")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The directory of the copy, which must not exist
    #[arg(long, value_name = "NEWDIR")]
    to: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON object per line: the actions, the plan, what is lost, and the result
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    if fs::symlink_metadata(&args.to).is_ok() {
        return Err(Failure::BadUsage(format!(
            "{} exists: choose a directory that does not, for the copy",
            args.to.display()
        )));
    }
    let report = verify::read(&args.dir, None)?;
    // Ctrl-C ends the program here, as nothing has been done.
    let disk: Arc<dyn Storage> = Arc::new(Watched::new(Arc::default(), report.bytes));
    let plan = plan_repair(&disk, &args.dir)
        .map_err(|error| open::failed_to_inspect(&args.dir, &args.doing(), &error))?;
    // With its bar, which would stand in the plan.
    drop(disk);
    match table::print(|out| plan::write(out, &plan, &report, args)) {
        Err(Failure::ReaderLeft) if args.yes => {}
        Err(Failure::ReaderLeft) => {
            return Err(Failure::failed("nothing was done: nobody read what would be done"));
        }
        printed => printed?,
    }
    if report.is_open {
        return Err(args.failure(&Error::Locked(args.dir.clone())));
    }
    if plan.obstacles().next().is_some() {
        return Err(Failure::failed(format!(
            "cannot {}: nothing can be done about what is named above; restore the log from a backup",
            args.doing()
        )));
    }
    if !plan.is_needed() {
        tell("there is nothing to repair, and no copy was made");
        return Ok(());
    }
    confirm(args.yes, format_args!("make the repaired copy in {}?", args.to.display()))?;
    let repaired = copy(args, &plan, report.bytes)?;
    table::print(|out| write(out, args, &repaired))
}

impl Args {
    fn doing(&self) -> String {
        format!("repair the log in {}", self.dir.display())
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::of(&self.doing(), error)
    }
}

/// Does what is planned.
fn copy(args: &Args, plan: &Plan, bytes: u64) -> Done<Report> {
    // Not before: a question is ended by Ctrl-C as ever.
    let interrupted = interrupt::watch()?;
    let disk: Arc<dyn Storage> = Arc::new(Watched::new(Arc::clone(&interrupted), bytes));
    repair(&disk, &args.dir, plan, &args.to).map_err(|error| {
        let failure = match interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            true => Failure::failed("interrupted"),
            false => args.failure(&error),
        };
        with_what_is_left(failure, args)
    })
}

/// Adds to a failure what is there now.
fn with_what_is_left(failure: Failure, args: &Args) -> Failure {
    let Failure::Failed(message) = failure else { return failure };
    let unfinished = unfinished(&args.to);
    let left = match unfinished.exists() {
        true => format!(
            "what was copied is in {}: delete it, or run this again, which begins anew",
            unfinished.display()
        ),
        false => "nothing was copied".into(),
    };
    Failure::Failed(format!("{message}; {} is as it was; {left}", args.dir.display()))
}

/// Where the library makes the copy.
fn unfinished(to: &Path) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    to.with_file_name(format!(".{name}.ironwal-repair"))
}

fn write(out: &mut impl Write, args: &Args, repaired: &Report) -> io::Result<()> {
    let is_lost = |finding: &&Finding| finding.severity() == Severity::Lost;
    let lost: Vec<Finding> = repaired.findings.iter().filter(is_lost).cloned().collect();
    if args.json {
        findings::write_json(out, &lost)?;
        return json::write(out, &verify::Summary::of("repaired", repaired));
    }
    writeln!(
        out,
        "{}: {} is whole: {}",
        colour::good("repaired"),
        args.to.display(),
        verify::extent(repaired)
    )?;
    findings::write(out, &lost)
}
