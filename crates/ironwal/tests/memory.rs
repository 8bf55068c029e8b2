//! Whatever is in the files of a log, opening and reading it allocates no more than
//! `docs/durability.md` says: a constant, and a small multiple of what the files really hold. And of
//! checkpoints only the newest are in memory. Appending and scanning allocate nothing for each entry.
//!
//! A binary of its own: its allocator counts, and there is one allocator for a whole binary, so that
//! the other tests would be counted too. For the same reason it is a single test.
//!
//! Each fault is what somebody could write who wants to do harm: a field with a value that promises
//! much, under checksums that match. And some of each kind that a disk makes (`it/rot/faults.rs`).
#![allow(unsafe_code, clippy::cast_possible_truncation)]

#[allow(dead_code)] // the other tests use all of it
#[path = "it/rot/faults.rs"]
mod faults;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;
use faults::{Fault, Material, byte_faults, file_faults, sector_faults};
use ironwal::{Error, ReadStrategy, SyncMode, Wal, WalOptions};

/// The system's allocator, which also counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How often this thread allocated.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn grow(len: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    let live = LIVE.fetch_add(len, Ordering::Relaxed) + len;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is handed to `System`, which meets the obligations, with the arguments that came;
// counting allocates nothing. `realloc` and `alloc_zeroed` are the trait's own, which are made of these
// two, but for zeroed memory: that one goes to the system too, so that it need not touch it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bound of `docs/durability.md`.
const CONSTANT: usize = 8 << 20;
const FILE_FACTOR: usize = 8;
const READ_BUFFER_FACTOR: usize = 4;
const COMPRESSED_FACTOR: usize = 255;

const READ_BUFFER_LEN: usize = 64 * 1024;
const HEADER_LEN: usize = 8192;
const FRAME_HEADER_LEN: usize = 24;

/// Values that promise much, or are about to.
const NUMBERS: [u64; 9] =
    [0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, (1 << 30) - 24, 1 << 20, 1 << 40, u64::MAX - 7, u64::MAX];

fn options(root: &Path) -> WalOptions {
    WalOptions {
        read_buffer_size: READ_BUFFER_LEN,
        archive_path: Some(root.with_extension("archive")),
        ..WalOptions::new(root)
    }
}

/// The bytes of a log, and of its archive, at rest.
#[derive(Clone)]
struct Image {
    what: &'static str,
    files: Vec<(PathBuf, Vec<u8>)>,
    salt: u64,
    /// The ids that are kept are those from `pruned` to before `count`.
    pruned: u64,
    count: u64,
}

impl Image {
    fn of(what: &'static str, base: &Path, pruned: u64, count: u64) -> Self {
        let mut files = Vec::new();
        collect(base, base, &mut files);
        files.sort();
        let root = files.iter().find(|(path, _)| path.ends_with(".ironwal"));
        let salt = u64_at(&root.unwrap().1, 16);
        Self { what, files, salt, pruned, count }
    }

    fn write(&self, base: &Path) {
        for (path, content) in &self.files {
            let path = base.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn longest(&self) -> usize {
        self.files.iter().map(|(_, content)| content.len()).max().unwrap()
    }
}

fn collect(base: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true => collect(base, &path, files),
            false => {
                let content = fs::read(&path).unwrap();
                files.push((path.strip_prefix(base).unwrap().to_path_buf(), content));
            }
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// The logs that are damaged: singles and batches, in many segments and in one, compressed and not,
/// some of it pruned into the archive; closed, and as a killed process leaves it.
fn images(count_min: u64) -> Vec<Image> {
    let mut images = Vec::new();
    for (what, segment_len, compressed, closed) in [
        ("closed", 1 << 20, false, true),
        ("closed, compressed", 1 << 20, true, true),
        ("killed", 1 << 20, false, false),
        ("many segments, killed", 40_000, true, false),
    ] {
        let base = tempfile::tempdir().unwrap();
        let mut options = WalOptions {
            max_segment_size: segment_len,
            sync_mode: SyncMode::Async,
            ..options(&base.path().join("log"))
        };
        if compressed {
            options.compression = ironwal::CompressionType::Lz4;
        }
        let wal = Wal::new(options).unwrap();
        let mut rng = Rng::with_seed(7);
        let mut count = 0;
        while count < count_min {
            let entries: Vec<Vec<u8>> = (0..rng.usize(1..20))
                .map(|_| vec![rng.u8(..4); [rng.usize(..40), rng.usize(..3000)][rng.usize(..2)]])
                .collect();
            let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            count = match rng.bool() {
                true => wal.append_batch("s", &entries).unwrap().end,
                false => wal.append("s", entries[0]).unwrap() + 1,
            };
        }
        wal.truncate("s", count / 2).unwrap();
        let pruned = wal.stream("s").unwrap().first_id();
        if closed {
            wal.close().unwrap();
        }
        images.push(Image::of(what, base.path(), pruned, count));
    }
    images
}

/// Where the frames of a segment begin.
fn frames(segment: &[u8]) -> Vec<usize> {
    let mut frames = Vec::new();
    let mut at = HEADER_LEN;
    while at + FRAME_HEADER_LEN <= segment.len() && segment[at + 20] == 1 {
        frames.push(at);
        at += (FRAME_HEADER_LEN + u32_at(segment, at + 4) as usize).next_multiple_of(8);
    }
    frames
}

/// Makes the checksums of a frame match again, as far as it is inside of the file.
fn sign_frame(segment: &mut [u8], at: usize, salt: u64) {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    // Number and first id, as both slots have them.
    let seed = crc32c::crc32c_append(seed, &segment[24..40]);
    let seed = crc32c::crc32c_append(seed, &(at as u64).to_le_bytes());
    let check = crc32c::crc32c_append(seed, &segment[at + 4..at + 22]);
    put(segment, at + 22, &((check >> 16) as u16).to_le_bytes());
    let len = (FRAME_HEADER_LEN + u32_at(segment, at + 4) as usize).next_multiple_of(8);
    let end = segment.len().min(at.saturating_add(len));
    let checksum = crc32c::crc32c_append(seed, &segment[at + 4..end]);
    put(segment, at, &checksum.to_le_bytes());
}

/// The same for a slot, a seal or a copy of the root.
fn sign_structure(bytes: &mut [u8], at: usize, len: usize) {
    let checksum = crc32c::crc32c(&bytes[at..at + len - 4]);
    put(bytes, at + len - 4, &checksum.to_le_bytes());
}

/// What is damaged of an image, at random, by somebody who knows the format.
fn damage(image: &mut Image, rng: &mut Rng) -> String {
    let salt = image.salt;
    let nth = rng.usize(..image.files.len());
    let (path, content) = &mut image.files[nth];
    let number = match rng.u8(..4) {
        0 => NUMBERS[rng.usize(..NUMBERS.len())],
        1 => content.len() as u64 * rng.u64(1..4),
        2 => rng.u64(..) >> rng.u32(..64),
        _ => NUMBERS[rng.usize(..NUMBERS.len())] & !7,
    };
    let name = path.display().to_string();
    let is_segment = name.ends_with(".wal") && content.len() >= HEADER_LEN;
    let what = match rng.u8(..8) {
        0..3 if is_segment => {
            let frames = frames(content);
            let Some(&at) = frames.get(rng.usize(..frames.len().max(1))) else {
                return String::new();
            };
            let field = [4, 8, 12, 16, 24, 28][rng.usize(..6)];
            if at + field + 4 > content.len() {
                return String::new();
            }
            put(content, at + field, &(number as u32).to_le_bytes());
            if rng.bool() {
                // The table, or the raw length, is what a flag makes of it.
                content[at + 21] ^= 1;
            }
            sign_frame(content, at, salt);
            format!("frame at {at}: {number:#x} at {field}")
        }
        3..5 if is_segment => {
            let field = [24, 40, 48, 64, 72, 80, 88][rng.usize(..7)];
            for at in [0, 4096] {
                put(content, at + field, &number.to_le_bytes());
                sign_structure(content, at, 128);
            }
            format!("slots: {number:#x} at {field}")
        }
        5 if is_segment => {
            // A seal, or a second one: of no frames at all, or of all of them, with points to match.
            let len = content.len();
            let end = HEADER_LEN + rng.usize(..=(len - HEADER_LEN) / 8) * 8;
            let points = (len - end) / 8;
            let mut seal = [0; 128];
            put(&mut seal, 0, b"IRONWEND");
            put(&mut seal, 8, &1_u32.to_le_bytes());
            put(&mut seal, 12, &(points as u32).to_le_bytes());
            seal[16..60].copy_from_slice(&content[16..60]);
            put(&mut seal, 64, &(end as u64).to_le_bytes());
            put(&mut seal, 72, &number.to_le_bytes());
            put(&mut seal, 80, &crc32c::crc32c(&content[end..end + points * 8]).to_le_bytes());
            sign_structure(&mut seal, 0, 128);
            content.truncate(end + points * 8);
            content.extend_from_slice(&seal);
            format!("seal at {end} with {points} points")
        }
        0..6 if name.ends_with(".ironwal") && content.len() == 8192 => {
            let field = [8, 12, 16, 24][rng.usize(..4)];
            for at in [0, 4096] {
                put(content, at + field, &number.to_le_bytes());
                sign_structure(content, at, 64);
            }
            format!("root: {number:#x} at {field}")
        }
        6 => {
            let len = rng.usize(..=content.len());
            content.truncate(len);
            format!("cut to {len}")
        }
        _ if content.len() >= 8 => {
            let at = rng.usize(..content.len() / 8) * 8;
            let len = rng.usize(..content.len() - at).min(rng.usize(1..5000));
            content[at..at + len].fill_with(|| rng.u8(..));
            if len >= 8 {
                put(content, at, &number.to_le_bytes());
            }
            format!("garbage, {len} bytes at {at}")
        }
        _ => String::new(),
    };
    format!("{name}: {what}")
}

/// The bytes that `work` had allocated at most beside those that were there.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let done = work();
    (done, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

/// Reads all of it in every way. Damage is an error; what it says is not the matter here.
fn read(wal: &Wal, count: u64, rng: &mut Rng) {
    let _ = wal.stats();
    for name in wal.streams() {
        // An iterator over damage ends; this one is stopped only if it does not.
        assert!(wal.iter(&name, 0).unwrap().take(100_000).count() < 100_000, "{name}");
        let Ok(stream) = wal.stream(&name) else { continue };
        let _ = stream.range(..).rev().take(3000).count();
        for _ in 0..20 {
            let _ = stream.get(rng.u64(..count));
        }
        let ids: Vec<u64> = (0..20).map(|_| rng.u64(..count)).collect();
        let _ = wal.get_batch(&name, &ids);
    }
}

fn check(image: &Image, what: &str, rng: &mut Rng) -> usize {
    let base = tempfile::tempdir().unwrap();
    image.write(base.path());
    let root = base.path().join("log");
    let options = WalOptions {
        read_strategy: [ReadStrategy::StandardIo, ReadStrategy::Mmap][rng.usize(..2)],
        block_cache_size: rng.bool().then_some(1 << 20),
        ..options(&root)
    };
    let compressed = match image.what.contains("compressed") || image.what.contains("many") {
        true => COMPRESSED_FACTOR * image.longest(),
        false => 0,
    };
    let bound = CONSTANT
        + READ_BUFFER_FACTOR * READ_BUFFER_LEN
        + FILE_FACTOR * image.longest()
        + compressed.min(1 << 30);
    let mut most = 0;
    let mut held = |doing: &str, peak: usize| {
        most = most.max(peak);
        assert!(peak <= bound, "{}: {what}: {doing}: {peak} bytes, not {bound}", image.what);
    };
    let (opened, peak) = peak_of(|| Wal::open_read_only(options.clone()));
    held("open_read_only", peak);
    if let Ok(wal) = opened {
        let ((), peak) = peak_of(|| read(&wal, image.count, rng));
        held("reading only", peak);
    }
    let (opened, peak) = peak_of(|| Wal::new(options));
    held("open", peak);
    let wal = match opened {
        Ok(wal) => wal,
        Err(Error::Corruption(_) | Error::UnsupportedVersion { .. }) => return most,
        Err(error) => panic!("{}: {what}: {error}", image.what),
    };
    let ((), peak) = peak_of(|| read(&wal, image.count, rng));
    held("reading", peak);
    let (_, peak) = peak_of(|| wal.restore_archived("s"));
    held("restore_archived", peak);
    let ((), peak) = peak_of(|| read(&wal, image.count, rng));
    held("reading what was restored", peak);
    most
}

/// Faults that nobody meant: about so many of each kind.
fn check_rot(image: &Image, other: &Image, count: usize) -> usize {
    let (files, foreign) = (image.files.clone(), other.files.clone());
    let material = Material { files, foreign, older: Vec::new() };
    let some = |faults: Vec<Fault>| {
        let step = (faults.len() / count).max(1) | 1;
        faults.into_iter().step_by(step)
    };
    let faults = some(byte_faults(&material)).chain(some(sector_faults(&material)));
    let faults = faults.chain(file_faults(&material));
    let check = |fault: Fault| {
        let mut damaged = image.clone();
        for (path, content) in fault.changes(&material) {
            damaged.files.retain(|(file, _)| *file != path);
            damaged.files.extend(content.map(|content| (path, content)));
        }
        check(&damaged, &fault.describe(&material), &mut Rng::with_seed(1))
    };
    faults.map(check).max().unwrap()
}

/// A watermark of a mebibyte that lists other streams up to its end, under a lock.
fn check_watermark(image: &Image, rng: &mut Rng) -> usize {
    const WORDS: u64 = (1 << 20) / 8;
    let base = tempfile::tempdir().unwrap();
    image.write(base.path());
    let root = base.path().join("log");
    let mut words = vec![(WORDS - 4) / 4, 1, 1, 0];
    words.extend([1, 2, image.pruned, image.count]);
    while (words.len() as u64) < WORDS {
        words.extend([rng.u64(1000..), 2, rng.u64(..), rng.u64(..)]);
    }
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    fs::write(root.join(".ironwal.watermark"), &bytes).unwrap();
    let lock = File::open(root.join(".ironwal.watermark")).unwrap();
    lock.lock().unwrap();
    let bound = CONSTANT + READ_BUFFER_FACTOR * READ_BUFFER_LEN + FILE_FACTOR * (1 << 20);
    let (count, peak) = peak_of(|| {
        let wal = Wal::open_read_only(options(&root)).unwrap();
        wal.iter("s", 0).unwrap().map(Result::unwrap).count() as u64
    });
    assert_eq!(count, image.count - image.pruned);
    assert!(peak <= bound, "a forged watermark: {peak} bytes, not {bound}");
    peak
}

/// A segment that says it is a tebibyte long, and a frame in it that says it is as long as any can be.
fn check_forged_lengths(image: &Image) -> usize {
    let base = tempfile::tempdir().unwrap();
    let mut image = image.clone();
    let salt = image.salt;
    let is_segment = |path: &Path| path.extension().is_some_and(|it| it == "wal");
    let (_, content) = image.files.iter_mut().find(|(path, _)| is_segment(path)).unwrap();
    for slot in [0, 4096] {
        put(content, slot + 64, &(1_u64 << 40).to_le_bytes());
        put(content, slot + 72, &(image.count + 1000).to_le_bytes());
        sign_structure(content, slot, 128);
    }
    let frames = frames(content);
    let middle = frames[frames.len() / 2];
    put(content, middle + 4, &((1_u32 << 30) - 24).to_le_bytes());
    sign_frame(content, middle, salt);
    image.write(base.path());
    let bound = CONSTANT + READ_BUFFER_FACTOR * READ_BUFFER_LEN + FILE_FACTOR * image.longest();
    let (whole, peak) = peak_of(|| {
        let wal = Wal::new(options(&base.path().join("log"))).unwrap();
        let stream = wal.stream("s").unwrap();
        let from_the_back = stream.range(..).rev().filter(Result::is_ok).count();
        let found = (0..image.count).filter(|id| matches!(stream.get(*id), Ok(Some(_)))).count();
        assert_eq!(found, from_the_back);
        wal.iter("s", 0).unwrap().filter(Result::is_ok).count()
    });
    assert!(peak <= bound, "forged lengths: {peak} bytes, not {bound}");
    assert!(whole > 100, "only {whole} entries are whole");
    peak
}

/// A full segment of frames that are small on the disk and large in memory, whose seal has an index
/// without a point: all of it looks like one piece.
fn check_forged_index() -> usize {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("log");
    let options = WalOptions {
        sync_mode: SyncMode::Async,
        compression: ironwal::CompressionType::Lz4,
        ..options(&root)
    };
    let wal = Wal::new(options.clone()).unwrap();
    let entry = vec![7; 8000];
    for _ in 0..8000 {
        wal.append("s", &entry).unwrap();
    }
    let stream = wal.stream("s").unwrap();
    stream.rotate().unwrap();
    stream.append(b"the last").unwrap();
    wal.close().unwrap();
    let path = root.join("s").join(format!("{:020}.wal", 0));
    let mut content = fs::read(&path).unwrap();
    let mut seal = content.split_off(content.len() - 128);
    content.truncate(u64_at(&seal, 64) as usize);
    assert!(content.len() < 1 << 20, "{} bytes", content.len());
    put(&mut seal, 12, &0_u32.to_le_bytes());
    put(&mut seal, 80, &crc32c::crc32c(&[]).to_le_bytes());
    sign_structure(&mut seal, 0, 128);
    content.extend_from_slice(&seal);
    fs::write(&path, &content).unwrap();
    let bound = CONSTANT + READ_BUFFER_FACTOR * READ_BUFFER_LEN + FILE_FACTOR * content.len();
    let (count, peak) = peak_of(|| {
        let wal = Wal::open_read_only(options).unwrap();
        let stream = wal.stream("s").unwrap();
        assert_eq!(stream.get(4000).unwrap().unwrap(), entry);
        stream.range(..).rev().map(Result::unwrap).count()
    });
    assert_eq!(count, 8001);
    assert!(peak <= bound, "a forged index: {peak} bytes, not {bound}");
    peak
}

/// What the offsets of checkpoints may take in memory, however many there are.
#[cfg(feature = "sharded")]
const NEWEST_LEN_MAX: usize = 16 << 20;

/// Checkpoints over as many shards as there can be, half a mebibyte each, and many more than may be in
/// memory: creating, opening, loading and compacting them.
#[cfg(feature = "sharded")]
fn check_checkpoints() {
    use ironwal::sharded::ShardedWal;

    const COUNT: usize = 160;
    const LEN: usize = 65_535 * 8;
    const { assert!(COUNT * LEN > 4 * NEWEST_LEN_MAX) };
    // Some more are being encoded, written or read.
    const BOUND: usize = NEWEST_LEN_MAX + CONSTANT + 8 * LEN;
    let base = tempfile::tempdir().unwrap();
    let options = WalOptions { sync_mode: SyncMode::Async, ..options(&base.path().join("log")) };
    let open = || ShardedWal::new(options.clone(), 65_535).unwrap();
    let held = |doing: &str, peak: usize, bound: usize| {
        assert!(peak <= bound, "checkpoints: {doing}: {peak} bytes, not {bound}");
        // Some are in memory, or this counts nothing.
        assert!(peak > LEN, "checkpoints: {doing}: only {peak} bytes");
    };
    let load_all = |wal: &ShardedWal, from: usize| {
        for nth in from..COUNT {
            let checkpoint = wal.load_checkpoint(nth.to_string().as_bytes()).unwrap();
            assert_eq!((checkpoint.offsets[0], checkpoint.offsets.len()), (nth as u64, 65_535));
        }
    };
    let ((), peak) = peak_of(|| {
        let wal = open();
        for nth in 0..COUNT {
            wal.create_checkpoint(nth.to_string().as_bytes()).unwrap();
            wal.inner().append("shard_00", b"entry").unwrap();
        }
        wal.close().unwrap();
    });
    held("creating", peak, BOUND);
    let ((), peak) = peak_of(|| load_all(&open(), 0));
    held("opening and loading", peak, BOUND);
    let ((), peak) = peak_of(|| {
        let wal = open();
        wal.compact_checkpoints(COUNT - 10).unwrap();
        load_all(&wal, 10);
    });
    // The newest of the copies, beside those that still count.
    held("compacting", peak, BOUND + NEWEST_LEN_MAX);
}

/// How often this thread allocates while it does something.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// An append and a step of a scan allocate nothing: what is left is that the index of the segment grows
/// from time to time, and that a scan begins.
fn check_that_nothing_is_allocated() {
    const ENTRY: [u8; 100] = [7; 100];
    const SELDOM: usize = 30;
    for (sync_mode, count) in [(SyncMode::Async, 10_000), (SyncMode::Strict, 500)] {
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions { sync_mode, ..WalOptions::new(dir.path()) };
        let wal = Wal::new(options).unwrap();
        let stream = wal.stream("s").unwrap();
        let append = |_| assert!(stream.append(&ENTRY).is_ok());
        (0..100).for_each(append);
        let appending = allocations(|| (0..count).for_each(append));
        assert!(appending < SELDOM, "{sync_mode:?}: {appending} allocations, {count} appends");
        let scanning = allocations(|| {
            assert_eq!(stream.range(..).map(Result::unwrap).count(), 100 + count);
        });
        // Each read has a buffer, unless nobody has a part of the last one any more.
        assert!(scanning < SELDOM, "{sync_mode:?}: {scanning} allocations, {count} entries");
    }
    // Whoever counts nothing would be content.
    assert_eq!(allocations(|| drop(std::hint::black_box(ENTRY.to_vec()))), 1);
}

#[test]
fn no_file_makes_us_allocate_more_than_the_bound() {
    check_that_nothing_is_allocated();
    let rounds = std::env::var("IRONWAL_FORGERIES").map_or(60, |rounds| rounds.parse().unwrap());
    #[cfg(feature = "sharded")]
    check_checkpoints();
    let mut most = check_forged_index();
    for image in images(1200) {
        if image.what == "closed" {
            most = most.max(check_forged_lengths(&image));
            most = most.max(check_watermark(&image, &mut Rng::with_seed(1)));
        }
        for seed in 0..rounds {
            let mut rng = Rng::with_seed(seed);
            let mut damaged = image.clone();
            let what: Vec<String> =
                (0..rng.usize(1..4)).map(|_| damage(&mut damaged, &mut rng)).collect();
            let what = format!("seed {seed}: {}", what.join(", "));
            most = most.max(check(&damaged, &what, &mut rng));
        }
    }
    let small = images(40);
    for (image, other) in small.iter().zip(images(30)) {
        most = most.max(check_rot(image, &other, 20));
    }
    println!("{} KiB at most", most / 1024);
    // Whoever counts nothing would be content.
    assert!(most > READ_BUFFER_LEN);
}
