//! One instant over many streams.

use super::Wal;
use super::maintenance::SYNC_THREADS_MAX;
use crate::commit;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::options::SyncMode;
use crate::sync::{Arc, PoisonError, in_parallel};

impl Wal {
    /// Looks at several streams at one instant, makes what they hold then durable, and returns the
    /// id behind each one's last entry, in the order of `streams`; 0 for a stream that there is not.
    ///
    /// It is one instant: if an append to any stream returned before another one began, no cut holds
    /// the later entry and misses the earlier. In every mode everything below the cut survives power
    /// loss when it is returned.
    ///
    /// Blocks on the disk for those streams that are not durable up to the cut; appends to them wait
    /// while the ends are looked at, and not for the disk.
    ///
    /// ```
    /// # use ironwal::{SyncMode, Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(dir.path()) };
    /// let wal = Wal::new(options)?;
    /// wal.append("orders", b"one coffee")?;
    /// wal.append("payments", b"2.50 for order 0")?;
    /// let cut = wal.cut(&["orders", "payments", "refunds"])?;
    /// assert_eq!(cut, [1, 1, 0]);
    /// assert_eq!(wal.stream("payments")?.durable_end(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Of a log that is open for reading only it is one instant of what had been committed, and nothing is
    /// made durable: what a writer in an unsynced mode has not synced may be lost with the power. Blocks
    /// while the writer commits without a pause, or changes a stream, for up to ten seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: a sync failed, and its stream is poisoned; the others may have been synced.
    /// [`Error::Poisoned`]: a stream has been before. [`Error::Closed`]. Open for reading only:
    /// [`Error::Locked`]: the writer does not tell what is committed, or there was no instant between two
    /// commits of it.
    pub fn cut<N: AsRef<str>>(&self, streams: &[N]) -> Result<Vec<u64>> {
        self.check_open()?;
        if self.inner.watermark.is_some() {
            return self.inner.cut_beside_writer(streams);
        }
        loop {
            match self.try_cut(streams) {
                // It was deleted after the look, so another look finds another instant.
                Err(Error::StreamNotFound(_)) => {}
                done => return done,
            }
        }
    }

    fn try_cut<N: AsRef<str>>(&self, streams: &[N]) -> Result<Vec<u64>> {
        let mut order: Vec<usize> = (0..streams.len()).collect();
        order.sort_unstable_by_key(|nth| streams[*nth].as_ref());
        let mut found: Vec<Arc<commit::Stream>> = Vec::with_capacity(streams.len());
        // Which of them each name is; a name can come twice.
        let mut found_for = vec![None; streams.len()];
        let staged = {
            // Until the ends are read, nobody can begin a stream that was looked for in vain.
            let catalogue = self.inner.streams.read().unwrap_or_else(PoisonError::into_inner);
            for nth in order {
                let Some(stream) = catalogue.get(streams[nth].as_ref()) else { continue };
                if !found.last().is_some_and(|last| Arc::ptr_eq(last, stream)) {
                    found.push(Arc::clone(stream));
                }
                found_for[nth] = Some(found.len() - 1);
            }
            let logs: Vec<&Log> = found.iter().map(|stream| &**stream.log()).collect();
            Log::staged_ends(&logs)
        };
        let behind =
            |(stream, end): &(&Arc<commit::Stream>, &u64)| stream.log().durable_end() < **end;
        let mut not_durable: Vec<_> = found.iter().zip(&staged).filter(behind).collect();
        if not_durable.len() > 1 && self.inner.sync_mode == SyncMode::Strict {
            // Appends are under way, and one round commits all of them.
            self.inner.group.wait_for_staged();
            not_durable.retain(behind);
        }
        let threads_max = self.inner.environment.maintenance.threads_max(SYNC_THREADS_MAX);
        for synced in in_parallel(&not_durable, threads_max, |(stream, _)| stream.sync()) {
            synced?;
        }
        // By reference: collected in place, the ends would keep twice the memory.
        Ok(found_for.iter().map(|found| found.map_or(0, |nth: usize| staged[nth])).collect())
    }
}
