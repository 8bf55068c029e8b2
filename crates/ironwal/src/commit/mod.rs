//! Making appends durable together.
//!
//! Appends are gathered in *rounds*: [`rounds`] says who leads one and who waits. Each stream has its
//! own, in which it is written back: the whole pending tail in one piece, one sync. Appends that must
//! be durable belong to a round of the whole log as well ([`group`]), in which the tails of many
//! streams are made durable by one sync of the [`journal`]. [`Stream`] puts it together with the
//! stream's [`Log`]: stage, wait, lead.

pub(crate) mod batch;
mod files;
pub(crate) mod group;
mod journal;
mod parts;
pub(crate) mod queue;
pub(crate) mod rounds;
#[cfg(test)]
mod rounds_tests;
mod watchers;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::log::files::Permit;
use crate::log::journaled::LARGE_LEN;
use crate::log::tail::{Append, Round, Staged};
use crate::log::write::Lead;
use crate::segment::Segment;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, lock};
pub(crate) use files::Files;
pub(crate) use group::Group;
pub(crate) use journal::{Journal, Settings as JournalSettings};
use queue::Queue;
use rounds::{Rounds, Turn};
pub(crate) use watchers::Watch;
use watchers::Watchers;

/// The round that an append waits for, and how many bytes are staged in it; if there is none, it is
/// committed.
type Waiting = (Round, usize);

/// A stream that any number of threads append to.
#[derive(Debug)]
pub(crate) struct Stream {
    log: Arc<Log>,
    rounds: Rounds,
    watchers: Watchers,
    files: Arc<Files>,
    group: Arc<Group>,
    queue: Queue,
    /// The generation of the journal that the newest of its records are in; 0: none.
    journaled_in: AtomicU64,
    /// Whether somebody is going to [write out](Stream::write_out) what is in the journal only.
    unwritten: AtomicBool,
    /// Whether it stands in the queue of those that have files open.
    queued: AtomicBool,
    /// Whether it was appended to since the queue was looked through.
    used: AtomicBool,
    /// Held by whoever changes which segments there are, other than by appending.
    reshaping: Mutex<()>,
}

impl Stream {
    /// A stream over its log.
    pub(crate) fn new(log: Log, files: Arc<Files>, group: Arc<Group>) -> Self {
        Self {
            log: Arc::new(log),
            rounds: Rounds::new(),
            watchers: Watchers::default(),
            files,
            group,
            queue: Queue::default(),
            journaled_in: AtomicU64::new(0),
            unwritten: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            used: AtomicBool::new(false),
            reshaping: Mutex::default(),
        }
    }

    /// What it commits with.
    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Its log, for reading.
    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Appends, and returns when it is committed.
    ///
    /// `root` is the directory whose entry of the stream must be durable first.
    pub(crate) fn append(self: &Arc<Self>, root: &Path, append: &Append<'_>) -> Result<Range<u64>> {
        self.use_now();
        // What this thread has submitted before comes before.
        self.stage_queued();
        let (ids, in_round) = self.stage_in_turn(root, append)?;
        if let Some((round, len)) = in_round {
            self.wait(round, len, append.sync)?;
        }
        Ok(ids)
    }

    /// Appends one entry that need not be durable, and returns its id, if nothing has to be waited for.
    /// Otherwise nothing is done, and [`Stream::append`] is the way.
    pub(crate) fn append_in_place(self: &Arc<Self>, entry: &[u8]) -> Option<u64> {
        self.stage_queued();
        let id = self.log.place(entry)?;
        self.use_now();
        self.watchers.wake();
        Some(id)
    }

    /// Stages an append, making room for it, and waiting for rounds that are full.
    fn stage_in_turn(
        self: &Arc<Self>,
        root: &Path,
        append: &Append<'_>,
    ) -> Result<(Range<u64>, Option<Waiting>)> {
        let enter = || self.group.enter(self);
        let enter: Option<&dyn Fn() -> u64> = self.group.gathers().then_some(&enter);
        loop {
            let staged = match self.log.stage(append, enter)? {
                Staged::NoRoom => self.make_room(root, append, enter)?,
                staged => staged,
            };
            match staged {
                Staged::InPlace { ids } => {
                    self.watchers.wake();
                    return Ok((ids, None));
                }
                Staged::InRound { ids, round, len } => {
                    self.note_staged(round, len);
                    return Ok((ids, Some((round, len))));
                }
                Staged::Full { round } => self.wait(round, 0, append.sync)?,
                Staged::NoRoom => {}
            }
        }
    }

    /// Takes note that one append more waits for a round of the log.
    fn note_staged(&self, round: Round, len: usize) {
        if round.of_log.is_some() && len < LARGE_LEN {
            self.group.staged_one_more();
        }
    }

    /// Takes note that it is used.
    fn use_now(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Makes room for an append, which somebody else may use.
    fn make_room_only(self: &Arc<Self>, root: &Path, append: &Append<'_>) -> Result<()> {
        let permit = self.files.permit(self);
        self.lead_with(permit, |lead| lead.make_room(root, append))
    }

    /// Makes room for an append and stages it, before anybody else can use the room or take it away.
    fn make_room(
        self: &Arc<Self>,
        root: &Path,
        append: &Append<'_>,
        enter: Option<&dyn Fn() -> u64>,
    ) -> Result<Staged> {
        let permit = self.files.permit(self);
        self.lead_with(permit, |lead| {
            lead.make_room(root, append)?;
            self.log.stage(append, enter)
        })
    }

    /// Commits what is staged and makes the whole stream durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.lead(|lead| lead.sync())
    }

    /// Makes an idle stream durable and records that; does nothing if it is not idle.
    pub(crate) fn prove_idle(&self) -> Result<()> {
        if !self.rounds.try_lead() {
            return Ok(());
        }
        self.with_lead(|lead| lead.prove_idle())
    }

    /// Makes the whole stream durable and closes its files, until the next append.
    fn release(&self) -> Result<()> {
        self.lead(|lead| lead.release())
    }

    /// Makes the whole stream durable, records that, and takes no appends any more. Waits for whoever
    /// changes which segments there are: afterwards the files are somebody else's.
    pub(crate) fn close(self: &Arc<Self>) -> Result<()> {
        self.stage_queued();
        let _reshaping = self.reshape();
        self.lead(|lead| lead.close())
    }

    /// Seals the active segment: the next append begins another.
    pub(crate) fn rotate(self: &Arc<Self>) -> Result<()> {
        loop {
            self.log.check_open()?;
            let permit = self.files.permit(self);
            if self.lead_with(permit, |lead| lead.rotate())? {
                return Ok(());
            }
        }
    }

    /// Nobody else changes which segments there are, other than by appending, while this lives.
    pub(crate) fn reshape(&self) -> MutexGuard<'_, ()> {
        lock(&self.reshaping)
    }

    /// Makes full segments durable, which are about to be pruned.
    pub(crate) fn prove_full_segments(&self) -> Result<()> {
        self.log.prove_full_segments()
    }

    /// Prunes the entries below `id` and at most that many segments with them; returns those, whose
    /// files are to be deleted.
    pub(crate) fn prune(&self, id: u64, segments_max: usize) -> Result<Vec<Arc<Segment>>> {
        self.lead(|lead| lead.prune(id, segments_max))
    }

    /// Seals a segment that holds nothing from `id` on, and begins an empty one, so that the space
    /// of the former can be freed. Without space everything stays as it is.
    pub(crate) fn rotate_before(self: &Arc<Self>, id: u64) -> Result<()> {
        if id < self.log.next_id() || self.log.active_is_empty() {
            return Ok(());
        }
        let done = self.rotate().and_then(|()| {
            let permit = self.files.permit(self);
            self.lead_with(permit, |lead| lead.begin_empty_segment())
        });
        match done {
            Err(Error::StorageFull { .. }) => Ok(()),
            other => other,
        }
    }

    /// Cuts off the entries from `id` on; returns the files that are to be deleted.
    pub(crate) fn cut_from(&self, id: u64) -> Result<Vec<PathBuf>> {
        self.lead(|lead| lead.cut_from(id, || self.void_in_journal()))
    }

    /// Puts restored segments before the first one.
    pub(crate) fn adopt(&self, oldest: Vec<Segment>) -> Result<()> {
        self.lead(|lead| lead.adopt(oldest))
    }

    /// Takes no appends any more, as after deleting the stream, if nothing was ever appended; returns
    /// whether that is so.
    pub(crate) fn give_way(&self) -> Result<bool> {
        self.lead(|lead| Ok(lead.give_way()))
    }

    /// Lists the stream for readers in other processes.
    pub(crate) fn list_for_others(&self) -> Result<()> {
        self.lead(|lead| {
            lead.list_for_others();
            Ok(())
        })
    }

    /// Deletes the stream: its directory gets the name `aside`.
    pub(crate) fn delete(&self, root: &Path, aside: &Path) -> Result<()> {
        self.lead(|lead| {
            self.make_room_for_void()?;
            lead.delete(root, aside, || self.void_in_journal())
        })
    }

    /// Waits until `round` is committed, leading it if nobody else does. `len` is how many bytes are
    /// staged in it.
    fn wait(&self, round: Round, len: usize, sync: bool) -> Result<()> {
        if let Some(of_log) = round.of_log
            && len < LARGE_LEN
        {
            self.group.wait(of_log);
        }
        // If it was committed with others, this returns at once.
        match self.rounds.wait(round.of_stream) {
            Turn::Committed => Ok(()),
            Turn::Failed => Err(self.log.failure()),
            Turn::Lead => {
                if sync {
                    self.rounds.gather(|| self.log.staged());
                }
                self.with_lead(|lead| lead.commit(false))
            }
        }
    }

    /// Waits for the lead and does something with it.
    fn lead<T>(&self, work: impl FnOnce(&mut Lead<'_>) -> Result<T>) -> Result<T> {
        self.rounds.take_lead();
        self.with_lead(work)
    }

    /// The same with a permit to open a file, which goes back if it is not used.
    fn lead_with<T>(
        self: &Arc<Self>,
        permit: Option<Permit>,
        work: impl FnOnce(&mut Lead<'_>) -> Result<T>,
    ) -> Result<T> {
        let done = self.lead(|lead| {
            lead.give(permit);
            let done = work(lead);
            lead.give(None);
            done
        });
        // Also if only full segments are open now: they hold permits until they are durable.
        self.files.opened(self);
        done
    }

    /// Does something with the lead, which this thread has, and gives it up.
    fn with_lead<T>(&self, work: impl FnOnce(&mut Lead<'_>) -> Result<T>) -> Result<T> {
        let busy = self.log.activity().begin(std::ptr::from_ref(self).addr() >> 6);
        let mut lead = self.log.lead();
        let result = work(&mut lead);
        if let Some(done) = lead.committed() {
            busy.committed(done.appends);
        }
        drop(busy);
        self.finish(lead);
        result
    }

    /// Gives up the lead.
    fn finish(&self, mut lead: Lead<'_>) {
        lead.resume_placing();
        let committed = lead.committed().map(|done| (done.round, done.appends));
        drop(lead);
        self.rounds.finish(committed, self.log.staged(), self.log.is_over());
        self.watchers.wake();
    }

    /// Waits until something holds that a change of the stream can bring about; `false`: it was not so
    /// by `deadline`.
    pub(crate) fn wait_until(
        &self,
        deadline: Option<Instant>,
        is_ready: impl Fn() -> bool,
    ) -> bool {
        self.watchers.wait(deadline, is_ready)
    }

    /// Whether it was appended to since this was asked last.
    fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Whether it stood in the queue; it does from now on, or not.
    fn is_queued(&self, from_now_on: bool) -> bool {
        self.queued.swap(from_now_on, Ordering::AcqRel)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::log::mark::Marks;
    use crate::log::tail::Limits;
    use crate::log::{Identity, Shared, Whole};
    use crate::options::{SyncMode, WalOptions};
    use crate::segment::ReadContext;
    use crate::storage::{SimDisk, Storage};

    /// A stream on `disk`, with segments of so many entries, that nobody syncs.
    pub(crate) fn unsynced_stream(disk: &SimDisk, entries_max: u64) -> Arc<Stream> {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let dir = Path::new("/").join("s");
        let identity = Identity { name: "s".into(), dir, number: 0.into(), salt: 1 };
        let limits = Limits {
            segment_len_max: 1 << 20,
            entries_max,
            sync_mode: SyncMode::Async,
            staged_len_max: 1000,
            fileless: false,
            maps: false,
        };
        let files = Files::new(8);
        let marks = Arc::new(Marks::none(&storage));
        let root_syncs = Arc::default();
        let whole = Arc::new(Whole::default());
        let group = Group::unused(&storage, Arc::clone(&whole));
        let shared = Shared { files: Arc::clone(files.budget()), marks, root_syncs, whole };
        let context = ReadContext::new(storage, &WalOptions::default());
        Arc::new(Stream::new(Log::new(context, shared, identity, limits), files, group))
    }

    /// Appends one entry to it.
    pub(crate) fn append(stream: &Arc<Stream>, entry: &[u8]) {
        let entries = &[entry];
        let append = Append { entries, batch: false, sync: false, expected: None, packed: None };
        stream.append(Path::new("/"), &append).unwrap();
    }

    /// A thread waited for the lead to rotate while the log was closed: it opened the file again,
    /// which the next process writes to, and sealed it.
    #[test]
    fn a_closed_stream_is_not_rotated() {
        let disk = SimDisk::new(1);
        let stream = unsynced_stream(&disk, 10);
        append(&stream, b"one");
        stream.close().unwrap();
        let calls = disk.calls_total();
        let rotated = stream.lead(|lead| lead.rotate().map(|_| ()));
        assert!(matches!(rotated, Err(Error::Closed)), "{rotated:?}");
        let begun = stream.lead(|lead| lead.begin_empty_segment());
        assert!(matches!(begun, Err(Error::Closed)), "{begun:?}");
        assert_eq!(disk.calls_total(), calls);
    }
}
