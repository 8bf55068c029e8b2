//! How far back a stream may be forgotten: by what it takes, and by what its entries say.

use super::Stream;
use crate::error::Result;

impl Stream {
    /// From which id on the stream takes no more than `max_bytes`, headers included: the first id of its
    /// oldest segment for which that is so, or of the newest segment, which is never freed. Not below
    /// [`Stream::first_id`]. Reads nothing.
    ///
    /// With [`Stream::partition_point`] it says how far [`Wal::truncate`](crate::Wal::truncate) may go:
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// # let (snapshot_id, cutoff) = (2_u64, 1_700_000_060_u64);
    /// # let orders = wal.stream("orders")?;
    /// # for time in [1_700_000_000_u64, 1_700_000_050, 1_700_000_100] {
    /// #     orders.append(&time.to_le_bytes())?;
    /// # }
    /// let by_size = orders.oldest_within(1 << 30); // a gibibyte
    /// let by_age = orders.partition_point(|_, entry| time_of(entry) < cutoff)?;
    /// // What is too much or too old goes, but nothing that the newest snapshot does not hold.
    /// let freed = wal.truncate("orders", by_size.max(by_age).min(snapshot_id))?;
    /// # assert_eq!((by_size, by_age, freed), (0, 2, 0));
    /// # fn time_of(entry: &[u8]) -> u64 {
    /// #     u64::from_le_bytes(entry.try_into().unwrap())
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn oldest_within(&self, max_bytes: u64) -> u64 {
        self.log().oldest_within(max_bytes)
    }

    /// The first id whose entry `is_before` is false for, if the stream is ordered so that it is true for
    /// all entries before one and false for all from it on, as `slice::partition_point`: by the time that
    /// entries carry, for one. [`Stream::next_id`] if it is true for all; some id if they are not so
    /// ordered. Reads about as many entries as the number of entries has binary digits, from the disk.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let readings = wal.stream("readings")?;
    /// readings.append_batch(&[b"09:15 7", b"11:40 8", b"14:05 6"])?;
    /// assert_eq!(readings.partition_point(|_, entry| entry < &b"12:00"[..])?, 2);
    /// assert_eq!(readings.partition_point(|_, entry| entry < &b"24:00"[..])?, 3); // the next id
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Stream::get`].
    pub fn partition_point(&self, mut is_before: impl FnMut(u64, &[u8]) -> bool) -> Result<u64> {
        let (mut start, mut end) = (self.first_id(), self.next_id());
        while start < end {
            let middle = start + (end - start) / 2;
            match self.get(middle)? {
                Some(entry) if is_before(middle, &entry) => start = middle + 1,
                Some(_) => end = middle,
                // It was pruned, or cut off, meanwhile.
                None if middle < self.first_id() => start = middle + 1,
                None => end = middle,
            }
        }
        Ok(start)
    }
}
