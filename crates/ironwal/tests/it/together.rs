//! What a simulated process does with several streams at once, and what that must come to.

use std::collections::BTreeMap;

use ironwal::{Error, Pending, SyncMode, Wal};

use crate::simulation::{STREAMS, Simulation, may_fail};

/// What a batch wants of one of its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Nothing,
    Next,
    /// The batch is to be refused.
    Another,
}

impl Simulation {
    /// Appends that one thread submits to several streams, and then waits for: in `Strict` they share
    /// rounds of the log.
    pub(crate) fn submit_several(&mut self, wal: &Wal) {
        let mut submitted: Vec<(&str, Vec<u8>, Pending)> = Vec::new();
        for _ in 0..self.rng.usize(1..9) {
            let name = STREAMS[self.rng.usize(..STREAMS.len())];
            let entry = self.entry();
            match wal.stream(name).and_then(|stream| stream.submit(&entry)) {
                Ok(pending) => submitted.push((name, entry, pending)),
                Err(error) => {
                    self.say(|| format!("submit to {name}: {error}"));
                    may_fail(self.faulty, "an append", &error);
                }
            }
        }
        // In any order: what was submitted first is not what is asked for first.
        let mut results: Vec<Option<ironwal::Result<u64>>> = Vec::new();
        results.resize_with(submitted.len(), || None);
        let mut order: Vec<usize> = (0..submitted.len()).collect();
        self.rng.shuffle(&mut order);
        let mut appends = Vec::new();
        let mut waits: Vec<Option<Pending>> = Vec::new();
        for (name, entry, pending) in submitted {
            appends.push((name, entry));
            waits.push(Some(pending));
        }
        for nth in order {
            results[nth] = waits[nth].take().map(Pending::wait);
        }
        let mut failed: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for ((name, entry), result) in appends.into_iter().zip(results) {
            let result = result.unwrap();
            self.say(|| format!("submitted {} bytes to {name}: {result:?}", entry.len()));
            match result {
                Ok(id) => {
                    let model = self.model.stream(name);
                    assert_eq!(id, model.entries.len() as u64, "stream {name}");
                    model.committed(&[entry], self.mode == SyncMode::Strict);
                }
                Err(error) => {
                    may_fail(self.faulty, "what was submitted", &error);
                    if !matches!(error, Error::StorageFull { .. }) {
                        failed.entry(name).or_default().push(entry);
                    }
                }
            }
        }
        for (name, entries) in failed {
            if self.is_poisoned(wal, name) {
                self.model.stream(name).failed_one_by_one(&entries);
            } else {
                self.model.stream(name).tried();
            }
        }
        STREAMS.iter().for_each(|name| self.check_ends(wal, name));
        self.watch(|ways, disk| {
            let before = ways.newest_frame().0;
            ways.after_operation(disk);
            let (newest, streams) = ways.newest_frame();
            if newest > before && streams > 1 {
                ways.count("frame of several single appends");
            }
        });
    }

    /// A batch over several streams.
    pub(crate) fn append_together(&mut self, wal: &Wal) {
        let count = self.rng.usize(2..=STREAMS.len());
        let names = self.rng.choose_multiple(STREAMS, count);
        let mut parts: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for name in names {
            let count = [1, 1, 2, 5, 30][self.rng.usize(..5)];
            parts.insert(name, (0..count).map(|_| self.entry()).collect());
        }
        let mut batch = wal.batch();
        let mut is_refused = false;
        for (name, entries) in &parts {
            let next_id = self.model.stream(name).entries.len() as u64;
            let expect = match self.rng.u8(..24) {
                0 => Expect::Another,
                1..6 => Expect::Next,
                _ => Expect::Nothing,
            };
            is_refused |= expect == Expect::Another;
            match expect {
                Expect::Nothing => &mut batch,
                Expect::Next => batch.expect_next(name, next_id),
                Expect::Another => batch.expect_next(name, next_id + 1),
            };
            for entry in entries {
                batch.append(name, &entry[..]);
            }
        }
        let result = batch.commit();
        self.say(|| {
            let counts: Vec<_> = parts.iter().map(|(name, it)| (*name, it.len())).collect();
            format!("append together {counts:?}, refused {is_refused}: {result:?}")
        });
        match result {
            Ok(ids) => {
                assert!(!is_refused, "a batch was expected elsewhere and appended");
                assert_eq!(ids.len(), parts.len());
                for (name, entries) in &parts {
                    let start = self.model.stream(name).entries.len() as u64;
                    let end = start + entries.len() as u64;
                    assert_eq!(ids[*name], start..end, "stream {name}");
                    assert_eq!(wal.stream(name).unwrap().durable_end(), end, "stream {name}");
                }
                let above = parts.keys().any(|name| {
                    let stream = self.model.stream(name);
                    stream.power_safe < stream.entries.len()
                });
                let lens = parts.values().map(|entries| entries.iter().map(Vec::len).sum());
                let is_large = lens.max().is_some_and(|len: usize| len > 8 * 1024);
                self.watch(|ways, _| {
                    if above {
                        ways.count("batch above unsynced entries");
                    }
                    if is_large {
                        ways.count("batch with a large part");
                    }
                });
                self.model.committed_together(&parts);
            }
            Err(Error::Conflict { .. }) if is_refused => {
                parts.keys().for_each(|name| self.model.stream(name).tried());
            }
            Err(error) => self.failed_together(wal, &parts, &error),
        }
        parts.keys().for_each(|name| self.check_ends(wal, name));
    }

    fn failed_together(&mut self, wal: &Wal, parts: &BTreeMap<&str, Vec<Vec<u8>>>, error: &Error) {
        may_fail(self.faulty, "a batch over several streams", error);
        let all_poisoned = match error {
            Error::StorageFull { .. } => false,
            Error::Io(_) | Error::Poisoned { .. } => {
                parts.keys().all(|name| self.is_poisoned(wal, name))
            }
            // The process knows that a cut was done, though not that it is durable.
            Error::Conflict { .. }
                if parts.keys().any(|name| self.model.stream(name).is_in_doubt()) =>
            {
                false
            }
            other => panic!("appending a batch over several streams: {other}"),
        };
        self.model.failed_together(parts, all_poisoned);
    }
}
