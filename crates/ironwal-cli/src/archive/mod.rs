//! `ironwal archive`: a log in object storage.

mod ls;
mod prune;
mod push;
mod restore;
mod verify;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Subcommand;
use ironwal_archive::{Archive, Archiver, Error, Ids};

use crate::exit::{Done, Failure};
use crate::open;

/// Ship a log to object storage, verify what is there, and restore it
#[derive(clap::Args)]
#[command(after_help = "\
URL is file:///path, s3://bucket/path, gs://bucket/path or az://container/path. Credentials, regions and
endpoints come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT,
GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and so on), never from the URL.
An archive is of one log, and has one writer at a time: whoever began to push last.

Examples:
  ironwal archive push file:///mnt/archive ./log
  ironwal archive watch s3://bucket/ledger ./log
  ironwal archive ls s3://bucket/ledger
  ironwal archive verify s3://bucket/ledger
  ironwal archive restore s3://bucket/ledger ./restored")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Push(push::Args),
    Watch(watch::Args),
    Ls(ls::Args),
    Verify(verify::Args),
    Restore(restore::Args),
    Prune(prune::Args),
}

pub(crate) fn run(args: &Args) -> Done {
    match &args.command {
        Command::Push(args) => push::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Prune(args) => prune::run(args),
    }
}

/// The archive at an address.
fn at(url: &str) -> Done<Archive> {
    Archive::open(url).map_err(|error| failure("open the archive", error))
}

/// What ships the log in `dir`, which there must be.
fn archiver(url: &str, dir: &Path, stop: Option<Arc<AtomicBool>>) -> Done<Archiver> {
    open::existing(dir)?.close().map_err(|error| Failure::of("close the log", &error))?;
    let archive = at(url)?;
    let archive = match stop {
        Some(stop) => archive.with_stop(stop),
        None => archive,
    };
    Ok(Archiver::new(archive, open::disk(), dir))
}

/// `doing` completes "cannot …".
fn failure(doing: &str, error: Error) -> Failure {
    match error {
        Error::Log(error) => Failure::of(doing, &error),
        Error::Config(reason) => Failure::BadUsage(format!("cannot {doing}: {reason}")),
        error => Failure::failed(format!("cannot {doing}: {error}")),
    }
}

/// Entries from one to another one.
fn ids(ids: &Ids) -> String {
    format!("{}..{}", ids.from, ids.to)
}
