//! Appends and batches that go through the journal.

use std::path::PathBuf;

use ironwal::{Journal, Wal};

use super::{JOURNALED, Log, Model, begin_both, entries, get};

/// Two appends to two streams share a round of the log, or do not. Catches an acknowledgement before
/// the journal's sync, and a share that is lost between the two rounds that it belongs to.
#[test]
fn two_appends() {
    Model {
        threads: &[
            |log| {
                log.append("s", b"one");
            },
            |log| {
                log.append("t", b"one");
            },
        ],
        judge: |log| {
            assert_eq!(entries(&log.wal, "s"), [b"zero".to_vec(), b"one".to_vec()]);
            assert_eq!(entries(&log.wal, "t"), [b"zero".to_vec(), b"one".to_vec()]);
        },
        ..JOURNALED
    }
    .check();
}

/// The same where a stream that is alone in its round is written back, and one that is not goes to the
/// journal: each time the segment must hold what the journal's share rests on.
#[test]
fn two_appends_by_either_way() {
    Model {
        journal: Journal::Auto,
        threads: &[
            |log| {
                log.append("s", b"one");
                log.append("s", b"two");
            },
            |log| {
                log.append("t", b"one");
            },
        ],
        ..JOURNALED
    }
    .check();
}

/// A batch as a thread commits it.
fn commit_batch(log: &Log) {
    let mut batch = log.wal.batch();
    batch.append("s", b"part");
    batch.append("t", b"part");
    let ids = batch.commit().unwrap();
    let (s, t) = (ids["s"].start, ids["t"].start);
    log.promise(move |wal| {
        assert_eq!(get(wal, "s", s).as_deref(), Some(&b"part"[..]));
        assert_eq!(get(wal, "t", t).as_deref(), Some(&b"part"[..]));
    });
}

fn has_part(wal: &Wal, stream: &str) -> bool {
    entries(wal, stream).contains(&b"part".to_vec())
}

/// A batch over two streams beside an append to one of them. Whoever has appended sees of the batch
/// both parts or none, and so does the next process after a power cut at that moment.
#[test]
fn a_batch_beside_an_append() {
    Model {
        threads: &[commit_batch, |log| {
            let id = log.wal.append("t", b"one").unwrap();
            let s = log.wal.stream("s").unwrap();
            // The batch's place in `t` is before or behind the append.
            if id == 2 {
                assert_eq!(s.next_id(), 2, "a part of the batch can be read without the other");
            }
            log.promise(move |wal| {
                assert_eq!(get(wal, "t", id).as_deref(), Some(&b"one"[..]));
                assert_eq!(has_part(wal, "s"), has_part(wal, "t"));
            });
        }],
        judge: |log| assert!(has_part(&log.wal, "s") && has_part(&log.wal, "t")),
        ..JOURNALED
    }
    .check();
}

/// A batch beside somebody who only looks, in the order in which the parts are published and in the
/// other.
#[test]
fn a_batch_beside_a_reader() {
    Model {
        threads: &[commit_batch, |log| {
            for [first, then] in [["s", "t"], ["t", "s"]] {
                let first = log.wal.stream(first).unwrap();
                assert!(first.next_id() > 0, "what was committed before is gone");
                if first.get(1).unwrap().is_some() {
                    assert!(get(&log.wal, then, 1).is_some(), "no part of {then} is seen");
                    log.promise(|wal| assert!(has_part(wal, "s") && has_part(wal, "t")));
                }
            }
        }],
        ..JOURNALED
    }
    .check();
}

impl Log {
    fn has_one_journal_file(&self) -> bool {
        let is_journal = |path: &PathBuf| path.to_string_lossy().contains("journal");
        self.disk.files().iter().filter(|path| is_journal(path)).count() == 1
    }
}

/// What nearly fills a file of the journal.
fn fill(log: &Log) {
    begin_both(log);
    for _ in 0..5 {
        log.wal.append("s", &[1; 7 * 1024]).unwrap();
    }
    assert!(log.has_one_journal_file());
}

/// A file of the journal is full, so the next append goes on in the other file and frees the full one
/// while another thread appends. Catches a file that is freed before what it holds is durable in the
/// segments, also of who came meanwhile.
#[test]
fn the_journal_turns() {
    Model {
        prepare: fill,
        threads: &[
            |log| {
                log.append("s", b"one");
            },
            |log| {
                log.append("t", b"one");
            },
        ],
        judge: |log| {
            assert!(!log.has_one_journal_file(), "the journal did not turn");
            log.promise(|wal| {
                assert_eq!(entries(wal, "s").len(), 7);
                assert_eq!(entries(wal, "t").len(), 2);
            });
        },
        ..JOURNALED
    }
    .check();
}
