//! The table at the end.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;

use super::check::Problem;
use super::finish::Pruned;
use super::tally::Tally;
use super::turns::THREADS;
use super::{Checked, SHARDS};
use crate::exit::{Done, Failure};
use crate::text::{grouped, sparkline};

const NOT_SHOWN: &str = "\
Not shown here: power loss. A killed process leaves the system's page cache behind, a power cut does
not. The simulation cuts the power: docs/testing.md.";

/// What the demo measured and found.
pub(super) struct Summary {
    entries: u64,
    len: u64,
    /// Entries in each shard.
    shards: Vec<u64>,
    acknowledged_before_kill: u64,
    unreported: u64,
    recovery: Duration,
    /// The appends that `elapsed` covers, of both phases.
    timed: u64,
    elapsed: Duration,
    latencies_ns: Histogram<u64>,
    checkpoints: u64,
    checkpoints_before_kill: u64,
    checkpoint_latencies_ns: Histogram<u64>,
    pruned: Option<Pruned>,
    lost: u64,
    wrong_checkpoints: u64,
    problem_count: u64,
    problems: Vec<Problem>,
    /// How many lines were meant to be appended, if the time was over before.
    cut_down_from: Option<u64>,
    finished: bool,
}

impl Summary {
    /// What is known after the kill.
    pub(super) fn new(before: &Tally, recovery: Duration, survived: &Checked) -> Self {
        let mut summary = Self {
            entries: 0,
            len: 0,
            shards: Vec::new(),
            acknowledged_before_kill: before.count(),
            unreported: survived.findings.unreported,
            recovery,
            timed: before.count_in_elapsed,
            elapsed: before.elapsed,
            latencies_ns: before.latencies_ns.clone(),
            checkpoints: 0,
            checkpoints_before_kill: before.checkpoints.len() as u64,
            checkpoint_latencies_ns: before.checkpoint_latencies_ns.clone(),
            pruned: None,
            lost: 0,
            wrong_checkpoints: 0,
            problem_count: 0,
            problems: Vec::new(),
            cut_down_from: None,
            finished: false,
        };
        summary.add(survived);
        summary
    }

    /// Adds what was measured in the second half.
    pub(super) fn add_rest(&mut self, after: &Tally) {
        self.timed += after.count_in_elapsed;
        self.elapsed += after.elapsed;
        // Both have the same bounds, so adding cannot fail; if it did, only a percentile is off.
        let _ = self.latencies_ns.add(&after.latencies_ns);
        let _ = self.checkpoint_latencies_ns.add(&after.checkpoint_latencies_ns);
    }

    /// Adds the check at the end.
    pub(super) fn finish(&mut self, checked: &Checked, pruned: Option<Pruned>, target: u64) {
        self.add(checked);
        self.pruned = pruned;
        self.cut_down_from = (self.entries < target).then_some(target);
        self.finished = true;
    }

    fn add(&mut self, Checked { findings, checkpoints, .. }: &Checked) {
        self.entries = findings.places.len() as u64;
        self.len = findings.len;
        self.shards = findings.shards.iter().map(|shard| shard.lines.len() as u64).collect();
        self.checkpoints = checkpoints.offsets.len() as u64;
        self.lost += findings.lost;
        self.wrong_checkpoints += findings.wrong_checkpoints;
        self.problem_count += findings.problem_count;
        self.problems.extend_from_slice(&findings.problems);
    }

    /// Whether the log kept everything that it promised, as far as it was checked.
    pub(super) fn holds(&self) -> bool {
        self.problem_count == 0
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn print(&self) -> Done {
        self.write(&mut io::stdout().lock()).map_err(|error| Failure::output(&error))
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.table())?;
        if let Some(target) = self.cut_down_from {
            writeln!(
                out,
                "The time was over before all {} lines were appended: these are the numbers for \
                 the {} that were, each of them checked. --seconds gives it more time.",
                grouped(target),
                grouped(self.entries),
            )?;
        }
        if self.holds() && self.finished {
            writeln!(
                out,
                "Every acknowledged line is there once, at its id, byte for byte, and every \
                 acknowledged checkpoint is\nthere and is one instant over all shards: after the \
                 kill, and at the end."
            )?;
        }
        writeln!(out, "{NOT_SHOWN}")?;
        out.flush()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let others = self.problem_count.saturating_sub(self.lost + self.wrong_checkpoints);
        let Pruned { segments, bytes_before, bytes_after, replayed } =
            self.pruned.unwrap_or_default();
        let freed = grouped(bytes_before.saturating_sub(bytes_after));
        let recovery = format!("{:.1} ms", self.recovery.as_secs_f64() * 1e3);
        table.add_rows([
            ["entries", &grouped(self.entries)],
            ["bytes", &grouped(self.len)],
            [&format!("entries in each of {SHARDS} shards"), &self.balance()],
            ["acknowledged before the kill", &grouped(self.acknowledged_before_kill)],
            ["appended, not yet reported at the kill", &grouped(self.unreported)],
            [&format!("strict appends per second, {THREADS} threads"), &self.rate()],
            ["append latency, p50", &micros(&self.latencies_ns, 0.5)],
            ["append latency, p99", &micros(&self.latencies_ns, 0.99)],
            ["recovery after the kill", &recovery],
            ["checkpoints", &grouped(self.checkpoints)],
            ["checkpoints before the kill", &grouped(self.checkpoints_before_kill)],
            ["time of a checkpoint, p50", &micros(&self.checkpoint_latencies_ns, 0.5)],
            ["segments pruned before the newest one", &grouped(segments)],
            ["bytes freed by that", &format!("{freed} of {}", grouped(bytes_before))],
            ["entries after it, replayed", &grouped(replayed)],
            ["lines lost", &grouped(self.lost)],
            ["lines doubled, changed or out of place", &grouped(others)],
            ["checkpoints lost or not one instant", &grouped(self.wrong_checkpoints)],
        ]);
        if let Some(numbers) = table.column_mut(1) {
            numbers.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// How many entries the shards have, as a picture, and from how many to how many.
    fn balance(&self) -> String {
        let (least, most) = (self.shards.iter().min(), self.shards.iter().max());
        let [least, most] = [least, most].map(|count| grouped(count.copied().unwrap_or(0)));
        format!("{}  {least} .. {most}", sparkline(&self.shards))
    }

    fn rate(&self) -> String {
        let nanos = self.elapsed.as_nanos();
        if nanos == 0 {
            return "too few to tell".to_string();
        }
        let rate = u128::from(self.timed) * 1_000_000_000 / nanos;
        grouped(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// So many of all took at most this long.
fn micros(latencies_ns: &Histogram<u64>, quantile: f64) -> String {
    format!("{} µs", grouped(latencies_ns.value_at_quantile(quantile) / 1000))
}
