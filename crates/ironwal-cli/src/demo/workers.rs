//! The eight threads that append, in the child and in the parent alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ironwal::{Error, Stream};

use super::lines::Lines;

pub(super) const THREADS: usize = 8;

/// Reports go out in groups of this many, so that reporting does not slow down what it watches …
const REPORT_COUNT_MAX: usize = 16;
/// … but on a slow disk not later than this.
const REPORT_DELAY_MAX: Duration = Duration::from_millis(5);

/// An append that returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) number: u64,
    pub(super) id: u64,
    /// How long the append took, in nanoseconds.
    pub(super) latency_ns: u64,
}

/// Appends the lines that `next` hands out, one by one, from [`THREADS`] threads, until it hands
/// out no more, `report` returns false (nobody listens), or an append fails. Every append that
/// returned is reported.
pub(super) fn append_lines(
    stream: &Stream,
    lines: &Lines,
    next: impl Fn() -> Option<u64> + Sync,
    report: impl Fn(&[Acknowledged]) -> bool + Sync,
) -> Result<(), Error> {
    let stopped = AtomicBool::new(false);
    let work = || {
        let next = || if stopped.load(Ordering::Relaxed) { None } else { next() };
        let report = |done: &[Acknowledged]| {
            if !report(done) {
                stopped.store(true, Ordering::Relaxed);
            }
        };
        let worked = append_some(stream, lines, next, report);
        if worked.is_err() {
            stopped.store(true, Ordering::Relaxed);
        }
        worked
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .fold(Ok(()), Result::and)
    })
}

/// What one thread does.
fn append_some(
    stream: &Stream,
    lines: &Lines,
    next: impl Fn() -> Option<u64>,
    report: impl Fn(&[Acknowledged]),
) -> Result<(), Error> {
    let mut entry = Vec::new();
    let mut unreported = Vec::with_capacity(REPORT_COUNT_MAX);
    let mut reported_at = Instant::now();
    let mut result = Ok(());
    while let Some(number) = next() {
        lines.make_entry(number, &mut entry);
        let began = Instant::now();
        match stream.append(&entry) {
            Ok(id) => {
                let ended = Instant::now();
                let latency_ns = u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX);
                unreported.push(Acknowledged { number, id, latency_ns });
                if unreported.len() == REPORT_COUNT_MAX || ended - reported_at > REPORT_DELAY_MAX {
                    report(&unreported);
                    unreported.clear();
                    reported_at = ended;
                }
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if !unreported.is_empty() {
        report(&unreported);
    }
    result
}
