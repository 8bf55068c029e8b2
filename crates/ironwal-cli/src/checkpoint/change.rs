//! `ironwal checkpoint create`, `prune` and `compact`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ironwal::Result;
use ironwal::sharded::ShardedWal;

use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::{counted, grouped, printable};

/// Create a checkpoint of all shards at this instant
#[derive(clap::Args)]
#[command(after_help = "\
Everything in it is on stable storage when it has been created. A checkpoint that has the id already is
replaced.

Example:
  ironwal checkpoint create ./accounts monday")]
pub(super) struct CreateArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The id of the checkpoint
    id: OsString,
}

pub(super) fn create(args: &CreateArgs) -> Done {
    let id = args.id.as_encoded_bytes();
    let name = printable(id);
    change(&args.dir, &format!("create checkpoint \"{name}\""), |wal| {
        let before = wal.checkpoint_count();
        wal.create_checkpoint(id)?;
        let replaced = wal.checkpoint_count() == before;
        let entries: u64 = wal.load_checkpoint(id)?.offsets.iter().sum();
        tell(format_args!(
            "{} checkpoint \"{name}\": {} in {}",
            if replaced { "replaced" } else { "created" },
            counted(entries, "entry", "entries"),
            counted(wal.shard_count().into(), "shard", "shards"),
        ));
        Ok(())
    })
}

/// Delete the segments of the shards that hold nothing but what a checkpoint holds
#[derive(clap::Args)]
#[command(after_help = "\
Whole segments are deleted, and not archived; the newest of each shard stays. The checkpoint stays, and
so do the entries that came after it.

Examples:
  ironwal checkpoint prune ./accounts
  ironwal checkpoint prune ./accounts monday")]
pub(super) struct PruneArgs {
    /// The directory of the log
    dir: PathBuf,
    /// The id of the checkpoint [default: the newest one]
    id: Option<OsString>,
}

pub(super) fn prune(args: &PruneArgs) -> Done {
    let doing = match &args.id {
        None => "prune before the newest checkpoint".to_string(),
        Some(id) => format!("prune before checkpoint \"{}\"", printable(id.as_encoded_bytes())),
    };
    change(&args.dir, &doing, |wal| {
        let id = match &args.id {
            Some(id) => id.as_encoded_bytes().to_vec(),
            None => wal.load_latest_checkpoint()?.0,
        };
        let before = wal.inner().stats().bytes;
        let freed = wal.prune_before_checkpoint(&id)?;
        let bytes = before.saturating_sub(wal.inner().stats().bytes);
        tell(format_args!(
            "pruned before checkpoint \"{}\": {} of {} deleted, {} freed",
            printable(&id),
            counted(freed.segments_deleted as u64, "segment", "segments"),
            counted(freed.shards_pruned.into(), "shard", "shards"),
            counted(bytes, "byte", "bytes"),
        ));
        if freed.segments_deleted == 0 {
            tell(
                "nothing to free: the newest segment of each shard stays, and no older one holds \
                 only what the checkpoint holds",
            );
        }
        Ok(())
    })
}

/// Drop all checkpoints but the newest ones
#[derive(clap::Args)]
#[command(after_help = "\
Entries stay: only `ironwal checkpoint prune` deletes them.

Example:
  ironwal checkpoint compact ./accounts --keep 10")]
pub(super) struct CompactArgs {
    /// The directory of the log
    dir: PathBuf,
    /// How many checkpoints to keep
    #[arg(long, value_name = "N")]
    keep: usize,
}

pub(super) fn compact(args: &CompactArgs) -> Done {
    change(&args.dir, "compact the checkpoints", |wal| {
        let done = wal.compact_checkpoints(args.keep)?;
        tell(format_args!(
            "kept {} of {}, {} freed",
            grouped(done.checkpoints_after as u64),
            counted(done.checkpoints_before as u64, "checkpoint", "checkpoints"),
            counted(done.bytes_reclaimed, "byte", "bytes"),
        ));
        Ok(())
    })
}

/// Does something with the sharded log in `dir`, which is open for writing meanwhile. `doing`
/// completes "cannot …".
fn change(dir: &Path, doing: &str, work: impl FnOnce(&ShardedWal) -> Result<()>) -> Done {
    let wal = open::sharded(dir)?;
    let done = work(&wal);
    let closed = wal.close();
    done.map_err(|error| Failure::of(doing, &error))?;
    closed.map_err(|error| Failure::of("close the log", &error))
}
