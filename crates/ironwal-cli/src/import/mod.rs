//! `ironwal import`: a log out of lines of JSON.

mod build;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ironwal::MAX_FRAME_LEN;
use ironwal::storage::Storage;
use serde::Serialize;

use crate::exit::{Done, Failure};
use crate::exported::Counts;
use crate::text::counted;
use crate::{colour, interrupt, json, open, progress, table};
use build::Build;

/// How long a line can be: each byte of an entry may be written as six.
const LINE_LEN_MAX: u64 = 6 * MAX_FRAME_LEN + 1024 * 1024;

/// Make a log out of what `ironwal export` has written
#[derive(clap::Args)]
#[command(after_help = "\
The log has the streams, entries and ids of the one that was exported, its shards, and its checkpoints. It is
a new log all the same: archived segments of the other one do not fit it. DIR is there when everything
is imported and on stable storage, and not before.

A line that cannot be read, or is missing, ends it with an error that has the number of the line. So does
an entry that the export says was damaged: then --renumber goes on without it. That gives all entries new
ids, from 0 on, and leaves checkpoints out, which speak of ids.

Examples:
  ironwal import ./copy log.jsonl
  zstd -dc log.jsonl.zst | ironwal import ./copy
  ironwal import ./copy damaged.jsonl --renumber")]
pub(crate) struct Args {
    /// The directory of the log, which must not exist, or be empty
    dir: PathBuf,
    /// The file to read [default: standard input]
    file: Option<PathBuf>,
    /// Give entries new ids, from 0 on in each stream, and leave gaps and checkpoints out
    #[arg(long)]
    renumber: bool,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let is_there = is_empty_dir(&args.dir)?;
    let unfinished = unfinished(&args.dir);
    let disk = open::disk();
    let failed = |error: &io::Error| Failure::io(&format!("make {}", args.dir.display()), error);
    remove(&unfinished).map_err(|error| failed(&error))?;
    let imported = import(args, &unfinished).and_then(|counts| {
        let named = name(&*disk, &unfinished, &args.dir, is_there);
        named.map_err(|error| failed(&error)).map(|()| counts)
    });
    match imported {
        Ok(counts) => table::print(|out| write(out, args, counts)),
        Err(failure) => {
            // What is left does no harm: the next import begins anew.
            let _ = remove(&unfinished);
            Err(match failure {
                Failure::Failed(message) => {
                    Failure::Failed(format!("{message}; nothing was imported"))
                }
                other => other,
            })
        }
    }
}

/// Whether an empty directory is there; a failure if anything else is.
fn is_empty_dir(dir: &Path) -> Done<bool> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(true) => Ok(true),
        Ok(false) => Err(Failure::BadUsage(format!(
            "{} is not empty: an import makes a new log, so choose a directory that does not exist",
            dir.display()
        ))),
        Err(error) => Err(Failure::io(&format!("look at {}", dir.display()), &error)),
    }
}

/// Where the log is until it is complete.
fn unfinished(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.ironwal-import"))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn name(disk: &dyn Storage, unfinished: &Path, dir: &Path, is_there: bool) -> io::Result<()> {
    if is_there {
        disk.remove_dir(dir)?;
    }
    disk.rename(unfinished, dir)?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    disk.sync_dir(parent.unwrap_or(Path::new(".")))
}

fn import(args: &Args, unfinished: &Path) -> Done<Counts> {
    let Some(path) = &args.file else {
        // Ctrl-C ends the program, which may be waiting for a line.
        return build(&mut io::stdin().lock(), args, unfinished, None, &|_| {});
    };
    let failed = |error| Failure::io(&format!("read {}", path.display()), &error);
    let file = File::open(path).map_err(failed)?;
    let total = file.metadata().map_err(failed)?.len();
    let bar = progress::Bytes::new();
    let interrupted = interrupt::watch()?;
    let mut input = BufReader::with_capacity(1024 * 1024, file);
    build(&mut input, args, unfinished, Some(interrupted), &|done| bar.set(done, total, "imported"))
}

fn build(
    input: &mut impl BufRead,
    args: &Args,
    dir: &Path,
    interrupted: Option<Arc<AtomicBool>>,
    progress: &dyn Fn(u64),
) -> Done<Counts> {
    let mut build: Option<Build> = None;
    let (mut line, mut number, mut done) = (Vec::new(), 0_u64, 0);
    loop {
        if interrupted.as_ref().is_some_and(|it| it.load(Ordering::Relaxed)) {
            return Err(Failure::failed("interrupted"));
        }
        number += 1;
        line.clear();
        let len = input.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line);
        let len = len.map_err(|error| Failure::io("read the export", &error))?;
        done += len as u64;
        if number.is_multiple_of(1024) {
            progress(done);
        }
        let at = |failure| at_line(number, failure);
        build = match (build.take(), len) {
            (None, 0) => return Err(at_line(1, Failure::failed("there is no export"))),
            (None, _) => Some(Build::begin(&line, dir, args.renumber).map_err(at)?),
            (Some(build), 0) => return build.finish().map_err(at),
            (Some(mut build), _) => {
                build.add(&line).map_err(at)?;
                Some(build)
            }
        };
    }
}

/// Says in which line it was.
fn at_line(number: u64, failure: Failure) -> Failure {
    match failure {
        Failure::Failed(message) => Failure::Failed(format!("line {number}: {message}")),
        Failure::BadUsage(message) => Failure::Failed(format!("line {number}: {message}")),
        other => other,
    }
}

fn write(out: &mut impl Write, args: &Args, counts: Counts) -> io::Result<()> {
    #[derive(Serialize)]
    struct Imported {
        r#type: &'static str,
        #[serde(flatten)]
        counts: Counts,
    }
    if args.json {
        return json::write(out, &Imported { r#type: "imported", counts });
    }
    let Counts { streams, entries, checkpoints, gaps } = counts;
    write!(
        out,
        "{}: {} has {} of {}",
        colour::good("imported"),
        args.dir.display(),
        counted(entries, "entry", "entries"),
        counted(streams, "stream", "streams"),
    )?;
    if checkpoints > 0 {
        write!(out, ", and {}", counted(checkpoints, "checkpoint", "checkpoints"))?;
    }
    if gaps > 0 {
        write!(out, "; {} left out", counted(gaps, "gap", "gaps"))?;
    }
    writeln!(out)
}
