//! A log out of segments that were kept elsewhere.

use std::path::Path;

use super::mend;
use super::root::{Listing, read_root};
use crate::error::{Error, Result};
use crate::format::header::{FirstKept, Slot};
use crate::log::recover::{Examined, examine};
use crate::segment::{first_id_of, path_of};
use crate::storage::{OpenMode, Storage};

/// Makes every stream of a log that is put together begin with its oldest segment that is there: nothing before
/// it is missed, and nothing from it on counts as pruned. Then the log can be opened.
///
/// For a directory that nobody has opened yet: the root file, and for each stream a directory with segments as
/// [`Held::read`](super::Held::read) returned them, each of which begins where the one before it ends. After an
/// error or a crash build it anew, or call it again. What it writes is durable when it returns; that the files
/// are, and their directories, is up to the caller. Blocks on the disk.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::inspect::{Held, keep_from_oldest};
/// use ironwal::storage::{RealDisk, Storage};
/// use ironwal::{Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let (path, copy) = (dir.path().join("log"), dir.path().join("copy"));
/// let wal = Wal::new(WalOptions::new(&path))?;
/// wal.append_batch("orders", &[b"tea", b"coffee"])?;
///
/// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
/// let held = Held::of(&disk, &path)?;
/// std::fs::create_dir_all(copy.join("orders"))?;
/// std::fs::write(copy.join(".ironwal"), held.root_file())?;
/// let mut bytes = Vec::new();
/// held.read(0, 0, &mut |piece| Ok(bytes.extend_from_slice(piece)))?;
/// std::fs::write(copy.join("orders/00000000000000000000.wal"), bytes)?;
/// keep_from_oldest(&*disk, &copy)?;
///
/// let copied = Wal::new(WalOptions::new(&copy))?;
/// assert_eq!(copied.get("orders", 1)?.as_deref(), Some(&b"coffee"[..]));
/// assert_eq!(copied.append("orders", b"cake")?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Corruption`]: the root file or the header of a segment cannot be read. [`Error::Io`].
pub fn keep_from_oldest(storage: &dyn Storage, root: &Path) -> Result<()> {
    let Some(content) = read_root(storage, root)? else {
        let root = root.display();
        return Err(Error::Corruption(format!("the root file of {root} cannot be read")));
    };
    for stream in Listing::of(storage, root)?.streams {
        let names = storage.list(&stream.path)?;
        let mut first_ids: Vec<u64> =
            names.iter().filter_map(|entry| first_id_of(&entry.name)).collect();
        first_ids.sort_unstable();
        let (Some(&oldest), Some(&newest)) = (first_ids.first(), first_ids.last()) else {
            continue;
        };
        let mut lowered = 0;
        let mut newest_slot = None;
        for first_id in first_ids {
            let path = path_of(&stream.path, first_id);
            let Some(Examined { slot, .. }) = examine(storage, path, first_id, content.salt)?
            else {
                let path = path_of(&stream.path, first_id);
                let what = format!("the header of {} cannot be read", path.display());
                return Err(Error::Corruption(what));
            };
            // The highest one holds, so one above all of them does.
            lowered = lowered.max(slot.first_kept.lowered.saturating_add(1));
            newest_slot = Some(slot);
        }
        let Some(slot) = newest_slot else { continue };
        let file = storage.open(&path_of(&stream.path, newest), OpenMode::ReadWrite)?;
        mend::write_slots(&*file, Slot { first_kept: FirstKept { lowered, id: oldest }, ..slot })?;
        file.sync()?;
    }
    Ok(())
}
