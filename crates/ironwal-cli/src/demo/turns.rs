//! Which thread appends which line, and under which key.
//!
//! ```text
//! line     0 … 4 │ 5 … 9 │ … │ 35 … 39 │ 40 … 44 │ …
//! key        0   │   1   │ … │    7    │    8    │ …
//! thread     0   │   1   │ … │    7    │    0    │ …
//! ```
//!
//! Some lines in a row have one key, and so one shard. Their thread appends them one after the
//! other, and then goes on to its next key, which is in another shard as a rule. So what there is of
//! a thread has no hole at any instant, over all shards together, and that is what is checked.

pub(super) const THREADS: usize = 8;

/// How many lines in a row have one key. Few: a checkpoint that is not one instant shows where a
/// thread goes on to another shard.
const KEY_LINES: u64 = 5;

/// The place of a line in the work of its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) thread: usize,
    /// How many lines the thread appends before.
    pub(super) nth: u64,
}

impl Turn {
    pub(super) fn of(number: u64) -> Self {
        let key = key_of(number);
        let threads = THREADS as u64;
        Self {
            // Below the number of threads, so it fits.
            thread: usize::try_from(key % threads).unwrap_or(0),
            nth: key / threads * KEY_LINES + number % KEY_LINES,
        }
    }

    /// The number of the line.
    pub(super) fn number(self) -> u64 {
        let key = self.nth / KEY_LINES * THREADS as u64 + self.thread as u64;
        key * KEY_LINES + self.nth % KEY_LINES
    }
}

/// The number of a line's key.
pub(super) fn key_of(number: u64) -> u64 {
    number / KEY_LINES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_one_turn() {
        let mut due = [0; THREADS];
        for number in 0..10_000 {
            let turn = Turn::of(number);
            assert_eq!(turn.nth, due[turn.thread]);
            assert_eq!(turn.number(), number);
            due[turn.thread] += 1;
        }
    }
}
