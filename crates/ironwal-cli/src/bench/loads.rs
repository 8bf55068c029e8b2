//! What is measured: one operation after another, until it is time to stop.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ironwal::{Error, Stream, SyncMode, Wal, WalOptions};

use crate::exit::{Done, Failure};

/// The longest time of one operation that is told apart, in nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// How much the floor's file holds. It is written once before, so that no write has to find space.
const FLOOR_LEN: u64 = 16 << 20;

/// The most that is appended in one turn, in bytes, and then freed: what is not synced is fast.
const TURN_LEN_MAX: u64 = 256 << 20;

/// One kind of work.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) threads: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A write and a sync of a file that has its space: no log on this disk can be faster, one entry at a
    /// time.
    Floor,
    /// Appends of so many entries each.
    Append { mode: SyncMode, batch: usize },
}

/// A load that is ready to go on.
pub(super) struct Ready {
    pub(super) load: Load,
    target: Target,
    pub(super) entries: u64,
    pub(super) took: Duration,
    pub(super) latencies_ns: Histogram<u64>,
}

enum Target {
    Floor { file: Arc<File>, at: Arc<AtomicU64> },
    Log { wal: Wal, stream: Stream },
}

impl Ready {
    /// Makes what is needed in a directory of its own.
    pub(super) fn new(load: Load, dir: &Path) -> Done<Self> {
        let target = match load.kind {
            Kind::Floor => {
                let file = floor_file(&dir.join(load.name))
                    .map_err(|error| Failure::io("write the file of the floor", &error))?;
                Target::Floor { file: Arc::new(file), at: Arc::default() }
            }
            Kind::Append { mode, .. } => {
                let options =
                    WalOptions { sync_mode: mode, ..WalOptions::new(dir.join(load.name)) };
                let opened = Wal::new(options).and_then(|wal| {
                    let stream = wal.stream("entries")?;
                    stream.append(b"the files are there from now on")?;
                    Ok(Target::Log { wal, stream })
                });
                opened.map_err(|error| Failure::of("open a log", &error))?
            }
        };
        Ok(Self { load, target, entries: 0, took: Duration::ZERO, latencies_ns: histogram() })
    }

    /// Goes on until `end`, or until it has taken much space, or somebody says stop.
    pub(super) fn go_on(
        &mut self,
        entry: &[u8],
        end: Instant,
        is_stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Error> {
        let begin = Instant::now();
        let batch = match self.load.kind {
            Kind::Floor => 1,
            Kind::Append { batch, .. } => batch,
        };
        let len = (entry.len() * batch) as u64;
        let operations_max = TURN_LEN_MAX / len.max(1) / self.load.threads as u64 + 1;
        let target = &self.target;
        let work = || -> Result<Histogram<u64>, Error> {
            let mut latencies_ns = histogram();
            let entries = vec![entry; batch];
            for _ in 0..operations_max {
                let begin = Instant::now();
                if begin >= end || is_stopped() {
                    break;
                }
                target.operation(&entries)?;
                let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                latencies_ns.saturating_record(took);
            }
            Ok(latencies_ns)
        };
        let done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.load.threads).map(|_| scope.spawn(work)).collect();
            let panicked = |_| Err(Error::Io(io::Error::other("a thread ended in the middle")));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
        });
        self.took += begin.elapsed();
        for latencies_ns in done {
            let latencies_ns = latencies_ns?;
            self.entries += latencies_ns.len() * batch as u64;
            // Both have the same bounds.
            let _ = self.latencies_ns.add(latencies_ns);
        }
        if let Target::Log { wal, stream } = &self.target {
            wal.truncate(stream.name(), stream.next_id())?;
        }
        Ok(())
    }

    /// How many entries a second.
    pub(super) fn per_second(&self) -> u64 {
        let per_second = u128::from(self.entries) * 1_000_000_000 / self.took.as_nanos().max(1);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}

impl Target {
    fn operation(&self, entries: &[&[u8]]) -> Result<(), Error> {
        match (self, entries) {
            (Self::Floor { file, at }, _) => Ok(write_and_sync(file, at, entries[0])?),
            (Self::Log { stream, .. }, [entry]) => stream.append(entry).map(drop),
            (Self::Log { stream, .. }, _) => stream.append_batch(entries).map(drop),
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
        .expect("these bounds are within what it can have")
}

fn floor_file(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FLOOR_LEN).step_by(zeros.len()) {
        write_at(&file, &zeros, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn write_and_sync(file: &File, at: &AtomicU64, entry: &[u8]) -> io::Result<()> {
    let len = entry.len() as u64;
    let at = at.fetch_add(len, Ordering::Relaxed) % FLOOR_LEN.saturating_sub(len).max(1);
    write_at(file, entry, at)?;
    file.sync_data()
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
