//! What readers see of a segment: its committed frames, by id.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::index::{Index, Lookup};
use super::source::FileSource;
use super::walk::{WALK_READ_LEN, Walk};
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, FRAME_HEADER_LEN, Fault, Frame};
use crate::format::header::HEADER_LEN;
use crate::format::scan::{Extent, Gap, Scanner, Source, Step};
use crate::format::seal::{POINT_LEN, Point, Seal};
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// What a random read asks for if the index does not say where to stop, in bytes.
const LOOKUP_LEN: usize = 8192;

/// Damage to entries of one segment, or the lack of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The ids that cannot be read.
    pub(crate) ids: Range<u64>,
    /// The file that holds them, or should.
    pub(crate) file: PathBuf,
    /// Where the damage begins.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) kind: DamageKind,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DamageKind {
    /// Bytes that should be a frame are none.
    Frame(Fault),
    /// The table of a batch contradicts itself.
    Table,
    /// Neither slot of the header can be read.
    Header,
    /// The file is not there.
    Missing,
}

impl Damage {
    /// What a scan found in this file.
    pub(crate) fn of_gap(gap: Gap, file: &Path) -> Self {
        let Gap { offset, ids, fault } = gap;
        Self { ids, file: file.to_path_buf(), offset, kind: DamageKind::Frame(fault) }
    }

    /// What is wrong, in words.
    pub(crate) fn reason(&self) -> &'static str {
        match self.kind {
            DamageKind::Frame(Fault::Short) => "the file is cut short",
            DamageKind::Frame(Fault::Header) => "there is no frame where one was",
            DamageKind::Frame(Fault::Payload { .. }) => "the checksum does not match",
            DamageKind::Table => "the table of the batch contradicts itself",
            DamageKind::Header => "the header of the segment cannot be read",
            DamageKind::Missing => "the segment file is missing",
        }
    }
}

/// Why a read of a segment yields no entry.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The operating system reported an error.
    Io(io::Error),
    /// The entry is damaged.
    Damaged(Damage),
    /// The segment is not part of the stream any more: look the id up again.
    Retired,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A segment as readers see it. Cheap to share.
#[derive(Debug)]
pub(crate) struct Segment {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    first_id: u64,
    /// `None`: the header cannot be read, and with it no frame.
    seed: Option<SegmentSeed>,
    /// The file, while somebody writes to it; otherwise it is opened for each use, so that a stream
    /// of many segments does not hold many files open.
    file: Mutex<Option<Arc<dyn File>>>,
    /// Where the committed frames end. Published before `next_id`.
    end: AtomicU64,
    next_id: AtomicU64,
    /// Where reading stops for those who have the file open; `u64::MAX` while the segment is part of
    /// the stream. Set before anything happens to the file's name.
    retired_from: AtomicU64,
    /// Whether all of the segment is durable and it will never be written to again.
    proven: AtomicBool,
    index: Mutex<Index>,
}

impl Segment {
    /// A segment that holds frames up to `end` and ids up to `next_id`, not read yet.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        first_id: u64,
        seed: Option<SegmentSeed>,
        (end, next_id): (u64, u64),
        index: Index,
    ) -> Self {
        Self {
            storage,
            path,
            first_id,
            seed,
            file: Mutex::new(None),
            end: AtomicU64::new(end),
            next_id: AtomicU64::new(next_id),
            retired_from: AtomicU64::new(u64::MAX),
            proven: AtomicBool::new(false),
            index: Mutex::new(index),
        }
    }

    /// A new segment without frames, open.
    pub(crate) fn fresh(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        first_id: u64,
        seed: SegmentSeed,
        file: Arc<dyn File>,
    ) -> Self {
        let nothing = (HEADER_LEN, first_id);
        let segment = Self::new(storage, path, first_id, Some(seed), nothing, Index::empty());
        segment.keep_open(file);
        segment
    }

    pub(crate) fn first_id(&self) -> u64 {
        self.first_id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the committed frames end.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The id behind the last committed entry.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.load(Ordering::Acquire)
    }

    /// Makes frames readable that have been committed.
    pub(crate) fn publish(&self, end: u64, next_id: u64, points: &[Point]) {
        if !points.is_empty() {
            lock(&self.index).extend(points);
        }
        self.end.store(end, Ordering::Release);
        self.next_id.store(next_id, Ordering::Release);
    }

    /// The damage of a segment whose header is lost.
    pub(crate) fn opaque(&self) -> Damage {
        Damage {
            ids: self.first_id..self.next_id(),
            file: self.path.clone(),
            offset: 0,
            kind: DamageKind::Header,
        }
    }

    /// Reads go through this file until [`Segment::let_go`].
    pub(crate) fn keep_open(&self, file: Arc<dyn File>) {
        *lock(&self.file) = Some(file);
    }

    /// Nobody writes to the segment any more.
    pub(crate) fn let_go(&self) {
        *lock(&self.file) = None;
    }

    /// The segment is full and durable: nobody will write to the file again.
    pub(crate) fn set_proven(&self) {
        self.proven.store(true, Ordering::Release);
    }

    /// The segment leaves the stream, before its file is deleted or replaced: it was pruned, cut off
    /// or deleted with the stream. Cursors on it stop before the id `readable_to`; whoever opens the
    /// file from now on gets [`ReadError::Retired`].
    pub(crate) fn retire(&self, readable_to: u64) {
        self.retired_from.fetch_min(readable_to, Ordering::SeqCst);
    }

    /// The segment did not leave after all.
    pub(crate) fn reinstate(&self) {
        self.retired_from.store(u64::MAX, Ordering::SeqCst);
    }

    fn is_retired(&self) -> bool {
        self.retired_from.load(Ordering::SeqCst) != u64::MAX
    }

    pub(super) fn file(&self) -> Result<Arc<dyn File>, ReadError> {
        let open = lock(&self.file).clone();
        let file = match open {
            Some(file) => Ok(file),
            None => self.storage.open(&self.path, OpenMode::Read),
        };
        // In this order: a file that was opened before the segment was retired is the right one.
        if self.is_retired() { Err(ReadError::Retired) } else { Ok(file?) }
    }

    /// The committed part of the segment from a place where a frame begins.
    pub(super) fn extent(&self, seed: SegmentSeed, offset: u64, next_id: u64) -> Extent {
        // The end is published before the id, so it is read after it.
        let proven_id = self.next_id.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        Extent {
            seed,
            first_id: self.first_id,
            offset,
            next_id,
            limit: end,
            proven_end: end,
            proven_id,
        }
    }

    pub(super) fn damage(&self, gap: Gap) -> Damage {
        Damage::of_gap(gap, &self.path)
    }

    /// The entry with this id, which the segment holds.
    pub(crate) fn get(&self, id: u64) -> Result<Bytes, ReadError> {
        let Some(seed) = self.seed else {
            return Err(ReadError::Damaged(self.opaque()));
        };
        let (offset, next_id, len) = self.start_for(id, seed)?;
        let mut scanner = Scanner::new(self.extent(seed, offset, next_id));
        let mut source = FileSource::new(self.file()?, len);
        loop {
            match scanner.step(&mut source)? {
                Step::Frame(frame) => {
                    let ids = frame.ids(self.first_id);
                    if !ids.contains(&id) {
                        continue;
                    }
                    let range = entry_range(&mut source, &frame, id - ids.start)?;
                    let Some(range) = range else {
                        return Err(ReadError::Damaged(self.table_damage(&frame)));
                    };
                    let (start, bytes) = source.into_bytes();
                    let frame_at = usize::try_from(frame.offset - start).unwrap_or(usize::MAX);
                    let range = frame_at + range.start..frame_at + range.end;
                    return Ok(Bytes::from(bytes).slice(range));
                }
                Step::Damaged(gap) if gap.ids.contains(&id) => {
                    return Err(ReadError::Damaged(self.damage(gap)));
                }
                Step::Damaged(_) => {}
                Step::Torn | Step::End => {
                    let ids = scanner.next_id()..self.next_id().max(id.saturating_add(1));
                    let fault = Fault::Short;
                    let gap = Gap { offset: scanner.offset(), ids, fault };
                    return Err(ReadError::Damaged(self.damage(gap)));
                }
            }
        }
    }

    fn table_damage(&self, frame: &Frame) -> Damage {
        Damage {
            ids: frame.ids(self.first_id),
            file: self.path.clone(),
            offset: frame.offset,
            kind: DamageKind::Table,
        }
    }

    /// Where to begin looking for `id`: an offset, the id there, and how much to read.
    fn start_for(&self, id: u64, seed: SegmentSeed) -> Result<(u64, u64, usize), ReadError> {
        let Ok(index) = u32::try_from(id - self.first_id) else {
            return Ok((HEADER_LEN, self.first_id, LOOKUP_LEN));
        };
        let lookup = lock(&self.index).lookup(index);
        let lookup = match lookup {
            Lookup::Unread(known_from) => {
                let points = self.read_index(seed, known_from)?;
                let mut index_of = lock(&self.index);
                index_of.fill(points);
                index_of.lookup(index)
            }
            known => known,
        };
        Ok(match lookup {
            Lookup::At(point, next) => {
                let end = next.unwrap_or_else(|| self.end.load(Ordering::Acquire));
                let len = usize::try_from(end.saturating_sub(point.offset())).unwrap_or(LOOKUP_LEN);
                let len = len.clamp(FRAME_HEADER_LEN, LOOKUP_LEN);
                (point.offset(), self.first_id + u64::from(point.index), len)
            }
            _ => (HEADER_LEN, self.first_id, LOOKUP_LEN),
        })
    }

    /// The points below `known_from`: from the seal if there is a whole one, else from the frames.
    fn read_index(&self, seed: SegmentSeed, known_from: u64) -> Result<Vec<Point>, ReadError> {
        let file = self.file()?;
        if let Some(points) = self.sealed_points(&*file, known_from)? {
            return Ok(points);
        }
        let mut extent = self.extent(seed, HEADER_LEN, self.first_id);
        extent.limit = extent.limit.min(known_from);
        let mut source = FileSource::new(file, WALK_READ_LEN);
        Ok(Walk::over(&mut source, extent, 0)?.points)
    }

    fn sealed_points(&self, file: &dyn File, known_from: u64) -> io::Result<Option<Vec<Point>>> {
        let Some(seal) = read_seal(file, file.len()?, None, self.first_id)? else {
            return Ok(None);
        };
        if seal.end != known_from {
            return Ok(None);
        }
        let Ok(len) = usize::try_from(u64::from(seal.points) * POINT_LEN) else {
            return Ok(None);
        };
        let mut bytes = vec![0; len];
        let filled = storage::read_up_to(file, &mut bytes, seal.end)?;
        Ok(seal.decode_points(&bytes[..filled]).ok())
    }

    /// All points of the index, reading what is missing.
    pub(crate) fn all_points(&self) -> Result<Vec<Point>, ReadError> {
        let known = lock(&self.index).points();
        match (known, self.seed) {
            (Ok(points), _) => Ok(points),
            (Err(_), None) => Ok(Vec::new()),
            (Err(known_from), Some(seed)) => {
                let points = self.read_index(seed, known_from)?;
                let mut index = lock(&self.index);
                index.fill(points);
                Ok(index.points().unwrap_or_default())
            }
        }
    }

    /// A cursor at the entry `id`, or at the end if there is none yet.
    pub(crate) fn cursor(self: &Arc<Self>, id: u64, read_len: usize) -> Result<Cursor, ReadError> {
        let Some(seed) = self.seed else {
            return Err(ReadError::Damaged(self.opaque()));
        };
        let (offset, next_id, _) = self.start_for(id, seed)?;
        let scanner = Scanner::new(self.extent(seed, offset, next_id));
        let source = FileSource::new(self.file()?, read_len);
        Ok(Cursor { segment: Arc::clone(self), scanner, source, frame: None, next: id })
    }
}

/// The seal of a file, if it has a valid one; `salt` is checked if it is known.
pub(crate) fn read_seal(
    file: &dyn File,
    file_len: u64,
    salt: Option<u64>,
    first_id: u64,
) -> io::Result<Option<Seal>> {
    let Some(offset) = file_len.checked_sub(crate::format::seal::SEAL_BYTES) else {
        return Ok(None);
    };
    let mut bytes = [0; crate::format::seal::SEAL_LEN];
    let filled = storage::read_up_to(file, &mut bytes, offset)?;
    let salt = salt.unwrap_or_else(|| crate::format::fields::u64_at(&bytes, 16));
    Ok(Seal::decode(&bytes[..filled], file_len, salt, first_id).ok())
}

/// Where entry `nth` of `frame` stands, from the start of the frame.
fn entry_range(
    source: &mut FileSource,
    frame: &Frame,
    nth: u64,
) -> io::Result<Option<Range<usize>>> {
    let Ok(len) = usize::try_from(frame.len()) else {
        return Ok(None);
    };
    let payload_len = usize::try_from(frame.payload_len).unwrap_or(usize::MAX);
    let bytes = source.window(frame.offset, len)?;
    let Some(payload) = bytes.get(FRAME_HEADER_LEN..).and_then(|rest| rest.get(..payload_len))
    else {
        return Ok(None);
    };
    let Ok(nth) = u32::try_from(nth) else {
        return Ok(None);
    };
    let range = frame::entry(payload, frame.count, nth);
    Ok(range.map(|range| FRAME_HEADER_LEN + range.start..FRAME_HEADER_LEN + range.end))
}

/// Reads the entries of a segment in order, also while it grows.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    scanner: Scanner,
    source: FileSource,
    frame: Option<Frame>,
    next: u64,
}

impl Cursor {
    /// The id of the next entry.
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// The next entry that is committed; `None`: there is none in this segment yet.
    ///
    /// Damage is returned once, and the cursor goes on behind it.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        loop {
            if let Some(frame) = &self.frame {
                let ids = frame.ids(self.segment.first_id);
                let end = self.segment.retired_from.load(Ordering::SeqCst);
                if ids.contains(&self.next) && self.next < end {
                    return self.entry();
                }
            }
            self.frame = None;
            let due = self.scanner.next_id().max(self.next);
            let end = self.segment.next_id().min(self.segment.retired_from.load(Ordering::SeqCst));
            if due >= end {
                return Ok(None);
            }
            match self.scanner.step(&mut self.source)? {
                Step::Frame(frame) => self.frame = Some(frame),
                Step::Damaged(gap) if gap.ids.end > self.next => {
                    self.next = gap.ids.end;
                    return Err(ReadError::Damaged(self.segment.damage(gap)));
                }
                Step::Damaged(_) => {}
                Step::Torn | Step::End => {
                    if !self.follow() {
                        return Err(ReadError::Damaged(self.missing_rest()));
                    }
                }
            }
        }
    }

    /// The ids that the segment should hold behind its last byte.
    fn missing_rest(&mut self) -> Damage {
        let ids = self.next..self.segment.next_id();
        self.scanner.extend(self.scanner.offset(), ids.end);
        self.next = ids.end;
        let gap = Gap { offset: self.scanner.offset(), ids, fault: Fault::Short };
        self.segment.damage(gap)
    }

    /// Takes note of what has been committed since, and returns whether there is any.
    fn follow(&mut self) -> bool {
        let Some(seed) = self.segment.seed else { return false };
        let now = self.segment.extent(seed, self.scanner.offset(), self.scanner.next_id());
        self.scanner.extend(now.limit, now.proven_id);
        self.source.forget();
        self.scanner.offset() < now.limit
    }

    fn entry(&mut self) -> Result<Option<(u64, Vec<u8>)>, ReadError> {
        let Some(frame) = &self.frame else { return Ok(None) };
        let ids = frame.ids(self.segment.first_id);
        let range = entry_range(&mut self.source, frame, self.next - ids.start)?;
        let Some(range) = range else {
            let damage = self.segment.table_damage(frame);
            self.next = ids.end;
            return Err(ReadError::Damaged(damage));
        };
        let bytes = self.source.window(frame.offset, range.end)?[range].to_vec();
        let id = self.next;
        self.next += 1;
        Ok(Some((id, bytes)))
    }
}
