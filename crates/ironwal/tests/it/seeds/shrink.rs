//! Shrinking: which steps of a run that fails it takes to fail.

use ironwal::SyncMode;

use super::failure::{Failure, fails};
use super::{INTERVAL, Run};

/// How many runs are tried at most.
const RUNS_MAX: u32 = 1000;

/// Leaves out steps of a run that failed, as long as what is left fails at the same place. Returns
/// what is left, and how it fails.
pub(super) fn shrink(
    run: &Run,
    failure: Failure,
    outcome: impl Fn(&Run) -> Option<Failure>,
) -> (Vec<u32>, Failure) {
    let (mut steps, mut failure) = (run.steps.taken(), failure);
    let place = failure.place.clone();
    let mut runs_left = RUNS_MAX;
    let mut fewer = |without: &dyn Fn(usize) -> bool, steps: &[u32]| {
        runs_left = runs_left.checked_sub(1)?;
        let kept = steps.iter().enumerate().filter(|(nth, _)| !without(*nth));
        let fewer = run.only(&kept.map(|(_, step)| *step).collect::<Vec<u32>>());
        let same = outcome(&fewer).filter(|other| other.place == place)?;
        // What was not come to any more is left out as well.
        Some((fewer.steps.taken(), same))
    };
    let mut len = steps.len().div_ceil(2);
    while len > 0 {
        let mut start = 0;
        let before = steps.len();
        while start < steps.len() {
            match fewer(&|nth| (start..start + len).contains(&nth), &steps) {
                Some(fewer) => (steps, failure) = fewer,
                None => start += len,
            }
        }
        // As long as single steps can be left out, another may have become needless.
        if len > 1 || steps.len() == before {
            len /= 2;
        }
    }
    (steps, failure)
}

/// What to do with a run that failed.
pub(super) fn how_to_replay(module: &str, run: &Run, steps: &[u32]) -> String {
    let Run { mode, seed, .. } = run;
    let name = match mode {
        SyncMode::Interval(_) if *mode == INTERVAL => "INTERVAL".to_owned(),
        mode => format!("SyncMode::{mode:?}"),
    };
    let list: Vec<String> = steps.iter().map(u32::to_string).collect();
    format!(
        "all of it:     IRONWAL_SEED={seed}\n\
         shrunk:        IRONWAL_SEED={seed} IRONWAL_STEPS={}\n\
         as a test:\n\n\
         #[test]\n\
         fn seed_{seed}() {{\n    \
             crate::{module}::replay({name}, {seed}, &[{}]);\n\
         }}\n",
        list.join(","),
        list.join(", "),
    )
}

/// A run of 200 steps that fails if 17 and 140 are done, and elsewhere if 3 is done without 4.
fn steps_of(run: &Run) {
    let taken: Vec<u32> = (0..200).filter(|step| run.steps.take(*step).is_some()).collect();
    if taken.contains(&3) && !taken.contains(&4) {
        panic!("another failure");
    }
    if taken.contains(&17) && taken.contains(&140) {
        panic!("this one");
    }
}

#[test]
fn only_the_steps_that_matter_are_left() {
    let run = Run::new(SyncMode::Strict, 1);
    let failure = fails(|| steps_of(&run)).unwrap();
    let (mut steps, _) = shrink(&run, failure, |run| fails(|| steps_of(run)));
    assert_eq!(steps, [17, 140]);
    steps.remove(0);
    assert_eq!(fails(|| steps_of(&run.only(&steps))), None);
}

#[test]
fn the_test_to_paste_names_the_run() {
    let text = how_to_replay("contract", &Run::new(INTERVAL, 12), &[0, 3, 64]);
    assert!(text.contains("IRONWAL_SEED=12 IRONWAL_STEPS=0,3,64\n"), "{text}");
    let call = "fn seed_12() {\n    crate::contract::replay(INTERVAL, 12, &[0, 3, 64]);\n}";
    assert!(text.contains(call), "{text}");
}
