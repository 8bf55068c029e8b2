// What the files of the library and of its tests want of the modules around them: for the root of whatever
// includes them.

mod error {
    pub(crate) use ironwal::{Error, Result};
}

mod sync {
    pub(crate) use std::sync::Arc;
}

mod journal {
    use std::path::{Path, PathBuf};

    pub(crate) fn journal(nth: usize) -> PathBuf {
        Path::new("/log").join(format!(".journal.{nth}"))
    }

    pub(crate) fn segment(stream: &str, first_id: u64) -> PathBuf {
        Path::new("/log").join(stream).join(format!("{first_id:020}.wal"))
    }
}
