//! The logs that are measured, each behind the same few calls, each in its own durable setting.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

/// The bytes of every entry.
pub const ENTRY_LEN: usize = 128;

/// An open log with one stream. Every append is on stable storage when it returns.
pub trait Log: Sync {
    /// Appends one entry.
    fn append(&self, entry: &[u8]) -> io::Result<()>;

    /// Appends a batch.
    fn append_batch(&self, entries: &[&[u8]]) -> io::Result<()>;
}

/// A kind of log.
#[derive(Clone, Copy)]
pub struct Peer {
    /// What it is called in the report.
    pub name: &'static str,
    /// Creates one in an empty directory.
    pub open: fn(&Path) -> io::Result<Box<dyn Log>>,
}

/// What the disk allows: one write and one fdatasync into blocks that have been written before.
pub const FLOOR: Peer = Peer { name: "limit: pwrite + fdatasync", open: Floor::open };

/// This library.
pub const IRONWAL: Peer = Peer {
    name: "ironwal",
    open: |dir| {
        let wal = ironwal::Wal::new(ironwal::WalOptions::new(dir)).map_err(io::Error::other)?;
        Ok(Box::new(Ironwal(wal)))
    },
};

/// The published version.
pub const PUBLISHED: Peer = Peer {
    name: "ironwal 0.6.9",
    open: |dir| {
        let options = ironwal_published::WalOptions::new(dir);
        let wal = ironwal_published::Wal::new(options).map_err(io::Error::other)?;
        Ok(Box::new(Published(wal)))
    },
};

/// The file of the floor: large enough that wrapping around is rare.
const FLOOR_LEN: usize = 16 * 1024 * 1024;

/// The page of the page cache.
const PAGE_LEN: usize = 4096;

/// What a frame adds to an entry in ironwal: the floor writes as many bytes.
const FRAME_HEADER_LEN: usize = 24;

/// What it adds to every further entry of a batch.
const TABLE_FIELD_LEN: usize = 4;

struct Floor {
    file: File,
    offset: Mutex<usize>,
}

impl Floor {
    fn open(dir: &Path) -> io::Result<Box<dyn Log>> {
        let file = File::create_new(dir.join("floor"))?;
        // In single pages: writes into the large folios that one big write leaves in the page cache
        // are slower, and would flatter everybody else.
        for page in 0..FLOOR_LEN / PAGE_LEN {
            file.write_all_at(&[0; PAGE_LEN], (page * PAGE_LEN) as u64)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Box::new(Self { file, offset: Mutex::new(0) }))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut offset = self.offset.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        if *offset + bytes.len() > FLOOR_LEN {
            *offset = 0;
        }
        self.file.write_all_at(bytes, *offset as u64)?;
        *offset += bytes.len();
        self.file.sync_data()
    }
}

impl Log for Floor {
    fn append(&self, entry: &[u8]) -> io::Result<()> {
        let mut record = [0; FRAME_HEADER_LEN + ENTRY_LEN];
        record[FRAME_HEADER_LEN..].copy_from_slice(entry);
        self.write(&record)
    }

    fn append_batch(&self, entries: &[&[u8]]) -> io::Result<()> {
        let mut record = vec![0; FRAME_HEADER_LEN + TABLE_FIELD_LEN * (entries.len() - 1)];
        entries.iter().for_each(|entry| record.extend_from_slice(entry));
        record.resize(record.len().next_multiple_of(8), 0);
        self.write(&record)
    }
}

const STREAM: &str = "bench";

struct Ironwal(ironwal::Wal);

impl Log for Ironwal {
    fn append(&self, entry: &[u8]) -> io::Result<()> {
        self.0.append(STREAM, entry).map(drop).map_err(io::Error::other)
    }

    fn append_batch(&self, entries: &[&[u8]]) -> io::Result<()> {
        self.0.append_batch(STREAM, entries).map(drop).map_err(io::Error::other)
    }
}

struct Published(ironwal_published::Wal);

impl Log for Published {
    fn append(&self, entry: &[u8]) -> io::Result<()> {
        self.0.append(STREAM, entry).map(drop).map_err(io::Error::other)
    }

    fn append_batch(&self, entries: &[&[u8]]) -> io::Result<()> {
        self.0.append_batch(STREAM, entries).map(drop).map_err(io::Error::other)
    }
}
