//! Directories of the simulated disk: the live entries, the durable ones, and the changes between.
//!
//! A change of the tree is one [`Change`]: a new entry, a removed one, or a rename, which is both
//! at once and can therefore not be half done. Changes wait in one list, in the order of the
//! calls, until a `sync_dir` of a directory that they touch makes them durable or a crash keeps
//! some of them and drops the others.
//!
//! Changes refer to inodes, not to names. So any subset can be applied: a kept change puts its
//! inode where it says, from wherever it durably was; a kept removal whose entry durably holds
//! something else does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use fastrand::Rng;

use super::image::FileImage;
use super::page::Odds;

pub(super) type InodeId = u64;

/// The directory that is always there.
pub(super) const ROOT: InodeId = 0;

/// What Linux file systems accept, in bytes.
const NAME_LEN_MAX: usize = 255;

/// A directory and a name in it.
pub(super) type Place = (InodeId, OsString);

type Entries = BTreeMap<OsString, InodeId>;

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileImage),
    Dir { live: Entries, durable: Entries },
}

impl Node {
    pub(super) fn empty_dir() -> Self {
        Self::Dir { live: Entries::new(), durable: Entries::new() }
    }

    fn live_entries(&mut self) -> Option<&mut Entries> {
        match self {
            Self::Dir { live, .. } => Some(live),
            Self::File(_) => None,
        }
    }

    fn durable_entries(&mut self) -> Option<&mut Entries> {
        match self {
            Self::Dir { durable, .. } => Some(durable),
            Self::File(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) node: Node,
    /// How many handles are open on it.
    pub(super) open_count: u32,
    live_place: Option<Place>,
    durable_place: Option<Place>,
}

#[derive(Debug, Clone)]
struct Change {
    inode: InodeId,
    from: Option<Place>,
    to: Option<Place>,
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.from.iter().chain(&self.to)
    }

    fn touches(&self, dir: InodeId) -> bool {
        self.places().any(|place| place.0 == dir)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
    next: InodeId,
    pending: Vec<Change>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root =
            Inode { node: Node::empty_dir(), open_count: 0, live_place: None, durable_place: None };
        Self { inodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, pending: Vec::new() }
    }

    /// Finds what is at a path.
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.walk(&components(path)?)
    }

    /// Finds the directory of a path, which need not have anything at its end. The root has none.
    pub(super) fn place(&self, path: &Path) -> io::Result<Option<Place>> {
        let mut parts = components(path)?;
        let Some(name) = parts.pop() else {
            return Ok(None);
        };
        let dir = self.walk(&parts)?;
        self.entries(dir)?;
        Ok(Some((dir, name.to_os_string())))
    }

    fn walk(&self, parts: &[&OsStr]) -> io::Result<InodeId> {
        let mut at = ROOT;
        for part in parts {
            at = *self.entries(at)?.get(*part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The live entries of a directory.
    pub(super) fn entries(&self, dir: InodeId) -> io::Result<&Entries> {
        match &self.inode(dir)?.node {
            Node::Dir { live, .. } => Ok(live),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn at(&self, place: &Place) -> io::Result<Option<InodeId>> {
        Ok(self.entries(place.0)?.get(&place.1).copied())
    }

    pub(super) fn inode(&self, id: InodeId) -> io::Result<&Inode> {
        // Open handles keep their inode, so this does not happen; but nothing here may panic.
        Ok(self.inodes.get(&id).ok_or(io::ErrorKind::NotFound)?)
    }

    pub(super) fn is_dir(&self, id: InodeId) -> bool {
        self.entries(id).is_ok()
    }

    pub(super) fn file(&self, id: InodeId) -> io::Result<&FileImage> {
        match &self.inode(id)?.node {
            Node::File(file) => Ok(file),
            Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, id: InodeId) -> io::Result<&mut FileImage> {
        let inode = self.inodes.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        match &mut inode.node {
            Node::File(file) => Ok(file),
            Node::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// The path of what is at an inode now, or was when the power went.
    pub(super) fn path(&self, id: InodeId) -> PathBuf {
        let mut names = Vec::new();
        let mut at = id;
        while let Some(inode) = self.inodes.get(&at)
            && let Some((dir, name)) = inode.live_place.as_ref().or(inode.durable_place.as_ref())
        {
            names.push(name);
            at = *dir;
        }
        names.into_iter().rev().fold(PathBuf::from("/"), |path, name| path.join(name))
    }

    /// The paths of all live files, in the order of their names.
    pub(super) fn file_paths(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = open.pop() {
            for (name, id) in self.entries(dir).into_iter().flatten() {
                let path = path.join(name);
                if self.is_dir(*id) {
                    open.push((*id, path));
                } else {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// How many blocks the files take that are there or open.
    pub(super) fn blocks_used(&self) -> u64 {
        let counted = |inode: &&Inode| inode.live_place.is_some() || inode.open_count > 0;
        let blocks = |inode: &Inode| match &inode.node {
            Node::File(file) => file.allocated().count(),
            Node::Dir { .. } => 0,
        };
        self.inodes.values().filter(counted).map(blocks).sum()
    }

    /// Makes a new entry; there is none at the place.
    pub(super) fn create(&mut self, place: Place, node: Node) -> InodeId {
        let id = self.insert(node);
        self.put_live(id, Some(place.clone()));
        self.pending.push(Change { inode: id, from: None, to: Some(place) });
        id
    }

    pub(super) fn remove(&mut self, place: Place, id: InodeId) {
        self.put_live(id, None);
        self.pending.push(Change { inode: id, from: Some(place), to: None });
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, id: InodeId) {
        self.put_live(id, Some(to.clone()));
        self.pending.push(Change { inode: id, from: Some(from), to: Some(to) });
    }

    /// Whether `dir` is `ancestor` or lies in it.
    pub(super) fn lies_in(&self, dir: InodeId, ancestor: InodeId) -> bool {
        let mut at = Some(dir);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            let place = self.inodes.get(&id).and_then(|i| i.live_place.as_ref());
            at = place.map(|place| place.0);
        }
        false
    }

    /// Makes the entries of a directory durable.
    pub(super) fn sync_dir(&mut self, dir: InodeId) {
        for change in self.take_pending(dir) {
            let displaced = self.apply(&change);
            self.collect(change.inode);
            displaced.into_iter().for_each(|id| self.collect(id));
        }
    }

    /// The sync failed: some changes were saved all the same, and no later sync will save the
    /// others.
    pub(super) fn fail_sync_dir(&mut self, dir: InodeId, rng: &mut Rng) {
        let odds = Odds::draw(rng);
        for change in self.take_pending(dir) {
            if odds.keeps(rng) {
                self.apply(&change);
            }
        }
    }

    /// Takes the changes that touch a directory, and the earlier ones that they build on: those
    /// of the same entries, which are in another directory if a rename came from there. Applied
    /// later, they would undo what was promised.
    fn take_pending(&mut self, dir: InodeId) -> Vec<Change> {
        let mut places = BTreeSet::new();
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            let wanted = change.touches(dir) || change.places().any(|place| places.contains(place));
            if wanted {
                places.extend(change.places().cloned());
                taken.push(change);
            } else {
                left.push(change);
            }
        }
        left.reverse();
        taken.reverse();
        self.pending = left;
        taken
    }

    /// Does one change in the durable image, and returns what it displaced.
    fn apply(&mut self, change: &Change) -> Option<InodeId> {
        let durable_place = self.inodes.get(&change.inode).map(|i| &i.durable_place);
        if change.to.is_some() || durable_place == Some(&change.from) {
            self.put_durable(change.inode, change.to.clone())
        } else {
            None
        }
    }

    /// A handle was closed.
    pub(super) fn close(&mut self, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.open_count = inode.open_count.saturating_sub(1);
        }
        self.collect(id);
    }

    pub(super) fn open(&mut self, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.open_count += 1;
        }
    }

    /// The process died: its handles are closed.
    pub(super) fn close_all(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.open_count = 0;
        }
        let ids: Vec<_> = self.inodes.keys().copied().collect();
        for id in ids {
            self.collect(id);
        }
    }

    /// Drops from the cache what failed syncs lost, in the files that `choose` picks.
    pub(super) fn evict(&mut self, mut choose: impl FnMut() -> bool) {
        for inode in self.inodes.values_mut() {
            if let Node::File(file) = &mut inode.node
                && choose()
            {
                file.evict(inode.open_count > 0);
            }
        }
    }

    /// Forgets a file that nothing can bring back.
    fn collect(&mut self, id: InodeId) {
        let is_garbage = self.inodes.get(&id).is_some_and(|inode| {
            matches!(inode.node, Node::File(_))
                && inode.open_count == 0
                && inode.live_place.is_none()
                && inode.durable_place.is_none()
        });
        if is_garbage && self.pending.iter().all(|change| change.inode != id) {
            self.inodes.remove(&id);
        }
    }

    /// Power is lost: picks what survives, which is then both images.
    pub(super) fn crash(&mut self, rng: &mut Rng, mut note: impl FnMut(&dyn Fn() -> String)) {
        let odds = Odds::draw(rng);
        for change in std::mem::take(&mut self.pending) {
            let keeps = odds.keeps(rng);
            note(&|| {
                let outcome = if keeps { "kept" } else { "lost" };
                format!("  {outcome}: {}", self.describe(&change))
            });
            if keeps {
                self.apply(&change);
            }
        }
        self.drop_unreachable();
        let ids: Vec<_> = self.inodes.keys().copied().collect();
        for id in ids {
            match self.inodes.get_mut(&id).map(|inode| &mut inode.node) {
                Some(Node::Dir { live, durable }) => live.clone_from(durable),
                Some(Node::File(file)) => {
                    let report = file.crash(rng);
                    note(&|| format!("  {}: {report}", self.path(id).display()));
                }
                None => {}
            }
        }
    }

    fn describe(&self, change: &Change) -> String {
        let path = |place: &Place| self.path(place.0).join(&place.1).display().to_string();
        match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("rename {} to {}", path(from), path(to)),
            (None, Some(to)) => format!("create {}", path(to)),
            (Some(from), None) => format!("remove {}", path(from)),
            (None, None) => String::new(),
        }
    }

    /// Keeps what the durable entries lead to, and makes that live.
    fn drop_unreachable(&mut self) {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if let Some(Node::Dir { durable, .. }) = self.inodes.get(&id).map(|i| &i.node) {
                for child in durable.values() {
                    reachable.insert(*child);
                    open.push(*child);
                }
            }
        }
        self.inodes.retain(|id, _| reachable.contains(id));
        for inode in self.inodes.values_mut() {
            inode.open_count = 0;
            inode.live_place.clone_from(&inode.durable_place);
        }
    }

    /// Puts a file into both images, with the directories that it needs.
    pub(super) fn plant(&mut self, path: &Path, file: FileImage) -> io::Result<()> {
        let mut parts = components(path)?;
        let name = parts.pop().ok_or(io::ErrorKind::IsADirectory)?;
        let mut dir = ROOT;
        for part in parts {
            let place = (dir, part.to_os_string());
            dir = match self.at(&place)? {
                Some(id) => id,
                None => self.insert(Node::empty_dir()),
            };
            self.put_both(dir, Some(place));
        }
        let place = (dir, name.to_os_string());
        match self.at(&place)? {
            Some(id) => {
                *self.file_mut(id)? = file;
                self.put_both(id, Some(place));
            }
            None => {
                let id = self.insert(Node::File(file));
                self.put_both(id, Some(place));
            }
        }
        Ok(())
    }

    /// Takes a file out of both images.
    pub(super) fn uproot(&mut self, id: InodeId) {
        self.put_both(id, None);
        self.collect(id);
    }

    /// Settles where an inode is, in both images.
    fn put_both(&mut self, id: InodeId, place: Option<Place>) {
        self.pending.retain(|change| change.inode != id);
        self.put_live(id, place.clone());
        self.put_durable(id, place);
    }

    fn insert(&mut self, node: Node) -> InodeId {
        let id = self.next;
        self.next += 1;
        let inode = Inode { node, open_count: 0, live_place: None, durable_place: None };
        self.inodes.insert(id, inode);
        id
    }

    fn put_live(&mut self, id: InodeId, place: Option<Place>) -> Option<InodeId> {
        self.put(id, place, Node::live_entries, |inode| &mut inode.live_place)
    }

    fn put_durable(&mut self, id: InodeId, place: Option<Place>) -> Option<InodeId> {
        self.put(id, place, Node::durable_entries, |inode| &mut inode.durable_place)
    }

    /// Moves an inode within one of the images, and returns what was at its new place.
    fn put(
        &mut self,
        id: InodeId,
        place: Option<Place>,
        entries: fn(&mut Node) -> Option<&mut Entries>,
        place_of: fn(&mut Inode) -> &mut Option<Place>,
    ) -> Option<InodeId> {
        let inode = self.inodes.get_mut(&id)?;
        let old = std::mem::replace(place_of(inode), place.clone());
        if let Some((dir, name)) = old
            && let Some(dir) = self.inodes.get_mut(&dir)
            && let Some(entries) = entries(&mut dir.node)
        {
            entries.remove(&name);
        }
        let (dir, name) = place?;
        let dir = self.inodes.get_mut(&dir)?;
        let displaced = entries(&mut dir.node)?.insert(name, id)?;
        if let Some(inode) = self.inodes.get_mut(&displaced) {
            *place_of(inode) = None;
        }
        Some(displaced)
    }
}

/// The names along a path. Absolute and relative paths start at the root; there are no links, so
/// `..` is the directory before.
fn components(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                if name.len() > NAME_LEN_MAX {
                    return Err(io::ErrorKind::InvalidFilename.into());
                }
                if name.as_encoded_bytes().contains(&0) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                parts.push(name);
            }
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(parts)
}
