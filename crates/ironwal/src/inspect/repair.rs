//! A repair: a copy, what opening does, and then what opening leaves as it is.
//!
//! 1. **Copy** what is the log's to a directory beside the destination, and keep aside what is damaged.
//! 2. **Headers** that are lost are made again, so that recovery finds the segments.
//! 3. **Recover**: the copy is opened and closed. The journal goes to the segments, torn tails are cut off.
//! 4. **Mend** segment by segment: marks in the place of what is lost, slots, seals ([`mend`](super::mend)).
//! 5. **Check**: it verifies, and it opens under [`CorruptionPolicy::Error`].
//! 6. **Name**: the copy gets the name of the destination. Until then there is no such directory; so one that
//!    is there is whole.

use std::io;
use std::path::{Path, PathBuf};

use super::checkpoints;
use super::finding::Problem;
use super::mend;
use super::plan::{Action, Measure, Plan, plan_alone};
use super::root::{Dir, Listing, read_root, salt_of};
use super::verify::{Report, verify_alone};
use crate::environment::{Environment, Maintenance};
use crate::error::{Error, Result};
use crate::format::FORMAT_VERSION;
use crate::format::root::Root;
use crate::log::recover::journal::{self, NAMES as JOURNAL_NAMES};
use crate::log::recover::{as_renamed, plan_of, renamed};
use crate::options::{CorruptionPolicy, WalOptions};
use crate::segment::writer::no_space;
use crate::segment::{DELETED_PREFIX, first_id_of};
use crate::storage::{self, EntryKind, Lock, OpenMode, Storage};
use crate::sync::Arc;
use crate::wal::Wal;
use crate::wal::root::{LOCK_NAME, ROOT_NAME};

/// The directory in the repaired log with the bytes that were damaged.
pub(super) const ASIDE: &str = ".damaged";

/// How far above the numbers that are known a root file goes on that is made again.
const NUMBERS_LEAP: u64 = 1 << 20;

/// The directory that a repair works in.
pub(super) struct Work<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    pub(super) root: Root,
}

/// Copies the log in `root` to `destination`, repaired as `plan` says, and returns what
/// [`verify`](super::verify) says of it: it is whole. Nothing in `root` is changed.
///
/// Every entry that is whole has the id that it had, and so have those that are lost: reads of them return
/// [`Error::Damaged`]. The repaired log opens under [`CorruptionPolicy::Error`]. The bytes that were
/// damaged are in the directory `.damaged` in it, by the names of their files and their offsets. What is not
/// the log's is not copied.
///
/// The log must be closed; its lock is held meanwhile. `destination` must not exist, and does until the
/// repair is complete, whatever happens: what an interrupted one leaves is a directory beside it, which
/// the next one begins anew. Needs as much space as the log. Blocks on the disk while all of it is read
/// several times and written once.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::inspect::{plan_repair, repair};
/// use ironwal::storage::{RealDisk, Storage};
/// use ironwal::{CorruptionPolicy, Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let (path, repaired) = (dir.path().join("ledger"), dir.path().join("repaired"));
/// # let wal = Wal::new(WalOptions::new(&path))?;
/// # wal.append("orders", b"tea")?;
/// # wal.append("orders", b"coffee")?;
/// # wal.close()?;
/// # let segment = path.join("orders/00000000000000000000.wal");
/// # let mut bytes = std::fs::read(&segment)?;
/// # bytes[8192 + 24] ^= 1;
/// # std::fs::write(&segment, bytes)?;
/// // The disk has damaged the first entry.
/// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
/// let plan = plan_repair(&disk, &path)?;
/// assert!(plan.is_needed());
/// println!("{plan}");
/// repair(&disk, &path, &plan, &repaired)?;
///
/// let options = WalOptions::new(&repaired);
/// let wal = Wal::new(WalOptions { on_corruption: CorruptionPolicy::Error, ..options })?;
/// assert!(wal.get("orders", 0).is_err()); // lost, and not forgotten
/// assert_eq!(wal.get("orders", 1)?.as_deref(), Some(&b"coffee"[..]));
/// assert_eq!(wal.append("orders", b"cake")?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// - [`Error::Locked`]: somebody has the log open.
/// - [`Error::Config`]: the destination exists, or is in the log; or the log is not any more what it was
///   when the repair was planned.
/// - [`Error::UnsupportedVersion`], [`Error::Corruption`]: it cannot be repaired;
///   [`Plan::obstacles`] says why, or the error does.
/// - [`Error::StorageFull`], [`Error::Io`].
pub fn repair(
    storage: &Arc<dyn Storage>,
    root: &Path,
    plan: &Plan,
    destination: &Path,
) -> Result<Report> {
    let _span = tracing::info_span!("repair", root = %root.display()).entered();
    refuse(plan)?;
    check_beside(root, destination)?;
    check_is_free(&**storage, destination)?;
    let had_lock_file = has_lock_file(&**storage, root)?;
    let _lock = lock(&**storage, root)?;
    if plan_alone(storage, root)? != *plan {
        return Err(Error::Config(format!(
            "the log in {} is not what it was when its repair was planned: plan it again",
            root.display()
        )));
    }
    let dir = unfinished(destination, "repair");
    remove_all(&**storage, &dir)?;
    storage::create_dir_all(&**storage, &dir).map_err(|error| no_space(error, &dir))?;
    let listing = Listing::of(&**storage, root)?;
    let content = root_of(storage, root, &listing)?;
    let mut work = Work { storage, dir, root: content };
    work.copy(root, plan, &listing)?;
    work.keep_aside(root, plan)?;
    if !had_lock_file && has_lock_file(&**storage, root)? {
        return Err(Error::Locked(root.to_path_buf()));
    }
    for stream in work.streams()? {
        mend::headers(&mut work, &stream)?;
    }
    work.recover(|_| Ok(()))?;
    for stream in work.streams()? {
        mend::segments(&work, &stream)?;
    }
    work.recover(|wal| checkpoints::drop_lost(wal, plan))?;
    let report = work.check()?;
    storage.rename(&work.dir, destination)?;
    storage.sync_dir(parent(destination))?;
    Ok(report.moved(&work.dir, destination))
}

fn refuse(plan: &Plan) -> Result<()> {
    let Some(obstacle) = plan.obstacles().next() else { return Ok(()) };
    Err(match obstacle.problem {
        Problem::NewerVersion(found) => {
            let (path, supported) = (obstacle.file.clone(), FORMAT_VERSION);
            Error::UnsupportedVersion { path, found, supported }
        }
        _ => Error::Corruption(format!("the log cannot be repaired: {obstacle}")),
    })
}

/// Refuses a destination that is in the log, or the other way round.
pub(super) fn check_beside(root: &Path, destination: &Path) -> Result<()> {
    let (inner, outer) = (storage::absolute(destination), storage::absolute(root));
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        let (destination, root) = (destination.display(), root.display());
        let what = format!(
            "{destination} and {root} are not beside each other: choose a directory outside"
        );
        return Err(Error::Config(what));
    }
    Ok(())
}

fn check_is_free(storage: &dyn Storage, destination: &Path) -> Result<()> {
    match storage.list(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            let destination = destination.display();
            Err(Error::Config(format!("{destination} exists: choose a directory that does not")))
        }
    }
}

/// Keeps writers out, as far as that can be done on a disk that may have failed, and without changing
/// anything: where there is no lock file, nobody has the log open, and whoever opens it makes one.
fn lock(storage: &dyn Storage, root: &Path) -> Result<Option<Box<dyn Lock>>> {
    if !has_lock_file(storage, root)? {
        return Ok(None);
    }
    match storage.lock(&root.join(LOCK_NAME)) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Err(Error::Locked(root.to_path_buf())),
            // Where the lock file cannot be made, nobody can write.
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Ok(None),
            _ => Err(error.into()),
        },
    }
}

fn has_lock_file(storage: &dyn Storage, root: &Path) -> io::Result<bool> {
    match storage.open(&root.join(LOCK_NAME), OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        file => file.map(|_| true),
    }
}

/// Where the copy is until it is whole.
pub(super) fn unfinished(destination: &Path, what: &str) -> PathBuf {
    let name = destination.file_name().unwrap_or_default().display();
    destination.with_file_name(format!(".{name}.ironwal-{what}"))
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a directory with everything in it, if it is there.
pub(super) fn remove_all(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = dir.join(entry.name);
        match entry.kind {
            EntryKind::Dir => remove_all(storage, &path)?,
            _ => storage.remove_file(&path)?,
        }
    }
    storage.remove_dir(dir)
}

/// What the root file says, or is to say.
fn root_of(storage: &Arc<dyn Storage>, root: &Path, listing: &Listing) -> Result<Root> {
    if let Some(content) = read_root(&**storage, root)? {
        return Ok(content);
    }
    let Some(salt) = salt_of(&**storage, &listing.streams)? else {
        return Err(Error::Corruption(format!(
            "no header of a segment in {} can be read, and without one nobody can make the root file \
             again: restore it from a backup",
            root.display()
        )));
    };
    let mut numbers = listing.deleted.clone();
    for dir in &listing.streams {
        let plan = plan_of(&**storage, &dir.path, salt, None)?;
        let found = plan.into_iter().flat_map(|plan| plan.found);
        numbers.extend(found.filter_map(|it| Some(it.slot?.0.constants.stream_number)));
    }
    if let Ok(journal) = journal::read(&**storage, root, salt) {
        numbers.extend(journal.pieces().into_keys());
    }
    let highest = numbers.into_iter().max().unwrap_or(0);
    let numbers_end = highest.saturating_add(NUMBERS_LEAP) / NUMBERS_LEAP * NUMBERS_LEAP;
    Ok(Root { salt, numbers_end: numbers_end + NUMBERS_LEAP, shard_count: 0, routing: 0 })
}

impl Work<'_> {
    fn streams(&self) -> Result<Vec<Dir>> {
        Ok(Listing::of(&**self.storage, &self.dir)?.streams)
    }

    /// Everything that is the log's, but for what opening would delete and what says who has it open. The names
    /// become durable when the streams are mended and the copy is opened.
    fn copy(&self, root: &Path, plan: &Plan, listing: &Listing) -> Result<()> {
        let storage = &**self.storage;
        self.write_root()?;
        let is_left = |path: &Path| {
            let is_it = |action: &Action| {
                action.measure == Measure::LeaveJournal && action.finding.file == path
            };
            plan.actions.iter().any(is_it)
        };
        for name in JOURNAL_NAMES {
            let from = root.join(name);
            if !is_left(&from) {
                self.copy_bytes(&from, 0, u64::MAX, &self.dir.join(name))?;
            }
        }
        for number in &listing.deleted {
            // Its name says that records of the stream are no loss.
            let dir = self.dir.join(format!("{DELETED_PREFIX}{number}"));
            match storage.create_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        for stream in &listing.streams {
            let dir = self.dir.join(stream.path.file_name().unwrap_or_default());
            storage.create_dir(&dir)?;
            for entry in as_renamed(storage.list(&stream.path)?) {
                let name = renamed(&entry.name).map_or(&*entry.name, std::ffi::OsStr::new);
                if entry.kind == EntryKind::File && first_id_of(name).is_some() {
                    let from = stream.path.join(&entry.name);
                    self.copy_bytes(&from, 0, u64::MAX, &dir.join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the root file.
    pub(super) fn write_root(&self) -> Result<()> {
        let path = self.dir.join(ROOT_NAME);
        let file = match self.storage.open(&path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.storage.open(&path, OpenMode::Create)
            }
            file => file,
        }
        .map_err(|error| no_space(error, &path))?;
        let written = storage::write_all_at(&*file, &self.root.encode(), 0);
        written.map_err(|error| no_space(error, &path))?;
        Ok(file.sync()?)
    }

    /// Copies a part of a file, durably; nothing if it is not there.
    pub(super) fn copy_bytes(&self, from: &Path, start: u64, end: u64, to: &Path) -> Result<()> {
        let source = match self.storage.open(from, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            source => source?,
        };
        let full = |error| no_space(error, to);
        let file = self.storage.open(to, OpenMode::Create).map_err(full)?;
        let reached = storage::read_pieces(&*source, start, end, |bytes, offset| -> Result<()> {
            // What is reserved ahead stays a hole.
            if bytes.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            storage::write_all_at(&*file, bytes, offset - start).map_err(full)
        })?;
        file.set_len(reached.saturating_sub(start)).map_err(full)?;
        Ok(file.sync()?)
    }

    /// Keeps the bytes aside that the plan gives up.
    fn keep_aside(&self, root: &Path, plan: &Plan) -> Result<()> {
        for action in plan.actions.iter().filter(|action| action.keeps_bytes()) {
            let finding = &action.finding;
            if let Ok(inside) = finding.file.strip_prefix(root) {
                self.keep_bytes(&finding.file, inside, finding.offset, finding.len)?;
            }
        }
        Ok(())
    }

    /// Keeps bytes aside of a file that has the name `inside` in the log, unless they are there already.
    pub(super) fn keep_bytes(
        &self,
        file: &Path,
        inside: &Path,
        offset: u64,
        len: u64,
    ) -> Result<()> {
        let dir = self.dir.join(ASIDE);
        match self.storage.create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        // The names of streams have no `=`.
        let name = inside.display().to_string().replace(std::path::MAIN_SEPARATOR, "=");
        let to = dir.join(format!("{name}.{offset}"));
        match self.storage.open(&to, OpenMode::Read) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        self.copy_bytes(file, offset, offset.saturating_add(len), &to)?;
        Ok(self.storage.sync_dir(&dir)?)
    }

    /// Opens the copy, which recovers it, and closes it.
    fn recover(&self, work: impl FnOnce(&Wal) -> Result<()>) -> Result<()> {
        self.open(CorruptionPolicy::Truncate, work)
    }

    pub(super) fn open(
        &self,
        on_corruption: CorruptionPolicy,
        work: impl FnOnce(&Wal) -> Result<()>,
    ) -> Result<()> {
        let options = WalOptions { on_corruption, ..WalOptions::new(&self.dir) };
        let environment = Environment::default()
            .with_storage(Arc::clone(self.storage))
            .with_maintenance(Maintenance::Inline);
        let wal = Wal::open_with(options, environment)?;
        let done = work(&wal);
        let closed = wal.close();
        done.and(closed)
    }

    /// What comes of the repair must be whole.
    fn check(&self) -> Result<Report> {
        let report = verify_alone(self.storage, &self.dir)?;
        if let Some(finding) = report.findings.first().filter(|_| !report.is_whole()) {
            return Err(Error::Corruption(format!(
                "the repair does not come to an end: {finding}"
            )));
        }
        self.open(CorruptionPolicy::Error, |_| Ok(()))?;
        Ok(report)
    }
}
