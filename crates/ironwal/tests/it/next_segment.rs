//! The file of the next segment is made ahead, off the append path. Nothing depends on that it is there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{Error, SyncMode, Wal, WalOptions};

use crate::hooked::Hooked;
use crate::model::{open, open_on};

const MODES: [SyncMode; 2] = [SyncMode::Strict, SyncMode::Async];
const NEXT: &str = "/log/s/.next.tmp";

fn options(mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode: mode, max_segment_size: 60 * 1024, ..WalOptions::new("/log") }
}

fn entry(id: u64) -> Vec<u8> {
    vec![id as u8; 1000]
}

fn append(wal: &Wal, id: u64) {
    assert_eq!(wal.append("s", &entry(id)).unwrap(), id);
}

fn is_made(disk: &SimDisk) -> bool {
    disk.files().contains(&PathBuf::from(NEXT))
}

fn segments(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|path| path.extension().is_some_and(|it| it == "wal")).count()
}

fn check(wal: &Wal, count: u64) {
    let entries: Vec<Vec<u8>> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries, (0..count).map(entry).collect::<Vec<_>>());
}

/// Appends from entry `count` on until something holds; returns how many entries there are then.
fn append_until(wal: &Wal, mut count: u64, holds: impl Fn() -> bool) -> u64 {
    while !holds() {
        append(wal, count);
        count += 1;
    }
    count
}

/// A log whose next segment was made, and how many entries are in it.
fn with_next(disk: &SimDisk, mode: SyncMode) -> (Wal, u64) {
    let wal = open(disk, &options(mode)).unwrap();
    let count = append_until(&wal, 0, || {
        wal.maintain();
        is_made(disk)
    });
    assert_eq!(segments(disk), 1);
    (wal, count)
}

/// A log whose next segment is about to be made.
fn before_next(disk: &SimDisk, mode: SyncMode) -> (Wal, u64) {
    let (_, count) = with_next(&SimDisk::new(1), mode);
    let wal = open(disk, &options(mode)).unwrap();
    (0..count).for_each(|id| append(&wal, id));
    assert!(!is_made(disk));
    (wal, count)
}

#[test]
fn a_rotation_uses_what_was_made_ahead() {
    for mode in MODES {
        let disk = SimDisk::new(3);
        let (wal, count) = with_next(&disk, mode);
        let made = disk.contents(Path::new(NEXT)).unwrap();
        assert!(made.len() > 8192 && made.iter().all(|byte| *byte == 0));
        let calls = || [CallKind::Create, CallKind::Reserve].map(|kind| disk.calls(kind));
        // The room for the seal is not what this is about.
        append_until(&wal, count, || segments(&disk) == 2);
        let other = SimDisk::new(3);
        let (plain, count) = before_next(&other, mode);
        let before = [CallKind::Create, CallKind::Reserve].map(|kind| other.calls(kind));
        append_until(&plain, count, || segments(&other) == 2);
        let without = [CallKind::Create, CallKind::Reserve].map(|kind| other.calls(kind));
        assert_eq!(without[0] - before[0], 1, "the file is made by whoever needs it");
        assert_eq!(calls(), without, "the same calls, but before");
        assert!(!is_made(&disk));
        let count = append_until(&wal, wal.stream("s").unwrap().next_id(), || segments(&disk) == 3);
        check(&wal, count);
        wal.close().unwrap();
        check(&open(&disk, &options(mode)).unwrap(), count);
    }
}

/// Whatever fails of it, appends go on, and nothing is left behind by the time of the next rotation.
#[test]
fn an_error_is_nothing_to_the_appends() {
    let kinds = [CallKind::Create, CallKind::Reserve, CallKind::Write, CallKind::Sync];
    for (mode, kind) in MODES.into_iter().flat_map(|mode| kinds.map(|kind| (mode, kind))) {
        for error in [ErrorKind::Other, ErrorKind::StorageFull] {
            let disk = SimDisk::new(4);
            let (wal, count) = before_next(&disk, mode);
            disk.fail_nth(kind, 1, error);
            wal.maintain();
            disk.clear_faults();
            assert!(!is_made(&disk), "{kind:?}");
            let count = append_until(&wal, count, || segments(&disk) == 2);
            check(&wal, count);
        }
    }
}

/// The power goes at every call of making it and of using it.
#[test]
fn a_crash_loses_nothing() {
    for (mode, n) in MODES.into_iter().flat_map(|mode| (0..60).map(move |n| (mode, n))) {
        let disk = SimDisk::with_config(SimConfig { seed: n, ..Default::default() });
        let (wal, mut count) = before_next(&disk, mode);
        wal.sync_all().unwrap();
        let synced = count;
        disk.cut_power_at(n);
        wal.maintain();
        while count < synced + 30 && wal.append("s", &entry(count)).is_ok() {
            count += 1;
        }
        drop(wal);
        disk.crash();
        let wal = open(&disk, &options(mode)).unwrap();
        assert!(!is_made(&disk), "the opening clears it away");
        let found = wal.stream("s").unwrap().next_id();
        let least = if mode == SyncMode::Strict { count } else { synced };
        assert!((least..=count + 1).contains(&found), "{found} of {least} to {count}");
        check(&wal, found);
        let found = append_until(&wal, found, || segments(&disk) == 3);
        check(&wal, found);
    }
}

#[test]
fn on_a_full_disk_its_space_is_given_to_the_segment_before_it() {
    for mode in MODES {
        let disk = SimDisk::new(5);
        let (wal, count) = with_next(&disk, mode);
        let full = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(full));
        let count = append_until(&wal, count, || !is_made(&disk));
        check(&wal, count);
        assert!(matches!(
            (0..100).find_map(|_| wal.append("s", &entry(0)).err()),
            Some(Error::StorageFull { .. })
        ));
    }
}

#[test]
fn it_is_in_nobodys_way() {
    for mode in MODES {
        let disk = SimDisk::new(6);
        let (wal, count) = with_next(&disk, mode);
        // A cut uses the same name.
        wal.stream("s").unwrap().truncate_after(Some(count / 2)).unwrap();
        assert!(!is_made(&disk));
        let count = append_until(&wal, count / 2 + 1, || {
            wal.maintain();
            is_made(&disk)
        });
        check(&wal, count);
        // The directory of a stream that is deleted is another one's soon.
        wal.delete_stream("s").unwrap();
        assert!(!is_made(&disk));
        append_until(&wal, 0, || {
            wal.maintain();
            is_made(&disk)
        });
        wal.close().unwrap();
        assert!(!is_made(&disk));
    }
}

/// Maintenance comes in the middle of a rotation, and of a cut, which use the same name.
#[test]
fn nobody_else_uses_the_name_meanwhile() {
    for mode in MODES {
        let (_, count) = with_next(&SimDisk::new(1), mode);
        let disk = SimDisk::new(7);
        let (log, intrusions) = (Arc::new(OnceLock::<Wal>::new()), Arc::new(AtomicU32::new(0)));
        let storage = {
            let (log, disk, intrusions) =
                (Arc::downgrade(&log), disk.clone(), Arc::clone(&intrusions));
            Hooked::new(&disk.process()).before_sync(move || {
                if is_made(&disk)
                    && let Some(log) = log.upgrade()
                    && let Some(wal) = log.get()
                {
                    wal.maintain();
                    intrusions.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let wal = log.get_or_init(|| open_on(Arc::new(storage), &options(mode)).unwrap());
        (0..count).for_each(|id| append(wal, id));
        let rotated = append_until(wal, count, || segments(&disk) == 2);
        // Both segments were made.
        assert_eq!(intrusions.load(Ordering::Relaxed), 2, "{mode:?}");
        check(wal, rotated);
        let count = append_until(wal, rotated, || wal.stream("s").unwrap().next_id() > 100);
        wal.stream("s").unwrap().truncate_after(Some(count - 3)).unwrap();
        assert!(intrusions.load(Ordering::Relaxed) > 2, "{mode:?}");
        check(wal, count - 2);
        wal.close().unwrap();
        check(&open(&disk, &options(mode)).unwrap(), count - 2);
    }
}

/// The directory of a stream that was begun and is empty is made again, for its name may not be durable. What is
/// left in it and cannot be removed keeps it from that.
#[test]
fn what_cannot_be_removed_keeps_a_stream_from_beginning() {
    let disk = SimDisk::new(1);
    let options = WalOptions::new("/log");
    open(&disk, &options).unwrap().close().unwrap();
    disk.replace(Path::new("/log/new/.next.tmp"), b"").unwrap();
    let wal = open(&disk, &options).unwrap();
    // The first one is of a file in the root.
    disk.fail_nth(CallKind::RemoveFile, 2, ErrorKind::Other);
    let refused = wal.append("new", b"entry");
    assert!(
        matches!(&refused, Err(Error::Io(error)) if error.kind() == ErrorKind::Other),
        "{refused:?}"
    );
    disk.clear_faults();
    assert_eq!(wal.append("new", b"entry").unwrap(), 0);
}
