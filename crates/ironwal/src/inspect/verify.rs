//! Everything of a log is read, and what is wrong with it is told.

use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Problem, Severity};
use super::journal::{self, Judged};
use super::root::{self, Dir, Listing};
use super::stream;
use crate::error::{Error, Result};
use crate::log::recover::view::View;
use crate::segment::first_id_of;
use crate::storage::{OpenMode, Storage};
use crate::sync::{Arc, AtomicU64, Ordering, in_parallel};
use crate::wal::root::LOCK_NAME;

/// How [`verify`] goes about it.
///
/// See [`VerifyOptions::with_threads`] for an example.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How many segments are read at the same time; 1 reads all of them in this thread.
    pub threads: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { threads: 1 }
    }
}

impl VerifyOptions {
    /// Reads so many segments at the same time.
    ///
    /// ```
    /// use ironwal::inspect::{VerifyOptions, verify};
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal::{Environment, Wal, WalOptions};
    ///
    /// # let disk = SimDisk::new(42);
    /// # let environment = Environment::default().with_storage(Arc::new(disk.clone()));
    /// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// # wal.append("orders", b"tea")?;
    /// # wal.append("bills", b"3.20")?;
    /// # wal.close()?;
    /// # for stream in ["orders", "bills"] {
    /// #     let segment = format!("/log/{stream}/00000000000000000000.wal");
    /// #     disk.overwrite(Path::new(&segment), 8192 + 24, b"T")?;
    /// # }
    /// # let disk: Arc<dyn Storage> = Arc::new(disk);
    /// // Two streams, with damage in both.
    /// let report = |threads| {
    ///     let options = VerifyOptions::default().with_threads(threads);
    ///     verify(&disk, Path::new("/log"), &options, &|_| {})
    /// };
    /// let one = report(1)?;
    /// assert_eq!(one.findings.len(), 2);
    /// assert_eq!(report(4)?, one); // in the same order, too
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}

/// How far [`verify`] has come.
///
/// ```
/// use std::sync::Mutex;
/// use ironwal::inspect::{Progress, VerifyOptions, verify};
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
/// # let disk: Arc<dyn Storage> = Arc::new(disk);
/// let last: Mutex<Option<Progress>> = Mutex::new(None); // several threads may report
/// let report = verify(&disk, Path::new("/log"), &VerifyOptions::default(), &|progress| {
///     *last.lock().unwrap() = Some(progress);
/// })?;
/// let last = last.into_inner()?.unwrap(); // there was a segment
/// assert_eq!((last.bytes_done, last.bytes_total), (report.bytes, report.bytes));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes of the segments that have been read.
    pub bytes_done: u64,
    /// The bytes of all segments when it began.
    pub bytes_total: u64,
}

/// What [`verify`] found.
///
/// ```
/// use ironwal::inspect::{Severity, VerifyOptions, verify};
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
/// disk.replace(Path::new("/log/notes.txt"), b"call Bob")?; // somebody else's
/// let disk: Arc<dyn Storage> = Arc::new(disk);
/// let report = verify(&disk, Path::new("/log"), &VerifyOptions::default(), &|_| {})?;
/// assert_eq!((report.is_open, report.streams, report.entries), (true, 1, 2)); // `wal` goes on
/// assert_eq!(report.worst(), Some(Severity::Stranger));
/// assert!(report.is_whole()); // nothing is damaged
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// What is wrong, by file and offset.
    pub findings: Vec<Finding>,
    /// Whether a process had the log open for writing. Then what is being written may look like a torn
    /// tail, and the journal was not judged but for its headers.
    pub is_open: bool,
    /// How many streams there are, that of the checkpoints included.
    pub streams: u64,
    /// How many segments.
    pub segments: u64,
    /// How many entries can be read.
    pub entries: u64,
    /// The bytes of the segments.
    pub bytes: u64,
}

impl Report {
    /// Whether everything can be read that had been durable, but for entries that are marked as lost.
    ///
    /// See [`Report`] for an example.
    pub fn is_whole(&self) -> bool {
        self.worst().is_none_or(|worst| worst > Severity::Newer)
    }

    /// The same of a log that is in another directory now.
    pub(super) fn moved(mut self, from: &Path, to: &Path) -> Self {
        for finding in &mut self.findings {
            if let Ok(inside) = finding.file.strip_prefix(from) {
                finding.file = to.join(inside);
            }
        }
        self
    }

    /// The worst that was found.
    ///
    /// See [`Report`] for an example.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).min()
    }
}

/// What all parts of a verification need.
pub(super) struct Look<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) root: &'a Path,
    pub(super) salt: u64,
    pub(super) view: Option<View>,
    pub(super) threads: usize,
    /// Whether the lock is ours.
    alone: bool,
    done: AtomicU64,
    total: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Look<'_> {
    /// Whether a process has the log open for writing now.
    pub(super) fn is_open(&self) -> io::Result<bool> {
        Ok(!self.alone && self.storage.is_locked(&self.root.join(LOCK_NAME))?)
    }

    /// So many bytes more have been read.
    pub(super) fn has_read(&self, bytes: u64) {
        let bytes_done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Progress { bytes_done, bytes_total: self.total.max(bytes_done) });
    }
}

/// Reads all of the log in `root` and says what is wrong with it. Changes nothing and takes no lock, so it
/// works beside a process that writes, and on a read-only file system.
///
/// It judges as opening and reading do: what they would report is [`Severity::Damage`], or
/// [`Severity::Newer`], or [`Severity::Lost`] where a mark says so already; and what they pass over
/// without a word is none of these; with one exception, [`Problem::Digest`](super::Problem::Digest): frames
/// that are whole, and are not those of which the segment was sealed. `progress` is called after each segment, by the threads that read.
///
/// Beside a process that writes, what looks like damage is looked at again, and an unfinished tail is
/// never damage. Blocks on the disk for as long as reading everything takes. Memory: a read buffer and
/// the frame that is read, for each thread, and what the journal holds of the streams that are read.
///
/// ```
/// use std::path::Path;
/// use ironwal::inspect::{VerifyOptions, verify};
/// # use std::sync::Arc;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Error, Wal, WalOptions};
///
/// # let disk = SimDisk::new(42);
/// # let environment = Environment::default().with_storage(Arc::new(disk.clone()));
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// # wal.append("orders", b"tea")?;
/// # wal.append("orders", b"coffee")?;
/// # wal.close()?;
/// disk.overwrite(Path::new("/log/orders/00000000000000000000.wal"), 8192 + 24, b"T")?; // rot
/// let disk: Arc<dyn Storage> = Arc::new(disk);
/// let look_at = |path| verify(&disk, Path::new(path), &VerifyOptions::default(), &|_| {});
/// let report = look_at("/log")?; // damage is no error
/// assert_eq!((report.is_whole(), report.entries), (false, 1));
/// let missing = look_at("/elsewhere");
/// assert!(matches!(missing, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::NotFound));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// What keeps it from reading on, and is no damage to the log:
///
/// - [`Error::Io`]: the disk; or, of the kind `NotFound`, there is no log.
/// - [`Error::LegacyDirectory`]: version 0.6 wrote it.
pub fn verify(
    storage: &Arc<dyn Storage>,
    root: &Path,
    options: &VerifyOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    let _span = tracing::info_span!("verify", root = %root.display()).entered();
    verify_as(storage, root, options, progress, false)
}

/// The same for whoever has the lock.
pub(super) fn verify_alone(storage: &Arc<dyn Storage>, root: &Path) -> Result<Report> {
    verify_as(storage, root, &VerifyOptions::default(), &|_| {}, true)
}

fn verify_as(
    storage: &Arc<dyn Storage>,
    root: &Path,
    options: &VerifyOptions,
    progress: &(dyn Fn(Progress) + Sync),
    alone: bool,
) -> Result<Report> {
    let mut report = Report::default();
    let listing = Listing::of(&**storage, root)?;
    let Some(salt) = root::check(&**storage, root, &listing, &mut report.findings)? else {
        return Ok(report);
    };
    let dirs = listing.streams;
    let total = dirs.iter().map(|dir| bytes_in(&**storage, dir)).sum::<io::Result<u64>>()?;
    let threads = options.threads.max(1);
    let (view, done) = (None, AtomicU64::new(0));
    let mut look = Look { storage, root, salt, view, threads, alone, done, total, progress };
    report.is_open = look.is_open()?;
    let judged = journal::check(&look, report.is_open, &mut report.findings)?;
    look.view = judged.as_ref().map(|_| view_of(&look, report.is_open));

    let outer = if dirs.len() < threads { 1 } else { threads };
    look.threads = threads / outer;
    let mut summaries = Vec::new();
    for checked in in_parallel(&dirs, outer, |dir| stream::check(&look, dir)) {
        let checked = checked?;
        report.findings.extend(checked.findings);
        report.streams += u64::from(checked.summary.is_some());
        report.segments += checked.segments;
        report.entries += checked.entries;
        report.bytes += checked.bytes;
        summaries.extend(checked.summary);
    }
    report.findings.extend(stream::copies(&summaries));
    report.is_open |= look.is_open()?;
    if let Some(judged) = judged.filter(|_| !report.is_open) {
        journal::check_homes(&judged, &summaries, &listing.deleted, &mut report.findings);
        report.findings.extend(damaged_frames(&judged, &report.findings));
    }
    if report.is_open {
        // What a writer has there is no leftover.
        report.findings.retain(|finding| finding.severity() != Severity::Leftover);
    } else {
        report.findings.extend(listing.leftovers.into_iter().map(leftover));
    }
    report.findings.extend(listing.strangers.into_iter().map(stranger));
    report.findings.sort_by(|a, b| a.place().cmp(&b.place()));
    report.findings.dedup();
    Ok(report)
}

fn view_of(look: &Look<'_>, is_open: bool) -> View {
    let view = View::new(Arc::clone(look.storage), look.root.to_path_buf(), look.salt);
    if is_open { view } else { view.alone() }
}

/// Frames of the journal that are damaged, if nothing says yet that something is lost with them.
fn damaged_frames(judged: &Judged, findings: &[Finding]) -> Vec<Finding> {
    use Problem as P;
    let is_loss = |finding: &Finding| {
        matches!(
            finding.problem,
            P::JournalFramesLost(_)
                | P::JournalStreamMissing(_)
                | P::JournalSegmentMissing
                | P::LostWithJournal
        )
    };
    if findings.iter().any(is_loss) { Vec::new() } else { judged.damaged.clone() }
}

fn leftover(path: PathBuf) -> Finding {
    Finding::new(Problem::Leftover, path)
}

fn stranger(path: PathBuf) -> Finding {
    Finding::new(Problem::Stranger, path)
}

/// The bytes of the segments of a stream.
fn bytes_in(storage: &dyn Storage, dir: &Dir) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in gone_is_empty(storage.list(&dir.path))? {
        if first_id_of(&entry.name).is_some() {
            bytes += match storage.open(&dir.path.join(&entry.name), OpenMode::Read) {
                Ok(file) => file.len()?,
                // Pruned a moment ago; or no file, which is told later.
                Err(_) => 0,
            };
        }
    }
    Ok(bytes)
}

/// What is listed of a directory that may have been deleted a moment ago.
pub(super) fn gone_is_empty<T: Default>(listed: io::Result<T>) -> io::Result<T> {
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        listed => listed,
    }
}

/// Whether an error says that a file is not there.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::NotFound)
}
