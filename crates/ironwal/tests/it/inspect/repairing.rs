//! A repair, whatever is damaged: the result verifies and opens under `CorruptionPolicy::Error`, has every
//! entry that was whole under its id, and names the others as lost. The original is never changed.

use ironwal::inspect::{Measure, plan_repair, repair};

use super::*;
use crate::hooked::Hooked;
use crate::journal::{journal, segment};
use crate::rot::places;

const REPAIRED: &str = "/repaired";

/// One in so many, unless all are wanted.
fn every(few: usize) -> usize {
    if std::env::var_os("IRONWAL_EVERY_BYTE").is_some() { 1 } else { few }
}

fn of_log(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    files(disk).into_iter().filter(|(path, _)| path.starts_with(ROOT)).collect()
}

fn try_repair(disk: &SimDisk) -> ironwal::Result<Report> {
    let storage = on(disk);
    let plan = plan_repair(&storage, Path::new(ROOT))?;
    repair(&storage, Path::new(ROOT), &plan, Path::new(REPAIRED))
}

fn repaired(disk: &SimDisk) -> Seen {
    seen_on(&disk.snapshot(), REPAIRED, CorruptionPolicy::Error)
}

/// What came of the faults.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    lost: usize,
    impossible: usize,
}

/// Repairs what is damaged, and holds it against what it was before, and what could be read of it.
fn judge(clean: &Seen, disk: &SimDisk, what: &str, tally: &mut Tally) {
    let before = of_log(disk);
    let readable = lenient(disk);
    let plan = plan_repair(&on(disk), Path::new(ROOT)).unwrap();
    let result = repair(&on(disk), Path::new(ROOT), &plan, Path::new(REPAIRED));
    assert!(of_log(disk) == before, "{what}: the original was changed");
    let report = match result {
        Ok(report) => report,
        Err(error @ (Error::UnsupportedVersion { .. } | Error::Corruption(_))) => {
            let is_expected = plan.obstacles().next().is_some();
            assert!(is_expected, "{what}: {error}: {plan}");
            assert!(disk.files().iter().all(|path| !path.starts_with(REPAIRED)), "{what}");
            tally.impossible += 1;
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(report.is_whole(), "{what}: {:#?}", report.findings);
    let again = verify(&on(disk), Path::new(REPAIRED), &VerifyOptions::default(), &|_| {}).unwrap();
    assert_eq!(again, report, "{what}");
    let after = repaired(disk);
    assert!(!after.refused && !after.checkpoints, "{what}: {plan}");
    for (key, entry) in &readable.entries {
        assert_eq!(after.entries.get(key), Some(entry), "{what}: {key:?} was whole: {plan}");
    }
    let has_lost_end = plan.actions.iter().any(|it| it.measure == Measure::RebuildHeader);
    for (key, entry) in &clean.entries {
        let (stream, id) = key;
        match after.entries.get(key) {
            Some(found) => assert_eq!(found, entry, "{what}: {key:?} differs"),
            None if after.damaged.contains_key(key) => {}
            None => {
                // Behind the end.
                assert!(after.ends.get(stream).is_none_or(|end| end <= id), "{what}: {key:?}");
                let was_gone = readable.refused || !readable.damaged.contains_key(key);
                assert!(was_gone || has_lost_end, "{what}: {key:?} is forgotten: {plan}");
            }
        }
    }
    for (key, places) in &after.damaged {
        let is_told = report.findings.iter().any(|finding| {
            finding.problem == Problem::MarkedLost
                && finding.stream.as_ref() == Some(&key.0)
                && finding.ids.contains(&key.1)
        });
        assert!(is_told, "{what}: {key:?} at {places:?} is not told: {:#?}", report.findings);
    }
    if after.damaged.is_empty() { tally.whole += 1 } else { tally.lost += 1 }
}

/// Each fault in each file of a directory of each kind.
fn try_all(mut faults: impl FnMut(&SimDisk, &Path, &[u8], &mut dyn FnMut(&SimDisk, &str))) {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let clean = lenient(&disk);
        let mut tally = Tally::default();
        for (path, content) in files(&disk) {
            let mut try_one = |damaged: &SimDisk, what: &str| {
                let what = format!("{kind}: {}: {what}", path.display());
                judge(&clean, damaged, &what, &mut tally);
            };
            faults(&disk, &path, &content, &mut try_one);
        }
        assert!(tally.whole + tally.lost > 0, "{kind}: {tally:?}");
    }
}

#[test]
fn a_log_that_is_whole_stays_as_it_is() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let clean = lenient(&disk);
        let plan = plan_repair(&on(&disk), Path::new(ROOT)).unwrap();
        assert_eq!(plan.is_needed(), *kind == "damaged", "{kind}: {plan}");
        try_repair(&disk).unwrap();
        let after = repaired(&disk);
        assert_eq!((after.entries, after.ends), (clean.entries, clean.ends), "{kind}");
    }
}

#[test]
fn a_byte_changes() {
    try_all(|disk, path, content, try_one| {
        for place in places(content).into_iter().step_by(every(61)) {
            let damaged = disk.snapshot();
            damaged.overwrite(path, place as u64, &[!content[place]]).unwrap();
            try_one(&damaged, &format!("byte {place}"));
        }
    });
}

#[test]
fn a_block_is_lost() {
    try_all(|disk, path, content, try_one| {
        for start in (0..content.len().min(20_000)).step_by(512 * every(3)) {
            let end = content.len().min(start + 4096);
            if content[start..end].iter().any(|byte| *byte != 0) {
                let damaged = disk.snapshot();
                damaged.overwrite(path, start as u64, &vec![0; end - start]).unwrap();
                try_one(&damaged, &format!("block at {start}"));
            }
        }
    });
}

#[test]
fn a_header_or_a_file_is_lost() {
    try_all(|disk, path, _, try_one| {
        let damaged = disk.snapshot();
        damaged.overwrite(path, 0, &[0xEE; 8192]).unwrap();
        try_one(&damaged, "header");
        let damaged = disk.snapshot();
        damaged.remove(path).unwrap();
        try_one(&damaged, "gone");
    });
}

#[test]
fn a_file_is_cut() {
    try_all(|disk, path, content, try_one| {
        for len in places(content).into_iter().step_by(every(97)) {
            let damaged = disk.snapshot();
            damaged.replace(path, &content[..len]).unwrap();
            try_one(&damaged, &format!("cut to {len}"));
        }
    });
}

/// Everything at once that has a second copy: nothing is lost.
#[test]
fn what_can_be_made_again_is() {
    let disk = golden_disk("closed");
    let clean = lenient(&disk);
    disk.remove(&Path::new(ROOT).join(".ironwal")).unwrap();
    let paths: Vec<PathBuf> = disk.files();
    for path in paths.iter().filter(|path| path.parent().unwrap().ends_with("ledger")) {
        // All but one of the headers, and all seals.
        let content = disk.contents(path).unwrap();
        if !path.ends_with("00000000000000000000.wal") {
            disk.overwrite(path, 0, &[0xEE; 8192]).unwrap();
        }
        let is_sealed = content[content.len() - 128..].starts_with(b"IRONWEND");
        if is_sealed {
            disk.overwrite(path, content.len() as u64 - 60, &[0xEE]).unwrap();
        }
    }
    let plan = plan_repair(&on(&disk), Path::new(ROOT)).unwrap();
    assert!(plan.is_needed());
    assert!(plan.actions.iter().any(|it| it.measure == Measure::RebuildRoot), "{plan}");
    let report = try_repair(&disk).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    let after = repaired(&disk);
    assert_eq!((after.entries, after.ends), (clean.entries, clean.ends));
    // And it is a log that goes on: no two streams get the same number.
    let wal = open(&disk, &WalOptions::new(REPAIRED)).unwrap();
    assert_eq!(wal.append("ledger", b"next").unwrap(), 50);
    wal.append("new", b"first").unwrap();
    wal.close().unwrap();
    let options = VerifyOptions::default();
    let report = verify(&on(&disk), Path::new(REPAIRED), &options, &|_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

/// The only segment of a stream has lost its header: the number is found by trying.
#[test]
fn the_number_of_a_stream_is_found_again() {
    let disk = golden_disk("killed");
    let one = SimDisk::new(1);
    let wal = open(&one, &WalOptions::new(ROOT)).unwrap();
    for nth in 0..20 {
        wal.append("other", &[nth; 30]).unwrap();
        wal.append("s", &[nth; 30]).unwrap();
    }
    wal.close().unwrap();
    drop(disk);
    let clean = lenient(&one);
    one.overwrite(&segment("s", 0), 0, &[0xEE; 8192]).unwrap();
    let report = try_repair(&one).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(repaired(&one).entries, clean.entries);
}

#[test]
fn damaged_bytes_are_kept_aside() {
    let disk = golden_disk("damaged");
    let report = look(&disk);
    let finding = &report.findings[0];
    try_repair(&disk).unwrap();
    let name = format!("ledger={}.{}", "00000000000000000000.wal", finding.offset);
    let aside = Path::new(REPAIRED).join(".damaged").join(name);
    let original = disk.contents(&segment("ledger", 0)).unwrap();
    let bytes = finding.offset as usize..(finding.offset + finding.len) as usize;
    assert_eq!(disk.contents(&aside).unwrap(), original[bytes]);
}

/// A header of the journal that is lost takes along what is in the journal only, and nothing else.
#[test]
fn a_journal_that_cannot_be_read_is_left_out() {
    let disk = golden_disk("journal");
    disk.overwrite(&journal(0), 0, &[0xEE; 8192]).unwrap();
    assert!(lenient(&disk).refused);
    try_repair(&disk).unwrap();
    let after = repaired(&disk);
    assert!(!after.refused && after.entries.is_empty(), "{after:?}");
    assert!(disk.contents(&Path::new(REPAIRED).join(".damaged/.journal.0.0")).is_ok());
}

#[test]
fn nothing_is_overwritten_and_nobody_is_disturbed() {
    let disk = golden_disk("damaged");
    let storage = on(&disk);
    let plan = plan_repair(&storage, Path::new(ROOT)).unwrap();
    let to = |path: &str| repair(&storage, Path::new(ROOT), &plan, Path::new(path));
    for inside in [ROOT, "/log/x", "/log/ledger"] {
        assert!(matches!(to(inside), Err(Error::Config(_))), "{inside}");
    }
    disk.replace(Path::new("/taken/file"), b"mine").unwrap();
    assert!(matches!(to("/taken"), Err(Error::Config(_))));
    let wal = open(&disk, &WalOptions::new(ROOT)).unwrap();
    assert!(matches!(to(REPAIRED), Err(Error::Locked(_))));
    wal.append("ledger", b"more").unwrap();
    drop(wal);
    disk.overwrite(&segment("ledger", 0), 8192 + 300, &[0xEE]).unwrap();
    let error = to(REPAIRED).unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("plan it again")), "{error}");
    try_repair(&disk).unwrap();
}

/// Where there is no lock file to hold, somebody may open the log in the middle.
#[test]
fn somebody_opens_the_log_meanwhile() {
    let disk = golden_disk("damaged");
    let lock = Path::new(ROOT).join(".ironwal.lock");
    disk.remove(&lock).unwrap();
    let plan = plan_repair(&on(&disk), Path::new(ROOT)).unwrap();
    let opened = disk.process();
    let hook = move || opened.replace(Path::new("/log/.ironwal.lock"), b"").unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Hooked::new(&disk).before_sync_dir(hook));
    let repaired = repair(&storage, Path::new(ROOT), &plan, Path::new(REPAIRED));
    assert!(matches!(repaired, Err(Error::Locked(_))));
    disk.remove(&lock).unwrap();
    try_repair(&disk).unwrap();
    assert!(disk.contents(&lock).is_err());
}

#[test]
fn the_power_goes_in_the_middle() {
    for kind in ["damaged", "journal"] {
        let disk = golden_disk(kind);
        if kind == "journal" {
            disk.overwrite(&journal(0), 8192 + 100, &[0xEE; 40]).unwrap();
            disk.overwrite(&segment("b", 0), 0, &[0xEE; 8192]).unwrap();
        }
        let before = of_log(&disk);
        let whole = disk.snapshot();
        let expected = try_repair(&whole).unwrap();
        let calls = whole.calls_total();
        let mut again = 0;
        for call in (1..calls).step_by(every(7)) {
            let disk = disk.snapshot();
            disk.reseed(call);
            disk.cut_power_at(call);
            let _ = try_repair(&disk);
            disk.crash();
            assert!(of_log(&disk) == before, "{kind}: cut at {call}: the original was changed");
            if !disk.files().iter().any(|path| path.starts_with(REPAIRED)) {
                again += 1;
                try_repair(&disk).unwrap();
            }
            let options = VerifyOptions::default();
            let report = verify(&on(&disk), Path::new(REPAIRED), &options, &|_| {}).unwrap();
            assert_eq!(report, expected, "{kind}: cut at {call}");
        }
        assert!(again > 10, "{again}");
    }
}
