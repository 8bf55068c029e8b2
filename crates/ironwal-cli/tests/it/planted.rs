//! Faults that are planted in every structure of logs of every kind: `verify` names the file and the place, and
//! `repair` makes a copy that is whole, in which everything is that was.
//!
//! Here a few bytes of each kind of structure are planted. `IRONWAL_PLANTED=all`, as `scripts/planted-faults` sets
//! it, plants up to 500 bytes of the first of each kind in every file, all if it has no more, and one of each
//! that follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ironwal::{CompressionType, Error, Journal, Wal, WalOptions};
use serde_json::Value;

use crate::logs::{Clock, environment, full_segments, open, orders, sharded};
use crate::program::{content, run};

/// How many bytes of a structure are planted in turn, here and with `all`.
const BYTES_OF_A_STRUCTURE: usize = 5;
const BYTES_OF_A_STRUCTURE_MAX: usize = 500;

/// docs/format.md.
const JOURNAL_FRAME_HEADER_LEN: u64 = 64;

/// Of each stream: each entry, or `None` for one that cannot be read.
type Entries = BTreeMap<String, BTreeMap<u64, Option<Vec<u8>>>>;

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn entries(dir: &Path) -> Entries {
    let wal = Wal::open_read_only(WalOptions::new(dir)).unwrap();
    let mut all = Entries::new();
    for name in wal.streams() {
        let stream = wal.stream(&name).unwrap();
        let read = |id| match stream.get(id) {
            Ok(entry) => (id, entry.map(|entry| entry.to_vec())),
            Err(Error::Damaged { .. }) => (id, None),
            Err(error) => panic!("{id}: {error}"),
        };
        let entries = (stream.first_id()..stream.next_id()).map(read).collect();
        all.insert(name, entries);
    }
    all
}

struct Fault {
    file: String,
    kind: String,
    at: u64,
}

/// The bytes that are changed, one at a time.
fn faults(log: &Path) -> Vec<Fault> {
    let every_byte = std::env::var("IRONWAL_PLANTED").is_ok_and(|it| it == "all");
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    let dump = run(&["dump", log.to_str().unwrap(), "--json"]);
    for structure in lines(dump.text()) {
        let [file, kind] = ["file", "kind"].map(|key| structure[key].as_str().unwrap().to_string());
        let [at, mut len] = ["offset", "len"].map(|key| structure[key].as_u64().unwrap());
        if let Some(payload) = structure["fields"]["payload"].as_u64() {
            // What fills the rest of its blocks holds nothing.
            len = JOURNAL_FRAME_HEADER_LEN + payload;
        }
        // What is reserved holds nothing.
        if kind == "zeros" {
            continue;
        }
        let is_first = seen.insert((file.clone(), kind.clone()));
        let step = match (is_first, every_byte) {
            (true, true) => usize::try_from(len).unwrap().div_ceil(BYTES_OF_A_STRUCTURE_MAX),
            (true, false) => usize::try_from(len).unwrap().div_ceil(BYTES_OF_A_STRUCTURE),
            (false, true) => usize::try_from(len).unwrap(),
            (false, false) => continue,
        };
        // Of others a byte in the middle of them.
        let begin = if is_first { 0 } else { len / 2 };
        let bytes = (begin..len).step_by(step.max(1));
        faults.extend(bytes.map(|byte| Fault {
            file: file.clone(),
            kind: kind.clone(),
            at: at + byte,
        }));
    }
    faults
}

/// Plants each fault in turn, and looks what the program makes of it.
fn plant_all(log: &Path) {
    let whole = entries(log);
    let before = content(log);
    let faults = faults(log);
    assert!(!faults.is_empty());
    let mut kinds = BTreeMap::new();
    for fault in faults {
        let named = plant(log, &fault, &whole);
        let file = Path::new(&fault.file);
        std::fs::write(file, &before[file]).unwrap();
        *kinds.entry((fault.kind, named)).or_insert(0) += 1;
    }
    assert!(content(log) == before);
    for ((kind, named), count) in kinds {
        eprintln!("{count:6} in a {kind}: {named}");
    }
}

/// As which severity the fault was named.
fn plant(log: &Path, fault: &Fault, whole: &Entries) -> String {
    let (file, at) = (Path::new(&fault.file), fault.at);
    let what = format!("a byte of a {} of {} at {at}", fault.kind, file.display());
    let mut bytes = std::fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x10;
    std::fs::write(file, bytes).unwrap();

    let verified = run(&["verify", log.to_str().unwrap(), "--json"]);
    let findings = lines(verified.text());
    let names_it = |finding: &&Value| {
        let place = ["offset", "len"].map(|key| finding[key].as_u64());
        let [Some(offset), Some(len)] = place else { return false };
        finding["file"] == fault.file.as_str() && (offset..offset + len.max(1)).contains(&at)
    };
    let severity = match findings.iter().find(names_it) {
        Some(finding) => finding["severity"].as_str().unwrap(),
        // The journal and the segments hold the same bytes, and the next opening takes those that are whole:
        // docs/durability.md, "Rot in the journal".
        None if fault.kind.ends_with("frame") && log.join(".journal.0").exists() => "nothing",
        None => panic!("{what} is not named: {findings:?}"),
    };
    let is_damage = findings.iter().any(|finding| finding["severity"] == "damage");
    assert_eq!(verified.code, i32::from(is_damage), "{what}: {verified:?}");

    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("repaired");
    let repaired =
        run(&["repair", log.to_str().unwrap(), "--to", copy.to_str().unwrap(), "--yes", "--json"]);
    assert_eq!(repaired.code, 0, "{what}: {repaired:?}");
    let copy = if copy.exists() { &*copy } else { log };
    assert_eq!(run(&["verify", copy.to_str().unwrap()]).code, 0, "{what}");
    let mut left = entries(copy);
    for (name, kept) in whole {
        let left = left.remove(name).unwrap_or_default();
        for (id, entry) in kept {
            let of_it = left.get(id).unwrap_or(&None);
            let may_be_lost = findings.iter().any(|finding| {
                let [start, end] = ["start", "end"].map(|key| finding["ids"][key].as_u64());
                finding["stream"] == name.as_str()
                    && (start.unwrap_or(u64::MAX)..end.unwrap_or(u64::MAX)).contains(id)
            });
            assert!(
                of_it == entry || of_it.is_none() && may_be_lost,
                "{what}: {name}, {id}: {of_it:?}"
            );
        }
    }
    severity.to_string()
}

#[test]
fn faults_in_full_segments_are_named_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    full_segments(dir.path(), 20);
    orders(dir.path());
    plant_all(dir.path());
}

#[test]
fn faults_in_compressed_batches_are_named_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(WalOptions {
        compression: CompressionType::Lz4,
        max_segment_size: 4000,
        ..WalOptions::new(dir.path())
    });
    wal.append("s", &[b'x'; 4000]).unwrap();
    for batch in 0..3_u64 {
        // What does not get smaller is not compressed, and checked in pieces.
        let entry = |nth: u64| (0..90).map(|byte| (byte * nth * (batch + 7) % 251) as u8).collect();
        let entries: Vec<Vec<u8>> = (0..60).map(entry).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        wal.append_batch("s", &entries).unwrap();
    }
    wal.close().unwrap();
    plant_all(dir.path());
}

#[test]
fn faults_in_shards_and_checkpoints_are_named_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    sharded(dir.path()).inner().close().unwrap();
    plant_all(dir.path());
}

/// As a kill leaves it: the files of a log that is open, and at rest.
#[test]
fn faults_in_a_journal_are_named_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (live, log) = (dir.path().join("live"), dir.path().join("log"));
    let environment = environment(&Clock::default()).with_journal(Journal::On);
    let wal = Wal::open_with(WalOptions::new(&live), environment).unwrap();
    for id in 0..4 {
        for stream in ["a", "b"] {
            wal.append(stream, format!("{stream}{id}").as_bytes()).unwrap();
        }
    }
    for (file, bytes) in content(&live) {
        let copy = log.join(file.strip_prefix(&live).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::write(copy, bytes).unwrap();
    }
    wal.close().unwrap();
    plant_all(&log);
}
