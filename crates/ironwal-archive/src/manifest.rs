//! Manifests: what the archive holds, and who wrote it. `docs/archive-format.md` is the page to it.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::names;

/// The newest version of the format that this library reads, and the one that it writes.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{ARCHIVE_VERSION, Archive, Archiver, Tails};
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
/// archiver.push(Tails::Ship)?;
/// assert_eq!(archive.newest()?.map(|manifest| manifest.version), Some(ARCHIVE_VERSION));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const ARCHIVE_VERSION: u32 = 1;

/// What an archive holds as of one push. Each has the number behind the one before it, and is created only if
/// there is none of that number: so two writers cannot both go on from the same one.
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
/// wal.append("orders", b"tea")?;
/// archiver.push(Tails::Ship)?;
/// wal.append("orders", b"jam")?;
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// // The third one, of the writer that took the archive with the first one.
/// assert_eq!((newest.number, newest.epoch), (3, 1));
/// assert!(newest.is_instant && newest.previous.is_some());
/// assert_eq!(newest.streams.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the format.
    pub version: u32,
    /// Counts from 1, without gaps.
    pub number: u64,
    /// Who wrote it: the number of the manifest with which this writer took the archive.
    pub epoch: u64,
    /// Drawn at random by the writer, so that it knows its own.
    pub writer: String,
    /// The SHA-256 of the manifest before this one, as it is in the store.
    pub previous: Option<String>,
    /// The log: the salt of its root file, in hexadecimal digits.
    pub log: String,
    /// When it was written, in milliseconds since the Unix epoch, by the clock of the writer.
    pub time_ms: u64,
    /// Whether it holds one instant over all streams. Otherwise each stream is as of its last full segment, and
    /// may be ahead of others.
    pub is_instant: bool,
    /// The root file of the log.
    pub root: Option<Piece>,
    /// The streams, in the order of their numbers.
    pub streams: Vec<Stream>,
}

/// A stream in the archive.
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
/// wal.append_batch("orders", &[b"tea", b"jam"])?;
/// archiver.push(Tails::Ship)?;
/// wal.delete_stream("orders")?;
/// wal.append("orders", b"another life")?;
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// let [before, now] = &newest.streams[..] else { panic!("{newest:?}") };
/// assert!(before.is_deleted && !now.is_deleted);
/// assert!(before.name == now.name && before.number < now.number);
/// assert_eq!((before.ids(), now.ids()), (0..2, 0..1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stream {
    /// Its name; `.checkpoints` is the log of checkpoints.
    pub name: String,
    /// The name of its directory in the log.
    pub dir: String,
    /// Its number, which tells it from others that had, or will have, its name.
    pub number: u64,
    /// Whether it was not in the log any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_deleted: bool,
    /// Its segments, oldest first.
    pub segments: Vec<Segment>,
    /// What is missing between or before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Ids>,
    /// What earlier manifests hold in another version, because it was cut off in the log or lost there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Replaced>,
}

/// A segment in the archive.
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
/// // Of ten entries, four to a segment.
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// let segments = newest.streams[0].segments.iter();
/// let told: Vec<_> = segments.map(|it| (it.first_id, it.next_id, it.is_full)).collect();
/// assert_eq!(told, [(0, 4, true), (4, 8, true), (8, 10, false)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Segment {
    /// The id of its first entry.
    pub first_id: u64,
    /// The id behind its last entry.
    pub next_id: u64,
    /// How often the stream had been cut when the segment was made.
    pub cut: u64,
    /// Whether it is full; otherwise it is the beginning of one, up to some instant.
    pub is_full: bool,
    /// The checksum of its frames, if it is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<u32>,
    /// Whether entries came before it when it was made.
    pub has_predecessor: bool,
    /// Its bytes.
    pub pieces: Vec<Piece>,
    /// Entries in it that were damaged in the log, or marked as lost there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Ids>,
}

/// An object with a part of a segment, or of the root file.
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
/// // Of ten entries, four to a segment.
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// let segments = &newest.streams[0].segments;
/// // Full segments stay as they are; the last one is to grow, and says who wrote it.
/// assert_eq!(segments[0].pieces[0].epoch, None);
/// assert_eq!(segments[2].pieces[0].epoch, Some(newest.epoch));
/// assert_eq!(segments[0].pieces[0].sha256.len(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Piece {
    /// Its size in bytes.
    pub len: u64,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// Who wrote it, if it is replaced when the segment grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Ids from one to before another one.
///
/// ```
/// use ironwal_archive::Ids;
///
/// let gap = Ids::from(6..12);
/// assert_eq!((gap.from, gap.to), (6, 12)); // the last one is 11
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ids {
    /// The first one.
    pub from: u64,
    /// The one behind the last.
    pub to: u64,
}

/// A segment that an earlier manifest held in another version.
///
/// ```
/// # use std::sync::Arc;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal::storage::SimDisk;
/// # use ironwal_archive::{Archive, Archiver, Ids, Tails};
/// # use object_store::memory::InMemory;
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
/// # let wal = Wal::open_with(options, environment)?;
/// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
/// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
/// # for _ in 0..3 {
/// #     wal.append("orders", b"tea")?;
/// # }
/// archiver.push(Tails::Ship)?; // the entries 0 to 2
/// wal.stream("orders")?.truncate_after(Some(0))?;
/// wal.append("orders", b"jam")?;
/// archiver.push(Tails::Ship)?;
/// let newest = archive.newest()?.ok_or("there is no archive")?;
/// let [replaced] = &newest.streams[0].replaced[..] else { panic!("{newest:?}") };
/// assert_eq!(replaced.ids, Ids::from(0..3));
/// // What was cut off in the log is still in the archive.
/// let older = archive.manifest(replaced.manifest)?.ok_or("it is not there")?;
/// assert_eq!(older.streams[0].ids(), 0..3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replaced {
    /// The ids that it had.
    pub ids: Ids,
    /// Its cut.
    pub cut: u64,
    /// The newest manifest that holds it.
    pub manifest: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !value
}

impl From<Range<u64>> for Ids {
    fn from(ids: Range<u64>) -> Self {
        Self { from: ids.start, to: ids.end }
    }
}

impl Piece {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self { len: content.len() as u64, sha256: sha256(content), epoch: None }
    }

    /// Whether it has the same content.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.len, &self.sha256) == (other.len, &other.sha256)
    }
}

impl Segment {
    /// Its size in bytes.
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
    /// archiver.push(Tails::Ship)?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// let segment = &newest.streams[0].segments[0];
    /// // The file, with its header, and not only its three bytes of entries.
    /// assert!(segment.len() > 8192 && !segment.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len).sum()
    }

    /// Whether it has no bytes; none is so.
    ///
    /// See [`Segment::len`] for an example.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Its pieces, with their offsets in it and the names of their objects.
    pub(crate) fn objects(&self, stream: u64) -> impl Iterator<Item = (u64, String, &Piece)> {
        let mut at = 0;
        self.pieces.iter().map(move |piece| {
            let offset = at;
            at += piece.len;
            (offset, names::piece(stream, self.first_id, offset, piece), piece)
        })
    }
}

impl Stream {
    /// The ids from its oldest segment to the end of its newest one; [`Stream::gaps`] says what is missing.
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
    /// wal.truncate("orders", 8)?; // of ten entries
    /// archiver.push(Tails::Ship)?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// // What the log had forgotten by then was never pushed.
    /// assert_eq!(newest.streams[0].ids(), 8..10);
    /// assert_eq!(newest.streams[0].gaps, [(0..8).into()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ids(&self) -> Range<u64> {
        let first = self.segments.first().map_or(0, |segment| segment.first_id);
        first..self.segments.last().map_or(first, |segment| segment.next_id)
    }

    /// The segment with an entry.
    pub(crate) fn segment_with(&self, id: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.first_id <= id && id < segment.next_id)
    }

    /// The gap that an id is in.
    pub(crate) fn gap_with(&self, id: u64) -> Option<Range<u64>> {
        let gap = self.gaps.iter().find(|gap| gap.from <= id && id < gap.to)?;
        Some(gap.from..gap.to)
    }
}

impl Manifest {
    /// What stands for the one before the first one.
    pub(crate) fn nothing(log: &str) -> Self {
        Self {
            version: ARCHIVE_VERSION,
            number: 0,
            epoch: 0,
            writer: String::new(),
            previous: None,
            log: log.into(),
            time_ms: 0,
            is_instant: false,
            root: None,
            streams: Vec::new(),
        }
    }

    /// The stream of this name that is in the log; or, without one, the one that was deleted last.
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
    /// archiver.push(Tails::Ship)?;
    /// wal.delete_stream("orders")?;
    /// archiver.push(Tails::Ship)?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// // It can be restored by its name.
    /// assert!(newest.stream("orders").is_some_and(|stream| stream.is_deleted));
    /// assert_eq!(newest.stream("nobody's"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        let mut named = self.streams.iter().filter(|stream| stream.name == name);
        let newest = named.clone().next_back();
        named.find(|stream| !stream.is_deleted).or(newest)
    }

    /// The bytes of all that it holds.
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
    /// archiver.push(Tails::Ship)?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// assert_eq!(newest.len(), newest.streams[0].segments[0].len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> u64 {
        self.streams.iter().flat_map(|stream| &stream.segments).map(Segment::len).sum()
    }

    /// Whether it holds no segment.
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
    /// archiver.push(Tails::Ship)?;
    /// // With the first one, the archiver only took the archive.
    /// assert!(archive.manifest(1)?.is_some_and(|manifest| manifest.is_empty()));
    /// assert!(archive.manifest(2)?.is_some_and(|manifest| !manifest.is_empty()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| stream.segments.is_empty())
    }

    /// The names of all objects that it needs.
    pub(crate) fn objects(&self) -> impl Iterator<Item = String> {
        let of = |stream: &Stream| {
            let number = stream.number;
            let names = stream.segments.iter().flat_map(move |it| it.objects(number));
            names.map(|(_, name, _)| name).collect::<Vec<_>>()
        };
        self.streams.iter().flat_map(of)
    }

    /// Its object.
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let text = serde_json::to_string_pretty(self).map_err(unwritable)?;
        let sha256 = sha256(text.as_bytes());
        let manifest = RawValue::from_string(text).map_err(unwritable)?;
        let mut bytes = serde_json::to_vec(&Envelope { manifest, sha256 }).map_err(unwritable)?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    /// The manifest in an object.
    pub(crate) fn decode(bytes: &[u8]) -> std::result::Result<Self, Unreadable> {
        let unreadable = |error: serde_json::Error| match error.is_eof() {
            true => Unreadable::CutShort,
            false => Unreadable::Damaged(error.to_string()),
        };
        let Envelope { manifest, sha256: stored } =
            serde_json::from_slice(bytes).map_err(unreadable)?;
        if sha256(manifest.get().as_bytes()) != stored {
            return Err(Unreadable::Damaged("its SHA-256 is not the one that it names".into()));
        }
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let Version { version } = serde_json::from_str(manifest.get()).map_err(damaged)?;
        if version > ARCHIVE_VERSION {
            return Err(Unreadable::Newer(version));
        }
        serde_json::from_str(manifest.get()).map_err(damaged)
    }
}

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its end is missing: the write that was to make it did not come to an end, and nobody was told that it
    /// had.
    CutShort,
    Newer(u32),
    Damaged(String),
}

impl Unreadable {
    pub(crate) fn of(self, number: u64) -> Error {
        let object = names::manifest(number);
        match self {
            Self::Newer(found) => Error::Version { found, supported: ARCHIVE_VERSION },
            Self::CutShort => Error::Damaged { object, reason: "its end is missing".into() },
            Self::Damaged(reason) => Error::Damaged { object, reason },
        }
    }
}

/// What stands in the object: the digest is over the text of the manifest, as it is.
#[derive(Serialize, Deserialize)]
struct Envelope {
    manifest: Box<RawValue>,
    sha256: String,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What says of which log an archive is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) log: String,
}

impl Identity {
    pub(crate) const FORMAT: &str = "ironwal-archive";

    pub(crate) fn of(log: &str) -> Self {
        Self { format: Self::FORMAT.into(), version: ARCHIVE_VERSION, log: log.into() }
    }

    pub(crate) fn encode(&self) -> Result<Bytes> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(unwritable)?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }
}

/// Numbers and strings can be written.
fn unwritable(error: serde_json::Error) -> Error {
    Error::Config(format!("a manifest cannot be written: {error}"))
}

/// In hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // A string takes everything.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let piece = Piece::of(b"abc");
        let segment = Segment {
            first_id: 5,
            next_id: 9,
            cut: 1,
            is_full: true,
            digest: Some(7),
            has_predecessor: true,
            pieces: vec![piece.clone(), Piece { epoch: Some(3), ..piece.clone() }],
            damaged: vec![(6..7).into()],
        };
        let stream = Stream {
            name: "orders".into(),
            dir: "orders".into(),
            number: 4,
            is_deleted: false,
            segments: vec![segment],
            gaps: vec![(0..5).into()],
            replaced: vec![Replaced { ids: (5..8).into(), cut: 0, manifest: 2 }],
        };
        Manifest {
            version: ARCHIVE_VERSION,
            number: 3,
            epoch: 2,
            writer: "00ff".into(),
            previous: Some("ab".into()),
            log: "0123456789abcdef".into(),
            time_ms: 1,
            is_instant: true,
            root: Some(piece),
            streams: vec![stream],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let manifest = manifest();
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    #[test]
    fn every_flipped_bit_and_every_missing_end_is_noticed() {
        let bytes = manifest().encode().unwrap();
        let text_end = bytes.len() - 1; // The last byte is the end of the line.
        for at in 0..text_end {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                assert!(Manifest::decode(&changed).is_err(), "byte {at}, bit {bit}");
            }
            let cut = Manifest::decode(&bytes[..at]);
            assert_eq!(cut, Err(Unreadable::CutShort), "{at} bytes");
        }
    }

    #[test]
    fn a_newer_version_is_not_damage() {
        let newer = Manifest { version: ARCHIVE_VERSION + 1, ..manifest() };
        let decoded = Manifest::decode(&newer.encode().unwrap());
        assert_eq!(decoded, Err(Unreadable::Newer(ARCHIVE_VERSION + 1)));
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
