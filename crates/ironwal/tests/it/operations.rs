//! What a simulated process does with the log, and what each of it must come to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ironwal::{Error, Stream, SyncMode, Wal};

use crate::journal_view::Ways;
use crate::model::see;
use crate::simulation::{STREAMS, Simulation, may_fail};

impl Simulation {
    /// A life: random operations, some of which fail.
    /// `first` is the step that it began with.
    pub(crate) fn live(&mut self, wal: &Wal, first: u32) {
        let last = self.steps.of_life(first);
        for step in first + 1..=first + last {
            if !self.takes(step) {
                continue;
            }
            let name = STREAMS[self.rng.usize(..STREAMS.len())];
            match self.rng.u8(..55) {
                54.. => self.trouble(),
                50..54 => self.look_on(wal, name),
                46..50 => self.submit_several(wal),
                40..46 => self.append_together(wal),
                0..13 => self.append(wal, name, false),
                13..19 => self.append(wal, name, true),
                19 => self.append_elsewhere(wal, name),
                20 => self.sync(wal, Some(name)),
                21 => self.sync(wal, None),
                22..24 => self.get(wal, name),
                24..26 => self.wait(wal),
                26 => self.rotate(wal, name),
                27..30 => self.prune(wal, name, false),
                30..32 => self.prune(wal, name, true),
                32..34 => self.cut(wal, name),
                34 => self.delete(wal, name),
                35..37 => self.restore(wal, name),
                37 if !self.faulty => self.model.check_reads(wal),
                38 if !self.faulty => self.range(wal, name),
                _ => self.note_durable(wal),
            }
            self.ask_onlookers();
            self.watch(Ways::after_operation);
            let open = wal.stats().open_segments;
            assert!(open <= self.options.max_open_segments, "{open} files are open");
        }
        self.note_durable(wal);
    }

    pub(crate) fn append(&mut self, wal: &Wal, name: &str, batch: bool) {
        let count = if batch { self.rng.usize(1..6) } else { 1 };
        let entries: Vec<Vec<u8>> = (0..count).map(|_| self.entry()).collect();
        let start = self.model.stream(name).entries.len() as u64;
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let only_if_next = self.rng.u8(..4) == 0;
        let result = match (batch, only_if_next) {
            (true, false) => wal.append_batch(name, &slices),
            (true, true) => wal.stream(name).and_then(|it| it.append_batch_at(start, &slices)),
            (false, false) => wal.append(name, &entries[0]).map(|id| id..id + 1),
            (false, true) => wal
                .stream(name)
                .and_then(|it| it.append_at(start, &entries[0]))
                .map(|id| id..id + 1),
        };
        self.say(|| format!("append {count} to {name}: {result:?}"));
        match result {
            Ok(ids) => {
                assert_eq!(ids, start..start + count as u64, "stream {name}");
                let power_safe = match self.mode {
                    SyncMode::Strict => true,
                    SyncMode::BatchOnly => batch,
                    _ => false,
                };
                self.model.stream(name).committed(&entries, power_safe);
                if power_safe {
                    assert_eq!(wal.stream(name).unwrap().durable_end(), ids.end);
                }
            }
            Err(error) => {
                may_fail(self.faulty, "an append", &error);
                match error {
                    Error::StorageFull { .. } => {}
                    Error::Io(_) | Error::Poisoned { .. } if self.is_poisoned(wal, name) => {
                        self.model.stream(name).failed(&entries);
                    }
                    // Something failed before anything was written.
                    Error::Io(_) => {}
                    // The process knows that the cut was done, though not that it is durable.
                    Error::Conflict { .. } if self.model.stream(name).is_in_doubt() => {}
                    other => panic!("appending to {name}: {other}"),
                }
            }
        }
        self.check_ends(wal, name);
    }

    /// An append for another id than the next one does nothing.
    fn append_elsewhere(&mut self, wal: &Wal, name: &str) {
        let next_id = self.model.stream(name).entries.len() as u64;
        let expected = if self.rng.bool() { next_id + 1 } else { next_id.wrapping_sub(1) };
        let result = wal.stream(name).and_then(|stream| stream.append_at(expected, b"elsewhere"));
        match result {
            Err(Error::Conflict { next_id: found, .. }) if found == next_id => {}
            Err(error) => assert!(self.faulty, "a conditional append: {error}"),
            Ok(id) => panic!("stream {name}: an entry for {expected} got {id}"),
        }
        self.check_ends(wal, name);
    }

    /// Asks by an append that is always refused.
    pub(crate) fn is_poisoned(&self, wal: &Wal, name: &str) -> bool {
        let asked = wal.stream(name).and_then(|stream| stream.append_at(u64::MAX, b""));
        match asked {
            Err(Error::Poisoned { .. }) => true,
            Err(_) => self.disk.power_is_off(),
            Ok(id) => panic!("stream {name}: an entry for {} got {id}", u64::MAX),
        }
    }

    /// What can be read is what was acknowledged.
    pub(crate) fn check_ends(&mut self, wal: &Wal, name: &str) {
        let model = self.model.stream(name);
        if model.is_in_limbo() {
            return;
        }
        if let Ok(stream) = wal.stream(name) {
            let seen = (stream.first_id(), stream.next_id());
            assert_eq!(seen, (model.first, model.end() as u64), "stream {name}: the ids there are");
        }
    }

    pub(crate) fn entry(&mut self) -> Vec<u8> {
        let len = match self.rng.u8(..40) {
            // More than what goes to the journal.
            0 => self.rng.usize(16_000..20_000),
            1 => self.rng.usize(..16_000),
            2..10 => self.rng.usize(..3000),
            _ => self.rng.usize(..60),
        };
        let byte = self.rng.u8(..);
        let mut entry = vec![byte; len];
        // Not all alike, so that a torn sector shows.
        for position in (0..len).step_by(7) {
            entry[position] = self.rng.u8(..);
        }
        entry
    }

    fn sync(&mut self, wal: &Wal, name: Option<&str>) {
        let result = match name {
            Some(name) => wal.stream(name).and_then(|stream| stream.sync()),
            None => wal.sync_all(),
        };
        self.say(|| format!("sync {name:?}: {result:?}"));
        match result {
            Ok(()) => {
                for (stream_name, stream) in &mut self.model.streams {
                    if name.is_none_or(|name| name == stream_name) {
                        stream.synced();
                    }
                }
            }
            Err(error) => may_fail(self.faulty, "a sync", &error),
        }
    }

    fn get(&mut self, wal: &Wal, name: &str) {
        let stream = &self.model.streams[name];
        if stream.is_in_limbo() {
            return;
        }
        let ids: Vec<u64> =
            (0..3).map(|_| self.rng.u64(..stream.entries.len() as u64 + 2)).collect();
        let result = if self.rng.bool() {
            wal.get_batch(name, &ids)
        } else {
            ids.iter().map(|id| wal.get(name, *id)).collect()
        };
        match result {
            Ok(found) => {
                let expected: Vec<_> = ids.iter().map(|id| stream.entry(*id).cloned()).collect();
                assert_eq!(found, expected, "stream {name}: {ids:?}");
            }
            Err(error) => may_fail(self.faulty, "a read", &error),
        }
    }

    /// A range, from both of its ends.
    fn range(&mut self, wal: &Wal, name: &str) {
        let model = &self.model.streams[name];
        let end = model.entries.len() as u64;
        let ids = self.rng.u64(..=end)..self.rng.u64(..end + 3);
        let mut range = wal.stream(name).unwrap().range(ids.clone());
        let (mut front, mut back) = (Vec::new(), Vec::new());
        loop {
            let from_front = self.rng.bool();
            let Some(item) = (if from_front { range.next() } else { range.next_back() }) else {
                break;
            };
            let item = item.unwrap();
            if from_front { front.push(item) } else { back.push(item) }
        }
        front.extend(back.into_iter().rev());
        let expected: Vec<(u64, &[u8])> =
            ids.clone().filter_map(|id| Some((id, model.entry(id)?.as_slice()))).collect();
        let found: Vec<(u64, &[u8])> = front.iter().map(|(id, entry)| (*id, &entry[..])).collect();
        assert_eq!(found, expected, "stream {name}: {ids:?}");
    }

    /// What the log says is durable must be.
    fn note_durable(&mut self, wal: &Wal) {
        for (name, stream) in &mut self.model.streams {
            let Ok(handle) = wal.stream(name) else { continue };
            if stream.is_in_doubt() {
                continue;
            }
            let durable = handle.durable_end() as usize;
            assert!(durable <= stream.entries.len());
            assert!(durable >= stream.power_safe, "stream {name}: {durable} is less than before");
            stream.power_safe = durable;
        }
    }

    /// Time passes, and what is due by the clock is done.
    fn wait(&mut self, wal: &Wal) {
        let pause = self.rng.u64(..2500);
        let now = self.clock.fetch_add(pause, Ordering::Relaxed) + pause;
        let next = wal.maintain();
        self.say(|| format!("{pause} ms passed; more is due at {next:?}"));
        let now = Duration::from_millis(now);
        assert!(next.is_none_or(|next| next > now), "{next:?} is over");
        let SyncMode::Interval(interval) = self.mode else { return };
        if Duration::from_millis(pause) < interval {
            return;
        }
        for name in STREAMS {
            // Everything was appended longer ago than the interval.
            let Ok(stream) = wal.stream(name) else { continue };
            if !self.is_poisoned(wal, name) {
                assert_eq!(stream.durable_end(), stream.next_id(), "stream {name} at {now:?}");
            }
        }
        self.note_durable(wal);
    }

    fn rotate(&mut self, wal: &Wal, name: &str) {
        let before = wal.current_segment_start_id(name);
        let result = wal.stream(name).and_then(|stream| stream.rotate());
        self.say(|| format!("rotate {name}: {result:?}"));
        if let Err(error) = result {
            may_fail(self.faulty, "a rotation", &error);
        } else {
            assert_eq!(wal.current_segment_start_id(name), before, "until the next append");
        }
        self.check_ends(wal, name);
    }

    /// Prunes, to the entry or to the segment.
    fn prune(&mut self, wal: &Wal, name: &str, to_the_entry: bool) {
        let (first, end) = {
            let model = self.model.stream(name);
            (model.first, model.entries.len() as u64)
        };
        let id = match self.rng.u8(..8) {
            0 => u64::MAX,
            1 => end,
            _ => self.rng.u64(..end + 2),
        };
        let result = if to_the_entry {
            wal.stream(name).and_then(|stream| stream.truncate_before(id))
        } else {
            wal.truncate(name, id)
        };
        self.say(|| format!("prune {name} before {id}, to the entry {to_the_entry}: {result:?}"));
        let possible = if to_the_entry { id.min(end)..=id.min(end) } else { first..=id.min(end) };
        match result {
            Ok(_) => {
                let now = wal.stream(name).unwrap().first_id();
                let model = self.model.stream(name);
                if model.is_in_limbo() {
                    return;
                }
                assert!(now >= first, "stream {name} began at {first} and begins at {now}");
                assert!(
                    now == first || possible.contains(&now),
                    "stream {name} begins at {now}, and {possible:?} was asked for"
                );
                assert!(!to_the_entry || now >= id.min(end), "stream {name}: {now} is before {id}");
                if now > first {
                    model.first_is(now);
                }
            }
            Err(error) => {
                may_fail(self.faulty, "pruning", &error);
                let is_archived = self.options.archive_path.is_some();
                // An empty segment that an earlier process left is made anew, which takes space.
                let makes_anew = matches!(&error, Error::StorageFull { path, .. } if path.ends_with(".next.tmp"));
                let may_fail = is_archived || makes_anew || !self.only_full;
                assert!(may_fail, "pruning on a full disk: {error}");
                if self.is_poisoned(wal, name) {
                    self.model.stream(name).first_may_be(possible);
                }
            }
        }
        self.check_ends(wal, name);
    }

    /// Cuts off the end of a stream.
    fn cut(&mut self, wal: &Wal, name: &str) {
        let model = self.model.stream(name);
        let (first, end) = (model.first, model.entries.len() as u64);
        let last_kept = match self.rng.u8(..8) {
            0 => None,
            1 => Some(u64::MAX),
            2 => Some(self.rng.u64(..end + 3)),
            // Mostly a little.
            _ => Some(end.saturating_sub(self.rng.u64(1..6))),
        };
        let result = wal.stream(name).and_then(|stream| stream.truncate_after(last_kept));
        self.say(|| format!("cut {name} behind {last_kept:?}: {result:?}"));
        let new_end = last_kept.map_or(first, |last| last.saturating_add(1)).min(end);
        match result {
            Ok(()) => {
                assert!(new_end >= first, "stream {name}: {new_end} was pruned");
                if new_end < end && !self.model.stream(name).is_in_limbo() {
                    self.model.stream(name).cut(new_end);
                    self.onlookers.cut(name, new_end);
                }
            }
            Err(Error::Config(_)) if new_end < first => {}
            Err(error) => {
                may_fail(self.faulty, "a cut", &error);
                self.onlookers.forget(name);
                if self.is_poisoned(wal, name) {
                    let seen = wal.stream(name).is_ok_and(|it| it.next_id() == new_end);
                    self.model.stream(name).cut_failed(new_end, seen && new_end < end);
                }
            }
        }
        self.check_ends(wal, name);
    }

    /// Deletes a stream.
    fn delete(&mut self, wal: &Wal, name: &str) {
        let handle = wal.stream(name);
        let archived_to =
            if self.options.archive_path.is_some() { self.oldest_file(name) } else { 0 };
        let existed = wal.streams().iter().any(|stream| stream == name);
        let result = wal.delete_stream(name);
        self.say(|| format!("delete {name}: {result:?}"));
        match result {
            Ok(()) => {
                self.model.stream(name).deleted(archived_to);
                if existed {
                    self.onlookers.deleted(name);
                } else {
                    self.onlookers.forget(name);
                }
                assert!(!wal.streams().iter().any(|stream| stream == name), "{name} is there");
                if existed && let Ok(handle) = handle {
                    self.check_deleted(&handle);
                }
            }
            Err(error) => {
                may_fail(self.faulty, "a deletion", &error);
                self.onlookers.forget(name);
                if self.is_poisoned(wal, name) {
                    self.model.stream(name).may_be_gone();
                }
            }
        }
        self.check_ends(wal, name);
    }

    /// A handle on a stream that was deleted is of no use.
    fn check_deleted(&self, handle: &Stream) {
        for result in [
            handle.append(b"too late").map(drop),
            handle.rotate(),
            handle.truncate_before(u64::MAX).map(drop),
            handle.truncate_after(None),
        ] {
            let is_right = matches!(result, Err(Error::StreamNotFound(_)));
            assert!(is_right || self.faulty, "a handle on a deleted stream: {result:?}");
        }
        assert_eq!(handle.get(handle.first_id().saturating_sub(1)).unwrap(), None);
        assert_eq!(handle.first_id(), handle.next_id());
    }

    /// Takes back what was archived.
    pub(crate) fn restore(&mut self, wal: &Wal, name: &str) {
        if self.options.archive_path.is_none() {
            assert_eq!(wal.restore_archived(name).unwrap(), 0);
            return;
        }
        let was_there = wal.streams().iter().any(|stream| stream == name);
        if !was_there {
            self.onlookers.forget(name);
        }
        let oldest_file = self.oldest_file(name);
        let result = wal.restore_archived(name);
        self.say(|| format!("restore {name}: {result:?}"));
        let is_there = wal.streams().iter().any(|stream| stream == name);
        let first = wal.stream(name).map(|stream| stream.first_id()).unwrap_or_default();
        let is_poisoned = result.is_err() && self.is_poisoned(wal, name);
        let model = self.model.stream(name);
        if model.is_in_limbo() && was_there {
            return;
        }
        if let Err(error) = &result {
            may_fail(self.faulty, "restoring", error);
        }
        match result {
            Ok(restored) if was_there => {
                // A file that is still to be deleted can hide that older ones are in the archive.
                let is_whole = oldest_file == 0 || first <= model.origin;
                assert!(is_whole, "stream {name} is back to {first} only, of {oldest_file}");
                assert!(first <= model.first && (restored > 0 || first == model.first), "{name}");
                if first < model.first {
                    model.first_is(first);
                }
            }
            Ok(0) => model.nothing_was_archived(name),
            // All but the last step was done.
            _ if !was_there && is_there => {
                if !self.disk.power_is_off() {
                    model.is_back(name, &see(wal, name));
                } else {
                    model.may_be_back();
                }
            }
            Ok(restored) => panic!("{restored} segments of {name} are back, and it is not there"),
            Err(_) if !was_there => model.may_be_back(),
            Err(_) if is_poisoned => {
                let was_first = model.first;
                if first < was_first {
                    // It was done, and something failed later.
                    model.first_is(first);
                } else {
                    model.first_may_be(0..=was_first);
                }
            }
            Err(_) if first < model.first => model.first_is(first),
            Err(_) => {}
        }
        self.check_ends(wal, name);
    }
}
