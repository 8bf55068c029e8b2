//! `ironwal tail`: the last entries of a stream, and those that come.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ironwal::{Error, Stream, Wal};

use crate::entries::{Format, Printer};
use crate::exit::{Done, Failure};
use crate::{interrupt, open};

/// How often to look whether Ctrl-C was pressed.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

/// Print the last entries of a stream, and with -f those that come
#[derive(clap::Args)]
#[command(after_help = "\
With -f it prints what another process commits, as it is committed, until Ctrl-C ends it: that is its
proper end, and the exit status is 0. It is 1 if something had to be said on standard error before: that
entries were pruned before it could print them, or that entries which it has printed were cut off. Then it
goes on with the first that may be another one, and prints those again that stand in one segment with it.
Damaged entries are named on standard error and skipped; the exit status is then 1.

Examples:
  ironwal tail ./log orders
  ironwal tail ./log orders -n 100 --ids
  ironwal tail ./log orders -f --json")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// How many entries to print
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    count: u64,
    /// Go on with what is committed from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Done {
    let interrupted = if args.follow { Some(interrupt::watch()?) } else { None };
    let wal = open::existing(&args.dir)?;
    let stream = open::stream(&wal, &args.stream)?;
    let printed = print(&wal, &stream, args, interrupted.as_deref());
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    printed
}

fn print(wal: &Wal, stream: &Stream, args: &Args, interrupted: Option<&AtomicBool>) -> Done {
    let mut printer = Printer::new(args.format);
    let end = stream.next_id();
    let from = end.saturating_sub(args.count).max(stream.first_id());
    match interrupted {
        // Without an end, so that it is said if that cannot be read.
        None => printer.print_range(wal, stream, from, u64::MAX)?,
        // All of it, so that it knows what was printed if that is cut off.
        Some(interrupted) => follow(stream, from, &mut printer, interrupted)?,
    }
    printer.finish()
}

/// Prints what is committed from the id `from` on, until Ctrl-C.
fn follow(stream: &Stream, from: u64, printer: &mut Printer, interrupted: &AtomicBool) -> Done {
    let mut follower = stream.follow(from);
    while !interrupted.load(Ordering::Relaxed) {
        let next = match follower.try_next() {
            Ok(None) => {
                // Whoever reads is to see it before we wait.
                printer.flush()?;
                follower.next_timeout(LOOK_UP_EVERY)
            }
            next => next,
        };
        match next {
            Ok(Some((id, entry))) => printer.print(id, &entry)?,
            Ok(None) => {}
            Err(error @ (Error::Pruned { .. } | Error::CutOff { .. } | Error::Damaged { .. })) => {
                printer.complain(error.to_string())?
            }
            Err(error) => {
                printer.flush()?;
                return Err(Failure::of(&format!("follow {:?}", stream.name()), &error));
            }
        }
    }
    Ok(())
}
