//! The annotated sample in `docs/format.md`, made by the code and compared with the page.
//!
//! `IRONWAL_BLESS=1 cargo test -p ironwal sample` writes it anew.

use std::fmt::Write as _;

use super::checksum::SegmentSeed;
use super::frame::{FRAME_HEADER_LEN, Packed, Place, encode, encode_loss, peek};
use super::header::{Constants, FirstKept, HEADER_LEN, Proof, SLOT_LEN, Slot};
use super::journal::frame::{JournalPlace, encode as encode_journal};
use super::journal::header::JournalHeader;
use super::journal::{JOURNAL_HEADER_LEN, Record};
use super::root::{ROOT_LEN, Root};
use super::seal::{Point, SEAL_LEN, Seal};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/format.md");
const BEGIN: &str = "<!-- sample: begin -->\n";
const END: &str = "<!-- sample: end -->\n";

const SALT: u64 = 0x0123_4567_89AB_CDEF;
const FIRST_ID: u64 = 40;

/// An LZ4 block of 64 times `z`.
const PACKED: &[u8] = b"\x1fz\x01\x00\x26\x60zzzzzz";

/// Writes fields of a structure, one a line, each with its bytes and what it says.
struct Listing<'a> {
    out: String,
    bytes: &'a [u8],
    base: u64,
    at: usize,
}

impl<'a> Listing<'a> {
    fn new(title: &str, bytes: &'a [u8], base: u64) -> Self {
        Self { out: format!("{title}\n"), bytes, base, at: 0 }
    }

    fn field(mut self, len: usize, meaning: &str) -> Self {
        let bytes = &self.bytes[self.at..self.at + len];
        for (line, part) in bytes.chunks(8).enumerate() {
            let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let place = self.base + (self.at + 8 * line) as u64;
            let meaning = if line == 0 { meaning } else { "" };
            writeln!(self.out, "{place:>6}  {:<23}  {meaning}", hex.join(" ")).unwrap();
            if line == 0 && part.len() == 8 && bytes.iter().all(|byte| *byte == 0) && len > 16 {
                writeln!(self.out, "        … {} more zeros", len - 8).unwrap();
                break;
            }
        }
        self.at += len;
        self
    }

    fn end(self) -> String {
        assert_eq!(self.at, self.bytes.len(), "the listing must cover the structure");
        self.out.lines().map(|line| line.trim_end().to_string() + "\n").collect()
    }
}

/// The fields of a frame before its payload.
fn header<'a>(
    listing: Listing<'a>,
    length: &str,
    index: &str,
    count: &str,
    synced: u64,
) -> Listing<'a> {
    listing
        .field(4, "checksum")
        .field(4, length)
        .field(4, index)
        .field(4, count)
        .field(4, &format!("synced to {} × 8 = {synced}", synced / 8))
        .field(1, "kind 1: entries")
        .field(1, "flags")
        .field(2, "check")
}

/// 64 times `z` as the library compresses it; it is written down so that the page is the same without
/// the feature `compression`.
fn packed_entry() -> Packed {
    let packed = Packed::forged(64, PACKED);
    #[cfg(feature = "compression")]
    assert_eq!(super::frame::pack(&[&[b'z'; 64]], 0).as_ref(), Some(&packed));
    packed
}

/// The sample in Markdown.
fn sample() -> String {
    let root = Root { salt: SALT, numbers_end: 1024, shard_count: 0, routing: 0 }.encode();
    assert_eq!(root.len(), ROOT_LEN);
    let root = Listing::new("root file, first copy", &root[..64], 0)
        .field(8, "magic \"IRONWAL\\0\"")
        .field(4, "version 1")
        .field(2, "shards: not sharded")
        .field(2, "routing: not sharded")
        .field(8, "salt")
        .field(8, "numbers end 1024")
        .field(28, "reserved")
        .field(4, "checksum")
        .end();

    let seed = SegmentSeed::new(SALT, 7, FIRST_ID);
    let mut frames = Vec::new();
    let first = Place { seed, offset: HEADER_LEN, index: 0, synced_to: HEADER_LEN };
    let first_checksum = encode(&mut frames, first, &[b"money"], None).unwrap();
    let first_len = frames.len();
    let offset = HEADER_LEN + first_len as u64;
    let second = Place { seed, offset, index: 1, synced_to: offset };
    let second_checksum = encode(&mut frames, second, &[b"a", b"bc"], None).unwrap();
    let second_end = frames.len();
    let third_offset = HEADER_LEN + second_end as u64;
    let third = Place { seed, offset: third_offset, index: 3, synced_to: third_offset };
    let packed = packed_entry();
    let third_checksum = encode(&mut frames, third, &[&[b'z'; 64]], Some(&packed)).unwrap();
    let end = HEADER_LEN + frames.len() as u64;
    for (place, bytes) in
        [(first, &frames[..]), (second, &frames[first_len..]), (third, &frames[second_end..])]
    {
        assert!(peek(bytes, place.offset, end, seed).is_ok());
    }
    let checksums =
        [first_checksum, second_checksum, third_checksum].map(u32::to_le_bytes).concat();
    let digest = super::checksum::of(&checksums);
    let proof = Proof { synced_to: end, next_id: FIRST_ID + 4, digest };

    let constants = Constants {
        salt: SALT,
        stream_number: 7,
        first_id: FIRST_ID,
        cut_number: 0,
        predecessor_end: 16_384,
        predecessor_synced: true,
    };
    let slot = Slot { constants, proof, first_kept: FirstKept::default() }.encode();
    assert_eq!(slot.len(), SLOT_LEN);
    let slot = Listing::new("00000000000000000040.wal, the newer slot", &slot, 4096)
        .field(8, "magic \"IRONWSEG\"")
        .field(4, "version 1")
        .field(4, "reserved")
        .field(8, "salt")
        .field(8, "stream 7")
        .field(8, "first id 40")
        .field(8, "cut 0")
        .field(8, "predecessor ends at 16384")
        .field(4, "flags: and had been synced")
        .field(4, "digest of the frames")
        .field(8, &format!("synced to {end}"))
        .field(8, "next id 44")
        .field(8, "first kept 0")
        .field(36, "reserved")
        .field(4, "checksum")
        .end();

    let one = Listing::new("the first frame: an entry", &frames[..first_len], HEADER_LEN);
    let one = header(one, "length 5", "index 0: id 40", "count 1", HEADER_LEN)
        .field(5, "\"money\"")
        .field(first_len - FRAME_HEADER_LEN - 5, "padding")
        .end();
    let two = Listing::new("the second frame: a batch", &frames[first_len..second_end], offset);
    let two = header(two, "length 7", "index 1: id 41", "count 2", offset)
        .field(4, "entry 0 ends at 1")
        .field(1, "\"a\"")
        .field(2, "\"bc\"")
        .field(1, "padding")
        .end();

    let compressed = &frames[second_end..];
    let block_len = packed.payload_len() as usize - 4;
    let three = Listing::new("the third frame: a compressed entry", compressed, third_offset)
        .field(4, "checksum")
        .field(4, &format!("length {}", packed.payload_len()))
        .field(4, "index 3: id 43")
        .field(4, "count 1")
        .field(4, &format!("synced to {} × 8 = {third_offset}", third_offset / 8))
        .field(1, "kind 1: entries")
        .field(1, "flags: compressed")
        .field(2, "check")
        .field(4, "raw length 64")
        .field(block_len, "LZ4 block: 64 times \"z\"")
        .field(compressed.len() - FRAME_HEADER_LEN - 4 - block_len, "padding")
        .end();

    let points = [Point::new(0, HEADER_LEN).unwrap()];
    let seal = Seal::encode(constants, end, FIRST_ID + 4, digest, &points).unwrap();
    assert_eq!(seal.len(), 8 + SEAL_LEN);
    let seal = Listing::new("points and seal", &seal, end)
        .field(4, "point: index 0")
        .field(4, "point: offset 1024 × 8 = 8192")
        .field(8, "magic \"IRONWEND\"")
        .field(4, "version 1")
        .field(4, "points 1")
        .field(8, "salt")
        .field(8, "stream 7")
        .field(8, "first id 40")
        .field(8, "cut 0")
        .field(8, "predecessor ends at 16384")
        .field(4, "flags: and had been synced")
        .field(4, "digest of the frames")
        .field(8, &format!("end of frames {end}"))
        .field(8, "next id 44")
        .field(4, "index check")
        .field(40, "reserved")
        .field(4, "checksum")
        .end();

    let mut loss = Vec::new();
    encode_loss(&mut loss, third, 1, (frames.len() - second_end) as u64).unwrap();
    let loss = Listing::new("a loss frame in place of the third one", &loss, third_offset)
        .field(4, "checksum")
        .field(4, "length 16")
        .field(4, "index 3: id 43")
        .field(4, "count 1")
        .field(4, &format!("synced to {} × 8 = {third_offset}", third_offset / 8))
        .field(1, "kind 2: lost with the journal")
        .field(1, "flags")
        .field(2, "check")
        .field(loss.len() - FRAME_HEADER_LEN, "zeros")
        .end();

    let mut large = Vec::new();
    encode(&mut large, third, &[b"money", &[0; 4096]], None).unwrap();
    let large = Listing::new("in its place a batch in pieces", &large, third_offset)
        .field(4, "checksum")
        .field(4, "length 4115")
        .field(4, "index 3: id 43")
        .field(4, "count 2")
        .field(4, &format!("synced to {} × 8 = {third_offset}", third_offset / 8))
        .field(1, "kind 1: entries")
        .field(1, "flags: in pieces, short ends")
        .field(2, "check")
        .field(2, "entry 0 ends at 5")
        .field(4, "sum of the data from 0 to 2047")
        .field(4, "sum from 2048 to 4095")
        .field(4, "sum from 4096 to 4100, and the padding")
        .field(5, "\"money\"")
        .field(4096, "4096 zeros")
        .field(5, "padding")
        .end();

    let share = |index, count, offset, len| Record {
        stream_number: 7,
        segment: FIRST_ID,
        index,
        count,
        offset,
        len,
    };
    let before = share(0, 3, HEADER_LEN, second_end as u64);
    let record = share(3, 1, third_offset, compressed.len() as u64);
    let journal = journal(before, record, compressed);
    format!(
        "```text\n{root}\n{slot}\n{one}\n{two}\n{three}\n{seal}\n{loss}\n{large}\n{journal}```\n"
    )
}

/// A slot of a journal file and its second frame, with this share.
fn journal(before: Record, record: Record, share: &[u8]) -> String {
    let slot = JournalHeader { salt: SALT, generation: 3, is_closed: false }.encode();
    let slot = Listing::new(".journal.0, a slot", &slot, 0)
        .field(8, "magic \"IRONWALJ\"")
        .field(4, "version 1")
        .field(4, "reserved")
        .field(8, "salt")
        .field(8, "generation 3")
        .field(1, "not closed")
        .field(27, "reserved")
        .field(4, "checksum")
        .end();

    let offset = JOURNAL_HEADER_LEN + 4096;
    let place = JournalPlace { salt: SALT, generation: 3, offset, sequence: 2, first: 1 };
    let records = [record, Record::void(9)];
    let mut frame = Vec::new();
    encode_journal(&mut frame, place, &records, &[before], [share]).unwrap();
    let end = 64 + 3 * 32 + share.len();
    let (bytes, padding) = frame.split_at(end);
    assert!(padding.iter().all(|byte| *byte == 0));
    let title = "its second frame: a share of one stream, and a cut of another";
    let frame = Listing::new(title, bytes, offset)
        .field(4, "checksum")
        .field(4, "head")
        .field(4, "records 2")
        .field(4, "previous 1")
        .field(8, "sequence 2")
        .field(8, "generation 3")
        .field(8, &format!("payload {}", share.len()))
        .field(8, "first 1")
        .field(12, "reserved")
        .field(4, "check");
    let frame = journal_record(frame, "record: stream 7", record)
        .field(8, "record: stream 9")
        .field(24, "a void");
    let frame = journal_record(frame, "repeated record: stream 7", before)
        .field(share.len(), "payload: the third frame of the segment")
        .end();
    format!("{slot}\n{frame}        … {} more zeros\n", padding.len())
}

/// The fields of the record of a share.
fn journal_record<'a>(listing: Listing<'a>, title: &str, record: Record) -> Listing<'a> {
    let Record { segment, index, count, offset, len, .. } = record;
    listing
        .field(8, title)
        .field(8, &format!("segment {segment}"))
        .field(4, &format!("index {index}"))
        .field(4, &format!("count {count}"))
        .field(4, &format!("offset {} × 8 = {offset}", offset / 8))
        .field(4, &format!("length {} × 8 = {len}", len / 8))
}

#[test]
fn the_page_shows_what_the_code_writes() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let start = page.find(BEGIN).unwrap() + BEGIN.len();
    let end = page.find(END).unwrap();
    let sample = sample();
    if std::env::var_os("IRONWAL_BLESS").is_some() {
        std::fs::write(PAGE, [&page[..start], &sample, &page[end..]].concat()).unwrap();
        return;
    }
    assert!(
        page[start..end] == sample,
        "docs/format.md does not show what the code writes; if the code is right, run this test \
         with IRONWAL_BLESS=1"
    );
}
