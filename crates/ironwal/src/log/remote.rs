//! A stream that another process writes to, read beside it.
//!
//! The [`Watermark`] says what is committed. While it says that nothing but appending and pruning
//! has happened, the segments that are known are followed to the new end; otherwise they are looked
//! up anew. Nothing is ever written.

use std::ops::Range;
use std::time::Duration;

use super::mark::{Told, Watermark, Writing};
use super::recover::view::View;
use super::recover::{Survey, Surveyed, survey};
use super::{Identity, Log};
use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::header::{FirstKept, HEADER_LEN};
use crate::segment::index::{Index, PointPicker};
use crate::segment::reader::ReadError;
use crate::segment::{ReadContext, Segment, path_of};
use crate::storage::OpenMode;
use crate::sync::{Arc, Mutex, Ordering, lock, sleep};

/// How often a stream is looked at that changes under our eyes, or that nobody tells of yet, and how
/// long to wait between two looks: ten seconds together, or a little more.
const LOOKS_MAX: u32 = 20_000;
const PAUSE: Duration = Duration::from_micros(500);

/// What is known of a stream that another process writes to.
#[derive(Debug)]
pub(crate) struct Remote {
    watermark: Arc<Watermark>,
    journal: Arc<View>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the segments that are known go back to.
    seen: Writing,
    /// The first ids and cut numbers of the segments.
    cuts: Vec<(u64, u64)>,
    /// Picks the points of the newest segment.
    picker: PointPicker,
    /// Its directory is gone, or another stream's.
    gone: bool,
    /// Whether it is worth waiting for somebody to tell.
    is_patient: bool,
}

impl Log {
    /// A stream in a log that was opened for reading only. Nothing of it is known yet.
    pub(crate) fn remote(
        context: Arc<ReadContext>,
        identity: Identity,
        watermark: Arc<Watermark>,
        journal: Arc<View>,
    ) -> Self {
        let state = State {
            seen: Writing::Unknown,
            cuts: Vec::new(),
            picker: PointPicker::new(),
            gone: false,
            is_patient: true,
        };
        let remote = Remote { watermark, journal, state: Mutex::new(state) };
        Self { remote: Some(remote), ..Self::without_writer(context, identity) }
    }

    /// Takes note of what another process has committed, if one writes to the stream; waits while it
    /// recovers the log, or is in the middle of a change. It may have acknowledged more than what was
    /// known before, so that is not good enough.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`]: it does not tell what is committed. What was known stays.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let mut state = lock(&remote.state);
        if state.gone || remote.watermark.is_as_before(self.number(), state.seen) {
            return Ok(());
        }
        let looks_max = if state.is_patient { LOOKS_MAX } else { 1 };
        for look in 1..=looks_max {
            if self.look(remote, &mut state)? {
                state.is_patient = true;
                return Ok(());
            }
            if look < looks_max {
                sleep(PAUSE);
            }
        }
        // Whoever reads on waits no more, until something is told again.
        state.is_patient = false;
        let dir = &self.identity.dir;
        Err(Error::Locked(dir.parent().unwrap_or(dir).to_path_buf()))
    }

    /// Whether [`Log::refresh`] may find something new; makes no system call.
    pub(crate) fn may_have_changed(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| {
            // Whoever has the lock is looking.
            remote
                .state
                .try_lock()
                .is_ok_and(|state| !remote.watermark.is_as_before(self.number(), state.seen))
        })
    }

    /// Looks once. `false`: nobody tells, or it changed meanwhile.
    fn look(&self, remote: &Remote, state: &mut State) -> Result<bool> {
        let watermark = &remote.watermark;
        let now = watermark.look(self.number())?;
        if now == Writing::Unknown {
            return Ok(false);
        }
        // One that is not there yet may be by now, and still not be told of.
        if now == state.seen && self.number().is_some() {
            return Ok(true);
        }
        if let Some(told) = follows(state.seen, now)
            && self.follow(remote, state, told)?
        {
            state.seen = now;
            return Ok(true);
        }
        let Some(found) = self.survey(&remote.journal)? else { return Ok(false) };
        if self.number().is_none()
            && let Some(number) = found.as_ref().and_then(|found| found.number)
        {
            // What was told before was not told of this stream.
            self.identity.number.get_or_init(|| number);
            return self.look(remote, state);
        }
        // What was found counts only if nothing but appending and pruning has happened meanwhile.
        let after = watermark.look(self.number())?;
        if now == Writing::Unknown || (now != after && follows(now, after).is_none()) {
            return Ok(false);
        }
        match found {
            Some(found) if found.number.is_none() || found.number == self.number() => {
                if !self.take_over(state, found, now)? {
                    return Ok(false);
                }
            }
            // It is not there yet.
            None if self.number().is_none() => {}
            // It is gone, or another one has its directory.
            _ => {
                state.gone = true;
                self.set_surveyed(state, Vec::new(), self.first_kept(), self.next_id(), true);
                self.first_kept.store(self.next_id(), Ordering::Release);
            }
        }
        state.seen = now;
        Ok(true)
    }

    /// What is known of the stream goes back to, and its ids, if another process may write to it.
    pub(crate) fn seen(&self) -> Option<(Writing, Range<u64>)> {
        let state = lock(&self.remote.as_ref()?.state);
        Some((state.seen, self.first_id()..self.next_id()))
    }

    /// Whether the stream is gone for good: deleted by the process that writes.
    pub(crate) fn is_gone(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| lock(&remote.state).gone)
    }

    /// Follows the segments to where they end now. `false`: they are not what they were.
    fn follow(&self, remote: &Remote, state: &mut State, told: Told) -> Result<bool> {
        if told.next_id < self.next_id() {
            return Ok(false);
        }
        while self.next_id() < told.next_id {
            let Some(newest) = self.segments().last().cloned() else { return Ok(false) };
            let mut follow = || match newest.follow(told.next_id, &mut state.picker) {
                Err(ReadError::Io(error)) => Err(Error::from(error)),
                Err(ReadError::Damaged(_) | ReadError::Retired) => Ok(None),
                Ok(reached) => Ok(Some(reached)),
            };
            let Some(mut reached) = follow()? else { return Ok(false) };
            if reached < told.next_id && self.look_into_journal(remote, &newest)? {
                let Some(further) = follow()? else { return Ok(false) };
                reached = further;
            }
            // A segment that began meanwhile is listed before what is in it is committed.
            if reached < told.next_id && !self.follow_to_next(state, reached)? {
                return Ok(false);
            }
            self.committed.store(reached, Ordering::Release);
        }
        self.forget_pruned(state, told.first_id);
        Ok(true)
    }

    /// Takes what the journal holds of the newest segment; returns whether that is anything new.
    fn look_into_journal(&self, remote: &Remote, newest: &Segment) -> Result<bool> {
        let Some(number) = self.number() else { return Ok(false) };
        let file = match self.storage.open(newest.path(), OpenMode::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        remote.journal.refresh()?;
        let pieces = remote.journal.pieces(number, newest.first_id(), &*file)?;
        let unwritten = newest.unwritten();
        if let Some((first, _)) = pieces.first() {
            // What was before it in the journal is in the segment by now.
            unwritten.forget_below(*first);
        }
        let known_to = unwritten.end();
        let mut any = false;
        for piece in pieces.into_iter().filter(|piece| piece.0 >= known_to) {
            any = true;
            unwritten.push(piece.0, piece.1);
        }
        Ok(any)
    }

    /// Lists the segment that begins with `first_id` behind the newest one that is known.
    fn follow_to_next(&self, state: &mut State, first_id: u64) -> Result<bool> {
        let known = self.newest_segment() == Some(first_id);
        let (Some(number), false) = (self.number(), known) else { return Ok(false) };
        let seed = SegmentSeed::new(self.identity.salt, number, first_id);
        let path = path_of(&self.identity.dir, first_id);
        match self.storage.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let nothing = (HEADER_LEN, first_id);
        let (context, index) = (Arc::clone(&self.context), Index::empty());
        let segment = Segment::new(context, path, first_id, Some(seed), nothing, index);
        let mut segments = self.segments().to_vec();
        segments.push(Arc::new(segment));
        self.set_segments(segments);
        state.cuts.push((first_id, state.cuts.last().map_or(0, |(_, cut)| *cut)));
        state.picker = PointPicker::new();
        Ok(true)
    }

    fn forget_pruned(&self, state: &mut State, first_id: u64) {
        if first_id <= self.first_id() {
            return;
        }
        let change = self.change();
        self.set_first_kept(FirstKept { id: first_id, ..self.first_kept() });
        let freed = self.full_segments_before(first_id);
        self.set_segments(self.segments()[freed.len()..].to_vec());
        drop(change);
        state.cuts.drain(..freed.len().min(state.cuts.len()));
        freed.iter().for_each(|segment| segment.retire(segment.next_id()));
    }

    /// Looks the segments up anew; `Some(None)` if there is no such stream, `None` if files went away
    /// meanwhile.
    fn survey(&self, journal: &View) -> Result<Option<Option<Survey>>> {
        let dir = &self.identity.dir;
        let is_missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        match survey(&self.context, dir, self.identity.salt, journal) {
            Err(Error::Io(error)) if is_missing(&error) => match self.storage.list(dir) {
                Err(error) if is_missing(&error) => Ok(Some(None)),
                other => other.map(|_| None).map_err(Error::Io),
            },
            surveyed => surveyed.map(Some),
        }
    }

    /// Takes over what was found, as far as it is committed. `false`: it is not what is told.
    fn take_over(&self, state: &mut State, surveyed: Survey, now: Writing) -> Result<bool> {
        let Survey { mut first_kept, mut next_id, durable, mut segments, end_lost, .. } = surveyed;
        if let Writing::Somebody { told: Some(told), .. } = now {
            if next_id < told.next_id {
                return Ok(false);
            }
            // It can say more than what is told: a pruning is in the middle, or has failed there.
            first_kept.id = first_kept.id.max(told.first_id);
            if next_id > told.next_id && !self.end_at(&mut segments, told.next_id)? {
                return Ok(false);
            }
            next_id = told.next_id;
        }
        if let Some(damage) = end_lost {
            let _ = self.end_lost.set(damage);
        }
        self.durable.store(durable.min(next_id), Ordering::Release);
        let is_same_life = now.is_same_life(state.seen);
        self.set_surveyed(state, segments, first_kept, next_id, is_same_life);
        Ok(true)
    }

    /// Takes from segments what is not committed. `false`: `next_id` is not where one of them ends,
    /// nor a frame.
    fn end_at(&self, found: &mut Vec<Surveyed>, next_id: u64) -> Result<bool> {
        while found.len() > 1 && found.last().is_some_and(|it| it.segment.first_id() >= next_id) {
            found.pop();
        }
        let Some(newest) = found.last_mut() else { return Ok(false) };
        match newest.segment.ending_at(next_id) {
            Ok(ending) => newest.segment = Arc::new(ending),
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(ReadError::Damaged(_) | ReadError::Retired) => return Ok(false),
        }
        Ok(true)
    }

    /// Takes over what was found. Segments that are the same as before stay what they are, for those
    /// who read them; in another life of the stream none is.
    fn set_surveyed(
        &self,
        state: &mut State,
        found: Vec<Surveyed>,
        first_kept: FirstKept,
        next_id: u64,
        is_same_life: bool,
    ) {
        let before = self.segments();
        let (cuts, known) = (&state.cuts, &before);
        let same = |surveyed: &Surveyed| {
            let (first_id, next_id) = (surveyed.segment.first_id(), surveyed.segment.next_id());
            let at = known.binary_search_by_key(&first_id, |segment| segment.first_id()).ok()?;
            let is_known = is_same_life && cuts.get(at) == Some(&(first_id, surveyed.cut));
            if !is_known || known[at].next_id() > next_id {
                return None;
            }
            let followed = known[at].follow(next_id, &mut PointPicker::new());
            followed.is_ok_and(|reached| reached == next_id).then(|| Arc::clone(&known[at]))
        };
        let kept: Vec<Option<Arc<Segment>>> = found.iter().map(same).collect();
        // A cut gives the segment that it goes through another number. What was cut off may have grown
        // again, so where in the segment it was is not known.
        let is_cut = |it: &Surveyed| {
            let first_id = it.segment.first_id();
            let before = cuts.binary_search_by_key(&first_id, |(before, _)| *before);
            before.is_ok_and(|at| cuts[at].1 != it.cut)
        };
        let cut_in = found.iter().find(|it| is_cut(it)).map(|cut| cut.segment.first_id());
        let cut_to = cut_in.or((next_id < self.next_id()).then_some(next_id));
        // Whoever reads one that was pruned, or that is known anew, goes on to its end. What was cut is
        // looked up anew in what has taken its place.
        let stays = |segment: &Arc<Segment>| {
            let first_id = segment.first_id();
            let at = found.binary_search_by_key(&first_id, |it| it.segment.first_id()).ok()?;
            let end = found[at].segment.next_id().min(segment.next_id());
            (is_same_life && !is_cut(&found[at])).then_some(end)
        };
        let is_pruned = |segment: &Arc<Segment>| segment.next_id() <= first_kept.id;
        let readable_to: Vec<u64> = before
            .iter()
            .map(|segment| match stays(segment) {
                Some(end) => end,
                None if is_pruned(segment) => segment.next_id(),
                None => segment.first_id(),
            })
            .collect();
        let cuts = found.iter().map(|it| (it.segment.first_id(), it.cut)).collect();
        let segments: Vec<Arc<Segment>> = found
            .into_iter()
            .zip(&kept)
            .map(|(surveyed, kept)| kept.clone().unwrap_or(surveyed.segment))
            .collect();
        let change = self.change();
        // The ends in this order: an id that is in no segment any more is known to be gone.
        if next_id < self.next_id() {
            self.committed.store(next_id, Ordering::Release);
        }
        if first_kept > self.first_kept() {
            self.set_first_kept(first_kept);
        }
        self.set_segments(segments.clone());
        self.set_first_kept(first_kept);
        self.committed.store(next_id, Ordering::Release);
        drop(change);
        if let Some(end) = cut_to {
            self.followers.tell(end);
        }
        for (segment, readable_to) in before.iter().zip(readable_to) {
            if !segments.iter().any(|it| Arc::ptr_eq(it, segment)) {
                segment.retire(readable_to);
            }
        }
        state.cuts = cuts;
        state.picker = PointPicker::new();
    }
}

/// What is told, if only appending and pruning lead there from what was seen.
fn follows(seen: Writing, now: Writing) -> Option<Told> {
    match (seen, now) {
        (
            Writing::Somebody { epoch: before, told: Some(was), .. },
            Writing::Somebody { epoch, told: Some(is), .. },
        ) if epoch == before && was.changes == is.changes => Some(is),
        _ => None,
    }
}
