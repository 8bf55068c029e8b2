//! The same operations from one thread, with the same salt and clock, give the same bytes: in every
//! stream's directory, in the log of checkpoints and in the root file, on whatever disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ironwal::sharded::ShardedWal;
use ironwal::storage::sim::SimConfig;
use ironwal::storage::{SimDisk, Storage};
use ironwal::{Environment, Error, Maintenance, SyncMode, Wal, WalOptions};

use super::{MODES, open, options};

const SHARDS: u16 = 5;
const OPERATIONS: u32 = 250;
const SALT: u64 = 0x5EED;

/// What is for the processes that are there, and not for the log: the lock and the watermark.
const OF_PROCESSES: [&str; 4] = [".ironwal.lock", ".ironwal.watermark", ".journal.0", ".journal.1"];

/// The files of a log at rest.
type Image = BTreeMap<PathBuf, Vec<u8>>;

/// Where a log is that operations are done to.
trait Place {
    fn root(&self) -> PathBuf;
    fn storage(&self) -> Option<Arc<dyn Storage>>;
    fn files(&self) -> Image;
}

impl Place for SimDisk {
    fn root(&self) -> PathBuf {
        "/log".into()
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        Some(Arc::new(self.process()))
    }

    fn files(&self) -> Image {
        let files = SimDisk::files(self).into_iter();
        files
            .map(|path| {
                let content = self.contents(&path).unwrap();
                (path.strip_prefix("/log").unwrap().to_path_buf(), content)
            })
            .collect()
    }
}

impl Place for tempfile::TempDir {
    fn root(&self) -> PathBuf {
        self.path().join("log")
    }

    fn storage(&self) -> Option<Arc<dyn Storage>> {
        None
    }

    fn files(&self) -> Image {
        let mut image = Image::new();
        collect(&self.root(), Path::new(""), &mut image);
        image
    }
}

fn collect(root: &Path, inside: &Path, image: &mut Image) {
    for entry in fs::read_dir(root.join(inside)).unwrap().map(Result::unwrap) {
        let inside = inside.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => collect(root, &inside, image),
            false => drop(image.insert(inside, fs::read(entry.path()).unwrap())),
        }
    }
}

/// What the operations of a run came upon, so that no test passes because nothing happened.
#[derive(Debug, Default)]
struct Seen {
    segments_pruned: usize,
    replaced: u32,
    compactions: u32,
    reopened: u32,
}

struct Run<'a> {
    place: &'a dyn Place,
    mode: SyncMode,
    rng: Rng,
    /// Goes on by a millisecond with every look.
    clock: Arc<AtomicU64>,
    checkpoints: Vec<Vec<u8>>,
    seen: Seen,
}

impl Run<'_> {
    fn open(&self) -> ShardedWal {
        let options = WalOptions {
            sync_mode: self.mode,
            max_segment_size: 12 * 1024,
            max_entries_per_segment: 40,
            #[cfg(feature = "compression")]
            compression: ironwal::CompressionType::Lz4,
            min_compression_size: 200,
            ..WalOptions::new(self.place.root())
        };
        let clock = Arc::clone(&self.clock);
        let mut environment = Environment::default()
            .with_entropy(|| SALT)
            .with_clock(move || Duration::from_millis(clock.fetch_add(1, Ordering::Relaxed)))
            .with_maintenance(Maintenance::Inline);
        if let Some(storage) = self.place.storage() {
            environment = environment.with_storage(storage);
        }
        ShardedWal::over(Wal::open_with(options, environment).unwrap(), SHARDS).unwrap()
    }

    fn entry(&mut self) -> (Vec<u8>, Vec<u8>) {
        let rng = &mut self.rng;
        let value = vec![rng.u8(..); rng.usize(..400)];
        (rng.u64(..100).to_string().into_bytes(), value)
    }

    fn checkpoint(&mut self) -> Option<Vec<u8>> {
        let count = self.checkpoints.len();
        (count > 0).then(|| self.checkpoints[self.rng.usize(..count)].clone())
    }

    fn step(&mut self, wal: &mut ShardedWal) {
        match self.rng.u32(..100) {
            0..40 => {
                let (key, value) = self.entry();
                wal.append(&key, &value).unwrap();
            }
            40..65 => {
                let entries: Vec<_> = (0..self.rng.u32(..12)).map(|_| self.entry()).collect();
                wal.append_batch(&entries).unwrap();
            }
            65..70 => {
                let (key, value) = self.entry();
                wal.append_batch_for_key(&key, &[&value, b"", &value]).unwrap();
            }
            70..82 => {
                let id = format!("checkpoint {}", self.rng.u32(..30)).into_bytes();
                wal.create_checkpoint(&id).unwrap();
                let before = self.checkpoints.len();
                self.checkpoints.retain(|other| *other != id);
                self.seen.replaced += u32::from(self.checkpoints.len() < before);
                self.checkpoints.push(id);
            }
            82..86 => {
                let kept = self.rng.usize(..8);
                let stats = wal.compact_checkpoints(kept).unwrap();
                let dropped = self.checkpoints.len() - kept.min(self.checkpoints.len());
                self.checkpoints.drain(..dropped);
                assert_eq!(stats.checkpoints_after, self.checkpoints.len());
                self.seen.compactions += u32::from(dropped > 0);
            }
            86..90 => {
                if let Some(id) = self.checkpoint() {
                    let stats = wal.prune_before_checkpoint(&id).unwrap();
                    self.seen.segments_pruned += stats.segments_deleted;
                }
            }
            90..93 => wal.flush_shard(self.rng.u16(..SHARDS)).unwrap(),
            93..95 => wal.flush_all().unwrap(),
            95..97 => wal.shard(self.rng.u16(..SHARDS)).unwrap().rotate().unwrap(),
            _ => {
                wal.close().unwrap();
                *wal = self.open();
                self.seen.reopened += 1;
            }
        }
        wal.inner().maintain();
    }
}

/// Does what a seed says, and returns the log as it is after closing it.
fn run(place: &dyn Place, mode: SyncMode, seed: u64) -> (Image, Seen) {
    let rng = Rng::with_seed(seed);
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let mut run = Run { place, mode, rng, clock, checkpoints: Vec::new(), seen: Seen::default() };
    let mut wal = run.open();
    for _ in 0..OPERATIONS {
        run.step(&mut wal);
    }
    assert_eq!(wal.checkpoint_count(), run.checkpoints.len());
    wal.close().unwrap();
    let mut image = place.files();
    image.retain(|path, _| OF_PROCESSES.iter().all(|other| path != Path::new(other)));
    (image, run.seen)
}

/// A disk whose own choices come from a seed, some of whose reads and writes are short.
fn disk(seed: u64) -> SimDisk {
    let (short_reads, short_writes) = (0.1, 0.1);
    SimDisk::with_config(SimConfig { seed, short_reads, short_writes, ..SimConfig::default() })
}

fn check_same(one: &Image, other: &Image, what: &str) {
    assert!(one.keys().eq(other.keys()), "{what}: {:?} and {:?}", one.keys(), other.keys());
    for (path, content) in one {
        let differ = |(one, other): (&u8, &u8)| one != other;
        let (len, other) = (content.len(), &other[path]);
        assert_eq!(len, other.len(), "{what}: {}", path.display());
        let first = content.iter().zip(other).position(differ);
        assert_eq!(first, None, "{what}: {} differs at this byte", path.display());
    }
}

#[test]
fn the_same_operations_give_the_same_bytes() {
    let mut all = Seen::default();
    for mode in MODES {
        for seed in 0..12 {
            let what = format!("{mode:?} seed {seed}");
            let (one, seen) = run(&disk(1), mode, seed);
            let (other, _) = run(&disk(2), mode, seed);
            check_same(&one, &other, &what);
            if seed < 2 {
                let (real, _) = run(&tempfile::tempdir().unwrap(), mode, seed);
                check_same(&one, &real, &format!("{what} on a real disk"));
            }
            let shards = one.keys().filter(|path| path.starts_with("shard_00")).count();
            assert!(shards > 0 && one.contains_key(Path::new(".ironwal")), "{what}");
            assert!(one.keys().any(|path| path.starts_with(".checkpoints")), "{what}");
            all.segments_pruned += seen.segments_pruned;
            all.replaced += seen.replaced;
            all.compactions += seen.compactions;
            all.reopened += seen.reopened;
        }
    }
    let Seen { segments_pruned, replaced, compactions, reopened } = all;
    assert!(
        segments_pruned > 100 && replaced > 100 && compactions > 100 && reopened > 100,
        "{segments_pruned} {replaced} {compactions} {reopened}"
    );
}

/// Were the bytes of no entry looked at, the test above would pass too.
#[test]
fn other_operations_give_other_bytes() {
    for mode in MODES {
        let (one, _) = run(&disk(1), mode, 1);
        let (other, _) = run(&disk(1), mode, 2);
        for dir in ["shard_00", ".checkpoints"] {
            let of = |image: &Image| {
                let files = image.iter().filter(|(path, _)| path.starts_with(dir));
                files.map(|(_, content)| content.clone()).collect::<Vec<_>>()
            };
            assert_ne!(of(&one), of(&other), "{mode:?} {dir}");
        }
    }
}

/// Closing says all there is to say: opening and closing again changes nothing.
#[test]
fn a_log_that_is_only_opened_stays_as_it_is() {
    for mode in MODES {
        let disk = disk(1);
        let (before, _) = run(&disk, mode, 3);
        let wal = open(&disk, options(mode), SHARDS).unwrap();
        let latest = wal.load_latest_checkpoint();
        assert!(matches!(latest, Ok(_) | Err(Error::NoCheckpoints)), "{latest:?}");
        wal.close().unwrap();
        let mut after = Place::files(&disk);
        after.retain(|path, _| OF_PROCESSES.iter().all(|other| path != Path::new(other)));
        check_same(&before, &after, &format!("{mode:?}"));
    }
}

/// The numbers of streams, and what a crash leaves of a batch, are up to the order in which its
/// shards are written.
#[test]
fn a_batch_is_written_shard_after_shard() {
    const MANY: u16 = 40;
    for mode in MODES {
        let disk = SimDisk::with_config(SimConfig { trace: true, ..SimConfig::default() });
        let wal = open(&disk, options(mode), MANY).unwrap();
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            (0..300_u32).map(|nth| (nth.to_le_bytes().to_vec(), vec![1; 100])).collect();
        wal.append_batch(&entries).unwrap();
        assert_eq!(wal.inner().streams().len(), usize::from(MANY), "every shard has a part");
        let trace = disk.trace();
        let made: Vec<&str> =
            trace.iter().filter_map(|call| call.split("mkdir /log/").nth(1)).collect();
        let expected: Vec<String> = (0..MANY).map(|shard| format!("shard_{shard:02}")).collect();
        assert_eq!(made, expected, "{mode:?}");
        // The same once all of them are there.
        let before = trace.len();
        wal.append_batch(&entries).unwrap();
        let trace = disk.trace();
        let mut written: Vec<&str> = trace[before..]
            .iter()
            .filter_map(|call| call.split(": write /log/").nth(1)?.split('/').next())
            .filter(|dir| dir.starts_with("shard_"))
            .collect();
        written.dedup();
        assert!(written.is_sorted_by(|one, other| one < other), "{mode:?}: {written:?}");
        if mode == SyncMode::Strict {
            assert_eq!(written, expected, "{mode:?}");
        }
    }
}
