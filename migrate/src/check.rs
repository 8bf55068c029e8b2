//! Reads the new log, and holds it against what was read of the old one.

use std::collections::BTreeMap;
use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::{Error, Wal, WalOptions};

use crate::build::Content;
use crate::failure::{Failure, Result};
use crate::old::Old;
use crate::progress::Bar;

/// Checks that the log in `dir` is what was built, entry by entry and checkpoint by checkpoint.
pub(crate) fn check(dir: &Path, old: &Old, built: &BTreeMap<String, Content>) -> Result {
    let failed = |error| Failure::new_log(&error);
    let wal = Wal::open_read_only(WalOptions::new(dir)).map_err(failed)?;
    let names: Vec<String> = built.keys().cloned().collect();
    if wal.streams() != names {
        return Err(differs(&format!("it has the streams {:?}", wal.streams())));
    }
    let bar = Bar::new(old.bytes, "checked");
    for (name, expected) in built {
        let found = read(&wal, name, &bar)?;
        if found != *expected {
            return Err(differs(&format!("of stream {name:?} it has {found:?}, not {expected:?}")));
        }
    }
    if wal.shard_count() != old.shard_count {
        return Err(differs(&format!("it has {:?} shards", wal.shard_count())));
    }
    let Some(count) = old.shard_count else { return Ok(()) };
    let sharded = ShardedWal::over(wal, count).map_err(failed)?;
    let listed = sharded.list_checkpoints();
    let due = old.checkpoints.iter().map(|(id, checkpoint)| (id.clone(), checkpoint.timestamp));
    if !due.eq(listed) {
        return Err(differs("it has other checkpoints"));
    }
    for (id, checkpoint) in &old.checkpoints {
        if sharded.load_checkpoint(id).map_err(failed)? != *checkpoint {
            let id = String::from_utf8_lossy(id);
            return Err(differs(&format!("checkpoint {id:?} is another one")));
        }
    }
    Ok(())
}

fn read(wal: &Wal, name: &str, bar: &Bar) -> Result<Content> {
    let stream = wal.stream(name).map_err(|error| Failure::new_log(&error))?;
    let mut content = Content::new(stream.first_id());
    for entry in stream.range(..) {
        match entry {
            Ok((id, entry)) => {
                bar.add(entry.len() as u64);
                content.add(id, &entry);
            }
            Err(Error::Damaged { ids, .. }) => content.lose(ids),
            Err(error) => return Err(Failure::new_log(&error)),
        }
    }
    Ok(content)
}

fn differs(how: &str) -> Failure {
    Failure::failed(format!(
        "the new log is not what was read of the old one: {how}; check the disk and the memory of this \
         machine, then try again"
    ))
}
