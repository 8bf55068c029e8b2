//! A user who may not do what the log needs: errors that name the path, and nothing is lost.
//!
//! Permissions do not bind root. So root starts the test again as another user.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use ironwal::{Error, SyncMode, Wal};

use super::{MODES, assert_names, entry, options};

const CHILD_DIR: &str = "IRONWAL_PERMISSIONS_DIR";

/// The user and the group who owns nothing.
const NOBODY: u32 = 65534;

/// Runs the body of a test in an empty directory, as a user whom permissions bind.
fn as_ordinary_user(test: &str, body: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return body(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        return body(dir.path());
    }
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("real::permissions::{test}"), "--test-threads=1", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    match child {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: this test's program is in a directory that only root may enter");
        }
        child => {
            let child = child.unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(
                child.status.success() && said.contains("1 passed"),
                "{}: {said}{}",
                child.status,
                String::from_utf8_lossy(&child.stderr)
            );
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets the mode of a directory, and that of all files below it.
fn set_modes(dir: &Path, dir_mode: u32, file_mode: u32) {
    set_mode(dir, 0o700);
    for found in fs::read_dir(dir).unwrap() {
        let path = found.unwrap().path();
        match path.is_dir() {
            true => set_modes(&path, dir_mode, file_mode),
            false => set_mode(&path, file_mode),
        }
    }
    set_mode(dir, dir_mode);
}

fn assert_denied(error: &Error, path: &Path) {
    assert_names(error, path);
    let Error::Io(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn a_log_cannot_be_made_where_nothing_may_be_made() {
    as_ordinary_user("a_log_cannot_be_made_where_nothing_may_be_made", |dir| {
        set_mode(dir, 0o555);
        for root in [dir.to_path_buf(), dir.join("log"), dir.join("a/b")] {
            let error = Wal::new(options(&root, SyncMode::Strict)).unwrap_err();
            assert_denied(&error, dir);
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
        set_mode(dir, 0o700);
        Wal::new(options(dir, SyncMode::Strict)).unwrap().append("s", b"now").unwrap();
    });
}

#[test]
fn a_log_that_may_only_be_read_is_read() {
    as_ordinary_user("a_log_that_may_only_be_read_is_read", |dir| {
        let root = dir.join("log");
        for was_closed in [true, false] {
            let wal = Wal::new(options(&root, SyncMode::Strict)).unwrap();
            let begin = wal.stream("s").unwrap().next_id();
            for id in begin..begin + 30 {
                assert_eq!(wal.append("s", &entry(id)).unwrap(), id);
            }
            if was_closed {
                wal.close().unwrap();
            }
            set_modes(&root, 0o555, 0o444);
            if was_closed {
                assert_denied(&Wal::new(options(&root, SyncMode::Strict)).unwrap_err(), &root);
            }
            let reader = Wal::open_read_only(options(&root, SyncMode::Strict)).unwrap();
            let entries: Vec<_> = reader.iter("s", 0).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(entries, (0..begin + 30).map(entry).collect::<Vec<_>>());
            reader.append("s", b"no").unwrap_err();
            set_modes(&root, 0o755, 0o644);
        }
    });
}

#[test]
fn a_log_that_may_not_be_read_is_an_error_and_not_an_empty_log() {
    as_ordinary_user("a_log_that_may_not_be_read_is_an_error_and_not_an_empty_log", |dir| {
        let root = dir.join("log");
        let wal = Wal::new(options(&root, SyncMode::Strict)).unwrap();
        for id in 0..30 {
            wal.append("s", &entry(id)).unwrap();
        }
        wal.close().unwrap();
        let newest = fs::read_dir(root.join("s")).unwrap().map(|found| found.unwrap().path());
        let newest = newest.filter(|path| path.extension().is_some_and(|it| it == "wal")).max();
        let lost = [
            root.join(".ironwal"),
            root.join(".ironwal.lock"),
            root.join("s"),
            newest.unwrap(),
            root.clone(),
        ];
        for path in lost {
            let mode = fs::metadata(&path).unwrap().permissions();
            set_mode(&path, 0);
            let error = Wal::new(options(&root, SyncMode::Strict)).unwrap_err();
            assert_denied(&error, &path);
            // A reader looks at streams when they are asked for, and needs no lock.
            if let Ok(reader) = Wal::open_read_only(options(&root, SyncMode::Strict)) {
                let read = |id| reader.stream("s").and_then(|stream| stream.get(id));
                match read(29) {
                    Ok(found) => assert_eq!(found.as_deref(), Some(&entry(29)[..]), "{path:?}"),
                    Err(error) => assert_names(&error, &path),
                }
            }
            fs::set_permissions(&path, mode).unwrap();
        }
        let wal = Wal::new(options(&root, SyncMode::Strict)).unwrap();
        assert_eq!(wal.get("s", 29).unwrap(), Some(entry(29)));
        assert_eq!(wal.append("s", &entry(30)).unwrap(), 30);
    });
}

/// Whoever has a file open goes on writing to it. The next segment cannot be made.
#[test]
fn a_directory_that_may_no_longer_be_changed_loses_nothing() {
    as_ordinary_user("a_directory_that_may_no_longer_be_changed_loses_nothing", |dir| {
        for (nth, mode) in MODES.into_iter().enumerate() {
            let root = dir.join(nth.to_string());
            let wal = Wal::new(options(&root, mode)).unwrap();
            assert_eq!(wal.append("s", &entry(0)).unwrap(), 0);
            set_modes(&root, 0o555, 0o444);
            let mut kept = 1;
            let error = loop {
                match wal.append("s", &entry(kept)) {
                    Ok(id) => assert_eq!(id, kept),
                    Err(error) => break error,
                }
                kept += 1;
                assert!(kept < 100, "{mode:?}: segments are made where nothing may be");
            };
            assert_denied(&error, &root);
            assert_denied(&wal.append("new", b"stream").unwrap_err(), &root);
            let next_id = wal.stream("s").unwrap().next_id();
            assert_eq!(next_id, kept, "{mode:?}");
            assert_eq!(wal.get("s", kept - 1).unwrap(), Some(entry(kept - 1)));
            assert_eq!(wal.get("s", kept).unwrap(), None);
            let closed = wal.close();
            if let Err(error) = closed {
                assert_names(&error, &root);
            }
            set_modes(&root, 0o755, 0o644);
            let wal = Wal::new(options(&root, mode)).unwrap();
            let entries: Vec<_> = wal.iter("s", 0).unwrap().collect::<Result<_, _>>().unwrap();
            assert!(entries.len() as u64 >= kept, "{mode:?}: {} of {kept}", entries.len());
            assert_eq!(entries, (0..entries.len() as u64).map(entry).collect::<Vec<_>>());
            wal.append("new", b"stream").unwrap();
        }
    });
}
