//! Every other structure on disk, on bytes that nobody wrote.
//!
//! The input itself, as it is and with valid checksums, goes to the decoders of slots, seals with their
//! points, root files, headers of the journal, records of checkpoints, directory names and payloads in
//! pieces. They survive, decode again what they encode, and what they accept lies within what there is.

use std::ffi::OsStr;

use crate::format::checksum;
use crate::format::fields::{put, u64_at};
use crate::format::header::{self, SLOT_LEN, Slot};
use crate::format::journal::header::{JOURNAL_SLOT_LEN, JournalHeader};
use crate::format::payload::{Layout, Shape};
use crate::format::root::Root;
use crate::format::seal::{SEAL_LEN, Seal};
use crate::names;
use crate::record::Record;

pub(super) fn run(input: &[u8]) {
    decode_structures(input);
    decode_record(input);
    decode_name(input);
    read_payload(input);
    write_payload(input);
}

fn decode_structures(input: &[u8]) {
    let salt = input.get(16..24).map_or(0, |bytes| u64_at(bytes, 0));
    let first_id = input.get(32..40).map_or(0, |bytes| u64_at(bytes, 0));
    let file_len = input.len() as u64;
    let _ = Slot::decode(input, salt, first_id);
    let _ = Seal::decode(input, file_len, salt, first_id);
    let _ = Root::decode(input);
    let (first, second) = input.split_at(input.len() / 2);
    let slots = [first, second].map(|bytes| Slot::decode(bytes, salt, first_id));
    let _ = Slot::merge(slots[0], slots[1]);

    let mut slot = [0; SLOT_LEN];
    copy(input, &mut slot);
    header::frame_structure(&mut slot, *b"IRONWSEG");
    if let Ok(decoded) = Slot::decode(&slot, salt, first_id) {
        assert_eq!(Slot::decode(&decoded.encode(), salt, first_id), Ok(decoded));
    }

    // The points stand in front of the seal, which says how many they are.
    let mut seal = [0; SEAL_LEN];
    copy(input, &mut seal);
    let points = input.get(SEAL_LEN..).unwrap_or_default();
    put(&mut seal, 80, checksum::of(points).to_le_bytes());
    header::frame_structure(&mut seal, *b"IRONWEND");
    let points_len = 8 * u64::from(u32::from_le_bytes([seal[12], seal[13], seal[14], seal[15]]));
    let file_len = u64_at(&seal, 64).wrapping_add(points_len).wrapping_add(SEAL_LEN as u64);
    if let Ok(decoded) = Seal::decode(&seal, file_len, salt, first_id)
        && let Ok(points) = decoded.decode_points(points)
    {
        let Seal { constants, end, next_id, digest, .. } = decoded;
        let again = Seal::encode(constants, end, next_id, digest, &points).unwrap();
        let again = &again[again.len() - SEAL_LEN..];
        assert_eq!(Seal::decode(again, file_len, salt, first_id), Ok(decoded));
    }

    let _ = JournalHeader::decode(input, salt);
    let mut slot = [0; JOURNAL_SLOT_LEN];
    copy(input, &mut slot);
    header::frame_structure(&mut slot, *b"IRONWALJ");
    if let Ok(decoded) = JournalHeader::decode(&slot, salt) {
        assert_eq!(JournalHeader::decode(&decoded.encode(), salt), Ok(decoded));
    }

    let mut copy_of_root = [0; 64];
    copy(input, &mut copy_of_root);
    header::frame_structure(&mut copy_of_root, *b"IRONWAL\0");
    if let Ok(decoded) = Root::decode(&copy_of_root) {
        assert_eq!(Root::decode(&decoded.encode()), Ok(decoded));
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
}

/// A record is what its bytes are, and nothing else.
fn decode_record(input: &[u8]) {
    // Its lengths seldom add up by chance.
    let mut fitting = input.to_vec();
    if let [_, _, a, b, c, _, ..] = *input {
        let (id_len, count) = (usize::from(a) + usize::from(b % 2) * 256, usize::from(c % 8));
        (fitting[2..6]).copy_from_slice(&[a, b % 2, c % 8, 0]);
        fitting.resize(16 + 8 * count + id_len, 0xA5);
    }
    for bytes in [input, &fitting] {
        let Some(record) = Record::decode(bytes) else { continue };
        assert_eq!(record.encode(), bytes);
        if let Record::Checkpoint(checkpoint) | Record::Copy(checkpoint) = &record {
            let data = checkpoint.data();
            assert_eq!(data.offsets.len(), usize::from(data.shard_count));
            assert_eq!(checkpoint.len(), bytes.len());
            assert!(bytes.ends_with(checkpoint.id()) && !checkpoint.id().is_empty());
        }
    }
}

/// A directory belongs to one name, and a name has one directory.
fn decode_name(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(name) = names::decode(OsStr::new(text)) {
        assert_eq!(names::encode(&name).unwrap(), text);
    }
    if let Ok(encoded) = names::encode(text) {
        assert!(encoded.len() <= 255 && !encoded.starts_with('.') && !encoded.contains('/'));
        assert_eq!(names::decode(OsStr::new(&encoded)).as_deref(), Some(text));
    }
}

/// Any bytes as the payload of a batch.
fn read_payload(input: &[u8]) {
    let Some((head, payload)) = input.split_first_chunk::<3>() else { return };
    let shape = [Shape::Whole, Shape::Pieces, Shape::ShortPieces][usize::from(head[0] % 3)];
    let count = u32::from(u16::from_le_bytes([head[1], head[2]]));
    // Long enough for pieces.
    let mut long = payload.to_vec();
    long.resize(payload.len() + usize::from(head[0] / 3) * 900, head[1]);
    for payload in [payload, &long] {
        let len = payload.len() as u64;
        let Some(layout) = Layout::found(shape, count, len) else { continue };
        assert_eq!((layout.len(), layout.shape()), (len, shape));
        let whole = layout.is_whole(payload);
        let mut end = usize::try_from(layout.table_len()).unwrap();
        for nth in 0..count.min(1000) {
            match layout.entry(payload, nth) {
                Some(range) => {
                    assert!(range.start <= range.end && range.end <= payload.len());
                    assert!(!whole || range.start == end, "entries overlap, or there is a gap");
                    end = range.end;
                }
                None => assert!(!whole, "an entry is missing"),
            }
        }
        assert!(!whole || count > 1000 || end == payload.len(), "bytes of no entry");
        assert_eq!(layout.entry(payload, count), None);
        check_pieces(&layout, payload);
    }
}

/// Sums that are wrong are found in the pieces in which they are, and nowhere else.
fn check_pieces(layout: &Layout, payload: &[u8]) {
    let (table, data) = payload.split_at(usize::try_from(layout.table_len()).unwrap());
    let _ = layout.check_pieces(table, 0..layout.pieces(), data);
    let mut summed = payload.to_vec();
    layout.put_sums(&mut summed);
    let (table, data) = summed.split_at(table.len());
    assert_eq!(layout.check_pieces(table, 0..layout.pieces(), data), Ok(()));
    if layout.pieces() > 0 && !data.is_empty() {
        let at = usize::from(payload[payload.len() / 2]) * 31 % data.len();
        let mut wrong = data.to_vec();
        wrong[at] ^= 1;
        assert!(layout.check_pieces(table, 0..layout.pieces(), &wrong).is_err(), "byte {at}");
    }
}

/// The input cut into entries, which are read back as they were.
fn write_payload(input: &[u8]) {
    let Some((head, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len() + usize::from(head / 8) * 2500, *head);
    let entries: Vec<&[u8]> = bytes.chunks(1 + usize::from(*head) * 17).collect();
    if entries.is_empty() {
        return;
    }
    let layout = Layout::of(entries.len(), bytes.len() as u64);
    let mut payload = Vec::new();
    layout.put(&mut payload, &entries).unwrap();
    layout.put_sums(&mut payload);
    assert_eq!(payload.len() as u64, layout.len());
    let count = u32::try_from(entries.len()).unwrap();
    assert_eq!(Layout::found(layout.shape(), count, layout.len()), Some(layout));
    assert!(layout.is_whole(&payload));
    for (nth, entry) in (0..).zip(&entries) {
        assert_eq!(&payload[layout.entry(&payload, nth).unwrap()], *entry);
    }
}
