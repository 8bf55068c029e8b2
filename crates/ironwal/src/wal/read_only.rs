//! A log that is opened for reading only, beside whoever writes to it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inner::Inner;
use super::monitor::Monitor;
use super::numbers::refuse_copies_in;
use super::root::{LOCK_NAME, read_root, refuse_legacy, sharding_in};
use super::strangers::{refuse_other_log, refuse_other_root};
use super::{Wal, names};
use crate::commit;
use crate::environment::{Environment, Maintenance};
use crate::error::{Error, Result};
use crate::log::mark::{Marks, Watermark, Writing};
use crate::log::recover::view::View;
use crate::log::tail::Limits;
use crate::log::{Identity, Log, Shared, Whole};
use crate::options::WalOptions;
use crate::segment::ReadContext;
use crate::storage::EntryKind;
use crate::sync::{Arc, AtomicBool, Mutex, OnceLock, PoisonError, sleep};
use crate::wal::maintenance::Maintainer;
use crate::wal::watch::Lookout;
use crate::wal::worker::Worker;

/// How often, and after which pauses, it is looked whether a writer that is opening the log has
/// recovered it.
const LOOKS_MAX: u32 = 10_000;
const PAUSE: Duration = Duration::from_millis(1);

impl Wal {
    /// Opens the log in `options.root_path` for reading only. Takes no lock and writes nothing, so it
    /// works beside a process that writes, and on a read-only file system.
    ///
    /// What is committed there is seen with the next call that looks at the end: reads of later ids,
    /// an iterator that reaches the end, [`Stream::next_id`](crate::Stream::next_id). Nothing is seen
    /// that is not committed, and nothing that was committed before the call is missed: a call that
    /// looks at the end waits while a writer recovers the log, or is in the middle of cutting a stream
    /// off. If that takes longer than ten seconds, it returns [`Error::Locked`]; methods that return no
    /// error go on with what was known.
    ///
    /// Entries are read by system calls, whatever the [`ReadStrategy`](crate::ReadStrategy). Methods
    /// that change something return [`Error::ReadOnly`]. Blocks while a writer recovers the log.
    ///
    /// ```
    /// use ironwal::{Wal, WalOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let writer = Wal::new(WalOptions::new(path))?;
    /// let reader = Wal::open_read_only(WalOptions::new(path))?; // as a rule in another process
    /// writer.append("orders", b"one coffee")?;
    /// assert_eq!(reader.get("orders", 0)?.as_deref(), Some(&b"one coffee"[..]));
    /// assert!(reader.append("orders", b"two").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Io`] of the kind `NotFound`: there is no log.
    /// - [`Error::Locked`]: a writer has it open that cannot tell other processes what is committed
    ///   (its file system cannot share memory, or was full), or that has been recovering it for
    ///   longer than ten seconds. Try again when it has ended.
    /// - [`Error::Corruption`], [`Error::UnsupportedVersion`], [`Error::LegacyDirectory`], [`Error::Config`].
    pub fn open_read_only(options: WalOptions) -> Result<Self> {
        Self::open_read_only_with(options, Environment::default())
    }

    /// Opens the log like [`Wal::open_read_only`], with a disk from outside.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ironwal::storage::SimDisk;
    /// use ironwal::{Environment, Error, Wal, WalOptions};
    ///
    /// let environment = Environment::default().with_storage(Arc::new(SimDisk::new(42)));
    /// let open = || Wal::open_read_only_with(WalOptions::new("/log"), environment.clone());
    /// assert!(matches!(open(), Err(Error::Io(_)))); // there is no log, and it makes none
    /// let writer = Wal::open_with(WalOptions::new("/log"), environment.clone())?;
    /// writer.append("orders", b"tea")?;
    /// assert_eq!(open()?.get("orders", 0)?, Some(b"tea".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Wal::open_read_only`].
    pub fn open_read_only_with(options: WalOptions, environment: Environment) -> Result<Self> {
        options.check()?;
        let path = &options.root_path;
        let storage = Arc::clone(&environment.storage);
        let Some(root) = read_root(&*storage, path)? else {
            refuse_legacy(&*storage, path)?;
            refuse_other_log(&*storage, path)?;
            return Err(Error::Io(no_log(path)));
        };
        let how = environment.maintenance;
        let environment = environment.with_maintenance(Maintenance::Inline);
        let watermark = Watermark::new(Arc::clone(&storage), path, path.join(LOCK_NAME));
        let view = View::new(Arc::clone(&storage), path.clone(), root.salt);
        let files = commit::Files::new(options.max_open_segments);
        let marks = Arc::new(Marks::none(&storage));
        let whole = Arc::new(Whole::default());
        let inner = Inner {
            limits: Limits::NONE,
            group: commit::Group::unused(&storage, Arc::clone(&whole)),
            shared: Shared {
                files: Arc::clone(files.budget()),
                marks,
                root_syncs: Arc::default(),
                whole,
            },
            files,
            context: ReadContext::without_maps(storage, &options),
            maintainer: Maintainer::new(environment.clone()),
            committer: Worker::committer(environment.maintenance),
            lookout: Lookout::default(),
            monitor: Monitor::default(),
            environment,
            sync_mode: options.sync_mode,
            pack_min_len: None,
            on_corruption: options.on_corruption,
            read_len: options.read_len(),
            root_path: options.root_path,
            archive_path: None,
            root: Mutex::new(None),
            salt: root.salt,
            sharding: sharding_in(&root).map(OnceLock::from).unwrap_or_default(),
            checkpoints: OnceLock::new(),
            streams: Arc::default(),
            #[cfg(feature = "sharded")]
            shared_by_handles: Mutex::default(),
            closed: AtomicBool::new(false),
            watermark: Some(Arc::new(watermark)),
            journal_view: Some(Arc::new(view)),
        };
        if inner.wait_for_writer()? {
            let storage = &*inner.environment.storage;
            refuse_other_root(storage, &inner.root_path, inner.salt)?;
            refuse_copies_in(storage, &inner.root_path, inner.salt)?;
        }
        // Nobody here waits for a disk; but the recorder is told how far followers are.
        if cfg!(feature = "metrics") {
            inner.monitor.start(&inner, how);
        }
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// Refuses to change a log that is open for reading only.
    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.watermark {
            None => Ok(()),
            Some(_) => Err(Error::ReadOnly(self.root_path.clone())),
        }
    }

    /// Waits until whoever writes to the log tells what is committed, and says whether nobody does.
    fn wait_for_writer(&self) -> Result<bool> {
        let Some(watermark) = &self.watermark else { return Ok(false) };
        for _ in 0..LOOKS_MAX {
            match watermark.look(None)? {
                Writing::Unknown => {}
                Writing::Nobody { .. } => return Ok(true),
                Writing::Somebody { .. } => return Ok(false),
            }
            sleep(PAUSE);
        }
        Err(Error::Locked(self.root_path.clone()))
    }

    /// The stream of this name, there or not, as it is now.
    pub(super) fn look_at(&self, name: &str) -> Result<Option<Arc<commit::Stream>>> {
        let (Some(watermark), Some(view)) = (&self.watermark, &self.journal_view) else {
            return Ok(None);
        };
        let known = self.find(name);
        if let Some(known) = known {
            known.log().refresh()?;
            if !known.log().is_gone() {
                return Ok(Some(known));
            }
        }
        let dir = self.root_path.join(names::encode(name)?);
        let stream = Arc::new(self.remote_stream(name, dir, watermark, view));
        stream.log().refresh()?;
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(name.to_string(), Arc::clone(&stream));
        Ok(Some(stream))
    }

    /// A stream that another process may be writing to; nothing of it is known yet.
    pub(super) fn remote_stream(
        &self,
        name: &str,
        dir: PathBuf,
        watermark: &Arc<Watermark>,
        view: &Arc<View>,
    ) -> commit::Stream {
        let (name, number) = (name.to_string(), OnceLock::new());
        let identity = Identity { name, dir, number, salt: self.salt };
        let (context, watermark) = (Arc::clone(&self.context), Arc::clone(watermark));
        let log = Log::remote(context, identity, watermark, Arc::clone(view));
        commit::Stream::new(log, Arc::clone(&self.files), Arc::clone(&self.group))
    }

    /// The names of the streams that have a directory.
    pub(super) fn names_there(&self) -> Result<Vec<String>> {
        let entries = self.environment.storage.list(&self.root_path)?;
        let dirs = entries.into_iter().filter(|entry| entry.kind == EntryKind::Dir);
        Ok(dirs.filter_map(|entry| names::decode(&entry.name)).collect())
    }

    /// Looks at every stream that has a directory.
    pub(super) fn look_at_all(&self) -> Result<()> {
        if self.watermark.is_none() {
            return Ok(());
        }
        for name in self.names_there()? {
            self.look_at(&name)?;
        }
        Ok(())
    }
}

fn no_log(path: &Path) -> io::Error {
    let what = format!("there is no log in {}", path.display());
    io::Error::new(io::ErrorKind::NotFound, what)
}
