//! nano-wal: one file for each stream and window of time; whoever reads says where.
//!
//! It keeps no index: all entries have one size here, so their places can be told from the size of the
//! file. Nothing it reads has a checksum.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nano_wal::{ReadDescriptor, Wal, WalOptions, WriteEntry, read_batch};

use super::{Ability, Appender, BatchAppender, Getter, Log, Peer, Seen, Setup, stream_name};

/// When everything happens: one window, which does not end.
const NOW_MS: i64 = 1_800_000_000_000;
const WINDOW: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How many entries a scan reads at a time: as many as go into one call.
const READ: u64 = 512;

/// Opens it.
pub struct NanoWal;

impl Peer for NanoWal {
    fn name(&self) -> &'static str {
        "nano-wal"
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::ScanShared | Ability::GetMapped => Err("entries are read by system calls"),
            Ability::InFlight => Err("every append waits"),
            Ability::Shards | Ability::Prune => Err("it has no such thing"),
            _ => Ok(()),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let open = |nth| {
            let options = WalOptions { retention: WINDOW, segment_duration: WINDOW };
            Wal::new(setup.dir, &stream_name(nth), options).map(Arc::new).map_err(io::Error::other)
        };
        let wals: io::Result<Vec<Arc<Wal>>> = (0..setup.streams).map(open).collect();
        Ok(Box::new(Open { wals: wals?, strict: setup.strict, entries: setup.entries }))
    }
}

struct Open {
    wals: Vec<Arc<Wal>>,
    strict: bool,
    entries: u64,
}

/// Where the first entry begins, and how far the next one is from there.
struct Places {
    first: u64,
    size: u64,
}

impl Places {
    fn of(file_len: u64, entries: u64) -> io::Result<Self> {
        let size = file_len.checked_div(entries).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { first: file_len - size * entries, size })
    }
}

impl Log for Open {
    fn appender(&self, stream: usize) -> io::Result<Appender> {
        let (wal, strict) = (Arc::clone(&self.wals[stream]), self.strict);
        Ok(Box::new(move |entry| {
            wal.append(None, entry, NOW_MS, strict).map(drop).map_err(io::Error::other)
        }))
    }

    fn batch_appender(&self, stream: usize) -> io::Result<BatchAppender> {
        let (wal, strict) = (Arc::clone(&self.wals[stream]), self.strict);
        Ok(Box::new(move |entries| {
            let entries: Vec<WriteEntry> =
                entries.iter().map(|content| WriteEntry { header: None, content }).collect();
            wal.append_batch(&entries, NOW_MS, strict).map(drop).map_err(io::Error::other)
        }))
    }

    fn scan(&self) -> io::Result<Seen> {
        let segment = self.wals[0].ensure_segment(NOW_MS).map_err(io::Error::other)?;
        let places = Places::of(segment.file_size(), self.entries)?;
        let mut seen = Seen::default();
        for from in (0..self.entries).step_by(READ as usize) {
            let ids = from..self.entries.min(from + READ);
            let wanted: Vec<ReadDescriptor> = ids
                .map(|id| ReadDescriptor {
                    read_fd: Arc::clone(segment.read_fd()),
                    file_offset: places.first + id * places.size,
                    byte_size: places.size as usize,
                })
                .collect();
            let read = read_batch(&wanted).map_err(io::Error::other)?;
            read.iter().for_each(|record| seen.add(&record.content));
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let wal = &self.wals[0];
        let segment = wal.ensure_segment(NOW_MS).map_err(io::Error::other)?;
        let places = Places::of(segment.file_size(), self.entries)?;
        Ok(Box::new(move |id| {
            let offset = places.first + id * places.size;
            let record = wal.read_at(&segment, offset, places.size as usize);
            record.map(|record| record.content.len()).map_err(io::Error::other)
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.wals.iter().try_for_each(|wal| wal.shutdown().map_err(io::Error::other))
    }
}
