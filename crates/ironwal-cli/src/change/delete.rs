//! `ironwal delete`: deletes a stream.

use std::path::PathBuf;

use ironwal::WalOptions;

use super::{change, entries, warning};
use crate::confirm::confirm;
use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::counted;

/// Delete a stream with everything in it
#[derive(clap::Args)]
#[command(after_help = "\
It cannot be brought back, but for what was archived of it. Appending to the name begins a new stream at
id 0. Asks before, or needs --yes. No other process may write to the log.

Examples:
  ironwal delete ./log orders
  ironwal delete ./log orders --yes")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    change(WalOptions::new(&args.dir), |wal| {
        let name = &args.stream;
        let stream = open::stream(wal, name)?;
        let stats = stream.stats();
        let what = format!(
            "stream {name:?}: {} in {}{}",
            entries(&(stats.first_id..stats.next_id)),
            counted(stats.segments as u64, "segment", "segments"),
            if open::lost_end(&stream).is_some() { ", and what cannot be read" } else { "" },
        );
        confirm(args.yes, format_args!("{}delete {what}, for good?", warning(wal, name)))?;
        wal.delete_stream(name)
            .map_err(|error| Failure::of(&format!("delete {name:?}"), &error))?;
        tell(format_args!("deleted {what}"));
        Ok(())
    })
}
