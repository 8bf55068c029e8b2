//! A backup: a copy of a log as it is at one instant, beside whoever writes to it.
//!
//! 1. **Look** at all streams at one instant ([`Instant`]): where each ends.
//! 2. **Newest** segments first, those in which the streams end: header, and the frames up to that end, also
//!    those that only the journal has. So the copy needs no journal, and what is pruned from now on is missing
//!    at the beginning of a stream only.
//! 3. **Full** segments, as they are. Nobody changes them any more, but for a slot.
//! 4. **Look again.** If a stream was cut off, deleted or restored meanwhile, or another writer has begun, what was
//!    copied is of no instant: begin anew.
//! 5. **Check**: it opens under [`CorruptionPolicy::Error`], every stream ends where it did, and it verifies.
//! 6. **Name**: the copy gets the name of the destination. Until then there is no backup of that name; so one
//!    that is there is whole.

use std::io;
use std::path::{Path, PathBuf};

use super::mend;
use super::repair::{Work, check_beside, parent, remove_all, unfinished};
use super::root::read_root;
use super::verify::{Report, verify_alone};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{FirstKept, HEADER_LEN, Slot};
use crate::log::recover::found::read_header;
use crate::options::{CorruptionPolicy, WalOptions};
use crate::segment::reader::{DamageKind, ReadError};
use crate::segment::writer::{EmptyFile, Unfinished, no_space};
use crate::segment::{Segment, path_of};
use crate::storage::{self, OpenMode, Storage};
use crate::sync::Arc;
use crate::wal::Wal;
use crate::wal::instant::{At, Instant};
use crate::wal::own::CHECKPOINTS;

/// How often a copy is begun anew because streams were cut off, deleted or restored meanwhile.
const TRIES_MAX: u32 = 10;

/// Copies the log in `root` to `destination` as it is at one instant after the call, and returns what
/// [`verify`](super::verify) says of the copy: it is whole. Takes no lock and changes nothing, so it works
/// beside a process that writes, which goes on meanwhile.
///
/// - Every entry that was acknowledged before the call is in it, and nothing that was never committed.
/// - It is one instant over all streams: if an append returned before another one began, the backup does not
///   hold the later and miss the earlier. A batch over several streams is in it whole or not at all. So
///   are checkpoints, with what they speak of.
/// - Entries that are pruned meanwhile may be missing in it.
///
/// It is the same log: ids, stream names and numbers, shards, routing, checkpoints, marks of lost entries, and the
/// salt by which its files know each other. So it takes the place of the original, and archived segments of that
/// can be restored into it. Do not write to both and archive from both: they are two histories of one log.
///
/// `destination` must not exist, or be an empty directory. It is there when the backup is complete and on
/// stable storage, and not before, whatever happens; what an interrupted one leaves is a directory beside it,
/// which the next one begins anew. Blocks on the disk while all of the log is read and written, and read again.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::inspect::backup;
/// use ironwal::storage::{RealDisk, Storage};
/// use ironwal::{Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let (path, copy) = (dir.path().join("ledger"), dir.path().join("copy"));
/// let wal = Wal::new(WalOptions::new(&path))?; // as a rule in another process
/// wal.append("orders", b"tea")?;
/// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
/// let report = backup(&disk, &path, &copy)?;
/// assert!(report.is_whole());
/// wal.append("orders", b"coffee")?;
///
/// let restored = Wal::new(WalOptions::new(&copy))?;
/// assert_eq!(restored.get("orders", 0)?.as_deref(), Some(&b"tea"[..]));
/// assert_eq!(restored.get("orders", 1)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// - [`Error::Config`]: the destination is not empty, or is in the log.
/// - [`Error::Locked`]: the writer does not tell other processes what is committed, or commits without a pause
///   for ten seconds; or streams were cut off, deleted or restored again and again. Try again.
/// - [`Error::Damaged`], [`Error::Corruption`]: the log is damaged, but for entries that are marked as lost: repair
///   it first.
/// - [`Error::Io`] of the kind `NotFound`: there is no log. [`Error::UnsupportedVersion`],
///   [`Error::LegacyDirectory`], [`Error::StorageFull`], [`Error::Io`].
pub fn backup(storage: &Arc<dyn Storage>, root: &Path, destination: &Path) -> Result<Report> {
    let _span = tracing::info_span!("back up", root = %root.display()).entered();
    check_beside(root, destination)?;
    let is_there = is_empty_dir(&**storage, destination)?;
    let environment = Environment::default().with_storage(Arc::clone(storage));
    let source = Wal::open_read_only_with(WalOptions::new(root), environment)?;
    let dir = unfinished(destination, "backup");
    let made = make(storage, root, &source, &dir).and_then(|report| {
        if is_there {
            storage.remove_dir(destination)?;
        }
        storage.rename(&dir, destination)?;
        storage.sync_dir(parent(destination))?;
        Ok(report)
    });
    if made.is_err() {
        // What is left does no harm, and the error says what is wrong.
        let _ = remove_all(&**storage, &dir);
    }
    made.map(|report| report.moved(&dir, destination))
}

/// Whether an empty directory is there; an error if anything else is.
fn is_empty_dir(storage: &dyn Storage, destination: &Path) -> Result<bool> {
    match storage.list(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(entries) if entries.is_empty() => Ok(true),
        Ok(_) => Err(Error::Config(format!(
            "{} is not empty: choose a directory that does not exist",
            destination.display()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Makes the copy in `dir`, complete and durable but for its name.
fn make(storage: &Arc<dyn Storage>, root: &Path, source: &Wal, dir: &Path) -> Result<Report> {
    for _ in 0..TRIES_MAX {
        let instant = source.instant()?;
        remove_all(&**storage, dir)?;
        storage::create_dir_all(&**storage, dir).map_err(|error| no_space(error, dir))?;
        let Some(content) = read_root(&**storage, root)? else {
            let root = root.display();
            return Err(Error::Corruption(format!("the root file of {root} cannot be read")));
        };
        let work = Work { storage, dir: dir.to_path_buf(), root: content };
        let copied = Copy { work: &work, instant: &instant }.make();
        // What was found then was no damage.
        let is_still = instant.is_still()?;
        match copied {
            Ok(true) if is_still => return check(&work, root, &instant),
            Err(error) if is_still => return Err(error),
            _ => {}
        }
    }
    Err(Error::Locked(root.to_path_buf()))
}

/// What comes of it must be what there was at the instant.
fn check(work: &Work<'_>, root: &Path, instant: &Instant) -> Result<Report> {
    let opened = work.open(CorruptionPolicy::Error, |wal| {
        let lost = |at: &&At| {
            let name = at.log().name();
            let end = wal.stream(name).map(|stream| stream.next_id());
            name != CHECKPOINTS && at.ids.end > 0 && end.ok() != Some(at.ids.end)
        };
        match instant.streams.iter().find(lost) {
            None => Ok(()),
            Some(at) => Err(Error::Corruption(format!(
                "stream {:?} ended at {} and ends elsewhere in the copy: verify the log",
                at.log().name(),
                at.ids.end
            ))),
        }
    });
    let report = verify_alone(work.storage, &work.dir)?;
    if report.is_whole() {
        return opened.map(|()| report);
    }
    // What is damaged was copied byte for byte: it is in the same place in the log.
    let report = report.moved(&work.dir, root);
    let worst = report.findings.iter().min_by_key(|finding| finding.severity());
    let worst = worst.map_or_else(String::new, |finding| finding.to_string());
    Err(Error::Corruption(worst))
}

/// A copy of the log at an instant.
struct Copy<'a> {
    work: &'a Work<'a>,
    instant: &'a Instant,
}

/// The newest segment of a stream, copied.
struct Newest<'a> {
    at: &'a At,
    segments: Arc<Vec<Arc<Segment>>>,
    /// Which of the segments it is.
    nth: usize,
    dir: PathBuf,
    slot: Slot,
}

impl Copy<'_> {
    /// `false`: a newest segment was pruned before it was copied.
    fn make(&self) -> Result<bool> {
        let storage = &**self.work.storage;
        let mut newest = Vec::new();
        for at in self.instant.streams.iter().filter(|at| at.log().number().is_some()) {
            match self.copy_newest(at)? {
                Some(copied) => newest.push(copied),
                None => return Ok(false),
            }
        }
        for stream in &newest {
            for segment in &stream.segments[..stream.nth] {
                let to = path_of(&stream.dir, segment.first_id());
                // One that is not there any more has been pruned, or verifying says that it is missing.
                self.work.copy_bytes(segment.path(), 0, u64::MAX, &to)?;
            }
            self.note_pruned(stream)?;
            storage.sync_dir(&stream.dir)?;
        }
        // Opening the copy makes the names in it durable.
        self.work.write_root()?;
        Ok(true)
    }

    /// Copies the segment in which a stream ends, up to that end; `None`: it has been pruned.
    fn copy_newest<'a>(&self, at: &'a At) -> Result<Option<Newest<'a>>> {
        let log = at.log();
        log.refresh()?;
        let segments = log.segments();
        let behind = segments.partition_point(|segment| segment.first_id() <= at.ids.end);
        let Some(nth) = behind.checked_sub(1) else { return Ok(None) };
        let dir = self.work.dir.join(log.dir().file_name().unwrap_or_default());
        match self.copy_to(&dir, at, &segments[nth]) {
            Ok(slot) => Ok(Some(Newest { at, segments, nth, dir, slot })),
            Err(error) => {
                log.refresh()?;
                let first_id = segments[nth].first_id();
                let is_there = log.oldest_segment().is_some_and(|oldest| oldest <= first_id);
                if is_there { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Copies what the newest segment of a stream held, durably, into the directory `dir`, which is made.
    fn copy_to(&self, dir: &Path, at: &At, segment: &Arc<Segment>) -> Result<Slot> {
        let log = at.log();
        let (storage, salt) = (&**self.work.storage, self.work.root.salt);
        let (path, first_id) = (segment.path().to_path_buf(), segment.first_id());
        let Some((slot, _)) = read_header(storage, path, first_id, salt)?.slot else {
            return Err(log.damaged(&segment.all_damaged(DamageKind::Header)));
        };
        let seed = SegmentSeed::new(salt, slot.constants.stream_number, first_id);
        let kept = segment.before(at.ids.end, seed).map_err(|error| log.read_error(error))?;
        let slot = Slot { proof: kept.proof, first_kept: first_kept(at, first_id), ..slot };
        let full = |error| no_space(error, dir);
        storage.create_dir(dir).map_err(full)?;
        let file = EmptyFile::create(storage, dir)?;
        let frames_end = kept.proof.synced_to - kept.last_frame.len() as u64;
        let mut copy = Unfinished::new(storage, dir, file, slot, frames_end - HEADER_LEN)?;
        let copied = segment.frames_below(frames_end, |bytes, offset| {
            copy.write(bytes, offset).map_err(ReadError::Io)
        });
        copied.map_err(|error| match error {
            ReadError::Io(error) => full(error),
            error => log.read_error(error),
        })?;
        copy.write(&kept.last_frame, frames_end).map_err(full)?;
        copy.sync()?;
        copy.rename()?;
        Ok(slot)
    }

    /// Writes down what has been pruned meanwhile: segments of it may not have been copied.
    fn note_pruned(&self, stream: &Newest<'_>) -> Result<()> {
        stream.at.log().refresh()?;
        let first_id = stream.slot.constants.first_id;
        let slot = Slot { first_kept: first_kept(stream.at, first_id), ..stream.slot };
        if slot == stream.slot {
            return Ok(());
        }
        let file = self.work.storage.open(&path_of(&stream.dir, first_id), OpenMode::ReadWrite)?;
        mend::write_slots(&*file, slot)?;
        Ok(file.sync()?)
    }
}

/// What the copy says is pruned: what was then, and what is by now of the segments before the newest one,
/// which begins with `newest`. That is in the copy, whatever becomes of it.
fn first_kept(at: &At, newest: u64) -> FirstKept {
    let now = at.log().first_kept();
    FirstKept { id: now.id.min(newest).max(at.ids.start), ..now }
}
