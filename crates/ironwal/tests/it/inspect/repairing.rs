//! A repair, whatever is damaged: the result verifies and opens under `CorruptionPolicy::Error`, has every
//! entry that was whole under its id, and names the others as lost. The original is never changed.

use ironwal::SyncMode;
use ironwal::inspect::{Kind, Measure, dump, plan_repair, repair};

use super::*;
use crate::hooked::Hooked;
use crate::journal::{journal, segment};
use crate::rot::faults::places;

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
pub(super) struct Tally {
    pub(super) whole: usize,
    pub(super) lost: usize,
    pub(super) impossible: usize,
}

/// Repairs what is damaged, and holds it against what it was before, and what could be read of it.
pub(super) fn judge(clean: &Seen, disk: &SimDisk, what: &str, tally: &mut Tally) {
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

/// The newest segment is gone, and the journal still has everything that was in it.
#[test]
fn what_only_the_journal_has_is_kept() {
    let disk = journaled();
    let clean = lenient(&disk);
    let of_a = |path: &PathBuf| path.parent().unwrap().ends_with("a");
    let newest = disk.files().into_iter().rfind(of_a).unwrap();
    assert_ne!(newest, segment("a", 0));
    disk.remove(&newest).unwrap();
    let told = problems(&look(&disk));
    assert!(told.contains(&Problem::JournalSegmentMissing), "{told:?}");
    try_repair(&disk).unwrap();
    assert_eq!(repaired(&disk).entries, clean.entries);
}

fn aside(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = Path::new(REPAIRED).join(".damaged");
    let aside: BTreeMap<_, _> =
        files(disk).into_iter().filter(|(path, _)| path.starts_with(&dir)).collect();
    assert!(!aside.is_empty());
    aside
}

/// Nothing of the log was ever synced, so nothing proves that a segment which has lost its header, its
/// seal and its last frames went up to the next one. Those behind it stay all the same.
#[test]
fn segments_behind_a_lost_header_stay() {
    let disk = SimDisk::new(1);
    let mode = SyncMode::Async;
    let options = WalOptions { sync_mode: mode, max_segment_size: 600, ..WalOptions::new(ROOT) };
    let wal = open(&disk, &options).unwrap();
    for nth in 0..40_u8 {
        wal.append("s", &[nth; 60]).unwrap();
    }
    disk.kill();
    drop(wal);
    let clean = lenient(&disk);
    let of_s = |path: &PathBuf| path.parent().unwrap().ends_with("s");
    let paths: Vec<PathBuf> = disk.files().into_iter().filter(of_s).collect();
    let mut tally = Tally::default();
    for path in &paths[..paths.len() - 1] {
        let damaged = disk.snapshot();
        let len = damaged.contents(path).unwrap().len();
        damaged.overwrite(path, 0, &[0xEE; 8192]).unwrap();
        damaged.overwrite(path, len as u64 - 250, &[0xEE; 250]).unwrap();
        judge(&clean, &damaged, &path.display().to_string(), &mut tally);
        let behind = repaired(&damaged).entries.len();
        assert!(behind > 30, "{}: {behind} entries", path.display());
    }
    assert!(tally.lost > 2, "{tally:?}");
}

/// What is kept of a damaged batch counts in what the segment says of itself when it is full.
#[test]
fn a_repaired_log_goes_on() {
    let disk = golden_disk("pieces");
    let clean = lenient(&disk);
    // Somewhere in the data of the first batch.
    disk.overwrite(&segment("ledger", 0), 8224 + 3000, &[0xEE]).unwrap();
    let report = try_repair(&disk).unwrap();
    let kept = repaired(&disk).entries.len();
    assert!((clean.entries.len() - 5..clean.entries.len()).contains(&kept), "{kept}");
    let wal = open(&disk, &WalOptions::new(REPAIRED)).unwrap();
    let stream = wal.stream("ledger").unwrap();
    assert_eq!(stream.append(b"next").unwrap(), clean.ends["ledger"]);
    stream.rotate().unwrap();
    stream.append(b"and on").unwrap();
    wal.close().unwrap();
    let options = VerifyOptions::default();
    let after = verify(&on(&disk), Path::new(REPAIRED), &options, &|_| {}).unwrap();
    assert_eq!(after.findings, report.findings);

    let path = Path::new(REPAIRED).join("ledger/00000000000000000000.wal");
    let structures: Vec<_> = dump(&on(&disk), &path).unwrap().map(Result::unwrap).collect();
    let frames = structures.iter().filter(|it| it.kind == Kind::Frame);
    let digest = frames.fold(0, |digest, frame| {
        crc32c::crc32c_append(digest, &frame.stored.unwrap().to_le_bytes())
    });
    let seal = structures.last().unwrap();
    assert_eq!(seal.kind, Kind::Seal);
    assert!(seal.fields.contains(&("digest", digest.into())), "{digest:#x}: {seal:?}");
}

/// Many faults at once: what is left is what is whole.
#[test]
fn a_repair_that_returned_survives_power_loss() {
    let disk = golden_disk("closed");
    let of_ledger = |path: &PathBuf| path.parent().unwrap().ends_with("ledger");
    let paths: Vec<PathBuf> = disk.files().into_iter().filter(of_ledger).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    disk.overwrite(&paths[0], 0, &[0xEE; 8192]).unwrap();
    disk.overwrite(&paths[1], 8192 + 30, &[0xEE]).unwrap();
    disk.remove(&paths[2]).unwrap();
    let whole = disk.snapshot();
    let expected = try_repair(&whole).unwrap();
    assert_eq!(problems(&expected), [Problem::MarkedLost; 2], "{:#?}", expected.findings);
    for seed in 0..30 {
        let disk = disk.snapshot();
        disk.reseed(seed);
        disk.configure(|config| (config.eviction, config.write_back) = (0.0, 0.0));
        try_repair(&disk).unwrap();
        disk.crash();
        let options = VerifyOptions::default();
        let report = verify(&on(&disk), Path::new(REPAIRED), &options, &|_| {}).unwrap();
        assert_eq!(report, expected, "seed {seed}");
        assert_eq!(repaired(&disk), repaired(&whole), "seed {seed}");
        assert_eq!(aside(&disk), aside(&whole), "seed {seed}");
    }
}

/// The newest segment is gone, and of the one before only the name is left. Its header was made again before
/// it was known that another segment follows, so it ended at its first id, and the marks for what
/// was in it came into a segment that would have had its name. `several` found it with seed 2891.
#[test]
fn a_segment_of_which_only_the_name_is_left_takes_the_marks() {
    let disk = journaled();
    let clean = lenient(&disk);
    disk.replace(&segment("a", 12), &[0xEE; 7095]).unwrap();
    disk.remove(&segment("a", 18)).unwrap();
    let mut tally = Tally::default();
    judge(&clean, &disk, "no segment 18, and of 12 the name", &mut tally);
    assert_eq!(repaired(&disk).ends, clean.ends);
}

/// Of a segment in the middle, there is a header, and not one byte of a frame, and the next one does not say
/// any more where it ended. The marks go there, for a segment that is made for them would have its name.
/// Fuzzing found it (`inspect`).
#[test]
fn a_segment_of_which_no_frame_is_left_takes_the_marks() {
    let disk = journaled();
    let clean = lenient(&disk);
    let paths = files(&disk).into_keys().filter(|path| path.starts_with("/log/a"));
    let paths: Vec<_> = paths.collect();
    let mut header = disk.contents(&paths[1]).unwrap()[..8192].to_vec();
    // The slot that was written when the segment was sealed.
    header[4096..].fill(0xEE);
    disk.replace(&paths[1], &header).unwrap();
    disk.replace(&paths[2], &[0xEE; 9000]).unwrap();
    disk.remove(&journal(0)).unwrap();
    let mut tally = Tally::default();
    judge(&clean, &disk, "no frame is left of a segment", &mut tally);
    assert_eq!((tally.lost, repaired(&disk).ends), (1, clean.ends));
}

/// The segment in which a stream was cut is missing. What is before it may be what was cut off: reads do not
/// trust it, and no more does a repair. Fuzzing found that `verify` did (`inspect`).
#[test]
fn what_may_have_been_cut_off_stays_lost() {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_segment_size: 128, ..WalOptions::new(ROOT) };
    let wal = open(&disk, &options).unwrap();
    for nth in 0..8_u8 {
        wal.append("s", &[nth; 16]).unwrap();
    }
    wal.stream("s").unwrap().truncate_after(Some(4)).unwrap();
    for nth in 105..108_u8 {
        wal.append("s", &[nth; 16]).unwrap();
    }
    wal.close().unwrap();
    let clean = lenient(&disk);
    disk.remove(&segment("s", 3)).unwrap();
    let report = look(&disk);
    assert_eq!(problems(&report), [Problem::BeforeCut], "{:#?}", report.findings);
    assert_eq!((report.findings[0].ids.clone(), report.entries), (0..6, 2));
    let mut tally = Tally::default();
    judge(&clean, &disk, "the segment of a cut is missing", &mut tally);
    assert_eq!(repaired(&disk).damaged.len(), 6);
    let kept = Path::new(REPAIRED).join(".damaged/s=00000000000000000000.wal.0");
    assert_eq!(aside(&disk).get(&kept), Some(&disk.contents(&segment("s", 0)).unwrap()));
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
