//! Lines of standard input, in groups.

use std::io::{BufRead, Read};

use ironwal::MAX_FRAME_LEN;

use crate::exit::{Done, Failure};

/// A group of lines, kept in one buffer.
#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Lines in earlier groups.
    read_before: usize,
}

impl Lines {
    /// Reads the next group of up to `count` lines; false at the end of the input.
    pub(super) fn read(&mut self, input: &mut impl BufRead, count: usize) -> Done<bool> {
        self.read_before += self.ends.len();
        self.bytes.clear();
        self.ends.clear();
        while self.ends.len() < count && self.read_line(input)? {
            let len = self.bytes.len() as u64;
            if len > MAX_FRAME_LEN {
                let line = self.read_before + self.ends.len();
                return Err(Failure::failed(format!(
                    "input up to line {line} exceeds the {MAX_FRAME_LEN} bytes that one append \
                     takes; use a smaller --batch or shorter lines"
                )));
            }
        }
        Ok(!self.ends.is_empty())
    }

    fn read_line(&mut self, input: &mut impl BufRead) -> Done<bool> {
        // One byte more than fits: a line without an end must not fill the memory.
        let read_len = input
            .take(MAX_FRAME_LEN + 1)
            .read_until(b'\n', &mut self.bytes)
            .map_err(|error| Failure::io("read standard input", &error))?;
        if read_len == 0 {
            return Ok(false);
        }
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
        }
        self.ends.push(self.bytes.len());
        Ok(true)
    }

    /// The lines of the group, one behind the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The lines of the group.
    pub(super) fn slices(&self) -> Vec<&[u8]> {
        let mut start = 0;
        self.ends.iter().map(|&end| &self.bytes[std::mem::replace(&mut start, end)..end]).collect()
    }

    /// The number of the first line of the group, from 1.
    pub(super) fn first_number(&self) -> usize {
        self.read_before + 1
    }
}
