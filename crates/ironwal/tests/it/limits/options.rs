//! Every option and every setting of the environment at its ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::{
    CompressionType, Environment, Error, Journal, Maintenance, ReadStrategy, SyncMode, Wal,
    WalOptions, WriteStrategy,
};

use super::{MODES, entries, environment, options};

type Set = fn(&mut WalOptions);

/// Each option of a number at 0, 1, and as high as it goes.
const VALUES: [(&str, Set); 24] = [
    ("max_segment_size 0", |it| it.max_segment_size = 0),
    ("max_segment_size 1", |it| it.max_segment_size = 1),
    ("max_segment_size max", |it| it.max_segment_size = u64::MAX),
    ("max_entries_per_segment 0", |it| it.max_entries_per_segment = 0),
    ("max_entries_per_segment 1", |it| it.max_entries_per_segment = 1),
    ("max_entries_per_segment max", |it| it.max_entries_per_segment = u64::MAX),
    ("max_open_segments 0", |it| it.max_open_segments = 0),
    ("max_open_segments 1", |it| it.max_open_segments = 1),
    ("max_open_segments max", |it| it.max_open_segments = usize::MAX),
    ("max_open_read_segments 0", |it| it.max_open_read_segments = 0),
    ("max_open_read_segments 1", |it| it.max_open_read_segments = 1),
    ("max_open_read_segments max", |it| it.max_open_read_segments = usize::MAX),
    ("write_buffer_size 0", |it| it.write_buffer_size = 0),
    ("write_buffer_size 1", |it| it.write_buffer_size = 1),
    ("write_buffer_size max", |it| it.write_buffer_size = usize::MAX),
    ("read_buffer_size 0", |it| it.read_buffer_size = 0),
    ("read_buffer_size 1", |it| it.read_buffer_size = 1),
    ("read_buffer_size max", |it| it.read_buffer_size = usize::MAX),
    ("block_cache_size 0", |it| it.block_cache_size = Some(0)),
    ("block_cache_size 1", |it| it.block_cache_size = Some(1)),
    ("block_cache_size max", |it| it.block_cache_size = Some(u64::MAX)),
    ("min_compression_size 0", |it| it.min_compression_size = 0),
    ("min_compression_size 1", |it| it.min_compression_size = 1),
    ("min_compression_size max", |it| it.min_compression_size = usize::MAX),
];

/// What [`VALUES`] may not be.
const REFUSED: [&str; 3] =
    ["max_open_segments 0", "max_open_read_segments 0", "block_cache_size 0"];

const STREAMS: [&str; 3] = ["a", "b", "c"];

fn entry(stream: &str, id: u64) -> Vec<u8> {
    format!("{stream} {id} ").repeat(1 + 40 * (id as usize % 3)).into_bytes()
}

/// Appends to three streams in every way there is.
fn append(wal: &Wal) {
    for _ in 0..4 {
        let mut together = wal.batch();
        for name in STREAMS {
            let stream = wal.stream(name).unwrap();
            let next = || stream.next_id();
            stream.append(&entry(name, next())).unwrap();
            let batch: Vec<_> = (next()..next() + 3).map(|id| entry(name, id)).collect();
            let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
            stream.append_batch(&batch).unwrap();
            stream.submit(&entry(name, next())).unwrap().wait().unwrap();
            together.append(name, entry(name, next()));
        }
        together.commit().unwrap();
    }
}

/// Each stream holds what was appended, from `first` to before `end`.
fn assert_holds(wal: &Wal, first: u64, end: u64, what: &str) {
    for name in STREAMS {
        let expected: Vec<_> = (first..end).map(|id| (id, entry(name, id))).collect();
        assert!(entries(wal, name) == expected, "{what}: {name}");
        let ids: Vec<u64> = (first..end).rev().collect();
        let found = wal.get_batch(name, &ids).unwrap();
        assert!(
            found.into_iter().rev().map(Option::unwrap).eq(expected.into_iter().map(|it| it.1))
        );
    }
}

/// A life of a log, with a kill and a power loss after a close; entries of 24 ids in each stream, of which
/// the first 7 are pruned.
fn live(options: &WalOptions, environment: impl Fn(&SimDisk) -> Environment, what: &str) {
    let disk = SimDisk::new(1);
    let open = || {
        let opened = Wal::open_with(options.clone(), environment(&disk));
        opened.unwrap_or_else(|error| panic!("{what}: {error}"))
    };
    let wal = open();
    append(&wal);
    wal.maintain();
    assert_holds(&wal, 0, 24, what);
    wal.sync_all().unwrap();
    disk.kill();
    let wal = open();
    assert_holds(&wal, 0, 24, what);
    for name in STREAMS {
        let stream = wal.stream(name).unwrap();
        stream.truncate_before(7).unwrap();
        stream.truncate_after(Some(20)).unwrap();
        for id in 21..24 {
            stream.append(&entry(name, id)).unwrap();
        }
    }
    assert_holds(&wal, 7, 24, what);
    wal.close().unwrap();
    disk.crash();
    let wal = open();
    assert_holds(&wal, 7, 24, what);
    wal.close().unwrap();
    let reader = Wal::open_read_only_with(options.clone(), environment(&disk)).unwrap();
    assert_holds(&reader, 7, 24, what);
}

#[test]
fn every_option_works_at_its_ends_or_is_refused() {
    for (name, set) in VALUES {
        for mode in MODES {
            let mut options = options(mode);
            set(&mut options);
            if name.starts_with("min_compression_size") {
                compress(&mut options);
            }
            if !REFUSED.contains(&name) {
                live(&options, environment, &format!("{name}, {mode:?}"));
                options.read_strategy = ReadStrategy::Mmap;
                live(&options, environment, &format!("{name}, {mode:?}, mapped"));
                continue;
            }
            let disk = SimDisk::new(1);
            let (option, _) = name.split_once(' ').unwrap();
            for refused in [
                Wal::open_with(options.clone(), environment(&disk)).map(drop),
                Wal::open_read_only_with(options.clone(), environment(&disk)).map(drop),
            ] {
                let Err(Error::Config(text)) = refused else { panic!("{name}: {refused:?}") };
                assert!(text.contains(option) && text.contains("at least 1"), "{text}");
            }
            assert_eq!(disk.files(), [""; 0].map(std::path::PathBuf::from), "{name}");
        }
    }
}

fn compress(options: &mut WalOptions) {
    #[cfg(feature = "compression")]
    {
        options.compression = CompressionType::Lz4;
    }
    #[cfg(not(feature = "compression"))]
    {
        options.compression = CompressionType::None;
    }
}

#[test]
fn all_options_work_at_their_ends_together() {
    for mode in MODES {
        let all = |end: &str| {
            let mut options = options(mode);
            let values = VALUES.iter().filter(|(name, _)| name.ends_with(end));
            values
                .filter(|(name, _)| !REFUSED.contains(name))
                .for_each(|(_, set)| set(&mut options));
            compress(&mut options);
            options
        };
        for end in [" 0", " 1", " max"] {
            live(&all(end), environment, &format!("all{end}, {mode:?}"));
        }
    }
}

#[test]
fn an_interval_may_be_nothing_or_for_ever() {
    let intervals = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for interval in intervals {
        let mode = SyncMode::Interval(interval);
        for clock in [Duration::ZERO, Duration::from_secs(1_000), Duration::MAX / 2, Duration::MAX]
        {
            let environment = |disk: &SimDisk| environment(disk).with_clock(move || clock);
            live(&options(mode), environment, &format!("{interval:?} at {clock:?}"));
        }
        // With the thread that sleeps until it is due.
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions { sync_mode: mode, ..WalOptions::new(dir.path()) };
        let wal = Wal::new(options.clone()).unwrap();
        append(&wal);
        wal.close().unwrap();
        assert_holds(&Wal::new(options).unwrap(), 0, 24, "by a thread");
    }
}

/// At the end of time the time until something is due was added to it: the append panicked, and what
/// looks after idle streams, too.
#[test]
fn a_clock_at_its_end_keeps_nothing_from_working() {
    for mode in MODES {
        for clock in [Duration::ZERO, Duration::MAX] {
            let environment = |disk: &SimDisk| environment(disk).with_clock(move || clock);
            live(&options(mode), environment, &format!("{mode:?} at {clock:?}"));
        }
        let dir = tempfile::tempdir().unwrap();
        let options = WalOptions { sync_mode: mode, ..WalOptions::new(dir.path()) };
        let environment = || Environment::default().with_clock(|| Duration::MAX);
        let wal = Wal::open_with(options.clone(), environment()).unwrap();
        append(&wal);
        wal.close().unwrap();
        assert_holds(&Wal::open_with(options, environment()).unwrap(), 0, 24, "by a thread");
    }
}

/// It never should; but nothing is lost when it does.
#[test]
fn a_clock_that_jumps_backwards_loses_nothing() {
    for mode in MODES {
        let days = Arc::new(AtomicU64::new(1 << 20));
        let environment = |disk: &SimDisk| {
            let days = Arc::clone(&days);
            let backwards =
                move || Duration::from_secs(86_400 * days.fetch_sub(1, Ordering::Relaxed));
            environment(disk).with_clock(backwards)
        };
        live(&options(mode), environment, &format!("{mode:?}"));
    }
}

#[test]
fn the_journal_may_have_any_size() {
    for size in [0, 1, 64 * 1024 - 1, 64 * 1024, u64::MAX - 1, u64::MAX] {
        for journal in [Journal::Auto, Journal::On, Journal::Off] {
            for mode in MODES {
                let environment = |disk: &SimDisk| {
                    environment(disk).with_journal(journal).with_journal_size(size)
                };
                live(&options(mode), environment, &format!("{journal:?} of {size}, {mode:?}"));
            }
        }
    }
}

#[test]
fn every_way_to_drive_and_to_write_works_with_the_smallest_options() {
    for maintenance in [Maintenance::Inline, Maintenance::Thread] {
        for write_strategy in [WriteStrategy::Auto, WriteStrategy::StandardIo] {
            for mode in MODES {
                let smallest = WalOptions {
                    max_segment_size: 0,
                    max_entries_per_segment: 0,
                    max_open_segments: 1,
                    max_open_read_segments: 1,
                    write_buffer_size: 0,
                    read_buffer_size: 0,
                    block_cache_size: Some(1),
                    ..options(mode)
                };
                let environment = |disk: &SimDisk| {
                    let environment = environment(disk).with_write_strategy(write_strategy);
                    environment.with_maintenance(maintenance).with_journal_size(0)
                };
                live(
                    &smallest,
                    environment,
                    &format!("{maintenance:?}, {write_strategy:?}, {mode:?}"),
                );
            }
        }
    }
}
