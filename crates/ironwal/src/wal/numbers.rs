//! A stream's number belongs to one directory. Nothing in a segment names the stream otherwise, so a copy
//! of one in the directory of another stream would be read as that stream's, and what the journal holds
//! would be written to either.

use std::io;
use std::path::{Path, PathBuf};

use super::inner::{Catalogue, Inner};
use super::own::checkpoints_dir;
use super::root::stream_dirs;
use crate::error::{Error, Result};
use crate::log::recover::number_in;
use crate::storage::Storage;
use crate::sync::lock;

/// Refuses directories of which two have the same number.
///
/// # Errors
///
/// [`Error::Corruption`].
fn refuse_copies(mut numbers: Vec<(u64, PathBuf)>) -> Result<()> {
    match same_numbers(&mut numbers).next() {
        None => Ok(()),
        Some((number, one, other)) => Err(Error::Corruption(format!(
            "{} and {} hold the same stream, number {number}: somebody has copied segments; move the \
             copy away, or restore from a backup what it has replaced",
            one.display(),
            other.display()
        ))),
    }
}

/// Sorts what has numbers, and returns each pair of neighbours that have the same one.
pub(crate) fn same_numbers<T: Ord>(
    numbers: &mut [(u64, T)],
) -> impl Iterator<Item = (u64, &T, &T)> {
    numbers.sort_unstable();
    numbers.windows(2).filter_map(|pair| match pair {
        [(number, one), (same, other)] if number == same => Some((*number, one, other)),
        _ => None,
    })
}

impl Inner {
    /// Refuses copies among the streams that were recovered, and gives out none of their numbers.
    pub(super) fn pass_over_numbers(&self, streams: &Catalogue, deleted: &[u64]) -> Result<()> {
        let mut numbers = Vec::new();
        for stream in streams.values().chain(self.checkpoints.get()) {
            let log = stream.log();
            numbers.extend(log.number().map(|number| (number, log.dir().to_path_buf())));
        }
        if let Some(root) = &mut *lock(&self.root) {
            let used = numbers.iter().map(|(number, _)| *number).chain(deleted.iter().copied());
            used.max().into_iter().for_each(|number| root.pass_over(number));
        }
        refuse_copies(numbers)
    }
}

/// The same of a log that nobody has open for writing.
pub(super) fn refuse_copies_in(storage: &dyn Storage, root: &Path, salt: u64) -> Result<()> {
    let mut numbers = Vec::new();
    let dirs = stream_dirs(storage, root)?.into_iter().map(|(_, dir)| dir);
    for dir in dirs.chain(checkpoints_dir(storage, root)?) {
        match number_in(storage, &dir, salt) {
            Ok(number) => numbers.extend(number.map(|number| (number, dir))),
            // A writer has begun, and looks itself.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    refuse_copies(numbers)
}
