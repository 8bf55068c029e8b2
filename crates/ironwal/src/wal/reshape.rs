//! Pruning, cutting, deleting and restoring streams.

use std::io;
use std::path::Path;

use super::archive::{Archive, make_first_kept};
use super::deletion::{Doomed, aside, delete};
use super::inner::Inner;
use super::{names, own};
use crate::commit;
use crate::error::{Error, Result};
use crate::format::header::{Constants, FirstKept, Proof, Slot};
use crate::segment::writer::{EmptyFile, Unfinished, no_space};
use crate::segment::{UNFINISHED_COPY, UNFINISHED_NAME, first_id_of};
use crate::storage::{self, DirEntry, EntryKind, Storage};
use crate::sync::{Arc, PoisonError, lock};

/// How the names of directories begin in which streams are put together that are being restored.
pub(crate) const RESTORED_PREFIX: &str = ".restored.";

/// Which entries are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prune {
    /// All below an id.
    Before(u64),
    /// Those in full segments that hold nothing from an id on.
    SegmentsBefore(u64),
}

impl Inner {
    /// Makes the present segment the last one before it is full.
    pub(super) fn rotate(&self, stream: &Arc<commit::Stream>) -> Result<()> {
        self.with_space(|| stream.rotate())?;
        self.maintainer.appended(stream);
        Ok(())
    }

    /// Prunes, archives what is pruned if there is an archive, and returns how many segments went.
    pub(super) fn prune(&self, stream: &Arc<commit::Stream>, what: Prune) -> Result<usize> {
        let _reshaping = stream.reshape();
        let log = stream.log();
        let _span = tracing::debug_span!("prune", stream = %log.name()).entered();
        log.check_open()?;
        let id = match what {
            Prune::SegmentsBefore(id) => log.border_at(id),
            Prune::Before(id) => {
                let id = id.min(log.next_id());
                if id > log.first_id() {
                    stream.rotate_before(id)?;
                }
                id
            }
        };
        let going = log.full_segments_before(id);
        if going.is_empty() && id <= log.first_id() {
            return Ok(0);
        }
        if let Some(archive) = self.archive(log.dir()) {
            stream.prove_full_segments()?;
            for segment in &going {
                archive.keep(segment.path(), segment.first_id())?;
            }
        }
        let freed = stream.prune(id, going.len())?;
        self.maintainer.delete(freed.iter().map(|it| Doomed::File(it.path().to_path_buf())));
        Ok(freed.len())
    }

    /// Cuts off every entry behind `last_kept`; all there are, if that is `None`.
    pub(super) fn cut(&self, stream: &commit::Stream, last_kept: Option<u64>) -> Result<()> {
        let _reshaping = stream.reshape();
        let log = stream.log();
        log.check_open()?;
        let first_cut = last_kept.map_or(log.first_id(), |last| last.saturating_add(1));
        if first_cut < log.first_id() {
            return Err(Error::Config(format!(
                "stream {:?} cannot end at id {}: it begins at {}, what was before is pruned",
                log.name(),
                first_cut - 1,
                log.first_id()
            )));
        }
        if let (Some(archive), Some(number), Some(oldest)) =
            (self.archive(log.dir()), log.number(), log.oldest_segment())
        {
            archive.forget_behind(first_cut, number, oldest)?;
        }
        let doomed = self.with_space(|| stream.cut_from(first_cut))?;
        self.maintainer.delete(doomed.into_iter().map(Doomed::File));
        Ok(())
    }

    /// Does something that may need space; if there is none, deletes what is about to be deleted and
    /// tries again.
    pub(super) fn with_space<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::StorageFull { .. }) if self.maintainer.drain_deletions() => work(),
            done => done,
        }
    }

    /// Deletes a stream; does nothing if there is none.
    pub(super) fn delete_stream(&self, name: &str) -> Result<()> {
        names::encode(name)?;
        // Nobody creates a stream of this name meanwhile.
        let root = lock(&self.root);
        let Some(root) = root.as_ref() else { return Err(Error::Closed) };
        let found = self.find(name);
        let Some(stream) = found else { return Ok(()) };
        let _reshaping = stream.reshape();
        let Some(number) = stream.log().number() else { return Ok(()) };
        let aside = aside(root.path(), number);
        // A life of the stream that was restored and deleted before has the same number.
        self.maintainer.drain_deletions();
        stream.delete(root.path(), &aside)?;
        stream.log().count_placed();
        self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.maintainer.delete([Doomed::Dir(aside)]);
        Ok(())
    }

    /// Takes the archived segments of a stream back that lead up to its oldest one; returns how many.
    pub(super) fn restore(&self, name: &str) -> Result<usize> {
        let encoded = names::encode(name)?;
        if self.archive_path.is_none() {
            return Ok(0);
        }
        // Nobody creates or deletes a stream of this name meanwhile.
        let root = lock(&self.root);
        let Some(root) = root.as_ref() else { return Err(Error::Closed) };
        let found = self.find(name);
        if let Some(stream) = &found {
            // It may be open whether its deletion, or its first append, was done.
            stream.log().check_open()?;
        }
        match found {
            Some(stream) if stream.log().oldest_segment().is_some() => self.restore_into(&stream),
            _ => self.restore_whole(name, &root.path().join(encoded), root.path()),
        }
    }

    /// Restores what was pruned of a stream that there is.
    fn restore_into(&self, stream: &commit::Stream) -> Result<usize> {
        let _reshaping = stream.reshape();
        // Files that wait to be deleted have the names that are going to be needed. Nobody adds to
        // them from here on.
        self.maintainer.drain_deletions();
        let log = stream.log();
        log.check_open()?;
        let (Some(archive), Some(number), Some(first_id)) =
            (self.archive(log.dir()), log.number(), log.oldest_segment())
        else {
            return Ok(0);
        };
        // What could neither be archived nor deleted when an opening found that it was pruned.
        let storage = &*self.environment.storage;
        for entry in storage.list(log.dir())? {
            let leftover = first_id_of(&entry.name).filter(|leftover| *leftover < first_id);
            if let Some(leftover) = leftover {
                archive.keep(&log.dir().join(&entry.name), leftover)?;
            }
        }
        let chain = archive.chain(Some((number, first_id)))?;
        if chain.is_empty() {
            return Ok(0);
        }
        archive.copy_back(&chain, log.dir())?;
        let readers = chain.iter().map(|it| it.reader(&self.context, log.dir())).collect();
        stream.adopt(readers)?;
        archive.forget(&chain)?;
        Ok(chain.len())
    }

    /// Restores a stream that was deleted, as it was then.
    fn restore_whole(&self, name: &str, dir: &Path, root: &Path) -> Result<usize> {
        let Some(archive) = self.archive(dir) else { return Ok(0) };
        let chain = archive.chain(None)?;
        let Some(number) = chain.first().map(|it| it.slot.constants.stream_number) else {
            return Ok(0);
        };
        let known = self.find(name);
        if let Some(stream) = known {
            // Its handles must not write to the directory that is going to be another stream's.
            if !stream.give_way()? {
                return self.restore_into(&stream);
            }
            self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        let storage = &self.environment.storage;
        make_way(&**storage, dir)?;
        let unfinished = root.join(format!("{RESTORED_PREFIX}{number}"));
        delete(&**storage, &Doomed::Dir(unfinished.clone()));
        storage.create_dir(&unfinished)?;
        archive.copy_back(&chain, &unfinished)?;
        make_first_kept(&**storage, &chain, &unfinished)?;
        self.name_stream(name, &unfinished, dir, root)?;
        archive.forget(&chain)?;
        Ok(chain.len())
    }

    /// Begins a stream that there is not, with a segment without entries; see
    /// [`Wal::begin_stream`](super::Wal::begin_stream).
    pub(super) fn begin_stream(&self, name: &str, first_id: u64) -> Result<()> {
        let encoded = names::encode(name)?;
        let number = self.new_stream_number()?;
        // Nobody creates a stream of this name meanwhile.
        let root = lock(&self.root);
        let Some(root) = root.as_ref() else { return Err(Error::Closed) };
        if let Some(stream) = self.find(name) {
            stream.log().check_open()?;
            // Its handles must not write to the directory that is going to be another stream's.
            if !stream.give_way()? {
                let (stream, next_id) = (name.to_string(), stream.log().next_id());
                return Err(Error::Conflict { stream, expected: first_id, next_id });
            }
            self.streams.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        let (storage, dir) = (&*self.environment.storage, root.path().join(encoded));
        make_way(storage, &dir)?;
        let unfinished = root.path().join(format!("{RESTORED_PREFIX}{number}"));
        storage.create_dir(&unfinished).map_err(|error| no_space(error, &unfinished))?;
        let made = make_empty_segment(storage, &unfinished, self.salt, number, first_id);
        if made.is_err() {
            delete(storage, &Doomed::Dir(unfinished));
            return made;
        }
        self.name_stream(name, &unfinished, &dir, root.path())
    }

    /// Gives the stream in `unfinished`, which is durable but for its name, its directory, and opens it.
    fn name_stream(&self, name: &str, unfinished: &Path, dir: &Path, root: &Path) -> Result<()> {
        let storage = &*self.environment.storage;
        let before = self.shared.root_syncs.before_change();
        storage.rename(unfinished, dir)?;
        if let Err(error) = self.shared.root_syncs.sync(storage, root, before) {
            // Found there, it would be taken for a stream whose name is durable.
            storage.rename(dir, unfinished)?;
            return Err(error.into());
        }
        if let Some(stream) =
            self.recover_one((name.to_string(), dir.to_path_buf()), self.limits)?
        {
            // What they were told last is the end of the life that was deleted.
            stream.list_for_others()?;
            let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
            streams.insert(name.to_string(), Arc::new(stream));
        }
        Ok(())
    }

    /// The archive for what is pruned of a user's stream, if there is one.
    pub(super) fn archive(&self, stream_dir: &Path) -> Option<Archive<'_>> {
        let path = self.archive_path.as_deref().filter(|_| !own::is_own(stream_dir))?;
        Some(Archive::new(&*self.environment.storage, path, stream_dir, self.salt))
    }
}

/// Makes the first segment of a stream of which everything below `first_id` is pruned, durably.
fn make_empty_segment(
    storage: &dyn Storage,
    dir: &Path,
    salt: u64,
    stream_number: u64,
    first_id: u64,
) -> Result<()> {
    let constants = Constants {
        salt,
        stream_number,
        first_id,
        cut_number: 0,
        predecessor_end: 0,
        predecessor_synced: false,
    };
    let first_kept = FirstKept { lowered: 0, id: first_id };
    let slot = Slot { constants, proof: Proof::of_nothing(first_id), first_kept };
    let segment = Unfinished::new(storage, dir, EmptyFile::create(storage, dir)?, slot, 0)?;
    segment.sync()?;
    segment.rename()?;
    Ok(storage.sync_dir(dir)?)
}

/// Removes the directory of a stream that was never appended to, if there is one. Nothing else is
/// removed, whatever stands there: on a file system that takes names for equal which differ in case,
/// it can be another stream.
fn make_way(storage: &dyn Storage, dir: &Path) -> Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let is_ours =
        |entry: &DirEntry| [UNFINISHED_NAME, UNFINISHED_COPY].iter().any(|it| entry.name == *it);
    if !entries.iter().all(is_ours) {
        let what = "holds files that are not the stream's; move them away. The file system may not tell \
                    apart names that differ in case";
        let what = format!("{} {what}", dir.display());
        return Err(Error::Io(io::Error::new(io::ErrorKind::AlreadyExists, what)));
    }
    for entry in entries {
        storage.remove_file(&dir.join(entry.name))?;
    }
    Ok(storage.remove_dir(dir)?)
}

/// Deletes what an interrupted restoration left behind.
pub(super) fn remove_unfinished(storage: &dyn Storage, root: &Path) -> Result<()> {
    for entry in storage.list(root)? {
        let digits = entry.name.to_str().and_then(|name| name.strip_prefix(RESTORED_PREFIX));
        let is_ours = digits.is_some_and(|digits| digits.parse::<u64>().is_ok());
        if is_ours && entry.kind == EntryKind::Dir {
            delete(storage, &Doomed::Dir(root.join(entry.name)));
        }
    }
    Ok(())
}

/// Refuses an archive inside of the log, whose directories are streams.
pub(super) fn check_archive(root: &Path, archive: Option<&Path>) -> Result<()> {
    let Some(archive) = archive else { return Ok(()) };
    let absolute = |path: &Path| storage::absolute(path);
    let (root, archive) = (absolute(root), absolute(archive));
    if archive.starts_with(&root) {
        return Err(Error::Config(format!(
            "archive_path {} is inside of root_path {}: choose a directory outside",
            archive.display(),
            root.display()
        )));
    }
    Ok(())
}
