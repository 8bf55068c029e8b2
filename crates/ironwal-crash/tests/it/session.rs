//! A program on the log that says what it begins and what has returned, and the check of what is left
//! of it.

use std::hash::Hash;
use std::time::Duration;

use ironwal::{Environment, Journal, Maintenance, SyncMode, Wal, WalOptions};
use ironwal_crash::{CrashTest, Failure, Outcome, Run, Summary};

use crate::judge::{Mark, Op, judge, see};

/// How a log is opened.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) options: WalOptions,
    pub(crate) journal: Journal,
    pub(crate) journal_len: u64,
}

impl Setup {
    pub(crate) fn new(mode: SyncMode) -> Self {
        let options = WalOptions { sync_mode: mode, ..WalOptions::new("/log") };
        Self { options, journal: Journal::Auto, journal_len: 64 * 1024 }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut WalOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    pub(crate) fn open<M: Clone>(&self, run: &Run<M>) -> ironwal::Result<Wal> {
        let environment = Environment::default()
            .with_storage(run.storage())
            .with_entropy(|| 0x5A17)
            .with_clock(|| Duration::ZERO)
            .with_maintenance(Maintenance::Inline)
            .with_journal(self.journal)
            .with_journal_size(self.journal_len);
        Wal::open_with(self.options.clone(), environment)
    }
}

/// One process, or several in a row, on one log.
pub(crate) struct Session<'a> {
    pub(crate) run: &'a Run<Mark>,
    setup: &'a Setup,
    pub(crate) wal: Wal,
}

impl<'a> Session<'a> {
    fn open(run: &'a Run<Mark>, setup: &'a Setup) -> ironwal::Result<Self> {
        Ok(Self { run, setup, wal: setup.open(run)? })
    }

    pub(crate) fn begin(&self, op: Op) {
        self.run.mark(Mark::Begin(op));
    }

    pub(crate) fn done(&self) {
        self.run.mark(Mark::Done(None));
    }

    fn mode(&self) -> SyncMode {
        self.setup.options.sync_mode
    }

    pub(crate) fn append(&self, stream: &str, entry: &[u8]) -> Outcome {
        let safe = self.mode() == SyncMode::Strict;
        self.begin(Op::Append { stream: stream.into(), entries: vec![entry.to_vec()], safe });
        self.wal.append(stream, entry)?;
        self.done();
        Ok(())
    }

    pub(crate) fn append_batch(&self, stream: &str, entries: &[&[u8]]) -> Outcome {
        let safe = matches!(self.mode(), SyncMode::Strict | SyncMode::BatchOnly);
        let copies = entries.iter().map(|entry| entry.to_vec()).collect();
        self.begin(Op::Append { stream: stream.into(), entries: copies, safe });
        self.wal.append_batch(stream, entries)?;
        self.done();
        Ok(())
    }

    pub(crate) fn batch(&self, parts: &[(&str, &[u8])]) -> Outcome {
        let copies = parts.iter().map(|(stream, entry)| ((*stream).into(), vec![entry.to_vec()]));
        self.begin(Op::Batch(copies.collect()));
        let mut batch = self.wal.batch();
        for (stream, entry) in parts {
            batch.append(stream, entry);
        }
        batch.commit()?;
        self.done();
        Ok(())
    }

    pub(crate) fn sync_all(&self) -> Outcome {
        self.begin(Op::Sync);
        self.wal.sync_all()?;
        self.done();
        Ok(())
    }

    pub(crate) fn prune(&self, stream: &str, before: u64) -> Outcome {
        self.begin(Op::First { stream: stream.into(), to: before });
        self.wal.truncate(stream, before)?;
        self.run.mark(Mark::Done(Some(self.wal.stream(stream)?.first_id())));
        Ok(())
    }

    pub(crate) fn restore(&self, stream: &str) -> Outcome {
        self.begin(Op::First { stream: stream.into(), to: 0 });
        self.wal.restore_archived(stream)?;
        self.run.mark(Mark::Done(Some(self.wal.stream(stream)?.first_id())));
        Ok(())
    }

    pub(crate) fn cut(&self, stream: &str, last_kept: Option<u64>) -> Outcome {
        let end = last_kept.map_or(0, |last| last + 1);
        self.begin(Op::Cut { stream: stream.into(), end });
        self.wal.stream(stream)?.truncate_after(last_kept)?;
        self.done();
        Ok(())
    }

    pub(crate) fn delete(&self, stream: &str) -> Outcome {
        self.begin(Op::Delete { stream: stream.into() });
        self.wal.delete_stream(stream)?;
        self.done();
        Ok(())
    }

    pub(crate) fn reopen(&mut self) -> Outcome {
        self.begin(Op::Sync);
        self.wal.close()?;
        self.done();
        self.wal = self.setup.open(self.run)?;
        Ok(())
    }
}

/// How many states are tried per workload.
pub(crate) fn states() -> usize {
    let states = std::env::var("IRONWAL_STATES").ok();
    states.map_or(60_000, |states| states.parse().expect("a number of states"))
}

/// Crashes a workload of a log in every way.
pub(crate) fn crash(name: &str, setup: &Setup, workload: impl Fn(&mut Session<'_>) -> Outcome) {
    let workload = |run: &Run<Mark>| {
        let mut session = Session::open(run, setup)?;
        workload(&mut session)
    };
    crash_with(name, workload, |run: &Run<Mark>| check(run, setup));
}

/// Crashes a workload in every way, and says how many states that were. With `IRONWAL_TRAIL`, builds
/// this one state again.
pub(crate) fn crash_with<M: Clone + Hash>(
    name: &str,
    workload: impl Fn(&Run<M>) -> Outcome,
    check: impl Fn(&Run<M>) -> Outcome,
) {
    let test = CrashTest::new(name).states(states()).recoveries(2);
    let result = match std::env::var("IRONWAL_TRAIL") {
        Ok(trail) => {
            let trail = trail.parse().expect("a trail");
            test.replay(&trail, workload, check).map(|()| Summary::default())
        }
        Err(_) => test.run(workload, check),
    };
    finish(&test, name, result);
}

/// Prints what was tried, or fails.
pub(crate) fn finish(test: &CrashTest, name: &str, result: Result<Summary, Failure>) {
    match result {
        Ok(summary) => println!("{name}: {summary}"),
        Err(failure) => panic!("{failure}\n{test:?}"),
    }
}

/// Opens what is left, compares, and goes on: recovery must leave a log that takes appends, and keep
/// what it found.
fn check(run: &Run<Mark>, setup: &Setup) -> Outcome {
    let session = Session::open(run, setup)?;
    let found = see(&session.wal)?;
    judge(&run.marks(), &found)?;
    run.mark(Mark::Saw(found));
    session.append("a", b"after the crash")?;
    judge(&run.marks(), &see(&session.wal)?)?;
    session.begin(Op::Sync);
    session.wal.close()?;
    session.done();
    Ok(())
}
