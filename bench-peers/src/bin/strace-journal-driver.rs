//! Appends strictly to many shards, between two marks that a trace of system calls shows: attempts to
//! open files that do not exist. `scripts/strace-check-journal` counts what is between them.
//!
//! ```text
//! strace-journal-driver DIR batches|atomic COUNT      COUNT batches of 100 entries over 16 shards
//! strace-journal-driver DIR threads|on COUNT          16 threads, COUNT entries each to a shard of its own;
//!                                                     on: every append goes to the journal
//! ```

use std::error::Error;
use std::sync::Barrier;

use ironwal::sharded::ShardedWal;
use ironwal::{Environment, Journal, Wal, WalOptions};

const SHARDS: u16 = 16;
const BATCH_LEN: usize = 100;
const ENTRY: [u8; 128] = [0x5A; 128];

/// How many appends or batches there are before the first mark: by then every file is there and has
/// room.
const BEFORE: u64 = 20;

const USAGE: &str = "usage: strace-journal-driver DIR batches|atomic|threads|on COUNT";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, what, count] = &arguments[..] else { return Err(USAGE.into()) };
    let count: u64 = count.parse()?;
    let journal = if what == "on" { Journal::On } else { Journal::Auto };
    let environment = Environment::default().with_journal(journal);
    let wal = ShardedWal::over(Wal::open_with(WalOptions::new(dir), environment)?, SHARDS)?;
    match what.as_str() {
        "batches" => batches(&wal, count, |entries| wal.append_batch(entries).map(drop))?,
        "atomic" => batches(&wal, count, |entries| wal.append_batch_atomic(entries).map(drop))?,
        "threads" | "on" => threads(&wal, count)?,
        _ => return Err(USAGE.into()),
    }
    wal.close()?;
    Ok(())
}

fn batches(
    wal: &ShardedWal,
    count: u64,
    append: impl Fn(&[(Vec<u8>, Vec<u8>)]) -> ironwal::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let keys = keys(wal);
    let entries: Vec<_> =
        (0..BATCH_LEN).map(|nth| (keys[nth % keys.len()].clone(), ENTRY.to_vec())).collect();
    (0..BEFORE).try_for_each(|_| append(&entries))?;
    mark("marker-begin");
    (0..count).try_for_each(|_| append(&entries))?;
    mark("marker-end");
    Ok(())
}

fn threads(wal: &ShardedWal, count: u64) -> Result<(), Box<dyn Error>> {
    let keys = keys(wal);
    // The threads, and the one that marks.
    let line = Barrier::new(keys.len() + 1);
    std::thread::scope(|scope| {
        let appenders: Vec<_> = keys
            .iter()
            .map(|key| {
                let line = &line;
                scope.spawn(move || {
                    let before = append(wal, key, BEFORE);
                    line.wait();
                    line.wait();
                    let done = append(wal, key, count);
                    line.wait();
                    before.and(done)
                })
            })
            .collect();
        line.wait();
        mark("marker-begin");
        line.wait();
        line.wait();
        mark("marker-end");
        appenders.into_iter().try_for_each(|appender| match appender.join() {
            Ok(done) => Ok(done?),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn append(wal: &ShardedWal, key: &[u8], count: u64) -> ironwal::Result<()> {
    (0..count).try_for_each(|_| wal.append(key, &ENTRY).map(drop))
}

/// One for each shard.
fn keys(wal: &ShardedWal) -> Vec<Vec<u8>> {
    (0..wal.shard_count())
        .filter_map(|shard| {
            let mut keys = (0_u64..).map(|nth| format!("key-{nth}").into_bytes());
            keys.find(|key| wal.route(key) == shard)
        })
        .collect()
}

fn mark(name: &str) {
    assert!(std::fs::File::open(name).is_err(), "{name} must not exist");
}
