//! Roots that are not what the log expects.

use std::fs;
use std::os::unix::fs::symlink;

use ironwal::{Error, SyncMode, Wal};

use super::{assert_names, entry, options};

fn open(root: &std::path::Path) -> Result<Wal, Error> {
    Wal::new(options(root, SyncMode::Strict))
}

#[test]
fn a_root_that_is_a_file_is_an_error_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("file");
    fs::write(&root, b"somebody's").unwrap();
    for root in [root.clone(), root.join("below")] {
        assert_names(&open(&root).unwrap_err(), &root);
        let error = Wal::open_read_only(options(&root, SyncMode::Strict)).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
    assert_eq!(fs::read(&root).unwrap(), b"somebody's");
}

#[test]
fn missing_parents_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b/c/log");
    let wal = open(&root).unwrap();
    wal.append("s", &entry(0)).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&root).unwrap().get("s", 0).unwrap(), Some(entry(0)));
}

#[test]
fn a_root_has_one_writer_whatever_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let (root, link) = (dir.path().join("log"), dir.path().join("link"));
    fs::create_dir(&root).unwrap();
    symlink(&root, &link).unwrap();
    for (first, second) in [(&link, &root), (&root, &link)] {
        let wal = open(first).unwrap();
        let begin = wal.stream("s").unwrap().next_id();
        for id in begin..begin + 30 {
            assert_eq!(wal.append("s", &entry(id)).unwrap(), id);
        }
        let error = open(second).unwrap_err();
        assert!(matches!(&error, Error::Locked(path) if path == second), "{error}");
        wal.close().unwrap();
    }
    let wal = open(&root).unwrap();
    let entries: Vec<_> = wal.iter("s", 0).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(entries, (0..60).map(entry).collect::<Vec<_>>());
}

#[test]
fn a_link_that_leads_nowhere_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    symlink(dir.path().join("nowhere"), &link).unwrap();
    assert_names(&open(&link).unwrap_err(), &link);
    assert!(!dir.path().join("nowhere").exists());
}

/// Directories in the places of files.
#[test]
fn what_cannot_be_a_file_of_the_log_is_an_error() {
    for name in [".ironwal", ".ironwal.lock"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(name)).unwrap();
        assert_names(&open(dir.path()).unwrap_err(), &dir.path().join(name));
        fs::remove_dir(dir.path().join(name)).unwrap();
        open(dir.path()).unwrap().append("s", b"now").unwrap();
    }
}
