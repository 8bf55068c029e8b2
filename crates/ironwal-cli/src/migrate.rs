//! `ironwal migrate`: runs the program that can read directories of 0.6.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::exit::{Done, Failure};

/// The program that does it. It links version 0.6.9, and so is installed apart from this one.
const PROGRAM: &str = "ironwal-migrate";

/// Make a log out of a directory that ironwal 0.6 wrote
#[derive(clap::Args)]
#[command(after_help = "\
Runs `ironwal-migrate`, which reads directories of 0.6 and is a program of its own: it is looked for beside
this one, and then on the PATH. `ironwal-migrate --help` lists its options.
Every entry keeps its stream, its shard and its id; checkpoints are kept too. OLD is only read.

Example:
  ironwal migrate ./ledger ./ledger-0.7")]
pub(crate) struct Args {
    /// OLD, NEW and options, all of which `ironwal-migrate` gets as they are
    #[arg(
        value_name = "OLD NEW",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Done {
    let Some(program) = find() else {
        return Err(Failure::failed(format!(
            "{PROGRAM} is not installed: it is a program of its own, for it links ironwal 0.6.9; build it \
             with `cargo install --path migrate` in the repository of ironwal, or put it beside this one"
        )));
    };
    let mut command = Command::new(&program);
    command.args(&args.args);
    let error = become_it(command);
    Err(Failure::failed(format!("cannot run {}: {error}", program.display())))
}

/// Beside this program, or on the PATH.
fn find() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    let here = env::current_exe().ok().and_then(|this| Some(this.parent()?.to_path_buf()));
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = here.into_iter().chain(env::split_paths(&path));
    dirs.map(|dir| dir.join(&name)).find(|program| program.is_file())
}

/// Goes on as that program, so that its exit status, and signals, are this one's. Returns why it cannot.
#[cfg(unix)]
fn become_it(mut command: Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
