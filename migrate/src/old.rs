//! The old log, as 0.6.9 reads it: its streams, its shards, its checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ironwal::sharded::CheckpointData;
use ironwal_published::sharded::ShardedWal;
use ironwal_published::{CorruptionPolicy, Error, ReadStrategy, Wal, WalOptions};

use crate::failure::{Failure, Result};
use crate::original::Original;
use crate::report::{CutOff, LostCheckpoint, Report};

/// How the streams of shards are named.
const SHARD_PREFIX: &str = "shard_";

/// A copy of the old log, open.
pub(crate) struct Old {
    sharded: ShardedWal,
    /// `None`: it is not sharded.
    pub(crate) shard_count: Option<u16>,
    /// In the order of their names.
    pub(crate) streams: Vec<OldStream>,
    /// In the order of their creation.
    pub(crate) checkpoints: Vec<(Vec<u8>, CheckpointData)>,
    /// About how many bytes there are to read.
    pub(crate) bytes: u64,
}

/// A stream of it.
#[derive(Debug, Clone)]
pub(crate) struct OldStream {
    /// Its directory, which is its name as far as 0.6 is concerned.
    pub(crate) dir: String,
    /// The name that it gets.
    pub(crate) name: String,
    /// The first id that has not been pruned.
    pub(crate) first_id: u64,
    /// The id behind the last entry, as far as anything tells of one.
    pub(crate) end: u64,
    /// The first ids of its segments.
    pub(crate) segments: BTreeSet<u64>,
}

impl Old {
    /// Opens the copy of `original`. `shards` is what the user says.
    pub(crate) fn open(
        copy: &Path,
        original: &Original,
        shards: Option<u16>,
        names: &BTreeMap<String, String>,
        report: &mut Report,
    ) -> Result<Self> {
        let shard_count = count_shards(copy, original, shards)?;
        let mut sharded = open(copy, shard_count.unwrap_or(1))?;
        report.left_alone = original.strangers().to_vec();
        report.cut_off = cut_off(copy, original)?;
        let checkpoints = checkpoints(&sharded, report);
        if shard_count.is_some() {
            let probe = probe(&sharded)?;
            sharded = open(copy, shard_count.unwrap_or(1))?;
            report.checkpoints_damaged = sharded.load_checkpoint(&probe).is_err();
        }
        let (bytes, streams) = (original.bytes(), Vec::new());
        let mut old = Self { sharded, shard_count, streams, checkpoints, bytes };
        let is_unknown = |dir: &&String| {
            !original.streams().contains(*dir) || (shard_count.is_some() && shard_of(dir).is_some())
        };
        if let Some(dir) = names.keys().find(is_unknown) {
            return Err(Failure::bad_usage(format!("there is no stream {dir:?} to be renamed")));
        }
        for dir in original.streams() {
            let name = names.get(dir).unwrap_or(dir).clone();
            let stream = old.stream(dir, name, original.segments(dir), report)?;
            if stream.end == 0 {
                continue;
            }
            if old.streams.iter().any(|other| other.name == stream.name) {
                return Err(Failure::bad_usage(format!(
                    "two streams would be named {:?}: rename one of them to something else",
                    stream.name
                )));
            }
            old.streams.push(stream);
        }
        Ok(old)
    }

    /// The log without its shards.
    pub(crate) fn wal(&self) -> &Wal {
        self.sharded.inner()
    }

    fn stream(
        &self,
        dir: &str,
        name: String,
        segments: BTreeSet<u64>,
        report: &mut Report,
    ) -> Result<OldStream> {
        let failed = |error: Error| Failure::old_log(&error);
        // Nothing is appended: it says what the next id would be.
        let next_id = self.wal().append_batch(dir, &[]).map_err(failed)?.start;
        let shard = self.shard_count.and_then(|_| shard_of(dir)).map(usize::from);
        let in_checkpoints = self
            .checkpoints
            .iter()
            .filter_map(|(_, checkpoint)| checkpoint.offsets.get(shard?).copied());
        // A file that the index has forgotten says that there was something.
        let last_segment = segments.last().copied().unwrap_or(0);
        let end = in_checkpoints.chain([next_id, last_segment]).max().unwrap_or(next_id);
        if !segments.is_empty() && end - last_segment > u32::MAX.into() {
            return Err(Failure::failed(format!(
                "0.6.9 takes the end of stream {dir:?} for id {end}, and its last segment begins with id \
                 {last_segment}: its index is damaged; restore {dir}/segments.idx from a backup"
            )));
        }
        if next_id > 0
            && let Some(current) = self.wal().current_segment_start_id(dir)
            && !segments.contains(&current)
        {
            let reason =
                "the file of the newest segment is missing, and nobody knows what was in it";
            report.lose(&name, current..u64::MAX, reason);
        }
        let first_id = segments.first().copied().unwrap_or(next_id);
        Ok(OldStream { dir: dir.into(), name, first_id, end, segments })
    }
}

fn open(copy: &Path, shard_count: u16) -> Result<ShardedWal> {
    let options = WalOptions {
        read_strategy: ReadStrategy::Mmap,
        on_corruption: CorruptionPolicy::Truncate,
        ..WalOptions::new(copy)
    };
    ShardedWal::new(options, shard_count).map_err(|error| Failure::old_log(&error))
}

/// How many shards the log has; `None`: it is not sharded. 0.6 does not record it but in checkpoints.
fn count_shards(copy: &Path, original: &Original, given: Option<u16>) -> Result<Option<u16>> {
    let probe = open(copy, given.unwrap_or(1).max(1))?;
    let latest = probe.list_checkpoints().pop();
    let recorded = latest.and_then(|(id, _)| match probe.load_checkpoint(&id) {
        Ok(checkpoint) => Some(checkpoint.shard_count),
        Err(Error::ShardCountMismatch { found, .. }) => Some(found),
        Err(_) => None,
    });
    let highest = original.streams().iter().filter_map(|dir| shard_of(dir)).max();
    let count = match (given, recorded) {
        (Some(given), Some(recorded)) if given != recorded => {
            return Err(Failure::bad_usage(format!(
                "the latest checkpoint is over {recorded} shards, and not over {given}"
            )));
        }
        (Some(0), _) => None,
        (Some(count), _) | (None, Some(count)) => Some(count),
        (None, None) => match highest {
            None => None,
            Some(highest) => {
                return Err(Failure::bad_usage(format!(
                    "there are shards up to number {highest} and no checkpoint that says how many the log \
                     has: say what your program passes to ShardedWal::new with --shards, or --shards 0 if \
                     these are streams like others"
                )));
            }
        },
    };
    match (count, highest) {
        (Some(count), Some(highest)) if highest >= count => Err(Failure::bad_usage(format!(
            "there is a shard number {highest}, so {count} shards are too few"
        ))),
        _ => Ok(count),
    }
}

/// The shard that a stream is, by its name.
fn shard_of(dir: &str) -> Option<u16> {
    let shard = dir.strip_prefix(SHARD_PREFIX)?.parse().ok()?;
    (dir == format!("{SHARD_PREFIX}{shard:02}")).then_some(shard)
}

/// What opening cut off: a torn tail, or intact entries behind a damaged one. Nobody can tell from outside.
fn cut_off(copy: &Path, original: &Original) -> Result<Vec<CutOff>> {
    let mut cut_off = Vec::new();
    for (file, len) in original.lens() {
        let kept = match fs::metadata(copy.join(file)) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Failure::io("read", &copy.join(file), &error)),
        };
        if kept < len && file.extension().is_some_and(|extension| extension == "wal") {
            cut_off.push(CutOff { file: file.to_path_buf(), kept, len });
        }
    }
    Ok(cut_off)
}

/// All checkpoints that can be loaded.
fn checkpoints(sharded: &ShardedWal, report: &mut Report) -> Vec<(Vec<u8>, CheckpointData)> {
    let mut loaded = Vec::new();
    for (id, _) in sharded.list_checkpoints() {
        match sharded.load_checkpoint(&id) {
            Ok(checkpoint) => {
                let ironwal_published::sharded::CheckpointData { offsets, timestamp, shard_count } =
                    checkpoint;
                loaded.push((id, CheckpointData { offsets, timestamp, shard_count }));
            }
            Err(error) => {
                let id = String::from_utf8_lossy(&id).into_owned();
                report.lost_checkpoints.push(LostCheckpoint { id, reason: error.to_string() });
            }
        }
    }
    // The latest one is named apart from the others.
    if let Err(Error::CheckpointNotFound(id)) = sharded.load_latest_checkpoint() {
        let reason = "it is the latest, and is not found: the log of checkpoints is damaged, or all \
                      were dropped by compact_checkpoints(0)";
        report.lost_checkpoints.push(LostCheckpoint { id, reason: reason.into() });
    }
    loaded
}

/// Creates a checkpoint in the copy, and returns its id. 0.6.9 reads the log of checkpoints up to the first
/// damage and says nothing; what it writes behind that is not found when the log is opened again.
fn probe(sharded: &ShardedWal) -> Result<Vec<u8>> {
    let taken: BTreeSet<Vec<u8>> =
        sharded.list_checkpoints().into_iter().map(|(id, _)| id).collect();
    let ids = (0_u64..).map(|nth| format!("ironwal-migrate {nth}").into_bytes());
    let id = ids.into_iter().find(|id| !taken.contains(id)).unwrap_or_default();
    sharded.create_checkpoint(&id).map_err(|error| Failure::old_log(&error))?;
    Ok(id)
}
