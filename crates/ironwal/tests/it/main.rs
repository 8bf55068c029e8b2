//! All integration tests, in one binary, so that they link once.
#![allow(clippy::cast_possible_truncation, clippy::print_stderr)]

mod api;
mod contract;
mod documents;
mod hooked;
mod kill;
mod model;
mod modules;
mod readers;
mod reading;
mod recovery;
mod rot;
mod stories;
mod threads;
