//! Changing a segment file. One writer at a time.

use std::io;
use std::path::{Path, PathBuf};

use super::{UNFINISHED_NAME, path_of};
use crate::error::Error;
use crate::format::header::{HEADER_LEN, Proof, Slot, SlotPlace};
use crate::format::seal::{Point, Seal};
use crate::format::{ALIGN, BLOCK_LEN, MAX_FRAME_LEN};
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::Arc;

/// How many times the room that a segment has is reserved beside it when that is used up. Each time
/// costs a sync, and keeps the appends of the stream waiting.
const RESERVE_TIMES: u64 = 3;

/// The most that is reserved ahead at a time, in bytes.
const RESERVE_STEP_MAX: u64 = 8 * 1024 * 1024;

/// The most that is zeroed ahead at a time, in bytes. A multiple of the block.
const ZERO_STEP_MAX: u64 = 256 * 1024;

static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// The right to change a segment file.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: Arc<dyn File>,
    slot: Slot,
    /// The slot that may be overwritten once the newest one is durable in the other place.
    free_slot: SlotPlace,
    /// Whether the newest slot may not be durable yet.
    slot_unsynced: bool,
    /// Space is reserved up to here.
    reserved_to: u64,
    /// Blocks are written, with frames or zeros, up to here.
    written_to: u64,
}

/// A segment file that has no name of its own yet.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    file: Arc<dyn File>,
    slot: Slot,
    reserved_to: u64,
    written_to: u64,
}

/// A file for a segment that is about to begin, under the temporary name.
#[derive(Debug)]
pub(crate) struct EmptyFile {
    file: Arc<dyn File>,
    /// Up to here it is written, with zeros.
    zeroed_to: u64,
}

impl EmptyFile {
    /// Makes one in `dir`. An unfinished one that was left behind goes.
    pub(crate) fn create(storage: &dyn Storage, dir: &Path) -> Result<Self, Error> {
        let unfinished = dir.join(UNFINISHED_NAME);
        let file = match storage.open(&unfinished, OpenMode::Create) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                storage.remove_file(&unfinished)?;
                storage.open(&unfinished, OpenMode::Create)
            }
            other => other,
        }
        .map_err(|error| no_space(error, &unfinished))?;
        Ok(Self { file, zeroed_to: 0 })
    }

    /// Opens the one of `len` bytes that [`empty_file`] has made in `dir`.
    pub(crate) fn open(storage: &dyn Storage, dir: &Path, len: u64) -> io::Result<Self> {
        let file = storage.open(&dir.join(UNFINISHED_NAME), OpenMode::ReadWrite)?;
        Ok(Self { file, zeroed_to: len })
    }
}

/// Makes a file for the next segment, with zeros for its header and the first of its frames, durable but
/// for its name; returns its length in bytes.
pub(crate) fn empty_file(
    storage: &dyn Storage,
    dir: &Path,
    segment_len_max: u64,
) -> Result<u64, Error> {
    let file = EmptyFile::create(storage, dir)?.file;
    let frames_len = segment_len_max.clamp(BLOCK_LEN, ZERO_STEP_MAX);
    let len = (HEADER_LEN + frames_len).next_multiple_of(BLOCK_LEN);
    file.reserve(0, len).map_err(|error| no_space(error, &dir.join(UNFINISHED_NAME)))?;
    write_zeros(&*file, 0, len)?;
    file.sync()?;
    Ok(len)
}

/// Removes what an interrupted creation of a segment left behind.
pub(crate) fn remove_unfinished(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    match storage.remove_file(&dir.join(UNFINISHED_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_zeros(file: &dyn File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let zeros = &ZEROS[..ZEROS.len().min(usize::try_from(end - at).unwrap_or(usize::MAX))];
        storage::write_all_at(file, zeros, at)?;
        at += zeros.len() as u64;
    }
    Ok(())
}

impl<'a> Unfinished<'a> {
    /// Writes the header, and reserves room for frames behind it.
    ///
    /// If there is no space, nothing is left behind but an unfinished file that the next call or
    /// the next opening removes.
    pub(crate) fn new(
        storage: &'a dyn Storage,
        dir: &'a Path,
        empty: EmptyFile,
        slot: Slot,
        room: u64,
    ) -> Result<Self, Error> {
        let EmptyFile { file, zeroed_to } = empty;
        let reserved_to = (HEADER_LEN + room).next_multiple_of(BLOCK_LEN).max(zeroed_to);
        if reserved_to > zeroed_to {
            let full = |error| no_space(error, &dir.join(UNFINISHED_NAME));
            file.reserve(0, reserved_to).map_err(full)?;
        }
        for place in [SlotPlace::First, SlotPlace::Second] {
            storage::write_all_at(&*file, &slot.encode(), place.offset())?;
        }
        let written_to = HEADER_LEN.max(zeroed_to);
        Ok(Self { storage, dir, file, slot, reserved_to, written_to })
    }

    /// Writes frames, for which there is room.
    pub(crate) fn write(&mut self, frames: &[u8], offset: u64) -> io::Result<()> {
        storage::write_all_at(&*self.file, frames, offset)?;
        self.written_to = self.written_to.max(offset + frames.len() as u64);
        Ok(())
    }

    /// Makes the file durable, and its name.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: the directory has no space for the name, and nothing has changed.
    pub(crate) fn finish(self) -> Result<SegmentWriter, Error> {
        let (storage, dir) = (self.storage, self.dir);
        self.file.sync()?;
        let writer = self.rename().map_err(|error| no_space(error, dir))?;
        storage.sync_dir(dir)?;
        Ok(writer)
    }

    /// Makes the content of the file durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Gives the file, which is durable, its name; the name is not durable yet. A segment that had
    /// it is gone then.
    pub(crate) fn rename(self) -> io::Result<SegmentWriter> {
        let Self { storage, dir, file, slot, reserved_to, written_to } = self;
        let path = path_of(dir, slot.constants.first_id);
        storage.rename(&dir.join(UNFINISHED_NAME), &path)?;
        Ok(SegmentWriter {
            path,
            file,
            slot,
            free_slot: SlotPlace::Second,
            slot_unsynced: false,
            reserved_to,
            written_to,
        })
    }
}

impl SegmentWriter {
    /// Opens a segment whose newest slot is `slot` at `newest` and whose frames end at `end`.
    pub(crate) fn open(
        storage: &dyn Storage,
        path: PathBuf,
        slot: Slot,
        newest: SlotPlace,
        end: u64,
    ) -> io::Result<Self> {
        let file = storage.open(&path, OpenMode::ReadWrite)?;
        let reserved_to = file.len()?;
        // The newest slot can be in the page cache and not on the disk, if the sync of the process
        // that wrote it failed. So it is written again before the other one may be touched.
        storage::write_all_at(&*file, &slot.encode(), newest.offset())?;
        Ok(Self {
            path,
            file,
            slot,
            free_slot: newest.other(),
            slot_unsynced: true,
            reserved_to,
            written_to: end,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Where the newest slot stands.
    pub(crate) fn newest_slot(&self) -> SlotPlace {
        self.free_slot.other()
    }

    /// Up to where frames can be written without asking for space.
    pub(crate) fn reserved_to(&self) -> u64 {
        self.reserved_to
    }

    /// Makes room up to `end` at least; more if the segment keeps growing, so that few appends pay.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`], and nothing has changed. [`Error::Io`]: also if somebody else shortened the
    /// file.
    pub(crate) fn reserve(&mut self, end: u64, segment_len_max: u64) -> Result<(), Error> {
        self.check_len()?;
        if end <= self.reserved_to {
            return Ok(());
        }
        let step = (self.reserved_to * RESERVE_TIMES).min(RESERVE_STEP_MAX);
        let generous = (self.reserved_to + step).min(HEADER_LEN.saturating_add(segment_len_max));
        let generous = generous.max(end).next_multiple_of(BLOCK_LEN);
        let exact = end.next_multiple_of(BLOCK_LEN);
        let reserved_to = self.reserved_to;
        let reserve = |to: u64| self.file.reserve(reserved_to, to - reserved_to).map(|()| to);
        self.reserved_to = match reserve(generous) {
            Err(error) if is_full(&error) && exact < generous => reserve(exact),
            other => other,
        }
        .map_err(|error| no_space(error, &self.path))?;
        Ok(())
    }

    /// Fails if somebody else shortened the file. A store to mapped memory behind the end can seem to work,
    /// and is lost; if the file grew again, nothing would show that.
    pub(crate) fn check_len(&self) -> io::Result<()> {
        let len = self.file.len()?;
        if len < self.reserved_to {
            return Err(io::Error::other(format!(
                "{} was shortened by somebody else: it has {len} bytes instead of {}",
                self.path.display(),
                self.reserved_to
            )));
        }
        Ok(())
    }

    /// Writes frames at `offset`. If they are going to be synced, the blocks behind them are zeroed
    /// under the same sync, so that the next frames go to blocks that have been written.
    pub(crate) fn write(&mut self, frames: &[u8], offset: u64, will_sync: bool) -> io::Result<()> {
        storage::write_all_at(&*self.file, frames, offset)?;
        let end = offset + frames.len() as u64;
        if will_sync && end > self.written_to {
            // A stream that has written much is likely to write as much again.
            let step = (end - HEADER_LEN).next_power_of_two().clamp(BLOCK_LEN, ZERO_STEP_MAX);
            let zero_to = (end + step) / BLOCK_LEN * BLOCK_LEN;
            let zero_to = zero_to.min(self.reserved_to).max(end);
            write_zeros(&*self.file, end, zero_to)?;
            self.written_to = zero_to;
        }
        Ok(())
    }

    /// Fills the blocks from `start` to `end` with zeros, of which no frame has a byte.
    pub(crate) fn zero_blocks(&mut self, start: u64, end: u64) -> io::Result<()> {
        write_zeros(&*self.file, start.next_multiple_of(BLOCK_LEN), end / BLOCK_LEN * BLOCK_LEN)
    }

    /// Makes everything durable that has been written.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.slot_unsynced = false;
        Ok(())
    }

    /// Whether a slot can be written without a sync before it.
    pub(crate) fn may_write_slot(&self) -> bool {
        !self.slot_unsynced
    }

    /// Records in one slot how far the segment had been synced. Durable after the next sync.
    pub(crate) fn write_slot(&mut self, slot: Slot) -> io::Result<()> {
        if self.slot_unsynced {
            // Never both slots at risk in one crash.
            self.sync()?;
        }
        storage::write_all_at(&*self.file, &slot.encode(), self.free_slot.offset())?;
        self.slot = slot;
        self.free_slot = self.free_slot.other();
        self.slot_unsynced = true;
        Ok(())
    }

    /// Writes the seal behind the frames and cuts the file to its length. Nothing of it is durable
    /// yet. Space must have been reserved with [`SegmentWriter::reserve_seal`].
    pub(crate) fn seal(&mut self, proof: Proof, points: &[Point]) -> io::Result<()> {
        let constants = self.slot.constants;
        let Proof { synced_to: end, next_id, digest } = proof;
        let Some(seal) = Seal::encode(constants, end, next_id, digest, points) else {
            return Err(io::Error::other("more than 2^32 points in a segment"));
        };
        storage::write_all_at(&*self.file, &seal, end)?;
        self.file.set_len(end + seal.len() as u64)
    }

    /// Makes room for the seal, with this many points, of a segment whose frames end at `end`.
    pub(crate) fn reserve_seal(&mut self, end: u64, points: u64) -> Result<(), Error> {
        self.reserve(end + Seal::len_with(points), 0)
    }

    /// Cuts the file to `end` bytes.
    pub(crate) fn cut(&mut self, end: u64) -> io::Result<()> {
        if self.file.len()? == end {
            // Setting the same length again is no change, so a sync would not save one that an
            // earlier failed sync lost.
            self.file.set_len(end + ALIGN)?;
        }
        self.file.set_len(end)?;
        self.reserved_to = end;
        self.written_to = end;
        Ok(())
    }

    /// Writes the same bytes again from `start` to `end`, so that the next sync speaks for them.
    pub(crate) fn rewrite(&mut self, start: u64, end: u64) -> io::Result<()> {
        storage::rewrite(&*self.file, &self.path, start, end)
    }
}

/// Whether the error says that there is no space, or no more for this user or this file.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Tells a lack of space from other errors.
pub(crate) fn no_space(error: io::Error, path: &Path) -> Error {
    if is_full(&error) {
        Error::StorageFull { path: path.to_path_buf(), cause: error }
    } else {
        Error::Io(error)
    }
}

const _: () = assert!(ZERO_STEP_MAX.is_multiple_of(BLOCK_LEN));
const _: () = assert!(ZEROS.len() as u64 == ZERO_STEP_MAX);
const _: () = assert!(MAX_FRAME_LEN.is_multiple_of(BLOCK_LEN));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::{Constants, FirstKept};
    use crate::storage::SimDisk;
    use crate::storage::sim::{CallKind, SimConfig};

    fn slot(id: u64) -> Slot {
        let constants = Constants {
            salt: 1,
            stream_number: 2,
            first_id: 0,
            cut_number: 0,
            predecessor_end: 0,
            predecessor_synced: false,
        };
        let first_kept = FirstKept { lowered: 0, id };
        Slot { constants, proof: Proof::of_nothing(0), first_kept }
    }

    /// A failed sync leaves one slot torn on the disk and whole in the page cache. Whoever opens the
    /// segment then and writes the other slot must not put both at risk.
    #[test]
    fn a_slot_is_written_only_while_the_other_one_is_durable() {
        for seed in 0..5000 {
            let disk = SimDisk::with_config(SimConfig {
                seed,
                write_back: 0.0,
                eviction: 0.0,
                ..SimConfig::default()
            });
            let root = Path::new("/");
            let file = EmptyFile::create(&disk, root).unwrap();
            let unfinished = Unfinished::new(&disk, root, file, slot(0), 0).unwrap();
            let mut writer = unfinished.finish().unwrap();
            writer.write_slot(slot(u64::MAX)).unwrap();
            disk.fail_nth(CallKind::Sync, 1, io::ErrorKind::Other);
            writer.sync().unwrap_err();
            let path = writer.path().to_path_buf();
            disk.kill();

            let newest = SlotPlace::Second;
            let mut writer =
                SegmentWriter::open(&disk, path.clone(), slot(u64::MAX), newest, HEADER_LEN)
                    .unwrap();
            writer.write_slot(slot(u64::MAX - 1)).unwrap();
            disk.crash();
            let bytes = disk.contents(&path).unwrap();
            let first = Slot::decode(&bytes, 1, 0);
            let second = Slot::decode(&bytes[4096..], 1, 0);
            assert!(Slot::merge(first, second).is_ok(), "seed {seed}: both slots are torn");
        }
    }
}
