//! Every entry is the same when it is read by the old library and by the new one, and so is its place.

use ironwal::sharded::ShardedWal;
use ironwal::{CorruptionPolicy, Wal, WalOptions};

use crate::writing::{KEYS, KINDS, SHARDS, entry, key};
use crate::{Case, seen};

fn is_sharded(kind: &str) -> bool {
    matches!(kind, "sharded" | "pruned")
}

fn check(kind: &str, case: &Case) {
    let ran = case.migrate(&[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{kind}: {ran:?}");
    let (old, new) = (seen::old(case, is_sharded(kind)), seen::new(&case.new_log()));
    assert!(old.entries.len() > 140, "{kind}");
    assert_eq!(old.checkpoints.len(), if is_sharded(kind) { 4 } else { 0 }, "{kind}");
    assert_eq!(old, new, "{kind}");
    if is_sharded(kind) {
        check_routing(case, kind == "pruned");
    } else {
        for ((stream, id), found) in &new.entries {
            assert_eq!(found.as_ref(), Some(&entry(stream, *id)), "{kind}");
        }
    }
}

/// An entry says under which key it was appended: it is in the shard to which that is routed now.
fn check_routing(case: &Case, is_pruned: bool) {
    let options = WalOptions::new(case.new_log());
    let options = WalOptions { on_corruption: CorruptionPolicy::Error, ..options };
    let wal = ShardedWal::new(options, SHARDS).unwrap();
    let mut found = 0;
    for n in 0..KEYS + 50 {
        let mut shard = wal.iter_shard(wal.route(&key(n)), 0).unwrap();
        found += u32::from(shard.any(|entry| entry.unwrap() == key(n)));
    }
    assert_eq!(found == KEYS + 50, !is_pruned, "{found}");
    assert!(found > KEYS / 2);
    // It goes on: what is replayed is what came after the checkpoint.
    let half = wal.load_checkpoint(b"half").unwrap();
    assert_eq!(wal.replay(&half).unwrap().count() as u32, KEYS + 50 - (KEYS / 2 + 1));
    let (shard, id) = wal.append(&key(0), b"more").unwrap();
    assert_eq!(wal.shard(shard).unwrap().get(id).unwrap().as_deref(), Some(&b"more"[..]));
    wal.create_checkpoint(b"new").unwrap();
    assert_eq!(wal.load_latest_checkpoint().unwrap().0, b"new");
    wal.close().unwrap();
}

#[test]
fn directories_of_0_6_9() {
    for kind in KINDS {
        check(kind, &Case::new(kind));
    }
}

#[test]
fn directories_of_0_6_0() {
    for kind in KINDS {
        check(kind, &Case::new_by_0_6_0(kind));
    }
}

#[test]
fn compressed_ones_are_smaller_and_equal() {
    let len = |case: &Case| crate::files(&case.new_log()).values().map(Vec::len).sum::<usize>();
    let (plain, compressed) = (Case::new("plain"), Case::new("plain"));
    assert_eq!(plain.migrate(&[]).code, 0);
    assert_eq!(compressed.migrate(&["--compress"]).code, 0);
    assert_eq!(seen::new(&plain.new_log()), seen::new(&compressed.new_log()));
    assert!(len(&compressed) < len(&plain) * 3 / 4, "{} {}", len(&compressed), len(&plain));
}

/// 0.6 wrote `audit/log` into a directory without the slash; here these are two streams.
#[test]
fn streams_get_other_names() {
    let case = Case::new("plain");
    let ran = case.migrate(&["--name", "audit.log=audit/log"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let wal = Wal::new(WalOptions::new(case.new_log())).unwrap();
    assert_eq!(wal.streams(), ["audit/log", "one", "orders"]);
    assert_eq!(wal.get("audit/log", 9).unwrap(), Some(entry("audit.log", 9)));
}

#[test]
fn shards_can_be_streams_like_others() {
    let case = Case::new("sharded");
    std::fs::remove_file(case.old().join("checkpoints.log")).unwrap();
    std::fs::remove_file(case.old().join("HEAD")).unwrap();
    let ran = case.migrate(&["--shards", "0"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(seen::old(&case, false), seen::new(&case.new_log()));
    let wal = Wal::open_read_only(WalOptions::new(case.new_log())).unwrap();
    assert_eq!(wal.shard_count(), None);
}

#[test]
fn the_summary() {
    let case = Case::new("sharded");
    std::fs::create_dir(case.old().join("lost+found")).unwrap();
    let ran = case.migrate(&[]);
    let new = case.new_log();
    let expected = format!(
        "migrated: {}: 450 entries in 8 streams, 3040 bytes; 8 shards, 4 checkpoints",
        new.display()
    );
    assert_eq!(ran.out.lines().last(), Some(expected.as_str()), "{}", ran.out);
    assert!(ran.out.contains("lost+found is no stream"), "{}", ran.out);
    std::fs::remove_dir_all(&new).unwrap();
    let ran = case.migrate(&["--json"]);
    let last: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    let expected = serde_json::json!({
        "kind": "migrated", "path": new, "streams": 8, "entries": 450, "bytes": 3040, "lost": 0,
        "shards": 8, "checkpoints": 4, "checkpoints_damaged": false,
    });
    assert_eq!(last, expected);
}
