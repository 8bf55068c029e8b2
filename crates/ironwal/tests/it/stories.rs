//! Regression tests. Each begins with the bug's story.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::storage::{OpenMode, SimDisk, Storage};
use ironwal::{Environment, Error, Journal, Maintenance, SyncMode, Wal, WalOptions};

use crate::hooked::Hooked;
use crate::model::{Processes, open, open_on};
use crate::seeds::MODES;

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, ..WalOptions::new("/log") }
}

fn disk(seed: u64) -> SimDisk {
    let config = SimConfig { seed, eviction: 0.0, write_back: 0.0, ..SimConfig::default() };
    SimDisk::with_config(config)
}

/// Segment A is cut by recovery and B behind it dropped, but the sync of B's deletion fails: it may
/// come back with the next power loss. Returns the disk, as the process after that finds it, and the
/// first id of B; `None` if this seed does not lead there.
fn a_segment_was_dropped(seed: u64, large: &WalOptions) -> Option<(SimDisk, u64)> {
    let disk = disk(seed);
    let small = WalOptions { max_segment_size: 31_000, ..large.clone() };
    let wal = open(&disk, &small).unwrap();
    for _ in 0..24 {
        wal.append("s", &[3; 1000]).unwrap();
    }
    wal.sync_all().unwrap();
    // Between the creation of B and the proof of A.
    disk.cut_power_at(5 + seed % 25);
    for _ in 0..20 {
        let _ = wal.append("s", &[3; 1000]);
    }
    disk.crash();
    let before = disk.files();
    disk.fail_nth(CallKind::SyncDir, 2, std::io::ErrorKind::Other);
    let opened = open(&disk, large);
    if opened.is_ok() || disk.files().len() == before.len() {
        return None;
    }
    disk.kill();
    let dropped = before.iter().rfind(|path| path.extension() == Some("wal".as_ref()))?;
    Some((disk, dropped.file_stem()?.to_str()?.parse().ok()?))
}

/// Recovery cut segment A and dropped B behind it; the sync of B's deletion failed. The next opening
/// found nothing to delete and went on, and power loss brought B back, as a leftover. Recovery then
/// took A for a segment in the middle, since B stood behind it, and sealed it, but kept it as the
/// active one. Entries went behind the seal, and the opening after that dropped them.
#[test]
fn a_leftover_behind_the_newest_segment_does_not_get_it_sealed() {
    let mut came_back = 0;
    let large = WalOptions { max_segment_size: 1 << 20, ..options(SyncMode::Async) };
    for seed in 0..1500 {
        let Some((disk, _)) = a_segment_was_dropped(seed, &large) else { continue };
        let files = disk.files().len();
        let wal = open(&disk, &large).unwrap();
        let _ = wal.append("s", &[4; 100]);
        disk.crash();
        came_back += u32::from(disk.files().len() > files);
        let wal = open(&disk, &large).unwrap();
        let id = wal.append("s", &[5; 8]).unwrap();
        disk.kill();
        let wal = open(&disk, &large).unwrap();
        assert_eq!(wal.get("s", id).unwrap().as_deref(), Some(&[5; 8][..]), "seed {seed}");
    }
    assert!(came_back > 5, "the leftover came back in {came_back} runs only");
}

/// The same, and the stream went on exactly to where B had begun: B fits, and would be read as if it
/// had never been dropped, were it not for its cut number.
#[test]
fn a_dropped_segment_that_fits_again_is_a_leftover() {
    let mut came_back = 0;
    let large = WalOptions { max_segment_size: 1 << 20, ..options(SyncMode::Async) };
    for seed in 0..1500 {
        let Some((disk, first_id)) = a_segment_was_dropped(seed, &large) else { continue };
        let files = disk.files().len();
        let wal = open(&disk, &large).unwrap();
        let stream = wal.stream("s").unwrap();
        while stream.next_id() < first_id {
            stream.append(&[4; 100]).unwrap();
        }
        stream.sync().unwrap();
        disk.crash();
        came_back += u32::from(disk.files().len() > files);
        let wal = open(&disk, &large).unwrap();
        assert_eq!(wal.stream("s").unwrap().next_id(), first_id, "seed {seed}");
    }
    assert!(came_back > 5, "the dropped segment came back in {came_back} runs only");
}

/// A process made the root directory and died; the next one failed to sync its entry. The third
/// found the directory, synced its parent, was told OK, and acknowledged entries in a directory
/// that was not on the disk.
#[test]
fn a_root_directory_whose_entry_a_sync_lost_is_made_again() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        disk.process().create_dir(Path::new("/log")).unwrap();
        disk.kill();
        disk.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
        open(&disk, &options(SyncMode::Strict)).unwrap_err();
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"acknowledged").unwrap();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().as_deref(), Some(&b"acknowledged"[..]), "seed {seed}");
    }
}

/// Recovery read a tail that a failed sync had left in the page cache, found it whole, and read it
/// again to write it again; by then the cache had dropped it. The older bytes were written and
/// synced, and a slot called them durable: a torn tail had become damage.
#[test]
fn a_tail_that_leaves_the_cache_during_recovery_is_not_called_durable() {
    for (seed, at) in (0..30).flat_map(|seed| (1..16).map(move |at| (seed, at))) {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"durable").unwrap();
        disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        wal.append("s", &[9; 2000]).unwrap_err();
        disk.kill();
        let (reads, cache) = (AtomicU64::new(0), disk.clone());
        let evicting = Hooked::new(&disk).after_read(move || {
            if reads.fetch_add(1, Ordering::SeqCst) + 1 == at {
                cache.evict();
            }
        });
        match open_on(Arc::new(evicting), &options(SyncMode::Strict)) {
            Err(error) => assert!(matches!(error, Error::Io(_)), "{error}"),
            Ok(wal) => {
                let stream = wal.stream("s").unwrap();
                for id in 0..stream.next_id() {
                    stream.get(id).unwrap_or_else(|error| panic!("seed {seed}, {at}: {error}"));
                }
            }
        }
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().as_deref(), Some(&b"durable"[..]));
        assert!(wal.iter("s", 0).unwrap().all(|entry| entry.is_ok()), "seed {seed}, {at}");
    }
}

/// On a file system that does not tell upper from lower case, the first append to "A" found the
/// directory of "a", and its first segment replaced the first segment of "a".
#[test]
fn names_that_differ_in_case_do_not_share_a_directory() {
    let fold = |path: &Path| PathBuf::from(path.to_str().unwrap().to_lowercase());
    let disk = SimDisk::new(1);
    let folding = || Arc::new(Hooked::new(&disk).with_paths(fold)) as Arc<dyn Storage>;
    let wal = open_on(folding(), &options(SyncMode::Strict)).unwrap();
    wal.append("a", b"of the lower").unwrap();
    let error = wal.append("A", b"of the upper").unwrap_err();
    assert!(error.to_string().contains("differ in case"), "{error}");
    wal.append("a", b"goes on").unwrap();
    wal.close().unwrap();
    let wal = open_on(folding(), &options(SyncMode::Strict)).unwrap();
    assert_eq!(wal.get("a", 0).unwrap().as_deref(), Some(&b"of the lower"[..]));
}

/// Every segment that was ever written kept its file open for readers, so that a stream ran out of
/// descriptors after a thousand rotations, and was poisoned.
#[test]
#[cfg(target_os = "linux")]
fn many_segments_take_few_descriptors() {
    let open_files = |dir: &Path| {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| target.starts_with(dir))
            .count()
    };
    for mode in [SyncMode::Strict, SyncMode::Async] {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions {
            max_segment_size: 0,
            max_open_read_segments: 4,
            sync_mode: mode,
            ..WalOptions::new(dir.path())
        };
        let wal = Wal::new(options).unwrap();
        for _ in 0..60 {
            wal.append("s", b"x").unwrap();
        }
        assert_eq!(wal.iter("s", 0).unwrap().count(), 60);
        wal.sync_all().unwrap();
        let open = open_files(dir.path());
        assert!((1..10).contains(&open), "{mode:?}: {open} files are open");
    }
}

/// A seal that was lost had to be written again on a full disk, and the log could not be opened.
#[test]
fn a_lost_seal_does_not_keep_a_log_on_a_full_disk_from_opening() {
    let mut without_space = 0;
    for seed in 0..600 {
        let disk =
            SimDisk::with_config(SimConfig { seed, write_back: 0.3, ..SimConfig::default() });
        let options = WalOptions { max_segment_size: 4032, ..options(SyncMode::Async) };
        let wal = open(&disk, &options).unwrap();
        wal.append("s", &[3; 4000]).unwrap();
        disk.cut_power_at(1 + seed % 25);
        for _ in 0..3 {
            let _ = wal.append("s", &[3; 4000]);
        }
        disk.crash();
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used));
        for _ in 0..2 {
            let wal = open(&disk, &options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(wal.iter("s", 0).unwrap().all(|entry| entry.is_ok()), "seed {seed}");
            without_space +=
                u32::from(matches!(wal.append("s", &[4; 4000]), Err(Error::StorageFull { .. })));
            disk.kill();
        }
        disk.configure(|config| config.capacity = None);
        let wal = open(&disk, &options).unwrap();
        let id = wal.append("s", b"there is room again").unwrap();
        assert_eq!(wal.iter("s", 0).unwrap().count() as u64, id + 1, "seed {seed}");
    }
    assert!(without_space > 100, "{without_space}");
}

/// The index of a segment that was reopened and recovered has a point or two more than its length
/// says. The seal outgrew the space that was reserved for it, and a full disk poisoned the stream.
#[test]
fn a_seal_fits_what_was_reserved_for_it() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_segment_size: 32 * 507, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    wal.append("s", &[1; 8]).unwrap();
    wal.close().unwrap();
    let wal = open(&disk, &options).unwrap();
    wal.append("s", &[1; 8]).unwrap();
    disk.kill();
    let wal = open(&disk, &options).unwrap();
    for _ in 0..505 {
        wal.append("s", &[1; 8]).unwrap();
    }
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    let error = wal.append("s", &[1; 8]).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    disk.configure(|config| config.capacity = None);
    assert_eq!(wal.append("s", &[1; 8]).unwrap(), 507);
}

/// On a full disk a directory can have no space for one name more: the rename of a new segment failed, and
/// the stream took no appends any more, also when there was space again.
#[test]
fn a_directory_without_space_for_a_name_is_a_full_disk() {
    for mode in [SyncMode::Strict, SyncMode::Async] {
        let disk = disk(1);
        let wal = open(&disk, &options(mode)).unwrap();
        let stream = wal.stream("s").unwrap();
        stream.append(b"entry").unwrap();
        for id in 1..5 {
            stream.rotate().unwrap();
            disk.fail_nth(CallKind::Rename, 1, std::io::ErrorKind::StorageFull);
            let refused = stream.append(b"entry");
            assert!(matches!(refused, Err(Error::StorageFull { .. })), "{mode:?}: {refused:?}");
            assert_eq!(stream.append(b"entry").unwrap(), id, "{mode:?}");
        }
        wal.close().unwrap();
        disk.crash();
        let wal = open(&disk, &options(mode)).unwrap();
        assert_eq!(wal.iter("s", 0).unwrap().count(), 5, "{mode:?}");
    }
}

/// Appends behind damage, over reopenings, kills and power losses: no id is given out twice.
#[test]
fn appends_behind_damage_keep_their_ids() {
    let modes = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async];
    let places = [0_u64, 4096, 8192 + 30, 8192 + 70, 8192 + 110, 8192 + 150];
    for (mode, place, close) in modes.into_iter().flat_map(|mode| {
        places.into_iter().flat_map(move |place| [false, true].map(|close| (mode, place, close)))
    }) {
        let disk = disk(1);
        let wal = open(&disk, &options(mode)).unwrap();
        for id in 0..5_u8 {
            wal.append("s", &[id; 8]).unwrap();
        }
        wal.sync_all().unwrap();
        wal.append("s", &[5; 8]).unwrap();
        if close {
            wal.close().unwrap();
        }
        disk.kill();
        disk.overwrite(Path::new("/log/s/00000000000000000000.wal"), place, b"\xEE").unwrap();
        let mut end = None;
        for round in 0..4_u8 {
            let wal = open(&disk, &options(mode)).unwrap();
            let stream = wal.stream("s").unwrap();
            let next_id = stream.next_id();
            assert!(end.is_none_or(|end| end == next_id), "{mode:?} {place} {close} {round}");
            assert_eq!(stream.append(&[100 + round; 8]).unwrap(), next_id);
            wal.sync_all().unwrap();
            end = Some(next_id + 1);
            for id in 0..6.min(next_id) {
                if let Ok(Some(found)) = stream.get(id) {
                    assert!(u64::from(found[0]) == id || found[0] >= 100, "{id}: {found:?}");
                }
            }
            if round % 2 == 0 {
                disk.kill();
            } else {
                disk.crash();
            }
        }
    }
}

/// A file that may not grow any more is a matter for an error. The operating system sends a signal
/// first, which ends a process that does not expect it; so we do not let it come to that.
#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_the_length_of_files_is_an_error_and_not_a_signal() {
    const CHILD_DIR: &str = "IRONWAL_LIMITED_DIR";
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        let wal = Wal::new(WalOptions::new(dir)).unwrap();
        let error = (0..1000).find_map(|_| wal.append("s", &[1; 4000]).err()).unwrap();
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        assert!(wal.iter("s", 0).unwrap().count() > 5);
        wal.close().unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let name = "stories::a_limit_on_the_length_of_files_is_an_error_and_not_a_signal";
    // The shell sets the limit, in blocks of 512 or 1024 bytes, for itself and its children.
    let status = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 64; exec \"$0\" --exact \"$1\" --quiet"])
        .arg(this)
        .arg(name)
        .env(CHILD_DIR, dir.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

/// The sync of the first root file failed. The next process found it, whole, in the page cache, and
/// built a log on it; after a power loss no frame of that log could be checked.
#[test]
fn a_root_file_that_a_failed_sync_left_in_the_cache_is_written_again() {
    for seed in 0..60 {
        let disk = disk(seed);
        disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        open(&disk, &options(SyncMode::Strict)).unwrap_err();
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"acknowledged").unwrap();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().as_deref(), Some(&b"acknowledged"[..]), "seed {seed}");
    }
}

/// A cut replaces the segment that it goes through, and an iterator that is in the middle of the old
/// one was told where to stop. A second, deeper cut told only those who read the replacement: the
/// iterator went on to yield what the second cut had dropped, long after it had returned.
#[test]
fn a_deeper_cut_reaches_readers_of_what_an_earlier_one_replaced() {
    let disk = disk(15);
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    let stream = wal.stream("s").unwrap();
    let append = |ids: std::ops::Range<u64>, mark: &str| {
        for id in ids {
            stream.append_at(id, format!("{id} {mark}").as_bytes()).unwrap();
        }
    };
    append(0..20, "first");
    let mut iterator = wal.iter("s", 0).unwrap();
    let mut range = stream.range(..);
    for id in 0..3 {
        let expected = format!("{id} first").into_bytes();
        assert_eq!(iterator.next().unwrap().unwrap(), expected);
        assert_eq!(range.next().unwrap().unwrap(), (id, expected.into()));
    }
    stream.truncate_after(Some(12)).unwrap();
    append(13..15, "second");
    stream.truncate_after(Some(5)).unwrap();
    append(6..20, "third");
    for id in 3..20 {
        let mark = if id < 6 { "first" } else { "third" };
        assert_eq!(iterator.next().unwrap().unwrap(), format!("{id} {mark}").into_bytes());
    }
    assert!(iterator.next().is_none());
    let rest: Vec<u64> = range.map(|entry| entry.unwrap().0).collect();
    assert_eq!(rest, [3, 4, 5], "a range ends where it was cut off");
}

/// Deleting a stream renamed its directory, and told its segments after the sync of that. Meanwhile a
/// reader that opened a segment did not find the file and reported damage.
#[test]
fn a_reader_takes_no_deletion_for_damage() {
    let disk = disk(16);
    let options = WalOptions { max_entries_per_segment: 2, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for id in 0..6 {
        assert_eq!(wal.append("s", b"entry").unwrap(), id);
    }
    wal.close().unwrap();

    let (tell, told) = std::sync::mpsc::channel();
    let slow = Hooked::new(&disk).before_sync_dir(move || {
        let _ = tell.send(());
        for _ in 0..1000 {
            std::thread::yield_now();
        }
    });
    let wal = open_on(Arc::new(slow), &options).unwrap();
    let mut iterator = wal.iter("s", 0).unwrap();
    // What opening synced.
    while told.try_recv().is_ok() {}
    std::thread::scope(|scope| {
        let (log, iterator) = (&wal, &mut iterator);
        let reader = scope.spawn(move || {
            told.recv().unwrap();
            (log.get("s", 3), iterator.next().transpose())
        });
        wal.delete_stream("s").unwrap();
        let (by_id, iterated) = reader.join().unwrap();
        assert_eq!(by_id.unwrap(), None);
        assert_eq!(iterated.unwrap(), None);
    });
}

/// The names of the files in a directory.
fn files_in(disk: &SimDisk, dir: &str) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
    disk.files().iter().filter(|path| path.parent() == Some(Path::new(dir))).map(name).collect()
}

/// A process cut off a few segments and died before it deleted them. They had lost their names by
/// then, and no opening looked for the names that they had got, so that their space was gone.
#[test]
fn segments_that_were_cut_off_are_deleted_by_the_next_opening() {
    let disk = disk(1);
    let options = WalOptions { max_segment_size: 0, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for id in 0..5_u8 {
        wal.append("s", &[id; 8]).unwrap();
    }
    disk.fail_nth(CallKind::RemoveFile, 1, std::io::ErrorKind::Other);
    wal.stream("s").unwrap().truncate_after(Some(1)).unwrap();
    assert!(files_in(&disk, "/log/s").iter().any(|name| name.starts_with(".deleted.")));
    disk.kill();
    let wal = open(&disk, &options).unwrap();
    assert_eq!(wal.stream("s").unwrap().next_id(), 2);
    assert!(files_in(&disk, "/log/s").iter().all(|name| name.ends_with(".wal")));
}

/// `rotate` left a full segment whose file stayed open until it was durable, on behalf of a stream
/// that nobody knew had one: with a limit of one open file, the next stream waited for ever.
#[test]
fn a_rotated_stream_gives_its_file_back() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        let disk = disk(1);
        let options = WalOptions { max_open_segments: 1, ..options(mode) };
        let wal = open(&disk, &options).unwrap();
        wal.append("a", b"of a").unwrap();
        wal.close().unwrap();
        let wal = open(&disk, &options).unwrap();
        wal.stream("a").unwrap().rotate().unwrap();
        assert_eq!(wal.append("b", b"of b").unwrap(), 0);
        assert_eq!(wal.append("a", b"of a").unwrap(), 1);
        assert!(wal.stats().open_segments <= 1);
    }
}

/// All entries of a stream were pruned on a full disk, so that their segment could not be sealed and
/// stayed the active one. When there was room again, a segment began behind it, and the next opening
/// took the old one for a leftover of pruning and deleted it: it had never been archived.
#[test]
fn what_is_pruned_on_a_full_disk_is_archived_later() {
    let disk = disk(1);
    let options = WalOptions {
        max_entries_per_segment: 4,
        archive_path: Some("/archive".into()),
        ..options(SyncMode::Strict)
    };
    let wal = open(&disk, &options).unwrap();
    let stream = wal.stream("s").unwrap();
    for id in 0..4_u8 {
        stream.append(&[id; 8]).unwrap();
    }
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    assert_eq!(stream.truncate_before(4).unwrap(), 0);
    assert_eq!((stream.first_id(), stream.next_id()), (4, 4));
    disk.configure(|config| config.capacity = None);
    stream.append(&[4; 8]).unwrap();
    wal.close().unwrap();
    let wal = open(&disk, &options).unwrap();
    assert_eq!(wal.stream("s").unwrap().first_id(), 4);
    assert_eq!(wal.restore_archived("s").unwrap(), 1);
    assert_eq!(wal.iter("s", 0).unwrap().count(), 5);
}

/// The sync of a deletion failed, and the directory got its name back, but not on the disk. The next
/// process found the stream, and nothing said that its name was in doubt: it acknowledged entries
/// that were deleted with it after a power loss.
#[test]
fn a_stream_whose_deletion_failed_is_gone_or_safe() {
    for seed in 0..200 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"before").unwrap();
        disk.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
        wal.delete_stream("s").unwrap_err();
        assert!(wal.delete_stream("s").is_err(), "nothing has made it durable since");
        disk.kill();
        disk.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
        open(&disk, &options(SyncMode::Strict)).unwrap_err();
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let id = wal.append("s", b"acknowledged").unwrap();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let found = wal.get("s", id).unwrap();
        assert_eq!(found.as_deref(), Some(&b"acknowledged"[..]), "seed {seed}");
    }
}

/// The sync of the root failed at the end of a restoration. The next process found the stream under
/// its name, which was not on the disk, and acknowledged entries in it; the opening after a power
/// loss took all of it for an unfinished restoration.
#[test]
fn a_stream_whose_restoration_failed_is_not_there_or_safe() {
    for seed in 0..200 {
        let disk = disk(seed);
        let options = WalOptions {
            max_segment_size: 0,
            archive_path: Some("/archive".into()),
            ..options(SyncMode::Strict)
        };
        let wal = open(&disk, &options).unwrap();
        for _ in 0..3 {
            wal.append("s", b"archived").unwrap();
        }
        assert_eq!(wal.truncate("s", u64::MAX).unwrap(), 2);
        wal.delete_stream("s").unwrap();
        disk.fail_nth(CallKind::SyncDir, 2, std::io::ErrorKind::Other);
        wal.restore_archived("s").unwrap_err();
        disk.kill();
        let wal = open(&disk, &options).unwrap();
        let id = wal.append("s", b"acknowledged").unwrap();
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        let found = wal.get("s", id).unwrap();
        assert_eq!(found.as_deref(), Some(&b"acknowledged"[..]), "seed {seed}");
    }
}

/// The sync of a cut's rename failed. The next process found the shorter segment, which was not on
/// the disk, and appended to it; after a power loss the longer one was back, with entries that had
/// been cut off in place of those that had been acknowledged.
#[test]
fn a_segment_that_a_failed_cut_left_is_given_its_name_again() {
    for seed in 0..100 {
        let disk = disk(seed);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        for id in 0..4_u8 {
            wal.append("s", &[id; 8]).unwrap();
        }
        disk.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
        wal.stream("s").unwrap().truncate_after(Some(1)).unwrap_err();
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let id = wal.append("s", b"acknowledged").unwrap();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let found = wal.get("s", id).unwrap();
        assert_eq!(found.as_deref(), Some(&b"acknowledged"[..]), "seed {seed}");
        assert_eq!(wal.stream("s").unwrap().next_id(), id + 1, "seed {seed}");
    }
}

/// A pruning was interrupted after it had archived a segment; then the entries in it were cut off.
/// When the stream was deleted and restored, they were back.
#[test]
fn what_was_cut_off_does_not_come_back_from_the_archive() {
    let disk = disk(1);
    let options = WalOptions {
        max_entries_per_segment: 2,
        archive_path: Some("/archive".into()),
        ..options(SyncMode::Strict)
    };
    let wal = open(&disk, &options).unwrap();
    for id in 0..7_u8 {
        wal.append("s", &[id; 8]).unwrap();
    }
    assert_eq!(wal.truncate("s", 2).unwrap(), 1);
    disk.fail_nth(CallKind::Rename, 2, std::io::ErrorKind::Other);
    wal.truncate("s", 6).unwrap_err();
    assert!(files_in(&disk, "/archive/s").iter().any(|name| name.ends_with("2.wal")));
    wal.stream("s").unwrap().truncate_after(Some(2)).unwrap();
    wal.delete_stream("s").unwrap();
    assert_eq!(wal.restore_archived("s").unwrap(), 1);
    assert_eq!(wal.stream("s").unwrap().next_id(), 2);
}

/// A full segment that was not durable yet was copied into the archive, and the power went before
/// it was pruned: the log had lost its entries and gave their ids to others, and the copy stayed, to
/// come back when the stream was deleted and restored.
#[test]
fn only_what_is_durable_is_archived() {
    let mut lost = 0;
    for seed in 0..1500 {
        let disk = disk(seed);
        let archive_path = Some("/archive".into());
        let options =
            WalOptions { archive_path, max_entries_per_segment: 2, ..options(SyncMode::Async) };
        let wal = open(&disk, &options).unwrap();
        for _ in 0..2 {
            wal.append("s", b"old").unwrap();
        }
        disk.cut_power_at(1 + seed % 150);
        let _ = wal.stream("s").unwrap().truncate_before(2);
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        let stream = wal.stream("s").unwrap();
        let kept = stream.next_id();
        lost += u32::from(kept < 2);
        let is_archived = files_in(&disk, "/archive/s").iter().any(|name| name.ends_with("0.wal"));
        assert!(!is_archived || kept == 2, "seed {seed}: {kept}");
        while stream.next_id() < 3 {
            stream.append(b"new").unwrap();
        }
        stream.truncate_before(2).unwrap();
        wal.restore_archived("s").unwrap();
        let entries: Vec<Vec<u8>> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
        let expected: Vec<Vec<u8>> =
            (0..3).map(|id| if id < kept { b"old" } else { b"new" }.to_vec()).collect();
        assert_eq!(entries, expected, "seed {seed}");
    }
    assert!(lost > 20, "{lost}");
}

/// The sync of what records a pruning failed. The next process found the record in the page cache,
/// deleted the segments, and lost the record with the next power loss: they were missing.
#[test]
fn a_pruning_that_is_finished_by_recovery_is_durable_first() {
    for (seed, nth) in (0..50).flat_map(|seed| (1..4).map(move |nth| (seed, nth))) {
        let disk = disk(seed);
        let options = WalOptions { max_segment_size: 0, ..options(SyncMode::Strict) };
        let wal = open(&disk, &options).unwrap();
        for _ in 0..4 {
            wal.append("s", b"entry").unwrap();
        }
        wal.close().unwrap();
        let wal = open(&disk, &options).unwrap();
        disk.fail_nth(CallKind::Sync, nth, std::io::ErrorKind::Other);
        let _ = wal.truncate("s", 3);
        disk.kill();
        disk.clear_faults();
        drop(open(&disk, &options).unwrap().stream("s").unwrap());
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        let first = wal.stream("s").unwrap().first_id();
        assert!(first == 0 || first == 3, "seed {seed}");
        let entries: Result<Vec<_>, _> = wal.iter("s", 0).unwrap().collect();
        assert_eq!(entries.unwrap().len() as u64, 4 - first, "seed {seed}, {nth}");
    }
}

fn archiving() -> WalOptions {
    WalOptions {
        archive_path: Some("/archive".into()),
        max_entries_per_segment: 2,
        ..options(SyncMode::Strict)
    }
}

fn append_each(wal: &Wal, ids: std::ops::Range<u8>) {
    for id in ids {
        assert_eq!(wal.append("s", &[id; 8]).unwrap(), u64::from(id));
    }
}

fn assert_holds(wal: &Wal, ids: std::ops::Range<u8>) {
    let found: Vec<_> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
    let expected: Vec<_> = ids.map(|id| vec![id; 8]).collect();
    assert_eq!(found, expected);
}

/// A stream of six entries, of which four were archived, and which was deleted then.
fn archived_and_deleted(disk: &SimDisk) -> Wal {
    let wal = open(disk, &archiving()).unwrap();
    append_each(&wal, 0..6);
    assert_eq!(wal.truncate("s", 4).unwrap(), 2);
    wal.delete_stream("s").unwrap();
    wal
}

/// Lets other threads go first, as long as they need to, but not for ever.
fn give_way_until(done: &AtomicBool) {
    for _ in 0..20_000 {
        if done.load(Ordering::SeqCst) {
            break;
        }
        std::thread::yield_now();
    }
}

/// A restoration waited for a pruning that was under way, having looked before that for files that
/// wait to be deleted. It took the segments back from the archive; then the files that the pruning
/// had put up for deletion were deleted: the restored ones, which had the same names.
#[test]
fn what_is_restored_is_not_deleted_by_an_earlier_pruning() {
    let disk = disk(17);
    let (pruning, restored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (waits, is_restored) = (Arc::clone(&pruning), Arc::clone(&restored));
    let (tell, told) = std::sync::mpsc::channel();
    let slow = Hooked::new(&disk)
        .before_sync_dir(move || {
            if waits.swap(false, Ordering::SeqCst) {
                tell.send(()).unwrap();
                // For the other thread to get as far as it can.
                give_way_until(&AtomicBool::new(false));
            }
        })
        .before_remove(move |path| {
            if path.starts_with("/log/s") && path.extension() == Some("wal".as_ref()) {
                give_way_until(&is_restored);
            }
        });
    let environment = Environment::default().with_storage(Arc::new(slow));
    let wal = Wal::open_with(archiving(), environment).unwrap();
    append_each(&wal, 0..6);
    pruning.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let restorer = scope.spawn(|| {
            told.into_iter().next().unwrap();
            let count = wal.restore_archived("s").unwrap();
            restored.store(true, Ordering::SeqCst);
            count
        });
        assert_eq!(wal.truncate("s", 4).unwrap(), 2);
        assert_eq!(restorer.join().unwrap(), 2);
    });
    wal.close().unwrap();
    assert_holds(&open(&disk, &archiving()).unwrap(), 0..6);
}

/// A log was closed while a thread was archiving. The lock was free and the next process could have
/// begun to write; the thread went on to write slots and to delete files.
#[test]
fn nothing_is_changed_after_the_log_was_closed() {
    let disk = disk(18);
    let (pruning, closed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (waits, is_closed) = (Arc::clone(&pruning), Arc::clone(&closed));
    let (tell, told) = std::sync::mpsc::channel();
    let slow = Hooked::new(&disk).before_sync_dir(move || {
        if waits.swap(false, Ordering::SeqCst) {
            tell.send(()).unwrap();
            give_way_until(&is_closed);
        }
    });
    let wal = open_on(Arc::new(slow), &archiving()).unwrap();
    append_each(&wal, 0..7);
    let content = || -> Vec<_> {
        disk.files().into_iter().map(|path| (disk.contents(&path).unwrap(), path)).collect()
    };
    pruning.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let closer = scope.spawn(|| {
            told.into_iter().next().unwrap();
            wal.close().unwrap();
            let left = content();
            closed.store(true, Ordering::SeqCst);
            left
        });
        let _ = wal.truncate("s", 4);
        assert!(closer.join().unwrap() == content(), "a file was changed");
    });
}

/// A handle was taken of a stream that had been deleted, and its first append found no space. Then
/// the stream was restored, and the handle's next append began a segment of its own in the same
/// directory: it replaced the first one that was restored.
#[test]
fn a_handle_from_before_a_restoration_does_not_write_into_what_was_restored() {
    let disk = disk(19);
    let wal = archived_and_deleted(&disk);
    let stream = wal.stream("s").unwrap();
    // For its directory, but not for a segment.
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used + 4096));
    let error = stream.append(&[9; 8]).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    disk.configure(|config| config.capacity = None);
    assert_eq!(wal.restore_archived("s").unwrap(), 2);
    let error = stream.append(&[9; 8]).unwrap_err();
    assert!(matches!(error, Error::StreamNotFound(_)), "{error}");
    assert_holds(&wal, 0..4);
    append_each(&wal, 4..5);
    wal.close().unwrap();
    assert_holds(&open(&disk, &archiving()).unwrap(), 0..5);
}

/// Restoring a stream removed whatever stood in the place of its directory: on a file system that
/// does not tell upper from lower case, a stream that lived; anywhere, files of a stranger.
#[test]
fn restoring_removes_nothing_of_anybody_else() {
    let fold = |path: &Path| PathBuf::from(path.to_str().unwrap().to_lowercase());
    let disk = SimDisk::new(20);
    let folding = || Arc::new(Hooked::new(&disk).with_paths(fold)) as Arc<dyn Storage>;
    let wal = open_on(folding(), &archiving()).unwrap();
    append_each(&wal, 0..6);
    assert_eq!(wal.truncate("s", 4).unwrap(), 2);
    let error = wal.restore_archived("S").unwrap_err();
    assert!(error.to_string().contains("differ in case"), "{error}");
    append_each(&wal, 6..7);
    wal.close().unwrap();
    assert_holds(&open_on(folding(), &archiving()).unwrap(), 4..7);

    let disk = SimDisk::new(20);
    let wal = archived_and_deleted(&disk);
    let (dir, letter) = (Path::new("/log/s"), Path::new("/log/s/letter"));
    disk.process().create_dir(dir).unwrap();
    disk.process().open(letter, OpenMode::Create).unwrap();
    wal.restore_archived("s").unwrap_err();
    assert!(disk.files().iter().any(|path| path == letter));
    disk.remove(letter).unwrap();
    assert_eq!(wal.restore_archived("s").unwrap(), 2);
    assert_holds(&wal, 0..4);
}

/// What readers in other processes were told last of a deleted stream was its end, which it did not
/// reach when it was restored: they waited for the rest for minutes, and gave up.
#[test]
fn a_restored_stream_can_be_read_by_other_processes() {
    let disk = disk(21);
    let wal = archived_and_deleted(&disk);
    wal.restore_archived("s").unwrap();
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(archiving(), environment).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(reader.get("s", 3)));
    let found = told.recv_timeout(std::time::Duration::from_secs(20));
    assert_eq!(found.expect("it waits").unwrap().as_deref(), Some(&[3; 8][..]));
}

/// The watermark could not grow on a full disk, and nothing was told any more. A reader of a stream
/// that had not changed until then took that for no news: it never saw what was appended later.
#[test]
fn readers_notice_that_nothing_is_told_any_more() {
    let disk = disk(22);
    let options = options(SyncMode::Async);
    let name = |nth: u32| format!("stream {nth}");
    let wal = open(&disk, &options).unwrap();
    for nth in 0..257 {
        wal.append(&name(nth), b"one").unwrap();
    }
    wal.close().unwrap();
    disk.remove(Path::new("/log/.ironwal.watermark")).unwrap();
    let wal = open(&disk, &options).unwrap();
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(options, environment).unwrap();
    let quiet = reader.stream(&name(256)).unwrap();
    for nth in 0..255 {
        wal.append(&name(nth), b"two").unwrap();
    }
    assert_eq!(quiet.next_id(), 1);
    disk.fail_nth(CallKind::Share, 1, std::io::ErrorKind::StorageFull);
    wal.append(&name(255), b"two").unwrap();
    wal.append(&name(256), b"two").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(reader.get(&name(256), 1)));
    // It waits until the writer ends, and then sees all.
    wal.close().unwrap();
    let found = told.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert_eq!(found.unwrap().as_deref(), Some(&b"two"[..]));
}

/// A deleted stream's directory could not be deleted, with a stranger's directory in it. The stream
/// was restored and deleted again: now two directories had to be deleted, of which one stood where
/// the other was to go, and the log could not be opened any more.
#[test]
fn what_cannot_be_deleted_does_not_keep_a_log_from_opening() {
    let disk = disk(23);
    let wal = open(&disk, &archiving()).unwrap();
    append_each(&wal, 0..6);
    assert_eq!(wal.truncate("s", 4).unwrap(), 2);
    let put_something_in = || disk.process().create_dir(Path::new("/log/s/strange")).unwrap();
    put_something_in();
    wal.delete_stream("s").unwrap();
    wal.close().unwrap();
    let wal = open(&disk, &archiving()).unwrap();
    assert_eq!(wal.restore_archived("s").unwrap(), 2);
    put_something_in();
    wal.delete_stream("s").unwrap();
    wal.close().unwrap();
    for _ in 0..4 {
        let wal = open(&disk, &archiving()).unwrap();
        append_each(&wal, 0..1);
        wal.delete_stream("s").unwrap();
    }
}

/// A segment that says it was cut as often as can be counted: the next cut panicked with the lead in
/// its hands, and closing the log waited for it for ever.
#[test]
fn a_stream_that_cannot_be_cut_any_more_says_so() {
    let disk = disk(24);
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    append_each(&wal, 0..3);
    wal.close().unwrap();
    let path = Path::new("/log/s/00000000000000000000.wal");
    for place in [0, 4096] {
        let mut slot = disk.contents(path).unwrap()[place..place + 128].to_vec();
        slot[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        let checksum = crc32c::crc32c(&slot[..124]).to_le_bytes();
        slot[124..].copy_from_slice(&checksum);
        disk.overwrite(path, place as u64, &slot).unwrap();
    }
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    let error = wal.stream("s").unwrap().truncate_after(Some(0)).unwrap_err();
    assert!(error.to_string().contains("cannot be cut"), "{error}");
    append_each(&wal, 3..4);
    assert_holds(&wal, 0..4);
    wal.close().unwrap();
}

/// Two streams were made at once. One sync of the root failed, and the stream whose it was was
/// poisoned; but it had lost the other stream's directory, too, and the other one's sync said OK.
#[test]
fn a_failed_sync_of_the_root_fails_everybody_who_changed_it() {
    let mut refused = 0;
    for seed in 0..30 {
        let disk = disk(seed);
        let armed = Arc::new(AtomicBool::new(false));
        let log: Arc<std::sync::OnceLock<Wal>> = Arc::default();
        let (is_armed, faults, other) = (Arc::clone(&armed), disk.clone(), Arc::downgrade(&log));
        // Another thread's, before the directory of this one is safe.
        let hooked = Hooked::new(&disk).after_create_dir(move || {
            if is_armed.swap(false, Ordering::SeqCst) {
                faults.fail_nth(CallKind::SyncDir, 1, std::io::ErrorKind::Other);
                let log = other.upgrade().unwrap();
                log.get().unwrap().append("other", b"refused").unwrap_err();
            }
        });
        log.set(open_on(Arc::new(hooked), &options(SyncMode::Strict)).unwrap()).unwrap();
        let wal = log.get().unwrap();
        wal.append("first", b"numbers are drawn").unwrap();
        armed.store(true, Ordering::SeqCst);
        let is_acknowledged = wal.append("s", b"acknowledged").is_ok();
        refused += u32::from(!is_acknowledged);
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let found = wal.get("s", 0).unwrap();
        assert!(!is_acknowledged || found.is_some(), "seed {seed}");
    }
    assert_eq!(refused, 30);
}

/// A slot that says, under a checksum that matches, that its segment has more entries than can be counted
/// in bytes: reading one of them panicked, in a multiplication that overflowed, or in a division by the zero
/// that came of it. Fuzzing found it (`directory`).
#[test]
fn a_segment_that_claims_too_many_entries_is_read() {
    for next_id in [1 << 61, 1 << 62, u64::MAX - 1] {
        let disk = disk(25);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        append_each(&wal, 0..3);
        wal.close().unwrap();
        forge_slots(&disk, 72, next_id);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let stream = wal.stream("s").unwrap();
        assert_eq!(stream.next_id(), next_id);
        assert!((0..3).all(|id| stream.get(id).unwrap().is_some()));
        let error = stream.get(3).unwrap_err();
        assert!(matches!(&error, Error::Damaged { ids, .. } if *ids == (3..next_id)), "{error}");
    }
}

/// Changes a field of both slots of the first segment, whose checksums match again.
fn forge_slots(disk: &SimDisk, field: usize, value: u64) {
    let path = Path::new("/log/s/00000000000000000000.wal");
    for place in [0, 4096] {
        let mut slot = disk.contents(path).unwrap()[place..place + 128].to_vec();
        slot[field..field + 8].copy_from_slice(&value.to_le_bytes());
        let checksum = crc32c::crc32c(&slot[..124]).to_le_bytes();
        slot[124..].copy_from_slice(&checksum);
        disk.overwrite(path, place as u64, &slot).unwrap();
    }
}

/// A slot that says, under a checksum that matches, that its frames go on for terabytes: as they could all
/// have the same length, a reader took memory for one of that length, and the process ended. Fuzzing found it
/// (`directory`).
#[test]
fn a_segment_that_claims_to_go_on_for_ever_is_read() {
    let frames = 3 * 8;
    for len in [1 << 20, 1 << 40, u64::MAX / frames - 8192] {
        let disk = disk(26);
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        append_each(&wal, 0..3);
        wal.close().unwrap();
        forge_slots(&disk, 64, 8192 + frames * len);
        let environment = Environment::default().with_storage(Arc::new(disk.process()));
        let wal = Wal::open_read_only_with(WalOptions::new("/log"), environment).unwrap();
        let stream = wal.stream("s").unwrap();
        assert!((0..3).all(|id| stream.get(id).unwrap().is_some()), "{len}");
    }
}

/// Does something at the call with this number, of which the first is 1.
fn at_call(nth: u64, act: impl Fn() + Send + Sync + 'static) -> impl Fn() + Send + Sync + 'static {
    let calls = AtomicU64::new(0);
    move || {
        if calls.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            act();
        }
    }
}

/// A segment became shorter while it was recovered, as when the cache drops what a failed sync had lost: the
/// error did not say which. The simulation found it (`contract`, `Async`, seed 42736).
#[test]
fn a_segment_that_shrinks_while_it_is_recovered_is_named() {
    let path = "/log/s/00000000000000000000.wal";
    let killed = disk(27);
    let wal = open(&killed, &options(SyncMode::Async)).unwrap();
    append_each(&wal, 0..20);
    killed.kill();
    let mut named = 0;
    for nth in 1..20 {
        let disk = killed.snapshot();
        let other = disk.process();
        let process = Hooked::new(&disk).after_read(at_call(nth, move || {
            let file = other.open(Path::new(path), OpenMode::ReadWrite).unwrap();
            file.set_len(8300).unwrap();
        }));
        if let Err(error) = open_on(Arc::new(process), &options(SyncMode::Async)) {
            let error = error.to_string();
            assert!(error.contains(path), "{nth}: {error}");
            named += usize::from(error.contains("ends at 8300 now"));
        }
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Async)).unwrap();
        assert!(wal.stream("s").unwrap().next_id() > 0);
    }
    assert!(named > 0);
}

/// What was restored and then cut off would be in the archive again after a power loss, and come back with the
/// stream once it is deleted and restored. No sync but that of the archive's directory keeps it from that.
#[test]
fn what_was_restored_does_not_come_back_into_the_archive() {
    for seed in 0..20 {
        let disk = disk(100 + seed);
        let wal = open(&disk, &archiving()).unwrap();
        append_each(&wal, 0..6);
        wal.truncate("s", 4).unwrap();
        assert_eq!(wal.restore_archived("s").unwrap(), 2);
        wal.stream("s").unwrap().truncate_after(Some(0)).unwrap();
        disk.crash();
        drop(open(&disk, &archiving()).unwrap());
        let archived: Vec<_> =
            disk.files().into_iter().filter(|path| path.starts_with("/archive")).collect();
        assert!(archived.is_empty(), "{seed}: {archived:?}");
    }
}

/// What the cache held of the journal when it was read first may be gone when it is written again: then nothing
/// of it is believed, and the next opening reads what is there.
#[test]
fn a_journal_that_changes_while_it_is_recovered_is_told() {
    let journaled = |storage: Arc<dyn Storage>| {
        let environment = Environment::default().with_storage(storage).with_journal(Journal::On);
        Wal::open_with(options(SyncMode::Strict), environment)
    };
    let killed = disk(28);
    let wal = journaled(Arc::new(killed.process())).unwrap();
    let mut batch = wal.batch();
    batch.append("a", [1; 60]);
    batch.append("b", [1; 10]);
    batch.commit().unwrap();
    killed.kill();
    let mut told = 0;
    for nth in 1..40 {
        let disk = killed.snapshot();
        let other = disk.clone();
        let process = Hooked::new(&disk).after_read(at_call(nth, move || {
            other.overwrite(Path::new("/log/.journal.0"), 8192, &[0xEE; 64]).unwrap();
        }));
        if let Err(error) = journaled(Arc::new(process)) {
            let error = error.to_string();
            assert!(error.contains("/log"), "{nth}: {error}");
            told += usize::from(error.contains("changed while it was recovered"));
        }
    }
    assert!(told > 0);
}

/// A stream whose append was committed by a round of its own still stood in the list of the log's round, which
/// each stream holds: a log that was closed and dropped stayed in memory, with its maps and open files.
#[test]
fn nothing_is_left_of_a_log_that_was_dropped() {
    let journals = [Journal::Auto, Journal::On, Journal::Off];
    let settings = journals.into_iter().flat_map(|journal| {
        MODES.into_iter().flat_map(move |mode| [false, true].map(move |it| (journal, mode, it)))
    });
    for (journal, mode, has_threads) in settings {
        for is_closed in [false, true] {
            let processes = Processes::default();
            let how = if has_threads { Maintenance::Thread } else { Maintenance::Inline };
            let environment = Environment::default()
                .with_storage(processes.begin(SimDisk::new(1)))
                .with_maintenance(how)
                .with_journal(journal);
            let wal = Wal::open_with(options(mode), environment).unwrap();
            for name in ["a", "b"] {
                wal.append(name, &[1; 20_000]).unwrap();
                wal.append(name, b"small").unwrap();
            }
            let mut batch = wal.batch();
            batch.append("a", b"part");
            batch.append("b", b"part");
            batch.commit().unwrap();
            let stream = wal.stream("a").unwrap();
            stream.rotate().unwrap();
            stream.append(b"in the next segment").unwrap();
            let mut entries = stream.range(..);
            assert_eq!(entries.next().unwrap().unwrap().1.len(), 20_000);
            drop(stream.submit(b"nobody waits").unwrap());
            if is_closed {
                wal.close().unwrap();
            }
            drop((wal, stream, entries));
            processes.check_gone();
        }
    }
}
