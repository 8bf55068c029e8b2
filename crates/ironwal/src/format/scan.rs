//! Walks the frames of a segment, whatever its bytes are.
//!
//! At every place the answer is one of four: a frame; damage, with the ids that are lost and the
//! place to go on; a torn tail; the end.
//!
//! A place that holds no valid frame is *damaged* if and only if it lies below a proven end: one
//! that the caller brings (from a slot, a successor, or because it wrote the bytes itself), or
//! one that any frame behind it in the segment records in `synced`. Otherwise, with nothing but
//! zeros up to the end, it is the *end*, and if not, *torn*. A valid loss frame with the ids that are
//! due is damage wherever it stands.

use std::ops::Range;

use super::MAX_FRAME_LEN;
use super::checksum::SegmentSeed;
use super::frame::{self, FRAME_HEADER_LEN, Fault, Frame};
use super::header::HEADER_LEN;

/// How often searches may read as many bytes as the scan has, for frames that turn out to be none.
const SEARCH_PASSES_MAX: u64 = 8;

/// How much a search asks its source for at a time, in bytes.
const SEARCH_WINDOW_LEN: usize = 64 * 1024;

/// Where a scanner gets its bytes.
pub(crate) trait Source {
    /// Why it may fail to.
    type Error;

    /// The bytes from `offset` on: at least `want` of them, or fewer if the file ends before.
    fn window(&mut self, offset: u64, want: usize) -> Result<&[u8], Self::Error>;
}

/// Bytes in memory, as if they stood at the start of a file.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) struct SliceSource<'a>(pub(crate) &'a [u8]);

impl Source for SliceSource<'_> {
    type Error = std::convert::Infallible;

    fn window(&mut self, offset: u64, _want: usize) -> Result<&[u8], Self::Error> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.0.get(start..).unwrap_or_default())
    }
}

/// Which part of a segment is scanned, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The seed of the segment's checksums.
    pub(crate) seed: SegmentSeed,
    /// The id of the segment's first entry.
    pub(crate) first_id: u64,
    /// A place where a frame begins, or the end of the frames.
    pub(crate) offset: u64,
    /// The id of the first entry of that frame.
    pub(crate) next_id: u64,
    /// Where the bytes end.
    pub(crate) limit: u64,
    /// Everything below this offset has been durable.
    pub(crate) proven_end: u64,
    /// The id behind the last entry below `proven_end`, as the caller knows it.
    pub(crate) proven_id: u64,
}

/// Damage: bytes that were durable and are not a frame any more, or never came out of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// The ids that are lost.
    pub(crate) ids: Range<u64>,
    /// What is wrong there.
    pub(crate) fault: Fault,
}

/// The answer at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A valid frame with the ids that are due.
    Frame(Frame),
    /// Damage; the scan goes on behind it.
    Damaged(Gap),
    /// A tail that was never proven durable and is not whole; the scan is over.
    Torn,
    /// Nothing more; the scan is over.
    End,
}

/// The walk.
#[derive(Debug, Clone)]
pub(crate) struct Scanner {
    extent: Extent,
    /// What frames behind damage, found by a search, say had been synced.
    proven_ahead: u64,
    /// How many more bytes of frames searches may read. A file that is full of headers, each of
    /// which promises a long frame, would otherwise take quadratic time.
    search_budget: u64,
}

/// What a search behind an invalid place found.
struct Found {
    /// The next valid frame.
    next: Option<Frame>,
    /// Whether that frame or a later one proves that the invalid place had been durable.
    proves: bool,
    /// Whether there is nothing but zeros up to the limit.
    zeros: bool,
}

impl Scanner {
    /// A scanner at the start of `extent`.
    pub(crate) fn new(extent: Extent) -> Self {
        let len = extent.limit.saturating_sub(extent.offset);
        let search_budget = len.saturating_mul(SEARCH_PASSES_MAX).max(MAX_FRAME_LEN);
        Self { extent, proven_ahead: 0, search_budget }
    }

    /// Where the next frame is looked for; after `Torn` and `End`, where the frames end.
    pub(crate) fn offset(&self) -> u64 {
        self.extent.offset
    }

    /// The next id that is due.
    pub(crate) fn next_id(&self) -> u64 {
        self.extent.next_id
    }

    /// Up to where the segment is proven durable, as far as seen.
    pub(crate) fn proven_end(&self) -> u64 {
        self.extent.proven_end
    }

    /// Moves the end: readers of a growing segment know of more committed frames.
    pub(crate) fn extend(&mut self, end: u64, next_id: u64) {
        self.extent.limit = end;
        self.extent.proven_end = end;
        self.extent.proven_id = next_id;
    }

    /// The answer at the present place, moving behind it. After `Torn` or `End` it stays.
    pub(crate) fn step<S: Source>(&mut self, source: &mut S) -> Result<Step, S::Error> {
        loop {
            let at = self.extent.offset;
            let fault = match self.read(source, at)? {
                Ok(frame) => {
                    let ids = frame.ids(self.extent.first_id);
                    if ids.start == self.extent.next_id {
                        self.pass(&frame);
                        if !frame.lost {
                            return Ok(Step::Frame(frame));
                        }
                        if ids.is_empty() {
                            continue;
                        }
                        return Ok(Step::Damaged(Gap { offset: at, ids, fault: Fault::Lost }));
                    }
                    Fault::Header
                }
                Err(fault) => fault,
            };

            let below = at < self.extent.proven_end.max(self.proven_ahead);
            let found = self.search(source, at, below)?;
            if !below && !found.proves {
                return Ok(if found.zeros { Step::End } else { Step::Torn });
            }
            let (resume, next_id) = self.behind(at, found.next.as_ref());
            let ids = self.extent.next_id..next_id;
            self.extent.offset = resume;
            self.extent.next_id = next_id;
            if !ids.is_empty() {
                return Ok(Step::Damaged(Gap { offset: at, ids, fault }));
            }
            if resume <= at {
                return Ok(Step::End);
            }
        }
    }

    /// The next frame, if all of it is in `window`, which begins where it does, and nothing is wrong
    /// with it: what [`Scanner::step`] would say. Nothing moves until it is [passed](Scanner::pass).
    #[inline]
    pub(crate) fn at_hand(&self, window: &[u8]) -> Option<Frame> {
        let Extent { seed, first_id, offset, next_id, limit, .. } = self.extent;
        let frame = frame::whole(window, offset, limit, seed)?;
        let is_due = !frame.lost && frame.ids(first_id).start == next_id;
        is_due.then_some(frame)
    }

    /// Moves behind a frame that stands where the scanner does.
    #[inline]
    pub(crate) fn pass(&mut self, frame: &Frame) {
        self.extent.offset = frame.end();
        self.extent.next_id = frame.ids(self.extent.first_id).end;
        self.extent.proven_end = self.extent.proven_end.max(frame.synced_to);
    }

    /// The frame that holds `id`, as its header says; nothing has moved. The payloads of those before it
    /// are not looked at: that the frame is whole, in its place, and has the id, says enough.
    ///
    /// `id` is not below the next one that is due. `None` if what stands there is not one frame after
    /// another up to it. [`Scanner::step`] says what it is.
    pub(crate) fn find<S: Source>(
        &self,
        source: &mut S,
        id: u64,
    ) -> Result<Option<Frame>, S::Error> {
        let Extent { seed, first_id, mut offset, mut next_id, limit, .. } = self.extent;
        loop {
            let window = source.window(offset, FRAME_HEADER_LEN)?;
            let Ok(frame) = frame::peek(window, offset, limit, seed) else { return Ok(None) };
            let ids = frame.ids(first_id);
            if frame.lost || ids.start != next_id {
                return Ok(None);
            }
            if id < ids.end {
                return Ok(Some(frame));
            }
            (offset, next_id) = (frame.end(), ids.end);
        }
    }

    /// The frame that begins at `offset`, as [`Scanner::find`] has found it, verified, moving behind it.
    /// `None`, and nothing has moved, if it is not whole.
    pub(crate) fn take<S: Source>(
        &mut self,
        source: &mut S,
        offset: u64,
    ) -> Result<Option<Frame>, S::Error> {
        let frame = self.read(source, offset)?.ok();
        if let Some(frame) = &frame {
            self.pass(frame);
        }
        Ok(frame)
    }

    /// Where to go on behind damage at `at`, and with which id.
    ///
    /// A proven end ahead is a boundary between frames; one that frames behind us recorded is not
    /// ahead, for no frame is synced before it is written.
    fn behind(&self, at: u64, next: Option<&Frame>) -> (u64, u64) {
        let Extent { first_id, next_id, limit, proven_end, proven_id, .. } = self.extent;
        match next {
            Some(frame) if frame.offset < proven_end || proven_end <= at => {
                (frame.offset, frame.ids(first_id).start)
            }
            _ => (proven_end.min(limit), proven_id.max(next_id)),
        }
    }

    /// The frame at `offset`, verified.
    fn read<S: Source>(
        &self,
        source: &mut S,
        offset: u64,
    ) -> Result<Result<Frame, Fault>, S::Error> {
        if offset >= self.extent.limit {
            return Ok(Err(Fault::Short));
        }
        let window = source.window(offset, FRAME_HEADER_LEN)?;
        // Mostly all of it has been read by now.
        if let Some(frame) = frame::whole(window, offset, self.extent.limit, self.extent.seed) {
            return Ok(Ok(frame));
        }
        let frame = match frame::peek(window, offset, self.extent.limit, self.extent.seed) {
            Ok(frame) => frame,
            Err(fault) => return Ok(Err(fault)),
        };
        let Ok(len) = usize::try_from(frame.len()) else {
            return Ok(Err(Fault::Short));
        };
        let bytes = source.window(offset, len)?;
        Ok(frame::verify(bytes, &frame, self.extent.seed).map(|()| frame))
    }

    /// Looks behind the invalid place `at` for the next valid frame and, unless `below` says that
    /// damage is certain, for a frame that proves it.
    fn search<S: Source>(
        &mut self,
        source: &mut S,
        at: u64,
        below: bool,
    ) -> Result<Found, S::Error> {
        let mut found = Found { next: None, proves: false, zeros: true };
        let mut due_id = self.extent.next_id;
        let mut offset = at.max(HEADER_LEN);
        while offset < self.extent.limit {
            let left = usize::try_from(self.extent.limit - offset).unwrap_or(usize::MAX);
            let window = source.window(offset, SEARCH_WINDOW_LEN.min(left))?;
            let window = &window[..window.len().min(left)];
            if window.is_empty() {
                break;
            }
            let zeros = leading_zeros(window);
            if zeros > 0 {
                // A frame's checksum may end in zeros, so stay on the grid of frames.
                let skipped = if zeros == window.len() { zeros } else { zeros / 8 * 8 };
                if skipped > 0 {
                    offset += skipped as u64;
                    continue;
                }
            }
            found.zeros = false;
            let candidate = self.candidate(window, offset, due_id);
            offset = match candidate {
                Err(next) => next,
                Ok((candidate, len)) if len > self.search_budget => candidate + 8,
                Ok((candidate, len)) => match self.read(source, candidate)? {
                    Err(_) => {
                        self.search_budget -= len;
                        candidate + 8
                    }
                    Ok(frame) => {
                        let end = frame.end();
                        due_id = frame.ids(self.extent.first_id).end;
                        self.proven_ahead = self.proven_ahead.max(frame.synced_to);
                        found.proves |= frame.synced_to > at;
                        found.next.get_or_insert(frame);
                        if below || found.proves {
                            return Ok(found);
                        }
                        end
                    }
                },
            };
        }
        Ok(found)
    }

    /// The first place in `window` that has the header of a frame with ids from `due_id` on, with
    /// the length that it claims; or else where to go on.
    fn candidate(&self, window: &[u8], offset: u64, due_id: u64) -> Result<(u64, u64), u64> {
        let mut skipped = 0;
        while skipped == 0 || skipped + FRAME_HEADER_LEN <= window.len() {
            let place = offset + skipped as u64;
            let rest = window.get(skipped..).unwrap_or_default();
            if let Ok(frame) = frame::peek(rest, place, self.extent.limit, self.extent.seed)
                && frame.ids(self.extent.first_id).start >= due_id
            {
                return Ok((place, frame.len()));
            }
            skipped += 8;
        }
        Err(offset + skipped as u64)
    }
}

/// How many bytes at the start are zero.
fn leading_zeros(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = words.iter().position(|word| *word != [0; 8]).unwrap_or(words.len()) * 8;
    whole + bytes[whole..].iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::frame::{Place, encode, encode_loss};

    const FIRST_ID: u64 = 1000;
    const HEADER: usize = HEADER_LEN as usize;

    fn seed() -> SegmentSeed {
        SegmentSeed::new(1, 2, FIRST_ID)
    }

    /// A segment in memory, and where its frames begin.
    struct Segment {
        bytes: Vec<u8>,
        offsets: Vec<u64>,
        next_index: u32,
    }

    impl Segment {
        fn new() -> Self {
            Self { bytes: vec![0; HEADER], offsets: Vec::new(), next_index: 0 }
        }

        /// Adds a frame that says that the segment is synced up to the start of frame `synced`.
        fn frame(mut self, entries: &[&[u8]], synced: usize) -> Self {
            let offset = self.bytes.len() as u64;
            let synced_to = match synced {
                0 => HEADER_LEN,
                nth => self.offsets.get(nth).copied().unwrap_or(offset),
            };
            let place = Place { seed: seed(), offset, index: self.next_index, synced_to };
            encode(&mut self.bytes, place, entries, None).unwrap();
            self.offsets.push(offset);
            self.next_index += entries.len() as u32;
            self
        }

        /// Adds a loss frame.
        fn loss(mut self, count: u32, len: u64) -> Self {
            let offset = self.bytes.len() as u64;
            let index = self.next_index;
            let place = Place { seed: seed(), offset, index, synced_to: HEADER_LEN };
            encode_loss(&mut self.bytes, place, count, len).unwrap();
            self.offsets.push(offset);
            self.next_index += count;
            self
        }

        fn zeros(mut self, len: usize) -> Self {
            self.bytes.resize(self.bytes.len() + len, 0);
            self
        }

        fn extent(&self) -> Extent {
            Extent {
                seed: seed(),
                first_id: FIRST_ID,
                offset: HEADER_LEN,
                next_id: FIRST_ID,
                limit: self.bytes.len() as u64,
                proven_end: HEADER_LEN,
                proven_id: FIRST_ID,
            }
        }

        fn scan(&self) -> String {
            scan(&self.bytes, self.extent())
        }
    }

    /// The answers in short: `F1000+2` a frame with two entries, `D1002+1` damage, `L` a loss frame, then `T` or `E`
    /// with the end as an offset behind the header.
    fn scan(bytes: &[u8], extent: Extent) -> String {
        let mut scanner = Scanner::new(extent);
        let mut source = SliceSource(bytes);
        let mut answers = Vec::new();
        loop {
            let Ok(step) = scanner.step(&mut source);
            let last = match step {
                Step::Frame(frame) => {
                    answers.push(format!("F{}+{}", frame.ids(FIRST_ID).start, frame.count));
                    continue;
                }
                Step::Damaged(gap) => {
                    let count = gap.ids.end - gap.ids.start;
                    let letter = if gap.fault == Fault::Lost { 'L' } else { 'D' };
                    answers.push(format!("{letter}{}+{count}", gap.ids.start));
                    continue;
                }
                Step::Torn => "T",
                Step::End => "E",
            };
            answers.push(format!("{last}{}", scanner.offset().saturating_sub(HEADER_LEN)));
            return answers.join(" ");
        }
    }

    fn three() -> Segment {
        Segment::new().frame(&[b"a"], 0).frame(&[b"b", b"c"], 0).frame(&[b"d"], 1)
    }

    #[test]
    fn whole_frames_then_the_end() {
        assert_eq!(Segment::new().scan(), "E0");
        assert_eq!(Segment::new().zeros(100).scan(), "E0");
        assert_eq!(three().scan(), "F1000+1 F1001+2 F1003+1 E96");
        assert_eq!(three().zeros(5000).scan(), "F1000+1 F1001+2 F1003+1 E96");
    }

    #[test]
    fn a_bad_last_frame_is_torn() {
        let mut segment = three();
        let last = segment.offsets[2] as usize;
        segment.bytes[last + 25] ^= 1;
        assert_eq!(segment.scan(), "F1000+1 F1001+2 T64");
        segment.bytes.truncate(last + 10);
        assert_eq!(segment.scan(), "F1000+1 F1001+2 T64");
    }

    #[test]
    fn a_bad_frame_that_a_later_one_proves_is_damage() {
        // The third frame says that the first was synced, and nothing of the second.
        let mut segment = three();
        let first = segment.offsets[0] as usize;
        for flipped in 0..32 {
            segment.bytes[first + flipped] ^= 0x10;
            assert_eq!(segment.scan(), "D1000+1 F1001+2 F1003+1 E96", "byte {flipped}");
            segment.bytes[first + flipped] ^= 0x10;
        }
        let second = segment.offsets[1] as usize;
        segment.bytes[second + 30] ^= 1;
        assert_eq!(segment.scan(), "F1000+1 T32");
    }

    #[test]
    fn zeros_in_the_middle_are_judged_the_same_way() {
        let mut segment = three();
        segment.bytes[HEADER..HEADER + 32].fill(0);
        assert_eq!(segment.scan(), "D1000+1 F1001+2 F1003+1 E96");
        let mut segment = three();
        segment.bytes[HEADER + 32..HEADER + 64].fill(0);
        assert_eq!(segment.scan(), "F1000+1 T32");
    }

    #[test]
    fn a_proof_from_outside_makes_damage_of_what_is_below() {
        let segment = three();
        let mut extent = segment.extent();
        extent.proven_end = segment.offsets[2];
        extent.proven_id = 1003;
        let mut bytes = segment.bytes.clone();
        bytes[HEADER + 40] ^= 1;
        assert_eq!(scan(&bytes, extent), "F1000+1 D1001+2 F1003+1 E96");
        bytes[HEADER + 24..].fill(0);
        assert_eq!(scan(&bytes, extent), "D1000+3 E64");
        bytes.truncate(HEADER + 50);
        extent.limit = bytes.len() as u64;
        assert_eq!(scan(&bytes, extent), "D1000+3 E50");
        extent.limit = 100;
        bytes.truncate(100);
        assert_eq!(scan(&bytes, extent), "D1000+3 E0");
    }

    #[test]
    fn a_frame_in_a_payload_or_out_of_its_place_is_none() {
        let inner = three().bytes;
        let mut segment = Segment::new().frame(&[&inner], 0).frame(&[b"x"], 0);
        assert_eq!(segment.scan(), "F1000+1 F1001+1 E8344");
        segment.bytes[HEADER] ^= 1;
        assert_eq!(segment.scan(), "T0", "frames of the payload do not count");
        let mut moved = Segment::new().frame(&[b"a"], 0).frame(&[b"b", b"c"], 0);
        moved.bytes.copy_within(HEADER + 32..HEADER + 64, HEADER);
        assert_eq!(moved.scan(), "T0");
    }

    #[test]
    fn ids_that_jump_are_a_gap() {
        let mut segment = Segment::new().frame(&[b"a"], 0);
        segment.next_index += 5;
        let segment = segment.frame(&[b"b"], 1);
        assert_eq!(segment.scan(), "F1000+1 T32");
        let mut extent = segment.extent();
        extent.proven_end = segment.bytes.len() as u64;
        extent.proven_id = 1007;
        assert_eq!(scan(&segment.bytes, extent), "F1000+1 D1001+5 F1006+1 E64");
    }

    /// What `find` and `take` say of each id: the offset of its frame behind the header, `-` for nothing.
    fn find(segment: &Segment, count: u64) -> String {
        let found = |id: u64| {
            let mut scanner = Scanner::new(segment.extent());
            let mut source = SliceSource(&segment.bytes);
            let Ok(found) = scanner.find(&mut source, FIRST_ID + id);
            let whole = found.map(|frame| scanner.take(&mut source, frame.offset));
            match whole.and_then(|Ok(frame)| frame) {
                Some(frame) => {
                    let behind = (frame.end(), frame.ids(FIRST_ID).end);
                    assert_eq!((scanner.offset(), scanner.next_id()), behind);
                    (frame.offset - HEADER_LEN).to_string()
                }
                None => {
                    assert_eq!((scanner.offset(), scanner.next_id()), (HEADER_LEN, FIRST_ID));
                    "-".to_string()
                }
            }
        };
        (0..count).map(found).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_id_is_found_behind_headers_that_lead_to_it() {
        assert_eq!(find(&Segment::new(), 1), "-");
        assert_eq!(find(&three().zeros(100), 5), "0 32 32 64 -");
        let mut segment = three();
        segment.bytes[HEADER + 25] ^= 1;
        assert_eq!(find(&segment, 4), "- 32 32 64", "the payload of another frame is damaged");
        segment.bytes[HEADER + 32 + 9] ^= 1;
        assert_eq!(find(&segment, 4), "- - - -", "a header on the way is damaged");
        let lost = Segment::new().frame(&[b"a"], 0).loss(2, 48).frame(&[b"b"], 0);
        assert_eq!(find(&lost, 4), "0 - - -");
        let mut jump = Segment::new().frame(&[b"a"], 0);
        jump.next_index += 2;
        assert_eq!(find(&jump.frame(&[b"b"], 0), 4), "0 - - -");
    }

    #[test]
    fn what_is_at_hand_is_what_a_step_says() {
        let at_hand = |segment: &Segment, extent: Extent| {
            let found = Scanner::new(extent).at_hand(&segment.bytes[extent.offset as usize..]);
            found.map(|frame| frame.ids(FIRST_ID).start)
        };
        let segment = three();
        let second = Extent { offset: HEADER_LEN + 32, next_id: 1001, ..segment.extent() };
        assert_eq!(at_hand(&segment, segment.extent()), Some(1000));
        assert_eq!(at_hand(&segment, second), Some(1001));
        assert_eq!(at_hand(&segment, Extent { next_id: 1000, ..second }), None, "a gap of ids");
        assert_eq!(at_hand(&segment, Extent { offset: HEADER_LEN + 8, ..second }), None);
        let limit = segment.offsets[2];
        assert_eq!(at_hand(&segment, Extent { limit, ..second }), Some(1001));
        let short = Extent { limit: limit - 8, ..second };
        assert_eq!(at_hand(&segment, short), None, "it ends behind the limit");
        assert_eq!(
            scan(&segment.bytes, Extent { offset: HEADER_LEN, next_id: 1000, ..short }),
            "F1000+1 T32"
        );
        let lost = Segment::new().loss(2, 48);
        assert_eq!(at_hand(&lost, lost.extent()), None);
    }

    #[test]
    fn a_loss_frame_is_damage_without_a_proof() {
        let segment = Segment::new().frame(&[b"a"], 0).loss(5, 48).frame(&[b"b"], 0);
        assert_eq!(segment.scan(), "F1000+1 L1001+5 F1006+1 E112");
        let alone = Segment::new().loss(5, 24).zeros(100);
        assert_eq!(alone.scan(), "L1000+5 E24");
        let two = Segment::new().loss(1, 24).loss(2, 40).frame(&[b"b"], 2);
        assert_eq!(two.scan(), "L1000+1 L1001+2 F1003+1 E96");
    }

    #[test]
    fn a_loss_frame_next_to_other_damage() {
        let segment =
            || Segment::new().frame(&[b"a"], 0).loss(5, 48).frame(&[b"b"], 2).frame(&[b"c"], 0);
        let mut before = segment();
        before.bytes[HEADER + 25] ^= 1;
        assert_eq!(before.scan(), "D1000+1 L1001+5 F1006+1 F1007+1 E144");
        let mut behind = segment();
        behind.bytes[HEADER + 32 + 48 + 1] ^= 1;
        assert_eq!(behind.scan(), "F1000+1 L1001+5 T80", "nothing proves what is behind it");
        let mut damaged = segment();
        damaged.bytes[HEADER + 32 + 20] ^= 1;
        assert_eq!(damaged.scan(), "F1000+1 D1001+5 F1006+1 F1007+1 E144", "that is proven");
        let mut torn = Segment::new().frame(&[b"a"], 0).loss(5, 48).frame(&[b"b"], 0);
        torn.bytes[HEADER + 32 + 20] ^= 1;
        assert_eq!(torn.scan(), "F1000+1 T32", "and that is not");
        // With other ids than those that are due it is as little worth as a frame.
        let mut jump = Segment::new().frame(&[b"a"], 0);
        jump.next_index += 5;
        assert_eq!(jump.loss(1, 24).scan(), "F1000+1 T32");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            proven_end in 0_u64..20_000,
            limit in 0_u64..20_000,
        ) {
            let mut file = vec![0; HEADER];
            file.extend_from_slice(&bytes);
            let extent = Extent { proven_end, proven_id: FIRST_ID + 9, limit, ..three().extent() };
            scan(&file, extent);
        }

        #[test]
        fn a_flip_never_yields_wrong_entries(
            lens in prop::collection::vec(0_usize..60, 1..12),
            synced in prop::collection::vec(any::<bool>(), 12),
            flip in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let mut segment = Segment::new();
            for (nth, len) in lens.iter().enumerate() {
                let upto = if synced[nth] { nth } else { 0 };
                segment = segment.frame(&[&vec![nth as u8; *len]], upto);
            }
            let whole = segment.bytes.clone();
            let at = HEADER + flip.index(whole.len() - HEADER);
            segment.bytes[at] ^= 1 << bit;

            let mut scanner = Scanner::new(segment.extent());
            let mut source = SliceSource(&segment.bytes);
            let mut due = FIRST_ID;
            loop {
                let Ok(step) = scanner.step(&mut source);
                match step {
                    Step::Frame(frame) => {
                        prop_assert_eq!(frame.ids(FIRST_ID).start, due);
                        let range = frame.offset as usize..frame.end() as usize;
                        prop_assert_eq!(&segment.bytes[range.clone()], &whole[range]);
                        due += 1;
                    }
                    Step::Damaged(gap) => {
                        prop_assert_eq!(gap.ids.start, due);
                        prop_assert!(gap.offset <= at as u64);
                        due = gap.ids.end;
                    }
                    Step::Torn => {
                        // Only what no later frame proves may be taken for a torn tail.
                        let torn = (due - FIRST_ID) as usize;
                        let proven = (torn + 1..lens.len()).any(|later| synced[later]);
                        prop_assert!(!proven, "frame {} was proven", torn);
                        break;
                    }
                    Step::End => {
                        prop_assert_eq!(due, FIRST_ID + lens.len() as u64);
                        break;
                    }
                }
            }
        }
    }
}
