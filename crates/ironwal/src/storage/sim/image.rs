//! One file of the simulated disk: what reads show, what survives power loss, and what a crash
//! makes of the difference.
//!
//! A file is a sparse map of pages. A page that is absent is clean and holds zeros, so that
//! reservations cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use fastrand::Rng;

use super::super::{SECTOR_LEN, WORD_LEN};
use super::blocks::Blocks;
use super::page::{Odds, PAGE_LEN, Page, ZERO_PAGE, bits};

/// The unit of space, and of the sparse map, in bytes.
pub(super) const PAGE_LEN_U64: u64 = PAGE_LEN as u64;

/// A position inside a page or a buffer. Callers have reduced it, so it fits.
fn small(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Cuts `len` bytes at `offset` into pieces that lie in one page each: the page's number, the
/// position in the page, and the range in the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let within = small(position % PAGE_LEN_U64);
        let range = done..len.min(done + PAGE_LEN - within);
        done = range.end;
        Some((position / PAGE_LEN_U64, within, range))
    })
}

/// What a crash did to one file, for the trace.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct CrashReport {
    pub(super) len_old: u64,
    pub(super) len_new: u64,
    pub(super) len_kept: u64,
    pub(super) kept: u32,
    pub(super) dropped: u32,
    pub(super) torn: u32,
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "length {} (was {}, durable {}); sectors: {} kept, {} lost, {} torn",
            self.len_kept, self.len_new, self.len_old, self.kept, self.dropped, self.torn
        )
    }
}

/// A length that is not durable yet.
#[derive(Debug, Clone, Copy)]
struct DirtyLen {
    len: u64,
    /// A write may be done in part, so the length may come to lie between this and the one before.
    by_write: bool,
}

/// Both images of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileImage {
    pages: BTreeMap<u64, Page>,
    /// The pages that have a dirty or lost sector.
    differing: BTreeSet<u64>,
    live_len: u64,
    durable_len: u64,
    /// The lengths that the file had since the durable one, the last being what the next sync
    /// makes durable. If there are none though the two lengths differ, a failed sync lost the new
    /// one.
    dirty_lens: Vec<DirtyLen>,
    /// The blocks that have space, now and after power loss.
    allocated: Blocks,
    durable_allocated: Blocks,
    /// Whether it was used as shared memory, of which a crash leaves anything.
    is_shared: bool,
}

impl FileImage {
    /// A file that is durable as it is.
    pub(super) fn durable_from(bytes: &[u8]) -> Self {
        let mut file = Self::default();
        file.overwrite(bytes, 0);
        file
    }

    pub(super) fn len(&self) -> u64 {
        self.live_len
    }

    pub(super) fn allocated(&self) -> &Blocks {
        &self.allocated
    }

    pub(super) fn allocate(&mut self, blocks: Range<u64>) {
        self.allocated.insert(blocks);
    }

    /// Reads as much as there is.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let left = self.live_len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (number, within, range) in pieces(offset, count) {
            let source = self.pages.get(&number).map_or(&ZERO_PAGE, |page| &page.live);
            let source = &source[within..within + range.len()];
            buf[range].copy_from_slice(source);
        }
        count
    }

    /// All of it, if that fits in memory.
    pub(super) fn content(&self) -> Option<Vec<u8>> {
        let len = usize::try_from(self.live_len).ok()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        bytes.resize(len, 0);
        self.read(&mut bytes, 0);
        Some(bytes)
    }

    pub(super) fn set_shared(&mut self) {
        self.is_shared = true;
    }

    /// Writes all of `bytes`; the space has been allocated.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.live_len {
            self.grow(end, true);
        } else if end > self.dirty_len().unwrap_or(self.durable_len) {
            // Bytes that were written again and synced are proven, so the length must reach
            // them, even if a failed sync lost it.
            self.push_len(end, true);
        }
        for (number, within, range) in pieces(offset, bytes.len()) {
            let bytes = &bytes[range];
            if !self.pages.contains_key(&number) && bytes == &ZERO_PAGE[..bytes.len()] {
                continue;
            }
            let page = self.pages.entry(number).or_insert_with(Page::zeroed);
            page.write(within, bytes);
            if page.differs() {
                self.differing.insert(number);
            }
        }
    }

    /// Sets the length.
    pub(super) fn set_len(&mut self, len: u64) {
        if len > self.live_len {
            self.grow(len, false);
        } else if len < self.live_len {
            self.shrink(len);
        }
        // Space beyond the end, as a failed reservation leaves it, is given back even if the
        // length stays.
        self.allocated.truncate(len.div_ceil(PAGE_LEN_U64));
    }

    fn grow(&mut self, len: u64, by_write: bool) {
        // What is gained reads as zeros after a sync, whatever a failed sync left there.
        let sector_len = SECTOR_LEN as u64;
        let first = self.live_len / sector_len * sector_len;
        for number in self.differing.range(first / PAGE_LEN_U64..) {
            let Some(page) = self.pages.get_mut(number) else {
                continue;
            };
            let skipped = first.saturating_sub(number * PAGE_LEN_U64) / sector_len;
            let gained = match skipped {
                0..8 => page.lost & (u8::MAX << skipped),
                _ => 0,
            };
            page.lost &= !gained;
            page.dirty |= gained;
        }
        self.live_len = len;
        self.push_len(len, by_write);
    }

    fn shrink(&mut self, len: u64) {
        self.zero_beyond(len);
        self.live_len = len;
        self.push_len(len, false);
    }

    fn dirty_len(&self) -> Option<u64> {
        self.dirty_lens.last().map(|dirty| dirty.len)
    }

    fn push_len(&mut self, len: u64, by_write: bool) {
        match self.dirty_lens.last_mut() {
            // A row of appends is like one long one.
            Some(last) if last.by_write && by_write && last.len <= len => last.len = len,
            _ => self.dirty_lens.push(DirtyLen { len, by_write }),
        }
    }

    fn take_dirty_len(&mut self) -> Option<u64> {
        let len = self.dirty_len();
        self.dirty_lens.clear();
        len
    }

    /// Everything that is dirty becomes durable.
    pub(super) fn sync(&mut self) {
        self.save_sectors(|dirty| dirty);
        self.durable_allocated.clone_from(&self.allocated);
        if let Some(len) = self.take_dirty_len() {
            self.durable_len = len;
        }
    }

    /// The sync failed: some of what was dirty was saved all the same, some of it in part, and the
    /// rest is lost; the next sync has nothing to do.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        let odds = Odds::draw(rng);
        self.save_sectors(|dirty| odds.mask(rng) & dirty);
        for number in &self.differing {
            if let Some(page) = self.pages.get_mut(number) {
                for index in bits(page.dirty) {
                    if odds.tears(rng) {
                        page.tear_durable(rng, index);
                    }
                }
                page.lost |= page.dirty;
                page.dirty = 0;
            }
        }
        if let Some(len) = self.take_dirty_len()
            && rng.bool()
        {
            self.durable_len = len;
        }
        if rng.bool() {
            self.durable_allocated.clone_from(&self.allocated);
        }
    }

    /// The operating system writes something out on its own.
    pub(super) fn write_back(&mut self, rng: &mut Rng) {
        let odds = Odds::draw(rng);
        self.save_sectors(|dirty| odds.mask(rng) & dirty);
        if rng.u8(..4) == 0
            && let Some(len) = self.take_dirty_len()
        {
            self.durable_len = len;
        }
    }

    /// The cache forgets what a failed sync lost: reads show what is durable. The length follows
    /// only if nobody has the file open, as the operating system keeps it as long.
    pub(super) fn evict(&mut self, is_open: bool) {
        for number in &self.differing {
            if let Some(page) = self.pages.get_mut(number) {
                page.revert(page.lost);
            }
        }
        if !is_open && self.dirty_lens.is_empty() && self.durable_len < self.live_len {
            self.live_len = self.durable_len;
            // As in a crash: a sector that was saved behind the end is no part of the file, and never
            // comes back when the file is lengthened.
            for (number, page) in self.pages.range_mut(self.live_len / PAGE_LEN_U64..) {
                page.clear_from(small(self.live_len.saturating_sub(number * PAGE_LEN_U64)));
            }
        }
        // What was brought back may lie where the file has been shortened since.
        self.zero_beyond(self.live_len);
        self.forget_equal();
    }

    /// Power is lost: picks what survives, which is then both images.
    pub(super) fn crash(&mut self, rng: &mut Rng) -> CrashReport {
        let mut report = CrashReport {
            len_old: self.durable_len,
            len_new: self.dirty_len().unwrap_or(self.durable_len),
            ..CrashReport::default()
        };
        let odds = Odds::draw(rng);
        for number in std::mem::take(&mut self.differing) {
            let Some(page) = self.pages.get_mut(&number) else {
                continue;
            };
            page.revert(page.lost);
            for index in bits(page.dirty) {
                if odds.tears(rng) {
                    page.tear(rng, index);
                    report.torn += 1;
                } else if odds.keeps(rng) {
                    report.kept += 1;
                } else {
                    page.revert(1 << index);
                    report.dropped += 1;
                }
            }
            page.save(u8::MAX);
        }
        report.len_kept = self.pick_len(rng);
        self.cut(report.len_kept);
        if rng.bool() {
            std::mem::swap(&mut self.allocated, &mut self.durable_allocated);
        }
        self.allocated.truncate(report.len_kept.div_ceil(PAGE_LEN_U64));
        for number in self.pages.keys() {
            self.allocated.insert(*number..number + 1);
        }
        self.durable_allocated.clone_from(&self.allocated);
        if std::mem::take(&mut self.is_shared) {
            self.garble(rng);
        }
        report
    }

    /// Makes of shared memory what nobody promised: zeros, garbage, or of each word either, for
    /// readers to find out about.
    fn garble(&mut self, rng: &mut Rng) {
        let mode = rng.u8(..4);
        // Nobody shares more; if they do, the rest fares as sectors do.
        let end = small(self.live_len).min(1 << 20);
        for position in (0..end).step_by(WORD_LEN) {
            let word = match mode {
                0 => break,
                1 => 0,
                2 => rng.u64(..),
                _ => match rng.u8(..3) {
                    0 => continue,
                    1 => 0,
                    _ => rng.u64(..),
                },
            };
            let len = WORD_LEN.min(end - position);
            self.overwrite(&word.to_le_bytes()[..len], position as u64);
        }
    }

    /// Changes bytes in both images, as rot or a person with an editor would.
    pub(super) fn overwrite(&mut self, bytes: &[u8], offset: u64) {
        for (number, within, range) in pieces(offset, bytes.len()) {
            let page = self.pages.entry(number).or_insert_with(Page::zeroed);
            let target = within..within + range.len();
            page.live[target.clone()].copy_from_slice(&bytes[range.clone()]);
            if let Some(durable) = &mut page.durable {
                durable[target].copy_from_slice(&bytes[range]);
            }
            self.allocated.insert(number..number + 1);
            self.durable_allocated.insert(number..number + 1);
        }
        let end = offset + bytes.len() as u64;
        self.live_len = self.live_len.max(end);
        self.durable_len = self.durable_len.max(end);
        if let Some(dirty) = self.dirty_lens.last_mut() {
            dirty.len = dirty.len.max(end);
        }
    }

    /// Makes those sectors of each page durable that `choose` picks of its dirty ones.
    fn save_sectors(&mut self, mut choose: impl FnMut(u8) -> u8) {
        for number in &self.differing {
            if let Some(page) = self.pages.get_mut(number) {
                page.save(choose(page.dirty));
            }
        }
        self.forget_equal();
    }

    fn forget_equal(&mut self) {
        let pages = &self.pages;
        self.differing.retain(|number| pages.get(number).is_some_and(Page::differs));
    }

    /// Zeroes the live bytes beyond `len`, as a change that has still to become durable.
    fn zero_beyond(&mut self, len: u64) {
        for (number, page) in self.pages.range_mut(len / PAGE_LEN_U64..) {
            let within = small(len.saturating_sub(number * PAGE_LEN_U64));
            page.write(within, &ZERO_PAGE[within..]);
            if page.differs() {
                self.differing.insert(*number);
            }
        }
    }

    /// Makes `len` the length of both images, which are equal.
    fn cut(&mut self, len: u64) {
        self.live_len = len;
        self.durable_len = len;
        self.dirty_lens.clear();
        self.pages.split_off(&len.div_ceil(PAGE_LEN_U64));
        if let Some(page) = self.pages.get_mut(&(len / PAGE_LEN_U64)) {
            page.live[small(len % PAGE_LEN_U64)..].fill(0);
        }
    }

    /// The length after a crash: the durable one, one that the file had since, or where a write
    /// lengthened it, one between.
    fn pick_len(&self, rng: &mut Rng) -> u64 {
        let Some(new) = self.dirty_len() else {
            return self.durable_len;
        };
        let step = rng.usize(..self.dirty_lens.len());
        let from = match step.checked_sub(1) {
            Some(before) => self.dirty_lens[before].len,
            None => self.durable_len,
        };
        let DirtyLen { len: to, by_write } = self.dirty_lens[step];
        let sector_len = SECTOR_LEN as u64;
        match rng.u8(..4) {
            0 => self.durable_len,
            1 if by_write && from < to => rng.u64(from..=to),
            2 if by_write && from < to => (rng.u64(from..=to) / sector_len * sector_len).max(from),
            1 | 2 => to,
            _ => new,
        }
    }
}
