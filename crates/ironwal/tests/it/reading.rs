//! Reading: ranges from both ends, batches of ids, caches, mapped and compressed logs.

use std::collections::BTreeSet;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fastrand::Rng;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{
    CompressionType, CorruptionPolicy, Error, ReadStrategy, Stream, SyncMode, Wal, WalOptions,
};

use crate::model::open;

const ROOT: &str = "/log";

fn options() -> WalOptions {
    WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(ROOT) }
}

fn lz4() -> CompressionType {
    #[cfg(feature = "compression")]
    return CompressionType::Lz4;
    #[cfg(not(feature = "compression"))]
    return CompressionType::None;
}

/// What an iterator yielded, with what can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Entry(u64, Bytes),
    Damaged(std::ops::Range<u64>, u64, String),
}

fn item(next: ironwal::Result<(u64, Bytes)>) -> Item {
    match next {
        Ok((id, entry)) => Item::Entry(id, entry),
        Err(Error::Damaged { ids, offset, reason, .. }) => Item::Damaged(ids, offset, reason),
        Err(error) => panic!("{error}"),
    }
}

fn ids(stream: &Stream, range: impl RangeBounds<u64>) -> Vec<u64> {
    stream.range(range).map(|entry| entry.unwrap().0).collect()
}

fn entry(id: u64) -> Vec<u8> {
    format!("entry {id}").into_bytes()
}

/// A stream with `count` entries in segments of `per_segment`.
fn stream_of(wal: &Wal, count: u64) -> Stream {
    let stream = wal.stream("s").unwrap();
    for id in 0..count {
        assert_eq!(stream.append(&entry(id)).unwrap(), id);
    }
    stream
}

#[test]
fn ranges_mean_what_they_say() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_entries_per_segment: 3, ..options() };
    let wal = open(&disk, &options).unwrap();
    let empty = wal.stream("empty").unwrap();
    assert_eq!(ids(&empty, ..), []);
    assert!(empty.range(..).next_back().is_none());
    let stream = stream_of(&wal, 8);
    assert_eq!(ids(&stream, ..), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(ids(&stream, 2..5), [2, 3, 4]);
    assert_eq!(ids(&stream, 2..=5), [2, 3, 4, 5]);
    assert_eq!(ids(&stream, ..=2), [0, 1, 2]);
    assert_eq!(ids(&stream, 6..), [6, 7]);
    assert_eq!(ids(&stream, 6..u64::MAX), [6, 7]);
    assert_eq!(ids(&stream, ..=u64::MAX), ids(&stream, ..));
    assert_eq!(ids(&stream, 8..), []);
    assert_eq!(ids(&stream, u64::MAX..=u64::MAX), []);
    let (from, to) = (5, 2);
    assert_eq!(ids(&stream, from..to), [], "an empty range is no error");
    use std::ops::Bound::{Excluded, Unbounded};
    assert_eq!(ids(&stream, (Excluded(5), Unbounded)), [6, 7]);
    assert_eq!(ids(&stream, (Excluded(u64::MAX), Unbounded)), []);
    let mut backwards: Vec<u64> = stream.range(1..7).rev().map(|it| it.unwrap().0).collect();
    backwards.reverse();
    assert_eq!(backwards, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_range_ends_where_the_stream_ended_and_stays_over() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &options()).unwrap();
    let stream = stream_of(&wal, 3);
    let mut range = stream.range(..);
    stream.append(b"later").unwrap();
    assert_eq!(range.size_hint(), (0, Some(3)));
    assert_eq!(range.next().unwrap().unwrap().0, 0);
    assert_eq!(range.next_back().unwrap().unwrap().0, 2);
    assert_eq!(range.size_hint(), (0, Some(1)));
    assert_eq!(range.next_back().unwrap().unwrap().0, 1);
    for _ in 0..3 {
        assert!(range.next().is_none() && range.next_back().is_none());
    }
    assert_eq!(range.size_hint(), (0, Some(0)));

    let mut outlives = stream.range(2..);
    drop((stream, range));
    let other = std::thread::spawn(move || outlives.next().unwrap().unwrap().0);
    assert_eq!(other.join().unwrap(), 2);
    let closed = wal.stream("s").unwrap();
    let mut range = closed.range(..);
    wal.close().unwrap();
    assert!(matches!(range.next_back(), Some(Err(Error::Closed))));
    assert!(range.next().is_none() && range.next_back().is_none());
}

#[test]
fn an_error_of_the_disk_ends_a_range_at_both_ends() {
    for from_back in [false, true] {
        let disk = SimDisk::new(1);
        let wal = open(&disk, &options()).unwrap();
        let stream = stream_of(&wal, 10);
        let mut range = stream.range(..);
        disk.fail_nth(CallKind::Read, 1, std::io::ErrorKind::Other);
        let next = if from_back { range.next_back() } else { range.next() };
        assert!(matches!(next, Some(Err(Error::Io(_)))), "{next:?}");
        assert!(range.next().is_none() && range.next_back().is_none());
        assert_eq!(ids(&stream, ..).len(), 10, "the next one works");
    }
}

#[test]
fn batches_of_ids_come_in_their_order() {
    let disk = SimDisk::new(1);
    for block_cache_size in [None, Some(1 << 20)] {
        let wal = open(
            &disk.snapshot(),
            &WalOptions { max_entries_per_segment: 7, block_cache_size, ..options() },
        )
        .unwrap();
        let stream = stream_of(&wal, 50);
        stream.append_batch(&[b"b0", b"b1", b"b2"]).unwrap();
        let wanted = [40, 3, 3, 51, 1000, 0, u64::MAX, 52, 49, 50, 53, 3];
        let found = wal.get_batch("s", &wanted).unwrap();
        let expected: Vec<Option<Vec<u8>>> = wanted
            .iter()
            .map(|id| match id {
                0..50 => Some(entry(*id)),
                50..53 => Some(format!("b{}", id - 50).into_bytes()),
                _ => None,
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(wal.get_batch("none", &[0, 1]).unwrap(), [None, None]);
        assert_eq!(wal.get_batch("", &[]).unwrap(), [None; 0]);
        assert!(matches!(wal.get_batch("", &[0]), Err(Error::Config(_))));
        wal.close().unwrap();
        assert!(matches!(wal.get_batch("s", &[]), Err(Error::Closed)));
        assert!(matches!(wal.get_batch("s", &[0]), Err(Error::Closed)));
    }
}

#[test]
fn one_damaged_entry_fails_a_batch_of_ids() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_entries_per_segment: 5, ..options() };
    let wal = open(&disk, &options).unwrap();
    stream_of(&wal, 20);
    wal.close().unwrap();
    disk.overwrite(&segment(5), 8192 + 26, b"?").unwrap();
    let wal = open(&disk, &options).unwrap();
    assert!(matches!(wal.get_batch("s", &[4, 5, 6]), Err(Error::CrcMismatch { .. })));
    assert_eq!(wal.get_batch("s", &[6, 4]).unwrap(), [Some(entry(6)), Some(entry(4))]);
}

fn segment(first_id: u64) -> PathBuf {
    Path::new(ROOT).join(format!("s/{first_id:020}.wal"))
}

#[test]
fn a_missing_segment_is_damage_from_either_end() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_entries_per_segment: 5, ..options() };
    let wal = open(&disk, &options).unwrap();
    stream_of(&wal, 20);
    wal.close().unwrap();
    // Gone before it is opened, or while it is open.
    for before in [true, false] {
        let disk = disk.snapshot();
        let wal = (!before).then(|| open(&disk, &options).unwrap());
        disk.remove(&segment(5)).unwrap();
        let wal = wal.unwrap_or_else(|| open(&disk, &options).unwrap());
        let stream = wal.stream("s").unwrap();
        let error = stream.get(7).unwrap_err();
        assert!(matches!(&error, Error::Damaged { ids, .. } if *ids == (5..10)), "{error}");
        assert!(error.to_string().contains("missing"), "{error}");
        let forwards: Vec<Item> = stream.range(..).map(item).collect();
        let mut backwards: Vec<Item> = stream.range(..).rev().map(item).collect();
        backwards.reverse();
        assert_eq!(forwards.len(), 16);
        assert_eq!(forwards, backwards);
    }
}

/// The header of the newest segment is lost, and with it the end of the stream.
#[test]
fn a_lost_end_is_damage_from_either_end() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_entries_per_segment: 5, ..options() };
    let wal = open(&disk, &options).unwrap();
    stream_of(&wal, 12);
    wal.close().unwrap();
    disk.overwrite(&segment(10), 0, &[0xEE; 8192]).unwrap();
    let wal = open(&disk, &options).unwrap();
    let stream = wal.stream("s").unwrap();
    let forwards: Vec<Item> = stream.range(..).map(item).collect();
    let mut backwards: Vec<Item> = stream.range(..).rev().map(item).collect();
    backwards.reverse();
    assert_eq!(forwards.len(), 11);
    assert!(matches!(&forwards[10], Item::Damaged(ids, ..) if ids.start == 10));
    let error = stream.range(10..).next().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("Damaged entries from 10 on of stream \"s\""), "{error}");
    assert_eq!(forwards, backwards);
    assert_eq!(ids(&stream, ..10).len(), 10);
}

/// Random appends in random shapes, reopened now and then with other options: the entries, and the ids
/// of those in batches whose data is checked in pieces.
fn random_log(rng: &mut Rng, disk: &SimDisk) -> (Vec<Vec<u8>>, BTreeSet<u64>) {
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut in_pieces = BTreeSet::new();
    for _ in 0..rng.usize(1..4) {
        let wal = open(disk, &random_options(rng)).unwrap();
        let stream = wal.stream("s").unwrap();
        for _ in 0..rng.usize(0..60) {
            let count = if rng.bool() { 1 } else { rng.usize(1..12) };
            let batch: Vec<Vec<u8>> = (0..count)
                .map(|_| {
                    let alphabet = if rng.bool() { 3 } else { 255 };
                    let len = if rng.u8(..9) == 0 { 6000 } else { 200 };
                    (0..rng.usize(..len)).map(|_| rng.u8(..alphabet)).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            let ids = stream.append_batch(&slices).unwrap();
            if count > 1 && slices.concat().len() > 4096 {
                in_pieces.extend(ids);
            }
            entries.extend(batch);
        }
        wal.close().unwrap();
    }
    (entries, in_pieces)
}

fn random_options(rng: &mut Rng) -> WalOptions {
    WalOptions {
        max_segment_size: [0, 3000, 20_000, 1 << 26][rng.usize(..4)],
        read_buffer_size: [0, 5000, 1 << 17][rng.usize(..3)],
        max_open_read_segments: [1, 2, 128][rng.usize(..3)],
        block_cache_size: [None, Some(1), Some(20_000), Some(1 << 24)][rng.usize(..4)],
        read_strategy: [ReadStrategy::StandardIo, ReadStrategy::Mmap][rng.usize(..2)],
        compression: if rng.bool() { lz4() } else { CompressionType::None },
        min_compression_size: [0, 100, 1024][rng.usize(..3)],
        ..options()
    }
}

/// Damages some places behind the headers of segments.
fn damage(rng: &mut Rng, disk: &SimDisk) {
    let segments: Vec<PathBuf> =
        disk.files().into_iter().filter(|path| path.starts_with("/log/s")).collect();
    for _ in 0..rng.usize(..4) {
        let Some(path) = rng.choice(&segments) else { return };
        let len = disk.contents(path).unwrap().len() as u64;
        if len > 8192 + 200 {
            let start = rng.u64(8192..len - 130);
            let end = len.min(start + [1, 100, 9000, 30_000][rng.usize(..4)]);
            disk.overwrite(path, start, &vec![rng.u8(..); (end - start) as usize]).unwrap();
        }
    }
}

/// Checks every way of reading against each other, and against what was appended. Of a batch in pieces
/// that is damaged, those entries can be read by id whose own pieces are whole.
fn check_reads(
    rng: &mut Rng,
    wal: &Wal,
    (entries, in_pieces): (&[Vec<u8>], &BTreeSet<u64>),
    what: &str,
) {
    let stream = wal.stream("s").unwrap();
    let count = entries.len() as u64;
    let start = rng.u64(..=count);
    let end = [rng.u64(..=count), count, u64::MAX][rng.usize(..3)];
    let forwards: Vec<Item> = stream.range(start..end).map(item).collect();

    let mut due = start;
    for item in &forwards {
        match item {
            Item::Entry(id, entry) => {
                assert_eq!((*id, &entry[..]), (due, &entries[due as usize][..]), "{what}");
                assert_eq!(stream.get(due).unwrap().unwrap(), entry, "{what}");
                due += 1;
            }
            Item::Damaged(ids, ..) => {
                assert!(ids.contains(&due), "{what}: {ids:?} where {due} is due");
                for id in due..ids.end.min(count) {
                    match stream.get(id) {
                        Err(Error::Damaged { .. }) => {}
                        Ok(Some(found)) if in_pieces.contains(&id) => {
                            assert_eq!(found, entries[id as usize], "{what}: {id}");
                        }
                        other => panic!("{what}: {id}: {other:?}"),
                    }
                }
                due = ids.end;
            }
        }
    }
    assert!(
        due >= end.min(count).max(start),
        "{what}: ids from {due} to {end} of {count} are skipped"
    );

    for _ in 0..3 {
        let mut range = stream.range(start..end);
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let bias = rng.u8(..5);
        let (mut front_over, mut back_over) = (false, false);
        while !front_over || !back_over {
            if rng.u8(..4) < bias {
                let next = range.next();
                front_over |= next.is_none();
                front.extend(next.map(item));
            } else {
                let next = range.next_back();
                back_over |= next.is_none();
                back.extend(next.map(item));
            }
            if front_over || back_over {
                assert!(range.next().is_none() && range.next_back().is_none(), "{what}");
                break;
            }
        }
        back.reverse();
        let (fronts, backs) = (front.len(), back.len());
        front.extend(back);
        assert_eq!(front, forwards, "{what}: {fronts} from the front, {backs} from the back");
    }

    let iterated: Vec<ironwal::Result<(u64, Vec<u8>)>> =
        wal.iter_with_ids("s", start).unwrap().collect();
    let all: Vec<Item> = stream.range(start..).map(item).collect();
    assert_eq!(iterated.len(), all.len(), "{what}");
    for (old, new) in iterated.iter().zip(&all) {
        match (old, new) {
            (Ok((id, entry)), Item::Entry(other_id, other)) => {
                assert_eq!((id, &entry[..]), (other_id, &other[..]), "{what}");
            }
            (Err(Error::CrcMismatch { .. } | Error::Corruption(_)), Item::Damaged(..)) => {}
            _ => panic!("{what}: {old:?} is not {new:?}"),
        }
    }

    let wanted: Vec<u64> = (0..rng.usize(..30)).map(|_| rng.u64(..count + 3)).collect();
    let singles: ironwal::Result<Vec<Option<Vec<u8>>>> =
        wanted.iter().map(|id| wal.get("s", *id)).collect();
    match (wal.get_batch("s", &wanted), singles) {
        (Ok(batch), Ok(singles)) => assert_eq!(batch, singles, "{what}"),
        (Err(_), Err(_)) => {}
        (batch, singles) => panic!("{what}: {batch:?} is not {singles:?}"),
    }
}

#[test]
fn every_way_of_reading_yields_the_same_from_either_end() {
    let mut damaged = 0;
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let (entries, in_pieces) = random_log(&mut rng, &disk);
        if entries.is_empty() {
            continue;
        }
        if rng.bool() {
            damage(&mut rng, &disk);
        }
        let options =
            WalOptions { on_corruption: CorruptionPolicy::Truncate, ..random_options(&mut rng) };
        let wal = open(&disk, &options).unwrap();
        for round in 0..4 {
            let what = format!("seed {seed}, round {round}");
            check_reads(&mut rng, &wal, (&entries, &in_pieces), &what);
        }
        let stream = wal.stream("s").unwrap();
        damaged += usize::from(stream.range(..).any(|entry| entry.is_err()));
    }
    assert!(damaged > 50, "{damaged}");
}

/// On a real directory, whatever reads: few open files, a small cache, maps, compressed.
#[test]
fn many_segments_read_the_same_with_every_option() {
    let dir = tempfile::tempdir().unwrap();
    let base = WalOptions {
        max_segment_size: 2000,
        sync_mode: SyncMode::BatchOnly,
        ..WalOptions::new(dir.path())
    };
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for compression in [CompressionType::None, lz4(), CompressionType::None] {
        let options = WalOptions { compression, min_compression_size: 50, ..base.clone() };
        let wal = Wal::new(options).unwrap();
        for _ in 0..100 {
            let id = entries.len() as u64;
            let text = format!(
                "{}{}",
                String::from_utf8(entry(id)).unwrap(),
                "abcd".repeat(id as usize % 90)
            );
            assert_eq!(wal.append("s", text.as_bytes()).unwrap(), id);
            entries.push(text.into_bytes());
        }
        wal.close().unwrap();
    }
    let segments = std::fs::read_dir(dir.path().join("s")).unwrap().count();
    assert!(segments > 20, "{segments}");
    for (read_strategy, block_cache_size, max_open_read_segments) in [
        (ReadStrategy::StandardIo, None, 1),
        (ReadStrategy::StandardIo, Some(10_000), 1),
        (ReadStrategy::Mmap, None, 1),
        (ReadStrategy::Mmap, None, 50),
        (ReadStrategy::Mmap, Some(1 << 20), 2),
    ] {
        let options =
            WalOptions { read_strategy, block_cache_size, max_open_read_segments, ..base.clone() };
        let wal = Wal::new(options).unwrap();
        let mut rng = Rng::with_seed(7);
        for round in 0..5 {
            let what = format!("{read_strategy:?}, round {round}");
            check_reads(&mut rng, &wal, (&entries, &BTreeSet::new()), &what);
        }
        let stream = wal.stream("s").unwrap();
        for (id, entry) in entries.iter().enumerate().rev() {
            assert_eq!(stream.get(id as u64).unwrap().unwrap(), entry);
        }
    }
}

#[test]
#[cfg(feature = "compression")]
fn compression_saves_space_where_it_can_and_is_deterministic() {
    let written = |compression, min_compression_size| {
        let disk = SimDisk::new(1);
        let options = WalOptions { compression, min_compression_size, ..options() };
        let wal = open(&disk, &options).unwrap();
        wal.append("s", &[b'x'; 3000]).unwrap();
        wal.append_batch("s", &[&[b'y'; 500], &[b'z'; 500]]).unwrap();
        wal.append("s", b"short").unwrap();
        wal.close().unwrap();
        let wal = open(&disk, &options).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().unwrap(), [b'x'; 3000]);
        assert_eq!(wal.get("s", 2).unwrap().unwrap(), [b'z'; 500]);
        assert_eq!(wal.get("s", 3).unwrap().unwrap(), b"short");
        disk.contents(&segment(0)).unwrap()
    };
    let plain = written(CompressionType::None, 0).len();
    let all = written(CompressionType::Lz4, 0);
    let large = written(CompressionType::Lz4, 1024).len();
    assert!(plain > large + 2500, "{plain}, {large}");
    assert!(large > all.len() + 500, "the batch of 1000 bytes and its table are below the minimum");
    assert_eq!(all, written(CompressionType::Lz4, 0));
}

/// A batch is never split, also where it fits a segment only compressed.
#[test]
#[cfg(feature = "compression")]
fn segments_are_full_by_what_is_stored() {
    let disk = SimDisk::new(1);
    let options =
        WalOptions { compression: CompressionType::Lz4, max_segment_size: 4096, ..options() };
    let wal = open(&disk, &options).unwrap();
    for _ in 0..10 {
        wal.append("s", &[7; 3000]).unwrap();
    }
    assert_eq!(disk.files().iter().filter(|path| path.starts_with("/log/s")).count(), 1);
    let stream = wal.stream("s").unwrap();
    assert!(stream.range(..).all(|entry| entry.unwrap().1 == [7; 3000][..]));
}

#[test]
fn readers_and_writers_of_full_segments_do_not_disturb_each_other() {
    let disk = SimDisk::new(1);
    let options = WalOptions {
        max_entries_per_segment: 4,
        max_open_read_segments: 2,
        block_cache_size: Some(10_000),
        ..options()
    };
    let wal = open(&disk, &options).unwrap();
    let stream = wal.stream("s").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while seen < 400 {
                    seen = stream.next_id();
                    let range: Vec<u64> = stream.range(..).map(|it| it.unwrap().0).collect();
                    assert!(range.len() as u64 >= seen);
                    let all: Vec<u64> = (0..seen).collect();
                    for (id, found) in wal.get_batch("s", &all).unwrap().into_iter().enumerate() {
                        assert_eq!(found, Some(entry(id as u64)));
                    }
                }
            });
        }
        for id in 0..400 {
            stream.append(&entry(id)).unwrap();
        }
    });
}

/// What was committed of a segment that is still written to is read through a map of that, which is made
/// anew when there is twice as much; what came since is read from the file.
#[test]
fn a_segment_that_grows_is_mapped_again_and_again() {
    for mode in [SyncMode::Strict, SyncMode::Async] {
        let disk = SimDisk::new(1);
        let options = WalOptions {
            read_strategy: ReadStrategy::Mmap,
            sync_mode: mode,
            ..WalOptions::new(ROOT)
        };
        let wal = open(&disk, &options).unwrap();
        let stream = wal.stream("s").unwrap();
        let append = |ids: std::ops::Range<u64>| {
            ids.for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
        };
        let read = |id: u64| {
            let before = [CallKind::Map, CallKind::Read].map(|kind| disk.calls(kind));
            assert_eq!(stream.get(id).unwrap(), Some(Bytes::from(entry(id))), "{mode:?}: {id}");
            [disk.calls(CallKind::Map) - before[0], disk.calls(CallKind::Read) - before[1]]
        };
        append(0..50);
        assert_eq!(read(20), [0, 1], "it is short");
        append(50..1000);
        assert_eq!(read(100), [1, 0]);
        (0..1000).for_each(|id| assert_eq!(read(id), [0, 0], "{id}"));
        // One that reads in order goes on behind what was mapped when it began.
        let mut follower = stream.follow(0);
        let mut follow = |ids: std::ops::Range<u64>| {
            for id in ids {
                assert_eq!(follower.try_next().unwrap(), Some((id, Bytes::from(entry(id)))));
            }
            assert_eq!(follower.try_next().unwrap(), None);
        };
        follow(0..1000);
        append(1000..1100);
        follow(1000..1100);
        assert_eq!(read(1099), [0, 1], "it is not worth another map yet");
        assert_eq!(read(900), [0, 0]);
        append(1100..3000);
        assert_eq!(read(2999), [1, 0]);
        follow(1100..3000);
        (0..3000).for_each(|id| assert_eq!(read(id), [0, 0], "{id}"));
        stream.truncate_after(Some(499)).unwrap();
        assert_eq!(stream.get(500).unwrap(), None);
        stream.append(b"another").unwrap();
        assert_eq!(stream.get(500).unwrap().unwrap(), &b"another"[..]);
        (0..500).for_each(|id| _ = read(id));
        assert_eq!(wal.get_batch("s", &[499, 500, 0]).unwrap().iter().flatten().count(), 3);
    }
}

/// A disk that cannot map is asked once for each segment.
#[test]
fn what_cannot_be_mapped_is_read() {
    let disk = SimDisk::new(1);
    let options = WalOptions { read_strategy: ReadStrategy::Mmap, ..options() };
    let wal = open(&disk, &options).unwrap();
    let stream = stream_of(&wal, 1000);
    disk.fail_nth(CallKind::Map, 1, std::io::ErrorKind::OutOfMemory);
    let before = disk.calls(CallKind::Map);
    for id in [999, 0, 500] {
        assert_eq!(stream.get(id).unwrap(), Some(Bytes::from(entry(id))));
    }
    assert_eq!(disk.calls(CallKind::Map), before + 1);
}
