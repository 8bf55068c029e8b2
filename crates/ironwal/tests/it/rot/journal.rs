//! Damage in the journal of a process that died: every byte flipped, inverted and zeroed, every sector
//! zeroed, and every length. What comes back is identical, a typed error, or a gap with its ids, and
//! the next opening says the same, for the report outlives the journal.
//!
//! What cannot be detected is damage to the last frame, which nothing proves, and a file that ends
//! before its last frames: exactly those frames may be gone, each of them in all of its streams.
//!
//! Of the bytes of a file some are tried; with `IRONWAL_EVERY_BYTE=1` all but most of the zeros that fill up
//! blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::SimConfig;
use ironwal::{CorruptionPolicy, Error, Journal, SyncMode, Wal, WalOptions, WriteStrategy};

use super::faults::{every, places};
use crate::journal_view::{self, Frame, JournalFile};
use crate::model::{Setup, open_with_setup};

const ROOT: &str = "/log";

/// Room for everything, and for one or two frames.
const LARGE: u64 = 1024 * 1024;
const SMALL: u64 = 64 * 1024;

/// A directory whose journal holds what the segments do not.
struct Sample {
    name: &'static str,
    disk: SimDisk,
    options: WalOptions,
    left: Left,
    streams: BTreeMap<&'static str, Vec<Vec<u8>>>,
    /// What each frame of the journal holds: the ids of each stream.
    frames: Vec<Held>,
}

/// What the segments hold of what is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Everything: the process was killed.
    All,
    /// Something: the power went.
    Some,
    /// Nothing: none of it had been synced.
    Nothing,
}

/// A frame, where it is, and what it holds.
struct Held {
    file: usize,
    frame: Frame,
    shares: BTreeMap<&'static str, Range<u64>>,
}

/// A log that is written to, with what was acknowledged.
struct Writing {
    wal: Wal,
    streams: BTreeMap<&'static str, Vec<Vec<u8>>>,
    next: u8,
}

fn open(disk: &SimDisk, options: &WalOptions, journal: (Journal, u64)) -> ironwal::Result<Wal> {
    let (journal, journal_len_max) = journal;
    let setup = Setup { journal, journal_len_max, write_strategy: WriteStrategy::Auto, sync_ms: 0 };
    open_with_setup(Arc::new(disk.process()), options, setup, || Duration::ZERO)
}

impl Writing {
    fn entry(&mut self) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        vec![self.next; usize::from(self.next % 40)]
    }

    /// A batch with so many entries for each stream; `None`: the process died.
    fn together(&mut self, counts: &[(&'static str, usize)]) -> Option<()> {
        let mut batch = self.wal.batch();
        let mut added = Vec::new();
        for (name, count) in counts {
            for _ in 0..*count {
                let entry = self.entry();
                batch.append(name, &entry[..]);
                added.push((*name, entry));
            }
        }
        let done = batch.commit().is_ok();
        for (name, entry) in added {
            self.streams.entry(name).or_default().push(entry);
        }
        done.then_some(())
    }

    fn single(&mut self, name: &'static str) {
        let entry = self.entry();
        self.wal.append(name, &entry).unwrap();
        self.streams.entry(name).or_default().push(entry);
    }

    fn cut(&mut self, name: &'static str, end: usize) {
        let last_kept = Some(end as u64 - 1);
        self.wal.stream(name).unwrap().truncate_after(last_kept).unwrap();
        self.streams.get_mut(name).unwrap().truncate(end);
    }
}

/// A directory to damage: what `write` does, then the process is killed, or the power goes.
fn sample(
    name: &'static str,
    journal: (Journal, u64),
    mode: SyncMode,
    left: Left,
    write: impl Fn(&mut Writing, &SimDisk),
) -> Sample {
    let config = SimConfig { write_back: 0.0, eviction: 0.0, ..SimConfig::default() };
    let disk = SimDisk::with_config(config);
    let options = WalOptions { sync_mode: mode, ..WalOptions::new(ROOT) };
    let wal = open(&disk, &options, journal).unwrap();
    let mut writing = Writing { wal, streams: BTreeMap::new(), next: 0 };
    write(&mut writing, &disk);
    let streams = writing.streams;
    if left == Left::All {
        disk.kill();
    } else {
        disk.crash();
    }
    let frames = held(&disk, &streams);
    let sample = Sample { name, disk, options, left, streams, frames };
    if left == Left::Nothing {
        sample.strip();
    }
    sample
}

impl Sample {
    /// Takes from the segments what the journal holds.
    fn strip(&self) {
        let names: Vec<&'static str> = self.streams.keys().copied().collect();
        let mut voided = BTreeSet::new();
        for record in self.frames.iter().rev().flat_map(|held| &held.frame.records) {
            if record.count == 0 {
                voided.insert(record.stream);
            } else if !voided.contains(&record.stream) {
                let (stream, segment) = (names[record.stream as usize], record.segment);
                let path = format!("{ROOT}/{stream}/{segment:020}.wal");
                let zeros = vec![0; record.len as usize];
                self.disk.overwrite(Path::new(&path), record.at, &zeros).unwrap();
            }
        }
    }
}

/// What the journal holds. The streams got their numbers in the order of their names.
fn held(disk: &SimDisk, streams: &BTreeMap<&'static str, Vec<Vec<u8>>>) -> Vec<Held> {
    let names: Vec<&'static str> = streams.keys().copied().collect();
    let mut files: Vec<(usize, JournalFile)> =
        journal_view::view_on(disk, ROOT).into_iter().enumerate().collect();
    files.sort_by_key(|(_, file)| file.generation);
    let frames: Vec<(usize, Frame)> = files
        .into_iter()
        .flat_map(|(nth, file)| file.frames.into_iter().map(move |frame| (nth, frame)))
        .collect();
    let mut all = Vec::new();
    let mut voided = BTreeSet::new();
    // The newest first, for a void speaks of what is before it.
    for (file, frame) in frames.into_iter().rev() {
        let mut shares = BTreeMap::new();
        for record in &frame.records {
            if record.count == 0 {
                voided.insert(record.stream);
            } else if !voided.contains(&record.stream) {
                let start = record.segment + u64::from(record.index);
                let ids = start..start + u64::from(record.count);
                shares.insert(names[record.stream as usize], ids);
            }
        }
        all.push(Held { file, frame, shares });
    }
    all.reverse();
    all
}

fn samples() -> Vec<Sample> {
    let strict = SyncMode::Strict;
    let (auto, on) = ((Journal::Auto, LARGE), (Journal::On, LARGE));
    let few = |writing: &mut Writing, _: &SimDisk| {
        writing.together(&[("a", 1), ("b", 1), ("c", 1)]);
        writing.together(&[("a", 3), ("b", 1)]);
    };
    let batches = sample("one batch above another", auto, strict, Left::Nothing, few);
    let unsynced = sample("batches in async", auto, SyncMode::Async, Left::Nothing, few);
    let killed = sample("killed, segments hold everything", auto, strict, Left::All, few);
    let singles = sample("single appends", on, strict, Left::Nothing, |writing, _| {
        writing.together(&[("a", 1), ("b", 1)]);
        for name in ["a", "b", "a"] {
            writing.single(name);
        }
    });
    let voids = sample("a stream was cut", on, strict, Left::Nothing, |writing, _| {
        writing.together(&[("a", 2), ("b", 2)]);
        writing.cut("a", 1);
        writing.together(&[("a", 1), ("b", 1)]);
        writing.single("b");
    });
    vec![batches, unsynced, killed, singles, voids, both_files()]
}

/// Frames that count in both files: the process died before the full one was free.
fn both_files() -> Sample {
    for n in 1..400 {
        let found = sample(
            "both files",
            (Journal::Auto, SMALL),
            SyncMode::Strict,
            Left::Some,
            |writing, disk| {
                writing.together(&[("a", 1), ("b", 1)]);
                writing.single("a");
                disk.cut_power_at(n);
                while writing.together(&[("a", 1), ("b", 2)]).is_some() {}
            },
        );
        let sequences: Vec<u64> = found.frames.iter().map(|it| it.frame.sequence).collect();
        let files: BTreeSet<usize> = found.frames.iter().map(|it| it.file).collect();
        let is_run = sequences.windows(2).all(|two| two[0] + 1 == two[1]);
        let end = found.frames.iter().map(|it| it.shares["a"].end).max().unwrap_or(0);
        if files.len() == 2 && is_run && end == found.streams["a"].len() as u64 {
            return found;
        }
    }
    panic!("no process died in between");
}

/// What an id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Whole,
    Damaged,
    Gone,
}

type Looks = BTreeMap<&'static str, Vec<Look>>;

/// What came of the damage.
#[derive(Debug, Default)]
struct Tally {
    identical: usize,
    refused: usize,
    gaps: usize,
    last_lost: usize,
}

/// What every id looks like, or that the log is not opened.
fn look(sample: &Sample, disk: &SimDisk, policy: CorruptionPolicy, what: &str) -> Option<Looks> {
    let options = WalOptions { on_corruption: policy, ..sample.options.clone() };
    let wal = match open(disk, &options, (Journal::Auto, LARGE)) {
        Ok(wal) => wal,
        Err(Error::Corruption(_) | Error::UnsupportedVersion { .. }) => {
            disk.kill();
            return None;
        }
        Err(error) => panic!("{what}: opening: {error}"),
    };
    let mut looks = Looks::new();
    for (name, entries) in &sample.streams {
        let stream = wal.stream(name).unwrap();
        assert!(stream.next_id() <= entries.len() as u64, "{what}: {name} has more than it had");
        let look = |(id, entry): (u64, &Vec<u8>)| match stream.get(id) {
            Ok(Some(found)) => {
                assert_eq!(found, entry, "{what}: {name} {id} differs");
                Look::Whole
            }
            Ok(None) => {
                assert!(id >= stream.next_id(), "{what}: {name} {id} is missing");
                Look::Gone
            }
            Err(Error::Damaged { ids, .. }) => {
                assert!(ids.contains(&id), "{what}: {name} {id} is not in {ids:?}");
                Look::Damaged
            }
            Err(error) => panic!("{what}: reading {name} {id}: {error}"),
        };
        looks.insert(name, (0..).zip(entries).map(look).collect());
    }
    disk.kill();
    Some(looks)
}

/// Opens the damaged directory twice, under each policy, and judges what comes back. Only the frames
/// from number `unproven` on may be gone.
fn judge(sample: &Sample, damaged: &SimDisk, unproven: usize, what: &str, tally: &mut Tally) {
    let what = &format!("{}: {what}", sample.name);
    let disk = damaged.snapshot();
    let strictly = look(sample, &disk, CorruptionPolicy::Error, what);
    let after_refusal = look(sample, &disk, CorruptionPolicy::Truncate, what);
    let disk = damaged.snapshot();
    let looks = look(sample, &disk, CorruptionPolicy::Truncate, what);
    assert_eq!(looks, look(sample, &disk, CorruptionPolicy::Truncate, what), "{what}: again");
    assert_eq!(looks, after_refusal, "{what}: after the policy refused it");
    let Some(looks) = looks else {
        assert_eq!(strictly, None, "{what}");
        tally.refused += 1;
        return;
    };
    let has = |look| looks.values().flatten().any(|it| *it == look);
    assert_eq!(strictly.is_none(), has(Look::Damaged), "{what}: {looks:?}, strictly {strictly:?}");
    for (nth, held) in sample.frames.iter().enumerate() {
        let of_ids = |(name, ids): (&&'static str, &Range<u64>)| {
            let of_stream = &looks[name];
            ids.clone().filter_map(|id| of_stream.get(id as usize).copied()).collect::<Vec<_>>()
        };
        let all: Vec<Look> = held.shares.iter().flat_map(of_ids).collect();
        let gone = all.iter().filter(|look| **look == Look::Gone).count();
        assert!(gone == 0 || nth >= unproven, "{what}: frame {nth} is gone: {looks:?}");
        let may_be_split = sample.left != Left::Nothing;
        assert!(
            gone == 0 || gone == all.len() || may_be_split,
            "{what}: half of frame {nth} is gone: {looks:?}"
        );
    }
    match (has(Look::Damaged), has(Look::Gone)) {
        (true, _) => tally.gaps += 1,
        (false, true) => tally.last_lost += 1,
        (false, false) => tally.identical += 1,
    }
    // Ids of what is damaged stay taken.
    let wal = open(&disk, &sample.options, (Journal::Auto, LARGE)).unwrap();
    for (name, of_stream) in &looks {
        let taken = of_stream.iter().take_while(|look| **look != Look::Gone).count();
        match wal.append(name, b"afterwards") {
            Ok(id) => assert_eq!(id, taken as u64, "{what}: {name}"),
            Err(Error::Damaged { .. }) => assert!(has(Look::Damaged), "{what}"),
            Err(error) => panic!("{what}: appending to {name}: {error}"),
        }
    }
}

/// The first frame that damage in a range of a file may take away unnoticed: the last one, if it is in
/// it.
fn unproven_by(sample: &Sample, file: usize, damage: &Range<usize>) -> usize {
    let last = sample.frames.len() - 1;
    let Held { file: in_file, frame, .. } = &sample.frames[last];
    let is_hit =
        *in_file == file && damage.start < frame.offset + frame.len && damage.end > frame.offset;
    if is_hit { last } else { last + 1 }
}

/// The same if the file ends there.
fn unproven_behind(sample: &Sample, file: usize, len: usize) -> usize {
    let is_newest = sample.frames.last().unwrap().file == file;
    let is_cut = |held: &Held| held.file == file && held.frame.offset + held.frame.len > len;
    let first = sample.frames.iter().position(is_cut).filter(|_| is_newest);
    first.unwrap_or(sample.frames.len())
}

fn files(sample: &Sample) -> impl Iterator<Item = (usize, PathBuf, Vec<u8>)> {
    let paths = journal_view::NAMES.map(|name| Path::new(ROOT).join(name));
    let files = paths.into_iter().enumerate();
    files.filter_map(|(nth, path)| {
        let content = sample.disk.contents(&path).ok()?;
        Some((nth, path, content))
    })
}

#[test]
fn a_byte_of_the_journal_changes() {
    for sample in samples() {
        let mut tally = Tally::default();
        for (nth, path, content) in files(&sample) {
            for place in places(&content).into_iter().step_by(every(11)) {
                let byte = content[place];
                let values: BTreeSet<u8> = [byte ^ 1, byte ^ 0x80, !byte, 0].into();
                let step = every(4);
                for changed in
                    values.into_iter().filter(|it| *it != byte).skip(place % step).step_by(step)
                {
                    let disk = sample.disk.snapshot();
                    disk.overwrite(&path, place as u64, &[changed]).unwrap();
                    let unproven = unproven_by(&sample, nth, &(place..place + 1));
                    let what = format!("{}: byte {place}: {byte} -> {changed}", path.display());
                    judge(&sample, &disk, unproven, &what, &mut tally);
                }
            }
        }
        check(&sample, &tally);
        assert_eq!(tally.refused, 0, "{}: {tally:?}", sample.name);
    }
}

#[test]
fn a_sector_of_the_journal_is_lost() {
    for sample in samples() {
        let mut tally = Tally::default();
        for (nth, path, content) in files(&sample) {
            let last = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            for start in (0..=last).step_by(512) {
                let disk = sample.disk.snapshot();
                let end = content.len().min(start + 512);
                disk.overwrite(&path, start as u64, &vec![0; end - start]).unwrap();
                let unproven = unproven_by(&sample, nth, &(start..end));
                let what = format!("{}: sector at {start}", path.display());
                judge(&sample, &disk, unproven, &what, &mut tally);
            }
        }
        check(&sample, &tally);
    }
}

#[test]
fn a_file_of_the_journal_is_cut() {
    for sample in samples() {
        let mut tally = Tally::default();
        for (nth, path, content) in files(&sample) {
            for len in places(&content).into_iter().step_by(every(23)) {
                let disk = sample.disk.snapshot();
                disk.replace(&path, &content[..len]).unwrap();
                let unproven = unproven_behind(&sample, nth, len);
                let what = format!("{} cut to {len}", path.display());
                judge(&sample, &disk, unproven, &what, &mut tally);
            }
        }
        assert!(tally.refused > 0, "{}: {tally:?}", sample.name);
    }
}

/// The last frame says that a stream was cut, and nothing proves it: without it, what was cut off is
/// there again, for the records of it count. Nothing else is possible.
#[test]
fn a_cut_that_is_in_the_last_frame_may_be_lost_with_it() {
    let auto = (Journal::Auto, LARGE);
    let cut = sample("cut last", auto, SyncMode::Strict, Left::Some, |writing, _| {
        writing.together(&[("a", 1), ("b", 2)]);
        writing.together(&[("a", 1), ("b", 2)]);
        writing.cut("a", 1);
    });
    let Held { file, frame, .. } = cut.frames.last().unwrap();
    assert_eq!(frame.records.len(), 1);
    let path = Path::new(ROOT).join(journal_view::NAMES[*file]);
    let (mut lost, mut kept) = (0, 0);
    for place in (frame.offset..frame.offset + frame.len).step_by(every(13)) {
        let disk = cut.disk.snapshot();
        let byte = disk.contents(&path).unwrap()[place];
        disk.overwrite(&path, place as u64, &[!byte]).unwrap();
        let wal = open(&disk, &cut.options, auto).unwrap();
        let entries =
            |name| -> Vec<Vec<u8>> { wal.iter(name, 0).unwrap().map(Result::unwrap).collect() };
        assert_eq!(entries("b"), cut.streams["b"], "byte {place}");
        match &entries("a")[..] {
            [first] => {
                assert_eq!(*first, cut.streams["a"][0]);
                kept += 1;
            }
            [first, second] => {
                assert_eq!((first, second), (&cut.streams["a"][0], &vec![4; 4]));
                lost += 1;
            }
            other => panic!("byte {place}: {other:?}"),
        }
    }
    assert!(lost > 0 && kept > 0, "{lost} lost, {kept} kept");
}

/// What must have come of it: if the segments hold everything, nothing is ever missing.
fn check(sample: &Sample, tally: &Tally) {
    let Sample { name, left, .. } = sample;
    assert!(tally.identical > 0, "{name}: {tally:?}");
    match left {
        Left::All => assert_eq!((tally.gaps, tally.last_lost), (0, 0), "{name}: {tally:?}"),
        Left::Some => {}
        Left::Nothing => assert!(tally.gaps > 0 && tally.last_lost > 0, "{name}: {tally:?}"),
    }
}
