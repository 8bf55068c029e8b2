//! Fills a small file system through the log until there is no space, and checks what the log
//! promises then. `scripts/full-disk` makes the file system.
//!
//! ```text
//! full-disk-driver DIR SCENARIO MODE
//! ```
//!
//! `DIR` is the root of an empty file system. Scenarios: `singles` (one stream, one segment),
//! `rotation` (small segments), `batches`, `streams` (every few appends go to a new stream), `tiny`
//! (many tiny entries). Modes: `strict`, `batch-only`, `async`.
//!
//! Ends with an error that says what was not kept.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use ironwal::{CorruptionPolicy, Error, SyncMode, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// What the two ballast files hold back, in bytes: enough for streams of some 16 KiB to grow to four times
/// that, fifty of them.
const BALLAST_LEN: usize = 5 * 1024 * 1024;

/// The same for tiny entries, of which many fit, and what is left to them besides.
const TINY_BALLAST_LEN: usize = 192 * 1024;

/// The disk counts as full after this many refusals in a row.
const REFUSALS: u32 = 50;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, scenario, mode] = &arguments[..] else {
        return Err("usage: full-disk-driver DIR SCENARIO MODE".into());
    };
    let mut test = Test::new(Path::new(dir), scenario, mode)?;
    test.run().map_err(|error| format!("{scenario}, {mode}: {error}").into())
}

struct Test {
    options: WalOptions,
    ballast: [PathBuf; 2],
    scenario: String,
    /// What was acknowledged, by stream; the index is the id.
    acknowledged: BTreeMap<String, Vec<Vec<u8>>>,
    /// How many appends were tried.
    tried: u64,
    refused: u64,
}

impl Test {
    fn new(dir: &Path, scenario: &str, mode: &str) -> Result<Self> {
        let sync_mode = match mode {
            "strict" => SyncMode::Strict,
            "batch-only" => SyncMode::BatchOnly,
            "async" => SyncMode::Async,
            other => return Err(format!("unknown mode {other}").into()),
        };
        let max_segment_size = match scenario {
            "rotation" => 40_000,
            "singles" | "batches" | "streams" | "tiny" => WalOptions::default().max_segment_size,
            other => return Err(format!("unknown scenario {other}").into()),
        };
        let options = WalOptions {
            sync_mode,
            max_segment_size,
            on_corruption: CorruptionPolicy::Error,
            ..WalOptions::new(dir.join("log"))
        };
        let ballast = ["ballast-1", "ballast-2"].map(|name| dir.join(name));
        let ballast_len = if scenario == "tiny" { TINY_BALLAST_LEN } else { BALLAST_LEN };
        for path in &ballast {
            let mut file = File::create_new(path)?;
            file.write_all(&vec![1; ballast_len])?;
            file.sync_all()?;
        }
        if scenario == "tiny" {
            leave(TINY_BALLAST_LEN, &dir.join("filler"))?;
        }
        Ok(Self {
            options,
            ballast,
            scenario: scenario.into(),
            acknowledged: BTreeMap::new(),
            tried: 0,
            refused: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        let wal = self.open("a new log")?;
        self.fill(&wal)?;
        self.check(&wal, "in the handle that filled the disk")?;
        std::fs::remove_file(&self.ballast[0])?;
        self.appends_work(&wal, "in the same handle, after space was freed")?;
        self.fill(&wal)?;
        wal.close().map_err(|error| format!("closing on the full disk: {error}"))?;

        let wal = self.open("on the full disk")?;
        self.check(&wal, "after opening on the full disk")?;
        self.fill(&wal)?;
        self.check(&wal, "in the handle that was opened on the full disk")?;
        // Gone without a close, as far as a handle can be.
        drop(wal);

        let wal = self.open("on the full disk, again")?;
        self.check(&wal, "after opening on the full disk again")?;
        self.fill(&wal)?;
        std::fs::remove_file(&self.ballast[1])?;
        self.appends_work(
            &wal,
            "in the handle that was opened on the full disk, after space was freed",
        )?;
        wal.close()?;

        let wal = self.open("with space again")?;
        self.check(&wal, "at the end")?;
        self.appends_work(&wal, "at the end")?;
        wal.close()?;
        let entries: usize = self.acknowledged.values().map(Vec::len).sum();
        println!(
            "ok: {} of {} appends refused; {entries} entries in {} streams kept",
            self.refused,
            self.tried,
            self.acknowledged.len()
        );
        Ok(())
    }

    fn open(&self, when: &str) -> Result<Wal> {
        Wal::new(self.options.clone()).map_err(|error| format!("opening {when}: {error}").into())
    }

    /// Appends until nothing is accepted any more. Every refusal must be `StorageFull`.
    fn fill(&mut self, wal: &Wal) -> Result<()> {
        let mut in_a_row = 0;
        while in_a_row < REFUSALS {
            match self.append(wal) {
                Ok(()) => in_a_row = 0,
                Err(Error::StorageFull { path, cause }) => {
                    let text = Error::StorageFull { path, cause }.to_string();
                    if !text.contains("free some space") {
                        return Err(format!("the error does not say what to do: {text}").into());
                    }
                    in_a_row += 1;
                    self.refused += 1;
                }
                Err(other) => {
                    return Err(format!(
                        "append {} on the full disk, after {in_a_row} refusals: {other:?}: {other}",
                        self.tried
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Appends to some streams that there are, and what the scenario does next.
    fn appends_work(&mut self, wal: &Wal, when: &str) -> Result<()> {
        let streams: Vec<String> = self.acknowledged.keys().take(50).cloned().collect();
        for stream in streams {
            let entry = format!("{stream} goes on {when}").into_bytes();
            let id = wal
                .append(&stream, &entry)
                .map_err(|error| format!("append to {stream} {when}: {error:?}: {error}"))?;
            self.acknowledge(&stream, id, vec![entry])?;
        }
        for _ in 0..20 {
            self.append(wal).map_err(|error| format!("append {when}: {error:?}: {error}"))?;
        }
        Ok(())
    }

    fn append(&mut self, wal: &Wal) -> std::result::Result<(), Error> {
        self.tried += 1;
        let tried = self.tried;
        let stream = match self.scenario.as_str() {
            "streams" => format!("stream {}", tried / 3),
            _ => "one".to_string(),
        };
        let (count, len_max) = match self.scenario.as_str() {
            "batches" => (2 + tried % 30, 2000),
            "tiny" => (1, 64),
            "singles" => (1, 20_000),
            _ => (1, 8000),
        };
        let entries: Vec<Vec<u8>> = (0..count)
            .map(|nth| {
                let noise = (tried ^ nth << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
                let mut entry = format!("{tried} {nth} ").into_bytes();
                entry.resize(entry.len() + (noise % len_max) as usize, (noise >> 24) as u8);
                entry
            })
            .collect();
        let first_id = if count == 1 {
            wal.append(&stream, &entries[0])?
        } else {
            let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            wal.append_batch(&stream, &slices)?.start
        };
        self.acknowledge(&stream, first_id, entries)
            .map_err(|error| Error::Config(error.to_string()))
    }

    fn acknowledge(&mut self, stream: &str, first_id: u64, entries: Vec<Vec<u8>>) -> Result<()> {
        let kept = self.acknowledged.entry(stream.to_string()).or_default();
        if kept.len() as u64 != first_id {
            return Err(format!("{stream}: id {first_id} after {} entries", kept.len()).into());
        }
        kept.extend(entries);
        Ok(())
    }

    /// Everything that was acknowledged is there, and nothing else.
    fn check(&self, wal: &Wal, when: &str) -> Result<()> {
        for (stream, kept) in &self.acknowledged {
            let mut ids = 0..;
            for entry in wal.iter_with_ids(stream, 0)? {
                let (id, entry) = entry.map_err(|error| format!("{when}: {error}"))?;
                let due = ids.next().unwrap_or_default();
                if id != due || kept.get(id as usize) != Some(&entry) {
                    return Err(
                        format!("{when}: {stream}: id {due} is not what was appended").into()
                    );
                }
            }
            if ids.start != kept.len() as u64 {
                let (there, kept) = (ids.start, kept.len());
                return Err(format!("{when}: {stream}: {there} of {kept} entries are there").into());
            }
            let last = kept.len() as u64 - 1;
            if wal.get(stream, last)?.as_ref() != kept.last()
                || wal.get(stream, last + 1)?.is_some()
            {
                return Err(format!("{when}: {stream}: wrong around the last id {last}").into());
            }
        }
        Ok(())
    }
}

/// Fills the disk up to the last `len` bytes with a file.
fn leave(len: usize, path: &Path) -> Result<()> {
    let mut file = File::create_new(path)?;
    let chunk = [1; 64 * 1024];
    let full = loop {
        if let Err(error) = file.write_all(&chunk) {
            break error;
        }
    };
    if full.kind() != std::io::ErrorKind::StorageFull {
        return Err(full.into());
    }
    let filled = file.metadata()?.len();
    file.set_len(filled.saturating_sub(len as u64))?;
    file.sync_all()?;
    Ok(())
}
