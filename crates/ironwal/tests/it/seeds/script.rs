//! A run as an input of a fuzzer describes it.
//!
//! ```text
//!  0      1                30     32         48
//!  | mode | set-up choices | seed | record 0 | record 1 | …
//!
//!  a record: an operation, or an opening
//!  0     1                          14     16
//!  | tag | choices                  | seed |
//! ```
//!
//! A record is an opening, of the next life, if and only if it is the first or its tag is at least
//! [`OPENING`]; the second half of its choices is for the end of that life. All others are one operation
//! each, so that one can be changed, left out or put in without changing the others.

use super::Choices;
use super::steps::{LIVES_MAX, STEPS_OF_A_LIFE};

const SET_UP_LEN: usize = 32;
const RECORD_LEN: usize = 16;

/// Records with this tag, or a higher one, begin a life.
const OPENING: u8 = 0xE0;

/// The last steps of a life are not operations.
const OPERATIONS_MAX: usize = STEPS_OF_A_LIFE as usize - 4;

type Record = [u8; RECORD_LEN];

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    set_up: [u8; SET_UP_LEN],
    /// Of each life its opening, and its operations.
    lives: Vec<Vec<Record>>,
}

fn seed_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |seed, byte| seed << 8 | u64::from(*byte))
}

impl Script {
    pub(super) fn new(input: &[u8]) -> Self {
        let (first, rest) = input.split_at(input.len().min(SET_UP_LEN));
        let mut set_up = [0; SET_UP_LEN];
        set_up[..first.len()].copy_from_slice(first);
        let mut lives: Vec<Vec<Record>> = Vec::new();
        for bytes in rest.chunks(RECORD_LEN) {
            let mut record = [0; RECORD_LEN];
            record[..bytes.len()].copy_from_slice(bytes);
            let count = lives.len();
            match lives.last_mut().filter(|_| record[0] < OPENING) {
                Some(life) if life.len() <= OPERATIONS_MAX => life.push(record),
                Some(_) => {}
                None if count == LIVES_MAX as usize => break,
                None => lives.push(vec![record]),
            }
        }
        Self { set_up, lives }
    }

    pub(super) fn lives(&self) -> u32 {
        self.lives.len() as u32
    }

    pub(super) fn steps_of_life(&self, first: u32) -> u32 {
        self.lives[(first / STEPS_OF_A_LIFE) as usize].len() as u32 - 1
    }

    pub(super) fn choices(&self, step: u32) -> Choices {
        let (life, nth) = ((step / STEPS_OF_A_LIFE) as usize, step % STEPS_OF_A_LIFE);
        let Some(life) = self.lives.get(life) else {
            // The set-up, and what is done behind the last life.
            let bytes = if step == u32::MAX { &self.set_up[1..SET_UP_LEN - 2] } else { &[] };
            return Choices::from_bytes(bytes, seed_of(&self.set_up[SET_UP_LEN - 2..]));
        };
        match nth {
            0 => Choices::from_bytes(&life[0][1..8], seed_of(&life[0][14..])),
            // Its end.
            _ if nth == STEPS_OF_A_LIFE - 1 => {
                Choices::from_bytes(&life[0][8..14], seed_of(&life[0][14..]))
            }
            _ => {
                let record = &life[nth as usize];
                Choices::from_bytes(&record[1..14], seed_of(&record[14..]))
            }
        }
    }
}
