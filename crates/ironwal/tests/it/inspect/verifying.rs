//! Directories that nothing is wrong with, and single faults that are told by their names.

use std::sync::Mutex;

use ironwal::SyncMode;
use ironwal::inspect::{Progress, plan_repair};

use super::*;
use crate::journal::{journal, segment};

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for kind in KINDS {
        let report = look(&golden_disk(kind));
        let expected: &[Problem] = match *kind {
            "journal-lost" => &[Problem::MarkedLost, Problem::MarkedLost],
            "damaged" => &[Problem::NoFrame],
            "pruned" => &[Problem::Leftover],
            _ => &[],
        };
        let told = problems(&report);
        assert!(told == expected, "{kind}: {:#?}", report.findings);
        assert_eq!(report.is_whole(), *kind != "damaged", "{kind}");
        assert!(report.streams > 0 && report.segments > 0 && report.entries > 0, "{kind}");
    }
}

#[test]
fn so_many_threads_find_the_same_in_the_same_order() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        for (path, content) in files(&disk) {
            let Some(at) = content.iter().rposition(|byte| *byte != 0) else { continue };
            disk.overwrite(&path, at as u64, &[!content[at]]).unwrap();
        }
        let one = look_with(&disk, 1);
        for threads in [0, 2, 7] {
            assert_eq!(look_with(&disk, threads), one, "{kind}");
        }
        let sorted = one
            .findings
            .windows(2)
            .all(|two| (&two[0].file, two[0].offset) <= (&two[1].file, two[1].offset));
        assert!(sorted, "{:#?}", one.findings);
    }
}

#[test]
fn progress_comes_to_its_end() {
    let disk = golden_disk("closed");
    let told: Mutex<Vec<Progress>> = Mutex::default();
    let tell = |progress| told.lock().unwrap().push(progress);
    let report = verify(&on(&disk), Path::new(ROOT), &VerifyOptions::default(), &tell).unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.len() as u64, report.segments);
    let last = told.last().unwrap();
    assert_eq!((last.bytes_done, last.bytes_total), (report.bytes, report.bytes));
    assert!(told.windows(2).all(|two| two[0].bytes_done < two[1].bytes_done));
}

#[test]
fn a_finding_says_what_where_and_what_to_do() {
    let disk = golden_disk("closed");
    // The fifth frame, of an entry of four bytes.
    disk.overwrite(&segment("ledger", 0), 8192 + 24 + 3 * 32 + 24, &[0xEE]).unwrap();
    let report = look(&disk);
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    let (expected, found) = (finding.expected.unwrap(), finding.found.unwrap());
    assert_eq!(
        finding.to_string(),
        format!(
            "damage: {} at {}..{}: the checksum does not match (expected {expected:#010x}, found \
             {found:#010x}); stream \"ledger\", entries {}..{}; restore them from a backup, or repair a \
             copy to go on without them",
            segment("ledger", 0).display(),
            finding.offset,
            finding.offset + finding.len,
            finding.ids.start,
            finding.ids.end,
        )
    );
}

#[test]
fn what_is_not_ours_and_what_is_left_over() {
    let disk = golden_disk("closed");
    for name in ["notes.txt", "lost found/x", ".hidden", "ledger/readme"] {
        disk.replace(&Path::new(ROOT).join(name), b"mine").unwrap();
    }
    for name in
        [".ironwal.tmp", ".journal.0.tmp", "ledger/.next.tmp", ".deleted.7/x", "new/.next.tmp"]
    {
        disk.replace(&Path::new(ROOT).join(name), b"").unwrap();
    }
    let report = look(&disk);
    let of = |problem| -> Vec<String> {
        let found = report.findings.iter().filter(|finding| finding.problem == problem);
        found.map(|it| it.file.strip_prefix(ROOT).unwrap().display().to_string()).collect()
    };
    assert_eq!(of(Problem::Stranger), [".hidden", "ledger/readme", "lost found", "notes.txt"]);
    let leftovers = [".deleted.7", ".ironwal.tmp", ".journal.0.tmp", "ledger/.next.tmp"];
    assert_eq!(of(Problem::Leftover), leftovers);
    assert_eq!(of(Problem::NoSegments), ["new"]);
    assert!(report.is_whole() && report.findings.len() == 9, "{:#?}", report.findings);
    assert_eq!(report.worst(), Some(Severity::Leftover));
}

/// What the segment alone holds is damaged, below what the journal holds, too. The journal has lost nothing.
#[test]
fn damage_below_a_share_is_not_blamed_on_the_journal() {
    let disk = SimDisk::new(1);
    let options = WalOptions {
        sync_mode: SyncMode::BatchOnly,
        max_segment_size: 4000,
        ..WalOptions::new(ROOT)
    };
    let setup = Setup {
        journal: Journal::On,
        journal_len_max: 1024 * 1024,
        write_strategy: WriteStrategy::Auto,
        sync_ms: 0,
    };
    let wal = open_with_setup(on(&disk), &options, setup, || Duration::ZERO).unwrap();
    wal.append("a", b"alone").unwrap();
    wal.append("a", b"alone").unwrap();
    let mut batch = wal.batch();
    batch.append("a", b"shared");
    batch.append("b", b"shared");
    batch.commit().unwrap();
    disk.kill();
    disk.overwrite(&segment("a", 0), 8192 + 24, &[0xEE]).unwrap();
    let report = look(&disk);
    assert_eq!(problems(&report), [Problem::Checksum], "{:#?}", report.findings);
    assert_eq!(report.findings[0].ids, 0..1);
}

#[test]
fn newer_versions_are_no_damage() {
    for (file, offsets) in
        [(Path::new(ROOT).join(".ironwal"), vec![8, 4104]), (segment("ledger", 0), vec![8, 4104])]
    {
        let disk = golden_disk("killed");
        // The newest segment has no seal that would repeat the header.
        let file = if file.ends_with(".ironwal") { file } else { newest(&disk) };
        offsets.iter().for_each(|at| disk.overwrite(&file, *at, &[2]).unwrap());
        let report = look(&disk);
        assert!(problems(&report).contains(&Problem::NewerVersion(2)), "{:#?}", report.findings);
        assert!(!report.is_whole());
        assert_eq!(report.worst(), Some(Severity::Newer), "{:#?}", report.findings);
    }
}

fn newest(disk: &SimDisk) -> PathBuf {
    disk.files().into_iter().rfind(|path| path.extension().is_some_and(|it| it == "wal")).unwrap()
}

#[test]
fn there_is_no_log_or_one_of_0_6() {
    let disk = SimDisk::new(1);
    let verify = |disk: &SimDisk| {
        verify(&on(disk), Path::new(ROOT), &VerifyOptions::default(), &|_| {}).unwrap_err()
    };
    let missing =
        |error| matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound);
    assert!(missing(verify(&disk)));
    disk.replace(&Path::new(ROOT).join("notes.txt"), b"mine").unwrap();
    assert!(missing(verify(&disk)));
    disk.replace(&Path::new(ROOT).join("s/segments.idx"), b"old").unwrap();
    assert!(matches!(verify(&disk), Error::LegacyDirectory(_)));
}

/// Without the root file, everything can still be checked: each header says the salt.
#[test]
fn frames_are_checked_without_the_root_file() {
    let disk = golden_disk("damaged");
    disk.remove(&Path::new(ROOT).join(".ironwal")).unwrap();
    assert_eq!(problems(&look(&disk)), [Problem::RootLost, Problem::NoFrame]);
}

/// The rot is in the file, and the journal has the same bytes: nothing is lost.
#[test]
fn what_the_journal_has_is_not_lost() {
    let disk = golden_disk("journal");
    disk.overwrite(&segment("a", 0), 8192, &[0xEE; 100]).unwrap();
    let report = look(&disk);
    assert!(report.is_whole(), "{:#?}", report.findings);
    // And what the journal has not, the segments do not either.
    disk.overwrite(&journal(0), 8192 + 100, &[0xEE; 40]).unwrap();
    let report = look(&disk);
    let lost = bad(&report);
    assert!(lost.iter().all(|finding| finding.problem == Problem::LostWithJournal), "{lost:#?}");
    assert_eq!(lost.len(), 2, "{lost:#?}");
}

/// What opening refuses is told, and nothing is made of it.
#[test]
fn a_copy_of_a_stream_is_told() {
    let disk = golden_disk("closed");
    let streams = look(&disk).streams;
    for (path, content) in files(&disk) {
        if let Ok(inside) = path.strip_prefix("/log/ledger") {
            disk.replace(&Path::new("/log/other").join(inside), &content).unwrap();
        }
    }
    let report = look(&disk);
    assert_eq!((problems(&report), report.streams), (vec![Problem::StreamCopied], streams + 1));
    let finding = &report.findings[0];
    assert_eq!((&*finding.file, finding.stream.as_deref()), ("/log/other".as_ref(), Some("other")));
    assert!(strictly(&disk).refused && lenient(&disk).refused);
    let plan = plan_repair(&on(&disk), Path::new(ROOT)).unwrap();
    assert_eq!(plan.obstacles().collect::<Vec<_>>(), [finding]);
}

/// Changes bytes of the first frame, which has 32, of a segment that begins with id 0, and its checksum.
fn forge(disk: &SimDisk, path: &Path, at: usize, new: &[u8]) {
    let bytes = disk.contents(path).unwrap();
    let mut frame = bytes[8192..8192 + 32].to_vec();
    frame[at..at + new.len()].copy_from_slice(new);
    // Salt and number are in the header.
    let place = [&bytes[16..32], &0_u64.to_le_bytes(), &8192_u64.to_le_bytes()].concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&place), &frame[4..]);
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
    disk.overwrite(path, 8192, &frame).unwrap();
}

/// Those that can be read, though the segment holds some that are pruned.
#[test]
fn what_is_pruned_is_not_counted() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &WalOptions::new(ROOT)).unwrap();
    wal.append("s", b"one").unwrap();
    wal.append_batch("s", &[b"two", b"three", b"four"]).unwrap();
    wal.append("s", b"five").unwrap();
    for (first_id, entries) in [(1, 4), (2, 3), (4, 1), (5, 0)] {
        wal.stream("s").unwrap().truncate_before(first_id).unwrap();
        assert_eq!(look(&disk).entries, entries, "{first_id}");
    }
}

/// A part of a full segment is of an older version: everything is whole, and it is not what was sealed.
#[test]
fn a_frame_that_was_not_sealed_is_told() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &WalOptions::new(ROOT)).unwrap();
    wal.append("s", b"four").unwrap();
    wal.append("s", b"more").unwrap();
    wal.stream("s").unwrap().rotate().unwrap();
    wal.append("s", b"last").unwrap();
    wal.close().unwrap();
    assert_eq!(problems(&look(&disk)), []);
    forge(&disk, &segment("s", 0), 24, b"FOUR");
    assert_eq!(lenient(&disk).entries[&("s".to_string(), 0)], b"FOUR");
    assert_eq!(problems(&look(&disk)), [Problem::Digest]);
}

/// The checksum matches, and the table of the batch says that an entry ends behind the data.
#[test]
fn a_table_that_contradicts_itself_is_damage() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &WalOptions::new(ROOT)).unwrap();
    wal.append_batch("s", &[b"a", b"bc"]).unwrap();
    wal.close().unwrap();
    forge(&disk, &segment("s", 0), 24, &9_u32.to_le_bytes());
    let report = look(&disk);
    assert_eq!(problems(&report), [Problem::Table], "{:#?}", report.findings);
    assert_eq!((report.findings[0].ids.clone(), report.entries), (0..2, 0));
}

/// What nobody has synced may be torn, and is no damage.
#[test]
fn a_torn_tail_is_no_damage() {
    let disk = SimDisk::new(1);
    let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(ROOT) };
    let wal = open(&disk, &options).unwrap();
    for nth in 0..10 {
        wal.append("s", &[nth; 50]).unwrap();
    }
    disk.kill();
    disk.overwrite(&segment("s", 0), 8192 + 5 * 80 + 30, &[0xEE]).unwrap();
    let report = look(&disk);
    assert_eq!(problems(&report), [Problem::TornTail]);
    assert_eq!((report.findings[0].offset, report.entries), (8192 + 5 * 80, 5));
    drop(wal);
}
