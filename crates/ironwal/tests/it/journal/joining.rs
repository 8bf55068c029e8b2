//! Where a stream's share in the journal meets what is in its segment: no holes, no gaps.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, Journal, Maintenance, SyncMode, Wal, WalOptions};

use super::{
    append_together, at_every_call, disk, entries, environment, open, options, segment, turn_over,
};

/// One file may be open, so what is appended to a stream whose file was closed stays in memory.
fn one_file(mode: SyncMode) -> WalOptions {
    WalOptions { max_open_segments: 1, ..options(mode) }
}

fn entry(id: u64) -> Vec<u8> {
    format!("entry number {id}").into_bytes()
}

/// A stream of which the entries 1 to 3 are in the journal and in no file.
fn unwritten(disk: &SimDisk) -> Wal {
    let wal = open(disk, &one_file(SyncMode::Strict));
    wal.append("x", &entry(0)).unwrap();
    wal.append("y", b"has the file now").unwrap();
    for id in 1..4 {
        wal.append("x", &entry(id)).unwrap();
    }
    let bytes = disk.contents(&segment("x", 0)).unwrap();
    let holds = |entry: &[u8]| bytes.windows(entry.len()).any(|window| window == entry);
    assert!(holds(&entry(0)) && !holds(&entry(1)), "the test needs entries that are not written");
    wal
}

type Step = (&'static str, fn(&Wal) -> Result<(), Error>);

const STEPS: [Step; 10] = [
    ("nothing", |_| Ok(())),
    ("written back with a large append", |wal| wal.append("x", &[9; 20_000]).map(|_| ())),
    ("synced", |wal| wal.stream("x")?.sync()),
    ("all synced", |wal| wal.sync_all()),
    ("cut read", |wal| wal.cut(&["x", "y"]).map(|_| ())),
    ("rotated", |wal| wal.stream("x")?.rotate()),
    ("cut", |wal| wal.stream("x")?.truncate_after(Some(2))),
    ("pruned", |wal| wal.stream("x")?.truncate_before(1).map(|_| ())),
    ("appended to another", |wal| wal.append("z", b"takes the file").map(|_| ())),
    ("in a batch", |wal| append_together(wal, &[("x", &entry(4)), ("z", b"0")]).map(|_| ())),
];

/// Whatever is done next, what is published and not written yet goes to the segment first: it can be
/// read all the time, and is there after power loss at any call.
#[test]
fn what_is_published_is_written_before_anything_else() {
    for (what, step) in STEPS {
        let check = |wal: &Wal, what: &str, is_cut: bool| {
            let x = wal.stream("x").unwrap();
            let end = if is_cut { 3 } else { 4 };
            assert!(x.next_id() >= end, "{what}: {} entries", x.next_id());
            for id in x.first_id()..end {
                assert_eq!(x.get(id).unwrap().as_deref(), Some(&entry(id)[..]), "{what}: {id}");
            }
        };
        let wal = unwritten(&disk(1));
        step(&wal).unwrap();
        check(&wal, what, what == "cut");
        drop(wal);
        at_every_call(
            |seed| {
                let disk = disk(seed);
                let wal = unwritten(&disk);
                (disk, wal)
            },
            |wal| {
                let _ = step(wal);
                for nth in 0..3 {
                    let _ = wal.append("z", &[nth; 200]);
                }
            },
            |disk, (), call| {
                let wal = open(disk, &one_file(SyncMode::Strict));
                check(&wal, &format!("{what}, call {call}"), what == "cut");
            },
        );
    }
}

/// The same when the journal is freed, when the log is closed, and when its last handle goes.
#[test]
fn what_is_published_is_written_before_the_journal_is_freed_or_closed() {
    for (seed, how) in (0..10).flat_map(|seed| (0..3).map(move |how| (seed, how))) {
        let disk = disk(seed);
        let wal = unwritten(&disk);
        match how {
            0 => turn_over(&disk, &wal, 3),
            1 => wal.close().unwrap(),
            _ => drop(wal.clone()),
        }
        if how == 2 {
            drop(wal);
            disk.crash();
        } else {
            disk.crash();
            drop(wal);
        }
        let wal = open(&disk, &one_file(SyncMode::Strict));
        let expected: Vec<_> = (0..4).map(entry).collect();
        assert_eq!(entries(&wal, "x"), expected, "seed {seed}, {how}");
    }
}

/// A write to the segment fails, of which the journal has the entries already.
#[test]
fn entries_whose_write_fails_stay_readable_and_survive() {
    for (seed, error) in (0..10)
        .flat_map(|seed| [ErrorKind::Other, ErrorKind::StorageFull].map(|error| (seed, error)))
    {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        wal.append("x", b"0").unwrap();
        wal.append("y", b"0").unwrap();
        disk.configure(|config| config.short_writes = 0.5);
        // The first write is that of the journal, if it is done in one.
        let mut acknowledged = 1;
        for nth in [2, 3, 4] {
            disk.fail_nth(CallKind::Write, nth, error);
        }
        let x = wal.stream("x").unwrap();
        while x.append(&[acknowledged; 900]).is_ok() {
            acknowledged += 1;
        }
        disk.clear_faults();
        disk.configure(|config| config.short_writes = 0.0);
        let read = |wal: &Wal| -> Vec<u8> {
            entries(wal, "x")[1..].iter().map(|entry| entry[0]).collect()
        };
        assert_eq!(read(&wal), (1..acknowledged).collect::<Vec<_>>(), "seed {seed}");
        let error = x.append(b"more").unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        disk.crash();
        drop((x, wal));
        let wal = open(&disk, &options(SyncMode::Strict));
        let mut found = read(&wal);
        found.truncate(usize::from(acknowledged - 1));
        assert_eq!(found, (1..acknowledged).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Single appends that were never synced, and then a batch that is: nothing may be missing below it.
#[test]
fn unsynced_entries_below_a_batch_are_durable_with_it() {
    let modes = [SyncMode::BatchOnly, SyncMode::Async, SyncMode::Interval(Duration::from_secs(9))];
    for (mode, seed) in modes.into_iter().flat_map(|mode| (0..30).map(move |seed| (mode, seed))) {
        let small = WalOptions {
            max_entries_per_segment: 2 + seed % 3 * 5,
            max_open_segments: 1 + seed as usize % 2 * 5,
            ..options(mode)
        };
        let disk = disk(seed);
        let wal = open(&disk, &small);
        let mut expected: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        for nth in 0..1 + seed % 7 {
            for (stream, of) in ["a", "b"].iter().zip(&mut expected) {
                let entry = vec![nth as u8; 100 + 700 * (seed as usize % 9)];
                wal.append(stream, &entry).unwrap();
                of.push(entry);
            }
        }
        append_together(&wal, &[("a", b"of the batch"), ("b", b"of the batch")]).unwrap();
        expected.iter_mut().for_each(|of| of.push(b"of the batch".to_vec()));
        disk.crash();
        drop(wal);
        let wal = open(&disk, &small);
        assert_eq!([entries(&wal, "a"), entries(&wal, "b")], expected, "{mode:?}, seed {seed}");
    }
}

/// The same with batches of one stream, which are synced in `BatchOnly` and have rounds in common.
#[test]
fn unsynced_entries_below_batches_of_several_streams_are_durable_with_them() {
    for seed in 0..30 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::BatchOnly));
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let wal = &wal;
                scope.spawn(move || {
                    for nth in 0..10_u8 {
                        wal.append(name, &[nth; 50]).unwrap();
                        wal.append_batch(name, &[&[nth; 20][..], &[nth; 30]]).unwrap();
                    }
                });
            }
        });
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::BatchOnly));
        for name in ["a", "b", "c", "d"] {
            let found: Vec<u8> = entries(&wal, name).iter().map(|entry| entry[0]).collect();
            let expected: Vec<u8> = (0..10).flat_map(|nth| [nth; 3]).collect();
            assert_eq!(found, expected, "seed {seed}: {name}");
        }
    }
}

/// Room for a share was reserved just before it went to the journal. If the room is lost with the
/// power, and the disk is full, there is nowhere to write the share when the log is opened.
#[test]
fn what_the_journal_holds_has_its_room_after_power_loss_on_a_full_disk() {
    for (mode, seed) in [SyncMode::Strict, SyncMode::Async]
        .into_iter()
        .flat_map(|mode| (0..40).map(move |seed| (mode, seed)))
    {
        let disk = disk(seed);
        let wal = open(&disk, &options(mode));
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        let large = [1; 9000];
        append_together(&wal, &[("a", &large), ("b", &large)]).unwrap();
        disk.crash();
        drop(wal);
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used));
        let wal = super::try_open(&disk, &options(mode), super::LARGE)
            .unwrap_or_else(|error| panic!("{mode:?}, seed {seed}: {error}"));
        for name in ["a", "b"] {
            assert_eq!(entries(&wal, name), [&b"0"[..], &large], "{mode:?}, seed {seed}");
        }
    }
}

/// Shares of 8 KiB and more are written back by their own callers, small ones go to the journal, in
/// one stream and at one time.
#[test]
fn large_and_small_appends_of_one_stream_stand_in_their_order() {
    for seed in 0..10 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict));
        let placed: Vec<(u64, u8, usize)> = std::thread::scope(|scope| {
            let appenders: Vec<_> = (0..4_u8)
                .map(|thread| {
                    let wal = &wal;
                    scope.spawn(move || {
                        let lens = [10, 17_000, 300, 40_000];
                        let append = |nth: usize| {
                            let len = lens[(nth + usize::from(thread)) % 4];
                            let name = if nth.is_multiple_of(5) { "other" } else { "x" };
                            let id = wal.append(name, &vec![thread; len]).unwrap();
                            (name == "x").then_some((id, thread, len))
                        };
                        (0..20).filter_map(append).collect::<Vec<_>>()
                    })
                })
                .collect();
            appenders.into_iter().flat_map(|appender| appender.join().unwrap()).collect()
        });
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        assert_eq!(entries(&wal, "x").len(), placed.len(), "seed {seed}");
        for (id, thread, len) in placed {
            assert_eq!(wal.get("x", id).unwrap().unwrap(), vec![thread; len], "seed {seed}: {id}");
        }
    }
}

/// What is committed and in the journal only is not in the file: a map of that would show zeros.
#[test]
fn what_is_only_in_the_journal_is_not_read_from_a_map() {
    let disk = disk(1);
    let options =
        WalOptions { read_strategy: ironwal::ReadStrategy::Mmap, ..options(SyncMode::Strict) };
    let wal = super::try_open(&disk, &options, super::LARGE).unwrap();
    let a = wal.stream("a").unwrap();
    for nth in 0..100_u8 {
        super::append_together(&wal, &[("a", &[nth; 200]), ("b", &[nth; 20])]).unwrap();
        for id in [0, u64::from(nth / 2), u64::from(nth)] {
            assert_eq!(a.get(id).unwrap().unwrap(), vec![id as u8; 200], "after {nth}");
        }
    }
    assert!(super::live_frames(&disk) > 0);
}

/// An append that is not synced and could be stored in memory at once comes after what is in the journal and
/// not in the file yet: that is written first, so that the file has no hole below its end.
#[test]
fn what_is_in_the_journal_is_not_overtaken_by_appends_in_place() {
    let disk = disk(1);
    let environment = environment(Arc::new(disk.process()), Journal::On)
        .with_maintenance(Maintenance::Thread)
        .with_journal_size(super::LARGE);
    let wal = Wal::open_with(options(SyncMode::BatchOnly), environment).unwrap();
    let a = wal.stream("a").unwrap();
    a.append(b"has room from now on").unwrap();
    let holds = |entry: &str| {
        let bytes = disk.contents(&segment("a", 0)).unwrap();
        bytes.windows(entry.len()).any(|window| window == entry.as_bytes())
    };
    let mut unwritten = 0;
    for nth in 0..50 {
        let (shared, alone) = (format!("shared {nth}."), format!("alone {nth}."));
        append_together(&wal, &[("a", shared.as_bytes()), ("b", b"shared")]).unwrap();
        unwritten += u32::from(!holds(&shared));
        a.append(alone.as_bytes()).unwrap();
        assert!(holds(&shared) || !holds(&alone), "{alone} has overtaken {shared}");
    }
    assert!(unwritten > 0, "nothing was ever left in the journal");
}
