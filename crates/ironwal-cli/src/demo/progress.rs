//! What is said while the demo runs, on standard error.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::exit::tell;
use crate::progress;
use crate::text::grouped;

/// How often to say how far it got where no bar can be shown.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    target: u64,
    said_at: Cell<Instant>,
}

impl Progress {
    pub(super) fn new(target: u64) -> Self {
        let bar = progress::bar(target);
        Self { bar, target, said_at: Cell::new(Instant::now()) }
    }

    /// So many lines are acknowledged.
    pub(super) fn set(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(count);
            bar.set_message(format!("{} acknowledged", grouped(count)));
        } else if self.said_at.get().elapsed() > SAY_EVERY {
            self.said_at.set(Instant::now());
            tell(format_args!("{} of {} lines acknowledged", grouped(count), grouped(self.target)));
        }
    }

    pub(super) fn tell(&self, line: fmt::Arguments<'_>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(line)),
            None => tell(line),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
