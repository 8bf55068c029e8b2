//! A drill: a log is damaged on purpose, the damage is found, and a repaired copy has all that was whole.
//!
//! Do it with a copy of your own data before you need it; `docs/operations.md` has the same with the program.
#![allow(clippy::print_stdout)]

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use ironwal::inspect::{VerifyOptions, plan_repair, repair, verify};
use ironwal::storage::{RealDisk, Storage};
use ironwal::{Error, Wal, WalOptions};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (log, copy) = (dir.path().join("log"), dir.path().join("repaired"));
    let wal = Wal::new(WalOptions { max_entries_per_segment: 50, ..WalOptions::new(&log) })?;
    for id in 0..200_u64 {
        assert_eq!(wal.append("ledger", format!("entry {id}").as_bytes())?, id);
    }
    wal.close()?;

    // A byte of an entry in the second segment rots.
    flip_byte(&log.join("ledger/00000000000000000050.wal"), 8192 + 20 * 32 + 24)?;

    // Nobody is told wrong bytes: whoever reads that entry gets an error that names it.
    let wal = Wal::new(WalOptions::new(&log))?;
    let ledger = wal.stream("ledger")?;
    let Err(Error::Damaged { ids, file, offset, .. }) = ledger.get(70) else {
        return Err("the damage was not noticed".into());
    };
    println!("entries {ids:?} are damaged: {} at offset {offset}", file.display());
    assert_eq!(ledger.get(71)?.as_deref(), Some(&b"entry 71"[..]));
    wal.close()?;

    // All of it is found by reading all of it, as a job at night would.
    let disk: Arc<dyn Storage> = Arc::new(RealDisk);
    let report = verify(&disk, &log, &VerifyOptions::default(), &|_| {})?;
    assert!(!report.is_whole());
    for finding in &report.findings {
        println!("{finding}");
    }

    // A repair never changes the original. It says first what would be lost.
    let plan = plan_repair(&disk, &log)?;
    let after = repair(&disk, &log, &plan, &copy)?;
    assert!(after.is_whole());

    let wal = Wal::new(WalOptions::new(&copy))?;
    let ledger = wal.stream("ledger")?;
    let (mut kept, mut lost) = (0, Vec::new());
    for id in 0..200 {
        match ledger.get(id) {
            Ok(Some(entry)) => {
                assert_eq!(&entry[..], format!("entry {id}").as_bytes());
                kept += 1;
            }
            Err(Error::Damaged { .. }) => lost.push(id), // its id stays taken, and says so for ever
            other => return Err(format!("{id}: {other:?}").into()),
        }
    }
    println!("{kept} of 200 entries are in the copy, {lost:?} is lost");
    assert_eq!((kept, lost), (199, vec![70]));
    assert_eq!(ledger.append(b"goes on")?, 200);
    wal.close()?;
    Ok(())
}

fn flip_byte(path: &Path, offset: u64) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.write_all(&[0xFF])?)
}
