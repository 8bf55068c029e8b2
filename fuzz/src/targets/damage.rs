//! Small directories of every kind, and what a program of an input makes of them: bytes, sectors and
//! lengths changed; files gone, put elsewhere, replaced and invented; fields forged under checksums that
//! match.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ironwal::storage::SimDisk;

use super::input::Input;
use crate::format::header::{self, SLOT_LEN};
use crate::format::journal::header::JOURNAL_SLOT_LEN;
use crate::format::root::ROOT_LEN;
use crate::format::seal::SEAL_LEN;
use crate::rot::faults::places;
use crate::rot::samples::{self, ROOT, Sample};

/// No program does more to a directory.
const STEPS_MAX: usize = 16;

const SECTOR_LEN: usize = 512;
const BLOCK_LEN: usize = 4096;

/// Names that mean something to the library.
const NAMES: [&str; 12] = [
    ".ironwal",
    ".ironwal.tmp",
    ".journal.0",
    ".journal.1",
    ".journal.2",
    ".next.tmp",
    "00000000000000000000.wal",
    "00000000000000000005.wal",
    "18446744073709551615.wal",
    "00000000000000000004.wal.tmp",
    ".deleted.1",
    "sub/00000000000000000000.wal",
];

/// A directory of a kind, damaged.
pub(super) struct Damaged {
    pub(super) sample: &'static Sample,
    pub(super) disk: SimDisk,
    /// Whether what is in one stream may have come from another one.
    pub(super) is_moved: bool,
    /// Whether a file is as it was before.
    pub(super) is_older: bool,
    /// Whether there are files that nobody wrote.
    pub(super) is_invented: bool,
    /// Whether fields are forged.
    pub(super) is_forged: bool,
    /// What was done.
    pub(super) steps: Vec<String>,
}

fn all() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let mut all = samples::written();
        all.extend(samples::reshaped());
        all.extend(samples::large());
        all.extend(samples::compressed());
        all.extend(samples::journaled());
        all.extend(samples::with_next());
        all.extend(samples::sharded::samples());
        all
    })
}

impl Damaged {
    /// Chooses a directory, and does to it what the rest of the input says.
    pub(super) fn build(input: &mut Input<'_>) -> Self {
        let sample = &all()[usize::from(input.u8()) % all().len()];
        let disk = sample.disk.snapshot();
        let mut damaged = Self {
            sample,
            disk,
            is_moved: false,
            is_older: false,
            is_invented: false,
            is_forged: false,
            steps: Vec::new(),
        };
        while !input.is_empty() && damaged.steps.len() < STEPS_MAX {
            let step = damaged.step(input);
            damaged.steps.push(step);
        }
        damaged
    }

    fn files(&self) -> Vec<PathBuf> {
        self.disk.files()
    }

    fn step(&mut self, input: &mut Input<'_>) -> String {
        let kind = input.u8() % 16;
        let files = self.files();
        if files.is_empty() {
            return self.invent(input, Path::new(ROOT));
        }
        let path = files[usize::from(input.u8()) % files.len()].clone();
        let mut content = self.disk.contents(&path).unwrap();
        let name = path.display();
        match kind {
            0..=2 if !content.is_empty() => {
                let at = place(&content, input.u16());
                let value =
                    [content[at] ^ (1 << (input.u8() % 8)), 0, 0xFF, input.u8()][usize::from(kind)];
                self.disk.overwrite(&path, at as u64, &[value]).unwrap();
                format!("{name}: {value} at {at}")
            }
            3 if !content.is_empty() => {
                let at = place(&content, input.u16());
                let len = usize::from(input.u8() % 32).min(content.len() - at);
                self.disk.overwrite(&path, at as u64, input.bytes(len)).unwrap();
                format!("{name}: other bytes at {at}")
            }
            4 => self.disturb(&path, input.u8(), &[0; SECTOR_LEN]),
            5 => {
                let from = files[usize::from(input.u8()) % files.len()].clone();
                let bytes = sector(&self.disk.contents(&from).unwrap(), input.u8());
                self.disturb(&path, input.u8(), &bytes)
            }
            6 => {
                let (one, other) = (input.u8(), input.u8());
                let sectors = [one, other].map(|nth| sector(&content, nth));
                self.disturb(&path, one, &sectors[1]);
                self.disturb(&path, other, &sectors[0])
            }
            7 => {
                content.truncate(if content.is_empty() { 0 } else { place(&content, input.u16()) });
                self.disk.replace(&path, &content).unwrap();
                format!("{name}: cut to {}", content.len())
            }
            8 => {
                content.resize(content.len() + usize::from(input.u16() % 10_000), input.u8());
                self.disk.replace(&path, &content).unwrap();
                format!("{name}: longer, {}", content.len())
            }
            9 => {
                self.disk.remove(&path).unwrap();
                format!("{name}: gone")
            }
            10 => {
                let from = files[usize::from(input.u8()) % files.len()].clone();
                self.put(&path, &from)
            }
            11 => {
                let dir = files[usize::from(input.u8()) % files.len()].parent().unwrap().to_owned();
                let name = match input.u8() {
                    own if own < 128 => path.file_name().unwrap().to_owned(),
                    other => NAMES[usize::from(other) % NAMES.len()].into(),
                };
                self.put(&dir.join(name), &path)
            }
            12 => {
                let older = &self.sample.material.older;
                let Some(nth) = usize::from(input.u8()).checked_rem(older.len()) else {
                    return "nothing was older".into();
                };
                let (path, content) = &older[nth];
                self.is_older = true;
                self.disk.replace(path, content).unwrap();
                format!("{}: as it was before", path.display())
            }
            13 => {
                let foreign = &self.sample.material.foreign;
                let (path, content) = &foreign[usize::from(input.u8()) % foreign.len()];
                self.disk.replace(path, content).unwrap();
                format!("{}: of another log", path.display())
            }
            14 => self.forge(&path, content, input),
            _ => self.invent(input, path.parent().unwrap()),
        }
    }

    /// Another file with what is in one.
    fn put(&mut self, path: &Path, from: &Path) -> String {
        self.is_moved |= path.parent() != from.parent();
        self.is_invented |= !self.disk.files().iter().any(|file| file == path);
        let content = self.disk.contents(from).unwrap();
        self.disk.replace(path, &content).unwrap();
        format!("{}: holds what {} does", path.display(), from.display())
    }

    fn disturb(&mut self, path: &Path, nth: u8, bytes: &[u8]) -> String {
        let len = self.disk.contents(path).unwrap().len();
        let start = usize::from(nth) % len.div_ceil(SECTOR_LEN).max(1) * SECTOR_LEN;
        let bytes = &bytes[..bytes.len().min(len.saturating_sub(start))];
        self.disk.overwrite(path, start as u64, bytes).unwrap();
        format!("{}: another sector at {start}", path.display())
    }

    /// A file of any name and content.
    fn invent(&mut self, input: &mut Input<'_>, dir: &Path) -> String {
        let name = match input.u8() {
            known if known < 200 => NAMES[usize::from(known) % NAMES.len()].to_string(),
            len => {
                let bytes = input.bytes(usize::from(len) % 16 + 1);
                let text: String = bytes.iter().map(|byte| char::from(byte % 95 + 32)).collect();
                format!("x{}", text.replace('/', "_"))
            }
        };
        let path = dir.join(name);
        self.is_invented = true;
        let len = usize::from(input.u8()) * 64;
        let given = usize::from(input.u8());
        let mut content = input.bytes(given).to_vec();
        content.resize(len.max(content.len()), 0);
        self.disk.replace(&path, &content).unwrap();
        format!("{}: invented", path.display())
    }

    /// Changes a field of a structure, whose checksum matches again.
    fn forge(&mut self, path: &Path, mut content: Vec<u8>, input: &mut Input<'_>) -> String {
        let second = usize::from(input.u8() % 2) * BLOCK_LEN;
        let seal = content.len().saturating_sub(SEAL_LEN);
        let root_len = ROOT_LEN.min(64);
        let places = [
            (second, SLOT_LEN, *b"IRONWSEG"),
            (seal, SEAL_LEN, *b"IRONWEND"),
            (second, JOURNAL_SLOT_LEN, *b"IRONWALJ"),
            (second, root_len, *b"IRONWAL\0"),
        ];
        let fits = |(at, len, magic): &&(usize, usize, [u8; 8])| {
            content.get(*at..*at + *len).is_some_and(|bytes| bytes.starts_with(magic))
        };
        let found: Vec<_> = places.iter().filter(fits).copied().collect();
        let Some(nth) = usize::from(input.u8()).checked_rem(found.len()) else {
            return "nothing to forge".into();
        };
        let (at, len, magic) = found[nth];
        let field = at + 8 + usize::from(input.u8()) % (len - 12);
        let count = usize::from(input.u8() % 8) + 1;
        let bytes = input.bytes(count);
        let end = (field + bytes.len()).min(at + len - 4);
        content[field..end].copy_from_slice(&bytes[..end - field]);
        header::frame_structure(&mut content[at..at + len], magic);
        self.disk.overwrite(path, at as u64, &content[at..at + len]).unwrap();
        self.is_forged = true;
        format!("{}: {} is forged at {field}: {bytes:?}", path.display(), magic.escape_ascii())
    }
}

/// Mostly where something is.
fn place(content: &[u8], chosen: u16) -> usize {
    let places = places(content);
    places.get(usize::from(chosen) % places.len().max(1)).copied().unwrap_or(0)
}

fn sector(content: &[u8], nth: u8) -> Vec<u8> {
    let start = usize::from(nth) % content.len().div_ceil(SECTOR_LEN).max(1) * SECTOR_LEN;
    content.get(start..content.len().min(start + SECTOR_LEN)).unwrap_or_default().to_vec()
}

/// Whoever looks at a finding wants to know what was done.
impl Drop for Damaged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {:#?}", self.sample.name, self.steps);
        }
    }
}
