//! `ironwal archive ls`: what an archive holds.

use std::io::{self, Write};

use ironwal_archive::{Error, Manifest, Segment, Stream};
use serde::Serialize;

use super::{at, failure, ids};
use crate::exit::Done;
use crate::text::{counted, grouped, printable, utc};
use crate::{json, table};

/// List the streams in an archive
#[derive(clap::Args)]
#[command(after_help = "\
By the newest manifest. What it holds is not read: for that there is `ironwal archive verify`. Streams that
are deleted in the log stay in the archive.

Examples:
  ironwal archive ls s3://bucket/ledger
  ironwal archive ls file:///mnt/archive --json")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// Print one JSON object per line: the archive, its streams, and what is missing in them
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let failed = |error| failure("read the archive", error);
    let manifest = at(&args.url)?.newest().map_err(failed)?;
    let manifest = manifest.ok_or(Error::NoArchive).map_err(failed)?;
    table::print(|out| if args.json { write_json(out, &manifest) } else { write(out, &manifest) })
}

fn write(out: &mut impl Write, manifest: &Manifest) -> io::Result<()> {
    writeln!(
        out,
        "log {}, manifest {} of {} UTC, {}, {}",
        manifest.log,
        manifest.number,
        utc(manifest.time_ms.saturating_mul(1_000_000)),
        if manifest.is_instant { "one instant" } else { "full segments since the last instant" },
        counted(manifest.len(), "byte", "bytes"),
    )?;
    let headings = ["stream", "number", "first id", "next id", "segments", "bytes", ""];
    let mut table = table::new(&headings);
    for stream in &manifest.streams {
        let held = stream.ids();
        let len: u64 = stream.segments.iter().map(Segment::len).sum();
        let numbers = [stream.number, held.start, held.end].map(|number| number.to_string());
        let counts = [stream.segments.len() as u64, len].map(grouped);
        let name = printable(stream.name.as_bytes());
        let cells = std::iter::once(name).chain(numbers).chain(counts);
        table.add_row(cells.chain([remark(stream)]).collect::<Vec<_>>());
    }
    table::align_right(&mut table, 1..6);
    table::write(out, &table)
}

fn remark(stream: &Stream) -> String {
    let gaps = stream.gaps.iter().map(|gap| format!("{} missing", ids(gap)));
    let deleted = stream.is_deleted.then(|| "deleted".to_string());
    deleted.into_iter().chain(gaps).collect::<Vec<_>>().join(", ")
}

fn write_json(out: &mut impl Write, manifest: &Manifest) -> io::Result<()> {
    #[derive(Serialize)]
    struct Archive<'a> {
        r#type: &'static str,
        log: &'a str,
        manifest: u64,
        epoch: u64,
        time_ms: u64,
        instant: bool,
        streams: usize,
        bytes: u64,
    }
    #[derive(Serialize)]
    struct Listed<'a> {
        r#type: &'static str,
        name: &'a str,
        number: u64,
        deleted: bool,
        first_id: u64,
        next_id: u64,
        segments: usize,
        bytes: u64,
    }
    #[derive(Serialize)]
    struct Gap<'a> {
        r#type: &'static str,
        stream: &'a str,
        first_id: u64,
        next_id: u64,
    }
    let archive = Archive {
        r#type: "archive",
        log: &manifest.log,
        manifest: manifest.number,
        epoch: manifest.epoch,
        time_ms: manifest.time_ms,
        instant: manifest.is_instant,
        streams: manifest.streams.len(),
        bytes: manifest.len(),
    };
    json::write(out, &archive)?;
    for stream in &manifest.streams {
        let listed = Listed {
            r#type: "stream",
            name: &stream.name,
            number: stream.number,
            deleted: stream.is_deleted,
            first_id: stream.ids().start,
            next_id: stream.ids().end,
            segments: stream.segments.len(),
            bytes: stream.segments.iter().map(Segment::len).sum(),
        };
        json::write(out, &listed)?;
        for gap in &stream.gaps {
            let (first_id, next_id) = (gap.from, gap.to);
            json::write(out, &Gap { r#type: "gap", stream: &stream.name, first_id, next_id })?;
        }
    }
    Ok(())
}
