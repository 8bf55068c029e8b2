//! Printing entries of a stream, for `cat` and `tail`.

use std::io::{self, BufWriter, StdoutLock, Write};

use ironwal::{Error, Stream, Wal};
use serde::Serialize;

use crate::exit::{Done, Failure, say};
use crate::json;

const OUTPUT_BUFFER_LEN: usize = 128 * 1024;

/// How an entry is printed.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Format {
    /// Print each entry's id and a tab before it
    #[arg(long)]
    ids: bool,
    /// Print each entry as a line of JSON: {"id":7,"entry":"text"}, or entry_base64 for what is not
    /// UTF-8
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_base64: Option<String>,
}

/// Prints entries, and names on standard error what cannot be read.
pub(crate) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    format: Format,
    result: Done,
}

impl Printer {
    pub(crate) fn new(format: Format) -> Self {
        let out = BufWriter::with_capacity(OUTPUT_BUFFER_LEN, io::stdout().lock());
        Self { out, format, result: Ok(()) }
    }

    pub(crate) fn print(&mut self, id: u64, entry: &[u8]) -> Done {
        let written = self.write(id, entry);
        written.map_err(|error| self.reader_left_or(&error))
    }

    fn write(&mut self, id: u64, entry: &[u8]) -> io::Result<()> {
        if self.format.json {
            let (entry, entry_base64) = json::text(entry);
            return json::write(&mut self.out, &Line { id, entry, entry_base64 });
        }
        if self.format.ids {
            write!(self.out, "{id}\t")?;
        }
        self.out.write_all(entry)?;
        self.out.write_all(b"\n")
    }

    /// Says what cannot be printed; the exit status is 1 at the end.
    pub(crate) fn complain(&mut self, message: String) -> Done {
        // Before the message, so that both come in order on a terminal.
        self.flush()?;
        say(message);
        self.result = Err(Failure::AlreadySaid);
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Done {
        self.out.flush().map_err(|error| self.reader_left_or(&error))
    }

    pub(crate) fn finish(mut self) -> Done {
        self.flush()?;
        self.result
    }

    /// A reader that left hides no damage that was found before.
    fn reader_left_or(&self, error: &io::Error) -> Failure {
        match (Failure::output(error), &self.result) {
            (Failure::ReaderLeft, Err(_)) => Failure::AlreadySaid,
            (failure, _) => failure,
        }
    }

    /// Prints the entries from `from` on that are below `to`, and committed by now: a writer that is
    /// faster than we are would keep us here for ever.
    pub(crate) fn print_range(&mut self, wal: &Wal, stream: &Stream, from: u64, to: u64) -> Done {
        let end = to.min(stream.next_id());
        let failed = |error| Failure::of(&format!("read {:?}", stream.name()), &error);
        // The id that is due: an error of the iterator does not say where it is.
        let mut due = from.max(stream.first_id());
        for entry in wal.iter_with_ids(stream.name(), from).map_err(failed)? {
            if due >= to {
                break;
            }
            match entry {
                Ok((id, _)) if id >= end => break,
                Ok((id, entry)) => {
                    self.print(id, &entry)?;
                    due = id + 1;
                }
                Err(error) => {
                    let (message, end) = describe(stream, due, error);
                    self.complain(message)?;
                    due = end.max(due + 1);
                }
            }
        }
        Ok(())
    }
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
