//! Runs a workload, crashes it at every point in every way, and judges what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use crate::choices::choices;
use crate::disk::Call;
use crate::image::{Image, digest};
use crate::model::Model;
use crate::pieces::{Picks, Piece, Pieces};
use crate::report::{Failure, Summary, Violation};
use crate::run::{Record, Run};
use crate::tracker::Tracker;
use crate::trail::{Step, Trail};

/// What a workload or a check returns: an error says what is wrong.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// How many of the last calls before a crash a report shows.
const CALLS_SHOWN: usize = 10;

/// How many states are tried to shrink one.
const SHRINK_MAX: usize = 2_000;

/// So many pieces that differ are few enough to look at.
const PIECES_FEW: usize = 3;

/// At least so many states are tried at each point.
const POINT_MIN: usize = 6;

/// At most so many states are tried at each point inside a recovery: there are many recoveries.
const RECOVERY_POINT_MAX: usize = 200;

/// The least part of the states that is inside recoveries: one in so many.
const RECOVERY_SHARE: usize = 3;

/// How many calls a recovery is expected to make, to find out how many states each may have.
const RECOVERY_CALLS: usize = 50;

/// How a workload is crashed. See the [crate](crate) for an example.
#[derive(Debug, Clone)]
pub struct CrashTest {
    name: String,
    models: Vec<Model>,
    states: usize,
    recoveries: usize,
    seed: u64,
}

impl CrashTest {
    /// A test under every [`Model`], with about 10,000 states, and one crash inside recovery.
    ///
    /// See the [crate](crate) for an example.
    pub fn new(name: impl Into<String>) -> Self {
        let (models, name) = (Model::ALL.to_vec(), name.into());
        Self { name, models, states: 10_000, recoveries: 1, seed: 0 }
    }

    /// What the file system promises: these, one after another.
    ///
    /// See [`Model`] for an example.
    #[must_use]
    pub fn models(mut self, models: &[Model]) -> Self {
        self.models = models.to_vec();
        self
    }

    /// About how many states are tried in all, spread evenly over models and points. A point that has
    /// fewer is enumerated completely; of one that has more, a seed chooses. States that are met again
    /// count here and are not checked again, so fewer are distinct.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::OpenMode;
    /// # use ironwal_crash::{CrashTest, Outcome, Run};
    /// /// Each of sixteen sectors may be lost: these are more states than are tried.
    /// fn workload(run: &Run<()>) -> Outcome {
    ///     run.storage().open(Path::new("/file"), OpenMode::Create)?.write_at(&[1; 16 * 512], 0)?;
    ///     Ok(())
    /// }
    /// let test = CrashTest::new("sectors").states(300);
    /// let summary = test.run(workload, |_| Ok(()))?;
    /// assert!(summary.sampled > 0);
    /// assert_eq!(test.run(workload, |_| Ok(()))?, summary); // by the same seed, the same ones
    /// # Ok::<(), ironwal_crash::Failure>(())
    /// ```
    #[must_use]
    pub fn states(mut self, states: usize) -> Self {
        self.states = states;
        self
    }

    /// How often a crash strikes again while the check runs on what an earlier crash left behind: 0,
    /// 1 (the default) or more. A third of the states, and what is left of the others, goes to them.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::OpenMode;
    /// # use ironwal_crash::{CrashTest, Outcome, Run};
    /// /// A recovery in one call.
    /// fn check(run: &Run<()>) -> Outcome {
    ///     let _ = run.storage().open(Path::new("/recovered"), OpenMode::Create); // or it is there
    ///     Ok(())
    /// }
    /// let test = CrashTest::new("recovery");
    /// assert_eq!(test.clone().recoveries(0).run(|_| Ok(()), check)?.in_recovery, 0);
    /// assert_eq!(test.recoveries(1).run(|_| Ok(()), check)?.in_recovery, 1);
    /// # Ok::<(), ironwal_crash::Failure>(())
    /// ```
    #[must_use]
    pub fn recoveries(mut self, recoveries: usize) -> Self {
        self.recoveries = recoveries;
        self
    }

    /// Where choices come from at points that have too many states.
    ///
    /// See [`CrashTest::states`] for an example.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs `workload` on an empty disk, and `check` on every state in which a crash may leave that
    /// disk, with the marks that had been made before the crash.
    ///
    /// Both must do the same calls again when they are given the same disk: on one thread, and
    /// without a clock or chance.
    ///
    /// ```
    /// use ironwal_crash::{CrashTest, Failure, Outcome, Run};
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
    ///     run.mark("paid"); // too early
    ///     open(run.storage())?.append("bills", b"3.20")?;
    ///     Ok(())
    /// }
    /// fn check(run: &Run<&'static str>) -> Outcome {
    ///     let is_there = open(run.storage())?.get("bills", 0)?.is_some();
    ///     if run.marks().is_empty() || is_there { Ok(()) } else { Err("the bill is gone".into()) }
    /// }
    /// let Err(Failure::Violation(found)) = CrashTest::new("bills").run(workload, check) else {
    ///     panic!("nothing was found");
    /// };
    /// assert_eq!(found.reason, "the bill is gone");
    /// ```
    ///
    /// # Errors
    ///
    /// [`Failure::Violation`] with the first state of which `check` returns an error or panics, and
    /// [`Failure::Workload`] if `workload` does.
    pub fn run<M: Clone + Hash>(
        &self,
        workload: impl Fn(&Run<M>) -> Outcome,
        check: impl Fn(&Run<M>) -> Outcome,
    ) -> Result<Summary, Failure> {
        let record = self.record(&workload)?;
        let points = (record.calls.len() + 1) * self.models.len().max(1);
        let first = match self.recoveries {
            0 => self.states,
            _ => self.states - self.states / RECOVERY_SHARE,
        };
        let mut explorer = Explorer {
            test: self,
            check: &check,
            per_point: (first / points).max(POINT_MIN),
            tried: 0,
            met: BTreeSet::new(),
            contents: BTreeMap::new(),
            passed: Vec::new(),
            summary: Summary { calls: record.calls.len(), ..Summary::default() },
        };
        let found = explorer.all(&record);
        match found {
            Ok(()) => Ok(explorer.summary),
            Err((trail, reason)) => Err(self.report(trail, reason, record, &check)),
        }
    }

    /// Builds one state again, and checks only that.
    ///
    /// See [`Trail`] for an example.
    ///
    /// # Errors
    ///
    /// As [`CrashTest::run`], and [`Failure::Trail`] if this is no state of this workload.
    pub fn replay<M: Clone + Hash>(
        &self,
        trail: &Trail,
        workload: impl Fn(&Run<M>) -> Outcome,
        check: impl Fn(&Run<M>) -> Outcome,
    ) -> Result<(), Failure> {
        let record = self.record(&workload)?;
        match self.walk(trail, record, &check) {
            Ok((_, Ok(()))) => Ok(()),
            Ok((story, Err(reason))) => Err(self.violation(trail.clone(), reason, story)),
            Err(reason) => Err(Failure::Trail { trail: trail.to_string(), reason }),
        }
    }

    fn record<M: Clone>(
        &self,
        workload: &impl Fn(&Run<M>) -> Outcome,
    ) -> Result<Record<M>, Failure> {
        let run = Run::new(Image::empty(), Vec::new());
        match judge(workload, &run) {
            Ok(()) => Ok(run.record()),
            Err(reason) => Err(Failure::Workload { name: self.name.clone(), reason }),
        }
    }

    fn violation(&self, trail: Trail, reason: String, story: Vec<String>) -> Failure {
        let name = self.name.clone();
        Failure::Violation(Box::new(Violation { name, trail, reason, story }))
    }

    /// Tells how a state came about that the check does not accept.
    fn report<M: Clone>(
        &self,
        trail: Trail,
        reason: String,
        record: Record<M>,
        check: &dyn Fn(&Run<M>) -> Outcome,
    ) -> Failure {
        let story = match self.walk(&trail, record, check) {
            Ok((story, Err(_))) => story,
            Ok((story, Ok(()))) => {
                let odd = "the check accepts it when it runs again: it depends on something else";
                story.into_iter().chain([odd.to_owned()]).collect()
            }
            Err(odd) => vec![format!("it cannot be built again: {odd}")],
        };
        self.violation(trail, reason, story)
    }

    /// Goes from crash to crash, and tells what each of them did and what the check said at last.
    fn walk<M: Clone>(
        &self,
        trail: &Trail,
        mut record: Record<M>,
        check: &dyn Fn(&Run<M>) -> Outcome,
    ) -> Result<(Vec<String>, Result<(), String>), String> {
        let (mut image, mut story, mut verdict) = (Image::empty(), Vec::new(), Ok(()));
        for step in &trail.steps {
            if step.calls > record.calls.len() {
                return Err(format!("there are only {} calls", record.calls.len()));
            }
            let mut tracker = Tracker::new(trail.model, &image);
            record.calls[..step.calls].iter().for_each(|call| tracker.step(call));
            let pieces = Pieces::of(&tracker);
            let mut picks = vec![0; pieces.list.len()];
            for (piece, option) in &step.picks {
                match pieces.list.get(*piece) {
                    Some(it) if *option < it.options() => picks[*piece] = *option,
                    _ => return Err(format!("there is no option {piece}={option}")),
                }
            }
            pieces.settle(&tracker, &mut picks);
            story.extend(tell(&image, &record.calls, &tracker, &pieces, &picks));
            image = pieces.build(&tracker, &picks);
            let run = Run::new(image.clone(), record.marks_after(step.calls));
            verdict = judge(check, &run);
            record = run.record();
        }
        Ok((story, verdict))
    }
}

/// Runs a program, and says what was wrong.
fn judge<M>(program: &dyn Fn(&Run<M>) -> Outcome, run: &Run<M>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| program(run))) {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", said.unwrap_or("without a message")))
        }
    }
}

/// A state that the check accepted: a crash may strike inside its recovery.
struct Passed<M> {
    image: Image,
    marks: Vec<M>,
    trail: Trail,
}

struct Explorer<'a, M> {
    test: &'a CrashTest,
    check: &'a dyn Fn(&Run<M>) -> Outcome,
    /// How many states are tried at a point.
    per_point: usize,
    /// How many were tried, those included that had been met.
    tried: usize,
    /// States with the marks that they were checked with.
    met: BTreeSet<u128>,
    /// States by content, with the models that allow them.
    contents: BTreeMap<u128, u8>,
    passed: Vec<Passed<M>>,
    summary: Summary,
}

/// A state that the check does not accept, and why.
type Found = (Trail, String);

impl<M: Clone + Hash> Explorer<'_, M> {
    fn all(&mut self, record: &Record<M>) -> Result<(), Found> {
        for model in &self.test.models {
            let trail = Trail { model: *model, steps: Vec::new() };
            self.enumerate(&Image::empty(), record, &trail)?;
        }
        for depth in 1..=self.test.recoveries {
            let mut passed = std::mem::take(&mut self.passed);
            Rng::with_seed(self.test.seed).shuffle(&mut passed);
            let left = self.test.states.saturating_sub(self.tried);
            let left = left.max(self.test.states / RECOVERY_SHARE);
            // What is left is shared by this level and the deeper ones.
            let end = self.tried + left / (self.test.recoveries - depth + 1);
            let points = passed.len().saturating_mul(RECOVERY_CALLS).max(1);
            self.per_point = (left / points).clamp(POINT_MIN, RECOVERY_POINT_MAX);
            for Passed { image, marks, trail } in passed {
                if self.tried >= end {
                    break;
                }
                let run = Run::new(image.clone(), marks);
                // It was accepted before.
                let _ = judge(self.check, &run);
                self.enumerate(&image, &run.record(), &trail)?;
            }
        }
        Ok(())
    }

    /// Crashes one run at every point.
    fn enumerate(&mut self, base: &Image, record: &Record<M>, trail: &Trail) -> Result<(), Found> {
        let depth = trail.steps.len();
        let mut tracker = Tracker::new(trail.model, base);
        for calls in 0..=record.calls.len() {
            if let Some(last) = calls.checked_sub(1) {
                tracker.step(&record.calls[last]);
            }
            let marks = record.marks_after(calls);
            let pieces = Pieces::of(&tracker);
            let mut rng = Rng::with_seed(self.test.seed ^ ((calls as u64) << 8 | depth as u64));
            let (tried, is_complete) = choices(&pieces.list, self.per_point, &mut rng);
            self.summary.points += 1;
            self.summary.sampled += usize::from(!is_complete);
            self.tried += tried.len();
            for mut picks in tried {
                pieces.settle(&tracker, &mut picks);
                let image = pieces.build(&tracker, &picks);
                let content = image.digest();
                self.count(content, trail.model, depth);
                let met = digest(|hasher| {
                    hasher.write_u128(content);
                    marks.hash(hasher);
                });
                if !self.met.insert(met) {
                    continue;
                }
                self.summary.checks += 1;
                let verdict = judge(self.check, &Run::new(image.clone(), marks.clone()));
                let (picks, reason) = match verdict {
                    Ok(()) => (picks, None),
                    Err(reason) => {
                        let (picks, reason) = self.shrink(&tracker, &pieces, picks, &marks, reason);
                        (picks, Some(reason))
                    }
                };
                let mut trail = trail.clone();
                trail.steps.push(Step::new(calls, &picks));
                if let Some(reason) = reason {
                    return Err((trail, reason));
                }
                if depth < self.test.recoveries {
                    self.passed.push(Passed { image, marks: marks.clone(), trail });
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, content: u128, model: Model, depth: usize) {
        let models = self.contents.entry(content).or_default();
        if *models == 0 {
            self.summary.states += 1;
            self.summary.in_recovery += usize::from(depth > 0);
        }
        if *models & model.bit() == 0 {
            self.summary.states_of[model.index()] += 1;
        }
        *models |= model.bit();
    }

    /// Puts back what does not matter: as much of the state as possible is as the program left it; or,
    /// if that still says more than a few pieces, as much as possible is lost, if this is shorter.
    fn shrink(
        &self,
        tracker: &Tracker,
        pieces: &Pieces,
        picks: Picks,
        marks: &[M],
        reason: String,
    ) -> (Picks, String) {
        let mut left = SHRINK_MAX;
        let mut best: Option<(usize, Picks, String)> = None;
        let all_kept = vec![0; picks.len()];
        let all_lost: Picks = pieces.list.iter().map(Piece::lost).collect();
        for calm in [all_kept, all_lost] {
            if best.as_ref().is_some_and(|(fewest, ..)| *fewest <= PIECES_FEW) {
                break;
            }
            let (mut picks, mut reason) = (picks.clone(), reason.clone());
            let mut is_shrinking = true;
            while std::mem::take(&mut is_shrinking) {
                for number in 0..picks.len() {
                    if picks[number] == calm[number] || left == 0 {
                        continue;
                    }
                    left -= 1;
                    // As it should be, or else simply lost, which is easier to follow than torn.
                    for option in [calm[number], pieces.list[number].lost()] {
                        let mut fewer = picks.clone();
                        fewer[number] = option;
                        pieces.settle(tracker, &mut fewer);
                        if fewer == picks {
                            continue;
                        }
                        let run = Run::new(pieces.build(tracker, &fewer), marks.to_vec());
                        if let Err(said) = judge(self.check, &run) {
                            (picks, reason, is_shrinking) = (fewer, said, true);
                            break;
                        }
                    }
                }
            }
            let differ = picks.iter().zip(&calm).filter(|(pick, calm)| pick != calm).count();
            if best.as_ref().is_none_or(|(fewest, ..)| differ < *fewest) {
                best = Some((differ, picks, reason));
            }
        }
        best.map_or((picks, reason), |(_, picks, reason)| (picks, reason))
    }
}

/// The last calls before a crash, and what became of the pieces.
fn tell(
    base: &Image,
    calls: &[Call],
    tracker: &Tracker,
    pieces: &Pieces,
    picks: &[usize],
) -> Vec<String> {
    let mut told = Vec::new();
    let mut again = Tracker::new(tracker.model(), base);
    for (number, call) in calls[..tracker.calls].iter().enumerate() {
        if number + CALLS_SHOWN >= tracker.calls {
            told.push(format!("call {}: {}", number + 1, again.describe(call)));
        }
        again.step(call);
    }
    told.push(format!("a crash after call {} of {}:", tracker.calls, calls.len()));
    let lost = picks.iter().filter(|pick| **pick != 0).count();
    let tells_kept = lost > picks.len() - lost;
    for (number, pick) in picks.iter().enumerate() {
        let is_plainly_lost = *pick == pieces.list[number].lost();
        if if tells_kept { !is_plainly_lost } else { *pick != 0 } {
            told.push(format!("  {}", pieces.describe(tracker, number, *pick)));
        }
    }
    told.push(match (tells_kept, picks.is_empty()) {
        (_, true) => "  nothing that could have been lost".to_owned(),
        (true, _) => "  lost: everything else".to_owned(),
        (false, _) => "  kept: everything else".to_owned(),
    });
    told
}
