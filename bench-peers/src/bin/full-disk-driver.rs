//! Fills a small file system through the log until there is no space, and checks what the log
//! promises then. `scripts/full-disk` makes the file system.
//!
//! ```text
//! full-disk-driver DIR SCENARIO MODE WRITES
//! ```
//!
//! `DIR` is the root of an empty file system. Scenarios: `singles` (one stream, one segment),
//! `rotation` (small segments), `batches`, `streams` (every few appends go to a new stream), `tiny`
//! (many tiny entries). Modes: `strict`, `batch-only`, `async`. What is said of writes is checked:
//!
//! - `mapped`: appends that are not synced go to mapped memory;
//! - `plain`: the file system could map, and is not asked to;
//! - `copied`: it copies on write, so it must not be mapped, and room that was reserved is no guarantee. A
//!   write that finds no space poisons its stream until the log is opened again with space.
//!
//! Ends with an error that says what was not kept.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use ironwal::{CorruptionPolicy, Environment, Error, SyncMode, Wal, WalOptions, WriteStrategy};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// What the two ballast files hold back, in bytes: enough for streams of some 16 KiB to grow to four times
/// that, fifty of them.
const BALLAST_LEN: usize = 5 * 1024 * 1024;

/// The same for tiny entries, of which many fit, and what is left to them besides.
const TINY_BALLAST_LEN: usize = 192 * 1024;

/// The same where opening needs as much space again as the log has grown by since it was opened before.
const COPIED_BALLAST_LENS: [usize; 2] = [64 * 1024 * 1024, 80 * 1024 * 1024];

/// The disk counts as full after this many refusals in a row.
const REFUSALS: u32 = 50;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, scenario, mode, writes] = &arguments[..] else {
        return Err("usage: full-disk-driver DIR SCENARIO MODE WRITES".into());
    };
    let mut test = Test::new(Path::new(dir), scenario, mode, Writes::of(writes)?)?;
    test.run().map_err(|error| format!("{scenario}, {mode}, {writes}: {error}").into())
}

/// How the log is expected to write what is not synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Mapped,
    Plain,
    Copied,
}

impl Writes {
    fn of(name: &str) -> Result<Self> {
        match name {
            "mapped" => Ok(Self::Mapped),
            "plain" => Ok(Self::Plain),
            "copied" => Ok(Self::Copied),
            other => Err(format!("unknown writes {other}").into()),
        }
    }
}

struct Test {
    options: WalOptions,
    writes: Writes,
    ballast: [PathBuf; 2],
    scenario: String,
    /// What was acknowledged, by stream; the index is the id.
    acknowledged: BTreeMap<String, Vec<Vec<u8>>>,
    /// Streams of which a write failed: what it should have written may be there when they are opened again.
    poisoned: BTreeMap<String, Vec<Vec<u8>>>,
    /// How many appends were tried.
    tried: u64,
    refused: u64,
}

impl Test {
    fn new(dir: &Path, scenario: &str, mode: &str, writes: Writes) -> Result<Self> {
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
        let ballast_lens = match scenario {
            "tiny" => [TINY_BALLAST_LEN; 2],
            _ if writes == Writes::Copied => COPIED_BALLAST_LENS,
            _ => [BALLAST_LEN; 2],
        };
        for (path, len) in ballast.iter().zip(ballast_lens) {
            let mut file = File::create_new(path)?;
            file.write_all(&vec![1; len])?;
            file.sync_all()?;
        }
        if scenario == "tiny" {
            leave(TINY_BALLAST_LEN, &dir.join("filler"))?;
        }
        Ok(Self {
            options,
            writes,
            ballast,
            scenario: scenario.into(),
            acknowledged: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            tried: 0,
            refused: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        match self.writes {
            Writes::Copied => self.fill_and_close_and_free()?,
            Writes::Mapped | Writes::Plain => self.fill_and_free()?,
        }
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

    /// A full disk is an error that ends in the same handle, and everything else goes on meanwhile.
    fn fill_and_free(&mut self) -> Result<()> {
        let wal = self.open("a new log")?;
        self.begin(&wal)?;
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
        Ok(())
    }

    /// A full disk may poison streams, and reading them goes on. It ends with opening the log again, once
    /// there is space: opening writes what is not proven again, which takes as much as that is long.
    fn fill_and_close_and_free(&mut self) -> Result<()> {
        for nth in 0..2 {
            let wal = self.open("with space")?;
            self.begin(&wal)?;
            self.fill(&wal)?;
            self.check(&wal, "in a handle that filled the disk")?;
            or_full(wal.close())?;
            if let Some(wal) = or_full(self.try_open())? {
                self.learn_what_failed(&wal)?;
                self.check(&wal, "after opening on the full disk")?;
                or_full(wal.close())?;
            }
            std::fs::remove_file(&self.ballast[nth])?;
            let wal = self.open("after space was freed")?;
            self.learn_what_failed(&wal)?;
            self.check(&wal, "after opening with space again")?;
            self.appends_work(&wal, "after opening with space again")?;
            wal.close()?;
        }
        Ok(())
    }

    /// Appends something, and checks that it went the way that it should.
    fn begin(&mut self, wal: &Wal) -> Result<()> {
        self.append(wal)?;
        let is_mapped = maps_segments(&self.options.root_path)?;
        let expected = self.writes == Writes::Mapped && self.options.sync_mode != SyncMode::Strict;
        if is_mapped != expected {
            let what = if is_mapped { "is" } else { "is not" };
            return Err(format!("a segment {what} mapped to be written to").into());
        }
        Ok(())
    }

    /// What could not be written is there whole now, or not at all.
    fn learn_what_failed(&mut self, wal: &Wal) -> Result<()> {
        for (stream, failed) in std::mem::take(&mut self.poisoned) {
            let there = wal.stream(&stream)?.next_id();
            let kept = self.acknowledged.entry(stream).or_default();
            if there == (kept.len() + failed.len()) as u64 {
                kept.extend(failed);
            }
        }
        self.acknowledged.retain(|_, kept| !kept.is_empty());
        Ok(())
    }

    fn open(&self, when: &str) -> Result<Wal> {
        self.try_open().map_err(|error| format!("opening {when}: {error}").into())
    }

    fn try_open(&self) -> std::result::Result<Wal, Error> {
        let strategy = match self.writes {
            Writes::Plain => WriteStrategy::StandardIo,
            Writes::Mapped | Writes::Copied => WriteStrategy::Auto,
        };
        let environment = Environment::default().with_write_strategy(strategy);
        Wal::open_with(self.options.clone(), environment)
    }

    /// Appends until nothing is accepted any more. Every refusal must be `StorageFull`, or where writes may
    /// fail, the poisoning of a stream.
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
                Err(error) if self.may_poison(&error) => {
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

    /// Whether it is in order that the append that was tried last failed like this.
    fn may_poison(&mut self, error: &Error) -> bool {
        let stream = self.stream();
        let is_first = !self.poisoned.contains_key(&stream);
        match error {
            Error::Io(error) if error.kind() == ErrorKind::StorageFull && is_first => {
                self.poisoned.insert(stream, self.entries());
            }
            // At once, if it was a sync in the background that failed.
            Error::Poisoned { .. } => {
                self.poisoned.entry(stream).or_default();
            }
            _ => return false,
        }
        self.writes == Writes::Copied
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
        let (stream, entries) = (self.stream(), self.entries());
        let first_id = if entries.len() == 1 {
            wal.append(&stream, &entries[0])?
        } else {
            let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
            wal.append_batch(&stream, &slices)?.start
        };
        self.acknowledge(&stream, first_id, entries)
            .map_err(|error| Error::Config(error.to_string()))
    }

    /// Where the append goes that is tried now.
    fn stream(&self) -> String {
        match self.scenario.as_str() {
            "streams" => format!("stream {}", self.tried / 3),
            _ => "one".to_string(),
        }
    }

    /// What it appends.
    fn entries(&self) -> Vec<Vec<u8>> {
        let tried = self.tried;
        let (count, len_max) = match self.scenario.as_str() {
            "batches" => (2 + tried % 30, 2000),
            "tiny" => (1, 64),
            "singles" => (1, 20_000),
            _ => (1, 8000),
        };
        (0..count)
            .map(|nth| {
                let noise = (tried ^ nth << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
                let mut entry = format!("{tried} {nth} ").into_bytes();
                entry.resize(entry.len() + (noise % len_max) as usize, (noise >> 24) as u8);
                entry
            })
            .collect()
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

/// `None`: there was no space, and the error says so.
fn or_full<T>(result: std::result::Result<T, Error>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Error::StorageFull { .. } | Error::Poisoned { .. }) => Ok(None),
        Err(Error::Io(error)) if error.kind() == ErrorKind::StorageFull => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Whether this process has a segment below `root` mapped, shared and to be written to.
fn maps_segments(root: &Path) -> Result<bool> {
    let root = root.display().to_string();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    Ok(maps
        .lines()
        .any(|line| line.contains(" rw-s ") && line.contains(&root) && line.ends_with(".wal")))
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
    if full.kind() != ErrorKind::StorageFull {
        return Err(full.into());
    }
    let filled = file.metadata()?.len();
    file.set_len(filled.saturating_sub(len as u64))?;
    file.sync_all()?;
    Ok(())
}
