#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Tests count in small numbers.
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

// In dependency order.
mod error;
mod manifest;
mod names;
mod runtime;
mod secrets;
mod store;
mod url;

mod archive;
mod files;
mod plan;
mod push;

mod prune;
mod read;
mod restore;
mod verify;
mod watch;

pub use archive::Archive;
pub use error::{Error, Result};
pub use manifest::{ARCHIVE_VERSION, Ids, Manifest, Piece, Replaced, Segment, Stream};
pub use prune::Pruned;
pub use push::{Archiver, Progress, Pushed, Tails};
pub use read::Entries;
pub use restore::{RestoreOptions, Restored, Until};
pub use store::Patience;
pub use verify::{Finding, Report};
pub use watch::{Event, Rhythm};
