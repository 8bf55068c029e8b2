//! Opening a log: to read it, to change it, to look at its files.

use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironwal::sharded::ShardedWal;
use ironwal::storage::{RealDisk, Storage};
use ironwal::{Error, Stream, Wal, WalOptions};

use crate::exit::{self, Done, Failure};

/// Opens the log in `dir` for reading only, beside whoever writes to it. Changes nothing.
pub(crate) fn existing(dir: &Path) -> Done<Wal> {
    if_there(&WalOptions::new(dir))?.ok_or_else(|| no_log(dir))
}

pub(crate) fn no_log(dir: &Path) -> Failure {
    Failure::failed(format!(
        "there is no log in {}: check the path, or create one with `ironwal append`",
        dir.display()
    ))
}

/// Opens the log for writing. Creates none.
pub(crate) fn to_change(options: WalOptions) -> Done<Wal> {
    let doing = exit::opening(&options.root_path);
    if if_there(&options)?.is_none() {
        return Err(no_log(&options.root_path));
    }
    Wal::new(options).map_err(|error| Failure::of(&doing, &error))
}

/// The stream, if there is one.
pub(crate) fn stream(wal: &Wal, name: &str) -> Done<Stream> {
    let failed = |error| Failure::of(&format!("read {name:?}"), &error);
    match wal.get(name, u64::MAX) {
        // Says itself, further down, what of it can be read.
        Err(Error::Corruption(_) | Error::CrcMismatch { .. }) => {}
        looked => drop(looked.map_err(failed)?),
    }
    if wal.current_segment_start_id(name).is_none() {
        return Err(Failure::failed(format!(
            "there is no stream {name:?} in the log: `ironwal ls` lists them"
        )));
    }
    wal.stream(name).map_err(failed)
}

/// Why nobody knows where the stream ends, if the damage is that bad: then it may have more entries than
/// it says.
pub(crate) fn lost_end(stream: &Stream) -> Option<Error> {
    stream.get(stream.next_id()).err()
}

/// The disk, for looking at the files of a log that is not opened.
pub(crate) fn disk() -> Arc<dyn Storage> {
    Arc::new(RealDisk)
}

/// An error of looking at the files of the log in `dir`; `doing` completes "cannot …".
pub(crate) fn failed_to_inspect(dir: &Path, doing: &str, error: &Error) -> Failure {
    match error {
        Error::Io(cause) if cause.kind() == ErrorKind::NotFound => no_log(dir),
        error => Failure::of(doing, error),
    }
}

/// The shards of a log that is open, if it has any.
pub(crate) fn shards(dir: &Path, wal: &Wal) -> Done<Option<ShardedWal>> {
    let over = |count| ShardedWal::over(wal.clone(), count);
    let shards = wal.shard_count().map(over).transpose();
    shards.map_err(|error| Failure::of(&exit::opening(dir), &error))
}

/// Opens the sharded log in `dir` for reading only.
pub(crate) fn sharded_to_read(dir: &Path) -> Done<ShardedWal> {
    shards(dir, &existing(dir)?)?.ok_or_else(|| not_sharded(dir))
}

/// Opens the sharded log in `dir` for writing. Creates none.
pub(crate) fn sharded(dir: &Path) -> Done<ShardedWal> {
    let count = existing(dir)?.shard_count().ok_or_else(|| not_sharded(dir))?;
    write(WalOptions::new(dir), count)
}

/// Opens a sharded log for writing, or creates one if the number of its shards is given.
pub(crate) fn sharded_or_new(options: WalOptions, shards: Option<NonZeroU16>) -> Done<ShardedWal> {
    let found = if_there(&options)?;
    let recorded = found.as_ref().and_then(Wal::shard_count);
    let has_streams = found.is_some_and(|wal| !wal.streams().is_empty());
    if recorded.is_none() && has_streams {
        return Err(not_sharded(&options.root_path));
    }
    match shards.map(NonZeroU16::get).or(recorded) {
        Some(count) => write(options, count),
        None => Err(Failure::BadUsage(format!(
            "there is no sharded log in {} yet: say with --shards how many shards it is to have, 16 \
             for example",
            options.root_path.display()
        ))),
    }
}

fn write(options: WalOptions, shard_count: u16) -> Done<ShardedWal> {
    let doing = exit::opening(&options.root_path);
    ShardedWal::new(options, shard_count).map_err(|error| match error {
        Error::ShardCountMismatch { found, .. } => Failure::BadUsage(format!(
            "cannot {doing}: it has {found} shards, which was fixed when it was created; leave out \
             --shards"
        )),
        error => Failure::of(&doing, &error),
    })
}

/// Opens a log for reading only, if there is one.
fn if_there(options: &WalOptions) -> Done<Option<Wal>> {
    match Wal::open_read_only(options.clone()) {
        Ok(wal) => Ok(Some(wal)),
        Err(Error::Io(cause)) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::of(&exit::opening(&options.root_path), &error)),
    }
}

fn not_sharded(dir: &Path) -> Failure {
    Failure::failed(format!(
        "the log in {} is not sharded: only sharded logs have keys and checkpoints; create one in a \
         new directory with `ironwal append DIR --shards N --key-field K`",
        dir.display()
    ))
}

/// Which shard the stream is, if it is one.
pub(crate) fn shard_of(wal: &Wal, name: &str) -> Option<u16> {
    let shard = name.strip_prefix("shard_")?.parse().ok()?;
    let is_one = shard < wal.shard_count()? && name == format!("shard_{shard:02}");
    is_one.then_some(shard)
}

/// The directory of a stream: docs/format.md.
pub(crate) fn stream_dir(root: &Path, stream: &str) -> PathBuf {
    let mut dir = String::new();
    for (position, byte) in stream.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        match is_plain && !(position == 0 && byte == b'.') {
            true => dir.push(char::from(byte)),
            false => dir += &format!("%{byte:02X}"),
        }
    }
    root.join(dir)
}

/// The file of a segment.
pub(crate) fn segment(root: &Path, stream: &str, first_id: u64) -> PathBuf {
    stream_dir(root, stream).join(format!("{first_id:020}.wal"))
}
