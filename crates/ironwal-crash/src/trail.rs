//! The name of a crash state: enough to build it again.

use std::fmt;
use std::str::FromStr;

use crate::model::Model;

/// The name of one crash state of a workload: the model, and for each crash the number of calls that
/// came before it, and which pieces are not as the program had left them.
///
/// As text, `posix:37[0=1,4=2]+3[]` is a crash after 37 calls of the workload, of which the pieces 0
/// and 4 fared otherwise than they should have, and another one after 3 calls of the recovery. It
/// means something only for the same program.
///
/// ```
/// use ironwal_crash::{CrashTest, Failure, Outcome, Run, Trail};
/// # use std::path::Path;
/// # use ironwal::storage::OpenMode;
/// # fn workload(run: &Run<()>) -> Outcome {
/// #     run.storage().open(Path::new("/file"), OpenMode::Create)?;
/// #     run.mark(());
/// #     Ok(())
/// # }
/// # fn check(run: &Run<()>) -> Outcome {
/// #     let found = run.storage().open(Path::new("/file"), OpenMode::Read);
/// #     if run.marks().is_empty() { Ok(()) } else { Ok(found.map(drop)?) }
/// # }
///
/// # let test = CrashTest::new("file");
/// let Err(Failure::Violation(found)) = test.run(workload, check) else { panic!() };
/// let text = found.trail.to_string(); // for a test of its own
/// let trail: Trail = text.parse()?;
/// assert_eq!(test.replay(&trail, workload, check), Err(Failure::Violation(found)));
/// let other: Trail = "posix:37[0=1]".parse()?; // of another program
/// assert!(matches!(test.replay(&other, workload, check), Err(Failure::Trail { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    pub(crate) model: Model,
    pub(crate) steps: Vec<Step>,
}

/// One crash: after how many calls, and the pieces that are not kept, with their options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) calls: usize,
    pub(crate) picks: Vec<(usize, usize)>,
}

impl Step {
    pub(crate) fn new(calls: usize, picks: &[usize]) -> Self {
        let changed = picks.iter().copied().enumerate().filter(|(_, pick)| *pick != 0);
        Self { calls, picks: changed.collect() }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.model)?;
        for (number, step) in self.steps.iter().enumerate() {
            let picks = step.picks.iter().map(|(piece, pick)| format!("{piece}={pick}"));
            let picks = picks.collect::<Vec<_>>().join(",");
            let plus = if number == 0 { "" } else { "+" };
            write!(f, "{plus}{}[{picks}]", step.calls)?;
        }
        Ok(())
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no crash state");
        let (model, steps) = text.trim().split_once(':').ok_or_else(wrong)?;
        let step = |step: &str| {
            let (calls, picks) = step.strip_suffix(']')?.split_once('[')?;
            let pick = |pick: &str| {
                let (piece, option) = pick.split_once('=')?;
                Some((piece.parse().ok()?, option.parse().ok()?))
            };
            let picks = picks.split(',').filter(|pick| !pick.is_empty()).map(pick);
            Some(Step { calls: calls.parse().ok()?, picks: picks.collect::<Option<_>>()? })
        };
        let steps = steps.split('+').map(step).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        Ok(Self { model: model.parse()?, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_what_its_text_says() {
        for text in ["posix:37[0=1,4=2]", "xfs:0[]", "ext4:5[]+3[1=2]+9[]"] {
            assert_eq!(text.parse::<Trail>().unwrap().to_string(), text);
        }
        for text in ["", "posix", "posix:", "ntfs:1[]", "posix:x[]", "posix:1[2]", "posix:1[2=3"] {
            text.parse::<Trail>().unwrap_err();
        }
    }
}
