//! Watches the disk and the journal beside the threads that append, to tell what a slow append waited
//! for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::measure::{new_histogram, record};

/// A page, and how many of them the probe's file has.
const PAGE_LEN: usize = 4096;
const PAGES: usize = 256;

/// Between two looks: short beside what counts as slow, and long beside a sync, so that those who
/// append hardly notice.
const PAUSE: Duration = Duration::from_millis(2);

/// A write that took so long is noted with its time.
const STALL_MIN: Duration = Duration::from_millis(10);

/// The files that a journal has, in the log's root.
const JOURNAL_FILES: [&str; 2] = [".journal.0", ".journal.1"];

/// A stretch of time.
#[derive(Clone, Copy)]
pub struct Stretch {
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
}

impl Stretch {
    /// How long it was.
    pub fn len(self) -> Duration {
        self.ended - self.begun
    }

    /// How much of it the others cover, which do not overlap each other.
    pub fn covered_by(self, others: &[Self]) -> Duration {
        let overlap = |other: &Self| {
            let (begun, ended) = (self.begun.max(other.begun), self.ended.min(other.ended));
            ended.saturating_duration_since(begun)
        };
        others.iter().map(overlap).sum()
    }
}

/// What a plain write and sync cost meanwhile, in a file of its own on the same file system.
pub struct Disk {
    /// Of all of them.
    pub latencies_ns: Histogram<u64>,
    /// The slow ones, in the order of time.
    pub stalls: Vec<Stretch>,
}

/// Writes a page, syncs it, and pauses, until told to stop.
pub fn disk(path: &Path, stopped: &AtomicBool) -> io::Result<Disk> {
    let file = File::create(path)?;
    file.write_all_at(&[0; PAGE_LEN * PAGES], 0)?;
    file.sync_all()?;
    let mut seen = Disk { latencies_ns: new_histogram(), stalls: Vec::new() };
    for nth in (0..PAGES).cycle() {
        if stopped.load(Ordering::Acquire) {
            break;
        }
        let begun = Instant::now();
        file.write_all_at(&[0x5A; PAGE_LEN], (nth * PAGE_LEN) as u64)?;
        file.sync_data()?;
        let stretch = Stretch { begun, ended: Instant::now() };
        record(&mut seen.latencies_ns, stretch.len());
        if stretch.len() >= STALL_MIN {
            seen.stalls.push(stretch);
        }
        std::thread::sleep(PAUSE);
    }
    std::fs::remove_file(path)?;
    Ok(seen)
}

/// When the journal went on in its other file, until told to stop: to a few milliseconds, for what is
/// seen is which of the two was written to last.
pub fn journal_switches(root: &Path, stopped: &AtomicBool) -> Vec<Instant> {
    let paths: Vec<PathBuf> = JOURNAL_FILES.iter().map(|name| root.join(name)).collect();
    let mut switches = Vec::new();
    let mut newest_before = None;
    while !stopped.load(Ordering::Acquire) {
        let written: Vec<Option<SystemTime>> = paths.iter().map(|path| written(path)).collect();
        let newest = (0..paths.len()).max_by_key(|nth| written[*nth]);
        let newest = newest.filter(|nth| written[*nth].is_some());
        if newest_before.is_some() && newest != newest_before {
            switches.push(Instant::now());
        }
        newest_before = newest;
        std::thread::sleep(PAUSE);
    }
    switches
}

fn written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
