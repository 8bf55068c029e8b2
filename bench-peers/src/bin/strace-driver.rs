//! Appends strictly, one entry at a time, between two marks that a trace of system calls shows:
//! attempts to open files that do not exist. `scripts/strace-check` counts what is between them.
//!
//! ```text
//! strace-driver DIR COUNT
//! ```

use ironwal::{Wal, WalOptions};

const ENTRY: [u8; 128] = [0x5A; 128];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: strace-driver DIR COUNT".into());
    };
    let count: u64 = count.parse()?;
    let wal = Wal::new(WalOptions::new(dir))?;
    // The first append creates the stream.
    wal.append("traced", &ENTRY)?;
    mark("marker-begin");
    for _ in 0..count {
        wal.append("traced", &ENTRY)?;
    }
    mark("marker-end");
    wal.close()?;
    Ok(())
}

fn mark(name: &str) {
    assert!(std::fs::File::open(name).is_err(), "{name} must not exist");
}
