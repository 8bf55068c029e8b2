//! Following a stream, with real threads.

use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::{Environment, Error, Stream, SyncMode, Wal, WalOptions};

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_millis(1)),
];

fn open(disk: &SimDisk, sync_mode: SyncMode) -> Wal {
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let options = WalOptions {
        sync_mode,
        max_entries_per_segment: 7,
        max_segment_size: 500,
        ..WalOptions::new("/log")
    };
    Wal::open_with(options, environment).unwrap()
}

fn stream(disk: &SimDisk) -> (Wal, Stream) {
    let wal = open(disk, SyncMode::Async);
    let stream = wal.stream("s").unwrap();
    (wal, stream)
}

fn entry(id: u64) -> [u8; 8] {
    id.to_le_bytes()
}

#[test]
fn every_entry_comes_once_and_in_order() {
    const COUNT: u64 = 2_000;
    for mode in MODES {
        let wal = open(&SimDisk::new(1), mode);
        let stream = wal.stream("s").unwrap();
        std::thread::scope(|scope| {
            for from in [0, 3, COUNT / 2, COUNT - 1] {
                let follower = stream.follow(from);
                scope.spawn(move || {
                    let read = follower.take(usize::try_from(COUNT - from).unwrap());
                    for (expected, read) in (from..).zip(read) {
                        let (id, bytes) = read.unwrap();
                        assert_eq!((id, &bytes[..]), (expected, &entry(expected)[..]), "{mode:?}");
                    }
                });
            }
            let mut id = 0;
            while id < COUNT {
                if id % 5 == 0 && id + 3 <= COUNT {
                    let batch = [entry(id), entry(id + 1), entry(id + 2)];
                    stream.append_batch(&batch.each_ref().map(|it| &it[..])).unwrap();
                    id += 3;
                } else {
                    id = stream.append(&entry(id)).unwrap() + 1;
                }
            }
        });
    }
}

#[test]
fn waiting_ends_in_time() {
    let disk = SimDisk::new(1);
    let (_wal, stream) = stream(&disk);
    let mut follower = stream.follow(1);
    assert_eq!(follower.try_next().unwrap(), None);
    assert_eq!(follower.next_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(follower.next_timeout(Duration::from_millis(2)).unwrap(), None);
    stream.append(b"not this one").unwrap();
    assert_eq!(follower.next_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(follower.position(), 1);
    stream.append(b"this").unwrap();
    let (id, bytes) = follower.next_timeout(Duration::MAX).unwrap().unwrap();
    assert_eq!((id, &bytes[..]), (1, &b"this"[..]));
    assert_eq!(follower.position(), 2);
}

#[test]
fn a_position_that_was_freed_is_said_to_be() {
    let disk = SimDisk::new(1);
    let (_wal, stream) = stream(&disk);
    let mut follower = stream.follow(0);
    let mut behind = stream.follow(25);
    (0..30).for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
    assert_eq!(follower.try_next().unwrap().unwrap().0, 0);
    stream.truncate_before(20).unwrap();
    let pruned = follower.try_next();
    assert!(matches!(pruned, Err(Error::Pruned { id: 1, first_id: 20, .. })), "{pruned:?}");
    let rest: Vec<u64> = follower.take(10).map(|read| read.unwrap().0).collect();
    assert_eq!(rest, (20..30).collect::<Vec<_>>());
    assert_eq!(behind.try_next().unwrap().unwrap().0, 25, "what it has not come to is not missed");
}

/// The stream is as long again as the follower has seen it before it looks, with other entries.
#[test]
fn what_was_cut_off_is_said_to_be() {
    let disk = SimDisk::new(1);
    let (_wal, stream) = stream(&disk);
    let mut follower = stream.follow(0);
    (0..30).for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
    for id in 0..20 {
        assert_eq!(follower.try_next().unwrap().unwrap().0, id);
    }
    let mut early = stream.follow(3);
    assert_eq!(early.try_next().unwrap().unwrap().0, 3);
    for end in [15, 12, 18] {
        stream.truncate_after(Some(end - 1)).unwrap();
        (end..40).for_each(|id| assert_eq!(stream.append(&entry(id + 1_000)).unwrap(), id));
    }
    let cut = follower.try_next();
    assert!(matches!(cut, Err(Error::CutOff { id: 20, next_id: 12, .. })), "{cut:?}");
    let (id, bytes) = follower.try_next().unwrap().unwrap();
    assert_eq!((id, &bytes[..]), (12, &entry(1_012)[..]));
    let rest: Vec<u64> = early.take(36).map(|read| read.unwrap().0).collect();
    assert_eq!(rest, (4..40).collect::<Vec<_>>());
}

/// Somebody who does what a follower says ends with what the stream holds.
#[test]
fn a_copy_that_follows_cuts_is_the_same() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let wal = open(&SimDisk::new(seed), MODES[rng.usize(..MODES.len())]);
        let stream = wal.stream("s").unwrap();
        let follower = stream.follow(0);
        let last = b"the last";
        let copy = std::thread::scope(|scope| {
            let copying = scope.spawn(move || {
                let mut copy: Vec<Vec<u8>> = Vec::new();
                for read in follower {
                    match read {
                        Ok((id, bytes)) => {
                            assert_eq!(id, copy.len() as u64);
                            copy.push(bytes.to_vec());
                            if *bytes == last[..] {
                                break;
                            }
                        }
                        Err(Error::CutOff { id, next_id, .. }) => {
                            assert_eq!(id, copy.len() as u64);
                            copy.truncate(usize::try_from(next_id).unwrap());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                copy
            });
            for nth in 0..1_000 {
                stream.append(&entry(nth)).unwrap();
                if rng.u8(..8) == 0 {
                    let kept = rng.u64(..stream.next_id());
                    stream.truncate_after(kept.checked_sub(1)).unwrap();
                }
            }
            stream.append(last).unwrap();
            copying.join().unwrap()
        });
        let held: Vec<Vec<u8>> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
        assert_eq!(copy, held, "seed {seed}");
    }
}

#[test]
fn whoever_waits_is_told_of_the_end() {
    for deleted in [false, true] {
        let disk = SimDisk::new(1);
        let (wal, stream) = stream(&disk);
        stream.append(b"one").unwrap();
        let mut follower = stream.follow(1);
        let waiting = std::thread::spawn(move || {
            let end = follower.next();
            (end, follower.next().is_none(), follower.try_next())
        });
        if deleted {
            wal.delete_stream("s").unwrap();
        } else {
            wal.close().unwrap();
        }
        let (end, is_over, after) = waiting.join().unwrap();
        match end.unwrap() {
            Err(Error::StreamNotFound(name)) => assert!(deleted && name == "s"),
            Err(Error::Closed) => assert!(!deleted),
            other => panic!("{other:?}"),
        }
        assert!(is_over);
        assert!(matches!(after, Err(Error::Closed)));
    }
}

#[test]
fn a_reader_of_another_process_follows_too() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, SyncMode::Strict);
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(WalOptions::new("/log"), environment).unwrap();
    let mut follower = reader.stream("s").unwrap().follow(0);
    assert_eq!(follower.next_timeout(Duration::ZERO).unwrap(), None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (expected, read) in (0..100).zip(&mut follower) {
                assert_eq!(read.unwrap().0, expected);
            }
        });
        (0..100).for_each(|id| assert_eq!(wal.append("s", &entry(id)).unwrap(), id));
    });
    // As long again with other entries before it looks: it may begin again earlier than need be.
    let stream = wal.stream("s").unwrap();
    stream.truncate_after(Some(89)).unwrap();
    (90..120).for_each(|id| assert_eq!(stream.append(&entry(id + 1_000)).unwrap(), id));
    let Some(Err(Error::CutOff { id: 100, next_id, .. })) = follower.next() else {
        panic!("the cut went unnoticed");
    };
    assert!(next_id <= 90, "{next_id}");
    for (expected, read) in (next_id..120).zip(&mut follower) {
        let (id, bytes) = read.unwrap();
        let content = if id < 90 { id } else { id + 1_000 };
        assert_eq!((id, &bytes[..]), (expected, &entry(content)[..]));
    }
    stream.truncate_before(200).unwrap();
    stream.append(b"next").unwrap();
    assert_eq!(follower.next().unwrap().unwrap().0, 120);
}

/// The story: a follower that was to begin at an entry read it, was told that it had been cut off, and
/// went on where it had begun. When the stream was cut further back, it was told once more, though it
/// had read nothing of what was cut off then.
#[test]
fn a_cut_before_what_a_follower_wants_is_none_of_its_business() {
    let disk = SimDisk::new(1);
    let (_wal, stream) = stream(&disk);
    let append = |ids: std::ops::Range<u64>| {
        ids.for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
    };
    append(0..6);
    let mut follower = stream.follow(4);
    assert_eq!(follower.try_next().unwrap().unwrap().0, 4);
    stream.truncate_after(Some(3)).unwrap();
    let told = follower.try_next().unwrap_err();
    assert!(matches!(told, Error::CutOff { id: 5, next_id: 4, .. }), "{told}");
    stream.truncate_after(Some(1)).unwrap();
    assert_eq!(follower.try_next().unwrap(), None);
    append(2..5);
    assert_eq!(follower.try_next().unwrap().unwrap().0, 4);
}

/// The story: a follower was to begin at an entry that had been pruned. Before it looked, the entry was
/// restored from the archive. It was told that the entry was gone, and passed it over.
#[test]
fn what_was_restored_before_a_follower_looked_is_not_gone() {
    let disk = SimDisk::new(1);
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let options = WalOptions {
        max_entries_per_segment: 2,
        archive_path: Some("/archive".into()),
        ..WalOptions::new("/log")
    };
    let wal = Wal::open_with(options, environment).unwrap();
    let stream = wal.stream("s").unwrap();
    (0..7).for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
    assert_eq!(wal.truncate("s", 4).unwrap(), 2);
    let mut follower = stream.follow(1);
    assert_eq!(wal.restore_archived("s").unwrap(), 2);
    let read: Vec<u64> =
        std::iter::from_fn(|| follower.try_next().unwrap()).map(|entry| entry.0).collect();
    assert_eq!(read, [1, 2, 3, 4, 5, 6]);
}

/// The story: as before, but all of the stream had been pruned, and all of it was restored. The follower
/// took the end that it had seen for the end, and waited there for what had been there before.
#[test]
fn what_was_restored_of_a_stream_that_was_empty_is_followed() {
    let disk = SimDisk::new(1);
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let options = WalOptions { archive_path: Some("/archive".into()), ..WalOptions::new("/log") };
    let wal = Wal::open_with(options, environment).unwrap();
    let stream = wal.stream("s").unwrap();
    (0..2).for_each(|id| assert_eq!(stream.append(&entry(id)).unwrap(), id));
    assert_eq!(stream.truncate_before(2).unwrap(), 1);
    let mut follower = stream.follow(1);
    assert_eq!(wal.restore_archived("s").unwrap(), 1);
    assert_eq!(follower.try_next().unwrap().map(|entry| entry.0), Some(1));
}
