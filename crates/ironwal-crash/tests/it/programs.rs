//! The enumerator itself, on small programs that write files by hand: what is wrong is found under
//! the models that allow it, and what is right is not blamed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ironwal::storage::{File, OpenMode, SECTOR_LEN, Storage};
use ironwal_crash::{CrashTest, Failure, Model, Outcome, Run, Violation};

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"new";

fn create(storage: &dyn Storage, path: &str, content: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = storage.open(Path::new(path), OpenMode::Create)?;
    file.write_at(content, 0)?;
    Ok(file)
}

fn contents(storage: &dyn Storage, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(Path::new(path), OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut content = vec![0; usize::try_from(file.len()?).unwrap()];
    assert_eq!(file.read_at(&mut content, 0)?, content.len());
    Ok(Some(content))
}

/// Under each model, whether a violation is found.
fn found(
    workload: impl Fn(&Run<&'static str>) -> Outcome,
    check: impl Fn(&Run<&'static str>) -> Outcome,
) -> Vec<Model> {
    let is_found = |model: &Model| {
        let test = CrashTest::new("program").models(&[*model]);
        match test.run(&workload, &check) {
            Ok(_) => false,
            Err(Failure::Violation(violation)) => {
                replays(&test, &violation, &workload, &check);
                true
            }
            Err(other) => panic!("{other}"),
        }
    };
    Model::ALL.into_iter().filter(is_found).collect()
}

/// What is reported can be built again from its text, and says the same.
fn replays(
    test: &CrashTest,
    violation: &Violation,
    workload: impl Fn(&Run<&'static str>) -> Outcome,
    check: impl Fn(&Run<&'static str>) -> Outcome,
) {
    let trail = violation.trail.to_string().parse().unwrap();
    let again = test.replay(&trail, workload, check).unwrap_err();
    assert_eq!(again, Failure::Violation(Box::new(violation.clone())));
    assert!(violation.to_string().contains(&violation.trail.to_string()), "{violation}");
}

/// A file that is to hold the old or the new content, and the new one once that was said.
fn replaced(run: &Run<&'static str>) -> Outcome {
    let content = contents(&*run.storage(), "/file")?;
    let marks = run.marks();
    let is_new = content.as_deref() == Some(NEW);
    let is_old = content.as_deref() == Some(OLD);
    if is_new || (is_old || marks.is_empty()) && !marks.contains(&"new") {
        return Ok(());
    }
    Err(format!("{content:?} after {marks:?}").into())
}

fn replacing(syncs_file: bool, syncs_dir: bool) -> impl Fn(&Run<&'static str>) -> Outcome {
    move |run| {
        let storage = run.storage();
        create(&*storage, "/file", OLD)?.sync()?;
        storage.sync_dir(Path::new("/"))?;
        run.mark("old");
        let file = create(&*storage, "/file.tmp", NEW)?;
        if syncs_file {
            file.sync()?;
        }
        storage.rename(Path::new("/file.tmp"), Path::new("/file"))?;
        if syncs_dir {
            storage.sync_dir(Path::new("/"))?;
            run.mark("new");
        }
        Ok(())
    }
}

#[test]
fn a_file_that_is_replaced_as_it_should_be() {
    assert_eq!(found(replacing(true, true), replaced), []);
}

/// ext4 forces the data out before a rename over a file; XFS does not, nor does POSIX say so.
#[test]
fn a_file_that_is_renamed_without_a_sync() {
    assert_eq!(found(replacing(false, false), replaced), [Model::Posix, Model::Xfs]);
    assert_eq!(found(replacing(false, true), replaced), [Model::Posix, Model::Xfs]);
}

#[test]
fn a_rename_that_is_not_synced() {
    let workload = |run: &Run<&'static str>| {
        replacing(true, false)(run)?;
        run.mark("new");
        Ok(())
    };
    assert_eq!(found(workload, replaced), Model::ALL);
}

/// Two files are created in this order: POSIX does not promise it, a file system with a journal does.
#[test]
fn the_order_of_two_creations() {
    let workload = |run: &Run<&'static str>| {
        create(&*run.storage(), "/first", b"")?;
        create(&*run.storage(), "/second", b"")?;
        Ok(())
    };
    let check = |run: &Run<&'static str>| {
        let there = |path| contents(&*run.storage(), path).map(|content| content.is_some());
        match (there("/first")?, there("/second")?) {
            (false, true) => Err("the second without the first".into()),
            _ => Ok(()),
        }
    };
    assert_eq!(found(workload, check), [Model::Posix]);
}

/// A length may be there before its data under POSIX only; sectors of one file in any order under all.
#[test]
fn lengths_and_data() {
    let grow = |run: &Run<&'static str>| {
        let file = create(&*run.storage(), "/file", b"")?;
        file.sync()?;
        run.storage().sync_dir(Path::new("/"))?;
        file.write_at(&[b'x'; 2 * SECTOR_LEN], 0)?;
        Ok(())
    };
    let no_zeros = |run: &Run<&'static str>| {
        let content = contents(&*run.storage(), "/file")?.unwrap_or_default();
        if content.contains(&0) { Err("zeros within the length".into()) } else { Ok(()) }
    };
    assert_eq!(found(grow, no_zeros), [Model::Posix]);
    let overwrite = |run: &Run<&'static str>| {
        let file = create(&*run.storage(), "/file", &[b'o'; 2 * SECTOR_LEN])?;
        file.sync()?;
        run.storage().sync_dir(Path::new("/"))?;
        file.write_at(&[b'n'; 2 * SECTOR_LEN], 0)?;
        Ok(())
    };
    let in_order = |run: &Run<&'static str>| {
        let content = contents(&*run.storage(), "/file")?.unwrap_or_default();
        let is_late = content.first() == Some(&b'o') && content.last() == Some(&b'n');
        if is_late { Err("the second sector without the first".into()) } else { Ok(()) }
    };
    assert_eq!(found(overwrite, in_order), Model::ALL);
}

/// All subsets of the sectors of one write, three tears of each, and every length: all of them, each
/// once, and nothing else.
#[test]
fn one_write_leaves_what_it_may_leave() {
    let states = Mutex::new(BTreeSet::new());
    let workload = |run: &Run<&'static str>| {
        let file = create(&*run.storage(), "/file", &[b'o'; 3 * SECTOR_LEN])?;
        file.sync()?;
        run.storage().sync_dir(Path::new("/"))?;
        run.mark("old");
        file.write_at(&[b'n'; 3 * SECTOR_LEN], 0)?;
        Ok(())
    };
    let check = |run: &Run<&'static str>| {
        let content = contents(&*run.storage(), "/file")?.unwrap_or_default();
        if run.marks() == ["old"] {
            let kinds = content.chunks(SECTOR_LEN).map(|sector| {
                let new = sector.iter().filter(|byte| **byte == b'n').count();
                match new {
                    0 => 'o',
                    SECTOR_LEN => 'n',
                    1 | 256 | 511 => 't',
                    _ => '?',
                }
            });
            states.lock().unwrap().insert((kinds.collect::<String>(), content));
        }
        Ok(())
    };
    CrashTest::new("write").models(&[Model::Posix]).recoveries(0).run(workload, check).unwrap();
    let states = states.into_inner().unwrap();
    let count = |kind: &dyn Fn(&str) -> bool| states.iter().filter(|it| kind(&it.0)).count();
    assert_eq!(count(&|it| !it.contains('t') && !it.contains('?')), 8);
    assert_eq!(count(&|it| it.contains('?')), 0);
    // Each of three sectors is torn at three places from either side, with the others in 4 states.
    assert_eq!(count(&|it| it.contains('t')), 3 * 6 * 4);
    assert!(states.iter().all(|it| it.0.len() == 3));
}

/// What recovery writes is crashed as well: this one moves a file away before the new one is durable.
#[test]
fn a_recovery_that_a_crash_makes_worse() {
    let workload = |run: &Run<&'static str>| {
        create(&*run.storage(), "/file", OLD)?.sync()?;
        run.storage().sync_dir(Path::new("/"))?;
        run.mark("old");
        Ok(())
    };
    let check = |run: &Run<&'static str>| {
        let storage = run.storage();
        let content = contents(&*storage, "/file")?;
        if run.marks().contains(&"old") && content.as_deref() != Some(OLD) {
            return Err(format!("{content:?}").into());
        }
        if content.is_some() {
            storage.remove_file(Path::new("/file"))?;
            create(&*storage, "/file", OLD)?.sync()?;
            storage.sync_dir(Path::new("/"))?;
        }
        Ok(())
    };
    assert_eq!(found(workload, check), Model::ALL);
    let test = CrashTest::new("once").recoveries(0);
    assert!(test.run(workload, check).is_ok(), "one crash alone does not show it");
}

#[test]
fn a_failing_or_panicking_program_is_reported() {
    let test = CrashTest::new("bad");
    let fails = test.run(|_: &Run<u8>| Err("no".into()), |_| Ok(()));
    assert!(matches!(fails, Err(Failure::Workload { reason, .. }) if reason == "no"));
    let panics = test.run(|_: &Run<u8>| Ok(()), |_| panic!("oh"));
    assert!(matches!(panics, Err(Failure::Violation(it)) if it.reason == "panicked: oh"));
}

/// What is reported is as small as it can be: of twelve sectors, the one that matters.
#[test]
fn a_violation_is_shrunk() {
    let workload = |run: &Run<u8>| {
        let file = create(&*run.storage(), "/file", &[b'o'; 12 * SECTOR_LEN])?;
        file.sync()?;
        run.storage().sync_dir(Path::new("/"))?;
        file.write_at(&[b'n'; 12 * SECTOR_LEN], 0)?;
        run.mark(1);
        Ok(())
    };
    let check = |run: &Run<u8>| {
        let content = contents(&*run.storage(), "/file")?.unwrap_or_default();
        let is_lost = run.marks() == [1] && content[7 * SECTOR_LEN] == b'o';
        if is_lost { Err("the eighth sector is lost".into()) } else { Ok(()) }
    };
    let test = CrashTest::new("shrinking").models(&[Model::Posix]);
    let Err(Failure::Violation(violation)) = test.run(workload, check) else {
        panic!("nothing found");
    };
    assert_eq!(violation.trail.to_string(), "posix:6[7=1]");
    assert!(violation.to_string().contains("the sector at 3584 of /file"), "{violation}");
}
