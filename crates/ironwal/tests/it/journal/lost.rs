//! Frames of the journal that are lost, where nothing of it counts any more, or a segment is gone.

use ironwal::storage::SimDisk;
use ironwal::{Error, SyncMode, Wal};

use super::{
    LARGE, append_together, disk, entries, frames_in, journal, options, segment, strictly, try_open,
};

fn refused(disk: &SimDisk) -> String {
    match try_open(&disk.snapshot(), &strictly(), LARGE) {
        Err(Error::Corruption(what)) => what,
        other => panic!("{other:?}"),
    }
}

fn reopened(disk: &SimDisk) -> Wal {
    try_open(disk, &options(SyncMode::Strict), LARGE).unwrap()
}

/// Two streams with this many frames in the journal, of which nothing is in the segments; the power is
/// off.
fn only_in_the_journal(frames: u8) -> SimDisk {
    let disk = disk(1);
    let wal = try_open(&disk, &strictly(), LARGE).unwrap();
    for nth in 0..frames {
        append_together(&wal, &[("a", &[nth; 200]), ("b", &[nth; 200])]).unwrap();
    }
    disk.crash();
    drop(wal);
    for name in ["a", "b"] {
        disk.overwrite(&segment(name, 0), 8192, &[0; 2000]).unwrap();
    }
    disk
}

/// The frame is lost, and the one that repeats its directory is torn: no frame counts.
#[test]
fn a_frame_that_only_a_torn_one_knows_of_is_reported() {
    let disk = only_in_the_journal(2);
    let frames = frames_in(&disk, 0);
    disk.overwrite(&journal(0), frames[0], &[0xEE; 64]).unwrap();
    disk.overwrite(&journal(0), frames[1] + 400, &[0xEE; 64]).unwrap();
    let what = refused(&disk);
    assert!(what.contains("entries 0..1") && what.contains("lost with the journal"), "{what}");
    for _ in 0..2 {
        let wal = reopened(&disk);
        for name in ["a", "b"] {
            let stream = wal.stream(name).unwrap();
            assert_eq!(stream.next_id(), 1, "{name}: an id that was acknowledged is free again");
            let error = stream.get(0).unwrap_err();
            assert!(matches!(&error, Error::Damaged { ids, .. } if *ids == (0..1)), "{error}");
        }
        disk.crash();
    }
}

/// Of all frames nothing is left but a header that counts them.
#[test]
fn frames_that_nobody_knows_are_reported() {
    let disk = only_in_the_journal(3);
    let frames = frames_in(&disk, 0);
    for frame in &frames[..2] {
        disk.overwrite(&journal(0), *frame, &[0xEE; 64]).unwrap();
    }
    disk.overwrite(&journal(0), frames[2] + 64, &[0xEE; 300]).unwrap();
    let what = refused(&disk);
    assert!(what.contains("2 frames of the journal are lost"), "{what}");
}

/// The newest segment is gone, and what the journal holds of it has no place to go.
#[test]
fn records_of_a_segment_that_is_gone_are_reported() {
    let disk = disk(1);
    let wal = try_open(&disk, &strictly(), LARGE).unwrap();
    let stream = wal.stream("a").unwrap();
    stream.append(b"0").unwrap();
    stream.rotate().unwrap();
    stream.append(b"1").unwrap();
    append_together(&wal, &[("a", b"2"), ("b", b"0")]).unwrap();
    disk.crash();
    drop((stream, wal));
    assert!(!frames_in(&disk, 0).is_empty());
    disk.remove(&segment("a", 1)).unwrap();
    let what = refused(&disk);
    assert!(what.contains("entries up to 3 of the segment 1"), "{what}");
    // Whoever says so goes on without it.
    let wal = reopened(&disk);
    assert_eq!(entries(&wal, "b"), [b"0"]);
    assert_eq!(wal.get("a", 0).unwrap().unwrap(), b"0");
}

/// Frames were lost of which nobody knows what was in them, and a segment had a damaged entry long
/// before, below what its slot proves. A loss was written over all from there to the first record that
/// was known: entries that were whole were gone, and the ids behind what the slot proves were free.
#[test]
fn what_a_slot_proves_is_not_taken_for_a_gap_in_the_journal() {
    let disk = disk(1);
    let wal = try_open(&disk, &strictly(), LARGE).unwrap();
    for nth in 0..10_u8 {
        append_together(&wal, &[("a", &[nth; 200]), ("b", &[nth; 200])]).unwrap();
    }
    wal.close().unwrap();
    let proven_to = disk.contents(&segment("a", 0)).unwrap().len() as u64;
    let wal = try_open(&disk, &strictly(), LARGE).unwrap();
    for nth in 10..14_u8 {
        append_together(&wal, &[("a", &[nth; 200]), ("b", &[nth; 200])]).unwrap();
    }
    disk.crash();
    drop(wal);
    for name in ["a", "b"] {
        disk.overwrite(&segment(name, 0), proven_to, &[0; 2000]).unwrap();
    }
    let frames = frames_in(&disk, 0);
    assert_eq!(frames.len(), 4);
    // The third stays known, for the last one repeats it.
    for frame in &frames[..3] {
        disk.overwrite(&journal(0), *frame, &[0xEE; 64]).unwrap();
    }
    // The fourth entry of ten.
    let frame_len = (proven_to - 8192) / 10;
    disk.overwrite(&segment("a", 0), 8192 + 3 * frame_len + 100, &[0xEE]).unwrap();
    for _ in 0..2 {
        let wal = reopened(&disk);
        let lost = |name: &str| -> Vec<u64> {
            let stream = wal.stream(name).unwrap();
            assert_eq!(stream.next_id(), 14, "{name}");
            let is_lost = |id: &u64| match stream.get(*id) {
                Ok(Some(entry)) => {
                    assert_eq!(u64::from(entry[0]), *id);
                    false
                }
                Err(Error::Damaged { .. }) => true,
                other => panic!("{name} {id}: {other:?}"),
            };
            (0..14).filter(is_lost).collect()
        };
        assert_eq!((lost("a"), lost("b")), (vec![3, 10, 11, 12], vec![10, 11, 12]));
        disk.crash();
    }
}
