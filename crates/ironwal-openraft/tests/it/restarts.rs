//! What is there when a group is opened again.

use ironwal::{SyncMode, Wal, WalOptions};
use ironwal_openraft::{GroupOptions, Groups};
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, Vote};
use tempfile::TempDir;

use crate::log::{Seen, Store, Stored, begin, entries, log_id, see, text};

/// A node that is shut down and started again.
struct Node {
    dir: TempDir,
    options: GroupOptions,
    mode: SyncMode,
    groups: Groups,
}

impl Node {
    fn new() -> Self {
        Self::with(GroupOptions::default(), SyncMode::Strict)
    }

    /// Every purge frees segments at once, and nothing is read from memory.
    fn at_once(mode: SyncMode) -> Self {
        Self::with(GroupOptions { recent_len: 0, free_len_min: 0, ..GroupOptions::default() }, mode)
    }

    fn with(options: GroupOptions, mode: SyncMode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let groups = Self::open(&dir, options, mode);
        Self { dir, options, mode, groups }
    }

    fn open(dir: &TempDir, group: GroupOptions, mode: SyncMode) -> Groups {
        let options = WalOptions { sync_mode: mode, ..WalOptions::new(dir.path()) };
        Groups::new(Wal::new(options).unwrap()).with_options(group)
    }

    async fn store(&self) -> Store {
        self.groups.log_store("group").await.unwrap()
    }

    async fn restart(&mut self, store: Store) -> Store {
        drop(store);
        self.groups.wal().close().unwrap();
        self.groups = Self::open(&self.dir, self.options, self.mode);
        self.store().await
    }

    fn first_id(&self) -> u64 {
        self.groups.wal().stream("group").unwrap().first_id()
    }
}

#[tokio::test]
async fn everything_is_there() -> Stored<()> {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        let mut node = Node::with(GroupOptions::default(), mode);
        let mut store = node.store().await;
        assert_eq!(see(&mut store).await?, Seen::default());
        store.save_vote(&Vote::new(3, 7)).await?;
        store.blocking_append(entries(3, 0..40)).await?;
        store.save_committed(Some(log_id(3, 20))).await?;
        store.blocking_append(entries(3, 40..50)).await?;
        // This one is written when the group is closed.
        store.save_committed(Some(log_id(3, 49))).await?;
        let before = see(&mut store).await?;
        assert_eq!(before.entries, entries(3, 0..50).iter().map(text).collect::<Vec<_>>());
        assert_eq!((before.last, before.committed), (Some(log_id(3, 49)), Some(log_id(3, 49))));
        let mut store = node.restart(store).await;
        assert_eq!(see(&mut store).await?, before);
        // A part of it, which is not in memory.
        let part: Vec<_> = store.try_get_log_entries(38..=41).await?.iter().map(text).collect();
        assert_eq!(part, before.entries[38..42]);
    }
    Ok(())
}

#[tokio::test]
async fn all_of_it_is_purged() -> Stored<()> {
    for mode in [SyncMode::Strict, SyncMode::Async] {
        let mut node = Node::at_once(mode);
        let mut store = node.store().await;
        store.save_vote(&Vote::new(1, 1)).await?;
        store.blocking_append(entries(1, 0..30)).await?;
        store.save_committed(Some(log_id(1, 29))).await?;
        store.purge(log_id(1, 29)).await?;
        let expected = Seen {
            vote: Some(Vote::new(1, 1)),
            committed: Some(log_id(1, 29)),
            purged: Some(log_id(1, 29)),
            last: Some(log_id(1, 29)),
            entries: Vec::new(),
        };
        assert_eq!(see(&mut store).await?, expected);
        assert_eq!(node.first_id(), 32, "all but the record that says the rest again");
        let mut store = node.restart(store).await;
        assert_eq!(see(&mut store).await?, expected);
        // It is empty and goes on behind what it had, and only there.
        assert!(store.blocking_append(entries(1, 32..33)).await.is_err());
        store.blocking_append(entries(2, 30..33)).await?;
        let mut store = node.restart(store).await;
        let found = see(&mut store).await?;
        assert_eq!((found.last, found.entries.len()), (Some(log_id(2, 32)), 3));
    }
    Ok(())
}

/// As when a snapshot is installed that the log does not reach.
#[tokio::test]
async fn a_purge_behind_the_end() -> Stored<()> {
    let mut node = Node::at_once(SyncMode::Strict);
    let mut store = node.store().await;
    store.blocking_append(entries(1, 0..3)).await?;
    store.purge(log_id(4, 100)).await?;
    store.blocking_append(entries(4, 101..103)).await?;
    // An older purge changes nothing.
    store.purge(log_id(1, 1)).await?;
    for _ in 0..2 {
        let found = see(&mut store).await?;
        assert_eq!((found.purged, found.last), (Some(log_id(4, 100)), Some(log_id(4, 102))));
        assert_eq!(found.entries, entries(4, 101..103).iter().map(text).collect::<Vec<_>>());
        store = node.restart(store).await;
    }
    Ok(())
}

#[tokio::test]
async fn some_of_it_is_purged_and_the_rest_cut_off_and_replaced() -> Stored<()> {
    let mut node = Node::at_once(SyncMode::Strict);
    let mut store = node.store().await;
    store.save_vote(&Vote::new(1, 1)).await?;
    store.blocking_append(entries(1, 0..20)).await?;
    store.truncate(log_id(1, 12)).await?;
    assert_eq!(see(&mut store).await?.last, Some(log_id(1, 11)));
    let mut store = node.restart(store).await;
    assert_eq!(see(&mut store).await?.last, Some(log_id(1, 11)));
    store.save_vote(&Vote::new(2, 2)).await?;
    store.blocking_append(entries(2, 12..15)).await?;
    store.purge(log_id(1, 5)).await?;
    store.truncate(log_id(2, 14)).await?;
    store.blocking_append(entries(3, 14..16)).await?;
    // Entry 6 is the ninth record, and nothing before it is needed.
    assert_eq!(node.first_id(), 8);
    let expected: Vec<_> = [entries(1, 6..12), entries(2, 12..14), entries(3, 14..16)].concat();
    for _ in 0..3 {
        let found = see(&mut store).await?;
        assert_eq!(found.entries, expected.iter().map(text).collect::<Vec<_>>());
        assert_eq!((found.vote, found.purged), (Some(Vote::new(2, 2)), Some(log_id(1, 5))));
        store = node.restart(store).await;
    }
    // Down to the purged one and to nothing.
    store.truncate(log_id(1, 6)).await?;
    let mut store = node.restart(store).await;
    let found = see(&mut store).await?;
    assert_eq!((found.last, found.entries), (Some(log_id(1, 5)), Vec::new()));
    Ok(())
}

/// Space is freed now and then, not for each purge, and memory with it.
#[tokio::test]
async fn a_long_life_stays_small() -> Stored<()> {
    let options = GroupOptions { free_len_min: 64 * 1024, ..GroupOptions::default() };
    let mut node = Node::with(options, SyncMode::Async);
    let mut store = node.store().await;
    let mut freed = 0;
    for round in 0..400 {
        let first = round * 10;
        store.blocking_append(entries(1, first..first + 10)).await?;
        let before = node.first_id();
        store.purge(log_id(1, first + 4)).await?;
        freed += u64::from(node.first_id() > before);
    }
    assert!((2..40).contains(&freed), "freed {freed} times in 400 purges");
    let bytes = node.groups.wal().stream("group").unwrap().stats().bytes;
    assert!(bytes < 4 * 64 * 1024, "{bytes} bytes for 5 entries");
    let before = see(&mut store).await?;
    assert_eq!(before.entries.len(), 5);
    let mut store = node.restart(store).await;
    assert_eq!(see(&mut store).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_group_is_open_once() -> Stored<()> {
    let node = Node::new();
    let store = node.store().await;
    let again = node.groups.log_store::<crate::machine::Types>("group").await;
    assert!(again.is_err_and(|error| error.to_string().contains("open already")));
    // Closed while entries are in flight, and opened again in the same log.
    let in_flight = begin(&store, entries(1, 0..100));
    drop(store);
    in_flight.await?;
    let mut store = node.store().await;
    assert_eq!(see(&mut store).await?.entries.len(), 100);
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_none_of_ours() {
    let of = async |record: &[u8]| {
        let node = Node::new();
        node.groups.wal().append("group", record).unwrap();
        let error = node.groups.log_store::<crate::machine::Types>("group").await.unwrap_err();
        error.to_string()
    };
    let error = of(b"hello").await;
    assert!(error.contains("record 0 has version 6"), "{error}");
    let error = of(&[0x1F, 0, 0, 0, 0, 0]).await;
    assert!(error.contains("record 0 is not one of a Raft group"), "{error}");

    let node = Node::new();
    drop(node.store().await);
    node.groups.wal().stream("group").unwrap().truncate_before(1).unwrap();
    let error = node.groups.log_store::<crate::machine::Types>("group").await.unwrap_err();
    assert!(error.to_string().contains("pruned by somebody else"), "{error}");
}
