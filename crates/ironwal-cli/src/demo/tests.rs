//! The demo's check on real logs that were tampered with: it goes red.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ironwal::sharded::ShardedWal;

use super::check::Problem;
use super::lines::Lines;
use super::progress::Progress;
use super::report::{Place, Report};
use super::tally::Tally;
use super::turns::THREADS;
use super::workers::{Work, checkpoint_id};
use super::{Checked, Run, SHARDS, close, open_log};

const TARGET: u64 = 2_000;

/// Appends, tampers with the log, opens it again, and checks it.
fn check_tampered(tamper: impl FnOnce(&ShardedWal)) -> Checked {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines::of("one\ntwo\n\nfour\n");
    let wal = open_log(dir.path()).unwrap();
    let tally = append(&wal, &lines);
    assert!(tally.checkpoints.len() > 2);
    tamper(&wal);
    close(&wal).unwrap();
    drop(wal);
    check(dir.path(), &lines, &tally)
}

fn append(wal: &ShardedWal, lines: &Lines) -> Tally {
    let work = Work {
        wal,
        lines,
        done: [0; THREADS],
        numbers_end: TARGET,
        checkpoint_every: 200,
        next_checkpoint: 0,
        stopped: AtomicBool::new(false),
    };
    let tally = Mutex::new(Tally::default());
    let report = |reports: &[Report]| {
        tally.lock().unwrap().add(reports);
        true
    };
    work.run(report).unwrap();
    tally.into_inner().unwrap()
}

fn check(log_dir: &Path, lines: &Lines, tally: &Tally) -> Checked {
    let (interrupted, progress) = (AtomicBool::new(false), Progress::new(TARGET));
    let run = Run {
        lines,
        log_dir,
        target: TARGET,
        phase_time_max: Duration::ZERO,
        interrupted: &interrupted,
        progress: &progress,
    };
    run.check(&run.reopen().unwrap().0, tally).unwrap()
}

#[test]
fn what_is_as_it_was_has_no_problems() {
    let checked = check_tampered(|_| {});
    assert_eq!(checked.findings.problems, []);
    assert_eq!(checked.findings.places.len() as u64, TARGET);
    assert!(checked.newest.unwrap().holds > TARGET / 2);
}

#[test]
fn a_checkpoint_that_was_dropped_is_missed() {
    let checked = check_tampered(|wal| {
        wal.compact_checkpoints(wal.checkpoint_count() - 1).unwrap();
    });
    let error = "it is not in the log".to_string();
    assert_eq!(checked.findings.problems, [Problem::CheckpointLost { number: 0, error }]);
    let all = check_tampered(|wal| _ = wal.compact_checkpoints(0).unwrap());
    assert!(all.findings.wrong_checkpoints > 2);
    assert_eq!(all.newest, None);
}

#[test]
fn entries_that_were_cut_off_leave_a_checkpoint_that_ends_behind_them() {
    let number = 999;
    let mut cut_off = None;
    let checked = check_tampered(|wal| {
        wal.create_checkpoint(checkpoint_id(number).as_bytes()).unwrap();
        let ends = (0..SHARDS).map(|shard| (shard, wal.shard(shard).unwrap().next_id()));
        let (shard, end) = ends.max_by_key(|(_, end)| *end).unwrap();
        wal.shard(shard).unwrap().truncate_after(Some(end - 3)).unwrap();
        cut_off = Some(Place { shard, id: end });
    });
    assert_eq!(checked.findings.lost, 2);
    let offset = cut_off.unwrap();
    let beyond = Problem::CheckpointBeyond { number, offset, end: offset.id - 2 };
    assert!(checked.findings.problems.contains(&beyond), "{:?}", checked.findings.problems);
}

/// Under the id of the first checkpoint there is another instant, and it is the latest.
#[test]
fn a_checkpoint_that_was_replaced_is_found() {
    let checked = check_tampered(|wal| {
        wal.create_checkpoint(checkpoint_id(0).as_bytes()).unwrap();
    });
    let backwards = |problem: &Problem| matches!(problem, Problem::CheckpointBackwards { .. });
    assert!(checked.findings.problems.iter().any(backwards));
    let newest = checked.newest.unwrap().number;
    let not_latest = Problem::CheckpointNotLatest { newest, found: checkpoint_id(0) };
    assert!(checked.findings.problems.contains(&not_latest), "{:?}", checked.findings.problems);
}
