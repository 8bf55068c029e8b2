//! Retention in the log: only what is safely in the archive is freed.

use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Tails};

use crate::faulty::{delete, names, put};
use crate::logs::{append, appended, archive_in, archiver, chained, memory, open};

#[test]
fn what_was_not_pushed_stays() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 20);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    let error = archiver.prune(&wal, 0).unwrap_err();
    assert!(matches!(error, Error::NoArchive), "{error:?}");
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 20);
    let pruned = archiver.prune(&wal, 0).unwrap();
    // The segment from 16 on was full when it was pushed, or it was not: it is the newest one then.
    assert_eq!(pruned[0].first_id, 16);
    assert_eq!(chained(&archive, &disk, "orders"), appended("orders", 40));
    archiver.push(Tails::Leave).unwrap();
    archiver.prune(&wal, 0).unwrap();
    assert_eq!(wal.stream("orders").unwrap().first_id(), 36);
    assert_eq!(chained(&archive, &disk, "orders"), appended("orders", 40));
}

#[test]
fn as_much_is_kept_as_is_wanted() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 20);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    assert_eq!(archiver.prune(&wal, u64::MAX).unwrap(), []);
    assert_eq!(archiver.prune_stream(&wal, "orders", 7).unwrap(), 1);
    assert_eq!(wal.stream("orders").unwrap().first_id(), 4);
    assert_eq!(archiver.prune_stream(&wal, "nobody's", 7).unwrap(), 0);
}

/// The manifest speaks of objects that are not there, or not whole.
#[test]
fn nothing_is_freed_that_the_store_does_not_have() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 20);
    let store = memory();
    let archive = archive_in(store.clone());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    let data: Vec<String> =
        names(&store).into_iter().filter(|name| name.contains("/data/")).collect();
    delete(&store, &data[1]);
    let error = archiver.prune(&wal, 0).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    put(&store, &data[1], b"half".to_vec());
    let error = archiver.prune(&wal, 0).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert_eq!(wal.stream("orders").unwrap().first_id(), 0);
}

/// A stream that was deleted and begun again has the name and the ids of one that is in the archive.
#[test]
fn nothing_is_freed_that_another_stream_of_the_name_had() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 20);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    wal.delete_stream("orders").unwrap();
    append(&wal, "orders", 20);
    assert_eq!(archiver.prune(&wal, 0).unwrap(), []);
}

/// Entries were cut off after they were pushed, and others have their ids.
#[test]
fn nothing_is_freed_that_was_replaced_since_it_was_pushed() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 20);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    wal.stream("orders").unwrap().truncate_after(Some(5)).unwrap();
    for _ in 6..20 {
        wal.append("orders", b"others").unwrap();
    }
    archiver.prune(&wal, 0).unwrap();
    assert_eq!(wal.stream("orders").unwrap().first_id(), 4);
}
