//! Measures logs side by side on one directory.
//!
//! ```text
//! cargo run --release --manifest-path bench-peers/Cargo.toml -- strict [--quick] [--dir DIR]
//! ```
//!
//! Absolute figures hold for one machine only, and drift while it is used. So the cases take turns,
//! in an order that changes with every repetition, and what is judged is the median of the ratios
//! *within* the repetitions.

mod measure;
mod peers;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use measure::{Case, Settings};
use report::Target;

const USAGE: &str = "\
usage: bench-peers WORKLOAD [OPTIONS]

workloads:
  strict        single durable appends of 128 bytes: 1 and 8 threads, beside the disk's limit
  strict-batch  durable batches of 100 entries of 128 bytes, 1 thread

options:
  --dir DIR         where the logs are created and removed again [default: target/bench-data]
  --repetitions N   how often every case is run [default: 9]
  --seconds S       how long each run is measured [default: 1]
  --quick           --repetitions 3 --seconds 0.3; says nothing reliable

exit code: 0 measured, whether the targets are met or not; 2 wrong usage or an I/O error";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = parse(&arguments).and_then(|(workload, settings)| run(&workload, &settings));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<(String, Settings), String> {
    let mut workload = None;
    let mut settings = Settings {
        dir: PathBuf::from("target/bench-data"),
        repetitions: 9,
        duration: Duration::from_secs(1),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value =
            || rest.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"));
        match argument.as_str() {
            "--dir" => settings.dir = value()?.into(),
            "--repetitions" => {
                settings.repetitions = number(value()?)?;
            }
            "--seconds" => {
                settings.duration = Duration::try_from_secs_f64(number(value()?)?)
                    .map_err(|error| error.to_string())?;
            }
            "--quick" => {
                settings.repetitions = 3;
                settings.duration = Duration::from_millis(300);
            }
            name if !name.starts_with('-') && workload.is_none() => workload = Some(name.into()),
            other => return Err(format!("unknown argument {other}\n\n{USAGE}")),
        }
    }
    if settings.repetitions == 0 || settings.duration.is_zero() {
        return Err("at least one repetition, and more than no time".into());
    }
    Ok((workload.ok_or(USAGE)?, settings))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number\n\n{USAGE}"))
}

fn run(workload: &str, settings: &Settings) -> Result<(), String> {
    let (cases, targets) = match workload {
        "strict" => strict(),
        "strict-batch" => strict_batch(),
        other => return Err(format!("unknown workload {other}\n\n{USAGE}")),
    };
    measure_and_print(workload, &cases, &targets, settings)
        .map_err(|error| format!("{}: {error}", settings.dir.display()))
}

fn strict() -> (Vec<Case>, Vec<Target>) {
    let case = |peer, threads| Case { peer, threads, batch_len: 1 };
    let cases = vec![
        case(peers::FLOOR, 1),
        case(peers::IRONWAL, 1),
        case(peers::IRONWAL, 8),
        case(peers::PUBLISHED, 1),
        case(peers::PUBLISHED, 8),
    ];
    let targets = vec![
        Target { what: "ironwal, 1 thread / limit", of: (1, 0), at_least: Some(0.9) },
        Target { what: "ironwal, 8 threads / 1 thread", of: (2, 1), at_least: Some(3.5) },
        Target { what: "0.6.9, 1 thread / limit", of: (3, 0), at_least: None },
        Target { what: "0.6.9, 8 threads / 1 thread", of: (4, 3), at_least: None },
        Target { what: "ironwal / 0.6.9, 1 thread", of: (1, 3), at_least: None },
        Target { what: "ironwal / 0.6.9, 8 threads", of: (2, 4), at_least: None },
    ];
    (cases, targets)
}

fn strict_batch() -> (Vec<Case>, Vec<Target>) {
    let case = |peer| Case { peer, threads: 1, batch_len: 100 };
    let cases = vec![case(peers::FLOOR), case(peers::IRONWAL), case(peers::PUBLISHED)];
    let targets = vec![
        Target { what: "ironwal / limit", of: (1, 0), at_least: None },
        Target { what: "0.6.9 / limit", of: (2, 0), at_least: None },
    ];
    (cases, targets)
}

fn measure_and_print(
    workload: &str,
    cases: &[Case],
    targets: &[Target],
    settings: &Settings,
) -> std::io::Result<()> {
    std::fs::create_dir_all(&settings.dir)?;
    println!("{workload}: entries of {} bytes", peers::ENTRY_LEN);
    report::machine(Path::new(&settings.dir))?;
    println!(
        "{} repetitions of {} s per case, interleaved\n",
        settings.repetitions,
        settings.duration.as_secs_f64()
    );
    let runs = measure::interleaved(cases, settings)?;
    report::cases(cases, &runs);
    report::targets(targets, &runs);
    Ok(())
}
