//! What came of it.

use std::fmt;

use crate::model::Model;
use crate::trail::Trail;

/// What was looked at without finding anything wrong.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::OpenMode;
/// # use ironwal_crash::{CrashTest, Outcome, Run, Summary};
/// # fn workload(run: &Run<()>) -> Outcome {
/// #     let disk = run.storage();
/// #     let file = disk.open(Path::new("/file"), OpenMode::Create)?;
/// #     file.write_at(b"tea", 0)?;
/// #     file.sync()?;
/// #     disk.sync_dir(Path::new("/"))?;
/// #     Ok(())
/// # }
/// // A workload that creates a file, writes to it, and syncs it and its directory.
/// let summary = CrashTest::new("file").recoveries(0).run(workload, |_| Ok(()))?;
/// assert_eq!(summary.calls, 4);
/// assert_eq!(summary.points, 3 * 5); // of each model: before them, between them, and behind them
/// assert_eq!(summary.sampled, 0); // so no state was left out
/// assert_eq!(summary.states_of[0], summary.states); // the first model allows what others allow
/// # Ok::<(), ironwal_crash::Failure>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many calls of the workload change something or make something durable.
    pub calls: usize,
    /// How many points between calls were enumerated, those inside recoveries included.
    pub points: usize,
    /// Of these, how many have more states than the bounds let in.
    pub sampled: usize,
    /// How many crash states there were that differ in content.
    pub states: usize,
    /// How many of these each model allows, in the order of [`Model::ALL`].
    pub states_of: [usize; 3],
    /// How many states were left behind by a crash inside a recovery.
    pub in_recovery: usize,
    /// How often the check ran: again for a state that is met with other marks.
    pub checks: usize,
}

impl Summary {
    /// Adds up.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::OpenMode;
    /// # use ironwal_crash::{CrashTest, Outcome, Run, Summary};
    /// # fn workload(run: &Run<()>) -> Outcome {
    /// #     let disk = run.storage();
    /// #     let file = disk.open(Path::new("/file"), OpenMode::Create)?;
    /// #     file.write_at(b"tea", 0)?;
    /// #     file.sync()?;
    /// #     disk.sync_dir(Path::new("/"))?;
    /// #     Ok(())
    /// # }
    /// let one = CrashTest::new("file").run(workload, |_| Ok(()))?;
    /// let mut sum = Summary::default();
    /// sum.add(&one);
    /// sum.add(&one);
    /// assert_eq!((sum.calls, sum.states), (2 * one.calls, 2 * one.states)); // the same states count twice
    /// # Ok::<(), ironwal_crash::Failure>(())
    /// ```
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.points += other.points;
        self.sampled += other.sampled;
        self.states += other.states;
        for (sum, more) in self.states_of.iter_mut().zip(other.states_of) {
            *sum += more;
        }
        self.in_recovery += other.in_recovery;
        self.checks += other.checks;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} distinct states ({} inside recoveries; ", self.states, self.in_recovery)?;
        for (model, count) in Model::ALL.into_iter().zip(self.states_of) {
            let comma = if model.index() == 0 { "" } else { ", " };
            write!(f, "{comma}{model} {count}")?;
        }
        write!(
            f,
            "), {} checks at {} points, {} of them sampled, of {} calls",
            self.checks, self.points, self.sampled, self.calls
        )
    }
}

/// Why a test failed.
///
/// ```
/// use ironwal_crash::{CrashTest, Failure, Run};
///
/// let test = CrashTest::new("pay");
/// let failed = test.run(|_: &Run<()>| Err("no such account".into()), |_| Ok(()));
/// let Err(failure @ Failure::Workload { .. }) = failed else { panic!("{failed:?}") };
/// assert_eq!(failure.to_string(), "pay: the workload failed: no such account");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The workload itself returned an error, or panicked.
    Workload {
        /// The name of the test.
        name: String,
        /// What it said.
        reason: String,
    },
    /// A crash state that the check does not accept.
    Violation(Box<Violation>),
    /// A trail that fits no run of this workload.
    Trail {
        /// The trail.
        trail: String,
        /// Why not.
        reason: String,
    },
}

/// A crash state that the check does not accept, shrunk to the fewest pieces that differ.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::OpenMode;
/// # use ironwal_crash::{CrashTest, Failure, Outcome, Run};
/// fn workload(run: &Run<()>) -> Outcome {
///     run.storage().open(Path::new("/file"), OpenMode::Create)?;
///     run.mark(()); // it is there, but not durably
///     Ok(())
/// }
/// fn check(run: &Run<()>) -> Outcome {
///     let found = run.storage().open(Path::new("/file"), OpenMode::Read);
///     if run.marks().is_empty() { Ok(()) } else { Ok(found.map(drop)?) }
/// }
/// let Err(Failure::Violation(found)) = CrashTest::new("file").run(workload, check) else { panic!() };
/// let story = ["call 1: create /file", "call 2: a mark of the program", "a crash after call 2 of 2:"];
/// assert_eq!(found.story[..3], story);
/// assert!(found.to_string().contains(&found.trail.to_string())); // to replay it
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The name of the test.
    pub name: String,
    /// The state; [`CrashTest::replay`](crate::CrashTest::replay) builds it again.
    pub trail: Trail,
    /// What the check said.
    pub reason: String,
    /// The calls before each crash, the last ones only, and what became of each piece.
    pub story: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { name, reason } => write!(f, "{name}: the workload failed: {reason}"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Trail { trail, reason } => write!(f, "{trail}: {reason}"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: a crash state that {} allows breaks the contract", self.name, {
            self.trail.model
        })?;
        writeln!(f, "  {}", self.reason)?;
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        write!(f, "replay it with the trail \"{}\"", self.trail)
    }
}

impl std::error::Error for Failure {}
