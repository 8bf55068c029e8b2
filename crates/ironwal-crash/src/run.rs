//! What a workload and a check are given.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ironwal::storage::Storage;

use crate::disk::{Call, Disk};
use crate::image::Image;

/// One run of a program on a disk in memory: of the workload, on an empty disk, or of the check, on
/// what a crash left behind.
///
/// `M` is what the program says of itself by [`Run::mark`]: usually that it begins something, and
/// that this has been acknowledged. A crash forgets no mark that was made before it.
///
/// ```
/// use ironwal_crash::{CrashTest, Outcome, Run};
/// # use std::sync::Arc;
/// # use ironwal::storage::Storage;
/// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
/// # fn open(storage: Arc<dyn Storage>) -> ironwal::Result<Wal> {
/// #     let environment = Environment::default()
/// #         .with_storage(storage)
/// #         .with_entropy(|| 7)
/// #         .with_clock(|| std::time::Duration::ZERO)
/// #         .with_maintenance(Maintenance::Inline);
/// #     Wal::open_with(WalOptions::new("/log"), environment)
/// # }
///
/// fn workload(run: &Run<&'static str>) -> Outcome {
///     let wal = open(run.storage())?;
///     run.mark("begun");
///     wal.append("orders", b"tea")?;
///     run.mark("acknowledged");
///     Ok(())
/// }
/// fn check(run: &Run<&'static str>) -> Outcome {
///     let found = open(run.storage())?.stream("orders")?.next_id();
///     match &run.marks()[..] {
///         [] => assert_eq!(found, 0),
///         ["begun"] => assert!(found <= 1), // it may be there or not
///         _ => assert_eq!(found, 1),
///     }
///     Ok(())
/// }
/// CrashTest::new("orders").states(500).run(workload, check)?;
/// # Ok::<(), ironwal_crash::Failure>(())
/// ```
pub struct Run<M> {
    disk: Disk,
    marks: Mutex<Vec<M>>,
    marks_before: usize,
}

impl<M: Clone> Run<M> {
    pub(crate) fn new(image: Image, marks: Vec<M>) -> Self {
        Self { disk: Disk::new(image), marks_before: marks.len(), marks: Mutex::new(marks) }
    }

    /// The disk. It keeps the contract of [`ironwal::storage`], but for shared memory, which it
    /// refuses as unsupported, and maps, which it cannot make: the log reads instead.
    ///
    /// ```
    /// # use std::io::ErrorKind;
    /// # use std::path::Path;
    /// # use ironwal::storage::OpenMode;
    /// # use ironwal_crash::{CrashTest, Outcome, Run};
    /// fn workload(run: &Run<()>) -> Outcome {
    ///     let file = run.storage().open(Path::new("/file"), OpenMode::Create)?; // without a log
    ///     assert!(file.map(4096)?.is_none());
    ///     let refused = run.storage().share(Path::new("/words"), 1).unwrap_err();
    ///     assert_eq!(refused.kind(), ErrorKind::Unsupported);
    ///     Ok(())
    /// }
    /// CrashTest::new("file").run(workload, |_| Ok(()))?;
    /// # Ok::<(), ironwal_crash::Failure>(())
    /// ```
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.disk.clone())
    }

    /// Says something at this point of the run: from the next call on, crash states are judged by it
    /// too.
    ///
    /// See [`Run`] for an example.
    pub fn mark(&self, mark: M) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).push(mark);
        self.disk.mark();
    }

    /// All marks that were made before, oldest first: in a check, those of the workload before the
    /// crash, of checks that crashed in their turn, and of this one.
    ///
    /// See [`Run`] for an example.
    pub fn marks(&self) -> Vec<M> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was recorded: the calls, all marks, and how many of these were there before.
    pub(crate) fn record(&self) -> Record<M> {
        Record {
            calls: self.disk.take_calls(),
            marks: self.marks(),
            marks_before: self.marks_before,
        }
    }
}

impl<M> fmt::Debug for Run<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("marks_before", &self.marks_before).finish_non_exhaustive()
    }
}

/// What one run did.
#[derive(Debug)]
pub(crate) struct Record<M> {
    pub(crate) calls: Vec<Call>,
    pub(crate) marks: Vec<M>,
    pub(crate) marks_before: usize,
}

impl<M: Clone> Record<M> {
    /// The marks that there were after some of the calls.
    pub(crate) fn marks_after(&self, calls: usize) -> Vec<M> {
        let own = self.calls.iter().take(calls).filter(|call| matches!(call, Call::Mark)).count();
        self.marks.iter().take(self.marks_before + own).cloned().collect()
    }
}
