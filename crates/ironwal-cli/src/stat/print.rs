//! Printing what was counted.

use std::io::{self, Write};

use comfy_table::Table;
use console::Term;
use serde::Serialize;

use super::gather::{Row, Shards, Stats};
use crate::text::{bar, counted, grouped, printable};
use crate::{json, table};

/// The width of a terminal that nobody knows.
const WIDTH: usize = 80;
const BAR_WIDTH_MIN: usize = 10;

/// Of a log with more shards, only those have bars that have entries.
const ALL_BARS_MAX: u16 = 64;

pub(super) fn write(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    table::write(out, &streams(&stats.rows))?;
    if let Some(shards) = &stats.shards {
        writeln!(out)?;
        write_shards(out, shards, &stats.rows)?;
    }
    Ok(())
}

fn streams(rows: &[Row]) -> Table {
    let is_compressed =
        rows.iter().any(|row| row.newest.as_ref().is_some_and(|it| it.compression.is_some()));
    let mut head = vec!["stream", "entries", "first id", "next id", "segments", "bytes", "newest"];
    head.extend(is_compressed.then_some("compression"));
    let columns = head.len();
    let mut table = table::new(&head);
    for row in rows {
        let stats = &row.stats;
        let numbers = [stats.entries(), stats.first_id, stats.next_id, stats.segments as u64];
        let mut cells = vec![printable(row.name.as_bytes())];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(grouped(stats.bytes));
        let newest = row.newest.as_ref();
        cells.push(newest.map_or(String::new(), |it| format!("{:.1} % full", it.fill * 100.0)));
        let compression = newest.and_then(|it| it.compression);
        if is_compressed {
            cells.push(compression.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        table.add_row(cells);
    }
    table::align_right(&mut table, 1..columns);
    table
}

fn write_shards(out: &mut impl Write, shards: &Shards, rows: &[Row]) -> io::Result<()> {
    let mut found = rows.iter().filter(|row| row.shard.is_some()).peekable();
    let entries = |row: &Row| row.stats.entries();
    let most = rows.iter().filter(|row| row.shard.is_some()).map(entries).max().unwrap_or(0);
    let digits = most.to_string().len();
    let shard_digits = shards.count.saturating_sub(1).to_string().len().max(2);
    // "shard 00  123  ████"
    let before = "shard ".len() + shard_digits + digits + 4;
    let width = width().saturating_sub(before).max(BAR_WIDTH_MIN);
    let mut empty = 0_u64;
    for shard in 0..shards.count {
        let row = found.next_if(|row| row.shard == Some(shard));
        let entries = row.map_or(0, entries);
        if row.is_none() && shards.count > ALL_BARS_MAX {
            empty += 1;
            continue;
        }
        let bar = bar(entries, most, width as u64);
        let line = format!("shard {shard:0shard_digits$}  {entries:>digits$}  {bar}");
        writeln!(out, "{}", line.trim_end())?;
    }
    if empty > 0 {
        let shards = grouped(shards.count.into());
        writeln!(out, "{} of {shards} never had an entry", counted(empty, "shard", "shards"))?;
    }
    if let Some(skew) = shards.skew {
        writeln!(out, "the fullest shard has {skew:.2} times the entries of the mean")?;
    }
    if let Some(rate) = shards.entries_per_second {
        writeln!(out, "{rate:.1} entries per second, from the oldest checkpoint to the newest")?;
    }
    Ok(())
}

/// The width of the terminal, if it is one.
fn width() -> usize {
    Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns))
}

#[derive(Serialize)]
struct StreamLine<'a> {
    r#type: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u16>,
    entries: u64,
    first_id: u64,
    next_id: u64,
    segments: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<NewestLine>,
}

#[derive(Serialize)]
struct NewestLine {
    first_id: u64,
    bytes: u64,
    fill: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<f64>,
}

#[derive(Serialize)]
struct Summary {
    r#type: &'static str,
    streams: usize,
    entries: u64,
    segments: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skew: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries_per_second: Option<f64>,
}

pub(super) fn write_json(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    for row in &stats.rows {
        let newest = row.newest.as_ref().map(|newest| NewestLine {
            first_id: newest.first_id,
            bytes: newest.bytes,
            fill: newest.fill,
            compression: newest.compression,
        });
        let line = StreamLine {
            r#type: "stream",
            name: &row.name,
            shard: row.shard,
            entries: row.stats.entries(),
            first_id: row.stats.first_id,
            next_id: row.stats.next_id,
            segments: row.stats.segments,
            bytes: row.stats.bytes,
            newest,
        };
        json::write(out, &line)?;
    }
    let shards = stats.shards.as_ref();
    let summary = Summary {
        r#type: "summary",
        streams: stats.rows.len(),
        entries: stats.rows.iter().map(|row| row.stats.entries()).sum(),
        segments: stats.rows.iter().map(|row| row.stats.segments).sum(),
        bytes: stats.rows.iter().map(|row| row.stats.bytes).sum(),
        shards: shards.map(|it| it.count),
        skew: shards.and_then(|it| it.skew),
        entries_per_second: shards.and_then(|it| it.entries_per_second),
    };
    json::write(out, &summary)
}
