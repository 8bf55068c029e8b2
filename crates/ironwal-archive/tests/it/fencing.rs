//! Two writers and one archive.

use std::sync::{Arc, Barrier};

use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Tails};

use crate::faulty::{Fate, Faulty, Overwriting, names};
use crate::logs::{append, archive_in, archiver, content, content_restored, memory, open, restore};

#[test]
fn who_begins_last_has_the_archive_and_the_other_is_told_so() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 5);
    let store = memory();
    let archive = archive_in(store.clone());
    let mut first = archiver(&archive, &disk);
    first.push(Tails::Ship).unwrap();
    let mut second = archiver(&archive, &disk);
    append(&wal, "orders", 5);
    second.push(Tails::Ship).unwrap();
    append(&wal, "orders", 5);
    let before = names(&store);
    let error = first.push(Tails::Ship).unwrap_err();
    assert!(matches!(error, Error::Fenced { manifest: 3 }), "{error:?}");
    let needed = archive.newest().unwrap().unwrap();
    // It wrote at most data that nobody needs, and took nothing away.
    let after = names(&store);
    assert!(before.iter().all(|name| after.contains(name)));
    assert!(archive.verify(&mut |_| {}).unwrap().is_whole());
    // It stays so, also when there is nothing to push.
    let again = first.push(Tails::Ship).unwrap_err();
    assert!(matches!(again, Error::Fenced { .. }), "{again:?}");
    second.push(Tails::Ship).unwrap();
    assert_eq!(archive.newest().unwrap().unwrap().epoch, needed.epoch);
    restore(&archive, &disk).unwrap();
    assert_eq!(content_restored(&disk), content(&wal));
}

#[test]
fn of_two_that_race_each_manifest_is_of_one_and_nothing_is_lost() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let wal = open(&disk);
        let store = memory();
        append(&wal, "orders", 3);
        let start = Arc::new(Barrier::new(2));
        let racers: Vec<_> = (0..2)
            .map(|racer| {
                // The store answers some calls late, so that they interleave.
                let mut rng = fastrand::Rng::with_seed(seed * 2 + racer);
                let slow = move |_| if rng.bool() { Fate::Slow } else { Fate::Done };
                let archive = archive_in(Faulty::new(&store, slow));
                let mut archiver = archiver(&archive, &disk);
                let (wal, start) = (wal.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    let mut acknowledged = 0;
                    for _ in 0..4 {
                        let end = wal.append("orders", b"raced").unwrap();
                        match archiver.push(Tails::Ship) {
                            Ok(_) => acknowledged = end + 1,
                            Err(Error::Fenced { .. } | Error::Restless) => break,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let acknowledged = racers.into_iter().map(|racer| racer.join().unwrap()).max().unwrap();
        let archive = archive_in(store.clone());
        let numbers = archive.manifests().unwrap();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "seed {seed}");
        let mut owner = (0, String::new());
        let mut end = 0;
        for number in numbers {
            let manifest = archive.manifest(number).unwrap().unwrap();
            assert!(manifest.epoch >= owner.0, "seed {seed}, manifest {number}");
            if manifest.epoch == owner.0 {
                assert_eq!(manifest.writer, owner.1, "seed {seed}, manifest {number}");
            }
            owner = (manifest.epoch, manifest.writer.clone());
            let reached = manifest.stream("orders").map_or(0, |stream| stream.ids().end);
            assert!(reached >= end, "seed {seed}, manifest {number}: {reached} after {end}");
            end = reached;
        }
        assert!(end >= acknowledged, "seed {seed}: {end} of {acknowledged}");
        assert!(archive.verify(&mut |_| {}).unwrap().is_whole(), "seed {seed}");
    }
}

/// The manifest came to be, and its writer was not told.
#[test]
fn a_manifest_whose_acknowledgement_was_lost_is_recognised() {
    for fate in [Fate::DoneUntold, Fate::DoneUnanswered, Fate::Partial] {
        let disk = SimDisk::new(1);
        let wal = open(&disk);
        append(&wal, "orders", 5);
        let store = memory();
        let calls = {
            let faulty = Faulty::new(&memory(), |_| Fate::Done);
            archiver(&archive_in(faulty.clone()), &disk).push(Tails::Ship).unwrap();
            faulty.calls()
        };
        for at in 0..calls {
            let store = if at == 0 { store.clone() } else { memory() };
            let faulty =
                Faulty::new(&store, move |call| if call == at { fate } else { Fate::Done });
            let pushed = archiver(&archive_in(faulty), &disk).push(Tails::Ship);
            assert!(pushed.is_ok(), "{fate:?} at {at}: {pushed:?}");
            let archive = archive_in(store);
            assert!(archive.verify(&mut |_| {}).unwrap().is_whole(), "{fate:?} at {at}");
            assert_eq!(archive.manifests().unwrap(), [1, 2], "{fate:?} at {at}");
        }
    }
}

#[test]
fn a_store_without_conditional_puts_is_refused() {
    let disk = SimDisk::new(1);
    append(&open(&disk), "orders", 5);
    let store = memory();
    let archive = archive_in(Arc::new(Overwriting(store.clone())));
    let error = archiver(&archive, &disk).push(Tails::Ship).unwrap_err();
    assert!(matches!(error, Error::NoConditionalPut), "{error:?}");
    assert!(names(&store).iter().all(|name| !name.contains("/manifests/")));
}
