//! `ironwal restore`: brings archived segments back.

use std::path::PathBuf;

use ironwal::WalOptions;

use super::{change, entries};
use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::counted;

/// Bring the archived segments of a stream back
#[derive(clap::Args)]
#[command(after_help = "\
Those come back that lead up to the first segment of the stream; of a stream that was deleted, all that
was archived of it. A segment leaves the archive once it is safely in the log: this can be interrupted and
repeated. No other process may write to the log.

Examples:
  ironwal prune ./log orders --before 1000 --archive ./archive
  ironwal restore ./log orders --archive ./archive")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// The directory of the archive
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
}

pub(crate) fn run(args: &Args) -> Done {
    if !args.archive.is_dir() {
        return Err(Failure::failed(format!(
            "there is no archive in {}: check the path",
            args.archive.display()
        )));
    }
    let options =
        WalOptions { archive_path: Some(args.archive.clone()), ..WalOptions::new(&args.dir) };
    change(options, |wal| {
        let name = &args.stream;
        let segments = wal
            .restore_archived(name)
            .map_err(|error| Failure::of(&format!("restore {name:?}"), &error))?;
        if segments == 0 {
            tell(format_args!(
                "nothing to restore: no segment in {} leads up to stream {name:?}",
                args.archive.display()
            ));
            return Ok(());
        }
        let stats = open::stream(wal, name)?.stats();
        tell(format_args!(
            "restored {} of stream {name:?}: it has {}",
            counted(segments as u64, "segment", "segments"),
            entries(&(stats.first_id..stats.next_id)),
        ));
        Ok(())
    })
}
