//! What is done with a group by tasks, which must not block their runtime.
//!
//! Appending, voting and cutting off do no work on the disk: they submit, and are woken. What may take long
//! is done by a thread for blocking calls where there is a runtime of tokio, and in place where there is
//! none: reading what is not in memory, freeing segments, and appending more than the log takes at once.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::group::{Done, Group};
use crate::record::{Entry, Facts, Point};

/// How many bytes are submitted without a thread of their own: half of what a stream gathers by default
/// before it has submitters wait.
const SUBMIT_LEN_MAX: u64 = 32 * 1024;

/// What a record has beside an entry, roughly, in bytes.
const RECORD_OVERHEAD: u64 = 96;

/// Does what may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(|_| Error::Interrupted)?,
        Err(_) => work(),
    }
}

impl Group {
    /// Appends entries; see [`Group::append`].
    pub(crate) async fn append_entries(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        done: Done,
    ) -> Result<()> {
        let len = |entry: &Entry| entry.bytes.len() as u64 + RECORD_OVERHEAD;
        let len: u64 = entries.iter().map(len).sum();
        if self.len_in_flight() + len <= SUBMIT_LEN_MAX {
            return self.append(entries, done);
        }
        let group = Arc::clone(self);
        blocking(move || group.append(entries, done)).await
    }

    /// Writes down facts, and returns the id of their record when it survives power loss, in every mode.
    async fn write(self: &Arc<Self>, facts: Facts) -> Result<u64> {
        let (told, waiting) = oneshot::channel();
        let tell = move |result| drop(told.send(result));
        let id = self.state(&facts, Box::new(tell))?;
        waiting.await.unwrap_or(Err(Error::Interrupted))?;
        if self.stream().durable_end() <= id {
            let stream = self.stream().clone();
            blocking(move || Ok(stream.sync()?)).await?;
        }
        Ok(id)
    }

    pub(crate) async fn save_vote(self: &Arc<Self>, vote: Vec<u8>) -> Result<()> {
        self.write(Facts { vote: Some(vote.into()), ..Facts::default() }).await.map(drop)
    }

    /// Cuts off the entries from `index` on.
    pub(crate) async fn cut_from(self: &Arc<Self>, index: u64) -> Result<()> {
        if self.memory(|memory| memory.log.index.end()).is_none_or(|end| end <= index) {
            return Ok(());
        }
        self.write(Facts { cut_from: Some(index), ..Facts::default() }).await.map(drop)
    }

    /// Lets go of the entries up to `upto`, inclusive, and behind the end of the log too.
    pub(crate) async fn purge(self: &Arc<Self>, upto: Point) -> Result<()> {
        let purged = self.memory(|memory| memory.log.purged.as_ref().map(|purged| purged.index));
        if purged.is_some_and(|purged| purged >= upto.index) {
            return Ok(());
        }
        let id = self.write(Facts { purged: Some(upto), ..Facts::default() }).await?;
        if self.len_unneeded() < self.options().free_len_min {
            return Ok(());
        }
        let group = Arc::clone(self);
        blocking(move || group.free(id)).await
    }
}
