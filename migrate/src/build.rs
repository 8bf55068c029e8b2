//! The new log: every entry under its id, marks for those that are lost, checkpoints.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ironwal::inspect::lose_ids;
use ironwal::sharded::ShardedWal;
use ironwal::storage::{RealDisk, Storage};
use ironwal::{CompressionType, Stream, SyncMode, Wal, WalOptions};
use siphasher::sip::SipHasher13;

use crate::failure::{Failure, Result};
use crate::old::{Old, OldStream};
use crate::progress::Bar;
use crate::reading::{Reader, Step};
use crate::report::Report;

/// How much is appended at once: as many entries, or bytes.
const BATCH_ENTRIES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// What was read of a stream, and must be read of the new one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) first_id: u64,
    pub(crate) next_id: u64,
    pub(crate) entries: u64,
    /// In order; two that touch are one.
    pub(crate) lost: Vec<Range<u64>>,
    /// Over the ids and bytes of all entries.
    digest: u64,
}

impl Content {
    /// Of a stream that begins with `first_id`.
    pub(crate) fn new(first_id: u64) -> Self {
        Self { first_id, next_id: first_id, ..Self::default() }
    }

    /// Adds the next entry.
    pub(crate) fn add(&mut self, id: u64, entry: &[u8]) {
        let mut hasher = SipHasher13::new_with_keys(self.digest, id);
        hasher.write(entry);
        self.digest = hasher.finish();
        self.entries += 1;
        self.next_id = id + 1;
    }

    /// Adds the next ids, which are lost.
    pub(crate) fn lose(&mut self, ids: Range<u64>) {
        self.next_id = ids.end;
        match self.lost.last_mut() {
            Some(last) if last.end == ids.start => last.end = ids.end,
            _ => self.lost.push(ids),
        }
    }
}

/// Builds the log in `dir`, which does not exist, and closes it. Returns what is in each stream.
pub(crate) fn build(
    dir: &Path,
    old: &Old,
    compress: bool,
    report: &mut Report,
) -> Result<BTreeMap<String, Content>> {
    let compression = if compress { CompressionType::Lz4 } else { CompressionType::None };
    // One sync for all, when it is closed: before that it is no log.
    let options = WalOptions { sync_mode: SyncMode::Async, compression, ..WalOptions::new(dir) };
    let failed = |error| Failure::new_log(&error);
    match old.shard_count {
        None => Wal::new(options.clone()).and_then(|wal| wal.close()),
        Some(count) => ShardedWal::new(options.clone(), count).and_then(|wal| wal.close()),
    }
    .map_err(failed)?;
    let disk: Arc<dyn Storage> = Arc::new(RealDisk);
    let wal = Wal::new(options.clone()).map_err(failed)?;
    for stream in &old.streams {
        wal.begin_stream(&stream.name, stream.first_id).map_err(failed)?;
    }
    wal.close().map_err(failed)?;
    let bar = Bar::new(old.bytes, "migrated");
    let mut copying: Vec<Copying<'_>> =
        old.streams.iter().map(|stream| Copying::new(old, stream)).collect();
    // A mark is made while the log is closed. So each round takes every stream up to the next one.
    while copying.iter().any(|copying| !copying.is_done) {
        let wal = Wal::new(options.clone()).map_err(failed)?;
        for copying in copying.iter_mut().filter(|copying| !copying.is_done) {
            copying.copy(&wal, report, &bar)?;
        }
        wal.close().map_err(failed)?;
        let lost = |copying: &Copying<'_>| copying.lost_to.filter(|_| !copying.is_done);
        let marks: Vec<(&str, u64)> = copying
            .iter()
            .filter_map(|copying| Some((copying.stream.name.as_str(), lost(copying)?)))
            .collect();
        lose_ids(&disk, dir, &marks).map_err(failed)?;
    }
    import_checkpoints(&options, old)?;
    report.shard_count = old.shard_count;
    report.checkpoints = old.checkpoints.len();
    report.streams = old.streams.len();
    let content = copying.into_iter().map(|it| (it.stream.name.clone(), it.content));
    Ok(content.collect())
}

fn import_checkpoints(options: &WalOptions, old: &Old) -> Result {
    let failed = |error| Failure::new_log(&error);
    let Some(count) = old.shard_count else { return Ok(()) };
    let wal = ShardedWal::new(options.clone(), count).map_err(failed)?;
    for (id, checkpoint) in &old.checkpoints {
        wal.import_checkpoint(id, checkpoint).map_err(failed)?;
    }
    wal.close().map_err(failed)
}

/// A stream that is being copied.
struct Copying<'a> {
    stream: &'a OldStream,
    reader: Reader<'a>,
    content: Content,
    /// Up to here its next ids are lost.
    lost_to: Option<u64>,
    is_done: bool,
}

impl<'a> Copying<'a> {
    fn new(old: &'a Old, stream: &'a OldStream) -> Self {
        let reader = Reader::new(old.wal(), stream, stream.first_id);
        let content = Content::new(stream.first_id);
        Self { stream, reader, content, lost_to: None, is_done: false }
    }

    /// Copies entries up to the next that is lost, or the end.
    fn copy(&mut self, wal: &Wal, report: &mut Report, bar: &Bar) -> Result {
        let new = wal.stream(&self.stream.name).map_err(|error| Failure::new_log(&error))?;
        let mut batch = Batch::default();
        self.lost_to = None;
        loop {
            match self.reader.step() {
                Step::Entry(id, entry) => {
                    self.content.add(id, &entry);
                    report.entries += 1;
                    report.bytes += entry.len() as u64;
                    bar.add(entry.len() as u64);
                    batch.add(id, entry, &new)?;
                }
                Step::Lost(ids, reason) => {
                    report.lose(&self.stream.name, ids.clone(), &reason);
                    self.lost_to = Some(ids.end);
                    self.content.lose(ids);
                    return batch.append(&new);
                }
                Step::End => {
                    self.is_done = true;
                    return batch.append(&new);
                }
            }
        }
    }
}

/// Entries that are appended together.
#[derive(Default)]
struct Batch {
    first_id: u64,
    entries: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, id: u64, entry: Vec<u8>, to: &Stream) -> Result {
        if self.entries.is_empty() {
            self.first_id = id;
        }
        self.bytes += entry.len();
        self.entries.push(entry);
        if self.entries.len() >= BATCH_ENTRIES_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.append(to)?;
        }
        Ok(())
    }

    /// Appends what there is, under the ids that it has.
    fn append(&mut self, to: &Stream) -> Result {
        let entries: Vec<&[u8]> = self.entries.iter().map(Vec::as_slice).collect();
        to.append_batch_at(self.first_id, &entries).map_err(|error| Failure::new_log(&error))?;
        self.entries.clear();
        self.bytes = 0;
        Ok(())
    }
}
