//! Restoring: a log out of an archive.
//!
//! 1. **Fetch** segments into a directory beside the destination. Each has its name when it is whole and durable;
//!    what an earlier restoration left there is used again, if it is what it should be.
//! 2. **Join** them: each stream begins with its oldest segment that is there.
//! 3. **Cut**, if it is to end at an entry or at a checkpoint.
//! 4. **Check**: it opens, every stream ends where it should, and it verifies.
//! 5. **Name**: the directory gets the name of the destination. Until then there is no log of that name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironwal::inspect::{self, Severity, VerifyOptions, keep_from_oldest};
use ironwal::sharded::{CheckpointData, ShardedWal};
use ironwal::storage::{EntryKind, Storage};
use ironwal::{CorruptionPolicy, Environment, Maintenance, Wal, WalOptions};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::files::{is_whole, path_of, remove};
use crate::manifest::{Ids, Manifest, Segment, Stream};
use crate::names;
use crate::plan::CHECKPOINTS;
use crate::push::Progress;

/// How often a restoration begins anew because a writer has cleared away what an older manifest needs.
const TRIES_MAX: u32 = 10;

/// What is restored of an archive.
///
/// ```
/// # use std::sync::Arc;
/// # use std::path::Path;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal_archive::{Archive, Archiver, Error, RestoreOptions, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # let disk: Arc<dyn Storage> = Arc::new(disk.process());
/// # let wal_append = |count| (0..count).try_for_each(|_| wal.append("orders", b"tea").map(drop));
/// # wal_append(6)?;
/// archiver.push(Tails::Ship)?; // the entries 0 to 5
/// # wal_append(14)?;
/// wal.truncate("orders", 12)?; // too early: 6 to 11 were not pushed
/// archiver.push(Tails::Ship)?;
/// let mut options = RestoreOptions::default();
/// options.streams.insert("orders".into());
/// let copy = Path::new("/copy");
/// let refused = archive.restore(&disk, copy, &options, &mut |_| {});
/// assert!(matches!(refused, Err(Error::Gap { ids, .. }) if ids == (6..12)));
/// options.after_gaps = true;
/// let restored = archive.restore(&disk, copy, &options, &mut |_| {})?;
/// assert_eq!(restored.streams["orders"], 12..20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// The streams, by name; empty: all that were in the log. A stream that was deleted has to be named.
    pub streams: BTreeSet<String>,
    /// Where it ends.
    pub until: Until,
    /// Leave out what is before entries that are missing, where a stream has a gap. Otherwise that is an error.
    pub after_gaps: bool,
}

/// Where a restored log ends.
///
/// ```
/// # use std::sync::Arc;
/// # use std::path::Path;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal_archive::{Archive, Archiver, RestoreOptions, Tails, Until};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # let disk: Arc<dyn Storage> = Arc::new(disk.process());
/// wal.append_batch("orders", &[b"tea", b"jam", b"a mistake"])?;
/// wal.append("users", b"Ann")?;
/// archiver.push(Tails::Ship)?;
/// let mut options = RestoreOptions::default();
/// options.until = Until::Entries([("orders".to_string(), 1)].into()); // the last one that is kept
/// let restored = archive.restore(&disk, Path::new("/copy"), &options, &mut |_| {})?;
/// assert_eq!(restored.streams["orders"], 0..2);
/// assert_eq!(restored.streams["users"], 0..1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Or as a checkpoint has it:
///
/// ```
/// # use std::sync::Arc;
/// # use std::path::Path;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal_archive::{Archive, Archiver, RestoreOptions, Tails, Until};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # let disk: Arc<dyn Storage> = Arc::new(disk.process());
/// # use ironwal::sharded::ShardedWal;
/// let sharded = ShardedWal::over(wal, 2)?;
/// sharded.append(b"Ann", b"tea")?;
/// sharded.create_checkpoint(b"monday")?;
/// sharded.append(b"Ann", b"jam")?;
/// sharded.create_checkpoint(b"tuesday")?;
/// archiver.push(Tails::Ship)?;
/// let mut options = RestoreOptions::default();
/// options.until = Until::Checkpoint(b"monday".to_vec());
/// let restored = archive.restore(&disk, Path::new("/copy"), &options, &mut |_| {})?;
/// let count: u64 = restored.streams.values().map(|ids| ids.end - ids.start).sum();
/// assert_eq!(count, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Until {
    /// With everything that was pushed.
    #[default]
    End,
    /// Streams end with these entries, by name; others whole. Checkpoints are left out.
    Entries(BTreeMap<String, u64>),
    /// The shards end as the checkpoint of this id has them; others whole. Later checkpoints are left out.
    Checkpoint(Vec<u8>),
}

/// What was restored.
///
/// ```
/// # use std::sync::Arc;
/// # use std::path::Path;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal_archive::{Archive, Archiver, Ids, RestoreOptions, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # let disk: Arc<dyn Storage> = Arc::new(disk.process());
/// # for _ in 0..10 {
/// #     wal.append("orders", b"tea")?;
/// # }
/// wal.truncate("orders", 8)?; // of ten entries, and too early: none was pushed
/// archiver.push(Tails::Ship)?;
/// let options = RestoreOptions::default();
/// let restored = archive.restore(&disk, Path::new("/copy"), &options, &mut |_| {})?;
/// assert_eq!(restored.streams["orders"], 8..10);
/// assert_eq!(restored.gaps, [("orders".to_string(), Ids::from(0..8))]);
/// assert!(restored.damaged.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Restored {
    /// The manifest that it is as of.
    pub manifest: u64,
    /// The ids of each stream, by name.
    pub streams: BTreeMap<String, Range<u64>>,
    /// Entries that are not in the archive, by stream: before what was restored.
    pub gaps: Vec<(String, Ids)>,
    /// Entries that were damaged, or marked as lost, when they were pushed: they are so in the log.
    pub damaged: Vec<(String, Ids)>,
    /// The bytes that were read from the store; what was there from before is not among them.
    pub bytes: u64,
}

impl Archive {
    /// Makes a log in `destination` of what the newest manifest names. It is the same log, with its ids, stream
    /// numbers, shards and checkpoints, and goes on with the next ids: put it in the place of the original, and do
    /// not write to both.
    ///
    /// The destination must not exist, or be an empty directory. It is there when the log is complete, verified
    /// and durable, and not before. After an error or a crash, call it again: it goes on with what it has.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::path::Path;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal_archive::{Archive, Archiver, Error, RestoreOptions, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// # let disk: Arc<dyn Storage> = Arc::new(disk.process());
    /// wal.append_batch("orders", &[b"tea", b"jam"])?;
    /// archiver.push(Tails::Ship)?;
    /// let options = RestoreOptions::default();
    /// archive.restore(&disk, Path::new("/copy"), &options, &mut |_| {})?;
    /// # let environment = Environment::default().with_storage(Arc::clone(&disk));
    /// let copy = Wal::open_with(WalOptions::new("/copy"), environment)?;
    /// assert_eq!(copy.append("orders", b"goes on")?, 2);
    /// // It never overwrites a log.
    /// let refused = archive.restore(&disk, Path::new("/copy"), &options, &mut |_| {});
    /// assert!(matches!(refused, Err(Error::Config(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Config`]: the destination is not empty.
    /// - [`Error::NoArchive`], [`Error::NoStream`], [`Error::NoCheckpoint`], [`Error::NoEntry`].
    /// - [`Error::Gap`]: entries in the middle of a stream are missing; see [`RestoreOptions::after_gaps`].
    /// - [`Error::Damaged`], [`Error::Missing`]: an object is not what it was.
    /// - [`Error::Version`], [`Error::Store`], [`Error::Log`], [`Error::Interrupted`].
    pub fn restore(
        &self,
        storage: &Arc<dyn Storage>,
        destination: &Path,
        options: &RestoreOptions,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Restored> {
        let is_there = is_empty_dir(&**storage, destination)?;
        let mut manifest = self.existing()?;
        let dir = unfinished(destination);
        for attempt in 1.. {
            let chosen = choose(&manifest, options)?;
            let work = Work { archive: self, storage, dir: &dir, manifest: &manifest, options };
            match work.make(chosen, watch) {
                Ok(restored) => {
                    if is_there {
                        storage.remove_dir(destination)?;
                    }
                    storage.rename(&dir, destination)?;
                    storage.sync_dir(parent(destination))?;
                    return Ok(restored);
                }
                Err(error @ Error::Missing { .. }) if attempt < TRIES_MAX => {
                    // Tails are deleted when a newer manifest does not need them.
                    let newer = self.existing()?;
                    if newer.number == manifest.number {
                        return Err(error);
                    }
                    manifest = newer;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Restless)
    }
}

/// A stream that is restored, and which of its segments.
struct Chosen<'a> {
    stream: &'a Stream,
    segments: Vec<&'a Segment>,
    /// The last entry that is kept, if it is not the last one.
    until: Option<u64>,
}

impl Chosen<'_> {
    fn end(&self) -> u64 {
        let end = self.segments.last().map_or(0, |segment| segment.next_id);
        self.until.map_or(end, |id| id + 1)
    }
}

fn choose<'a>(manifest: &'a Manifest, options: &RestoreOptions) -> Result<Vec<Chosen<'a>>> {
    let is_whole = options.streams.is_empty() && !matches!(options.until, Until::Entries(_));
    let mut streams: Vec<&Stream> = Vec::new();
    for name in &options.streams {
        streams.push(manifest.stream(name).ok_or_else(|| Error::NoStream(name.clone()))?);
    }
    if options.streams.is_empty() {
        let is_there = |it: &&Stream| !it.is_deleted && (is_whole || it.name != CHECKPOINTS);
        streams.extend(manifest.streams.iter().filter(is_there));
    }
    if matches!(options.until, Until::Checkpoint(_)) && !options.streams.is_empty() {
        let what = "a checkpoint is over all shards: restore all streams, not some of them";
        return Err(Error::Config(what.into()));
    }
    if let Until::Entries(ends) = &options.until {
        let missing = ends.keys().find(|name| !streams.iter().any(|it| it.name == **name));
        if let Some(name) = missing {
            return Err(Error::NoStream(name.clone()));
        }
    }
    streams.into_iter().map(|stream| choose_segments(stream, options)).collect()
}

fn choose_segments<'a>(stream: &'a Stream, options: &RestoreOptions) -> Result<Chosen<'a>> {
    check_dir(stream)?;
    let until = match &options.until {
        Until::Entries(ends) => ends.get(&stream.name).copied(),
        _ => None,
    };
    let ids = stream.ids();
    if let Some(id) = until.filter(|id| !ids.contains(id)) {
        return Err(Error::NoEntry { stream: stream.name.clone(), id, ids });
    }
    let is_wanted = |it: &&Segment| until.is_none_or(|id| it.first_id <= id);
    let mut segments: Vec<&Segment> = stream.segments.iter().filter(is_wanted).collect();
    let end = segments.last().map_or(0, |segment| segment.next_id);
    let inner = stream.gaps.iter().filter(|gap| gap.to > ids.start && gap.from < end);
    if let Some(gap) = inner.max_by_key(|gap| gap.to) {
        if !options.after_gaps {
            let ids = gap.from..gap.to;
            return Err(Error::Gap { stream: stream.name.clone(), ids });
        }
        segments.retain(|segment| segment.first_id >= gap.to);
    }
    let first = segments.first().map_or(0, |segment| segment.first_id);
    match until {
        Some(id) if id < first => {
            Err(Error::NoEntry { stream: stream.name.clone(), id, ids: first..ids.end })
        }
        _ => Ok(Chosen { stream, segments, until: until.filter(|id| id + 1 < end) }),
    }
}

/// A name from the archive must not lead out of the log.
fn check_dir(stream: &Stream) -> Result<()> {
    let dir = Path::new(&stream.dir);
    let is_plain = dir.components().count() == 1 && dir.file_name() == Some(dir.as_os_str());
    // Those of streams are `%XX` outside of plain names; what begins with a dot is the library's.
    let is_known = !stream.dir.starts_with('.') || stream.dir == CHECKPOINTS;
    if is_plain && is_known && !stream.dir.contains(['/', '\\', ':']) {
        return Ok(());
    }
    let reason = format!("{:?} is no directory of a stream", stream.dir);
    Err(Error::Damaged { object: names::MANIFESTS.into(), reason })
}

/// A restoration that is under way.
struct Work<'a> {
    archive: &'a Archive,
    storage: &'a Arc<dyn Storage>,
    dir: &'a Path,
    manifest: &'a Manifest,
    options: &'a RestoreOptions,
}

impl Work<'_> {
    /// Makes the log, complete and durable but for its name.
    fn make(&self, chosen: Vec<Chosen<'_>>, watch: &mut dyn FnMut(Progress)) -> Result<Restored> {
        let storage = &**self.storage;
        let mut restored = Restored { manifest: self.manifest.number, ..Restored::default() };
        for Chosen { stream, segments, .. } in &chosen {
            let name = &stream.name;
            let first = segments.first().map_or(0, |it| it.first_id);
            let before = stream.gaps.iter().filter(|gap| gap.to <= first);
            restored.gaps.extend(before.map(|gap| (name.clone(), *gap)));
            let damaged = segments.iter().flat_map(|it| &it.damaged);
            restored.damaged.extend(damaged.map(|ids| (name.clone(), *ids)));
        }
        self.fetch(&chosen, &mut restored, watch)?;
        keep_from_oldest(storage, self.dir)?;
        let checkpoints = match &self.options.until {
            Until::Checkpoint(id) => Some(self.checkpoints_up_to(id)?),
            _ => None,
        };
        let ends = self.cut(&chosen, checkpoints.as_deref(), &restored)?;
        for Chosen { stream, segments, .. } in &chosen {
            if stream.name != CHECKPOINTS {
                let first = segments.first().map_or(0, |it| it.first_id);
                let end = ends.get(&stream.name).copied().unwrap_or(first);
                restored.streams.insert(stream.name.clone(), first.min(end)..end);
            }
        }
        let report = inspect::verify(self.storage, self.dir, &VerifyOptions::default(), &|_| {})?;
        let worst = report.findings.iter().find(|it| it.severity() <= Severity::Newer);
        match worst {
            Some(worst) if restored.damaged.is_empty() => {
                Err(ironwal::Error::Corruption(worst.to_string()).into())
            }
            _ => Ok(restored),
        }
    }

    /// Fetches what is not there yet, and removes what is of something else.
    fn fetch(
        &self,
        chosen: &[Chosen<'_>],
        restored: &mut Restored,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let storage = &**self.storage;
        create_dir_all(storage, self.dir)?;
        self.clear(chosen)?;
        let segments = chosen.iter().flat_map(|it| &it.segments);
        let bytes_total = segments.map(|segment| segment.len()).sum();
        let mut bytes_done = 0;
        self.archive.fetch_root(storage, self.manifest, self.dir)?;
        for Chosen { stream, segments, .. } in chosen {
            let dir = self.dir.join(&stream.dir);
            match storage.create_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error.into());
                }
                _ => {}
            }
            for segment in segments {
                if is_whole(storage, &path_of(&dir, segment.first_id), segment)? {
                    // Its name, and what it says, may not be durable.
                    let file = ironwal::storage::OpenMode::ReadWrite;
                    storage.open(&path_of(&dir, segment.first_id), file)?.sync()?;
                    bytes_done += segment.len();
                    watch(Progress { bytes_done, bytes_total });
                    continue;
                }
                let mut tell = |len: u64| {
                    bytes_done += len;
                    restored.bytes += len;
                    watch(Progress { bytes_done, bytes_total });
                };
                self.archive.fetch_segment(storage, stream, segment, &dir, &mut tell)?;
            }
            storage.sync_dir(&dir)?;
        }
        Ok(storage.sync_dir(self.dir)?)
    }

    /// Removes what an earlier restoration left, other than segments that are wanted.
    fn clear(&self, chosen: &[Chosen<'_>]) -> Result<()> {
        let storage = &**self.storage;
        for entry in storage.list(self.dir)? {
            let path = self.dir.join(&entry.name);
            let of = chosen.iter().find(|it| *it.stream.dir == *entry.name);
            match (entry.kind, of) {
                (EntryKind::Dir, Some(Chosen { segments, .. })) => {
                    let wanted: BTreeSet<PathBuf> =
                        segments.iter().map(|it| path_of(&path, it.first_id)).collect();
                    for inside in storage.list(&path)? {
                        let inside = path.join(&inside.name);
                        if !wanted.contains(&inside) {
                            storage.remove_file(&inside)?;
                        }
                    }
                }
                (EntryKind::Dir, None) => remove_all(storage, &path)?,
                _ => remove(storage, &path)?,
            }
        }
        Ok(())
    }

    /// The checkpoints up to one, oldest first, which are taken out of the log: those behind it go beyond what is
    /// kept.
    fn checkpoints_up_to(&self, id: &[u8]) -> Result<Vec<(Vec<u8>, CheckpointData)>> {
        let text = String::from_utf8_lossy(id).into_owned();
        let found = {
            let wal = Wal::open_read_only_with(self.options_to_open(false), self.environment())?;
            let not_there = || Error::NoCheckpoint(text.clone());
            let count = wal.shard_count().ok_or_else(not_there)?;
            let sharded = ShardedWal::over(wal, count)?;
            let listed = sharded.list_checkpoints();
            let nth = listed.iter().position(|(it, _)| it == id).ok_or_else(not_there)?;
            let load = |(id, _): &(Vec<u8>, u64)| {
                Ok((id.clone(), sharded.load_checkpoint(id).map_err(Error::from)?))
            };
            listed[..=nth].iter().map(load).collect::<Result<Vec<_>>>()?
        };
        remove_all(&**self.storage, &self.dir.join(CHECKPOINTS))?;
        self.storage.sync_dir(self.dir)?;
        Ok(found)
    }

    /// Opens the log, and cuts off what is not wanted. Returns where the streams end.
    fn cut(
        &self,
        chosen: &[Chosen<'_>],
        checkpoints: Option<&[(Vec<u8>, CheckpointData)]>,
        restored: &Restored,
    ) -> Result<BTreeMap<String, u64>> {
        let strictly = restored.damaged.is_empty();
        let wal = Wal::open_with(self.options_to_open(strictly), self.environment())?;
        let cut = || -> Result<BTreeMap<String, u64>> {
            let mut ends = BTreeMap::new();
            for it in chosen.iter().filter(|it| it.stream.name != CHECKPOINTS) {
                let stream = wal.stream(&it.stream.name)?;
                if let Some(id) = it.until {
                    stream.truncate_after(Some(id))?;
                }
                check_end(&it.stream.name, stream.next_id(), it.end())?;
                ends.insert(it.stream.name.clone(), it.end());
            }
            if let Some(checkpoints) = checkpoints {
                self.cut_shards(&wal, checkpoints, &mut ends)?;
            }
            Ok(ends)
        };
        let done = cut();
        let closed = wal.close();
        let ends = done?;
        closed?;
        Ok(ends)
    }

    fn cut_shards(
        &self,
        wal: &Wal,
        checkpoints: &[(Vec<u8>, CheckpointData)],
        ends: &mut BTreeMap<String, u64>,
    ) -> Result<()> {
        let Some((_, wanted)) = checkpoints.last() else { return Ok(()) };
        let sharded = ShardedWal::over(wal.clone(), wanted.shard_count)?;
        for (shard, offset) in (0..).zip(&wanted.offsets) {
            let stream = sharded.shard(shard)?;
            let (first, next) = (stream.first_id(), stream.next_id());
            if next < *offset || (first > *offset && first < next) {
                let id = offset.saturating_sub(1);
                let (stream, ids) = (stream.name().to_string(), first..next);
                return Err(Error::NoEntry { stream, id, ids });
            }
            if next > *offset {
                stream.truncate_after(offset.checked_sub(1))?;
            }
            check_end(stream.name(), stream.next_id(), *offset)?;
            if let Some(end) = ends.get_mut(stream.name()) {
                *end = *offset;
            }
        }
        for (id, checkpoint) in checkpoints {
            sharded.import_checkpoint(id, checkpoint)?;
        }
        Ok(())
    }

    fn options_to_open(&self, strictly: bool) -> WalOptions {
        let on_corruption =
            if strictly { CorruptionPolicy::Error } else { CorruptionPolicy::Truncate };
        WalOptions { on_corruption, ..WalOptions::new(self.dir) }
    }

    fn environment(&self) -> Environment {
        Environment::default()
            .with_storage(Arc::clone(self.storage))
            .with_maintenance(Maintenance::Inline)
    }
}

fn check_end(stream: &str, found: u64, due: u64) -> Result<()> {
    if found == due {
        return Ok(());
    }
    let what =
        format!("stream {stream:?} ends at {found} once it is restored, and should at {due}");
    Err(ironwal::Error::Corruption(what).into())
}

/// Whether an empty directory is there; an error if anything else is.
fn is_empty_dir(storage: &dyn Storage, destination: &Path) -> Result<bool> {
    match storage.list(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(entries) if entries.is_empty() => Ok(true),
        Ok(_) => {
            let destination = destination.display();
            let what =
                format!("{destination} is not empty: choose a directory that does not exist");
            Err(Error::Config(what))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where the log is until it is complete.
fn unfinished(destination: &Path) -> PathBuf {
    let name = destination.file_name().unwrap_or_default().display();
    destination.with_file_name(format!(".{name}.ironwal-archive-restore"))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create_dir_all(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    match storage.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir_all(storage, parent(dir))?;
            storage.create_dir(dir)?;
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    storage.sync_dir(parent(dir))
}

/// Removes a directory with everything in it, if it is there.
fn remove_all(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = dir.join(entry.name);
        match entry.kind {
            EntryKind::Dir => remove_all(storage, &path)?,
            _ => storage.remove_file(&path)?,
        }
    }
    storage.remove_dir(dir)
}
