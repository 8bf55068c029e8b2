//! The second half: the parent appends what the child did not get to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use ironwal::Wal;

use super::check::Findings;
use super::tally::Tally;
use super::workers::append_lines;
use super::{Run, STREAM};
use crate::exit::{Done, Failure};

impl Run<'_> {
    /// Appends the lines that are not in the log, until all are there or the time is over.
    pub(super) fn append_rest(&self, wal: &Wal, survived: &Findings) -> Done<Tally> {
        let failed = |error| Failure::of("append in the demo", &error);
        let stream = wal.stream(STREAM).map_err(failed)?;
        let work = Rest {
            skipped: survived.skipped(),
            first_new: survived.numbers_end(),
            target: self.target,
            taken: AtomicUsize::new(0),
            time_is_up: AtomicBool::new(false),
        };
        let (sender, receiver) = mpsc::channel();
        let tally = thread::scope(|scope| {
            let (work, stream, lines) = (&work, &stream, self.lines);
            // Takes the sender along: when it is dropped, no more reports are to come.
            let appender = scope.spawn(move || {
                let report = |done: &[_]| sender.send(done.to_vec()).is_ok();
                append_lines(stream, lines, || work.next(), report)
            });
            let before = survived.places.len() as u64;
            let tally = self.collect(&receiver, before, u64::MAX, || {
                work.time_is_up.store(true, Ordering::Relaxed);
            });
            let appended = appender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            appended.map(|()| tally)
        });
        let tally = tally.map_err(failed)?;
        self.go_on_unless_interrupted()?;
        Ok(tally)
    }
}

/// Hands out the line numbers that are left: those the child took and did not append, then new ones.
struct Rest {
    skipped: Vec<u64>,
    first_new: u64,
    target: u64,
    taken: AtomicUsize,
    time_is_up: AtomicBool,
}

impl Rest {
    fn next(&self) -> Option<u64> {
        // Looked at before a number is taken: a number that is taken gets appended. The skipped
        // ones are always appended, so that no number is missing in the end.
        let in_skipped = self.taken.load(Ordering::Relaxed) < self.skipped.len();
        if self.time_is_up.load(Ordering::Relaxed) && !in_skipped {
            return None;
        }
        let position = self.taken.fetch_add(1, Ordering::Relaxed);
        match self.skipped.get(position) {
            Some(&number) => Some(number),
            None => {
                let number = self.first_new + (position - self.skipped.len()) as u64;
                (number < self.target).then_some(number)
            }
        }
    }
}
