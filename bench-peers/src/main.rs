//! Measures logs side by side on one directory.
//!
//! ```text
//! cargo run --release --manifest-path bench-peers/Cargo.toml -- all [--quick] [--dir DIR]
//! ```
//!
//! `all` measures every kind of work beside every peer, see `suite`. The other workloads look closer at
//! one thing each, and only at this library, the published version and the disk's limit.
//!
//! Absolute figures hold for one machine only, and drift while it is used. So the cases take turns,
//! in an order that changes with every repetition, and what is judged is the median of the ratios
//! *within* the repetitions.

mod durable;
mod loads;
mod measure;
mod peers;
mod report;
mod suite;
mod watch;
mod workloads;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use ironwal::Journal;
use measure::Settings;
use workloads::fairness::Demand;
use workloads::{Plan, fairness, many_streams, one_stream, threshold};

const USAGE: &str = "\
usage: bench-peers WORKLOAD [OPTIONS]

workloads:
  all           everything beside every peer, with targets, a report and pictures
  strict        single durable appends of 128 bytes: 1 and 8 threads, beside the disk's limit
  strict-batch  durable batches of 100 entries of 128 bytes, 1 thread
  many-streams  the same to many streams, with and without the journal, and what belongs to it
  threshold     durable entries of 1 to 64 KiB, with and without the journal
  fairness      durable appends to 1,000 streams from 64 threads, across switches of the journal

options:
  --dir DIR         where the logs are created and removed again [default: target/bench-data]
  --repetitions N   how often every case is run [default: 9]
  --warm-up S       how long a run goes on before it is measured, in seconds [default: 0.2]
  --seconds S       how long each run is measured [default: 1; fairness: 20]
  --quick           --repetitions 3 --seconds 0.3; fairness: --seconds 4; says nothing reliable
of all only (repetitions: 5, with --quick 1):
  --out DIR         where the report goes [default: target/bench-report]
  --only TEXT       only groups of cases whose names contain this
  --peers A,B       only these peers, beside this library, 0.6.9 and the floor
of fairness only:
  --streams N       [default: 1000]
  --threads N       [default: 64]
  --entry N         the bytes of an entry [default: 128]
  --journal WHICH   auto, on or off [default: auto]

exit code: 0 measured, whether the targets are met or not; 2 wrong usage or an I/O error";

/// What the command line says.
struct Arguments {
    workload: String,
    settings: Settings,
    demand: Demand,
    suite: suite::Settings,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Not for people: `all` starts itself again for each job.
    if let [first, order] = &arguments[..]
        && first == "child"
    {
        return match suite::child::run(order) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                eprintln!("{message}");
                ExitCode::FAILURE
            }
        };
    }
    match parse(&arguments).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut workload: Option<String> = None;
    let mut settings = Settings {
        dir: PathBuf::from("target/bench-data"),
        repetitions: 9,
        warm_up: Duration::from_millis(200),
        duration: Duration::ZERO,
    };
    let mut demand = Demand { streams: 1000, threads: 64, entry_len: 128, journal: Journal::Auto };
    let (mut duration, mut quick, mut repetitions) = (None, false, None);
    let (mut out, mut only, mut peers) = (PathBuf::from("target/bench-report"), None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value =
            || rest.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"));
        match argument.as_str() {
            "--dir" => settings.dir = value()?.into(),
            "--repetitions" => repetitions = Some(number(value()?)?),
            "--warm-up" => settings.warm_up = seconds(value()?)?,
            "--seconds" => duration = Some(seconds(value()?)?),
            "--quick" => quick = true,
            "--out" => out = value()?.into(),
            "--only" => only = Some(value()?.clone()),
            "--peers" => peers = Some(value()?.split(',').map(String::from).collect()),
            "--streams" => demand.streams = number(value()?)?,
            "--threads" => demand.threads = number(value()?)?,
            "--entry" => demand.entry_len = number(value()?)?,
            "--journal" => demand.journal = journal(value()?)?,
            name if !name.starts_with('-') && workload.is_none() => workload = Some(name.into()),
            other => return Err(format!("unknown argument {other}\n\n{USAGE}")),
        }
    }
    let workload = workload.ok_or(USAGE)?;
    settings.repetitions = repetitions.unwrap_or(if quick { 3 } else { settings.repetitions });
    settings.duration = duration.unwrap_or(match (workload.as_str(), quick) {
        ("fairness", false) => Duration::from_secs(20),
        ("fairness", true) => Duration::from_secs(4),
        (_, false) => Duration::from_secs(1),
        (_, true) => Duration::from_millis(300),
    });
    let least = [settings.repetitions, demand.streams, demand.threads].into_iter().min();
    if least == Some(0) || settings.duration.is_zero() {
        return Err("at least one repetition, stream and thread, and more than no time".into());
    }
    let dir = settings.dir.clone();
    let suite = suite::Settings { dir, out, repetitions, quick, only, peers };
    Ok(Arguments { workload, settings, demand, suite })
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number\n\n{USAGE}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(text)?).map_err(|error| error.to_string())
}

fn journal(text: &str) -> Result<Journal, String> {
    match text {
        "auto" => Ok(Journal::Auto),
        "on" => Ok(Journal::On),
        "off" => Ok(Journal::Off),
        other => Err(format!("the journal is auto, on or off, not {other}\n\n{USAGE}")),
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let settings = &arguments.settings;
    let measured = match arguments.workload.as_str() {
        "all" => suite::run(&arguments.suite),
        "strict" => in_turns(arguments, &one_stream::strict()),
        "strict-batch" => in_turns(arguments, &one_stream::strict_batch()),
        "many-streams" => in_turns(arguments, &many_streams::plan()),
        "threshold" => introduce(arguments).and_then(|()| threshold::run(settings)),
        "fairness" => {
            introduce(arguments).and_then(|()| fairness::run(settings, &arguments.demand))
        }
        other => return Err(format!("unknown workload {other}\n\n{USAGE}")),
    };
    measured.map_err(|error| format!("{}: {error}", settings.dir.display()))
}

/// Prints what is measured, and on what.
fn introduce(Arguments { workload, settings, demand, .. }: &Arguments) -> io::Result<()> {
    std::fs::create_dir_all(&settings.dir)?;
    let seconds = settings.duration.as_secs_f64();
    match workload.as_str() {
        "threshold" => println!("{workload}"),
        "fairness" => println!(
            "{workload}: entries of {} bytes, journal {:?}, {seconds} s",
            demand.entry_len, demand.journal
        ),
        _ => println!("{workload}: entries of {} bytes", durable::ENTRY_LEN),
    }
    report::machine(Path::new(&settings.dir))?;
    if workload != "fairness" {
        println!("{} repetitions of {seconds} s per case, interleaved", settings.repetitions);
    }
    println!();
    Ok(())
}

fn in_turns(arguments: &Arguments, plan: &Plan) -> io::Result<()> {
    introduce(arguments)?;
    let runs = measure::interleaved(&plan.cases, &arguments.settings)?;
    report::cases(&plan.cases, &runs);
    report::targets(&plan.targets, &runs);
    Ok(())
}
