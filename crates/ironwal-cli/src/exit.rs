//! How the program ends: exit codes and error messages, in one place.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use ironwal::Error;

use crate::colour;

/// What the exit codes mean.
pub(crate) const CODES: &str = "\
Exit status:
  0  everything went well, also if the reader of a pipe left early
  1  the operation failed: damage, an I/O error, no such log, stream or checkpoint
  2  bad usage: an unknown option, an unusable value or name, a question and nobody to ask";

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;

pub(crate) type Done<T = ()> = Result<T, Failure>;

/// Why the program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation failed; the message says what to do next.
    Failed(String),
    /// The arguments cannot be used.
    BadUsage(String),
    /// The operation failed, and that was said where it happened.
    AlreadySaid,
    /// Nobody reads standard output any more, as with `| head`. That is no error.
    ReaderLeft,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// An error of the library; `doing` completes "cannot …".
    pub(crate) fn of(doing: &str, error: &Error) -> Self {
        match error {
            Error::Config(reason) => Self::BadUsage(format!("cannot {doing}: {reason}")),
            Error::Locked(dir) => Self::Failed(format!(
                "cannot {doing}: another process has the log in {} open; wait until it closes it, \
                 or end it",
                dir.display()
            )),
            Error::Io(cause) => Self::Failed(format!(
                "cannot {doing}: {cause}; check the path, its permissions and the disk, then try \
                 again"
            )),
            Error::InvalidCheckpointId(reason) => {
                Self::BadUsage(format!("cannot {doing}: the id cannot be a checkpoint's: {reason}"))
            }
            Error::NoCheckpoints => Self::Failed(format!(
                "cannot {doing}: there are no checkpoints; `ironwal checkpoint create` creates one"
            )),
            Error::CheckpointNotFound(_) => Self::Failed(format!(
                "cannot {doing}: there is no such checkpoint; `ironwal checkpoint ls` lists them"
            )),
            Error::CheckpointCorrupted { offset, reason } => Self::Failed(format!(
                "cannot {doing}: a checkpoint is damaged at offset {offset} ({reason}); take another \
                 one, or create a new one: no entries are lost by that"
            )),
            Error::Corruption(reason) => Self::Failed(format!(
                "cannot {doing}: the log is damaged ({reason}); `ironwal verify` finds all of it, and \
                 `ironwal repair` makes a repaired copy"
            )),
            // The others say themselves what to do.
            error => Self::Failed(format!("cannot {doing}: {error}")),
        }
    }

    /// An error of the operating system; `doing` completes "cannot …".
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {doing}: {error}; check the path and its permissions"))
    }

    /// What there is to say, if it has not been said.
    pub(crate) fn message(self) -> String {
        match self {
            Self::Failed(message) | Self::BadUsage(message) => message,
            Self::AlreadySaid | Self::ReaderLeft => String::new(),
        }
    }

    /// An error of writing to standard output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => Self::Failed(format!(
                "cannot write to standard output: {error}; check where it is redirected to"
            )),
        }
    }
}

/// The exit code for what happened, after saying it if nobody has yet.
pub(crate) fn code(done: Done) -> ExitCode {
    match done {
        Ok(()) | Err(Failure::ReaderLeft) => ExitCode::SUCCESS,
        Err(Failure::AlreadySaid) => ExitCode::from(FAILED),
        Err(Failure::Failed(message)) => {
            say(message);
            ExitCode::from(FAILED)
        }
        Err(Failure::BadUsage(message)) => {
            say(format_args!("{message} (see `{} --help`)", command()));
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// The command that was called, as far as its help goes.
fn command() -> String {
    let words = std::env::args().skip(1).take_while(|word| !word.starts_with('-'));
    let is_group = |word: &String| ["archive", "checkpoint"].contains(&word.as_str());
    let words: Vec<String> = words.take(2).collect();
    let count = 1 + usize::from(words.first().is_some_and(is_group));
    let words = words.iter().take(count).map(String::as_str);
    std::iter::once("ironwal").chain(words).collect::<Vec<_>>().join(" ")
}

/// Writes a message to standard error.
pub(crate) fn say(message: impl Display) {
    tell(format_args!("{} {message}", colour::error("ironwal:")));
}

/// Says each message, of which one is a failure.
pub(crate) fn say_all(messages: impl IntoIterator<Item = impl Display>) -> Done {
    let mut done = Ok(());
    for message in messages {
        say(message);
        done = Err(Failure::AlreadySaid);
    }
    done
}

/// Writes a line to standard error as it is. If that cannot be written, nobody can be told.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `doing` for opening a log.
pub(crate) fn opening(dir: &Path) -> String {
    format!("open the log in {}", dir.display())
}
