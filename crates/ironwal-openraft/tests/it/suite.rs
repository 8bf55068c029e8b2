//! The suite that openraft has for implementations of its storage.

use std::time::Duration;

use ironwal::{Environment, Journal, SyncMode, Wal, WalOptions};
use ironwal_openraft::v0_9::LogStore;
use ironwal_openraft::{GroupOptions, Groups};
use openraft::StorageError;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::machine::{Machine, Types};

/// A log of its own for each test of the suite.
struct Builder {
    mode: SyncMode,
    journal: Journal,
    group: GroupOptions,
}

/// Removes the directory behind the log.
struct Guard {
    groups: Groups,
    _dir: TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let closed = self.groups.wal().close();
        assert!(closed.is_ok() || std::thread::panicking(), "{closed:?}");
    }
}

impl StoreBuilder<Types, LogStore<Types>, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore<Types>, Machine), StorageError<u64>> {
        let dir = tempfile::tempdir().expect("a directory");
        let options = WalOptions { sync_mode: self.mode, ..WalOptions::new(dir.path()) };
        let environment = Environment::default().with_journal(self.journal);
        let wal = Wal::open_with(options, environment).expect("a new log");
        let groups = Groups::new(wal).with_options(self.group);
        let store = groups.log_store("group").await?;
        Ok((Guard { groups, _dir: dir }, store, Machine::default()))
    }
}

/// All at once, for the suite sleeps a second now and then.
#[test]
fn it_passes_in_every_mode() {
    // Also with nothing kept in memory, and every purge freeing segments at once.
    let at_once = GroupOptions { recent_len: 0, read_len_max: 1, free_len_min: 0 };
    let interval = SyncMode::Interval(Duration::from_millis(2));
    let modes = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async, interval];
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for mode in modes {
            for journal in [Journal::Auto, Journal::On, Journal::Off] {
                let is_auto = journal == Journal::Auto;
                let group = if is_auto { at_once } else { GroupOptions::default() };
                let builder = Builder { mode, journal, group };
                let suite = scope.spawn(move || Suite::test_all(builder));
                running.push(((mode, journal), suite));
            }
        }
        for (how, suite) in running {
            let passed = suite.join();
            assert!(matches!(passed, Ok(Ok(()))), "{how:?}: {passed:?}");
        }
    });
}
