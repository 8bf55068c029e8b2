#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod options;
mod record;

mod index;
mod recent;

mod replay;

mod completer;
mod group;

mod asynchronous;
mod read;

mod groups;

pub mod v0_9;

pub use groups::Groups;
pub use options::GroupOptions;
