//! The real disk: [`Storage`] by system calls.
//!
//! Some choices are worth knowing:
//!
//! - A sync is one system call, never repeated. The standard library repeats a sync that a signal
//!   interrupted; but an attempt may have consumed the report of a failed write-back, and the
//!   repetition would then answer `Ok`. So Linux is asked directly, and every error is an error.
//! - A failed [`File::reserve`] puts the length of the file back: some file systems lengthen the
//!   file piece by piece before they find that the room is gone.
//! - Memory is shared only where a full disk cannot turn a store into a signal: on file systems of
//!   Linux that write reserved blocks in place.
//! - Every error names the call and the path, and keeps its [`io::ErrorKind`]. The operating
//!   system's own error is its source.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{
    DirEntry, EntryKind, File, Lock, OpenMode, SharedWords, Storage, WORD_LEN, WritableMap, map,
};

/// The largest length that a file may have: positions are signed in every operating system.
pub(super) const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// How much is written at a time where space can only be reserved by writing zeros.
const ZEROS_LEN: usize = 64 * 1024;

/// How often a lock that somebody holds is tried. [`RealDisk::is_locked`] holds it for a few
/// microseconds, a writer for its life: this tells them apart.
const LOCK_TRIES: u32 = 30;

/// How long to wait between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The files of the operating system.
///
/// Positions are passed with every call, so handles can be shared by threads. [`File::reserve`]
/// must not run beside another call that changes the length of the same file: when it fails, it
/// restores the length that it found.
///
/// Where a file system cannot allocate ahead, `reserve` writes zeros beyond the end of the file;
/// holes inside the file then stay unreserved.
///
/// [`File::map`] maps the file; `None` where the operating system cannot. A mapped file that
/// somebody else shortens, or that the disk can no longer read, ends the process with a signal when
/// the bytes are used.
///
/// [`File::map_writable`], [`Storage::share`] and [`Storage::shared`] map too. The first gives `None`, the
/// others are [`io::ErrorKind::Unsupported`], but
/// on ext4, XFS and tmpfs on 64-bit Linux: other file systems may need new space for each store, or do
/// not share memory between machines.
///
/// [`Storage::lock`] tries for about 30 milliseconds.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use ironwal::storage::{OpenMode, RealDisk, Storage};
///
/// let dir = std::env::temp_dir();
/// let path = dir.join(format!("example-{}.bin", std::process::id()));
/// let file = RealDisk.open(&path, OpenMode::Create)?;
/// file.write_at(b"hello", 0)?;
/// file.sync()?; // the content
/// RealDisk.sync_dir(&dir)?; // the name
/// RealDisk.remove_file(&path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Storage for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create_new(true),
        };
        let operation = match mode {
            OpenMode::Create => "create",
            OpenMode::Read | OpenMode::ReadWrite => "open",
        };
        let file = options.open(path).map_err(|e| name_error(operation, path, e))?;
        Ok(Arc::new(RealFile { file, path: path.to_path_buf() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = || -> io::Result<Vec<DirEntry>> {
            let mut entries = Vec::new();
            for entry in open_dir(dir)? {
                let entry = entry?;
                let file_type = entry.file_type()?;
                let kind = if file_type.is_file() {
                    EntryKind::File
                } else if file_type.is_dir() {
                    EntryKind::Dir
                } else {
                    EntryKind::Other
                };
                let name = entry.file_name();
                entries.push(DirEntry { name, kind });
            }
            entries.sort();
            Ok(entries)
        };
        entries().map_err(|e| name_error("list", dir, e))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir).map_err(|e| name_error("mkdir", dir, e))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(|e| name_rename_error(from, to, e))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|e| name_error("unlink", path, e))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir).map_err(|e| name_error("rmdir", dir, e))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_directory(dir).map_err(|e| name_error("fsync", dir, e))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| name_error("open", path, e))?;
        match lock_patiently(|| file.try_lock(), || std::thread::sleep(LOCK_PAUSE)) {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => {
                let held = io::Error::new(io::ErrorKind::WouldBlock, "somebody holds it");
                Err(name_error("lock", path, held))
            }
            Err(fs::TryLockError::Error(error)) => Err(name_error("lock", path, error)),
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(|e| name_error("open", path, e))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(name_error("lock", path, error)),
        }
    }

    fn share(&self, path: &Path, count: usize) -> io::Result<Arc<dyn SharedWords>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let share = || {
            let file = options.open(path)?;
            check_sharing(&file)?;
            // All of the file, for what was there may have holes.
            let len = file.metadata()?.len().max(words_len(count)?);
            reserve_in_place(&file, len)?;
            map::Words::writable(&file, whole_words(len)).map_err(cannot_map)
        };
        Ok(Arc::new(share().map_err(|e| name_error("share", path, e))?))
    }

    fn shared(&self, path: &Path) -> io::Result<Arc<dyn SharedWords>> {
        let open = || {
            let file = fs::File::open(path)?;
            check_sharing(&file)?;
            let count = whole_words(file.metadata()?.len());
            map::Words::read_only(&file, count).map_err(cannot_map)
        };
        Ok(Arc::new(open().map_err(|e| name_error("open shared", path, e))?))
    }
}

/// Opens a directory to list it. Like opening a file, which the standard library repeats by itself, it can
/// be interrupted without anything being wrong.
fn open_dir(dir: &Path) -> io::Result<fs::ReadDir> {
    loop {
        match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            opened => return opened,
        }
    }
}

/// Tries to lock until it works, fails, or has been tried [`LOCK_TRIES`] times.
fn lock_patiently(
    mut try_lock: impl FnMut() -> Result<(), fs::TryLockError>,
    mut pause: impl FnMut(),
) -> Result<(), fs::TryLockError> {
    for _ in 1..LOCK_TRIES {
        match try_lock() {
            Err(fs::TryLockError::WouldBlock) => pause(),
            done => return done,
        }
    }
    try_lock()
}

/// The length in bytes of as many words.
fn words_len(count: usize) -> io::Result<u64> {
    let len = count.checked_mul(WORD_LEN).and_then(|len| u64::try_from(len).ok());
    len.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

/// How many whole words a file of this length has; fewer where they do not all have an address.
fn whole_words(len: u64) -> usize {
    usize::try_from(len).unwrap_or(0) / WORD_LEN
}

/// A map is refused for many reasons, and they all mean that there is none to be had here.
fn cannot_map(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error)
}

/// Reserves the first `len` bytes of a file, and lengthens it to them.
///
/// Other than [`File::reserve`], it has no second way that reserves less, and it never sets a length
/// back when it fails: another process may have mapped the file meanwhile, and a shortened map
/// is deadly. What is gained is zeros either way.
fn reserve_in_place(file: &fs::File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    check_end(0, len)?;
    match allocate(file, 0, len)? {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl RealFile {
    fn name(&self, operation: &str, error: io::Error) -> io::Error {
        name_error(operation, &self.path, error)
    }

    /// Reserves by writing zeros over what lies beyond the end of the file.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_LEN];
        let mut position = from;
        while position < to {
            let count = usize::try_from(to - position).map_or(ZEROS_LEN, |n| n.min(ZEROS_LEN));
            match write_file_at(&self.file, &zeros[..count], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => position += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_file_at(&self.file, buf, offset).map_err(|e| self.name("read", e))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        write_file_at(&self.file, buf, offset).map_err(|e| self.name("write", e))
    }

    fn len(&self) -> io::Result<u64> {
        let metadata = self.file.metadata().map_err(|e| self.name("stat", e))?;
        Ok(metadata.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(|e| self.name("ftruncate", e))
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let end = check_end(offset, len).map_err(|e| self.name("reserve", e))?;
        let len_before = self.len()?;
        let reserved = match allocate(&self.file, offset, len) {
            Ok(true) => Ok(()),
            Ok(false) => self.write_zeros(len_before, end),
            Err(error) => Err(error),
        };
        reserved.map_err(|error| {
            // The first error is the one to report; if the length cannot be put back either, the
            // file is longer by zeros, which the contract allows.
            if self.file.metadata().is_ok_and(|now| now.len() > len_before) {
                let _ = self.file.set_len(len_before);
            }
            self.name("reserve", error)
        })
    }

    fn sync(&self) -> io::Result<()> {
        sync_file(&self.file).map_err(|e| self.name("fdatasync", e))
    }

    fn map(&self, len: u64) -> io::Result<Option<bytes::Bytes>> {
        Ok(map::content(&self.file, len.min(self.len()?)))
    }

    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        if !map::CAN_SHARE || !writes_in_place(&self.file).map_err(|e| self.name("fstatfs", e))? {
            return Ok(None);
        }
        let region = map::Region::writable(&self.file, len);
        Ok(region.map(|region| Box::new(region) as Box<dyn WritableMap>))
    }
}

/// The end of what is to be reserved, if a file may be so long.
fn check_end(offset: u64, len: u64) -> io::Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_LEN_MAX.min(file_len_limit()) => Ok(end),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// How long the process may make a file. Beyond it the operating system would send a signal, which
/// ends a process that does not expect it, before it returned an error.
#[cfg(target_os = "linux")]
fn file_len_limit() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX)
}

#[cfg(not(target_os = "linux"))]
fn file_len_limit() -> u64 {
    u64::MAX
}

/// Closing the file releases the lock, also when the operating system closes it for a dead process.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

/// An error that says what was done to which file.
#[derive(Debug)]
struct NamedError {
    what: String,
    source: io::Error,
}

impl fmt::Display for NamedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for NamedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds the operation and the path to an error, and keeps its kind.
pub(super) fn name_error(operation: &str, path: &Path, source: io::Error) -> io::Error {
    let what = format!("{operation} {}", path.display());
    io::Error::new(source.kind(), NamedError { what, source })
}

/// Like [`name_error`], for the one operation that has two paths.
pub(super) fn name_rename_error(from: &Path, to: &Path, source: io::Error) -> io::Error {
    let what = format!("rename {} to {}", from.display(), to.display());
    io::Error::new(source.kind(), NamedError { what, source })
}

#[cfg(unix)]
fn read_file_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(unix)]
fn write_file_at(file: &fs::File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

#[cfg(windows)]
fn read_file_at(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(windows)]
fn write_file_at(file: &fs::File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}

#[cfg(target_os = "linux")]
fn sync_file(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

/// Elsewhere the standard library knows best, above all on macOS, where a plain `fsync` leaves the
/// data in the drive's cache.
#[cfg(not(target_os = "linux"))]
fn sync_file(file: &fs::File) -> io::Result<()> {
    file.sync_data()
}

#[cfg(target_os = "linux")]
fn sync_directory(dir: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    // `DIRECTORY`: a file at this path is the caller's mistake, as it is for `list`.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::io::retry_on_intr(|| rustix::fs::open(dir, flags, Mode::empty()))?;
    Ok(rustix::fs::fsync(&handle)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn sync_directory(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Windows cannot sync a directory; NTFS journals its entries in order.
#[cfg(windows)]
fn sync_directory(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// Fails where no memory can be shared.
fn check_sharing(file: &fs::File) -> io::Result<()> {
    match map::CAN_SHARE && writes_in_place(file)? {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether the file is on a file system that writes reserved blocks where they are, so that a store
/// never needs space, and that shows a store to everybody who can open the file.
///
/// A list of those that do, not of those that do not: btrfs, ZFS, bcachefs and F2FS write elsewhere,
/// network file systems keep a copy per machine, and overlayfs and FUSE do not say what is below.
#[cfg(target_os = "linux")]
fn writes_in_place(file: &fs::File) -> io::Result<bool> {
    const EXT4: u32 = 0xef53;
    const XFS: u32 = 0x5846_5342;
    const TMPFS: u32 = 0x0102_1994;
    let kind = u32::try_from(rustix::fs::fstatfs(file)?.f_type);
    Ok(matches!(kind, Ok(EXT4 | XFS | TMPFS)))
}

#[cfg(not(target_os = "linux"))]
fn writes_in_place(_file: &fs::File) -> io::Result<bool> {
    Ok(false)
}

/// Asks the file system for space. `Ok(false)` says that it does not know how.
#[cfg(target_os = "linux")]
fn allocate(file: &fs::File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &fs::File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_call_and_the_path_and_keep_kind_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing");
        let error = RealDisk.open(&path, OpenMode::Read).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(text.starts_with(&format!("open {}: ", path.display())), "{text}");
        let source = error.get_ref().and_then(|named| named.source());
        let number = source
            .and_then(|source| source.downcast_ref::<io::Error>())
            .and_then(io::Error::raw_os_error);
        assert!(number.is_some(), "{source:?}");

        let error = RealDisk.rename(&path, &dir.path().join("b")).unwrap_err();
        assert!(error.to_string().contains("missing to "), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_keeps_its_kind() {
        for (number, kind) in [
            (rustix::io::Errno::NOSPC, io::ErrorKind::StorageFull),
            (rustix::io::Errno::DQUOT, io::ErrorKind::QuotaExceeded),
        ] {
            let error = name_error("fdatasync", Path::new("/x"), number.into());
            assert_eq!(error.kind(), kind);
            let number = number.raw_os_error();
            let text = error.to_string();
            assert!(text.starts_with("fdatasync /x: "), "{text}");
            assert!(text.ends_with(&format!("(os error {number})")), "{text}");
        }
    }

    /// `/dev/full` answers every write as a full disk does, so the way back of the fallback is
    /// exercised on a real descriptor.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_to_a_full_device_is_storage_full() {
        let file = RealDisk.open(Path::new("/dev/full"), OpenMode::ReadWrite).unwrap();
        let error = file.write_at(b"x", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("write /dev/full: "), "{error}");
    }

    #[test]
    fn zeros_are_written_beyond_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file =
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let file = RealFile { file, path };
        file.write_at(b"abc", 0).unwrap();
        file.write_zeros(file.len().unwrap(), 200_000).unwrap();
        let content = fs::read(&file.path).unwrap();
        assert_eq!(content.len(), 200_000);
        assert_eq!(&content[..3], b"abc");
        assert!(content[3..].iter().all(|byte| *byte == 0));
        file.write_zeros(200_000, 100).unwrap();
        assert_eq!(file.len().unwrap(), 200_000);
    }

    #[test]
    fn a_reservation_that_cannot_be_made_leaves_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("a"), OpenMode::Create).unwrap();
        file.write_at(b"abc", 0).unwrap();
        // More than any file system has room for.
        file.reserve(0, 1 << 60).unwrap_err();
        assert_eq!(file.len().unwrap(), 3);
        let overflow = file.reserve(u64::MAX, 2).unwrap_err();
        assert_eq!(overflow.kind(), io::ErrorKind::FileTooLarge);
    }

    /// Somebody who asks whether a log is in use holds its lock for a moment. The log must open all
    /// the same.
    #[test]
    fn a_lock_waits_for_a_probe_but_not_for_a_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let writer = fs::File::create(&path).unwrap();
        let prober = fs::File::open(&path).unwrap();
        prober.try_lock_shared().unwrap();
        let mut pauses = 0;
        let locked = lock_patiently(
            || writer.try_lock(),
            || {
                pauses += 1;
                if pauses == 3 {
                    prober.unlock().unwrap();
                }
            },
        );
        assert!(locked.is_ok(), "{locked:?}");
        assert_eq!(pauses, 3);

        let other = fs::File::create(&path).unwrap();
        let mut pauses = 0;
        let refused = lock_patiently(|| other.try_lock(), || pauses += 1);
        assert!(matches!(refused, Err(fs::TryLockError::WouldBlock)), "{refused:?}");
        assert_eq!(pauses, LOCK_TRIES - 1);

        drop(writer);
        let mut tries = 0;
        let broken = || {
            tries += 1;
            Err(fs::TryLockError::Error(io::Error::other("broken")))
        };
        let failed = lock_patiently(broken, || panic!("paused after an error"));
        assert!(matches!(failed, Err(fs::TryLockError::Error(_))), "{failed:?}");
        assert_eq!(tries, 1);
    }

    #[test]
    fn probes_do_not_disturb_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    RealDisk.is_locked(&path).unwrap();
                    std::thread::yield_now();
                }
            });
            let locked = (0..200).try_for_each(|_| RealDisk.lock(&path).map(drop));
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            locked.unwrap();
        });
    }

    /// In the child: the file whose words it shares with its parent.
    const CHILD_PATH: &str = "IRONWAL_TEST_SHARED_PATH";

    /// The parent stores in a mapped word and waits until the child, another process, has answered in
    /// the next one.
    #[test]
    fn two_processes_see_what_the_other_stores() {
        const TEST: &str = "storage::disk::tests::two_processes_see_what_the_other_stores";
        if let Some(path) = std::env::var_os(CHILD_PATH) {
            return answer(Path::new(&path));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        let words = match RealDisk.share(&path, 2) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            words => words.unwrap(),
        };
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([TEST, "--exact", "--test-threads=1"])
            .env(CHILD_PATH, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for round in 1..=100 {
            words.store(0, round);
            while words.load(1) != round {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none() || words.load(1) == round, "round {round}: {ended:?}");
                std::thread::yield_now();
            }
        }
        assert!(child.wait().unwrap().success());
        // The child lengthened it.
        let all = RealDisk.shared(&path).unwrap();
        assert_eq!(all.count(), 10_000);
        assert_eq!((all.load(0), all.load(1), all.load(9_999)), (100, 100, 7));
    }

    fn answer(path: &Path) {
        let question = RealDisk.shared(path).unwrap();
        let answer = RealDisk.share(path, 10_000).unwrap();
        answer.store(9_999, 7);
        let started = std::time::Instant::now();
        for round in 1..=100 {
            while question.load(0) != round {
                assert!(started.elapsed() < Duration::from_secs(60), "the parent is gone");
                std::thread::yield_now();
            }
            answer.store(1, round);
        }
    }

    /// Whoever lengthens shared memory on a full disk, or fails to, must not shorten it: somebody may
    /// have it mapped.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_cannot_be_lengthened_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        // A hole, which sharing must fill before anything is stored in it.
        fs::File::create(&path).unwrap().set_len(64 * 1024).unwrap();
        let words = match RealDisk.share(&path, 4) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            words => words.unwrap(),
        };
        assert_eq!(words.count(), 64 * 1024 / WORD_LEN);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap());
        assert!(blocks * 512 >= 64 * 1024, "only {blocks} sectors are reserved");
        words.store(8_191, 5);
        let error = RealDisk.share(&path, 1 << 57).unwrap_err();
        assert!(error.to_string().starts_with(&format!("share {}: ", path.display())), "{error}");
        assert!(fs::metadata(&path).unwrap().len() >= 64 * 1024);
        assert_eq!(words.load(8_191), 5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn where_stores_could_need_space_nothing_is_shared() {
        // Asked before anything is mapped: to map it may well work.
        let error = RealDisk.shared(Path::new("/proc/self/status")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(!error.to_string().contains("os error"), "{error}");
    }
}
