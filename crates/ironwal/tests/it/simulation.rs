//! One run of the simulation: processes that live, fail, die and come back, on one disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, Failure, SimConfig};
use ironwal::{
    CompressionType, CorruptionPolicy, Error, Journal, ReadStrategy, SyncMode, Wal, WalOptions,
    WriteStrategy,
};

use crate::hooked::Hooked;
use crate::journal_view::Ways;
use crate::model::{After, Model, Processes, Setup, open_with_setup};
use crate::onlookers::Onlookers;
use crate::seeds::{Choices, MODES, Run, STEPS_OF_A_LIFE, Steps};

pub(crate) const ROOT: &str = "/data/log";
const ARCHIVE: &str = "/data/archive";

pub(crate) const STREAMS: [&str; 3] = ["a", "b/c", "ledger"];

/// The directories of the streams.
const DIRS: [&str; 3] = ["a", "b%2Fc", "ledger"];

/// One run: random operations on a disk that crashes and fails.
pub(crate) struct Simulation {
    /// Of the process that lives now.
    pub(crate) mode: SyncMode,
    pub(crate) steps: Steps,
    lives: u32,
    /// Where the choices of the step come from that is being done.
    pub(crate) rng: Choices,
    pub(crate) disk: SimDisk,
    pub(crate) options: WalOptions,
    /// What is chosen of the environment.
    pub(crate) setup: Setup,
    pub(crate) model: Model,
    /// Whoever follows and reads besides, in this life.
    pub(crate) onlookers: Onlookers,
    processes: Processes,
    /// What the journal was used for, if somebody asked.
    pub(crate) ways: Option<Ways>,
    /// Milliseconds.
    pub(crate) clock: Arc<AtomicU64>,
    /// The worst that happened since the model was last compared with what was recovered.
    after: After,
    /// Whether calls may have failed when the log was opened.
    pub(crate) opened_in_trouble: bool,
    /// Whether calls may fail now.
    pub(crate) faulty: bool,
    /// Whether the disk is full, and nothing else is wrong.
    pub(crate) only_full: bool,
    /// Whether faults come only from outside.
    planned: bool,
    /// Whether syncs do nothing and say `Ok`: to see that this is found out.
    pub(crate) disk_lies: bool,
    verbose: bool,
}

/// How the disk behaves, from a seed.
pub(crate) fn disk(rng: &mut Choices, run: &Run) -> SimDisk {
    let chance = |rng: &mut Choices| if rng.bool() { 0.0 } else { rng.f64() * 0.5 };
    SimDisk::with_config(SimConfig {
        seed: rng.u64(..),
        capacity: None,
        write_back: chance(rng),
        short_writes: chance(rng),
        short_reads: chance(rng),
        eviction: [0.0, 0.5, 1.0][rng.usize(..3)],
        dir_sync_failure_loses: rng.bool(),
        trace: run.verbose,
    })
}

/// The mode of another process, from a seed.
pub(crate) fn another_mode(rng: &mut Choices) -> SyncMode {
    match MODES[rng.usize(..MODES.len())] {
        SyncMode::Interval(_) => {
            SyncMode::Interval(Duration::from_millis([1, 50, 700, 20_000][rng.usize(..4)]))
        }
        mode => mode,
    }
}

/// Options of every kind, from a seed.
pub(crate) fn options(rng: &mut Choices, mode: SyncMode) -> WalOptions {
    WalOptions {
        max_segment_size: [0, 100, 400, 3000, 20_000, 1 << 26][rng.usize(..6)],
        max_entries_per_segment: [0, 1, 3, 20, u64::MAX][rng.usize(..5)],
        max_open_segments: rng.usize(1..5),
        max_open_read_segments: rng.usize(1..4),
        write_buffer_size: [0, 100, 5000, 1 << 16][rng.usize(..4)],
        read_buffer_size: [0, 5000, 1 << 17][rng.usize(..3)],
        block_cache_size: [None, Some(1), Some(3000), Some(1 << 20)][rng.usize(..4)],
        sync_mode: mode,
        compression: [CompressionType::None, CompressionType::Lz4][rng.usize(..2)],
        min_compression_size: [0, 100, 1024][rng.usize(..3)],
        read_strategy: [ReadStrategy::StandardIo, ReadStrategy::Mmap][rng.usize(..2)],
        on_corruption: [CorruptionPolicy::Error, CorruptionPolicy::Truncate][rng.usize(..2)],
        archive_path: rng.bool().then(|| ARCHIVE.into()),
        ..WalOptions::new(ROOT)
    }
}

/// An environment, from a seed. The journal is small, so that it becomes full.
pub(crate) fn setup(rng: &mut Choices) -> Setup {
    let sizes = [64 * 1024, 64 * 1024, 100_000, 128 * 1024, 256 * 1024];
    Setup {
        journal: [Journal::Auto, Journal::Auto, Journal::On, Journal::Off][rng.usize(..4)],
        journal_len_max: sizes[rng.usize(..5)],
        write_strategy: [WriteStrategy::Auto, WriteStrategy::StandardIo][rng.usize(..2)],
        sync_ms: [0, 0, 2, 900][rng.usize(..4)],
    }
}

/// What a disk is going to do.
pub(crate) enum Trouble {
    /// A sync may fail.
    SyncFails,
    /// What needs space fails.
    NoSpace,
    /// Another call fails, or the power goes.
    Other,
}

/// How calls fail: as the operating system says it (by Linux's numbers of `EINTR`, `EIO`, `EMFILE`,
/// `ENOSPC` and `EDQUOT`), or by doing the first bytes only.
pub(crate) const FAILURES: [Failure; 6] = [
    Failure::Errno(4),
    Failure::Errno(5),
    Failure::Errno(24),
    Failure::Errno(28),
    Failure::Errno(122),
    Failure::Short,
];

/// Judges an error: there must be a reason for it, and whoever reads it must learn where it was.
pub(crate) fn may_fail(has_reason: bool, what: &str, error: &Error) {
    assert!(has_reason, "{what} failed without a fault: {error}");
    if matches!(error, Error::Io(_) | Error::StorageFull { .. } | Error::Poisoned { .. }) {
        assert!(error.to_string().contains(" /"), "{what}: no path in {error:?}");
    }
}

/// From now on one call of a kind fails, or any one, or those that need space; or the power goes.
pub(crate) fn cause_trouble(rng: &mut Choices, disk: &SimDisk) -> Trouble {
    let n = rng.u64(1..60);
    let (kind, n) = match rng.u8(..5) {
        0 | 1 => {
            disk.cut_power_at(n);
            return Trouble::Other;
        }
        2 => {
            let kinds = [CallKind::Write, CallKind::Sync, CallKind::SyncDir];
            let kinds = if rng.bool() { &kinds[..] } else { &CallKind::ALL[..] };
            (Some(kinds[rng.usize(..kinds.len())]), n % 12 + 1)
        }
        3 => {
            let capacity = disk.used_bytes() + rng.u64(..4) * 4096;
            disk.configure(|config| config.capacity = Some(capacity));
            return Trouble::NoSpace;
        }
        _ => (None, n),
    };
    disk.fail_nth(kind, n, FAILURES[rng.usize(..FAILURES.len())]);
    if kind.is_none_or(|kind| kind == CallKind::Sync) { Trouble::SyncFails } else { Trouble::Other }
}

impl Simulation {
    pub(crate) fn new(run: &Run) -> Self {
        let mut rng = run.steps.choices(u32::MAX);
        let disk = disk(&mut rng, run);
        let options = options(&mut rng, run.mode);
        let setup = setup(&mut rng);
        let mut model = Model::default();
        for name in STREAMS {
            model.stream(name);
        }
        Self {
            mode: run.mode,
            steps: run.steps.clone(),
            lives: run.steps.lives(&mut rng),
            rng,
            disk,
            options,
            setup,
            model,
            onlookers: Onlookers::default(),
            processes: Processes::default(),
            ways: None,
            clock: Arc::default(),
            after: After::Close,
            opened_in_trouble: false,
            faulty: false,
            only_full: false,
            planned: false,
            disk_lies: false,
            verbose: run.verbose,
        }
    }

    /// Whether a step is done; if so, it begins.
    pub(crate) fn takes(&mut self, step: u32) -> bool {
        let Some(choices) = self.steps.begin(step, &self.disk) else { return false };
        self.rng = choices;
        self.say(|| format!("step {step}"));
        true
    }

    /// Returns what the journal was used for, if somebody asked.
    pub(crate) fn run(mut self) -> Ways {
        for life in 0..self.lives {
            let first = life * STEPS_OF_A_LIFE;
            if !self.takes(first) {
                continue;
            }
            let wal = self.open_somehow();
            self.live(&wal, first);
            self.rng = self.steps.choices(first + STEPS_OF_A_LIFE - 1);
            self.die(&wal);
        }
        self.rng = self.steps.choices(self.lives * STEPS_OF_A_LIFE);
        self.calm();
        self.planned = true;
        let wal = self.open_somehow();
        self.check_leftovers(&wal);
        for name in STREAMS {
            self.restore(&wal, name);
            let expected = self.model.stream(name).entries.len() as u64;
            assert_eq!(wal.append(name, b"the last").unwrap(), expected);
            self.model.stream(name).committed(&[b"the last".to_vec()], false);
        }
        self.model.check_reads(&wal);
        drop(wal);
        self.processes.check_gone();
        self.ways.unwrap_or_default()
    }

    /// One life with one fault, planned, and what is left of it.
    pub(crate) fn run_with_fault(mut self, kind: CallKind, n: u64, failure: Failure, crash: bool) {
        self.planned = true;
        self.disk.fail_nth(kind, n, failure);
        if matches!(kind, CallKind::Sync | CallKind::SyncDir) {
            self.after = After::PowerLoss;
        }
        self.faulty = true;
        let wal = match self.open_on(self.process()) {
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
        self.live(&wal, 0);
        self.onlookers.leave();
        if !crash {
            let _ = wal.close();
        }
        self.end_process(crash);
        drop(wal);
        let wal = self.open_somehow();
        self.model.check_reads(&wal);
        // What the fault left behind must not take the next life's appends with it.
        for name in STREAMS {
            self.append(&wal, name, true);
        }
        self.end_process(true);
        drop(wal);
        let wal = self.open_somehow();
        self.model.check_reads(&wal);
        for name in STREAMS {
            self.restore(&wal, name);
        }
        self.model.check_reads(&wal);
        drop(wal);
        self.processes.check_gone();
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    /// No call fails any more.
    fn calm(&mut self) {
        self.disk.clear_faults();
        self.disk.configure(|config| config.capacity = None);
        (self.faulty, self.only_full) = (false, false);
    }

    /// Calls may fail from now on: one of a kind, any one, or all from the n-th on, or those that
    /// need space.
    pub(crate) fn trouble(&mut self) {
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
    fn open_somehow(&mut self) -> Wal {
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
            self.watch(Ways::before_opening);
            let (opened, evicted) = self.open_while_evicting();
            self.watch(Ways::after_opening);
            match opened {
                Ok(wal) => {
                    if self.disk.power_is_off() {
                        self.disk.crash();
                        self.after = After::PowerLoss;
                        continue;
                    }
                    self.opened_in_trouble = self.faulty;
                    self.calm();
                    let after = self.after;
                    self.say(|| format!("opened; the worst before was {after:?}"));
                    self.model.recovered(&wal, after);
                    self.after = After::Close;
                    return wal;
                }
                Err(error) => {
                    self.say(|| format!("opening failed: {error}"));
                    may_fail(self.faulty || evicted, "opening", &error);
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
        let disk = self.process().after_read(move || {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 == at {
                cache.evict();
            }
        });
        let opened = self.open_on(disk);
        // Later it would take entries with it that were acknowledged and not synced.
        (opened, reads.swap(u64::MAX / 2, Ordering::Relaxed) >= at)
    }

    /// The disk as a process sees it that starts now.
    fn process(&self) -> Hooked {
        let process = self.setup.slow_down(Hooked::new(&self.disk), &self.clock);
        if self.disk_lies { process.with_syncs_that_lie() } else { process }
    }

    fn open_on(&self, disk: Hooked) -> ironwal::Result<Wal> {
        let clock = Arc::clone(&self.clock);
        let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
        open_with_setup(self.processes.begin(disk), &self.options, self.setup, now)
    }

    /// Looks at what became of the journal, if somebody asked.
    pub(crate) fn watch(&mut self, look: impl FnOnce(&mut Ways, &SimDisk)) {
        if let Some(ways) = &mut self.ways {
            look(ways, &self.disk);
        }
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

    /// The end of a life: closed, killed or without power, after which it is opened again.
    fn die(&mut self, wal: &Wal) {
        self.onlookers.leave();
        if self.rng.u8(..4) == 0 {
            self.trouble();
        }
        let close = self.rng.u8(..3) == 0;
        if close {
            let result = wal.close();
            self.say(|| format!("close: {result:?}"));
            match result {
                Ok(()) => self.model.streams.values_mut().for_each(|stream| stream.synced()),
                Err(error) => may_fail(self.faulty, "closing", &error),
            }
        }
        let crash = self.disk.power_is_off() || self.rng.bool();
        if crash || !close || self.rng.bool() {
            self.end_process(crash);
        }
    }

    /// The first id of the oldest segment file of a stream: what is below is in no file.
    pub(crate) fn oldest_file(&self, name: &str) -> u64 {
        let nth = STREAMS.iter().position(|stream| *stream == name).unwrap();
        let dir = std::path::Path::new(ROOT).join(DIRS[nth]);
        let files = self.disk.files();
        let ids = files.iter().filter(|path| path.parent() == Some(&dir)).filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_suffix(".wal")?;
            id.parse().ok()
        });
        ids.min().unwrap_or(0)
    }

    /// Opening has finished what was interrupted: no file is there that nothing refers to.
    fn check_leftovers(&self, wal: &Wal) {
        let mut segments = 0;
        for path in self.disk.files().iter().filter(|path| path.starts_with(ROOT)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let dir = path.parent().unwrap();
            let is_segment = name.len() == 24 && name.ends_with(".wal");
            // A first segment that was never finished; the next append removes it.
            if name == ".next.tmp"
                && !self.disk.files().iter().any(|it| *it != *path && it.starts_with(dir))
            {
                continue;
            }
            let in_stream = DIRS.iter().any(|stream| dir.ends_with(stream));
            assert!(
                (is_segment && in_stream)
                    || name.starts_with(".ironwal")
                    || [".journal.0", ".journal.1"].contains(&name),
                "{} was left behind",
                path.display()
            );
            segments += usize::from(is_segment);
        }
        assert_eq!(segments, wal.stats().segments, "segment files that no stream knows of");
    }
}
