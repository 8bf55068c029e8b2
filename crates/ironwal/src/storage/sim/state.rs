//! What each call does to the simulated disk, given what is to become of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;

use super::super::disk::FILE_LEN_MAX;
use super::super::{DirEntry, EntryKind, OpenMode, SECTOR_LEN, WORD_LEN};
use super::SimConfig;
use super::faults::{Schedule, Verdict};
use super::image::{FileImage, PAGE_LEN_U64};
use super::tree::{InodeId, Node, Place, Tree};

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) config: SimConfig,
    pub(super) rng: Rng,
    pub(super) tree: Tree,
    pub(super) schedule: Schedule,
    pub(super) locked: BTreeSet<InodeId>,
    /// Counts kills and crashes.
    pub(super) epoch: u64,
    pub(super) trace: Vec<String>,
}

/// Shared memory that was opened, and by which process.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenedWords {
    pub(super) epoch: u64,
    pub(super) inode: InodeId,
    pub(super) count: usize,
}

impl State {
    pub(super) fn new(config: SimConfig) -> Self {
        Self {
            config,
            rng: Rng::with_seed(config.seed),
            tree: Tree::new(),
            schedule: Schedule::default(),
            locked: BTreeSet::new(),
            epoch: 0,
            trace: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, line: impl FnOnce(u64) -> String) {
        if self.config.trace {
            self.trace.push(line(self.schedule.count_all()));
        }
    }

    pub(super) fn end_process(&mut self) {
        self.epoch += 1;
        self.locked.clear();
        self.tree.close_all();
    }

    fn blocks_free(&self) -> u64 {
        let capacity = self.config.capacity.unwrap_or(u64::MAX);
        (capacity / PAGE_LEN_U64).saturating_sub(self.tree.blocks_used())
    }

    /// A new entry of a directory needs some space, whichever it is.
    fn create(&mut self, place: Place, node: Node) -> io::Result<InodeId> {
        if self.config.capacity.is_some() && self.blocks_free() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(self.tree.create(place, node))
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<InodeId> {
        let id = match mode {
            OpenMode::Read | OpenMode::ReadWrite => {
                let id = self.tree.find(path)?;
                self.tree.file(id)?;
                id
            }
            OpenMode::Create => self.create_new(path, Node::File(FileImage::default()))?,
        };
        self.tree.open(id);
        Ok(id)
    }

    pub(super) fn create_new(&mut self, path: &Path, node: Node) -> io::Result<InodeId> {
        let place = self.tree.place(path)?.ok_or(io::ErrorKind::AlreadyExists)?;
        if self.tree.at(&place)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create(place, node)
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.tree.entries(self.tree.find(dir)?)?;
        let entry = |(name, id): (&OsString, &InodeId)| DirEntry {
            name: name.clone(),
            kind: match self.tree.is_dir(*id) {
                true => EntryKind::Dir,
                false => EntryKind::File,
            },
        };
        Ok(entries.iter().map(entry).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let busy = || io::Error::from(io::ErrorKind::ResourceBusy);
        let from = self.tree.place(from)?.ok_or_else(busy)?;
        let id = self.tree.at(&from)?.ok_or(io::ErrorKind::NotFound)?;
        let to = self.tree.place(to)?.ok_or_else(busy)?;
        if self.tree.lies_in(to.0, id) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(target) = self.tree.at(&to)? {
            match (self.tree.is_dir(id), self.tree.is_dir(target)) {
                _ if target == id => return Ok(()),
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, true) if !self.tree.entries(target)?.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        self.tree.rename(from, to, id);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let place = self.tree.place(path)?.ok_or(io::ErrorKind::IsADirectory)?;
        let id = self.tree.at(&place)?.ok_or(io::ErrorKind::NotFound)?;
        self.tree.file(id)?;
        self.tree.remove(place, id);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        let place = self.tree.place(dir)?.ok_or(io::ErrorKind::ResourceBusy)?;
        let id = self.tree.at(&place)?.ok_or(io::ErrorKind::NotFound)?;
        if !self.tree.entries(id)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.tree.remove(place, id);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path, verdict: Verdict) -> io::Result<()> {
        let id = self.tree.find(dir)?;
        self.tree.entries(id)?;
        match verdict {
            Verdict::Done | Verdict::Short => self.tree.sync_dir(id),
            Verdict::Failed(_) if self.config.dir_sync_failure_loses => {
                self.tree.fail_sync_dir(id, &mut self.rng);
            }
            Verdict::Failed(_) => {}
            // Done in part is one of the states that the crash picks from anyway.
            Verdict::Cut if self.rng.bool() => self.tree.sync_dir(id),
            Verdict::Cut => {}
        }
        Ok(())
    }

    pub(super) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        match self.tree.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => Ok(self.locked.contains(&found?)),
        }
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<InodeId> {
        let id = self.find_or_create(path)?;
        if !self.locked.insert(id) {
            let held = io::Error::new(io::ErrorKind::WouldBlock, "somebody holds it");
            return Err(held);
        }
        self.tree.open(id);
        Ok(id)
    }

    fn find_or_create(&mut self, path: &Path) -> io::Result<InodeId> {
        let id = match self.tree.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_new(path, Node::File(FileImage::default()))?
            }
            found => found?,
        };
        self.tree.file(id)?;
        Ok(id)
    }

    /// Makes the file at a path memory of at least `count` words, with space for all of it.
    pub(super) fn share(
        &mut self,
        path: &Path,
        count: usize,
        verdict: Verdict,
    ) -> io::Result<InodeId> {
        let len = count.checked_mul(WORD_LEN).ok_or(io::ErrorKind::FileTooLarge)? as u64;
        check_range(0, len)?;
        if !matches!(verdict, Verdict::Done) && self.rng.bool() {
            // It failed before there was a file.
            return self.tree.find(path);
        }
        let id = self.find_or_create(path)?;
        let len = len.max(self.tree.file(id)?.len());
        self.reserve(id, 0, len, verdict)?;
        if matches!(verdict, Verdict::Done) {
            self.tree.file_mut(id)?.set_shared();
        }
        Ok(id)
    }

    /// Opens all whole words that a file has now.
    pub(super) fn open_words(
        &mut self,
        inode: InodeId,
        verdict: Verdict,
    ) -> io::Result<OpenedWords> {
        let len = self.tree.file(inode)?.len();
        let count = usize::try_from(len).unwrap_or(usize::MAX) / WORD_LEN;
        // Who fails to open it will not close it.
        if matches!(verdict, Verdict::Done) {
            self.tree.open(inode);
        }
        Ok(OpenedWords { epoch: self.epoch, inode, count })
    }

    /// A word of shared memory, if there is such a one.
    pub(super) fn load(&self, id: InodeId, index: usize) -> Option<u64> {
        let mut word = [0; WORD_LEN];
        let offset = index.checked_mul(WORD_LEN)? as u64;
        let count = self.tree.file(id).ok()?.read(&mut word, offset);
        (count == WORD_LEN).then(|| u64::from_le_bytes(word))
    }

    /// Changes a word of shared memory, if there is such a one.
    pub(super) fn store(&mut self, id: InodeId, index: usize, word: u64) {
        if self.load(id, index).is_some()
            && let Ok(file) = self.tree.file_mut(id)
        {
            // Its space is reserved.
            file.write(&word.to_le_bytes(), (index * WORD_LEN) as u64);
            let _ = self.write_back(id);
        }
    }

    /// Changes bytes through a map. One that has no space would end the process.
    pub(super) fn store_bytes(&mut self, id: InodeId, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = check_range(offset, bytes.len() as u64)?;
        let file = self.tree.file_mut(id)?;
        if end > file.len() || file.allocated().missing(blocks(offset, end)) > 0 {
            return Err(io::Error::other("a store without space would have ended the process"));
        }
        file.write(bytes, offset);
        self.write_back(id)
    }

    pub(super) fn read(
        &mut self,
        id: InodeId,
        buf: &mut [u8],
        offset: u64,
        verdict: Verdict,
    ) -> io::Result<usize> {
        check_range(offset, 0).map_err(|_| io::ErrorKind::InvalidInput)?;
        let is_short = self.is_short(buf.len(), self.config.short_reads, verdict);
        let count = match is_short {
            true => self.rng.usize(1..buf.len()),
            false => buf.len(),
        };
        Ok(self.tree.file(id)?.read(&mut buf[..count], offset))
    }

    pub(super) fn write(
        &mut self,
        id: InodeId,
        bytes: &[u8],
        offset: u64,
        verdict: Verdict,
    ) -> io::Result<usize> {
        check_range(offset, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let is_short = self.is_short(bytes.len(), self.config.short_writes, verdict);
        let range = match verdict {
            Verdict::Done | Verdict::Short if is_short => 0..self.rng.usize(1..bytes.len()),
            Verdict::Done | Verdict::Short => 0..bytes.len(),
            Verdict::Failed(_) | Verdict::Cut => self.part_of(offset, bytes.len()),
        };
        let offset = offset + range.start as u64;
        let bytes = &bytes[range];
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = self.take_room(id, offset, bytes.len())?;
        self.tree.file_mut(id)?.write(&bytes[..room], offset);
        self.write_back(id)?;
        Ok(room)
    }

    /// Whether a call does the first of its bytes only.
    fn is_short(&mut self, len: usize, chance: f64, verdict: Verdict) -> bool {
        len > 1 && (roll(&mut self.rng, chance) || matches!(verdict, Verdict::Short))
    }

    /// What a write has done that fails: nothing, everything, or some of it, which often begins
    /// and ends with a sector.
    fn part_of(&mut self, offset: u64, len: usize) -> Range<usize> {
        let into_sector = usize::try_from(offset % SECTOR_LEN as u64).unwrap_or(0);
        let whole_sectors = self.rng.bool();
        let mut cut = |max: usize| {
            let at = self.rng.usize(..=max);
            match whole_sectors {
                true => ((into_sector + at) / SECTOR_LEN * SECTOR_LEN).saturating_sub(into_sector),
                false => at,
            }
        };
        let (end, start) = (cut(len), cut(len));
        match self.rng.u8(..6) {
            0 => 0..0,
            1 => 0..len,
            2 => start.min(end)..start.max(end),
            3 => start..len,
            _ => 0..end,
        }
    }

    /// Allocates the blocks of a write, and returns how many of its bytes have one.
    fn take_room(&mut self, id: InodeId, offset: u64, len: usize) -> io::Result<usize> {
        let free = match self.config.capacity {
            Some(_) => self.blocks_free(),
            None => u64::MAX,
        };
        let file = self.tree.file_mut(id)?;
        let wanted = blocks(offset, offset + len as u64);
        if file.allocated().missing(wanted.clone()) <= free {
            file.allocate(wanted);
            return Ok(len);
        }
        let mut end = wanted.start;
        while file.allocated().missing(wanted.start..end + 1) <= free {
            end += 1;
        }
        file.allocate(wanted.start..end);
        let room = (end * PAGE_LEN_U64).saturating_sub(offset);
        match usize::try_from(room) {
            Ok(0) if len > 0 => Err(io::ErrorKind::StorageFull.into()),
            Ok(room) => Ok(room.min(len)),
            Err(_) => Ok(len),
        }
    }

    pub(super) fn set_len(&mut self, id: InodeId, len: u64, verdict: Verdict) -> io::Result<()> {
        check_range(len, 0)?;
        if self.is_done(verdict) {
            self.tree.file_mut(id)?.set_len(len);
            self.write_back(id)?;
        }
        Ok(())
    }

    pub(super) fn reserve(
        &mut self,
        id: InodeId,
        offset: u64,
        len: u64,
        verdict: Verdict,
    ) -> io::Result<()> {
        let end = check_range(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let free = match self.config.capacity {
            Some(_) => self.blocks_free(),
            None => u64::MAX,
        };
        let wanted = blocks(offset, end);
        let is_cut = matches!(verdict, Verdict::Cut);
        let takes_part = self.rng.bool();
        let file = self.tree.file_mut(id)?;
        if file.allocated().missing(wanted.clone()) > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match verdict {
            Verdict::Failed(_) | Verdict::Cut if !takes_part => return Ok(()),
            _ => file.allocate(wanted),
        }
        if matches!(verdict, Verdict::Done) || is_cut {
            if end > file.len() {
                file.set_len(end);
            }
            self.write_back(id)?;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, id: InodeId, verdict: Verdict) -> io::Result<()> {
        let file = self.tree.file_mut(id)?;
        match verdict {
            Verdict::Done | Verdict::Short => file.sync(),
            Verdict::Failed(_) => file.fail_sync(&mut self.rng),
            // Done in part is one of the states that the crash picks from anyway.
            Verdict::Cut if self.rng.bool() => file.sync(),
            Verdict::Cut => {}
        }
        Ok(())
    }

    fn is_done(&mut self, verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Done) || self.rng.bool()
    }

    fn write_back(&mut self, id: InodeId) -> io::Result<()> {
        if roll(&mut self.rng, self.config.write_back) {
            self.tree.file_mut(id)?.write_back(&mut self.rng);
        }
        Ok(())
    }
}

/// The end of a range of a file, if a file can be so long.
pub(super) fn check_range(offset: u64, len: u64) -> io::Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_LEN_MAX => Ok(end),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

fn blocks(offset: u64, end: u64) -> Range<u64> {
    offset / PAGE_LEN_U64..end.div_ceil(PAGE_LEN_U64)
}

pub(super) fn roll(rng: &mut Rng, chance: f64) -> bool {
    chance > 0.0 && rng.f64() < chance
}
