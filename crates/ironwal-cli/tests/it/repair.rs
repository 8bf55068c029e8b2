//! `repair` makes a repaired copy, and never changes what it repairs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironwal::inspect::{Kind, dump};
use ironwal::storage::{RealDisk, Storage};
use ironwal::{Wal, WalOptions};

use crate::logs::{flip, full_segments, large, of, orders, segment};
use crate::program::{Ran, cat, content, run, run_with_short_files};
use crate::verify::verify;

fn repair(dir: &Path, options: &[&str]) -> Ran {
    let (log, to) = (dir.join("log"), dir.join("repaired"));
    let mut args = vec!["repair", log.to_str().unwrap(), "--to", to.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn the_plan_comes_first_and_nothing_is_done_without_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    flip(&segment(&log, "orders", 0), 8224 + 24);
    let before = content(dir.path());
    let ran = repair(dir.path(), &[]);
    ran.fails(2, &["ironwal: nothing was changed", "give --yes"]);
    assert_eq!(
        of(dir.path(), &ran),
        "to repair DIR/log to DIR/repaired:\n  \
         mark the entries as lost (damage: DIR/log/orders/00000000000000000000.wal at 8224..8256: the \
         checksum does not match (expected 0x82d76ea0, found 0xcbeb1387); stream \"orders\", entries \
         1..2; restore them from a backup, or repair a copy to go on without them)\n\
         kept: 2 entries of 1 stream, in 1 segment of 8,288 bytes\n\
         lost at most: entries 1..2 of stream \"orders\"\n\
         kept aside: 32 bytes of orders/00000000000000000000.wal at 8224, in DIR/repaired/.damaged\n"
    );
    let ran = repair(dir.path(), &["--json"]);
    ran.fails(2, &["give --yes"]);
    let printed = of(dir.path(), &ran);
    let (action, plan) = printed.split_once('\n').unwrap();
    assert!(action.starts_with(
        "{\"type\":\"action\",\"measure\":\"mark-lost\",\"kept_aside\":true,\"severity\":\"damage\",\
         \"problem\":\"checksum\",\"file\":\"DIR/log/orders/00000000000000000000.wal\",\
         \"offset\":8224,\"len\":32,\"stream\":\"orders\",\"ids\":{\"start\":1,\"end\":2},"
    ));
    assert_eq!(
        plan,
        "{\"type\":\"plan\",\"to\":\"DIR/repaired\",\"needed\":true,\"possible\":true,\
         \"streams\":1,\"entries\":2,\"kept_aside_in\":\"DIR/repaired/.damaged\"}\n"
    );
    assert!(content(dir.path()) == before);
}

#[test]
fn a_repaired_copy_is_whole_and_names_what_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    flip(&segment(&log, "orders", 0), 8224 + 24);
    let before = content(&log);
    let ran = repair(dir.path(), &["--yes"]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{ran:?}");
    let printed = of(dir.path(), &ran);
    let (_, result) = printed.split_once("in DIR/repaired/.damaged\n").unwrap();
    assert_eq!(
        result,
        "repaired: DIR/repaired is whole: 2 entries of 1 stream, in 1 segment of 8,288 bytes\n\
         lost: DIR/repaired/orders/00000000000000000000.wal at 8224..8256: entries are lost, and \
         marked as that; stream \"orders\", entries 1..2; restore them from a backup, if you have \
         them\n"
    );
    assert!(content(&log) == before);

    let copy = dir.path().join("repaired");
    assert_eq!(verify(&copy, &[]).code, 0);
    let ran = cat(&copy, "orders", &["--ids"]);
    ran.fails(1, &["Damaged entries 1..2"]);
    assert_eq!(ran.text(), "0\ttea\n2\tcake\n");
    let aside = copy.join(".damaged/orders=00000000000000000000.wal.8224");
    let damaged = &before[&segment(&log, "orders", 0)];
    assert_eq!(std::fs::read(aside).unwrap(), damaged[8224..8256]);
}

#[test]
fn json_ends_with_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    flip(&segment(&log, "orders", 0), 8224 + 24);
    let printed = String::from_utf8(repair(dir.path(), &["--yes", "--json"]).quiet()).unwrap();
    let types: Vec<_> = printed.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(types, ["action", "plan", "finding", "repaired"]);
    assert_eq!(
        printed.lines().last().unwrap(),
        "{\"type\":\"repaired\",\"whole\":true,\"open\":false,\"streams\":1,\"segments\":1,\
         \"entries\":2,\"bytes\":8288,\"findings\":{\"lost\":1}}"
    );
}

#[test]
fn what_is_whole_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    orders(&dir.path().join("log"));
    let ran = repair(dir.path(), &["--yes"]);
    assert_eq!((ran.code, &*ran.err), (0, "there is nothing to repair, and no copy was made\n"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Damages a log in one place.
type Fault = fn(&Path);

/// Each kind of byte that there is, and files that are gone.
const FAULTS: &[(&str, Fault)] = &[
    ("both copies of the root file", |log| {
        flip(&log.join(".ironwal"), 20);
        flip(&log.join(".ironwal"), 4096 + 20);
    }),
    ("no root file", |log| std::fs::remove_file(log.join(".ironwal")).unwrap()),
    ("a slot", |log| flip(&segment(log, "s", 0), 30)),
    ("both slots of the newest segment", |log| {
        let newest = newest(log);
        flip(&newest, 30);
        flip(&newest, 4096 + 30);
    }),
    ("the header of a frame", |log| flip(&segment(log, "s", 0), 8192 + 80 + 8)),
    ("the checksum of a frame", |log| flip(&segment(log, "s", 0), 8192 + 80)),
    ("a payload", |log| flip(&segment(log, "s", 0), 8192 + 80 + 30)),
    ("the sparse index", |log| flip_in(&segment(log, "s", 0), Kind::Points, 3)),
    ("the seal", |log| flip_in(&segment(log, "s", 0), Kind::Seal, 40)),
    ("the header of the journal", |log| flip_in(&log.join(".journal.0"), Kind::JournalSlot, 40)),
    ("a segment that is gone", |log| {
        let second = segments(log).remove(1);
        std::fs::remove_file(second).unwrap();
    }),
    ("a segment that is cut short", |log| {
        let file = std::fs::File::options().write(true).open(segment(log, "s", 0)).unwrap();
        file.set_len(8192 + 200).unwrap();
    }),
];

fn segments(log: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(log.join("s")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

fn newest(log: &Path) -> PathBuf {
    segments(log).pop().unwrap()
}

/// Flips a bit in each structure of a kind.
fn flip_in(file: &Path, kind: Kind, at: usize) {
    let disk: Arc<dyn Storage> = Arc::new(RealDisk);
    let structures: Vec<_> = dump(&disk, file).unwrap().map(Result::unwrap).collect();
    let found: Vec<_> = structures.iter().filter(|structure| structure.kind == kind).collect();
    assert!(!found.is_empty(), "no {kind:?} in {}", file.display());
    for structure in found {
        flip(file, usize::try_from(structure.offset).unwrap() + at);
    }
}

/// The entries that can be read, by their ids.
fn entries(log: &Path) -> BTreeMap<u64, Vec<u8>> {
    let wal = Wal::open_read_only(WalOptions::new(log)).unwrap();
    (0..100).filter_map(|id| Some((id, wal.get("s", id).ok()??))).collect()
}

/// Commits to several streams at once, which is what the journal is for.
fn use_journal(log: &Path) {
    let wal = crate::logs::open(WalOptions::new(log));
    let mut batch = wal.batch();
    batch.append("t", b"tea").append("u", b"cake");
    batch.commit().unwrap();
    wal.close().unwrap();
}

#[test]
fn every_fault_is_found_and_what_was_whole_is_kept() {
    for (name, fault) in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        full_segments(&log, 60);
        use_journal(&log);
        let all = entries(&log);
        assert_eq!(all.len(), 60);
        let before = content(&log);
        fault(&log);
        let changed: Vec<PathBuf> = {
            let after = content(&log);
            before
                .into_iter()
                .filter(|(path, bytes)| after.get(path) != Some(bytes))
                .map(|(path, _)| path)
                .collect()
        };
        let found = verify(&log, &["--json"]);
        for path in &changed {
            let file = format!("\"file\":\"{}\"", path.display());
            assert!(found.text().contains(&file), "{name}: {found:?}");
        }
        let damaged = content(&log);
        let ran = repair(dir.path(), &["--yes"]);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert!(content(&log) == damaged, "{name}: the original was changed");
        let copy = dir.path().join("repaired");
        assert_eq!(verify(&copy, &[]).code, 0, "{name}");
        let kept = entries(&copy);
        assert!(kept.iter().all(|(id, entry)| all[id] == *entry), "{name}");
        let lost = all.len() - kept.len();
        let lost_max = match *name {
            "the header of a frame" | "the checksum of a frame" | "a payload" => 1,
            name if name.starts_with("a segment") => 12,
            _ => 0,
        };
        assert!(lost <= lost_max, "{name}: {lost} entries are lost");
    }
}

#[test]
fn what_cannot_be_repaired_says_why() {
    let dir = tempfile::tempdir().unwrap();
    repair(dir.path(), &["--yes"]).fails(1, &["ironwal: there is no log in"]);
    let log = dir.path().join("log");
    full_segments(&log, 30);
    std::fs::remove_file(log.join(".ironwal")).unwrap();
    for segment in segments(&log) {
        let len = std::fs::read(&segment).unwrap().len();
        std::fs::write(&segment, vec![1; len]).unwrap();
    }
    let ran = repair(dir.path(), &["--yes"]);
    ran.fails(1, &["ironwal: cannot repair the log", "restore the log from a backup"]);
    assert!(ran.text().contains("nothing can be done (damage: "), "{ran:?}");
    assert!(!dir.path().join("repaired").exists());
}

#[test]
fn a_log_that_is_open_and_a_copy_that_exists_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    orders(&log);
    flip(&segment(&log, "orders", 0), 8224 + 24);
    let wal = Wal::new(WalOptions::new(&log)).unwrap();
    repair(dir.path(), &["--yes"]).fails(1, &["another process has the log"]);
    wal.close().unwrap();
    drop(wal);
    let copy = dir.path().join("repaired");
    std::fs::write(&copy, b"mine").unwrap();
    repair(dir.path(), &["--yes"]).fails(2, &["exists: choose a directory that does not"]);
    assert_eq!(std::fs::read(&copy).unwrap(), b"mine");
    let inside = log.join("inside");
    let args = ["repair", log.to_str().unwrap(), "--yes", "--to", inside.to_str().unwrap()];
    run(&args).fails(2, &["are not beside each other"]);
    assert_eq!(run(&["repair", log.to_str().unwrap()]).code, 2);
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_original_and_says_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    large(&log);
    flip(&segment(&log, "s", 0), 8192 + 30);
    let before = content(&log);
    let copy = dir.path().join("repaired");
    let args = ["repair", log.to_str().unwrap(), "--to", copy.to_str().unwrap(), "--yes"];
    let ran = run_with_short_files(64, &args);
    ran.fails(1, &["log is as it was; what was copied is in "]);
    ran.fails(1, &[".repaired.ironwal-repair: delete it, or run this again"]);
    assert!(ran.err.starts_with("ironwal: cannot repair the log in "), "{ran:?}");
    assert!(dir.path().join(".repaired.ironwal-repair").exists());
    assert!(!dir.path().join("repaired").exists());
    assert!(content(&log) == before);
    // With room, it begins anew.
    assert_eq!(repair(dir.path(), &["--yes"]).code, 0);
    assert!(!dir.path().join(".repaired.ironwal-repair").exists());
}

/// Ctrl-C comes when the program says to the system that it watches for it, which is when the copy begins.
/// A copy can be faster; then it is tried again.
#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_leaves_the_original_and_says_what_is_left() {
    const ATTEMPTS_MAX: u32 = 20;

    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("repaired"));
    full_segments(&log, 1500);
    flip(&segment(&log, "s", 0), 8192 + 30);
    let before = content(&log);
    for _ in 0..ATTEMPTS_MAX {
        let args = ["repair", log.to_str().unwrap(), "--to", copy.to_str().unwrap(), "--yes"];
        let (code, said) = interrupted(&args);
        assert!(content(&log) == before);
        if code == Some(0) {
            std::fs::remove_dir_all(&copy).unwrap();
            continue;
        }
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("ironwal: interrupted; "), "{said}");
        assert!(said.contains("log is as it was; "), "{said}");
        let left = dir.path().join(".repaired.ironwal-repair").exists();
        assert_eq!(said.contains("what was copied is in "), left, "{said}");
        assert!(!copy.exists());
        return;
    }
    panic!("{ATTEMPTS_MAX} copies were complete before Ctrl-C");
}

/// Runs the program, and interrupts it once it watches for that; returns its exit code, and what it said.
#[cfg(target_os = "linux")]
pub(crate) fn interrupted(args: &[&str]) -> (Option<i32>, String) {
    use std::process::Stdio;

    let child = crate::program::program()
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while watches_for_ctrl_c(child.id()) == Some(false) {
        std::thread::yield_now();
    }
    crate::terminal::interrupt(&child);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Whether the process has a handler for it; `None` if it has ended.
#[cfg(target_os = "linux")]
fn watches_for_ctrl_c(process: u32) -> Option<bool> {
    const SIGINT_BIT: u64 = 1 << 1;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    Some(u64::from_str_radix(caught.trim(), 16).unwrap() & SIGINT_BIT != 0)
}
