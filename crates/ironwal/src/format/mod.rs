//! The bytes on the disk: encoding, decoding, validity. No I/O, no clock, no threads.
//!
//! Everything is little-endian and fixed width. `docs/format.md` is the normative description; each
//! file here opens with its structure's picture and its validity rule.
//!
//! ```text
//! {root}/.ironwal                          root      the salt, shard count, stream numbers
//! {root}/.journal.0, .journal.1            journal   header, frames of shares of segments
//! {root}/{stream}/{first id}.wal           segment   header, frames, seal
//!
//!          0        4096      8192                              end of frames    end of file
//! segment  | slot 0 | slot 1  | frame | frame | … | frame | … | sparse index | seal |
//!          '---- header ------'---------- frames -------------'-- full segments only --'
//! ```

pub(crate) mod checksum;
pub(crate) mod fields;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod journal;
pub(crate) mod payload;
pub(crate) mod root;
#[cfg(test)]
mod sample;
pub(crate) mod scan;
pub(crate) mod seal;

/// The version of the format that this library writes, and the newest that it reads.
///
/// ```
/// # use ironwal::{Error, FORMAT_VERSION, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// # Wal::new(WalOptions::new(path))?.close()?;
/// let mut root = std::fs::read(path.join(".ironwal"))?;
/// for version in [8..12, 4104..4108] {
///     assert_eq!(root[version.clone()], FORMAT_VERSION.to_le_bytes()); // of both copies
///     root[version].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
/// }
/// std::fs::write(path.join(".ironwal"), root)?; // as a newer library would
/// let refused = Wal::new(WalOptions::new(path));
/// assert!(matches!(refused, Err(Error::UnsupportedVersion { .. }))); // and not called damaged
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const FORMAT_VERSION: u32 = 1;

/// The largest frame in bytes: one append or one batch, with its header, the table of a batch and
/// padding. The same number bounds writing and reading.
///
/// ```
/// # use ironwal::{Error, Wal, WalOptions};
/// # let dir = tempfile::tempdir()?;
/// # let wal = Wal::new(WalOptions::new(dir.path()))?;
/// let entry = vec![0; usize::try_from(ironwal::MAX_FRAME_LEN)?]; // no room for the frame's header
/// assert!(matches!(wal.append("orders", &entry), Err(Error::TooLarge { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_FRAME_LEN: u64 = 1 << 30;

/// No segment holds more frame bytes than this, so that every offset fits a frame's `u32` of
/// 8-byte units.
pub(crate) const MAX_SEGMENT_LEN: u64 = 1 << 34;

/// The block that is written and lost as one in the layout of a header, in bytes.
pub(crate) const BLOCK_LEN: u64 = 4096;

/// Frames begin on multiples of this many bytes.
pub(crate) const ALIGN: u64 = 8;

const _: () = assert!(header::HEADER_LEN.is_multiple_of(ALIGN));
const _: () = assert!(MAX_FRAME_LEN.is_multiple_of(ALIGN));
const _: () = assert!((MAX_SEGMENT_LEN + MAX_FRAME_LEN) / ALIGN <= u32::MAX as u64 + 1);

/// Why bytes that ought to be a structure of ours are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// The magic is missing, or the structure belongs elsewhere.
    NotThis,
    /// A newer version wrote it.
    Newer(u32),
    /// The checksum does not match, or a field is out of range.
    Damaged,
}
