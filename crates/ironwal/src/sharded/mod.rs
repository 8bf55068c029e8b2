//! Many streams as one log: keyed entries spread over shards, with consistent checkpoints.
//!
//! A [`ShardedWal`] has a fixed number of *shards*, which are streams. An entry is appended under a
//! key; all entries of a key are in one shard, in order. Shards are appended to, and synced,
//! independently of each other.
//!
//! A *checkpoint* is one instant over all shards, under an id that you choose: of every shard, the id
//! behind its last entry. Take one when you save a snapshot of your state; after a restart, load
//! the snapshot and [replay](ShardedWal::replay) what came after its checkpoint; when the snapshot is
//! safe, [prune](ShardedWal::prune_before_checkpoint) what lies before it.
//!
//! - Keys are not stored. If a replay needs them, put them into the entries.
//! - The snapshot must be of the instant of the checkpoint, or the replay applies entries twice or
//!   misses some: append nothing between [`create_checkpoint`](ShardedWal::create_checkpoint) and the
//!   copy of your state. Saving the copy can go on beside appends.
//! - Load the checkpoint whose snapshot you have, by its id. The latest may be one whose snapshot was
//!   never finished.
//!
//! ```
//! use ironwal::WalOptions;
//! use ironwal::sharded::ShardedWal;
//!
//! # let dir = tempfile::tempdir()?;
//! let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
//! wal.append(b"account-7", b"+100")?;
//! wal.create_checkpoint(b"snapshot-1")?;
//! // … the state is copied, and saved under that name while appends go on …
//! let (shard, id) = wal.append(b"account-7", b"-30")?;
//!
//! // After a restart, with the snapshot of that name:
//! let checkpoint = wal.load_checkpoint(b"snapshot-1")?;
//! for entry in wal.replay(&checkpoint)? {
//!     let (in_shard, at, entry) = entry?;
//!     assert_eq!((in_shard, at, &entry[..]), (shard, id, &b"-30"[..]));
//! }
//! wal.prune_before_checkpoint(b"snapshot-1")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoints;
mod follow;
mod index;
pub(crate) mod record;
mod replay;
mod router;

use std::fmt;
use std::ops::Range;

#[cfg(feature = "async")]
pub use follow::AsyncShardFollower;
pub use follow::ShardFollower;
pub use replay::Replay;

use crate::error::{Error, Result};
use crate::options::WalOptions;
use crate::sync::{Arc, OnceLock};
use crate::wal::own::Sharding;
use crate::wal::{Stream, Wal, WalIdIterator, WalIterator};
use checkpoints::Checkpoints;
pub(crate) use router::ROUTING;

/// How the names of the shards' streams begin.
const SHARD_PREFIX: &str = "shard_";

/// One instant over all shards.
///
/// ```
/// # use ironwal::WalOptions;
/// # use ironwal::sharded::ShardedWal;
/// # let dir = tempfile::tempdir()?;
/// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
/// wal.shard(1)?.append_batch(&[b"one", b"two"])?;
/// wal.create_checkpoint(b"monday")?;
/// wal.shard(1)?.append(b"three")?;
/// let monday = wal.load_checkpoint(b"monday")?;
/// assert_eq!(monday.offsets, [0, 2]); // shard 0 is empty; of shard 1, entry 2 came later
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointData {
    /// Of each shard, in their order, the id behind its last entry at that instant.
    pub offsets: Vec<u64>,
    /// When it was created: nanoseconds since the Unix epoch, by the clock of the environment. It
    /// orders nothing: the order of creation does.
    pub timestamp: u64,
    /// The number of shards.
    pub shard_count: u16,
}

impl CheckpointData {
    /// The checkpoint before the first entry, of a log with so many shards.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// wal.shard(1)?.append_batch(&[b"one", b"two"])?;
    /// let beginning = CheckpointData::beginning(2);
    /// assert_eq!(wal.replay(&beginning)?.count(), 2);
    /// let later = CheckpointData { offsets: vec![0, 1], ..beginning }; // of your own choice
    /// assert_eq!(wal.replay(&later)?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn beginning(shard_count: u16) -> Self {
        Self { offsets: vec![0; shard_count.into()], timestamp: 0, shard_count }
    }
}

/// What [`ShardedWal::prune_before_checkpoint`] freed.
///
/// See [`ShardedWal::prune_before_checkpoint`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStats {
    /// Shards of which something was freed.
    pub shards_pruned: u16,
    /// Segment files that were freed.
    pub segments_deleted: usize,
}

/// What [`ShardedWal::compact_checkpoints`] did.
///
/// See [`ShardedWal::compact_checkpoints`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionStats {
    /// Checkpoints there were.
    pub checkpoints_before: usize,
    /// Checkpoints there are now.
    pub checkpoints_after: usize,
    /// By how much the log of checkpoints has shrunk, in bytes of headers and entries.
    pub bytes_reclaimed: u64,
}

/// A write-ahead log over a fixed number of shards.
///
/// Clones share everything, from any thread. The number of shards is recorded when the log is
/// created and cannot be changed.
///
/// # Hostile keys
///
/// Where a key goes is a matter of public record: the hash has no secret, or the same key would not
/// find the same shard for ever. 10,000 ordinary keys over 16 shards are within 500 and 750 per
/// shard. Whoever chooses keys freely can choose them all in one shard: nothing is lost or out of
/// order then, and that shard's file is what all their appends wait for. If strangers choose the
/// keys, append under a keyed hash of them, with a secret of your own.
///
/// ```
/// # use ironwal::WalOptions;
/// # use ironwal::sharded::{CheckpointData, ShardedWal};
/// # let dir = tempfile::tempdir()?;
/// let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
/// std::thread::scope(|scope| {
///     for account in ["alice", "bob", "carol"] {
///         let wal = wal.clone();
///         scope.spawn(move || wal.append(account.as_bytes(), b"+100").unwrap());
///     }
/// });
/// assert_eq!(wal.replay(&CheckpointData::beginning(16))?.count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ShardedWal {
    inner: Arc<Inner>,
}

struct Inner {
    wal: Wal,
    shard_count: u16,
    /// The names of the streams that the shards are.
    names: Box<[String]>,
    /// A handle of each shard that was appended to.
    shards: Box<[OnceLock<Stream>]>,
    checkpoints: Checkpoints,
}

impl ShardedWal {
    /// Opens the sharded log in `opts.root_path` for writing, creating it if it is missing, and recovers
    /// what a crash left behind. Blocks until that is done. Of a new log, nothing is created per shard
    /// until it is appended to.
    ///
    /// ```
    /// use ironwal::sharded::ShardedWal;
    /// use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// ShardedWal::new(WalOptions::new(path), 16)?.close()?;
    /// let refused = ShardedWal::new(WalOptions::new(path), 8);
    /// assert!(matches!(refused, Err(Error::ShardCountMismatch { expected: 8, found: 16 })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::ShardCountMismatch`]: the log has another number of shards.
    /// - [`Error::Config`]: `shard_count` is zero; the log holds streams and is not sharded; keys find
    ///   their shard by an algorithm that this version does not know.
    /// - [`Error::Corruption`]: a checkpoint is damaged, and `opts.on_corruption` is
    ///   [`CorruptionPolicy::Error`](crate::CorruptionPolicy::Error).
    /// - Those of [`Wal::new`].
    pub fn new(opts: WalOptions, shard_count: u16) -> Result<Self> {
        check_count(shard_count)?;
        Self::over(Wal::new(opts)?, shard_count)
    }

    /// The sharded log in a [`Wal`] that is open already: one with an environment of its own
    /// ([`Wal::open_with`]), or for reading only ([`Wal::open_read_only`]), where [`Wal::shard_count`]
    /// says how many shards there are. Handles over the same `Wal` share everything, as clones do.
    ///
    /// ```
    /// use ironwal::sharded::ShardedWal;
    /// use ironwal::{Wal, WalOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let writer = ShardedWal::new(WalOptions::new(path), 4)?;
    /// writer.append(b"key", b"entry")?;
    /// writer.create_checkpoint(b"one")?;
    ///
    /// let wal = Wal::open_read_only(WalOptions::new(path))?; // as a rule in another process
    /// let shard_count = wal.shard_count().ok_or("not a sharded log")?;
    /// let reader = ShardedWal::over(wal, shard_count)?;
    /// assert_eq!(reader.load_latest_checkpoint()?.0, b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ShardedWal::new`]. [`Error::Config`]: the `Wal` is open for reading only, and not
    /// sharded.
    pub fn over(wal: Wal, shard_count: u16) -> Result<Self> {
        check_count(shard_count)?;
        let recorded = match wal.sharding() {
            Some(recorded) => recorded,
            None => {
                refuse_to_shard(&wal)?;
                wal.record_sharding(Sharding { shard_count, routing: ROUTING })?
            }
        };
        if recorded.routing != ROUTING {
            return Err(Error::Config(format!(
                "the log in {} finds the shards of keys by algorithm {}, and this version knows only \
                 algorithm {ROUTING}: use a newer ironwal",
                wal.root_path().display(),
                recorded.routing
            )));
        }
        if recorded.shard_count != shard_count {
            let (expected, found) = (shard_count, recorded.shard_count);
            return Err(Error::ShardCountMismatch { expected, found });
        }
        let open = || {
            let checkpoints = Checkpoints::open(&wal, shard_count)?;
            let names = (0..shard_count).map(shard_name).collect();
            let shards = (0..shard_count).map(|_| OnceLock::new()).collect();
            Ok(Inner { wal: wal.clone(), shard_count, names, shards, checkpoints })
        };
        // Of the checkpoints of a log there is one account, or what one handle creates would be
        // unknown to another, which compacts.
        Ok(Self { inner: wal.shared_by_handles(open)? })
    }

    /// Appends one entry to the shard of its key, and returns the shard and the entry's id there. The
    /// key is not stored. What the entry survives is up to the [`SyncMode`](crate::SyncMode); blocks
    /// on the disk.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let (shard, id) = wal.append(b"account-7", b"+100")?;
    /// assert_eq!(wal.append(b"account-7", b"-30")?, (shard, id + 1)); // a key stays in its shard
    /// assert_eq!(wal.shard(shard)?.get(id)?.as_deref(), Some(&b"+100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`].
    pub fn append(&self, key: &[u8], value: &[u8]) -> Result<(u16, u64)> {
        let shard = self.route(key);
        let id = self.in_shard(shard, |stream| stream.append(value))?;
        Ok((shard, id))
    }

    /// Appends `(key, value)` pairs, those of one shard as one batch, and returns the shard and the id
    /// of each in the order of `entries`. Within a shard they are in that order too.
    ///
    /// In [`SyncMode::Strict`](crate::SyncMode::Strict) and
    /// [`SyncMode::BatchOnly`](crate::SyncMode::BatchOnly) this is
    /// [`append_batch_atomic`](ShardedWal::append_batch_atomic), unless the journal is
    /// [off](crate::Journal::Off). Otherwise it goes shard after shard: the part of each is there after
    /// a crash or is not, and the whole is not atomic.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let entry = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    /// let batch = [entry("alice", "+100"), entry("bob", "+50"), entry("alice", "-30")];
    /// let placed = wal.append_batch(&batch)?;
    /// assert_eq!(placed.len(), 3);
    /// let (shard, id) = placed[2]; // of the third pair, which comes behind the first one
    /// assert_eq!((shard, id), (placed[0].0, placed[0].1 + 1));
    /// assert!(wal.append_batch(&[])?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append_batch`]. If it goes shard after shard, lower shards have been appended to
    /// by then, higher ones have not.
    pub fn append_batch(&self, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(u16, u64)>> {
        if self.inner.wal.batches_share_a_sync() {
            return self.append_batch_atomic(entries);
        }
        self.place_batch(entries, |parts| {
            let append = |(shard, values): &(u16, Vec<&[u8]>)| {
                self.in_shard(*shard, |stream| stream.append_batch(values))
            };
            parts.iter().map(append).collect()
        })
    }

    /// Appends `(key, value)` pairs all or nothing, whatever shards they are in, and returns the shard
    /// and the id of each in the order of `entries`. Within a shard they are in that order too.
    ///
    /// In every mode the batch is on stable storage when this returns, by one write and one sync.
    /// Readers and followers see all of it or none of it, and no checkpoint splits it; see
    /// [`WriteBatch`](crate::WriteBatch).
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let transfer = [
    ///     (b"alice".to_vec(), b"-100".to_vec()),
    ///     (b"bob".to_vec(), b"+100".to_vec()),
    /// ];
    /// let placed = wal.append_batch_atomic(&transfer)?;
    /// assert_eq!(placed[0].0, wal.route(b"alice"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`WriteBatch::commit`](crate::WriteBatch::commit).
    pub fn append_batch_atomic(&self, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<(u16, u64)>> {
        self.place_batch(entries, |parts| {
            let name_of = |shard: &u16| self.inner.names[usize::from(*shard)].as_str();
            let mut batch = self.inner.wal.batch();
            for (shard, values) in parts {
                batch.append_all(name_of(shard), values);
            }
            let mut ids = batch.commit()?;
            let mut of = |(shard, _): &(u16, Vec<&[u8]>)| ids.remove(name_of(shard));
            Ok(parts.iter().map(|part| of(part).unwrap_or_default()).collect())
        })
    }

    /// Sorts entries by shard, has them appended, and returns where each one is.
    fn place_batch(
        &self,
        entries: &[(Vec<u8>, Vec<u8>)],
        append: impl FnOnce(&[(u16, Vec<&[u8]>)]) -> Result<Vec<Range<u64>>>,
    ) -> Result<Vec<(u16, u64)>> {
        self.inner.wal.check_open()?;
        let mut order: Vec<(u16, usize)> =
            entries.iter().enumerate().map(|(nth, (key, _))| (self.route(key), nth)).collect();
        order.sort_unstable();
        let by_shard = || order.chunk_by(|(one, _), (other, _)| one == other);
        let values = |part: &[(u16, usize)]| {
            (part[0].0, part.iter().map(|(_, nth)| &entries[*nth].1[..]).collect())
        };
        let parts: Vec<(u16, Vec<&[u8]>)> = by_shard().map(values).collect();
        let ids = append(&parts)?;
        let mut placed = vec![(0, 0); entries.len()];
        for (part, ids) in by_shard().zip(ids) {
            for ((shard, nth), id) in part.iter().zip(ids) {
                placed[*nth] = (*shard, id);
            }
        }
        Ok(placed)
    }

    /// Appends entries of one key as one batch, all or nothing, and returns the shard and the id of
    /// each.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let shard = wal.route(b"account-7");
    /// let placed = wal.append_batch_for_key(b"account-7", &[b"+100", b"-30"])?;
    /// assert_eq!(placed, [(shard, 0), (shard, 1)]);
    /// assert!(wal.append_batch_for_key(b"account-7", &[])?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append_batch`].
    pub fn append_batch_for_key(&self, key: &[u8], values: &[&[u8]]) -> Result<Vec<(u16, u64)>> {
        if values.is_empty() {
            self.inner.wal.check_open()?;
            return Ok(Vec::new());
        }
        let shard = self.route(key);
        let ids = self.in_shard(shard, |stream| stream.append_batch(values))?;
        Ok(ids.map(|id| (shard, id)).collect())
    }

    /// The name that [`ShardedWal::append_batch_for_key`] had in version 0.6.0.
    ///
    /// See [`ShardedWal::append_batch_for_key`] for an example.
    ///
    /// # Errors
    ///
    /// Those of [`ShardedWal::append_batch_for_key`].
    pub fn append_batch_single_key(&self, key: &[u8], values: &[&[u8]]) -> Result<Vec<(u16, u64)>> {
        self.append_batch_for_key(key, values)
    }

    /// Records one instant over all shards under an id of 1 to 65,535 bytes. A checkpoint of that id
    /// that there is already is replaced, and this one is the latest. If a snapshot is found by the id,
    /// choose a new one each time: with a snapshot of the old checkpoint, a replay from the new one has
    /// a gap.
    ///
    /// It is one instant: if an append to any shard returned before another one began, no checkpoint
    /// holds the later entry and misses the earlier, in every mode and for single appends too.
    /// Everything in the checkpoint, and the checkpoint itself, survives power loss when this returns.
    ///
    /// Blocks on the disk: for the shards that are not durable, and for one sync more. Appends wait
    /// only while the ends of the shards are looked at. Waits while checkpoints are compacted.
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 1)?;
    /// wal.append(b"account-7", b"+100")?;
    /// wal.create_checkpoint(b"monday")?;
    /// wal.append(b"account-7", b"-30")?;
    /// assert_eq!(wal.load_checkpoint(b"monday")?.offsets, [1]);
    /// wal.create_checkpoint(b"monday")?; // in place of the other one
    /// assert_eq!(wal.load_checkpoint(b"monday")?.offsets, [2]);
    /// assert!(matches!(wal.create_checkpoint(b""), Err(Error::InvalidCheckpointId(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCheckpointId`]: nothing was recorded. Those of [`Wal::cut`] and [`Wal::append`]:
    /// the checkpoint cannot be loaded; after a crash it may be there.
    pub fn create_checkpoint(&self, user_id: &[u8]) -> Result<()> {
        self.inner.checkpoints.create(user_id, || {
            let offsets = self.inner.wal.cut(&self.inner.names)?;
            let timestamp = u64::try_from(self.inner.wal.now().as_nanos()).unwrap_or(u64::MAX);
            Ok(CheckpointData { offsets, timestamp, shard_count: self.shard_count() })
        })
    }

    /// Records a checkpoint that another log had, with its offsets and its time: for a log into which the
    /// entries of that one were copied, with their ids. Import them in the order of their creation: this
    /// one is the latest then, and replaces one of the same id.
    ///
    /// Everything below the offsets, and the checkpoint itself, survives power loss when this returns.
    /// Blocks as [`ShardedWal::create_checkpoint`] does.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// wal.shard(1)?.append_batch(&[b"one", b"two"])?; // as in the other log
    /// let checkpoint = CheckpointData { offsets: vec![0, 1], timestamp: 17, shard_count: 2 };
    /// wal.import_checkpoint(b"monday", &checkpoint)?;
    /// assert_eq!(wal.load_checkpoint(b"monday")?, checkpoint);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ShardCountMismatch`]: it is one over another number of shards. [`Error::Config`]: a shard
    /// ends before the checkpoint does; copy the entries first. Those of
    /// [`ShardedWal::create_checkpoint`].
    pub fn import_checkpoint(&self, user_id: &[u8], checkpoint: &CheckpointData) -> Result<()> {
        self.check_shards(checkpoint)?;
        self.inner.checkpoints.create(user_id, || {
            let ends = self.inner.wal.cut(&self.inner.names)?;
            let beyond = (0..).zip(ends.iter().zip(&checkpoint.offsets));
            let mut beyond = beyond.filter(|(_, (end, offset))| end < offset);
            match beyond.next() {
                None => Ok(checkpoint.clone()),
                Some((shard, (end, offset))) => Err(Error::Config(format!(
                    "the checkpoint holds entries of shard {shard} up to {offset}, and that ends at {end}"
                ))),
            }
        })
    }

    /// The checkpoint with this id. The newest, as far as they take 16 MiB together, are at hand; of
    /// an older one, one piece is read from the disk.
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// # let wal = ShardedWal::new(WalOptions::new(path), 4)?;
    /// wal.create_checkpoint(b"monday")?; // of a log without entries
    /// wal.close()?;
    /// let wal = ShardedWal::new(WalOptions::new(path), 4)?;
    /// assert_eq!(wal.load_checkpoint(b"monday")?.offsets, [0; 4]);
    /// assert!(matches!(wal.load_checkpoint(b"tuesday"), Err(Error::CheckpointNotFound(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::CheckpointNotFound`].
    /// - [`Error::CheckpointCorrupted`]: it is damaged; or it is not there, and one is damaged whose id
    ///   cannot be read.
    /// - [`Error::ShardCountMismatch`], [`Error::Io`], [`Error::Closed`].
    pub fn load_checkpoint(&self, user_id: &[u8]) -> Result<CheckpointData> {
        self.inner.checkpoints.load(user_id)
    }

    /// The checkpoint that was created last, and its id. If it is damaged, the newest that is not, and
    /// an event of `tracing` says so.
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 4)?;
    /// assert!(matches!(wal.load_latest_checkpoint(), Err(Error::NoCheckpoints)));
    /// wal.create_checkpoint(b"monday")?;
    /// wal.create_checkpoint(b"tuesday")?;
    /// let (id, tuesday) = wal.load_latest_checkpoint()?;
    /// assert_eq!(id, b"tuesday");
    /// assert_eq!(tuesday, wal.load_checkpoint(b"tuesday")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::NoCheckpoints`].
    /// - [`Error::CheckpointCorrupted`]: all there are, are damaged.
    /// - [`Error::ShardCountMismatch`], [`Error::Io`], [`Error::Closed`].
    pub fn load_latest_checkpoint(&self) -> Result<(Vec<u8>, CheckpointData)> {
        self.inner.checkpoints.load_latest()
    }

    /// The ids and timestamps of all checkpoints that can be read, in the order of their creation.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 4)?;
    /// wal.create_checkpoint(b"monday")?;
    /// wal.create_checkpoint(b"tuesday")?;
    /// wal.create_checkpoint(b"monday")?; // replaced, and the latest now
    /// let ids: Vec<Vec<u8>> = wal.list_checkpoints().into_iter().map(|(id, _)| id).collect();
    /// assert_eq!(ids, [b"tuesday".to_vec(), b"monday".to_vec()]);
    /// assert_eq!(wal.checkpoint_count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list_checkpoints(&self) -> Vec<(Vec<u8>, u64)> {
        self.inner.checkpoints.list()
    }

    /// How many checkpoints there are that can be read.
    ///
    /// See [`ShardedWal::list_checkpoints`] for an example.
    pub fn checkpoint_count(&self) -> usize {
        self.inner.checkpoints.count()
    }

    /// The entries of a shard from `start_offset` on; see [`Wal::iter`].
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let (shard, id) = wal.append(b"account-7", b"+100")?;
    /// let entries: Result<Vec<_>, _> = wal.iter_shard(shard, id)?.collect();
    /// assert_eq!(entries?, [b"+100"]);
    /// assert!(matches!(wal.iter_shard(16, 0), Err(Error::Config(_)))); // they count from 0
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: there is no such shard. [`Error::Closed`].
    pub fn iter_shard(&self, shard_id: u16, start_offset: u64) -> Result<WalIterator> {
        self.inner.wal.iter(self.name_of(shard_id)?, start_offset)
    }

    /// The same as [`ShardedWal::iter_shard`], with the id of each entry.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// wal.append_batch_for_key(b"account-7", &[b"+100", b"-30"])?;
    /// let shard = wal.route(b"account-7");
    /// let entries: Result<Vec<_>, _> = wal.iter_shard_with_ids(shard, 1)?.collect();
    /// assert_eq!(entries?, [(1, b"-30".to_vec())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ShardedWal::iter_shard`].
    pub fn iter_shard_with_ids(&self, shard_id: u16, start_offset: u64) -> Result<WalIdIterator> {
        self.inner.wal.iter_with_ids(self.name_of(shard_id)?, start_offset)
    }

    /// The entries of every shard from a checkpoint on: what a snapshot of that instant misses.
    /// [`CheckpointData::beginning`] is the checkpoint before the first entry; from other ids you can
    /// replay with offsets of your own.
    ///
    /// ```
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// let (shard, _) = wal.append(b"account-7", b"+100")?;
    /// wal.create_checkpoint(b"monday")?;
    /// let monday = wal.load_checkpoint(b"monday")?;
    /// assert_eq!(wal.replay(&monday)?.count(), 0); // nothing came after it
    /// wal.shard(shard)?.truncate_before(1)?;
    /// assert_eq!(wal.replay(&monday)?.count(), 0); // which it does not need
    /// let gap = wal.replay(&CheckpointData::beginning(2));
    /// assert!(matches!(gap, Err(Error::Pruned { id: 0, first_id: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Pruned`]: entries that come after the checkpoint have been pruned, so a replay would
    ///   have a gap. Take a newer checkpoint.
    /// - [`Error::Corruption`]: a shard ends before the checkpoint does. Files of it are lost; or it was
    ///   cut off or deleted through [`ShardedWal::inner`].
    /// - [`Error::ShardCountMismatch`], [`Error::Closed`].
    pub fn replay(&self, checkpoint: &CheckpointData) -> Result<Replay> {
        self.check_checkpoint(checkpoint)?;
        Ok(Replay::new(self.clone(), checkpoint.offsets.clone()))
    }

    /// The entries of every shard from a checkpoint on as they are committed, for ever: first what
    /// [`ShardedWal::replay`] yields, then what comes after it. See [`ShardFollower`] for what ends it.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::{CheckpointData, ShardedWal};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let mut follower = wal.follow_all(&CheckpointData::beginning(16))?;
    /// let reader = std::thread::spawn(move || follower.next());
    /// let (shard, id) = wal.append(b"account-7", b"+100")?;
    /// let (in_shard, at, entry) = reader.join().unwrap().unwrap()?;
    /// assert_eq!((in_shard, at, &entry[..]), (shard, id, &b"+100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ShardedWal::replay`].
    pub fn follow_all(&self, checkpoint: &CheckpointData) -> Result<ShardFollower> {
        self.check_checkpoint(checkpoint)?;
        ShardFollower::new(self, &checkpoint.offsets)
    }

    /// Whether all is there that comes after a checkpoint.
    fn check_checkpoint(&self, checkpoint: &CheckpointData) -> Result<()> {
        self.check_shards(checkpoint)?;
        for (shard, offset) in (0..self.shard_count()).zip(&checkpoint.offsets) {
            let stream = self.inner.wal.existing(&shard_name(shard))?;
            let (first_id, next_id) =
                stream.map_or((0, 0), |stream| (stream.first_id(), stream.next_id()));
            if first_id > *offset {
                let (stream, id) = (shard_name(shard), *offset);
                return Err(Error::Pruned { stream, id, first_id });
            }
            if next_id < *offset {
                return Err(Error::Corruption(format!(
                    "shard {shard} ends at id {next_id}, and the checkpoint holds entries of it up to \
                     {offset}: restore the shard from a backup"
                )));
            }
        }
        Ok(())
    }

    /// Frees, of every shard, the segments that hold nothing but what the checkpoint holds, but never
    /// the newest one; see [`Wal::truncate`]. The checkpoint stays. Older ones stay too and can be
    /// loaded, but what came after them may be gone.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// let (shard, _) = wal.append(b"account-7", b"+100")?;
    /// wal.create_checkpoint(b"monday")?;
    /// assert_eq!(wal.prune_before_checkpoint(b"monday")?.segments_deleted, 0); // it is the newest
    /// wal.shard(shard)?.rotate()?;
    /// wal.append(b"account-7", b"-30")?;
    /// let freed = wal.prune_before_checkpoint(b"monday")?;
    /// assert_eq!((freed.shards_pruned, freed.segments_deleted), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ShardedWal::load_checkpoint`]: nothing was freed. Those of [`Wal::truncate`]: the
    /// first one, after every shard has been tried.
    pub fn prune_before_checkpoint(&self, user_id: &[u8]) -> Result<PruneStats> {
        let checkpoint = self.load_checkpoint(user_id)?;
        let mut stats = PruneStats { shards_pruned: 0, segments_deleted: 0 };
        let mut first_error = None;
        for (shard, offset) in (0..self.shard_count()).zip(checkpoint.offsets) {
            match self.inner.wal.truncate(&shard_name(shard), offset) {
                Ok(freed) => {
                    stats.shards_pruned += u16::from(freed > 0);
                    stats.segments_deleted += freed;
                }
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error.map_or(Ok(stats), Err)
    }

    /// Drops all checkpoints but the `keep_latest_n` newest, and frees the space of those that were
    /// dropped or replaced before. After a crash it has been done or has not.
    ///
    /// Blocks on the disk while those that are kept are copied; new checkpoints wait for it, appends
    /// do not. What is damaged is dropped.
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 4)?;
    /// wal.create_checkpoint(b"monday")?;
    /// wal.create_checkpoint(b"tuesday")?;
    /// wal.create_checkpoint(b"wednesday")?;
    /// let done = wal.compact_checkpoints(2)?;
    /// assert_eq!((done.checkpoints_before, done.checkpoints_after), (3, 2));
    /// assert!(matches!(wal.load_checkpoint(b"monday"), Err(Error::CheckpointNotFound(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`], [`Error::Io`], [`Error::Poisoned`], [`Error::ReadOnly`],
    /// [`Error::Closed`]. It has been done, or has not.
    pub fn compact_checkpoints(&self, keep_latest_n: usize) -> Result<CompactionStats> {
        self.inner.checkpoints.compact(keep_latest_n)
    }

    /// Makes every entry of a shard durable that was committed before the call. Blocks on the disk.
    ///
    /// ```
    /// use ironwal::sharded::ShardedWal;
    /// use ironwal::{SyncMode, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(path) };
    /// let wal = ShardedWal::new(options, 4)?;
    /// let (shard, id) = wal.append(b"account-7", b"+100")?; // survives the process being killed
    /// wal.flush_shard(shard)?; // and now power loss
    /// assert_eq!(wal.shard(shard)?.durable_end(), id + 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: there is no such shard. Those of [`Stream::sync`].
    pub fn flush_shard(&self, shard_id: u16) -> Result<()> {
        self.inner.wal.check_changeable()?;
        self.inner.wal.cut(&[self.name_of(shard_id)?]).map(drop)
    }

    /// Makes every entry of every shard durable that was committed before the call. Blocks on the
    /// disk.
    ///
    /// ```
    /// use ironwal::sharded::ShardedWal;
    /// use ironwal::{SyncMode, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    ///
    /// let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(path) };
    /// let wal = ShardedWal::new(options, 4)?;
    /// wal.shard(0)?.append(b"+100")?;
    /// wal.shard(3)?.append_batch(&[b"+50", b"-30"])?;
    /// wal.flush_all()?;
    /// assert_eq!((wal.shard(0)?.durable_end(), wal.shard(3)?.durable_end()), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Stream::sync`].
    pub fn flush_all(&self) -> Result<()> {
        self.inner.wal.check_changeable()?;
        self.inner.wal.cut(&self.inner.names).map(drop)
    }

    /// The number of shards.
    ///
    /// See [`ShardedWal::route`] for an example.
    pub fn shard_count(&self) -> u16 {
        self.inner.shard_count
    }

    /// The shard of a key: the same for ever.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// assert_eq!(wal.shard_count(), 16);
    /// assert_eq!(wal.route(b"account-7"), 0); // on every machine, in every version
    /// assert_eq!(wal.route(b"Account-7"), 3); // keys are bytes: this is another one
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn route(&self, key: &[u8]) -> u16 {
        router::route(key, self.shard_count())
    }

    /// The stream of a shard, whose name is `shard_00`, `shard_01`, … `shard_100`, …
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 16)?;
    /// assert_eq!(wal.shard(3)?.name(), "shard_03");
    /// assert!(matches!(wal.shard(16), Err(Error::Config(_)))); // they count from 0
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`]: there is no such shard. [`Error::Closed`].
    pub fn shard(&self, shard_id: u16) -> Result<Stream> {
        self.inner.wal.stream(self.name_of(shard_id)?)
    }

    /// The log of which the shards are streams. It may have other streams besides.
    ///
    /// ```
    /// # use ironwal::WalOptions;
    /// # use ironwal::sharded::ShardedWal;
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
    /// wal.inner().append("audit", b"opened by alice")?; // beside the shards
    /// wal.create_checkpoint(b"monday")?;
    /// assert_eq!(wal.load_checkpoint(b"monday")?.offsets, [0, 0]); // it is in no shard
    /// assert_eq!(wal.inner().streams(), ["audit"]); // of the shards, none has been appended to
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inner(&self) -> &Wal {
        &self.inner.wal
    }

    /// Closes the log; see [`Wal::close`].
    ///
    /// ```
    /// # use ironwal::sharded::ShardedWal;
    /// # use ironwal::{Error, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// # let wal = ShardedWal::new(WalOptions::new(path), 16)?;
    /// let shard = wal.shard(3)?;
    /// wal.close()?;
    /// assert!(matches!(shard.append(b"+100"), Err(Error::Closed))); // every handle is of no use
    /// ShardedWal::new(WalOptions::new(path), 16)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::close`].
    pub fn close(&self) -> Result<()> {
        self.inner.wal.close()
    }

    /// Refuses a checkpoint over another number of shards.
    fn check_shards(&self, checkpoint: &CheckpointData) -> Result<()> {
        let (expected, found) = (self.shard_count(), checkpoint.shard_count);
        if found != expected || checkpoint.offsets.len() != usize::from(expected) {
            return Err(Error::ShardCountMismatch { expected, found });
        }
        Ok(())
    }

    /// Does something with a shard, whose handle is looked up once.
    fn in_shard<T>(&self, shard: u16, work: impl Fn(&Stream) -> Result<T>) -> Result<T> {
        let handle = &self.inner.shards[usize::from(shard)];
        let stream = match handle.get() {
            Some(stream) => stream,
            None => {
                let stream = self.shard(shard)?;
                handle.get_or_init(|| stream)
            }
        };
        let mut done = work(stream);
        while let Err(Error::StreamNotFound(_)) = done {
            // It was deleted through the inner log, and begins anew.
            done = work(&self.shard(shard)?);
        }
        done
    }

    /// The name of the stream of a shard, if there is such a shard.
    fn name_of(&self, shard: u16) -> Result<&str> {
        self.inner.names.get(usize::from(shard)).map(String::as_str).ok_or_else(|| {
            let count = self.shard_count();
            Error::Config(format!(
                "there is no shard {shard}: the log has {count}, numbered from 0"
            ))
        })
    }
}

impl fmt::Debug for ShardedWal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShardedWal")
            .field("wal", &self.inner.wal)
            .field("shard_count", &self.shard_count())
            .finish_non_exhaustive()
    }
}

fn shard_name(shard: u16) -> String {
    format!("{SHARD_PREFIX}{shard:02}")
}

fn check_count(shard_count: u16) -> Result<()> {
    match shard_count {
        0 => Err(Error::Config("shard_count must be greater than zero".into())),
        _ => Ok(()),
    }
}

/// Streams in a log for which no number of shards is recorded are nobody's shards. And a log that is
/// open for reading only becomes no sharded one.
fn refuse_to_shard(wal: &Wal) -> Result<()> {
    let root = wal.root_path().display();
    let streams = wal.streams();
    let shard = streams.iter().find(|name| name.starts_with(SHARD_PREFIX));
    Err(Error::Config(match (shard, streams.first()) {
        (Some(shard), _) => format!(
            "the log in {root} has the stream {shard:?} and no number of shards is recorded in it, so \
             nobody knows where its keys are: open it as a Wal and append its entries to a sharded \
             log in a new directory"
        ),
        (None, Some(first)) => format!(
            "the log in {root} is not sharded and has streams already, {first:?} for one: open it as a \
             Wal, or choose a new directory for the sharded log"
        ),
        (None, None) if wal.is_read_only() => format!(
            "the log in {root} is not sharded, and it is open for reading only: open it with \
             ShardedWal::new once"
        ),
        (None, None) => return Ok(()),
    }))
}
