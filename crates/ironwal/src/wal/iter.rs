//! Iterators over a stream.

use std::ops::Range;

use bytes::Bytes;

use super::{Wal, without_details};
use crate::commit;
use crate::error::{Error, Result};
use crate::log::read::Entries;
use crate::sync::Arc;

/// The entries of a stream with their ids, in order. From [`Wal::iter_with_ids`].
///
/// After it has yielded `None` once, it stays at the end. An error of the operating system ends it;
/// damage does not.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// wal.append("orders", b"tea")?;
/// let mut orders = wal.iter_with_ids("orders", 0)?;
/// wal.append("orders", b"coffee")?; // seen, as the iterator has not got there
/// assert_eq!(orders.by_ref().count(), 2);
/// wal.append("orders", b"water")?;
/// assert!(orders.next().is_none()); // it stays at the end
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// A copy, without a count of who else has a part of the same memory.
fn copied(bytes: &Bytes, range: Range<usize>) -> Vec<u8> {
    bytes[range].to_vec()
}

impl WalIdIterator {
    /// The next entry, if it has been read by now and there is nothing else to be said.
    #[inline]
    fn at_hand(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.wal.is_closed() {
            return None;
        }
        self.entries.as_mut()?.at_hand(copied)
    }

    fn further(&mut self) -> Option<Result<(u64, Vec<u8>)>> {
        let entries = self.entries.as_mut()?;
        match self.wal.check_open().and_then(|()| entries.next_as(copied)) {
            Ok(Some((id, entry))) => Some(Ok((id, entry))),
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

impl Iterator for WalIdIterator {
    type Item = Result<(u64, Vec<u8>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.at_hand() {
            Some(entry) => Some(Ok(entry)),
            None => self.further(),
        }
    }
}

/// The entries of a stream, in order. From [`Wal::iter`]; ends and fails like [`WalIdIterator`].
///
/// See [`Wal::iter`] for an example.
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
        match self.entries.at_hand() {
            Some((_, entry)) => Some(Ok(entry)),
            None => self.entries.further().map(|entry| entry.map(|(_, entry)| entry)),
        }
    }
}
