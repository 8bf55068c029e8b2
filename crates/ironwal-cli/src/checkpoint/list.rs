//! `ironwal checkpoint ls` and `show`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::Table;
use ironwal::sharded::ShardedWal;
use ironwal::{CorruptionPolicy, Error, Wal, WalOptions};
use serde::Serialize;

use crate::exit::{Done, Failure, say};
use crate::text::{counted, printable, utc};
use crate::{json, open, table};

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
    /// Print one JSON object per line, for each checkpoint
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let wal = open::sharded_to_read(&args.dir)?;
    let listed = newest(&wal, usize::MAX)?;
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    table::print(|out| match args.json {
        true => write_json(out, &listed),
        false => table::write(out, &table(&listed)),
    })?;
    if let Some(damage) = damage(&args.dir) {
        say(format_args!("checkpoints are damaged and left out: {damage}"));
        return Err(Failure::AlreadySaid);
    }
    Ok(())
}

/// A checkpoint as it is listed.
pub(crate) struct Listed {
    pub(crate) id: Vec<u8>,
    /// In nanoseconds since the Unix epoch.
    pub(crate) timestamp: u64,
    /// Entries in it and since.
    pub(crate) entries: u64,
    pub(crate) since: u64,
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

/// A checkpoint as JSON.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_base64: Option<String>,
    /// Nanoseconds since the Unix epoch.
    created_ns: u64,
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets: Option<&'a [u64]>,
}

impl<'a> Line<'a> {
    fn of(id: &'a [u8], created_ns: u64, entries: u64) -> Self {
        let (id, id_base64) = json::text(id);
        let (since, offsets) = (None, None);
        Self { r#type: "checkpoint", id, id_base64, created_ns, entries, since, offsets }
    }
}

pub(crate) fn write_json(out: &mut impl Write, listed: &[Listed]) -> io::Result<()> {
    listed.iter().try_for_each(|Listed { id, timestamp, entries, since }| {
        json::write(out, &Line { since: Some(*since), ..Line::of(id, *timestamp, *entries) })
    })
}

/// Print where a checkpoint ends in each shard
#[derive(clap::Args)]
#[command(after_help = "\
Prints the id of the first entry in each shard that it does not hold: that is where a replay begins.
Works beside a process that writes to the log, and changes nothing.

Examples:
  ironwal checkpoint show ./accounts
  ironwal checkpoint show ./accounts monday --json")]
pub(super) struct ShowArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The id of the checkpoint [default: the newest one]
    id: Option<OsString>,
    /// Print one JSON object; its offsets are those of the shards, from 0 on
    #[arg(long)]
    json: bool,
}

pub(super) fn show(args: &ShowArgs) -> Done {
    let wal = open::sharded_to_read(&args.dir)?;
    let loaded = match &args.id {
        None => wal.load_latest_checkpoint(),
        Some(id) => {
            let id = id.as_encoded_bytes();
            wal.load_checkpoint(id).map(|data| (id.to_vec(), data))
        }
    };
    let doing = match &args.id {
        None => "show the newest checkpoint".to_string(),
        Some(id) => format!("show checkpoint \"{}\"", printable(id.as_encoded_bytes())),
    };
    let (id, data) = loaded.map_err(|error| Failure::of(&doing, &error))?;
    wal.close().map_err(|error| Failure::of("close the log", &error))?;
    let entries = data.offsets.iter().sum();
    table::print(|out| {
        if args.json {
            let offsets = Some(&data.offsets[..]);
            return json::write(out, &Line { offsets, ..Line::of(&id, data.timestamp, entries) });
        }
        let (id, created) = (printable(&id), utc(data.timestamp));
        let entries = counted(entries, "entry", "entries");
        writeln!(out, "checkpoint \"{id}\", created {created} UTC: {entries}")?;
        let mut table = table::new(&["shard", "goes on at"]);
        for (shard, offset) in data.offsets.iter().enumerate() {
            table.add_row([format!("{shard:02}"), offset.to_string()]);
        }
        table::align_right(&mut table, [1]);
        table::write(out, &table)
    })
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
