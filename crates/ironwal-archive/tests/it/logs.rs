//! Logs on the simulated disk, and what they hold.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ironwal::sharded::ShardedWal;
use ironwal::storage::{SimDisk, Storage};
use ironwal::{Environment, Maintenance, Wal, WalOptions};
use ironwal_archive::{Archive, Archiver, Patience, RestoreOptions, Restored, Result};
use object_store::ObjectStore;
use object_store::memory::InMemory;

pub(crate) const ROOT: &str = "/log";
pub(crate) const COPY: &str = "/restored";

/// Few entries for each segment, so that small logs have many of them.
pub(crate) fn options(path: &str) -> WalOptions {
    WalOptions { max_entries_per_segment: 4, ..WalOptions::new(path) }
}

pub(crate) fn environment(disk: &SimDisk) -> Environment {
    Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_maintenance(Maintenance::Inline)
}

pub(crate) fn open_at(disk: &SimDisk, path: &str) -> Wal {
    Wal::open_with(options(path), environment(disk)).unwrap()
}

pub(crate) fn open(disk: &SimDisk) -> Wal {
    open_at(disk, ROOT)
}

pub(crate) fn sharded(disk: &SimDisk, shards: u16) -> ShardedWal {
    ShardedWal::over(open(disk), shards).unwrap()
}

pub(crate) fn storage(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.process())
}

/// The entry `id` of a stream; entries differ in length.
pub(crate) fn entry(stream: &str, id: u64) -> Vec<u8> {
    format!("{stream} {id} ").repeat(1 + id as usize % 3).into_bytes()
}

pub(crate) fn append(wal: &Wal, stream: &str, count: u64) {
    for _ in 0..count {
        let next_id = wal.stream(stream).unwrap().next_id();
        assert_eq!(wal.append(stream, &entry(stream, next_id)).unwrap(), next_id);
    }
}

/// Does not wait long for anything.
pub(crate) fn hasty() -> Patience {
    let mut patience = Patience::default();
    patience.pause = Duration::from_millis(1);
    patience.timeout = Duration::from_millis(200);
    patience
}

pub(crate) fn archive_in(store: Arc<dyn ObjectStore>) -> Archive {
    Archive::new(store, "an/archive").unwrap().with_patience(hasty())
}

pub(crate) fn memory() -> Arc<InMemory> {
    Arc::new(InMemory::new())
}

pub(crate) fn archiver(archive: &Archive, disk: &SimDisk) -> Archiver {
    Archiver::new(archive.clone(), storage(disk), ROOT)
}

pub(crate) fn restore(archive: &Archive, disk: &SimDisk) -> Result<Restored> {
    restore_with(archive, disk, &RestoreOptions::default())
}

pub(crate) fn restore_with(
    archive: &Archive,
    disk: &SimDisk,
    options: &RestoreOptions,
) -> Result<Restored> {
    archive.restore(&storage(disk), Path::new(COPY), options, &mut |_| {})
}

/// What a log holds: of each stream, the ids and the entries.
pub(crate) type Content = BTreeMap<String, (Range<u64>, Vec<Vec<u8>>)>;

pub(crate) fn content(wal: &Wal) -> Content {
    let of = |name: String| {
        let stream = wal.stream(&name).unwrap();
        let ids = stream.first_id()..stream.next_id();
        let entries = stream.range(..).map(|entry| entry.unwrap().1.to_vec()).collect();
        (name, (ids, entries))
    };
    wal.streams().into_iter().map(of).collect()
}

/// The content of what was restored, which takes an append, and is gone afterwards.
pub(crate) fn content_restored(disk: &SimDisk) -> Content {
    let wal = open_at(disk, COPY);
    let content = content(&wal);
    for (name, (ids, _)) in &content {
        assert_eq!(wal.append(name, b"goes on").unwrap(), ids.end, "{name}");
    }
    wal.close().unwrap();
    remove_all(disk, Path::new(COPY));
    content
}

pub(crate) fn remove_all(disk: &SimDisk, dir: &Path) {
    let storage = disk.process();
    for entry in storage.list(dir).unwrap() {
        let path = dir.join(entry.name);
        match entry.kind {
            ironwal::storage::EntryKind::Dir => remove_all(disk, &path),
            _ => storage.remove_file(&path).unwrap(),
        }
    }
    storage.remove_dir(dir).unwrap();
}

/// All entries of a stream from 0 on, from the archive and the log.
pub(crate) fn chained(archive: &Archive, disk: &SimDisk, stream: &str) -> Vec<(u64, Vec<u8>)> {
    let entries = archive.entries_with(&storage(disk), Path::new(ROOT), stream, 0).unwrap();
    entries.map(|entry| entry.unwrap()).map(|(id, entry)| (id, entry.to_vec())).collect()
}

/// The first `count` entries of a stream that were appended by [`append`].
pub(crate) fn appended(stream: &str, count: u64) -> Vec<(u64, Vec<u8>)> {
    (0..count).map(|id| (id, entry(stream, id))).collect()
}
