//! How much may be in flight, and what is refused for want of space or for its size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ironwal::storage::SimDisk;
use ironwal::{Error, MAX_FRAME_LEN, SyncMode};

use super::{DRIVERS, JOURNALS, Setting, after_power_loss, disk, entries, settings};
use crate::hooked::Hooked;

/// The bytes that queue for room in one stream, as `Stream::submit` says.
const QUEUED_MAX: u64 = 1024 * 1024;

const LEN: u64 = 32 * 1024;

/// Without threads the submitter himself makes room, once a mebibyte queues.
#[test]
fn whoever_comes_with_more_than_may_queue_makes_room() {
    for setting in settings().filter(Setting::is_inline) {
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        let mut in_flight = Vec::new();
        for nth in 0..200_u64 {
            in_flight.push(stream.submit(&[nth as u8; LEN as usize]).unwrap());
            let queued = in_flight.iter().filter(|pending| pending.id().is_none()).count() as u64;
            assert!(queued * LEN <= QUEUED_MAX + LEN, "{queued} queue, {setting:?}");
            // What has an id is committed, but for what a round holds.
            let staged = nth + 1 - queued - stream.next_id();
            assert!(staged * LEN <= setting.options.write_buffer_size as u64 + LEN, "{setting:?}");
        }
        assert!(stream.next_id() > 100, "{setting:?}");
        for (nth, pending) in (0..).zip(in_flight) {
            assert_eq!(pending.wait().unwrap(), nth, "{setting:?}");
        }
        let expected = (0..200).map(|nth| vec![nth as u8; LEN as usize]);
        assert!(entries(&wal, "s").into_iter().eq(expected), "{setting:?}");
    }
}

/// With threads, a submitter who is faster than the disk waits for it.
#[test]
fn a_submitter_who_is_faster_than_the_disk_waits() {
    for (journal, segment) in JOURNALS.into_iter().flat_map(|it| [(it, 1), (it, u64::MAX)]) {
        let setting = Setting::new(SyncMode::Strict, journal, super::DRIVERS[1]);
        let setting = setting.with_segments_of(segment);
        let submitted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&submitted);
        // A sync that lasts until nobody submits any more.
        let slow = Hooked::new(&disk(1)).before_sync(move || {
            let (mut seen, mut quiet) = (u64::MAX, 0);
            while quiet < 100 {
                std::thread::yield_now();
                let now = counted.load(Ordering::Relaxed);
                quiet = if now == seen { quiet + 1 } else { 0 };
                seen = now;
            }
        });
        let wal = setting.open_on(Arc::new(slow));
        let stream = wal.stream("s").unwrap();
        // What queues; and what is staged for a round and taken with another, each with one entry
        // more than it may hold.
        let room = setting.options.write_buffer_size as u64;
        let in_flight_max = QUEUED_MAX + LEN + 2 * (room + LEN) + LEN;
        for nth in 0..150 {
            drop(stream.submit(&[1; LEN as usize]).unwrap());
            submitted.fetch_add(1, Ordering::Relaxed);
            let in_flight = nth + 1 - stream.next_id();
            assert!(in_flight * LEN <= in_flight_max, "{in_flight} in flight, {setting:?}");
        }
        wal.close().unwrap();
        assert_eq!(stream.next_id(), 150, "{setting:?}");
    }
}

fn fill(disk: &SimDisk) {
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
}

fn is_full<T>(result: ironwal::Result<T>) -> bool {
    matches!(result, Err(Error::StorageFull { .. }))
}

/// Each entry that finds no space says so to whoever waits for it, and to nobody else, and costs no id.
#[test]
fn a_full_disk_costs_no_ids() {
    for setting in settings() {
        let what = format!("{setting:?}");
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        stream.append(b"0").unwrap();
        fill(&disk);
        // Too large for the room that there is; the others are not. They stand in one queue.
        let large = vec![1; 300_000];
        let submitted: Vec<_> = (1..=6_u8)
            .map(|nth| {
                let entry = if nth % 3 == 0 { large.clone() } else { vec![nth] };
                stream.submit(&entry).unwrap()
            })
            .collect();
        let mut expected = vec![b"0".to_vec()];
        for (nth, pending) in (1..=6_u8).zip(submitted) {
            if nth % 3 == 0 {
                assert!(is_full(pending.wait()), "{nth} {what}");
            } else {
                assert_eq!(pending.wait().unwrap(), expected.len() as u64, "{nth} {what}");
                expected.push(vec![nth]);
            }
        }
        assert!(is_full(stream.submit(&large).unwrap().wait()), "{what}");
        // Nobody waits for it, and it takes nothing with it.
        drop(stream.submit(&large).unwrap());
        let next = expected.len() as u64;
        assert_eq!(stream.submit(b"small").unwrap().wait().unwrap(), next, "{what}");
        expected.push(b"small".to_vec());
        assert_eq!(entries(&wal, "s"), expected, "{what}");

        disk.configure(|config| config.capacity = None);
        assert_eq!(stream.submit(&large).unwrap().wait().unwrap(), next + 1, "{what}");
        expected.push(large);
        assert_eq!(stream.submit(b"end").unwrap().wait().unwrap(), next + 2, "{what}");
        expected.push(b"end".to_vec());
        wal.close().unwrap();
        assert_eq!(after_power_loss(&disk, &setting, "s"), expected, "{what}");
    }
}

/// A stream that cannot be begun: everybody who waits is told, and it can be once there is space.
#[test]
fn everybody_who_waits_on_a_full_disk_is_told() {
    for setting in settings() {
        let disk = disk(1);
        let wal = setting.open(&disk);
        let (old, new) = (wal.stream("old").unwrap(), wal.stream("new").unwrap());
        old.append(b"0").unwrap();
        fill(&disk);
        let submitted = [(); 5].map(|()| new.submit(b"x").unwrap());
        for pending in submitted {
            assert!(is_full(pending.wait()), "{setting:?}");
        }
        assert_eq!(new.next_id(), 0, "{setting:?}");
        disk.configure(|config| config.capacity = None);
        let submitted = [(); 5].map(|()| new.submit(b"x").unwrap());
        for (id, pending) in (0..).zip(submitted) {
            assert_eq!(pending.wait().unwrap(), id, "{setting:?}");
        }
    }
}

/// One that came behind others that queued was put into the queue, and refused when it was its turn.
#[test]
fn what_is_too_large_is_refused_at_once() {
    // Memory that is never touched.
    let large = vec![0; MAX_FRAME_LEN as usize];
    for how in DRIVERS {
        let setting = Setting::new(SyncMode::Strict, JOURNALS[0], how);
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        let first = stream.submit(b"0").unwrap();
        let calls = disk.calls_total();
        let refused = stream.submit(&large);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "behind a queue, {setting:?}");
        if setting.is_inline() {
            assert_eq!(disk.calls_total(), calls, "it is not free");
        }
        let second = stream.submit(b"1").unwrap();
        assert_eq!((second.wait().unwrap(), first.wait().unwrap()), (1, 0), "{setting:?}");
        let refused = stream.submit(&large);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "alone, {setting:?}");
        assert_eq!(stream.submit(b"2").unwrap().wait().unwrap(), 2, "{setting:?}");
        assert_eq!(entries(&wal, "s"), [b"0", b"1", b"2"], "{setting:?}");
    }
}
