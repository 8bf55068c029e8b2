//! Appends that are not synced, and go into mapped memory: no calls, nothing lost to a kill, nothing
//! called durable that is not, and nothing that overtakes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::storage::{SimDisk, Storage};
use ironwal::{
    CorruptionPolicy, Environment, Error, Maintenance, Stream, SyncMode, Wal, WalOptions,
    WriteStrategy,
};

use crate::hooked::Hooked;

const UNSYNCED: [SyncMode; 3] = [SyncMode::Async, SyncMode::BatchOnly, SyncMode::Interval(HOUR)];
const HOUR: Duration = Duration::from_secs(3600);

fn options(mode: SyncMode) -> WalOptions {
    WalOptions { sync_mode: mode, ..WalOptions::new("/log") }
}

fn open(storage: impl Storage, mode: SyncMode) -> Wal {
    open_with(storage, options(mode))
}

fn open_with(storage: impl Storage, options: WalOptions) -> Wal {
    let environment = Environment::default()
        .with_storage(Arc::new(storage))
        .with_entropy(|| 0x5A17)
        .with_clock(hours())
        .with_maintenance(Maintenance::Inline);
    Wal::open_with(options, environment).unwrap()
}

/// A clock by which an hour passes between two looks at it: streams are idle at the second.
fn hours() -> impl Fn() -> Duration + Send + Sync {
    let looks = AtomicU32::new(0);
    move || HOUR * looks.fetch_add(1, Ordering::Relaxed)
}

fn entries(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    wal.iter(stream, 0).unwrap().map(Result::unwrap).collect()
}

#[test]
fn they_make_no_calls_and_survive_a_kill() {
    for mode in UNSYNCED {
        let disk = SimDisk::new(3);
        let wal = open(disk.process(), mode);
        let stream = wal.stream("s").unwrap();
        stream.append(&[0; 1000]).unwrap();
        stream.append(&[0; 1000]).unwrap();
        let before = disk.calls_total();
        for n in 0..50_u8 {
            stream.append(&[n]).unwrap();
        }
        assert_eq!(disk.calls_total(), before, "{mode:?}");
        assert_eq!(stream.get(51).unwrap().as_deref(), Some(&[49][..]));
        disk.kill();
        drop((stream, wal));
        let wal = open(disk.process(), mode);
        let expected = [vec![0; 1000], vec![0; 1000]].into_iter().chain((0..50).map(|n| vec![n]));
        assert_eq!(entries(&wal, "s"), expected.collect::<Vec<_>>(), "{mode:?}");
    }
}

#[test]
fn the_files_are_the_same_as_those_of_writes() {
    let contents = |write_strategy| {
        let disk = SimDisk::new(3);
        let environment = Environment::default()
            .with_storage(Arc::new(disk.process()))
            .with_entropy(|| 0x5A17)
            .with_maintenance(Maintenance::Inline)
            .with_write_strategy(write_strategy);
        let options = WalOptions { max_segment_size: 5000, ..options(SyncMode::BatchOnly) };
        let wal = Wal::open_with(options, environment).unwrap();
        for n in 0..300_usize {
            wal.append("s", &vec![7; n]).unwrap();
            if n % 20 == 0 {
                wal.append_batch("s", &[&[1][..], &[2]]).unwrap();
            }
        }
        wal.close().unwrap();
        let writes = disk.calls(CallKind::Write);
        let content = |path: &std::path::PathBuf| disk.contents(path).unwrap();
        (writes, disk.files().iter().map(|path| (path.clone(), content(path))).collect::<Vec<_>>())
    };
    let (stored, written) = (contents(WriteStrategy::Auto), contents(WriteStrategy::StandardIo));
    assert!(stored.0 + 250 < written.0, "{} and {} writes", stored.0, written.0);
    // The frames say how far the segment was synced, and that is the same as well.
    assert_eq!(stored.1, written.1);
}

#[test]
fn where_memory_cannot_be_made_ready_they_are_written() {
    let disk = SimDisk::new(3);
    let wal = open(Hooked::new(&disk).with_maps_that_fail(), SyncMode::Async);
    for n in 0..100_u8 {
        wal.append("s", &[n; 100]).unwrap();
    }
    wal.close().unwrap();
    let expected: Vec<_> = (0..100).map(|n| vec![n; 100]).collect();
    assert_eq!(entries(&open(disk.process(), SyncMode::Async), "s"), expected);
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let disk = SimDisk::with_config(SimConfig { capacity: Some(300_000), ..SimConfig::default() });
    let wal = open(disk.process(), SyncMode::Async);
    let stream = wal.stream("s").unwrap();
    let mut count = 0_u64;
    let error = loop {
        match stream.append(&[5; 900]) {
            Ok(id) => assert_eq!(id, count),
            Err(error) => break error,
        }
        count += 1;
    };
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert!(count > 200, "{count}");
    disk.configure(|config| config.capacity = None);
    assert_eq!(stream.append(&[6]).unwrap(), count);
    disk.kill();
    drop((stream, wal));
    assert_eq!(open(disk.process(), SyncMode::Async).stream("s").unwrap().next_id(), count + 1);
}

/// Who stages more than there is memory ready for makes the next piece ready. A store elsewhere would be
/// refused, and each of these frames written.
#[test]
fn few_appends_in_many_make_calls() {
    const LEN: u64 = 1000;
    let disk = SimDisk::new(3);
    let wal = open(disk.process(), SyncMode::Async);
    let stream = wal.stream("s").unwrap();
    let appends = 4000;
    let before = disk.calls_total();
    for _ in 0..appends {
        stream.append(&[0; LEN as usize]).unwrap();
    }
    let calls = disk.calls_total() - before;
    // 4 MB are made ready in pieces of 256 KiB, and reserved in fewer.
    assert!(calls < 100, "{calls} calls");
}

/// The next segment cannot be mapped, so its frames are written; they do not go to the one before.
#[test]
fn a_full_segment_is_not_stored_to() {
    let disk = SimDisk::new(3);
    let wal = open(Hooked::new(&disk).with_maps(1), SyncMode::Async);
    let stream = wal.stream("s").unwrap();
    stream.append(&[1; 1000]).unwrap();
    stream.append(&[2; 1000]).unwrap();
    stream.rotate().unwrap();
    for n in 3..20 {
        stream.append(&[n; 100]).unwrap();
    }
    let expected: Vec<_> = (1..20).map(|n| vec![n; if n < 3 { 1000 } else { 100 }]).collect();
    assert_eq!(entries(&wal, "s"), expected);
    disk.kill();
    drop((stream, wal));
    assert_eq!(entries(&open(disk.process(), SyncMode::Async), "s"), expected);
}

/// Appends to a stream from inside its own syncs, and notes how many there have been.
#[derive(Default)]
struct Intruder {
    stream: OnceLock<Stream>,
    is_on: AtomicBool,
    intrusions: AtomicU64,
}

impl Intruder {
    fn intrude(&self) {
        if let Some(stream) = self.stream.get()
            && self.is_on.load(Ordering::Relaxed)
        {
            // If it cannot be committed at once, nobody waits for it here.
            drop(stream.submit(b"in the middle").unwrap());
            self.intrusions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What is appended while a sync runs is not what it made durable, whatever began it.
#[test]
fn what_comes_during_a_sync_is_not_called_durable() {
    type Sync = fn(&Wal, &Stream);
    let syncs: [(&str, Sync); 5] = [
        ("sync", |_, stream| stream.sync().unwrap()),
        ("sync_all", |wal, _| wal.sync_all().unwrap()),
        ("a batch", |_, stream| {
            stream.append_batch(&[b"x", b"y"]).unwrap();
        }),
        ("maintain", |wal, _| {
            wal.maintain();
            wal.maintain();
        }),
        ("a batch over streams", |wal, _| {
            let mut batch = wal.batch();
            batch.append("s", b"x").append("other", b"y");
            batch.commit().unwrap();
        }),
    ];
    for (name, sync) in syncs {
        for mode in UNSYNCED {
            for seed in 0..40 {
                let disk = SimDisk::new(seed);
                let intruder = Arc::new(Intruder::default());
                let hook = Arc::clone(&intruder);
                let hooked = Hooked::new(&disk).after_sync(move || hook.intrude());
                let wal = open(hooked, mode);
                let stream = wal.stream("s").unwrap();
                stream.append(b"before").unwrap();
                stream.append(b"before").unwrap();
                assert!(intruder.stream.set(stream.clone()).is_ok());
                intruder.is_on.store(true, Ordering::Relaxed);
                sync(&wal, &stream);
                sync(&wal, &stream);
                intruder.is_on.store(false, Ordering::Relaxed);
                let (durable, next_id) = (stream.durable_end(), stream.next_id());
                assert!(durable <= next_id);
                disk.crash();
                drop((stream, wal));
                let wal = open(disk.process(), mode);
                let found = wal.stream("s").unwrap().next_id();
                let what = format!("{name}, {mode:?}, seed {seed}");
                assert!(found >= durable, "{what}: {found} of {durable}");
                for id in 0..found {
                    assert!(wal.get("s", id).unwrap().is_some(), "{what}: id {id}");
                }
            }
        }
    }
}

/// While a batch is written and synced, an append that is not to be synced must wait behind it: in the file
/// it would stand before a gap, and readers would see it, and the batch, before that is durable.
#[test]
fn nothing_overtakes_a_batch_on_its_way() {
    let disk = SimDisk::new(3);
    let intruder = Arc::new(Intruder::default());
    let seen = Arc::new(AtomicU64::new(0));
    let hook = {
        let (intruder, seen) = (Arc::clone(&intruder), Arc::clone(&seen));
        move || {
            intruder.intrude();
            let next_id = intruder.stream.get().map_or(0, Stream::next_id);
            seen.fetch_max(next_id, Ordering::Relaxed);
        }
    };
    let wal = open(Hooked::new(&disk).before_sync(hook), SyncMode::BatchOnly);
    let stream = wal.stream("s").unwrap();
    stream.append(b"one").unwrap();
    stream.append(b"two").unwrap();
    assert!(intruder.stream.set(stream.clone()).is_ok());
    intruder.is_on.store(true, Ordering::Relaxed);
    let ids = stream.append_batch(&[b"three", b"four"]).unwrap();
    intruder.is_on.store(false, Ordering::Relaxed);
    assert_eq!((ids, intruder.intrusions.load(Ordering::Relaxed)), (2..4, 1));
    assert_eq!(seen.load(Ordering::Relaxed), 2, "something was committed before the sync");
    // Behind it, as it came.
    stream.sync().unwrap();
    let expected: [&[u8]; 5] = [b"one", b"two", b"three", b"four", b"in the middle"];
    assert_eq!(entries(&wal, "s"), expected);
    disk.crash();
    drop((stream, wal));
    assert_eq!(entries(&open(disk.process(), SyncMode::BatchOnly), "s"), expected);
}

/// Something is appended while an idle stream is synced. A slot that spoke of it would say that it is
/// durable, and a power loss before it is would be taken for damage.
#[test]
fn what_comes_while_an_idle_stream_is_synced_is_not_proven() {
    let mut lost = 0;
    for (seed, call) in (0..60).flat_map(|seed| (1..6).map(move |call| (seed, call))) {
        let disk = SimDisk::new(seed);
        let intruder = Arc::new(Intruder::default());
        let hook = Arc::clone(&intruder);
        let wal = open(Hooked::new(&disk).after_sync(move || hook.intrude()), SyncMode::Async);
        let stream = wal.stream("s").unwrap();
        stream.append(b"before").unwrap();
        stream.append(b"before").unwrap();
        assert!(intruder.stream.set(stream.clone()).is_ok());
        wal.maintain();
        intruder.is_on.store(true, Ordering::Relaxed);
        disk.cut_power_at(call);
        wal.maintain();
        intruder.is_on.store(false, Ordering::Relaxed);
        disk.crash();
        drop((stream, wal));
        let options =
            WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Async) };
        let environment = Environment::default().with_storage(Arc::new(disk.process()));
        let wal = Wal::open_with(options, environment).unwrap();
        let found = entries(&wal, "s").len() as u64;
        lost += u64::from(found < 2 + intruder.intrusions.load(Ordering::Relaxed));
    }
    assert!(lost > 20, "what came was lost {lost} times");
}

/// It waits for room, and what the same thread appends afterwards would have some.
#[test]
fn nothing_overtakes_what_the_same_thread_has_submitted() {
    for mode in UNSYNCED {
        let disk = SimDisk::new(3);
        let wal = open(disk.process(), mode);
        let stream = wal.stream("s").unwrap();
        stream.append(b"first").unwrap();
        let submitted = stream.submit(&[7; 1_000_000]).unwrap();
        assert_eq!(stream.append(b"last").unwrap(), 2, "{mode:?}");
        assert_eq!(submitted.wait().unwrap(), 1, "{mode:?}");
    }
}

#[cfg(feature = "compression")]
#[test]
fn what_is_to_be_compressed_is() {
    for mode in UNSYNCED {
        let disk = SimDisk::new(3);
        let options = WalOptions {
            compression: ironwal::CompressionType::Lz4,
            min_compression_size: 1000,
            ..options(mode)
        };
        let wal = open_with(disk.process(), options);
        for _ in 0..20 {
            wal.append("s", &[0; 1000]).unwrap();
            wal.append("s", &[0; 999]).unwrap();
        }
        wal.close().unwrap();
        let path = std::path::Path::new("/log/s/00000000000000000000.wal");
        let len = disk.contents(path).unwrap().len();
        assert!((8192 + 20 * 999..8192 + 20 * 1200).contains(&len), "{mode:?}: {len}");
    }
}
