//! The journal as an earlier process left it: what is in it is written to the segments, and synced
//! there, before any stream is recovered. Then it begins anew.
//!
//! 1. **Read.** Frames of both files, and what they come to ([`resolve`]); nothing is changed.
//! 2. **Confirm.** The frames that count are written again, synced, and read once more: the process
//!    that wrote them may have seen a sync fail, and what we read may be in the page cache only.
//! 3. **Replay.** Every share is written to its place in its segment, whatever stands there, for the
//!    same bytes belong there; the file is synced. A slot that speaks of them proves nothing: it may
//!    have been written under the sync that failed. What is lost gets a *loss frame* in its place, so
//!    that the ids stay taken and the report outlives the journal.
//! 4. **Recover** each stream: it finds a longer segment. (Not here.)
//! 5. **Empty.** New generations, oldest file first.
//!
//! A crash anywhere before 5 leaves a journal that the next opening replays again, to the same end.
//!
//! Here: the files, their names and headers, reading them and emptying them. Steps 2 and 3 are in
//! `replay.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::checksum::SegmentSeed;
use crate::format::frame::{self, Place};
use crate::format::journal::header::{JOURNAL_SLOT_LEN, JournalHeader};
use crate::format::journal::resolve::{JournalFile, Resolved, resolve};
use crate::format::journal::scan::{Found, FoundFrame, scan, scan_from};
use crate::format::journal::{JOURNAL_HEADER_LEN, Record};
use crate::format::{BLOCK_LEN, FORMAT_VERSION, Unreadable};
use crate::segment::source::{FileSource, Handle};
use crate::segment::walk::WALK_READ_LEN;
use crate::storage::{self, File, OpenMode, Storage};
use crate::sync::Arc;

/// How the files are called.
pub(crate) const NAMES: [&str; 2] = [".journal.0", ".journal.1"];

/// The name that they have while they are made, or made again.
const UNFINISHED_SUFFIX: &str = ".tmp";

/// The file with this number.
pub(crate) fn path_of(root: &Path, nth: usize) -> PathBuf {
    root.join(NAMES[nth % NAMES.len()])
}

/// Its name until it is whole.
pub(crate) fn unfinished_path_of(root: &Path, nth: usize) -> PathBuf {
    root.join(format!("{}{UNFINISHED_SUFFIX}", NAMES[nth % NAMES.len()]))
}

/// Writes both slots of a file that nobody has written frames to.
pub(crate) fn write_header(file: &dyn File, header: JournalHeader) -> io::Result<()> {
    let slot = header.encode();
    storage::write_all_at(file, &slot, 0)?;
    storage::write_all_at(file, &slot, BLOCK_LEN)
}

/// Gives a file another generation, durably. The slots are never torn both: one that an earlier crash
/// has torn is written first, while the other one is whole.
pub(crate) fn begin_generation(file: &dyn File, header: JournalHeader) -> io::Result<()> {
    let slot = header.encode();
    let mut second = [0; JOURNAL_SLOT_LEN];
    let filled = storage::read_up_to(file, &mut second, BLOCK_LEN)?;
    let order = match JournalHeader::decode(&second[..filled], header.salt) {
        Ok(_) => [0, BLOCK_LEN],
        Err(_) => [BLOCK_LEN, 0],
    };
    for offset in order {
        storage::write_all_at(file, &slot, offset)?;
        file.sync()?;
    }
    Ok(())
}

/// The journal as it was found.
#[derive(Debug)]
pub(crate) struct FoundJournal {
    /// In the order of their generations.
    pub(crate) files: Vec<FoundFile>,
    pub(crate) resolved: Resolved,
}

/// One of its files.
#[derive(Debug)]
pub(crate) struct FoundFile {
    nth: usize,
    pub(crate) path: PathBuf,
    pub(super) header: JournalHeader,
    pub(crate) len: u64,
    pub(crate) frames: Vec<FoundFrame>,
}

/// The journal's files, which hold nothing.
#[derive(Debug, Default)]
pub(crate) struct Emptied {
    pub(crate) files: [Option<EmptyFile>; 2],
    /// The highest that was given to one of them.
    pub(crate) generation: u64,
}

/// A file that is ready for frames.
#[derive(Debug)]
pub(crate) struct EmptyFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) generation: u64,
    pub(crate) len: u64,
}

/// Reads the journal of the log in `root`; changes nothing.
///
/// # Errors
///
/// [`Error::UnsupportedVersion`], [`Error::Corruption`] if a file has lost its header.
pub(crate) fn read(storage: &dyn Storage, root: &Path, salt: u64) -> Result<FoundJournal> {
    read_on(storage, root, salt, None)
}

/// The same, with the frames that were found before, as far as they were whole.
pub(super) fn read_on(
    storage: &dyn Storage,
    root: &Path,
    salt: u64,
    before: Option<FoundJournal>,
) -> Result<FoundJournal> {
    let mut before = before.map_or_else(Vec::new, |before| before.files);
    let mut files = Vec::new();
    for nth in 0..NAMES.len() {
        let path = path_of(root, nth);
        let file = match storage.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let len = file.len()?;
        let header = read_header_of(&*file, &path, salt)?;
        let known = before.iter().position(|file| (file.nth, file.header) == (nth, header));
        let mut frames = known.map_or_else(Vec::new, |at| before.swap_remove(at).frames);
        let whole = frames.iter().take_while(|frame| frame.found == Found::Whole).count();
        frames.truncate(whole);
        let start = frames.last().map_or(JOURNAL_HEADER_LEN, |frame| frame.offset + frame.len);
        if !header.is_closed {
            let mut source = FileSource::new(Handle::File(file), WALK_READ_LEN, len);
            frames.extend(scan_from(&mut source, header, start, len)?);
        }
        files.push(FoundFile { nth, path, header, len, frames });
    }
    files.sort_by_key(|file| file.header.generation);
    let scanned: Vec<JournalFile> = files
        .iter()
        .map(|file| JournalFile { generation: file.header.generation, frames: file.frames.clone() })
        .collect();
    let mut resolved = resolve(&scanned);
    let begins_later = |file: &FoundFile| file.frames.first().is_some_and(|frame| frame.first > 1);
    if let [only] = &*files
        && begins_later(only)
    {
        // There were two files by then, and somebody has taken the other one away.
        resolved.unknown += 1;
    }
    Ok(FoundJournal { files, resolved })
}

fn read_header_of(file: &dyn File, path: &Path, salt: u64) -> Result<JournalHeader> {
    let slot_at = |offset: u64| -> io::Result<_> {
        let mut bytes = [0; JOURNAL_SLOT_LEN];
        let filled = storage::read_up_to(file, &mut bytes, offset)?;
        Ok(JournalHeader::decode(&bytes[..filled], salt))
    };
    match JournalHeader::merge(slot_at(0)?, slot_at(BLOCK_LEN)?) {
        Ok(header) => Ok(header),
        Err(Unreadable::Newer(found)) => Err(Error::UnsupportedVersion {
            path: path.to_path_buf(),
            found,
            supported: FORMAT_VERSION,
        }),
        Err(_) => {
            // The header is durable before the file has its name.
            tracing::error!(path = %path.display(), "the header of the journal cannot be read");
            Err(Error::Corruption(format!(
                "both slots in the header of {} are damaged; what it held that is not in the \
                 segments yet cannot be read. Restore the file, or move it away to go on without it",
                path.display()
            )))
        }
    }
}

impl FoundJournal {
    /// Whether it says nothing of any stream.
    pub(super) fn is_empty(&self) -> bool {
        let Resolved { frames, lost, unknown, .. } = &self.resolved;
        frames.is_empty() && lost.is_empty() && *unknown == 0
    }

    /// At least how many frames are lost of which nobody knows what was in them.
    pub(crate) fn unknown(&self) -> u64 {
        self.resolved.unknown
    }

    /// The bytes of a share, as far as they are there, from an offset in a file.
    fn read_share(
        &self,
        storage: &dyn Storage,
        (nth, offset): (usize, u64),
        len: u64,
    ) -> io::Result<Vec<u8>> {
        let Some(file) = self.files.get(nth) else { return Ok(Vec::new()) };
        let in_file = file.len.saturating_sub(offset);
        let handle = storage.open(&file.path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(len.min(in_file)).unwrap_or(0)];
        let filled = storage::read_up_to(&*handle, &mut bytes, offset)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Up to where it was found, in which files.
    pub(super) fn extent(&self) -> Vec<(u64, usize)> {
        self.files.iter().map(|file| (file.header.generation, file.frames.len())).collect()
    }

    /// What it holds of every segment, by the numbers of the streams and the first ids.
    pub(crate) fn pieces(&self) -> BTreeMap<u64, BTreeMap<u64, Pieces>> {
        let mut wanted: BTreeMap<u64, BTreeMap<u64, Pieces>> = BTreeMap::new();
        let lost = self.resolved.lost.iter().map(|lost| (lost.record, None));
        let shares = self.resolved.shares.iter();
        // No place is spoken of twice, for a cut makes a void of what was said before.
        let all = lost.chain(shares.map(|it| (it.record, Some((it.file, it.offset)))));
        for (record, place) in all.filter(|(record, _)| !record.is_void()) {
            let segments = wanted.entry(record.stream_number).or_default();
            let pieces = segments.entry(record.segment).or_default();
            pieces.insert(record.offset, Piece { record, place });
        }
        wanted
    }

    /// The bytes that belong into a segment at the place of a piece: the share, if it is whole in the
    /// journal or in the segment's file; `None` if it is lost.
    pub(super) fn share(
        &self,
        storage: &dyn Storage,
        piece: &Piece,
        seed: SegmentSeed,
        segment: &dyn File,
    ) -> io::Result<Option<Vec<u8>>> {
        let record = piece.record;
        if let Some(place) = piece.place {
            let bytes = self.read_share(storage, place, record.len)?;
            if is_share(&bytes, record, seed) {
                return Ok(Some(bytes));
            }
        }
        let end = record.offset.saturating_add(record.len);
        if end > segment.len()? {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(record.len).unwrap_or(0)];
        let filled = storage::read_up_to(segment, &mut bytes, record.offset)?;
        bytes.truncate(filled);
        Ok(is_share(&bytes, record, seed).then_some(bytes))
    }
}

/// What the journal holds of one segment, in the order of the offsets.
pub(crate) type Pieces = BTreeMap<u64, Piece>;

/// What stands, or should, at one place of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) record: Record,
    /// Where its bytes are in the journal: the file, the offset; `None`: they are lost.
    place: Option<(usize, u64)>,
}

/// Whether these bytes are frames, whole, with the ids of the record.
fn is_share(bytes: &[u8], record: Record, seed: SegmentSeed) -> bool {
    if bytes.len() as u64 != record.len {
        return false;
    }
    let (mut at, mut next_id, end) = (0, record.ids().start, record.offset + record.len);
    while at < bytes.len() {
        let offset = record.offset + at as u64;
        let Ok(frame) = frame::peek(&bytes[at..], offset, end, seed) else { return false };
        let ids = frame.ids(record.segment);
        let len = usize::try_from(frame.len()).unwrap_or(usize::MAX);
        let whole = bytes.get(at..at.saturating_add(len));
        let is_due = ids.start == next_id
            && whole.is_some_and(|whole| frame::verify(whole, &frame, seed).is_ok());
        if !is_due {
            return false;
        }
        at += len;
        next_id = ids.end;
    }
    next_id == record.ids().end
}

/// What stands in a segment where a share was lost.
pub(super) fn loss_of(record: Record, seed: SegmentSeed) -> Option<Vec<u8>> {
    let (offset, index) = (record.offset, record.index);
    let place = Place { seed, offset, index, synced_to: 0 };
    let mut bytes = Vec::new();
    frame::encode_loss(&mut bytes, place, record.count, record.len)?;
    Some(bytes)
}

/// Step 5: gives every file a new generation and makes its name durable. Takes no space.
pub(crate) fn empty(
    storage: &dyn Storage,
    root: &Path,
    salt: u64,
    found: &FoundJournal,
) -> Result<Emptied> {
    let mut emptied = Emptied::default();
    for nth in 0..NAMES.len() {
        match storage.remove_file(&unfinished_path_of(root, nth)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let highest = found.files.iter().map(|file| file.header.generation).max();
    emptied.generation = highest.unwrap_or(0);
    for found in &found.files {
        emptied.generation += 1;
        let generation = emptied.generation;
        let file = storage.open(&found.path, OpenMode::ReadWrite)?;
        begin_generation(&*file, JournalHeader { salt, generation, is_closed: false })?;
        let (path, len) = (found.path.clone(), found.len.max(JOURNAL_HEADER_LEN));
        emptied.files[found.nth] = Some(EmptyFile { file, path, generation, len });
    }
    // Once all are empty: a crash in between takes a file away, which is damage if the other one speaks
    // of it.
    for found in &found.files {
        // By another name and back: the process that named it may have seen the sync of that fail.
        let other = unfinished_path_of(root, found.nth);
        storage.rename(&found.path, &other)?;
        storage.rename(&other, &found.path)?;
    }
    if !found.files.is_empty() {
        storage.sync_dir(root)?;
    }
    Ok(emptied)
}

/// Hands on the records of every frame of a file that are not void, with their bytes. For a file that
/// this process wrote and synced up to `end`.
///
/// # Errors
///
/// Something of it cannot be read.
pub(crate) fn for_each_frame(
    file: &Arc<dyn File>,
    path: &Path,
    header: JournalHeader,
    end: u64,
    mut hand_on: impl FnMut(Vec<Record>, Vec<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    let mut source = FileSource::new(Handle::File(Arc::clone(file)), WALK_READ_LEN, end);
    let frames = scan(&mut source, header, end)?;
    let mut due = JOURNAL_HEADER_LEN;
    let mut void_in = BTreeMap::new();
    for frame in &frames {
        if frame.offset != due || frame.found != Found::Whole {
            break;
        }
        due += frame.len;
        for record in frame.directory.iter().filter(|record| record.is_void()) {
            void_in.insert(record.stream_number, frame.sequence);
        }
    }
    let unreadable = |offset: u64| {
        let what = format!("{} cannot be read at offset {offset} of {end}", path.display());
        Err(Error::Io(io::Error::new(io::ErrorKind::InvalidData, what)))
    };
    if due != end {
        return unreadable(due);
    }
    for frame in frames {
        let mut offset = frame.payload;
        let mut records = Vec::with_capacity(frame.directory.len());
        let mut payloads = Vec::with_capacity(frame.directory.len());
        for record in frame.directory {
            if void_in.get(&record.stream_number).is_some_and(|void| frame.sequence <= *void) {
                offset += record.len;
                continue;
            }
            let mut bytes = vec![0; usize::try_from(record.len).unwrap_or(0)];
            let filled = storage::read_up_to(&**file, &mut bytes, offset)?;
            if filled < bytes.len() {
                return unreadable(offset);
            }
            offset += record.len;
            records.push(record);
            payloads.push(bytes);
        }
        hand_on(records, payloads)?;
    }
    Ok(())
}
