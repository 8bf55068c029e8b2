//! Cutting and deleting streams of which the journal holds something: a void comes before every cut.

use std::io::ErrorKind;
use std::path::PathBuf;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};

use super::{
    LARGE, SMALL, append_together, at_every_call, disk, entries, frames_in, live_frames, open,
    options, try_open, turn_over,
};

/// Damage is an error, so that a record of a stream that is gone is noticed.
fn strictly() -> WalOptions {
    WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Strict) }
}

/// Two streams with entries in the journal.
fn journaled(disk: &SimDisk, options: &WalOptions) -> Wal {
    let wal = open(disk, options);
    append_together(&wal, &[("x", b"old 0"), ("y", b"old 0")]).unwrap();
    append_together(&wal, &[("x", b"old 1"), ("y", b"old 1")]).unwrap();
    wal.append("x", b"old 2").unwrap();
    wal
}

const OLD: [&[u8]; 3] = [b"old 0", b"old 1", b"old 2"];

/// Looks at a disk after a crash, and once more after another one.
fn twice(disk: &SimDisk, options: &WalOptions, look: impl Fn(&Wal)) {
    for _ in 0..2 {
        let wal = open(disk, options);
        look(&wal);
        disk.crash();
    }
}

#[test]
fn entries_that_were_cut_off_never_come_back() {
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = journaled(&disk, &strictly());
            (disk, wal)
        },
        |wal| {
            let x = wal.stream("x").unwrap();
            let cut = x.truncate_after(Some(0)).is_ok();
            let first = cut && x.append(b"new 1").is_ok();
            let second = first && append_together(wal, &[("x", b"new 2"), ("y", b"2")]).is_ok();
            (cut, usize::from(first) + usize::from(second))
        },
        |disk, (cut, acknowledged), call| {
            twice(disk, &strictly(), |wal| {
                let found = entries(wal, "x");
                let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
                if !cut && found == OLD {
                    return;
                }
                let new: [&[u8]; 3] = [b"old 0", b"new 1", b"new 2"];
                assert!(found.len() > acknowledged, "call {call}: {found:?}");
                assert!(new.starts_with(&found), "call {call}: {found:?}");
                let y = entries(wal, "y").len();
                assert_eq!(y, if found.len() == 3 { 3 } else { 2 }, "call {call}");
            });
        },
    );
}

/// Cut and appended to, again and again, over turns of the journal.
#[test]
fn many_cuts_of_one_stream_leave_what_is_behind_the_last() {
    for seed in 0..12 {
        let disk = disk(seed);
        let wal = open(&disk, &strictly());
        let x = wal.stream("x").unwrap();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for nth in 0..20_u8 {
            for of in 0..3 {
                expected.push(vec![nth, of]);
                x.append(&[nth, of]).unwrap();
            }
            let kept = usize::from(nth).min(expected.len() - 1 - usize::from(nth % 3));
            x.truncate_after(kept.checked_sub(1).map(|last| last as u64)).unwrap();
            expected.truncate(kept);
            if nth % 7 == seed as u8 % 7 {
                turn_over(&disk, &wal, 1);
            }
        }
        x.append(b"last").unwrap();
        expected.push(b"last".to_vec());
        disk.crash();
        drop((x, wal));
        twice(&disk, &strictly(), |wal| assert_eq!(entries(wal, "x"), expected, "seed {seed}"));
    }
}

#[test]
fn a_deleted_stream_never_comes_back() {
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = journaled(&disk, &strictly());
            (disk, wal)
        },
        |wal| {
            let deleted = wal.delete_stream("x").is_ok();
            // Under the same name, and another one.
            let again = deleted && append_together(wal, &[("x", b"new 0"), ("z", b"0")]).is_ok();
            (deleted, again)
        },
        |disk, (deleted, again), call| {
            twice(disk, &strictly(), |wal| {
                let found = entries(wal, "x");
                if again {
                    assert_eq!(found, [b"new 0"], "call {call}");
                } else if deleted {
                    assert!(found.is_empty() || found == [b"new 0"], "call {call}: {found:?}");
                } else {
                    assert!(found.is_empty() || found == OLD, "call {call}: {found:?}");
                }
                assert_eq!(entries(wal, "y"), [b"old 0", b"old 1"], "call {call}");
            });
        },
    );
}

/// The stream comes back from the archive, with the number that it had: what the journal held of its
/// former life must not be written into it.
#[test]
fn a_restored_stream_holds_what_was_archived_and_what_was_appended_since() {
    let archived = WalOptions { archive_path: Some(PathBuf::from("/archive")), ..strictly() };
    at_every_call(
        |seed| {
            let disk = disk(seed);
            let wal = journaled(&disk, &archived);
            let x = wal.stream("x").unwrap();
            x.rotate().unwrap();
            x.append(b"not archived").unwrap();
            assert_eq!(x.truncate_before(3).unwrap(), 1);
            x.append(b"not archived either").unwrap();
            (disk, wal)
        },
        |wal| {
            let deleted = wal.delete_stream("x").is_ok();
            let restored = deleted && wal.restore_archived("x").is_ok();
            let appended = restored && append_together(wal, &[("x", b"new"), ("y", b"2")]).is_ok();
            (deleted, restored, appended)
        },
        |disk, (deleted, restored, appended), call| {
            twice(disk, &archived, |wal| {
                let found = entries(wal, "x");
                let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
                let live: [&[u8]; 2] = [b"not archived", b"not archived either"];
                let back: [&[u8]; 4] = [OLD[0], OLD[1], OLD[2], b"new"];
                let is_right = match (deleted, restored, appended) {
                    (_, _, true) => found == back,
                    (_, true, _) => found == back || found == back[..3],
                    (true, ..) => found.is_empty() || found == back[..3],
                    _ => found.is_empty() || found == live,
                };
                assert!(is_right, "call {call}: {deleted} {restored} {appended}: {found:?}");
            });
        },
    );
}

/// What opening has replayed is cut, pruned or deleted at once: its records count no more.
#[test]
fn records_of_an_earlier_process_do_not_touch_what_this_one_did() {
    for (seed, what) in (0..15).flat_map(|seed| (0..4).map(move |what| (seed, what))) {
        let disk = disk(seed);
        let wal = journaled(&disk, &strictly());
        disk.crash();
        drop(wal);
        let wal = open(&disk, &strictly());
        let x = wal.stream("x").unwrap();
        let expected: &[&[u8]] = match what {
            0 => {
                x.truncate_after(None).unwrap();
                x.append(b"new").unwrap();
                &[b"new"]
            }
            1 => {
                wal.delete_stream("x").unwrap();
                &[]
            }
            2 => {
                x.truncate_before(2).unwrap();
                &[b"old 2"]
            }
            _ => {
                x.truncate_after(Some(0)).unwrap();
                x.append(&[7; 20_000]).unwrap();
                &[b"old 0", &[7; 20_000]]
            }
        };
        disk.crash();
        drop((x, wal));
        twice(&disk, &strictly(), |wal| assert_eq!(entries(wal, "x"), expected, "{seed}, {what}"));
    }
}

/// A full disk, and in the journal no room for another void: nothing was cut or deleted.
#[test]
fn without_room_for_the_void_nothing_is_deleted() {
    let names: Vec<String> = (0..9).map(|nth| format!("s{nth}")).collect();
    let disk = disk(1);
    let wal = try_open(&disk, &strictly(), LARGE).unwrap();
    // With room in their segments.
    for name in &names {
        wal.append(name, &[0; 5000]).unwrap();
        wal.append(name, &[0; 5000]).unwrap();
    }
    wal.sync_all().unwrap();
    let frames = frames_in(&disk, 0).len();
    // The room of a round of one stream, and no more: it is far more than its frame needs.
    for nth in 0..60_u64 {
        let used = disk.used_bytes();
        disk.configure(|config| config.capacity = Some(used + 4096 * (nth % 3)));
        if wal.append(&names[nth as usize % 9], b"journaled").is_err() {
            break;
        }
    }
    assert!(frames_in(&disk, 0).len() >= frames + 9, "each stream is in the journal");
    let used = disk.used_bytes();
    disk.configure(|config| config.capacity = Some(used));
    let (name, others) = names.split_last().unwrap();
    for other in others {
        // Its copy has no space, but the void takes its block.
        let before = entries(&wal, other);
        assert!(wal.stream(other).unwrap().truncate_after(Some(0)).is_err());
        assert_eq!(entries(&wal, other), before);
    }
    let before = entries(&wal, name);
    let error = wal.delete_stream(name).unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(entries(&wal, name), before);
    disk.configure(|config| config.capacity = None);
    wal.append(name, b"there is room").unwrap();
    wal.delete_stream(name).unwrap();
    assert!(!wal.streams().contains(name));
    disk.crash();
    drop(wal);
    let wal = open(&disk, &strictly());
    assert_eq!(wal.streams().len(), 8);
}

/// What the journal has of a poisoned stream went to another file, and the stream is deleted.
#[test]
fn a_poisoned_stream_that_is_deleted_leaves_no_record() {
    for (seed, turns) in (0..5).flat_map(|seed| (0..4).map(move |turns| (seed, turns))) {
        let disk = disk(seed);
        let wal = try_open(&disk, &strictly(), 2 * SMALL).unwrap();
        for entry in [b"old 0", b"old 1"] {
            append_together(&wal, &[("x", entry), ("y", entry)]).unwrap();
        }
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("x", &[9; 20_000]).unwrap_err();
        disk.clear_faults();
        turn_over(&disk, &wal, turns);
        wal.delete_stream("x").unwrap();
        // So that the directory is gone for good.
        let frames = live_frames(&disk);
        wal.append("new", b"0").unwrap();
        assert!(live_frames(&disk) > frames, "the journal begins anew");
        disk.crash();
        drop(wal);
        twice(&disk, &strictly(), |wal| {
            assert!(entries(wal, "x").is_empty(), "seed {seed}, {turns}");
            assert_eq!((entries(wal, "y").len(), entries(wal, "new").len()), (2, 1));
        });
    }
}

/// A stream was cut, and the file with the void is long used anew. Then the stream is poisoned: what the
/// journal has of it since is copied to that file, which has no void of it any more.
#[test]
fn what_was_appended_long_after_a_cut_is_copied_with_the_rest() {
    for (seed, turns) in (0..3).flat_map(|seed| (1..6).map(move |turns| (seed, turns))) {
        let disk = disk(seed);
        let wal = journaled(&disk, &strictly());
        wal.stream("x").unwrap().truncate_after(Some(0)).unwrap();
        turn_over(&disk, &wal, turns);
        for nth in 0..3 {
            assert_eq!(wal.append("x", b"new").unwrap(), 1 + nth);
        }
        disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
        wal.append("x", &[9; 20_000]).unwrap_err();
        disk.clear_faults();
        turn_over(&disk, &wal, 3);
        disk.crash();
        drop(wal);
        twice(&disk, &strictly(), |wal| {
            let found = entries(wal, "x");
            assert!(found.len() >= 4, "seed {seed}, {turns}: {} entries", found.len());
            assert!(found[0] == b"old 0" && found[1..4].iter().all(|entry| entry == b"new"));
        });
    }
}
