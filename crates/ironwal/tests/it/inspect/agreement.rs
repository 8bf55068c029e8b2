//! One fault after another in directories of every kind: what `verify` says is what opening and reading
//! report. It calls damage what they complain of, with the file and the ids that they name, and nothing
//! that they pass over.
//!
//! Of the bytes of a file some are tried, or all with `IRONWAL_EVERY_BYTE=1`.

use super::*;
use crate::rot::faults::places;

/// One in so many, unless all are wanted.
fn every(few: usize) -> usize {
    if std::env::var_os("IRONWAL_EVERY_BYTE").is_some() { 1 } else { few }
}

/// What came of the faults.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) harmless: usize,
    pub(super) refused: usize,
    pub(super) gaps: usize,
}

pub(super) fn judge(disk: &SimDisk, what: &str, tally: &mut Tally) {
    let before = files(disk);
    let report = look(disk);
    assert!(files(disk) == before, "{what}: something was written");
    let (lenient, strictly) = (lenient(disk), strictly(disk));
    let found = || report.findings.iter();
    let is_bad = found().any(|it| it.severity() <= Severity::Newer);
    let is_lost = found().any(|it| it.severity() == Severity::Lost);
    let told: Vec<String> = found().map(ToString::to_string).collect();
    assert_eq!(is_bad, !report.is_whole());

    let complains = lenient.refused || strictly.refused || lenient.has_gap();
    assert!(is_bad || is_lost || !complains, "{what}: {lenient:?}, {strictly:?}; {told:#?}");
    assert!(complains || !is_bad, "{what}: nobody complains: {told:#?}");
    // A mark alone is no reason to refuse.
    assert!(is_bad || !(lenient.refused || strictly.refused), "{what}: refused: {told:#?}");
    for ((stream, id), places) in &lenient.damaged {
        for (file, offset) in places {
            let is_it = |finding: &&Finding| {
                finding.file == *file
                    && finding.stream.as_ref() == Some(stream)
                    && finding.ids.contains(id)
                    && finding.offset <= *offset
                    && finding.severity() <= Severity::Lost
            };
            let any = found().any(|finding| is_it(&finding));
            let file = file.display();
            assert!(any, "{what}: {stream} {id} in {file} at {offset} is not told: {told:#?}");
        }
    }
    for finding in found().filter(|it| it.severity() <= Severity::Lost) {
        let Some(stream) = finding.stream.as_ref().filter(|it| !it.starts_with('.')) else {
            continue;
        };
        for id in finding.ids.start..finding.ids.end.min(finding.ids.start + 100) {
            let entry = lenient.entries.get(&(stream.clone(), id));
            // A read by id finds what its own pieces hold.
            let is_in_pieces = what.starts_with("pieces");
            assert!(entry.is_none() || is_in_pieces, "{what}: {stream} {id} is there: {finding}");
        }
    }
    match (lenient.refused, complains) {
        (true, _) => tally.refused += 1,
        (_, true) => tally.gaps += 1,
        _ => tally.harmless += 1,
    }
}

#[test]
fn a_byte_changes() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let mut tally = Tally::default();
        for (path, content) in files(&disk) {
            for place in places(&content).into_iter().step_by(every(37)) {
                let byte = content[place];
                let changed = if place % 2 == 0 { byte ^ 0x80 } else { !byte };
                let damaged = disk.snapshot();
                damaged.overwrite(&path, place as u64, &[changed]).unwrap();
                let what = format!("{kind}: {} at {place}: {byte} -> {changed}", path.display());
                judge(&damaged, &what, &mut tally);
            }
        }
        assert!(
            tally.harmless > 0 || kind.contains("lost") || *kind == "damaged",
            "{kind}: {tally:?}"
        );
        assert!(tally.gaps > 0, "{kind}: {tally:?}");
    }
}

#[test]
fn a_block_is_lost() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let mut tally = Tally::default();
        for (path, content) in files(&disk) {
            for start in (0..content.len().min(20_000)).step_by(512 * every(2)) {
                let end = content.len().min(start + 4096);
                if content[start..end].iter().all(|byte| *byte == 0) {
                    continue;
                }
                let damaged = disk.snapshot();
                damaged.overwrite(&path, start as u64, &vec![0; end - start]).unwrap();
                let what = format!("{kind}: {}: block at {start}", path.display());
                judge(&damaged, &what, &mut tally);
            }
        }
        assert!(tally.gaps > 0, "{kind}: {tally:?}");
    }
}

/// Nobody knows what was in the first of them; what is missing before what follows is lost.
#[test]
fn two_frames_of_the_journal_are_lost() {
    let disk = golden_disk("journal");
    let mut tally = Tally::default();
    let path = crate::journal::journal(0);
    for (disk, what) in [(disk, "nothing"), (journaled(), "everything")] {
        for start in (8192..40_000).step_by(4096) {
            let damaged = disk.snapshot();
            damaged.overwrite(&path, start, &[0; 8192]).unwrap();
            let what = format!("the segments have {what}; frames at {start}");
            judge(&damaged, &what, &mut tally);
        }
    }
    assert!(tally.gaps > 4 && tally.harmless > 2, "{tally:?}");
}

/// A full segment has lost its seal, and one of its slots or both.
#[test]
fn a_seal_is_lost_and_slots_are() {
    for kind in ["closed", "killed", "pruned"] {
        let disk = golden_disk(kind);
        let mut tally = Tally::default();
        for (path, content) in files(&disk) {
            let is_sealed =
                content.len() > 8192 && content[content.len() - 128..].starts_with(b"IRONWEND");
            for slots in [&[0][..], &[4096], &[0, 4096]] {
                let damaged = disk.snapshot();
                for at in slots.iter().filter(|_| is_sealed) {
                    damaged.overwrite(&path, *at + 70, &[0xEE]).unwrap();
                    damaged.overwrite(&path, content.len() as u64 - 60, &[0xEE]).unwrap();
                }
                let what = format!("{kind}: seal and slots {slots:?} of {}", path.display());
                judge(&damaged, &what, &mut tally);
            }
        }
        assert!(tally.gaps > 0, "{kind}: {tally:?}");
    }
}

/// The next segment is gone, and the journal has what was in it. Recovery takes the place where that begins
/// in the journal for the end of the one before, whose own end was lost: reads name that file, and nothing
/// that was told did. `several` found it with seed 3791.
#[test]
fn ids_behind_the_last_frame_are_told() {
    let disk = journaled();
    let mut tally = Tally::default();
    disk.remove(&crate::journal::segment("a", 6)).unwrap();
    let path = crate::journal::segment("a", 0);
    let content = disk.contents(&path).unwrap();
    disk.replace(&path, &content[..8550]).unwrap();
    judge(&disk, "no segment 6, and 0 is cut", &mut tally);
    assert!(problems(&look(&disk)).contains(&Problem::CutShort));
}

#[test]
fn a_header_is_lost_whole() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let mut tally = Tally::default();
        for (path, _) in files(&disk) {
            let damaged = disk.snapshot();
            damaged.overwrite(&path, 0, &[0xEE; 8192]).unwrap();
            judge(&damaged, &format!("{kind}: header of {}", path.display()), &mut tally);
        }
        assert!(tally.refused > 0, "{kind}: {tally:?}");
    }
}

#[test]
fn a_file_is_cut_or_gone() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let mut tally = Tally::default();
        for (path, content) in files(&disk) {
            for len in places(&content).into_iter().step_by(every(61)) {
                let damaged = disk.snapshot();
                damaged.replace(&path, &content[..len]).unwrap();
                let what = format!("{kind}: {} cut to {len}", path.display());
                judge(&damaged, &what, &mut tally);
            }
            let damaged = disk.snapshot();
            damaged.remove(&path).unwrap();
            judge(&damaged, &format!("{kind}: {} is gone", path.display()), &mut tally);
        }
        assert!(tally.gaps > 0 || tally.refused > 0, "{kind}: {tally:?}");
    }
}
