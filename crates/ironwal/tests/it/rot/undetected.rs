//! What nobody can tell, each by an example, and beside it what is seen: the list in `docs/durability.md`.
//! The log is then as it was earlier.

use std::path::Path;

use ironwal::{Error, ReadStrategy};

use super::faults::Fault;
use super::judge::{Case, Outcome};
use super::samples::{self, Sample};

fn sample(samples: Vec<Sample>, name: &str) -> Sample {
    samples.into_iter().find(|sample| sample.name == name).unwrap()
}

fn file(sample: &Sample, path: &str) -> usize {
    sample.material.files.iter().position(|(file, _)| file == Path::new(path)).unwrap()
}

fn outcome(sample: &Sample, fault: &Fault) -> Outcome {
    let case = Case { sample, fault: Some(fault), read_strategy: ReadStrategy::StandardIo };
    case.judge().verdict.unwrap()
}

/// What comes of a byte of the last frame that changes.
fn outcome_of_the_last_frame(sample: &Sample, segment: &str) -> Outcome {
    let file = file(sample, segment);
    let content = &sample.material.files[file].1;
    let at = content.windows(5).rposition(|bytes| bytes == b"entry").unwrap();
    outcome(sample, &Fault::Byte { file, at, value: 0 })
}

const ONE: &str = "/log/s/00000000000000000000.wal";

#[test]
fn the_last_frame_before_a_kill_looks_torn() {
    let of = |name| outcome_of_the_last_frame(&sample(samples::written(), name), ONE);
    assert_eq!(of("killed, strict, one segment"), Outcome::Earlier);
    assert_eq!(of("killed, batches, one segment"), Outcome::Earlier);
    assert_eq!(of("killed, async, one segment"), Outcome::Earlier);
    assert_eq!(of("closed, one segment"), Outcome::Gap);
}

#[test]
fn a_newest_segment_that_is_cut_short_takes_its_proof_along() {
    let cut = |name| {
        let sample = sample(samples::written(), name);
        let file = file(&sample, ONE);
        outcome(&sample, &Fault::Cut { file, len: 8192 })
    };
    assert_eq!(cut("killed, strict, one segment"), Outcome::Earlier);
    assert_eq!(cut("closed, one segment"), Outcome::Gap);
}

#[test]
fn nobody_misses_a_newest_segment_or_a_stream() {
    let sample = sample(samples::written(), "closed, many segments");
    let removed = |path| outcome(&sample, &Fault::Removed { file: file(&sample, path) });
    assert_eq!(removed("/log/s/00000000000000000007.wal"), Outcome::Earlier);
    assert_eq!(removed("/log/s/00000000000000000003.wal"), Outcome::Gap);
    assert_eq!(removed(ONE), Outcome::Gap);
    assert_eq!(removed("/log/.ironwal"), Outcome::Refused);
    let dir = Fault::RemovedDir { file: file(&sample, ONE) };
    assert_eq!(outcome(&sample, &dir), Outcome::Earlier);
}

#[test]
fn an_older_version_of_the_newest_segment_passes_for_it() {
    let sample = sample(samples::written(), "closed, many segments");
    let mut seen = Vec::new();
    for (content, (path, _)) in sample.material.older.iter().enumerate() {
        let outcome = outcome(&sample, &Fault::Older { content });
        let is_newest = path.ends_with("00000000000000000007.wal");
        assert!(is_newest || outcome != Outcome::Earlier, "{}", path.display());
        seen.push(outcome);
    }
    assert!(seen.contains(&Outcome::Earlier) && seen.contains(&Outcome::Gap), "{seen:?}");
}

/// A segment that ends in a batch was cut through, and the stream went on in other segments. Then somebody
/// put back the segment from before the cut. Opening knew that it does not fit the next one, and reported
/// that; but readers stopped at the next segment's first id only between frames, so an iterator went
/// through the old batch, over ids that stand in the next segment with other entries. And `get` read
/// what had been cut off, as far as the old frames ended where the new ones had.
#[test]
fn a_segment_from_before_a_cut_is_damage() {
    let sample = sample(samples::reshaped(), "cut, and gone on");
    let segment = Path::new("/log/s/00000000000000000003.wal");
    let mut gaps = 0;
    for (content, (path, _)) in sample.material.older.iter().enumerate() {
        if path == segment {
            let outcome = outcome(&sample, &Fault::Older { content });
            assert_ne!(outcome, Outcome::Earlier);
            gaps += u32::from(outcome == Outcome::Gap);
        }
    }
    assert!(gaps > 1, "{gaps}");
}

#[test]
fn nobody_misses_a_file_of_the_archive() {
    let sample = sample(samples::reshaped(), "archived");
    for path in ["/archive/s/00000000000000000000.wal", "/archive/s/00000000000000000003.wal"] {
        let removed = Fault::Removed { file: file(&sample, path) };
        assert_eq!(outcome(&sample, &removed), Outcome::Earlier);
    }
}

/// Two sectors of an archived segment changed places: its newest slot and its seal were gone, and the older
/// slot knew of fewer entries. So it did not lead up to the stream, and restoring left it out in silence.
#[test]
fn an_archived_segment_that_has_lost_its_seal_is_not_left_out() {
    let sample = sample(samples::reshaped(), "archived");
    let file = file(&sample, "/archive/s/00000000000000000003.wal");
    let swapped = Fault::Swapped { file, sectors: (0, 16) };
    assert_eq!(outcome(&sample, &swapped), Outcome::Refused);
}

/// Nothing in a segment names its stream but a number. So a segment that somebody had copied over that of
/// another stream was read as that stream's, entries and all; and after a kill the journal was replayed into
/// one of the two. Now two directories of one number are seen. Two that were exchanged are not.
#[test]
fn streams_that_were_exchanged_are_read_under_each_others_names() {
    let sample = sample(samples::journaled(), "journal, killed");
    let paths = ["/log/a/00000000000000000000.wal", "/log/b/00000000000000000000.wal"];
    let [a, b] = paths.map(|path| sample.disk.contents(Path::new(path)).unwrap());
    let disk = sample.disk.snapshot();
    disk.replace(Path::new(paths[0]), &b).unwrap();
    let refused = sample.open(&disk, &sample.options).unwrap_err();
    let what = refused.to_string();
    assert!(matches!(refused, Error::Corruption(_)), "{what}");
    assert!(what.contains("/log/a") && what.contains("/log/b"), "{what}");
    let refused = sample.open_read_only(&disk).unwrap_err();
    assert!(matches!(refused, Error::Corruption(_)), "{refused}");
    // The journal was not emptied: what a backup does not hold of the stream is there.
    let restored = disk.snapshot();
    let older = sample.material.older.iter().find(|(path, _)| path == Path::new(paths[0]));
    restored.replace(Path::new(paths[0]), &older.unwrap().1).unwrap();
    let wal = sample.open(&restored, &sample.options).unwrap();
    let entries: Vec<Vec<u8>> = wal.iter("a", 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(entries, sample.streams[0].present().entries);
    disk.replace(Path::new(paths[1]), &a).unwrap();
    let wal = sample.open(&disk, &sample.options).unwrap();
    let first = |name| wal.get(name, 0).unwrap().unwrap();
    let expected = |nth: usize| sample.streams[nth].present().entries[0].clone();
    assert_eq!([first("a"), first("b")], [expected(1), expected(0)]);
}

/// Somebody put back a root file from before there were streams. The next new stream got the number of one
/// that was there, and the journal did not know any more which of the two a record is of.
#[test]
fn an_older_root_file_gives_out_no_number_again() {
    let sample = sample(samples::journaled(), "journal, killed");
    let mut tried = 0;
    for (content, (path, _)) in sample.material.older.iter().enumerate() {
        if path == Path::new("/log/.ironwal") {
            assert_eq!(outcome(&sample, &Fault::Older { content }), Outcome::Identical);
            tried += 1;
        }
    }
    assert!(tried > 0);
}
