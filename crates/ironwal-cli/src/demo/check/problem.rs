//! What a log must not do, in words.

use std::fmt;

use crate::demo::report::Place;
use crate::demo::workers::checkpoint_id;
use crate::text::{counted, grouped};

/// Something that a log must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) enum Problem {
    /// An acknowledged line is nowhere.
    Lost { number: u64, place: Place },
    /// An acknowledged line is there, but not where it was reported.
    Moved { number: u64, reported: Place, found: Place },
    /// A line is there twice.
    Twice { number: u64, first: Place, second: Place },
    /// The bytes of an entry are not those of its line.
    Changed { number: u64, place: Place },
    /// An entry is too short to be one of ours.
    NotOurs { place: Place },
    /// Ids do not follow one another.
    IdGap { expected: Place, found: u64 },
    /// An entry could not be read.
    Unreadable { expected: Place, error: String },
    /// Lines of one key are in two shards.
    KeySplit { number: u64, place: Place, first_shard: u16 },
    /// A line stands behind one that its thread appended later.
    OutOfOrder { number: u64, place: Place },
    /// Lines in a row are missing, and one is there that their thread appended later.
    Hole { first: u64, count: u64 },
    /// Lines are there that nobody appended.
    Extra { count: u64 },
    /// An acknowledged checkpoint cannot be loaded.
    CheckpointLost { number: u64, error: String },
    /// A checkpoint ends behind the entries of a shard.
    CheckpointBeyond { number: u64, offset: Place, end: u64 },
    /// A checkpoint holds a line and misses one that its thread had appended before.
    CheckpointTorn { number: u64, holds: u64, misses: u64 },
    /// A checkpoint misses lines whose appends had returned when it was begun.
    CheckpointShort { number: u64, holds: u64, returned_before: u64 },
    /// A checkpoint misses what an older one holds.
    CheckpointBackwards { number: u64, offset: Place, before: u64 },
    /// The one that is loaded as the latest is not the newest.
    CheckpointNotLatest { newest: u64, found: String },
    /// Entries that come after the checkpoint are not replayed as they were appended.
    NotReplayed { place: Place },
}

impl Problem {
    /// Whether it is a checkpoint that is wrong.
    pub(in crate::demo) fn is_of_checkpoint(&self) -> bool {
        matches!(
            self,
            Self::CheckpointLost { .. }
                | Self::CheckpointBeyond { .. }
                | Self::CheckpointTorn { .. }
                | Self::CheckpointShort { .. }
                | Self::CheckpointBackwards { .. }
                | Self::CheckpointNotLatest { .. }
        )
    }

    fn line(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { number, place } => {
                write!(out, "line {number} was acknowledged at {place} and is not in the log")
            }
            Self::Moved { number, reported, found } => {
                write!(out, "line {number} was acknowledged at {reported} and is at {found}")
            }
            Self::Twice { number, first, second } => {
                write!(out, "line {number} is in the log twice, at {first} and at {second}")
            }
            Self::Changed { number, place } => {
                write!(out, "the entry at {place} says that it is line {number}, with other bytes")
            }
            Self::NotOurs { place } => write!(out, "the entry at {place} is no line of the demo"),
            Self::IdGap { expected, found } => {
                write!(out, "id {found} comes where {expected} was due")
            }
            Self::Unreadable { expected, error } => {
                write!(out, "what was due at {expected} cannot be read: {error}")
            }
            Self::KeySplit { number, place, first_shard } => write!(
                out,
                "line {number} is at {place}, and others of its key are in shard {first_shard}"
            ),
            Self::OutOfOrder { number, place } => {
                write!(out, "line {number} is at {place}, behind one that was appended later")
            }
            Self::Hole { first, count } => write!(
                out,
                "from line {first} on, {} not in the log, and one is that their thread appended later",
                counted(*count, "line is", "lines are")
            ),
            Self::Extra { count } => {
                write!(out, "{} lines are in the log that nobody appended", grouped(*count))
            }
            Self::NotReplayed { place } => {
                write!(out, "the replay after the pruning differs from what was at {place}")
            }
            // The others are of checkpoints.
            _ => Ok(()),
        }
    }

    fn checkpoint(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |number: &u64| checkpoint_id(*number);
        match self {
            Self::CheckpointLost { number, error } => {
                write!(out, "checkpoint {} was acknowledged and is lost: {error}", id(number))
            }
            Self::CheckpointBeyond { number, offset, end } => write!(
                out,
                "checkpoint {} ends at {offset}, and the shard ends at id {end}",
                id(number)
            ),
            Self::CheckpointTorn { number, holds, misses } => write!(
                out,
                "checkpoint {} holds line {holds} and misses line {misses}, whose append had \
                 returned before that of the other began",
                id(number)
            ),
            Self::CheckpointShort { number, holds, returned_before } => write!(
                out,
                "checkpoint {} holds {holds} lines, and {returned_before} appends had returned when \
                 it was begun",
                id(number)
            ),
            Self::CheckpointBackwards { number, offset, before } => write!(
                out,
                "checkpoint {} ends at {offset}, and an older one at id {before}",
                id(number)
            ),
            Self::CheckpointNotLatest { newest, found } => write!(
                out,
                "the latest checkpoint is said to be {found}, and {} is newer",
                id(newest)
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_checkpoint() { self.checkpoint(out) } else { self.line(out) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "id {} of shard {}", self.id, self.shard)
    }
}
