//! What is acknowledged, and how the child tells the parent.

use std::io::{self, ErrorKind, Read, Write};

use super::write_words;

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: u16,
    pub(super) id: u64,
}

/// Something that returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// A line was appended.
    Line { number: u64, place: Place, latency_ns: u64 },
    /// A checkpoint was created, when so many appends had returned already.
    Checkpoint { number: u64, returned_before: u64, latency_ns: u64 },
}

const WORD_COUNT: usize = 5;

/// On the pipe a report is its kind and four numbers, each a little-endian `u64`.
const LEN: usize = WORD_COUNT * size_of::<u64>();

const LINE: u64 = 0;
const CHECKPOINT: u64 = 1;

impl Report {
    fn encode(self) -> [u64; WORD_COUNT] {
        match self {
            Self::Line { number, place, latency_ns } => {
                [LINE, number, place.shard.into(), place.id, latency_ns]
            }
            Self::Checkpoint { number, returned_before, latency_ns } => {
                [CHECKPOINT, number, returned_before, 0, latency_ns]
            }
        }
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |nth: usize| u64::from_le_bytes(words[nth]);
        let (number, latency_ns) = (word(1), word(4));
        match word(0) {
            LINE => {
                let place = Place { shard: u16::try_from(word(2)).ok()?, id: word(3) };
                Some(Self::Line { number, place, latency_ns })
            }
            CHECKPOINT => Some(Self::Checkpoint { number, returned_before: word(2), latency_ns }),
            _ => None,
        }
    }
}

/// Reports go out under one lock, so that those of two threads never mix.
pub(super) fn send(reports: &[Report]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(reports.len() * LEN);
    for report in reports {
        write_words(&mut bytes, &report.encode())?;
    }
    let mut out = io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()
}

/// Hands on the reports of the child until its end of the pipe is closed. A report that the kill
/// cut in two was not made.
pub(super) fn listen(mut pipe: impl Read, hand_on: impl Fn(Vec<Report>)) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let mut len = 0;
    loop {
        let read_len = match pipe.read(&mut bytes[len..]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        len += read_len;
        let (whole, _) = bytes[..len].as_chunks::<LEN>();
        let reports: Option<Vec<_>> = whole.iter().map(Report::decode).collect();
        hand_on(reports.ok_or(ErrorKind::InvalidData)?);
        let whole_len = whole.len() * LEN;
        bytes.copy_within(whole_len..len, 0);
        len -= whole_len;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A pipe that hands out a few bytes at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let len = into.len().min(7);
            self.0.read(&mut into[..len])
        }
    }

    fn heard(bytes: &[u8]) -> io::Result<Vec<Report>> {
        let heard = RefCell::new(Vec::new());
        listen(Dripping(bytes), |reports: Vec<_>| heard.borrow_mut().extend(reports))?;
        Ok(heard.into_inner())
    }

    #[test]
    fn whole_reports_count_and_a_cut_one_does_not() {
        let sent = [
            Report::Line { number: 1, place: Place { shard: 2, id: 3 }, latency_ns: 4 },
            Report::Checkpoint { number: 5, returned_before: 6, latency_ns: 7 },
            Report::Line { number: 8, place: Place { shard: 9, id: 10 }, latency_ns: 11 },
        ];
        let mut bytes = Vec::new();
        for report in sent {
            write_words(&mut bytes, &report.encode()).unwrap();
        }
        assert_eq!(heard(&bytes).unwrap(), sent);
        bytes.pop();
        assert_eq!(heard(&bytes).unwrap(), sent[..2]);
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let error = heard(&[7; LEN]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
