//! Streams that are appended to, rotated, pruned, cut off and deleted, each by a thread of its own.
//!
//! A child says what it is about to do to a stream and where the stream begins and ends afterwards. So
//! after a kill at most one change of each stream is open, and it has happened or it has not.

use std::path::Path;

use fastrand::Rng;
use ironwal::{Stream, Wal};

use super::{Workload, entry, options, report, who};

const STREAMS: u64 = 5;

/// What a report is about, behind the stream.
const FOUND: u64 = 0;
const BEGINS: u64 = 1;
const DONE: u64 = 2;

#[derive(Debug, Clone, Copy)]
enum Change {
    /// So many entries, of which each knows the run and the serial number of the change.
    Append {
        serial: u64,
        count: u64,
    },
    Rotate,
    /// Every entry below the id.
    Prune(u64),
    /// Segments all of whose entries are below the id.
    PruneSegments(u64),
    /// Every entry from the id on.
    Cut(u64),
    Delete,
}

impl Change {
    fn any(rng: &mut Rng, serial: u64, stream: &Stream) -> Self {
        let (first, next) = (stream.first_id(), stream.next_id());
        match rng.u8(..24) {
            0..10 => Self::Append { serial, count: 1 },
            10..17 => Self::Append { serial, count: rng.u64(2..60) },
            17 => Self::Rotate,
            18 => Self::Prune(rng.u64(first..=next)),
            19 | 20 => Self::PruneSegments(rng.u64(first..=next)),
            21 | 22 if first < next => Self::Cut(rng.u64(first + 1..=next)),
            22 if first == 0 => Self::Cut(0),
            23 if rng.bool() => Self::Delete,
            _ => Self::Append { serial, count: 2 },
        }
    }

    fn numbers(self) -> [u64; 3] {
        match self {
            Self::Append { serial, count } => [0, serial, count],
            Self::Rotate => [1, 0, 0],
            Self::Prune(id) => [2, id, 0],
            Self::PruneSegments(id) => [3, id, 0],
            Self::Cut(end) => [4, end, 0],
            Self::Delete => [5, 0, 0],
        }
    }

    fn of(numbers: [u64; 3]) -> Self {
        match numbers {
            [0, serial, count] => Self::Append { serial, count },
            [1, ..] => Self::Rotate,
            [2, id, _] => Self::Prune(id),
            [3, id, _] => Self::PruneSegments(id),
            [4, end, _] => Self::Cut(end),
            [5, ..] => Self::Delete,
            other => panic!("no change: {other:?}"),
        }
    }

    fn make(self, wal: &Wal, stream: &mut Stream, nth: u64, run: u64) {
        match self {
            Self::Append { serial, count: 1 } => {
                stream.append(&entry([run, nth, serial, 0])).unwrap();
            }
            Self::Append { serial, count } => {
                let entries: Vec<_> =
                    (0..count).map(|place| entry([run, nth, serial, place])).collect();
                let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
                stream.append_batch(&entries).unwrap();
            }
            Self::Rotate => stream.rotate().unwrap(),
            Self::Prune(id) => _ = stream.truncate_before(id).unwrap(),
            Self::PruneSegments(id) => _ = wal.truncate(stream.name(), id).unwrap(),
            Self::Cut(end) => stream.truncate_after(end.checked_sub(1)).unwrap(),
            Self::Delete => {
                let name = stream.name().to_string();
                wal.delete_stream(&name).unwrap();
                *stream = wal.stream(&name).unwrap();
            }
        }
    }
}

fn name(nth: u64) -> String {
    format!("stream {nth}")
}

/// What is known of a stream.
#[derive(Debug, Default)]
struct Known {
    first: u64,
    /// Who is at each id, from 0 on, also where it is pruned.
    entries: Vec<[u64; 4]>,
    /// The change that was begun, and its run.
    open: Option<(u64, Change)>,
}

impl Known {
    /// Where the stream begins and ends now: as before the change that is open, or as after it.
    fn settle(&mut self, nth: u64, first: u64, next: u64, is_done: bool) {
        let before = (self.first, self.entries.len() as u64);
        let Some((run, change)) = self.open.take() else {
            assert_eq!((first, next), before, "stream {nth}: nothing was going on");
            return;
        };
        let after = match change {
            Change::Append { count, .. } => (before.0, before.1 + count),
            Change::Rotate => before,
            Change::Prune(id) => (id, before.1),
            Change::PruneSegments(id) => (first.clamp(before.0, id.max(before.0)), before.1),
            Change::Cut(end) => (before.0, end),
            Change::Delete => (0, 0),
        };
        let now = (first, next);
        let fits = now == after || !is_done && now == before;
        assert!(fits, "stream {nth} is {now:?}, {change:?} from {before:?}, done: {is_done}");
        if now == after {
            match change {
                Change::Append { serial, count } => {
                    self.entries.extend((0..count).map(|place| [run, nth, serial, place]));
                }
                Change::Cut(_) | Change::Delete => self.entries.truncate(next as usize),
                _ => {}
            }
        }
        self.first = first;
    }
}

pub(super) struct Changes {
    mode: String,
    streams: [Known; STREAMS as usize],
}

impl Workload for Changes {
    const NAME: &str = "changes";

    fn work(dir: &Path, mode: &str, run: u64) {
        let wal = Wal::new(options(dir, mode)).unwrap();
        std::thread::scope(|scope| {
            for nth in 0..STREAMS {
                let wal = &wal;
                scope.spawn(move || change(wal, nth, run));
            }
        });
    }

    fn new(mode: &str) -> Self {
        Self { mode: mode.to_string(), streams: Default::default() }
    }

    fn hear(&mut self, run: u64, report: &[u64]) {
        let known = &mut self.streams[report[0] as usize];
        match *report {
            [nth, FOUND, first, next] => known.settle(nth, first, next, false),
            [nth, DONE, first, next] => known.settle(nth, first, next, true),
            [_, BEGINS, kind, a, b] => known.open = Some((run, Change::of([kind, a, b]))),
            _ => panic!("report {report:?}"),
        }
    }

    fn check(&mut self, dir: &Path, run: u64) {
        let wal = Wal::new(options(dir, &self.mode)).unwrap();
        for (nth, known) in (0..).zip(&mut self.streams) {
            let mut stream = wal.stream(&name(nth)).unwrap();
            known.settle(nth, stream.first_id(), stream.next_id(), false);
            let mut ids = stream.first_id()..stream.next_id();
            for found in wal.iter_with_ids(stream.name(), 0).unwrap() {
                let (id, found) = found.unwrap();
                let meant = known.entries[id as usize];
                assert_eq!(Some(id), ids.next(), "{}: {nth}: a gap", self.mode);
                assert_eq!(who(&found), meant, "{}: {nth}: id {id}", self.mode);
                assert_eq!(found, entry(meant), "{}: {nth}: id {id}", self.mode);
            }
            assert_eq!(ids.next(), None, "{}: {nth}: entries are missing", self.mode);
            // And it goes on.
            let change = Change::Append { serial: u64::MAX, count: 1 };
            known.open = Some((run, change));
            change.make(&wal, &mut stream, nth, run);
            known.settle(nth, stream.first_id(), stream.next_id(), true);
        }
        wal.close().unwrap();
    }
}

/// The only thread that changes this stream.
fn change(wal: &Wal, nth: u64, run: u64) {
    let mut stream = wal.stream(&name(nth)).unwrap();
    let mut rng = Rng::with_seed(run << 8 | nth);
    report([nth, FOUND, stream.first_id(), stream.next_id()]);
    for serial in 0.. {
        let change = Change::any(&mut rng, serial, &stream);
        report([nth, BEGINS].into_iter().chain(change.numbers()));
        change.make(wal, &mut stream, nth, run);
        report([nth, DONE, stream.first_id(), stream.next_id()]);
    }
}
