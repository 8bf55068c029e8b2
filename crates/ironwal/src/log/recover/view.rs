//! The journal for those who only read the log: what is in it and not in the segments yet.
//!
//! Somebody may be writing to it. A frame that is not whole is not there yet, then; and what is not
//! there any more is in the segments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use super::journal::{FoundJournal, Pieces, loss_of, read_on};
use crate::error::Result;
use crate::format::checksum::SegmentSeed;
use crate::segment::unwritten::Piece;
use crate::storage::{File, Storage};
use crate::sync::{Arc, Mutex, lock};

/// The journal, read beside whoever writes to it.
#[derive(Debug)]
pub(crate) struct View {
    storage: Arc<dyn Storage>,
    root: PathBuf,
    salt: u64,
    seen: Mutex<Seen>,
}

/// What was found when it was looked at last.
#[derive(Debug, Default)]
struct Seen {
    journal: Option<FoundJournal>,
    pieces: BTreeMap<u64, BTreeMap<u64, Pieces>>,
}

impl View {
    /// The journal of the log in `root`. Nothing is read yet.
    pub(crate) fn new(storage: Arc<dyn Storage>, root: PathBuf, salt: u64) -> Self {
        Self { storage, root, salt, seen: Mutex::default() }
    }

    /// Looks what is in the journal now. Reads what was not there the last time.
    pub(crate) fn refresh(&self) -> Result<()> {
        let mut seen = lock(&self.seen);
        let before = seen.journal.take();
        let was = before.as_ref().map(FoundJournal::extent);
        let journal = read_on(&*self.storage, &self.root, self.salt, before)?;
        if was != Some(journal.extent()) {
            seen.pieces = journal.pieces();
        }
        seen.journal = Some(journal);
        Ok(())
    }

    /// What belongs into the segment of this stream that begins with `first_id`, whose file is given,
    /// as of the last [`View::refresh`], in the order of the offsets. What is lost is a frame that says
    /// so.
    pub(crate) fn pieces(
        &self,
        stream_number: u64,
        first_id: u64,
        file: &dyn File,
    ) -> Result<Vec<Piece>> {
        let seen = lock(&self.seen);
        let (Some(journal), Some(pieces)) =
            (&seen.journal, seen.pieces.get(&stream_number).and_then(|it| it.get(&first_id)))
        else {
            return Ok(Vec::new());
        };
        let seed = SegmentSeed::new(self.salt, stream_number, first_id);
        let mut found = Vec::with_capacity(pieces.len());
        for piece in pieces.values() {
            let share = journal.share(&*self.storage, piece, seed, file)?;
            let bytes = share.or_else(|| loss_of(piece.record, seed));
            found.extend(bytes.map(|bytes| (piece.record.offset, Bytes::from(bytes))));
        }
        Ok(found)
    }
}
