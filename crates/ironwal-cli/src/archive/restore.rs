//! `ironwal archive restore`: makes a log of what is in an archive.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use ironwal_archive::{Error, RestoreOptions, Restored, Until};
use serde::Serialize;

use super::{at, failure, ids};
use crate::exit::{Done, Failure};
use crate::text::{counted, printable};
use crate::{colour, interrupt, json, open, progress, table};

/// Make a log of what is in an archive
#[derive(clap::Args)]
#[command(after_help = "\
The log is the one that was pushed, with its ids, shards and checkpoints, and goes on with the next ids: put it
in the place of the original, and do not write to both. DEST is there when the log is complete, verified and
on stable storage, and not before. After Ctrl-C, a crash or an error, restore again: it goes on with what is
whole, which is in a directory beside DEST.

Examples:
  ironwal archive restore s3://bucket/ledger ./restored
  ironwal archive restore s3://bucket/ledger ./orders --stream orders
  ironwal archive restore s3://bucket/ledger ./before --until orders=1233
  ironwal archive restore s3://bucket/accounts ./monday --checkpoint monday")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// The directory of the log, which must not exist, or be empty
    dest: PathBuf,
    /// Restore this stream, also one that was deleted; can be repeated [default: all that were in the log]
    #[arg(long, value_name = "STREAM")]
    stream: Vec<String>,
    /// End a stream with this entry; can be repeated, for others. Leaves checkpoints out
    #[arg(long, value_name = "STREAM=ID", value_parser = last_entry)]
    until: Vec<(String, u64)>,
    /// End all shards as this checkpoint has them. Leaves later checkpoints out
    #[arg(long, value_name = "ID", conflicts_with_all = ["until", "stream"])]
    checkpoint: Option<String>,
    /// Where entries of a stream are missing, begin it behind them
    #[arg(long)]
    after_gaps: bool,
    /// Print one JSON object: the result
    #[arg(long)]
    json: bool,
}

fn last_entry(text: &str) -> Result<(String, u64), String> {
    let (stream, id) = text.rsplit_once('=').ok_or("it has no `=`: use STREAM=ID")?;
    let id = id.parse().map_err(|error| format!("{id:?} is no id: {error}"))?;
    Ok((stream.to_string(), id))
}

pub(super) fn run(args: &Args) -> Done {
    let mut options = RestoreOptions::default();
    options.streams = args.stream.iter().cloned().collect();
    options.after_gaps = args.after_gaps;
    let ends: BTreeMap<String, u64> = args.until.iter().cloned().collect();
    options.until = match &args.checkpoint {
        Some(id) => Until::Checkpoint(id.clone().into_bytes()),
        None if ends.is_empty() => Until::End,
        None => Until::Entries(ends),
    };
    let stop = interrupt::watch()?;
    let archive = at(&args.url)?.with_stop(stop);
    let bar = progress::Bytes::new();
    let restored = archive.restore(&open::disk(), &args.dest, &options, &mut |progress| {
        bar.set(progress.bytes_done, progress.bytes_total, "restored");
    });
    drop(bar);
    let restored = restored.map_err(|error| match error {
        Error::Interrupted => Failure::failed(format!(
            "interrupted; there is no log in {} yet: restore again, and it goes on",
            args.dest.display()
        )),
        error => failure("restore the log", error),
    })?;
    table::print(|out| match args.json {
        true => write_json(out, &restored),
        false => write(out, args, &restored),
    })
}

fn write(out: &mut impl Write, args: &Args, restored: &Restored) -> io::Result<()> {
    let entries = restored.streams.values().map(|ids| ids.end - ids.start).sum();
    writeln!(
        out,
        "{}: {} is whole: {} of {}, by manifest {}; {} fetched",
        colour::good("restored"),
        args.dest.display(),
        counted(entries, "entry", "entries"),
        counted(restored.streams.len() as u64, "stream", "streams"),
        restored.manifest,
        counted(restored.bytes, "byte", "bytes"),
    )?;
    for (what, found) in [("missing", &restored.gaps), ("damaged", &restored.damaged)] {
        for (stream, of) in found {
            let stream = printable(stream.as_bytes());
            writeln!(out, "{what} since before they were pushed: {} of {stream}", ids(of))?;
        }
    }
    Ok(())
}

fn write_json(out: &mut impl Write, restored: &Restored) -> io::Result<()> {
    #[derive(Serialize)]
    struct Ids<'a> {
        stream: &'a str,
        first_id: u64,
        next_id: u64,
    }
    #[derive(Serialize)]
    struct Result<'a> {
        r#type: &'static str,
        manifest: u64,
        bytes: u64,
        streams: Vec<Ids<'a>>,
        gaps: Vec<Ids<'a>>,
        damaged: Vec<Ids<'a>>,
    }
    fn listed(found: &[(String, ironwal_archive::Ids)]) -> Vec<Ids<'_>> {
        let ids = found.iter();
        ids.map(|(stream, ids)| Ids { stream, first_id: ids.from, next_id: ids.to }).collect()
    }
    let streams = restored.streams.iter();
    let streams =
        streams.map(|(stream, ids)| Ids { stream, first_id: ids.start, next_id: ids.end });
    let result = Result {
        r#type: "restored",
        manifest: restored.manifest,
        bytes: restored.bytes,
        streams: streams.collect(),
        gaps: listed(&restored.gaps),
        damaged: listed(&restored.damaged),
    };
    json::write(out, &result)
}
