//! The published version, with its defaults.
//!
//! It hands out no stream handles, so each call names its stream. Nothing to submit and wait for.

use std::io;
use std::sync::Arc;

use ironwal_published::sharded::ShardedWal;
use ironwal_published::{ReadStrategy, SyncMode, Wal, WalOptions};

use super::{
    Ability, Appender, BatchAppender, Getter, Log, PUBLISHED, Peer, Seen, Setup, Shards,
    stream_name,
};

/// Opens it.
pub struct Published;

fn options(setup: &Setup) -> WalOptions {
    let mut options = WalOptions::new(setup.dir);
    if !setup.strict {
        options.sync_mode = SyncMode::Async;
    }
    if setup.mapped {
        options.read_strategy = ReadStrategy::Mmap;
    }
    if let Some(len) = setup.segment_len {
        options.max_segment_size = len;
    }
    options
}

impl Peer for Published {
    fn name(&self) -> &'static str {
        PUBLISHED
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::InFlight => Err("every append waits"),
            Ability::ScanShared => Err("entries are handed out as vectors"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        Ok(Box::new(Open(Wal::new(options(setup)).map_err(io::Error::other)?)))
    }

    fn open_shards(&self, setup: &Setup, count: u16) -> io::Result<Box<dyn Shards>> {
        let wal = ShardedWal::new(options(setup), count).map_err(io::Error::other)?;
        Ok(Box::new(OpenShards(Arc::new(wal))))
    }
}

struct Open(Wal);

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let (wal, name) = (self.0.clone(), stream_name(stream));
        Ok(Box::new(move |entry| wal.append(&name, entry).map(drop).map_err(io::Error::other)))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let (wal, name) = (self.0.clone(), stream_name(stream));
        Ok(Box::new(move |entries| {
            wal.append_batch(&name, entries).map(drop).map_err(io::Error::other)
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.0.iter(&stream_name(0), 0).map_err(io::Error::other)? {
            seen.add(&entry.map_err(io::Error::other)?);
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let name = stream_name(0);
        Ok(Box::new(move |id| {
            let entry = self.0.get(&name, id).map_err(io::Error::other)?;
            entry.map(|entry| entry.len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn prune(&self, before: u64) -> io::Result<usize> {
        self.0.truncate(&stream_name(0), before).map_err(io::Error::other)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

struct OpenShards(Arc<ShardedWal>);

impl Shards for OpenShards {
    fn append(&self, key: &[u8], entry: &[u8]) -> io::Result<u16> {
        self.0.append(key, entry).map(|(shard, _)| shard).map_err(io::Error::other)
    }

    fn append_batch(&self, entries: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        self.0.append_batch(entries).map(drop).map_err(io::Error::other)
    }

    fn create_checkpoint(&self, id: &[u8]) -> io::Result<()> {
        self.0.create_checkpoint(id).map_err(io::Error::other)
    }

    fn load_checkpoint(&self, id: &[u8]) -> io::Result<usize> {
        self.0.load_checkpoint(id).map(|data| data.offsets.len()).map_err(io::Error::other)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
