//! Runs the cases in turns.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How long cases that share their runs go on before it is the next one's turn: some hundred appends,
/// and shorter than anything that drifts.
const TURN: Duration = Duration::from_millis(20);

/// What is given on the command line.
pub struct Settings {
    /// Where the logs are created.
    pub dir: PathBuf,
    /// How often every case is run.
    pub repetitions: usize,
    /// How long a run goes on before it is measured.
    pub warm_up: Duration,
    /// How long each run is measured.
    pub duration: Duration,
}

impl Settings {
    /// A directory for one log, which does not exist yet.
    pub fn scratch(&self, nth: usize) -> PathBuf {
        self.dir.join(format!("bench-peers-{}-{nth}", std::process::id()))
    }
}

/// What one thread does again and again. Each time it completes one operation, and says when that was
/// begun; what it prepares before is not part of the latency.
pub type Step = Box<dyn FnMut() -> io::Result<Instant>>;

/// An open log, and what threads do with it: makes the step of the thread with this number.
pub type Load = Box<dyn Fn(usize) -> Step + Sync>;

/// Creates a log in an empty directory, with every stream that it will be asked for.
pub type Open = Box<dyn Fn(&Path) -> io::Result<Load>>;

/// A step of which nothing is preparation.
pub fn step(mut operation: impl FnMut() -> io::Result<()> + 'static) -> Step {
    Box::new(move || {
        let begun = Instant::now();
        operation()?;
        Ok(begun)
    })
}

/// One line of the report.
pub struct Case {
    /// What it is called there.
    pub name: String,
    /// How many threads there are.
    pub threads: usize,
    /// How many entries each operation has.
    pub entries: usize,
    /// The log.
    pub open: Open,
    /// Its runs are those of the case before it: the two are open together and take short turns, so
    /// that small differences show.
    pub beside_previous: bool,
}

impl Case {
    /// A case with runs of its own.
    pub fn new(name: impl Into<String>, threads: usize, entries: usize, open: Open) -> Self {
        Self { name: name.into(), threads, entries, open, beside_previous: false }
    }

    /// The same, sharing the runs of the case before it.
    pub fn beside_previous(self) -> Self {
        Self { beside_previous: true, ..self }
    }
}

/// What one run of a case measured.
pub struct Run {
    /// Entries per second over all threads.
    pub entries_per_s: f64,
    /// The time that each operation took, in nanoseconds.
    pub latencies_ns: Histogram<u64>,
}

/// Runs every case `settings.repetitions` times, one after another; the result has the runs of each
/// case.
pub fn interleaved(cases: &[Case], settings: &Settings) -> io::Result<Vec<Vec<Run>>> {
    let together = together(cases);
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    for repetition in 0..settings.repetitions {
        for turn in 0..together.len() {
            // Nobody always runs after the same neighbour's leftovers.
            let cases_of_turn = together[(repetition + turn) % together.len()].clone();
            let measured = run(&cases[cases_of_turn.clone()], settings)?;
            cases_of_turn.zip(measured).for_each(|(nth, run)| runs[nth].push(run));
        }
        eprint!("\r{} of {} repetitions", repetition + 1, settings.repetitions);
    }
    eprintln!();
    Ok(runs)
}

/// The cases that share their runs.
fn together(cases: &[Case]) -> Vec<Range<usize>> {
    let mut together: Vec<Range<usize>> = Vec::new();
    for (nth, case) in cases.iter().enumerate() {
        match together.last_mut() {
            Some(last) if case.beside_previous => last.end = nth + 1,
            _ => together.push(nth..nth + 1),
        }
    }
    together
}

/// Runs cases once, each in a directory of its own, which is removed.
fn run(cases: &[Case], settings: &Settings) -> io::Result<Vec<Run>> {
    let dirs: Vec<PathBuf> = (0..cases.len()).map(|nth| settings.scratch(nth)).collect();
    let measured = run_in(cases, &dirs, settings);
    for dir in &dirs {
        std::fs::remove_dir_all(dir)?;
    }
    measured
}

fn run_in(cases: &[Case], dirs: &[PathBuf], settings: &Settings) -> io::Result<Vec<Run>> {
    let mut loads = Vec::new();
    for (case, dir) in cases.iter().zip(dirs) {
        std::fs::create_dir_all(dir)?;
        loads.push((case.open)(dir)?);
    }
    write_back(&settings.dir)?;
    if let ([case], [load]) = (cases, &loads[..]) {
        let latencies_ns = work_for(load, case.threads, settings.warm_up, settings.duration)?;
        return Ok(vec![case.run(latencies_ns, settings.duration)]);
    }
    for (case, load) in cases.iter().zip(&loads) {
        work_for(load, case.threads, settings.warm_up, Duration::ZERO)?;
    }
    let mut latencies_ns: Vec<_> = cases.iter().map(|_| new_histogram()).collect();
    let turns = settings.duration.as_nanos().div_ceil(TURN.as_nanos());
    for turn in 0..turns {
        for nth in 0..cases.len() {
            let nth = (nth + turn as usize) % cases.len();
            let of_turn = work_for(&loads[nth], cases[nth].threads, Duration::ZERO, TURN)?;
            latencies_ns[nth].add(of_turn).map_err(io::Error::other)?;
        }
    }
    let measured = TURN * turns as u32;
    Ok(cases.iter().zip(latencies_ns).map(|(case, ns)| case.run(ns, measured)).collect())
}

/// Lets the file system write what the runs before have left it to write.
fn write_back(dir: &Path) -> io::Result<()> {
    let status = Command::new("sync").arg("-f").arg(dir).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("sync -f failed")) }
}

impl Case {
    fn run(&self, latencies_ns: Histogram<u64>, measured: Duration) -> Run {
        let entries = latencies_ns.len() as f64 * self.entries as f64;
        Run { entries_per_s: entries / measured.as_secs_f64(), latencies_ns }
    }
}

fn work_for(
    load: &Load,
    threads: usize,
    warm_up: Duration,
    duration: Duration,
) -> io::Result<Histogram<u64>> {
    let start_line = Barrier::new(threads);
    let threads: Vec<io::Result<Histogram<u64>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|nth| {
                let start_line = &start_line;
                scope.spawn(move || work_until(load(nth), start_line, warm_up, duration))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            })
            .collect()
    });
    let mut latencies_ns = new_histogram();
    for thread in threads {
        latencies_ns.add(thread?).map_err(io::Error::other)?;
    }
    Ok(latencies_ns)
}

/// Works through the warm-up and the measured time, and records what fell into the latter.
fn work_until(
    mut step: Step,
    start_line: &Barrier,
    warm_up: Duration,
    duration: Duration,
) -> io::Result<Histogram<u64>> {
    let mut latencies_ns = new_histogram();
    start_line.wait();
    let from = Instant::now() + warm_up;
    let to = from + duration;
    loop {
        let begun = step()?;
        let end = Instant::now();
        if end >= to {
            return Ok(latencies_ns);
        }
        if end >= from {
            record(&mut latencies_ns, end - begun);
        }
    }
}

/// Up to a minute, with three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds")
}

/// Counts one operation that took so long.
pub fn record(latencies_ns: &mut Histogram<u64>, took: Duration) {
    latencies_ns.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}
