//! The sharded log, on the simulated disk and with real threads.

mod basics;
mod behaviour;
mod causal;
mod costs;
mod damage;
mod deterministic;
mod directed;
#[cfg(feature = "async")]
mod following;
mod model;
mod operations;
mod routing;
mod simulation;
mod stories;
mod surface;

use std::sync::Arc;
use std::time::Duration;

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::{Environment, Maintenance, SyncMode, Wal, WalOptions};

/// The simulated disk, a clock that stands still, one thread.
fn environment(disk: &SimDisk) -> Environment {
    Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_entropy(|| 7)
        .with_clock(|| Duration::from_secs(1_000))
        .with_maintenance(Maintenance::Inline)
}

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, ..WalOptions::new("/log") }
}

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_secs(1)),
];

/// Opens the log on a simulated disk.
fn open(disk: &SimDisk, options: WalOptions, shard_count: u16) -> ironwal::Result<ShardedWal> {
    ShardedWal::over(Wal::open_with(options, environment(disk))?, shard_count)
}
