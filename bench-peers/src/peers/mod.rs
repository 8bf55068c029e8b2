//! The logs that are measured, each behind the same small trait.
//!
//! Each has a file of its own, with the options it is opened with: its defaults, but for what decides
//! when something is durable, and for limits that the data would exceed.

pub mod floor;
pub mod ironwal;
pub mod published;

#[cfg(feature = "peers")]
pub mod commitlog;
#[cfg(feature = "peers")]
pub mod fjall;
#[cfg(feature = "peers")]
pub mod nano_wal;
#[cfg(feature = "peers")]
pub mod okaywal;
#[cfg(feature = "peers")]
pub mod raft_engine;
#[cfg(feature = "peers")]
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
#[cfg(feature = "peers")]
pub mod sqlite;
#[cfg(feature = "peers")]
pub mod walrus;

use std::io;
use std::path::Path;

/// This library.
pub const OURS: &str = "ironwal";
/// The version that the registry has.
pub const PUBLISHED: &str = "ironwal 0.6.9";
/// What the machine allows.
pub const FLOOR: &str = "floor";

/// Something that a peer can do, or cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Single appends that are on stable storage when they return.
    Strict,
    /// The same, of batches.
    StrictBatch,
    /// Single appends that no sync is waited for.
    Unsynced,
    /// The same, of batches.
    UnsyncedBatch,
    /// Several streams in one log.
    Streams,
    /// Its files show how entries were appended: singly or in batches.
    Frames,
    /// Reading all entries in order, again and again.
    Scan,
    /// The same, at least once.
    Count,
    /// The same, without copying the entries.
    ScanShared,
    /// Reading an entry by its number or place.
    Get,
    /// The same, through memory that is mapped.
    GetMapped,
    /// Opening what is there.
    Open,
    /// Several appends of one thread in flight.
    InFlight,
    /// Shards and checkpoints.
    Shards,
    /// Freeing segments.
    Prune,
}

/// How a log is opened.
pub struct Setup<'a> {
    /// Where; the directory exists.
    pub dir: &'a Path,
    /// Whether appends must be on stable storage when they return.
    pub strict: bool,
    /// How many streams there will be.
    pub streams: usize,
    /// How many entries are in the first stream, or will be.
    pub entries: u64,
    /// The bytes of every entry.
    pub entry_len: usize,
    /// How many entries each append has.
    pub batch: usize,
    /// Whether full segments are read through mapped memory.
    pub mapped: bool,
    /// The bytes of a segment, if not the default.
    pub segment_len: Option<u64>,
}

/// Appends one entry.
pub type Appender = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;
/// Appends some entries at once: all of them are there after a crash, or none, if the peer can do that.
pub type BatchAppender = Box<dyn FnMut(&[&[u8]]) -> io::Result<()> + Send>;
/// Reads the entry with this number, and returns its length.
pub type Getter<'a> = Box<dyn FnMut(u64) -> io::Result<usize> + 'a>;

/// What a scan saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Seen {
    /// Counts one more.
    pub fn add(&mut self, entry: &[u8]) {
        self.entries += 1;
        self.bytes += entry.len() as u64;
        // The entry is looked at, so that reading it cannot be left out.
        std::hint::black_box(entry);
    }
}

/// A kind of log.
pub trait Peer: Sync {
    /// What it is called in tables.
    fn name(&self) -> &'static str;

    /// Whether it takes part in what needs this, or why not.
    fn can(&self, ability: Ability) -> Result<(), &'static str>;

    /// Opens a log, or creates it.
    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>>;

    /// Opens a log of so many shards, or creates it.
    fn open_shards(&self, _setup: &Setup, _count: u16) -> io::Result<Box<dyn Shards>> {
        unsupported()
    }
}

/// An open log.
pub trait Log: Send + Sync {
    /// For one thread that appends to this stream.
    fn appender(&self, _stream: usize) -> io::Result<Appender> {
        unsupported()
    }

    /// The same, for batches.
    fn batch_appender(&self, _stream: usize) -> io::Result<BatchAppender> {
        unsupported()
    }

    /// For one thread that keeps so many appends in flight: each call hands over one more, and then
    /// waits for the oldest if there are too many.
    fn in_flight(&self, _window: usize) -> io::Result<Appender> {
        unsupported()
    }

    /// Reads all entries of the first stream, each into memory of its own if that is what the log
    /// hands out.
    fn scan(&self) -> io::Result<Seen> {
        unsupported()
    }

    /// The same, each as a part of shared memory.
    fn scan_shared(&self) -> io::Result<Seen> {
        unsupported()
    }

    /// For one thread that reads single entries of the first stream.
    fn getter(&self) -> io::Result<Getter<'_>> {
        unsupported()
    }

    /// Frees the segments that have only entries below this number; returns how many.
    fn prune(&self, _before: u64) -> io::Result<usize> {
        unsupported()
    }

    /// Makes everything durable and lets go.
    fn close(self: Box<Self>) -> io::Result<()>;
}

/// An open log of shards.
pub trait Shards: Send + Sync {
    /// Appends one entry under a key, and returns its shard.
    fn append(&self, key: &[u8], entry: &[u8]) -> io::Result<u16>;

    /// Appends entries under several keys at once.
    fn append_batch(&self, entries: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()>;

    /// Takes a checkpoint.
    fn create_checkpoint(&self, id: &[u8]) -> io::Result<()>;

    /// Reads a checkpoint, and returns how many shards it has.
    fn load_checkpoint(&self, id: &[u8]) -> io::Result<usize>;

    /// Makes everything durable and lets go.
    fn close(self: Box<Self>) -> io::Result<()>;
}

/// This library, the published version, the floor, and then the others.
const PEERS: &[&dyn Peer] = &[
    &ironwal::Ironwal,
    &published::Published,
    &floor::Floor,
    #[cfg(feature = "peers")]
    &okaywal::OkayWal,
    #[cfg(feature = "peers")]
    &raft_engine::RaftEngine,
    #[cfg(feature = "peers")]
    &commitlog::Commitlog,
    #[cfg(feature = "peers")]
    &nano_wal::NanoWal,
    #[cfg(feature = "peers")]
    &walrus::Walrus { mapped: false },
    #[cfg(feature = "peers")]
    &walrus::Walrus { mapped: true },
    #[cfg(feature = "peers")]
    &fjall::Fjall,
    #[cfg(feature = "peers")]
    &redb::Redb,
    #[cfg(feature = "peers")]
    &sqlite::Sqlite,
    #[cfg(feature = "rocksdb")]
    &rocksdb::RocksDb,
];

/// All of them; this library first.
pub fn all() -> Vec<&'static dyn Peer> {
    PEERS.to_vec()
}

/// The one of this name.
pub fn named(name: &str) -> io::Result<&'static dyn Peer> {
    all()
        .into_iter()
        .find(|peer| peer.name() == name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no peer is called {name}")))
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What stream number `nth` is called.
fn stream_name(nth: usize) -> String {
    format!("stream-{nth:03}")
}
