//! Why there is no new log, and the exit code for that.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// Why the program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed; the message says what to do next.
    Failed(String),
    /// The arguments cannot be used.
    BadUsage(String),
    /// Nobody reads standard output any more. That is no error.
    ReaderLeft,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(crate) fn bad_usage(message: impl Into<String>) -> Self {
        Self::BadUsage(message.into())
    }

    /// An error of the operating system; `doing` completes "cannot …".
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// An error of the new library.
    pub(crate) fn new_log(error: &ironwal::Error) -> Self {
        match error {
            ironwal::Error::Config(reason) => Self::BadUsage(reason.clone()),
            error => Self::Failed(format!("cannot write the new log: {error}")),
        }
    }

    /// An error of the published library, not about one entry.
    pub(crate) fn old_log(error: &impl Display) -> Self {
        Self::Failed(format!("ironwal 0.6.9 cannot read the copy of the old log: {error}"))
    }

    /// An error of writing to standard output.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderLeft,
            _ => Self::Failed(format!("cannot write to standard output: {error}")),
        }
    }

    /// Says it, and returns the exit code.
    pub(crate) fn say(&self) -> ExitCode {
        let (message, code) = match self {
            Self::ReaderLeft => return ExitCode::SUCCESS,
            Self::Failed(message) => (message.clone(), 1),
            Self::BadUsage(message) => (format!("{message} (see `ironwal-migrate --help`)"), 2),
        };
        // If that cannot be written, nobody can be told.
        let _ = writeln!(io::stderr().lock(), "ironwal-migrate: {message}");
        ExitCode::from(code)
    }
}
