//! fjall: a store of sorted keys with a journal; entries under their number.
//!
//! A strict append is an insertion and `persist(SyncData)`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup, stream_name};

/// Opens it.
pub struct Fjall;

impl Peer for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Frames => Err("keys have no frames: see batches of 100"),
            Ability::ScanShared | Ability::GetMapped => Err("it has one way of reading"),
            Ability::InFlight => Err("every insertion waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let db = Database::builder(setup.dir).open().map_err(io::Error::other)?;
        let open = |nth| {
            let keys = db.keyspace(&stream_name(nth), KeyspaceCreateOptions::default);
            let keys = keys.map_err(io::Error::other)?;
            Ok(Stream { keys, next: Arc::default() })
        };
        let streams: io::Result<Vec<Stream>> = (0..setup.streams).map(open).collect();
        Ok(Box::new(Open { streams: streams?, db, strict: setup.strict }))
    }
}

#[derive(Clone)]
struct Stream {
    keys: Keyspace,
    next: Arc<AtomicU64>,
}

struct Open {
    db: Database,
    streams: Vec<Stream>,
    strict: bool,
}

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let (db, stream, strict) = (self.db.clone(), self.streams[stream].clone(), self.strict);
        Ok(Box::new(move |entry| {
            let id = stream.next.fetch_add(1, Ordering::Relaxed);
            stream.keys.insert(id.to_be_bytes(), entry).map_err(io::Error::other)?;
            if strict {
                db.persist(PersistMode::SyncData).map_err(io::Error::other)?;
            }
            Ok(())
        }))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let (db, stream, strict) = (self.db.clone(), self.streams[stream].clone(), self.strict);
        Ok(Box::new(move |entries| {
            let first = stream.next.fetch_add(entries.len() as u64, Ordering::Relaxed);
            let mut batch = db.batch();
            if strict {
                batch = batch.durability(Some(PersistMode::SyncData));
            }
            for (id, entry) in (first..).zip(entries) {
                batch.insert(&stream.keys, id.to_be_bytes(), *entry);
            }
            batch.commit().map_err(io::Error::other)
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.streams[0].keys.iter() {
            seen.add(&entry.value().map_err(io::Error::other)?);
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let keys = &self.streams[0].keys;
        Ok(Box::new(move |id| {
            let entry = keys.get(id.to_be_bytes()).map_err(io::Error::other)?;
            entry.map(|entry| entry.len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.db.persist(PersistMode::SyncAll).map_err(io::Error::other)
    }
}
