//! The entries of all shards from a checkpoint on.

use std::ops::Range;

use bytes::Bytes;

use super::{ShardedWal, shard_name};
use crate::error::Result;
use crate::wal::range;

/// The entries of every shard from a checkpoint on, shard after shard, each in the order of its ids:
/// `(shard, id, entry)`. From [`ShardedWal::replay`].
///
/// Of each shard it yields what is committed when it gets there. Damage is yielded once, as an
/// error, and it goes on behind it.
///
/// ```
/// # use ironwal::WalOptions;
/// # use ironwal::sharded::{CheckpointData, ShardedWal};
/// # let dir = tempfile::tempdir()?;
/// # let wal = ShardedWal::new(WalOptions::new(dir.path()), 2)?;
/// wal.shard(1)?.append(b"appended first")?;
/// wal.shard(0)?.append(b"appended later")?;
/// let mut replay = wal.replay(&CheckpointData::beginning(2))?;
/// assert_eq!(replay.next().unwrap()?, (0, 0, "appended later".into())); // shard after shard
/// assert_eq!(replay.next().unwrap()?, (1, 0, "appended first".into()));
/// assert!(replay.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    wal: ShardedWal,
    offsets: Vec<u64>,
    /// The shards that have not been begun.
    shards: Range<u16>,
    shard: Option<(u16, range::Range)>,
}

impl Replay {
    pub(super) fn new(wal: ShardedWal, offsets: Vec<u64>) -> Self {
        let shards = 0..wal.shard_count();
        Self { wal, offsets, shards, shard: None }
    }
}

impl Iterator for Replay {
    type Item = Result<(u16, u64, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((shard, entries)) = &mut self.shard {
                match entries.next() {
                    Some(entry) => return Some(entry.map(|(id, bytes)| (*shard, id, bytes))),
                    None => self.shard = None,
                }
            }
            let shard = self.shards.next()?;
            let from = self.offsets.get(usize::from(shard)).copied().unwrap_or(0);
            match self.wal.inner().existing(&shard_name(shard)) {
                Ok(Some(stream)) => self.shard = Some((shard, stream.range(from..))),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
