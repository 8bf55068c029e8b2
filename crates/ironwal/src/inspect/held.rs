//! What a log holds at one instant, segment by segment: for who keeps a copy of it elsewhere, piece by piece.

use std::ops::Range;
use std::path::Path;

use super::root::read_root;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{Constants, FirstKept, HEADER_LEN, Proof, Slot, SlotPlace};
use crate::format::root::Root;
use crate::log::recover::{Examined, examine};
use crate::options::WalOptions;
use crate::segment::Segment;
use crate::segment::reader::{DamageKind, ReadError};
use crate::storage::{self, OpenMode, Storage};
use crate::sync::Arc;
use crate::wal::Wal;
use crate::wal::instant::{At, Instant};

/// What a log holds at one instant, beside a process that writes to it.
///
/// See [`Held::of`] for an example.
pub struct Held {
    source: Wal,
    storage: Arc<dyn Storage>,
    instant: Instant,
    root: Root,
    streams: Vec<HeldStream>,
    readers: Vec<Vec<Arc<Segment>>>,
}

/// A stream at an instant.
///
/// ```
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use ironwal::inspect::Held;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(42));
/// # let memory = Environment::default().with_storage(Arc::clone(&disk));
/// # let environment = memory.with_maintenance(Maintenance::Inline);
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// let orders = wal.stream("orders/2026")?;
/// orders.append_batch(&[b"tea", b"coffee"])?;
/// orders.truncate_before(1)?;
/// let held = Held::of(&disk, Path::new("/log"))?;
/// let [stream] = held.streams() else { panic!("{held:?}") };
/// assert_eq!((&*stream.name, &*stream.dir), ("orders/2026", "orders%2F2026"));
/// assert_eq!(stream.ids, 1..2);
/// assert_eq!(stream.segments[0].first_id, 0); // it still has the bytes of what was pruned
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldStream {
    /// The name of the stream; of the checkpoints, `.checkpoints`, which no user's stream has.
    pub name: String,
    /// The name of its directory in the log.
    pub dir: String,
    /// The number of the stream, which no other stream of the log ever has: not one of the same name either
    /// that is made after this one is deleted.
    pub number: u64,
    /// The ids that could be read.
    pub ids: Range<u64>,
    /// Its segments, oldest first. Each begins where the one before it ends.
    pub segments: Vec<HeldSegment>,
}

/// A segment at an instant.
///
/// ```
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use ironwal::inspect::Held;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(42));
/// # let memory = Environment::default().with_storage(Arc::clone(&disk));
/// # let environment = memory.with_maintenance(Maintenance::Inline);
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// let orders = wal.stream("orders")?;
/// orders.append_batch(&[b"tea", b"coffee"])?;
/// orders.rotate()?;
/// orders.append(b"cake")?;
/// let held = Held::of(&disk, Path::new("/log"))?;
/// let [full, newest] = &held.streams()[0].segments[..] else { panic!("{held:?}") };
/// assert_eq!((full.first_id..full.next_id, newest.first_id..newest.next_id), (0..2, 2..3));
/// assert!(full.is_full && full.digest.is_some() && !full.has_predecessor);
/// assert!(!newest.is_full && newest.digest.is_none() && newest.has_predecessor);
/// # Ok::<(), ironwal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSegment {
    /// The id of its first entry.
    pub first_id: u64,
    /// The id behind its last entry at that instant.
    pub next_id: u64,
    /// Its size in bytes, about.
    pub len: u64,
    /// How often the stream had been cut when the segment was made. Of two segments with the same first id
    /// the one with the higher number is the newer one.
    pub cut: u64,
    /// Whether it is full: sealed, and never appended to again.
    pub is_full: bool,
    /// The checksum of all its frames, if it is full.
    pub digest: Option<u32>,
    /// Whether entries came before it when it was made.
    pub has_predecessor: bool,
}

/// What [`Held::read`] found in a segment.
///
/// See [`Held::read`] for an example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HeldContent {
    /// The ids of entries that are damaged, or marked as lost.
    pub damaged: Vec<Range<u64>>,
}

impl Held {
    /// Looks at the log in `root`: what is in it is that of one instant after the call, over all streams.
    /// Takes no lock and changes nothing. Blocks on the disk, but reads no entries.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ironwal::inspect::Held;
    /// use ironwal::storage::{RealDisk, Storage};
    /// use ironwal::{Wal, WalOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let wal = Wal::new(WalOptions::new(path))?;
    /// wal.append_batch("orders", &[b"tea", b"coffee"])?;
    ///
    /// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
    /// let held = Held::of(&disk, path)?;
    /// let [orders] = held.streams() else { panic!() };
    /// assert_eq!((&*orders.name, orders.ids.clone()), ("orders", 0..2));
    /// let mut copy = Vec::new();
    /// held.read(0, 0, &mut |bytes| Ok(copy.extend_from_slice(bytes)))?;
    /// assert!(copy.len() > 8192);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: the writer does not tell other processes what is committed, or commits without a
    ///   pause for ten seconds. Try again.
    /// - [`Error::Damaged`], [`Error::Corruption`]: a header or the root file is lost: repair the log first.
    /// - [`Error::Io`] of the kind `NotFound`: there is no log; or segments were pruned meanwhile: try again.
    ///   [`Error::UnsupportedVersion`], [`Error::LegacyDirectory`], [`Error::Io`].
    pub fn of(storage: &Arc<dyn Storage>, root: &Path) -> Result<Self> {
        let environment = Environment::default().with_storage(Arc::clone(storage));
        let source = Wal::open_read_only_with(WalOptions::new(root), environment)?;
        let instant = source.instant()?;
        let Some(content) = read_root(&**storage, root)? else {
            let root = root.display();
            return Err(Error::Corruption(format!("the root file of {root} cannot be read")));
        };
        let storage = Arc::clone(storage);
        let (streams, readers) = (Vec::new(), Vec::new());
        let mut held = Self { source, storage, instant, root: content, streams, readers };
        held.look()?;
        Ok(held)
    }

    /// The streams, sorted by name. Those of which nothing is there yet are not among them.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::inspect::Held;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(42));
    /// # let memory = Environment::default().with_storage(Arc::clone(&disk));
    /// # let environment = memory.with_maintenance(Maintenance::Inline);
    /// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// let bills = wal.stream("bills")?;
    /// wal.append("orders", b"tea")?;
    /// let held = Held::of(&disk, Path::new("/log"))?;
    /// let names: Vec<&str> = held.streams().iter().map(|stream| &*stream.name).collect();
    /// assert_eq!(names, ["orders"]); // nothing was ever appended to the other one
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    pub fn streams(&self) -> &[HeldStream] {
        &self.streams
    }

    /// The bytes of the root file.
    ///
    /// See [`keep_from_oldest`](super::keep_from_oldest) for an example.
    pub fn root_file(&self) -> Vec<u8> {
        self.root.encode()
    }

    /// The number that tells this log from others: copies of one log have the same.
    ///
    /// ```
    /// use ironwal::inspect::{Held, backup};
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    ///
    /// # let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(42));
    /// # let memory = Environment::default().with_storage(Arc::clone(&disk));
    /// # let environment = memory.with_maintenance(Maintenance::Inline);
    /// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// # wal.append("orders", b"tea")?;
    /// let (log, copy) = (Path::new("/log"), Path::new("/copy"));
    /// backup(&disk, log, copy)?;
    /// assert_eq!(Held::of(&disk, log)?.salt(), Held::of(&disk, copy)?.salt());
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    pub fn salt(&self) -> u64 {
        self.root.salt
    }

    /// Whether nothing but appending and pruning has happened to any of the streams since. Otherwise what
    /// [`Held::read`] returned is of no instant.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::inspect::Held;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(42));
    /// # let memory = Environment::default().with_storage(Arc::clone(&disk));
    /// # let environment = memory.with_maintenance(Maintenance::Inline);
    /// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// wal.append_batch("orders", &[b"tea", b"coffee"])?;
    /// let held = Held::of(&disk, Path::new("/log"))?;
    /// wal.append("orders", b"cake")?;
    /// assert!(held.is_still()?);
    /// wal.stream("orders")?.truncate_after(Some(0))?;
    /// assert!(!held.is_still()?);
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn is_still(&self) -> Result<bool> {
        self.instant.is_still()
    }

    /// Hands on the bytes of a segment as it was at the instant: as a file that a stream could have, also of
    /// what only the journal has by now. `stream` and `segment` are places in [`Held::streams`]. The same
    /// entries in the same segment are the same bytes whenever it is read, but for an unfinished batch at the
    /// end. The header says that nothing was pruned: see [`keep_from_oldest`](super::keep_from_oldest).
    ///
    /// Blocks on the disk while all of it is read, twice.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use std::sync::Arc;
    /// # use ironwal::inspect::Held;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # use ironwal::{Environment, Wal, WalOptions};
    /// # let disk = SimDisk::new(42);
    /// # let environment = Environment::default().with_storage(Arc::new(disk.clone()));
    /// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// # wal.append("orders", b"tea")?;
    /// # wal.append("orders", b"coffee")?;
    /// # wal.close()?;
    /// disk.overwrite(Path::new("/log/orders/00000000000000000000.wal"), 8192 + 24, b"T")?; // rot
    /// let disk: Arc<dyn Storage> = Arc::new(disk);
    /// let held = Held::of(&disk, Path::new("/log"))?;
    /// let mut copy = Vec::new();
    /// let content = held.read(0, 0, &mut |bytes| Ok(copy.extend_from_slice(bytes)))?;
    /// assert_eq!(content.damaged, [0..1]);
    /// assert_eq!(copy[8192 + 24..][..3], *b"Tea"); // the bytes are handed on as they are
    /// # Ok::<(), ironwal::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Io`] of the kind `NotFound`: it was pruned meanwhile, or there is no such segment.
    /// - [`Error::Damaged`]: where the segment ends is lost. Damage elsewhere is told in what is returned.
    /// - What `each` returns; [`Error::Io`].
    pub fn read(
        &self,
        stream: usize,
        segment: usize,
        each: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<HeldContent> {
        let not_there = || Error::Io(std::io::ErrorKind::NotFound.into());
        let of = self.streams.get(stream).ok_or_else(not_there)?;
        let held = of.segments.get(segment).ok_or_else(not_there)?;
        let reader = &self.readers[stream][segment];
        let at = self.at(of).ok_or_else(not_there)?;
        let log = at.log();
        let Some(found) = self.examine(reader)? else {
            return Err(log.damaged(&reader.all_damaged(DamageKind::Header)));
        };
        let seed = SegmentSeed::new(self.root.salt, of.number, held.first_id);
        let before = reader.before(held.next_id, seed).map_err(|error| log.read_error(error))?;
        let is_full = held.is_full && found.is_sealed;
        // Where a full one ends, its seal says, whatever became of its frames.
        let proof = if is_full { found.end } else { before.proof };
        let slot = canonical(found.slot.constants, proof);
        each(&header(slot))?;
        let last_frame = if is_full { &[][..] } else { &before.last_frame };
        let frames_end = proof.synced_to - last_frame.len() as u64;
        let mut reached = HEADER_LEN;
        let read = reader.frames_below(
            frames_end,
            |bytes, offset| -> std::result::Result<(), ReadError> {
                reached = offset + bytes.len() as u64;
                each(bytes).map_err(ReadError::Io)
            },
        );
        read.map_err(|error| log.read_error(error))?;
        if reached < frames_end {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        each(last_frame)?;
        if is_full {
            let file = self.storage.open(reader.path(), OpenMode::Read)?;
            storage::read_pieces(&*file, frames_end, u64::MAX, |bytes, _| each(bytes))?;
        }
        Ok(HeldContent { damaged: before.damaged })
    }

    fn at(&self, stream: &HeldStream) -> Option<&At> {
        self.instant.streams.iter().find(|at| at.log().number() == Some(stream.number))
    }

    fn examine(&self, segment: &Segment) -> Result<Option<Examined>> {
        let path = segment.path().to_path_buf();
        examine(&*self.storage, path, segment.first_id(), self.root.salt)
    }

    fn look(&mut self) -> Result<()> {
        for at in &self.instant.streams {
            let log = at.log();
            let Some(number) = log.number() else { continue };
            log.refresh()?;
            let ends_before = |segment: &&Arc<Segment>| segment.first_id() <= at.ids.end;
            let mut readers: Vec<_> =
                log.segments().iter().filter(ends_before).map(Arc::clone).collect();
            if readers.len() > 1 && readers.last().is_some_and(|it| it.first_id() == at.ids.end) {
                readers.pop();
            }
            let mut segments = Vec::new();
            for (nth, reader) in readers.iter().enumerate() {
                let next = readers.get(nth + 1).map_or(at.ids.end, |next| next.first_id());
                let Some(found) = self.examine(reader)? else {
                    return Err(log.damaged(&reader.all_damaged(DamageKind::Header)));
                };
                // One that was filled up since the instant was not full then.
                let is_full = found.is_sealed && found.end.next_id == next;
                let constants = found.slot.constants;
                segments.push(HeldSegment {
                    first_id: reader.first_id(),
                    next_id: next,
                    len: reader.end(),
                    cut: constants.cut_number,
                    is_full,
                    digest: is_full.then_some(found.end.digest),
                    has_predecessor: constants.predecessor_end > 0,
                });
            }
            let dir = log.dir().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (name, ids) = (log.name().to_string(), at.ids.clone());
            self.streams.push(HeldStream { name, dir, number, ids, segments });
            self.readers.push(readers);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, streams, .. } = self;
        formatter
            .debug_struct("Held")
            .field("source", source)
            .field("streams", streams)
            .finish_non_exhaustive()
    }
}

/// A slot by which nothing was pruned.
fn canonical(constants: Constants, proof: Proof) -> Slot {
    Slot { constants, proof, first_kept: FirstKept::default() }
}

/// The header of a segment, with the same in both slots.
fn header(slot: Slot) -> Vec<u8> {
    let encoded = slot.encode();
    let zeros = SlotPlace::Second.offset() - SlotPlace::First.offset() - encoded.len() as u64;
    let block: Vec<u8> = encoded.into_iter().chain((0..zeros).map(|_| 0)).collect();
    block.repeat(2)
}
