//! The example of the README. A test keeps the two equal.

use ironwal::{Wal, WalOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?; // any directory will do; it is created if it is missing
    let wal = Wal::new(WalOptions::new(dir.path()))?;

    let id = wal.append("ledger", b"open account 7")?; // on stable storage when it returns
    assert_eq!(id, 0);
    let ids = wal.append_batch("ledger", &[b"3: -100", b"7: +100"])?; // all of it, or nothing
    assert_eq!(ids, 1..3);
    wal.close()?;

    let wal = Wal::new(WalOptions::new(dir.path()))?;
    let entries = wal.iter("ledger", 0)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(entries, [&b"open account 7"[..], b"3: -100", b"7: +100"]);
    Ok(())
}
