//! One segment file: writing, reading, indexing, sealing, and the table by which recovery decides.
//!
//! [`writer::SegmentWriter`] is held by whoever may change the file, one at a time;
//! [`Segment`] is what any number of readers see of it.

mod before;
mod block;
pub(crate) mod context;
pub(crate) mod cursor;
pub(crate) mod find;
mod follow;
pub(crate) mod index;
mod pieces;
#[cfg(test)]
mod pieces_tests;
pub(crate) mod reader;
#[cfg(test)]
mod reading_tests;
pub(crate) mod recovery;
pub(crate) mod source;
pub(crate) mod unwritten;
#[cfg(test)]
mod unwritten_tests;
pub(crate) mod walk;
pub(crate) mod writer;

use std::path::{Path, PathBuf};

pub(crate) use block::{Backwards, Decoded};
pub(crate) use context::ReadContext;
pub(crate) use cursor::Cursor;
pub(crate) use find::Finder;
pub(crate) use reader::{Damage, Segment};
pub(crate) use unwritten::Unwritten;
pub(crate) use writer::SegmentWriter;

/// The name a segment has while its header is written; never a stream's own file.
pub(crate) const UNFINISHED_NAME: &str = ".next.tmp";

/// How the names of files and directories begin that are about to be deleted.
pub(crate) const DELETED_PREFIX: &str = ".deleted.";

/// How the name of a segment begins while it is being given its own name again.
pub(crate) const RENAMED_PREFIX: &str = ".renamed.";

/// The name of a copy of a segment that is not whole yet, where an archived one is being restored.
pub(crate) const UNFINISHED_COPY: &str = ".copy.tmp";

/// The path of the segment of the stream in `dir` that begins with `first_id`.
pub(crate) fn path_of(dir: &Path, first_id: u64) -> PathBuf {
    dir.join(format!("{first_id:020}.wal"))
}

/// The first id in a segment's file name, if it is one.
pub(crate) fn first_id_of(name: &std::ffi::OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".wal")?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// Whether a file in the directory of a stream is the stream's, by its name: a segment, or what becomes one
/// or was one.
pub(crate) fn is_of_a_stream(name: &std::ffi::OsStr) -> bool {
    let is_ours = |name: &str| {
        let prefixes = [DELETED_PREFIX, RENAMED_PREFIX];
        [UNFINISHED_NAME, UNFINISHED_COPY].contains(&name)
            || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    first_id_of(name).is_some() || name.to_str().is_some_and(is_ours)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn names_and_first_ids_match_one_to_one() {
        for id in [0, 1, 99, u64::MAX] {
            let path = path_of(Path::new("s"), id);
            assert_eq!(first_id_of(path.file_name().unwrap()), Some(id));
        }
        for name in [
            "1.wal",
            "0000000000000000000a.wal",
            "+0000000000000000001.wal",
            "99999999999999999999.wal",
            "00000000000000000001.tmp",
            UNFINISHED_NAME,
        ] {
            assert_eq!(first_id_of(OsStr::new(name)), None, "{name}");
        }
    }
}
