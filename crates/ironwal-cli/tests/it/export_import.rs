//! `export` writes a log as lines of JSON, and `import` makes the same log of them.

use std::path::Path;

use ironwal::sharded::ShardedWal;
use ironwal::{Wal, WalOptions};

use crate::logs::{flip, large, open, orders, segment};
use crate::program::{Ran, cat, run, run_with_input};

fn export(log: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["export", log.to_str().unwrap()];
    args.extend(options);
    run(&args)
}

fn import(log: &Path, options: &[&str], lines: &[u8]) -> Ran {
    let mut args = vec!["import", log.to_str().unwrap()];
    args.extend(options);
    run_with_input(&args, lines)
}

/// Entries of all kinds: empty, not UTF-8, with line breaks, long; a stream that was pruned, one of which
/// all was; a name that needs encoding.
fn varied(log: &Path) {
    let wal = open(WalOptions { max_segment_size: 1000, ..WalOptions::new(log) });
    for entry in [&b""[..], b"tea\n\"milk\"\0", b"\xff\x00", "ünï".as_bytes(), &[7; 5000]] {
        wal.append("a/ü b", entry).unwrap();
    }
    for id in 0..3000_u64 {
        wal.append("many", &id.to_le_bytes()).unwrap();
    }
    wal.stream("many").unwrap().truncate_before(1234).unwrap();
    wal.append("gone", b"x").unwrap();
    wal.stream("gone").unwrap().truncate_before(1).unwrap();
    wal.close().unwrap();
}

type Seen = Vec<(String, u64, Vec<(u64, Vec<u8>)>)>;

fn seen(log: &Path) -> Seen {
    let wal = Wal::open_read_only(WalOptions::new(log)).unwrap();
    let of = |name: String| {
        let entries = wal.iter_with_ids(&name, 0).unwrap().map(Result::unwrap).collect();
        let next_id = wal.stream(&name).unwrap().next_id();
        (name, next_id, entries)
    };
    wal.streams().into_iter().map(of).collect()
}

#[test]
fn the_lines_are_these() {
    let dir = tempfile::tempdir().unwrap();
    orders(dir.path());
    let wal = open(WalOptions::new(dir.path()));
    wal.append("raw", b"\xff\x00").unwrap();
    wal.close().unwrap();
    drop(wal);
    let ran = export(dir.path(), &[]);
    assert_eq!((ran.code, &*ran.err), (0, "exported 4 entries of 2 streams\n"));
    assert_eq!(
        ran.text(),
        "{\"type\":\"export\",\"version\":1,\"streams\":2}\n\
         {\"type\":\"stream\",\"stream\":\"orders\",\"ids\":{\"start\":0,\"end\":3}}\n\
         {\"type\":\"entry\",\"stream\":\"orders\",\"id\":0,\"entry\":\"tea\"}\n\
         {\"type\":\"entry\",\"stream\":\"orders\",\"id\":1,\"entry\":\"coffee\"}\n\
         {\"type\":\"entry\",\"stream\":\"orders\",\"id\":2,\"entry\":\"cake\"}\n\
         {\"type\":\"stream\",\"stream\":\"raw\",\"ids\":{\"start\":0,\"end\":1}}\n\
         {\"type\":\"entry\",\"stream\":\"raw\",\"id\":0,\"entry_base64\":\"/wA=\"}\n\
         {\"type\":\"end\",\"streams\":2,\"entries\":4,\"checkpoints\":0,\"gaps\":0}\n"
    );
    let ran = export(dir.path(), &["raw"]);
    assert_eq!(ran.text().lines().count(), 4);
    export(dir.path(), &["unknown"]).fails(1, &["there is no stream \"unknown\""]);
}

#[test]
fn what_is_imported_is_what_was_exported() {
    let dir = tempfile::tempdir().unwrap();
    let (log, copy, file) = (dir.path().join("log"), dir.path().join("copy"), dir.path().join("f"));
    varied(&log);
    let ran = export(&log, &["-o", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.text()), (0, ""), "{ran:?}");
    let lines = std::fs::read(&file).unwrap();
    assert!(export(&log, &[]).out == lines);
    std::fs::create_dir(&copy).unwrap();
    let ran = import(&copy, &[file.to_str().unwrap(), "--json"], b"");
    let imported =
        "{\"type\":\"imported\",\"streams\":3,\"entries\":1771,\"checkpoints\":0,\"gaps\":0}\n";
    assert_eq!((ran.code, ran.text()), (0, imported), "{ran:?}");
    assert!(seen(&copy) == seen(&log));
    assert_eq!(run(&["verify".as_ref(), copy.as_os_str()]).code, 0);
    assert!(export(&copy, &[]).out == lines);
    // Nothing else is left.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    // And from standard input.
    let other = dir.path().join("other");
    assert_eq!(import(&other, &[], &lines).code, 0);
    assert!(seen(&other) == seen(&log));
}

#[test]
fn shards_and_checkpoints_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("copy"));
    let wal = crate::sharded::open(&log, 5);
    for nth in 0..300_u32 {
        wal.append(&nth.to_le_bytes(), &nth.to_le_bytes()).unwrap();
        if nth % 50 == 30 {
            wal.create_checkpoint(format!("at {nth}").as_bytes()).unwrap();
        }
    }
    wal.create_checkpoint(b"\xff").unwrap();
    wal.inner().stream("shard_02").unwrap().truncate_before(9).unwrap();
    wal.close().unwrap();
    drop(wal);
    let lines = export(&log, &[]).out;
    assert_eq!(import(&copy, &[], &lines).code, 0);
    assert!(seen(&copy) == seen(&log));
    let [old, new] = [&log, &copy].map(|dir| ShardedWal::new(WalOptions::new(dir), 5).unwrap());
    assert_eq!(old.list_checkpoints(), new.list_checkpoints());
    assert_eq!(old.checkpoint_count(), 7);
    for (id, _) in old.list_checkpoints() {
        assert_eq!(old.load_checkpoint(&id).unwrap(), new.load_checkpoint(&id).unwrap());
    }
    let latest = new.load_latest_checkpoint().unwrap().1;
    assert_eq!(new.replay(&latest).unwrap().count(), 0);
    assert_eq!(old.append(b"key", b"x").unwrap(), new.append(b"key", b"x").unwrap());
    // By name they are streams like others.
    let one = dir.path().join("one");
    assert_eq!(import(&one, &[], &export(&log, &["shard_01"]).out).code, 0);
    assert_eq!(Wal::open_read_only(WalOptions::new(&one)).unwrap().shard_count(), None);
}

#[test]
fn damage_is_a_gap_and_renumbering_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("copy"));
    orders(&log);
    flip(&segment(&log, "orders", 0), 8224 + 24);
    let ran = export(&log, &[]);
    ran.fails(1, &["Damaged entries 1..2", "exported 2 entries of 1 stream"]);
    let gap: Vec<_> = ran.text().lines().filter(|line| line.contains("gap\",")).collect();
    assert!(gap[0].contains("\"stream\":\"orders\",\"ids\":{\"start\":1,\"end\":2}"), "{gap:?}");
    assert!(ran.text().ends_with("\"gaps\":1}\n"));
    let refused = import(&copy, &[], &ran.out);
    refused.fails(1, &["ironwal: line 4: entries of \"orders\" are missing", "--renumber"]);
    refused.fails(1, &["nothing was imported"]);
    assert!(!copy.exists());
    let renumbered = import(&copy, &["--renumber"], &ran.out);
    assert_eq!(renumbered.code, 0, "{renumbered:?}");
    assert!(renumbered.text().ends_with("2 entries of 1 stream; 1 gap left out\n"));
    assert_eq!(cat(&copy, "orders", &["--ids"]).quiet(), b"0\ttea\n1\tcake\n");
}

/// Each line is left out, cut in the middle, doubled, and changed: no log comes of it, and the line is named.
#[test]
fn what_is_no_whole_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = (dir.path().join("log"), dir.path().join("copy"));
    let wal = crate::sharded::open(&log, 2);
    for key in 0..4_u8 {
        wal.inner().append("shard_00", &[key]).unwrap();
    }
    wal.append(b"key", b"x").unwrap();
    wal.create_checkpoint(b"one").unwrap();
    wal.close().unwrap();
    drop(wal);
    let lines = String::from_utf8(export(&log, &[]).out).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let refused = |lines: &[&str], what: &str| {
        let ran = import(&copy, &[], lines.join("\n").as_bytes());
        ran.fails(1, &["ironwal: line ", "; nothing was imported"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{what}: {ran:?}");
        ran.err
    };
    for nth in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(nth);
        refused(&without, "without");
        let mut cut = lines.clone();
        cut[nth] = &cut[nth][..cut[nth].len() / 2];
        assert!(refused(&cut, "cut").contains(&format!("line {}: ", nth + 1)));
        refused(&cut[..=nth], "cut off");
        let mut twice = lines.clone();
        twice.insert(nth, lines[nth]);
        if !lines[nth].contains("\"checkpoint\"") {
            assert!(!refused(&twice, "twice").is_empty());
        } else {
            refused(&twice, "twice");
        }
        let changed = lines[nth].replacen(':', ":\"x", 1);
        let mut other = lines.clone();
        other[nth] = &changed;
        refused(&other, "changed");
    }
    for (from, to, said) in [
        ("\"version\":1", "\"version\":2", "line 1: the export has version 2"),
        ("\"id\":1", "\"id\":2", "entry 1 of \"shard_00\" is due, and this is 2"),
        ("\"shards\":2", "\"shards\":3", "checkpoint"),
    ] {
        let text = lines.join("\n").replacen(from, to, 1);
        let ran = import(&copy, &[], text.as_bytes());
        ran.fails(1, &[said, "nothing was imported"]);
    }
    for other in ["", "tea\n", "{\"id\":0,\"entry\":\"tea\"}\n"] {
        import(&copy, &[], other.as_bytes()).fails(1, &["ironwal: line 1: "]);
    }
    assert_eq!(import(&copy, &[], lines.join("\n").as_bytes()).code, 0);
}

#[test]
fn what_is_there_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, file) = (dir.path().join("log"), dir.path().join("file"));
    export(&log, &[]).fails(1, &["there is no log in"]);
    orders(&log);
    let lines = export(&log, &[]).out;
    import(&log, &[], &lines).fails(2, &["is not empty"]);
    std::fs::write(&file, b"mine").unwrap();
    export(&log, &["-o", file.to_str().unwrap()]).fails(2, &["exists"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    let copy = dir.path().join("copy");
    import(&copy, &["no-such-file"], b"").fails(1, &["no-such-file"]);
    import(&file, &[], &lines).fails(1, &["file"]);
    assert_eq!(cat(&log, "orders", &["--ids"]).quiet(), b"0\ttea\n1\tcoffee\n2\tcake\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, file, copy) =
        (dir.path().join("log"), dir.path().join("file"), dir.path().join("copy"));
    large(&log);
    let short = |args: &[&str]| crate::program::run_with_short_files(64, args);
    let [log, file, copy] = [&log, &file, &copy].map(|path| path.to_str().unwrap());
    short(&["export", log, "-o", file])
        .fails(1, &["cannot write the export", "nothing was exported"]);
    assert_eq!(run(&["export", log, "-o", file]).code, 0);
    short(&["import", copy, file]).fails(1, &["no space left", "nothing was imported"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut program = crate::program::program();
    let output = program.args(["export", log]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("ironwal: cannot write to standard output: "), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_leaves_nothing() {
    const ATTEMPTS_MAX: u32 = 20;

    let dir = tempfile::tempdir().unwrap();
    let paths = ["log", "file", "copy", "input"].map(|name| dir.path().join(name));
    crate::logs::full_segments(&paths[0], 5000);
    let [log, file, copy, input] = paths.each_ref().map(|path| path.to_str().unwrap());
    assert_eq!(run(&["export", log, "-o", input]).code, 0);
    for (args, made) in
        [(["export", log, "-o", file], &paths[1]), (["import", copy, input, "--json"], &paths[2])]
    {
        let mut interrupted = 0;
        for _ in 0..ATTEMPTS_MAX {
            let (code, said) = crate::repair::interrupted(&args);
            if code == Some(0) {
                let removed = std::fs::remove_file(made).or_else(|_| std::fs::remove_dir_all(made));
                removed.unwrap();
                continue;
            }
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("interrupted; nothing was "), "{said}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
            interrupted += 1;
            break;
        }
        assert!(interrupted > 0, "{args:?}: it was always faster");
    }
}

/// The test appends without a pause while another process exports.
#[test]
fn beside_a_writer_it_is_one_instant() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions { sync_mode: ironwal::SyncMode::Async, ..WalOptions::new(dir.path()) };
    let wal = Wal::new(options).unwrap();
    let stop = AtomicBool::new(false);
    wal.append_batch("b", &[b"0"]).unwrap();
    wal.append_batch("a", &[b"0"]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000_000_u64 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                wal.append("b", b"first").unwrap();
                wal.append("a", b"second").unwrap();
            }
        });
        let runs: Vec<Ran> = (0..3).map(|_| export(dir.path(), &[])).collect();
        stop.store(true, Ordering::Relaxed);
        for ran in runs {
            assert_eq!(ran.code, 0, "{}", ran.err);
            let count = |name: &str| {
                let begin = format!("{{\"type\":\"entry\",\"stream\":\"{name}\"");
                ran.text().lines().filter(|line| line.starts_with(&begin)).count()
            };
            let (first, second) = (count("b"), count("a"));
            assert!(first == second || first == second + 1, "{first} {second}");
        }
    });
    wal.close().unwrap();
}
