//! `ironwal export`: a log as lines of JSON.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use ironwal::sharded::ShardedWal;
use ironwal::{Error, Follower, Wal};

use crate::exit::{Done, Failure, say, tell};
use crate::exported::{Counts, Ids, Line, VERSION};
use crate::text::counted;
use crate::unfinished::{self, Unfinished};
use crate::{interrupt, json, open, progress};

/// Write a log as lines of JSON, for `ironwal import` and other programs
#[derive(clap::Args)]
#[command(after_help = "\
The export is one instant over all streams, also beside a process that writes. Ids are kept, and of a sharded
log the number of its shards and its checkpoints, if all streams are exported. An entry that is not UTF-8
has entry_base64 instead of entry. The last line has the type \"end\" and counts: without it the export is not
complete. What of a sharded log is exported by name becomes an ordinary log.

Damaged entries are named on standard error, and in the output by a line of the type \"gap\"; the exit
status is then 1. With -o the file is there when the export is complete. The log is only read.

Examples:
  ironwal export ./log -o log.jsonl
  ironwal export ./log orders | jq -r 'select(.type == \"entry\") | .entry'
  ironwal export ./log | zstd > log.jsonl.zst")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// The streams [default: all, and the checkpoints]
    #[arg(value_name = "STREAM")]
    streams: Vec<String>,
    /// Write to this file, which must not exist, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Done {
    let wal = open::existing(&args.dir)?;
    let sharded = if args.streams.is_empty() { open::shards(&args.dir, &wal)? } else { None };
    for name in &args.streams {
        open::stream(&wal, name)?;
    }
    let Some(path) = &args.output else {
        let mut export = Export::to(io::stdout().lock(), None, !io::stdout().is_terminal());
        export.write_all(args, &wal, sharded.as_ref())?;
        return export.finish();
    };
    unfinished::must_not_exist(path)?;
    let interrupted = interrupt::watch()?;
    let unfinished = Unfinished::create(path)?;
    let mut export = Export::to(unfinished.file(), Some(interrupted), true);
    export.write_all(args, &wal, sharded.as_ref())?;
    export.out.flush().map_err(|error| export.failed_to_write(&error))?;
    unfinished.finish()?;
    export.finish()
}

/// A stream, and the id behind its last entry at the instant of the export.
struct Part {
    follower: Follower,
    name: String,
    end: u64,
}

struct Export<W: Write> {
    out: BufWriter<W>,
    interrupted: Option<Arc<AtomicBool>>,
    counts: Counts,
    bar: Option<ProgressBar>,
    may_have_bar: bool,
}

impl<W: Write> Export<W> {
    fn to(out: W, interrupted: Option<Arc<AtomicBool>>, may_have_bar: bool) -> Self {
        let out = BufWriter::with_capacity(128 * 1024, out);
        Self { out, interrupted, counts: Counts::default(), bar: None, may_have_bar }
    }

    fn write_all(&mut self, args: &Args, wal: &Wal, sharded: Option<&ShardedWal>) -> Done {
        let parts = parts(wal, &args.streams)?;
        if self.may_have_bar {
            let len = parts.iter().map(|part| part.end.saturating_sub(part.follower.position()));
            self.bar = progress::bar(len.sum());
        }
        self.counts.streams = parts.len() as u64;
        let (shards, streams) = (sharded.map(ShardedWal::shard_count), self.counts.streams);
        // Those that are there by now; what they speak of may be more than what is exported.
        let checkpoints = sharded.map_or_else(Vec::new, ShardedWal::list_checkpoints);
        let ends: Vec<(String, u64)> = parts.iter().map(|it| (it.name.clone(), it.end)).collect();
        self.line(&Line::Export { version: VERSION, shards, streams })?;
        for part in parts {
            self.write_stream(wal, part)?;
        }
        if let Some(sharded) = sharded {
            for (id, _) in checkpoints {
                self.write_checkpoint(sharded, &id, &ends)?;
            }
        }
        self.line(&Line::End(self.counts))?;
        self.out.flush().map_err(|error| self.failed_to_write(&error))
    }

    fn write_stream(&mut self, wal: &Wal, mut part: Part) -> Done {
        let name = part.name.clone();
        let failed = |error| Failure::of(&format!("export {name:?}"), &error);
        let stream = wal.stream(&name).map_err(failed)?;
        let mut start = None;
        loop {
            let due = part.follower.position();
            if due >= part.end {
                break;
            }
            let next = part.follower.try_next();
            if start.is_none() && !matches!(next, Err(Error::Pruned { .. })) {
                start = Some(due);
                self.begin_stream(&name, due, part.end)?;
            }
            match next {
                Ok(Some((id, entry))) => self.write_entry(&name, id, &entry)?,
                // What was pruned before it was begun is not a part of it.
                Err(Error::Pruned { .. }) if start.is_none() => {}
                Err(error @ Error::Damaged { .. }) => {
                    let Error::Damaged { ids, .. } = &error else { continue };
                    self.write_gap(&name, due..ids.end.min(part.end), &error)?;
                }
                Ok(None) => return Err(changed(&name)),
                Err(Error::Pruned { .. } | Error::CutOff { .. } | Error::StreamNotFound(_)) => {
                    return Err(changed(&name));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if start.is_none() {
            self.begin_stream(&name, part.end, part.end)?;
        }
        match open::lost_end(&stream).filter(|_| stream.next_id() == part.end) {
            Some(error @ Error::Damaged { .. }) => {
                self.write_gap(&name, part.end..u64::MAX, &error)
            }
            _ => Ok(()),
        }
    }

    fn begin_stream(&mut self, name: &str, start: u64, end: u64) -> Done {
        self.line(&Line::Stream { stream: name.into(), ids: Ids { start, end } })
    }

    fn write_entry(&mut self, name: &str, id: u64, entry: &[u8]) -> Done {
        if self.interrupted.as_ref().is_some_and(|it| it.load(Ordering::Relaxed)) {
            return Err(Failure::failed("interrupted; nothing was exported"));
        }
        self.counts.entries += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        let (entry, entry_base64) = json::text(entry);
        let (entry, entry_base64) = (entry.map(Into::into), entry_base64.map(Into::into));
        self.line(&Line::Entry { stream: name.into(), id, entry, entry_base64 })
    }

    fn write_gap(&mut self, name: &str, ids: std::ops::Range<u64>, error: &Error) -> Done {
        self.counts.gaps += 1;
        let message = error.to_string();
        say(&message);
        let ids = Ids { start: ids.start, end: ids.end };
        self.line(&Line::Gap { stream: name.into(), ids, message: message.into() })
    }

    /// Writes a checkpoint, if what it speaks of is exported: it may have been created since.
    fn write_checkpoint(&mut self, wal: &ShardedWal, id: &[u8], ends: &[(String, u64)]) -> Done {
        let checkpoint = match wal.load_checkpoint(id) {
            Ok(checkpoint) => checkpoint,
            // Compacted meanwhile.
            Err(Error::CheckpointNotFound(_)) => return Ok(()),
            Err(error) => {
                self.counts.gaps += 1;
                say(format_args!("a checkpoint is left out: {error}"));
                return Ok(());
            }
        };
        let end_of = |shard: usize| {
            let name = format!("shard_{shard:02}");
            ends.iter().find(|(of, _)| *of == name).map_or(0, |(_, end)| *end)
        };
        let mut offsets = checkpoint.offsets.iter().enumerate();
        if offsets.any(|(shard, offset)| *offset > end_of(shard)) {
            return Ok(());
        }
        self.counts.checkpoints += 1;
        let (text, base64) = json::text(id);
        self.line(&Line::Checkpoint {
            id: text.map(Into::into),
            id_base64: base64.map(Into::into),
            created_ns: checkpoint.timestamp,
            offsets: checkpoint.offsets,
        })
    }

    fn line(&mut self, line: &Line<'_>) -> Done {
        json::write(&mut self.out, line).map_err(|error| self.failed_to_write(&error))
    }

    /// A reader that left hides no damage that was found before.
    fn failed_to_write(&self, error: &io::Error) -> Failure {
        match (Failure::output(error), &self.interrupted) {
            (Failure::ReaderLeft, _) if self.counts.gaps > 0 => Failure::AlreadySaid,
            (failure @ Failure::ReaderLeft, _) | (failure, None) => failure,
            (_, Some(_)) => Failure::failed(format!(
                "cannot write the export: {error}; nothing was exported: check the disk, then try again"
            )),
        }
    }

    /// Says what was exported.
    fn finish(self) -> Done {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let Counts { streams, entries, checkpoints, gaps } = self.counts;
        let mut what = counted(entries, "entry", "entries");
        what += &format!(" of {}", counted(streams, "stream", "streams"));
        if checkpoints > 0 {
            what += &format!(", and {}", counted(checkpoints, "checkpoint", "checkpoints"));
        }
        tell(format_args!("exported {what}"));
        if gaps > 0 { Err(Failure::AlreadySaid) } else { Ok(()) }
    }
}

/// The streams at one instant. Whoever follows one is told if it is cut off afterwards.
fn parts(wal: &Wal, chosen: &[String]) -> Done<Vec<Part>> {
    let failed = |error| Failure::of("look at all streams at one instant", &error);
    let names = || if chosen.is_empty() { wal.streams() } else { chosen.to_vec() };
    loop {
        let before = names();
        let mut parts = Vec::new();
        for name in &before {
            let stream = wal.stream(name).map_err(failed)?;
            let follower = stream.follow(stream.first_id());
            parts.push(Part { follower, name: name.clone(), end: 0 });
        }
        let ends = wal.cut(&before).map_err(failed)?;
        for (part, end) in parts.iter_mut().zip(ends) {
            part.end = end;
        }
        // One that began meanwhile is a part of a later instant.
        if names() == before {
            return Ok(parts);
        }
    }
}

fn changed(name: &str) -> Failure {
    Failure::failed(format!(
        "stream {name:?} was pruned, cut off or deleted while it was exported: export again"
    ))
}
