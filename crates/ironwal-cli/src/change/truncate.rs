//! `ironwal truncate`: cuts off the end of a stream.

use std::path::PathBuf;

use ironwal::WalOptions;

use super::{change, entries, warning};
use crate::confirm::confirm;
use crate::exit::{Done, Failure, tell};
use crate::open;
use crate::text::counted;

/// Cut off the entries of a stream behind one of them
#[derive(clap::Args)]
#[command(after_help = "\
The next append gets the id behind the last entry that is kept, which had been another entry's. What is
cut off cannot be brought back. Asks before, or needs --yes. No other process may write to the log.

Examples:
  ironwal truncate ./log orders --after 99
  ironwal truncate ./log orders --after 99 --yes")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The name of the stream
    stream: String,
    /// The last id to keep
    #[arg(long, value_name = "ID")]
    after: u64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    change(WalOptions::new(&args.dir), |wal| {
        let name = &args.stream;
        let stream = open::stream(wal, name)?;
        let before = stream.stats();
        let end = args.after.saturating_add(1);
        if end >= before.next_id {
            if let Some(error) = open::lost_end(&stream) {
                return Err(Failure::of(&format!("cut off the end of {name:?}"), &error));
            }
            tell(format_args!(
                "nothing to cut off: the next id of stream {name:?} is {}",
                before.next_id
            ));
            return Ok(());
        }
        let going = end.max(before.first_id)..before.next_id;
        let question = format!(
            "{}cut off {} of stream {name:?}, for good?",
            warning(wal, name),
            entries(&going)
        );
        confirm(args.yes, question)?;
        stream
            .truncate_after(Some(args.after))
            .map_err(|error| Failure::of(&format!("cut off the end of {name:?}"), &error))?;
        let after = stream.stats();
        tell(format_args!(
            "cut off {} of stream {name:?}: {} deleted; the next id is {}",
            entries(&(after.next_id..before.next_id)),
            counted(before.segments.saturating_sub(after.segments) as u64, "segment", "segments"),
            after.next_id,
        ));
        Ok(())
    })
}
