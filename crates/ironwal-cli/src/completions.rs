//! `ironwal completions`: what a shell needs to complete commands and options.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;

use crate::exit::{Done, Failure};

/// Print a script with which a shell completes commands and options
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ironwal completions bash > /usr/share/bash-completion/completions/ironwal
  ironwal completions zsh > ~/.zfunc/_ironwal
  ironwal completions fish > ~/.config/fish/completions/ironwal.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut program: Command) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "ironwal", &mut script);
    let mut out = io::stdout().lock();
    let written = out.write_all(&script).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}
