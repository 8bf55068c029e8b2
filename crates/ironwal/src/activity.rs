//! What a log is doing and has done: counted beside the work, for whoever watches.
//!
//! Nothing depends on it. So the counters are none of those whose orders loom tries, they are read one by
//! one, and what they say may be a moment apart.

use std::fmt;
use std::time::Duration;

use crate::environment::Clock;
use crate::sync::{Arc, Ordering, ProcessCounter};

/// How many threads are seen at once that work on the disk. More of them work as well, unseen.
const PLACES: usize = 64;

/// Of all streams of a log, since it was opened.
pub(crate) struct Activity {
    clock: Clock,
    entries: ProcessCounter,
    bytes: ProcessCounter,
    commits: ProcessCounter,
    syncs: ProcessCounter,
    journal_end: ProcessCounter,
    /// Since when somebody works on the disk, in nanoseconds of the clock; 0: nobody.
    busy_since: [ProcessCounter; PLACES],
    #[cfg(feature = "metrics")]
    histograms: crate::sync::OnceLock<Histograms>,
}

/// What is told of each commit, and not now and then.
#[cfg(feature = "metrics")]
pub(crate) struct Histograms {
    pub(crate) commit_seconds: metrics::Histogram,
    pub(crate) commit_appends: metrics::Histogram,
}

impl Activity {
    /// Nothing was done yet. Durations are by `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            entries: ProcessCounter::new(0),
            bytes: ProcessCounter::new(0),
            commits: ProcessCounter::new(0),
            syncs: ProcessCounter::new(0),
            journal_end: ProcessCounter::new(0),
            busy_since: [const { ProcessCounter::new(0) }; PLACES],
            #[cfg(feature = "metrics")]
            histograms: crate::sync::OnceLock::new(),
        }
    }

    /// Tells each commit to these from now on.
    #[cfg(feature = "metrics")]
    pub(crate) fn tell(&self, histograms: Histograms) {
        let _ = self.histograms.set(histograms);
    }

    /// Somebody begins to work on the disk; appends may wait for it. `spread` keeps threads apart that do
    /// so at once.
    pub(crate) fn begin(&self, spread: usize) -> Work<'_> {
        let start = (self.clock)();
        let since = u64::try_from(start.as_nanos()).unwrap_or(u64::MAX).max(1);
        let place =
            (0..PLACES).map(|nth| &self.busy_since[(spread + nth) % PLACES]).find(|place| {
                place.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            });
        Work { activity: self, place, start }
    }

    /// How long the one has worked on the disk that began first; `None`: nobody does.
    pub(crate) fn longest_work(&self) -> Option<Duration> {
        let places = self.busy_since.iter().map(|place| place.load(Ordering::Relaxed));
        let first = places.filter(|since| *since > 0).min()?;
        Some((self.clock)().saturating_sub(Duration::from_nanos(first)))
    }

    /// Entries were committed, whose frames take so many bytes.
    pub(crate) fn appended(&self, entries: u64, bytes: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many syncs returned.
    pub(crate) fn synced(&self, syncs: u64) {
        self.syncs.fetch_add(syncs, Ordering::Relaxed);
    }

    /// A frame was written and synced in a file of the journal, which ends here.
    pub(crate) fn journaled_to(&self, end: u64) {
        self.synced(1);
        self.journal_end.store(end, Ordering::Relaxed);
    }

    /// Where the file of the journal ends that was written to last.
    pub(crate) fn journal_end(&self) -> u64 {
        self.journal_end.load(Ordering::Relaxed)
    }

    /// Entries that were committed, and the bytes of their frames.
    pub(crate) fn appends(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How many rounds were written.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// How many syncs returned.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl Default for Activity {
    /// One without a clock: for a log that is not written to.
    fn default() -> Self {
        Self::new(Arc::new(|| Duration::ZERO))
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Activity").field("commits", &self.commits).finish_non_exhaustive()
    }
}

/// Somebody's work on the disk, until this is dropped.
pub(crate) struct Work<'a> {
    activity: &'a Activity,
    place: Option<&'a ProcessCounter>,
    start: Duration,
}

impl Work<'_> {
    /// It was a commit of so many appends.
    pub(crate) fn committed(&self, appends: u32) {
        self.activity.commits.fetch_add(1, Ordering::Relaxed);
        #[cfg(not(feature = "metrics"))]
        let _ = (appends, self.start);
        #[cfg(feature = "metrics")]
        if let Some(histograms) = self.activity.histograms.get() {
            let took = (self.activity.clock)().saturating_sub(self.start);
            histograms.commit_seconds.record(took);
            histograms.commit_appends.record(f64::from(appends));
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Mutex, lock};

    #[test]
    fn the_longest_work_is_that_of_whoever_began_first() {
        let now = Arc::new(Mutex::new(Duration::from_secs(1)));
        let clock = Arc::clone(&now);
        let activity = Activity::new(Arc::new(move || *lock(&clock)));
        assert_eq!(activity.longest_work(), None);
        let first = activity.begin(7);
        *lock(&now) = Duration::from_secs(3);
        let second = activity.begin(7);
        *lock(&now) = Duration::from_secs(6);
        assert_eq!(activity.longest_work(), Some(Duration::from_secs(5)));
        drop(first);
        assert_eq!(activity.longest_work(), Some(Duration::from_secs(3)));
        drop(second);
        assert_eq!(activity.longest_work(), None);
    }

    #[test]
    fn more_may_work_than_are_seen() {
        let activity = Activity::new(Arc::new(|| Duration::from_secs(1)));
        let all: Vec<_> = (0..PLACES + 3).map(|nth| activity.begin(nth)).collect();
        assert_eq!(all.iter().filter(|work| work.place.is_none()).count(), 3);
        drop(all);
        assert_eq!(activity.longest_work(), None);
    }
}
