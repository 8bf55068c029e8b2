//! `append` with keys, and `ls` of a sharded log.

use std::collections::BTreeMap;
use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::{Wal, WalOptions};

use crate::program::{Ran, append, cat, run, run_with_input};

/// `ironwal append DIR OPTIONS…`
pub(crate) fn append_keyed(dir: &Path, options: &[&str], input: &[u8]) -> Ran {
    let mut args = vec!["append", dir.to_str().unwrap()];
    args.extend(options);
    run_with_input(&args, input)
}

pub(crate) fn open(dir: &Path, shard_count: u16) -> ShardedWal {
    ShardedWal::new(WalOptions::new(dir), shard_count).unwrap()
}

fn ls(dir: &Path) -> String {
    String::from_utf8(run(&["ls".as_ref(), dir.as_os_str()]).quiet()).unwrap()
}

/// The cells of the line that begins with `first`, and the rest of it.
#[track_caller]
fn row<'a>(listed: &'a str, first: &str) -> Vec<&'a str> {
    let rows = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.first() == Some(&first));
    row.unwrap_or_else(|| panic!("no {first:?} in {listed}"))
}

fn transfers() -> String {
    (0..500).map(|line| format!("transfer {line},account {},{line}\n", line % 37)).collect()
}

/// The entries of all shards, by shard.
fn entries(wal: &ShardedWal) -> BTreeMap<u16, Vec<Vec<u8>>> {
    let shards = (0..wal.shard_count()).map(|shard| {
        let entries = wal.iter_shard(shard, 0).unwrap().map(Result::unwrap).collect();
        (shard, entries)
    });
    shards.collect()
}

#[test]
fn lines_go_where_their_keys_belong_in_order() {
    let options = ["--shards", "8", "--key-field", "2", "--delimiter", ","];
    for more in [&[][..], &["--batch", "7"], &["--batch", "1000", "--mode", "async"]] {
        let dir = tempfile::tempdir().unwrap();
        let ran = append_keyed(dir.path(), &[&options[..], more].concat(), transfers().as_bytes());
        assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
        assert_eq!(ran.err, "appended 500 entries to 8 of 8 shards\n");

        let wal = open(dir.path(), 8);
        let mut expected: BTreeMap<u16, Vec<Vec<u8>>> = (0..8).map(|it| (it, vec![])).collect();
        for line in transfers().lines() {
            let shard = wal.route(line.split(',').nth(1).unwrap().as_bytes());
            expected.get_mut(&shard).unwrap().push(line.into());
        }
        assert_eq!(entries(&wal), expected);
    }
}

#[test]
fn the_number_of_shards_is_needed_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let ran = append_keyed(&log, &["--key-field", "1"], b"a\tb\n");
    ran.fails(2, &["no sharded log", "--shards"]);
    assert!(!log.exists());

    let first = append_keyed(&log, &["--key-field", "1", "--shards", "4"], b"a\tb\n");
    assert_eq!((first.code, &*first.err), (0, "appended 1 entry to 1 of 4 shards\n"));
    let second = append_keyed(&log, &["--key-field", "1"], b"a\tc\na\td\n");
    assert_eq!((second.code, &*second.err), (0, "appended 2 entries to 1 of 4 shards\n"));
    append_keyed(&log, &["--key-field", "1", "--shards", "5"], b"a\tb\n")
        .fails(2, &["it has 4 shards", "leave out --shards"]);
    let wal = open(&log, 4);
    let shard = wal.route(b"a");
    assert_eq!(entries(&wal)[&shard], [b"a\tb", b"a\tc", b"a\td"]);
}

#[test]
fn a_line_without_the_field_ends_it_and_what_was_before_stays() {
    let options = ["--shards", "4", "--key-field", "2"];
    let input = b"1\ta\n2\tb\n3\tc\nfour\n5\te\n";
    for (batch, kept) in [(&[][..], 3), (&["--batch", "2"], 2), (&["--batch", "100"], 0)] {
        let dir = tempfile::tempdir().unwrap();
        let ran = append_keyed(dir.path(), &[&options[..], batch].concat(), input);
        ran.fails(1, &["line 4 has 1 field and the key is field 2", "--delimiter"]);
        let entries: Vec<_> = entries(&open(dir.path(), 4)).into_values().flatten().collect();
        assert_eq!(entries.len(), kept);
        let said = if kept == 1 { "1 entry" } else { &format!("{kept} entries") };
        assert!(ran.err.starts_with(&format!("appended {said} to ")), "{ran:?}");
    }
}

#[test]
fn keys_and_a_stream_exclude_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        &["s", "--key-field", "1"][..],
        &["s", "--shards", "4"],
        &["s", "--delimiter", ","],
        &["--shards", "4"],
        &["--shards", "0", "--key-field", "1"],
        &["--shards", "65536", "--key-field", "1"],
        &["--shards", "4", "--key-field", "0"],
        &["--shards", "4", "--key-field", "1", "--delimiter", "ab"],
        &["--shards", "4", "--key-field", "1", "--delimiter", ""],
        &[],
    ] {
        let ran = append_keyed(&dir.path().join("log"), options, b"x\n");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_log_with_streams_does_not_become_sharded() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "orders", &[], b"x\n");
    for options in [&["--key-field", "1"][..], &["--key-field", "1", "--shards", "4"]] {
        append_keyed(dir.path(), options, b"a\n").fails(1, &["is not sharded", "new directory"]);
    }
    assert_eq!(ls(dir.path()).lines().count(), 2);
    assert_eq!(cat(dir.path(), "orders", &[]).quiet(), b"x\n");
}

#[test]
fn shards_are_listed_with_their_balance() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), 3);
    let key_of = |shard| (0_u64..).find(|key| wal.route(&key.to_le_bytes()) == shard).unwrap();
    for (shard, count) in [(0, 8), (2, 4)] {
        for _ in 0..count {
            wal.append(&key_of(shard).to_le_bytes(), b"entry").unwrap();
        }
    }
    wal.inner().append("audit", b"x").unwrap();
    // Beside the writer.
    let listed = ls(dir.path());
    assert_eq!(row(&listed, "00"), ["00", "0", "8", "8", &"█".repeat(30)]);
    assert_eq!(row(&listed, "01"), ["01", "0", "0", "0"]);
    assert_eq!(row(&listed, "02"), ["02", "0", "4", "4", &"█".repeat(15)]);
    assert_eq!(row(&listed, "audit"), ["audit", "0", "1", "1"]);
    assert!(listed.ends_with("\n\nno checkpoints\n"), "{listed}");
    // The bars stand one below the other.
    let bars = listed.lines().filter_map(|line| line.find('█'));
    assert_eq!(bars.collect::<std::collections::BTreeSet<_>>().len(), 1, "{listed}");

    wal.create_checkpoint(b"first").unwrap();
    let listed = ls(dir.path());
    let found = row(&listed, "first");
    assert_eq!(found.len(), 5, "{listed}");
    assert_eq!(found[3..], ["12", "0"]);
    for nth in 0..9 {
        wal.create_checkpoint(format!("nth-{nth}").as_bytes()).unwrap();
    }
    let listed = ls(dir.path());
    assert!(listed.contains("10 checkpoints; the newest of them"), "{listed}");
    assert!(listed.contains("nth-8") && listed.contains("nth-4"), "{listed}");
    assert!(!listed.contains("nth-3") && !listed.contains("\nfirst "), "{listed}");
}

#[test]
fn of_many_shards_those_with_entries_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path(), 2000);
    assert_eq!(ls(dir.path()), "2,000 shards of 2,000 never had an entry\n\nno checkpoints\n");
    let mut shards: Vec<u16> =
        (0_u64..20).map(|key| wal.append(&key.to_le_bytes(), b"entry").unwrap().0).collect();
    shards.sort_unstable();
    shards.dedup();
    let listed = ls(dir.path());
    let listed_shards: Vec<u16> =
        listed.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    assert_eq!(listed_shards, shards, "{listed}");
    let empty = 2000 - shards.len();
    assert!(listed.contains(&format!("\n1,{} shards of 2,000 never", empty - 1000)), "{listed}");
}

/// A stream whose name looks like a shard's is one of the others.
#[test]
fn only_shards_are_listed_as_shards() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::new(WalOptions::new(dir.path())).unwrap();
    let wal = ShardedWal::over(wal, 2).unwrap();
    for name in ["shard_02", "shard_1", "shard_+1", "shard_001", "shards"] {
        wal.inner().append(name, b"x").unwrap();
    }
    let listed = ls(dir.path());
    for name in ["shard_02", "shard_1", "shard_+1", "shard_001", "shards"] {
        assert_eq!(row(&listed, name), [name, "0", "1", "1"]);
    }
    assert_eq!(row(&listed, "01"), ["01", "0", "0", "0"]);
}
