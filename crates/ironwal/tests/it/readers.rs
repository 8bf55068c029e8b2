//! A log that is opened for reading only, beside the process that writes: after each operation the
//! reader sees exactly what is committed, through the handles that it has had all along.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Environment, Error, Stream, SyncMode, Wal, WalOptions};

use crate::model::open;

const NAMES: [&str; 2] = ["a", "b/c"];

fn reader(disk: &SimDisk, options: &WalOptions) -> Wal {
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    Wal::open_read_only_with(options.clone(), environment).unwrap()
}

/// One stream: what it holds, and the handles of the reader.
#[derive(Default)]
struct Known {
    first_id: u64,
    entries: Vec<Vec<u8>>,
    handle: Option<Stream>,
}

impl Known {
    fn next_id(&self) -> u64 {
        self.first_id + self.entries.len() as u64
    }
}

fn check(seed: u64, reader: &Wal, name: &str, known: &mut Known, rng: &mut Rng) {
    let ids = known.first_id..known.next_id();
    let at = |id: u64| known.entries[(id - known.first_id) as usize].clone();
    let read: Vec<(u64, Vec<u8>)> =
        reader.iter_with_ids(name, 0).unwrap().collect::<Result<_, _>>().unwrap();
    let expected: Vec<(u64, Vec<u8>)> = ids.clone().map(|id| (id, at(id))).collect();
    assert_eq!(read, expected, "seed {seed}: {name}");
    let id = rng.u64(..known.next_id() + 3);
    let expected = ids.contains(&id).then(|| at(id));
    assert_eq!(reader.get(name, id).unwrap(), expected, "seed {seed}: {name} {id}");
    let handle = known.handle.get_or_insert_with(|| reader.stream(name).unwrap());
    let span = (handle.first_id(), handle.next_id());
    assert_eq!(span, (ids.start, ids.end), "seed {seed}: {name}");
    assert!(handle.durable_end() <= ids.end);
    let mut backwards: Vec<u64> = handle.range(..).rev().map(|entry| entry.unwrap().0).collect();
    backwards.reverse();
    assert_eq!(backwards, ids.collect::<Vec<_>>(), "seed {seed}: {name}");
}

fn run(seed: u64, mode: SyncMode) {
    let mut rng = Rng::with_seed(seed);
    let disk = SimDisk::new(seed);
    let options = WalOptions {
        sync_mode: mode,
        max_segment_size: [0, 200, 1500, 1 << 20][rng.usize(..4)],
        max_open_segments: rng.usize(1..4),
        archive_path: rng.bool().then(|| "/archive".into()),
        ..WalOptions::new("/log")
    };
    let mut writer = open(&disk, &options).unwrap();
    let mut reader = reader(&disk, &options);
    let mut streams: [Known; 2] = Default::default();
    for _ in 0..rng.usize(1..60) {
        let which = rng.usize(..2);
        let (name, known) = (NAMES[which], &mut streams[which]);
        let stream = writer.stream(name).unwrap();
        let what = rng.u8(..26);
        if std::env::var_os("IRONWAL_SEED").is_some() {
            eprintln!("{what} on {name}");
        }
        match what {
            0..8 => {
                let entry = vec![rng.u8(..); rng.usize(..300)];
                assert_eq!(stream.append(&entry).unwrap(), known.next_id());
                known.entries.push(entry);
            }
            8..13 => {
                let entries: Vec<Vec<u8>> =
                    (0..rng.usize(1..5)).map(|_| vec![rng.u8(..); rng.usize(..200)]).collect();
                let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                stream.append_batch(&slices).unwrap();
                known.entries.extend(entries);
            }
            13 => stream.rotate().unwrap(),
            14 => {
                stream
                    .truncate_before(known.first_id + rng.u64(..known.entries.len() as u64 + 2))
                    .unwrap();
                let gone = stream.first_id() - known.first_id;
                known.entries.drain(..gone as usize);
                known.first_id += gone;
            }
            15 => {
                writer.truncate(name, rng.u64(..known.next_id() + 2)).unwrap();
                let gone = stream.first_id() - known.first_id;
                known.entries.drain(..gone as usize);
                known.first_id += gone;
            }
            16 if !known.entries.is_empty() => {
                let left = rng.usize(..known.entries.len());
                let last =
                    known.first_id.checked_add(left as u64).and_then(|end| end.checked_sub(1));
                stream.truncate_after(last).unwrap();
                if last.is_some() || left == 0 {
                    known.entries.truncate(left);
                }
            }
            17 => {
                writer.delete_stream(name).unwrap();
                *known = Known::default();
                assert_eq!(reader.get(name, 0).unwrap(), None, "seed {seed}");
            }
            18 => {
                writer.close().unwrap();
                if rng.bool() {
                    check(seed, &reader, name, known, &mut rng);
                }
                writer = open(&disk, &options).unwrap();
            }
            19 => {
                // As a process that is gone: the reader's is another one.
                drop(stream);
                drop(std::mem::replace(&mut writer, reader.clone()));
                check(seed, &reader, name, known, &mut rng);
                writer = open(&disk, &options).unwrap();
            }
            20 => {
                let other = self::reader(&disk, &options);
                check(seed, &other, name, &mut Known { handle: None, ..known.copy() }, &mut rng);
            }
            21 => {
                reader.close().unwrap();
                assert!(matches!(reader.get(name, 0), Err(Error::Closed)));
                reader = self::reader(&disk, &options);
                streams.iter_mut().for_each(|known| known.handle = None);
            }
            22 | 23 => {
                // What was written and is refused is never seen, before the writer recovers it.
                let kinds = [CallKind::Write, CallKind::Sync];
                disk.fail_nth(kinds[rng.usize(..2)], rng.u64(1..3), std::io::ErrorKind::Other);
                let entry = vec![rng.u8(..); rng.usize(..300)];
                let appended = stream.append_batch(&[&entry, b"and another"]);
                disk.clear_faults();
                if appended.is_ok() {
                    known.entries.extend([entry, b"and another".to_vec()]);
                }
                check(seed, &reader, name, known, &mut rng);
                drop(stream);
                let _ = writer.close();
                check(seed, &reader, name, known, &mut rng);
                writer = open(&disk, &options).unwrap();
                // Also another stream can have failed, whose file had to be closed.
                for (name, known) in NAMES.into_iter().zip(&mut streams) {
                    let recovered: Result<Vec<_>, _> = writer.iter(name, 0).unwrap().collect();
                    let recovered = recovered.unwrap();
                    assert!(recovered.starts_with(&known.entries), "seed {seed}");
                    known.entries = recovered;
                }
            }
            _ => {
                assert!(matches!(reader.append(name, b"x"), Err(Error::ReadOnly(_))));
                assert!(matches!(reader.delete_stream(name), Err(Error::ReadOnly(_))));
            }
        }
        for (name, known) in NAMES.into_iter().zip(&mut streams) {
            if rng.u8(..3) > 0 {
                check(seed, &reader, name, known, &mut rng);
            }
        }
    }
}

impl Known {
    fn copy(&self) -> Self {
        Self { entries: self.entries.clone(), handle: None, ..*self }
    }
}

#[test]
fn a_reader_sees_exactly_what_is_committed() {
    let seeds = std::env::var("IRONWAL_SEEDS").ok().map_or(300, |seeds| seeds.parse().unwrap());
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..seeds {
            run(seed, mode);
        }
    }
}

/// A reader knew of a pruning, and then another process opened the log. All segments were taken for
/// new ones, as if the stream had been cut: ranges that somebody was in the middle of ended there,
/// without an error.
#[test]
fn a_range_goes_on_when_the_log_is_opened_anew() {
    opened_anew(100, None);
    // Nor does it end where a segment cannot be opened for a moment, when it is looked up anew.
    let failed: Vec<bool> = (1..60).map(|nth| opened_anew(1, Some(nth))).collect();
    assert!(failed.contains(&true) && failed.contains(&false), "{failed:?}");
}

/// Returns whether anything failed.
fn opened_anew(files: usize, fail_open: Option<u64>) -> bool {
    let disk = SimDisk::new(1);
    let options = WalOptions {
        max_segment_size: 200,
        max_open_read_segments: files,
        ..WalOptions::new("/log")
    };
    let writer = open(&disk, &options).unwrap();
    let stream = writer.stream("a").unwrap();
    for id in 0..60_u8 {
        stream.append(&[id; 30]).unwrap();
    }
    let reader = reader(&disk, &options);
    let read = reader.stream("a").unwrap();
    assert_eq!(read.next_id(), 60);
    assert!(stream.truncate_before(20).unwrap() > 3);
    let first_id = stream.first_id();
    assert_eq!(read.first_id(), first_id);
    let mut ranges = [read.range(..), read.range(30..), read.range(..)];
    assert_eq!(ranges[0].next().unwrap().unwrap().0, first_id);
    assert_eq!(ranges[1].next().unwrap().unwrap().0, 30);
    assert_eq!(ranges[2].next_back().unwrap().unwrap().0, 59);
    drop(stream);
    writer.close().unwrap();
    let writer = open(&disk, &options).unwrap();
    writer.append("a", b"60").unwrap();
    if let Some(nth) = fail_open {
        disk.fail_nth(CallKind::Open, nth, std::io::ErrorKind::Other);
    }
    let failed = read.next_id() < 61;
    disk.clear_faults();
    assert_eq!(read.next_id(), 61);
    let opened = disk.calls(CallKind::Open);
    read.get(30).unwrap();
    assert!(files == 1 || disk.calls(CallKind::Open) == opened, "it is the segment that was known");
    let [all, half, back] = ranges.map(|range| range.map(|entry| entry.unwrap().0));
    assert_eq!(all.collect::<Vec<_>>(), (first_id + 1..60).collect::<Vec<_>>());
    assert_eq!(half.collect::<Vec<_>>(), (31..60).collect::<Vec<_>>());
    assert_eq!(back.collect::<Vec<_>>(), (first_id..59).collect::<Vec<_>>());
    failed
}

/// Where a stream ends cannot be found out: a range says so, from either end, and does not end early.
#[test]
fn a_range_of_unknown_end_says_so() {
    let disk = SimDisk::new(1);
    let options = WalOptions::new("/log");
    let writer = open(&disk, &options).unwrap();
    writer.append("a", b"0").unwrap();
    let reader = reader(&disk, &options);
    let read = reader.stream("a").unwrap();
    assert_eq!(read.next_id(), 1);
    for turn in 0..2 {
        writer.append("a", b"more").unwrap();
        disk.fail_nth(CallKind::Read, 1, std::io::ErrorKind::Other);
        let mut range = read.range(..);
        disk.clear_faults();
        let error = if turn == 0 { range.next() } else { range.next_back() };
        let error = error.unwrap().unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
        assert!(range.next().is_none() && range.next_back().is_none());
        assert_eq!(read.range(..).count() as u64, 2 + turn);
    }
}

/// The story: a stream was deleted and restored from the archive, and an append took an id that had been
/// taken before. A reader that had not looked in between took the new segment, of the same name, for the
/// one that it knew: it read what had been deleted, or found damage.
#[test]
fn a_stream_that_was_restored_is_read_from_its_new_files() {
    let disk = SimDisk::new(1);
    let options = WalOptions {
        max_entries_per_segment: 4,
        archive_path: Some("/archive".into()),
        ..WalOptions::new("/log")
    };
    let mut writer = open(&disk, &options).unwrap();
    for id in 0..4_u8 {
        writer.append("s", &[id; 9]).unwrap();
    }
    let entry = |life: u8| vec![life; 30];
    writer.append("s", &entry(0)).unwrap();
    let reader = reader(&disk, &options);
    let stream = reader.stream("s").unwrap();
    // By one writer, and by several: one that deletes, one that restores, one that appends.
    for (life, writers) in [(1, 1), (2, 3)] {
        assert_eq!(stream.get(4).unwrap().unwrap()[..], entry(life - 1));
        let next_writer = |writer: Wal| match writers {
            1 => writer,
            _ => {
                writer.close().unwrap();
                open(&disk, &options).unwrap()
            }
        };
        writer.truncate("s", 4).unwrap();
        writer.delete_stream("s").unwrap();
        writer = next_writer(writer);
        assert_eq!(writer.restore_archived("s").unwrap(), 1);
        writer = next_writer(writer);
        assert_eq!(writer.append("s", &entry(life)).unwrap(), 4);
        assert_eq!(stream.get(4).unwrap().unwrap()[..], entry(life));
    }
}

/// One thread appends to one stream and then to the other; whoever looks at one after the other sees the
/// second append without the first.
#[test]
fn a_cut_beside_a_writer_is_one_instant() {
    const CUTS_MIN: usize = 300;
    const ENTRIES_MIN: u64 = 100;

    for mode in [SyncMode::Strict, SyncMode::Async] {
        let disk = SimDisk::new(1);
        let options = WalOptions { sync_mode: mode, ..WalOptions::new("/log") };
        let writer = open(&disk, &options).unwrap();
        let reader = reader(&disk, &options);
        assert_eq!(reader.cut(&["a", "b", "missing"]).unwrap(), [0, 0, 0]);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (a, b) = (writer.stream("a").unwrap(), writer.stream("b").unwrap());
                while !over.load(Ordering::Relaxed) {
                    a.append(b"first").unwrap();
                    b.append(b"second").unwrap();
                }
            });
            let mut cuts = Vec::new();
            // However late the writer comes to run. What is wrong is said when it has ended.
            let mut is_busy = true;
            while is_busy {
                let cut = reader.cut(&["b", "missing", "a"]);
                is_busy =
                    cut.as_ref().is_ok_and(|cut| cut[2] < ENTRIES_MIN || cuts.len() < CUTS_MIN);
                cuts.push(cut);
            }
            over.store(true, Ordering::Relaxed);
            let mut before = 0;
            for cut in cuts {
                let cut = cut.unwrap();
                let [b, 0, a] = cut[..] else { panic!("{cut:?}") };
                assert!(a == b || a == b + 1, "{mode:?}: {a} entries of a, {b} of b");
                assert!(a >= before, "{mode:?}: {a} after {before}");
                before = a;
            }
            assert!(before >= ENTRIES_MIN, "{mode:?}");
        });
        writer.close().unwrap();
        let ends = reader.cut(&["a", "b"]).unwrap();
        assert_eq!(ends[0], ends[1], "{mode:?}");
    }
}
