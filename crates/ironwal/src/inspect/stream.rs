//! One stream: recovery's plan of it, put into words, and then every frame.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::checkpoints::is_record;
use super::finding::{Finding, Problem, Severity};
use super::root::Dir;
use super::verify::{Look, gone_is_empty, is_gone};
use crate::error::{Error, Result};
use crate::format::frame::Frame;
use crate::format::header::{HEADER_LEN, Proof, SLOT_LEN};
use crate::format::scan::{Gap, Scanner, Step};
use crate::format::seal::{POINT_LEN, SEAL_BYTES, Seal};
use crate::log::recover::found::Found;
use crate::log::recover::{Plan, is_temporary, plan_of};
use crate::segment::recovery::{Action, Header, Tail};
use crate::segment::source::FileSource;
use crate::segment::walk::extend_digest;
use crate::segment::{Damage, Decoded, first_id_of, path_of};
use crate::storage::{self, EntryKind, OpenMode};
use crate::sync::{in_parallel, yield_now};
use crate::wal::numbers::same_numbers;
use crate::wal::own::CHECKPOINTS;

/// How often a stream is looked at in which something looks like damage, or is gone, while a process
/// writes to it.
const LOOKS_MAX: u32 = 10;

/// What was found in a stream.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    pub(super) segments: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// `None`: no segment of ours is there.
    pub(super) summary: Option<Summary>,
}

/// What the journal needs to know of a stream.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) number: Option<u64>,
    pub(super) first_kept: u64,
    /// Whether each segment has a header.
    pub(super) segments: BTreeMap<u64, bool>,
}

/// Reads a stream to its end.
pub(super) fn check(look: &Look<'_>, dir: &Dir) -> Result<Checked> {
    let mut looks = 0;
    loop {
        looks += 1;
        let checked = check_once(look, dir);
        let is_odd = match &checked {
            Ok(checked) => checked.findings.iter().any(is_bad),
            Err(error) => is_gone(error) || matches!(error, Error::Corruption(_)),
        };
        if !is_odd || looks == LOOKS_MAX || !look.is_open()? {
            return checked;
        }
        // Something of it was pruned, cut off or written meanwhile.
        yield_now();
    }
}

fn is_bad(finding: &Finding) -> bool {
    finding.severity() <= Severity::Newer
}

fn check_once(look: &Look<'_>, dir: &Dir) -> Result<Checked> {
    let storage = &**look.storage;
    let mut checked = Checked::default();
    if let Some(view) = &look.view {
        view.refresh()?;
    }
    checked.findings = strangers(look, dir)?;
    let plan = match plan_of(storage, &dir.path, look.salt, look.view.as_ref()) {
        Err(Error::UnsupportedVersion { path, found, .. }) => {
            checked.findings.push(Finding::new(Problem::NewerVersion(found), path));
            return Ok(checked);
        }
        Err(error) if is_gone(&error) && gone_is_empty(storage.list(&dir.path))?.is_empty() => {
            return Ok(checked);
        }
        plan => plan?,
    };
    let Some(plan) = plan else {
        checked.findings.push(Finding::new(Problem::NoSegments, &dir.path));
        return Ok(checked);
    };
    checked.findings.extend(plan.doomed.iter().map(|path| Finding::new(Problem::Leftover, path)));
    let segments = Segment::all(&dir.name, &plan);
    checked.findings.extend(between(&segments));
    for read in in_parallel(&segments, look.threads, |segment| segment.check(look)) {
        let read = read?;
        checked.findings.extend(read.findings);
        checked.entries += read.entries;
        checked.segments += 1;
        checked.bytes += read.bytes;
    }
    checked.summary = Some(summary(dir, &plan));
    Ok(checked)
}

fn summary(dir: &Dir, plan: &Plan) -> Summary {
    let slot = plan.found.iter().find_map(|segment| segment.slot);
    let segments = plan.found.iter().map(|segment| (segment.first_id, segment.slot.is_some()));
    Summary {
        name: dir.name.clone(),
        dir: dir.path.clone(),
        number: slot.map(|(slot, _)| slot.constants.stream_number),
        first_kept: plan.first_kept.id,
        segments: segments.collect(),
    }
}

/// The directories of which another one has the same number: each but the first.
pub(super) fn copies(summaries: &[Summary]) -> Vec<Finding> {
    let numbered = summaries.iter().filter_map(|it| Some((it.number?, (&it.dir, &it.name))));
    let mut numbers: Vec<_> = numbered.collect();
    let same = same_numbers(&mut numbers);
    same.map(|(_, _, (dir, name))| Finding::new(Problem::StreamCopied, *dir).of(name, 0..0))
        .collect()
}

/// What does not belong into the directory of a stream.
fn strangers(look: &Look<'_>, dir: &Dir) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for entry in gone_is_empty(look.storage.list(&dir.path))? {
        let is_ours = entry.kind == EntryKind::File
            && (first_id_of(&entry.name).is_some() || is_temporary(&entry));
        if !is_ours {
            findings.push(Finding::new(Problem::Stranger, dir.path.join(&entry.name)));
        }
    }
    Ok(findings)
}

/// Whether it is there for readers once the log is open.
fn is_kept(action: Action) -> bool {
    action != Action::Delete
}

/// The ids that should be in a segment and are in none.
fn between(segments: &[Segment<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(first) = segments.first() else { return findings };
    let mut due = first.first_kept;
    let dir = first.found.path.parent().unwrap_or(&first.found.path);
    for segment in segments.iter().filter(|segment| is_kept(segment.action)) {
        let found = segment.found;
        if found.first_id > due {
            let finding = Finding::new(Problem::SegmentMissing, path_of(dir, due));
            findings.push(finding.of(segment.stream, due..found.first_id));
        }
        due = match found.header {
            // All ids up to the next one are told with it.
            Header::Lost => u64::MAX,
            _ if segment.is_from_before_cut => u64::MAX,
            _ => found.frames.end.next_id.max(found.first_id),
        };
        if segment.action == Action::CutStream {
            break;
        }
    }
    findings
}

/// A segment to read.
struct Segment<'a> {
    stream: &'a str,
    found: &'a Found,
    action: Action,
    /// Ids below this one are pruned.
    first_kept: u64,
    /// The id behind its last entry.
    next_id: u64,
    is_newest: bool,
    /// An earlier one ends with a torn tail that takes this one along.
    is_dropped: bool,
    /// Reads take nothing from it, for that may have been cut off.
    is_from_before_cut: bool,
}

/// What was found in it.
#[derive(Default)]
struct Read {
    findings: Vec<Finding>,
    entries: u64,
    bytes: u64,
}

impl<'a> Segment<'a> {
    fn all(stream: &'a str, plan: &'a Plan) -> Vec<Self> {
        let mut segments: Vec<Self> = Vec::new();
        let last = plan.actions.iter().rposition(|action| is_kept(*action));
        let mut is_dropped = false;
        for (nth, (found, &action)) in plan.found.iter().zip(&plan.actions).enumerate() {
            let later = || plan.found[nth + 1..].iter().zip(&plan.actions[nth + 1..]);
            let later = later().find(|(_, action)| is_kept(**action)).map(|(later, _)| later);
            let is_from_before_cut =
                later.is_some_and(|later| found.is_from_before_cut(action, later));
            let later = later.map(|later| later.first_id);
            let next_id = match found.header {
                Header::Whole if !is_from_before_cut => later
                    .map_or(found.frames.end.next_id, |later| found.frames.end.next_id.min(later)),
                _ => later.unwrap_or(u64::MAX),
            };
            let is_newest = last == Some(nth);
            segments.push(Self {
                stream,
                found,
                action,
                first_kept: plan.first_kept.id,
                next_id,
                is_newest,
                is_dropped,
                is_from_before_cut,
            });
            is_dropped |= action == Action::CutStream;
        }
        segments
    }

    fn finding(&self, problem: Problem) -> Finding {
        Finding::new(problem, &self.found.path).of(self.stream, 0..0)
    }

    /// Everything of it.
    fn check(&self, look: &Look<'_>) -> Result<Read> {
        let bytes = self.found.file_len;
        let mut read = Read { bytes, ..Read::default() };
        if self.action == Action::Delete {
            read.findings.push(self.finding(Problem::Leftover).at(0, bytes));
        } else if self.is_dropped {
            read.findings.push(self.finding(Problem::BehindTornTail).at(0, bytes));
        } else {
            self.check_header(&mut read);
            self.check_frames(look, &mut read)?;
            self.check_end(look, &mut read)?;
        }
        look.has_read(bytes);
        Ok(read)
    }

    fn check_header(&self, read: &mut Read) {
        let problem = match self.found.header {
            Header::Lost => Some(Problem::HeaderLost),
            _ => self.is_from_before_cut.then_some(Problem::BeforeCut),
        };
        if let Some(problem) = problem {
            let ids = self.found.first_id..self.next_id;
            let finding = Finding::new(problem, &self.found.path);
            read.findings.push(finding.at(0, self.found.file_len).of(self.stream, ids));
        }
        if self.found.header == Header::Lost {
            return;
        }
        for (is_bad, offset) in self.found.bad_slots.iter().zip([0, HEADER_LEN / 2]) {
            if *is_bad {
                read.findings.push(self.finding(Problem::Slot).at(offset, SLOT_LEN as u64));
            }
        }
    }

    /// Every frame, as those who read the stream meet it.
    fn check_frames(&self, look: &Look<'_>, read: &mut Read) -> Result<()> {
        let found = self.found;
        if found.slot.is_none() || self.is_from_before_cut {
            return Ok(());
        }
        let end = Proof { next_id: self.next_id, ..found.frames.end };
        let start = Proof::of_nothing(found.first_id);
        let (mut source, extent) = found.source(&**look.storage, start, end.synced_to, end)?;
        let mut scanner = Scanner::new(extent);
        let (mut digest, mut is_whole) = (0, true);
        loop {
            match scanner.step(&mut source)? {
                Step::Frame(frame) => {
                    digest = extend_digest(digest, frame.checksum);
                    self.check_frame(&mut source, &frame, read)?;
                }
                Step::Damaged(gap) => {
                    is_whole = false;
                    let len = scanner.offset().saturating_sub(gap.offset);
                    read.findings.push(self.of_gap(gap, len));
                }
                Step::Torn | Step::End => break,
            }
        }
        if scanner.next_id() < self.next_id {
            // Recovery knows of the next segment where this one ended, and not what was in between.
            is_whole = false;
            let finding = Finding::new(Problem::CutShort, &found.path).at(scanner.offset(), 0);
            let ids = scanner.next_id()..self.next_id;
            read.findings.push(self.of_kept(finding.of(self.stream, ids)));
        }
        let is_other = |seal: &Seal| seal.digest != digest;
        if is_whole
            && found.frames.tail == Tail::Sealed
            && found.seal.as_ref().is_some_and(is_other)
        {
            let ids = found.first_id..self.next_id;
            let finding = self.finding(Problem::Digest).at(HEADER_LEN, end.synced_to - HEADER_LEN);
            read.findings.push(finding.of(self.stream, ids));
        }
        Ok(())
    }

    /// What is in a frame of which the checksum matches.
    fn check_frame(&self, source: &mut FileSource, frame: &Frame, read: &mut Read) -> Result<()> {
        let found = self.found;
        match Decoded::read(source, frame, found.first_id) {
            Ok(Ok(decoded)) => {
                read.entries += self.kept_of(frame);
                read.findings.extend(self.check_records(&decoded, frame.offset));
            }
            Ok(Err(kind)) => {
                let (ids, offset) = (frame.ids(found.first_id), frame.offset);
                let damage = Damage { ids, file: found.path.clone(), offset, kind };
                let finding = Finding::of_damage(self.stream, damage, frame.len());
                read.findings.push(self.of_kept(finding));
            }
            // More cannot be said without the feature `compression`.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                read.entries += self.kept_of(frame);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// How many entries of a frame are not pruned.
    fn kept_of(&self, frame: &Frame) -> u64 {
        let ids = frame.ids(self.found.first_id);
        ids.end.saturating_sub(ids.start.max(self.first_kept))
    }

    /// What a scan found to be missing.
    fn of_gap(&self, gap: Gap, len: u64) -> Finding {
        let offset = gap.offset;
        let damage = Damage::of_gap(gap, &self.found.path);
        let mut finding = Finding::of_damage(self.stream, damage, len);
        if finding.problem == Problem::MarkedLost && self.found.lost.contains(&offset) {
            finding.problem = Problem::LostWithJournal;
        }
        self.of_kept(finding)
    }

    /// Nobody misses entries that have been pruned.
    fn of_kept(&self, mut finding: Finding) -> Finding {
        if finding.ids.end <= self.first_kept {
            finding.problem = Problem::PrunedDamaged;
        }
        finding
    }

    /// The entries of the log of checkpoints are records.
    fn check_records(&self, decoded: &Decoded, offset: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.stream != CHECKPOINTS {
            return findings;
        }
        for id in decoded.ids.clone() {
            if decoded.entry(id).is_some_and(|entry| !is_record(&entry)) {
                let finding = self.finding(Problem::NoCheckpoint).at(offset, 0);
                findings.push(finding.of(self.stream, id..id + 1));
            }
        }
        findings
    }

    /// What stands behind the frames; and that what recovery calls damage is called that.
    fn check_end(&self, look: &Look<'_>, read: &mut Read) -> Result<()> {
        let found = self.found;
        let (end, len) = (found.frames.end.synced_to, found.file_len);
        match (found.frames.tail, &found.seal) {
            (Tail::Torn, _) => {
                let finding = self.finding(Problem::TornTail).at(end, len.saturating_sub(end));
                read.findings.push(finding);
            }
            (Tail::Sealed, Some(seal)) => {
                let points_len = u64::from(seal.points) * POINT_LEN;
                if !self.has_points(look, points_len)? {
                    read.findings.push(self.finding(Problem::SparseIndex).at(end, points_len));
                }
            }
            (_, None)
                if !self.is_newest
                    && found.header == Header::Whole
                    && self.action != Action::Damaged =>
            {
                let at = len.saturating_sub(SEAL_BYTES).max(end);
                read.findings.push(self.finding(Problem::NoSeal).at(at, len.saturating_sub(at)));
            }
            _ => {}
        }
        let is_told = |finding: &Finding| finding.severity() <= Severity::Newer;
        if self.action == Action::Damaged && !read.findings.iter().any(is_told) {
            read.findings.extend(self.refused());
        }
        Ok(())
    }

    /// What is wrong with a segment of which all entries are there, and which recovery calls damaged.
    fn refused(&self) -> Option<Finding> {
        let found = self.found;
        let (end, next_id) = (found.frames.end.synced_to, found.frames.end.next_id);
        let finding = match &found.frames.damage {
            Some(damage) => Finding::of_damage(self.stream, damage.clone(), 0),
            None if next_id > self.next_id => {
                let finding = Finding::new(Problem::SegmentsOverlap, &found.path);
                finding.at(end, 0).of(self.stream, self.next_id..next_id)
            }
            None if found.file_len < found.frames.proven_end => {
                self.finding(Problem::CutShort).at(found.file_len, 0)
            }
            // That the next one does not join is told with what is missing between.
            None if found.frames.tail == Tail::Sealed => return None,
            None => self.finding(Problem::SealLost).at(end, found.file_len.saturating_sub(end)),
        };
        Some(finding)
    }

    fn has_points(&self, look: &Look<'_>, points_len: u64) -> Result<bool> {
        let Some(seal) = &self.found.seal else { return Ok(false) };
        let file = look.storage.open(&self.found.path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(points_len).unwrap_or(0)];
        let filled = storage::read_up_to(&*file, &mut bytes, seal.end)?;
        Ok(seal.decode_points(&bytes[..filled]).is_ok())
    }
}
