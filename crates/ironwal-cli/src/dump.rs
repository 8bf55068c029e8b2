//! `ironwal dump`: the files of a log, structure by structure.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ironwal::Error;
use ironwal::inspect::{Kind, Structure, Validity, dump};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::exit::{Done, Failure};
use crate::json::{self, Ids};
use crate::text::printable;
use crate::{colour, open};

/// How much of a structure is read at a time for `--hex`; whole lines of it.
const HEX_READ_LEN: usize = 64 * 1024;
const HEX_LINE_LEN: usize = 16;

/// Print the structures of a file of a log, or of all its files, whatever is in them
#[derive(clap::Args)]
#[command(after_help = "\
Each line has the offset and the length in bytes, what it is, the ids of its entries, its checksum, and
its fields; docs/format.md says what they mean. A checksum is \"ok\", or what was found is beside what is
stored. It only looks: the exit status does not say whether something is damaged, `ironwal verify` does.
Works beside a process that writes to the log, and changes nothing.

Examples:
  ironwal dump ./log
  ironwal dump ./log/orders/00000000000000000000.wal --hex
  ironwal dump ./log/orders/00000000000000000000.wal --from 8192 --json")]
pub(crate) struct Args {
    /// The directory of the log or of a stream, or one file
    path: PathBuf,
    /// Begin with the structure at this offset, or that it lies in; decimal, or hexadecimal after 0x
    #[arg(long, value_name = "OFFSET", default_value = "0", value_parser = offset)]
    from: u64,
    /// Print the bytes of each structure too
    #[arg(long, conflicts_with = "json")]
    hex: bool,
    /// Print one JSON object per line, for each structure
    #[arg(long)]
    json: bool,
}

fn offset(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

pub(crate) fn run(args: &Args) -> Done {
    let mut out = BufWriter::new(io::stdout().lock());
    let all = files_in(&args.path)?;
    if all.is_some() && args.from > 0 {
        return Err(Failure::BadUsage(format!(
            "--from is an offset in a file, and {} is a directory: name one of its files",
            args.path.display()
        )));
    }
    match all {
        None => dump_file(&mut out, &args.path, args)?,
        Some(files) => {
            for (nth, file) in files.iter().enumerate() {
                if !args.json {
                    let gap = if nth == 0 { "" } else { "\n" };
                    let name = printable(file.to_string_lossy().as_bytes());
                    writeln!(out, "{gap}{name}").map_err(|error| Failure::output(&error))?;
                }
                dump_file(&mut out, file, args)?;
            }
        }
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// The files of the log in a directory, by their names; `None` if it is no directory.
fn files_in(path: &Path) -> Done<Option<Vec<PathBuf>>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let failed = |error| Failure::io(&format!("list {}", path.display()), &error);
    let mut files = Vec::new();
    for entry in sorted(path).map_err(failed)? {
        if entry.is_dir() {
            files.extend(sorted(&entry).map_err(failed)?.into_iter().filter(|it| is_ours(it)));
        } else if is_ours(&entry) {
            files.push(entry);
        }
    }
    if files.is_empty() { Err(open::no_log(path)) } else { Ok(Some(files)) }
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        // Deleted a moment ago.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_segment = || name.strip_suffix(".wal").is_some_and(|id| id.parse::<u64>().is_ok());
    matches!(name, ".ironwal" | ".journal.0" | ".journal.1") || is_segment()
}

fn dump_file(out: &mut impl Write, path: &Path, args: &Args) -> Done {
    let failed = |error: Error| match error {
        Error::Io(cause) => Failure::io(&format!("read {}", path.display()), &cause),
        error => Failure::of(&format!("dump {}", path.display()), &error),
    };
    let structures = match dump(&open::disk(), path) {
        // Pruned a moment ago.
        Err(Error::Io(error)) if error.kind() == ErrorKind::NotFound && path != args.path => {
            return Ok(());
        }
        structures => structures.map_err(failed)?,
    };
    let mut file = match args.hex {
        true => Some(File::open(path).map_err(|error| failed(error.into()))?),
        false => None,
    };
    for structure in structures {
        let structure = structure.map_err(failed)?;
        if structure.offset.saturating_add(structure.len) <= args.from {
            continue;
        }
        let written = match args.json {
            true => json::write(out, &Line::of(path, &structure)),
            false => write(out, &structure),
        };
        written.map_err(|error| Failure::output(&error))?;
        if let Some(file) = file.as_mut().filter(|_| structure.kind != Kind::Zeros) {
            write_hex(out, file, &structure).map_err(|error| match error {
                HexError::Read(error) => failed(error.into()),
                HexError::Write(error) => Failure::output(&error),
            })?;
        }
    }
    Ok(())
}

fn write(out: &mut impl Write, structure: &Structure) -> io::Result<()> {
    let ids = match &structure.ids {
        ids if ids.is_empty() => String::new(),
        ids => format!("{}..{}", ids.start, ids.end),
    };
    let kind = json::name_of(structure.kind);
    write!(out, "{:>12} {:>10}  {kind:<13}  {ids:<14}", structure.offset, structure.len)?;
    match structure.validity {
        Validity::Invalid => write!(out, "  {}", colour::bad("invalid"))?,
        Validity::Newer(version) => write!(out, "  {}", colour::bad(format!("version {version}")))?,
        _ => {}
    }
    match (structure.stored, structure.computed) {
        (Some(stored), Some(computed)) if stored == computed => write!(out, "  {stored:#010x} ok")?,
        (Some(stored), Some(computed)) => {
            let found = colour::bad(format!("found {computed:#010x}"));
            write!(out, "  {stored:#010x} {found}")?;
        }
        (Some(stored), None) => write!(out, "  {stored:#010x}")?,
        _ => {}
    }
    let fields = structure.fields.iter().map(|(name, value)| match *name {
        "salt" | "digest" | "flags" | "check" | "index check" => format!("{name} {value:#x}"),
        _ => format!("{name} {value}"),
    });
    let fields = fields.collect::<Vec<_>>().join(", ");
    writeln!(out, "{}{fields}", if fields.is_empty() { "" } else { "  " })
}

enum HexError {
    Read(io::Error),
    Write(io::Error),
}

/// Writes the bytes of a structure, as far as they are there: a line has the offset of its first byte in the
/// file, 16 bytes, and what they are in ASCII.
fn write_hex(out: &mut impl Write, file: &mut File, structure: &Structure) -> Result<(), HexError> {
    file.seek(SeekFrom::Start(structure.offset)).map_err(HexError::Read)?;
    let mut offset = structure.offset;
    let end = structure.offset.saturating_add(structure.len);
    let mut bytes = Vec::with_capacity(HEX_READ_LEN);
    while offset < end {
        bytes.clear();
        let len = (end - offset).min(HEX_READ_LEN as u64);
        Read::take(&mut *file, len).read_to_end(&mut bytes).map_err(HexError::Read)?;
        if bytes.is_empty() {
            break;
        }
        for line in bytes.chunks(HEX_LINE_LEN) {
            write_hex_line(out, offset, line).map_err(HexError::Write)?;
            offset += line.len() as u64;
        }
    }
    Ok(())
}

fn write_hex_line(out: &mut impl Write, offset: u64, line: &[u8]) -> io::Result<()> {
    let mut hex = String::new();
    for (nth, byte) in line.iter().enumerate() {
        hex += if nth == HEX_LINE_LEN / 2 { "  " } else { " " };
        hex += &format!("{byte:02x}");
    }
    let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let ascii = line.iter().map(|byte| if is_shown(byte) { char::from(*byte) } else { '.' });
    let ascii: String = ascii.collect();
    writeln!(out, "              {offset:010x} {hex:<49}  |{ascii}|")
}

/// A structure as JSON.
#[derive(Serialize)]
struct Line {
    r#type: &'static str,
    file: String,
    kind: String,
    offset: u64,
    len: u64,
    validity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Ids>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    computed: Option<u32>,
    fields: Map<String, Value>,
}

impl Line {
    fn of(path: &Path, structure: &Structure) -> Self {
        let field = |(name, value): &(&str, u64)| (name.replace(' ', "_"), (*value).into());
        Self {
            r#type: "structure",
            file: path.to_string_lossy().into_owned(),
            kind: json::name_of(structure.kind),
            offset: structure.offset,
            len: structure.len,
            validity: json::name_of(structure.validity),
            ids: json::ids(&structure.ids),
            stored: structure.stored,
            computed: structure.computed,
            fields: structure.fields.iter().map(field).collect(),
        }
    }
}
