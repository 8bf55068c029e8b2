//! Iterators over a stream.

use super::{Wal, without_details};
use crate::commit;
use crate::error::{Error, Result};
use crate::log::read::Entries;
use crate::sync::Arc;

/// The entries of a stream with their ids, in order. From [`Wal::iter_with_ids`].
///
/// After it has yielded `None` once, it stays at the end. An error of the operating system ends it;
/// damage does not.
pub struct WalIdIterator {
    wal: Wal,
    entries: Option<Entries>,
}

impl WalIdIterator {
    pub(crate) fn new(
        wal: Wal,
        stream: Option<&commit::Stream>,
        start_id: u64,
        read_len: usize,
    ) -> Self {
        let entries =
            stream.map(|stream| Entries::new(Arc::clone(stream.log()), start_id, read_len));
        Self { wal, entries }
    }
}

impl Iterator for WalIdIterator {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entries = self.entries.as_mut()?;
        let next = self.wal.check_open().and_then(|()| entries.next());
        match next {
            Ok(Some((id, entry))) => Some(Ok((id, Vec::from(entry)))),
            Ok(None) => {
                self.entries = None;
                None
            }
            Err(damage @ Error::Damaged { .. }) => Some(Err(without_details(damage))),
            Err(error) => {
                self.entries = None;
                Some(Err(error))
            }
        }
    }
}

/// The entries of a stream, in order. From [`Wal::iter`]; ends and fails like [`WalIdIterator`].
pub struct WalIterator {
    entries: WalIdIterator,
}

impl WalIterator {
    pub(crate) fn new(entries: WalIdIterator) -> Self {
        Self { entries }
    }
}

impl Iterator for WalIterator {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|entry| entry.map(|(_, entry)| entry))
    }
}
