//! Logs with one stream, each in its own durable setting: every append is on stable storage when it
//! returns.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ironwal::{Environment, Journal};

use crate::measure::{Load, Open, step};

/// The bytes of every entry.
pub const ENTRY_LEN: usize = 128;

/// Appends one of these again and again.
pub const ENTRY: [u8; ENTRY_LEN] = [0x5A; ENTRY_LEN];

const STREAM: &str = "bench";

/// What the disk allows: one write and one fdatasync into blocks that have been written before.
pub fn floor(batch_len: usize) -> Open {
    Box::new(move |dir| {
        let floor = Arc::new(Floor::open(dir)?);
        Ok(load(move || {
            let floor = Arc::clone(&floor);
            let bytes = vec![0x5A; Floor::bytes_of(batch_len)];
            move || floor.write(&bytes)
        }))
    })
}

/// This library: appends of `batch_len` entries, 1 standing for a single append.
pub fn ironwal(journal: Journal, batch_len: usize) -> Open {
    Box::new(move |dir| {
        let environment = Environment::default().with_journal(journal);
        let wal = ironwal::Wal::open_with(ironwal::WalOptions::new(dir), environment);
        let wal = wal.map_err(io::Error::other)?;
        wal.append(STREAM, &ENTRY).map_err(io::Error::other)?;
        Ok(load(move || {
            let wal = wal.clone();
            let batch = vec![&ENTRY[..]; batch_len];
            move || match &batch[..] {
                [entry] => wal.append(STREAM, entry).map(drop).map_err(io::Error::other),
                batch => wal.append_batch(STREAM, batch).map(drop).map_err(io::Error::other),
            }
        }))
    })
}

/// The published version.
pub fn published(batch_len: usize) -> Open {
    Box::new(move |dir| {
        let options = ironwal_published::WalOptions::new(dir);
        let wal = ironwal_published::Wal::new(options).map_err(io::Error::other)?;
        wal.append(STREAM, &ENTRY).map_err(io::Error::other)?;
        Ok(load(move || {
            let wal = wal.clone();
            let batch = vec![&ENTRY[..]; batch_len];
            move || match &batch[..] {
                [entry] => wal.append(STREAM, entry).map(drop).map_err(io::Error::other),
                batch => wal.append_batch(STREAM, batch).map(drop).map_err(io::Error::other),
            }
        }))
    })
}

/// All threads do the same, and nothing but that.
fn load<Operation>(operation: impl Fn() -> Operation + Sync + 'static) -> Load
where
    Operation: FnMut() -> io::Result<()> + 'static,
{
    Box::new(move |_| step(operation()))
}

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
    fn open(dir: &Path) -> io::Result<Self> {
        let file = File::create_new(dir.join("floor"))?;
        // In single pages: writes into the large folios that one big write leaves in the page cache
        // are slower, and would flatter everybody else.
        for page in 0..FLOOR_LEN / PAGE_LEN {
            file.write_all_at(&[0; PAGE_LEN], (page * PAGE_LEN) as u64)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file, offset: Mutex::new(0) })
    }

    /// How many bytes ironwal writes for so many entries.
    fn bytes_of(entries: usize) -> usize {
        let bytes = FRAME_HEADER_LEN + TABLE_FIELD_LEN * (entries - 1) + ENTRY_LEN * entries;
        bytes.next_multiple_of(8)
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
