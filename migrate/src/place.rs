//! Where the new log is made: a directory beside it, that is renamed when all is done.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::original::Original;

/// What the new log takes at most beside the entries: for each stream, and for the rest of it.
const STREAM_OVERHEAD: u64 = 32 * 1024;
const LOG_OVERHEAD: u64 = 1024 * 1024;

/// The directory that the work is done in. It is locked; what an earlier run left there is gone.
pub(crate) struct Place {
    new: PathBuf,
    work: PathBuf,
    scratch: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the place, unless the new log is there or somebody else is making it.
    pub(crate) fn take(old: &Path, new: &Path, scratch: Option<&Path>) -> Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Failure::io("find", path, &error))
        };
        let (new, old) = (absolute(new)?, absolute(old)?);
        refuse_inside(&old, &new, "NEW")?;
        match fs::read_dir(&new).map(|mut inside| inside.next().is_none()) {
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(false) => {
                return Err(Failure::bad_usage(format!(
                    "{} is not empty: choose a directory that is, or does not exist",
                    new.display()
                )));
            }
            Err(error) => return Err(Failure::io("use", &new, &error)),
        }
        let Some(name) = new.file_name() else {
            return Err(Failure::bad_usage(format!("{} has no name", new.display())));
        };
        let name = format!(".{}.ironwal-migrate", name.display());
        let work = new.with_file_name(&name);
        let scratch = match scratch {
            None => work.join("copy"),
            Some(dir) => {
                refuse_inside(&old, &absolute(dir)?, "the directory for the copy")?;
                absolute(dir)?.join(&name)
            }
        };
        let lock = lock(&work, &new)?;
        let place = Self { new, work, scratch, _lock: lock };
        remove(&place.scratch)?;
        remove(&place.log())?;
        Ok(place)
    }

    /// Where the copy of the old log is made.
    pub(crate) fn copy(&self) -> PathBuf {
        self.scratch.clone()
    }

    /// Where the new log is made.
    pub(crate) fn log(&self) -> PathBuf {
        self.work.join("log")
    }

    /// Refuses to begin where there is no room for the end.
    pub(crate) fn check_space(&self, original: &Original) -> Result {
        let copy = original.bytes();
        let streams = u64::try_from(original.streams().len()).unwrap_or(u64::MAX);
        let log = copy.saturating_add(streams.saturating_mul(STREAM_OVERHEAD));
        let log = log.saturating_add(LOG_OVERHEAD);
        let beside = self.scratch.parent().unwrap_or(&self.scratch);
        fs::create_dir_all(beside).map_err(|error| Failure::io("make", beside, &error))?;
        if is_same_file_system(beside, &self.work) {
            return check_room(&self.work, copy.saturating_add(log));
        }
        check_room(beside, copy)?;
        check_room(&self.work, log)
    }

    /// Gives the log, which is closed, its name.
    pub(crate) fn finish(self) -> Result {
        let failed = |error: io::Error| Failure::io("make", &self.new, &error);
        remove(&self.scratch)?;
        fs::rename(self.log(), &self.new).map_err(failed)?;
        sync_dir(&self.work).map_err(failed)?;
        sync_dir(self.new.parent().unwrap_or(&self.new)).map_err(failed)?;
        remove(&self.work)
    }
}

fn refuse_inside(old: &Path, other: &Path, what: &str) -> Result {
    if old.starts_with(other) || other.starts_with(old) {
        return Err(Failure::bad_usage(format!(
            "{} and {} are not beside each other: choose a directory outside for {what}",
            old.display(),
            other.display()
        )));
    }
    Ok(())
}

/// Makes the directory and locks it. The lock ends with the process, however it ends.
fn lock(work: &Path, new: &Path) -> Result<File> {
    fs::create_dir_all(work).map_err(|error| Failure::io("make", work, &error))?;
    let path = work.join("lock");
    let failed = |error: io::Error| Failure::io("lock", &path, &error);
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => Err(Failure::failed(format!(
            "another process is making {}: wait until it is done, or end it",
            new.display()
        ))),
    }
}

fn remove(dir: &Path) -> Result {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("delete", dir, &error))
        }
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(unix)]
fn is_same_file_system(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(one) == device(other)
}

#[cfg(not(unix))]
fn is_same_file_system(_one: &Path, _other: &Path) -> bool {
    true
}

/// Refuses a file system with less room than that. One that does not say how much it has may fail later.
#[cfg(unix)]
fn check_room(dir: &Path, needed: u64) -> Result {
    let Ok(found) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        return Err(Failure::failed(format!(
            "{} has room for {free} bytes, and {needed} are needed: make room, choose another place for \
             NEW, or for the copy with --scratch",
            dir.display()
        )));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_room(_dir: &Path, _needed: u64) -> Result {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn room_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        check_room(dir.path(), 1).unwrap();
        let Err(Failure::Failed(message)) = check_room(dir.path(), u64::MAX) else {
            panic!("no file system has that much room");
        };
        assert!(message.contains("make room"), "{message}");
    }
}
