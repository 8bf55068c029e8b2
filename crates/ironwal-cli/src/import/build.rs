//! A log that is built from the lines of an export.

use std::borrow::Cow;
use std::path::Path;

use ironwal::sharded::{CheckpointData, ShardedWal};
use ironwal::{Stream, SyncMode, Wal, WalOptions};

use crate::exit::{Done, Failure};
use crate::exported::{Counts, Ids, Line, VERSION, bytes};

/// How many bytes of entries are appended at a time, about.
const GROUP_LEN: usize = 1024 * 1024;

/// How many entries are appended at a time.
const GROUP_COUNT: usize = 1000;

/// How much of a line that cannot be read is shown.
const SHOWN_LEN: usize = 60;

pub(super) struct Build {
    wal: Wal,
    sharded: Option<ShardedWal>,
    renumber: bool,
    /// The streams that there are to be.
    streams: u64,
    part: Option<Part>,
    /// What was read so far.
    counts: Counts,
    is_over: bool,
}

/// The stream that entries are being read of.
struct Part {
    stream: Stream,
    /// The id that is due, and where the stream ends, as they were.
    ids: Ids,
    group: Vec<Vec<u8>>,
    group_len: usize,
}

impl Build {
    /// A log in `dir`, by the first line of an export.
    pub(super) fn begin(line: &[u8], dir: &Path, renumber: bool) -> Done<Self> {
        let other = "the file does not begin as an export of `ironwal export` does";
        let Ok(Line::Export { version, shards, streams }) = serde_json::from_slice(line) else {
            return Err(match version_in(line) {
                Some(version) if version > VERSION => newer(version),
                _ => Failure::failed(other),
            });
        };
        if version != VERSION {
            return Err(newer(version));
        }
        // Closing makes everything durable, and nobody needs it before.
        let options = WalOptions { sync_mode: SyncMode::Async, ..WalOptions::new(dir) };
        let failed = |error| Failure::of("make the log", &error);
        let wal = Wal::new(options).map_err(failed)?;
        let sharded = shards.map(|count| ShardedWal::over(wal.clone(), count));
        let sharded = sharded.transpose().map_err(failed)?;
        let (part, counts, is_over) = (None, Counts::default(), false);
        Ok(Self { wal, sharded, renumber, streams, part, counts, is_over })
    }

    pub(super) fn add(&mut self, line: &[u8]) -> Done {
        if self.is_over {
            return Err(Failure::failed("there is more behind the end of the export"));
        }
        match serde_json::from_slice(line).map_err(|error| unreadable(line, &error))? {
            Line::Export { .. } => Err(Failure::failed("another export begins")),
            Line::Stream { stream, ids } => self.begin_stream(&stream, ids),
            Line::Entry { stream, id, entry, entry_base64 } => {
                let entry = bytes(entry, entry_base64).map_err(Failure::Failed)?;
                self.part_at(&stream, id)?.add(entry)?;
                self.counts.entries += 1;
                Ok(())
            }
            Line::Gap { stream, ids, message } => self.pass_over(&stream, ids, &message),
            Line::Checkpoint { id, id_base64, created_ns, offsets } => {
                self.add_checkpoint(id, id_base64, created_ns, offsets)
            }
            Line::End(counts) => self.end(counts),
        }
    }

    /// The input is over.
    pub(super) fn finish(self) -> Done<Counts> {
        if !self.is_over {
            return Err(Failure::failed("the export is cut short: its end is missing"));
        }
        self.wal.close().map_err(|error| Failure::of("close the log", &error))?;
        Ok(self.counts)
    }

    fn begin_stream(&mut self, name: &str, Ids { start, end }: Ids) -> Done {
        self.end_part()?;
        if start > end {
            return Err(Failure::failed(format!("stream {name:?} ends before it begins")));
        }
        let failed = |error| Failure::of(&format!("make stream {name:?}"), &error);
        if self.wal.streams().iter().any(|there| there == name) {
            return Err(Failure::failed(format!("stream {name:?} begins again")));
        }
        let first_id = if self.renumber { 0 } else { start };
        if first_id > 0 || start == end {
            self.wal.begin_stream(name, first_id).map_err(failed)?;
        }
        let stream = self.wal.stream(name).map_err(failed)?;
        let ids = Ids { start, end };
        self.part = Some(Part { stream, ids, group: Vec::new(), group_len: 0 });
        self.counts.streams += 1;
        Ok(())
    }

    /// The stream in which the entry with this id is due.
    fn part_at(&mut self, name: &str, id: u64) -> Done<&mut Part> {
        let Some(part) = self.part.as_mut().filter(|part| part.stream.name() == name) else {
            return Err(Failure::failed(format!("stream {name:?} has not begun")));
        };
        let Ids { start: due, end } = part.ids;
        match id {
            _ if due == end => {
                Err(Failure::failed(format!("stream {name:?} goes on behind its end at {end}")))
            }
            _ if id == due => Ok(part),
            _ => Err(Failure::failed(format!("entry {due} of {name:?} is due, and this is {id}"))),
        }
    }

    fn pass_over(&mut self, name: &str, ids: Ids, message: &str) -> Done {
        if !self.renumber {
            return Err(Failure::failed(format!(
                "entries of {name:?} are missing in the export ({message}): with --renumber the others are \
                 imported, with new ids"
            )));
        }
        self.counts.gaps += 1;
        if ids.end == u64::MAX
            && self.part.as_ref().is_some_and(|part| part.ids.start == part.ids.end)
        {
            // The end of the stream was lost.
            return Ok(());
        }
        let part = self.part_at(name, ids.start)?;
        if ids.end <= ids.start || ids.end > part.ids.end {
            return Err(Failure::failed(format!("the gap does not end in {name:?}")));
        }
        part.ids.start = ids.end;
        Ok(())
    }

    fn add_checkpoint(
        &mut self,
        id: Option<Cow<'_, str>>,
        id_base64: Option<Cow<'_, str>>,
        timestamp: u64,
        offsets: Vec<u64>,
    ) -> Done {
        self.end_part()?;
        let id = bytes(id, id_base64).map_err(Failure::Failed)?;
        let Some(sharded) = &self.sharded else {
            return Err(Failure::failed("a log that is not sharded has no checkpoints"));
        };
        self.counts.checkpoints += 1;
        if self.renumber {
            return Ok(());
        }
        let shard_count = u16::try_from(offsets.len()).unwrap_or(u16::MAX);
        let checkpoint = CheckpointData { offsets, timestamp, shard_count };
        let copied = sharded.import_checkpoint(&id, &checkpoint);
        copied.map_err(|error| Failure::of("copy the checkpoint", &error))
    }

    fn end(&mut self, counts: Counts) -> Done {
        self.end_part()?;
        let gaps = if self.renumber { counts.gaps } else { self.counts.gaps };
        let read = Counts { gaps, ..self.counts };
        if counts != read || self.streams != counts.streams {
            return Err(Failure::failed(format!(
                "lines are missing: the export is of {} streams with {} entries, {} checkpoints and {} gaps, \
                 and there were {}, {}, {} and {}",
                counts.streams,
                counts.entries,
                counts.checkpoints,
                counts.gaps,
                self.counts.streams,
                self.counts.entries,
                self.counts.checkpoints,
                self.counts.gaps,
            )));
        }
        self.is_over = true;
        self.counts.gaps = counts.gaps;
        if self.renumber {
            self.counts.checkpoints = 0;
        }
        Ok(())
    }

    /// The stream has all that it is to have.
    fn end_part(&mut self) -> Done {
        let Some(mut part) = self.part.take() else { return Ok(()) };
        part.append()?;
        let (name, Ids { start, end }) = (part.stream.name(), part.ids);
        if start < end {
            return Err(Failure::failed(format!("entries {start}..{end} of {name:?} are missing")));
        }
        Ok(())
    }
}

impl Part {
    fn add(&mut self, entry: Vec<u8>) -> Done {
        self.ids.start += 1;
        if self.group_len + entry.len() > GROUP_LEN || self.group.len() == GROUP_COUNT {
            self.append()?;
        }
        self.group_len += entry.len();
        self.group.push(entry);
        Ok(())
    }

    fn append(&mut self) -> Done {
        let group: Vec<&[u8]> = self.group.iter().map(Vec::as_slice).collect();
        let appended = self.stream.append_batch(&group);
        appended
            .map_err(|error| Failure::of(&format!("append to {:?}", self.stream.name()), &error))?;
        self.group.clear();
        self.group_len = 0;
        Ok(())
    }
}

/// The version that a first line says, whatever else it says.
fn version_in(line: &[u8]) -> Option<u32> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    let version = line.get("type")?.as_str()?.eq("export").then(|| line.get("version"))??;
    u32::try_from(version.as_u64()?).ok()
}

fn newer(version: u32) -> Failure {
    Failure::failed(format!(
        "the export has version {version}, and this program reads {VERSION}: use a newer ironwal"
    ))
}

fn unreadable(line: &[u8], error: &serde_json::Error) -> Failure {
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN_LEN)]);
    let shown = shown.trim_end().escape_debug().to_string();
    Failure::failed(format!("it cannot be read ({error}): {shown}"))
}
