//! `ironwal cat`: the entries of a stream, one per line.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use ironwal::{Error, Stream, Wal};

use crate::exit::{Done, Failure, say};
use crate::open;

const OUTPUT_BUFFER_LEN: usize = 128 * 1024;

/// Print the entries of a stream, each followed by a newline
#[derive(clap::Args)]
#[command(after_help = "\
Damaged entries are named on standard error and skipped; the exit status is then 1.
Works beside a process that writes to the log, and changes nothing. What is committed after it began
is not printed.

Examples:
  ironwal cat ./log orders
  ironwal cat ./log orders --from 100 --to 200 --ids
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
    /// Print each entry's id and a tab before it
    #[arg(long)]
    ids: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    if let Some(to) = args.to.filter(|&to| to < args.from) {
        return Err(Failure::BadUsage(format!(
            "--to {to} is smaller than --from {}: swap them",
            args.from
        )));
    }
    let wal = open::existing(&args.dir)?;
    let stream = find(&wal, &args.stream)?;
    let printed = print(&wal, &stream, args);
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    printed
}

/// The stream, if there is one.
fn find(wal: &Wal, name: &str) -> Done<Stream> {
    let failed = |error| Failure::of(&format!("read {name:?}"), &error);
    match wal.get(name, u64::MAX) {
        // Says itself, further down, what of it can be read.
        Err(Error::Corruption(_) | Error::CrcMismatch { .. }) => {}
        looked => drop(looked.map_err(failed)?),
    }
    if wal.current_segment_start_id(name).is_none() {
        return Err(Failure::failed(format!(
            "there is no stream {name:?} in the log: `ironwal ls` lists them"
        )));
    }
    wal.stream(name).map_err(failed)
}

fn print(wal: &Wal, stream: &Stream, args: &Args) -> Done {
    let to = args.to.unwrap_or(u64::MAX);
    // A writer that is faster than we are would keep us here for ever.
    let end = to.min(stream.next_id());
    let failed = |error| Failure::of(&format!("read {:?}", stream.name()), &error);
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER_LEN, io::stdout().lock());
    let mut result = Ok(());
    // The id that is due: an error of the iterator does not say where it is.
    let mut due = args.from.max(stream.first_id());
    for entry in wal.iter_with_ids(stream.name(), args.from).map_err(failed)? {
        if due >= to {
            break;
        }
        match entry {
            Ok((id, _)) if id >= end => break,
            Ok((id, entry)) => {
                write_entry(&mut out, args.ids.then_some(id), &entry)
                    .map_err(|error| reader_left_or(&error, &result))?;
                due = id + 1;
            }
            Err(error) => {
                // Before the message, so that both come in order on a terminal.
                out.flush().map_err(|error| reader_left_or(&error, &result))?;
                let (message, end) = describe(stream, due, error);
                say(message);
                due = end.max(due + 1);
                result = Err(Failure::AlreadySaid);
            }
        }
    }
    out.flush().map_err(|error| reader_left_or(&error, &result))?;
    result
}

fn write_entry(out: &mut impl Write, id: Option<u64>, entry: &[u8]) -> io::Result<()> {
    if let Some(id) = id {
        write!(out, "{id}\t")?;
    }
    out.write_all(entry)?;
    out.write_all(b"\n")
}

/// What to say about an entry that cannot be read, and the id behind it. The handle of the stream
/// tells ids and file, the iterator does not.
fn describe(stream: &Stream, id: u64, error: Error) -> (String, u64) {
    match stream.get(id) {
        Err(damage @ Error::Damaged { .. }) => {
            let end = if let Error::Damaged { ids, .. } = &damage { ids.end } else { id + 1 };
            (damage.to_string(), end)
        }
        _ => (format!("cannot read entry {id} of stream {:?}: {error}", stream.name()), id + 1),
    }
}

/// A reader that left hides no damage that was found before.
fn reader_left_or(error: &io::Error, result: &Done) -> Failure {
    match (Failure::output(error), result) {
        (Failure::ReaderLeft, Err(_)) => Failure::AlreadySaid,
        (failure, _) => failure,
    }
}
