//! The journal's space: when it is free again, and what happens when it is not.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Error, Journal, Maintenance, SyncMode, Wal, WalOptions};

use super::{
    SMALL_ROUNDS, append_together, at_every_call, disk, entries, environment, frames_in, open,
    options, turn_over,
};

/// Does something that must end.
pub(super) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    wait.recv_timeout(Duration::from_secs(60)).expect("it hangs, or panicked")
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Appends to several streams, together and alone, while it works, at most so often; returns what was
/// acknowledged of each.
fn work(wal: &Wal, rounds: u8) -> [Vec<u8>; 3] {
    let mut acknowledged: [Vec<u8>; 3] = Default::default();
    for nth in 0..rounds {
        let entry = [nth; 700];
        if let Ok(ids) = append_together(wal, &NAMES.map(|name| (name, &entry[..]))) {
            for (name, of) in NAMES.iter().zip(&mut acknowledged) {
                assert_eq!(ids[*name], of.len() as u64);
                of.push(nth);
            }
        }
        for (name, of) in NAMES.iter().zip(&mut acknowledged) {
            if let Ok(id) = wal.append(name, &[nth; 90]) {
                assert_eq!(id, of.len() as u64);
                of.push(nth);
            }
        }
    }
    acknowledged
}

/// Everything that was acknowledged can be read, and nothing is behind it but what was refused last.
fn check(wal: &Wal, acknowledged: &[Vec<u8>; 3], more: usize, what: &str) {
    for (name, expected) in NAMES.iter().zip(acknowledged) {
        let found: Vec<u8> = entries(wal, name).iter().map(|entry| entry[0]).collect();
        assert!(found.starts_with(expected), "{what}: {name}: {found:?}, not {expected:?}");
        let behind = found.len() - expected.len();
        assert!(behind <= more, "{what}: {name}: {behind} entries that were refused");
    }
}

/// Every call of each kind fails once while the journal's files are used in turn. What was acknowledged
/// can be read at once, survives further use of the journal, and the power loss after it.
#[test]
fn whatever_call_fails_what_was_acknowledged_is_there() {
    let kinds = [
        CallKind::Sync,
        CallKind::Write,
        CallKind::Reserve,
        CallKind::SyncDir,
        CallKind::Rename,
        CallKind::Create,
        CallKind::Open,
    ];
    for (kind, error) in kinds
        .into_iter()
        .flat_map(|kind| [ErrorKind::Other, ErrorKind::StorageFull].map(|error| (kind, error)))
    {
        for mode in [SyncMode::Strict, SyncMode::Async] {
            whatever_call_fails(kind, error, mode);
        }
    }
}

fn whatever_call_fails(kind: CallKind, error: ErrorKind, mode: SyncMode) {
    for nth in 1..400 {
        let disk = disk(nth);
        let what = format!("{kind:?} {nth}, {error:?}, {mode:?}");
        let few = WalOptions { max_open_segments: 2, ..options(mode) };
        let wal = open(&disk, &few);
        disk.fail_nth(kind, nth, error);
        let before = disk.calls(kind);
        let acknowledged = work(&wal, 9);
        let struck = disk.calls(kind) - before >= nth;
        disk.clear_faults();
        check(&wal, &acknowledged, 0, &what);
        if nth % 2 == 0 {
            assert!(wal.close().is_ok() || struck, "{what}");
        }
        let lost_power = nth % 3 > 0 && mode == SyncMode::Strict;
        if lost_power {
            disk.crash();
        } else {
            // Single entries are safe from that in every mode.
            disk.kill();
        }
        drop(wal);
        let wal = open(&disk, &few);
        check(&wal, &acknowledged, 2, &what);
        if !struck {
            return;
        }
    }
    panic!("{kind:?} is called more often");
}

/// A stream is poisoned, of which the journal holds entries that may not be in the segment. They go
/// from file to file, for as long as the process lives, and reach the segment when the log is opened
/// again.
#[test]
fn entries_of_a_poisoned_stream_survive_many_turns_of_the_journal() {
    for (seed, turns) in (0..10).flat_map(|seed| [1, 2, 7].map(|turns| (seed, turns))) {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        wal.append("a", b"1").unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("a", &[9; 20_000]).unwrap_err();
        disk.clear_faults();
        turn_over(&disk, &wal, turns);
        assert_eq!(entries(&wal, "a"), [b"0", b"1"], "seed {seed}");
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        assert!(entries(&wal, "a").starts_with(&[b"0".to_vec(), b"1".to_vec()]), "seed {seed}");
        assert_eq!(entries(&wal, "b"), [b"0"]);
        wal.append("a", b"goes on").unwrap();
    }
}

/// The sync fails that is to let the journal go, with the slot under it that says how far the segment
/// is durable: the slot may be on the disk, and what it speaks of is in the journal only.
#[test]
fn a_slot_that_says_more_than_is_durable_hides_nothing() {
    let mut poisoned = 0;
    for (seed, nth) in (0..40).flat_map(|seed| (1..9).map(move |nth| (seed, nth))) {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        let mut acknowledged = 0;
        // The next one goes on to the other file, and frees this one.
        while frames_in(&disk, 0).len() < SMALL_ROUNDS {
            wal.append("a", &[acknowledged; 400]).unwrap();
            acknowledged += 1;
        }
        disk.fail_nth(CallKind::Sync, nth, ErrorKind::Other);
        acknowledged += u8::from(wal.append("a", &[acknowledged; 400]).is_ok());
        disk.clear_faults();
        let appends_go_on = wal.append("b", b"0").is_ok();
        poisoned += u32::from(appends_go_on && wal.append("a", b"refused").is_err());
        match seed % 4 {
            0 => {
                disk.evict();
                disk.kill();
            }
            1 => disk.kill(),
            _ => disk.crash(),
        }
        drop(wal);
        // The second time nothing of it is in the journal any more.
        for time in 0..2 {
            let wal = open(&disk, &options(SyncMode::Strict));
            let found: Vec<u8> = entries(&wal, "a").iter().map(|entry| entry[0]).collect();
            let expected: Vec<u8> = (0..acknowledged).collect();
            let what = format!("seed {seed}, {nth}, {time}: {found:?}, {expected:?}");
            assert!(found.starts_with(&expected), "{what}");
            disk.crash();
        }
    }
    assert!(poisoned >= 40, "{poisoned}");
}

/// A write or a sync of the journal fails: nothing is appended any more, to any stream.
#[test]
fn a_journal_that_fails_poisons_the_whole_log() {
    for (kind, seed) in [CallKind::Sync, CallKind::Write]
        .into_iter()
        .flat_map(|kind| (0..15).map(move |seed| (kind, seed)))
    {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        let acknowledged = work(&wal, 2);
        disk.fail_nth(kind, 1, ErrorKind::Other);
        let error = append_together(&wal, &[("a", b"!"), ("b", b"!")]).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
        disk.clear_faults();
        for name in ["a", "b", "c", "new"] {
            let error = wal.append(name, b"?").unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{name}: {error}");
        }
        let error = append_together(&wal, &[("a", b"?"), ("new", b"?")]).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        assert!(wal.stream("a").unwrap().truncate_after(None).is_err());
        check(&wal, &acknowledged, 0, "reads go on");
        assert!(wal.close().is_err(), "the failure is told once more");
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        check(&wal, &acknowledged, 1, "opened again");
        let (a, b) = (entries(&wal, "a").len(), entries(&wal, "b").len());
        let whole = [acknowledged[0].len(), acknowledged[1].len()];
        assert_eq!(a - whole[0], b - whole[1], "seed {seed}: half of the batch that failed");
        assert!(!wal.streams().contains(&"new".to_string()));
        append_together(&wal, &[("a", b"!"), ("new", b"!")]).unwrap();
    }
}

/// The disk is full when the journal needs room: single appends go on to where there is room, batches
/// are refused, and nobody waits for ever.
#[test]
fn a_full_disk_stops_batches_and_nobody_hangs() {
    for seed in 0..6 {
        let disk = disk(seed);
        let kept = disk.clone();
        let acknowledged = in_time(move || {
            let environment = environment(Arc::new(disk.process()), Journal::Auto)
                .with_maintenance(Maintenance::Thread);
            let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
            for name in 0..16 {
                wal.append(&format!("s{name}"), &[0; 100]).unwrap();
            }
            let used = disk.used_bytes() + 4096 * seed;
            disk.configure(|config| config.capacity = Some(used));
            let counts: Vec<(usize, usize)> = std::thread::scope(|scope| {
                let appenders: Vec<_> = (0..16_u8)
                    .map(|thread| {
                        let wal = &wal;
                        scope.spawn(move || {
                            let (own, next) =
                                (format!("s{thread}"), format!("s{}", (thread + 1) % 16));
                            let (mut singles, mut batches) = (0, 0);
                            for nth in 0..40 {
                                match wal.append(&own, &[nth; 200]) {
                                    Ok(_) => singles += 1,
                                    Err(Error::StorageFull { .. }) => {}
                                    Err(error) => panic!("{error}"),
                                }
                                match append_together(wal, &[(&own, &[nth; 10]), (&next, b"n")]) {
                                    Ok(_) => batches += 1,
                                    Err(Error::StorageFull { .. }) => {}
                                    Err(error) => panic!("{error}"),
                                }
                            }
                            (singles, batches)
                        })
                    })
                    .collect();
                appenders.into_iter().map(|appender| appender.join().unwrap()).collect()
            });
            let (singles, batches) =
                counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            disk.configure(|config| config.capacity = None);
            append_together(&wal, &[("s0", b"there is room"), ("s1", b"again")]).unwrap();
            disk.crash();
            16 + singles + 2 * batches + 2
        });
        let wal = open(&kept, &options(SyncMode::Strict));
        let found: usize = (0..16).map(|nth| entries(&wal, &format!("s{nth}")).len()).sum();
        assert_eq!(found, acknowledged, "seed {seed}");
    }
}

/// On a full disk, single appends of a stream with room go to the segment when there is none in the
/// journal; it is no failure.
#[test]
fn single_appends_go_to_the_segment_when_the_journal_has_no_room() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    // Room for many entries, and no journal yet.
    drop(wal);
    disk.kill();
    let environment_off = environment(Arc::new(disk.process()), Journal::Off);
    let wal = Wal::open_with(options(SyncMode::Strict), environment_off).unwrap();
    wal.append("x", &[0; 100_000]).unwrap();
    wal.append("y", b"0").unwrap();
    wal.append("x", &[0; 8000]).unwrap();
    disk.kill();
    drop(wal);
    let wal = open(&disk, &options(SyncMode::Strict));
    wal.append("x", &[0; 30_000]).unwrap();
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    assert_eq!(wal.append("x", b"to the segment").unwrap(), 3);
    let error = append_together(&wal, &[("x", b"1"), ("y", b"1")]).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(wal.append("x", b"to the segment").unwrap(), 4);
    disk.crash();
    drop(wal);
    let wal = open(&disk, &options(SyncMode::Strict));
    assert_eq!((entries(&wal, "x").len(), entries(&wal, "y").len()), (5, 1));
}

/// The streams have room in their segments, the journal has none.
#[test]
fn a_batch_without_room_in_the_journal_is_refused() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    for name in ["x", "y"] {
        wal.append(name, &[0; 70_000]).unwrap();
        wal.append(name, &[0; 20_000]).unwrap();
    }
    append_together(&wal, &[("x", b"2"), ("y", b"2")]).unwrap();
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    let large = [3; 30_000];
    let error = append_together(&wal, &[("x", &large), ("y", &large)]).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(wal.append("x", b"3").unwrap(), 3);
    assert_eq!(wal.append("y", b"3").unwrap(), 3);
    disk.configure(|config| config.capacity = None);
    append_together(&wal, &[("x", &large), ("y", &large)]).unwrap();
    disk.crash();
    drop(wal);
    let wal = open(&disk, &options(SyncMode::Strict));
    assert_eq!((entries(&wal, "x").len(), entries(&wal, "y").len()), (5, 5));
}

/// On a full disk there is no room to copy what the journal has of a poisoned stream: its file stays
/// full, and the log goes on without it for as long.
#[test]
fn a_file_that_cannot_be_copied_on_a_full_disk_stays_as_it_is() {
    for seed in 0..10 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        let large = [1; 60_000];
        append_together(&wal, &[("x", &large), ("y", b"0")]).unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("x", &[2; 20_000]).unwrap_err();
        disk.clear_faults();
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used + 64 * 1024));
        for nth in 1..30 {
            assert_eq!(wal.append("y", b"goes on").unwrap(), nth);
        }
        let error = append_together(&wal, &[("y", b"1"), ("y2", b"1")]).unwrap_err();
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        if seed % 2 == 0 {
            disk.configure(|config| config.capacity = None);
            turn_over(&disk, &wal, 4);
        }
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        assert_eq!(wal.get("x", 0).unwrap().as_deref(), Some(&large[..]), "seed {seed}");
        assert_eq!(entries(&wal, "y").len(), 30);
    }
}

/// Something fails in the background while many wait: all of them get an end, and what was
/// acknowledged is there.
#[test]
fn whatever_fails_in_the_background_nobody_hangs() {
    for (seed, kind) in
        (1..25).flat_map(|seed| [CallKind::Sync, CallKind::Write].map(|kind| (seed, kind)))
    {
        let disk = disk(seed);
        let kept = disk.clone();
        let acknowledged = in_time(move || {
            let environment = environment(Arc::new(disk.process()), Journal::Auto)
                .with_maintenance(Maintenance::Thread);
            let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
            disk.fail_nth(kind, 10 + seed * 7, ErrorKind::Other);
            let acknowledged: Vec<(String, u64)> = std::thread::scope(|scope| {
                let appenders: Vec<_> = (0..8_u8)
                    .map(|thread| {
                        let wal = &wal;
                        scope.spawn(move || {
                            let (own, next) =
                                (format!("s{thread}"), format!("s{}", (thread + 1) % 8));
                            let mut ids = Vec::new();
                            for nth in 0..30 {
                                if let Ok(id) = wal.append(&own, &[nth; 800]) {
                                    ids.push((own.clone(), id));
                                }
                                let batch = append_together(wal, &[(&own, b"b"), (&next, b"b")]);
                                ids.extend(batch.unwrap_or_default());
                            }
                            ids
                        })
                    })
                    .collect();
                appenders.into_iter().flat_map(|appender| appender.join().unwrap()).collect()
            });
            disk.crash();
            acknowledged
        });
        kept.clear_faults();
        let wal = open(&kept, &options(SyncMode::Strict));
        for (name, id) in acknowledged {
            assert!(wal.get(&name, id).unwrap().is_some(), "seed {seed}, {kind:?}: {name} {id}");
        }
    }
}

/// The power goes at any call while files of the journal become full, are freed and begun anew.
#[test]
fn nothing_is_lost_when_the_power_goes_while_the_journal_is_freed() {
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = open(&disk, &options(SyncMode::Strict));
            (disk, wal)
        },
        |wal| work(wal, 5),
        |disk, acknowledged, call| {
            let wal = open(disk, &options(SyncMode::Strict));
            check(&wal, &acknowledged, 1, &format!("call {call}"));
        },
    );
}

/// Entries that nobody synced stand behind those of the journal when that is freed. A slot that speaks
/// of them before they are durable would make damage of their loss.
#[test]
fn settling_what_was_never_synced_makes_no_damage() {
    let strictly =
        WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Async) };
    for variant in 0..6 {
        at_every_call(
            |seed| {
                let disk = disk(seed * 6 + variant);
                let wal = open(&disk, &strictly);
                append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
                for name in ["a", "b"] {
                    for nth in 1..5 {
                        wal.append(name, &[nth; 900]).unwrap();
                    }
                }
                (disk, wal)
            },
            |wal| append_together(wal, &[("c", &[1; 3000]), ("d", b"frees the journal")]).is_ok(),
            |disk, _, call| {
                let wal = super::try_open(disk, &strictly, super::SMALL)
                    .unwrap_or_else(|error| panic!("call {call}: {error}"));
                for name in ["a", "b"] {
                    assert_eq!(wal.get(name, 0).unwrap().as_deref(), Some(&b"0"[..]), "{call}");
                }
            },
        );
    }
}
