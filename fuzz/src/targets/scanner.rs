//! The scanner of segments, on files that a program builds and damages.
//!
//! The input is a little program. Its first part builds a segment: frames as the library writes
//! them, frames with any fields but valid checksums, zeros, raw bytes. Its second part damages it:
//! bits flipped, ranges zeroed, overwritten or copied elsewhere, the end cut off. Then the scanner
//! walks over what is left, and
//!
//! - it comes to an end, and stays there;
//! - offsets and ids never go back, ids have no gap: a frame or damage begins with the id that is due;
//! - every frame lies inside the limit, does not overlap another, and is byte for byte one that was
//!   built at that offset;
//! - the answers do not depend on how many bytes the source hands out at a time;
//! - if only the library's frames were built: no intact frame below a proven end is missed, no id
//!   below it is passed over in silence, and nothing that an intact frame proves is taken for a
//!   torn tail.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::input::{Input, Sparing};
use crate::format::checksum::{self, SegmentSeed};
use crate::format::fields::put;
use crate::format::frame::{self, FRAME_HEADER_LEN, Fault, Frame, Place};
use crate::format::header::HEADER_LEN;
use crate::format::scan::{Extent, Scanner, SliceSource, Source, Step};

pub(super) fn run(input: &[u8]) {
    // Another input, another log: otherwise the fuzzer learns to forge checksums of this one.
    scan_what_it_builds(&mut Input(input), u64::from(checksum::of(input)));
}

/// A segment in memory.
struct Built {
    seed: SegmentSeed,
    first_id: u64,
    bytes: Vec<u8>,
    /// What was built at which offset.
    frames: BTreeMap<u64, Vec<u8>>,
    /// How many entries it has, and what frames may say they were synced up to.
    entries: u32,
    boundaries: Vec<u64>,
    /// Whether there is nothing but frames as the library writes them, and zeros behind them.
    honest: bool,
    /// Where the last of them ends.
    end: u64,
}

impl Built {
    fn new(first_id: u64, salt: u64) -> Self {
        Self {
            seed: SegmentSeed::new(salt, 3, first_id),
            first_id,
            bytes: vec![0; HEADER_LEN as usize],
            frames: BTreeMap::new(),
            entries: 0,
            boundaries: vec![HEADER_LEN],
            honest: true,
            end: HEADER_LEN,
        }
    }

    fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A frame as the library writes it.
    fn frame(&mut self, input: &mut Input<'_>) {
        let lens: Vec<usize> = (0..=input.u8() % 8).map(|_| entry_len(input.u8())).collect();
        let entries: Vec<Vec<u8>> = lens
            .iter()
            .map(|len| {
                let mut entry = input.bytes((*len).min(100)).to_vec();
                entry.resize(*len, 0);
                entry
            })
            .collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let synced = usize::from(input.u8()) % self.boundaries.len();
        let offset = self.offset();
        let place = Place {
            seed: self.seed,
            offset,
            index: self.entries,
            synced_to: self.boundaries[synced],
        };
        // Behind something else a frame is where the library would never put it.
        self.honest &= offset == self.end;
        let start = self.bytes.len();
        frame::encode(&mut self.bytes, place, &entries, None).expect("small numbers");
        self.frames.insert(offset, self.bytes[start..].to_vec());
        self.entries += entries.len() as u32;
        self.boundaries.push(self.offset());
        self.end = self.offset();
    }

    /// A loss frame as the library writes it.
    fn loss_frame(&mut self, input: &mut Input<'_>) {
        let count = u32::from(input.u8()) + 1;
        let len = FRAME_HEADER_LEN as u64 + 8 * u64::from(input.u8());
        let synced_to = self.boundaries[usize::from(input.u8()) % self.boundaries.len()];
        let offset = self.offset();
        let place = Place { seed: self.seed, offset, index: self.entries, synced_to };
        self.honest &= offset == self.end;
        let start = self.bytes.len();
        frame::encode_loss(&mut self.bytes, place, count, len).expect("small numbers");
        self.frames.insert(offset, self.bytes[start..].to_vec());
        self.entries += count;
        self.boundaries.push(self.offset());
        self.end = self.offset();
    }

    /// A frame with any fields, and checksums that match.
    fn forged_frame(&mut self, input: &mut Input<'_>) {
        self.honest = false;
        let offset = self.offset();
        let payload = input.u8() % 64;
        let length = if input.u8().is_multiple_of(4) { input.u32() } else { u32::from(payload) };
        let mut bytes = vec![0; FRAME_HEADER_LEN];
        put(&mut bytes, 4, length.to_le_bytes());
        let index = if input.u8().is_multiple_of(4) { input.u32() } else { self.entries };
        put(&mut bytes, 8, index.to_le_bytes());
        put(&mut bytes, 12, u32::from(input.u16()).to_le_bytes());
        put(&mut bytes, 16, (u32::from(input.u16()) / 4).to_le_bytes());
        let flags = [0, 1, 2, 6][usize::from(input.u8().saturating_sub(6)).min(3)];
        put(&mut bytes, 20, [1 + u8::from(index % 64 == 63), flags]);
        let check = checksum::append(self.seed.at(offset), &bytes[4..22]).to_le_bytes();
        put(&mut bytes, 22, [check[2], check[3]]);
        bytes.extend_from_slice(input.bytes(usize::from(payload)));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let whole = checksum::append(self.seed.at(offset), &bytes[4..]);
        put(&mut bytes, 0, whole.to_le_bytes());
        self.bytes.extend_from_slice(&bytes);
        self.frames.insert(offset, bytes);
    }

    fn build(input: &mut Input<'_>, salt: u64) -> Self {
        let first_id = [0, 1000, u64::MAX - 40][usize::from(input.u8() % 3)];
        let mut built = Self::new(first_id, salt);
        for _ in 0..input.u8() % 24 {
            match input.u8() % 16 {
                0..=11 => built.frame(input),
                12 => built.forged_frame(input),
                14 => built.loss_frame(input),
                13 => {
                    let len = usize::from(input.u16() % 10_000);
                    built.bytes.resize(built.bytes.len() + len, 0);
                }
                _ => {
                    built.honest = false;
                    let len = usize::from(input.u8());
                    built.bytes.extend_from_slice(input.bytes(len));
                }
            }
        }
        built
    }

    /// Damages it behind the header.
    fn damage(&mut self, input: &mut Input<'_>) {
        let header = HEADER_LEN as usize;
        while !input.is_empty() && self.bytes.len() > header {
            let frames_len = self.bytes.len() - header;
            let at = header + usize::from(input.u16()) % frames_len;
            let len = usize::from(input.u8()).min(self.bytes.len() - at);
            match input.u8() % 6 {
                0 | 1 => self.bytes[at] ^= 1 << (len % 8),
                2 => self.bytes[at..at + len].fill(0),
                3 => {
                    let new = input.bytes(len);
                    self.bytes[at..at + new.len()].copy_from_slice(new);
                }
                4 => {
                    let from =
                        header + usize::from(input.u16()) % (self.bytes.len() - len - header + 1);
                    self.bytes.copy_within(from..from + len, at);
                }
                _ => self.bytes.truncate(at),
            }
        }
    }

    /// The frames that are still what they were, and lie below `limit`.
    fn intact(&self, limit: u64) -> impl Iterator<Item = Frame> {
        self.frames.iter().filter_map(move |(offset, frame)| {
            let start = usize::try_from(*offset).ok()?;
            let there = self.bytes.get(start..start + frame.len())?;
            let whole = there == frame && offset + frame.len() as u64 <= limit;
            whole.then(|| frame::peek(there, *offset, limit, self.seed).ok())?
        })
    }
}

fn scan_what_it_builds(input: &mut Input<'_>, salt: u64) {
    let mut built = Built::build(input, salt);
    // Mostly the truth: everything or a part had been synced.
    let (proven_end, proven_id, truthful) = match input.u8() % 4 {
        0 => (HEADER_LEN, built.first_id, true),
        1 => (built.end, built.first_id.saturating_add(u64::from(built.entries)), true),
        2 => {
            let nth = usize::from(input.u8()) % built.boundaries.len();
            let end = built.boundaries[nth];
            let before = built.intact(u64::MAX).filter(|frame| frame.offset < end).last();
            (end, before.map_or(built.first_id, |frame| frame.ids(built.first_id).end), true)
        }
        _ => {
            let end = HEADER_LEN + u64::from(input.u16()) * 8;
            (end, built.first_id.saturating_add(u64::from(input.u16())), false)
        }
    };
    let limit_cut = if input.u8().is_multiple_of(4) { u64::from(input.u16()) } else { 0 };
    built.damage(input);
    // A file may be shorter, or longer, than its reader thinks.
    let limit =
        (built.offset() + u64::from(input.u8() % 2)).saturating_sub(limit_cut).max(HEADER_LEN);

    let extent = Extent {
        seed: built.seed,
        first_id: built.first_id,
        offset: HEADER_LEN,
        next_id: built.first_id,
        limit,
        proven_end,
        proven_id,
    };
    let (steps, end) = scan(&built, extent, &mut SliceSource(&built.bytes));
    let sparing = scan(&built, extent, &mut Sparing(&built.bytes));
    assert_eq!((&steps, end), (&sparing.0, sparing.1), "the answers depend on the windows");
    if built.honest && truthful && built.first_id < u64::MAX - 40 {
        check_nothing_missed(&built, extent, &steps, end);
    }
}

/// Every answer up to the last one and the offset where it ended, held to what holds for any bytes.
fn scan<S: Source<Error = Infallible>>(
    built: &Built,
    extent: Extent,
    source: &mut S,
) -> (Vec<Step>, u64) {
    let mut scanner = Scanner::new(extent);
    let mut steps = Vec::new();
    let mut offset = extent.offset;
    let mut next_id = extent.next_id;
    loop {
        let Ok(step) = scanner.step(source);
        assert!(scanner.offset() >= offset, "back from {offset} to {}", scanner.offset());
        assert!(scanner.next_id() >= next_id, "back from id {next_id} to {}", scanner.next_id());
        match &step {
            Step::Frame(frame) => {
                assert!(frame.offset >= offset && frame.end() <= extent.limit, "{frame:?}");
                assert_eq!(frame.ids(extent.first_id).start, next_id, "{frame:?}");
                assert_eq!(scanner.offset(), frame.end());
                assert!(!frame.lost, "{frame:?}");
                check_frame(built, frame);
            }
            Step::Damaged(gap) => {
                assert!(gap.offset >= offset && !gap.ids.is_empty(), "{gap:?}");
                assert!(gap.fault != Fault::Lost || built.frames.contains_key(&gap.offset));
                assert_eq!(gap.ids, next_id..scanner.next_id());
            }
            Step::Torn | Step::End => {
                assert_eq!(scanner.next_id(), next_id, "ids passed over at the end");
                let Ok(again) = scanner.step(source);
                assert_eq!(again, step, "it does not stay at the end");
                steps.push(step);
                return (steps, scanner.offset());
            }
        }
        offset = scanner.offset();
        next_id = scanner.next_id();
        steps.push(step);
        assert!(steps.len() <= built.bytes.len() / 8 + 2, "no end");
    }
}

/// Mostly short; now and then so long that a batch is checked in pieces.
fn entry_len(byte: u8) -> usize {
    match byte {
        255 => 70_000,
        240.. => usize::from(byte - 239) * 400,
        _ => usize::from(byte % 100),
    }
}

/// It is what was built there.
fn check_frame(built: &Built, frame: &Frame) {
    let start = usize::try_from(frame.offset).unwrap();
    let end = usize::try_from(frame.end()).unwrap();
    let there = &built.bytes[start..end];
    assert_eq!(
        built.frames.get(&frame.offset).map(Vec::as_slice),
        Some(there),
        "invented: {frame:?}"
    );
    assert_eq!(frame::verify(there, frame, built.seed), Ok(()));
    let stored = &there[FRAME_HEADER_LEN..][..frame.payload_len as usize];
    let payload = match frame.compressed {
        true => frame::unpack(frame, stored).unwrap_or_default(),
        false => stored.to_vec(),
    };
    let payload = &payload[..];
    let layout = match frame.compressed {
        true => frame::raw_layout(frame, payload),
        false => frame.layout(),
    };
    // What was decompressed, or was not, may not even have the ends.
    let Some(layout) = layout else {
        assert!(frame.compressed, "there is no layout: {frame:?}");
        return;
    };
    let whole = layout.is_whole(payload);
    for nth in 0..frame.count.min(100) {
        if let Some(range) = layout.entry(payload, nth) {
            assert!(range.end <= payload.len());
        } else {
            assert!(!whole, "an entry is missing: {frame:?}");
        }
    }
    assert_eq!(layout.entry(payload, frame.count), None);
}

fn check_nothing_missed(built: &Built, extent: Extent, steps: &[Step], end: u64) {
    let mut next_id = extent.first_id;
    let mut yielded = Vec::new();
    for step in steps {
        match step {
            Step::Frame(frame) => {
                next_id = frame.ids(extent.first_id).end;
                yielded.push(frame.offset);
            }
            Step::Damaged(gap) => {
                next_id = gap.ids.end;
                if gap.fault == Fault::Lost {
                    yielded.push(gap.offset);
                }
            }
            Step::Torn | Step::End => {}
        }
    }
    assert!(
        next_id >= extent.proven_id,
        "ids from {next_id} to {} are lost in silence",
        extent.proven_id
    );
    for frame in built.intact(extent.limit) {
        if frame.offset < extent.proven_end {
            assert!(yielded.contains(&frame.offset), "missed {frame:?}");
        }
        assert!(
            frame.synced_to <= end || yielded.contains(&frame.offset),
            "not a torn tail: {frame:?}"
        );
    }
}
