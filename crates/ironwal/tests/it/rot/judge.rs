//! What comes of a fault is exactly one of these: the log is identical; an error names the place; ids
//! are missing and are reported; or, where `docs/durability.md` says that nobody can tell, the log is as
//! it was earlier.

use std::ops::Range;
use std::path::{Path, PathBuf};

use ironwal::storage::SimDisk;
use ironwal::storage::sim::CallKind;
use ironwal::{CorruptionPolicy, Error, ReadStrategy, Wal, WalOptions};

use super::faults::Fault;
use super::samples::{ARCHIVE, History, ROOT, Sample, State, is_segment, stream_of};

/// What came of it, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Identical,
    Earlier,
    Gap,
    Refused,
}

/// What an id looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Entry(Vec<u8>),
    Gone,
    /// These ids are damaged, in this file.
    Damaged(Range<u64>, PathBuf),
}

/// What a stream looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    first: usize,
    next: usize,
    seen: Vec<Seen>,
}

/// What is wrong with what came of it.
pub(super) type Verdict = Result<Outcome, String>;

const AFTERWARDS: &[u8] = b"afterwards";

/// A stream that there was not before.
const NEW: &str = "new";

/// Makes a fault happen to a copy of the disk.
pub(super) fn damaged(sample: &Sample, fault: &Fault) -> SimDisk {
    use ironwal::storage::Storage;

    let disk = sample.disk.snapshot();
    for (path, content) in fault.changes(&sample.material) {
        let old = sample.material.files.iter().find(|(file, _)| *file == path);
        match (content, old) {
            (None, _) => disk.remove(&path).unwrap(),
            (Some(new), Some((_, old))) if new.len() == old.len() => {
                // The rest of the file keeps its holes.
                let Some(start) = old.iter().zip(&new).position(|(old, new)| old != new) else {
                    continue;
                };
                let end = old.iter().zip(&new).rposition(|(old, new)| old != new).unwrap() + 1;
                disk.overwrite(&path, start as u64, &new[start..end]).unwrap();
            }
            (Some(new), _) => disk.replace(&path, &new).unwrap(),
        }
    }
    if let Fault::RemovedDir { file } = fault {
        let dir = sample.material.files[*file].0.parent().unwrap();
        let process = disk.process();
        // The root itself has other directories in it.
        if dir != Path::new(ROOT) {
            process.remove_dir(dir).unwrap();
            process.sync_dir(dir.parent().unwrap()).unwrap();
        }
    }
    disk
}

/// Ids of a stream below this one cannot go missing unnoticed: the list in `docs/durability.md`, under
/// "What is not detected".
fn floor(sample: &Sample, fault: Option<&Fault>, history: &History) -> usize {
    let Some(fault) = fault else { return history.present().entries.len() };
    let path = fault.path(&sample.material);
    if path.starts_with(Path::new(ROOT)) && is_journal(path) {
        return history.proven.min(below_which_the_journal_is_seen(fault, history));
    }
    match what_is_hit(sample, path, &history.name) {
        Hit::Elsewhere => history.proven,
        hit => below_which_all_is_seen(sample, fault, hit).unwrap_or(history.proven),
    }
}

/// The segments hold what a journal does that was in use when a process was killed. But without its last
/// frames, of which one says that a stream was cut, those before them bring back what was cut off.
fn below_which_the_journal_is_seen(fault: &Fault, history: &History) -> usize {
    if let Fault::Byte { .. } = fault {
        return usize::MAX;
    }
    let cuts = history.states.windows(2).filter(|two| !two[1].entries.starts_with(&two[0].entries));
    cuts.map(|two| two[1].entries.len()).min().unwrap_or(usize::MAX)
}

fn is_journal(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".journal."))
}

/// What a fault hits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Elsewhere,
    /// Its directory, and no newest segment.
    Inside,
    /// The newest segment, which begins with this id.
    Newest(usize),
}

pub(super) fn what_is_hit(sample: &Sample, path: &Path, stream: &str) -> Hit {
    if stream_of(path) != Some(stream) || path.starts_with(ARCHIVE) {
        return Hit::Elsewhere;
    }
    let is_ours =
        |file: &Path| file.starts_with(ROOT) && is_segment(file) && stream_of(file) == Some(stream);
    match sample.material.files.iter().rfind(|(file, _)| is_ours(file)) {
        Some((newest, _)) if newest == path => {
            Hit::Newest(path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
        }
        _ => Hit::Inside,
    }
}

/// The id up to which all is seen, if it is not that up to which all is proven.
pub(super) fn below_which_all_is_seen(sample: &Sample, fault: &Fault, hit: Hit) -> Option<usize> {
    match (fault, hit) {
        // A whole stream.
        (Fault::RemovedDir { .. }, _) => Some(0),
        // The newest segment, or an older version of it.
        (Fault::Removed { .. } | Fault::Older { .. }, Hit::Newest(first_id)) => Some(first_id),
        // Of the newest segment of a process that was killed, the piece may have held every frame that
        // proves another.
        (
            Fault::Cut { .. }
            | Fault::Zeroed { .. }
            | Fault::Duplicated { .. }
            | Fault::Swapped { .. },
            Hit::Newest(first_id),
        ) if !sample.is_closed => Some(first_id),
        _ => None,
    }
}

/// Whether an error of opening or restoring is one that tells the user where to look.
pub(super) fn names_the_place(error: &Error, path: &Path) -> bool {
    let text = error.to_string();
    let named = |place: &Path| text.contains(&place.display().to_string());
    match error {
        Error::UnsupportedVersion { path: named, .. } => named == path,
        Error::Corruption(_) | Error::Damaged { .. } => {
            // The journal knows streams by their numbers.
            let by_the_journal = text.contains(&format!("{ROOT}: the journal holds"));
            named(path) || path.parent().is_some_and(named) || by_the_journal
        }
        Error::Io(error) => error.kind() == std::io::ErrorKind::NotFound && named(Path::new(ROOT)),
        _ => false,
    }
}

/// Looks at a stream in every way there is.
fn look_at(wal: &Wal, name: &str, count: usize) -> Result<Look, String> {
    let stream = wal.stream(name).map_err(|error| format!("stream {name}: {error}"))?;
    let mut seen = Vec::new();
    for id in 0..count as u64 {
        seen.push(match stream.get(id) {
            Ok(Some(entry)) => Seen::Entry(entry.to_vec()),
            Ok(None) => Seen::Gone,
            Err(Error::Damaged { stream, ids, file, .. }) => {
                if stream != name || !ids.contains(&id) {
                    return Err(format!("{name} {id} is not in {ids:?} of {stream}"));
                }
                Seen::Damaged(ids, file)
            }
            Err(Error::Pruned { .. }) => Seen::Gone,
            Err(error) => return Err(format!("reading {name} {id}: {error}")),
        });
    }
    let (first, next) = (stream.first_id() as usize, stream.next_id() as usize);
    let look = Look { first, next, seen };
    if look.next > count {
        return Err(format!("{name} has {} entries, and never had {count}", look.next));
    }
    look.check_gone(name)?;
    iterate(wal, name, &look)?;
    Ok(look)
}

impl Look {
    fn is_damaged(&self) -> bool {
        self.seen.iter().any(|seen| matches!(seen, Seen::Damaged(..)))
    }

    /// Only what was pruned, and what is behind the end, is gone.
    fn check_gone(&self, name: &str) -> Result<(), String> {
        let missing = (self.first..self.next).find(|id| self.seen[*id] == Seen::Gone);
        missing.map_or(Ok(()), |id| Err(format!("{name} {id} is missing in between")))
    }

    fn readable(&self) -> impl Iterator<Item = (usize, &Vec<u8>)> {
        let entry = |(id, seen): (usize, &_)| match seen {
            Seen::Entry(_) => Some(id),
            _ => None,
        };
        let ids: Vec<usize> = self.seen.iter().enumerate().filter_map(entry).collect();
        ids.into_iter().map(|id| match &self.seen[id] {
            Seen::Entry(entry) => (id, entry),
            _ => unreachable!(),
        })
    }
}

/// The iterators say the same as the single reads: each damage, and what is whole around it.
fn iterate(wal: &Wal, name: &str, look: &Look) -> Result<(), String> {
    let mut errors = 0;
    let mut read = 0;
    let iterator = wal.iter_with_ids(name, 0).map_err(|error| format!("{name}: {error}"))?;
    for item in iterator {
        match item {
            Ok((id, entry)) => {
                if look.seen.get(id as usize) != Some(&Seen::Entry(entry)) {
                    return Err(format!("iterating over {name}: entry {id} differs"));
                }
                read += 1;
            }
            Err(Error::CrcMismatch { .. } | Error::Corruption(_)) => errors += 1,
            Err(error) => return Err(format!("iterating over {name}: {error}")),
        }
        if errors > look.seen.len() + 1 {
            return Err(format!("iterating over {name} goes round in circles"));
        }
    }
    if (errors > 0) != look.is_damaged() {
        return Err(format!("{errors} errors while iterating over {name}: {look:?}"));
    }
    let readable = look.readable().count();
    if errors == 0 && read != readable {
        return Err(format!("iterating over {name}: {read} entries, not {readable}"));
    }
    Ok(())
}

/// What became of a stream, of which the entries from `begin` on can be there.
fn judge_stream(history: &History, look: &Look, floor: usize, begin: usize) -> Verdict {
    let History { name, .. } = history;
    let present = history.present();
    let is_entry =
        |state: &State, (id, entry): (usize, &Vec<u8>)| state.entries.get(id) == Some(entry);
    let fits = |state: &&State| {
        look.readable().all(|entry| is_entry(state, entry))
            && (look.is_damaged() || look.next == state.entries.len())
    };
    let Some(state) = history.states.iter().rev().find(fits) else {
        return Err(format!("{name} never was like that: {look:?}"));
    };
    let lost = (present.first.max(begin)..present.entries.len()).find(|id| match &look.seen[*id] {
        Seen::Entry(entry) => !is_entry(present, (*id, entry)),
        Seen::Gone => true,
        Seen::Damaged(..) => false,
    });
    if let Some(id) = lost.filter(|id| *id < floor) {
        return Err(format!("{name} {id} is gone in silence: {look:?}"));
    }
    let is_kept = |id: usize| matches!(look.seen[id], Seen::Entry(_)) || look.is_damaged();
    let first = state.first.max(if lost.is_some() { 0 } else { present.first }).max(begin);
    if let Some(id) = (first..state.entries.len()).find(|id| !is_kept(*id)) {
        return Err(format!("{name} {id} is missing: {look:?}"));
    }
    Ok(match (look.is_damaged(), lost) {
        (true, _) => Outcome::Gap,
        (false, Some(_)) => Outcome::Earlier,
        (false, None) if look.first > present.first => Outcome::Earlier,
        (false, None) => Outcome::Identical,
    })
}

/// What came of a fault, and how often the disk was called for it at most.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) calls: u64,
}

/// A directory that was damaged, or none, for comparison.
pub(super) struct Case<'a> {
    pub(super) sample: &'a Sample,
    pub(super) fault: Option<&'a Fault>,
    /// How entries are read.
    pub(super) read_strategy: ReadStrategy,
}

impl Case<'_> {
    pub(super) fn judge(&self) -> Judged {
        let disk = self
            .fault
            .map_or_else(|| self.sample.disk.snapshot(), |fault| damaged(self.sample, fault));
        let refusing = disk.snapshot();
        let verdict = self.judge_both(&disk, &refusing);
        Judged { verdict, calls: disk.calls_total().max(refusing.calls_total()) }
    }

    fn judge_both(&self, disk: &SimDisk, refusing: &SimDisk) -> Verdict {
        let read_only = self.look_read_only(disk)?;
        let looks = self.open(disk, CorruptionPolicy::Truncate)?;
        let strict = self.open(refusing, CorruptionPolicy::Error)?.map(|(_, looks)| looks);
        let Some((wal, looks)) = looks else {
            // Both policies refuse what nobody can open.
            return if strict.is_none() {
                Ok(Outcome::Refused)
            } else {
                Err("refused, and not".into())
            };
        };
        if strict.is_some_and(|strict| strict != looks) {
            return Err("the policies read differently".into());
        }
        if read_only.is_some_and(|read_only| read_only != looks && !self.sample.is_restored) {
            return Err("reading only reads differently".into());
        }
        let outcome = self.judge_looks(&looks)?;
        #[cfg(feature = "sharded")]
        let outcome = match super::checkpoints::judge(self, &wal)? {
            Outcome::Refused => return Ok(Outcome::Refused),
            of_checkpoints => outcome.max(of_checkpoints),
        };
        self.go_on(disk, wal, looks)?;
        Ok(outcome)
    }

    /// Whether nobody can tell that a stream began earlier. Of the archive what leads up to the stream is
    /// restored, and what is not there is not missed; and the newest segment says what was pruned.
    fn may_begin_later(&self, stream: &str) -> bool {
        let Some(fault) = self.fault else { return false };
        let path = fault.path(&self.sample.material);
        match fault {
            Fault::Removed { .. } | Fault::RemovedDir { .. } => path.starts_with(ARCHIVE),
            Fault::Older { .. } => {
                matches!(what_is_hit(self.sample, path, stream), Hit::Newest(_))
            }
            _ => false,
        }
    }

    fn judge_looks(&self, looks: &[Look]) -> Verdict {
        let mut worst = Outcome::Identical;
        for (history, look) in self.sample.streams.iter().zip(looks) {
            let floor = floor(self.sample, self.fault, history);
            let begin = if self.may_begin_later(&history.name) { look.first } else { 0 };
            worst = worst.max(judge_stream(history, look, floor, begin)?);
            for seen in &look.seen {
                if let Seen::Damaged(ids, file) = seen {
                    self.check_place(history, ids, file)?;
                }
            }
        }
        Ok(worst)
    }

    /// Damage is reported in the file that was hit, or in that which holds what is lost.
    fn check_place(&self, history: &History, ids: &Range<u64>, file: &Path) -> Result<(), String> {
        let Some(fault) = self.fault else { return Err("damage without a fault".into()) };
        let hit = fault.path(&self.sample.material);
        let is_hit = match stream_of(hit) {
            Some(name) if name == history.name => {
                file.file_name() == hit.file_name()
                    || matches!(fault, Fault::Removed { .. } | Fault::Older { .. })
            }
            // The root, or the journal.
            _ => true,
        };
        let of_stream = stream_of(file) == Some(&history.name) && file.starts_with(ROOT);
        // What had been pruned is reported where it was, if nothing says so any more.
        let was_pruned = ids.start < history.present().first as u64;
        if (is_hit || was_pruned) && of_stream {
            Ok(())
        } else {
            Err(format!("{ids:?} are damaged in {}", file.display()))
        }
    }

    /// Opens it; `None`: it is refused, and the place is named.
    fn open(
        &self,
        disk: &SimDisk,
        on_corruption: CorruptionPolicy,
    ) -> Result<Option<(Wal, Vec<Look>)>, String> {
        let options = WalOptions { on_corruption, ..self.sample.options_by(self.read_strategy) };
        let wal = match self.sample.open(disk, &options) {
            Ok(wal) => wal,
            Err(error) => return self.refused("opening", &error),
        };
        if self.sample.is_restored
            && let Err(error) = wal.restore_archived("s")
        {
            return self.refused("restoring", &error);
        }
        let looks = self.look(&wal)?;
        Ok(Some((wal, looks)))
    }

    fn refused<T>(&self, doing: &str, error: &Error) -> Result<Option<T>, String> {
        let path = self.fault.map(|fault| fault.path(&self.sample.material));
        if path.is_some_and(|path| names_the_place(error, path)) {
            return Ok(None);
        }
        Err(format!("{doing}: {error}"))
    }

    fn look(&self, wal: &Wal) -> Result<Vec<Look>, String> {
        let look = |history: &History| {
            let count = history.states.iter().map(|state| state.entries.len()).max().unwrap();
            look_at(wal, &history.name, count)
        };
        self.sample.streams.iter().map(look).collect()
    }

    /// A reader beside nobody, who changes nothing.
    fn look_read_only(&self, disk: &SimDisk) -> Result<Option<Vec<Look>>, String> {
        let changes = || {
            use CallKind::{
                Create, CreateDir, RemoveDir, RemoveFile, Rename, Reserve, SetLen, Write,
            };
            [Create, CreateDir, RemoveDir, RemoveFile, Rename, Reserve, SetLen, Write]
                .map(|kind| disk.calls(kind))
        };
        let before = changes();
        let opened = self.sample.open_read_only(disk).and_then(|wal| {
            // A reader looks at a stream when it is asked for.
            let streams = self.sample.streams.iter();
            streams
                .map(|history| wal.stream(&history.name))
                .collect::<ironwal::Result<Vec<_>>>()?;
            Ok(wal)
        });
        let looks = match opened {
            Ok(wal) => self.look(&wal).map(Some),
            Err(error) => self.refused("opening", &error),
        };
        if changes() != before {
            return Err("reading only changes something".into());
        }
        looks.map_err(|what| format!("reading only: {what}"))
    }

    /// Appends go on where they may, in old streams and a new one; a kill later the same is there, and
    /// what was appended.
    fn go_on(&self, disk: &SimDisk, wal: Wal, mut looks: Vec<Look>) -> Result<(), String> {
        for (history, look) in self.sample.streams.iter().zip(&mut looks) {
            match wal.append(&history.name, AFTERWARDS) {
                Ok(id) if id as usize == look.next => {
                    look.seen.resize(look.next.max(look.seen.len()), Seen::Gone);
                    let seen = Seen::Entry(AFTERWARDS.to_vec());
                    if look.next == look.seen.len() {
                        look.seen.push(seen);
                    } else {
                        look.seen[look.next] = seen;
                    }
                    look.next += 1;
                }
                Ok(id) => return Err(format!("{} gives {id}, not {}", history.name, look.next)),
                Err(Error::Damaged { .. }) if look.is_damaged() => {}
                Err(error) => return Err(format!("appending to {}: {error}", history.name)),
            }
        }
        match wal.append(NEW, AFTERWARDS) {
            Ok(0) => {}
            other => return Err(format!("appending to a new stream: {other:?}")),
        }
        disk.kill();
        drop(wal);
        let options = self.sample.options_by(self.read_strategy);
        let wal =
            self.sample.open(disk, &options).map_err(|error| format!("opening again: {error}"))?;
        for (history, look) in self.sample.streams.iter().zip(&looks) {
            let again = look_at(&wal, &history.name, look.seen.len())
                .map_err(|what| format!("opened again: {what}"))?;
            if again != *look {
                return Err(format!("{} was {look:?}, and is {again:?}", history.name));
            }
        }
        let new = look_at(&wal, NEW, 1).map_err(|what| format!("opened again: {what}"))?;
        if new.seen != [Seen::Entry(AFTERWARDS.to_vec())] {
            return Err(format!("the new stream is {new:?}"));
        }
        Ok(())
    }
}
