//! The table of what a crash may do, row by row, as a check of [`SimDisk`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::super::{File, OpenMode, SECTOR_LEN, Storage, WORD_LEN, write_all_at};
use super::{CallKind, SimDisk};

/// How many disks each row is tried on.
const SEEDS: u64 = 400;

/// One thing that a program does, and everything that may come of it.
struct Row {
    name: &'static str,
    /// Each of them happens for some seed, and nothing else happens for any.
    outcomes: &'static [&'static str],
    /// Does it, and says what came of it.
    run: fn(&SimDisk) -> Outcome,
}

type Outcome = Result<&'static str, std::io::Error>;

/// Checks that disks lose and keep what the table of [`storage`](crate::storage) says: over many
/// seeds, each outcome that is allowed happens, and no other. `new_disk` makes an empty disk with
/// the default configuration from a seed.
///
/// # Panics
///
/// If an outcome happened that is not allowed, or one never happened that is.
///
/// # Examples
///
/// ```
/// use ironwal::storage::{SimDisk, sim};
///
/// sim::check_crashes(SimDisk::new);
/// ```
pub fn check_crashes(new_disk: impl Fn(u64) -> SimDisk) {
    for Row { name, outcomes, run } in ROWS {
        let mut first_seed = BTreeMap::new();
        for seed in 0..SEEDS {
            match run(&new_disk(seed)) {
                Ok(outcome) => {
                    assert!(
                        outcomes.contains(&outcome),
                        "{name}: \"{outcome}\" is not allowed; seed {seed}"
                    );
                    first_seed.entry(outcome).or_insert(seed);
                }
                Err(error) => panic!("{name}: {error}; seed {seed}"),
            }
        }
        for outcome in *outcomes {
            let happened = first_seed.contains_key(outcome);
            assert!(happened, "{name}: \"{outcome}\" never happened");
        }
    }
}

const ROWS: &[Row] = &[
    Row {
        name: "a killed process loses nothing",
        outcomes: &["new"],
        run: |disk| {
            let file = created(disk)?;
            write_all_at(&*file, &[b'n'; SECTOR_LEN], 0)?;
            disk.kill();
            old_or_new(disk, 1)
        },
    },
    Row {
        name: "synced content and entry",
        outcomes: &["new"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            file.sync()?;
            disk.crash();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "one sector overwritten",
        outcomes: &["old", "new", "torn, new first", "torn, old first", "torn, mixed"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            write_all_at(&*file, &[b'n'; 100], 200)?;
            disk.crash();
            let content = disk.contents(Path::new(PATH))?;
            let changed = &content[200..300];
            let is_kept = content[..200].iter().chain(&content[300..]).all(|b| *b == b'o');
            let old_count = changed.iter().filter(|b| **b == b'o').count();
            let new_count = changed.iter().filter(|b| **b == b'n').count();
            Ok(match (old_count, new_count) {
                _ if !is_kept || content.len() != SECTOR_LEN => "changed what was not written",
                (100, 0) => "old",
                (0, 100) => "new",
                _ if changed[..new_count].iter().all(|b| *b == b'n')
                    && old_count + new_count == 100 =>
                {
                    "torn, new first"
                }
                _ if changed[..old_count].iter().all(|b| *b == b'o')
                    && old_count + new_count == 100 =>
                {
                    "torn, old first"
                }
                _ => "torn, mixed",
            })
        },
    },
    Row {
        name: "two sectors overwritten",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            disk.crash();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "overwritten twice",
        outcomes: &["old", "middle", "new", "torn"],
        run: |disk| {
            disk.configure(|config| config.write_back = 0.5);
            let file = old_sectors(disk, 1)?;
            write_all_at(&*file, &[b'm'; SECTOR_LEN], 0)?;
            write_all_at(&*file, &[b'n'; SECTOR_LEN], 0)?;
            disk.crash();
            if disk.contents(Path::new(PATH))? == [b'm'; SECTOR_LEN] {
                return Ok("middle");
            }
            old_or_new(disk, 1)
        },
    },
    Row {
        name: "appended",
        outcomes: &[
            "old length",
            "length between",
            "length and content",
            "length, zeros",
            "length, torn content",
        ],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            write_all_at(&*file, &[b'n'; 300], SECTOR_LEN as u64)?;
            disk.crash();
            let content = disk.contents(Path::new(PATH))?;
            let (old, new) = content.split_at(SECTOR_LEN.min(content.len()));
            Ok(match new.len() {
                _ if old != [b'o'; SECTOR_LEN] => "damaged what was synced",
                0 => "old length",
                300 if new.iter().all(|b| *b == b'n') => "length and content",
                300 if new.iter().all(|b| *b == 0) => "length, zeros",
                300 => "length, torn content",
                301.. => "too long",
                _ => "length between",
            })
        },
    },
    Row {
        name: "lengthened by set_len",
        outcomes: &["old length", "new length"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.set_len(10_000)?;
            disk.crash();
            lengthened(disk, SECTOR_LEN, 10_000)
        },
    },
    Row {
        name: "reserved",
        outcomes: &["old length", "new length"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.reserve(100, 10_000)?;
            disk.crash();
            lengthened(disk, SECTOR_LEN, 10_100)
        },
    },
    Row {
        name: "a reservation that was not synced, on a full disk",
        outcomes: &["room", "no room"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.reserve(0, 10_000)?;
            write_if_reserved(disk)
        },
    },
    Row {
        name: "a synced reservation, on a full disk",
        outcomes: &["room"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.reserve(0, 10_000)?;
            file.sync()?;
            write_if_reserved(disk)
        },
    },
    Row {
        name: "shortened",
        outcomes: &["short", "removed bytes are back", "removed bytes are mixed", "zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "shortened and synced",
        outcomes: &["short"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            file.sync()?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "shortened and lengthened",
        outcomes: &["short", "removed bytes are back", "removed bytes are mixed", "zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            file.set_len(4 * SECTOR_LEN as u64)?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "shortened, lengthened and synced",
        outcomes: &["zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            file.set_len(4 * SECTOR_LEN as u64)?;
            file.sync()?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "a new file, synced, in a directory that is not",
        outcomes: &["there", "gone"],
        run: |disk| {
            let file = disk.open(Path::new(PATH), OpenMode::Create)?;
            write_all_at(&*file, b"content", 0)?;
            file.sync()?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "a new file, not synced, in a directory that is",
        outcomes: &["there", "there, empty", "there, in part"],
        run: |disk| {
            let file = disk.open(Path::new(PATH), OpenMode::Create)?;
            write_all_at(&*file, b"content", 0)?;
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "two new files",
        outcomes: &["both", "the first", "the second", "none"],
        run: |disk| {
            disk.open(Path::new("/a"), OpenMode::Create)?;
            disk.open(Path::new("/b"), OpenMode::Create)?;
            disk.crash();
            Ok(match disk.files().as_slice() {
                [] => "none",
                [one] if one == Path::new("/a") => "the first",
                [_] => "the second",
                _ => "both",
            })
        },
    },
    Row {
        name: "a removed file",
        outcomes: &["there", "gone"],
        run: |disk| {
            disk.replace(Path::new(PATH), b"content")?;
            disk.remove_file(Path::new(PATH))?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "a removed file and a sync",
        outcomes: &["gone"],
        run: |disk| {
            disk.replace(Path::new(PATH), b"content")?;
            disk.remove_file(Path::new(PATH))?;
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "a file renamed over another",
        outcomes: &["not renamed", "renamed"],
        run: |disk| {
            rename_over(disk, "/a", PATH)?;
            disk.crash();
            renamed_or_not(disk, "/a", PATH)
        },
    },
    Row {
        name: "a file renamed over another, and a sync",
        outcomes: &["renamed"],
        run: |disk| {
            rename_over(disk, "/a", PATH)?;
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            renamed_or_not(disk, "/a", PATH)
        },
    },
    Row {
        name: "a file renamed over another in another directory",
        outcomes: &["not renamed", "renamed"],
        run: |disk| {
            rename_over(disk, "/d/a", "/e/b")?;
            disk.crash();
            renamed_or_not(disk, "/d/a", "/e/b")
        },
    },
    Row {
        name: "a new file renamed into another directory that is synced",
        outcomes: &["renamed"],
        run: |disk| {
            disk.replace(Path::new("/d/old"), b"")?;
            disk.replace(Path::new("/e/b"), b"old")?;
            let file = disk.open(Path::new("/d/a"), OpenMode::Create)?;
            write_all_at(&*file, b"new", 0)?;
            file.sync()?;
            disk.rename(Path::new("/d/a"), Path::new("/e/b"))?;
            disk.sync_dir(Path::new("/e"))?;
            disk.crash();
            renamed_or_not(disk, "/d/a", "/e/b")
        },
    },
    Row {
        name: "a new directory that is synced, in one that is not",
        outcomes: &["there", "gone"],
        run: |disk| {
            new_directory(disk)?;
            disk.crash();
            there_or_gone(disk, "/d/a", b"content")
        },
    },
    Row {
        name: "a new directory and its parent, both synced",
        outcomes: &["there"],
        run: |disk| {
            new_directory(disk)?;
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            there_or_gone(disk, "/d/a", b"content")
        },
    },
    Row {
        name: "a removed directory",
        outcomes: &["there", "gone"],
        run: |disk| {
            disk.create_dir(Path::new("/d"))?;
            disk.sync_dir(Path::new("/"))?;
            disk.remove_dir(Path::new("/d"))?;
            disk.crash();
            let is_there = !disk.list(Path::new("/"))?.is_empty();
            Ok(if is_there { "there" } else { "gone" })
        },
    },
    Row {
        name: "a failed sync, and one that says Ok",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            fail_sync(disk, &*file)?;
            file.sync()?;
            if disk.contents(Path::new(PATH))? != [b'n'; 2 * SECTOR_LEN] {
                return Ok("a read showed the loss");
            }
            disk.crash();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "a failed sync, then the first sector written again and synced",
        outcomes: &["new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            fail_sync(disk, &*file)?;
            write_all_at(&*file, &[b'n'; SECTOR_LEN], 0)?;
            file.sync()?;
            disk.crash();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "a failed sync, then reads after the cache is gone",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            fail_sync(disk, &*file)?;
            disk.evict();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "a failed sync, then the process is killed",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            fail_sync(disk, &*file)?;
            disk.kill();
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "a failed sync of a length, and one that says Ok",
        outcomes: &["old length", "new length"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.set_len(10_000)?;
            fail_sync(disk, &*file)?;
            write_all_at(&*file, b"o", 0)?;
            file.sync()?;
            disk.crash();
            lengthened(disk, SECTOR_LEN, 10_000)
        },
    },
    Row {
        name: "a failed sync of a length, then the last bytes written again and synced",
        outcomes: &["new length"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            file.set_len(10_000)?;
            fail_sync(disk, &*file)?;
            write_all_at(&*file, &[0; 10], 9_990)?;
            file.sync()?;
            disk.crash();
            lengthened(disk, SECTOR_LEN, 10_000)
        },
    },
    Row {
        name: "shortened, a failed sync, then lengthened and synced",
        outcomes: &["zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            fail_sync(disk, &*file)?;
            file.set_len(4 * SECTOR_LEN as u64)?;
            file.sync()?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "shortened, a failed sync, then written and synced, then lengthened",
        outcomes: &["short", "zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(99)?;
            fail_sync(disk, &*file)?;
            write_all_at(&*file, b"o", 99)?;
            file.sync()?;
            file.set_len(4 * SECTOR_LEN as u64)?;
            disk.crash();
            shortened(disk, 4)
        },
    },
    Row {
        name: "shortened, a failed sync, then lengthened after the cache is gone",
        outcomes: &["zeros"],
        run: |disk| {
            let file = old_sectors(disk, 4)?;
            file.set_len(100)?;
            fail_sync(disk, &*file)?;
            disk.evict();
            if file.len()? != 100 {
                return Ok("the length of an open file changed");
            }
            write_all_at(&*file, &[b'o'; 100], 0)?;
            file.set_len(4 * SECTOR_LEN as u64)?;
            shortened(disk, 4)
        },
    },
    Row {
        name: "an entry that a failed sync lost, renamed and synced",
        outcomes: &["there"],
        run: |disk| {
            let file = disk.open(Path::new("/new"), OpenMode::Create)?;
            write_all_at(&*file, b"content", 0)?;
            file.sync()?;
            disk.fail_nth(CallKind::SyncDir, 1, ErrorKind::Other);
            if disk.sync_dir(Path::new("/")).is_ok() {
                return Ok("the fault did not strike");
            }
            disk.rename(Path::new("/new"), Path::new(PATH))?;
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "a failed sync of a directory, and one that says Ok",
        outcomes: &["there", "gone"],
        run: |disk| {
            let file = disk.open(Path::new(PATH), OpenMode::Create)?;
            write_all_at(&*file, b"content", 0)?;
            file.sync()?;
            disk.fail_nth(CallKind::SyncDir, 1, ErrorKind::Other);
            if disk.sync_dir(Path::new("/")).is_ok() {
                return Ok("the fault did not strike");
            }
            disk.sync_dir(Path::new("/"))?;
            disk.crash();
            there_or_gone(disk, PATH, b"content")
        },
    },
    Row {
        name: "a failed write",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            disk.fail_nth(CallKind::Write, 1, ErrorKind::StorageFull);
            if file.write_at(&[b'n'; 2 * SECTOR_LEN], 0).is_ok() {
                return Ok("the fault did not strike");
            }
            old_or_new(disk, 2)
        },
    },
    Row {
        name: "a failed reservation",
        outcomes: &["old length"],
        run: |disk| {
            let file = old_sectors(disk, 1)?;
            disk.fail_nth(CallKind::Reserve, 1, ErrorKind::StorageFull);
            if file.reserve(0, 10_000).is_ok() {
                return Ok("the fault did not strike");
            }
            lengthened(disk, SECTOR_LEN, 10_000)
        },
    },
    Row {
        name: "shared words, and the process is killed",
        outcomes: &["new"],
        run: |disk| {
            shared_words(disk)?;
            disk.kill();
            which_words(disk)
        },
    },
    Row {
        name: "shared words",
        outcomes: &["old", "new", "old and new", "zeros", "garbage"],
        run: |disk| {
            shared_words(disk)?;
            disk.crash();
            which_words(disk)
        },
    },
    Row {
        name: "shared words and a sync",
        outcomes: &["new", "zeros", "garbage"],
        run: |disk| {
            shared_words(disk)?;
            disk.open(Path::new(PATH), OpenMode::ReadWrite)?.sync()?;
            disk.crash();
            which_words(disk)
        },
    },
    Row {
        name: "shared words, and two crashes",
        outcomes: &["the same"],
        run: |disk| {
            shared_words(disk)?;
            disk.crash();
            let before = disk.contents(Path::new(PATH))?;
            disk.crash();
            let is_same = disk.contents(Path::new(PATH))? == before;
            Ok(if is_same { "the same" } else { "changed while nobody used it" })
        },
    },
    Row {
        name: "new shared words",
        outcomes: &["gone", "there, empty", "there"],
        run: |disk| {
            disk.share(Path::new(PATH), 1_000)?;
            disk.crash();
            Ok(match disk.contents(Path::new(PATH)).map(|content| content.len()) {
                Ok(0) => "there, empty",
                Ok(8_000) => "there",
                Ok(_) => "another length",
                Err(error) if error.kind() == ErrorKind::NotFound => "gone",
                Err(error) => return Err(error),
            })
        },
    },
    Row {
        name: "the power is cut during a sync",
        outcomes: &["old", "new", "old then new", "new then old", "torn"],
        run: |disk| {
            let file = old_sectors(disk, 2)?;
            write_all_at(&*file, &[b'n'; 2 * SECTOR_LEN], 0)?;
            disk.cut_power_at(1);
            if file.sync().is_ok() || file.len().is_ok() || disk.list(Path::new("/")).is_ok() {
                return Ok("a call without power was Ok");
            }
            disk.crash();
            old_or_new(disk, 2)
        },
    },
];

const PATH: &str = "/file";

/// A file whose entry is durable.
fn created(disk: &SimDisk) -> std::io::Result<Arc<dyn File>> {
    let file = disk.open(Path::new(PATH), OpenMode::Create)?;
    disk.sync_dir(Path::new("/"))?;
    Ok(file)
}

/// A durable file of a few sectors full of `o`.
fn old_sectors(disk: &SimDisk, count: usize) -> std::io::Result<Arc<dyn File>> {
    let file = created(disk)?;
    write_all_at(&*file, &vec![b'o'; count * SECTOR_LEN], 0)?;
    file.sync()?;
    Ok(file)
}

/// Says whether each sector of the file is full of `o` or of `n`.
fn old_or_new(disk: &SimDisk, count: usize) -> Outcome {
    let content = disk.contents(Path::new(PATH))?;
    if content.len() != count * SECTOR_LEN {
        return Ok("another length");
    }
    let is = |sector: &[u8], byte: u8| sector.iter().all(|b| *b == byte);
    let sectors: Vec<_> =
        content.chunks(SECTOR_LEN).map(|sector| (is(sector, b'o'), is(sector, b'n'))).collect();
    const OLD: (bool, bool) = (true, false);
    const NEW: (bool, bool) = (false, true);
    Ok(match sectors.as_slice() {
        [OLD] | [OLD, OLD] => "old",
        [NEW] | [NEW, NEW] => "new",
        [OLD, NEW] => "old then new",
        [NEW, OLD] => "new then old",
        _ => "torn",
    })
}

/// Says which length a file has whose old bytes are all `o`.
fn lengthened(disk: &SimDisk, old: usize, new: usize) -> Outcome {
    let content = disk.contents(Path::new(PATH))?;
    let (kept, gained) = content.split_at(old.min(content.len()));
    Ok(match content.len() {
        _ if kept.iter().any(|b| *b != b'o') => "damaged what was synced",
        _ if gained.iter().any(|b| *b != 0) => "gained something else than zeros",
        len if len == old => "old length",
        len if len == new => "new length",
        _ => "another length",
    })
}

/// Says what a file holds that was full of `o` and was cut to 100 bytes.
fn shortened(disk: &SimDisk, count: usize) -> Outcome {
    let content = disk.contents(Path::new(PATH))?;
    let (kept, removed) = content.split_at(100.min(content.len()));
    let old_count = removed.iter().filter(|b| **b == b'o').count();
    Ok(match removed.len() {
        _ if kept != [b'o'; 100] => "damaged what was synced",
        0 => "short",
        len if len != count * SECTOR_LEN - 100 => "another length",
        len if len == old_count => "removed bytes are back",
        _ if old_count == 0 => "zeros",
        _ => "removed bytes are mixed",
    })
}

/// Fills the disk, crashes, and says whether the reserved blocks can be written.
fn write_if_reserved(disk: &SimDisk) -> Outcome {
    disk.configure(|config| config.capacity = Some(0));
    disk.crash();
    let file = disk.open(Path::new(PATH), OpenMode::ReadWrite)?;
    match write_all_at(&*file, &[b'n'; 10_000], 0) {
        Ok(()) => Ok("room"),
        Err(error) if error.kind() == ErrorKind::StorageFull => Ok("no room"),
        Err(error) => Err(error),
    }
}

const OLD_WORD: u64 = u64::from_le_bytes([b'o'; WORD_LEN]);
const NEW_WORD: u64 = u64::from_le_bytes([b'n'; WORD_LEN]);

/// Turns two sectors of durable old words into new ones.
fn shared_words(disk: &SimDisk) -> std::io::Result<()> {
    // Each store is a chance, and there are many.
    disk.configure(|config| config.write_back /= 20.0);
    old_sectors(disk, 2)?;
    let words = disk.share(Path::new(PATH), 1)?;
    for index in 0..words.count() {
        words.store(index, NEW_WORD);
    }
    Ok(())
}

fn which_words(disk: &SimDisk) -> Outcome {
    let words = disk.shared(Path::new(PATH))?;
    if words.count() != 2 * SECTOR_LEN / WORD_LEN {
        return Ok("another length");
    }
    let all = |is: fn(u64) -> bool| (0..words.count()).all(|index| is(words.load(index)));
    Ok(match () {
        () if all(|word| word == OLD_WORD) => "old",
        () if all(|word| word == NEW_WORD) => "new",
        () if all(|word| word == OLD_WORD || word == NEW_WORD) => "old and new",
        () if all(|word| word == 0) => "zeros",
        () => "garbage",
    })
}

fn there_or_gone(disk: &SimDisk, path: &str, content: &[u8]) -> Outcome {
    Ok(match disk.contents(Path::new(path)) {
        Ok(found) if found == content => "there",
        Ok(found) if found.is_empty() => "there, empty",
        Ok(_) => "there, in part",
        Err(error) if error.kind() == ErrorKind::NotFound => "gone",
        Err(error) => return Err(error),
    })
}

fn rename_over(disk: &SimDisk, from: &str, to: &str) -> std::io::Result<()> {
    disk.replace(Path::new(from), b"new")?;
    disk.replace(Path::new(to), b"old")?;
    disk.rename(Path::new(from), Path::new(to))
}

fn renamed_or_not(disk: &SimDisk, from: &str, to: &str) -> Outcome {
    let from = there_or_gone(disk, from, b"new")?;
    let to = disk.contents(Path::new(to)).unwrap_or_default();
    Ok(match (from, to.as_slice()) {
        ("there", b"old") => "not renamed",
        ("gone", b"new") => "renamed",
        _ => "half done",
    })
}

fn new_directory(disk: &SimDisk) -> std::io::Result<()> {
    disk.create_dir(Path::new("/d"))?;
    let file = disk.open(Path::new("/d/a"), OpenMode::Create)?;
    write_all_at(&*file, b"content", 0)?;
    file.sync()?;
    disk.sync_dir(Path::new("/d"))
}

fn fail_sync(disk: &SimDisk, file: &dyn File) -> std::io::Result<()> {
    disk.fail_nth(CallKind::Sync, 1, ErrorKind::StorageFull);
    match file.sync() {
        Ok(()) => Err(std::io::Error::other("the fault did not strike")),
        Err(_) => Ok(()),
    }
}
