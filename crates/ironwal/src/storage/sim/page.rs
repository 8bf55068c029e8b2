//! One page of a file of the simulated disk, and the state of its sectors.
//!
//! A page holds the live bytes and, for those of its sectors where the two images differ, the
//! durable ones. A sector is in one of three states:
//!
//! - **clean**: both images hold the same bytes;
//! - **dirty**: written since the last sync; a sync makes the live bytes durable, a crash picks
//!   the old ones, the new ones or a torn mix;
//! - **lost**: a sync failed and dropped it; reads show the live bytes, no sync will save them,
//!   a crash or an eviction from the cache brings the durable ones back.

use std::ops::Range;

use fastrand::Rng;

use super::super::SECTOR_LEN;

/// The length of a page in bytes.
pub(super) const PAGE_LEN: usize = 4096;

const SECTORS_PER_PAGE: usize = PAGE_LEN / SECTOR_LEN;

// One bit per sector in a `u8`.
const _: () = assert!(SECTORS_PER_PAGE == 8);

pub(super) static ZERO_PAGE: [u8; PAGE_LEN] = [0; PAGE_LEN];

type Bytes = Box<[u8; PAGE_LEN]>;

/// How the sectors of one file fare in one crash, each being rolled for on its own.
///
/// Drawn per file and crash: if all sectors everywhere had even chances, "all but one" would
/// practically never come up for a file with many dirty sectors, and it is where the bugs are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Odds {
    /// Of 256, how often a sector is kept.
    keep: u16,
    /// Of 256, how often a sector is torn instead.
    tear: u16,
}

impl Odds {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self { keep: *pick(rng, &[0, 24, 128, 128, 232, 256]), tear: *pick(rng, &[0, 16, 96]) }
    }

    pub(super) fn keeps(self, rng: &mut Rng) -> bool {
        rng.u16(..256) < self.keep
    }

    pub(super) fn tears(self, rng: &mut Rng) -> bool {
        rng.u16(..256) < self.tear
    }

    /// One bit for each sector of a page that is kept.
    pub(super) fn mask(self, rng: &mut Rng) -> u8 {
        (0..SECTORS_PER_PAGE).fold(0, |mask, _| mask << 1 | u8::from(self.keeps(rng)))
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) live: Bytes,
    /// Counts only for sectors that are dirty or lost.
    pub(super) durable: Option<Bytes>,
    pub(super) dirty: u8,
    pub(super) lost: u8,
}

impl Page {
    pub(super) fn zeroed() -> Self {
        Self { live: Box::new(ZERO_PAGE), durable: None, dirty: 0, lost: 0 }
    }

    fn sector(index: usize) -> Range<usize> {
        index * SECTOR_LEN..(index + 1) * SECTOR_LEN
    }

    pub(super) fn differs(&self) -> bool {
        (self.dirty | self.lost) != 0
    }

    /// The durable copy, made on demand.
    pub(super) fn durable(&mut self) -> &mut Bytes {
        self.durable.get_or_insert_with(|| Box::new(ZERO_PAGE))
    }

    pub(super) fn write(&mut self, within: usize, bytes: &[u8]) {
        let end = within + bytes.len();
        for index in within / SECTOR_LEN..end.div_ceil(SECTOR_LEN) {
            let sector = Self::sector(index);
            let target = sector.start.max(within)..sector.end.min(end);
            let new = &bytes[target.start - within..target.end - within];
            let bit = 1 << index;
            if self.lost & bit != 0 {
                // The durable bytes are on record already; what changes is that a sync will save
                // the sector again.
                self.lost &= !bit;
                self.dirty |= bit;
            } else if self.dirty & bit == 0 {
                // The same bytes again are no change.
                if self.live[target.clone()] == *new {
                    continue;
                }
                let mut old = [0; SECTOR_LEN];
                old.copy_from_slice(&self.live[sector.clone()]);
                self.durable()[sector].copy_from_slice(&old);
                self.dirty |= bit;
            }
            self.live[target].copy_from_slice(new);
        }
    }

    /// Dirty sectors of the mask become durable.
    pub(super) fn save(&mut self, mask: u8) {
        self.dirty &= !mask;
        if !self.differs() {
            self.durable = None;
        }
    }

    /// Sectors of the mask show their durable bytes again, and are clean.
    pub(super) fn revert(&mut self, mask: u8) {
        for index in bits(mask & (self.dirty | self.lost)) {
            let sector = Self::sector(index);
            let mut old = [0; SECTOR_LEN];
            old.copy_from_slice(&self.durable()[sector.clone()]);
            self.live[sector].copy_from_slice(&old);
        }
        self.dirty &= !mask;
        self.lost &= !mask;
        if !self.differs() {
            self.durable = None;
        }
    }

    /// Zeros from here on, in both images.
    pub(super) fn clear_from(&mut self, within: usize) {
        self.live[within..].fill(0);
        if let Some(durable) = &mut self.durable {
            durable[within..].fill(0);
        }
        for index in within.div_ceil(SECTOR_LEN)..SECTORS_PER_PAGE {
            self.dirty &= !(1 << index);
            self.lost &= !(1 << index);
        }
        if !self.differs() {
            self.durable = None;
        }
    }

    /// Makes the live bytes of one sector a torn mix of old and new.
    pub(super) fn tear(&mut self, rng: &mut Rng, index: usize) {
        let torn = self.torn(rng, index);
        self.live[Self::sector(index)].copy_from_slice(&torn);
    }

    /// Makes the durable bytes of one sector a torn mix of old and new: a sync that fails can get
    /// that far.
    pub(super) fn tear_durable(&mut self, rng: &mut Rng, index: usize) {
        let torn = self.torn(rng, index);
        self.durable()[Self::sector(index)].copy_from_slice(&torn);
    }

    /// A mix of the durable and the live bytes of a sector.
    fn torn(&mut self, rng: &mut Rng, index: usize) -> [u8; SECTOR_LEN] {
        let mut old = [0; SECTOR_LEN];
        old.copy_from_slice(&self.durable()[Self::sector(index)]);
        let mut new = [0; SECTOR_LEN];
        new.copy_from_slice(&self.live[Self::sector(index)]);
        let differing = |byte: &usize| new[*byte] != old[*byte];
        let first = (0..SECTOR_LEN).find(differing);
        let last = (0..SECTOR_LEN).rfind(differing);
        let (Some(first), Some(last)) = (first, last) else {
            return new;
        };
        // At the edges it would not be torn; a single byte cannot be torn in two.
        let middle = if first < last { rng.usize(first + 1..=last) } else { last };
        match rng.u8(..3) {
            0 => new[middle..].copy_from_slice(&old[middle..]),
            1 => new[..middle].copy_from_slice(&old[..middle]),
            _ => {
                for (new, old) in new.iter_mut().zip(old).filter(|(new, old)| **new != *old) {
                    match rng.u8(..4) {
                        0 => *new = old,
                        1 => *new = rng.u8(..),
                        _ => {}
                    }
                }
            }
        }
        new
    }
}

/// The indices of the sectors in a mask.
pub(super) fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..SECTORS_PER_PAGE).filter(move |index| mask & (1 << index) != 0)
}
