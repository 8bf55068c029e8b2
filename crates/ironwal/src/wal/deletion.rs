//! Deleting files that nothing refers to any more. What is not deleted for whatever reason, the next
//! opening deletes.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::segment::{DELETED_PREFIX, is_of_a_stream};
use crate::storage::{DirEntry, EntryKind, Storage};

/// How the name of a directory ends that was found about to be deleted.
const AGAIN: &str = ".again";

/// What is going to be deleted.
#[derive(Debug)]
pub(super) enum Doomed {
    /// A segment.
    File(PathBuf),
    /// The directory of a deleted stream, with the files in it.
    Dir(PathBuf),
}

/// Deletes it. Whoever waits for the space sees whether there is any; an error is noted in the log.
pub(super) fn delete(storage: &dyn Storage, doomed: &Doomed) {
    let (path, deleted) = match doomed {
        Doomed::File(path) => (path, gone(storage.remove_file(path))),
        Doomed::Dir(path) => (path, delete_dir(storage, path)),
    };
    if let Err(error) = deleted {
        let path = path.display();
        tracing::warn!(%path, %error, "could not be deleted; the next opening tries again");
    }
}

fn delete_dir(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    for entry in storage.list(dir)? {
        if entry.kind == EntryKind::File && is_of_a_stream(&entry.name) {
            gone(storage.remove_file(&dir.join(entry.name)))?;
        }
    }
    gone(storage.remove_dir(dir))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where the directory of the stream with this number goes before it is deleted.
pub(super) fn aside(root: &Path, number: u64) -> PathBuf {
    root.join(format!("{DELETED_PREFIX}{number}"))
}

/// Directories of streams whose deletion was interrupted.
#[derive(Debug)]
pub(super) struct Deletions {
    doomed: Vec<Doomed>,
    /// The numbers of the streams.
    pub(super) numbers: Vec<u64>,
}

impl Deletions {
    /// Goes on with them.
    pub(super) fn finish(&self, storage: &dyn Storage) {
        self.doomed.iter().for_each(|doomed| delete(storage, doomed));
    }
}

/// The number of the stream whose directory this was, with its digits, if its deletion was interrupted.
pub(crate) fn deleted(entry: &DirEntry) -> Option<(&str, u64)> {
    let number = entry.name.to_str()?.strip_prefix(DELETED_PREFIX)?;
    let digits = number.trim_end_matches(AGAIN);
    let number = digits.parse().ok()?;
    (entry.kind == EntryKind::Dir).then_some((digits, number))
}

/// Finds the streams whose deletion was interrupted, and makes it durable that they are gone.
///
/// The process that renamed one may have seen the sync of that fail, after which another sync says
/// nothing of it. So it is renamed once more: after a crash the stream is there whole, or gone.
pub(super) fn confirm_deletions(storage: &dyn Storage, root: &Path) -> Result<Deletions> {
    let (mut doomed, mut numbers) = (Vec::new(), Vec::new());
    let entries = storage.list(root)?;
    let mut taken: BTreeSet<OsString> = entries.iter().map(|entry| entry.name.clone()).collect();
    for entry in &entries {
        if let Some((digits, number)) = deleted(entry) {
            numbers.push(number);
            // One that could not be deleted may be in the way: the stream was restored since, and
            // deleted again.
            let mut other = format!("{DELETED_PREFIX}{digits}");
            while taken.contains(OsStr::new(&other)) {
                other.push_str(AGAIN);
            }
            taken.insert(OsString::from(&other));
            let other = root.join(other);
            storage.rename(&root.join(&entry.name), &other)?;
            doomed.push(Doomed::Dir(other));
        }
    }
    if !doomed.is_empty() {
        storage.sync_dir(root)?;
    }
    Ok(Deletions { doomed, numbers })
}
