//! One Raft group: its log, its vote, and what is on the way to the disk. Knows no type of openraft.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ironwal::{Pending, Stream};

use crate::completer::{Completer, lock};
use crate::error::{Error, Result};
use crate::options::GroupOptions;
use crate::recent::Recent;
use crate::record::{self, Entry, Facts, Point};
use crate::replay::{Log, Replay};

/// Called once a record is durable, or when it is not going to be.
pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// One Raft group.
///
/// Locks are taken in this order: `writer`, `in_flight`, `memory`.
pub(crate) struct Group {
    stream: Stream,
    options: GroupOptions,
    completer: Arc<Completer>,
    /// Held while records are submitted, so that sequence numbers are in the order of ids.
    writer: Mutex<Writer>,
    memory: Mutex<Memory>,
    in_flight: Mutex<InFlight>,
    /// Nothing is in flight any more.
    idle: Condvar,
    is_woken: AtomicBool,
}

/// What the next record gets.
#[derive(Debug)]
struct Writer {
    sequence: u32,
    /// Its id, unless somebody else appends to the stream.
    id: u64,
    /// What was saved and goes along with the next record.
    committed: Option<Option<Point>>,
}

/// What readers see: what was appended, durable or not.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) log: Log,
    pub(super) recent: Recent,
    failed: Option<Arc<Error>>,
}

/// Records that are not durable yet, in order.
#[derive(Default)]
struct InFlight {
    records: VecDeque<Submitted>,
    /// Bytes of their records.
    len: u64,
    /// Somebody is calling back, and looks once more if there is news.
    is_busy: bool,
    has_news: bool,
}

impl InFlight {
    fn push(&mut self, submitted: Submitted) {
        self.len += submitted.len;
        self.records.push_back(submitted);
    }
}

struct Submitted {
    pending: Pending,
    id: u64,
    len: u64,
    done: Vec<Done>,
}

impl Group {
    /// Reads the records of a group; the first one is written if there is none. Blocks on the disk.
    pub(crate) fn open(
        stream: Stream,
        options: GroupOptions,
        completer: Arc<Completer>,
    ) -> Result<Self> {
        let mut replay = Replay::default();
        for record in stream.range(..) {
            let (id, record) = record?;
            replay.read(id, &record)?;
        }
        let (first_id, id) = (stream.first_id(), stream.next_id());
        let is_new = replay.next_sequence.is_none();
        if is_new && first_id > 0 {
            return Err(Error::Emptied);
        }
        if replay.leftovers > 0 {
            let (group, records) = (stream.name(), replay.leftovers);
            tracing::warn!(group, records, "left out what followed a record that had failed");
        }
        let sequence = replay.next_sequence.unwrap_or(0);
        let group = Self {
            stream,
            options,
            completer,
            writer: Mutex::new(Writer { sequence, id, committed: None }),
            memory: Mutex::new(Memory { log: replay.log, recent: Recent::default(), failed: None }),
            in_flight: Mutex::default(),
            idle: Condvar::new(),
            is_woken: AtomicBool::new(false),
        };
        if is_new {
            // So that the first record always counts: one that failed cannot have been before it.
            let first = group.submit(&mut lock(&group.writer), &Facts::default(), None)?;
            first.pending.wait()?;
            group.stream.sync()?;
        }
        Ok(group)
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn name(&self) -> &str {
        self.stream.name()
    }

    pub(super) fn options(&self) -> &GroupOptions {
        &self.options
    }

    pub(super) fn memory<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&lock(&self.memory))
    }

    /// What was not needed has been freed.
    pub(super) fn forget_unneeded(&self) {
        let mut memory = lock(&self.memory);
        memory.log.len = memory.log.index.len_bytes();
    }

    /// Bytes of records that are on their way.
    pub(crate) fn len_in_flight(&self) -> u64 {
        lock(&self.in_flight).len
    }

    /// Appends entries; `done` is called when all of them are durable. They can be read when this returns.
    /// What is purged already is left out. Blocks only while the stream has no room for more in flight.
    pub(crate) fn append(self: &Arc<Self>, entries: Vec<Entry>, done: Done) -> Result<()> {
        let mut writer = lock(&self.writer);
        let due = self.due(entries)?;
        let (mut submitted, mut failed) = (Vec::with_capacity(due.len()), None);
        for entry in due {
            match self.submit(&mut writer, &Facts::default(), Some(&entry)) {
                Ok(record) => {
                    let mut memory = lock(&self.memory);
                    memory.log.index.push(entry.index, record.id, record.len);
                    memory.recent.push(entry, record.id);
                    submitted.push(record);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut in_flight = lock(&self.in_flight);
        submitted.into_iter().for_each(|record| in_flight.push(record));
        let told_now = match (in_flight.records.back_mut(), &failed) {
            (_, Some(_)) => None,
            // Behind what is in flight, also if nothing was due.
            (Some(last), None) => {
                last.done.push(done);
                None
            }
            (None, None) => Some(done),
        };
        drop(in_flight);
        drop(writer);
        if let Some(done) = told_now {
            done(self.check_sound());
        }
        self.complete();
        failed.map_or(Ok(()), Err)
    }

    /// Those of the entries that are to be written, if they follow the log.
    fn due(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
        self.check_sound()?;
        let memory = lock(&self.memory);
        let purged = memory.log.purged.as_ref().map(|purged| purged.index);
        entries.retain(|entry| purged.is_none_or(|purged| entry.index > purged));
        let mut next = memory.log.next_index();
        for entry in &entries {
            let (expected, found) = (next.unwrap_or(entry.index), entry.index);
            if found != expected {
                return Err(Error::NotConsecutive { expected, found });
            }
            next = Some(found.saturating_add(1));
        }
        Ok(entries)
    }

    /// Writes down facts; `done` is called when they are durable. They hold for readers when this returns.
    /// Returns the id of the record.
    pub(crate) fn state(self: &Arc<Self>, facts: &Facts, done: Done) -> Result<u64> {
        let mut writer = lock(&self.writer);
        let facts = &self.with_all_that_a_cut_takes(facts);
        let mut record = self.submit(&mut writer, facts, None)?;
        record.done.push(done);
        let id = record.id;
        lock(&self.in_flight).push(record);
        {
            let mut memory = lock(&self.memory);
            memory.log.apply(facts);
            if let Some(index) = facts.cut_from {
                memory.recent.cut_from(index);
            }
            if let Some(purged) = &facts.purged {
                memory.recent.purge_before(purged.index.saturating_add(1));
            }
        }
        drop(writer);
        self.complete();
        Ok(id)
    }

    /// A purge says again what is in records that it lets go of.
    fn with_all_that_a_cut_takes(&self, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        if facts.purged.is_some() {
            let memory = lock(&self.memory);
            facts.vote = facts.vote.or_else(|| memory.log.vote.clone());
            facts.committed = facts.committed.or_else(|| Some(memory.log.committed.clone()));
        }
        facts
    }

    /// Notes up to where the log is committed; the next record, or the end of the group, writes it down.
    pub(crate) fn note_committed(&self, committed: Option<Point>) {
        let mut writer = lock(&self.writer);
        lock(&self.memory).log.committed.clone_from(&committed);
        writer.committed = Some(committed);
    }

    /// Submits a record.
    fn submit(
        &self,
        writer: &mut Writer,
        facts: &Facts,
        entry: Option<&Entry>,
    ) -> Result<Submitted> {
        self.check_sound()?;
        let facts = match &writer.committed {
            Some(committed) if facts.committed.is_none() => {
                &Facts { committed: Some(committed.clone()), ..facts.clone() }
            }
            _ => facts,
        };
        let record = record::encode(writer.sequence, facts, entry)?;
        let pending = self.stream.submit(&record).map_err(|error| self.fail(error.into()))?;
        writer.committed = None;
        let id = writer.id;
        writer.id += 1;
        writer.sequence = writer.sequence.wrapping_add(1);
        let len = record::len_in_stream(&record);
        lock(&self.memory).log.len += len;
        Ok(Submitted { pending, id, len, done: Vec::new() })
    }

    fn check_sound(&self) -> Result<()> {
        lock(&self.memory)
            .failed
            .as_ref()
            .map_or(Ok(()), |cause| Err(Error::Failed(Arc::clone(cause))))
    }

    /// From now on nothing is written: what was in flight behind a record that failed may be on the disk or
    /// not, and only opening finds out.
    fn fail(&self, error: Error) -> Error {
        lock(&self.memory).failed.get_or_insert_with(|| Arc::new(error.clone()));
        error
    }

    /// Calls back for what has become durable, in order.
    pub(crate) fn complete(self: &Arc<Self>) {
        {
            let mut in_flight = lock(&self.in_flight);
            if in_flight.is_busy {
                in_flight.has_news = true;
                return;
            }
            in_flight.is_busy = true;
        }
        loop {
            let told = self.known();
            if told.is_empty() {
                return;
            }
            told.into_iter().for_each(|(done, result)| done(result));
        }
    }

    /// What has become known of records in flight. If there is nothing, calling back is over.
    fn known(self: &Arc<Self>) -> Vec<(Done, Result<()>)> {
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        let mut told = Vec::new();
        let mut in_flight = lock(&self.in_flight);
        loop {
            in_flight.has_news = false;
            while let Some(front) = in_flight.records.front_mut() {
                let Poll::Ready(result) = Pin::new(&mut front.pending).poll(&mut context) else {
                    break;
                };
                let Some(Submitted { id, len, done, .. }) = in_flight.records.pop_front() else {
                    break;
                };
                in_flight.len -= len;
                let result = self.settle(id, result);
                told.extend(done.into_iter().map(|done| (done, result.clone())));
            }
            if !told.is_empty() {
                return told;
            }
            if !in_flight.has_news {
                in_flight.is_busy = false;
                if in_flight.records.is_empty() {
                    self.idle.notify_all();
                }
                return told;
            }
        }
    }

    /// The record `id` is committed or has failed. Once one has, all have that come behind it.
    fn settle(&self, id: u64, result: ironwal::Result<u64>) -> Result<()> {
        self.check_sound()?;
        match result {
            Ok(found) if found != id => Err(self.fail(Error::Intruder { expected: id, found })),
            Ok(_) => {
                lock(&self.memory).recent.shrink(id + 1, self.options.recent_len);
                Ok(())
            }
            Err(error) => Err(self.fail(error.into())),
        }
    }

    /// Writes down what was noted.
    pub(crate) fn finish(self: &Arc<Self>) {
        if lock(&self.writer).committed.is_some()
            && let Err(error) = self.state(&Facts::default(), Box::new(|_| ()))
        {
            // The committed index may be older than it was; what is in the log is not touched by it.
            tracing::debug!(group = self.stream.name(), %error, "the committed index was not saved");
        }
    }

    /// Blocks until nothing is in flight.
    pub(crate) fn wait_until_idle(&self) {
        let mut in_flight = lock(&self.in_flight);
        while !in_flight.records.is_empty() {
            in_flight = self.idle.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The log has woken the group.
    pub(crate) fn news(self: Arc<Self>) {
        self.is_woken.store(false, Ordering::SeqCst);
        self.complete();
    }
}

impl Wake for Group {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::SeqCst) {
            Arc::clone(&self.completer).wake(self);
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Group").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;

    use ironwal::storage::SimDisk;
    use ironwal::{Environment, Wal, WalOptions};

    use super::*;

    fn group() -> Arc<Group> {
        let environment = Environment::default().with_storage(Arc::new(SimDisk::new(1)));
        let wal = Wal::open_with(WalOptions::new("/log"), environment).unwrap();
        let stream = wal.stream("group").unwrap();
        Arc::new(Group::open(stream, GroupOptions::default(), Arc::default()).unwrap())
    }

    fn entry(index: u64) -> Entry {
        Entry { index, bytes: Bytes::from_static(b"entry") }
    }

    #[test]
    fn callbacks_come_in_the_order_of_appends() {
        let (group, (told, order)) = (group(), mpsc::channel());
        for index in 0..300 {
            let told = told.clone();
            let done = move |result: Result<()>| told.send((index, result.is_ok())).unwrap();
            group.append(vec![entry(index)], Box::new(done)).unwrap();
        }
        drop(told);
        assert!(order.iter().eq((0..300).map(|index| (index, true))));
    }

    /// The first of two in flight fails for want of space, the second one is committed.
    #[test]
    fn what_follows_a_failure_is_not_acknowledged() {
        let group = group();
        assert!(group.settle(1, Ok(1)).is_ok());
        let no_space = || ironwal::Error::Io(std::io::ErrorKind::StorageFull.into());
        assert!(matches!(group.settle(2, Err(no_space())), Err(Error::Wal(_))));
        assert!(matches!(group.settle(3, Ok(3)), Err(Error::Failed(_))));
        let refused = group.append(vec![entry(0)], Box::new(|_| panic!("it is not submitted")));
        assert!(matches!(refused, Err(Error::Failed(_))));
    }

    #[test]
    fn somebody_else_appends_to_the_stream() {
        let group = group();
        group.stream.append(b"not a record").unwrap();
        let (told, waiting) = mpsc::channel();
        group.append(vec![entry(0)], Box::new(move |result| told.send(result).unwrap())).unwrap();
        let result = waiting.recv().unwrap();
        assert!(matches!(result, Err(Error::Intruder { expected: 1, found: 2 })), "{result:?}");
    }
}
