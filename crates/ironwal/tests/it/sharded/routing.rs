//! Keys find the same shard for ever.

use ironwal::SyncMode;
use ironwal::storage::SimDisk;

use super::{open, options};

/// Made by `scripts/routing-vectors`, which shares no code with the library.
const GOLDEN: &str = include_str!("../../golden/routing.txt");

/// Makes the keys of a family.
type KeyOf<'a> = dyn FnMut(u64) -> Vec<u8> + 'a;

const SHARD_COUNTS: [u16; 6] = [1, 2, 7, 16, 64, 65_535];

/// The bytes of a key, as the head of the golden file says it.
fn key_of(kind: &str, written: &str) -> Vec<u8> {
    match kind {
        "hex" => {
            let digits = written.as_bytes().chunks(2);
            let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
            digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
        }
        "text" => written.into(),
        "ramp" => {
            let len: usize = written.parse().unwrap();
            (0..len).map(|at| ((31 * at + len) % 256) as u8).collect()
        }
        other => panic!("{other}: no way to write a key"),
    }
}

#[test]
fn keys_are_in_the_shards_of_the_golden_file() {
    let logs =
        SHARD_COUNTS.map(|count| open(&SimDisk::new(1), options(SyncMode::Async), count).unwrap());
    let mut keys = 0;
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, written, shards @ ..] = &fields[..] else { panic!("{line}") };
        assert_eq!(shards.len(), SHARD_COUNTS.len(), "{line}");
        let key = key_of(kind, written);
        for (log, shard) in logs.iter().zip(shards) {
            assert_eq!(log.route(&key), shard.parse::<u16>().unwrap(), "{line}");
        }
        keys += 1;
    }
    assert!(keys >= 1_000, "only {keys} keys");
}

/// What is appended is where `route` says, whichever way it was appended.
#[test]
fn entries_are_in_the_shards_of_their_keys() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Async), 7).unwrap();
    for nth in 0..100_u64 {
        let key = nth.to_string().into_bytes();
        let shard = wal.route(&key);
        assert_eq!(wal.append(&key, b"single").unwrap().0, shard);
        assert_eq!(wal.append_batch(&[(key.clone(), b"batch".to_vec())]).unwrap()[0].0, shard);
        assert_eq!(wal.append_batch_for_key(&key, &[b"one key"]).unwrap()[0].0, shard);
        let newest: Vec<_> = wal.shard(shard).unwrap().range(..).rev().take(3).collect();
        let newest: Vec<_> = newest.into_iter().map(|entry| entry.unwrap().1).collect();
        assert_eq!(newest, ["one key", "batch", "single"]);
    }
}

#[test]
fn keys_are_spread_evenly() {
    let wal = open(&SimDisk::new(1), options(SyncMode::Async), 16).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut random_uuid = |_| {
        let [a, b, c] = [rng.u32(..), rng.u32(..), rng.u32(..)];
        let (d, e) = (rng.u16(..), rng.u16(..));
        format!("{a:08x}-{d:04x}-4{:03x}-a{:03x}-{b:08x}{e:04x}", c >> 20, c & 0xFFF).into_bytes()
    };
    let families: [(&str, &mut KeyOf<'_>); 6] = [
        ("decimal", &mut |nth| nth.to_string().into_bytes()),
        ("little-endian", &mut |nth| nth.to_le_bytes().to_vec()),
        ("big-endian", &mut |nth| nth.to_be_bytes().to_vec()),
        ("uuid", &mut random_uuid),
        ("user", &mut |nth| format!("user:{nth}").into_bytes()),
        ("zeros", &mut |nth| vec![0; nth as usize]),
    ];
    for (family, key) in families {
        let mut counts = [0; 16];
        for nth in 0..10_000 {
            counts[usize::from(wal.route(&key(nth)))] += 1;
        }
        assert!(counts.iter().all(|count| (500..=750).contains(count)), "{family}: {counts:?}");
    }
}
