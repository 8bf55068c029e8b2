//! Making appends durable together.
//!
//! Each stream gathers its appends in *rounds*: [`rounds`] says who leads one and who waits, and
//! [`Stream`] puts it together with the stream's [`Log`]: stage, wait, lead. A round writes back the
//! whole pending tail of its stream in one piece and syncs it once.
//!
//! The journal, which commits the tails of many streams under one sync, will stand beside
//! `rounds`, between staging and write-back.

pub(crate) mod rounds;

use std::ops::Range;
use std::path::Path;

use crate::error::Result;
use crate::log::Log;
use crate::log::tail::{Append, Staged};
use crate::log::write::Lead;
use crate::sync::Arc;
use rounds::{Rounds, Turn};

/// A stream that any number of threads append to.
#[derive(Debug)]
pub(crate) struct Stream {
    log: Arc<Log>,
    rounds: Rounds,
}

impl Stream {
    /// A stream over its log.
    pub(crate) fn new(log: Log) -> Self {
        Self { log: Arc::new(log), rounds: Rounds::new() }
    }

    /// Its log, for reading.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Appends, and returns when it is committed.
    ///
    /// `root` is the directory whose entry of the stream must be durable first.
    pub(crate) fn append(&self, root: &Path, append: &Append<'_>) -> Result<Range<u64>> {
        loop {
            match self.log.stage(append)? {
                Staged::InRound { ids, round } => {
                    self.wait(round, append.sync)?;
                    return Ok(ids);
                }
                Staged::NoRoom => self.lead(|lead| lead.make_room(root, append))?,
            }
        }
    }

    /// Commits what is staged and makes the whole stream durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.lead(|lead| lead.sync())
    }

    /// Makes an idle stream durable and records that; does nothing if it is not idle.
    pub(crate) fn prove_idle(&self) -> Result<()> {
        if !self.rounds.try_lead() {
            return Ok(());
        }
        self.with_lead(|lead| lead.prove_idle())
    }

    /// Makes the whole stream durable, records that, and takes no appends any more.
    pub(crate) fn close(&self) -> Result<()> {
        self.lead(|lead| lead.close())
    }

    /// Waits until `round` is committed, leading it if nobody else does.
    fn wait(&self, round: u64, sync: bool) -> Result<()> {
        match self.rounds.wait(round) {
            Turn::Committed => Ok(()),
            Turn::Failed => Err(self.log.failure()),
            Turn::Lead => {
                if sync {
                    self.rounds.gather(|| self.log.staged());
                }
                self.with_lead(|lead| lead.commit(false))
            }
        }
    }

    /// Waits for the lead and does something with it.
    fn lead(&self, work: impl FnOnce(&mut Lead<'_>) -> Result<()>) -> Result<()> {
        self.rounds.take_lead();
        self.with_lead(work)
    }

    /// Does something with the lead, which this thread has, and gives it up.
    fn with_lead(&self, work: impl FnOnce(&mut Lead<'_>) -> Result<()>) -> Result<()> {
        let mut lead = self.log.lead();
        let result = work(&mut lead);
        let committed = lead.committed();
        drop(lead);
        let committed = committed.map(|done| (done.round, done.appends));
        self.rounds.finish(committed, self.log.staged(), self.log.is_poisoned());
        result
    }
}
