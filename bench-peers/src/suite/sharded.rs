//! The jobs that need shards.

use std::io;

use super::child::{entry, measure_opening, setup};
use super::drive::drive;
use super::job::{ENTRY_LEN, Job, Order, Outcome};
use crate::peers::{Peer, Shards};

/// How many checkpoints are read in turn.
const CHECKPOINTS: usize = 16;

/// How many reads of checkpoints are timed at once.
const GROUP: u64 = 16;

/// A key for each shard.
type Keys = Vec<Vec<u8>>;

/// Does one of them.
pub fn work(peer: &dyn Peer, order: &Order) -> io::Result<Outcome> {
    match order.job {
        Job::Shards { strict, threads, shards, batch } => {
            appends(peer, order, (strict, batch), threads, shards)
        }
        Job::CheckpointCreate { shards } => {
            let (log, _) = open(peer, order, true, shards)?;
            let mut nth = 0_u64;
            let create = || {
                nth += 1;
                log.create_checkpoint(format!("checkpoint-{nth}").as_bytes())
            };
            let outcome = time_of_one(drive(vec![create], 1, order.pace.timed())?);
            log.close()?;
            Ok(outcome)
        }
        Job::CheckpointLoad { shards } => {
            let (log, _) = open(peer, order, true, shards)?;
            let ids: Vec<Vec<u8>> =
                (0..CHECKPOINTS).map(|nth| format!("checkpoint-{nth}").into_bytes()).collect();
            ids.iter().try_for_each(|id| log.create_checkpoint(id))?;
            let mut nth = 0;
            let load = || {
                nth = (nth + 1) % ids.len();
                let found = log.load_checkpoint(&ids[nth])?;
                if found == usize::from(shards) { Ok(()) } else { Err(io::Error::other("torn")) }
            };
            let mut limits = order.pace.timed();
            limits.group = GROUP;
            let outcome = time_of_one(drive(vec![load], 1, limits)?);
            log.close()?;
            Ok(outcome)
        }
        Job::WriteCheckpoints { shards, count } => {
            let (log, _) = open(peer, order, true, shards)?;
            for nth in 0..count {
                log.create_checkpoint(format!("checkpoint-{nth}").as_bytes())?;
            }
            log.close()?;
            Ok(Outcome { operations: count as u64, ..Outcome::default() })
        }
        Job::OpenCheckpoints { shards, .. } => measure_opening(order.pace, false, || {
            let log = peer.open_shards(&setup(order, true, 1, 0), shards)?;
            Ok(move || log.close())
        }),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The figure as a time, not a rate.
fn time_of_one(outcome: Outcome) -> Outcome {
    Outcome { figure: 1.0 / outcome.figure, ..outcome }
}

/// A log of which every shard exists, and a key for each.
fn open(
    peer: &dyn Peer,
    order: &Order,
    strict: bool,
    shards: u16,
) -> io::Result<(Box<dyn Shards>, Keys)> {
    let log = peer.open_shards(&setup(order, strict, 1, 0), shards)?;
    let mut keys = vec![Vec::new(); shards.into()];
    let mut missing = keys.len();
    for nth in 0_u64.. {
        let key = format!("key-{nth}").into_bytes();
        let place = &mut keys[usize::from(log.append(&key, &entry(ENTRY_LEN))?)];
        if place.is_empty() {
            *place = key;
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    Ok((log, keys))
}

fn appends(
    peer: &dyn Peer,
    order: &Order,
    (strict, batch): (bool, usize),
    threads: usize,
    shards: u16,
) -> io::Result<Outcome> {
    let (log, keys) = open(peer, order, strict, shards)?;
    let (shared, keys) = (&*log, &keys);
    let limits = if strict {
        order.pace.timed()
    } else {
        let group = if batch == 1 { shards.into() } else { 1 };
        order.pace.counted(threads, ENTRY_LEN * batch, group)
    };
    let mut operations: Vec<Box<dyn FnMut() -> io::Result<()> + Send + '_>> = Vec::new();
    for thread in 0..threads {
        let entry = entry(ENTRY_LEN);
        if batch > 1 {
            let pairs: Vec<(Vec<u8>, Vec<u8>)> =
                (0..batch).map(|nth| (keys[nth % keys.len()].clone(), entry.clone())).collect();
            operations.push(Box::new(move || shared.append_batch(&pairs)));
            continue;
        }
        let mut nth = thread;
        let step = if threads == 1 { 1 } else { 0 };
        operations.push(Box::new(move || {
            nth += step;
            shared.append(&keys[nth % keys.len()], &entry).map(drop)
        }));
    }
    let outcome = drive(operations, batch as u64, limits)?;
    log.close()?;
    Ok(outcome)
}
