//! `kill -9`: what an append had returned survives the death of the process, in every mode.
//!
//! Real processes: the test starts its own binary again as a *child* that does nothing but
//! [`append_until_killed`], and kills it at a number of acknowledged appends. The child reports an
//! append on its standard output after the append returned and before it begins the next one.
//!
//! `IRONWAL_KILLS=1000 cargo test kill` runs a campaign of that many kills per mode.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use ironwal::{CorruptionPolicy, SyncMode, Wal, WalOptions};

const STREAMS: [&str; 3] = ["accounts", "orders", "audit"];
const THREADS: u64 = 4;

/// The name of the child's test, and how it knows that it is one.
const CHILD: &str = "kill::child";
const CHILD_DIR: &str = "IRONWAL_KILL_DIR";
const CHILD_MODE: &str = "IRONWAL_KILL_MODE";
const CHILD_RUN: &str = "IRONWAL_KILL_RUN";

/// Begins every report, wherever the test harness left the line.
const REPORT: &str = "acknowledged";

#[test]
fn strict_appends_survive() {
    kill_again_and_again("strict");
}

#[test]
fn batch_only_appends_survive() {
    kill_again_and_again("batch-only");
}

#[test]
fn async_appends_survive() {
    kill_again_and_again("async");
}

/// The child's main function; for everybody else it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let mode = std::env::var(CHILD_MODE).unwrap();
    let run = std::env::var(CHILD_RUN).unwrap().parse().unwrap();
    append_until_killed(Path::new(&dir), &mode, run);
}

fn options(dir: &Path, mode: &str) -> WalOptions {
    let sync_mode = match mode {
        "strict" => SyncMode::Strict,
        "batch-only" => SyncMode::BatchOnly,
        "async" => SyncMode::Async,
        other => panic!("unknown mode {other}"),
    };
    WalOptions {
        sync_mode,
        // Small, so that many kills hit a rotation; several batches are larger than a segment.
        max_segment_size: 6000,
        on_corruption: CorruptionPolicy::Error,
        ..WalOptions::new(dir)
    }
}

/// One append of one thread of one child. Everything else about it follows from these numbers, so
/// that an entry found in the log can be compared with the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Operation {
    run: u64,
    thread: u64,
    number: u64,
}

impl Operation {
    /// Evenly spread bits.
    fn noise(self) -> u64 {
        let mixed = (self.run << 40) ^ (self.thread << 32) ^ self.number;
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
    }

    fn stream(self) -> usize {
        (self.noise() % STREAMS.len() as u64) as usize
    }

    /// How many entries it appends.
    fn count(self) -> u64 {
        match self.noise() >> 8 & 7 {
            0..5 => 1,
            5..7 => 2 + (self.noise() >> 16) % 20,
            _ => 50,
        }
    }

    fn is_batch(self) -> bool {
        self.count() > 1
    }

    /// Its entries: who they are, in front of a filler of any length.
    fn entries(self) -> Vec<Vec<u8>> {
        (0..self.count())
            .map(|nth| {
                let Self { run, thread, number } = self;
                let mut entry: Vec<u8> =
                    [run, thread, number, nth].iter().flat_map(|n| n.to_le_bytes()).collect();
                let filler = self.noise().wrapping_add(nth);
                entry.resize(32 + (filler % 300) as usize, (filler >> 20) as u8);
                entry
            })
            .collect()
    }

    /// The operation that an entry says it belongs to, and its place there.
    fn of(entry: &[u8]) -> (Self, u64) {
        let number = |nth: usize| u64::from_le_bytes(entry[nth * 8..][..8].try_into().unwrap());
        (Self { run: number(0), thread: number(1), number: number(2) }, number(3))
    }

    fn append(self, wal: &Wal) -> Range<u64> {
        let entries = self.entries();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let stream = STREAMS[self.stream()];
        if self.is_batch() {
            wal.append_batch(stream, &entries).unwrap()
        } else {
            let id = wal.append(stream, entries[0]).unwrap();
            id..id + 1
        }
    }
}

fn append_until_killed(dir: &Path, mode: &str, run: u64) {
    let wal = Wal::new(options(dir, mode)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let wal = &wal;
            scope.spawn(move || {
                for number in 0.. {
                    let ids = Operation { run, thread, number }.append(wal);
                    let report = format!("\n{REPORT} {thread} {number} {}\n", ids.start);
                    // Fails once the parent is gone, and with it the child.
                    std::io::stdout().write_all(report.as_bytes()).unwrap();
                }
            });
        }
    });
}

/// What the children said they had appended, and what their log held when it was last looked at.
#[derive(Default)]
struct Model {
    /// The first id of every acknowledged operation.
    acknowledged: BTreeMap<Operation, u64>,
    /// All entries of each stream.
    found: [Vec<Vec<u8>>; STREAMS.len()],
}

fn kill_again_and_again(mode: &str) {
    let kills = std::env::var("IRONWAL_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    for run in 0..kills {
        let reports = 20 + Operation { run, thread: THREADS, number: 0 }.noise() % 300;
        model.run_and_kill(dir.path(), mode, run, reports);
        // Sometimes it is the next child that recovers.
        if run % 3 != 1 || run + 1 == kills {
            model.check(dir.path(), mode, run);
        }
    }
}

impl Model {
    /// Starts a child and kills it after `reports` acknowledged appends.
    fn run_and_kill(&mut self, dir: &Path, mode: &str, run: u64, reports: u64) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, dir)
            .env(CHILD_MODE, mode)
            .env(CHILD_RUN, run.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        loop {
            let mut line = String::new();
            // To the end: what was in the pipe when the child died had been acknowledged as well.
            if output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            let Some(report) = line.strip_prefix(REPORT).and_then(|line| line.strip_suffix('\n'))
            else {
                continue;
            };
            let fields: Vec<u64> =
                report.split_whitespace().map(|field| field.parse().unwrap()).collect();
            let [thread, number, first_id] = fields[..] else { panic!("report {line:?}") };
            self.acknowledged.insert(Operation { run, thread, number }, first_id);
            seen += 1;
            if seen == reports {
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        assert!(seen >= reports, "{mode}: the child of run {run} ended by itself: {status}");
        assert_eq!(status.code(), None, "{mode}: the child of run {run} was not killed: {status}");
    }

    /// Opens the log and holds it to its promises.
    fn check(&mut self, dir: &Path, mode: &str, run: u64) {
        let wal = Wal::new(options(dir, mode)).unwrap();
        for (nth, stream) in STREAMS.iter().enumerate() {
            let entries = read(&wal, stream);
            let before = &self.found[nth];
            assert!(
                entries.len() >= before.len() && entries[..before.len()] == before[..],
                "{mode}, run {run}: {stream:?} lost entries that had been read"
            );
            self.found[nth] = entries;
        }
        self.check_acknowledged(mode);
        self.check_nothing_invented(mode);

        // And it goes on: one more append, of a thread that no child has.
        for (nth, stream) in STREAMS.iter().enumerate() {
            let number =
                (0..).find(|&n| Operation { run, thread: THREADS, number: n }.stream() == nth);
            let operation = Operation { run, thread: THREADS, number: number.unwrap() };
            let ids = operation.append(&wal);
            assert_eq!(ids.start, self.found[nth].len() as u64, "{mode}, run {run}: {stream:?}");
            self.acknowledged.insert(operation, ids.start);
            self.found[nth].extend(operation.entries());
        }
        wal.close().unwrap();
    }

    /// Every acknowledged entry is at its id, byte for byte.
    fn check_acknowledged(&self, mode: &str) {
        for (operation, first_id) in &self.acknowledged {
            let found = &self.found[operation.stream()];
            for (id, entry) in (*first_id..).zip(operation.entries()) {
                let there = usize::try_from(id).ok().and_then(|id| found.get(id));
                assert_eq!(there, Some(&entry), "{mode}: id {id}, acknowledged {operation:?}");
            }
        }
    }

    /// Every entry was appended by an operation that was acknowledged or under way, once, and with
    /// all others of its batch.
    fn check_nothing_invented(&self, mode: &str) {
        let mut seen = BTreeMap::new();
        for (nth, entries) in self.found.iter().enumerate() {
            let mut id = 0;
            while let Some(entry) = entries.get(id) {
                let (operation, place) = Operation::of(entry);
                assert_eq!(place, 0, "{mode}: half of {operation:?} at id {id}");
                assert_eq!(operation.stream(), nth, "{mode}: {operation:?} in a wrong stream");
                let meant = operation.entries();
                let there = entries.get(id..id + meant.len());
                assert_eq!(there, Some(&meant[..]), "{mode}: {operation:?} at id {id}");
                let first = seen.insert(operation, id);
                assert_eq!(first, None, "{mode}: {operation:?} is there twice");
                id += meant.len();
            }
        }
        for operation in seen.keys().filter(|operation| operation.thread < THREADS) {
            // A thread begins an operation only after it has reported the one before.
            let previous = operation.number.checked_sub(1);
            let begun = previous.is_none_or(|number| {
                self.acknowledged.contains_key(&Operation { number, ..*operation })
            });
            assert!(begun, "{mode}: {operation:?} was never begun");
        }
    }
}

/// All entries of a stream. Fails if there is damage or a gap.
fn read(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in wal.iter_with_ids(stream, 0).unwrap() {
        let (id, entry) = entry.unwrap();
        assert_eq!(id, entries.len() as u64, "a gap in {stream:?}");
        entries.push(entry);
    }
    entries
}
