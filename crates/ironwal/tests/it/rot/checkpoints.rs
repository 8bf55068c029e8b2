//! What becomes of the checkpoints of a sharded log, whichever file of it was hit. What a fault in the log
//! of checkpoints itself does to each of them is in `sharded/damage.rs`.

use ironwal::Error;
use ironwal::Wal;
use ironwal::sharded::ShardedWal;

use super::judge::{Case, Hit, Outcome, Verdict, below_which_all_is_seen, what_is_hit};
use super::samples::{Checkpoints, sharded};

const DIR: &str = ".checkpoints";

/// What there is of the checkpoints.
pub(super) fn judge(case: &Case<'_>, wal: &Wal) -> Verdict {
    let sample = case.sample;
    let Some(present) = sample.checkpoints.last().filter(|present| !present.is_empty()) else {
        return Ok(Outcome::Identical);
    };
    let wal = match sharded::over(wal) {
        Ok(wal) => wal,
        // The root file is older than the shards.
        Err(Error::Config(what)) if what.contains("/log") => return Ok(Outcome::Refused),
        Err(error) => return Err(format!("opening the shards: {error}")),
    };
    let is_reported = match wal.load_checkpoint(b"never created") {
        Err(Error::CheckpointCorrupted { reason, .. }) if reason.contains("/log/.checkpoints") => {
            true
        }
        Err(Error::CheckpointNotFound(_)) => false,
        other => return Err(format!("loading what never was: {other:?}")),
    };
    let seen = see(&wal)?;
    if is_reported {
        let was = |one| sample.checkpoints.iter().any(|were| were.contains(one));
        return match seen.iter().all(was) {
            true => Ok(Outcome::Gap),
            false => Err(format!("these checkpoints never were: {seen:?}")),
        };
    }
    // A log that ends in a compaction has the first of the copies.
    if !sample.checkpoints.iter().any(|were| were.starts_with(&seen)) {
        return Err(format!("the checkpoints never were like that: {seen:?}"));
    }
    replay(case, &wal, &seen)?;
    if seen == *present {
        return Ok(Outcome::Identical);
    }
    let Some(fault) = case.fault else { return Err("checkpoints are gone".into()) };
    let hit = what_is_hit(sample, fault.path(&sample.material), DIR);
    let is_last = sample.checkpoints.iter().rev().nth(1) == Some(&seen);
    let is_unseen = hit != Hit::Elsewhere
        && (below_which_all_is_seen(sample, fault, hit).is_some()
            || (!sample.is_closed && is_last));
    match is_unseen {
        true => Ok(Outcome::Earlier),
        false => Err(format!("checkpoints are gone in silence: {seen:?}")),
    }
}

fn see(wal: &ShardedWal) -> Result<Checkpoints, String> {
    let load = |(id, _): (Vec<u8>, u64)| match wal.load_checkpoint(&id) {
        Ok(data) => Ok((id, data.offsets)),
        Err(error) => Err(format!("loading what is listed: {error}")),
    };
    wal.list_checkpoints().into_iter().map(load).collect()
}

/// What comes after each checkpoint is what was appended there, or an error.
fn replay(case: &Case<'_>, wal: &ShardedWal, seen: &Checkpoints) -> Result<(), String> {
    for (id, _) in seen {
        let data = wal.load_checkpoint(id).map_err(|error| error.to_string())?;
        let replay = match wal.replay(&data) {
            Ok(replay) => replay,
            Err(Error::Corruption(_) | Error::Damaged { .. } | Error::Pruned { .. }) => continue,
            Err(error) => return Err(format!("replaying: {error}")),
        };
        for item in replay {
            let (shard, id, entry) = match item {
                Ok(item) => item,
                Err(Error::Damaged { .. }) => break,
                Err(error) => return Err(format!("replaying: {error}")),
            };
            let history = &case.sample.streams[usize::from(shard)];
            let expected = history.present().entries.get(id as usize);
            if expected.is_none_or(|expected| *expected != entry) {
                return Err(format!("replaying: {id} of shard {shard} differs"));
            }
        }
    }
    Ok(())
}
