//! `ironwal man`: the manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::exit::{self, Done, Failure, tell};
use crate::text::counted;

/// Print the manual page, or write those of all commands
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ironwal man | man -l -
  ironwal man -o /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// Write the page of each command to this directory, which is made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, program: Command) -> Done {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    match &args.output {
        None => print(&program),
        Some(dir) => {
            let failed = |error| Failure::io(&format!("write to {}", dir.display()), &error);
            fs::create_dir_all(dir).map_err(failed)?;
            let count = write_all(&program, dir).map_err(failed)?;
            tell(format_args!("wrote {} to {}", counted(count, "page", "pages"), dir.display()));
            Ok(())
        }
    }
}

fn print(program: &Command) -> Done {
    let mut out = io::stdout().lock();
    let written = page(program).and_then(|page| out.write_all(&page)).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // What stands behind the help of a command is laid out already, and has sections of its own.
    Man::new(command.clone().after_help("")).render(&mut page)?;
    let help = help.strip_suffix(exit::CODES).unwrap_or(&help);
    let (notes, examples) = match help.find("Example") {
        Some(at) => (&help[..at], help[at..].split_once('\n').map_or("", |(_, examples)| examples)),
        None => (help, ""),
    };
    let (_, codes) = exit::CODES.split_once('\n').unwrap_or_default();
    for (title, text) in [("NOTES", notes), ("EXAMPLES", examples), ("EXIT STATUS", codes)] {
        let text = text.trim_end().trim_start_matches('\n');
        if !text.is_empty() {
            write!(page, ".SH \"{title}\"\n.nf\n{}\n.fi\n", as_roff(text))?;
        }
    }
    Ok(page)
}

/// Text that is shown as it is.
fn as_roff(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    let line = |line: &str| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes the page of a command and of those below it; returns how many there are.
fn write_all(command: &Command, dir: &Path) -> io::Result<u64> {
    // `ironwal checkpoint ls` has the page `ironwal-checkpoint-ls`.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| write_all(command, dir)).try_fold(1, |sum, count| Ok(sum + count?))
}
