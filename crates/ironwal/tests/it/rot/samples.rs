//! Small directories of every kind, with what they hold, what they held before, and how much of it is
//! proven.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "compression")]
use ironwal::CompressionType;
use ironwal::storage::SimDisk;
use ironwal::{
    Environment, Journal, Maintenance, ReadStrategy, SyncMode, Wal, WalOptions, WriteStrategy,
};

use super::faults::{Files, Material};
use crate::model::Setup;

pub(crate) const ROOT: &str = "/log";
pub(crate) const ARCHIVE: &str = "/archive";

/// What a stream holds: the entries from id 0 on, of which those below `first` are pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) first: usize,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// What a stream has held, the present last.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) name: String,
    pub(crate) states: Vec<State>,
    /// Ids below this one are proven to have been durable.
    pub(crate) proven: usize,
}

/// What the checkpoints of a sharded log are: ids, and the end of each shard.
pub(crate) type Checkpoints = Vec<(Vec<u8>, Vec<u64>)>;

/// A directory to damage.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) disk: SimDisk,
    pub(crate) options: WalOptions,
    setup: Setup,
    pub(crate) material: Material,
    pub(crate) streams: Vec<History>,
    /// If it is sharded: the checkpoints that there were, the present ones last.
    #[cfg_attr(not(feature = "sharded"), allow(dead_code))]
    pub(crate) checkpoints: Vec<Checkpoints>,
    pub(crate) is_closed: bool,
    /// Whether it is judged once the archive is restored.
    pub(crate) is_restored: bool,
}

impl History {
    pub(crate) fn present(&self) -> &State {
        self.states.last().unwrap()
    }
}

/// How the directory is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Closed,
    /// The process was killed, and all but so many entries of each stream are proven.
    KilledBut(usize),
    /// And all but its last append.
    Killed,
    /// And the journal has what the segments cannot prove.
    KilledInJournal,
}

/// A log that is written to, with what it held after each step.
pub(crate) struct Writing {
    pub(crate) disk: SimDisk,
    pub(crate) wal: Wal,
    pub(crate) options: WalOptions,
    setup: Setup,
    salt: u64,
    streams: BTreeMap<String, State>,
    /// How many entries the last append to a stream had.
    last: BTreeMap<String, usize>,
    pub(crate) checkpoints: Checkpoints,
    history: Vec<(BTreeMap<String, State>, Checkpoints, Files)>,
}

pub(crate) fn entry(id: usize) -> Vec<u8> {
    format!("entry {id} {}", "·".repeat(id % 5)).into_bytes()
}

/// Opens it on a disk, as a process of its own.
fn open(disk: &SimDisk, options: &WalOptions, setup: Setup, salt: u64) -> ironwal::Result<Wal> {
    Wal::open_with(options.clone(), setup.apply(environment(disk, salt)))
}

fn environment(disk: &SimDisk, salt: u64) -> Environment {
    Environment::default()
        .with_storage(Arc::new(disk.process()))
        .with_entropy(move || salt)
        .with_clock(|| Duration::from_secs(1_000))
        .with_maintenance(Maintenance::Inline)
}

impl Sample {
    pub(crate) fn open(&self, disk: &SimDisk, options: &WalOptions) -> ironwal::Result<Wal> {
        open(disk, options, self.setup, SALT)
    }

    pub(crate) fn open_read_only(&self, disk: &SimDisk) -> ironwal::Result<Wal> {
        Wal::open_read_only_with(self.options.clone(), environment(disk, SALT))
    }

    /// Its options, and how entries are read.
    pub(crate) fn options_by(&self, read_strategy: ReadStrategy) -> WalOptions {
        WalOptions { read_strategy, ..self.options.clone() }
    }

    /// It is judged once the archive is restored.
    pub(crate) fn restored(self) -> Self {
        Self { is_restored: true, ..self }
    }
}

/// What is drawn at random in one log, and in another.
const SALT: u64 = 0x5A17;
const OTHER_SALT: u64 = 0x0BAD;

/// The files of a log, and of its archive.
fn files(disk: &SimDisk) -> Files {
    let paths = disk.files().into_iter();
    let ours = paths.filter(|path| path.starts_with(ROOT) || path.starts_with(ARCHIVE));
    ours.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

impl Writing {
    fn begin(options: WalOptions, setup: Setup, salt: u64) -> Self {
        let disk = SimDisk::new(1);
        let wal = open(&disk, &options, setup, salt).unwrap();
        let mut writing = Self {
            disk,
            wal,
            options,
            setup,
            salt,
            streams: BTreeMap::new(),
            last: BTreeMap::new(),
            checkpoints: Checkpoints::new(),
            history: Vec::new(),
        };
        writing.step();
        writing
    }

    /// Takes down what there is now.
    pub(crate) fn step(&mut self) {
        self.history.push((self.streams.clone(), self.checkpoints.clone(), files(&self.disk)));
    }

    /// Entries were appended at once.
    pub(crate) fn appended(&mut self, name: &str, entries: Vec<Vec<u8>>) {
        self.last.insert(name.to_string(), entries.len());
        self.streams.entry(name.to_string()).or_default().entries.extend(entries);
    }

    pub(crate) fn single(&mut self, name: &str, entry: Vec<u8>) {
        self.wal.append(name, &entry).unwrap();
        self.appended(name, vec![entry]);
        self.step();
    }

    pub(crate) fn batch(&mut self, name: &str, entries: Vec<Vec<u8>>) {
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        self.wal.append_batch(name, &slices).unwrap();
        self.appended(name, entries);
        self.step();
    }

    /// A batch over several streams.
    fn together(&mut self, parts: &[(&str, Vec<Vec<u8>>)]) {
        let mut batch = self.wal.batch();
        for (name, entries) in parts {
            entries.iter().for_each(|entry| _ = batch.append(name, entry.clone()));
        }
        batch.commit().unwrap();
        for (name, entries) in parts {
            self.appended(name, entries.clone());
        }
        self.step();
    }

    /// Closes the log and opens it again.
    fn reopen(&mut self) {
        self.wal.close().unwrap();
        self.step();
        self.disk.kill();
        self.wal = open(&self.disk, &self.options, self.setup, self.salt).unwrap();
    }

    fn state(&mut self, name: &str) -> &mut State {
        self.streams.get_mut(name).unwrap()
    }

    fn end(mut self, name: &'static str, left: Left, foreign: Files) -> Sample {
        if left == Left::Closed {
            self.wal.close().unwrap();
        }
        self.step();
        let Self { disk, wal, options, setup, last, history, .. } = self;
        disk.kill();
        drop(wal);
        let files = files(&disk);
        let older = older_of(&history, &files);
        let names: Vec<String> = history.last().unwrap().0.keys().cloned().collect();
        let streams = names.into_iter().map(|name| {
            let mut states: Vec<State> = history
                .iter()
                .map(|(streams, ..)| streams.get(&name).cloned().unwrap_or_default())
                .collect();
            states.dedup();
            states.insert(0, State::default());
            let count = states.last().unwrap().entries.len();
            let unproven = match left {
                Left::Closed | Left::KilledInJournal => 0,
                Left::KilledBut(unproven) => unproven,
                Left::Killed => last[&name],
            };
            History { name, states, proven: count.saturating_sub(unproven) }
        });
        let streams = streams.collect();
        let mut checkpoints: Vec<Checkpoints> =
            history.iter().map(|(_, checkpoints, _)| checkpoints.clone()).collect();
        checkpoints.dedup();
        Sample {
            name,
            disk,
            options,
            setup,
            material: Material { files, foreign, older },
            streams,
            checkpoints,
            is_closed: left == Left::Closed,
            is_restored: false,
        }
    }
}

/// What each file held, and does not hold any more.
fn older_of(
    history: &[(BTreeMap<String, State>, Checkpoints, Files)],
    files: &Files,
) -> Vec<(PathBuf, Vec<u8>)> {
    let mut older: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for version in history.iter().flat_map(|(.., files)| files) {
        if !files.contains(version) && !older.contains(version) {
            older.push(version.clone());
        }
    }
    older
}

const PLAIN: Setup = Setup {
    journal: Journal::Auto,
    journal_len_max: 64 * 1024,
    write_strategy: WriteStrategy::Auto,
    sync_ms: 0,
};

/// A directory that `write` makes; another one, of another salt, comes to be in the same way.
pub(crate) fn sample(
    name: &'static str,
    options: &WalOptions,
    setup: Setup,
    left: Left,
    write: impl Fn(&mut Writing),
) -> Sample {
    let written = |salt| {
        let mut writing = Writing::begin(options.clone(), setup, salt);
        write(&mut writing);
        writing
    };
    let foreign = files(&written(OTHER_SALT).end(name, left, Files::new()).disk);
    written(SALT).end(name, left, foreign)
}

const ONE: u64 = 1 << 20;
const MANY: u64 = 130;

fn options(mode: SyncMode, max_segment_size: u64) -> WalOptions {
    WalOptions { sync_mode: mode, max_segment_size, ..WalOptions::new(ROOT) }
}

/// Singles, a batch, and singles.
fn nine(writing: &mut Writing) {
    (0..4).for_each(|id| writing.single("s", entry(id)));
    writing.batch("s", (4..7).map(entry).collect());
    (7..9).for_each(|id| writing.single("s", entry(id)));
}

fn plain(name: &'static str, mode: SyncMode, max_segment_size: u64, left: Left) -> Sample {
    sample(name, &options(mode, max_segment_size), PLAIN, left, nine)
}

/// As they are written.
pub(crate) fn written() -> Vec<Sample> {
    let (strict, asynchronous) = (SyncMode::Strict, SyncMode::Async);
    vec![
        plain("closed, one segment", strict, ONE, Left::Closed),
        plain("closed, many segments", strict, MANY, Left::Closed),
        plain("closed, async, many segments", asynchronous, MANY, Left::Closed),
        // The last frame is proven by nothing.
        plain("killed, strict, one segment", strict, ONE, Left::KilledBut(1)),
        // The batch's sync is recorded in the frames behind it.
        plain("killed, batches, one segment", SyncMode::BatchOnly, ONE, Left::KilledBut(2)),
        plain("killed, async, one segment", asynchronous, ONE, Left::KilledBut(9)),
        // The active segment holds the last two entries; the last is proven by nothing.
        plain("killed, strict, many segments", strict, MANY, Left::KilledBut(1)),
    ]
}

/// A closed directory of many segments to which something was done.
fn changed(name: &'static str, archive: bool, change: impl Fn(&mut Writing)) -> Sample {
    let mut options = options(SyncMode::Strict, MANY);
    options.archive_path = archive.then(|| ARCHIVE.into());
    sample(name, &options, PLAIN, Left::Closed, |writing| {
        nine(writing);
        writing.reopen();
        change(writing);
    })
}

fn pruned_to_the_entry(writing: &mut Writing) {
    writing.wal.stream("s").unwrap().truncate_before(5).unwrap();
    writing.state("s").first = 5;
}

fn pruned_to_the_segment(writing: &mut Writing) {
    assert!(writing.wal.truncate("s", 8).unwrap() > 1);
    writing.state("s").first = writing.wal.stream("s").unwrap().first_id() as usize;
}

/// Other entries with ids that there were before.
fn cut_and_gone_on(writing: &mut Writing) {
    writing.wal.stream("s").unwrap().truncate_after(Some(4)).unwrap();
    writing.state("s").entries.truncate(5);
    writing.step();
    (5..8).for_each(|id| writing.single("s", entry(id + 100)));
}

fn archived(writing: &mut Writing) {
    assert!(writing.wal.truncate("s", 8).unwrap() > 1);
}

fn archived_and_restored(writing: &mut Writing) {
    archived(writing);
    writing.step();
    assert!(writing.wal.restore_archived("s").unwrap() > 1);
}

/// As they are pruned, cut, archived and restored.
pub(crate) fn reshaped() -> Vec<Sample> {
    vec![
        changed("pruned to the entry", false, pruned_to_the_entry),
        changed("pruned to the segment", false, pruned_to_the_segment),
        changed("cut, and gone on", false, cut_and_gone_on),
        changed("archived", true, archived).restored(),
        changed("archived and restored", true, archived_and_restored),
    ]
}

/// Entries that are long on the disk only where they are not compressed.
fn long(id: usize, len: usize) -> Vec<u8> {
    let mut entry = vec![0; len];
    entry.iter_mut().step_by(1000).for_each(|byte| *byte = id as u8 + 1);
    entry
}

/// A batch whose data is checked in pieces, with ends of two bytes.
fn in_pieces(writing: &mut Writing) {
    writing.single("s", entry(0));
    writing.batch("s", vec![entry(1), long(2, 3000), entry(3), long(4, 2049)]);
    writing.single("s", entry(5));
}

/// One with ends of four.
fn in_many_pieces(writing: &mut Writing) {
    writing.single("s", entry(0));
    writing.batch("s", vec![long(1, 40_000), entry(2), long(3, 30_000)]);
    writing.single("s", entry(4));
}

/// Large batches, and those that a segment of their own is for.
pub(crate) fn large() -> Vec<Sample> {
    let (one, many) = (options(SyncMode::Strict, ONE), options(SyncMode::Strict, MANY));
    vec![
        sample("in pieces, closed", &one, PLAIN, Left::Closed, in_pieces),
        sample("in pieces, killed", &one, PLAIN, Left::KilledBut(1), in_pieces),
        sample("in pieces, many segments", &many, PLAIN, Left::Closed, in_pieces),
        sample("in many pieces, killed", &one, PLAIN, Left::KilledBut(1), in_many_pieces),
    ]
}

#[cfg(feature = "compression")]
fn compressed_by(mode: SyncMode, max_segment_size: u64) -> WalOptions {
    WalOptions {
        compression: CompressionType::Lz4,
        min_compression_size: 64,
        ..options(mode, max_segment_size)
    }
}

/// Frames that are compressed, beside some that are not.
#[cfg(feature = "compression")]
fn compressible(writing: &mut Writing) {
    writing.single("s", vec![7; 300]);
    writing.single("s", entry(1));
    writing.batch("s", vec![vec![1; 100], entry(3), vec![2; 90]]);
    writing.batch("s", vec![long(5, 5000), long(6, 5000)]);
    writing.single("s", long(7, 2000));
    writing.single("s", entry(8));
}

#[cfg(feature = "compression")]
pub(crate) fn compressed() -> Vec<Sample> {
    let (strict, asynchronous) = (SyncMode::Strict, SyncMode::Async);
    let one =
        |name, mode, len, left| sample(name, &compressed_by(mode, len), PLAIN, left, compressible);
    vec![
        one("compressed, closed", strict, ONE, Left::Closed),
        one("compressed, many segments", asynchronous, MANY, Left::Closed),
        one("compressed, killed", strict, ONE, Left::KilledBut(1)),
    ]
}

/// Appends to several streams, alone and together.
fn several(writing: &mut Writing) {
    writing.together(&[("a", vec![entry(0)]), ("b", vec![entry(1), entry(2)])]);
    writing.single("a", entry(3));
    writing.together(&[("a", vec![entry(4), entry(5)]), ("b", vec![entry(6)])]);
    writing.single("b", entry(7));
}

/// The same, and a stream is cut, and goes on.
fn several_and_cut(writing: &mut Writing) {
    several(writing);
    writing.wal.stream("a").unwrap().truncate_after(Some(1)).unwrap();
    writing.state("a").entries.truncate(2);
    writing.step();
    writing.together(&[("a", vec![entry(8)]), ("b", vec![entry(9)])]);
}

/// A journal in use: what is in it is in the segments too, as the process was killed.
pub(crate) fn journaled() -> Vec<Sample> {
    let on = Setup { journal: Journal::On, ..PLAIN };
    let options = options(SyncMode::Strict, ONE);
    vec![
        sample("journal, killed", &options, on, Left::KilledInJournal, several),
        sample("journal, a stream was cut", &options, on, Left::KilledInJournal, several_and_cut),
    ]
}

/// The file of the next segment is there, and nothing is in it.
fn with_the_next(writing: &mut Writing) {
    let is_made =
        |writing: &Writing| writing.disk.files().iter().any(|path| path.ends_with(".next.tmp"));
    let mut id = 0;
    while !is_made(writing) {
        writing.single("s", long(id, 1000));
        writing.wal.maintain();
        id += 1;
        assert!(id < 100, "the next segment is not made");
    }
}

/// Killed when the file of the next segment had been made ahead.
pub(crate) fn with_next() -> Vec<Sample> {
    let of = |name, mode, left| sample(name, &options(mode, 12 * 1024), PLAIN, left, with_the_next);
    vec![
        of("next made, strict", SyncMode::Strict, Left::Killed),
        of("next made, async", SyncMode::Async, Left::KilledBut(usize::MAX)),
    ]
}

#[cfg(feature = "sharded")]
pub(crate) mod sharded {
    use ironwal::sharded::ShardedWal;

    use super::*;

    const SHARDS: u16 = 3;

    pub(crate) fn over(wal: &Wal) -> ironwal::Result<ShardedWal> {
        ShardedWal::over(wal.clone(), SHARDS)
    }

    fn shard(nth: u16) -> String {
        format!("shard_{nth:02}")
    }

    /// Appends, batches over shards, checkpoints and a compaction of them.
    fn write(writing: &mut Writing) {
        let wal = over(&writing.wal).unwrap();
        for nth in 0..8_u8 {
            let (shard_id, _) = wal.append(&[nth], &entry(nth.into())).unwrap();
            writing.appended(&shard(shard_id), vec![entry(nth.into())]);
            writing.step();
            if nth % 2 == 1 {
                let id = format!("checkpoint {nth}").into_bytes();
                wal.create_checkpoint(&id).unwrap();
                let offsets = wal.load_checkpoint(&id).unwrap().offsets;
                writing.checkpoints.push((id, offsets));
                writing.step();
            }
            if nth == 5 {
                wal.compact_checkpoints(2).unwrap();
                writing.checkpoints.remove(0);
                writing.step();
            }
        }
    }

    pub(crate) fn samples() -> Vec<Sample> {
        let of = |name, mode, left| sample(name, &options(mode, MANY), PLAIN, left, write);
        vec![
            of("sharded, closed", SyncMode::Strict, Left::Closed),
            of("sharded, killed", SyncMode::Strict, Left::Killed),
            of("sharded, async, closed", SyncMode::Async, Left::Closed),
        ]
    }
}

/// The directory of the stream that a file is in.
pub(crate) fn stream_of(path: &Path) -> Option<&str> {
    let dir = path.parent()?;
    if dir == Path::new(ROOT) { None } else { dir.file_name()?.to_str() }
}

pub(crate) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}
