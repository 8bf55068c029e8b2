//! Logs that were tampered with: every kind of problem is found, and a sound log has none.

use std::collections::BTreeMap;

use super::{Findings, Found, Newest, Problem};
use crate::demo::lines::Lines;
use crate::demo::report::Place;
use crate::demo::turns::{THREADS, Turn, key_of};
use crate::demo::workers::checkpoint_id;

type Log = Vec<Vec<Result<(u64, Vec<u8>), String>>>;

const COUNT: u64 = 600;
const SHARDS: u64 = 3;

fn lines() -> Lines {
    Lines::of("one\ntwo\n\nfour\n")
}

fn entry(number: u64) -> Vec<u8> {
    let mut entry = Vec::new();
    lines().make_entry(number, &mut entry);
    entry
}

fn place(shard: u16, id: u64) -> Place {
    Place { shard, id }
}

/// Lines in the order in which threads append them that take turns.
fn in_order() -> Vec<u64> {
    let threads = THREADS as u64;
    (0..COUNT)
        .map(|nth| Turn { thread: (nth % threads) as usize, nth: nth / threads }.number())
        .filter(|number| *number < COUNT)
        .collect()
}

/// A log with those lines, and where each of them is.
fn log() -> (Log, BTreeMap<u64, Place>) {
    let mut log = vec![Vec::new(); 3];
    let mut places = BTreeMap::new();
    for number in in_order() {
        let shard = (key_of(number) % SHARDS) as u16;
        let entries: &mut Vec<_> = &mut log[usize::from(shard)];
        let id = entries.len() as u64;
        entries.push(Ok((id, entry(number))));
        places.insert(number, place(shard, id));
    }
    (log, places)
}

/// A checkpoint after the first `count` appends.
fn cut(count: usize) -> Vec<u64> {
    let mut offsets = vec![0; 3];
    let appended = in_order().into_iter().take(count);
    appended.for_each(|number| offsets[(key_of(number) % SHARDS) as usize] += 1);
    offsets
}

fn check(log: Log, acknowledged: &BTreeMap<u64, Place>) -> Findings {
    let shards = log.into_iter().map(Vec::into_iter);
    let findings = Findings::of(shards, acknowledged, &lines());
    assert!(findings.problem_count >= findings.problems.len() as u64);
    findings
}

fn problems(log: Log, acknowledged: &BTreeMap<u64, Place>) -> Vec<Problem> {
    check(log, acknowledged).problems
}

/// Takes an entry out and moves the others up, as a log would that never had it.
fn remove(log: &mut Log, Place { shard, id }: Place) {
    let entries = &mut log[usize::from(shard)];
    entries.remove(id as usize).unwrap();
    for (id, entry) in entries.iter_mut().enumerate() {
        entry.as_mut().unwrap().0 = id as u64;
    }
}

#[test]
fn a_sound_log_has_no_problems() {
    let (log, places) = log();
    let mut acknowledged = places.clone();
    let unreported = in_order().split_off(places.len() - 10);
    unreported.iter().for_each(|number| _ = acknowledged.remove(number));
    let mut findings = check(log, &acknowledged);
    assert_eq!(findings.problems, []);
    assert_eq!((findings.lost, findings.unreported), (0, 10));
    assert_eq!(findings.places, places);
    assert_eq!(findings.done.iter().sum::<u64>(), places.len() as u64);
    assert_eq!(findings.len, places.keys().map(|number| entry(*number).len() as u64).sum::<u64>());
    findings.require_complete();
    assert_eq!(findings.problems, [Problem::Extra { count: 10 }]);
}

#[test]
fn a_lost_last_line_is_found() {
    let (mut log, places) = log();
    let (id, _) = log[2].pop().unwrap().unwrap();
    let (number, _) = places.iter().find(|(_, at)| **at == place(2, id)).unwrap();
    let lost = Problem::Lost { number: *number, place: place(2, id) };
    let findings = check(log, &places);
    assert_eq!(findings.problems, [lost]);
    assert_eq!(findings.lost, 1);
}

#[test]
fn a_lost_line_in_the_middle_is_found_and_so_is_every_moved_one() {
    let (mut log, places) = log();
    let end = log[1].len() as u64;
    remove(&mut log, place(1, end - 3));
    let findings = check(log, &places);
    assert_eq!((findings.lost, findings.problem_count), (3, 3));
    let lost = |problem: &&Problem| matches!(problem, Problem::Lost { .. });
    assert_eq!(findings.problems.iter().filter(lost).count(), 1);
    let moved = |problem: &&Problem| matches!(problem, Problem::Moved { .. });
    assert_eq!(findings.problems.iter().filter(moved).count(), 2);
}

/// A thread goes on when an append has returned, so a hole means that one left nothing, even if no
/// report of it got through.
#[test]
fn a_hole_is_found_without_a_report() {
    let (mut log, places) = log();
    remove(&mut log, places[&0]);
    assert_eq!(problems(log, &BTreeMap::new()), [Problem::Hole { first: 0, count: 1 }]);
}

#[test]
fn a_hole_in_the_ids_is_found() {
    let (mut log, _) = log();
    log[1].remove(3).unwrap();
    let expected = Problem::IdGap { expected: place(1, 3), found: 4 };
    assert!(problems(log, &BTreeMap::new()).contains(&expected));
}

#[test]
fn a_doubled_line_is_found() {
    let (mut log, places) = log();
    let id = log[0].len() as u64;
    log[0].push(Ok((id, entry(0))));
    assert_eq!(
        problems(log, &places),
        [Problem::Twice { number: 0, first: places[&0], second: place(0, id) }]
    );
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let (sound, places) = log();
    for position in 0..entry(1).len() {
        let mut log = sound.clone();
        let at = places[&1];
        log[usize::from(at.shard)][at.id as usize].as_mut().unwrap().1[position] ^= 0x40;
        let found = problems(log, &places);
        let lost = Problem::Lost { number: 1, place: at };
        assert!(found.contains(&lost), "{position}: {found:?}");
        let changed = Problem::Changed { number: 1, place: at };
        assert!(position < 8 || found[0] == changed, "{position}: {found:?}");
    }
}

#[test]
fn what_is_no_line_is_found() {
    let (mut log, places) = log();
    let id = log[0].len() as u64;
    log[0].push(Ok((id, b"short".to_vec())));
    assert_eq!(problems(log, &places), [Problem::NotOurs { place: place(0, id) }]);
}

#[test]
fn lines_in_another_order_are_found() {
    let (mut log, places) = log();
    // The first two of the first thread.
    let (first, second) = (places[&0].id as usize, places[&1].id as usize);
    let mut swapped = [entry(1), entry(0)].into_iter();
    for position in [first, second] {
        log[0][position].as_mut().unwrap().1 = swapped.next().unwrap();
    }
    let expected = Problem::OutOfOrder { number: 0, place: place(0, second as u64) };
    assert_eq!(problems(log, &BTreeMap::new()), [expected]);
}

#[test]
fn a_key_in_two_shards_is_found() {
    let (mut log, places) = log();
    let last = in_order().pop().unwrap();
    let Place { shard, id } = places[&last];
    log[usize::from(shard)].remove(id as usize).unwrap();
    let other = (shard + 1) % 3;
    let at = place(other, log[usize::from(other)].len() as u64);
    log[usize::from(other)].push(Ok((at.id, entry(last))));
    let found = problems(log, &BTreeMap::new());
    let is_split = |problem: &Problem| matches!(problem, Problem::KeySplit { .. });
    assert!(!found.is_empty() && found.iter().all(is_split), "{found:?}");
}

#[test]
fn an_unreadable_entry_is_found() {
    let (mut log, places) = log();
    let at = places[&0];
    log[0][at.id as usize] = Err("damaged".into());
    let found = problems(log, &places);
    let (error, lost) = ("damaged".into(), Problem::Lost { number: 0, place: at });
    assert_eq!(found[0], Problem::Unreadable { expected: at, error });
    assert!(found.contains(&lost));
}

/// What is found of checkpoints with these offsets, when all of them were acknowledged.
fn checkpoint_problems(
    cuts: impl IntoIterator<Item = Vec<u64>>,
    tamper: impl FnOnce(&mut Found, &mut BTreeMap<u64, u64>),
) -> (Vec<Problem>, Option<Newest>) {
    let (log, places) = log();
    let mut findings = check(log, &places);
    let offsets: BTreeMap<u64, _> = (0..).zip(cuts.into_iter().map(Ok)).collect();
    let latest = offsets.last_key_value().map(|(number, _)| checkpoint_id(*number));
    let mut acknowledged = offsets.keys().map(|number| (*number, 0)).collect();
    let mut found = Found { offsets, latest };
    tamper(&mut found, &mut acknowledged);
    let newest = findings.check_checkpoints(&found, &acknowledged);
    assert_eq!(findings.wrong_checkpoints, findings.problem_count);
    (findings.problems, newest)
}

#[test]
fn sound_checkpoints_have_no_problems() {
    let cuts = || [0, 1, 17, 17, 300].map(cut);
    let (problems, newest) = checkpoint_problems(cuts(), |_, acknowledged| {
        acknowledged.insert(4, 300);
        // One that nobody had heard of is checked too.
        acknowledged.remove(&2);
    });
    assert_eq!(problems, []);
    assert_eq!(newest, Some(Newest { number: 4, holds: 300 }));
    assert_eq!(checkpoint_problems([], |_, _| {}), (Vec::new(), None));
}

#[test]
fn an_acknowledged_checkpoint_that_is_missing_is_found() {
    for missing in 0..3 {
        let (problems, _) = checkpoint_problems([10, 20, 30].map(cut), |found, _| {
            found.offsets.remove(&missing).unwrap().unwrap();
            found.latest = found.offsets.keys().last().map(|number| checkpoint_id(*number));
        });
        let error = "it is not in the log".to_string();
        assert_eq!(problems, [Problem::CheckpointLost { number: missing, error }]);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_loaded_is_found() {
    let (problems, newest) = checkpoint_problems([10, 20, 30].map(cut), |found, acknowledged| {
        found.offsets.insert(1, Err("damaged".into()));
        // Nobody had heard of it, and it is there.
        acknowledged.remove(&1);
    });
    assert_eq!(problems, [Problem::CheckpointLost { number: 1, error: "damaged".into() }]);
    assert_eq!(newest, Some(Newest { number: 2, holds: 30 }));
}

#[test]
fn a_checkpoint_that_ends_behind_what_can_be_read_is_found() {
    let all = cut(usize::MAX);
    let beyond = vec![all[0], all[1] + 1, all[2]];
    let (problems, _) = checkpoint_problems([all.clone(), beyond], |_, _| {});
    let offset = place(1, all[1] + 1);
    assert_eq!(problems, [Problem::CheckpointBeyond { number: 1, offset, end: all[1] }]);
}

#[test]
fn a_checkpoint_that_is_not_one_instant_is_found() {
    // The first thread has gone on to another key in another shard.
    let mut torn = cut(300);
    torn[0] = 0;
    let (problems, _) = checkpoint_problems([torn], |_, _| {});
    let Problem::CheckpointTorn { number: 0, holds, misses } = problems[0] else {
        panic!("{problems:?}")
    };
    assert_eq!((Turn::of(holds).thread, misses), (Turn::of(misses).thread, 0));
    assert!(Turn::of(holds).nth > 0);
}

#[test]
fn a_checkpoint_that_misses_what_had_returned_is_found() {
    let (problems, _) = checkpoint_problems([cut(300)], |_, acknowledged| {
        acknowledged.insert(0, 301);
    });
    assert_eq!(
        problems,
        [Problem::CheckpointShort { number: 0, holds: 300, returned_before: 301 }]
    );
}

#[test]
fn a_checkpoint_that_misses_what_an_older_one_holds_is_found() {
    let (problems, _) = checkpoint_problems([cut(300), cut(299)], |_, _| {});
    let [Problem::CheckpointBackwards { number: 1, offset, before }] = problems[..] else {
        panic!("{problems:?}")
    };
    assert_eq!(offset.id + 1, before);
}

#[test]
fn a_latest_checkpoint_that_is_not_the_newest_is_found() {
    for latest in [None, Some(checkpoint_id(0))] {
        let (problems, _) = checkpoint_problems([10, 20].map(cut), |found, _| {
            found.latest.clone_from(&latest);
        });
        let found = latest.unwrap_or_else(|| "none".into());
        assert_eq!(problems, [Problem::CheckpointNotLatest { newest: 1, found }]);
    }
}

type Replayed = Vec<Result<(u16, u64, Vec<u8>), String>>;

/// What is found of a replay from the middle on, and how much was replayed.
fn replay_problems(tamper: impl FnOnce(&mut Replayed)) -> (Vec<Problem>, u64) {
    let (log, places) = log();
    let offsets = cut(COUNT as usize / 2);
    let mut replayed = Vec::new();
    for ((shard, entries), offset) in (0..).zip(log.clone()).zip(&offsets) {
        let after = entries.into_iter().map(Result::unwrap).filter(|(id, _)| id >= offset);
        replayed.extend(after.map(|(id, entry)| Ok((shard, id, entry))));
    }
    tamper(&mut replayed);
    let mut findings = check(log, &places);
    let count = findings.check_replay(&offsets, replayed.into_iter(), &lines());
    (findings.problems, count)
}

#[test]
fn a_replay_yields_what_comes_after_the_checkpoint() {
    let (problems, count) = replay_problems(|_| {});
    assert_eq!(problems, []);
    assert!(count > 100);
    let first = |replayed: &Replayed| {
        let (shard, id, _) = replayed[0].clone().unwrap();
        Problem::NotReplayed { place: place(shard, id) }
    };
    let expected = first(&{
        let mut whole = Vec::new();
        replay_problems(|replayed| whole.clone_from(replayed));
        whole
    });
    let missing = replay_problems(|replayed| drop(replayed.remove(0)));
    assert_eq!(missing, (vec![expected.clone()], count - 1));
    let twice = replay_problems(|replayed| replayed.push(replayed[0].clone()));
    assert_eq!(twice, (vec![expected.clone()], count + 1));
    let changed = replay_problems(|replayed| replayed[0].as_mut().unwrap().2.push(0));
    assert_eq!(changed, (vec![expected.clone()], count));
    let (unreadable, _) = replay_problems(|replayed| replayed[0] = Err("damaged".into()));
    assert_eq!(unreadable.len(), 2);
    assert!(unreadable.contains(&expected));
}
