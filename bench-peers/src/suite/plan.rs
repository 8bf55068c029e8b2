//! What is measured, and the lines of the table with their targets.

use super::durability::Kind;
use super::job::{Append, BATCH_LEN, Dataset, ENTRY_LEN, Job};
use super::judge::Target::{self, AtMostMs, Cost, Faster};
use super::judge::number;
use crate::peers::{Ability, FLOOR, OURS, PUBLISHED, Peer};

/// How many entries there are for each checkpoint, where it matters how many of both there are.
const ENTRIES_PER_CHECKPOINT: u64 = 100;

/// How many segments are freed at once.
const PRUNED: usize = 100;

/// How many appends one thread has in flight.
const WINDOW: usize = 256;

/// How many shards checkpoints are over.
const SHARDS: u16 = 16;

/// A peer and what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The name of the peer.
    pub peer: &'static str,
    /// What it does.
    pub job: Job,
}

/// What of a run is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Entries per second.
    Rate,
    /// Seconds.
    Time,
    /// The most memory that it took, in bytes.
    Memory,
    /// The blocks of its files, in bytes for each entry.
    BytesPerEntry,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is done.
    pub work: String,
    /// What is compared.
    pub figure: Figure,
    /// What we do.
    pub ours: Job,
    /// What the published version does.
    pub published: Job,
    /// What the peers do.
    pub peers: Job,
    /// What the floor does.
    pub floor: Option<Job>,
    /// What their appends have to survive.
    pub kind: Option<Kind>,
    /// Beside the published version.
    pub over_published: Option<Target>,
    /// Beside the best peer.
    pub over_peer: Option<Target>,
    /// Beside the floor.
    pub over_floor: Option<Target>,
}

/// Cases that take turns, and the lines that they are for.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it is called.
    pub name: &'static str,
    /// In the order of the peers.
    pub cases: Vec<Case>,
    /// In the order of the table.
    pub lines: Vec<Line>,
}

/// Makes the groups.
pub struct Planner<'a> {
    peers: &'a [&'static dyn Peer],
    groups: Vec<Group>,
    entries: u64,
}

impl Line {
    fn new(work: impl Into<String>, figure: Figure, job: Job) -> Self {
        Self {
            work: work.into(),
            figure,
            ours: job.clone(),
            published: job.clone(),
            peers: job,
            floor: None,
            kind: None,
            over_published: None,
            over_peer: None,
            over_floor: None,
        }
    }

    fn published(self, target: Target) -> Self {
        Self { over_published: Some(target), ..self }
    }

    fn peer(self, target: Target) -> Self {
        Self { over_peer: Some(target), ..self }
    }

    fn floor(self, job: Job, target: Target) -> Self {
        Self { floor: Some(job), over_floor: Some(target), ..self }
    }

    fn of(self, strict: bool, batch: bool) -> Self {
        Self { kind: Some(Kind { strict, batch }), ..self }
    }
}

fn append(strict: bool, threads: usize, streams: usize, entry_len: usize, batch: usize) -> Job {
    Job::Append(Append { strict, threads, streams, entry_len, batch })
}

/// Everything that the table has. Logs that are read have so many entries.
pub fn all(peers: &[&'static dyn Peer], entries: u64) -> Vec<Group> {
    let mut planner = Planner { peers, groups: Vec::new(), entries };
    planner.strict();
    planner.strict_batches();
    planner.unsynced();
    planner.reading();
    planner.killed();
    planner.checkpoints();
    planner.groups
}

impl Planner<'_> {
    /// Adds a group with the cases that its lines need.
    fn group(&mut self, name: &'static str, needed: &[Ability], lines: Vec<Line>) {
        let mut cases = Vec::new();
        for peer in self.peers {
            let peer_name = peer.name();
            for line in &lines {
                let job = match peer_name {
                    OURS => Some(&line.ours),
                    FLOOR => line.floor.as_ref(),
                    PUBLISHED => line.over_published.is_some().then_some(&line.published),
                    _ => line.over_peer.is_some().then_some(&line.peers),
                };
                let Some(job) = job else { continue };
                let mut needed = needed.to_vec();
                needed.extend(needs(job));
                if peer_name != FLOOR && needed.iter().any(|ability| peer.can(*ability).is_err()) {
                    continue;
                }
                let case = Case { peer: peer_name, job: job.clone() };
                if !cases.contains(&case) {
                    cases.push(case);
                }
            }
        }
        self.groups.push(Group { name, cases, lines });
    }

    fn strict(&mut self) {
        let floor = append(true, 1, 1, ENTRY_LEN, 1);
        let line = |threads, entry_len, published, peer| {
            let work = match entry_len {
                ENTRY_LEN => format!("strict, {threads} thread{}", plural(threads)),
                _ => format!("strict, {threads} threads, 1 KiB"),
            };
            Line::new(work, Figure::Rate, append(true, threads, 1, entry_len, 1))
                .of(true, false)
                .published(Faster(published))
                .peer(Faster(peer))
        };
        let one = line(1, ENTRY_LEN, 1.6, 1.05).floor(floor.clone(), Faster(0.95));
        self.group("strict, 1 thread", &[], vec![one]);
        let more = [
            ("strict, 4 threads", 4, 3.5, 1.4, 2.6),
            ("strict, 16 threads", 16, 12.0, 1.4, 7.5),
            ("strict, 64 threads", 64, 22.0, 1.25, 15.0),
        ];
        for (name, threads, published, peer, over_floor) in more {
            let line = line(threads, ENTRY_LEN, published, peer);
            self.group(name, &[], vec![line.floor(floor.clone(), Faster(over_floor))]);
        }
        self.group("strict, 16 threads, 1 KiB", &[], vec![line(16, 1024, 12.0, 1.3)]);
        let shards = |threads: usize, published| {
            let job = Job::Shards { strict: true, threads, shards: threads as u16, batch: 1 };
            let work = format!("strict, {threads} threads on {threads} shards");
            Line::new(work, Figure::Rate, job).published(Faster(published))
        };
        self.group("strict, 16 shards", &[Ability::Shards], vec![shards(16, 2.5)]);
        self.group("strict, 64 shards", &[Ability::Shards], vec![shards(64, 2.8)]);
        let work = format!("strict, one producer, {WINDOW} in flight");
        let line = Line::new(work, Figure::Rate, Job::InFlight { window: WINDOW });
        self.group("strict, in flight", &[], vec![line.floor(floor, Faster(60.0))]);
    }

    fn strict_batches(&mut self) {
        let job = append(true, 1, 1, ENTRY_LEN, BATCH_LEN);
        let line = Line::new("strict batch of 100", Figure::Rate, job.clone())
            .of(true, true)
            .published(Faster(2.0))
            .peer(Faster(1.35))
            .floor(job, Faster(0.9));
        self.group("strict batches", &[], vec![line]);
        for (shards, published) in [(16, 15.0), (64, 25.0)] {
            let job = Job::Shards { strict: true, threads: 1, shards, batch: BATCH_LEN };
            let work = format!("strict batch of 100 over {shards} shards");
            let line = Line::new(work, Figure::Rate, job).published(Faster(published));
            self.group("strict batches over shards", &[Ability::Shards], vec![line]);
        }
    }

    fn unsynced(&mut self) {
        for (entry_len, published, peer) in [(ENTRY_LEN, 25.0, 7.0), (1024, 8.0, 3.0)] {
            let job = append(false, 1, 1, entry_len, 1);
            let size = if entry_len == ENTRY_LEN { "128 B" } else { "1 KiB" };
            let line = Line::new(format!("unsynced, 1 thread, {size}"), Figure::Rate, job.clone())
                .of(false, false)
                .published(Faster(published))
                .peer(Faster(peer))
                .floor(job, Cost(2.0));
            self.group("unsynced, 1 thread", &[], vec![line]);
        }
        let line = |work: &str, streams, published, peer| {
            Line::new(work, Figure::Rate, append(false, 4, streams, ENTRY_LEN, 1))
                .of(false, false)
                .published(Faster(published))
                .peer(Faster(peer))
        };
        let one = line("unsynced, 4 threads, one stream", 1, 20.0, 4.0);
        self.group("unsynced, 4 threads", &[], vec![one]);
        let four = line("unsynced, 4 threads, 4 streams", 4, 15.0, 5.0);
        self.group("unsynced, 4 streams", &[Ability::Streams], vec![four]);
        let job = |batch| Job::Shards { strict: false, threads: 1, shards: SHARDS, batch };
        let line = Line::new("unsynced, ShardedWal, 16 shards", Figure::Rate, job(1))
            .published(Faster(18.0));
        self.group("unsynced, 16 shards", &[Ability::Shards], vec![line]);
        let line = Line::new(
            "unsynced batch of 100",
            Figure::Rate,
            append(false, 1, 1, ENTRY_LEN, BATCH_LEN),
        );
        let line = line.of(false, true).published(Faster(2.5)).peer(Faster(2.0));
        self.group("unsynced batches", &[], vec![line]);
        let line = Line::new("unsynced batch of 100 over 16 shards", Figure::Rate, job(BATCH_LEN))
            .published(Faster(8.0));
        self.group("unsynced batches, 16 shards", &[Ability::Shards], vec![line]);
    }

    /// A log as it is after a clean close.
    fn closed(&self, batch: usize) -> Dataset {
        Dataset { batch, entries: self.entries, strict: false, killed: false }
    }

    fn reading(&mut self) {
        for batch in [BATCH_LEN, 1] {
            let framing = if batch == 1 { "single frames" } else { "batches of 100" };
            let of = self.closed(batch);
            let scan = |shared, mapped| Job::Scan { of: of.clone(), shared, mapped };
            let (to_vec, published_min, peer_min) =
                if batch == 1 { ("", 4.0, 1.1) } else { (" to Vec", 2.2, 1.1) };
            let work = format!("scan{to_vec}, {framing}");
            let mut lines = vec![
                Line::new(work, Figure::Rate, scan(false, false))
                    .published(Faster(published_min))
                    .peer(Faster(peer_min)),
            ];
            for (mapped, how) in [(false, ""), (true, ", mapped")] {
                if batch == 1 {
                    continue;
                }
                let work = format!("scan to Bytes{how}, {framing}");
                let line = Line::new(work, Figure::Rate, scan(true, mapped));
                lines.push(Line {
                    published: scan(false, mapped),
                    // The others have one way of reading.
                    peers: scan(false, false),
                    ..line
                        .published(Faster(4.0))
                        .peer(Faster(2.0))
                        .floor(scan(false, false), Cost(1.5))
                });
            }
            let memory = format!("peak memory of a scan, {framing}");
            lines.push(
                Line::new(memory, Figure::Memory, scan(false, false)).published(Target::NotMore),
            );
            let bytes = format!("bytes on disk per entry, {framing}");
            lines.push(
                Line::new(bytes, Figure::BytesPerEntry, scan(false, false))
                    .published(Target::NotMore),
            );
            let name = if batch == 1 { "scan, single frames" } else { "scan, batches" };
            self.group(name, &[], lines);

            let get = |mapped, older| Job::Get { of: of.clone(), mapped, older };
            let mut lines = Vec::new();
            for (mapped, how, peer) in [(true, "mapped", 2.5), (false, "standard", 0.8)] {
                let work = format!("random get, {how}, {framing}");
                let line = Line::new(work, Figure::Time, get(mapped, false))
                    .published(Faster(1000.0))
                    .peer(Faster(peer))
                    .floor(get(mapped, false), Cost(2.0));
                lines.push(Line { peers: get(false, false), ..line });
            }
            // The newest segment is read by system calls, whatever the strategy is.
            for (mapped, how) in [(true, "mapped"), (false, "standard")] {
                let work = format!("random get in full segments, {how}, {framing}");
                let line = Line::new(work, Figure::Time, get(mapped, true));
                lines.push(line.floor(get(mapped, true), Cost(2.0)));
            }
            let name = if batch == 1 { "get, single frames" } else { "get, batches" };
            self.group(name, &[], lines);

            let work = format!("open after a clean close, {framing}");
            let line = Line::new(work, Figure::Time, Job::Open(of))
                .published(Faster(10.0))
                .peer(AtMostMs(2.0));
            let name = if batch == 1 { "open, single frames" } else { "open, batches" };
            self.group(name, &[], vec![line]);
        }
    }

    fn killed(&mut self) {
        // In batches: one sync for each of so many single appends would take minutes.
        let of = Dataset { strict: true, killed: true, ..self.closed(BATCH_LEN) };
        let line =
            Line::new("open after a kill, strict, batches of 100", Figure::Time, Job::Open(of))
                .published(Faster(10.0));
        self.group("open, killed", &[], vec![line]);
    }

    fn checkpoints(&mut self) {
        let needed = [Ability::Shards];
        let floor = append(true, 1, 1, ENTRY_LEN, 1);
        let create = Line::new(
            "checkpoint: create, 16 shards, nothing dirty",
            Figure::Time,
            Job::CheckpointCreate { shards: SHARDS },
        );
        let create = create.published(Faster(4.0)).floor(floor, Cost(1.5));
        self.group("checkpoint, create", &needed, vec![create]);
        let job = Job::CheckpointLoad { shards: SHARDS };
        let load = Line::new("checkpoint: load", Figure::Time, job).published(Faster(5.0));
        self.group("checkpoint, load", &needed, vec![load]);
        let count = (self.entries / ENTRIES_PER_CHECKPOINT) as usize;
        let job = Job::OpenCheckpoints { shards: SHARDS, count };
        let work = format!("open with {} checkpoints", number(count as f64));
        let open = Line::new(work, Figure::Time, job);
        self.group("open, checkpoints", &needed, vec![open.published(Faster(3.0))]);
        let prune = Line::new(
            "prune 100 segments, time in the call",
            Figure::Time,
            Job::Prune { segments: PRUNED },
        );
        self.group("prune", &[Ability::Prune], vec![prune.published(Faster(5.0))]);
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s, one stream" }
}

/// What a peer must be able to do for a job.
fn needs(job: &Job) -> Vec<Ability> {
    match job {
        Job::Append(append) => {
            vec![Kind { strict: append.strict, batch: append.batch > 1 }.ability()]
        }
        Job::InFlight { .. } => vec![Ability::InFlight],
        Job::Scan { of, shared: true, .. } => of_dataset(of, Ability::ScanShared),
        Job::Scan { of, .. } => of_dataset(of, Ability::Scan),
        Job::Get { of, mapped: true, .. } => of_dataset(of, Ability::GetMapped),
        Job::Get { of, .. } => of_dataset(of, Ability::Get),
        Job::Open(of) => of_dataset(of, Ability::Open),
        _ => Vec::new(),
    }
}

fn of_dataset(of: &Dataset, reading: Ability) -> Vec<Ability> {
    let is_batch = of.batch > 1;
    let mut needed = vec![Kind { strict: of.strict, batch: is_batch }.ability(), reading];
    if !is_batch {
        needed.push(Ability::Frames);
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn every_line_has_a_case_for_each_of_its_comparisons() {
        for group in all(&peers::all(), 1000) {
            let has = |peer: &str, job: &Job| {
                group.cases.iter().any(|case| case.peer == peer && case.job == *job)
            };
            for line in &group.lines {
                assert!(has(OURS, &line.ours), "{}", line.work);
                if line.over_published.is_some() {
                    assert!(has(PUBLISHED, &line.published), "{}", line.work);
                }
                if let Some(floor) = &line.floor {
                    assert!(has(FLOOR, floor), "{}", line.work);
                }
            }
        }
    }

    #[test]
    fn lines_have_names_of_their_own() {
        let groups = all(&peers::all(), 1000);
        let mut names: Vec<&str> =
            groups.iter().flat_map(|group| &group.lines).map(|line| &line.work[..]).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
