//! What was acknowledged, and how fast.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Run;
use super::report::{Place, Report};

/// How often to look at the clock and for Ctrl-C while no report comes.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// A minute: a longer append counts as one.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What was acknowledged.
#[derive(Debug)]
pub(super) struct Tally {
    /// The place of each acknowledged line, by the line's number.
    pub(super) places: BTreeMap<u64, Place>,
    pub(super) latencies_ns: Histogram<u64>,
    /// How many appends had returned when each checkpoint was begun, by the checkpoint's number.
    pub(super) checkpoints: BTreeMap<u64, u64>,
    pub(super) checkpoint_latencies_ns: Histogram<u64>,
    /// From the first report to the end of the phase, and the appends in that time.
    pub(super) elapsed: Duration,
    pub(super) count_in_elapsed: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            latencies_ns: latencies(),
            checkpoints: BTreeMap::new(),
            checkpoint_latencies_ns: latencies(),
            elapsed: Duration::ZERO,
            count_in_elapsed: 0,
        }
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
        .expect("the bounds and three significant digits are allowed")
}

impl Tally {
    pub(super) fn add(&mut self, reports: &[Report]) {
        for report in reports {
            match *report {
                Report::Line { number, place, latency_ns } => {
                    self.places.insert(number, place);
                    self.latencies_ns.saturating_record(latency_ns);
                }
                Report::Checkpoint { number, returned_before, latency_ns } => {
                    self.checkpoints.insert(number, returned_before);
                    self.checkpoint_latencies_ns.saturating_record(latency_ns);
                }
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.places.len() as u64
    }
}

impl Run<'_> {
    /// Collects reports until there are no more to come. Calls `stop` once: when `count_max` lines
    /// are reported, when the time is up, or on Ctrl-C.
    pub(super) fn collect(
        &self,
        reports: &Receiver<Vec<Report>>,
        shown_before: u64,
        count_max: u64,
        stop: impl FnOnce(),
    ) -> Tally {
        let mut tally = Tally::default();
        let mut stop = Some(stop);
        let deadline = Instant::now() + self.phase_time_max;
        let mut first_at = None;
        loop {
            match reports.recv_timeout(LOOK_UP_EVERY) {
                Ok(batch) => {
                    tally.add(&batch);
                    // The clock starts with the first report, so this one is not counted.
                    first_at.get_or_insert_with(|| (Instant::now(), tally.count()));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.progress.set(shown_before + tally.count());
            let due =
                tally.count() >= count_max || Instant::now() >= deadline || self.interrupted();
            if due && let Some(stop) = stop.take() {
                tally.stop_clock(first_at);
                stop();
            }
        }
        if stop.is_some() {
            tally.stop_clock(first_at);
        }
        tally
    }
}

impl Tally {
    fn stop_clock(&mut self, first: Option<(Instant, u64)>) {
        if let Some((first_at, first_count)) = first {
            self.elapsed = first_at.elapsed();
            self.count_in_elapsed = self.count() - first_count;
        }
    }
}
