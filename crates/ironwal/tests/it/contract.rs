//! The durability contract under simulated crashes and faults, from seeds.
//!
//! `IRONWAL_SEED=n` replays one seed, `IRONWAL_SEEDS=n` sets how many are tried per mode,
//! `IRONWAL_FIRST_SEED=n` from where on. What is done is in `operations.rs`, how it dies and comes back in `simulation.rs`, and what must hold in
//! `model.rs`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ironwal::SyncMode;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;

use crate::journal_view::{WAYS, Ways};
use crate::simulation::Simulation;

/// How many seeds are tried per mode if nothing is said.
const SEEDS: u64 = 400;

pub(crate) const INTERVAL: SyncMode = SyncMode::Interval(Duration::from_millis(700));

pub(crate) const MODES: [SyncMode; 4] =
    [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async, INTERVAL];

#[test]
fn strict_appends_survive() {
    run_mode(SyncMode::Strict);
}

#[test]
fn batches_survive() {
    run_mode(SyncMode::BatchOnly);
}

#[test]
fn async_appends_survive_kills() {
    run_mode(SyncMode::Async);
}

#[test]
fn intervals_are_kept() {
    run_mode(INTERVAL);
}

fn run_mode(mode: SyncMode) {
    run_seeds(mode, SEEDS, |seed, verbose| {
        let simulation = Simulation::new(mode, seed, verbose);
        (simulation.disk.clone(), move || drop(simulation.run()))
    });
}

/// Runs one seed that is asked for, verbosely, or many: `start` gives the disk and what happens on it.
pub(crate) fn run_seeds<R: FnOnce()>(
    mode: SyncMode,
    seeds: u64,
    start: impl Fn(u64, bool) -> (SimDisk, R),
) {
    if let Some(seed) = number("IRONWAL_SEED") {
        let (disk, run) = start(seed, true);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("{}", disk.trace().join("\n"));
            std::panic::resume_unwind(panic);
        }
        return;
    }
    let first = number("IRONWAL_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("IRONWAL_SEEDS").unwrap_or(seeds) {
        let run = || start(seed, false).1();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("{mode:?}: seed {seed} failed; replay it with IRONWAL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// The same seed gives the same calls: `start` gives the disk and what happens on it.
pub(crate) fn assert_repeatable<R: FnOnce()>(start: impl Fn(SyncMode, u64) -> (SimDisk, R)) {
    for mode in MODES {
        for seed in 0..5 {
            let trace = || {
                let (disk, run) = start(mode, seed);
                disk.configure(|config| config.trace = true);
                run();
                disk.trace()
            };
            let first = trace();
            assert!(first.len() > 20);
            assert_eq!(first, trace(), "{mode:?} {seed}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    assert_repeatable(|mode, seed| {
        let simulation = Simulation::new(mode, seed, false);
        (simulation.disk.clone(), move || drop(simulation.run()))
    });
}

/// Everything that the journal does is done in these simulations, and often.
#[test]
fn the_journal_is_used_in_every_way() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for mode in MODES {
        for seed in 0..number("IRONWAL_WAYS").unwrap_or(150) {
            let mut simulation = Simulation::new(mode, seed, false);
            simulation.ways = Some(Ways::default());
            for (way, count) in simulation.run().counts {
                *counts.entry(way).or_default() += count;
            }
        }
    }
    for way in WAYS {
        assert!(counts.get(way).is_some_and(|count| *count > 2), "{way}: {counts:?}");
    }
}

/// The n-th call of every kind fails, for every n of a workload, with every death after it.
#[test]
fn every_call_may_fail() {
    for mode in MODES {
        for seed in 0..number("IRONWAL_SWEEPS").unwrap_or(3) {
            let calm = Simulation::new(mode, seed, false);
            let disk = calm.disk.clone();
            calm.run_with_fault(CallKind::Read, u64::MAX, std::io::ErrorKind::Other, true);
            for kind in CallKind::ALL {
                for n in 1..=disk.calls(kind) {
                    for error in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
                        for crash in [false, true] {
                            let run = || {
                                let simulation = Simulation::new(mode, seed, false);
                                simulation.run_with_fault(kind, n, error, crash);
                            };
                            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                                eprintln!("{mode:?}, seed {seed}: {kind:?} {n}, {error}, {crash}");
                                std::panic::resume_unwind(panic);
                            }
                        }
                    }
                }
            }
        }
    }
}
