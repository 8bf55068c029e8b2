//! Directories that are not a log's, or not this log's. Whoever gives one by mistake is told, before anything
//! is changed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::own::checkpoints_dir;
use super::root::{has_root, stream_dirs};
use crate::error::{Error, Result};
use crate::log::recover::salt_of;
use crate::segment::first_id_of;
use crate::storage::{EntryKind, Storage};

/// Refuses a directory without a root file that holds segments of somebody's write-ahead log, or has a
/// directory with some: that could be mistaken for a stream. Segments of ours below it are another matter.
pub(super) fn refuse_other_log(storage: &dyn Storage, root: &Path) -> Result<()> {
    let found = segment_of_others(storage, root)?;
    // Whoever confirms a root file has it under its other name for a moment.
    if let Some(found) = found
        && !has_root(storage, root)?
    {
        return Err(Error::Config(format!(
            "{} holds segments of a write-ahead log, {} for one, and no root file of ironwal: give ironwal a \
             directory of its own; if this is the directory of a stream, open the one above it",
            root.display(),
            found.display()
        )));
    }
    Ok(())
}

fn segment_of_others(storage: &dyn Storage, root: &Path) -> Result<Option<PathBuf>> {
    let is_segment = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.ends_with(b".wal") && !name.starts_with(b".")
    };
    for entry in storage.list(root)? {
        if entry.kind == EntryKind::File && is_segment(&entry.name) {
            return Ok(Some(root.join(entry.name)));
        }
    }
    for (_, dir) in stream_dirs(storage, root)? {
        // One that we may not read is a stranger's.
        let Ok(files) = storage.list(&dir) else { continue };
        let is_theirs = |name: &OsStr| is_segment(name) && first_id_of(name).is_none();
        if let Some(file) = files.into_iter().find(|file| is_theirs(&file.name)) {
            return Ok(Some(dir.join(file.name)));
        }
    }
    Ok(None)
}

/// Refuses a root file to which no segment belongs, if one belongs to another: then somebody has put the
/// wrong one here, and nothing is damaged.
pub(super) fn refuse_other_root(storage: &dyn Storage, root: &Path, salt: u64) -> Result<()> {
    let mut of_another = None;
    let dirs = stream_dirs(storage, root)?.into_iter().map(|(_, dir)| dir);
    for dir in dirs.chain(checkpoints_dir(storage, root)?) {
        // One that we may not read, or that is deleted just now.
        let Ok(files) = storage.list(&dir) else { continue };
        for entry in files {
            let Some(first_id) = first_id_of(&entry.name) else { continue };
            let path = dir.join(entry.name);
            match salt_of(storage, &path, first_id) {
                Ok(Some(found)) if found == salt => return Ok(()),
                Ok(Some(_)) => of_another = Some(path),
                // Unreadable, or deleted just now.
                Ok(None) | Err(_) => {}
            }
        }
    }
    let Some(path) = of_another else { return Ok(()) };
    Err(Error::Corruption(format!(
        "the root file in {} is that of another log than the segments beside it, {} for one: put the right one \
         back, for no frame can be checked without it; nothing was changed",
        root.display(),
        path.display()
    )))
}

/// The error of damage that was found; if all of it comes of a wrong root file, the error that says so.
pub(super) fn or_of_other_root(
    error: Error,
    storage: &dyn Storage,
    root: &Path,
    salt: u64,
) -> Error {
    match error {
        Error::Corruption(_) => refuse_other_root(storage, root, salt).err().unwrap_or(error),
        error => error,
    }
}
