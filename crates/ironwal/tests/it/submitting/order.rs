//! Which ids submitted entries get, in which order they stand, and who commits them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ironwal::{Environment, Journal, Maintenance, Pending, SyncMode, Wal, WalOptions};

use super::{DRIVERS, Setting, after_power_loss, disk, entries, settings};

/// Far more than anything takes; who waits this long waits for ever.
const LONG: Duration = Duration::from_secs(60);

/// One thread submits and appends, in turn, and waits in any order, or not at all.
#[test]
fn what_one_thread_submits_and_appends_stands_in_that_order() {
    for (seed, setting) in (0..).zip(settings()) {
        // A segment for each entry: nothing is staged at once. A few: some is. One: all but the first.
        for segment in [1, 3, u64::MAX] {
            let setting = setting.clone().with_segments_of(segment);
            let what = format!("{setting:?}");
            let disk = disk(seed);
            let wal = setting.open(&disk);
            let stream = wal.stream("s").unwrap();
            let mut rng = Rng::with_seed(seed);
            let mut expected: Vec<Vec<u8>> = Vec::new();
            let mut in_flight: Vec<(u64, Pending)> = Vec::new();
            for _ in 0..60 {
                let id = expected.len() as u64;
                let entry = format!("entry {id}").into_bytes();
                expected.push(entry.clone());
                match rng.u8(..10) {
                    0 => assert_eq!(stream.append(&entry).unwrap(), id, "{what}"),
                    1 => assert_eq!(wal.append_batch("s", &[&entry]).unwrap(), id..id + 1),
                    2 => assert_eq!(stream.append_at(id, &entry).unwrap(), id, "{what}"),
                    3 => drop(stream.submit(&entry).unwrap()),
                    4 => assert_eq!(stream.submit(&entry).unwrap().wait().unwrap(), id, "{what}"),
                    _ => in_flight.push((id, stream.submit(&entry).unwrap())),
                }
                if in_flight.len() > 5 {
                    let (id, pending) = in_flight.swap_remove(rng.usize(..in_flight.len()));
                    assert!(pending.id().is_none_or(|early| early == id), "{what}");
                    assert_eq!(pending.wait().unwrap(), id, "{what}");
                    // At once, and in `Strict` for good.
                    let read = wal.get("s", id).unwrap();
                    assert_eq!(read.as_ref(), Some(&expected[id as usize]), "{what}");
                    if setting.options.sync_mode == SyncMode::Strict {
                        assert!(stream.durable_end() > id, "{what}");
                    }
                }
            }
            rng.shuffle(&mut in_flight);
            for (id, pending) in in_flight {
                assert_eq!(pending.wait().unwrap(), id, "{what}");
            }
            let id = stream.append(b"the last").unwrap();
            expected.push(b"the last".to_vec());
            assert_eq!(id + 1, expected.len() as u64, "{what}");
            assert_eq!(entries(&wal, "s"), expected, "{what}");
            wal.close().unwrap();
            drop(wal);
            assert_eq!(after_power_loss(&disk, &setting, "s"), expected, "{what}");
        }
    }
}

/// A batch over several streams went past what its thread had submitted and what waited for room: the
/// batch got the lower id.
#[test]
fn a_batch_over_several_streams_comes_behind_what_its_thread_submitted() {
    for setting in settings() {
        let wal = setting.open(&disk(1));
        let stream = wal.stream("b").unwrap();
        for nth in 0..5 {
            let first = stream.submit(b"first").unwrap();
            let second = stream.submit(b"second").unwrap();
            let mut batch = wal.batch();
            batch.append("a", b"third").append("b", b"third");
            assert_eq!(batch.commit().unwrap()["b"], 3 * nth + 2..3 * nth + 3, "{setting:?}");
            assert_eq!(second.wait().unwrap(), 3 * nth + 1, "{setting:?}");
            assert_eq!(first.wait().unwrap(), 3 * nth, "{setting:?}");
            wal.stream("b").unwrap().rotate().unwrap();
        }
    }
}

/// Without threads nobody commits what is dropped but the next append to the stream.
#[test]
fn an_append_commits_what_was_submitted_before_it() {
    for setting in settings().filter(Setting::is_inline) {
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        // The first waits for a segment; the others, from the next round on, have an id at once.
        for round in 0..3 {
            let first = 3 * round;
            let dropped = stream.submit(b"nobody waits").unwrap();
            assert_eq!(dropped.id(), (round > 0).then_some(first), "{setting:?}");
            drop(dropped);
            let kept = stream.submit(b"somebody might").unwrap();
            // What is not synced and has room is committed in place.
            let is_strict = setting.options.sync_mode == SyncMode::Strict;
            let committed = if is_strict || round == 0 { first } else { first + 2 };
            assert_eq!(stream.next_id(), committed, "{setting:?}");
            assert_eq!(stream.append(b"appended").unwrap(), first + 2, "{setting:?}");
            assert_eq!(stream.next_id(), first + 3, "{setting:?}");
            assert_eq!(kept.id(), Some(first + 1), "{setting:?}");
            assert_eq!(kept.wait().unwrap(), first + 1, "{setting:?}");
        }
        if setting.options.sync_mode == SyncMode::Strict {
            assert_eq!(after_power_loss(&disk, &setting, "s").len(), 9, "{setting:?}");
        }
        drop(wal);
    }
}

/// What has an id is committed with any round of its stream.
#[test]
fn a_sync_makes_durable_what_has_an_id() {
    for setting in settings().filter(Setting::is_inline) {
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        stream.append(b"0").unwrap();
        drop(stream.submit(b"1").unwrap());
        stream.sync().unwrap();
        assert_eq!((stream.next_id(), stream.durable_end()), (2, 2), "{setting:?}");
        drop(stream.submit(b"2").unwrap());
        wal.sync_all().unwrap();
        assert_eq!(stream.durable_end(), 3, "{setting:?}");
        assert_eq!(after_power_loss(&disk, &setting, "s").len(), 3, "{setting:?}");
        drop(wal);
    }
}

/// Also what waits for room in a segment, and has no id yet.
#[test]
fn a_sync_makes_durable_what_was_submitted() {
    for setting in settings() {
        let setting = setting.with_segments_of(3);
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        for nth in 1..=10 {
            for _ in 0..7 {
                drop(stream.submit(b"entry").unwrap());
            }
            if nth % 2 == 0 {
                wal.sync_all().unwrap()
            } else {
                stream.sync().unwrap()
            }
            let entries = after_power_loss(&disk.snapshot(), &setting, "s");
            assert_eq!(entries.len(), 7 * nth, "{setting:?}");
        }
    }
}

/// With threads, it is committed though nobody waits, appends or syncs.
#[test]
fn a_thread_commits_what_nobody_waits_for() {
    for setting in settings().filter(|setting| !setting.is_inline()) {
        for segment in [1, 4] {
            let setting = setting.clone().with_segments_of(segment);
            let disk = disk(1);
            let wal = setting.open(&disk);
            let streams = ["a", "b"].map(|name| wal.stream(name).unwrap());
            let mut followers = streams.each_ref().map(|stream| stream.follow(0));
            for nth in 0..20_u64 {
                for stream in &streams {
                    drop(stream.submit(&nth.to_le_bytes()).unwrap());
                }
                for follower in &mut followers {
                    let next = follower.next_timeout(LONG).unwrap();
                    let (id, entry) = next.unwrap_or_else(|| panic!("{nth}, {setting:?}"));
                    assert_eq!((id, &entry[..]), (nth, &nth.to_le_bytes()[..]), "{setting:?}");
                }
            }
            if setting.options.sync_mode == SyncMode::Strict {
                assert_eq!(after_power_loss(&disk, &setting, "b").len(), 20, "{setting:?}");
            }
            drop(wal);
        }
    }
}

/// It is stored in memory and committed at once, so no thread has anything to commit: it is durable within
/// the interval all the same.
#[test]
fn what_nobody_waits_for_is_durable_within_the_interval() {
    let disk = disk(1);
    let options = WalOptions {
        sync_mode: SyncMode::Interval(Duration::from_millis(10)),
        ..WalOptions::new("/log")
    };
    let environment = Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_maintenance(Maintenance::Thread);
    let wal = Wal::open_with(options, environment).unwrap();
    let stream = wal.stream("s").unwrap();
    stream.append(b"has room from now on").unwrap();
    let begin = Instant::now();
    for id in 1..20 {
        assert_eq!(stream.submit(b"nobody waits").unwrap().id(), Some(id));
        while stream.durable_end() <= id {
            assert!(begin.elapsed() < LONG, "{id} is not durable");
            std::thread::yield_now();
        }
    }
}

/// Whoever waited for an entry that had no id yet could forget what the thread had just noted of it: he
/// waited for ever, for an entry that was committed.
#[test]
fn whoever_waits_while_the_thread_stages_is_told() {
    const TOGETHER: u64 = 64;
    let setting = Setting::new(SyncMode::Async, Journal::Auto, Maintenance::Thread);
    let wal = setting.with_segments_of(TOGETHER).open(&disk(1));
    let stream = wal.stream("s").unwrap();
    let mut rng = Rng::with_seed(1);
    for round in 0..3000 {
        let submitted = (0..TOGETHER).map(|_| stream.submit(b"x").unwrap());
        let mut in_flight: Vec<(u64, Pending)> = (round * TOGETHER..).zip(submitted).collect();
        // While the thread is at work on it: it has just staged the one before.
        let nth = rng.usize(5..50);
        let (id, pending) = in_flight.remove(nth);
        while in_flight[nth - 1].1.id().is_none() {
            std::hint::spin_loop();
        }
        for _ in 0..rng.u32(..300) {
            std::hint::spin_loop();
        }
        assert_eq!(pending.wait().unwrap(), id);
        for (id, pending) in in_flight {
            assert_eq!(pending.wait().unwrap(), id);
        }
    }
}

/// Two threads may wait for entries of one queue, in either order.
#[test]
fn threads_wait_for_entries_of_one_queue() {
    for how in DRIVERS {
        for journal in super::JOURNALS {
            let setting = Setting::new(SyncMode::Strict, journal, how).with_segments_of(2);
            let wal = setting.open(&disk(1));
            let streams = ["a", "b"].map(|name| wal.stream(name).unwrap());
            for nth in 0..40_u64 {
                let submit = || streams.each_ref().map(|stream| stream.submit(&[7; 50]).unwrap());
                let ([first, of_b], [second, _]) = (submit(), submit());
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| second.wait().unwrap());
                    let of_b = scope.spawn(|| of_b.wait().unwrap());
                    assert_eq!(first.wait().unwrap(), 2 * nth, "{setting:?}");
                    assert_eq!(other.join().unwrap(), 2 * nth + 1, "{setting:?}");
                    assert_eq!(of_b.join().unwrap(), 2 * nth, "{setting:?}");
                });
            }
        }
    }
}
