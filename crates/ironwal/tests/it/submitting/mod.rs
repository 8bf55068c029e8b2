//! Appends that are waited for later, or by nobody: their order and ids, how many may be in flight, and
//! what becomes of them when calls fail, the power goes, the log is closed or the stream deleted.

mod ending;
mod failing;
mod order;
mod room;

use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::sim::SimConfig;
use ironwal::storage::{SimDisk, Storage};
use ironwal::{Environment, Journal, Maintenance, SyncMode, Wal, WalOptions};

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_secs(1)),
];
const JOURNALS: [Journal; 3] = [Journal::Auto, Journal::On, Journal::Off];
const DRIVERS: [Maintenance; 2] = [Maintenance::Inline, Maintenance::Thread];

/// How a log is opened.
#[derive(Debug, Clone)]
struct Setting {
    options: WalOptions,
    journal: Journal,
    maintenance: Maintenance,
}

impl Setting {
    fn new(sync_mode: SyncMode, journal: Journal, maintenance: Maintenance) -> Self {
        let options = WalOptions { sync_mode, ..WalOptions::new("/log") };
        Self { options, journal, maintenance }
    }

    /// So many entries fill a segment, so that whoever comes next waits for room.
    fn with_segments_of(mut self, entries: u64) -> Self {
        self.options.max_entries_per_segment = entries;
        self
    }

    /// A process on this disk opens the log.
    fn open(&self, disk: &SimDisk) -> Wal {
        self.open_on(Arc::new(disk.process()))
    }

    fn open_on(&self, storage: Arc<dyn Storage>) -> Wal {
        let environment = Environment::default()
            .with_storage(storage)
            .with_entropy(|| 0x5A17)
            .with_clock(|| Duration::ZERO)
            .with_maintenance(self.maintenance)
            .with_journal(self.journal)
            .with_journal_size(64 * 1024);
        Wal::open_with(self.options.clone(), environment).unwrap()
    }

    fn is_inline(&self) -> bool {
        self.maintenance == Maintenance::Inline
    }
}

/// Every mode, with and without a journal, with and without threads.
fn settings() -> impl Iterator<Item = Setting> {
    MODES.into_iter().flat_map(|mode| {
        JOURNALS.into_iter().flat_map(move |journal| {
            DRIVERS.into_iter().map(move |how| Setting::new(mode, journal, how))
        })
    })
}

/// Nothing becomes durable by itself.
fn disk(seed: u64) -> SimDisk {
    let config = SimConfig { seed, eviction: 0.0, write_back: 0.0, ..SimConfig::default() };
    SimDisk::with_config(config)
}

/// All entries of a stream.
fn entries(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    wal.iter(stream, 0).unwrap().map(|entry| entry.unwrap()).collect()
}

/// What the log holds of a stream after power loss.
fn after_power_loss(disk: &SimDisk, setting: &Setting, stream: &str) -> Vec<Vec<u8>> {
    disk.crash();
    entries(&setting.open(disk), stream)
}
