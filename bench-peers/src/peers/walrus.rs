//! walrus-rust: topics in files of 1 GB, written by system calls or through mapped memory.
//!
//! Its directory comes from the environment: the process that starts this one sets it. A reader's place
//! is kept in the log and moves on with what is read, so a log can be read once only.

use std::io;
use std::sync::Arc;

use walrus_rust::{FsyncSchedule, ReadConsistency};

use super::{Ability, Appender, BatchAppender, Log, Peer, Seen, Setup, stream_name};

/// How much is read at a time.
const READ_LEN: usize = 1024 * 1024;

/// Opens it.
pub struct Walrus {
    /// Whether it writes through mapped memory.
    pub mapped: bool,
}

impl Peer for Walrus {
    fn name(&self) -> &'static str {
        if self.mapped { "walrus mapped" } else { "walrus" }
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Scan => Err("a log can be read once only"),
            Ability::Frames | Ability::Open => Err("a small log owns a file of 1 GB"),
            Ability::Get => Err("there is no reading by number"),
            Ability::ScanShared | Ability::GetMapped => Err("entries are handed out as vectors"),
            Ability::InFlight => Err("every append waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        if self.mapped {
            walrus_rust::disable_fd_backend();
        } else {
            walrus_rust::enable_fd_backend();
        }
        let schedule = if setup.strict { FsyncSchedule::SyncEach } else { FsyncSchedule::NoFsync };
        let reads = ReadConsistency::AtLeastOnce { persist_every: u32::MAX };
        let wal = walrus_rust::Walrus::with_consistency_and_schedule(reads, schedule)?;
        Ok(Box::new(Open(Arc::new(wal))))
    }
}

struct Open(Arc<walrus_rust::Walrus>);

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let (wal, topic) = (Arc::clone(&self.0), stream_name(stream));
        Ok(Box::new(move |entry| wal.append_for_topic(&topic, entry)))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let (wal, topic) = (Arc::clone(&self.0), stream_name(stream));
        Ok(Box::new(move |entries| wal.batch_append_for_topic(&topic, entries)))
    }

    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        loop {
            let read = self.0.batch_read_for_topic(&stream_name(0), READ_LEN, true)?;
            if read.is_empty() {
                return Ok(seen);
            }
            read.iter().for_each(|entry| seen.add(&entry.data));
        }
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
