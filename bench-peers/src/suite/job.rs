//! What a child process is told to do, and what it answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The bytes of an entry, unless a case says otherwise.
pub const ENTRY_LEN: usize = 128;

/// How many entries the logs have that are read.
pub const ENTRIES: u64 = 1_000_000;

/// How many entries a batch has.
pub const BATCH_LEN: usize = 100;

/// Appends to be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Append {
    /// Whether they are on stable storage when they return.
    pub strict: bool,
    /// How many threads append.
    pub threads: usize,
    /// How many streams there are; thread `n` appends to stream `n`, modulo this.
    pub streams: usize,
    /// The bytes of an entry.
    pub entry_len: usize,
    /// The entries of each append.
    pub batch: usize,
}

/// A log that has been written before it is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// The entries of each append.
    pub batch: usize,
    /// How many entries there are.
    pub entries: u64,
    /// Whether each append was synced.
    pub strict: bool,
    /// Whether its writer was killed rather than closing it.
    pub killed: bool,
}

/// What a child process does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Job {
    /// Appends to a new log.
    Append(Append),
    /// One thread keeps so many strict appends in flight.
    InFlight { window: usize },
    /// Appends to a new log of shards. Each thread has a shard of its own, as far as there are enough;
    /// one thread walks over all of them. A batch is spread over all.
    Shards { strict: bool, threads: usize, shards: u16, batch: usize },
    /// Writes a log for later.
    Write(Dataset),
    /// Reads all of it.
    Scan { of: Dataset, shared: bool, mapped: bool },
    /// Reads all of it once, to see whether it is all there.
    Count(Dataset),
    /// Reads entries in random order: all of them, or only those of the older half, which are in full
    /// segments.
    Get { of: Dataset, mapped: bool, older: bool },
    /// Opens it.
    Open(Dataset),
    /// Takes checkpoints of shards to which nothing is appended meanwhile.
    CheckpointCreate { shards: u16 },
    /// Reads checkpoints.
    CheckpointLoad { shards: u16 },
    /// Writes a log with so many checkpoints for later.
    WriteCheckpoints { shards: u16, count: usize },
    /// Opens it.
    OpenCheckpoints { shards: u16, count: usize },
    /// Frees so many segments in one call.
    Prune { segments: usize },
    /// Appends a few entries between two marks that a trace of system calls shows.
    Trace { strict: bool, batch: usize, appends: usize },
}

impl Job {
    /// The log that it reads, as what has to be done before.
    pub fn needs(&self) -> Option<Job> {
        match self {
            Job::Scan { of, .. } | Job::Get { of, .. } | Job::Open(of) | Job::Count(of) => {
                Some(Job::Write(of.clone()))
            }
            Job::OpenCheckpoints { shards, count } => {
                Some(Job::WriteCheckpoints { shards: *shards, count: *count })
            }
            _ => None,
        }
    }

    /// Whether doing it changes the log that it reads.
    pub fn spoils(&self) -> bool {
        matches!(self, Job::Open(of) if of.killed)
    }

    /// Whether its figure is a rate, of which more is better, and not a time.
    pub fn is_rate(&self) -> bool {
        matches!(
            self,
            Job::Append(_) | Job::InFlight { .. } | Job::Shards { .. } | Job::Scan { .. }
        )
    }
}

/// How many times as long as strict appends unsynced ones go on at most.
pub const UNSYNCED_FACTOR: f64 = 3.0;

/// How long a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Before strict appends are measured, in seconds.
    pub warm_up_s: f64,
    /// How long strict appends are measured, and other things at most.
    pub measured_s: f64,
    /// How many unsynced bytes are measured, the same for everybody who is fast enough.
    pub unsynced_bytes: u64,
    /// How often something is opened.
    pub opens: usize,
}

/// A job, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the peer.
    pub peer: String,
    /// What to do.
    pub job: Job,
    /// In which directory.
    pub dir: PathBuf,
    /// For how long.
    pub pace: Pace,
}

/// The quantiles that are kept of a latency, besides the three that every table has.
pub const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Entries per second if the job's figure is a rate, otherwise seconds.
    pub figure: f64,
    /// How many operations were measured.
    pub operations: u64,
    /// What each took, at `QUANTILES`, in nanoseconds. Unsynced appends and mapped reads are timed in
    /// groups: what counts there is the mean of a group.
    pub latencies_ns: Vec<u64>,
    /// By how much the memory of the process grew at most.
    pub memory_bytes: Option<u64>,
}

impl Job {
    /// In a few words, beside what the group says.
    pub fn details(&self) -> String {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Job::Append(append) => {
                format!("{} thread{}", append.threads, plural(append.threads))
            }
            Job::InFlight { window } => format!("{window} in flight"),
            Job::Shards { threads, shards, .. } => {
                format!("{threads} thread{}, {shards} shards", plural(*threads))
            }
            Job::Scan { shared, mapped, .. } => {
                let to = if *shared { "shared" } else { "own memory" };
                format!("{to}{}", if *mapped { ", mapped" } else { "" })
            }
            Job::Get { mapped, older, .. } => {
                let how = if *mapped { "mapped" } else { "standard" };
                format!("{how}{}", if *older { ", full segments" } else { "" })
            }
            _ => String::new(),
        }
    }
}
