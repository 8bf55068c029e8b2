//! Opening with a journal that holds something: replaying it, and what is damaged in it.

use std::io::ErrorKind;
use std::path::Path;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Error, SyncMode, Wal, WalOptions};

use super::{
    SMALL_ROUNDS, append_together, at_every_call, disk, entries, frames_in, generations, journal,
    live_frames, options, segment, strictly, turn_over,
};

fn try_open(disk: &SimDisk, options: &WalOptions) -> ironwal::Result<Wal> {
    super::try_open(disk, options, super::LARGE)
}

fn open(disk: &SimDisk, options: &WalOptions) -> Wal {
    try_open(disk, options).unwrap()
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three frames, each with a share of each stream; the power is off. `bare`: the segments have lost
/// their frames, as they may as long as the journal has them.
fn with_frames(seed: u64, bare: bool) -> SimDisk {
    let disk = disk(seed);
    let wal = open(&disk, &strictly());
    for nth in 0..3_u8 {
        let entry = [nth; 200];
        append_together(&wal, &NAMES.map(|name| (name, &entry[..]))).unwrap();
    }
    disk.crash();
    drop(wal);
    assert_eq!(live_frames(&disk), 3);
    if bare {
        for name in NAMES {
            disk.overwrite(&segment(name, 0), 8192, &[0; 1000]).unwrap();
        }
    }
    disk
}

fn check_frames(wal: &Wal, what: &str) {
    for name in NAMES {
        let found: Vec<u8> = entries(wal, name).iter().map(|entry| entry[0]).collect();
        assert_eq!(found, [0, 1, 2], "{what}: {name}");
    }
}

/// The power goes at any call of the replay, and at another one of the next.
#[test]
fn a_replay_that_is_interrupted_is_done_again() {
    for seed in 0..2 {
        let start = with_frames(seed, true);
        for first in 1..1000 {
            let disk = start.snapshot();
            disk.reseed(first);
            disk.cut_power_at(first);
            let opened = try_open(&disk, &strictly());
            let is_over = !disk.power_is_off();
            disk.crash();
            drop(opened);
            for second in [1 + first / 3, 2 + first / 2, first, first + 9] {
                let disk = disk.snapshot();
                disk.reseed(second);
                disk.cut_power_at(second);
                let opened = try_open(&disk, &strictly());
                disk.crash();
                drop(opened);
                let wal = open(&disk, &strictly());
                check_frames(&wal, &format!("seed {seed}, calls {first}, {second}"));
            }
            if is_over {
                assert!(first > 40, "{first}");
                break;
            }
        }
    }
}

/// Every call of an opening fails once; the process dies, and the next one opens the log on what the
/// page cache shows, and loses the power.
#[test]
fn a_replay_trusts_no_sync_of_a_process_that_failed() {
    for (kind, error) in [
        (CallKind::Sync, ErrorKind::Other),
        (CallKind::SyncDir, ErrorKind::Other),
        (CallKind::Write, ErrorKind::Other),
    ] {
        for nth in 1..60 {
            for seed in 0..4 {
                let disk = with_frames(seed, true);
                disk.fail_nth(kind, nth, error);
                let failed = try_open(&disk, &strictly()).is_err();
                disk.clear_faults();
                disk.kill();
                let wal = open(&disk, &strictly());
                check_frames(&wal, &format!("{kind:?} {nth}, seed {seed}"));
                if !failed {
                    break;
                }
                disk.crash();
                drop(wal);
                let wal = open(&disk, &strictly());
                check_frames(&wal, &format!("{kind:?} {nth}, seed {seed}, after power loss"));
            }
        }
    }
}

/// A frame was written, its sync failed, and the process died: the next one sees it in the page cache.
/// It may take it for committed, but only if it stays.
#[test]
fn a_frame_whose_sync_failed_is_there_for_good_or_not_at_all() {
    let mut seen = [0, 0];
    for seed in 0..60 {
        let disk = disk(seed);
        let wal = open(&disk, &strictly());
        append_together(&wal, &[("a", b"0"), ("b", b"0")]).unwrap();
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        append_together(&wal, &[("a", b"1"), ("b", b"1")]).unwrap_err();
        disk.clear_faults();
        if seed % 2 == 0 {
            disk.evict();
        }
        disk.kill();
        drop(wal);
        let wal = open(&disk, &strictly());
        let count = entries(&wal, "a").len();
        seen[count - 1] += 1;
        assert_eq!(entries(&wal, "b").len(), count, "seed {seed}");
        for name in ["a", "b"] {
            assert_eq!(wal.append(name, b"next").unwrap(), count as u64);
        }
        disk.crash();
        drop(wal);
        let wal = open(&disk, &strictly());
        for name in ["a", "b"] {
            assert_eq!(entries(&wal, name).len(), count + 1, "seed {seed}");
            assert_eq!(entries(&wal, name)[count], b"next", "seed {seed}");
        }
    }
    assert!(seen.iter().all(|times| *times > 5), "{seen:?}");
}

/// A frame was written, its sync failed, and the process died; the next one sees it in the page cache.
/// If a share of it were durable in a segment before the frame is, a power loss would leave a part of
/// the batch.
#[test]
fn a_frame_whose_sync_failed_reaches_no_segment_before_it_is_written_again() {
    let mut seen = [0, 0];
    for seed in 0..20 {
        let start = disk(seed);
        let wal = open(&start, &strictly());
        append_together(&wal, &NAMES.map(|name| (name, &b"0"[..]))).unwrap();
        start.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        append_together(&wal, &NAMES.map(|name| (name, &b"1"[..]))).unwrap_err();
        start.clear_faults();
        start.kill();
        drop(wal);
        assert_eq!(live_frames(&start), 2, "seed {seed}: the page cache has lost it");
        for call in 1..1000 {
            let disk = start.snapshot();
            disk.reseed(call);
            disk.cut_power_at(call);
            let opened = try_open(&disk, &strictly());
            let is_over = !disk.power_is_off();
            disk.crash();
            drop(opened);
            let wal = open(&disk, &strictly());
            let counts = NAMES.map(|name| entries(&wal, name).len());
            assert!([[1; 3], [2; 3]].contains(&counts), "seed {seed}, call {call}: {counts:?}");
            seen[counts[0] - 1] += 1;
            if is_over {
                assert!(call > 20, "{call}");
                break;
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 20), "{seen:?}");
}

#[test]
fn records_of_pruned_segments_are_passed_over() {
    for seed in 0..10 {
        let disk = disk(seed);
        let wal = open(&disk, &strictly());
        let x = wal.stream("x").unwrap();
        x.append(b"0").unwrap();
        x.rotate().unwrap();
        x.append(b"1").unwrap();
        assert_eq!(x.truncate_before(1).unwrap(), 1);
        x.append(b"2").unwrap();
        assert!(live_frames(&disk) >= 3);
        disk.crash();
        drop((x, wal));
        let wal = open(&disk, &strictly());
        assert_eq!(
            (entries(&wal, "x"), wal.stream("x").unwrap().first_id()),
            (vec![b"1".to_vec(), b"2".to_vec()], 1)
        );
    }
}

#[test]
fn records_of_a_stream_that_is_not_there_are_damage() {
    let disk = with_frames(1, true);
    disk.remove(&segment("b", 0)).unwrap();
    let error = try_open(&disk, &strictly()).unwrap_err();
    assert!(matches!(&error, Error::Corruption(what) if what.contains("3 entries")), "{error}");
    disk.kill();
    let wal = open(&disk, &options(SyncMode::Strict));
    assert_eq!((entries(&wal, "a").len(), entries(&wal, "c").len()), (3, 3));
    assert_eq!(wal.append("b", b"of a new one").unwrap(), 0);
}

/// Where a share of a frame begins.
fn share_at(disk: &SimDisk, nth: usize, frame: u64, share: u64) -> u64 {
    let bytes = disk.contents(&journal(nth)).unwrap();
    let u32_at = |at: u64| {
        let at = at as usize;
        u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
    };
    let before: u64 = (0..share).map(|nth| 8 * u32_at(frame + 64 + 32 * nth + 28)).sum();
    frame + 64 + 32 * (u32_at(frame + 8) + u32_at(frame + 12)) + before
}

/// The id is reported as damaged, in its stream, by every way of reading, and stays taken.
fn check_lost(wal: &Wal, name: &str, lost: u64, what: &str) {
    let stream = wal.stream(name).unwrap();
    assert!(stream.next_id() >= 3, "{what}: ids of {name} are free again");
    for id in 0..3 {
        match stream.get(id) {
            Ok(Some(found)) => assert!(id != lost && u64::from(found[0]) == id, "{what}: {id}"),
            Err(Error::Damaged { stream, ids, file, offset, .. }) => {
                assert_eq!((id, stream.as_str(), ids), (lost, name, lost..lost + 1), "{what}");
                assert_eq!(file, segment(name, 0));
                assert!(offset >= 8192, "{what}: {offset}");
            }
            other => panic!("{what}: {name} {id}: {other:?}"),
        }
    }
    let errors = wal.iter(name, 0).unwrap().filter(Result::is_err).count();
    assert_eq!(errors, 1, "{what}");
}

/// A share in a frame that was durable for certain is damaged, and the segment does not have it.
#[test]
fn a_share_that_is_lost_is_reported_for_ever_and_the_others_are_there() {
    for (lost, nth) in [("a", 0), ("b", 0), ("c", 1)] {
        let start = with_frames(1, true);
        let frame = frames_in(&start, 0)[nth];
        let of = NAMES.iter().position(|name| *name == lost).unwrap() as u64;
        start.overwrite(&journal(0), share_at(&start, 0, frame, of) + 100, &[0xEE]).unwrap();
        let error = try_open(&start.snapshot(), &strictly()).unwrap_err();
        assert!(
            matches!(&error, Error::Corruption(what) if what.contains("lost with the journal")),
            "{error}"
        );
        at_every_call(
            |seed| {
                let disk = start.snapshot();
                disk.reseed(seed);
                disk.cut_power_at(seed);
                let opened = try_open(&disk, &options(SyncMode::Strict));
                disk.crash();
                drop(opened);
                let wal = open(&disk, &options(SyncMode::Strict));
                (disk, wal)
            },
            |wal| {
                for name in NAMES {
                    let _ = wal.append(name, &[3; 50]);
                }
            },
            |disk, (), call| {
                let wal = open(disk, &options(SyncMode::Strict));
                for name in NAMES.into_iter().filter(|name| *name != lost) {
                    assert!(entries(&wal, name).len() >= 3, "{name}, call {call}");
                }
                check_lost(&wal, lost, nth as u64, &format!("{lost}, call {call}"));
            },
        );
        // The journal is long used for something else.
        let wal = super::open(&start, &options(SyncMode::Strict));
        turn_over(&start, &wal, 4);
        assert_eq!(wal.append(lost, b"goes on").unwrap(), 3);
        wal.close().unwrap();
        let wal = open(&start, &options(SyncMode::Strict));
        check_lost(&wal, lost, nth as u64, "after turns of the journal");
    }
}

/// A damaged share makes no difference if the segment has the entries.
#[test]
fn a_damaged_share_that_the_segment_has_is_no_loss() {
    for nth in 0..2 {
        let disk = disk(1);
        let wal = open(&disk, &strictly());
        for nth in 0..3_u8 {
            let entry = [nth; 200];
            append_together(&wal, &NAMES.map(|name| (name, &entry[..]))).unwrap();
        }
        // The segments are in the page cache.
        disk.kill();
        drop(wal);
        let frame = frames_in(&disk, 0)[nth];
        disk.overwrite(&journal(0), share_at(&disk, 0, frame, 0) + 100, &[0xEE]).unwrap();
        let wal = open(&disk, &strictly());
        check_frames(&wal, "no loss");
        disk.crash();
        drop(wal);
        check_frames(&open(&disk, &strictly()), "no loss, after power loss");
    }
}

/// The directory of a frame is damaged; the next frame repeats it.
#[test]
fn a_frame_without_directory_is_known_by_the_next_one() {
    for at in [70, 30] {
        let disk = with_frames(1, true);
        let frame = frames_in(&disk, 0)[1];
        disk.overwrite(&journal(0), frame + at, &[0xEE]).unwrap();
        let wal = open(&disk, &options(SyncMode::Strict));
        for name in NAMES {
            check_lost(&wal, name, 1, &format!("byte {at}"));
        }
        disk.crash();
        drop(wal);
        let wal = open(&disk, &options(SyncMode::Strict));
        NAMES.iter().for_each(|name| check_lost(&wal, name, 1, "opened again"));
    }
}

/// Two frames in a row are lost. Nobody knows what was in the first of them, but that something is
/// missing is seen where a stream goes on behind it.
#[test]
fn a_gap_that_unknown_frames_leave_is_reported() {
    let disk = disk(1);
    let wal = open(&disk, &strictly());
    for nth in 0..4_u8 {
        let entry = [nth; 200];
        append_together(&wal, &NAMES.map(|name| (name, &entry[..]))).unwrap();
    }
    disk.crash();
    drop(wal);
    for name in NAMES {
        disk.overwrite(&segment(name, 0), 8192, &[0; 2000]).unwrap();
    }
    for frame in &frames_in(&disk, 0)[1..3] {
        disk.overwrite(&journal(0), *frame, &[0xEE; 70]).unwrap();
    }
    let error = try_open(&disk.snapshot(), &strictly()).unwrap_err();
    assert!(matches!(error, Error::Corruption(_)), "{error}");
    for _ in 0..2 {
        let wal = open(&disk, &options(SyncMode::Strict));
        for name in NAMES {
            let stream = wal.stream(name).unwrap();
            assert_eq!(stream.next_id(), 4, "{name}");
            for id in 0..4 {
                match stream.get(id) {
                    Ok(Some(found)) => assert!([0, 3].contains(&id) && u64::from(found[0]) == id),
                    Err(Error::Damaged { ids, .. }) => {
                        assert!([1, 2].contains(&id) && ids.contains(&id))
                    }
                    other => panic!("{name} {id}: {other:?}"),
                }
            }
        }
        disk.crash();
    }
}

/// What is at the end of the journal and not whole was never acknowledged, as far as anybody can tell.
#[test]
fn the_last_frame_is_torn_and_not_damaged() {
    let disk = with_frames(1, true);
    let frame = frames_in(&disk, 0)[2];
    disk.overwrite(&journal(0), share_at(&disk, 0, frame, 0) + 30, &[0xEE]).unwrap();
    let wal = open(&disk, &strictly());
    for name in NAMES {
        let found: Vec<u8> = entries(&wal, name).iter().map(|entry| entry[0]).collect();
        assert_eq!(found, [0, 1], "{name}");
        assert_eq!(wal.append(name, b"next").unwrap(), 2);
    }
}

/// The last frame of one file is proven by the first one of the other.
#[test]
fn the_last_frame_of_a_file_is_proven_by_the_next_file() {
    let mut met = 0;
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = super::open(&disk, &strictly());
            for nth in 0..SMALL_ROUNDS as u8 {
                wal.append("a", &[nth; 50]).unwrap();
            }
            (disk, wal)
        },
        |wal| wal.append("b", b"0").and_then(|_| wal.append("b", b"1")).is_ok(),
        |disk, _, call| {
            let frames = [frames_in(disk, 0), frames_in(disk, 1)];
            if frames[0].len() < SMALL_ROUNDS || frames[1].is_empty() {
                return;
            }
            let snapshot = disk.snapshot();
            let b = open(&snapshot, &strictly());
            if entries(&b, "b").is_empty() || generations(disk) != [Some(1), Some(2)] {
                return;
            }
            met += 1;
            let last = *frames[0].last().unwrap();
            disk.overwrite(&journal(0), share_at(disk, 0, last, 0) + 30, &[0xEE]).unwrap();
            let file = segment("a", 0);
            let bytes = disk.contents(&file).unwrap();
            disk.overwrite(&file, 8192, &vec![0; bytes.len() - 8192]).unwrap();
            let error = try_open(disk, &strictly()).unwrap_err();
            assert!(matches!(&error, Error::Corruption(_)), "call {call}: {error}");
        },
    );
    assert!(met > 0, "the other file was never met with a frame");
}

/// The process that made a file of the journal could not make its name durable, and died. The next one
/// finds the file, and what it acknowledges is in it.
#[test]
fn a_journal_whose_name_is_not_durable_is_named_again() {
    let mut found_it = 0;
    for (seed, nth) in (0..20).flat_map(|seed| (1..6).map(move |nth| (seed, nth))) {
        let disk = disk(seed);
        let wal = open(&disk, &strictly());
        wal.append("a", &[0; 20_000]).unwrap();
        wal.append("b", &[0; 20_000]).unwrap();
        disk.fail_nth(CallKind::SyncDir, nth, ErrorKind::Other);
        let refused = append_together(&wal, &[("a", b"1"), ("b", b"1")]).is_err();
        disk.clear_faults();
        disk.kill();
        drop(wal);
        found_it += u32::from(refused && disk.contents(&journal(0)).is_ok());
        let wal = open(&disk, &strictly());
        let ids = append_together(&wal, &[("a", b"2"), ("b", b"2")]).unwrap();
        disk.crash();
        drop(wal);
        let wal = open(&disk, &strictly());
        for (name, id) in ids {
            assert_eq!(wal.get(&name, id).unwrap().unwrap(), b"2", "seed {seed}, {nth}");
        }
    }
    assert!(found_it > 10, "{found_it}");
}

/// Every opening begins a new generation, so that no frame is taken for one of another life.
#[test]
fn every_opening_begins_a_new_generation() {
    let disk = with_frames(1, false);
    let mut highest = generations(&disk)[0].unwrap();
    for _ in 0..3 {
        let wal = open(&disk, &strictly());
        assert_eq!(live_frames(&disk), 0);
        let lowest = generations(&disk).into_iter().flatten().min().unwrap();
        assert!(lowest > highest);
        append_together(&wal, &[("a", b"x"), ("b", b"x")]).unwrap();
        highest = generations(&disk).into_iter().flatten().max().unwrap();
        disk.crash();
        drop(wal);
    }
    assert!(disk.files().contains(&Path::new("/log/.journal.0").to_path_buf()));
}
