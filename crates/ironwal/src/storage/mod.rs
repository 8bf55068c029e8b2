//! Files and directories, and what a crash may do to them. Knows no format.
//!
//! [`Storage`] is the whole of what the log asks of an operating system. [`RealDisk`] does it with
//! system calls, [`SimDisk`] in memory with crashes and faults from a seed, and
//! [`conformance`] is the suite that every implementation passes. To write your own, start from
//! [`custom_storage.rs`][example], which wraps the real disk and counts what it is asked for.
//!
//! [example]: https://docs.rs/crate/ironwal/latest/source/examples/custom_storage.rs
//!
//! # What a crash may do
//!
//! | after this call returned `Ok` | the process is killed | power is lost |
//! |---|---|---|
//! | [`File::write_at`] | kept | each 512-byte sector independently: old, new, or torn (only bytes that were being changed may differ; see below) |
//! | a write that lengthens the file | kept | length and content independently: the old length, the new one, or one between; what lies inside the length but was not written out reads as zeros |
//! | [`File::set_len`] | kept | old or new length; when shortened, the removed bytes may still be there |
//! | [`File::reserve`] | kept | the reservation, and the length, may be lost |
//! | [`File::sync`] | kept | content, length and reservation of this file as they were when the call began are kept. **Not** its directory entry |
//! | [`Storage::create_dir`], creating [`Storage::open`], [`Storage::rename`], [`Storage::remove_file`], [`Storage::remove_dir`] | kept | each one independently kept or lost; a rename is never half done |
//! | [`Storage::sync_dir`] | kept | the entries of this directory as they were when the call began are kept. **Not** the entry of the directory itself in its parent |
//! | creating or lengthening [`Storage::share`] | kept | the file, like every new entry, and the length, like that of a reservation, may be lost |
//! | [`SharedWords::store`] | kept | anything: old words, new ones, zeros, garbage, whatever was synced |
//! | [`WritableMap::store`] | kept | as after [`File::write_at`] |
//! | [`Storage::lock`] | released | released |
//!
//! What was mapped before ([`File::map`]) is memory of the process and ends with it. `map`,
//! [`Storage::shared`] and [`Storage::is_locked`] change nothing, whether they fail or not.
//!
//! After a call returned `Err`:
//!
//! - `write_at`, `set_len`: any part may have been done.
//! - `share`: the file may have been created; nothing that was in it changed, and it was not shortened;
//!   it may be longer by zeros, and some space may be taken.
//! - `reserve`: nothing that was in the file changed; some space may be taken.
//! - `sync`: what was not synced before may be lost for good, or torn, although reads still show
//!   it, and the next `sync` may return `Ok` without having saved it. Only writing the bytes again and syncing
//!   those proves anything.
//! - `sync_dir`: the same for directory entries.
//!
//! Whatever happened: what was saved behind the length that is kept is no part of the file any more, and
//! reads as zeros if the file is lengthened again.
//!
//! A sector that is being overwritten may be torn at any byte, but bytes that the write does not
//! change keep their value ("powersafe overwrite").

pub mod conformance;
mod disk;
#[allow(unsafe_code)] // nowhere else
mod map;
pub mod sim;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use disk::RealDisk;
pub use sim::SimDisk;

/// The size of the unit in which a disk keeps or loses what was written, in bytes.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{OpenMode, SECTOR_LEN, SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/log");
/// disk.replace(path, &[b'o'; 2 * SECTOR_LEN])?;
/// let file = disk.open(path, OpenMode::ReadWrite)?;
/// file.write_at(&[b'n'; SECTOR_LEN], 0)?; // not synced
/// disk.crash();
/// let survived = disk.contents(path)?;
/// assert_eq!(survived[SECTOR_LEN..], [b'o'; SECTOR_LEN]); // the first sector may be anything
/// # Ok::<(), std::io::Error>(())
/// ```
pub const SECTOR_LEN: usize = 512;

/// How much of a file is copied at a time, in bytes.
const PIECE_LEN: usize = 256 * 1024;

/// The size of a word of shared memory, in bytes.
pub(crate) const WORD_LEN: usize = size_of::<u64>();

/// How [`Storage::open`] opens a file.
///
/// ```
/// # use std::{io::ErrorKind, path::Path};
/// # use ironwal::storage::{OpenMode, SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/log");
/// let missing = disk.open(path, OpenMode::ReadWrite).unwrap_err();
/// assert_eq!(missing.kind(), ErrorKind::NotFound); // nothing is created by the way
/// disk.open(path, OpenMode::Create)?;
/// let taken = disk.open(path, OpenMode::Create).unwrap_err();
/// assert_eq!(taken.kind(), ErrorKind::AlreadyExists); // nor emptied
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading only; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; the file must not exist ([`io::ErrorKind::AlreadyExists`]) and is
    /// created empty.
    Create,
}

/// What a directory entry is.
///
/// ```
/// # #[cfg(unix)] {
/// # use ironwal::storage::{EntryKind, RealDisk, Storage};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// std::fs::create_dir(path.join("a"))?;
/// std::os::unix::fs::symlink("a", path.join("b"))?;
/// let entries = RealDisk.list(path)?;
/// assert_eq!((entries[0].kind, entries[1].kind), (EntryKind::Dir, EntryKind::Other));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: a symbolic link, a socket, a device.
    Other,
}

/// One entry of a directory, as [`Storage::list`] returns it.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{DirEntry, EntryKind, OpenMode, SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// disk.create_dir(Path::new("/orders"))?;
/// disk.open(Path::new("/orders/0"), OpenMode::Create)?;
/// let zero = DirEntry { name: "0".into(), kind: EntryKind::File }; // the name, not the path
/// assert_eq!(disk.list(Path::new("/orders"))?, [zero]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of its path.
    pub name: std::ffi::OsString,
    /// What it is.
    pub kind: EntryKind,
}

/// Files and directories.
///
/// The module's documentation has the table of what a crash may do. Every method may block on the
/// disk. Errors are the operating system's; [`io::ErrorKind::NotFound`],
/// [`io::ErrorKind::AlreadyExists`] and [`io::ErrorKind::StorageFull`] are told apart by callers.
///
/// A wrapper round another storage must pass on *every* method: those with a default are asked for
/// speed and for readers in other processes, and their default says that there is no such thing.
/// [`conformance`] says whether an implementation keeps the contract.
///
/// ```
/// use std::{io, path::Path};
/// use ironwal::storage::{OpenMode, SimDisk, Storage};
///
/// /// Makes a durable file: it is there after a power loss, with its content.
/// fn create(storage: &dyn Storage, path: &Path, dir: &Path) -> io::Result<()> {
///     let file = storage.open(path, OpenMode::Create)?;
///     file.write_at(b"1", 0)?;
///     file.sync()?; // the content, and not the name
///     storage.sync_dir(dir)
/// }
///
/// for seed in 0..20 {
///     let disk = SimDisk::new(seed);
///     create(&disk, Path::new("/log"), Path::new("/"))?;
///     disk.crash(); // without one of the syncs, some seeds lose it
///     assert_eq!(disk.contents(Path::new("/log"))?, b"1");
/// }
/// # Ok::<(), io::Error>(())
/// ```
pub trait Storage: Send + Sync + std::fmt::Debug + 'static {
    /// Opens or creates a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Lists a directory, without `.` and `..`, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates one directory; its parent must exist, and the directory must not
    /// ([`io::ErrorKind::AlreadyExists`]).
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or a directory, replacing a file that stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are open on it go on working.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory ([`io::ErrorKind::DirectoryNotEmpty`]).
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on the file at `path`, which is created if it is missing, and holds
    /// it until the returned value is dropped or the process ends, however it ends.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if anybody holds it, this process included. Not because of
    /// [`Storage::is_locked`], however often it is asked: an implementation whose probe takes the lock
    /// for a moment waits here until the moment is over, some tens of milliseconds at most.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// Whether somebody holds the lock on the file at `path`, this process included; `false` if
    /// there is no such file. Never waits, and creates nothing.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;

    /// Opens the file at `path` as memory that processes share, and creates it or lengthens it to
    /// `count` words; it is never shortened, and its content stays. If it is longer already, there are
    /// more words than `count`. New words are 0.
    ///
    /// Space is reserved for all of it, so that no store can fail. Nothing of it is ever synced: after
    /// power loss it holds anything. How words lie in the file is up to the implementation, so nobody
    /// should read or write it in any other way.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    ///
    /// [`io::ErrorKind::Unsupported`] where that cannot be done: readers in other processes then
    /// wait for the writer to end.
    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        let _ = (path, count);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens shared memory that somebody created with [`Storage::share`], for reading: as many whole
    /// words as it has now. Whoever lengthens it later has to be told apart by what the words say;
    /// those who want the new words open it again.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::Unsupported`].
    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Memory that processes share, as words. What is stored is seen by every other process from then
/// on, together with everything that the storing thread wrote to files before: whoever loads the new
/// word, and reads those files then, reads at least that.
///
/// Loads and stores are single accesses to memory. They do not fail, and do not block.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/watermark");
/// let words = disk.share(path, 2)?;
/// let reader = disk.shared(path)?; // as a rule in another process
/// words.store(1, 7);
/// assert_eq!((reader.load(0), reader.load(1)), (0, 7));
/// assert_eq!((reader.count(), reader.load(2)), (2, 0)); // there is no third one
/// reader.store(1, 8); // it was opened for reading
/// assert_eq!(words.load(1), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait SharedWords: Send + Sync + std::fmt::Debug {
    /// How many words there are.
    fn count(&self) -> usize;

    /// The word at `index`; 0 if there is none.
    fn load(&self, index: usize) -> u64;

    /// Changes the word at `index`. Does nothing if there is none, or if the memory was opened for
    /// reading.
    fn store(&self, index: usize, word: u64);
}

/// An open file. All methods take positions; there is no cursor.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{OpenMode, SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
/// assert_eq!(file.write_at(b"tea", 2)?, 3); // could be fewer
/// let mut buf = [b'?'; 8];
/// assert_eq!(file.read_at(&mut buf, 0)?, 5);
/// assert_eq!(buf, *b"\0\0tea???");
/// assert_eq!(file.read_at(&mut buf, 5)?, 0); // the end
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait File: Send + Sync + std::fmt::Debug {
    /// Reads up to `buf.len()` bytes at `offset` and returns how many; fewer than asked does not
    /// mean the end of the file, 0 does.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes up to `buf.len()` bytes at `offset` and returns how many (at least 1 unless `buf` is
    /// empty), lengthening the file as needed.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// The length of the file in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Sets the length of the file; bytes that are gained read as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for the bytes from `offset` to `offset + len`, so that writing there cannot
    /// fail for want of space, and lengthens the file to cover them. Bytes that are gained read as
    /// zeros; bytes that were there stay.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] if there is no room.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes content and length of the file durable.
    fn sync(&self) -> io::Result<()>;

    /// The first `len` bytes of the file, or as many as it has, without copying them where that can be
    /// done; `None` where it cannot.
    ///
    /// Asked only for bytes that nobody will take away by shortening the file, and of which nobody will
    /// write what the asker is going to read, while the answer lives, which goes on when the file is
    /// closed, renamed or removed.
    ///
    /// # Errors
    ///
    /// If the length cannot be found out. That a file cannot be mapped is no error, as it can still be
    /// read.
    fn map(&self, len: u64) -> io::Result<Option<bytes::Bytes>> {
        let _ = len;
        Ok(None)
    }

    /// The first `len` bytes of the file as memory to write to, whether the file is that long by now or
    /// not; `None` where that cannot be had without the danger that a store ends the process. The map
    /// goes on when the file is closed, renamed or removed; when it is shortened, nothing may be stored
    /// any more behind its end.
    ///
    /// # Errors
    ///
    /// If the file system cannot be asked. That a file cannot be mapped is no error, as it can still be
    /// written to.
    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        let _ = len;
        Ok(None)
    }
}

/// Part of a file as memory that is written to. What is stored is a change of the file as one by
/// [`File::write_at`] is: reads show it from then on, in every process, it outlives this process, and
/// [`File::sync`] makes it durable, or says that it could not.
///
/// ```
/// # use std::path::Path;
/// # use ironwal::storage::{OpenMode, SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/log");
/// let file = disk.open(path, OpenMode::Create)?;
/// let mut map = file.map_writable(4096)?.ok_or("it cannot be mapped")?;
/// file.reserve(0, 4096)?;
/// assert!(map.store(b"tea", 0).is_err()); // nothing is prepared
/// map.prepare(0, 4096)?;
/// map.store(b"tea", 0)?;
/// assert!(disk.contents(path)?.starts_with(b"tea"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait WritableMap: Send + Sync + std::fmt::Debug {
    /// Makes the bytes from `start` to `end` ready to be stored to. Space for them must have been
    /// [reserved](File::reserve). May block on the disk.
    ///
    /// # Errors
    ///
    /// Nothing has changed, and they cannot be stored to.
    fn prepare(&mut self, start: u64, end: u64) -> io::Result<()>;

    /// Changes the bytes at `offset`. No system call, and it does not block, but for pages that were
    /// written to the disk meanwhile.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if not all of them have been prepared: nothing has changed.
    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// A lock that is held until it is dropped.
///
/// ```
/// # use std::{io::ErrorKind, path::Path};
/// # use ironwal::storage::{SimDisk, Storage};
/// # let disk = SimDisk::new(42);
/// # let path = Path::new("/lock");
/// let lock = disk.lock(path)?;
/// assert_eq!(disk.lock(path).unwrap_err().kind(), ErrorKind::WouldBlock); // in one process too
/// drop(lock);
/// disk.lock(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Lock: Send + Sync + std::fmt::Debug {}

/// Reads until `buf` is full or the file ends, and returns how many bytes were read.
pub(crate) fn read_up_to(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `buf`.
pub(crate) fn write_all_at(file: &dyn File, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < buf.len() {
        match file.write_at(&buf[written..], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads from `start` to `end`, or to the end of the file, and hands it on in pieces with their
/// offsets; returns where it ended.
pub(crate) fn read_pieces<E: From<io::Error>>(
    file: &dyn File,
    start: u64,
    end: u64,
    mut hand_on: impl FnMut(&[u8], u64) -> Result<(), E>,
) -> Result<u64, E> {
    let mut buffer = vec![0; PIECE_LEN];
    let mut offset = start;
    while offset < end {
        let len = usize::try_from(end - offset).unwrap_or(PIECE_LEN).min(PIECE_LEN);
        let filled = read_up_to(file, &mut buffer[..len], offset)?;
        if filled == 0 {
            break;
        }
        hand_on(&buffer[..filled], offset)?;
        offset += filled as u64;
    }
    Ok(offset)
}

/// Writes the same bytes again from `start` to `end`, so that the next sync speaks for them.
///
/// What an earlier sync said of bytes that this process did not write means nothing: after a failed
/// one the page cache can show what is not on the disk, and the next one says OK.
pub(crate) fn rewrite(file: &dyn File, path: &Path, start: u64, end: u64) -> io::Result<()> {
    let reached = read_pieces(file, start, end, |bytes, offset| write_all_at(file, bytes, offset))?;
    if reached < end {
        let path = path.display();
        let what = format!("{path} ends at {reached} now, and did at {end}; open the log again");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
    }
    Ok(())
}

/// Creates `dir` and every missing parent, and makes their entries durable.
///
/// The parents of a directory that is there already are synced too, for it may have been made a
/// moment ago; one that we may not open is not ours to sync.
pub(crate) fn create_dir_all(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    match storage.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir_all(storage, parent)?;
            storage.create_dir(dir)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return sync_ancestors(storage, dir).inspect_err(|_| forget(storage, dir));
        }
        other => other?,
    }
    storage.sync_dir(or_here(parent)).inspect_err(|_| forget(storage, dir))
}

/// Makes the entries durable that lead to `dir`, as far as we may.
fn sync_ancestors(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    for ancestor in dir.ancestors().skip(1) {
        match storage.sync_dir(or_here(ancestor)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            other => other?,
        }
    }
    Ok(())
}

/// Removes an empty directory, and its parents if they are empty then, after a sync of one of their
/// entries failed. The next attempt would find them, and a sync would say OK without having saved
/// their entries; so they must not be found.
fn forget(storage: &dyn Storage, dir: &Path) {
    for made in dir.ancestors() {
        if storage.remove_dir(made).is_err() {
            break;
        }
    }
}

/// A path from the root on, without `.` and `..`, and with symbolic links followed as far as it
/// exists: two such paths can be compared.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            part => {
                absolute.push(part);
                absolute = std::fs::canonicalize(&absolute).unwrap_or(absolute);
            }
        }
    }
    absolute
}

/// The path of a directory that a relative path without one is in.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}
