//! The process ends at each of its calls, of the store and of the disk: nothing that was acknowledged is lost, the
//! archive stays readable, and a second run finishes the work.

use std::path::Path;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::SimConfig;
use ironwal_archive::{Archive, Archiver, Error, RestoreOptions, Result, Tails};

use crate::faulty::Faulty;
use crate::logs::{
    COPY, ROOT, append, appended, archive_in, archiver, chained, content, content_restored, hasty,
    memory, open, restore, storage,
};

/// Two pushes with everything that there is: full segments, tails, what was cut off, what was deleted.
fn push_twice(archive: &Archive, disk: &SimDisk, acknowledged: &mut u64) -> Result<()> {
    let wal = open(disk);
    let mut archiver = archiver(archive, disk);
    append(&wal, "orders", 6);
    append(&wal, "other", 5);
    archiver.push(Tails::Ship)?;
    *acknowledged = 6;
    wal.stream("other").unwrap().truncate_after(Some(2)).unwrap();
    append(&wal, "orders", 5);
    archiver.push(Tails::Ship)?;
    *acknowledged = 11;
    Ok(())
}

#[test]
fn at_every_call_of_a_push_to_the_store() {
    let mut crashes = 0;
    for done in [false, true] {
        for at in 0.. {
            let (disk, store) = (SimDisk::new(7), memory());
            let crashing = Faulty::crashing(&store, at, done);
            let mut acknowledged = 0;
            let archive = archive_in(crashing.clone());
            let pushed = push_twice(&archive, &disk, &mut acknowledged);
            if !crashing.has_crashed() {
                pushed.unwrap();
                break;
            }
            crashes += 1;
            let what = format!("call {at}, done: {done}");
            let archive = archive_in(store);
            // As it was left: what was acknowledged is there.
            if let Some(manifest) = archive.newest().unwrap().filter(|it| it.root.is_some()) {
                let report = archive.verify(&mut |_| {}).unwrap();
                assert!(report.is_whole(), "{what}: {report:?}");
                let end = manifest.stream("orders").map_or(0, |it| it.ids().end);
                assert!(end >= acknowledged, "{what}: {end} of {acknowledged}");
                restore(&archive, &disk).unwrap();
                content_restored(&disk);
            } else {
                assert_eq!(acknowledged, 0, "{what}");
            }
            // A second run finishes the work.
            let wal = open_again(&disk);
            append(&wal, "orders", 11 - wal.stream("orders").unwrap().next_id());
            archiver(&archive, &disk).push(Tails::Ship).unwrap();
            restore(&archive, &disk).unwrap();
            assert_eq!(content_restored(&disk), content(&wal), "{what}");
            let report = archive.verify(&mut |_| {}).unwrap();
            assert!(report.is_whole(), "{what}: {report:?}");
            // What the first one left of tails goes with the next thing that there is to push.
            append(&wal, "orders", 1);
            archiver(&archive, &disk).push(Tails::Ship).unwrap();
            let tails = crate::faulty::names(&crashing.inner);
            let tails: Vec<_> = tails.iter().filter(|name| name.contains("/tails/")).collect();
            assert_eq!(tails.len(), 2, "{what}: {tails:?}");
        }
    }
    assert!(crashes > 30, "{crashes}");
}

fn open_again(disk: &SimDisk) -> ironwal::Wal {
    disk.kill();
    open(disk)
}

#[test]
fn at_every_call_of_a_restoration_to_the_store() {
    let (disk, store) = (SimDisk::new(7), memory());
    push_twice(&archive_in(store.clone()), &disk, &mut 0).unwrap();
    let wal = open_again(&disk);
    let mut crashes = 0;
    for at in 0.. {
        let crashing = Faulty::crashing(&store, at, true);
        let restored = restore(&archive_in(crashing.clone()), &disk);
        if !crashing.has_crashed() {
            restored.unwrap();
            content_restored(&disk);
            break;
        }
        crashes += 1;
        restored.unwrap_err();
        assert!(storage(&disk).list(Path::new(COPY)).is_err(), "call {at}: it is not there yet");
        // What is whole is not fetched again.
        let all = archive_in(store.clone());
        let again = restore(&all, &disk).unwrap();
        assert!(at < 4 || again.bytes < all.newest().unwrap().unwrap().len(), "call {at}");
        assert_eq!(content_restored(&disk), content(&wal), "call {at}");
    }
    assert!(crashes > 5, "{crashes}");
}

#[test]
fn with_power_lost_at_every_call_of_a_restoration_to_the_disk() {
    let (source, store) = (SimDisk::new(7), memory());
    push_twice(&archive_in(store.clone()), &source, &mut 0).unwrap();
    let wal = open_again(&source);
    let archive = archive_in(store);
    let mut crashes = 0;
    for at in 1.. {
        let config = SimConfig { seed: at, ..SimConfig::default() };
        let disk = SimDisk::with_config(config);
        disk.cut_power_at(at);
        let restored = restore(&archive, &disk);
        if !disk.power_is_off() {
            restored.unwrap();
            break;
        }
        crashes += 1;
        disk.crash();
        let is_there = storage(&disk).list(Path::new(COPY)).is_ok();
        if is_there {
            // The name was the last thing; what has it is whole.
            assert_eq!(content_restored(&disk), content(&wal), "call {at}");
            continue;
        }
        assert!(restored.is_err(), "call {at}: what was acknowledged is gone");
        restore(&archive, &disk).unwrap();
        disk.crash();
        assert_eq!(content_restored(&disk), content(&wal), "call {at}: after another power cut");
    }
    assert!(crashes > 100, "{crashes}");
}

/// A log with all but its newest entries in the archive, and one stream that is not.
fn retained(disk: &SimDisk, archive: &Archive) -> (ironwal::Wal, Archiver) {
    let wal = open(disk);
    append(&wal, "orders", 18);
    let mut archiver = archiver(archive, disk);
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 7);
    append(&wal, "unpushed", 9);
    (wal, archiver)
}

#[test]
fn at_every_call_of_a_retention_to_the_store() {
    for at in 0.. {
        let (disk, store) = (SimDisk::new(9), memory());
        let (wal, _) = retained(&disk, &archive_in(store.clone()));
        let crashing = Faulty::crashing(&store, at, false);
        let ending = Archiver::new(archive_in(crashing.clone()), storage(&disk), ROOT);
        let pruned = ending.prune(&wal, 0);
        let archive = archive_in(store);
        for (stream, count) in [("orders", 25), ("unpushed", 9)] {
            assert_eq!(chained(&archive, &disk, stream), appended(stream, count), "call {at}");
        }
        if !crashing.has_crashed() {
            assert_eq!(pruned.unwrap()[0].first_id, 16);
            assert!(at > 5, "{at}");
            break;
        }
        let wal = open_again(&disk);
        archiver(&archive, &disk).prune(&wal, 0).unwrap();
        assert_eq!(wal.stream("orders").unwrap().first_id(), 16, "call {at}");
        assert_eq!(wal.stream("unpushed").unwrap().first_id(), 0, "call {at}");
        assert_eq!(chained(&archive, &disk, "orders"), appended("orders", 25), "call {at}");
    }
}

#[test]
fn with_power_lost_at_every_call_of_a_retention_to_the_disk() {
    let mut crashes = 0;
    for at in 1.. {
        let config = SimConfig { seed: at, ..SimConfig::default() };
        let (disk, archive) = (SimDisk::with_config(config), archive_in(memory()));
        let (wal, archiver) = retained(&disk, &archive);
        disk.cut_power_at(at);
        let pruned = archiver.prune(&wal, 0).inspect(|_| {
            wal.maintain();
        });
        if !disk.power_is_off() {
            pruned.unwrap();
            break;
        }
        crashes += 1;
        disk.crash();
        let wal = open(&disk);
        for (stream, count) in [("orders", 25), ("unpushed", 9)] {
            assert_eq!(chained(&archive, &disk, stream), appended(stream, count), "call {at}");
        }
        crate::logs::archiver(&archive, &disk).prune(&wal, 0).unwrap();
        assert_eq!(wal.stream("orders").unwrap().first_id(), 16, "call {at}");
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn a_stop_ends_a_push_and_a_restoration_and_the_next_ones_finish() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    let (disk, store) = (SimDisk::new(3), memory());
    let wal = open(&disk);
    append(&wal, "orders", 10);
    let stopped = archive_in(store.clone()).with_stop(Arc::new(AtomicBool::new(true)));
    let error = archiver(&stopped, &disk).push(Tails::Ship).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error:?}");
    let archive = archive_in(store).with_patience(hasty());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let options = RestoreOptions::default();
    let restored = stopped.restore(&storage(&disk), Path::new(COPY), &options, &mut |_| {});
    assert!(matches!(restored, Err(Error::Interrupted)), "{restored:?}");
    restore(&archive, &disk).unwrap();
    assert_eq!(content_restored(&disk), content(&wal));
}
