//! The whole library, over loom: it is built with `--cfg loom` then, which `scripts/loom` sets.
//!
//! A model says what a few threads do on a log whose disk is simulated. In each order of their steps,
//! whoever was told something writes down what that [promises](Log::promise), with the disk as it is at that
//! moment; when all have ended, the power goes at each of these moments, and the promise must hold of the
//! log that is opened then. The disk is no part of loom, so each sync is made a step of its own.

mod cut;
#[path = "../../it/hooked.rs"]
#[allow(dead_code)]
mod hooked;
mod journal;
#[cfg(feature = "sharded")]
mod sharded;
mod truncate;
mod waiting;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hooked::Hooked;
use ironwal::storage::SimDisk;
use ironwal::{Environment, Journal, Maintenance, SyncMode, Wal, WalOptions};
use loom::sync::atomic::Ordering::SeqCst;

/// Loom gives its threads 32 KiB, which is too little to open a log.
const STACK_LEN: usize = 1 << 20;

/// Most steps are those of opening, in which nothing is tried.
const STEPS_MAX: usize = 100_000;

/// How many states that a power cut may leave are tried at each moment.
const CRASHES: u64 = 2;

/// What a few threads do on a log.
#[derive(Clone, Copy)]
struct Model {
    /// How many preemptions are tried at most: moments at which a thread that could go on does not.
    preemptions_max: usize,
    sync_mode: SyncMode,
    journal: Journal,
    maintenance: Maintenance,
    /// Done before the threads begin.
    prepare: fn(&Log),
    threads: &'static [fn(&Log)],
    /// What must hold of the log when they have ended.
    judge: fn(&Log),
}

/// Everything goes through the journal.
const JOURNALED: Model = Model {
    preemptions_max: 2,
    sync_mode: SyncMode::Strict,
    journal: Journal::On,
    maintenance: Maintenance::Inline,
    prepare: begin_both,
    threads: &[],
    judge: |_| {},
};

/// Both streams have an entry each, so that nobody has to make a file for them.
fn begin_both(log: &Log) {
    log.wal.append("s", b"zero").unwrap();
    log.wal.append("t", b"zero").unwrap();
}

/// What a promise comes to in the log as it is after a power cut.
type Check = Box<dyn Fn(&Wal) + Send>;

/// What the threads of a model share.
struct Log {
    wal: Wal,
    disk: SimDisk,
    /// Counts the syncs and promises, for loom to know that their order matters.
    steps: Arc<loom::sync::atomic::AtomicUsize>,
    promises: Mutex<Vec<(SimDisk, Check)>>,
}

impl Log {
    /// From this moment on, `check` holds of every log that is opened after a power cut.
    fn promise(&self, check: impl Fn(&Wal) + Send + 'static) {
        self.steps.fetch_add(1, SeqCst);
        let disk = self.disk.snapshot();
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        promises.push((disk, Box::new(check)));
    }

    /// Appends an entry, which can be read from then on, and is there from then on.
    fn append(&self, stream: &'static str, entry: &'static [u8]) -> u64 {
        let id = self.wal.append(stream, entry).unwrap();
        assert_eq!(get(&self.wal, stream, id), Some(entry.to_vec()));
        self.promise(move |wal| assert_eq!(get(wal, stream, id), Some(entry.to_vec())));
        id
    }
}

fn get(wal: &Wal, stream: &str, id: u64) -> Option<Vec<u8>> {
    wal.get(stream, id).unwrap()
}

/// All entries of a stream.
fn entries(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    wal.iter(stream, 0).unwrap().map(Result::unwrap).collect()
}

impl Model {
    /// Tries the orders of its threads' steps, and tells how many there were.
    #[allow(clippy::print_stderr)]
    fn check(self) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(self.preemptions_max);
        builder.max_branches = STEPS_MAX;
        builder.expect_explicit_explore = true;
        let (tried, start) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let count = Arc::clone(&tried);
        builder.check(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            thread(move || self.run()).join().unwrap();
        });
        let name = std::thread::current().name().unwrap_or_default().to_string();
        eprintln!("{name}: {} orders in {:.1?}", tried.load(SeqCst), start.elapsed());
    }

    fn run(self) {
        let disk = SimDisk::new(1);
        let steps = Arc::default();
        let wal = self.open(&disk, &steps);
        let log = Arc::new(Log { wal, disk, steps, promises: Mutex::default() });
        (self.prepare)(&log);
        loom::explore();
        // None of them is this thread: which of them begins would count as a preemption.
        let threads: Vec<_> = self
            .threads
            .iter()
            .map(|work| {
                let log = Arc::clone(&log);
                thread(move || work(&log))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        loom::stop_exploring();
        (self.judge)(&log);
        let promises = std::mem::take(&mut *log.promises.lock().unwrap());
        for (disk, check) in promises {
            for seed in 0..CRASHES {
                let disk = disk.snapshot();
                disk.reseed(seed);
                disk.crash();
                check(&self.open(&disk, &log.steps));
            }
        }
    }

    fn open(self, disk: &SimDisk, steps: &Arc<loom::sync::atomic::AtomicUsize>) -> Wal {
        let steps = Arc::clone(steps);
        let step = move || {
            steps.fetch_add(1, SeqCst);
        };
        let environment = Environment::default()
            .with_storage(Arc::new(Hooked::new(disk).before_sync(step)))
            .with_entropy(|| 7)
            .with_clock(|| Duration::ZERO)
            .with_maintenance(self.maintenance)
            .with_journal(self.journal)
            .with_journal_size(0);
        let options = WalOptions { sync_mode: self.sync_mode, ..WalOptions::new("/log") };
        Wal::open_with(options, environment).unwrap()
    }
}

fn thread(work: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::Builder::new().stack_size(STACK_LEN).spawn(work).unwrap()
}
