//! Appends that nobody waits for yet: they are staged at once, or queue until there is room.

use std::collections::VecDeque;
use std::ops::Range;

use super::Stream;
use super::rounds::Turn;
use crate::error::{Error, Result};
use crate::format::frame::Packed;
use crate::log::tail::{Append, Round, Staged};
use crate::options::SyncMode;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, lock};

/// How many bytes queue for room in one stream before whoever comes with more has to wait.
const QUEUED_LEN_MAX: usize = 1024 * 1024;

/// What queues for room, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: Mutex<VecDeque<Queued>>,
    /// The bytes of the entries.
    len: AtomicUsize,
    /// Held by whoever stages them.
    staging: Mutex<()>,
    /// Whether somebody knows that something was submitted and is going to commit it.
    is_expected: AtomicBool,
}

#[derive(Debug)]
struct Queued {
    entry: Vec<u8>,
    packed: Option<Packed>,
    ticket: Arc<Ticket>,
}

/// An append that was submitted.
#[derive(Debug, Clone)]
pub(crate) enum Submitted {
    /// It is committed, and has this id.
    Done(u64),
    Staged(InRound),
    Queued(Arc<Ticket>),
}

/// What becomes of an append that queues.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Mutex<State>);

impl Ticket {
    /// The id of the entry, once it has one.
    pub(crate) fn id(&self) -> Option<u64> {
        match &*lock(&self.0) {
            State::Done(id) => Some(*id),
            State::Staged(in_round) => Some(in_round.ids.start),
            _ => None,
        }
    }

    /// What it has come to, which is told once; `None`: it still queues.
    fn take(&self) -> Option<Result<Submitted>> {
        // Under one lock, for somebody may be about to note what has become of it.
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Told) {
            State::Waiting => {
                *state = State::Waiting;
                None
            }
            State::Done(id) => Some(Ok(Submitted::Done(id))),
            State::Staged(in_round) => Some(Ok(Submitted::Staged(in_round))),
            State::Failed(error) => Some(Err(error)),
            State::Told => Some(Err(Error::Closed)),
        }
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    Done(u64),
    Staged(InRound),
    Failed(Error),
    /// It was asked for.
    Told,
}

/// An append that has its id, unless its round fails.
#[derive(Debug, Clone)]
pub(crate) struct InRound {
    pub(crate) ids: Range<u64>,
    round: Round,
    len: usize,
    sync: bool,
}

impl Stream {
    /// Stages one entry, or has it wait for room; returns before it is committed. Blocks only while
    /// too much is staged or queues.
    pub(crate) fn submit(
        self: &Arc<Self>,
        entry: &[u8],
        packed: Option<Packed>,
    ) -> Result<Submitted> {
        self.use_now();
        let sync = self.log.sync_mode() == SyncMode::Strict;
        let append = Append {
            entries: &[entry],
            batch: false,
            sync,
            expected: None,
            packed: packed.as_ref(),
        };
        let enter = || self.group.enter(self);
        let enter: Option<&dyn Fn() -> u64> = self.group.gathers().then_some(&enter);
        while self.queue.len.load(Ordering::Acquire) == 0 {
            match self.log.stage(&append, enter)? {
                Staged::InPlace { ids } => {
                    self.watchers.wake();
                    return Ok(Submitted::Done(ids.start));
                }
                Staged::InRound { ids, round, len } => {
                    self.note_staged(round, len);
                    return Ok(Submitted::Staged(InRound { ids, round, len, sync }));
                }
                Staged::Full { round } => self.wait(round, 0, sync)?,
                Staged::NoRoom => break,
            }
        }
        // What is refused for good is refused now, also behind others.
        self.log.has_room_for(&append)?;
        while self.queue.len.load(Ordering::Acquire) > QUEUED_LEN_MAX {
            self.stage_queued();
        }
        let ticket = Arc::new(Ticket::default());
        let queued = Queued { entry: entry.to_vec(), packed, ticket: Arc::clone(&ticket) };
        let mut entries = lock(&self.queue.entries);
        entries.push_back(queued);
        // One byte more, so that an empty entry is seen.
        self.queue.len.fetch_add(entry.len() + 1, Ordering::SeqCst);
        Ok(Submitted::Queued(ticket))
    }

    /// Whether nobody knows yet that something was submitted; says so to one caller, who must see to
    /// it.
    pub(crate) fn begins_to_be_expected(&self) -> bool {
        !self.queue.is_expected.load(Ordering::SeqCst)
            && !self.queue.is_expected.swap(true, Ordering::SeqCst)
    }

    /// Commits what was submitted by now.
    pub(crate) fn commit_submitted(self: &Arc<Self>) {
        // Before, so that what is submitted from now on is committed again. Whoever submits changes the
        // length and then looks here, so one of the two sees what the other did: all four in one order.
        self.queue.is_expected.store(false, Ordering::SeqCst);
        self.stage_queued();
        if let Some((round, len)) = self.log.open_round() {
            // Whoever waits for it is told what has become of it.
            let _ = self.wait(round, len, round.of_log.is_some());
        }
    }

    /// Stages everything that queues, in order, making room for it. Blocks on the disk.
    pub(crate) fn stage_queued(self: &Arc<Self>) {
        if self.queue.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        let _staging = lock(&self.queue.staging);
        let sync = self.log.sync_mode() == SyncMode::Strict;
        loop {
            // It stays in the queue until it is staged, so that nothing overtakes it.
            let Some(Queued { entry, packed, ticket }) = lock(&self.queue.entries).pop_front()
            else {
                return;
            };
            let entries: &[&[u8]] = &[&entry];
            let append =
                Append { entries, batch: false, sync, expected: None, packed: packed.as_ref() };
            let staged = self.stage_in_turn(self.group.root(), &append);
            *lock(&ticket.0) = match staged {
                Ok((ids, Some((round, len)))) => State::Staged(InRound { ids, round, len, sync }),
                Ok((ids, None)) => State::Done(ids.start),
                Err(error) => State::Failed(error),
            };
            self.watchers.wake();
            self.queue.len.fetch_sub(entry.len() + 1, Ordering::AcqRel);
        }
    }

    /// Waits until an append is committed, and returns its id.
    pub(crate) fn wait_for(self: &Arc<Self>, mut submitted: Submitted) -> Result<u64> {
        loop {
            submitted = match submitted {
                Submitted::Done(id) => return Ok(id),
                Submitted::Staged(InRound { ids, round, len, sync }) => {
                    self.wait(round, len, sync)?;
                    return Ok(ids.start);
                }
                Submitted::Queued(ticket) => match ticket.take() {
                    Some(known) => known?,
                    None => {
                        self.stage_queued();
                        Submitted::Queued(ticket)
                    }
                },
            }
        }
    }

    /// What has become of an append that somebody else commits: its id; `None`: nothing yet. Does not
    /// block. A change wakes a [`Watch`](super::Watch).
    pub(crate) fn outcome_of(&self, submitted: &mut Submitted) -> Option<Result<u64>> {
        loop {
            *submitted = match submitted {
                Submitted::Done(id) => return Some(Ok(*id)),
                Submitted::Staged(InRound { ids, round, .. }) => {
                    return match self.rounds.outcome(round.of_stream)? {
                        Turn::Failed => Some(Err(self.log.failure())),
                        Turn::Committed | Turn::Lead => Some(Ok(ids.start)),
                    };
                }
                Submitted::Queued(ticket) => match ticket.take()? {
                    Ok(known) => known,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}
