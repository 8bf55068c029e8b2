//! Groups in the thousands, in one log.

use futures::future::try_join_all;
use ironwal_openraft::Groups;
use openraft::Vote;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

use crate::log::{Store, Stored, entries, log_id, see};

const GROUPS: u64 = 2_000;

async fn open_all(groups: &Groups) -> Stored<Vec<Store>> {
    try_join_all((0..GROUPS).map(async |group| groups.log_store(&format!("group {group}")).await))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_groups() -> Stored<()> {
    let dir = tempfile::tempdir().unwrap();
    let groups = Groups::open(dir.path()).unwrap();
    let stores = open_all(&groups).await?;
    let write = async |(group, mut store): (u64, Store)| {
        store.save_vote(&Vote::new(group, 1)).await?;
        store.blocking_append(entries(group, 0..3)).await?;
        if group % 7 == 0 {
            store.purge(log_id(group, 2)).await?;
        }
        Stored::Ok(store)
    };
    let stores = try_join_all((0..).zip(stores).map(write)).await?;
    drop(stores);
    groups.wal().close().unwrap();

    let groups = Groups::open(dir.path()).unwrap();
    for (group, mut store) in (0..).zip(open_all(&groups).await?) {
        let found = see(&mut store).await?;
        assert_eq!(found.vote, Some(Vote::new(group, 1)));
        assert_eq!(found.last, Some(log_id(group, 2)));
        assert_eq!(found.entries.len(), if group % 7 == 0 { 0 } else { 3 });
    }
    Ok(())
}
