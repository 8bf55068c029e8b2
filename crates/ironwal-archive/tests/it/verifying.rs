//! Verifying: whatever is wrong with an object is named.

use ironwal::storage::SimDisk;
use ironwal_archive::{Error, Tails};

use crate::faulty::{delete, get, names, put};
use crate::logs::{append, archive_in, archiver, memory, open};

#[test]
fn every_object_that_is_damaged_or_missing_is_named() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 10);
    let store = memory();
    let archive = archive_in(store.clone());
    let mut archiver = archiver(&archive, &disk);
    archiver.push(Tails::Ship).unwrap();
    append(&wal, "orders", 3);
    archiver.push(Tails::Ship).unwrap();
    let report = archive.verify(&mut |_| {}).unwrap();
    assert!(report.is_whole() && report.findings.is_empty(), "{report:?}");
    assert_eq!((report.streams, report.entries, report.segments), (1, 13, 4));
    let newest = names(&store).into_iter().filter(|name| name.contains("/manifests/")).max();
    for name in names(&store) {
        let whole = get(&store, &name);
        let is_manifest = name.contains("/manifests/");
        for missing in [false, true] {
            if missing {
                delete(&store, &name);
            } else {
                let mut rotten = whole.clone();
                rotten[whole.len() / 3] ^= 0x20;
                put(&store, &name, rotten);
            }
            match archive.verify(&mut |_| {}) {
                Err(Error::Damaged { object, .. }) => {
                    assert!(is_manifest && name.ends_with(&object), "{name}: {object}");
                }
                // Without its newest manifest, an archive is as it was before, but for tails.
                Ok(report) if is_manifest && Some(&name) == newest.as_ref() => {
                    assert_eq!(report.manifest, 2);
                }
                // Of the older ones, only that is looked at which the newest one goes on from.
                Ok(report) if is_manifest => {
                    assert_eq!(report.findings.is_empty(), !name.ends_with("2.json"), "{name}");
                }
                Ok(report) => assert!(!report.is_whole(), "{name}, missing: {missing}"),
                Err(error) => panic!("{name}, missing: {missing}: {error:?}"),
            }
        }
        put(&store, &name, whole);
    }
    assert!(archive.verify(&mut |_| {}).unwrap().findings.is_empty());
}

/// Entries were marked as lost in the log before it was pushed: they are lost in the archive, and it is whole.
#[test]
fn what_was_lost_in_the_log_is_told_and_is_no_damage() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    append(&wal, "orders", 3);
    wal.close().unwrap();
    ironwal::inspect::lose_ids(
        &crate::logs::storage(&disk),
        std::path::Path::new(crate::logs::ROOT),
        &[("orders", 6)],
    )
    .unwrap();
    let wal = open(&disk);
    wal.append("orders", b"behind").unwrap();
    let archive = archive_in(memory());
    archiver(&archive, &disk).push(Tails::Ship).unwrap();
    let report = archive.verify(&mut |_| {}).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let ids = report.findings[0].ids.unwrap();
    assert_eq!((ids.from, ids.to), (3, 6));
    let restored = crate::logs::restore(&archive, &disk).unwrap();
    assert_eq!(restored.streams["orders"], 0..7);
    assert_eq!(restored.damaged.len(), 1);
    let read: Vec<_> = archive.entries("orders", 0).unwrap().collect();
    assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), 4, "{read:?}");
}
