//! Batches over several streams: whole or absent, in every mode, for readers and after a crash.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{
    CompressionType, Environment, Error, Journal, Maintenance, SyncMode, Wal, WalOptions,
};
use std::sync::Arc;
use std::time::Duration;

use super::{
    LARGE, SMALL, append_together, at_every_call, disk, entries, environment, open, options,
    try_open,
};

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_secs(1)),
];

const NAMES: [&str; 3] = ["a", "b", "c"];

/// How many batches are there, of two entries in each of the streams: the same in each of them. Entries
/// of others begin with 255.
fn batches_in(disk: &SimDisk, options: &WalOptions, names: &[&str], what: &str) -> usize {
    let wal = open(disk, options);
    let mut counts = names.iter().map(|name| {
        let mut of_batches = entries(&wal, name);
        of_batches.retain(|entry| entry[0] != 255);
        for (nth, entry) in of_batches.iter().enumerate() {
            assert_eq!(usize::from(entry[0]), nth / 2, "{what}: stream {name}, entry {nth}");
        }
        assert_eq!(of_batches.len() % 2, 0, "{what}: stream {name}: half a batch");
        of_batches.len() / 2
    });
    let count = counts.next().unwrap();
    assert!(counts.all(|other| other == count), "{what}: a batch is in some streams only");
    count
}

/// Appends batches, and single entries between them; returns how many batches were acknowledged.
fn append_batches(wal: &Wal, names: &[&str], count: u8, len: usize) -> usize {
    for nth in 0..count {
        let mut batch = wal.batch();
        for name in names {
            batch.append(name, vec![nth; len]).append(name, vec![nth; len / 2 + 1]);
        }
        if batch.commit().is_err() {
            return usize::from(nth);
        }
        let _ = wal.append(names[usize::from(nth) % names.len()], &[255; 40]);
    }
    usize::from(count)
}

fn whole_or_absent(options: &WalOptions, names: &[&str], count: u8, len: usize) {
    for size in [SMALL, LARGE] {
        whole_or_absent_in(size, options, names, count, len);
    }
}

fn whole_or_absent_in(size: u64, options: &WalOptions, names: &[&str], count: u8, len: usize) {
    let new = |seed| {
        let disk = disk(seed);
        let wal = try_open(&disk, options, size).unwrap();
        wal.append(names[0], &[255; 40]).unwrap();
        (disk, wal)
    };
    at_every_call(
        new,
        |wal| append_batches(wal, names, count, len),
        |disk, acknowledged, call| {
            let what = format!("{:?}, call {call}", options.sync_mode);
            let found = batches_in(disk, options, names, &what);
            assert!(found >= acknowledged, "{what}: {found} batches of {acknowledged}");
            assert!(found <= acknowledged + 1, "{what}: {found} batches of {acknowledged}");
            disk.crash();
            assert_eq!(batches_in(disk, options, names, &what), found, "{what}: opened again");
        },
    );
}

#[test]
fn a_batch_is_whole_or_absent_after_power_loss_at_any_call() {
    for mode in MODES {
        whole_or_absent(&options(mode), &NAMES, 4, 100);
    }
}

#[test]
fn the_same_where_segments_end_within_a_few_entries() {
    for mode in [SyncMode::Strict, SyncMode::Async] {
        let small = WalOptions {
            max_segment_size: 400,
            max_entries_per_segment: 2,
            max_open_segments: 2,
            ..options(mode)
        };
        whole_or_absent(&small, &NAMES, 3, 100);
    }
}

#[test]
fn the_same_where_a_batch_is_larger_than_segments_and_journal() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly] {
        let small = WalOptions { max_segment_size: 4000, ..options(mode) };
        whole_or_absent(&small, &NAMES, 2, 60_000);
    }
}

#[test]
fn one_stream_may_be_a_batch() {
    whole_or_absent(&options(SyncMode::Async), &["only"], 3, 50);
}

#[test]
fn three_hundred_streams_that_are_new_get_a_batch_whole() {
    let names: Vec<String> = (0..300).map(|nth| format!("s{nth}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let few = WalOptions { max_open_segments: 10, ..options(SyncMode::BatchOnly) };
    for seed in 0..4 {
        let disk = disk(seed);
        let wal = open(&disk, &few);
        let calls = disk.calls_total();
        assert_eq!(append_batches(&wal, &names, 1, 20), 1);
        let all = disk.calls_total() - calls;
        disk.crash();
        drop(wal);
        assert_eq!(batches_in(&disk, &few, &names, "done"), 1);
        for back in [1, 2, 3, 5, 20] {
            let disk = self::disk(seed);
            let wal = open(&disk, &few);
            disk.cut_power_at(all - back);
            let done = append_batches(&wal, &names, 1, 20);
            disk.crash();
            drop(wal);
            let found = batches_in(&disk, &few, &names, "cut short");
            assert!(found >= done, "{back} calls before the end: {found}, {done}");
        }
    }
}

/// A reader that sees a part of a batch finds all of it, in every stream.
#[test]
fn readers_see_all_of_a_batch_or_nothing() {
    let disk = disk(1);
    let environment =
        environment(Arc::new(disk.process()), Journal::Auto).with_maintenance(Maintenance::Thread);
    let wal = Wal::open_with(options(SyncMode::Strict), environment).unwrap();
    append_together(&wal, &[("a", b"0"), ("b", b"0"), ("c", b"0")]).unwrap();
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let streams = NAMES.map(|name| wal.stream(name).unwrap());
                    let mut seen = 0;
                    while !over.load(Ordering::SeqCst) {
                        let end = streams[0].next_id();
                        for stream in &streams[1..] {
                            assert!(stream.next_id() >= end, "half a batch can be read");
                            assert!(stream.get(end - 1).unwrap().is_some(), "{end}");
                        }
                        // The other way round as well.
                        let end = streams[2].next_id();
                        assert!(streams[0].get(end - 1).unwrap().is_some(), "{end}");
                        seen = end;
                    }
                    seen
                })
            })
            .collect();
        for nth in 0..2000_u32 {
            append_together(&wal, &[("a", &[1; 30]), ("b", &[2; 60]), ("c", &nth.to_le_bytes())])
                .unwrap();
        }
        over.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    assert!(seen > 10, "nobody read while batches were appended: {seen}");
}

/// Batches of several threads over the same streams, each in an order of its own.
#[test]
fn batches_of_many_threads_stand_in_one_order_in_all_streams() {
    for choice in [Journal::Auto, Journal::Off] {
        let disk = disk(1);
        let environment =
            environment(Arc::new(disk.process()), choice).with_maintenance(Maintenance::Thread);
        let small = WalOptions { max_segment_size: 3000, ..options(SyncMode::Strict) };
        let wal = Wal::open_with(small.clone(), environment).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let wal = &wal;
                scope.spawn(move || {
                    for nth in 0..40_u8 {
                        let entry = [thread, nth];
                        let ids = append_together(wal, &[("a", &entry), ("b", &entry)]).unwrap();
                        assert_eq!(wal.get("a", ids["a"]).unwrap().unwrap(), entry);
                        wal.append(["c", "d"][usize::from(nth % 2)], &entry).unwrap();
                    }
                });
            }
        });
        disk.crash();
        drop(wal);
        let wal = open(&disk, &small);
        let (a, b) = (entries(&wal, "a"), entries(&wal, "b"));
        assert_eq!((a.len(), &a), (320, &b), "{choice:?}");
        assert_eq!(entries(&wal, "c").len() + entries(&wal, "d").len(), 320);
    }
}

#[test]
fn a_batch_that_expects_another_id_changes_nothing() {
    for mode in MODES {
        let disk = disk(1);
        let wal = open(&disk, &options(mode));
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        for (expected, is_right) in [(0, false), (1, true), (3, false)] {
            let before = (entries(&wal, "a"), entries(&wal, "b"));
            let mut batch = wal.batch();
            batch.append("a", b"1").append("b", b"1").expect_next("b", expected);
            match batch.commit() {
                Ok(ids) => {
                    assert!(is_right, "{expected}");
                    assert_eq!((ids["a"].clone(), ids["b"].clone()), (1..2, 1..2));
                }
                Err(Error::Conflict { stream, expected: found, next_id }) => {
                    assert!(!is_right, "{expected}");
                    assert_eq!(
                        (stream.as_str(), found, next_id),
                        ("b", expected, before.1.len() as u64)
                    );
                    assert_eq!((entries(&wal, "a"), entries(&wal, "b")), before);
                }
                Err(error) => panic!("{error}"),
            }
        }
        // Of a stream for which nothing is appended, nothing is expected.
        let mut batch = wal.batch();
        batch.append("a", b"2").expect_next("b", 99);
        assert_eq!(batch.commit().unwrap()["a"], 2..3);
    }
}

#[test]
fn a_batch_with_a_poisoned_stream_appends_nothing_anywhere() {
    for mode in MODES {
        let disk = disk(1);
        let wal = open(&disk, &options(mode));
        append_together(&wal, &[("a", b"0"), ("b", b"0"), ("c", b"0")]).unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        let b = wal.stream("b").unwrap();
        assert!(b.append(&[1; 20_000]).and_then(|_| b.sync()).is_err());
        disk.clear_faults();
        let error = append_together(&wal, &[("a", b"1"), ("b", b"1"), ("c", b"1")]).unwrap_err();
        assert!(matches!(&error, Error::Poisoned { stream, .. } if stream == "b"), "{error}");
        for name in ["a", "c"] {
            assert_eq!(entries(&wal, name), [b"0"], "{mode:?}");
            assert_eq!(wal.append(name, b"1").unwrap(), 1, "{mode:?}");
        }
        disk.crash();
        let again = open(&disk, &options(mode));
        assert!(!entries(&again, "b").is_empty(), "{mode:?}");
        for name in NAMES {
            let found = entries(&again, name);
            assert_eq!(found[0], b"0", "{mode:?}");
        }
        drop(wal);
    }
}

#[test]
fn a_batch_begins_a_deleted_stream_anew() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
    wal.delete_stream("b").unwrap();
    let ids = append_together(&wal, &[("a", b"1"), ("b", b"of the new")]).unwrap();
    assert_eq!((ids["a"], ids["b"]), (1, 0));
    disk.crash();
    drop(wal);
    let wal = open(&disk, &options(SyncMode::Strict));
    assert_eq!(entries(&wal, "b"), [b"of the new"]);
    assert_eq!(entries(&wal, "a"), [b"0", b"1"]);
}

#[test]
fn what_a_batch_holds_is_appended_in_its_order() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    let empty = wal.batch();
    assert!(empty.is_empty());
    let calls = disk.calls_total();
    assert!(empty.commit().unwrap().is_empty());
    assert_eq!(disk.calls_total(), calls, "an empty batch costs nothing");

    let mut batch = wal.batch();
    batch.append("b", b"0").append("a", b"0").append("b", b"1").append("b", b"2");
    assert_eq!((batch.len(), batch.is_empty()), (4, false));
    let ids = batch.commit().unwrap();
    assert_eq!(ids.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((ids["a"].clone(), ids["b"].clone()), (0..1, 0..3));
    assert_eq!(entries(&wal, "b"), [b"0", b"1", b"2"]);
    // One that is dropped appends nothing.
    wal.batch().append("a", b"never");
    assert_eq!(entries(&wal, "a"), [b"0"]);
}

#[test]
fn a_batch_that_cannot_be_appended_says_why_and_appends_nothing() {
    let disk = disk(1);
    let wal = open(&disk, &options(SyncMode::Strict));
    wal.append("a", b"0").unwrap();
    for name in ["", "x".repeat(300).as_str(), "nul\0"] {
        let mut batch = wal.batch();
        batch.append("a", b"1").append(name, b"1");
        match batch.commit() {
            Err(Error::Config(_)) => assert_eq!(entries(&wal, "a"), [b"0"], "{name:?}"),
            Err(error) => panic!("{name:?}: {error}"),
            // A name that can be encoded.
            Ok(_) => assert_eq!(name, "nul\0"),
        }
    }
    let before = (wal.streams(), entries(&wal, "a"));
    // Memory that is never touched.
    let mut batch = wal.batch();
    batch.append("a", vec![0; 600 << 20]).append("new", vec![0; 600 << 20]);
    let error = batch.commit().unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!((wal.streams(), entries(&wal, "a")), before);

    let batch = |wal: &Wal| append_together(wal, &[("a", b"1"), ("b", b"1")]).unwrap_err();
    let reader = Wal::open_read_only_with(
        options(SyncMode::Strict),
        Environment::default().with_storage(Arc::new(disk.process())),
    )
    .unwrap();
    assert!(matches!(batch(&reader), Error::ReadOnly(_)), "{:?}", batch(&reader));
    wal.close().unwrap();
    assert!(matches!(batch(&wal), Error::Closed), "{:?}", batch(&wal));
    assert!(matches!(wal.batch().commit(), Err(Error::Closed)));
}

#[test]
fn a_batch_may_be_compressed() {
    let disk = disk(1);
    let options = WalOptions {
        compression: CompressionType::Lz4,
        min_compression_size: 100,
        ..options(SyncMode::Strict)
    };
    let wal = open(&disk, &options);
    let long = vec![5; 50_000];
    for _ in 0..3 {
        append_together(&wal, &[("a", &long), ("b", b"short")]).unwrap();
    }
    disk.crash();
    drop(wal);
    let wal = open(&disk, &options);
    assert_eq!(entries(&wal, "a"), [&long[..], &long, &long]);
    assert_eq!(entries(&wal, "b").len(), 3);
    assert!(wal.stats().bytes < 40_000, "it was not compressed");
}
