//! The public API on a real directory, point by point.

use ironwal::{Error, SyncMode, Wal, WalOptions};

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
        let options =
            WalOptions { max_segment_size: 200, sync_mode: mode, ..WalOptions::new(dir.path()) };
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
}

#[test]
fn a_batch_is_never_split_and_may_exceed_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions {
        max_segment_size: 100,
        max_entries_per_segment: 3,
        ..WalOptions::new(dir.path())
    };
    let wal = Wal::new(options.clone()).unwrap();
    wal.append("s", b"before").unwrap();
    let big: Vec<Vec<u8>> = (0..10).map(|byte| vec![byte; 1000]).collect();
    let slices: Vec<&[u8]> = big.iter().map(Vec::as_slice).collect();
    assert_eq!(wal.append_batch("s", &slices).unwrap(), 1..11);
    assert_eq!(wal.append("s", b"after").unwrap(), 11);
    wal.close().unwrap();

    let segments: Vec<String> = std::fs::read_dir(dir.path().join("s"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(segments.len(), 3, "{segments:?}");
    let wal = Wal::new(options).unwrap();
    for (nth, entry) in big.iter().enumerate() {
        assert_eq!(wal.get("s", 1 + nth as u64).unwrap().as_ref(), Some(entry));
    }
}

#[test]
fn the_entry_limit_counts_for_single_appends_only() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions { max_entries_per_segment: 3, ..WalOptions::new(dir.path()) };
    let wal = Wal::new(options).unwrap();
    let starts = || {
        let mut names: Vec<String> = std::fs::read_dir(dir.path().join("s"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.iter().map(|name| name[..20].parse().unwrap()).collect::<Vec<u64>>()
    };
    for _ in 0..7 {
        wal.append("s", b"x").unwrap();
    }
    assert_eq!(starts(), [0, 3, 6]);
    let ten = [&b"y"[..]; 10];
    wal.append_batch("s", &ten).unwrap();
    wal.append_batch("s", &ten).unwrap();
    assert_eq!(starts(), [0, 3, 6], "batches go into the segment that is open");
    wal.append("s", b"x").unwrap();
    assert_eq!(starts(), [0, 3, 6, 27]);
}

#[test]
fn names_that_cannot_be_streams_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    for name in ["", "  ", ".", "..", &"x".repeat(256)] {
        assert!(matches!(wal.append(name, b"x"), Err(Error::Config(_))), "{name:?}");
        assert!(matches!(wal.append_batch(name, &[b"x"]), Err(Error::Config(_))));
        assert!(matches!(wal.get(name, 0), Err(Error::Config(_))));
        assert!(matches!(wal.iter(name, 0), Err(Error::Config(_))));
        assert!(matches!(wal.stream(name), Err(Error::Config(_))));
        let mut writer = wal.writer(name);
        writer.add("x");
        assert!(matches!(writer.commit(), Err(Error::Config(_))));
        assert_eq!(wal.writer(name).commit().unwrap(), 0..0);
        assert_eq!(wal.append_batch(name, &[]).unwrap(), 0..0);
    }
    // Names that 0.6 mixed up.
    assert_eq!(wal.append("a/b", b"slash").unwrap(), 0);
    assert_eq!(wal.append("a_b", b"underscore").unwrap(), 0);
    wal.close().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    assert_eq!(wal.get("a/b", 0).unwrap().unwrap(), b"slash");
    assert_eq!(wal.get("a_b", 0).unwrap().unwrap(), b"underscore");
    assert_eq!(wal.append("a/b", b"again").unwrap(), 1);
}

#[test]
fn unknown_streams_read_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    assert_eq!(wal.get("none", 0).unwrap(), None);
    assert_eq!(wal.iter("none", 0).unwrap().count(), 0);
    assert_eq!(wal.iter("none", u64::MAX).unwrap().count(), 0);
    assert_eq!(wal.append_batch("none", &[]).unwrap(), 0..0);
    assert!(wal.streams().is_empty());
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_transaction_is_one_batch_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let mut dropped = wal.writer("s");
    dropped.add("never");
    drop(dropped);
    let mut writer = wal.writer("s");
    writer.add("text");
    writer.add(String::from("owned"));
    writer.add(b"array");
    writer.add(vec![1, 2]);
    writer.add(Box::<[u8]>::from(&b"boxed"[..]));
    assert_eq!(writer.commit().unwrap(), 0..5);
    assert_eq!(wal.get("s", 3).unwrap().unwrap(), [1, 2]);
    assert_eq!(wal.append_batch("s", &[]).unwrap(), 5..5);
}

#[test]
fn an_iterator_sees_what_is_appended_until_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    wal.append("s", b"0").unwrap();
    let mut iterator = wal.iter("s", 0).unwrap();
    assert_eq!(iterator.next().unwrap().unwrap(), b"0");
    wal.append("s", b"1").unwrap();
    wal.append("s", b"2").unwrap();
    assert_eq!(iterator.next().unwrap().unwrap(), b"1");
    assert_eq!(iterator.next().unwrap().unwrap(), b"2");
    assert!(iterator.next().is_none());
    wal.append("s", b"3").unwrap();
    assert!(iterator.next().is_none(), "the end is the end");
    assert!(wal.iter("s", 9).unwrap().next().is_none());

    let mut early = wal.iter("later", 0).unwrap();
    wal.append("later", b"x").unwrap();
    assert!(early.next().is_none());
    drop(early);

    let mut outlives = wal.iter("s", 3).unwrap();
    drop((wal, iterator));
    assert_eq!(outlives.next().unwrap().unwrap(), b"3");
    assert!(matches!(Wal::new(WalOptions::new(dir.path())), Err(Error::Locked(_))));
    drop(outlives);
    open(dir.path(), SyncMode::Strict);
}

#[test]
fn a_closed_log_refuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    let stream = wal.stream("s").unwrap();
    stream.append(b"x").unwrap();
    let mut iterator = wal.iter("s", 0).unwrap();
    wal.close().unwrap();
    wal.close().unwrap();
    assert!(matches!(wal.append("s", b"x"), Err(Error::Closed)));
    assert!(matches!(wal.append_batch("s", &[]), Err(Error::Closed)));
    assert!(matches!(wal.get("s", 0), Err(Error::Closed)));
    assert!(matches!(wal.sync_all(), Err(Error::Closed)));
    assert!(matches!(stream.append(b"x"), Err(Error::Closed)));
    assert!(matches!(stream.get(0), Err(Error::Closed)));
    assert!(matches!(stream.sync(), Err(Error::Closed)));
    assert!(matches!(iterator.next(), Some(Err(Error::Closed))));
    assert!(iterator.next().is_none());
}

#[test]
fn an_append_over_the_limit_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), SyncMode::Async);
    let huge = vec![0; ironwal::MAX_FRAME_LEN as usize];
    let error = wal.append("s", &huge).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: ironwal::MAX_FRAME_LEN, .. }), "{error}");
    let half = &huge[..huge.len() / 2];
    assert!(matches!(wal.append_batch("s", &[half, half]), Err(Error::TooLarge { .. })));
    assert_eq!(wal.append("s", b"small").unwrap(), 0);
}

#[test]
fn strangers_in_the_root_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for stranger in ["lost+found", "notes", ".git"] {
        std::fs::create_dir(dir.path().join(stranger)).unwrap();
    }
    std::fs::write(dir.path().join("notes/todo.txt"), "x").unwrap();
    std::fs::write(dir.path().join("README"), "x").unwrap();
    let wal = open(dir.path(), SyncMode::Strict);
    wal.append("s", b"x").unwrap();
    assert_eq!(wal.streams(), ["s"]);
    assert_eq!(wal.append("notes", b"a stream may move in").unwrap(), 0);
    wal.close().unwrap();
    assert!(dir.path().join("notes/todo.txt").exists());
    assert!(dir.path().join("lost+found").exists());
    assert_eq!(open(dir.path(), SyncMode::Strict).streams(), ["notes", "s"]);
}

#[test]
fn a_directory_of_version_0_6_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("orders")).unwrap();
    std::fs::write(dir.path().join("orders/segments.idx"), "").unwrap();
    let error = Wal::new(WalOptions::new(dir.path())).unwrap_err();
    assert!(matches!(error, Error::LegacyDirectory(_)), "{error}");
    assert!(error.to_string().contains("0.6"), "{error}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_root_that_is_a_file_or_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    assert!(matches!(Wal::new(WalOptions::new(&path)), Err(Error::Io(_))));
    assert!(matches!(Wal::new(WalOptions::new(path.join("below"))), Err(Error::Io(_))));
    let wal = open(&dir.path().join("made/with/parents"), SyncMode::Strict);
    wal.append("s", b"x").unwrap();
}

#[test]
fn handles_can_be_shared_and_sent() {
    fn is_sent_and_shared<T: Send + Sync + 'static>() {}
    is_sent_and_shared::<Wal>();
    is_sent_and_shared::<ironwal::Stream>();
    is_sent_and_shared::<ironwal::TxnWriter>();
    is_sent_and_shared::<ironwal::WalIterator>();
    is_sent_and_shared::<ironwal::WalIdIterator>();
    is_sent_and_shared::<Error>();
}
