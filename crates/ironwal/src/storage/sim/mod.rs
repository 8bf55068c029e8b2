//! A disk in memory that crashes and fails from a seed.
//!
//! [`SimDisk`] is a [`Storage`] that does everything which the table of
//! [`storage`](crate::storage) allows, and nothing that it forbids. The same seed and the same
//! calls give the same disk, byte for byte: there is no clock, no thread and no address in it.
//!
//! # The model
//!
//! - **Two images.** Reads see the live one; [`SimDisk::crash`] picks what survives from the
//!   durable one and from what was not synced since: sector by sector, length by length, entry by
//!   entry, each on its own. A file's sync saves nothing of its directory.
//! - **Write-back.** After a write, some of what is not synced may become durable on its own
//!   ([`SimConfig::write_back`]), so that versions between two syncs can be what survives.
//! - **A failed sync** drops what was to be saved, but for a random part: reads still show it,
//!   and later syncs answer `Ok` without saving it. Writing into a sector again makes that sector
//!   dirty again. A length that was lost is saved by a sync again as far as bytes were written
//!   again up to it, or when the length changes; setting the length that the file has already is
//!   no change. When a file grows, what it gains is dirty, whatever was lost there.
//!   [`SimDisk::evict`], and by chance [`SimDisk::kill`], make the losses visible to reads.
//! - **A failed `sync_dir`** drops changes of entries in the same way, if
//!   [`SimConfig::dir_sync_failure_loses`]; otherwise they stay pending, as on a file system that
//!   survives such an error.
//! - **Changes of directories** refer to files, not to names. A kept change is done even if the
//!   one that it followed is lost: a file whose creation was lost but whose renaming was kept is
//!   there under the new name. What was created but is reached by no kept change is gone, and a
//!   directory goes with all that is in it.
//! - **Space.** With a [`SimConfig::capacity`], blocks of 4096 bytes are taken when they are
//!   written or reserved, and given back when the file that has them is cut or removed and no
//!   handle is open on it. Space that was reserved can always be written.
//! - **Maps.** [`File::map`] gives a copy of what reads show at that moment. [`File::map_writable`]
//!   gives memory that is the file; storing where no space is reserved, which would end a real process,
//!   is an error. Stores are no calls, so faults do not strike them.
//! - **Shared memory** is a file whose words all processes see: stores change it as writes do, and a
//!   kill leaves it. After a crash, what its words hold is up to the seed: what sectors would, zeros,
//!   or garbage, and a mixture. Loads and stores are no calls, so faults do not strike them.
//! - **Processes.** Handles and locks end with [`SimDisk::kill`] and [`SimDisk::crash`]; what
//!   they do afterwards is an error and has no effect. [`SimDisk::process`] gives a `Storage` that
//!   ends likewise, so that the destructors of a program that is "dead" change nothing either.
//!
//! # Examples
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use ironwal::storage::{OpenMode, SimDisk, Storage};
//! use std::path::Path;
//!
//! let disk = SimDisk::new(42);
//! let file = disk.open(Path::new("/log"), OpenMode::Create)?;
//! file.write_at(b"hello", 0)?;
//! file.sync()?;
//! disk.sync_dir(Path::new("/"))?;
//! disk.crash();
//! assert!(file.len().is_err());
//! assert_eq!(disk.contents(Path::new("/log"))?, b"hello");
//! # Ok(())
//! # }
//! ```

mod blocks;
mod crashes;
mod faults;
mod image;
mod map;
mod page;
mod state;
mod tree;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fastrand::Rng;

use self::faults::Verdict;
use self::image::{FileImage, PAGE_LEN_U64};
use self::map::SimMap;
use self::state::{State, check_range, roll};
use self::tree::{InodeId, Node};
use self::words::SimWords;
use super::disk::{name_error, name_rename_error};
use super::{DirEntry, File, Lock, OpenMode, SharedWords, Storage, WritableMap};

pub use self::crashes::check_crashes;
pub use self::faults::{CallKind, Failure};

/// How a [`SimDisk`] behaves. Chances are from 0 to 1.
///
/// ```
/// # use std::{io::ErrorKind, path::Path};
/// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::SimConfig};
/// let small = SimConfig { seed: 42, capacity: Some(4096), ..SimConfig::default() };
/// let disk = SimDisk::with_config(small);
/// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
/// assert_eq!(file.write_at(&[1; 5000], 0)?, 4096); // as far as there is room
/// let full = file.write_at(&[1; 904], 4096).unwrap_err();
/// assert_eq!(full.kind(), ErrorKind::StorageFull);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimConfig {
    /// Where every choice comes from.
    pub seed: u64,
    /// How many bytes the blocks of all files may take, if there is a limit.
    pub capacity: Option<u64>,
    /// The chance that a call that changes a file is followed by some write-back of that file.
    pub write_back: f64,
    /// The chance that a write of several bytes does only the first of them.
    pub short_writes: f64,
    /// The chance that a read of several bytes returns only the first of them.
    pub short_reads: f64,
    /// The chance, per file, that [`SimDisk::kill`] drops from the cache what failed syncs lost.
    pub eviction: f64,
    /// Whether a failed [`Storage::sync_dir`] loses changes, which later ones do not save.
    pub dir_sync_failure_loses: bool,
    /// Whether calls are recorded; see [`SimDisk::trace`].
    pub trace: bool,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            capacity: None,
            write_back: 0.1,
            short_writes: 0.0,
            short_reads: 0.0,
            eviction: 0.5,
            dir_sync_failure_loses: true,
            trace: false,
        }
    }
}

/// A disk in memory with crashes and faults; clones share it. See the [module](self).
///
/// The methods beside those of [`Storage`] are for tests: they are never counted, never fail
/// because of a fault, and work while the power is off.
///
/// ```
/// use std::sync::Arc;
/// use ironwal::storage::SimDisk;
/// use ironwal::{Environment, Maintenance, Wal, WalOptions};
///
/// let disk = SimDisk::new(42);
/// let open = || {
///     let environment = Environment::default().with_storage(Arc::new(disk.process()));
///     let environment = environment.with_maintenance(Maintenance::Inline);
///     Wal::open_with(WalOptions::new("/log"), environment)
/// };
/// let wal = open()?;
/// wal.append("orders", b"tea")?;
/// disk.crash();
/// assert!(wal.append("orders", b"coffee").is_err()); // its process is dead
/// assert_eq!(open()?.get("orders", 0)?, Some(b"tea".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The process that this handle belongs to, if it dies with one.
    epoch: Option<u64>,
}

impl SimDisk {
    /// An empty disk with [`SimConfig::default`] and this seed.
    ///
    /// ```
    /// # use std::{io, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// fn survivor(seed: u64) -> io::Result<Vec<u8>> {
    ///     let disk = SimDisk::new(seed);
    ///     let file = disk.open(Path::new("/log"), OpenMode::Create)?;
    ///     disk.sync_dir(Path::new("/"))?;
    ///     file.write_at(&[1; 4096], 0)?; // not synced
    ///     disk.crash();
    ///     disk.contents(Path::new("/log"))
    /// }
    /// assert_eq!(survivor(42)?, survivor(42)?);
    /// let first = survivor(0)?;
    /// assert!((1..20).any(|seed| survivor(seed).is_ok_and(|other| other != first)));
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn new(seed: u64) -> Self {
        Self::with_config(SimConfig { seed, ..SimConfig::default() })
    }

    /// An empty disk.
    ///
    /// See [`SimConfig`] for an example.
    pub fn with_config(config: SimConfig) -> Self {
        Self::from_state(State::new(config))
    }

    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), epoch: None }
    }

    /// The same disk as a process sees it that starts now: after the next [`SimDisk::kill`] or
    /// [`SimDisk::crash`], every call of [`Storage`] through it fails and does nothing.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// # let root = Path::new("/");
    /// let process = disk.process();
    /// process.list(root)?;
    /// disk.kill();
    /// assert!(process.list(root).is_err());
    /// disk.process().list(root)?; // the next one lives
    /// disk.list(root)?; // and this belongs to none
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn process(&self) -> Self {
        Self { state: Arc::clone(&self.state), epoch: Some(self.state().epoch) }
    }

    /// An independent copy of the whole disk, on which no process runs. Its later choices are the
    /// same as those of the original, unless it is given another seed.
    ///
    /// ```
    /// # use std::{collections::BTreeSet, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// disk.replace(path, b"old")?;
    /// disk.open(path, OpenMode::ReadWrite)?.write_at(b"new", 0)?; // not synced
    /// let mut outcomes = BTreeSet::new();
    /// for seed in 0..20 {
    ///     let copy = disk.snapshot();
    ///     copy.reseed(seed);
    ///     copy.crash();
    ///     outcomes.insert(copy.contents(path)?);
    /// }
    /// assert!(outcomes.contains(&b"old"[..]) && outcomes.contains(&b"new"[..]));
    /// assert_eq!(disk.contents(path)?, b"new"); // it did not crash
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut state = self.state().clone();
        state.end_process();
        Self::from_state(state)
    }

    /// Makes the choices from here on come from this seed.
    ///
    /// See [`SimDisk::snapshot`] for an example.
    pub fn reseed(&self, seed: u64) {
        self.state().rng = Rng::with_seed(seed);
    }

    /// Changes the configuration from here on; the seed is left alone.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// disk.configure(|config| config.capacity = Some(0));
    /// let full = disk.open(path, OpenMode::Create).unwrap_err();
    /// assert_eq!(full.kind(), ErrorKind::StorageFull);
    /// disk.configure(|config| config.capacity = None); // somebody made room
    /// disk.open(path, OpenMode::Create)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn configure(&self, change: impl FnOnce(&mut SimConfig)) {
        change(&mut self.state().config);
    }

    /// The process dies: all handles and locks end, and what was written stays as it is. By
    /// chance the cache drops what failed syncs lost. If the power is off, it stays off.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(0);
    /// # let path = Path::new("/log");
    /// let file = disk.open(path, OpenMode::Create)?;
    /// file.write_at(b"tea", 0)?; // not synced
    /// disk.kill();
    /// assert!(file.sync().is_err()); // too late
    /// assert_eq!(disk.contents(path)?, b"tea"); // the operating system has it
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) {
        let state = &mut *self.state();
        state.end_process();
        let chance = state.config.eviction;
        state.tree.evict(|| roll(&mut state.rng, chance));
        state.note(|_| "killed".to_owned());
    }

    /// Power is lost and comes back: all handles and locks end, and the disk is in one of the
    /// states that it may be in then. Faults that have not struck yet stay; a power cut that was
    /// to come is off.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// let mut kept = 0;
    /// for seed in 0..20 {
    ///     let disk = SimDisk::new(seed);
    ///     let file = disk.open(Path::new("/log"), OpenMode::Create)?;
    ///     file.sync()?; // and no sync of its directory
    ///     disk.crash();
    ///     kept += disk.files().len();
    /// }
    /// assert!(0 < kept && kept < 20); // by the seed, the file is there or is not
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn crash(&self) {
        let state = &mut *self.state();
        state.note(|_| "crashed".to_owned());
        state.end_process();
        state.schedule.power_on();
        let (trace, is_traced) = (&mut state.trace, state.config.trace);
        state.tree.crash(&mut state.rng, |line| {
            if is_traced {
                trace.push(line());
            }
        });
    }

    /// The cache drops everything that failed syncs lost: reads show what is durable. A lost
    /// length shows in files that are not open.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::CallKind};
    /// # let path = Path::new("/log");
    /// let disk = SimDisk::new(0); // other seeds may save it before the sync fails
    /// disk.replace(path, b"old")?;
    /// let file = disk.open(path, OpenMode::ReadWrite)?;
    /// file.write_at(b"new", 0)?;
    /// disk.fail_nth(CallKind::Sync, 1, ErrorKind::Other);
    /// assert!(file.sync().is_err());
    /// assert!(file.sync().is_ok()); // and saves nothing
    /// assert_eq!(disk.contents(path)?, b"new");
    /// disk.evict();
    /// assert_eq!(disk.contents(path)?, b"old");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn evict(&self) {
        let state = &mut *self.state();
        state.tree.evict(|| true);
        state.note(|_| "evicted".to_owned());
    }

    /// Makes the `n`-th call from now (1 is the next one) fail like this; `kind` says of which kind, `None` of any. Faults can be queued. A call that several of them hit fails
    /// once.
    ///
    /// What a failed call may have done all the same is what the table of
    /// [`storage`](crate::storage) says, by chance. Calls that are not in it do nothing.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::CallKind};
    /// # let disk = SimDisk::new(42);
    /// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
    /// disk.fail_nth(CallKind::Sync, 2, ErrorKind::StorageFull);
    /// file.sync()?;
    /// file.write_at(b"tea", 0)?; // of another kind
    /// assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::StorageFull);
    /// file.sync()?; // a fault strikes once
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fail_nth(&self, kind: impl Into<Option<CallKind>>, n: u64, failure: impl Into<Failure>) {
        self.state().schedule.fail_nth(kind.into(), n, failure.into());
    }

    /// Forgets the faults that have not struck yet, and a power cut that was to come.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// disk.fail_nth(None, 1, ErrorKind::Other);
    /// disk.cut_power_at(2);
    /// disk.clear_faults();
    /// disk.open(Path::new("/log"), OpenMode::Create)?.sync()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clear_faults(&self) {
        self.state().schedule.clear_faults();
    }

    /// Cuts the power at the `n`-th call from now (1 is the next one): it is done, done in part or
    /// not done, by chance; it and all calls after it fail until [`SimDisk::crash`].
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
    /// disk.cut_power_at(2);
    /// file.write_at(b"tea", 0)?;
    /// assert!(file.sync().is_err()); // nobody knows whether it was done
    /// assert!(disk.power_is_off());
    /// assert!(disk.list(Path::new("/")).is_err());
    /// disk.crash();
    /// assert!(disk.list(Path::new("/")).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cut_power_at(&self, n: u64) {
        self.state().schedule.cut_power_at(n);
    }

    /// Whether the power has been cut.
    ///
    /// See [`SimDisk::cut_power_at`] for an example.
    pub fn power_is_off(&self) -> bool {
        self.state().schedule.power_is_off()
    }

    /// How many calls of a kind there have been, failed ones included. Calls of dead processes
    /// and those without power do not count.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::{SimDisk, sim::CallKind};
    /// # let disk = SimDisk::new(42);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.clone()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// let wal = Wal::open_with(WalOptions::new("/log"), environment)?;
    /// wal.append("orders", b"tea")?; // creates the stream
    /// let (syncs, total) = (disk.calls(CallKind::Sync), disk.calls_total());
    /// wal.append("orders", b"coffee")?;
    /// assert_eq!(disk.calls(CallKind::Sync), syncs + 1);
    /// assert_eq!(disk.calls_total(), total + 2); // and one write
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.state().schedule.count(kind)
    }

    /// How many calls there have been in all.
    ///
    /// See [`SimDisk::calls`] for an example.
    pub fn calls_total(&self) -> u64 {
        self.state().schedule.count_all()
    }

    /// What [`SimConfig::capacity`] is measured against: the bytes of the blocks of all files that
    /// are there or open.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// let file = disk.open(path, OpenMode::Create)?;
    /// file.write_at(b"tea", 0)?;
    /// disk.remove_file(path)?;
    /// assert_eq!(disk.used_bytes(), 4096); // a block, and the file is open
    /// drop(file);
    /// assert_eq!(disk.used_bytes(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn used_bytes(&self) -> u64 {
        self.state().tree.blocks_used() * PAGE_LEN_U64
    }

    /// The calls so far, in order, if [`SimConfig::trace`] is on, with what each kill and crash did.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage, sim::SimConfig};
    /// let disk = SimDisk::with_config(SimConfig { trace: true, ..SimConfig::default() });
    /// disk.open(Path::new("/log"), OpenMode::Create)?.sync()?;
    /// disk.kill();
    /// assert_eq!(disk.trace(), ["1: create /log Create", "2: fdatasync /log", "killed"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The paths of all files, sorted.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// disk.create_dir(Path::new("/orders"))?;
    /// disk.open(Path::new("/orders/0"), OpenMode::Create)?;
    /// disk.open(Path::new("/lock"), OpenMode::Create)?;
    /// assert_eq!(disk.files(), ["/lock", "/orders/0"].map(Path::new)); // no directories
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().tree.file_paths()
    }

    /// What a file holds, as reads show it.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::{OpenMode, SimDisk, Storage};
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// disk.open(path, OpenMode::Create)?.write_at(b"tea", 0)?;
    /// disk.cut_power_at(1);
    /// assert!(disk.list(Path::new("/")).is_err());
    /// assert_eq!(disk.contents(path)?, b"tea"); // for a test, which needs no power
    /// let missing = disk.contents(Path::new("/lock")).unwrap_err();
    /// assert_eq!(missing.kind(), ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or [`io::ErrorKind::FileTooLarge`] if it does not fit in memory.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.tree.find(path).and_then(|id| state.tree.file(id));
        let content =
            file.and_then(|file| file.content().ok_or(io::ErrorKind::FileTooLarge.into()));
        content.map_err(|e| name_error("read", path, e))
    }

    /// Changes bytes of a file durably, as rot would, and lengthens it as needed.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::SimDisk;
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// disk.replace(path, b"tea")?;
    /// disk.overwrite(path, 1, b"??")?;
    /// disk.crash();
    /// assert_eq!(disk.contents(path)?, b"t??"); // it is on the disk at once
    /// disk.overwrite(path, 4, b"!")?;
    /// assert_eq!(disk.contents(path)?, b"t??\0!");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state();
        check_range(offset, bytes.len() as u64)
            .and_then(|_| state.tree.find(path))
            .and_then(|id| state.tree.file_mut(id))
            .map(|file| file.overwrite(bytes, offset))
            .map_err(|e| name_error("overwrite", path, e))
    }

    /// Makes a file hold these bytes durably; creates it, and its directories, if they are missing.
    ///
    /// ```
    /// # use std::path::Path;
    /// # use ironwal::storage::SimDisk;
    /// # let disk = SimDisk::new(42);
    /// let path = Path::new("/backup/orders/0");
    /// disk.replace(path, b"tea and coffee")?; // and the directories are there
    /// disk.replace(path, b"tea")?;
    /// disk.crash();
    /// assert_eq!(disk.contents(path)?, b"tea");
    /// assert!(disk.replace(Path::new("/backup"), b"tea").is_err()); // that is a directory
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the path is, or leads through, something else than it should.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = FileImage::durable_from(bytes);
        let planted = self.state().tree.plant(path, file);
        planted.map_err(|e| name_error("replace", path, e))
    }

    /// Removes a file durably.
    ///
    /// ```
    /// # use std::{io::ErrorKind, path::Path};
    /// # use ironwal::storage::SimDisk;
    /// # let disk = SimDisk::new(42);
    /// # let path = Path::new("/log");
    /// disk.replace(path, b"tea")?;
    /// disk.remove(path)?;
    /// disk.crash(); // brings nothing back
    /// assert_eq!(disk.remove(path).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let found = state.tree.find(path).and_then(|id| {
            state.tree.file(id)?;
            state.tree.uproot(id);
            Ok(())
        });
        found.map_err(|e| name_error("remove", path, e))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way, so the state is whole even if a test's thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one call: counts it, lets it fail, records it.
    fn call<T>(
        &self,
        epoch: Option<u64>,
        kind: CallKind,
        what: impl FnOnce() -> String,
        body: impl FnOnce(&mut State, Verdict) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.state();
        if epoch.is_some_and(|epoch| epoch != state.epoch) {
            return Err(io::Error::other("the process is dead"));
        }
        if state.schedule.power_is_off() {
            return Err(power_is_off());
        }
        let verdict = state.schedule.judge(kind);
        let is_run = match verdict {
            Verdict::Done | Verdict::Short => true,
            Verdict::Failed(_) => kind.can_be_partial(),
            Verdict::Cut => kind.can_be_partial() || state.rng.bool(),
        };
        let result = is_run.then(|| body(state, verdict));
        let result = match (verdict, result) {
            (Verdict::Failed(failure), _) => Err(failure.error()),
            (Verdict::Done | Verdict::Short, Some(result)) => result,
            (Verdict::Cut | Verdict::Done | Verdict::Short, _) => Err(power_is_off()),
        };
        state.note(|number| match &result {
            Ok(_) => format!("{number}: {}", what()),
            Err(error) => format!("{number}: {}: {error}", what()),
        });
        result
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

/// Tells contents apart in a trace (64-bit FNV-1a).
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Storage for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (kind, operation) = match mode {
            OpenMode::Create => (CallKind::Create, "create"),
            OpenMode::Read | OpenMode::ReadWrite => (CallKind::Open, "open"),
        };
        let what = || format!("{operation} {} {mode:?}", path.display());
        let opened = self
            .call(self.epoch, kind, what, |state, _| Ok((state.open(path, mode)?, state.epoch)));
        let (inode, epoch) = opened.map_err(|e| name_error(operation, path, e))?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            epoch,
            inode,
            path: path.to_path_buf(),
            is_writable: mode != OpenMode::Read,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let what = || format!("list {}", dir.display());
        self.call(self.epoch, CallKind::List, what, |state, _| state.list(dir))
            .map_err(|e| name_error("list", dir, e))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let what = || format!("mkdir {}", dir.display());
        self.call(self.epoch, CallKind::CreateDir, what, |state, _| {
            state.create_new(dir, Node::empty_dir()).map(drop)
        })
        .map_err(|e| name_error("mkdir", dir, e))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = || format!("rename {} to {}", from.display(), to.display());
        self.call(self.epoch, CallKind::Rename, what, |state, _| state.rename(from, to))
            .map_err(|e| name_rename_error(from, to, e))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let what = || format!("unlink {}", path.display());
        self.call(self.epoch, CallKind::RemoveFile, what, |state, _| state.remove_file(path))
            .map_err(|e| name_error("unlink", path, e))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let what = || format!("rmdir {}", dir.display());
        self.call(self.epoch, CallKind::RemoveDir, what, |state, _| state.remove_dir(dir))
            .map_err(|e| name_error("rmdir", dir, e))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let what = || format!("sync directory {}", dir.display());
        self.call(self.epoch, CallKind::SyncDir, what, |state, verdict| {
            state.sync_dir(dir, verdict)
        })
        .map_err(|e| name_error("fsync", dir, e))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let what = || format!("lock {}", path.display());
        let locked = self.call(self.epoch, CallKind::Lock, what, |state, _| {
            Ok((state.lock(path)?, state.epoch))
        });
        let (inode, epoch) = locked.map_err(|e| name_error("lock", path, e))?;
        Ok(Box::new(SimLock { disk: self.clone(), epoch, inode }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let what = || format!("is_locked {}", path.display());
        let found = self.call(self.epoch, CallKind::Lock, what, |state, _| state.is_locked(path));
        found.map_err(|e| name_error("lock", path, e))
    }

    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        let what = || format!("share {}: {count} words", path.display());
        let words = self.call(self.epoch, CallKind::Share, what, |state, verdict| {
            let inode = state.share(path, count, verdict)?;
            state.open_words(inode, verdict)
        });
        let words = words.map_err(|e| name_error("share", path, e))?;
        Ok(Arc::new(SimWords::new(self.clone(), words, true)))
    }

    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        let what = || format!("open shared {}", path.display());
        let words = self.call(self.epoch, CallKind::Share, what, |state, verdict| {
            let inode = state.tree.find(path)?;
            state.open_words(inode, verdict)
        });
        let words = words.map_err(|e| name_error("open shared", path, e))?;
        Ok(Arc::new(SimWords::new(self.clone(), words, false)))
    }
}

/// An open file; dies with the process that opened it.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    epoch: u64,
    inode: InodeId,
    /// Where it was opened, for errors and the trace; it may have been renamed since.
    path: PathBuf,
    is_writable: bool,
}

impl SimFile {
    fn call<T>(
        &self,
        kind: CallKind,
        operation: &str,
        details: impl FnOnce() -> String,
        body: impl FnOnce(&mut State, Verdict) -> io::Result<T>,
    ) -> io::Result<T> {
        let what = || format!("{operation} {}{}", self.path.display(), details());
        let is_change = matches!(kind, CallKind::Write | CallKind::SetLen | CallKind::Reserve);
        let result = self.disk.call(Some(self.epoch), kind, what, |state, verdict| {
            if is_change && !self.is_writable {
                let denied = "the file is open for reading only";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, denied));
            }
            body(state, verdict)
        });
        result.map_err(|e| name_error(operation, &self.path, e))
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = buf.len();
        let details = || format!(" at {offset}: {len} bytes");
        self.call(CallKind::Read, "read", details, |state, verdict| {
            state.read(self.inode, buf, offset, verdict)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let details = || {
            let fingerprint = fingerprint(buf);
            format!(" at {offset}: {} bytes, {fingerprint:016x}", buf.len())
        };
        self.call(CallKind::Write, "write", details, |state, verdict| {
            state.write(self.inode, buf, offset, verdict)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.call(CallKind::Len, "stat", String::new, |state, _| {
            Ok(state.tree.file(self.inode)?.len())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let details = || format!(" to {len}");
        self.call(CallKind::SetLen, "ftruncate", details, |state, verdict| {
            state.set_len(self.inode, len, verdict)
        })
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        let details = || format!(" at {offset}: {len} bytes");
        self.call(CallKind::Reserve, "reserve", details, |state, verdict| {
            state.reserve(self.inode, offset, len, verdict)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(CallKind::Sync, "fdatasync", String::new, |state, verdict| {
            state.sync(self.inode, verdict)
        })
    }

    fn map(&self, len: u64) -> io::Result<Option<Bytes>> {
        self.call(CallKind::Map, "mmap", String::new, |state, _| {
            let content = state.tree.file(self.inode)?.content();
            Ok(content.map(|mut content| {
                content.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Bytes::from(content)
            }))
        })
    }

    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        if !self.is_writable {
            return Ok(None);
        }
        self.call(CallKind::Map, "mmap to write", String::new, |state, verdict| {
            if matches!(verdict, Verdict::Done) {
                state.tree.open(self.inode);
            }
            Ok(())
        })?;
        Ok(Some(Box::new(SimMap::new(self.disk.clone(), self.epoch, self.inode, len))))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.tree.close(self.inode);
        }
    }
}

/// A held lock; gone with the process that took it.
#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    epoch: u64,
    inode: InodeId,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.locked.remove(&self.inode);
            state.tree.close(self.inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EntryKind, WORD_LEN};
    use super::*;
    use std::collections::BTreeSet;

    /// What the contract allows a file to hold, kept beside the disk by plain means.
    #[derive(Default)]
    struct Model {
        live: Vec<u8>,
        synced: Vec<u8>,
        /// For each byte, every value that it has had since the last sync, beside the synced one.
        since: Vec<Vec<u8>>,
        lens: Vec<usize>,
    }

    impl Model {
        fn note(&mut self) {
            let len = self.since.len().max(self.synced.len());
            self.since.resize(len.max(self.live.len()), Vec::new());
            let live = self.live.iter().chain(std::iter::repeat(&0));
            for (since, byte) in self.since.iter_mut().zip(live) {
                if since.last() != Some(byte) {
                    since.push(*byte);
                }
            }
            self.lens.push(self.live.len());
        }

        fn write(&mut self, bytes: &[u8], offset: usize) {
            let end = offset + bytes.len();
            self.live.resize(self.live.len().max(end), 0);
            self.live[offset..end].copy_from_slice(bytes);
            self.note();
        }

        fn set_len(&mut self, len: usize) {
            self.live.resize(len, 0);
            self.note();
        }

        fn settle(&mut self, content: Vec<u8>) {
            self.synced.clone_from(&content);
            self.live = content;
            self.since.clear();
            self.lens.clear();
        }

        fn check_survivor(&self, survivor: &[u8]) {
            let lens = || self.lens.iter().chain([&self.synced.len()]).copied().collect::<Vec<_>>();
            let (min, max) = (lens().into_iter().min(), lens().into_iter().max());
            assert!(Some(survivor.len()) >= min && Some(survivor.len()) <= max);
            for (index, byte) in survivor.iter().enumerate() {
                let synced = self.synced.get(index).copied().unwrap_or(0);
                let since = self.since.get(index).map_or(&[][..], |values| values);
                // A byte that was not being changed keeps its value; one that was may be garbage.
                let is_changed = since.iter().any(|value| *value != synced);
                assert!(is_changed || *byte == synced, "byte {index}: {byte} was {synced}");
            }
        }
    }

    fn random_calls(disk: &SimDisk, seed: u64) {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let paths = ["/a", "/b"].map(Path::new);
        let mut models = [Model::default(), Model::default()];
        for path in paths {
            disk.replace(path, b"").unwrap();
        }
        for _ in 0..3 {
            let files = paths.map(|path| disk.open(path, OpenMode::ReadWrite).unwrap());
            for _ in 0..30 {
                let index = rng.usize(..2);
                let (file, model) = (&files[index], &mut models[index]);
                let offset = rng.usize(..6_000);
                match rng.u8(..10) {
                    0..4 => {
                        let bytes = vec![rng.u8(..4); rng.usize(..3_000)];
                        file.write_at(&bytes, offset as u64).unwrap();
                        if !bytes.is_empty() {
                            model.write(&bytes, offset);
                        }
                    }
                    4 => {
                        file.set_len(offset as u64).unwrap();
                        model.set_len(offset);
                    }
                    5 => {
                        file.reserve(0, offset as u64).unwrap();
                        model.set_len(model.live.len().max(offset));
                    }
                    6 => {
                        file.sync().unwrap();
                        model.settle(model.live.clone());
                    }
                    7 => disk.evict(),
                    _ => {
                        let mut bytes = vec![0xee; 2_000];
                        let count = file.read_at(&mut bytes, offset as u64).unwrap();
                        let expected = model.live.get(offset..).unwrap_or_default();
                        assert_eq!(bytes[..count], expected[..expected.len().min(2_000)]);
                    }
                }
                assert_eq!(file.len().unwrap(), model.live.len() as u64);
            }
            for (path, model) in paths.iter().zip(&models) {
                assert!(disk.contents(path).unwrap() == model.live);
            }
            disk.crash();
            for (path, model) in paths.iter().zip(&mut models) {
                let survivor = disk.contents(path).unwrap();
                model.check_survivor(&survivor);
                model.settle(survivor);
            }
        }
    }

    #[test]
    fn reads_are_true_and_crashes_lose_only_what_was_not_synced() {
        for seed in 0..300 {
            random_calls(&SimDisk::new(seed), seed);
        }
    }

    /// Changes of entries over three directories; whatever is lost, no file is there twice, what
    /// a `sync_dir` promised is there, and nothing else is.
    #[test]
    fn any_subset_of_the_changes_of_entries_is_a_tree() {
        for seed in 0..1_000 {
            let disk = SimDisk::new(seed);
            let mut rng = Rng::with_seed(seed ^ 0x7ee);
            let dirs = ["/", "/d", "/d/e"].map(Path::new);
            disk.create_dir(dirs[1]).unwrap();
            disk.create_dir(dirs[2]).unwrap();
            let place = |rng: &mut Rng| dirs[rng.usize(..3)].join(["x", "y"][rng.usize(..2)]);
            let mut number = 0;
            for _ in 0..30 {
                let (one, other) = (place(&mut rng), place(&mut rng));
                match rng.u8(..6) {
                    0 | 1 => {
                        if let Ok(file) = disk.open(&one, OpenMode::Create) {
                            number += 1;
                            file.write_at(&[number], 0).unwrap();
                            file.sync().unwrap();
                        }
                    }
                    2 => drop(disk.remove_file(&one)),
                    3 | 4 => drop(disk.rename(&one, &other)),
                    _ => disk.sync_dir(dirs[rng.usize(..3)]).unwrap(),
                }
            }
            let last = dirs[rng.usize(..3)];
            disk.sync_dir(last).unwrap();
            let held = |dir: &Path| {
                let entries = disk.list(dir).unwrap_or_default();
                let files = entries.into_iter().filter(|e| e.kind == EntryKind::File);
                files
                    .map(|entry| {
                        let content = disk.contents(&dir.join(&entry.name)).unwrap();
                        (entry, content)
                    })
                    .collect::<Vec<_>>()
            };
            let expected = held(last);
            disk.crash();
            if disk.list(last).is_ok() {
                assert_eq!(held(last), expected, "seed {seed}");
            }
            let contents = disk.files().into_iter().map(|path| disk.contents(&path).unwrap());
            let contents: Vec<_> = contents.filter(|content| !content.is_empty()).collect();
            let distinct: BTreeSet<_> = contents.iter().collect();
            assert_eq!(distinct.len(), contents.len(), "a file is there twice; seed {seed}");
        }
    }

    fn busy(seed: u64) -> Vec<String> {
        let disk = SimDisk::with_config(SimConfig {
            seed,
            trace: true,
            short_writes: 0.2,
            short_reads: 0.2,
            ..SimConfig::default()
        });
        for round in 0..4_u8 {
            let name = format!("/{round}");
            let file = disk.open(Path::new(&name), OpenMode::Create).unwrap();
            disk.fail_nth(CallKind::Sync, 2, io::ErrorKind::StorageFull);
            for _ in 0..3 {
                let _ = file.write_at(&[round; 3_000], 700);
                let _ = file.sync();
            }
            disk.cut_power_at(2 + u64::from(round));
            let _ = disk.rename(Path::new(&name), Path::new("/renamed"));
            let _ = file.write_at(&[9; 9_000], 0);
            let _ = disk.sync_dir(Path::new("/"));
            disk.crash();
            for path in disk.files() {
                disk.configure(|config| config.seed = 0);
                let content = disk.contents(&path).unwrap();
                let state = &mut *disk.state();
                state.note(|_| format!("{:016x}", fingerprint(&content)));
            }
        }
        disk.trace()
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let traces: Vec<_> = (0..50).map(|seed| (busy(seed), busy(seed))).collect();
        assert!(traces.iter().all(|(one, again)| one == again));
        let distinct: BTreeSet<_> = traces.iter().map(|(one, _)| one).collect();
        assert!(distinct.len() > 40, "{}", distinct.len());
        let text = traces.into_iter().map(|(one, _)| one.join("\n"));
        let text = text.collect::<String>();
        for part in ["create /0 Create", "injected fault", "the power is off", "crashed", "lost: "]
        {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_full_disk_refuses_what_needs_room_and_nothing_else() {
        let disk =
            SimDisk::with_config(SimConfig { capacity: Some(4 * 4096), ..SimConfig::default() });
        let file = disk.open(Path::new("/a"), OpenMode::Create).unwrap();
        file.reserve(0, 2 * 4096).unwrap();
        assert_eq!(disk.used_bytes(), 2 * 4096);
        let other = disk.open(Path::new("/b"), OpenMode::Create).unwrap();
        // Two blocks are left, so a longer write is short.
        assert_eq!(other.write_at(&[1; 3 * 4096], 100).unwrap(), 2 * 4096 - 100);
        let full = io::ErrorKind::StorageFull;
        assert_eq!(other.write_at(&[1], 2 * 4096).unwrap_err().kind(), full);
        assert_eq!(file.reserve(0, 3 * 4096).unwrap_err().kind(), full);
        assert_eq!(file.len().unwrap(), 2 * 4096);
        let error = disk.open(Path::new("/c"), OpenMode::Create).unwrap_err();
        assert_eq!(error.kind(), full);
        assert!(error.to_string().starts_with("create /c: "), "{error}");
        assert_eq!(disk.create_dir(Path::new("/d")).unwrap_err().kind(), full);
        // Reserved blocks, and those that are taken, can be written.
        assert_eq!(file.write_at(&[2; 2 * 4096], 0).unwrap(), 2 * 4096);
        assert_eq!(other.write_at(&[2; 4096], 0).unwrap(), 4096);
        // Room comes back when the last handle is closed.
        disk.remove_file(Path::new("/b")).unwrap();
        assert_eq!(disk.used_bytes(), 4 * 4096);
        drop(other);
        assert_eq!(disk.used_bytes(), 2 * 4096);
        file.set_len(1).unwrap();
        assert_eq!(disk.used_bytes(), 4096);
        file.reserve(0, 4 * 4096).unwrap();
    }

    #[test]
    fn what_a_crash_drops_gives_its_room_back() {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            disk.create_dir(Path::new("/d")).unwrap();
            let file = disk.open(Path::new("/d/a"), OpenMode::Create).unwrap();
            file.reserve(0, 4096).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/d")).unwrap();
            disk.crash();
            let is_there = disk.contents(Path::new("/d/a")).is_ok();
            assert_eq!(disk.used_bytes(), u64::from(is_there) * 4096);
        }
    }

    #[test]
    fn faults_strike_the_call_that_they_were_meant_for() {
        let disk = SimDisk::new(3);
        let file = disk.open(Path::new("/a"), OpenMode::Create).unwrap();
        disk.fail_nth(CallKind::Sync, 2, io::ErrorKind::QuotaExceeded);
        disk.fail_nth(None, 4, io::ErrorKind::TimedOut);
        file.sync().unwrap();
        file.len().unwrap();
        let error = file.sync().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(error.to_string(), "fdatasync /a: injected fault");
        assert_eq!(file.len().unwrap_err().kind(), io::ErrorKind::TimedOut);
        file.sync().unwrap();
        assert_eq!((disk.calls(CallKind::Sync), disk.calls_total()), (3, 6));
        disk.fail_nth(CallKind::Rename, 1, io::ErrorKind::Other);
        disk.rename(Path::new("/a"), Path::new("/b")).unwrap_err();
        assert_eq!(disk.files(), [Path::new("/a")]);
        disk.fail_nth(None, 1, io::ErrorKind::Other);
        disk.clear_faults();
        file.len().unwrap();
    }

    #[test]
    fn the_dead_change_nothing() {
        for crash in [SimDisk::kill, SimDisk::crash] {
            let disk = SimDisk::new(5);
            let process = disk.process();
            disk.replace(Path::new("/a"), b"kept").unwrap();
            let file = process.open(Path::new("/a"), OpenMode::ReadWrite).unwrap();
            let lock = process.lock(Path::new("/a")).unwrap();
            crash(&disk);
            file.write_at(b"x", 0).unwrap_err();
            file.read_at(&mut [0], 0).unwrap_err();
            file.sync().unwrap_err();
            process.remove_file(Path::new("/a")).unwrap_err();
            process.lock(Path::new("/b")).unwrap_err();
            process.is_locked(Path::new("/a")).unwrap_err();
            file.map(u64::MAX).unwrap_err();
            assert!(!disk.is_locked(Path::new("/a")).unwrap());
            let next = disk.process();
            let new_lock = next.lock(Path::new("/a")).unwrap();
            drop((file, lock));
            let error = next.lock(Path::new("/a")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            drop(new_lock);
            assert_eq!(disk.contents(Path::new("/a")).unwrap(), b"kept");
            assert_eq!(disk.calls_total(), 5);
        }
    }

    #[test]
    fn shared_words_outlive_a_process_that_cannot_change_them_any_more() {
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let path = Path::new("/words");
            let words = disk.process().share(path, 600).unwrap();
            let reader = disk.process().shared(path).unwrap();
            words.store(599, 7);
            assert_eq!((reader.count(), reader.load(599)), (600, 7));
            disk.kill();
            words.store(599, 8);
            assert_eq!((words.load(599), reader.load(599)), (0, 0), "the dead see nothing");
            let next = disk.process().share(path, 1).unwrap();
            assert_eq!((next.count(), next.load(599)), (600, 7));
            next.store(0, 9);
            drop((words, reader));
            disk.cut_power_at(1);
            disk.sync_dir(Path::new("/")).unwrap_err();
            next.store(0, 10);
            assert_eq!(next.load(0), 0, "no power");
            assert_eq!(disk.contents(path).unwrap()[..WORD_LEN], 9_u64.to_le_bytes());
            // Shared is nothing that a file is, but how it is used.
            disk.replace(path, b"not shared").unwrap();
            disk.crash();
            assert_eq!(disk.contents(path).unwrap(), b"not shared");
        }
    }

    #[test]
    fn shared_words_take_room_when_they_are_opened() {
        let capacity = Some(4 * 4096);
        let disk = SimDisk::with_config(SimConfig { capacity, ..SimConfig::default() });
        let path = Path::new("/words");
        let words = disk.share(path, 513).unwrap();
        assert_eq!(disk.used_bytes(), 2 * 4096);
        disk.replace(Path::new("/full"), &[1; 2 * 4096]).unwrap();
        let full = disk.share(path, 1025).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(full.to_string().starts_with("share /words: "), "{full}");
        let other = disk.share(Path::new("/other"), 1).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::StorageFull);
        words.store(512, 3);
        assert_eq!(disk.shared(path).unwrap().load(512), 3);
        disk.remove_file(path).unwrap();
        assert_eq!(disk.used_bytes(), 4 * 4096, "somebody has it open");
        drop(words);
        assert_eq!(disk.used_bytes(), 2 * 4096);
    }

    #[test]
    fn maps_and_shared_words_fail_on_demand_and_change_nothing_then() {
        let mut files = BTreeSet::new();
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            disk.replace(Path::new("/a"), b"content!").unwrap();
            let file = disk.open(Path::new("/a"), OpenMode::Read).unwrap();
            disk.fail_nth(CallKind::Map, 1, io::ErrorKind::OutOfMemory);
            let error = file.map(u64::MAX).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            assert_eq!(error.to_string(), "mmap /a: injected fault");
            assert_eq!(file.map(u64::MAX).unwrap().unwrap(), &b"content!"[..]);
            for path in ["/a", "/b"].map(Path::new) {
                disk.fail_nth(CallKind::Share, 1, io::ErrorKind::StorageFull);
                let error = disk.share(path, 100).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            }
            assert_eq!(disk.contents(Path::new("/a")).unwrap(), b"content!");
            files.insert(disk.files().len());
            disk.fail_nth(CallKind::Share, 1, io::ErrorKind::Other);
            assert_eq!(disk.shared(Path::new("/a")).unwrap_err().kind(), io::ErrorKind::Other);
            assert_eq!((disk.calls(CallKind::Map), disk.calls(CallKind::Share)), (2, 3));
            let used = disk.used_bytes();
            drop(file);
            disk.remove_file(Path::new("/a")).unwrap();
            assert!(disk.used_bytes() < used, "a failed call keeps the file open");
        }
        assert_eq!(files, BTreeSet::from([1, 2]), "it is created, or not");
    }

    #[test]
    fn a_snapshot_is_independent_and_makes_the_same_choices() {
        let disk = SimDisk::new(8);
        let path = Path::new("/d/a");
        disk.replace(path, &[1; 5_000]).unwrap();
        let file = disk.open(path, OpenMode::ReadWrite).unwrap();
        file.write_at(&[2; 5_000], 0).unwrap();
        let copies = [disk.snapshot(), disk.snapshot()];
        copies[0].crash();
        assert_eq!(disk.contents(path).unwrap(), [2; 5_000]);
        copies[1].crash();
        let survived = copies[0].contents(path).unwrap();
        assert_eq!(survived, copies[1].contents(path).unwrap());
        let others = (0..20).map(|seed| {
            let copy = disk.snapshot();
            copy.reseed(seed);
            copy.crash();
            copy.contents(path).unwrap()
        });
        assert!(others.into_iter().any(|other| other != survived));
    }

    #[test]
    fn a_changed_image_is_durable() {
        let disk = SimDisk::new(9);
        let path = Path::new("/a");
        disk.replace(path, b"0123456789").unwrap();
        let file = disk.open(path, OpenMode::ReadWrite).unwrap();
        file.write_at(b"ABCDEFGHIJ", 0).unwrap();
        disk.overwrite(path, 3, b"xyz").unwrap();
        disk.crash();
        assert_eq!(disk.contents(path).unwrap()[3..6], *b"xyz");
        disk.remove(path).unwrap();
        disk.crash();
        assert_eq!(disk.files(), [] as [PathBuf; 0]);
        let missing = disk.overwrite(path, 0, b"x").unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
