//! One instant over the streams of a log that another process may be writing to.
//!
//! The streams are looked at first, one after the other: then it is known what each goes back to. What the
//! writer tells of all of them at once ([`Watermark::instant`]) says then where each one ended, if none was
//! changed, other than by appending and pruning, since it was looked at.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::Wal;
use super::inner::Inner;
use super::own::{CHECKPOINTS, checkpoints_dir};
use crate::commit;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::log::mark::{Watermark, Writing};
use crate::sync::{Arc, sleep};

/// How often an instant is looked for, and how long to wait between two looks: ten seconds together, or a
/// little more.
const LOOKS_MAX: u32 = 20_000;
const PAUSE: Duration = Duration::from_micros(500);

/// How often it is read what the writer tells before the streams are looked at again.
const READINGS_MAX: u32 = 100;

/// The ids of a stream, and what they go back to.
type Seen = (Range<u64>, Writing);

/// One instant over all streams of a log.
pub(crate) struct Instant {
    watermark: Arc<Watermark>,
    /// Those that have a directory, that of the checkpoints among them.
    pub(crate) streams: Vec<At>,
}

/// A stream at an instant.
pub(crate) struct At {
    stream: Arc<commit::Stream>,
    /// The ids that it had then.
    pub(crate) ids: Range<u64>,
    then: Writing,
}

impl At {
    pub(crate) fn log(&self) -> &Log {
        self.stream.log()
    }
}

impl Instant {
    /// Whether nothing but appending and pruning has happened to any of the streams since.
    pub(crate) fn is_still(&self) -> Result<bool> {
        for at in &self.streams {
            if !self.watermark.look(at.log().number())?.has_only_grown_since(at.then) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Wal {
    /// One instant over all streams of a log that is open for reading only.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`]: the writer does not tell, or commits all the time. [`Error::Io`].
    pub(crate) fn instant(&self) -> Result<Instant> {
        self.check_open()?;
        let inner = &self.inner;
        inner.until_seen(|| {
            let names = inner.names_there()?;
            let mut streams: Vec<_> = inner.look_at_each(&names)?;
            streams.extend(inner.look_at_checkpoints(&inner.root_path)?);
            let Some(seen) = inner.ids_at_once(&streams)? else { return Ok(None) };
            // One that began meanwhile has its directory by now.
            if inner.names_there()? != names {
                return Ok(None);
            }
            let Some(watermark) = inner.watermark.clone() else { return Ok(None) };
            let at = |(stream, (ids, then))| At { stream, ids, then };
            Ok(Some(Instant {
                watermark,
                streams: streams.into_iter().zip(seen).map(at).collect(),
            }))
        })
    }
}

impl Inner {
    /// [`Wal::cut`] for a log that is open for reading only.
    pub(super) fn cut_beside_writer<N: AsRef<str>>(&self, streams: &[N]) -> Result<Vec<u64>> {
        self.until_seen(|| {
            let streams = self.look_at_each(streams)?;
            let seen = self.ids_at_once(&streams)?;
            Ok(seen.map(|seen| seen.into_iter().map(|(ids, _)| ids.end).collect()))
        })
    }

    fn until_seen<T>(&self, look: impl Fn() -> Result<Option<T>>) -> Result<T> {
        for _ in 0..LOOKS_MAX {
            if let Some(seen) = look()? {
                return Ok(seen);
            }
            sleep(PAUSE);
        }
        Err(Error::Locked(self.root_path.clone()))
    }

    fn look_at_each<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<Arc<commit::Stream>>> {
        let streams = names.iter().map(|name| self.look_at(name.as_ref()).transpose());
        streams.flatten().collect()
    }

    fn look_at_checkpoints(&self, root: &Path) -> Result<Option<Arc<commit::Stream>>> {
        let dir = checkpoints_dir(&*self.environment.storage, root)?;
        let (Some(dir), Some(watermark), Some(view)) = (dir, &self.watermark, &self.journal_view)
        else {
            return Ok(None);
        };
        let stream = self.remote_stream(CHECKPOINTS, dir, watermark, view);
        stream.log().refresh()?;
        Ok(Some(Arc::new(stream)))
    }

    /// The ids of each stream at one instant after it was looked at, and what they go back to; `None`: one
    /// of them has changed meanwhile.
    fn ids_at_once(&self, streams: &[Arc<commit::Stream>]) -> Result<Option<Vec<Seen>>> {
        let Some(watermark) = &self.watermark else { return Ok(None) };
        let seen = streams.iter().map(|stream| stream.log().seen());
        let seen: Vec<(Writing, Range<u64>)> = seen.flatten().collect();
        let found = match watermark.look(None)? {
            Writing::Unknown => None,
            nobody @ Writing::Nobody { .. } => {
                let is_as_before = seen.iter().all(|(then, _)| *then == nobody);
                is_as_before.then(|| seen.iter().map(|(then, ids)| (ids.clone(), *then)).collect())
            }
            Writing::Somebody { epoch, .. } => {
                let told = (0..READINGS_MAX).find_map(|_| watermark.instant(epoch));
                let Some(told) = told else { return Ok(None) };
                let then =
                    |(stream, (seen, ids)): (&Arc<commit::Stream>, &(Writing, Range<u64>))| {
                        let Writing::Somebody { epoch: seen_then, lives, told: was } = *seen else {
                            return None;
                        };
                        let told =
                            stream.log().number().and_then(|number| told.get(&number)).copied();
                        let ids = told.map_or(ids.clone(), |told| told.first_id..told.next_id);
                        let is_as_seen = seen_then == epoch
                            && was.map(|was| was.changes) == told.map(|told| told.changes);
                        is_as_seen.then_some((ids, Writing::Somebody { epoch, lives, told }))
                    };
                streams.iter().zip(&seen).map(then).collect()
            }
        };
        for stream in streams.iter().filter(|stream| stream.log().number().is_none()) {
            // If it was there at that instant, its first segment is there now.
            stream.log().refresh()?;
            if stream.log().number().is_some() {
                return Ok(None);
            }
        }
        Ok(found)
    }
}
