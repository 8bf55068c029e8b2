//! The journal: going from one of its two files to the other, and freeing a full one.
//!
//! ```text
//!            ready ──── frames are written ──── full ──── its streams settle ──── ready
//!  file 0     ●                 ●                 ○              ○                  ●
//!  file 1                                         ● frames are written to this one …
//! ```
//!
//! A file is *free* for the next round of frames only when everything that it holds is durable in the
//! segments. A stream that cannot get there, for a write or a sync of it has failed, has what the file
//! holds of it copied to the other file first. Each time a file begins anew it has a new *generation*,
//! which is durable in its header before any frame is: so no frame of an earlier one counts.
//!
//! How a frame gets into a file is in `parts.rs`; what recovery does with the files, in
//! `log/recover/journal.rs` and `log/recover/replay.rs`.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Stream;
use super::parts::{LEN_MIN, Need, Part, State};
use crate::error::{Error, Result};
use crate::format::journal::frame;
use crate::format::journal::header::JournalHeader;
use crate::format::journal::{JOURNAL_HEADER_LEN, Record};
use crate::log::recover::journal as recovery;
use crate::log::root_syncs::RootSyncs;
use crate::log::{Whole, shared_error};
use crate::segment::writer::no_space;
use crate::storage::{File, OpenMode, Storage};
use crate::sync::{
    Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, Weak, in_parallel, lock,
};

/// After how many streams that were settled one by one it is asked whether more should be at once.
const SETTLE_STEP: usize = 16;

/// What the journal is told about its log.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) root: PathBuf,
    pub(crate) salt: u64,
    pub(crate) root_syncs: Arc<RootSyncs>,
    /// How long a file becomes, in bytes, unless one frame is longer.
    pub(crate) len_max: u64,
    /// How many streams settle at once if there is little time.
    pub(crate) threads_max: usize,
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    settings: Settings,
    whole: Arc<Whole>,
    state: Mutex<State>,
    /// Held while a full file is freed.
    draining: Mutex<()>,
    /// Whether a file became full that nobody has been told of.
    is_due: AtomicBool,
}

impl Journal {
    /// A journal without files.
    pub(crate) fn new(settings: Settings, whole: Arc<Whole>) -> Self {
        let state = Mutex::new(State::new(Arc::clone(&whole)));
        let draining = Mutex::default();
        Self { settings, whole, state, draining, is_due: AtomicBool::new(false) }
    }

    /// Goes on in the files that recovery has found and emptied.
    pub(crate) fn adopt(&self, found: recovery::Emptied) {
        let mut state = lock(&self.state);
        state.generation = found.generation;
        state.parts = found.files.map(|found| {
            found.map(|recovery::EmptyFile { file, path, generation, len }| {
                // A crash can have kept the length of a file and lost what was reserved.
                Part { written_to: len, ..Part::empty(file, path, generation) }
            })
        });
        // So that it is used first, for a process uses generations in their order.
        state.active = usize::from(state.parts[0].is_none() && state.parts[1].is_some());
        if let [Some(first), Some(second)] = &state.parts
            && second.generation < first.generation
        {
            state.active = 1;
        }
    }

    /// The directory of the log.
    pub(super) fn root(&self) -> &Path {
        &self.settings.root
    }

    /// How many streams are synced at once.
    pub(super) fn threads_max(&self) -> usize {
        self.settings.threads_max
    }

    /// Whether a file became full that is to be freed; says so to one caller, who must call
    /// [`Journal::drain`] before long.
    pub(crate) fn has_new_full_file(&self) -> bool {
        self.is_due.load(Ordering::Relaxed) && self.is_due.swap(false, Ordering::Relaxed)
    }

    /// Whether records of this generation may be replayed. It is loaded while nothing is copied
    /// forward, which changes it.
    pub(super) fn is_live(&self, generation: &AtomicU64) -> bool {
        let state = lock(&self.state);
        let generation = generation.load(Ordering::Relaxed);
        let is_it = |part: &Part| part.generation == generation && part.end > JOURNAL_HEADER_LEN;
        generation > 0 && state.parts.iter().flatten().any(is_it)
    }

    /// Makes room for a frame with shares of `payload_len` bytes at most, directory included. Blocks
    /// until a full file is free, if both are full. To be called by whoever leads the rounds of the
    /// log, with no lead of a stream.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing has changed. [`Error::Io`]: the journal has failed, or its other
    /// file could not be made. [`Error::Closed`].
    pub(super) fn make_room(&self, payload_len: u64) -> Result<()> {
        let mut drained_for_space = false;
        loop {
            self.check()?;
            let mut state = lock(&self.state);
            if state.closed {
                return Err(Error::Closed);
            }
            let len = frame::frame_len(0, state.previous.len() as u64, payload_len);
            match state.needs(len, self.settings.len_max) {
                Need::Nothing => match state.reserve(len, self.settings.len_max) {
                    Err(_) if state.is_other_longer(len) => {}
                    // Once: what is copied forward can take the room that was freed.
                    Err(_) if !drained_for_space && !state.is_other_ready() => {
                        drained_for_space = true;
                    }
                    reserved => {
                        state.promised = if reserved.is_ok() { len } else { 0 };
                        return reserved;
                    }
                },
                Need::Switch => {
                    self.switch(&mut state)?;
                    continue;
                }
                Need::Drain => {}
            }
            if state.is_other_ready() {
                self.switch(&mut state)?;
                continue;
            }
            drop(state);
            self.drain()?;
        }
    }

    /// Whether the journal can be written to.
    pub(super) fn check(&self) -> Result<()> {
        match self.whole.failure() {
            None => Ok(()),
            Some(cause) => Err(Error::Io(shared_error(cause))),
        }
    }

    /// Goes on in the other file, which is ready; makes it if it is not there.
    fn switch(&self, state: &mut State) -> Result<()> {
        let other = match &state.parts[state.active] {
            Some(_) => 1 - state.active,
            None => state.active,
        };
        if state.parts[other].is_none() {
            let generation = state.generation + 1;
            state.parts[other] = Some(self.create(other, generation)?);
            state.generation = generation;
        }
        if other != state.active
            && let Some(left) = &mut state.parts[state.active]
        {
            if left.end == JOURNAL_HEADER_LEN {
                // It was too short, and nothing went into it. Below the generation of the other file
                // that would be a loss.
                let generation = state.generation + 1;
                self.begin(&*left.file, generation, false)
                    .map_err(|error| Error::Io(shared_error(&self.whole.fail(error))))?;
                left.generation = generation;
                state.generation = generation;
            } else {
                left.is_full = true;
                self.is_due.store(true, Ordering::Relaxed);
            }
        }
        state.active = other;
        Ok(())
    }

    fn create(&self, nth: usize, generation: u64) -> Result<Part> {
        let Settings { storage, root, salt, root_syncs, .. } = &self.settings;
        let path = recovery::path_of(root, nth);
        let unfinished = recovery::unfinished_path_of(root, nth);
        let full = |error| no_space(error, &unfinished);
        match storage.remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = storage.open(&unfinished, OpenMode::Create).map_err(full)?;
        file.reserve(0, LEN_MIN).map_err(full)?;
        recovery::write_header(
            &*file,
            JournalHeader { salt: *salt, generation, is_closed: false },
        )?;
        file.sync()?;
        let before = root_syncs.before_change();
        storage.rename(&unfinished, &path)?;
        root_syncs.sync(&**storage, root, before)?;
        Ok(Part { reserved_to: LEN_MIN, ..Part::empty(file, path, generation) })
    }

    /// Writes a frame with the shares of these streams, for which there is room, and syncs it. Returns
    /// the generation that it is in, and the payload.
    ///
    /// # Errors
    ///
    /// Whatever was written may be there or not: the log must take no appends any more.
    pub(super) fn write<'a>(
        &self,
        records: &[Record],
        payload: &[&[u8]],
        streams: impl Iterator<Item = &'a Arc<Stream>>,
    ) -> io::Result<(u64, Bytes)> {
        let mut state = lock(&self.state);
        state.promised = 0;
        let (generation, payload) = state.write(self.settings.salt, records, payload)?;
        if let Some(part) = state.active() {
            let is_news =
                |stream: &&Arc<Stream>| stream.journaled_in.load(Ordering::Relaxed) != generation;
            streams.filter(is_news).for_each(|stream| part.holds(stream));
        }
        Ok((generation, payload))
    }

    /// Reserves room for a void.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing has changed. [`Error::Io`]: the journal has failed.
    pub(super) fn make_room_for_void(&self) -> Result<()> {
        self.check()?;
        lock(&self.state).reserve_more(1, 0, self.settings.len_max)
    }

    /// Records, durably, that nothing counts any more that was written of a stream so far.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: nothing has changed. [`Error::Io`]: the journal has failed.
    pub(super) fn void(&self, stream_number: u64) -> Result<()> {
        self.check()?;
        let mut state = lock(&self.state);
        let voided = state.write_more(&self.settings, &[Record::void(stream_number)], &[]);
        voided.map_err(|error| match error {
            Error::Io(error) => Error::Io(shared_error(&self.whole.fail(error))),
            full => full,
        })?;
        if let Some(part) = state.active() {
            part.voided.insert(stream_number);
        }
        Ok(())
    }

    /// Frees a full file, if there is one: makes everything durable in the segments that it holds.
    /// Blocks on the disk, and while somebody else does the same.
    ///
    /// # Errors
    ///
    /// [`Error::StorageFull`]: the file stays as it is. [`Error::Io`]: it could not be freed, and the log
    /// takes no appends any more.
    pub(crate) fn drain(&self) -> Result<()> {
        let _draining: MutexGuard<'_, ()> = lock(&self.draining);
        let _span = tracing::debug_span!("drain the journal").entered();
        self.check()?;
        self.try_drain().map_err(|error| match error {
            Error::Io(error) => Error::Io(shared_error(&self.whole.fail(error))),
            full @ Error::StorageFull { .. } => full,
            other => {
                let error = io::Error::other(other.to_string());
                Error::Io(shared_error(&self.whole.fail(error)))
            }
        })
    }

    fn try_drain(&self) -> Result<()> {
        let (nth, file, streams) = {
            let state = lock(&self.state);
            let nth = 1 - state.active;
            match &state.parts[nth] {
                Some(part) if part.is_full && !state.closed => {
                    (nth, Arc::clone(&part.file), part.streams.clone())
                }
                _ => return Ok(()),
            }
        };
        let streams: Vec<Arc<Stream>> = streams.values().filter_map(Weak::upgrade).collect();
        let mut settled = Vec::with_capacity(streams.len());
        for some in streams.chunks(SETTLE_STEP) {
            let threads = if self.is_filling_up() { self.settings.threads_max } else { 1 };
            settled.extend(in_parallel(some, threads, |stream| stream.settle()));
        }
        let failed: Vec<&Arc<Stream>> = streams
            .iter()
            .zip(&settled)
            .filter(|(_, settled)| settled.is_err())
            .map(|(stream, _)| stream)
            .collect();
        if !failed.is_empty() {
            self.copy_forward(nth, &failed)?;
        }
        let generation = {
            let mut state = lock(&self.state);
            state.generation += 1;
            state.generation
        };
        self.begin(&*file, generation, false)?;
        let mut state = lock(&self.state);
        if let Some(part) = &mut state.parts[nth] {
            part.restart(generation, self.settings.len_max);
        }
        Ok(())
    }

    /// Whether it will not be long until the file that is written to is full, too.
    fn is_filling_up(&self) -> bool {
        let mut state = lock(&self.state);
        state.active().is_some_and(|part| part.end > self.settings.len_max / 2)
    }

    /// Gives a file that holds nothing of use another generation.
    fn begin(&self, file: &dyn File, generation: u64, is_closed: bool) -> io::Result<()> {
        let header = JournalHeader { salt: self.settings.salt, generation, is_closed };
        recovery::begin_generation(file, header)
    }

    /// Copies what a full file holds of streams that cannot get it into their segments to the other
    /// file, and syncs it.
    fn copy_forward(&self, nth: usize, failed: &[&Arc<Stream>]) -> Result<()> {
        let (file, header, end) = {
            let state = lock(&self.state);
            let Some(part) = &state.parts[nth] else { return Ok(()) };
            let header = JournalHeader {
                salt: self.settings.salt,
                generation: part.generation,
                is_closed: false,
            };
            (Arc::clone(&part.file), header, part.end)
        };
        let numbers: Vec<u64> = failed.iter().filter_map(|stream| stream.log().number()).collect();
        let path = recovery::path_of(self.root(), nth);
        recovery::for_each_frame(&file, &path, header, end, |records, payloads| {
            let mut state = lock(&self.state);
            let voided = state.active().map(|part| part.voided.clone()).unwrap_or_default();
            let is_wanted = |(record, _): &(Record, Vec<u8>)| {
                numbers.contains(&record.stream_number) && !voided.contains(&record.stream_number)
            };
            let (records, payloads): (Vec<Record>, Vec<Vec<u8>>) =
                records.into_iter().zip(payloads).filter(is_wanted).unzip();
            if records.is_empty() {
                return Ok(());
            }
            let payload: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            state.write_more(&self.settings, &records, &payload)?;
            if let Some(part) = state.active() {
                for stream in failed {
                    part.holds(stream);
                    stream.journaled_in.store(part.generation, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    }

    /// Touches the files no more after this. `settled`: everything is durable in the segments, so
    /// nothing in the journal is of use any more.
    pub(crate) fn close(&self, settled: bool) -> Result<()> {
        let _draining = lock(&self.draining);
        let mut state = lock(&self.state);
        state.closed = true;
        self.check()?;
        if !settled {
            return Ok(());
        }
        let mut generation = state.generation;
        let mut parts: Vec<&mut Part> = state.parts.iter_mut().flatten().collect();
        // Oldest first, as in every freeing: what is left then voids what it should.
        parts.sort_by_key(|part| part.generation);
        for part in parts {
            generation += 1;
            self.begin(&*part.file, generation, true)?;
            part.restart(generation, self.settings.len_max);
        }
        state.generation = generation;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
