//! The directory that 0.6 wrote: what is in it, and a copy. It is only ever read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::{Failure, Result};
use crate::progress::Bar;

/// The root file of ironwal 0.7.
const NEW_ROOT: &str = ".ironwal";

/// What tells the directory of a stream from somebody else's.
const INDEX: &str = "segments.idx";

/// The log of checkpoints.
const CHECKPOINTS: &str = "checkpoints.log";

/// A file, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    len: u64,
    modified: Option<SystemTime>,
}

/// The directory, as it was when it was looked at.
pub(crate) struct Original {
    root: PathBuf,
    /// By their paths in it.
    files: BTreeMap<PathBuf, Seen>,
    /// The directories of streams.
    streams: BTreeSet<String>,
    /// Directories that are no stream's.
    strangers: Vec<PathBuf>,
}

impl Original {
    /// Lists the directory.
    pub(crate) fn look(root: &Path) -> Result<Self> {
        let failed = |error: io::Error| Failure::io("read", root, &error);
        let mut original = Self {
            root: root.to_path_buf(),
            files: BTreeMap::new(),
            streams: BTreeSet::new(),
            strangers: Vec::new(),
        };
        if root.join(NEW_ROOT).exists() {
            return Err(Failure::bad_usage(format!(
                "{} is a log of ironwal 0.7 already: there is nothing to migrate",
                root.display()
            )));
        }
        for entry in fs::read_dir(root).map_err(failed)? {
            original.add(&entry.map_err(failed)?.path())?;
        }
        let has_checkpoints = original.files.contains_key(Path::new(CHECKPOINTS));
        if original.streams.is_empty() && !has_checkpoints {
            return Err(Failure::bad_usage(format!(
                "there is no log of ironwal 0.6 in {}: no directory in it has a {INDEX}",
                root.display()
            )));
        }
        Ok(original)
    }

    fn add(&mut self, path: &Path) -> Result {
        let failed = |error: io::Error| Failure::io("read", path, &error);
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_file() {
            self.files.insert(name, seen(&metadata));
            return Ok(());
        }
        if !metadata.is_dir() {
            return Ok(());
        }
        let mut inside = BTreeMap::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            let metadata = fs::metadata(&entry).map_err(failed)?;
            if metadata.is_file() {
                inside.insert(name.join(entry.file_name().unwrap_or_default()), seen(&metadata));
            }
        }
        let is_stream = |path: &PathBuf| path.ends_with(INDEX) || segment_in(path).is_some();
        match name.to_str() {
            Some(stream) if is_name(stream) && inside.keys().any(is_stream) => {
                self.streams.insert(stream.to_string());
                self.files.extend(inside);
            }
            _ => self.strangers.push(path.to_path_buf()),
        }
        Ok(())
    }

    /// The bytes of all files that are copied.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.len).sum()
    }

    /// The directories of streams.
    pub(crate) fn streams(&self) -> &BTreeSet<String> {
        &self.streams
    }

    /// Directories that are no stream's, and are left alone.
    pub(crate) fn strangers(&self) -> &[PathBuf] {
        &self.strangers
    }

    /// The first ids of the segments of a stream, as their files are named.
    pub(crate) fn segments(&self, stream: &str) -> BTreeSet<u64> {
        let files = self.files.keys().filter(|path| path.starts_with(stream));
        files.filter_map(|path| segment_in(path)).collect()
    }

    /// How long each file is.
    pub(crate) fn lens(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.files.iter().map(|(path, file)| (path.as_path(), file.len))
    }

    /// Copies every file to a directory that does not exist yet.
    pub(crate) fn copy(&self, to: &Path) -> Result {
        let bar = Bar::new(self.bytes(), "copied");
        for dir in self.streams.iter().map(|stream| to.join(stream)).chain([to.to_path_buf()]) {
            fs::create_dir_all(&dir).map_err(|error| Failure::io("make", &dir, &error))?;
        }
        for (path, file) in &self.files {
            let (from, to) = (self.root.join(path), to.join(path));
            let copied = copy_file(&from, &to);
            copied.map_err(|error| Failure::io("copy", &from, &error))?;
            bar.add(file.len);
        }
        Ok(())
    }

    /// Refuses a directory that somebody has written to since it was looked at.
    pub(crate) fn check_unchanged(&self) -> Result {
        let now = Self::look(&self.root)?;
        let differs = |path: &&PathBuf| now.files.get(*path) != self.files.get(*path);
        match self.files.keys().chain(now.files.keys()).find(differs) {
            None => Ok(()),
            Some(path) => Err(Failure::failed(format!(
                "{} is in use: {} has changed meanwhile; end the program that writes to it, then try \
                 again",
                self.root.display(),
                path.display()
            ))),
        }
    }

    /// Refuses a directory of which a process has a file open, as far as the system tells. 0.6 has no lock
    /// that could be asked.
    pub(crate) fn refuse_users(&self) -> Result {
        let Ok(root) = fs::canonicalize(&self.root) else { return Ok(()) };
        let Ok(processes) = fs::read_dir("/proc") else { return Ok(()) };
        for process in processes.flatten() {
            let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
            let mut open = open.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            if let Some(file) = open.find(|file| file.starts_with(&root) && file.is_file()) {
                return Err(Failure::failed(format!(
                    "{} is in use: process {} has {} open; end it, then try again",
                    self.root.display(),
                    process.file_name().display(),
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

fn seen(metadata: &fs::Metadata) -> Seen {
    Seen { len: metadata.len(), modified: metadata.modified().ok() }
}

/// The first id of a segment, if its file has a name of 20 digits and `.wal`.
fn segment_in(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".wal")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Copies a file, and lets the copy be written to, whatever the original allows.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (fs::File::open(from)?, fs::File::create_new(to)?);
    io::copy(&mut from, &mut to).map(drop)
}

/// Whether 0.6 gives a stream's directory such a name.
fn is_name(dir: &str) -> bool {
    dir.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
