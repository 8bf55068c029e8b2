//! The stream over what recovery kept.

use super::found::Found;
use crate::format::checksum::SegmentSeed;
use crate::format::header::{FirstKept, HEADER_LEN, Slot};
use crate::log::tail::{Limits, OpenSegment, Tail};
use crate::log::write::{IdleSegment, Writer};
use crate::log::{Identity, Log, Shared};
use crate::segment::index::Index;
use crate::segment::reader::DamageKind;
use crate::segment::recovery::{Action, Tail as TailFact};
use crate::segment::{Damage, ReadContext, Segment};
use crate::sync::{Arc, AtomicU64, Mutex, OnceLock, RwLock};

/// The stream over what was kept.
pub(super) fn build(
    context: &Arc<ReadContext>,
    shared: &Shared,
    identity: Identity,
    limits: Limits,
    kept: &[(Found, Action)],
    first_kept: FirstKept,
) -> Log {
    let segments = readers(context, kept);
    let (next_id, end_lost) = end_of(kept);
    let mut writer = Writer::new();
    let mut open = None;
    if let Some((newest, action)) = kept.last() {
        let end = newest.frames.end;
        writer.predecessor = (end.synced_to, true);
        // A sealed segment is full; a damaged one is never written to again.
        if let Some((slot, place)) = newest.slot
            && !newest.is_sealed()
            && *action != Action::Damaged
        {
            let number = slot.constants.stream_number;
            let seed = SegmentSeed::new(identity.salt, number, newest.first_id);
            open = Some(OpenSegment::new(seed, newest.first_id, end));
            let end = end.synced_to;
            writer.idle =
                Some(IdleSegment { slot, newest: place, end, ours: false, settled: true });
        }
    }
    let slots = || kept.iter().filter_map(|(segment, _)| segment.slot).map(|(slot, _)| slot);
    writer.cut_number = slots().map(|slot| slot.constants.cut_number).max().unwrap_or(0);
    Log {
        limits,
        tail: Mutex::new(Tail::new(next_id, open)),
        writer: Mutex::new(writer),
        segments: RwLock::new(Arc::new(segments)),
        committed: AtomicU64::new(next_id),
        durable: AtomicU64::new(next_id),
        first_kept: AtomicU64::new(first_kept.id),
        kept: Mutex::new(first_kept),
        end_lost: end_lost.map(OnceLock::from).unwrap_or_default(),
        ..Log::new(Arc::clone(context), shared.clone(), identity, limits)
    }
}

/// What readers see of the segments.
pub(super) fn readers(context: &Arc<ReadContext>, kept: &[(Found, Action)]) -> Vec<Arc<Segment>> {
    let mut segments = Vec::with_capacity(kept.len());
    for (nth, (segment, action)) in kept.iter().enumerate() {
        let later = kept.get(nth + 1).map(|(later, _)| later);
        let is_foreign = later.is_some_and(|later| segment.is_from_before_cut(*action, later));
        let slot = segment.slot.filter(|_| !is_foreign).map(|(slot, _)| slot);
        let reader = reader_for(context, segment, slot, later.map(|later| later.first_id));
        if segment.is_sealed() && *action != Action::Damaged {
            reader.set_proven();
        }
        segments.push(Arc::new(reader));
    }
    segments
}

/// The next id, and why it cannot be known.
pub(super) fn end_of(kept: &[(Found, Action)]) -> (u64, Option<Damage>) {
    let Some((newest, _)) = kept.last() else { return (0, None) };
    let lost = newest.slot.is_none().then(|| {
        let ids = newest.first_id..u64::MAX;
        Damage { ids, file: newest.path.clone(), offset: 0, kind: DamageKind::Header }
    });
    (newest.frames.end.next_id, lost)
}

impl Found {
    /// Whether the frames end with a whole seal.
    fn is_sealed(&self) -> bool {
        self.frames.tail == TailFact::Sealed
    }

    /// Whether it is damaged and may be one from before a cut that the next one is from behind, for it
    /// does not say of itself that it ends where that begins: either there were others between them, or
    /// somebody has put back what it was before. Nobody knows from where on its entries are of the life
    /// that was cut off.
    pub(crate) fn is_from_before_cut(&self, action: Action, later: &Self) -> bool {
        let cut_number = |of: &Self| of.slot.map(|(slot, _)| slot.constants.cut_number);
        let by_slot = self.slot.map(|(slot, _)| slot.proof.next_id);
        let own_end = self.seal.map(|seal| seal.next_id).or(by_slot);
        action == Action::Damaged
            && cut_number(self) < cut_number(later)
            && own_end != Some(later.first_id)
    }
}

fn reader_for(
    context: &Arc<ReadContext>,
    segment: &Found,
    slot: Option<Slot>,
    later_first_id: Option<u64>,
) -> Segment {
    let seed = slot.map(|slot| {
        SegmentSeed::new(slot.constants.salt, slot.constants.stream_number, segment.first_id)
    });
    let end = segment.frames.end;
    let next_id = match seed {
        Some(_) => later_first_id.map_or(end.next_id, |later| end.next_id.min(later)),
        None => later_first_id.unwrap_or(segment.first_id),
    };
    let read_from = slot.map_or(HEADER_LEN, |_| segment.index_known_from());
    let mut index = if read_from == HEADER_LEN { Index::empty() } else { Index::unread(read_from) };
    index.extend(&segment.frames.points);
    let extent = (end.synced_to, next_id);
    let (context, path) = (Arc::clone(context), segment.path.clone());
    let reader = Segment::new(context, path, segment.first_id, seed, extent, index);
    if let Some(unwritten) = &segment.unwritten {
        reader.take_unwritten_of(unwritten);
    }
    reader
}

impl Found {
    /// From where on recovery has read the frames and made their index.
    fn index_known_from(&self) -> u64 {
        match self.frames.points.first() {
            Some(point) => point.offset(),
            None => self.frames.end.synced_to,
        }
    }
}
