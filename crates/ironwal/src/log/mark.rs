//! The watermark: what a writing process tells readers in other processes, through shared memory.
//!
//! ```text
//! word  0       1       2         3          4                                   8
//!       | count | epoch | writers | together | number + 1 | changes | first | next | …
//!                                            '------------ a stream ------------'
//! ```
//!
//! It holds if and only if somebody holds the lock on its file, which a writer takes when recovery is
//! over. `epoch` is 0 until then, and another one for each writer: the number of them so far, which
//! `writers` keeps; from bit 32 on that counts how many streams they have deleted. A stream
//! that is not listed is as it was then. One is listed before anything of it changes; from then on
//! `next` is the id behind its last committed entry, and `first` the first one that is kept. `changes`
//! counts what is more than appending and pruning, and is odd while such a change is going on; from bit 32
//! on it counts how often this writer has deleted the stream.
//! `together` is odd while several streams are told of a round that they have in common: whoever sees
//! the new end of one waits until it is even, and sees those of the others then.
//!
//! Nothing of it is ever synced: it says something only of a process that lives.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::storage::{Lock, SharedWords, Storage};
use crate::sync::{Arc, Mutex, lock};

/// The name of the file in the root.
pub(crate) const NAME: &str = ".ironwal.watermark";

const COUNT: usize = 0;
const EPOCH: usize = 1;
const WRITERS: usize = 2;
const TOGETHER: usize = 3;
const FIRST_STREAM: usize = 4;
const STREAM_WORDS: usize = 4;

/// How often it is looked whether several streams have been told of.
const TOGETHER_LOOKS_MAX: u32 = 10_000;

/// `changes` of a stream that was listed, and has only been appended to and pruned since.
const LISTED: u64 = 2;

/// For how many streams there is room at first.
const STREAMS_MIN: usize = 255;

/// What is told of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Even: how often it was changed other than by appending and pruning.
    pub(crate) changes: u64,
    pub(crate) first_id: u64,
    pub(crate) next_id: u64,
}

/// Where the count of deletions begins in `changes` and `writers`.
const LIVES_SHIFT: u32 = 32;
const WRITERS_MASK: u64 = (1 << LIVES_SHIFT) - 1;

/// The writer's side, for all streams.
#[derive(Debug)]
pub(crate) struct Marks {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    /// `None`: nothing is told, and readers wait for the end of this process.
    table: Mutex<Option<Table>>,
}

#[derive(Debug)]
struct Table {
    words: Arc<dyn SharedWords>,
    epoch: u64,
    /// Where each stream is, by its number.
    places: BTreeMap<u64, usize>,
    _lock: Option<Box<dyn Lock>>,
}

/// The writer's side of one stream.
#[derive(Debug)]
pub(crate) struct Mark {
    words: Arc<dyn SharedWords>,
    at: usize,
}

impl Marks {
    /// Begins a watermark in `root`, whose lock this process has; it does not hold yet. Without the
    /// means to, nothing is told.
    pub(crate) fn begin(storage: &Arc<dyn Storage>, root: &Path) -> Self {
        let path = root.join(NAME);
        let table = share(&**storage, &path, STREAMS_MIN).map(|words| {
            let writers = words.load(WRITERS);
            let epoch = (writers.wrapping_add(1) & WRITERS_MASK).max(1);
            words.store(EPOCH, 0);
            words.store(WRITERS, (writers & !WRITERS_MASK) | epoch);
            words.store(COUNT, 0);
            words.store(TOGETHER, 0);
            Table { words, epoch, places: BTreeMap::new(), _lock: None }
        });
        let table = Mutex::new(table.ok());
        Self { storage: Arc::clone(storage), path, table }
    }

    /// Tells nobody anything.
    pub(crate) fn none(storage: &Arc<dyn Storage>) -> Self {
        Self { storage: Arc::clone(storage), path: PathBuf::new(), table: Mutex::new(None) }
    }

    /// Recovery is over: from now on the watermark holds, until this is dropped.
    pub(crate) fn hold(&self) {
        let mut table = lock(&self.table);
        let Some(mut told) = table.take() else { return };
        told.words.store(EPOCH, told.epoch);
        // Somebody who stops while he looks whether it is locked keeps us from locking it.
        if let Ok(held) = self.storage.lock(&self.path) {
            told._lock = Some(held);
            *table = Some(told);
        }
    }

    /// The log is closed: the watermark holds no longer.
    pub(crate) fn end(&self) {
        *lock(&self.table) = None;
    }

    /// Lists a stream, before anything of it changes; `None` if nothing can be told.
    pub(crate) fn list(&self, number: u64, first_id: u64, next_id: u64) -> Option<Mark> {
        let mut table = lock(&self.table);
        let at = match table.as_mut()?.place(&*self.storage, &self.path, number) {
            Ok(at) => at,
            Err(error) => {
                tracing::warn!(%error, "no watermark any more: readers in other processes wait");
                // Those who were told something must not take that for news of today.
                table.as_ref()?.words.store(EPOCH, 0);
                // Gives up the lock too.
                *table = None;
                return None;
            }
        };
        let words = Arc::clone(&table.as_ref()?.words);
        let mark = Mark { words, at };
        mark.begin_change();
        mark.words.store(at, number.wrapping_add(1));
        mark.end_change(first_id, next_id);
        let listed = (at - FIRST_STREAM) / STREAM_WORDS + 1;
        let count = mark.words.load(COUNT);
        mark.words.store(COUNT, count.max(listed as u64));
        Some(mark)
    }
}

impl Table {
    /// Where the stream with this number is, or is going to be.
    fn place(&mut self, storage: &dyn Storage, path: &Path, number: u64) -> io::Result<usize> {
        if let Some(at) = self.places.get(&number) {
            return Ok(*at);
        }
        let count = self.places.len();
        let at = FIRST_STREAM + count * STREAM_WORDS;
        if at + STREAM_WORDS > self.words.count() {
            // The same memory, longer.
            self.words = share(storage, path, 2 * count + 1)?;
        }
        self.words.store(at + 1, 0);
        self.places.insert(number, at);
        Ok(at)
    }
}

fn share(storage: &dyn Storage, path: &Path, streams: usize) -> io::Result<Arc<dyn SharedWords>> {
    let words = storage.share(path, FIRST_STREAM + streams * STREAM_WORDS)?;
    if words.count() < FIRST_STREAM + streams * STREAM_WORDS {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(words)
}

impl Mark {
    /// Entries up to `next_id` are committed.
    pub(crate) fn committed(&self, next_id: u64) {
        self.words.store(self.at + 3, next_id);
    }

    /// Several streams are going to be told of what they have in common. Whoever calls it leads the
    /// rounds of the log.
    pub(crate) fn begin_together(&self) {
        self.words.store(TOGETHER, self.words.load(TOGETHER) | 1);
    }

    /// All of them have been.
    pub(crate) fn end_together(&self) {
        let together = self.words.load(TOGETHER);
        self.words.store(TOGETHER, (together | 1).wrapping_add(1));
    }

    /// Entries below `first_id` are pruned.
    pub(crate) fn pruned(&self, first_id: u64) {
        self.words.store(self.at + 2, first_id);
    }

    /// Something is going to change that readers cannot follow step by step. Whoever calls it has
    /// the lead of the stream.
    pub(crate) fn begin_change(&self) {
        let changes = self.words.load(self.at + 1);
        self.words.store(self.at + 1, changes | 1);
    }

    /// Within a change: the stream is going to be deleted, and other files may take the place of those
    /// that are known. Whoever calls it keeps others from deleting another stream meanwhile.
    pub(crate) fn end_life(&self) {
        let lives = self.words.load(self.at + 1) >> LIVES_SHIFT;
        self.words.store(self.at + 1, (lives.wrapping_add(1) << LIVES_SHIFT) | 1);
        self.words.store(WRITERS, self.words.load(WRITERS).wrapping_add(1 << LIVES_SHIFT));
    }

    /// It has changed.
    pub(crate) fn end_change(&self, first_id: u64, next_id: u64) {
        self.pruned(first_id);
        self.committed(next_id);
        let changes = self.words.load(self.at + 1);
        self.words.store(self.at + 1, (changes | 1).wrapping_add(1));
    }
}

/// The reader's side, for all streams.
#[derive(Debug)]
pub(crate) struct Watermark {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    /// The lock of whoever writes, from before recovery on.
    lock_path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    words: Option<Arc<dyn SharedWords>>,
    epoch: u64,
    /// The epoch of a writer that is known to be gone. What it told last need not be all that it did, so
    /// no stream may be left at that while others are looked up in the files.
    gone: Option<u64>,
    places: BTreeMap<u64, usize>,
    /// How many streams are in `places`.
    count: usize,
}

/// Who writes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Nobody. `epoch` changes when somebody begins.
    Nobody { epoch: u64, lives: u64 },
    /// Somebody who cannot tell, or cannot tell yet, what is committed.
    Unknown,
    /// Somebody who tells; `None`: the stream is as it was when he had recovered it.
    Somebody { epoch: u64, lives: u64, told: Option<Told> },
}

impl Writing {
    /// Whether the stream has not been deleted since `before`, as one is that was restored.
    pub(crate) fn is_same_life(self, before: Self) -> bool {
        let of_stream = |told: Option<Told>| told.map_or(0, |told| told.changes >> LIVES_SHIFT);
        match (before, self) {
            (
                Self::Somebody { epoch: before, told: was, .. },
                Self::Somebody { epoch, told: is, .. },
            ) if epoch == before => of_stream(was) == of_stream(is),
            _ => self.lives() == before.lives(),
        }
    }

    /// Whether nothing but appending and pruning has happened to the stream since `before`.
    pub(crate) fn has_only_grown_since(self, before: Self) -> bool {
        match (before, self) {
            (
                Self::Somebody { epoch: before, told: was, .. },
                Self::Somebody { epoch, told: is, .. },
            ) if epoch == before => {
                let changes = |told: Option<Told>| told.map_or(LISTED, |told| told.changes);
                changes(was) == changes(is)
            }
            (Self::Nobody { .. }, now) => before == now,
            _ => false,
        }
    }

    /// How many streams all writers have deleted.
    fn lives(self) -> Option<u64> {
        match self {
            Self::Nobody { lives, .. } | Self::Somebody { lives, .. } => Some(lives),
            Self::Unknown => None,
        }
    }
}

impl Watermark {
    pub(crate) fn new(storage: Arc<dyn Storage>, root: &Path, lock_path: PathBuf) -> Self {
        Self { storage, path: root.join(NAME), lock_path, seen: Mutex::default() }
    }

    /// Whether nothing can have changed since `before` was found; costs no system call.
    pub(crate) fn is_as_before(&self, number: Option<u64>, before: Writing) -> bool {
        let mut seen = lock(&self.seen);
        let Some(words) = &seen.words else { return false };
        let epoch = words.load(EPOCH);
        match before {
            Writing::Nobody { epoch: seen, .. } => epoch == seen,
            Writing::Unknown => false,
            Writing::Somebody { epoch: seen_then, told, .. } => {
                epoch == seen_then
                    && seen.gone != Some(epoch)
                    && number.is_some()
                    && seen.told(number).is_ok_and(|now| now == told)
            }
        }
    }

    /// Who writes, and what he tells of the stream with this number.
    pub(crate) fn look(&self, number: Option<u64>) -> io::Result<Writing> {
        let mut seen = lock(&self.seen);
        if self.storage.is_locked(&self.path)? {
            let (epoch, lives) = self.map(&mut seen)?;
            return Ok(match seen.told(number) {
                Ok(told) if epoch != 0 => Writing::Somebody { epoch, lives, told },
                _ => Writing::Unknown,
            });
        }
        if self.storage.is_locked(&self.lock_path)? {
            return Ok(Writing::Unknown);
        }
        match self.map(&mut seen) {
            Ok((epoch, lives)) => {
                seen.gone = Some(epoch).filter(|epoch| *epoch != 0);
                Ok(Writing::Nobody { epoch, lives })
            }
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::Unsupported => {
                    Ok(Writing::Nobody { epoch: 0, lives: 0 })
                }
                _ => Err(error),
            },
        }
    }

    /// What this writer tells of all streams at one instant, by their numbers; `None` if there was none while
    /// it was looked: somebody committed, or changes something.
    ///
    /// Read twice with nothing changed in between, all of it was true at once, when the first reading was
    /// over: no end goes back without a count of `changes`.
    pub(crate) fn instant(&self, epoch: u64) -> Option<BTreeMap<u64, Told>> {
        let words = lock(&self.seen).words.clone()?;
        let together = words.load(TOGETHER);
        let (first, second) = (told_of_all(&*words, epoch)?, told_of_all(&*words, epoch)?);
        let is_one = together.is_multiple_of(2) && words.load(TOGETHER) == together;
        (is_one && first == second).then_some(first)
    }

    /// Maps what is shared by now; returns the epoch, and how many streams all writers have deleted.
    fn map(&self, seen: &mut Seen) -> io::Result<(u64, u64)> {
        let is_whole = |words: &Arc<dyn SharedWords>| {
            let count = usize::try_from(words.load(COUNT)).unwrap_or(usize::MAX);
            count <= words.count().saturating_sub(FIRST_STREAM) / STREAM_WORDS
        };
        let words = match seen.words.take() {
            Some(words) if is_whole(&words) => words,
            _ => self.storage.shared(&self.path)?,
        };
        let epoch = words.load(EPOCH);
        if epoch != seen.epoch {
            (seen.epoch, seen.count) = (epoch, 0);
            seen.places.clear();
        }
        let lives = words.load(WRITERS) >> LIVES_SHIFT;
        seen.words = Some(words);
        Ok((epoch, lives))
    }
}

/// What is told of all streams, one after the other; `None` while one is being changed.
fn told_of_all(words: &dyn SharedWords, epoch: u64) -> Option<BTreeMap<u64, Told>> {
    let listed = usize::try_from(words.load(COUNT)).ok()?;
    let room = words.count().saturating_sub(FIRST_STREAM) / STREAM_WORDS;
    if words.load(EPOCH) != epoch || listed > room {
        return None;
    }
    let told = |nth: usize| {
        let at = FIRST_STREAM + nth * STREAM_WORDS;
        let [number, changes, first_id, next_id] = [0, 1, 2, 3].map(|word| words.load(at + word));
        let told = Told { changes, first_id, next_id };
        changes.is_multiple_of(2).then_some((number.wrapping_sub(1), told))
    };
    (0..listed).map(told).collect()
}

impl Seen {
    /// What is told of a stream; an error while it is being changed.
    fn told(&mut self, number: Option<u64>) -> Result<Option<Told>, ()> {
        let (Some(number), Some(words)) = (number, &self.words) else { return Ok(None) };
        let listed = usize::try_from(words.load(COUNT)).unwrap_or(usize::MAX);
        if listed > words.count().saturating_sub(FIRST_STREAM) / STREAM_WORDS {
            return Err(());
        }
        while self.count < listed {
            let at = FIRST_STREAM + self.count * STREAM_WORDS;
            self.places.insert(words.load(at).wrapping_sub(1), at);
            self.count += 1;
        }
        let Some(&at) = self.places.get(&number) else { return Ok(None) };
        let changes = words.load(at + 1);
        let told = Told { changes, first_id: words.load(at + 2), next_id: words.load(at + 3) };
        if changes % 2 == 1 || words.load(at + 1) != changes {
            return Err(());
        }
        // After what is told: if that is of a round, the others of that round have been told then.
        let mut looks = 0;
        while words.load(TOGETHER) % 2 == 1 {
            looks += 1;
            if looks > TOGETHER_LOOKS_MAX {
                return Err(());
            }
            std::hint::spin_loop();
        }
        Ok(Some(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimDisk;

    const ROOT: &str = "/log";

    fn writer_and_reader() -> (Marks, Watermark) {
        let disk: Arc<dyn Storage> = Arc::new(SimDisk::new(1));
        let root = Path::new(ROOT);
        disk.create_dir(root).unwrap();
        let marks = Marks::begin(&disk, root);
        marks.hold();
        (marks, Watermark::new(disk, root, root.join("lock")))
    }

    fn epoch(reader: &Watermark) -> u64 {
        match reader.look(None).unwrap() {
            Writing::Somebody { epoch, .. } => epoch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_instant_is_within_a_round_of_several_streams() {
        let (marks, reader) = writer_and_reader();
        let (a, b) = (marks.list(1, 0, 0).unwrap(), marks.list(2, 0, 0).unwrap());
        let epoch = epoch(&reader);
        let ends = || {
            let told = reader.instant(epoch)?;
            Some([1, 2].map(|number| told[&number].next_id))
        };
        assert_eq!(ends(), Some([0, 0]));
        a.begin_together();
        assert_eq!(ends(), None);
        a.committed(5);
        assert_eq!(ends(), None);
        b.committed(7);
        b.end_together();
        assert_eq!(ends(), Some([5, 7]));
    }

    /// Shared memory in which something happens after each look at one word.
    struct Busy<F> {
        words: Arc<dyn SharedWords>,
        index: usize,
        happens: F,
    }

    impl<F> std::fmt::Debug for Busy<F> {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.words.fmt(formatter)
        }
    }

    impl<F: Fn() + Send + Sync> SharedWords for Busy<F> {
        fn count(&self) -> usize {
            self.words.count()
        }
        fn load(&self, index: usize) -> u64 {
            let word = self.words.load(index);
            if index == self.index {
                (self.happens)();
            }
            word
        }
        fn store(&self, index: usize, word: u64) {
            self.words.store(index, word);
        }
    }

    /// Has something happen whenever the reader has looked at this word.
    fn meanwhile(reader: &Watermark, index: usize, happens: impl Fn() + Send + Sync + 'static) {
        let mut seen = lock(&reader.seen);
        let words = seen.words.take().unwrap();
        seen.words = Some(Arc::new(Busy { words, index, happens }));
    }

    #[test]
    fn no_instant_is_while_somebody_appends() {
        let (marks, reader) = writer_and_reader();
        let mark = marks.list(1, 0, 0).unwrap();
        let epoch = epoch(&reader);
        meanwhile(&reader, FIRST_STREAM + 3, move || {
            let next_id = mark.words.load(mark.at + 3);
            mark.committed((next_id + 1).min(20));
        });
        for _ in 0..10 {
            assert_eq!(reader.instant(epoch), None);
        }
        assert_eq!(reader.instant(epoch).unwrap()[&1].next_id, 20);
    }

    #[test]
    fn no_instant_is_where_a_round_of_several_streams_begins() {
        let (marks, reader) = writer_and_reader();
        let a = marks.list(1, 0, 0).unwrap();
        marks.list(2, 0, 0).unwrap();
        let epoch = epoch(&reader);
        meanwhile(&reader, TOGETHER, move || {
            a.begin_together();
            a.committed(5);
        });
        assert_eq!(reader.instant(epoch), None);
    }
}
