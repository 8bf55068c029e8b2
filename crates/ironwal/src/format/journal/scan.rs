//! Finds the frames in a journal file, whatever its bytes are.
//!
//! A walk from the first frame on: behind a place with a valid header it goes on where that frame
//! ends, even if the rest of it is damaged; otherwise with the next block. Nothing in a frame's length
//! is looked at again, so a scan reads what the file has, and once; it keeps directories only.
//!
//! Nothing says where the frames end: what stands behind the last one is of older generations, or
//! zeros, and has no valid header. So a scan goes on to the end of the file.

use super::frame::{self, JOURNAL_FRAME_HEADER_LEN, JournalFrame};
use super::header::JournalHeader;
use super::{JOURNAL_HEADER_LEN, Record};
use crate::format::BLOCK_LEN;
use crate::format::checksum::{self, JournalSeed};
use crate::format::scan::Source;

/// How much of a payload is read at a time, in bytes.
const PAYLOAD_WINDOW_LEN: u64 = 256 * 1024;

/// How much of a frame is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The frame is valid.
    Whole,
    /// Its directories are; of the payload, shares may be.
    Directory,
    /// Only its header is: it was written, and nobody knows what was in it.
    Header,
}

/// A frame with a valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundFrame {
    /// Where it begins in the file, in bytes.
    pub(crate) offset: u64,
    /// Its bytes, padding included. If it is not whole, the file may end before.
    pub(crate) len: u64,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// The sequence of the first frame in the file.
    pub(crate) first: u64,
    /// How much of it is there. Without directories, both are empty here.
    pub(crate) found: Found,
    /// What its shares are.
    pub(crate) directory: Vec<Record>,
    /// What those of the frame before it are.
    pub(crate) previous: Vec<Record>,
    /// Where its payload begins in the file, in bytes.
    pub(crate) payload: u64,
}

/// The frames of the file with this header, in their order; nothing from `limit` on is looked at.
pub(crate) fn scan<S: Source>(
    source: &mut S,
    header: JournalHeader,
    limit: u64,
) -> Result<Vec<FoundFrame>, S::Error> {
    scan_from(source, header, JOURNAL_HEADER_LEN, limit)
}

/// The same from a place on where a frame begins or ends.
pub(crate) fn scan_from<S: Source>(
    source: &mut S,
    header: JournalHeader,
    start: u64,
    limit: u64,
) -> Result<Vec<FoundFrame>, S::Error> {
    let seed = JournalSeed::new(header.salt, header.generation);
    let mut frames = Vec::new();
    let mut offset = start;
    while offset < limit {
        let window = upto(limit, source.window(offset, JOURNAL_FRAME_HEADER_LEN)?, offset);
        if window.len() < JOURNAL_FRAME_HEADER_LEN {
            break;
        }
        let next = match frame::peek(window, offset, seed, header.generation) {
            None => offset.checked_add(BLOCK_LEN),
            Some(frame) => {
                frames.push(read(source, &frame, limit)?);
                offset.checked_add(frame.len())
            }
        };
        let Some(next) = next else {
            break;
        };
        offset = next;
    }
    Ok(frames)
}

/// What is behind a valid header.
fn read<S: Source>(
    source: &mut S,
    frame: &JournalFrame,
    limit: u64,
) -> Result<FoundFrame, S::Error> {
    let payload = frame.offset.saturating_add(frame.head_len());
    let mut found = FoundFrame {
        offset: frame.offset,
        len: frame.len(),
        sequence: frame.sequence,
        first: frame.first,
        found: Found::Header,
        directory: Vec::new(),
        previous: Vec::new(),
        payload,
    };
    let Some(head_len) = usize::try_from(frame.head_len()).ok().filter(|_| payload <= limit) else {
        return Ok(found);
    };
    let head = source.window(frame.offset, head_len)?;
    if let Some((directory, previous)) = frame::directories(frame, head) {
        let whole = payload_checksum(source, frame, payload, limit)? == Some(frame.checksum);
        found.found = if whole { Found::Whole } else { Found::Directory };
        (found.directory, found.previous) = (directory, previous);
    }
    Ok(found)
}

/// The checksum of a frame with these directories and the payload that is there; `None` if the file
/// ends before.
fn payload_checksum<S: Source>(
    source: &mut S,
    frame: &JournalFrame,
    start: u64,
    limit: u64,
) -> Result<Option<u32>, S::Error> {
    let mut checksum = frame.head;
    let (mut at, end) = (start, start.saturating_add(frame.payload_len));
    if end > limit {
        return Ok(None);
    }
    while at < end {
        let want = usize::try_from(PAYLOAD_WINDOW_LEN.min(end - at)).unwrap_or(usize::MAX);
        let window = source.window(at, want)?;
        if window.len() < want {
            return Ok(None);
        }
        let window = upto(end, window, at);
        checksum = checksum::append(checksum, window);
        at = at.saturating_add(window.len() as u64);
    }
    Ok(Some(checksum))
}

/// What of a window that begins at `offset` stands before `end`.
fn upto(end: u64, window: &[u8], offset: u64) -> &[u8] {
    let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    &window[..window.len().min(left)]
}

#[cfg(test)]
pub(super) mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::super::frame::{JournalPlace, encode};
    use super::*;
    use crate::format::fields::put;
    use crate::format::scan::SliceSource;

    pub(in super::super) const HEADER: JournalHeader =
        JournalHeader { salt: 9, generation: 5, is_closed: false };

    pub(in super::super) fn share(stream_number: u64, index: u32, len: u64) -> Record {
        Record { stream_number, segment: 0, index, count: 1, offset: 8192, len }
    }

    /// A journal file in memory.
    #[derive(Clone)]
    pub(in super::super) struct Journal {
        pub(in super::super) bytes: Vec<u8>,
        pub(in super::super) offsets: Vec<usize>,
        first: u64,
        next: u64,
        previous: Vec<Record>,
        header: JournalHeader,
    }

    impl Journal {
        pub(in super::super) fn new(header: JournalHeader) -> Self {
            let mut bytes = vec![0; 8192];
            put(&mut bytes, 0, header.encode());
            put(&mut bytes, 4096, header.encode());
            Self { bytes, offsets: vec![], first: 1, next: 1, previous: vec![], header }
        }

        /// The file that the process goes on in.
        pub(in super::super) fn after(&self, generation: u64) -> Self {
            let mut journal = Self::new(JournalHeader { generation, ..self.header });
            (journal.first, journal.next) = (self.next, self.next);
            journal.previous.clone_from(&self.previous);
            journal
        }

        /// Adds a frame; the bytes of a share are its stream's number.
        pub(in super::super) fn frame(mut self, records: &[Record]) -> Self {
            let place = JournalPlace {
                salt: self.header.salt,
                generation: self.header.generation,
                offset: self.bytes.len() as u64,
                sequence: self.next,
                first: self.first,
            };
            self.offsets.push(self.bytes.len());
            let parts: Vec<Vec<u8>> = records
                .iter()
                .map(|record| vec![record.stream_number as u8; record.len as usize])
                .collect();
            let payload = parts.iter().map(Vec::as_slice);
            encode(&mut self.bytes, place, records, &self.previous, payload).unwrap();
            self.next += 1;
            self.previous = records.to_vec();
            self
        }

        pub(in super::super) fn scan(&self) -> Vec<FoundFrame> {
            let limit = self.bytes.len() as u64;
            let Ok(frames) = scan(&mut SliceSource(&self.bytes), self.header, limit);
            frames
        }

        /// The sequences in short: `1W` a whole frame, `2D` its directories only, `3H` not even those.
        fn short(&self) -> String {
            short(&self.scan())
        }
    }

    fn short(frames: &[FoundFrame]) -> String {
        let letter = |found| match found {
            Found::Whole => "W",
            Found::Directory => "D",
            Found::Header => "H",
        };
        let frames: Vec<String> = frames
            .iter()
            .map(|frame| format!("{}{}", frame.sequence, letter(frame.found)))
            .collect();
        frames.join(" ")
    }

    fn three() -> Journal {
        Journal::new(HEADER)
            .frame(&[share(1, 0, 24), share(2, 0, 5000)])
            .frame(&[share(1, 1, 32), Record::void(2)])
            .frame(&[share(3, 0, 24)])
    }

    #[test]
    fn whole_frames_in_their_order() {
        assert!(Journal::new(HEADER).scan().is_empty());
        let journal = three();
        let frames = journal.scan();
        assert_eq!(short(&frames), "1W 2W 3W");
        assert_eq!(frames[0].directory, [share(1, 0, 24), share(2, 0, 5000)]);
        assert_eq!(frames[1].previous, frames[0].directory);
        assert_eq!((frames[0].offset, frames[0].len, frames[1].offset), (8192, 8192, 16_384));
        assert_eq!(frames[0].payload, 8192 + 64 + 64);
        let payload = &journal.bytes[8192 + 128..];
        assert!(payload[..24] == [1; 24] && payload[24..5024] == [2; 5000]);

        let mut journal = journal.after(6);
        journal = journal.frame(&[share(3, 1, 24)]).frame(&[share(3, 2, 24)]);
        let frames = journal.scan();
        assert_eq!(short(&frames), "4W 5W");
        assert_eq!(frames[1].first, 4);
        assert_eq!(frames[0].previous, [share(3, 0, 24)]);
    }

    #[test]
    fn what_is_damaged_and_what_is_behind_it() {
        let directories = [2, 4, 3].map(|records| 32 * records);
        for (nth, directories) in directories.into_iter().enumerate() {
            let places = [
                (0, "D"),
                (4, "H"),
                (16, ""),
                (60, ""),
                (64, "H"),
                (63 + directories, "H"),
                (64 + directories, "D"),
            ];
            for (at, found) in places {
                let mut journal = three();
                let place = journal.offsets[nth] + at;
                journal.bytes[place] ^= 0x20;
                let mut expected = ["1W", "2W", "3W"].map(String::from).to_vec();
                expected[nth] = format!("{}{found}", nth + 1);
                expected.retain(|frame| frame.len() == 2);
                assert_eq!(journal.short(), expected.join(" "), "byte {at} of frame {nth}");
            }
        }
    }

    #[test]
    fn a_damaged_payload_leaves_directories() {
        let whole = three().scan();
        let mut journal = three();
        journal.bytes[8192 + 128 + 4000] ^= 1;
        let frames = journal.scan();
        assert_eq!(short(&frames), "1D 2W 3W");
        assert_eq!(frames[0].directory, whole[0].directory);
        assert_eq!(frames[1..], whole[1..]);
    }

    #[test]
    fn every_cut_is_survived() {
        let journal = three();
        for len in 0..journal.bytes.len() {
            let cut = &journal.bytes[..len];
            let [second, third] = [16_384, 20_480];
            let expected = match () {
                _ if len < 8192 + 64 => "",
                _ if len < 8192 + 64 + 64 => "1H",
                _ if len < 8192 + 64 + 64 + 5024 => "1D",
                _ if len < second + 64 => "1W",
                _ if len < second + 64 + 128 => "1W 2H",
                _ if len < second + 64 + 128 + 32 => "1W 2D",
                _ if len < third + 64 => "1W 2W",
                _ if len < third + 64 + 96 => "1W 2W 3H",
                _ if len < third + 64 + 96 + 24 => "1W 2W 3D",
                _ => "1W 2W 3W",
            };
            let Ok(frames) = scan(&mut SliceSource(cut), HEADER, u64::MAX);
            assert_eq!(short(&frames), expected, "{len} bytes");
            let Ok(frames) = scan(&mut SliceSource(&journal.bytes), HEADER, len as u64);
            assert_eq!(short(&frames), expected, "limit {len}");
        }
    }

    #[test]
    fn frames_of_an_older_generation_do_not_count() {
        let mut journal = three();
        journal.header.generation = 6;
        assert_eq!(journal.short(), "");
        // The next use of the file, on top of it.
        let next = Journal::new(journal.header).frame(&[share(1, 9, 24)]);
        journal.bytes[..next.bytes.len()].copy_from_slice(&next.bytes);
        assert_eq!(journal.short(), "1W");
        let mut frames_of_payloads = Journal::new(HEADER).frame(&[share(1, 0, 24)]);
        frames_of_payloads.bytes.extend_from_slice(&three().bytes[16_384..]);
        assert_eq!(frames_of_payloads.short(), "1W", "frames stand in their own place only");
    }

    /// Counts what it is asked for.
    struct Counting<'a>(&'a [u8], u64);

    impl Source for Counting<'_> {
        type Error = Infallible;

        fn window(&mut self, offset: u64, want: usize) -> Result<&[u8], Infallible> {
            self.1 += want as u64;
            let start = usize::try_from(offset).unwrap().min(self.0.len());
            Ok(&self.0[start..][..want.min(self.0.len() - start)])
        }
    }

    /// Every block claims to be a frame up to the end of the file, under a `check` that matches: none
    /// is looked at twice.
    #[test]
    fn a_file_full_of_headers_is_read_once() {
        const BLOCKS: u64 = 512;
        let long = Record { len: (BLOCKS - 2) * 4096, ..share(1, 0, 24) };
        let mut bytes = vec![0; 8192];
        for block in 0..BLOCKS {
            let (offset, sequence) = (8192 + 4096 * block, block + 1);
            let place = JournalPlace { salt: 9, generation: 5, offset, sequence, first: 1 };
            let previous = &[long][..usize::from(block > 0)];
            let mut frame = Vec::new();
            let payload = vec![0; long.len as usize];
            encode(&mut frame, place, &[long], previous, [&payload[..]]).unwrap();
            bytes.extend_from_slice(&frame[..4096]);
        }
        for spoiled in [0, 4, 64] {
            let mut bytes = bytes.clone();
            for block in bytes[8192..].chunks_mut(4096) {
                block[spoiled] ^= 1;
            }
            let mut source = Counting(&bytes, 0);
            let Ok(_) = scan(&mut source, HEADER, bytes.len() as u64);
            assert!(source.1 <= bytes.len() as u64 + 64, "{} bytes asked for", source.1);
        }
        for block in bytes[8192..].chunks_mut(4096) {
            block[60] ^= 1;
        }
        let mut source = Counting(&bytes, 0);
        let Ok(frames) = scan(&mut source, HEADER, bytes.len() as u64);
        assert!(frames.is_empty());
        assert_eq!(source.1, 64 * BLOCKS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            edits in prop::collection::vec(
                (0_usize..20_000, prop::collection::vec(any::<u8>(), 1..80)), 0..6),
            copies in prop::collection::vec((0_usize..7, 0_usize..7), 0..3),
            limit in 0_u64..30_000,
        ) {
            let mut journal = three();
            for (to, from) in copies {
                let from = from * 4096 % (journal.bytes.len() - 4096);
                let to = to * 4096 % (journal.bytes.len() - 4096);
                journal.bytes.copy_within(from..from + 4096, to);
            }
            for (at, edit) in edits {
                let end = (at + edit.len()).min(journal.bytes.len());
                journal.bytes[at.min(end)..end].copy_from_slice(&edit[..end.saturating_sub(at)]);
            }
            let mut source = Counting(&journal.bytes, 0);
            let Ok(frames) = scan(&mut source, HEADER, limit);
            prop_assert!(source.1 <= 2 * journal.bytes.len() as u64);
            let whole = three().scan();
            for frame in frames {
                let original = &whole[usize::try_from(frame.sequence - 1).unwrap()];
                prop_assert_eq!((frame.offset, frame.len), (original.offset, original.len));
                if frame.found != Found::Header {
                    prop_assert_eq!(&frame.directory, &original.directory);
                    prop_assert_eq!(&frame.previous, &original.previous);
                }
                if frame.found == Found::Whole {
                    prop_assert_eq!(&frame, original);
                }
            }
        }
    }
}
