//! Opening a log that must be there already.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::exit::{self, Done, Failure};

/// The file that every log has.
const ROOT_FILE_NAME: &str = ".ironwal";

/// Opens the log in `dir` without ever creating one.
///
/// Opening is for writing, as there is no other way yet: it locks the log, and recovers it if it
/// was not closed.
pub(crate) fn existing(dir: &Path) -> Done<Wal> {
    let doing = exit::opening(dir);
    match dir.join(ROOT_FILE_NAME).try_exists() {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::failed(format!(
                "there is no log in {}: check the path, or create one with `ironwal append`",
                dir.display()
            )));
        }
        Err(error) => return Err(Failure::io(&doing, &error)),
    }
    Wal::new(WalOptions::new(dir)).map_err(|error| Failure::of(&doing, &error))
}
