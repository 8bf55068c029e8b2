//! `dump` prints the structures of files, whatever is in them.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::logs::{flip, full_segments, of, orders, segment};
use crate::program::{Ran, run};

fn dump(path: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["dump", path.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

const ALL: &str = "\
DIR/.ironwal
           0         64  root-copy                      0xe7b9dc55 ok  version 1, shards 0, routing 0, salt 0x5eed, numbers end 1024
        4096         64  root-copy                      0xe7b9dc55 ok  version 1, shards 0, routing 0, salt 0x5eed, numbers end 1024

DIR/orders/00000000000000000000.wal
           0        128  slot                           0xaa80424b ok  version 1, salt 0x5eed, stream 0, first id 0, cut 0, predecessor 0, flags 0x0, digest 0x32fe7bb9, synced to 8288, next id 3, first kept 0, lowered 0
        4096        128  slot                           0xaa80424b ok  version 1, salt 0x5eed, stream 0, first id 0, cut 0, predecessor 0, flags 0x0, digest 0x32fe7bb9, synced to 8288, next id 3, first kept 0, lowered 0
        8192         32  frame          0..1            0x8a6c1bab ok  length 3, index 0, count 1, synced 1024, kind 1, flags 0x0, check 0x68b3
        8224         32  frame          1..2            0x82d76ea0 ok  length 6, index 1, count 1, synced 1028, kind 1, flags 0x0, check 0x1b01
        8256         32  frame          2..3            0x1821a6a0 ok  length 4, index 2, count 1, synced 1032, kind 1, flags 0x0, check 0xc652
";

const HEX: &str = "        \
8224         32  frame          1..2            0x82d76ea0 ok  length 6, index 1, count 1, synced 1028, kind 1, flags 0x0, check 0x1b01
              0000002020  a0 6e d7 82 06 00 00 00  01 00 00 00 01 00 00 00  |.n..............|
              0000002030  04 04 00 00 01 00 01 1b  63 6f 66 66 65 65 00 00  |........coffee..|
        8256         32  frame          2..3            0x1821a6a0 ok  length 4, index 2, count 1, synced 1032, kind 1, flags 0x0, check 0xc652
              0000002040  a0 a6 21 18 04 00 00 00  02 00 00 00 01 00 00 00  |..!.............|
              0000002050  08 04 00 00 01 00 52 c6  63 61 6b 65 00 00 00 00  |......R.cake....|
";

/// A bit of the first slot's stream, and one of the second entry.
const DAMAGED: &str = "           \
0        128  slot                           invalid  0xaa80424b found 0x673479d0  version 1, salt 0x5eed, stream 281474976710656, first id 0, cut 0, predecessor 0, flags 0x0, digest 0x32fe7bb9, synced to 8288, next id 3, first kept 0, lowered 0
        4096        128  slot                           0xaa80424b ok  version 1, salt 0x5eed, stream 0, first id 0, cut 0, predecessor 0, flags 0x0, digest 0x32fe7bb9, synced to 8288, next id 3, first kept 0, lowered 0
        8192         32  frame          0..1            0x8a6c1bab ok  length 3, index 0, count 1, synced 1024, kind 1, flags 0x0, check 0x68b3
        8224         32  frame          1..2            invalid  0x82d76ea0 found 0xcbeb1387  length 6, index 1, count 1, synced 1028, kind 1, flags 0x0, check 0x1b01
        8256         32  frame          2..3            0x1821a6a0 ok  length 4, index 2, count 1, synced 1032, kind 1, flags 0x0, check 0xc652
";

#[test]
fn all_files_of_a_log_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    assert_eq!(of(dir.path(), &dump(dir.path(), &[])), ALL);
    let dumped = dump(&dir.path().join("orders"), &[]);
    assert!(of(dir.path(), &dumped).starts_with("DIR/orders/00000000000000000000.wal\n"));
    dumped.quiet();
}

#[test]
fn one_file_from_an_offset_on() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let file = segment(dir.path(), "orders", 0);
    let from = |offset: &str| dump(&file, &["--from", offset]).text().lines().count();
    assert_eq!(from("0"), 5);
    // The padding of a slot is not part of it.
    assert_eq!(from("127"), 5);
    assert_eq!(from("128"), 4);
    assert_eq!(from("8224"), 2);
    assert_eq!(from("0x2020"), 2);
    assert_eq!(from("8288"), 0);
    dump(dir.path(), &["--from", "8224"]).fails(2, &["--from is an offset in a file"]);
    for bad in ["x", "-1", "0xg", "1.5"] {
        assert_eq!(dump(&file, &["--from", bad]).code, 2);
    }
}

#[test]
fn bytes_are_printed_in_hexadecimal_and_as_text() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let file = segment(dir.path(), "orders", 0);
    let dumped = dump(&file, &["--hex", "--from", "8224"]);
    assert_eq!(of(dir.path(), &dumped), HEX);
    dump(&file, &["--hex", "--json"]).fails(2, &["--hex", "--json"]);
}

#[test]
fn json_has_every_field() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let file = segment(dir.path(), "orders", 0);
    assert_eq!(
        of(dir.path(), &dump(&file, &["--json", "--from", "8256"])),
        "{\"type\":\"structure\",\"file\":\"DIR/orders/00000000000000000000.wal\",\"kind\":\"frame\",\
         \"offset\":8256,\"len\":32,\"validity\":\"valid\",\"ids\":{\"start\":2,\"end\":3},\
         \"stored\":404858528,\"computed\":404858528,\"fields\":{\"check\":50770,\"count\":1,\
         \"flags\":0,\"index\":2,\"kind\":1,\"length\":4,\"synced\":1032}}\n"
    );
}

#[test]
fn damage_is_shown_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let file = segment(dir.path(), "orders", 0);
    flip(&file, 8224 + 24);
    flip(&file, 30);
    let dumped = dump(&file, &[]);
    assert_eq!(of(dir.path(), &dumped), DAMAGED);
    dumped.quiet();
}

#[test]
fn full_segments_have_an_index_and_a_seal() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 20);
    let dumped = dump(&segment(dir.path(), "s", 0), &[]);
    let kinds: Vec<_> =
        dumped.text().lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(kinds[..2], ["slot", "slot"]);
    assert_eq!(kinds[kinds.len() - 2..], ["points", "seal"]);
    assert!(kinds[2..kinds.len() - 2].iter().all(|kind| *kind == "frame"), "{kinds:?}");
}

#[test]
fn a_log_is_dumped_beside_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    wal.append("s", b"entry").unwrap();
    let dumped = dump(dir.path(), &[]);
    assert!(dumped.text().contains("  frame          0..1 "), "{dumped:?}");
    assert!(dumped.text().contains("  zeros  "), "{dumped:?}");
    dumped.quiet();
}

#[test]
fn what_is_no_file_of_a_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    dump(dir.path(), &[]).fails(1, &["ironwal: there is no log in"]);
    dump(&dir.path().join("missing"), &[]).fails(1, &["ironwal: cannot read", "missing"]);
    let file = dir.path().join("notes");
    std::fs::write(&file, b"mine").unwrap();
    dump(&file, &[]).fails(2, &["ironwal: cannot dump", "is no file of a log"]);
    assert_eq!(run(&["dump"]).code, 2);
}
