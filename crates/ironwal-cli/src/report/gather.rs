//! What the page shows, beside what was found by reading everything.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ironwal::inspect::{Report, Severity};
use ironwal::{StreamStats, Wal};

use crate::checkpoint::{self, Listed};
use crate::exit::{Done, Failure};
use crate::open;
use crate::stat::Shards;

pub(super) struct Content {
    /// In nanoseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) shards: Option<Shards>,
    pub(super) checkpoints: Vec<Listed>,
    /// Why the log does not open, if it does not: then nothing is known of it but what verifying found.
    pub(super) refusal: Option<String>,
}

pub(super) struct Stream {
    pub(super) name: String,
    pub(super) shard: Option<u16>,
    pub(super) stats: StreamStats,
    pub(super) segments: Vec<Segment>,
}

/// A file of a stream.
pub(super) struct Segment {
    pub(super) first_id: u64,
    /// The id behind its last entry, damaged ones included.
    pub(super) end: u64,
    /// Of the file, as far as it is in use.
    pub(super) bytes: u64,
    /// When it was last written to, in nanoseconds since the Unix epoch.
    pub(super) modified: u64,
    pub(super) is_damaged: bool,
}

impl Content {
    pub(super) fn of(dir: &Path, report: &Report) -> Self {
        let mut content = Self {
            at: nanos(SystemTime::now()),
            streams: Vec::new(),
            shards: None,
            checkpoints: Vec::new(),
            refusal: None,
        };
        if let Err(failure) = content.read(dir, report) {
            content.refusal = Some(failure.message());
        }
        content
    }

    fn read(&mut self, dir: &Path, report: &Report) -> Done {
        let wal = open::existing(dir)?;
        let damaged = damaged_files(report);
        for name in wal.streams() {
            self.streams.push(Stream::of(&wal, dir, name, &damaged)?);
        }
        self.streams.sort_by_key(|stream| (stream.shard.is_none(), stream.shard));
        if let Some(sharded) = open::shards(dir, &wal)? {
            let shards = self.streams.iter().filter(|stream| stream.shard.is_some());
            let shards = Shards::of(&sharded, shards.map(|stream| stream.stats.entries()));
            self.shards = Some(shards.map_err(|error| failed(&error))?);
            self.checkpoints = checkpoint::newest(&sharded, usize::MAX)?;
        }
        wal.close().map_err(|error| failed(&error))
    }

    /// All segments, by the time they were last written to.
    pub(super) fn segments_by_time(&self) -> Vec<&Segment> {
        let mut segments: Vec<_> = self.streams.iter().flat_map(|it| &it.segments).collect();
        segments.sort_by_key(|segment| segment.modified);
        segments
    }
}

fn failed(error: &ironwal::Error) -> Failure {
    Failure::of("read the log", error)
}

fn damaged_files(report: &Report) -> BTreeSet<PathBuf> {
    let damaged = report.findings.iter().filter(|it| it.severity() == Severity::Damage);
    damaged.map(|finding| finding.file.clone()).collect()
}

impl Stream {
    fn of(wal: &Wal, dir: &Path, name: String, damaged: &BTreeSet<PathBuf>) -> Done<Self> {
        let stats = wal.stream(&name).map_err(|error| failed(&error))?.stats();
        let shard = open::shard_of(wal, &name);
        let segments = segments(&open::stream_dir(dir, &name), &stats, damaged);
        Ok(Self { name, shard, stats, segments })
    }
}

/// The files of a stream that are there now, as a writer may prune and rotate meanwhile.
fn segments(dir: &Path, stats: &StreamStats, damaged: &BTreeSet<PathBuf>) -> Vec<Segment> {
    let mut segments = Vec::new();
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, metadata) = (file.path(), file.metadata());
        let (Some(first_id), Ok(metadata)) = (first_id(&path), metadata) else { continue };
        segments.push(Segment {
            first_id,
            end: stats.next_id,
            bytes: metadata.len(),
            modified: metadata.modified().map_or(0, nanos),
            is_damaged: damaged.contains(&path),
        });
    }
    segments.sort_by_key(|segment| segment.first_id);
    for at in 1..segments.len() {
        segments[at - 1].end = segments[at].first_id;
    }
    if let Some((newest, others)) = segments.split_last_mut() {
        // Most of its file may be reserved, and empty.
        let others: u64 = others.iter().map(|segment| segment.bytes).sum();
        newest.bytes = newest.bytes.min(stats.bytes.saturating_sub(others).max(1));
    }
    segments
}

/// The id in the name of a segment: docs/format.md.
fn first_id(file: &Path) -> Option<u64> {
    let is_one = file.extension() == Some(OsStr::new("wal"));
    file.file_stem().filter(|_| is_one)?.to_str()?.parse().ok()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
