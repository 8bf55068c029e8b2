//! One file, structure by structure, whatever its bytes are.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::format::checksum::{self, SegmentSeed};
use crate::format::fields::{u16_at, u32_at, u64_at};
use crate::format::frame::{FRAME_HEADER_LEN, Fault, Frame};
use crate::format::header::{HEADER_LEN, SLOT_LEN, Slot};
use crate::format::journal::JOURNAL_HEADER_LEN;
use crate::format::journal::frame::JOURNAL_FRAME_HEADER_LEN;
use crate::format::journal::header::{JOURNAL_SLOT_LEN, JournalHeader};
use crate::format::journal::scan::{Found, FoundFrame, scan};
use crate::format::root::{COPY_LEN, ROOT_LEN, Root};
use crate::format::scan::{Extent, Scanner, Source, Step};
use crate::format::seal::{POINT_LEN, SEAL_BYTES, SEAL_LEN, Seal};
use crate::format::{BLOCK_LEN, FORMAT_VERSION, Unreadable};
use crate::log::recover::journal::NAMES as JOURNAL_NAMES;
use crate::segment::reader::read_seal;
use crate::segment::source::{FileSource, Handle};
use crate::segment::walk::WALK_READ_LEN;
use crate::segment::{RENAMED_PREFIX, first_id_of};
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::Arc;
use crate::wal::root::ROOT_NAME;

/// What a structure is.
///
/// See [`Dump`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// One of the two copies in the root file.
    RootCopy,
    /// One of the two slots of a segment's header.
    Slot,
    /// A frame of entries.
    Frame,
    /// A mark that entries are lost.
    LossFrame,
    /// The sparse index of a full segment.
    Points,
    /// The end of a full segment.
    Seal,
    /// One of the two slots in the header of a file of the journal.
    JournalSlot,
    /// A frame of the journal.
    JournalFrame,
    /// Nothing but zeros.
    Zeros,
    /// Bytes that are none of these.
    Bytes,
}

/// What a structure is worth.
///
/// See [`Structure`] for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Validity {
    /// It is whole.
    Valid,
    /// This version of the format is newer than the library's.
    Newer(u32),
    /// It is not, or is nothing that the format knows.
    Invalid,
}

/// A structure in a file of the log. `docs/format.md` says what the fields mean.
///
/// ```
/// use ironwal::inspect::{Kind, Structure, Validity, dump};
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Wal, WalOptions};
///
/// # let disk = SimDisk::new(42);
/// # let environment = Environment::default().with_storage(Arc::new(disk.clone()));
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// # wal.append("orders", b"tea")?;
/// # wal.append("orders", b"coffee")?;
/// # wal.close()?;
/// let file = Path::new("/log/orders/00000000000000000000.wal");
/// disk.overwrite(file, 8192 + 24, b"T")?; // the first frame begins at 8192, its entry 24 bytes on
/// let disk: Arc<dyn Storage> = Arc::new(disk);
/// let structures = dump(&disk, file)?.collect::<Result<Vec<Structure>, _>>()?;
/// let frames: Vec<_> = structures.iter().filter(|it| it.kind == Kind::Frame).collect();
/// assert_eq!((frames[0].validity, frames[0].ids.clone()), (Validity::Invalid, 0..1));
/// assert_ne!(frames[0].stored, frames[0].computed);
/// assert_eq!((frames[1].validity, frames[1].ids.clone()), (Validity::Valid, 1..2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Structure {
    /// What it is.
    pub kind: Kind,
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its bytes, padding included.
    pub len: u64,
    /// What it is worth.
    pub validity: Validity,
    /// The ids of its entries; of bytes that are no frame, those that are missing there.
    pub ids: Range<u64>,
    /// Its fields by the names that the format gives them, in their order.
    pub fields: Vec<(&'static str, u64)>,
    /// The checksum that is stored in it.
    pub stored: Option<u32>,
    /// The checksum of the bytes that are there.
    pub computed: Option<u32>,
}

impl Structure {
    fn new(kind: Kind, offset: u64, len: u64, validity: Validity) -> Self {
        let (fields, stored, computed) = (Vec::new(), None, None);
        Self { kind, offset, len, validity, ids: 0..0, fields, stored, computed }
    }

    /// One that ends with its checksum.
    fn ending(kind: Kind, offset: u64, bytes: &[u8], decoded: Option<Unreadable>) -> Self {
        let validity = match decoded {
            None => Validity::Valid,
            Some(Unreadable::Newer(version)) => Validity::Newer(version),
            Some(_) => Validity::Invalid,
        };
        let mut structure = Self::new(kind, offset, bytes.len() as u64, validity);
        if let Some(at) = bytes.len().checked_sub(4) {
            structure.stored = Some(u32_at(bytes, at));
            structure.computed = Some(checksum::of(&bytes[..at]));
        }
        structure
    }
}

/// The structures of one file, in the order of their offsets. They cover the file, but for the zeros that
/// fill up the blocks of headers.
///
/// ```
/// use ironwal::inspect::{Dump, Kind, dump};
/// # use std::path::Path;
/// # use std::sync::Arc;
/// # use ironwal::storage::{SimDisk, Storage};
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
///
/// # let disk = SimDisk::new(42);
/// # let memory = Environment::default().with_storage(Arc::new(disk.clone()));
/// # let environment = memory.with_maintenance(Maintenance::Inline);
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// wal.append("orders", b"tea")?;
/// wal.stream("orders")?.rotate()?;
/// # let disk: Arc<dyn Storage> = Arc::new(disk);
/// let full: Dump = dump(&disk, Path::new("/log/orders/00000000000000000000.wal"))?;
/// let kinds = full.map(|structure| Ok(structure?.kind)).collect::<ironwal::Result<Vec<Kind>>>()?;
/// assert_eq!(kinds, [Kind::Slot, Kind::Slot, Kind::Frame, Kind::Points, Kind::Seal]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dump {
    ready: VecDeque<Structure>,
    frames: Option<Frames>,
}

/// The frames of a segment, which are read as they are asked for.
#[derive(Debug)]
struct Frames {
    file: Arc<dyn File>,
    source: FileSource,
    scanner: Scanner,
    first_id: u64,
    limit: u64,
    /// What stands behind them.
    behind: Vec<Structure>,
}

/// The structures of a segment, a file of the journal, or the root file: which it is, its name says, or its
/// first bytes. A frame is valid under the salt, the stream and the first id that the file's own header or
/// seal names; without either, everything behind the header is [`Kind::Bytes`].
///
/// The root file and the journal are read by this call, segments as the structures are asked for.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::inspect::{Kind, dump};
/// use ironwal::storage::{RealDisk, Storage};
/// # use ironwal::{Wal, WalOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// # let wal = Wal::new(WalOptions::new(path))?;
/// # wal.append_batch("orders", &[b"tea", b"coffee"])?;
/// # wal.close()?;
/// let disk: Arc<dyn Storage> = Arc::new(RealDisk);
/// let structures = dump(&disk, &path.join("orders/00000000000000000000.wal"))?;
/// let structures = structures.collect::<Result<Vec<_>, _>>()?;
/// let kinds: Vec<Kind> = structures.iter().map(|structure| structure.kind).collect();
/// assert_eq!(kinds, [Kind::Slot, Kind::Slot, Kind::Frame]);
/// assert_eq!((structures[2].offset, structures[2].ids.clone()), (8192, 0..2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// - [`Error::Io`]: the disk.
/// - [`Error::Config`]: the file is none of these.
pub fn dump(storage: &Arc<dyn Storage>, file: &Path) -> Result<Dump> {
    let handle = storage.open(file, OpenMode::Read)?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = name.strip_suffix(".tmp").unwrap_or(name);
    let plain = plain.strip_prefix(RENAMED_PREFIX).unwrap_or(plain);
    let start = read(&*handle, 0, SLOT_LEN)?;
    let first_id = first_id_of(plain.as_ref());
    let is_segment = first_id.is_some() || start.starts_with(b"IRONWSEG");
    if plain == ROOT_NAME {
        root(&*handle)
    } else if JOURNAL_NAMES.contains(&plain) {
        journal(&handle)
    } else if is_segment {
        segment(handle, first_id)
    } else if start.starts_with(b"IRONWALJ") {
        journal(&handle)
    } else if start.starts_with(b"IRONWAL\0") {
        root(&*handle)
    } else {
        Err(Error::Config(format!("{} is no file of a log", file.display())))
    }
}

fn read(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let filled = storage::read_up_to(file, &mut bytes, offset)?;
    bytes.truncate(filled);
    Ok(bytes)
}

fn root(file: &dyn File) -> Result<Dump> {
    let bytes = read(file, 0, ROOT_LEN)?;
    let mut ready = VecDeque::new();
    for offset in [0, ROOT_LEN / 2] {
        let rest = bytes.get(offset..).unwrap_or_default();
        let copy = &rest[..rest.len().min(COPY_LEN)];
        let mut structure =
            Structure::ending(Kind::RootCopy, offset as u64, copy, Root::decode(copy).err());
        if copy.len() == COPY_LEN {
            structure.fields = vec![
                ("version", u32_at(copy, 8).into()),
                ("shards", u16_at(copy, 12).into()),
                ("routing", u16_at(copy, 14).into()),
                ("salt", u64_at(copy, 16)),
                ("numbers end", u64_at(copy, 24)),
            ];
        }
        ready.push_back(structure);
    }
    Ok(Dump { ready, frames: None })
}

fn journal(file: &Arc<dyn File>) -> Result<Dump> {
    let len = file.len()?;
    let mut ready = VecDeque::new();
    let mut headers = Vec::new();
    for offset in [0, BLOCK_LEN] {
        let slot = read(&**file, offset, JOURNAL_SLOT_LEN)?;
        let salt = slot.get(16..24).map_or(0, |salt| u64_at(salt, 0));
        let header = JournalHeader::decode(&slot, salt);
        let mut structure = Structure::ending(Kind::JournalSlot, offset, &slot, header.err());
        if slot.len() == JOURNAL_SLOT_LEN {
            structure.fields = vec![
                ("version", u32_at(&slot, 8).into()),
                ("salt", salt),
                ("generation", u64_at(&slot, 24)),
                ("closed", slot[32].into()),
            ];
        }
        ready.push_back(structure);
        headers.push(header);
    }
    let mut at = JOURNAL_HEADER_LEN;
    if let Ok(header) = JournalHeader::merge(headers[0], headers[1]) {
        let mut source = FileSource::new(Handle::File(Arc::clone(file)), WALK_READ_LEN, len);
        for frame in scan(&mut source, header, len)? {
            ready.extend(rest(&**file, at, frame.offset)?);
            at = frame.offset.saturating_add(frame.len);
            ready.push_back(journal_frame(&**file, &frame)?);
        }
    }
    ready.extend(rest(&**file, at, len)?);
    Ok(Dump { ready, frames: None })
}

fn journal_frame(file: &dyn File, frame: &FoundFrame) -> io::Result<Structure> {
    let header = read(file, frame.offset, JOURNAL_FRAME_HEADER_LEN)?;
    let is_whole = frame.found == Found::Whole;
    let validity = if is_whole { Validity::Valid } else { Validity::Invalid };
    let mut structure = Structure::new(Kind::JournalFrame, frame.offset, frame.len, validity);
    if header.len() == JOURNAL_FRAME_HEADER_LEN {
        structure.stored = Some(u32_at(&header, 0));
        structure.computed = structure.stored.filter(|_| is_whole);
        structure.fields = vec![
            ("records", u32_at(&header, 8).into()),
            ("previous", u32_at(&header, 12).into()),
            ("sequence", u64_at(&header, 16)),
            ("generation", u64_at(&header, 24)),
            ("payload", u64_at(&header, 32)),
            ("first", u64_at(&header, 40)),
        ];
    }
    Ok(structure)
}

/// What stands from `start` to `end` that is no structure.
fn rest(file: &dyn File, start: u64, end: u64) -> io::Result<Option<Structure>> {
    let mut kind = Kind::Zeros;
    let end = storage::read_pieces(file, start, end, |bytes, _| -> io::Result<()> {
        if bytes.iter().any(|byte| *byte != 0) {
            kind = Kind::Bytes;
        }
        Ok(())
    })?;
    let validity = if kind == Kind::Zeros { Validity::Valid } else { Validity::Invalid };
    Ok((end > start).then(|| Structure::new(kind, start, end - start, validity)))
}

fn segment(file: Arc<dyn File>, named: Option<u64>) -> Result<Dump> {
    let len = file.len()?;
    let mut ready = VecDeque::new();
    let mut constants = None;
    for offset in [0, BLOCK_LEN] {
        let bytes = read(&*file, offset, SLOT_LEN)?;
        let (salt, first_id) = match bytes.len() {
            SLOT_LEN => (u64_at(&bytes, 16), u64_at(&bytes, 32)),
            _ => (0, 0),
        };
        let slot = Slot::decode(&bytes, salt, named.unwrap_or(first_id));
        let mut structure = Structure::ending(Kind::Slot, offset, &bytes, slot.err());
        if bytes.len() == SLOT_LEN {
            structure.fields = constants_in(&bytes);
            structure.fields.extend([
                ("digest", u32_at(&bytes, 60).into()),
                ("synced to", u64_at(&bytes, 64)),
                ("next id", u64_at(&bytes, 72)),
                ("first kept", u64_at(&bytes, 80)),
                ("lowered", u32_at(&bytes, 88).into()),
            ]);
        }
        ready.push_back(structure);
        constants = constants.or(slot.ok().map(|slot| slot.constants));
    }
    let first_id = named.or(constants.map(|constants| constants.first_id)).unwrap_or(0);
    let seal = read_seal(&file, len, None, first_id)?;
    let limit = seal.map_or(len, |seal| seal.end);
    let behind = seal.map_or_else(|| Ok(Vec::new()), |seal| ending(&*file, &seal, len))?;
    let Some(constants) = constants.or(seal.map(|seal| seal.constants)) else {
        ready.extend(rest(&*file, HEADER_LEN, len)?);
        return Ok(Dump { ready, frames: None });
    };
    let scanner = Scanner::new(Extent {
        seed: SegmentSeed::new(constants.salt, constants.stream_number, first_id),
        first_id,
        offset: HEADER_LEN,
        next_id: first_id,
        limit,
        // So that what stands behind an invalid place is looked for, proven or not.
        proven_end: limit,
        proven_id: first_id,
    });
    let source = FileSource::new(Handle::File(Arc::clone(&file)), WALK_READ_LEN, limit);
    Ok(Dump { ready, frames: Some(Frames { file, source, scanner, first_id, limit, behind }) })
}

/// What slots and seals have in common.
fn constants_in(bytes: &[u8]) -> Vec<(&'static str, u64)> {
    vec![
        ("version", u32_at(bytes, 8).into()),
        ("salt", u64_at(bytes, 16)),
        ("stream", u64_at(bytes, 24)),
        ("first id", u64_at(bytes, 32)),
        ("cut", u64_at(bytes, 40)),
        ("predecessor", u64_at(bytes, 48)),
        ("flags", u32_at(bytes, 56).into()),
    ]
}

/// The points and the seal of a full segment.
fn ending(file: &dyn File, seal: &Seal, len: u64) -> Result<Vec<Structure>> {
    let points_len = u64::from(seal.points) * POINT_LEN;
    let bytes = read(file, seal.end, usize::try_from(points_len).unwrap_or(0))?;
    let is_whole = seal.decode_points(&bytes).is_ok();
    let validity = if is_whole { Validity::Valid } else { Validity::Invalid };
    let mut points = Structure::new(Kind::Points, seal.end, points_len, validity);
    points.stored = Some(seal.index_check);
    points.computed = Some(checksum::of(&bytes));
    points.fields = vec![("points", seal.points.into())];

    let offset = len.saturating_sub(SEAL_BYTES);
    let bytes = read(file, offset, SEAL_LEN)?;
    let mut structure = Structure::ending(Kind::Seal, offset, &bytes, None);
    structure.fields = constants_in(&bytes);
    structure.fields.extend([
        ("points", seal.points.into()),
        ("digest", seal.digest.into()),
        ("end", seal.end),
        ("next id", seal.next_id),
        ("index check", seal.index_check.into()),
    ]);
    structure.ids = seal.constants.first_id..seal.next_id;
    Ok(vec![points, structure])
}

impl Iterator for Dump {
    type Item = Result<Structure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty()
            && let Some(mut frames) = self.frames.take()
        {
            match frames.step(&mut self.ready) {
                Ok(true) => self.frames = Some(frames),
                Ok(false) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl std::iter::FusedIterator for Dump {}

impl Frames {
    /// The next structure, or several; returns whether there are more.
    fn step(&mut self, ready: &mut VecDeque<Structure>) -> io::Result<bool> {
        let at = self.scanner.offset();
        match self.scanner.step(&mut self.source)? {
            Step::Frame(frame) => {
                ready.extend(rest(&*self.file, at, frame.offset)?);
                ready.push_back(self.frame(&frame)?);
            }
            Step::Damaged(gap) => {
                ready.extend(rest(&*self.file, at, gap.offset)?);
                let len = self.scanner.offset().saturating_sub(gap.offset);
                let is_loss = gap.fault == Fault::Lost;
                let (kind, validity) = match is_loss {
                    true => (Kind::LossFrame, Validity::Valid),
                    false => (Kind::Bytes, Validity::Invalid),
                };
                let mut structure = Structure::new(kind, gap.offset, len, validity);
                structure.ids = gap.ids;
                if let Fault::Payload { expected, found } = gap.fault {
                    structure.kind = Kind::Frame;
                    (structure.stored, structure.computed) = (Some(expected), Some(found));
                }
                if structure.kind != Kind::Bytes {
                    structure.fields = self.fields_at(gap.offset)?;
                }
                ready.push_back(structure);
            }
            Step::Torn | Step::End => {
                ready.extend(rest(&*self.file, at, self.limit)?);
                ready.extend(std::mem::take(&mut self.behind));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn frame(&mut self, frame: &Frame) -> io::Result<Structure> {
        let mut structure = Structure::new(Kind::Frame, frame.offset, frame.len(), Validity::Valid);
        structure.ids = frame.ids(self.first_id);
        structure.fields = self.fields_at(frame.offset)?;
        (structure.stored, structure.computed) = (Some(frame.checksum), Some(frame.checksum));
        Ok(structure)
    }

    /// The fields of a frame's header.
    fn fields_at(&mut self, offset: u64) -> io::Result<Vec<(&'static str, u64)>> {
        let window = self.source.window(offset, FRAME_HEADER_LEN)?;
        let Some(header) = window.get(..FRAME_HEADER_LEN) else { return Ok(Vec::new()) };
        Ok(vec![
            ("length", u32_at(header, 4).into()),
            ("index", u32_at(header, 8).into()),
            ("count", u32_at(header, 12).into()),
            ("synced", u32_at(header, 16).into()),
            ("kind", header[20].into()),
            ("flags", header[21].into()),
            ("check", u16_at(header, 22).into()),
        ])
    }
}

const _: () = assert!(FORMAT_VERSION == 1, "fields of another version are told by its layout");
