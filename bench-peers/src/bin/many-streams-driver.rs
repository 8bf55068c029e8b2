//! Appends one entry to each of many streams, or opens such a log and reads all of them back.
//! `scripts/many-streams` runs it with few file descriptors, one process for each half, so that the
//! peak of memory is that of the half.
//!
//! ```text
//! many-streams-driver append|read DIR COUNT
//! ```
//!
//! Ends with an error that says which promise was not kept.

use std::error::Error as StdError;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ironwal::{CorruptionPolicy, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// How many threads append and read. A new stream costs several syncs, which none can share yet.
const THREADS: u64 = 8;

/// How many segments are kept open for writing, and how many for reading.
const OPEN_SEGMENTS_MAX: usize = 16;

/// What a stream of one entry may take of the disk, its directory included.
const STREAM_BYTES_MAX: u64 = 16 * 1024;

/// How long opening may take after a clean close.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// How often it is said how far it is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);

/// How often open descriptors are counted.
const SAMPLE_PAUSE: Duration = Duration::from_millis(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [half, dir, count] = &arguments[..] else {
        return Err("usage: many-streams-driver append|read DIR COUNT".into());
    };
    let (dir, count) = (Path::new(dir), count.parse()?);
    let files = OpenFiles::default();
    std::thread::scope(|scope| {
        scope.spawn(|| files.watch());
        let done = match half.as_str() {
            "append" => append(dir, count),
            "read" => read(dir, count),
            other => Err(format!("unknown half {other}").into()),
        };
        files.stop();
        done
    })?;
    println!("  open files at most       {:>10}", files.most()?);
    println!("  memory at most           {:>10} MiB", peak_kib()? / 1024);
    if half == "append" {
        report_disk(dir, count)?;
    }
    Ok(())
}

fn append(dir: &Path, count: u64) -> Result<()> {
    let wal = timed("open a new log", || Ok(Wal::new(options(dir))?))?;
    timed("append", || {
        each(count, |nth| match wal.append(&name(nth), &entry(nth))? {
            0 => Ok(()),
            id => Err(format!("{}: the first entry got id {id}", name(nth)).into()),
        })
    })?;
    timed("close", || Ok(wal.close()?))?;
    Ok(())
}

fn read(dir: &Path, count: u64) -> Result<()> {
    let started = Instant::now();
    let wal = timed("open", || Ok(Wal::new(options(dir))?))?;
    let took = started.elapsed();
    timed("read", || {
        each(count, |nth| match wal.get(&name(nth), 0)? {
            Some(found) if found == entry(nth) => Ok(()),
            found => Err(format!("{}: read {found:?}", name(nth)).into()),
        })
    })?;
    let there = wal.streams().len() as u64;
    timed("close", || Ok(wal.close()?))?;
    if there != count {
        return Err(format!("there are {there} streams and not {count}").into());
    }
    match took < OPEN_MAX {
        true => Ok(()),
        false => Err(format!("opening took {took:.1?}, not less than {OPEN_MAX:?}").into()),
    }
}

fn options(dir: &Path) -> WalOptions {
    WalOptions {
        max_open_segments: OPEN_SEGMENTS_MAX,
        max_open_read_segments: OPEN_SEGMENTS_MAX,
        on_corruption: CorruptionPolicy::Error,
        ..WalOptions::new(dir)
    }
}

fn name(nth: u64) -> String {
    format!("stream-{nth:06}")
}

fn entry(nth: u64) -> Vec<u8> {
    let noise = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let mut entry = format!("the only entry of stream {nth}: ").into_bytes();
    entry.resize(entry.len() + (noise % 64) as usize, (noise >> 8) as u8);
    entry
}

/// Does something for each stream, from several threads, and says now and then how far it is.
fn each(count: u64, work: impl Fn(u64) -> Result<()> + Sync) -> Result<()> {
    let work = |nth| work(nth).map_err(|error| error.to_string());
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|first| {
                let (work, done) = (&work, &done);
                scope.spawn(move || {
                    let mut told = Instant::now();
                    for nth in (first..count).step_by(THREADS as usize) {
                        work(nth)?;
                        let done = done.fetch_add(1, Ordering::Relaxed);
                        if first == 0 && told.elapsed() > PROGRESS_PAUSE {
                            told = Instant::now();
                            eprintln!("  … {done} of {count}");
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done.map_err(|error: String| error.into()),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let done = work().map_err(|error| format!("{what}: {error}"))?;
    println!("  {what:24} {:>10.2} s", started.elapsed().as_secs_f64());
    Ok(done)
}

/// How many descriptors are open, sampled while the log works.
#[derive(Default)]
struct OpenFiles {
    most: AtomicUsize,
    /// They could not be counted, for want of a descriptor to count them with.
    missed: AtomicBool,
    stopped: AtomicBool,
}

impl OpenFiles {
    fn watch(&self) {
        while !self.stopped.load(Ordering::Acquire) {
            match fs::read_dir("/proc/self/fd") {
                // But for the one that they are listed by.
                Ok(list) => _ = self.most.fetch_max(list.count() - 1, Ordering::Relaxed),
                Err(_) => self.missed.store(true, Ordering::Relaxed),
            }
            std::thread::sleep(SAMPLE_PAUSE);
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    fn most(&self) -> Result<usize> {
        match self.missed.load(Ordering::Relaxed) {
            true => Err("the limit of open files was reached".into()),
            false => Ok(self.most.load(Ordering::Relaxed)),
        }
    }
}

/// The peak of resident memory of this process.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmHWM in /proc/self/status")?.parse()?)
}

/// What the streams take of the disk once the log is closed.
fn report_disk(dir: &Path, count: u64) -> Result<()> {
    let (mut total, mut most, mut streams) = (0, 0, 0);
    for stream in fs::read_dir(dir)? {
        let stream = stream?;
        if !stream.file_type()?.is_dir() {
            continue;
        }
        let mut sectors = stream.metadata()?.blocks();
        for file in fs::read_dir(stream.path())? {
            sectors += file?.metadata()?.blocks();
        }
        total += sectors * 512;
        most = most.max(sectors * 512);
        streams += 1;
    }
    if streams != count {
        return Err(format!("there are {streams} directories and not {count}").into());
    }
    let mean = total as f64 / count as f64 / 1024.0;
    println!("  disk per stream, mean    {mean:>10.2} KiB");
    println!("  disk per stream, at most {:>10.2} KiB", most as f64 / 1024.0);
    println!(
        "  the root directory       {:>10.2} MiB",
        fs::metadata(dir)?.size() as f64 / 1048576.0
    );
    match most <= STREAM_BYTES_MAX {
        true => Ok(()),
        false => Err(format!("a stream takes {most} bytes, more than {STREAM_BYTES_MAX}").into()),
    }
}
