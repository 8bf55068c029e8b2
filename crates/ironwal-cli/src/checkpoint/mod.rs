//! `ironwal checkpoint`: the checkpoints of a sharded log.

mod change;
mod list;

use clap::Subcommand;

pub(crate) use list::{Listed, newest, table, write_json};

use crate::exit::Done;

/// List and show the checkpoints of a sharded log, create one, prune and compact
#[derive(clap::Args)]
#[command(after_help = "\
A checkpoint is one instant over all shards. Create one before a snapshot of your state is saved; when
the snapshot is safe, what lies before its checkpoint can be pruned.

Examples:
  ironwal checkpoint ls ./accounts
  ironwal checkpoint create ./accounts monday
  ironwal checkpoint prune ./accounts monday
  ironwal checkpoint compact ./accounts --keep 10")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ls(list::Args),
    Show(list::ShowArgs),
    Create(change::CreateArgs),
    Prune(change::PruneArgs),
    Compact(change::CompactArgs),
}

pub(crate) fn run(args: &Args) -> Done {
    match &args.command {
        Command::Ls(args) => list::run(args),
        Command::Show(args) => list::show(args),
        Command::Create(args) => change::create(args),
        Command::Prune(args) => change::prune(args),
        Command::Compact(args) => change::compact(args),
    }
}
