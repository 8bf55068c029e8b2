//! Does one job in a process of its own: nothing that another peer left in memory, no thread of it and
//! no panic can reach what is measured.

use std::io;
use std::time::{Duration, Instant};

use super::drive::{Limits, drive, quantiles};
use super::job::{
    Append, BATCH_LEN, Dataset, ENTRIES, ENTRY_LEN, Job, Order, Outcome, Pace, UNSYNCED_FACTOR,
};
use super::sharded;
use crate::loads::Choices;
use crate::measure::{new_histogram, record};
use crate::peers::{self, Log, Peer, Seen, Setup};

/// How many unsynced appends, and reads, are timed at once.
const GROUP: u64 = 64;

/// How often a dataset is scanned at least; the first time does not count.
const SCANS_MIN: usize = 4;

/// What a segment has by default, in both versions of ironwal.
const SEGMENT_LEN: u64 = 64 << 20;

/// The bytes of the segments that are freed.
const PRUNED_SEGMENT_LEN: u64 = 256 * 1024;

/// Does what the argument says, and prints what came out as the last line.
pub fn run(order: &str) -> Result<(), String> {
    let order: Order = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let peer = peers::named(&order.peer).map_err(|error| error.to_string())?;
    let outcome = work(peer, &order).map_err(|error| format!("{}: {error}", order.peer))?;
    println!("\n{}", serde_json::to_string(&outcome).map_err(|error| error.to_string())?);
    if let Job::Write(Dataset { killed: true, .. }) = order.job {
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn work(peer: &dyn Peer, order: &Order) -> io::Result<Outcome> {
    match &order.job {
        Job::Append(append) => measure_appends(peer, order, append),
        Job::InFlight { window } => {
            let log = peer.open(&setup(order, true, 1, 0))?;
            let mut append = log.in_flight(*window)?;
            let entry = entry(ENTRY_LEN);
            let outcome = drive(vec![move || append(&entry)], 1, order.pace.timed())?;
            log.close()?;
            Ok(outcome)
        }
        Job::Write(dataset) => write(peer, order, dataset),
        Job::Scan { of, shared, mapped } => scan(&*open(peer, order, of, *mapped)?, of, *shared),
        Job::Count(of) => {
            check(open(peer, order, of, false)?.scan()?, of).map(|()| Outcome::default())
        }
        Job::Get { of, mapped, older } => {
            let limit = if *older { of.entries / 2 } else { of.entries };
            get(&*open(peer, order, of, *mapped)?, order.pace, limit)
        }
        Job::Open(of) => measure_opening(order.pace, of.killed, || {
            let log = open(peer, order, of, false)?;
            Ok(move || log.close())
        }),
        Job::Prune { segments } => prune(peer, order, *segments),
        Job::Trace { strict, batch, appends } => trace(peer, order, *strict, *batch, *appends),
        Job::Shards { .. }
        | Job::CheckpointCreate { .. }
        | Job::CheckpointLoad { .. }
        | Job::WriteCheckpoints { .. }
        | Job::OpenCheckpoints { .. } => sharded::work(peer, order),
    }
}

impl Pace {
    /// For what waits for the disk.
    pub fn timed(self) -> Limits {
        Limits {
            warm_up: Duration::from_secs_f64(self.warm_up_s),
            warm_up_operations: 1,
            measured: Duration::from_secs_f64(self.measured_s),
            operations: u64::MAX,
            group: 1,
        }
    }

    /// For what does not: so many bytes, unless that takes too long.
    pub fn counted(self, threads: usize, operation_len: usize, group: u64) -> Limits {
        let operations = self.unsynced_bytes / (threads * operation_len) as u64;
        Limits {
            warm_up: Duration::ZERO,
            warm_up_operations: (operations / 50).max(1),
            measured: Duration::from_secs_f64(self.measured_s * UNSYNCED_FACTOR),
            operations,
            group,
        }
    }
}

/// What is appended.
pub fn entry(len: usize) -> Vec<u8> {
    vec![0x5A; len]
}

/// How most logs are opened.
pub fn setup(order: &Order, strict: bool, streams: usize, entries: u64) -> Setup<'_> {
    Setup {
        dir: &order.dir,
        strict,
        streams,
        entries,
        entry_len: ENTRY_LEN,
        batch: 1,
        mapped: false,
        segment_len: None,
    }
}

fn measure_appends(peer: &dyn Peer, order: &Order, what: &Append) -> io::Result<Outcome> {
    let operation_len = what.entry_len * what.batch;
    let limits = if what.strict {
        order.pace.timed()
    } else {
        let group = if what.batch == 1 { GROUP } else { 1 };
        order.pace.counted(what.threads, operation_len, group)
    };
    // With room for what is not measured.
    let entries = order.pace.unsynced_bytes / what.entry_len as u64 * 11 / 10;
    let setup = Setup {
        entry_len: what.entry_len,
        batch: what.batch,
        ..setup(order, what.strict, what.streams, entries)
    };
    let log = peer.open(&setup)?;
    let mut operations: Vec<Box<dyn FnMut() -> io::Result<()> + Send>> = Vec::new();
    for thread in 0..what.threads {
        operations.push(appends(&*log, thread % what.streams, what.entry_len, what.batch)?);
    }
    let outcome = drive(operations, what.batch as u64, limits)?;
    log.close()?;
    Ok(outcome)
}

fn appends(
    log: &dyn Log,
    stream: usize,
    entry_len: usize,
    batch: usize,
) -> io::Result<Box<dyn FnMut() -> io::Result<()> + Send>> {
    let entry = entry(entry_len);
    if batch == 1 {
        let mut append = log.appender(stream)?;
        return Ok(Box::new(move || append(&entry)));
    }
    let mut append = log.batch_appender(stream)?;
    Ok(Box::new(move || {
        // On the stack, so that it costs nobody anything that matters.
        let entries = [&entry[..]; BATCH_LEN];
        append(std::hint::black_box(&entries[..batch]))
    }))
}

fn of_dataset<'a>(order: &'a Order, of: &Dataset) -> Setup<'a> {
    // So that a small log has as many segments as a large one.
    let segment_len = SEGMENT_LEN * of.entries / ENTRIES;
    let segment_len = (of.entries < ENTRIES).then_some(segment_len);
    Setup { batch: of.batch, segment_len, ..setup(order, of.strict, 1, of.entries) }
}

fn open(peer: &dyn Peer, order: &Order, of: &Dataset, mapped: bool) -> io::Result<Box<dyn Log>> {
    peer.open(&Setup { mapped, ..of_dataset(order, of) })
}

fn write(peer: &dyn Peer, order: &Order, dataset: &Dataset) -> io::Result<Outcome> {
    let log = peer.open(&of_dataset(order, dataset))?;
    let mut append = appends(&*log, 0, ENTRY_LEN, dataset.batch)?;
    let begun = Instant::now();
    let operations = dataset.entries / dataset.batch as u64;
    for _ in 0..operations {
        append()?;
    }
    let figure = begun.elapsed().as_secs_f64();
    drop(append);
    if dataset.killed {
        // Nothing is closed: the process is about to be killed.
        std::mem::forget(log);
    } else {
        log.close()?;
    }
    Ok(Outcome { figure, operations, ..Outcome::default() })
}

fn scan(log: &dyn Log, of: &Dataset, shared: bool) -> io::Result<Outcome> {
    let mut memory_bytes = None;
    let mut times = Vec::new();
    let mut latencies_ns = new_histogram();
    // Behind everything of ours that takes memory.
    let before = super::memory::reset();
    for nth in 0..SCANS_MIN {
        let begun = Instant::now();
        let seen = if shared { log.scan_shared()? } else { log.scan()? };
        let took = begun.elapsed();
        check(seen, of)?;
        if nth == 0 {
            memory_bytes = before.and_then(super::memory::grown);
            continue;
        }
        times.push(took.as_secs_f64());
        record(&mut latencies_ns, took / u32::try_from(of.entries).unwrap_or(u32::MAX));
    }
    Ok(Outcome {
        figure: of.entries as f64 / median(times),
        operations: of.entries,
        latencies_ns: quantiles(&latencies_ns),
        memory_bytes,
    })
}

fn check(seen: Seen, of: &Dataset) -> io::Result<()> {
    if seen == (Seen { entries: of.entries, bytes: of.entries * ENTRY_LEN as u64 }) {
        return Ok(());
    }
    let (entries, bytes) = (seen.entries, seen.bytes);
    Err(io::Error::other(format!("{entries} of {} entries there, {bytes} bytes", of.entries)))
}

fn median(times: Vec<f64>) -> f64 {
    crate::report::Spread::of(times).median
}

fn get(log: &dyn Log, pace: Pace, limit: u64) -> io::Result<Outcome> {
    let mut get = log.getter()?;
    let mut choices = Choices::of(1);
    let mut one = || {
        let len = get(choices.below(limit as usize) as u64)?;
        if len == ENTRY_LEN { Ok(()) } else { Err(io::Error::other(format!("{len} bytes"))) }
    };
    // Long enough to have seen every segment, and not longer than one slow read.
    let begun = Instant::now();
    one()?;
    let group = if begun.elapsed() > Duration::from_millis(1) { 1 } else { GROUP };
    let limits = Limits { group, ..pace.timed() };
    let (mut latencies_ns, mut operations) = (new_histogram(), 0);
    let from = Instant::now();
    while from.elapsed() < limits.warm_up {
        one()?;
    }
    let from = Instant::now();
    let mut to = from;
    while to - from < limits.measured {
        let begun = to;
        for _ in 0..group {
            one()?;
        }
        to = Instant::now();
        operations += group;
        record(&mut latencies_ns, (to - begun) / group as u32);
    }
    Ok(Outcome {
        figure: (to - from).as_secs_f64() / operations as f64,
        operations,
        latencies_ns: quantiles(&latencies_ns),
        memory_bytes: None,
    })
}

/// Opens again and again, once after a crash: it is repaired then.
pub fn measure_opening<Close: FnOnce() -> io::Result<()>>(
    pace: Pace,
    once: bool,
    mut open: impl FnMut() -> io::Result<Close>,
) -> io::Result<Outcome> {
    let times = if once { 1 } else { pace.opens };
    let mut latencies_ns = new_histogram();
    for _ in 0..times {
        let begun = Instant::now();
        let close = open()?;
        record(&mut latencies_ns, begun.elapsed());
        close()?;
    }
    Ok(Outcome {
        figure: latencies_ns.value_at_quantile(0.5) as f64 / 1e9,
        operations: times as u64,
        latencies_ns: quantiles(&latencies_ns),
        memory_bytes: None,
    })
}

fn prune(peer: &dyn Peer, order: &Order, segments: usize) -> io::Result<Outcome> {
    let setup = Setup {
        segment_len: Some(PRUNED_SEGMENT_LEN),
        batch: BATCH_LEN,
        ..setup(order, false, 1, 0)
    };
    let log = peer.open(&setup)?;
    let mut append = appends(&*log, 0, ENTRY_LEN, BATCH_LEN)?;
    // Entries cost less than twice their size everywhere.
    let per_segment = PRUNED_SEGMENT_LEN / ENTRY_LEN as u64;
    let entries = per_segment * (segments as u64 + 2);
    for _ in 0..entries / BATCH_LEN as u64 {
        append()?;
    }
    drop(append);
    // What is still being written back is not what is measured.
    log.close()?;
    let log = peer.open(&setup)?;
    let begun = Instant::now();
    let mut freed = log.prune(per_segment * segments as u64)?;
    let took = begun.elapsed();
    log.close()?;
    // The figure is for as many as were asked for.
    freed = freed.max(1);
    let figure = took.as_secs_f64() * segments as f64 / freed as f64;
    Ok(Outcome { figure, operations: freed as u64, ..Outcome::default() })
}

fn trace(
    peer: &dyn Peer,
    order: &Order,
    strict: bool,
    batch: usize,
    count: usize,
) -> io::Result<Outcome> {
    let entries = ((count + 1) * batch) as u64;
    let setup = Setup { batch, ..setup(order, strict, 1, entries) };
    let log = peer.open(&setup)?;
    let mut append = appends(&*log, 0, ENTRY_LEN, batch)?;
    // The first one creates the stream.
    append()?;
    super::durability::mark(super::durability::BEGIN);
    for _ in 0..count {
        append()?;
    }
    super::durability::mark(super::durability::END);
    // Nothing that closing does is of interest, and a process that ends is not a crash.
    drop(append);
    log.close()?;
    Ok(Outcome { operations: count as u64, ..Outcome::default() })
}
