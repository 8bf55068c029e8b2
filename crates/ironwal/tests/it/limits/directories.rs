//! Directories that somebody else made, or that are not what was asked for. What is refused is left alone
//! byte for byte; what can stand beside a log stays as it is.

use std::fs;
use std::path::Path;

use ironwal::{CorruptionPolicy, Result, SyncMode, Wal, WalOptions};
use tempfile::TempDir;

use super::contents;

/// Files by their paths, with what is in them.
type Files = &'static [(&'static str, &'static [u8])];

fn make(files: Files) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn open(root: &Path) -> Result<Wal> {
    Wal::new(WalOptions::new(root))
}

fn refusing_damage(root: &Path) -> Result<Wal> {
    let on_corruption = CorruptionPolicy::Error;
    Wal::new(WalOptions { on_corruption, ..WalOptions::new(root) })
}

fn read_only(root: &Path) -> Result<Wal> {
    let wal = Wal::open_read_only(WalOptions::new(root))?;
    for name in wal.streams() {
        wal.stream(&name)?;
    }
    Ok(wal)
}

#[cfg(feature = "sharded")]
fn sharded(root: &Path) -> Result<Wal> {
    ironwal::sharded::ShardedWal::new(WalOptions::new(root), 4).map(|wal| wal.inner().clone())
}

/// Every way to open a log.
const WAYS: &[fn(&Path) -> Result<Wal>] = &[
    open,
    refusing_damage,
    read_only,
    #[cfg(feature = "sharded")]
    sharded,
];

/// No way leads in, each says so with these words, and nothing is changed.
fn assert_refused(root: &Path, words: &[&str]) {
    // What says who writes to a log is no part of it.
    let contents = |root: &Path| {
        let mut contents = contents(root);
        for name in [".ironwal.lock", ".ironwal.watermark"] {
            contents.get_mut(Path::new(name)).into_iter().for_each(|content| *content = None);
        }
        contents
    };
    let before = contents(root);
    for (nth, open) in WAYS.iter().enumerate() {
        let text = match open(root) {
            Err(error) => error.to_string(),
            Ok(wal) => panic!("way {nth} into {}: {wal:?}", root.display()),
        };
        let is_no_log = text.contains("there is no log in");
        for word in words {
            assert!(text.contains(word) || is_no_log && nth == 2, "way {nth}: {word:?}? {text}");
        }
        assert!(text.contains(root.to_str().unwrap()), "way {nth} names no path: {text}");
        // Not even a file to lock.
        assert!(contents(root) == before, "way {nth}: something was changed");
    }
}

/// Logs of others, as they look: they would take our segments for theirs.
#[test]
fn a_directory_of_another_write_ahead_log_is_refused() {
    let etcd: Files = &[
        ("member/snap/db", b"bolt"),
        ("member/wal/0000000000000000-0000000000000000.wal", b"etcd's"),
        ("member/wal/0.tmp", b""),
    ];
    for (files, root, named) in [
        (etcd, "member", "0000000000000000-0000000000000000.wal"),
        (etcd, "member/wal", "0000000000000000-0000000000000000.wal"),
        (&[("1.wal", b"x")], "", "1.wal"),
        (&[("app.log", b"x"), ("segment-7.wal", b"")], "", "segment-7.wal"),
        (&[("orders/1.wal", b"x")], "", "orders/1.wal"),
    ] {
        let dir = make(files);
        assert_refused(&dir.path().join(root), &[named, "a directory of its own"]);
    }
}

/// A stream's directory held segments and no root file, and became the root of a log of its own, inside of the
/// other one.
#[test]
fn a_directory_of_a_stream_is_not_a_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    let wal = open(&root).unwrap();
    wal.append("orders", b"one").unwrap();
    // Whether somebody writes to it or not.
    assert_refused(&root.join("orders"), &["00000000000000000000.wal", "a directory of its own"]);
    wal.close().unwrap();
    assert_refused(&root.join("orders"), &["00000000000000000000.wal", "a directory of its own"]);
    assert_eq!(open(&root).unwrap().get("orders", 0).unwrap().unwrap(), b"one");
}

/// A root file that is not one.
#[test]
fn a_root_file_of_another_program_is_refused() {
    let long = &[7; 9000];
    for content in [&b""[..], b"[iron]\nwal = true\n", b"IRONWAL\0", &[0; 8192], long] {
        let dir = make(&[("orders/00000000000000000000.wal", b"x"), ("README", b"theirs")]);
        fs::write(dir.path().join(".ironwal"), content).unwrap();
        // Whoever repairs it has the lock.
        fs::write(dir.path().join(".ironwal.lock"), b"").unwrap();
        assert_refused(dir.path(), &[".ironwal", "restore it from a backup"]);
    }
}

/// What is no log, and no danger to one.
#[test]
fn a_log_can_be_made_beside_files_of_others_and_leaves_them_alone() {
    let others: [Files; 5] = [
        &[
            ("app.db", b"SQLite format 3\0"),
            ("app.db-wal", b"\x37\x7f\x06\x82"),
            ("app.db-shm", b""),
        ],
        &[
            (".git/HEAD", b"ref: refs/heads/main"),
            (".git/objects/00/11", b"x"),
            ("src/lib.rs", b""),
        ],
        &[("README", b"text"), ("orders/notes.txt", b"text"), ("orders/0.tmp", b"theirs")],
        &[("lost+found/#1", b"x"), ("data.mdb", b"x"), ("lock.mdb", b"x")],
        &[(".ironwal.txt", b"x"), (".ironwal-old/.ironwal", b"x"), (".journal", b"x")],
    ];
    for files in others {
        for open in [open as fn(&Path) -> Result<Wal>, refusing_damage] {
            let dir = make(files);
            let before = contents(dir.path());
            let error = read_only(dir.path()).unwrap_err();
            assert!(error.to_string().contains("there is no log in"), "{error}");
            assert!(contents(dir.path()) == before);
            let wal = open(dir.path()).unwrap();
            assert_eq!(wal.streams(), [""; 0]);
            wal.append("orders", b"one").unwrap();
            wal.append("src", b"two").unwrap();
            wal.close().unwrap();
            let wal = open(dir.path()).unwrap();
            assert_eq!(wal.streams(), ["orders", "src"]);
            wal.delete_stream("orders").unwrap();
            wal.close().unwrap();
            open(dir.path()).unwrap().close().unwrap();
            // A stream that moved in and was deleted takes its directory along, wherever that goes now.
            let after = contents(dir.path());
            for (path, content) in before {
                let name = path.file_name().unwrap();
                let is_there =
                    after.iter().any(|it| it.0.file_name() == Some(name) && *it.1 == content);
                assert!(is_there || content.is_none(), "{} is gone", path.display());
                let stays = !path.starts_with("orders");
                assert!(!stays || after.contains_key(&path), "{} was moved", path.display());
            }
        }
    }
}

/// Deleting a stream deleted every file in its directory: also the whole of a log that was in there.
#[test]
fn deleting_a_stream_deletes_no_log_inside_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (outer, inner) = (dir.path().join("log"), dir.path().join("log/inner"));
    let wal = open(&inner).unwrap();
    wal.append("s", b"precious").unwrap();
    wal.close().unwrap();
    let before = contents(&inner);
    let wal = open(&outer).unwrap();
    assert_eq!(wal.streams(), [""; 0], "what it holds are no segments");
    assert_eq!(wal.append("inner", b"0").unwrap(), 0);
    wal.close().unwrap();
    assert_eq!(open(&inner).unwrap().get("s", 0).unwrap().unwrap(), b"precious");
    let wal = open(&outer).unwrap();
    wal.delete_stream("inner").unwrap();
    assert_eq!(wal.streams(), [""; 0]);
    wal.close().unwrap();
    for _ in 0..3 {
        let wal = open(&outer).unwrap();
        assert_eq!(wal.streams(), [""; 0]);
        wal.close().unwrap();
    }
    let mut dirs = fs::read_dir(&outer).unwrap().map(|entry| entry.unwrap().path());
    let kept = dirs.find(|path| path.join(".ironwal").exists()).expect("it is still there");
    let after = contents(&kept);
    for name in [".ironwal", "s/00000000000000000000.wal"] {
        assert!(before[Path::new(name)] == after[Path::new(name)], "{name}");
    }
    assert_eq!(open(&kept).unwrap().get("s", 0).unwrap().unwrap(), b"precious");
}

/// A root file that belongs to another log: nothing of this one can be checked by it.
#[test]
fn a_root_file_of_another_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (dir.path().join("mine"), dir.path().join("other"));
    for (root, entry) in [(&mine, b"mine!"), (&other, b"other")] {
        let wal = open(root).unwrap();
        wal.append("orders", entry).unwrap();
        wal.append("payments", entry).unwrap();
        wal.close().unwrap();
    }
    let own = fs::read(mine.join(".ironwal")).unwrap();
    for with_journal in [true, false] {
        fs::copy(other.join(".ironwal"), mine.join(".ironwal")).unwrap();
        if !with_journal {
            for nth in 0..2 {
                let _ = fs::remove_file(mine.join(format!(".journal.{nth}")));
            }
        }
        assert_refused(&mine, &["another log"]);
        fs::write(mine.join(".ironwal"), &own).unwrap();
        let wal = open(&mine).unwrap();
        assert_eq!(wal.get("orders", 0).unwrap().unwrap(), b"mine!");
        wal.close().unwrap();
    }
}

/// A segment of another log, beside those of this one: the root file is the right one, and the damage is told.
#[test]
fn a_segment_of_another_log_is_damage_and_not_a_wrong_root_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (dir.path().join("mine"), dir.path().join("other"));
    for root in [&mine, &other] {
        let wal = open(root).unwrap();
        wal.append("orders", b"entry").unwrap();
        wal.append("payments", b"entry").unwrap();
        wal.close().unwrap();
    }
    for name in ["orders", "payments"] {
        let segment = Path::new(name).join("00000000000000000000.wal");
        let own = fs::read(mine.join(&segment)).unwrap();
        fs::copy(other.join(&segment), mine.join(&segment)).unwrap();
        let error = refusing_damage(&mine).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("another log"), "{error}");
        fs::write(mine.join(&segment), own).unwrap();
    }
    refusing_damage(&mine).unwrap();
}

/// A stream's directory that holds more than its segments.
#[test]
fn files_of_others_in_a_directory_of_a_stream_are_left_alone() {
    let names =
        ["notes.txt", ".hidden", "1.wal", "0000000000000000000a.wal", "00000000000000000007.bak"];
    let dir = tempfile::tempdir().unwrap();
    let archive_path = Some(dir.path().join("archive"));
    let root = dir.path().join("log");
    let options = WalOptions {
        max_entries_per_segment: 2,
        sync_mode: SyncMode::Strict,
        archive_path,
        ..WalOptions::new(&root)
    };
    let wal = Wal::new(options.clone()).unwrap();
    wal.append("s", b"0").unwrap();
    for name in names {
        fs::write(root.join("s").join(name), name).unwrap();
    }
    fs::create_dir(root.join("s/00000000000000000009.wal")).unwrap();
    let check = |stream: &str| {
        for name in names {
            assert_eq!(fs::read(root.join(stream).join(name)).unwrap(), name.as_bytes());
        }
        assert!(root.join(stream).join("00000000000000000009.wal").is_dir());
    };
    for id in 1..7 {
        assert_eq!(wal.append("s", b"x").unwrap(), id);
    }
    wal.truncate("s", 4).unwrap();
    wal.restore_archived("s").unwrap();
    wal.stream("s").unwrap().truncate_after(Some(4)).unwrap();
    wal.close().unwrap();
    check("s");
    let wal = Wal::new(options.clone()).unwrap();
    assert_eq!(wal.iter("s", 0).unwrap().map(Result::unwrap).count(), 5);
    assert_eq!(read_only(&root).unwrap().stream("s").unwrap().next_id(), 5);
    wal.delete_stream("s").unwrap();
    wal.close().unwrap();
    let mut names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.find(|name| name.to_str().unwrap().starts_with(".deleted."));
    check(aside.expect("its directory is kept").to_str().unwrap());
    let wal = Wal::new(options).unwrap();
    assert_eq!(wal.append("s", b"a new life").unwrap(), 0);
}
