//! `ironwal prune`: drops the beginning of a stream.

use std::path::PathBuf;

use ironwal::WalOptions;

use super::{change, entries};
use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::counted;

/// Drop the entries of a stream before one of them
#[derive(clap::Args)]
#[command(after_help = "\
Ids stay as they are: the first entry that is kept has the one it had. Segments that hold nothing else are
deleted, or moved to the archive, whole: entries that share a segment with one that is kept go with it later.
No other process may write to the log. For a sharded log there is `ironwal checkpoint prune`.

Examples:
  ironwal prune ./log orders --before 1000
  ironwal prune ./log orders --keep 1073741824
  ironwal prune ./log orders --before 1000 --archive ./archive")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// The first id to keep
    #[arg(long, value_name = "ID", required_unless_present = "keep")]
    before: Option<u64>,
    /// Instead: how many bytes of full segments and the newest one to keep, at least
    #[arg(long, value_name = "BYTES", conflicts_with = "before")]
    keep: Option<u64>,
    /// Move segments to this directory instead of deleting them: `ironwal restore` brings them back
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Done {
    let options = WalOptions { archive_path: args.archive.clone(), ..WalOptions::new(&args.dir) };
    change(options, |wal| {
        let name = &args.stream;
        let stream = open::stream(wal, name)?;
        let before = stream.stats();
        let first_kept =
            args.before.unwrap_or_else(|| stream.oldest_within(args.keep.unwrap_or(u64::MAX)));
        if first_kept <= before.first_id {
            tell(format_args!(
                "nothing to prune: the first id of stream {name:?} is {}",
                before.first_id
            ));
            return Ok(());
        }
        let segments = stream
            .truncate_before(first_kept)
            .map_err(|error| Failure::of(&format!("prune {name:?}"), &error))?;
        let first_id = stream.first_id();
        tell(format_args!(
            "pruned {} of stream {name:?}: {} {}; the first id is {first_id}",
            entries(&(before.first_id..first_id.min(before.next_id))),
            counted(segments as u64, "segment", "segments"),
            if args.archive.is_some() { "archived" } else { "deleted" },
        ));
        if segments == 0 && args.archive.is_some() {
            tell(
                "what is pruned shares a segment with what is kept, and is archived with that later",
            );
        }
        Ok(())
    })
}
