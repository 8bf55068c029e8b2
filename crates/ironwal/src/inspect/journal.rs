//! The journal: whether everything that counts in it has its place, or is lost.

use std::collections::BTreeMap;
use std::io;

use super::finding::{Finding, Problem};
use super::stream::Summary;
use super::verify::Look;
use crate::error::{Error, Result};
use crate::format::header::FirstKept;
use crate::format::journal::header::{JOURNAL_SLOT_LEN, JournalHeader};
use crate::format::journal::resolve::Status;
use crate::format::journal::scan::Found;
use crate::format::{BLOCK_LEN, Unreadable};
use crate::log::recover::journal::{self, FoundJournal};
use crate::log::recover::replay::Fate;
use crate::storage::{self, OpenMode};

/// What the journal says.
pub(super) struct Judged {
    found: FoundJournal,
    /// Frames that are damaged, whatever is lost by that.
    pub(super) damaged: Vec<Finding>,
}

/// Looks at the files of the journal; `None`: they cannot be read.
pub(super) fn check(
    look: &Look<'_>,
    is_open: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<Judged>> {
    let mut is_readable = true;
    for nth in 0..journal::NAMES.len() {
        is_readable &= check_header(look, nth, findings)?;
    }
    if !is_readable {
        return Ok(None);
    }
    let found = match journal::read(&**look.storage, look.root, look.salt) {
        Ok(found) => found,
        // Somebody has begun a file anew since.
        Err(Error::Corruption(_)) if is_open => return Ok(None),
        Err(error) => return Err(error),
    };
    if is_open {
        return Ok(Some(Judged { found, damaged: Vec::new() }));
    }
    if found.unknown() > 0 {
        let path = found.files.first().map(|file| file.path.clone()).unwrap_or_default();
        findings.push(Finding::new(Problem::JournalFramesLost(found.unknown()), path));
    }
    let mut damaged = Vec::new();
    let frames = found.resolved.frames.iter();
    for frame in frames.filter(|frame| frame.status == Status::Damaged) {
        let path = found.files[frame.file].path.clone();
        damaged.push(Finding::new(Problem::JournalFrame, path).at(frame.offset, frame.len));
    }
    findings.extend(torn_tail(&found));
    Ok(Some(Judged { found, damaged }))
}

/// The slots of one file; returns whether it can be read.
fn check_header(look: &Look<'_>, nth: usize, findings: &mut Vec<Finding>) -> Result<bool> {
    let path = journal::path_of(look.root, nth);
    let file = match look.storage.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    let slot_at = |offset: u64| -> io::Result<_> {
        let mut bytes = [0; JOURNAL_SLOT_LEN];
        let filled = storage::read_up_to(&*file, &mut bytes, offset)?;
        Ok(JournalHeader::decode(&bytes[..filled], look.salt))
    };
    let slots = [slot_at(0)?, slot_at(BLOCK_LEN)?];
    match JournalHeader::merge(slots[0], slots[1]) {
        Err(Unreadable::Newer(version)) => {
            findings.push(Finding::new(Problem::NewerVersion(version), path));
            return Ok(false);
        }
        Err(_) => {
            let finding = Finding::new(Problem::JournalHeaderLost, path);
            findings.push(finding.at(0, file.len()?));
            return Ok(false);
        }
        Ok(_) => {}
    }
    for (slot, offset) in slots.iter().zip([0, BLOCK_LEN]) {
        if slot.is_err() {
            let finding = Finding::new(Problem::JournalSlot, &path);
            findings.push(finding.at(offset, JOURNAL_SLOT_LEN as u64));
        }
    }
    Ok(true)
}

/// The last frame, if it was being written.
fn torn_tail(found: &FoundJournal) -> Option<Finding> {
    let file = found.files.iter().rfind(|file| !file.frames.is_empty())?;
    let last = file.frames.last().filter(|last| last.found != Found::Whole)?;
    let finding = Finding::new(Problem::JournalTornTail, &file.path);
    Some(finding.at(last.offset, last.len.min(file.len.saturating_sub(last.offset))))
}

/// Looks whether everything in the journal has a segment that it belongs into.
pub(super) fn check_homes(
    judged: &Judged,
    summaries: &[Summary],
    deleted: &[u64],
    findings: &mut Vec<Finding>,
) {
    let found = &judged.found;
    let by_number: BTreeMap<u64, &Summary> =
        summaries.iter().filter_map(|it| Some((it.number?, it))).collect();
    let path = found.files.last().map(|file| file.path.clone()).unwrap_or_default();
    for (number, segments) in found.pieces() {
        let Some(stream) = by_number.get(&number) else {
            if !deleted.contains(&number) {
                let problem = Problem::JournalStreamMissing(number);
                findings.push(Finding::new(problem, &path));
            }
            continue;
        };
        for (first_id, pieces) in segments {
            let records = || pieces.values().map(|piece| piece.record.ids());
            let end = records().next_back().map_or(0, |ids| ids.end);
            let start = records().next().map_or(end, |ids| ids.start);
            let has_header = stream.segments.get(&first_id).copied();
            let first_kept = FirstKept { id: stream.first_kept, ..FirstKept::default() };
            if Fate::of(has_header, end, first_kept) == Fate::Homeless {
                let finding = Finding::new(Problem::JournalSegmentMissing, &path);
                findings.push(finding.of(&stream.name, start..end));
            }
        }
    }
}
