//! What a group writes to its stream.
//!
//! ```text
//!   0     1          5       6
//!   +-----+----------+-------+------------------------+- - - - - - - - - - - - -+
//!   | head| sequence | facts | the facts that are     | index (8), entry to the |
//!   |     |  u32 LE  |       | named, in order of bit | end: entries only       |
//!   +-----+----------+-------+------------------------+- - - - - - - - - - - - -+
//! ```
//!
//! The head's upper four bits are the version, 1, its lower ones the kind: 0 facts alone, 1 an entry behind
//! the facts that come with it. A fact takes the place of the one of its kind before it:
//!
//! | bit | fact | bytes |
//! |---|---|---|
//! | 0 | the vote | length (u16), vote |
//! | 1 | up to where entries are committed | index (8), length (u16), log id; an empty log id: nothing |
//! | 2 | up to where entries are purged | as before |
//! | 3 | from which index on entries are cut off | index (8) |
//!
//! **A record counts if and only if** it is the first of its stream or its sequence number follows that of
//! the last one that counts. Where records are in flight and one fails for want of space, those behind it can
//! still be committed: they were never acknowledged, and must not make a log with a hole in it.
//!
//! Votes, log ids and entries are bytes here; whoever knows the types of a version of openraft encodes them.

use bytes::Bytes;

use crate::error::{Error, Result};

const VERSION: u8 = 1;
const KIND_FACTS: u8 = 0;
const KIND_ENTRY: u8 = 1;

/// What a frame has beside its entry, in bytes.
const FRAME_OVERHEAD: u64 = 32;

const VOTE: u8 = 1;
const COMMITTED: u8 = 1 << 1;
const PURGED: u8 = 1 << 2;
const CUT_FROM: u8 = 1 << 3;

/// How many bytes a record takes: in the stream it is a frame.
pub(crate) fn len_in_stream(record: &[u8]) -> u64 {
    record.len() as u64 + FRAME_OVERHEAD
}

/// A log id: its index, and all of it as the adapter encoded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) index: u64,
    pub(crate) log_id: Bytes,
}

/// What a record says beside an entry; `None`: nothing of this kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) vote: Option<Bytes>,
    /// `Some(None)`: nothing is known to be committed any more.
    pub(crate) committed: Option<Option<Point>>,
    pub(crate) purged: Option<Point>,
    pub(crate) cut_from: Option<u64>,
}

/// An entry of the Raft log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) sequence: u32,
    pub(crate) facts: Facts,
    pub(crate) entry: Option<Entry>,
}

/// # Errors
///
/// [`Error::TooLarge`]: a vote or a log id of more than 65,535 bytes.
pub(crate) fn encode(sequence: u32, facts: &Facts, entry: Option<&Entry>) -> Result<Vec<u8>> {
    let kind = if entry.is_some() { KIND_ENTRY } else { KIND_FACTS };
    let mut bytes = Vec::with_capacity(64 + entry.map_or(0, |entry| entry.bytes.len()));
    bytes.push(VERSION << 4 | kind);
    bytes.extend(sequence.to_le_bytes());
    let bit = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
    bytes.push(
        bit(facts.vote.is_some(), VOTE)
            | bit(facts.committed.is_some(), COMMITTED)
            | bit(facts.purged.is_some(), PURGED)
            | bit(facts.cut_from.is_some(), CUT_FROM),
    );
    if let Some(vote) = &facts.vote {
        put_short(&mut bytes, vote)?;
    }
    if let Some(committed) = &facts.committed {
        put_point(&mut bytes, committed.as_ref())?;
    }
    if let Some(purged) = &facts.purged {
        put_point(&mut bytes, Some(purged))?;
    }
    if let Some(index) = facts.cut_from {
        bytes.extend(index.to_le_bytes());
    }
    if let Some(entry) = entry {
        bytes.extend(entry.index.to_le_bytes());
        bytes.extend_from_slice(&entry.bytes);
    }
    Ok(bytes)
}

fn put_short(bytes: &mut Vec<u8>, short: &[u8]) -> Result<()> {
    let len = u16::try_from(short.len()).map_err(|_| Error::TooLarge(short.len()))?;
    bytes.extend(len.to_le_bytes());
    bytes.extend_from_slice(short);
    Ok(())
}

fn put_point(bytes: &mut Vec<u8>, point: Option<&Point>) -> Result<()> {
    bytes.extend(point.map_or(0, |point| point.index).to_le_bytes());
    put_short(bytes, point.map_or(&[], |point| &point.log_id))
}

/// Decodes the record that has the id `id` in its stream.
///
/// # Errors
///
/// [`Error::Newer`], [`Error::Malformed`].
pub(crate) fn decode(id: u64, record: &Bytes) -> Result<Record> {
    let mut rest = Rest { id, bytes: record.clone() };
    let [head] = rest.array()?;
    if head >> 4 != VERSION {
        return Err(Error::Newer { id, version: head >> 4 });
    }
    let kind = head & 0xF;
    let sequence = u32::from_le_bytes(rest.array()?);
    let [bits] = rest.array()?;
    if kind > KIND_ENTRY || bits & !(VOTE | COMMITTED | PURGED | CUT_FROM) != 0 {
        return Err(Error::Malformed {
            id,
            what: "it is of a kind that this version does not have",
        });
    }
    let facts = Facts {
        vote: (bits & VOTE != 0).then(|| rest.short()).transpose()?,
        committed: (bits & COMMITTED != 0).then(|| rest.point()).transpose()?,
        purged: if bits & PURGED != 0 { rest.point()? } else { None },
        cut_from: (bits & CUT_FROM != 0).then(|| rest.u64()).transpose()?,
    };
    let entry = match kind {
        KIND_ENTRY => Some(Entry { index: rest.u64()?, bytes: rest.bytes }),
        _ if !rest.bytes.is_empty() => return Err(rest.malformed("there is more behind its end")),
        _ => None,
    };
    Ok(Record { sequence, facts, entry })
}

/// What has not been decoded yet.
struct Rest {
    id: u64,
    bytes: Bytes,
}

impl Rest {
    fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed { id: self.id, what }
    }

    fn take(&mut self, len: usize) -> Result<Bytes> {
        if len > self.bytes.len() {
            return Err(self.malformed("it is too short"));
        }
        Ok(self.bytes.split_to(len))
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN]> {
        let taken = self.take(LEN)?;
        <[u8; LEN]>::try_from(&taken[..]).map_err(|_| self.malformed("it is too short"))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn short(&mut self) -> Result<Bytes> {
        let len = u16::from_le_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn point(&mut self) -> Result<Option<Point>> {
        let (index, log_id) = (self.u64()?, self.short()?);
        Ok((!log_id.is_empty()).then_some(Point { index, log_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_facts() -> Facts {
        let point = |index, log_id| Point { index, log_id: Bytes::from_static(log_id) };
        Facts {
            vote: Some(Bytes::from_static(b"v")),
            committed: Some(Some(point(7, b"seven"))),
            purged: Some(point(3, b"three")),
            cut_from: Some(9),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() -> Result<()> {
        let entry = Entry { index: 9, bytes: Bytes::from_static(b"nine") };
        let nothing_committed = Facts { committed: Some(None), ..Facts::default() };
        for facts in [Facts::default(), all_facts(), nothing_committed] {
            for entry in [None, Some(entry.clone())] {
                let bytes = Bytes::from(encode(77, &facts, entry.as_ref())?);
                assert_eq!(
                    decode(0, &bytes)?,
                    Record { sequence: 77, facts: facts.clone(), entry }
                );
            }
        }
        Ok(())
    }

    #[test]
    fn the_bytes_stay_what_they_are() -> Result<()> {
        let entry = Entry { index: 0x0807, bytes: Bytes::from_static(b"e") };
        let facts = Facts { cut_from: Some(2), ..Facts::default() };
        let expected = [0x11, 5, 0, 0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, b'e'];
        assert_eq!(encode(5, &facts, Some(&entry))?, expected);
        Ok(())
    }

    #[test]
    fn bad_records_are_errors() -> Result<()> {
        let whole = encode(1, &all_facts(), None)?;
        for len in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            assert!(matches!(decode(4, &cut), Err(Error::Malformed { id: 4, .. })), "{len} bytes");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            decode(4, &Bytes::from(bytes))
        };
        assert!(matches!(with(0, 0x20), Err(Error::Newer { id: 4, version: 2 })));
        assert!(matches!(with(0, 0x12), Err(Error::Malformed { .. })));
        assert!(matches!(with(5, 0xFF), Err(Error::Malformed { .. })));
        let longer = Bytes::from([&whole[..], b"x"].concat());
        assert!(matches!(decode(4, &longer), Err(Error::Malformed { .. })));
        Ok(())
    }
}
