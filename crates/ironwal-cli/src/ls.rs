//! `ironwal ls`: the streams of a log.

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};

use crate::exit::{Done, Failure};
use crate::open;
use crate::text::printable;

/// List the streams of a log: first id, next id and number of entries of each
#[derive(clap::Args)]
#[command(after_help = "\
Works beside a process that writes to the log, and changes nothing.

Example:
  ironwal ls ./log")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Done {
    let wal = open::existing(&args.dir)?;
    let failed = |error| Failure::of("read the log", &error);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["stream", "first id", "next id", "entries"]);
    for name in wal.streams() {
        let stream = wal.stream(&name).map_err(failed)?;
        let (first_id, next_id) = (stream.first_id(), stream.next_id());
        table.add_row([
            printable(name.as_bytes()),
            first_id.to_string(),
            next_id.to_string(),
            (next_id - first_id).to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim()).map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))?;
    wal.close().map_err(failed)
}
