//! Pushing again and again, so that the archive is never far behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::push::{Archiver, Pushed, Tails};

/// How long a thread sleeps before it looks whether it is to stop.
const NAP: Duration = Duration::from_millis(50);

/// How often [`Archiver::run`] pushes.
///
/// ```
/// # use std::time::Duration;
/// use ironwal_archive::Rhythm;
///
/// let mut rhythm = Rhythm::default();
/// assert_eq!(rhythm.all_every, Some(Duration::from_secs(10)));
/// rhythm.all_every = Some(Duration::from_secs(60)); // what may be lost with the machine
/// assert_eq!(rhythm.full_every, Duration::from_secs(1));
/// ```
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
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Rhythm};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// use std::sync::atomic::AtomicBool;
    /// # use std::time::Duration;
    /// # for _ in 0..10 {
    /// #     wal.append("orders", b"tea")?;
    /// # }
    /// // Ten entries, four to a segment. It is told to stop, so it pushes once.
    /// let stop = AtomicBool::new(true);
    /// archiver.run(Rhythm::all_every(Duration::from_secs(10)), &stop, &mut |_| {})?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// assert_eq!(newest.streams[0].ids(), 0..10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn all_every(every: Duration) -> Self {
        Self { full_every: every, all_every: Some(every) }
    }

    /// Full segments only, this often.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Rhythm};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// use std::sync::atomic::AtomicBool;
    /// # use std::time::Duration;
    /// # for _ in 0..10 {
    /// #     wal.append("orders", b"tea")?;
    /// # }
    /// // Ten entries, four to a segment. It is told to stop, so it pushes once.
    /// let stop = AtomicBool::new(true);
    /// archiver.run(Rhythm::full_every(Duration::from_secs(10)), &stop, &mut |_| {})?;
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// assert_eq!(newest.streams[0].ids(), 0..8); // also when it stops
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn full_every(every: Duration) -> Self {
        Self { full_every: every, all_every: None }
    }
}

/// What [`Archiver::run`] tells.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicBool, Ordering};
/// # use std::time::Duration;
/// # use ironwal::storage::SimDisk;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # use ironwal_archive::{Archive, Archiver, Event, Patience, Rhythm};
/// # use object_store::memory::InMemory;
/// # use object_store::throttle::{ThrottleConfig, ThrottledStore};
/// # let disk = SimDisk::new(1);
/// # let environment = Environment::default()
/// #     .with_storage(Arc::new(disk.process()))
/// #     .with_maintenance(Maintenance::Inline);
/// # let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
/// # wal.append("orders", b"tea")?;
/// # let wait_list_per_call = Duration::from_secs(3600);
/// # let slow = ThrottleConfig { wait_list_per_call, ..ThrottleConfig::default() };
/// # let store = Arc::new(ThrottledStore::new(InMemory::new(), slow));
/// # let mut patience = Patience::default();
/// # (patience.timeout, patience.tries) = (Duration::from_millis(1), 1);
/// # let archive = Archive::new(store.clone(), "an/archive")?.with_patience(patience);
/// # let mut archiver = Archiver::new(archive, Arc::new(disk.process()), "/log");
/// # let stop = AtomicBool::new(false);
/// // The store does not answer at first.
/// let (mut failed, mut pushed) = (0, 0);
/// archiver.run(Rhythm::all_every(Duration::from_millis(1)), &stop, &mut |event| match event {
///     Event::Failed(error) => {
///         assert!(error.is_transient());
///         failed += 1;
///         // …and now it does.
/// #       store.config_mut(|config| *config = ThrottleConfig::default());
///     }
///     Event::Pushed(_) => {
///         pushed += 1;
///         stop.store(true, Ordering::Relaxed);
///     }
///     _ => {}
/// })?;
/// assert_eq!((failed, pushed), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Event, Rhythm};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// # wal.append("orders", b"tea")?;
    /// let stop = AtomicBool::new(false);
    /// archiver.run(Rhythm::default(), &stop, &mut |event| {
    ///     let Event::Pushed(_) = event else { return };
    ///     if !stop.swap(true, Ordering::Relaxed) {
    ///         wal.append("orders", b"jam").unwrap();
    ///     }
    /// })?;
    /// // It pushed once more before it returned.
    /// let newest = archive.newest()?.ok_or("there is no archive")?;
    /// assert_eq!(newest.streams[0].ids(), 0..2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
