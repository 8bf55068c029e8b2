//! What a crash may lose at one point, piece by piece, and the disk that a choice leaves behind.
//!
//! A piece is a sector, a length or a change of directories that is not durable. Each has options:
//! 0 is what the program made of it last, 1 and above are what a crash may make of it.

use std::collections::BTreeSet;

use ironwal::storage::SECTOR_LEN;

use crate::image::{Image, InodeId, SECTOR_LEN_U64, Sector, same, sector_bytes, sector_from};
use crate::model::Model;
use crate::tracker::{Length, Tracker, Unsynced, Version};

/// How many versions of one sector are told apart, beside the durable one: the newest ones.
const VERSIONS_MAX: usize = 3;

/// How many lengths of one file are tried, the newest and the durable one included.
const LENGTHS_MAX: usize = 8;

/// At how many places a sector is torn.
const TEARS: usize = 3;

#[derive(Debug)]
pub(crate) enum Piece {
    /// One change of directories, by its number: kept or lost.
    Entry { change: usize },
    /// All of them, where they are kept in order: how many of the last are lost.
    Entries { count: usize },
    /// The length of a file: the newest first, then the durable one.
    Length { inode: InodeId, lengths: Vec<u64> },
    /// A sector: the newest content first, then the durable one, then those between. Behind these
    /// come torn ones.
    Sector { inode: InodeId, index: u64, contents: Vec<Sector>, torn: Vec<Sector> },
}

impl Piece {
    /// How many options there are without torn ones.
    pub(crate) fn plain(&self) -> usize {
        match self {
            Self::Entry { .. } => 2,
            Self::Entries { count } => count + 1,
            Self::Length { lengths, .. } => lengths.len(),
            Self::Sector { contents, .. } => contents.len(),
        }
    }

    /// How many options there are.
    pub(crate) fn options(&self) -> usize {
        match self {
            Self::Sector { torn, .. } => self.plain() + torn.len(),
            _ => self.plain(),
        }
    }

    /// The option in which all of it is lost.
    pub(crate) fn lost(&self) -> usize {
        match self {
            Self::Entries { count } => *count,
            _ => 1,
        }
    }
}

/// The pieces at one point, in the order of the calls that made them.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) list: Vec<Piece>,
}

/// One option for each piece.
pub(crate) type Picks = Vec<usize>;

impl Pieces {
    pub(crate) fn of(tracker: &Tracker) -> Self {
        let model = tracker.model();
        let mut list = Vec::new();
        if model.is_ordered() {
            if let Some(last) = tracker.changes.last() {
                list.push((last.call, Piece::Entries { count: tracker.changes.len() }));
            }
        } else {
            let entries = tracker.changes.iter().enumerate();
            list.extend(entries.map(|(change, it)| (it.call, Piece::Entry { change })));
        }
        for (inode, unsynced) in &tracker.unsynced {
            if tracker.may_be_there(*inode) {
                list.extend(length_piece(tracker, *inode, unsynced));
                for (index, versions) in &unsynced.sectors {
                    list.extend(sector_piece(tracker, *inode, *index, versions));
                }
            }
        }
        list.sort_by_key(|(call, _)| *call);
        Self { list: list.into_iter().map(|(_, piece)| piece).collect() }
    }

    /// Makes of a choice one that the model allows, by keeping what cannot be lost without something
    /// else that is kept.
    pub(crate) fn settle(&self, tracker: &Tracker, picks: &mut Picks) {
        let model = tracker.model();
        if !model.is_ordered() {
            return;
        }
        let kept_changes = self.list.iter().zip(&*picks).find_map(|(piece, pick)| match piece {
            Piece::Entries { count } => Some(count - pick),
            _ => None,
        });
        let kept_changes = &tracker.changes[..kept_changes.unwrap_or(0)];
        for (inode, unsynced) in &tracker.unsynced {
            let forced = match model {
                // What was written before a rename over another file comes with it.
                Model::Ext4 => {
                    let renames =
                        kept_changes.iter().filter(|it| it.replaces && it.inode == *inode);
                    renames.map(|change| change.call).max()
                }
                _ => None,
            };
            self.settle_file(*inode, unsynced, forced.unwrap_or(0), picks);
        }
    }

    /// Keeps what calls before `forced` wrote, and what a length needs that reaches over it.
    fn settle_file(&self, inode: InodeId, file: &Unsynced, forced: usize, picks: &mut Picks) {
        let is_ours = |piece: &(usize, &Piece)| {
            matches!(piece.1, Piece::Length { inode: it, .. } | Piece::Sector { inode: it, .. }
                if *it == inode)
        };
        let ours: Vec<_> = self.list.iter().enumerate().filter(is_ours).collect();
        let mut len = None;
        for (number, piece) in &ours {
            if let Piece::Length { lengths, .. } = piece {
                if file.lengths.first().is_some_and(|first| first.call <= forced) {
                    picks[*number] = 0;
                }
                len = lengths.get(picks[*number]).copied();
            }
        }
        let gained = |start: u64, end: u64| {
            file.lengths.iter().any(|it| {
                it.written_from
                    .is_some_and(|from| from < end.min(len.unwrap_or(u64::MAX)) && it.len > start)
            }) && len.is_none_or(|len| len > start)
        };
        for (number, piece) in ours {
            if let Piece::Sector { index, .. } = piece {
                let start = index * SECTOR_LEN_U64;
                let was_forced = file.sectors.get(index).is_some_and(|versions| {
                    versions.first().is_some_and(|version| version.call <= forced)
                });
                if was_forced || gained(start, start + SECTOR_LEN_U64) {
                    picks[number] = 0;
                }
            }
        }
    }

    /// The disk that this choice leaves behind.
    pub(crate) fn build(&self, tracker: &Tracker, picks: &[usize]) -> Image {
        let mut image = tracker.durable.clone();
        for (piece, pick) in self.list.iter().zip(picks) {
            match piece {
                Piece::Entry { change } if *pick == 0 => {
                    if let Some(change) = tracker.changes.get(*change) {
                        change.apply(&mut image);
                    }
                }
                Piece::Entries { count } => {
                    let kept = count.saturating_sub(*pick);
                    tracker.changes.iter().take(kept).for_each(|it| it.apply(&mut image));
                }
                _ => {}
            }
        }
        image.forget_unreachable();
        for (piece, pick) in self.list.iter().zip(picks) {
            if let Piece::Sector { inode, index, contents, torn } = piece {
                let sector = contents.get(*pick).or_else(|| torn.get(*pick - contents.len()));
                let sector = sector.cloned().flatten();
                image.change(*inode, |body| body.set_sector(*index, sector));
            }
        }
        for (piece, pick) in self.list.iter().zip(picks) {
            if let Piece::Length { inode, lengths } = piece
                && let Some(len) = lengths.get(*pick)
            {
                image.change(*inode, |body| body.len = *len);
            }
        }
        // Behind the length that is kept, nothing is a part of the file.
        for inode in tracker.unsynced.keys() {
            image.change(*inode, |body| body.cut(body.len));
        }
        image
    }

    /// What a choice makes of one piece, in words.
    pub(crate) fn describe(&self, tracker: &Tracker, number: usize, pick: usize) -> String {
        let change = |number: usize| {
            let call = tracker.changes.get(number).map_or(0, |change| change.call);
            format!("the change of call {call}")
        };
        let path = |inode: &InodeId| tracker.live.path(*inode).display().to_string();
        match &self.list[number] {
            Piece::Entry { change: it } if pick == 0 => format!("kept: {}", change(*it)),
            Piece::Entry { change: it } => format!("lost: {}", change(*it)),
            Piece::Entries { count } => {
                let lost = (count - pick..*count).map(change).collect::<Vec<_>>();
                format!("kept: {} changes of directories; lost: {}", count - pick, lost.join(", "))
            }
            Piece::Length { inode, lengths } => {
                let state = if pick == 0 { "kept" } else { "lost" };
                let (is, newest) = (lengths[pick], lengths[0]);
                format!("{state}: length {newest} of {}, which is {is}", path(inode))
            }
            Piece::Sector { inode, index, contents, .. } => {
                let state = match pick {
                    0 => "kept",
                    1 => "lost",
                    _ if pick < contents.len() => "an older version of",
                    _ => "torn",
                };
                let offset = index * SECTOR_LEN_U64;
                format!("{state}: the sector at {offset} of {}", path(inode))
            }
        }
    }
}

fn length_piece(tracker: &Tracker, inode: InodeId, file: &Unsynced) -> Option<(usize, Piece)> {
    let last = file.lengths.last()?;
    let durable = tracker.durable.file(inode).ok()?.len;
    let mut lengths = vec![last.len];
    let mut add = |len| {
        if !lengths.contains(&len) && lengths.len() < LENGTHS_MAX {
            lengths.push(len);
        }
    };
    add(durable);
    for Length { len, written_from, .. } in file.lengths.iter().rev() {
        add(*len);
        // A write that is done in part: whole sectors of it, and some bytes.
        if let Some(from) = written_from {
            add(((from + len) / 2 / SECTOR_LEN_U64 * SECTOR_LEN_U64).max(*from));
            add(from + (len - from) / 2);
        }
    }
    (lengths.len() > 1).then_some((last.call, Piece::Length { inode, lengths }))
}

fn sector_piece(
    tracker: &Tracker,
    inode: InodeId,
    index: u64,
    versions: &[Version],
) -> Option<(usize, Piece)> {
    let last = versions.last()?;
    let durable = tracker.durable.file(inode).ok()?.sector(index);
    let mut contents = vec![last.sector.clone()];
    if !same(&last.sector, &durable) || versions.len() > 1 {
        contents.push(durable.clone());
    }
    for version in versions.iter().rev().skip(1).take(VERSIONS_MAX - 1) {
        if !contents.iter().any(|it| same(it, &version.sector)) {
            contents.push(version.sector.clone());
        }
    }
    if contents.len() < 2 {
        return None;
    }
    let mut torn = Vec::new();
    tear(&durable, &last.sector, &mut torn);
    if let [.., before, _] = versions {
        tear(&before.sector, &last.sector, &mut torn);
    }
    torn.retain(|it| !contents.iter().any(|content| same(content, it)));
    Some((last.call, Piece::Sector { inode, index, contents, torn }))
}

/// What a sector may hold when the power goes while it is written: the first bytes new and the others
/// old, or the other way round. Bytes that are not changed keep their value.
fn tear(old: &Sector, new: &Sector, torn: &mut Vec<Sector>) {
    let (old, new) = (sector_bytes(old), sector_bytes(new));
    let differs = |at: &usize| old[*at] != new[*at];
    let (Some(first), Some(last)) = ((0..SECTOR_LEN).find(differs), (0..SECTOR_LEN).rfind(differs))
    else {
        return;
    };
    let places: [usize; TEARS] = [first + 1, usize::midpoint(first, last) + 1, last];
    for at in BTreeSet::from(places) {
        if at > first && at <= last {
            for (start, end) in [(&new, &old), (&old, &new)] {
                let mut mixed = *end;
                mixed[..at].copy_from_slice(&start[..at]);
                torn.push(sector_from(mixed));
            }
        }
    }
}

/// How many choices there are of plain options; `None` if they are too many to count.
pub(crate) fn plain_choices(pieces: &[Piece]) -> Option<usize> {
    pieces.iter().try_fold(1_usize, |product, piece| product.checked_mul(piece.plain()))
}

/// The plain choice with this number.
pub(crate) fn nth_choice(pieces: &[Piece], mut number: usize) -> Picks {
    let digit = |piece: &Piece| {
        let pick = number % piece.plain();
        number /= piece.plain();
        pick
    };
    pieces.iter().map(digit).collect()
}
