//! `stat` says how much there is of what.

use std::path::Path;

use ironwal::WalOptions;
use ironwal::sharded::ShardedWal;

use crate::logs::{compressed, full_segments, orders, sharded};
use crate::program::{Ran, append, run};

fn stat(dir: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["stat", dir.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

#[test]
fn streams_have_entries_bytes_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 20);
    orders(dir.path());
    let size = ["--segment-size", "1000"];
    assert_eq!(
        stat(dir.path(), &size).text(),
        "stream  entries  first id  next id  segments   bytes       newest\n\
         orders        3         0        3         1   8,288   9.6 % full\n\
         s            20         0       20         2  17,984  64.0 % full\n"
    );
    assert_eq!(
        stat(dir.path(), &["orders", "--segment-size", "1000", "--json"]).text(),
        "{\"type\":\"stream\",\"name\":\"orders\",\"entries\":3,\"first_id\":0,\"next_id\":3,\
         \"segments\":1,\"bytes\":8288,\"newest\":{\"first_id\":0,\"bytes\":96,\"fill\":0.096}}\n\
         {\"type\":\"summary\",\"streams\":1,\"entries\":3,\"segments\":1,\"bytes\":8288}\n"
    );
    // An unusual name is found too.
    append(dir.path(), ".a/b ü", &[], b"x\n");
    let ran = stat(dir.path(), &[".a/b ü"]);
    assert!(ran.text().contains(" 0.0 % full"), "{ran:?}");
    ran.quiet();
}

#[test]
fn compressed_entries_have_a_ratio() {
    let dir = tempfile::tempdir().unwrap();
    compressed(dir.path());
    append(dir.path(), "plain", &[], b"x\n");
    assert_eq!(
        stat(dir.path(), &[]).text(),
        "stream  entries  first id  next id  segments  bytes      newest  compression\n\
         packed        1         0        1         1  8,248  0.0 % full        71.43\n\
         plain         1         0        1         1  8,224  0.0 % full\n"
    );
}

#[test]
fn shards_have_bars_a_skew_and_a_rate() {
    let dir = tempfile::tempdir().unwrap();
    // Beside the writer.
    let wal = sharded(dir.path());
    let (whole, half) = ("█".repeat(67), "█".repeat(33));
    assert_eq!(
        stat(dir.path(), &[]).text(),
        format!(
            "stream    entries  first id  next id  segments  bytes      newest\n\
             shard_00        8         0        8         1  8,448  0.0 % full\n\
             shard_02        4         0        4         1  8,320  0.0 % full\n\
             \n\
             shard 00  8  {whole}\n\
             shard 01  0\n\
             shard 02  4  {half}▌\n\
             the fullest shard has 2.00 times the entries of the mean\n\
             0.8 entries per second, from the oldest checkpoint to the newest\n"
        )
    );
    let json = stat(dir.path(), &["--json"]);
    assert_eq!(
        json.text().lines().last().unwrap(),
        "{\"type\":\"summary\",\"streams\":2,\"entries\":12,\"segments\":2,\"bytes\":16768,\
         \"shards\":3,\"skew\":2.0,\"entries_per_second\":0.8}"
    );
    // Of some streams there is no skew.
    assert_eq!(stat(dir.path(), &["shard_00"]).text().lines().count(), 2);
    wal.close().unwrap();
}

/// Nothing is said of a rate where nothing has a time.
#[test]
fn without_two_checkpoints_there_is_no_rate() {
    let dir = tempfile::tempdir().unwrap();
    let wal = ShardedWal::new(WalOptions::new(dir.path()), 2).unwrap();
    wal.append(b"key", b"entry").unwrap();
    assert!(!stat(dir.path(), &[]).text().contains("per second"));
    wal.create_checkpoint(b"one").unwrap();
    let ran = stat(dir.path(), &[]);
    assert!(!ran.text().contains("per second"), "{ran:?}");
    assert!(ran.text().contains("2.00 times"), "{ran:?}");
    assert!(!stat(dir.path(), &["--json"]).text().contains("entries_per_second"));
}

#[test]
fn of_many_shards_those_with_entries_have_bars() {
    let dir = tempfile::tempdir().unwrap();
    let wal = ShardedWal::new(WalOptions::new(dir.path()), 100).unwrap();
    assert!(stat(dir.path(), &[]).text().ends_with("\n100 shards of 100 never had an entry\n"));
    wal.append(b"key", b"entry").unwrap();
    let ran = stat(dir.path(), &[]);
    assert!(ran.text().contains("\n99 shards of 100 never had an entry\n"), "{ran:?}");
    assert_eq!(ran.text().matches("█\n").count(), 1);
}

#[test]
fn what_cannot_be_counted_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    stat(dir.path(), &[]).fails(1, &["there is no log in"]);
    orders(dir.path());
    stat(dir.path(), &["orders", "unknown"]).fails(1, &["no stream \"unknown\"", "ironwal ls"]);
    stat(dir.path(), &["--segment-size", "0"]).fails(2, &["--segment-size"]);
    assert_eq!(run(&["stat"]).code, 2);
}
