//! Opening a log that must be there already, to read it.

use std::io::ErrorKind;
use std::path::Path;

use ironwal::{Error, Wal, WalOptions};

use crate::exit::{self, Done, Failure};

/// Opens the log in `dir` for reading only, beside whoever writes to it. Changes nothing.
pub(crate) fn existing(dir: &Path) -> Done<Wal> {
    Wal::open_read_only(WalOptions::new(dir)).map_err(|error| match error {
        Error::Io(cause) if cause.kind() == ErrorKind::NotFound => Failure::failed(format!(
            "there is no log in {}: check the path, or create one with `ironwal append`",
            dir.display()
        )),
        error => Failure::of(&exit::opening(dir), &error),
    })
}
