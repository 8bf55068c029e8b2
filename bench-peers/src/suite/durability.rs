//! How durable each peer's appends are, as its system calls and a kill show it.
//!
//! Two things are done with every peer and kind of append, before anything is measured:
//!
//! - A few appends under `strace`: if there is a sync for each, or each write is synced because the
//!   file was opened so, they survive **power loss** (as far as a count can tell).
//! - A few appends, then `SIGKILL`, then a scan: if all are there, they survive **the process being
//!   killed**.
//!
//! Only appends of the same class are compared. Where `strace` is missing, what was seen before, on
//! Linux with the versions in `Cargo.lock`, is used, and the report says so.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::job::{BATCH_LEN, Dataset, Job};
use super::run::Runner;
use crate::peers::{Ability, FLOOR, Peer};

/// What the trace shows before the first append that counts.
pub const BEGIN: &str = "marker-begin";
/// And after the last.
pub const END: &str = "marker-end";

/// How many appends are traced.
const APPENDS: usize = 50;

/// How many entries are written before the kill.
const KILLED_AFTER: u64 = 5_000;

const CALLS: &str = "write,pwrite64,writev,pwritev,pwritev2,fdatasync,fsync,msync,sync_file_range,\
                     io_uring_enter,openat,open";

/// What an append that returned survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Survives {
    /// Nothing that is promised.
    Nothing,
    /// The process being killed.
    Kill,
    /// Power loss.
    PowerLoss,
}

/// Where that is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// System calls were counted, and a process was killed.
    Seen,
    /// It was so when somebody looked.
    Recorded,
}

/// A kind of append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// Whether the peer was asked for durability.
    pub strict: bool,
    /// Whether several entries are appended at once.
    pub batch: bool,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self { strict: true, batch: false },
        Self { strict: true, batch: true },
        Self { strict: false, batch: false },
        Self { strict: false, batch: true },
    ];

    /// What a peer has to be able to do.
    pub fn ability(self) -> Ability {
        match (self.strict, self.batch) {
            (true, false) => Ability::Strict,
            (true, true) => Ability::StrictBatch,
            (false, false) => Ability::Unsynced,
            (false, true) => Ability::UnsyncedBatch,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match (self.strict, self.batch) {
            (true, false) => "strict append",
            (true, true) => "strict batch of 100",
            (false, false) => "unsynced append",
            (false, true) => "unsynced batch of 100",
        }
    }

    /// What an append has to survive to be compared with ours.
    pub fn wanted(self) -> Survives {
        if self.strict { Survives::PowerLoss } else { Survives::Kill }
    }
}

/// What was seen of one peer and one kind of append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// Whose.
    pub peer: String,
    /// Of which appends.
    pub kind: Kind,
    /// What they survive.
    pub survives: Survives,
    /// How that is known.
    pub source: Source,
    /// Calls that write, for each append.
    pub writes: Option<f64>,
    /// Calls that sync, for each append; writes to a file that syncs each of them among them.
    pub syncs: Option<f64>,
    /// What there is to say besides.
    pub note: String,
}

impl Durability {
    /// Whether it is the class in which appends of this kind are compared.
    pub fn is_compared(&self) -> bool {
        self.survives == self.kind.wanted()
    }
}

/// Marks a place in the trace.
pub fn mark(name: &str) {
    // It does not exist: the attempt is what is seen.
    let _ = fs::File::open(name);
}

/// Whether there is a tool that counts system calls, and it may.
pub fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// Looks at one peer.
pub fn look(runner: &Runner, peer: &dyn Peer, kind: Kind, traced: bool) -> Durability {
    let mut seen = Durability {
        peer: peer.name().into(),
        kind,
        survives: Survives::Nothing,
        source: if traced { Source::Seen } else { Source::Recorded },
        writes: None,
        syncs: None,
        note: String::new(),
    };
    let batch = if kind.batch { BATCH_LEN } else { 1 };
    if traced {
        match runner.traced(
            peer,
            &Job::Trace { strict: kind.strict, batch, appends: APPENDS },
            CALLS,
        ) {
            Ok(trace) => {
                let calls = Calls::of(&trace);
                seen.writes = Some(calls.writes as f64 / APPENDS as f64);
                seen.syncs = Some(calls.syncs as f64 / APPENDS as f64);
                if calls.rings > 0 {
                    seen.note = "through io_uring, which a trace does not show".into();
                }
            }
            Err(error) => seen.note = error.to_string(),
        }
    }
    let syncs = seen.syncs.unwrap_or_else(|| if recorded(peer.name(), kind) { 1.0 } else { 0.0 });
    if syncs >= 0.99 {
        seen.survives = Survives::PowerLoss;
    } else if peer.name() == FLOOR || kept_after_kill(runner, peer, kind, batch, &mut seen.note) {
        seen.survives = Survives::Kill;
    }
    seen
}

/// Whether there was one sync for each append when it was last counted.
fn recorded(peer: &str, kind: Kind) -> bool {
    kind.strict && peer != "commitlog" && !(peer.starts_with("walrus") && kind.batch)
}

fn kept_after_kill(
    runner: &Runner,
    peer: &dyn Peer,
    kind: Kind,
    batch: usize,
    note: &mut String,
) -> bool {
    if peer.can(Ability::Count).is_err() {
        *note = "not looked at after a kill".into();
        return false;
    }
    let of = Dataset { batch, entries: KILLED_AFTER, strict: kind.strict, killed: true };
    match runner.once(peer, &Job::Count(of)) {
        Ok(_) => true,
        Err(error) => {
            *note = format!("after a kill: {error}");
            false
        }
    }
}

/// What is between the marks of a trace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Calls {
    writes: u64,
    syncs: u64,
    rings: u64,
}

impl Calls {
    fn of(trace: &str) -> Self {
        let mut calls = Self::default();
        let mut synced_writes = false;
        let mut counting = false;
        for line in trace.lines() {
            if line.contains(BEGIN) {
                counting = true;
            } else if line.contains(END) {
                break;
            }
            if line.contains("open") && (line.contains("O_SYNC") || line.contains("O_DSYNC")) {
                synced_writes = true;
            }
            // A call that another thread's interrupted is shown twice; its end does not count.
            if !counting || line.contains("resumed>") {
                continue;
            }
            let call = line.split('(').next().unwrap_or("").rsplit(' ').next().unwrap_or("");
            match call {
                "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => calls.writes += 1,
                "fdatasync" | "fsync" => calls.syncs += 1,
                "msync" if line.contains("MS_SYNC") => calls.syncs += 1,
                "io_uring_enter" => calls.rings += 1,
                _ => {}
            }
        }
        if synced_writes {
            calls.syncs += calls.writes;
        }
        calls
    }
}

/// Reads a trace that was written to a file.
pub fn read_trace(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_counts() {
        let trace = "\
            12 fsync(3) = 0\n\
            12 openat(AT_FDCWD, \"marker-begin\", O_RDONLY|O_CLOEXEC) = -1 ENOENT\n\
            12 pwrite64(3, \"Z\"..., 152, 0) = 152\n\
            [pid 13] fdatasync(3 <unfinished ...>\n\
            12 msync(0x7f, 4096, MS_ASYNC) = 0\n\
            [pid 13] <... fdatasync resumed>) = 0\n\
            12 openat(AT_FDCWD, \"marker-end\", O_RDONLY|O_CLOEXEC) = -1 ENOENT\n\
            12 fsync(3) = 0\n";
        assert_eq!(Calls::of(trace), Calls { writes: 1, syncs: 1, rings: 0 });
    }

    #[test]
    fn a_write_to_a_file_that_syncs_each_is_a_sync() {
        let trace = "\
            12 openat(AT_FDCWD, \"log\", O_RDWR|O_CREAT|O_SYNC, 0666) = 3\n\
            12 openat(AT_FDCWD, \"marker-begin\", O_RDONLY) = -1 ENOENT\n\
            12 pwrite64(3, \"Z\"..., 152, 0) = 152\n\
            12 pwrite64(3, \"Z\"..., 152, 152) = 152\n";
        assert_eq!(Calls::of(trace), Calls { writes: 2, syncs: 2, rings: 0 });
    }
}
