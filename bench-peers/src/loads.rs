//! Logs with many streams, and what threads do with them.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ironwal::sharded::ShardedWal;
use ironwal::{Environment, Journal, Stream, SyncMode, Wal, WalOptions};

use crate::durable::ENTRY;
use crate::measure::{Open, step};

/// The finishing steps of SplitMix64.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// How many threads create streams: each costs several syncs, which they share.
const CREATORS: usize = 8;

/// What is appended as one batch: keys and entries.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A source of choices that is fast and the same in every run.
pub struct Choices(u64);

impl Choices {
    /// Those of one thread. What others choose must not be the same a little later, so the start is
    /// mixed, too.
    pub fn of(thread: usize) -> Self {
        Self(mix(thread as u64 + 1))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(self.0) % end as u64) as usize
    }

    /// Puts a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for nth in (1..list.len()).rev() {
            list.swap(nth, self.below(nth + 1));
        }
    }
}

/// Each thread appends single entries to a shard of its own, as far as there are enough.
pub fn shards(journal: Journal, count: u16) -> Open {
    Box::new(move |dir| {
        let (wal, keys) = sharded(dir, SyncMode::Strict, journal, count)?;
        Ok(Box::new(move |thread| {
            let (wal, key) = (wal.clone(), keys[thread % keys.len()].clone());
            step(move || wal.append(&key, &ENTRY).map(drop).map_err(io::Error::other))
        }))
    })
}

/// The same with the published version.
pub fn published_shards(count: u16) -> Open {
    Box::new(move |dir| {
        let options = ironwal_published::WalOptions::new(dir);
        let wal = ironwal_published::sharded::ShardedWal::new(options, count);
        let wal = Arc::new(wal.map_err(io::Error::other)?);
        let keys = key_of_each(count, |key| {
            wal.append(key, &ENTRY).map(|(shard, _)| shard).map_err(io::Error::other)
        })?;
        Ok(Box::new(move |thread| {
            let (wal, key) = (Arc::clone(&wal), keys[thread % keys.len()].clone());
            step(move || wal.append(&key, &ENTRY).map(drop).map_err(io::Error::other))
        }))
    })
}

/// Each append goes to any of `count` streams.
pub fn any_stream(journal: Journal, count: usize, max_open_segments: usize) -> Open {
    Box::new(move |dir| {
        let options = WalOptions { max_open_segments, ..WalOptions::new(dir) };
        let streams = Arc::new(streams(options, journal, count)?);
        Ok(Box::new(move |thread| {
            let (streams, mut choices) = (Arc::clone(&streams), Choices::of(thread));
            step(move || {
                let stream = &streams[choices.below(streams.len())];
                stream.append(&ENTRY).map(drop).map_err(io::Error::other)
            })
        }))
    })
}

/// The same with the published version.
pub fn published_any_stream(count: usize, max_open_segments: usize) -> Open {
    Box::new(move |dir| {
        let mut options = ironwal_published::WalOptions::new(dir);
        options.max_open_segments = max_open_segments;
        let wal = ironwal_published::Wal::new(options).map_err(io::Error::other)?;
        let names: Arc<Vec<String>> = Arc::new((0..count).map(stream_name).collect());
        each(count, |nth| wal.append(&names[nth], &ENTRY).map(drop).map_err(io::Error::other))?;
        Ok(Box::new(move |thread| {
            let (wal, names) = (wal.clone(), Arc::clone(&names));
            let mut choices = Choices::of(thread);
            step(move || {
                let name = &names[choices.below(names.len())];
                wal.append(name, &ENTRY).map(drop).map_err(io::Error::other)
            })
        }))
    })
}

/// Each thread appends entries of `entry_len` bytes to a stream of its own.
pub fn own_stream(journal: Journal, count: usize, entry_len: usize) -> Open {
    Box::new(move |dir| {
        let streams = streams(WalOptions::new(dir), journal, count)?;
        Ok(Box::new(move |thread| {
            let (stream, entry) = (streams[thread].clone(), vec![0x5A; entry_len]);
            step(move || stream.append(&entry).map(drop).map_err(io::Error::other))
        }))
    })
}

/// Each thread keeps `window` appends to one stream in flight. The latency of an append is from when
/// it was handed over until it is known to be durable.
pub fn window(journal: Journal, window: usize) -> Open {
    Box::new(move |dir| {
        let streams = streams(WalOptions::new(dir), journal, 1)?;
        Ok(Box::new(move |_| {
            let (stream, mut in_flight) = (streams[0].clone(), VecDeque::new());
            Box::new(move || {
                while in_flight.len() < window {
                    let begun = Instant::now();
                    let pending = stream.submit(&ENTRY).map_err(io::Error::other)?;
                    in_flight.push_back((begun, pending));
                }
                let oldest = in_flight.pop_front();
                let (begun, pending) = oldest.ok_or(io::ErrorKind::InvalidInput)?;
                pending.wait().map_err(io::Error::other)?;
                Ok(begun)
            })
        }))
    })
}

/// How a batch over shards is appended.
#[derive(Clone, Copy)]
pub enum Batch {
    /// The share of each shard is all or nothing.
    PerShard,
    /// The whole is.
    Atomic,
}

/// Batches over all shards, `batch_len` entries each. With `singles`, one entry is appended to each
/// shard before every batch, which is not part of the latency.
pub fn batches(
    (mode, journal): (SyncMode, Journal),
    count: u16,
    batch_len: usize,
    batch: Batch,
    singles: bool,
) -> Open {
    Box::new(move |dir| {
        let (wal, keys) = sharded(dir, mode, journal, count)?;
        Ok(Box::new(move |_| {
            let (wal, keys) = (wal.clone(), if singles { keys.clone() } else { Vec::new() });
            let keys_of_batch = keys_in_turn(&wal, batch_len).into_iter();
            let pairs: Pairs = keys_of_batch.map(|key| (key, ENTRY.to_vec())).collect();
            Box::new(move || {
                append_to_each(&wal, &keys)?;
                let begun = Instant::now();
                match batch {
                    Batch::PerShard => wal.append_batch(&pairs).map(drop),
                    Batch::Atomic => wal.append_batch_atomic(&pairs).map(drop),
                }
                .map_err(io::Error::other)?;
                Ok(begun)
            })
        }))
    })
}

/// How everything is made durable.
#[derive(Clone, Copy)]
pub enum Durable {
    /// `sync_all`.
    SyncAll,
    /// `create_checkpoint`, always of the same id.
    Checkpoint,
}

/// One unsynced entry to each shard, which is not part of the latency, and then all of them are made
/// durable.
pub fn dirty_shards(mode: SyncMode, journal: Journal, count: u16, durable: Durable) -> Open {
    Box::new(move |dir| {
        let (wal, keys) = sharded(dir, mode, journal, count)?;
        Ok(Box::new(move |_| {
            let (wal, keys) = (wal.clone(), keys.clone());
            Box::new(move || {
                append_to_each(&wal, &keys)?;
                let begun = Instant::now();
                match durable {
                    Durable::SyncAll => wal.inner().sync_all(),
                    Durable::Checkpoint => wal.create_checkpoint(b"bench"),
                }
                .map_err(io::Error::other)?;
                Ok(begun)
            })
        }))
    })
}

/// Streams that exist, each with one entry.
pub fn streams(options: WalOptions, journal: Journal, count: usize) -> io::Result<Vec<Stream>> {
    let environment = Environment::default().with_journal(journal);
    let wal = Wal::open_with(options, environment).map_err(io::Error::other)?;
    let streams: ironwal::Result<Vec<Stream>> =
        (0..count).map(|nth| wal.stream(&stream_name(nth))).collect();
    let streams = streams.map_err(io::Error::other)?;
    each(count, |nth| streams[nth].append(&ENTRY).map(drop).map_err(io::Error::other))?;
    Ok(streams)
}

/// A sharded log of which every shard exists, and a key for each.
fn sharded(
    dir: &Path,
    mode: SyncMode,
    journal: Journal,
    count: u16,
) -> io::Result<(ShardedWal, Vec<Vec<u8>>)> {
    let options = WalOptions { sync_mode: mode, ..WalOptions::new(dir) };
    let environment = Environment::default().with_journal(journal);
    let wal = Wal::open_with(options, environment).map_err(io::Error::other)?;
    let wal = ShardedWal::over(wal, count).map_err(io::Error::other)?;
    let keys = key_of_each(count, |key| {
        wal.append(key, &ENTRY).map(|(shard, _)| shard).map_err(io::Error::other)
    })?;
    Ok((wal, keys))
}

/// Appends keys until every shard has got one.
fn key_of_each(count: u16, append: impl Fn(&[u8]) -> io::Result<u16>) -> io::Result<Vec<Vec<u8>>> {
    let mut keys = vec![Vec::new(); count.into()];
    let mut missing = keys.len();
    for nth in 0_u64.. {
        let key = format!("key-{nth}").into_bytes();
        let place = &mut keys[usize::from(append(&key)?)];
        if place.is_empty() {
            *place = key;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    Ok(keys)
}

/// So many keys, the shards taking turns: each has as many as any other, or one less.
fn keys_in_turn(wal: &ShardedWal, count: usize) -> Vec<Vec<u8>> {
    let shards = usize::from(wal.shard_count());
    let share = count.div_ceil(shards);
    let mut keys = vec![VecDeque::new(); shards];
    for nth in 0_u64.. {
        let key = format!("batch-{nth}").into_bytes();
        let of_shard = &mut keys[usize::from(wal.route(&key))];
        if of_shard.len() < share {
            of_shard.push_back(key);
        }
        if keys.iter().all(|of_shard| of_shard.len() == share) {
            break;
        }
    }
    (0..count).filter_map(|nth| keys[nth % shards].pop_front()).collect()
}

fn append_to_each(wal: &ShardedWal, keys: &[Vec<u8>]) -> io::Result<()> {
    keys.iter().try_for_each(|key| wal.append(key, &ENTRY).map(drop).map_err(io::Error::other))
}

fn stream_name(nth: usize) -> String {
    format!("stream-{nth:05}")
}

/// Does something for each number below `count`, from several threads.
fn each(count: usize, work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    std::thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS)
            .map(|first| {
                let work = &work;
                scope.spawn(move || (first..count).step_by(CREATORS).try_for_each(work))
            })
            .collect();
        creators.into_iter().try_for_each(|creator| {
            creator.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })
}
