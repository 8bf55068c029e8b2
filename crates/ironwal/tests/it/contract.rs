//! The durability contract under simulated crashes and faults, from seeds.
//!
//! What is done is in `operations.rs`, `together.rs` and `onlookers.rs`, how it dies and comes back in
//! `simulation.rs`, and what must hold in `model.rs`; `seeds` says how seeds are tried and replayed.

use std::collections::BTreeMap;

use ironwal::SyncMode;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, Failure};

use crate::journal_view::{WAYS, Ways};
use crate::seeds::{self, INTERVAL, MODES, Run, assert_repeatable, fails, number, run_seeds};
use crate::simulation::{FAILURES, Simulation};

/// How many seeds are tried per mode if nothing is said.
const SEEDS: u64 = 400;

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
    run_seeds("contract", mode, SEEDS, start);
}

fn start(run: &Run) -> (SimDisk, impl FnOnce() + use<>) {
    let simulation = Simulation::new(run);
    (simulation.disk.clone(), move || drop(simulation.run()))
}

/// Does these steps of a seed: for tests that a failing seed suggests.
pub(crate) fn replay(mode: SyncMode, seed: u64, steps: &[u32]) {
    seeds::replay(mode, seed, steps, start);
}

#[test]
fn steps_of_a_seed_are_replayed() {
    replay(SyncMode::Strict, 3, &[0, 1, 2, 5, 9, 64, 70, 71]);
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    assert_repeatable(start);
}

/// An input of a fuzzer is a run, too, and what one of its records is changes no other operation.
#[test]
fn an_input_is_a_run() {
    let record = |tag: u8, nth: u8| [[tag, nth % 3, nth].as_slice(), &[nth; 13]].concat();
    let mut input = vec![0; 32];
    for (tag, nth) in [(255, 0), (0, 3), (0, 7), (0, 15), (240, 1), (0, 13), (0, 45)] {
        input.extend(record(tag, nth));
    }
    let trace = |input: &[u8]| {
        let simulation = Simulation::new(&Run::of(input));
        let disk = simulation.disk.clone();
        disk.configure(|config| config.trace = true);
        simulation.run();
        disk.trace()
    };
    let all = trace(&input);
    assert!(all.len() > 40, "{all:#?}");
    assert_eq!(all, trace(&input));
    let mut changed = input.clone();
    *changed.last_mut().unwrap() ^= 1;
    let changed = trace(&changed);
    let same = all.iter().zip(&changed).take_while(|(one, other)| one == other).count();
    assert!(same > 20 && changed != all, "{same} calls are the same");
}

/// The simulation notices if syncs do nothing, and shrinks that to a few steps, which fail again.
#[test]
fn a_disk_that_lies_is_found_out() {
    let start = |run: &Run| {
        let mut simulation = Simulation::new(run);
        simulation.disk_lies = true;
        (simulation.disk.clone(), move || drop(simulation.run()))
    };
    let (run, steps, failure) = seeds::first_that_fails(SyncMode::Strict, 50, start).unwrap();
    assert!(steps.len() <= 4, "{steps:?}");
    let again = seeds::fails(start(&run.only(&steps)).1).unwrap();
    assert_eq!(again.to_string(), failure);
}

/// Everything that the journal does is done in these simulations, and often.
#[test]
fn the_journal_is_used_in_every_way() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for mode in MODES {
        for seed in 0..number("IRONWAL_WAYS").unwrap_or(150) {
            let mut simulation = Simulation::new(&Run::new(mode, seed));
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

/// The n-th call of every kind fails, for every n of a workload, in a way of its own; or, if
/// `IRONWAL_SWEEPS` says for how many workloads, in every way, with every death after it.
#[test]
fn every_call_may_fail() {
    let sweeps = number("IRONWAL_SWEEPS");
    for mode in MODES {
        for seed in 0..sweeps.unwrap_or(3) {
            let run = Run::new(mode, seed);
            let calm = Simulation::new(&run);
            let disk = calm.disk.clone();
            calm.run_with_fault(CallKind::Read, u64::MAX, Failure::Short, true);
            for (nth, kind) in CallKind::ALL.into_iter().enumerate() {
                for n in 1..=disk.calls(kind) {
                    let one_way = FAILURES[(nth + n as usize) % FAILURES.len()];
                    let ways = if sweeps.is_some() { &FAILURES[..] } else { &[one_way] };
                    for failure in ways {
                        fail_once(&run, kind, n, *failure);
                    }
                }
            }
        }
    }
}

fn fail_once(run: &Run, kind: CallKind, n: u64, failure: Failure) {
    for crash in [false, true] {
        let simulation = Simulation::new(run);
        if let Some(broken) = fails(|| simulation.run_with_fault(kind, n, failure, crash)) {
            let Run { mode, seed, .. } = run;
            panic!("{mode:?}, seed {seed}: {kind:?} {n}, {failure:?}, crash {crash}: {broken}");
        }
    }
}
