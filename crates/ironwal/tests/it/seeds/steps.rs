//! The steps of a run. Each draws from a source of its own, so that what is left out changes nothing of
//! what the others are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fastrand::Rng;

/// How many numbers the steps of one life of a process have.
pub(crate) const STEPS_OF_A_LIFE: u32 = 64;

/// Which steps are done, and which have been.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    seed: u64,
    only: Option<Arc<BTreeSet<u32>>>,
    taken: Arc<Mutex<Vec<u32>>>,
}

impl Steps {
    /// Those of a run whose choices come from a seed; with `only`, just these.
    pub(super) fn new(seed: u64, only: Option<&[u32]>) -> Self {
        let only = only.map(|steps| Arc::new(steps.iter().copied().collect()));
        Self { seed, only, taken: Arc::default() }
    }

    /// Where the choices of a step come from, if it is done.
    pub(crate) fn take(&self, step: u32) -> Option<Rng> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&step)) {
            return None;
        }
        self.taken.lock().unwrap().push(step);
        Some(self.choices(step))
    }

    /// Where the choices of a step come from.
    pub(crate) fn choices(&self, step: u32) -> Rng {
        let mut mixed = Rng::with_seed(self.seed);
        Rng::with_seed(mixed.u64(..) ^ u64::from(step).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The steps that were done.
    pub(super) fn taken(&self) -> Vec<u32> {
        self.taken.lock().unwrap().clone()
    }
}
