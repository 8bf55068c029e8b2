//! The log of checkpoints: creating, finding and compacting them.
//!
//! It is a stream like the others, that no user sees; [`record`](super::record) says what its entries
//! are. Where a checkpoint is found is kept in memory ([`Index`]), and its offsets if it is one of the
//! newest.

use super::index::{Damaged, Index, Known};
use super::record::{Checkpoint, ID_LEN_MAX, Record};
use super::{CheckpointData, CompactionStats};
use crate::error::{Error, Result};
use crate::options::CorruptionPolicy;
use crate::sync::{Mutex, lock};
use crate::wal::follow::Follower;
use crate::wal::{Stream, Wal};

#[derive(Debug)]
pub(super) struct Checkpoints {
    wal: Wal,
    log: Stream,
    shard_count: u16,
    /// Held while a checkpoint is created, or while they are compacted: the order of creation is the
    /// order of the cuts.
    writing: Mutex<()>,
    /// Reads on what another process writes.
    follower: Mutex<Follower>,
    /// Never locked over a system call in a log that is written to, once it is open.
    index: Mutex<Index>,
}

impl Checkpoints {
    /// Reads the log of checkpoints. Blocks on the disk for as long as that takes: all of it is read.
    pub(super) fn open(wal: &Wal, shard_count: u16) -> Result<Self> {
        let (wal, log) = (wal.clone(), wal.checkpoints());
        let (writing, index) = (Mutex::default(), Mutex::default());
        let follower = Mutex::new(log.follow(0));
        let checkpoints = Self { wal, log, shard_count, writing, follower, index };
        checkpoints.read_on()?;
        if let (Some(damaged), CorruptionPolicy::Error) =
            (lock(&checkpoints.index).newest_damaged(), checkpoints.wal.corruption_policy())
        {
            return Err(Error::Corruption(damaged.reason.clone()));
        }
        // A compaction may have been interrupted after it was complete.
        if !checkpoints.wal.is_read_only()
            && let Err(error) = checkpoints.free_dropped()
        {
            // It takes space and does no other harm.
            tracing::warn!(%error, "checkpoints that were dropped could not be deleted");
        }
        Ok(checkpoints)
    }

    /// Records a checkpoint, which is `cut` under the lock that gives it its place.
    pub(super) fn create(
        &self,
        id: &[u8],
        cut: impl FnOnce() -> Result<CheckpointData>,
    ) -> Result<()> {
        let _span = tracing::debug_span!("create a checkpoint").entered();
        let invalid = || {
            let len = id.len();
            Error::InvalidCheckpointId(format!(
                "it has {len} bytes, and must have 1 to {ID_LEN_MAX}"
            ))
        };
        if id.is_empty() || id.len() > ID_LEN_MAX {
            return Err(invalid());
        }
        self.wal.check_changeable()?;
        let _writing = lock(&self.writing);
        let data = cut()?;
        self.add(Record::Checkpoint(Checkpoint::new(id, &data).ok_or_else(invalid)?))
    }

    /// The checkpoint with this id.
    pub(super) fn load(&self, id: &[u8]) -> Result<CheckpointData> {
        loop {
            self.look()?;
            let (entry, known) = self.find(id)?;
            // Otherwise it was compacted meanwhile.
            if let Some(checkpoint) = self.checkpoint_of(entry, known)? {
                return self.checked(checkpoint.data());
            }
        }
    }

    fn find(&self, id: &[u8]) -> Result<(u64, Known)> {
        let index = lock(&self.index);
        match (index.find(id), index.newest_damaged()) {
            (Some((entry, known)), _) => Ok((entry, known.clone())),
            (None, None) => {
                Err(Error::CheckpointNotFound(String::from_utf8_lossy(id).into_owned()))
            }
            (None, Some(Damaged { offset, reason, .. })) => {
                let reason = format!("{reason}; it may be the one that is asked for");
                Err(Error::CheckpointCorrupted { offset: *offset, reason })
            }
        }
    }

    /// The checkpoint that was created last and can be read.
    pub(super) fn load_latest(&self) -> Result<(Vec<u8>, CheckpointData)> {
        self.look()?;
        let mut damaged = lock(&self.index).newest_damaged().cloned();
        let mut before = u64::MAX;
        while let Some((entry, known)) = self.newest_before(before) {
            match self.checkpoint_of(entry, known) {
                Ok(Some(checkpoint)) => {
                    if let Some(newer) = damaged.filter(|damaged| damaged.entries.end > entry) {
                        let (taken, reason) =
                            (String::from_utf8_lossy(checkpoint.id()), newer.reason);
                        tracing::error!(
                            %taken,
                            "the latest checkpoint is damaged, an older one is taken: {reason}"
                        );
                    }
                    return Ok((checkpoint.id().to_vec(), self.checked(checkpoint.data())?));
                }
                // It was compacted meanwhile.
                Ok(None) => {
                    self.look()?;
                    before = u64::MAX;
                }
                Err(Error::CheckpointCorrupted { offset, reason }) => {
                    let entries = entry..entry + 1;
                    damaged.get_or_insert(Damaged { entries, offset, reason });
                    before = entry;
                }
                Err(error) => return Err(error),
            }
        }
        match damaged {
            Some(Damaged { offset, reason, .. }) => {
                Err(Error::CheckpointCorrupted { offset, reason })
            }
            None => Err(Error::NoCheckpoints),
        }
    }

    fn newest_before(&self, entry: u64) -> Option<(u64, Known)> {
        lock(&self.index).newest_before(entry).map(|(entry, known)| (entry, known.clone()))
    }

    /// Their ids and timestamps, in the order of their creation.
    pub(super) fn list(&self) -> Vec<(Vec<u8>, u64)> {
        // What could be read before is listed.
        let _ = self.look();
        let index = lock(&self.index);
        index.iter().map(|(_, known)| (known.id().to_vec(), known.timestamp())).collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        // What could be read before is counted.
        let _ = self.look();
        lock(&self.index).len()
    }

    /// Drops all but the `keep` newest, and what cannot be read.
    pub(super) fn compact(&self, keep: usize) -> Result<CompactionStats> {
        let _span = tracing::debug_span!("compact the checkpoints").entered();
        self.wal.check_changeable()?;
        let _writing = lock(&self.writing);
        let bytes_before = self.log.stats().bytes;
        let (before, kept, useless) = {
            let index = lock(&self.index);
            let kept = index.iter().skip(index.len().saturating_sub(keep));
            let kept: Vec<(u64, Known)> =
                kept.map(|(entry, known)| (entry, known.clone())).collect();
            (index.len(), kept, index.useless())
        };
        if kept.is_empty() && useless + before as u64 > 0 {
            // Nothing to copy, so this alone drops them all at once.
            let truncated = self.log.truncate_before(self.log.next_id());
            lock(&self.index).forget_before(self.log.first_id());
            truncated?;
        } else if kept.len() < before || useless > 0 {
            self.log.rotate()?;
            let first = self.log.next_id();
            self.copy(kept, first).inspect_err(|_| self.take_back(first))?;
        }
        self.free_dropped()?;
        Ok(CompactionStats {
            checkpoints_before: before,
            checkpoints_after: lock(&self.index).len(),
            bytes_reclaimed: bytes_before.saturating_sub(self.log.stats().bytes),
        })
    }

    /// Copies checkpoints to the end of the log, from the entry `first` on, with which a segment
    /// begins, so that all before can go, and closes them off: from then on, and not before, only they
    /// count.
    fn copy(&self, checkpoints: Vec<(u64, Known)>, first: u64) -> Result<()> {
        for (entry, known) in checkpoints {
            match self.checkpoint_of(entry, known) {
                Ok(Some(checkpoint)) => self.add(Record::Copy(checkpoint))?,
                Ok(None) => {}
                Err(Error::CheckpointCorrupted { reason, .. }) => {
                    tracing::error!("a damaged checkpoint is dropped by a compaction: {reason}");
                }
                Err(error) => return Err(error),
            }
        }
        self.add(Record::Closing { first })
    }

    /// Gives back the space of copies that are not going to be closed off.
    fn take_back(&self, first: u64) {
        let Some(last_kept) = first.checked_sub(1) else { return };
        match self.log.truncate_after(Some(last_kept)) {
            Ok(()) => lock(&self.index).cut_to(first),
            // They do not count, and take space until the next compaction.
            Err(error) => tracing::warn!(%error, "copies of checkpoints could not be taken back"),
        }
    }

    /// Appends a record and takes note of it. All but copies are durable when this returns, and with
    /// them what stands before.
    fn add(&self, record: Record) -> Result<()> {
        let bytes = record.encode();
        let entry = match record {
            Record::Copy(_) => self.log.append_unsynced(&bytes)?,
            Record::Checkpoint(_) | Record::Closing { .. } => self.log.append(&bytes)?,
        };
        lock(&self.index).add(entry, record);
        Ok(())
    }

    /// Frees what stands before the first entry that still counts.
    fn free_dropped(&self) -> Result<()> {
        let first = lock(&self.index).first();
        if self.log.first_id() < first {
            self.log.truncate_before(first)?;
        }
        Ok(())
    }

    /// Takes note of what another process has written.
    fn look(&self) -> Result<()> {
        self.wal.check_open()?;
        if self.wal.is_read_only() { self.read_on() } else { Ok(()) }
    }

    /// Reads what has not been read yet of the log. After an error, what was known is known.
    fn read_on(&self) -> Result<()> {
        let (mut follower, mut index) = (lock(&self.follower), lock(&self.index));
        let is_pruned = self.log.first_id() > index.first();
        if is_pruned || self.read_with(&mut follower, &mut index)? == Reading::FromTheBeginning {
            let (mut new_follower, mut new) = self.begin();
            while self.read_with(&mut new_follower, &mut new)? == Reading::FromTheBeginning {
                (new_follower, new) = self.begin();
            }
            (*follower, *index) = (new_follower, new);
        }
        if !self.wal.is_read_only() {
            // Nobody reads on, and it keeps a file open.
            *follower = self.log.follow(index.next());
        }
        Ok(())
    }

    /// Of the log from its beginning, nothing is known.
    fn begin(&self) -> (Follower, Index) {
        // Before the end is looked at: the record that dropped what was before is read too.
        let first = self.log.first_id();
        let mut index = Index::default();
        index.begin_at(first);
        (self.log.follow(first), index)
    }

    /// Reads up to the end, or to where the log is not any more what it was.
    fn read_with(&self, follower: &mut Follower, index: &mut Index) -> Result<Reading> {
        loop {
            match follower.try_next() {
                Ok(None) => return Ok(Reading::Done),
                Ok(Some((entry, bytes))) => match Record::decode(&bytes) {
                    Some(record) => index.add(entry, record),
                    None => {
                        let reason = format!("entry {entry} is no record of a checkpoint");
                        index.add_damaged(Damaged { entries: entry..entry + 1, offset: 0, reason });
                    }
                },
                Err(Error::Pruned { .. } | Error::CutOff { .. }) => {
                    return Ok(Reading::FromTheBeginning);
                }
                Err(Error::Damaged { ids: entries, offset, reason, file, .. }) => {
                    let reason = format!("{reason}, in {}", file.display());
                    tracing::error!(offset, "checkpoints are damaged: {reason}");
                    index.add_damaged(Damaged { entries, offset, reason });
                }
                Err(error) => {
                    // An error of the disk ended it.
                    *follower = self.log.follow(index.next());
                    return Err(error);
                }
            }
        }
    }

    /// A whole checkpoint, from memory or from the disk; `None`: it is not there any more.
    fn checkpoint_of(&self, entry: u64, known: Known) -> Result<Option<Checkpoint>> {
        match known {
            Known::Whole(checkpoint) => Ok(Some(checkpoint)),
            Known::Named { id, .. } => self.read(entry, &id),
        }
    }

    fn read(&self, entry: u64, id: &[u8]) -> Result<Option<Checkpoint>> {
        let read = match self.log.get(entry) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => Record::decode(&bytes),
            Err(Error::Damaged { offset, reason, file, .. }) => {
                let reason = format!("{reason}, in {}", file.display());
                return Err(Error::CheckpointCorrupted { offset, reason });
            }
            Err(error) => return Err(error),
        };
        match read {
            Some(Record::Checkpoint(read) | Record::Copy(read)) if read.id() == id => {
                Ok(Some(read))
            }
            _ => {
                let reason = format!("entry {entry} is not the record that it was");
                Err(Error::CheckpointCorrupted { offset: 0, reason })
            }
        }
    }

    /// Refuses a checkpoint over another number of shards.
    fn checked(&self, data: CheckpointData) -> Result<CheckpointData> {
        if data.shard_count != self.shard_count {
            let (expected, found) = (self.shard_count, data.shard_count);
            return Err(Error::ShardCountMismatch { expected, found });
        }
        Ok(data)
    }
}

/// How reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Done,
    /// Entries were pruned or cut off.
    FromTheBeginning,
}
