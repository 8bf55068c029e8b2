//! The public API on a real directory, point by point.

use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};

fn open(path: &std::path::Path, sync_mode: SyncMode) -> Wal {
    Wal::new(WalOptions { sync_mode, ..WalOptions::new(path) }).unwrap()
}

const MODES: [SyncMode; 3] = [SyncMode::Strict, SyncMode::BatchOnly, SyncMode::Async];

fn entries(wal: &Wal, stream: &str, start: u64) -> Vec<(u64, String)> {
    wal.iter_with_ids(stream, start)
        .unwrap()
        .map(|entry| entry.map(|(id, bytes)| (id, String::from_utf8(bytes).unwrap())).unwrap())
        .collect()
}

#[test]
fn appends_are_numbered_and_read_back_in_every_mode() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path(), mode);
        assert_eq!(wal.append("a", b"zero").unwrap(), 0);
        assert_eq!(wal.append("b", b"other").unwrap(), 0);
        assert_eq!(wal.append_batch("a", &[b"one", b"", b"three"]).unwrap(), 1..4);
        assert_eq!(wal.append("a", b"four").unwrap(), 4);
        let expected = ["zero", "one", "", "three", "four"];
        for (id, entry) in expected.iter().enumerate() {
            assert_eq!(wal.get("a", id as u64).unwrap().unwrap(), entry.as_bytes(), "{mode:?}");
        }
        assert_eq!(wal.get("a", 5).unwrap(), None);
        assert_eq!(wal.get("a", u64::MAX).unwrap(), None);
        wal.close().unwrap();

        let wal = open(dir.path(), mode);
        let read: Vec<String> = entries(&wal, "a", 0).into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(read, expected);
        assert_eq!(wal.append("a", b"five").unwrap(), 5);
        assert_eq!(entries(&wal, "a", 3)[0], (3, "three".into()));
        assert_eq!(wal.streams(), ["a", "b"]);
    }
}

#[test]
fn segments_rotate_by_size_and_by_count() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions {
            max_segment_size: 200,
            sync_mode: mode,
            ..WalOptions::new(dir.path())
        };
        let wal = Wal::new(options.clone()).unwrap();
        for id in 0..50_u64 {
            assert_eq!(wal.append("s", format!("entry {id}").as_bytes()).unwrap(), id);
            assert_eq!(entries(&wal, "s", 0).len() as u64, id + 1);
        }
        wal.close().unwrap();
        let wal = Wal::new(options).unwrap();
        for id in 0..50_u64 {
            assert_eq!(entries(&wal, "s", id)[0], (id, format!("entry {id}")));
            assert_eq!(wal.get("s", id).unwrap().unwrap(), format!("entry {id}").as_bytes());
        }
        assert_eq!(wal.append("s", b"next").unwrap(), 50);
        let files = std::fs::read_dir(dir.path().join("s")).unwrap().count();
        assert!(files >= 9, "{files} segments");
    }
}

#[test]
fn a_second_writer_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let again = Wal::new(WalOptions::new(dir.path()));
    assert!(matches!(again, Err(Error::Locked(_))));
    wal.close().unwrap();
    assert!(matches!(wal.append("s", b"x"), Err(Error::Closed)));
    open(dir.path(), SyncMode::Strict);
    let _ = CorruptionPolicy::Error;
}
