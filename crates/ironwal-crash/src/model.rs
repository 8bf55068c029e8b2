//! What a file system promises beside what was synced.

use std::fmt;
use std::str::FromStr;

/// What the file system under a program promises. All of them keep what was synced and lose any
/// part of the rest; they differ in which parts can be lost without others.
///
/// Every state that [`Model::Ext4`] or [`Model::Xfs`] allows, [`Model::Posix`] allows too. Programs
/// that are to run on any file system hold under that one. With the others you find out what a
/// program that does not hold there would do on the file systems that it runs on; and as they have
/// fewer states, more of those are reached within the same bound.
///
/// ```
/// use ironwal_crash::{CrashTest, Model, Outcome, Run};
/// # use std::path::Path;
/// # use ironwal::storage::{OpenMode, Storage};
///
/// /// Puts a new file in the place of an old one, and does not sync it before.
/// fn replace(disk: &dyn Storage) -> std::io::Result<()> {
///     disk.open(Path::new("/new"), OpenMode::Create)?.write_at(b"new", 0)?;
///     disk.rename(Path::new("/new"), Path::new("/file"))
/// }
/// # fn workload(run: &Run<()>) -> Outcome {
/// #     let disk = run.storage();
/// #     let old = disk.open(Path::new("/file"), OpenMode::Create)?;
/// #     old.write_at(b"old", 0)?;
/// #     old.sync()?;
/// #     disk.sync_dir(Path::new("/"))?;
/// #     run.mark(());
/// #     Ok(replace(&*disk)?)
/// # }
/// # fn check(run: &Run<()>) -> Outcome {
/// #     if run.marks().is_empty() {
/// #         return Ok(());
/// #     }
/// #     let len = run.storage().open(Path::new("/file"), OpenMode::Read)?.len()?;
/// #     if len == 3 { Ok(()) } else { Err(format!("{len} bytes").into()) }
/// # }
/// let fails = |model| CrashTest::new("replace").models(&[model]).run(workload, check).is_err();
/// assert!(fails(Model::Posix) && fails(Model::Xfs)); // the file may be empty
/// assert!(!fails(Model::Ext4)); // it is old or new
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Model {
    /// Nothing is promised but what a successful sync of the file, or of the directory, says.
    ///
    /// That is what IEEE Std 1003.1 has on `fsync` with `_POSIX_SYNCHRONIZED_IO`. That the sync of a
    /// file says nothing of its entry in the directory, for which the directory has to be synced, is
    /// in fsync(2) of the Linux man-pages; that `fdatasync` saves the length as well, because it is
    /// needed to read the data back, is in the same page.
    Posix,
    /// ext4 with `data=ordered` and delayed allocation, which are its defaults.
    ///
    /// - Changes of directories are kept in the order in which they were made: they go to one
    ///   journal, which is replayed up to the latest record of a commit
    ///   (Linux, `Documentation/filesystems/ext4/journal.rst`).
    /// - The length of a file that a write lengthens reaches only over data that is there: with
    ///   `data=ordered`, data goes to its place before the metadata of the same file is committed
    ///   (`Documentation/admin-guide/ext4.rst`, on `data=`). Lengths that were set, or reserved, have no
    ///   data to wait for.
    /// - A file that replaces another one by a rename is there with its data (the same page, on
    ///   `auto_da_alloc`, which is the default).
    ///
    /// Data that overwrites blocks is in no journal, so its sectors are kept or lost one by one.
    Ext4,
    /// XFS.
    ///
    /// - Changes of directories are kept in order, as of ext4: there is one log, and recovery replays
    ///   it in the order in which it was written (Linux,
    ///   `Documentation/filesystems/xfs/xfs-delayed-logging-design.rst`).
    /// - The length that a write gave is logged when the data has been written (XFS FAQ at xfs.org, on
    ///   the zeros that older versions left in files after power was lost), so it reaches only over
    ///   data that is there.
    /// - A rename forces no data out. So a file that was renamed over another one without a sync can
    ///   be empty.
    Xfs,
}

impl Model {
    /// All of them, with the one first that promises least.
    ///
    /// ```
    /// use ironwal_crash::Model;
    ///
    /// assert_eq!(Model::ALL[0], Model::Posix);
    /// assert_eq!(Model::ALL.map(|model| model.to_string()), ["posix", "ext4", "xfs"]);
    /// assert_eq!("ext4".parse(), Ok(Model::Ext4)); // as in a trail
    /// ```
    pub const ALL: [Self; 3] = [Self::Posix, Self::Ext4, Self::Xfs];

    pub(crate) fn is_ordered(self) -> bool {
        self != Self::Posix
    }

    pub(crate) fn bit(self) -> u8 {
        1 << self.index()
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Posix => 0,
            Self::Ext4 => 1,
            Self::Xfs => 2,
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Posix => "posix",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        })
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|model| model.to_string() == text);
        found.ok_or_else(|| format!("no model is called {text:?}"))
    }
}
