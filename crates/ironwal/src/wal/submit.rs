//! Appends that are waited for later.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Wal;
use super::watch::Watch;
use crate::commit::{self, queue::Submitted};
use crate::environment::Maintenance;
use crate::error::Result;
use crate::sync::Arc;

/// An append that was submitted and may not be committed yet.
///
/// [`Pending::wait`] blocks until it is; as a future, which needs no runtime of its own, it does not: a
/// thread of the log does the work on the disk, and wakes the task. With
/// [`Maintenance::Inline`](crate::Maintenance::Inline) there is no such thread, and the first poll does the
/// work.
///
/// Dropping it, or the future that awaits it, cancels nothing: the entry is committed or fails as it would
/// have, and only nobody is told.
///
/// ```
/// # use ironwal::{Wal, WalOptions};
/// async fn deposit(wal: &Wal, amount: u32) -> ironwal::Result<u64> {
///     let pending = wal.stream("ledger")?.submit(&amount.to_le_bytes())?;
///     pending.await // durable now
/// }
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// # assert_eq!(futures::executor::block_on(deposit(&wal, 100))?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "only waiting for it says whether it was appended"]
pub struct Pending {
    wal: Wal,
    stream: Arc<commit::Stream>,
    submitted: Submitted,
    watch: Watch,
}

impl Pending {
    pub(super) fn new(wal: Wal, stream: Arc<commit::Stream>, submitted: Submitted) -> Self {
        Self { wal, stream, submitted, watch: Watch::default() }
    }

    /// The id that the entry gets unless its append fails; `None` while it waits for room and has none.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let ledger = wal.stream("ledger")?;
    /// ledger.append(b"+100")?;
    /// let pending = ledger.submit(b"-30")?;
    /// assert_eq!(pending.id(), Some(1)); // there was room in the segment
    /// assert_eq!(pending.wait()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn id(&self) -> Option<u64> {
        match &self.submitted {
            Submitted::Done(id) => Some(*id),
            Submitted::Staged(in_round) => Some(in_round.ids.start),
            Submitted::Queued(ticket) => ticket.id(),
        }
    }

    /// Waits until the entry is committed, as [`Stream::append`](crate::Stream::append) would have, and
    /// returns its id. Blocks, and may do the work on the disk itself.
    ///
    /// ```
    /// # use ironwal::{Wal, WalOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let wal = Wal::new(WalOptions::new(dir.path()))?;
    /// let ledger = wal.stream("ledger")?;
    /// let (first, second) = (ledger.submit(b"+100")?, ledger.submit(b"-30")?);
    /// assert_eq!(second.wait()?, 1); // and the first, which came before it, is committed too
    /// assert_eq!(ledger.get(0)?.as_deref(), Some(&b"+100"[..]));
    /// drop(first); // cancels nothing
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Stream::append`](crate::Stream::append). One append that fails for want of space
    /// takes no other with it.
    pub fn wait(self) -> Result<u64> {
        let Self { wal, stream, submitted, .. } = self;
        let id = stream.wait_for(submitted)?;
        wal.inner.maintainer.appended(&stream);
        Ok(id)
    }
}

/// Errors are those of [`Pending::wait`].
impl Future for Pending {
    type Output = Result<u64>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<u64>> {
        let Self { wal, stream, submitted, watch } = self.get_mut();
        if wal.inner.environment.maintenance == Maintenance::Inline {
            let known = stream.wait_for(submitted.clone());
            wal.inner.maintainer.appended(stream);
            return Poll::Ready(known);
        }
        if let Some(known) = stream.outcome_of(submitted) {
            return Poll::Ready(known);
        }
        watch.register(&wal.inner, stream, context.waker());
        stream.outcome_of(submitted).map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pending")
            .field("stream", &self.stream.log().name())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl super::inner::Inner {
    /// Stages an entry and sees to it that it is committed, whether anybody waits for it or not.
    pub(super) fn submit(&self, stream: &Arc<commit::Stream>, entry: &[u8]) -> Result<Submitted> {
        self.check_writable()?;
        stream.log().number_with(|| self.new_stream_number())?;
        let packed = self.pack(&[entry]);
        let submitted = stream.submit(entry, packed)?;
        // With inline maintenance whoever waits does it, or the next append, or closing.
        if self.environment.maintenance == Maintenance::Thread {
            let is_committed = matches!(submitted, Submitted::Done(_));
            if !is_committed && stream.begins_to_be_expected() {
                self.committer.hand_over(vec![Arc::clone(stream)]);
            }
            // Of the rounds before: perhaps nobody waits for those, nor for this.
            self.maintainer.appended(stream);
        }
        Ok(submitted)
    }
}

impl Wal {
    pub(super) fn submit(&self, stream: &Arc<commit::Stream>, entry: &[u8]) -> Result<Pending> {
        self.check_open()?;
        let submitted = self.inner.submit(stream, entry)?;
        Ok(Pending::new(self.clone(), Arc::clone(stream), submitted))
    }
}
