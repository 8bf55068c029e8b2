//! Beside a process that writes, nothing that it is in the middle of is taken for damage.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::SyncMode;

use super::*;
use crate::hooked::Hooked;

const SEGMENT_SIZE: u64 = 600;

/// Something that a writer does; something else each time.
fn step(wal: &Wal, nth: u64) {
    let stream = if nth.is_multiple_of(3) { "a" } else { "b" };
    let entry = vec![nth as u8; nth as usize % 200];
    match nth % 11 {
        4 => {
            let mut batch = wal.batch();
            batch.append("a", &entry[..]);
            batch.append("b", &entry[..]);
            batch.commit().unwrap();
        }
        7 if nth > 60 => {
            let stream = wal.stream(stream).unwrap();
            let to = (stream.first_id() + 3).min(stream.next_id());
            stream.truncate_before(to).unwrap();
        }
        9 if nth.is_multiple_of(7) => {
            let stream = wal.stream(stream).unwrap();
            let keep = stream.next_id().saturating_sub(2);
            if keep > stream.first_id() {
                stream.truncate_after(Some(keep - 1)).unwrap();
            }
        }
        10 if nth.is_multiple_of(5) => wal.sync_all().unwrap(),
        _ => {
            wal.append(stream, &entry).unwrap();
        }
    }
}

/// The writer does something whenever the inspection has read a few times.
fn verify_beside(mode: SyncMode, journal: Journal) {
    let disk = SimDisk::new(3);
    let wal = Arc::new(writer(&disk, mode, journal, SEGMENT_SIZE));
    let steps = Arc::new(AtomicU64::new(0));
    for _ in 0..70 {
        step(&wal, steps.fetch_add(1, Ordering::Relaxed));
    }
    let (busy, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    for pause in [1, 2, 5, 13] {
        let hook = {
            let (wal, steps, busy, reads) =
                (Arc::clone(&wal), Arc::clone(&steps), Arc::clone(&busy), Arc::clone(&reads));
            let left = Mutex::new(300_u32);
            move || {
                let due = reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(pause);
                let mut left = left.lock().unwrap();
                if due && *left > 0 && !busy.swap(true, Ordering::Relaxed) {
                    *left -= 1;
                    step(&wal, steps.fetch_add(1, Ordering::Relaxed));
                    busy.store(false, Ordering::Relaxed);
                }
            }
        };
        let storage: Arc<dyn Storage> = Arc::new(Hooked::new(&disk).after_read(hook));
        let report = verify(&storage, Path::new(ROOT), &VerifyOptions::default(), &|_| {}).unwrap();
        assert!(report.is_open);
        assert!(report.is_whole(), "{mode:?} {journal:?} {pause}: {:#?}", report.findings);
        assert!(report.entries > 0);
    }
    assert!(steps.load(Ordering::Relaxed) > 150, "{steps:?} steps only");
    wal.close().unwrap();
    let report = look(&disk);
    assert!(!report.is_open && report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn a_writer_in_strict() {
    verify_beside(SyncMode::Strict, Journal::Auto);
    verify_beside(SyncMode::Strict, Journal::On);
}

#[test]
fn a_writer_in_batch_only() {
    verify_beside(SyncMode::BatchOnly, Journal::Auto);
}

#[test]
fn a_writer_in_async() {
    verify_beside(SyncMode::Async, Journal::Off);
    verify_beside(SyncMode::Async, Journal::Auto);
}

/// Damage in a full segment is damage, whoever writes to the newest one.
#[test]
fn damage_is_told_all_the_same() {
    let disk = SimDisk::new(3);
    let wal = writer(&disk, SyncMode::Strict, Journal::Auto, SEGMENT_SIZE);
    for nth in 0..60 {
        step(&wal, nth);
    }
    let path = crate::journal::segment("a", 0);
    disk.overwrite(&path, 8192 + 40, &[0xEE]).unwrap();
    let report = look(&disk);
    assert!(report.is_open);
    let damage = bad(&report);
    assert!(damage.len() == 1 && damage[0].file == path, "{:#?}", report.findings);
}
