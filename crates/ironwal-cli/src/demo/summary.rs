//! The table at the end.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;

use super::check::{Findings, Problem};
use super::progress::grouped;
use super::tally::Tally;
use crate::exit::{Done, Failure};

const NOT_SHOWN: &str = "\
Not shown here: power loss. A killed process leaves the system's page cache behind, a power cut does
not. The simulation cuts the power: docs/testing.md.";

/// What the demo measured and found.
pub(super) struct Summary {
    entries: u64,
    len: u64,
    acknowledged_before_kill: u64,
    unreported: u64,
    recovery: Duration,
    /// The appends that `elapsed` covers, of both phases.
    timed: u64,
    elapsed: Duration,
    latencies_ns: Histogram<u64>,
    lost: u64,
    problem_count: u64,
    problems: Vec<Problem>,
    /// How many lines were meant to be appended, if the time was over before.
    cut_down_from: Option<u64>,
    finished: bool,
}

impl Summary {
    /// What is known after the kill.
    pub(super) fn new(before: Tally, recovery: Duration, survived: &Findings) -> Self {
        Self {
            entries: survived.places.len() as u64,
            len: survived.len,
            acknowledged_before_kill: before.count(),
            unreported: survived.unreported,
            recovery,
            timed: before.count_in_elapsed,
            elapsed: before.elapsed,
            latencies_ns: before.latencies_ns,
            lost: survived.lost,
            problem_count: survived.problem_count,
            problems: survived.problems.clone(),
            cut_down_from: None,
            finished: false,
        }
    }

    /// Adds the second half and the check at the end.
    pub(super) fn finish(&mut self, after: &Tally, findings: &Findings, target: u64) {
        self.entries = findings.places.len() as u64;
        self.len = findings.len;
        self.timed += after.count_in_elapsed;
        self.elapsed += after.elapsed;
        // Both have the same bounds, so adding cannot fail; if it did, only a percentile is off.
        let _ = self.latencies_ns.add(&after.latencies_ns);
        self.lost += findings.lost;
        self.problem_count += findings.problem_count;
        self.problems.extend_from_slice(&findings.problems);
        self.cut_down_from = (self.entries < target).then_some(target);
        self.finished = true;
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
                "Every acknowledged line is there once, at its id, byte for byte: after the kill, \
                 and at the end."
            )?;
        }
        writeln!(out, "{NOT_SHOWN}")?;
        out.flush()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let others = self.problem_count - self.lost.min(self.problem_count);
        table.add_rows([
            ["entries", &grouped(self.entries)],
            ["bytes", &grouped(self.len)],
            ["acknowledged before the kill", &grouped(self.acknowledged_before_kill)],
            ["appended, not yet reported at the kill", &grouped(self.unreported)],
            ["strict appends per second, 8 threads", &self.rate()],
            ["append latency, p50", &self.latency(0.5)],
            ["append latency, p99", &self.latency(0.99)],
            ["recovery after the kill", &format!("{:.1} ms", self.recovery.as_secs_f64() * 1e3)],
            ["lost", &grouped(self.lost)],
            ["doubled, changed or out of place", &grouped(others)],
        ]);
        if let Some(numbers) = table.column_mut(1) {
            numbers.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn rate(&self) -> String {
        let nanos = self.elapsed.as_nanos();
        if nanos == 0 {
            return "too few to tell".to_string();
        }
        let rate = u128::from(self.timed) * 1_000_000_000 / nanos;
        grouped(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    fn latency(&self, quantile: f64) -> String {
        let micros = self.latencies_ns.value_at_quantile(quantile) / 1000;
        format!("{} µs", grouped(micros))
    }
}
