//! `ironwal archive watch`: ships what is new, again and again.

use std::path::PathBuf;
use std::time::Duration;

use ironwal_archive::{Event, Rhythm};

use super::{archiver, failure, push};
use crate::exit::{Done, Failure, say};
use crate::{interrupt, table};

/// Ship a log to an archive, again and again
#[derive(clap::Args)]
#[command(after_help = "\
An entry is in the archive at most as long after it was committed as --every says, and the time that a push
takes. Tells each push that had something to do. If the store fails, that is told and tried again. Ctrl-C, or
a request to end (SIGTERM), pushes once more and ends.
Works beside a process that writes to the log, and changes nothing in it. Ends when another process pushes to
the archive.

Examples:
  ironwal archive watch s3://bucket/ledger ./log
  ironwal archive watch s3://bucket/ledger ./log --every 60
  ironwal archive watch file:///mnt/archive ./log --full-only --json")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// The directory of the log
    dir: PathBuf,
    /// How many seconds to wait between two pushes
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    every: f64,
    /// Ship full segments only, not what the newest ones hold; checkpoints stay as they were
    #[arg(long)]
    full_only: bool,
    /// Print one JSON object for each push
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let every = Duration::try_from_secs_f64(args.every).map_err(|error| {
        Failure::BadUsage(format!("--every {} cannot be used: {error}", args.every))
    })?;
    let rhythm = match args.full_only {
        true => Rhythm::full_every(every),
        false => Rhythm::all_every(every),
    };
    let stop = interrupt::watch()?;
    // What is under way at the end is finished.
    let mut archiver = archiver(&args.url, &args.dir, None)?;
    let mut printed = Ok(());
    let done = archiver.run(rhythm, &stop, &mut |event| match event {
        Event::Pushed(pushed) if printed.is_ok() => {
            printed = table::print(|out| match args.json {
                true => push::write_json(out, &pushed),
                false => push::write(out, &pushed),
            });
        }
        Event::Failed(error) => {
            say(format_args!("a push failed, and will be tried again: {error}"))
        }
        _ => {}
    });
    done.map_err(|error| failure(&format!("push the log in {}", args.dir.display()), error))?;
    printed
}
