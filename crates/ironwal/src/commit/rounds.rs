//! Who leads a round, who waits, and who is woken. Pure concurrency: no files, no entries.
//!
//! Appends are staged in the *open round*. Whoever waits first for it takes the *lead*, takes what
//! is staged (which opens the next round), makes it durable and finishes the round: its followers
//! return. If more was staged meanwhile, one of those that wait for the next round leads it.
//!
//! ```text
//! round 1   lead ──── take ── write, sync ── finish ─┐
//!           follower ──────────────────────── woken ─┘ (all at once)
//! round 2       staged ──────────────────── woken first, leads ── take ── …
//! ```
//!
//! Followers of a round sleep on one of two *seats*, so that waking a round wakes no one of the
//! next. A seat's word changes before anyone on it is woken, and sleepers sleep only on the word
//! that they saw before they looked at the state: no wake-up is lost.
//!
//! `tests/loom.rs` includes this file with a `crate::sync` of its own, and tries every order of
//! steps. So all that threads share, wait on or measure comes from there, and the unit tests, which
//! would be included too, are in `rounds_tests.rs`.

use std::time::Duration;

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Instant, Ordering};
use crate::sync::{wait, wake_all, wake_one, yield_now};

/// How long a leader lets the appenders it just woke come back.
const GATHER_MAX: Duration = Duration::from_micros(60);

/// Where the followers of every other round sleep.
#[derive(Debug, Default)]
struct Seat {
    word: AtomicU32,
    sleepers: AtomicU32,
}

impl Seat {
    fn sleep(&self, seen: u32) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        wait(&self.word, seen);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self, wake: fn(*const AtomicU32)) {
        self.word.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            wake(&self.word);
        }
    }
}

/// What the wait for a round ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The round is committed.
    Committed,
    /// The stream failed before it was.
    Failed,
    /// The waiter has the lead and must finish.
    Lead,
}

/// The rounds of one stream.
#[derive(Debug)]
pub(crate) struct Rounds {
    lead_taken: AtomicBool,
    /// Those that wait for the lead and not for a round.
    lead_seat: Seat,
    seats: [Seat; 2],
    /// The last round that was committed; the first is 1.
    committed: AtomicU64,
    failed: AtomicBool,
    /// How many appends the next round will hold if all come back that were just woken.
    expected: AtomicU32,
}

impl Rounds {
    /// Nothing staged, nobody waiting.
    pub(crate) fn new() -> Self {
        Self {
            lead_taken: AtomicBool::new(false),
            lead_seat: Seat::default(),
            seats: [Seat::default(), Seat::default()],
            committed: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            expected: AtomicU32::new(0),
        }
    }

    /// Waits until `round` is committed or cannot be any more, or until the lead is free.
    pub(crate) fn wait(&self, round: u64) -> Turn {
        let seat = self.seat(round);
        loop {
            let seen = seat.word.load(Ordering::SeqCst);
            if let Some(turn) = self.outcome(round) {
                return turn;
            }
            if self.try_lead() {
                // The round can have been finished between the two looks.
                let Some(turn) = self.outcome(round) else {
                    return Turn::Lead;
                };
                self.release();
                return turn;
            }
            seat.sleep(seen);
        }
    }

    /// Waits until this thread has the lead.
    pub(crate) fn take_lead(&self) {
        loop {
            let seen = self.lead_seat.word.load(Ordering::SeqCst);
            if self.try_lead() {
                return;
            }
            self.lead_seat.sleep(seen);
        }
    }

    /// Lets those come back that the last round woke, for a moment: the leader returns when as many
    /// are staged as then, and those that were waiting already. A lone appender waits for nobody.
    pub(crate) fn gather(&self, staged: impl Fn() -> u32) {
        let expected = self.expected.load(Ordering::Relaxed);
        if staged() >= expected {
            return;
        }
        let start = Instant::now();
        while staged() < expected && start.elapsed() < GATHER_MAX {
            yield_now();
        }
    }

    /// Gives up the lead; `committed` is the round that was committed under it, at most one, and
    /// how many appends it held; `staged` is how many are in the next round already; `failed` says
    /// that no further round will be committed.
    pub(crate) fn finish(&self, committed: Option<(u64, u32)>, staged: u32, failed: bool) {
        if let Some((round, appends)) = committed {
            self.expected.store(appends.saturating_add(staged), Ordering::Relaxed);
            self.committed.store(round, Ordering::SeqCst);
        }
        // After the round: one that was committed has not failed.
        if failed {
            self.failed.store(true, Ordering::SeqCst);
        }
        let done = self.release();
        if committed.is_some() || failed {
            self.seat(done).wake(wake_all);
        }
    }

    /// Frees the lead, wakes one that may want it for the round that is open, and returns the last
    /// round that is committed.
    fn release(&self) -> u64 {
        // Only whoever leads changes it. A waiter that found its round committed may be rounds
        // behind by now, so the open round does not follow from the one that it waited for.
        let committed = self.committed.load(Ordering::SeqCst);
        let open = committed + 1;
        self.lead_taken.store(false, Ordering::SeqCst);
        if self.failed.load(Ordering::SeqCst) {
            self.seat(open).wake(wake_all);
        } else {
            self.seat(open).wake(wake_one);
        }
        self.lead_seat.wake(wake_one);
        committed
    }

    fn seat(&self, round: u64) -> &Seat {
        if round.is_multiple_of(2) { &self.seats[0] } else { &self.seats[1] }
    }

    fn outcome(&self, round: u64) -> Option<Turn> {
        // Looked at first, for it is stored last: whoever sees it sees every committed round too.
        let failed = self.failed.load(Ordering::SeqCst);
        if self.committed.load(Ordering::SeqCst) >= round {
            Some(Turn::Committed)
        } else if failed {
            Some(Turn::Failed)
        } else {
            None
        }
    }

    /// Takes the lead if it is free.
    pub(crate) fn try_lead(&self) -> bool {
        self.lead_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
