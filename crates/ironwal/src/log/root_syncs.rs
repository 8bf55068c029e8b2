//! Syncs of the root directory, in which streams and the root file get their names side by side.
//!
//! A failed sync loses what others changed, too, and their own sync says OK afterwards. So whoever
//! changes the root takes note of the failures before, and believes a sync only if none was added.

use std::io;
use std::path::Path;

use crate::storage::Storage;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The syncs of one directory so far.
#[derive(Debug, Default)]
pub(crate) struct RootSyncs {
    /// How many have begun.
    begun: AtomicU64,
    /// Locked while there is one.
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    failed: u64,
    /// The number of the last one that returned OK.
    done: u64,
}

/// What failed before a change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    failed: u64,
}

impl RootSyncs {
    /// To be asked before a change. Waits for a sync that has begun.
    pub(crate) fn before_change(&self) -> Before {
        Before { failed: lock(&self.ended).failed }
    }

    /// Makes a change durable; shares a sync with others that wait.
    pub(crate) fn sync(
        &self,
        storage: &dyn Storage,
        root: &Path,
        before: Before,
    ) -> io::Result<()> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut ended = lock(&self.ended);
        if ended.failed != before.failed {
            let what = format!("another sync of {} failed meanwhile", root.display());
            return Err(io::Error::other(what));
        }
        if ended.done > begun {
            return Ok(());
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        storage.sync_dir(root).inspect_err(|_| ended.failed += 1)?;
        ended.done = number;
        Ok(())
    }
}
