//! Reading entries by id out of frames whose data is checked in pieces.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::Finder;
use super::reader::{DamageKind, ReadError, Segment};
use super::reading_tests::{
    Built, FIRST_ID, Interfering, PATH, cached_options, cursor, damage, get,
};
use crate::format::frame::{self, FRAME_HEADER_LEN, Fault, Frame};
use crate::format::header::HEADER_LEN;
use crate::format::payload::{Layout, PIECE_LEN};
use crate::options::{ReadStrategy, WalOptions};
use crate::storage::Storage;

/// Bytes that differ from place to place, so that no two pieces are the same.
fn entry_of(nth: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + (at >> 8) + nth * 13) as u8).collect()
}

fn batch(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().enumerate().map(|(nth, len)| entry_of(nth, *len)).collect()
}

fn with_batch(built: Built, entries: &[Vec<u8>]) -> Built {
    built.frame(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>(), None)
}

/// The ways to read by id.
fn strategies() -> [WalOptions; 2] {
    let mapped = WalOptions { read_strategy: ReadStrategy::Mmap, ..WalOptions::default() };
    [WalOptions::default(), mapped]
}

/// A disk with these bytes in place of those that were built, which maps them if it is to.
fn disk_with(bytes: &[u8]) -> Interfering {
    let mut disk = Interfering::holding(bytes);
    disk.maps = Some(Bytes::copy_from_slice(bytes));
    disk
}

fn segment_of(built: &Built, bytes: &[u8], options: &WalOptions) -> Arc<Segment> {
    let segment = built.segment(&disk_with(bytes).context(options));
    segment.set_proven();
    segment
}

fn frame_at(built: &Built, offset: u64) -> (Frame, Layout) {
    let limit = built.bytes.len() as u64;
    let seed = super::reading_tests::seed();
    let frame = frame::peek(&built.bytes[offset as usize..], offset, limit, seed).unwrap();
    let layout = frame.layout().unwrap();
    (frame, layout)
}

/// Batches in pieces, with short ends and with long ones.
fn batches() -> [Vec<usize>; 3] {
    let long = [0, 1, 2047, 0, 2048, 30_000, 31_440, 0, 100];
    [vec![100; 60], vec![0, 4000, 0, 96, 1, 3000, 0], long.to_vec()]
}

/// Whatever byte of the frame is flipped: what is read by id is right or an error, and it is right
/// where the pieces are whole that it is in. In order, the frame is one thing.
#[test]
fn an_entry_is_read_if_and_only_if_its_own_pieces_are_whole() {
    for (lens, options) in batches().iter().flat_map(|lens| strategies().map(|by| (lens, by))) {
        let entries = batch(lens);
        let built = with_batch(Built::new(), &entries);
        let (frame, layout) = frame_at(&built, HEADER_LEN);
        assert!(layout.pieces() > 0);
        let data = HEADER_LEN + FRAME_HEADER_LEN as u64 + layout.table_len();
        let end = frame.end();
        let payload = &built.bytes[HEADER_LEN as usize + FRAME_HEADER_LEN..];
        let step = if entries.len() < 8 { 1 } else { end as usize / 200 };
        let places = (HEADER_LEN..data).chain((data..end).step_by(step)).chain(end - 7..end);
        for at in places {
            let mut bytes = built.bytes.clone();
            bytes[at as usize] ^= 1 << (at % 8);
            let segment = segment_of(&built, &bytes, &options);
            let all = cursor(&segment, FIRST_ID).next(u64::MAX);
            assert!(matches!(all, Err(ReadError::Damaged(_))), "byte {at}: in order");
            let hit = at.checked_sub(data).map(|at| (at / PIECE_LEN).min(layout.pieces() - 1));
            let [mut finder, mut falling] =
                [(); 2].map(|()| Finder::new(Arc::clone(&segment)).unwrap());
            // Its neighbours have been asked for before, or it is the first one.
            let fallen: Vec<_> =
                (0..entries.len() as u64).rev().map(|nth| falling.get(FIRST_ID + nth)).collect();
            for ((nth, entry), fallen) in (0..).zip(&entries).zip(fallen.into_iter().rev()) {
                let place = layout.place_of_entry(payload, nth).unwrap();
                let is_whole = hit.is_some_and(|hit| {
                    place.is_empty() || !Layout::pieces_with(&place).contains(&hit)
                });
                let id = FIRST_ID + u64::from(nth);
                for found in [get(&segment, id), finder.get(id), fallen] {
                    match found {
                        Ok(found) => assert!(is_whole && found == entry, "byte {at}, entry {nth}"),
                        Err(ReadError::Damaged(damage)) => {
                            assert!(!is_whole, "byte {at}, entry {nth}: it is whole");
                            assert_eq!(damage.ids, FIRST_ID..FIRST_ID + entries.len() as u64);
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }
    }
}

/// The header of a frame before it is damaged, so the headers do not lead to it.
#[test]
fn an_entry_is_read_behind_other_damage() {
    let entries = batch(&[100; 60]);
    for options in strategies() {
        let built = Built::new().frame(&[b"a"], None).frame(&[b"b"], None);
        let built = with_batch(built, &entries);
        let offset = HEADER_LEN + 64;
        let end = frame_at(&built, offset).0.end();
        let mut bytes = built.bytes.clone();
        bytes[HEADER_LEN as usize + 8] ^= 1;
        bytes[end as usize - 1] ^= 1;
        let segment = segment_of(&built, &bytes, &options);
        assert!(get(&segment, FIRST_ID).is_err());
        assert_eq!(get(&segment, FIRST_ID + 1).unwrap(), &b"b"[..]);
        let mut finder = Finder::new(Arc::clone(&segment)).unwrap();
        assert_eq!(finder.get(FIRST_ID + 1).unwrap(), &b"b"[..]);
        for (id, entry) in (FIRST_ID + 2..).zip(&entries[..40]) {
            assert_eq!(get(&segment, id).unwrap(), entry);
            assert_eq!(finder.get(id).unwrap(), entry);
        }
        assert!(matches!(
            damage(&segment, FIRST_ID + 61),
            DamageKind::Frame(Fault::Payload { .. })
        ));
    }
}

/// In any order, with other frames before and behind: the same as in order.
#[test]
fn entries_are_read_in_any_order() {
    for options in strategies().into_iter().chain([cached_options(1 << 20)]) {
        let mut built = Built::new();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for lens in batches().iter().chain(&[vec![10; 3], vec![9000], vec![2000, 2096]]) {
            let entries = batch(lens);
            built = with_batch(built, &entries);
            expected.extend(entries);
        }
        let segment = segment_of(&built, &built.bytes, &options);
        let count = expected.len() as u64;
        let ids = 0..count;
        let orders: [Vec<u64>; 4] = [
            ids.clone().collect(),
            ids.clone().rev().collect(),
            ids.clone().map(|nth| nth * 37 % count).collect(),
            ids.clone().flat_map(|nth| [nth, nth]).collect(),
        ];
        for order in orders {
            let mut finder = Finder::new(Arc::clone(&segment)).unwrap();
            for nth in order {
                let expected = &expected[nth as usize];
                assert_eq!(finder.get(FIRST_ID + nth).unwrap(), expected, "{nth}");
                assert_eq!(get(&segment, FIRST_ID + nth).unwrap(), expected, "{nth}");
            }
        }
        let mut cursor = cursor(&segment, FIRST_ID);
        for entry in &expected {
            assert_eq!(cursor.next(u64::MAX).unwrap().unwrap().1, entry);
        }
    }
}

/// From the middle of such a frame on, whole or a part at a time.
#[test]
fn a_cursor_begins_in_the_middle() {
    for lens in batches() {
        let entries = batch(&lens);
        let built = with_batch(Built::new(), &entries);
        let segment = segment_of(&built, &built.bytes, &WalOptions::default());
        for (nth, entry) in entries.iter().enumerate() {
            let id = FIRST_ID + nth as u64;
            for read_len in [4096, 1 << 20] {
                let mut cursor = segment.cursor(id, read_len).unwrap();
                assert_eq!(
                    cursor.next(u64::MAX).unwrap().unwrap(),
                    (id, Bytes::from(entry.clone()))
                );
            }
            assert_eq!(segment.backwards(id, 0).unwrap().take(id).unwrap().unwrap(), entry);
        }
    }
}

/// One read of the headers and the table, one of the pieces; neighbours read on from there.
#[test]
fn an_entry_in_pieces_costs_two_small_reads() {
    let entries = batch(&[100; 200]);
    let built = with_batch(with_batch(Built::new(), &entries), &entries);
    let disk = Interfering::holding(&built.bytes);
    let segment = built.segment(&disk.context(&WalOptions::default()));
    for nth in [0, 57, 199, 200, 399] {
        let before = (disk.reads(), disk.bytes_read());
        assert_eq!(get(&segment, FIRST_ID + nth).unwrap(), entries[nth as usize % 200]);
        let (reads, len) = (disk.reads() - before.0, disk.bytes_read() - before.1);
        assert!(reads <= 2 && len <= 4096 + 2 * PIECE_LEN + 8, "entry {nth}: {reads}, {len} bytes");
    }
    let before = disk.reads();
    let mut finder = Finder::new(Arc::clone(&segment)).unwrap();
    for nth in 0..200 {
        assert_eq!(finder.get(FIRST_ID + nth).unwrap(), entries[nth as usize]);
    }
    // What is read first has the first pieces in it.
    assert!(disk.reads() - before <= 3, "{} reads", disk.reads() - before);
}

/// What contradicts itself under checksums that match is damage for all entries, also by id.
#[test]
fn forged_ends_are_damage_in_every_way() {
    for lens in batches() {
        let mut built = with_batch(Built::new(), &batch(&lens));
        let (frame, layout) = frame_at(&built, HEADER_LEN);
        let start = HEADER_LEN as usize;
        // The end before the last one falls, or reaches behind the data.
        let end_len = layout.shape().end_len();
        let field = start + FRAME_HEADER_LEN + end_len * (lens.len() - 2);
        built.bytes[field..field + end_len].fill(0xFF);
        let head = start..start + frame.head_len() as usize;
        let seed = super::reading_tests::seed().at(HEADER_LEN);
        let checksum = crate::format::checksum::append(seed, &built.bytes[head][4..]);
        built.bytes[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
        for options in strategies() {
            let segment = segment_of(&built, &built.bytes, &options);
            for nth in 0..lens.len() as u64 {
                assert_eq!(damage(&segment, FIRST_ID + nth), DamageKind::Table, "{nth}");
            }
        }
    }
}

/// The file ends in the frame: what is behind the end is damaged, and nothing is allocated for it.
#[test]
fn a_frame_in_pieces_that_is_cut_short_is_damage() {
    let entries = batch(&[100; 60]);
    let built = with_batch(Built::new(), &entries);
    for len in [10, 30, 160, 3000] {
        let disk = Interfering::holding(&built.bytes);
        disk.disk
            .open(Path::new(PATH), crate::storage::OpenMode::ReadWrite)
            .unwrap()
            .set_len(HEADER_LEN + len)
            .unwrap();
        let segment = built.segment(&disk.context(&WalOptions::default()));
        assert_eq!(damage(&segment, FIRST_ID + 59), DamageKind::Frame(Fault::Short), "{len}");
    }
}
