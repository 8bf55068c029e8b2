//! What became of the old log, for people and for programs.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What became of the old log.
#[derive(Debug, Default)]
pub(crate) struct Report {
    old: PathBuf,
    new: PathBuf,
    pub(crate) streams: usize,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) shard_count: Option<u16>,
    pub(crate) checkpoints: usize,
    lost: Vec<Lost>,
    pub(crate) cut_off: Vec<CutOff>,
    pub(crate) lost_checkpoints: Vec<LostCheckpoint>,
    /// Their log cannot be read to its end, so there may have been more.
    pub(crate) checkpoints_damaged: bool,
    pub(crate) left_alone: Vec<PathBuf>,
}

/// Entries that cannot be read.
#[derive(Debug)]
struct Lost {
    stream: String,
    /// An end of `u64::MAX` is not known.
    ids: Range<u64>,
    reason: String,
}

/// What 0.6.9 cut off at the end of a stream.
#[derive(Debug)]
pub(crate) struct CutOff {
    /// In the old log.
    pub(crate) file: PathBuf,
    pub(crate) kept: u64,
    pub(crate) len: u64,
}

/// A checkpoint that cannot be loaded.
#[derive(Debug)]
pub(crate) struct LostCheckpoint {
    pub(crate) id: String,
    pub(crate) reason: String,
}

impl Report {
    pub(crate) fn new(old: &Path, new: &Path) -> Self {
        Self { old: old.into(), new: new.into(), ..Self::default() }
    }

    /// Notes that entries are lost.
    pub(crate) fn lose(&mut self, stream: &str, ids: Range<u64>, reason: &str) {
        let (stream, reason) = (stream.to_string(), reason.to_string());
        self.lost.push(Lost { stream, ids, reason });
    }

    /// Whether nothing was lost, as far as anybody can tell.
    pub(crate) fn is_complete(&self, torn_tails_are_fine: bool) -> bool {
        self.lost.is_empty()
            && self.lost_checkpoints.is_empty()
            && !self.checkpoints_damaged
            && (torn_tails_are_fine || self.cut_off.is_empty())
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json { self.write_json(&mut out) } else { self.write(&mut out) }?;
        out.flush()
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for Lost { stream, ids, reason } in &self.lost {
            let (start, end) = (ids.start, ids.end);
            let end = if end == u64::MAX { String::new() } else { end.to_string() };
            writeln!(out, "lost: stream {stream:?}, entries {start}..{end}: {reason}")?;
        }
        for LostCheckpoint { id, reason } in &self.lost_checkpoints {
            writeln!(out, "lost: checkpoint {id:?}: {reason}")?;
        }
        if self.checkpoints_damaged {
            let why = "it was cut short, or bytes of it have changed";
            writeln!(
                out,
                "lost: the log of checkpoints is damaged ({why}): 0.6.9 does not read it to its end, so \
                 newer ones than those that are kept may be missing"
            )?;
        }
        for CutOff { file, kept, len } in &self.cut_off {
            writeln!(
                out,
                "cut off: {}: 0.6.9 keeps {kept} of {len} bytes. If the program that wrote it was killed, \
                 that is its last append, which it was not told to be safe. If it ended well, it is damage, \
                 and intact entries may be behind it: see the original",
                self.old.join(file).display()
            )?;
        }
        for path in &self.left_alone {
            writeln!(out, "left alone: {} is no stream", path.display())?;
        }
        write!(
            out,
            "migrated: {}: {} in {}, {} bytes",
            self.new.display(),
            counted(self.entries, "entry", "entries"),
            counted(self.streams as u64, "stream", "streams"),
            self.bytes
        )?;
        if let Some(count) = self.shard_count {
            let shards = counted(count.into(), "shard", "shards");
            let checkpoints = counted(self.checkpoints as u64, "checkpoint", "checkpoints");
            write!(out, "; {shards}, {checkpoints}")?;
        }
        writeln!(out)
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |object: Value| writeln!(out, "{object}");
        let mut lost_count = 0;
        for Lost { stream, ids, reason } in &self.lost {
            let end = (ids.end != u64::MAX).then_some(ids.end);
            lost_count += end.map_or(0, |end| end - ids.start);
            let ids = json!({ "start": ids.start, "end": end });
            line(json!({ "kind": "lost", "stream": stream, "ids": ids, "reason": reason }))?;
        }
        for LostCheckpoint { id, reason } in &self.lost_checkpoints {
            line(json!({ "kind": "lost-checkpoint", "id": id, "reason": reason }))?;
        }
        for CutOff { file, kept, len } in &self.cut_off {
            let file = self.old.join(file);
            line(json!({ "kind": "cut-off", "file": file, "kept": kept, "len": len }))?;
        }
        for path in &self.left_alone {
            line(json!({ "kind": "left-alone", "path": path }))?;
        }
        line(json!({
            "kind": "migrated",
            "path": self.new,
            "streams": self.streams,
            "entries": self.entries,
            "bytes": self.bytes,
            "lost": lost_count,
            "shards": self.shard_count,
            "checkpoints": self.checkpoints,
            "checkpoints_damaged": self.checkpoints_damaged,
        }))
    }
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
