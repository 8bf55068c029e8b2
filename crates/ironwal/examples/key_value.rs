//! The log under a key-value store: every change is in the log before it is in memory, a snapshot bounds
//! what has to be read again, and old changes are pruned.

use std::collections::BTreeMap;
use std::path::Path;

use ironwal::{Stream, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many changes are replayed at most.
const CHANGES_MAX: u64 = 1000;

struct Store {
    wal: Wal,
    changes: Stream,
    snapshots: Stream,
    map: BTreeMap<String, String>,
    /// The changes before this id are in the newest snapshot.
    saved_to: u64,
}

impl Store {
    fn open(path: &Path) -> Result<Self> {
        let wal = Wal::new(WalOptions {
            max_entries_per_segment: 250, // so that there is something to free; a segment is freed whole
            ..WalOptions::new(path)
        })?;
        let (changes, snapshots) = (wal.stream("changes")?, wal.stream("snapshots")?);
        let (mut map, mut saved_to) = (BTreeMap::new(), 0);
        if let Some(snapshot) = snapshots.range(..).next_back() {
            let (_, snapshot) = snapshot?;
            let mut lines = std::str::from_utf8(&snapshot)?.lines();
            saved_to = lines.next().ok_or("no id")?.parse()?;
            lines.try_for_each(|line| apply(&mut map, line))?;
        }
        for change in changes.range(saved_to..) {
            apply(&mut map, std::str::from_utf8(&change?.1)?)?;
        }
        Ok(Self { wal, changes, snapshots, map, saved_to })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.map.get(key).map(String::as_str)
    }

    /// First the log, which is on stable storage when this returns, then memory: what is read has happened.
    fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let change = format!("{key}={value}");
        let id = self.changes.append(change.as_bytes())?;
        apply(&mut self.map, &change)?;
        if id + 1 - self.saved_to >= CHANGES_MAX {
            self.save_snapshot(id + 1)?;
        }
        Ok(())
    }

    /// Saves what the changes before `id` came to, and frees them.
    fn save_snapshot(&mut self, id: u64) -> Result<()> {
        let pairs = self.map.iter().map(|(key, value)| format!("{key}={value}"));
        let lines: Vec<String> = std::iter::once(id.to_string()).chain(pairs).collect();
        let snapshot = self.snapshots.append(lines.join("\n").as_bytes())?;
        self.saved_to = id;
        // Only now: the snapshot is durable, and older ones are of no use.
        self.snapshots.truncate_before(snapshot)?;
        self.changes.truncate_before(id)?;
        Ok(())
    }
}

fn apply(map: &mut BTreeMap<String, String>, change: &str) -> Result<()> {
    let (key, value) = change.split_once('=').ok_or("no value")?;
    map.insert(key.to_string(), value.to_string());
    Ok(())
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut store = Store::open(dir.path())?;
    for nth in 0..2500 {
        store.put(&format!("key {}", nth % 100), &format!("value {nth}"))?;
    }
    drop(store); // the process dies here

    let store = Store::open(dir.path())?;
    assert_eq!(store.map.len(), 100);
    assert_eq!(store.get("key 42"), Some("value 2442"));
    assert_eq!(store.saved_to, 2000);
    // What the snapshot holds is gone from the log.
    assert_eq!(store.changes.first_id(), 2000);
    assert_eq!(store.changes.next_id(), 2500);
    store.wal.close()?;
    Ok(())
}
