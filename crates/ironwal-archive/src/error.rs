//! What can go wrong, in the words of the person who has to act on it.

use std::io;
use std::ops::Range;

/// The result of an operation on an archive.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed. No message holds a credential, or the part of an address that may.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Error};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// // Nothing was pushed yet.
/// let error = archive.entries("orders", 0).unwrap_err();
/// assert!(matches!(error, Error::NoArchive));
/// let told = "there is no archive at this address: check it, or push to it first";
/// assert_eq!(error.to_string(), told);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log could not be read or written.
    #[error(transparent)]
    Log(#[from] ironwal::Error),

    /// The store refused, did not answer in time, or failed, after all attempts.
    #[error("cannot {doing} {object}: {cause}")]
    Store {
        /// What was to be done: `read`, `write`, `list`, `delete`, `look at`.
        doing: &'static str,
        /// The object, or the prefix.
        object: String,
        /// What the store said.
        cause: String,
        /// Whether trying again later may help.
        is_transient: bool,
    },

    /// Another writer has the archive now: it has written the manifest that was due. Nothing that it needs was
    /// changed. If that is a mistake, end the other one, and begin anew: whoever begins last has the archive.
    #[error(
        "another writer has the archive since manifest {manifest}: two must not write to it; end one of \
         them, and start again"
    )]
    Fenced {
        /// The number of the manifest that was due.
        manifest: u64,
    },

    /// The store does not refuse to create an object that is there. So nothing keeps two writers apart.
    #[error(
        "the store does not honour conditional puts (put if absent), which keep two writers apart: use one \
         that does, or a setting by which it does"
    )]
    NoConditionalPut,

    /// The archive is of another log.
    #[error(
        "the archive is of log {archived}, and this is log {log}: use another address for this one"
    )]
    OtherLog {
        /// The log whose archive it is.
        archived: String,
        /// The log that there is.
        log: String,
    },

    /// There is no archive.
    #[error("there is no archive at this address: check it, or push to it first")]
    NoArchive,

    /// The archive was written by a newer version of this library.
    #[error(
        "the archive has format version {found}, this library reads up to {supported}: use a newer one"
    )]
    Version {
        /// The version it has.
        found: u32,
        /// The newest version that this library reads.
        supported: u32,
    },

    /// An object is not what was written there.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong.
        reason: String,
    },

    /// An object that a manifest names is not there.
    #[error("{object} is missing")]
    Missing {
        /// The object.
        object: String,
    },

    /// Entries are not in the archive: they had been pruned before they were pushed.
    #[error(
        "entries {}..{} of stream {stream:?} are not in the archive: they were pruned before they were pushed",
        ids.start, ids.end
    )]
    Gap {
        /// The stream.
        stream: String,
        /// The ids that are missing.
        ids: Range<u64>,
    },

    /// No such stream is in the archive.
    #[error("there is no stream {0:?} in the archive; `ls` has those that there are")]
    NoStream(String),

    /// No such checkpoint is in the archive.
    #[error("there is no checkpoint {0:?} in the archive")]
    NoCheckpoint(String),

    /// The entry to restore to is not in the archive.
    #[error("stream {stream:?} has the entries {}..{} in the archive, and not {id}", ids.start, ids.end)]
    NoEntry {
        /// The stream.
        stream: String,
        /// The id that was asked for.
        id: u64,
        /// The ids that there are.
        ids: Range<u64>,
    },

    /// An argument cannot be used.
    #[error("{0}")]
    Config(String),

    /// It was told to stop.
    #[error("interrupted")]
    Interrupted,

    /// Streams of the log were cut off, deleted, restored or pruned again and again meanwhile.
    #[error("the log was changed again and again while it was read: try again")]
    Restless,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Log(error.into())
    }
}

impl Error {
    /// Whether trying again later may help, without anybody doing anything.
    ///
    /// ```
    /// use ironwal_archive::Error;
    ///
    /// let busy = Error::Store {
    ///     doing: "write",
    ///     object: "manifests/7.json".into(),
    ///     cause: "no answer within 60s".into(),
    ///     is_transient: true,
    /// };
    /// assert!(busy.is_transient());
    /// // Somebody has to end one of the two writers.
    /// assert!(!Error::Fenced { manifest: 7 }.is_transient());
    /// ```
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store { is_transient: true, .. } | Self::Restless)
            || matches!(self, Self::Log(ironwal::Error::Locked(_)))
    }
}
