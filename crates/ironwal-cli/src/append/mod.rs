//! `ironwal append`: one entry per line of standard input.

mod keyed;
mod lines;

use std::io::{self, BufRead};
use std::num::{NonZeroU16, NonZeroUsize};
use std::ops::Range;
use std::path::PathBuf;

use clap::ValueEnum;
use ironwal::{Stream, SyncMode, Wal, WalOptions};

use crate::exit::{self, Done, Failure};
use lines::Lines;

/// Append one entry per line of standard input, creating the log and the stream if needed
#[derive(clap::Args)]
#[command(
    override_usage = "ironwal append [OPTIONS] <DIR> <STREAM>\n       \
        ironwal append [OPTIONS] <DIR> --key-field <K> [--shards <N>]",
    after_help = "\
An entry is the bytes of a line without its newline; a carriage return stays. An empty line is an
empty entry, and the last line needs no newline. What was appended before an error stays.

With --key-field the log is sharded: a field of the line is its key, all lines of a key are in one
shard, in order, and checkpoints can be taken of all shards together. A line is split wherever the
delimiter stands; quotes mean nothing. A line that lacks the field is an error.

Modes:
  strict      every append is on stable storage before the next line is read
  batch-only  the same for each batch of --batch; single lines survive a kill, not power loss
  async       survives a kill, not power loss; synced at the end

Examples:
  ironwal append ./log orders < orders.txt
  journalctl -f | ironwal append ./log journal --mode async
  ironwal append ./log orders --batch 100 < orders.txt
  ironwal append ./accounts --shards 16 --key-field 1 < transfers.tsv
  ironwal append ./accounts --key-field 3 --delimiter , < more.csv"
)]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    #[arg(required_unless_present = "key_field")]
    #[arg(conflicts_with_all = ["key_field", "shards", "delimiter"])]
    stream: Option<String>,
    /// The field of a line that is its key, counted from 1
    #[arg(long, value_name = "K")]
    key_field: Option<NonZeroUsize>,
    /// How many shards the log has; needed only when it is created, and fixed from then on
    #[arg(long, value_name = "N", requires = "key_field")]
    shards: Option<NonZeroU16>,
    #[arg(long, value_name = "C", requires = "key_field", value_parser = keyed::delimiter)]
    #[arg(default_value = "\\t", hide_default_value = true)]
    #[arg(help = "The character between two fields [default: a tab]")]
    delimiter: char,
    /// Append this many lines at a time, each group all or nothing; with --key-field, the part of it
    /// in each shard
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,
    /// When an entry is on stable storage
    #[arg(long, value_enum, default_value = "strict", hide_possible_values = true)]
    mode: Mode,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Strict,
    BatchOnly,
    Async,
}

impl From<Mode> for SyncMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strict => Self::Strict,
            Mode::BatchOnly => Self::BatchOnly,
            Mode::Async => Self::Async,
        }
    }
}

pub(crate) fn run(args: &Args) -> Done {
    match (&args.stream, args.key_field) {
        (Some(stream), _) => run_in_stream(args, stream),
        (None, Some(key_field)) => keyed::run(args, key_field),
        (None, None) => {
            Err(Failure::BadUsage("name a stream, or the field that is the key".into()))
        }
    }
}

impl Args {
    fn options(&self) -> WalOptions {
        WalOptions { sync_mode: self.mode.into(), ..WalOptions::new(&self.dir) }
    }

    /// How many lines are appended at a time.
    fn group_len(&self) -> usize {
        self.batch.map_or(1, NonZeroUsize::get)
    }
}

fn run_in_stream(args: &Args, name: &str) -> Done {
    let wal =
        Wal::new(args.options()).map_err(|error| Failure::of(&exit::opening(&args.dir), &error))?;
    let stream =
        wal.stream(name).map_err(|error| Failure::of(&format!("append to {name:?}"), &error))?;
    let first_id = stream.next_id();
    let mut ids = first_id..first_id;
    let appended = append_lines(&stream, args, &mut io::stdin().lock(), &mut ids);
    let closed = wal.close();
    let count = ids.end - ids.start;
    exit::tell(format_args!(
        "appended {count} {} to {name:?}{}",
        if count == 1 { "entry" } else { "entries" },
        if count == 0 { String::new() } else { format!(" (ids {}..{})", ids.start, ids.end) },
    ));
    appended?;
    closed.map_err(|error| Failure::of("close the log", &error))
}

/// Appends every line of `input`, moving the end of `ids` on with each append.
fn append_lines(
    stream: &Stream,
    args: &Args,
    input: &mut impl BufRead,
    ids: &mut Range<u64>,
) -> Done {
    let failed = |error| Failure::of(&format!("append to {:?}", stream.name()), &error);
    let mut lines = Lines::default();
    while lines.read(input, args.group_len())? {
        match args.batch {
            None => ids.end = stream.append(lines.bytes()).map_err(failed)? + 1,
            Some(_) => ids.end = stream.append_batch(&lines.slices()).map_err(failed)?.end,
        }
    }
    Ok(())
}
