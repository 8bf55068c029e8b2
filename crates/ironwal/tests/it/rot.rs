//! One fault at every byte of small directories: flipped, inverted, zeroed, and every file cut at
//! every length. What comes back is identical, a typed error, or a typed gap; never wrong bytes, a
//! panic, a hang, or entries that are gone in silence.
//!
//! What cannot be detected is what `docs/durability.md` lists: damage to frames that nothing
//! written later proves. Each directory here says how far its proofs reach, and up to there nothing
//! may go missing unnoticed. In a directory that was closed they reach to the end.
//!
//! `IRONWAL_EVERY_BYTE=1` tries also each of the zeros that fill up blocks.

use std::path::{Path, PathBuf};

use ironwal::storage::SimDisk;
use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};

use crate::model::open;

const ROOT: &str = "/log";
const ARCHIVE: &str = "/archive";

/// A directory to damage.
struct Sample {
    name: &'static str,
    disk: SimDisk,
    options: WalOptions,
    streams: Vec<Expected>,
    /// Whether it is judged once the archive is restored.
    restored: bool,
}

/// What a stream holds.
struct Expected {
    name: &'static str,
    entries: Vec<Vec<u8>>,
    /// Ids below this one are pruned. Damage to what says so may bring them back, or report them.
    first: usize,
    /// Ids below this one are proven to have been durable.
    proven: usize,
}

fn entry(id: usize) -> Vec<u8> {
    format!("entry {id} {}", "·".repeat(id % 5)).into_bytes()
}

/// A directory with singles and a batch. `proven` says how many entries are proven if the process
/// is killed, `None` that it closes the log.
fn sample(
    name: &'static str,
    mode: SyncMode,
    max_segment_size: u64,
    proven: Option<usize>,
) -> Sample {
    let disk = SimDisk::new(1);
    let options = WalOptions { sync_mode: mode, max_segment_size, ..WalOptions::new(ROOT) };
    let wal = open(&disk, &options).unwrap();
    let mut entries = Vec::new();
    for id in 0..4 {
        entries.push(entry(id));
        wal.append("s", &entries[id]).unwrap();
    }
    let batch: Vec<Vec<u8>> = (4..7).map(entry).collect();
    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    wal.append_batch("s", &slices).unwrap();
    entries.extend(batch);
    for id in 7..9 {
        entries.push(entry(id));
        wal.append("s", &entries[id]).unwrap();
    }
    if proven.is_none() {
        wal.close().unwrap();
    }
    disk.kill();
    let proven = proven.unwrap_or(entries.len());
    let streams = vec![Expected { name: "s", entries, first: 0, proven }];
    Sample { name, disk, options, streams, restored: false }
}

/// A closed directory of many segments to which something was done.
fn reshaped(name: &'static str, archive: bool, reshape: impl Fn(&Wal, &mut Expected)) -> Sample {
    let mut sample = sample(name, SyncMode::Strict, 130, None);
    sample.options.archive_path = archive.then(|| ARCHIVE.into());
    let wal = open(&sample.disk, &sample.options).unwrap();
    let expected = &mut sample.streams[0];
    reshape(&wal, expected);
    wal.close().unwrap();
    sample.disk.kill();
    expected.proven = expected.entries.len();
    sample
}

fn pruned_to_the_entry(wal: &Wal, expected: &mut Expected) {
    wal.stream("s").unwrap().truncate_before(5).unwrap();
    expected.first = 5;
}

fn pruned_to_the_segment(wal: &Wal, expected: &mut Expected) {
    assert!(wal.truncate("s", 8).unwrap() > 1);
    expected.first = wal.stream("s").unwrap().first_id() as usize;
}

/// Other entries with ids that there were before.
fn cut_and_gone_on(wal: &Wal, expected: &mut Expected) {
    let stream = wal.stream("s").unwrap();
    stream.truncate_after(Some(4)).unwrap();
    expected.entries.truncate(5);
    for id in 5..8 {
        expected.entries.push(entry(id + 100));
        stream.append(&expected.entries[id]).unwrap();
    }
}

fn archived(wal: &Wal, expected: &mut Expected) {
    pruned_to_the_segment(wal, expected);
    expected.first = 0;
}

fn archived_and_restored(wal: &Wal, _: &mut Expected) {
    assert!(wal.truncate("s", 8).unwrap() > 1);
    assert!(wal.restore_archived("s").unwrap() > 1);
}

fn samples() -> Vec<Sample> {
    const ONE: u64 = 1 << 20;
    const MANY: u64 = 130;
    vec![
        sample("closed, one segment", SyncMode::Strict, ONE, None),
        sample("closed, many segments", SyncMode::Strict, MANY, None),
        sample("closed, async, many segments", SyncMode::Async, MANY, None),
        // The last frame is proven by nothing.
        sample("killed, strict, one segment", SyncMode::Strict, ONE, Some(8)),
        // The batch's sync is recorded in the frames behind it.
        sample("killed, batches, one segment", SyncMode::BatchOnly, ONE, Some(7)),
        sample("killed, async, one segment", SyncMode::Async, ONE, Some(0)),
        // The active segment holds the last two entries; the last is proven by nothing.
        sample("killed, strict, many segments", SyncMode::Strict, MANY, Some(8)),
        reshaped("pruned to the entry", false, pruned_to_the_entry),
        reshaped("pruned to the segment", false, pruned_to_the_segment),
        reshaped("cut, and gone on", false, cut_and_gone_on),
        Sample { restored: true, ..reshaped("archived", true, archived) },
        reshaped("archived and restored", true, archived_and_restored),
    ]
}

/// What came of a fault.
#[derive(Debug, Default)]
struct Tally {
    identical: usize,
    refused: usize,
    gaps: usize,
    unproven_lost: usize,
}

/// How many entries are proven if a piece of this file is gone: of the newest segment of a process
/// that was killed, the piece may have held every frame that proves another.
fn proven_without(sample: &Sample, path: &Path) -> usize {
    let expected = &sample.streams[0];
    let closed = expected.proven == expected.entries.len();
    let newest = files(&sample.disk).into_iter().rfind(|file| file.extension().is_some());
    if closed || newest.as_deref() != Some(path) {
        return expected.proven;
    }
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Opens the damaged directory and judges what comes back.
fn judge(sample: &Sample, disk: &SimDisk, proven: usize, what: &str, tally: &mut Tally) {
    let options =
        WalOptions { on_corruption: CorruptionPolicy::Truncate, ..sample.options.clone() };
    let wal = match open(disk, &options) {
        Ok(wal) => wal,
        Err(Error::Corruption(_) | Error::UnsupportedVersion { .. }) => {
            tally.refused += 1;
            return;
        }
        Err(error) => panic!("{what}: opening: {error}"),
    };
    if sample.restored {
        match wal.restore_archived("s") {
            Ok(_) => {}
            Err(
                Error::Corruption(_) | Error::UnsupportedVersion { .. } | Error::Damaged { .. },
            ) => {
                tally.refused += 1;
                return;
            }
            Err(error) => panic!("{what}: restoring: {error}"),
        }
    }
    for expected in &sample.streams {
        judge_stream(&wal, expected, proven, what, tally);
    }
    drop(wal);
    // Under the other policy: the same, or a refusal.
    let options = WalOptions { on_corruption: CorruptionPolicy::Error, ..options };
    disk.kill();
    match open(disk, &options) {
        Ok(_) | Err(Error::Corruption(_)) => {}
        Err(error) => panic!("{what}: opening with policy Error: {error}"),
    }
}

fn judge_stream(wal: &Wal, expected: &Expected, proven: usize, what: &str, tally: &mut Tally) {
    let count = expected.entries.len();
    let stream = wal.stream(expected.name).unwrap();
    let mut damaged = 0;
    let mut lost = 0;
    let mut readable = 0;
    for (id, entry) in expected.entries.iter().enumerate() {
        match stream.get(id as u64) {
            Ok(Some(found)) => {
                assert_eq!(found, entry, "{what}: entry {id} differs");
                readable += 1;
            }
            Ok(None) if id < expected.first => {}
            Ok(None) => {
                assert!(id >= proven, "{what}: entry {id} is gone in silence");
                lost += 1;
            }
            Err(Error::Damaged { ids, .. }) => {
                assert!(ids.contains(&(id as u64)), "{what}: {id} is not in {ids:?}");
                damaged += 1;
            }
            Err(error) => panic!("{what}: reading {id}: {error}"),
        }
    }
    iterate(wal, expected, what, damaged > 0, readable);

    // Ids of damaged entries stay taken; those that were lost unproven may be given again.
    match stream.append(b"afterwards") {
        Ok(id) => {
            assert!(id as usize >= proven, "{what}: id {id} is given out again");
            assert_eq!(stream.get(id).unwrap().unwrap(), &b"afterwards"[..], "{what}");
            assert_eq!(id as usize, count - lost, "{what}");
        }
        Err(Error::Damaged { .. }) => assert!(damaged > 0, "{what}"),
        Err(error) => panic!("{what}: appending: {error}"),
    }
    match (damaged, lost) {
        (0, 0) => tally.identical += 1,
        (0, _) => tally.unproven_lost += 1,
        _ => tally.gaps += 1,
    }
}

/// The iterator says the same as the single reads: each damage once, what is whole around it.
fn iterate(wal: &Wal, expected: &Expected, what: &str, damaged: bool, readable: usize) {
    let mut errors = 0;
    let mut read = 0;
    for item in wal.iter_with_ids(expected.name, 0).unwrap() {
        match item {
            Ok((id, entry)) => {
                assert_eq!(entry, expected.entries[id as usize], "{what}: entry {id} differs");
                read += 1;
            }
            Err(Error::CrcMismatch { .. } | Error::Corruption(_)) => errors += 1,
            Err(error) => panic!("{what}: iterating: {error}"),
        }
        assert!(errors <= expected.entries.len(), "{what}: the iterator goes round in circles");
    }
    assert_eq!(errors > 0, damaged, "{what}: {errors} errors while iterating");
    if !damaged {
        assert_eq!(read, readable, "{what}");
    }
}

/// The files of a log that have bytes in them.
fn files(disk: &SimDisk) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = disk.files();
    files.into_iter().filter(|path| path.starts_with(ROOT) || path.starts_with(ARCHIVE)).collect()
}

/// Which bytes of a file are tried: all that mean something, and one of each zeros that follow.
pub(crate) fn places(content: &[u8]) -> Vec<usize> {
    let every = std::env::var_os("IRONWAL_EVERY_BYTE").is_some();
    let mut places = Vec::new();
    let mut zeros = 0;
    for (place, byte) in content.iter().enumerate() {
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        if every || zeros < 40 || place.is_multiple_of(509) {
            places.push(place);
        }
    }
    places
}

fn damage_file(sample: &Sample, path: &Path, tally: &mut Tally) {
    let content = sample.disk.contents(path).unwrap();
    for place in places(&content) {
        let byte = content[place];
        let mut tried = vec![byte];
        for changed in [byte ^ 1, byte ^ 0x80, !byte, 0] {
            if tried.contains(&changed) {
                continue;
            }
            tried.push(changed);
            let disk = sample.disk.snapshot();
            disk.overwrite(path, place as u64, &[changed]).unwrap();
            let file = path.display();
            let what = format!("{}: {file}: byte {place}: {byte} -> {changed}", sample.name);
            judge(sample, &disk, sample.streams[0].proven, &what, tally);
        }
        let disk = sample.disk.snapshot();
        disk.replace(path, &content[..place]).unwrap();
        let what = format!("{}: {} cut to {place} bytes", sample.name, path.display());
        judge(sample, &disk, proven_without(sample, path), &what, tally);
    }
}

#[test]
fn a_fault_at_every_byte_is_seen_or_harmless() {
    for sample in samples() {
        let mut tally = Tally::default();
        for path in files(&sample.disk) {
            damage_file(&sample, &path, &mut tally);
        }
        assert!(tally.identical > 0 && tally.refused > 0 && tally.gaps > 0, "{tally:?}");
        let all_proven = sample.streams.iter().all(|it| it.proven == it.entries.len());
        assert_eq!(tally.unproven_lost == 0, all_proven, "{}: {tally:?}", sample.name);
    }
}

#[test]
fn every_sector_may_be_lost() {
    for sample in samples() {
        let mut tally = Tally::default();
        for path in files(&sample.disk) {
            let content = sample.disk.contents(&path).unwrap();
            for start in (0..content.len()).step_by(512) {
                let disk = sample.disk.snapshot();
                let end = content.len().min(start + 512);
                disk.overwrite(&path, start as u64, &vec![0; end - start]).unwrap();
                let what = format!("{}: {}: sector at {start}", sample.name, path.display());
                judge(&sample, &disk, proven_without(&sample, &path), &what, &mut tally);
            }
        }
    }
}
