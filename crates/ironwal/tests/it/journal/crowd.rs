//! Threads that append, submit, cut, delete, rotate and sync over a tiny journal, while a call fails or
//! the power goes. It ends, what was acknowledged is there, no id was given twice, and batches are whole.
//!
//! What threads do depends on their order, so a seed does not replay.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{CorruptionPolicy, Journal, Maintenance, SyncMode, Wal, WalOptions};

use super::environment;
use super::freeing::in_time;
use crate::seeds::number;

const THREADS: u64 = 6;

/// Streams that nobody cuts or deletes.
const KEPT: [&str; 4] = ["k0", "k1", "k2", "k3"];

/// Streams that are.
const CUT: [&str; 3] = ["c0", "c1", "c2"];

/// A name, an id, an entry.
type Acknowledged = (String, u64, Vec<u8>);

/// An entry of a batch that has so many in streams that are kept.
fn entry(rng: &mut Rng, number: u64, kept: u64) -> Vec<u8> {
    let len = if rng.u8(..12) == 0 { rng.usize(15_000..40_000) } else { rng.usize(..900) };
    let mut entry = [number.to_le_bytes(), kept.to_le_bytes()].concat();
    entry.resize(16 + len, number as u8);
    entry
}

fn thread(mut rng: Rng, wal: &Wal, numbers: &AtomicU64) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for _ in 0..25 {
        let number = numbers.fetch_add(1, Ordering::SeqCst);
        let kept = KEPT[rng.usize(..KEPT.len())];
        let cut = CUT[rng.usize(..CUT.len())];
        match rng.u8(..20) {
            0..6 => {
                let entry = entry(&mut rng, number, 1);
                if let Ok(id) = wal.append(kept, &entry) {
                    acknowledged.push((kept.to_string(), id, entry));
                }
            }
            6..12 => {
                let mut names: Vec<&str> = KEPT.into_iter().filter(|_| rng.bool()).collect();
                let of_kept = names.len() as u64;
                names.extend(CUT.into_iter().filter(|_| rng.bool()));
                let mut batch = wal.batch();
                let entries: Vec<_> =
                    names.iter().map(|_| entry(&mut rng, number, of_kept)).collect();
                for (name, entry) in names.iter().zip(&entries) {
                    batch.append(name, entry);
                }
                if let Ok(ids) = batch.commit() {
                    for (name, entry) in names.into_iter().zip(entries) {
                        if KEPT.contains(&name) {
                            acknowledged.push((name.to_string(), ids[name].start, entry));
                        }
                    }
                }
            }
            12..14 => {
                let stream = wal.stream(kept).unwrap();
                let entries: Vec<_> = (0..4)
                    .map(|_| {
                        let number = numbers.fetch_add(1, Ordering::SeqCst);
                        entry(&mut rng, number, 1)
                    })
                    .collect();
                let pending: Vec<_> = entries.iter().map(|entry| stream.submit(entry)).collect();
                for (entry, pending) in entries.into_iter().zip(pending) {
                    if let Ok(id) = pending.and_then(|pending| pending.wait()) {
                        acknowledged.push((kept.to_string(), id, entry));
                    }
                }
            }
            14 => drop(wal.stream(cut).and_then(|stream| stream.truncate_after(Some(1)))),
            15 => drop(wal.delete_stream(cut)),
            16 => drop(wal.append(cut, &entry(&mut rng, number, 0))),
            17 => drop(wal.stream(kept).and_then(|stream| stream.rotate())),
            18 => drop(wal.cut(&[kept, cut])),
            _ => drop(wal.sync_all()),
        }
    }
    acknowledged
}

fn life(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    // What a failed sync lost stays in the cache, so that a kill takes nothing away.
    let disk = SimDisk::with_config(SimConfig { seed, eviction: 0.0, ..SimConfig::default() });
    let mode = [SyncMode::Strict, SyncMode::Strict, SyncMode::BatchOnly][rng.usize(..3)];
    let options = WalOptions {
        max_segment_size: [3000, 60_000, 1 << 26][rng.usize(..3)],
        max_open_segments: [2, 4, 100][rng.usize(..3)],
        sync_mode: mode,
        on_corruption: CorruptionPolicy::Error,
        ..WalOptions::new("/log")
    };
    let journal = [Journal::Auto, Journal::On, Journal::Off][rng.usize(..3)];
    let open = |disk: &SimDisk| {
        let environment =
            environment(Arc::new(disk.process()), journal).with_maintenance(Maintenance::Thread);
        Wal::open_with(options.clone(), environment)
    };
    let wal = open(&disk).unwrap();
    match rng.u8(..5) {
        0 => disk.cut_power_at(rng.u64(1..3000)),
        1 => disk.fail_nth(CallKind::Sync, rng.u64(1..300), ErrorKind::Other),
        2 => {
            let capacity = disk.used_bytes() + rng.u64(200_000..3_000_000);
            disk.configure(|config| config.capacity = Some(capacity));
        }
        3 => disk.fail_nth(None, rng.u64(1..3000), ErrorKind::Other),
        _ => {}
    }
    let numbers = AtomicU64::new(1);
    let acknowledged: Vec<Acknowledged> = std::thread::scope(|scope| {
        let (wal, numbers) = (&wal, &numbers);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let rng = rng.fork();
                scope.spawn(move || thread(rng, wal, numbers))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut by_id = BTreeMap::new();
    for (name, id, entry) in &acknowledged {
        assert!(by_id.insert((name, *id), entry).is_none(), "seed {seed}: {name} {id} twice");
    }
    let loses_power = rng.bool() || disk.power_is_off();
    let was_closed = rng.bool() && wal.close().is_ok();
    if loses_power {
        disk.crash();
    } else {
        disk.kill();
    }
    drop(wal);
    disk.clear_faults();
    disk.configure(|config| config.capacity = None);
    let wal = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut batches: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for name in KEPT.iter().chain(&CUT) {
        for entry in wal.iter(name, 0).unwrap() {
            let entry = entry.unwrap();
            let field = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
            if KEPT.contains(name) {
                batches.entry(field(0)).or_insert((field(8), 0)).1 += 1;
            }
        }
    }
    for (number, (kept, found)) in batches {
        assert_eq!(kept, found, "seed {seed}, {options:?}: batch {number}");
    }
    if mode == SyncMode::Strict || !loses_power || was_closed {
        for ((name, id), entry) in by_id {
            let found = wal.get(name, id).unwrap();
            assert!(found.as_ref() == Some(entry), "seed {seed}, {options:?}: {name} {id}");
        }
    }
    wal.close().unwrap();
}

#[test]
fn a_crowd_over_a_tiny_journal() {
    let first = number("IRONWAL_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("IRONWAL_SEEDS").unwrap_or(60) {
        in_time(move || life(seed));
    }
}
