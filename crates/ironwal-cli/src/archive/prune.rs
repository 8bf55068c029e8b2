//! `ironwal archive prune`: frees in a log what its archive holds.

use std::path::PathBuf;

use ironwal::WalOptions;

use super::{archiver, failure};
use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::counted;

/// Free in a log what its archive holds
#[derive(clap::Args)]
#[command(after_help = "\
Frees full segments, oldest first, until a stream takes no more than --keep bytes: only those that the newest
manifest names as they are, and whose objects the store has. What was not pushed stays. Ids stay as they are.
No other process may write to the log: one that does calls `Archiver::prune`.

Examples:
  ironwal archive prune s3://bucket/ledger ./log --keep 1073741824
  ironwal archive prune file:///mnt/archive ./log orders --keep 0")]
pub(super) struct Args {
    /// The address of the archive
    url: String,
    /// The directory of the log
    dir: PathBuf,
    /// The names of the streams [default: all]
    stream: Vec<String>,
    /// How many bytes of each stream to keep, at least
    #[arg(long, value_name = "BYTES")]
    keep: u64,
}

pub(super) fn run(args: &Args) -> Done {
    let archiver = archiver(&args.url, &args.dir, None)?;
    let wal = open::to_change(WalOptions::new(&args.dir))?;
    let done = prune(args, &archiver, &wal);
    let closed = wal.close();
    done?;
    closed.map_err(|error| Failure::of("close the log", &error))
}

fn prune(args: &Args, archiver: &ironwal_archive::Archiver, wal: &ironwal::Wal) -> Done {
    let names = if args.stream.is_empty() { wal.streams() } else { args.stream.clone() };
    for name in names {
        let stream = open::stream(wal, &name)?;
        let before = stream.oldest_within(args.keep);
        let freed = archiver
            .prune_stream(wal, &name, before)
            .map_err(|error| failure(&format!("prune {name:?}"), error))?;
        tell(format_args!(
            "freed {} of stream {name:?}; the first id is {}",
            counted(freed as u64, "segment", "segments"),
            stream.first_id()
        ));
    }
    Ok(())
}
