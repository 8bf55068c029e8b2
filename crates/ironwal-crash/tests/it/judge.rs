//! What a log must hold after a crash, given what had been begun and acknowledged before.

use std::collections::BTreeMap;

use ironwal::Wal;

/// What a program does to the log.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Op {
    /// One append, whole or not at all; whether it survives power loss once it has returned.
    Append {
        stream: String,
        entries: Vec<Vec<u8>>,
        safe: bool,
    },
    /// A batch over several streams.
    Batch(Vec<(String, Vec<Vec<u8>>)>),
    /// Everything that was appended is to survive.
    Sync,
    /// Moves the first id of a stream towards this one: up by pruning, down by restoring.
    First {
        stream: String,
        to: u64,
    },
    /// Cuts a stream off at this id.
    Cut {
        stream: String,
        end: u64,
    },
    Delete {
        stream: String,
    },
}

/// What a program says.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Mark {
    Begin(Op),
    /// All that was begun has returned; the first id of its stream, if it was to move that.
    Done(Option<u64>),
    /// A recovery found this: it stays.
    Saw(BTreeMap<String, Seen>),
}

/// What a stream shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) first: u64,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// What a stream may show.
#[derive(Debug, Clone, Default)]
struct Stream {
    first_min: u64,
    first_max: u64,
    /// From id 0 on, those that were pruned included; of those that nobody knows, nothing.
    entries: Vec<Vec<u8>>,
    /// Where appends begin: a crash cuts none through.
    bounds: Vec<usize>,
    safe: usize,
}

type Streams = BTreeMap<String, Stream>;

impl Stream {
    fn append(&mut self, entries: &[Vec<u8>], safe: bool) {
        self.bounds.push(self.entries.len());
        self.entries.extend_from_slice(entries);
        if safe {
            self.safe = self.entries.len();
        }
    }

    fn allows(&self, seen: &Seen) -> bool {
        let (start, end) = (seen.first as usize, seen.first as usize + seen.entries.len());
        (self.first_min..=self.first_max).contains(&seen.first)
            && end >= self.safe
            && (end == self.entries.len() || self.bounds.contains(&end))
            && self.entries.get(start..end) == Some(&seen.entries[..])
    }
}

fn apply(streams: &mut Streams, op: &Op, is_done: bool) {
    match op {
        Op::Append { stream, entries, safe } => {
            streams.entry(stream.clone()).or_default().append(entries, *safe && is_done);
        }
        Op::Batch(parts) => {
            for (stream, entries) in parts {
                streams.entry(stream.clone()).or_default().append(entries, is_done);
            }
        }
        Op::Sync => {
            for stream in streams.values_mut().filter(|_| is_done) {
                stream.safe = stream.entries.len();
            }
        }
        Op::First { stream, to } => {
            let stream = streams.entry(stream.clone()).or_default();
            stream.first_min = stream.first_min.min(*to);
            stream.first_max = stream.first_max.max(*to);
        }
        Op::Cut { stream, end } => {
            let stream = streams.entry(stream.clone()).or_default();
            stream.entries.truncate(*end as usize);
            stream.bounds.retain(|bound| *bound < *end as usize);
            stream.safe = stream.entries.len().min(if is_done { usize::MAX } else { stream.safe });
        }
        Op::Delete { stream } => {
            streams.remove(stream);
        }
    }
}

/// Says what is wrong with what was found, if something is.
pub(crate) fn judge(marks: &[Mark], found: &BTreeMap<String, Seen>) -> Result<(), String> {
    let mut streams = Streams::new();
    let mut begun: Vec<Op> = Vec::new();
    for mark in marks {
        match mark {
            Mark::Begin(op) => begun.push(op.clone()),
            Mark::Done(first) => {
                for op in begun.drain(..) {
                    apply(&mut streams, &op, true);
                    if let (Op::First { stream, .. }, Some(first)) = (&op, first) {
                        let stream = streams.entry(stream.clone()).or_default();
                        (stream.first_min, stream.first_max) = (*first, *first);
                        stream.safe = stream.entries.len();
                    }
                }
            }
            Mark::Saw(seen) => {
                begun.clear();
                streams.clear();
                for (name, seen) in seen {
                    let (first, mut entries) = (seen.first, vec![Vec::new(); seen.first as usize]);
                    entries.extend_from_slice(&seen.entries);
                    let safe = entries.len();
                    let bounds = Vec::new();
                    let stream =
                        Stream { first_min: first, first_max: first, entries, bounds, safe };
                    streams.insert(name.clone(), stream);
                }
            }
        }
    }
    // What had been begun is there up to any of it.
    let mut wrong = Vec::new();
    for count in 0..=begun.len() {
        let mut streams = streams.clone();
        begun[..count].iter().for_each(|op| apply(&mut streams, op, false));
        match differs(&streams, found) {
            None => return Ok(()),
            Some(reason) => wrong.push(reason),
        }
    }
    Err(wrong.join("; or "))
}

fn differs(streams: &Streams, found: &BTreeMap<String, Seen>) -> Option<String> {
    let none = (Stream::default(), Seen::default());
    let names: std::collections::BTreeSet<_> = streams.keys().chain(found.keys()).collect();
    names.into_iter().find_map(|name| {
        let stream = streams.get(name).unwrap_or(&none.0);
        let seen = found.get(name).unwrap_or(&none.1);
        let brief = |entries: &[Vec<u8>]| {
            let brief = |entry: &Vec<u8>| {
                let text = String::from_utf8_lossy(entry);
                format!("{}({})", text.chars().take(8).collect::<String>(), entry.len())
            };
            entries.iter().map(brief).collect::<Vec<_>>().join(" ")
        };
        (!stream.allows(seen)).then(|| {
            format!(
                "stream {name}: found {} from id {}, expected {} from id {} to {}, to {} at least, \
                 bounds {:?}",
                brief(&seen.entries),
                seen.first,
                brief(&stream.entries),
                stream.first_min,
                stream.first_max,
                stream.safe,
                stream.bounds,
            )
        })
    })
}

/// What all streams of a log show.
pub(crate) fn see(wal: &Wal) -> Result<BTreeMap<String, Seen>, ironwal::Error> {
    let mut found = BTreeMap::new();
    for name in wal.streams() {
        let stream = wal.stream(&name)?;
        let first = stream.first_id();
        let mut entries = Vec::new();
        for entry in stream.range(..) {
            let (id, entry) = entry?;
            assert_eq!(id, first + entries.len() as u64, "a gap in stream {name}");
            entries.push(entry.to_vec());
        }
        assert_eq!(stream.next_id(), first + entries.len() as u64, "the end of stream {name}");
        found.insert(name, Seen { first, entries });
    }
    Ok(found)
}
