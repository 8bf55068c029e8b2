//! What can go wrong, in the words of the person who has to act on it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The result of an operation on the log.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
///
/// An append that returned an error consumed no id, and its entries are never readable through the
/// handles of this process; after a crash they may be there or not.
///
/// ```
/// # use ironwal::{Error, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let account = wal.stream("account")?;
/// account.append(b"+100")?;
/// match account.append_at(0, b"-30") {
///     Err(Error::Conflict { next_id, .. }) => assert_eq!(next_id, 1), // read, and decide again
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system reported an error. If it came from a write or a sync, the stream is
    /// poisoned, and the next append says so: see [`Error::Poisoned`].
    #[error("I/O Error: {0}")]
    Io(#[from] io::Error),

    /// Something on the disk is not what was written there, and no single entry can be named:
    /// the root file, or a directory opened under `CorruptionPolicy::Error`.
    #[error("Data Corruption: {0}")]
    Corruption(String),

    /// The checksum of what was read does not match the stored one.
    #[error("CRC32 Checksum Mismatch: expected {expected:#x}, got {actual:#x} at offset {offset}")]
    CrcMismatch {
        /// The checksum that is stored.
        expected: u32,
        /// The checksum of the bytes that are there.
        actual: u32,
        /// Where the frame begins, in bytes from the start of its segment file.
        offset: u64,
    },

    /// An option or an argument is not usable; nothing was changed.
    #[error("Configuration Error: {0}")]
    Config(String),

    /// Never produced; in 0.6 neither.
    #[error("Segment not found for ID: {0}")]
    SegmentNotFound(u64),

    /// The stream of this handle was deleted. A new one of the same name has a new handle.
    #[error("Stream not found: {0}")]
    StreamNotFound(String),

    /// Never produced; in 0.6 neither.
    #[error("Invalid filename format in WAL directory: {0}")]
    InvalidFilename(String),

    /// Never produced; in 0.6 hardly.
    #[error("Serialization Error: {0}")]
    Serialization(String),

    /// A conditional append found another next id than the one it was made for. Nothing was
    /// appended: read what is new, and decide again.
    #[error(
        "stream {stream:?} goes on at id {next_id}, not at {expected}: see what is there, and decide anew"
    )]
    Conflict {
        /// The stream.
        stream: String,
        /// The id that the append was made for.
        expected: u64,
        /// The id that the next append gets.
        next_id: u64,
    },

    /// The entry that a follower was to read next has been pruned: it was too slow. It goes on at
    /// the first entry that is kept; what is between is gone.
    #[error(
        "entry {id} of stream {stream:?} is pruned, the first one that is kept is {first_id}: start \
         over from a snapshot that holds what is before it"
    )]
    Pruned {
        /// The stream.
        stream: String,
        /// The id that was due.
        id: u64,
        /// The first id that is kept.
        first_id: u64,
    },

    /// Entries that a follower has read were cut off. It goes on at the id where the stream ended
    /// then, or where the follower began, if that is higher.
    #[error(
        "entries of stream {stream:?} were cut off from id {next_id} on, and those up to {id} had been \
         read: undo what came of them"
    )]
    CutOff {
        /// The stream.
        stream: String,
        /// The id that was due.
        id: u64,
        /// Where it goes on.
        next_id: u64,
    },

    /// The log was opened for reading only.
    #[error("the log in {} is open for reading only", .0.display())]
    ReadOnly(PathBuf),

    /// Entries that were durable are damaged or missing. Entries around them stay readable, and
    /// their ids stay taken.
    #[error(
        "Damaged entries {} of stream {stream:?} in {} at offset {offset}: {reason}; {}",
        which(ids), file.display(), remedy(ids)
    )]
    Damaged {
        /// The stream.
        stream: String,
        /// The ids that cannot be read.
        ids: Range<u64>,
        /// The segment file.
        file: PathBuf,
        /// Where the damage begins, in bytes from the start of the file.
        offset: u64,
        /// The checksum that is stored there, if what is there still looks like a frame.
        expected: Option<u32>,
        /// The checksum of the bytes that are there.
        found: Option<u32>,
        /// What is wrong, in words.
        reason: String,
    },

    /// Somebody else has the directory open for writing: another process, or another [`Wal`] of
    /// this one.
    ///
    /// [`Wal`]: crate::Wal
    #[error(
        "the log in {} is open elsewhere: close the other writer, or use its handle", .0.display()
    )]
    Locked(PathBuf),

    /// An earlier write or sync of this stream failed, so what the disk holds of its end is
    /// unknown. What was committed before can be read. Close the log, look after the disk, and open
    /// it again: recovery finds out what was kept.
    #[error(
        "stream {stream:?} takes no appends since an I/O error ({cause}): close the log, look \
         after the disk, and open it again"
    )]
    Poisoned {
        /// The stream.
        stream: String,
        /// The error that poisoned it.
        cause: String,
    },

    /// No space could be reserved for the append. Nothing was written, nothing is lost, and
    /// appends work again once there is room.
    #[error("no space left for {}: {cause}; free some space and try again", path.display())]
    StorageFull {
        /// The file or directory that space was needed for.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },

    /// The file was written by a newer version of this library. It is not damaged.
    #[error(
        "{} has format version {found}, this library reads up to {supported}: use a newer ironwal",
        path.display()
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version that this library reads.
        supported: u32,
    },

    /// The directory was written by ironwal 0.6, whose format this version does not read.
    #[error(
        "{} was written by ironwal 0.6: `ironwal migrate` makes a log in a new directory out of it; \
         nothing was changed here", .0.display()
    )]
    LegacyDirectory(PathBuf),

    /// An entry or a batch is larger than [`MAX_FRAME_LEN`](crate::MAX_FRAME_LEN) allows.
    #[error("an append of {len} bytes is larger than the limit of {limit} bytes: split it")]
    TooLarge {
        /// The size that the frame would have, in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// There is no checkpoint of this id (here as text, as far as it is some).
    #[cfg(feature = "sharded")]
    #[error("Checkpoint not found: {0}")]
    CheckpointNotFound(String),

    /// A checkpoint was durable and cannot be read; the others can. What was before it is not lost:
    /// take an older one, or replay from the first entries that are kept.
    #[cfg(feature = "sharded")]
    #[error("Checkpoint corrupted at offset {offset}: {reason}")]
    CheckpointCorrupted {
        /// Where the damage begins, in bytes from the start of its file.
        offset: u64,
        /// What is wrong, and in which file.
        reason: String,
    },

    /// The log has another number of shards. It is chosen once, when the log is created, for keys
    /// find their shard by it.
    #[cfg(feature = "sharded")]
    #[error("Shard count mismatch: expected {expected}, found {found}")]
    ShardCountMismatch {
        /// What was asked for.
        expected: u16,
        /// What the log has.
        found: u16,
    },

    /// The id of a checkpoint must have 1 to 65,535 bytes.
    #[cfg(feature = "sharded")]
    #[error("Invalid checkpoint ID: {0}")]
    InvalidCheckpointId(String),

    /// No checkpoint was created yet, or all were dropped.
    #[cfg(feature = "sharded")]
    #[error("No checkpoints available")]
    NoCheckpoints,

    /// The log was closed; no handle of it can be used any more.
    #[error("the log is closed")]
    Closed,
}

/// Ids in words; the end of a stream may be among what is lost.
fn which(ids: &Range<u64>) -> String {
    match ids.end {
        u64::MAX => format!("from {} on", ids.start),
        end => format!("{}..{end}", ids.start),
    }
}

fn remedy(ids: &Range<u64>) -> String {
    match ids.end {
        u64::MAX => {
            "restore them from a backup; the stream takes no appends, for its end is unknown".into()
        }
        end => format!("restore them from a backup, or go on after id {}", end.saturating_sub(1)),
    }
}
