//! What a disk holds: files as sectors, and the directories that lead to them.
//!
//! Cheap to copy, because a copy is made for every crash state: sectors, files and directories are
//! shared until they are changed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::Hasher;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ironwal::storage::SECTOR_LEN;
use siphasher::sip128::{Hasher128, SipHasher13};

pub(crate) const SECTOR_LEN_U64: u64 = SECTOR_LEN as u64;

/// The longest file, as on Linux.
pub(crate) const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// What Linux file systems accept, in bytes.
const NAME_LEN_MAX: usize = 255;

pub(crate) type InodeId = u64;

/// The directory that is always there.
pub(crate) const ROOT: InodeId = 0;

/// A directory and a name in it.
pub(crate) type Place = (InodeId, OsString);

/// A position inside a sector or a buffer. Callers have reduced it, so it fits.
pub(crate) fn small(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A digest of 128 bits of what is fed to it.
pub(crate) fn digest(feed: impl FnOnce(&mut SipHasher13)) -> u128 {
    let mut hasher = SipHasher13::new();
    feed(&mut hasher);
    hasher.finish128().as_u128()
}

/// The content of one sector that is not all zeros.
#[derive(Debug)]
pub(crate) struct SectorData {
    pub(crate) bytes: [u8; SECTOR_LEN],
    digest: u128,
}

/// A sector; `None` holds zeros.
pub(crate) type Sector = Option<Arc<SectorData>>;

pub(crate) fn sector_from(bytes: [u8; SECTOR_LEN]) -> Sector {
    if bytes == [0; SECTOR_LEN] {
        return None;
    }
    Some(Arc::new(SectorData { digest: digest(|hasher| hasher.write(&bytes)), bytes }))
}

pub(crate) fn sector_bytes(sector: &Sector) -> [u8; SECTOR_LEN] {
    sector.as_ref().map_or([0; SECTOR_LEN], |sector| sector.bytes)
}

pub(crate) fn same(one: &Sector, other: &Sector) -> bool {
    one.as_ref().map(|it| it.digest) == other.as_ref().map(|it| it.digest)
}

/// One file. Bytes at and beyond its length are zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    pub(crate) len: u64,
    sectors: BTreeMap<u64, Arc<SectorData>>,
}

impl Body {
    pub(crate) fn sector(&self, index: u64) -> Sector {
        self.sectors.get(&index).cloned()
    }

    pub(crate) fn set_sector(&mut self, index: u64, sector: Sector) {
        match sector {
            Some(sector) => self.sectors.insert(index, sector),
            None => self.sectors.remove(&index),
        };
    }

    /// Reads as much as there is.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = &mut buf[..count];
        buf.fill(0);
        let end = offset + count as u64;
        for (index, sector) in
            self.sectors.range(offset / SECTOR_LEN_U64..end.div_ceil(SECTOR_LEN_U64))
        {
            let start = index * SECTOR_LEN_U64;
            let (from, to) = (start.max(offset), (start + SECTOR_LEN_U64).min(end));
            buf[small(from - offset)..small(to - offset)]
                .copy_from_slice(&sector.bytes[small(from - start)..small(to - start)]);
        }
        count
    }

    /// The sectors that writing these bytes would make other than they are, with what they would be.
    pub(crate) fn written(&self, bytes: &[u8], offset: u64) -> Vec<(u64, Sector)> {
        let end = offset + bytes.len() as u64;
        let mut changed = Vec::new();
        for index in offset / SECTOR_LEN_U64..end.div_ceil(SECTOR_LEN_U64) {
            let start = index * SECTOR_LEN_U64;
            let (from, to) = (start.max(offset), (start + SECTOR_LEN_U64).min(end));
            let old = self.sector(index);
            let mut content = sector_bytes(&old);
            content[small(from - start)..small(to - start)]
                .copy_from_slice(&bytes[small(from - offset)..small(to - offset)]);
            if content != sector_bytes(&old) {
                changed.push((index, sector_from(content)));
            }
        }
        changed
    }

    /// The sectors that hold something at or beyond a length, with what is left of them below it.
    pub(crate) fn beyond(&self, len: u64) -> Vec<(u64, Sector)> {
        let mut changed = Vec::new();
        for (index, sector) in self.sectors.range(len / SECTOR_LEN_U64..) {
            let kept = small(len.saturating_sub(index * SECTOR_LEN_U64)).min(SECTOR_LEN);
            if sector.bytes[kept..].iter().any(|byte| *byte != 0) {
                let mut content = sector.bytes;
                content[kept..].fill(0);
                changed.push((*index, sector_from(content)));
            }
        }
        changed
    }

    /// Sets the length, and forgets what lies beyond it.
    pub(crate) fn cut(&mut self, len: u64) {
        for (index, sector) in self.beyond(len) {
            self.set_sector(index, sector);
        }
        self.len = len;
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(Arc<Body>),
    Dir(Arc<BTreeMap<OsString, InodeId>>),
}

/// All files and directories. What no directory leads to may still be open.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    nodes: BTreeMap<InodeId, Node>,
    /// Where each inode is, if a directory leads to it.
    places: BTreeMap<InodeId, Place>,
    next: InodeId,
}

impl Image {
    pub(crate) fn empty() -> Self {
        let root = Node::Dir(Arc::default());
        Self { nodes: BTreeMap::from([(ROOT, root)]), places: BTreeMap::new(), next: ROOT + 1 }
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.walk(&components(path)?)
    }

    fn walk(&self, parts: &[&OsStr]) -> io::Result<InodeId> {
        let mut at = ROOT;
        for part in parts {
            at = *self.entries(at)?.get(*part).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory of a path, which need not have anything at its end. The root has none.
    pub(crate) fn place(&self, path: &Path) -> io::Result<Option<Place>> {
        let mut parts = components(path)?;
        let Some(name) = parts.pop() else {
            return Ok(None);
        };
        let dir = self.walk(&parts)?;
        self.entries(dir)?;
        Ok(Some((dir, name.to_os_string())))
    }

    pub(crate) fn at(&self, place: &Place) -> Option<InodeId> {
        self.entries(place.0).ok()?.get(&place.1).copied()
    }

    pub(crate) fn entries(&self, dir: InodeId) -> io::Result<&BTreeMap<OsString, InodeId>> {
        match self.nodes.get(&dir) {
            Some(Node::Dir(entries)) => Ok(entries),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn is_dir(&self, id: InodeId) -> bool {
        self.entries(id).is_ok()
    }

    pub(crate) fn file(&self, id: InodeId) -> io::Result<&Body> {
        match self.nodes.get(&id) {
            Some(Node::File(body)) => Ok(body),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A file to change. Of what is no file, a change is lost.
    pub(crate) fn change(&mut self, id: InodeId, change: impl FnOnce(&mut Body)) {
        if let Some(Node::File(body)) = self.nodes.get_mut(&id) {
            change(Arc::make_mut(body));
        }
    }

    /// Makes a file here what it is in another image.
    pub(crate) fn copy_file(&mut self, id: InodeId, other: &Self) {
        if let Some(Node::File(body)) = other.nodes.get(&id) {
            self.nodes.insert(id, Node::File(Arc::clone(body)));
        }
    }

    /// Makes an inode that no directory leads to yet.
    pub(crate) fn insert(&mut self, id: InodeId, is_dir: bool) {
        let node = if is_dir { Node::Dir(Arc::default()) } else { Node::File(Arc::default()) };
        self.nodes.insert(id, node);
        self.next = self.next.max(id + 1);
    }

    pub(crate) fn next_id(&self) -> InodeId {
        self.next
    }

    pub(crate) fn place_of(&self, id: InodeId) -> Option<&Place> {
        self.places.get(&id)
    }

    /// Puts an inode where it is to be, or nowhere; what stood there is nowhere then.
    pub(crate) fn put(&mut self, id: InodeId, place: Option<Place>) {
        if let Some((dir, name)) = self.places.remove(&id)
            && let Some(Node::Dir(entries)) = self.nodes.get_mut(&dir)
        {
            Arc::make_mut(entries).remove(&name);
        }
        if let Some((dir, name)) = place
            && let Some(Node::Dir(entries)) = self.nodes.get_mut(&dir)
        {
            if let Some(displaced) = Arc::make_mut(entries).insert(name.clone(), id) {
                self.places.remove(&displaced);
            }
            self.places.insert(id, (dir, name));
        }
    }

    /// Where an inode is now, or where it would be.
    pub(crate) fn path(&self, id: InodeId) -> PathBuf {
        let mut names = Vec::new();
        let mut at = id;
        while let Some((dir, name)) = self.places.get(&at) {
            names.push(name);
            at = *dir;
        }
        if at != ROOT {
            return PathBuf::from(format!("(removed file {id})"));
        }
        names.into_iter().rev().fold(PathBuf::from("/"), |path, name| path.join(name))
    }

    /// Whether a path leads to an inode, or lies in one.
    pub(crate) fn lies_in(&self, mut at: InodeId, ancestor: InodeId) -> bool {
        loop {
            if at == ancestor {
                return true;
            }
            match self.places.get(&at) {
                Some((dir, _)) => at = *dir,
                None => return false,
            }
        }
    }

    /// Every directory and file that can be reached, by content. Inodes have no part in it.
    pub(crate) fn digest(&self) -> u128 {
        digest(|hasher| self.feed(ROOT, hasher))
    }

    fn feed(&self, id: InodeId, hasher: &mut SipHasher13) {
        match self.nodes.get(&id) {
            Some(Node::Dir(entries)) => {
                hasher.write_u8(1);
                for (name, child) in &**entries {
                    hasher.write_usize(name.len());
                    hasher.write(name.as_encoded_bytes());
                    self.feed(*child, hasher);
                }
                hasher.write_u8(2);
            }
            Some(Node::File(body)) => {
                hasher.write_u8(3);
                hasher.write_u64(body.len);
                for (index, sector) in &body.sectors {
                    hasher.write_u64(*index);
                    hasher.write_u128(sector.digest);
                }
            }
            None => {}
        }
    }

    /// Forgets what no directory leads to: nobody has it open after a crash.
    pub(crate) fn forget_unreachable(&mut self) {
        let mut kept = std::collections::BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(dir) = open.pop() {
            for child in self.entries(dir).into_iter().flat_map(BTreeMap::values) {
                if kept.insert(*child) && self.is_dir(*child) {
                    open.push(*child);
                }
            }
        }
        self.nodes.retain(|id, _| kept.contains(id));
        self.places.retain(|id, _| kept.contains(id));
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
