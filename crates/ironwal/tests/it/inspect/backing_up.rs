//! A backup is the log at one instant, whatever a writer does meanwhile, or there is none.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ironwal::SyncMode;
use ironwal::inspect::backup;
use ironwal::storage::sim::CallKind;

use super::*;
use crate::hooked::Hooked;

const COPY: &str = "/copy";
const SEGMENT_SIZE: u64 = 700;
const STREAMS: [&str; 3] = ["a", "b", "c"];

type Entries = BTreeMap<(String, u64), Vec<u8>>;

fn back_up(disk: &SimDisk) -> ironwal::Result<Report> {
    backup(&on(disk), Path::new(ROOT), Path::new(COPY))
}

fn copied(disk: &SimDisk) -> Seen {
    seen_on(&disk.snapshot(), COPY, CorruptionPolicy::Error)
}

/// Each kind of directory that is whole is copied as it is.
#[test]
fn what_is_closed_or_killed_is_copied_as_it_is() {
    for kind in KINDS {
        let disk = golden_disk(kind);
        let before = files(&disk);
        let log = lenient(&disk);
        let is_whole = look(&disk).is_whole();
        let made = back_up(&disk);
        assert_eq!(made.is_ok(), is_whole, "{kind}: {made:?}");
        if let Err(error) = &made {
            // Of the log, not of the copy.
            let said = error.to_string();
            assert!(said.contains(ROOT) && !said.contains(COPY), "{kind}: {said}");
        }
        if let Ok(report) = made {
            assert!(report.is_whole() && !report.is_open, "{kind}: {:?}", report.findings);
            assert_eq!(copied(&disk).entries, log.entries, "{kind}");
            assert_eq!(copied(&disk).ends, log.ends, "{kind}");
        }
        disk.crash();
        let after: BTreeMap<_, _> =
            files(&disk).into_iter().filter(|(path, _)| path.starts_with(ROOT)).collect();
        assert!(after == before, "{kind}: the log was changed");
    }
}

#[test]
fn losses_that_are_marked_stay_marked() {
    let disk = golden_disk("journal-lost");
    let damaged = lenient(&disk).damaged.len();
    let plan = ironwal::inspect::plan_repair(&on(&disk), Path::new(ROOT)).unwrap();
    ironwal::inspect::repair(&on(&disk), Path::new(ROOT), &plan, Path::new("/repaired")).unwrap();
    backup(&on(&disk), Path::new("/repaired"), Path::new(COPY)).unwrap();
    let marked = copied(&disk).damaged;
    assert!(damaged > 0 && marked.len() >= damaged, "{marked:?}");
}

#[test]
fn it_is_the_same_log_and_takes_its_archive() {
    let disk = SimDisk::new(1);
    let archive = Some("/archive".into());
    let options = |root: &str| WalOptions {
        max_segment_size: 400,
        archive_path: archive.clone(),
        ..WalOptions::new(root)
    };
    let wal = open(&disk, &options(ROOT)).unwrap();
    for id in 0..40_u8 {
        wal.append("a", &[id; 30]).unwrap();
    }
    wal.truncate("a", 30).unwrap();
    back_up(&disk).unwrap();
    drop(wal);
    let copy = open(&disk, &options(COPY)).unwrap();
    let first = copy.stream("a").unwrap().first_id();
    assert!(first > 20);
    assert!(copy.restore_archived("a").unwrap() > 0);
    assert_eq!(copy.get("a", 0).unwrap().as_deref(), Some(&[0; 30][..]));
    assert_eq!(copy.append("a", b"on").unwrap(), 40);
    assert_eq!(copy.append("new", b"on").unwrap(), 0);
}

#[test]
fn a_destination_that_holds_something_is_refused() {
    let disk = SimDisk::new(1);
    writer(&disk, SyncMode::Strict, Journal::Auto, SEGMENT_SIZE).append("a", b"x").unwrap();
    let refused = |to: &str| {
        let made = backup(&on(&disk), Path::new(ROOT), Path::new(to));
        assert!(matches!(made, Err(Error::Config(_))), "{to}: {made:?}");
    };
    refused(ROOT);
    refused("/log/inside");
    refused("/");
    on(&disk).create_dir(Path::new(COPY)).unwrap();
    disk.replace(Path::new("/copy/mine"), b"mine").unwrap();
    refused(COPY);
    disk.remove(Path::new("/copy/mine")).unwrap();
    back_up(&disk).unwrap();
    assert_eq!(copied(&disk).entries.len(), 1);
    let missing = backup(&on(&disk), Path::new("/missing"), Path::new("/other"));
    assert!(matches!(&missing, Err(Error::Io(error)) if error.kind() == ErrorKind::NotFound));
}

/// What a writer has done, in order: the state of the log after each step.
struct History {
    wal: Wal,
    step: u64,
    states: RefCell<Vec<Entries>>,
}

impl History {
    fn state(&self) -> Entries {
        let mut state = BTreeMap::new();
        for name in self.wal.streams() {
            for entry in self.wal.stream(&name).unwrap().range(..) {
                let (id, entry) = entry.unwrap();
                state.insert((name.clone(), id), entry.to_vec());
            }
        }
        state
    }

    /// Something that a writer does; something else each time.
    fn go_on(&mut self, reshapes: bool) {
        let nth = self.step;
        self.step += 1;
        let name = STREAMS[(nth % 3) as usize];
        let entry = nth.to_le_bytes().repeat(1 + (nth as usize * 7) % 20);
        let stream = self.wal.stream(name).unwrap();
        match nth % 13 {
            3 | 8 => {
                let mut batch = self.wal.batch();
                STREAMS.iter().for_each(|name| _ = batch.append(name, &entry[..]));
                batch.commit().unwrap();
            }
            5 if nth > 40 => {
                let to = (stream.first_id() + 5).min(stream.next_id());
                stream.truncate_before(to).unwrap();
            }
            7 => stream.rotate().unwrap(),
            9 if reshapes && nth.is_multiple_of(3) => {
                let keep = stream.next_id().saturating_sub(3).max(stream.first_id());
                stream.truncate_after(keep.checked_sub(1)).unwrap();
            }
            11 if reshapes && nth.is_multiple_of(4) => self.wal.delete_stream(name).unwrap(),
            10 if nth.is_multiple_of(4) => self.wal.sync_all().unwrap(),
            _ => drop(self.wal.append(name, &entry).unwrap()),
        }
        let state = self.state();
        self.states.borrow_mut().push(state);
    }
}

/// The writer does something whenever the backup has read a few times; the backup is one of the states
/// that the log had meanwhile, but for entries that were pruned since.
fn back_up_beside(mode: SyncMode, journal: Journal, reshapes: bool) {
    let disk = SimDisk::new(3);
    let mut history = History {
        wal: writer(&disk, mode, journal, SEGMENT_SIZE),
        step: 0,
        states: RefCell::default(),
    };
    (0..90).for_each(|_| history.go_on(reshapes));
    let history = Arc::new(Mutex::new(history));
    let (mut changed, mut at_once) = (0, 0);
    for pause in [1, 2, 3, 5, 8, 13, 40] {
        let (busy, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        let left = AtomicU64::new(150);
        let hook = {
            let history = Arc::clone(&history);
            move || {
                let due = reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(pause);
                if due && left.load(Ordering::Relaxed) > 0 && !busy.swap(true, Ordering::Relaxed) {
                    left.fetch_sub(1, Ordering::Relaxed);
                    history.lock().unwrap().go_on(reshapes);
                    busy.store(false, Ordering::Relaxed);
                }
            }
        };
        let before = history.lock().unwrap().states.borrow().len() - 1;
        let storage: Arc<dyn Storage> = Arc::new(Hooked::new(&disk).after_read(hook));
        let to = PathBuf::from(format!("{COPY}{pause}"));
        let report = backup(&storage, Path::new(ROOT), &to).unwrap();
        drop(storage);
        assert!(report.is_whole(), "{:?}", report.findings);
        let copy = seen_on(&disk.snapshot(), to.to_str().unwrap(), CorruptionPolicy::Error);
        assert!(!copy.refused && !copy.has_gap());
        let history = history.lock().unwrap();
        let states = history.states.borrow();
        let found = (before..states.len()).find(|nth| is_at(&copy, &states[*nth..]));
        assert!(found.is_some(), "{mode:?} {journal:?} {pause}: it was never like this: {copy:#?}");
        changed += u64::from(states.len() > before + 1);
        at_once += u64::from(found == Some(states.len() - 1));
    }
    assert!(changed > 4 && at_once < 7, "{changed} {at_once}");
}

/// Whether a backup is the first of these states, but for what the later ones have pruned.
fn is_at(copy: &Seen, states: &[Entries]) -> bool {
    let ids = |entries: &Entries, name: &str| {
        let ids = entries.keys().filter(|(of, _)| of == name).map(|(_, id)| *id);
        let ids: Vec<u64> = ids.collect();
        ids.first().map(|first| *first..ids[ids.len() - 1] + 1)
    };
    let is_stream_at = |name: &&str| {
        let Some(then) = ids(&states[0], name) else { return ids(&copy.entries, name).is_none() };
        let first_max =
            states.iter().filter_map(|state| ids(state, name)).map(|ids| ids.start).max();
        let first = ids(&copy.entries, name).map_or(0, |ids| ids.start);
        copy.ends.get(*name) == Some(&then.end)
            && (then.start..=first_max.unwrap_or(0)).contains(&first)
    };
    STREAMS.iter().all(is_stream_at)
        && copy.entries.iter().all(|(key, entry)| states[0].get(key) == Some(entry))
}

#[test]
fn beside_a_writer_in_strict() {
    back_up_beside(SyncMode::Strict, Journal::Auto, false);
    back_up_beside(SyncMode::Strict, Journal::On, false);
}

#[test]
fn beside_a_writer_that_does_not_sync() {
    back_up_beside(SyncMode::Async, Journal::Auto, false);
    back_up_beside(SyncMode::BatchOnly, Journal::Off, false);
}

#[test]
fn beside_a_writer_that_cuts_and_deletes() {
    back_up_beside(SyncMode::Strict, Journal::Auto, true);
    back_up_beside(SyncMode::Strict, Journal::On, true);
    back_up_beside(SyncMode::Async, Journal::Auto, true);
}

/// It is read and copied in several pieces.
#[test]
fn a_long_segment_is_copied_whole() {
    let disk = SimDisk::new(1);
    let wal = open(&disk, &WalOptions::new(ROOT)).unwrap();
    for nth in 0..3000_u32 {
        wal.append("long", &nth.to_le_bytes().repeat(250)).unwrap();
    }
    back_up(&disk).unwrap();
    let copy = copied(&disk).entries;
    assert_eq!(copy.len(), 3000);
    for ((_, id), entry) in copy {
        assert!(entry == (id as u32).to_le_bytes().repeat(250), "{id}");
    }
}

/// A stream begins while the backup reads, and then something that depends on it is appended to another.
#[test]
fn a_stream_that_begins_meanwhile_is_there_before_what_follows() {
    let mut behind = 0;
    for nth in 0..40 {
        let disk = SimDisk::new(3);
        let wal = writer(&disk, SyncMode::Strict, Journal::Auto, SEGMENT_SIZE);
        wal.append("old", b"before").unwrap();
        let reads = AtomicU64::new(0);
        let hook = move || {
            if reads.fetch_add(1, Ordering::Relaxed) == nth {
                wal.append("new", b"first").unwrap();
                wal.append("old", b"then").unwrap();
            }
        };
        let storage: Arc<dyn Storage> = Arc::new(Hooked::new(&disk).after_list(hook));
        backup(&storage, Path::new(ROOT), Path::new(COPY)).unwrap();
        let ends = copied(&disk).ends;
        if ends["old"] == 2 {
            behind += 1;
            assert_eq!(ends.get("new"), Some(&1), "list {nth}");
        }
    }
    assert!(behind > 1, "{behind}");
}

/// Power loss at any call leaves no directory under the name, or the whole backup.
#[test]
fn after_power_loss_it_is_whole_or_not_there() {
    let prepared = || {
        let disk = SimDisk::new(7);
        let wal = writer(&disk, SyncMode::Strict, Journal::On, SEGMENT_SIZE);
        for nth in 0..30_u8 {
            let mut batch = wal.batch();
            batch.append("a", [nth; 60]).append("b", [nth; 10]);
            batch.commit().unwrap();
        }
        (disk, wal)
    };
    let (disk, wal) = prepared();
    let begin = disk.calls_total();
    back_up(&disk).unwrap();
    let calls = disk.calls_total() - begin;
    drop(wal);
    let (mut there, mut absent) = (0, 0);
    for nth in (1..=calls + 1).step_by(3) {
        let (disk, wal) = prepared();
        disk.reseed(nth);
        disk.cut_power_at(nth);
        let made = back_up(&disk);
        if !disk.power_is_off() {
            made.unwrap();
        }
        drop(wal);
        disk.crash();
        let is_there = disk.files().iter().any(|path| path.starts_with(COPY));
        (there, absent) = (there + u32::from(is_there), absent + u32::from(!is_there));
        if is_there {
            let copy = copied(&disk);
            assert_eq!((copy.refused, copy.entries.len()), (false, 60), "call {nth}");
            continue;
        }
        // What is left is in nobody's way.
        back_up(&disk).unwrap_or_else(|error| panic!("call {nth}: {error}"));
        assert_eq!(copied(&disk).entries.len(), 60, "call {nth}");
    }
    assert!(there > 0 && absent > 20, "{there} {absent}");
}

#[test]
fn an_error_leaves_nothing_and_changes_nothing() {
    for kind in [CallKind::Write, CallKind::Sync, CallKind::Rename, CallKind::SyncDir] {
        for nth in 1..20 {
            let disk = journaled();
            let before = files(&disk);
            disk.fail_nth(kind, nth, ErrorKind::StorageFull);
            if back_up(&disk).is_ok() {
                continue;
            }
            disk.clear_faults();
            let left: Vec<_> =
                disk.files().into_iter().filter(|it| !it.starts_with(ROOT)).collect();
            // Only its name may not be durable.
            let is_named = left.iter().all(|path| path.starts_with(COPY)) && !left.is_empty();
            assert!(left.is_empty() || is_named, "{kind:?} {nth}: {left:?}");
            let after = files(&disk);
            assert!(before.iter().all(|(path, bytes)| after[path] == *bytes), "{kind:?} {nth}");
        }
    }
}

#[cfg(feature = "sharded")]
#[test]
fn checkpoints_are_in_it_with_what_they_speak_of() {
    use ironwal::sharded::ShardedWal;

    let disk = SimDisk::new(5);
    let wal = writer(&disk, SyncMode::Async, Journal::Auto, SEGMENT_SIZE);
    let sharded = ShardedWal::over(wal.clone(), 4).unwrap();
    let (count, busy) = (AtomicU64::new(0), AtomicBool::new(false));
    let hook = {
        let sharded = sharded.clone();
        move || {
            if busy.swap(true, Ordering::Relaxed) {
                return;
            }
            let nth = count.fetch_add(1, Ordering::Relaxed);
            if nth < 200 {
                sharded.append(&nth.to_le_bytes(), b"entry").unwrap();
                if nth % 3 == 0 {
                    sharded.create_checkpoint(format!("at {nth}").as_bytes()).unwrap();
                }
            }
            busy.store(false, Ordering::Relaxed);
        }
    };
    for nth in 0..50_u64 {
        sharded.append(&nth.to_le_bytes(), b"entry").unwrap();
    }
    sharded.create_checkpoint(b"before").unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Hooked::new(&disk).after_read(hook));
    backup(&storage, Path::new(ROOT), Path::new(COPY)).unwrap();
    drop(storage);
    let copy = open(&disk, &WalOptions::new(COPY)).unwrap();
    assert_eq!(copy.shard_count(), Some(4));
    let copy = ShardedWal::over(copy, 4).unwrap();
    let ids = copy.list_checkpoints();
    assert!(!ids.is_empty());
    for (id, _) in ids {
        let checkpoint = copy.load_checkpoint(&id).unwrap();
        assert_eq!(checkpoint, sharded.load_checkpoint(&id).unwrap());
        copy.replay(&checkpoint).unwrap().for_each(|entry| drop(entry.unwrap()));
    }
}
