//! `ironwal checkpoint ls`.

use std::path::{Path, PathBuf};

use comfy_table::Table;
use ironwal::sharded::ShardedWal;
use ironwal::{CorruptionPolicy, Error, Wal, WalOptions};

use crate::exit::{Done, Failure, say};
use crate::text::{printable, utc};
use crate::{open, table};

/// List the checkpoints, the newest last
#[derive(clap::Args)]
#[command(after_help = "\
Shows when each was created, how many entries it holds, those that were pruned since included, and how
many have come since.
Damaged checkpoints are named on standard error and left out; the exit status is then 1.
Works beside a process that writes to the log, and changes nothing.

Example:
  ironwal checkpoint ls ./accounts")]
pub(super) struct Args {
    /// The directory of the log
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Done {
    let wal = open::sharded_to_read(&args.dir)?;
    let listed = newest(&wal, usize::MAX)?;
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    let table = table(&listed);
    table::print(|out| table::write(out, &table))?;
    if let Some(damage) = damage(&args.dir) {
        say(format_args!("checkpoints are damaged and left out: {damage}"));
        return Err(Failure::AlreadySaid);
    }
    Ok(())
}

/// A checkpoint as it is listed.
pub(crate) struct Listed {
    id: Vec<u8>,
    timestamp: u64,
    /// Entries in it and since.
    entries: u64,
    since: u64,
}

/// The newest `count` checkpoints, in the order of their creation.
pub(crate) fn newest(wal: &ShardedWal, count: usize) -> Done<Vec<Listed>> {
    let ids = wal.list_checkpoints();
    let mut listed = Vec::new();
    for (id, _) in &ids[ids.len().saturating_sub(count)..] {
        match wal.load_checkpoint(id) {
            Ok(data) => {
                let (entries, timestamp) = (data.offsets.iter().sum(), data.timestamp);
                listed.push(Listed { id: id.clone(), timestamp, entries, since: 0 });
            }
            // Dropped meanwhile, or damaged, which is said at the end.
            Err(Error::CheckpointNotFound(_) | Error::CheckpointCorrupted { .. }) => {}
            Err(error) => return Err(Failure::of("read the checkpoints", &error)),
        }
    }
    // Later, so that it is not behind them.
    let end = entries_ever(wal.inner())?;
    for checkpoint in &mut listed {
        checkpoint.since = end.saturating_sub(checkpoint.entries);
    }
    Ok(listed)
}

pub(crate) fn table(listed: &[Listed]) -> Table {
    let mut table = table::new(&["checkpoint", "created (UTC)", "entries", "since"]);
    for Listed { id, timestamp, entries, since } in listed {
        table.add_row([printable(id), utc(*timestamp), entries.to_string(), since.to_string()]);
    }
    table::align_right(&mut table, 2..4);
    table
}

/// How many entries were ever appended to the shards.
fn entries_ever(wal: &Wal) -> Done<u64> {
    let end = |name: String| Ok(wal.stream(&name)?.next_id());
    let shards = wal.streams().into_iter().filter(|name| open::shard_of(wal, name).is_some());
    shards.map(end).sum::<Result<u64, _>>().map_err(|error| Failure::of("read the log", &error))
}

/// What is damaged of the checkpoints: opening says it, where damage is an error.
fn damage(dir: &Path) -> Option<String> {
    let options = WalOptions { on_corruption: CorruptionPolicy::Error, ..WalOptions::new(dir) };
    let wal = Wal::open_read_only(options).ok()?;
    match ShardedWal::over(wal.clone(), wal.shard_count()?) {
        Err(Error::Corruption(reason)) => Some(reason),
        _ => None,
    }
}
