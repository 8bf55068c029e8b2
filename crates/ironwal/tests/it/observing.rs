//! What a log says of itself: `Wal::stats`, and the recorder of the `metrics` crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{Environment, Journal, Maintenance, SyncMode, Wal, WalOptions, WalStats};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::hooked::Hooked;

const MODES: [SyncMode; 4] = [
    SyncMode::Strict,
    SyncMode::BatchOnly,
    SyncMode::Async,
    SyncMode::Interval(Duration::from_millis(1)),
];

fn open(environment: Environment, sync_mode: SyncMode) -> Wal {
    let block_cache_size = Some(1 << 20);
    let options = WalOptions {
        sync_mode,
        max_entries_per_segment: 7,
        block_cache_size,
        ..WalOptions::new("/log")
    };
    Wal::open_with(options, environment.with_maintenance(Maintenance::Inline)).unwrap()
}

fn environment(disk: &SimDisk) -> Environment {
    Environment::default().with_storage(Arc::new(disk.process()))
}

/// What was committed, one by one, as a batch, and over two streams.
fn append(wal: &Wal) {
    for id in 0..20 {
        assert_eq!(wal.append("a", b"entry").unwrap(), id);
    }
    wal.append_batch("b", &[&b"one"[..], b"two", b"three"]).unwrap();
    let mut batch = wal.batch();
    batch.append("a", b"1").append("b", b"2");
    batch.commit().unwrap();
}

#[test]
fn every_entry_is_counted_once() {
    for mode in MODES {
        for journal in [Journal::Auto, Journal::On, Journal::Off] {
            let disk = SimDisk::new(1);
            let wal = open(environment(&disk).with_journal(journal), mode);
            append(&wal);
            let stats = wal.stats();
            let what = format!("{mode:?}, {journal:?}: {stats:?}");
            assert_eq!((stats.appended_entries, stats.entries), (25, 25), "{what}");
            // Nothing was pruned: headers are all that is there beside the frames.
            assert_eq!(stats.appended_bytes, stats.bytes - 8192 * stats.segments as u64, "{what}");
            assert!(stats.journal_bytes > 0 && stats.syncs > 0, "{what}");
            if mode == SyncMode::Strict {
                assert!(stats.commits >= 22 && stats.syncs >= 22, "{what}");
            }
            wal.delete_stream("a").unwrap();
            let stats = wal.stats();
            assert_eq!((stats.appended_entries, stats.entries), (25, 4), "{what}");
            wal.close().unwrap();

            let wal = open(environment(&disk).with_journal(journal), mode);
            let stats = wal.stats();
            assert_eq!((stats.appended_entries, stats.appended_bytes, stats.entries), (0, 0, 4));
        }
    }
}

/// A sync takes half a minute, and somebody looks meanwhile.
#[test]
fn a_disk_that_stalls_is_seen_while_it_does() {
    for journal in [Journal::Auto, Journal::On] {
        let now = Arc::new(AtomicU64::new(1));
        let wal = Arc::new(OnceLock::<Wal>::new());
        let seen = Arc::new(OnceLock::<WalStats>::new());
        let storage = {
            let (now, wal, seen) = (Arc::clone(&now), Arc::clone(&wal), Arc::clone(&seen));
            Hooked::new(&SimDisk::new(1)).before_sync(move || {
                if let Some(wal) = wal.get() {
                    now.fetch_add(30, Ordering::Relaxed);
                    let _ = seen.set(wal.stats());
                }
            })
        };
        let clock = Arc::clone(&now);
        let environment = Environment::default()
            .with_storage(Arc::new(storage))
            .with_journal(journal)
            .with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let log = open(environment, SyncMode::Strict);
        log.append("a", b"makes the files").unwrap();
        assert!(wal.set(log.clone()).is_ok());
        log.append("a", b"waits").unwrap();
        let stalled = seen.get().unwrap();
        assert_eq!(stalled.oldest_waiting, Some(Duration::from_secs(30)), "{journal:?}");
        assert_eq!(stalled.appended_entries, 1);
        assert_eq!(log.stats().oldest_waiting, None, "{journal:?}");
    }
}

#[test]
fn followers_and_how_far_behind_they_are() {
    let wal = open(environment(&SimDisk::new(1)), SyncMode::Async);
    append(&wal);
    let stream = wal.stream("a").unwrap();
    assert_eq!((wal.stats().followers, wal.stats().follower_lag), (0, 0));
    let mut slow = stream.follow(3);
    let mut quick = stream.follow(20);
    assert_eq!((stream.stats().followers, stream.stats().follower_lag), (2, 18));
    slow.next().unwrap().unwrap();
    quick.next().unwrap().unwrap();
    assert_eq!((wal.stats().followers, wal.stats().follower_lag), (2, 17));
    drop(slow);
    assert_eq!((wal.stats().followers, wal.stats().follower_lag), (1, 0));
}

#[test]
fn poisoned_streams_are_counted() {
    let disk = SimDisk::new(1);
    let wal = open(environment(&disk).with_journal(Journal::Off), SyncMode::Strict);
    append_one_each(&wal);
    assert_eq!(wal.stats().poisoned_streams, 0);
    disk.fail_nth(CallKind::Sync, 1, std::io::ErrorKind::Other);
    assert!(wal.append("a", b"fails").is_err());
    assert_eq!(wal.stats().poisoned_streams, 1);
    assert!(wal.stream("a").unwrap().stats().is_poisoned);
    assert!(!wal.stream("b").unwrap().stats().is_poisoned);
}

fn append_one_each(wal: &Wal) {
    wal.append("a", b"entry").unwrap();
    wal.append("b", b"entry").unwrap();
}

/// The value of a metric of the log in `/log`, as Prometheus would read it.
fn value_of(scraped: &str, name: &str) -> f64 {
    let line = scraped.lines().find(|line| line.starts_with(&format!("{name}{{log=\"/log\"")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {scraped}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_recorder_is_told_what_the_stats_say() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let wal = open(environment(&SimDisk::new(1)), SyncMode::Strict);
        append(&wal);
        let mut follower = wal.stream("a").unwrap().follow(0);
        follower.next().unwrap().unwrap();
        for _ in 0..3 {
            wal.get("a", 2).unwrap();
        }
        wal.maintain();
        let (stats, scraped) = (wal.stats(), handle.render());
        let told = |name| value_of(&scraped, name);
        for (name, expected) in [
            ("ironwal_appended_entries_total", stats.appended_entries),
            ("ironwal_appended_bytes_total", stats.appended_bytes),
            ("ironwal_commits_total", stats.commits),
            ("ironwal_commit_seconds_count", stats.commits),
            ("ironwal_commit_appends_count", stats.commits),
            ("ironwal_syncs_total", stats.syncs),
            ("ironwal_cache_hits_total", stats.cache_hits),
            ("ironwal_cache_misses_total", stats.cache_misses),
            ("ironwal_streams", 2),
            ("ironwal_entries", 25),
            ("ironwal_segments", stats.segments as u64),
            ("ironwal_bytes", stats.bytes),
            ("ironwal_open_segments", 2),
            ("ironwal_journal_bytes", stats.journal_bytes),
            ("ironwal_followers", 1),
            ("ironwal_follower_lag_entries", 20),
            ("ironwal_poisoned_streams", 0),
            ("ironwal_oldest_waiting_append_seconds", 0),
        ] {
            assert_eq!(told(name), expected as f64, "{name}: {stats:?}");
        }
        assert!(stats.cache_hits > 0 && stats.commits > 0, "{stats:?}");
        let fill = stats.journal_bytes as f64 / stats.journal_bytes_max as f64;
        assert_eq!(told("ironwal_journal_fill_ratio"), fill);
        // 20 single appends, a batch, and a batch over two streams.
        assert_eq!(told("ironwal_commit_appends_sum"), 23.0);
    });
}
