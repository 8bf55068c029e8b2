//! The journal for those who only read the log: what is in it and not in the segments yet.
//!
//! Somebody may be writing to it. A frame that is not whole is not there yet, then; and what is not
//! there any more is in the segments.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use super::found::Found;
use super::journal::{FoundJournal, Pieces, loss_of, read_on};
use super::replay::missing_before;
use crate::error::Result;
use crate::format::checksum::SegmentSeed;
use crate::format::header::Proof;
use crate::format::journal::Record;
use crate::segment::unwritten::Piece;
use crate::storage::{File, OpenMode, Storage};
use crate::sync::{Arc, Mutex, lock};

/// The journal, read beside whoever writes to it.
#[derive(Debug)]
pub(crate) struct View {
    storage: Arc<dyn Storage>,
    root: PathBuf,
    salt: u64,
    /// Whether nobody writes to the log.
    alone: bool,
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
        Self { storage, root, salt, alone: false, seen: Mutex::default() }
    }

    /// The same of a log that nobody writes to: what is missing before a share is lost, too, as it is for
    /// the opening that replays the journal.
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
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
        let shares = self.shares(stream_number, first_id, file)?;
        Ok(shares.into_iter().map(|share| (share.record.offset, share.bytes)).collect())
    }

    fn shares(&self, stream_number: u64, first_id: u64, file: &dyn File) -> Result<Vec<Share>> {
        let seen = lock(&self.seen);
        let (Some(journal), Some(pieces)) =
            (&seen.journal, seen.pieces.get(&stream_number).and_then(|it| it.get(&first_id)))
        else {
            return Ok(Vec::new());
        };
        let seed = SegmentSeed::new(self.salt, stream_number, first_id);
        let mut found = Vec::with_capacity(pieces.len());
        for piece in pieces.values() {
            let record = piece.record;
            match journal.share(&*self.storage, piece, seed, file)? {
                Some(bytes) => found.push(Share { record, bytes: bytes.into(), lost: false }),
                None => found.extend(lost_share(record, seed)),
            }
        }
        Ok(found)
    }

    /// The same of a segment with this number, and what is lost before a share.
    pub(super) fn shares_of(&self, segment: &Found, stream_number: u64) -> Result<Vec<Share>> {
        let storage = &*self.storage;
        let file = storage.open(&segment.path, OpenMode::Read)?;
        let shares = self.shares(stream_number, segment.first_id, &*file)?;
        let unknown = lock(&self.seen).journal.as_ref().map_or(0, FoundJournal::unknown);
        if !self.alone || unknown == 0 {
            return Ok(shares);
        }
        let seed = SegmentSeed::new(self.salt, stream_number, segment.first_id);
        let (mut all, mut reached) = (Vec::with_capacity(shares.len()), None);
        for share in shares {
            let record = share.record;
            let missing = missing_before(storage, segment, reached, record)?;
            all.extend(missing.and_then(|missing| lost_share(missing, seed)));
            reached = Some(Proof::behind(record));
            all.push(share);
        }
        Ok(all)
    }
}

/// What stands, or is going to, at one place of a segment because of the journal.
pub(super) struct Share {
    pub(super) record: Record,
    pub(super) bytes: Bytes,
    /// It is neither in the journal nor in the segment: the bytes are a loss frame.
    pub(super) lost: bool,
}

fn lost_share(record: Record, seed: SegmentSeed) -> Option<Share> {
    loss_of(record, seed).map(|bytes| Share { record, bytes: bytes.into(), lost: true })
}
