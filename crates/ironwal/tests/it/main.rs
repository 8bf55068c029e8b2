//! All integration tests, in one binary, so that they link once.
#![allow(clippy::cast_possible_truncation, clippy::print_stderr, clippy::print_stdout)]

mod api;
#[cfg(feature = "async")]
mod awaiting;
mod compat;
mod contract;
mod documents;
mod following;
mod golden;
mod hooked;
mod in_place;
mod inspect;
mod iterating;
mod journal;
mod journal_view;
mod kill;
mod limits;
mod model;
mod modules;
mod next_segment;
mod observing;
mod onlookers;
mod operations;
mod processes;
mod readers;
mod reading;
mod real;
mod recovery;
mod reshaping;
mod retention;
mod rot;
mod schedules;
mod seeds;
mod seen_together;
#[cfg(feature = "sharded")]
mod sharded;
mod shortened;
mod simulation;
mod stories;
mod submitting;
mod surface;
mod threads;
mod together;
