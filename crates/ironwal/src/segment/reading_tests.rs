//! Reading segments whose files the tests build, on a disk that counts and interferes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::context::ReadContext;
use super::index::{Index, PointPicker};
use super::reader::{DamageKind, ReadError, Segment};
use super::{Cursor, Finder};
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, Fault, Packed, Place};
use crate::format::header::HEADER_LEN;
use crate::format::seal::Point;
use crate::options::{ReadStrategy, WalOptions};
use crate::storage::sim::CallKind;
use crate::storage::{DirEntry, File, Lock, OpenMode, SimDisk, Storage};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, lock};

pub(super) const FIRST_ID: u64 = 100;
pub(super) const PATH: &str = "/00000000000000000100.wal";

pub(super) fn seed() -> SegmentSeed {
    SegmentSeed::new(1, 2, FIRST_ID)
}

/// A segment's file in memory.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) points: Vec<Point>,
    picker: PointPicker,
    pub(super) count: u32,
}

impl Built {
    pub(super) fn new() -> Self {
        let bytes = vec![0; HEADER_LEN as usize];
        Self { bytes, points: Vec::new(), picker: PointPicker::new(), count: 0 }
    }

    pub(super) fn frame(mut self, entries: &[&[u8]], packed: Option<&Packed>) -> Self {
        let offset = self.bytes.len() as u64;
        let place = Place { seed: seed(), offset, index: self.count, synced_to: HEADER_LEN };
        frame::encode(&mut self.bytes, place, entries, packed).unwrap();
        self.points.extend(self.picker.pick(self.count, offset));
        self.count += entries.len() as u32;
        self
    }

    fn loss(mut self, count: u32, len: u64) -> Self {
        let offset = self.bytes.len() as u64;
        let place = Place { seed: seed(), offset, index: self.count, synced_to: HEADER_LEN };
        frame::encode_loss(&mut self.bytes, place, count, len).unwrap();
        self.count += count;
        self
    }

    /// `count` entries of 1000 bytes each.
    pub(super) fn entries(mut self, count: u32) -> Self {
        for _ in 0..count {
            let entry = entry(FIRST_ID + u64::from(self.count));
            self = self.frame(&[&entry], None);
        }
        self
    }

    pub(super) fn segment(&self, context: &Arc<ReadContext>) -> Arc<Segment> {
        let end = (self.bytes.len() as u64, FIRST_ID + u64::from(self.count));
        let mut index = Index::empty();
        index.extend(&self.points);
        Arc::new(Segment::new(
            Arc::clone(context),
            PathBuf::from(PATH),
            FIRST_ID,
            Some(seed()),
            end,
            index,
        ))
    }
}

pub(super) fn entry(id: u64) -> Vec<u8> {
    vec![id as u8; 1000]
}

pub(super) type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A disk that does something when a file is opened or asked, and can map.
#[derive(Clone)]
pub(super) struct Interfering {
    pub(super) disk: SimDisk,
    before_open: Hook,
    pub(super) before_read: Hook,
    /// When the file has said what it holds, or how long it is, and nobody knows yet.
    pub(super) after_answer: Hook,
    pub(super) maps: Option<Bytes>,
    open: Arc<AtomicU64>,
    bytes_read: Arc<AtomicU64>,
}

impl Interfering {
    fn new(built: &Built) -> Self {
        Self::holding(&built.bytes)
    }

    pub(super) fn holding(bytes: &[u8]) -> Self {
        let disk = SimDisk::new(1);
        disk.replace(Path::new(PATH), bytes).unwrap();
        Self {
            disk,
            before_open: Hook::default(),
            before_read: Hook::default(),
            after_answer: Hook::default(),
            maps: None,
            open: Arc::default(),
            bytes_read: Arc::default(),
        }
    }

    pub(super) fn context(&self, options: &WalOptions) -> Arc<ReadContext> {
        ReadContext::new(Arc::new(self.clone()), options)
    }

    pub(super) fn reads(&self) -> u64 {
        self.disk.calls(CallKind::Read)
    }

    /// How many bytes have been asked for.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// What it does can put something else in its place.
    fn do_now(&self, hook: &Hook) {
        let hook = lock(hook).take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl fmt::Debug for Interfering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Interfering")
    }
}

impl Storage for Interfering {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.do_now(&self.before_open);
        let file = self.disk.open(path, mode)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Mapped { file, of: self.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }
}

#[derive(Debug)]
struct Mapped {
    file: Arc<dyn File>,
    of: Interfering,
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl File for Mapped {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.of.do_now(&self.of.before_read);
        let count = self.file.read_at(buf, offset);
        self.of.do_now(&self.of.after_answer);
        self.of.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        count
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        let len = self.file.len();
        self.of.do_now(&self.of.after_answer);
        len
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.reserve(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn map(&self, len: u64) -> io::Result<Option<Bytes>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(self.of.maps.as_ref().map(|map| map.slice(..len.min(map.len()))))
    }
}

pub(super) fn get(segment: &Arc<Segment>, id: u64) -> Result<Bytes, ReadError> {
    Finder::new(Arc::clone(segment))?.get(id)
}

pub(super) fn cursor(segment: &Arc<Segment>, id: u64) -> Cursor {
    segment.cursor(id, 4096).unwrap()
}

/// What is wrong with an entry, asked for in every way there is.
pub(super) fn damage(segment: &Arc<Segment>, id: u64) -> DamageKind {
    let by_id = get(segment, id).unwrap_err();
    let in_order = cursor(segment, id).next(u64::MAX).unwrap_err();
    let backwards = match segment.backwards(id, 0) {
        Ok(mut backwards) => backwards.take(id).unwrap().unwrap_err(),
        Err(ReadError::Damaged(damage)) => damage,
        Err(error) => panic!("{error:?}"),
    };
    let (ReadError::Damaged(by_id), ReadError::Damaged(in_order)) = (by_id, in_order) else {
        panic!("it is not damaged");
    };
    assert_eq!(by_id, in_order);
    assert_eq!(by_id, backwards);
    by_id.kind
}

pub(super) fn cached_options(len: u64) -> WalOptions {
    WalOptions { block_cache_size: Some(len), ..WalOptions::default() }
}

/// A file whose frame claims, with checksums that match, to be a gigabyte uncompressed: that is
/// seen before anything is allocated for it.
#[test]
fn a_frame_that_claims_too_much_is_damage() {
    let disk = |raw_len: u32, block: &[u8]| {
        let packed = Packed::forged(raw_len, block);
        let built = Built::new().entries(1).frame(&[b"x", b"y"], Some(&packed)).entries(1);
        (Interfering::new(&built), built)
    };
    for options in [WalOptions::default(), cached_options(1 << 20)] {
        for raw_len in [255 * 8 + 1, 1 << 30, u32::MAX] {
            let (disk, built) = disk(raw_len, &[0x1F; 8]);
            let segment = built.segment(&disk.context(&options));
            assert_eq!(damage(&segment, 101), DamageKind::Frame(Fault::RawLength));
            assert_eq!(get(&segment, 103).unwrap(), entry(103));
        }
    }
}

#[test]
#[cfg(feature = "compression")]
fn a_compressed_payload_that_contradicts_itself_is_damage() {
    let forged = Packed::forged(1000, &[0xFF; 8]);
    // Two entries, of which the first ends behind the data.
    let table = lz4_flex::block::compress(&[99, 0, 0, 0, 1, 2]);
    let table = Packed::forged(6, &table);
    for (packed, kind) in [(forged, DamageKind::Compression), (table, DamageKind::Table)] {
        let built = Built::new().entries(1).frame(&[b"x", b"y"], Some(&packed)).entries(1);
        let context = Interfering::new(&built).context(&cached_options(1 << 20));
        let segment = built.segment(&context);
        segment.set_proven();
        assert_eq!(damage(&segment, 101), kind);
        assert_eq!(damage(&segment, 102), kind);
        assert_eq!(get(&segment, 100).unwrap(), entry(100));
        assert_eq!(get(&segment, 103).unwrap(), entry(103));
        assert_eq!(context.cached_blocks().0, 0, "damage is never cached");
    }
}

#[test]
#[cfg(not(feature = "compression"))]
fn a_compressed_entry_needs_the_feature_and_is_not_damaged() {
    let packed = Packed::forged(9, &[0x1F; 8]);
    let built = Built::new().entries(1).frame(&[b"x"], Some(&packed)).entries(1);
    let segment = built.segment(&Interfering::new(&built).context(&cached_options(1 << 20)));
    segment.set_proven();
    for error in
        [get(&segment, 101).unwrap_err(), cursor(&segment, 101).next(u64::MAX).unwrap_err()]
    {
        let ReadError::Io(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("`compression`"), "{error}");
    }
    assert_eq!(get(&segment, 102).unwrap(), entry(102));
}

#[test]
fn an_entry_costs_one_read_and_neighbours_share_it() {
    let built = Built::new().entries(40);
    let disk = Interfering::new(&built);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    for id in [100, 117, 139] {
        let before = disk.reads();
        assert_eq!(get(&segment, id).unwrap(), entry(id));
        assert_eq!(disk.reads() - before, 1);
    }
    assert_eq!(disk.open.load(Ordering::Relaxed), 1, "the file stays open");
    let before = disk.reads();
    let mut finder = Finder::new(Arc::clone(&segment)).unwrap();
    for id in 100..140 {
        assert_eq!(finder.get(id).unwrap(), entry(id));
    }
    // A point every four entries, and the first one is read alone.
    assert_eq!(disk.reads() - before, 11);
}

#[test]
fn a_small_entry_does_not_hold_what_was_read_around_it() {
    let built = Built::new().frame(&[b"small"], None).entries(10);
    let segment = built.segment(&Interfering::new(&built).context(&WalOptions::default()));
    let small = get(&segment, 100).unwrap();
    assert!(small.is_unique());
    assert_eq!(small.try_into_mut().unwrap().capacity(), 5);
}

#[test]
fn blocks_are_read_once_and_stay_in_their_bounds() {
    let built = Built::new().entries(200);
    let disk = Interfering::new(&built);
    let context = disk.context(&cached_options(64 * 1024));
    let segment = built.segment(&context);
    for id in 100..300 {
        let before = disk.reads();
        assert_eq!(get(&segment, id).unwrap(), entry(id));
        let first_of_block = (id - 100).is_multiple_of(4);
        let grows = id >= 296;
        assert_eq!(disk.reads() - before, u64::from(first_of_block || grows), "{id}");
    }
    let (count, weight) = context.cached_blocks();
    assert!(count >= 8 && weight <= 64 * 1024, "{count} blocks of {weight} bytes");
    // Nothing will be added any more.
    segment.set_proven();
    get(&segment, 299).unwrap();
    let before = disk.reads();
    assert_eq!(get(&segment, 296).unwrap(), entry(296));
    assert_eq!(disk.reads(), before);

    let context = disk.context(&WalOptions::default());
    get(&built.segment(&context), 100).unwrap();
    assert_eq!(context.cached_blocks(), (0, 0), "nothing is cached unless it is asked for");
}

#[test]
fn a_segment_that_was_made_again_meets_nothing_of_its_former_life() {
    let built = Built::new().entries(40);
    let disk = Interfering::new(&built);
    let context = disk.context(&cached_options(1 << 20));
    let old = built.segment(&context);
    assert_eq!(get(&old, 100).unwrap(), entry(100));
    assert_eq!((context.open_files(), context.cached_blocks().0), (1, 1));
    old.retire(FIRST_ID);
    assert_eq!((context.open_files(), context.cached_blocks().0), (0, 0));
    assert!(matches!(get(&old, 100), Err(ReadError::Retired)));

    let new = Built::new().frame(&[b"new"], None).entries(9);
    disk.disk.remove(Path::new(PATH)).unwrap();
    disk.disk.replace(Path::new(PATH), &new.bytes).unwrap();
    assert!(matches!(get(&old, 100), Err(ReadError::Retired)));
    assert_eq!(get(&new.segment(&context), 100).unwrap(), &b"new"[..]);
    assert!(matches!(old.cursor(100, 4096), Err(ReadError::Retired)));
    assert!(matches!(old.backwards(100, 0), Err(ReadError::Retired)));
}

/// The segment is retired, and its file replaced, just before a reader opens it.
#[test]
fn a_file_that_is_opened_after_the_segment_was_retired_is_not_used() {
    let built = Built::new().entries(40);
    for removed in [false, true] {
        let disk = Interfering::new(&built);
        let context = disk.context(&cached_options(1 << 20));
        let segment = built.segment(&context);
        let (retired, files) = (Arc::clone(&segment), disk.disk.clone());
        *lock(&disk.before_open) = Some(Box::new(move || {
            retired.retire(FIRST_ID);
            files.remove(Path::new(PATH)).unwrap();
            if !removed {
                let other = Built::new().frame(&[b"other"], None);
                files.replace(Path::new(PATH), &other.bytes).unwrap();
            }
        }));
        assert!(matches!(get(&segment, 100), Err(ReadError::Retired)));
        assert_eq!((context.open_files(), context.cached_blocks().0), (0, 0));
    }
}

/// The segment is retired while a reader is making a block of it: nothing of it stays in the cache.
#[test]
fn a_block_of_a_segment_that_was_retired_meanwhile_is_not_kept() {
    let built = Built::new().entries(40);
    let disk = Interfering::new(&built);
    let context = disk.context(&cached_options(1 << 20));
    let segment = built.segment(&context);
    let retired = Arc::clone(&segment);
    *lock(&disk.before_read) = Some(Box::new(move || retired.retire(FIRST_ID)));
    assert_eq!(get(&segment, 100).unwrap(), entry(100), "it was there when it was asked for");
    assert_eq!((context.open_files(), context.cached_blocks().0), (0, 0));
    assert!(matches!(get(&segment, 100), Err(ReadError::Retired)));
}

#[test]
fn a_file_that_is_missing_is_damage_and_not_an_error_of_the_disk() {
    let built = Built::new().entries(40);
    let disk = Interfering::new(&built);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    disk.disk.remove(Path::new(PATH)).unwrap();
    let Err(ReadError::Damaged(damage)) = get(&segment, 120) else { panic!("it is there") };
    assert_eq!((damage.kind, damage.ids), (DamageKind::Missing, 100..140));
    assert!(matches!(segment.cursor(120, 4096), Err(ReadError::Damaged(_))));
    assert!(matches!(segment.backwards(120, 0), Err(ReadError::Damaged(_))));
}

#[test]
fn who_has_the_file_goes_on_to_where_the_segment_was_cut() {
    let built = Built::new().entries(40);
    let disk = Interfering::new(&built);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    let mut cursor = cursor(&segment, 110);
    let mut backwards = segment.backwards(123, 0).unwrap();
    assert_eq!(cursor.next(u64::MAX).unwrap().unwrap().0, 110);
    segment.retire(122);
    for id in 111..122 {
        assert_eq!(cursor.next(u64::MAX).unwrap().unwrap(), (id, Bytes::from(entry(id))));
    }
    assert_eq!(cursor.next(u64::MAX).unwrap(), None);
    assert_eq!(cursor.next_id(), 122);
    assert!(backwards.take(123).is_none());
    assert_eq!(backwards.take(121).unwrap().unwrap(), entry(121));
}

#[test]
fn a_batch_that_was_cut_through_ends_at_the_cut() {
    let built = Built::new().frame(&[b"a", b"b", b"c", b"d"], None);
    let disk = Interfering::new(&built);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    let mut cursor = cursor(&segment, 100);
    assert_eq!(cursor.next(u64::MAX).unwrap().unwrap().1, &b"a"[..]);
    segment.retire(102);
    assert_eq!(cursor.next(u64::MAX).unwrap().unwrap().1, &b"b"[..]);
    assert_eq!(cursor.next(u64::MAX).unwrap(), None);
}

/// Frames with one entry are decoded many at a time, up to one with several, or to damage: all entries
/// come, in order, and what was decoded before a cut does not outlive it.
#[test]
fn entries_that_are_decoded_ahead_come_in_order() {
    let batches = [&[&b"one"[..], b"two"][..], &[b"three", b"four", b"five"]];
    for singles in [0, 1, 31, 32, 33, 70] {
        let mut built = Built::new();
        for batch in batches {
            built = built.entries(singles).frame(batch, None);
        }
        let built = built.entries(singles);
        let disk = Interfering::new(&built);
        let context = disk.context(&WalOptions::default());
        let expected: Vec<u64> = (FIRST_ID..FIRST_ID + u64::from(built.count)).collect();
        for read_len in [1, 5000, 1 << 20] {
            let mut cursor = built.segment(&context).cursor(FIRST_ID, read_len).unwrap();
            let mut ids = Vec::new();
            while let Some((id, found)) = cursor.next(u64::MAX).unwrap() {
                assert!(found.len() < 10 || found == entry(id), "{id}");
                ids.push(id);
            }
            assert_eq!(ids, expected, "{singles} singles, {read_len} bytes at a time");
        }
        let segment = built.segment(&context);
        let mut cursor = segment.cursor(FIRST_ID, 1 << 20).unwrap();
        cursor.next(u64::MAX).unwrap().unwrap();
        let cut = FIRST_ID + u64::from(built.count) / 2;
        segment.retire(cut);
        let rest = std::iter::from_fn(|| cursor.next(u64::MAX).unwrap()).map(|(id, _)| id);
        assert_eq!(rest.collect::<Vec<u64>>(), (FIRST_ID + 1..cut).collect::<Vec<u64>>());
    }
}

#[test]
fn what_is_decoded_ahead_ends_before_damage() {
    let mut built = Built::new().entries(50);
    let frame_len = (built.bytes.len() - HEADER_LEN as usize) / 50;
    built.bytes[HEADER_LEN as usize + 40 * frame_len + 500] ^= 1;
    let disk = Interfering::new(&built);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    let mut cursor = segment.cursor(FIRST_ID, 1 << 20).unwrap();
    for id in FIRST_ID..FIRST_ID + 40 {
        assert_eq!(cursor.next(u64::MAX).unwrap().unwrap(), (id, entry(id).into()));
    }
    let damaged = cursor.next(u64::MAX);
    let lost = FIRST_ID + 40..FIRST_ID + 41;
    assert!(
        matches!(&damaged, Err(ReadError::Damaged(damage)) if damage.ids == lost),
        "{damaged:?}"
    );
    assert_eq!(cursor.next(u64::MAX).unwrap().unwrap().0, FIRST_ID + 41);
}

#[test]
fn segments_are_mapped_where_that_is_wanted() {
    let built = Built::new().entries(40);
    let mut disk = Interfering::new(&built);
    let map = Bytes::from(built.bytes.clone());
    disk.maps = Some(map.clone());
    let inside = |entry: &Bytes| map.as_ptr_range().contains(&entry.as_ptr());

    let by_reading = WalOptions::default();
    let by_mapping = WalOptions { read_strategy: ReadStrategy::Mmap, ..by_reading.clone() };
    for (options, proven, maps) in
        [(&by_mapping, true, true), (&by_mapping, false, true), (&by_reading, true, false)]
    {
        let context = disk.context(options);
        let segment = built.segment(&context);
        if proven {
            segment.set_proven();
        }
        let before = disk.reads();
        assert_eq!(inside(&cursor(&segment, 100).next(u64::MAX).unwrap().unwrap().1), maps);
        assert_eq!(inside(&get(&segment, 120).unwrap()), maps);
        assert_eq!(disk.reads() == before, maps);
        // One that may still grow is mapped as far as it has grown, and kept open for the rest.
        let is_open = !maps || !proven;
        assert_eq!(disk.open.load(Ordering::Relaxed), u64::from(is_open), "files that are open");
        assert_eq!(context.open_files(), 1);
    }

    // All of it is mapped once it is proven, and the file is closed.
    let options = WalOptions { block_cache_size: Some(1 << 20), ..by_mapping };
    let segment = built.segment(&disk.context(&options));
    let first = || inside(&cursor(&segment, 100).next(u64::MAX).unwrap().unwrap().1);
    assert!(first());
    assert_eq!(disk.open.load(Ordering::Relaxed), 1);
    segment.set_proven();
    assert!(first());
    assert_eq!(disk.open.load(Ordering::Relaxed), 0);
    // A cached block must not keep the map.
    assert!(!inside(&get(&segment, 120).unwrap()));

    disk.maps = None;
    let segment = built.segment(&disk.context(&options));
    segment.set_proven();
    assert_eq!(get(&segment, 120).unwrap(), entry(120), "what cannot be mapped is read");
}

/// Damage over several runs of the index is one, from wherever it is met.
#[test]
fn damage_over_several_runs_is_one() {
    let built = Built::new().entries(60);
    let disk = Interfering::new(&built);
    let frame_len = 1024;
    let start = HEADER_LEN + 12 * frame_len;
    disk.disk.overwrite(Path::new(PATH), start, &vec![0x55; 20 * 1024]).unwrap();
    let segment = built.segment(&disk.context(&WalOptions::default()));
    let Err(ReadError::Damaged(expected)) = cursor(&segment, 112).next(u64::MAX) else {
        panic!("nothing is damaged")
    };
    assert_eq!(expected.ids, 112..132);
    for id in [131, 122, 113, 112] {
        let mut backwards = segment.backwards(id, 0).unwrap();
        let found = backwards.take(id).unwrap().unwrap_err();
        assert_eq!(found.ids.start, 112, "from {id}");
        if id == 131 {
            assert_eq!(found, expected);
        }
    }
    let mut backwards = segment.backwards(131, 121).unwrap();
    let found = backwards.take(131).unwrap().unwrap_err();
    assert!(found.ids.start <= 121 && found.ids.start > 112, "{found:?}");
}

/// A loss frame is damage with exactly its ids, from wherever it is met, whatever is next to it.
#[test]
fn what_was_lost_with_the_journal_is_damage() {
    let built = Built::new().entries(3).loss(5, 48).loss(2, 9000).entries(9);
    let lost = DamageKind::Frame(Fault::Lost);
    for options in [WalOptions::default(), cached_options(1 << 20)] {
        let disk = Interfering::new(&built);
        let segment = built.segment(&disk.context(&options));
        for id in 103..110 {
            assert_eq!(damage(&segment, id), lost, "{id}");
        }
        let mut cursor = cursor(&segment, 100);
        for id in 100..103 {
            assert_eq!(cursor.next(u64::MAX).unwrap().unwrap(), (id, Bytes::from(entry(id))));
        }
        for ids in [103..108, 108..110] {
            let Err(ReadError::Damaged(damage)) = cursor.next(u64::MAX) else {
                panic!("it is not damaged")
            };
            assert_eq!((damage.ids.clone(), damage.kind), (ids, lost));
            assert!(damage.reason().contains("lost with the journal"));
        }
        for id in 110..119 {
            assert_eq!(cursor.next(u64::MAX).unwrap().unwrap(), (id, Bytes::from(entry(id))));
            assert_eq!(get(&segment, id).unwrap(), entry(id));
        }

        // A cut through it is refused; one behind it keeps it.
        for id in [104, 107, 109] {
            let Err(ReadError::Damaged(damage)) = segment.before(id, seed()) else {
                panic!("cut through at {id}")
            };
            assert!(damage.kind == lost && damage.ids.contains(&id));
        }
        for (id, end) in [(103, 3 * 1024), (108, 3 * 1024 + 48), (110, 3 * 1024 + 9048)] {
            let before = segment.before(id, seed()).unwrap();
            assert_eq!((before.proof.next_id, before.proof.synced_to), (id, HEADER_LEN + end));
            assert!(before.last_frame.is_empty());
        }
    }
}

/// Damage that begins a run of the index is not taken together with a loss frame before it.
#[test]
fn a_loss_frame_ends_before_other_damage() {
    let built = Built::new().entries(3).loss(5, 4096).entries(9);
    let disk = Interfering::new(&built);
    let start = HEADER_LEN + 3 * 1024 + 4096;
    disk.disk.overwrite(Path::new(PATH), start, &[0x55; 1024]).unwrap();
    let segment = built.segment(&disk.context(&WalOptions::default()));
    assert_eq!(damage(&segment, 105), DamageKind::Frame(Fault::Lost));
    assert_eq!(damage(&segment, 108), DamageKind::Frame(Fault::Header));
}
