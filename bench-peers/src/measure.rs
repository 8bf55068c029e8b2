//! Runs the cases in turns.

use std::io;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::peers::{ENTRY_LEN, Log, Peer};

/// How long a run goes on before it is measured.
const WARM_UP: Duration = Duration::from_millis(100);

/// What is given on the command line.
pub struct Settings {
    /// Where the logs are created.
    pub dir: PathBuf,
    /// How often every case is run.
    pub repetitions: usize,
    /// How long each run is measured.
    pub duration: Duration,
}

/// One line of the report.
pub struct Case {
    /// The log.
    pub peer: Peer,
    /// How many threads append to it.
    pub threads: usize,
    /// How many entries each append has; 1 stands for a single append.
    pub batch_len: usize,
}

/// What one run of a case measured.
pub struct Run {
    /// Entries per second over all threads.
    pub entries_per_s: f64,
    /// The time that each append took, in nanoseconds.
    pub latencies_ns: Histogram<u64>,
}

/// Runs every case `settings.repetitions` times, one after another; the result has the runs of each
/// case.
pub fn interleaved(cases: &[Case], settings: &Settings) -> io::Result<Vec<Vec<Run>>> {
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for repetition in 0..settings.repetitions {
        for turn in 0..cases.len() {
            // Nobody always runs after the same neighbour's leftovers.
            let nth = (repetition + turn) % cases.len();
            runs[nth].push(run(&cases[nth], settings)?);
        }
    }
    Ok(runs)
}

/// Runs a case once, in a directory of its own, which is removed.
fn run(case: &Case, settings: &Settings) -> io::Result<Run> {
    let dir = settings.dir.join(format!("bench-peers-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let log = (case.peer.open)(&dir)?;
    let measured = append_for(&*log, case, settings.duration);
    drop(log);
    std::fs::remove_dir_all(&dir)?;
    measured
}

fn append_for(log: &dyn Log, case: &Case, duration: Duration) -> io::Result<Run> {
    let start_line = Barrier::new(case.threads);
    let threads: Vec<io::Result<Histogram<u64>>> = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..case.threads)
            .map(|_| scope.spawn(|| append_until(log, case.batch_len, &start_line, duration)))
            .collect();
        appenders
            .into_iter()
            .map(|appender| {
                appender.join().unwrap_or_else(|_| Err(io::Error::other("an appender panicked")))
            })
            .collect()
    });
    let mut latencies_ns = new_histogram();
    for thread in threads {
        latencies_ns.add(thread?).map_err(io::Error::other)?;
    }
    let entries = latencies_ns.len() as f64 * case.batch_len as f64;
    Ok(Run { entries_per_s: entries / duration.as_secs_f64(), latencies_ns })
}

/// Appends through the warm-up and the measured time, and records what fell into the latter.
fn append_until(
    log: &dyn Log,
    batch_len: usize,
    start_line: &Barrier,
    duration: Duration,
) -> io::Result<Histogram<u64>> {
    let mut latencies_ns = new_histogram();
    let entry = [0x5A; ENTRY_LEN];
    let batch = vec![&entry[..]; batch_len];
    start_line.wait();
    let from = Instant::now() + WARM_UP;
    let to = from + duration;
    loop {
        let start = Instant::now();
        if batch_len == 1 {
            log.append(&entry)?;
        } else {
            log.append_batch(&batch)?;
        }
        let end = Instant::now();
        if end >= to {
            return Ok(latencies_ns);
        }
        if end >= from {
            let latency_ns = u64::try_from((end - start).as_nanos()).unwrap_or(u64::MAX);
            latencies_ns.saturating_record(latency_ns);
        }
    }
}

/// Up to a minute, with three digits.
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}
