//! `ironwal-migrate` on directories that the published crate wrote.

mod damage;
mod equal;
mod errors;
mod restart;
mod seen;
mod writing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// An old directory, and where the new one is to be.
struct Case {
    dir: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Case {
    /// A directory that 0.6.9 wrote.
    fn new(kind: &str) -> Self {
        let case = Self::empty();
        writing::write(kind, &case.old());
        case
    }

    /// A directory that 0.6.0 wrote.
    fn new_by_0_6_0(kind: &str) -> Self {
        let case = Self::empty();
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/writer-0.6.0/Cargo.toml");
        let written = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--manifest-path", manifest, "--", kind])
            .arg(case.old())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        case
    }

    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn old(&self) -> PathBuf {
        self.dir.path().join("old")
    }

    fn new_log(&self) -> PathBuf {
        self.dir.path().join("new")
    }

    /// The directory that the work is done in.
    fn work(&self) -> PathBuf {
        self.dir.path().join(".new.ironwal-migrate")
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ironwal-migrate"));
        command.args([self.old(), self.new_log()]).args(options).stdin(Stdio::null());
        command
    }

    /// Runs the program, which must leave the old directory as it is, byte by byte, and beside the new one
    /// nothing if that is there.
    #[track_caller]
    fn migrate(&self, options: &[&str]) -> Ran {
        let before = files(&self.old());
        let output = self.command(options).output().unwrap();
        assert!(files(&self.old()) == before, "the old directory has changed");
        let ran = Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        if self.new_log().exists() {
            assert!(!self.work().exists(), "{ran:?}");
        }
        ran
    }

    /// The segment files of a stream, oldest first.
    fn segments(&self, stream: &str) -> Vec<PathBuf> {
        let files = files(&self.old().join(stream)).into_keys();
        files.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).collect()
    }
}

impl Ran {
    #[track_caller]
    fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:?}");
        }
    }
}

/// Every file below a directory, and what is in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return found };
    for entry in entries.map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => _ = found.insert(entry.path(), std::fs::read(entry.path()).unwrap()),
        }
    }
    found
}
