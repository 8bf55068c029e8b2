//! Which checkpoints a log must hold, as a model. Of the entries in the shards,
//! [`crate::model`] is the judge.

use ironwal::Error;
use ironwal::sharded::{CheckpointData, ShardedWal};

/// A checkpoint and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) id: Vec<u8>,
    pub(super) data: CheckpointData,
}

/// What is known of the checkpoints of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Checkpoints {
    /// Those that this process must see, in the order of their creation.
    pub(super) known: Vec<Checkpoint>,
    /// What the next process may see instead, because of calls that failed.
    doubts: Vec<Vec<Checkpoint>>,
}

impl Checkpoints {
    fn with(&self, new: Checkpoint) -> Vec<Checkpoint> {
        let mut with = self.known.clone();
        with.retain(|old| old.id != new.id);
        with.push(new);
        with
    }

    fn newest(&self, keep: usize) -> Vec<Checkpoint> {
        self.known[self.known.len().saturating_sub(keep)..].to_vec()
    }

    /// One was created.
    pub(super) fn created(&mut self, new: Checkpoint) {
        self.known = self.with(new);
        // A log that takes entries is not poisoned: nothing came of what failed before.
        self.doubts.clear();
    }

    /// A creation failed, and it is open whether it was done.
    pub(super) fn may_be_created(&mut self, new: Checkpoint) {
        self.doubts.push(self.with(new));
    }

    /// All but the newest were dropped.
    pub(super) fn compacted(&mut self, keep: usize) {
        if keep < self.known.len() {
            self.known = self.newest(keep);
            self.doubts.clear();
        }
    }

    /// A compaction failed. The process knows whether it was done, or the next one will.
    pub(super) fn compaction_failed(&mut self, wal: &ShardedWal, keep: usize) {
        let kept = self.newest(keep);
        if see(wal) == kept {
            self.known = kept;
        } else {
            self.doubts.push(kept);
        }
    }

    /// Checks that exactly what is known is there, and can be loaded.
    pub(super) fn check(&self, wal: &ShardedWal) {
        assert_eq!(see(wal), self.known, "the checkpoints there are");
        assert_eq!(wal.checkpoint_count(), self.known.len());
        match (wal.load_latest_checkpoint(), self.known.last()) {
            (Ok((id, data)), Some(last)) => assert_eq!((&id, &data), (&last.id, &last.data)),
            (Err(Error::NoCheckpoints), None) => {}
            (latest, last) => panic!("the latest is {latest:?}, and not {last:?}"),
        }
    }

    /// Checks what was recovered, and takes it for what is known from now on.
    pub(super) fn recovered(&mut self, wal: &ShardedWal) {
        let seen = see(wal);
        assert!(
            seen == self.known || self.doubts.contains(&seen),
            "recovered: {seen:?}\nmust be: {:?}\nor one of: {:?}",
            self.known,
            self.doubts
        );
        self.known = seen;
        self.doubts.clear();
        self.check(wal);
    }
}

/// The checkpoints that a log shows, each loaded.
pub(super) fn see(wal: &ShardedWal) -> Vec<Checkpoint> {
    let listed = wal.list_checkpoints();
    let load = |(id, timestamp): (Vec<u8>, u64)| {
        let data = wal.load_checkpoint(&id).unwrap();
        assert_eq!(data.timestamp, timestamp, "{}", id.escape_ascii());
        Checkpoint { id, data }
    };
    listed.into_iter().map(load).collect()
}
