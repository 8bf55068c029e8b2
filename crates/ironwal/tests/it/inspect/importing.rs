//! Streams that begin above id 0, and ids that are lost: what a log is built with whose entries come from
//! another one.

use ironwal::SyncMode;
use ironwal::inspect::lose_ids;

use super::*;

fn options(sync_mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode, max_entries_per_segment: 4, ..WalOptions::new(ROOT) }
}

fn begin(disk: &SimDisk, streams: &[(&str, u64)]) -> ironwal::Result<()> {
    let wal = open(disk, &options(SyncMode::Strict))?;
    for (name, first_id) in streams {
        wal.begin_stream(name, *first_id)?;
    }
    wal.close()
}

fn lose(disk: &SimDisk, streams: &[(&str, u64)]) -> ironwal::Result<()> {
    lose_ids(&on(disk), Path::new(ROOT), streams)
}

fn one(start: u64, end: u64) -> std::ops::Range<u64> {
    start..end
}

fn append(disk: &SimDisk, mode: SyncMode, stream: &str, ids: std::ops::Range<u64>) {
    let wal = open(disk, &options(mode)).unwrap();
    for id in ids {
        assert_eq!(wal.append(stream, &id.to_le_bytes()).unwrap(), id, "{mode:?}");
    }
    wal.close().unwrap();
}

/// Every entry is the id that it has, from `first` on, but for these.
fn check(disk: &SimDisk, stream: &str, first: u64, lost: &[std::ops::Range<u64>], end: u64) {
    let report = look(disk);
    assert!(report.is_whole(), "{:#?}", report.findings);
    let seen = seen(disk, CorruptionPolicy::Error);
    assert!(!seen.refused);
    assert_eq!(seen.ends[stream], end);
    for id in 0..end {
        let key = (stream.to_string(), id);
        let is_lost = lost.iter().any(|ids| ids.contains(&id));
        let expected = (id >= first && !is_lost).then(|| id.to_le_bytes().to_vec());
        assert_eq!(seen.entries.get(&key), expected.as_ref(), "{stream} {id}");
        assert_eq!(seen.damaged.contains_key(&key), is_lost, "{stream} {id}");
    }
}

const MODES: [SyncMode; 2] = [SyncMode::Strict, SyncMode::Async];

#[test]
fn streams_begin_where_they_are_told_to() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        begin(&disk, &[("a", 1000), ("b/c", 0), ("last", u64::MAX - 9)]).unwrap();
        let wal = open(&disk, &options(mode)).unwrap();
        assert_eq!(wal.streams(), ["a", "b/c", "last"]);
        let a = wal.stream("a").unwrap();
        assert_eq!((a.first_id(), a.next_id()), (1000, 1000));
        assert_eq!(a.get(0).unwrap(), None);
        wal.close().unwrap();
        append(&disk, mode, "a", 1000..1011);
        append(&disk, mode, "b/c", 0..3);
        append(&disk, mode, "new", 0..1);
        check(&disk, "a", 1000, &[], 1011);
        check(&disk, "b/c", 0, &[], 3);
    }
}

/// What is below counts as pruned, durably: not as missing.
#[test]
fn what_is_below_stays_pruned() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        begin(&disk, &[("a", 7)]).unwrap();
        disk.crash();
        let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
        assert_eq!(wal.append("a", &7_u64.to_le_bytes()).unwrap(), 7, "seed {seed}");
        drop(wal);
        disk.crash();
        check(&disk, "a", 7, &[], 8);
    }
}

#[test]
fn streams_that_are_there_are_not_begun() {
    let disk = SimDisk::new(1);
    append(&disk, SyncMode::Strict, "a", 0..3);
    let before = files(&disk);
    let error = begin(&disk, &[("a", 9)]).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(matches!(begin(&disk, &[("", 9)]), Err(Error::Config(_))));
    let segments = |files: &BTreeMap<PathBuf, Vec<u8>>| {
        files.keys().filter(|path| path.starts_with(Path::new(ROOT).join("a"))).count()
    };
    assert_eq!(segments(&files(&disk)), segments(&before));
    let _wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    assert!(matches!(begin(&disk, &[("b", 9)]), Err(Error::Locked(_))));
    assert!(matches!(lose(&disk, &[("a", 9)]), Err(Error::Locked(_))));
}

/// Behind nothing, inside of a segment, at its end, behind a full one, and twice in a row.
#[test]
fn lost_ids_are_named_and_stay_taken() {
    for mode in MODES {
        let disk = SimDisk::new(1);
        begin(&disk, &[("a", 10), ("b", 0)]).unwrap();
        lose(&disk, &[("a", 12), ("b", 1)]).unwrap();
        check(&disk, "a", 10, &[one(10, 12)], 12);
        append(&disk, mode, "a", 12..13);
        lose(&disk, &[("a", 15)]).unwrap();
        lose(&disk, &[("a", 16), ("b", 3)]).unwrap();
        append(&disk, mode, "a", 16..30);
        let wal = open(&disk, &options(mode)).unwrap();
        wal.stream("a").unwrap().rotate().unwrap();
        wal.close().unwrap();
        lose(&disk, &[("a", 5_000_000_000 + 30)]).unwrap_err();
        lose(&disk, &[("a", 40)]).unwrap();
        append(&disk, mode, "a", 40..41);
        check(&disk, "a", 10, &[10..12, 13..16, 30..40], 41);
        check(&disk, "b", 0, &[one(0, 3)], 3);
    }
}

#[test]
fn lost_ids_survive_a_crash() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        append(&disk, SyncMode::Async, "a", 0..3);
        lose(&disk, &[("a", 5)]).unwrap();
        disk.crash();
        append(&disk, SyncMode::Strict, "a", 5..6);
        disk.crash();
        check(&disk, "a", 0, &[one(3, 5)], 6);
    }
}

#[test]
fn what_is_not_lost_is_not_marked() {
    let disk = SimDisk::new(1);
    append(&disk, SyncMode::Strict, "a", 0..3);
    let before = files(&disk);
    for next_id in 0..=3 {
        let error = lose(&disk, &[("a", next_id)]).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
    assert!(matches!(lose(&disk, &[("b", 3)]), Err(Error::StreamNotFound(_))));
    assert_eq!(files(&disk), before);
    let wal = open(&disk, &options(SyncMode::Strict)).unwrap();
    // Several appends of one round are in the journal, and not in their segments yet.
    let mut batch = wal.batch();
    batch.append("a", b"three").append("b", b"zero");
    batch.commit().unwrap();
    disk.kill();
    drop(wal);
    let error = lose(&disk, &[("a", 9)]).unwrap_err();
    assert!(matches!(error, Error::Corruption(_)), "{error}");
}
