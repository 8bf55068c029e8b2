//! By how much the memory of this process grows.

use std::fs;

/// Starts over with the peak, and returns what is in memory now, in bytes. `None` where that cannot be
/// told.
pub fn reset() -> Option<u64> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:")
}

/// By how much the peak since then is above it.
pub fn grown(before: u64) -> Option<u64> {
    status("VmHWM:").map(|peak| peak.saturating_sub(before))
}

fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
