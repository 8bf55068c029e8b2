//! Who waits for an append of somebody else: nobody sleeps for ever, or sees what may be lost.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use ironwal::{Error, Journal, Maintenance};
use loom::sync::{Condvar, Mutex};

use super::{JOURNALED, Log, Model, get};

/// Sees the entry that is appended meanwhile, however late it comes.
fn follow_one(log: &Log) {
    let mut follower = log.wal.stream("s").unwrap().follow(1);
    let (id, entry) = follower.next().unwrap().unwrap();
    assert_eq!((id, &*entry), (1, &b"one"[..]));
    log.promise(|wal| assert_eq!(get(wal, "s", 1).as_deref(), Some(&b"one"[..])));
}

/// Follows a stream to its end, which is that the log is closed.
fn follow(log: &Log) {
    // It may be closed by now.
    let Ok(stream) = log.wal.stream("s") else { return };
    let mut follower = stream.follow(1);
    let mut seen = 0;
    let end = loop {
        match follower.next().unwrap() {
            Ok((id, entry)) => {
                assert_eq!(entry, &b"one"[..]);
                seen += 1;
                log.promise(move |wal| assert_eq!(get(wal, "s", id).as_deref(), Some(&b"one"[..])));
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::Closed), "{end}");
    assert!(seen <= 1);
}

const FOLLOWED: Model = Model {
    threads: &[follow_one, |log| {
        log.append("s", b"one");
    }],
    ..JOURNALED
};

/// Catches a wake-up that is lost, and an entry that is seen before it is durable.
#[test]
fn a_follower_beside_an_append() {
    FOLLOWED.check();
}

/// The same without a journal.
#[test]
fn a_follower_beside_a_round_of_its_stream() {
    Model { journal: Journal::Off, ..FOLLOWED }.check();
}

/// Catches a close that leaves those asleep who follow.
#[test]
fn a_follower_beside_an_append_and_a_close() {
    Model {
        preemptions_max: 1,
        threads: &[follow, |log| {
            log.append("s", b"one");
            log.wal.close().unwrap();
        }],
        ..FOLLOWED
    }
    .check();
}

/// The committer has a thread of its own.
const SUBMITTED: Model =
    Model { maintenance: Maintenance::Thread, journal: Journal::Off, ..JOURNALED };

/// What was submitted is committed although nobody waits for it. Catches a committer that is not told,
/// or that leaves what it knows of.
#[test]
fn a_follower_of_what_was_submitted() {
    Model {
        // Loom has five threads at most: two of the model, the committer, that of maintenance, and this.
        threads: &[|log| {
            drop(log.wal.stream("s").unwrap().submit(b"one").unwrap());
            follow_one(log);
        }],
        ..SUBMITTED
    }
    .check();
}

/// The committer and whoever waits are after the same lead.
#[test]
fn submitted_and_waited_for() {
    Model {
        prepare: |log| {
            log.wal.append("s", b"zero").unwrap();
        },
        threads: &[|log| {
            let stream = log.wal.stream("s").unwrap();
            drop(stream.submit(b"one").unwrap());
            assert_eq!(stream.submit(b"two").unwrap().wait().unwrap(), 2);
            log.promise(|wal| assert_eq!(super::entries(wal, "s"), [&b"zero"[..], b"one", b"two"]));
            log.wal.close().unwrap();
        }],
        ..SUBMITTED
    }
    .check();
}

/// A thread that sleeps until a future has come to something.
#[derive(Default)]
struct Sleeper {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let sleeper = Arc::<Sleeper>::default();
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut is_woken = sleeper.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = sleeper.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

/// Catches a task that looks, and falls asleep, while the committer is through in between.
#[test]
fn submitted_and_awaited() {
    Model {
        prepare: |log| {
            log.wal.append("s", b"zero").unwrap();
        },
        threads: &[|log| {
            let pending = log.wal.stream("s").unwrap().submit(b"one").unwrap();
            assert_eq!(block_on(pending).unwrap(), 1);
            log.promise(|wal| assert_eq!(get(wal, "s", 1).as_deref(), Some(&b"one"[..])));
            log.wal.close().unwrap();
        }],
        ..SUBMITTED
    }
    .check();
}
