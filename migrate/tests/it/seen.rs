//! What is read of a log, by the old library or the new one.

use std::collections::BTreeMap;
use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::{Error, Wal, WalOptions};
use ironwal_published as published;

use crate::{Case, files, writing::SHARDS};

/// Entries by stream and id; `None`: damaged.
pub(crate) type Entries = BTreeMap<(String, u64), Option<Vec<u8>>>;

/// Checkpoints in the order of their creation: id, offsets, timestamp.
pub(crate) type Checkpoints = Vec<(Vec<u8>, Vec<u64>, u64)>;

/// What is read of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) entries: Entries,
    /// The id that each stream goes on with.
    pub(crate) next: BTreeMap<String, u64>,
    pub(crate) checkpoints: Checkpoints,
}

/// A copy of the old directory, read by 0.6.9.
pub(crate) fn old(case: &Case, is_sharded: bool) -> Seen {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in files(&case.old()) {
        let to = copy.path().join(path.strip_prefix(case.old()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
    let mut seen = Seen { entries: Entries::new(), next: BTreeMap::new(), checkpoints: Vec::new() };
    let options = published::WalOptions::new(copy.path());
    let sharded = published::sharded::ShardedWal::new(options, SHARDS).unwrap();
    for entry in std::fs::read_dir(copy.path()).unwrap().map(Result::unwrap) {
        if !entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let next = sharded.inner().append_batch(&name, &[]).unwrap().start;
        seen.next.insert(name.clone(), next);
        for entry in sharded.inner().iter_with_ids(&name, 0).unwrap() {
            let (id, entry) = entry.unwrap();
            seen.entries.insert((name.clone(), id), Some(entry));
        }
    }
    if is_sharded {
        for (id, _) in sharded.list_checkpoints() {
            let data = sharded.load_checkpoint(&id).unwrap();
            seen.checkpoints.push((id, data.offsets, data.timestamp));
        }
    }
    seen
}

/// The new log.
pub(crate) fn new(dir: &Path) -> Seen {
    let wal = Wal::open_read_only(WalOptions::new(dir)).unwrap();
    let mut seen = Seen { entries: Entries::new(), next: BTreeMap::new(), checkpoints: Vec::new() };
    for name in wal.streams() {
        let stream = wal.stream(&name).unwrap();
        seen.next.insert(name.clone(), stream.next_id());
        for id in stream.first_id()..stream.next_id() {
            let entry = match stream.get(id) {
                Ok(entry) => Some(entry.unwrap().to_vec()),
                Err(Error::Damaged { .. }) => None,
                Err(error) => panic!("{name} {id}: {error}"),
            };
            seen.entries.insert((name.clone(), id), entry);
        }
    }
    if let Some(count) = wal.shard_count() {
        let sharded = ShardedWal::over(wal, count).unwrap();
        for (id, _) in sharded.list_checkpoints() {
            let data = sharded.load_checkpoint(&id).unwrap();
            seen.checkpoints.push((id, data.offsets, data.timestamp));
        }
    }
    seen
}
