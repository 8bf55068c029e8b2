//! What can go wrong, before it becomes an error of openraft.

use std::io;
use std::sync::Arc;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a group failed. It is what an error of openraft has as its source.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Wal(Arc<ironwal::Error>),

    #[error(
        "record {id} has version {version}, this ironwal-openraft reads up to 1: use a newer one"
    )]
    Newer { id: u64, version: u8 },

    #[error("record {id} is not one of a Raft group: {what}")]
    Malformed { id: u64, what: &'static str },

    #[error(
        "record {id} has the entry {found}, where the one of index {expected} was due: restore the group, or \
         let the node join again with an empty log"
    )]
    Gap { id: u64, expected: u64, found: u64 },

    #[error("the entry of index {found} cannot be appended, the next one is {expected}")]
    NotConsecutive { expected: u64, found: u64 },

    #[error("the records of the group were pruned by somebody else, and its vote with them")]
    Emptied,

    #[error("group {0:?} is open already: use a clone of its log store")]
    AlreadyOpen(String),

    #[error("record {found} was to be record {expected}: somebody else appends to the stream")]
    Intruder { expected: u64, found: u64 },

    #[error("a vote or a log id of {0} bytes is larger than 65,535 bytes")]
    TooLarge(usize),

    #[error("{0}")]
    Codec(#[from] postcard::Error),

    #[error(
        "the group takes no writes since an error ({0}): shut the node down, and open the log again"
    )]
    Failed(Arc<Error>),

    #[error("reading was interrupted: the runtime shuts down")]
    Interrupted,
}

impl From<ironwal::Error> for Error {
    fn from(error: ironwal::Error) -> Self {
        Self::Wal(Arc::new(error))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Wal(wal) => match &**wal {
                ironwal::Error::Io(error) => error.kind(),
                ironwal::Error::StorageFull { .. } => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::Other,
            },
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
