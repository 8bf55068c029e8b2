//! Which frames of the journal count, and what is lost: a decision over what scans found.
//!
//! ```text
//!  the older file       the newer file
//!  | 7 | 8 | 9 |        | 10 | 11 | 12 | torn |
//!                         first 10
//! ```
//!
//! The frames of one process are one run of sequences over the files, in the order of the generations.
//! It begins with the newest file whose `first` is 1: what stands in older files is of an earlier
//! process. Otherwise it begins with the oldest file's `first`: what was before it has been freed. A
//! file without a frame that is readable, though the process went on from it to the next one, has lost
//! at least the frame before that one's `first`.
//!
//! A frame counts if and only if it is one of the run and its directories are valid, and it is not
//! the torn one. The last frame found of the run is *torn* if and only if it is not whole: nothing
//! proves that it had been synced. Every sequence of the run below the last that was found is
//! proven, since a frame is written only when the one before it has been synced. So there
//!
//! - a frame that is not whole is *damaged*: its shares may be there, and have to be checked;
//! - one without directories is *lost*; its records are known if the frame behind it repeats them.
//!
//! A void takes effect wherever it stands: in a whole frame, a damaged or a lost one.
//!
//! What contradicts all this (frames out of order, two files of one generation) nobody writes; it does
//! not count, and is told as an unknown loss.

use std::collections::BTreeMap;

use super::Record;
use super::scan::{Found, FoundFrame};

/// What a scan found in a file.
#[derive(Debug, Clone)]
pub(crate) struct JournalFile {
    /// The generation of the file.
    pub(crate) generation: u64,
    /// The frames found, in their order.
    pub(crate) frames: Vec<FoundFrame>,
}

/// Whether a frame that counts is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// All of it.
    Whole,
    /// Its directories are; its shares have to be checked one by one.
    Damaged,
}

/// A frame that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedFrame {
    /// Which of the files holds it.
    pub(crate) file: usize,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// Its bytes, padding included.
    pub(crate) len: u64,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Whether it is there.
    pub(crate) status: Status,
}

/// A share that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which of the files holds it.
    pub(crate) file: usize,
    /// Where its bytes begin in the file.
    pub(crate) offset: u64,
    /// What it is.
    pub(crate) record: Record,
    /// The sequence of its frame.
    pub(crate) sequence: u64,
    /// `Damaged`: its bytes have to be checked, and may not be there.
    pub(crate) status: Status,
}

/// A share that is lost with its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// What it was.
    pub(crate) record: Record,
    /// The sequence of its frame.
    pub(crate) sequence: u64,
}

/// What the journal says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resolved {
    /// The frames that count, by their sequence.
    pub(crate) frames: Vec<CountedFrame>,
    /// The shares to write to segments, in the order of the journal. None is voided.
    pub(crate) shares: Vec<Share>,
    /// The shares that are lost, in the order of the journal. None is voided.
    pub(crate) lost: Vec<Lost>,
    /// At least how many frames are lost of which nobody knows what was in them.
    pub(crate) unknown: u64,
    /// The streams of which records before some place are void, in rising order.
    pub(crate) voided: Vec<u64>,
}

/// What counts in these files, which are in the order of their generations, each with a valid header.
pub(crate) fn resolve(files: &[JournalFile]) -> Resolved {
    let mut resolver = Resolver::default();
    let run = resolver.run(files);
    for (nth, &(file, frame)) in run.iter().enumerate() {
        resolver.frame(file, frame, nth + 1 == run.len());
    }
    resolver.finish()
}

/// One record of the run, in order.
struct Item {
    sequence: u64,
    record: Record,
    /// Where its bytes are, if they are not lost with their frame.
    place: Option<(usize, u64, Status)>,
}

#[derive(Default)]
struct Resolver {
    /// The next sequence of the run.
    due: u64,
    items: Vec<Item>,
    resolved: Resolved,
}

impl Resolver {
    /// The frames of the run, by rising sequence.
    fn run<'a>(&mut self, files: &'a [JournalFile]) -> Vec<(usize, &'a FoundFrame)> {
        let first_of = |file: &JournalFile| file.frames.first().map(|frame| frame.first);
        let start = files.iter().rposition(|file| first_of(file) == Some(1)).unwrap_or(0);
        let begins_lost = files.get(start).is_some_and(|file| file.frames.is_empty());
        let mut run: Vec<(usize, &FoundFrame)> = Vec::new();
        for (nth, file) in files.iter().enumerate().skip(start) {
            let Some(first) = first_of(file) else {
                continue;
            };
            if run.is_empty() {
                self.due = first;
                if begins_lost {
                    // At least the frame before; all of them only if it is the very first.
                    self.due = first.saturating_sub(1);
                    self.add_unknown(u64::from(first > 2));
                }
            }
            let is_next = nth == 0
                || files.get(nth - 1).is_none_or(|before| before.generation < file.generation);
            for frame in &file.frames {
                let rises = run.last().is_none_or(|(_, last)| last.sequence < frame.sequence);
                if is_next && rises && frame.first == first && frame.sequence >= first {
                    run.push((nth, frame));
                } else {
                    self.add_unknown(1);
                }
            }
        }
        run
    }

    fn frame(&mut self, file: usize, frame: &FoundFrame, is_last: bool) {
        if frame.found == Found::Header && !is_last {
            // As if it were missing, so that what the next one repeats is all that is known.
            return;
        }
        let sequence = frame.sequence;
        let mut missing = sequence.saturating_sub(self.due);
        if missing > 0 && frame.found != Found::Header {
            missing -= 1;
            for &record in &frame.previous {
                self.items.push(Item { sequence: sequence - 1, record, place: None });
            }
        }
        self.add_unknown(missing);
        self.due = sequence.saturating_add(1);

        let status = match frame.found {
            Found::Whole => Status::Whole,
            _ if is_last => return,
            _ => Status::Damaged,
        };
        let FoundFrame { offset, len, .. } = *frame;
        self.resolved.frames.push(CountedFrame { file, offset, len, sequence, status });
        let mut at = frame.payload;
        for &record in &frame.directory {
            self.items.push(Item { sequence, record, place: Some((file, at, status)) });
            at = at.saturating_add(record.len);
        }
    }

    fn add_unknown(&mut self, frames: u64) {
        self.resolved.unknown = self.resolved.unknown.saturating_add(frames);
    }

    fn finish(self) -> Resolved {
        let Self { items, mut resolved, .. } = self;
        let mut void_at = BTreeMap::new();
        for (nth, item) in items.iter().enumerate().filter(|(_, item)| item.record.is_void()) {
            void_at.insert(item.record.stream_number, nth);
        }
        for (nth, item) in items.into_iter().enumerate() {
            let Item { sequence, record, place } = item;
            if void_at.get(&record.stream_number).is_some_and(|void| nth <= *void) {
                continue;
            }
            match place {
                Some((file, offset, status)) => {
                    resolved.shares.push(Share { file, offset, record, sequence, status });
                }
                None => resolved.lost.push(Lost { record, sequence }),
            }
        }
        resolved.voided = void_at.into_keys().collect();
        resolved
    }
}

#[cfg(test)]
mod tests;
