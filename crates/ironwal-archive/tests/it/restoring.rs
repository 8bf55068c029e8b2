//! Restoring: some streams, up to an entry, up to a checkpoint.

use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal_archive::{Error, RestoreOptions, Tails, Until};

use crate::faulty::{delete, names, put};
use crate::logs::{
    COPY, append, archive_in, archiver, content, content_restored, memory, open, open_at, restore,
    restore_with, sharded, storage,
};

fn until(until: Until) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.until = until;
    options
}

fn streams(names: &[&str]) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.streams = names.iter().map(|name| (*name).to_string()).collect();
    options
}

#[test]
fn one_stream_also_one_that_was_deleted() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 9);
    append(&wal, "gone", 6);
    let all = content(&wal);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    wal.delete_stream("gone").unwrap();
    archiver.push(Tails::Ship).unwrap();
    for name in ["orders", "gone"] {
        restore_with(&archive, &disk, &streams(&[name])).unwrap();
        let restored = content_restored(&disk);
        assert_eq!(restored.len(), 1);
        assert_eq!(restored[name], all[name]);
    }
    let error = restore_with(&archive, &disk, &streams(&["nobody's"])).unwrap_err();
    assert!(matches!(error, Error::NoStream(_)), "{error:?}");
}

#[test]
fn up_to_any_entry() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 11);
    append(&wal, "other", 5);
    let archive = archive_in(memory());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let all = content(&wal);
    for id in 0..11 {
        let ends = [("orders".to_string(), id)].into_iter().collect();
        let restored = restore_with(&archive, &disk, &until(Until::Entries(ends))).unwrap();
        assert_eq!(restored.streams["orders"], 0..id + 1);
        let found = content_restored(&disk);
        assert_eq!(found["other"], all["other"]);
        assert_eq!(found["orders"].1, all["orders"].1[..=id as usize]);
    }
    let ends = [("orders".to_string(), 11)].into_iter().collect();
    let error = restore_with(&archive, &disk, &until(Until::Entries(ends))).unwrap_err();
    assert!(matches!(error, Error::NoEntry { id: 11, .. }), "{error:?}");
}

#[test]
fn up_to_any_checkpoint() {
    let disk = SimDisk::new(1);
    let wal = sharded(&disk, 3);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    let mut checkpoints = Vec::new();
    for round in 0..4_u8 {
        for key in 0..7 * round {
            wal.append(&[key], &[round, key]).unwrap();
        }
        wal.create_checkpoint(&[round]).unwrap();
        checkpoints.push(wal.load_checkpoint(&[round]).unwrap());
        if round == 2 {
            archiver.push(Tails::Ship).unwrap();
        }
    }
    wal.append(b"later", b"later").unwrap();
    archiver.push(Tails::Ship).unwrap();
    for (round, checkpoint) in (0..4_u8).zip(&checkpoints) {
        let options = until(Until::Checkpoint(vec![round]));
        restore_with(&archive, &disk, &options).unwrap();
        let copy = ShardedWal::over(open_at(&disk, COPY), 3).unwrap();
        let ends: Vec<u64> = (0..3).map(|shard| copy.shard(shard).unwrap().next_id()).collect();
        assert_eq!(ends, checkpoint.offsets, "checkpoint {round}");
        let known: Vec<Vec<u8>> = copy.list_checkpoints().into_iter().map(|(id, _)| id).collect();
        assert_eq!(known, (0..=round).map(|id| vec![id]).collect::<Vec<_>>());
        assert_eq!(copy.load_checkpoint(&[round]).unwrap(), *checkpoint);
        copy.append(b"goes on", b"goes on").unwrap();
        copy.close().unwrap();
        crate::logs::remove_all(&disk, Path::new(COPY));
    }
    let options = until(Until::Checkpoint(b"nobody's".to_vec()));
    let error = restore_with(&archive, &disk, &options).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint(_)), "{error:?}");
    // Whole, it has all checkpoints.
    restore(&archive, &disk).unwrap();
    let copy = ShardedWal::over(open_at(&disk, COPY), 3).unwrap();
    assert_eq!(copy.checkpoint_count(), 4);
}

#[test]
fn behind_the_gaps_if_that_is_wanted() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 6);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 14);
    wal.truncate("orders", 12).unwrap();
    archiver.push(Tails::Ship).unwrap();
    let mut options = RestoreOptions::default();
    options.after_gaps = true;
    let restored = restore_with(&archive, &disk, &options).unwrap();
    assert_eq!(restored.streams["orders"], 12..20);
    assert_eq!((restored.gaps[0].1.from, restored.gaps[0].1.to), (6, 12));
    assert_eq!(content_restored(&disk), content(&wal));
}

#[test]
fn a_restored_log_is_pushed_on_to_the_same_archive() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 10);
    let store = memory();
    let archive = archive_in(store.clone());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    wal.close().unwrap();
    restore(&archive, &disk).unwrap();
    let copy = open_at(&disk, COPY);
    append(&copy, "orders", 10);
    let data = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| name.contains("/data/")).collect()
    };
    let before = data(names(&store));
    let mut archiver = ironwal_archive::Archiver::new(archive.clone(), storage(&disk), COPY);
    archiver.push(Tails::Ship).unwrap();
    let manifest = archive.newest().unwrap().unwrap();
    let stream = manifest.stream("orders").unwrap();
    assert_eq!((stream.ids(), stream.replaced.len()), (0..20, 0));
    assert_eq!(before[..], data(names(&store))[..before.len()]);
}

#[test]
fn a_place_that_is_taken_is_refused() {
    let disk = SimDisk::new(1);
    append(&open(&disk), "orders", 3);
    let archive = archive_in(memory());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    restore(&archive, &disk).unwrap();
    let error = restore(&archive, &disk).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    let nothing = archive_in(memory());
    let error = nothing
        .restore(&storage(&disk), Path::new("/elsewhere"), &RestoreOptions::default(), &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, Error::NoArchive), "{error:?}");
}

#[test]
fn an_object_that_is_not_what_it_was_is_never_restored() {
    let disk = SimDisk::new(1);
    append(&open(&disk), "orders", 10);
    let store = memory();
    let archive = archive_in(store.clone());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let is_content = |name: &String| !name.contains("manifest") && !name.ends_with(".json");
    for name in names(&store).into_iter().filter(is_content) {
        let whole = crate::faulty::get(&store, &name);
        let mut rotten = whole.clone();
        rotten[whole.len() / 2] ^= 1;
        put(&store, &name, rotten);
        let error = restore(&archive, &disk).unwrap_err();
        assert!(matches!(&error, Error::Damaged { object, .. } if name.ends_with(object)));
        delete(&store, &name);
        let error = restore(&archive, &disk).unwrap_err();
        assert!(matches!(&error, Error::Missing { object } if name.ends_with(object)), "{error:?}");
        put(&store, &name, whole);
    }
    restore(&archive, &disk).unwrap();
}
