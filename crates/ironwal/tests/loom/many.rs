//! Rounds over many streams: one leader of the whole log commits the tails of several streams
//! together, while each of them can still be led alone.
//!
//! ```text
//! append   stage in the stream ── enter it in the list ── wait for the list's round
//! leader   take the list ── lead each stream, take its tail ── sync ── publish ── free each ── finish
//! ```
//!
//! The models use [`Log`] alone, so that the library's own can stand in its place.

use std::sync::Arc;

use loom::sync::{Mutex, MutexGuard};
use loom::thread;

use crate::rounds::{Rounds, Turn};
use crate::try_orders;

/// Which streams a leader of the whole log commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// All that are listed: it waits for the lead of each.
    All,
    /// Those whose lead is free: whoever appended to another one commits it alone.
    Free,
    /// All but the first stream, whose tails are large: whoever appended to it commits it alone.
    NotFirst,
}

/// Entries are numbered in the order in which they are staged.
#[derive(Debug)]
struct Tail {
    /// The open round of the stream.
    round: u64,
    staged: Vec<u32>,
    next: u32,
    committed: Vec<u32>,
    over: bool,
}

#[derive(Debug)]
struct Stream {
    rounds: Rounds,
    tail: Mutex<Tail>,
}

/// A round of one stream that somebody took, who has the stream's lead.
#[derive(Debug)]
struct Taken {
    round: u64,
    entries: Vec<u32>,
}

impl Stream {
    fn new() -> Self {
        let tail =
            Tail { round: 1, staged: Vec::new(), next: 0, committed: Vec::new(), over: false };
        Self { rounds: Rounds::new(), tail: Mutex::new(tail) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap()
    }

    /// The number of the entry, and the round of the stream that it is in; `None`: it takes none.
    fn stage(&self) -> Option<(u32, u64)> {
        let mut tail = self.tail();
        let (entry, round) = (tail.next, tail.round);
        (!tail.over).then(|| {
            tail.staged.push(entry);
            tail.next += 1;
            (entry, round)
        })
    }

    fn is_committed(&self, entry: u32) -> bool {
        self.tail().committed.last().is_some_and(|last| *last >= entry)
    }

    /// With the lead: takes what is staged, which opens the next round.
    fn take(&self) -> Option<Taken> {
        let mut tail = self.tail();
        if tail.staged.is_empty() || tail.over {
            return None;
        }
        let entries = std::mem::take(&mut tail.staged);
        tail.round += 1;
        Some(Taken { round: tail.round - 1, entries })
    }

    /// With the lead: what was taken can be read from now on, or never if the sync failed.
    fn publish(&self, taken: Option<&Taken>, synced: bool) {
        let Some(taken) = taken else { return };
        let mut tail = self.tail();
        if synced {
            tail.committed.extend(&taken.entries);
        } else {
            tail.over = true;
        }
    }

    /// Gives the lead up.
    fn free(&self, taken: Option<&Taken>) {
        let (staged, over) = {
            let tail = self.tail();
            (u32::try_from(tail.staged.len()).unwrap(), tail.over)
        };
        let committed = taken.filter(|_| !over);
        let committed =
            committed.map(|taken| (taken.round, u32::try_from(taken.entries.len()).unwrap()));
        self.rounds.finish(committed, staged, over);
    }

    /// With the lead: commits what is staged, alone, and gives the lead up.
    fn commit(&self) {
        let taken = self.take();
        // Here others stage for the next round.
        self.publish(taken.as_ref(), true);
        self.free(taken.as_ref());
    }
}

/// What the next round of the whole log will commit.
#[derive(Debug)]
struct List {
    round: u64,
    streams: Vec<usize>,
}

#[derive(Debug)]
struct Log {
    rounds: Rounds,
    list: Mutex<List>,
    streams: [Stream; 2],
    takes: Takes,
    /// The round of the whole log whose sync fails, if one does.
    fails: Option<u64>,
}

impl Log {
    fn new(takes: Takes) -> Self {
        let list = List { round: 1, streams: Vec::new() };
        Self {
            rounds: Rounds::new(),
            list: Mutex::new(list),
            streams: [Stream::new(), Stream::new()],
            takes,
            fails: None,
        }
    }

    /// Appends with everybody else, and checks that what it is told is so.
    fn append(&self, nth: usize) {
        let stream = &self.streams[nth];
        let Some((entry, _)) = stream.stage() else { return };
        // After staging: whoever takes the list finds the entry.
        let round = {
            let mut list = self.list.lock().unwrap();
            if !list.streams.contains(&nth) {
                list.streams.push(nth);
            }
            list.round
        };
        let told = match self.rounds.wait(round) {
            Turn::Committed => true,
            Turn::Failed => false,
            Turn::Lead => self.commit_listed(round),
        };
        if told && !stream.is_committed(entry) {
            assert_ne!(self.takes, Takes::All, "entry {entry} of stream {nth} was left out");
            self.commit_alone(nth);
        }
        assert!(stream.is_committed(entry) || !told, "entry {entry} of stream {nth} is lost");
    }

    /// Appends to a stream for itself.
    fn append_alone(&self, nth: usize) {
        let stream = &self.streams[nth];
        let Some((entry, round)) = stream.stage() else { return };
        let told = match stream.rounds.wait(round) {
            Turn::Committed => true,
            Turn::Failed => false,
            Turn::Lead => {
                stream.commit();
                true
            }
        };
        assert_eq!(stream.is_committed(entry), told, "entry {entry} of stream {nth}");
    }

    /// Commits what is staged in one stream, as a sync or a rotation does.
    fn commit_alone(&self, nth: usize) {
        self.streams[nth].rounds.take_lead();
        self.streams[nth].commit();
    }

    /// With the lead of the whole log: commits what is listed, and gives the lead up. Returns whether
    /// the sync succeeded.
    fn commit_listed(&self, led: u64) -> bool {
        let (round, mut listed) = {
            let mut list = self.list.lock().unwrap();
            list.round += 1;
            (list.round - 1, std::mem::take(&mut list.streams))
        };
        assert_eq!(round, led, "another round than the one that was waited for");
        assert!(!listed.is_empty(), "nothing was listed in the round that was led");
        let appends = u32::try_from(listed.len()).unwrap();
        // Always in this order, as whoever else leads several at once does.
        listed.sort_unstable();
        listed.retain(|nth| match self.takes {
            Takes::All => {
                self.streams[*nth].rounds.take_lead();
                true
            }
            Takes::Free => self.streams[*nth].rounds.try_lead(),
            Takes::NotFirst if *nth == 0 => false,
            Takes::NotFirst => {
                self.streams[*nth].rounds.take_lead();
                true
            }
        });
        let streams: Vec<&Stream> = listed.into_iter().map(|nth| &self.streams[nth]).collect();
        let taken: Vec<Option<Taken>> = streams.iter().map(|stream| stream.take()).collect();
        let synced = self.fails != Some(round);
        // All before the first lead is free: streams of one round are published together.
        for (stream, taken) in streams.iter().zip(&taken) {
            stream.publish(taken.as_ref(), synced);
        }
        for (stream, taken) in streams.iter().zip(&taken) {
            stream.free(taken.as_ref());
        }
        let staged = u32::try_from(self.list.lock().unwrap().streams.len()).unwrap();
        self.rounds.finish(synced.then_some((round, appends)), staged, !synced);
        synced
    }

    /// Every entry is committed once, in order; or, after a failure, those before some one.
    fn check(&self) {
        for stream in &self.streams {
            let tail = stream.tail();
            let committed = u32::try_from(tail.committed.len()).unwrap();
            assert!(tail.committed.iter().copied().eq(0..committed), "{tail:?}");
            assert!(committed == tail.next || self.fails.is_some(), "{tail:?}");
        }
    }
}

/// What one thread does with the log.
type Work = fn(&Log);

/// Lets threads do this with one log, in every order.
fn try_works<const N: usize>(
    preemptions_max: usize,
    start: impl Fn() -> Log + Sync + Send + 'static,
    works: [Work; N],
) {
    try_orders(preemptions_max, move || {
        let log = Arc::new(start());
        let (first, others) = works.split_first().unwrap();
        let threads: Vec<_> = others
            .iter()
            .map(|work| {
                let (log, work) = (Arc::clone(&log), *work);
                thread::spawn(move || work(&log))
            })
            .collect();
        first(&log);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        log.check();
    });
}

const ALL: [Takes; 3] = [Takes::All, Takes::Free, Takes::NotFirst];

#[test]
fn appends_to_two_streams_share_a_round() {
    for takes in ALL {
        try_works(
            2,
            move || Log::new(takes),
            [|log| log.append(0), |log| log.append(1), |log| log.append(0)],
        );
    }
}

#[test]
fn two_threads_append_to_both_in_turn() {
    for takes in ALL {
        try_works(
            if takes == Takes::All { 3 } else { 2 },
            move || Log::new(takes),
            [
                |log| [0, 1].into_iter().for_each(|nth| log.append(nth)),
                |log| [1, 0].into_iter().for_each(|nth| log.append(nth)),
            ],
        );
    }
}

/// Somebody syncs or rotates one of the streams meanwhile.
#[test]
fn a_stream_is_led_alone_meanwhile() {
    for takes in ALL {
        try_works(
            2,
            move || Log::new(takes),
            [|log| log.append(0), |log| log.append(1), |log| log.commit_alone(0)],
        );
    }
}

/// Some appends go with the log's rounds and some with their stream's.
#[test]
fn some_appends_go_alone() {
    for takes in ALL {
        try_works(
            2,
            move || Log::new(takes),
            [|log| log.append(0), |log| log.append(1), |log| log.append_alone(0)],
        );
    }
}

/// The sync of the whole log fails: nobody of that round, or of a later one, is told that his entry
/// is committed unless it was committed alone, and everybody returns.
#[test]
fn a_failed_round_of_the_log() {
    for fails in [1, 2] {
        try_works(
            2,
            move || Log { fails: Some(fails), ..Log::new(Takes::All) },
            [|log| log.append(0), |log| log.append(1), |log| log.append_alone(0)],
        );
    }
}
