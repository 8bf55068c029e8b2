//! Whoever looks on while the log is used: followers, and a process that has opened it for reading only.

use std::sync::Arc;
use std::time::Duration;

use ironwal::{Error, Follower, Wal};

use crate::model::{Model, environment_at};
use crate::simulation::{Simulation, may_fail};

/// How many followers there are at once.
const FOLLOWERS_MAX: usize = 4;

/// Those of one life.
#[derive(Default)]
pub(crate) struct Onlookers {
    followers: Vec<Followed>,
    reader: Option<Wal>,
}

/// A follower, and what it is to be told.
struct Followed {
    name: &'static str,
    follower: Follower,
    /// From where on it follows.
    from: u64,
    /// The id behind the last entry that it has yielded and that is still there.
    read_to: u64,
    /// The lowest end to which the stream was cut since it was asked, if it had read beyond.
    cut_to: Option<u64>,
    /// Whether its stream was deleted.
    is_gone: bool,
}

impl Onlookers {
    /// The life ends.
    pub(crate) fn leave(&mut self) {
        *self = Self::default();
    }

    /// A stream was cut off at an id.
    pub(crate) fn cut(&mut self, name: &str, end: u64) {
        for followed in self.followers.iter_mut().filter(|it| it.name == name) {
            let end = end.max(followed.from);
            if end < followed.read_to {
                followed.cut_to = Some(followed.cut_to.map_or(end, |before| before.min(end)));
            }
        }
    }

    /// A stream was deleted.
    pub(crate) fn deleted(&mut self, name: &str) {
        self.followers.iter_mut().filter(|it| it.name == name).for_each(|it| it.is_gone = true);
    }

    /// Nobody can say what those who follow this stream are told.
    pub(crate) fn forget(&mut self, name: &str) {
        self.followers.retain(|it| it.name != name);
    }
}

impl Followed {
    /// Reads all that it can; `false`: it is over.
    fn catch_up(&mut self, model: &Model, faulty: bool) -> bool {
        let (name, stream) = (self.name, &model.streams[self.name]);
        loop {
            let due = self.follower.position();
            match self.follower.try_next() {
                Ok(Some((id, entry))) => {
                    assert!(
                        !self.is_gone && self.cut_to.is_none(),
                        "{name}: {id}, of what is gone"
                    );
                    assert_eq!(id, due, "a follower of {name}");
                    let expected = stream.entry(id).map(Vec::as_slice);
                    assert_eq!(Some(&entry[..]), expected, "a follower of {name}: {id}");
                    self.read_to = id + 1;
                }
                Ok(None) => {
                    assert!(!self.is_gone && self.cut_to.is_none(), "{name}: it was not told");
                    let end = stream.end() as u64;
                    assert!(due >= end, "a follower of {name} waits for {due} of {end}");
                    return true;
                }
                Err(Error::Pruned { id, first_id, .. }) => {
                    assert_eq!(id, due, "a follower of {name}");
                    assert!(due < first_id, "a follower of {name}: {due} is there");
                    assert_eq!(first_id, stream.first, "a follower of {name}");
                }
                Err(Error::CutOff { id, next_id, .. }) => {
                    assert_eq!((id, Some(next_id)), (due, self.cut_to), "a follower of {name}");
                    self.cut_to = None;
                    self.read_to = next_id;
                }
                Err(Error::StreamNotFound(_)) => {
                    assert!(self.is_gone, "a follower of {name}: it is there");
                    return false;
                }
                Err(error) => {
                    may_fail(faulty, &format!("following {name}"), &error);
                    return false;
                }
            }
        }
    }
}

impl Simulation {
    /// Somebody begins to look on.
    pub(crate) fn look_on(&mut self, wal: &Wal, name: &'static str) {
        if self.onlookers.reader.is_none() && self.rng.u8(..3) == 0 {
            // If what readers ask for could not be made, they wait for seconds.
            if !self.faulty && !self.opened_in_trouble {
                // It is another program, with a cache of its own.
                let reader = environment_at(Arc::new(self.disk.process()), || Duration::ZERO);
                let reader = Wal::open_read_only_with(self.options.clone(), reader);
                self.onlookers.reader = Some(reader.unwrap());
            }
            return;
        }
        let model = self.model.stream(name);
        if model.is_in_doubt() || self.onlookers.followers.len() == FOLLOWERS_MAX {
            return;
        }
        let from = self.rng.u64(..model.end() as u64 + 3);
        let Ok(stream) = wal.stream(name) else { return };
        self.say(|| format!("follow {name} from {from}"));
        let follower = stream.follow(from);
        let followed = Followed { name, follower, from, read_to: 0, cut_to: None, is_gone: false };
        self.onlookers.followers.push(followed);
    }

    /// Some of those who look on say what they see.
    pub(crate) fn ask_onlookers(&mut self) {
        let Self { onlookers, model, rng, faulty, .. } = self;
        onlookers.followers.retain(|it| !model.streams[it.name].is_in_limbo());
        onlookers.followers.retain_mut(|it| rng.bool() || it.catch_up(model, *faulty));
        if let Some(reader) = &onlookers.reader
            && !*faulty
            && rng.u8(..4) == 0
        {
            model.check_reads(reader);
        }
    }
}
