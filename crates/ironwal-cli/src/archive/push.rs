//! `ironwal archive push`: ships what is new, once.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use ironwal_archive::{Error, Pushed, Tails};
use serde::Serialize;

use super::{archiver, failure, ids};
use crate::exit::{Done, Failure};
use crate::text::{counted, grouped, printable};
use crate::{colour, interrupt, json, progress, table};

/// Ship what is new in a log to an archive
#[derive(clap::Args)]
#[command(after_help = "\
When it is done, the archive holds everything that was committed before it began, as of one instant over all
streams. Works beside a process that writes to the log, and changes nothing in it. After Ctrl-C, a crash or an
error, push again: it goes on, and nobody sees what was half done. Another process that pushes to the
archive is told so, and ends.

Examples:
  ironwal archive push file:///mnt/archive ./log
  ironwal archive push s3://bucket/ledger ./log --full-only")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// The directory of the log
    dir: PathBuf,
    /// Ship full segments only, not what the newest ones hold; checkpoints stay as they were
    #[arg(long)]
    full_only: bool,
    /// Print one JSON object: the result
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let stop = interrupt::watch()?;
    let mut archiver = archiver(&args.url, &args.dir, Some(Arc::clone(&stop)))?;
    let tails = if args.full_only { Tails::Leave } else { Tails::Ship };
    let bar = progress::Bytes::new();
    let pushed = archiver.push_watched(tails, &mut |progress| {
        bar.set(progress.bytes_done, progress.bytes_total, "pushed");
    });
    drop(bar);
    let pushed = pushed.map_err(|error| match error {
        Error::Interrupted => Failure::failed("interrupted; push again, and it goes on"),
        error => failure(&format!("push the log in {}", args.dir.display()), error),
    })?;
    table::print(|out| if args.json { write_json(out, &pushed) } else { write(out, &pushed) })
}

pub(super) fn write(out: &mut impl Write, pushed: &Pushed) -> io::Result<()> {
    let Some(manifest) = pushed.manifest else {
        return writeln!(out, "{}: there is nothing new", colour::good("pushed"));
    };
    writeln!(
        out,
        "{}: manifest {manifest}; {} read, {} in {} written",
        colour::good("pushed"),
        counted(pushed.segments, "segment", "segments"),
        counted(pushed.bytes, "byte", "bytes"),
        counted(pushed.objects, "object", "objects"),
    )?;
    for (stream, gap) in &pushed.gaps {
        writeln!(
            out,
            "{}: entries {} of stream {} ({}) were pruned before they were pushed",
            colour::bad("gap"),
            ids(gap),
            printable(stream.as_bytes()),
            grouped(gap.to - gap.from),
        )?;
    }
    Ok(())
}

pub(super) fn write_json(out: &mut impl Write, pushed: &Pushed) -> io::Result<()> {
    #[derive(Serialize)]
    struct Gap<'a> {
        stream: &'a str,
        first_id: u64,
        next_id: u64,
    }
    #[derive(Serialize)]
    struct Result<'a> {
        r#type: &'static str,
        manifest: Option<u64>,
        segments: u64,
        objects: u64,
        bytes: u64,
        gaps: Vec<Gap<'a>>,
    }
    let gaps = pushed.gaps.iter();
    let gaps = gaps.map(|(stream, ids)| Gap { stream, first_id: ids.from, next_id: ids.to });
    let gaps = gaps.collect();
    let Pushed { manifest, segments, objects, bytes, .. } = *pushed;
    json::write(out, &Result { r#type: "pushed", manifest, segments, objects, bytes, gaps })
}
