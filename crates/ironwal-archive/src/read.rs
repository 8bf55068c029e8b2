//! Reading a stream from its first entry on, from the archive and then from the log.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ironwal::inspect::Held;
use ironwal::storage::Storage;
use ironwal::{Environment, Wal, WalOptions};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::files::Single;
use crate::manifest::{Manifest, Stream};

/// The entries of a stream with their ids, from one on, in order, up to the end that is found when it gets there.
///
/// What the log still has is read from there, everything else from the archive: segment by segment, through a
/// temporary file, so that it takes the memory of a few pieces. Entries that are missing or damaged are yielded
/// once, as an error that names their ids, and iteration goes on behind them.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Error, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # for _ in 0..10 {
/// #     wal.append("orders", b"tea")?;
/// # }
/// wal.truncate("orders", 8)?; // of ten entries
/// archiver.push(Tails::Ship)?;
/// let mut entries = archive.entries("orders", 2)?;
/// // What was pruned before it was pushed is told once.
/// assert!(matches!(entries.next(), Some(Err(Error::Gap { ids, .. })) if ids == (2..8)));
/// let ids: Vec<u64> = entries.map(|entry| Ok(entry?.0)).collect::<Result<_, Error>>()?;
/// assert_eq!(ids, [8, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Entries {
    archive: Archive,
    manifest: Option<Manifest>,
    name: String,
    /// The number of the stream.
    number: u64,
    local: Option<Wal>,
    /// The id that is due.
    next_id: u64,
    /// What is being read, and where it ends.
    part: Option<Part>,
    is_over: bool,
}

struct Part {
    entries: ironwal::Range,
    end: u64,
    is_local: bool,
    /// Goes when it has been read.
    _single: Option<Single>,
}

impl Archive {
    /// The entries of a stream that the archive holds, from `from` on.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Error, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// wal.append_batch("orders", &[b"tea", b"jam"])?;
    /// archiver.push(Tails::Ship)?;
    /// wal.append("orders", b"only in the log")?;
    /// let entries: Vec<_> = archive.entries("orders", 1)?.collect::<Result<_, Error>>()?;
    /// assert_eq!(entries, [(1, "jam".into())]);
    /// assert!(matches!(archive.entries("nobody's", 0), Err(Error::NoStream(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoArchive`], [`Error::NoStream`], [`Error::Version`], [`Error::Damaged`], [`Error::Store`].
    pub fn entries(&self, stream: &str, from: u64) -> Result<Entries> {
        let manifest = self.existing()?;
        let number = manifest.stream(stream).ok_or_else(|| Error::NoStream(stream.into()))?.number;
        Ok(Entries::new(self, Some(manifest), stream, number, None, from))
    }

    /// The same, and then those that only the log in `root` has: also what was never pushed.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::path::Path;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal_archive::{Archive, Archiver, Error, Tails};
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
    /// archiver.push(Tails::Ship)?;
    /// archiver.prune(&wal, 0)?;
    /// wal.append("orders", b"jam")?;
    /// // The log begins at 8 by now, and the archive ends at 10.
    /// let entries = archive.entries_with(&disk, Path::new("/log"), "orders", 0)?;
    /// let ids: Vec<u64> = entries.map(|entry| Ok(entry?.0)).collect::<Result<_, Error>>()?;
    /// assert_eq!(ids, (0..11).collect::<Vec<_>>());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Archive::entries`], and [`Error::Log`]. [`Error::OtherLog`]. Without an archive, what the log has
    /// is read.
    pub fn entries_with(
        &self,
        storage: &Arc<dyn Storage>,
        root: &Path,
        stream: &str,
        from: u64,
    ) -> Result<Entries> {
        let environment = Environment::default().with_storage(Arc::clone(storage));
        let wal = Wal::open_read_only_with(WalOptions::new(root), environment)?;
        let held = Held::of(storage, root)?;
        let log = format!("{:016x}", held.salt());
        let manifest = self.newest()?;
        if let Some(manifest) = manifest.as_ref().filter(|it| it.log != log) {
            return Err(Error::OtherLog { archived: manifest.log.clone(), log });
        }
        let live = held.streams().iter().find(|it| it.name == stream).map(|it| it.number);
        let archived = manifest.as_ref().and_then(|it| it.stream(stream)).map(|it| it.number);
        let number = live.or(archived).ok_or_else(|| Error::NoStream(stream.into()))?;
        let local = live.map(|_| wal);
        Ok(Entries::new(self, manifest, stream, number, local, from))
    }
}

impl Entries {
    fn new(
        archive: &Archive,
        manifest: Option<Manifest>,
        name: &str,
        number: u64,
        local: Option<Wal>,
        next_id: u64,
    ) -> Self {
        let (archive, name) = (archive.clone(), name.to_string());
        let (part, is_over) = (None, false);
        Self { archive, manifest, name, number, local, next_id, part, is_over }
    }

    fn archived(&self) -> Option<&Stream> {
        self.manifest.as_ref()?.streams.iter().find(|it| it.number == self.number)
    }

    /// Finds what holds the entry that is due. `false`: it is the end.
    fn find_part(&mut self) -> Result<bool> {
        let mut local_first = None;
        if let Some(wal) = &self.local {
            let stream = wal.stream(&self.name)?;
            let (first, end) = (stream.first_id(), stream.next_id());
            if first <= self.next_id {
                let (entries, is_local) = (stream.range(self.next_id..end), true);
                self.part = Some(Part { entries, end, is_local, _single: None });
                return Ok(self.next_id < end);
            }
            local_first = Some(first);
        }
        let Some((stream, segment)) =
            self.archived().and_then(|it| Some((it, it.segment_with(self.next_id)?)))
        else {
            return self.pass_over(local_first);
        };
        let manifest = self.manifest.as_ref().ok_or(Error::NoArchive)?;
        let single = match self.archive.fetch_alone(manifest, stream, segment) {
            Err(error @ Error::Missing { .. }) => {
                let number = manifest.number;
                return self.look_again(number).and_then(|newer| match newer {
                    true => self.find_part(),
                    false => Err(error),
                });
            }
            single => single?,
        };
        let end = segment.next_id;
        let wal = Wal::open_read_only(WalOptions::new(single.path()))?;
        let entries = wal.stream(Single::NAME)?.range(self.next_id..end);
        self.part = Some(Part { entries, end, is_local: false, _single: Some(single) });
        Ok(true)
    }

    /// The entry that is due is nowhere: names those that are missing, and goes on behind them.
    fn pass_over(&mut self, local_first: Option<u64>) -> Result<bool> {
        let number = self.manifest.as_ref().map_or(0, |it| it.number);
        if local_first.is_some() && self.look_again(number)? {
            // It was pushed and pruned meanwhile.
            return self.find_part();
        }
        let told = self.archived().and_then(|it| it.gap_with(self.next_id));
        let later = self.archived().map(|it| it.ids());
        let end = match (told, later) {
            (Some(gap), _) => gap.end,
            (None, Some(ids)) if self.next_id < ids.start => ids.start,
            // A stream that begins at an id has nothing before it.
            _ => match local_first {
                Some(first) => first,
                None => return Ok(false),
            },
        };
        let ids = self.next_id..end;
        self.next_id = end;
        Err(Error::Gap { stream: self.name.clone(), ids })
    }

    /// Reads the newest manifest, and says whether it is another one.
    fn look_again(&mut self, number: u64) -> Result<bool> {
        self.manifest = self.archive.newest()?;
        Ok(self.manifest.as_ref().map_or(0, |it| it.number) != number)
    }
}

impl Iterator for Entries {
    type Item = Result<(u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.is_over {
                return None;
            }
            let Some(part) = &mut self.part else {
                match self.find_part() {
                    Ok(true) => continue,
                    Ok(false) => {
                        self.is_over = true;
                        return None;
                    }
                    Err(error) => {
                        self.is_over = !matches!(error, Error::Gap { .. });
                        return Some(Err(error));
                    }
                }
            };
            match part.entries.next() {
                // It was pruned while it was read; the archive has it, or nobody.
                Some(Ok((id, _))) if id > self.next_id && part.is_local => self.part = None,
                Some(Ok((id, entry))) => {
                    self.next_id = id + 1;
                    return Some(Ok((id, entry)));
                }
                Some(Err(error)) => {
                    if let ironwal::Error::Damaged { ids, .. } = &error {
                        self.next_id = self.next_id.max(ids.end.min(part.end));
                    } else {
                        self.is_over = true;
                    }
                    return Some(Err(error.into()));
                }
                None => {
                    let (end, is_local) = (part.end, part.is_local);
                    self.part = None;
                    match self.next_id < end {
                        // All of the rest was pruned.
                        true if is_local => {}
                        true => self.next_id = end,
                        false => {}
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Entries")
            .field("name", &self.name)
            .field("next_id", &self.next_id)
            .finish_non_exhaustive()
    }
}
