//! Replays recorded calls, and keeps apart what is durable and what may still be lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::Call;
use crate::image::{Image, InodeId, Place, Sector};
use crate::model::Model;

/// A length that is not durable yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) len: u64,
    /// What the file had before, if a write lengthened it: it may be done in part.
    pub(crate) written_from: Option<u64>,
    pub(crate) call: usize,
}

/// What a sector held after a write that is not durable yet.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) sector: Sector,
    pub(crate) call: usize,
}

/// What of one file is not durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unsynced {
    pub(crate) sectors: BTreeMap<u64, Vec<Version>>,
    pub(crate) lengths: Vec<Length>,
}

/// A change of directories that is not durable: a new entry, a removed one, or both at once.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) inode: InodeId,
    pub(crate) from: Option<Place>,
    pub(crate) to: Option<Place>,
    /// Whether it is a rename over a file.
    pub(crate) replaces: bool,
    pub(crate) call: usize,
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.from.iter().chain(&self.to)
    }

    /// Does it. Changes refer to inodes and not to names, so any subset can be done: a change puts
    /// its inode where it says from wherever it is, and a removal of an entry at which something
    /// else stands does nothing.
    pub(crate) fn apply(&self, image: &mut Image) {
        if self.to.is_some() || image.place_of(self.inode) == self.from.as_ref() {
            image.put(self.inode, self.to.clone());
        }
    }
}

/// The disk after some of the recorded calls.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    model: Model,
    /// What reads show.
    pub(crate) live: Image,
    /// What no crash can take away.
    pub(crate) durable: Image,
    pub(crate) unsynced: BTreeMap<InodeId, Unsynced>,
    pub(crate) changes: Vec<Change>,
    /// How many calls there were.
    pub(crate) calls: usize,
}

impl Tracker {
    pub(crate) fn new(model: Model, image: &Image) -> Self {
        Self {
            model,
            live: image.clone(),
            durable: image.clone(),
            unsynced: BTreeMap::new(),
            changes: Vec::new(),
            calls: 0,
        }
    }

    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// Does the next call.
    pub(crate) fn step(&mut self, call: &Call) {
        self.calls += 1;
        match call {
            Call::Write { inode, offset, bytes } => self.write(*inode, *offset, bytes),
            Call::SetLen { inode, len } => self.set_len(*inode, *len),
            Call::Sync { inode } => {
                self.durable.copy_file(*inode, &self.live);
                self.unsynced.remove(inode);
            }
            Call::Create { inode, to, is_dir } => {
                self.live.insert(*inode, *is_dir);
                self.durable.insert(*inode, *is_dir);
                self.change(*inode, None, Some(to.clone()));
            }
            Call::Rename { inode, from, to } => {
                self.change(*inode, Some(from.clone()), Some(to.clone()));
            }
            Call::Remove { inode, from } => self.change(*inode, Some(from.clone()), None),
            Call::SyncDir { inode } => {
                for change in self.take_changes(*inode) {
                    change.apply(&mut self.durable);
                    if self.model == Model::Ext4 && change.replaces {
                        self.save_data(change.inode, change.call);
                    }
                }
            }
            Call::Mark => {}
        }
    }

    fn write(&mut self, inode: InodeId, offset: u64, bytes: &[u8]) {
        let Ok(body) = self.live.file(inode) else {
            return;
        };
        let (old_len, changed) = (body.len, body.written(bytes, offset));
        let end = offset + bytes.len() as u64;
        if end > old_len {
            let lengths = &mut self.unsynced.entry(inode).or_default().lengths;
            lengths.push(Length { len: end, written_from: Some(old_len), call: self.calls });
            self.live.change(inode, |body| body.len = end);
        }
        self.overwrite(inode, changed);
    }

    fn set_len(&mut self, inode: InodeId, len: u64) {
        let Ok(body) = self.live.file(inode) else {
            return;
        };
        if len != body.len {
            let lengths = &mut self.unsynced.entry(inode).or_default().lengths;
            lengths.push(Length { len, written_from: None, call: self.calls });
        }
        // What is cut off may still be there when the file is as long as before.
        let beyond = self.live.file(inode).map(|body| body.beyond(len)).unwrap_or_default();
        self.overwrite(inode, beyond);
        self.live.change(inode, |body| body.len = len);
    }

    fn overwrite(&mut self, inode: InodeId, changed: Vec<(u64, Sector)>) {
        if changed.is_empty() {
            return;
        }
        let sectors = &mut self.unsynced.entry(inode).or_default().sectors;
        for (index, sector) in changed {
            let version = Version { sector: sector.clone(), call: self.calls };
            sectors.entry(index).or_default().push(version);
            self.live.change(inode, |body| body.set_sector(index, sector));
        }
    }

    /// Makes durable what was written to a file up to a call.
    fn save_data(&mut self, inode: InodeId, call: usize) {
        let Some(unsynced) = self.unsynced.get_mut(&inode) else {
            return;
        };
        for (index, versions) in &mut unsynced.sectors {
            let count = versions.iter().take_while(|version| version.call <= call).count();
            if let Some(last) = versions.drain(..count).next_back() {
                self.durable.change(inode, |body| body.set_sector(*index, last.sector));
            }
        }
        unsynced.sectors.retain(|_, versions| !versions.is_empty());
        let count = unsynced.lengths.iter().take_while(|length| length.call <= call).count();
        if let Some(last) = unsynced.lengths.drain(..count).next_back() {
            self.durable.change(inode, |body| body.len = last.len);
        }
    }

    fn change(&mut self, inode: InodeId, from: Option<Place>, to: Option<Place>) {
        let replaces = from.is_some() && to.as_ref().is_some_and(|to| self.live.at(to).is_some());
        self.live.put(inode, to.clone());
        self.changes.push(Change { inode, from, to, replaces, call: self.calls });
    }

    /// Takes the changes that the sync of a directory makes durable: those that touch it and the
    /// earlier ones that they build on, which are in another directory if a rename came from there.
    /// Where changes are kept in their order, all that came before the last of them.
    fn take_changes(&mut self, dir: InodeId) -> Vec<Change> {
        let touches = |change: &Change| change.places().any(|place| place.0 == dir);
        if self.model.is_ordered() {
            let count = self.changes.iter().rposition(touches).map_or(0, |last| last + 1);
            return self.changes.drain(..count).collect();
        }
        let mut places = BTreeSet::new();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            if touches(&change) || change.places().any(|place| places.contains(place)) {
                places.extend(change.places().cloned());
                taken.push(change);
            } else {
                left.push(change);
            }
        }
        left.reverse();
        taken.reverse();
        self.changes = left;
        taken
    }

    /// Whether an inode may be there after a crash.
    pub(crate) fn may_be_there(&self, inode: InodeId) -> bool {
        self.durable.place_of(inode).is_some()
            || self.changes.iter().any(|change| change.inode == inode && change.to.is_some())
    }

    /// What a call did, in words; before it is done.
    pub(crate) fn describe(&self, call: &Call) -> String {
        let path = |place: &Place| self.live.path(place.0).join(&place.1).display().to_string();
        let at = |inode: &InodeId| self.live.path(*inode).display().to_string();
        match call {
            Call::Write { inode, offset, bytes } => {
                format!("write {}: {} bytes at {offset}", at(inode), bytes.len())
            }
            Call::SetLen { inode, len } => format!("set the length of {} to {len}", at(inode)),
            Call::Sync { inode } => format!("sync {}", at(inode)),
            Call::Create { to, is_dir: false, .. } => format!("create {}", path(to)),
            Call::Create { to, is_dir: true, .. } => format!("create directory {}", path(to)),
            Call::Rename { from, to, .. } => format!("rename {} to {}", path(from), path(to)),
            Call::Remove { from, .. } => format!("remove {}", path(from)),
            Call::SyncDir { inode } => format!("sync directory {}", at(inode)),
            Call::Mark => "a mark of the program".to_owned(),
        }
    }
}
