//! Directories of each kind as version 1 of the format has them. They are kept as text under
//! `tests/golden/v1`, and whatever comes later opens them.
//!
//! `IRONWAL_BLESS=1 cargo test -p ironwal golden` writes those that are missing. One that is there is
//! never written again: a change that cannot open it needs a new version.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironwal::storage::SimDisk;
use ironwal::{CorruptionPolicy, Error, Journal, Wal, WalOptions, WriteStrategy};

use crate::journal::{journal, segment};
use crate::model::{Setup, open_with_setup};

const ROW_LEN: usize = 32;

/// How a directory comes to be, and what is in it.
struct Kind {
    name: &'static str,
    /// Opening changes no segment.
    is_closed: bool,
    write: fn(&SimDisk),
    check: fn(&SimDisk),
}

const KINDS: [Kind; 7] = [
    Kind { name: "closed", is_closed: true, write: write_closed, check: check_closed },
    Kind { name: "killed", is_closed: false, write: write_killed, check: check_killed },
    Kind { name: "pruned", is_closed: false, write: write_pruned, check: check_pruned },
    Kind { name: "journal", is_closed: false, write: write_journal, check: check_journal },
    Kind {
        name: "journal-lost",
        is_closed: false,
        write: write_journal_lost,
        check: check_journal_lost,
    },
    Kind { name: "damaged", is_closed: true, write: write_damaged, check: check_damaged },
    Kind { name: "pieces", is_closed: true, write: write_pieces, check: check_pieces },
];

#[test]
fn directories_of_version_1_are_opened() {
    KINDS.iter().for_each(look_at);
}

#[cfg(feature = "compression")]
#[test]
fn compressed_directories_of_version_1_are_opened() {
    look_at(&Kind {
        name: "compressed",
        is_closed: true,
        write: write_compressed,
        check: check_compressed,
    });
}

#[cfg(feature = "sharded")]
#[test]
fn sharded_directories_of_version_1_are_opened() {
    look_at(&Kind {
        name: "sharded",
        is_closed: true,
        write: sharded::write,
        check: sharded::check,
    });
}

/// The directory of this kind, on a disk of its own.
pub(crate) fn directory(name: &str) -> SimDisk {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    from_text(&std::fs::read_to_string(path.join(name).with_extension("txt")).unwrap())
}

fn look_at(kind: &Kind) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let path = path.join(kind.name).with_extension("txt");
    if std::env::var_os("IRONWAL_BLESS").is_some() && !path.exists() {
        let disk = SimDisk::new(1);
        (kind.write)(&disk);
        std::fs::write(&path, to_text(&disk)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let disk = from_text(&text);
    assert_eq!(to_text(&disk), text, "{}: the text is not what it says", kind.name);
    let segments = || {
        let files = disk.files().into_iter();
        let of_segments = files.filter(|path| path.extension().is_some_and(|ext| ext == "wal"));
        of_segments.map(|path| (disk.contents(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = segments();
    (kind.check)(&disk);
    if kind.is_closed {
        assert!(segments() == before, "{}: there was something to mend", kind.name);
    }
    disk.crash();
    // What an opening has repaired is the same.
    (kind.check)(&disk);
}

/// The files of a disk: name, length, and each row of bytes that are not all zeros.
fn to_text(disk: &SimDisk) -> String {
    let mut text = String::new();
    for path in disk.files() {
        let bytes = disk.contents(&path).unwrap();
        writeln!(text, "{} {}", bytes.len(), path.display()).unwrap();
        for (nth, row) in bytes.chunks(ROW_LEN).enumerate() {
            if row.iter().any(|byte| *byte != 0) {
                write!(text, "  {}", nth * ROW_LEN).unwrap();
                row.chunks(8).for_each(|eight| {
                    text.push(' ');
                    eight.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                });
                text.push('\n');
            }
        }
    }
    text
}

fn from_text(text: &str) -> SimDisk {
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        if let Some(row) = line.strip_prefix("  ") {
            let (at, digits) = row.split_once(' ').unwrap();
            let at: usize = at.parse().unwrap();
            let digits = digits.replace(' ', "");
            let (_, bytes) = files.last_mut().unwrap();
            for (nth, byte) in bytes[at..].iter_mut().take(digits.len() / 2).enumerate() {
                *byte = u8::from_str_radix(&digits[2 * nth..][..2], 16).unwrap();
            }
        } else {
            let (len, name) = line.split_once(' ').unwrap();
            files.push((name.into(), vec![0; len.parse().unwrap()]));
        }
    }
    let disk = SimDisk::new(2);
    files.iter().for_each(|(path, bytes)| disk.replace(path, bytes).unwrap());
    disk
}

fn strict() -> WalOptions {
    WalOptions { on_corruption: CorruptionPolicy::Error, ..WalOptions::new("/log") }
}

fn open(disk: &SimDisk, options: &WalOptions, journal: Journal) -> Wal {
    let write_strategy = WriteStrategy::Auto;
    let setup = Setup { journal, journal_len_max: 64 * 1024, write_strategy, sync_ms: 0 };
    let clock = || std::time::Duration::from_secs(1_000);
    open_with_setup(Arc::new(disk.process()), options, setup, clock).unwrap()
}

fn reopen(disk: &SimDisk) -> Wal {
    open(disk, &strict(), Journal::Auto)
}

/// The same with damage in it.
fn open_lenient(disk: &SimDisk) -> Wal {
    let lenient = WalOptions { on_corruption: CorruptionPolicy::Truncate, ..strict() };
    open(disk, &lenient, Journal::Auto)
}

/// Entry number `nth`: of any length, and of bytes that differ.
fn entry(nth: u8) -> Vec<u8> {
    (0..nth % 40).map(|byte| byte.wrapping_mul(7) ^ nth).collect()
}

fn entries(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    wal.iter(stream, wal.stream(stream).unwrap().first_id()).unwrap().map(Result::unwrap).collect()
}

fn numbered(ids: std::ops::Range<u8>) -> Vec<Vec<u8>> {
    ids.map(entry).collect()
}

fn small_segments() -> WalOptions {
    WalOptions { max_segment_size: 500, ..strict() }
}

/// Several full segments, single entries and batches, names that are not plain.
fn write_closed(disk: &SimDisk) {
    let wal = open(disk, &small_segments(), Journal::Auto);
    for nth in 0..30 {
        wal.append("ledger", &entry(nth)).unwrap();
    }
    let batch = numbered(30..50);
    wal.append_batch("ledger", &batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    wal.append("Größe / .%", b"one").unwrap();
    wal.close().unwrap();
}

fn check_closed(disk: &SimDisk) {
    let wal = reopen(disk);
    assert_eq!(entries(&wal, "ledger"), numbered(0..50));
    assert_eq!(entries(&wal, "Größe / .%"), [b"one"]);
}

/// The power went: nothing says where the last segment ends.
fn write_killed(disk: &SimDisk) {
    let wal = open(disk, &small_segments(), Journal::Off);
    for nth in 0..25 {
        wal.append("ledger", &entry(nth)).unwrap();
    }
    disk.crash();
}

fn check_killed(disk: &SimDisk) {
    assert_eq!(entries(&reopen(disk), "ledger"), numbered(0..25));
}

/// The first segments were deleted, and so was a stream.
fn write_pruned(disk: &SimDisk) {
    let wal = open(disk, &small_segments(), Journal::Auto);
    for nth in 0..40 {
        wal.append("ledger", &entry(nth)).unwrap();
        wal.append("gone", &entry(nth)).unwrap();
    }
    wal.stream("ledger").unwrap().truncate_before(23).unwrap();
    wal.delete_stream("gone").unwrap();
    disk.crash();
}

fn check_pruned(disk: &SimDisk) {
    let wal = reopen(disk);
    let first = wal.stream("ledger").unwrap().first_id();
    assert_eq!(first, 23);
    assert_eq!(entries(&wal, "ledger"), numbered(23..40));
    assert!(matches!(wal.get("ledger", 22), Ok(None) | Err(Error::Pruned { .. })));
    assert!(!wal.streams().contains(&"gone".to_string()));
}

/// Entries of two streams are in the journal and nowhere else.
fn write_journal(disk: &SimDisk) {
    let wal = open(disk, &strict(), Journal::On);
    for nth in 0..5 {
        let mut batch = wal.batch();
        batch.append("a", entry(nth));
        batch.append("b", entry(nth + 100));
        batch.commit().unwrap();
    }
    disk.crash();
    for stream in ["a", "b"] {
        let file = segment(stream, 0);
        let len = disk.contents(&file).unwrap().len();
        disk.overwrite(&file, 8192, &vec![0; len - 8192]).unwrap();
    }
}

fn check_journal(disk: &SimDisk) {
    let wal = reopen(disk);
    assert_eq!(entries(&wal, "a"), numbered(0..5));
    assert_eq!(entries(&wal, "b"), numbered(100..105));
}

/// The same, and the first frame of the journal is lost. An opening has told, and left marks.
fn write_journal_lost(disk: &SimDisk) {
    write_journal(disk);
    disk.overwrite(&journal(0), 8192 + 100, &[0xEE; 40]).unwrap();
    drop(open_lenient(disk));
    disk.crash();
}

fn check_journal_lost(disk: &SimDisk) {
    let wal = open_lenient(disk);
    for (stream, first) in [("a", 0), ("b", 100)] {
        let error = wal.stream(stream).unwrap().get(0).unwrap_err();
        assert!(matches!(&error, Error::Damaged { ids, .. } if *ids == (0..1)), "{error}");
        let rest: Vec<Vec<u8>> = wal.iter(stream, 1).unwrap().map(Result::unwrap).collect();
        assert_eq!(rest, numbered(first + 1..first + 5));
    }
}

/// A frame of a full segment was hit.
fn write_damaged(disk: &SimDisk) {
    write_closed(disk);
    disk.overwrite(&segment("ledger", 0), 8192 + 60, &[0xEE]).unwrap();
}

fn check_damaged(disk: &SimDisk) {
    let wal = reopen(disk);
    let ledger = wal.stream("ledger").unwrap();
    let found: Vec<_> = (0..50).map(|id| ledger.get(id)).collect();
    let damaged = found.iter().filter(|found| matches!(found, Err(Error::Damaged { .. }))).count();
    assert_eq!(damaged, 1);
    for (id, found) in (0..50).zip(found) {
        assert!(found.is_err() || found.unwrap().unwrap() == entry(id as u8), "{id}");
    }
}

/// Batches whose data is checked in pieces, mostly zeros: with ends of two bytes and of four.
fn pieces() -> [Vec<Vec<u8>>; 2] {
    let with = |len: usize| {
        let mut entry = vec![0; len];
        entry[len / 2..].iter_mut().step_by(1000).for_each(|byte| *byte = 7);
        entry
    };
    let long = [entry(3), with(40_000), Vec::new(), with(30_000)];
    [[numbered(0..30), vec![with(2000), with(2049)]].concat(), long.to_vec()]
}

fn write_pieces(disk: &SimDisk) {
    let wal = open(disk, &strict(), Journal::Auto);
    wal.append("ledger", b"before").unwrap();
    for batch in pieces() {
        let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        wal.append_batch("ledger", &slices).unwrap();
    }
    wal.append("ledger", b"behind").unwrap();
    wal.close().unwrap();
}

fn check_pieces(disk: &SimDisk) {
    // The frame of an entry of 6 bytes takes 32, and the first batch 4584.
    let bytes = disk.contents(&segment("ledger", 0)).unwrap();
    assert_eq!([bytes[8224 + 21], bytes[8224 + 4584 + 21]], [6, 2], "the flags");
    let wal = reopen(disk);
    let [short, long] = pieces();
    let expected = [vec![b"before".to_vec()], short, long, vec![b"behind".to_vec()]].concat();
    assert_eq!(entries(&wal, "ledger"), expected);
    for (id, entry) in expected.iter().enumerate() {
        assert_eq!(wal.get("ledger", id as u64).unwrap().unwrap(), *entry, "{id}");
    }
}

#[cfg(feature = "compression")]
fn write_compressed(disk: &SimDisk) {
    let options = WalOptions {
        compression: ironwal::CompressionType::Lz4,
        min_compression_size: 32,
        ..small_segments()
    };
    let wal = open(disk, &options, Journal::Auto);
    for nth in 0..20 {
        wal.append("ledger", &[nth; 300]).unwrap();
        wal.append_batch("ledger", &[&[nth; 100], b"short", &[nth; 90]]).unwrap();
    }
    wal.close().unwrap();
}

#[cfg(feature = "compression")]
fn check_compressed(disk: &SimDisk) {
    let of = |nth: u8| [vec![nth; 300], vec![nth; 100], b"short".to_vec(), vec![nth; 90]];
    let expected: Vec<Vec<u8>> = (0..20).flat_map(of).collect();
    assert_eq!(entries(&reopen(disk), "ledger"), expected);
    assert!(disk.used_bytes() < 400_000);
}

#[cfg(feature = "sharded")]
mod sharded {
    use ironwal::sharded::ShardedWal;

    use super::*;

    fn over(wal: Wal) -> ShardedWal {
        ShardedWal::over(wal, 4).unwrap()
    }

    /// Checkpoints, and the copies of those that a compaction has kept.
    pub(super) fn write(disk: &SimDisk) {
        let wal = over(open(disk, &strict(), Journal::Auto));
        for nth in 0..30 {
            wal.append(&[nth], &entry(nth)).unwrap();
            wal.create_checkpoint(format!("checkpoint {}", nth % 20).as_bytes()).unwrap();
            if nth == 24 {
                wal.compact_checkpoints(7).unwrap();
            }
        }
        wal.close().unwrap();
    }

    pub(super) fn check(disk: &SimDisk) {
        let wal = over(reopen(disk));
        for nth in 0..30_u8 {
            let shard = wal.iter_shard(wal.route(&[nth]), 0).unwrap();
            let here = shard.map(Result::unwrap).any(|found| found == entry(nth));
            assert!(here, "{nth} is in its shard");
        }
        let ids: Vec<String> = wal
            .list_checkpoints()
            .into_iter()
            .map(|(id, _)| String::from_utf8(id).unwrap())
            .collect();
        let expected: Vec<String> =
            (18..30).map(|nth| format!("checkpoint {}", nth % 20)).collect();
        assert_eq!(ids, expected);
        for (nth, id) in (18..30_u64).zip(&ids) {
            let data = wal.load_checkpoint(id.as_bytes()).unwrap();
            assert_eq!(data.offsets.iter().sum::<u64>(), nth + 1, "{id}");
            assert_eq!((data.shard_count, data.timestamp), (4, 1_000_000_000_000));
        }
    }
}
