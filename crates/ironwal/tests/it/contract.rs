//! The durability contract under simulated crashes and faults, from seeds.
//!
//! `IRONWAL_SEED=n` replays one seed, `IRONWAL_SEEDS=n` sets how many are tried per mode.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{CompressionType, CorruptionPolicy, Error, ReadStrategy, SyncMode, Wal, WalOptions};

use crate::hooked::Hooked;
use crate::model::{After, Model, open, open_on};

const ROOT: &str = "/data/log";
const STREAMS: [&str; 3] = ["a", "b/c", "ledger"];

/// How many seeds are tried per mode if nothing is said.
const SEEDS: u64 = 400;

#[test]
fn strict_appends_survive() {
    run_seeds(SyncMode::Strict);
}

#[test]
fn batches_survive() {
    run_seeds(SyncMode::BatchOnly);
}

#[test]
fn async_appends_survive_kills() {
    run_seeds(SyncMode::Async);
}

fn run_seeds(mode: SyncMode) {
    if let Some(seed) = number("IRONWAL_SEED") {
        let simulation = Simulation::new(mode, seed, true);
        let disk = simulation.disk.clone();
        let run = catch_unwind(AssertUnwindSafe(|| simulation.run()));
        if let Err(panic) = run {
            eprintln!("{}", disk.trace().join("\n"));
            std::panic::resume_unwind(panic);
        }
        return;
    }
    for seed in 0..number("IRONWAL_SEEDS").unwrap_or(SEEDS) {
        let run = || Simulation::new(mode, seed, false).run();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("{mode:?}: seed {seed} failed; replay it with IRONWAL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[cfg(feature = "compression")]
fn lz4_or_none(rng: &mut Rng) -> CompressionType {
    if rng.bool() { CompressionType::Lz4 } else { CompressionType::None }
}

#[cfg(not(feature = "compression"))]
fn lz4_or_none(_rng: &mut Rng) -> CompressionType {
    CompressionType::None
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// One run: random operations on a disk that crashes and fails.
struct Simulation {
    mode: SyncMode,
    rng: Rng,
    disk: SimDisk,
    options: WalOptions,
    model: Model,
    /// The worst that happened since the model was last compared with what was recovered.
    after: After,
    /// Whether calls may fail now.
    faulty: bool,
    /// Whether faults come only from outside.
    planned: bool,
    verbose: bool,
}

impl Simulation {
    fn new(mode: SyncMode, seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let chance = |rng: &mut Rng| if rng.bool() { 0.0 } else { rng.f64() * 0.5 };
        let disk = SimDisk::with_config(SimConfig {
            seed: rng.u64(..),
            write_back: chance(&mut rng),
            short_writes: chance(&mut rng),
            short_reads: chance(&mut rng),
            trace: verbose,
            ..SimConfig::default()
        });
        let options = WalOptions {
            max_segment_size: [0, 100, 400, 3000, 20_000, 1 << 26][rng.usize(..6)],
            max_entries_per_segment: [0, 1, 3, 20, u64::MAX][rng.usize(..5)],
            read_buffer_size: [0, 5000, 1 << 17][rng.usize(..3)],
            max_open_read_segments: [1, 128][rng.usize(..2)],
            block_cache_size: [None, Some(5000)][rng.usize(..2)],
            read_strategy: [ReadStrategy::StandardIo, ReadStrategy::Mmap][rng.usize(..2)],
            compression: lz4_or_none(&mut rng),
            min_compression_size: [0, 100][rng.usize(..2)],
            sync_mode: mode,
            on_corruption: if rng.bool() {
                CorruptionPolicy::Error
            } else {
                CorruptionPolicy::Truncate
            },
            ..WalOptions::new(ROOT)
        };
        let mut model = Model::default();
        for name in STREAMS {
            model.stream(name);
        }
        let after = After::Close;
        let faulty = false;
        Self { mode, rng, disk, options, model, after, faulty, planned: false, verbose }
    }

    fn run(mut self) {
        for _ in 0..self.rng.usize(1..8) {
            let wal = self.open_somehow();
            self.live(&wal);
            self.die(&wal);
        }
        self.calm();
        let wal = self.open_somehow();
        for name in STREAMS {
            let expected = self.model.stream(name).entries.len() as u64;
            assert_eq!(wal.append(name, b"the last").unwrap(), expected);
        }
    }

    /// One life with one fault, planned, and what is left of it.
    fn run_with_fault(mut self, kind: CallKind, n: u64, error: std::io::ErrorKind, crash: bool) {
        self.planned = true;
        self.disk.fail_nth(kind, n, error);
        if matches!(kind, CallKind::Sync | CallKind::SyncDir) {
            self.after = After::PowerLoss;
        }
        self.faulty = true;
        let wal = match open(&self.disk, &self.options) {
            Ok(wal) => wal,
            Err(error) => {
                assert!(
                    matches!(error, Error::Io(_) | Error::StorageFull { .. }),
                    "opening: {error}"
                );
                self.end_process(crash);
                self.open_somehow()
            }
        };
        self.faulty = true;
        self.live(&wal);
        if !crash {
            let _ = wal.close();
        }
        self.end_process(crash);
        let wal = self.open_somehow();
        self.model.check_reads(&wal);
        // What the fault left behind must not take the next life's appends with it.
        for name in STREAMS {
            self.append(&wal, name, true);
        }
        self.end_process(true);
        let wal = self.open_somehow();
        self.model.check_reads(&wal);
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    /// No call fails any more.
    fn calm(&mut self) {
        self.disk.clear_faults();
        self.faulty = false;
    }

    /// Calls may fail from now on: one of a kind, any one, or all from the n-th on.
    fn trouble(&mut self) {
        if self.planned {
            return;
        }
        let n = self.rng.u64(1..60);
        match self.rng.u8(..3) {
            0 => self.disk.cut_power_at(n),
            1 => {
                let kinds = [CallKind::Write, CallKind::Sync, CallKind::SyncDir];
                let kind = if self.rng.bool() {
                    kinds[self.rng.usize(..kinds.len())]
                } else {
                    CallKind::ALL[self.rng.usize(..CallKind::ALL.len())]
                };
                self.fail(Some(kind), n % 12 + 1);
            }
            _ => self.fail(None, n),
        }
        self.faulty = true;
    }

    fn fail(&mut self, kind: Option<CallKind>, n: u64) {
        let errors = [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull];
        self.disk.fail_nth(kind, n, errors[self.rng.usize(..2)]);
        if kind.is_none_or(|kind| kind == CallKind::Sync) {
            // What a failed sync drops from the cache is gone for a killed process too.
            self.after = After::PowerLoss;
        }
    }

    /// Opens, through crashes and faults in the middle of recovery, and judges what was recovered.
    fn open_somehow(&mut self) -> Wal {
        for attempt in 0.. {
            if attempt > 4 {
                self.calm();
            } else if self.rng.u8(..4) == 0 {
                self.trouble();
            }
            let (opened, evicted) = self.open_while_evicting();
            match opened {
                Ok(wal) => {
                    if self.disk.power_is_off() {
                        self.disk.crash();
                        self.after = After::PowerLoss;
                        continue;
                    }
                    self.calm();
                    let after = self.after;
                    self.say(|| format!("opened; the worst before was {after:?}"));
                    self.model.recovered(&wal, after);
                    self.after = After::Close;
                    return wal;
                }
                Err(error) => {
                    self.say(|| format!("opening failed: {error}"));
                    assert!(self.faulty || evicted, "opening failed without a fault: {error}");
                    assert!(
                        matches!(error, Error::Io(_) | Error::StorageFull { .. }),
                        "opening: {error}"
                    );
                    let crash = self.disk.power_is_off() || self.rng.u8(..4) == 0;
                    self.end_process(crash);
                }
            }
        }
        unreachable!()
    }

    /// Opens; by chance the cache drops, after some read, what failed syncs lost. Returns whether it
    /// did.
    fn open_while_evicting(&mut self) -> (ironwal::Result<Wal>, bool) {
        let at = if self.rng.u8(..3) == 0 { self.rng.u64(1..30) } else { u64::MAX };
        let reads = Arc::new(AtomicU64::new(0));
        let (counted, cache) = (Arc::clone(&reads), self.disk.clone());
        let disk = Hooked::new(&self.disk).after_read(move || {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 == at {
                cache.evict();
            }
        });
        let opened = open_on(Arc::new(disk), &self.options);
        // Later it would take entries with it that were acknowledged and not synced.
        (opened, reads.swap(u64::MAX / 2, Ordering::Relaxed) >= at)
    }

    fn end_process(&mut self, crash: bool) {
        if crash {
            self.say(|| "power loss".into());
            self.disk.crash();
            self.after = After::PowerLoss;
        } else {
            self.say(|| "kill".into());
            self.disk.kill();
            self.after = self.after.max(After::Kill);
        }
    }

    /// A life: random operations, some of which fail.
    fn live(&mut self, wal: &Wal) {
        for _ in 0..self.rng.usize(..30) {
            if self.rng.u8(..40) == 0 {
                self.trouble();
            }
            let name = STREAMS[self.rng.usize(..STREAMS.len())];
            match self.rng.u8(..20) {
                0..10 => self.append(wal, name, false),
                10..15 => self.append(wal, name, true),
                15 => self.sync(wal, Some(name)),
                16 => self.sync(wal, None),
                17 => self.get(wal, name),
                18 if !self.faulty => self.model.check_reads(wal),
                _ => self.note_durable(wal),
            }
        }
        self.note_durable(wal);
    }

    fn append(&mut self, wal: &Wal, name: &str, batch: bool) {
        let count = if batch { self.rng.usize(1..6) } else { 1 };
        let entries: Vec<Vec<u8>> = (0..count).map(|_| self.entry()).collect();
        let start = self.model.stream(name).entries.len() as u64;
        let result = if batch {
            let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            wal.append_batch(name, &slices)
        } else {
            wal.append(name, &entries[0]).map(|id| id..id + 1)
        };
        self.say(|| format!("append {count} to {name}: {result:?}"));
        match result {
            Ok(ids) => {
                assert_eq!(ids, start..start + count as u64, "stream {name}");
                let power_safe = match self.mode {
                    SyncMode::Strict => true,
                    SyncMode::BatchOnly => batch,
                    _ => false,
                };
                self.model.stream(name).committed(&entries, power_safe);
                if power_safe {
                    assert_eq!(wal.stream(name).unwrap().durable_end(), ids.end);
                }
            }
            Err(error) => {
                assert!(self.faulty, "an append failed without a fault: {error}");
                match error {
                    Error::StorageFull { .. } => {}
                    Error::Io(_) | Error::Poisoned { .. } if self.is_poisoned(wal, name) => {
                        self.model.stream(name).failed(&entries);
                    }
                    // Something failed before anything was written.
                    Error::Io(_) => {}
                    other => panic!("appending to {name}: {other}"),
                }
            }
        }
        assert_eq!(
            wal.stream(name).map(|stream| stream.next_id()).unwrap_or_default(),
            self.model.stream(name).entries.len() as u64,
            "stream {name}: what is readable is not what was acknowledged"
        );
    }

    /// Asks by syncing, which an append that was refused without a trace must leave possible.
    fn is_poisoned(&mut self, wal: &Wal, name: &str) -> bool {
        match wal.stream(name).and_then(|stream| stream.sync()) {
            Ok(()) => {
                self.model.stream(name).synced();
                false
            }
            Err(Error::Poisoned { .. }) => true,
            // The question itself met a fault.
            Err(_) => match wal.stream(name).and_then(|stream| stream.sync()) {
                Err(Error::Poisoned { .. }) => true,
                _ => self.disk.power_is_off(),
            },
        }
    }

    fn entry(&mut self) -> Vec<u8> {
        let len = match self.rng.u8(..20) {
            0 => self.rng.usize(..20_000),
            1..5 => self.rng.usize(..1500),
            _ => self.rng.usize(..60),
        };
        let byte = self.rng.u8(..);
        let mut entry = vec![byte; len];
        // Not all alike, so that a torn sector shows.
        for position in (0..len).step_by(7) {
            entry[position] = self.rng.u8(..);
        }
        entry
    }

    fn sync(&mut self, wal: &Wal, name: Option<&str>) {
        let result = match name {
            Some(name) => wal.stream(name).and_then(|stream| stream.sync()),
            None => wal.sync_all(),
        };
        self.say(|| format!("sync {name:?}: {result:?}"));
        match result {
            Ok(()) => {
                for (stream_name, stream) in &mut self.model.streams {
                    if name.is_none_or(|name| name == stream_name) {
                        stream.synced();
                    }
                }
            }
            Err(error) => assert!(self.faulty, "a sync failed without a fault: {error}"),
        }
    }

    fn get(&mut self, wal: &Wal, name: &str) {
        let entries = &self.model.streams[name].entries;
        let id = self.rng.usize(..entries.len() + 2);
        match wal.get(name, id as u64) {
            Ok(found) => assert_eq!(found.as_ref(), entries.get(id), "stream {name}: {id}"),
            Err(error) => assert!(self.faulty, "a read failed without a fault: {error}"),
        }
    }

    /// What the log says is durable must be.
    fn note_durable(&mut self, wal: &Wal) {
        for (name, stream) in &mut self.model.streams {
            let Ok(handle) = wal.stream(name) else { continue };
            let durable = handle.durable_end() as usize;
            assert!(durable <= stream.entries.len());
            assert!(durable >= stream.power_safe, "stream {name}: {durable} is less than before");
            stream.power_safe = durable;
        }
    }

    /// The end of a life: closed, killed or without power, after which it is opened again.
    fn die(&mut self, wal: &Wal) {
        if self.rng.u8(..4) == 0 {
            self.trouble();
        }
        let close = self.rng.u8(..3) == 0;
        if close {
            let result = wal.close();
            self.say(|| format!("close: {result:?}"));
            if result.is_ok() {
                for stream in self.model.streams.values_mut() {
                    stream.synced();
                }
            } else {
                assert!(self.faulty, "closing failed without a fault: {result:?}");
            }
        }
        let crash = self.disk.power_is_off() || self.rng.bool();
        if crash || !close || self.rng.bool() {
            self.end_process(crash);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..5 {
            let trace = || {
                let simulation = Simulation::new(mode, seed, false);
                let disk = simulation.disk.clone();
                disk.configure(|config| config.trace = true);
                simulation.run();
                disk.trace()
            };
            let first = trace();
            assert!(first.len() > 20);
            assert_eq!(first, trace(), "{mode:?} {seed}");
        }
    }
}

/// The n-th call of every kind fails, for every n of a workload, with every death after it.
#[test]
fn every_call_may_fail() {
    for mode in [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async] {
        for seed in 0..number("IRONWAL_SWEEPS").unwrap_or(4) {
            let calm = Simulation::new(mode, seed, false);
            let disk = calm.disk.clone();
            calm.run_with_fault(CallKind::Read, u64::MAX, std::io::ErrorKind::Other, true);
            for kind in CallKind::ALL {
                for n in 1..=disk.calls(kind) {
                    for error in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
                        for crash in [false, true] {
                            let run = || {
                                let simulation = Simulation::new(mode, seed, false);
                                simulation.run_with_fault(kind, n, error, crash);
                            };
                            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                                eprintln!("{mode:?}, seed {seed}: {kind:?} {n}, {error}, {crash}");
                                std::panic::resume_unwind(panic);
                            }
                        }
                    }
                }
            }
        }
    }
}
