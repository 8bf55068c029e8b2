//! Directories of every kind that somebody has damaged: they are opened for reading only, and under both
//! policies, all is read, appended to, closed, and opened again.
//!
//! Nothing panics or goes round in circles. What is read is what was written there, or a typed error, or
//! not there; both policies and all ways to read say the same; and what was read once is read again
//! after an append, a close, and another opening.

use ironwal::storage::SimDisk;
use ironwal::{CorruptionPolicy, Error, ReadStrategy, Wal, WalOptions};

use super::damage::Damaged;
use super::input::Input;
use crate::rot::samples::{History, sharded};

/// A forged field may speak of any number of ids; this many are looked at, from either end.
const IDS_MAX: u64 = 64;

const AFTERWARDS: &[u8] = b"afterwards";

/// What an id looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Entry(Vec<u8>),
    Gone,
    Damaged,
}

/// What a stream looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    name: String,
    first: u64,
    next: u64,
    seen: Vec<(u64, Seen)>,
}

pub(super) fn run(input: &[u8]) {
    let input = &mut Input(input);
    let choice = input.u8();
    let read_strategy = [ReadStrategy::StandardIo, ReadStrategy::Mmap][usize::from(choice % 2)];
    let damaged = Damaged::build(input);
    let whole = damaged.sample.disk.snapshot();
    damaged.read_only();
    let options =
        |on_corruption| WalOptions { on_corruption, ..damaged.sample.options_by(read_strategy) };
    let looks = [CorruptionPolicy::Truncate, CorruptionPolicy::Error].map(|policy| {
        let disk = damaged.disk.snapshot();
        let looks = damaged.live(&disk, &options(policy));
        assert!(disk.calls_total() < whole.calls_total() + 200_000, "it goes round in circles");
        looks
    });
    if let [Some(lenient), Some(strict)] = &looks {
        assert_eq!(lenient, strict, "the policies read differently: {:#?}", damaged.steps);
    }
    assert!(looks[0].is_some() || looks[1].is_none(), "only what is strict opens it");
}

/// An error of opening or reading what is on the disk.
fn is_told(error: &Error) -> bool {
    match error {
        Error::Corruption(_)
        | Error::Damaged { .. }
        | Error::CrcMismatch { .. }
        | Error::UnsupportedVersion { .. }
        | Error::LegacyDirectory(_)
        | Error::Config(_) => true,
        Error::Io(error) => error.to_string().contains('/'),
        _ => false,
    }
}

impl Damaged {
    /// Opens it, reads it, goes on with it, and reads it again. `None`: it is refused.
    fn live(&self, disk: &SimDisk, options: &WalOptions) -> Option<Vec<Look>> {
        let wal = match self.sample.open(disk, options) {
            Ok(wal) => wal,
            Err(error) => {
                assert!(is_told(&error), "opening: {error:?}: {:#?}", self.steps);
                return None;
            }
        };
        let looks = self.look(&wal)?;
        self.look_at_checkpoints(&wal);
        let expected: Vec<Look> = looks.iter().map(|look| self.go_on(&wal, look)).collect();
        if let Err(error) = wal.close() {
            assert!(is_told(&error), "closing: {error:?}: {:#?}", self.steps);
        }
        drop(wal);
        disk.kill();
        let wal = match self.sample.open(disk, options) {
            Ok(wal) => wal,
            // What a forged slot calls pruned is deleted, and perhaps nothing of ours is left beside others.
            Err(error) if self.is_forged && is_told(&error) => return Some(looks),
            Err(error) => panic!("opening again: {error}: {:#?}", self.steps),
        };
        let again = self.look(&wal).expect("it was read");
        let again: Vec<Look> = again
            .into_iter()
            .filter(|look| expected.iter().any(|before| before.name == look.name))
            .collect();
        if !self.is_forged {
            assert_eq!(again, expected, "opened again: {:#?}", self.steps);
        }
        Some(looks)
    }

    fn read_only(&self) {
        let disk = self.disk.snapshot();
        match self.sample.open_read_only(&disk) {
            Ok(wal) => drop(self.look(&wal)),
            Err(error) => {
                assert!(is_told(&error), "reading only: {error:?}: {:#?}", self.steps);
            }
        }
        for path in disk.files() {
            assert_eq!(disk.contents(&path).unwrap(), self.disk.contents(&path).unwrap());
        }
    }

    /// All streams that there are; `None`: one of them is refused.
    fn look(&self, wal: &Wal) -> Option<Vec<Look>> {
        let looks = wal.streams().into_iter().map(|name| self.look_at(wal, &name));
        looks.collect()
    }

    fn look_at(&self, wal: &Wal, name: &str) -> Option<Look> {
        let stream = match wal.stream(name) {
            Ok(stream) => stream,
            // Readers look at a stream when it is asked for.
            Err(error) => {
                assert!(is_told(&error), "stream {name}: {error:?}: {:#?}", self.steps);
                return None;
            }
        };
        let (first, next) = (stream.first_id(), stream.next_id());
        if first > next {
            assert!(self.is_forged, "{name}: {first}..{next}: {:#?}", self.steps);
            assert_eq!(wal.iter(name, 0).unwrap().take(IDS_MAX as usize).flatten().count(), 0);
            return Some(Look { name: name.into(), first, next, seen: Vec::new() });
        }
        let middle = first.saturating_add(IDS_MAX).min(next);
        let mut ids: Vec<u64> = (first..middle).collect();
        ids.extend(next.saturating_sub(IDS_MAX).max(middle)..=next);
        let mut seen = Vec::new();
        for id in ids {
            let one = match stream.get(id) {
                Ok(Some(entry)) => Seen::Entry(entry.to_vec()),
                Ok(None) => Seen::Gone,
                Err(Error::Damaged { stream, ids, .. }) => {
                    assert!(stream == name && ids.contains(&id), "{name} {id}: {ids:?}");
                    Seen::Damaged
                }
                Err(error) => panic!("{name} {id}: {error:?}: {:#?}", self.steps),
            };
            if let Seen::Entry(entry) = &one {
                assert!(
                    self.was_written(name, id, entry),
                    "{name} {id} never was {}: {:#?}",
                    entry.escape_ascii(),
                    self.steps
                );
            }
            let is_right = one != Seen::Gone || id == next;
            assert!(is_right, "{name} {id} is gone in between: {:#?}", self.steps);
            seen.push((id, one));
        }
        let look = Look { name: name.into(), first, next, seen };
        self.iterate(wal, &look);
        Some(look)
    }

    /// The iterators say the same.
    fn iterate(&self, wal: &Wal, look: &Look) {
        // A file that nobody wrote hides from single reads what the one before it holds.
        let is_between = self.is_invented || self.is_moved;
        let (mut errors, mut ids) = (0, Vec::new());
        let items = wal.iter_with_ids(&look.name, look.first).unwrap();
        for item in items.take(4 * IDS_MAX as usize) {
            match item {
                Ok((id, entry)) => {
                    let single = look.seen.iter().find(|(of, _)| *of == id);
                    let is_same = single.is_none_or(|(_, seen)| {
                        *seen == Seen::Entry(entry)
                            || is_between && *seen == Seen::Damaged
                            // A forged slot can make an append take the id of a frame that is there.
                            || self.is_forged
                    });
                    assert!(
                        is_same,
                        "iterating over {}: {id}, {look:?}: {:#?}",
                        look.name, self.steps
                    );
                    ids.push(id);
                }
                Err(error) => {
                    assert!(is_told(&error), "iterating over {}: {error:?}", look.name);
                    errors += 1;
                }
            }
        }
        assert!(ids.is_sorted(), "{}: {ids:?}: {:#?}", look.name, self.steps);
        let is_damaged = look.seen.iter().any(|(_, seen)| *seen == Seen::Damaged);
        let is_all = look.next - look.first <= 2 * IDS_MAX;
        assert!(
            !is_all || is_between || is_damaged == (errors > 0),
            "{}: {errors} errors: {look:?}: {:#?}",
            look.name,
            self.steps
        );
    }

    fn was_written(&self, name: &str, id: u64, entry: &[u8]) -> bool {
        if entry == AFTERWARDS {
            return true;
        }
        let was = |history: &History| {
            let id = usize::try_from(id).unwrap_or(usize::MAX);
            let is_it = |found: &Vec<u8>| found == entry;
            history.states.iter().any(|state| state.entries.get(id).is_some_and(is_it))
        };
        let is_ours = |history: &&History| self.is_moved || history.name == name;
        // Records of checkpoints are judged as checkpoints, and may have come from where they were.
        name.starts_with('.')
            || self.is_forged
            || self.is_moved && self.sample.name.starts_with("sharded")
            || self.sample.streams.iter().filter(is_ours).any(was)
    }

    /// One entry more, where that is possible.
    fn go_on(&self, wal: &Wal, look: &Look) -> Look {
        let mut look = look.clone();
        match wal.append(&look.name, AFTERWARDS) {
            Ok(id) => {
                assert_eq!(id, look.next, "{}: {:#?}", look.name, self.steps);
                look.next += 1;
                look.seen.pop();
                look.seen.push((id, Seen::Entry(AFTERWARDS.to_vec())));
                look.seen.push((look.next, Seen::Gone));
            }
            Err(error) => {
                // An end of the ids, by a forged field, is one, too.
                let is_told = is_told(&error) || self.is_forged;
                assert!(is_told, "appending to {}: {error:?}: {:#?}", look.name, self.steps);
            }
        }
        look
    }

    /// Each checkpoint that is listed is one that was made, or an error.
    fn look_at_checkpoints(&self, wal: &Wal) {
        if self.sample.checkpoints.iter().all(Vec::is_empty) {
            return;
        }
        let Ok(wal) = sharded::over(wal) else { return };
        for (id, _) in wal.list_checkpoints() {
            let Ok(data) = wal.load_checkpoint(&id) else { continue };
            let made = (id, data.offsets);
            let was = self.sample.checkpoints.iter().any(|were| were.contains(&made));
            assert!(was || self.is_forged, "{made:?} was never made: {:#?}", self.steps);
        }
    }
}
