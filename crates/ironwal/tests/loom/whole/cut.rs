//! A cut beside appends: one instant, and durable when it is returned.

use ironwal::{Journal, SyncMode};

use super::{JOURNALED, Log, Model, entries};

/// Takes a cut, which is durable then.
fn cut(log: &Log) -> (u64, u64) {
    let ends = log.wal.cut(&["t", "s"]).unwrap();
    let (t, s) = (ends[0], ends[1]);
    log.promise(move |wal| {
        assert!(entries(wal, "t").len() as u64 >= t, "what the cut holds of t is lost");
        assert!(entries(wal, "s").len() as u64 >= s, "what the cut holds of s is lost");
    });
    (t, s)
}

fn append_in_order(log: &Log) {
    log.wal.append("s", b"earlier").unwrap();
    log.wal.append("t", b"later").unwrap();
}

fn cut_in_order(log: &Log) {
    let (t, s) = cut(log);
    assert!(t == 1 || s >= 2, "the cut holds the later entry only: {t} of t, {s} of s");
}

/// One append returns before the other begins: no cut holds the later one only.
const IN_ORDER: Model = Model { threads: &[append_in_order, cut_in_order], ..JOURNALED };

/// Catches ends that are read one after another.
#[test]
fn beside_appends_in_order() {
    IN_ORDER.check();
}

/// The same without a journal.
#[test]
fn beside_appends_that_are_written_back() {
    Model { journal: Journal::Off, ..IN_ORDER }.check();
}

/// The same where nobody but the cut syncs. Catches one that takes what is written for durable.
#[test]
fn beside_appends_that_are_not_synced() {
    Model { sync_mode: SyncMode::Async, ..IN_ORDER }.check();
}

/// With a third thread, whose append is in between or is not.
#[test]
fn beside_appends_of_two_threads() {
    Model {
        preemptions_max: 1,
        threads: &[append_in_order, cut_in_order, |log| {
            log.append("s", b"other");
        }],
        ..IN_ORDER
    }
    .check();
}

/// Catches a cut that looks at a batch while it is staged.
#[test]
fn beside_a_batch() {
    Model {
        threads: &[
            |log| {
                let mut batch = log.wal.batch();
                batch.append("s", b"part");
                batch.append("t", b"part");
                batch.commit().unwrap();
            },
            |log| {
                let (t, s) = cut(log);
                assert_eq!(t, s, "the cut is between the parts of a batch");
            },
        ],
        ..JOURNALED
    }
    .check();
}
