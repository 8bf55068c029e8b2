//! Counting what there is.

use std::io::ErrorKind;

use ironwal::inspect::{Kind, dump};
use ironwal::sharded::ShardedWal;
use ironwal::{Error, Result, StreamStats, Wal};

use super::Args;
use crate::exit::{Done, Failure};
use crate::open;

/// `LZ4` in the flags of a frame: docs/format.md.
const FLAG_LZ4: u64 = 1;

const NANOS_PER_SECOND: f64 = 1e9;

pub(super) struct Stats {
    pub(super) rows: Vec<Row>,
    /// Of a sharded log, if all of it was asked for.
    pub(super) shards: Option<Shards>,
}

/// A stream, which may be a shard.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) shard: Option<u16>,
    pub(super) stats: StreamStats,
    pub(super) newest: Option<Newest>,
    /// Why nobody knows where it ends.
    pub(super) damage: Option<Error>,
}

/// The newest segment of a stream.
pub(super) struct Newest {
    pub(super) first_id: u64,
    /// Bytes of its frames.
    pub(super) bytes: u64,
    /// Which share of a full segment that is.
    pub(super) fill: f64,
    /// How many bytes of entries a byte of its frames holds, if any of them is compressed.
    pub(super) compression: Option<f64>,
}

/// How the entries are spread over the shards.
pub(crate) struct Shards {
    pub(crate) count: u16,
    /// How many entries the fullest shard has for each one that a shard has on average.
    pub(crate) skew: Option<f64>,
    /// From the oldest to the newest checkpoint.
    pub(crate) entries_per_second: Option<f64>,
}

impl Stats {
    pub(super) fn of(wal: &Wal, args: &Args, names: Vec<String>) -> Done<Self> {
        let failed = |error| Failure::of("read the log", &error);
        let rows = names.into_iter().map(|name| Row::of(wal, args, name)).collect::<Result<_>>();
        let mut rows: Vec<Row> = rows.map_err(failed)?;
        rows.sort_by_key(|row| (row.shard.is_none(), row.shard));
        let sharded = if args.streams.is_empty() { open::shards(&args.dir, wal)? } else { None };
        let shards = sharded.map(|wal| {
            let shards = rows.iter().filter(|row| row.shard.is_some());
            Shards::of(&wal, shards.map(|row| row.stats.entries()))
        });
        Ok(Self { rows, shards: shards.transpose().map_err(failed)? })
    }
}

impl Row {
    fn of(wal: &Wal, args: &Args, name: String) -> Result<Self> {
        let stream = wal.stream(&name)?;
        let (stats, damage) = (stream.stats(), open::lost_end(&stream));
        let newest = match wal.current_segment_start_id(&name) {
            Some(first_id) => Newest::of(wal, args, &name, first_id)?,
            None => None,
        };
        Ok(Self { shard: open::shard_of(wal, &name), name, stats, newest, damage })
    }
}

impl Newest {
    fn of(wal: &Wal, args: &Args, name: &str, first_id: u64) -> Result<Option<Self>> {
        let file = open::segment(&args.dir, name, first_id);
        let structures = match dump(&open::disk(), &file) {
            // Pruned a moment ago.
            Err(Error::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            structures => structures?,
        };
        let (mut bytes, mut end, mut is_compressed) = (0, first_id, false);
        for structure in structures {
            let structure = structure?;
            if matches!(structure.kind, Kind::Frame | Kind::LossFrame) {
                bytes += structure.len;
                end = structure.ids.end;
                let is_lz4 = |(name, value): &(&str, u64)| *name == "flags" && *value == FLAG_LZ4;
                is_compressed |= structure.fields.iter().any(is_lz4);
            }
        }
        let compression = match is_compressed {
            true => Some(share(bytes_of_entries(wal, name, first_id, end)?, bytes)),
            false => None,
        };
        Ok(Some(Self { first_id, bytes, fill: share(bytes, args.segment_size), compression }))
    }
}

/// The bytes of the entries that can be read.
fn bytes_of_entries(wal: &Wal, stream: &str, from: u64, end: u64) -> Result<u64> {
    let mut bytes = 0;
    for entry in wal.stream(stream)?.range(from..end) {
        match entry {
            Ok((_, entry)) => bytes += entry.len() as u64,
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

impl Shards {
    /// `entries` are those of each shard that has any.
    pub(crate) fn of(wal: &ShardedWal, entries: impl Iterator<Item = u64>) -> Result<Self> {
        let (all, most) = entries.fold((0, 0), |(all, most), it| (all + it, it.max(most)));
        let count = wal.shard_count();
        let skew = (all > 0).then(|| share(most, all) * f64::from(count));
        Ok(Self { count, skew, entries_per_second: rate(wal)? })
    }
}

/// Entries per second from the oldest to the newest checkpoint that can be read.
fn rate(wal: &ShardedWal) -> Result<Option<f64>> {
    let mut instants = Vec::new();
    for (id, _) in wal.list_checkpoints() {
        match wal.load_checkpoint(&id) {
            Ok(data) => instants.push((data.timestamp, data.offsets.iter().sum::<u64>())),
            // Dropped meanwhile, or damaged.
            Err(Error::CheckpointNotFound(_) | Error::CheckpointCorrupted { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (Some(oldest), Some(newest)) = (instants.first(), instants.last()) else { return Ok(None) };
    // A clock may have been set back.
    let nanos = newest.0.saturating_sub(oldest.0);
    let entries = newest.1.checked_sub(oldest.1);
    Ok(entries.filter(|_| nanos > 0).map(|entries| share(entries, nanos) * NANOS_PER_SECOND))
}

/// `part` of `whole`; to be shown, so that what is lost beyond 2⁵³ does not matter.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
