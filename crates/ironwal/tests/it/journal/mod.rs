//! The rules that join the journal and the segments, each with a test that a violation of it turns
//! red: `docs/design.md` says what they are for.

mod attacks;
mod batches;
mod closing;
mod crowd;
mod cuts;
mod failing;
mod freeing;
mod holes;
mod joining;
mod lost;
mod missing;
mod replaying;
mod room;
mod settling;
mod storm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::sim::SimConfig;
use ironwal::storage::{SimDisk, Storage};
use ironwal::{CorruptionPolicy, Environment, Journal, Maintenance, SyncMode, Wal, WalOptions};

/// The smallest size of a journal's file: a handful of rounds of one stream, one round of several.
const SMALL: u64 = 64 * 1024;

/// How many rounds of one block such a file takes.
const SMALL_ROUNDS: usize = 10;

/// Enough for the rounds of a test.
const LARGE: u64 = 1024 * 1024;

/// Nothing becomes durable by itself.
fn disk(seed: u64) -> SimDisk {
    let config = SimConfig { seed, eviction: 0.0, write_back: 0.0, ..SimConfig::default() };
    SimDisk::with_config(config)
}

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, ..WalOptions::new("/log") }
}

/// In `Strict`, and damage is an error.
fn strictly() -> WalOptions {
    WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Strict) }
}

fn environment(storage: Arc<dyn Storage>, journal: Journal) -> Environment {
    Environment::default()
        .with_storage(storage)
        .with_entropy(|| 0x5A17)
        .with_clock(|| Duration::ZERO)
        .with_maintenance(Maintenance::Inline)
        .with_journal(journal)
        .with_journal_size(SMALL)
}

/// Opens a log whose small appends all go to a journal of this size.
fn try_open(disk: &SimDisk, options: &WalOptions, size: u64) -> ironwal::Result<Wal> {
    let environment = environment(Arc::new(disk.process()), Journal::On).with_journal_size(size);
    Wal::open_with(options.clone(), environment)
}

fn open(disk: &SimDisk, options: &WalOptions) -> Wal {
    try_open(disk, options, SMALL).unwrap()
}

/// One of the journal's files.
pub(crate) fn journal(nth: usize) -> PathBuf {
    Path::new("/log").join(format!(".journal.{nth}"))
}

/// The generations that the journal's files have, if they are there.
fn generations(disk: &SimDisk) -> [Option<u64>; 2] {
    [0, 1].map(|nth| {
        let bytes = disk.contents(&journal(nth)).ok()?;
        Some(u64::from_le_bytes(bytes[24..32].try_into().unwrap()))
    })
}

/// A segment.
pub(crate) fn segment(stream: &str, first_id: u64) -> PathBuf {
    Path::new("/log").join(stream).join(format!("{first_id:020}.wal"))
}

/// Where frames begin in a journal's file that have its generation.
fn frames_in(disk: &SimDisk, nth: usize) -> Vec<u64> {
    let Ok(bytes) = disk.contents(&journal(nth)) else { return Vec::new() };
    let is_live = |at: &usize| bytes[at + 24..at + 32] == bytes[24..32];
    let blocks = (8192..bytes.len().saturating_sub(63)).step_by(4096);
    blocks.filter(is_live).map(|at| at as u64).collect()
}

/// How many frames of the journal have the generation of their file.
fn live_frames(disk: &SimDisk) -> usize {
    frames_in(disk, 0).len() + frames_in(disk, 1).len()
}

/// Appends to a stream of its own until the journal's files have been used in turn this often.
fn turn_over(disk: &SimDisk, wal: &Wal, times: u64) {
    let highest = || generations(disk).into_iter().flatten().max().unwrap_or(0);
    let start = highest();
    for _ in 0..=100 * times {
        if highest() >= start + times {
            return;
        }
        wal.append("filler", &[7; 3000]).unwrap();
    }
    panic!("the journal does not turn over: {:?}", generations(disk));
}

/// Does something with the power cut at its first call of the disk, then at its second, and so on until
/// it comes to its end; looks at each disk after the power loss.
fn at_every_call<T>(
    new: impl Fn(u64) -> (SimDisk, Wal),
    work: impl Fn(&Wal) -> T,
    mut check: impl FnMut(&SimDisk, T, u64),
) {
    for call in 1..5000 {
        let (disk, wal) = new(call);
        disk.cut_power_at(call);
        let done = work(&wal);
        let is_over = !disk.power_is_off();
        disk.crash();
        drop(wal);
        check(&disk, done, call);
        if is_over {
            assert!(call > 3, "it calls the disk {call} times only");
            return;
        }
    }
    panic!("it does not come to its end");
}

/// All entries of a stream.
fn entries(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    wal.iter(stream, 0).unwrap().map(|entry| entry.unwrap()).collect()
}

/// Appends one entry to each of these streams, all or none.
fn append_together(wal: &Wal, of: &[(&str, &[u8])]) -> ironwal::Result<BTreeMap<String, u64>> {
    let mut batch = wal.batch();
    for (stream, entry) in of {
        batch.append(stream, *entry);
    }
    let ids = batch.commit()?;
    Ok(ids.into_iter().map(|(stream, ids)| (stream, ids.start)).collect())
}
