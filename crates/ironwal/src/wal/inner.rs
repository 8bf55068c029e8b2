//! What all handles of a log share: its settings, its root, and the catalogue of streams.

#[cfg(feature = "sharded")]
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::maintenance::{Maintainer, SYNC_THREADS_MAX};
use super::monitor::Monitor;
use super::own::Sharding;
use super::root::RootDir;
use super::strangers::{or_of_other_root, refuse_other_root};
use super::watch::Lookout;
use super::worker::Worker;
use super::{deletion, names, own, reshape, root};
use crate::commit;
use crate::environment::{Environment, Journal, WriteStrategy};
use crate::error::{Error, Result};
use crate::format::{MAX_SEGMENT_LEN, frame};
use crate::log::mark::{Marks, Watermark};
use crate::log::recover::journal;
use crate::log::recover::replay::Replay;
use crate::log::recover::view::View;
use crate::log::recover::{Keep, recover};
use crate::log::tail::{Append, Limits};
use crate::log::{Identity, Log, Shared, Whole};
use crate::options::{CorruptionPolicy, SyncMode, WalOptions};
use crate::segment::ReadContext;
#[cfg(feature = "sharded")]
use crate::sync::Weak;
use crate::sync::{
    Arc, AtomicBool, Mutex, OnceLock, Ordering, PoisonError, RwLock, in_parallel, lock,
};

pub(super) type Catalogue = BTreeMap<String, Arc<commit::Stream>>;

/// What all handles share.
pub(super) struct Inner {
    pub(super) environment: Environment,
    pub(super) limits: Limits,
    pub(super) files: Arc<commit::Files>,
    pub(super) group: Arc<commit::Group>,
    pub(super) shared: Shared,
    /// Only of a log that is open for reading only.
    pub(super) watermark: Option<Arc<Watermark>>,
    /// The same: the journal that another process may be writing to.
    pub(super) journal_view: Option<Arc<View>>,
    pub(super) sync_mode: SyncMode,
    pub(super) on_corruption: CorruptionPolicy,
    /// Appends of this many bytes are compressed.
    pub(super) pack_min_len: Option<u64>,
    pub(super) context: Arc<ReadContext>,
    pub(super) read_len: usize,
    pub(super) root_path: PathBuf,
    pub(super) archive_path: Option<PathBuf>,
    /// `None` once the log is closed: the lock is released with it.
    pub(super) root: Mutex<Option<RootDir>>,
    pub(super) salt: u64,
    /// How many shards there are, and how keys find them, if the log is sharded.
    pub(super) sharding: OnceLock<Sharding>,
    pub(super) streams: Arc<RwLock<Catalogue>>,
    /// The log of checkpoints: a stream that no user sees.
    pub(super) checkpoints: OnceLock<Arc<commit::Stream>>,
    /// What the handles have in common that are made over this log. They hold this, so it does not
    /// hold them.
    #[cfg(feature = "sharded")]
    pub(super) shared_by_handles: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
    pub(super) closed: AtomicBool,
    pub(super) maintainer: Maintainer,
    pub(super) committer: Worker,
    pub(super) lookout: Lookout,
    pub(super) monitor: Monitor,
}

impl Inner {
    /// Opens a log for writing; see [`Wal::new`](super::Wal::new).
    pub(super) fn open(options: WalOptions, environment: Environment) -> Result<Self> {
        options.check()?;
        let _span = tracing::info_span!("open", root = %options.root_path.display()).entered();
        reshape::check_archive(&options.root_path, options.archive_path.as_deref())?;
        let root = RootDir::open(&options.root_path, &environment)?;
        let storage = &*environment.storage;
        let deletions = deletion::confirm_deletions(storage, root.path())?;
        reshape::remove_unfinished(storage, root.path())?;
        let dirs = root::stream_dirs(storage, root.path())?;
        let threads_max = environment.maintenance.threads_max(cores());
        let salt = root.salt();
        let found = journal::read(storage, root.path(), salt)
            .map_err(|error| or_of_other_root(error, storage, root.path(), salt))?;
        let mut all_dirs: Vec<_> = dirs.iter().map(|(_, dir)| dir.clone()).collect();
        all_dirs.extend(own::checkpoints_dir(storage, root.path())?);
        let replay = Replay {
            storage: &environment.storage,
            root: root.path(),
            salt: root.salt(),
            dirs: &all_dirs,
            deleted: &deletions.numbers,
            policy: options.on_corruption,
            threads_max,
        };
        replay.run(&found)?;
        let limits = Limits {
            segment_len_max: options.max_segment_size.min(MAX_SEGMENT_LEN),
            entries_max: options.max_entries_per_segment,
            sync_mode: options.sync_mode,
            staged_len_max: options.write_buffer_size,
            fileless: environment.journal != Journal::Off,
            maps: environment.write_strategy == WriteStrategy::Auto
                && options.sync_mode != SyncMode::Strict,
        };
        let context = ReadContext::new(Arc::clone(&environment.storage), &options);
        let files = commit::Files::new(options.max_open_segments);
        let marks = Arc::new(Marks::begin(&environment.storage, root.path()));
        let root_syncs = Arc::clone(root.syncs());
        let whole = Arc::new(Whole::new(Arc::clone(&environment.clock)));
        let journal = commit::Journal::new(
            commit::JournalSettings {
                storage: Arc::clone(&environment.storage),
                root: root.path().to_path_buf(),
                salt: root.salt(),
                root_syncs: Arc::clone(&root_syncs),
                len_max: environment.journal_len_max,
                threads_max: environment.maintenance.threads_max(SYNC_THREADS_MAX),
            },
            Arc::clone(&whole),
        );
        let group = commit::Group::new(
            environment.journal,
            environment.maintenance,
            journal,
            Arc::clone(&whole),
        );
        let shared = Shared { files: Arc::clone(files.budget()), marks, root_syncs, whole };
        let inner = Inner {
            limits,
            files,
            group,
            shared,
            watermark: None,
            journal_view: None,
            sync_mode: options.sync_mode,
            on_corruption: options.on_corruption,
            pack_min_len: options.pack_min_len(),
            context,
            read_len: options.read_len(),
            salt: root.salt(),
            root_path: options.root_path,
            archive_path: options.archive_path,
            sharding: root.sharding().map(OnceLock::from).unwrap_or_default(),
            root: Mutex::new(Some(root)),
            streams: Arc::default(),
            checkpoints: OnceLock::new(),
            #[cfg(feature = "sharded")]
            shared_by_handles: Mutex::default(),
            closed: AtomicBool::new(false),
            maintainer: Maintainer::new(environment.clone()),
            committer: Worker::committer(environment.maintenance),
            lookout: Lookout::default(),
            monitor: Monitor::default(),
            environment,
        };
        let storage = &*inner.environment.storage;
        let streams = inner
            .recover_all(dirs)
            .map_err(|error| or_of_other_root(error, storage, &inner.root_path, salt))?;
        if !streams.is_empty() && streams.values().all(|it| it.log().number().is_none()) {
            refuse_other_root(storage, &inner.root_path, salt)?;
        }
        inner.recover_checkpoints(storage, &inner.root_path)?;
        inner.pass_over_numbers(&streams, &deletions.numbers)?;
        let storage = &*inner.environment.storage;
        inner.group.journal().adopt(journal::empty(storage, &inner.root_path, inner.salt, &found)?);
        deletions.finish(storage);
        *inner.streams.write().unwrap_or_else(PoisonError::into_inner) = streams;
        inner.shared.marks.hold();
        inner.monitor.start(&inner, inner.environment.maintenance);
        let streams = inner.streams.read().unwrap_or_else(PoisonError::into_inner).len();
        tracing::debug!(streams, "opened");
        Ok(inner)
    }

    pub(super) fn append_one(
        &self,
        stream: &Arc<commit::Stream>,
        entry: &[u8],
        expected: Option<u64>,
    ) -> Result<u64> {
        let sync = stream.log().sync_mode() == SyncMode::Strict;
        self.append_entry(stream, entry, expected, sync)
    }

    /// Appends one entry; `sync`: it is to be durable when this returns.
    pub(super) fn append_entry(
        &self,
        stream: &Arc<commit::Stream>,
        entry: &[u8],
        expected: Option<u64>,
        sync: bool,
    ) -> Result<u64> {
        let is_plain = self.pack_min_len.is_none_or(|min_len| (entry.len() as u64) < min_len);
        if !sync
            && is_plain
            && expected.is_none()
            && let Some(id) = stream.append_in_place(entry)
        {
            self.maintainer.appended(stream);
            return Ok(id);
        }
        let packed = self.pack(&[entry]);
        let packed = packed.as_ref();
        let append = Append { entries: &[entry], batch: false, sync, expected, packed };
        self.append(stream, &append).map(|ids| ids.start)
    }

    pub(super) fn append_batch(
        &self,
        stream: &Arc<commit::Stream>,
        entries: &[&[u8]],
        expected: Option<u64>,
    ) -> Result<Range<u64>> {
        if entries.is_empty() {
            let next_id = stream.log().next_id();
            return Ok(next_id..next_id);
        }
        let sync = matches!(stream.log().sync_mode(), SyncMode::Strict | SyncMode::BatchOnly);
        let packed = self.pack(entries);
        let packed = packed.as_ref();
        self.append(stream, &Append { entries, batch: true, sync, expected, packed })
    }

    /// Compresses what is appended, if that is wanted and saves space.
    pub(super) fn pack(&self, entries: &[&[u8]]) -> Option<frame::Packed> {
        frame::pack(entries, self.pack_min_len?)
    }

    fn append(&self, stream: &Arc<commit::Stream>, append: &Append<'_>) -> Result<Range<u64>> {
        self.check_writable()?;
        let ids = self.with_space(|| {
            stream.log().number_with(|| self.new_stream_number())?;
            stream.append(&self.root_path, append)
        })?;
        self.maintainer.appended(stream);
        Ok(ids)
    }

    pub(super) fn new_stream_number(&self) -> Result<u64> {
        let mut root = lock(&self.root);
        root.as_mut().ok_or(Error::Closed)?.new_stream_number(&*self.environment.storage)
    }

    /// Enters a new stream into the catalogue. Its files are created by its first append.
    pub(super) fn create_stream(&self, name: &str) -> Result<Arc<commit::Stream>> {
        let directory = names::encode(name)?;
        let root = lock(&self.root);
        let Some(root) = root.as_ref() else { return Err(Error::Closed) };
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = streams.get(name) {
            return Ok(Arc::clone(found));
        }
        let identity = Identity {
            name: name.to_string(),
            dir: root.path().join(directory),
            number: OnceLock::new(),
            salt: self.salt,
        };
        let (context, shared) = (Arc::clone(&self.context), self.shared.clone());
        let log = Log::new(context, shared, identity, self.limits);
        let (files, group) = (Arc::clone(&self.files), Arc::clone(&self.group));
        let stream = Arc::new(commit::Stream::new(log, files, group));
        streams.insert(name.to_string(), Arc::clone(&stream));
        Ok(stream)
    }

    /// The stream of this name, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<Arc<commit::Stream>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Does something with every stream, ours included, whatever happens to one, and returns the
    /// first error.
    pub(super) fn for_each_stream(
        &self,
        work: impl Fn(&Arc<commit::Stream>) -> Result<()>,
    ) -> Result<()> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut first_error = Ok(());
        for stream in streams.values().chain(self.checkpoints.get()) {
            let done = work(stream);
            if first_error.is_ok() {
                first_error = done;
            }
        }
        first_error
    }

    /// Makes every stream durable, several at once, and returns the first error.
    pub(super) fn sync_all(&self) -> Result<()> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner).clone();
        let streams: Vec<_> = streams.values().chain(self.checkpoints.get()).collect();
        let threads_max = self.environment.maintenance.threads_max(SYNC_THREADS_MAX);
        let synced = in_parallel(&streams, threads_max, |stream| {
            stream.stage_queued();
            stream.sync()
        });
        synced.into_iter().collect()
    }

    pub(super) fn close(&self) -> Result<()> {
        let mut root = lock(&self.root);
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _span = tracing::info_span!("close", root = %self.root_path.display()).entered();
        self.committer.stop();
        self.lookout.stop();
        self.maintainer.stop();
        self.monitor.stop();
        if self.watermark.is_some() {
            return Ok(());
        }
        // What a stream could not write is in the journal, and stays there.
        let closed = self.for_each_stream(commit::Stream::close);
        let journal = self.group.journal().close(closed.is_ok());
        let closed = closed.and(journal);
        self.context.clear();
        self.shared.marks.end();
        // Last, so that nobody opens the directory before everything is written.
        *root = None;
        closed
    }

    /// Recovers every stream in the root, several at a time.
    fn recover_all(&self, dirs: Vec<(String, PathBuf)>) -> Result<Catalogue> {
        let recover = |of: &(String, PathBuf)| self.recover_one(of.clone(), self.limits);
        let threads = self.environment.maintenance.threads_max(cores());
        let recovered = in_parallel(&dirs, threads, recover);
        let mut streams = Catalogue::new();
        for ((name, _), stream) in dirs.into_iter().zip(recovered) {
            if let Some(stream) = stream? {
                streams.insert(name, Arc::new(stream));
            }
        }
        Ok(streams)
    }

    /// Recovers the stream in a directory, if there is one.
    pub(super) fn recover_one(
        &self,
        (name, dir): (String, PathBuf),
        limits: Limits,
    ) -> Result<Option<commit::Stream>> {
        let _span = tracing::debug_span!("recover", stream = %name).entered();
        let archive = self.archive(&dir);
        let keep = |path: &Path, first_id| {
            archive.as_ref().map_or(Ok(()), |archive| archive.keep(path, first_id))
        };
        let keep = archive.is_some().then_some(&keep as Keep<'_>);
        let (context, shared, of) = (&self.context, &self.shared, (name, dir.clone()));
        let log = recover(context, shared, of, self.salt, limits, self.on_corruption, keep)?;
        let (files, group) = (Arc::clone(&self.files), Arc::clone(&self.group));
        Ok(log.map(|log| commit::Stream::new(log, files, group)))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(root = %self.root_path.display(), %error, "closing the log failed");
        }
        self.group.forget_streams();
    }
}
