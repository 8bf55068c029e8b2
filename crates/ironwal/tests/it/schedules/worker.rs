//! What each of the threads does.

use std::ops::Range;
use std::sync::atomic::Ordering;

use fastrand::Rng;
use ironwal::{Error, Follower, Pending, Stream, SyncMode, Wal};

use super::{Notes, Run, Said};
use crate::simulation::STREAMS;

/// One of the threads, and what it knows.
pub(super) struct Worker<'a> {
    run: &'a Run,
    wal: &'a Wal,
    streams: &'a [Stream; STREAMS.len()],
    number: usize,
    rng: Rng,
    followers: [Follower; STREAMS.len()],
    /// The entry that it knew last.
    after: Option<(usize, u64)>,
    appends: usize,
    /// What it submitted and has not waited for.
    in_flight: Vec<(usize, Vec<u8>, Pending)>,
    pub(super) notes: Notes,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        run: &'a Run,
        wal: &'a Wal,
        streams: &'a [Stream; STREAMS.len()],
        number: usize,
        seed: u64,
    ) -> Self {
        Self {
            run,
            wal,
            streams,
            number,
            rng: Rng::with_seed(seed),
            followers: std::array::from_fn(|nth| streams[nth].follow(0)),
            after: None,
            appends: 0,
            in_flight: Vec::new(),
            notes: Notes::default(),
        }
    }

    pub(super) fn step(&mut self) -> ironwal::Result<()> {
        let nth = self.rng.usize(..STREAMS.len());
        let stream = &self.streams[nth];
        match self.rng.u8(..27) {
            0..=9 => self.append(nth)?,
            10 | 11 => self.follow(nth)?,
            12 | 13 => self.read(nth)?,
            14 => {
                let end = stream.next_id();
                stream.sync()?;
                self.run.is_durable(nth, end);
            }
            15 => stream.rotate()?,
            16 => {
                let id = self.rng.u64(..=stream.next_id());
                let known = &self.run.known[nth];
                known.pruned_at_most.fetch_max(id, Ordering::Relaxed);
                stream.truncate_before(id)?;
                known.pruned.fetch_max(id, Ordering::Relaxed);
            }
            17 => {
                let ends = self.streams.each_ref().map(Stream::next_id);
                self.wal.sync_all()?;
                ends.into_iter().enumerate().for_each(|(nth, end)| self.run.is_durable(nth, end));
            }
            18 => {
                let cut = self.wal.cut(&STREAMS)?;
                if let Some((stream, id)) = self.after {
                    assert!(cut[stream] > id, "{cut:?} misses what this thread knows");
                }
                self.notes.cuts.push(cut);
            }
            19..=22 => self.submit(nth)?,
            23 => self.wait_for_one()?,
            24 | 25 => self.append_together()?,
            _ => self.run.is_durable(nth, stream.durable_end()),
        }
        Ok(())
    }

    /// Entries for one stream, of the append that is about to be made.
    fn entries(&mut self, parts: usize, over: usize) -> Vec<Vec<u8>> {
        let (worker, nth, after) = (self.number, self.appends, self.after);
        let said = (0..parts).map(|part| Said { worker, nth, part, parts, over, after });
        let entries: Vec<Vec<u8>> = said.map(|said| said.encode(self.rng.usize(..60))).collect();
        self.notes.attempted.extend(entries.iter().cloned());
        entries
    }

    /// Takes note of what was acknowledged.
    fn has(&mut self, nth: usize, ids: Range<u64>, entries: Vec<Vec<u8>>, is_durable: bool) {
        if is_durable {
            self.run.is_durable(nth, ids.end);
        }
        self.after = Some((nth, ids.end - 1));
        for (id, entry) in ids.zip(entries) {
            let before = self.notes.acknowledged.insert((nth, id), entry);
            assert_eq!(before, None, "{nth} {id} was given twice");
        }
    }

    fn append(&mut self, nth: usize) -> ironwal::Result<()> {
        let parts = if self.rng.u8(..4) == 0 { self.rng.usize(2..5) } else { 1 };
        self.appends += 1;
        let entries = self.entries(parts, 0);
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let stream = &self.streams[nth];
        let ids = match slices[..] {
            [single] => stream.append(single).map(|id| id..id + 1)?,
            _ => stream.append_batch(&slices)?,
        };
        self.has(nth, ids, entries, self.run.mode == SyncMode::Strict || parts > 1);
        Ok(())
    }

    /// A batch over several streams.
    fn append_together(&mut self) -> ironwal::Result<()> {
        self.appends += 1;
        let over = [0b011, 0b101, 0b110, 0b111][self.rng.usize(..4)];
        let mut batch = self.wal.batch();
        let mut parts = Vec::new();
        for nth in (0..STREAMS.len()).filter(|nth| over >> nth & 1 == 1) {
            let count = self.rng.usize(1..4);
            let entries = self.entries(count, over);
            batch.append_all(STREAMS[nth], &entries);
            parts.push((nth, entries));
        }
        let ids = batch.commit()?;
        for (nth, entries) in parts {
            self.has(nth, ids[STREAMS[nth]].clone(), entries, true);
        }
        Ok(())
    }

    /// Some of what is submitted is waited for, in any order; some is not.
    fn submit(&mut self, nth: usize) -> ironwal::Result<()> {
        self.appends += 1;
        let entry = self.entries(1, 0).remove(0);
        let pending = self.streams[nth].submit(&entry)?;
        if self.rng.u8(..4) == 0 {
            self.notes.dropped.insert((nth, entry));
        } else {
            self.in_flight.push((nth, entry, pending));
        }
        Ok(())
    }

    fn wait_for_one(&mut self) -> ironwal::Result<()> {
        if !self.in_flight.is_empty() {
            let at = self.rng.usize(..self.in_flight.len());
            let (nth, entry, pending) = self.in_flight.swap_remove(at);
            let early = pending.id();
            let id = pending.wait()?;
            assert!(early.is_none_or(|early| early == id), "{early:?} has become {id}");
            self.has(nth, id..id + 1, vec![entry], self.run.mode == SyncMode::Strict);
        }
        Ok(())
    }

    /// Waits for everything that it submitted.
    pub(super) fn wait_for_all(&mut self) -> ironwal::Result<()> {
        while !self.in_flight.is_empty() {
            self.wait_for_one()?;
        }
        Ok(())
    }

    fn follow(&mut self, nth: usize) -> ironwal::Result<()> {
        for _ in 0..self.rng.u8(1..6) {
            let due = self.followers[nth].position();
            match self.followers[nth].try_next() {
                Ok(None) => break,
                Ok(Some((id, entry))) => {
                    assert_eq!(id, due);
                    self.notes.saw(nth, id, &entry);
                    self.after = Some((nth, id));
                }
                Err(Error::Pruned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, nth: usize) -> ironwal::Result<()> {
        let stream = &self.streams[nth];
        let end = stream.next_id();
        if end == 0 {
            return Ok(());
        }
        let id = self.rng.u64(..end);
        match stream.get(id)? {
            Some(entry) => {
                self.notes.saw(nth, id, &entry);
                self.after = Some((nth, id));
            }
            None => assert!(id < stream.first_id(), "{} {id} is missing", stream.name()),
        }
        Ok(())
    }
}
