//! Crash states of programs: of small ones that are wrong or right on purpose, and of the log itself.
#![allow(clippy::cast_possible_truncation)] // tests count in small numbers
#![allow(clippy::print_stdout)] // how many states there were

mod judge;
mod programs;
mod session;
mod sharded;
mod workloads;
