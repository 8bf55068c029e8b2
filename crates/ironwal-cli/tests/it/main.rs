//! All integration tests of the program, in one binary, so that they link once.
// What was skipped, and how much was planted.
#![allow(clippy::cast_possible_truncation, clippy::print_stderr)]

mod append_cat;
mod archive;
mod backup;
mod bench;
mod beside;
mod checkpoint;
mod damage;
mod delete;
mod demo;
mod dump;
mod errors;
mod export_import;
mod generated;
mod json;
mod logs;
mod ls;
#[cfg(unix)]
mod migrate;
mod planted;
mod program;
mod prune;
mod repair;
mod report;
#[cfg(all(unix, feature = "cloud"))]
mod s3;
mod sharded;
mod stat;
mod tail;
#[cfg(unix)]
mod terminal;
mod truncate;
mod verify;
