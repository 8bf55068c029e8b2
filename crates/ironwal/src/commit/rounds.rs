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
//! Followers of a round wait on one of two *seats*, where they look for a while and then sleep, so that
//! waking a round wakes no one of the next. A seat's word changes before anyone on it is woken, and sleepers sleep only on the word
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

/// How long a waiter looks before it sleeps: what a few syncs of a fast disk take.
const LOOK_MAX: Duration = Duration::from_micros(500);

/// If others had the processor for so long between two looks, they need it.
const AWAY_MAX: Duration = Duration::from_millis(1);

/// How many waits go to sleep without looking after one that looked in vain, and after one that kept
/// the processor from others.
const NAPS_IN_VAIN: u32 = 32;
const NAPS_IF_BUSY: u32 = 256;

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

    /// Looks for a moment whether the word changes, and lets other threads run between two looks. If it
    /// does not, returns how many waits should not try that.
    fn look(&self, seen: u32) -> Option<u32> {
        let start = Instant::now();
        let mut last = Duration::ZERO;
        loop {
            yield_now();
            let now = start.elapsed();
            if now - last > AWAY_MAX {
                return Some(NAPS_IF_BUSY);
            }
            if self.word.load(Ordering::SeqCst) != seen {
                return None;
            }
            if now > LOOK_MAX {
                return Some(NAPS_IN_VAIN);
            }
            last = now;
        }
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
    /// How many waits are going to sleep at once.
    naps: AtomicU32,
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
            naps: AtomicU32::new(0),
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
            if !self.is_worth_looking(seat, seen) {
                seat.sleep(seen);
            }
        }
    }

    /// Whether something happens on the seat within a moment. To sleep and to be woken costs several
    /// times as much as to give way to others until then, unless the disk is slow, or the processors are
    /// busy: then this returns at once, for some time.
    fn is_worth_looking(&self, seat: &Seat, seen: u32) -> bool {
        let naps = self.naps.load(Ordering::Relaxed);
        if naps > 0 {
            // Two that do this at once may count as one.
            self.naps.store(naps - 1, Ordering::Relaxed);
            return false;
        }
        let naps = seat.look(seen);
        if let Some(naps) = naps {
            self.naps.store(naps, Ordering::Relaxed);
        }
        naps.is_none()
    }

    /// Waits until this thread has the lead.
    pub(crate) fn take_lead(&self) {
        loop {
            let seen = self.lead_seat.word.load(Ordering::SeqCst);
            if self.try_lead() {
                return;
            }
            if !self.is_worth_looking(&self.lead_seat, seen) {
                self.lead_seat.sleep(seen);
            }
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

    /// What has become of a round; `None`: nothing yet.
    pub(crate) fn outcome(&self, round: u64) -> Option<Turn> {
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
