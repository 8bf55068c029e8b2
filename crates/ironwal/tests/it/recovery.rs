//! Directed tests of opening: what it reads, what it keeps, what it refuses.

use std::path::Path;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};

use crate::model::open;

const FIRST: &str = "/log/s/00000000000000000000.wal";

fn disk() -> SimDisk {
    SimDisk::with_config(SimConfig { trace: true, ..SimConfig::default() })
}

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, ..WalOptions::new("/log") }
}

/// The scans of frames since the trace had `from` lines. Slots have 128 bytes, and seals with their
/// indexes here less than 256.
fn frame_reads(disk: &SimDisk, from: usize) -> Vec<String> {
    let asked = |line: &str| line.strip_suffix(" bytes")?.rsplit(' ').next()?.parse::<u64>().ok();
    let scans = |line: &&String| {
        line.contains(": read /log/s/") && asked(line).is_some_and(|bytes| bytes >= 256)
    };
    disk.trace()[from..].iter().filter(scans).cloned().collect()
}

#[test]
fn opening_after_a_clean_close_reads_no_frames() {
    for max_segment_size in [1 << 26, 2000] {
        for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
            let disk = disk();
            let options = WalOptions { max_segment_size, ..options(mode) };
            let wal = open(&disk, &options).unwrap();
            for _ in 0..100 {
                wal.append("s", &[7; 100]).unwrap();
            }
            wal.close().unwrap();
            let from = disk.trace().len();
            let wal = open(&disk, &options).unwrap();
            assert_eq!(wal.stream("s").unwrap().next_id(), 100);
            assert_eq!(frame_reads(&disk, from), Vec::<String>::new(), "{mode:?}");
            // And the check can fail: a kill leaves frames that must be read.
            wal.append("s", b"one more").unwrap();
            disk.kill();
            let from = disk.trace().len();
            open(&disk, &options).unwrap();
            assert!(!frame_reads(&disk, from).is_empty());
        }
    }
}

/// What is durable is recorded as a segment grows, so the tail is a part of it.
#[test]
fn a_kill_of_a_long_segment_costs_its_end_only() {
    const MIB: u64 = 1024 * 1024;
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..3 {
            let disk =
                SimDisk::with_config(SimConfig { seed, trace: true, ..SimConfig::default() });
            let wal = open(&disk, &options(mode)).unwrap();
            for nth in 0..100_u8 {
                wal.append_batch("s", &[&[nth; 100_000][..]]).unwrap();
                wal.sync_all().unwrap();
            }
            let end = 100 * 100_000;
            disk.crash();
            let from = disk.trace().len();
            let wal = open(&disk, &options(mode)).unwrap();
            // From the read that begins furthest to the front on.
            let first = frame_reads(&disk, from).iter().filter_map(|line| offset_of(line)).min();
            let first = first.expect("some frames are read");
            assert!(first > end - 2 * MIB, "{mode:?}, seed {seed}: from {first}");
            let expected = |nth: u8| wal.get("s", nth.into()).unwrap().unwrap()[0] == nth;
            assert!((0..100).all(expected), "{mode:?}, seed {seed}");
        }
    }
}

/// Where a traced read begins.
fn offset_of(line: &str) -> Option<u64> {
    line.split_once(" at ")?.1.split_once(':')?.0.parse().ok()
}

#[test]
fn a_kill_costs_the_unproven_tail_only() {
    let disk = disk();
    let options = WalOptions { max_segment_size: 4000, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for _ in 0..500 {
        wal.append("s", &[7; 100]).unwrap();
    }
    disk.kill();
    let from = disk.trace().len();
    open(&disk, &options).unwrap();
    let files: std::collections::BTreeSet<String> = frame_reads(&disk, from)
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap().to_string())
        .collect();
    assert_eq!(files.len(), 1, "only the active segment is read: {files:?}");
}

/// A kept tail is written again before it is synced: after a failed sync the page cache shows what
/// is not on the disk, and the next sync says OK. (0.6 and many others retry the sync.)
#[test]
fn what_a_failed_sync_lost_is_not_taken_for_durable() {
    for seed in 0..50 {
        let disk = SimDisk::with_config(SimConfig { seed, eviction: 0.0, ..SimConfig::default() });
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"durable").unwrap();
        disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        wal.append("s", b"in the page cache only").unwrap_err();
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let recovered = wal.stream("s").unwrap().next_id();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert!(wal.stream("s").unwrap().next_id() >= recovered, "seed {seed}");
    }
}

#[test]
fn a_torn_tail_is_cut_under_both_policies_and_its_ids_are_given_again() {
    for policy in [CorruptionPolicy::Truncate, CorruptionPolicy::Error] {
        let disk = disk();
        let options = WalOptions { on_corruption: policy, ..options(SyncMode::Strict) };
        let wal = open(&disk, &options).unwrap();
        wal.append("s", b"whole").unwrap();
        wal.append("s", b"torn").unwrap();
        disk.kill();
        // Not zeros: what 0.6 takes for rot and never repairs.
        disk.overwrite(Path::new(FIRST), 8192 + 32 + 25, b"\xFF").unwrap();
        let wal = open(&disk, &options).unwrap();
        assert_eq!(wal.append("s", b"again").unwrap(), 1);
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().unwrap(), b"whole");
        assert_eq!(wal.get("s", 1).unwrap().unwrap(), b"again");
        assert_eq!(wal.get("s", 2).unwrap(), None);
    }
}

/// One flipped bit in the header of a frame makes 0.6 cut off every later record and give their ids
/// out again.
#[test]
fn damage_in_the_middle_costs_only_what_is_damaged() {
    for flipped in 0..24 {
        let disk = disk();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        for id in 0..6_u8 {
            wal.append("s", &[id; 8]).unwrap();
        }
        disk.kill();
        let place = 8192 + 2 * 32 + flipped;
        let byte = disk.contents(Path::new(FIRST)).unwrap()[place as usize];
        disk.overwrite(Path::new(FIRST), place, &[byte ^ 4]).unwrap();

        let refusing =
            WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Strict) };
        let error = open(&disk, &refusing).unwrap_err();
        assert!(matches!(&error, Error::Corruption(what) if what.contains("2..3")), "{error}");

        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let stream = wal.stream("s").unwrap();
        for id in [0, 1, 3, 4, 5_u8] {
            assert_eq!(stream.get(u64::from(id)).unwrap().unwrap(), &[id; 8][..]);
        }
        match stream.get(2).unwrap_err() {
            Error::Damaged { stream, ids, file, offset, .. } => {
                assert_eq!((stream.as_str(), ids, offset), ("s", 2..3, 8192 + 64));
                assert_eq!(file, Path::new(FIRST));
            }
            error => panic!("{error}"),
        }
        let evidence = disk.contents(Path::new(FIRST)).unwrap();
        assert_eq!(stream.append(b"goes on").unwrap(), 6);
        assert!(evidence == disk.contents(Path::new(FIRST)).unwrap(), "damage is evidence");
        let items: Vec<_> = wal.iter("s", 0).unwrap().collect();
        assert_eq!(items.len(), 7);
        assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
        wal.close().unwrap();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 6).unwrap().unwrap(), b"goes on");
        assert!(wal.get("s", 2).is_err(), "the damage is still reported");
    }
}

#[test]
fn the_methods_of_0_6_report_damage_as_they_did() {
    let disk = disk();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    wal.append("s", b"money").unwrap();
    wal.append("s", b"more").unwrap();
    wal.close().unwrap();
    disk.overwrite(Path::new(FIRST), 8192 + 24, b"M").unwrap();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    assert!(matches!(wal.get("s", 0), Err(Error::CrcMismatch { offset: 8192, .. })));
    let mut iterator = wal.iter("s", 0).unwrap();
    assert!(matches!(iterator.next(), Some(Err(Error::CrcMismatch { .. }))));
    assert_eq!(iterator.next().unwrap().unwrap(), b"more", "iteration goes on behind damage");
    assert!(iterator.next().is_none());
}

/// A segment has lost its seal and the slot that went as far, and the next one all that says where it
/// ended. That was taken for a torn tail, and the segments behind were deleted, although the newest one
/// says that they had been synced. `inspect::several` found it with seed 20317.
#[test]
fn segments_that_are_proven_stay_behind_two_that_are_damaged() {
    let disk = crate::golden::directory("closed");
    let path = crate::journal::segment("ledger", 14);
    let len = disk.contents(&path).unwrap().len();
    // But for the older slot.
    disk.overwrite(&path, 4096, &vec![0; len - 4096]).unwrap();
    let next = crate::journal::segment("ledger", 24);
    let content = disk.contents(&next).unwrap();
    disk.replace(&next, &content[..5807]).unwrap();
    let strict = WalOptions { on_corruption: CorruptionPolicy::Error, ..WalOptions::new("/log") };
    assert!(matches!(open(&disk, &strict), Err(Error::Corruption(_))));
    disk.kill();
    let wal = open(&disk, &WalOptions::new("/log")).unwrap();
    let ledger = wal.stream("ledger").unwrap();
    assert_eq!(ledger.next_id(), 50);
    for id in 0..50 {
        let found = ledger.get(id);
        match id {
            14..30 => assert!(matches!(found, Err(Error::Damaged { .. })), "{id}: {found:?}"),
            _ => assert!(found.unwrap().is_some(), "{id}"),
        }
    }
}

#[test]
fn a_missing_segment_is_reported_and_not_skipped() {
    let disk = disk();
    let options = WalOptions { max_entries_per_segment: 2, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for id in 0..8_u8 {
        wal.append("s", &[id]).unwrap();
    }
    wal.close().unwrap();
    for (first_id, lost) in [(0, 0..2), (2, 2..4), (4, 4..6)] {
        let disk = disk.snapshot();
        disk.remove(Path::new(&format!("/log/s/{first_id:020}.wal"))).unwrap();
        let wal = open(&disk, &options).unwrap();
        let stream = wal.stream("s").unwrap();
        for id in 0..8 {
            match stream.get(id) {
                Ok(found) => assert_eq!(found.unwrap(), &[id as u8][..]),
                Err(Error::Damaged { ids, .. }) => assert_eq!(ids, lost),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(stream.get(id).is_err(), lost.contains(&id), "{id}");
        }
        let items: Vec<_> = wal.iter("s", 0).unwrap().collect();
        assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
        assert_eq!(items.len(), 7);
        assert_eq!(stream.append(b"x").unwrap(), 8);
    }
}

#[test]
fn a_newer_version_is_not_corruption() {
    let disk = disk();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    wal.append("s", b"x").unwrap();
    wal.close().unwrap();
    for path in ["/log/.ironwal", FIRST] {
        let disk = disk.snapshot();
        for block in [0, 4096] {
            disk.overwrite(Path::new(path), block + 8, &[2]).unwrap();
        }
        let error = open(&disk, &options(SyncMode::Strict)).unwrap_err();
        match &error {
            Error::UnsupportedVersion { path: named, found: 2, supported: 1 } => {
                assert_eq!(named, Path::new(path));
            }
            _ => panic!("{error}"),
        }
        assert!(error.to_string().contains("newer"), "{error}");
    }
}

#[test]
fn segments_without_a_root_file_are_not_taken_for_a_new_log() {
    let disk = disk();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    wal.append("s", b"x").unwrap();
    wal.close().unwrap();
    disk.remove(Path::new("/log/.ironwal")).unwrap();
    let error = open(&disk, &options(SyncMode::Strict)).unwrap_err();
    assert!(matches!(error, Error::Corruption(_)), "{error}");
    assert!(!disk.files().contains(&"/log/.ironwal".into()));
}

/// A segment of another log, or of another stream of this one, does not validate.
#[test]
fn frames_from_elsewhere_are_not_read() {
    let disk = disk();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    wal.append("s", b"mine").unwrap();
    wal.append("t", b"other").unwrap();
    wal.close().unwrap();
    let other = disk.contents(Path::new("/log/t/00000000000000000000.wal")).unwrap();
    let mut swapped = disk.contents(Path::new(FIRST)).unwrap();
    swapped.truncate(8192);
    swapped.extend_from_slice(&other[8192..]);
    disk.replace(Path::new(FIRST), &swapped).unwrap();
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    assert!(matches!(wal.stream("s").unwrap().get(0), Err(Error::Damaged { .. })));
}

/// Two faults at once: the slot that proves a full segment is lost, and so are its seal and its last
/// frame. What the next segment says of it is then all that tells damage from a torn tail, for which
/// that segment would be dropped.
#[test]
fn the_next_segment_proves_the_one_before_it() {
    let disk = disk();
    let options = WalOptions { max_entries_per_segment: 3, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for id in 0..4_u8 {
        wal.append("s", &[id; 8]).unwrap();
    }
    disk.kill();
    let path = Path::new(FIRST);
    disk.overwrite(path, 4096 + 16, b"rot").unwrap();
    let len = disk.contents(path).unwrap().len();
    disk.overwrite(path, len as u64 - 100, b"rot").unwrap();
    disk.overwrite(path, 8192 + 2 * 32 + 26, b"rot").unwrap();
    let wal = open(&disk, &options).unwrap();
    let stream = wal.stream("s").unwrap();
    for id in [0, 1, 3_u8] {
        assert_eq!(stream.get(u64::from(id)).unwrap().unwrap(), &[id; 8][..]);
    }
    assert!(matches!(stream.get(2), Err(Error::Damaged { ids, .. }) if ids == (2..3)));
    assert_eq!(stream.append(b"goes on").unwrap(), 4);
}

/// Whether it proved the one before it nobody knows, if its header is lost: what looks like a torn tail is
/// damage then, and takes nothing along.
#[test]
fn a_header_that_is_lost_may_have_proven_the_segment_before_it() {
    let disk = disk();
    let options = WalOptions { max_entries_per_segment: 5, ..options(SyncMode::Strict) };
    let wal = open(&disk, &options).unwrap();
    for id in 0..8_u8 {
        wal.append("s", &[id; 50]).unwrap();
    }
    disk.kill();
    drop(wal);
    // The frames from entry 2 on, and what the segment itself says of them.
    let frames = disk.contents(Path::new(FIRST)).unwrap();
    let frame = |id: u8| frames.windows(50).position(|bytes| bytes == [id; 50]).unwrap() - 24;
    disk.overwrite(Path::new(FIRST), 4096 + 16, b"rot").unwrap();
    disk.overwrite(Path::new(FIRST), frame(2) as u64, &vec![0xEE; frames.len() - frame(2)])
        .unwrap();
    let second = Path::new("/log/s/00000000000000000005.wal");
    let before = disk.snapshot();
    assert!(open(&before, &options).is_ok());
    disk.overwrite(second, 0, &[0xEE; 8192]).unwrap();

    let strict = WalOptions { on_corruption: CorruptionPolicy::Error, ..options.clone() };
    assert!(matches!(open(&disk, &strict), Err(Error::Corruption(_))));
    for _ in 0..2 {
        let wal = open(&disk, &options).unwrap();
        assert_eq!(wal.get("s", 1).unwrap().unwrap(), [1; 50]);
        for id in 2..8 {
            assert!(wal.get("s", id).is_err(), "{id}");
        }
        assert!(wal.append("s", b"would get an id that is taken").is_err());
        disk.kill();
    }
}

/// Without space nothing is staged, and appends work again once there is room.
#[test]
fn a_full_disk_is_an_error_that_passes() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for max_segment_size in [1 << 26, 3000] {
            let disk = SimDisk::new(3);
            disk.configure(|config| config.capacity = Some(200_000));
            let options = WalOptions { max_segment_size, ..options(mode) };
            let wal = open(&disk, &options).unwrap();
            let mut count = 0;
            let error = loop {
                match wal.append("s", &[9; 500]) {
                    Ok(id) => assert_eq!(id, count),
                    Err(error) => break error,
                }
                count += 1;
            };
            assert!(matches!(error, Error::StorageFull { .. }), "{error}");
            assert!(error.to_string().contains("free some space"), "{error}");
            for _ in 0..3 {
                let again = wal.append("s", &[9; 500]);
                assert!(matches!(again, Err(Error::StorageFull { .. })));
                assert!(matches!(wal.append("new", b"x"), Err(Error::StorageFull { .. })));
            }
            assert_eq!(wal.get("s", count - 1).unwrap().unwrap(), [9; 500]);
            assert_eq!(wal.iter("s", 0).unwrap().count() as u64, count);
            wal.close().unwrap();

            let wal = open(&disk, &options).unwrap();
            assert_eq!(wal.iter("s", 0).unwrap().count() as u64, count);
            assert!(matches!(wal.append("new", b"x"), Err(Error::StorageFull { .. })));
            disk.configure(|config| config.capacity = Some(400_000));
            assert_eq!(wal.append("s", &[9; 500]).unwrap(), count);
            assert_eq!(wal.append("new", b"x").unwrap(), 0);
            disk.kill();
            let wal = open(&disk, &options).unwrap();
            assert_eq!(wal.stream("s").unwrap().next_id(), count + 1);
        }
    }
}

/// The content of every file of the log but the lock and what is unfinished.
fn image(disk: &SimDisk) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let counts = |path: &std::path::PathBuf| {
        let unsynced = ["lock", "tmp", "watermark"];
        path.extension().is_none_or(|extension| unsynced.iter().all(|it| extension != *it))
    };
    let files = disk.files().into_iter().filter(counts);
    files.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

/// A log with full segments in several streams, on which a process has done this and that.
fn used(disk: &SimDisk, options: &WalOptions) -> Wal {
    let wal = open(disk, options).unwrap();
    for id in 0..40_u8 {
        wal.append("s", &[id; 100]).unwrap();
        wal.append("t", &[id; 10]).unwrap();
    }
    wal.append_batch("s", &[b"a", b"b"]).unwrap();
    wal
}

#[test]
fn after_a_close_power_loss_changes_nothing() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..30 {
            let disk =
                SimDisk::with_config(SimConfig { seed, write_back: 0.0, ..SimConfig::default() });
            let options = WalOptions { max_segment_size: 1500, ..options(mode) };
            let wal = used(&disk, &options);
            wal.close().unwrap();
            for _ in 0..3 {
                let before = image(&disk);
                disk.crash();
                assert!(before == image(&disk), "{mode:?}, seed {seed}: a file has changed");
                // Opening alone, and going on after it, are durable too.
                let wal = open(&disk, &options).unwrap();
                let id = wal.append("s", b"on").unwrap();
                assert_eq!(wal.stream("s").unwrap().get(id).unwrap().unwrap(), &b"on"[..]);
                wal.close().unwrap();
            }
        }
    }
}

/// Whoever opens a log may rely on what was recovered: it is durable before the call returns, also
/// after a sync failed and left bytes, and lengths, that only the page cache has.
#[test]
fn after_a_recovery_power_loss_changes_nothing() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..400 {
            let disk =
                SimDisk::with_config(SimConfig { seed, eviction: 0.0, ..SimConfig::default() });
            let options = WalOptions { max_segment_size: 1500, ..options(mode) };
            let wal = open(&disk, &options).unwrap();
            if seed % 2 == 0 {
                disk.fail_nth(CallKind::Sync, 1 + seed % 50, std::io::ErrorKind::Other);
            }
            for id in 0..40_u8 {
                let _ = wal.append("s", &[id; 100]);
                let _ = wal.append_batch("t", &[&[id; 10]]);
            }
            disk.clear_faults();
            if seed % 3 == 0 {
                disk.crash();
            }
            disk.kill();
            open(&disk, &options).unwrap();
            disk.kill();
            let before = image(&disk);
            disk.crash();
            assert!(before == image(&disk), "{mode:?}, seed {seed}: a file has changed");
        }
    }
}

/// In the modes that do not sync each append, full segments are synced in the background and say
/// so: an opening has only the unproven tail to check.
#[test]
fn full_segments_are_proven_in_the_background() {
    for mode in [SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..30 {
            let disk = SimDisk::with_config(SimConfig {
                seed,
                trace: true,
                write_back: 0.0,
                ..SimConfig::default()
            });
            let options = WalOptions { max_segment_size: 1500, ..options(mode) };
            let wal = open(&disk, &options).unwrap();
            for id in 0..60_u8 {
                wal.append("s", &[id; 100]).unwrap();
            }
            let durable = wal.stream("s").unwrap().durable_end();
            assert!((45..60).contains(&durable), "{durable}");
            disk.crash();
            let from = disk.trace().len();
            let wal = open(&disk, &options).unwrap();
            assert!(wal.stream("s").unwrap().next_id() >= durable);
            let files: std::collections::BTreeSet<String> = frame_reads(&disk, from)
                .iter()
                .map(|line| line.split(' ').nth(2).unwrap().to_string())
                .collect();
            assert!(files.len() <= 1, "{mode:?}, seed {seed}: {files:?}");
        }
    }
}

/// A slot is overwritten only when the other one is durable. Here the sync of the second slot fails
/// and leaves it torn on the disk and whole in the page cache, where the next process finds it and
/// is cut off while it overwrites the first one.
#[test]
fn the_slots_are_never_both_at_risk() {
    for seed in 0..8000 {
        let disk = SimDisk::with_config(SimConfig {
            seed,
            write_back: 0.0,
            eviction: 0.0,
            ..SimConfig::default()
        });
        // In every other run the next append finds the segment full, so that a slot is written
        // before anything else is.
        let max_entries_per_segment = if seed % 2 == 0 { 2 } else { u64::MAX };
        let options = WalOptions { max_entries_per_segment, ..options(SyncMode::Strict) };
        let wal = open(&disk, &options).unwrap();
        wal.append("s", b"x").unwrap();
        wal.append("s", b"y").unwrap();
        disk.fail_nth(CallKind::Sync, 2, std::io::ErrorKind::Other);
        wal.close().unwrap_err();
        disk.kill();
        let wal = open(&disk, &options).unwrap();
        disk.cut_power_at(1 + seed % 23);
        let acknowledged = wal.append("s", b"z").is_ok();
        let _ = wal.close();
        disk.crash();
        let wal = open(&disk, &options).unwrap();
        let stream = wal.stream("s").unwrap();
        assert!(stream.next_id() >= 2 + u64::from(acknowledged), "seed {seed}");
        for id in 0..stream.next_id() {
            stream.get(id).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

/// Segments behind a place that was torn in an unsynced mode are dropped, and stay dropped when a
/// crash brings their files back.
#[test]
fn what_was_cut_off_never_comes_back() {
    for seed in 0..300 {
        let disk =
            SimDisk::with_config(SimConfig { seed, write_back: 0.3, ..SimConfig::default() });
        let options = WalOptions { max_entries_per_segment: 2, ..options(SyncMode::Async) };
        let wal = open(&disk, &options).unwrap();
        for id in 0..2 {
            wal.append("s", format!("kept {id}").as_bytes()).unwrap();
        }
        // The sync of the first full segment fails, and nothing says so to the disk.
        disk.fail_nth(CallKind::Sync, 2, std::io::ErrorKind::Other);
        for id in 2..9 {
            let _ = wal.append("s", format!("old {id}").as_bytes());
        }
        disk.clear_faults();
        disk.crash();
        let mut known: Vec<Vec<u8>> = Vec::new();
        for life in 0..4 {
            if life < 3 {
                disk.cut_power_at(6 + seed % 23 + life);
            }
            if let Ok(wal) = open(&disk, &options) {
                let found: Vec<Vec<u8>> = wal.iter("s", 0).unwrap().map_while(Result::ok).collect();
                if !disk.power_is_off() {
                    let common = known.len().min(found.len());
                    assert_eq!(found[..common], known[..common], "seed {seed}: entries changed");
                    known = found;
                    if let Ok(id) = wal.append("s", format!("new {life}").as_bytes()) {
                        assert_eq!(id as usize, known.len(), "seed {seed}");
                        if wal.sync_all().is_ok() {
                            known.push(format!("new {life}").into_bytes());
                        }
                    }
                }
            }
            disk.crash();
        }
        let wal = open(&disk, &options).unwrap();
        let found: Vec<Vec<u8>> = wal.iter("s", 0).unwrap().map(Result::unwrap).collect();
        assert!(found.len() >= known.len(), "seed {seed}: {} < {}", found.len(), known.len());
        assert_eq!(found[..known.len()], known, "seed {seed}");
    }
}

/// One rotten copy of the root file is healed by the next opening, durably, so that the other one may
/// rot later.
#[test]
fn a_damaged_copy_of_the_root_file_is_healed() {
    let root = Path::new("/log/.ironwal");
    for (seed, first) in (0..40).flat_map(|seed| [(seed, 0), (seed, 4096)]) {
        let disk =
            SimDisk::with_config(SimConfig { seed, write_back: 0.0, ..SimConfig::default() });
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        wal.append("s", b"kept").unwrap();
        wal.close().unwrap();
        disk.overwrite(root, first + 20, b"rot").unwrap();
        open(&disk, &options(SyncMode::Strict)).unwrap();
        disk.crash();
        disk.overwrite(root, 4096 - first + 20, b"rot").unwrap();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 0).unwrap().as_deref(), Some(&b"kept"[..]), "seed {seed}");
    }
}

/// Power loss took an unsynced entry and left the one behind it. If that were not cut off, a new entry
/// of the same length would put it back into its place: right offset, right id, valid checksum.
#[test]
fn a_frame_behind_a_torn_one_does_not_come_back() {
    let mut torn = 0;
    for seed in 0..300 {
        let disk = SimDisk::with_config(SimConfig { seed, ..SimConfig::default() });
        let wal = open(&disk, &options(SyncMode::Async)).unwrap();
        for id in 0..8_u8 {
            wal.append("s", &[id; 1000]).unwrap();
        }
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Async)).unwrap();
        let id = wal.append("s", &[100; 1000]).unwrap();
        torn += u32::from((1..8).contains(&id));
        disk.kill();
        let wal = open(&disk, &options(SyncMode::Async)).unwrap();
        assert_eq!(wal.stream("s").unwrap().next_id(), id + 1, "seed {seed}");
        assert_eq!(wal.get("s", id).unwrap().unwrap(), [100; 1000]);
    }
    assert!(torn > 20, "{torn}");
}

/// What is whole of a damaged segment is made durable like everything else that recovery keeps.
#[test]
fn what_is_whole_behind_damage_is_durable_after_recovery() {
    let mut kept = 0;
    for seed in 0..60 {
        let disk = SimDisk::with_config(SimConfig {
            seed,
            eviction: 0.0,
            write_back: 0.0,
            ..SimConfig::default()
        });
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        for id in 0..4_u8 {
            wal.append("s", &[id; 8]).unwrap();
        }
        if seed % 2 == 0 {
            disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
        } else {
            disk.fail_nth(CallKind::Write, 2, std::io::ErrorKind::Other);
        }
        let _ = wal.append("s", &[4; 600]);
        disk.clear_faults();
        disk.kill();
        disk.overwrite(Path::new(FIRST), 8192 + 32 + 26, b"rot").unwrap();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let next_id = wal.stream("s").unwrap().next_id();
        assert!((4..=5).contains(&next_id), "seed {seed}: {next_id}");
        kept += u32::from(next_id == 5);
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        let stream = wal.stream("s").unwrap();
        assert_eq!(stream.next_id(), next_id, "seed {seed}");
        assert!(stream.get(1).is_err());
        for id in (0..next_id).filter(|id| *id != 1) {
            assert!(stream.get(id).unwrap().is_some(), "seed {seed}: {id}");
        }
    }
    assert!(kept > 10, "{kept}");
}
