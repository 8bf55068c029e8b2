//! Running the program and looking at what it did.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output of a run that must have gone well without a word.
    #[track_caller]
    pub(crate) fn quiet(self) -> Vec<u8> {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        self.out
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Checks the exit code, and that the one message on standard error contains all of `parts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:?}");
        }
    }
}

pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_ironwal"));
    // Whoever runs the tests may have chosen for or against colours.
    program.env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    program
}

pub(crate) fn run<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    run_with_input(args, b"")
}

pub(crate) fn run_with_input<S: AsRef<OsStr>>(args: &[S], input: &[u8]) -> Ran {
    let mut child = program()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program that ends early leaves a pipe that nobody reads.
        scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    })
}

/// Runs the program where no file may become longer than so many blocks of 512 or 1024 bytes, up to the
/// shell: that stands in for a full disk. The shell ignores the signal that would come with it.
#[cfg(unix)]
pub(crate) fn run_with_short_files(blocks: u32, args: &[&str]) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_ironwal")])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `ironwal append DIR STREAM OPTIONS…`, which must go well.
#[track_caller]
pub(crate) fn append(dir: &Path, stream: &str, options: &[&str], input: &[u8]) -> String {
    let mut args = vec!["append", dir.to_str().unwrap(), stream];
    args.extend(options);
    let ran = run_with_input(&args, input);
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    ran.err
}

/// `ironwal cat DIR STREAM OPTIONS…`
pub(crate) fn cat(dir: &Path, stream: &str, options: &[&str]) -> Ran {
    let mut args = vec!["cat", dir.to_str().unwrap(), stream];
    args.extend(options);
    run(&args)
}

/// Every file below a directory, and what is in it.
pub(crate) fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(content(&entry.path())),
            false => _ = files.insert(entry.path(), std::fs::read(entry.path()).unwrap()),
        }
    }
    files
}
