//! What is lost in the old log is named, keeps its ids, and takes nothing else with it.

use std::fs;
use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::writing::entry;
use crate::{Case, Ran, seen};

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// Entries that are read are right; of the others it is said that they are lost. Returns how many are.
#[track_caller]
fn check(case: &Case, ran: &Ran, what: &str) -> usize {
    assert_eq!(ran.code, 1, "{what}: {ran:?}");
    let new = seen::new(&case.new_log());
    let mut lost = 0;
    for ((stream, id), found) in &new.entries {
        match found {
            Some(found) => assert_eq!(*found, entry(stream, *id), "{what}: {stream} {id}"),
            None => lost += 1,
        }
    }
    let is_number_known = !ran.out.contains("nobody knows");
    let is_said = ran.out.contains("lost: stream");
    assert!(is_said == (lost > 0) || !is_number_known, "{what}: {ran:?}");
    // What is not there at all was cut off, or its number is not known.
    let end = new.next.get("orders").copied().unwrap_or(0);
    let may_end = ran.out.contains("cut off: ") || !is_number_known;
    assert!(end == 170 || may_end, "{what}: {ran:?}");
    assert_eq!(new.next["audit.log"], 170, "{what}");
    lost
}

#[test]
fn a_flipped_bit_costs_the_entry_that_it_is_in() {
    let case = Case::new("plain");
    let segments = case.segments("orders");
    // In the last bytes of a segment, the payload of its last entry; in an older one and in the newest.
    for segment in [&segments[1], segments.last().unwrap()] {
        flip(segment, fs::read(segment).unwrap().len() - 2);
    }
    let ran = case.migrate(&[]);
    assert_eq!(check(&case, &ran, "two bits"), 2);
    assert!(ran.out.contains("stream \"orders\", entries 79..80: CRC32"), "{}", ran.out);
    let wal = Wal::new(WalOptions::new(case.new_log())).unwrap();
    assert!(matches!(wal.stream("orders").unwrap().get(79), Err(ironwal::Error::Damaged { .. })));
    assert_eq!(wal.append("orders", b"goes on").unwrap(), 170);
}

/// Wherever a bit flips, nothing wrong is read and nothing is lost without a word.
#[test]
fn a_flipped_bit_anywhere_is_named() {
    let case = Case::new("plain");
    for (nth, file) in case.segments("orders").into_iter().enumerate() {
        let whole = fs::read(&file).unwrap();
        // The headers of the first entries, and some of what follows.
        for at in (0..80).step_by(5).chain((80..whole.len()).step_by(whole.len() / 3)) {
            flip(&file, at);
            let ran = case.migrate(&[]);
            let new = seen::new(&case.new_log());
            let is_equal = new
                .entries
                .iter()
                .all(|((stream, id), found)| found.as_ref() == Some(&entry(stream, *id)));
            if ran.code == 0 {
                // A bit that means nothing.
                assert!(is_equal && new.next["orders"] == 170, "segment {nth} at {at}");
            } else {
                check(&case, &ran, &format!("segment {nth} at {at}"));
            }
            fs::write(&file, &whole).unwrap();
            fs::remove_dir_all(case.new_log()).unwrap();
        }
    }
}

#[test]
fn a_damaged_batch_is_lost_whole_and_alone() {
    let case = Case::new("lz4");
    let segments = case.segments("in-batches");
    flip(segments.last().unwrap(), 200);
    let ran = case.migrate(&[]);
    assert!(check(&case, &ran, "a batch") > 0);
}

#[test]
fn a_missing_segment_is_a_gap() {
    for nth in [0, 1, 2] {
        let case = Case::new("plain");
        let segments = case.segments("orders");
        fs::remove_file(&segments[nth]).unwrap();
        let ran = case.migrate(&[]);
        if nth == 0 {
            // Nothing tells it from a pruned one.
            assert_eq!(ran.code, 0, "{ran:?}");
            continue;
        }
        assert_eq!(check(&case, &ran, "a missing segment"), 40, "segment {nth}");
    }
}

#[test]
fn a_missing_newest_segment_is_noticed() {
    let case = Case::new("plain");
    fs::remove_file(case.segments("orders").last().unwrap()).unwrap();
    let ran = case.migrate(&[]);
    check(&case, &ran, "the newest");
    assert!(ran.out.contains("entries 160..: the file of the newest"), "{}", ran.out);
}

/// A bit of the index hides segments, whose files are there.
#[test]
fn a_damaged_index_hides_nothing_without_a_word() {
    let case = Case::new("plain");
    let index = case.old().join("orders/segments.idx");
    let whole = fs::read(&index).unwrap();
    for at in (0..whole.len()).step_by(3) {
        flip(&index, at);
        let ran = case.migrate(&[]);
        if case.new_log().exists() {
            let equal = seen::new(&case.new_log()).entries.len() == 341;
            assert!(equal || ran.code == 1, "{at}: {ran:?}");
            if ran.code == 1 {
                check(&case, &ran, &format!("index at {at}"));
            }
            fs::remove_dir_all(case.new_log()).unwrap();
        } else {
            ran.fails(1, &["ironwal-migrate:"]);
        }
        fs::write(&index, &whole).unwrap();
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_said() {
    let case = Case::new("plain");
    let newest = case.segments("orders").pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() - 5]).unwrap();
    let ran = case.migrate(&[]);
    assert_eq!(check(&case, &ran, "a torn tail"), 0);
    assert!(ran.out.contains("0.6.9 keeps"), "{}", ran.out);
    let new = seen::new(&case.new_log());
    assert_eq!((new.next["orders"], new.next["audit.log"]), (169, 170));
    assert_eq!(new, seen::old(&case, false));
    fs::remove_dir_all(case.new_log()).unwrap();
    // Whoever knows that the program was killed says so.
    let ran = case.migrate(&["--torn-tails"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(new, seen::new(&case.new_log()));
}

/// What a checkpoint holds was durable once: it is no torn tail.
#[test]
fn entries_of_a_checkpoint_that_are_gone_are_lost() {
    let case = Case::new("sharded");
    let before = seen::old(&case, true);
    let newest = case.segments("shard_00").pop().unwrap();
    fs::write(&newest, b"").unwrap();
    let ran = case.migrate(&["--torn-tails"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let new = seen::new(&case.new_log());
    assert_eq!(new.checkpoints, before.checkpoints);
    let held = new.checkpoints.iter().map(|(_, offsets, _)| offsets[0]).max().unwrap();
    assert_eq!(new.next["shard_00"], held, "{ran:?}");
    assert!(new.entries.values().any(Option::is_none));
}

/// 0.6.9 reads it up to the damage, says nothing, and finds an older checkpoint of the same id.
#[test]
fn a_damaged_log_of_checkpoints_is_said() {
    let case = Case::new("sharded");
    let log = case.old().join("checkpoints.log");
    let whole = fs::read(&log).unwrap();
    for at in [whole.len() / 2, whole.len() - 2] {
        flip(&log, at);
        let ran = case.migrate(&[]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("lost: the log of checkpoints is damaged"), "{}", ran.out);
        let checkpoints = seen::new(&case.new_log()).checkpoints;
        assert!(checkpoints.iter().any(|(id, ..)| id == b"half"), "{checkpoints:?}");
        fs::write(&log, &whole).unwrap();
        fs::remove_dir_all(case.new_log()).unwrap();
    }
}
