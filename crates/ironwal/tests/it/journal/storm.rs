//! Many streams over a tiny journal: random lives with other modes, sizes and limits each time, faults
//! of every kind, and deaths also while the log is opened. No damage is ever done, so a log that refuses
//! to open, under the policy that refuses damage, is a mistake.
//!
//! `IRONWAL_SEED=n` replays one seed, `IRONWAL_SEEDS=n` sets how many are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ironwal::storage::SimDisk;
use ironwal::storage::sim::{CallKind, SimConfig};
use ironwal::{CorruptionPolicy, Error, Journal, SyncMode, Wal, WalOptions};

use super::environment;
use crate::seeds::number;

const SEEDS: u64 = 300;

type Entry = Vec<u8>;

/// What must be there of a stream.
#[derive(Debug, Clone, Default)]
struct Expected {
    /// What was acknowledged, from id 0 on.
    acknowledged: Vec<Entry>,
    /// As much of it survives power loss.
    durable: usize,
    /// What was refused and may be there behind it, in order.
    refused: Vec<Entry>,
    /// At most so much was pruned.
    pruned: u64,
    /// Where cuts that failed would have ended it.
    cuts: Vec<usize>,
    /// A deletion failed.
    may_be_gone: bool,
}

struct Storm {
    rng: Rng,
    disk: SimDisk,
    mode: SyncMode,
    names: Vec<String>,
    expected: BTreeMap<String, Expected>,
    next: u64,
    /// The number of parts of batches that a user cut, pruned or deleted a part of.
    touched: BTreeSet<u64>,
    /// A sync may have failed: what it lost can be gone from the cache when the process is killed.
    may_have_lost: bool,
    verbose: bool,
}

fn batch_of(entry: &[u8]) -> (u64, u64) {
    let field = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    (field(8), field(16))
}

impl Storm {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let chance = |rng: &mut Rng| if rng.bool() { 0.0 } else { rng.f64() * 0.4 };
        let disk = SimDisk::with_config(SimConfig {
            seed: rng.u64(..),
            write_back: chance(&mut rng),
            short_writes: chance(&mut rng),
            short_reads: chance(&mut rng),
            eviction: chance(&mut rng),
            dir_sync_failure_loses: rng.bool(),
            trace: verbose,
            ..SimConfig::default()
        });
        let count = [2, 3, 8, 40][rng.usize(..4)];
        let names: Vec<String> = (0..count).map(|nth| format!("s{nth}")).collect();
        let expected = names.iter().map(|name| (name.clone(), Expected::default())).collect();
        let (mode, next, touched) = (SyncMode::Strict, 1, BTreeSet::new());
        let may_have_lost = false;
        Self { rng, disk, mode, names, expected, next, touched, may_have_lost, verbose }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    fn entry(&mut self, batch: u64, parts: u64) -> Entry {
        let len = match self.rng.u8(..20) {
            0 => self.rng.usize(10_000..70_000),
            1..4 => self.rng.usize(2000..9000),
            _ => self.rng.usize(..200),
        };
        let mut entry = Vec::with_capacity(24 + len);
        entry.extend(self.next.to_le_bytes());
        entry.extend(batch.to_le_bytes());
        entry.extend(parts.to_le_bytes());
        entry.resize(24 + len, self.next as u8);
        self.next += 1;
        entry
    }

    fn name(&mut self) -> String {
        self.names[self.rng.usize(..self.names.len())].clone()
    }

    fn open(&mut self) -> ironwal::Result<Wal> {
        let rng = &mut self.rng;
        self.mode = [
            SyncMode::Strict,
            SyncMode::BatchOnly,
            SyncMode::Async,
            SyncMode::Interval(Duration::from_millis(5)),
        ][rng.usize(..4)];
        let options = WalOptions {
            max_segment_size: [0, 300, 3000, 30_000, 1 << 26][rng.usize(..5)],
            max_entries_per_segment: [0, 2, 20, u64::MAX][rng.usize(..4)],
            max_open_segments: [1, 2, 5, 100][rng.usize(..4)],
            max_open_read_segments: rng.usize(1..4),
            write_buffer_size: [0, 100, 5000, 1 << 16][rng.usize(..4)],
            sync_mode: self.mode,
            on_corruption: CorruptionPolicy::Error,
            ..WalOptions::new("/log")
        };
        let journal = [Journal::Auto, Journal::On, Journal::On, Journal::Off][rng.usize(..4)];
        let size = [0, 70_000, 128 * 1024, 300_000, 1 << 20][rng.usize(..5)];
        self.say(|| format!("open {options:?} {journal:?} {size}"));
        let environment =
            environment(Arc::new(self.disk.process()), journal).with_journal_size(size);
        Wal::open_with(options, environment)
    }

    fn trouble(&mut self) {
        let n = self.rng.u64(1..80);
        let errors = [ErrorKind::Other, ErrorKind::StorageFull];
        let error = errors[self.rng.usize(..2)];
        let what = self.rng.u8(..6);
        self.say(|| format!("trouble {what} {n} {error}"));
        self.may_have_lost |= matches!(what, 1 | 5);
        match what {
            0 => self.disk.cut_power_at(n),
            1 => {
                let kinds = [CallKind::Sync, CallKind::Write, CallKind::SyncDir, CallKind::Rename];
                self.disk.fail_nth(kinds[self.rng.usize(..4)], n % 10 + 1, error);
            }
            2 => {
                let from = n % 8 + 1;
                for n in from..from + self.rng.u64(1..20) {
                    self.disk.fail_nth(CallKind::Reserve, n, ErrorKind::StorageFull);
                }
            }
            3 => {
                let capacity = self.disk.used_bytes() + self.rng.u64(..20) * 4096;
                self.disk.configure(|config| config.capacity = Some(capacity));
            }
            4 => {
                let capacity = self.disk.used_bytes() + self.rng.u64(..3) * 4096;
                self.disk.configure(|config| config.capacity = Some(capacity));
                self.disk.cut_power_at(n * 3);
            }
            _ => self.disk.fail_nth(None, n, error),
        }
    }

    /// Lets what is wrong with the disk pass.
    fn calm(&self) {
        self.disk.clear_faults();
        self.disk.configure(|config| config.capacity = None);
    }

    fn note(&mut self, wal: &Wal) {
        for (name, expected) in &mut self.expected {
            // Making a stream is no append, but then it is listed.
            let Ok(stream) = wal.stream(name) else { continue };
            if expected.cuts.is_empty() && !expected.may_be_gone {
                let durable = stream.durable_end() as usize;
                assert!(durable <= expected.acknowledged.len(), "{name} is durable beyond its end");
                expected.durable = expected.durable.max(durable);
                assert_eq!(stream.next_id() as usize, expected.acknowledged.len(), "{name}");
            }
        }
    }

    fn is_in_doubt(&self, name: &str) -> bool {
        let expected = &self.expected[name];
        !expected.cuts.is_empty() || expected.may_be_gone
    }

    fn append(&mut self, wal: &Wal) {
        let name = self.name();
        if self.is_in_doubt(&name) {
            return;
        }
        let count = if self.rng.bool() { 1 } else { self.rng.u64(1..5) };
        let batch = self.next;
        let entries: Vec<Entry> = (0..count).map(|_| self.entry(batch, count)).collect();
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let done = if count == 1 {
            wal.append(&name, slices[0]).map(|id| id..id + 1)
        } else {
            wal.append_batch(&name, &slices)
        };
        self.say(|| format!("append {count} to {name}: {done:?}"));
        let expected = self.expected.get_mut(&name).unwrap();
        match done {
            Ok(ids) => {
                assert_eq!(ids.start as usize, expected.acknowledged.len(), "{name}");
                expected.acknowledged.extend(entries);
            }
            Err(_) => expected.refused.extend(entries),
        }
    }

    fn append_together(&mut self, wal: &Wal) {
        let wanted = self.rng.usize(1..self.names.len().min(12) + 1);
        let names: BTreeSet<String> = (0..wanted).map(|_| self.name()).collect();
        if names.iter().any(|name| self.is_in_doubt(name)) {
            return;
        }
        let each = self.rng.u64(1..4);
        let (number, parts) = (self.next, each * names.len() as u64);
        let wrong = self.rng.u8(..6) == 0;
        let mut batch = wal.batch();
        let mut added: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
        for name in &names {
            for _ in 0..each {
                let entry = self.entry(number, parts);
                batch.append(name, &entry);
                added.entry(name).or_default().push(entry);
            }
            if self.rng.bool() {
                batch.expect_next(name, self.expected[name].acknowledged.len() as u64);
            }
        }
        if wrong && let Some(name) = names.last() {
            batch.expect_next(name, self.expected[name].acknowledged.len() as u64 + 1);
        }
        let done = batch.commit();
        self.say(|| format!("append {each} to each of {names:?}, {wrong}: {done:?}"));
        match done {
            Ok(ids) => {
                assert!(!wrong);
                for (name, entries) in added {
                    let expected = self.expected.get_mut(name).unwrap();
                    assert_eq!(ids[name].start as usize, expected.acknowledged.len(), "{name}");
                    expected.acknowledged.extend(entries);
                    expected.durable = expected.acknowledged.len();
                }
            }
            // Nothing of it was staged.
            Err(Error::Conflict { .. }) => assert!(wrong),
            Err(_) => {
                for (name, entries) in added {
                    self.expected.get_mut(name).unwrap().refused.extend(entries);
                }
            }
        }
    }

    fn submit(&mut self, wal: &Wal) {
        let mut pending = Vec::new();
        for _ in 0..self.rng.u8(1..12) {
            let name = self.name();
            if self.is_in_doubt(&name) {
                continue;
            }
            let number = self.next;
            let entry = self.entry(number, 1);
            match wal.stream(&name).and_then(|stream| stream.submit(&entry)) {
                Ok(it) => pending.push((name, entry, it)),
                Err(_) => self.expected.get_mut(&name).unwrap().refused.push(entry),
            }
        }
        for (name, entry, it) in pending {
            let done = it.wait();
            self.say(|| format!("submitted to {name}: {done:?}"));
            let expected = self.expected.get_mut(&name).unwrap();
            match done {
                Ok(id) => {
                    assert_eq!(id as usize, expected.acknowledged.len(), "{name}");
                    expected.acknowledged.push(entry);
                }
                Err(_) => expected.refused.push(entry),
            }
        }
    }

    fn touch(&mut self, name: &str, from: usize, to: usize) {
        let expected = &self.expected[name];
        let entries = expected.acknowledged.iter().skip(from).take(to.saturating_sub(from));
        self.touched.extend(entries.chain(&expected.refused).map(|entry| batch_of(entry).0));
    }

    fn cut(&mut self, wal: &Wal) {
        let name = self.name();
        if self.is_in_doubt(&name) {
            return;
        }
        let len = self.expected[&name].acknowledged.len();
        let end = self.rng.usize(..len + 1).max(self.expected[&name].pruned as usize);
        self.touch(&name, end, len);
        let last = (end as u64).checked_sub(1);
        let done = wal.stream(&name).and_then(|stream| stream.truncate_after(last));
        self.say(|| format!("cut {name} to {end} of {len}: {done:?}"));
        let expected = self.expected.get_mut(&name).unwrap();
        match done {
            Ok(()) => {
                expected.acknowledged.truncate(end);
                expected.durable = expected.durable.min(end);
                if end < len {
                    expected.refused.clear();
                    expected.durable = end;
                }
            }
            Err(_) => expected.cuts.push(end),
        }
    }

    fn prune(&mut self, wal: &Wal) {
        let name = self.name();
        if self.is_in_doubt(&name) {
            return;
        }
        let len = self.expected[&name].acknowledged.len();
        let id = self.rng.usize(..len + 1);
        self.touch(&name, 0, id);
        let expected = self.expected.get_mut(&name).unwrap();
        expected.pruned = expected.pruned.max(id as u64);
        let done = wal.stream(&name).and_then(|stream| stream.truncate_before(id as u64));
        self.say(|| format!("prune {name} below {id} of {len}: {done:?}"));
    }

    fn delete(&mut self, wal: &Wal) {
        let name = self.name();
        if self.is_in_doubt(&name) {
            return;
        }
        self.touch(&name, 0, usize::MAX);
        let done = wal.delete_stream(&name);
        self.say(|| format!("delete {name}: {done:?}"));
        match done {
            Ok(()) => drop(self.expected.insert(name, Expected::default())),
            Err(_) => self.expected.get_mut(&name).unwrap().may_be_gone = true,
        }
    }

    fn live(&mut self, wal: &Wal) {
        for _ in 0..self.rng.usize(..40) {
            if self.rng.u8(..25) == 0 {
                self.trouble();
            }
            match self.rng.u8(..40) {
                0..14 => self.append(wal),
                14..26 => self.append_together(wal),
                26..30 => self.submit(wal),
                30 => drop(wal.sync_all()),
                31 => {
                    let name = self.name();
                    let _ = wal.stream(&name).and_then(|stream| stream.rotate());
                }
                32..34 => self.cut(wal),
                34..36 => self.prune(wal),
                36 => self.delete(wal),
                37 => drop(wal.maintain()),
                38 => self.look_from_elsewhere(),
                _ => {}
            }
            if self.disk.power_is_off() {
                return;
            }
            self.note(wal);
        }
    }

    fn read_only(&self) -> ironwal::Result<Wal> {
        let options =
            WalOptions { on_corruption: CorruptionPolicy::Error, ..WalOptions::new("/log") };
        let storage = Arc::new(self.disk.process());
        Wal::open_read_only_with(options, environment(storage, Journal::Auto))
    }

    /// Another process sees what is committed, and all of a batch or nothing.
    fn look_from_elsewhere(&mut self) {
        self.calm();
        let other = self.read_only().unwrap_or_else(|error| panic!("cannot be read: {error}"));
        for name in self.names.iter().filter(|name| !self.is_in_doubt(name)) {
            let expected = &self.expected[name];
            let found: Vec<(u64, Entry)> =
                other.iter_with_ids(name, 0).unwrap().map(|it| it.unwrap()).collect();
            for (id, entry) in &found {
                assert_eq!(expected.acknowledged.get(*id as usize), Some(entry), "{name}: {id}");
            }
            let end = found.last().map_or(0, |(id, _)| *id as usize + 1);
            assert!(
                end == expected.acknowledged.len() || found.is_empty(),
                "{name}: {end} of {} seen from elsewhere",
                expected.acknowledged.len()
            );
        }
    }

    fn ends(&self, wal: &Wal) -> Vec<(String, u64, u64)> {
        let of = |name: &String| {
            let stream = wal.stream(name).unwrap();
            (name.clone(), stream.first_id(), stream.next_id())
        };
        self.names.iter().map(of).collect()
    }

    fn check(&mut self, wal: &Wal, lost_power: bool, is_whole: bool) {
        let mut batches: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (name, expected) in &mut self.expected {
            let found: Vec<(u64, Entry)> =
                wal.iter_with_ids(name, 0).unwrap().map(|it| it.unwrap()).collect();
            let next_id = wal.stream(name).unwrap().next_id();
            let first = wal.stream(name).unwrap().first_id();
            let is_gone = expected.may_be_gone && found.is_empty() && next_id == 0;
            if is_gone {
                *expected = Expected::default();
                continue;
            }
            assert!(first <= expected.pruned, "{name}: begins at {first}, pruned {expected:?}");
            assert_eq!(found.len() as u64, next_id - first, "{name}: {first}..{next_id}");
            for (nth, (id, _)) in found.iter().enumerate() {
                assert_eq!(*id, first + nth as u64, "{name}");
            }
            let len = expected.acknowledged.len();
            let least = if lost_power { expected.durable } else { len };
            let least = expected.cuts.iter().copied().chain([least]).min().unwrap();
            assert!(
                next_id as usize >= least,
                "{name}: {next_id} entries, and {least} were acknowledged"
            );
            let mut refused = expected.refused.iter();
            for (id, entry) in &found {
                let id = *id as usize;
                if id < len {
                    assert!(entry == &expected.acknowledged[id], "{name}: entry {id} is another");
                } else {
                    assert!(
                        refused.any(|refused| refused == entry),
                        "{name}: entry {id} was never appended"
                    );
                }
                let (batch, parts) = batch_of(entry);
                let of = batches.entry(batch).or_insert((parts, 0));
                of.1 += 1;
            }
            if !is_whole {
                assert_eq!(next_id as usize, len, "{name}");
            }
            let mut now: Vec<Entry> =
                expected.acknowledged.iter().take(first as usize).cloned().collect();
            now.extend(found.into_iter().map(|(_, entry)| entry));
            let pruned = expected.pruned;
            // What recovery kept it made durable.
            *expected =
                Expected { durable: now.len(), acknowledged: now, pruned, ..Expected::default() };
        }
        for (batch, (parts, found)) in batches {
            assert!(
                parts == found || self.touched.contains(&batch),
                "{found} of {parts} entries of batch {batch}"
            );
        }
    }

    fn run(mut self) {
        for _ in 0..self.rng.usize(2..9) {
            let wal = self.open().unwrap();
            self.check_reads(&wal);
            self.live(&wal);
            let mut lost_power = true;
            match self.rng.u8(..4) {
                0 if !self.disk.power_is_off() => {
                    let closed = wal.close();
                    self.say(|| format!("close: {closed:?}"));
                    lost_power = self.rng.bool();
                    if closed.is_ok() {
                        let all = self.expected.values_mut();
                        all.for_each(|it| it.durable = it.acknowledged.len());
                    }
                }
                1 if !self.disk.power_is_off() => {
                    self.say(|| "kill".into());
                    self.disk.kill();
                    lost_power = false;
                }
                _ => {}
            }
            lost_power |= self.disk.power_is_off();
            if lost_power {
                self.say(|| "crash".into());
                self.disk.crash();
            }
            drop(wal);
            self.calm();
            // It dies while it is opened, some times.
            for _ in 0..self.rng.u8(..4) {
                if self.rng.bool() {
                    self.disk.cut_power_at(self.rng.u64(1..150));
                } else {
                    self.disk.fail_nth(None, self.rng.u64(1..150), ErrorKind::Other);
                    self.may_have_lost = true;
                }
                let opened = self.open();
                self.say(|| {
                    format!(
                        "opened: {:?}",
                        opened.as_ref().map(|_| ()).map_err(|it| it.to_string())
                    )
                });
                if self.rng.bool() || self.disk.power_is_off() {
                    self.disk.crash();
                    lost_power = true;
                } else {
                    self.disk.kill();
                }
                self.calm();
            }
            let seen = self.read_only().map(|wal| self.ends(&wal));
            let wal = self.open().unwrap_or_else(|error| panic!("it does not open: {error}"));
            match seen {
                Ok(seen) => assert_eq!(seen, self.ends(&wal), "before it was opened"),
                // There is no log yet.
                Err(error) => self.say(|| format!("not to be read before: {error}")),
            }
            self.check(&wal, lost_power || self.may_have_lost, true);
            self.may_have_lost = false;
            if self.rng.bool() {
                self.say(|| "crash again".into());
                self.disk.crash();
                drop(wal);
                let wal = self.open().unwrap_or_else(|error| panic!("not again: {error}"));
                self.check(&wal, true, false);
                wal.close().unwrap();
            } else {
                wal.close().unwrap();
            }
        }
    }

    fn check_reads(&mut self, wal: &Wal) {
        self.check(wal, false, false);
    }
}

#[test]
fn many_streams_over_a_tiny_journal() {
    if let Some(seed) = number("IRONWAL_SEED") {
        let storm = Storm::new(seed, true);
        let disk = storm.disk.clone();
        let run = std::panic::AssertUnwindSafe(|| storm.run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("{}", disk.trace().join("\n"));
            std::panic::resume_unwind(panic);
        }
        return;
    }
    let first = number("IRONWAL_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("IRONWAL_SEEDS").unwrap_or(SEEDS) {
        let run = std::panic::AssertUnwindSafe(|| Storm::new(seed, false).run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed} failed; replay it with IRONWAL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
