//! `ironwal checkpoint`.

use std::ffi::OsStr;
use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::{Wal, WalOptions};

use crate::program::{Ran, append, run};
use crate::sharded::{append_keyed, open};

/// `ironwal checkpoint COMMAND DIR ARGS…`
fn checkpoint(command: &str, dir: &Path, args: &[&str]) -> Ran {
    let mut all = vec![OsStr::new("checkpoint"), OsStr::new(command), dir.as_os_str()];
    all.extend(args.iter().map(OsStr::new));
    run(&all)
}

#[track_caller]
fn said(ran: &Ran) -> &str {
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    &ran.err
}

/// The rows of the table, and of each the id and the numbers.
fn ls(dir: &Path) -> Vec<(String, u64, u64)> {
    let listed = String::from_utf8(checkpoint("ls", dir, &[]).quiet()).unwrap();
    let mut lines = listed.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["checkpoint", "created", "(UTC)", "entries", "since"]);
    let row = |line: &str| {
        let cells: Vec<_> = line.split_whitespace().collect();
        let (id, [date, time, entries, since]) = cells.split_last_chunk().unwrap();
        assert!(date.starts_with("20") && date.len() == 10 && time.len() == 8, "{line}");
        (id.join(" "), entries.parse().unwrap(), since.parse().unwrap())
    };
    lines.map(row).collect()
}

fn input() -> Vec<u8> {
    (0..300).flat_map(|line| format!("account {}\t{line}\n", line % 23).into_bytes()).collect()
}

#[test]
fn checkpoints_are_created_listed_and_compacted() {
    let dir = tempfile::tempdir().unwrap();
    append_keyed(dir.path(), &["--shards", "4", "--key-field", "1"], &input());
    assert_eq!(ls(dir.path()), []);
    assert_eq!(
        said(&checkpoint("create", dir.path(), &["monday"])),
        "created checkpoint \"monday\": 300 entries in 4 shards\n"
    );
    append_keyed(dir.path(), &["--key-field", "1"], &input());
    said(&checkpoint("create", dir.path(), &["tuesday, ünï\n"]));
    append_keyed(dir.path(), &["--key-field", "1"], b"a\n");
    let unusual = "tuesday, ünï\\n".to_string();
    let expected = [("monday".into(), 300, 301), (unusual.clone(), 600, 1)];
    assert_eq!(ls(dir.path()), expected);

    assert_eq!(
        said(&checkpoint("create", dir.path(), &["monday"])),
        "replaced checkpoint \"monday\": 601 entries in 4 shards\n"
    );
    assert_eq!(ls(dir.path()), [(unusual, 600, 1), ("monday".into(), 601, 0)]);
    let compacted = checkpoint("compact", dir.path(), &["--keep", "1"]);
    assert!(said(&compacted).starts_with("kept 1 of 2 checkpoints, "), "{compacted:?}");
    assert_eq!(ls(dir.path()), [("monday".into(), 601, 0)]);
    said(&checkpoint("compact", dir.path(), &["--keep", "0"]));
    assert_eq!(ls(dir.path()), []);
    assert_eq!(open(dir.path(), 4).checkpoint_count(), 0);
}

#[test]
fn ids_that_are_no_text_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), 2);
    wal.create_checkpoint(b"\xff\x00\x1b[2J").unwrap();
    // Beside the writer.
    assert_eq!(ls(dir.path()), [("\\xff\\x00\\x1b[2J".into(), 0, 0)]);
}

/// A log with full segments in every shard, and two checkpoints.
fn full_segments(dir: &Path) -> ShardedWal {
    let options = WalOptions { max_segment_size: 1000, ..WalOptions::new(dir) };
    let wal = ShardedWal::new(options, 4).unwrap();
    for nth in 0_u64..400 {
        wal.append(&nth.to_le_bytes(), &[7; 50]).unwrap();
        if nth == 200 {
            wal.create_checkpoint(b"half").unwrap();
        }
    }
    wal.create_checkpoint(b"all").unwrap();
    wal.append(b"key", b"after").unwrap();
    wal
}

#[test]
fn pruning_frees_segments_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let wal = full_segments(dir.path());
    let before = wal.inner().stats();
    let half = wal.load_checkpoint(b"half").unwrap();
    wal.close().unwrap();
    drop(wal);
    let ran = checkpoint("prune", dir.path(), &["half"]);
    let wal = open(dir.path(), 4);
    let after = wal.inner().stats();
    let segments = before.segments - after.segments;
    let bytes = before.bytes - after.bytes;
    assert!(segments > 4 && bytes > 4000);
    let grouped = format!("{},{:03}", bytes / 1000, bytes % 1000);
    assert_eq!(
        said(&ran),
        format!(
            "pruned before checkpoint \"half\": {segments} segments of 4 shards deleted, \
             {grouped} bytes freed\n"
        )
    );
    assert_eq!(wal.replay(&half).unwrap().count(), 200);
    wal.close().unwrap();
    drop(wal);

    // Without an id the newest.
    let ran = checkpoint("prune", dir.path(), &[]);
    assert!(said(&ran).starts_with("pruned before checkpoint \"all\": "), "{ran:?}");
    assert!(!ran.err.contains(" 0 segments"));
    let wal = open(dir.path(), 4);
    let all = wal.load_checkpoint(b"all").unwrap();
    let replayed: Vec<_> = wal.replay(&all).unwrap().map(Result::unwrap).collect();
    assert_eq!(replayed.len(), 1);
    assert_eq!(&replayed[0].2[..], b"after");
    wal.close().unwrap();
    drop(wal);
    let ran = checkpoint("prune", dir.path(), &[]);
    assert!(said(&ran).contains(": 0 segments of 0 shards deleted, 0 bytes freed\nnothing to"));
    // What was pruned still counts.
    assert_eq!(ls(dir.path()), [("half".into(), 201, 200), ("all".into(), 400, 1)]);
}

#[test]
fn a_log_without_shards_has_no_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "orders", &[], b"x\n");
    let commands: [(&str, &[&str]); 4] =
        [("ls", &[]), ("create", &["id"]), ("prune", &[]), ("compact", &["--keep", "1"])];
    for (command, args) in commands {
        let ran = checkpoint(command, dir.path(), args);
        ran.fails(1, &["ironwal: the log in ", "is not sharded", "ironwal append"]);
        let missing = dir.path().join("missing");
        checkpoint(command, &missing, args).fails(1, &["there is no log in"]);
        assert!(!missing.exists());
    }
    assert_eq!(Wal::new(WalOptions::new(dir.path())).unwrap().shard_count(), None);
}

#[test]
fn what_cannot_be_done_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), 2);
    for (command, args) in [("create", &["id"][..]), ("prune", &[]), ("compact", &["--keep", "1"])]
    {
        checkpoint(command, dir.path(), args).fails(1, &["another process has the log"]);
    }
    drop(wal);
    checkpoint("prune", dir.path(), &[]).fails(1, &["no checkpoints", "checkpoint create"]);
    checkpoint("prune", dir.path(), &["x"]).fails(1, &["\"x\"", "no such", "checkpoint ls"]);
    checkpoint("create", dir.path(), &[""]).fails(2, &["cannot create checkpoint \"\"", "1 to"]);
    for (command, args) in
        [("create", &[][..]), ("compact", &[]), ("compact", &["--keep", "-1"]), ("x", &[])]
    {
        let ran = checkpoint(command, dir.path(), args);
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    assert_eq!(open(dir.path(), 2).checkpoint_count(), 0);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_others_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), 2);
    for id in [&b"first one"[..], b"second one", b"third one"] {
        wal.append(b"key", b"entry").unwrap();
        wal.create_checkpoint(id).unwrap();
    }
    wal.close().unwrap();
    drop(wal);
    crate::damage::damage(&dir.path().join(".checkpoints"), b"second one");
    let ran = checkpoint("ls", dir.path(), &[]);
    ran.fails(1, &["ironwal: checkpoints are damaged and left out: "]);
    assert_eq!(ran.err.lines().count(), 1);
    let ids: Vec<_> =
        ran.text().lines().skip(1).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(ids, ["first one", "third one"]);
    checkpoint("prune", dir.path(), &["second one"]).fails(1, &["is damaged", "create a new one"]);
    said(&checkpoint("prune", dir.path(), &[]));
}
