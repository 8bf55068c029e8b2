//! Regression tests. Each begins with the bug's story.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ironwal::storage::sim::CallKind;
use ironwal::storage::{SimDisk, Storage};
use ironwal::{Error, Journal, SyncMode, Wal, WalOptions};

use super::freeing::in_time;
use super::{append_together, disk, entries, environment, journal, open, options, turn_over};

/// A stream that was cut was poisoned later, while a full file of the journal waited to be freed that
/// held records from before the cut. They were copied forward, behind the void: after a crash they were
/// written into the segment, and the entries that had been cut off were there again.
#[test]
fn entries_that_were_cut_off_do_not_come_back_with_copies_of_their_records() {
    let mut tried = 0;
    for nth in 1..8 {
        let disk = disk(nth);
        let wal = open(&disk, &options(SyncMode::Strict));
        for stream in ["x", "y", "z"] {
            wal.append(stream, b"first").unwrap();
        }
        wal.append("x", b"second, which is cut off").unwrap();
        wal.append("x", b"third, which is cut off").unwrap();
        // The journal goes on in its other file, and then the batch fails, so nobody frees the full one.
        disk.fail_nth(CallKind::Sync, nth, ErrorKind::Other);
        let batch = append_together(&wal, &[("y", &[1; 5000]), ("z", b"second")]);
        disk.clear_faults();
        let x = wal.stream("x").unwrap();
        if batch.is_ok()
            || disk.contents(&journal(1)).is_err()
            || x.truncate_after(Some(0)).is_err()
        {
            continue;
        }
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        if x.append(&[9; 5000]).is_ok() {
            continue;
        }
        disk.clear_faults();
        if wal.append("w", b"the full file is freed").is_err() {
            continue;
        }
        tried += 1;
        disk.crash();
        drop((x, wal));
        let wal = open(&disk, &options(SyncMode::Strict));
        let found = entries(&wal, "x");
        assert_eq!(found[0], b"first");
        assert!(found[1..].iter().all(|entry| entry == &[9; 5000]), "{nth}: {found:?}");
        assert_eq!(entries(&wal, "w").len(), 1);
    }
    assert!(tried > 0, "no sync failed where it should");
}

/// A void was copied forward with the records of a poisoned stream, and behind it stood newer ones of
/// that stream, in the file that it was copied to: they were void too.
#[test]
fn a_void_is_not_copied_behind_newer_records() {
    let mut poisoned = 0;
    for (seed, nth) in (0..10).flat_map(|seed| (1..8).map(move |nth| (seed, nth))) {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        let x = wal.stream("x").unwrap();
        x.append(b"first").unwrap();
        x.append(b"cut off").unwrap();
        x.truncate_after(Some(0)).unwrap();
        let mut acknowledged = vec![b"first".to_vec()];
        // The other file is begun, and this one freed, by one of these.
        disk.configure(|config| config.trace = true);
        while disk.contents(&journal(1)).is_err() {
            let entry = vec![acknowledged.len() as u8; 300];
            disk.clear_faults();
            disk.fail_nth(CallKind::Sync, 1 + nth, ErrorKind::Other);
            if x.append(&entry).is_err() {
                break;
            }
            acknowledged.push(entry);
        }
        disk.clear_faults();
        poisoned += u32::from(x.append(b"refused").is_err());
        let _ = wal.append("y", b"0");
        disk.crash();
        drop((x, wal));
        let wal = open(&disk, &options(SyncMode::Strict));
        let found = entries(&wal, "x");
        let is_there = found.starts_with(&acknowledged);
        assert!(is_there, "seed {seed}, {nth}: {} of {}", found.len(), acknowledged.len());
    }
    assert!(poisoned > 5, "{poisoned}");
}

fn with_archive() -> WalOptions {
    WalOptions { archive_path: Some(PathBuf::from("/archive")), ..options(SyncMode::Strict) }
}

/// A stream with two entries in the archive and one in its segment, with its records in the journal.
fn archived(disk: &SimDisk) -> Wal {
    let wal = open(disk, &with_archive());
    let x = wal.stream("x").unwrap();
    x.append(b"0").unwrap();
    x.append(b"1").unwrap();
    x.rotate().unwrap();
    x.append(b"2, not archived").unwrap();
    assert_eq!(x.truncate_before(2).unwrap(), 1);
    wal
}

/// A stream was deleted and restored, which gives it the number that it had. The journal knew the
/// number already, as that of the stream which was gone: so the new one was not asked to make durable
/// what a full file held of it, and its acknowledged entries went with the file.
#[test]
fn a_restored_stream_is_settled_before_the_journal_is_freed() {
    for seed in 0..20 {
        let disk = disk(seed);
        let wal = archived(&disk);
        wal.delete_stream("x").unwrap();
        assert_eq!(wal.restore_archived("x").unwrap(), 1);
        assert_eq!(wal.append("x", b"acknowledged").unwrap(), 2);
        turn_over(&disk, &wal, 3);
        disk.crash();
        drop(wal);
        let wal = open(&disk, &with_archive());
        assert_eq!(entries(&wal, "x"), [&b"0"[..], b"1", b"acknowledged"], "seed {seed}");
    }
}

/// The directory of a deleted stream could not be removed, and the stream was restored. Recovery took
/// the directory for a sign that no record of that number counts, and dropped what had been
/// acknowledged to the restored one.
#[test]
fn what_is_left_of_a_deleted_stream_does_not_hide_the_records_of_the_restored_one() {
    for seed in 0..20 {
        let disk = disk(seed);
        let wal = archived(&disk);
        disk.fail_nth(CallKind::RemoveFile, 1, ErrorKind::Other);
        wal.delete_stream("x").unwrap();
        disk.clear_faults();
        assert_eq!(wal.restore_archived("x").unwrap(), 1);
        assert_eq!(wal.append("x", b"acknowledged").unwrap(), 2);
        disk.crash();
        drop(wal);
        let wal = open(&disk, &with_archive());
        assert_eq!(entries(&wal, "x"), [&b"0"[..], b"1", b"acknowledged"], "seed {seed}");
    }
}

/// A stream was deleted while nothing could be written to the journal. Its directory was gone, but not
/// its name: appending to that waited for ever for somebody to remove it.
#[test]
fn appending_to_a_name_whose_deletion_failed_half_way_ends() {
    for is_full in [false, true] {
        let disk = disk(1);
        let wal = open(&disk, &options(SyncMode::Strict));
        wal.append("x", b"0").unwrap();
        wal.append("y", b"0").unwrap();
        let kept = disk.clone();
        let error = in_time(move || {
            if is_full {
                // Voids fill what room there is in the journal.
                let used = disk.used_bytes();
                disk.configure(|config| config.capacity = Some(used));
                let y = wal.stream("y").unwrap();
                for _ in 0..200 {
                    if y.append(b"1").is_err() || wal.append("x", b"1").is_err() {
                        break;
                    }
                }
            } else {
                disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
                wal.append("y", b"1").unwrap_err();
                disk.clear_faults();
            }
            let deleted = wal.delete_stream("x");
            disk.configure(|config| config.capacity = None);
            (deleted, wal.append("x", b"1"))
        });
        assert!(
            !is_full || matches!(error.0, Ok(()) | Err(Error::StorageFull { .. })),
            "{error:?}"
        );
        assert!(is_full || error.1.is_err(), "{error:?}");
        kept.crash();
        let wal = open(&kept, &options(SyncMode::Strict));
        assert!(!entries(&wal, "y").is_empty());
    }
}

/// Without a journal for single appends, a stream gave its room back with its file. A batch over more
/// streams than files may be open took room in one stream after another, and lost it in the first by
/// the time it had it in the last.
#[test]
fn a_batch_may_have_more_streams_than_files_may_be_open() {
    for choice in [Journal::Off, Journal::Auto, Journal::On] {
        for mode in [SyncMode::Strict, SyncMode::Async] {
            let disk = disk(1);
            let kept = disk.clone();
            in_time(move || {
                let options = WalOptions { max_open_segments: 2, ..options(mode) };
                let environment = environment(std::sync::Arc::new(disk.process()), choice);
                let wal = Wal::open_with(options, environment).unwrap();
                let names: Vec<String> = (0..7).map(|nth| format!("s{nth}")).collect();
                for id in 0..5_u8 {
                    let entry = [id; 3000];
                    let of: Vec<(&str, &[u8])> =
                        names.iter().map(|name| (name.as_str(), &entry[..])).collect();
                    let ids = append_together(&wal, &of).unwrap();
                    assert!(ids.values().all(|found| *found == u64::from(id)));
                    wal.append("s0", b"single").map(|_| ()).unwrap_or_default();
                    wal.stream("s0").unwrap().truncate_after(Some(u64::from(id))).unwrap();
                }
                disk.crash();
            });
            let wal = open(&kept, &options(mode));
            assert_eq!(entries(&wal, "s6").len(), 5, "{choice:?} {mode:?}");
        }
    }
}

/// A batch was on its way into the journal while the log was closed. It made the journal's other file
/// when the directory was already somebody else's.
#[test]
fn nothing_touches_the_disk_after_close() {
    let mut closed_while_busy = 0;
    for seed in 0..60 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        let (calls, rounds) = std::thread::scope(|scope| {
            let busy = scope.spawn(|| {
                let mut rounds = 0;
                while append_together(&wal, &[("a", &[1; 2000]), ("b", b"1")]).is_ok() {
                    rounds += 1;
                }
                rounds
            });
            for _ in 0..seed * 5 {
                std::thread::yield_now();
            }
            wal.close().unwrap();
            let calls = disk.calls_total();
            (calls, busy.join().unwrap())
        });
        assert_eq!(disk.calls_total(), calls, "seed {seed}, after {rounds} rounds");
        closed_while_busy += u32::from(rounds > 0);
    }
    assert!(closed_while_busy > 5, "{closed_while_busy}");
}

/// What a full file of the journal held of a poisoned stream was copied forward without a look at
/// whether all of it could be read. What could not was forgotten, and with the file its last trace.
#[test]
fn records_that_cannot_be_read_are_not_lost_when_they_are_copied() {
    for seed in 0..30 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        for stream in ["x", "y"] {
            wal.append(stream, b"0").unwrap();
            wal.append(stream, b"1").unwrap();
        }
        // The first frame, which is of x.
        disk.overwrite(&journal(0), 8192, &[0xEE; 64]).unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("x", &[2; 5000]).unwrap_err();
        disk.clear_faults();
        for _ in 0..60 {
            if wal.append("y", &[3; 3000]).is_err() {
                break;
            }
        }
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        let found: Vec<_> = wal.iter("x", 0).unwrap().take(2).collect();
        let is_there = |nth: usize, entry: &[u8]| match found.get(nth) {
            Some(Ok(found)) => found == entry,
            Some(Err(_)) => true,
            None => false,
        };
        assert!(is_there(0, b"0"), "{found:?}");
        assert!(found.len() == 2 || found[0].is_err(), "{found:?}");
        let next_id = wal.stream("x").unwrap().next_id();
        assert!(next_id >= 2, "{next_id}: ids that were acknowledged are free again");
    }
}

/// A batch that was refused for one stream left the streams behind that it would have begun.
#[test]
fn a_refused_batch_begins_no_stream() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    wal.append("z", b"0").unwrap();
    let files = disk.files();
    let mut batch = wal.batch();
    batch.append("new", b"0").append("z", b"1").expect_next("z", 7);
    let error = batch.commit().unwrap_err();
    assert!(matches!(error, Error::Conflict { expected: 7, next_id: 1, .. }), "{error}");
    assert_eq!(wal.streams(), ["z"]);
    let mut after = disk.files();
    after.retain(|path| path != Path::new("/log/.ironwal"));
    assert!(after.iter().all(|path| files.contains(path)), "{after:?}");
    disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    wal.append("z", &[2; 20_000]).unwrap_err();
    disk.clear_faults();
    let error = append_together(&wal, &[("new", b"0"), ("z", b"1")]).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert_eq!(wal.streams(), ["z"]);
    assert_eq!(
        disk.process().list(Path::new("/log/new")).map_err(|it| it.kind()).err(),
        Some(ErrorKind::NotFound)
    );
}
