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
    pub what: String,
    /// The case above the line, and the one below it.
    pub of: (usize, usize),
    /// What is divided by what.
    pub figure: Figure,
    /// What the ratio should be.
    pub aim: Aim,
}

impl Target {
    /// A ratio of throughputs.
    pub fn rate(what: impl Into<String>, of: (usize, usize), aim: Aim) -> Self {
        Self { what: what.into(), of, figure: Figure::Rate, aim }
    }

    /// A ratio of median latencies.
    pub fn latency(what: impl Into<String>, of: (usize, usize), aim: Aim) -> Self {
        Self { what: what.into(), of, figure: Figure::Latency, aim }
    }
}

/// What of a run is compared.
#[derive(Clone, Copy)]
pub enum Figure {
    /// Entries per second.
    Rate,
    /// The median latency.
    Latency,
}

impl Figure {
    fn of(self, run: &Run) -> f64 {
        match self {
            Self::Rate => run.entries_per_s,
            Self::Latency => run.latencies_ns.value_at_quantile(0.5) as f64,
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Aim {
    /// It is for information.
    None,
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Aim {
    /// The limit, and whether it is kept.
    pub fn verdict(self, found: f64) -> String {
        let (limit, met) = match self {
            Self::None => return String::new(),
            Self::AtLeast(least) => (format!("≥ {least}"), found >= least),
            Self::AtMost(most) => (format!("≤ {most}"), found <= most),
        };
        format!("{limit:>10}  {}", if met { "ok" } else { "NOT OK" })
    }
}

/// A median, and what it is the median of.
pub struct Spread {
    /// Half are below it.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of the ratios within the repetitions.
    pub fn of_ratios(figure: Figure, above: &[Run], below: &[Run]) -> Self {
        let ratio = |(above, below): (&Run, &Run)| figure.of(above) / figure.of(below);
        Self::of(above.iter().zip(below).map(ratio).collect())
    }

    /// Of at least one value.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = (values[last / 2] + values[last.div_ceil(2)]) / 2.0;
        Self { median, min: values[0], max: values[last] }
    }
}

/// The facts without which no figure means anything, and what they are called.
pub fn facts(dir: &Path) -> io::Result<Vec<(&'static str, String)>> {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output()?.stdout;
    Ok(vec![
        ("machine", format!("{cores} cores, {}", model.trim_start_matches(['\t', ' ', ':']))),
        ("kernel", kernel.trim().into()),
        ("file system", file_system(dir)?),
        ("date", String::from_utf8_lossy(&date).trim().into()),
    ])
}

/// Prints them.
pub fn machine(dir: &Path) -> io::Result<()> {
    facts(dir)?.into_iter().for_each(|(name, fact)| println!("{name}: {fact}"));
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
        "{:<42}{:>8}{:>11}{:>22}{:>10}{:>10}{:>10}",
        "", "threads", "entries/s", "min .. max", "p50 µs", "p99 µs", "p99.9 µs"
    );
    for (case, runs) in cases.iter().zip(runs) {
        let rate = Spread::of(runs.iter().map(|run| run.entries_per_s).collect());
        let latency_us = |quantile: f64| {
            let of = |latencies: &Histogram<u64>| latencies.value_at_quantile(quantile) as f64;
            Spread::of(runs.iter().map(|run| of(&run.latencies_ns) / 1000.0).collect()).median
        };
        println!(
            "{:<42}{:>8}{:>11.0}{:>22}{:>10.1}{:>10.1}{:>10.1}",
            case.name,
            case.threads,
            rate.median,
            format!("{:.0} .. {:.0}", rate.min, rate.max),
            latency_us(0.5),
            latency_us(0.99),
            latency_us(0.999)
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
    println!("{:<58}{:>8}{:>18}{:>10}", "", "ratio", "min .. max", "target");
    for target in targets {
        let (above, below) = (&runs[target.of.0], &runs[target.of.1]);
        let ratio = Spread::of_ratios(target.figure, above, below);
        println!(
            "{:<58}{:>8.2}{:>18}{}",
            target.what,
            ratio.median,
            format!("{:.2} .. {:.2}", ratio.min, ratio.max),
            target.aim.verdict(ratio.median)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 10.0]);
        assert_eq!((spread.median, spread.min, spread.max), (3.5, 1.0, 10.0));
    }

    #[test]
    fn the_median_of_an_odd_count_is_the_one_in_the_middle() {
        assert_eq!(Spread::of(vec![9.0, 1.0, 3.0]).median, 3.0);
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
    }
}
