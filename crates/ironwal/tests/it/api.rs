//! What 0.7 has beside the API of 0.6 (`compat.rs`), on a real directory.

use ironwal::{Error, SyncMode, Wal, WalOptions};

fn open(path: &std::path::Path, sync_mode: SyncMode) -> Wal {
    Wal::new(WalOptions { sync_mode, ..WalOptions::new(path) }).unwrap()
}

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(std::time::Duration::from_secs(1)),
];

fn entries(wal: &Wal, stream: &str, start: u64) -> Vec<(u64, String)> {
    wal.iter_with_ids(stream, start)
        .unwrap()
        .map(|entry| entry.map(|(id, bytes)| (id, String::from_utf8(bytes).unwrap())).unwrap())
        .collect()
}

#[test]
fn a_closed_log_refuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    stream.append(b"x").unwrap();
    let begun = wal.stream("begun").unwrap();
    let mut iterator = wal.iter("s", 0).unwrap();
    let mut writer = wal.writer("s");
    writer.add("x");
    wal.close().unwrap();
    wal.close().unwrap();
    for refused in [
        wal.append("new", b"x").err(),
        wal.get_batch("s", &[]).err(),
        wal.get_batch("s", &[0]).err(),
        wal.iter("s", 0).err(),
        wal.truncate("s", 0).err(),
        wal.restore_archived("s").err(),
        wal.delete_stream("s").err(),
        wal.stream("s").err(),
        writer.commit().err(),
        begun.append(b"x").err(),
        stream.append_at(1, b"x").err(),
        stream.append_batch_at(1, &[]).err(),
        stream.append_batch(&[]).err(),
        stream.rotate().err(),
        stream.truncate_before(1).err(),
        stream.truncate_after(None).err(),
    ] {
        assert!(matches!(refused, Some(Error::Closed)), "{refused:?}");
    }
    assert!(matches!(wal.append("s", b"x"), Err(Error::Closed)));
    assert!(matches!(wal.append_batch("s", &[]), Err(Error::Closed)));
    assert!(matches!(wal.get("s", 0), Err(Error::Closed)));
    assert!(matches!(wal.sync_all(), Err(Error::Closed)));
    assert!(matches!(stream.append(b"x"), Err(Error::Closed)));
    assert!(matches!(stream.get(0), Err(Error::Closed)));
    assert!(matches!(stream.sync(), Err(Error::Closed)));
    assert!(matches!(iterator.next(), Some(Err(Error::Closed))));
    assert!(iterator.next().is_none());
}

#[test]
fn an_append_over_the_limit_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Async);
    let huge = vec![0; ironwal::MAX_FRAME_LEN as usize];
    let error = wal.append("s", &huge).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: ironwal::MAX_FRAME_LEN, .. }), "{error}");
    let half = &huge[..huge.len() / 2];
    assert!(matches!(wal.append_batch("s", &[half, half]), Err(Error::TooLarge { .. })));
    // The sums of the pieces count, too.
    let half = &half[14..];
    assert!(matches!(wal.append_batch("s", &[half, half]), Err(Error::TooLarge { .. })));
    assert_eq!(wal.append("s", b"small").unwrap(), 0);
}

#[test]
fn an_append_for_another_id_conflicts_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    assert_eq!(stream.append_at(0, b"0").unwrap(), 0);
    assert_eq!(stream.append_batch_at(1, &[b"1", b"2"]).unwrap(), 1..3);
    for expected in [0, 2, 4, u64::MAX] {
        let conflict = |error| match error {
            Error::Conflict { stream, expected, next_id } => (stream, expected, next_id),
            error => panic!("{error}"),
        };
        let refused = stream.append_at(expected, b"x").unwrap_err();
        assert_eq!(conflict(refused), ("s".into(), expected, 3));
        let refused = stream.append_batch_at(expected, &[b"x", b"y"]).unwrap_err();
        assert_eq!(conflict(refused), ("s".into(), expected, 3));
    }
    assert_eq!(stream.append_batch_at(77, &[]).unwrap(), 3..3);
    assert_eq!(stream.next_id(), 3);
    drop((wal, stream));
    assert_eq!(entries(&open(dir.path(), SyncMode::Strict), "s", 0).len(), 3);
}

/// Of many who decide on the same state, one wins each id.
#[test]
fn of_concurrent_appends_for_one_id_one_succeeds() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path(), mode);
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let stream = wal.stream("s").unwrap();
                scope.spawn(move || {
                    let mut seen = 0;
                    while seen < 50 {
                        let entry = format!("{seen} by {thread}");
                        seen = match stream.append_at(seen, entry.as_bytes()) {
                            Ok(id) => id + 1,
                            Err(Error::Conflict { next_id, .. }) => next_id.max(stream.next_id()),
                            Err(error) => panic!("{error}"),
                        };
                    }
                });
            }
        });
        let entries = entries(&wal, "s", 0);
        assert!((50..=54).contains(&entries.len()), "{}", entries.len());
        for (id, entry) in entries {
            assert!(entry.starts_with(&format!("{id} by ")), "{id}: {entry}");
        }
    }
}

#[test]
fn a_stream_can_be_rotated_at_will() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path(), mode);
        let stream = wal.stream("s").unwrap();
        stream.rotate().unwrap();
        assert_eq!(stream.stats().segments, 0, "there is nothing to rotate");
        for id in 0..3 {
            assert_eq!(stream.append(b"x").unwrap(), id);
            stream.rotate().unwrap();
            stream.rotate().unwrap();
        }
        stream.append(b"x").unwrap();
        assert_eq!(wal.current_segment_start_id("s"), Some(3), "{mode:?}");
        assert_eq!((stream.stats().segments, stream.stats().entries()), (4, 4));
        assert_eq!(wal.truncate("s", 3).unwrap(), 3);
        drop((wal, stream));
        assert_eq!(entries(&open(dir.path(), mode), "s", 0), [(3, "x".into())]);
    }
}

#[test]
fn pruning_by_entry_is_exact_and_keeps_the_next_id() {
    for mode in MODES {
        for kept_from in [0, 1, 4, 5, 9, 10, 99] {
            let dir = tempfile::tempdir().unwrap();
            let options = WalOptions {
                sync_mode: mode,
                max_entries_per_segment: 5,
                ..WalOptions::new(dir.path())
            };
            let wal = Wal::new(options.clone()).unwrap();
            let stream = wal.stream("s").unwrap();
            for id in 0..10_u64 {
                stream.append(id.to_string().as_bytes()).unwrap();
            }
            stream.truncate_before(kept_from).unwrap();
            let first = kept_from.min(10);
            let check = |wal: &Wal| {
                let stream = wal.stream("s").unwrap();
                assert_eq!((stream.first_id(), stream.next_id()), (first, 10), "{mode:?}");
                assert_eq!(entries(wal, "s", 0).len() as u64, 10 - first);
                for id in 0..10_u64 {
                    let expected = (id >= first).then(|| id.to_string().into_bytes());
                    assert_eq!(wal.get("s", id).unwrap(), expected);
                }
            };
            check(&wal);
            drop((wal, stream));
            let wal = Wal::new(options).unwrap();
            check(&wal);
            assert_eq!(wal.append("s", b"10").unwrap(), 10);
        }
    }
}

#[test]
fn cutting_off_the_end_gives_its_ids_again() {
    for mode in MODES {
        for last_kept in [None, Some(0), Some(4), Some(5), Some(8), Some(9), Some(99)] {
            let dir = tempfile::tempdir().unwrap();
            let options = WalOptions {
                sync_mode: mode,
                max_entries_per_segment: 5,
                ..WalOptions::new(dir.path())
            };
            let wal = Wal::new(options.clone()).unwrap();
            let stream = wal.stream("s").unwrap();
            for id in 0..8_u64 {
                stream.append(id.to_string().as_bytes()).unwrap();
            }
            // A cut may go through a batch.
            stream.append_batch(&[b"8", b"9"]).unwrap();
            stream.truncate_after(last_kept).unwrap();
            let end = last_kept.map_or(0, |last| last + 1).min(10);
            let texts = |ids: std::ops::Range<u64>, mark: &str| {
                ids.map(|id| (id, format!("{id}{mark}"))).collect::<Vec<_>>()
            };
            assert_eq!(entries(&wal, "s", 0), texts(0..end, ""), "{mode:?} {last_kept:?}");
            for id in end..end + 7 {
                assert_eq!(stream.append(format!("{id} new").as_bytes()).unwrap(), id);
            }
            let expected = [texts(0..end, ""), texts(end..end + 7, " new")].concat();
            assert_eq!(entries(&wal, "s", 0), expected);
            drop((wal, stream));
            assert_eq!(entries(&Wal::new(options).unwrap(), "s", 0), expected);
        }
    }
}

#[test]
fn a_cut_into_what_is_pruned_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    for _ in 0..10 {
        stream.append(b"x").unwrap();
    }
    stream.truncate_before(6).unwrap();
    assert!(matches!(stream.truncate_after(Some(4)), Err(Error::Config(_))));
    assert_eq!((stream.first_id(), stream.next_id()), (6, 10));
    stream.truncate_after(Some(5)).unwrap();
    assert_eq!((stream.first_id(), stream.next_id()), (6, 6), "all of it, and no id is forgotten");
    assert_eq!(stream.append(b"y").unwrap(), 6);
}

#[test]
fn few_descriptors_serve_many_streams() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions {
            sync_mode: mode,
            max_open_segments: 3,
            max_open_read_segments: 1,
            max_entries_per_segment: 4,
            ..WalOptions::new(dir.path())
        };
        let wal = Wal::new(options.clone()).unwrap();
        for nth in 0..9_u64 {
            for stream in 0..20 {
                let name = format!("stream {stream}");
                assert_eq!(wal.append(&name, b"x").unwrap(), nth);
                assert!(wal.stats().open_segments <= 3, "{mode:?}");
            }
        }
        assert_eq!((wal.stats().streams, wal.stats().entries), (20, 180));
        drop(wal);
        let wal = Wal::new(options).unwrap();
        for name in wal.streams() {
            assert_eq!(entries(&wal, &name, 0).len(), 9, "{name}");
        }
    }
}
