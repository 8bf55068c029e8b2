//! Batches over several streams.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::Wal;
use super::inner::Inner;
use crate::commit;
use crate::commit::batch::{self, Entries, Part, Request};
use crate::error::{Error, Result};
use crate::format::frame;
use crate::sync::Arc;

/// Collects entries for several streams and appends them all or none. Dropped without
/// [`WriteBatch::commit`] it appends nothing.
///
/// In every mode the batch is on stable storage when `commit` returns, and after a crash it is there
/// whole or not at all. Readers and followers see all of it or none of it, and a cut
/// ([`Wal::cut`]) does not split it. It costs one write and one sync, however many streams there are,
/// which appends of other threads share.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let mut transfer = wal.batch();
/// transfer.append("alice", b"-100");
/// transfer.append("bob", b"+100");
/// transfer.append("journal", b"alice to bob: 100");
/// let ids = transfer.commit()?;
/// assert_eq!(ids["alice"], 0..1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WriteBatch {
    wal: Wal,
    parts: BTreeMap<String, InStream>,
}

/// What is appended to one stream.
#[derive(Default)]
struct InStream {
    entries: Entries,
    expected: Option<u64>,
}

impl WriteBatch {
    pub(crate) fn new(wal: Wal) -> Self {
        Self { wal, parts: BTreeMap::new() }
    }

    /// Adds an entry for a stream, in memory, behind those that were added for it before.
    ///
    /// See [`WriteBatch`] for an example.
    pub fn append(&mut self, stream: &str, entry: impl AsRef<[u8]>) -> &mut Self {
        self.part(stream).entries.push(entry.as_ref(), 0);
        self
    }

    /// Adds entries for a stream, as [`WriteBatch::append`] does.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let mut day = wal.batch();
    /// day.append("orders", "tea").append_all("orders", ["coffee", "water"]);
    /// assert_eq!(day.commit()?["orders"], 0..3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_all<E: AsRef<[u8]>>(
        &mut self,
        stream: &str,
        entries: impl IntoIterator<Item = E>,
    ) -> &mut Self {
        let part = self.part(stream);
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            part.entries.push(entry.as_ref(), entries.size_hint().0);
        }
        self
    }

    /// The first entry for this stream must get the id `expected_id`, or nothing is appended at all. A
    /// stream for which nothing is added is not looked at.
    ///
    /// ```
    /// # use ironwal::{Error, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// wal.append("alice", b"somebody else was faster")?;
    /// let mut transfer = wal.batch();
    /// transfer.expect_next("alice", 0).append("alice", "-100").append("bob", "+100");
    /// assert!(matches!(transfer.commit(), Err(Error::Conflict { next_id: 1, .. })));
    /// assert_eq!(wal.get("bob", 0)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn expect_next(&mut self, stream: &str, expected_id: u64) -> &mut Self {
        self.part(stream).expected = Some(expected_id);
        self
    }

    /// How many entries were added.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let mut transfer = wal.batch();
    /// assert!(transfer.is_empty());
    /// transfer.append("alice", "-100").append("bob", "+100");
    /// assert_eq!(transfer.len(), 2); // over all streams
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.parts.values().map(|part| part.entries.len()).sum()
    }

    /// Whether none was.
    ///
    /// See [`WriteBatch::len`] for an example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&mut self, stream: &str) -> &mut InStream {
        self.parts.entry(stream.to_string()).or_default()
    }

    /// Appends everything that was added, and returns the ids for each stream. Streams that do not
    /// exist are made. Blocks on the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let mut transfer = wal.batch();
    /// transfer.append("bob", "+100").append("alice", "-100");
    /// let ids = transfer.commit()?;
    /// assert_eq!(Vec::from_iter(ids), [("alice".to_string(), 0..1), ("bob".to_string(), 0..1)]);
    /// assert!(wal.batch().commit()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::append`], and [`Error::Conflict`] if an id was expected that is not the next
    /// one. Nothing is appended to any stream then; after [`Error::Io`] it may be there, in all
    /// streams, when the log is opened again.
    pub fn commit(self) -> Result<BTreeMap<String, Range<u64>>> {
        let Self { wal, parts } = self;
        wal.check_open()?;
        let parts: Vec<(String, Arc<Entries>, Option<u64>)> = parts
            .into_iter()
            .filter(|(_, part)| part.entries.len() > 0)
            .map(|(name, part)| (name, Arc::new(part.entries), part.expected))
            .collect();
        let ids = loop {
            wal.inner.check_writable()?;
            let in_streams = parts.iter().map(|(name, entries, expected)| {
                Ok((wal.find_or_create(name)?, Arc::clone(entries), *expected))
            });
            match wal.inner.append_together(in_streams.collect::<Result<_>>()?) {
                // One was deleted meanwhile, and begins anew.
                Err(Error::StreamNotFound(_)) => {}
                done => break done?,
            }
        };
        Ok(parts.into_iter().map(|(name, ..)| name).zip(ids).collect())
    }
}

/// A stream, what is appended to it, and the id that the first entry must get.
type ToStream = (Arc<commit::Stream>, Arc<Entries>, Option<u64>);

impl Inner {
    /// Appends to several streams, which are in the order of their names, all or nothing.
    fn append_together(&self, parts: Vec<ToStream>) -> Result<Vec<Range<u64>>> {
        let streams: Vec<_> = parts.iter().map(|(stream, ..)| stream.clone()).collect();
        let parts = parts.into_iter().map(|(stream, entries, expected)| {
            let packed =
                self.pack_min_len.and_then(|min_len| frame::pack(&entries.slices(), min_len));
            Part { stream, entries, expected, packed }
        });
        let request = Request::new(parts.collect());
        let ids = self.with_space(|| {
            for stream in &streams {
                stream.log().number_with(|| self.new_stream_number())?;
            }
            batch::commit(&self.root_path, &request)
        })?;
        streams.iter().for_each(|stream| self.maintainer.appended(stream));
        Ok(ids)
    }
}

impl fmt::Debug for WriteBatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WriteBatch")
            .field("streams", &self.parts.keys().collect::<Vec<_>>())
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}
