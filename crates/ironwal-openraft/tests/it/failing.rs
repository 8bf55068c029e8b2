//! Disks that fail: nothing is acknowledged that is not there, and after an error nothing is.

use std::sync::Arc;

use std::io::ErrorKind;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Environment, Maintenance, Wal, WalOptions};
use ironwal_openraft::Groups;
use openraft::Vote;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::log::{Seen, Store, Stored, begin, entries, entry_of, log_id, see};

fn open(disk: &SimDisk, maintenance: Maintenance) -> Groups {
    let environment = Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_entropy(|| 5)
        .with_maintenance(maintenance);
    Groups::new(Wal::open_with(WalOptions::new("/log"), environment).unwrap())
}

/// The number of a call that fails, and what a node saw of it: it stops at the first error, as openraft does.
async fn live(store: &mut Store, seen: &mut Seen) -> Stored<()> {
    for term in 1..4 {
        let vote = Vote::new(term, 1);
        store.save_vote(&vote).await?;
        seen.vote = Some(vote);
        let first = seen.last.map_or(0, |last| last.index + 1);
        store.blocking_append(entries(term, first..first + 4)).await?;
        seen.last = Some(log_id(term, first + 3));
        store.truncate(log_id(term, first + 2)).await?;
        seen.last = Some(log_id(term, first + 1));
        store.save_committed(seen.last).await?;
        store.purge(log_id(term, first)).await?;
        seen.purged = Some(log_id(term, first));
    }
    Ok(())
}

/// Every sync and every write fails once. What was acknowledged before is there when the power was cut
/// and the log is opened again; afterwards nothing is acknowledged.
#[tokio::test]
async fn each_call_fails_once() -> Stored<()> {
    let mut failed = 0;
    for kind in [CallKind::Sync, CallKind::Write] {
        for nth in 1.. {
            let disk = SimDisk::new(nth);
            let groups = open(&disk, Maintenance::Inline);
            let mut store: Store = groups.log_store("group").await?;
            disk.fail_nth(kind, nth, ErrorKind::Other);
            let mut seen = Seen::default();
            let lived = live(&mut store, &mut seen).await;
            disk.clear_faults();
            let is_over = lived.is_ok();
            if !is_over {
                failed += 1;
                let error = lived.unwrap_err().to_string();
                assert!(error.contains("injected fault"), "{error}");
                let after = [
                    store.save_vote(&Vote::new(9, 9)).await,
                    store.blocking_append(entries(9, 90..91)).await,
                ];
                assert!(after.iter().all(Result::is_err), "{nth}: {after:?}");
            }
            drop(store);
            // The log cannot be closed well: it is poisoned.
            let _ = groups.wal().close();
            drop(groups);
            disk.crash();
            let groups = open(&disk, Maintenance::Inline);
            let mut store: Store = groups.log_store("group").await?;
            let found = see(&mut store).await?;
            assert!(found.vote >= seen.vote, "{kind:?} {nth}: {found:?}, not {seen:?}");
            assert!(found.purged >= seen.purged, "{kind:?} {nth}: {found:?}, not {seen:?}");
            assert!(found.committed <= found.last, "{kind:?} {nth}: {found:?}");
            if is_over {
                assert_eq!((found.last, found.purged), (seen.last, seen.purged));
                break;
            }
        }
    }
    assert!(failed > 20, "{failed}");
    Ok(())
}

/// One append fails for want of space, those behind it could be written: all of them get an error, and so
/// does whatever comes later.
#[tokio::test]
async fn after_a_failure_every_callback_gets_an_error() -> Stored<()> {
    let disk = SimDisk::new(3);
    let groups = open(&disk, Maintenance::Thread);
    let mut store: Store = groups.log_store("group").await?;
    store.blocking_append(entries(1, 0..3)).await?;
    disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    let in_flight: Vec<_> =
        (3..30).map(|index| begin(&store, vec![entry_of(1, index, "a".repeat(500))])).collect();
    for (at, told) in in_flight.into_iter().enumerate() {
        let error = told.await.expect_err("it was told that it is durable");
        assert!(error.to_string().starts_with("when Write Logs"), "append {at}: {error}");
    }
    let error = store.save_vote(&Vote::new(2, 2)).await.unwrap_err().to_string();
    assert!(error.starts_with("when Write Vote") && error.contains("no writes since"), "{error}");
    // What was durable can be read, and is there afterwards.
    drop(store);
    let _ = groups.wal().close();
    disk.crash();
    let groups = open(&disk, Maintenance::Thread);
    let mut store: Store = groups.log_store("group").await?;
    let found = see(&mut store).await?;
    assert!((Some(log_id(1, 2))..=Some(log_id(1, 29))).contains(&found.last), "{found:?}");
    Ok(())
}

/// A disk that is full refuses, and nothing that was there is lost.
#[tokio::test]
async fn a_full_disk() -> Stored<()> {
    let disk = SimDisk::new(4);
    let groups = open(&disk, Maintenance::Thread);
    let mut store: Store = groups.log_store("group").await?;
    store.blocking_append(entries(1, 0..3)).await?;
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    let mut told = Vec::new();
    // Not more than is submitted without a thread, so that they are in flight in this order.
    for index in 3..43 {
        told.push(begin(&store, vec![entry_of(1, index, "b".repeat(600))]));
    }
    let mut durable = 3;
    let mut has_failed = false;
    for told in told {
        let told = told.await;
        assert!(!(has_failed && told.is_ok()), "told to be durable behind one that failed");
        has_failed |= told.is_err();
        durable += u64::from(told.is_ok());
    }
    assert!(has_failed);
    drop(store);
    let _ = groups.wal().close();
    disk.configure(|config| config.capacity = None);
    let groups = open(&disk, Maintenance::Thread);
    let mut store: Store = groups.log_store("group").await?;
    let found = see(&mut store).await?;
    let indexes: Vec<u64> = found.entries.iter().map(|(log_id, _)| log_id.index).collect();
    assert!(indexes.len() as u64 >= durable, "{} of {durable}", indexes.len());
    assert_eq!(indexes, (0..indexes.len() as u64).collect::<Vec<_>>(), "without a hole");
    // And it goes on.
    let next = indexes.len() as u64;
    store.blocking_append(entries(2, next..next + 3)).await?;
    drop(store);
    let mut store: Store = groups.log_store("group").await?;
    assert_eq!(see(&mut store).await?.last, Some(log_id(2, next + 2)));
    Ok(())
}
