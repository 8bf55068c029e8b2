//! okaywal: entries of chunks, group commit, segments that are used again after a checkpoint.
//!
//! What it was given is applied somewhere else by its manager; here nothing is, so a checkpoint costs
//! nothing but recycling the segment. A batch is one entry of many chunks.

use std::io;

use okaywal::{LogVoid, WriteAheadLog};

use super::{Ability, Appender, BatchAppender, Log, Peer, Setup};

/// Opens it.
pub struct OkayWal;

impl Peer for OkayWal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Strict | Ability::StrictBatch => Ok(()),
            Ability::Unsynced | Ability::UnsyncedBatch => Err("every commit syncs"),
            Ability::Scan | Ability::Count | Ability::Open | Ability::Get => {
                Err("entries are handed out while it recovers, and freed by checkpoints")
            }
            _ => Err("it has no such thing"),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        Ok(Box::new(Open(WriteAheadLog::recover(setup.dir, LogVoid)?)))
    }
}

struct Open(WriteAheadLog);

impl Log for Open {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let wal = self.0.clone();
        Ok(Box::new(move |entry| {
            let mut writer = wal.begin_entry()?;
            writer.write_chunk(entry)?;
            writer.commit().map(drop)
        }))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        let wal = self.0.clone();
        Ok(Box::new(move |entries| {
            let mut writer = wal.begin_entry()?;
            for entry in entries {
                writer.write_chunk(entry)?;
            }
            writer.commit().map(drop)
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.0.shutdown()
    }
}
