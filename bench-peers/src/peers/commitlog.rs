//! commitlog: segments with a mapped index, one log for each stream.
//!
//! No append of it syncs, so it is not compared in anything durable. It has no lock of its own: threads
//! that append to one stream share a mutex.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup, stream_name};

/// How much a scan reads at a time: ironwal's default.
const READ_LEN: usize = 128 * 1024;

/// Opens it.
pub struct Commitlog;

impl Peer for Commitlog {
    fn name(&self) -> &'static str {
        "commitlog"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Strict | Ability::StrictBatch => Err("no append syncs"),
            Ability::ScanShared | Ability::GetMapped => Err("messages are read into a buffer"),
            Ability::InFlight => Err("every append waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let open = |nth| {
            let mut options = LogOptions::new(setup.dir.join(stream_name(nth)));
            // Its index would have to grow again and again.
            options.index_max_items(usize::try_from(setup.entries).unwrap_or(0).max(100_000));
            CommitLog::new(options).map(|log| Arc::new(Mutex::new(log)))
        };
        let logs: io::Result<Vec<_>> = (0..setup.streams).map(open).collect();
        Ok(Box::new(Open(logs?)))
    }
}

struct Open(Vec<Arc<Mutex<CommitLog>>>);

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let log = Arc::clone(&self.0[stream]);
        Ok(Box::new(move |entry| {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append_msg(entry).map(drop).map_err(io::Error::other)
        }))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let (log, mut batch) = (Arc::clone(&self.0[stream]), MessageBuf::default());
        Ok(Box::new(move |entries| {
            batch.clear();
            for entry in entries {
                batch.push(entry).map_err(|error| io::Error::other(format!("{error:?}")))?;
            }
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(&mut batch).map(drop).map_err(io::Error::other)
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let log = self.0[0].lock().unwrap_or_else(PoisonError::into_inner);
        let (mut seen, end) = (Seen::default(), log.next_offset());
        let mut from = 0;
        while from < end {
            let read = log.read(from, ReadLimit::max_bytes(READ_LEN)).map_err(io::Error::other)?;
            for message in read.iter() {
                if !message.verify_hash() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                seen.add(message.payload());
                from = message.offset() + 1;
            }
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let log = self.0[0].lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Box::new(move |id| {
            // Enough for one entry and its header.
            let read = log.read(id, ReadLimit::max_bytes(256)).map_err(io::Error::other)?;
            let message = read.iter().next();
            message.map(|it| it.payload().len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.0.iter().try_for_each(|log| log.lock().unwrap_or_else(PoisonError::into_inner).flush())
    }
}
