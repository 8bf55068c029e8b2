//! What can become of the files of a log at rest. Bytes only: which file is which does not matter here.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a disk loses, or writes to the wrong place, as a whole.
pub(crate) const SECTOR_LEN: usize = 512;

/// Files, sorted by their paths, with what is in them.
pub(crate) type Files = Vec<(PathBuf, Vec<u8>)>;

/// What faults are made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Material {
    /// The files as they are.
    pub(crate) files: Files,
    /// The files of another log, to which the same was done.
    pub(crate) foreign: Files,
    /// Contents that each file had before, and those of files that there are no more.
    pub(crate) older: Vec<(PathBuf, Vec<u8>)>,
}

/// One fault. Files, sectors, and contents are named by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A byte has another value.
    Byte { file: usize, at: usize, value: u8 },
    /// The file ends here.
    Cut { file: usize, len: usize },
    /// A sector is all zeros.
    Zeroed { file: usize, sector: usize },
    /// A sector holds what another one holds, of this file or of another one.
    Duplicated { file: usize, sector: usize, from: (usize, usize) },
    /// Two sectors hold what the other one held.
    Swapped { file: usize, sectors: (usize, usize) },
    /// The file is gone.
    Removed { file: usize },
    /// The directory of the file is gone, with everything in it.
    RemovedDir { file: usize },
    /// The file holds what another one holds.
    Replaced { file: usize, by: usize },
    /// The file holds what the file of this name holds in another log.
    Foreign { file: usize, by: usize },
    /// A file holds what it held before, or is there again.
    Older { content: usize },
}

/// The kinds of faults, as they are counted.
pub(crate) const KINDS: [&str; 10] = [
    "byte changed",
    "file cut",
    "sector zeroed",
    "sector duplicated",
    "sectors swapped",
    "file deleted",
    "directory deleted",
    "file replaced by another",
    "file replaced by that of another log",
    "file replaced by an older version",
];

/// What a fault makes of a file: its path, and what is in it, if it is there.
pub(crate) type Change = (PathBuf, Option<Vec<u8>>);

impl Fault {
    /// Its number in [`KINDS`].
    pub(crate) fn kind(&self) -> usize {
        match self {
            Self::Byte { .. } => 0,
            Self::Cut { .. } => 1,
            Self::Zeroed { .. } => 2,
            Self::Duplicated { .. } => 3,
            Self::Swapped { .. } => 4,
            Self::Removed { .. } => 5,
            Self::RemovedDir { .. } => 6,
            Self::Replaced { .. } => 7,
            Self::Foreign { .. } => 8,
            Self::Older { .. } => 9,
        }
    }

    /// The file that it hits.
    pub(crate) fn path<'a>(&self, material: &'a Material) -> &'a Path {
        match self {
            Self::Byte { file, .. }
            | Self::Cut { file, .. }
            | Self::Zeroed { file, .. }
            | Self::Duplicated { file, .. }
            | Self::Swapped { file, .. }
            | Self::Removed { file }
            | Self::RemovedDir { file }
            | Self::Replaced { file, .. }
            | Self::Foreign { file, .. } => &material.files[*file].0,
            Self::Older { content } => &material.older[*content].0,
        }
    }

    /// What it makes of the files.
    pub(crate) fn changes(&self, material: &Material) -> Vec<Change> {
        let files = &material.files;
        let path = self.path(material).to_path_buf();
        let content = |file: usize| files[file].1.clone();
        let new = match *self {
            Self::Byte { file, at, value } => {
                let mut content = content(file);
                content[at] = value;
                content
            }
            Self::Cut { file, len } => files[file].1[..len].to_vec(),
            Self::Zeroed { file, sector } => {
                let mut content = content(file);
                let range = range_of(&content, sector);
                content[range].fill(0);
                content
            }
            Self::Duplicated { file, sector, from: (other, from) } => {
                let mut content = content(file);
                put(&mut content, sector, sector_of(&files[other].1, from));
                content
            }
            Self::Swapped { file, sectors: (one, other) } => {
                let mut content = content(file);
                put(&mut content, one, sector_of(&files[file].1, other));
                put(&mut content, other, sector_of(&files[file].1, one));
                content
            }
            Self::Removed { .. } => return vec![(path, None)],
            Self::RemovedDir { .. } => {
                let gone = files.iter().filter(|(other, _)| other.parent() == path.parent());
                return gone.map(|(path, _)| (path.clone(), None)).collect();
            }
            Self::Replaced { by, .. } => content(by),
            Self::Foreign { by, .. } => material.foreign[by].1.clone(),
            Self::Older { content } => material.older[content].1.clone(),
        };
        vec![(path, Some(new))]
    }

    /// In words.
    pub(crate) fn describe(&self, material: &Material) -> String {
        let of = |file: usize| material.files[file].0.display();
        let path = self.path(material).display();
        match *self {
            Self::Byte { file, at, value } => {
                format!("{path}: byte {at}: {} -> {value}", material.files[file].1[at])
            }
            Self::Duplicated { sector, from: (other, from), .. } => {
                format!("{path}: sector {sector} is sector {from} of {}", of(other))
            }
            Self::Replaced { by, .. } => format!("{path}: holds what {} does", of(by)),
            _ => format!("{path}: {self:?}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(KINDS[self.kind()])
    }
}

fn range_of(content: &[u8], sector: usize) -> Range<usize> {
    let start = (sector * SECTOR_LEN).min(content.len());
    start..(start + SECTOR_LEN).min(content.len())
}

fn sector_of(content: &[u8], sector: usize) -> &[u8] {
    &content[range_of(content, sector)]
}

/// Overwrites a sector, as far as the file has it. What the other one has not reads as zeros.
fn put(content: &mut [u8], sector: usize, with: &[u8]) {
    let range = range_of(content, sector);
    for (nth, byte) in content[range].iter_mut().enumerate() {
        *byte = with.get(nth).copied().unwrap_or(0);
    }
}

/// Whether all of it is wanted, and not one fault in some.
pub(crate) fn all_are_wanted() -> bool {
    std::env::var_os("IRONWAL_EVERY_BYTE").is_some()
}

/// One in so many, unless all are wanted.
pub(crate) fn every(few: usize) -> usize {
    if all_are_wanted() { 1 } else { few }
}

/// How many zeros in a row mean something; more fill up a block.
const FEW_ZEROS: usize = 40;

/// Which bytes of a file are tried: all that mean something, and some of the zeros that fill up blocks.
pub(crate) fn places(content: &[u8]) -> Vec<usize> {
    places_in(content, false).into_iter().map(|(place, _)| place).collect()
}

/// The same or, if all are wanted, every byte; and whether it is one that fills up a block.
fn places_in(content: &[u8], all: bool) -> Vec<(usize, bool)> {
    let mut places = Vec::new();
    let mut zeros = 0;
    for (place, byte) in content.iter().enumerate() {
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        let is_filling = zeros >= FEW_ZEROS;
        if all || !is_filling || place.is_multiple_of(509) {
            places.push((place, is_filling));
        }
    }
    places
}

/// The values that a byte changes to: a bit flipped, all of them, zeroed and set.
pub(crate) fn values(byte: u8) -> Vec<u8> {
    let mut values = vec![byte];
    for changed in [byte ^ 1, byte ^ 0x80, !byte, 0, 0xFF] {
        if !values.contains(&changed) {
            values.push(changed);
        }
    }
    values.remove(0);
    values
}

/// Every byte with other values, and every length. Of the zeros that fill up blocks a bit is flipped in
/// one and the next one is set, in turns.
pub(crate) fn byte_faults(material: &Material) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (file, (_, content)) in material.files.iter().enumerate() {
        for (at, is_filling) in places_in(content, all_are_wanted()) {
            let values = match is_filling {
                true => vec![[1 << (at / 2 % 8), 0xFF][at % 2]],
                false => values(content[at]),
            };
            faults.extend(values.into_iter().map(|value| Fault::Byte { file, at, value }));
            faults.push(Fault::Cut { file, len: at });
        }
    }
    faults
}

/// Every sector zeroed, and holding another one of its file, or the one in its place of other files;
/// every two swapped. What changes nothing, or the same, is left out.
pub(crate) fn sector_faults(material: &Material) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (file, (_, content)) in material.files.iter().enumerate() {
        let count = content.len().div_ceil(SECTOR_LEN);
        let here = |sector: usize| sector_of(content, sector);
        let is_zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        for sector in 0..count {
            let mut tried: Vec<&[u8]> = vec![here(sector)];
            if !is_zeros(here(sector)) {
                faults.push(Fault::Zeroed { file, sector });
            }
            let elsewhere = (0..material.files.len()).map(|other| (other, sector));
            let sources = (0..count).map(|from| (file, from)).chain(elsewhere);
            for (other, from) in sources {
                let bytes = sector_of(&material.files[other].1, from);
                if !is_zeros(bytes) && !tried.contains(&bytes) {
                    tried.push(bytes);
                    faults.push(Fault::Duplicated { file, sector, from: (other, from) });
                }
            }
            let mut swapped: Vec<&[u8]> = vec![here(sector)];
            for other in sector + 1..count {
                if !swapped.contains(&here(other)) {
                    swapped.push(here(other));
                    faults.push(Fault::Swapped { file, sectors: (sector, other) });
                }
            }
        }
    }
    faults
}

/// Every file and directory deleted, every file replaced by every other one, by that of another log,
/// and by what it was before.
pub(crate) fn file_faults(material: &Material) -> Vec<Fault> {
    let mut faults = Vec::new();
    let files = &material.files;
    for (file, (path, content)) in files.iter().enumerate() {
        faults.push(Fault::Removed { file });
        if files[..file].iter().all(|(other, _)| other.parent() != path.parent()) {
            faults.push(Fault::RemovedDir { file });
        }
        let others = (0..files.len()).filter(|by| files[*by].1 != *content);
        faults.extend(others.map(|by| Fault::Replaced { file, by }));
        let of_this_name = material.foreign.iter().position(|(other, _)| other == path);
        faults.extend(of_this_name.map(|by| Fault::Foreign { file, by }));
    }
    faults.extend((0..material.older.len()).map(|content| Fault::Older { content }));
    faults
}
