//! Commands that change a stream: `truncate`, `prune`, `delete` and `restore`.

mod delete;
mod prune;
mod restore;
mod truncate;

use std::ops::Range;

use ironwal::{Wal, WalOptions};

use crate::exit::{Done, Failure};
use crate::open;
use crate::text::counted;

pub(crate) use delete::{Args as DeleteArgs, run as delete};
pub(crate) use prune::{Args as PruneArgs, run as prune};
pub(crate) use restore::{Args as RestoreArgs, run as restore};
pub(crate) use truncate::{Args as TruncateArgs, run as truncate};

/// Does something with a log that is open for writing meanwhile, so that nothing changes between a
/// question and the answer.
fn change(options: WalOptions, work: impl FnOnce(&Wal) -> Done) -> Done {
    let wal = open::to_change(options)?;
    let done = work(&wal);
    let closed = wal.close();
    done?;
    closed.map_err(|error| Failure::of("close the log", &error))
}

/// How many entries, and their ids.
fn entries(ids: &Range<u64>) -> String {
    let count = counted(ids.end.saturating_sub(ids.start), "entry", "entries");
    if ids.is_empty() { count } else { format!("{count} (ids {}..{})", ids.start, ids.end) }
}

/// What else is to be thought of before entries of a shard go.
fn warning(wal: &Wal, name: &str) -> String {
    match open::shard_of(wal, name) {
        Some(shard) => format!(
            "it is shard {shard}: what comes after a checkpoint that holds these entries cannot be replayed \
             any more. "
        ),
        None => String::new(),
    }
}
