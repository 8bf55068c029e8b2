//! The disk that a program under test works on: in memory, and every call that changes something is
//! recorded with its data.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ironwal::storage::{DirEntry, EntryKind, File, Lock, OpenMode, Storage, WritableMap};

use crate::image::{FILE_LEN_MAX, Image, InodeId, Place};

/// A call that changed something, or made something durable, and had succeeded.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Write {
        inode: InodeId,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// Also a reservation that lengthens: what it promises of room has no content.
    SetLen {
        inode: InodeId,
        len: u64,
    },
    Sync {
        inode: InodeId,
    },
    Create {
        inode: InodeId,
        to: Place,
        is_dir: bool,
    },
    Rename {
        inode: InodeId,
        from: Place,
        to: Place,
    },
    Remove {
        inode: InodeId,
        from: Place,
    },
    SyncDir {
        inode: InodeId,
    },
    /// The program said something.
    Mark,
}

#[derive(Debug)]
struct State {
    live: Image,
    locked: BTreeSet<InodeId>,
    calls: Vec<Call>,
}

/// A disk in memory that records. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
}

impl Disk {
    pub(crate) fn new(image: Image) -> Self {
        let state = State { live: image, locked: BTreeSet::new(), calls: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn mark(&self) {
        self.state().calls.push(Call::Mark);
    }

    /// Takes what was recorded so far.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way, so the state is whole even if a thread of the user did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        operation: &str,
        path: &Path,
        body: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        body(&mut self.state()).map_err(|error| {
            io::Error::new(error.kind(), format!("{operation} {}: {error}", path.display()))
        })
    }
}

impl State {
    fn create(&mut self, path: &Path, is_dir: bool) -> io::Result<InodeId> {
        let to = self.live.place(path)?.ok_or(io::ErrorKind::AlreadyExists)?;
        if self.live.at(&to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.live.next_id();
        self.live.insert(inode, is_dir);
        self.live.put(inode, Some(to.clone()));
        self.calls.push(Call::Create { inode, to, is_dir });
        Ok(inode)
    }

    fn remove(&mut self, path: &Path, is_dir: bool) -> io::Result<()> {
        let wrong = if is_dir { io::ErrorKind::ResourceBusy } else { io::ErrorKind::IsADirectory };
        let from = self.live.place(path)?.ok_or(wrong)?;
        let inode = self.live.at(&from).ok_or(io::ErrorKind::NotFound)?;
        if is_dir {
            if !self.live.entries(inode)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        } else {
            self.live.file(inode)?;
        }
        self.live.put(inode, None);
        self.calls.push(Call::Remove { inode, from });
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let busy = io::ErrorKind::ResourceBusy;
        let from = self.live.place(from)?.ok_or(busy)?;
        let inode = self.live.at(&from).ok_or(io::ErrorKind::NotFound)?;
        let to = self.live.place(to)?.ok_or(busy)?;
        if self.live.lies_in(to.0, inode) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if let Some(target) = self.live.at(&to) {
            match (self.live.is_dir(inode), self.live.is_dir(target)) {
                _ if target == inode => return Ok(()),
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, true) if !self.live.entries(target)?.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            }
        }
        self.live.put(inode, Some(to.clone()));
        self.calls.push(Call::Rename { inode, from, to });
        Ok(())
    }

    fn set_len(&mut self, inode: InodeId, len: u64) {
        self.live.change(inode, |body| body.cut(len));
        self.calls.push(Call::SetLen { inode, len });
    }
}

impl Storage for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inode = self.call("open", path, |state| match mode {
            OpenMode::Create => state.create(path, false),
            OpenMode::Read | OpenMode::ReadWrite => {
                let inode = state.live.find(path)?;
                state.live.file(inode)?;
                Ok(inode)
            }
        })?;
        let is_writable = mode != OpenMode::Read;
        Ok(Arc::new(Handle { disk: self.clone(), inode, path: path.into(), is_writable }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call("list", dir, |state| {
            let kind = |id| if state.live.is_dir(id) { EntryKind::Dir } else { EntryKind::File };
            let entries = state.live.entries(state.live.find(dir)?)?;
            let entry = |(name, id): (&std::ffi::OsString, &InodeId)| DirEntry {
                name: name.clone(),
                kind: kind(*id),
            };
            Ok(entries.iter().map(entry).collect())
        })
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("mkdir", dir, |state| state.create(dir, true).map(drop))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from, |state| state.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("unlink", path, |state| state.remove(path, false))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("rmdir", dir, |state| state.remove(dir, true))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync directory", dir, |state| {
            let inode = state.live.find(dir)?;
            state.live.entries(inode)?;
            state.calls.push(Call::SyncDir { inode });
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let inode = self.call("lock", path, |state| {
            let inode = match state.live.find(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    state.create(path, false)?
                }
                found => found?,
            };
            state.live.file(inode)?;
            if state.locked.insert(inode) {
                Ok(inode)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        })?;
        Ok(Box::new(Held { disk: self.clone(), inode }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.call("lock", path, |state| match state.live.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => Ok(state.locked.contains(&found?)),
        })
    }
}

#[derive(Debug, Clone)]
struct Handle {
    disk: Disk,
    inode: InodeId,
    path: Box<Path>,
    is_writable: bool,
}

impl Handle {
    fn change<T>(
        &self,
        operation: &str,
        body: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.call(operation, &self.path, |state| {
            if !self.is_writable {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            body(state)
        })
    }
}

fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    match offset.checked_add(len) {
        Some(end) if end <= FILE_LEN_MAX => Ok(end),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call("read", &self.path, |state| {
            end_of(offset, 0).map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(state.live.file(self.inode)?.read(buf, offset))
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.change("write", |state| {
            let end = end_of(offset, buf.len() as u64)?;
            if buf.is_empty() {
                return Ok(0);
            }
            let changed = state.live.file(self.inode)?.written(buf, offset);
            state.live.change(self.inode, |body| {
                body.len = body.len.max(end);
                for (index, sector) in changed {
                    body.set_sector(index, sector);
                }
            });
            state.calls.push(Call::Write { inode: self.inode, offset, bytes: buf.into() });
            Ok(buf.len())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call("stat", &self.path, |state| Ok(state.live.file(self.inode)?.len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change("set length", |state| {
            end_of(len, 0)?;
            state.set_len(self.inode, len);
            Ok(())
        })
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change("reserve", |state| {
            let end = end_of(offset, len)?;
            if len > 0 && end > state.live.file(self.inode)?.len {
                state.set_len(self.inode, end);
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.call("sync", &self.path, |state| {
            state.calls.push(Call::Sync { inode: self.inode });
            Ok(())
        })
    }

    fn map_writable(&self, len: u64) -> io::Result<Option<Box<dyn WritableMap>>> {
        let map = Mapped { handle: self.clone(), len, prepared: 0..0 };
        Ok(self.is_writable.then(|| Box::new(map) as Box<dyn WritableMap>))
    }
}

/// A file as memory. What is stored is recorded as a write.
#[derive(Debug)]
struct Mapped {
    handle: Handle,
    len: u64,
    prepared: Range<u64>,
}

impl WritableMap for Mapped {
    fn prepare(&mut self, start: u64, end: u64) -> io::Result<()> {
        if end > self.len.min(self.handle.len()?) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let start = if start == self.prepared.end { self.prepared.start } else { start };
        self.prepared = start..end;
        Ok(())
    }

    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset < self.prepared.start || end > self.prepared.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.handle.write_at(bytes, offset).map(drop)
    }
}

#[derive(Debug)]
struct Held {
    disk: Disk,
    inode: InodeId,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.inode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract_of_a_storage() {
        ironwal::storage::conformance::check(Arc::new(Disk::new(Image::empty())), Path::new("/"));
    }
}
