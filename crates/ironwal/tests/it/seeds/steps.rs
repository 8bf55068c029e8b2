//! The steps of a run. Each draws from a source of its own, so that what is left out changes nothing of
//! what the others are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use ironwal::storage::SimDisk;

use super::choices::Choices;
use super::script::Script;

/// How many numbers the steps of one life of a process have.
pub(crate) const STEPS_OF_A_LIFE: u32 = 64;

/// How many lives a run has at most.
pub(super) const LIVES_MAX: u32 = 7;

/// Which steps are done, and which have been.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    source: Source,
    only: Option<Arc<BTreeSet<u32>>>,
    taken: Arc<Mutex<Vec<u32>>>,
}

#[derive(Debug, Clone)]
enum Source {
    Seed(u64),
    Script(Arc<Script>),
}

impl Steps {
    /// Those of a run whose choices come from a seed; with `only`, just these.
    pub(super) fn new(seed: u64, only: Option<&[u32]>) -> Self {
        let only = only.map(|steps| Arc::new(steps.iter().copied().collect()));
        Self { source: Source::Seed(seed), only, taken: Arc::default() }
    }

    /// Those of a run that an input describes.
    pub(super) fn of(script: Script) -> Self {
        Self { source: Source::Script(Arc::new(script)), only: None, taken: Arc::default() }
    }

    /// Where the choices of a step come from, if it is done.
    pub(super) fn take(&self, step: u32) -> Option<Choices> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&step)) {
            return None;
        }
        self.taken.lock().unwrap().push(step);
        Some(self.choices(step))
    }

    /// Begins a step, if it is done: what the disk chooses from here on comes from it, too.
    pub(crate) fn begin(&self, step: u32, disk: &SimDisk) -> Option<Choices> {
        let mut choices = self.take(step)?;
        disk.reseed(choices.u64(..));
        Some(choices)
    }

    /// Where the choices of a step come from.
    pub(crate) fn choices(&self, step: u32) -> Choices {
        match &self.source {
            Source::Seed(seed) => {
                let mut mixed = Rng::with_seed(*seed);
                let step = u64::from(step).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                Choices::from_seed(mixed.u64(..) ^ step)
            }
            Source::Script(script) => script.choices(step),
        }
    }

    /// How many lives there are.
    pub(crate) fn lives(&self, set_up: &mut Choices) -> u32 {
        match &self.source {
            Source::Seed(_) => set_up.u32(1..=LIVES_MAX),
            Source::Script(script) => script.lives(),
        }
    }

    /// How many steps the life has that begins with this one.
    pub(crate) fn of_life(&self, first: u32) -> u32 {
        match &self.source {
            Source::Seed(_) => self.choices(first + STEPS_OF_A_LIFE - 2).u32(..40),
            Source::Script(script) => script.steps_of_life(first),
        }
    }

    /// The steps that were done.
    pub(super) fn taken(&self) -> Vec<u32> {
        self.taken.lock().unwrap().clone()
    }
}
