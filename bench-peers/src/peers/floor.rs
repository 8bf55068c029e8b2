//! What the machine allows, as something that looks like a log.
//!
//! - **strict**: one positioned write and one fdatasync, into blocks that were written before.
//! - **unsynced**: one copy and one checksum into memory that is mapped to reserved blocks; touching a
//!   page for the first time is included.
//! - **scan**: reads of 128 KiB of a file that is cached, and one checksum for each entry.
//! - **get**: one positioned read, or one copy from mapped memory; nothing is looked up, nothing checked.
//!
//! It keeps the bytes that ironwal would keep, header included, and no promise besides.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use memmap2::{Mmap, MmapMut};
use rustix::fs::FallocateFlags;

use super::{Ability, Appender, BatchAppender, FLOOR, Getter, Log, Peer, Seen, Setup};

/// The file of strict appends: large enough that wrapping around is rare.
const WRITTEN_LEN: usize = 16 * 1024 * 1024;

/// The page of the page cache.
const PAGE_LEN: usize = 4096;

/// What a frame adds to an entry in ironwal.
const HEADER_LEN: usize = 24;

/// What it adds to every further entry of a batch.
const TABLE_FIELD_LEN: usize = 4;

/// How much a scan reads at a time, about: ironwal's default.
const READ_LEN: usize = 128 * 1024;

const NAME: &str = "floor";

/// Opens it.
pub struct Floor;

impl Peer for Floor {
    fn name(&self) -> &'static str {
        FLOOR
    }

    fn can(&self, ability: Ability) -> Result<(), &'static str> {
        match ability {
            Ability::Strict
            | Ability::StrictBatch
            | Ability::Unsynced
            | Ability::UnsyncedBatch
            | Ability::Scan
            | Ability::Get
            | Ability::GetMapped => Ok(()),
            _ => Err("there is no limit to compare with"),
        }
    }

    fn open(&self, setup: &Setup) -> io::Result<Box<dyn Log>> {
        let frame_len = bytes_of(setup.batch, setup.entry_len);
        let path = setup.dir.join(NAME);
        if path.exists() {
            return Ok(Box::new(Reader::open(&path, setup)?));
        }
        if setup.strict {
            return Ok(Box::new(Written::create(setup.dir, frame_len)?));
        }
        let frames = setup.entries.div_ceil(setup.batch as u64) as usize;
        Ok(Box::new(Mapped::create(setup.dir, frame_len, frames)?))
    }
}

/// How many bytes ironwal writes for so many entries.
fn bytes_of(entries: usize, entry_len: usize) -> usize {
    (HEADER_LEN + TABLE_FIELD_LEN * (entries - 1) + entry_len * entries).next_multiple_of(8)
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Blocks that were written before, in which writes go round.
struct Written {
    file: Arc<File>,
    offset: Arc<Mutex<usize>>,
    frame_len: usize,
}

impl Written {
    fn create(dir: &Path, frame_len: usize) -> io::Result<Self> {
        let file = File::create_new(dir.join(NAME))?;
        // In single pages: writes into the large folios that one big write leaves in the page cache
        // are slower, and would flatter everybody else.
        for page in 0..WRITTEN_LEN / PAGE_LEN {
            file.write_all_at(&[0; PAGE_LEN], (page * PAGE_LEN) as u64)?;
        }
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file: Arc::new(file), offset: Arc::default(), frame_len })
    }

    fn writer(&self) -> impl FnMut() -> io::Result<()> + Send + use<> {
        let (file, offset) = (Arc::clone(&self.file), Arc::clone(&self.offset));
        let bytes = vec![0x5A; self.frame_len];
        move || {
            let mut offset = offset.lock().map_err(|_| io::Error::other("a writer panicked"))?;
            if *offset + bytes.len() > WRITTEN_LEN {
                *offset = 0;
            }
            file.write_all_at(&bytes, *offset as u64)?;
            *offset += bytes.len();
            file.sync_data()
        }
    }
}

impl Log for Written {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let mut write = self.writer();
        Ok(Box::new(move |_| write()))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        let mut write = self.writer();
        Ok(Box::new(move |_| write()))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// Reserved blocks, mapped.
struct Mapped {
    file: File,
    map: Mutex<Option<MmapMut>>,
    frame_len: usize,
}

impl Mapped {
    fn create(dir: &Path, frame_len: usize, frames: usize) -> io::Result<Self> {
        let path = dir.join(NAME);
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        let len = frame_len * frames;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, len as u64)?;
        // SAFETY: nobody else changes or shortens the file, which was created above.
        let map = unsafe { MmapMut::map_mut(&file)? };
        Ok(Self { file, map: Mutex::new(Some(map)), frame_len })
    }

    /// For the one thread that can have it.
    fn frames(&self) -> io::Result<Frames> {
        let map = self.map.lock().map_err(|_| io::Error::other("a writer panicked"))?.take();
        let map = map.ok_or(io::ErrorKind::ResourceBusy)?;
        Ok(Frames { map, frame_len: self.frame_len, at: 0 })
    }
}

/// Places for frames, one after another.
struct Frames {
    map: MmapMut,
    frame_len: usize,
    at: usize,
}

impl Frames {
    fn next(&mut self) -> &mut [u8] {
        if self.at + self.frame_len > self.map.len() {
            self.at = 0;
        }
        self.at += self.frame_len;
        &mut self.map[self.at - self.frame_len..self.at]
    }
}

impl Log for Mapped {
    fn appender(&self, _: usize) -> io::Result<Appender> {
        let mut frames = self.frames()?;
        Ok(Box::new(move |entry| {
            let frame = frames.next();
            frame[HEADER_LEN..HEADER_LEN + entry.len()].copy_from_slice(entry);
            let sum = checksum(&frame[4..]);
            frame[..4].copy_from_slice(&sum.to_le_bytes());
            Ok(())
        }))
    }

    fn batch_appender(&self, _: usize) -> io::Result<BatchAppender> {
        let mut frames = self.frames()?;
        Ok(Box::new(move |entries| {
            let frame = frames.next();
            let mut at = HEADER_LEN + TABLE_FIELD_LEN * (entries.len() - 1);
            for entry in entries {
                frame[at..at + entry.len()].copy_from_slice(entry);
                at += entry.len();
            }
            let sum = checksum(&frame[4..]);
            frame[..4].copy_from_slice(&sum.to_le_bytes());
            Ok(())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// A file of frames that is cached.
struct Reader {
    file: File,
    map: Mmap,
    frame_len: usize,
    entry_len: usize,
    batch: usize,
    mapped: bool,
}

impl Reader {
    fn open(path: &Path, setup: &Setup) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: nobody changes or shortens the file while it is read.
        let map = unsafe { Mmap::map(&file)? };
        let frame_len = bytes_of(setup.batch, setup.entry_len);
        let (entry_len, batch) = (setup.entry_len, setup.batch);
        Ok(Self { file, map, frame_len, entry_len, batch, mapped: setup.mapped })
    }

    /// Where the entry with this number begins.
    fn place(&self, id: u64) -> usize {
        let (frame, nth) = (id as usize / self.batch, id as usize % self.batch);
        let table_len = TABLE_FIELD_LEN * (self.batch - 1);
        frame * self.frame_len + HEADER_LEN + table_len + nth * self.entry_len
    }
}

impl Log for Reader {
    fn scan(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut buffer = vec![0; READ_LEN.next_multiple_of(self.frame_len)];
        let mut offset = 0;
        while offset < self.map.len() {
            let len = buffer.len().min(self.map.len() - offset);
            self.file.read_exact_at(&mut buffer[..len], offset as u64)?;
            offset += len;
            for frame in buffer[..len].chunks(self.frame_len) {
                // One checksum covers a frame, as in ironwal.
                std::hint::black_box(checksum(&frame[4..]));
                let entries = &frame[self.place(0)..self.place(0) + self.batch * self.entry_len];
                entries.chunks(self.entry_len).for_each(|entry| seen.add(entry));
            }
        }
        Ok(seen)
    }

    fn getter(&self) -> io::Result<Getter<'_>> {
        let mut entry = vec![0; self.entry_len];
        if self.mapped {
            return Ok(Box::new(move |id| {
                let place = self.place(id);
                entry.copy_from_slice(&self.map[place..place + self.entry_len]);
                std::hint::black_box(&entry);
                Ok(entry.len())
            }));
        }
        Ok(Box::new(move |id| {
            self.file.read_exact_at(&mut entry, self.place(id) as u64)?;
            std::hint::black_box(&entry);
            Ok(entry.len())
        }))
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
