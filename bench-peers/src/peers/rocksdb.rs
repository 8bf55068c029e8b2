//! RocksDB; entries under their number.
//!
//! A strict append is a write with `sync`. Behind the feature `rocksdb`: it needs a C++ compiler.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{DB, IteratorMode, Options, WriteBatch, WriteOptions};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup};

/// Opens it.
pub struct RocksDb;

impl Peer for RocksDb {
    fn name(&self) -> &'static str {
        "RocksDB"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Frames => Err("keys have no frames: see batches of 100"),
            Ability::Streams => Err("one log for all column families"),
            Ability::ScanShared | Ability::GetMapped => Err("it has one way of reading"),
            Ability::InFlight => Err("every write waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let mut options = Options::default();
        options.create_if_missing(true);
        let db = Arc::new(DB::open(&options, setup.dir).map_err(io::Error::other)?);
        Ok(Box::new(Open { db, next: Arc::default(), strict: setup.strict }))
    }
}

struct Open {
    db: Arc<DB>,
    next: Arc<AtomicU64>,
    strict: bool,
}

impl Open {
    fn writer(&self) -> impl FnMut(&[&[u8]]) -> io::Result<()> + Send + use<> {
        let (db, next) = (Arc::clone(&self.db), Arc::clone(&self.next));
        let mut options = WriteOptions::default();
        options.set_sync(self.strict);
        move |entries| {
            let first = next.fetch_add(entries.len() as u64, Ordering::Relaxed);
            let mut batch = WriteBatch::default();
            for (id, entry) in (first..).zip(entries) {
                batch.put(id.to_be_bytes(), entry);
            }
            db.write_opt(batch, &options).map_err(io::Error::other)
        }
    }
}

impl Log for Open {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let mut write = self.writer();
        Ok(Box::new(move |entry| write(&[entry])))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        Ok(Box::new(self.writer()))
    }

    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.db.iterator(IteratorMode::Start) {
            seen.add(&entry.map_err(io::Error::other)?.1);
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        Ok(Box::new(move |id| {
            let entry = self.db.get_pinned(id.to_be_bytes()).map_err(io::Error::other)?;
            entry.map(|entry| entry.len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.db.flush_wal(true).map_err(io::Error::other)
    }
}
