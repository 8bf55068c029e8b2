//! One stream: staging entries, writing them back, rotating, recovering, reading. Here: what it
//! consists of, what it says of itself, and whether it takes appends.
//!
//! ```text
//!   ids   first kept             committed                 next
//!    |        |                      |                       |
//!    …  pruned | sealed | sealed | active segment | pending tail (memory)
//!                                          |
//!                                       durable
//! ```
//!
//! Two locks, never held in the other order: the *lead* ([`write::Lead`]) is the right to change
//! files and is held over system calls; the *tail* ([`tail::Tail`]) is where ids are assigned and
//! entries encoded, and is never held over a system call.

mod cut;
pub(crate) mod files;
pub(crate) mod follow;
mod in_place;
pub(crate) mod journaled;
pub(crate) mod mark;
mod next;
mod prune;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod recover;
mod remote;
pub(crate) mod root_syncs;
mod rotate;
mod stage;
pub(crate) mod tail;
pub(crate) mod write;

use std::io;
use std::path::PathBuf;

use crate::activity::Activity;
use crate::environment::Clock;
use crate::error::{Error, Result};
use crate::format::frame;
use crate::format::header::FirstKept;
use crate::options::SyncMode;
use crate::segment::{Damage, ReadContext, Segment};
use crate::storage::Storage;
use crate::sync::{
    Arc, AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, PoisonError,
    RwLock, lock,
};
use files::OpenFiles;
use follow::Followers;
use mark::{Mark, Marks};
use remote::Remote;
use root_syncs::RootSyncs;
use tail::{Limits, State, Tail};
use write::Writer;

/// What a stream is told about itself and its log.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Its name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its number, given to it before its first append.
    pub(crate) number: OnceLock<u64>,
    /// The salt of the root.
    pub(crate) salt: u64,
}

/// What all streams that are written to share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) files: Arc<OpenFiles>,
    /// How readers in other processes are told what is committed.
    pub(crate) marks: Arc<Marks>,
    /// The syncs of the root directory.
    pub(crate) root_syncs: Arc<RootSyncs>,
    /// What holds for all streams at once.
    pub(crate) whole: Arc<Whole>,
}

/// What holds for all streams of a log at once.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// The last round of several streams that can be read. It is advanced when every one of them has
    /// its new end: so nobody sees half a round.
    published: AtomicU64,
    /// Why nothing can be appended any more to any stream.
    failure: OnceLock<Arc<io::Error>>,
    /// What is done, for whoever watches.
    pub(crate) activity: Activity,
}

impl Whole {
    /// Nothing was done yet. Durations are by `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { activity: Activity::new(clock), ..Self::default() }
    }

    /// Every stream of this round, and of those before, has its new end.
    pub(crate) fn publish(&self, round: u64) {
        self.published.store(round, Ordering::Release);
    }

    /// Lets nothing in any more, and fails what is staged in any stream.
    pub(crate) fn fail(&self, error: io::Error) -> Arc<io::Error> {
        let error = Arc::new(error);
        if self.failure.set(Arc::clone(&error)).is_ok() {
            tracing::error!(%error, "the journal failed: nothing can be appended any more");
        }
        error
    }

    /// Why nothing can be appended any more, if that is so.
    pub(crate) fn failure(&self) -> Option<&Arc<io::Error>> {
        self.failure.get()
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Log {
    storage: Arc<dyn Storage>,
    /// `None`: it is open for reading only.
    shared: Option<Shared>,
    whole: Arc<Whole>,
    /// What other processes are told; nothing, if there is `None` inside.
    mark: OnceLock<Option<Mark>>,
    /// What is told by another process that writes.
    remote: Option<Remote>,
    context: Arc<ReadContext>,
    identity: Identity,
    limits: Limits,
    tail: Mutex<Tail>,
    /// How many appends are staged in the open round; a hint for who gathers them.
    staged: AtomicU32,
    writer: Mutex<Writer>,
    /// Full segments that have not been synced yet, oldest first. Locked while one is synced.
    unproven: Mutex<write::Unproven>,
    /// Whether one was added that nobody has been told of.
    new_full_segment: AtomicBool,
    /// Whether somebody looks after the stream until it is idle.
    watched: AtomicBool,
    /// All segments, in id order.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// The id behind the last committed entry; readers see it once its round is published.
    committed: AtomicU64,
    /// The round of several streams that it was committed in last, and where the stream ended before.
    /// In this order they are stored: `before`, `round`, `committed`.
    round: AtomicU64,
    before: AtomicU64,
    /// The id behind the last entry that survives power loss.
    durable: AtomicU64,
    first_kept: AtomicU64,
    /// Counts the changes of the ends and the segments other than growth, twice each: odd while there
    /// is one.
    changes: AtomicU64,
    /// The same, as slots say it; never ahead of what is durable.
    kept: Mutex<FirstKept>,
    /// Whether the active segment's file is open for writing.
    has_file: AtomicBool,
    /// Whether somebody knows that the stream is to be synced before long.
    sync_is_due: AtomicBool,
    next: next::Next,
    followers: Followers,
    /// The end of the stream cannot be known: the header of its newest segment is lost.
    end_lost: OnceLock<Damage>,
}

impl Log {
    /// A stream that does not exist yet. Its first append creates it.
    pub(crate) fn new(
        context: Arc<ReadContext>,
        shared: Shared,
        identity: Identity,
        limits: Limits,
    ) -> Self {
        let whole = Arc::clone(&shared.whole);
        Self { shared: Some(shared), whole, limits, ..Self::without_writer(context, identity) }
    }

    fn without_writer(context: Arc<ReadContext>, identity: Identity) -> Self {
        Self {
            storage: Arc::clone(context.storage()),
            context,
            shared: None,
            whole: Arc::default(),
            mark: OnceLock::new(),
            remote: None,
            limits: Limits::NONE,
            identity,
            tail: Mutex::new(Tail::new(0, None)),
            staged: AtomicU32::new(0),
            writer: Mutex::new(Writer::new()),
            unproven: Mutex::default(),
            new_full_segment: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            segments: RwLock::default(),
            committed: AtomicU64::new(0),
            round: AtomicU64::new(0),
            before: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            first_kept: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            kept: Mutex::default(),
            has_file: AtomicBool::new(false),
            sync_is_due: AtomicBool::new(false),
            next: next::Next::default(),
            followers: Followers::default(),
            end_lost: OnceLock::new(),
        }
    }

    /// Gives the stream a number if it has none yet.
    pub(crate) fn number_with(&self, new_number: impl FnOnce() -> Result<u64>) -> Result<()> {
        if self.identity.number.get().is_none() {
            // Of two threads that come here at once, one draws a number in vain.
            let number = new_number()?;
            self.identity.number.get_or_init(|| number);
        }
        Ok(())
    }

    /// When appends to it are synced.
    pub(crate) fn sync_mode(&self) -> SyncMode {
        self.limits.sync_mode
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.identity.name
    }

    /// What other processes are told, if it is anything yet.
    fn mark(&self) -> Option<&Mark> {
        self.mark.get()?.as_ref()
    }

    /// The first id that can be read.
    pub(crate) fn first_id(&self) -> u64 {
        self.first_kept.load(Ordering::Acquire)
    }

    /// What a slot that is written now says of it.
    pub(crate) fn first_kept(&self) -> FirstKept {
        *lock(&self.kept)
    }

    /// The id behind the last committed entry that can be read.
    pub(crate) fn next_id(&self) -> u64 {
        // The newest end first: whoever sees it sees the round that it came in. The end before is
        // stored anew only when that round is published, so it is right, or has become too low.
        let committed = self.committed.load(Ordering::Acquire);
        if self.round.load(Ordering::Acquire) <= self.whole.published.load(Ordering::Acquire) {
            committed
        } else {
            self.before.load(Ordering::Acquire)
        }
    }

    /// The tail, locked. If the journal has failed, it takes no appends any more.
    fn tail(&self) -> MutexGuard<'_, Tail> {
        let mut tail = lock(&self.tail);
        if let Some(cause) = self.whole.failure() {
            tail.poison(Arc::clone(cause));
        }
        tail
    }

    /// The id behind the last entry that is committed, or that was lost with the end of the stream.
    fn committed_or_lost_end(&self) -> u64 {
        let next_id = self.next_id();
        let lost = self.end_lost.get().filter(|damage| damage.ids.contains(&next_id));
        lost.map_or(next_id, |damage| damage.ids.end)
    }

    /// How much was committed in place and is not counted as [activity](Log::activity) yet, in entries and
    /// bytes of frames.
    pub(crate) fn placed_uncounted(&self) -> (u64, u64) {
        self.tail().placed_uncounted()
    }

    /// Counts it, for the stream goes.
    pub(crate) fn count_placed(&self) {
        let (entries, bytes) = self.tail().count_placed();
        self.activity().appended(entries, bytes);
    }

    /// What is done in all streams of the log.
    pub(crate) fn activity(&self) -> &Activity {
        &self.whole.activity
    }

    /// How many follow the stream, and how many entries they are behind at most.
    pub(crate) fn followers(&self) -> (usize, u64) {
        self.followers.behind(self.next_id())
    }

    /// Whether a write or a sync of it failed, so that it takes no appends any more.
    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(self.tail().state(), State::Poisoned(_))
    }

    /// The id behind the last entry that survives power loss.
    pub(crate) fn durable_end(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The first id of the newest segment, if there is one.
    pub(crate) fn newest_segment(&self) -> Option<u64> {
        self.segments().last().map(|segment| segment.first_id())
    }

    /// The first id of the oldest segment, if there is one.
    pub(crate) fn oldest_segment(&self) -> Option<u64> {
        self.segments().first().map(|segment| segment.first_id())
    }

    /// How many segments there are, and the bytes of their committed frames and headers.
    pub(crate) fn size(&self) -> (usize, u64) {
        let segments = self.segments();
        (segments.len(), segments.iter().map(|segment| segment.end()).sum())
    }

    /// Whether a segment became full that is not durable; says so to one caller.
    pub(crate) fn has_new_full_segment(&self) -> bool {
        self.new_full_segment.load(Ordering::Relaxed)
            && self.new_full_segment.swap(false, Ordering::Relaxed)
    }

    /// Whether nobody looks after the stream yet; says so to one caller, who must.
    pub(crate) fn begins_to_be_watched(&self) -> bool {
        !self.watched.load(Ordering::Relaxed) && !self.watched.swap(true, Ordering::Relaxed)
    }

    /// Whether nobody knows yet that the stream is to be synced; says so to one caller, who must see
    /// to it.
    pub(crate) fn begins_to_be_due(&self) -> bool {
        !self.sync_is_due.load(Ordering::Relaxed) && !self.sync_is_due.swap(true, Ordering::AcqRel)
    }

    /// The stream is going to be synced now: what is appended from now on is to be synced again.
    pub(crate) fn stops_being_due(&self) {
        self.sync_is_due.store(false, Ordering::Release);
    }

    /// Whether the active segment's file is open for writing.
    pub(crate) fn has_file(&self) -> bool {
        self.has_file.load(Ordering::Relaxed)
    }

    /// The directory of the stream.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.identity.dir
    }

    /// The number of the stream, if it has one.
    pub(crate) fn number(&self) -> Option<u64> {
        self.identity.number.get().copied()
    }

    /// Nobody looks after the stream any more.
    pub(crate) fn stops_being_watched(&self) {
        self.watched.store(false, Ordering::Relaxed);
    }

    /// All segments, in id order.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&segments)
    }

    /// To be held, by one thread at a time, while the list of segments shrinks or gets older ones, and
    /// an end changes with it: readers do not believe that something is missing meanwhile.
    fn change(&self) -> Change<'_> {
        self.changes.fetch_add(1, Ordering::AcqRel);
        Change { changes: &self.changes }
    }

    fn set_segments(&self, segments: Vec<Arc<Segment>>) {
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }

    /// Whether the stream takes appends.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.check(self.tail().state())
    }

    /// Whether nothing was appended to the newest segment yet, or there is none.
    pub(crate) fn active_is_empty(&self) -> bool {
        self.segments().last().is_none_or(|segment| segment.first_id() == segment.next_id())
    }

    /// Whether appends are possible in this state.
    fn check(&self, state: &State) -> Result<()> {
        match state {
            State::Open => match self.end_lost.get() {
                None => Ok(()),
                Some(damage) => Err(self.damaged(damage)),
            },
            State::Closed => Err(Error::Closed),
            State::Deleted => Err(Error::StreamNotFound(self.identity.name.clone())),
            State::Poisoned(cause) => Err(Error::Poisoned {
                stream: self.identity.name.clone(),
                cause: cause.to_string(),
            }),
        }
    }

    /// Lets no more appends in; what is staged and not committed gets the error.
    pub(crate) fn poison(&self, cause: &Arc<io::Error>) {
        let first = self.tail().poison(Arc::clone(cause));
        if first {
            tracing::error!(stream = %self.identity.name, error = %cause, "stream poisoned");
        }
    }

    /// Whether no round will be committed any more: a write or sync of the stream failed, or it was
    /// deleted.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.tail().state(), State::Poisoned(_) | State::Deleted)
    }

    /// The error of appends that were staged when a write or sync failed, or when the stream was
    /// deleted.
    pub(crate) fn failure(&self) -> Error {
        match self.tail().state() {
            State::Poisoned(cause) => Error::Io(shared_error(cause)),
            State::Deleted => Error::StreamNotFound(self.identity.name.clone()),
            State::Open | State::Closed => Error::Closed,
        }
    }

    /// Damage as the user sees it.
    pub(crate) fn damaged(&self, damage: &Damage) -> Error {
        use crate::format::frame::Fault;
        use crate::segment::reader::DamageKind;
        let (expected, found) = match damage.kind {
            DamageKind::Frame(Fault::Payload { expected, found }) => (Some(expected), Some(found)),
            _ => (None, None),
        };
        Error::Damaged {
            stream: self.identity.name.clone(),
            ids: damage.ids.clone(),
            file: damage.file.clone(),
            offset: damage.offset,
            expected,
            found,
            reason: damage.reason().to_string(),
        }
    }
}

/// A change of a stream that is more than growth, until it is dropped.
struct Change<'a> {
    changes: &'a AtomicU64,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// The same error for several waiters.
pub(crate) fn shared_error(error: &Arc<io::Error>) -> io::Error {
    io::Error::new(error.kind(), Arc::clone(error))
}

/// The frame that an append becomes without compression, in bytes.
fn frame_len(entries: &[&[u8]]) -> u64 {
    frame::padded_len(frame::payload_len(entries))
}
