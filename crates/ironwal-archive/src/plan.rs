//! What a push makes of what the archive holds and what the log holds. Pure: no I/O.

use ironwal::inspect::{HeldSegment, HeldStream};

use crate::manifest::{Ids, Manifest, Replaced, Segment, Stream};

/// The log of checkpoints. Records in it speak of entries of all shards.
pub(crate) const CHECKPOINTS: &str = ".checkpoints";

/// A stream as the next manifest has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Without segments yet.
    pub(crate) stream: Stream,
    pub(crate) segments: Vec<Source>,
}

/// Where a segment comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is in the archive.
    Archived(Segment),
    /// It is to be read: its place in the stream that is held, and what the archive has of it so far.
    Held { stream: usize, segment: usize, before: Option<Segment> },
}

impl Source {
    fn ids(&self, held: &[HeldStream]) -> (u64, u64, bool) {
        match self {
            Self::Archived(it) => (it.first_id, it.next_id, it.has_predecessor),
            Self::Held { stream, segment, .. } => {
                let it = &held[*stream].segments[*segment];
                (it.first_id, it.next_id, it.has_predecessor)
            }
        }
    }
}

/// Makes the streams of the next manifest, in the order of their numbers. Without `tails`, of each stream only
/// what is full, and the checkpoints stay as they are: they may speak of what is not full yet.
pub(crate) fn plan(base: &Manifest, held: &[HeldStream], tails: bool) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for (nth, stream) in held.iter().enumerate() {
        let archived = base.streams.iter().find(|it| it.number == stream.number);
        if !tails && (stream.name == CHECKPOINTS || stream.segments.iter().all(|it| !it.is_full)) {
            planned.extend(archived.map(as_it_is));
            continue;
        }
        planned.push(plan_stream(base, archived, held, nth, tails));
    }
    for gone in &base.streams {
        if !held.iter().any(|it| it.number == gone.number) {
            let mut gone = as_it_is(gone);
            gone.stream.is_deleted = true;
            planned.push(gone);
        }
    }
    planned.sort_by_key(|it| it.stream.number);
    planned
}

fn as_it_is(stream: &Stream) -> Planned {
    let segments = stream.segments.iter().cloned().map(Source::Archived).collect();
    Planned { stream: Stream { segments: Vec::new(), ..stream.clone() }, segments }
}

fn plan_stream(
    base: &Manifest,
    archived: Option<&Stream>,
    held: &[HeldStream],
    nth: usize,
    tails: bool,
) -> Planned {
    let stream = &held[nth];
    let known = archived.map_or(&[][..], |it| &it.segments);
    let wanted = |it: &HeldSegment| tails || it.is_full;
    let due: Vec<&HeldSegment> = stream.segments.iter().filter(|it| wanted(it)).collect();
    let start = due.first().map_or(0, |it| it.first_id);
    let end = due.last().map_or(start, |it| it.next_id);
    let mut segments: Vec<Source> =
        known.iter().filter(|it| it.next_id <= start).cloned().map(Source::Archived).collect();
    for segment in 0..stream.segments.len() {
        let it = &stream.segments[segment];
        if !wanted(it) {
            continue;
        }
        let before = known.iter().find(|old| old.first_id == it.first_id).cloned();
        segments.push(match before {
            Some(same) if is_same(&same, it) => Source::Archived(same),
            before => Source::Held { stream: nth, segment, before },
        });
    }
    if !tails {
        segments.extend(kept_tail(known, stream, end).cloned().map(Source::Archived));
    }
    let mut replaced = archived.map_or_else(Vec::new, |it| it.replaced.clone());
    for old in known.iter().filter(|old| !goes_on(old, &segments, held)) {
        let ids = Ids::from(old.first_id..old.next_id);
        replaced.push(Replaced { ids, cut: old.cut, manifest: base.number });
    }
    let stream = Stream {
        name: stream.name.clone(),
        dir: stream.dir.clone(),
        number: stream.number,
        is_deleted: false,
        segments: Vec::new(),
        gaps: gaps(&segments, held),
        replaced,
    };
    Planned { stream, segments }
}

/// Whether what is full in the log is what the archive has.
fn is_same(archived: &Segment, held: &HeldSegment) -> bool {
    archived.is_full
        && held.is_full
        && (archived.next_id, archived.cut, archived.digest)
            == (held.next_id, held.cut, held.digest)
}

/// What an earlier push took of the segment that is not full yet, where that one is still the beginning of it.
fn kept_tail<'a>(known: &'a [Segment], stream: &HeldStream, end: u64) -> Option<&'a Segment> {
    let tail = stream.segments.iter().find(|it| !it.is_full && it.first_id == end)?;
    let is_it = |old: &&Segment| {
        old.first_id == tail.first_id && old.cut == tail.cut && old.next_id <= tail.next_id
    };
    known.iter().find(is_it)
}

/// Whether an archived segment is there, or one that it is the beginning of.
fn goes_on(old: &Segment, segments: &[Source], held: &[HeldStream]) -> bool {
    segments.iter().any(|it| match it {
        Source::Archived(it) => it == old,
        Source::Held { stream, segment, .. } => {
            let it = &held[*stream].segments[*segment];
            it.first_id == old.first_id
                && it.cut == old.cut
                && it.next_id >= old.next_id
                && !old.is_full
        }
    })
}

fn gaps(segments: &[Source], held: &[HeldStream]) -> Vec<Ids> {
    let mut gaps = Vec::new();
    let mut due = None;
    for segment in segments {
        let (first_id, next_id, has_predecessor) = segment.ids(held);
        // A stream may begin at an id other than 0.
        let due_id = due.unwrap_or(if has_predecessor { 0 } else { first_id });
        if due_id < first_id {
            gaps.push(Ids::from(due_id..first_id));
        }
        due = Some(next_id);
    }
    gaps
}
