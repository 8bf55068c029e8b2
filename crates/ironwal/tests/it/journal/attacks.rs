//! Attacks on the contract that the other tests did not think of.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Journal, Maintenance, SyncMode, Wal, WalOptions};

use super::{
    LARGE, SMALL, append_together, at_every_call, disk, entries, environment, frames_in, options,
    segment, try_open,
};

fn strictly(sync_mode: SyncMode) -> WalOptions {
    WalOptions { on_corruption: CorruptionPolicy::Error, ..options(sync_mode) }
}

/// Disks after a power loss at which both files of the journal held frames.
fn disks_with_two_files_in_use() -> Vec<SimDisk> {
    let mut disks = Vec::new();
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = try_open(&disk, &strictly(SyncMode::Strict), SMALL).unwrap();
            append_together(&wal, &[("a", &[1; 20_000]), ("b", b"1")]).unwrap();
            append_together(&wal, &[("a", b"2"), ("b", &[2; 20_000])]).unwrap();
            (disk, wal)
        },
        |wal| append_together(wal, &[("a", &[3; 9_000]), ("b", &[3; 9_000])]).unwrap_or_default(),
        |disk, _, _| {
            if !frames_in(disk, 0).is_empty() && !frames_in(disk, 1).is_empty() {
                disks.push(disk.snapshot());
            }
        },
    );
    assert!(!disks.is_empty(), "the files were never in use both");
    disks
}

/// Opening gives each file of the journal its name anew, by another name and back. In between the
/// file has no name that is looked for; and the other one, if it was not emptied yet, spoke of
/// frames before its own. So somebody was said to have taken a file away, and the log did not open.
#[test]
fn an_opening_that_died_at_any_call_is_no_damage_to_the_next_one() {
    for disk in disks_with_two_files_in_use() {
        for loses_power in [true, false] {
            for call in 1..2000 {
                if open_and_die(&disk.snapshot(), call, loses_power) {
                    assert!(call > 10, "an opening calls the disk {call} times only");
                    break;
                }
            }
        }
    }
}

/// Opens, dies at this call, and opens again; returns whether the first opening had fewer calls.
fn open_and_die(disk: &SimDisk, call: u64, loses_power: bool) -> bool {
    disk.reseed(call);
    if loses_power {
        disk.cut_power_at(call);
    } else {
        disk.fail_nth(None, call, ErrorKind::Other);
    }
    let before = disk.calls_total();
    let opened = try_open(disk, &strictly(SyncMode::Strict), SMALL);
    let is_over = disk.calls_total() - before < call;
    disk.clear_faults();
    if loses_power {
        disk.crash();
    } else {
        disk.kill();
    }
    drop(opened);
    let wal = try_open(disk, &strictly(SyncMode::Strict), SMALL)
        .unwrap_or_else(|error| panic!("call {call}, power loss {loses_power}: {error}"));
    let counts = ["a", "b"].map(|name| entries(&wal, name).len());
    assert!(counts[0] == counts[1] && counts[0] >= 2, "call {call}: {counts:?}");
    is_over
}

/// A frame that a new file has no space for goes to the other one, if that is longer and was freed
/// meanwhile. The new file stayed empty then, as if it had lost its frames.
#[test]
fn a_file_of_the_journal_that_was_passed_over_is_no_damage() {
    let mut passed_over = 0;
    for nth in 1..8 {
        at_every_call(
            |seed| {
                let disk = disk(seed);
                let wal = try_open(&disk, &strictly(SyncMode::Strict), LARGE).unwrap();
                for _ in 0..15 {
                    append_together(&wal, &[("a", &[1; 30_000]), ("b", &[1; 30_000])]).unwrap();
                }
                for n in [nth, nth + 1] {
                    disk.fail_nth(CallKind::Reserve, n, ErrorKind::StorageFull);
                }
                (disk, wal)
            },
            |wal| append_together(wal, &[("a", &[2; 100_000]), ("b", &[2; 100_000])]).is_ok(),
            |disk, done, call| {
                disk.clear_faults();
                let both_there = super::generations(disk).iter().all(Option::is_some);
                passed_over += u32::from(both_there && frames_in(disk, 0).len() == 1);
                let wal = try_open(disk, &strictly(SyncMode::Strict), LARGE)
                    .unwrap_or_else(|error| panic!("reservation {nth}, call {call}: {error}"));
                let counts = ["a", "b"].map(|name| entries(&wal, name).len());
                assert_eq!(counts[0], counts[1], "reservation {nth}, call {call}");
                assert!(counts[0] >= 15 + usize::from(done), "{nth}, call {call}: {counts:?}");
            },
        );
    }
    assert!(passed_over > 0, "no file was ever passed over");
}

/// The file that was passed over stayed below the generation of the other one. It is used when that is full,
/// and until that is freed, the frames of both count: its own were taken for the older ones.
#[test]
fn a_file_of_the_journal_that_was_passed_over_is_used_later() {
    let append = |wal: &Wal, len: usize| {
        let entry = vec![1; len];
        append_together(wal, &[("a", &entry), ("b", &entry)])
    };
    // A log that has passed over a file and gone on for so long.
    let begin = |nth: u64, seed: u64, rounds: usize| {
        let disk = disk(seed);
        let wal = try_open(&disk, &strictly(SyncMode::Strict), LARGE).unwrap();
        (0..15).for_each(|_| drop(append(&wal, 30_000).unwrap()));
        for n in [nth, nth + 1] {
            disk.fail_nth(CallKind::Reserve, n, ErrorKind::StorageFull);
        }
        let _ = append(&wal, 100_000);
        disk.clear_faults();
        let both_there = super::generations(&disk).iter().all(Option::is_some);
        let is_passed_over = both_there && frames_in(&disk, 0).len() == 1;
        (0..rounds).for_each(|_| drop(append(&wal, 30_000).unwrap()));
        (disk, wal, is_passed_over)
    };
    let (mut passed_over, mut both_in_use) = (0, 0);
    for nth in 1..8 {
        let (disk, wal, is_passed_over) = begin(nth, 1, 0);
        if !is_passed_over {
            continue;
        }
        passed_over += 1;
        let (mut rounds, first) = (0, super::generations(&disk)[0]);
        while super::generations(&disk)[0] == first {
            append(&wal, 30_000).unwrap();
            rounds += 1;
        }
        assert_eq!(frames_in(&disk, 1).len(), 1, "what is written there has another generation");
        let before = entries(&wal, "a").len() - 1;
        at_every_call(
            |seed| {
                let (disk, wal, _) = begin(nth, seed, rounds - 1);
                (disk, wal)
            },
            |wal| append(wal, 30_000).is_ok(),
            |disk, done, call| {
                if !frames_in(disk, 1).is_empty() && !frames_in(disk, 0).is_empty() {
                    // Or the newer one would be emptied first.
                    let generations = super::generations(disk);
                    assert!(generations[1] > generations[0], "{nth}, {call}: {generations:?}");
                    both_in_use += 1;
                }
                let wal = try_open(disk, &strictly(SyncMode::Strict), LARGE)
                    .unwrap_or_else(|error| panic!("reservation {nth}, call {call}: {error}"));
                let counts = ["a", "b"].map(|name| entries(&wal, name).len());
                assert_eq!(counts[0], counts[1], "reservation {nth}, call {call}");
                assert!(counts[0] >= before + usize::from(done), "{nth}, {call}: {counts:?}");
            },
        );
    }
    assert!(passed_over > 0 && both_in_use > 0, "{passed_over}, {both_in_use}");
}

/// A file was freed, and the sync of its header failed: the next process finds the new generation in the
/// page cache, the disk has the old one. Emptied first, the other file would be gone with the voids that
/// speak of what this one holds on the disk.
#[test]
fn a_header_whose_sync_failed_is_written_again_before_the_other_file_is_emptied() {
    let mut in_doubt = 0;
    for (nth, seed) in (1..30).flat_map(|nth| (0..4).map(move |seed| (nth, seed))) {
        let disk = disk(seed);
        let wal = try_open(&disk, &strictly(SyncMode::Strict), SMALL).unwrap();
        append_together(&wal, &[("a", &[1; 20_000]), ("b", b"1")]).unwrap();
        append_together(&wal, &[("a", b"2"), ("b", &[2; 20_000])]).unwrap();
        disk.fail_nth(CallKind::Sync, nth, ErrorKind::Other);
        let _ = append_together(&wal, &[("a", &[3; 9_000]), ("b", &[3; 9_000])]);
        disk.clear_faults();
        disk.kill();
        drop(wal);
        let on_disk = |disk: &SimDisk| {
            let disk = disk.snapshot();
            disk.crash();
            super::generations(&disk)
        };
        let (shown, durable) = (super::generations(&disk), on_disk(&disk));
        let Some(file) = (0..2).find(|nth| shown[*nth] > durable[*nth]) else { continue };
        let other = 1 - file;
        assert!(!frames_in(&disk, other).is_empty());
        in_doubt += 1;
        for call in 1..1000 {
            let disk = disk.snapshot();
            disk.reseed(call);
            disk.cut_power_at(call);
            let opened = try_open(&disk, &strictly(SyncMode::Strict), SMALL);
            let is_over = !disk.power_is_off();
            disk.crash();
            drop(opened);
            let found = super::generations(&disk);
            // When both are emptied, they are renamed and back.
            let is_in_doubt = found[file].is_some() && found[file] == durable[file];
            let is_other_emptied = found[other] > shown[other];
            let what = format!("sync {nth}, seed {seed}, call {call}: {found:?}");
            assert!(!(is_in_doubt && is_other_emptied), "{what}");
            if is_over {
                break;
            }
        }
    }
    assert!(in_doubt > 0, "the sync of a header never failed");
}

/// Nobody waits for what is submitted, so nobody told the threads that there is something to do: what
/// was in the journal was never written to the segments, and a list of it grew for ever.
#[test]
fn what_nobody_waits_for_is_written_to_the_segments_too() {
    let disk = disk(1);
    let environment = environment(Arc::new(disk.process()), Journal::On)
        .with_maintenance(Maintenance::Thread)
        .with_journal_size(64 << 20);
    let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
    let streams = ["a", "b"].map(|name| wal.stream(name).unwrap());
    for stream in &streams {
        // So much room that none has to be made, for whoever makes it writes what is not written.
        stream.append(&[0; 300_000]).unwrap();
        stream.append(b"opened").unwrap();
    }
    for nth in 0..500_u32 {
        for stream in &streams {
            let before = stream.next_id();
            drop(stream.submit(format!("submitted {nth}.").as_bytes()).unwrap());
            while stream.next_id() == before {
                std::thread::yield_now();
            }
        }
    }
    // Not among the first, which are written when room is made for them, nor the last.
    let is_written = |name: &str| {
        let bytes = disk.contents(&segment(name, 0)).unwrap();
        bytes.windows(14).any(|window| window == b"submitted 100.")
    };
    let begin = Instant::now();
    while !["a", "b"].iter().all(|name| is_written(name)) {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is in the journal only");
        std::thread::yield_now();
    }
}
