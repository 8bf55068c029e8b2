//! `ironwal append`: one entry per line of standard input.

use std::io::{self, BufRead, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use clap::ValueEnum;
use ironwal::{MAX_FRAME_LEN, Stream, SyncMode, Wal, WalOptions};

use crate::exit::{self, Done, Failure};

/// Append one entry per line of standard input, creating the log and the stream if needed
#[derive(clap::Args)]
#[command(after_help = "\
An entry is the bytes of a line without its newline; a carriage return stays. An empty line is an
empty entry, and the last line needs no newline. What was appended before an error stays.

Modes:
  strict      every append is on stable storage before the next line is read
  batch-only  the same for each batch of --batch; single lines survive a kill, not power loss
  async       survives a kill, not power loss; synced at the end

Examples:
  ironwal append ./log orders < orders.txt
  journalctl -f | ironwal append ./log journal --mode async
  ironwal append ./log orders --batch 100 < orders.txt")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// Append this many lines at a time, each group all or nothing
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
    let options = WalOptions { sync_mode: args.mode.into(), ..WalOptions::new(&args.dir) };
    let wal = Wal::new(options).map_err(|error| Failure::of(&exit::opening(&args.dir), &error))?;
    let stream = wal
        .stream(&args.stream)
        .map_err(|error| Failure::of(&format!("append to {:?}", args.stream), &error))?;
    let first_id = stream.next_id();
    let mut ids = first_id..first_id;
    let appended = append_lines(&stream, args.batch, &mut io::stdin().lock(), &mut ids);
    let closed = wal.close();
    let count = ids.end - ids.start;
    exit::tell(format_args!(
        "appended {count} {} to {:?}{}",
        if count == 1 { "entry" } else { "entries" },
        args.stream,
        if count == 0 { String::new() } else { format!(" (ids {}..{})", ids.start, ids.end) },
    ));
    appended?;
    closed.map_err(|error| Failure::of("close the log", &error))
}

/// Appends every line of `input`, moving the end of `ids` on with each append.
fn append_lines(
    stream: &Stream,
    batch: Option<NonZeroUsize>,
    input: &mut impl BufRead,
    ids: &mut Range<u64>,
) -> Done {
    let failed = |error| Failure::of(&format!("append to {:?}", stream.name()), &error);
    let mut lines = Lines::default();
    while lines.read(input, batch.map_or(1, NonZeroUsize::get))? {
        match batch {
            None => ids.end = stream.append(&lines.bytes).map_err(failed)? + 1,
            Some(_) => ids.end = stream.append_batch(&lines.slices()).map_err(failed)?.end,
        }
    }
    Ok(())
}

/// A group of lines, kept in one buffer.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Lines in earlier groups.
    read_before: usize,
}

impl Lines {
    /// Reads the next group of up to `count` lines; false at the end of the input.
    fn read(&mut self, input: &mut impl BufRead, count: usize) -> Done<bool> {
        self.read_before += self.ends.len();
        self.bytes.clear();
        self.ends.clear();
        while self.ends.len() < count && self.read_line(input)? {
            let len = self.bytes.len() as u64;
            if len > MAX_FRAME_LEN {
                let line = self.read_before + self.ends.len();
                return Err(Failure::failed(format!(
                    "input up to line {line} exceeds the {MAX_FRAME_LEN} bytes that one append \
                     takes; use a smaller --batch or shorter lines"
                )));
            }
        }
        Ok(!self.ends.is_empty())
    }

    fn read_line(&mut self, input: &mut impl BufRead) -> Done<bool> {
        // One byte more than fits: a line without an end must not fill the memory.
        let read_len = input
            .take(MAX_FRAME_LEN + 1)
            .read_until(b'\n', &mut self.bytes)
            .map_err(|error| Failure::io("read standard input", &error))?;
        if read_len == 0 {
            return Ok(false);
        }
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
        }
        self.ends.push(self.bytes.len());
        Ok(true)
    }

    fn slices(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect()
    }
}
