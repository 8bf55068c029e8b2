//! Keeping the segments that are pruned in a directory of their own, and taking them back.
//!
//! ```text
//! {archive}/{stream}/{first id}.wal
//! {archive}/{stream}/{first id}.{stream number}.{cut}.wal   where that name was taken already
//! ```
//!
//! A file has its name only once its content is durable. None is ever replaced by another content:
//! a stream that was deleted and begins anew has another number.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::header::{Constants, FirstKept, HEADER_LEN, Slot};
use crate::log::recover::{Examined, examine};
use crate::segment::writer::no_space;
use crate::segment::{SegmentWriter, UNFINISHED_COPY, first_id_of, path_of};
use crate::storage::{self, EntryKind, OpenMode, Storage};

/// How much is compared at a time, in bytes.
const COMPARED_LEN: usize = 256 * 1024;

/// The archived segments of one stream.
pub(super) struct Archive<'a> {
    storage: &'a dyn Storage,
    dir: PathBuf,
    salt: u64,
}

impl<'a> Archive<'a> {
    /// The archive in `path` of the stream whose directory has the name of `stream_dir`.
    pub(super) fn new(storage: &'a dyn Storage, path: &Path, stream_dir: &Path, salt: u64) -> Self {
        let dir = path.join(stream_dir.file_name().unwrap_or_default());
        Self { storage, dir, salt }
    }

    /// Copies a segment into the archive, durably.
    pub(super) fn keep(&self, segment: &Path, first_id: u64) -> Result<()> {
        let Some(examined) = examine(self.storage, segment.to_path_buf(), first_id, self.salt)?
        else {
            let what = format!("the header of {} cannot be read", segment.display());
            return Err(Error::Corruption(format!("{what}; it is neither archived nor pruned")));
        };
        storage::create_dir_all(self.storage, &self.dir)
            .map_err(|error| no_space(error, &self.dir))?;
        let Constants { stream_number, cut_number, .. } = examined.slot.constants;
        let plain = path_of(&self.dir, first_id);
        let longer = self.dir.join(format!("{first_id:020}.{stream_number}.{cut_number}.wal"));
        for path in [plain, longer] {
            if is_free_for(self.storage, &path, segment)? {
                // An equal one may not be durable, so it is replaced.
                copy(self.storage, segment, &self.dir, &path)?;
                self.storage.sync_dir(&self.dir)?;
                return Ok(());
            }
        }
        let dir = self.dir.display();
        Err(Error::Config(format!("{dir} holds another segment under every name for {first_id}")))
    }

    /// The archived segments that lead up to the id `joins_at` of stream `number`, oldest first. Or,
    /// without a stream, the newest of the one that was deleted last, and what leads up to it.
    ///
    /// # Errors
    ///
    /// [`Error::Corruption`] if a file that cannot be read may be among them.
    pub(super) fn chain(&self, live: Option<(u64, u64)>) -> Result<Vec<Examined>> {
        let mut candidates = Vec::new();
        let mut unreadable = None;
        for path in self.files()? {
            let first_id = first_id_in(&path);
            let Some(first_id) = first_id else { continue };
            match examine(self.storage, path.clone(), first_id, self.salt)? {
                Some(examined) => candidates.push(examined),
                None => unreadable = Some(path),
            }
        }
        let number = |of: &Examined| of.slot.constants.stream_number;
        let of = match live {
            Some((number, _)) => Some(number),
            None => candidates.iter().map(number).max(),
        };
        candidates.retain(|candidate| Some(number(candidate)) == of);
        let newest = candidates.iter().map(|it| it.end.next_id).max();
        let Some(mut due) = live.map(|(_, joins_at)| joins_at).or(newest) else {
            return unreadable.map_or(Ok(Vec::new()), |path| Err(cannot_be_read(&path)));
        };
        let mut chain: Vec<Examined> = Vec::new();
        loop {
            // Of two that end there, the one that was cut last.
            let joins = candidates.iter().filter(|it| it.end.next_id == due && it.first_id() < due);
            let Some(next) = joins.max_by_key(|it| it.slot.constants.cut_number) else { break };
            due = next.first_id();
            chain.push(next.clone());
        }
        // One that has lost its seal may end further on than its header knows, where the chain begins.
        let is_without_end = |it: &&Examined| !it.is_sealed && it.first_id() < due;
        let without_end = candidates.iter().find(is_without_end).map(|it| it.path.clone());
        match unreadable.or(without_end) {
            Some(path) if due > 0 => Err(cannot_be_read(&path)),
            _ => {
                chain.reverse();
                Ok(chain)
            }
        }
    }

    /// Copies archived segments into a stream's directory, durably.
    pub(super) fn copy_back(&self, chain: &[Examined], dir: &Path) -> Result<()> {
        for segment in chain {
            copy(self.storage, &segment.path, dir, &path_of(dir, segment.first_id()))?;
        }
        Ok(self.storage.sync_dir(dir)?)
    }

    /// Deletes archived segments that were restored.
    pub(super) fn forget(&self, chain: &[Examined]) -> Result<()> {
        for segment in chain {
            self.storage.remove_file(&segment.path)?;
        }
        Ok(self.storage.sync_dir(&self.dir)?)
    }

    /// Deletes what a pruning or a restoration that was interrupted left in the archive of stream
    /// `number` of entries from `id` on, which are about to be cut off: otherwise they could come back
    /// when the stream is deleted and restored. All of it is in the log too, from the segment that
    /// begins with `oldest` on.
    pub(super) fn forget_behind(&self, id: u64, number: u64, oldest: u64) -> Result<()> {
        let mut copies = Vec::new();
        for path in self.files()? {
            let Some(first_id) = first_id_in(&path).filter(|first_id| *first_id >= oldest) else {
                continue;
            };
            let found = examine(self.storage, path, first_id, self.salt)?;
            let is_cut_off =
                |it: &Examined| it.slot.constants.stream_number == number && it.end.next_id > id;
            copies.extend(found.filter(is_cut_off));
        }
        if copies.is_empty() { Ok(()) } else { self.forget(&copies) }
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match self.storage.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => Ok(entries?
                .into_iter()
                .filter(|entry| entry.kind == EntryKind::File)
                .map(|entry| self.dir.join(entry.name))
                .collect()),
        }
    }
}

impl Examined {
    fn first_id(&self) -> u64 {
        self.slot.constants.first_id
    }
}

/// Makes a whole stream of a chain that was copied to `dir`: nothing of it is pruned any more.
pub(super) fn make_first_kept(storage: &dyn Storage, chain: &[Examined], dir: &Path) -> Result<()> {
    let (Some(first), Some(newest)) = (chain.first(), chain.last()) else { return Ok(()) };
    let lowered = chain.iter().map(|it| it.slot.first_kept.lowered).max().unwrap_or(0);
    let first_kept = FirstKept { lowered: lowered.saturating_add(1), id: first.first_id() };
    let path = path_of(dir, newest.first_id());
    let slot = Slot { first_kept, ..newest.slot };
    let end = newest.end.synced_to;
    let mut writer = SegmentWriter::open(storage, path, newest.slot, newest.place, end)?;
    for _ in 0..2 {
        writer.write_slot(slot)?;
        writer.sync()?;
    }
    Ok(())
}

fn cannot_be_read(path: &Path) -> Error {
    Error::Corruption(format!(
        "{} cannot be read as a segment of this log; move it away, or restore it from a backup",
        path.display()
    ))
}

/// The first id that a name in the archive begins with, if it is one of ours.
fn first_id_in(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let rest = name.strip_suffix(".wal")?;
    let digits = rest.split('.').next()?;
    first_id_of(format!("{digits}.wal").as_ref())
}

/// Whether nothing stands at `path`, or a copy of `segment`, whose header may be older.
fn is_free_for(storage: &dyn Storage, path: &Path, segment: &Path) -> io::Result<bool> {
    let there = match storage.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        there => there?,
    };
    let new = storage.open(segment, OpenMode::Read)?;
    if there.len()? != new.len()? {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; COMPARED_LEN], vec![0; COMPARED_LEN]);
    let mut offset = HEADER_LEN;
    loop {
        let filled = storage::read_up_to(&*there, &mut left, offset)?;
        if storage::read_up_to(&*new, &mut right, offset)? != filled
            || left[..filled] != right[..filled]
        {
            return Ok(false);
        }
        if filled == 0 {
            return Ok(true);
        }
        offset += filled as u64;
    }
}

/// Copies a file into `dir`; it gets its name when its content is durable.
fn copy(storage: &dyn Storage, from: &Path, dir: &Path, to: &Path) -> Result<()> {
    let unfinished = dir.join(UNFINISHED_COPY);
    match storage.remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let source = storage.open(from, OpenMode::Read)?;
    let full = |error| no_space(error, &unfinished);
    let file = storage.open(&unfinished, OpenMode::Create).map_err(full)?;
    file.reserve(0, source.len()?).map_err(full)?;
    storage::read_pieces(&*source, 0, u64::MAX, |bytes, offset| {
        storage::write_all_at(&*file, bytes, offset)
    })?;
    file.sync()?;
    Ok(storage.rename(&unfinished, to)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::header::SlotPlace;
    use crate::storage::SimDisk;
    use crate::storage::sim::SimConfig;
    use crate::sync::Arc;
    use crate::{Environment, Maintenance, Wal, WalOptions};

    /// If only one slot says durably where a restored stream begins, its rot makes leftovers of what was
    /// restored.
    #[test]
    fn both_slots_say_durably_where_a_restored_stream_begins() {
        for seed in 0..10 {
            let config = SimConfig { seed, write_back: 0.0, ..SimConfig::default() };
            let disk = SimDisk::with_config(config);
            let options = WalOptions {
                max_entries_per_segment: 2,
                archive_path: Some("/archive".into()),
                ..WalOptions::new("/log")
            };
            let environment = Environment::default()
                .with_storage(Arc::new(disk.process()))
                .with_maintenance(Maintenance::Inline);
            let wal = Wal::open_with(options, environment).unwrap();
            for id in 0..7 {
                wal.append("s", &[id]).unwrap();
            }
            wal.stream("s").unwrap().truncate_before(5).unwrap();
            wal.stream("s").unwrap().truncate_before(7).unwrap();
            let storage = disk.process();
            let dir = Path::new("/log/s");
            let archive = Archive::new(&storage, Path::new("/archive"), dir, wal.inner.salt);
            let chain = archive.chain(None).unwrap();
            assert!(chain.len() > 1, "{chain:?}");
            let first_id = chain[chain.len() - 1].first_id();
            archive.copy_back(&chain, dir).unwrap();
            make_first_kept(&storage, &chain, dir).unwrap();
            disk.crash();
            let bytes = disk.contents(&path_of(dir, first_id)).unwrap();
            let places = [SlotPlace::First, SlotPlace::Second];
            let slots = places.map(|place| {
                let at = usize::try_from(place.offset()).unwrap();
                Slot::decode(&bytes[at..], archive.salt, first_id).unwrap().first_kept
            });
            assert_eq!(slots, [FirstKept { lowered: 1, id: 0 }; 2], "seed {seed}");
        }
    }
}
