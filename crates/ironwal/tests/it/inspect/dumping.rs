//! `dump` goes over every file from its beginning to its end, whatever is in it.

use ironwal::inspect::{Kind, Structure, Validity, dump};

use super::*;
use crate::journal::{journal, segment};
use crate::rot::faults::places;

fn all(disk: &SimDisk, path: &Path) -> Vec<Structure> {
    dump(&on(disk), path).unwrap().map(Result::unwrap).collect()
}

/// One after another, from the first byte behind the header to the last of the file.
fn check_cover(structures: &[Structure], len: u64, what: &str) {
    let mut at = 0;
    for structure in structures {
        let is_header = matches!(structure.kind, Kind::RootCopy | Kind::Slot | Kind::JournalSlot);
        let starts = if is_header { structure.offset >= at } else { structure.offset == at };
        assert!(starts, "{what}: at {at}: {structure:?}");
        at = structure.offset + structure.len;
        if is_header {
            at = at.next_multiple_of(4096);
        }
        let is_known = !matches!(structure.kind, Kind::Bytes | Kind::Zeros);
        if is_known && structure.validity == Validity::Valid && structure.kind != Kind::LossFrame {
            assert_eq!(structure.stored, structure.computed, "{what}: {structure:?}");
        }
    }
    assert!(at >= len || structures.is_empty(), "{what}: {at} of {len}");
}

#[test]
fn every_structure_of_every_file_is_there() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let mut entries = 0;
        for (path, content) in files(&disk) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if [".ironwal.lock", ".ironwal.watermark"].contains(&name) {
                assert!(matches!(dump(&on(&disk), &path), Err(Error::Config(_))));
                continue;
            }
            let structures = all(&disk, &path);
            check_cover(&structures, content.len() as u64, &format!("{kind}: {}", path.display()));
            let is_odd = |it: &&Structure| it.validity != Validity::Valid;
            let odd: Vec<_> = structures.iter().filter(is_odd).collect();
            // Of the journal's earlier generations, something may be left.
            let may_be_odd = *kind == "damaged" || name.starts_with(".journal");
            assert!(odd.is_empty() || may_be_odd, "{kind}: {odd:#?}");
            let frames = structures.iter().filter(|it| it.kind == Kind::Frame);
            let valid = frames.filter(|it| it.validity == Validity::Valid);
            entries += valid.map(|it| it.ids.end - it.ids.start).sum::<u64>();
        }
        let report = look(&disk);
        // Frames behind the first kept id, too, and what is in the journal only is not in the segments.
        assert!(entries >= report.entries || *kind == "journal", "{kind}: {entries} {report:?}");
    }
}

#[test]
fn fields_have_the_names_of_the_format() {
    let disk = golden_disk("closed");
    let structures = all(&disk, &segment("ledger", 0));
    let kinds: Vec<Kind> = structures.iter().map(|it| it.kind).collect();
    assert_eq!(kinds[..3], [Kind::Slot, Kind::Slot, Kind::Frame]);
    assert_eq!(kinds[kinds.len() - 2..], [Kind::Points, Kind::Seal]);
    let field = |nth: usize, name: &str| {
        let structure: &Structure = &structures[nth];
        structure.fields.iter().find(|(field, _)| *field == name).unwrap().1
    };
    assert_eq!((field(0, "version"), field(0, "first id"), field(2, "index")), (1, 0, 0));
    let last = structures.len() - 1;
    assert_eq!(field(last, "next id"), structures[last].ids.end);
    assert_eq!(field(0, "salt"), 0x5A17);
    let of_journal = all(&golden_disk("journal"), &journal(0));
    assert!(of_journal.iter().filter(|it| it.kind == Kind::JournalFrame).count() >= 5);
}

#[test]
fn damage_is_shown_and_what_is_behind_it() {
    let disk = golden_disk("closed");
    disk.overwrite(&segment("ledger", 0), 8192 + 24 + 3 * 32 + 24, &[0xEE]).unwrap();
    let structures = all(&disk, &segment("ledger", 0));
    let invalid: Vec<_> = structures.iter().filter(|it| it.validity != Validity::Valid).collect();
    let [damaged] = invalid[..] else { panic!("{invalid:#?}") };
    let report = look(&disk);
    let finding = &report.findings[0];
    assert_eq!((damaged.offset, damaged.len), (finding.offset, finding.len));
    assert_eq!((damaged.ids.clone(), damaged.stored), (finding.ids.clone(), finding.expected));
    assert_ne!(damaged.stored, damaged.computed);
    let marks = all(&golden_disk("journal-lost"), &segment("a", 0));
    assert!(marks.iter().any(|it| it.kind == Kind::LossFrame && it.ids == (0..1)));
}

#[test]
fn any_bytes_come_to_an_end() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        for (path, content) in files(&disk) {
            for place in places(&content).into_iter().step_by(113) {
                let damaged = disk.snapshot();
                damaged.overwrite(&path, place as u64, &[!content[place]]).unwrap();
                damaged
                    .replace(&path, &damaged.contents(&path).unwrap()[..content.len() - place / 7])
                    .unwrap();
                let len = (content.len() - place / 7) as u64;
                if let Ok(structures) = dump(&on(&damaged), &path) {
                    let structures: Vec<_> = structures.map(Result::unwrap).collect();
                    check_cover(
                        &structures,
                        len,
                        &format!("{kind}: {} at {place}", path.display()),
                    );
                }
            }
        }
    }
}
