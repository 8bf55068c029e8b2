//! `ironwal ls`: the streams of a log, its shards and checkpoints.

use std::io::{self, Write};
use std::path::PathBuf;

use comfy_table::Table;
use ironwal::{Error, Result, Wal};
use serde::Serialize;

use crate::exit::{Done, Failure, say_all};
use crate::text::{bar, counted, grouped, printable};
use crate::{checkpoint, json, open, table};

/// Of a log with more shards, only those are listed that have entries.
const ALL_LISTED_MAX: u16 = 64;

const BAR_WIDTH: u64 = 30;

const CHECKPOINTS_LISTED_MAX: usize = 5;

/// List the streams of a log with their ids and numbers of entries, its shards and checkpoints
#[derive(clap::Args)]
#[command(after_help = "\
Of a sharded log, lists the shards, how the entries are spread over them, the other streams, and the
newest checkpoints. Works beside a process that writes to the log, and changes nothing.
A stream whose end cannot be read is named on standard error; the exit status is then 1. For other damage
there is `ironwal verify`.

Examples:
  ironwal ls ./log
  ironwal ls ./log --json | jq -r 'select(.type == \"stream\") | .name'")]
pub(crate) struct Args {
    /// The directory of the log
    dir: PathBuf,
    /// Print one JSON object per line: the log, its streams, its newest checkpoints
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let wal = open::existing(&args.dir)?;
    let sharded = open::shards(&args.dir, &wal)?;
    let rows = wal.streams().into_iter().map(|name| Row::of(&wal, name)).collect::<Result<_>>();
    let rows: Vec<Row> = rows.map_err(|error| Failure::of("read the log", &error))?;
    let checkpoints = match &sharded {
        Some(wal) => Some(Checkpoints {
            count: wal.checkpoint_count() as u64,
            newest: checkpoint::newest(wal, CHECKPOINTS_LISTED_MAX)?,
        }),
        None => None,
    };
    table::print(|out| match (wal.shard_count(), &checkpoints) {
        (shard_count, _) if args.json => write_json(out, shard_count, &rows, &checkpoints),
        (Some(shard_count), Some(checkpoints)) => {
            write_sharded(out, shard_count, &rows, checkpoints)
        }
        _ => table::write(out, &streams(&rows)),
    })?;
    wal.close().map_err(|error| Failure::of("read the log", &error))?;
    say_all(rows.iter().filter_map(|row| row.damage.as_ref()))
}

/// A stream, which may be a shard.
struct Row {
    name: String,
    shard: Option<u16>,
    first_id: u64,
    next_id: u64,
    /// Why nobody knows where it ends.
    damage: Option<Error>,
}

impl Row {
    fn of(wal: &Wal, name: String) -> Result<Self> {
        let stream = wal.stream(&name)?;
        let (first_id, next_id) = (stream.first_id(), stream.next_id());
        let (shard, damage) = (open::shard_of(wal, &name), open::lost_end(&stream));
        Ok(Self { name, shard, first_id, next_id, damage })
    }

    fn entries(&self) -> u64 {
        self.next_id.saturating_sub(self.first_id)
    }

    fn cells(&self, name: String) -> Vec<String> {
        let numbers = [self.first_id, self.next_id, self.entries()];
        std::iter::once(name).chain(numbers.map(|number| number.to_string())).collect()
    }
}

struct Checkpoints {
    count: u64,
    newest: Vec<checkpoint::Listed>,
}

fn write_json(
    out: &mut impl Write,
    shards: Option<u16>,
    rows: &[Row],
    checkpoints: &Option<Checkpoints>,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Log {
        r#type: &'static str,
        streams: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        shards: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoints: Option<u64>,
    }
    #[derive(Serialize)]
    struct Stream<'a> {
        r#type: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        shard: Option<u16>,
        first_id: u64,
        next_id: u64,
        entries: u64,
    }
    let (streams, count) = (rows.len(), checkpoints.as_ref().map(|it| it.count));
    json::write(out, &Log { r#type: "log", streams, shards, checkpoints: count })?;
    for row in rows {
        let Row { name, shard, first_id, next_id, .. } = row;
        let (shard, first_id, next_id, entries) = (*shard, *first_id, *next_id, row.entries());
        json::write(out, &Stream { r#type: "stream", name, shard, first_id, next_id, entries })?;
    }
    let newest = checkpoints.as_ref().map_or(&[][..], |it| &it.newest);
    checkpoint::write_json(out, newest)
}

fn streams<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Table {
    let mut table = table::new(&["stream", "first id", "next id", "entries"]);
    for row in rows {
        table.add_row(row.cells(printable(row.name.as_bytes())));
    }
    table::align_right(&mut table, 1..4);
    table
}

fn write_sharded(
    out: &mut impl Write,
    shard_count: u16,
    rows: &[Row],
    checkpoints: &Checkpoints,
) -> io::Result<()> {
    let (mut shards, others): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.shard.is_some());
    shards.sort_by_key(|row| row.shard);
    write_shards(out, shard_count, &shards)?;
    if !others.is_empty() {
        writeln!(out)?;
        table::write(out, &streams(others))?;
    }
    writeln!(out)?;
    match (checkpoints.count, checkpoints.newest.len() as u64) {
        (0, _) => return writeln!(out, "no checkpoints"),
        (count, shown) if count > shown => writeln!(
            out,
            "{}; the newest of them (`ironwal checkpoint ls` lists all):",
            counted(count, "checkpoint", "checkpoints")
        )?,
        _ => {}
    }
    table::write(out, &checkpoint::table(&checkpoints.newest))
}

fn write_shards(out: &mut impl Write, shard_count: u16, shards: &[&Row]) -> io::Result<()> {
    let most = shards.iter().map(|row| row.entries()).max().unwrap_or(0);
    let mut found = shards.iter().copied().peekable();
    let mut table = table::new(&["shard", "first id", "next id", "entries", ""]);
    let mut not_listed = 0;
    for shard in 0..shard_count {
        let name = String::new();
        let empty = Row { name, shard: Some(shard), first_id: 0, next_id: 0, damage: None };
        let row = found.next_if(|row| row.shard == Some(shard)).unwrap_or(&empty);
        if row.next_id == 0 && shard_count > ALL_LISTED_MAX {
            not_listed += 1;
            continue;
        }
        let mut cells = row.cells(format!("{shard:02}"));
        cells.push(bar(row.entries(), most, BAR_WIDTH));
        table.add_row(cells);
    }
    table::align_right(&mut table, 1..4);
    if not_listed < u64::from(shard_count) {
        table::write(out, &table)?;
    }
    if not_listed > 0 {
        let shards = counted(not_listed, "shard", "shards");
        writeln!(out, "{shards} of {} never had an entry", grouped(shard_count.into()))?;
    }
    Ok(())
}
