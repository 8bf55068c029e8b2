//! The log of checkpoints. What its entries are, only the feature `sharded` knows.

use super::plan::Plan;
use crate::error::Result;
use crate::wal::Wal;

/// Whether an entry is a record.
#[cfg(feature = "sharded")]
pub(super) fn is_record(entry: &[u8]) -> bool {
    crate::sharded::record::is_record(entry)
}

/// The same as far as it is known: any entry may be one.
#[cfg(not(feature = "sharded"))]
pub(super) fn is_record(_entry: &[u8]) -> bool {
    true
}

/// Takes out what is lost, for which a sharded log would refuse to open; and finds the number of shards
/// again, if the root file was lost.
#[cfg(feature = "sharded")]
pub(super) fn drop_lost(wal: &Wal, plan: &Plan) -> Result<()> {
    use super::finding::Severity;
    use super::plan::{Action, Measure};
    use crate::sharded::{ROUTING, ShardedWal, record};
    use crate::wal::own::{CHECKPOINTS, Sharding};

    let log = wal.checkpoints();
    if plan.actions.iter().any(|action| action.measure == Measure::RebuildRoot) {
        let mut entries = log.range(..).filter_map(|entry| entry.ok());
        if let Some(shard_count) = entries.find_map(|(_, entry)| record::shard_count_in(&entry)) {
            wal.record_sharding(Sharding { shard_count, routing: ROUTING })?;
        }
    }
    let Some(Sharding { shard_count, .. }) = wal.sharding() else { return Ok(()) };
    let is_lost = |action: &Action| {
        let Action { finding, .. } = action;
        finding.stream.as_deref() == Some(CHECKPOINTS) && finding.severity() <= Severity::Lost
    };
    let lost_with_journal = log.range(..).any(|entry| entry.is_err());
    if lost_with_journal || plan.actions.iter().any(is_lost) {
        ShardedWal::over(wal.clone(), shard_count)?.compact_checkpoints(usize::MAX)?;
    }
    Ok(())
}

/// Nothing: without the feature, nobody opens them.
#[cfg(not(feature = "sharded"))]
pub(super) fn drop_lost(_wal: &Wal, _plan: &Plan) -> Result<()> {
    Ok(())
}
