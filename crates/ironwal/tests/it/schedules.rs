//! Many threads do everything at once on one log, over a disk that lets them go on in an order from
//! a seed; then the power goes, and what was promised is looked for.
//!
//! The order of disk calls comes from the seed as far as that can be: what threads do between calls
//! is up to the system. So a seed that failed fails again soon, but not always at once.
//! `IRONWAL_SEED` and `IRONWAL_SEEDS` are as in `contract.rs`, but of many seeds one in [`ONE_IN`] is
//! tried.

mod turns;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::SimConfig;
use ironwal::{Environment, Error, Maintenance, Stream, SyncMode, Wal, WalOptions};

use crate::model::{Setup, open_with_setup};
use crate::seeds::{self, Choices, run_seeds};
use crate::simulation::{STREAMS, options, setup};
use turns::Turns;
use worker::Worker;

/// A run takes as long as about so many of the simulation: its threads wait for each other.
const ONE_IN: u64 = 20;

const SEEDS: u64 = 50 * ONE_IN;
const WORKERS: usize = 5;
const STEPS: usize = 30;

/// What is appended to each stream when all is done: behind what nobody waits for.
const LAST: &[u8] = b"the last";

#[test]
fn strict_threads_take_turns() {
    run_mode(SyncMode::Strict);
}

#[test]
fn unsynced_threads_take_turns() {
    run_mode(SyncMode::BatchOnly);
}

fn run_mode(mode: SyncMode) {
    run_seeds("schedules", mode, SEEDS, |&seeds::Run { mode, seed, verbose, .. }| {
        let run = (verbose || seed % ONE_IN == 0).then(|| Run::new(mode, seed, verbose));
        let disk = run.as_ref().map_or_else(|| SimDisk::new(seed), |run| run.disk.clone());
        (disk, move || run.into_iter().for_each(Run::run))
    });
}

/// What an entry says: who appended it, in which of his appends, which part of what the stream gets of a
/// batch it is, which streams have parts of the batch if there are several, a bit for each, and by stream
/// and id what its appender knew of before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    worker: usize,
    nth: usize,
    part: usize,
    parts: usize,
    over: usize,
    after: Option<(usize, u64)>,
}

impl Said {
    fn encode(&self, padding: usize) -> Vec<u8> {
        let Self { worker, nth, part, parts, over, .. } = self;
        let (stream, id) = self.after.map_or((-1, 0), |(stream, id)| (stream as i64, id));
        let padding = "x".repeat(padding);
        format!("{worker} {nth} {part} {parts} {over} {stream} {id} {padding}").into_bytes()
    }

    fn decode(entry: &[u8]) -> Self {
        let text = std::str::from_utf8(entry).unwrap();
        let mut words = text.split(' ').map(|word| word.parse::<i64>().ok());
        let mut next = || words.next().flatten().unwrap();
        let [worker, nth, part, parts, over] = std::array::from_fn(|_| next() as usize);
        let (stream, id) = (next(), next() as u64);
        let after = usize::try_from(stream).ok().map(|stream| (stream, id));
        Self { worker, nth, part, parts, over, after }
    }
}

/// What a thread knows when it is done.
#[derive(Debug, Default)]
struct Notes {
    /// Also those whose append failed.
    attempted: BTreeSet<Vec<u8>>,
    /// By stream and id.
    acknowledged: BTreeMap<(usize, u64), Vec<u8>>,
    /// What nobody waited for, by stream.
    dropped: BTreeSet<(usize, Vec<u8>)>,
    /// What was read.
    seen: BTreeMap<(usize, u64), Vec<u8>>,
    cuts: Vec<Vec<u64>>,
}

impl Notes {
    fn saw(&mut self, stream: usize, id: u64, entry: &[u8]) {
        let before = self.seen.insert((stream, id), entry.to_vec());
        assert!(before.is_none_or(|before| before == entry), "{stream} {id}: it changed");
    }

    fn add(&mut self, other: Self) {
        self.attempted.extend(other.attempted);
        self.cuts.extend(other.cuts);
        self.dropped.extend(other.dropped);
        for (place, entry) in other.acknowledged {
            let before = self.acknowledged.insert(place, entry);
            assert_eq!(before, None, "{place:?} was given to two");
        }
        for ((stream, id), entry) in other.seen {
            self.saw(stream, id, &entry);
        }
    }
}

/// What all know of a stream.
#[derive(Debug, Default)]
struct Known {
    /// Entries below this survive power loss.
    durable: AtomicU64,
    /// Entries below this were pruned, and those below that may be.
    pruned: AtomicU64,
    pruned_at_most: AtomicU64,
}

struct Run {
    mode: SyncMode,
    rng: Choices,
    disk: SimDisk,
    options: WalOptions,
    setup: Setup,
    /// Whether the power goes while they work.
    power_goes: bool,
    known: [Known; STREAMS.len()],
}

impl Run {
    fn new(mode: SyncMode, seed: u64, trace: bool) -> Self {
        let mut rng = Choices::from_seed(seed);
        let config = SimConfig { seed: rng.u64(..), trace, ..SimConfig::default() };
        let disk = SimDisk::with_config(config);
        let options = options(&mut rng, mode);
        let setup = setup(&mut rng);
        let power_goes = rng.f64() < 0.3;
        Self { mode, rng, disk, options, setup, power_goes, known: Default::default() }
    }

    fn run(mut self) {
        let turns = Turns::new(&self.disk, self.rng.u64(..), WORKERS);
        let inline = self.rng.bool();
        let environment = Environment::default()
            .with_storage(Arc::new(turns.clone()))
            .with_entropy(|| 0x5A17)
            .with_clock(|| Duration::ZERO)
            .with_maintenance(if inline { Maintenance::Inline } else { Maintenance::Thread });
        let environment = self.setup.apply(environment);
        let wal = Wal::open_with(self.options.clone(), environment).unwrap();
        if self.power_goes {
            self.disk.cut_power_at(self.rng.u64(1..1500));
        }
        turns.switch(true);
        let mut notes = self.work(&wal, &turns);
        turns.switch(false);
        if !self.power_goes {
            self.check_whole(&wal, &mut notes);
        }
        self.check_cuts(&notes);
        self.disk.crash();
        drop(wal);
        let (disk, clock) = (Arc::new(self.disk.process()), || Duration::ZERO);
        let wal = open_with_setup(disk, &self.options, self.setup, clock).unwrap();
        self.check_recovered(&wal, &notes);
    }

    /// Has the threads do everything, and gathers what they know.
    fn work(&mut self, wal: &Wal, turns: &Turns) -> Notes {
        let seeds: Vec<u64> = (0..WORKERS).map(|_| self.rng.u64(..)).collect();
        let run = &*self;
        let streams = match STREAMS.map(|name| wal.stream(name)) {
            [Ok(first), Ok(second), Ok(third)] => [first, second, third],
            others => {
                assert!(run.power_goes, "{others:?}");
                return Notes::default();
            }
        };
        let streams = &streams;
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| run.follow(&streams[0]));
            let workers: Vec<_> = seeds
                .into_iter()
                .enumerate()
                .map(|(number, seed)| {
                    scope.spawn(move || {
                        turns::set_number(number);
                        let mut worker = Worker::new(run, wal, streams, number, seed);
                        let ended = (0..STEPS).try_for_each(|_| worker.step());
                        let ended = ended.and_then(|()| worker.wait_for_all());
                        turns.leave();
                        run.allow(ended);
                        worker.notes
                    })
                })
                .collect();
            let mut notes = Notes::default();
            let mut panic = None;
            for worker in workers {
                match worker.join() {
                    Ok(others) => notes.add(others),
                    Err(worker) => panic = Some(worker),
                }
            }
            // Either way the follower ends.
            turns.switch(false);
            if self.power_goes || panic.is_some() {
                let _ = wal.close();
            } else {
                for (nth, stream) in streams.iter().enumerate() {
                    let id = stream.append(LAST).unwrap();
                    notes.acknowledged.insert((nth, id), LAST.to_vec());
                }
            }
            if let Some(panic) = panic {
                std::panic::resume_unwind(panic);
            }
            notes.attempted.insert(LAST.to_vec());
            for (id, entry) in follower.join().unwrap() {
                notes.saw(0, id, &entry);
            }
            notes
        })
    }

    /// Follows a stream, waiting, until the last entry.
    fn follow(&self, stream: &Stream) -> Vec<(u64, Vec<u8>)> {
        let mut seen: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut due = 0;
        for next in stream.follow(0) {
            match next {
                Ok((id, entry)) => {
                    assert_eq!(id, due);
                    due += 1;
                    seen.push((id, entry.to_vec()));
                    if entry == LAST {
                        break;
                    }
                }
                Err(Error::Pruned { first_id, .. }) => due = first_id,
                Err(error) => {
                    self.allow(Err(error));
                    break;
                }
            }
        }
        seen
    }

    /// Nothing fails but for the power.
    fn allow(&self, ended: ironwal::Result<()>) {
        match ended {
            Ok(()) => {}
            Err(Error::Io(_) | Error::Poisoned { .. } | Error::Closed) if self.power_goes => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// While the log is open, it holds what was acknowledged and nothing else.
    fn check_whole(&self, wal: &Wal, notes: &mut Notes) {
        for (nth, name) in STREAMS.iter().enumerate() {
            let stream = wal.stream(name).unwrap();
            // What nobody waited for is there too, or has been pruned.
            let ids =
                (0..stream.next_id()).filter(|id| !notes.acknowledged.contains_key(&(nth, *id)));
            let others: Vec<u64> = ids.collect();
            let dropped = notes.dropped.iter().filter(|(stream, _)| *stream == nth).count();
            assert_eq!(others.len(), dropped, "{name}: ids that nobody was told: {others:?}");
            for id in others {
                match stream.get(id).unwrap() {
                    Some(entry) => {
                        assert!(notes.dropped.contains(&(nth, entry.to_vec())), "{name} {id}");
                        notes.acknowledged.insert((nth, id), entry.to_vec());
                    }
                    None => assert!(id < stream.first_id(), "{name} {id} is missing"),
                }
            }
            let pruned = self.known[nth].pruned.load(Ordering::Relaxed);
            assert_eq!(stream.first_id(), pruned, "{name}");
        }
        for (place, entry) in &notes.seen {
            let is_known = notes.acknowledged.get(place) == Some(entry);
            assert!(is_known || notes.dropped.contains(&(place.0, entry.clone())), "{place:?}");
        }
        self.check_entries(wal, notes);
    }

    /// What is there was appended there, whole, and in the order of each thread.
    fn check_entries(&self, wal: &Wal, notes: &Notes) {
        // By worker and append, where something of it is; and by stream, which append of each worker
        // is the first there.
        let mut batches: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
        let mut first_of = [[usize::MAX; WORKERS]; STREAMS.len()];
        for (nth, name) in STREAMS.iter().enumerate() {
            let stream = wal.stream(name).unwrap();
            let mut last_of = [None; WORKERS];
            let mut unfinished: Option<Said> = None;
            let mut due = stream.first_id();
            for read in stream.range(..) {
                let (id, entry) = read.unwrap();
                assert_eq!(id, due, "{name}");
                due += 1;
                assert!(notes.attempted.contains(&entry[..]), "{name} {id}: nobody appended it");
                for known in [notes.acknowledged.get(&(nth, id)), notes.seen.get(&(nth, id))] {
                    assert!(known.is_none_or(|known| entry == known), "{name} {id} is another");
                }
                if entry == LAST {
                    continue;
                }
                let said = Said::decode(&entry);
                if id > stream.first_id() {
                    let part = unfinished.as_ref().map_or(0, |before| before.part + 1);
                    assert_eq!(said.part, part, "{name} {id}: a batch is not whole");
                }
                let order = Some((said.nth, said.part));
                assert!(last_of[said.worker] < order, "{name} {id}: out of order");
                last_of[said.worker] = order;
                let first = &mut first_of[nth][said.worker];
                *first = said.nth.min(*first);
                if said.over != 0 {
                    let found = batches.entry((said.worker, said.nth)).or_insert((0, said.over));
                    found.0 |= 1 << nth;
                }
                unfinished = (said.part + 1 < said.parts).then_some(said);
            }
            assert_eq!(due, stream.next_id(), "{name}");
            assert_eq!(unfinished, None, "{name}: a batch is not whole");
        }
        for ((worker, append), (found, over)) in batches {
            for (nth, name) in STREAMS.iter().enumerate().filter(|(nth, _)| over >> nth & 1 == 1) {
                // It may have been pruned, unless something that was appended before is kept.
                let may_be_pruned =
                    wal.stream(name).unwrap().first_id() > 0 && first_of[nth][worker] > append;
                assert!(
                    found >> nth & 1 == 1 || may_be_pruned,
                    "{name}: nothing of batch {append} of {worker}, which others have"
                );
            }
        }
    }

    /// No cut holds an entry and misses one whose append returned before.
    fn check_cuts(&self, notes: &Notes) {
        for cut in &notes.cuts {
            for ((stream, id), entry) in &notes.acknowledged {
                if *id < cut[*stream]
                    && entry != LAST
                    && let Some((before, before_id)) = Said::decode(entry).after
                {
                    assert!(before_id < cut[before], "{cut:?} misses what {stream} {id} follows");
                }
            }
        }
    }

    fn check_recovered(&self, wal: &Wal, notes: &Notes) {
        for (nth, name) in STREAMS.iter().enumerate() {
            let (stream, known) = (wal.stream(name).unwrap(), &self.known[nth]);
            let mut durable = known.durable.load(Ordering::Relaxed);
            for cut in &notes.cuts {
                durable = durable.max(cut[nth]);
            }
            if self.mode == SyncMode::Strict {
                for (_, id) in notes.seen.keys().filter(|(stream, _)| *stream == nth) {
                    durable = durable.max(id + 1);
                }
            }
            let end = stream.next_id();
            assert!(end >= durable, "{name} ends at {end}, {durable} were durable");
            let first = stream.first_id();
            let pruned = known.pruned.load(Ordering::Relaxed);
            let at_most = known.pruned_at_most.load(Ordering::Relaxed);
            assert!((pruned..=at_most).contains(&first), "{name}: {pruned}, {first}, {at_most}");
        }
        self.check_entries(wal, notes);
    }

    fn is_durable(&self, stream: usize, end: u64) {
        self.known[stream].durable.fetch_max(end, Ordering::Relaxed);
    }
}
