//! The pending tail: ids are assigned and entries encoded here, in memory, under one short lock.
//!
//! What is not to be synced does not wait for a round if the active segment is mapped: its frame is
//! copied into the segment at once, *in place*, and committed under the same lock. Only if everything
//! before it is committed, so that what is committed stays in order.

use std::io;
use std::ops::Range;

use super::frame_len;
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, Packed, Place};
use crate::format::header::{HEADER_LEN, Proof};
use crate::format::seal::Point;
use crate::options::SyncMode;
use crate::segment::Segment;
use crate::segment::index::PointPicker;
use crate::segment::walk::extend_digest;
use crate::storage::WritableMap;
use crate::sync::Arc;

/// The largest buffer that is kept for the next round, in bytes.
const SPARE_LEN_MAX: usize = 1024 * 1024;

/// When a segment is full, and when appends are synced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of frames.
    pub(crate) segment_len_max: u64,
    /// Entries, for single appends.
    pub(crate) entries_max: u64,
    /// When appends are synced. In `Strict`, a full segment is before the next one begins.
    pub(crate) sync_mode: SyncMode,
    /// Bytes of frames that are staged together, unless it is one append.
    pub(crate) staged_len_max: usize,
    /// Whether an append that is synced may be staged while the file is closed.
    pub(crate) fileless: bool,
    /// Whether segments are mapped, where they can be, for appends that are not synced.
    pub(crate) maps: bool,
}

impl Limits {
    /// Those of a stream that nobody appends to.
    pub(crate) const NONE: Self = Self {
        segment_len_max: 0,
        entries_max: 0,
        sync_mode: SyncMode::Strict,
        staged_len_max: 0,
        fileless: false,
        maps: false,
    };
}

/// What is appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Append<'a> {
    /// The entries; at least one.
    pub(crate) entries: &'a [&'a [u8]],
    /// Whether they came as a batch.
    pub(crate) batch: bool,
    /// Whether they must survive power loss when the append returns.
    pub(crate) sync: bool,
    /// The id that the first of them must get.
    pub(crate) expected: Option<u64>,
    /// Their payload compressed, if that saves space: made before any lock is taken.
    pub(crate) packed: Option<&'a Packed>,
}

impl Append<'_> {
    /// The bytes that its frame takes.
    pub(crate) fn frame_len(&self) -> u64 {
        match self.packed {
            Some(packed) => frame::padded_len(packed.payload_len()),
            None => frame_len(self.entries),
        }
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Staged {
    /// It is committed.
    InPlace { ids: Range<u64> },
    /// It has its ids and goes with this round.
    InRound {
        ids: Range<u64>,
        round: Round,
        /// The bytes that are staged with it.
        len: usize,
    },
    /// Whoever leads must make room first; nothing was staged.
    NoRoom,
    /// This round holds as much as it may; nothing was staged.
    Full { round: Round },
}

/// The round that an append belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    /// The one of its stream.
    pub(crate) of_stream: u64,
    /// The one of the whole log, if it must be durable. Whoever leads that may leave it to its stream.
    pub(crate) of_log: Option<u64>,
}

/// Whether the stream takes appends.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Open,
    Poisoned(Arc<io::Error>),
    Closed,
    Deleted,
}

/// The segment that frames are staged for.
#[derive(Debug, Clone)]
pub(crate) struct OpenSegment {
    pub(crate) seed: SegmentSeed,
    pub(crate) first_id: u64,
    /// Where the next frame goes.
    pub(crate) end: u64,
    /// Frames may be staged up to here; 0 while staging is stopped.
    pub(crate) room_to: u64,
    /// Whether the file is open. If it is not, only those may be staged that can go to the journal.
    pub(crate) has_file: bool,
    /// How far the segment was synced, as its end was before that sync.
    pub(crate) synced_to: u64,
    /// The digest of the frames up to `end`.
    pub(crate) digest: u32,
    pub(crate) picker: PointPicker,
}

impl OpenSegment {
    /// A segment in which the frames up to `proof` are synced. Space is not reserved yet.
    pub(crate) fn new(seed: SegmentSeed, first_id: u64, proof: Proof) -> Self {
        Self {
            seed,
            first_id,
            end: proof.synced_to,
            room_to: 0,
            has_file: false,
            synced_to: proof.synced_to,
            digest: proof.digest,
            picker: PointPicker::new(),
        }
    }

    /// Whether an append belongs into the next segment.
    fn is_full_for(&self, append: &Append<'_>, next_id: u64, limits: &Limits) -> bool {
        let entries = next_id - self.first_id;
        let len = self.end - HEADER_LEN;
        entries > 0
            && (len.saturating_add(append.frame_len()) > limits.segment_len_max
                || (!append.batch && entries >= limits.entries_max.max(1))
                || entries + append.entries.len() as u64 > u64::from(u32::MAX))
    }
}

/// The active segment as memory.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) map: Box<dyn WritableMap>,
    pub(crate) reader: Arc<Segment>,
    /// Frames can be stored up to here.
    pub(crate) prepared_to: u64,
}

/// What a leader takes: the staged frames in one piece, and where they go.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) frames: Vec<u8>,
    pub(crate) points: Vec<Point>,
    /// The first id of the frames.
    first_id: u64,
    /// How many appends they are.
    pub(crate) appends: u32,
    /// Whether one of them must be synced.
    pub(crate) sync: bool,
}

/// The state that staging changes.
#[derive(Debug)]
pub(crate) struct Tail {
    state: State,
    /// The number of the round that is being gathered; the first is 1.
    round: u64,
    pending: Pending,
    /// The round of the whole log that what is staged goes with, if any of it must be durable.
    entered: Option<u64>,
    next_id: u64,
    segment: Option<OpenSegment>,
    mapped: Option<Mapped>,
    /// Whether whoever leads needs that nothing is committed meanwhile.
    placing_is_stopped: bool,
    /// What holds of the segment since the last append in place of which no leader knows.
    placed: Option<Proof>,
    /// How many entries were appended in place since that was asked last, and the bytes of their frames.
    placed_uncounted: (u64, u64),
}

/// A frame behind what is staged, before its ids are given out.
#[derive(Debug)]
struct Encoded {
    ids: Range<u64>,
    /// The first id, less the first id of the segment.
    index: u32,
    /// Where it begins in the segment, and where it ends.
    offset: u64,
    end: u64,
    checksum: u32,
}

/// A round that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) round: u64,
    pub(crate) pending: Pending,
    /// The first id of their segment.
    pub(crate) segment: u64,
    /// The first id of the frames.
    pub(crate) first_id: u64,
    /// Where the frames go.
    pub(crate) offset: u64,
    /// What holds once they are written.
    pub(crate) proof: Proof,
}

impl Pending {
    fn new(first_id: u64) -> Self {
        Self { frames: Vec::new(), points: Vec::new(), first_id, appends: 0, sync: false }
    }

    /// Makes it ready for another round.
    pub(crate) fn reset(&mut self) {
        self.frames.clear();
        if self.frames.capacity() > SPARE_LEN_MAX {
            self.frames = Vec::new();
        }
        self.points.clear();
        self.appends = 0;
        self.sync = false;
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Tail {
    /// A tail that goes on at `next_id`.
    pub(crate) fn new(next_id: u64, segment: Option<OpenSegment>) -> Self {
        let (state, pending) = (State::Open, Pending::new(next_id));
        Self {
            state,
            round: 1,
            pending,
            entered: None,
            next_id,
            segment,
            mapped: None,
            placing_is_stopped: false,
            placed: None,
            placed_uncounted: (0, 0),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn close(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Closed;
        }
    }

    /// The stream is being deleted: refuses all appends, also those that are staged.
    pub(crate) fn delete(&mut self) {
        self.state = State::Deleted;
    }

    /// Refuses all appends from now on, also those that are staged; returns whether it is news.
    pub(crate) fn poison(&mut self, cause: Arc<io::Error>) -> bool {
        let first = !matches!(self.state, State::Poisoned(_) | State::Deleted);
        if first {
            self.state = State::Poisoned(cause);
        }
        first
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// How many appends are staged in the open round.
    pub(crate) fn staged(&self) -> u32 {
        self.pending.appends
    }

    /// The open round and how many bytes are staged in it, if anything is.
    pub(crate) fn open_round(&self) -> Option<(Round, usize)> {
        let round = Round { of_stream: self.round, of_log: self.entered };
        (self.staged() > 0).then(|| (round, self.staged_len()))
    }

    /// How many bytes are staged in it.
    pub(crate) fn staged_len(&self) -> usize {
        self.pending.frames.len()
    }

    /// How many points of the index are staged with them.
    pub(crate) fn staged_points(&self) -> usize {
        self.pending.points.len()
    }

    pub(crate) fn segment(&mut self) -> Option<&mut OpenSegment> {
        self.segment.as_mut()
    }

    pub(crate) fn set_segment(&mut self, segment: Option<OpenSegment>) {
        self.segment = segment;
    }

    /// Appends that are not synced go to this memory from now on, or to none; returns what it was.
    pub(crate) fn set_mapped(&mut self, mapped: Option<Mapped>) -> Option<Mapped> {
        std::mem::replace(&mut self.mapped, mapped)
    }

    /// Lets nothing be committed in place, or lets it again.
    pub(crate) fn stop_placing(&mut self, is_stopped: bool) {
        self.placing_is_stopped = is_stopped;
    }

    /// What holds of the active segment, if something was appended in place since this was asked last.
    pub(crate) fn take_placed(&mut self) -> Option<Proof> {
        self.placed.take()
    }

    /// How much was appended in place since it was counted last, in entries and bytes of frames.
    pub(crate) fn placed_uncounted(&self) -> (u64, u64) {
        self.placed_uncounted
    }

    /// The same, which the caller counts.
    pub(crate) fn count_placed(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.placed_uncounted)
    }

    /// Whether there is such a thing.
    pub(crate) fn has_placed(&self) -> bool {
        self.placed.is_some()
    }

    /// What holds of the active segment once everything staged is committed.
    pub(crate) fn proof(&self) -> Option<Proof> {
        let segment = self.segment.as_ref()?;
        Some(Proof { synced_to: segment.end, next_id: self.next_id, digest: segment.digest })
    }

    /// Whether `append` can be committed at once, if this is the end of what is: if everything that has an
    /// id is committed, nothing is staged, and no round is on its way.
    fn can_place(&self, append: &Append<'_>, committed: u64) -> bool {
        !append.sync
            && committed == self.next_id
            && !self.placing_is_stopped
            && self.mapped.as_ref().is_some_and(|mapped| mapped.reader.unwritten().is_empty())
    }

    /// Whether `append` needs another segment, or more room in this one up to the returned offset.
    pub(crate) fn lacks(&self, append: &Append<'_>, limits: &Limits) -> Lack {
        match &self.segment {
            None => Lack::Segment,
            Some(segment) if segment.is_full_for(append, self.next_id, limits) => Lack::Segment,
            Some(segment) => {
                let end = segment.end + append.frame_len();
                let has_room = end <= segment.room_to
                    && (segment.has_file || (append.sync && limits.fileless));
                if has_room { Lack::Nothing } else { Lack::Room(end) }
            }
        }
    }

    /// Assigns ids and encodes, if there is room. `committed` is the end of what is committed. `enter`
    /// enters the stream into a round of the whole log; it is called once for what is taken together.
    pub(crate) fn stage(
        &mut self,
        append: &Append<'_>,
        limits: &Limits,
        committed: u64,
        enter: Option<&dyn Fn() -> u64>,
    ) -> Staged {
        if self.lacks(append, limits) != Lack::Nothing {
            return Staged::NoRoom;
        }
        let staged_len = self.pending.frames.len() as u64 + append.frame_len();
        if self.pending.appends > 0 && staged_len > limits.staged_len_max as u64 {
            return Staged::Full { round: self.round_of(append, None) };
        }
        let can_place = self.can_place(append, committed);
        let Some(next) = self.encode_next(append) else { return Staged::NoRoom };
        let ids = next.ids.clone();
        if can_place && self.store(&next) {
            self.commit_in_place(next);
            return Staged::InPlace { ids };
        }
        let point = self.advance(next);
        self.pending.points.extend(point);
        self.pending.appends += 1;
        self.pending.sync |= append.sync;
        let len = self.pending.frames.len();
        Staged::InRound { ids, round: self.round_of(append, enter), len }
    }

    /// Commits one entry in place and returns its id, or does nothing. It is the short way for what
    /// [`Tail::stage`] would do as well.
    pub(crate) fn place(&mut self, entry: &[u8], limits: &Limits, committed: u64) -> Option<u64> {
        let entries = &[entry];
        let append = Append { entries, batch: false, sync: false, expected: None, packed: None };
        let is_possible = matches!(self.state, State::Open)
            && self.can_place(&append, committed)
            && self.lacks(&append, limits) == Lack::Nothing;
        let next = if is_possible { self.encode_next(&append)? } else { return None };
        if !self.store(&next) {
            self.pending.frames.clear();
            return None;
        }
        let id = next.ids.start;
        self.commit_in_place(next);
        Some(id)
    }

    /// Encodes an append behind what is staged; `None`, with nothing changed, if a field would overflow.
    fn encode_next(&mut self, append: &Append<'_>) -> Option<Encoded> {
        let segment = self.segment.as_ref()?;
        let ids = self.next_id..self.next_id.checked_add(append.entries.len() as u64)?;
        let index = u32::try_from(ids.start - segment.first_id).ok()?;
        let offset = segment.end;
        let place = Place { seed: segment.seed, offset, index, synced_to: segment.synced_to };
        let frames = &mut self.pending.frames;
        let start = frames.len();
        let checksum = frame::encode(frames, place, append.entries, append.packed)?;
        let end = offset + (frames.len() - start) as u64;
        Some(Encoded { ids, index, offset, end, checksum })
    }

    /// Copies what was encoded into the mapped segment, if it is all that is staged.
    fn store(&mut self, next: &Encoded) -> bool {
        let Some(mapped) = &mut self.mapped else { return false };
        mapped.map.store(&self.pending.frames, next.offset).is_ok()
    }

    /// Gives what was encoded its ids; returns its point of the index, if it has one.
    fn advance(&mut self, next: Encoded) -> Option<Point> {
        self.next_id = next.ids.end;
        let segment = self.segment.as_mut()?;
        segment.digest = extend_digest(segment.digest, next.checksum);
        segment.end = next.end;
        segment.picker.pick(next.index, next.offset)
    }

    /// Gives what was stored its ids, and commits it.
    fn commit_in_place(&mut self, next: Encoded) {
        let (end, next_id) = (next.end, next.ids.end);
        self.placed_uncounted.0 += next_id - next.ids.start;
        self.placed_uncounted.1 += end - next.offset;
        let point = self.advance(next);
        if let Some(mapped) = &self.mapped {
            mapped.reader.publish(end, next_id, point.as_slice());
        }
        self.pending.frames.clear();
        self.pending.first_id = next_id;
        self.placed = self.proof();
    }

    /// The round of an append that is staged now.
    fn round_of(&mut self, append: &Append<'_>, enter: Option<&dyn Fn() -> u64>) -> Round {
        if append.sync
            && self.entered.is_none()
            && let Some(enter) = enter
        {
            self.entered = Some(enter());
        }
        let of_log = self.entered.filter(|_| append.sync);
        Round { of_stream: self.round, of_log }
    }

    /// Goes on in `segment` at `next_id`, a lower id than before. Nothing must be staged.
    pub(crate) fn go_back(&mut self, next_id: u64, segment: OpenSegment) {
        self.next_id = next_id;
        self.pending.first_id = next_id;
        self.segment = Some(segment);
    }

    /// Takes what is staged and opens the next round with `spare`; `None` if nothing is staged.
    pub(crate) fn take(&mut self, spare: &mut Pending) -> Option<Taken> {
        let (segment, proof) = (self.segment.as_ref()?, self.proof()?);
        if self.pending.appends == 0 {
            return None;
        }
        let pending = std::mem::replace(&mut self.pending, std::mem::take(spare));
        self.pending.first_id = self.next_id;
        self.entered = None;
        let first_id = pending.first_id;
        let round = self.round;
        self.round += 1;
        let offset = segment.end - pending.frames.len() as u64;
        let segment = segment.first_id;
        Some(Taken { round, pending, segment, first_id, offset, proof })
    }
}

/// What is missing before an append can be staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Nothing.
    Nothing,
    /// Reserved space up to this offset.
    Room(u64),
    /// A new segment.
    Segment,
}
