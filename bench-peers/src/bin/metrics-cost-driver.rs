//! Appends for some seconds, and says how long one took. `scripts/metrics-cost` builds it with the feature
//! `metrics` and without, and runs the two in turn.
//!
//! ```text
//! metrics-cost-driver strict|unsynced|written SECONDS DIR
//! ```
//!
//! `unsynced` appends to mapped memory; `written` appends by a system call each, and syncs as little.
//! Prints nanoseconds per append.

use std::error::Error as StdError;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ironwal::{Environment, SyncMode, Wal, WalOptions, WriteStrategy};

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// Every entry has so many bytes.
const ENTRY: [u8; 128] = [7; 128];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, seconds, dir] = &args[..] else {
        return Err("usage: metrics-cost-driver strict|unsynced|written SECONDS DIR".into());
    };
    #[cfg(feature = "metrics")]
    let _recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;

    let environment = Environment::default();
    let (sync_mode, environment) = match mode.as_str() {
        "strict" => (SyncMode::Strict, environment),
        "unsynced" => (SyncMode::Async, environment),
        "written" => (SyncMode::Async, environment.with_write_strategy(WriteStrategy::StandardIo)),
        _ => return Err(format!("{mode} is no mode").into()),
    };
    let wal = Wal::open_with(WalOptions { sync_mode, ..WalOptions::new(dir) }, environment)?;
    let stream = wal.stream("s")?;
    let (start, wanted) = (Instant::now(), Duration::from_secs_f64(seconds.parse()?));
    let step = if mode == "strict" { 10 } else { 10_000 };
    let mut appends = 0_u32;
    while start.elapsed() < wanted {
        for _ in 0..step {
            black_box(stream.append(black_box(&ENTRY))?);
        }
        appends += step;
        // The disk must not fill up.
        if !appends.is_multiple_of(1_000_000) {
            continue;
        }
        stream.truncate_before(stream.next_id())?;
    }
    println!("{:.1}", start.elapsed().as_nanos() as f64 / f64::from(appends));
    Ok(())
}
