//! Pruning, cutting, deleting, archiving and restoring on a disk that loses power: what has returned
//! is there afterwards, and what was interrupted, at whatever call, is done or not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Environment, Error, Maintenance, SyncMode, Wal, WalOptions};

use crate::model::open;

const MODES: [SyncMode; 3] = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async];

type Entries = Vec<(u64, Vec<u8>)>;

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions {
        sync_mode,
        max_entries_per_segment: 5,
        archive_path: Some("/archive".into()),
        ..WalOptions::new("/log")
    }
}

fn entries(wal: &Wal) -> Entries {
    wal.iter_with_ids("s", 0).unwrap().map(Result::unwrap).collect()
}

/// A stream of 18 entries in segments of 5.
fn filled(disk: &SimDisk, mode: SyncMode) -> Wal {
    let wal = open(disk, &options(mode)).unwrap();
    for id in 0..18 {
        assert_eq!(wal.append("s", format!("entry {id}").as_bytes()).unwrap(), id);
    }
    wal.sync_all().unwrap();
    wal
}

/// Does `change` after `prepare`, and loses power after it, and in the middle of it at every call.
fn is_done_or_not_done(prepare: impl Fn(&Wal), change: impl Fn(&Wal) -> ironwal::Result<()>) {
    for (seed, mode) in (0..).zip(MODES.into_iter().cycle()).take(30) {
        let disk = SimDisk::new(seed);
        let wal = filled(&disk, mode);
        prepare(&wal);
        let before = entries(&wal);
        change(&wal).unwrap();
        let after = entries(&wal);
        disk.crash();
        let wal = open(&disk, &options(mode)).unwrap();
        assert_eq!(entries(&wal), after, "seed {seed}");

        for call in 1.. {
            let disk = SimDisk::new(seed);
            let wal = filled(&disk, mode);
            prepare(&wal);
            disk.cut_power_at(call);
            let returned = change(&wal).is_ok();
            drop(wal);
            disk.crash();
            let wal = open(&disk, &options(mode)).unwrap();
            let found = entries(&wal);
            let expected = found == after || !returned && found == before;
            assert!(expected, "seed {seed}, {mode:?}, call {call}: {found:?}");
            let next_id = wal.stream("s").unwrap().next_id();
            assert_eq!(wal.append("s", b"one more").unwrap(), next_id);
            // Once more, to the end, after an interruption.
            change(&wal).unwrap();
            if returned {
                break;
            }
        }
    }
}

#[test]
fn pruning_is_done_or_not_done() {
    is_done_or_not_done(|_| (), |wal| wal.truncate("s", 11).map(|_| ()));
}

#[test]
fn pruning_by_entry_is_done_or_not_done() {
    is_done_or_not_done(|_| (), |wal| wal.stream("s")?.truncate_before(12).map(|_| ()));
}

#[test]
fn cutting_off_the_end_is_done_or_not_done() {
    for last_kept in [None, Some(6), Some(9), Some(16)] {
        is_done_or_not_done(|_| (), |wal| wal.stream("s")?.truncate_after(last_kept));
    }
}

#[test]
fn deleting_is_done_or_not_done() {
    is_done_or_not_done(|_| (), |wal| wal.delete_stream("s"));
}

/// Nothing had been synced before it: what stands below the cut is durable when the cut is.
#[test]
fn what_a_cut_keeps_is_durable_with_it() {
    for (seed, mode) in (0..60).flat_map(|seed| MODES.map(|mode| (seed, mode))) {
        let disk = SimDisk::new(seed);
        let wal = open(&disk, &options(mode)).unwrap();
        for id in 0..18 {
            wal.append("s", format!("entry {id}").as_bytes()).unwrap();
        }
        let mut kept = entries(&wal);
        kept.truncate(13);
        wal.stream("s").unwrap().truncate_after(Some(12)).unwrap();
        disk.crash();
        let wal = open(&disk, &options(mode)).unwrap();
        assert_eq!(entries(&wal), kept, "seed {seed}, {mode:?}");
    }
}

/// The sync of a deletion failed, and the next process found the stream gone: its files are deleted only when
/// that is durable, wherever the power goes.
#[test]
fn a_deletion_that_is_found_is_made_durable_before_files_are_deleted() {
    let mode = SyncMode::Async;
    let mut gone = 0;
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let wal = filled(&disk, mode);
        let before = entries(&wal);
        disk.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
        wal.delete_stream("s").unwrap_err();
        disk.clear_faults();
        drop(wal);
        disk.kill();
        for call in 1.. {
            let disk = disk.snapshot();
            disk.cut_power_at(call);
            let wal = open(&disk, &options(mode));
            let is_over = !disk.power_is_off();
            drop(wal);
            disk.crash();
            let wal = open(&disk, &options(mode)).unwrap();
            let is_gone = !wal.streams().contains(&"s".to_string());
            assert!(is_gone || entries(&wal) == before, "seed {seed}, call {call}");
            gone += u32::from(is_gone);
            if is_over {
                break;
            }
        }
    }
    assert!(gone > 100, "{gone}");
}

#[test]
fn restoring_is_done_or_not_done() {
    let prune = |wal: &Wal| {
        wal.truncate("s", 11).unwrap();
    };
    is_done_or_not_done(prune, |wal| wal.restore_archived("s").map(|_| ()));
}

#[test]
fn restoring_a_deleted_stream_is_done_or_not_done() {
    for (seed, mode) in (0..).zip(MODES.into_iter().cycle()).take(15) {
        for call in 1.. {
            let disk = SimDisk::new(seed);
            let wal = filled(&disk, mode);
            wal.truncate("s", 11).unwrap();
            wal.delete_stream("s").unwrap();
            disk.cut_power_at(call);
            let returned = wal.restore_archived("s").is_ok();
            drop(wal);
            disk.crash();
            let wal = open(&disk, &options(mode)).unwrap();
            let found = entries(&wal).len();
            assert!(found == 10 || !returned && found == 0, "seed {seed}, call {call}: {found}");
            wal.restore_archived("s").unwrap();
            assert_eq!(entries(&wal).len(), 10, "seed {seed}, call {call}");
            if returned {
                break;
            }
        }
    }
}

/// What is archived is in the archive, or in the stream, or in both: never in neither.
#[test]
fn archiving_loses_nothing_wherever_it_is_interrupted() {
    for (seed, mode) in (0..).zip(MODES.into_iter().cycle()).take(30) {
        for call in 1.. {
            let disk = SimDisk::new(seed);
            let wal = filled(&disk, mode);
            let all = entries(&wal);
            disk.cut_power_at(call);
            let returned = wal.truncate("s", 11).is_ok();
            drop(wal);
            disk.crash();
            let wal = open(&disk, &options(mode)).unwrap();
            wal.restore_archived("s").unwrap();
            assert_eq!(entries(&wal), all, "seed {seed}, {mode:?}, call {call}");
            if returned {
                break;
            }
        }
    }
}

/// A descriptor with unsynced writes is not closed: the error would be lost with it.
#[test]
fn a_file_is_closed_only_when_it_is_synced() {
    for mode in [SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..40 {
            let disk = SimDisk::new(seed);
            let few = WalOptions { max_open_segments: 1, ..options(mode) };
            let wal = open(&disk, &few).unwrap();
            for nth in 0..12 {
                let name = format!("stream {}", nth % 4);
                wal.append(&name, b"entry").unwrap();
                // The stream before had to give its file back.
                if nth > 0 {
                    let before = wal.stream(&format!("stream {}", (nth - 1) % 4)).unwrap();
                    assert_eq!(before.durable_end(), before.next_id(), "{mode:?} {nth}");
                }
            }
            disk.crash();
            let wal = open(&disk, &few).unwrap();
            for nth in 0..3 {
                assert_eq!(wal.iter(&format!("stream {nth}"), 0).unwrap().count(), 3);
            }
        }
    }
}

#[test]
fn an_interval_makes_durable_what_was_appended() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&seconds);
        let environment = Environment::default()
            .with_storage(Arc::new(disk.process()))
            .with_entropy(|| 0x5A17)
            .with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)))
            .with_maintenance(Maintenance::Inline);
        let interval = Duration::from_secs(60);
        let options = options(SyncMode::Interval(interval));
        let wal = Wal::open_with(options.clone(), environment).unwrap();
        let stream = wal.stream("s").unwrap();
        for id in 0..8 {
            seconds.fetch_add(1, Ordering::Relaxed);
            assert_eq!(stream.append(b"entry").unwrap(), id);
        }
        let due = wal.maintain().unwrap();
        assert!(due <= Duration::from_secs(1) + interval, "later than it was promised");
        seconds.fetch_add(60, Ordering::Relaxed);
        wal.maintain();
        assert_eq!(stream.durable_end(), 8);
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        assert_eq!(entries(&wal).len(), 8, "seed {seed}");
    }
}

/// Nobody waits for it, so the next append is the first that can be told.
#[test]
fn a_background_sync_that_fails_is_told_to_the_next_append() {
    let disk = SimDisk::new(1);
    let options = WalOptions {
        sync_mode: SyncMode::Async,
        max_entries_per_segment: 2,
        ..WalOptions::new("/log")
    };
    let wal = open(&disk, &options).unwrap();
    wal.append("other", b"x").unwrap();
    let refused = (0..40).find_map(|_| {
        disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        wal.append("s", b"x").err()
    });
    let again = wal.append("s", b"x").unwrap_err();
    assert!(refused.is_some() && matches!(again, Error::Poisoned { .. }), "{refused:?}, {again}");
    disk.clear_faults();
    wal.append("other", b"y").unwrap();
    let committed = wal.stream("s").unwrap().next_id();
    assert_eq!(wal.iter("s", 0).unwrap().filter(Result::is_ok).count() as u64, committed);
}

/// The root file says which numbers are given out, and must be replaced for a stream that needs one.
#[test]
fn a_root_file_that_cannot_be_replaced_fails_the_new_stream_only() {
    for kind in [CallKind::Rename, CallKind::Sync, CallKind::Create] {
        let disk = SimDisk::new(1);
        let options = WalOptions::new("/log");
        let wal = open(&disk, &options).unwrap();
        wal.append("old", b"0").unwrap();
        wal.close().unwrap();
        let wal = open(&disk, &options).unwrap();
        disk.fail_nth(kind, 1, std::io::ErrorKind::Other);
        let error = wal.append("new", b"0").unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{kind:?}: {error}");
        assert_eq!(wal.append("old", b"1").unwrap(), 1, "{kind:?}");
        assert_eq!(wal.append("new", b"0").unwrap(), 0, "{kind:?}");
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        assert_eq!(wal.streams(), ["new", "old"], "{kind:?}");
    }
}

/// Begins a stream at an id, and has the power go at any call.
#[test]
fn a_stream_that_begins_at_an_id_is_there_or_is_not() {
    const SEEDS: u64 = 8;

    let begin = |disk: &SimDisk, appends: u32| -> ironwal::Result<()> {
        let wal = open(disk, &WalOptions::new("/log"))?;
        wal.append("other", b"x")?;
        wal.begin_stream("s", 1000)?;
        (0..appends).try_for_each(|_| wal.append("s", b"entry").map(drop))?;
        // It is killed.
        disk.crash();
        Ok(())
    };
    let (mut there, mut absent) = (0, 0);
    for appends in [0, 2] {
        let disk = SimDisk::new(1);
        begin(&disk, appends).unwrap();
        let calls = disk.calls_total();
        for (nth, seed) in (1..=calls + 1).flat_map(|nth| (0..SEEDS).map(move |seed| (nth, seed))) {
            let disk = SimDisk::new(nth * SEEDS + seed);
            disk.cut_power_at(nth);
            let done = begin(&disk, appends);
            disk.crash();
            let wal = open(&disk, &WalOptions::new("/log")).unwrap();
            if !wal.streams().contains(&"s".to_string()) {
                assert!(done.is_err(), "call {nth}, seed {seed}");
                absent += 1;
                wal.begin_stream("s", 7).unwrap();
                assert_eq!(wal.append("s", b"anew").unwrap(), 7, "call {nth}, seed {seed}");
                continue;
            }
            there += 1;
            let stream = wal.stream("s").unwrap();
            assert_eq!(stream.first_id(), 1000, "call {nth}, seed {seed}");
            let ids = 1000 + u64::from(if done.is_ok() { appends } else { 0 })..=1002;
            assert!(ids.contains(&stream.next_id()), "call {nth}, seed {seed}");
            assert!(matches!(wal.begin_stream("s", 7), Err(Error::Conflict { .. })));
            assert!(stream.append(b"on").unwrap() >= 1000);
        }
    }
    assert!(there > 20 && absent > 20, "{there} {absent}");
}

#[test]
fn a_stream_begins_at_any_id_and_only_once() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &WalOptions::new("/log")).unwrap();
    let reader = Wal::open_read_only_with(
        WalOptions::new("/log"),
        crate::model::environment_at(Arc::new(disk.process()), || Duration::ZERO),
    );
    let (reader, empty) = (reader.unwrap(), wal.stream("s").unwrap());
    wal.begin_stream("s", u64::MAX - 2).unwrap();
    assert!(matches!(empty.append(b"x"), Err(Error::StreamNotFound(_))));
    assert_eq!(reader.stream("s").unwrap().next_id(), u64::MAX - 2);
    assert_eq!(wal.append("s", b"a").unwrap(), u64::MAX - 2);
    assert_eq!(reader.get("s", u64::MAX - 2).unwrap().as_deref(), Some(&b"a"[..]));
    assert!(matches!(
        wal.begin_stream("s", 5),
        Err(Error::Conflict { expected: 5, next_id, .. }) if next_id == u64::MAX - 1
    ));
    assert!(matches!(wal.begin_stream("..", 5), Err(Error::Config(_))));
    wal.begin_stream("t", 0).unwrap();
    wal.close().unwrap();
    let wal = open(&disk, &WalOptions::new("/log")).unwrap();
    assert_eq!(wal.append("t", b"a").unwrap(), 0);
    assert_eq!(wal.stream("s").unwrap().first_id(), u64::MAX - 2);
    assert!(matches!(reader.begin_stream("u", 1), Err(Error::ReadOnly(_))));
}
