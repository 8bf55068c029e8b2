//! The archive against what was appended to the log: with stores that fail, writers that race, crashes at every call.
#![allow(clippy::cast_possible_truncation)] // tests count in small numbers

mod crashing;
mod faulty;
mod fencing;
mod logs;
mod pruning;
mod pushing;
mod reading;
mod restoring;
mod secrets;
mod seeds;
mod verifying;
