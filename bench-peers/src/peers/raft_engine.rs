//! raft-engine: the log of many Raft groups, with an index of all entries in memory.
//!
//! Entries of a group must arrive in order, so each thread has a group of its own; all of them share
//! one log and its group commit. Compression is off: what is appended here would shrink to nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup};

/// Where an entry says its index.
const INDEX_LEN: usize = 8;

/// The group that is read, and the index of its first entry.
const GROUP: u64 = 1;
const FIRST: u64 = 1;

/// How many entries a scan fetches at a time.
const FETCHED: u64 = 1000;

/// Opens it.
pub struct RaftEngine;

/// The index, and then the bytes of the entry.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        let index = entry.value.first_chunk::<INDEX_LEN>();
        index.map_or(0, |index| u64::from_le_bytes(*index))
    }
}

fn indexed(index: u64, entry: &[u8]) -> BytesValue {
    let mut value = Vec::with_capacity(INDEX_LEN + entry.len());
    value.extend(index.to_le_bytes());
    value.extend(entry);
    BytesValue { value, ..BytesValue::default() }
}

impl Peer for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::ScanShared | Ability::GetMapped => Err("entries are decoded into messages"),
            Ability::InFlight => Err("every write waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let config = Config {
            dir: setup.dir.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        let engine = Engine::open(config).map_err(io::Error::other)?;
        let groups = AtomicU64::new(GROUP);
        Ok(Box::new(Open { engine: Arc::new(engine), groups, strict: setup.strict }))
    }
}

struct Open {
    engine: Arc<Engine>,
    groups: AtomicU64,
    strict: bool,
}

impl Open {
    fn writer(&self) -> impl FnMut(&[&[u8]]) -> io::Result<()> + Send + use<> {
        let (engine, strict) = (Arc::clone(&self.engine), self.strict);
        let group = self.groups.fetch_add(1, Ordering::Relaxed);
        let mut next = engine.last_index(group).map_or(FIRST, |last| last + 1);
        let mut batch = LogBatch::default();
        move |entries| {
            let messages: Vec<BytesValue> =
                (next..).zip(entries).map(|(index, entry)| indexed(index, entry)).collect();
            next += entries.len() as u64;
            batch.add_entries::<Indexed>(group, &messages).map_err(io::Error::other)?;
            engine.write(&mut batch, strict).map(drop).map_err(io::Error::other)
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
        let (mut seen, mut fetched) = (Seen::default(), Vec::new());
        let end = self.engine.last_index(GROUP).map_or(FIRST, |last| last + 1);
        for from in (FIRST..end).step_by(FETCHED as usize) {
            let to = end.min(from + FETCHED);
            self.engine
                .fetch_entries_to::<Indexed>(GROUP, from, to, None, &mut fetched)
                .map_err(io::Error::other)?;
            fetched.drain(..).for_each(|entry| seen.add(&entry.value[INDEX_LEN..]));
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        Ok(Box::new(move |id| {
            let entry = self.engine.get_entry::<Indexed>(GROUP, FIRST + id);
            let entry = entry.map_err(io::Error::other)?;
            let len = entry.map(|entry| entry.value.len() - INDEX_LEN);
            len.ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.engine.sync().map_err(io::Error::other)
    }
}
