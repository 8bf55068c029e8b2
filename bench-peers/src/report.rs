//! Prints what was measured, and on what.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use hdrhistogram::Histogram;

use crate::measure::{Case, Run};

/// A machine of one's own shows smaller differences than this between the runs of a case.
const BUSY_FACTOR: f64 = 2.0;

/// A ratio of two cases, by their places in the list.
pub struct Target {
    /// What is compared.
    pub what: &'static str,
    /// The case above the line, and the one below it.
    pub of: (usize, usize),
    /// What the ratio should be.
    pub at_least: Option<f64>,
}

/// A median, and what it is the median of.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of at least one value.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
        Self { median, min: values[0], max: values[last] }
    }
}

/// Prints the facts without which no figure means anything.
pub fn machine(dir: &Path) -> io::Result<()> {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output()?.stdout;
    println!("machine: {cores} cores, {}", model.trim_start_matches(['\t', ' ', ':']));
    println!("kernel: {}", kernel.trim());
    println!("file system: {}", file_system(dir)?);
    println!("date: {}", String::from_utf8_lossy(&date).trim());
    Ok(())
}

/// The type of the file system of `dir`, and what matters of it.
fn file_system(dir: &Path) -> io::Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(_, mount_point, _)| dir.starts_with(mount_point))
        .max_by_key(|(_, mount_point, _)| mount_point.len());
    let Some((device, _, kind)) = mount else {
        return Ok("unknown".into());
    };
    if matches!(kind, "tmpfs" | "ramfs") {
        eprintln!("warning: {kind} is memory, its syncs do nothing: choose another --dir");
    }
    if kind != "ext4" {
        return Ok(kind.into());
    }
    let device = Path::new(device).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let journal = fs::read_dir("/proc/fs/jbd2")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{device}-")));
    Ok(format!("{kind} {} a journal", if journal { "with" } else { "without" }))
}

/// Prints one line for every case.
pub fn cases(cases: &[Case], runs: &[Vec<Run>]) {
    println!(
        "{:<30}{:>8}{:>12}{:>22}{:>10}{:>10}",
        "", "threads", "entries/s", "min .. max", "p50 µs", "p99 µs"
    );
    for (case, runs) in cases.iter().zip(runs) {
        let rate = Spread::of(runs.iter().map(|run| run.entries_per_s).collect());
        let latency_us = |quantile: f64| {
            let of = |latencies: &Histogram<u64>| latencies.value_at_quantile(quantile) as f64;
            Spread::of(runs.iter().map(|run| of(&run.latencies_ns) / 1000.0).collect()).median
        };
        println!(
            "{:<30}{:>8}{:>12.0}{:>22}{:>10.1}{:>10.1}",
            case.peer.name,
            case.threads,
            rate.median,
            format!("{:.0} .. {:.0}", rate.min, rate.max),
            latency_us(0.5),
            latency_us(0.99)
        );
    }
    let busy = runs.iter().any(|runs| {
        let rate = Spread::of(runs.iter().map(|run| run.entries_per_s).collect());
        rate.max > BUSY_FACTOR * rate.min
    });
    if busy {
        println!("\nThe runs of one case differ widely: something else kept the machine busy.");
    }
    println!();
}

/// Prints the ratios, as the medians over the repetitions, beside what they should be.
pub fn targets(targets: &[Target], runs: &[Vec<Run>]) {
    println!("{:<34}{:>8}{:>18}{:>10}", "", "ratio", "min .. max", "target");
    for target in targets {
        let (above, below) = (&runs[target.of.0], &runs[target.of.1]);
        let ratio = Spread::of(
            above.iter().zip(below).map(|(a, b)| a.entries_per_s / b.entries_per_s).collect(),
        );
        let verdict = match target.at_least {
            None => String::new(),
            Some(least) if ratio.median >= least => format!("{:>10}  met", format!("≥ {least}")),
            Some(least) => format!("{:>10}  NOT MET", format!("≥ {least}")),
        };
        println!(
            "{:<34}{:>8.2}{:>18}{verdict}",
            target.what,
            ratio.median,
            format!("{:.2} .. {:.2}", ratio.min, ratio.max)
        );
    }
}
