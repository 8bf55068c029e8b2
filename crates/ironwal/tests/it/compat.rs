//! What programs written for 0.6 rely on, point by point, on a real directory; and where 0.7 does
//! something else on purpose. `docs/compat.md` has the reasons.

use std::fs;
use std::ops::Range;
use std::path::Path;

use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};
use tempfile::TempDir;

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(std::time::Duration::from_secs(1)),
];

fn new_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Opens the log in a directory named `log` below `dir`.
fn open(dir: &TempDir, sync_mode: SyncMode) -> Wal {
    Wal::new(WalOptions { sync_mode, ..options(dir) }).unwrap()
}

fn options(dir: &TempDir) -> WalOptions {
    WalOptions::new(dir.path().join("log"))
}

/// Options with `entries` to a segment.
fn segments_of(dir: &TempDir, entries: u64) -> WalOptions {
    WalOptions { max_entries_per_segment: entries, ..options(dir) }
}

/// The same, with an archive beside the log.
fn archived_segments_of(dir: &TempDir, entries: u64) -> WalOptions {
    let archive_path = Some(dir.path().join("archive"));
    WalOptions { archive_path, ..segments_of(dir, entries) }
}

fn name_of(id: u64) -> String {
    format!("entry {id}")
}

/// Appends entries of their own names, one by one.
fn fill(wal: &Wal, stream: &str, ids: Range<u64>) {
    for id in ids {
        assert_eq!(wal.append(stream, name_of(id).as_bytes()).unwrap(), id);
    }
}

/// The ids that an iterator yields, whose entries must be those of [`fill`].
fn ids(wal: &Wal, stream: &str, start: u64) -> Vec<u64> {
    wal.iter_with_ids(stream, start)
        .unwrap()
        .map(|entry| {
            let (id, entry) = entry.unwrap();
            assert_eq!(entry, name_of(id).into_bytes());
            id
        })
        .collect()
}

fn all(ids: Range<u64>) -> Vec<u64> {
    ids.collect()
}

/// The names in a directory, sorted; none if it does not exist.
fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The first ids of the segment files in a directory.
fn starts(dir: &Path) -> Vec<u64> {
    let names = names_in(dir).into_iter();
    names.filter_map(|name| name.strip_suffix(".wal")?.parse().ok()).collect()
}

/// Where a stream with a plain name has its segments.
fn dir_of(dir: &TempDir, stream: &str) -> std::path::PathBuf {
    dir.path().join("log").join(stream)
}

/// Flips a bit of the entry `text` in the only file of `dir` that holds it, and returns that.
fn damage(dir: &Path, text: &str) -> std::path::PathBuf {
    let mut files = names_in(dir).into_iter().map(|name| dir.join(name)).filter_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let position = bytes.windows(text.len()).position(|bytes| bytes == text.as_bytes())?;
        Some((path, bytes, position))
    });
    let (path, mut bytes, position) = files.next().expect("the entry is there");
    bytes[position] ^= 4;
    fs::write(&path, bytes).unwrap();
    path
}

/// A copy of the log as it is: what would be left if its process were killed now.
fn killed(dir: &TempDir) -> TempDir {
    let copy = new_dir();
    copy_tree(&dir.path().join("log"), &copy.path().join("log"));
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names_in(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

mod opening {
    use super::*;

    #[test]
    fn the_root_is_made_with_its_parents_and_must_be_a_directory() {
        let dir = new_dir();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(Wal::new(WalOptions::new(&file)), Err(Error::Io(_))));
        assert!(matches!(Wal::new(WalOptions::new(file.join("below"))), Err(Error::Io(_))));
        let wal = Wal::new(WalOptions::new(dir.path().join("made/with/parents"))).unwrap();
        wal.append("s", b"x").unwrap();
        assert_eq!(names_in(&dir.path().join("made/with/parents/s")).len(), 1);
    }

    #[test]
    fn every_stream_goes_on_where_it_ended() {
        for mode in MODES {
            let dir = new_dir();
            let wal = open(&dir, mode);
            for (nth, stream) in ["a", "b", "c"].into_iter().enumerate() {
                fill(&wal, stream, 0..1 + nth as u64);
            }
            drop(wal);
            let wal = open(&dir, mode);
            assert_eq!(wal.streams(), ["a", "b", "c"]);
            for (nth, stream) in ["a", "b", "c"].into_iter().enumerate() {
                fill(&wal, stream, 1 + nth as u64..9);
                assert_eq!(ids(&wal, stream, 0), all(0..9), "{mode:?}");
            }
        }
    }

    /// 0.6 takes every directory for a stream and writes an index into it.
    #[test]
    fn strangers_in_the_root_are_left_alone() {
        let dir = new_dir();
        let root = dir.path().join("log");
        for stranger in ["lost+found", "notes", ".git", "orders#deleted"] {
            fs::create_dir_all(root.join(stranger)).unwrap();
        }
        fs::write(root.join("notes/todo.txt"), "x").unwrap();
        fs::write(root.join("README"), "x").unwrap();
        let wal = open(&dir, SyncMode::Strict);
        wal.append("s", b"x").unwrap();
        assert_eq!(wal.streams(), ["s"]);
        assert_eq!(wal.append("notes", b"a stream may move in").unwrap(), 0);
        wal.close().unwrap();
        assert!(root.join("notes/todo.txt").exists());
        for stranger in ["lost+found", ".git", "orders#deleted"] {
            assert_eq!(names_in(&root.join(stranger)), [""; 0], "{stranger}");
        }
        assert_eq!(open(&dir, SyncMode::Strict).streams(), ["notes", "s"]);
    }

    /// Two handles on one root of 0.6 both hand out id 0.
    #[test]
    fn a_second_writer_is_locked_out() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        let clone = wal.clone();
        assert!(matches!(Wal::new(options(&dir)), Err(Error::Locked(_))));
        drop(wal);
        assert!(matches!(Wal::new(options(&dir)), Err(Error::Locked(_))), "a clone is a handle");
        drop(clone);
        open(&dir, SyncMode::Strict);
    }

    #[test]
    fn limits_of_zero_are_refused() {
        let dir = new_dir();
        for options in [
            WalOptions { max_open_segments: 0, ..options(&dir) },
            WalOptions { max_open_read_segments: 0, ..options(&dir) },
            WalOptions { block_cache_size: Some(0), ..options(&dir) },
        ] {
            assert!(matches!(Wal::new(options), Err(Error::Config(_))));
        }
        assert_eq!(names_in(dir.path()), [""; 0], "nothing was made");
    }

    #[test]
    fn sizes_of_zero_give_every_append_a_segment() {
        for zero in [
            |options| WalOptions { max_segment_size: 0, ..options },
            |options| WalOptions { max_entries_per_segment: 0, ..options },
        ] {
            let dir = new_dir();
            let without_buffers =
                WalOptions { write_buffer_size: 0, read_buffer_size: 0, ..options(&dir) };
            let wal = Wal::new(zero(without_buffers)).unwrap();
            fill(&wal, "s", 0..3);
            assert_eq!(starts(&dir_of(&dir, "s")), [0, 1, 2]);
            assert_eq!(ids(&wal, "s", 0), [0, 1, 2]);
        }
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_its_ids_are_given_again() {
        // 0.6.9 refuses it under `Error`: but nobody was told that it is safe.
        for on_corruption in [CorruptionPolicy::Truncate, CorruptionPolicy::Error] {
            let dir = new_dir();
            let wal = open(&dir, SyncMode::Async);
            fill(&wal, "s", 0..5);
            let copy = killed(&dir);
            damage(&dir_of(&copy, "s"), &name_of(4));
            let options = WalOptions { on_corruption, ..options(&copy) };
            let wal = Wal::new(options).unwrap();
            assert_eq!(ids(&wal, "s", 0), all(0..4));
            fill(&wal, "s", 4..7);
            assert_eq!(ids(&wal, "s", 0), all(0..7));
        }
    }

    /// 0.6.9 cuts off what stands behind a damaged header, and keeps a damaged entry only if it is
    /// the last one and not all zeros.
    #[test]
    fn damage_below_the_end_is_never_cut_off() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        fill(&wal, "s", 0..5);
        let copy = killed(&dir);
        damage(&dir_of(&copy, "s"), &name_of(1));
        let refusing = WalOptions { on_corruption: CorruptionPolicy::Error, ..options(&copy) };
        assert!(matches!(Wal::new(refusing), Err(Error::Corruption(_))));
        let wal = Wal::new(options(&copy)).unwrap();
        assert!(matches!(wal.get("s", 1), Err(Error::CrcMismatch { offset: 1.., .. })));
        assert_eq!(ids(&wal, "s", 2), [2, 3, 4]);
        fill(&wal, "s", 5..6);
    }

    #[test]
    fn a_directory_of_version_0_6_is_refused_and_not_touched() {
        let dir = new_dir();
        fs::create_dir_all(dir_of(&dir, "orders")).unwrap();
        fs::write(dir_of(&dir, "orders").join("segments.idx"), "").unwrap();
        let error = Wal::new(options(&dir)).unwrap_err();
        assert!(matches!(error, Error::LegacyDirectory(_)), "{error}");
        assert!(error.to_string().contains("0.6"), "{error}");
        assert_eq!(names_in(&dir.path().join("log")), ["orders"]);
        assert_eq!(names_in(&dir_of(&dir, "orders")), ["segments.idx"]);
    }
}

mod names {
    use super::*;

    #[test]
    fn names_that_cannot_be_streams_are_refused() {
        let archive = |dir: &TempDir| Wal::new(archived_segments_of(dir, 10)).unwrap();
        for (dir, open) in [
            (new_dir(), archive as fn(&TempDir) -> Wal),
            (new_dir(), |dir| open(dir, SyncMode::Strict)),
        ] {
            let wal = open(&dir);
            for name in ["", "  ", "\t\n", ".", "..", &"x".repeat(256), &"ü".repeat(43)] {
                let mut writer = wal.writer(name);
                writer.add("x");
                let refusals = [
                    wal.append(name, b"x").err(),
                    wal.append_batch(name, &[b"x"]).err(),
                    writer.commit().err(),
                    wal.get(name, 0).err(),
                    wal.get_batch(name, &[0]).err(),
                    wal.iter(name, 0).err(),
                    wal.iter_with_ids(name, 0).err(),
                    wal.truncate(name, 1).err(),
                    wal.restore_archived(name).err(),
                    wal.delete_stream(name).err(),
                    wal.stream(name).err(),
                ];
                for (nth, refusal) in refusals.iter().enumerate() {
                    assert!(
                        matches!(refusal, Some(Error::Config(_))),
                        "{name:?} {nth} {refusal:?}"
                    );
                }
                if name.trim().is_empty() {
                    let text = "Configuration Error: Stream key cannot be empty";
                    assert_eq!(refusals[0].as_ref().unwrap().to_string(), text);
                }
                // Nothing is done with these, so nothing is looked at.
                assert_eq!(wal.writer(name).commit().unwrap(), 0..0);
                assert_eq!(wal.append_batch(name, &[]).unwrap(), 0..0);
                assert_eq!(wal.get_batch(name, &[]).unwrap(), []);
                assert_eq!(wal.current_segment_start_id(name), None);
            }
            assert!(wal.streams().is_empty());
        }
    }

    #[test]
    fn names_never_leave_the_root() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        let longest = "x".repeat(255);
        for name in ["../hack", "/etc/passwd", "...", "a\0b", ".ironwal", "Grüße", &longest] {
            assert_eq!(wal.append(name, name.as_bytes()).unwrap(), 0, "{name:?}");
        }
        drop(wal);
        assert_eq!(names_in(dir.path()), ["log"]);
        let inside = names_in(&dir.path().join("log"));
        for name in ["%2E.%2Fhack", "%2E..", "%2Eironwal", &longest] {
            assert!(inside.iter().any(|inside| inside == name), "{name} is not in {inside:?}");
        }
        let wal = open(&dir, SyncMode::Strict);
        for name in wal.streams() {
            assert_eq!(wal.get(&name, 0).unwrap().unwrap(), name.as_bytes());
        }
        assert_eq!(wal.streams().len(), 7);
    }

    /// In 0.6 these share files but count for themselves, and one loses what it wrote.
    #[test]
    fn names_that_look_alike_are_different_streams() {
        let dir = new_dir();
        let alike = ["a/b", "a_b", "a b", "a%2Fb", "A_b"];
        for round in 0..3 {
            let wal = open(&dir, SyncMode::Strict);
            for name in alike {
                let entry = format!("{name} {round}");
                assert_eq!(wal.append(name, entry.as_bytes()).unwrap(), round);
            }
        }
        let wal = open(&dir, SyncMode::Strict);
        for name in alike {
            let entries: Vec<_> = wal.iter(name, 0).unwrap().map(Result::unwrap).collect();
            assert_eq!(entries, [0, 1, 2].map(|round| format!("{name} {round}").into_bytes()));
        }
    }
}

mod appending {
    use super::*;

    #[test]
    fn ids_count_from_zero_in_each_stream_and_entries_may_be_empty() {
        for mode in MODES {
            let dir = new_dir();
            let wal = open(&dir, mode);
            assert_eq!(wal.append("a", b"zero").unwrap(), 0);
            assert_eq!(wal.append("b", b"other").unwrap(), 0);
            assert_eq!(wal.append_batch("a", &[b"one", b"", b"three"]).unwrap(), 1..4);
            assert_eq!(wal.append("a", b"").unwrap(), 4);
            let expected = ["zero", "one", "", "three", ""].map(|text| text.as_bytes().to_vec());
            let read =
                |wal: &Wal| wal.iter("a", 0).unwrap().map(Result::unwrap).collect::<Vec<_>>();
            assert_eq!(read(&wal), expected, "{mode:?}");
            drop(wal);
            assert_eq!(read(&open(&dir, mode)), expected, "{mode:?}");
        }
    }

    #[test]
    fn an_empty_batch_says_where_the_stream_goes_on_and_makes_nothing() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        assert_eq!(wal.append_batch("s", &[]).unwrap(), 0..0);
        assert!(!dir_of(&dir, "s").exists());
        assert!(wal.streams().is_empty());
        fill(&wal, "s", 0..3);
        assert_eq!(wal.append_batch("s", &[]).unwrap(), 3..3);
        assert_eq!(ids(&wal, "s", 0), [0, 1, 2]);
    }

    /// 0.6.0 shows a batch in `Async` only when its buffer is full, and 0.6.9 may be late with the
    /// earlier segments of a batch in every mode.
    #[test]
    fn writers_read_at_once_what_they_wrote() {
        for mode in MODES {
            let dir = new_dir();
            let small = WalOptions { sync_mode: mode, max_segment_size: 200, ..options(&dir) };
            let wal = Wal::new(small).unwrap();
            let other = wal.clone();
            for first in (0..200).step_by(11) {
                fill(&wal, "s", first..first + 1);
                assert_eq!(other.get("s", first).unwrap().unwrap(), name_of(first).as_bytes());
                let batch: Vec<String> = (first + 1..first + 11).map(name_of).collect();
                let slices: Vec<&[u8]> = batch.iter().map(String::as_bytes).collect();
                if first % 2 == 0 {
                    assert_eq!(wal.append_batch("s", &slices).unwrap(), first + 1..first + 11);
                } else {
                    let mut writer = wal.writer("s");
                    batch.into_iter().for_each(|entry| writer.add(entry));
                    assert_eq!(writer.commit().unwrap(), first + 1..first + 11);
                }
                assert_eq!(ids(&other, "s", 0), all(0..first + 11), "{mode:?}");
            }
        }
    }

    #[test]
    fn a_count_limit_starts_segments_at_its_multiples_over_reopening() {
        for mode in MODES {
            let dir = new_dir();
            for id in 0..10 {
                let options = WalOptions { sync_mode: mode, ..segments_of(&dir, 4) };
                let wal = Wal::new(options).unwrap();
                fill(&wal, "s", id..id + 1);
                let start = Some(id / 4 * 4);
                assert_eq!(wal.current_segment_start_id("s"), start, "{mode:?}");
            }
            assert_eq!(starts(&dir_of(&dir, "s")), [0, 4, 8], "{mode:?}");
        }
    }

    #[test]
    fn segments_rotate_by_size() {
        for mode in MODES {
            let dir = new_dir();
            let options = WalOptions { max_segment_size: 200, sync_mode: mode, ..options(&dir) };
            let wal = Wal::new(options.clone()).unwrap();
            for id in 0..50 {
                fill(&wal, "s", id..id + 1);
                assert_eq!(ids(&wal, "s", 0), all(0..id + 1));
            }
            wal.close().unwrap();
            let wal = Wal::new(options).unwrap();
            for id in 0..50 {
                assert_eq!(ids(&wal, "s", id), all(id..50), "{mode:?}");
                assert_eq!(wal.get("s", id).unwrap().unwrap(), name_of(id).as_bytes());
            }
            fill(&wal, "s", 50..51);
            // 24 bytes beside each entry, and padding: six of 32 bytes fit.
            assert_eq!(starts(&dir_of(&dir, "s")), (0..50).step_by(6).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn the_count_limit_never_splits_a_batch() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 3)).unwrap();
        fill(&wal, "s", 0..7);
        assert_eq!(starts(&dir_of(&dir, "s")), [0, 3, 6]);
        let ten = [&b"y"[..]; 10];
        wal.append_batch("s", &ten).unwrap();
        wal.append_batch("s", &ten).unwrap();
        assert_eq!(starts(&dir_of(&dir, "s")), [0, 3, 6], "batches go into the open segment");
        wal.append("s", b"x").unwrap();
        assert_eq!(starts(&dir_of(&dir, "s")), [0, 3, 6, 27]);
    }

    /// 0.6 splits it, and then it is not atomic.
    #[test]
    fn the_size_limit_never_splits_a_batch() {
        let dir = new_dir();
        let options = WalOptions { max_segment_size: 100, ..segments_of(&dir, 3) };
        let wal = Wal::new(options.clone()).unwrap();
        wal.append("s", b"before").unwrap();
        let big: Vec<Vec<u8>> = (0..10).map(|byte| vec![byte; 1000]).collect();
        let slices: Vec<&[u8]> = big.iter().map(Vec::as_slice).collect();
        assert_eq!(wal.append_batch("s", &slices).unwrap(), 1..11);
        assert_eq!(wal.append("s", b"after").unwrap(), 11);
        wal.close().unwrap();
        assert_eq!(starts(&dir_of(&dir, "s")), [0, 1, 11]);
        let wal = Wal::new(options).unwrap();
        for (nth, entry) in big.iter().enumerate() {
            assert_eq!(wal.get("s", 1 + nth as u64).unwrap().as_ref(), Some(entry));
        }
    }

    /// 0.6 lists the first segment twice and counts it twice.
    #[test]
    fn a_first_entry_beyond_the_segment_size_is_one_segment() {
        let dir = new_dir();
        let wal = Wal::new(WalOptions { max_segment_size: 40, ..options(&dir) }).unwrap();
        wal.append("s", &[7; 500]).unwrap();
        fill(&wal, "s", 1..4);
        assert_eq!(starts(&dir_of(&dir, "s")), [0, 1, 2, 3]);
        assert_eq!(wal.truncate("s", u64::MAX).unwrap(), 3);
    }

    /// In 0.6 also `Some(0)` merely because the name was asked for.
    #[test]
    fn the_current_segment_is_none_until_something_is_appended() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        wal.truncate("s", 3).unwrap();
        wal.append_batch("s", &[]).unwrap();
        wal.iter("s", 0).unwrap();
        wal.stream("s").unwrap();
        assert_eq!(wal.current_segment_start_id("s"), None);
        for (id, start) in [0, 0, 2, 2, 4].into_iter().enumerate() {
            fill(&wal, "s", id as u64..id as u64 + 1);
            assert_eq!(wal.current_segment_start_id("s"), Some(start));
        }
        wal.delete_stream("s").unwrap();
        assert_eq!(wal.current_segment_start_id("s"), None);
    }
}

mod transactions {
    use super::*;

    #[test]
    fn a_transaction_is_one_batch() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        let mut writer = wal.writer("s");
        writer.add("text");
        writer.add(String::from("owned"));
        writer.add(b"array");
        writer.add(vec![1, 2]);
        assert_eq!(wal.get("s", 0).unwrap(), None, "adding only buffers");
        assert_eq!(writer.commit().unwrap(), 0..4);
        let entries: Vec<_> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries, [&b"text"[..], b"owned", b"array", &[1, 2]]);
    }

    #[test]
    fn an_empty_commit_is_an_empty_range_at_zero() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        assert_eq!(wal.writer("s").commit().unwrap(), 0..0);
        fill(&wal, "s", 0..2);
        assert_eq!(wal.writer("s").commit().unwrap(), 0..0, "wherever the stream goes on");
    }

    #[test]
    fn a_dropped_transaction_writes_nothing_and_uses_no_id() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        let mut writer = wal.writer("s");
        writer.add("never");
        drop(writer);
        assert!(!dir_of(&dir, "s").exists());
        fill(&wal, "s", 0..1);
        assert_eq!(ids(&wal, "s", 0), [0]);
    }

    #[test]
    fn a_writer_keeps_the_log_open() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        let mut writer = wal.writer("s");
        drop(wal);
        assert!(matches!(Wal::new(options(&dir)), Err(Error::Locked(_))));
        writer.add(name_of(0));
        assert_eq!(writer.commit().unwrap(), 0..1);
        assert_eq!(ids(&open(&dir, SyncMode::Strict), "s", 0), [0]);
    }
}

mod reading {
    use super::*;

    #[test]
    fn what_is_not_there_is_none() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        assert_eq!(wal.get("none", 0).unwrap(), None, "0.6.0: an I/O error");
        fill(&wal, "s", 0..6);
        assert_eq!(wal.truncate("s", 3).unwrap(), 1);
        for id in [0, 1, 6, 7, u64::MAX] {
            assert_eq!(wal.get("s", id).unwrap(), None, "{id}");
        }
        assert_eq!(wal.get("s", 2).unwrap().unwrap(), name_of(2).as_bytes());
        assert_eq!(wal.streams(), ["s"], "reading makes no streams");
        assert!(!dir_of(&dir, "none").exists());
    }

    #[test]
    fn a_batch_of_ids_is_read_in_its_order() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        fill(&wal, "s", 0..9);
        wal.truncate("s", 2).unwrap();
        let wanted = [8, 3, 0, 3, 9, 2, u64::MAX, 1, 5];
        let found = wal.get_batch("s", &wanted).unwrap();
        let is_there = |id: u64| (2..9).contains(&id);
        assert_eq!(found, wanted.map(|id| is_there(id).then(|| name_of(id).into_bytes())));
        assert_eq!(wal.get_batch("s", &[]).unwrap(), []);
        assert_eq!(wal.get_batch("none", &[0, 7]).unwrap(), [None, None], "0.6.0: an I/O error");
        assert_eq!(wal.get_batch("none", &[]).unwrap(), []);
    }

    #[test]
    fn a_damaged_entry_fails_a_batch_of_ids() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 5)).unwrap();
        fill(&wal, "s", 0..12);
        drop(wal);
        damage(&dir_of(&dir, "s"), &name_of(3));
        let wal = Wal::new(segments_of(&dir, 5)).unwrap();
        let failed = wal.get_batch("s", &[0, 3, 11]);
        assert!(matches!(failed, Err(Error::CrcMismatch { offset: 1.., .. })), "{failed:?}");
        let found = wal.get_batch("s", &[0, 2, 4, 11]).unwrap();
        assert_eq!(found, [0, 2, 4, 11].map(|id| Some(name_of(id).into_bytes())));
    }

    #[test]
    fn iterators_begin_anywhere_and_cross_segments() {
        let dir = new_dir();
        let wal = Wal::new(WalOptions { max_segment_size: 300, ..options(&dir) }).unwrap();
        fill(&wal, "s", 0..3);
        let batch: Vec<String> = (3..9).map(name_of).collect();
        let slices: Vec<&[u8]> = batch.iter().map(String::as_bytes).collect();
        wal.append_batch("s", &slices).unwrap();
        fill(&wal, "s", 9..20);
        for start in 0..20 {
            assert_eq!(ids(&wal, "s", start), all(start..20));
        }
        for start in [20, 21, u64::MAX] {
            assert_eq!(wal.iter("s", start).unwrap().count(), 0);
            assert_eq!(wal.iter("none", start).unwrap().count(), 0);
        }
    }

    /// 0.6.0 yields nothing.
    #[test]
    fn an_iterator_from_a_pruned_id_begins_at_the_first_that_is_kept() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 10)).unwrap();
        fill(&wal, "s", 0..30);
        wal.truncate("s", 15).unwrap();
        assert_eq!(ids(&wal, "s", 0), all(10..30));
        assert_eq!(ids(&wal, "s", 9), all(10..30));
        assert_eq!(wal.iter("s", 3).unwrap().next().unwrap().unwrap(), name_of(10).as_bytes());
        assert_eq!(wal.get("s", 9).unwrap(), None);
    }

    #[test]
    fn an_iterator_sees_what_is_appended_until_it_has_ended() {
        for mode in MODES {
            let dir = new_dir();
            let options = WalOptions { sync_mode: mode, ..segments_of(&dir, 2) };
            let wal = Wal::new(options).unwrap();
            fill(&wal, "s", 0..1);
            let mut iterator = wal.iter_with_ids("s", 0).unwrap();
            for id in 0..7 {
                assert_eq!(iterator.next().unwrap().unwrap(), (id, name_of(id).into_bytes()));
                fill(&wal, "s", id + 1..id + 2);
            }
            assert_eq!(iterator.next().unwrap().unwrap().0, 7);
            assert!(iterator.next().is_none());
            fill(&wal, "s", 8..9);
            assert!(iterator.next().is_none(), "the end is the end");

            let mut early = wal.iter("later", 0).unwrap();
            fill(&wal, "later", 0..1);
            assert!(early.next().is_none(), "there was no such stream");
        }
    }

    #[test]
    fn an_iterator_outlives_its_log() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        fill(&wal, "s", 0..2);
        let mut iterator = wal.iter("s", 1).unwrap();
        drop(wal);
        assert_eq!(iterator.next().unwrap().unwrap(), name_of(1).as_bytes());
        assert!(matches!(Wal::new(options(&dir)), Err(Error::Locked(_))));
        drop(iterator);
        open(&dir, SyncMode::Strict);
    }

    /// The segment that is being read is read to its end, here to 1; the next entry is the first that
    /// is kept, here 6. 0.6.0 ends instead.
    #[test]
    fn an_iterator_passes_over_what_is_pruned_meanwhile() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        fill(&wal, "s", 0..8);
        let mut iterator = wal.iter_with_ids("s", 0).unwrap();
        assert_eq!(iterator.next().unwrap().unwrap().0, 0);
        assert_eq!(wal.truncate("s", 6).unwrap(), 3);
        let rest: Vec<u64> = iterator.map(|entry| entry.unwrap().0).collect();
        assert_eq!(rest, [1, 6, 7]);
    }

    #[test]
    fn an_iterator_reads_the_open_segment_of_a_deleted_stream_to_its_end() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 3)).unwrap();
        fill(&wal, "s", 0..8);
        let mut iterator = wal.iter_with_ids("s", 0).unwrap();
        assert_eq!(iterator.next().unwrap().unwrap().0, 0);
        wal.delete_stream("s").unwrap();
        for _ in 0..9 {
            wal.append("s", b"another life").unwrap();
        }
        let rest: Vec<(u64, Vec<u8>)> = iterator.map(Result::unwrap).collect();
        assert_eq!(rest, [1, 2].map(|id| (id, name_of(id).into_bytes())));
    }

    /// 0.6 never delivers what stands behind damage, and repeats the error for ever in `Mmap`.
    #[test]
    fn an_iterator_yields_an_error_once_and_goes_on() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 5)).unwrap();
        fill(&wal, "s", 0..12);
        drop(wal);
        damage(&dir_of(&dir, "s"), &name_of(3));
        let wal = Wal::new(segments_of(&dir, 5)).unwrap();
        let found: Vec<_> = wal.iter_with_ids("s", 0).unwrap().collect();
        let is_damage = |error: &Error| matches!(error, Error::CrcMismatch { offset: 1.., .. });
        assert!(found[3].as_ref().is_err_and(is_damage), "{:?}", found[3]);
        let read: Vec<u64> = found.into_iter().flatten().map(|(id, _)| id).collect();
        assert_eq!(read, [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert!(wal.get("s", 3).as_ref().is_err_and(is_damage));
        assert_eq!(wal.iter("s", 0).unwrap().flatten().count(), 11);
    }

    /// 0.6 skips it without a word.
    #[test]
    fn a_missing_segment_is_an_error_once() {
        let dir = new_dir();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        fill(&wal, "s", 0..6);
        drop(wal);
        fs::remove_file(dir_of(&dir, "s").join(format!("{:020}.wal", 2))).unwrap();
        let wal = Wal::new(segments_of(&dir, 2)).unwrap();
        let found: Vec<_> = wal.iter_with_ids("s", 0).unwrap().collect();
        let error = found[2].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("Data Corruption: ") && error.contains("2..4"), "{error}");
        let read: Vec<u64> = found.into_iter().flatten().map(|(id, _)| id).collect();
        assert_eq!(read, [0, 1, 4, 5]);
        assert!(matches!(wal.get("s", 3), Err(Error::Corruption(_))));
    }
}

mod truncating {
    use super::*;

    #[test]
    fn segments_below_the_safe_id_are_freed() {
        for mode in MODES {
            let expectations =
                [(0, 0), (1, 0), (9, 0), (10, 1), (15, 1), (25, 2), (1000, 2), (u64::MAX, 2)];
            for (safe_id, freed) in expectations {
                let dir = new_dir();
                let options = WalOptions { sync_mode: mode, ..segments_of(&dir, 10) };
                let wal = Wal::new(options).unwrap();
                fill(&wal, "s", 0..30);
                assert_eq!(wal.truncate("s", safe_id).unwrap(), freed, "{mode:?} {safe_id}");
                assert_eq!(wal.truncate("s", safe_id).unwrap(), 0, "{mode:?} {safe_id}");
                assert_eq!(ids(&wal, "s", 0), all(10 * freed as u64..30));
                wal.close().unwrap();
                let kept: Vec<u64> = [0, 10, 20].into_iter().skip(freed).collect();
                assert_eq!(starts(&dir_of(&dir, "s")), kept);
            }
        }
    }

    #[test]
    fn ids_go_on_after_it_and_over_reopening() {
        for mode in MODES {
            let dir = new_dir();
            let options = WalOptions { sync_mode: mode, ..segments_of(&dir, 10) };
            let wal = Wal::new(options.clone()).unwrap();
            fill(&wal, "s", 0..30);
            wal.truncate("s", 25).unwrap();
            fill(&wal, "s", 30..32);
            drop(wal);
            let wal = Wal::new(options).unwrap();
            assert_eq!(ids(&wal, "s", 0), all(20..32));
            fill(&wal, "s", 32..41);
            assert_eq!(wal.truncate("s", 33).unwrap(), 1);
            assert_eq!(ids(&wal, "s", 0), all(30..41));
        }
    }

    /// 0.6: an I/O error.
    #[test]
    fn a_missing_stream_has_nothing_to_free() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        assert_eq!(wal.truncate("none", 7).unwrap(), 0);
        wal.stream("begun").unwrap();
        assert_eq!(wal.truncate("begun", 7).unwrap(), 0);
        assert!(wal.streams().is_empty());
    }

    #[test]
    fn freed_segments_go_to_the_archive() {
        let dir = new_dir();
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        fill(&wal, "a/b", 0..30);
        assert_eq!(wal.truncate("a/b", 25).unwrap(), 2);
        wal.close().unwrap();
        assert_eq!(starts(&dir.path().join("archive/a%2Fb")), [0, 10]);
        assert_eq!(starts(&dir_of(&dir, "a%2Fb")), [20]);
    }

    /// 0.6.9 documents this as forbidden, but opens.
    #[test]
    fn an_archive_inside_of_the_root_is_refused() {
        let dir = new_dir();
        let root = dir.path().join("log");
        fs::create_dir(&root).unwrap();
        for inside in ["log", "log/archive", "./log/../log/a/b", "link/archive"] {
            #[cfg(unix)]
            let _ = std::os::unix::fs::symlink(&root, dir.path().join("link"));
            let archive_path = Some(dir.path().join(inside));
            let refused = Wal::new(WalOptions { archive_path, ..options(&dir) });
            assert!(matches!(refused, Err(Error::Config(_))), "{inside}");
        }
        assert_eq!(names_in(&root), [""; 0]);
        let archive_path = Some(dir.path().join("logs"));
        Wal::new(WalOptions { archive_path, ..options(&dir) }).unwrap();
    }
}

mod restoring {
    use super::*;

    #[test]
    fn the_archive_comes_back() {
        let dir = new_dir();
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        fill(&wal, "s", 0..45);
        wal.truncate("s", 25).unwrap();
        wal.truncate("s", 40).unwrap();
        assert_eq!(ids(&wal, "s", 0), all(40..45));
        assert_eq!(wal.restore_archived("s").unwrap(), 4);
        assert_eq!(wal.restore_archived("s").unwrap(), 0, "once is enough");
        assert_eq!(names_in(&dir.path().join("archive/s")), [""; 0]);
        assert_eq!(wal.get("s", 3).unwrap().unwrap(), name_of(3).as_bytes());
        assert_eq!(ids(&wal, "s", 0), all(0..45));
        fill(&wal, "s", 45..47);
        drop(wal);
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        assert_eq!(ids(&wal, "s", 0), all(0..47));
        assert_eq!(wal.truncate("s", 20).unwrap(), 2, "it can be archived again");
    }

    #[test]
    fn it_comes_back_after_reopening() {
        let dir = new_dir();
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        fill(&wal, "s", 0..30);
        wal.truncate("s", 20).unwrap();
        drop(wal);
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        assert_eq!(ids(&wal, "s", 0), all(20..30));
        assert_eq!(wal.restore_archived("s").unwrap(), 2);
        assert_eq!(ids(&wal, "s", 0), all(0..30));
    }

    #[test]
    fn without_an_archive_nothing_comes_back() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        assert_eq!(wal.restore_archived("s").unwrap(), 0);
        drop(wal);
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        assert_eq!(wal.restore_archived("s").unwrap(), 0);
        fill(&wal, "s", 0..30);
        assert_eq!(wal.restore_archived("s").unwrap(), 0);
        assert_eq!(ids(&wal, "s", 0), all(0..30));
    }

    /// In 0.6.9 the archived segment takes the place of the live one, whose entries are gone.
    #[test]
    fn it_never_overwrites_a_later_life_of_the_stream() {
        let dir = new_dir();
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        fill(&wal, "s", 0..30);
        wal.truncate("s", 20).unwrap();
        wal.delete_stream("s").unwrap();
        for id in 0..25 {
            assert_eq!(wal.append("s", b"another life").unwrap(), id);
        }
        assert_eq!(wal.restore_archived("s").unwrap(), 0);
        // Nor does archiving it overwrite what is archived of the earlier one.
        wal.truncate("s", 10).unwrap();
        assert_eq!(names_in(&dir.path().join("archive/s")).len(), 3);
        assert_eq!(wal.restore_archived("s").unwrap(), 1);
        for entry in wal.iter("s", 0).unwrap() {
            assert_eq!(entry.unwrap(), b"another life");
        }
        assert_eq!(wal.iter("s", 0).unwrap().count(), 25);
        wal.delete_stream("s").unwrap();
        assert_eq!(wal.restore_archived("s").unwrap(), 2, "the first life, as far as it goes");
        assert_eq!(ids(&wal, "s", 0), all(0..20));
        fill(&wal, "s", 20..21);
    }
}

mod deleting {
    use super::*;

    #[test]
    fn a_deleted_stream_is_gone_and_begins_anew() {
        for mode in MODES {
            let dir = new_dir();
            let options = WalOptions {
                sync_mode: mode,
                block_cache_size: Some(1 << 20),
                ..segments_of(&dir, 5)
            };
            let wal = Wal::new(options.clone()).unwrap();
            for life in 0..3 {
                let entry = |id: u64| format!("life {life} entry {id}");
                for id in 0..12 {
                    assert_eq!(wal.append("s", entry(id).as_bytes()).unwrap(), id);
                    assert_eq!(wal.get("s", id).unwrap().unwrap(), entry(id).as_bytes());
                }
                for id in 0..12 {
                    assert_eq!(wal.get("s", id).unwrap().unwrap(), entry(id).as_bytes());
                }
                wal.clone().delete_stream("s").unwrap();
                wal.delete_stream("s").unwrap();
                assert_eq!(wal.get("s", 0).unwrap(), None);
                assert_eq!(wal.iter("s", 0).unwrap().count(), 0);
                assert_eq!(wal.append_batch("s", &[]).unwrap(), 0..0);
                assert!(wal.streams().is_empty());
                assert!(!dir_of(&dir, "s").exists());
            }
            fill(&wal, "s", 0..2);
            drop(wal);
            let wal = Wal::new(options).unwrap();
            assert_eq!(ids(&wal, "s", 0), [0, 1], "{mode:?}");
        }
    }

    #[test]
    fn it_stays_deleted_over_reopening() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        fill(&wal, "s", 0..3);
        fill(&wal, "kept", 0..3);
        wal.delete_stream("s").unwrap();
        drop(wal);
        let wal = open(&dir, SyncMode::Strict);
        assert_eq!(wal.streams(), ["kept"]);
        fill(&wal, "s", 0..1);
    }

    #[test]
    fn deleting_an_unknown_stream_does_nothing() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        wal.delete_stream("none").unwrap();
        wal.stream("begun").unwrap();
        wal.delete_stream("begun").unwrap();
        fill(&wal, "begun", 0..1);
    }

    #[test]
    fn the_archive_is_kept_and_comes_back() {
        let dir = new_dir();
        let wal = Wal::new(archived_segments_of(&dir, 10)).unwrap();
        fill(&wal, "s", 0..30);
        wal.truncate("s", 20).unwrap();
        wal.delete_stream("s").unwrap();
        assert_eq!(starts(&dir.path().join("archive/s")), [0, 10]);
        assert_eq!(wal.restore_archived("s").unwrap(), 2);
        assert_eq!(ids(&wal, "s", 0), all(0..20));
    }

    /// In 0.6.9 a transaction that was begun before goes to the new stream, and so it does here;
    /// only handles on the stream itself know that theirs is gone.
    #[test]
    fn handles_on_a_deleted_stream_say_so() {
        let dir = new_dir();
        let wal = open(&dir, SyncMode::Strict);
        fill(&wal, "s", 0..3);
        let handle = wal.stream("s").unwrap();
        let mut writer = wal.writer("s");
        writer.add(name_of(0));
        wal.delete_stream("s").unwrap();
        assert!(matches!(handle.append(b"x"), Err(Error::StreamNotFound(name)) if name == "s"));
        assert_eq!(handle.get(0).unwrap(), None);
        assert_eq!(writer.commit().unwrap(), 0..1);
        assert!(handle.append(b"x").is_err(), "still the old one");
        assert_eq!(ids(&wal, "s", 0), [0]);
    }
}
