//! Files of the real disk as memory, and all the `unsafe` code of this crate.
//!
//! Three kinds of maps, all shared with the page cache, so nothing is copied twice:
//!
//! - [`content`]: the part of a file that nobody changes any more, as [`Bytes`];
//! - [`Region`]: a file that is written to;
//! - [`Words`]: a few words that a writer changes while other processes read them.
//!
//! # What can go wrong
//!
//! The operating system answers an access to a mapped page that it cannot provide with a signal
//! (`SIGBUS`), which ends a process that does not expect it. There are three ways to get there:
//!
//! - *A store that needs space on a full disk.* Excluded: the callers of [`Words::writable`] and
//!   [`Region::prepare`](WritableMap::prepare) have reserved every block before, and only on file
//!   systems that write reserved blocks in place. One hole is left: on XFS, somebody may copy the file
//!   by sharing its blocks (`cp --reflink`), and then fill the disk.
//! - *An access beyond the end of the file.* We never touch what lies behind the end of a file that we
//!   shortened. Somebody else with permission to write it can shorten it, as they can a program that
//!   is running from it. A store behind the end in the file's last page is no signal, but lost: whoever
//!   syncs a region looks at the length of the file.
//! - *A page that a dying disk can no longer read.* A positioned read would have returned an error.
//!   A region is asked for its pages before the first store, by a call that returns an error; after
//!   that a page has to be read again only if it was written out and dropped in the meantime. And XFS,
//!   once it has shut down after an error, refuses the first store to a page that was written out.
//!   Whoever cannot live with that reads and writes without maps; [`Words`] are mapped all the same.
//!
//! The first has no remedy but a positioned write for each store, and the last two none at all but
//! not to map; a signal handler would be the host program's business, not a library's.

use std::fs;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

use super::{SharedWords, WORD_LEN, WritableMap};

/// Whether words can be shared here: loads from memory that is mapped for reading only are promised
/// to work up to the size of a pointer.
pub(super) const CAN_SHARE: bool = cfg!(target_pointer_width = "64");

/// The first `len` bytes of a file that has as many, or `None` where they cannot be mapped: the file
/// system may not be able to, or the address space may be full.
pub(super) fn content(file: &fs::File, len: u64) -> Option<Bytes> {
    let len = usize::try_from(len).ok()?;
    if len == 0 {
        return Some(Bytes::new());
    }
    // SAFETY: the obligation is that the bytes under the slice do not change, and stay in the file,
    // while the map lives. The contract of `File::map` passes it on: it is asked only for bytes that
    // nobody will write or take from the file. In this crate those are segments that are proven to
    // their end, and the committed frames of others that are in the file: no frame is ever written
    // again once it is committed, nor cut off but by another file in the place of this one, which is
    // renamed or unlinked, and that leaves the pages. A slot of the header can be written, and nothing
    // reads a header through a map. The map is for reading only, so it cannot break the rule itself.
    // What remains are strangers who write to the file, and a dying disk: see the module's
    // documentation. Every byte that comes from a map is checked against a checksum before it is
    // believed, but no check rules out that a stranger changes it afterwards: we rely on the directory
    // being ours.
    let map = unsafe { MmapOptions::new().len(len).map(file) }.ok()?;
    Some(Bytes::from_owner(map))
}

/// Part of a file that is written to.
#[derive(Debug)]
pub(super) struct Region {
    map: MmapRaw,
    /// The bytes that may be stored to: their pages are there, with blocks on the disk.
    prepared: Range<usize>,
}

impl Region {
    /// Maps the first `len` bytes of a file, or `None` where they cannot be mapped.
    pub(super) fn writable(file: &fs::File, len: u64) -> Option<Self> {
        let len = usize::try_from(len).ok().filter(|len| *len > 0)?;
        let map = MmapOptions::new().len(len).map_raw(file).ok()?;
        Some(Self { map, prepared: 0..0 })
    }
}

impl WritableMap for Region {
    fn prepare(&mut self, start: u64, end: u64) -> io::Result<()> {
        let inside = |at: u64| usize::try_from(at).ok().filter(|at| *at <= self.map.len());
        let (Some(start), Some(end)) = (inside(start), inside(end)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        populate(&self.map, start, end.saturating_sub(start))?;
        let joins = start == self.prepared.end;
        self.prepared = if joins { self.prepared.start } else { start }..end;
        Ok(())
    }

    fn store(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if start < self.prepared.start || end > self.prepared.end {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: `copy_nonoverlapping` needs both ranges to be valid for as many bytes, and not to
        // overlap. The source is a slice. The target lies in `prepared`, which is part of the map, which
        // `self` owns. No slice of this map is ever made, so none overlaps it. `&mut self` keeps other
        // threads from this map; other maps of the same file have other addresses, and who reads through
        // one of them what is being written here is excluded by the contract of `File::map`. What the
        // system may answer to the access itself is in the module's documentation.
        unsafe {
            let target = self.map.as_mut_ptr().add(start);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }
}

/// Gets the pages of a map for writing; an error where a store would be answered with a signal.
#[cfg(target_os = "linux")]
fn populate(map: &MmapRaw, start: usize, len: usize) -> io::Result<()> {
    map.advise_range(memmap2::Advice::PopulateWrite, start, len)
}

#[cfg(not(target_os = "linux"))]
fn populate(_map: &MmapRaw, _start: usize, _len: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Mapped words; they go on working when the file is closed or unlinked.
#[derive(Debug)]
pub(super) struct Words {
    map: MmapRaw,
    is_writable: bool,
}

impl Words {
    /// Maps the words of a file that has space for all of them, reserved.
    pub(super) fn writable(file: &fs::File, count: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(count * WORD_LEN).map_raw(file)?;
        Ok(Self { map, is_writable: true })
    }

    /// Maps the words of a file for reading.
    pub(super) fn read_only(file: &fs::File, count: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(count * WORD_LEN).map_raw_read_only(file)?;
        Ok(Self { map, is_writable: false })
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.count() {
            return None;
        }
        let words = self.map.as_ptr().cast::<AtomicU64>();
        // SAFETY: `add` and the reference need a pointer to an `AtomicU64` that is inside one
        // allocation, aligned, initialised and valid for as long as the reference lives.
        // - Inside: `index` is below the count, which is the map's length in whole words.
        // - Aligned: a map starts at a page, and words are as long as they are aligned.
        // - Initialised: the file is at least as long as the map (see above for those who shorten
        //   it), its bytes have values, and every value is a `u64`.
        // - Valid: the reference borrows `self`, which owns the map and unmaps it when dropped.
        // Memory that others change meanwhile is what atomics are for: nobody makes any other kind
        // of reference to it, in this process or another, and these atomics need no lock, so they
        // work between processes. Where the memory is mapped for reading only, a reference to an
        // atomic may exist as long as only relaxed loads no longer than a pointer are done through
        // it: `load` does only those, `CAN_SHARE` sees to the length, and `store` looks at
        // `is_writable` first.
        Some(unsafe { &*words.add(index) })
    }
}

impl SharedWords for Words {
    fn count(&self) -> usize {
        self.map.len() / WORD_LEN
    }

    fn load(&self, index: usize) -> u64 {
        let Some(word) = self.word(index) else {
            return 0;
        };
        let word = word.load(Ordering::Relaxed);
        // The load itself must be relaxed (see `word`); with the fence it acquires.
        fence(Ordering::Acquire);
        word
    }

    fn store(&self, index: usize, word: u64) {
        if self.is_writable
            && let Some(target) = self.word(index)
        {
            target.store(word, Ordering::Release);
        }
    }
}

// The words of a map are aligned as pages are, so an atomic one must not need more.
const _: () = assert!(align_of::<AtomicU64>() <= WORD_LEN && size_of::<AtomicU64>() == WORD_LEN);
