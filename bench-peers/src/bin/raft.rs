//! Measures log stores of openraft: one append of one entry in flight for each group, and the next when the
//! callback of the last one has come, as openraft 0.9 does it.
//!
//! ```text
//! cargo run --release --manifest-path bench-peers/Cargo.toml --no-default-features --features raft \
//!     --bin raft -- [--dir DIR] [--rounds N] [--seconds S] [--groups 1,16,256]
//! ```
//!
//! The cases take turns, in an order that changes with every round; what is judged is the median of the
//! ratios within the rounds. Every entry of the two with a log is on stable storage when it counts.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io::{self, Cursor};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use ironwal_openraft::Groups;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftLogStorageExt};
use openraft::{
    CommittedLeaderId, Entry, EntryPayload, LogId, OptionalSend, RaftLogReader, StorageError, Vote,
};
use tokio::runtime::Runtime;

openraft::declare_raft_types!(pub Types: D = String, R = ());

type Stored<T> = Result<T, StorageError<u64>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many bytes of its own each entry has.
const ENTRY_LEN: usize = 128;

/// How long a run goes on before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

const USAGE: &str = "usage: raft [--dir DIR] [--rounds N] [--seconds S] [--groups 1,16,256]";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// All groups in one log.
    Shared,
    /// A log for each group.
    Each,
    /// A map in memory for each group: what the tasks and the callbacks cost.
    Memory,
}

impl Case {
    const ALL: [Self; 3] = [Self::Shared, Self::Each, Self::Memory];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shared => "one log",
            Self::Each => "a log each",
            Self::Memory => "memory",
        })
    }
}

struct Settings {
    dir: PathBuf,
    rounds: usize,
    duration: Duration,
    groups: Vec<usize>,
}

impl Settings {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut settings = Self {
            dir: PathBuf::from("target/bench-data"),
            rounds: 5,
            duration: Duration::from_secs(2),
            groups: vec![1, 16, 256],
        };
        while let Some(option) = arguments.next() {
            let value = arguments.next()?;
            match &option[..] {
                "--dir" => settings.dir = value.into(),
                "--rounds" => settings.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
                "--seconds" => {
                    settings.duration = Duration::try_from_secs_f64(value.parse().ok()?).ok()?
                }
                "--groups" => {
                    settings.groups =
                        value.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
                }
                _ => return None,
            }
        }
        Some(settings)
    }
}

fn main() -> ExitCode {
    let Some(settings) = Settings::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match measure(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn measure(settings: &Settings) -> Result<(), Failure> {
    println!(
        "| groups | log store | entries/s, median | lowest to highest | one log is faster by |"
    );
    println!("|---:|---|---:|---:|---:|");
    for groups in &settings.groups {
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..settings.rounds {
            for turn in 0..Case::ALL.len() {
                // Nobody always runs after the same neighbour's leftovers.
                let nth = (round + turn) % Case::ALL.len();
                let dir = settings.dir.join(format!("raft-{}", std::process::id()));
                let rate = run(Case::ALL[nth], *groups, &dir, settings.duration);
                std::fs::remove_dir_all(&dir).or_else(ignore_missing)?;
                rates[nth].push(rate?);
            }
        }
        for (nth, case) in Case::ALL.into_iter().enumerate() {
            let ratios: Vec<f64> =
                rates[0].iter().zip(&rates[nth]).map(|(one, it)| one / it).collect();
            let lowest = rates[nth].iter().copied().fold(f64::INFINITY, f64::min);
            let highest = rates[nth].iter().copied().fold(0.0, f64::max);
            let (rate, ratio) = (median(&rates[nth]), median(&ratios));
            println!(
                "| {groups} | {case} | {rate:.0} | {lowest:.0} to {highest:.0} | {ratio:.2} |"
            );
        }
    }
    Ok(())
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn median(of: &[f64]) -> f64 {
    let mut of = of.to_vec();
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Entries per second over all groups.
fn run(case: Case, groups: usize, dir: &Path, duration: Duration) -> Result<f64, Failure> {
    std::fs::create_dir_all(dir)?;
    let runtime = Runtime::new()?;
    match case {
        Case::Shared => {
            let log = Groups::open(dir)?;
            let open =
                (0..groups).map(async |group| log.log_store(&format!("group {group}")).await);
            let stores = runtime.block_on(try_join_all(open))?;
            let rate = rate(&runtime, stores, duration)?;
            log.wal().close()?;
            Ok(rate)
        }
        Case::Each => {
            let logs = (0..groups).map(|group| Groups::open(dir.join(group.to_string())));
            let logs = logs.collect::<Result<Vec<_>, _>>()?;
            let open = logs.iter().map(async |log| log.log_store("group").await);
            let stores = runtime.block_on(try_join_all(open))?;
            let rate = rate(&runtime, stores, duration)?;
            logs.iter().try_for_each(|log| log.wal().close())?;
            Ok(rate)
        }
        Case::Memory => rate(
            &runtime,
            vec![(); groups].into_iter().map(|()| Memory::default()).collect(),
            duration,
        ),
    }
}

fn rate<S: RaftLogStorage<Types>>(
    runtime: &Runtime,
    stores: Vec<S>,
    duration: Duration,
) -> Result<f64, Failure> {
    let (count, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async {
        let tasks: Vec<_> = stores
            .into_iter()
            .map(|store| tokio::spawn(append(store, Arc::clone(&count), Arc::clone(&is_over))))
            .collect();
        tokio::time::sleep(WARM_UP).await;
        let (begun, before) = (Instant::now(), count.load(Ordering::Relaxed));
        tokio::time::sleep(duration).await;
        let (entries, time) = (count.load(Ordering::Relaxed) - before, begun.elapsed());
        is_over.store(true, Ordering::Relaxed);
        for ended in join_all(tasks).await {
            ended??;
        }
        Ok(entries as f64 / time.as_secs_f64())
    })
}

/// One entry after another, until it is over.
async fn append<S: RaftLogStorage<Types>>(
    mut store: S,
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> Stored<()> {
    let text = "x".repeat(ENTRY_LEN);
    for index in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let log_id = LogId::new(CommittedLeaderId::new(1, 1), index);
        let payload = EntryPayload::Normal(text.clone());
        store.blocking_append([Entry { log_id, payload }]).await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A log store that keeps nothing, as openraft's examples have it.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<u64, Entry<Types>>>>);

impl Memory {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<u64, Entry<Types>>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RaftLogReader<Types> for Memory {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Stored<Vec<Entry<Types>>> {
        Ok(self.with(|log| log.range(range).map(|(_, entry)| entry.clone()).collect()))
    }
}

impl RaftLogStorage<Types> for Memory {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Stored<LogState<Types>> {
        let last_log_id = self.with(|log| log.values().next_back().map(|entry| entry.log_id));
        Ok(LogState { last_purged_log_id: None, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, _vote: &Vote<u64>) -> Stored<()> {
        Ok(())
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote<u64>>> {
        Ok(None)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.with(|log| log.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry))));
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Stored<()> {
        self.with(|log| drop(log.split_off(&log_id.index)));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Stored<()> {
        self.with(|log| *log = log.split_off(&(log_id.index + 1)));
        Ok(())
    }
}
