//! The second half: the parent appends what the child did not get to, and prunes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use ironwal::sharded::ShardedWal;

use super::check::{Findings, Newest};
use super::tally::Tally;
use super::workers::{Work, checkpoint_id};
use super::{Run, SHARDS};
use crate::exit::{Done, Failure};
use crate::text::counted;

/// What the pruning freed, and what is left.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pruned {
    pub(super) segments: u64,
    pub(super) bytes_before: u64,
    pub(super) bytes_after: u64,
    /// Entries after the checkpoint.
    pub(super) replayed: u64,
}

impl Run<'_> {
    /// Appends the lines that are not in the log, until all are there or the time is over.
    pub(super) fn append_rest(
        &self,
        wal: &ShardedWal,
        survived: &Findings,
        next_checkpoint: u64,
    ) -> Done<Tally> {
        let work = Work {
            wal,
            lines: self.lines,
            done: survived.done,
            numbers_end: self.target,
            checkpoint_every: self.checkpoint_every(),
            next_checkpoint,
            stopped: AtomicBool::new(false),
        };
        let (sender, receiver) = mpsc::channel();
        let tally = thread::scope(|scope| {
            let work = &work;
            // Takes the sender along: when it is dropped, no more reports are to come.
            let appender = scope.spawn(move || work.run(|done| sender.send(done.to_vec()).is_ok()));
            let before = survived.places.len() as u64;
            let tally = self.collect(&receiver, before, u64::MAX, || {
                work.stopped.store(true, Ordering::Relaxed);
            });
            let appended = appender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            appended.map(|()| tally)
        });
        let tally = tally.map_err(|error| Failure::of("append in the demo", &error))?;
        self.go_on_unless_interrupted()?;
        Ok(tally)
    }

    /// Prunes what lies before the newest checkpoint, opens the log again, and checks that what
    /// comes after the checkpoint is replayed.
    pub(super) fn prune(
        &self,
        wal: ShardedWal,
        newest: Newest,
        findings: &mut Findings,
    ) -> Done<Pruned> {
        let failed = |error| Failure::of("prune the demo's log", &error);
        let checkpoint = checkpoint_id(newest.number);
        let bytes_before = bytes_of_shards(&wal).map_err(failed)?;
        let freed = wal.prune_before_checkpoint(checkpoint.as_bytes()).map_err(failed)?;
        wal.close().map_err(failed)?;
        drop(wal);
        let (wal, _) = self.reopen()?;
        let bytes_after = bytes_of_shards(&wal).map_err(failed)?;
        let data = wal.load_checkpoint(checkpoint.as_bytes()).map_err(failed)?;
        let replayed = wal.replay(&data).map_err(failed)?;
        let replayed = replayed.map(|entry| entry.map_err(|error| error.to_string()));
        let replayed = findings.check_replay(&data.offsets, replayed, self.lines);
        wal.close().map_err(failed)?;
        let segments = freed.segments_deleted as u64;
        self.tell(format_args!(
            "pruned what is before {checkpoint}: {} freed; the {} after it are still there",
            counted(segments, "segment", "segments"),
            counted(replayed, "line", "lines"),
        ));
        Ok(Pruned { segments, bytes_before, bytes_after, replayed })
    }
}

fn bytes_of_shards(wal: &ShardedWal) -> ironwal::Result<u64> {
    (0..SHARDS).map(|shard| Ok(wal.shard(shard)?.stats().bytes)).sum()
}
