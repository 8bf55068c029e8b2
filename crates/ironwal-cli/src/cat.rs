//! `ironwal cat`: the entries of a stream, one per line.

use std::path::PathBuf;

use crate::entries::{Format, Printer};
use crate::exit::{Done, Failure};
use crate::open;

/// Print the entries of a stream, each followed by a newline
#[derive(clap::Args)]
#[command(after_help = "\
Damaged entries are named on standard error and skipped; the exit status is then 1.
Works beside a process that writes to the log, and changes nothing. What is committed after it began
is not printed: `ironwal tail -f` goes on.

Examples:
  ironwal cat ./log orders
  ironwal cat ./log orders --from 100 --to 200 --ids
  ironwal cat ./log orders --json | jq .entry
  ironwal cat ./log orders | head")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// The first id to print
    #[arg(long, value_name = "ID", default_value_t = 0)]
    from: u64,
    /// The id to stop before: it is not printed
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Done {
    if let Some(to) = args.to.filter(|&to| to < args.from) {
        return Err(Failure::BadUsage(format!(
            "--to {to} is smaller than --from {}: swap them",
            args.from
        )));
    }
    let wal = open::existing(&args.dir)?;
    let stream = open::stream(&wal, &args.stream)?;
    let mut printer = Printer::new(args.format);
    let printed = printer.print_range(&wal, &stream, args.from, args.to.unwrap_or(u64::MAX));
    let printed = printed.and_then(|()| printer.finish());
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    printed
}
