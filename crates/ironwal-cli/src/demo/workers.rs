//! The eight threads that append and the one that takes checkpoints, in the child and in the parent
//! alike.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ironwal::Error;
use ironwal::sharded::ShardedWal;

use super::lines::Lines;
use super::report::{Place, Report};
use super::turns::{THREADS, Turn, key_of};

/// Reports go out in groups of this many, so that reporting does not slow down what it watches …
const REPORT_COUNT_MAX: usize = 16;
/// … but on a slow disk not later than this.
const REPORT_DELAY_MAX: Duration = Duration::from_millis(5);

/// How many lines come after the last checkpoint, at least as a rule, if there are many.
const LINES_AFTER: u64 = 200;

/// What is to be appended.
pub(super) struct Work<'a> {
    pub(super) wal: &'a ShardedWal,
    pub(super) lines: &'a Lines,
    /// How many lines each thread has appended before.
    pub(super) done: [u64; THREADS],
    /// Lines from this number on are not appended.
    pub(super) numbers_end: u64,
    /// A checkpoint is taken after every so many lines.
    pub(super) checkpoint_every: u64,
    pub(super) next_checkpoint: u64,
    /// Set to end before.
    pub(super) stopped: AtomicBool,
}

impl Work<'_> {
    /// Appends lines, one by one in each thread, and takes checkpoints meanwhile, until all is done,
    /// somebody says stop, `report` returns false (nobody listens), or something fails. Everything
    /// that returned is reported.
    pub(super) fn run(&self, report: impl Fn(&[Report]) -> bool + Sync) -> Result<(), Error> {
        let report = |done: &[Report]| {
            if !report(done) {
                self.stop();
            }
        };
        let returned = AtomicU64::new(self.done.iter().sum());
        let (due, is_due) = sync_channel(1);
        thread::scope(|scope| {
            let (returned, report) = (&returned, &report);
            let mut threads = vec![scope.spawn(move || self.checkpoint(is_due, returned, report))];
            for thread in 0..THREADS {
                let due = due.clone();
                threads.push(scope.spawn(move || self.append(thread, returned, &due, report)));
            }
            // When the last thread has dropped its own, no more checkpoints are due.
            drop(due);
            threads.into_iter().map(finished).fold(Ok(()), Result::and)
        })
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What one thread that appends does.
    fn append(
        &self,
        thread: usize,
        returned: &AtomicU64,
        due: &SyncSender<()>,
        report: impl Fn(&[Report]),
    ) -> Result<(), Error> {
        let mut entry = Vec::new();
        let mut unreported = Vec::with_capacity(REPORT_COUNT_MAX);
        let mut reported_at = Instant::now();
        let mut result = Ok(());
        for nth in self.done[thread].. {
            let number = Turn { thread, nth }.number();
            if number >= self.numbers_end || self.stopped.load(Ordering::Relaxed) {
                break;
            }
            match self.append_one(number, &mut entry) {
                Ok(appended) => unreported.push(appended),
                Err(error) => {
                    self.stop();
                    result = Err(error);
                    break;
                }
            }
            let count = returned.fetch_add(1, Ordering::AcqRel) + 1;
            // Half-way, and none near the end, so that lines come after the last one too, although it
            // is taken a little later.
            let is_due = count % self.checkpoint_every == self.checkpoint_every / 2;
            let is_last = count + LINES_AFTER.min(self.numbers_end / 4) > self.numbers_end;
            if is_due && !is_last {
                // If one is due already, it stands for both.
                let _ = due.try_send(());
            }
            if unreported.len() == REPORT_COUNT_MAX || reported_at.elapsed() > REPORT_DELAY_MAX {
                report(&unreported);
                unreported.clear();
                reported_at = Instant::now();
            }
        }
        if !unreported.is_empty() {
            report(&unreported);
        }
        result
    }

    fn append_one(&self, number: u64, entry: &mut Vec<u8>) -> Result<Report, Error> {
        self.lines.make_entry(number, entry);
        let began = Instant::now();
        let (shard, id) = self.wal.append(&key_of(number).to_le_bytes(), entry)?;
        Ok(Report::Line { number, place: Place { shard, id }, latency_ns: nanos_since(began) })
    }

    /// What the thread that takes checkpoints does.
    fn checkpoint(
        &self,
        is_due: Receiver<()>,
        returned: &AtomicU64,
        report: impl Fn(&[Report]),
    ) -> Result<(), Error> {
        for ((), number) in is_due.iter().zip(self.next_checkpoint..) {
            let returned_before = returned.load(Ordering::Acquire);
            let began = Instant::now();
            let created = self.wal.create_checkpoint(checkpoint_id(number).as_bytes());
            created.inspect_err(|_| self.stop())?;
            let latency_ns = nanos_since(began);
            report(&[Report::Checkpoint { number, returned_before, latency_ns }]);
        }
        Ok(())
    }
}

/// The id of a checkpoint.
pub(super) fn checkpoint_id(number: u64) -> String {
    format!("demo-{number:06}")
}

/// The number of a checkpoint of the demo.
pub(super) fn checkpoint_number(id: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(id).ok()?.strip_prefix("demo-")?.parse().ok()?;
    (checkpoint_id(number).as_bytes() == id).then_some(number)
}

fn nanos_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn finished<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
