//! What a log must hold, as a model: the judge of every simulation.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ironwal::storage::{SimDisk, Storage};
use ironwal::{Environment, Journal, Maintenance, Wal, WalOptions, WriteStrategy};

use crate::hooked::Hooked;

/// Opens the log on a simulated disk, as one process of its own, deterministically.
pub(crate) fn open(disk: &SimDisk, options: &WalOptions) -> ironwal::Result<Wal> {
    open_on(Arc::new(disk.process()), options)
}

/// The same on any disk.
pub(crate) fn open_on(storage: Arc<dyn Storage>, options: &WalOptions) -> ironwal::Result<Wal> {
    open_at(storage, options, || Duration::ZERO)
}

/// The same by any clock.
pub(crate) fn open_at(
    storage: Arc<dyn Storage>,
    options: &WalOptions,
    clock: impl Fn() -> Duration + Send + Sync + 'static,
) -> ironwal::Result<Wal> {
    Wal::open_with(options.clone(), environment_at(storage, clock))
}

/// What is chosen of the environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Which appends go to the journal.
    pub(crate) journal: Journal,
    /// How long its files become.
    pub(crate) journal_len_max: u64,
    pub(crate) write_strategy: WriteStrategy,
    /// How long a sync of a file takes by the clock, in milliseconds.
    pub(crate) sync_ms: u64,
}

impl Setup {
    /// The same environment with these choices.
    pub(crate) fn apply(self, environment: Environment) -> Environment {
        environment
            .with_journal(self.journal)
            .with_journal_size(self.journal_len_max)
            .with_write_strategy(self.write_strategy)
    }

    /// Lets syncs take time by a clock, which counts milliseconds.
    pub(crate) fn slow_down(self, disk: Hooked, clock: &Arc<AtomicU64>) -> Hooked {
        let clock = Arc::clone(clock);
        disk.before_sync(move || {
            clock.fetch_add(self.sync_ms, Ordering::Relaxed);
        })
    }
}

/// The processes that have opened a log.
#[derive(Debug, Default)]
pub(crate) struct Processes(Mutex<Vec<Weak<dyn Storage>>>);

impl Processes {
    /// The storage of the next one.
    pub(crate) fn begin(&self, storage: impl Storage) -> Arc<dyn Storage> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        self.0.lock().unwrap().push(Arc::downgrade(&storage));
        storage
    }

    /// All handles have been dropped: nothing of a log may be left in memory.
    pub(crate) fn check_gone(&self) {
        let left = self.0.lock().unwrap().iter().filter(|it| it.strong_count() > 0).count();
        assert_eq!(left, 0, "logs without a handle that are in memory for ever");
    }
}

/// The same with these choices.
pub(crate) fn open_with_setup(
    storage: Arc<dyn Storage>,
    options: &WalOptions,
    setup: Setup,
    clock: impl Fn() -> Duration + Send + Sync + 'static,
) -> ironwal::Result<Wal> {
    Wal::open_with(options.clone(), setup.apply(environment_at(storage, clock)))
}

/// An environment of one thread, with a clock.
pub(crate) fn environment_at(
    storage: Arc<dyn Storage>,
    clock: impl Fn() -> Duration + Send + Sync + 'static,
) -> Environment {
    Environment::default()
        .with_storage(storage)
        .with_entropy(|| 0x5A17)
        .with_clock(clock)
        .with_maintenance(Maintenance::Inline)
}

/// What is known of one stream: of its present life, from its first append to its deletion, and of
/// earlier ones as far as they may be in the archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamModel {
    /// The committed entries from id 0 on, those that were pruned included.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Ids below this one are pruned.
    pub(crate) first: u64,
    /// Ids below this one are in no archive either: it was not archived whole when it was deleted.
    pub(crate) origin: u64,
    /// Where the appends begin that the entries came in: a crash never cuts one through.
    bounds: Vec<usize>,
    /// How many entries must survive power loss.
    pub(crate) power_safe: usize,
    /// What failed, of which it is open whether it was done.
    doubt: Option<Doubt>,
    /// A deletion failed: the stream is there whole or gone.
    may_be_gone: bool,
    /// A restoration of a deleted stream failed: the stream is there as it was archived, or not.
    may_be_back: bool,
    /// It was deleted, and nothing was appended since.
    is_deleted: bool,
    /// Lives that were deleted, oldest first.
    past: Vec<Past>,
}

/// What failed and poisoned the stream. Only one thing can.
#[derive(Debug, Clone)]
enum Doubt {
    /// An append: whole or not.
    Append(Vec<Vec<u8>>),
    /// Several appends of one entry, in this order: any number of the first of them.
    Appends(Vec<Vec<u8>>),
    /// A part of the batch over several streams with this number: whole or not, as all its parts.
    Part(Vec<Vec<u8>>, u64),
    /// A cut to this end. The process that failed may see it done.
    Cut { end: usize, seen: bool },
    /// Something that moves the first id.
    First(RangeInclusive<u64>),
}

/// A life that ended.
#[derive(Debug, Clone)]
struct Past {
    entries: Vec<Vec<u8>>,
    bounds: Vec<usize>,
    /// Entries below this id are in the archive.
    archived_to: u64,
}

/// What a stream looks like.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Whether it is listed.
    pub(crate) listed: bool,
    pub(crate) first: u64,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// What is known of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) streams: BTreeMap<String, StreamModel>,
    /// How many batches over several streams failed, of which it is open whether they were done.
    batches: u64,
}

/// What has become of a part of a batch over several streams: the batch, and whether it is there.
type Fate = (u64, bool);

impl Doubt {
    /// What may be there behind the committed entries.
    fn appended(&self) -> Option<&Vec<Vec<u8>>> {
        match self {
            Self::Append(entries) | Self::Appends(entries) | Self::Part(entries, _) => {
                Some(entries)
            }
            Self::Cut { .. } | Self::First(_) => None,
        }
    }
}

/// The worst that happened since the log was last seen whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum After {
    /// It was closed.
    Close,
    /// The process was killed.
    Kill,
    /// A sync failed, so what was not durable may be gone from the page cache too; or the power was
    /// lost.
    PowerLoss,
}

impl Seen {
    fn end(&self) -> usize {
        self.first as usize + self.entries.len()
    }
}

impl StreamModel {
    /// The id behind the last committed entry, as this process sees it.
    pub(crate) fn end(&self) -> usize {
        match self.doubt {
            Some(Doubt::Cut { end, seen: true }) => end,
            _ => self.entries.len(),
        }
    }

    /// The entry that must be readable at `id`, if one must.
    pub(crate) fn entry(&self, id: u64) -> Option<&Vec<u8>> {
        let is_kept = id >= self.first && id < self.end() as u64;
        if is_kept { self.entries.get(id as usize) } else { None }
    }

    /// Whether this process may have lost sight of it.
    pub(crate) fn is_in_limbo(&self) -> bool {
        self.may_be_gone || self.may_be_back
    }

    /// Whether something failed, so that nothing is appended any more.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some() || self.is_in_limbo()
    }

    /// An append was acknowledged.
    pub(crate) fn committed(&mut self, entries: &[Vec<u8>], power_safe: bool) {
        assert!(self.doubt.is_none(), "an append succeeded on a poisoned stream");
        self.bounds.push(self.entries.len());
        self.entries.extend_from_slice(entries);
        (self.is_deleted, self.may_be_back) = (false, false);
        if power_safe {
            self.synced();
        }
    }

    /// Everything was made durable.
    pub(crate) fn synced(&mut self) {
        if !matches!(self.doubt, Some(Doubt::Cut { .. })) {
            self.power_safe = self.entries.len();
        }
    }

    /// An append was refused; it may have been written. Later ones on a poisoned stream are not.
    pub(crate) fn failed(&mut self, entries: &[Vec<u8>]) {
        self.is_deleted = false;
        self.doubt.get_or_insert_with(|| Doubt::Append(entries.to_vec()));
    }

    /// Several appends were refused, and may have been written one by one.
    pub(crate) fn failed_one_by_one(&mut self, entries: &[Vec<u8>]) {
        self.is_deleted = false;
        self.doubt.get_or_insert_with(|| Doubt::Appends(entries.to_vec()));
    }

    /// An append failed before anything of it was written. Its segment may be there, empty.
    pub(crate) fn tried(&mut self) {
        self.is_deleted = false;
    }

    /// Everything from `end` on was cut off, for ever.
    pub(crate) fn cut(&mut self, end: u64) {
        assert!(self.doubt.is_none(), "a cut succeeded on a poisoned stream");
        if end == self.first {
            // The segment may be gone that held pruned entries, which were in no archive yet.
            self.origin = end;
        }
        self.entries.truncate(end as usize);
        self.bounds.retain(|bound| *bound < end as usize);
        self.synced();
    }

    /// A cut failed and poisoned the stream; `seen`: the process sees it done.
    pub(crate) fn cut_failed(&mut self, end: u64, seen: bool) {
        let end = end as usize;
        self.doubt.get_or_insert(Doubt::Cut { end, seen });
    }

    /// The first id is another one now, durably, and with it everything behind.
    pub(crate) fn first_is(&mut self, first: u64) {
        self.first = first;
        self.synced();
    }

    /// The first id was to be moved to one of these; that failed and poisoned the stream.
    pub(crate) fn first_may_be(&mut self, firsts: RangeInclusive<u64>) {
        self.doubt.get_or_insert(Doubt::First(firsts));
    }

    /// It was deleted, for ever. Entries below `archived_to` are in the archive.
    pub(crate) fn deleted(&mut self, archived_to: u64) {
        let life = std::mem::take(self);
        let archived_to = if life.origin == 0 { archived_to } else { 0 };
        self.past = life.past;
        let bounds = life.bounds.into_iter().chain([life.entries.len()]).collect();
        self.past.push(Past { entries: life.entries, bounds, archived_to });
        self.is_deleted = true;
    }

    /// Its deletion failed.
    pub(crate) fn may_be_gone(&mut self) {
        self.may_be_gone = true;
    }

    /// A restoration of an earlier life failed.
    pub(crate) fn may_be_back(&mut self) {
        self.may_be_back = true;
    }

    /// A restoration found nothing in the archive.
    pub(crate) fn nothing_was_archived(&self, name: &str) {
        let lost = self.past.iter().find(|past| past.archived_to > 0);
        assert!(lost.is_none(), "stream {name}: what was archived of a deleted stream is gone");
    }

    /// An earlier life was restored, as far as it was archived.
    pub(crate) fn is_back(&mut self, name: &str, seen: &Seen) {
        let (start, end) = (seen.first as usize, seen.end());
        let mut newer_are_empty = true;
        let found = self.past.iter().rposition(|past| {
            let fits = newer_are_empty
                && past.bounds.contains(&end)
                && end >= past.archived_to as usize
                && (past.archived_to == 0 || start == 0)
                && past.entries.get(start..end) == Some(&seen.entries[..]);
            newer_are_empty &= past.archived_to == 0;
            fits
        });
        let Some(nth) = found else {
            let lives: Vec<_> =
                self.past.iter().map(|past| (past.entries.len(), past.archived_to)).collect();
            panic!(
                "stream {name}: {start}..{end} was restored, which was never archived: {lives:?}"
            );
        };
        let mut life = self.past.remove(nth);
        life.entries.truncate(end);
        life.bounds.retain(|bound| *bound < end);
        self.entries = life.entries;
        self.bounds = life.bounds;
        (self.first, self.origin) = (seen.first, seen.first);
        self.power_safe = end;
        (self.may_be_gone, self.may_be_back, self.is_deleted) = (false, false, false);
        self.doubt = None;
    }

    /// Checks what was recovered, and takes it for what is known from now on.
    fn recovered(&mut self, name: &str, seen: Seen, after: After) -> Option<Fate> {
        if self.may_be_gone && !seen.listed {
            assert_eq!(seen.end(), 0, "stream {name}");
            // What was archived of it is not known that exactly.
            self.deleted(0);
            return None;
        }
        let appended = self.doubt.as_ref().and_then(Doubt::appended);
        let is_new = appended.is_some_and(|entries| entries.starts_with(&seen.entries));
        let batch = match self.doubt {
            Some(Doubt::Part(_, batch)) => Some(batch),
            _ => None,
        };
        if self.may_be_back && self.entries.is_empty() && seen.end() > 0 && !is_new {
            self.is_back(name, &seen);
            return batch.map(|batch| (batch, false));
        }
        assert!(!(self.is_deleted && seen.listed), "stream {name} is back");
        self.check_end(name, &seen, after);
        let firsts = match &self.doubt {
            Some(Doubt::First(firsts)) => firsts.clone(),
            _ => self.first..=self.first,
        };
        assert!(
            seen.first == self.first || firsts.contains(&seen.first),
            "stream {name} begins at {}, it began at {}, and {firsts:?} was possible",
            seen.first,
            self.first
        );
        let (start, end) = (seen.first as usize, seen.end());
        let fate = batch.map(|batch| (batch, end > self.entries.len()));
        match self.doubt.take() {
            Some(Doubt::Append(entries) | Doubt::Part(entries, _)) => {
                self.bounds.push(self.entries.len());
                self.entries.extend(entries);
            }
            Some(Doubt::Appends(entries)) => {
                self.bounds.extend((0..entries.len()).map(|nth| self.entries.len() + nth));
                self.entries.extend(entries);
            }
            _ => {}
        }
        for (id, (found, expected)) in
            (start..).zip(seen.entries.iter().zip(&self.entries[start..]))
        {
            assert_eq!(found, expected, "stream {name}: entry {id} differs");
        }
        self.entries.truncate(end);
        self.bounds.retain(|bound| *bound < end);
        self.first = seen.first;
        self.power_safe = end;
        (self.may_be_gone, self.may_be_back) = (false, false);
        fate
    }

    fn check_end(&self, name: &str, seen: &Seen, after: After) {
        let committed = self.entries.len();
        let mut bounds = self.bounds.clone();
        bounds.push(committed);
        let mut all = committed;
        match &self.doubt {
            Some(Doubt::Append(entries) | Doubt::Part(entries, _)) => {
                all += entries.len();
                bounds.push(all);
            }
            Some(Doubt::Appends(entries)) => {
                all += entries.len();
                bounds.extend(committed..=all);
            }
            Some(Doubt::Cut { end, .. }) if seen.end() == *end => return,
            _ => {}
        }
        let floor = match after {
            After::Close | After::Kill => committed,
            After::PowerLoss => self.power_safe,
        };
        let end = seen.end();
        assert!(
            end >= floor,
            "stream {name}: {end} entries recovered, {floor} were acknowledged ({after:?})"
        );
        assert!(end <= all, "stream {name}: {end} entries, {all} were ever appended");
        assert!(bounds.contains(&end), "stream {name}: a batch was cut through at {end}");
    }
}

impl Model {
    /// The model of a stream.
    pub(crate) fn stream(&mut self, name: &str) -> &mut StreamModel {
        self.streams.entry(name.to_string()).or_default()
    }

    /// A batch over several streams was acknowledged: it survives power loss in every mode, and so
    /// does what is below it.
    pub(crate) fn committed_together(&mut self, parts: &BTreeMap<&str, Vec<Vec<u8>>>) {
        for (name, entries) in parts {
            self.stream(name).committed(entries, true);
        }
    }

    /// A batch over several streams was refused. If that poisoned all of them, it may be there, whole.
    pub(crate) fn failed_together(
        &mut self,
        parts: &BTreeMap<&str, Vec<Vec<u8>>>,
        all_poisoned: bool,
    ) {
        let was_in_doubt = parts.keys().any(|name| self.stream(name).doubt.is_some());
        self.batches += 1;
        let batch = self.batches;
        for (name, entries) in parts {
            let stream = self.stream(name);
            stream.tried();
            if all_poisoned && !was_in_doubt {
                stream.doubt = Some(Doubt::Part(entries.clone(), batch));
            }
        }
    }

    /// Checks everything that was recovered.
    pub(crate) fn recovered(&mut self, wal: &Wal, after: After) {
        for name in wal.streams() {
            assert!(self.streams.contains_key(&name), "stream {name} was invented");
        }
        let mut fates: BTreeMap<u64, Vec<(&str, bool)>> = BTreeMap::new();
        for (name, stream) in &mut self.streams {
            if let Some((batch, is_there)) = stream.recovered(name, see(wal, name), after) {
                fates.entry(batch).or_default().push((name, is_there));
            }
            let handle = wal.stream(name).unwrap();
            let end = stream.entries.len() as u64;
            assert_eq!((handle.next_id(), handle.durable_end()), (end, end), "stream {name}");
        }
        // What was deleted or restored since is no part any more.
        for parts in fates.values() {
            let is_there = parts[0].1;
            assert!(parts.iter().all(|part| part.1 == is_there), "a batch is split: {parts:?}");
        }
    }

    /// Checks that exactly what is committed can be read.
    pub(crate) fn check_reads(&self, wal: &Wal) {
        for (name, stream) in &self.streams {
            if stream.is_in_limbo() {
                continue;
            }
            let seen = see(wal, name);
            assert_eq!(seen.first, stream.first, "stream {name}");
            let expected = &stream.entries[stream.first as usize..stream.end()];
            assert_eq!(seen.entries, expected, "stream {name}");
            for id in [0, stream.first.saturating_sub(1), stream.first, seen.end() as u64] {
                let found = wal.get(name, id).unwrap();
                assert_eq!(found.as_ref(), stream.entry(id), "stream {name}: {id}");
            }
        }
    }
}

/// What a stream looks like, read in order, with its ids checked.
pub(crate) fn see(wal: &Wal, name: &str) -> Seen {
    let handle = wal.stream(name).unwrap();
    let first = handle.first_id();
    let mut entries = Vec::new();
    for entry in wal.iter_with_ids(name, 0).unwrap() {
        let (id, entry) = entry.unwrap();
        assert_eq!(id, first + entries.len() as u64, "stream {name}: ids are not consecutive");
        entries.push(entry);
    }
    assert_eq!(handle.next_id(), first + entries.len() as u64, "stream {name}: not all was read");
    Seen { listed: wal.streams().iter().any(|listed| listed == name), first, entries }
}
