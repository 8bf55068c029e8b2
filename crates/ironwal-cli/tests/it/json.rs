//! `--json` of the commands that read: one object per line.

use std::sync::atomic::Ordering;

use ironwal::sharded::ShardedWal;
use ironwal::{Wal, WalOptions};

use crate::logs::{Clock, environment};
use crate::program::{append, cat, run};

#[test]
fn entries_that_are_no_text_are_base64() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "s", &[], b"plain\n\n\xc3\xbc\t\"\\\n\xff\x00\xfe\n");
    let printed = String::from_utf8(cat(dir.path(), "s", &["--json"]).quiet()).unwrap();
    assert_eq!(
        printed,
        "{\"id\":0,\"entry\":\"plain\"}\n\
         {\"id\":1,\"entry\":\"\"}\n\
         {\"id\":2,\"entry\":\"ü\\t\\\"\\\\\"}\n\
         {\"id\":3,\"entry_base64\":\"/wD+\"}\n"
    );
    assert_eq!(
        cat(dir.path(), "s", &["--json", "--from", "1", "--to", "2"]).quiet(),
        b"{\"id\":1,\"entry\":\"\"}\n"
    );
}

#[test]
fn streams_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), "orders", &[], b"a\nb\n");
    append(dir.path(), "a\n\"name\"", &[], b"x\n");
    let listed = run(&["ls", dir.path().to_str().unwrap(), "--json"]).quiet();
    assert_eq!(
        String::from_utf8(listed).unwrap(),
        "{\"type\":\"log\",\"streams\":2}\n\
         {\"type\":\"stream\",\"name\":\"a\\n\\\"name\\\"\",\"first_id\":0,\"next_id\":1,\"entries\":1}\n\
         {\"type\":\"stream\",\"name\":\"orders\",\"first_id\":0,\"next_id\":2,\"entries\":2}\n"
    );
}

#[test]
fn shards_and_checkpoints_are_listed_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::default();
    let wal = Wal::open_with(WalOptions::new(dir.path()), environment(&clock)).unwrap();
    let wal = ShardedWal::over(wal, 2).unwrap();
    clock.store(100, Ordering::Relaxed);
    let (shard, _) = wal.append(b"key", b"entry").unwrap();
    wal.create_checkpoint(b"monday").unwrap();
    wal.append(b"key", b"entry").unwrap();
    wal.create_checkpoint(b"\xff").unwrap();
    let path = dir.path().to_str().unwrap();
    let json = |args: &[&str]| {
        let all = [args, &["--json"]].concat();
        String::from_utf8(run(&all).quiet()).unwrap()
    };
    let checkpoints = "{\"type\":\"checkpoint\",\"id\":\"monday\",\"created_ns\":100000000000,\
                       \"entries\":1,\"since\":1}\n\
                       {\"type\":\"checkpoint\",\"id_base64\":\"/w==\",\"created_ns\":100000000000,\
                       \"entries\":2,\"since\":0}\n";
    assert_eq!(json(&["checkpoint", "ls", path]), checkpoints);
    let name = format!("shard_{shard:02}");
    let stream = format!(
        "{{\"type\":\"stream\",\"name\":\"{name}\",\"shard\":{shard},\"first_id\":0,\"next_id\":2,\
         \"entries\":2}}\n"
    );
    let log = "{\"type\":\"log\",\"streams\":1,\"shards\":2,\"checkpoints\":2}\n";
    assert_eq!(json(&["ls", path]), format!("{log}{stream}{checkpoints}"));
    let offsets = |entries: u64| if shard == 0 { [entries, 0] } else { [0, entries] };
    let [a, b] = offsets(1);
    assert_eq!(
        json(&["checkpoint", "show", path, "monday"]),
        format!(
            "{{\"type\":\"checkpoint\",\"id\":\"monday\",\"created_ns\":100000000000,\"entries\":1,\
             \"offsets\":[{a},{b}]}}\n"
        )
    );
    // Without an id the newest.
    let [a, b] = offsets(2);
    let shown = run(&["checkpoint", "show", path]);
    assert_eq!(
        shown.text(),
        format!(
            "checkpoint \"\\xff\", created 1970-01-01 00:01:40 UTC: 2 entries\n\
             shard  goes on at\n00              {a}\n01              {b}\n"
        )
    );
    shown.quiet();
    run(&["checkpoint", "show", path, "x"]).fails(1, &["\"x\"", "no such checkpoint"]);
}
