//! A checkpoint beside appends to two shards.

use ironwal::sharded::ShardedWal;

use super::{JOURNALED, Log, Model};

const SHARDS: u16 = 2;

fn sharded(log: &Log) -> ShardedWal {
    ShardedWal::over(log.wal.clone(), SHARDS).unwrap()
}

/// Two keys of which each goes to another shard.
fn keys(wal: &ShardedWal) -> [&'static [u8]; 2] {
    let keys: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"f"];
    let of = |shard| keys.into_iter().find(|key| wal.route(key) == shard).unwrap();
    [of(0), of(1)]
}

/// One append returns before the other begins: no checkpoint holds the later one only.
#[test]
fn a_checkpoint_beside_appends_in_order() {
    Model {
        prepare: |log| {
            let wal = sharded(log);
            for key in keys(&wal) {
                wal.append(key, b"zero").unwrap();
            }
        },
        threads: &[
            |log| {
                let wal = sharded(log);
                let [first, second] = keys(&wal);
                wal.append(first, b"earlier").unwrap();
                wal.append(second, b"later").unwrap();
            },
            |log| {
                let wal = sharded(log);
                wal.create_checkpoint(b"now").unwrap();
                let made = wal.load_checkpoint(b"now").unwrap();
                assert_ne!(made.offsets, [1, 2], "the checkpoint holds the later entry only");
                log.promise(move |wal| {
                    let wal = ShardedWal::over(wal.clone(), SHARDS).unwrap();
                    assert_eq!(wal.load_checkpoint(b"now").unwrap(), made);
                    for (shard, end) in made.offsets.iter().enumerate() {
                        let entries = wal.iter_shard(shard.try_into().unwrap(), 0).unwrap();
                        assert!(entries.map(Result::unwrap).count() as u64 >= *end);
                    }
                });
            },
        ],
        ..JOURNALED
    }
    .check();
}
