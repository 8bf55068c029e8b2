//! Batches over several streams, as another process sees them.
//!
//! What is promised (`docs/durability.md`, "Seen as one"): whoever sees a part of a batch finds all of
//! it. `Stream::next_id`, `get` and reading each look at one stream; `Wal::cut` looks at several at one
//! instant, and no batch is cut through by it. The ends of two streams, asked for one after
//! the other, need not agree: batches may come in between. But the stream that is asked *later* must not
//! be behind. That is what a user can rely on, and what is checked here: a batch adds `nth + 1` entries to
//! the stream `nth`, so each end says how many batches are there; it is never half a batch, and a look at
//! another stream, begun after that, finds at least as many.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fastrand::Rng;
use ironwal::storage::{DirEntry, File, Lock, OpenMode, SharedWords, SimDisk, Storage};
use ironwal::{Environment, Journal, Stream, SyncMode, Wal, WalOptions};

const NAMES: [&str; 5] = ["e", "b", "d", "a", "c"];

/// The name of the child's test, and how it knows that it is one.
const CHILD: &str = "seen_together::child";
const CHILD_DIR: &str = "IRONWAL_TOGETHER_DIR";
const CHILD_MODE: &str = "IRONWAL_TOGETHER_MODE";

const REPORT: &str = "batches";

/// How many batches there are in the end; the first child is killed after fewer.
const BATCHES: u64 = 300;

fn options(root: impl AsRef<Path>, mode: &str) -> WalOptions {
    let sync_mode = if mode == "async" { SyncMode::Async } else { SyncMode::Strict };
    // Small, so that readers cross many borders while batches come.
    let max_segment_size = 4000;
    WalOptions {
        sync_mode,
        max_segment_size,
        max_open_segments: 3,
        ..WalOptions::new(root.as_ref())
    }
}

/// How many entries of a stream come with each batch.
fn per_batch(nth: usize) -> u64 {
    nth as u64 + 1
}

fn entry(nth: usize, id: u64) -> Vec<u8> {
    let mut entry = format!("{nth} {id} ").into_bytes();
    entry.resize(entry.len() + (id * 31 % 150) as usize, b'x');
    entry
}

/// Appends the batch with this number.
fn append(wal: &Wal, number: u64) {
    let mut batch = wal.batch();
    for (nth, name) in NAMES.iter().enumerate() {
        let first = number * per_batch(nth);
        batch.append_all(name, (first..first + per_batch(nth)).map(|id| entry(nth, id)));
    }
    batch.commit().unwrap();
}

/// How many batches a stream shows; never a part of one.
fn batches_in(nth: usize, stream: &Stream) -> u64 {
    let end = stream.next_id();
    assert_eq!(end % per_batch(nth), 0, "{}: a part of a batch is there: {end}", NAMES[nth]);
    if let Some(id) = end.checked_sub(1) {
        assert_eq!(stream.get(id).unwrap().as_deref(), Some(&entry(nth, id)[..]), "{}", NAMES[nth]);
    }
    end / per_batch(nth)
}

/// Looks at one stream after the other, in any order; none is behind one that was looked at before.
fn look(streams: &[Stream; NAMES.len()], rng: &mut Rng, at_least: u64) -> u64 {
    let mut order: Vec<usize> = (0..NAMES.len()).collect();
    rng.shuffle(&mut order);
    let mut seen = at_least;
    for nth in order {
        let now = batches_in(nth, &streams[nth]);
        assert!(now >= seen, "{} shows {now} batches, another showed {seen}", NAMES[nth]);
        seen = now;
    }
    seen
}

/// A cut of a log that is open for reading only: every batch is whole in it.
fn cut(wal: &Wal, at_least: u64) {
    let ends = wal.cut(&NAMES).unwrap();
    let batches: Vec<u64> =
        ends.iter().enumerate().map(|(nth, end)| end / per_batch(nth)).collect();
    let whole: Vec<u64> = (0..NAMES.len()).map(|nth| batches[0] * per_batch(nth)).collect();
    assert_eq!(ends, whole, "the cut goes through a batch");
    assert!(batches[0] >= at_least, "a cut shows {batches:?} batches, {at_least} were there");
}

fn streams(wal: &Wal) -> [Stream; NAMES.len()] {
    NAMES.map(|name| wal.stream(name).unwrap())
}

#[test]
fn readers_in_another_process_see_all_of_a_batch_or_nothing() {
    follow("strict");
}

#[test]
fn the_same_in_async() {
    follow("async");
}

/// The child's main function; for everybody else it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let wal = Wal::new(options(dir, &std::env::var(CHILD_MODE).unwrap())).unwrap();
    let done = batches_in(0, &wal.stream(NAMES[0]).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Rounds that a batch shares with somebody else.
        let (wal, over) = (&wal, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                wal.append("alone", &[7; 100]).unwrap();
            }
        });
        for number in done..BATCHES {
            append(wal, number);
            if number % 50 == 7 {
                wal.stream(NAMES[number as usize % NAMES.len()]).unwrap().rotate().unwrap();
            }
            // Fails once the parent is gone, and with it the child.
            let line = format!("\n{REPORT} {}\n", number + 1);
            io::stdout().write_all(line.as_bytes()).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    wal.close().unwrap();
}

fn start(dir: &Path, mode: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_MODE, mode)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Notes what a child reports; kills it after so many batches.
fn listen(mut child: Child, reported: &AtomicU64, batches_max: u64) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        let Some(count) = line.strip_prefix(REPORT) else { continue };
        reported.store(count.trim().parse().unwrap(), Ordering::SeqCst);
        if reported.load(Ordering::SeqCst) == batches_max {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.code().is_none(), batches_max < BATCHES, "{status}");
}

/// Two writers, one after the other, of which the first is killed, and readers all the time.
fn follow(mode: &str) {
    let dir = tempfile::tempdir().unwrap();
    Wal::new(options(dir.path(), mode)).unwrap().close().unwrap();
    let (reported, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let open = || Wal::open_read_only(options(dir.path(), mode)).unwrap();
    let seen = std::thread::scope(|scope| {
        // Also if a writer's end is not what it should be.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (reported, over, open) = (&reported, &over, &open);
        let same = scope.spawn(move || {
            let wal = open();
            let (streams, mut rng, mut seen) = (streams(&wal), Rng::with_seed(1), 0);
            loop {
                let last = over.load(Ordering::SeqCst);
                cut(&wal, seen);
                // What was acknowledged before is seen, and what was seen once.
                seen = look(&streams, &mut rng, seen.max(reported.load(Ordering::SeqCst)));
                if last {
                    break seen;
                }
            }
        });
        let new = scope.spawn(move || {
            let mut rng = Rng::with_seed(2);
            while !over.load(Ordering::SeqCst) {
                let known = reported.load(Ordering::SeqCst);
                let wal = open();
                cut(&wal, known);
                look(&streams(&wal), &mut rng, known);
            }
        });
        let end = End(over);
        listen(start(dir.path(), mode), reported, BATCHES / 2);
        listen(start(dir.path(), mode), reported, u64::MAX);
        drop(end);
        new.join().unwrap();
        same.join().unwrap()
    });
    assert_eq!(seen, BATCHES, "{mode}");
    assert_eq!(look(&streams(&open()), &mut Rng::with_seed(3), BATCHES), BATCHES, "{mode}");
}

/// What the writer tells other processes goes through this.
type Tell = Arc<dyn Fn(&dyn SharedWords, usize, u64) + Send + Sync>;

/// A disk on which something of the test's own stands between the writer and those whom it tells.
#[derive(Clone)]
struct Telling(SimDisk, Tell);

struct Words(Arc<dyn SharedWords>, Tell);

impl Debug for Telling {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Debug for Words {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl SharedWords for Words {
    fn count(&self) -> usize {
        self.0.count()
    }
    fn load(&self, index: usize) -> u64 {
        self.0.load(index)
    }
    fn store(&self, index: usize, word: u64) {
        (self.1)(&*self.0, index, word);
    }
}

impl Storage for Telling {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.0.open(path, mode)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.lock(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.0.is_locked(path)
    }
    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        Ok(Arc::new(Words(self.0.share(path, count)?, Arc::clone(&self.1))))
    }
    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        self.0.shared(path)
    }
}

/// A writer, through `tell`, and a reader in another process.
fn writer_and_reader(
    journal: Journal,
    tell: impl Fn(&dyn SharedWords, usize, u64) + Send + Sync + 'static,
) -> (Wal, Wal) {
    let disk = SimDisk::new(1);
    let environment = |storage: Arc<dyn Storage>| {
        let environment = Environment::default().with_storage(storage).with_entropy(|| 0x5A17);
        environment.with_journal(journal)
    };
    let storage = Arc::new(Telling(disk.process(), Arc::new(tell)));
    let writer = Wal::open_with(options("/log", "strict"), environment(storage)).unwrap();
    append(&writer, 0);
    let storage = Arc::new(disk.process());
    let reader = Wal::open_read_only_with(options("/log", "strict"), environment(storage)).unwrap();
    (writer, reader)
}

const JOURNALS: [Journal; 3] = [Journal::Auto, Journal::On, Journal::Off];

/// The ends of the streams of a round are told one after the other. Whoever sees the first of them is in
/// the middle of that, and must not find the others behind.
#[test]
fn the_ends_of_a_batch_are_told_as_one() {
    for journal in JOURNALS {
        // It takes a long time between two words.
        let (wal, reader) = writer_and_reader(journal, |words, index, word| {
            words.store(index, word);
            (0..20).for_each(|_| std::thread::yield_now());
        });
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let (streams, mut rng, mut seen) = (streams(&reader), Rng::with_seed(1), 1);
                while !over.load(Ordering::SeqCst) {
                    seen = look(&streams, &mut rng, seen);
                }
            });
            for number in 1..150 {
                if looking.is_finished() {
                    break;
                }
                append(&wal, number);
            }
            over.store(true, Ordering::SeqCst);
            looking.join().unwrap();
        });
        assert_eq!(look(&streams(&reader), &mut Rng::with_seed(2), 150), 150, "{journal:?}");
    }
}

/// A writer was killed when a batch was in the files and nobody had been told of it. A reader that had
/// something to look up in one stream found nobody writing, and the batch in the files; of another stream
/// nothing new had been told, so he did not ask whether the writer lives, and showed it without the batch
/// until somebody else wrote.
#[test]
fn a_batch_that_nobody_was_told_of_is_seen_whole_when_the_writer_is_gone() {
    for journal in JOURNALS {
        let is_dead = Arc::new(AtomicBool::new(false));
        let dead = Arc::clone(&is_dead);
        let (wal, reader) = writer_and_reader(journal, move |words, index, word| {
            if !dead.load(Ordering::SeqCst) {
                words.store(index, word);
            }
        });
        let streams = streams(&reader);
        assert_eq!(look(&streams, &mut Rng::with_seed(1), 1), 1, "{journal:?}");
        append(&wal, 1);
        assert_eq!(batches_in(2, &streams[2]), 2, "{journal:?}");
        // From now on it tells nothing; its files and locks are those of a process that ended.
        is_dead.store(true, Ordering::SeqCst);
        append(&wal, 2);
        wal.close().unwrap();
        let seen = batches_in(0, &streams[0]);
        for (nth, stream) in streams.iter().enumerate() {
            assert_eq!(batches_in(nth, stream), seen, "{}, {journal:?}", NAMES[nth]);
        }
        assert_eq!(seen, 3, "{journal:?}");
    }
}
