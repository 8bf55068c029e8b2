//! Rounds of the whole log: the tails of many streams made durable by one sync.
//!
//! An append that must be durable enters its stream into the *open round*. Whoever leads takes the
//! streams that entered, which opens the next round, then the lead of each and what is staged in it:
//!
//! ```text
//!  one stream      written back and synced, as if it were alone
//!  several         one frame in the journal, one sync; published together; the leads are given up;
//!                  then each share is written to its segment, unsynced
//!  left out        shares of 8 KiB and more, and streams that have something below their share
//!                  which is durable nowhere: whoever waits for those writes them back, in parallel
//! ```
//!
//! So a round has no outcome of its own: who waited for it looks at the round of the stream.
//!
//! A leader holds the leads of several streams, and waits for them. Nobody else who has one waits for
//! another, or for the lead of the log.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::batch::Request;
use super::journal::{Journal, Settings};
use super::rounds::{Rounds, Turn};
use super::{Lead, Stream};
use crate::activity::Work;
use crate::environment::{self, Maintenance};
use crate::error::Result;
use crate::format::MAX_FRAME_LEN;
use crate::log::journaled::{LARGE_LEN, Share};
use crate::log::{Log, Whole};
use crate::storage::Storage;
use crate::sync::{Arc, AtomicBool, AtomicU32, Mutex, Ordering, lock};

/// The bytes of batches that one round takes, or one batch.
const ROUND_LEN_MAX: u64 = MAX_FRAME_LEN;

/// What all streams of a log commit with.
#[derive(Debug)]
pub(crate) struct Group {
    mode: environment::Journal,
    rounds: Rounds,
    open: Mutex<OpenRound>,
    /// How many appends are staged in the open round, or were a moment ago.
    staged: AtomicU32,
    journal: Journal,
    whole: Arc<Whole>,
    /// Streams whose shares are in the journal and not in their segments yet; `None`: whoever leads
    /// writes them at once.
    written_later: Option<Mutex<Vec<Arc<Stream>>>>,
    /// Whether there are some that nobody has been told of.
    is_later_due: AtomicBool,
}

/// The round that streams enter. Its lock is taken while the tail of a stream is locked.
#[derive(Debug)]
struct OpenRound {
    /// The first is 1.
    number: u64,
    streams: Vec<Arc<Stream>>,
    batches: Vec<Arc<Request>>,
    /// The list of streams of a round before, emptied, for the next one.
    spare: Vec<Arc<Stream>>,
}

/// A stream that this thread leads.
struct Led<'a> {
    stream: &'a Arc<Stream>,
    lead: Lead<'a>,
    /// Whether a batch over several streams has a part in it.
    in_batch: bool,
}

impl Group {
    /// Nothing is staged.
    pub(crate) fn new(
        mode: environment::Journal,
        how: Maintenance,
        journal: Journal,
        whole: Arc<Whole>,
    ) -> Arc<Self> {
        let (streams, batches, spare) = (Vec::new(), Vec::new(), Vec::new());
        let open = OpenRound { number: 1, streams, batches, spare };
        let (rounds, open, staged) = (Rounds::new(), Mutex::new(open), AtomicU32::new(0));
        let written_later = (how == Maintenance::Thread).then(Mutex::default);
        let is_later_due = AtomicBool::new(false);
        Arc::new(Self { mode, rounds, open, staged, journal, whole, written_later, is_later_due })
    }

    /// What a log has that is open for reading only: nothing is ever staged.
    pub(crate) fn unused(storage: &Arc<dyn Storage>, whole: Arc<Whole>) -> Arc<Self> {
        let settings = Settings {
            storage: Arc::clone(storage),
            root: PathBuf::new(),
            salt: 0,
            root_syncs: Arc::default(),
            len_max: 0,
            threads_max: 1,
        };
        let journal = Journal::new(settings, Arc::clone(&whole));
        Self::new(environment::Journal::Off, Maintenance::Inline, journal, whole)
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The directory of the log.
    pub(super) fn root(&self) -> &Path {
        self.journal.root()
    }

    /// Whether appends to single streams are gathered in rounds of the log.
    pub(super) fn gathers(&self) -> bool {
        self.mode != environment::Journal::Off
    }

    /// Enters a stream into the open round, and returns its number. Called while the stream's tail is
    /// locked, so that what is staged is taken with this round, or before.
    pub(super) fn enter(&self, stream: &Arc<Stream>) -> u64 {
        let mut open = lock(&self.open);
        open.streams.push(Arc::clone(stream));
        open.number
    }

    /// Takes note that one more append waits for the open round.
    pub(super) fn staged_one_more(&self) {
        self.staged.fetch_add(1, Ordering::Relaxed);
    }

    /// Enters a batch over several streams into the open round, and waits for that.
    pub(super) fn commit_batch(&self, batch: &Arc<Request>) {
        let round = {
            let mut open = lock(&self.open);
            open.batches.push(Arc::clone(batch));
            open.number
        };
        self.staged_one_more();
        self.wait(round);
    }

    /// Waits until what was staged before the call has been committed, or is left to its stream.
    pub(crate) fn wait_for_staged(&self) {
        let round = lock(&self.open).number;
        self.wait(round);
    }

    /// Waits until a round is over, leading it if nobody else does. What it did to a stream is to be
    /// asked there.
    pub(super) fn wait(&self, round: u64) {
        if self.rounds.wait(round) == Turn::Lead {
            self.rounds.gather(|| self.staged.load(Ordering::Relaxed));
            self.lead_round();
        }
    }

    fn lead_round(&self) {
        let work = self.whole.activity.begin(0);
        let (number, mut streams, batches) = {
            let mut open = lock(&self.open);
            let number = open.number;
            open.number += 1;
            let spare = std::mem::take(&mut open.spare);
            let streams = std::mem::replace(&mut open.streams, spare);
            (number, streams, std::mem::take(&mut open.batches))
        };
        let appends = self.staged.swap(0, Ordering::Relaxed);
        streams.extend(batches.iter().flat_map(|batch| batch.streams().cloned()));
        streams.sort_unstable_by_key(place_of);
        streams.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let journaled = self.commit(number, &streams, &batches, &work);
        drop(work);
        self.rounds.finish(Some((number, appends)), self.staged.load(Ordering::Relaxed), false);
        match &self.written_later {
            Some(later) => {
                let mut news =
                    journaled.into_iter().filter(|s| s.begins_to_be_unwritten()).peekable();
                if news.peek().is_some() {
                    lock(later).extend(news.cloned());
                    self.is_later_due.store(true, Ordering::Release);
                }
            }
            None => journaled.into_iter().for_each(|stream| stream.write_out()),
        }
        streams.clear();
        lock(&self.open).spare = streams;
    }

    /// Streams of which something is in the journal and not in the segment yet, that nobody has been
    /// told of; one caller is told, who must [write](Stream::write_out) it before long.
    pub(crate) fn written_later(&self) -> Vec<Arc<Stream>> {
        match &self.written_later {
            Some(later)
                if self.is_later_due.load(Ordering::Relaxed)
                    && self.is_later_due.swap(false, Ordering::AcqRel) =>
            {
                std::mem::take(&mut *lock(later))
            }
            _ => Vec::new(),
        }
    }

    /// Forgets the streams that entered and were committed otherwise. The log is closed, and nobody waits:
    /// each of them holds this, so none would ever go.
    pub(crate) fn forget_streams(&self) {
        lock(&self.open).streams.clear();
        if let Some(later) = &self.written_later {
            lock(later).clear();
        }
    }

    /// Commits what is staged in several streams; returns those whose shares are in the journal.
    fn commit<'a>(
        &self,
        number: u64,
        streams: &'a [Arc<Stream>],
        batches: &[Arc<Request>],
        work: &Work<'_>,
    ) -> Vec<&'a Arc<Stream>> {
        if let ([stream], []) = (streams, batches)
            && self.may_write_back(stream.log())
        {
            // The error is in the poisoned stream, where whoever waits finds it.
            let _ = stream.lead(|lead| lead.commit(true));
            return Vec::new();
        }
        let len_max = batches.iter().map(|batch| batch.len()).sum::<u64>()
            + (streams.len() * (2 * LARGE_LEN)) as u64;
        if let Err(error) = self.journal.make_room(len_max) {
            // Single appends are left to their streams.
            batches.iter().for_each(|batch| batch.fail(&error));
            return Vec::new();
        }
        let mut led: Vec<Led<'a>> = Vec::with_capacity(streams.len());
        for stream in streams {
            stream.rounds.take_lead();
            led.push(Led { stream, lead: stream.log.lead(), in_batch: false });
        }
        stage_batches(&mut led, batches);
        let mut shares = take_shares(led, batches);
        if let [(only, _)] = &*shares
            && self.may_write_back(only.stream.log())
            && let Some((mut only, share)) = shares.pop()
        {
            match only.lead.commit_share(share) {
                Ok(()) => {
                    work.committed(only.lead.committed().map_or(0, |done| done.appends));
                    batches.iter().for_each(|batch| batch.succeed());
                }
                Err(error) => batches.iter().for_each(|batch| batch.fail_staged(&error)),
            }
            only.stream.finish(only.lead);
        }
        if shares.is_empty() {
            return Vec::new();
        }
        match self.write_shares(&shares) {
            Ok(written) => self.publish(number, written, shares, batches, work),
            Err(error) => {
                let cause = self.whole.fail(error);
                batches.iter().for_each(|batch| batch.fail_with(&cause));
                shares.into_iter().for_each(|(led, _)| led.stream.finish(led.lead));
                Vec::new()
            }
        }
    }

    /// Whether a stream that is alone in its round is written back. One whose file is closed would
    /// have to open it.
    fn may_write_back(&self, log: &Log) -> bool {
        self.mode != environment::Journal::On && log.has_file()
    }

    fn write_shares(&self, shares: &[(Led<'_>, Share)]) -> std::io::Result<(u64, Bytes)> {
        let records: Vec<_> = shares.iter().map(|(_, share)| share.record).collect();
        let payload: Vec<&[u8]> = shares.iter().map(|(_, share)| share.frames()).collect();
        let streams = shares.iter().map(|(led, _)| led.stream);
        self.journal.write(&records, &payload, streams)
    }

    fn publish<'a>(
        &self,
        number: u64,
        (generation, mut payload): (u64, Bytes),
        shares: Vec<(Led<'a>, Share)>,
        batches: &[Arc<Request>],
        work: &Work<'_>,
    ) -> Vec<&'a Arc<Stream>> {
        let mut published = Vec::with_capacity(shares.len());
        for (mut led, share) in shares {
            let frames = payload.split_to(share.frames().len());
            led.lead.publish_share(share, frames, number);
            led.stream.journaled_in.store(generation, Ordering::Relaxed);
            published.push(led);
        }
        self.whole.publish(number);
        let done = published.iter().filter_map(|led| led.lead.committed());
        work.committed(done.map(|done| done.appends).sum());
        let leads: Vec<&Lead<'_>> = published.iter().map(|led| &led.lead).collect();
        Lead::tell_others(&leads);
        batches.iter().for_each(|batch| batch.succeed());
        let mut streams = Vec::with_capacity(published.len());
        for Led { stream, lead, .. } in published {
            stream.finish(lead);
            streams.push(stream);
        }
        streams
    }
}

/// The order in which a leader takes the leads of streams. One that was deleted and restored has the
/// same number.
fn place_of(stream: &Arc<Stream>) -> (Option<u64>, *const Stream) {
    (stream.log().number(), Arc::as_ptr(stream))
}

/// Stages the batches, each in all of its streams at once or in none.
fn stage_batches(led: &mut [Led<'_>], batches: &[Arc<Request>]) {
    if batches.is_empty() {
        return;
    }
    // Before the first of them is staged: from then on nothing may be written back.
    for batch in batches {
        for stream in batch.streams() {
            if let Ok(nth) = led.binary_search_by_key(&place_of(stream), |led| place_of(led.stream))
                && !led[nth].in_batch
            {
                led[nth].in_batch = true;
                // The error is in the poisoned stream, which refuses its part.
                let _ = led[nth].lead.prepare_for_journal();
            }
        }
    }
    let mut len = 0;
    for batch in batches {
        len += batch.len();
        if len > ROUND_LEN_MAX && len > batch.len() {
            // Those that are left out come again.
            break;
        }
        batch.stage();
    }
}

/// Takes what is staged, and gives up the leads of streams that have no share in the round.
fn take_shares<'a>(led: Vec<Led<'a>>, batches: &[Arc<Request>]) -> Vec<(Led<'a>, Share)> {
    let mut shares = Vec::with_capacity(led.len());
    let mut without = Vec::new();
    for mut led in led {
        match led.lead.take_share(led.in_batch) {
            Some(share) => shares.push((led, share)),
            None => without.push(led),
        }
    }
    // A sync in the background can have failed since a batch was staged. Then none of its parts may be
    // there, nor anything that is staged behind them.
    let mut is_broken = !batches.is_empty();
    while is_broken {
        is_broken = false;
        for batch in batches {
            let has_share = |stream: &Arc<Stream>| {
                let of_share = |(led, _): &(Led<'_>, Share)| place_of(led.stream);
                shares.binary_search_by_key(&place_of(stream), of_share).is_ok()
            };
            if !batch.is_staged() || batch.streams().all(has_share) {
                continue;
            }
            is_broken = true;
            let cause = batch.break_up();
            for stream in batch.streams() {
                stream.log().poison(&cause);
            }
            let mut kept = Vec::with_capacity(shares.len());
            for (led, share) in shares {
                if batch.streams().any(|stream| Arc::ptr_eq(stream, led.stream)) {
                    without.push(led);
                } else {
                    kept.push((led, share));
                }
            }
            shares = kept;
        }
    }
    without.into_iter().for_each(|led| led.stream.finish(led.lead));
    shares
}

impl Stream {
    /// Writes to the segment what is in the journal, if the file is open and nobody leads. Whoever
    /// leads does it before anything else.
    pub(crate) fn write_out(self: &Arc<Self>) {
        // Before, so that what is committed from now on is written later.
        self.unwritten.store(false, Ordering::SeqCst);
        if self.log.has_file() && self.rounds.try_lead() {
            // The error is in the poisoned stream, whose next append returns it.
            let _ = self.with_lead(|lead| lead.write_out_if_open());
        }
    }

    /// Whether it had nothing to write out until now; it has from now on.
    fn begins_to_be_unwritten(&self) -> bool {
        !self.unwritten.swap(true, Ordering::SeqCst)
    }

    /// Makes everything durable in the segments of the stream, so that the journal is not needed for
    /// it any more.
    pub(super) fn settle(&self) -> Result<()> {
        self.lead(|lead| lead.settle())
    }

    /// The number of the stream, if something of it is in the journal.
    fn number_in_journal(&self) -> Option<u64> {
        self.log.number().filter(|_| self.group.journal.is_live(&self.journaled_in))
    }

    /// Sees to it that [`Stream::void_in_journal`] needs no more space.
    pub(super) fn make_room_for_void(&self) -> Result<()> {
        // What was being written when it failed may be there when the log is opened again.
        self.group.journal.check()?;
        match self.number_in_journal() {
            Some(_) => self.group.journal.make_room_for_void(),
            None => Ok(()),
        }
    }

    /// Sees to it that nothing which is in the journal of this stream by now comes back. To be called
    /// by whoever leads.
    pub(super) fn void_in_journal(&self) -> Result<()> {
        if let Some(number) = self.number_in_journal() {
            self.group.journal.void(number)?;
            self.journaled_in.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::batch::{Entries, Part};
    use crate::commit::tests::{append, unsynced_stream};
    use crate::log::tail::Append;
    use crate::storage::SimDisk;

    /// A sync in the background fails between the staging of a batch and the taking of its shares: no part
    /// of it goes to the journal, but what others have staged does.
    #[test]
    fn of_a_batch_that_lost_a_part_nothing_is_taken() {
        let mut streams: Vec<_> =
            (1..4).map(|seed| unsynced_stream(&SimDisk::new(seed), 100)).collect();
        streams.iter().for_each(|stream| append(stream, b"has room from now on"));
        streams.iter().for_each(|stream| stream.sync().unwrap());
        streams.sort_unstable_by_key(place_of);
        let parts = streams[..2].iter().map(|stream| {
            let mut entries = Entries::default();
            entries.push(b"part", 0);
            let entries = Arc::new(entries);
            Part { stream: Arc::clone(stream), entries, expected: None, packed: None }
        });
        let batches = [Request::new(parts.collect())];
        let entries: &[&[u8]] = &[b"of somebody else"];
        let other = Append { entries, batch: false, sync: true, expected: None, packed: None };
        streams[2].log().stage(&other, None).unwrap();

        let mut led: Vec<Led<'_>> = streams
            .iter()
            .map(|stream| {
                stream.rounds.take_lead();
                Led { stream, lead: stream.log().lead(), in_batch: false }
            })
            .collect();
        stage_batches(&mut led, &batches);
        assert!(batches[0].is_staged());
        streams[1].log().poison(&Arc::new(std::io::Error::other("a sync failed")));
        let shares = take_shares(led, &batches);
        assert_eq!(shares.len(), 1);
        assert!(Arc::ptr_eq(shares[0].0.stream, &streams[2]));
        assert!(!batches[0].is_staged(), "it is told that it is durable");
        assert!(streams[0].log().is_over(), "what is staged behind it can be appended");
    }
}
