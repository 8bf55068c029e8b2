//! `ironwal-migrate OLD NEW`: makes a log of ironwal 0.7 out of a directory that 0.6 wrote.
//!
//! 1. **Copy** OLD, for opening a log with 0.6.9 changes it ([`original`]). OLD is only ever read.
//! 2. **Open** the copy with 0.6.9, and find out what there is ([`old`]).
//! 3. **Build** the new log beside NEW: every entry under its id, marks for those that are lost,
//!    checkpoints ([`build`]).
//! 4. **Check** it against what was read ([`check`]).
//! 5. **Name** it NEW. Until then there is no such directory, so one that is there is whole ([`place`]).
#![forbid(unsafe_code)]

mod build;
mod check;
mod failure;
mod old;
mod original;
mod place;
mod progress;
mod reading;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use failure::{Failure, Result};
use old::Old;
use original::Original;
use place::Place;
use report::Report;

/// Make a log of ironwal 0.7 out of a directory that ironwal 0.6 wrote
#[derive(Parser)]
#[command(
    name = "ironwal-migrate",
    version,
    after_help = "\
Every entry keeps its stream, its shard and its id; checkpoints keep their ids, positions and times. OLD
is only read, and must not be in use. NEW is there once all of it is done and checked: an interrupted run
leaves a directory beside it, with which the next one begins anew.
Needs as much space as OLD twice over: for a copy, which 0.6.9 reads, and for NEW.

Exit status:
  0  everything is in NEW
  1  entries or checkpoints were lost in OLD: all others are in NEW, and what is lost is named; or the
     operation failed, and there is no NEW
  2  bad usage

Examples:
  ironwal-migrate ./ledger ./ledger-0.7
  ironwal-migrate ./accounts ./accounts-0.7 --shards 16"
)]
struct Args {
    /// The directory that 0.6 wrote
    old: PathBuf,
    /// The directory of the new log, which must not exist or be empty
    new: PathBuf,
    /// How many shards OLD has, where no checkpoint says it; 0: streams named shard_00 … are no shards
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Give a stream another name: 0.6 wrote a/b into the directory a_b, where 0.7 has two streams
    #[arg(long = "name", value_name = "DIR=STREAM", value_parser = renamed)]
    names: Vec<(String, String)>,
    /// The program that wrote OLD was killed: what 0.6.9 cuts off at the end of a stream is a torn tail,
    /// and no reason for exit status 1
    #[arg(long)]
    torn_tails: bool,
    /// Compress entries in NEW (LZ4), where that saves space
    #[arg(long)]
    compress: bool,
    /// Where to make the copy of OLD [default: beside NEW]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one JSON object per line: what is lost, and a summary
    #[arg(long)]
    json: bool,
}

fn renamed(text: &str) -> std::result::Result<(String, String), String> {
    let (dir, stream) = text.split_once('=').ok_or("it is not DIR=STREAM")?;
    Ok((dir.into(), stream.into()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = migrate(&args).and_then(|report| {
        report.print(args.json).map_err(Failure::output)?;
        Ok(report)
    });
    match done {
        Ok(report) if report.is_complete(args.torn_tails) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => failure.say(),
    }
}

/// Does all of it; what is lost in OLD is in the report.
fn migrate(args: &Args) -> Result<Report> {
    let original = Original::look(&args.old)?;
    let place = Place::take(&args.old, &args.new, args.scratch.as_deref())?;
    original.refuse_users()?;
    place.check_space(&original)?;
    original.copy(&place.copy())?;
    original.check_unchanged()?;
    let mut report = Report::new(&args.old, &args.new);
    let names: BTreeMap<String, String> = args.names.iter().cloned().collect();
    let old = Old::open(&place.copy(), &original, args.shards, &names, &mut report)?;
    let built = build::build(&place.log(), &old, args.compress, &mut report)?;
    check::check(&place.log(), &old, &built)?;
    original.check_unchanged()?;
    place.finish()?;
    Ok(report)
}
