//! The inputs in `fuzz/corpus`, each through the target that it is for.
//!
//! `cargo test --test corpora` runs them all, with a name only those of this target; with a file, this one
//! through the target whose name its path contains: what a fuzzer has found, for a debugger.
//!
//! It is a program of its own, and has no test harness, because it includes files of the library and of
//! `tests/it`, whose tests would run a second time.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(clippy::cast_possible_truncation, clippy::print_stderr, clippy::print_stdout)]

#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;

#[path = "../src/format/mod.rs"]
mod format;
#[path = "../src/wal/names.rs"]
mod names;
#[path = "../src/sharded/record.rs"]
mod record;

#[path = "it/golden.rs"]
mod golden;
#[path = "it/hooked.rs"]
mod hooked;
#[path = "it/inspect/mod.rs"]
mod inspect;
#[path = "it/journal_view.rs"]
mod journal_view;
#[path = "it/model.rs"]
mod model;
#[path = "it/onlookers.rs"]
mod onlookers;
#[path = "it/operations.rs"]
mod operations;
#[path = "it/seeds/mod.rs"]
mod seeds;
#[path = "it/simulation.rs"]
mod simulation;
#[path = "it/together.rs"]
mod together;

#[path = "it/rot"]
mod rot {
    pub(crate) mod faults;
    pub(crate) mod samples;
}

#[path = "it/sharded"]
mod sharded {
    pub(crate) mod model;
    pub(crate) mod operations;
    pub(crate) mod simulation;
}

// What these files want of the modules around them.
include!("../../../fuzz/src/around.rs");

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ironwal::sharded::CheckpointData;

fn main() {
    // Paths are meant as the caller sees them, in the workspace; cargo runs tests in the package.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
        if argument.contains('/') {
            files.push(argument);
        } else {
            names.push(argument);
        }
    }
    for file in &files {
        let target = targets::TARGETS.iter().rfind(|(name, _)| file.contains(name));
        target.expect("a path with the name of a target").1(
            &fs::read(workspace.join(file)).unwrap(),
        );
        println!("{file}: ok");
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| name.contains(&**it));
    for (name, target) in
        targets::TARGETS.iter().filter(|(name, _)| files.is_empty() && wanted(name))
    {
        let begin = Instant::now();
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "there are no inputs for {name}");
        for path in &inputs {
            // Which one it is that panics.
            let input = fs::read(path).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{} failed; run it again with its path", path.display());
        }
        println!("{name}: {} inputs in {:.1} s", inputs.len(), begin.elapsed().as_secs_f64());
    }
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}
