//! Appends, batches and submitted appends of several threads to a few streams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ironwal::{Environment, Journal, Pending, Result, Wal};

use super::{Workload, entry, noise, options, report, who};

pub(crate) const STREAMS: [&str; 3] = ["accounts", "orders", "audit"];
const THREADS: u64 = 4;

/// Single appends, batches, and appends that are waited for later.
pub(crate) type Plain = Streams<false>;

/// The same with batches over several streams, and a journal that is small and used by every append.
pub(crate) type Together = Streams<true>;

/// One operation of one thread of one child. Everything else about it follows from these numbers, so
/// that an entry found in the log can be compared with the one that was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation {
    pub(crate) run: u64,
    pub(crate) thread: u64,
    pub(crate) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    Batch,
    /// A batch over all streams.
    Together,
    /// Appends to one stream that are waited for once all are submitted.
    Submitted,
}

/// Entries of an operation that are in one stream, there whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) stream: usize,
    /// Its first entry, among all of the operation.
    first: u64,
    pub(crate) count: u64,
}

impl Operation {
    fn noise(self) -> u64 {
        noise(self.run, self.thread, self.number)
    }

    pub(crate) fn kind(self, together: bool) -> Kind {
        match self.noise() >> 8 & 15 {
            0..7 => Kind::Single,
            7..9 => Kind::Submitted,
            9..12 if together => Kind::Together,
            _ => Kind::Batch,
        }
    }

    pub(crate) fn pieces(self, together: bool) -> Vec<Piece> {
        let stream = (self.noise() % STREAMS.len() as u64) as usize;
        let few = 2 + (self.noise() >> 16) % 20;
        let is_large = (self.noise() >> 24).is_multiple_of(8);
        match self.kind(together) {
            Kind::Single => vec![Piece { stream, first: 0, count: 1 }],
            Kind::Batch => vec![Piece { stream, first: 0, count: if is_large { 50 } else { few } }],
            Kind::Submitted => (0..few).map(|first| Piece { stream, first, count: 1 }).collect(),
            Kind::Together => {
                let each = 1 + few / 4;
                let piece = |stream| Piece { stream, first: stream as u64 * each, count: each };
                (0..STREAMS.len()).map(piece).collect()
            }
        }
    }

    pub(crate) fn entries(self, piece: Piece) -> Vec<Vec<u8>> {
        let Self { run, thread, number } = self;
        let places = piece.first..piece.first + piece.count;
        places.map(|nth| entry([run, thread, number, nth])).collect()
    }

    /// Returns the first id of each piece.
    pub(crate) fn append(self, wal: &Wal, together: bool) -> Result<Vec<u64>> {
        let pieces = self.pieces(together);
        let name = STREAMS[pieces[0].stream];
        let entries = self.entries(pieces[0]);
        Ok(match self.kind(together) {
            Kind::Single => vec![wal.append(name, &entries[0])?],
            Kind::Batch => {
                let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                vec![wal.append_batch(name, &entries)?.start]
            }
            Kind::Submitted => {
                let stream = wal.stream(name)?;
                let entries = pieces.iter().map(|piece| self.entries(*piece).remove(0));
                let pending: Vec<_> =
                    entries.map(|entry| stream.submit(&entry)).collect::<Result<_>>()?;
                pending.into_iter().map(Pending::wait).collect::<Result<_>>()?
            }
            Kind::Together => {
                let mut batch = wal.batch();
                for piece in &pieces {
                    batch.append_all(STREAMS[piece.stream], self.entries(*piece));
                }
                let ids = batch.commit()?;
                pieces.iter().map(|piece| ids[STREAMS[piece.stream]].start).collect()
            }
        })
    }
}

/// What the children said they had appended, and what their log held when it was last looked at.
pub(crate) struct Streams<const TOGETHER: bool> {
    mode: String,
    /// The first id of every piece of every acknowledged operation.
    acknowledged: BTreeMap<Operation, Vec<u64>>,
    /// Operations that returned an error: they may be there.
    failed: BTreeSet<Operation>,
    /// All entries of each stream.
    found: [Vec<Vec<u8>>; STREAMS.len()],
    /// Where the pieces of each operation were found.
    seen: BTreeMap<Operation, BTreeMap<u64, u64>>,
}

pub(crate) fn open(dir: &Path, mode: &str, together: bool) -> Result<Wal> {
    let environment = Environment::default();
    let environment = match together {
        true => environment.with_journal(Journal::On).with_journal_size(64 * 1024),
        false => environment,
    };
    Wal::open_with(options(dir, mode), environment)
}

impl<const TOGETHER: bool> Workload for Streams<TOGETHER> {
    const NAME: &str = if TOGETHER { "together" } else { "streams" };

    fn work(dir: &Path, mode: &str, run: u64) {
        let wal = open(dir, mode, TOGETHER).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let wal = &wal;
                scope.spawn(move || {
                    for number in 0.. {
                        let ids = Operation { run, thread, number }.append(wal, TOGETHER).unwrap();
                        report([thread, number].into_iter().chain(ids));
                    }
                });
            }
        });
    }

    fn new(mode: &str) -> Self {
        Self {
            mode: mode.to_string(),
            acknowledged: BTreeMap::new(),
            failed: BTreeSet::new(),
            found: Default::default(),
            seen: BTreeMap::new(),
        }
    }

    fn hear(&mut self, run: u64, report: &[u64]) {
        let [thread, number, ids @ ..] = report else { panic!("report {report:?}") };
        let operation = Operation { run, thread: *thread, number: *number };
        self.acknowledged.insert(operation, ids.to_vec());
    }

    fn check(&mut self, dir: &Path, run: u64) {
        let wal = open(dir, &self.mode, TOGETHER).unwrap();
        for (nth, stream) in STREAMS.iter().enumerate() {
            let entries = read(&wal, stream);
            let before = &self.found[nth];
            assert!(
                entries.len() >= before.len() && entries[..before.len()] == before[..],
                "{}, run {run}: {stream:?} lost entries that had been read",
                self.mode
            );
            self.found[nth] = entries;
        }
        self.look();
        self.check_acknowledged();
        self.check_nothing_invented();

        // And it goes on: one more operation, of a thread that no child has.
        let operation = Operation { run, thread: THREADS, number: 0 };
        let ids = operation.append(&wal, TOGETHER).unwrap();
        for (piece, id) in operation.pieces(TOGETHER).into_iter().zip(&ids) {
            let found = &mut self.found[piece.stream];
            assert_eq!(*id, found.len() as u64, "{}, run {run}: {operation:?}", self.mode);
            found.extend(operation.entries(piece));
        }
        self.acknowledged.insert(operation, ids);
        wal.close().unwrap();
    }
}

impl<const TOGETHER: bool> Streams<TOGETHER> {
    pub(crate) fn hear_failed(&mut self, operation: Operation) {
        self.failed.insert(operation);
    }

    /// Finds the pieces of all operations: each is whole, what was meant, and there once.
    fn look(&mut self) {
        let mode = &self.mode;
        self.seen.clear();
        for (stream, entries) in self.found.iter().enumerate() {
            let mut id = 0;
            while let Some(entry) = entries.get(id) {
                let [run, thread, number, nth] = who(entry);
                let operation = Operation { run, thread, number };
                let pieces = operation.pieces(TOGETHER);
                let piece = pieces.iter().find(|piece| piece.first == nth);
                let piece =
                    piece.unwrap_or_else(|| panic!("{mode}: half of {operation:?} at {id}"));
                assert_eq!(piece.stream, stream, "{mode}: {operation:?} in a wrong stream");
                let meant = operation.entries(*piece);
                let there = entries.get(id..id + meant.len());
                assert_eq!(there, Some(&meant[..]), "{mode}: {operation:?} at id {id}");
                let first = self.seen.entry(operation).or_default().insert(nth, id as u64);
                assert_eq!(first, None, "{mode}: {operation:?} is there twice");
                id += meant.len();
            }
        }
    }

    /// Every acknowledged piece is at its id.
    fn check_acknowledged(&self) {
        for (operation, ids) in &self.acknowledged {
            let pieces = operation.pieces(TOGETHER);
            assert_eq!(pieces.len(), ids.len(), "{operation:?}");
            for (piece, id) in pieces.iter().zip(ids) {
                let there = self.seen.get(operation).and_then(|seen| seen.get(&piece.first));
                assert_eq!(there, Some(id), "{}: acknowledged {operation:?}", self.mode);
            }
        }
    }

    /// Every operation that is there was acknowledged or under way; a batch over several streams is
    /// there whole, and of what was submitted the first.
    fn check_nothing_invented(&self) {
        let mode = &self.mode;
        for (operation, seen) in &self.seen {
            let pieces = operation.pieces(TOGETHER);
            if operation.kind(TOGETHER) == Kind::Together {
                assert_eq!(seen.len(), pieces.len(), "{mode}: only a part of {operation:?}");
            }
            assert!(
                pieces.iter().map(|piece| &piece.first).take(seen.len()).eq(seen.keys()),
                "{mode}: {operation:?} with a gap: {seen:?}"
            );
            if operation.kind(TOGETHER) == Kind::Submitted {
                assert!(seen.values().is_sorted(), "{mode}: {operation:?} out of order: {seen:?}");
            }
            // A thread begins an operation only after it has reported the one before.
            let previous = operation.number.checked_sub(1);
            let begun = previous.is_none_or(|number| {
                let previous = Operation { number, ..*operation };
                self.acknowledged.contains_key(&previous) || self.failed.contains(&previous)
            });
            assert!(begun, "{mode}: {operation:?} was never begun");
        }
    }
}

/// All entries of a stream. Fails if there is damage or a gap.
fn read(wal: &Wal, stream: &str) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in wal.iter_with_ids(stream, 0).unwrap() {
        let (id, entry) = entry.unwrap();
        assert_eq!(id, entries.len() as u64, "a gap in {stream:?}");
        entries.push(entry);
    }
    entries
}
