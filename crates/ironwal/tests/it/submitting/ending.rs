//! Entries in flight when the log is closed or dropped, or the stream deleted.

use std::sync::Arc;

use ironwal::{Environment, Error, SyncMode, Wal};

use super::{after_power_loss, disk, entries, settings};

/// Some have an id, others wait for room.
const SEGMENT: u64 = 4;

#[test]
fn closing_commits_what_was_submitted() {
    for setting in settings() {
        let setting = setting.with_segments_of(SEGMENT);
        let disk = disk(1);
        let wal = setting.open(&disk);
        let stream = wal.stream("s").unwrap();
        let mut expected = vec![b"first".to_vec()];
        stream.append(b"first").unwrap();
        let mut in_flight = Vec::new();
        for nth in 0..9_u8 {
            let pending = stream.submit(&[nth]).unwrap();
            expected.push(vec![nth]);
            if nth % 2 == 0 {
                in_flight.push((u64::from(nth) + 1, pending));
            }
        }
        wal.close().unwrap();
        assert!(matches!(stream.submit(b"later"), Err(Error::Closed)), "{setting:?}");
        // It was told before, or is now: closing has done what it waits for.
        for (id, pending) in in_flight {
            assert_eq!(pending.wait().unwrap(), id, "{setting:?}");
        }
        assert_eq!(after_power_loss(&disk, &setting, "s"), expected, "{setting:?}");
    }
}

/// A `Pending` is a handle on the log: as long as there is one, the log is open.
#[test]
fn the_log_is_closed_when_nobody_waits_any_more() {
    for setting in settings() {
        let setting = setting.with_segments_of(SEGMENT);
        let disk = disk(1);
        let wal = setting.open(&disk);
        let [first, second, third] = [b"0", b"1", b"2"].map(|entry| {
            let stream = wal.stream("s").unwrap();
            stream.submit(entry).unwrap()
        });
        let again = || {
            let environment = Environment::default().with_storage(Arc::new(disk.process()));
            Wal::open_with(setting.options.clone(), environment)
        };
        drop(wal);
        assert!(matches!(again(), Err(Error::Locked(_))), "{setting:?}");
        assert_eq!(second.wait().unwrap(), 1, "{setting:?}");
        drop(first);
        assert!(matches!(again(), Err(Error::Locked(_))), "{setting:?}");
        // The last handle: in every mode everything is durable afterwards.
        drop(third);
        assert_eq!(after_power_loss(&disk, &setting, "s"), [b"0", b"1", b"2"], "{setting:?}");
    }
}

/// Whoever waits for an entry of a stream that was deleted meanwhile is told; nothing of it comes into
/// the stream that gets the name.
#[test]
fn what_was_submitted_to_a_deleted_stream_is_gone() {
    for setting in settings() {
        let setting = setting.with_segments_of(SEGMENT);
        let what = format!("{setting:?}");
        let disk = disk(1);
        let wal = setting.open(&disk);
        let old = wal.stream("s").unwrap();
        old.append(b"old").unwrap();
        let submitted: Vec<_> = (0..9).map(|_| old.submit(b"old").unwrap()).collect();
        let dropped = old.submit(b"old").unwrap();
        wal.delete_stream("s").unwrap();
        let mut committed = 0;
        for (id, pending) in (1..).zip(submitted) {
            match pending.wait() {
                // The thread was faster, or nothing had to be waited for.
                Ok(found)
                    if (!setting.is_inline() || setting.options.sync_mode != SyncMode::Strict)
                        && committed == id - 1 =>
                {
                    assert_eq!(found, id, "{what}");
                    committed = id;
                }
                Err(Error::StreamNotFound(name)) => assert_eq!(name, "s", "{what}"),
                other => panic!("{id}: {other:?}, {committed}, {what}"),
            }
        }
        drop(dropped);
        assert!(matches!(old.submit(b"old"), Err(Error::StreamNotFound(_))), "{what}");
        let new = wal.stream("s").unwrap();
        let pending = new.submit(b"new").unwrap();
        assert_eq!(pending.wait().unwrap(), 0, "{what}");
        assert_eq!(entries(&wal, "s"), [b"new"], "{what}");
        wal.close().unwrap();
        assert_eq!(after_power_loss(&disk, &setting, "s"), [b"new"], "{what}");
    }
}

/// A log that is open for reading only takes nothing.
#[test]
fn nothing_is_submitted_to_a_log_that_is_only_read() {
    let disk = disk(1);
    for setting in settings().take(1) {
        let wal = setting.open(&disk);
        wal.append("s", b"0").unwrap();
        let environment = Environment::default().with_storage(Arc::new(disk.process()));
        let reader = Wal::open_read_only_with(setting.options.clone(), environment).unwrap();
        let refused = reader.stream("s").unwrap().submit(b"1");
        assert!(matches!(refused, Err(Error::ReadOnly(_))), "{refused:?}");
        assert_eq!(entries(&wal, "s"), [b"0"]);
    }
}
