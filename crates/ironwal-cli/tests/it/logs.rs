//! Logs whose bytes are the same in every run, so that what is printed of them is too.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ironwal::sharded::ShardedWal;
use ironwal::{CompressionType, Environment, Maintenance, Wal, WalOptions};

/// Seconds that can be set.
pub(crate) type Clock = Arc<AtomicU64>;

pub(crate) fn environment(clock: &Clock) -> Environment {
    let clock = Arc::clone(clock);
    Environment::default()
        .with_entropy(|| 0x5eed)
        .with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)))
        .with_maintenance(Maintenance::Inline)
}

pub(crate) fn open(options: WalOptions) -> Wal {
    Wal::open_with(options, environment(&Clock::default())).unwrap()
}

/// Three entries in `orders`: "tea", "coffee", "cake".
pub(crate) fn orders(dir: &Path) {
    let wal = open(WalOptions::new(dir));
    for entry in ["tea", "coffee", "cake"] {
        wal.append("orders", entry.as_bytes()).unwrap();
    }
    wal.close().unwrap();
}

/// Many entries of 50 bytes in `s`, in full segments and a newest one.
pub(crate) fn full_segments(dir: &Path, count: u64) {
    let wal = open(WalOptions { max_segment_size: 1000, ..WalOptions::new(dir) });
    for id in 0..count {
        wal.append("s", format!("{id:050}").as_bytes()).unwrap();
    }
    wal.close().unwrap();
}

/// 200 entries of 1000 bytes in `s`: more than a short file holds.
pub(crate) fn large(dir: &Path) {
    let wal = open(WalOptions::new(dir));
    for entry in 0..200_u8 {
        wal.append("s", &[entry; 1000]).unwrap();
    }
    wal.close().unwrap();
}

/// A stream `packed` with entries that LZ4 makes small.
pub(crate) fn compressed(dir: &Path) {
    let compression = CompressionType::Lz4;
    let wal = open(WalOptions { compression, ..WalOptions::new(dir) });
    wal.append("packed", &[b'x'; 4000]).unwrap();
    wal.close().unwrap();
}

/// Shard 0 has eight entries and shard 2 has four; the checkpoints `<a>` and `b` are ten seconds and eight
/// entries apart.
pub(crate) fn sharded(dir: &Path) -> ShardedWal {
    let clock = Clock::default();
    let wal = Wal::open_with(WalOptions::new(dir), environment(&clock)).unwrap();
    let wal = ShardedWal::over(wal, 3).unwrap();
    let key_of = |shard| (0_u64..).find(|key| wal.route(&key.to_le_bytes()) == shard).unwrap();
    for (id, seconds, shard, count) in [("<a>", 100, 2, 4), ("b", 110, 0, 8)] {
        for _ in 0..count {
            wal.append(&key_of(shard).to_le_bytes(), b"entry").unwrap();
        }
        clock.store(seconds, Ordering::Relaxed);
        wal.create_checkpoint(id.as_bytes()).unwrap();
    }
    wal
}

/// The file of a segment.
pub(crate) fn segment(dir: &Path, stream: &str, first_id: u64) -> PathBuf {
    dir.join(stream).join(format!("{first_id:020}.wal"))
}

/// Flips a bit.
pub(crate) fn flip(file: &Path, offset: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// Standard output with the directory as `DIR`.
#[track_caller]
pub(crate) fn of(dir: &Path, ran: &crate::program::Ran) -> String {
    ran.text().replace(dir.to_str().unwrap(), "DIR")
}
