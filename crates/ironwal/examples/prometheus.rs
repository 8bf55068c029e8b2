//! What a log tells Prometheus: `cargo run -p ironwal --features metrics --example prometheus`.
//!
//! Here the text of one scrape is printed. A service gives it out at `/metrics`: with its own HTTP server,
//! or with that of the exporter (`PrometheusBuilder::with_http_listener`, feature `http-listener`).
#![allow(clippy::print_stdout)]

use std::time::Duration;

use ironwal::{Wal, WalOptions};
use metrics_exporter_prometheus::PrometheusBuilder;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // Events go to whatever the service logs with; among them, that a disk stalls.
    tracing_subscriber::fmt().init();
    // Before the log is opened: it tells its commits to the recorder that there is then.
    let recorder = PrometheusBuilder::new().install_recorder()?;

    let dir = tempfile::tempdir()?;
    let wal = Wal::new(WalOptions::new(dir.path()))?;
    let mut projection = wal.stream("orders")?.follow(0);
    for order in 0..1000_u64 {
        wal.append("orders", &order.to_le_bytes())?;
    }
    for _ in 0..900 {
        projection.next_timeout(Duration::from_secs(1))?.ok_or("nothing came")?;
    }
    // Gauges and counters are told each second, and at the end.
    wal.close()?;

    println!("{}", recorder.render());
    Ok(())
}
