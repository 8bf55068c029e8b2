//! Appends in flight: what readers see of them, and in which order they are told.

use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;
use futures::future::{join_all, poll_fn};
use ironwal::storage::SimDisk;
use ironwal::{Environment, Wal, WalOptions};
use ironwal_openraft::{GroupOptions, Groups};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, Vote};

use crate::gate::{Gate, GatedDisk};
use crate::log::{Stored, begin, entries, entry_of, log_id, see, text};

/// A group on a disk whose syncs wait while the gate is shut.
async fn gated() -> (Gate, Groups, crate::log::Store) {
    let gate = Gate::default();
    let disk = GatedDisk(SimDisk::new(1), gate.clone());
    let environment = Environment::default().with_storage(Arc::new(disk));
    let groups = Groups::new(Wal::open_with(WalOptions::new("/log"), environment).unwrap());
    let store = groups.log_store("group").await.unwrap();
    (gate, groups, store)
}

#[tokio::test]
async fn entries_are_read_before_they_are_durable() -> Stored<()> {
    let (gate, groups, mut store) = gated().await;
    gate.shut(true);
    let first = begin(&store, entries(1, 0..5));
    let second = begin(&store, entries(1, 5..8));
    let third = begin(&store, entries(2, 8..9));
    let stream = groups.wal().stream("group").unwrap();
    assert_eq!(stream.next_id(), 1, "nothing but the first record is committed");

    let found: Vec<_> = store.try_get_log_entries(3..=8).await?.iter().map(text).collect();
    let all = [entries(1, 0..8), entries(2, 8..9)].concat();
    assert_eq!(found, all[3..9].iter().map(text).collect::<Vec<_>>());
    assert_eq!(store.get_log_state().await?.last_log_id, Some(log_id(2, 8)));
    let mut reader = store.get_log_reader().await;
    assert_eq!(reader.limited_get_log_entries(0, 100).await?.len(), 9);

    // What is cut off is gone for readers at once, and what takes its place is there.
    let mut cutting = store.clone();
    let mut cut = Box::pin(async move { cutting.truncate(log_id(1, 7)).await });
    assert!(cut.as_mut().now_or_never().is_none(), "it is on stable storage when it returns");
    let fourth = begin(&store, entries(3, 7..8));
    let mut voting = store.clone();
    let mut vote = Box::pin(async move { voting.save_vote(&Vote::new(3, 1)).await });
    assert!(vote.as_mut().now_or_never().is_none(), "it is on stable storage when it returns");
    assert_eq!(stream.next_id(), 1);
    let before = see(&mut store).await?;
    assert_eq!((before.last, before.entries.len()), (Some(log_id(3, 7)), 8));

    gate.shut(false);
    for told in [first.boxed(), second.boxed(), third.boxed(), cut, fourth.boxed(), vote] {
        told.await?;
    }
    assert_eq!(see(&mut store).await?, before);
    Ok(())
}

#[tokio::test]
async fn appends_are_told_in_their_order() -> Stored<()> {
    let (gate, _groups, store) = gated().await;
    gate.shut(true);
    let mut waiting: Vec<_> =
        (0..60).map(|at| begin(&store, entries(1, at..at + 1)).boxed()).collect();
    assert!(join_all(&mut waiting).now_or_never().is_none(), "told before anything was synced");
    gate.shut(false);
    let mut told = vec![false; waiting.len()];
    poll_fn(|context| {
        // From the last to the first: if one is told, all before it are by the time they are asked.
        for at in (0..waiting.len()).rev() {
            if !told[at]
                && let Poll::Ready(result) = waiting[at].as_mut().poll(context)
            {
                result.unwrap();
                told[at] = true;
            }
            assert!(told[at] || !told[at..].contains(&true), "{at} is told behind a later one");
        }
        if told.contains(&false) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    Ok(())
}

/// More than the log takes at once: a thread for blocking calls submits it, and the task goes on.
#[tokio::test]
async fn a_large_append_does_not_block_the_runtime() -> Stored<()> {
    let (gate, _groups, mut store) = gated().await;
    gate.shut(true);
    let large = (0..40).map(|index| entry_of(1, index, "x".repeat(100_000))).collect();
    let appended = tokio::spawn(begin(&store, large));
    tokio::task::yield_now().await;
    gate.shut(false);
    appended.await.unwrap()?;
    let limited = store.limited_get_log_entries(0, 40).await?;
    assert_eq!(limited.len(), 10, "a mebibyte of them");
    assert_eq!(store.try_get_log_entries(0..40).await?.len(), 40);
    Ok(())
}

#[tokio::test]
async fn reading_is_bounded_by_bytes() -> Stored<()> {
    let dir = tempfile::tempdir().unwrap();
    let options =
        GroupOptions { recent_len: 2_000, read_len_max: 1_000, ..GroupOptions::default() };
    let groups = Groups::open(dir.path()).unwrap().with_options(options);
    let mut store: crate::log::Store = groups.log_store("group").await?;
    let all = (0..50).map(|index| entry_of(1, index, "y".repeat(290))).collect();
    store.blocking_append::<Vec<_>>(all).await?;
    let (mut at, mut reads) = (0, 0);
    while at < 50 {
        let found = store.limited_get_log_entries(at, 50).await?;
        assert!((1..=3).contains(&found.len()), "{} entries of 300 bytes at {at}", found.len());
        assert_eq!(found[0].log_id, log_id(1, at));
        at += found.len() as u64;
        reads += 1;
    }
    assert_eq!(reads, 17);
    // One that is larger than all that is asked for is returned nevertheless.
    store.blocking_append([entry_of(1, 50, "z".repeat(5_000))]).await?;
    assert_eq!(store.limited_get_log_entries(50, 51).await?.len(), 1);
    assert_eq!(store.limited_get_log_entries(51, 60).await?.len(), 0);
    Ok(())
}
