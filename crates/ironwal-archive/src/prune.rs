//! Pruning of the log: only what is safely in the archive.

use ironwal::Wal;
use ironwal::inspect::{Held, HeldStream};

use crate::error::{Error, Result};
use crate::manifest::{Manifest, Segment, Stream};
use crate::push::Archiver;

/// What [`Archiver::prune`] freed of a stream.
///
/// See [`Archiver::prune`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The stream.
    pub stream: String,
    /// How many segments were freed.
    pub segments: usize,
    /// The first id that the log still has.
    pub first_id: u64,
}

impl Archiver {
    /// Frees full segments of all streams that the archive holds, as long as a stream has more than `keep_bytes`
    /// in the log; never the newest segment, and nothing of the checkpoints. What was not pushed stays.
    ///
    /// `wal` is the log of this archiver, open for writing; a reader's position, or a checkpoint that is to be
    /// replayed from, is up to the caller: see [`Archiver::prune_stream`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// # for _ in 0..10 {
    /// #     wal.append("orders", b"tea")?;
    /// # }
    /// archiver.push(Tails::Ship)?; // ten entries, four to a segment
    /// for _ in 0..10 {
    ///     wal.append("orders", b"jam")?; // not pushed
    /// }
    /// let pruned = archiver.prune(&wal, 0)?;
    /// assert_eq!(pruned.len(), 1); // streams of which nothing was freed are not told
    /// assert_eq!((pruned[0].segments, pruned[0].first_id), (2, 8));
    /// assert_eq!(archiver.prune(&wal, 0)?, []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Archiver::prune_stream`]. What was freed before it stays so.
    pub fn prune(&self, wal: &Wal, keep_bytes: u64) -> Result<Vec<Pruned>> {
        let mut pruned = Vec::new();
        for name in wal.streams() {
            let before = wal.stream(&name)?.oldest_within(keep_bytes);
            let segments = self.prune_stream(wal, &name, before)?;
            if segments > 0 {
                let first_id = wal.stream(&name)?.first_id();
                pruned.push(Pruned { stream: name, segments, first_id });
            }
        }
        Ok(pruned)
    }

    /// Frees full segments of a stream all of whose entries are below `before`, as far as the archive holds them:
    /// the newest manifest is read back, it must name the very same segments, and the store is asked for each of
    /// their objects. Returns how many were freed.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ironwal::{Environment, Maintenance, Wal, WalOptions};
    /// # use ironwal::storage::SimDisk;
    /// # use ironwal_archive::{Archive, Archiver, Error, Tails};
    /// # use object_store::memory::InMemory;
    /// # let disk = SimDisk::new(1);
    /// # let environment = Environment::default()
    /// #     .with_storage(Arc::new(disk.process()))
    /// #     .with_maintenance(Maintenance::Inline);
    /// # let options = WalOptions { max_entries_per_segment: 4, ..WalOptions::new("/log") };
    /// # let wal = Wal::open_with(options, environment)?;
    /// # let archive = Archive::new(Arc::new(InMemory::new()), "an/archive")?;
    /// # let mut archiver = Archiver::new(archive.clone(), Arc::new(disk.process()), "/log");
    /// # for _ in 0..10 {
    /// #     wal.append("orders", b"tea")?;
    /// # }
    /// // Ten entries, four to a segment: below 7 is one of them.
    /// assert!(matches!(archiver.prune_stream(&wal, "orders", 7), Err(Error::NoArchive)));
    /// archiver.push(Tails::Ship)?;
    /// assert_eq!(archiver.prune_stream(&wal, "orders", 7)?, 1);
    /// assert_eq!(wal.stream("orders")?.first_id(), 4);
    /// assert_eq!(archiver.prune_stream(&wal, "nobody's", 7)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoArchive`], [`Error::OtherLog`]; [`Error::Missing`] and [`Error::Damaged`] of an object that is not
    /// what the manifest says, and then nothing was freed; [`Error::Log`], [`Error::Store`].
    pub fn prune_stream(&self, wal: &Wal, name: &str, before: u64) -> Result<usize> {
        let held = Held::of(&self.storage, &self.root)?;
        let log = format!("{:016x}", held.salt());
        let manifest: Manifest = self.archive.existing()?;
        if manifest.log != log {
            return Err(Error::OtherLog { archived: manifest.log, log });
        }
        let Some(stream) = held.streams().iter().find(|it| it.name == name) else { return Ok(0) };
        let archived = manifest.streams.iter().find(|it| it.number == stream.number);
        let Some(archived) = archived else { return Ok(0) };
        let safe = safe_segments(stream, archived, before);
        for segment in &safe {
            for (_, object, piece) in segment.objects(stream.number) {
                match self.archive.store.len(&object)? {
                    Some(len) if len == piece.len => {}
                    Some(len) => {
                        let reason = format!("it has {len} bytes and had {}", piece.len);
                        return Err(Error::Damaged { object, reason });
                    }
                    None => return Err(Error::Missing { object }),
                }
            }
        }
        let Some(end) = safe.last().map(|segment| segment.next_id) else { return Ok(0) };
        // A stream that was deleted and begun again meanwhile is another one.
        if !held.is_still()? {
            return Ok(0);
        }
        Ok(wal.truncate(name, end.min(before))?)
    }
}

/// The segments of a stream below `before`, from its oldest one on, that the archive holds as they are.
fn safe_segments<'a>(stream: &HeldStream, archived: &'a Stream, before: u64) -> Vec<&'a Segment> {
    let mut safe = Vec::new();
    for segment in stream.segments.iter().filter(|it| it.next_id <= before) {
        let is_it = |it: &&Segment| {
            it.is_full
                && segment.is_full
                && (it.first_id, it.next_id, it.cut, it.digest)
                    == (segment.first_id, segment.next_id, segment.cut, segment.digest)
        };
        match archived.segments.iter().find(is_it) {
            Some(it) => safe.push(it),
            None => break,
        }
    }
    safe
}
