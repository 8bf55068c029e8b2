//! Rounds on the system's threads; `tests/loom.rs` tries every order of a few steps.

use super::rounds::{Rounds, Turn};
use crate::sync::{AtomicU32, Mutex, Ordering, lock, yield_now};

/// A round was written and published, and the step after it failed: its followers must not be
/// told that their entries, which can be read, were refused.
#[test]
fn a_committed_round_has_not_failed() {
    let rounds = Rounds::new();
    assert!(rounds.try_lead());
    rounds.finish(Some((1, 2)), 0, true);
    assert_eq!(rounds.wait(1), Turn::Committed);
    assert_eq!(rounds.wait(2), Turn::Failed);
}

#[test]
fn every_round_has_one_leader_and_everybody_returns() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 500;
    let rounds = Rounds::new();
    // The open round and how many are staged in it; what a leader commits.
    let tail = Mutex::new((1_u64, 0_u32));
    let committed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let round = {
                        let mut tail = lock(&tail);
                        tail.1 += 1;
                        tail.0
                    };
                    if rounds.wait(round) == Turn::Lead {
                        let (round, staged) = {
                            let mut tail = lock(&tail);
                            let taken = *tail;
                            *tail = (taken.0 + 1, 0);
                            taken
                        };
                        assert!(staged > 0, "nothing was staged in the round that was led");
                        committed.fetch_add(staged, Ordering::SeqCst);
                        yield_now();
                        rounds.finish(Some((round, staged)), 0, false);
                    }
                }
            });
        }
    });
    assert_eq!(committed.into_inner(), THREADS * ROUNDS);
}
