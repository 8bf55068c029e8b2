//! Pushing: what is new in a log goes to the archive, and a manifest says so.
//!
//! 1. **Look** at the log at one instant, and plan what the next manifest holds.
//! 2. **Take** the archive, with the first thing that there is to write: a manifest that holds what the last one
//!    does, under a new epoch. From then on, whoever had the archive before cannot write manifests.
//! 3. **Write** pieces that are not there. Nobody sees them.
//! 4. **Commit**: create the manifest. Now the archive holds them; a push that ends before that is as if it had
//!    not been, but that the next one finds most of its pieces there.
//! 5. **Clear away** what the manifest before this one needed of tails, and what earlier writers left of theirs.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ironwal::inspect::{Held, HeldStream};
use ironwal::storage::Storage;

use crate::archive::{Archive, Newest};
use crate::error::{Error, Result};
use crate::manifest::{Identity, Ids, Manifest, Piece, Segment, Unreadable, sha256};
use crate::names;
use crate::plan::{Planned, Source, plan};
use crate::runtime::UnderWay;
use crate::store::Created;

/// The bytes of a header of a segment, which change when it grows.
const HEADER_LEN: usize = 8192;

/// The most bytes of a piece, behind the header.
const PIECE_LEN: usize = 8 * 1024 * 1024;

/// Segments up to this many bytes are one piece.
const SMALL_LEN: usize = 256 * 1024;

/// How often a push begins anew because the log was changed, other than by appends, or the archive was.
const TRIES_MAX: u32 = 10;

/// Of a log, what a push takes.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Tails};
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
/// // Ten entries, four to a segment: two segments are full.
/// archiver.push(Tails::Leave)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// assert_eq!(newest.streams[0].ids(), 0..8);
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// assert_eq!(newest.streams[0].ids(), 0..10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tails {
    /// Everything that is committed, as of one instant over all streams.
    #[default]
    Ship,
    /// Full segments only; checkpoints stay as they were.
    Leave,
}

/// What a push did.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Pushed, Tails};
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
/// // Ten entries, four to a segment.
/// let pushed = archiver.push(Tails::Ship)?;
/// assert_eq!((pushed.manifest, pushed.segments), (Some(2), 3));
/// assert!(pushed.bytes > 0 && pushed.gaps.is_empty());
/// // Nothing is new.
/// let pushed = archiver.push(Tails::Ship)?;
/// assert_eq!((pushed.manifest, pushed.objects), (None, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Pushed {
    /// The manifest that holds it; `None` if there was nothing new.
    pub manifest: Option<u64>,
    /// How many segments were read, because they are new or have grown.
    pub segments: u64,
    /// How many objects were written, manifests aside.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were pruned before they were pushed, by stream; only those that no manifest told before.
    pub gaps: Vec<(String, Ids)>,
}

/// How far a push has come.
///
/// See [`Archiver::push_watched`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes that were looked at.
    pub bytes_done: u64,
    /// Of how many, as far as that is known.
    pub bytes_total: u64,
}

/// Ships a log to an archive. Whoever pushes last has the archive: others that had it get [`Error::Fenced`].
///
/// Reads the log as another process would: beside a [`Wal`](ironwal::Wal) that writes to it, in this process or
/// elsewhere.
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
/// let mut first = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// let mut second = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// wal.append("orders", b"tea")?;
/// first.push(Tails::Ship)?;
/// wal.append("orders", b"jam")?;
/// second.push(Tails::Ship)?; // takes the archive
/// assert!(matches!(first.push(Tails::Ship), Err(Error::Fenced { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Archiver {
    pub(crate) archive: Archive,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) root: PathBuf,
    writer: String,
    /// The number of the manifest by which this writer took the archive.
    epoch: Option<u64>,
    /// The newest manifest, while nobody else can write one.
    newest: Option<Newest>,
    /// Whether what earlier writers left was cleared away.
    is_clean: bool,
    is_fenced: Option<u64>,
}

impl Archiver {
    /// Ships the log in `root`, on this storage ([`RealDisk`](ironwal::storage::RealDisk), as a rule), to an
    /// archive. Nothing is read or written yet.
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
    /// // Where there is no log, the first push says so.
    /// let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/nowhere");
    /// assert!(matches!(archiver.push(Tails::Ship), Err(Error::Log(_))));
    /// assert_eq!(archive.newest()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(archive: Archive, storage: Arc<dyn Storage>, root: impl AsRef<Path>) -> Self {
        Self {
            archive,
            storage,
            root: root.as_ref().to_path_buf(),
            writer: format!("{:016x}", fastrand::u64(..)),
            epoch: None,
            newest: None,
            is_clean: false,
            is_fenced: None,
        }
    }

    /// Ships what is new. When it returns, the archive holds it, and everything that it held before.
    ///
    /// A push that fails or is killed has done nothing that anybody sees; the next one finishes the work.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Tails};
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
    /// archiver.push(Tails::Ship)?; // ten entries, four to a segment
    /// wal.truncate("orders", 8)?;
    /// wal.append("orders", b"jam")?;
    /// archiver.push(Tails::Ship)?;
    /// // What the log has forgotten stays in the archive.
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// assert_eq!(newest.streams[0].ids(), 0..11);
    /// assert_eq!(wal.stream("orders")?.first_id(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Fenced`]: another writer has taken the archive. This one stays so.
    /// - [`Error::NoConditionalPut`], [`Error::OtherLog`], [`Error::Version`]: this archive cannot be written to.
    /// - [`Error::Restless`]: the log or the archive was changed again and again.
    /// - [`Error::Log`], [`Error::Store`], [`Error::Damaged`], [`Error::Interrupted`].
    pub fn push(&mut self, tails: Tails) -> Result<Pushed> {
        self.push_watched(tails, &mut |_| {})
    }

    /// Ships what is new, and tells meanwhile how far it is.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// # wal.append("orders", b"tea")?;
    /// let mut last = None;
    /// archiver.push_watched(Tails::Ship, &mut |progress| last = Some(progress))?;
    /// let last = last.ok_or("nothing was told")?;
    /// assert_eq!(last.bytes_done, last.bytes_total);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Archiver::push`].
    pub fn push_watched(
        &mut self,
        tails: Tails,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Pushed> {
        if let Some(manifest) = self.is_fenced {
            return Err(Error::Fenced { manifest });
        }
        for _ in 0..TRIES_MAX {
            self.archive.store.check_stop()?;
            // Before the log is looked at: what the archive holds then is never newer than that.
            let pushed = self.look().and_then(|found| {
                let held = Held::of(&self.storage, &self.root)?;
                self.push_held(&held, found, tails, watch)
            });
            match pushed {
                Ok(Some(pushed)) => return Ok(pushed),
                Ok(None) => {}
                // A segment was pruned while it was read; without a log, the next look says so.
                Err(Error::Log(ironwal::Error::Io(error)))
                    if error.kind() == io::ErrorKind::NotFound
                        && self.storage.list(&self.root).is_ok_and(|names| !names.is_empty()) => {}
                Err(error) => {
                    if let Error::Fenced { manifest } = error {
                        self.is_fenced = Some(manifest);
                    }
                    if !matches!(error, Error::Interrupted) {
                        // What was written last may be there or not.
                        self.newest = None;
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::Restless)
    }

    /// `None`: begin anew.
    fn push_held(
        &mut self,
        held: &Held,
        found: std::result::Result<Newest, u64>,
        tails: Tails,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<Option<Pushed>> {
        let log = format!("{:016x}", held.salt());
        let base = match found {
            Ok(newest) if newest.manifest.log != log => {
                let archived = newest.manifest.log;
                return Err(Error::OtherLog { archived, log });
            }
            Ok(newest) => newest,
            Err(number) => self.begin(&log, number)?,
        };
        self.newest = Some(base.clone());
        let planned = plan(&base.manifest, held.streams(), tails == Tails::Ship);
        let mut work = Work {
            held,
            base: &base.manifest,
            queue: VecDeque::new(),
            pushed: Pushed::default(),
            done: 0,
            total: to_read(&planned, held.streams()),
            looks_first: !self.is_clean,
            archiver: self,
            watch,
        };
        let Some(next) = work.write(planned, tails)? else { return Ok(None) };
        let mut pushed = std::mem::take(&mut work.pushed);
        let Some(next) = next else { return Ok(Some(pushed)) };
        if !held.is_still()? {
            return Ok(None);
        }
        pushed.gaps = new_gaps(&base.manifest, &next);
        let Some(number) = self.commit(next)? else { return Ok(None) };
        pushed.manifest = Some(number);
        self.clear_away(&base.manifest)?;
        Ok(Some(pushed))
    }

    /// The newest manifest, which this writer may go on from; or the number that the first one is to be above.
    fn look(&mut self) -> Result<std::result::Result<Newest, u64>> {
        if let Some(newest) = &self.newest {
            return Ok(Ok(newest.clone()));
        }
        let newest = match self.archive.find_newest()? {
            Ok(newest) => newest,
            Err(_) if self.epoch.is_some() => return Err(Error::NoArchive),
            Err(number) => return Ok(Err(number)),
        };
        let own = newest.manifest.writer == self.writer;
        match self.epoch {
            Some(epoch) if !own && newest.manifest.epoch != epoch => {
                return Err(Error::Fenced { manifest: newest.number });
            }
            // The manifest by which this one took it came to be after all.
            _ if own => self.epoch = Some(newest.manifest.epoch),
            _ => {}
        }
        Ok(Ok(newest))
    }

    /// Says of which log the archive is, and returns what stands for the manifest before the first one.
    fn begin(&self, log: &str, number: u64) -> Result<Newest> {
        let content = Identity::of(log).encode()?;
        let store = &self.archive.store;
        if store.create(names::IDENTITY, content.clone())? == Created::Before
            && store
                .get(names::IDENTITY)?
                .is_some_and(|it| it != content && content.starts_with(&it))
        {
            // Of the same log, and not whole: whoever was to write it was interrupted.
            store.replace(names::IDENTITY, content)?;
        }
        match self.archive.identity()? {
            Some(found) if found.log == log => {}
            Some(found) => return Err(Error::OtherLog { archived: found.log, log: log.into() }),
            None => return Err(Error::Missing { object: names::IDENTITY.into() }),
        }
        Ok(Newest { manifest: Manifest::nothing(log), sha256: String::new(), number })
    }

    /// Takes the archive, unless that has been done. `false`: somebody else was faster; begin anew.
    fn take(&mut self) -> Result<bool> {
        if self.epoch.is_some() {
            return Ok(true);
        }
        let Some(newest) = self.newest.clone() else { return Ok(false) };
        // Whoever does not refuse this would not keep others out.
        let content = Identity::of(&newest.manifest.log).encode()?;
        let store = &self.archive.store;
        if store.create(names::IDENTITY, content.clone())? == Created::Now
            && store.create(names::IDENTITY, content)? == Created::Now
        {
            return Err(Error::NoConditionalPut);
        }
        let epoch = newest.number + 1;
        let writer = self.writer.clone();
        let took = Manifest { epoch, writer, ..newest.manifest };
        match self.commit(took) {
            Ok(Some(_)) => {
                self.epoch = Some(epoch);
                Ok(true)
            }
            Ok(None) | Err(Error::Fenced { .. }) => {
                self.newest = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the manifest behind the newest one. `None`: one that this writer gave up had come to be after all,
    /// so begin anew.
    fn commit(&mut self, manifest: Manifest) -> Result<Option<u64>> {
        let Some(newest) = &self.newest else { return Ok(None) };
        let number = newest.number + 1;
        let is_first = newest.sha256.is_empty();
        let manifest = Manifest {
            number,
            previous: (!is_first).then(|| newest.sha256.clone()),
            time_ms: now_ms(),
            ..manifest
        };
        let content = manifest.encode()?;
        let name = names::manifest(number);
        let store = &self.archive.store;
        let created = store.create(&name, content.clone());
        let there = match created {
            Ok(Created::Now) => Some(content.clone()),
            Ok(Created::Before) => store.get(&name)?,
            // It may be there, all the same. If not, it may still come to be: the next push looks.
            Err(error @ Error::Store { .. }) => match store.get(&name) {
                Ok(Some(there)) => Some(there),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let Some(there) = there else { return Err(Error::Missing { object: name }) };
        if there != content {
            match Manifest::decode(&there) {
                // A part of our own, which nobody else can have begun.
                Err(Unreadable::CutShort) if content.starts_with(&there) => {
                    store.replace(&name, content.clone())?;
                }
                Ok(found) if found.writer == self.writer => {
                    self.newest = None;
                    return Ok(None);
                }
                _ => return Err(Error::Fenced { manifest: number }),
            }
        }
        self.newest = Some(Newest { manifest, sha256: sha256(&content), number });
        Ok(Some(number))
    }

    /// Deletes pieces of tails that no manifest needs from now on. Only this writer's, and those of writers
    /// before it, which cannot write manifests any more.
    fn clear_away(&mut self, before: &Manifest) -> Result<()> {
        let (Some(newest), Some(epoch)) = (&self.newest, self.epoch) else { return Ok(()) };
        let needed: BTreeSet<String> = newest.manifest.objects().collect();
        let mut old: BTreeSet<String> = before.objects().collect();
        if !self.is_clean {
            old.extend(self.archive.store.list(names::TAILS, None)?);
        }
        let is_ours = |name: &str| names::tail_epoch(name).is_some_and(|it| it <= epoch);
        for name in old.iter().filter(|name| is_ours(name) && !needed.contains(*name)) {
            self.archive.store.delete(name)?;
        }
        self.is_clean = true;
        Ok(())
    }
}

impl std::fmt::Debug for Archiver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Archiver")
            .field("root", &self.root)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A push that is under way.
struct Work<'a> {
    archiver: &'a mut Archiver,
    held: &'a Held,
    base: &'a Manifest,
    /// Objects that are being written, oldest first.
    queue: VecDeque<UnderWay<Result<()>>>,
    pushed: Pushed,
    done: u64,
    total: u64,
    /// Whether an earlier push that did not come to its end may have written the same.
    looks_first: bool,
    watch: &'a mut dyn FnMut(Progress),
}

impl Work<'_> {
    /// Writes what is new. `None`: begin anew; `Some(None)`: there is nothing new.
    #[expect(clippy::option_option, reason = "the two are what its caller tells apart")]
    fn write(&mut self, planned: Vec<Planned>, tails: Tails) -> Result<Option<Option<Manifest>>> {
        let mut streams = Vec::new();
        for Planned { mut stream, segments } in planned {
            for source in segments {
                stream.segments.push(match source {
                    Source::Archived(segment) => segment,
                    Source::Held { stream: nth, segment, before } => {
                        match self.write_segment(nth, segment, before)? {
                            Some(segment) => segment,
                            None => return Ok(None),
                        }
                    }
                });
            }
            streams.push(stream);
        }
        let root_file = self.held.root_file();
        let root = Piece::of(&root_file);
        let is_instant = tails == Tails::Ship;
        let is_same_root = self.base.root.as_ref().is_some_and(|it| it.is_like(&root));
        let is_same = streams == self.base.streams && is_same_root;
        // An archive of an empty log is one, too.
        if is_same && self.base.number > 0 && (!is_instant || self.base.is_instant) {
            return Ok(Some(None));
        }
        if !self.archiver.take()? {
            return Ok(None);
        }
        if !is_same_root {
            self.start_put(&names::root(&root.sha256), root_file.into())?;
        }
        while let Some(first) = self.queue.pop_front() {
            first.wait()?;
        }
        let (Some(epoch), writer) = (self.archiver.epoch, self.archiver.writer.clone()) else {
            return Ok(None);
        };
        Ok(Some(Some(Manifest {
            epoch,
            writer,
            is_instant,
            root: Some(root),
            streams,
            ..self.base.clone()
        })))
    }

    /// Reads a segment, and writes those of its pieces that are not there. `None`: begin anew.
    fn write_segment(
        &mut self,
        nth: usize,
        segment: usize,
        before: Option<Segment>,
    ) -> Result<Option<Segment>> {
        let held = self.held;
        let stream = &held.streams()[nth];
        let of = &stream.segments[segment];
        let mut cutter = Cutter { pieces: Vec::new(), buffer: Vec::new(), at: 0 };
        let mut failed = None;
        let mut is_lost = false;
        let known: Vec<(u64, Piece)> = before
            .iter()
            .flat_map(|it| it.objects(stream.number).map(|(at, _, piece)| (at, piece.clone())))
            .collect();
        let put = |this: &mut Self, at: u64, content: Vec<u8>| {
            let found = Piece::of(&content);
            this.has_read(found.len);
            let same = known.iter().find(|(old_at, old)| *old_at == at && old.is_like(&found));
            // The header does, and the end. What is between stays what it is.
            let changes = !of.is_full && content.len() < PIECE_LEN;
            if let Some((_, old)) = same
                && (old.epoch.is_none() || changes)
            {
                return Ok(Some(old.clone()));
            }
            if !this.archiver.take()? {
                return Ok(None);
            }
            let epoch = changes.then_some(this.archiver.epoch).flatten();
            let piece = Piece { epoch, ..found };
            let name = names::piece(stream.number, of.first_id, at, &piece);
            this.start_put(&name, content.into())?;
            Ok(Some(piece))
        };
        let read = held.read(nth, segment, &mut |bytes| {
            cutter.add(bytes, |at, content| {
                match put(self, at, content) {
                    Ok(Some(piece)) => return Ok(piece),
                    Ok(None) => is_lost = true,
                    Err(error) => failed = Some(error),
                }
                Err(io::Error::other("stopped"))
            })
        });
        if is_lost {
            return Ok(None);
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let content = read?;
        let (mut pieces, rest) = (cutter.pieces, cutter.buffer);
        if !rest.is_empty() {
            match put(self, cutter.at, rest)? {
                Some(piece) => pieces.push(piece),
                None => return Ok(None),
            }
        }
        self.pushed.segments += 1;
        Ok(Some(Segment {
            first_id: of.first_id,
            next_id: of.next_id,
            cut: of.cut,
            is_full: of.is_full,
            digest: of.digest,
            has_predecessor: of.has_predecessor,
            pieces,
            damaged: content.damaged.into_iter().map(Ids::from).collect(),
        }))
    }

    /// Begins to write an object; waits for the oldest one if there are many.
    fn start_put(&mut self, name: &str, content: Bytes) -> Result<()> {
        self.pushed.objects += 1;
        self.pushed.bytes += content.len() as u64;
        let store = &self.archiver.archive.store;
        let in_flight_max = store.patience().in_flight.max(1);
        while self.queue.len() >= in_flight_max {
            if let Some(first) = self.queue.pop_front() {
                first.wait()?;
            }
        }
        self.queue.push_back(store.put_data(name, content, self.looks_first));
        Ok(())
    }

    fn has_read(&mut self, len: u64) {
        self.done += len;
        let (bytes_done, bytes_total) = (self.done, self.total.max(self.done));
        (self.watch)(Progress { bytes_done, bytes_total });
    }
}

/// Cuts the bytes of a segment into pieces: the header, and pieces of equal length; or one piece of a small one.
struct Cutter {
    pieces: Vec<Piece>,
    buffer: Vec<u8>,
    /// Where the buffer begins.
    at: u64,
}

impl Cutter {
    fn add(
        &mut self,
        mut bytes: &[u8],
        mut put: impl FnMut(u64, Vec<u8>) -> io::Result<Piece>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            // Until it is known that it is not small, the buffer holds the header too.
            let len_max = if self.pieces.is_empty() { SMALL_LEN } else { PIECE_LEN };
            let (now, later) = bytes.split_at(bytes.len().min(len_max - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() < len_max {
                break;
            }
            if !self.pieces.is_empty() {
                self.put(&mut put)?;
            } else if !bytes.is_empty() {
                let behind = self.buffer.split_off(HEADER_LEN);
                self.put(&mut put)?;
                self.buffer = behind;
            }
        }
        Ok(())
    }

    fn put(&mut self, put: &mut impl FnMut(u64, Vec<u8>) -> io::Result<Piece>) -> io::Result<()> {
        let content = std::mem::take(&mut self.buffer);
        let len = content.len() as u64;
        let piece = put(self.at, content)?;
        self.pieces.push(piece);
        self.at += len;
        Ok(())
    }
}

/// How many bytes are to be read, about.
fn to_read(planned: &[Planned], held: &[HeldStream]) -> u64 {
    let len = |source: &Source| match source {
        Source::Archived(_) => 0,
        Source::Held { stream, segment, .. } => held[*stream].segments[*segment].len,
    };
    planned.iter().flat_map(|it| &it.segments).map(len).sum()
}

/// The gaps that the manifest before did not tell.
fn new_gaps(base: &Manifest, next: &Manifest) -> Vec<(String, Ids)> {
    let known = |number: u64, gap: &Ids| {
        base.streams.iter().any(|it| it.number == number && it.gaps.contains(gap))
    };
    let of = |stream: &crate::manifest::Stream| {
        let new = stream.gaps.iter().filter(|gap| !known(stream.number, gap));
        new.map(|gap| (stream.name.clone(), *gap)).collect::<Vec<_>>()
    };
    next.streams.iter().flat_map(of).collect()
}

/// By the clock of this machine, for people.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
