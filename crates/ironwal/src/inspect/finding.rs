//! What an inspection finds, in the words of the person who has to act on it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::format::frame::Fault;
use crate::segment::Damage;
use crate::segment::reader::DamageKind;

/// How bad a finding is; the worst comes first.
///
/// ```
/// use ironwal::inspect::Severity;
///
/// let mut found = [Severity::Stranger, Severity::TornTail, Severity::Redundancy];
/// found.sort();
/// assert_eq!(found[0], Severity::Redundancy); // the worst
/// assert_eq!(found[0].to_string(), "redundancy lost");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Something that had been durable cannot be read.
    Damage,
    /// A newer version wrote it. Nothing is damaged, and this library cannot read it.
    Newer,
    /// Entries are lost, and a mark in their place says so: an earlier opening, or a repair, has put it
    /// there. Opening does not complain of it, and reads do.
    Lost,
    /// Something that is there twice, or can be made again, is there once. Nothing is lost.
    Redundancy,
    /// Bytes at an end that were never acknowledged as durable. The next opening cuts them off.
    TornTail,
    /// What an interrupted operation left behind. The log deletes it, or uses it again.
    Leftover,
    /// Somebody else's. The library leaves it alone.
    Stranger,
}

/// What is wrong.
///
/// ```
/// use ironwal::inspect::{Problem, Severity};
///
/// let headline = |problem| match problem {
///     Problem::NewerVersion(version) => format!("version {version}: update the program"),
///     Problem::JournalFramesLost(count) => format!("at least {count} frames lost"),
///     other => format!("{}", other.severity()), // there may be more kinds one day
/// };
/// assert_eq!(headline(Problem::NewerVersion(2)), "version 2: update the program");
/// assert_eq!(headline(Problem::Checksum), "damage");
/// assert_eq!(Problem::RootCopy.severity(), Severity::Redundancy); // the other copy is whole
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// Neither copy in the root file can be read, or it is missing beside segments.
    RootLost,
    /// The same, and no header of a segment says the salt either: nothing can be checked.
    SaltLost,
    /// Neither slot in the header of a file of the journal can be read.
    JournalHeaderLost,
    /// So many frames of the journal are lost, at least, of which nobody knows what was in them.
    JournalFramesLost(u64),
    /// The journal holds entries of the stream with this number, whose directory is not there.
    JournalStreamMissing(u64),
    /// The journal holds entries of a segment that is not there, or whose header is lost.
    JournalSegmentMissing,
    /// Entries are lost with the journal, and not in the segment either.
    LostWithJournal,
    /// Neither the slots of a segment's header nor its seal can be read.
    HeaderLost,
    /// The segment may be of a life of the stream that was cut off: one behind it knows of a cut, and the
    /// ids between them are missing.
    BeforeCut,
    /// The file ends before what it held.
    CutShort,
    /// There is no frame where one was.
    NoFrame,
    /// A checksum does not match.
    Checksum,
    /// The uncompressed length of a frame is impossible.
    RawLength,
    /// The table of a batch contradicts itself, under a checksum that matches.
    Table,
    /// A compressed payload contradicts itself, under a checksum that matches.
    Compression,
    /// The frames are whole, and are not those that the seal speaks of.
    Digest,
    /// A segment is missing.
    SegmentMissing,
    /// A segment begins before the one before it ends.
    SegmentsOverlap,
    /// The directory holds the same stream as another one: somebody has copied segments.
    StreamCopied,
    /// A full segment does not end with its seal, and what proves it says that it had one.
    SealLost,
    /// An entry in the log of checkpoints is no record.
    NoCheckpoint,
    /// This version of the format is newer than the library's.
    NewerVersion(u32),
    /// A mark says that these entries are lost.
    MarkedLost,
    /// One of the two copies in the root file cannot be read.
    RootCopy,
    /// One of the two slots of a segment's header, or both of a sealed one, cannot be read.
    Slot,
    /// The sparse index of a full segment cannot be read.
    SparseIndex,
    /// A full segment has no seal; its header says how far it goes.
    NoSeal,
    /// One of the two slots in the header of a file of the journal cannot be read.
    JournalSlot,
    /// A frame of the journal is damaged, of which nothing is lost.
    JournalFrame,
    /// Bytes behind the last whole frame of a segment.
    TornTail,
    /// A segment behind a torn tail.
    BehindTornTail,
    /// The last frame of the journal is not whole.
    JournalTornTail,
    /// Damage to entries that have been pruned, in a segment of which others are kept.
    PrunedDamaged,
    /// The directory of a stream, without segments.
    NoSegments,
    /// A file or directory of an operation that was interrupted.
    Leftover,
    /// A file or directory that is not the library's.
    Stranger,
}

/// One thing that an inspection found.
///
/// Shown with `{}`, it says what, where, which entries are affected, and what to do.
///
/// ```
/// use ironwal::inspect::{Problem, VerifyOptions, verify};
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Wal, WalOptions};
///
/// # let disk = SimDisk::new(42);
/// # let environment = Environment::default().with_storage(Arc::new(disk.clone()));
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// # wal.append("orders", b"tea")?;
/// # wal.append("orders", b"coffee")?;
/// # wal.close()?;
/// disk.overwrite(Path::new("/log/orders/00000000000000000000.wal"), 8192 + 24, b"T")?;
/// let disk: Arc<dyn Storage> = Arc::new(disk);
/// let report = verify(&disk, Path::new("/log"), &VerifyOptions::default(), &|_| {})?;
/// let [finding] = &report.findings[..] else { panic!("{report:?}") };
/// assert_eq!((finding.problem, finding.offset), (Problem::Checksum, 8192));
/// assert_eq!((finding.stream.as_deref(), finding.ids.clone()), (Some("orders"), 0..1));
/// assert_ne!(finding.expected, finding.found);
/// assert!(finding.to_string().contains("restore them from a backup"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The file or directory.
    pub file: PathBuf,
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How many bytes it takes; 0 where that is not known, or nothing is there.
    pub len: u64,
    /// The stream, if it is about one. That of the checkpoints is called `.checkpoints`.
    pub stream: Option<String>,
    /// The ids that are affected; empty if none are, or nobody knows.
    pub ids: Range<u64>,
    /// The checksum that is stored there.
    pub expected: Option<u32>,
    /// The checksum of the bytes that are there.
    pub found: Option<u32>,
}

impl Problem {
    /// How bad it is.
    ///
    /// See [`Problem`] for an example.
    pub fn severity(self) -> Severity {
        use Problem as P;
        match self {
            P::RootLost
            | P::SaltLost
            | P::JournalHeaderLost
            | P::JournalFramesLost(_)
            | P::JournalStreamMissing(_)
            | P::JournalSegmentMissing
            | P::LostWithJournal
            | P::HeaderLost
            | P::BeforeCut
            | P::CutShort
            | P::NoFrame
            | P::Checksum
            | P::RawLength
            | P::Table
            | P::Compression
            | P::Digest
            | P::SegmentMissing
            | P::SegmentsOverlap
            | P::StreamCopied
            | P::SealLost
            | P::NoCheckpoint => Severity::Damage,
            P::NewerVersion(_) => Severity::Newer,
            P::MarkedLost => Severity::Lost,
            P::RootCopy | P::Slot | P::SparseIndex | P::NoSeal | P::PrunedDamaged => {
                Severity::Redundancy
            }
            P::JournalSlot | P::JournalFrame => Severity::Redundancy,
            P::TornTail | P::BehindTornTail | P::JournalTornTail => Severity::TornTail,
            P::NoSegments | P::Leftover => Severity::Leftover,
            P::Stranger => Severity::Stranger,
        }
    }

    /// What is wrong, in words, and what to do about it.
    fn words(self) -> (&'static str, &'static str) {
        use Problem as P;
        const RESTORE: &str = "restore them from a backup, or repair a copy to go on without them";
        const NOTHING: &str = "nothing is lost; a repair of a copy mends it";
        match self {
            P::RootLost => (
                "the root file cannot be read",
                "restore it from a backup of this log, or repair a copy",
            ),
            P::SaltLost => (
                "neither the root file nor the header of any segment can be read",
                "restore the root file from a backup of this log",
            ),
            P::JournalHeaderLost => (
                "both slots in the header of the journal are damaged, so nobody knows what it held",
                "restore the log from a backup, or repair a copy to go on without it",
            ),
            P::JournalFramesLost(_) => ("frames of the journal are lost", RESTORE),
            P::JournalStreamMissing(_) => {
                ("the journal holds entries of a stream that is not there", RESTORE)
            }
            P::JournalSegmentMissing => {
                ("the journal holds entries of a segment that cannot be read", RESTORE)
            }
            P::LostWithJournal => ("entries are lost with the journal", RESTORE),
            P::HeaderLost => ("the header of the segment cannot be read", RESTORE),
            P::BeforeCut => (
                "the segment may be older than a cut of the stream: a later one knows of it, and the \
                 entries between them are missing",
                "put the missing segments back from a backup of this log, or repair a copy to go on \
                 without them",
            ),
            P::CutShort => ("the file is cut short", RESTORE),
            P::NoFrame => ("there is no frame where one was", RESTORE),
            P::Checksum => ("the checksum does not match", RESTORE),
            P::RawLength => ("the uncompressed length is impossible", RESTORE),
            P::Table => ("the table of the batch contradicts itself", RESTORE),
            P::Compression => ("the compressed payload contradicts itself", RESTORE),
            P::Digest => (
                "the frames are not those that the seal speaks of: parts of the file may be older",
                "compare it with a backup",
            ),
            P::SegmentMissing => (
                "the segment file is missing",
                "put it back from a backup of this log, or repair a copy to go on without it",
            ),
            P::SegmentsOverlap => (
                "the segment begins before the one before it ends: one of them is not of this log as it was",
                "restore the stream from a backup",
            ),
            P::StreamCopied => (
                "the directory holds the same stream as another one: somebody has copied segments",
                "move the copy away, or restore from a backup what it has replaced",
            ),
            P::SealLost => ("the segment has lost its seal", "repair a copy"),
            P::NoCheckpoint => {
                ("the entry is no checkpoint", "the others can be loaded; compaction drops it")
            }
            P::NewerVersion(_) => {
                ("a newer version of the format", "use a version of ironwal that is as new")
            }
            P::MarkedLost => (
                "entries are lost, and marked as that",
                "restore them from a backup, if you have them",
            ),
            P::RootCopy => {
                ("one of the two copies is damaged", "nothing is lost; opening mends it")
            }
            P::Slot => ("a slot of the header cannot be read", NOTHING),
            P::SparseIndex => ("the sparse index cannot be read", NOTHING),
            P::NoSeal => ("the segment has no seal", NOTHING),
            P::JournalSlot => {
                ("one of the two slots is damaged", "nothing is lost; opening mends it")
            }
            P::JournalFrame => (
                "a frame of the journal is damaged, and what it held is there",
                "nothing is lost; look after the disk",
            ),
            P::PrunedDamaged => (
                "there is damage, and the entries that were there have been pruned",
                "nothing is lost; look after the disk",
            ),
            P::TornTail | P::JournalTornTail => (
                "a torn tail, which was never durable",
                "nothing to do: opening cuts it off, or a writer is about to complete it",
            ),
            P::BehindTornTail => (
                "the segment stands behind a torn tail; it was never durable",
                "nothing to do: opening deletes it",
            ),
            P::NoSegments => (
                "the stream has no segments: no append to it was ever acknowledged, or somebody removed them",
                "nothing to do, unless somebody did: restore them from a backup then",
            ),
            P::Leftover => (
                "an interrupted operation left it",
                "nothing to do: the log deletes it, or uses it again",
            ),
            P::Stranger => ("it is not the log's", "nothing to do: it is left alone"),
        }
    }
}

impl Finding {
    pub(super) fn new(problem: Problem, file: impl Into<PathBuf>) -> Self {
        let (file, ids) = (file.into(), 0..0);
        let (stream, expected, found) = (None, None, None);
        Self { problem, file, offset: 0, len: 0, stream, ids, expected, found }
    }

    /// What a read of a stream says of the same damage.
    pub(super) fn of_damage(stream: &str, damage: Damage, len: u64) -> Self {
        let problem = match damage.kind {
            DamageKind::Frame(Fault::Short) => Problem::CutShort,
            DamageKind::Frame(Fault::Header) => Problem::NoFrame,
            DamageKind::Frame(Fault::Lost) => Problem::MarkedLost,
            DamageKind::Frame(Fault::RawLength) => Problem::RawLength,
            DamageKind::Frame(Fault::Payload { .. }) => Problem::Checksum,
            DamageKind::Table => Problem::Table,
            DamageKind::Compression => Problem::Compression,
            DamageKind::Header => Problem::HeaderLost,
            DamageKind::Missing => Problem::SegmentMissing,
        };
        let mut finding = Self::new(problem, damage.file).at(damage.offset, len);
        if let DamageKind::Frame(Fault::Payload { expected, found }) = damage.kind {
            (finding.expected, finding.found) = (Some(expected), Some(found));
        }
        finding.of(stream, damage.ids)
    }

    pub(super) fn at(self, offset: u64, len: u64) -> Self {
        Self { offset, len, ..self }
    }

    pub(super) fn of(self, stream: &str, ids: Range<u64>) -> Self {
        Self { stream: Some(stream.to_string()), ids, ..self }
    }

    /// How bad it is.
    ///
    /// See [`Problem`] for an example.
    pub fn severity(&self) -> Severity {
        self.problem.severity()
    }

    /// The order in which findings are told.
    pub(super) fn place(&self) -> (&Path, u64, Problem, u64) {
        (&self.file, self.offset, self.problem, self.ids.start)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damage => "damage",
            Self::Newer => "newer version",
            Self::Lost => "lost",
            Self::Redundancy => "redundancy lost",
            Self::TornTail => "torn tail",
            Self::Leftover => "leftover",
            Self::Stranger => "stranger",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, to_do) = self.problem.words();
        write!(f, "{}: {}", self.severity(), self.file.display())?;
        if self.len > 0 {
            write!(f, " at {}..{}", self.offset, self.offset.saturating_add(self.len))?;
        } else if self.offset > 0 {
            write!(f, " at {}", self.offset)?;
        }
        write!(f, ": {what}")?;
        match self.problem {
            Problem::JournalFramesLost(count) => write!(f, " (at least {count})")?,
            Problem::JournalStreamMissing(number) => write!(f, " (stream number {number})")?,
            Problem::NewerVersion(version) => write!(f, " (version {version})")?,
            _ => {}
        }
        if let (Some(expected), Some(found)) = (self.expected, self.found) {
            write!(f, " (expected {expected:#010x}, found {found:#010x})")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, "; stream {stream:?}")?;
            match self.ids.end {
                _ if self.ids.is_empty() => {}
                u64::MAX => write!(f, ", entries from {} on", self.ids.start)?,
                end => write!(f, ", entries {}..{end}", self.ids.start)?,
            }
        }
        write!(f, "; {to_do}")
    }
}
