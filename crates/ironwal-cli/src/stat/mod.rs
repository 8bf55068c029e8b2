//! `ironwal stat`: how much there is of what.

mod gather;
mod print;

use std::path::PathBuf;

use ironwal::{Wal, WalOptions};

use crate::exit::{Done, Failure, say_all};
use crate::{open, table};
use gather::Stats;

pub(crate) use gather::Shards;

/// Print how much a log holds: entries, bytes, segments, how evenly its shards are filled
#[derive(clap::Args)]
#[command(after_help = "\
For each stream: its entries and ids, the bytes of its headers and frames, its segments; how full the
newest one is, and, if entries in that are compressed, how many bytes of entries a byte of it holds. Of a
sharded log also how the entries are spread, as bars, and how many were appended per second from its
oldest to its newest checkpoint. Without checkpoints nothing in a log has a time.
A stream whose end cannot be read is named on standard error; the exit status is then 1. For other damage
there is `ironwal verify`.
Works beside a process that writes to the log, and changes nothing.

Examples:
  ironwal stat ./log
  ironwal stat ./log orders invoices --json")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The names of the streams [default: all]
    streams: Vec<String>,
    /// From how many bytes on a segment is full: its writer chooses that, and it is not stored in the log
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(default_value_t = WalOptions::default().max_segment_size)]
    segment_size: u64,
    /// Print one JSON object per line: the streams, and a summary
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let wal = open::existing(&args.dir)?;
    let stats = Stats::of(&wal, args, names(&wal, args)?)?;
    table::print(|out| match args.json {
        true => print::write_json(out, &stats),
        false => print::write(out, &stats),
    })?;
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    say_all(stats.rows.iter().filter_map(|row| row.damage.as_ref()))
}

/// The streams that are asked for, which are there.
fn names(wal: &Wal, args: &Args) -> Done<Vec<String>> {
    if args.streams.is_empty() {
        return Ok(wal.streams());
    }
    args.streams.iter().map(|name| Ok(open::stream(wal, name)?.name().to_string())).collect()
}
