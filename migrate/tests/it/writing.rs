//! Writing directories with the published crate, of either version: only what both have is used here.

use std::path::Path;

use ironwal_published::sharded::ShardedWal;
use ironwal_published::{CompressionType, SyncMode, Wal, WalOptions};

/// The kinds of directories.
pub(crate) const KINDS: [&str; 6] = ["plain", "batches", "lz4", "sharded", "pruned", "reopened"];

/// How many shards the sharded ones have.
pub(crate) const SHARDS: u16 = 8;

/// How many keys are appended under.
pub(crate) const KEYS: u32 = 400;

/// The entry of a stream with this id: of different lengths, some of them empty, some that compress well.
pub(crate) fn entry(stream: &str, id: u64) -> Vec<u8> {
    if id % 17 == 3 {
        return Vec::new();
    }
    let word = format!("{stream} {id};");
    word.repeat(usize::try_from(id * 7 % 90).unwrap()).into_bytes()
}

/// What is appended under a key.
pub(crate) fn key(n: u32) -> Vec<u8> {
    format!("key-{n}").into_bytes()
}

/// Writes a directory, and waits until none of its files is open any more: 0.6 closes them, and writes what
/// is left in its buffers, in a thread that nobody can join.
pub(crate) fn write(kind: &str, dir: &Path) {
    write_kind(kind, dir);
    let dir = dir.canonicalize().unwrap();
    let is_open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        files.flat_map(|file| std::fs::read_link(file.path())).any(|file| file.starts_with(&dir))
    };
    while is_open() {
        std::thread::yield_now();
    }
}

fn write_kind(kind: &str, dir: &Path) {
    let options = WalOptions { max_entries_per_segment: 40, ..WalOptions::new(dir) };
    match kind {
        "plain" => singles(&Wal::new(options).unwrap(), 0),
        "batches" => batches(&Wal::new(options).unwrap()),
        "lz4" => {
            let lz4 = WalOptions {
                compression: CompressionType::Lz4,
                min_compression_size: 64,
                ..options
            };
            let wal = Wal::new(lz4).unwrap();
            singles(&wal, 0);
            batches(&wal);
        }
        "sharded" => sharded(options),
        "pruned" => {
            sharded(options.clone());
            let wal = ShardedWal::new(options, SHARDS).unwrap();
            let pruned = wal.prune_before_checkpoint(b"half").unwrap();
            assert!(pruned.segments_deleted > 0);
        }
        "reopened" => {
            let sync_mode = SyncMode::BatchOnly;
            for nth in 0..3 {
                singles(&Wal::new(WalOptions { sync_mode, ..options.clone() }).unwrap(), nth);
            }
        }
        kind => panic!("there is no kind {kind}"),
    }
}

fn singles(wal: &Wal, nth: u64) {
    for id in nth * 170..(nth + 1) * 170 {
        for stream in ["orders", "audit.log"] {
            assert_eq!(wal.append(stream, &entry(stream, id)).unwrap(), id);
        }
    }
    if nth == 0 {
        wal.append("one", &entry("one", 0)).unwrap();
    }
}

fn batches(wal: &Wal) {
    let mut next = 0;
    for count in [1, 7, 30, 2, 100, 0, 5] {
        let entries: Vec<Vec<u8>> =
            (next..next + count).map(|id| entry("in-batches", id)).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        assert_eq!(wal.append_batch("in-batches", &entries).unwrap(), next..next + count);
        next += count;
    }
}

fn sharded(options: WalOptions) {
    // So that there are segments to be pruned.
    let options = WalOptions { max_entries_per_segment: 10, ..options };
    let wal = ShardedWal::new(options, SHARDS).unwrap();
    wal.create_checkpoint(b"beginning").unwrap();
    for n in 0..KEYS {
        wal.append(&key(n), &key(n)).unwrap();
        if n == KEYS / 2 {
            wal.create_checkpoint(b"half").unwrap();
        }
    }
    wal.create_checkpoint(b"replaced").unwrap();
    wal.create_checkpoint(b"\xFF\x00 no text").unwrap();
    wal.create_checkpoint(b"replaced").unwrap();
    let batch: Vec<(Vec<u8>, Vec<u8>)> = (KEYS..KEYS + 50).map(|n| (key(n), key(n))).collect();
    wal.append_batch(&batch).unwrap();
}
