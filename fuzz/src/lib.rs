//! The targets, with all that they include by its path: files of the library, whose modules are
//! private, and of its tests, which judge.

#![allow(dead_code, unused_imports, unreachable_pub)]

#[path = "../../crates/ironwal/src/format/mod.rs"]
mod format;
#[path = "../../crates/ironwal/src/wal/names.rs"]
mod names;
#[path = "../../crates/ironwal/src/sharded/record.rs"]
mod record;
mod targets;

#[path = "../../crates/ironwal/tests/it/golden.rs"]
mod golden;
#[path = "../../crates/ironwal/tests/it/hooked.rs"]
mod hooked;
#[path = "../../crates/ironwal/tests/it/inspect/mod.rs"]
mod inspect;
#[path = "../../crates/ironwal/tests/it/journal_view.rs"]
mod journal_view;
#[path = "../../crates/ironwal/tests/it/model.rs"]
mod model;
#[path = "../../crates/ironwal/tests/it/onlookers.rs"]
mod onlookers;
#[path = "../../crates/ironwal/tests/it/operations.rs"]
mod operations;
#[path = "../../crates/ironwal/tests/it/seeds/mod.rs"]
mod seeds;
#[path = "../../crates/ironwal/tests/it/simulation.rs"]
mod simulation;
#[path = "../../crates/ironwal/tests/it/together.rs"]
mod together;

#[path = "../../crates/ironwal/tests/it/rot"]
mod rot {
    pub(crate) mod faults;
    pub(crate) mod samples;

    pub(crate) use faults::places;
}

#[path = "../../crates/ironwal/tests/it/sharded"]
mod sharded {
    pub(crate) mod model;
    pub(crate) mod operations;
    pub(crate) mod simulation;
}

// What these files want of the modules around them.
use ironwal::sharded::CheckpointData;

include!("around.rs");

/// Runs the target of this name.
pub fn run(name: &str, input: &[u8]) {
    let found = targets::TARGETS.iter().find(|(target, _)| *target == name);
    found.expect("a target").1(input);
}
