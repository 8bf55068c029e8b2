//! What is measured.

pub mod fairness;
pub mod many_streams;
pub mod one_stream;
pub mod threshold;

use crate::measure::Case;
use crate::report::Target;

/// The cases of a workload, and what is expected of them.
#[derive(Default)]
pub struct Plan {
    /// Run in turns.
    pub cases: Vec<Case>,
    /// By the places of the cases.
    pub targets: Vec<Target>,
}

impl Plan {
    /// Adds a case, and returns its place.
    fn case(&mut self, case: Case) -> usize {
        self.cases.push(case);
        self.cases.len() - 1
    }
}
