//! Pushes, prunings, cuts, deletions and new writers from a seed, with a store that fails, against a model.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use ironwal::Wal;
use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Tails};

use crate::faulty::{Fate, Faulty};
use crate::logs::{
    append, archive_in, archiver, chained, content, content_restored, hasty, memory, open, restore,
};

/// Every entry of each stream, by what was appended, cut off and deleted.
type Model = BTreeMap<String, Vec<Vec<u8>>>;

fn fate(rng: &mut Rng) -> Fate {
    match rng.u32(0..100) {
        0..3 => Fate::Failed,
        3..6 => Fate::DoneUntold,
        6 => Fate::DoneUnanswered,
        7 => Fate::Unanswered,
        8..11 => Fate::Partial,
        11..13 => Fate::Slow,
        _ => Fate::Done,
    }
}

fn change(rng: &mut Rng, wal: &Wal, model: &mut Model) {
    let name = ["orders", "other", "third"][rng.usize(0..3)];
    match rng.u32(0..20) {
        0 => {
            wal.delete_stream(name).unwrap();
            model.remove(name);
        }
        1 => {
            let stream = wal.stream(name).unwrap();
            let (first, next) = (stream.first_id(), stream.next_id());
            if next > first + 1 {
                let last = rng.u64(first..next);
                stream.truncate_after(Some(last)).unwrap();
                model.get_mut(name).unwrap().truncate(last as usize + 1);
            }
        }
        2..5 => {
            let entries: Vec<Vec<u8>> =
                (0..rng.usize(1..9)).map(|_| vec![rng.u8(..); rng.usize(0..300)]).collect();
            let batch: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            wal.append_batch(name, &batch).unwrap();
            model.entry(name.into()).or_default().extend(entries);
        }
        _ => {
            let entry = vec![rng.u8(..); rng.usize(0..50)];
            wal.append(name, &entry).unwrap();
            model.entry(name.into()).or_default().push(entry);
        }
    }
}

fn check(seed: u64, archive: &ironwal_archive::Archive, disk: &SimDisk, wal: &Wal, model: &Model) {
    for (name, entries) in model {
        let found = chained(archive, disk, name);
        let due: Vec<(u64, Vec<u8>)> = (0..).zip(entries.iter().cloned()).collect();
        assert!(found == due, "seed {seed}, {name}: {} of {}", found.len(), due.len());
    }
    restore(archive, disk).unwrap();
    let restored = content_restored(disk);
    let names: Vec<&String> = restored.keys().collect();
    assert_eq!(names, model.keys().collect::<Vec<_>>(), "seed {seed}");
    for (name, entries) in model {
        assert!(restored[name].1 == *entries, "seed {seed}, {name}");
    }
    assert_eq!(content(wal).len(), model.len(), "seed {seed}");
    let report = archive.verify(&mut |_| {}).unwrap();
    assert!(report.is_whole(), "seed {seed}: {report:?}");
}

#[test]
fn the_archive_and_the_log_together_hold_what_the_model_does() {
    let seeds = std::env::var("IRONWAL_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(20);
    for seed in 0..seeds {
        let mut rng = Rng::with_seed(seed);
        let (disk, store) = (SimDisk::new(seed), memory());
        let wal = open(&disk);
        let mut model = Model::new();
        let mut fates = Rng::with_seed(!seed);
        let mut hasty = hasty();
        hasty.timeout = Duration::from_millis(25);
        let failing = archive_in(Faulty::new(&store, move |_| fate(&mut fates)));
        let failing = failing.with_patience(hasty);
        let mut shipping = archiver(&failing, &disk);
        append(&wal, "orders", 1);
        model.insert("orders".into(), vec![crate::logs::entry("orders", 0)]);
        for _ in 0..12 {
            for _ in 0..rng.usize(0..12) {
                change(&mut rng, &wal, &mut model);
            }
            let tails = if rng.bool() { Tails::Ship } else { Tails::Leave };
            match shipping.push(tails) {
                Ok(_) => {}
                Err(Error::Store { .. }) => shipping = archiver(&failing, &disk),
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
            match rng.u32(0..4) {
                0 => match shipping.prune(&wal, 0) {
                    Ok(_) | Err(Error::Store { .. } | Error::NoArchive) => {}
                    Err(error) => panic!("seed {seed}: {error:?}"),
                },
                1 => shipping = archiver(&failing, &disk),
                _ => {}
            }
        }
        let archive = archive_in(store);
        archiver(&archive, &disk).push(Tails::Ship).unwrap();
        check(seed, &archive, &disk, &wal, &model);
    }
}
