//! The root directory: its lock, the root file, and the streams in it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::root::{ROOT_LEN, Root};
use crate::format::{FORMAT_VERSION, Unreadable};
use crate::log::root_syncs::RootSyncs;
use crate::segment::first_id_of;
use crate::segment::writer::no_space;
use crate::storage::{self, EntryKind, Lock, OpenMode, Storage};
use crate::sync::{Arc, yield_now};
use crate::wal::names;
use crate::wal::own::Sharding;
use crate::wal::strangers::refuse_other_log;

pub(crate) const ROOT_NAME: &str = ".ironwal";
pub(crate) const UNFINISHED_ROOT_NAME: &str = ".ironwal.tmp";
/// The file that whoever writes to the log has locked.
pub(crate) const LOCK_NAME: &str = ".ironwal.lock";

/// A file that every stream directory of version 0.6 has.
const LEGACY_INDEX_NAME: &str = "segments.idx";

/// How often the root file is looked for.
const READ_TRIES: u32 = 100;

/// How many stream numbers are taken from the root file at a time.
pub(crate) const NUMBERS_STEP: u64 = 1024;

/// The root directory, locked for writing.
#[derive(Debug)]
pub(crate) struct RootDir {
    path: PathBuf,
    root: Root,
    /// The next stream number to give out.
    next_number: u64,
    syncs: Arc<RootSyncs>,
    _lock: Box<dyn Lock>,
}

impl RootDir {
    /// Locks and reads the root directory, creating it if it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::LegacyDirectory`], [`Error::UnsupportedVersion`]; [`Error::Config`] for
    /// a directory of another program's log; [`Error::Corruption`] if the root file is damaged, or missing beside segments.
    pub(crate) fn open(path: &Path, environment: &Environment) -> Result<Self> {
        let storage = &*environment.storage;
        if !exists(storage, &path.join(ROOT_NAME))? {
            storage::create_dir_all(storage, path).map_err(|error| no_space(error, path))?;
            refuse_legacy(storage, path)?;
            refuse_other_log(storage, path)?;
        }
        // Whatever else is wrong, somebody who has the lock may be about to put it right.
        let lock = storage.lock(&path.join(LOCK_NAME)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked(path.to_path_buf()),
            _ => no_space(error, path),
        })?;
        let syncs = Arc::new(RootSyncs::default());
        let root = match read(storage, path)? {
            Some(root) => {
                confirm(storage, path, &root)?;
                root
            }
            None => {
                refuse_orphans(storage, path)?;
                let salt = (environment.entropy)();
                let root = Root { salt, numbers_end: 0, shard_count: 0, routing: 0 };
                replace(storage, path, &root, &syncs)?;
                root
            }
        };
        let next_number = root.numbers_end;
        Ok(Self { path: path.to_path_buf(), root, next_number, syncs, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn syncs(&self) -> &Arc<RootSyncs> {
        &self.syncs
    }

    pub(crate) fn salt(&self) -> u64 {
        self.root.salt
    }

    /// How the log is sharded, if it is.
    pub(crate) fn sharding(&self) -> Option<Sharding> {
        sharding_in(&self.root)
    }

    /// Records how the log is sharded, durably.
    #[cfg(feature = "sharded")]
    pub(crate) fn record_sharding(
        &mut self,
        storage: &dyn Storage,
        Sharding { shard_count, routing }: Sharding,
    ) -> Result<()> {
        let root = Root { shard_count, routing, ..self.root };
        replace(storage, &self.path, &root, &self.syncs)?;
        self.root = root;
        Ok(())
    }

    /// Gives out no number that a stream has: the root file may be an older one that somebody has put
    /// back.
    pub(super) fn pass_over(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// A stream number that was never given out before, whatever crashes.
    pub(crate) fn new_stream_number(&mut self, storage: &dyn Storage) -> Result<u64> {
        if self.next_number >= self.root.numbers_end {
            let Some(numbers_end) = self.next_number.checked_add(NUMBERS_STEP) else {
                return Err(Error::Corruption(format!(
                    "a file in {} says that all numbers of streams are used",
                    self.path.display()
                )));
            };
            let root = Root { numbers_end, ..self.root };
            // If it fails, the next call writes another file and gives that the name.
            replace(storage, &self.path, &root, &self.syncs)?;
            self.root = root;
        }
        self.next_number += 1;
        Ok(self.next_number - 1)
    }
}

/// How the log with this root is sharded, if it is.
pub(super) fn sharding_in(root: &Root) -> Option<Sharding> {
    let Root { shard_count, routing, .. } = *root;
    (shard_count > 0).then_some(Sharding { shard_count, routing })
}

/// The directories in the root that hold segments, with the names of their streams.
pub(crate) fn stream_dirs(storage: &dyn Storage, root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut dirs = Vec::new();
    for entry in storage.list(root)? {
        if entry.kind == EntryKind::Dir
            && let Some(name) = names::decode(&entry.name)
        {
            dirs.push((name, root.join(&entry.name)));
        }
    }
    Ok(dirs)
}

/// The root file, read beside somebody who may be confirming it and so has it under its other name
/// for a moment; `None` if there is none.
pub(super) fn read_root(storage: &dyn Storage, path: &Path) -> Result<Option<Root>> {
    for _ in 0..READ_TRIES {
        match read(storage, path)? {
            None => yield_now(),
            root => return Ok(root),
        }
    }
    Ok(None)
}

/// A directory of version 0.6 is left as it is.
pub(crate) fn refuse_legacy(storage: &dyn Storage, root: &Path) -> Result<()> {
    if any_file_below(storage, root, |name| name == LEGACY_INDEX_NAME)? {
        return Err(Error::LegacyDirectory(root.to_path_buf()));
    }
    Ok(())
}

/// Segments without a root file are not taken for a new log.
fn refuse_orphans(storage: &dyn Storage, root: &Path) -> Result<()> {
    if any_file_below(storage, root, |name| first_id_of(name).is_some())? {
        return Err(Error::Corruption(format!(
            "{} is missing beside segments; restore it from a backup, for no frame can be checked \
             without it",
            root.join(ROOT_NAME).display()
        )));
    }
    Ok(())
}

/// Whether a directory in the root holds a file with such a name.
pub(crate) fn any_file_below(
    storage: &dyn Storage,
    root: &Path,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<bool> {
    for entry in storage.list(root)?.iter().filter(|entry| entry.kind == EntryKind::Dir) {
        match storage.list(&root.join(&entry.name)) {
            // A stranger's directory that we may not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            names => {
                if names?.iter().any(|file| wanted(&file.name)) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Whether there is a root file, under either of its names.
pub(super) fn has_root(storage: &dyn Storage, root: &Path) -> io::Result<bool> {
    Ok(exists(storage, &root.join(ROOT_NAME))?
        || exists(storage, &root.join(UNFINISHED_ROOT_NAME))?)
}

fn exists(storage: &dyn Storage, path: &Path) -> io::Result<bool> {
    match storage.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|_| true),
    }
}

/// Reads the root file; `None` if there is none.
fn read(storage: &dyn Storage, root: &Path) -> Result<Option<Root>> {
    let path = root.join(ROOT_NAME);
    match read_file(storage, &path)? {
        None => {
            // A crash while the root file was confirmed can leave it under its other name. Anything
            // there that is not whole is an unfinished root of a log that never was.
            let unfinished = read_file(storage, &root.join(UNFINISHED_ROOT_NAME))?;
            Ok(unfinished.and_then(std::result::Result::ok))
        }
        Some(Ok(root)) => Ok(Some(root)),
        Some(Err(Unreadable::Newer(found))) => {
            Err(Error::UnsupportedVersion { path, found, supported: FORMAT_VERSION })
        }
        Some(Err(_)) => Err(Error::Corruption(format!(
            "{} is no root file of ironwal, or both copies in it are damaged; restore it from a backup, for no \
             frame can be checked without it",
            path.display()
        ))),
    }
}

fn read_file(
    storage: &dyn Storage,
    path: &Path,
) -> io::Result<Option<std::result::Result<Root, Unreadable>>> {
    let file = match storage.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = [0; ROOT_LEN];
    let filled = storage::read_up_to(&*file, &mut bytes, 0)?;
    Ok(Some(Root::decode(&bytes[..filled])))
}

/// Makes a root file durable that was found, content and name: the process that wrote it may have
/// seen a sync fail, after which the next one proves nothing of what it did not write itself.
///
/// Takes no space, so a log on a full disk can be opened. Heals a damaged copy.
fn confirm(storage: &dyn Storage, root: &Path, content: &Root) -> Result<()> {
    let (path, other) = (root.join(ROOT_NAME), root.join(UNFINISHED_ROOT_NAME));
    match storage.rename(&path, &other) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = storage.open(&other, OpenMode::ReadWrite)?;
    storage::write_all_at(&*file, &content.encode(), 0)?;
    file.sync()?;
    storage.rename(&other, &path)?;
    storage.sync_dir(root)?;
    Ok(())
}

/// Replaces the root file.
fn replace(storage: &dyn Storage, root: &Path, content: &Root, syncs: &RootSyncs) -> Result<()> {
    let unfinished = root.join(UNFINISHED_ROOT_NAME);
    match storage.remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = storage
        .open(&unfinished, OpenMode::Create)
        .map_err(|error| no_space(error, &unfinished))?;
    file.reserve(0, ROOT_LEN as u64).map_err(|error| no_space(error, &unfinished))?;
    storage::write_all_at(&*file, &content.encode(), 0)?;
    file.sync()?;
    let before = syncs.before_change();
    storage.rename(&unfinished, &root.join(ROOT_NAME))?;
    Ok(syncs.sync(storage, root, before)?)
}
