//! Everything beside everybody: the command `all`.
//!
//! A *case* is one peer doing one *job*. Cases that are compared are in one *group* and take turns,
//! each in a process and a directory of its own; the order changes with every repetition. A *line* of
//! the table compares the medians of a group's cases, and only of peers whose appends survive as much
//! as ours.

pub mod child;
mod drive;
mod durability;
mod job;
mod judge;
mod markdown;
mod memory;
mod pictures;
mod plan;
mod results;
mod run;
mod sharded;

use std::fs;
use std::io;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::peers::{self, Peer};
use crate::report;
use durability::{Durability, Kind};
use job::{Job, Pace};
use plan::{Case, Group};
use results::{Measured, Report};
use run::{Data, Runner};

/// What is given on the command line.
pub struct Settings {
    /// Where the logs are created and removed again.
    pub dir: PathBuf,
    /// Where the report goes.
    pub out: PathBuf,
    /// How often every case is run, if not as often as usual.
    pub repetitions: Option<usize>,
    /// Whether it is only tried out.
    pub quick: bool,
    /// Only groups whose names contain this.
    pub only: Option<String>,
    /// Only these peers, beside ours, the published version and the floor.
    pub peers: Option<Vec<String>>,
}

impl Settings {
    fn pace(&self) -> Pace {
        if self.quick {
            return Pace { warm_up_s: 0.05, measured_s: 0.12, unsynced_bytes: 16 << 20, opens: 3 };
        }
        Pace { warm_up_s: 0.15, measured_s: 0.6, unsynced_bytes: 128 << 20, opens: 5 }
    }

    fn repetitions(&self) -> usize {
        self.repetitions.unwrap_or(if self.quick { 1 } else { 5 })
    }

    fn entries(&self) -> u64 {
        if self.quick { job::ENTRIES / 10 } else { job::ENTRIES }
    }

    fn peers(&self) -> Vec<&'static dyn Peer> {
        let always = [peers::OURS, peers::PUBLISHED, peers::FLOOR];
        let wanted = |name: &str| match &self.peers {
            Some(names) => always.contains(&name) || names.iter().any(|wanted| wanted == name),
            None => true,
        };
        peers::all().into_iter().filter(|peer| wanted(peer.name())).collect()
    }
}

/// Measures everything, and writes the report.
pub fn run(settings: &Settings) -> io::Result<()> {
    let peers = settings.peers();
    let mut groups = plan::all(&peers, settings.entries());
    if let Some(only) = &settings.only {
        groups.retain(|group| group.name.contains(&only[..]));
    }
    let runner = Runner::new(&settings.dir, settings.pace())?;
    let mut report = Report::new(report::facts(&settings.dir)?, settings);
    report.durability = look(&runner, &peers)?;
    report.is_traced = durability::can_trace();
    measure(&runner, &groups, settings.repetitions(), &mut report)?;
    report.judge(&groups, &peers);
    drop(runner);
    write(&report, settings)
}

fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    let style = "{elapsed_precise} {wide_bar} {pos}/{len}, {eta} left: {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| bar.style()));
    bar
}

/// How durable everybody's appends are.
fn look(runner: &Runner, peers: &[&dyn Peer]) -> io::Result<Vec<Durability>> {
    let is_traced = durability::can_trace();
    let bar = bar(peers.len() * Kind::ALL.len());
    let mut seen = Vec::new();
    for peer in peers {
        for kind in Kind::ALL {
            bar.set_message(format!("durability, {}", peer.name()));
            if peer.can(kind.ability()).is_ok() {
                seen.push(durability::look(runner, *peer, kind, is_traced));
            }
            stop_if_interrupted(runner)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(seen)
}

/// Logs that were written before, and by which peer's job.
type Written = Vec<(&'static str, Job, Data)>;

fn measure(
    runner: &Runner,
    groups: &[Group],
    repetitions: usize,
    report: &mut Report,
) -> io::Result<()> {
    let steps = groups.iter().map(|group| group.cases.len() * repetitions).sum();
    let bar = bar(steps);
    let mut written: Written = Vec::new();
    for (nth, group) in groups.iter().enumerate() {
        let mut measured: Vec<Measured> =
            group.cases.iter().map(|case| Measured::new(group.name, case)).collect();
        for repetition in 0..repetitions {
            for turn in 0..group.cases.len() {
                // Nobody always runs after the same neighbour's leftovers.
                let case = (repetition + turn) % group.cases.len();
                let (case, measured) = (&group.cases[case], &mut measured[case]);
                bar.set_message(format!("{}, {}", group.name, case.peer));
                if measured.error.is_none() {
                    case_once(runner, case, &mut written, measured)?;
                }
                stop_if_interrupted(runner)?;
                bar.inc(1);
            }
        }
        report.cases.append(&mut measured);
        let is_needed = |(peer, job, _): &(&str, Job, Data)| {
            let later = groups[nth + 1..].iter().flat_map(|group| &group.cases);
            later
                .into_iter()
                .any(|case| case.peer == *peer && case.job.needs().as_ref() == Some(job))
        };
        for entry in std::mem::take(&mut written) {
            if is_needed(&entry) { written.push(entry) } else { entry.2.remove()? }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Runs a case once. If it fails it is tried once more, and then left out.
fn case_once(
    runner: &Runner,
    case: &Case,
    written: &mut Written,
    measured: &mut Measured,
) -> io::Result<()> {
    let peer = peers::named(case.peer)?;
    let needed = case.job.needs();
    if let Some(needed) = &needed
        && !written.iter().any(|(name, job, _)| *name == case.peer && job == needed)
    {
        match runner.prepare(peer, &case.job) {
            Ok(Some(data)) => written.push((case.peer, needed.clone(), data)),
            Ok(None) => {}
            Err(error) => {
                measured.error = Some(format!("writing the log: {error}"));
                return Ok(());
            }
        }
    }
    let data = written
        .iter()
        .find(|(name, job, _)| *name == case.peer && Some(job) == needed.as_ref())
        .map(|(_, _, data)| data);
    if let (Some(data), Some(Job::Write(of))) = (data, &needed)
        && measured.bytes_per_entry.is_none()
    {
        measured.bytes_per_entry = Some(data.bytes()? as f64 / of.entries as f64);
    }
    let outcome =
        runner.measure(peer, &case.job, data).or_else(|_| runner.measure(peer, &case.job, data));
    match outcome {
        Ok(outcome) => measured.add(outcome),
        Err(error) => measured.error = Some(error.to_string()),
    }
    Ok(())
}

fn stop_if_interrupted(runner: &Runner) -> io::Result<()> {
    if runner.is_interrupted() {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped, and cleaned up"));
    }
    Ok(())
}

fn write(report: &Report, settings: &Settings) -> io::Result<()> {
    fs::create_dir_all(&settings.out)?;
    let markdown = markdown::of(report);
    fs::write(settings.out.join("results.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(settings.out.join("results.md"), &markdown)?;
    pictures::draw(report, &settings.out)?;
    println!("{markdown}");
    println!("{}: results.json, results.md and the pictures", settings.out.display());
    Ok(())
}
