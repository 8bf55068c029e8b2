//! A thread that looks at the log each second, and works on no disk: so it says when one stalls.
//!
//! With the feature `metrics` it tells the recorder what it sees.

use std::path::PathBuf;
use std::time::Duration;

use super::inner::Inner;
use super::stats::Observed;
use crate::environment::Maintenance;
use crate::sync::{Arc, Condvar, JoinHandle, Mutex, PoisonError, lock, spawn};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A write or a sync that takes longer is told of.
const STALLED: Duration = Duration::from_secs(10);

/// The thread, or what it would do.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    stopping: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Where there is none.
    inline: Mutex<Option<Look>>,
}

/// What it knows from one look to the next.
#[derive(Debug)]
struct Look {
    root: PathBuf,
    observed: Observed,
    is_stalled: bool,
}

impl Monitor {
    /// Starts to look, or has whoever uses the log [do it](Self::look). Where the system gives no thread
    /// nobody looks, and everything else goes on.
    pub(super) fn start(&self, inner: &Inner, how: Maintenance) {
        let mut look = Look::new(inner);
        // Loom knows no time, and would let it look for ever.
        if how == Maintenance::Inline || cfg!(loom) {
            *lock(&self.inline) = Some(look);
            return;
        }
        let stopping = Arc::clone(&self.stopping);
        *lock(&self.thread) = spawn("ironwal-monitor", move || {
            let (stopping, told) = &*stopping;
            loop {
                let waited =
                    told.wait_timeout_while(lock(stopping), LOOK_EVERY, |stopping| !*stopping);
                let is_over = *waited.unwrap_or_else(PoisonError::into_inner).0;
                look.look();
                if is_over {
                    return;
                }
            }
        });
    }

    /// Looks, if no thread does.
    pub(super) fn look(&self) {
        if let Some(look) = &mut *lock(&self.inline) {
            look.look();
        }
    }

    /// Ends the thread, which looks once more.
    pub(super) fn stop(&self) {
        let (stopping, told) = &*self.stopping;
        *lock(stopping) = true;
        told.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
        self.look();
    }
}

impl Look {
    fn new(inner: &Inner) -> Self {
        let (root, observed) = (inner.root_path.clone(), Observed::of(inner));
        #[cfg(feature = "metrics")]
        inner.shared.whole.activity.tell(super::metrics::histograms(&root));
        Self { root, observed, is_stalled: false }
    }

    /// Says once that the disk stalls, and once that it does not any more.
    fn look(&mut self) {
        let oldest = self.observed.oldest_waiting();
        let is_stalled = oldest.is_some_and(|age| age >= STALLED);
        if is_stalled && !self.is_stalled {
            tracing::warn!(
                root = %self.root.display(),
                seconds = oldest.unwrap_or_default().as_secs(),
                "a write or a sync does not return: the disk stalls, and appends wait for it",
            );
        }
        if self.is_stalled && !is_stalled {
            tracing::info!(root = %self.root.display(), "the disk does not stall any more");
        }
        self.is_stalled = is_stalled;
        #[cfg(feature = "metrics")]
        super::metrics::report(&self.root, &self.observed.stats());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::environment::Environment;
    use crate::storage::SimDisk;
    use crate::{Wal, WalOptions};

    /// Keeps what is told.
    #[derive(Debug, Clone, Default)]
    struct Told(Arc<Mutex<Vec<u8>>>);

    impl Told {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut lock(&self.0))).unwrap()
        }
    }

    impl std::io::Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Told {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_disk_that_stalls_is_told_of_once_and_when_it_is_over() {
        let told = Told::default();
        let subscriber = tracing_subscriber::fmt().with_writer(told.clone()).with_ansi(false);
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let now = Arc::new(Mutex::new(Duration::from_secs(1)));
        let clock = Arc::clone(&now);
        let environment = Environment::default()
            .with_storage(Arc::new(SimDisk::new(1).process()))
            .with_clock(move || *lock(&clock))
            .with_maintenance(Maintenance::Inline);
        let wal = Wal::open_with(WalOptions::new("/log"), environment).unwrap();
        told.take();

        let look = |seconds| {
            *lock(&now) += Duration::from_secs(seconds);
            wal.maintain();
            told.take()
        };
        let work = wal.inner.shared.whole.activity.begin(0);
        assert_eq!(look(9), "");
        let first = look(1);
        assert!(first.contains("WARN") && first.contains("seconds=10"), "{first}");
        assert!(first.contains("/log") && first.contains("the disk stalls"), "{first}");
        assert_eq!(look(100), "", "it was told of");
        drop(work);
        let over = look(0);
        assert!(over.contains("INFO") && over.contains("does not stall any more"), "{over}");
        assert_eq!(look(0), "");
    }
}
