//! Rot in the log of checkpoints: a fault at every byte of it, a loss of every sector, a cut at every
//! length. Each checkpoint is loaded as it was, or reported; the others can be loaded, the shards are
//! whole, and the log goes on.
//!
//! What cannot be detected is what `docs/durability.md` lists: of a process that was killed, damage to
//! the checkpoint that was created last, and the newest file cut short.
//!
//! Of the zeros that fill up blocks only some are tried here; `rot/` tries all, in every file of a sharded log.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ironwal::sharded::ShardedWal;
use ironwal::storage::SimDisk;
use ironwal::{CorruptionPolicy, Error, SyncMode, WalOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::model::{Checkpoint, see};
use super::{open, options};
use crate::rot::faults::places;

const SHARDS: u16 = 3;

/// What `load_latest_checkpoint` says when it falls back.
const FELL_BACK: &str = "an older one is taken";

/// Keeps the messages of errors and warnings.
#[derive(Debug, Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl Messages {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A directory to damage.
struct Sample {
    name: &'static str,
    disk: SimDisk,
    /// Every checkpoint whose record is in the log, also those that were replaced.
    created: Vec<Checkpoint>,
    /// Those that there are.
    live: Vec<Checkpoint>,
    /// Whether the last one is proven too.
    closed: bool,
}

fn sample(name: &'static str, compacted: bool, closed: bool) -> Sample {
    let disk = SimDisk::new(1);
    let wal = open(&disk, options(SyncMode::Async), SHARDS).unwrap();
    let mut created = Vec::new();
    let create = |id: &[u8], created: &mut Vec<Checkpoint>| {
        for key in 0..4 {
            wal.append(&[key], format!("entry {}", created.len()).as_bytes()).unwrap();
        }
        wal.create_checkpoint(id).unwrap();
        created.push(Checkpoint { id: id.to_vec(), data: wal.load_checkpoint(id).unwrap() });
    };
    for id in ["one", "again", "two", "again", "three"] {
        create(id.as_bytes(), &mut created);
    }
    if compacted {
        wal.compact_checkpoints(3).unwrap();
        created.drain(..2);
        create(b"two", &mut created);
    }
    create(b"last", &mut created);
    let live = see(&wal);
    if closed {
        wal.close().unwrap();
    }
    disk.kill();
    Sample { name, disk, created, live, closed }
}

fn samples() -> [Sample; 4] {
    [
        sample("closed", false, true),
        sample("killed", false, false),
        sample("compacted and closed", true, true),
        sample("compacted and killed", true, false),
    ]
}

/// The file that holds the log of checkpoints.
fn file(disk: &SimDisk) -> PathBuf {
    let files = disk.files();
    let mut found = files.into_iter().filter(|path| path.starts_with("/log/.checkpoints"));
    let file = found.next().unwrap();
    assert_eq!(found.next(), None);
    file
}

/// What came of a fault.
#[derive(Debug, Default)]
struct Tally {
    identical: usize,
    /// The log did not open.
    refused: usize,
    /// A checkpoint could not be loaded, and that was said.
    reported: usize,
    /// The last one was taken for a torn tail.
    lost: usize,
    /// An earlier checkpoint of the same id took the place of one.
    earlier: usize,
    /// No more can be created.
    ended: usize,
}

impl Sample {
    /// Opens the damaged directory and judges what comes back. `cut`: the file was cut short, or a
    /// sector lost, and with it several checkpoints, or what proves the rest.
    fn judge(&self, disk: &SimDisk, cut: bool, what: &str, tally: &mut Tally) {
        let messages = Messages::default();
        let _guard = tracing::subscriber::set_default(messages.clone());
        let what = &format!("{}: {what}", self.name);
        let under_policy_error = disk.snapshot();
        let wal = match open(disk, options(SyncMode::Async), SHARDS) {
            Ok(wal) => wal,
            Err(Error::Corruption(_) | Error::UnsupportedVersion { .. }) => {
                tally.refused += 1;
                return;
            }
            Err(error) => panic!("{what}: opening: {error}"),
        };
        let is_reported = reports_damage(&wal, what);
        check_shards(&wal, what);
        let seen = see(&wal);
        self.judge_each(&wal, &seen, is_reported, cut, what, tally);
        judge_latest(&wal, &seen, is_reported, &self.live, &messages, what);
        judge_the_other_policy(&under_policy_error, is_reported, what);
        if is_reported {
            go_on(disk, wal, seen, what, tally);
        }
    }

    fn judge_each(
        &self,
        wal: &ShardedWal,
        seen: &[Checkpoint],
        is_reported: bool,
        cut: bool,
        what: &str,
        tally: &mut Tally,
    ) {
        // In the order of their creation, and none that never was.
        let mut places = seen.iter().map(|it| self.created.iter().position(|one| one == it));
        let in_order = places.by_ref().try_fold(0, |from, at| at.filter(|at| *at >= from));
        assert!(in_order.is_some(), "{what}: {seen:?}");
        let (mut missing, mut earlier) = (0, 0);
        for (nth, expected) in self.live.iter().enumerate() {
            let unproven = !self.closed && (cut || nth + 1 == self.live.len());
            match wal.load_checkpoint(&expected.id) {
                Ok(data) if data == expected.data => {}
                Ok(data) => {
                    let found = Checkpoint { id: expected.id.clone(), data };
                    assert!(self.created.contains(&found), "{what}: {found:?} never was");
                    assert!(is_reported || unproven, "{what}: {found:?} was replaced");
                    earlier += 1;
                }
                Err(Error::CheckpointCorrupted { .. }) => assert!(is_reported),
                Err(Error::CheckpointNotFound(_)) => {
                    assert!(unproven && !is_reported, "{what}: {expected:?} is gone in silence");
                }
                Err(error) => panic!("{what}: loading: {error}"),
            }
            missing += usize::from(!seen.contains(expected));
        }
        // One bad byte is in one record, and that may be the one that closes a compaction.
        assert!(missing <= 1 || cut, "{what}: {missing} are missing");
        tally.earlier += usize::from(earlier > 0);
        match (missing, is_reported) {
            (0, _) => tally.identical += 1,
            (_, true) => tally.reported += 1,
            (_, false) => tally.lost += 1,
        }
    }
}

/// Whether the log says that a checkpoint is damaged, of which it does not know the id.
fn reports_damage(wal: &ShardedWal, what: &str) -> bool {
    match wal.load_checkpoint(b"never created") {
        Err(Error::CheckpointCorrupted { .. }) => true,
        Err(Error::CheckpointNotFound(_)) => false,
        other => panic!("{what}: {other:?}"),
    }
}

fn check_shards(wal: &ShardedWal, what: &str) {
    for key in 0..4 {
        let shard = wal.route(&[key]);
        let entries: Vec<_> = wal.iter_shard(shard, 0).unwrap().collect();
        assert!(!entries.is_empty() && entries.iter().all(Result::is_ok), "{what}: shard {shard}");
    }
}

/// The latest is the newest that is whole, and if it is not the newest there was, that is said.
fn judge_latest(
    wal: &ShardedWal,
    seen: &[Checkpoint],
    is_reported: bool,
    live: &[Checkpoint],
    messages: &Messages,
    what: &str,
) {
    messages.take();
    let latest = wal.load_latest_checkpoint();
    let said = messages.take().iter().any(|message| message.contains(FELL_BACK));
    match (latest, seen.last()) {
        (Ok((id, data)), Some(last)) => {
            assert_eq!((&id, &data), (&last.id, &last.data), "{what}");
            let is_older = Some(last) != live.last();
            assert!(said || !is_older || !is_reported, "{what}: the latest is older in silence");
            assert!(!said || is_reported, "{what}: nothing is damaged");
        }
        (Err(Error::CheckpointCorrupted { .. }), None) => assert!(is_reported, "{what}"),
        (Err(Error::NoCheckpoints), None) => assert!(!is_reported, "{what}"),
        (latest, last) => panic!("{what}: the latest is {latest:?}, and not {last:?}"),
    }
}

/// `CorruptionPolicy::Error` refuses to open on damage, and only then.
fn judge_the_other_policy(disk: &SimDisk, is_reported: bool, what: &str) {
    let strict = WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Async) };
    match open(disk, strict, SHARDS) {
        Ok(_) => assert!(!is_reported, "{what}: damage is not refused"),
        // Damage that costs no checkpoint is seen too.
        Err(Error::Corruption(_)) => {}
        Err(error) => panic!("{what}: opening with policy Error: {error}"),
    }
}

/// New checkpoints survive behind the damage, and a compaction removes it.
fn go_on(
    disk: &SimDisk,
    wal: ShardedWal,
    mut seen: Vec<Checkpoint>,
    what: &str,
    tally: &mut Tally,
) {
    match wal.create_checkpoint(b"new") {
        Ok(()) => {}
        // Both headers are lost, and with them where the log ended.
        Err(Error::Damaged { .. }) => {
            assert!(seen.is_empty(), "{what}");
            tally.ended += 1;
            return;
        }
        Err(error) => panic!("{what}: creating: {error}"),
    }
    seen.push(Checkpoint { id: b"new".into(), data: wal.load_checkpoint(b"new").unwrap() });
    assert_eq!(see(&wal), seen, "{what}");
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"new", "{what}");
    disk.crash();
    let wal = open(disk, options(SyncMode::Async), SHARDS).unwrap();
    assert_eq!(see(&wal), seen, "{what}");
    assert!(reports_damage(&wal, what));
    let stats = wal.compact_checkpoints(usize::MAX).unwrap();
    let counted = (stats.checkpoints_before, stats.checkpoints_after);
    assert_eq!(counted, (seen.len(), seen.len()), "{what}");
    disk.crash();
    let strict = WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Async) };
    let wal = open(disk, strict, SHARDS).unwrap();
    assert_eq!(see(&wal), seen, "{what}");
    assert!(!reports_damage(&wal, what), "{what}: a compaction leaves the damage");
}

fn damage_every_byte(sample: &Sample) {
    let mut tally = Tally::default();
    let path = file(&sample.disk);
    let content = sample.disk.contents(&path).unwrap();
    for place in places(&content) {
        let byte = content[place];
        let mut tried = vec![byte];
        for changed in [byte ^ 1, !byte, 0] {
            if tried.contains(&changed) {
                continue;
            }
            tried.push(changed);
            let disk = sample.disk.snapshot();
            disk.overwrite(&path, place as u64, &[changed]).unwrap();
            let what = format!("byte {place}: {byte} -> {changed}");
            sample.judge(&disk, false, &what, &mut tally);
        }
        let disk = sample.disk.snapshot();
        disk.replace(&path, &content[..place]).unwrap();
        sample.judge(&disk, true, &format!("cut to {place} bytes"), &mut tally);
    }
    for start in (0..content.len()).step_by(512) {
        let disk = sample.disk.snapshot();
        let end = content.len().min(start + 512);
        disk.overwrite(&path, start as u64, &vec![0; end - start]).unwrap();
        sample.judge(&disk, true, &format!("sector at {start}"), &mut tally);
    }
    assert!(tally.identical > 0 && tally.reported > 0 && tally.earlier > 0, "{tally:?}");
    assert_eq!(tally.lost > 0, !sample.closed, "{tally:?}");
}

#[test]
fn damage_to_a_checkpoint_is_reported_and_leaves_the_others() {
    for sample in &samples()[..2] {
        damage_every_byte(sample);
    }
}

#[test]
fn damage_to_a_copy_is_reported_and_leaves_the_others() {
    for sample in &samples()[2..] {
        damage_every_byte(sample);
    }
}

/// A checkpoint whose creation the power interrupted is no damage, under either policy.
#[test]
fn a_torn_tail_is_cut_off_and_later_checkpoints_survive() {
    let sample = sample("killed", false, false);
    let path = file(&sample.disk);
    let content = sample.disk.contents(&path).unwrap();
    let id_at = content.windows(4).rposition(|bytes| bytes == b"last").unwrap();
    for torn in id_at - 20..id_at + 4 {
        let disk = sample.disk.snapshot();
        disk.overwrite(&path, torn as u64, &vec![0; content.len() - torn]).unwrap();
        let strict =
            WalOptions { on_corruption: CorruptionPolicy::Error, ..options(SyncMode::Async) };
        let wal = open(&disk, strict.clone(), SHARDS).unwrap();
        let mut expected = sample.live[..sample.live.len() - 1].to_vec();
        assert_eq!(see(&wal), expected);
        assert!(!reports_damage(&wal, "a torn tail"));
        for id in ["next", "last"] {
            wal.create_checkpoint(id.as_bytes()).unwrap();
        }
        expected.extend_from_slice(&see(&wal)[expected.len()..]);
        assert_eq!(expected.len(), sample.live.len() + 1);
        disk.crash();
        let wal = open(&disk, strict, SHARDS).unwrap();
        assert_eq!(see(&wal), expected);
    }
}
