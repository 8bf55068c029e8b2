//! Printing what was measured.

use std::io::{self, Write};

use serde::Serialize;

use super::loads::{Kind, Ready};
use crate::text::{bar, grouped};
use crate::{json, table};

/// Of the times of operations.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

const BAR_WIDTH: u64 = 20;

pub(super) fn table(out: &mut impl Write, loads: &[Ready], size: u32) -> io::Result<()> {
    let floor = loads.first().map_or(0, Ready::per_second);
    let most = loads.iter().map(Ready::per_second).max().unwrap_or(0);
    writeln!(out, "entries of {} bytes", grouped(size.into()))?;
    let mut table =
        table::new(&["load", "threads", "entries/s", "× floor", "p50", "p99", "p99.9", "max", ""]);
    for ready in loads {
        let latencies = &ready.latencies_ns;
        let times = QUANTILES.map(|quantile| latencies.value_at_quantile(quantile));
        let mut cells = vec![
            ready.load.name.to_string(),
            ready.load.threads.to_string(),
            grouped(ready.per_second()),
            format!("{:.1}", ready.per_second() as f64 / floor.max(1) as f64),
        ];
        cells.extend(times.into_iter().chain([latencies.max()]).map(time));
        // By the number of digits: the fastest is a thousand times as fast as the slowest.
        cells.push(bar(log2_eighths(ready.per_second()), log2_eighths(most), BAR_WIDTH));
        table.add_row(cells);
    }
    table::align_right(&mut table, 1..8);
    table::write(out, &table)?;
    writeln!(out)?;
    writeln!(
        out,
        "floor: a write and a sync of a file that has its space. Times are of one append, or of one batch of {};\n\
         bars are logarithmic.",
        super::BATCH_LEN
    )
}

#[derive(Serialize)]
struct Line {
    load: &'static str,
    threads: usize,
    batch: usize,
    entry_bytes: u32,
    entries: u64,
    seconds: f64,
    entries_per_second: u64,
    latency_ns: Latency,
}

#[derive(Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

pub(super) fn json(out: &mut impl Write, loads: &[Ready], size: u32) -> io::Result<()> {
    for ready in loads {
        let [p50, p99, p999] = QUANTILES.map(|at| ready.latencies_ns.value_at_quantile(at));
        let batch = match ready.load.kind {
            Kind::Floor => 1,
            Kind::Append { batch, .. } => batch,
        };
        json::write(
            out,
            &Line {
                load: ready.load.name,
                threads: ready.load.threads,
                batch,
                entry_bytes: size,
                entries: ready.entries,
                seconds: ready.took.as_secs_f64(),
                entries_per_second: ready.per_second(),
                latency_ns: Latency { p50, p99, p999, max: ready.latencies_ns.max() },
            },
        )?;
    }
    Ok(())
}

/// About eight times the logarithm of a number to the base 2.
fn log2_eighths(number: u64) -> u64 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    // The three digits behind the first.
    let eighths = (number << (63 - whole)) >> 60 & 7;
    u64::from(whole) * 8 + eighths
}

/// A time in nanoseconds, with three digits.
fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    let (number, unit) = match nanos {
        _ if nanos < 1e3 => (nanos, "ns"),
        _ if nanos < 1e6 => (nanos / 1e3, "µs"),
        _ if nanos < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let decimals = if number < 10.0 {
        2
    } else if number < 100.0 {
        1
    } else {
        0
    };
    let decimals = if unit == "ns" { 0 } else { decimals };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_grow_by_eight_when_a_number_doubles() {
        assert_eq!([0, 1, 2, 3, 4, 1024].map(log2_eighths), [0, 0, 8, 12, 16, 80]);
        assert_eq!(log2_eighths(u64::MAX), 63 * 8 + 7);
    }

    #[test]
    fn times_have_three_digits() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (99_949, "99.9 µs"),
            (123_456, "123 µs"),
            (12_345_678, "12.3 ms"),
            (1_500_000_000, "1.50 s"),
        ] {
            assert_eq!(time(nanos), text);
        }
    }
}
