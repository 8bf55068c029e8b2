//! What readers see of a segment: its committed frames, by id.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::context::ReadContext;
use super::index::{Index, Lookup};
use super::source::{FileSource, Handle};
use super::unwritten::Unwritten;
use super::walk::{WALK_READ_LEN, Walk};
use crate::format::Unreadable;
use crate::format::checksum::SegmentSeed;
use crate::format::fields::u64_at;
use crate::format::frame::{Fault, Frame};
use crate::format::header::HEADER_LEN;
use crate::format::scan::{Extent, Gap, Source};
use crate::format::seal::{POINT_LEN, Point, SEAL_BYTES, SEAL_LEN, Seal};
use crate::storage::File;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, ProcessCounter, lock};

/// A segment that is still written to is mapped when it is this long, and again whenever it is twice as
/// long, in bytes.
const MAPPED_LEN_MIN: u64 = HEADER_LEN + 4096;

/// The number of the next segment that this process makes or finds.
static NUMBERS: ProcessCounter = ProcessCounter::new(0);

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
    /// A compressed payload contradicts itself.
    Compression,
    /// Neither slot of the header can be read, or the segment is an older one than those beside it.
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

    /// Whether it is bytes that are no frame, as a scan finds them: where it begins may not be where
    /// a frame began. A loss frame says exactly where it begins and ends.
    pub(super) fn is_gap(&self) -> bool {
        matches!(self.kind, DamageKind::Frame(fault) if fault != Fault::Lost)
    }

    /// What is wrong, in words.
    pub(crate) fn reason(&self) -> &'static str {
        match self.kind {
            DamageKind::Frame(Fault::Short) => "the file is cut short",
            DamageKind::Frame(Fault::Header) => "there is no frame where one was",
            DamageKind::Frame(Fault::Lost) => {
                "the entries were lost with the journal, or given up by a repair"
            }
            DamageKind::Frame(Fault::RawLength) => "the uncompressed length is impossible",
            DamageKind::Frame(Fault::Payload { .. }) => "the checksum does not match",
            DamageKind::Table => "the table of the batch contradicts itself",
            DamageKind::Compression => "the compressed payload contradicts itself",
            DamageKind::Header => {
                "the header of the segment cannot be read, or is older than the segments beside it"
            }
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
    context: Arc<ReadContext>,
    /// Never used twice in a process.
    number: u64,
    path: PathBuf,
    first_id: u64,
    /// `None`: the header cannot be read, and with it no frame.
    seed: Option<SegmentSeed>,
    /// The file, while somebody writes to it; otherwise the context opens it, and keeps some open.
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
    unwritten: Arc<Unwritten>,
}

impl Segment {
    /// A segment that holds frames up to `end` and ids up to `next_id`, not read yet.
    pub(crate) fn new(
        context: Arc<ReadContext>,
        path: PathBuf,
        first_id: u64,
        seed: Option<SegmentSeed>,
        (end, next_id): (u64, u64),
        index: Index,
    ) -> Self {
        Self {
            context,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            path,
            first_id,
            seed,
            file: Mutex::new(None),
            end: AtomicU64::new(end),
            next_id: AtomicU64::new(next_id),
            retired_from: AtomicU64::new(u64::MAX),
            proven: AtomicBool::new(false),
            index: Mutex::new(index),
            unwritten: Arc::default(),
        }
    }

    /// A new segment without frames, open.
    pub(crate) fn fresh(
        context: Arc<ReadContext>,
        path: PathBuf,
        first_id: u64,
        seed: SegmentSeed,
        file: Arc<dyn File>,
    ) -> Self {
        let nothing = (HEADER_LEN, first_id);
        let segment = Self::new(context, path, first_id, Some(seed), nothing, Index::empty());
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

    pub(super) fn context(&self) -> &Arc<ReadContext> {
        &self.context
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Sees the same pieces that are not in the file.
    pub(crate) fn take_unwritten_of(&self, other: &Unwritten) {
        other.pieces().into_iter().for_each(|(offset, bytes)| self.unwritten.push(offset, bytes));
    }

    /// What is committed and not in the file yet. There is nothing of that any more when the segment is
    /// proven, or leaves the stream.
    pub(crate) fn unwritten(&self) -> &Arc<Unwritten> {
        &self.unwritten
    }

    /// Makes frames readable that have been committed. They are in the file, or were pushed to what is
    /// unwritten before.
    pub(crate) fn publish(&self, end: u64, next_id: u64, points: &[Point]) {
        if !points.is_empty() {
            lock(&self.index).extend(points);
        }
        self.end.store(end, Ordering::Release);
        self.next_id.store(next_id, Ordering::Release);
    }

    /// Damage to all of the segment.
    pub(crate) fn all_damaged(&self, kind: DamageKind) -> Damage {
        let ids = self.first_id..self.next_id();
        Damage { ids, file: self.path.clone(), offset: 0, kind }
    }

    /// The seed of its checksums, without which no frame can be read.
    pub(super) fn seed_or_damage(&self) -> Result<SegmentSeed, ReadError> {
        self.seed.ok_or_else(|| ReadError::Damaged(self.all_damaged(DamageKind::Header)))
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

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Acquire)
    }

    /// The segment leaves the stream, before its file is deleted or replaced: it was pruned, cut off
    /// or deleted with the stream. Whoever opens the file from now on gets [`ReadError::Retired`].
    ///
    /// Cursors that have it open stop before the id `readable_to`. That is the end of the segment if
    /// it is pruned; an id in it says that the entries from there on were cut off, and that whatever
    /// has their ids later is something else.
    pub(crate) fn retire(&self, readable_to: u64) {
        self.retired_from.fetch_min(readable_to, Ordering::SeqCst);
        // In this order: whoever keeps something from now on sees that the segment is retired, and
        // takes it out again.
        self.let_go();
        self.context.close(self.number);
        if self.context.caches_blocks() {
            self.context.forget_block(self.number, HEADER_LEN);
            for point in lock(&self.index).known() {
                self.context.forget_block(self.number, point.offset());
            }
        }
    }

    /// The segment did not leave after all.
    pub(crate) fn reinstate(&self) {
        self.retired_from.store(u64::MAX, Ordering::SeqCst);
    }

    /// Cursors stop before this id; `u64::MAX` while the segment is part of the stream.
    #[inline]
    pub(crate) fn retired_from(&self) -> u64 {
        self.retired_from.load(Ordering::SeqCst)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired_from() != u64::MAX
    }

    /// The open file. One that is missing is damage, unless the segment is not part of the stream.
    pub(super) fn handle(&self) -> Result<Handle, ReadError> {
        let open = lock(&self.file).clone();
        let handle = match open {
            Some(file) => Ok(Handle::File(file)),
            None => self.context.handle(self.number, &self.path, self.is_proven()),
        };
        // In this order: a file that was opened before the segment was retired is the right one.
        if self.is_retired() {
            self.context.close(self.number);
            return Err(ReadError::Retired);
        }
        handle.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Damaged(self.all_damaged(DamageKind::Missing)),
            _ => ReadError::Io(error),
        })
    }

    /// The same for reads below `end`, which was taken before. What was committed is never changed, nor
    /// taken from the file, so it can be mapped while others append behind it.
    pub(super) fn handle_below(&self, end: u64) -> Result<Handle, ReadError> {
        if self.context.maps() && !self.is_proven() {
            let known = self.context.prefix(self.number);
            let len = known.as_ref().map_or(0, |map| map.as_ref().map_or(u64::MAX, len_of));
            match known.flatten().filter(|_| end <= len) {
                Some(map) => return Ok(Handle::Map(map)),
                None if end >= MAPPED_LEN_MIN.max(len.saturating_mul(2)) => {
                    if let Some(map) = self.map_prefix()?.filter(|map| end <= len_of(map)) {
                        return Ok(Handle::Map(map));
                    }
                }
                None => {}
            }
        }
        self.handle()
    }

    /// Maps the frames that are in the file.
    fn map_prefix(&self) -> Result<Option<Bytes>, ReadError> {
        // In this order: what is committed and not in the file yet was pushed before its end was
        // published.
        let end = self.end();
        if !self.unwritten.is_empty() {
            return Ok(None);
        }
        let Handle::File(file) = self.handle()? else { return Ok(None) };
        // Where mapping fails for whatever reason, reading says what is wrong, if anything is.
        let map = file.map(end).ok().flatten().filter(|map| len_of(map) == end);
        self.context.keep_prefix(self.number, map.clone());
        if self.is_retired() {
            // Whoever retired it may have been through with the cache before this one was in it.
            self.context.close(self.number);
        }
        Ok(map)
    }

    /// The committed bytes below `limit`, which was taken before.
    pub(super) fn source(&self, handle: Handle, read_len: usize, limit: u64) -> FileSource {
        FileSource::new(handle, read_len, limit).with_unwritten(Some(Arc::clone(&self.unwritten)))
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

    pub(super) fn gap_damage(&self, gap: Gap) -> Damage {
        Damage::of_gap(gap, &self.path)
    }

    pub(super) fn frame_damage(&self, frame: &Frame, kind: DamageKind) -> Damage {
        let ids = frame.ids(self.first_id);
        Damage { ids, file: self.path.clone(), offset: frame.offset, kind }
    }

    /// The last point at or before `id`, if there is one, and the next one.
    pub(super) fn points_around(
        &self,
        id: u64,
        seed: SegmentSeed,
    ) -> Result<(Option<Point>, Option<Point>), ReadError> {
        let Ok(index) = u32::try_from(id - self.first_id) else {
            return Ok((None, None));
        };
        let mut lookup = lock(&self.index).lookup(index);
        if let Lookup::Unread(known_from) = lookup {
            let points = self.read_index(seed, known_from)?;
            let mut index_of = lock(&self.index);
            index_of.fill(points);
            lookup = index_of.lookup(index);
        }
        match lookup {
            Lookup::At(point, next) => Ok((point, next)),
            Lookup::Unread(_) => Ok((None, None)),
        }
    }

    /// Up to which offset the points of the index have not been read.
    pub(super) fn unread_index(&self) -> Option<u64> {
        lock(&self.index).unread_to()
    }

    /// Hands in all of those.
    pub(super) fn fill_index(&self, points: Vec<Point>) {
        lock(&self.index).fill(points);
    }

    /// The points below `known_from`: from the seal if there is a whole one, else from the frames.
    fn read_index(&self, seed: SegmentSeed, known_from: u64) -> Result<Vec<Point>, ReadError> {
        let handle = self.handle()?;
        if let Some(points) = self.sealed_points(&handle, known_from)? {
            return Ok(points);
        }
        let mut extent = self.extent(seed, HEADER_LEN, self.first_id);
        extent.limit = extent.limit.min(known_from);
        let mut source = self.source(handle, WALK_READ_LEN, extent.limit);
        Ok(Walk::over(&mut source, extent, 0)?.points)
    }

    fn sealed_points(&self, handle: &Handle, known_from: u64) -> io::Result<Option<Vec<Point>>> {
        let file_len = match handle {
            Handle::File(file) => file.len()?,
            Handle::Map(map) => map.len() as u64,
        };
        let mut source = FileSource::new(handle.clone(), 0, file_len);
        let Ok(seal) = seal_in(&mut source, file_len, None, self.first_id)? else {
            return Ok(None);
        };
        // A valid seal ends with the file, so its points take no more than the file does.
        let (Ok(len), true) =
            (usize::try_from(u64::from(seal.points) * POINT_LEN), seal.end == known_from)
        else {
            return Ok(None);
        };
        let points = source.window(seal.end, len)?;
        Ok(points.get(..len).and_then(|points| seal.decode_points(points).ok()))
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
}

fn len_of(map: &Bytes) -> u64 {
    map.len() as u64
}

/// The seal of a file, if it has a valid one; `salt` is checked if it is known.
pub(crate) fn read_seal(
    file: &Arc<dyn File>,
    file_len: u64,
    salt: Option<u64>,
    first_id: u64,
) -> io::Result<Option<Seal>> {
    Ok(judge_seal(file, file_len, salt, first_id)?.ok())
}

/// The same, with the reason why there is none.
pub(crate) fn judge_seal(
    file: &Arc<dyn File>,
    file_len: u64,
    salt: Option<u64>,
    first_id: u64,
) -> io::Result<Result<Seal, Unreadable>> {
    let mut source = FileSource::new(Handle::File(Arc::clone(file)), SEAL_LEN, file_len);
    seal_in(&mut source, file_len, salt, first_id)
}

fn seal_in(
    source: &mut FileSource,
    file_len: u64,
    salt: Option<u64>,
    first_id: u64,
) -> io::Result<Result<Seal, Unreadable>> {
    let Some(offset) = file_len.checked_sub(SEAL_BYTES) else {
        return Ok(Err(Unreadable::NotThis));
    };
    let bytes = source.window(offset, SEAL_LEN)?;
    let Some(bytes) = bytes.get(..SEAL_LEN) else {
        return Ok(Err(Unreadable::NotThis));
    };
    let salt = salt.unwrap_or_else(|| u64_at(bytes, 16));
    Ok(Seal::decode(bytes, file_len, salt, first_id))
}
