//! What a push takes, and what it does not take twice.

use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Rhythm, Tails};

use crate::faulty::{Fate, Faulty, names};
use crate::logs::{
    append, appended, archive_in, archiver, chained, content, content_restored, memory, open,
    restore, sharded,
};

#[test]
fn what_was_pushed_is_restored_and_goes_on() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 11);
    append(&wal, "a name: with/slashes", 2);
    let archive = archive_in(memory());
    let pushed = archiver(&archive, &disk).push(Tails::Ship).unwrap();
    assert!(pushed.manifest.is_some() && pushed.bytes > 0, "{pushed:?}");
    let restored = restore(&archive, &disk).unwrap();
    assert_eq!(restored.streams["orders"], 0..11);
    assert_eq!(content_restored(&disk), content(&wal));
    assert!(archive.verify(&mut |_| {}).unwrap().is_whole());
}

#[test]
fn nothing_new_is_no_manifest_and_no_object() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 11);
    let store = memory();
    let archive = archive_in(store.clone());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    let before = names(&store);
    let again = archiver.push(Tails::Ship).unwrap();
    assert_eq!((again.manifest, again.objects), (None, 0));
    let other = crate::logs::archiver(&archive, &disk).push(Tails::Ship).unwrap();
    assert_eq!((other.manifest, other.objects), (None, 0));
    assert_eq!(names(&store), before);
}

#[test]
fn segments_in_the_archive_are_not_written_again_and_tails_are_cleared_away() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    let store = memory();
    let archive = archive_in(store.clone());
    let mut archiver = archiver(&archive, &disk);
    let tails = |names: &[String]| names.iter().filter(|name| name.contains("/tails/")).count();
    for round in 1..6 {
        append(&wal, "orders", 6);
        let before = names(&store);
        archiver.push(Tails::Ship).unwrap();
        let after = names(&store);
        let is_data = |name: &&String| name.contains("/data/");
        assert!(before.iter().filter(is_data).all(|name| after.contains(name)), "round {round}");
        assert!(tails(&after) <= 1, "round {round}: {after:?}");
    }
    assert_eq!(chained(&archive, &disk, "orders"), appended("orders", 30));
}

#[test]
fn without_tails_only_full_segments_go() {
    let disk = SimDisk::new(1);
    let wal = sharded(&disk, 2);
    for key in 0..20_u8 {
        wal.append(&[key], b"value").unwrap();
    }
    wal.create_checkpoint(b"one").unwrap();
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Leave).unwrap();
    let manifest = archive.newest().unwrap().unwrap();
    assert!(!manifest.is_instant);
    assert!(manifest.streams.iter().flat_map(|it| &it.segments).all(|it| it.is_full));
    // They speak of entries that are not there.
    assert!(manifest.stream(".checkpoints").is_none());
    restore(&archive, &disk).unwrap();
    content_restored(&disk);

    archiver.push(Tails::Ship).unwrap();
    let all = archive.newest().unwrap().unwrap();
    assert!(all.is_instant && all.stream(".checkpoints").is_some());
    // A push without tails keeps those that there are.
    for key in 0..9_u8 {
        wal.append(&[key], b"value").unwrap();
    }
    archiver.push(Tails::Leave).unwrap();
    let later = archive.newest().unwrap().unwrap();
    for (stream, later) in all.streams.iter().zip(&later.streams) {
        assert!(later.ids().end >= stream.ids().end, "{later:?}");
    }
    restore(&archive, &disk).unwrap();
    content_restored(&disk);
}

#[test]
fn a_deleted_stream_stays_in_the_archive_apart_from_the_next_of_its_name() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 9);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    wal.delete_stream("orders").unwrap();
    archiver.push(Tails::Ship).unwrap();
    let gone = archive.newest().unwrap().unwrap();
    assert!(gone.streams[0].is_deleted && gone.streams[0].ids() == (0..9));
    wal.append("orders", b"another life").unwrap();
    archiver.push(Tails::Ship).unwrap();
    let both = archive.newest().unwrap().unwrap();
    assert_eq!(both.streams.len(), 2);
    assert_eq!(both.stream("orders").unwrap().ids(), 0..1);
    restore(&archive, &disk).unwrap();
    assert_eq!(content_restored(&disk), content(&wal));
}

#[test]
fn what_was_cut_off_is_replaced_and_told() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 11);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    wal.stream("orders").unwrap().truncate_after(Some(5)).unwrap();
    append(&wal, "orders", 1);
    archiver.push(Tails::Ship).unwrap();
    let manifest = archive.newest().unwrap().unwrap();
    let replaced = &manifest.stream("orders").unwrap().replaced;
    assert!(replaced.iter().any(|it| it.ids.from <= 6 && it.ids.to > 6), "{replaced:?}");
    restore(&archive, &disk).unwrap();
    assert_eq!(content_restored(&disk), content(&wal));
}

/// The log was pruned by somebody who did not wait for the archive.
#[test]
fn what_was_pruned_before_it_was_pushed_is_a_gap_and_told() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 6);
    let archive = archive_in(memory());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 14);
    wal.truncate("orders", 12).unwrap();
    let pushed = archiver.push(Tails::Ship).unwrap();
    let [(stream, gap)] = &pushed.gaps[..] else { panic!("{pushed:?}") };
    assert_eq!((&**stream, gap.from, gap.to), ("orders", 6, 12));
    let again = {
        append(&wal, "orders", 1);
        archiver.push(Tails::Ship).unwrap()
    };
    assert!(again.gaps.is_empty(), "{again:?}");
    assert!(archive.verify(&mut |_| {}).unwrap().is_whole());
    let error = restore(&archive, &disk).unwrap_err();
    assert!(matches!(&error, Error::Gap { ids, .. } if *ids == (6..12)), "{error:?}");
}

#[test]
fn another_log_is_refused() {
    let (disk, other) = (SimDisk::new(1), SimDisk::new(2));
    append(&open(&disk), "orders", 1);
    append(&open(&other), "orders", 1);
    let archive = archive_in(memory());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let error = archiver(&archive, &other).push(Tails::Ship).unwrap_err();
    assert!(matches!(error, Error::OtherLog { .. }), "{error:?}");
    assert_eq!(archive.newest().unwrap().unwrap().number, 2);
}

#[test]
fn running_ships_until_it_is_stopped_and_outlives_failures_of_the_store() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    let disk = SimDisk::new(1);
    let wal = open(&disk);
    let store = memory();
    // Each of the first calls fails as often as it is tried.
    let faulty = Faulty::new(&store, |call| if call < 20 { Fate::Failed } else { Fate::Done });
    let archive = archive_in(faulty);
    let mut archiver = archiver(&archive, &disk);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (told, events) = std::sync::mpsc::channel();
    append(&wal, "orders", 3);
    let running = std::thread::spawn(move || {
        let rhythm = Rhythm::all_every(Duration::from_millis(1));
        archiver.run(rhythm, &stopped, &mut |event| told.send(format!("{event:?}")).unwrap())
    });
    assert!(events.recv().unwrap().starts_with("Failed"));
    while !events.recv().unwrap().starts_with("Pushed") {}
    append(&wal, "orders", 7);
    stop.store(true, Ordering::Relaxed);
    running.join().unwrap().unwrap();
    // What was committed before it was stopped is there.
    assert_eq!(archive.newest().unwrap().unwrap().stream("orders").unwrap().ids(), 0..10);
}
