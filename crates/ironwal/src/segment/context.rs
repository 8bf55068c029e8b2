//! What the segments of a log share for reading: the disk, open files, and decoded blocks.

use std::io;
use std::path::Path;

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter, Weighter};

use super::block::Block;
use super::source::Handle;
use crate::options::{ReadStrategy, WalOptions};
use crate::storage::{OpenMode, Storage};
use crate::sync::Arc;

/// What a block is reckoned to take, for the size of the cache's own tables.
const BLOCK_LEN_USUAL: u64 = 4096;

/// The most items that the tables of a cache are laid out for; it may hold more.
const ITEMS_EXPECTED_MAX: usize = 1 << 20;

/// How many parts of a cache are locked on their own, as a power of two.
const SHARDS_LOG2_MAX: u32 = 4;

/// A block's segment, by its number, and the offset of its first frame.
type BlockKey = (u64, u64);

/// What the segments of a log share for reading.
///
/// Segments are known by numbers that are never used twice in a process, so that one which is
/// deleted and created again meets nothing of its former life.
#[derive(Debug)]
pub(crate) struct ReadContext {
    storage: Arc<dyn Storage>,
    maps: bool,
    handles: Cache<u64, Opened, UnitWeighter>,
    /// Segments that are still written to, as far as they had frames when they were mapped; `None`: they
    /// cannot be.
    prefixes: Cache<u64, Option<Bytes>, UnitWeighter>,
    blocks: Option<Cache<BlockKey, Arc<Block>, BlockWeight>>,
}

/// An open file in the cache.
#[derive(Debug, Clone)]
struct Opened {
    handle: Handle,
    /// Whether it has been tried to map it, or has no use.
    settled: bool,
}

#[derive(Debug, Clone)]
struct BlockWeight;

impl Weighter<BlockKey, Arc<Block>> for BlockWeight {
    fn weight(&self, _key: &BlockKey, block: &Arc<Block>) -> u64 {
        block.weight()
    }
}

impl ReadContext {
    /// What the options say, on this disk.
    pub(crate) fn new(storage: Arc<dyn Storage>, options: &WalOptions) -> Arc<Self> {
        let files = options.max_open_read_segments;
        let blocks = options.block_cache_size.map(|len| {
            let items = usize::try_from(len / BLOCK_LEN_USUAL).unwrap_or(usize::MAX);
            cache(items, len, BlockWeight)
        });
        Arc::new(Self {
            storage,
            maps: options.read_strategy == ReadStrategy::Mmap,
            handles: cache(files, files as u64, UnitWeighter),
            prefixes: cache(files, files as u64, UnitWeighter),
            blocks,
        })
    }

    /// The same without mapping: for a log that another process may recover, and shorten files.
    pub(crate) fn without_maps(storage: Arc<dyn Storage>, options: &WalOptions) -> Arc<Self> {
        let options = WalOptions { read_strategy: ReadStrategy::StandardIo, ..options.clone() };
        Self::new(storage, &options)
    }

    /// The disk.
    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The file of a segment: the one that is kept open, or else it is opened and kept. It is mapped
    /// if it `may_map`: if nobody will write to it again.
    pub(super) fn handle(&self, segment: u64, path: &Path, may_map: bool) -> io::Result<Handle> {
        let settled = may_map || !self.maps;
        let kept = match self.handles.get(&segment) {
            Some(opened) if opened.settled || !settled => return Ok(opened.handle),
            kept => kept.map(|opened| opened.handle),
        };
        let handle = match kept {
            Some(handle) => handle,
            None => Handle::File(self.storage.open(path, OpenMode::Read)?),
        };
        let handle = match handle {
            // Where mapping fails for whatever reason, reading says what is wrong, if anything is.
            Handle::File(file) if self.maps && may_map => match file.map(u64::MAX) {
                Ok(Some(map)) => Handle::Map(map),
                _ => Handle::File(file),
            },
            handle => handle,
        };
        self.handles.insert(segment, Opened { handle: handle.clone(), settled });
        Ok(handle)
    }

    /// Whether segments are mapped for reading.
    pub(super) fn maps(&self) -> bool {
        self.maps
    }

    /// The frames of a segment that is still written to, as far as they were mapped; the inner `None`
    /// says that they cannot be.
    pub(super) fn prefix(&self, segment: u64) -> Option<Option<Bytes>> {
        self.prefixes.get(&segment)
    }

    /// Keeps what was mapped of such a segment.
    pub(super) fn keep_prefix(&self, segment: u64, prefix: Option<Bytes>) {
        self.prefixes.insert(segment, prefix);
    }

    /// Closes the file of a segment.
    pub(super) fn close(&self, segment: u64) {
        self.handles.remove(&segment);
        self.prefixes.remove(&segment);
    }

    /// Closes all files and forgets all blocks.
    pub(crate) fn clear(&self) {
        self.handles.clear();
        self.prefixes.clear();
        if let Some(blocks) = &self.blocks {
            blocks.clear();
        }
    }

    /// How often a block was in the cache, and how often not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        self.blocks.as_ref().map_or((0, 0), |blocks| (blocks.hits(), blocks.misses()))
    }

    /// Whether blocks are cached at all.
    pub(super) fn caches_blocks(&self) -> bool {
        self.blocks.is_some()
    }

    /// The block of a segment that begins at `offset`, if it is cached.
    pub(super) fn block(&self, segment: u64, offset: u64) -> Option<Arc<Block>> {
        self.blocks.as_ref()?.get(&(segment, offset))
    }

    /// Caches a block that is whole and will never change.
    pub(super) fn keep_block(&self, segment: u64, offset: u64, block: Arc<Block>) {
        if let Some(blocks) = &self.blocks {
            blocks.insert((segment, offset), block);
        }
    }

    /// Forgets a block.
    pub(super) fn forget_block(&self, segment: u64, offset: u64) {
        if let Some(blocks) = &self.blocks {
            blocks.remove(&(segment, offset));
        }
    }

    /// How many files are kept open.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.handles.len()
    }

    /// How many blocks are cached, and what they take.
    #[cfg(test)]
    pub(crate) fn cached_blocks(&self) -> (usize, u64) {
        self.blocks.as_ref().map_or((0, 0), |blocks| (blocks.len(), blocks.weight()))
    }
}

/// A cache for things that weigh at most `weight_max` together.
fn cache<K, V, W>(items: usize, weight_max: u64, weighter: W) -> Cache<K, V, W>
where
    K: Eq + std::hash::Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    // Shards have equal shares of the bound, rounded up: so that nothing is, their number divides it.
    let shards = 1 << weight_max.trailing_zeros().min(SHARDS_LOG2_MAX);
    let options = OptionsBuilder::new()
        .shards(shards)
        .estimated_items_capacity(items.clamp(1, ITEMS_EXPECTED_MAX))
        .weight_capacity(weight_max)
        .build();
    match options {
        Ok(options) => Cache::with_options(
            options,
            weighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // Only an option that is not set is an error.
        Err(_) => Cache::with_weighter(1, weight_max, weighter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SimDisk;

    #[test]
    fn what_another_process_may_shorten_is_not_mapped() {
        let storage: Arc<dyn Storage> = Arc::new(SimDisk::new(1));
        let options = WalOptions { read_strategy: ReadStrategy::Mmap, ..WalOptions::new("/log") };
        assert!(ReadContext::new(Arc::clone(&storage), &options).maps());
        assert!(!ReadContext::without_maps(storage, &options).maps());
    }
}
