//! What is in the root: the root file, streams, what is left over, what is somebody else's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Problem};
use super::repair::ASIDE;
use super::verify::gone_is_empty;
use crate::error::{Error, Result};
use crate::format::root::{ROOT_LEN, Root};
use crate::format::{BLOCK_LEN, Unreadable};
use crate::log::mark::NAME as WATERMARK_NAME;
use crate::log::recover::found::salt_in;
use crate::log::recover::is_temporary;
use crate::log::recover::journal::NAMES as JOURNAL_NAMES;
use crate::segment::first_id_of;
use crate::storage::{self, DirEntry, EntryKind, OpenMode, Storage};
use crate::wal::own::CHECKPOINTS;
use crate::wal::root::{LOCK_NAME, ROOT_NAME, UNFINISHED_ROOT_NAME, any_file_below, refuse_legacy};
use crate::wal::{deletion, names, reshape};

/// The directory of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dir {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What is in the root, in the order of the names.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) streams: Vec<Dir>,
    /// The numbers of streams whose deletion was interrupted.
    pub(super) deleted: Vec<u64>,
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) strangers: Vec<PathBuf>,
}

impl Listing {
    pub(super) fn of(storage: &dyn Storage, root: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in storage.list(root)? {
            listing.add(storage, root, &entry)?;
        }
        Ok(listing)
    }

    fn add(&mut self, storage: &dyn Storage, root: &Path, entry: &DirEntry) -> io::Result<()> {
        let path = root.join(&entry.name);
        let name = entry.name.to_str().unwrap_or_default();
        let stream = match name {
            CHECKPOINTS => Some(name.to_string()),
            _ => names::decode(&entry.name),
        };
        match (entry.kind, stream) {
            (EntryKind::Dir, Some(name)) => {
                let inside = gone_is_empty(storage.list(&path))?;
                // One that was made for a stream whose first append did not come to its end is ours too.
                if inside.iter().all(is_temporary)
                    || inside.iter().any(|entry| first_id_of(&entry.name).is_some())
                {
                    self.streams.push(Dir { name, path });
                } else {
                    self.strangers.push(path);
                }
            }
            (EntryKind::Dir, None) if is_deleted(entry) || is_restored(entry) => {
                self.deleted.extend(deletion::deleted(entry).map(|(_, number)| number));
                self.leftovers.push(path);
            }
            (EntryKind::Dir, _) if name == ASIDE => {}
            (EntryKind::File, _) if is_unfinished(name) => self.leftovers.push(path),
            (EntryKind::File, _) if is_ours(name) => {}
            _ => self.strangers.push(path),
        }
        Ok(())
    }
}

fn is_deleted(entry: &DirEntry) -> bool {
    deletion::deleted(entry).is_some()
}

fn is_restored(entry: &DirEntry) -> bool {
    let number = entry.name.to_str().and_then(|name| name.strip_prefix(reshape::RESTORED_PREFIX));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

fn is_ours(name: &str) -> bool {
    [ROOT_NAME, LOCK_NAME, WATERMARK_NAME].contains(&name) || JOURNAL_NAMES.contains(&name)
}

fn is_unfinished(name: &str) -> bool {
    name == UNFINISHED_ROOT_NAME || name.strip_suffix(".tmp").is_some_and(is_ours)
}

/// Looks at the root file; returns the salt of the log, by which everything else is checked. `None`:
/// nothing else can be.
///
/// # Errors
///
/// There is no log, or it is one of version 0.6.
pub(super) fn check(
    storage: &dyn Storage,
    root: &Path,
    listing: &Listing,
    findings: &mut Vec<Finding>,
) -> Result<Option<u64>> {
    let mut path = root.join(ROOT_NAME);
    let mut bytes = read(storage, &path)?;
    if bytes.is_none() {
        let unfinished = root.join(UNFINISHED_ROOT_NAME);
        // An opening that was interrupted leaves it there; what is not whole there never was one.
        bytes = read(storage, &unfinished)?.filter(|bytes| Root::decode(bytes).is_ok());
        if bytes.is_some() {
            path = unfinished;
        }
    }
    let Some(bytes) = bytes else {
        refuse_legacy(storage, root)?;
        let has_segments = any_file_below(storage, root, |name| first_id_of(name).is_some())?;
        if !has_segments {
            let what = format!("there is no log in {}", root.display());
            return Err(Error::Io(io::Error::new(io::ErrorKind::NotFound, what)));
        }
        return lost(storage, listing, Finding::new(Problem::RootLost, path), findings);
    };
    match Root::decode(&bytes) {
        Ok(content) => {
            findings.extend(bad_copies(&bytes, &content, &path));
            Ok(Some(content.salt))
        }
        Err(Unreadable::Newer(version)) => {
            findings.push(Finding::new(Problem::NewerVersion(version), path));
            Ok(None)
        }
        Err(_) => {
            let len = bytes.len() as u64;
            let finding = Finding::new(Problem::RootLost, path).at(0, len);
            lost(storage, listing, finding, findings)
        }
    }
}

/// The salt without a root file, as far as it can be known.
fn lost(
    storage: &dyn Storage,
    listing: &Listing,
    finding: Finding,
    findings: &mut Vec<Finding>,
) -> Result<Option<u64>> {
    let salt = salt_of(storage, &listing.streams)?;
    let problem = if salt.is_some() { Problem::RootLost } else { Problem::SaltLost };
    findings.push(Finding { problem, ..finding });
    Ok(salt)
}

/// What the root file says, under whichever name it has; `None` if nothing can be read.
pub(super) fn read_root(storage: &dyn Storage, root: &Path) -> io::Result<Option<Root>> {
    for name in [ROOT_NAME, UNFINISHED_ROOT_NAME] {
        if let Some(bytes) = read(storage, &root.join(name))? {
            return Ok(Root::decode(&bytes).ok());
        }
    }
    Ok(None)
}

/// The copies that are not what holds.
fn bad_copies(bytes: &[u8], content: &Root, path: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (nth, offset) in [0, BLOCK_LEN].into_iter().enumerate() {
        let copy = bytes.get(nth * ROOT_LEN / 2..).unwrap_or_default();
        let copy = &copy[..copy.len().min(ROOT_LEN / 2)];
        if Root::decode(copy).as_ref() != Ok(content) {
            let finding = Finding::new(Problem::RootCopy, path);
            findings.push(finding.at(offset, copy.len() as u64));
        }
    }
    findings
}

fn read(storage: &dyn Storage, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; ROOT_LEN];
    let filled = storage::read_up_to(&*file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// The salt that most segments were written under, by what their headers and seals say.
pub(super) fn salt_of(storage: &dyn Storage, streams: &[Dir]) -> Result<Option<u64>> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for dir in streams {
        for entry in gone_is_empty(storage.list(&dir.path))? {
            let Some(first_id) = first_id_of(&entry.name) else { continue };
            if entry.kind == EntryKind::File
                && let Some(salt) = salt_in(storage, &dir.path.join(&entry.name), first_id)?
            {
                *counts.entry(salt).or_default() += 1;
            }
        }
    }
    Ok(counts.into_iter().max_by_key(|(_, count)| *count).map(|(salt, _)| salt))
}
