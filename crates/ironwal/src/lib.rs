#![doc = include_str!("../README.md")]
#![deny(unsafe_code)] // but for storage/map.rs; a test sees to it
// Tests count in small numbers.
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

// In dependency order: each module uses only those above it.
mod error;
mod format;
mod options;
pub mod storage;
mod sync;

mod environment;

mod activity;
mod segment;

mod log;

mod commit;

mod wal;

#[cfg(feature = "sharded")]
pub mod sharded;

pub mod inspect;

pub use environment::{Environment, Journal, Maintenance, WriteStrategy};
pub use error::{Error, Result};
pub use format::{FORMAT_VERSION, MAX_FRAME_LEN};
pub use options::{CompressionType, CorruptionPolicy, ReadStrategy, SyncMode, WalOptions};
#[cfg(feature = "async")]
pub use wal::follow::AsyncFollower;
pub use wal::follow::Follower;
pub use wal::range::Range;
pub use wal::{
    Pending, Stream, StreamStats, TxnWriter, Wal, WalIdIterator, WalIterator, WalStats, WriteBatch,
};
