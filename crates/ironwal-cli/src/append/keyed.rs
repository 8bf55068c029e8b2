//! Lines with keys, appended to the shards of a log.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::num::NonZeroUsize;

use ironwal::sharded::ShardedWal;

use super::Args;
use super::lines::Lines;
use crate::exit::{self, Done, Failure};
use crate::open;
use crate::text::counted;

/// The character that an argument names. A tab is hard to type.
pub(super) fn delimiter(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (text, chars.next(), chars.next()) {
        ("\\t", ..) => Ok('\t'),
        (_, Some(delimiter), None) if delimiter != '\n' => Ok(delimiter),
        _ => Err("it must be one character, and no newline: `,` or `\\t`, for example".into()),
    }
}

pub(super) fn run(args: &Args, key_field: NonZeroUsize) -> Done {
    let wal = open::sharded_or_new(args.options(), args.shards)?;
    let mut shards = Touched::new(&wal);
    let key_of = Keys::new(args.delimiter, key_field);
    let appended = append_lines(&mut shards, &key_of, args, &mut io::stdin().lock());
    let (count, shard_count) = shards.appended()?;
    let closed = wal.close();
    exit::tell(format_args!(
        "appended {} to {shard_count} of {}",
        counted(count, "entry", "entries"),
        counted(wal.shard_count().into(), "shard", "shards"),
    ));
    appended?;
    closed.map_err(|error| Failure::of("close the log", &error))
}

fn append_lines(
    shards: &mut Touched<'_>,
    keys: &Keys,
    args: &Args,
    input: &mut impl BufRead,
) -> Done {
    let mut lines = Lines::default();
    while lines.read(input, args.group_len())? {
        let mut group = Vec::new();
        for (number, line) in (lines.first_number()..).zip(lines.slices()) {
            group.push((keys.of(line, number)?, line));
        }
        shards.append(&group, args.batch.is_some())?;
    }
    Ok(())
}

/// Finds the key in a line.
struct Keys {
    delimiter: Vec<u8>,
    field: NonZeroUsize,
}

impl Keys {
    fn new(delimiter: char, field: NonZeroUsize) -> Self {
        Self { delimiter: delimiter.to_string().into_bytes(), field }
    }

    fn of<'a>(&self, line: &'a [u8], number: usize) -> Done<&'a [u8]> {
        let mut rest = line;
        for before in 1..self.field.get() {
            let Some(at) = self.find(rest) else {
                return Err(Failure::failed(format!(
                    "line {number} has {} and the key is field {}: correct the line, \
                     --key-field or --delimiter, and append from there on",
                    counted(before as u64, "field", "fields"),
                    self.field,
                )));
            };
            rest = &rest[at + self.delimiter.len()..];
        }
        Ok(&rest[..self.find(rest).unwrap_or(rest.len())])
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        bytes.windows(self.delimiter.len()).position(|window| window == self.delimiter)
    }
}

/// The shards that were appended to.
struct Touched<'a> {
    wal: &'a ShardedWal,
    /// Where each of them ended before. A batch that fails has been appended to some shards, so
    /// what was appended is counted by where they end.
    ends_before: BTreeMap<u16, u64>,
}

impl<'a> Touched<'a> {
    fn new(wal: &'a ShardedWal) -> Self {
        Self { wal, ends_before: BTreeMap::new() }
    }

    /// Appends lines with their keys.
    fn append(&mut self, group: &[(&[u8], &[u8])], as_batch: bool) -> Done {
        let failed = |error| Failure::of("append to the shards", &error);
        for (key, _) in group {
            let shard = self.wal.route(key);
            if !self.ends_before.contains_key(&shard) {
                let end = self.wal.shard(shard).map_err(failed)?.next_id();
                self.ends_before.insert(shard, end);
            }
        }
        if as_batch {
            let group: Vec<_> =
                group.iter().map(|(key, line)| (key.to_vec(), line.to_vec())).collect();
            self.wal.append_batch(&group).map_err(failed)?;
        } else {
            for (key, line) in group {
                self.wal.append(key, line).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// How many entries were appended, and to how many shards.
    fn appended(&self) -> Done<(u64, u64)> {
        let (mut count, mut shard_count) = (0, 0);
        for (shard, before) in &self.ends_before {
            let shard = self.wal.shard(*shard);
            let shard = shard.map_err(|error| Failure::of("read the shards", &error))?;
            let new = shard.next_id().saturating_sub(*before);
            count += new;
            shard_count += u64::from(new > 0);
        }
        Ok((count, shard_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(delimiter: char, field: usize, line: &str) -> Option<String> {
        let keys = Keys::new(delimiter, NonZeroUsize::new(field).unwrap());
        let key = keys.of(line.as_bytes(), 1).ok()?;
        Some(String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn fields_are_found() {
        assert_eq!(key(',', 1, "a,b").as_deref(), Some("a"));
        assert_eq!(key(',', 2, "a,b").as_deref(), Some("b"));
        assert_eq!(key(',', 3, "a,b"), None);
        assert_eq!(key(',', 2, "a,,c").as_deref(), Some(""));
        assert_eq!(key(',', 2, "a,").as_deref(), Some(""));
        assert_eq!(key(',', 1, "").as_deref(), Some(""));
        assert_eq!(key(',', 1, "\"a,b\"").as_deref(), Some("\"a"));
        assert_eq!(key('→', 2, "a→b→c").as_deref(), Some("b"));
        assert_eq!(key('\t', 2, "a b\tc").as_deref(), Some("c"));
    }

    #[test]
    fn delimiters_are_one_character() {
        assert_eq!(delimiter(","), Ok(','));
        assert_eq!(delimiter("\\t"), Ok('\t'));
        assert_eq!(delimiter("\t"), Ok('\t'));
        assert_eq!(delimiter("→"), Ok('→'));
        for text in ["", "ab", "\\n", "\n"] {
            assert!(delimiter(text).unwrap_err().contains("one character"), "{text:?}");
        }
    }
}
