//! What a repair would do, before it does it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Problem, Severity};
use super::verify::{Report, VerifyOptions, verify, verify_alone};
use crate::error::Result;
use crate::storage::Storage;
use crate::sync::Arc;

/// What a repair does about a finding.
///
/// See [`plan_repair`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Make the root file again, from what the headers of segments say. Numbers of streams go on far
    /// above those that are known. The number of shards is that of the checkpoints, if there are any; else
    /// the log is not sharded any more.
    RebuildRoot,
    /// Make the header again, and keep the frames behind it that are whole. How far the newest segment of
    /// a stream went is not known: behind its last whole frame, ids are given out again.
    RebuildHeader,
    /// Put a mark in the place of the entries, by which reads go on to name them as lost.
    MarkLost,
    /// Make the seal and the sparse index again, or the slots, from the frames.
    Rebuild,
    /// Leave the file of the journal out. What is in it and in no segment is lost.
    LeaveJournal,
    /// Lose what the journal has for a stream or a segment that is not there.
    Lose,
    /// Drop the checkpoint; the others stay.
    DropCheckpoint,
    /// Cut it off, or leave it out, as the next opening would.
    CutOff,
    /// Leave it out of the copy.
    LeaveOut,
    /// Nothing: it is known to be lost, or opening mends it.
    Keep,
    /// There is none: a repair fails.
    Impossible,
}

/// One thing that a repair would do.
///
/// See [`plan_repair`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Action {
    /// What is done.
    pub measure: Measure,
    /// About what. Its bytes are kept aside if it is damage, or a torn tail.
    pub finding: Finding,
}

/// What a repair of a log would do, in the order of the files.
///
/// Shown with `{}`, it has a line for each action.
///
/// See [`plan_repair`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The log.
    pub root: PathBuf,
    /// What would be done.
    pub actions: Vec<Action>,
}

impl Plan {
    /// Whether anything is damaged that the repair would mend, or give up.
    ///
    /// ```
    /// use ironwal::inspect::{Measure, plan_repair};
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
    /// disk.replace(Path::new("/log/notes.txt"), b"call Bob")?; // somebody else's
    /// let disk: Arc<dyn Storage> = Arc::new(disk);
    /// let plan = plan_repair(&disk, Path::new("/log"))?;
    /// assert_eq!(plan.actions[0].measure, Measure::LeaveOut);
    /// assert!(!plan.is_needed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_needed(&self) -> bool {
        self.actions.iter().any(|action| {
            !matches!(action.measure, Measure::Keep | Measure::CutOff | Measure::LeaveOut)
        })
    }

    /// Why there can be no repair; empty if there can be one.
    ///
    /// ```
    /// use ironwal::inspect::{Problem, plan_repair, repair};
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
    /// # let segment = disk.contents(Path::new("/log/orders/00000000000000000000.wal"))?;
    /// # disk.replace(Path::new("/log/orders.old/00000000000000000000.wal"), &segment)?;
    /// // Somebody has made a copy of the directory `orders`, beside it.
    /// # let disk: Arc<dyn Storage> = Arc::new(disk);
    /// let plan = plan_repair(&disk, Path::new("/log"))?;
    /// let obstacles: Vec<Problem> = plan.obstacles().map(|finding| finding.problem).collect();
    /// assert_eq!(obstacles, [Problem::StreamCopied]);
    /// assert!(repair(&disk, Path::new("/log"), &plan, Path::new("/repaired")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn obstacles(&self) -> impl Iterator<Item = &Finding> {
        let is_one = |action: &&Action| action.measure == Measure::Impossible;
        self.actions.iter().filter(is_one).map(|action| &action.finding)
    }
}

/// Says what [`repair`](super::repair) would do. Reads all of the log, and changes nothing.
///
/// ```
/// use ironwal::inspect::{Measure, plan_repair};
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
/// disk.overwrite(Path::new("/log/orders/00000000000000000000.wal"), 8192 + 24, b"T")?; // rot
/// let disk: Arc<dyn Storage> = Arc::new(disk);
/// let plan = plan_repair(&disk, Path::new("/log"))?;
/// let [action] = &plan.actions[..] else { panic!("{plan}") };
/// assert_eq!((action.measure, action.finding.ids.clone()), (Measure::MarkLost, 0..1));
/// assert!(action.keeps_bytes());
/// assert!(plan.is_needed() && plan.obstacles().next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`verify`](super::verify).
pub fn plan_repair(storage: &Arc<dyn Storage>, root: &Path) -> Result<Plan> {
    let report = verify(storage, root, &VerifyOptions::default(), &|_| {})?;
    Ok(plan_for(root, report))
}

/// The same for whoever has the lock.
pub(super) fn plan_alone(storage: &Arc<dyn Storage>, root: &Path) -> Result<Plan> {
    Ok(plan_for(root, verify_alone(storage, root)?))
}

fn plan_for(root: &Path, report: Report) -> Plan {
    let action = |finding: Finding| Action { measure: measure_for(&finding), finding };
    let actions = report.findings.into_iter().map(action).collect();
    Plan { root: root.to_path_buf(), actions }
}

fn measure_for(finding: &Finding) -> Measure {
    use Problem as P;
    match finding.problem {
        P::RootLost => Measure::RebuildRoot,
        P::JournalHeaderLost => Measure::LeaveJournal,
        P::JournalStreamMissing(_) => Measure::Lose,
        P::JournalFramesLost(_) => Measure::MarkLost,
        P::HeaderLost => Measure::RebuildHeader,
        P::JournalSegmentMissing | P::SegmentMissing | P::LostWithJournal => Measure::MarkLost,
        P::BeforeCut
        | P::CutShort
        | P::NoFrame
        | P::Checksum
        | P::RawLength
        | P::Table
        | P::Compression => Measure::MarkLost,
        P::Digest | P::SealLost | P::Slot | P::SparseIndex | P::NoSeal | P::PrunedDamaged => {
            Measure::Rebuild
        }
        P::NoCheckpoint => Measure::DropCheckpoint,
        P::MarkedLost | P::RootCopy | P::JournalSlot | P::JournalFrame => Measure::Keep,
        P::TornTail | P::BehindTornTail | P::JournalTornTail => Measure::CutOff,
        P::NoSegments | P::Leftover | P::Stranger => Measure::LeaveOut,
        P::SaltLost | P::NewerVersion(_) | P::SegmentsOverlap | P::StreamCopied => {
            Measure::Impossible
        }
    }
}

impl Action {
    /// Whether the bytes that it is about are kept aside, in the directory `.damaged` of the copy.
    ///
    /// See [`plan_repair`] for an example.
    pub fn keeps_bytes(&self) -> bool {
        let severity = self.finding.severity();
        self.finding.len > 0
            && matches!(severity, Severity::Damage | Severity::TornTail | Severity::Redundancy)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RebuildRoot => "make the root file again",
            Self::RebuildHeader => "make the header again, and keep the frames that are whole",
            Self::MarkLost => "mark the entries as lost",
            Self::Rebuild => "make it again from the frames",
            Self::LeaveJournal => "leave the file out, and lose what is in no segment",
            Self::Lose => "lose the entries",
            Self::DropCheckpoint => "drop the checkpoint",
            Self::CutOff => "cut it off",
            Self::LeaveOut => "leave it out of the copy",
            Self::Keep => "keep it as it is",
            Self::Impossible => "nothing can be done",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.measure, self.finding)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.actions.iter().try_for_each(|action| writeln!(f, "{action}"))
    }
}
