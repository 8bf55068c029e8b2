//! Entries from the archive, and then from the log.

use std::path::Path;

use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Tails};

use crate::faulty::{delete, names};
use crate::logs::{
    ROOT, append, appended, archive_in, archiver, chained, entry, memory, open, storage,
};

#[test]
fn every_entry_is_read_from_any_id_on() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    let archive = archive_in(memory());
    append(&wal, "orders", 3);
    // Without an archive, it is what the log has.
    assert_eq!(chained(&archive, &disk, "orders"), appended("orders", 3));
    append(&wal, "orders", 15);
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    archiver.prune(&wal, 0).unwrap();
    append(&wal, "orders", 3);
    for from in 0..22 {
        let entries = archive.entries_with(&storage(&disk), Path::new(ROOT), "orders", from);
        let ids: Vec<u64> = entries.unwrap().map(|entry| entry.unwrap().0).collect();
        assert_eq!(ids, (from..21).collect::<Vec<_>>(), "from {from}");
    }
    let pushed: Vec<_> = archive.entries("orders", 5).unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(pushed.len(), 13);
    assert!(pushed.iter().all(|(id, found)| *found == entry("orders", *id)));
    let error = archive.entries("nobody's", 0).unwrap_err();
    assert!(matches!(error, Error::NoStream(_)), "{error:?}");
}

#[test]
fn what_was_pruned_before_it_was_pushed_is_named_once_and_passed_over() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 10);
    wal.truncate("orders", 8).unwrap();
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 10);
    wal.truncate("orders", 16).unwrap();
    append(&wal, "orders", 1);
    let read = |found: ironwal_archive::Result<(u64, bytes::Bytes)>| match found {
        Ok((id, _)) => format!("{id}"),
        Err(Error::Gap { ids, .. }) => format!("{ids:?}"),
        Err(error) => panic!("{error:?}"),
    };
    let local = archive.entries_with(&storage(&disk), Path::new(ROOT), "orders", 2).unwrap();
    let found: Vec<String> = local.map(read).collect();
    assert_eq!(found, ["2..8", "8", "9", "10..16", "16", "17", "18", "19", "20"]);
    archiver.push(Tails::Ship).unwrap();
    let found: Vec<String> = archive.entries("orders", 0).unwrap().map(read).collect();
    assert_eq!(found, ["0..8", "8", "9", "10..16", "16", "17", "18", "19", "20"]);
}

/// The reader has a position in the log, and the log is pushed and pruned behind its back.
#[test]
fn what_is_pruned_while_it_is_read_comes_from_the_archive() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 30);
    let archive = archive_in(memory());
    let mut entries = archive.entries_with(&storage(&disk), Path::new(ROOT), "orders", 0).unwrap();
    for id in 0..3 {
        assert_eq!(entries.next().unwrap().unwrap().0, id);
    }
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    archiver.prune(&wal, 0).unwrap();
    wal.maintain();
    let rest: Vec<u64> = entries.map(|entry| entry.unwrap().0).collect();
    assert_eq!(rest, (3..30).collect::<Vec<_>>());
}

#[test]
fn a_missing_object_is_an_error_and_not_the_end() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 10);
    let store = memory();
    let archive = archive_in(store.clone());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let first = names(&store).into_iter().find(|name| name.contains("/data/")).unwrap();
    delete(&store, &first);
    let mut entries = archive.entries("orders", 0).unwrap();
    let error = entries.next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(entries.next().is_none());
}
