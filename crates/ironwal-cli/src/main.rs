//! `ironwal`: append to a log, read it, look after it, and see that it keeps what it acknowledged, from the
//! shell.
#![forbid(unsafe_code)]
// Tests count in small numbers.
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

mod append;
mod archive;
mod backup;
mod bench;
mod cat;
mod change;
mod checkpoint;
mod colour;
mod completions;
mod confirm;
mod demo;
mod dump;
mod entries;
mod exit;
mod export;
mod exported;
mod findings;
mod import;
mod interrupt;
mod json;
mod ls;
mod man;
mod migrate;
mod open;
mod progress;
mod repair;
mod report;
mod stat;
mod table;
mod tail;
mod text;
mod unfinished;
mod verify;
mod watched;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  ironwal demo
  ironwal append ./log orders < orders.txt
  ironwal cat ./log orders --from 100
  ironwal ls ./log
  ironwal tail ./log orders -f
  ironwal verify ./log
  ironwal report ./log -o log.html
  ironwal backup ./log ./backup
  ironwal archive push s3://bucket/ledger ./log
  ironwal export ./log -o log.jsonl
  ironwal append ./accounts --shards 16 --key-field 1 < transfers.tsv
  ironwal checkpoint create ./accounts monday
  ironwal checkpoint prune ./accounts";

/// Append to a write-ahead log, read it, verify and repair it, and see that it keeps what it acknowledged.
#[derive(Parser)]
#[command(name = "ironwal", version, after_help = format!("{EXAMPLES}\n\n{}", exit::CODES))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Bench(bench::Args),
    Append(append::Args),
    Cat(cat::Args),
    Tail(tail::Args),
    Ls(ls::Args),
    Stat(stat::Args),
    Checkpoint(checkpoint::Args),
    Truncate(change::TruncateArgs),
    Prune(change::PruneArgs),
    Delete(change::DeleteArgs),
    Restore(change::RestoreArgs),
    Verify(verify::Args),
    Dump(dump::Args),
    Repair(repair::Args),
    Report(report::Args),
    Backup(backup::Args),
    Archive(archive::Args),
    Export(export::Args),
    Import(import::Args),
    Completions(completions::Args),
    Man(man::Args),
    Migrate(migrate::Args),
    #[command(hide = true)]
    DemoChild(demo::ChildArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Append(args) => append::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Checkpoint(args) => checkpoint::run(&args),
        Command::Truncate(args) => change::truncate(&args),
        Command::Prune(args) => change::prune(&args),
        Command::Delete(args) => change::delete(&args),
        Command::Restore(args) => change::restore(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Archive(args) => archive::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
        Command::Migrate(args) => migrate::run(&args),
        Command::DemoChild(args) => demo::run_child(&args),
    };
    exit::code(done)
}
