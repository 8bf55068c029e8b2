//! Iterators that live through everything that can happen to a stream meanwhile, with real threads on
//! a real directory: appends, rotation, pruning, cuts, deletion and re-creation.
//!
//! One thread appends and cuts, so it knows the content of each id; one prunes, rotates and deletes;
//! others iterate. An entry names the *life* of its stream (deletions before it), its id, and the
//! cuts before it in this life. What must hold of each iterator, whatever the others do:
//!
//! - it never yields an error, and it ends;
//! - all its entries are of one life, each is the one that was appended at its id, and ids rise;
//! - an id that it passes over was pruned;
//! - it never yields an entry that was cut off before it was asked for it;
//! - when it ends, nothing that was committed before it was asked is left behind, but what is pruned.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use ironwal::{Error, ReadStrategy, Stream, SyncMode, Wal, WalOptions};

const READERS: u64 = 3;

/// What is known of one life of the stream.
struct Life {
    stream: Stream,
    /// Where it was cut, in order; an entry says how many of these were before it.
    cuts: Vec<u64>,
    /// Whether a deletion of it has begun.
    doomed: bool,
}

struct Trial<'a> {
    wal: &'a Wal,
    lives: RwLock<Vec<Mutex<Life>>>,
    /// Cuts that have begun, in all lives.
    cuts_begun: AtomicUsize,
    /// Those of them that have ended.
    cuts_ended: AtomicUsize,
    writing: AtomicBool,
    yielded: AtomicU64,
}

/// What an entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label {
    life: usize,
    id: u64,
    cuts: usize,
}

impl Label {
    fn encode(self) -> Vec<u8> {
        let Label { life, id, cuts } = self;
        // Of different lengths, and compressible.
        let padding = "-".repeat(id as usize % 40);
        format!("{life} {id} {cuts} {padding}").into_bytes()
    }

    fn decode(entry: &[u8]) -> Self {
        let text = std::str::from_utf8(entry).unwrap();
        let mut fields = text.split(' ');
        let mut next = || fields.next().unwrap();
        let label = Label {
            life: next().parse().unwrap(),
            id: next().parse().unwrap(),
            cuts: next().parse().unwrap(),
        };
        assert_eq!(label.encode(), entry);
        label
    }
}

impl Trial<'_> {
    /// Looks at a life; waits while it is about to change.
    fn with<T>(&self, life: usize, look: impl FnOnce(&mut Life) -> T) -> T {
        look(&mut self.lives.read().unwrap()[life].lock().unwrap())
    }

    fn lives(&self) -> usize {
        self.lives.read().unwrap().len()
    }

    /// Appends, and cuts now and then, through a handle until its stream is deleted.
    fn write(&self, appends: u64, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        self.begin_life();
        let mut left = appends;
        while left > 0 {
            let life = self.lives() - 1;
            let (stream, cuts) = self.with(life, |it| (it.stream.clone(), it.cuts.len()));
            let first = stream.next_id();
            let label = |id| Label { life, id, cuts }.encode();
            let appended = match random.u32(..20) {
                0 => {
                    let ids = stream.first_id()..stream.next_id();
                    if ids.is_empty() { Ok(()) } else { self.cut(life, random.u64(ids)) }
                }
                1..4 => {
                    let batch: Vec<_> = (first..first + random.u64(1..9)).map(label).collect();
                    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                    stream.append_batch_at(first, &slices).map(|_| ())
                }
                _ => stream.append_at(first, &label(first)).map(|_| ()),
            };
            match appended {
                Ok(()) => left -= 1,
                Err(Error::StreamNotFound(_)) => self.begin_life(),
                Err(error) => panic!("{error}"),
            }
        }
        self.writing.store(false, Ordering::Release);
    }

    /// Gets a handle on a stream that is not deleted yet.
    fn begin_life(&self) {
        let stream = loop {
            let stream = self.wal.stream("s").unwrap();
            match stream.append_batch_at(0, &[]) {
                Ok(_) if stream.rotate().is_ok() => break stream,
                _ => std::thread::yield_now(),
            }
        };
        self.lives.write().unwrap().push(Mutex::new(Life {
            stream,
            cuts: Vec::new(),
            doomed: false,
        }));
    }

    fn cut(&self, life: usize, last_kept: u64) -> ironwal::Result<()> {
        self.cuts_begun.fetch_add(1, Ordering::SeqCst);
        let stream = self.with(life, |it| it.stream.clone());
        let cut = match stream.truncate_after(Some(last_kept)) {
            Ok(()) => {
                self.with(life, |it| it.cuts.push(last_kept + 1));
                Ok(())
            }
            // Pruned meanwhile.
            Err(Error::Config(_)) => Ok(()),
            failed => failed,
        };
        self.cuts_ended.fetch_add(1, Ordering::SeqCst);
        cut
    }

    /// Prunes, rotates and deletes for as long as somebody writes.
    fn reshape(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while self.writing.load(Ordering::Acquire) {
            let Some(life) = self.lives().checked_sub(1) else { continue };
            let stream = self.with(life, |it| it.stream.clone());
            let ids = stream.first_id()..=stream.next_id().max(stream.first_id());
            let done = match random.u32(..40) {
                0 => {
                    self.with(life, |it| it.doomed = true);
                    self.wal.delete_stream("s")
                }
                1..10 => stream.rotate(),
                10..20 => self.wal.truncate("s", random.u64(ids)).map(|_| ()),
                20..26 => stream.truncate_before(random.u64(ids)).map(|_| ()),
                // The others come first on a machine with few cores.
                _ => {
                    (0..random.u32(..50)).for_each(|_| std::thread::yield_now());
                    Ok(())
                }
            };
            match done {
                Ok(()) | Err(Error::StreamNotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Iterates again and again, once more when nobody writes any more.
    fn iterate(&self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        loop {
            let writing = self.writing.load(Ordering::Acquire);
            let next_id = self.wal.stream("s").unwrap().next_id();
            self.iterate_once(if random.bool() { 0 } else { random.u64(..=next_id) });
            if !writing {
                return;
            }
        }
    }

    fn iterate_once(&self, start: u64) {
        let mut iterator = self.wal.iter_with_ids("s", start).unwrap();
        let mut due = start;
        let mut of: Option<usize> = None;
        loop {
            // What is known before it is asked.
            let cuts_ended = self.cuts_ended.load(Ordering::SeqCst);
            let before = of.map(|life| {
                self.with(life, |it| (it.stream.next_id(), it.cuts.clone(), it.doomed))
            });
            let Some(next) = iterator.next() else {
                if let (Some(life), Some((end, _, false))) = (of, before) {
                    let (first, doomed) = self.with(life, |it| (it.stream.first_id(), it.doomed));
                    let was_cut = self.cuts_begun.load(Ordering::SeqCst) != cuts_ended;
                    let is_complete = due >= end || first >= end;
                    assert!(doomed || was_cut || is_complete, "ended at {due}, before {end}");
                }
                assert!(iterator.next().is_none(), "the end is the end");
                return;
            };
            let (id, entry) = next.unwrap();
            let label = Label::decode(&entry);
            assert_eq!(label.id, id);
            assert!(id >= due, "id {id} after {due}");
            assert_eq!(*of.get_or_insert(label.life), label.life, "entries of two lives");
            if id > due {
                let first = self.with(label.life, |it| it.stream.first_id());
                assert!(first >= id, "{due}..{id} was passed over, {first} is the first kept");
            }
            if let Some((_, cuts, _)) = before {
                let gone = cuts[label.cuts.min(cuts.len())..].iter().find(|cut| **cut <= id);
                assert_eq!(gone, None, "{label:?} was cut off before");
            }
            due = id + 1;
            self.yielded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn live_through_everything(options: WalOptions, appends: u64, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        root_path: dir.path().join("log"),
        max_segment_size: 1500,
        max_entries_per_segment: 40,
        read_buffer_size: 4096,
        ..options
    };
    let wal = Wal::new(options).unwrap();
    let trial = Trial {
        wal: &wal,
        lives: RwLock::default(),
        cuts_begun: AtomicUsize::new(0),
        cuts_ended: AtomicUsize::new(0),
        writing: AtomicBool::new(true),
        yielded: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| trial.write(appends, seed));
        scope.spawn(|| trial.reshape(seed + 1));
        for reader in 0..READERS {
            let trial = &trial;
            scope.spawn(move || trial.iterate(seed + 2 + reader));
        }
    });
    let yielded = trial.yielded.load(Ordering::Relaxed);
    assert!(yielded > 0 && trial.lives() > 0);
    if std::env::var_os("IRONWAL_SEED").is_some() {
        eprintln!(
            "{} lives, {yielded} entries, {} cuts",
            trial.lives(),
            trial.cuts_begun.load(Ordering::Relaxed)
        );
    }
    let stats = wal.stream("s").unwrap().stats();
    let left = wal.iter("s", 0).unwrap().map(Result::unwrap).count();
    assert_eq!(left as u64, stats.entries());
    wal.close().unwrap();
}

#[test]
fn iterators_live_through_everything_in_strict() {
    live_through_everything(WalOptions::default(), 600, 1);
}

#[test]
fn iterators_live_through_everything_in_batch_only() {
    let options = WalOptions { sync_mode: SyncMode::BatchOnly, ..WalOptions::default() };
    live_through_everything(options, 2000, 10);
}

#[test]
fn iterators_live_through_everything_in_async() {
    let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::default() };
    live_through_everything(options, 6000, 20);
}

#[test]
fn iterators_live_through_everything_in_interval() {
    let sync_mode = SyncMode::Interval(Duration::from_millis(1));
    live_through_everything(WalOptions { sync_mode, ..WalOptions::default() }, 3000, 30);
}

#[test]
fn iterators_live_through_everything_in_mapped_segments() {
    for (sync_mode, appends, seed) in [(SyncMode::Strict, 400, 40), (SyncMode::Async, 4000, 50)] {
        let options = WalOptions {
            sync_mode,
            read_strategy: ReadStrategy::Mmap,
            block_cache_size: Some(4096),
            max_open_read_segments: 2,
            max_open_segments: 1,
            ..WalOptions::default()
        };
        live_through_everything(options, appends, seed);
    }
}

#[cfg(feature = "compression")]
#[test]
fn iterators_live_through_everything_compressed() {
    let options = WalOptions {
        sync_mode: SyncMode::Async,
        compression: ironwal::CompressionType::Lz4,
        min_compression_size: 0,
        ..WalOptions::default()
    };
    live_through_everything(options, 3000, 60);
}

/// What is pruned goes to the archive, and comes back before the iterator: nothing may be passed
/// over then.
#[test]
fn iterators_live_through_archiving() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        sync_mode: SyncMode::Async,
        max_entries_per_segment: 10,
        archive_path: Some(dir.path().join("archive")),
        ..WalOptions::new(dir.path().join("log"))
    };
    let wal = Wal::new(options).unwrap();
    for id in 0..200_u64 {
        wal.append("s", &Label { life: 0, id, cuts: 0 }.encode()).unwrap();
    }
    let iterating = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(7);
            while iterating.load(Ordering::Acquire) {
                wal.truncate("s", random.u64(..200)).unwrap();
                wal.restore_archived("s").unwrap();
            }
        });
        for _ in 0..100 {
            let mut due = 0;
            for next in wal.iter_with_ids("s", 0).unwrap() {
                let (id, entry) = next.unwrap();
                assert_eq!(Label::decode(&entry).id, id);
                assert!(id == due || id > due && id % 10 == 0, "{due}..{id} was passed over");
                due = id + 1;
            }
            assert_eq!(due, 200, "the newest segment is always there");
        }
        iterating.store(false, Ordering::Release);
    });
    wal.restore_archived("s").unwrap();
    assert_eq!(wal.iter("s", 0).unwrap().map(Result::unwrap).count(), 200);
}
