//! Checkpoints are one instant: while threads append, no checkpoint has an entry whose append began
//! after another append had returned that the checkpoint misses.
//!
//! Each append notes how many entries of each shard had returned before it began. A cut that holds
//! the append must hold those too. A cut that looks at one shard after the other does not, and the
//! same test finds it out.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::{Environment, SyncMode, Wal, WalOptions};

use crate::seeds::MODES;

const SHARDS: usize = 16;
const APPENDERS: u64 = 8;

/// How many checkpoints are taken in each mode.
const CHECKPOINTS: u64 = 10_000;

/// How many appends of each thread there are at most per cut.
const APPENDS_PER_CUT: u64 = 2;

/// How often a cut that is none may come off by chance.
const TRIES: u64 = 100;

/// For each shard, a number of entries.
type Counts = [u64; SHARDS];

/// An append that returned.
struct Append {
    shard: usize,
    ids: Range<u64>,
    /// What had returned before it began.
    known: Counts,
}

/// Ends all threads, also when one of them fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Real threads on a disk in memory; segments so small that shards rotate.
fn open(mode: SyncMode, seed: u64) -> ShardedWal {
    let disk = SimDisk::new(seed);
    let environment = Environment::default().with_storage(Arc::new(disk));
    let small = WalOptions { max_segment_size: 30_000, ..WalOptions::new("/log") };
    let wal = Wal::open_with(WalOptions { sync_mode: mode, ..small }, environment).unwrap();
    ShardedWal::over(wal, SHARDS as u16).unwrap()
}

/// A key of each shard.
fn keys(wal: &ShardedWal) -> Vec<Vec<u8>> {
    let key_of =
        |shard: u16| (0_u32..).map(|n| n.to_le_bytes()).find(|key| wal.route(key) == shard);
    (0..SHARDS as u16).map(|shard| key_of(shard).unwrap().to_vec()).collect()
}

/// Takes cuts while threads append; returns the appends and the cuts. Shards begin one by one.
fn append_and_cut(
    wal: &ShardedWal,
    cuts: u64,
    cut: impl Fn(u64) -> Counts,
) -> (Vec<Append>, Vec<Counts>) {
    let (taken, appended) = (AtomicU64::new(0), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    let returned: [AtomicU64; SHARDS] = std::array::from_fn(|_| AtomicU64::new(0));
    let keys = keys(wal);
    let append = |rng: &mut Rng| {
        // All of them by half-time.
        let begun = 2 * taken.load(Ordering::Relaxed) * SHARDS as u64 / cuts;
        let shard = rng.usize(..=(begun as usize).min(SHARDS - 1));
        let key = &keys[shard];
        let known = std::array::from_fn(|shard| returned[shard].load(Ordering::SeqCst));
        let ids: Vec<(u16, u64)> = match rng.u8(..6) {
            0 => wal.append_batch_for_key(key, &[b"a", b"b", b"c"]).unwrap(),
            1 => wal.append_batch(&vec![(key.clone(), b"entry".to_vec()); 3]).unwrap(),
            _ => vec![wal.append(key, b"entry").unwrap()],
        };
        let ids = ids[0].1..ids[ids.len() - 1].1 + 1;
        returned[shard].fetch_max(ids.end, Ordering::SeqCst);
        appended.fetch_add(1, Ordering::Relaxed);
        Append { shard, ids, known }
    };
    let appender = |seed: u64| {
        let (mut rng, mut appends) = (Rng::with_seed(seed), Vec::new());
        let _ends = Ends(&done);
        while !done.load(Ordering::Relaxed) {
            let due = (taken.load(Ordering::Relaxed) + 1) * APPENDS_PER_CUT;
            if (appends.len() as u64) < due {
                appends.push(append(&mut rng));
            } else {
                std::thread::yield_now();
            }
        }
        appends
    };
    std::thread::scope(|scope| {
        let ends = Ends(&done);
        let appenders: Vec<_> =
            (0..APPENDERS).map(|seed| scope.spawn(move || appender(seed))).collect();
        let take = |nth| {
            while appended.load(Ordering::Relaxed) < nth && !done.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let cut = cut(nth);
            taken.fetch_add(1, Ordering::Relaxed);
            cut
        };
        let cuts = (0..cuts).map(take).collect();
        drop(ends);
        let appends = appenders.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (appends, cuts)
    })
}

/// What is wrong with the first cut that is not one instant.
fn violation(appends: &[Append], cuts: &[Counts]) -> Option<String> {
    // For each entry, what it or one before it in its shard knows of; and whether a batch goes on.
    let mut entries: Vec<Vec<(Counts, bool)>> = vec![Vec::new(); SHARDS];
    for Append { shard, ids, known } in appends {
        let of_shard = &mut entries[*shard];
        of_shard.resize(of_shard.len().max(ids.end as usize), ([0; SHARDS], false));
        for id in ids.clone() {
            of_shard[id as usize] = (*known, id + 1 < ids.end);
        }
    }
    for of_shard in &mut entries {
        let mut most = [0; SHARDS];
        for (known, _) in of_shard {
            most = std::array::from_fn(|other| most[other].max(known[other]));
            *known = most;
        }
    }
    for (nth, cut) in cuts.iter().enumerate() {
        for (shard, of_shard) in entries.iter().enumerate() {
            let Some(last) = (cut[shard] as usize).checked_sub(1) else { continue };
            let (known, goes_on) = of_shard[last];
            if goes_on {
                return Some(format!("cut {nth} splits a batch of shard {shard} at {last}"));
            }
            if let Some(other) = (0..SHARDS).find(|other| known[*other] > cut[*other]) {
                return Some(format!(
                    "cut {nth} holds {last} of shard {shard}, which began when shard {other} had \
                     {} entries, and {} of those",
                    known[other], cut[other]
                ));
            }
        }
    }
    None
}

fn checkpoints_are_causal(mode: SyncMode) {
    let wal = open(mode, 1);
    let create = |nth: u64| {
        let id = nth.to_be_bytes();
        wal.create_checkpoint(&id).unwrap();
        let offsets: Counts = wal.load_checkpoint(&id).unwrap().offsets.try_into().unwrap();
        let shard = (nth % SHARDS as u64) as usize;
        let durable = wal.shard(shard as u16).unwrap().durable_end();
        assert!(durable >= offsets[shard], "{durable} of shard {shard}: {offsets:?}");
        offsets
    };
    let (appends, cuts) = append_and_cut(&wal, CHECKPOINTS, create);
    assert_eq!(violation(&appends, &cuts), None);
    // It was put to the test: shards began while cuts were taken.
    let begun = |cut: &Counts| cut.iter().filter(|entries| **entries > 0).count();
    assert!(begun(&cuts[0]) <= 1 && begun(&cuts[cuts.len() - 1]) == SHARDS);
    assert!(cuts.windows(2).all(|pair| (0..SHARDS).all(|shard| pair[0][shard] <= pair[1][shard])));
    assert_eq!(wal.checkpoint_count() as u64, CHECKPOINTS);
}

#[test]
fn checkpoints_are_causal_in_strict() {
    checkpoints_are_causal(SyncMode::Strict);
}

#[test]
fn checkpoints_are_causal_in_batch_only() {
    checkpoints_are_causal(SyncMode::BatchOnly);
}

#[test]
fn checkpoints_are_causal_in_async() {
    checkpoints_are_causal(SyncMode::Async);
}

#[test]
fn checkpoints_are_causal_in_interval() {
    checkpoints_are_causal(SyncMode::Interval(Duration::from_millis(5)));
}

/// What version 0.6 did: one end after another. It is no instant, and this test can tell.
#[test]
fn ends_that_are_read_one_after_another_are_no_cut() {
    for mode in MODES {
        let found = (0..TRIES).find_map(|seed| {
            let wal = open(mode, seed);
            let shards: Vec<_> = (0..SHARDS as u16).map(|it| wal.shard(it).unwrap()).collect();
            let one_by_one = |_| {
                std::array::from_fn(|shard| {
                    std::thread::yield_now();
                    shards[shard].next_id()
                })
            };
            let (appends, cuts) = append_and_cut(&wal, CHECKPOINTS / 10, one_by_one);
            violation(&appends, &cuts)
        });
        assert!(found.is_some(), "{mode:?}: the test does not see what it is there for");
    }
}

/// Many threads create checkpoints, each one under an id of its own again and again, and others that
/// stay, while another thread compacts: the order is that of the cuts, and none is lost.
#[test]
fn checkpoints_of_many_threads_are_in_the_order_of_their_cuts() {
    const EACH: u64 = 500;
    let wal = open(SyncMode::Async, 1);
    let create = |thread: u64| {
        let again = thread.to_be_bytes();
        for nth in 1..=EACH {
            let stays = [again, nth.to_be_bytes()].concat();
            for id in [&again[..], &stays] {
                let (shard, entry) = wal.append(&again, b"entry").unwrap();
                wal.create_checkpoint(id).unwrap();
                let checkpoint = wal.load_checkpoint(id).unwrap();
                assert!(checkpoint.offsets[usize::from(shard)] > entry);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..APPENDERS).map(|thread| scope.spawn(move || create(thread))).collect();
        let mut count = 0;
        while !threads.iter().all(|thread| thread.is_finished()) {
            if wal.checkpoint_count() >= count + 100 {
                count = wal.compact_checkpoints(usize::MAX).unwrap().checkpoints_after;
            }
            std::thread::yield_now();
        }
    });
    let listed = wal.list_checkpoints();
    assert_eq!(listed.len() as u64, APPENDERS * (EACH + 1));
    let load = |(id, _): &(Vec<u8>, u64)| wal.load_checkpoint(id).unwrap().offsets;
    let offsets: Vec<_> = listed.iter().map(load).collect();
    for pair in offsets.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(one, next)| one <= next), "{pair:?}");
    }
    let last = &offsets[offsets.len() - 1];
    assert_eq!(last.iter().sum::<u64>(), 2 * APPENDERS * EACH);
}

/// A stream begins, and then an entry is appended to another. No cut has that one and misses the
/// stream, though it looked for it before it began.
#[test]
fn a_stream_that_begins_is_in_the_cut_before_what_follows() {
    const BEGINNING: u64 = 2000;
    // So that a cut has something to do between the first name and the last.
    const OTHERS: u64 = 4000;
    let sharded = open(SyncMode::Async, 1);
    let wal = sharded.inner();
    let mut names: Vec<String> = (0..OTHERS).map(|nth| format!("other {nth}")).collect();
    for name in &names {
        wal.append(name, b"entry").unwrap();
    }
    wal.cut(&names).unwrap();
    names.push("what follows".into());
    names.extend((0..BEGINNING).map(|nth| format!("beginning {nth}")));
    let beginning = &names[OTHERS as usize + 1..];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = Ends(&done);
            for name in beginning {
                wal.append(name, b"entry").unwrap();
                wal.append("what follows", b"entry").unwrap();
            }
        });
        while !done.load(Ordering::Relaxed) {
            let cut = wal.cut(&names).unwrap();
            let (followed, begun) = cut[OTHERS as usize..].split_first().unwrap();
            assert!(begun[..*followed as usize].iter().all(|entries| *entries == 1), "{followed}");
        }
    });
}
