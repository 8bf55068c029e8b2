//! Following all shards at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ironwal::sharded::{CheckpointData, ShardFollower, ShardedWal};
use ironwal::storage::SimDisk;
use ironwal::{Environment, Error, Wal, WalOptions};

const SHARDS: u16 = 7;

/// Far more than anything takes; who waits this long waits for ever.
const LONG: Duration = Duration::from_secs(60);

fn options() -> WalOptions {
    WalOptions { max_entries_per_segment: 5, ..WalOptions::new("/log") }
}

fn open(disk: &SimDisk) -> ShardedWal {
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    ShardedWal::over(Wal::open_with(options(), environment).unwrap(), SHARDS).unwrap()
}

fn append(wal: &ShardedWal, nth: u32) -> (u16, u64) {
    wal.append(&nth.to_le_bytes(), &nth.to_le_bytes()).unwrap()
}

/// Takes so many entries, and holds each shard's against the order of ids from `offsets` on.
fn take(
    follower: &mut ShardFollower,
    count: usize,
    offsets: &[u64],
) -> BTreeMap<(u16, u64), Bytes> {
    let mut due = offsets.to_vec();
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let (shard, id, entry) = follower.next_timeout(LONG).unwrap().expect("it waits for ever");
        assert_eq!(id, due[usize::from(shard)], "shard {shard}");
        due[usize::from(shard)] += 1;
        found.insert((shard, id), entry);
    }
    assert_eq!(follower.positions(), due);
    found
}

#[test]
fn every_entry_of_every_shard_comes_once_and_in_order() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    let before: BTreeMap<_, _> = (0..100).map(|nth| (append(&wal, nth), nth)).collect();
    wal.create_checkpoint(b"here").unwrap();
    let checkpoint = wal.load_checkpoint(b"here").unwrap();
    let mut all = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    let mut rest = wal.follow_all(&checkpoint).unwrap();
    let writer = wal.clone();
    let after: BTreeMap<_, _> = std::thread::scope(|scope| {
        let writing =
            scope.spawn(move || (100..400).map(|nth| (append(&writer, nth), nth)).collect());
        let found = take(&mut rest, 300, &checkpoint.offsets);
        let after: BTreeMap<_, _> = writing.join().unwrap();
        let bytes = |nth: &u32| Bytes::copy_from_slice(&nth.to_le_bytes());
        assert!(after.iter().map(|(place, nth)| (*place, bytes(nth))).eq(found));
        let found = take(&mut all, 400, &[0; SHARDS as usize]);
        let expected = before.iter().chain(&after).map(|(place, nth)| (*place, bytes(nth)));
        assert_eq!(expected.collect::<BTreeMap<_, _>>(), found);
        after
    });
    assert_eq!(after.len(), 300);
    for follower in [&mut all, &mut rest] {
        assert_eq!(follower.try_next().unwrap(), None);
        assert_eq!(follower.next_timeout(Duration::from_millis(1)).unwrap(), None);
    }
}

/// A shard that is written to all the time does not keep the others waiting.
#[test]
fn shards_take_turns() {
    let wal = open(&SimDisk::new(1));
    let other = (0..).find(|key: &u32| wal.route(&key.to_le_bytes()) == 1).unwrap();
    for _ in 0..1000 {
        let busy = wal.shard(0).unwrap();
        busy.append(b"busy").unwrap();
    }
    let (_, id) = append(&wal, other);
    let mut follower = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    let place = (0..1001).position(|_| {
        let (shard, at, _) = follower.next().unwrap().unwrap();
        (shard, at) == (1, id)
    });
    assert!(place.unwrap() < 100, "{place:?}");
}

/// It says once what happened to a shard, and goes on with all of them.
#[test]
fn errors_of_a_shard_are_said_once() {
    let wal = open(&SimDisk::new(1));
    for nth in 0..200 {
        append(&wal, nth);
    }
    let mut follower = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    let shard = wal.shard(3).unwrap();
    let (end, first) = (shard.next_id(), shard.next_id() / 2);
    shard.truncate_before(first).unwrap();
    let (mut entries, mut errors) = (0, Vec::new());
    loop {
        match follower.try_next() {
            Ok(Some(_)) => entries += 1,
            Ok(None) => break,
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(entries, 200 - first, "{end}");
    assert!(
        matches!(&errors[..], [Error::Pruned { stream, id: 0, first_id }]
            if stream == "shard_03" && *first_id == first),
        "{errors:?}"
    );
    let refused = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap_err();
    assert!(matches!(refused, Error::Pruned { .. }), "{refused}");
    let refused = wal.follow_all(&CheckpointData::beginning(SHARDS + 1)).unwrap_err();
    assert!(matches!(refused, Error::ShardCountMismatch { .. }), "{refused}");
}

#[test]
fn whoever_waits_is_told_that_the_log_is_closed() {
    let wal = open(&SimDisk::new(1));
    append(&wal, 1);
    let mut follower = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    follower.next().unwrap().unwrap();
    let waiting = std::thread::spawn(move || {
        let told = follower.next();
        (told, follower.next().is_none(), follower.try_next())
    });
    wal.close().unwrap();
    let (told, is_over, after) = waiting.join().unwrap();
    assert!(matches!(told, Some(Err(Error::Closed))) && is_over, "{told:?}");
    assert!(matches!(after, Err(Error::Closed)), "{after:?}");
}

/// Beside the process that writes, also to shards that nobody had written to.
#[test]
fn a_reader_of_another_process_follows_all_shards() {
    let disk = SimDisk::new(1);
    let wal = open(&disk);
    let environment = Environment::default().with_storage(Arc::new(disk.process()));
    let reader = Wal::open_read_only_with(options(), environment).unwrap();
    let reader = ShardedWal::over(reader, SHARDS).unwrap();
    let mut follower = reader.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    assert_eq!(follower.try_next().unwrap(), None);
    let writing = std::thread::spawn(move || {
        for nth in 0..300 {
            append(&wal, nth);
        }
    });
    take(&mut follower, 300, &[0; SHARDS as usize]);
    writing.join().unwrap();
}

/// As a future it does the same.
#[test]
fn all_shards_are_a_stream() {
    use futures::StreamExt;
    let wal = open(&SimDisk::new(1));
    let follower = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap().into_async();
    let reading = std::thread::spawn(move || {
        futures::executor::block_on(follower.collect::<Vec<ironwal::Result<_>>>())
    });
    for nth in 0..300 {
        append(&wal, nth);
    }
    let mut copy = wal.follow_all(&CheckpointData::beginning(SHARDS)).unwrap();
    take(&mut copy, 300, &[0; SHARDS as usize]);
    wal.close().unwrap();
    let mut told = reading.join().unwrap();
    // Closing can overtake a reader.
    assert!(matches!(told.pop(), Some(Err(Error::Closed))), "{told:?}");
    assert!(told.len() <= 300 && told.iter().all(Result::is_ok));
}
