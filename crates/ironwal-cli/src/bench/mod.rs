//! `ironwal bench`: what a log on this disk can do, beside what the disk can do.

mod loads;
mod print;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ironwal::SyncMode;

use crate::exit::{Done, Failure};
use crate::{interrupt, progress, table};
use loads::{Kind, Load, Ready};

/// How often each load has its turn: what disturbs the machine for a moment disturbs all of them.
const TURNS: u32 = 5;

/// How many entries a batch has.
const BATCH_LEN: usize = 100;

/// The shortest turn, in seconds.
const TURN_S_MIN: f64 = 0.001;

/// Measure this disk, and appends on it: strict, in batches, from several threads, and not synced.
///
/// The loads take turns, so that what disturbs the machine disturbs all of them. Compare within one run:
/// two runs on a shared machine differ by more than you would think.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ironwal bench
  ironwal bench /mnt/data --seconds 10 --size 1000
  ironwal bench --json > here.jsonl

The directory is removed at the end, also after Ctrl-C. It takes up to 600 MB meanwhile.")]
pub(crate) struct Args {
    /// Make the logs in a new directory in DIR
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// For how long each load is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// How long entries are
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    size: u32,
    /// How many threads append where several do
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print one JSON object per load
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    if !args.seconds.is_finite() || !(0.01..=3600.0).contains(&args.seconds) {
        return Err(Failure::BadUsage("--seconds takes a number from 0.01 to 3600".into()));
    }
    let interrupted = interrupt::watch()?;
    let is_stopped = || interrupted.load(Ordering::Relaxed);
    if !args.dir.is_dir() {
        return Err(Failure::failed(format!(
            "{} is not a directory: make it, or choose another",
            args.dir.display()
        )));
    }
    let failed = |error| {
        let doing = format!("make a directory for the logs in {}", args.dir.display());
        Failure::io(&doing, &error)
    };
    let dir =
        tempfile::Builder::new().prefix("ironwal-bench-").tempdir_in(&args.dir).map_err(failed)?;
    let mut loads = Vec::new();
    for load in loads_with(args.threads) {
        loads.push(Ready::new(load, dir.path())?);
    }
    let entry = vec![0x5A; args.size as usize];
    let turn = Duration::from_secs_f64((args.seconds / f64::from(TURNS)).max(TURN_S_MIN));
    let bar = progress::bar(u64::from(TURNS) * loads.len() as u64);
    for _ in 0..TURNS {
        for load in &mut loads {
            if let Some(bar) = &bar {
                bar.set_message(load.load.name);
            }
            let done = load.go_on(&entry, Instant::now() + turn, &is_stopped);
            done.map_err(|error| Failure::of(&format!("measure {:?}", load.load.name), &error))?;
            bar.iter().for_each(|bar| bar.inc(1));
        }
    }
    bar.iter().for_each(|bar| bar.finish_and_clear());
    if is_stopped() {
        return Err(Failure::failed("interrupted before everything was measured; run it again"));
    }
    table::print(|out| match args.json {
        true => print::json(out, &loads, args.size),
        false => print::table(out, &loads, args.size),
    })
}

fn loads_with(threads: u16) -> Vec<Load> {
    let append =
        |name, mode, batch, threads| Load { name, kind: Kind::Append { mode, batch }, threads };
    let threads = threads.into();
    vec![
        Load { name: "floor", kind: Kind::Floor, threads: 1 },
        append("strict", SyncMode::Strict, 1, 1),
        append("strict, threads", SyncMode::Strict, 1, threads),
        append("strict, batches", SyncMode::Strict, BATCH_LEN, 1),
        append("not synced", SyncMode::Async, 1, 1),
    ]
}
