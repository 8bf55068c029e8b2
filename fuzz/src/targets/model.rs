//! The public API against the model of the simulation, on a disk that crashes and fails.
//!
//! The input is a run: `tests/it/seeds/script.rs` says how. What may be done, and what it must come to, is
//! what the simulations say that take seeds: appends, batches, also over several streams, submitted
//! appends, syncs, rotation, pruning, cuts, deletion, restoring, followers and readers from outside,
//! checkpoints over shards, closing, kills, power cuts, calls that fail, and full disks.

use crate::seeds::Run;
use crate::{sharded, simulation};

/// Runs of inputs whose first byte has this bit are over shards.
const SHARDED: u8 = 0x80;

pub(super) fn run(input: &[u8]) {
    let run = Run::of(input);
    match input.first() {
        Some(first) if first & SHARDED != 0 => sharded::simulation::Simulation::new(&run).run(),
        _ => drop(simulation::Simulation::new(&run).run()),
    }
}
