//! One run of the simulation: processes that live, fail, die and come back, on one disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::storage::{SimDisk, Storage};
use ironwal::{
    CompressionType, CorruptionPolicy, Error, Journal, ReadStrategy, SyncMode, Wal, WalOptions,
    WriteStrategy,
};

use crate::hooked::Hooked;
use crate::journal_view::Ways;
use crate::model::{After, Model, Setup, open_with_setup};

pub(crate) const ROOT: &str = "/data/log";
const ARCHIVE: &str = "/data/archive";

pub(crate) const STREAMS: [&str; 3] = ["a", "b/c", "ledger"];

/// The directories of the streams.
const DIRS: [&str; 3] = ["a", "b%2Fc", "ledger"];

/// One run: random operations on a disk that crashes and fails.
pub(crate) struct Simulation {
    pub(crate) mode: SyncMode,
    pub(crate) rng: Rng,
    pub(crate) disk: SimDisk,
    pub(crate) options: WalOptions,
    /// What is chosen of the environment.
    pub(crate) setup: Setup,
    pub(crate) model: Model,
    /// What the journal was used for, if somebody asked.
    pub(crate) ways: Option<Ways>,
    /// Milliseconds.
    pub(crate) clock: Arc<AtomicU64>,
    /// The worst that happened since the model was last compared with what was recovered.
    after: After,
    /// Whether calls may fail now.
    pub(crate) faulty: bool,
    /// Whether the disk is full, and nothing else is wrong.
    pub(crate) only_full: bool,
    /// Whether faults come only from outside.
    planned: bool,
    verbose: bool,
}

/// Options of every kind, from a seed.
pub(crate) fn options(rng: &mut Rng, mode: SyncMode) -> WalOptions {
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
pub(crate) fn setup(rng: &mut Rng) -> Setup {
    let sizes = [64 * 1024, 64 * 1024, 100_000, 128 * 1024, 256 * 1024];
    Setup {
        journal: [Journal::Auto, Journal::Auto, Journal::On, Journal::Off][rng.usize(..4)],
        journal_len_max: sizes[rng.usize(..5)],
        write_strategy: [WriteStrategy::Auto, WriteStrategy::StandardIo][rng.usize(..2)],
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

/// From now on one call of a kind fails, or any one, or those that need space; or the power goes.
pub(crate) fn cause_trouble(rng: &mut Rng, disk: &SimDisk) -> Trouble {
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
    let errors = [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull];
    disk.fail_nth(kind, n, errors[rng.usize(..2)]);
    if kind.is_none_or(|kind| kind == CallKind::Sync) { Trouble::SyncFails } else { Trouble::Other }
}

impl Simulation {
    pub(crate) fn new(mode: SyncMode, seed: u64, verbose: bool) -> Self {
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
        let options = options(&mut rng, mode);
        let setup = setup(&mut rng);
        let mut model = Model::default();
        for name in STREAMS {
            model.stream(name);
        }
        Self {
            mode,
            rng,
            disk,
            options,
            setup,
            model,
            ways: None,
            clock: Arc::default(),
            after: After::Close,
            faulty: false,
            only_full: false,
            planned: false,
            verbose,
        }
    }

    /// Returns what the journal was used for, if somebody asked.
    pub(crate) fn run(mut self) -> Ways {
        for _ in 0..self.rng.usize(1..8) {
            let wal = self.open_somehow();
            self.live(&wal);
            self.die(&wal);
        }
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
        self.ways.unwrap_or_default()
    }

    /// One life with one fault, planned, and what is left of it.
    pub(crate) fn run_with_fault(
        mut self,
        kind: CallKind,
        n: u64,
        error: std::io::ErrorKind,
        crash: bool,
    ) {
        self.planned = true;
        self.disk.fail_nth(kind, n, error);
        if matches!(kind, CallKind::Sync | CallKind::SyncDir) {
            self.after = After::PowerLoss;
        }
        self.faulty = true;
        let wal = match self.open_on(Arc::new(self.disk.process())) {
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
        for name in STREAMS {
            self.restore(&wal, name);
        }
        self.model.check_reads(&wal);
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
        let opened = self.open_on(Arc::new(disk));
        // Later it would take entries with it that were acknowledged and not synced.
        (opened, reads.swap(u64::MAX / 2, Ordering::Relaxed) >= at)
    }

    fn open_on(&self, disk: Arc<dyn Storage>) -> ironwal::Result<Wal> {
        let clock = Arc::clone(&self.clock);
        let now = move || Duration::from_millis(clock.load(Ordering::Relaxed));
        open_with_setup(disk, &self.options, self.setup, now)
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
