//! What is fuzzed: functions of bytes, which panic on what must not be. `scripts/fuzz` runs them, and
//! `cargo test --test corpora` on the inputs in `fuzz/corpus`.

mod damage;
mod directory;
mod input;
mod inspect;
mod journal;
mod model;
mod scanner;
mod structures;

/// The name of a target, and what it does.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them. The input of each is in a folder of its name.
pub(crate) const TARGETS: [Target; 6] = [
    ("scanner", scanner::run),
    ("journal", journal::run),
    ("structures", structures::run),
    ("directory", directory::run),
    ("inspect", inspect::run),
    ("model", model::run),
];
