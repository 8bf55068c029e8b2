//! A batch over several streams on its way into a round: staged by whoever leads that, in all of its
//! streams at once, for no part of it may go another way than the others.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::{Group, Stream};
use crate::error::{Error, Result};
use crate::format::MAX_FRAME_LEN;
use crate::format::frame::{self, Packed};
use crate::format::journal::MAX_RECORDS;
use crate::log::tail::Append;
use crate::log::{Log, shared_error};
use crate::sync::{Arc, Mutex, in_parallel, lock};

/// How many streams a batch may have: what fits the directory of a frame, with others beside it.
const PARTS_MAX: u64 = MAX_RECORDS as u64 / 2;

/// The most room that is made at once for entries that are going to be added, in bytes.
const RESERVE_LEN_MAX: usize = 64 * 1024;

/// Entries, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    data: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Entries {
    /// Adds one, and makes room for so many more of its kind.
    pub(crate) fn push(&mut self, entry: &[u8], more: usize) {
        if self.data.capacity() - self.data.len() < entry.len() {
            let wanted = entry.len().saturating_mul(more.saturating_add(1));
            self.data.reserve(wanted.min(RESERVE_LEN_MAX).max(entry.len()));
        }
        self.data.extend_from_slice(entry);
        self.ends.push(self.data.len());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes that they take as the payload of a frame without compression.
    fn payload_len(&self) -> u64 {
        frame::payload_len_of(self.len(), self.data.len() as u64)
    }

    /// Each of them.
    pub(crate) fn slices(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.data[*start..*end]).collect()
    }
}

/// What is appended to one stream as part of a batch.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) stream: Arc<Stream>,
    pub(crate) entries: Arc<Entries>,
    /// The id that the first of them must get.
    pub(crate) expected: Option<u64>,
    pub(crate) packed: Option<Packed>,
}

/// A batch that waits for its round.
#[derive(Debug)]
pub(crate) struct Request {
    /// In the order of the streams' names, none twice, none empty.
    parts: Vec<Part>,
    /// The bytes of its frames.
    len: u64,
    outcome: Mutex<Outcome>,
}

/// What has become of it.
#[derive(Debug)]
enum Outcome {
    /// Nothing yet.
    Waiting,
    /// It has its ids.
    Staged(Vec<Range<u64>>),
    /// The part with this number needs room.
    NoRoom(usize),
    Done(Vec<Range<u64>>),
    Failed(Error),
}

impl Part {
    fn append<'a>(&'a self, entries: &'a [&'a [u8]]) -> Append<'a> {
        let (expected, packed) = (self.expected, self.packed.as_ref());
        Append { entries, batch: true, sync: true, expected, packed }
    }

    /// The bytes that its frame takes.
    fn frame_len(&self) -> u64 {
        let raw_len = self.entries.payload_len();
        frame::padded_len(self.packed.as_ref().map_or(raw_len, Packed::payload_len))
    }
}

impl Request {
    /// A batch of these parts, which are in the order of their streams' names.
    pub(crate) fn new(parts: Vec<Part>) -> Arc<Self> {
        let len = parts.iter().map(Part::frame_len).sum();
        Arc::new(Self { parts, len, outcome: Mutex::new(Outcome::Waiting) })
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.parts.iter().map(|part| &part.stream)
    }

    /// The bytes of its frames.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The entries of each part.
    fn entries(&self) -> Vec<Vec<&[u8]>> {
        self.parts.iter().map(|part| part.entries.slices()).collect()
    }

    /// Stages all of it, or nothing.
    pub(super) fn stage(&self) {
        let entries = self.entries();
        let appends: Vec<(&Log, Append<'_>)> = self
            .parts
            .iter()
            .zip(&entries)
            .map(|(part, entries)| (&**part.stream.log(), part.append(entries)))
            .collect();
        *lock(&self.outcome) = match Log::stage_together(&appends) {
            Ok(Ok(ids)) => Outcome::Staged(ids),
            Ok(Err(lacks)) => Outcome::NoRoom(lacks.nth),
            Err(error) => Outcome::Failed(error),
        };
    }

    pub(super) fn is_staged(&self) -> bool {
        matches!(*lock(&self.outcome), Outcome::Staged(_))
    }

    /// It was staged, and what was staged is durable.
    pub(super) fn succeed(&self) {
        let mut outcome = lock(&self.outcome);
        if let Outcome::Staged(ids) = &mut *outcome {
            *outcome = Outcome::Done(std::mem::take(ids));
        }
    }

    /// It could not be staged.
    pub(super) fn fail(&self, error: &Error) {
        *lock(&self.outcome) = Outcome::Failed(same(error));
    }

    /// It was staged and could not be made durable.
    pub(super) fn fail_staged(&self, error: &Error) {
        if self.is_staged() {
            self.fail(error);
        }
    }

    /// It was staged and could not be made durable, unless it had failed before.
    pub(super) fn fail_with(&self, cause: &Arc<io::Error>) {
        if self.is_staged() {
            *lock(&self.outcome) = Outcome::Failed(Error::Io(shared_error(cause)));
        }
    }

    /// One of its streams has failed since it was staged: returns why.
    pub(super) fn break_up(&self) -> Arc<io::Error> {
        let over = self.parts.iter().map(|part| part.stream.log()).find(|log| log.is_over());
        let cause = match over.map(|log| log.failure()) {
            Some(Error::Io(error)) => error,
            Some(error) => io::Error::other(error),
            None => io::Error::other("a part of a batch over several streams was lost"),
        };
        let cause = Arc::new(cause);
        self.fail_with(&cause);
        cause
    }
}

/// The same error again.
fn same(error: &Error) -> Error {
    match error {
        Error::StorageFull { path, cause } => {
            let cause = io::Error::new(cause.kind(), cause.to_string());
            Error::StorageFull { path: path.clone(), cause }
        }
        Error::Io(error) => Error::Io(io::Error::new(error.kind(), error.to_string())),
        Error::Closed => Error::Closed,
        other => Error::Io(io::Error::other(other.to_string())),
    }
}

/// Appends a batch to several streams, all or nothing, and returns the ids of each part in order.
/// Blocks on the disk. `root` is the directory that the streams are in.
pub(crate) fn commit(root: &Path, request: &Arc<Request>) -> Result<Vec<Range<u64>>> {
    let Some(group) = request.parts.first().map(|part| Arc::clone(&part.stream.group)) else {
        return Ok(Vec::new());
    };
    let (len, limit) = (request.len(), MAX_FRAME_LEN);
    if len > limit || request.parts.len() as u64 > PARTS_MAX {
        return Err(Error::TooLarge { len, limit });
    }
    let entries = request.entries();
    let parts = request.parts.iter().zip(&entries);
    let appends: Vec<_> = parts.map(|(part, entries)| (part, part.append(entries))).collect();
    // What is refused must not begin a stream.
    for (part, append) in &appends {
        part.stream.log().has_room_for(append)?;
    }
    for (part, append) in &appends {
        // What this thread has submitted before comes before.
        part.stream.stage_queued();
        make_room(root, &part.stream, append)?;
    }
    close_gaps(&group, &request.parts)?;
    loop {
        *lock(&request.outcome) = Outcome::Waiting;
        group.commit_batch(request);
        let outcome = std::mem::replace(&mut *lock(&request.outcome), Outcome::Waiting);
        match outcome {
            Outcome::Done(ids) => return Ok(ids),
            Outcome::Failed(error) => return Err(error),
            // Somebody else was faster.
            Outcome::NoRoom(nth) => {
                let (part, append) = &appends[nth];
                make_room(root, &part.stream, append)?;
            }
            // There was no more room in the round.
            Outcome::Waiting => {}
            Outcome::Staged(_) => {
                let what = "a round forgot a batch over several streams";
                return Err(Error::Io(io::Error::other(what)));
            }
        }
    }
}

/// Makes durable what is below the batch and durable nowhere, in several streams at once. Whoever leads
/// would do it stream by stream; what comes between is left to that.
fn close_gaps(group: &Group, parts: &[Part]) -> Result<()> {
    let has_gap = |stream: &&Arc<Stream>| stream.log().durable_end() < stream.log().next_id();
    let with_gap: Vec<_> = parts.iter().map(|part| &part.stream).filter(has_gap).collect();
    let threads_max = group.journal().threads_max();
    in_parallel(&with_gap, threads_max, |stream| stream.sync()).into_iter().collect()
}

/// Makes room for an append, if there is none.
fn make_room(root: &Path, stream: &Arc<Stream>, append: &Append<'_>) -> Result<()> {
    stream.use_now();
    while !stream.log().has_room_for(append)? {
        stream.make_room_only(root, append)?;
    }
    Ok(())
}
