//! Pushing again and again, so that the archive is never far behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::push::{Archiver, Pushed, Tails};

/// How long a thread sleeps before it looks whether it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// How often [`Archiver::run`] pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rhythm {
    /// How long to wait between two looks for full segments.
    pub full_every: Duration,
    /// How long to wait between two pushes of everything that is committed; `None`: never.
    pub all_every: Option<Duration>,
}

impl Default for Rhythm {
    /// Full segments every second, everything every ten seconds.
    fn default() -> Self {
        let all_every = Some(Duration::from_secs(10));
        Self { full_every: Duration::from_secs(1), all_every }
    }
}

impl Rhythm {
    /// Everything that is committed, this often.
    #[must_use]
    pub fn all_every(every: Duration) -> Self {
        Self { full_every: every, all_every: Some(every) }
    }

    /// Full segments only, this often.
    #[must_use]
    pub fn full_every(every: Duration) -> Self {
        Self { full_every: every, all_every: None }
    }
}

/// What [`Archiver::run`] tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A push came to its end, and there was something new.
    Pushed(Pushed),
    /// A push failed, for a reason that may pass; the next one tries again.
    Failed(Error),
}

impl Archiver {
    /// Pushes until `stop` is set, and once more then. So an entry is in the archive at most `all_every` after it
    /// was committed, and the time that a push takes; the store's failures aside, which are told and tried again.
    ///
    /// # Errors
    ///
    /// Those of [`Archiver::push`] that do not pass by themselves: [`Error::Fenced`] above all.
    pub fn run(
        &mut self,
        rhythm: Rhythm,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let mut all_due = Instant::now();
        loop {
            let is_last = stop.load(Ordering::Relaxed);
            let now = Instant::now();
            let is_all = rhythm.all_every.is_some() && (now >= all_due || is_last);
            let tails = if is_all { Tails::Ship } else { Tails::Leave };
            match self.push(tails) {
                Ok(pushed) => {
                    if let (true, Some(every)) = (is_all, rhythm.all_every) {
                        all_due = now + every;
                    }
                    if pushed.manifest.is_some() {
                        tell(Event::Pushed(pushed));
                    }
                }
                Err(error) if error.is_transient() && !is_last => tell(Event::Failed(error)),
                Err(error) => return Err(error),
            }
            if is_last {
                return Ok(());
            }
            let due = now + rhythm.full_every.min(rhythm.all_every.unwrap_or(Duration::MAX));
            while !stop.load(Ordering::Relaxed) {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(left.min(NAP));
            }
        }
    }
}
