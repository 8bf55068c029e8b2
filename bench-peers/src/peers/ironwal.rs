//! This library, with its defaults.

use std::collections::VecDeque;
use std::io;

use ironwal::sharded::ShardedWal;
use ironwal::{ReadStrategy, Stream, SyncMode, Wal, WalOptions};

use super::{
    Ability, Appender, BatchAppender, Getter, Log, OURS, Peer, Seen, Setup, Shards, stream_name,
};

/// Opens it.
pub struct Ironwal;

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

impl Peer for Ironwal {
    fn name(&self) -> &'static str {
        OURS
    }

    fn can(&self, _: Ability) -> Result<(), &'static str> {
        Ok(())
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let wal = Wal::new(options(setup)).map_err(io::Error::other)?;
        let streams: ironwal::Result<Vec<Stream>> =
            (0..setup.streams).map(|nth| wal.stream(&stream_name(nth))).collect();
        Ok(Box::new(Open { streams: streams.map_err(io::Error::other)?, wal }))
    }

    fn open_shards(&self, setup: &Setup, count: u16) -> io::Result<Box<dyn Shards>> {
        let wal = ShardedWal::new(options(setup), count).map_err(io::Error::other)?;
        Ok(Box::new(OpenShards(wal)))
    }
}

struct Open {
    wal: Wal,
    streams: Vec<Stream>,
}

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let stream = self.streams[stream].clone();
        Ok(Box::new(move |entry| stream.append(entry).map(drop).map_err(io::Error::other)))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let stream = self.streams[stream].clone();
        Ok(Box::new(move |entries| {
            stream.append_batch(entries).map(drop).map_err(io::Error::other)
        }))
    }

    fn in_flight(&self, window: usize) -> io::Result<Appender> {
        let (stream, mut in_flight) = (self.streams[0].clone(), VecDeque::with_capacity(window));
        Ok(Box::new(move |entry| {
            in_flight.push_back(stream.submit(entry).map_err(io::Error::other)?);
            if in_flight.len() < window {
                return Ok(());
            }
            let oldest: Option<ironwal::Pending> = in_flight.pop_front();
            oldest.map_or(Ok(()), |oldest| oldest.wait().map(drop).map_err(io::Error::other))
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.wal.iter(&stream_name(0), 0).map_err(io::Error::other)? {
            seen.add(&entry.map_err(io::Error::other)?);
        }
        Ok(seen)
    }

    fn scan_shared(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for entry in self.streams[0].range(..) {
            seen.add(&entry.map_err(io::Error::other)?.1);
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let stream = &self.streams[0];
        Ok(Box::new(move |id| {
            let entry = stream.get(id).map_err(io::Error::other)?;
            entry.map(|entry| entry.len()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }))
    }

    fn prune(&self, before: u64) -> io::Result<usize> {
        self.wal.truncate(&stream_name(0), before).map_err(io::Error::other)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.wal.close().map_err(io::Error::other)
    }
}

struct OpenShards(ShardedWal);

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
        self.0.close().map_err(io::Error::other)
    }
}
