//! The rounds of one stream: appends that wait, and others that want the lead for themselves.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use crate::rounds::{Rounds, Turn};
use crate::try_orders;

/// What a leader does with the round that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Committed,
    /// It is not published.
    Fails,
    /// It is published, and then something fails.
    FailsAfter,
}

/// Entries are numbered in the order in which they are staged.
#[derive(Debug)]
struct Tail {
    /// The open round.
    round: u64,
    staged: u32,
    next: u32,
    /// How many are committed.
    committed: u32,
    over: bool,
}

/// A stream without files.
#[derive(Debug)]
struct Stream {
    rounds: Rounds,
    tail: Mutex<Tail>,
    fate: fn(u64) -> Fate,
    gathers: bool,
}

impl Stream {
    fn new(fate: fn(u64) -> Fate) -> Self {
        let tail = Tail { round: 1, staged: 0, next: 0, committed: 0, over: false };
        Self { rounds: Rounds::new(), tail: Mutex::new(tail), fate, gathers: false }
    }

    /// Appends, waits, and checks that what it is told is so.
    fn append(&self) {
        let (round, entry) = {
            let mut tail = self.tail.lock().unwrap();
            if tail.over {
                return;
            }
            tail.staged += 1;
            tail.next += 1;
            (tail.round, tail.next - 1)
        };
        let told = match self.rounds.wait(round) {
            Turn::Committed => true,
            Turn::Failed => false,
            Turn::Lead => {
                if self.gathers {
                    self.rounds.gather(|| self.tail.lock().unwrap().staged);
                }
                self.commit(Some(round))
            }
        };
        assert_eq!(self.tail.lock().unwrap().committed > entry, told, "entry {entry} of {round}");
    }

    /// Commits, with the lead, what is staged, and gives the lead up; `led` is the round for which
    /// somebody got it. Returns whether nothing failed before it was published.
    fn commit(&self, led: Option<u64>) -> bool {
        let (round, appends) = {
            let mut tail = self.tail.lock().unwrap();
            assert!(!tail.over, "somebody leads a stream that is over");
            if let Some(led) = led {
                assert_eq!(tail.round, led, "another round than the one that was waited for");
                assert!(tail.staged > 0, "nothing was staged in the round that was led");
            }
            let taken = (tail.round, tail.staged);
            if tail.staged > 0 {
                tail.round += 1;
                tail.staged = 0;
            }
            taken
        };
        let fate = (self.fate)(round);
        // Here others stage for the next round.
        let mut tail = self.tail.lock().unwrap();
        let published = appends > 0 && fate != Fate::Fails;
        if published {
            tail.committed += appends;
        }
        tail.over = appends > 0 && fate != Fate::Committed;
        let (staged, over) = (tail.staged, tail.over);
        drop(tail);
        self.rounds.finish(published.then_some((round, appends)), staged, over);
        published
    }

    /// Takes the lead for something else, as a rotation does, and commits what is staged or not.
    fn lead(&self, commits: bool) {
        self.rounds.take_lead();
        self.finish_lead(commits);
    }

    /// The same if the lead is free, as whoever proves an idle stream does.
    fn lead_if_free(&self) {
        if self.rounds.try_lead() {
            self.finish_lead(false);
        }
    }

    fn finish_lead(&self, commits: bool) {
        let (staged, over) = {
            let tail = self.tail.lock().unwrap();
            (tail.staged, tail.over)
        };
        if commits && !over {
            self.commit(None);
        } else {
            self.rounds.finish(None, staged, over);
        }
    }

    /// Nothing is left behind.
    fn check(&self) {
        let tail = self.tail.lock().unwrap();
        assert!(tail.over || (tail.staged == 0 && tail.committed == tail.next), "{tail:?}");
    }
}

/// What one thread does with the stream.
type Work = fn(&Stream);

/// Lets threads do this with one stream, in every order.
fn try_works<const N: usize>(
    preemptions_max: usize,
    start: impl Fn() -> Stream + Sync + Send + 'static,
    works: [Work; N],
) {
    try_orders(preemptions_max, move || {
        let stream = Arc::new(start());
        let (first, others) = works.split_first().unwrap();
        let threads: Vec<_> = others
            .iter()
            .map(|work| {
                let (stream, work) = (Arc::clone(&stream), *work);
                thread::spawn(move || work(&stream))
            })
            .collect();
        first(&stream);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        stream.check();
    });
}

fn appends<const COUNT: u32>(stream: &Stream) {
    (0..COUNT).for_each(|_| stream.append());
}

fn committing() -> Stream {
    Stream::new(|_| Fate::Committed)
}

#[test]
fn three_appends_share_rounds() {
    try_works(3, committing, [appends::<1>, appends::<1>, appends::<1>]);
}

#[test]
fn two_threads_append_again_and_again() {
    try_works(3, committing, [appends::<2>, appends::<2>]);
}

/// A waiter found its round committed, rounds ago, just as it got the lead. Whoever waited
/// meanwhile for the round that is open now slept on, for the wrong seat was woken.
#[test]
fn a_waiter_may_be_rounds_behind() {
    try_works(3, committing, [appends::<1>, appends::<3>]);
}

#[test]
fn a_leader_gathers() {
    let gathering = || Stream { gathers: true, ..committing() };
    try_works(2, gathering, [appends::<2>, appends::<2>]);
}

#[test]
fn a_rotation_commits_what_is_staged() {
    try_works(3, committing, [appends::<1>, appends::<1>, |stream| stream.lead(true)]);
}

/// Whoever makes room leaves what is staged to those that wait for it.
#[test]
fn a_lead_without_a_commit_leaves_the_round_to_a_waiter() {
    try_works(3, committing, [appends::<1>, appends::<1>, |stream| stream.lead(false)]);
}

#[test]
fn a_lead_that_nobody_waits_for() {
    try_works(3, committing, [appends::<1>, appends::<1>, Stream::lead_if_free]);
}

#[test]
fn two_wait_for_the_lead() {
    try_works(
        3,
        committing,
        [appends::<1>, |stream| stream.lead(true), |stream| stream.lead(false)],
    );
}

#[test]
fn a_failed_round_and_all_after_it_fail() {
    let failing = || Stream::new(|round| if round == 2 { Fate::Fails } else { Fate::Committed });
    try_works(2, failing, [appends::<1>, appends::<1>, appends::<1>]);
    try_works(3, failing, [appends::<2>, appends::<2>]);
    try_works(
        2,
        || Stream::new(|_| Fate::Fails),
        [appends::<1>, appends::<1>, |stream| stream.lead(true)],
    );
}

/// A round was published, and the step after it failed.
#[test]
fn what_was_published_has_not_failed() {
    let failing = || Stream::new(|_| Fate::FailsAfter);
    try_works(3, failing, [appends::<1>, appends::<1>, appends::<1>]);
}
