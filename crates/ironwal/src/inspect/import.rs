//! What a log needs beside appends that is built out of another one, whose ids it is to keep: marks for those
//! that are lost.

use std::path::Path;

use super::mend;
use super::repair::Work;
use super::root::{Dir, read_root};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::log::recover::journal;
use crate::segment::first_id_of;
use crate::storage::Storage;
use crate::sync::Arc;
use crate::wal::names;
use crate::wal::root::RootDir;

fn is_there(storage: &dyn Storage, root: &Path, dir: &Path) -> Result<bool> {
    Ok(storage.list(root)?.iter().any(|entry| Some(&*entry.name) == dir.file_name()))
}

/// Marks ids as lost that a stream would give out next: reads of them return [`Error::Damaged`], and the
/// next append to a stream gets the id that is named here.
///
/// For a log that is built out of another one, in which these entries were damaged or missing. The log
/// was closed by [`Wal::close`](crate::Wal::close); its lock is held meanwhile. After an error or a crash
/// build it anew. Blocks on the disk.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::inspect::lose_ids;
/// use ironwal::storage::{RealDisk, Storage};
/// use ironwal::{Error, Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let wal = Wal::new(WalOptions::new(path))?;
/// wal.append("orders", b"tea")?;
/// wal.close()?;
///
/// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
/// lose_ids(&disk, path, &[("orders", 3)])?;
/// let wal = Wal::new(WalOptions::new(path))?;
/// let lost = wal.stream("orders")?.get(1);
/// assert!(matches!(lost, Err(Error::Damaged { ids, .. }) if ids == (1..3)));
/// assert_eq!(wal.append("orders", b"coffee")?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// - [`Error::StreamNotFound`]: it has no segment; [`Wal::begin_stream`](crate::Wal::begin_stream) makes one.
/// - [`Error::Config`]: the stream goes on with that id, or a higher one, already.
/// - [`Error::Corruption`]: the log is damaged, or was not closed; or a segment would hold more than 2³² - 1
///   entries.
/// - [`Error::Locked`], [`Error::StorageFull`], [`Error::Io`], and others of [`Wal::new`](crate::Wal::new).
pub fn lose_ids(storage: &Arc<dyn Storage>, root: &Path, streams: &[(&str, u64)]) -> Result<()> {
    let environment = Environment::default().with_storage(Arc::clone(storage));
    let _locked = RootDir::open(root, &environment)?;
    let Some(content) = read_root(&**storage, root)? else { return Ok(()) };
    if !journal::read(&**storage, root, content.salt)?.pieces().is_empty() {
        return Err(Error::Corruption(format!(
            "the log in {} was not closed: open it and close it",
            root.display()
        )));
    }
    let work = Work { storage, dir: root.to_path_buf(), root: content };
    for (name, next_id) in streams {
        let path = root.join(names::encode(name)?);
        let listed = match is_there(&**storage, root, &path)? {
            true => storage.list(&path)?,
            false => Vec::new(),
        };
        if !listed.iter().any(|entry| first_id_of(&entry.name).is_some()) {
            return Err(Error::StreamNotFound(name.to_string()));
        }
        mend::lose(&work, &Dir { name: name.to_string(), path }, *next_id)?;
    }
    Ok(())
}
