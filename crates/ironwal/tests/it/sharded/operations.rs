//! What a simulated process does with a sharded log, and what each of it must come to.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use ironwal::sharded::{CheckpointData, ShardedWal};
use ironwal::{Error, Journal, SyncMode};

use super::model::Checkpoint;
use super::simulation::{KEYS, OTHER, Simulation, shard_name};
use crate::simulation::may_fail;

impl Simulation {
    /// A life: random operations, some of which fail.
    /// `first` is the step that it began with.
    pub(super) fn live(&mut self, wal: &ShardedWal, first: u32) {
        let last = self.steps.of_life(first);
        for step in first + 1..=first + last {
            if !self.takes(step) {
                continue;
            }
            if self.only_full && self.rng.u8(..8) == 0 {
                self.calm();
            }
            let key = self.rng.u8(..KEYS);
            match self.rng.u8(..41) {
                40.. => self.trouble(),
                0..9 => self.append(wal, key),
                9..12 => self.append_batch_for_key(wal, key),
                12..14 => self.append_batch(wal, true),
                14..16 => self.append_batch(wal, false),
                16..18 => self.append_inside(wal, key),
                18 => self.flush(wal, Some(wal.route(&[key]))),
                19 => self.flush(wal, None),
                20..28 => {
                    let id = self.checkpoint_id();
                    self.create(wal, id);
                }
                28..31 => {
                    let keep = self.rng.usize(..5);
                    self.compact(wal, keep);
                }
                31..34 => self.prune(wal),
                34 => self.load_what_is_not_there(wal),
                35 => self.wait(wal),
                36..38 if !self.faulty => self.check(wal),
                38 if !self.faulty => self.replay(wal),
                _ => self.note_durable(wal),
            }
        }
        self.note_durable(wal);
    }

    /// The same operations in every run.
    pub(super) fn workload(&mut self, wal: &ShardedWal) {
        for key in 0..4 {
            self.append(wal, key);
        }
        self.create(wal, b"a".to_vec());
        self.append_batch(wal, false);
        self.create(wal, b"another".to_vec());
        self.append_batch_for_key(wal, 1);
        self.append_batch(wal, true);
        self.create(wal, b"a".to_vec());
        self.compact(wal, 1);
        for key in 0..4 {
            self.append(wal, key);
            self.append_inside(wal, key);
        }
        self.create(wal, b"c".to_vec());
        self.prune(wal);
        self.compact(wal, 0);
        self.create(wal, b"d".to_vec());
        self.flush(wal, None);
        self.note_durable(wal);
    }

    fn entry(&mut self) -> Vec<u8> {
        let len = match self.rng.u8(..20) {
            0 => self.rng.usize(..9000),
            1..4 => self.rng.usize(..900),
            _ => self.rng.usize(..60),
        };
        (0..len).map(|_| self.rng.u8(..)).collect()
    }

    fn entries(&mut self) -> Vec<Vec<u8>> {
        (0..self.rng.usize(1..5)).map(|_| self.entry()).collect()
    }

    /// Ids of several lengths, of which some are there already.
    fn checkpoint_id(&mut self) -> Vec<u8> {
        let nth = self.rng.u8(..8);
        let len = match self.rng.u8(..40) {
            0 => self.rng.usize(1..=0xFFFF),
            1..5 => 300,
            _ => 1 + usize::from(nth % 3) * 9,
        };
        vec![b'a' + nth; len]
    }

    fn is_power_safe(&self, batch: bool) -> bool {
        match self.mode {
            SyncMode::Strict => true,
            SyncMode::BatchOnly => batch,
            _ => false,
        }
    }

    /// An append to one stream was done, or was not.
    fn appended(
        &mut self,
        wal: &ShardedWal,
        name: &str,
        entries: &[Vec<u8>],
        batch: bool,
        result: ironwal::Result<Vec<u64>>,
    ) {
        self.say(|| format!("append {} to {name}: {result:?}", entries.len()));
        let power_safe = self.is_power_safe(batch);
        let stream = self.model.stream(name);
        let start = stream.entries.len() as u64;
        match result {
            Ok(ids) => {
                let expected: Vec<u64> = (start..start + entries.len() as u64).collect();
                assert_eq!(ids, expected, "{name}");
                stream.committed(entries, power_safe);
            }
            Err(error) => self.append_failed(wal, name, entries, &error),
        }
        self.check_end(wal, name);
    }

    fn append_failed(&mut self, wal: &ShardedWal, name: &str, entries: &[Vec<u8>], error: &Error) {
        may_fail(self.faulty, "an append", error);
        match error {
            Error::StorageFull { .. } => {}
            Error::Io(_) | Error::Poisoned { .. } => {
                if self.is_poisoned(wal, name) {
                    self.model.stream(name).failed(entries);
                }
            }
            other => panic!("appending to {name}: {other}"),
        }
    }

    /// Asks by an append that is always refused.
    fn is_poisoned(&self, wal: &ShardedWal, name: &str) -> bool {
        let asked = wal.inner().stream(name).and_then(|stream| stream.append_at(u64::MAX, b""));
        match asked {
            Err(Error::Poisoned { .. }) => true,
            Err(_) => self.disk.power_is_off(),
            Ok(id) => panic!("{name}: an entry for {} got {id}", u64::MAX),
        }
    }

    fn check_end(&mut self, wal: &ShardedWal, name: &str) {
        let stream = wal.inner().stream(name).unwrap();
        let model = self.model.stream(name);
        let seen = (stream.first_id(), stream.next_id());
        assert_eq!(seen, (model.first, model.end() as u64), "{name}: the ids there are");
    }

    pub(super) fn append(&mut self, wal: &ShardedWal, key: u8) {
        let entry = self.entry();
        let shard = wal.route(&[key]);
        let result = wal.append(&[key], &entry).map(|(in_shard, id)| {
            assert_eq!(in_shard, shard);
            vec![id]
        });
        self.appended(wal, &shard_name(shard), &[entry], false, result);
    }

    fn append_batch_for_key(&mut self, wal: &ShardedWal, key: u8) {
        let entries = self.entries();
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let shard = wal.route(&[key]);
        let result = wal.append_batch_for_key(&[key], &slices).map(|placed| {
            assert!(placed.iter().all(|(in_shard, _)| *in_shard == shard));
            placed.into_iter().map(|(_, id)| id).collect()
        });
        self.appended(wal, &shard_name(shard), &entries, true, result);
    }

    /// A batch over several shards: all or nothing; without a journal, if that is not asked for, a
    /// batch in each, the lower shards first.
    fn append_batch(&mut self, wal: &ShardedWal, is_atomic: bool) {
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            (0..self.rng.usize(..9)).map(|_| (vec![self.rng.u8(..KEYS)], self.entry())).collect();
        let mut parts: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (nth, (key, _)) in entries.iter().enumerate() {
            parts.entry(wal.route(key)).or_default().push(nth);
        }
        let shares_a_sync = self.is_power_safe(true) && self.setup.journal != Journal::Off;
        if is_atomic || shares_a_sync {
            let result = match is_atomic {
                true => wal.append_batch_atomic(&entries),
                false => wal.append_batch(&entries),
            };
            return self.appended_together(wal, &entries, &parts, result);
        }
        let result = wal.append_batch(&entries);
        match result {
            Ok(placed) => {
                assert_eq!(placed.len(), entries.len());
                for (shard, part) in parts {
                    let values: Vec<_> = part.iter().map(|nth| entries[*nth].1.clone()).collect();
                    assert!(part.iter().all(|nth| placed[*nth].0 == shard));
                    let ids = part.iter().map(|nth| placed[*nth].1).collect();
                    self.appended(wal, &shard_name(shard), &values, true, Ok(ids));
                }
            }
            Err(error) => {
                let mut error = Some(error);
                for (shard, part) in parts {
                    let name = shard_name(shard);
                    let values: Vec<_> = part.iter().map(|nth| entries[*nth].1.clone()).collect();
                    let start = self.model.stream(&name).entries.len() as u64;
                    let end = wal.inner().stream(&name).unwrap().next_id();
                    if error.is_some() && end == start + values.len() as u64 {
                        self.appended(wal, &name, &values, true, Ok((start..end).collect()));
                    } else if let Some(error) = error.take() {
                        self.appended(wal, &name, &values, true, Err(error));
                    } else {
                        self.check_end(wal, &name);
                    }
                }
                assert!(error.is_none(), "everything was appended, and it failed");
            }
        }
    }

    fn appended_together(
        &mut self,
        wal: &ShardedWal,
        entries: &[(Vec<u8>, Vec<u8>)],
        parts: &BTreeMap<u16, Vec<usize>>,
        result: ironwal::Result<Vec<(u16, u64)>>,
    ) {
        self.say(|| format!("append {} to {:?}: {result:?}", entries.len(), parts.keys()));
        let values: BTreeMap<String, Vec<Vec<u8>>> = parts
            .iter()
            .map(|(shard, part)| {
                let values = part.iter().map(|nth| entries[*nth].1.clone());
                (shard_name(*shard), values.collect())
            })
            .collect();
        let values: BTreeMap<&str, Vec<Vec<u8>>> =
            values.iter().map(|(name, values)| (name.as_str(), values.clone())).collect();
        match result {
            Ok(placed) => {
                assert_eq!(placed.len(), entries.len());
                for (shard, part) in parts {
                    let start = self.end(*shard);
                    let expected = (start..).map(|id| (*shard, id));
                    let found: Vec<_> = part.iter().map(|nth| placed[*nth]).collect();
                    assert!(expected.take(part.len()).eq(found), "{placed:?}");
                    let stream = wal.inner().stream(&shard_name(*shard)).unwrap();
                    assert_eq!(stream.durable_end(), start + part.len() as u64, "shard {shard}");
                }
                self.model.committed_together(&values);
            }
            Err(error) => {
                may_fail(self.faulty, "a batch over several shards", &error);
                let all_poisoned = match &error {
                    Error::StorageFull { .. } => false,
                    Error::Io(_) | Error::Poisoned { .. } => {
                        values.keys().all(|name| self.is_poisoned(wal, name))
                    }
                    other => panic!("appending a batch over several shards: {other}"),
                };
                self.model.failed_together(&values, all_poisoned);
            }
        }
        for name in values.keys() {
            self.check_end(wal, name);
        }
    }

    /// Past the sharded log: to the stream of a shard, or to one that is none.
    fn append_inside(&mut self, wal: &ShardedWal, key: u8) {
        let name = if key.is_multiple_of(3) { OTHER.into() } else { shard_name(wal.route(&[key])) };
        let entry = self.entry();
        let result = wal.inner().append(&name, &entry).map(|id| vec![id]);
        self.appended(wal, &name, &[entry], false, result);
    }

    fn flush(&mut self, wal: &ShardedWal, shard: Option<u16>) {
        let result = match shard {
            Some(shard) => wal.flush_shard(shard),
            None => wal.flush_all(),
        };
        self.say(|| format!("flush {shard:?}: {result:?}"));
        match (result, shard) {
            (Ok(()), Some(shard)) => self.model.stream(&shard_name(shard)).synced(),
            (Ok(()), None) => self.shards_are_synced(),
            (Err(error), _) => may_fail(self.faulty, "a flush", &error),
        }
    }

    fn shards_are_synced(&mut self) {
        for (name, stream) in &mut self.model.streams {
            if name != OTHER {
                stream.synced();
            }
        }
    }

    /// What the log says is durable must be.
    fn note_durable(&mut self, wal: &ShardedWal) {
        for (name, stream) in &mut self.model.streams {
            let durable = wal.inner().stream(name).unwrap().durable_end() as usize;
            assert!(durable <= stream.entries.len());
            assert!(durable >= stream.power_safe, "{name}: {durable} is less than before");
            if !stream.is_in_doubt() {
                stream.power_safe = durable;
            }
        }
    }

    /// Time passes, or jumps back, and what is due by the clock is done.
    fn wait(&mut self, wal: &ShardedWal) {
        let now = match self.rng.u8(..4) {
            0 => self.rng.u64(..1_000_000),
            _ => self.clock.load(Ordering::Relaxed) + self.rng.u64(..2500),
        };
        self.clock.store(now, Ordering::Relaxed);
        wal.inner().maintain();
        self.say(|| format!("it is {now} ms now"));
    }

    pub(super) fn create(&mut self, wal: &ShardedWal, id: Vec<u8>) {
        let shard_count = self.shard_count;
        let offsets = (0..shard_count).map(|shard| self.end(shard)).collect();
        let timestamp = self.clock.load(Ordering::Relaxed) * 1_000_000;
        let data = CheckpointData { offsets, timestamp, shard_count };
        let result = wal.create_checkpoint(&id);
        self.say(|| {
            let id = &id[..id.len().min(20)];
            format!("create {}: {result:?}", id.escape_ascii())
        });
        let new = Checkpoint { id, data };
        match result {
            Ok(()) => {
                self.checkpoints.created(new);
                self.shards_are_synced();
                self.note_durable(wal);
            }
            Err(error) => {
                self.checkpoints_may_fail("a checkpoint", &error);
                match error {
                    Error::Io(_) => self.checkpoints.may_be_created(new),
                    Error::StorageFull { .. } | Error::Poisoned { .. } => {}
                    error => panic!("creating a checkpoint: {error}"),
                }
            }
        }
        self.checkpoints.check(wal);
    }

    pub(super) fn compact(&mut self, wal: &ShardedWal, keep: usize) {
        let before = self.checkpoints.known.len();
        let result = wal.compact_checkpoints(keep);
        self.say(|| format!("compact to {keep}: {result:?}"));
        match result {
            Ok(stats) => {
                self.checkpoints.compacted(keep);
                let after = self.checkpoints.known.len();
                assert_eq!((stats.checkpoints_before, stats.checkpoints_after), (before, after));
                // A full disk has no room for the segment that takes the place of the former one;
                // and copies of what was compressed may not be.
                let gives_back = keep == 0 && before > 0 && !self.faulty;
                assert!(stats.bytes_reclaimed > 0 || !gives_back, "{stats:?}");
            }
            Err(error) => {
                self.checkpoints_may_fail("a compaction", &error);
                match error {
                    Error::Io(_) | Error::StorageFull { .. } | Error::Poisoned { .. } => {}
                    error => panic!("compacting: {error}"),
                }
                self.checkpoints.compaction_failed(wal, keep);
            }
        }
        self.checkpoints.check(wal);
    }

    /// Prunes before one of the checkpoints.
    pub(super) fn prune(&mut self, wal: &ShardedWal) {
        let Some(checkpoint) = self.rng.choice(&self.checkpoints.known).cloned() else { return };
        let result = wal.prune_before_checkpoint(&checkpoint.id);
        self.say(|| format!("prune: {result:?}"));
        let (mut moved, is_ok) = (0, result.is_ok());
        for (shard, offset) in (0..).zip(&checkpoint.data.offsets) {
            let name = shard_name(shard);
            if !self.model.streams.contains_key(&name) {
                continue;
            }
            let now = wal.inner().stream(&name).unwrap().first_id();
            let is_poisoned = !is_ok && self.is_poisoned(wal, &name);
            let stream = self.model.stream(&name);
            assert!(now >= stream.first, "{name} began at {} and begins at {now}", stream.first);
            if now > stream.first {
                assert!(now <= *offset, "{name} begins at {now}, the checkpoint at {offset}");
                stream.first_is(now);
                moved += 1;
            } else if is_poisoned {
                let firsts = stream.first..=(*offset).max(stream.first);
                stream.first_may_be(firsts);
            }
        }
        match result {
            Ok(stats) => {
                assert_eq!(stats.shards_pruned, moved);
                assert!(stats.segments_deleted >= usize::from(moved));
                if !self.faulty {
                    let again = wal.prune_before_checkpoint(&checkpoint.id).unwrap();
                    assert_eq!((again.shards_pruned, again.segments_deleted), (0, 0));
                }
            }
            Err(error) => {
                may_fail(self.faulty, "pruning", &error);
                // What makes an empty segment anew, or copies to the archive, takes space.
                let takes_space = matches!(&error, Error::StorageFull { path, .. }
                    if path.ends_with(".next.tmp") || !path.starts_with(crate::simulation::ROOT));
                let was_poisoned = matches!(error, Error::Poisoned { .. });
                assert!(
                    takes_space || was_poisoned || !self.only_full,
                    "pruning on a full disk: {error}"
                );
            }
        }
        self.checkpoints.check(wal);
    }

    fn load_what_is_not_there(&self, wal: &ShardedWal) {
        let missing = wal.load_checkpoint(b"never created");
        assert!(matches!(missing, Err(Error::CheckpointNotFound(_))), "{missing:?}");
        let missing = wal.prune_before_checkpoint(b"never created");
        assert!(matches!(missing, Err(Error::CheckpointNotFound(_))), "{missing:?}");
        for len in [0, 0x10000] {
            let refused = wal.create_checkpoint(&vec![1; len]);
            assert!(matches!(refused, Err(Error::InvalidCheckpointId(_))), "{refused:?}");
        }
    }

    /// What comes after a checkpoint, or the error that some of it is pruned.
    fn replay(&mut self, wal: &ShardedWal) {
        let Some(checkpoint) = self.rng.choice(&self.checkpoints.known) else { return };
        let offsets = (0_u16..).zip(&checkpoint.data.offsets);
        let streams = offsets.filter_map(|(shard, offset)| {
            Some((shard, *offset, self.model.streams.get(&shard_name(shard))?))
        });
        let is_whole = streams.clone().all(|(_, offset, stream)| stream.first <= offset);
        let expected: Vec<(u16, u64, &[u8])> = streams
            .flat_map(|(shard, offset, stream)| {
                let ids = offset..stream.end() as u64;
                ids.map(move |id| (shard, id, &stream.entries[id as usize][..]))
            })
            .collect();
        match wal.replay(&checkpoint.data) {
            Ok(replay) => {
                assert!(is_whole, "a replay with a gap");
                let found: Vec<_> = replay.map(Result::unwrap).collect();
                let found: Vec<_> =
                    found.iter().map(|(shard, id, entry)| (*shard, *id, &entry[..])).collect();
                assert_eq!(found, expected);
            }
            Err(Error::Pruned { .. }) => assert!(!is_whole, "nothing is missing"),
            Err(error) => panic!("replaying: {error}"),
        }
    }
}
