//! `ironwal report`: what is in a log, as a page to look at.

mod gather;
mod growth;
mod page;

use std::io::Write;
use std::path::PathBuf;

use crate::exit::{Done, Failure};
use crate::unfinished::{self, Unfinished};
use crate::verify;
use gather::Content;

/// Draw what is in a log as a page for the browser: streams, segments, shards, growth, checkpoints, damage
#[derive(clap::Args)]
#[command(after_help = "\
One file that holds all it shows: it loads nothing, runs no script, and can be sent to somebody. Every byte
of the log is read for it, as by `ironwal verify`, and the exit status is 1 if something that had been
durable cannot be read; the page is there then too, and shows what.
Works beside a process that writes to the log, and changes nothing.

Examples:
  ironwal report ./log -o log.html")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// Write the page to this file, which must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> Done {
    unfinished::must_not_exist(&args.output)?;
    let report = verify::read(&args.dir, None)?;
    let content = Content::of(&args.dir, &report);
    let page = page::page(&args.dir, &report, &content)?;
    let unfinished = Unfinished::create(&args.output)?;
    let written = unfinished.file().write_all(page.as_bytes());
    written.map_err(|error| Failure::io(&format!("write {}", args.output.display()), &error))?;
    unfinished.finish()?;
    match report.is_whole() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "the log is damaged: {} shows where, and `ironwal verify` says it here",
            args.output.display()
        ))),
    }
}
