//! Simulations from seeds: many are run, one is replayed, and one that fails is shrunk to the steps
//! that it takes and shown, with a test to paste.
//!
//! `IRONWAL_SEED=n` replays one seed and talks, `IRONWAL_STEPS=a,b,c` does only these steps of it,
//! `IRONWAL_SEEDS=n` sets how many are tried per mode, `IRONWAL_FIRST_SEED=n` from where on.

mod choices;
mod failure;
mod script;
mod shrink;
mod steps;

use std::time::Duration;

use ironwal::SyncMode;
use ironwal::storage::SimDisk;

pub(crate) use choices::Choices;
pub(crate) use failure::fails;
use script::Script;
pub(crate) use steps::{STEPS_OF_A_LIFE, Steps};

pub(crate) const INTERVAL: SyncMode = SyncMode::Interval(Duration::from_millis(700));

pub(crate) const MODES: [SyncMode; 4] =
    [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async, INTERVAL];

/// One run of a simulation: the same one gives the same calls.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The mode that it begins with.
    pub(crate) mode: SyncMode,
    pub(crate) seed: u64,
    /// Which of its steps are done.
    pub(crate) steps: Steps,
    /// Whether it says what it does, and the disk which calls it sees.
    pub(crate) verbose: bool,
}

impl Run {
    pub(crate) fn new(mode: SyncMode, seed: u64) -> Self {
        Self { mode, seed, steps: Steps::new(source(mode, seed), None), verbose: false }
    }

    /// A run that an input describes; [`script`] says how.
    pub(crate) fn of(input: &[u8]) -> Self {
        let mode = MODES[usize::from(input.first().copied().unwrap_or_default()) % MODES.len()];
        Self { mode, seed: 0, steps: Steps::of(Script::new(input)), verbose: false }
    }

    /// The same without the steps that are not among these.
    pub(crate) fn only(&self, steps: &[u32]) -> Self {
        let source = source(self.mode, self.seed);
        Self { steps: Steps::new(source, Some(steps)), ..self.clone() }
    }
}

/// Where all choices of a run come from: in each mode a seed is another run.
fn source(mode: SyncMode, seed: u64) -> u64 {
    let nth = MODES.iter().position(|it| *it == mode).expect("one of the modes");
    seed | (nth as u64) << 60
}

/// Runs one seed that is asked for, verbosely, or many: `start` gives the disk and what happens on it.
/// `module` is where `replay` is, for the test to paste.
pub(crate) fn run_seeds<R: FnOnce()>(
    module: &str,
    mode: SyncMode,
    seeds: u64,
    start: impl Fn(&Run) -> (SimDisk, R),
) {
    if let Some(seed) = number("IRONWAL_SEED") {
        let mut run = Run { verbose: true, ..Run::new(mode, seed) };
        if let Some(steps) = numbers("IRONWAL_STEPS") {
            run = run.only(&steps);
        }
        let (disk, live) = start(&run);
        if let Some(failure) = fails(live) {
            eprintln!("{}", disk.trace().join("\n"));
            panic!("{failure}");
        }
        return;
    }
    let seeds = number("IRONWAL_SEEDS").unwrap_or(seeds);
    if let Some((run, steps, _)) = first_that_fails(mode, seeds, &start) {
        let Run { mode, seed, .. } = run;
        eprintln!("{mode:?}: seed {seed} failed. What is left of it when it is shrunk:");
        let last = fails(start(&Run { verbose: true, ..run.only(&steps) }).1);
        let last = last.map_or_else(|| "it did not fail again".to_owned(), |it| it.to_string());
        panic!("{last}\n{}", shrink::how_to_replay(module, &run, &steps));
    }
}

/// The first run that fails, with the steps that it takes to fail, and how it fails then.
pub(crate) fn first_that_fails<R: FnOnce()>(
    mode: SyncMode,
    seeds: u64,
    start: impl Fn(&Run) -> (SimDisk, R),
) -> Option<(Run, Vec<u32>, String)> {
    let first = number("IRONWAL_FIRST_SEED").unwrap_or(0);
    (first..first + seeds).find_map(|seed| {
        let run = Run::new(mode, seed);
        let failure = fails(start(&run).1)?;
        let (steps, failure) = shrink::shrink(&run, failure, |run| fails(start(run).1));
        Some((run, steps, failure.to_string()))
    })
}

/// Does some steps of a seed, for tests that were pasted; fails as they do.
pub(crate) fn replay<R: FnOnce()>(
    mode: SyncMode,
    seed: u64,
    steps: &[u32],
    start: impl Fn(&Run) -> (SimDisk, R),
) {
    start(&Run { verbose: true, ..Run::new(mode, seed).only(steps) }).1();
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

fn numbers(variable: &str) -> Option<Vec<u32>> {
    let value = std::env::var(variable).ok()?;
    Some(value.split(',').map(|number| number.trim().parse().expect("numbers")).collect())
}

/// The same seed gives the same calls, and so do its steps when they are named: `start` gives the disk
/// and what happens on it.
pub(crate) fn assert_repeatable<R: FnOnce()>(start: impl Fn(&Run) -> (SimDisk, R)) {
    let trace = |run: &Run| {
        let (disk, live) = start(run);
        disk.configure(|config| config.trace = true);
        live();
        disk.trace()
    };
    for mode in MODES {
        for seed in 0..5 {
            let run = Run::new(mode, seed);
            let first = trace(&run);
            assert!(first.len() > 20);
            let again = Run::new(mode, seed);
            assert_eq!(first, trace(&again), "{mode:?} {seed}");
            let named = run.only(&run.steps.taken());
            assert_eq!(first, trace(&named), "{mode:?} {seed}, by its steps");
        }
    }
}
