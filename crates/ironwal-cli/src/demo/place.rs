//! Where the demo's log lives.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::exit::{Done, Failure};

/// A new directory, removed at the end unless the user chose the place.
pub(super) struct Place {
    path: PathBuf,
    /// `Some` while the directory is to be removed.
    temporary: Option<TempDir>,
}

impl Place {
    pub(super) fn new(chosen: Option<&Path>) -> Done<Self> {
        let parent = chosen.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let failed = |error| {
            Failure::io(&format!("make a directory for the log in {}", parent.display()), &error)
        };
        if chosen.is_some() {
            std::fs::create_dir_all(&parent).map_err(failed)?;
        }
        let dir =
            tempfile::Builder::new().prefix("ironwal-demo-").tempdir_in(&parent).map_err(failed)?;
        let mut place = Self { path: dir.path().to_path_buf(), temporary: Some(dir) };
        if chosen.is_some() {
            place.keep();
        }
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is, and says where.
    pub(super) fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
        &self.path
    }

    /// What becomes of the directory, in words.
    pub(super) fn fate(&self) -> &'static str {
        if self.temporary.is_some() { "(removed at the end)" } else { "(kept)" }
    }

    /// Whether the file system is tmpfs, where the demo shows less than it seems to.
    #[cfg(target_os = "linux")]
    pub(super) fn is_in_memory(&self) -> bool {
        const TMPFS_MAGIC: u32 = 0x0102_1994;
        rustix::fs::statfs(&self.path)
            .is_ok_and(|found| u32::try_from(found.f_type) == Ok(TMPFS_MAGIC))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_in_memory(&self) -> bool {
        false
    }
}
