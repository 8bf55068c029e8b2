//! `ironwal archive verify`: reads everything in an archive.

use std::io::{self, Write};

use ironwal_archive::{Error, Report};
use serde::Serialize;

use super::{at, failure, ids};
use crate::exit::{Done, Failure};
use crate::text::{counted, printable};
use crate::{colour, interrupt, json, progress, table};

/// Read everything in an archive and say what is damaged
#[derive(clap::Args)]
#[command(after_help = "\
Every object is compared with its digest, segments must join, and each is checked as `ironwal verify` does.
The exit status is 1 if something that was pushed cannot be read. What was missing, damaged or marked as lost
when it was pushed is told, and is no reason for that.

Examples:
  ironwal archive verify s3://bucket/ledger
  ironwal archive verify file:///mnt/archive --json")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// Print one JSON object per line: the findings, and a summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let stop = interrupt::watch()?;
    let archive = at(&args.url)?.with_stop(stop);
    let bar = progress::Bytes::new();
    let report = archive.verify(&mut |progress| {
        bar.set(progress.bytes_done, progress.bytes_total, "verified");
    });
    drop(bar);
    let report = report.map_err(|error| match error {
        Error::Interrupted => Failure::failed("interrupted; not all was verified"),
        error => failure("verify the archive", error),
    })?;
    let printed =
        table::print(|out| if args.json { write_json(out, &report) } else { write(out, &report) });
    match printed {
        // A reader that left hides no damage.
        Ok(()) | Err(Failure::ReaderLeft) if !report.is_whole() => Err(Failure::AlreadySaid),
        printed => printed,
    }
}

fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.findings {
        match finding.is_damage {
            true => write!(out, "{}", colour::bad("damage"))?,
            false => write!(out, "note")?,
        }
        if let Some(stream) = &finding.stream {
            write!(out, ": stream {}", printable(stream.as_bytes()))?;
        }
        if let Some(of) = &finding.ids {
            write!(out, ", entries {}", ids(of))?;
        }
        writeln!(out, ": {}", finding.problem)?;
    }
    match report.is_whole() {
        true => write!(out, "{}", colour::good("whole"))?,
        false => write!(out, "{}", colour::bad("not whole"))?,
    }
    writeln!(
        out,
        ": {} of {}, in {} of {}, by manifest {}",
        counted(report.entries, "entry", "entries"),
        counted(report.streams, "stream", "streams"),
        counted(report.segments, "segment", "segments"),
        counted(report.bytes, "byte", "bytes"),
        report.manifest,
    )
}

fn write_json(out: &mut impl Write, report: &Report) -> io::Result<()> {
    #[derive(Serialize)]
    struct Found<'a> {
        r#type: &'static str,
        damage: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        first_id: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_id: Option<u64>,
        problem: &'a str,
    }
    #[derive(Serialize)]
    struct Summary {
        r#type: &'static str,
        whole: bool,
        manifest: u64,
        streams: u64,
        segments: u64,
        entries: u64,
        bytes: u64,
        findings: usize,
    }
    for finding in &report.findings {
        let found = Found {
            r#type: "finding",
            damage: finding.is_damage,
            stream: finding.stream.as_deref(),
            first_id: finding.ids.map(|ids| ids.from),
            next_id: finding.ids.map(|ids| ids.to),
            problem: &finding.problem,
        };
        json::write(out, &found)?;
    }
    let summary = Summary {
        r#type: "summary",
        whole: report.is_whole(),
        manifest: report.manifest,
        streams: report.streams,
        segments: report.segments,
        entries: report.entries,
        bytes: report.bytes,
        findings: report.findings.len(),
    };
    json::write(out, &summary)
}
