//! The program, which the test `replicated-ledger` runs too.
// Errors are as large as openraft makes them.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::result_large_err)]

use std::path::Path;
use std::process::ExitCode;

pub(crate) use story::Plan;

mod client;
mod ledger;
mod node;
mod rpc;
mod story;

/// Tells the story, or is one of its nodes.
pub(crate) fn main(plan: Plan) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match &arguments[..] {
        [first, id, dir] if first == "node" => node::run(id, Path::new(dir)),
        // What a harness of tests is asked; there is one test, and it has no name.
        [first, ..] if first == "--list" => return ExitCode::SUCCESS,
        _ => story::run(&plan),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What went wrong, for a person.
type Failure = Box<dyn std::error::Error + Send + Sync>;
