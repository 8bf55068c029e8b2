//! A directory that somebody removes or moves under a log that is open.
//!
//! Files that are open go on working without a name, so an append can succeed: nobody looks after each
//! write whether the file still has its name. Whatever needs a name is an error that says which. When the
//! directory was moved, what was acknowledged is there, in its new place.

use std::path::Path;

use ironwal::{Error, SyncMode, Wal};

use super::{MODES, assert_names, entry, options};

/// Appends to two streams until both have failed; of each, how many were acknowledged.
fn append_until_it_fails(wal: &Wal, names: [&str; 2], root: &Path) -> [u64; 2] {
    names.map(|name| {
        let mut next_id = wal.stream(name).unwrap().next_id();
        let error = loop {
            match wal.append(name, &entry(next_id)) {
                Ok(id) => assert_eq!(id, next_id),
                Err(error) => break error,
            }
            next_id += 1;
            assert!(next_id < 100, "{name}: segments are made in a directory that is gone");
        };
        assert_names(&error, root);
        // No id was used, and nothing of it can be read.
        assert_eq!(wal.stream(name).unwrap().next_id(), next_id);
        assert_eq!(wal.get(name, next_id).unwrap(), None);
        next_id
    })
}

/// What was appended before can be read, or is an error.
fn read_all(wal: &Wal, name: &str, count: u64, root: &Path) {
    let stream = wal.stream(name).unwrap();
    for id in 0..count {
        match stream.get(id) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&entry(id)[..])),
            Err(error) => assert_names(&error, root),
        }
    }
    for found in stream.range(..) {
        match found {
            Ok((id, found)) => assert_eq!(&found[..], &entry(id)[..]),
            Err(error) => {
                assert_names(&error, root);
                break;
            }
        }
    }
}

fn or_names<T>(result: Result<T, Error>, root: &Path) {
    if let Err(error) = result {
        assert_names(&error, root);
    }
}

/// Everything that a user may call, when the directory is gone.
fn use_all(wal: &Wal, root: &Path) -> [u64; 2] {
    let kept = append_until_it_fails(wal, ["a", "b"], root);
    assert_names(&wal.append("new", b"stream").unwrap_err(), root);
    let mut batch = wal.batch();
    batch.append("a", b"1").append("b", b"2");
    assert_names(&batch.commit().unwrap_err(), root);
    for (name, count) in ["a", "b"].into_iter().zip(kept) {
        let stream = wal.stream(name).unwrap();
        or_names(stream.rotate(), root);
        or_names(stream.sync(), root);
        assert_names(&stream.append(b"after a failed rotation").unwrap_err(), root);
        read_all(wal, name, count, root);
        or_names(stream.truncate_before(1), root);
    }
    or_names(wal.cut(&["a", "b"]), root);
    or_names(wal.sync_all(), root);
    kept
}

fn log(root: &Path, mode: SyncMode) -> Wal {
    let wal = Wal::new(options(root, mode)).unwrap();
    for name in ["a", "b"] {
        for id in 0..20 {
            assert_eq!(wal.append(name, &entry(id)).unwrap(), id);
        }
    }
    wal
}

/// Removes a directory in which the next segment may be made just now.
fn remove(dir: &Path) {
    while let Err(error) = std::fs::remove_dir_all(dir) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
}

#[test]
fn a_directory_that_is_removed_is_an_error_that_names_it() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("log");
        let wal = log(&root, mode);
        remove(&root);
        use_all(&wal, &root);
        or_names(wal.close(), &root);
        assert!(!root.exists(), "{:?}: the log made its directory anew", mode);
        let wal = Wal::new(options(&root, mode)).unwrap();
        assert_eq!(wal.append("a", &entry(0)).unwrap(), 0);
    }
}

#[test]
fn a_stream_whose_directory_is_removed_does_not_harm_others() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let wal = log(dir.path(), mode);
        remove(&dir.path().join("a"));
        let stream = wal.stream("a").unwrap();
        let mut id = 20;
        while let Ok(got) = stream.append(&entry(id)) {
            assert_eq!(got, id);
            id += 1;
            assert!(id < 100, "segments are made in a directory that is gone");
        }
        read_all(&wal, "a", id, dir.path());
        for id in 20..60 {
            assert_eq!(wal.append("b", &entry(id)).unwrap(), id, "{:?}", mode);
        }
        or_names(wal.close(), dir.path());
        let wal = Wal::new(options(dir.path(), mode)).unwrap();
        let entries: Vec<_> = wal.iter("b", 0).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(entries, (0..60).map(entry).collect::<Vec<_>>(), "{:?}", mode);
        wal.append("a", b"anew").unwrap();
    }
}

#[test]
fn what_was_acknowledged_is_in_a_directory_that_was_moved() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let (root, moved) = (dir.path().join("log"), dir.path().join("moved"));
        let wal = log(&root, mode);
        std::fs::rename(&root, &moved).unwrap();
        let kept = use_all(&wal, &root);
        // The lock is on the file, not on its name.
        let second = Wal::new(options(&moved, mode)).unwrap_err();
        assert!(matches!(second, Error::Locked(_)), "{second}");
        or_names(wal.close(), &root);
        let wal = Wal::new(options(&moved, mode)).unwrap();
        for (name, count) in ["a", "b"].into_iter().zip(kept) {
            let stream = wal.stream(name).unwrap();
            assert!(stream.next_id() >= count, "{:?}: {name}: {stream:?}, {count}", mode);
            assert!(stream.first_id() <= 1, "{stream:?}");
            for id in stream.first_id()..count {
                assert_eq!(stream.get(id).unwrap().as_deref(), Some(&entry(id)[..]));
            }
        }
    }
}
