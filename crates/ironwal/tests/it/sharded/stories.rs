//! Regression tests; each begins with the story of its bug.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::sharded::{CheckpointData, ShardedWal};
use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, SyncMode, Wal};

use super::{environment, open, options};

const KINDS: [CallKind; 5] =
    [CallKind::Write, CallKind::Sync, CallKind::Reserve, CallKind::SyncDir, CallKind::Rename];

/// All but the first of these checkpoints are the copies of a compaction whose closing record has
/// rotted.
fn begins_with_copies_and_rot<const N: usize>(seed: u64, ids: [&str; N]) -> SimDisk {
    let disk = SimDisk::new(seed);
    let wal = open(&disk, options(SyncMode::Strict), 1).unwrap();
    for id in ids {
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(id.as_bytes()).unwrap();
    }
    wal.compact_checkpoints(N - 1).unwrap();
    wal.close().unwrap();
    drop(wal);
    let closing = [3_u64.to_le_bytes(), (N as u64).to_le_bytes()].concat();
    let mut found = 0;
    for path in disk.files().into_iter().filter(|path| path.starts_with("/log/.checkpoints")) {
        let content = disk.contents(&path).unwrap();
        if let Some(at) = content.windows(16).position(|bytes| bytes == closing) {
            disk.overwrite(&path, at as u64, &[7]).unwrap();
            found += 1;
        }
    }
    assert_eq!(found, 1);
    disk
}

fn names(wal: &ShardedWal) -> Vec<String> {
    let list = wal.list_checkpoints().into_iter();
    list.map(|(id, _)| String::from_utf8(id).unwrap()).collect()
}

/// A compaction was killed, or failed, and the closing record of the one before had rotted: the copies
/// that it made, which nothing closed off, counted.
#[test]
fn copies_that_are_not_closed_off_change_the_order() {
    let mut wrong = Vec::new();
    for kind in KINDS {
        for nth in 1..40 {
            let disk = begins_with_copies_and_rot(nth, ["dropped-a", "old-b", "new-c"]);
            let wal = open(&disk, options(SyncMode::Strict), 1).unwrap();
            assert_eq!(names(&wal), ["old-b", "new-c"]);
            disk.fail_nth(kind, nth, ErrorKind::Other);
            let done = wal.compact_checkpoints(2);
            disk.clear_faults();
            let latest = String::from_utf8(wal.load_latest_checkpoint().unwrap().0).unwrap();
            if latest != "new-c" {
                wrong.push(format!("{kind:?} {nth}: in the process, the latest is {latest}"));
            }
            disk.kill();
            let wal = open(&disk, options(SyncMode::Strict), 1).unwrap();
            let latest = String::from_utf8(wal.load_latest_checkpoint().unwrap().0).unwrap();
            if latest != "new-c" {
                wrong.push(format!("{kind:?} {nth}: after a kill, the latest is {latest}"));
            }
            if done.is_ok() {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same with a full disk: the copies were taken back, and the index went on pointing to them, so
/// that an id had the next checkpoint that was created.
#[test]
fn after_a_compaction_without_space_an_id_has_the_checkpoint_of_another() {
    let long = |id: &str| format!("{id:60000}");
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"].map(long);
    let mut wrong = Vec::new();
    for nth in 1..60 {
        let disk = begins_with_copies_and_rot(nth, ids.each_ref().map(|id| &id[..]));
        let wal = open(&disk, options(SyncMode::Strict), 1).unwrap();
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used + nth * 16_384));
        let done = wal.compact_checkpoints(7);
        disk.configure(|config| config.capacity = None);
        for _ in 0..7 {
            wal.append(b"key", b"entry").unwrap();
        }
        wal.create_checkpoint(&[b'z'; 10]).unwrap();
        let ends: Vec<_> = ids[1..]
            .iter()
            .map(|id| {
                wal.load_checkpoint(id.as_bytes())
                    .map(|data| data.offsets[0])
                    .map_err(|error| matches!(error, Error::CheckpointNotFound(_)))
            })
            .collect();
        if ends != (2..9).map(Ok).collect::<Vec<_>>() {
            wrong.push(format!("{nth}, done {}: the ends of b to h are {ends:?}", done.is_ok()));
        }
        let order: String = names(&wal).iter().map(|id| &id[..1]).collect();
        if order != "bcdefghz" {
            wrong.push(format!("{nth}, done {}: the order is {order:?}", done.is_ok()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A reader whose look at a shard failed replayed without it, and said nothing.
#[test]
fn a_replay_never_leaves_out_a_shard_without_a_word() {
    let mut wrong = Vec::new();
    for kind in [CallKind::Read, CallKind::Open, CallKind::List] {
        for nth in 1..12 {
            let disk = SimDisk::new(nth);
            let writer = open(&disk, options(SyncMode::Strict), 2).unwrap();
            let fill = |shard: u16| {
                for _ in 0..5 {
                    writer.shard(shard).unwrap().append(b"entry").unwrap();
                }
            };
            fill(0);
            fill(1);
            let reader =
                Wal::open_read_only_with(options(SyncMode::Strict), environment(&disk)).unwrap();
            let reader = ShardedWal::over(reader, 2).unwrap();
            let replay = reader.replay(&CheckpointData::beginning(2)).unwrap();
            fill(0);
            disk.fail_nth(kind, nth, ErrorKind::Other);
            let (mut entries, mut errors) = (0, 0);
            for entry in replay.take(100) {
                match entry {
                    Ok(_) => entries += 1,
                    Err(_) => errors += 1,
                }
            }
            disk.clear_faults();
            if errors == 0 && entries < 10 {
                wrong.push(format!("{kind:?} {nth}: {entries} entries and no error"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A reader took a failed read for a shard that is lost.
#[test]
fn a_failed_read_is_not_a_shard_that_is_lost() {
    let mut wrong = Vec::new();
    for kind in [CallKind::Read, CallKind::Open, CallKind::List] {
        for nth in 1..12 {
            let disk = SimDisk::new(nth);
            let writer = open(&disk, options(SyncMode::Strict), 1).unwrap();
            writer.append(b"key", b"entry").unwrap();
            writer.create_checkpoint(b"one").unwrap();
            let reader =
                Wal::open_read_only_with(options(SyncMode::Strict), environment(&disk)).unwrap();
            let reader = ShardedWal::over(reader, 1).unwrap();
            let one = reader.load_checkpoint(b"one").unwrap();
            disk.fail_nth(kind, nth, ErrorKind::Other);
            if let Err(Error::Corruption(what)) = reader.replay(&one) {
                wrong.push(format!("{kind:?} {nth}: {what}"));
            }
            disk.clear_faults();
            assert_eq!(reader.replay(&one).unwrap().count(), 0);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The list of a reader was empty when a read failed, though there was a checkpoint all the time.
#[test]
fn a_failed_read_does_not_empty_the_list() {
    let mut wrong = Vec::new();
    for kind in [CallKind::Read, CallKind::Open, CallKind::List] {
        for nth in 1..12 {
            let disk = SimDisk::new(nth);
            let writer = open(&disk, options(SyncMode::Strict), 1).unwrap();
            writer.create_checkpoint(b"a").unwrap();
            writer.create_checkpoint(b"b").unwrap();
            let reader =
                Wal::open_read_only_with(options(SyncMode::Strict), environment(&disk)).unwrap();
            let reader = ShardedWal::over(reader, 1).unwrap();
            assert_eq!(names(&reader), ["a", "b"]);
            writer.compact_checkpoints(1).unwrap();
            disk.fail_nth(kind, nth, ErrorKind::Other);
            let during = names(&reader);
            disk.clear_faults();
            if !during.iter().any(|name| name == "b") {
                wrong.push(format!("{kind:?} {nth}: {during:?}"));
            }
            assert_eq!(names(&reader), ["b"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An entry was cut off just when a follower had read it. It took the cut for one that did not concern
/// it, yielded the entry, and then the next one of the new life.
#[test]
fn a_follower_never_joins_two_lives_of_a_stream() {
    const CUTS: u64 = 1_000;
    let disk = SimDisk::new(1);
    let wal = Wal::open_with(options(SyncMode::Async), environment(&disk)).unwrap();
    let stream = wal.stream("s").unwrap();
    stream.append(b"kept").unwrap();
    let over = AtomicBool::new(false);
    let bad: std::sync::Mutex<Vec<String>> = std::sync::Mutex::default();
    let yielded = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut follower = stream.follow(1);
                    let mut last = None;
                    for _ in 0..6 {
                        match follower.try_next() {
                            Ok(Some((id, entry))) => {
                                let life = u64::from_le_bytes(entry[..].try_into().unwrap());
                                yielded.fetch_add(1, Ordering::Relaxed);
                                if let Some((before, was)) = last
                                    && was != life
                                {
                                    let what =
                                        format!("{before} of life {was}, then {id} of life {life}");
                                    bad.lock().unwrap().push(what);
                                    over.store(true, Ordering::Relaxed);
                                }
                                last = Some((id, life));
                            }
                            Ok(None) => {}
                            Err(Error::CutOff { .. }) => last = None,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
        for life in 1..=CUTS {
            for _ in 0..3 {
                stream.append(&life.to_le_bytes()).unwrap();
            }
            // So that there is something to be cut off.
            let seen = yielded.load(Ordering::Relaxed);
            while yielded.load(Ordering::Relaxed) < seen + 20 && !over.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            stream.truncate_after(Some(0)).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let bad = bad.into_inner().unwrap();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A follower waited for an entry that was far from being there. What it did not want was cut off, and
/// it was told that what it had read was.
#[test]
fn nothing_was_cut_off_that_a_follower_has_yielded() {
    let disk = SimDisk::new(1);
    let wal = Wal::open_with(options(SyncMode::Strict), environment(&disk)).unwrap();
    let stream = wal.stream("s").unwrap();
    for _ in 0..5 {
        stream.append(b"entry").unwrap();
    }
    let mut follower = stream.follow(10);
    assert_eq!(follower.try_next().unwrap(), None);
    stream.truncate_after(Some(2)).unwrap();
    let said = follower.try_next();
    assert!(matches!(said, Ok(None)), "{said:?}");
    assert_eq!(follower.position(), 10);
}

/// A pruning failed behind the point where its slot was written, and the writer lived on: whoever began to
/// read meanwhile found that more was pruned than was told, and waited in vain for word of it.
#[test]
fn a_reader_finds_checkpoints_beside_a_writer_whose_compaction_failed() {
    let mut wrong = Vec::new();
    for keep in [0, 1] {
        for nth in 1..20 {
            let disk = SimDisk::new(nth);
            let writer = open(&disk, options(SyncMode::Strict), 1).unwrap();
            for id in ["a", "b"] {
                writer.append(b"key", b"entry").unwrap();
                writer.create_checkpoint(id.as_bytes()).unwrap();
            }
            disk.fail_nth(CallKind::Sync, nth, ErrorKind::Other);
            let done = writer.compact_checkpoints(keep);
            disk.clear_faults();
            let reader =
                Wal::open_read_only_with(options(SyncMode::Strict), environment(&disk)).unwrap();
            let found = ShardedWal::over(reader, 1).map(|reader| names(&reader));
            let here = names(&writer);
            // If all of it is pruned, it may be seen or not after an error.
            let none = keep == 0 && done.is_err() && found.as_ref().is_ok_and(Vec::is_empty);
            if found.as_ref().ok() != Some(&here) && !none {
                wrong.push(format!("keep {keep}, sync {nth}: {found:?} and {here:?}"));
            }
            if done.is_ok() {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A reader that began while a writer restarted took what was told of it for what it had found, and
/// checkpoints for damaged.
#[test]
fn readers_see_checkpoints_as_they_were_created() {
    const LIVES: u32 = 20;
    let disk = SimDisk::new(1);
    drop(open(&disk, options(SyncMode::Strict), 1).unwrap());
    let (acked, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let text = |nth: u64| format!("{nth:0>20000}");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                struct Over<'a>(&'a AtomicBool);
                impl Drop for Over<'_> {
                    fn drop(&mut self) {
                        self.0.store(true, Ordering::SeqCst);
                    }
                }
                let _over = Over(&over);
                let open = || {
                    let wal =
                        Wal::open_read_only_with(options(SyncMode::Strict), environment(&disk));
                    ShardedWal::over(wal.unwrap(), 1).unwrap()
                };
                let mut reader = open();
                for look in 0_u64.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    if look % 50 == 0 {
                        reader = open();
                    }
                    let from = acked.load(Ordering::SeqCst);
                    let before = reader.load_latest_checkpoint().map(|(_, data)| data.offsets);
                    let list = names(&reader);
                    let after = reader.load_latest_checkpoint().map(|(_, data)| data.offsets);
                    if from > 0 {
                        assert!(
                            before.is_ok() && after.is_ok() && !list.is_empty(),
                            "{from}, look {look}: {before:?}, {} listed, {after:?}, then {} listed",
                            list.len(),
                            names(&reader).len()
                        );
                    }
                    let list: Vec<u64> = list.iter().map(|id| id.parse().unwrap()).collect();
                    assert!(list.windows(2).all(|two| two[0] + 1 == two[1]), "{list:?}");
                    assert!(from == 0 || list.last() >= Some(&from), "{from} {list:?}");
                    if from > 0 {
                        let from = acked.load(Ordering::SeqCst);
                        let (id, data) = reader.load_latest_checkpoint().unwrap();
                        let id: u64 = String::from_utf8(id).unwrap().parse().unwrap();
                        assert!(id >= from, "{id} {from}");
                        assert_eq!(data.offsets, [id]);
                    }
                }
            });
        }
        let mut nth = 0;
        for _ in 0..LIVES {
            let wal = open(&disk, options(SyncMode::Strict), 1).unwrap();
            for step in 0..40_u64 {
                nth += 1;
                wal.append(b"key", b"entry").unwrap();
                wal.create_checkpoint(text(nth).as_bytes()).unwrap();
                acked.store(nth, Ordering::SeqCst);
                if step % 7 == 3 {
                    if step % 2 == 0 {
                        let used = disk.used_bytes();
                        disk.configure(|config| {
                            config.capacity = Some(used + (nth % 20) * 16_384);
                        });
                    }
                    let _ = wal.compact_checkpoints(1 + (nth % 6) as usize);
                    disk.configure(|config| config.capacity = None);
                }
            }
        }
        over.store(true, Ordering::SeqCst);
    });
}
