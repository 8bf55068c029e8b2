//! Readers beside a writer in another process, through rotation, pruning, closing, opening again,
//! `SIGKILL` and its end: they never see an entry that was not begun, half of a batch, a gap or other
//! bytes, and never miss what was acknowledged before they looked.
//!
//! Real processes: the test starts its own binary again as a *child* that does nothing but [`write`].
//! The child says on its standard output what it is about to do, and what it has done. What is read
//! is held against what had been said before and after; nobody sleeps, and who has nothing to check
//! waits for the next report.
//!
//! `IRONWAL_FOLLOWS=100 cargo test processes` runs a campaign of that many pairs of writers per mode.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard};

use fastrand::Rng;
use ironwal::{CorruptionPolicy, Stream, Wal, WalOptions};

const STREAMS: [&str; 3] = ["accounts", "orders", "a/b"];

/// The name of the child's test, and how it knows that it is one.
const CHILD: &str = "processes::child";
const CHILD_DIR: &str = "IRONWAL_PROCESSES_DIR";
const CHILD_MODE: &str = "IRONWAL_PROCESSES_MODE";
const CHILD_RUN: &str = "IRONWAL_PROCESSES_RUN";

/// Begins every report, wherever the test harness left the line.
const REPORT: &str = "report";

/// How often a child opens the log, and how much it does to each stream until it closes it.
const OPENINGS: u64 = 3;
const CHANGES: u64 = 60;

#[test]
fn strict_writers_are_followed() {
    follow_again_and_again("strict");
}

#[test]
fn batch_only_writers_are_followed() {
    follow_again_and_again("batch-only");
}

#[test]
fn async_writers_are_followed() {
    follow_again_and_again("async");
}

#[test]
fn interval_writers_are_followed() {
    follow_again_and_again("interval");
}

/// The child's main function; for everybody else it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let mode = std::env::var(CHILD_MODE).unwrap();
    let run = std::env::var(CHILD_RUN).unwrap().parse().unwrap();
    write(Path::new(&dir), &mode, run);
}

fn options(dir: &Path, mode: &str) -> WalOptions {
    WalOptions {
        sync_mode: crate::kill::sync_mode(mode),
        // Small, so that readers cross many borders; and fewer files than there are streams.
        max_segment_size: 3000,
        max_open_segments: 2,
        max_open_read_segments: 2,
        on_corruption: CorruptionPolicy::Error,
        ..WalOptions::new(dir)
    }
}

/// What has the id in the stream, whoever appends it.
fn entry(stream: usize, id: u64) -> Vec<u8> {
    let noise = (id << 2 | stream as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let mut entry = format!("{stream} {id} ").into_bytes();
    entry.resize(entry.len() + (noise % 200) as usize, (noise >> 10) as u8);
    entry
}

fn report(what: &str, stream: usize, from: u64, to: u64) {
    let line = format!("\n{REPORT} {what} {stream} {from} {to}\n");
    // Fails once the parent is gone, and with it the child.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn write(dir: &Path, mode: &str, run: u64) {
    for opening in 0..OPENINGS {
        let wal = Wal::new(options(dir, mode)).unwrap();
        std::thread::scope(|scope| {
            for (nth, name) in STREAMS.into_iter().enumerate() {
                let stream = wal.stream(name).unwrap();
                let wal = &wal;
                let seed = run << 16 | opening << 8 | nth as u64;
                scope.spawn(move || change(wal, &stream, nth, &mut Rng::with_seed(seed)));
            }
        });
        wal.close().unwrap();
    }
}

/// The only thread that changes this stream.
fn change(wal: &Wal, stream: &Stream, nth: usize, rng: &mut Rng) {
    for _ in 0..CHANGES {
        let next_id = stream.next_id();
        match rng.u8(..16) {
            0..8 => {
                report("appending", nth, next_id, next_id + 1);
                assert_eq!(stream.append(&entry(nth, next_id)).unwrap(), next_id);
                report("appended", nth, next_id, next_id + 1);
            }
            8..13 => {
                let end = next_id + rng.u64(1..12);
                let entries: Vec<Vec<u8>> = (next_id..end).map(|id| entry(nth, id)).collect();
                let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                report("appending", nth, next_id, end);
                assert_eq!(stream.append_batch(&entries).unwrap(), next_id..end);
                report("appended", nth, next_id, end);
            }
            13 => stream.rotate().unwrap(),
            what => {
                let first_id = stream.first_id();
                let id = rng.u64(first_id..=next_id);
                report("pruning", nth, first_id, id);
                match what {
                    14 => stream.truncate_before(id).unwrap(),
                    _ => wal.truncate(STREAMS[nth], id).unwrap(),
                };
                report("pruned", nth, stream.first_id(), id);
            }
        }
    }
}

/// What the children have said of one stream.
#[derive(Debug, Clone, Default)]
struct Told {
    /// Where each append ends that was begun.
    ends: BTreeSet<u64>,
    /// Entries below this id were acknowledged.
    appended: u64,
    /// Entries from this id on were certainly not pruned.
    kept_from: u64,
    /// Entries below this id certainly were.
    pruned: u64,
}

#[derive(Debug, Default)]
struct Reports {
    streams: [Told; STREAMS.len()],
    count: u64,
    /// No more are going to come.
    over: bool,
}

#[derive(Debug, Default)]
struct Listener {
    reports: Mutex<Reports>,
    news: Condvar,
}

impl Listener {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn told(&self, nth: usize) -> Told {
        self.reports().streams[nth].clone()
    }

    /// What has been said of a stream once it says `enough`, or all that was ever said. A reader can be
    /// faster than the report of what it sees, which is in the pipe by then.
    fn told_until(&self, nth: usize, enough: impl Fn(&Told) -> bool) -> Told {
        let mut reports = self.reports();
        while !reports.over && !enough(&reports.streams[nth]) {
            reports = self.news.wait(reports).unwrap();
        }
        reports.streams[nth].clone()
    }

    /// Waits for more reports than `seen`; `false` if none will come.
    fn wait(&self, seen: &mut u64) -> bool {
        let mut reports = self.reports();
        while !reports.over && reports.count == *seen {
            reports = self.news.wait(reports).unwrap();
        }
        *seen = reports.count;
        !reports.over
    }

    fn end(&self) {
        self.reports().over = true;
        self.news.notify_all();
    }

    /// Listens to a child to its end; kills it after `appends_max` acknowledged appends.
    fn listen(&self, mut child: Child, appends_max: u64) {
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut appends = 0;
        loop {
            let mut line = String::new();
            // To the end: what was in the pipe when the child died had been done as well.
            if output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            let Some(report) = line.strip_prefix(REPORT).and_then(|line| line.strip_suffix('\n'))
            else {
                continue;
            };
            let fields: Vec<&str> = report.split_whitespace().collect();
            let [what, stream, from, to] = fields[..] else { panic!("report {line:?}") };
            let [from, to]: [u64; 2] = [from, to].map(|number| number.parse().unwrap());
            let mut reports = self.reports();
            let told = &mut reports.streams[stream.parse::<usize>().unwrap()];
            match what {
                "appending" => _ = told.ends.insert(to),
                "appended" => told.appended = to,
                "pruning" => told.kept_from = told.kept_from.max(to),
                "pruned" => told.pruned = from,
                other => panic!("report {other:?}"),
            }
            reports.count += 1;
            drop(reports);
            self.news.notify_all();
            appends += u64::from(what == "appended");
            if appends == appends_max {
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        let killed = appends >= appends_max;
        assert_eq!(status.success(), !killed, "{appends} appends, then {status}");
        assert_eq!(status.code().is_none(), killed, "{appends} appends, then {status}");
    }
}

fn start(dir: &Path, mode: &str, run: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_MODE, mode)
        .env(CHILD_RUN, run.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn follow_again_and_again(mode: &str) {
    let pairs = std::env::var("IRONWAL_FOLLOWS").map_or(1, |pairs| pairs.parse().unwrap());
    for pair in 0..pairs {
        follow(mode, pair);
    }
}

/// One log, one writer that is killed, one that comes to its end, and readers all the time.
fn follow(mode: &str, pair: u64) {
    let dir = tempfile::tempdir().unwrap();
    // So that readers can be there before the first writer, with handles on streams that it continues.
    Wal::new(options(dir.path(), mode)).unwrap().close().unwrap();
    let listener = Listener::default();
    let open = || Wal::open_read_only(options(dir.path(), mode)).unwrap();
    let reader = open();
    let reader = &reader;
    std::thread::scope(|scope| {
        for (nth, name) in STREAMS.into_iter().enumerate() {
            let listener = &listener;
            let stream = reader.stream(name).unwrap();
            assert_eq!((stream.first_id(), stream.next_id()), (0, 0));
            scope.spawn(move || ending(listener, || follow_one(reader, nth, listener)));
            let mut rng = Rng::with_seed(pair << 8 | nth as u64);
            scope
                .spawn(move || ending(listener, || look(reader, &stream, nth, listener, &mut rng)));
        }
        let listener = &listener;
        // Readers that come and go, while writers open and close too.
        scope.spawn(move || {
            ending(listener, || {
                let (mut seen, mut rng) = (0, Rng::with_seed(pair));
                while listener.wait(&mut seen) {
                    let (reader, nth) = (open(), rng.usize(..STREAMS.len()));
                    check_once(
                        &reader,
                        &reader.stream(STREAMS[nth]).unwrap(),
                        nth,
                        listener,
                        &mut rng,
                    );
                }
            });
        });
        let mut rng = Rng::with_seed(pair ^ 0xD1E);
        // Before the first writer has done half of its work.
        let appends_max = rng.u64(20..OPENINGS * CHANGES);
        ending(listener, || listener.listen(start(dir.path(), mode, 2 * pair), appends_max));
        ending(listener, || listener.listen(start(dir.path(), mode, 2 * pair + 1), u64::MAX));
        listener.end();
    });
    // The readers that were there all along, a new one, and the next writer agree to the entry.
    let new = open();
    let writer = Wal::new(options(dir.path(), mode)).unwrap();
    for (nth, name) in STREAMS.into_iter().enumerate() {
        let told = listener.told(nth);
        let stream = writer.stream(name).unwrap();
        assert_eq!(stream.next_id(), told.appended, "{mode}: {name}");
        let expected: Vec<u64> = (told.pruned..told.appended).collect();
        for wal in [reader, &new, &writer] {
            let ids: Vec<u64> =
                wal.iter_with_ids(name, 0).unwrap().map(|entry| entry.unwrap().0).collect();
            assert_eq!(ids, expected, "{mode}: {name}: {wal:?}");
        }
    }
}

/// Wakes everybody who waits for reports if this panics, so that the test ends.
fn ending(listener: &Listener, work: impl FnOnce()) {
    struct End<'a>(&'a Listener);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.end();
            }
        }
    }
    let _end = End(listener);
    work();
}

/// One iterator that lives as long as the writers, and another as soon as it is at the end.
fn follow_one(reader: &Wal, nth: usize, listener: &Listener) {
    let (mut seen, mut next_id, mut more) = (0, 0, true);
    while more {
        more = listener.wait(&mut seen);
        let before = listener.told(nth);
        for entry in reader.iter_with_ids(STREAMS[nth], next_id).unwrap() {
            let (id, found) = entry.unwrap();
            check_entry(nth, id, &found, listener);
            check_gap(nth, next_id, id, listener);
            next_id = id + 1;
        }
        assert!(next_id >= before.appended || is_pruned(nth, before.appended - 1, listener));
    }
}

/// The same handle all the time.
fn look(reader: &Wal, stream: &Stream, nth: usize, listener: &Listener, rng: &mut Rng) {
    let (mut seen, mut more) = (0, true);
    let (mut first_id, mut next_id) = (0, 0);
    while more {
        more = listener.wait(&mut seen);
        check_once(reader, stream, nth, listener, rng);
        // What was seen once stays, whoever is killed.
        let now = (stream.first_id(), stream.next_id());
        assert!(now.0 >= first_id && now.1 >= next_id, "{first_id}..{next_id}, then {now:?}");
        (first_id, next_id) = now;
    }
}

fn check_once(reader: &Wal, stream: &Stream, nth: usize, listener: &Listener, rng: &mut Rng) {
    let before = listener.told(nth);
    match rng.u8(..6) {
        0 => {
            let (first_id, next_id) = (stream.first_id(), stream.next_id());
            assert!(next_id >= before.appended, "{next_id}: {before:?}");
            assert!(first_id >= before.pruned, "{first_id}: {before:?}");
            // Whole batches only.
            let ends = |told: &Told| next_id == 0 || told.ends.contains(&next_id);
            let told = listener.told_until(nth, ends);
            assert!(ends(&told), "nothing ends at {next_id}: {told:?}");
            let told = listener.told_until(nth, |told| told.kept_from >= first_id);
            assert!(told.kept_from >= first_id, "{first_id}: {told:?}");
        }
        1 => {
            let id = rng.u64(..before.appended + 3);
            check_found(nth, id, stream.get(id).unwrap().as_deref(), &before, listener);
        }
        2 => {
            let id = rng.u64(..before.appended + 3);
            let found = reader.get(STREAMS[nth], id).unwrap();
            check_found(nth, id, found.as_deref(), &before, listener);
        }
        3 => {
            let ids: Vec<u64> = (0..5).map(|_| rng.u64(..before.appended + 3)).collect();
            let found = reader.get_batch(STREAMS[nth], &ids).unwrap();
            for (id, found) in ids.into_iter().zip(found) {
                check_found(nth, id, found.as_deref(), &before, listener);
            }
        }
        4 => {
            let from = rng.u64(..before.appended + 1);
            let mut next_id = from;
            for entry in stream.range(from..) {
                let (id, found) = entry.unwrap();
                check_entry(nth, id, &found, listener);
                check_gap(nth, next_id, id, listener);
                next_id = id + 1;
            }
            assert!(next_id >= before.appended || is_pruned(nth, before.appended - 1, listener));
        }
        _ => {
            let mut end = None;
            for entry in stream.range(..).rev() {
                let (id, found) = entry.unwrap();
                check_entry(nth, id, &found, listener);
                assert_eq!(id + 1, *end.get_or_insert(id + 1), "backwards");
                assert!(end > Some(before.appended) || id + 1 < before.appended || end.is_some());
                end = Some(id);
            }
            // Down to the first one.
            let first = end.unwrap_or(before.appended);
            assert!(first == 0 || is_pruned(nth, first - 1, listener), "{first}");
        }
    }
}

fn check_entry(nth: usize, id: u64, found: &[u8], listener: &Listener) {
    assert_eq!(found, entry(nth, id), "{} {id}", STREAMS[nth]);
    let begun = |told: &Told| told.ends.last().is_some_and(|end| id < *end);
    assert!(begun(&listener.told_until(nth, begun)), "{} {id} was never begun", STREAMS[nth]);
}

fn check_found(nth: usize, id: u64, found: Option<&[u8]>, before: &Told, listener: &Listener) {
    match found {
        Some(found) => {
            check_entry(nth, id, found, listener);
            assert!(id >= before.pruned, "{} {id} was pruned", STREAMS[nth]);
        }
        None if id >= before.appended => {}
        None => assert!(is_pruned(nth, id, listener), "{} {id} is missing", STREAMS[nth]),
    }
}

/// Ids that are passed over were pruned.
fn check_gap(nth: usize, due: u64, id: u64, listener: &Listener) {
    assert!(id >= due, "{}: {id} after {due}", STREAMS[nth]);
    let pruned = id == due || is_pruned(nth, id - 1, listener);
    assert!(pruned, "{}: {id} after {due}", STREAMS[nth]);
}

/// Whether somebody has begun to prune this id.
fn is_pruned(nth: usize, id: u64, listener: &Listener) -> bool {
    listener.told_until(nth, |told| id < told.kept_from).kept_from > id
}
