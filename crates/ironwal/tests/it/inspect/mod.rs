//! `ironwal::inspect`: what it finds is what opening and reading report, and a repair loses nothing else.

mod agreement;
mod backing_up;
mod beside;
mod dumping;
mod held;
mod importing;
mod repairing;
mod several;
mod verifying;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ironwal::inspect::{Finding, Problem, Report, Severity, VerifyOptions, verify};
use ironwal::storage::{SimDisk, Storage};
use ironwal::{
    CorruptionPolicy, Environment, Error, Journal, Maintenance, SyncMode, Wal, WalOptions,
    WriteStrategy,
};

use crate::golden;
use crate::model::{Setup, open, open_with_setup};

const ROOT: &str = "/log";

/// The kinds of directories, by the names that the golden ones have.
const KINDS: &[&str] = &[
    "closed",
    "killed",
    "pruned",
    "journal",
    "journal-lost",
    "damaged",
    "pieces",
    #[cfg(feature = "compression")]
    "compressed",
    #[cfg(feature = "sharded")]
    "sharded",
];

fn on(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(disk.process())
}

/// Whoever writes, in small segments.
fn writer(disk: &SimDisk, mode: SyncMode, journal: Journal, max_segment_size: u64) -> Wal {
    let options = WalOptions { sync_mode: mode, max_segment_size, ..WalOptions::new(ROOT) };
    let environment = Environment::default()
        .with_storage(on(disk))
        .with_entropy(|| 0x5A17)
        .with_maintenance(Maintenance::Inline)
        .with_journal(journal)
        .with_journal_size(64 * 1024);
    Wal::open_with(options, environment).unwrap()
}

fn look(disk: &SimDisk) -> Report {
    look_with(disk, 1)
}

fn look_with(disk: &SimDisk, threads: usize) -> Report {
    let options = VerifyOptions::default().with_threads(threads);
    verify(&on(disk), Path::new(ROOT), &options, &|_| {}).unwrap()
}

fn problems(report: &Report) -> Vec<Problem> {
    report.findings.iter().map(|finding| finding.problem).collect()
}

fn bad(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|it| it.severity() <= Severity::Newer).collect()
}

/// The bytes of all files.
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.files().into_iter().map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

/// What somebody sees who opens a directory and reads all of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    /// Opening was an error.
    refused: bool,
    entries: BTreeMap<(String, u64), Vec<u8>>,
    /// What cannot be read: the file, and where the damage begins.
    damaged: BTreeMap<(String, u64), BTreeSet<(PathBuf, u64)>>,
    ends: BTreeMap<String, u64>,
    /// The log of checkpoints cannot be read whole.
    checkpoints: bool,
}

impl Seen {
    fn has_gap(&self) -> bool {
        !self.damaged.is_empty() || self.checkpoints
    }
}

/// Opens the log on a copy of the disk, under this policy, and reads it.
fn seen(disk: &SimDisk, policy: CorruptionPolicy) -> Seen {
    seen_on(&disk.snapshot(), ROOT, policy)
}

fn seen_on(disk: &SimDisk, root: &str, policy: CorruptionPolicy) -> Seen {
    let options = WalOptions { on_corruption: policy, ..WalOptions::new(root) };
    let mut seen = Seen::default();
    let wal = match open(disk, &options) {
        Ok(wal) => wal,
        Err(
            Error::Corruption(_) | Error::UnsupportedVersion { .. } | Error::LegacyDirectory(_),
        ) => return Seen { refused: true, ..seen },
        Err(error) => panic!("{error}"),
    };
    for name in wal.streams() {
        read(&wal, &name, &mut seen);
    }
    #[cfg(feature = "sharded")]
    if let Some(count) = wal.shard_count() {
        match ironwal::sharded::ShardedWal::over(wal.clone(), count) {
            Ok(sharded) => {
                for (id, _) in sharded.list_checkpoints() {
                    seen.checkpoints |= sharded.load_checkpoint(&id).is_err();
                }
                // Of one that is not there it is said whether it may be one that is damaged.
                seen.checkpoints |= !matches!(
                    sharded.load_checkpoint(b"never made"),
                    Err(Error::CheckpointNotFound(_))
                );
            }
            Err(_) => seen.refused = true,
        }
    }
    seen
}

fn read(wal: &Wal, name: &str, seen: &mut Seen) {
    let stream = wal.stream(name).unwrap();
    let end = stream.next_id();
    seen.ends.insert(name.to_string(), end);
    let damaged = |error: Error, seen: &mut Seen| match error {
        Error::Damaged { ids, file, offset, .. } => {
            for id in ids.start..ids.end.min(end + 1) {
                let at = seen.damaged.entry((name.to_string(), id)).or_default();
                at.insert((file.clone(), offset));
            }
        }
        error => panic!("{error}"),
    };
    for id in stream.first_id()..=end {
        match stream.get(id) {
            Ok(Some(entry)) => {
                seen.entries.insert((name.to_string(), id), entry.to_vec());
            }
            Ok(None) => assert_eq!(id, end, "{name}: {id} is missing"),
            Err(error) => damaged(error, seen),
        }
    }
    for entry in stream.range(stream.first_id()..end) {
        if let Err(error) = entry {
            damaged(error, seen);
        }
    }
}

fn lenient(disk: &SimDisk) -> Seen {
    seen(disk, CorruptionPolicy::Truncate)
}

fn strictly(disk: &SimDisk) -> Seen {
    seen(disk, CorruptionPolicy::Error)
}

/// A killed log of small segments: all of it is in the journal, too.
fn journaled() -> SimDisk {
    let disk = SimDisk::new(1);
    let options = WalOptions { max_segment_size: 600, ..WalOptions::new(ROOT) };
    let setup = Setup {
        journal: Journal::On,
        journal_len_max: 1024 * 1024,
        write_strategy: WriteStrategy::Auto,
        sync_ms: 0,
    };
    let wal = open_with_setup(on(&disk), &options, setup, || Duration::ZERO).unwrap();
    for nth in 0..20_u8 {
        let mut batch = wal.batch();
        batch.append("a", [nth; 60]);
        batch.append("b", [nth; 10]);
        batch.commit().unwrap();
    }
    disk.kill();
    disk
}

fn golden_disk(kind: &str) -> SimDisk {
    golden::directory(kind)
}

/// What holds whatever became of a log: what is told about it, and what a repair makes of it.
#[allow(dead_code, reason = "fuzzing calls it, with this file included")]
pub(crate) fn judge(clean: &SimDisk, damaged: &SimDisk, what: &str) {
    agreement::judge(damaged, what, &mut agreement::Tally::default());
    repairing::judge(&lenient(clean), damaged, what, &mut repairing::Tally::default());
}
