//! Calls that fail, and power that goes, while entries are submitted and waited for.

use std::io::ErrorKind;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, Pending, SyncMode, Wal};

use super::{DRIVERS, JOURNALS, MODES, Setting, disk, entries};

const NAMES: [&str; 2] = ["a", "b"];

/// How many entries are submitted to each stream.
const COUNT: u64 = 16;

/// Each entry is another, and says which it is.
fn entry(nth: u64) -> Vec<u8> {
    let mut entry = nth.to_le_bytes().to_vec();
    entry.resize(8 + (nth * 37 % 90) as usize, 1);
    entry
}

/// What was told of the entries of one stream: which of them were acknowledged, with their ids, and
/// whether each of the others got an error.
#[derive(Debug, Default)]
struct Told {
    acknowledged: Vec<(u64, u64)>,
    failed: bool,
}

/// Submits to two streams, waits for some of what is in flight, and drops some.
fn submit_some(wal: &Wal) -> [Told; 2] {
    let mut told: [Told; 2] = Default::default();
    let mut in_flight: Vec<(usize, u64, Pending)> = Vec::new();
    let mut wait_for = |(stream, nth, pending): (usize, u64, Pending)| {
        let told: &mut Told = &mut told[stream];
        match pending.wait() {
            Ok(id) => told.acknowledged.push((nth, id)),
            Err(Error::Io(_) | Error::Poisoned { .. } | Error::StorageFull { .. }) => {
                told.failed = true;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let streams = NAMES.map(|name| wal.stream(name).unwrap());
    for nth in 0..COUNT {
        for (number, stream) in streams.iter().enumerate() {
            match stream.submit(&entry(nth)) {
                Ok(_dropped) if nth % 5 == 2 => {}
                Ok(pending) => in_flight.push((number, nth, pending)),
                Err(Error::Io(_) | Error::Poisoned { .. } | Error::StorageFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        if nth % 4 == 3 {
            // The newest first; some stay in flight for longer.
            let stays = in_flight.len().min(3);
            in_flight.drain(stays..).rev().for_each(&mut wait_for);
        }
    }
    in_flight.into_iter().for_each(&mut wait_for);
    told
}

/// What is there stands in the order in which it was submitted, nothing twice; what was acknowledged is
/// there, at its id.
fn check(wal: &Wal, told: &[Told; 2], is_whole: bool, what: &str) {
    for (name, told) in NAMES.iter().zip(told) {
        let mut before = None;
        let found = entries(wal, name);
        for (id, found) in found.iter().enumerate() {
            let nth = u64::from_le_bytes(found[..8].try_into().unwrap());
            assert_eq!(found, &entry(nth), "{what}: {name} {id}");
            assert!(before < Some(nth), "{what}: {name} {id}: {before:?} before {nth}");
            before = Some(nth);
        }
        for (nth, id) in told.acknowledged.iter().filter(|_| is_whole) {
            let found = found.get(*id as usize);
            assert_eq!(found, Some(&entry(*nth)), "{what}: {name} {id} was acknowledged");
        }
    }
}

fn every_setting(mut work: impl FnMut(&Setting, &str)) {
    for how in DRIVERS {
        for journal in JOURNALS {
            for mode in MODES {
                // Some entries wait for room, others do not.
                let setting = Setting::new(mode, journal, how).with_segments_of(3);
                let what = format!("{how:?}, {journal:?}, {mode:?}");
                work(&setting, &what);
            }
        }
    }
}

/// Whatever call fails, everybody who waits is told, nothing is acknowledged that is not there, and
/// nothing stands before what was submitted earlier.
#[test]
fn everybody_is_told_whatever_call_fails() {
    let kinds = [
        (CallKind::Sync, ErrorKind::Other),
        (CallKind::Write, ErrorKind::Other),
        (CallKind::Write, ErrorKind::StorageFull),
        (CallKind::Reserve, ErrorKind::StorageFull),
        (CallKind::Reserve, ErrorKind::Other),
        (CallKind::Create, ErrorKind::StorageFull),
        (CallKind::Rename, ErrorKind::Other),
        (CallKind::SyncDir, ErrorKind::Other),
    ];
    let mut seed = 0;
    every_setting(|setting, what| {
        for (kind, error) in kinds {
            for n in [1, 2, 3, 5, 9] {
                seed += 1;
                let disk = disk(seed);
                let wal = setting.open(&disk);
                disk.fail_nth(kind, n, error);
                let what = format!("{what}, {kind:?} {n} {error:?}");
                let told = submit_some(&wal);
                disk.clear_faults();
                check(&wal, &told, true, &what);
                let strict = setting.options.sync_mode == SyncMode::Strict;
                if strict {
                    disk.crash()
                } else {
                    disk.kill()
                }
                let died = wal;
                // A failed sync can take with it what was not synced.
                let is_whole = strict || !matches!(kind, CallKind::Sync | CallKind::SyncDir);
                check(&setting.open(&disk), &told, is_whole, &what);
                drop(died);
            }
        }
    });
}

/// The first sync of a stream that fails: whoever waits for it gets the error, those who come later are
/// told why, and nothing of it can be read.
#[test]
fn a_failed_sync_reaches_everybody_and_poisons() {
    for how in DRIVERS {
        for journal in JOURNALS {
            let setting = Setting::new(SyncMode::Strict, journal, how).with_segments_of(4);
            let what = format!("{how:?}, {journal:?}");
            let disk = disk(1);
            let wal = setting.open(&disk);
            let stream = wal.stream("s").unwrap();
            stream.append(b"committed").unwrap();
            disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
            // Three have an id, or fail before; the others wait for another segment.
            let submitted: Vec<_> = (0..8).filter_map(|_| stream.submit(b"lost").ok()).collect();
            assert!(!submitted.is_empty(), "{what}");
            for pending in submitted {
                let error = pending.wait().unwrap_err();
                assert!(matches!(error, Error::Io(_) | Error::Poisoned { .. }), "{what}: {error}");
            }
            disk.clear_faults();
            let error = stream.submit(b"later").unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{what}: {error}");
            assert_eq!(entries(&wal, "s"), [b"committed"], "{what}");
            assert_eq!((stream.next_id(), stream.durable_end()), (1, 1), "{what}");
            assert!(wal.close().is_err(), "{what}");
        }
    }
}

/// Power that goes at the first call of the disk, then at the second, and so on.
#[test]
fn what_was_waited_for_survives_power_loss_at_every_call() {
    for how in DRIVERS {
        for journal in JOURNALS {
            let setting = Setting::new(SyncMode::Strict, journal, how).with_segments_of(3);
            at_every_call(&setting, &format!("{how:?}, {journal:?}"));
        }
    }
}

fn at_every_call(setting: &Setting, what: &str) {
    for call in 1..2000 {
        let disk: SimDisk = disk(call);
        let wal = setting.open(&disk);
        disk.cut_power_at(call);
        let told = submit_some(&wal);
        let is_over = !disk.power_is_off();
        disk.crash();
        drop(wal);
        let what = format!("{what}, call {call}");
        check(&setting.open(&disk), &told, true, &what);
        if is_over {
            assert!(call > 10, "{what}");
            assert!(told.iter().all(|told| !told.failed), "{what}: {told:?}");
            return;
        }
    }
    panic!("it does not come to its end");
}
