//! One fault in a small directory of every kind: each byte flipped, zeroed and set, each sector zeroed,
//! duplicated and swapped, each file cut at every length, deleted, and replaced by another one or by an
//! older version of itself. What comes back is identical, a typed error that names the place, or a typed
//! gap; never wrong bytes, a panic, a hang, or entries that are gone in silence.
//!
//! What cannot be detected is what `docs/durability.md` lists, and there the log is as it was earlier.
//! Each directory says how far its proofs reach (`samples.rs`), and up to there nothing may go missing
//! unnoticed (`judge.rs`). In a directory that was closed they reach to the end.
//!
//! Of the bytes of a file some are tried, or all with `IRONWAL_EVERY_BYTE=1`.

#[cfg(feature = "sharded")]
mod checkpoints;
pub(crate) mod faults;
mod journal;
mod judge;
mod samples;
mod tally;
mod undetected;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use ironwal::ReadStrategy;

use faults::{Fault, KINDS, byte_faults, every, file_faults, sector_faults};
use judge::{Case, Judged, Outcome};
use samples::Sample;
use tally::Tally;

/// How many more calls to the disk a fault may cost than none: nothing is read for ever.
const CALLS_FACTOR: u64 = 4;

/// How many faults are gathered before nothing more is tried.
const WRONG_MAX: usize = 100;

/// Tries faults, and says what came of them; in the end, what should not have.
fn try_all(sample: &Sample, faults: impl Iterator<Item = Fault>) -> Tally {
    let mut tally = Tally::default();
    let mut wrong: Vec<String> = Vec::new();
    let whole = Case { sample, fault: None, read_strategy: ReadStrategy::StandardIo }.judge();
    assert_eq!(whole.verdict, Ok(Outcome::Identical), "{}", sample.name);
    for (nth, fault) in faults.enumerate() {
        let read_strategy = [ReadStrategy::StandardIo, ReadStrategy::Mmap][nth % 2];
        let case = Case { sample, fault: Some(&fault), read_strategy };
        let judged = catch_unwind(AssertUnwindSafe(|| case.judge()));
        let what = match judged {
            Err(_) => "a panic".to_string(),
            Ok(Judged { calls, .. }) if calls > CALLS_FACTOR * whole.calls => {
                format!("{calls} calls, and {} without the fault", whole.calls)
            }
            Ok(Judged { verdict: Err(what), .. }) => what,
            Ok(Judged { verdict: Ok(outcome), .. }) => {
                tally.count(fault.kind(), outcome);
                continue;
            }
        };
        if wrong.len() == WRONG_MAX {
            break;
        }
        wrong.push(format!("{fault}: {}: {what}", fault.describe(&sample.material)));
    }
    let count = wrong.len();
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{}: {count} faults, as\n{}", sample.name, wrong.join("\n"));
    tally
}

/// Tries one in so many of the faults of bytes and of mixed up sectors, and all of the others. What came of
/// them is printed, for those who ask with `--nocapture`.
fn sweep(what: &str, samples: &[Sample], few_bytes: usize, few_sectors: usize) -> Tally {
    let begin = Instant::now();
    let mut all = Tally::default();
    for sample in samples {
        let material = &sample.material;
        let bytes = byte_faults(material).into_iter().step_by(every(few_bytes));
        let (zeroed, mixed): (Vec<Fault>, Vec<Fault>) = sector_faults(material)
            .into_iter()
            .partition(|fault| matches!(fault, Fault::Zeroed { .. }));
        let sectors = zeroed.into_iter().chain(mixed.into_iter().step_by(every(few_sectors)));
        let tally = try_all(sample, bytes.chain(sectors).chain(file_faults(material)));
        // A judge who never finds anything, or for whom everything is in doubt, is none.
        for outcome in [Outcome::Identical, Outcome::Gap, Outcome::Refused] {
            assert!(tally.of(outcome) > 0, "{}: nothing is {outcome:?}: {tally:?}", sample.name);
        }
        check_what_was_not_seen(sample, &tally);
        all.add(&tally);
    }
    all.print(what, begin.elapsed());
    all
}

/// Which kinds of faults may leave the log as it was earlier.
fn check_what_was_not_seen(sample: &Sample, tally: &Tally) {
    for (kind, name) in KINDS.iter().enumerate() {
        let is_seen = match kind {
            // Bytes, lengths and sectors: all is proven, or is in two places.
            0..5 => sample.is_closed,
            5 | 6 | 9 => false,
            _ => true,
        };
        let earlier = tally.of_kind(kind, Outcome::Earlier);
        assert!(!is_seen || earlier == 0, "{}: {name}: {earlier} were not seen", sample.name);
    }
}

#[test]
fn a_fault_at_every_byte_is_seen_or_harmless() {
    sweep("plain", &samples::written(), 11, 7);
}

#[test]
fn a_fault_in_a_log_that_was_reshaped_is_seen_or_harmless() {
    sweep("reshaped", &samples::reshaped(), 11, 7);
}

#[test]
fn a_fault_in_a_log_of_large_batches_is_seen_or_harmless() {
    sweep("in pieces", &samples::large(), 37, 31);
}

#[cfg(feature = "compression")]
#[test]
fn a_fault_in_a_compressed_log_is_seen_or_harmless() {
    sweep("compressed", &samples::compressed(), 11, 7);
}

#[test]
fn a_fault_in_a_log_with_a_journal_is_seen_or_harmless() {
    sweep("journal", &samples::journaled(), 11, 7);
}

#[test]
fn a_fault_beside_the_next_segment_is_seen_or_harmless() {
    sweep("next", &samples::with_next(), 11, 7);
}

#[cfg(feature = "sharded")]
#[test]
fn a_fault_in_a_sharded_log_is_seen_or_harmless() {
    sweep("sharded", &samples::sharded::samples(), 11, 7);
}
