//! The contract of checkpoints under simulated crashes and faults, from seeds; what
//! `contract.rs` is for streams, and with the same variables. What is done is in `operations.rs`, and
//! what must hold in `model.rs`, here and one level up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::Failure;
use ironwal::{CompressionType, Error, SyncMode, WalOptions};

use super::model::Checkpoints;
use crate::model::{After, Model, Processes, Setup, open_with_setup};
use crate::seeds::{
    self, Choices, INTERVAL, Run, STEPS_OF_A_LIFE, Steps, assert_repeatable, fails, number,
    run_seeds,
};
use crate::simulation::{
    FAILURES, ROOT, Trouble, another_mode, cause_trouble, disk, may_fail, options, setup,
};

/// How many seeds are tried per mode if nothing is said.
const SEEDS: u64 = 250;

/// A stream that is no shard, in the same log.
pub(super) const OTHER: &str = "other";

/// The keys of the entries.
pub(super) const KEYS: u8 = 12;

/// One run: random operations on a disk that crashes and fails.
pub(crate) struct Simulation {
    /// Of the process that lives now.
    pub(super) mode: SyncMode,
    pub(super) steps: Steps,
    lives: u32,
    /// Where the choices of the step come from that is being done.
    pub(super) rng: Choices,
    pub(super) disk: SimDisk,
    options: WalOptions,
    /// What is chosen of the environment.
    pub(super) setup: Setup,
    pub(super) shard_count: u16,
    /// The streams.
    pub(super) model: Model,
    pub(super) checkpoints: Checkpoints,
    /// Whether the number of shards was recorded.
    is_sharded: bool,
    /// Milliseconds.
    pub(super) clock: Arc<AtomicU64>,
    /// The worst that happened since the model was last compared with what was recovered.
    after: After,
    /// Whether calls may have failed when the log was opened: what an interrupted compaction left may not
    /// be gone then, and the log of checkpoints take nothing more.
    opened_in_trouble: bool,
    /// Whether calls may fail now.
    pub(super) faulty: bool,
    /// Whether the disk is full, and nothing else is wrong.
    pub(super) only_full: bool,
    /// Whether faults come only from outside.
    planned: bool,
    processes: Processes,
    verbose: bool,
}

/// A fault that is planned.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Fails(Failure),
    PowerLoss,
}

impl Simulation {
    pub(crate) fn new(run: &Run) -> Self {
        let mut rng = run.steps.choices(u32::MAX);
        let disk = disk(&mut rng, run);
        let options = options(&mut rng, run.mode);
        let setup = setup(&mut rng);
        // Records of a checkpoint larger than a block, and than what a batch of copies may be.
        let shard_count = match rng.u8(..16) {
            0 => 600,
            1 => 5000,
            few => u16::from(few % 5) + 1,
        };
        Self {
            mode: run.mode,
            steps: run.steps.clone(),
            lives: run.steps.lives(&mut rng),
            rng,
            disk,
            options,
            setup,
            shard_count,
            model: Model::default(),
            checkpoints: Checkpoints::default(),
            is_sharded: false,
            clock: Arc::new(AtomicU64::new(1_000_000)),
            after: After::Close,
            opened_in_trouble: false,
            faulty: false,
            only_full: false,
            planned: false,
            processes: Processes::default(),
            verbose: run.verbose,
        }
    }

    pub(crate) fn run(mut self) {
        for life in 0..self.lives {
            let first = life * STEPS_OF_A_LIFE;
            if !self.takes(first) {
                continue;
            }
            let wal = self.open_somehow();
            self.live(&wal, first);
            self.rng = self.steps.choices(first + STEPS_OF_A_LIFE - 1);
            self.die(wal);
        }
        self.rng = self.steps.choices(self.lives * STEPS_OF_A_LIFE);
        self.calm();
        self.planned = true;
        let wal = self.open_somehow();
        self.go_on(&wal);
        self.check_leftovers(&wal);
        self.end_process(true);
        drop(wal);
        let wal = self.open_somehow();
        self.check(&wal);
        drop(wal);
        self.processes.check_gone();
    }

    /// Whether a step is done; if so, it begins.
    pub(super) fn takes(&mut self, step: u32) -> bool {
        let Some(choices) = self.steps.begin(step, &self.disk) else { return false };
        self.rng = choices;
        self.say(|| format!("step {step}"));
        true
    }

    /// A small life in which a call fails, and what is left of it.
    fn run_with_fault(mut self, nth: u64, fault: Option<Fault>, crash: bool) {
        self.planned = true;
        self.options.compression = CompressionType::None;
        (self.shard_count, self.faulty) = (3, fault.is_some());
        match fault {
            Some(Fault::Fails(failure)) => {
                self.disk.fail_nth(None, nth, failure);
                // It may be a sync.
                self.after = After::PowerLoss;
            }
            Some(Fault::PowerLoss) => self.disk.cut_power_at(nth),
            None => {}
        }
        match self.open() {
            Ok(wal) => {
                self.is_sharded |= !self.disk.power_is_off();
                self.workload(&wal);
                if !crash {
                    let _ = wal.close();
                }
            }
            Err(error) => self.judge_opening(&error),
        }
        if fault.is_none() {
            return;
        }
        let power_is_off = self.disk.power_is_off();
        self.end_process(crash || power_is_off);
        self.calm();
        // What the fault left behind must not take the next life's checkpoints with it.
        for _ in 0..2 {
            let wal = self.open_somehow();
            self.check(&wal);
            self.go_on(&wal);
            self.end_process(true);
        }
        let wal = self.open_somehow();
        self.check(&wal);
        drop(wal);
        self.processes.check_gone();
    }

    /// Everything works: an entry in every shard that has a key, and a checkpoint.
    fn go_on(&mut self, wal: &ShardedWal) {
        for key in 0..KEYS {
            self.append(wal, key);
        }
        self.create(wal, b"the last".to_vec());
        self.check(wal);
        self.compact(wal, 3);
        self.check(wal);
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    /// What is known is there, and nothing else.
    pub(super) fn check(&self, wal: &ShardedWal) {
        self.model.check_reads(wal.inner());
        self.checkpoints.check(wal);
    }

    /// No call fails any more.
    pub(super) fn calm(&mut self) {
        self.disk.clear_faults();
        self.disk.configure(|config| config.capacity = None);
        (self.faulty, self.only_full) = (false, false);
    }

    /// Calls may fail from now on: one of a kind, any one, or all from the n-th on, or those that
    /// need space.
    pub(super) fn trouble(&mut self) {
        if self.planned {
            return;
        }
        self.only_full = false;
        match cause_trouble(&mut self.rng, &self.disk) {
            // What a failed sync drops from the cache is gone for a killed process too.
            Trouble::SyncFails => self.after = After::PowerLoss,
            Trouble::NoSpace => self.only_full = !self.faulty,
            Trouble::Other => {}
        }
        self.faulty = true;
    }

    /// Opens, through crashes and faults in the middle of recovery, and judges what was recovered.
    fn open_somehow(&mut self) -> ShardedWal {
        if self.rng.u8(..4) == 0 {
            let archive_path = self.options.archive_path.clone();
            if self.rng.bool() {
                self.mode = another_mode(&mut self.rng);
            }
            self.options = WalOptions { archive_path, ..options(&mut self.rng, self.mode) };
        }
        self.setup = setup(&mut self.rng);
        for attempt in 0.. {
            if attempt > 4 {
                self.calm();
            } else if self.rng.u8(..4) == 0 {
                self.trouble();
            }
            match self.open() {
                Ok(_) if self.disk.power_is_off() => self.end_process(true),
                Ok(wal) => {
                    self.opened_in_trouble = self.faulty;
                    self.calm();
                    self.is_sharded = true;
                    self.recovered(&wal);
                    return wal;
                }
                Err(error) => {
                    self.judge_opening(&error);
                    let crash = self.disk.power_is_off() || self.rng.u8(..4) == 0;
                    self.end_process(crash);
                }
            }
        }
        unreachable!()
    }

    fn open(&mut self) -> ironwal::Result<ShardedWal> {
        let clock = Arc::clone(&self.clock);
        let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
        // Syncs take no time here: the model knows the time of each checkpoint.
        let storage = self.processes.begin(self.disk.process());
        let wal = open_with_setup(storage, &self.options, self.setup, now)?;
        if self.is_sharded {
            assert_eq!(wal.shard_count(), Some(self.shard_count), "the number of shards is lost");
            let other = ShardedWal::over(wal.clone(), self.shard_count + 1).map(drop).unwrap_err();
            assert!(matches!(other, Error::ShardCountMismatch { .. }), "{other}");
        }
        ShardedWal::over(wal, self.shard_count)
    }

    /// Judges an error of something that writes to the log of checkpoints.
    pub(super) fn checkpoints_may_fail(&self, what: &str, error: &Error) {
        may_fail(self.faulty || self.opened_in_trouble, what, error);
    }

    fn judge_opening(&self, error: &Error) {
        self.say(|| format!("opening failed: {error}"));
        may_fail(self.faulty, "opening", error);
        assert!(matches!(error, Error::Io(_) | Error::StorageFull { .. }), "opening: {error}");
    }

    /// Judges what was recovered.
    fn recovered(&mut self, wal: &ShardedWal) {
        let after = self.after;
        self.say(|| format!("opened; the worst before was {after:?}"));
        for name in self.names(wal) {
            self.model.stream(&name);
        }
        self.model.recovered(wal.inner(), after);
        self.checkpoints.recovered(wal);
        for checkpoint in &self.checkpoints.known {
            for (shard, offset) in (0..).zip(&checkpoint.data.offsets) {
                let end = self.end(shard);
                assert!(*offset <= end, "{checkpoint:?}: shard {shard} ends at {end}");
            }
        }
        self.after = After::Close;
    }

    /// The streams that are written to.
    pub(super) fn names(&self, wal: &ShardedWal) -> BTreeSet<String> {
        (0..KEYS).map(|key| shard_name(wal.route(&[key]))).chain([OTHER.to_string()]).collect()
    }

    /// Where a shard ends.
    pub(super) fn end(&self, shard: u16) -> u64 {
        self.model.streams.get(&shard_name(shard)).map_or(0, |stream| stream.end() as u64)
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

    /// The end of a life: closed, let go of, killed or without power, after which it is opened again.
    fn die(&mut self, wal: ShardedWal) {
        if self.rng.u8(..4) == 0 {
            self.trouble();
        }
        let is_over = match self.rng.u8(..3) {
            0 => {
                let result = wal.close();
                self.say(|| format!("close: {result:?}"));
                match result {
                    Ok(()) => self.model.streams.values_mut().for_each(|stream| stream.synced()),
                    Err(error) => self.checkpoints_may_fail("closing", &error),
                }
                true
            }
            1 => {
                drop(wal);
                if !self.faulty {
                    self.model.streams.values_mut().for_each(|stream| stream.synced());
                }
                true
            }
            _ => false,
        };
        let crash = self.disk.power_is_off() || self.rng.bool();
        if crash || !is_over || self.rng.bool() {
            self.end_process(crash);
        }
    }

    /// Opening and compacting have finished what was interrupted: no file is there that nothing
    /// refers to, and no checkpoint in the archive.
    fn check_leftovers(&self, wal: &ShardedWal) {
        let (mut segments, mut of_checkpoints) = (0, 0);
        for path in self.disk.files() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let dir = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let is_segment = name.len() == 24 && name.ends_with(".wal");
            if !path.starts_with(ROOT) {
                assert_ne!(dir, ".checkpoints");
                continue;
            }
            // A first segment that was never finished; the next append removes it.
            let stream_is_empty =
                self.model.streams.get(dir).is_some_and(|stream| stream.entries.is_empty());
            if name == ".next.tmp" && stream_is_empty {
                continue;
            }
            let is_of_stream = self.model.streams.contains_key(dir);
            let is_of_checkpoints = dir == ".checkpoints";
            let is_ours = is_segment && (is_of_stream || is_of_checkpoints);
            let is_of_log = [".ironwal", ".journal."].iter().any(|prefix| name.starts_with(prefix));
            assert!(is_ours || is_of_log, "{} was left", path.display());
            segments += usize::from(is_segment && is_of_stream);
            of_checkpoints += usize::from(is_segment && is_of_checkpoints);
        }
        assert_eq!(segments, wal.inner().stats().segments, "segments that no stream knows of");
        assert!((1..=2).contains(&of_checkpoints), "{of_checkpoints} segments of checkpoints");
    }
}

pub(super) fn shard_name(shard: u16) -> String {
    format!("shard_{shard:02}")
}

fn run_mode(mode: SyncMode) {
    run_seeds("sharded::simulation", mode, SEEDS, start);
}

fn start(run: &Run) -> (SimDisk, impl FnOnce() + use<>) {
    let simulation = Simulation::new(run);
    (simulation.disk.clone(), move || simulation.run())
}

/// Does these steps of a seed: for tests that a failing seed suggests.
pub(crate) fn replay(mode: SyncMode, seed: u64, steps: &[u32]) {
    seeds::replay(mode, seed, steps, start);
}

#[test]
fn steps_of_a_seed_are_replayed() {
    replay(SyncMode::Strict, 3, &[0, 1, 2, 5, 9, 64, 70, 71]);
}

#[test]
fn checkpoints_survive_in_strict() {
    run_mode(SyncMode::Strict);
}

#[test]
fn checkpoints_survive_in_batch_only() {
    run_mode(SyncMode::BatchOnly);
}

#[test]
fn checkpoints_survive_in_async() {
    run_mode(SyncMode::Async);
}

#[test]
fn checkpoints_survive_in_interval() {
    run_mode(INTERVAL);
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    assert_repeatable(start);
}

/// Every call of a small workload fails in turn, in a way of its own, or is the one at which the power
/// goes; or, if `IRONWAL_SWEEPS` says for how many workloads, fails in every way.
#[test]
fn every_call_may_fail() {
    let sweeps = number("IRONWAL_SWEEPS");
    for mode in [SyncMode::Strict, SyncMode::Async] {
        for seed in 0..sweeps.unwrap_or(1) {
            let run = Run::new(mode, seed);
            let calm = Simulation::new(&run);
            let disk = calm.disk.clone();
            calm.run_with_fault(0, None, false);
            for nth in 1..=disk.calls_total() {
                let one_way = FAILURES[nth as usize % FAILURES.len()];
                let ways = if sweeps.is_some() { &FAILURES[..] } else { &[one_way] };
                let fails = ways.iter().map(|failure| Fault::Fails(*failure));
                for fault in fails.chain([Fault::PowerLoss]) {
                    fail_once(&run, nth, fault);
                }
            }
        }
    }
}

fn fail_once(run: &Run, nth: u64, fault: Fault) {
    for crash in [false, true] {
        let simulation = Simulation::new(run);
        if let Some(broken) = fails(|| simulation.run_with_fault(nth, Some(fault), crash)) {
            let Run { mode, seed, .. } = run;
            panic!("{mode:?}, seed {seed}: call {nth}, {fault:?}, crash {crash}: {broken}");
        }
    }
}
