//! `verify` reads all of a log and says what is wrong with it.

use std::path::Path;

use ironwal::{Wal, WalOptions};

use crate::logs::{flip, of, orders, segment};
use crate::program::{Ran, run};

pub(crate) fn verify(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["verify", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn a_whole_log_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let whole = "whole: 3 entries of 1 stream, in 1 segment of 8,288 bytes\n";
    for threads in [&[][..], &["--threads", "1"], &["--threads", "7"]] {
        assert_eq!(verify(dir.path(), threads).quiet(), whole.as_bytes());
    }
    let json = verify(dir.path(), &["--json"]).quiet();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        "{\"type\":\"summary\",\"whole\":true,\"open\":false,\"streams\":1,\"segments\":1,\
         \"entries\":3,\"bytes\":8288,\"findings\":{}}\n"
    );
}

#[test]
fn damage_has_a_file_an_offset_and_ids() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    flip(&segment(dir.path(), "orders", 0), 8224 + 24);
    let ran = verify(dir.path(), &[]);
    ran.fails(1, &[]);
    assert_eq!(ran.err, "");
    assert_eq!(
        of(dir.path(), &ran),
        "damage: DIR/orders/00000000000000000000.wal at 8224..8256: the checksum does not match \
         (expected 0x82d76ea0, found 0xcbeb1387); stream \"orders\", entries 1..2; restore them from a \
         backup, or repair a copy to go on without them\n\
         not whole (damage: 1): 2 entries of 1 stream, in 1 segment of 8,288 bytes\n"
    );
    let ran = verify(dir.path(), &["--json"]);
    ran.fails(1, &[]);
    assert_eq!(
        of(dir.path(), &ran),
        "{\"type\":\"finding\",\"severity\":\"damage\",\"problem\":\"checksum\",\
         \"file\":\"DIR/orders/00000000000000000000.wal\",\"offset\":8224,\"len\":32,\
         \"stream\":\"orders\",\"ids\":{\"start\":1,\"end\":2},\"expected\":2195156640,\
         \"found\":3421180807,\"message\":\"damage: DIR/orders/00000000000000000000.wal at 8224..8256: \
         the checksum does not match (expected 0x82d76ea0, found 0xcbeb1387); stream \\\"orders\\\", \
         entries 1..2; restore them from a backup, or repair a copy to go on without them\"}\n\
         {\"type\":\"summary\",\"whole\":false,\"open\":false,\"streams\":1,\"segments\":1,\
         \"entries\":2,\"bytes\":8288,\"findings\":{\"damage\":1}}\n"
    );
}

#[test]
fn what_is_no_damage_is_told_and_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    std::fs::write(dir.path().join("notes\x1b[2J"), b"mine").unwrap();
    flip(&dir.path().join(".ironwal"), 20);
    let said = String::from_utf8(verify(dir.path(), &[]).quiet()).unwrap();
    assert!(said.contains("stranger: ") && said.contains("notes\\u{1b}[2J"), "{said}");
    assert!(said.contains("redundancy lost: "), "{said}");
    assert!(said.ends_with(
        "whole (redundancy lost: 1, stranger: 1): 3 entries of 1 stream, in 1 segment of 8,288 \
         bytes\n"
    ));
}

#[test]
fn a_log_that_is_written_to_is_verified_beside_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    wal.append("s", b"entry").unwrap();
    let said = String::from_utf8(verify(dir.path(), &[]).quiet()).unwrap();
    assert!(said.contains(": 1 entry of 1 stream, in 1 segment of "), "{said}");
    assert!(said.ends_with("a process has the log open for writing: its journal was not judged\n"));
    let json = String::from_utf8(verify(dir.path(), &["--json"]).quiet()).unwrap();
    assert!(json.contains("\"whole\":true,\"open\":true"), "{json}");
    wal.append("s", b"another").unwrap();
    wal.close().unwrap();
}

#[test]
fn a_newer_version_is_not_damage_but_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let segment = segment(dir.path(), "orders", 0);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[8] = 2;
    bytes[4096 + 8] = 2;
    std::fs::write(&segment, bytes).unwrap();
    let ran = verify(dir.path(), &[]);
    ran.fails(1, &[]);
    assert!(ran.text().contains("newer version: "), "{ran:?}");
}

#[test]
fn what_is_no_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    verify(dir.path(), &[]).fails(1, &["ironwal: there is no log in", "check the path"]);
    verify(&dir.path().join("missing"), &["--json"]).fails(1, &["there is no log in"]);
    std::fs::write(dir.path().join("file"), b"").unwrap();
    assert_eq!(verify(&dir.path().join("file"), &[]).code, 1);
    verify(dir.path(), &["--threads", "0"]).fails(2, &["--threads"]);
    assert_eq!(run(&["verify"]).code, 2);
}
