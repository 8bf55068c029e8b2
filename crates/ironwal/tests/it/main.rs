//! All integration tests, in one binary, so that they link once.
#![allow(clippy::cast_possible_truncation, clippy::print_stderr)]

mod api;
mod contract;
mod documents;
mod hooked;
mod kill;
mod model;
mod modules;
mod operations;
mod recovery;
mod rot;
mod simulation;
mod stories;
mod threads;
