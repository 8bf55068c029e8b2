//! Segments from the archive as files.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use ironwal::inspect::keep_from_oldest;
use ironwal::storage::{File, OpenMode, RealDisk, Storage};
use tempfile::TempDir;

use crate::archive::{Archive, check};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Piece, Segment, Stream, sha256};
use crate::names;

/// The name of the root file of a log.
const ROOT_NAME: &str = ".ironwal";

/// The name that a file has until it is whole; in the directory of a stream, opening a log deletes it.
const UNFINISHED: &str = ".copy.tmp";

/// How many pieces are read ahead.
const AHEAD: usize = 2;

/// The path of a segment in the directory of its stream.
pub(crate) fn path_of(dir: &Path, first_id: u64) -> PathBuf {
    dir.join(format!("{first_id:020}.wal"))
}

impl Archive {
    /// Writes the root file of a log, durably but for its name.
    pub(crate) fn fetch_root(
        &self,
        storage: &dyn Storage,
        manifest: &Manifest,
        dir: &Path,
    ) -> Result<()> {
        let Some(root) = &manifest.root else { return Err(Error::NoArchive) };
        let content = self.fetch(&names::root(&root.sha256), root)?;
        let path = dir.join(ROOT_NAME);
        remove(storage, &path)?;
        let file = storage.open(&path, OpenMode::Create)?;
        write_all(&*file, &content, 0)?;
        Ok(file.sync()?)
    }

    /// Writes a segment into the directory of its stream, durably but for its name, which it gets when it is whole.
    pub(crate) fn fetch_segment(
        &self,
        storage: &dyn Storage,
        stream: &Stream,
        segment: &Segment,
        dir: &Path,
        watch: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let unfinished = dir.join(UNFINISHED);
        remove(storage, &unfinished)?;
        let file = storage.open(&unfinished, OpenMode::Create)?;
        let mut ahead = VecDeque::new();
        let mut objects = segment.objects(stream.number);
        loop {
            while ahead.len() < AHEAD {
                let Some((at, name, piece)) = objects.next() else { break };
                let content = self.store.start_get(&name);
                ahead.push_back((at, name, piece, content));
            }
            let Some((at, name, piece, content)) = ahead.pop_front() else { break };
            let content = check(&name, piece, content.wait()?)?;
            write_all(&*file, &content, at)?;
            watch(piece.len);
        }
        file.sync()?;
        storage.rename(&unfinished, &path_of(dir, segment.first_id))?;
        Ok(())
    }

    /// A log with nothing but one segment in it, of a stream with the name [`Single::NAME`].
    pub(crate) fn fetch_alone(
        &self,
        manifest: &Manifest,
        stream: &Stream,
        segment: &Segment,
    ) -> Result<Single> {
        let dir = tempfile::tempdir()?;
        self.fetch_root(&RealDisk, manifest, dir.path())?;
        let inside = dir.path().join(Single::NAME);
        RealDisk.create_dir(&inside)?;
        self.fetch_segment(&RealDisk, stream, segment, &inside, &mut |_| {})?;
        keep_from_oldest(&RealDisk, dir.path())?;
        Ok(Single { dir })
    }
}

/// A log in a temporary directory that has one segment.
#[derive(Debug)]
pub(crate) struct Single {
    dir: TempDir,
}

impl Single {
    pub(crate) const NAME: &str = "segment";

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Whether a file is what the archive has of a segment.
pub(crate) fn is_whole(storage: &dyn Storage, path: &Path, segment: &Segment) -> Result<bool> {
    let file = match storage.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if file.len()? != segment.len() {
        return Ok(false);
    }
    let mut at = 0;
    for Piece { len, sha256: digest, .. } in &segment.pieces {
        let Ok(bytes) = usize::try_from(*len) else { return Ok(false) };
        let mut content = vec![0; bytes];
        if !read_all(&*file, &mut content, at)? || sha256(&content) != *digest {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

fn read_all(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn write_all(file: &dyn File, buf: &[u8], offset: u64) -> io::Result<()> {
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

/// Removes a file, if it is there.
pub(crate) fn remove(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
