//! Many threads on one stream while calls fail and the power goes: every waiter returns, and what
//! was acknowledged, or seen by a reader, is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Environment, Error, SyncMode, Wal, WalOptions};

use crate::hooked::Hooked;

const THREADS: u64 = 8;
const APPENDS: u64 = 25;

/// Opens the log on a disk whose syncs take their time, so that other threads stage the next round
/// meanwhile.
fn open(disk: &SimDisk, mode: SyncMode) -> Wal {
    let slow = Hooked::new(disk).before_sync(|| {
        for _ in 0..50 {
            std::thread::yield_now();
        }
    });
    let environment = Environment::default().with_storage(Arc::new(slow)).with_entropy(|| 0x5A17);
    let options = WalOptions { sync_mode: mode, max_segment_size: 2000, ..WalOptions::new("/log") };
    Wal::open_with(options, environment).unwrap()
}

fn entry(thread: u64, nth: u64) -> Vec<u8> {
    format!("thread {thread} entry {nth}").into_bytes()
}

/// Appends from many threads, some in batches; returns the ids and entries that were acknowledged,
/// and how many appends failed.
fn append_from_threads(wal: &Wal) -> (Vec<(u64, Vec<u8>)>, usize) {
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || append_some(wal, thread))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let failed = results.iter().map(|(_, failed)| failed).sum();
    (results.into_iter().flat_map(|(acknowledged, _)| acknowledged).collect(), failed)
}

fn append_some(wal: &Wal, thread: u64) -> (Vec<(u64, Vec<u8>)>, usize) {
    let mut acknowledged = Vec::new();
    let mut failed = 0;
    for nth in 0..APPENDS {
        let entries = [entry(thread, 2 * nth), entry(thread, 2 * nth + 1)];
        let ids = if nth % 5 == 4 {
            wal.append_batch("s", &[&entries[0], &entries[1]])
        } else {
            wal.append("s", &entries[0]).map(|id| id..id + 1)
        };
        match ids {
            Ok(ids) => acknowledged.extend(ids.zip(entries)),
            Err(Error::Io(_) | Error::Poisoned { .. } | Error::StorageFull { .. }) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (acknowledged, failed)
}

fn check(wal: &Wal, acknowledged: &[(u64, Vec<u8>)]) {
    for (id, entry) in acknowledged {
        assert_eq!(wal.get("s", *id).unwrap().as_ref(), Some(entry), "id {id}");
    }
    let mut seen = std::collections::HashSet::new();
    for (id, item) in wal.iter_with_ids("s", 0).unwrap().enumerate() {
        let (found, entry) = item.unwrap();
        assert_eq!(found, id as u64);
        assert!(seen.insert(entry), "an entry is there twice");
    }
}

#[test]
fn threads_share_rounds_and_ids_have_no_gaps() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        let disk = SimDisk::new(7);
        let wal = open(&disk, mode);
        let (acknowledged, failed) = append_from_threads(&wal);
        assert_eq!((acknowledged.len(), failed), (8 * 30, 0));
        let mut ids: Vec<u64> = acknowledged.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..240));
        check(&wal, &acknowledged);
        wal.close().unwrap();
        check(&open(&disk, mode), &acknowledged);
    }
}

#[test]
fn every_waiter_returns_whatever_call_fails() {
    let kinds = [
        CallKind::Write,
        CallKind::Sync,
        CallKind::Reserve,
        CallKind::Rename,
        CallKind::Create,
        CallKind::SyncDir,
        CallKind::SetLen,
        CallKind::Open,
    ];
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for kind in kinds {
            for n in (1..12).chain([20, 40, 80]) {
                let disk = SimDisk::new(n);
                let wal = open(&disk, mode);
                disk.fail_nth(kind, n, std::io::ErrorKind::Other);
                let (acknowledged, failed) = append_from_threads(&wal);
                disk.clear_faults();
                check(&wal, &acknowledged);
                let poisoned = matches!(wal.append("s", b"x"), Err(Error::Poisoned { .. }));
                assert!(!poisoned || failed > 0 || mode != SyncMode::Strict, "{kind:?} {n}");
                drop(wal);
                // In Strict, what was acknowledged survives the worst that can follow.
                if mode == SyncMode::Strict {
                    disk.crash();
                    check(&open(&disk, mode), &acknowledged);
                }
            }
        }
    }
}

/// A failed sync: the leader and every follower get the error, nothing of the round is readable,
/// later appends say why, and what was committed stays readable.
#[test]
fn a_failed_sync_reaches_every_follower() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let wal = open(&disk, SyncMode::Strict);
        let first = wal.append("s", b"committed").unwrap();
        disk.fail_nth(CallKind::Sync, 3, std::io::ErrorKind::Other);
        let (acknowledged, failed) = append_from_threads(&wal);
        assert!(failed > 0);
        let end = wal.stream("s").unwrap().next_id();
        assert_eq!(end, 1 + acknowledged.len() as u64, "a failed append is readable");
        assert!(matches!(wal.append("s", b"x"), Err(Error::Poisoned { .. })));
        assert_eq!(wal.get("s", first).unwrap().unwrap(), b"committed");
        assert_eq!(wal.append("other", b"not affected").unwrap(), 0);
        assert!(wal.close().is_err());
    }
}

/// In Strict nothing becomes readable before it is durable.
#[test]
fn what_a_reader_saw_survives_the_power_cut() {
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let wal = open(&disk, SyncMode::Strict);
        wal.append("s", b"the first").unwrap();
        disk.cut_power_at(20 + 5 * seed);
        let done = AtomicBool::new(false);
        let seen = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let stream = wal.stream("s").unwrap();
                while !done.load(Ordering::Acquire) {
                    seen.fetch_max(stream.next_id(), Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            append_from_threads(&wal);
            done.store(true, Ordering::Release);
        });
        drop(wal);
        disk.crash();
        let recovered = open(&disk, SyncMode::Strict).stream("s").unwrap().next_id();
        let seen = seen.load(Ordering::Relaxed);
        assert!(recovered >= seen, "{seen} entries were seen, {recovered} recovered");
    }
}

/// On a real disk, where appends that are not synced are stored in the mapped file: so that tools that
/// watch memory see them too.
#[test]
fn threads_append_to_one_mapped_file_while_others_read_and_sync() {
    for mode in [SyncMode::Async, SyncMode::BatchOnly] {
        let dir = tempfile::tempdir().unwrap();
        let options =
            WalOptions { sync_mode: mode, max_segment_size: 2000, ..WalOptions::new(dir.path()) };
        let wal = Wal::new(options.clone()).unwrap();
        let stream = wal.stream("s").unwrap();
        let ended = AtomicBool::new(false);
        let (acknowledged, failed) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    stream.sync().unwrap();
                }
            });
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let committed = stream.next_id();
                    let ids: Vec<u64> = stream.range(..).map(|item| item.unwrap().0).collect();
                    assert!(ids.iter().copied().eq(0..ids.len() as u64));
                    assert!(ids.len() as u64 >= committed);
                }
            });
            let appended = append_from_threads(&wal);
            ended.store(true, Ordering::Relaxed);
            appended
        });
        assert_eq!(failed, 0);
        check(&wal, &acknowledged);
        drop(stream);
        wal.close().unwrap();
        check(&Wal::new(options).unwrap(), &acknowledged);
    }
}
